//! A disk has been given something to do, and does not answer.

use std::time::{Duration, Instant};

use crate::facts::Facts;
use crate::facts::cpu::load::{Group, Load};
use crate::facts::cpu::waits::Wait;
use crate::facts::episode::{Episode, Step, longest};
use crate::facts::glimpse::{is_now, no_rates, tell_time, window_worth_while};
use crate::facts::io::burst::{disk_steps, names};
use crate::facts::io::devices::Devices;
use crate::model::finding::Findings;
use crate::model::measured::Unit;
use crate::model::outcome::Verdict;
use crate::model::subject::Subject;
use crate::sample::rates::{DiskRates, Interval};
use crate::sample::{Window, glimpse};
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: programs stand still and cannot be killed, the load rises and the CPUs are idle; `iostat` shows a disk with
    /// 100 % and nothing read or written.
    ///
    /// ## What it finds
    /// A disk with requests on their way of which none ended for five seconds or more, while somebody waits for it. Where
    /// one disk lies upon another (LVM, RAID, a loop device), the lowest of them that does not answer.
    ///
    /// ## Why it matters
    /// Whoever reads from it or writes to it waits for as long as that takes, and cannot be ended. Mostly the storage behind it
    /// is gone: a path of a SAN, a cloud's disk that was detached, a frozen file system under an image, a disk that dies.
    ///
    /// ## What the repair does
    /// Nothing by itself: bring the storage back. The kernel log tells of resets and timeouts.
    ///
    /// ## By hand
    /// ```sh
    /// # requests on their way, reads and writes
    /// grep . /sys/block/*/inflight
    /// dmesg -T | tail -50
    /// ```
    "io-disk-hangs", Io, seed = ["C9", "C5"], proves = [], reads_recordings = true, "a disk does not answer"
}

/// A disk that was asleep answers within ten seconds, one that is busy within one.
const HANGS: Duration = Duration::from_secs(5);
/// In so many percent of the time somebody waits.
const WAITS: f64 = 50.0;
/// What is watched once more is looked at so often.
const PAUSE: Duration = Duration::from_millis(250);

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let Some(window) = window_worth_while(facts)? else { return Ok(()) };
    let steps = disk_steps(&window);
    if steps.is_empty() {
        return Err(no_rates("/proc/diskstats"));
    }
    let devices = facts.get::<Devices>()?;
    let all = names(&window);
    let known = all.iter().map(String::as_str).collect();
    let mut hung: Vec<(&str, Episode, Duration)> = Vec::new();
    for disk in all.iter().filter(|disk| devices.disk_of(disk, &known).is_none()) {
        let Some(episode) = longest(&steps, |step| stands(step, disk)) else { continue };
        let mut length = episode.length;
        if length < HANGS && is_now(facts) && facts.target().is_this_machine() && episode.is_open_after {
            length = length.saturating_add(still(facts, disk, HANGS.saturating_sub(length)));
        }
        if length >= HANGS {
            hung.push((disk, episode, length));
        }
    }
    let names: Vec<String> = hung.iter().map(|(disk, ..)| (*disk).to_owned()).collect();
    // What lies upon one that hangs hangs with it.
    hung.retain(|(disk, ..)| {
        !devices.is_upon(disk) || devices.disks_of(disk, &known).iter().all(|below| !names.contains(below))
    });
    for (disk, episode, length) in hung {
        let load = facts.get::<Load>().ok();
        let waits = |group: &&Group| {
            !group.is_usual
                && matches!(group.wait(), Some(Wait::Disk | Wait::Journal | Wait::Lock) | None)
                && group.waiting >= 0.5
        };
        let waiting: Vec<&Group> = load.iter().flat_map(|load| &load.groups).filter(waits).collect();
        let pressure =
            episode.whole(&steps).and_then(|whole| whole.interval.rate(|sample| Some(sample.io_pressure?.some?.total)));
        let pressed = pressure.map(|micros| micros / 10_000.0 >= WAITS);
        // Some kernels forget to count what ended: then nobody waits.
        if waiting.is_empty() && (pressed == Some(false) || (pressed.is_none() && load.is_some())) {
            continue;
        }
        tell(facts, found, (disk, &episode, length), &window, &devices, &waiting);
    }
    Ok(())
}

