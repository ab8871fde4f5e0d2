//! What other programs collected, as a window. Several sources, of one file or of several, are put together on one clock: that
//! of the day, which all of them print.

mod growth;
mod jobs;
mod sa;
mod series;
mod text;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::tz::TimeZone;
use sickbay_formats::collected;
use sickbay_target::Recording;

use super::asked::shown;
use super::recorded::{Machine, Part, nothing_then};
use super::{Asked, Sample, Window};
use crate::model::text::Text;
use crate::tr;

/// A file is read up to this size.
const SIZE: u64 = 1 << 30;

/// So many samples are kept: those of a day at five seconds.
const SAMPLES: usize = 17_280;

/// What one file gave.
#[derive(Debug, Default)]
struct Found {
    /// In order; the steady clock of each is that of the day, but without its leaps.
    samples: Vec<Sample>,
    machine: Machine,
    /// Of files that tell it.
    zone: Option<TimeZone>,
    /// The first moment and the last of the whole file.
    whole: Option<(Duration, Duration)>,
    remarks: Vec<Text>,
    /// What `fio` said, of each file.
    jobs: Vec<jobs::Run>,
}

/// The part that is asked for.
///
/// # Errors
/// Why there is none.
pub(super) fn read(recording: &Recording, asked: &Asked, zone: &TimeZone) -> Result<Part, Text> {
    let mut all = Found::default();
    let mut texts = Vec::new();
    for (file, path) in recording.files().iter().enumerate() {
        let path = path.as_path();
        let bytes = recording.read(file, SIZE + 1).map_err(|error| {
            let error = error.to_string();
            tr!("{path} cannot be read: {error}", path, error = error.as_str())
        })?;
        if bytes.len() as u64 > SIZE {
            let size = format!("{} MiB", SIZE >> 20);
            return Err(tr!("{path} is larger than {size}", path, size));
        }
        match collected::sa::is_sa(&bytes) {
            true => all.join(sa::read(path, &bytes, asked)?),
            false => texts.push((path, collected::text::parse(&bytes), recording.written(file))),
        }
    }
    if !texts.is_empty() {
        // Their days may be known from each other.
        all.join(text::read(texts, zone)?);
    }
    for run in std::mem::take(&mut all.jobs) {
        let has_disks = all.samples.iter().any(|sample| sample.disks.is_some());
        let has_io = all.samples.iter().any(|sample| sample.io.is_some());
        all.samples.extend(jobs::samples(&run, has_disks, has_io));
    }
    let zone = all.zone.clone().unwrap_or_else(|| zone.clone());
    let whole = all.whole.unwrap_or_default();
    let range = asked.range(&zone, whole.1).unwrap_or((Duration::ZERO, Duration::MAX));
    all.samples.sort_by_key(|sample| sample.moment.steady);
    let samples = within(all.samples, range);
    if samples.is_empty() && range == (Duration::ZERO, Duration::MAX) {
        let path = recording.path.as_path();
        return Err(tr!("{path} has no counters, only marks of when the machine started, or remarks", path));
    }
    if samples.is_empty() {
        return Err(nothing_then(recording, range, whole, &zone));
    }
    let mut samples = samples;
    if samples.len() > SAMPLES {
        samples.drain(..samples.len() - SAMPLES);
        let from = samples.first().map(|sample| sample.moment.wall).unwrap_or_default();
        let from = shown(from, &zone);
        all.remarks.push(tr!("only what is there from {from} on is looked at; --to shows what was before", from));
    }
    if let Some(machine) = all.machine.name.as_deref() {
        name_disks(&mut samples, |number| recording.disk_here(machine, number));
    }
    let window = Window { samples, place: recording.path.clone() };
    Ok(Part { window, machine: all.machine, whole, zone, remarks: all.remarks })
}

impl Found {
    fn join(&mut self, other: Found) {
        self.samples.extend(other.samples);
        self.remarks.extend(other.remarks);
        self.jobs.extend(other.jobs);
        self.machine.name = self.machine.name.take().or(other.machine.name);
        self.machine.release = self.machine.release.take().or(other.machine.release);
        self.machine.uptime = self.machine.uptime.or(other.machine.uptime);
        self.zone = self.zone.take().or(other.zone);
        self.whole = match (self.whole, other.whole) {
            (Some(one), Some(two)) => Some((one.0.min(two.0), one.1.max(two.1))),
            (one, two) => one.or(two),
        };
    }
}

/// Disks that are known by their numbers alone get the names that they have here.
fn name_disks(samples: &mut [Sample], of: impl Fn((u32, u32)) -> Option<String>) {
    let mut known: BTreeMap<(u32, u32), Option<String>> = BTreeMap::new();
    for disk in samples.iter_mut().flat_map(|sample| sample.disks.iter_mut().flatten()) {
        let (major, minor) = disk.device;
        if disk.name == format!("dev{major}-{minor}").as_bytes()
            && let Some(name) = known.entry(disk.device).or_insert_with(|| of(disk.device))
        {
            disk.name = name.as_str().into();
        }
    }
}

/// Those of that time, with the ones before from which the first of them are reckoned.
fn within(samples: Vec<Sample>, range: (Duration, Duration)) -> Vec<Sample> {
    let is_in = |sample: &Sample| (range.0..=range.1).contains(&sample.moment.wall);
    let Some(first) = samples.iter().position(is_in) else { return Vec::new() };
    // Of each kind of source the last one before; there is nothing else that far back.
    let mut has = (false, false, false, false);
    let mut kept = Vec::new();
    for (at, sample) in samples.iter().enumerate().take(first).rev().take(64) {
        let tells = (sample.stat.is_some(), sample.disks.is_some(), sample.io.is_some(), sample.threads.is_some());
        if (tells.0 && !has.0) || (tells.1 && !has.1) || (tells.2 && !has.2) || (tells.3 && !has.3) {
            kept.push(at);
        }
        has = (has.0 | tells.0, has.1 | tells.1, has.2 | tells.2, has.3 | tells.3);
    }
    let end = samples.iter().rposition(is_in).map_or(first, |last| last + 1);
    let is_kept = |at: usize| (first..end).contains(&at) || kept.contains(&at);
    samples.into_iter().enumerate().filter(|(at, _)| is_kept(*at)).map(|(_, sample)| sample).collect()
}

#[cfg(test)]
mod tests;
