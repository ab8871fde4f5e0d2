//! sshd is started with options that it does not take.

use std::path::Path;
use std::sync::Arc;

use bstr::ByteSlice;
use sickbay_formats::lines;
use sickbay_formats::shell_vars::{Assignment, assignments};
use sickbay_formats::sshd_config::{Reader, directives};

use crate::facts::Facts;
use crate::facts::login::sshd::Sshd;
use crate::facts::login::sshd_service::SshdService;
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::model::source::SourceFile;
use crate::model::stage::Stage;
use crate::model::text::Text;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "Connection refused" over ssh; the log has sshd's usage message, although `sshd -t` reports nothing.
    ///
    /// ## What it finds
    /// In `SSHD_OPTS` in `/etc/default/ssh`, or `OPTIONS` in `/etc/sysconfig/sshd`, where the unit or the init script
    /// of sshd passes it to sshd: an option that sshd does not have, a word that does not belong to any, an invalid
    /// port, a configuration (`-f`) that does not exist, a setting (`-o`) that sshd would reject in its configuration.
    ///
    /// ## Why it matters
    /// sshd prints its usage and exits; `sshd -t`, which does not see these options, reports that all is well.
    ///
    /// ## What the repair does
    /// Empties the variable: sshd starts with its configuration alone.
    ///
    /// ## By hand
    /// ```sh
    /// # correct the options here
    /// grep -n OPT ROOT/etc/default/ssh ROOT/etc/sysconfig/sshd
    /// ```
    "sshd-options-invalid", Login, seed = ["L10"], proves = [Sshd], "sshd is started with invalid options"
}

/// Where distributions keep them, and under what name.
const FILES: [(&str, &str); 3] =
    [("/etc/default/ssh", "SSHD_OPTS"), ("/etc/sysconfig/sshd", "OPTIONS"), ("/etc/sysconfig/ssh", "SSHD_OPTS")];

/// What starts sshd, and may hand them on.
const STARTERS: [&str; 8] = [
    "/etc/systemd/system/ssh.service",
    "/etc/systemd/system/sshd.service",
    "/usr/lib/systemd/system/ssh.service",
    "/usr/lib/systemd/system/sshd.service",
    "/lib/systemd/system/ssh.service",
    "/lib/systemd/system/sshd.service",
    "/etc/init.d/ssh",
    "/etc/init.d/sshd",
];

/// sshd(8), of all releases: those with a value and those without one (sshd.c, the string for getopt).
const WITH_VALUE: &[u8] = b"CEbcfghkopu";
const WITHOUT_VALUE: &[u8] = b"46DGQRTVdeiqrt";

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let sshd = facts.get::<Sshd>()?;
    let reader = sshd.reader();
    let severity = if facts.get::<SshdService>()?.enabled { Severity::Critical } else { Severity::Warning };
    for (path, name) in FILES {
        let Some(file) = facts.file(path)? else { continue };
        let all = assignments(&file.bytes);
        let last = all.iter().rev().find(|assignment| assignment.name == name);
        let Some((assignment, value)) = last.and_then(|last| Some((last, last.value.as_ref()?))) else { continue };
        let Some(why) = objection(facts, &reader, value)? else { continue };
        if !is_handed_on(facts, path, name)? {
            continue;
        }
        report(found, &file, assignment, severity, why);
    }
    Ok(())
}

fn report(found: &mut Findings, file: &Arc<SourceFile>, assignment: &Assignment, severity: Severity, why: Text) {
    let (name, range) = (assignment.name.to_string(), assignment.range.clone());
    let span = lines::span_at(&file.bytes, range.clone());
    let text = lines::with_bytes(&file.bytes, range, b"");
    found
        .add(severity, tr!("{name} of {path}: {why}", name = name.as_str(), path = file.path.as_path(), why))
        .at(file, span)
        .why(tr!("sshd does not start, and nobody can log in over ssh"))
        .stops(Stage::Sshd)
        .repair(Risk::Safe, tr!("empty {name}", name), [Change::edit(file, text)]);
}

/// Whether what starts sshd names the file and gives the variable.
fn is_handed_on(facts: &Facts, path: &str, name: &str) -> Result<bool, Skip> {
    for starter in STARTERS {
        let is_file = facts.root().stat(starter).is_ok_and(|metadata| metadata.is_file());
        if let Some(file) = is_file.then(|| facts.file(starter)).transpose()?.flatten()
            && file.bytes.contains_str(path)
            && [format!("${name}"), format!("${{{name}}}")].iter().any(|word| file.bytes.contains_str(word))
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What sshd has against these words.
fn objection(facts: &Facts, reader: &Reader<'_>, value: &[u8]) -> Result<Option<Text>, Skip> {
    // What is left to the shell, or quoted inside, is not told.
    if value.iter().any(|byte| b"$`\\\"'".contains(byte)) {
        return Ok(None);
    }
    let mut words = value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        let said = word.to_str_lossy().into_owned();
        let Some(letters) = word.strip_prefix(b"-").filter(|letters| !letters.is_empty()) else {
            return Ok(Some(tr!("{word} does not belong to any option", word = said)));
        };
        for (at, letter) in letters.iter().enumerate() {
            if WITHOUT_VALUE.contains(letter) {
                continue;
            }
            if !WITH_VALUE.contains(letter) {
                return Ok(Some(tr!("sshd has no option {word}", word = format!("-{}", char::from(*letter)))));
            }
            let attached = letters.get(at + 1..).filter(|rest| !rest.is_empty());
            let Some(value) = attached.or_else(|| words.next()) else {
                return Ok(Some(tr!("{word} has no value", word = said)));
            };
            if let Some(why) = value_objection(facts, reader, *letter, value)? {
                return Ok(Some(why));
            }
            break;
        }
    }
    Ok(None)
}

fn value_objection(facts: &Facts, reader: &Reader<'_>, letter: u8, value: &[u8]) -> Result<Option<Text>, Skip> {
    let said = value.to_str_lossy().into_owned();
    Ok(match letter {
        b'p' if value.to_str().ok().and_then(|text| text.parse::<u16>().ok()).is_none_or(|port| port == 0) => {
            Some(tr!("{value} is not a port", value = said))
        }
        b'f' if !facts.root().exists(Path::new(&said))? => Some(tr!("{path} does not exist", path = said)),
        b'o' => {
            let line = value.replacen("=", " ", 1);
            let refused = directives(&line, reader).iter().any(|directive| directive.fault(reader, false).is_some());
            refused.then(|| tr!("sshd does not accept {value}", value = said))
        }
        _ => None,
    })
}
