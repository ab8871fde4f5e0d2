//! `sickbay rescue`: the whole of it without a question, for a cloud that has attached a sick disk to this machine.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sickbay_target::{Access, disks_by_serial, publish};

use super::boot::How;
use super::fix::{Allowed, Fix, Made, Seen};
use super::{Aid, Context, Depth, Failure, Format, LOOK, TargetArgs, cut_off, mirror};
use crate::model::text::Text;
use crate::repair::plan::{Choice, Plan, Scope, plan};
use crate::repair::{held, undo};
use crate::report::documents::EntryV1;
use crate::report::json_v1::{self, Tool};
use crate::report::rescue::{EarlierV1, RescueV1, Step, StepV1, Verdict, verdict};
use crate::report::visible::escaped;
use crate::report::{Report, text};
use crate::tr;

/// Repair a disk that was attached to this machine, from start to finish and without a question
///
/// Finds the disk, reverts what an earlier rescue left half done, checks, repairs what is safe, checks again, boots a
/// copy if asked to, and reports. Called again after it was cut off it goes on with what is left. `undo` takes everything
/// back.
///
/// Exit status: 0 nothing stands in the way of a boot and a login (any more), 1 something does, 2 undetermined or not done.
#[derive(Debug, clap::Args)]
pub(super) struct Rescue {
    /// The disk: a device or an image
    #[arg(required_unless_present = "serial", conflicts_with = "serial")]
    disk: Option<PathBuf>,
    /// The disk with this serial number, or the volume's id as the cloud prints it (vol-0a1b2c, d-bp1abc), whatever the kernel
    /// calls it here
    #[arg(long, value_name = "ID")]
    serial: Option<String>,
    /// How long to wait for the disk to be attached
    #[arg(long, value_name = "TIME", default_value = "0s")]
    wait: String,
    /// Write what happens to this file as JSON, after every step: sickbay/rescue/v1
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    #[command(flatten)]
    aid: Aid,
    /// Show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Also apply repairs marked risky: right most of the time, but not always
    #[arg(long)]
    risky: bool,
    /// How much memory the machine has, such as 16G, where its own logs do not say
    #[arg(long, value_name = "SIZE", value_parser = super::kibibytes, help_heading = LOOK)]
    memory: Option<u64>,
    /// Download the packages of lost files that are not available locally, in exactly the installed versions, from the
    /// mirrors of the target's apt; with this machine's curl or wget
    #[arg(long, help_heading = LOOK)]
    fetch: bool,
    /// With --fetch, also trust package lists that are not signed by a known key
    #[arg(long, requires = "fetch", help_heading = LOOK)]
    insecure: bool,
    /// Boot a copy of the repaired disk in QEMU and see whether it reaches a login
    #[arg(long, help_heading = "Boot test")]
    boot_test: bool,
    #[command(flatten, next_help_heading = "Boot test")]
    how: How,
}

/// A rescue under way.
struct Course<'c> {
    context: &'c Context,
    file: Option<PathBuf>,
    told: RescueV1,
    /// When the step began.
    since: Instant,
}

/// How often it is looked for.
const PAUSE: Duration = Duration::from_millis(500);

impl Rescue {
    pub(super) fn run(self, context: &Context) -> Result<u8, Failure> {
        let named = self.disk.as_ref().map(|path| path.display().to_string()).or_else(|| self.serial.clone());
        let mut course = Course {
            context,
            file: self.report.clone(),
            told: RescueV1 {
                schema: "sickbay/rescue/v1",
                tool: Tool { version: env!("CARGO_PKG_VERSION") },
                disk: named.unwrap_or_default(),
                started: jiff::Timestamp::now().to_string(),
                verdict: None,
                steps: Vec::new(),
                earlier: Vec::new(),
                in_the_way: Vec::new(),
                undo: None,
                report: None,
            },
            since: Instant::now(),
        };
        // Nothing is touched if nobody can be told of it.
        course.write()?;
        let ended = self.go(&mut course);
        let verdict = match &ended {
            Ok(verdict) => *verdict,
            Err((step, Failure(why))) => {
                course.step(*step, false, why)?;
                Verdict::Unknown
            }
        };
        course.told.verdict = Some(verdict);
        course.write()?;
        match context.format {
            Format::Json => context.print_json(&course.told)?,
            _ => {
                for line in &course.told.in_the_way {
                    context.print(&format!("  {}\n", text::printable(line)));
                }
                context.print(&format!("{}\n", context.say(&verdict.text())));
            }
        }
        Ok(verdict.exit_code())
    }

