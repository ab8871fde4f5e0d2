//! PAM files that are named and not there, or empty.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::check::Verdict;
use crate::facts::Facts;
use crate::facts::pam::judge::{Attempt, Judgement, User, judge};
use crate::facts::pam::{DIRS, Gap, Pam, Service, What, mend};
use crate::finding::{Findings, Severity};
use crate::proof::Stage;
use crate::{check, tr};

check! {
    /// ## What it finds
    /// A PAM file that is missing or empty: that of `login`, `sshd`, `su` or `sudo`, or one that these include (`common-auth`,
    /// `system-auth`). What follows is worked out as libpam does it: where `login` has no file, `other` decides, which lets in
    /// on Debian and refuses on RHEL; a file that `@include` names and that is not there stops every call to libpam.
    ///
    /// ## Why it matters
    /// Nobody can log in, on the console ("Authentication failure", "Permission denied", "login: PAM Failure, aborting") or over ssh.
    /// An empty file of `auth` rules can also let everybody in.
    ///
    /// ## What the repair does
    /// Where a rule names a file that differs from one that is there by a letter or two, writes that name. Else puts the donor's file there, a copy that lies beside it (`.dpkg-dist`, `.rpmnew`, `.rpmsave`), or the file as the
    /// distribution ships it; on Debian put together from `/usr/share/pam-configs`. Each is judged before it is offered: root is
    /// let in with the right password and refused with a wrong one. By hand: reinstall the package, `pam-auth-update --force`
    /// or `authselect apply-changes -b`.
    "pam-file-missing", Login, seed = ["L2", "L9", "C3"], proves = [PamLogin, PamSshd],
    "a PAM file is missing or empty"
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
    for (path, users) in by_path {
        let Some((_, gap)) = users.first() else { continue };
        let (mut stops, mut opens) = (Vec::new(), Vec::new());
        for (service, _) in &users {
            let Some(stage) = service.stage else { continue };
            let attempt = Attempt::right(&root);
            if matches!(judge(facts, service, attempt)?, Judgement::Refuses(_)) {
                stops.push((stage, service.name.clone()));
            }
            if matches!(mend::wrong_password(facts, service, &root, false)?, Judgement::LetsIn) {
                opens.push(service.name.clone());
            }
        }
        let replacements = mend::replacements(facts, &pam, &path)?;
        if !mend::is_fault(facts, &pam, gap)? {
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
        finding.at_path(&path).about(mend::end_of_links(facts, &path)).explains(&path);
        if let Some((file, span)) = &gap.by {
            finding.evidence(format!("{}:{}", file.path.display(), span.line), file.line_text(span.line));
        }
        finding.why(if !opens.is_empty() {
            tr!("everybody is let in without a password by {services}", services = opens.join(", "))
        } else if stops.is_empty() && gap.by.is_none() {
            let other = format!("{}/other", DIRS[0]);
            tr!("{other} decides for {services} instead", other, services)
        } else if stops.is_empty() {
            tr!("rules of {services} are lost", services)
        } else {
            let stopped: Vec<&str> = stops.iter().map(|(_, name)| name.as_str()).collect();
            tr!("nobody is let in by {services}", services = stopped.join(", "))
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
            repairs.extend(mend::respelt(facts, &path, &named, &DIRS.map(PathBuf::from))?);
        }
        if repairs.is_empty() {
            finding.by_hand(tr!(
                "reinstall the package that has {path}, or give a root of the same release with --donor",
                path = path.as_path()
            ));
        }
        for repair in repairs {
            finding.repair(repair.risk, repair.title, repair.changes);
        }
    }
    Ok(())
}
