//! Modes and owners that are not those of the package, where the database knows them.

use std::path::Path;

use sickbay_formats::accounts::Kind;
use sickbay_target::{FileKind, Metadata};

use crate::facts::Facts;
use crate::facts::login::accounts::Users;
use crate::facts::packages::modes::{MANY, has_rule, is_anothers, mode_with_bits, needs_setuid, usual_mode};
use crate::facts::packages::owners::{Owners, Taken};
use crate::facts::packages::{Exact, PackagedFile, Packages, Survey, System};
use crate::mend::packaged::{basic_packages, by_package, named_elsewhere, names, point};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::model::repair::{Change, Risk};
use crate::model::subject::Subject;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "Permission denied" for programs that everyone should be able to run, services that fail with
    /// "Permission denied", while root can do everything.
    ///
    /// ## What it finds
    /// A system that was given away: packaged paths owned by a user or group that is not an account of the system, or a
    /// great many owned by one that is, as after a `chown -R` one directory too high; and many programs and libraries
    /// that only root can still use. They are counted, and reported as one.
    ///
    /// On rpm systems, whose database records mode and owner of every file, also: programs that nobody can execute any
    /// more, libraries and their directories that only root can read, programs and libraries owned by a user other than
    /// the package says, and many modes that changed at once.
    ///
    /// A program that an administrator closed to ordinary users, or stripped of its set-user-ID bit, is not a finding;
    /// nor is configuration. World-writable files are covered by `mode-too-open`, su and sudo by `setuid-lost`.
    ///
    /// ## Why it matters
    /// A `chmod -R` or `chown -R` one directory too high, or a copy without attributes, leaves a system that works for
    /// root and fails for every service; and whoever owns a program or a library that root uses is root.
    ///
    /// ## What the repair does
    /// Gives every file of every package the owner and the mode recorded in rpm's database, wherever they differ,
    /// set-user-ID bits included. dpkg's database has none: there every path gets the owner that `dpkg-statoverride`,
    /// tmpfiles.d or the same package on the donor gives it, or that the distribution's scripts set, otherwise root,
    /// and the set-user-ID and set-group-ID bits that chown(2) cleared. Whatever lies next to them in system
    /// directories is given back too; home directories, `/srv`, `/opt`, and data below `/var` that a service created
    /// stay as they are.
    ///
    /// ## By hand
    /// ```sh
    /// # rpm systems, in this order
    /// rpm --root ROOT --setugids -a
    /// rpm --root ROOT --setperms -a
    /// ```
    "package-mode-wrong", Files, seed = ["B9"], proves = [], "packaged files have wrong modes or owners"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let packages = facts.get::<Packages>()?;
    let owners = facts.get::<Owners>()?;
    let is_rpm = packages.system == System::Rpm;
    // A few files of rpm's packages are told of by their package.
    let given_away = owners.is_recursive();
    if given_away {
        tell_given_away(facts, found, &owners);
    } else if !is_rpm {
        // `mode-too-open` and `setuid-lost` name theirs one by one.
        let some = owners.packaged.iter().filter(|taken| !has_rule(&taken.path) && !needs_setuid(&taken.path));
        tell_some(facts, found, &packages, &some.collect::<Vec<_>>(), &owners);
    }
    let survey = facts.get::<Survey>()?;
    if !is_rpm {
        if survey.closed.len() >= MANY {
            tell_closed(facts, found, &packages, &survey);
        }
        return Ok(());
    }
    let elsewhere = named_elsewhere(facts, &packages);
    let differing: Vec<(&PackagedFile, &Exact, Metadata)> = survey
        .attributes
        .iter()
        .filter_map(|(at, metadata)| {
            let file = packages.files.get(*at)?;
            Some((file, file.exact.as_deref()?, *metadata))
        })
        .filter(|(file, _, metadata)| !elsewhere.contains(file.as_path()) && metadata.mode & 0o002 == 0)
        .collect();
    let owned = differing.iter().filter(|(_, exact, metadata)| owner_differs(exact, metadata));
    // `mode-too-open` names these, with the mode.
    let owned = owned.filter(|(file, _, now)| !has_rule(file.as_path()) || !is_anothers(facts, file.as_path(), now));
    let owned: Vec<&PackagedFile> = owned.map(|(file, _, _)| *file).collect();
    let mode_differs = |(_, exact, metadata): &&(&PackagedFile, &Exact, Metadata)| exact.mode != Some(metadata.mode);
    let changed: Vec<&PackagedFile> = differing
        .iter()
        .filter(|(_, exact, metadata)| exact.mode.is_some() && !owner_differs(exact, metadata))
        .filter(mode_differs)
        .map(|(file, _, _)| *file)
        .collect();
    let harmful: Vec<&PackagedFile> =
        differing.iter().filter(|(_, exact, metadata)| is_harmful(exact, metadata)).map(|(file, _, _)| *file).collect();
    let modes = if changed.len() >= MANY { changed } else { harmful };
    // One of them alone is a finding of its own check.
    let is_alone = |files: &[&PackagedFile]| files.iter().all(|file| needs_setuid(file.as_path()));
    let basic = basic_packages(facts, &packages);
    for (files, by_owner) in [(owned, true), (modes, false)] {
        if by_owner && given_away {
            continue;
        }
        let Some(first) = files.first().filter(|_| !is_alone(&files)) else { continue };
        let of = names(&by_package(&packages, files.iter().copied()));
        let now = facts.root().metadata(first.as_path())?;
        let (path, more) = (first.as_path(), files.len() - 1);
        let what = if by_owner { format!("{}:{}", now.uid, now.gid) } else { format!("{:04o}", now.mode) };
        let message = match (by_owner, more) {
            (true, 0) => tr!("{path} from {package} is owned by {owner}", path, package = of, owner = what),
            (true, _) => tr!(
                "{path} is owned by {owner}, and {more} more {more?file|files} from {package} {more?has the wrong owner|have the wrong owner}",
                path,
                owner = what,
                more,
                package = of
            ),
            (false, 0) => tr!("{path} from {package} has mode {mode}", path, package = of, mode = what),
            (false, _) => tr!(
                "{path} has mode {mode}, and {more} more {more?file|files} from {package} {more?has the wrong mode|have the wrong mode}",
                path,
                mode = what,
                more,
                package = of
            ),
        };
        let needed = more + 1 >= MANY || files.iter().any(|file| basic.contains(&file.package));
        let finding = found.add(if needed { Severity::Error } else { Severity::Warning }, message);
        finding.why(if by_owner {
            tr!("that user can replace what root runs, and services reject files that root does not own")
        } else {
            tr!("root can still use everything; services and users cannot")
        });
        point(finding, &packages, &files);
        finding.subject(Subject::Named(if by_owner { "owners" } else { "modes" }.to_owned()));
        if more > 0 {
            for file in files.iter().filter(|file| needs_setuid(file.as_path())) {
                finding.explains(file.as_path());
            }
        }
        let changes = if more == 0 { changes_of(first, &now) } else { all_changes(facts, &packages, by_owner) };
        let title = tr!(
            "restore the mode and owner of {count} {count?path|paths} from {count?its package|their packages}",
            count = paths(&changes)
        );
        finding.repair(Risk::Safe, title, changes);
    }
    Ok(())
}