    fn go(self, course: &mut Course<'_>) -> Result<Verdict, (Step, Failure)> {
        let at = |step: Step| move |why: Failure| (step, why);
        let context = course.context;
        let started = jiff::Timestamp::now();
        let disk = self.find().map_err(at(Step::Identify))?;
        let args = TargetArgs { target: Some(disk.clone()), aid: self.aid };
        course.told.disk = disk.display().to_string();
        let allowed = Allowed {
            risky: self.risky,
            depth: Depth { fetch: self.fetch, insecure: self.insecure, memory: self.memory, ..Depth::default() },
            boot_test: self.boot_test && !self.dry_run,
        };
        let mirror = mirror(self.fetch, self.insecure).map_err(at(Step::Identify))?;
        let fix = Fix::of_rescue(args.clone(), allowed, self.how);
        // Whether the disk can be written and the copy started is known before anything is changed.
        let access = if self.dry_run { Access::ReadOnly } else { Access::ReadWrite };
        let what = identify(&args, &fix, access, &mut course.told).map_err(at(Step::Identify))?;
        course.step(Step::Identify, true, &what).map_err(at(Step::Identify))?;

        if !self.dry_run && course.told.earlier.iter().any(|entry| !entry.finished) {
            cut_off::take_back(context, &args, None, true).map_err(at(Step::Recover))?;
            course
                .step(Step::Recover, true, &tr!("repairs that were cut off were taken back"))
                .map_err(at(Step::Recover))?;
        }

        let seen = fix.look(mirror.as_ref()).map_err(at(Step::Check))?;
        let (causes, checks) = (seen.diagnosis.causes().count(), seen.diagnosis.outcomes.len());
        course
            .step(Step::Check, true, &tr!("{checks} checks, {causes} {causes?finding|findings}", checks, causes))
            .map_err(at(Step::Check))?;

        let next = next(&seen, self.risky).map_err(at(Step::Plan))?;
        let titles: Vec<String> = next.steps.iter().map(|step| context.say(&step.repair.title)).collect();
        let what = match titles.as_slice() {
            [] => tr!("nothing is to be done"),
            _ => tr!("to be done: {titles}", titles = titles.join("; ")),
        };
        course.step(Step::Plan, true, &what).map_err(at(Step::Plan))?;

        let report = if titles.is_empty() || self.dry_run {
            let report = Report::new(started, &seen.facts, seen.diagnosis.clone(), Some(Vec::new()));
            seen.close().map_err(at(Step::Check))?;
            report
        } else {
            let thorough = seen.thorough;
            seen.close().map_err(at(Step::Repair))?;
            let mut confirm = |_: &_, next: &mut Plan| {
                super::announce_programs(next);
                true
            };
            let made = fix.make(context, started, thorough, mirror, None, &mut confirm);
            let Made { report, .. } = made.map_err(at(Step::Repair))?;
            let done = report.applied.iter().flatten().filter(|one| one.journal.is_some()).count();
            course
                .step(Step::Repair, true, &tr!("{done} {done?repair was|repairs were} made", done))
                .map_err(at(Step::Repair))?;
            report
        };
        let is_changed = report.applied.iter().flatten().any(|one| one.journal.is_some());
        if is_changed || !course.told.earlier.is_empty() {
            course.told.undo = Some(format!("sickbay undo{}", fix.undo_arguments()));
        }
        // What was repaired must be told, whatever comes of the boot.
        course.keep(&report);
        let report = if self.boot_test && !self.dry_run {
            let trial = fix.boot_test(context).map_err(at(Step::Prove))?;
            let report = report.with_trial(trial);
            course.keep(&report);
            let how = match report.trial.as_ref().is_some_and(|trial| trial.outcome == crate::boot::Outcome::Login) {
                true => tr!("a copy of the disk comes up to a login"),
                false => tr!("a copy of the disk does not come up to a login"),
            };
            course.step(Step::Prove, true, &how).map_err(at(Step::Prove))?;
            report
        } else {
            report
        };
        if context.format == Format::Text {
            context.print("\n");
            context.print_report(&report, Some(disk.as_path())).map_err(at(Step::Check))?;
            if is_changed {
                context.print(&fix.summary(context, report.applied.as_deref().unwrap_or_default()));
            }
        }
        Ok(verdict(&report).0)
    }

