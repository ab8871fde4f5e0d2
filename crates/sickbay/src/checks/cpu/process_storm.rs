//! Many programs that live for moments are started, one after the other.

use crate::facts::Facts;
use crate::facts::cpu::load::{Load, Maker};
use crate::facts::cpu::usage::{Usage, split, thousandths};
use crate::facts::episode::{STEP, Step, longest, steps};
use crate::facts::glimpse::{no_rates, tell_time, window_worth_while};
use crate::model::finding::{Findings, Severity};
use crate::model::measured::Unit;
use crate::model::outcome::Verdict;
use crate::model::subject::Subject;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: CPUs are busy, most of it in the kernel, and yet no process in `top` uses any; process numbers rise by
    /// thousands a minute.
    ///
    /// ## What it finds
    /// More than a hundred new processes or threads a second, by the kernel's counter of those it made, and who starts them: each
    /// program that ends leaves its page faults to its parent, so the parent whose sum grows is the one. A build that starts
    /// compilers is none: its time is that of the compilers.
    ///
    /// ## Why it matters
    /// Starting a program costs a millisecond or more of a CPU, nearly all of it in the kernel. A loop in a script that should have
    /// waited, or a service that crashes at once and is started again, uses a CPU for nothing, and no tool that looks at
    /// processes now and then sees it.
    ///
    /// ## What the repair does
    /// Nothing by itself: it is the script or the service that has to be mended.
    ///
    /// ## By hand
    /// ```sh
    /// # how many are made in a second
    /// grep processes /proc/stat; sleep 1; grep processes /proc/stat
    /// # what they are
    /// perf trace -e execve -a -- sleep 1
    /// ```
    "process-storm", Cpu, seed = ["D4", "C5"], proves = [], reads_recordings = true,
    "many short programs are started, one after the other"
}

/// Fewer a second no expert looks at.
const MANY: f64 = 120.0;
/// From so many on no build starts them.
const STORM: f64 = 300.0;

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let Some(window) = window_worth_while(facts)? else { return Ok(()) };
    let steps = steps(&window, STEP, |sample| sample.stat.as_ref().is_some_and(|stat| stat.made.is_some()));
    if steps.is_empty() {
        return Err(no_rates("/proc/stat"));
    }
    let made = |step: &Step<'_>| step.interval.rate(|sample| sample.stat.as_ref()?.made);
    let Some(episode) = longest(&steps, |step| made(step).is_some_and(|made| made >= MANY)) else { return Ok(()) };
    let all = window.span().unwrap_or_default();
    // Something that starts is no storm.
    if episode.length.as_secs() < 10 && episode.length * 2 < all {
        return Ok(());
    }
    let Some(part) = episode.whole(&steps) else { return Ok(()) };
    let (Some(usage), Some(made)) = (Usage::of(&window, &part), made(&part)) else { return Ok(()) };
    let maker: Option<Maker> = facts.get::<Load>().ok().and_then(|load| load.maker.clone());
    // Nobody waits and it costs next to nothing.
    if usage.used() < 0.3 {
        return Ok(());
    }
    let from_one = maker.as_ref().is_some_and(|maker| maker.share >= 50);
    let in_kernel = usage.all.system > usage.all.user + usage.all.nice.unwrap_or(0.0);
    // A build starts many, and uses its time for what they compute.
    if !in_kernel && made < STORM {
        return Ok(());
    }
    let severity = if made >= STORM && from_one && in_kernel { Severity::Warning } else { Severity::Note };
    let count = made.round() as u64;
    let text = match &maker {
        Some(maker) => tr!(
            "{name} (PID {pid}) starts {count} processes or threads a second that end at once",
            name = maker.name.as_str(),
            pid = maker.pid,
            count
        ),
        None => tr!("{count} processes or threads a second are started and end at once; by whom cannot be told", count),
    };
    let finding = found.add(severity, text);
    match &maker {
        Some(maker) => {
            let process = Subject::Process { pid: maker.pid, start: None, name: maker.name.clone() };
            finding.at_subject(process.clone()).subject(process);
            finding.note(tr!(
                "{share} % of the page faults of all children that ended meanwhile were its children's",
                share = maker.share
            ));
        }
        None => {
            finding.at_path("/proc/stat");
        }
    }
    finding.why(tr!(
        "{used} of {cpus} {cpus?CPU is|CPUs are} busy, {unknown} of it with processes too short-lived for any list",
        used = format!("{:.1}", usage.used()),
        cpus = usage.cpus,
        unknown = format!("{:.1}", usage.unknown())
    ));
    finding.note(split(&usage.all));
    if all.as_secs() > 10 {
        tell_time(facts, finding, &episode);
    }
    finding.measured("made", made, Unit::PerSecond, None).detail("made_per_second", thousandths(made));
    finding.by_hand(tr!("see what it runs (perf trace -e execve, or its script), and why so often"));
    Ok(())
}
