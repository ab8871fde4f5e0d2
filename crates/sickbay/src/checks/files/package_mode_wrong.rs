//! Modes and owners that are not those of the package, where the database knows them.

use std::path::Path;

use sickbay_target::{FileKind, Metadata};

use super::packaged::{basic_packages, by_package, named_elsewhere, names, point};
use super::setuid_lost;
use crate::check::{Skip, Verdict};
use crate::facts::Facts;
use crate::facts::packages::{Exact, PackagedFile, Packages, Survey, System};
use crate::finding::{Findings, Severity};
use crate::repair::{Change, Risk};
use crate::{check, tr};

check! {
    /// ## What it finds
    /// On systems of rpm, whose database knows mode and owner of every file: programs that nobody may execute any more,
    /// libraries and their directories that others than root cannot read, programs and libraries that belong to another
    /// user than the package says, and many modes that changed at once.
    ///
    /// A program that an administrator made unusable for ordinary users, or took the set-user-ID bit from, is no finding; nor is
    /// configuration. What everybody may write is `mode-too-open`'s to say, su and sudo are `setuid-lost`'s.
    ///
    /// ## Why it matters
    /// A `chmod -R` or `chown -R` that went one directory too high, or a copy without attributes, leaves a system that works
    /// for root and fails for every service.
    ///
    /// ## What the repair does
    /// Gives every file of every package the owner and the mode that the database has for it, wherever they differ, set-user-ID
    /// bits included. By hand: `rpm --setugids -a; rpm --setperms -a`, in this order.
    "package-mode-wrong", Files, seed = ["B9"], proves = [], "packaged files have wrong modes or owners"
}

/// So many modes do not change one by one.
const MANY: usize = 20;

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let packages = facts.get::<Packages>()?;
    if packages.system != System::Rpm {
        return Err(Skip::NotApplicable(tr!("dpkg's database knows neither modes nor owners")));
    }
    let survey = facts.get::<Survey>()?;
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
    let is_alone = |files: &[&PackagedFile]| files.iter().all(|file| setuid_lost::judges(file.as_path()));
    let basic = basic_packages(facts, &packages);
    for (files, by_owner) in [(owned, true), (modes, false)] {
        let Some(first) = files.first().filter(|_| !is_alone(&files)) else { continue };
        let of = names(&by_package(&packages, files.iter().copied()));
        let now = facts.root().metadata(first.as_path())?;
        let (path, more) = (first.as_path(), files.len() - 1);
        let what = if by_owner { format!("{}:{}", now.uid, now.gid) } else { format!("{:04o}", now.mode) };
        let message = match (by_owner, more) {
            (true, 0) => tr!("{path} of {package} belongs to {owner}", path, package = of, owner = what),
            (true, _) => tr!(
                "{path} belongs to {owner}, and {more} more {more?file|files} of {package} {more?has a wrong owner|have wrong owners}",
                path,
                owner = what,
                more,
                package = of
            ),
            (false, 0) => tr!("{path} of {package} has mode {mode}", path, package = of, mode = what),
            (false, _) => tr!(
                "{path} has mode {mode}, and {more} more {more?file|files} of {package} {more?has a wrong mode|have wrong modes}",
                path,
                mode = what,
                more,
                package = of
            ),
        };
        let needed = more + 1 >= MANY || files.iter().any(|file| basic.contains(&file.package));
        let finding = found.add(if needed { Severity::Error } else { Severity::Warning }, message);
        finding.why(if by_owner {
            tr!("that user can replace what root runs, and services refuse files that are not root's")
        } else {
            tr!("root can still use everything, services and users cannot")
        });
        point(finding, &packages, &files);
        if more > 0 {
            for file in files.iter().filter(|file| setuid_lost::judges(file.as_path())) {
                finding.explains(file.as_path());
            }
        }
        let changes = if more == 0 { changes_of(first, &now) } else { all_changes(facts, &packages, by_owner) };
        let title = tr!(
            "give {count} {count?path|paths} the mode and owner of {count?its package|their packages}",
            count = paths(&changes)
        );
        finding.repair(Risk::Safe, title, changes);
    }
    Ok(())
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
