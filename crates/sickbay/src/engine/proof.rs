//! The two proofs: what must hold, stage by stage, for the target to boot and for root to log in.
//!
//! A proof adds no knowledge: a stage is broken when a finding says that it stops there, closed when a check says that nobody
//! comes through on purpose, unknown when a check that judges it, or might stop it, could not tell, and else ok: where a check
//! that judges it has looked.

use sickbay_formats::boot_console::{Console, Verdict};

use crate::facts::logs::console::stage as stage_of;
use crate::model::about::About;
use crate::model::diagnosis::Diagnosis;
use crate::model::outcome::Outcome;
use crate::model::stage::{Said, Stage};
use crate::model::text::Text;
use crate::tr;

/// The stages of a boot, in order.
pub const BOOT: &[Stage] = &[
    Stage::PartitionTable,
    Stage::BootLoader,
    Stage::BootConfig,
    Stage::Kernel,
    Stage::Initramfs,
    Stage::RootDevice,
    Stage::Init,
    Stage::Mounts,
    Stage::Services,
    Stage::Network,
];

/// The ways in for root, each with its stages in order.
pub const LOGINS: &[(&str, &[Stage])] = &[
    ("console", &[Stage::Account, Stage::Password, Stage::Shell, Stage::PamLogin, Stage::Profile]),
    (
        "ssh",
        &[
            Stage::Reachable,
            Stage::Account,
            Stage::Password,
            Stage::Sshd,
            Stage::SshdPolicy,
            Stage::PamSshd,
            Stage::Shell,
            Stage::Profile,
        ],
    ),
];

/// How a stage stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Every check that judges it looked and found nothing that stops it.
    Ok,
    /// The finding with this index stops it.
    Broken(usize),
    /// A check that judges it could not tell.
    Unknown(Text),
    /// Nobody comes through, and that is no fault; why.
    Closed(Text),
    /// No check that judges it applies.
    NotApplicable(Text),
}

/// One proof: stages with their state.
#[derive(Clone, Debug)]
pub struct Proof {
    /// The stages, in the order in which a boot or a login goes through them.
    pub stages: Vec<(Stage, State)>,
}

impl Proof {
    /// Reads the proof over `stages` from a diagnosis.
    pub fn of(stages: &[Stage], diagnosis: &Diagnosis) -> Proof {
        Proof { stages: stages.iter().map(|&stage| (stage, state(stage, diagnosis))).collect() }
    }

    /// Whether every stage is ok, closed on purpose, or does not apply.
    pub fn holds(&self) -> bool {
        self.stages.iter().all(|(_, state)| matches!(state, State::Ok | State::Closed(_) | State::NotApplicable(_)))
    }
}

fn state(stage: Stage, diagnosis: &Diagnosis) -> State {
    // A cause is named before its consequences.
    let stopping = |(_, finding): &(usize, &crate::model::finding::Finding)| finding.stops.contains(&stage);
    if let Some((index, _)) = diagnosis
        .findings
        .iter()
        .enumerate()
        .filter(stopping)
        .min_by_key(|(index, finding)| (finding.caused_by.is_some(), *index))
    {
        return State::Broken(diagnosis.root_cause(index));
    }
    if let Some((_, said)) = diagnosis.said.iter().find(|(known, _)| *known == stage) {
        return match said {
            Said::Closed(why) => State::Closed(why.clone()),
            Said::Open(why) => State::Unknown(why.clone()),
        };
    }
    let mut judged = false;
    let mut not_applicable = None;
    let concerns = |check: &About| check.proves.contains(&stage) || check.may_stop.contains(&stage);
    for (check, outcome) in diagnosis.outcomes.iter().filter(|(check, _)| concerns(check)) {
        match outcome {
            Outcome::Unknown(why) | Outcome::Broken(why) | Outcome::Found(Some(why)) => {
                return State::Unknown(why.clone());
            }
            Outcome::Skipped => return State::Unknown(tr!("{check} was skipped (--skip)", check = check.id)),
            Outcome::NotApplicable(why) => not_applicable = Some(why.clone()),
            // That a disk has room says nothing of an initramfs that may not be there at all.
            Outcome::Clear | Outcome::Found(None) => judged |= check.proves.contains(&stage),
        }
    }
    match not_applicable {
        _ if judged => State::Ok,
        Some(why) => State::NotApplicable(why),
        None => State::Unknown(tr!("no check covers this")),
    }
}

/// The boot proof of what was seen; `finding` is what stops it. What lies behind the stop was not seen.
pub fn of_console(seen: &Console, finding: Option<usize>) -> Proof {
    let stop = match &seen.verdict {
        Verdict::Reached { .. } => None,
        Verdict::Stopped(stop) | Verdict::GoingOn(stop) => Some(stage_of(stop.stage)),
        Verdict::Nothing => Some(Stage::PartitionTable),
    };
    let mut behind = false;
    // A console does not show the network.
    let stages = BOOT.iter().filter(|stage| **stage != Stage::Network).map(|&each| {
        let state = match (behind, stop == Some(each), finding) {
            (true, ..) => State::Unknown(tr!("the boot did not get this far")),
            (false, true, Some(index)) => State::Broken(index),
            (false, true, None) => State::Unknown(tr!("the boot did not get any further")),
            (false, false, _) => State::Ok,
        };
        behind |= stop == Some(each);
        (each, state)
    });
    Proof { stages: stages.collect() }
}
