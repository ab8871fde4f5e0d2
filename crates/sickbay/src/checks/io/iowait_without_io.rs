//! CPUs wait for a disk by their own account, and no disk has anything to do.

use crate::facts::Facts;
use crate::facts::cpu::load::{Group, Load};
use crate::facts::cpu::usage::thousandths;
use crate::facts::cpu::waits::Wait;
use crate::facts::episode::{STEP, Step, longest, steps};
use crate::facts::glimpse::{no_rates, tell_time, window_worth_while};
use crate::model::finding::Findings;
use crate::model::measured::Unit;
use crate::model::outcome::Verdict;
use crate::model::subject::Subject;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: `top` shows `wa` of 50 % and more, and `iostat` no disk that does anything.
    ///
    /// ## What it finds
    /// A time in which much of the CPU time is counted as waiting for IO while every disk is idle. Then it is none:
    /// a program that waits with io_uring for something to come (kernels from 6.1 on count that so), or a server of NFS.
    ///
    /// ## Why it matters
    /// Nothing is slow for it. An idle CPU is idle, whatever the idle time is called; an alarm on `%iowait` is a false one.
    ///
    /// ## What the repair does
    /// Nothing: nothing is broken.
    ///
    /// ## By hand
    /// ```sh
    /// # no disk has anything to do
    /// iostat -x 1 3
    /// # who uses io_uring
    /// ls -l /proc/[0-9]*/fd 2>/dev/null | grep io_uring
    /// ```
    "iowait-without-io", Io, seed = ["C9", "D4"], proves = [], reads_recordings = true,
    "CPUs seem to wait for IO, and no disk is busy"
}

/// From so many percent on an alarm may go off.
const MUCH: f64 = 30.0;
/// A disk does nothing to speak of below this.
const IDLE: f64 = 5.0;

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let Some(window) = window_worth_while(facts)? else { return Ok(()) };
    let steps = steps(&window, STEP, |sample| sample.stat.is_some() && sample.disks.is_some());
    if steps.is_empty() {
        return Err(no_rates("/proc/diskstats"));
    }
    let Some(episode) = longest(&steps, is_empty) else { return Ok(()) };
    let all = window.span().unwrap_or_default();
    if episode.length.as_secs() < 10 && episode.length * 10 < all * 9 {
        return Ok(());
    }
    let Some(shares) = episode.whole(&steps).and_then(|whole| whole.interval.cpus()?.all) else { return Ok(()) };
    let load = facts.get::<Load>().ok();
    let groups = || load.iter().flat_map(|load| &load.groups);
    let waits = |group: &&Group| group.waiting >= 0.5 && !group.is_usual;
    // Who waits for a file server is told elsewhere, with the server.
    let other =
        groups().filter(waits).find(|group| group.wait().is_some_and(|wait| wait.may_hang() || wait == Wait::Disk));
    let percent = format!("{:.0}", shares.iowait);
    let finding = match other {
        Some(group) => found.note(tr!(
            "iowait is {percent} % and no disk of this machine is busy: {who} waits for {what}",
            percent,
            who = group.who(),
            what = group.told_wait().unwrap_or_else(|| tr!("something else"))
        )),
        None => found.note(tr!(
            "iowait is {percent} % and no disk is busy: something waits for what may never come, and nothing is slow for it",
            percent
        )),
    };
    finding.at_path("/proc/stat").subject(Subject::Named("iowait".to_owned()));
    finding.why(tr!("a CPU that is idle is idle, and this is no load of a disk"));
    if other.is_none() {
        finding.note(tr!("a program that waits with io_uring looks so on kernels from 6.1 on"));
    }
    if all.as_secs() > 10 {
        tell_time(facts, finding, &episode);
    }
    finding.measured("iowait", shares.iowait, Unit::Percent, None).detail("iowait", thousandths(shares.iowait));
    finding.by_hand(tr!("watch the disks themselves (iostat -x), or /proc/pressure/io, and not %iowait"));
    Ok(())
}

fn is_empty(step: &Step<'_>) -> bool {
    let waits = step.interval.cpus().and_then(|cpus| cpus.all).is_some_and(|all| all.iowait >= MUCH);
    let Some(disks) = step.interval.disks().filter(|disks| !disks.is_empty()) else { return false };
    waits
        && disks.iter().all(|rates| {
            let known = rates.util.is_some() || rates.transfers.is_some();
            known
                && rates.disk.in_flight == 0
                && rates.util.is_none_or(|util| util < IDLE)
                && rates.transfers.is_none_or(|count| count < 5.0)
        })
}
