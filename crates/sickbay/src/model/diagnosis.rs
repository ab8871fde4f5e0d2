//! What all checks together say of a target.

use std::time::Duration;

use crate::model::about::About;
use crate::model::finding::Finding;
use crate::model::outcome::Outcome;
use crate::model::stage::{Said, Stage};

/// What all checks together say of a target.
#[derive(Clone, Debug)]
pub struct Diagnosis {
    /// How every check ended, in the order of the checks.
    pub outcomes: Vec<(&'static About, Outcome)>,
    /// What was found: causes first by severity, each followed by its consequences.
    pub findings: Vec<Finding>,
    /// Stages of the proofs through which nobody comes, which is no fault; and why.
    pub said: Vec<(Stage, Said)>,
    /// How long it took.
    pub took: Duration,
}

impl Diagnosis {
    /// The findings that nothing else causes.
    pub fn causes(&self) -> impl Iterator<Item = (usize, &Finding)> {
        self.findings.iter().enumerate().filter(|(_, finding)| finding.caused_by.is_none())
    }

    /// The index of the finding at the end of `index`'s chain of causes.
    pub fn root_cause(&self, index: usize) -> usize {
        // Causes are linked only to findings that have none themselves, see `link_causes`.
        self.findings.get(index).and_then(|finding| finding.caused_by).unwrap_or(index)
    }

    /// Whether some check could not tell something.
    pub fn something_unknown(&self) -> bool {
        self.outcomes
            .iter()
            .any(|(_, outcome)| matches!(outcome, Outcome::Unknown(_) | Outcome::Broken(_) | Outcome::Found(Some(_))))
    }
}
