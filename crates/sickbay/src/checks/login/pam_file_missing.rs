//! PAM files that are named and not there, or empty.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::facts::Facts;
use crate::facts::login::pam::judge::{Attempt, Judgement, User, judge};
use crate::facts::login::pam::{DIRS, Gap, Pam, Service, What};
use crate::mend::pam_ring::{Closing, closing};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::model::repair::{Change, Risk};
use crate::model::stage::Stage;
use crate::{check, mend, tr};

check! {
    /// ## Symptom
    /// You see: "login: PAM Failure, aborting: Critical error - immediate abort", "Authentication failure" or
    /// "Permission denied" for everyone; or a login without a password.
    ///
    /// ## What it finds
    /// A PAM file that is missing or empty: that of `login`, `sshd`, `su` or `sudo`, or one that these include
    /// (`common-auth`, `system-auth`). The consequences are worked out the way libpam does it: where `login` has no
    /// file, `other` applies, which accepts on Debian and refuses on RHEL; a file named by `@include` that does not
    /// exist makes every call to libpam fail. Links into one directory that lost its files (`/etc/authselect`) are one
    /// finding.
    ///
    /// ## Why it matters
    /// Nobody can log in, on the console or over ssh. An empty file of `auth` rules can also let everyone in.
    ///
    /// ## What the repair does
    /// Where a rule names a file that differs by a letter or two from one that exists, writes that name. Otherwise
    /// installs the donor's file, a copy that lies next to it (`.dpkg-dist`, `.rpmnew`, `.rpmsave`), or the file as
    /// shipped by the distribution; on Debian assembled from `/usr/share/pam-configs`. Each is evaluated before it is
    /// offered: root gets in with the right password and is refused with a wrong one.
    ///
    /// ## By hand
    /// ```sh
    /// # in a chroot: reinstall the package, or
    /// pam-auth-update --force
    /// authselect apply-changes -b
    /// ```
    "pam-file-missing", Login, seed = ["L2", "L9", "C3"], proves = [PamLogin, PamSshd],
    "a PAM file is missing or empty"
}

/// Links that lead into a directory in which none of what they name is, grouped by that directory; groups of one are left out.
fn links_into_one_directory(facts: &Facts, by_path: &BTreeMap<PathBuf, Vec<(&Service, &Gap)>>) -> Vec<Vec<PathBuf>> {
    let mut groups: BTreeMap<PathBuf, Vec<PathBuf>> = BTreeMap::new();
    for (path, users) in by_path {
        let missing = users.iter().all(|(_, gap)| gap.what == What::Missing);
        let end = mend::pam::end_of_links(facts, path);
        if missing && end.parent() != path.parent() {
            groups.entry(end.parent().map(Path::to_owned).unwrap_or_default()).or_default().push(path.clone());
        }
    }
    groups.into_values().filter(|group| group.len() > 1).collect()
}

/// One finding for links into a directory that lost its files, and one repair: together they are what the services need.
fn of_links(facts: &Facts, found: &mut Findings, pam: &Pam, root: &User, links: &[PathBuf]) -> Verdict {
    let dir = links.first().map(|link| mend::pam::end_of_links(facts, link)).unwrap_or_default();
    let dir = dir.parent().unwrap_or(Path::new("/")).to_owned();
    let mut stopped = Vec::new();
    for service in pam.ways_in() {
        let concerned = service.gaps.iter().any(|gap| links.contains(&gap.path));
        if concerned && matches!(judge(facts, service, Attempt::right(root))?, Judgement::Refuses(_)) {
            stopped.push((service.stage, service.name.as_str()));
        }
    }
    let severity = if stopped.is_empty() { Severity::Error } else { Severity::Critical };
    let count = links.len();
    let finding = found.add(
        severity,
        tr!("{count} PAM files are links into {dir}, which has no files of those names", count, dir = dir.as_path()),
    );
    finding.at_path(&dir).explains(&dir);
    for link in links {
        finding.at_path(link).explains(link).about(mend::pam::end_of_links(facts, link));
    }
    let names: Vec<&str> = stopped.iter().map(|(_, name)| *name).collect();
    finding.why(match names.is_empty() {
        true => tr!("the rules of these files are lost"),
        false => tr!("every login through {services} is rejected", services = names.join(", ")),
    });
    finding.detail("links", links.iter().map(|link| link.display().to_string()).collect::<Vec<_>>());
    for (stage, _) in &stopped {
        if let Some(stage) = stage {
            finding.stops(*stage);
        }
    }
    let mut risk = Risk::Safe;
    let mut changes = Vec::new();
    for link in links {
        let Some(best) = mend::pam::replacements(facts, pam, link)?.into_iter().next() else { break };
        risk = risk.max(best.risk);
        changes.push((link, best.changes));
    }
    let texts: Vec<(&Path, &[u8])> = changes
        .iter()
        .flat_map(|(link, changes)| changes.iter().map(move |change| (link.as_path(), change)))
        .filter_map(|(link, change)| match change {
            Change::Edit { after, .. } => Some((link, after.as_slice())),
            Change::Create { content, .. } => Some((link, content.as_slice())),
            _ => None,
        })
        .collect();
    let whole = changes.len() == count && mend::pam::effect_of_all(facts, pam, &texts)?.is_harmless();
    if whole {
        let title = tr!("write the {count} files as shipped by the distribution", count);
        finding.repair(risk, title, changes.into_iter().flat_map(|(_, changes)| changes));
    } else {
        finding.by_hand(tr!(
            "restore {dir}: authselect apply-changes, or supply a root of the same release with --donor",
            dir = dir.as_path()
        ));
    }
    Ok(())
}

