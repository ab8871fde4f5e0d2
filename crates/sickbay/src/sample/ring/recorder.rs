//! Writes a recording, and keeps it within its bounds.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use sickbay_target::{RingFile, RingFiles, Taken};

use super::super::Sample;
use super::frame::{self, FIRST, Head, Meta, PREFIX, Unread};
use super::reader::{decode, newer};
use super::state::State;
use super::words::{Coder, Names};
use super::{BLOCK, MOST, SAMPLES};
use crate::model::text::Text;
use crate::tr;

/// What is kept of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// For so long.
    pub keep: Duration,
    /// At most so many bytes.
    pub max: u64,
}

/// The smallest recording that is worth while.
pub(super) const LEAST: u64 = 4 << 20;

/// A clock that goes back by more begins a new segment.
const BACK: Duration = Duration::from_secs(10);

/// The open file has so much room from the beginning.
const ROOM: u64 = 256 << 10;

/// Samples go to the disk no more often.
const SYNC: Duration = Duration::from_millis(900);

/// Why nothing can be recorded to a directory.
#[derive(Debug)]
pub enum StartError {
    /// Another recorder writes there.
    Busy(Option<u32>),
    /// A newer program did.
    Newer(u16),
    /// The kernel's reason.
    Io(io::Error),
}

impl StartError {
    /// The sentence.
    pub fn text(&self, dir: &Path) -> Text {
        match self {
            StartError::Busy(Some(pid)) => {
                tr!("another sickbay record (PID {pid}) writes to {dir}", pid = u64::from(*pid), dir)
            }
            StartError::Busy(None) => tr!("another sickbay record writes to {dir}", dir),
            StartError::Newer(version) => newer(dir, *version),
            StartError::Io(error) => tr!("cannot record to {dir}: {error}", dir, error = error.to_string()),
        }
    }
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> StartError {
        StartError::Io(error)
    }
}

/// What became of a sample.
#[derive(Debug)]
pub enum Kept {
    /// It is on the disk, or nearly.
    Yes,
    /// It is, and so many before it were lost while there was no room.
    Again(u64),
    /// There is no room for it: it was lost. The reason is told the first time only.
    No(Option<io::Error>),
}

/// A segment that is there.
#[derive(Debug)]
struct Segment {
    number: u64,
    began: Duration,
    size: u64,
}

/// Writes samples to a directory.
#[derive(Debug)]
pub struct Recorder {
    files: RingFiles,
    caps: Caps,
    meta: Meta,
    /// Oldest first; the last is the one that grows.
    segments: VecDeque<Segment>,
    segment: RingFile,
    open: RingFile,
    /// Where the next sample goes in it.
    at: u64,
    /// The number of the first sample of the block, and of the next.
    first: u64,
    next: u64,
    state: State,
    names: Names,
    /// The block so far, and how many samples it has.
    records: Vec<u8>,
    count: u32,
    times: (Duration, Duration, Duration),
    last: Option<Duration>,
    synced: Option<Instant>,
    /// A block for which there is no room.
    waiting: Option<Vec<u8>>,
    lost: u64,
}