/// One finding for a whole system that was given to somebody.
fn tell_given_away(facts: &Facts, found: &mut Findings, owners: &Owners) {
    let Some(first) = owners.packaged.first() else { return };
    let to = whose(facts, first, owners);
    let count = owners.packaged.len();
    let finding = found.error(tr!("{count} packaged paths are owned by {owner}", count, owner = to));
    finding.why(tr!("that user can replace what root runs, and services reject files that root does not own"));
    finding.subject(Subject::Named("given away".to_owned())).extent(count);
    finding.detail("paths", count).detail("besides", owners.besides.len());
    let programs = owners.packaged.iter().filter(|taken| needs_setuid(&taken.path));
    for taken in programs.chain(&owners.packaged).take(SAMPLES) {
        if !finding.places.iter().any(|place| place.subject.path() == Some(&*taken.path)) {
            finding.at_path(&taken.path);
            finding.evidence(taken.path.display().to_string(), format!("owner {}:{}", taken.now.uid, taken.now.gid));
        }
    }
    // What other checks say of owners and set-user-ID bits comes right with this.
    let told_elsewhere = |path: &&Path| {
        let ssh = path.starts_with("/etc/ssh") || path.starts_with("/root") || path.ends_with("empty/sshd");
        ssh || path.starts_with("/etc/sudoers.d") || path.ends_with("sudoers") || needs_setuid(path)
    };
    for path in owners.all().map(|taken| taken.path.as_path()).filter(told_elsewhere) {
        finding.explains(path);
    }
    let unknown = &owners.unknown;
    if !unknown.is_empty() {
        let paths: Vec<String> = unknown.iter().take(SAMPLES).map(|path| path.display().to_string()).collect();
        finding.note(tr!(
            "left alone, because the former owner is unknown: {count} {count?path|paths}, with everything inside: {paths}",
            count = unknown.len(),
            paths = paths.join(" ")
        ));
    }
    finding.note(tr!("home directories and everything in /srv, /opt, /mnt and /media are also left alone"));
    let mut changes = Vec::new();
    for taken in owners.all() {
        changes.extend(changes_back(facts, taken));
    }
    let title = tr!("give {count} {count?path|paths} back to {count?its owner|their owners}", count = paths(&changes));
    finding.repair(Risk::Safe, title, changes);
}

