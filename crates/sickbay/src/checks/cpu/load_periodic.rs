//! The load goes up again and again, and what starts then.

use std::time::Duration;

use crate::facts::Facts;
use crate::facts::cpu::beat;
use crate::facts::cpu::load::{Group, Load};
use crate::facts::cpu::periodic::{self, Periodic, counted, inside, seen};
use crate::facts::cpu::usage::thousandths;
use crate::facts::glimpse::{is_recorded, zone};
use crate::facts::system::kernel::Kernel;
use crate::facts::system::schedule::{Job, Schedule};
use crate::facts::time::over_time;
use crate::model::finding::{Finding, Findings, Severity};
use crate::model::measured::Unit;
use crate::model::outcome::{Skip, Verdict};
use crate::model::subject::Subject;
use crate::sample::Window;
use crate::sample::asked::shown;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: the load average goes up every few minutes or hours and down again, though the traffic is the same; whoever
    /// logs in to look comes too late.
    ///
    /// ## What it finds
    /// Bursts of threads that run or wait uninterruptibly, at least three, the same time apart: how far, how long each lasts,
    /// since when, which program it is and how much of the load is its. Where the target has files it names the line of the
    /// crontab, or the timer, that starts something at just those times. It needs to see three bursts, so only a
    /// recording, or a long `--for`, tells. Peaks that are no load are `load-aliasing`.
    ///
    /// ## Why it matters
    /// What is started at a set time competes with what the machine is for: log rotation, backups, agents that collect.
    ///
    /// ## What the repair does
    /// Nothing by itself. The job is moved to a quiet time, given a random delay (`RandomizedDelaySec=`), or put behind the
    /// rest (`nice`, `ionice`).
    ///
    /// ## By hand
    /// ```sh
    /// # what starts when
    /// systemctl list-timers --all; cat /etc/crontab /etc/cron.d/*; for user in $(cut -d: -f1 /etc/passwd); do crontab -l -u "$user"; done
    /// ```
    "load-periodic", Cpu, seed = ["C5"], proves = [], reads_recordings = true, "the load goes up again and again"
}

/// In less time nothing comes three times.
const LEAST: Duration = Duration::from_secs(45);
/// So many samples of bursts tell who it is.
const SAMPLES: usize = 400;
/// Jobs that are told.
const JOBS: usize = 3;

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    over_time(facts)?;
    let short = || Skip::NotApplicable(tr!("what comes again and again shows in a long recording, not in one look"));
    if !is_recorded(facts) && facts.target().is_this_machine() && facts.window().is_none_or(|length| length < LEAST) {
        return Err(short());
    }
    let window = facts.get::<Window>()?;
    if window.span().is_none_or(|span| span < LEAST) {
        return Err(short());
    }
    // What somebody saw tells more than what the average lets guess.
    let by_looks = periodic::find(&seen(&window));
    let is_seen = by_looks.is_some();
    let Some(periodic) = by_looks.or_else(|| periodic::find(&counted(&window))) else { return Ok(()) };
    let cpus = window.last().and_then(|last| Some(last.stat.as_ref()?.cpus.len())).filter(|cpus| *cpus > 0);
    let rise = periodic.height - periodic.usual;
    // What a machine of many processors does not notice.
    if rise < cpus.map_or(2.0, |cpus| cpus as f64 * 0.75) {
        return Ok(());
    }
    // With nothing to show for it, at the distance of a beat, it is no load.
    let is_beat = |hz: u32| [1, 5].iter().any(|every| (beat::period(hz, *every) / periodic.period - 1.0).abs() < 0.01);
    if !is_seen && beat::HZ.into_iter().any(is_beat) {
        return Ok(());
    }
    let version = facts.get::<Kernel>().map_or((u32::MAX, 0), |kernel| kernel.version);
    let in_bursts = inside(&window, &periodic, SAMPLES);
    let load = Load::of(&in_bursts, version, &[]).filter(|load| load.count() > 0.0);
    let who = load.as_ref().and_then(|load| {
        let group = load
            .groups
            .iter()
            .filter(|group| !group.is_usual)
            .max_by(|one, other| one.count().total_cmp(&other.count()))?;
        Some((group, load.share(group)))
    });
    let severity = if cpus.is_some_and(|cpus| rise >= cpus as f64 * 2.0 && rise >= 4.0) {
        Severity::Warning
    } else {
        Severity::Note
    };
    let jobs = jobs(facts, &periodic, who.map(|(group, _)| group));
    tell(facts, found, severity, &Seen { periodic: &periodic, who, jobs: &jobs, load: load.as_ref(), is_seen });
    Ok(())
}

/// What is started at just those times, those that name the program first.
fn jobs(facts: &Facts, periodic: &Periodic, who: Option<&Group>) -> Vec<Job> {
    if is_recorded(facts) && facts.target().files().is_err() {
        return Vec::new();
    }
    let Ok(schedule) = facts.get::<Schedule>() else { return Vec::new() };
    let zone = zone(facts);
    let begins: Vec<f64> = periodic.bursts.iter().map(|burst| burst.wall.as_secs_f64()).collect();
    // The first may have begun before anybody looked.
    let begins = begins.get(usize::from(periodic.bursts.len() > 3)..).unwrap_or_default();
    let names = |job: &Job| {
        who.is_some_and(|who| job.names(&who.name) || who.parent.as_ref().is_some_and(|(_, parent)| job.names(parent)))
    };
    let mut jobs: Vec<Job> = schedule
        .0
        .iter()
        .filter(|job| job.explains(begins, periodic.period, periodic.step.max(1.0), &zone))
        .cloned()
        .collect();
    jobs.sort_by_key(|job| !names(job));
    let named = jobs.iter().filter(|job| names(job)).count();
    jobs.truncate(if named > 0 { named.min(JOBS) } else { JOBS });
    jobs
}

