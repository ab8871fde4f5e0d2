//! What is told to the user, in several forms, from one set of data.

pub mod alloc;
pub mod comparison;
pub mod documents;
pub mod filter;
pub mod forms;
pub mod html;
pub mod jitter;
pub mod json_v1;
pub mod junit;
pub mod ledger;
pub mod limits;
pub mod load;
pub mod markdown;
pub mod network;
pub mod openmetrics;
pub mod rates;
pub mod rescue;
#[cfg(test)]
mod sample;
pub mod sarif;
pub mod sockets;
pub mod symptom;
pub mod text;
mod timeline;
pub mod tune;
pub mod visible;
mod words;

use std::path::Path;
use std::sync::Arc;

use crate::boot::{Outcome, Trial};
use crate::engine::proof::{self, BOOT, LOGINS, Proof};
use crate::engine::rounds::Applied;
use crate::facts::Facts;
use crate::facts::glimpse::zone;
use crate::facts::logs::console::stage;
use crate::facts::logs::kernel_log::KernelLog;
use crate::facts::packages::comparison::Comparison;
use crate::model::diagnosis::Diagnosis;
use crate::model::repair::Risk;
use crate::model::summary::TargetSummary;
use crate::model::text::Text;
use crate::report::rates::Told;
use crate::sample::Window;
use crate::tr;

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
    /// A boot that was tried.
    pub trial: Option<Trial>,
    /// The target beside the donor that was named.
    pub comparison: Option<Comparison>,
    /// What was seen over time: of a recording, or of a machine that was watched on request.
    pub time: Option<Told>,
}