/// One finding for programs and libraries that only root can use any more, where nothing knows the modes of all.
fn tell_closed(facts: &Facts, found: &mut Findings, packages: &Packages, survey: &Survey) {
    let closed = || survey.closed.iter().filter_map(|(at, now)| Some((packages.files.get(*at)?, now)));
    let files: Vec<&PackagedFile> = closed().map(|(file, _)| file).collect();
    let Some((first, now)) = closed().next() else { return };
    let message = tr!(
        "{path} has mode {mode}, and {more} more {more?file|files} from {package} {more?has the wrong mode|have the wrong mode}",
        path = first.as_path(),
        mode = format!("{:04o}", now.mode),
        more = files.len() - 1,
        package = names(&by_package(packages, files.iter().copied()))
    );
    let finding = found.error(message);
    finding.subject(Subject::Named("closed".to_owned())).extent(files.len());
    finding.why(tr!("root can still use everything; services and users cannot"));
    point(finding, packages, &files);
    for file in files.iter().filter(|file| needs_setuid(file.as_path())) {
        finding.explains(file.as_path());
    }
    let mut changes = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for file in packages.files.iter().filter(|file| seen.insert(&**file.path)) {
        let path = file.as_path();
        let Ok(now) = facts.root().metadata(path) else { continue };
        // Configuration may be secret: only what the donor lets everybody read is opened.
        let is_public = ["/usr", "/bin", "/sbin", "/lib", "/lib64"].iter().any(|top| path.starts_with(top));
        let on_donor = || facts.donor().and_then(|donor| donor.root().metadata(path).ok());
        if !matches!(now.kind, FileKind::File | FileKind::Dir)
            || !(is_public || path.starts_with("/etc") && on_donor().is_some_and(|donor| donor.kind == now.kind))
        {
            continue;
        }
        let after = usual_mode(facts, path, &now);
        if after & 0o555 & !now.mode != 0 {
            changes.push(Change::Mode { path: path.to_owned(), before: now.mode, after });
        }
    }
    let title = tr!(
        "restore the mode and owner of {count} {count?path|paths} from {count?its package|their packages}",
        count = paths(&changes)
    );
    finding.repair(Risk::Safe, title, changes);
}

/// A few paths of packages, that were given away one by one.
fn tell_some(facts: &Facts, found: &mut Findings, packages: &Packages, some: &[&Taken], owners: &Owners) {
    let Some(first) = some.first() else { return };
    let (path, owner) = (first.path.as_path(), whose(facts, first, owners));
    let package = packages.file(path).and_then(|file| packages.package(file));
    let package = package.map(|package| package.name.to_string()).unwrap_or_default();
    let finding = found.error(match some.len() {
        1 => tr!("{path} from {package} is owned by {owner}", path, package, owner),
        count => tr!("{count} packaged paths are owned by {owner}", count, owner),
    });
    finding.why(tr!("that user can replace what root runs, and services reject files that root does not own"));
    finding.subject(Subject::Named("given away".to_owned())).extent(some.len());
    for taken in some {
        finding.at_path(&taken.path);
    }
    finding.repair(
        Risk::Safe,
        tr!("give {count} {count?path|paths} back to {count?its owner|their owners}", count = some.len()),
        some.iter().flat_map(|taken| changes_back(facts, taken)),
    );
}

