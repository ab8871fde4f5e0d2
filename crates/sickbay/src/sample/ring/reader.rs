//! Reads the part of a recording that is asked for: heads of blocks tell which are needed, and only those are unpacked.

use std::io;
use std::path::Path;
use std::time::Duration;

use jiff::tz::{Offset, TimeZone};
use sickbay_target::{Recording, open_samples};

use super::super::recorded::{Machine, Part, nothing_then};
use super::super::{Asked, Sample, Window};
use super::collect::Collect;
use super::frame::{self, HEAD, Head, MARK, Meta, Unread, VERSION};
use super::state::State;
use super::words::{Coder, Names};
use super::{MOST, Recorder};
use crate::model::text::Text;
use crate::tr;

/// Where nothing is asked for it is the last day.
const DAY: Duration = Duration::from_secs(86_400);

/// So many bytes are searched at a time for a block behind one that is damaged.
const SEARCH: u64 = 1 << 20;

/// A segment whose head could be read.
struct Segment {
    file: usize,
    /// The number in its name.
    number: Option<u64>,
    meta: Meta,
    begin: u64,
}

/// A block by where it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    head: Head,
    at: u64,
}

impl Block {
    /// The number of the sample that follows its last.
    pub(super) fn end(&self) -> u64 {
        self.head.first.saturating_add(u64::from(self.head.samples))
    }
}

/// Which part of the recording is asked for. See [`super::super::recorded`].
///
/// # Errors
/// Why it cannot be had.
pub fn read(recording: &Recording, asked: &Asked) -> Result<Part, Text> {
    let path = recording.path.as_path();
    let unread = |error: io::Error| tr!("{path} cannot be read: {error}", path, error = error.to_string());
    let mut remarks = Vec::new();
    let segments = segments(recording, &mut remarks)?;
    let Some(last) = segments.last() else {
        return Err(tr!("{path} is damaged: no file in it tells of which machine it is", path));
    };
    let open = open_of(recording, last).map_err(|error| unread_open(path, error))?;
    let (last_blocks, _) = blocks(recording, last).map_err(unread)?;
    let zone = Offset::from_seconds(last.meta.offset).map_or(TimeZone::UTC, TimeZone::fixed);
    let began = segments.first().map_or(Duration::ZERO, |segment| segment.meta.began);
    let mut end = last_blocks.iter().map(|block| Duration::from_micros(block.head.to)).max().unwrap_or(last.meta.began);
    // What is in a block already stands there still.
    let closed = last_blocks.last().map_or(0, Block::end);
    let open = open.filter(|(first, _)| *first >= closed).map(|(_, records)| records).unwrap_or_default();
    decode(open.iter().map(Vec::as_slice), |state| end = end.max(state.moment().wall));
    let whole = (began, end);
    let range = match asked.is_something() {
        true => asked.range(&zone, end).ok_or_else(|| tr!("there is no such moment"))?,
        false => (end.saturating_sub(DAY), Duration::MAX),
    };
    let wanted = wanted(&segments, range);
    let mut parts = Vec::new();
    let mut lost = 0;
    for segment in &wanted {
        let (all, damaged) = blocks(recording, segment).map_err(unread)?;
        let overlaps = |block: &Block| block.head.from <= micros(range.1) && block.head.to >= micros(range.0);
        let all: Vec<Block> = all.into_iter().filter(overlaps).collect();
        let own_open = if segment.number == last.number { open.as_slice() } else { &[] };
        if damaged > 0 {
            let file = recording.files().get(segment.file).map_or(path, |file| file.as_path());
            remarks.push(damaged_blocks(file, damaged));
            lost += damaged;
        }
        if !all.is_empty() || !own_open.is_empty() {
            parts.push((*segment, all, own_open));
        }
    }
    // What was before a boot has other numbers of everything.
    let boot = parts.last().map(|(segment, ..)| segment.meta.boot.clone()).unwrap_or_default();
    let before = parts.len();
    parts.retain(|(segment, ..)| segment.meta.boot == boot);
    if parts.len() < before {
        remarks.push(tr!("the machine was started in between: only what it did after that is looked at"));
    }
    let count = |(_, blocks, open): &(&Segment, Vec<Block>, &[Vec<u8>])| -> u64 {
        blocks.iter().map(|block| u64::from(block.head.samples)).sum::<u64>() + open.len() as u64
    };
    let mut collect = Collect::of(parts.iter().map(count).sum());
    let is_within = |state: &State| (range.0..=range.1).contains(&state.moment().wall);
    for (segment, blocks, open) in &parts {
        let mut damaged = 0;
        for block in blocks {
            let add = |state: &State| {
                if is_within(state) {
                    collect.add(state);
                }
            };
            if !unpack(recording, segment.file, block, add).map_err(unread)? {
                damaged += 1;
            }
        }
        if damaged > 0 {
            let file = recording.files().get(segment.file).map_or(path, |file| file.as_path());
            remarks.push(damaged_blocks(file, damaged));
            lost += damaged;
        }
        decode(open.iter().map(Vec::as_slice), |state| {
            if is_within(state) {
                collect.add(state);
            }
        });
    }
    let every = collect.every();
    let samples = collect.end();
    if every > 1 {
        remarks.push(tr!("of every {every} samples the one that tells most is looked at", every));
    }
    let Some(latest) = samples.last() else {
        return Err(match lost {
            0 if asked.is_something() => nothing_then(recording, range, whole, &zone),
            0 => tr!("{path}: nothing of what was recorded is there, or can be read", path),
            _ => tr!(
                "{path}: what was recorded then cannot be read, for {blocks} {blocks?block is|blocks are} damaged",
                path,
                blocks = lost
            ),
        });
    };
    let meta = parts.last().map(|(segment, ..)| segment.meta.clone()).unwrap_or_default();
    let some = |text: String| (!text.is_empty()).then_some(text);
    let machine = Machine { name: some(meta.name), release: some(meta.release), uptime: uptime(latest) };
    Ok(Part { window: Window { samples, place: path.to_owned() }, machine, whole, zone, remarks })
}

