//! System files that everybody can write, or secrets that everybody can read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sickbay_formats::accounts::Kind;
use sickbay_target::{Dir, FileKind, Metadata, Root};

use crate::facts::Facts;
use crate::facts::login::accounts::Accounts;
use crate::facts::packages::Packages;
use crate::facts::packages::modes::{
    RULES, Rule, is_anothers, is_host_key, is_open, lost_sticky, needs_setuid, packaged_mode, right_mode, usual_mode,
};
use crate::facts::packages::owners::{NOBODY, Owners, usual_owner};
use crate::mend::restore;
use crate::model::finding::Findings;
use crate::model::outcome::Verdict;
use crate::model::repair::{Change, Risk};
use crate::model::subject::Subject;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "Permissions 0777 for '/etc/ssh/ssh_host_rsa_key' are too open", "sudo: /etc/sudoers is world
    /// writable", "Authentication refused: bad ownership or modes".
    ///
    /// ## What it finds
    /// System directories and files that are world-writable (a `chmod 777` on `/`, `/etc` or `/usr`, often with `-R`),
    /// password files that are world-readable, `/tmp` without its sticky bit, and such paths that root does not own.
    ///
    /// ## Why it matters
    /// Anyone on the machine can become root by replacing a file. And the system notices: sshd, sudo, cron, logrotate,
    /// systemd-tmpfiles and ssh's key files refuse to work with such modes, so logins fail while nothing else seems
    /// wrong.
    ///
    /// ## What the repair does
    /// Gives every such path the mode recorded in rpm's database, the one in a package at hand (in apt's cache or
    /// supplied with `--package`) or the one it has on the donor, otherwise the one that the distributions ship: 0755
    /// for directories and programs, 0644 for files, 0640 or 0600 for password files, and their set-user-ID bits. When
    /// many paths are too open, all packaged files are checked, below `/var` too, as well as root's home and everything
    /// that a donor has.
    ///
    /// ## By hand
    /// ```sh
    /// chmod 755 ROOT/ ROOT/etc ROOT/usr
    /// # rpm systems; elsewhere reinstall the packages
    /// rpm --root ROOT --setperms -a
    /// ```
    "mode-too-open", Files, seed = ["B9"], proves = [], "system files are writable by everyone"
}