/// A part of a report. Each form that people read has them in this order, as far as it has room for them.
#[derive(Debug)]
pub enum Section<'a> {
    /// A boot that was tried.
    Trial(&'a Trial),
    /// What was found.
    Findings,
    /// What was repaired.
    Applied(&'a [Applied]),
    /// The ways to a system that is up and to a shell on it.
    Proofs(Vec<NamedProof<'a>>),
    /// What was seen over time.
    TimeLines(&'a Told),
    /// The target beside the donor.
    Comparison(&'a Comparison),
    /// How the checks ended.
    Outcomes,
}

/// A proof as a report has it.
#[derive(Debug)]
pub struct NamedProof<'a> {
    /// What it proves.
    pub title: Text,
    /// Of a login: `console` or `ssh`.
    pub channel: Option<&'static str>,
    /// Its stages.
    pub proof: &'a Proof,
}

/// The boot that a log tells of, if it is one console.
fn of_console(facts: &Facts, diagnosis: &Diagnosis) -> Proof {
    let log = facts.get::<KernelLog>().ok();
    let consoles = log.as_ref().map(|log| log.consoles.as_slice()).unwrap_or_default();
    let [(_, console)] = consoles else { return Proof { stages: Vec::new() } };
    let finding = diagnosis.findings.iter().position(|finding| finding.check.id == "boot-stopped");
    proof::of_console(console, finding.map(|index| diagnosis.root_cause(index)))
}

/// What was seen over time, at least from one moment to another.
fn told(facts: &Facts) -> Option<Told> {
    let window = facts.get::<Window>().ok().filter(|window| window.samples.len() > 1)?;
    Some(Told { window, zone: zone(facts), remarks: Vec::new() })
}

impl Report {
    /// The report of one diagnosis.
    pub fn new(
        started: jiff::Timestamp,
        facts: &Arc<Facts>,
        diagnosis: Diagnosis,
        applied: Option<Vec<Applied>>,
    ) -> Report {
        // A log is not something that boots, but a console tells of a boot.
        let is_log = facts.target().logs().is_ok();
        // What a machine did then proves nothing of its next boot.
        let is_past = facts.target().recording().is_ok() || facts.target().report().is_ok();
        // Of a system that ran when it was collected nobody asks whether it boots.
        let is_host = facts.runs() && facts.target().bundle().is_some();
        Report {
            started,
            target: crate::facts::system::summary::of(facts),
            boot: match is_log {
                true => of_console(facts, &diagnosis),
                false if is_past || is_host => Proof { stages: Vec::new() },
                false => Proof::of(BOOT, &diagnosis),
            },
            logins: LOGINS
                .iter()
                .filter(|_| !is_log && !is_past)
                .map(|(channel, stages)| (*channel, Proof::of(stages, &diagnosis)))
                .collect(),
            diagnosis,
            applied,
            trial: None,
            comparison: None,
            time: (is_past || facts.window().is_some()).then(|| told(facts)).flatten(),
        }
    }

    /// The report on a disk that could not be read.
    pub fn of_unread(started: jiff::Timestamp, path: &Path, diagnosis: Diagnosis) -> Report {
        let target = TargetSummary {
            kind: "disk",
            name: path.display().to_string(),
            description: vec![tr!("its files could not be read")],
            id: None,
            version: None,
            pretty_name: None,
            kernel: None,
            understood: None,
            donor: None,
            notes: Vec::new(),
            remarks: Vec::new(),
        };
        let boot = Proof { stages: Vec::new() };
        let logins = Vec::new();
        Report { started, target, diagnosis, boot, logins, applied: None, trial: None, comparison: None, time: None }
    }

    /// The same with a boot that was tried: what it showed is the boot proof.
    pub fn with_trial(self, trial: Trial) -> Report {
        let stop = trial.console.stands_at().map(|stop| stage(stop.stage));
        let finding = self.diagnosis.findings.iter().position(|one| stop.is_some_and(|stop| one.stops.contains(&stop)));
        let logins = if self.applied.is_some() { self.logins } else { Vec::new() };
        Report { boot: proof::of_console(&trial.console, finding), logins, trial: Some(trial), ..self }
    }

    /// Whether `fix` could do something about it.
    fn has_repairs(&self) -> bool {
        self.diagnosis.causes().any(|(_, finding)| finding.repairs.iter().any(|repair| repair.risk != Risk::Manual))
    }

    /// Whether a command that does so is worth telling: not of what a log or a recording shows, nor of what was
    /// packed or collected, which is a copy; not after a `fix`.
    fn can_be_fixed(&self) -> bool {
        self.applied.is_none() && !matches!(self.target.kind, "log" | "recording" | "archive" | "report" | "bundle")
    }

    /// What there is to tell, in its order.
    pub fn sections(&self) -> Vec<Section<'_>> {
        let mut all = Vec::new();
        all.extend(self.trial.as_ref().map(Section::Trial));
        all.push(Section::Findings);
        all.extend(self.applied.as_deref().filter(|applied| !applied.is_empty()).map(Section::Applied));
        if self.target.kind != "host" && !self.boot.stages.is_empty() {
            let boot = NamedProof { title: tr!("boot"), channel: None, proof: &self.boot };
            let login = |(channel, proof)| NamedProof { title: tr!("root login"), channel: Some(channel), proof };
            let logins = self.logins.iter().map(|(channel, proof)| login((*channel, proof)));
            all.push(Section::Proofs(std::iter::once(boot).chain(logins).collect()));
        }
        all.extend(self.time.as_ref().map(Section::TimeLines));
        all.extend(self.comparison.as_ref().map(Section::Comparison));
        // Of a boot that was tried the trial is the report; the findings only say why.
        if self.trial.is_none() || self.applied.is_some() {
            all.push(Section::Outcomes);
        }
        all
    }

    /// Of a check or a fix: 0 clear, 1 findings, 2 something could not be told or done (which outweighs findings: the look is incomplete).
    pub fn exit_code(&self) -> u8 {
        // Where one repair did not help, the next one may have.
        let all = || self.applied.iter().flatten();
        let cleared = |one: &Applied| all().any(|other| other.verified && other.identity.0 == one.identity.0);
        let unproven = self.trial.as_ref().is_some_and(|trial| trial.outcome != Outcome::Login);
        let undone = unproven || all().any(|one| !one.verified && !cleared(one));
        if self.diagnosis.something_unknown() || undone { 2 } else { u8::from(!self.diagnosis.findings.is_empty()) }
    }
}