/// What was found.
struct Seen<'s> {
    periodic: &'s Periodic,
    /// The program that makes most of it, with its share in percent.
    who: Option<(&'s Group, f64)>,
    jobs: &'s [Job],
    load: Option<&'s Load>,
    /// Whether its threads were looked at.
    is_seen: bool,
}

fn tell(facts: &Facts, found: &mut Findings, severity: Severity, seen: &Seen<'_>) {
    let Seen { periodic, who, jobs, load, is_seen } = *seen;
    let every = time(periodic.period);
    let threads = format!("{:.0}", periodic.mean);
    let text = match (who, jobs) {
        (Some((group, share)), [job]) => tr!(
            "every {every} the load goes up to {threads} threads, {share} % of them of {who}: it comes with {command}",
            every,
            threads,
            share = format!("{share:.0}"),
            who = group.who(),
            command = short(&job.command)
        ),
        (Some((group, share)), _) => tr!(
            "every {every} the load goes up to {threads} threads, {share} % of them of {who}",
            every,
            threads,
            share = format!("{share:.0}"),
            who = group.who()
        ),
        (None, [job]) => tr!(
            "every {every} the load goes up to {threads} threads: it comes with {command}",
            every,
            threads,
            command = short(&job.command)
        ),
        (None, _) => {
            tr!("every {every} the load goes up to {threads} threads; whose they are was not seen", every, threads)
        }
    };
    let finding = found.add(severity, text);
    for job in jobs {
        finding.at(&job.file, job.span);
    }
    if jobs.is_empty() {
        finding.at_path("/proc/loadavg");
    }
    let name = who.map_or_else(|| "?".to_owned(), |(group, _)| group.name.clone());
    finding.subject(Subject::Named(format!("periodic load of {name}")));
    finding.why(tr!(
        "each time it lasts {length}, and whatever else wants the CPUs or the disk waits meanwhile",
        length = time(periodic.length)
    ));
    since(facts, finding, periodic);
    if let Some(load) = load {
        for group in load.groups.iter().filter(|group| load.share(group) >= 5.0).take(5) {
            let (who, share) = (group.who(), format!("{:.0}", load.share(group)));
            let (running, waiting) = (format!("{:.1}", group.running), format!("{:.1}", group.waiting));
            finding.note(match group.told_wait().filter(|_| group.waiting >= 0.5) {
                Some(what) => tr!(
                    "{who}: {running} running, {waiting} waiting for {what}, {share} %",
                    who,
                    running,
                    waiting,
                    what,
                    share
                ),
                None => tr!("{who}: {running} running, {waiting} waiting, {share} %", who, running, waiting, share),
            });
        }
    }
    if !is_seen {
        finding.note(tr!(
            "the threads follow from the load average alone: nobody saw them run, so they wait uninterruptibly, or live for moments"
        ));
    }
    for job in jobs {
        for script in job.scripts.iter().take(8) {
            finding.note(tr!("that starts {script}", script = script.as_str()));
        }
    }
    if jobs.is_empty() && !is_recorded(facts) {
        finding.note(tr!("no crontab and no timer starts anything at these times"));
    }
    finding
        .measured("period", periodic.period.round(), Unit::Seconds, None)
        .measured("length", periodic.length.round(), Unit::Seconds, None)
        .detail("period", thousandths(periodic.period))
        .detail("length", thousandths(periodic.length))
        .detail("threads", thousandths(periodic.mean))
        .detail("share", who.map(|(_, share)| thousandths(share / 100.0)))
        .detail("bursts", periodic.bursts.len())
        .detail("jobs", jobs.iter().map(|job| job.command.clone()).collect::<Vec<_>>());
    // What the load is at the end is a part of it.
    finding.explains("/proc/loadavg");
    finding.by_hand(tr!(
        "move the job to a quiet time, give it a random delay (RandomizedDelaySec=, a sleep), or put it behind the rest (nice, ionice)"
    ));
}

fn since(facts: &Facts, finding: &mut Finding, periodic: &Periodic) {
    let (Some(first), Some(last)) = (periodic.bursts.first(), periodic.bursts.last()) else { return };
    let zone = zone(facts);
    let (from, to) = (shown(first.wall, &zone), shown(last.wall, &zone));
    let (count, all) = (periodic.bursts.len(), periodic.bursts.len() + periodic.missed);
    finding.note(match periodic.is_open_before {
        true => tr!("{count} of {all} times from {from} to {to}, and maybe before", count, all, from, to),
        false => tr!("{count} of {all} times, first at {from}, last at {to}", count, all, from, to),
    });
}

/// "20 s", "5 min", "1 h 30 min".
fn time(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..=119 => format!("{whole} s"),
        120..=7199 if whole.is_multiple_of(60) => format!("{} min", whole / 60),
        120..=7199 => format!("{:.1} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}

/// The beginning of a command.
fn short(command: &str) -> String {
    let short: String = command.chars().take(60).collect();
    if short.len() < command.len() { format!("{short}…") } else { short }
}
