//! Texts of other programs: their days, their order, and a series of samples for each source.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, ToSpan};
use sickbay_formats::collected::text::{Block, Source, Stamp, Text as Printed};

use super::super::asked::timestamp;
use super::Found;
use super::series::{Told, samples};
use crate::model::text::Text;
use crate::tr;

/// A clock that goes back by more than this has passed midnight.
const BACK: f64 = 6.0 * 3600.0;

const DAY: f64 = 86_400.0;

/// All of them.
pub(super) fn read(texts: Vec<(&Path, Printed, Option<Duration>)>, zone: &TimeZone) -> Result<Found, Text> {
    let mut found = Found::default();
    let stamps = texts.iter().flat_map(|(_, text, _)| {
        text.blocks.iter().map(|block| block.stamp).chain(text.jobs.iter().filter_map(|job| job.ended))
    });
    let first = stamps.into_iter().find_map(|stamp| dated(&stamp, zone));
    let mut path_of_none = None;
    for (path, text, written) in texts {
        if text.without_time > 0 {
            let count = text.without_time;
            found.remarks.push(tr!(
                "{path}: {count} {count?block has|blocks have} no time (iostat and iotop print it with -t)",
                path,
                count
            ));
        }
        if text.left_out > 0 {
            let count = text.left_out;
            found.remarks.push(tr!(
                "{path}: {count} {count?block or row was|blocks or rows were} left out, for there are too many",
                path,
                count
            ));
        }
        found.machine.name = found.machine.name.take().or_else(|| text.node.as_ref().map(ToString::to_string));
        found.machine.release = found.machine.release.take().or_else(|| text.release.as_ref().map(ToString::to_string));
        let cpus = text.cpus;
        let ended = |stamp: Option<Stamp>| match stamp {
            Some(stamp) => dated(&stamp, zone),
            // It prints that when it ends.
            None => written.map(|written| written.as_secs_f64()),
        };
        let jobs: super::jobs::Run = text
            .jobs
            .into_iter()
            .filter_map(|job| Some((ended(job.ended)?, job)))
            .filter(|(at, _)| *at > 0.0)
            .collect();
        let mut sources: Vec<(Source, Vec<Told>)> = Vec::new();
        for told in on_the_clock(text.blocks, first, written, zone) {
            match sources.iter_mut().find(|(source, _)| *source == told.block.source) {
                Some((_, list)) => list.push(told),
                None => sources.push((told.block.source, vec![told])),
            }
        }
        let made = sources.into_iter().flat_map(|(source, list)| samples(source, list, cpus));
        let before = found.samples.len();
        found.samples.extend(made);
        if found.samples.len() == before && jobs.is_empty() {
            path_of_none = Some(path);
        }
        found.jobs.extend(Some(jobs).filter(|jobs| !jobs.is_empty()));
    }
    if let Some(path) = path_of_none.filter(|_| found.samples.is_empty() && found.jobs.is_empty()) {
        return Err(tr!(
            "{path} has nothing of which the time is known (iostat, iotop and vmstat print it with -t)",
            path
        ));
    }
    let of_jobs = found.jobs.iter().filter_map(super::jobs::range).flat_map(|(from, to)| [from, to]);
    let of_jobs = of_jobs.filter_map(|at| Duration::try_from_secs_f64(at).ok());
    let moments: Vec<Duration> = found.samples.iter().map(|sample| sample.moment.wall).chain(of_jobs).collect();
    found.whole = moments.iter().min().copied().zip(moments.iter().max().copied());
    Ok(found)
}

/// Since 1970, of a moment that tells its day or is told so.
fn dated(stamp: &Stamp, zone: &TimeZone) -> Option<f64> {
    if let Some(epoch) = stamp.epoch {
        return Some(epoch);
    }
    let date = stamp.date?;
    let date = Date::new(date.year, date.month, date.day).ok()?;
    let zone = match stamp.offset.and_then(|seconds| Offset::from_seconds(seconds).ok()) {
        Some(offset) => TimeZone::fixed(offset),
        None => zone.clone(),
    };
    // The hour that a clock shows twice or never: a second of it more or less matters to nobody.
    let midnight = zone.to_timestamp(DateTime::from_parts(date, Time::midnight())).ok()?;
    let days_clock = date_of_clock(date, stamp.clock).and_then(|civil| zone.to_timestamp(civil).ok());
    Some(seconds(days_clock.unwrap_or(midnight)) + stamp.clock.fract())
}

