//! root's authorized_keys has lines from which sshd takes no key.

use std::path::Path;
use std::sync::Arc;

use bstr::ByteSlice;
use sickbay_formats::authorized_keys::accepted::Refusal;
use sickbay_formats::authorized_keys::defects::{Defect, Defective, OPTIONS, defects};
use sickbay_formats::authorized_keys::{Key, keys};
use sickbay_formats::lines;
use sickbay_formats::sshd_config::tree::Effective;

use crate::facts::Facts;
use crate::facts::login::administrators::Administrators;
use crate::facts::login::root_over_ssh::RootOverSsh;
use crate::facts::login::ssh_keys::{Keys, policy};
use crate::facts::login::sshd::Sshd;
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::model::source::SourceFile;
use crate::model::stage::Stage;
use crate::spelling::nearest;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "Permission denied (publickey)", although the key is in the file; in the server's log "bad key options:
    /// unknown key option", "key_read: uudecode … failed" or "Unsafe AuthorizedKeysCommand".
    ///
    /// ## What it finds
    /// Lines of root's authorized_keys from which sshd takes no key: a key that was wrapped over several lines when it was
    /// pasted, an option that sshd does not know, a private key, or a public one in the form of another program. Keys of a
    /// type that this release does not take (`ssh-dss`), that `PubkeyAcceptedAlgorithms` leaves out, or of RSA with too few bits
    /// (`RequiredRSASize`); keys of type `ssh-rsa` are taken by every release. Keys of
    /// root in `~/.ssh/authorized_keys` where `AuthorizedKeysFile` names another place that has none; an
    /// `AuthorizedKeysCommand` that is not there, or that others than root may change, which sshd does not run.
    ///
    /// ## Why it matters
    /// sshd passes over such a line without a word to whoever logs in.
    ///
    /// ## What the repair does
    /// Joins the lines of a wrapped key; corrects the option, or takes it out.
    ///
    /// ## By hand
    /// ```sh
    /// # each line of a good file gives a line here
    /// ssh-keygen -l -f ROOT/root/.ssh/authorized_keys
    /// ```
    "authorized-keys-invalid", Login, seed = ["D7"], proves = [], may_stop = [SshdPolicy], "sshd takes no key from a line of root's authorized_keys"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let sshd = facts.get::<Sshd>()?;
    let root = facts.get::<RootOverSsh>()?;
    let effective = sshd.tree.effective(&sshd.reader(), &root.connection());
    if !effective.is_enabled("publickey") {
        return Err(Skip::NotApplicable(tr!("sshd takes no keys")));
    }
    let all = root.keys(facts, &effective);
    let nobody_else = || facts.get::<Administrators>().is_ok_and(|others| !others.any());
    let alone = !all.free && !all.unseen && !root.password && nobody_else();
    let severity = match () {
        () if alone => Severity::Critical,
        () if all.free || all.unseen => Severity::Warning,
        () => Severity::Error,
    };
    for file in &all.looked {
        for defective in defects(&file.bytes) {
            report(found, file, &defective, severity, &root.home);
        }
    }
    let policy = policy(facts, &effective);
    for file in &all.looked {
        for key in keys(&file.bytes) {
            if let Some(refusal) = key.refusal(&policy) {
                // Whoever has it knows, as long as others get in.
                let severity = if severity == Severity::Warning { Severity::Note } else { severity };
                refused(found, file, &key, &refusal, severity, &root.home);
            }
        }
    }
    elsewhere(facts, found, &effective, &all, &root.home, severity);
    command(facts, found, &sshd, &effective)
}

fn report(found: &mut Findings, file: &Arc<SourceFile>, defective: &Defective, severity: Severity, home: &Path) {
    let path = file.path.as_path();
    let message = match &defective.defect {
        Defect::Broken { last, .. } => tr!(
            "a key in {path} is split over lines {first} to {last}",
            path,
            first = defective.span.line,
            last = *last
        ),
        Defect::Option(name) => {
            tr!("a key in {path} has the option {option}, which sshd does not know", path, option = name.to_str_lossy())
        }
        Defect::OtherForm => tr!("{path} contains a private key, or a key in a format that sshd does not read", path),
    };
    let finding = found.add(severity, message);
    finding.at(file, defective.span).why(tr!("sshd skips the line: whoever has the key is refused"));
    if severity != Severity::Warning {
        finding.explains(home).stops(Stage::SshdPolicy);
    }
    match &defective.defect {
        Defect::Broken { last, joined } => {
            let first = defective.span.line;
            let text: Vec<u8> = lines::lines(&file.bytes)
                .filter(|line| line.number <= first || line.number > *last)
                .flat_map(|line| {
                    let text = if line.number == first { joined.as_slice() } else { line.text };
                    [text, line.end].concat()
                })
                .collect();
            finding.repair(
                Risk::Safe,
                tr!("join lines {first} to {last}", first, last = *last),
                [Change::edit(file, text)],
            );
        }
        Defect::Option(name) => {
            let option = name.to_str_lossy();
            let meant = nearest(&option.to_ascii_lowercase(), OPTIONS.into_iter(), 2);
            let text = lines::with_line(&file.bytes, defective.span.line, |line| {
                let at = line.find(name.as_slice())?;
                let (before, after) = (line.get(..at)?, line.get(at + name.len()..)?);
                match meant {
                    Some(meant) => Some([before, meant.as_bytes(), after].concat()),
                    // Only a word without a value goes without parsing what is in quotes.
                    None if after.starts_with(b"=") => None,
                    None => {
                        let after = if before.is_empty() { after.trim_ascii_start() } else { after };
                        let after = after.strip_prefix(b",").unwrap_or(after);
                        let before =
                            if after.starts_with(b" ") { before.strip_suffix(b",").unwrap_or(before) } else { before };
                        Some([before, after].concat())
                    }
                }
            });
            match meant {
                Some(meant) => finding.repair(Risk::Safe, tr!("write {meant}", meant), [Change::edit(file, text)]),
                None if text != file.bytes => {
                    finding.repair(Risk::Risky, tr!("remove {options}", options = option), [Change::edit(file, text)])
                }
                None => finding.by_hand(tr!("remove {options}", options = option)),
            };
        }
        Defect::OtherForm => {
            finding.by_hand(tr!(
                "put the public key there as one line: ssh-keygen -y, or ssh-keygen -i for another format"
            ));
        }
    }
}

