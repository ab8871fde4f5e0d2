//! All CPUs are busy, and more threads want them.

use std::time::Duration;

use crate::facts::Facts;
use crate::facts::cpu::load::Load;
use crate::facts::cpu::usage::{Usage, User, is_batch, split};
use crate::facts::episode::{STEP, Step, longest, steps};
use crate::facts::glimpse::{no_rates, tell_time, window_worth_while};
use crate::facts::system::kernel::uptime;
use crate::model::finding::{Findings, Severity};
use crate::model::measured::Unit;
use crate::model::outcome::Verdict;
use crate::model::subject::Subject;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: everything is slow, `top` shows 0 % idle, and `vmstat` a long run queue (`r`).
    ///
    /// ## What it finds
    /// A time in which no CPU had anything to spare while more threads wanted one, and the programs that used them in that
    /// time. `ps` and many tools divide by the life of a process instead, and show one that was busy last week. Work that
    /// uses what nobody else wants, a batch job or a compiler on all CPUs, is no finding, or a note at most.
    ///
    /// ## Why it matters
    /// A thread that could run and has no CPU waits for its turn. What answers requests then answers late, although nothing
    /// is broken.
    ///
    /// ## What the repair does
    /// Nothing by itself. What is not urgent goes behind the rest (`nice`, `CPUWeight=`), is bounded (`CPUQuota=`), or runs
    /// at another time.
    ///
    /// ## By hand
    /// ```sh
    /// # who uses the CPUs now, thread by thread
    /// top -H -b -d 2 -n 2 | tail -40
    /// # put a process behind the others
    /// renice -n 19 -p PID
    /// ```
    "cpu-saturated", Cpu, seed = ["D4", "C5"], proves = [], reads_recordings = true,
    "all CPUs are busy, and threads wait for them"
}

