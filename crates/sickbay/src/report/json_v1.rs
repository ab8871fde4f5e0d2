//! The one outside format: `sickbay/report/v1`. Fields are only ever added.
//!
//! Its JSON Schema is `docs/report-v1.schema.json`, written by `cargo xtask docs`.

use schemars::JsonSchema;
use serde::Serialize;

use sickbay_formats::boot_console::Verdict;
use sickbay_target::vm::Firmware;

use crate::boot::{Outcome, Trial};
use crate::engine::proof::{Proof, State};
use crate::facts::logs::console::{stage, why};
use crate::model::about::{About, Area};
use crate::model::finding::{Finding, Place, Severity};
use crate::model::measured::Measured;
use crate::model::outcome::Outcome as CheckOutcome;
use crate::model::repair::Risk;
use crate::model::stage::Stage;
use crate::model::subject::Subject;
use crate::model::summary::Understood;
use crate::model::text::{Lang, Text};
use crate::repair::verdict;
use crate::report::Report;
use crate::report::comparison::ComparisonV1;
use crate::report::documents::ErrorV1;
use crate::report::forms::{Form, Part};
use crate::report::visible::escaped;

/// For programs.
pub const FORM: Form = Form {
    name: "json",
    about: "For programs: sickbay/report/v1",
    render: |parts, style| {
        let of = |part: &Part<'_>| match part.report {
            Ok(seen) => serde_json::to_value(report(seen, style.lang)),
            Err(why) => serde_json::to_value(ErrorV1::of(why.render(style.lang))),
        };
        let documents = parts.iter().map(of).collect::<Result<Vec<_>, _>>();
        let text = documents.and_then(|documents| match documents.as_slice() {
            [one] => serde_json::to_string_pretty(one),
            all => serde_json::to_string_pretty(all),
        });
        Ok(escaped(&text.map_err(|error| error.to_string())?) + "\n")
    },
};

/// The whole report.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ReportV1 {
    /// Always `sickbay/report/v1`.
    pub schema: &'static str,
    /// Who wrote it.
    pub tool: Tool,
    /// RFC 3339, UTC.
    pub started: String,
    /// Duration of the diagnosis in milliseconds.
    pub took_ms: u64,
    /// What was looked at.
    pub target: Target,
    /// How every check ended.
    pub outcomes: Vec<OutcomeV1>,
    /// What was found: causes by severity, each followed by its consequences.
    pub findings: Vec<FindingV1>,
    /// The boot proof and the login proofs.
    pub proofs: Proofs,
    /// `fix` only: what was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied: Option<Vec<AppliedV1>>,
    /// `fix` only: ids of the findings that are left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remaining: Option<Vec<String>>,
    /// `boot` and `fix --boot-test` only: how a copy of the disk started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot: Option<BootV1>,
    /// `check --donor` only: the target beside the donor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comparison: Option<ComparisonV1>,
}

/// A boot that was tried, in QEMU, on a copy of the disk.
#[derive(Debug, Serialize, JsonSchema)]
pub struct BootV1 {
    /// `login`, `stopped` or `untold`.
    pub outcome: Outcome,
    /// The stage that it came to; where it stopped, that which it did not get over.
    pub stage: Stage,
    /// Why it stopped, or why that could not be told.
    pub why: Option<String>,
    /// A word for the cause, such as `RootMissing`.
    pub cause: Option<String>,
    /// What the cause is about: a device, a file, a unit; "" when that is not said.
    pub culprit: Option<String>,
    /// The line of the console that tells, from 1.
    pub line: Option<usize>,
    /// What it says.
    pub text: Option<String>,
    /// Where the console is kept.
    pub console: String,
    /// The release of the kernel that was started.
    pub kernel: Option<String>,
    /// How often it started, if it started itself anew.
    pub boots: usize,
    /// How long it took.
    pub took_ms: u64,
    /// `kvm` or `tcg`.
    pub accelerator: &'static str,
    /// `bios` or `uefi`.
    pub firmware: &'static str,
    /// What the kernel was told besides, on the copy only.
    pub added: Option<&'static str>,
    /// What a reader should know about the figures, a sentence each.
    pub notes: Vec<String>,
}

/// Who wrote the report.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Tool {
    /// The version of sickbay.
    pub version: &'static str,
}

/// What was looked at.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Target {
    /// `host`, `root`, `disk`, `bundle`, `log` or `recording`.
    pub kind: &'static str,
    /// As the user named it.
    pub name: String,
    /// The system on it.
    pub release: Release,
    /// Of logs: how much of them was understood.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub understood: Option<Understood>,
    /// The system from which lost files may be taken, and its release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub donor: Option<String>,
    /// Remarks on how it was opened.
    pub notes: Vec<String>,
}

