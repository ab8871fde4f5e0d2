//! The hypervisor gives the time of this machine's CPUs to others.

use crate::facts::Facts;
use crate::facts::cpu::usage::{split, thousandths};
use crate::facts::episode::{STEP, Step, average, longest, steps};
use crate::facts::glimpse::{no_rates, tell_time, window_worth_while};
use crate::model::finding::{Findings, Severity};
use crate::model::measured::Unit;
use crate::model::outcome::Verdict;
use crate::model::subject::Subject;
use crate::sample::rates::Interval;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: everything is slow on a virtual machine, and `top` shows `st` of 10 % and more.
    ///
    /// ## What it finds
    /// A time in which the hypervisor did not run CPUs of this machine that had something to do (steal), and by the form of it
    /// whether the machine is held to a share that it has paid for, as an instance whose CPU credits are used up is, or
    /// others on the same host come and go. It is told apart from the quota of a cgroup, which no steal shows.
    ///
    /// ## Why it matters
    /// Nothing inside the machine can give that time back: priorities, affinity and fewer programs only share out what is left.
    ///
    /// ## What the repair does
    /// Nothing by itself: the provider, or another size of machine, helps.
    ///
    /// ## By hand
    /// ```sh
    /// # steal of each CPU
    /// mpstat -P ALL 5 2
    /// ```
    "cpu-steal", Cpu, seed = ["D4", "C5"], proves = [], reads_recordings = true,
    "the hypervisor gives this machine's CPU time to others"
}

/// From so many percent of all time on.
const STOLEN: f64 = 10.0;
/// From so many on it is most of what the machine could use.
const MOST: f64 = 30.0;
/// With so many steps the form tells.
const ENOUGH: usize = 8;

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let Some(window) = window_worth_while(facts)? else { return Ok(()) };
    let steps = steps(&window, STEP, |sample| sample.stat.is_some());
    if steps.is_empty() {
        return Err(no_rates("/proc/stat"));
    }
    let steal = |step: &Step<'_>| Some(step.interval.cpus()?.all?.steal);
    let Some(episode) = longest(&steps, |step| steal(step).is_some_and(|steal| steal >= STOLEN)) else { return Ok(()) };
    let all = window.span().unwrap_or_default();
    if episode.length.as_secs() < 10 && episode.length * 2 < all {
        return Ok(());
    }
    let part = episode.of(&steps);
    let Some(shares) = episode.whole(&steps).and_then(|whole| whole.interval.cpus()?.all) else { return Ok(()) };
    let (stolen, used) = (shares.steal, shares.busy() - shares.steal);
    let severity = if stolen >= MOST { Severity::Error } else { Severity::Warning };
    let finding = found.add(
        severity,
        tr!(
            "the hypervisor takes {percent} % of the CPU time: of what this machine wants to use it gets {got} %",
            percent = format!("{stolen:.0}"),
            got = format!("{:.0}", used * 100.0 / (used + stolen).max(1.0))
        ),
    );
    finding.at_subject(Subject::Machine).subject(Subject::Named("steal".to_owned()));
    finding.why(tr!("threads that run stand still meanwhile, and nothing inside the machine can change that"));
    // Held to a share: what is used is always the same, and nothing is idle.
    let spread = deviation(part, |interval| interval.cpus()?.all.map(|all| all.busy() - all.steal));
    let idle = average(part, |step| Some(step.interval.cpus()?.all?.idle)).unwrap_or(0.0);
    match spread.filter(|_| part.len() >= ENOUGH) {
        Some(spread) if spread <= used * 0.1 && idle < 10.0 => finding.note(tr!(
            "it gets {percent} % of its CPUs all the time, no more and no less: that is what an instance whose CPU credits are used up looks like",
            percent = format!("{used:.0}")
        )),
        Some(_) => finding.note(tr!("it comes and goes, as it does with busy neighbours on the same host")),
        None => finding.note(tr!(
            "whether its CPU credits are used up or neighbours are busy cannot be told in so short a time"
        )),
    };
    finding.note(tr!("this is no quota of a cgroup: one that is throttled shows as idle"));
    if all.as_secs() > 10 {
        tell_time(facts, finding, &episode);
    }
    finding.note(split(&shares));
    finding
        .measured("steal", stolen, Unit::Percent, None)
        .detail("steal", thousandths(stolen))
        .detail("used", thousandths(used));
    // What waits for a CPU is the load.
    finding.explains("/proc/loadavg");
    finding.by_hand(tr!("ask the provider, move the machine to another host, or take a size with CPUs of its own"));
    Ok(())
}

/// How far a value is from its mean, in the middle.
fn deviation(part: &[Step<'_>], of: impl Fn(&Interval<'_>) -> Option<f64>) -> Option<f64> {
    let mean = average(part, |step| of(&step.interval))?;
    average(part, |step| Some((of(&step.interval)? - mean).powi(2))).map(f64::sqrt)
}