/// Directories below which a writable directory is followed, as a recursive chmod would have gone.
const TREES: [&str; 17] = [
    "/etc",
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib64",
    "/boot",
    // Whoever may write what is in these is root at the next login, boot or minute.
    "/etc/cron.d",
    "/etc/ld.so.conf.d",
    "/etc/pam.d",
    "/etc/profile.d",
    "/etc/security",
    "/etc/ssh",
    "/etc/ssh/sshd_config.d",
    "/etc/sudoers.d",
    "/etc/systemd/system",
    "/etc/sysctl.d",
];
/// How many paths are repaired at once; a tree with more is worked off in rounds.
const LIMIT: usize = 200_000;
/// So many paths are not opened one by one: all packaged files are looked at.
const MANY: usize = 50;

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let root = facts.root();
    let mut open: BTreeMap<PathBuf, (Metadata, u32)> = BTreeMap::new();
    let mut owned: Vec<(PathBuf, Metadata, u32)> = Vec::new();
    let mut readable: Vec<(PathBuf, Metadata, u32)> = Vec::new();
    for rule in RULES {
        let Ok(metadata) = root.stat(rule.path) else { continue };
        let path = root.canonical(rule.path)?;
        if metadata.mode & rule.never != 0 || lost_sticky(rule, &metadata) {
            open.insert(path.clone(), (metadata, right_mode(facts, rule, &metadata)));
        }
        let told = || facts.get::<Owners>().is_ok_and(|owners| owners.covers(&path));
        if is_anothers(facts, &path, &metadata) {
            let fine = metadata.mode & rule.never == 0 && metadata.mode & rule.always == rule.always;
            let mode = if fine { metadata.mode } else { right_mode(facts, rule, &metadata) };
            owned.push((path, metadata, mode));
        } else if metadata.uid == 0 && holds_hashes(rule) && metadata.mode & 0o040 != 0 && !told() {
            let usual = usual_owner(facts, &path, &metadata);
            if metadata.gid != usual.1 && is_peoples(facts, metadata.gid) {
                readable.push((path, metadata, usual.1));
            }
        }
    }
    // Their services refuse such files, whoever reads them.
    for dir in ["/etc/pam.d", "/etc/sudoers.d", "/etc/ssh/sshd_config.d"] {
        for entry in root.read_dir(dir).unwrap_or_default() {
            let path = Path::new(dir).join(&entry.name);
            let Ok(metadata) = root.metadata(&path) else { continue };
            if metadata.is_file() && is_anothers(facts, &path, &metadata) {
                let mode = if is_open(&metadata) { usual_mode(facts, &path, &metadata) } else { metadata.mode };
                owned.push((path, metadata, mode));
            }
        }
    }
    for tree in TREES {
        let Ok(top) = root.canonical(tree) else { continue };
        walk(facts, root, &top, 0, &mut open);
    }
    if open.len() >= MANY {
        packaged(facts, &mut open);
        walk(facts, root, Path::new("/root"), 0, &mut open);
        if let Some(donor) = facts.donor() {
            for top in ["/var", "/opt", "/srv", "/mnt", "/media", "/root", "/lost+found"] {
                as_donor(root, donor.root(), Path::new(top), 0, &mut open);
            }
        }
    }
    // What is open may be somebody else's, too.
    for (path, (metadata, after)) in &open {
        if is_anothers(facts, path, metadata) && usual_owner(facts, path, metadata).0 != metadata.uid {
            owned.push((path.clone(), *metadata, *after));
        }
    }
    owned.sort_by(|a, b| a.0.cmp(&b.0));
    owned.dedup_by(|a, b| a.0 == b.0);
    // A path with a wrong owner and a wrong mode is told of once.
    for (path, ..) in &owned {
        open.remove(path);
    }

    if let Some((first, (metadata, _))) = open.first_key_value() {
        let mode = format!("{:04o}", metadata.mode);
        let message = if open.len() == 1 {
            tr!("{first} has mode {mode}", first = first.as_path(), mode)
        } else {
            tr!(
                "{first} has mode {mode}, and {others} more system {others?path is|paths are} just as open",
                first = first.as_path(),
                mode,
                others = open.len() - 1
            )
        };
        let finding = found.error(message);
        finding.why(if open.values().all(|(_, after)| after & 0o1000 != 0) {
            tr!("anyone can rename and remove other users' files in it")
        } else {
            tr!("anyone can replace what root runs, and sshd, sudo and cron refuse to work with it")
        });
        finding.subject(Subject::Named("modes".to_owned())).extent(open.len()).detail("paths", open.len());
        for (path, (metadata, _)) in open.iter().take(5) {
            finding.at_path(path);
            finding.evidence(path.display().to_string(), format!("mode {:04o}", metadata.mode));
        }
        // What else is wrong with these comes right with their modes.
        let comes_right =
            |path: &&PathBuf| is_host_key(path) || needs_setuid(path) || path.starts_with("/root") || is_sshds(path);
        for path in open.keys().filter(comes_right) {
            finding.explains(path);
        }
        let changes: Vec<Change> = open
            .iter()
            .map(|(path, (metadata, after))| Change::Mode { path: path.clone(), before: metadata.mode, after: *after })
            .collect();
        let title = tr!("restore the usual mode of {count} {count?path|paths}", count = changes.len());
        finding.repair(Risk::Safe, title, changes);
    }
    if let Some((first, metadata, after)) = owned.first() {
        let owner = format!("{}:{}", metadata.uid, metadata.gid);
        let finding = found.error(if *after == metadata.mode {
            tr!("{path} is owned by user {owner} instead of root", path = first.as_path(), owner)
        } else {
            tr!(
                "{path} is owned by user {owner} instead of root, and has mode {mode}",
                path = first.as_path(),
                owner,
                mode = format!("{:04o}", metadata.mode)
            )
        });
        finding.why(tr!("that user can replace what root runs, and sshd, sudo and systemd refuse to work with it"));
        finding.subject(Subject::Named("owners".to_owned())).extent(owned.len());
        let mut changes = Vec::new();
        for (path, metadata, after) in &owned {
            finding.at_path(path);
            if is_sshds(path) || is_host_key(path) || needs_setuid(path) || path.starts_with("/root") {
                finding.explains(path);
            }
            let before = (metadata.uid, metadata.gid);
            // The group may be one that a package uses, as `shadow`.
            let group =
                if is_peoples(facts, metadata.gid) { usual_owner(facts, path, metadata).1 } else { metadata.gid };
            changes.push(Change::Owner { path: path.clone(), before, after: (0, group) });
            if *after != metadata.mode {
                changes.push(Change::Mode { path: path.clone(), before: metadata.mode, after: *after });
            }
        }
        finding.repair(
            Risk::Safe,
            tr!("give ownership of {count} {count?path|paths} back to root", count = owned.len()),
            changes,
        );
    }
    if let Some((first, metadata, _)) = readable.first() {
        let finding = found.error(tr!(
            "{path} can be read by group {group}, which is not one of the system's groups",
            path = first.as_path(),
            group = metadata.gid
        ));
        finding.subject(Subject::Named("hashes".to_owned())).extent(readable.len());
        finding.why(tr!("whoever reads the hashes can try passwords as fast as their hardware allows"));
        let mut changes = Vec::new();
        for (path, metadata, group) in &readable {
            finding.at_path(path);
            let before = (0, metadata.gid);
            changes.push(Change::Owner { path: path.clone(), before, after: (0, *group) });
        }
        finding.repair(
            Risk::Safe,
            tr!("restore the usual group of {count} {count?path|paths}", count = changes.len()),
            changes,
        );
    }
    Ok(())
}