/// The system on the target.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Release {
    /// os-release's ID.
    pub id: Option<String>,
    /// os-release's VERSION_ID.
    pub version: Option<String>,
    /// The running kernel, or the one that would boot.
    pub kernel: Option<String>,
}

/// How one check ended.
#[derive(Debug, Serialize, JsonSchema)]
pub struct OutcomeV1 {
    /// The check's id.
    pub check: &'static str,
    /// The part of the system it looks at.
    pub area: Area,
    /// Rows of the e-book that it answers.
    pub seed: &'static [&'static str],
    /// `found`, `clear`, `not-applicable`, `skipped`, `unknown` or `broken`.
    pub outcome: &'static str,
    /// Why it could not tell or does not apply.
    pub why: Option<String>,
}

/// One finding.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FindingV1 {
    /// `F1`, `F2`, … in this report.
    pub id: String,
    /// The check that found it.
    pub check: &'static str,
    /// What happens to the user.
    pub severity: Severity,
    /// The check's title.
    pub title: String,
    /// One sentence that names the culprit.
    pub message: String,
    /// What follows from it.
    pub why: Option<String>,
    /// Where it is; the first is the culprit.
    pub places: Vec<PlaceV1>,
    /// The finding in detail, line by line.
    pub notes: Vec<String>,
    /// What was read.
    pub evidence: Vec<EvidenceV1>,
    /// Values that were measured, the most telling first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub measured: Vec<Measured>,
    /// When it was seen, where that is not the moment of the look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen: Option<SeenV1>,
    /// Typed values of the check, in base units.
    pub details: serde_json::Map<String, serde_json::Value>,
    /// The finding that causes this one.
    pub caused_by: Option<String>,
    /// What can be done, best first.
    pub repairs: Vec<RepairV1>,
}

/// A stretch of time.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SeenV1 {
    /// Its beginning, RFC 3339.
    pub from: String,
    /// Its end, RFC 3339.
    pub to: String,
}

/// Where the culprit is.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum PlaceV1 {
    /// A file of the target, the path as the target sees it.
    File {
        /// The path.
        path: String,
        /// The line, from 1 on.
        #[serde(skip_serializing_if = "Option::is_none")]
        line: Option<usize>,
        /// The column, from 1 on, in bytes.
        #[serde(skip_serializing_if = "Option::is_none")]
        column: Option<usize>,
    },
    /// A kernel parameter.
    Sysctl {
        /// Dotted name.
        sysctl: String,
    },
    /// A block device.
    Device {
        /// As the target's description names it.
        device: String,
    },
    /// A mounted file system.
    Mount {
        /// Where it is mounted.
        mount: String,
    },
    /// A thread.
    Thread {
        /// The PID of its process.
        pid: u32,
        /// Its own number.
        tid: u32,
        /// The name of the program, as in `/proc/PID/comm`: at most 15 bytes.
        comm: String,
    },
    /// A process.
    Process {
        /// The PID.
        pid: u32,
        /// The name of the program, as in `/proc/PID/comm`: at most 15 bytes.
        comm: String,
    },
    /// A unit of systemd, or another service.
    Unit {
        /// Its name.
        unit: String,
    },
    /// A cgroup.
    Cgroup {
        /// Its path in the hierarchy.
        cgroup: String,
    },
    /// A network interface.
    Interface {
        /// Its name.
        interface: String,
    },
    /// A route.
    Route {
        /// As `ip route` prints it.
        route: String,
    },
    /// An interrupt.
    Interrupt {
        /// Its number or name.
        interrupt: String,
    },
    /// A logical CPU.
    Cpu {
        /// Its number.
        cpu: u32,
    },
    /// A socket.
    Socket {
        /// The local and the remote address with their ports.
        socket: String,
    },
    /// A user.
    User {
        /// Name or UID.
        user: String,
    },
    /// A package.
    Package {
        /// Its name.
        package: String,
    },
    /// A Java virtual machine.
    Jvm {
        /// Its PID.
        jvm: u32,
    },
    /// What has no place of its own.
    Named {
        /// By what it is known.
        name: String,
    },
}

/// What was read.
#[derive(Debug, Serialize, JsonSchema)]
pub struct EvidenceV1 {
    /// Where: `/etc/fstab:3`.
    pub source: String,
    /// What is there, quoted.
    pub text: String,
}

/// A repair.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RepairV1 {
    /// `R1`, `R2`, … in this report.
    pub id: String,
    /// What it does.
    pub title: String,
    /// What it may cost.
    pub risk: Risk,
}