    /// The disk; waits for it if it may still come.
    fn find(&self) -> Result<PathBuf, Failure> {
        let until = Instant::now() + super::duration(&self.wait)?;
        loop {
            let found = match (&self.disk, &self.serial) {
                (Some(path), _) if path.exists() => return Ok(path.clone()),
                (_, Some(id)) => disks_by_serial(id),
                _ => Vec::new(),
            };
            match found.as_slice() {
                [one] => return Ok(one.clone()),
                [] if Instant::now() < until => std::thread::sleep(PAUSE),
                [] => {
                    return Err(Failure(match (&self.disk, &self.serial) {
                        (Some(path), _) => tr!("{path} does not exist", path = path.as_path()),
                        (None, id) => {
                            let id = id.as_deref().unwrap_or_default();
                            tr!("no disk of this machine has the serial number {id}", id)
                        }
                    }));
                }
                several => {
                    let disks: Vec<String> = several.iter().map(|path| path.display().to_string()).collect();
                    let id = self.serial.as_deref().unwrap_or_default();
                    return Err(Failure(tr!(
                        "several disks have the serial number {id}: {disks}",
                        id,
                        disks = disks.join(", ")
                    )));
                }
            }
        }
    }
}

/// What is on the disk, after it was seen that it can be repaired; what was repaired on it before.
fn identify(args: &TargetArgs, fix: &Fix, access: Access, told: &mut RescueV1) -> Result<Text, Failure> {
    for path in args.disks() {
        let entries = held::entries(path)?.into_iter();
        told.earlier.extend(entries.map(|(journal, entry, finished)| EarlierV1 {
            journal,
            entry: Some(EntryV1::of(&entry)),
            finished,
        }));
    }
    // Nothing is mounted for writing to find out whether that could be done.
    if access == Access::ReadWrite {
        sickbay_target::Disk::is_free(args.target.as_deref().unwrap_or(Path::new("")))?;
    }
    let target = args.open(Access::ReadOnly)?;
    fix.can_boot(&target)?;
    let entries = undo::entries(&target, None)?.into_iter();
    told.earlier.extend(entries.map(|listed| EarlierV1 {
        journal: listed.id,
        entry: listed.entry.as_ref().map(EntryV1::of),
        finished: listed.done,
    }));
    let facts = std::sync::Arc::new(crate::facts::Facts::new(target, None));
    let summary = crate::facts::system::summary::of(&facts);
    let system = summary.pretty_name.clone().unwrap_or_else(|| summary.kind.to_owned());
    Ok(tr!("{disk}: {system}", disk = told.disk.as_str(), system))
}

/// What would be done first.
fn next(seen: &Seen, risky: bool) -> Result<Plan, Failure> {
    let choice = Choice { risky, ..Choice::default() };
    let scope = Scope::of(&choice, &seen.diagnosis).map_err(Failure)?;
    Ok(plan(&seen.diagnosis, &scope, &HashSet::new()))
}

impl Course<'_> {
    /// Tells of a step that has ended.
    fn step(&mut self, step: Step, done: bool, what: &Text) -> Result<(), Failure> {
        let took_ms =
            u64::try_from(std::mem::replace(&mut self.since, Instant::now()).elapsed().as_millis()).unwrap_or(u64::MAX);
        let line = self.context.say(what);
        if self.context.format == Format::Text {
            self.context.print(&format!("{} {line}\n", self.context.say(&step.title())));
        }
        self.told.steps.push(StepV1 { step, done, took_ms, text: line });
        self.write()
    }

    /// Keeps what was found last.
    fn keep(&mut self, report: &Report) {
        let lang = self.context.style.lang;
        self.told.in_the_way = verdict(report).1.iter().map(|text| text.render(lang)).collect();
        self.told.report = Some(json_v1::report(report, lang));
    }

    fn write(&self) -> Result<(), Failure> {
        let Some(path) = &self.file else { return Ok(()) };
        let json =
            serde_json::to_string_pretty(&self.told).map_err(|error| Failure(Text::verbatim(error.to_string())))?;
        publish(path, format!("{}\n", escaped(&json)).as_bytes())
            .map_err(|error| Failure(tr!("{path} cannot be written: {error}", path, error = error.to_string())))
    }
}