fn damaged_blocks(file: &Path, blocks: u64) -> Text {
    tr!("{file}: {blocks} damaged {blocks?block was|blocks were} left out", file, blocks)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn uptime(sample: &Sample) -> Option<f64> {
    let started = Duration::from_secs(sample.stat.as_ref()?.started?);
    Some(sample.moment.wall.checked_sub(started)?.as_secs_f64())
}

fn unread_open(path: &Path, error: OpenFailure) -> Text {
    match error {
        OpenFailure::Newer(version) => newer(path, version),
        OpenFailure::Io(error) => tr!("{path} cannot be read: {error}", path, error = error.to_string()),
    }
}

/// What a program says that is too old for what it finds.
pub(super) fn newer(path: &Path, version: u16) -> Text {
    tr!(
        "{path} was recorded by a newer sickbay: it has version {version} of the format, and this one reads up to {known}",
        path,
        version = u64::from(version),
        known = u64::from(VERSION)
    )
}

fn segments(recording: &Recording, remarks: &mut Vec<Text>) -> Result<Vec<Segment>, Text> {
    let mut all = Vec::new();
    for (file, path) in recording.files().iter().enumerate() {
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
        // One that the ring took away in the meantime is gone.
        let Ok(head) = recording.read(file, 128 << 10) else { continue };
        match Meta::parse(&head) {
            Ok((meta, begin)) => all.push(Segment { file, number, meta, begin: begin as u64 }),
            Err(Unread::Newer(version)) => return Err(newer(path, version)),
            Err(Unread::Damaged) => {
                remarks.push(tr!("{path} is damaged or no recording: it was left out", path = path.as_path()));
            }
        }
    }
    Ok(all)
}

/// The number of the first of some samples, and they.
type Open = (u64, Vec<Vec<u8>>);

enum OpenFailure {
    Newer(u16),
    Io(io::Error),
}

/// The samples of the segment that are in no block yet, with the number of the first.
fn open_of(recording: &Recording, segment: &Segment) -> Result<Option<Open>, OpenFailure> {
    let is_whole = recording.files().get(segment.file).is_some_and(|file| *file != recording.path);
    let bytes = match is_whole {
        true => open_samples(&recording.path, MOST as u64).map_err(OpenFailure::Io)?,
        false => None,
    };
    let Some(bytes) = bytes else { return Ok(None) };
    match frame::parse_open(&bytes) {
        Ok((number, least)) if Some(number) == segment.number => {
            let (first, records) = frame::open_records(&bytes);
            let records = records.into_iter().map(<[u8]>::to_vec).collect::<Vec<_>>();
            Ok(Some((first, records)).filter(|(first, records)| *first >= least && !records.is_empty()))
        }
        Ok(_) | Err(Unread::Damaged) => Ok(None),
        Err(Unread::Newer(version)) => Err(OpenFailure::Newer(version)),
    }
}

/// Segments in which something of that time may be. They begin one after the other, and a new one is begun when the clock
/// goes back.
fn wanted(segments: &[Segment], range: (Duration, Duration)) -> Vec<&Segment> {
    let next = segments.iter().skip(1).map(|segment| Some(segment.meta.began)).chain([None]);
    let may = |(segment, next): &(&Segment, Option<Duration>)| {
        let end = next.filter(|next| *next >= segment.meta.began).unwrap_or(Duration::MAX);
        segment.meta.began <= range.1 && end >= range.0
    };
    segments.iter().zip(next).filter(may).map(|(segment, _)| segment).collect()
}

/// The blocks of a segment by their heads, and how many places are damaged.
fn blocks(recording: &Recording, segment: &Segment) -> io::Result<(Vec<Block>, u64)> {
    blocks_from(segment.begin, |at, length| recording.read_at(segment.file, at, length))
}

/// The same of anything that can be read.
pub(super) fn blocks_from(begin: u64, read: impl Fn(u64, u64) -> io::Result<Vec<u8>>) -> io::Result<(Vec<Block>, u64)> {
    let (mut all, mut damaged) = (Vec::new(), 0);
    let mut at = begin;
    loop {
        let bytes = read(at, HEAD as u64)?;
        if bytes.is_empty() {
            return Ok((all, damaged));
        }
        if let Some(head) = Head::parse(&bytes) {
            all.push(Block { head, at });
            at += HEAD as u64 + u64::from(head.packed);
            continue;
        }
        // What was cut off at the end is no damage: it stands in the open file.
        let from = at;
        loop {
            at += 1;
            let bytes = read(at, SEARCH)?;
            if bytes.is_empty() {
                return Ok((all, damaged + u64::from(at - from > HEAD as u64)));
            }
            match bytes.windows(MARK.len()).position(|window| window == MARK) {
                Some(found) => {
                    at += found as u64;
                    damaged += 1;
                    break;
                }
                None => at += (bytes.len() as u64).saturating_sub(MARK.len() as u64),
            }
        }
    }
}

/// Whether the block could be read: `each` is told of each of its samples.
fn unpack(recording: &Recording, file: usize, block: &Block, each: impl FnMut(&State)) -> io::Result<bool> {
    let packed = recording.read_at(file, block.at + HEAD as u64, u64::from(block.head.packed))?;
    let Some(bytes) = block.head.unpack(&packed) else { return Ok(false) };
    let mut rest = bytes.as_slice();
    let records = std::iter::from_fn(|| frame::split(&mut rest));
    Ok(decode(records, each) == u64::from(block.head.samples))
}

/// Decodes samples that follow each other, until one cannot be; so many could.
pub(super) fn decode<'r>(records: impl Iterator<Item = &'r [u8]>, mut each: impl FnMut(&State)) -> u64 {
    let (mut state, mut names, mut count) = (State::default(), Names::default(), 0);
    let nothing = Sample::default();
    for record in records {
        let mut coder = Coder::reader(record, names);
        if state.code(&mut coder, &nothing).is_none() {
            break;
        }
        match coder.into_names() {
            Some(after) => names = after,
            None => break,
        }
        each(&state);
        count += 1;
    }
    count
}

impl Recorder {
    /// The number of the sample after the last that is in a block of a segment.
    pub(super) fn end_of_blocks(bytes: impl Fn(u64, u64) -> io::Result<Vec<u8>>) -> io::Result<u64> {
        let head = bytes(0, 128 << 10)?;
        let Ok((_, begin)) = Meta::parse(&head) else { return Ok(0) };
        let (all, _) = blocks_from(begin as u64, bytes)?;
        Ok(all.last().map_or(0, Block::end))
    }
}
