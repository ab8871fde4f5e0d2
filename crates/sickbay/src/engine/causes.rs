//! What causes what: consequences under their causes, in the order in which they are told.

use std::collections::HashSet;

use crate::model::about::About;
use crate::model::finding::{Finding, Severity};
use crate::model::outcome::Outcome;

/// Findings that are nothing without another go where that one is not; a check that has none left is clear.
pub(crate) fn drop_unexplained(findings: &mut Vec<Finding>, outcomes: &mut [(&'static About, Outcome)]) {
    let found: HashSet<&str> = findings.iter().map(|finding| finding.check.id).collect();
    findings.retain(|finding| finding.only_under.is_empty() || finding.only_under.iter().any(|id| found.contains(id)));
    for (check, outcome) in outcomes {
        if let Outcome::Found(untold) = outcome
            && !findings.iter().any(|finding| finding.check.id == check.id)
        {
            *outcome = untold.take().map_or(Outcome::Clear, Outcome::Unknown);
        }
    }
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
                let causes = finding.only_under.iter();
                causes.filter_map(|id| findings.iter().position(|cause| cause.check.id == *id)).next()
            };
            best.map(|(other, _)| other).or_else(named)
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
    // What leads to a system that does not start is as bad.
    let critical = findings.iter().filter(|finding| finding.severity == Severity::Critical);
    for cause in critical.filter_map(|finding| finding.caused_by).collect::<Vec<_>>() {
        findings[cause].severity = Severity::Critical;
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