fn tell(
    facts: &Facts,
    found: &mut Findings,
    (disk, episode, length): (&str, &Episode, Duration),
    window: &Window,
    devices: &Devices,
    waiting: &[&Group],
) {
    let on_their_way = window
        .samples
        .iter()
        .rev()
        .find_map(|sample| sample.disks.as_ref()?.iter().find(|one| one.name == disk.as_bytes()))
        .map_or(0, |disk| disk.in_flight);
    let seconds = format!("{:.0}", length.as_secs_f64());
    let text = match devices.label(disk) {
        Some(label) => tr!(
            "{disk} ({label}) does not answer: {count} {count?request is|requests are} on their way, and none ended for {seconds} s",
            disk,
            label,
            count = on_their_way,
            seconds
        ),
        None => tr!(
            "{disk} does not answer: {count} {count?request is|requests are} on their way, and none ended for {seconds} s",
            disk,
            count = on_their_way,
            seconds
        ),
    };
    let finding = found.error(text);
    finding.at_device(format!("/dev/{disk}")).subject(Subject::Device(format!("/dev/{disk}")));
    finding.why(tr!("whatever reads from it or writes to it waits, and cannot be ended"));
    if window.span().is_some_and(|span| span.as_secs() > 2) {
        tell_time(facts, finding, episode);
    }
    for group in waiting.iter().take(6) {
        finding.note(tr!(
            "{threads} {threads?thread|threads} of {who} wait, {reason}",
            threads = group.waiting.round().max(1.0) as u64,
            who = group.who(),
            reason =
                group.told_wait().map_or_else(|| tr!("and what for cannot be told"), |what| tr!("for {what}", what))
        ));
    }
    finding
        .measured("in flight", on_their_way as f64, Unit::Count, None)
        .detail("disk", disk)
        .detail("seconds", length.as_secs_f64());
    let sum = |groups: &mut dyn Iterator<Item = &Group>| groups.map(Group::count).sum::<f64>();
    let all = facts.get::<Load>().map_or(0.0, |load| sum(&mut load.groups.iter()));
    // What else runs is another load.
    if sum(&mut waiting.iter().copied()) * 2.0 >= all {
        finding.explains("/proc/loadavg");
    }
    finding.by_hand(tr!(
        "see the kernel log for that disk, and bring back what is behind it; what waits goes on by itself then"
    ));
}

/// Whether a disk had something to do in a step and ended nothing.
fn stands(step: &Step<'_>, disk: &str) -> bool {
    let find = |interval: &Interval<'_>| {
        interval
            .disks()
            .into_iter()
            .flatten()
            .find(|rates| rates.disk.name == disk.as_bytes())
            .map(|rates| is_still(&rates))
    };
    let before = step.interval.before.disks.iter().flatten().find(|one| one.name == disk.as_bytes());
    before.is_some_and(|before| before.in_flight > 0) && find(&step.interval) == Some(true)
}

fn is_still(rates: &DiskRates<'_>) -> bool {
    rates.disk.in_flight > 0
        && rates.transfers == Some(0.0)
        && rates.read_kb.is_none_or(|kb| kb <= 0.0)
        && rates.written_kb.is_none_or(|kb| kb <= 0.0)
}

/// How much longer it ends nothing, at most so long.
fn still(facts: &Facts, disk: &str, most: Duration) -> Duration {
    let began = Instant::now();
    while began.elapsed() < most {
        let Ok(window) = glimpse(facts.root(), PAUSE) else { break };
        let interval = match window.samples.as_slice() {
            [before, after] => Interval::between(before, after),
            _ => None,
        };
        let rates = interval.as_ref().and_then(|interval| interval.disks()).into_iter().flatten();
        if !rates.filter(|rates| rates.disk.name == disk.as_bytes()).any(|rates| is_still(&rates)) {
            return Duration::ZERO;
        }
    }
    began.elapsed()
}