/// From so many percent on nothing is to spare.
const BUSY: f64 = 95.0;
/// What the hypervisor takes is another fault.
const STOLEN: f64 = 15.0;
/// So long after a boot, in seconds, that many programs want the CPUs says nothing.
const BOOTING: f64 = 300.0;
/// In a recording a shorter time is none that anybody notices.
const NOTICED: Duration = Duration::from_secs(10);

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let Some(window) = window_worth_while(facts)? else { return Ok(()) };
    let steps = steps(&window, STEP, |sample| sample.stat.is_some());
    if steps.is_empty() {
        return Err(no_rates("/proc/stat"));
    }
    let Some(episode) = longest(&steps, is_busy) else { return Ok(()) };
    let all = window.span().unwrap_or_default();
    if episode.length < NOTICED && episode.length * 2 < all {
        return Ok(());
    }
    let Some(usage) = episode.whole(&steps).and_then(|part| Usage::of(&window, &part)) else { return Ok(()) };
    let cpus = usage.cpus as f64;
    // A machine that has just booted is busy with that.
    if uptime(facts).ok().flatten().is_some_and(|seconds| seconds < BOOTING) {
        return Ok(());
    }
    let load1 = window.last().and_then(|last| last.load).map(|load| load.averages[0] as f64 / 100.0);
    let Some(mut severity) = judged(&usage, load1, episode.length) else { return Ok(()) };
    // Compilers are given all that there is, on purpose; so is what is put behind the rest. What lives for moments is told elsewhere.
    let sum =
        |of: &dyn Fn(&User) -> bool| usage.users.iter().filter(|user| of(user)).map(|user| user.cpus).sum::<f64>();
    let (batch, known) = (sum(&|user| is_batch(&user.name)), sum(&|_| true));
    if batch * 2.0 >= known || usage.unknown() > known || usage.all.nice.is_some_and(|nice| nice >= 50.0) {
        // The severest is the least.
        severity = severity.max(Severity::Note);
    }
    let used = format!("{:.1}", usage.used());
    // Where most of it lived for moments, the one that lasts is not the culprit.
    let culprit = usage.users.first().filter(|first| first.cpus >= usage.unknown());
    let text = match culprit {
        Some(culprit) => tr!(
            "{cpus} {cpus?CPU is|CPUs are} saturated: {who} uses {its} of {used}",
            cpus = usage.cpus,
            who = culprit.who(),
            its = format!("{:.1}", culprit.cpus),
            used
        ),
        None if usage.users.is_empty() => tr!(
            "{cpus} {cpus?CPU is|CPUs are} saturated: by whom cannot be told, for no thread was looked at",
            cpus = usage.cpus
        ),
        None => tr!(
            "{cpus} {cpus?CPU is|CPUs are} saturated: {unknown} of {used} go to short-lived programs",
            cpus = usage.cpus,
            unknown = format!("{:.1}", usage.unknown()),
            used
        ),
    };
    let name = culprit.map_or("?", |culprit| culprit.name.as_str()).to_owned();
    let finding = found.add(severity, text);
    finding.at_subject(Subject::Machine).subject(Subject::Named(format!("CPUs used by {name}")));
    match (usage.wanting, usage.pressure) {
        (_, Some(pressure)) => finding.why(tr!(
            "for {percent} % of the time somebody waits for a CPU",
            percent = format!("{:.0}", pressure.clamp(0.0, 100.0))
        )),
        (Some(wanting), None) => finding.why(tr!(
            "{threads} threads want to run on the average, and each gets its turn later",
            threads = format!("{wanting:.1}")
        )),
        (None, None) => finding.why(tr!("whatever wants to run gets its turn later")),
    };
    if all > NOTICED {
        tell_time(facts, finding, &episode);
    }
    finding.note(split(&usage.all));
    let in_kernel = usage.all.system + usage.all.irq.unwrap_or(0.0) + usage.all.softirq.unwrap_or(0.0);
    if in_kernel >= 50.0 {
        finding.note(tr!("most of it is time in the kernel: system calls and interrupts, not what programs compute"));
    }
    for (index, user) in usage.users.iter().enumerate().filter(|(_, user)| Some(*user) != culprit) {
        if user.cpus * 100.0 < usage.used() || index >= 8 {
            continue;
        }
        let row = tr!("{who} uses {its}", who = user.who(), its = format!("{:.2}", user.cpus));
        if user.cpus * 10.0 >= usage.used() {
            finding.note(row)
        } else {
            finding.verbose_note(row)
        };
    }
    finding.measured("used", usage.used(), Unit::Count, Some(cpus)).detail("usage", usage.details());
    // What waits for a CPU is the load.
    if facts.get::<Load>().is_ok_and(|load| {
        let sum = |of: fn(&crate::facts::cpu::load::Group) -> f64| load.groups.iter().map(of).sum::<f64>();
        sum(|group| group.running) > sum(|group| group.waiting)
    }) {
        finding.explains("/proc/loadavg");
    }
    finding.by_hand(tr!(
        "put what is not urgent behind the rest (nice, CPUWeight=), or bound it (CPUQuota=); else the machine needs more CPUs"
    ));
    Ok(())
}

fn is_busy(step: &Step<'_>) -> bool {
    let all = step.interval.cpus().and_then(|cpus| cpus.all);
    all.is_some_and(|all| all.busy() >= BUSY && all.steal < STOLEN)
}

/// How bad it is; nothing where nobody waits.
fn judged(usage: &Usage, load1: Option<f64>, length: Duration) -> Option<Severity> {
    let cpus = usage.cpus as f64;
    let lasts =
        length >= Duration::from_secs(60) || load1.is_none_or(|load1| load1 >= cpus * 4.0 && load1 >= cpus + 8.0);
    let many = usage.wanting.is_some_and(|wanting| wanting >= cpus * 3.0 && wanting >= cpus + 6.0);
    let waits = match usage.pressure {
        Some(pressure) => pressure >= 40.0,
        None => usage.wanting.is_none_or(|wanting| wanting >= cpus * 1.5 && wanting >= cpus + 1.0),
    };
    if many && lasts && waits {
        return Some(Severity::Warning);
    }
    // One more than there are CPUs is how compilers are started.
    let is_more = usage.wanting.is_none_or(|wanting| wanting >= cpus * 1.5 && wanting >= cpus + 1.5);
    (waits && is_more).then_some(Severity::Note)
}