/// The directory that sshd locks itself into, of which `sshd-user-missing` says what follows.
fn is_sshds(path: &Path) -> bool {
    path == Path::new("/var/empty/sshd")
}

/// Whether the file holds hashes of passwords.
fn holds_hashes(rule: &Rule) -> bool {
    rule.path.contains("shadow")
}

/// Whether a group is nobody's, or the own group of somebody who is no account of the system.
fn is_peoples(facts: &Facts, gid: u32) -> bool {
    let Ok(accounts) = facts.get::<Accounts>() else { return false };
    let (passwd, group) = (accounts.parsed(Kind::Passwd), accounts.parsed(Kind::Group));
    let is_known = group.good().any(|entry| entry.number(2) == Some(i64::from(gid)));
    let of_a_user = passwd
        .good()
        .any(|entry| entry.number(3) == Some(i64::from(gid)) && entry.number(2).is_some_and(|uid| uid >= 1000));
    gid != 0 && gid != NOBODY && passwd.sound() && group.sound() && (of_a_user || !is_known)
}

/// Collects every packaged file that everybody may write, wherever it is, and gives all the modes of the packages at hand.
fn packaged(facts: &Facts, open: &mut BTreeMap<PathBuf, (Metadata, u32)>) {
    let Ok(packages) = facts.get::<Packages>() else { return };
    let mut dir: Option<(&Path, Option<Dir>)> = None;
    for file in packages.files.iter().take(LIMIT * 8) {
        let path = file.as_path();
        let (Some(above), Some(name)) = (path.parent(), path.file_name()) else { continue };
        if dir.as_ref().is_none_or(|(path, _)| *path != above) {
            dir = Some((above, facts.root().dir(above).ok()));
        }
        let Some((_, Some(dir))) = &dir else { continue };
        let Some(metadata) = dir.metadata(name).ok().filter(is_open) else { continue };
        // A package may bring what everybody may write.
        if open.len() < LIMIT && packaged_mode(facts, path) != Some(metadata.mode) && !open.contains_key(path) {
            let rule = RULES.iter().find(|rule| Path::new(rule.path) == path);
            let after =
                rule.map_or_else(|| usual_mode(facts, path, &metadata), |rule| right_mode(facts, rule, &metadata));
            open.insert(path.to_owned(), (metadata, after));
        }
    }
    let paths: Vec<PathBuf> = open.keys().cloned().collect();
    for (path, mode) in restore::modes(facts, &paths) {
        if let Some((metadata, after)) = open.get_mut(&path) {
            *after = mode;
            // A file that a package brought so is not open.
            if metadata.mode == mode {
                open.remove(&path);
            }
        }
    }
}

/// Collects what everybody may write at and below `path`, but not on the donor.
fn as_donor(root: &Root, donor: &Root, path: &Path, depth: usize, open: &mut BTreeMap<PathBuf, (Metadata, u32)>) {
    let (Ok(ours), Ok(theirs)) = (root.metadata(path), donor.metadata(path)) else { return };
    if ours.kind != theirs.kind || depth > 32 || open.len() >= LIMIT {
        return;
    }
    if is_open(&ours) && !is_open(&theirs) && ours.uid == theirs.uid && !open.contains_key(path) {
        open.insert(path.to_owned(), (ours, theirs.mode));
    }
    if ours.is_dir() {
        for entry in root.read_dir(path).unwrap_or_default() {
            as_donor(root, donor, &path.join(&entry.name), depth + 1, open);
        }
    }
}

/// Collects what everybody may write in `dir`, and goes on below directories that everybody may write. The files of
/// `/etc` and of the program directories are looked at in any case.
fn walk(facts: &Facts, root: &Root, dir: &Path, depth: usize, open: &mut BTreeMap<PathBuf, (Metadata, u32)>) {
    let Ok(metadata) = root.metadata(dir) else { return };
    let writable = metadata.mode & 0o002 != 0;
    let looked_at = depth == 0 && !dir.ends_with("usr") && !dir.ends_with("lib") && !dir.ends_with("lib64");
    if depth > 32 || !(writable || looked_at) {
        return;
    }
    let Ok(entries) = root.read_dir(dir) else { return };
    for entry in entries {
        if open.len() >= LIMIT {
            return;
        }
        if !matches!(entry.kind, FileKind::File | FileKind::Dir) {
            continue;
        }
        let path = dir.join(&entry.name);
        let Ok(metadata) = root.metadata(&path) else { continue };
        if is_open(&metadata) && packaged_mode(facts, &path) != Some(metadata.mode) {
            open.entry(path.clone()).or_insert_with(|| (metadata, usual_mode(facts, &path, &metadata)));
        }
        if metadata.is_dir() {
            walk(facts, root, &path, depth + 1, open);
        }
    }
}
