//! Programs that work only with their set-user-ID bit.

use std::path::{Path, PathBuf};

use bstr::ByteSlice;
use sickbay_formats::dpkg;
use sickbay_target::Metadata;

use super::modes::packaged_mode;
use crate::check::Verdict;
use crate::facts::Facts;
use crate::finding::Findings;
use crate::repair::{Change, Risk};
use crate::{check, tr};

check! {
    /// ## What it finds
    /// `su`, `sudo` or `passwd` without their set-user-ID bit or no longer owned by root; and with them `mount`, `umount`,
    /// `newgrp`, `chsh`, `chfn`, `gpasswd`, `pkexec`, `crontab` and PAM's and dbus' helpers, when they have lost it too.
    ///
    /// ## Why it matters
    /// A `chown -R` or `chmod -R` over `/usr`, or a copy without attributes, takes these bits away: "sudo must be owned by
    /// uid 0 and have the setuid bit set", "su: Authentication failure" with the right password, users who cannot
    /// change their passwords.
    ///
    /// ## What the repair does
    /// Sets owner and mode as rpm's database or the donor has them, else as the distributions ship them. Programs named in `dpkg-statoverride` are
    /// left alone. By hand: `chmod u+s /usr/bin/su`, or `rpm --setperms util-linux`.
    "setuid-lost", Files, seed = ["B9"], proves = [], "su or sudo has lost its set-user-ID bit"
}

/// Name, usual mode, and whether losing the bit alone proves a fault. Administrators take it from the others on
/// purpose (the hardening guides tell them to).
const PROGRAMS: [(&str, u32, bool); 15] = [
    ("su", 0o4755, true),
    ("sudo", 0o4755, true),
    ("passwd", 0o4755, true),
    ("mount", 0o4755, false),
    ("umount", 0o4755, false),
    ("newgrp", 0o4755, false),
    ("chsh", 0o4755, false),
    ("chfn", 0o4755, false),
    ("gpasswd", 0o4755, false),
    ("pkexec", 0o4755, false),
    ("fusermount3", 0o4755, false),
    ("../lib/polkit-1/polkit-agent-helper-1", 0o4755, false),
    ("../libexec/polkit-agent-helper-1", 0o4755, false),
    ("../lib/dbus-1.0/dbus-daemon-launch-helper", 0o4754, false),
    ("../libexec/dbus-1/dbus-daemon-launch-helper", 0o4750, false),
];

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let root = facts.root();
    let overrides = facts.file("/var/lib/dpkg/statoverride")?;
    let overridden: Vec<PathBuf> = overrides
        .iter()
        .flat_map(|file| dpkg::overridden(&file.bytes))
        .map(|path| PathBuf::from(path.to_str_lossy().into_owned()))
        .collect();
    let mut lost: Vec<(PathBuf, Metadata, u32)> = Vec::new();
    let mut proven = false;
    for (name, usual, proof) in PROGRAMS {
        for dir in ["/usr/bin", "/bin"] {
            let Ok(path) = root.canonical(Path::new(dir).join(name)) else { continue };
            let Ok(metadata) = root.metadata(&path) else { continue };
            let well = metadata.mode & 0o4000 != 0 && metadata.uid == 0;
            // sudo-rs, run0 and busybox stand in for these names by links; only a program of its own is judged.
            let own_name = path.file_name() == Path::new(name).file_name();
            let known = overridden.contains(&path) || lost.iter().any(|(other, _, _)| *other == path);
            if well || !own_name || !metadata.is_file() || metadata.size == 0 || known {
                continue;
            }
            proven |= proof;
            let donor = facts.donor().and_then(|donor| donor.root().metadata(&path).ok()).map(|donor| donor.mode);
            let known = [packaged_mode(facts, &path), donor].into_iter().flatten();
            let mode = known.into_iter().find(|mode| mode & 0o4000 != 0).unwrap_or(usual);
            lost.push((path, metadata, mode));
        }
    }
    let Some((first, metadata, _)) = lost.iter().find(|(path, _, _)| is_proof(path)).filter(|_| proven) else {
        return Ok(());
    };
    let mode = format!("{:04o}", metadata.mode);
    let message = match (metadata.uid, lost.len()) {
        (0, 1) => tr!("{path} has mode {mode}, without the set-user-ID bit", path = first.as_path(), mode),
        (0, more) => tr!(
            "{path} has mode {mode}, without the set-user-ID bit, and {more} more {more?program has lost its own|programs have lost theirs}",
            path = first.as_path(),
            mode,
            more = more - 1
        ),
        (uid, _) => tr!("{path} belongs to user {uid} instead of root", path = first.as_path(), uid),
    };
    let finding = found.error(message);
    finding.why(tr!("it cannot act for other users: su and sudo refuse everybody, passwd changes nothing"));
    let mut changes = Vec::new();
    for (path, metadata, mode) in &lost {
        finding.at_path(path);
        finding.evidence(
            path.display().to_string(),
            format!("mode {:04o} owner {}:{}", metadata.mode, metadata.uid, metadata.gid),
        );
        // Giving a file another owner takes its set-user-ID bit away, so the owner comes first.
        let mut now = metadata.mode;
        if metadata.uid != 0 {
            let before = (metadata.uid, metadata.gid);
            changes.push(Change::Owner { path: path.clone(), before, after: (0, metadata.gid) });
            now &= 0o1777;
        }
        if now != *mode {
            changes.push(Change::Mode { path: path.clone(), before: metadata.mode, after: *mode });
        }
    }
    finding.repair(
        Risk::Safe,
        tr!("give {count} {count?program its|programs their} set-user-ID bit", count = lost.len()),
        changes,
    );
    Ok(())
}

/// Whether this check looks at the file.
pub(super) fn judges(path: &Path) -> bool {
    PROGRAMS.iter().any(|(name, _, _)| path.file_name() == Path::new(name).file_name())
}

fn is_proof(path: &Path) -> bool {
    PROGRAMS.iter().any(|(name, _, proof)| *proof && path.file_name() == Path::new(name).file_name())
}
