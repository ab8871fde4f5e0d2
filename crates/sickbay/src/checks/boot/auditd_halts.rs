//! auditd stops the machine because its disk is full.

use sickbay_formats::lines;

use crate::facts::Facts;
use crate::facts::memory::size;
use crate::facts::system::space::{Lack, Space};
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::model::source::SourceFile;
use crate::model::stage::Stage;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: the machine powers off or drops to single-user mode soon after it has booted; the last line on the
    /// console is from auditd, such as "The audit daemon is now halting the system".
    ///
    /// ## What it finds
    /// An action in `/etc/audit/auditd.conf` that halts the machine or switches it to single-user mode (`HALT`,
    /// `SINGLE`), where its condition is met right now: `admin_space_left_action` with less space free on the log's
    /// file system than `admin_space_left`, or `disk_full_action` with that file system full. The action alone is a
    /// choice, not a fault.
    ///
    /// ## Why it matters
    /// The machine goes down as soon as auditd runs, at every boot, with nothing on the console but a line from auditd.
    ///
    /// ## What the repair does
    /// Writes `SUSPEND` instead: auditd stops logging, and the system keeps running. Then free some space
    /// (`file-system-full`), and restore the action if your policy requires it.
    ///
    /// ## By hand
    /// ```sh
    /// # in ROOT/etc/audit/auditd.conf
    /// sed -i 's/^\(admin_space_left_action\|disk_full_action\) *=.*/\1 = SUSPEND/' ROOT/etc/audit/auditd.conf
    /// df -h ROOT/var/log/audit
    /// ```
    "auditd-halts", Boot, seed = ["B13", "B2"], proves = [], may_stop = [Services], "auditd halts the machine because disk space is low"
}

const PATH: &str = "/etc/audit/auditd.conf";

/// A line `key = value` of auditd.conf(5); keys in any case.
struct Line {
    number: usize,
    key: String,
    value: String,
}

fn lines_of(file: &SourceFile) -> Vec<Line> {
    let line = |line: lines::Line<'_>| {
        let text = String::from_utf8_lossy(line.text).into_owned();
        let (key, value) = text.split_once('=')?;
        let key = key.trim().to_ascii_lowercase();
        (!key.starts_with('#')).then(|| Line { number: line.number, key, value: value.trim().to_owned() })
    };
    lines::lines(&file.bytes).filter_map(line).collect()
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let file = facts.required(PATH)?;
    if !is_enabled(facts) {
        return Err(Skip::NotApplicable(tr!("auditd does not start at boot")));
    }
    let all = lines_of(&file);
    let value = |key: &str| all.iter().rev().find(|line| line.key == key).map(|line| line.value.as_str());
    let log = value("log_file").unwrap_or("/var/log/audit/audit.log");
    let Some(dir) = std::path::Path::new(log).ancestors().skip(1).find(|dir| facts.root().stat(dir).is_ok()) else {
        return Ok(());
    };
    let told = facts.root().statvfs(dir)?;
    let space = facts.get::<Space>()?;
    let full = space.full_below(facts, dir);
    let no_space = full.is_some_and(|full| full.lack == Some(Lack::Space));
    // In MiB, or since auditd 2.8 a part of the file system (auditd.conf(5)); asked of f_bavail (auditd-event.c).
    let least = value("admin_space_left").unwrap_or("50");
    let least = match least.strip_suffix('%') {
        Some(percent) => percent.trim().parse().ok().map(|percent: u64| told.size / 100 * percent),
        None => least.parse().ok().map(|mebibytes: u64| mebibytes << 20),
    };
    let low = least.is_some_and(|least| told.available < least);
    for (key, holds) in [("admin_space_left_action", low || no_space), ("disk_full_action", no_space)] {
        let Some(line) = all.iter().rev().find(|line| line.key == key) else { continue };
        let action = line.value.to_ascii_uppercase();
        if !holds || !matches!(action.as_str(), "HALT" | "SINGLE") {
            continue;
        }
        let Some(whole) = lines::lines(&file.bytes).nth(line.number.saturating_sub(1)) else { continue };
        let at = whole.text.len()
            - String::from_utf8_lossy(whole.text).split_once('=').map_or(0, |(_, rest)| rest.trim_start().len());
        let span = whole.span(at..at + line.value.len());
        let finding = found.critical(match action.as_str() {
            "HALT" => tr!("auditd halts the machine: {key}, and {place} has too little free space", key, place = dir),
            _ => tr!(
                "auditd switches the machine to single-user mode: {key}, and {place} has too little free space",
                key,
                place = dir
            ),
        });
        finding
            .at(&file, span)
            .note(tr!(
                "{free} of {size} is free there",
                free = size(told.available >> 10),
                size = size(told.size >> 10)
            ))
            .why(tr!("this happens at every boot, as soon as auditd starts"))
            .stops(Stage::Services)
            .detail("available", told.available)
            .repair(
                Risk::Safe,
                tr!("set SUSPEND: auditd stops logging; the system keeps running"),
                [Change::edit(&file, lines::with_words(&file.bytes, span, b"SUSPEND"))],
            );
        if let Some(full) = full {
            finding.about(full.subject());
        }
    }
    Ok(())
}

/// Whether something starts auditd: a link of systemd's, or one of a runlevel.
fn is_enabled(facts: &Facts) -> bool {
    let root = facts.root();
    let wanted = ["/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"]
        .iter()
        .any(|dir| root.metadata(format!("{dir}/multi-user.target.wants/auditd.service")).is_ok());
    wanted
        || ["/etc/rc.d/rc3.d", "/etc/rc3.d"].iter().any(|dir| {
            let entries = root.read_dir(dir).unwrap_or_default();
            entries.iter().any(|entry| {
                let name = entry.name.to_string_lossy();
                name.starts_with('S') && name.ends_with("auditd")
            })
        })
}
