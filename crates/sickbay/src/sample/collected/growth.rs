//! How counters grow by rates that were printed, and how long the interval was for which they come out even.

use sickbay_formats::collected::rounded;
use sickbay_formats::collected::text::{Block, Cpu, Disk};
use sickbay_formats::procfs::diskstats;
use sickbay_formats::procfs::stat::Times;

/// A time is printed in whole seconds.
pub(super) const PRINTED: f64 = 0.6;

/// What was printed is off by half of its last digit.
const HALF: f64 = 0.005_1;

/// Where a counter begins of which nothing is told: it goes down from there.
const UNTOLD: u64 = u64::MAX / 2;

/// Which of both sums are told is known from its first row.
pub(super) fn new_disk(told: &Disk, base: u64) -> diskstats::Disk {
    let has_wait = told.read_wait.is_some() || told.write_wait.is_some();
    let of = |rate: Option<f64>| if rate.is_some() { base } else { UNTOLD };
    diskstats::Disk {
        name: told.name.clone(),
        reads: base,
        writes: base,
        sectors_read: of(told.read_kb),
        sectors_written: of(told.written_kb),
        busy_ms: of(told.util),
        weighted_ms: of(told.queue),
        transfers: (told.reads.is_none() || told.writes.is_none()).then_some(base),
        both_ms: (!has_wait).then(|| of(told.wait)),
        ..diskstats::Disk::default()
    }
}

pub(super) fn grow_disk(disk: &mut diskstats::Disk, told: &Disk, span: f64) {
    let grown = |rate: Option<f64>| rounded(rate.unwrap_or(0.0) * span);
    let (reads, writes) = (grown(told.reads), grown(told.writes));
    let transfers = if disk.transfers.is_some() { grown(told.transfers) } else { reads.saturating_add(writes) };
    let add = |counter: &mut u64, growth: u64| *counter = counter.saturating_add(growth);
    add(&mut disk.reads, reads);
    add(&mut disk.writes, writes);
    if let Some(all) = disk.transfers.as_mut() {
        add(all, transfers);
    }
    // What is not told goes back, and so is unknown.
    let add_told = |counter: &mut u64, rate: Option<f64>| match rate {
        Some(_) => *counter = counter.saturating_add(grown(rate)),
        None => *counter = counter.saturating_sub(1),
    };
    add_told(&mut disk.sectors_read, told.read_kb.map(|kb| kb * 2.0));
    add_told(&mut disk.sectors_written, told.written_kb.map(|kb| kb * 2.0));
    let time = |wait: Option<f64>, count: u64| rounded(wait.unwrap_or(0.0) * count as f64);
    add(&mut disk.read_ms, time(told.read_wait, reads));
    add(&mut disk.write_ms, time(told.write_wait, writes));
    if let Some(both) = disk.both_ms.as_mut() {
        match told.wait {
            Some(_) => add(both, time(told.wait, transfers)),
            None => *both = both.saturating_sub(1),
        }
    }
    add_told(&mut disk.busy_ms, told.util.map(|util| util * 10.0));
    add_told(&mut disk.weighted_ms, told.queue.map(|queue| queue * 1000.0));
}

/// Ticks in the proportions that were printed, as many as there are in that time, or about as many if they fit better.
pub(super) fn grow_times(times: &mut Times, told: &Cpu, ticks: f64) {
    let shares = [told.user, told.nice, told.system, told.idle, told.iowait, told.irq, told.softirq, told.steal];
    let sum: f64 = shares.iter().sum();
    if ticks < 1.0 || sum <= 0.0 {
        return;
    }
    let error = |all: f64| {
        let off = |share: f64| ((share * all / 100.0).round() / all * 100.0 - share).abs();
        shares.iter().map(|share| off(*share)).fold(0.0, f64::max)
    };
    let nominal = ticks.round();
    let (least, most) = (rounded(nominal * 0.85).max(1), rounded(nominal * 1.15).min(rounded(nominal) + 400));
    let is_fine = |all: &f64| error(*all) <= HALF;
    let near = |all: f64| (all - nominal).abs();
    let candidates = || (least..=most).map(|all| all as f64);
    let fine = candidates().filter(is_fine).min_by(|one, other| near(*one).total_cmp(&near(*other)));
    let all = fine.unwrap_or(nominal);
    let fields = [
        &mut times.user,
        &mut times.nice,
        &mut times.system,
        &mut times.idle,
        &mut times.iowait,
        &mut times.irq,
        &mut times.softirq,
        &mut times.steal,
    ];
    for (field, share) in fields.into_iter().zip(shares) {
        *field = field.saturating_add(rounded(share * all / 100.0));
    }
}

/// What grows by whole numbers, a second; with by how much it may be off.
pub(super) fn counts(block: &Block) -> Vec<(f64, f64)> {
    let mut counts: Vec<(f64, f64)> = Vec::new();
    for disk in &block.disks {
        let requests = [disk.reads, disk.writes, disk.transfers, disk.merged[0], disk.merged[1]];
        counts.extend(requests.into_iter().flatten().map(|rate| (rate, HALF)));
        // Two sectors to a KiB.
        counts.extend([disk.read_kb, disk.written_kb].into_iter().flatten().map(|kb| (kb * 2.0, HALF * 2.0)));
    }
    // Ticks of a hundredth of a second.
    counts.extend(block.tasks.iter().filter_map(|task| Some((task.cpu?, HALF))).take(64));
    counts.retain(|(rate, _)| *rate > 0.0);
    counts
}

/// The interval, in hundredths of a second near the one that is known, with which everything comes out even; the nearest of
/// several. `None` where there is none.
pub(super) fn implied(nominal: f64, counts: &[(f64, f64)], is_allowed: impl Fn(f64) -> bool) -> Option<f64> {
    let fits = |span: f64| counts.iter().all(|(rate, off)| ((rate * span).round() / span - rate).abs() <= *off);
    let hundredths = (nominal * 100.0).round();
    let steps = rounded((PRINTED * 100.0).min(hundredths / 2.0));
    let candidates = (0..=steps).flat_map(|step| {
        let step = step as f64;
        [(hundredths - step) / 100.0, (hundredths + step) / 100.0]
    });
    candidates.filter(|span| *span > 0.0 && is_allowed(*span)).find(|span| fits(*span))
}