/// Both kinds of proof.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Proofs {
    /// From the partition table to the services.
    pub boot: Vec<StageV1>,
    /// A proof for each way in.
    pub login: Vec<LoginV1>,
}

/// One way in.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LoginV1 {
    /// Who logs in.
    pub user: &'static str,
    /// `console` or `ssh`.
    pub channel: &'static str,
    /// The stages, in the order in which a boot or a login goes through them.
    pub stages: Vec<StageV1>,
}

/// One stage.
#[derive(Debug, Serialize, JsonSchema)]
pub struct StageV1 {
    /// Its name.
    pub stage: Stage,
    /// `ok`, `broken`, `unknown` or `not-applicable`.
    pub state: &'static str,
    /// Why it is unknown or does not apply.
    pub why: Option<String>,
    /// The finding that breaks it.
    pub finding: Option<String>,
}

/// A repair that was made.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AppliedV1 {
    /// `R1`, `R2`, … in order.
    pub repair: String,
    /// The check whose finding it clears.
    pub check: &'static str,
    /// What was done.
    pub title: String,
    /// The entry that `sickbay undo` takes; absent once taken back.
    pub journal: Option<String>,
    /// Whether the finding was gone afterwards.
    pub verified: bool,
    /// `gone`, `better`, `same` or `worse`: what became of the finding. With the last two the repair was taken back. Absent
    /// when the repair could not be made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<verdict::Verdict>,
}

/// `F1` for the first finding.
pub fn finding_id(index: usize) -> String {
    format!("F{}", index + 1)
}

/// The report as the outside sees it.
pub fn report(report: &Report, lang: Lang) -> ReportV1 {
    let text = |text: &Text| text.render(lang);
    let mut repairs = 0;
    let findings = report
        .diagnosis
        .findings
        .iter()
        .enumerate()
        .map(|(index, found)| finding(index, found, &mut repairs, lang))
        .collect();
    ReportV1 {
        schema: "sickbay/report/v1",
        tool: Tool { version: env!("CARGO_PKG_VERSION") },
        started: report.started.to_string(),
        took_ms: u64::try_from(report.diagnosis.took.as_millis()).unwrap_or(u64::MAX),
        target: Target {
            kind: report.target.kind,
            name: report.target.name.clone(),
            release: Release {
                id: report.target.id.clone(),
                version: report.target.version.clone(),
                kernel: report.target.kernel.clone(),
            },
            understood: report.target.understood,
            donor: report.target.donor.as_ref().map(text),
            notes: {
                let notes = report.target.notes.iter().map(|note| text(&Text::verbatim(note)));
                notes.chain(report.target.remarks.iter().map(text)).collect()
            },
        },
        outcomes: report.diagnosis.outcomes.iter().map(|(check, how)| outcome(check, how, lang)).collect(),
        findings,
        proofs: Proofs {
            boot: stages(&report.boot, lang),
            login: report
                .logins
                .iter()
                .map(|(channel, proof)| LoginV1 { user: "root", channel, stages: stages(proof, lang) })
                .collect(),
        },
        applied: report.applied.as_ref().map(|list| {
            list.iter()
                .enumerate()
                .map(|(index, applied)| AppliedV1 {
                    repair: format!("R{}", index + 1),
                    check: applied.check,
                    title: text(&applied.title),
                    journal: applied.journal.clone(),
                    verified: applied.verified,
                    verdict: applied.verdict,
                })
                .collect()
        }),
        remaining: report.applied.as_ref().map(|_| (0..report.diagnosis.findings.len()).map(finding_id).collect()),
        boot: report.trial.as_ref().map(|trial| boot(trial, lang)),
        comparison: report.comparison.as_ref().map(super::comparison::v1),
    }
}

fn boot(trial: &Trial, lang: Lang) -> BootV1 {
    let stop = trial.console.stands_at();
    let said = match &trial.console.verdict {
        Verdict::Reached { said, .. } => Some(said),
        _ => stop.map(|stop| &stop.said),
    };
    BootV1 {
        outcome: trial.outcome,
        stage: stage(stop.map_or(trial.console.stage, |stop| stop.stage)),
        why: trial.untold.clone().or_else(|| stop.map(why)).map(|why| why.render(lang)),
        cause: stop.map(|stop| format!("{:?}", stop.cause)),
        culprit: stop.map(|stop| stop.culprit.clone()),
        line: said.map(|said| said.line),
        text: said.map(|said| said.text.clone()),
        console: trial.kept.display().to_string(),
        kernel: trial.console.kernel.clone(),
        boots: trial.console.boots,
        took_ms: u64::try_from(trial.took.as_millis()).unwrap_or(u64::MAX),
        accelerator: if trial.kvm { "kvm" } else { "tcg" },
        firmware: match trial.firmware {
            Firmware::Bios => "bios",
            Firmware::Uefi => "uefi",
        },
        added: trial.added,
        notes: trial.remarks.iter().map(|note| note.render(lang)).collect(),
    }
}

