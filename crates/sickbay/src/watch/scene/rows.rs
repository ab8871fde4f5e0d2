//! Rows of a moment out of two samples.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use super::{DiskRow, Doer, Hot, LATE, LinkRow, ROWS, Softnet};
use crate::facts::episode::STEP;
use crate::facts::io::burst::is_on;
use crate::facts::io::devices::Devices;
use crate::sample::rates::{InterruptRates, Interval, SoftnetRates};
use crate::sample::{Sample, Thread, Window};

/// From the sample before the last that has it to that, at least a step.
pub(super) fn interval<'s>(samples: &'s [Sample], has: &dyn Fn(&Sample) -> bool) -> Option<Interval<'s>> {
    let end = samples.last()?.moment.steady;
    let mut with = samples.iter().rev().filter(|sample| has(sample));
    let after = with.next().filter(|after| end.saturating_sub(after.moment.steady) <= LATE)?;
    let mut longest = None;
    for before in with {
        match Interval::between(before, after) {
            Some(interval) if interval.span >= STEP => return Some(interval),
            // A clock that went back.
            None if before.moment.steady > after.moment.steady => break,
            found => longest = found.or(longest),
        }
    }
    longest
}

/// Who slept through the window, and yet may be the parent of somebody in it: known by the last look at all before.
pub(super) fn add_parents(window: &mut Window, up_to: &[Sample]) {
    let looks = |samples: &[Sample]| -> HashSet<u32> {
        samples.iter().filter_map(|one| one.threads.as_ref()).flat_map(|look| &look.list).map(|one| one.pid).collect()
    };
    let known = looks(&window.samples);
    let whole = up_to.iter().rev().filter_map(|sample| sample.threads.as_ref()).find(|look| look.is_all);
    let Some(first) = window.samples.iter_mut().find_map(|sample| sample.threads.as_mut()) else { return };
    let asleep = |thread: &&Thread| thread.id == thread.pid && !known.contains(&thread.pid);
    let all = whole.into_iter().flat_map(|look| &look.list).filter(asleep);
    first.list.extend(all.map(|thread| Thread { state: b'S', waits_in: None, slices: None, ..thread.clone() }));
}

/// Who reads and writes, and over what time that is known.
pub(super) fn doers(
    window: &Window,
    devices: &Devices,
    disks: &[DiskRow],
    known: &BTreeSet<&str>,
) -> Option<(Vec<Doer>, Duration)> {
    let end = window.last()?.moment.steady;
    let interval = window.intervals_with(|sample| sample.io.is_some()).last()?;
    if end.saturating_sub(interval.after.moment.steady) > LATE {
        return None;
    }
    let mut all: Vec<Doer> = Vec::new();
    for rates in interval.io()? {
        let (pid, began) = (rates.process.pid, rates.process.began);
        let bytes = rates.read.unwrap_or(0.0) + rates.written.unwrap_or(0.0);
        if bytes <= 0.0 {
            continue;
        }
        let files = || {
            window
                .samples
                .iter()
                .rev()
                .flat_map(|sample| &sample.files)
                .filter(|file| (file.pid, file.began) == (pid, began))
        };
        // That in which it is furthest is the one; others are locks and logs.
        let on = files().filter_map(|file| {
            let disk = disks.iter().find(|disk| is_on(file, &disk.name, devices, known))?;
            Some((file.position.unwrap_or(0), disk.name.clone(), file.path.display().to_string()))
        });
        let found = on.max_by_key(|(position, ..)| *position).map(|(_, disk, file)| (disk, file));
        // More than all the others carried together can only be on this one.
        let carried = |disk: &DiskRow| (disk.read_kb.unwrap_or(0.0) + disk.written_kb.unwrap_or(0.0)) * 1024.0;
        let others = |disk: &&DiskRow| disks.iter().filter(|other| other.name != disk.name).map(carried).sum::<f64>();
        let only = disks.iter().filter(|disk| carried(disk) > 0.0).find(|disk| others(disk) < bytes / 2.0);
        let only = only.map(|disk| disk.name.clone());
        let (disk, file) = found.map_or((only, None), |(disk, file)| (Some(disk), Some(file)));
        let name = rates.process.name.to_string();
        all.push(Doer { pid, name, read: rates.read, written: rates.written, disk, file });
    }
    let bytes = |doer: &Doer| doer.read.unwrap_or(0.0) + doer.written.unwrap_or(0.0);
    all.sort_by(|one, other| bytes(other).total_cmp(&bytes(one)).then(one.pid.cmp(&other.pid)));
    all.truncate(ROWS);
    Some((all, interval.span))
}

/// The interfaces.
pub(super) fn links(interval: &Interval<'_>) -> Option<Vec<LinkRow>> {
    let sum = |values: [Option<f64>; 4]| values.into_iter().sum::<Option<f64>>();
    let mut rows: Vec<LinkRow> = interval
        .links()?
        .into_iter()
        .map(|(name, received, sent)| LinkRow {
            name,
            received: received.bytes,
            sent: sent.bytes,
            packets_in: received.packets,
            packets_out: sent.packets,
            lost: sum([received.errors, received.dropped, sent.errors, sent.dropped]),
        })
        .collect();
    let weight = |row: &LinkRow| (row.lost.unwrap_or(0.0), row.received.unwrap_or(0.0) + row.sent.unwrap_or(0.0));
    rows.sort_by(|one, other| {
        weight(other).partial_cmp(&weight(one)).unwrap_or(std::cmp::Ordering::Equal).then(one.name.cmp(&other.name))
    });
    rows.truncate(ROWS);
    Some(rows)
}

/// All CPUs together.
pub(super) fn softnet(interval: &Interval<'_>) -> Option<Softnet> {
    let rows = interval.softnet()?;
    let sum = |of: fn(&SoftnetRates) -> Option<f64>| rows.iter().map(of).sum::<Option<f64>>();
    Some(Softnet {
        processed: sum(|row| row.processed),
        dropped: sum(|row| row.dropped),
        squeezed: sum(|row| row.squeezed),
    })
}

/// Those that happened.
pub(super) fn hot(rows: Vec<InterruptRates<'_>>) -> Vec<Hot> {
    let of = |row: InterruptRates<'_>| {
        let total = row.total.filter(|total| *total > 0.0)?;
        let most = row
            .each
            .iter()
            .filter_map(|(cpu, rate)| Some((*cpu, (*rate)?)))
            .max_by(|one, other| one.1.total_cmp(&other.1));
        Some(Hot {
            name: row.row.name.to_string(),
            about: row.row.about.to_string(),
            total,
            cpu: most.map(|(cpu, rate)| (cpu, rate * 100.0 / total)),
        })
    };
    let mut all: Vec<Hot> = rows.into_iter().filter_map(of).collect();
    all.sort_by(|one, other| other.total.total_cmp(&one.total).then_with(|| one.name.cmp(&other.name)));
    all.truncate(ROWS);
    all
}