/// How many paths are named.
const SAMPLES: usize = 8;

/// The owner that is wrong, with its name where it has one.
fn whose(facts: &Facts, taken: &Taken, owners: &Owners) -> String {
    let (kind, what, id) = if owners.users.contains(&taken.now.uid) {
        (Kind::Passwd, "uid", taken.now.uid)
    } else {
        (Kind::Group, "gid", taken.now.gid)
    };
    let name = facts.get::<Users>().ok().and_then(|accounts| {
        let file = accounts.parsed(kind);
        file.good().find(|entry| entry.number(2) == Some(i64::from(id))).map(|entry| entry.name().to_string())
    });
    name.map_or_else(|| format!("{what} {id}"), |name| format!("{what} {id} ({name})"))
}

/// Owner and group, and then the bits that chown(2) takes away.
fn changes_back(facts: &Facts, taken: &Taken) -> Vec<Change> {
    let before = (taken.now.uid, taken.now.gid);
    let mut changes = vec![Change::Owner { path: taken.path.clone(), before, after: taken.owner }];
    if taken.now.kind == FileKind::Symlink {
        return changes;
    }
    let after = mode_with_bits(facts, &taken.path, &taken.now, taken.owner);
    // Giving a file another owner takes these bits away, so the mode is set again.
    if after != taken.now.mode || (taken.now.mode & 0o6000 != 0 && taken.now.kind == FileKind::File) {
        changes.push(Change::Mode { path: taken.path.clone(), before: taken.now.mode, after });
    }
    changes
}

fn owner_differs(exact: &Exact, metadata: &Metadata) -> bool {
    exact.owner.is_some_and(|owner| owner != (metadata.uid, metadata.gid))
}

/// Whether what the package lets others do has become impossible: nobody may execute a program, others cannot read a
/// library or enter a directory.
fn is_harmful(exact: &Exact, metadata: &Metadata) -> bool {
    let Some(wanted) = exact.mode else { return false };
    let lost = wanted & !metadata.mode;
    match exact.kind {
        FileKind::Dir => lost & 0o005 != 0,
        _ if wanted & 0o111 != 0 && metadata.mode & 0o111 == 0 => true,
        // A program that only some may use is an administrator's choice; a library is not.
        _ => lost & 0o004 != 0 && metadata.mode & 0o111 == 0,
    }
}

fn paths(changes: &[Change]) -> usize {
    let mut paths: Vec<&Path> = changes.iter().filter_map(Change::path).collect();
    paths.dedup();
    paths.len()
}

/// Everything that differs, of every package.
fn all_changes(facts: &Facts, packages: &Packages, by_owner: bool) -> Vec<Change> {
    let mut seen = std::collections::HashSet::new();
    let mut changes = Vec::new();
    for file in packages.files.iter().filter(|file| !file.config && seen.insert(&**file.path)) {
        let Some(exact) = &file.exact else { continue };
        let Ok(metadata) = facts.root().metadata(file.as_path()) else { continue };
        // Owners and modes are two findings; a file with a wrong owner gets both from the first.
        if metadata.kind == exact.kind && (owner_differs(exact, &metadata) == by_owner) {
            changes.extend(changes_of(file, &metadata));
        }
    }
    changes
}

fn changes_of(file: &PackagedFile, now: &Metadata) -> Vec<Change> {
    let mut changes = Vec::new();
    let Some(exact) = &file.exact else { return changes };
    let path = file.as_path().to_owned();
    let mut mode = now.mode;
    // Giving a file another owner takes its set-user-ID bit away, so the owner comes first.
    if let Some(after) = exact.owner.filter(|_| owner_differs(exact, now)) {
        changes.push(Change::Owner { path: path.clone(), before: (now.uid, now.gid), after });
        mode &= 0o1777;
    }
    if let Some(after) = exact.mode.filter(|after| *after != mode) {
        changes.push(Change::Mode { path, before: now.mode, after });
    }
    changes
}
