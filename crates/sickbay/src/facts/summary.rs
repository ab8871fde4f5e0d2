//! What the target is, in a few words, for the head of a report.
use crate::facts::Facts;
use crate::report::TargetSummary;
use std::sync::Arc;
/// s
pub fn of(facts: &Arc<Facts>) -> TargetSummary {
    TargetSummary {
        kind: "root",
        name: facts.target().name.clone(),
        description: vec![],
        id: None,
        version: None,
        pretty_name: None,
        kernel: None,
        notes: vec![],
    }
}