impl Recorder {
    /// Takes a directory. Samples that another recorder left in no block, since it was killed, are put into one.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(dir: &Path, caps: Caps, mut meta: Meta) -> Result<Recorder, StartError> {
        let files = RingFiles::take(dir).map_err(|taken| match taken {
            Taken::By(pid) => StartError::Busy(pid),
            Taken::Io(error) => StartError::Io(error),
        })?;
        let mut segments = VecDeque::new();
        for (number, size) in files.segments()? {
            match Meta::parse(&files.head(number, 128 << 10)?) {
                Ok((meta, _)) => segments.push_back(Segment { number, began: meta.began, size }),
                Err(Unread::Newer(version)) => return Err(StartError::Newer(version)),
                // It is counted, and goes in its turn.
                Err(Unread::Damaged) => {
                    let began = segments.back().map_or(Duration::ZERO, |before: &Segment| before.began);
                    segments.push_back(Segment { number, began, size });
                }
            }
        }
        let open = files.open_file()?;
        let next = recover(&files, &open)?;
        let now = u64::try_from(meta.began.as_micros()).unwrap_or(0);
        let next = next.max(now).max(1);
        let number = segments.back().map_or(1, |last| last.number.saturating_add(1));
        meta.began = Duration::from_micros(now);
        let mut recorder = Recorder {
            segment: files.segment(number)?,
            files,
            caps: Caps { max: caps.max.max(LEAST), ..caps },
            meta,
            segments,
            open,
            at: FIRST as u64,
            first: next,
            next,
            state: State::default(),
            names: Names::default(),
            records: Vec::new(),
            count: 0,
            times: (Duration::MAX, Duration::ZERO, Duration::ZERO),
            last: None,
            synced: None,
            waiting: None,
            lost: 0,
        };
        recorder.segments.push_back(Segment { number, began: recorder.meta.began, size: 0 });
        recorder.begin_segment()?;
        // Where there is no room, it grows as it must.
        let _ = recorder.open.reserve(ROOM);
        recorder.keep_within_bounds(recorder.meta.began);
        Ok(recorder)
    }

    /// How many bytes the recording has.
    pub fn size(&self) -> u64 {
        self.segments.iter().map(|segment| segment.size).sum::<u64>().saturating_add(self.open.length())
    }

    /// The head of the segment that was just made, and that of the open file, which belongs to it from now on.
    fn begin_segment(&mut self) -> io::Result<()> {
        if self.segment.length() > 0 {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.segment.append(&self.meta.bytes())?;
        self.files.sync()?;
        let number = self.segments.back().map_or(1, |segment| segment.number);
        let mut head = frame::open_head(number, self.next).to_vec();
        // Nor does what stands there still.
        head.resize(FIRST + PREFIX, 0);
        self.open.write_at(&head, 0)?;
        self.open.sync()?;
        self.note_size();
        Ok(())
    }

    fn note_size(&mut self) {
        let length = self.segment.length();
        if let Some(last) = self.segments.back_mut() {
            last.size = length;
        }
    }

    /// One more sample. It is never lost because of a disk that is full for a while, as long as that while is in the block.
    pub fn add(&mut self, mut sample: Sample) -> Kept {
        let wall = sample.moment.wall;
        if let Err(error) = self.make_room(wall) {
            self.lost += 1;
            return Kept::No((self.lost == 1).then_some(error));
        }
        if let Some(threads) = &mut sample.threads {
            threads.list.sort_unstable_by_key(|thread| (thread.pid, thread.id, thread.began));
        }
        if let Some(io) = &mut sample.io {
            io.sort_unstable_by_key(|process| (process.pid, process.began));
        }
        let mut coder = Coder::writer(std::mem::take(&mut self.names));
        let _ = self.state.code(&mut coder, &sample);
        let (record, names) = coder.into_bytes();
        self.names = names;
        if self.count == 0 {
            self.times = (wall, wall, sample.moment.steady);
        }
        self.times = (self.times.0.min(wall), self.times.1.max(wall), self.times.2);
        frame::joined(&mut self.records, &record);
        let framed = frame::open_record(self.next, &record);
        let mut written = self.open.write_at(&framed, self.at);
        self.at += framed.len() as u64;
        (self.count, self.next, self.last) = (self.count + 1, self.next + 1, Some(wall));
        if self.synced.is_none_or(|before| before.elapsed() >= SYNC) && written.is_ok() {
            written = self.open.sync();
            self.synced = Some(Instant::now());
        }
        // What the open file did not take goes where the block goes; the next sample tells if that has no room either.
        if written.is_err() || self.count >= SAMPLES || self.records.len() >= BLOCK {
            let _ = self.close_block();
        }
        match std::mem::take(&mut self.lost) {
            0 => Kept::Yes,
            lost => Kept::Again(lost),
        }
    }

    /// Puts the samples that are in no block into one.
    ///
    /// # Errors
    /// The kernel's.
    pub fn end(mut self) -> io::Result<()> {
        self.close_block()
    }

    /// That what waits is written, and that the segment is not too long or too old.
    fn make_room(&mut self, now: Duration) -> io::Result<()> {
        self.write_waiting()?;
        let segment = (self.caps.max / 16).clamp(256 << 10, 64 << 20);
        let age = (self.caps.keep / 8).clamp(Duration::from_secs(600), Duration::from_secs(86_400));
        let went_back = self.last.is_some_and(|last| now.saturating_add(BACK) < last);
        let is_old = now.checked_sub(self.meta.began).is_some_and(|old| old > age);
        if self.segment.length() < segment && !went_back && !(is_old && self.count == 0) {
            return Ok(());
        }
        self.close_block()?;
        let number = self.segments.back().map_or(1, |last| last.number.saturating_add(1));
        let made = self.files.segment(number)?;
        let before = (std::mem::replace(&mut self.segment, made), self.meta.began);
        self.meta.began = now;
        self.segments.push_back(Segment { number, began: now, size: 0 });
        if let Err(error) = self.begin_segment() {
            let _ = self.files.remove(number);
            self.segments.pop_back();
            (self.segment, self.meta.began) = before;
            return Err(error);
        }
        self.keep_within_bounds(now);
        Ok(())
    }

    fn close_block(&mut self) -> io::Result<()> {
        if self.count > 0 && self.waiting.is_none() {
            let packed = zstd::bulk::compress(&self.records, 3)?;
            let head = Head::of(&packed, self.records.len(), self.count, self.first, self.times);
            self.waiting = Some([&head.bytes()[..], &packed].concat());
        }
        self.write_waiting()
    }

    fn write_waiting(&mut self) -> io::Result<()> {
        let Some(block) = &self.waiting else { return Ok(()) };
        self.segment.append(block)?;
        self.waiting = None;
        self.note_size();
        (self.state, self.names) = (State::default(), Names::default());
        self.records.clear();
        (self.count, self.first, self.at) = (0, self.next, FIRST as u64);
        let now = self.last.unwrap_or_default();
        self.keep_within_bounds(now);
        Ok(())
    }

    /// Takes the oldest away, as long as there is too much or it is too old.
    fn keep_within_bounds(&mut self, now: Duration) {
        loop {
            let Some(end) = self.segments.get(1).map(|next| next.began) else { return };
            let is_old = now.checked_sub(end).is_some_and(|age| age > self.caps.keep);
            let is_much = self.size() > self.caps.max || self.segments.len() > 2048;
            if !is_old && !is_much {
                return;
            }
            if let Some(oldest) = self.segments.pop_front() {
                let _ = self.files.remove(oldest.number);
            }
        }
    }
}