/// Files that include each other: the line too many.
fn of_ring(facts: &Facts, found: &mut Findings, pam: &Pam, root: &User, closing: &Closing) -> Verdict {
    let mut stopped = Vec::new();
    for service in pam.ways_in() {
        let concerned = service.gaps.iter().any(|gap| gap.what == What::Ring);
        if concerned && matches!(judge(facts, service, Attempt::right(root))?, Judgement::Refuses(_)) {
            stopped.push((service.stage, service.name.as_str()));
        }
    }
    let (line, path) = (closing.span.line, closing.file.path.as_path());
    let finding =
        found.critical(tr!("line {line} of {path} includes a file that includes {path} again, endlessly", line, path));
    finding.at(&closing.file, closing.span);
    for path in &closing.ring {
        finding.explains(path.as_path());
    }
    let names: Vec<&str> = stopped.iter().map(|(_, name)| *name).collect();
    finding.why(tr!("every login through {services} is rejected", services = names.join(", ")));
    for stage in stopped.iter().filter_map(|(stage, _)| *stage) {
        finding.stops(stage);
    }
    finding.repair(Risk::Safe, tr!("comment out line {line} of {path}", line, path), [closing.change.clone()]);
    Ok(())
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let pam = facts.get::<Pam>()?;
    let root = User::named(facts, "root")?;
    let mut by_path: BTreeMap<PathBuf, Vec<(&Service, &Gap)>> = BTreeMap::new();
    for service in &pam.services {
        for gap in &service.gaps {
            by_path.entry(gap.path.clone()).or_default().push((service, gap));
        }
    }
    let together = links_into_one_directory(facts, &by_path);
    let ring = by_path.values().flatten().any(|(_, gap)| gap.what == What::Ring);
    let ring = if ring { closing(facts, &pam)? } else { None };
    if let Some(closing) = &ring {
        of_ring(facts, found, &pam, &root, closing)?;
    }
    for (path, users) in by_path {
        let Some((_, gap)) = users.first() else { continue };
        if gap.what == What::Ring && ring.is_some() {
            continue;
        }
        if let Some(others) = together.iter().find(|group| group.contains(&path)) {
            if others.first() == Some(&path) {
                of_links(facts, found, &pam, &root, others)?;
            }
            continue;
        }
        let (mut stops, mut opens) = (Vec::new(), Vec::new());
        for (service, _) in &users {
            let Some(stage) = service.stage else { continue };
            let attempt = Attempt::right(&root);
            if matches!(judge(facts, service, attempt)?, Judgement::Refuses(_)) {
                stops.push((stage, service.name.clone()));
            }
            if matches!(mend::pam::wrong_password(facts, service, &root, false)?, Judgement::LetsIn) {
                opens.push(service.name.clone());
            }
        }
        let replacements = mend::pam::replacements(facts, &pam, &path)?;
        if !mend::pam::is_fault(facts, &pam, gap)? {
            continue;
        }
        let on_the_way = users.iter().any(|(service, _)| service.stage.is_some());
        let severity = match (stops.is_empty() && opens.is_empty(), on_the_way) {
            (false, _) => Severity::Critical,
            (true, true) => Severity::Warning,
            // Without a file of its own it is as `other` has it.
            (true, false) if gap.by.is_none() => Severity::Warning,
            (true, false) => Severity::Error,
        };
        let names: Vec<&str> = users.iter().map(|(service, _)| service.name.as_str()).collect();
        let services = names.join(", ");
        let finding = found.add(
            severity,
            match gap.what {
                What::Missing => tr!("the PAM file {path} is missing", path = path.as_path()),
                What::Empty => tr!("the PAM file {path} is empty", path = path.as_path()),
                What::Ring => tr!("the PAM file {path} includes itself", path = path.as_path()),
            },
        );
        finding.at_path(&path).about(mend::pam::end_of_links(facts, &path)).explains(&path);
        if let Some((file, span)) = &gap.by {
            finding.evidence(format!("{}:{}", file.path.display(), span.line), file.line_text(span.line));
        }
        finding.why(if !opens.is_empty() {
            tr!("anyone can log in through {services} without a password", services = opens.join(", "))
        } else if stops.is_empty() && gap.by.is_none() {
            let other = format!("{}/other", DIRS[0]);
            tr!("{other} applies to {services} instead", other, services)
        } else if stops.is_empty() {
            tr!("rules of {services} are lost", services)
        } else {
            let stopped: Vec<&str> = stops.iter().map(|(_, name)| name.as_str()).collect();
            tr!("every login through {services} is rejected", services = stopped.join(", "))
        });
        finding.detail("services", names);
        for stage in [Stage::PamLogin, Stage::PamSshd]
            .into_iter()
            .filter(|stage| stops.iter().any(|(stopped, _)| stopped == stage))
        {
            finding.stops(stage);
        }
        let mut repairs = if gap.what == What::Ring { Vec::new() } else { replacements };
        if repairs.is_empty() && gap.what == What::Missing {
            let named: Vec<_> = users.iter().filter_map(|(_, gap)| Some(&gap.by.as_ref()?.0)).collect();
            repairs.extend(mend::pam::respelt(facts, &path, &named, &DIRS.map(PathBuf::from))?);
        }
        if repairs.is_empty() {
            finding.by_hand(tr!(
                "reinstall the package that provides {path}, or supply a root of the same release with --donor",
                path = path.as_path()
            ));
        }
        for repair in repairs {
            finding.repair(repair.risk, repair.title, repair.changes);
        }
    }
    Ok(())
}
