//! Programs that work only with their set-user-ID bit.

use std::path::{Path, PathBuf};

use sickbay_target::Metadata;

use crate::facts::Facts;
use crate::facts::packages::modes::{PROGRAMS, overridden_mode, packaged_mode};
use crate::facts::packages::owners::{Owners, usual_owner};
use crate::model::finding::Findings;
use crate::model::outcome::Verdict;
use crate::model::repair::{Change, Risk};
use crate::model::subject::Subject;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "sudo must be owned by uid 0 and have the setuid bit set", "su: Authentication failure" with the right
    /// password, "passwd: Authentication token manipulation error".
    ///
    /// ## What it finds
    /// `su`, `sudo` or `passwd` without their set-user-ID bit or no longer owned by root; and along with them `mount`,
    /// `umount`, `newgrp`, `chsh`, `chfn`, `gpasswd`, `pkexec`, the helpers of PAM, dbus and polkit, `ssh-agent` and
    /// `crontab`, when they have lost that bit, their set-group-ID bit or their group too.
    ///
    /// ## Why it matters
    /// A `chown -R` or `chmod -R` over `/usr`, or a copy without attributes, clears these bits. Users can no longer
    /// become root or change their passwords.
    ///
    /// ## What the repair does
    /// Sets owner and mode to those in rpm's database or on the donor, otherwise to those that the distributions ship.
    /// What `dpkg-statoverride` removed stays removed.
    ///
    /// ## By hand
    /// ```sh
    /// chmod u+s ROOT/usr/bin/su ROOT/usr/bin/sudo ROOT/usr/bin/passwd
    /// rpm --root ROOT --setperms util-linux sudo passwd
    /// ```
    "setuid-lost", Files, seed = ["B9"], proves = [], "su or sudo has lost its set-user-ID bit"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let root = facts.root();
    let owners = facts.get::<Owners>();
    let mut lost: Vec<(PathBuf, Metadata, u32, (u32, u32))> = Vec::new();
    let mut proven = false;
    for (name, usual, proof) in PROGRAMS {
        for dir in ["/usr/bin", "/bin"] {
            let Ok(path) = root.canonical(Path::new(dir).join(name)) else { continue };
            let Ok(metadata) = root.metadata(&path) else { continue };
            let special = if usual & 0o4000 != 0 { 0o4000 } else { 0o6000 };
            let well = metadata.mode & special != 0 && metadata.uid == 0;
            // sudo-rs, run0 and busybox stand in for these names by links; only a program of its own is judged.
            let own_name = path.file_name() == Path::new(name).file_name();
            let told = lost.iter().any(|(other, ..)| *other == path)
                || owners.as_ref().is_ok_and(|owners| owners.covers(&path));
            if well || !own_name || !metadata.is_file() || metadata.size == 0 || told {
                continue;
            }
            let overridden = overridden_mode(facts, &path);
            let owner = usual_owner(facts, &path, &metadata);
            let group = if owner.1 == 0 { metadata.gid } else { owner.1 };
            let mode = match (overridden, packaged_mode(facts, &path)) {
                // What was taken through dpkg-statoverride was taken on purpose.
                (Some(mode), _) => mode,
                (None, Some(mode)) if mode & 0o6000 != 0 || special == 0o6000 => mode,
                _ if special == 0o6000 && owner.1 == 0 => continue,
                _ => {
                    let donor = facts.donor().and_then(|donor| donor.root().metadata(&path).ok());
                    donor.map(|donor| donor.mode).filter(|mode| mode & 0o6000 != 0).unwrap_or(usual)
                }
            };
            if mode & 0o6000 == 0 {
                continue;
            }
            proven |= proof;
            lost.push((path, metadata, mode, (0, group)));
        }
    }
    let Some((first, metadata, ..)) = lost.iter().find(|(path, ..)| is_proof(path)).filter(|_| proven) else {
        return Ok(());
    };
    let mode = format!("{:04o}", metadata.mode);
    let message = match (metadata.uid, lost.len()) {
        (0, 1) => tr!("{path} has mode {mode}, without the set-user-ID bit", path = first.as_path(), mode),
        (0, more) => tr!(
            "{path} has mode {mode}, without the set-user-ID bit, and {more} more {more?program has|programs have} lost theirs",
            path = first.as_path(),
            mode,
            more = more - 1
        ),
        (uid, _) => tr!("{path} is owned by user {uid} instead of root", path = first.as_path(), uid),
    };
    let finding = found.error(message);
    finding.subject(Subject::Named("set-user-ID bits".to_owned())).extent(lost.len());
    finding.why(tr!("it cannot act for other users: su and sudo refuse everyone, passwd changes nothing"));
    let mut changes = Vec::new();
    for (path, metadata, mode, owner) in &lost {
        finding.at_path(path);
        finding.evidence(
            path.display().to_string(),
            format!("mode {:04o} owner {}:{}", metadata.mode, metadata.uid, metadata.gid),
        );
        // Giving a file another owner takes its set-user-ID bit away, so the owner comes first.
        let mut now = metadata.mode;
        let before = (metadata.uid, metadata.gid);
        if before != *owner {
            changes.push(Change::Owner { path: path.clone(), before, after: *owner });
            now &= 0o1777;
        }
        if now != *mode {
            changes.push(Change::Mode { path: path.clone(), before: metadata.mode, after: *mode });
        }
    }
    finding.repair(
        Risk::Safe,
        tr!("restore the set-user-ID bit of {count} {count?program|programs}", count = lost.len()),
        changes,
    );
    Ok(())
}

fn is_proof(path: &Path) -> bool {
    PROGRAMS.iter().any(|(name, _, proof)| *proof && path.file_name() == Path::new(name).file_name())
}