/// Puts what stands in the open file into a block of its segment, if it is in none. Gives the number of the next sample.
fn recover(files: &RingFiles, open: &RingFile) -> Result<u64, StartError> {
    let bytes = open.read(MOST as u64)?;
    let (number, least) = match frame::parse_open(&bytes) {
        Ok(told) => told,
        Err(Unread::Newer(version)) => return Err(StartError::Newer(version)),
        Err(Unread::Damaged) => return Ok(0),
    };
    let (first, records) = frame::open_records(&bytes);
    let mut next = least;
    if !files.segments()?.iter().any(|(known, _)| *known == number) {
        return Ok(next.max(first.saturating_add(records.len() as u64)));
    }
    let mut segment = files.segment(number)?;
    let closed = Recorder::end_of_blocks(|at, length| segment.read_at(at, length))?;
    next = next.max(closed);
    if records.is_empty() || first < closed.max(least) {
        return Ok(next);
    }
    let mut times = (Duration::MAX, Duration::ZERO, Duration::ZERO);
    let count = decode(records.iter().copied(), |state| {
        let moment = state.moment();
        let steady = if times.2.is_zero() { moment.steady } else { times.2 };
        times = (times.0.min(moment.wall), times.1.max(moment.wall), steady);
    });
    let mut joined = Vec::new();
    records.iter().take(usize::try_from(count).unwrap_or(0)).for_each(|record| frame::joined(&mut joined, record));
    if count > 0 {
        let packed = zstd::bulk::compress(&joined, 3)?;
        let head = Head::of(&packed, joined.len(), u32::try_from(count).unwrap_or(0), first, times);
        segment.append(&[&head.bytes()[..], &packed].concat())?;
    }
    Ok(next.max(first.saturating_add(records.len() as u64)))
}
