//! What causes what: consequences under their causes, in the order in which they are told.

use std::collections::HashSet;

use crate::model::about::About;
use crate::model::finding::{Evidence, Finding, Severity};
use crate::model::outcome::Outcome;
use crate::model::stage::Stage;
use crate::model::text::Lang;
use crate::tr;

/// Findings that are nothing without another go where that one is not; a check that has none left is clear.
pub(crate) fn drop_unexplained(findings: &mut Vec<Finding>, outcomes: &mut [(&'static About, Outcome)]) {
    let found: HashSet<&str> = findings.iter().map(|finding| finding.check.id).collect();
    let kept: Vec<bool> = findings
        .iter()
        .map(|finding| match &finding.only_about {
            _ if finding.only_under.is_empty() => true,
            None => finding.only_under.iter().any(|id| found.contains(id)),
            Some(_) => findings.iter().any(|cause| is_under(finding, cause)),
        })
        .collect();
    let mut kept = kept.into_iter();
    findings.retain(|_| kept.next().unwrap_or(true));
    for (check, outcome) in outcomes {
        if let Outcome::Found(untold) = outcome
            && !findings.iter().any(|finding| finding.check.id == check.id)
        {
            *outcome = untold.take().map_or(Outcome::Clear, Outcome::Unknown);
        }
    }
}

/// Whether `cause` is one of those that `finding` may only be under, and names what it is about.
fn is_under(finding: &Finding, cause: &Finding) -> bool {
    let Some(name) = finding.only_about.as_deref() else { return false };
    finding.only_under.contains(&cause.check.id) && mentions(cause, name.rsplit(['/', '=']).next().unwrap_or(name))
}

/// Whether a finding names this.
fn mentions(cause: &Finding, name: &str) -> bool {
    !name.is_empty()
        && (cause.message.render(Lang::En).contains(name)
            || cause.evidence.iter().any(|seen| seen.text.contains(name))
            || cause.places.iter().filter_map(|place| place.line.as_ref()).any(|line| line.text.contains(name))
            || cause.subjects().any(|subject| subject.to_string().contains(name)))
}

/// A finding hangs under the one that explains it most closely.
pub(crate) fn link_causes(findings: &mut [Finding]) {
    let parents: Vec<Option<usize>> = findings
        .iter()
        .enumerate()
        .map(|(index, finding)| {
            let mut best: Option<(usize, usize)> = None;
            for (other, cause) in findings.iter().enumerate().filter(|(other, _)| *other != index) {
                for explained in &cause.explains {
                    let concerned = finding.subjects().any(|subject| explained.covers(subject));
                    // Of two findings that explain each other the one that explains more stands, or the first.
                    let stands = (std::cmp::Reverse(finding.explains.len()), index)
                        < (std::cmp::Reverse(cause.explains.len()), other);
                    let mutual =
                        stands && finding.explains.iter().any(|own| cause.subjects().any(|theirs| own.covers(theirs)));
                    let depth = explained.depth();
                    if concerned && !mutual && best.is_none_or(|(_, deepest)| depth > deepest) {
                        best = Some((other, depth));
                    }
                }
            }
            let named = || {
                if finding.only_about.is_some() {
                    return findings.iter().position(|cause| is_under(finding, cause));
                }
                let causes = finding.only_under.iter();
                causes.filter_map(|id| findings.iter().position(|cause| cause.check.id == *id)).next()
            };
            let seen = || seen_from_outside(findings, finding);
            best.map(|(other, _)| other).or_else(named).or_else(seen)
        })
        .collect();
    for (index, finding) in findings.iter_mut().enumerate() {
        let mut cause = parents.get(index).copied().flatten();
        let mut steps = parents.len();
        while let Some(next) = cause.and_then(|index| parents.get(index).copied().flatten()) {
            // A ring of causes has no root: all its members stay findings of their own.
            if next == index || steps == 0 {
                cause = None;
                break;
            }
            cause = Some(next);
            steps -= 1;
        }
        finding.caused_by = cause;
    }
    quote(findings);
    // What leads to a system that does not start is as bad.
    let critical = findings.iter().filter(|finding| finding.severity == Severity::Critical);
    for cause in critical.filter_map(|finding| finding.caused_by).collect::<Vec<_>>() {
        findings[cause].severity = Severity::Critical;
    }
}

/// The finding that stops the stage at which a log shows the target stop, or one that the kernel had to come through before and
/// that shows there. One that names what the log blames is nearest.
fn seen_from_outside(findings: &[Finding], finding: &Finding) -> Option<usize> {
    let (stage, culprit) = finding.seen_at.as_ref()?;
    let stages: &[Stage] = match stage {
        // Without what is in an initramfs there is no root device.
        Stage::RootDevice => &[Stage::RootDevice, Stage::Initramfs, Stage::BootConfig],
        Stage::Init => &[Stage::Init, Stage::RootDevice],
        Stage::Services => &[Stage::Services, Stage::Mounts],
        stage => std::slice::from_ref(stage),
    };
    let name = culprit.rsplit(['/', '=']).next().unwrap_or_default();
    let mentions = |cause: &Finding| mentions(cause, name);
    // A UUID is one device and no other.
    let is_exact = matches!(stage, Stage::RootDevice | Stage::Mounts)
        && name.len() == 36
        && name.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    let rank = |cause: &Finding| stages.iter().position(|stage| cause.stops.contains(stage));
    let candidates = findings.iter().enumerate().filter(|(_, cause)| cause.seen_at.is_none());
    let mut ranked: Vec<(bool, usize, Severity, usize)> = candidates
        .filter_map(|(index, cause)| Some((!mentions(cause), rank(cause)?, cause.severity, index)))
        .filter(|(other, rank, ..)| !is_exact || !other || *rank > 0)
        .collect();
    ranked.sort_unstable();
    ranked.first().map(|(.., index)| *index)
}

/// What a log shows is evidence of the finding that explains it.
fn quote(findings: &mut [Finding]) {
    let shown: Vec<(usize, Vec<Evidence>)> = findings
        .iter()
        .filter(|finding| finding.seen_at.is_some())
        .filter_map(|finding| Some((finding.caused_by?, finding.evidence.iter().take(1).cloned().collect())))
        .collect();
    let alone: Vec<usize> = findings
        .iter()
        .enumerate()
        .filter(|(_, finding)| finding.seen_at.is_some() && finding.caused_by.is_none())
        .map(|(index, _)| index)
        .collect();
    for finding in findings.iter_mut().filter(|finding| finding.caused_by.is_some_and(|cause| alone.contains(&cause))) {
        finding.severity = finding.severity.max(Severity::Warning);
    }
    for index in alone {
        let Some(finding) = findings.get_mut(index) else { continue };
        finding.severity = Severity::Warning;
        finding.note(tr!("no finding on the disk explains it: it was repaired since, or the cause is not on it"));
    }
    for (cause, evidence) in shown {
        if let Some(finding) = findings.get_mut(cause) {
            finding.evidence.extend(evidence);
        }
    }
}

/// Causes by severity, each followed by its consequences; the indices of the causes are moved along.
pub(crate) fn in_order(findings: Vec<Finding>) -> Vec<Finding> {
    let mut order: Vec<usize> = (0..findings.len()).collect();
    order.sort_by_key(|&index| {
        let cause = findings[index].caused_by.unwrap_or(index);
        (findings[cause].severity, cause, findings[index].caused_by.is_some(), findings[index].severity, index)
    });
    let mut place = vec![0; order.len()];
    for (new, &old) in order.iter().enumerate() {
        place[old] = new;
    }
    let mut slots: Vec<Option<Finding>> = findings.into_iter().map(Some).collect();
    let mut sorted: Vec<Finding> = order.iter().filter_map(|&old| slots[old].take()).collect();
    for finding in &mut sorted {
        finding.caused_by = finding.caused_by.map(|old| place[old]);
    }
    sorted
}
