//! Many programs that live for moments are started, one after the other.

use std::collections::BTreeMap;

use crate::facts::Facts;
use crate::facts::cpu::load::{Load, Maker};
use crate::facts::cpu::usage::{Usage, split, thousandths};
use crate::facts::episode::{STEP, Step, longest, steps};
use crate::facts::glimpse::{no_rates, tell_time, window_worth_while};
use crate::model::finding::{Findings, Severity};
use crate::model::measured::Unit;
use crate::model::outcome::Verdict;
use crate::model::subject::Subject;
use crate::sample::{Ended, Window};
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: CPUs are busy, most of it in the kernel, and yet no process in `top` uses any; process numbers rise by
    /// thousands a minute.
    ///
    /// ## What it finds
    /// More than a hundred new processes or threads a second, by the kernel's counter of those it made, and who starts them: each
    /// program that ends leaves its page faults to its parent, so the parent whose sum grows is the one. A build that starts
    /// compilers is none: its time is that of the compilers. On a running system root is also told which programs they were, for
    /// the kernel tells of each that ends.
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
    let ended: Vec<&Ended> = window.samples.iter().filter_map(|sample| sample.ended.as_ref()).flatten().collect();
    let maker: Option<Maker> = facts.get::<Load>().ok().and_then(|load| load.maker.clone());
    let maker = maker.or_else(|| parent_of_most(&ended, &window));
    // Nobody waits and it costs next to nothing.
    if usage.used() < 0.3 {
        return Ok(());
    }
    let from_one = maker.as_ref().is_some_and(|maker| maker.share >= 50 || maker.share == 0);
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
    if let Some(seconds) = all.as_secs_f64().gt(&0.0).then_some(all.as_secs_f64()) {
        for (name, sum) in by_name(&ended).into_iter().take(3).filter(|(_, sum)| sum.count as f64 / seconds >= 1.0) {
            let share = |us: u64| format!("{:.2}", us as f64 / 1e6 / seconds);
            finding.note(tr!(
                "{rate} a second were {name}: {user} CPUs for themselves, {system} for the kernel's work on them",
                rate = (sum.count as f64 / seconds).round() as u64,
                name,
                user = share(sum.user_us),
                system = share(sum.system_us)
            ));
        }
    }
    match &maker {
        Some(maker) if maker.share == 0 => {
            let process = Subject::Process { pid: maker.pid, start: None, name: maker.name.clone() };
            finding.at_subject(process.clone()).subject(process);
        }
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

/// Those that ended, by name, the most first.
fn by_name<'e>(ended: &[&'e Ended]) -> Vec<(&'e str, Ended)> {
    let mut sums: BTreeMap<&str, Ended> = BTreeMap::new();
    for one in ended {
        let sum = sums.entry(&one.name).or_default();
        sum.count += one.count;
        sum.user_us = sum.user_us.saturating_add(one.user_us);
        sum.system_us = sum.system_us.saturating_add(one.system_us);
    }
    let mut sums: Vec<(&str, Ended)> = sums.into_iter().collect();
    sums.sort_by_key(|(_, sum)| std::cmp::Reverse(sum.count));
    sums
}

/// The parent of more than half of those that ended. Its share of page faults is not known, and told as 0.
fn parent_of_most(ended: &[&Ended], window: &Window) -> Option<Maker> {
    let mut counts: BTreeMap<u32, u64> = BTreeMap::new();
    for one in ended {
        *counts.entry(one.parent).or_default() += one.count;
    }
    let all: u64 = counts.values().sum();
    let (pid, count) = counts.into_iter().max_by_key(|(_, count)| *count)?;
    let threads = || window.looks().flat_map(|look| &look.list);
    let parent = threads().find(|thread| thread.id == pid)?;
    (pid > 1 && count * 2 > all).then(|| Maker { pid, name: parent.name.to_string(), share: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{Name, Sample, Thread, Threads};

    #[test]
    fn who_made_those_that_ended() {
        let one = |name: &str, parent, count| Ended { name: name.into(), parent, count, user_us: 7, system_us: 9 };
        let all = [one("true", 40, 300), one("sleep", 40, 100), one("true", 50, 90)];
        let ended: Vec<&Ended> = all.iter().collect();
        let told: Vec<(&str, u64, u64)> =
            by_name(&ended).into_iter().map(|(name, sum)| (name, sum.count, sum.system_us)).collect();
        assert_eq!(told, [("true", 390, 18), ("sleep", 100, 9)]);
        let thread = Thread { id: 40, pid: 40, name: Name::of(b"sh"), ..Thread::default() };
        let threads = Some(Threads { list: vec![thread], is_all: true, left_out: 0 });
        let window = Window { samples: vec![Sample { threads, ..Sample::default() }], place: "/proc".into() };
        let maker = parent_of_most(&ended, &window);
        assert_eq!(maker, Some(Maker { pid: 40, name: "sh".into(), share: 0 }));
        assert_eq!(parent_of_most(&ended[2..], &window), None);
    }
}
