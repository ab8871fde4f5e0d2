//! A file of `sar`'s: counters as they were read.

use std::path::Path;
use std::time::Duration;

use jiff::tz::{Offset, TimeZone};
use sickbay_formats::collected::sa::{Error, File, Head, Record, Statistics, What};
use sickbay_target::Moment;

use super::super::asked::shown;
use super::super::{Asked, Sample};
use super::{Found, Machine};
use crate::model::text::Text;
use crate::tr;

/// Records that are read, of whatever kind.
const RECORDS: usize = 1 << 20;

pub(super) fn read(path: &Path, bytes: &[u8], asked: &Asked) -> Result<Found, Text> {
    let file = File::open(bytes).map_err(|error| why(path, error))?;
    let head = file.head.clone();
    let (first, last, zone, broken) = survey(file.clone()).ok_or_else(|| match file.clone().next() {
        Some(Err(error)) => why(path, error),
        _ => tr!("{path} is a file of sar's without any record", path),
    })?;
    let mut remarks: Vec<Text> = broken.map(|error| cut(path, error)).into_iter().collect();
    let since = |seconds| Duration::from_secs(seconds);
    let range = asked.range(&zone, since(last)).unwrap_or((Duration::ZERO, Duration::MAX));
    let mut samples: Vec<Sample> = Vec::new();
    let mut before: Option<Sample> = None;
    let mut uptime = None;
    for record in file.take(RECORDS).map_while(Result::ok) {
        let wall = since(record.at);
        if wall > range.1 {
            break;
        }
        match record.what {
            What::Statistics(statistics) => {
                let sample = sample(&record_of(record.at, record.uptime), *statistics);
                if uptime.is_some_and(|before| record.uptime < before) {
                    started(&mut samples, &mut before, &mut remarks, wall, &zone);
                }
                uptime = Some(record.uptime);
                match wall >= range.0 {
                    true => {
                        samples.extend(before.take());
                        samples.push(sample);
                    }
                    false => before = Some(sample),
                }
            }
            What::Restart => {
                started(&mut samples, &mut before, &mut remarks, wall, &zone);
                uptime = None;
            }
            What::Comment(_) => {}
        }
    }
    anchor(&mut samples);
    super::super::remember_off(&mut samples);
    let uptime = uptime.map(|uptime| Duration::from_millis(uptime.saturating_mul(10)).as_secs_f64());
    let whole = Some((since(first), since(last)));
    Ok(Found { samples, machine: machine(&head, uptime), zone: Some(zone), whole, remarks, jobs: Vec::new() })
}

/// What [`survey`] finds.
type Survey = (u64, u64, TimeZone, Option<Error>);

/// The first moment and the last, the zone, and why it ends before its end. `None` without any record.
fn survey(file: File<'_>) -> Option<Survey> {
    let mut found: Option<(u64, u64)> = None;
    let mut offset = None;
    for record in file.take(RECORDS) {
        let record = match record {
            Ok(record) => record,
            Err(error) => return found.map(|(first, last)| (first, last, zone_of(offset), Some(error))),
        };
        offset = Some(offset_of(&record));
        found = Some((found.map_or(record.at, |(first, _)| first.min(record.at)), record.at));
    }
    found.map(|(first, last)| (first, last, zone_of(offset), None))
}

/// By how many seconds its clock was ahead of UTC: it tells both.
fn offset_of(record: &Record) -> i64 {
    const DAY: i64 = 86_400;
    let (hours, minutes, seconds) = record.clock;
    let there = i64::from(hours) * 3600 + i64::from(minutes) * 60 + i64::from(seconds);
    let here = i64::try_from(record.at % 86_400).unwrap_or(0);
    let ahead = (there - here).rem_euclid(DAY);
    // From 12 hours behind to 14 ahead, in quarters of an hour.
    let ahead = if ahead > DAY * 14 / 24 { ahead - DAY } else { ahead };
    (ahead + 450).div_euclid(900) * 900
}

fn zone_of(offset: Option<i64>) -> TimeZone {
    let offset = offset.and_then(|seconds| Offset::from_seconds(seconds.try_into().ok()?).ok());
    offset.map_or(TimeZone::UTC, TimeZone::fixed)
}

/// The machine started anew: only what is behind that is one window.
fn started(
    samples: &mut Vec<Sample>,
    before: &mut Option<Sample>,
    remarks: &mut Vec<Text>,
    wall: Duration,
    zone: &TimeZone,
) {
    *before = None;
    if !samples.is_empty() {
        samples.clear();
        let time = shown(wall, zone);
        remarks.push(tr!("the machine started anew at {time}; what was before is shown with --to", time));
    }
}

/// Its steady clock, which begins with the machine, as the others have it.
fn anchor(samples: &mut [Sample]) {
    let Some(first) = samples.first().map(|sample| sample.moment) else { return };
    for sample in samples {
        sample.moment.steady = first.wall.saturating_add(sample.moment.steady.saturating_sub(first.steady));
    }
}

fn record_of(at: u64, uptime: u64) -> Moment {
    Moment { steady: Duration::from_millis(uptime.saturating_mul(10)), wall: Duration::from_secs(at) }
}

fn sample(moment: &Moment, statistics: Statistics) -> Sample {
    let [cpu_pressure, io_pressure, memory_pressure] = statistics.pressure;
    Sample {
        moment: *moment,
        load: statistics.load,
        stat: statistics.stat,
        cpu_pressure,
        io_pressure,
        memory_pressure,
        disks: statistics.disks,
        interrupts: statistics.interrupts,
        softnet: statistics.softnet,
        links: statistics.links,
        tcp: statistics.tcp,
        ..Sample::default()
    }
}

fn machine(head: &Head, uptime: Option<f64>) -> Machine {
    let told = |name: &bstr::BString| Some(name.to_string()).filter(|name| !name.is_empty());
    Machine { name: told(&head.node), release: told(&head.release), uptime }
}

/// Why it cannot be read.
fn why(path: &Path, error: Error) -> Text {
    match error {
        Error::Foreign => tr!("{path} is no file of sar's", path),
        Error::Format(format) => {
            tr!(
                "{path} is a file of sar's in a format that is not known: {format}",
                path,
                format = format!("{format:#06x}")
            )
        }
        Error::Short => tr!("{path} is a file of sar's that ends before its first record does", path),
        Error::Damaged(byte) => tr!("{path} is a file of sar's, but damaged at byte {byte}", path, byte),
    }
}

/// What is said where there are records before it.
fn cut(path: &Path, error: Error) -> Text {
    match error {
        Error::Damaged(byte) => tr!("{path} is damaged at byte {byte}; only what is before is looked at", path, byte),
        _ => tr!("the last record of {path} is not complete", path),
    }
}
