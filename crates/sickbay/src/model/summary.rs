//! What was looked at.

use crate::model::text::Text;

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
    /// Of logs: how much of them was understood.
    pub understood: Option<Understood>,
    /// The system from which lost files may be taken, and its release.
    pub donor: Option<Text>,
    /// Remarks of the one who opened it: a journal that was not replayed, a second root.
    pub notes: Vec<String>,
    /// Remarks of what was read: parts of a recording that are damaged.
    pub remarks: Vec<Text>,
}

/// How much of a log was understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct Understood {
    /// Lines that have a form that is known, and whose author's sentences are.
    pub lines: u64,
    /// Of so many that were looked at: all of them, or of a large log a sample.
    pub of: u64,
}