fn outcome(check: &'static About, outcome: &CheckOutcome, lang: Lang) -> OutcomeV1 {
    let (name, why) = match outcome {
        CheckOutcome::Clear => ("clear", None),
        CheckOutcome::Found(why) => ("found", why.as_ref()),
        CheckOutcome::NotApplicable(why) => ("not-applicable", Some(why)),
        CheckOutcome::Skipped => ("skipped", None),
        CheckOutcome::Unknown(why) => ("unknown", Some(why)),
        CheckOutcome::Broken(why) => ("broken", Some(why)),
    };
    OutcomeV1 {
        check: check.id,
        area: check.area,
        seed: check.seed,
        outcome: name,
        why: why.map(|why| why.render(lang)),
    }
}

fn finding(index: usize, finding: &Finding, repairs: &mut usize, lang: Lang) -> FindingV1 {
    FindingV1 {
        id: finding_id(index),
        check: finding.check.id,
        severity: finding.severity,
        title: finding.check.explanation(lang).0,
        message: finding.message.render(lang),
        why: finding.why.as_ref().map(|why| why.render(lang)),
        places: finding.places.iter().map(place).collect(),
        notes: finding.notes.iter().map(|note| note.text.render(lang)).collect(),
        evidence: finding
            .evidence
            .iter()
            .map(|evidence| EvidenceV1 { source: evidence.source.clone(), text: evidence.text.clone() })
            .collect(),
        measured: finding.measured.clone(),
        seen: finding.when.map(|when| SeenV1 { from: when.from.to_string(), to: when.to.to_string() }),
        details: finding.details.clone(),
        caused_by: finding.caused_by.map(finding_id),
        repairs: finding
            .repairs
            .iter()
            .map(|repair| {
                *repairs += 1;
                RepairV1 { id: format!("R{repairs}"), title: repair.title.render(lang), risk: repair.risk }
            })
            .collect(),
    }
}

fn place(place: &Place) -> PlaceV1 {
    match &place.subject {
        Subject::Path(path) | Subject::Line { path, .. } => PlaceV1::File {
            path: path.display().to_string(),
            line: place.line.as_ref().map(|line| line.span.line),
            column: place.line.as_ref().map(|line| line.span.column),
        },
        Subject::Parameter(key) => PlaceV1::Sysctl { sysctl: key.clone() },
        Subject::Device(name) => PlaceV1::Device { device: name.clone() },
        Subject::Mount(path) => PlaceV1::Mount { mount: path.display().to_string() },
        Subject::Process { pid, name, .. } => PlaceV1::Process { pid: *pid, comm: name.clone() },
        Subject::Thread { pid, tid, name } => PlaceV1::Thread { pid: *pid, tid: *tid, comm: name.clone() },
        Subject::Unit(unit) => PlaceV1::Unit { unit: unit.clone() },
        Subject::Cgroup(path) => PlaceV1::Cgroup { cgroup: path.display().to_string() },
        Subject::Interface(name) => PlaceV1::Interface { interface: name.clone() },
        Subject::Route(route) => PlaceV1::Route { route: route.clone() },
        Subject::Interrupt(interrupt) => PlaceV1::Interrupt { interrupt: interrupt.clone() },
        Subject::Cpu(cpu) => PlaceV1::Cpu { cpu: *cpu },
        Subject::Socket(socket) => PlaceV1::Socket { socket: socket.clone() },
        Subject::User(user) => PlaceV1::User { user: user.clone() },
        Subject::Package(package) => PlaceV1::Package { package: package.clone() },
        Subject::Jvm(pid) => PlaceV1::Jvm { jvm: *pid },
        Subject::Machine => PlaceV1::Named { name: "machine".to_owned() },
        Subject::Named(name) => PlaceV1::Named { name: name.clone() },
    }
}

fn stages(proof: &Proof, lang: Lang) -> Vec<StageV1> {
    proof
        .stages
        .iter()
        .map(|(stage, state)| {
            let (name, why, finding) = match state {
                State::Ok => ("ok", None, None),
                State::Broken(index) => ("broken", None, Some(finding_id(*index))),
                State::Unknown(why) => ("unknown", Some(why.render(lang)), None),
                State::Closed(why) | State::NotApplicable(why) => ("not-applicable", Some(why.render(lang)), None),
            };
            StageV1 { stage: *stage, state: name, why, finding }
        })
        .collect()
}