fn date_of_clock(date: Date, clock: f64) -> Option<DateTime> {
    let whole = sickbay_formats::collected::rounded(clock.floor());
    let part = |value: u64| i8::try_from(value).ok();
    // A leap second is the one before.
    let second = part(whole % 60)?;
    let time = Time::new(part(whole / 3600)?, part(whole / 60 % 60)?, second, 0).ok()?;
    Some(DateTime::from_parts(date, time))
}

fn seconds(time: Timestamp) -> f64 {
    time.as_second() as f64
}

/// Gives each block its moment. One that does not tell its day is of the day that is nearest to what is known: to the block
/// before, to another file's, or to when the file was written last.
fn on_the_clock(blocks: Vec<Block>, first: Option<f64>, written: Option<Duration>, zone: &TimeZone) -> Vec<Told> {
    let all: Vec<(Option<f64>, Block)> = blocks.into_iter().map(|block| (dated(&block.stamp, zone), block)).collect();
    // Days that pass between those that do not tell, so that the last one is known from when the file was written.
    let mut days = 0.0;
    let mut clock: Option<f64> = None;
    let mut passed = Vec::new();
    for (known, block) in &all {
        if known.is_none() {
            if clock.is_some_and(|before| block.stamp.clock + BACK < before) {
                days += 1.0;
            }
            clock = Some(block.stamp.clock);
        }
        passed.push(days);
    }
    let anchor = match first {
        Some(first) => Some((first, 0.0)),
        None => written.map(|written| (written.as_secs_f64(), days)),
    };
    let first_clock = all.iter().find(|(known, _)| known.is_none()).map(|(_, block)| block.stamp.clock);
    let last_clock = clock;
    let midnight = anchor.and_then(|(time, days)| {
        let own = if first.is_some() { first_clock } else { last_clock }?;
        let day = midnight_before(time, zone)?;
        // Of the days around it the one on which it is nearest; what was written last is not of the future.
        let near = |day: f64| (day + own - time).abs();
        let best = [day - DAY, day, day + DAY]
            .into_iter()
            .filter(|day| first.is_some() || day + own <= time + 120.0)
            .min_by(|one, other| near(*one).total_cmp(&near(*other)))?;
        Some(best - days * DAY)
    });
    // Where nothing tells the day it is the first one that there is: rates are right, and the time of the day.
    let midnight = midnight.unwrap_or(0.0);
    let mut told: Vec<Told> = Vec::new();
    // Of each source on its own: one may be printed behind another that is later.
    let mut sources: HashMap<Source, (f64, f64)> = HashMap::new();
    for ((known, block), days) in all.into_iter().zip(passed) {
        let mut wall = known.unwrap_or(midnight + days * DAY + block.stamp.clock);
        // A header told the day, and then midnight passed.
        if known.is_some() && block.stamp.epoch.is_none() && block.stamp.is_inherited {
            let (before, days) = sources.get(&block.source).copied().unwrap_or((wall, 0.0));
            let days = if wall + days * DAY + BACK < before { days + 1.0 } else { days };
            // A header that told a later day.
            let days = if wall > before + DAY / 2.0 { 0.0 } else { days };
            wall += days * DAY;
            sources.insert(block.source, (wall, days));
        }
        let began = block.began.and_then(|began| {
            let length = (block.stamp.clock - began.clock).rem_euclid(DAY);
            (length > 0.0 && length < DAY / 2.0).then_some(wall - length)
        });
        told.push(Told { wall, began, block });
    }
    told
}

/// Midnight of that day, since 1970.
fn midnight_before(time: f64, zone: &TimeZone) -> Option<f64> {
    let time = timestamp(Duration::try_from_secs_f64(time).ok()?)?;
    let day = zone.to_datetime(time).date();
    let midnight = |day: Date| zone.to_timestamp(DateTime::from_parts(day, Time::midnight())).ok().map(seconds);
    midnight(day).or_else(|| midnight(day.checked_add(1.day()).ok()?).map(|next| next - DAY))
}
