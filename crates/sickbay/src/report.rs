//! What is told to the user, in several forms, from one set of data.

pub mod alloc;
pub mod json_v1;
pub mod ledger;
pub mod symptom;
pub mod text;

use std::sync::Arc;

use sickbay_target::Kind;

use crate::diagnose::Diagnosis;
use crate::facts::Facts;
use crate::proof::{BOOT, LOGINS, Proof};
use crate::repair::session::Applied;
use crate::text::Text;

/// Everything that a report says.
#[derive(Debug)]
pub struct Report {
    /// When the look began.
    pub started: jiff::Timestamp,
    /// What was looked at.
    pub target: TargetSummary,
    /// What was found; after a `fix`, what is left.
    pub diagnosis: Diagnosis,
    /// The way from power-on to the services.
    pub boot: Proof,
    /// The ways in for root, by channel.
    pub logins: Vec<(&'static str, Proof)>,
    /// What `fix` did; `None` in the report of a `check`.
    pub applied: Option<Vec<Applied>>,
}

/// What was looked at.
#[derive(Clone, Debug)]
pub struct TargetSummary {
    /// `host`, `root`, `disk` or `log`.
    pub kind: &'static str,
    /// As the user named it.
    pub name: String,
    /// What it is made of: table, file systems.
    pub description: Vec<Text>,
    /// os-release's ID, if known.
    pub id: Option<String>,
    /// os-release's VERSION_ID, if known.
    pub version: Option<String>,
    /// os-release's PRETTY_NAME, if known.
    pub pretty_name: Option<String>,
    /// The running kernel, or the one that would boot.
    pub kernel: Option<String>,
    /// Remarks of the one who opened it: a journal that was not replayed, a second root.
    pub notes: Vec<String>,
}

impl Report {
    /// The report of one diagnosis.
    pub fn new(
        started: jiff::Timestamp,
        facts: &Arc<Facts>,
        diagnosis: Diagnosis,
        applied: Option<Vec<Applied>>,
    ) -> Report {
        // A log is not something that boots.
        let is_log = facts.target().kind == Kind::Log;
        Report {
            started,
            target: crate::facts::summary::of(facts),
            boot: if is_log { Proof { stages: Vec::new() } } else { Proof::of(BOOT, &diagnosis) },
            logins: LOGINS
                .iter()
                .filter(|_| !is_log)
                .map(|(channel, stages)| (*channel, Proof::of(stages, &diagnosis)))
                .collect(),
            diagnosis,
            applied,
        }
    }

    /// 0 clear, 1 findings, 2 something could not be told or done (which outweighs findings: the look is incomplete).
    pub fn exit_code(&self) -> u8 {
        // Where one repair did not help, the next one may have.
        let all = || self.applied.iter().flatten();
        let cleared = |one: &Applied| {
            all().any(|other| other.verified && other.check == one.check && other.finding == one.finding)
        };
        let undone = all().any(|one| !one.verified && !cleared(one));
        if self.diagnosis.something_unknown() || undone { 2 } else { u8::from(!self.diagnosis.findings.is_empty()) }
    }
}