/// A key of a type that sshd no longer takes, or one that is too short.
fn refused(
    found: &mut Findings,
    file: &Arc<SourceFile>,
    key: &Key<'_>,
    refusal: &Refusal,
    severity: Severity,
    home: &Path,
) {
    let path = file.path.as_path();
    let kind = key.kind().to_str_lossy();
    let message = match refusal {
        Refusal::Since(version) => tr!(
            "a key in {path} is of type {kind}, which sshd does not accept since OpenSSH {version}",
            path,
            kind,
            version = format!("{}.{}", version.0, version.1)
        ),
        Refusal::Listed => {
            tr!("a key in {path} is of type {kind}, which PubkeyAcceptedAlgorithms leaves out", path, kind)
        }
        Refusal::Short { bits, least } => {
            tr!("an RSA key in {path} has {bits} bits, and sshd wants {least}", path, bits = *bits, least = *least)
        }
    };
    let finding = found.add(severity, message);
    finding.at(file, key.span).why(tr!("sshd refuses the key: who has no other is not let in with it"));
    if severity != Severity::Note {
        finding.explains(home).stops(Stage::SshdPolicy);
    }
    finding.by_hand(match refusal {
        Refusal::Listed => tr!("add an algorithm of this type to PubkeyAcceptedAlgorithms, or put a new key there"),
        _ => tr!("put a new key there: ssh-keygen -t ed25519 makes one"),
    });
}

/// Keys where they usually are, and sshd looks elsewhere, where none are.
fn elsewhere(
    facts: &Facts,
    found: &mut Findings,
    effective: &Effective<'_>,
    all: &Keys,
    home: &Path,
    severity: Severity,
) {
    let usual = home.join(".ssh/authorized_keys");
    let Ok(Some(file)) = facts.file(&usual) else { return };
    let is_looked = all.looked.iter().any(|looked| looked.path == usual);
    if is_looked || all.unseen || !all.files.is_empty() || keys(&file.bytes).is_empty() {
        return;
    }
    let Some((_, line)) = effective.setting("AuthorizedKeysFile") else { return };
    let place = line.rest.to_str_lossy();
    if place.eq_ignore_ascii_case("none") {
        return;
    }
    // They may have been left behind.
    let severity = if severity == Severity::Critical { severity } else { Severity::Warning };
    let finding = found.add(
        severity,
        tr!(
            "root's keys are in {path}, but sshd looks for them in {place}, where none are",
            path = usual.as_path(),
            place
        ),
    );
    finding
        .at_path(&usual)
        .why(tr!("root cannot log in with a key"))
        .by_hand(tr!("put the keys where AuthorizedKeysFile says, or remove that line from sshd_config"));
    if severity == Severity::Critical {
        finding.explains(home).stops(Stage::SshdPolicy);
    }
}

/// A program that tells the keys, and that sshd does not run (auth2-pubkey.c, subprocess() of misc.c).
fn command(facts: &Facts, found: &mut Findings, sshd: &Sshd, effective: &Effective<'_>) -> Verdict {
    let Some(setting) = effective.setting("AuthorizedKeysCommand") else { return Ok(()) };
    let words = setting.1.rest.to_str_lossy();
    let path = words.trim_matches('"').split_whitespace().next().unwrap_or_default();
    if !path.starts_with('/') {
        return Ok(());
    }
    let Some(file) = sshd.file(setting) else { return Ok(()) };
    let (message, change) = match facts.root().exists(path)? {
        false => (tr!("AuthorizedKeysCommand names {path}, which does not exist", path), None),
        true => {
            let metadata = facts.root().stat(path)?;
            let real = facts.root().canonical(path)?;
            if metadata.uid != 0 {
                let after = (0, metadata.gid);
                let change = Change::Owner { path: real, before: (metadata.uid, metadata.gid), after };
                (tr!("AuthorizedKeysCommand {path} is not owned by root: sshd does not run it", path), Some(change))
            } else if metadata.mode & 0o022 != 0 {
                let after = metadata.mode & !0o022;
                let change = Change::Mode { path: real, before: metadata.mode, after };
                (
                    tr!("others than root can write to AuthorizedKeysCommand {path}: sshd does not run it", path),
                    Some(change),
                )
            } else {
                return Ok(());
            }
        }
    };
    let finding = found.error(message);
    finding.at(file, setting.1.whole).why(tr!("accounts whose keys it supplies cannot log in with them"));
    match change {
        Some(change) => finding.repair(Risk::Safe, tr!("make root its owner, and writable by root only"), [change]),
        None => finding.by_hand(tr!("install the program again, or comment out the line")),
    };
    Ok(())
}
