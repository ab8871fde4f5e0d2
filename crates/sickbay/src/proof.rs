//! The two proofs: what must hold, stage by stage, for the target to boot and for root to log in.
//!
//! A proof adds no knowledge: a stage is broken when a finding says that it stops there, closed when a check says that nobody
//! comes through on purpose, unknown when a check that judges it, or might stop it, could not tell, and else ok: where a check
//! that judges it has looked.

use crate::check::{Check, Outcome};
use crate::diagnose::Diagnosis;
use crate::text::Text;
use crate::tr;

/// A stage of a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// A partition table that leads to the root file system.
    PartitionTable,
    /// The boot loader's own code and modules.
    #[serde(rename = "bootloader")]
    BootLoader,
    /// The boot loader's configuration.
    BootConfig,
    /// The kernel's file.
    Kernel,
    /// The initramfs's file.
    Initramfs,
    /// `root=` resolves.
    RootDevice,
    /// Process 1 and what it needs, and the directories that everything needs.
    Init,
    /// The file systems that must be mounted.
    Mounts,
    /// The units that must start, within the memory that is there.
    Services,
    /// root's line in the account files.
    Account,
    /// A password that can be given.
    Password,
    /// The shell and what it needs.
    Shell,
    /// The PAM stack of login.
    PamLogin,
    /// The PAM stack of sshd.
    PamSshd,
    /// sshd starts, and comes as far as asking who it is.
    Sshd,
    /// What sshd is told lets root in.
    SshdPolicy,
    /// The files that the shell reads first.
    Profile,
}

impl Stage {
    /// The words a user reads.
    pub fn title(self) -> Text {
        match self {
            Stage::PartitionTable => tr!("partition table"),
            Stage::BootLoader => tr!("boot loader"),
            Stage::BootConfig => tr!("boot configuration"),
            Stage::Kernel => tr!("kernel"),
            Stage::Initramfs => tr!("initramfs"),
            Stage::RootDevice => tr!("root="),
            Stage::Init => tr!("init"),
            Stage::Mounts => tr!("mounts"),
            Stage::Services => tr!("services"),
            Stage::Account => tr!("account"),
            Stage::Password => tr!("password"),
            Stage::Shell => tr!("shell"),
            Stage::PamLogin | Stage::PamSshd => tr!("PAM"),
            Stage::Sshd => tr!("sshd"),
            Stage::SshdPolicy => tr!("sshd policy"),
            Stage::Profile => tr!("profile"),
        }
    }
}

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
];

/// The ways in for root, each with its stages in order.
pub const LOGINS: &[(&str, &[Stage])] = &[
    ("console", &[Stage::Account, Stage::Password, Stage::Shell, Stage::PamLogin, Stage::Profile]),
    (
        "ssh",
        &[
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
    /// In order.
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
    let stopping = |(_, finding): &(usize, &crate::finding::Finding)| finding.stops.contains(&stage);
    if let Some((index, _)) = diagnosis
        .findings
        .iter()
        .enumerate()
        .filter(stopping)
        .min_by_key(|(index, finding)| (finding.caused_by.is_some(), *index))
    {
        return State::Broken(diagnosis.root_cause(index));
    }
    if let Some((_, why)) = diagnosis.closed.iter().find(|(closed, _)| *closed == stage) {
        return State::Closed(why.clone());
    }
    let mut judged = false;
    let mut not_applicable = None;
    let concerns = |check: &Check| check.proves.contains(&stage) || check.may_stop.contains(&stage);
    for (check, outcome) in diagnosis.outcomes.iter().filter(|(check, _)| concerns(check)) {
        match outcome {
            Outcome::Unknown(why) | Outcome::Broken(why) | Outcome::Found(Some(why)) => {
                return State::Unknown(why.clone());
            }
            Outcome::Skipped => return State::Unknown(tr!("{check} was left out (--skip)", check = check.id)),
            Outcome::NotApplicable(why) => not_applicable = Some(why.clone()),
            // That a disk has room says nothing of an initramfs that may not be there at all.
            Outcome::Clear | Outcome::Found(None) => judged |= check.proves.contains(&stage),
        }
    }
    match not_applicable {
        _ if judged => State::Ok,
        Some(why) => State::NotApplicable(why),
        None => State::Unknown(tr!("no check judges this")),
    }
}
