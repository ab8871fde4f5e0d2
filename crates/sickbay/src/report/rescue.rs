//! What `rescue` did, step by step, for whoever ordered it: `sickbay/rescue/v1`.

use schemars::JsonSchema;
use serde::Serialize;

use crate::boot::Outcome as Boot;
use crate::engine::proof::{Proof, State};
use crate::model::stage::Stage;
use crate::model::text::{Lang, Text};
use crate::report::Report;
use crate::report::documents::EntryV1;
use crate::report::json_v1::{ReportV1, Tool};
use crate::tr;

/// A rescue, finished or under way.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RescueV1 {
    /// Always `sickbay/rescue/v1`.
    pub schema: &'static str,
    /// Who wrote it.
    pub tool: Tool,
    /// The disk; what was named, until it was found.
    pub disk: String,
    /// When it began: RFC 3339, UTC.
    pub started: String,
    /// How it ended; absent while it is under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// The steps so far, in order.
    pub steps: Vec<StepV1>,
    /// Repairs that were on the disk before: of a rescue that was cut off, or of `fix`.
    pub earlier: Vec<EarlierV1>,
    /// What still stands in the way of a boot or a login, or could not be told.
    pub in_the_way: Vec<String>,
    /// The command that takes the repairs back; absent where there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undo: Option<String>,
    /// The last look at the disk, with what was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<ReportV1>,
}

/// An entry of the journal that was found.
#[derive(Debug, Serialize, JsonSchema)]
pub struct EarlierV1 {
    /// The number of its journal entry, as `undo` takes it.
    pub journal: String,
    /// What it says of itself; absent where it cannot be read.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub entry: Option<EntryV1>,
    /// Whether its repair was made wholly; else it was cut off, and is taken back first.
    pub finished: bool,
}

/// A step.
#[derive(Debug, Serialize, JsonSchema)]
pub struct StepV1 {
    /// Which step it is.
    pub step: Step,
    /// Whether it was done.
    pub done: bool,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// What it came to.
    pub text: String,
}

/// The steps, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// The disk is found, and that nobody uses it.
    Identify,
    /// Repairs that were cut off are taken back.
    Recover,
    /// What is wrong.
    Check,
    /// What is to be done about it.
    Plan,
    /// That is done, and looked at again.
    Repair,
    /// A copy is booted.
    Prove,
}

/// How a rescue ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Nothing stood in the way of a boot or a login, and nothing was done.
    Healthy,
    /// Something was repaired, and nothing stands in the way any more.
    Rescued,
    /// Something still does.
    NotRescued,
    /// That cannot be told.
    Unknown,
}

impl Step {
    /// The sentence for people.
    pub fn title(self) -> Text {
        match self {
            Step::Identify => tr!("identify:"),
            Step::Recover => tr!("recover:"),
            Step::Check => tr!("check:"),
            Step::Plan => tr!("plan:"),
            Step::Repair => tr!("repair:"),
            Step::Prove => tr!("prove:"),
        }
    }
}

impl Verdict {
    /// The exit status.
    pub fn exit_code(self) -> u8 {
        match self {
            Verdict::Healthy | Verdict::Rescued => 0,
            Verdict::NotRescued => 1,
            Verdict::Unknown => 2,
        }
    }

    /// The sentence for people.
    pub fn text(self) -> Text {
        match self {
            Verdict::Healthy => tr!("nothing stands in the way of a boot or a login, and nothing was changed"),
            Verdict::Rescued => tr!("repaired: nothing stands in the way of a boot or a login any more"),
            Verdict::NotRescued => tr!("not rescued: something still stands in the way of a boot or a login"),
            Verdict::Unknown => tr!("whether it boots and lets root in could not be told"),
        }
    }
}

/// How it ended, and what is in the way. Findings that stop neither a boot nor a login are left to the report.
pub fn verdict(report: &Report) -> (Verdict, Vec<Text>) {
    let booted = report.trial.as_ref().map(|trial| trial.outcome);
    let proofs = || std::iter::once(&report.boot).chain(report.logins.iter().map(|(_, proof)| proof));
    let (mut broken, mut unknown) = (Vec::new(), Vec::new());
    for (stage, state) in proofs().flat_map(|proof: &Proof| &proof.stages) {
        match state {
            State::Broken(index) => broken.extend(report.diagnosis.findings.get(*index).map(|one| one.message.clone())),
            // Whether it is reached depends on the network that it is in, which no disk shows.
            State::Unknown(_) if matches!(stage, Stage::Network | Stage::Reachable) => {}
            State::Unknown(why) => unknown.push(told(*stage, why)),
            State::Ok | State::Closed(_) | State::NotApplicable(_) => {}
        }
    }
    let trial = report.trial.as_ref().and_then(|trial| trial.untold.clone());
    unknown.extend(trial);
    let is_stopped = booted == Some(Boot::Stopped);
    let is_changed = report.applied.iter().flatten().any(|one| one.journal.is_some());
    let verdict = match (broken.is_empty() && !is_stopped, unknown.is_empty(), is_changed) {
        (false, ..) => Verdict::NotRescued,
        (true, false, _) => Verdict::Unknown,
        (true, true, true) => Verdict::Rescued,
        (true, true, false) => Verdict::Healthy,
    };
    let mut all = broken;
    all.extend(unknown);
    let mut seen = std::collections::HashSet::new();
    all.retain(|text: &Text| seen.insert(text.render(Lang::En)));
    (verdict, all)
}

fn told(stage: Stage, why: &Text) -> Text {
    tr!("{stage}: {why}", stage = stage.title(), why)
}
