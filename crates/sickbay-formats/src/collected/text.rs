//! The text that such programs print, of one or of several, one after the other. What they tell is rates, and so are these.
//!
//! Lines are known by their form, whichever program wrote the line before, so that several outputs may be in one file and
//! other lines between them. A header that somebody's terminal or mailer broke into two lines is put together again.

mod atop;
mod dstat;
mod fio;
mod iotop;
mod json;
mod listing;
mod screen;
mod table;
mod time;
mod told;
mod top;

use bstr::{BString, ByteSlice};

use crate::procfs::loadavg::LoadAvg;
use crate::procfs::stat::Lumped;
pub use fio::{Job, JobDisk, Work};
pub use time::{Date, Stamp};
use time::{Dates, Reading};
pub use told::{Cpu, Disk, Task};

/// So many blocks are read, and so many rows of processes in them; what follows is counted.
const BLOCKS: usize = 1 << 17;
const ROWS: usize = 1 << 21;

/// Who printed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// `iostat`.
    Iostat,
    /// `iotop -b`.
    Iotop,
    /// `pidstat`.
    Pidstat,
    /// `atop -P`, or its screens.
    Atop,
    /// `dstat --output`.
    Dstat,
    /// `vmstat`.
    Vmstat,
    /// `top -b`.
    Top,
    /// A loop that prints rows of `ps` and `/proc/loadavg`.
    Ps,
    /// `sar`, `mpstat`.
    Sar,
}

/// Whether what a block tells is of the time since the machine started, which says nothing of now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SinceStart {
    /// It is of the interval before its time.
    #[default]
    No,
    /// It is the first that the program prints, and that usually is, unless the beginning was cut off.
    Perhaps,
    /// It is.
    Yes,
}

/// What was printed for one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// By whom.
    pub source: Source,
    /// When the interval ended.
    pub stamp: Stamp,
    /// When it began, where that was printed.
    pub began: Option<Stamp>,
    /// How long it was, in seconds, where that was printed.
    pub interval: Option<f64>,
    /// Whether it is of an interval.
    pub since_start: SinceStart,
    /// The processors.
    pub cpus: Vec<Cpu>,
    /// What is not told apart there.
    pub lumped: Lumped,
    /// The disks.
    pub disks: Vec<Disk>,
    /// Processes and threads.
    pub tasks: Vec<Task>,
    /// Whether states of threads are told.
    pub has_states: bool,
    /// The load; what is not told of it is 0.
    pub load: Option<LoadAvg>,
    /// Threads that run or could.
    pub running: Option<u64>,
    /// Threads that wait for a disk.
    pub blocked: Option<u64>,
    /// Changes from one thread to another, a second.
    pub switches: Option<f64>,
    /// Processes made a second.
    pub made: Option<f64>,
}

impl Block {
    fn new(source: Source, stamp: Stamp) -> Block {
        Block {
            source,
            stamp,
            began: None,
            interval: None,
            since_start: SinceStart::No,
            cpus: Vec::new(),
            lumped: Lumped::Nothing,
            disks: Vec::new(),
            tasks: Vec::new(),
            has_states: false,
            load: None,
            running: None,
            blocked: None,
            switches: None,
            made: None,
        }
    }

    fn is_empty(&self) -> bool {
        let has_numbers = self.running.is_some() || self.blocked.is_some() || self.made.is_some();
        self.cpus.is_empty() && self.disks.is_empty() && self.tasks.is_empty() && self.load.is_none() && !has_numbers
    }
}

/// All that was printed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Text {
    /// The name of the machine.
    pub node: Option<BString>,
    /// The release of its kernel.
    pub release: Option<BString>,
    /// How many processors it has.
    pub cpus: Option<u32>,
    /// In the order of the text.
    pub blocks: Vec<Block>,
    /// What `fio` says of its jobs.
    pub jobs: Vec<Job>,
    /// Blocks without any time; those of programs that were not told to print it.
    pub without_time: u64,
    /// How much of it was left out, since there is too much: blocks.
    pub left_out: u64,
}

/// Whether a text begins with what one of the programs prints, some lines of it at most. `head` may end anywhere.
pub fn is_one(head: &[u8]) -> bool {
    let text = parse(head);
    // What has no time is one, too, and it is said what is missing.
    let has_rows = text.blocks.iter().any(|block| !block.is_empty()) || text.without_time > 1;
    has_rows || !text.jobs.is_empty() || fio::begins_json(head) || json::begins(head)
}

/// Reads it.
pub fn parse(text: &[u8]) -> Text {
    if let Some(jobs) = fio::json(text) {
        return Text { jobs, ..Text::default() };
    }
    if let Some(told) = json::read(text) {
        return told;
    }
    let mut reader = Reader::new(Dates::of(text));
    for line in text.lines() {
        reader.line(line);
    }
    reader.end()
}

/// Which rows are expected, and what is known by now.
struct Reader {
    text: Text,
    dates: Dates,
    /// The date and time that hold from here on.
    stamp: Option<Stamp>,
    /// The date that a header tells.
    date: Option<Date>,
    /// The table that goes on.
    table: Option<table::Table>,
    /// A program has begun to print here, and what it prints first may be of the time since the machine started.
    is_first: Option<SinceStart>,
    /// A row of `iotop` whose time is not known yet.
    pending: Option<Task>,
    /// Nothing but rows came since the moment.
    is_fresh: bool,
    /// A head line whose end may be in the next line.
    headline: Option<Headline>,
    rows: usize,
    top: top::State,
    listing: listing::State,
    screen: screen::State,
    dstat: dstat::State,
    fio: fio::State,
    /// The row that was read last of `iotop`: where its block is, and its number.
    last_row: Option<(usize, u32)>,
}

#[derive(Debug)]
struct Headline {
    /// `(1` at the end of the line.
    count: Option<u32>,
}

impl Reader {
    fn new(dates: Dates) -> Reader {
        Reader {
            text: Text::default(),
            dates,
            stamp: None,
            date: None,
            table: None,
            is_first: None,
            pending: None,
            is_fresh: false,
            headline: None,
            rows: 0,
            top: top::State::default(),
            listing: listing::State::default(),
            screen: screen::State::default(),
            dstat: dstat::State::default(),
            fio: fio::State::default(),
            last_row: None,
        }
    }

    fn line(&mut self, line: &[u8]) {
        // Lines that programs print are short, but for command lines, of which the beginning is enough.
        let line = line.get(..line.len().min(4096)).unwrap_or_default();
        let words: Vec<&[u8]> = super::words(line).collect();
        if words.is_empty() {
            self.listing.pause();
            self.screen.pause();
            return;
        }
        if self.end_of_headline(&words) {
            return;
        }
        let _ = self.stamp_behind(&words)
            || self.headline(&words)
            || self.fio(line, &words)
            || self.total(line)
            || self.atop(&words)
            || self.screen(line, &words)
            || self.dstat(line)
            || self.top(line, &words)
            || self.iotop(line, &words)
            || self.listing(&words)
            || self.table(line, &words)
            || self.moment(line, &words)
            || self.command_goes_on(&words);
    }

    /// `Linux 2.6.32-431.el6.x86_64 (test) 06/12/2018 _x86_64_ (1 CPU)`: how sysstat's programs begin.
    fn headline(&mut self, words: &[&[u8]]) -> bool {
        let [b"Linux", release, node, rest @ ..] = words else { return false };
        let Some(node) = node.strip_prefix(b"(").and_then(|node| node.strip_suffix(b")")) else { return false };
        self.text.node.get_or_insert_with(|| node.into());
        self.text.release.get_or_insert_with(|| (*release).into());
        self.date = rest.iter().find_map(|word| self.dates.date(word)).or(self.date);
        self.stamp = None;
        self.headline = Some(Headline { count: None });
        self.end_of_headline(rest);
        self.table = None;
        self.is_first = Some(SinceStart::Perhaps);
        true
    }

    /// `_x86_64_ (1 CPU)`, wherever it was broken.
    fn end_of_headline(&mut self, words: &[&[u8]]) -> bool {
        let Some(headline) = self.headline.as_mut() else { return false };
        let known = headline.count;
        headline.count = words.last().and_then(|word| super::number(word.strip_prefix(b"(")?)).or(known);
        let count = match words {
            [b"CPU)"] => known,
            [.., count, b"CPU)"] => count.strip_prefix(b"(").and_then(super::number),
            _ => None,
        };
        if count.is_some() {
            self.text.cpus = count;
            self.headline = None;
        } else if known.is_some() || words.len() > 4 {
            self.headline = None;
        }
        count.is_some()
    }

    /// A line with nothing but date and time: `iostat -t` has one before each block, and a loop prints one.
    fn moment(&mut self, _line: &[u8], words: &[&[u8]]) -> bool {
        let reading = self.dates.read(words).filter(|reading| reading.used == words.len());
        let Some(Reading { stamp, .. }) = reading.or_else(|| self.dates.sentence(words)) else { return false };
        self.set_moment(stamp);
        true
    }

    fn set_moment(&mut self, stamp: Stamp) {
        self.without_stamp();
        self.is_fresh = true;
        self.stamp = Some(self.dated(stamp));
        self.table = None;
        self.listing.moment();
    }

    /// With the date of the last header, where it has none of its own.
    fn dated(&mut self, stamp: Stamp) -> Stamp {
        if stamp.date.is_some() && !stamp.is_inherited {
            self.date = stamp.date;
        }
        let is_inherited = stamp.is_inherited || stamp.date.is_none();
        Stamp { date: stamp.date.or(self.date), is_inherited, ..stamp }
    }

    /// The block of that moment; of a program that prints several tables, they come together.
    fn block(&mut self, source: Source, stamp: Stamp) -> Option<&mut Block> {
        let stamp = self.dated(stamp);
        let moment = |stamp: &Stamp| (stamp.date, stamp.clock, stamp.epoch);
        let same = |block: &Block| block.source == source && moment(&block.stamp) == moment(&stamp);
        // Tables of one moment follow on each other, those of other programs between them.
        let from = self.text.blocks.len().saturating_sub(4);
        let found = self.text.blocks.iter().skip(from).position(same).map(|at| at + from);
        let at = match found {
            Some(at) => at,
            None if self.text.blocks.len() >= BLOCKS => {
                self.text.left_out = self.text.left_out.saturating_add(1);
                return None;
            }
            None => {
                let mut block = Block::new(source, stamp);
                if matches!(source, Source::Iostat | Source::Vmstat | Source::Top | Source::Dstat) {
                    block.since_start = self.is_first.take().unwrap_or_default();
                }
                self.text.blocks.push(block);
                self.text.blocks.len() - 1
            }
        };
        self.text.blocks.get_mut(at)
    }

    fn task(&mut self, source: Source, stamp: Stamp, task: Task) {
        if self.rows >= ROWS {
            self.text.left_out = self.text.left_out.saturating_add(1);
            return;
        }
        self.rows += 1;
        if let Some(block) = self.block(source, stamp) {
            // The same row again, of another table of the same moment, tells more of it.
            let same = |other: &&mut Task| other.id == task.id && other.is_process == task.is_process;
            match block.tasks.iter_mut().rev().take(SAME).find(same) {
                Some(other) => {
                    other.cpu = task.cpu.or(other.cpu);
                    other.read = task.read.or(other.read);
                    other.written = task.written.or(other.written);
                    other.cancelled = task.cancelled.or(other.cancelled);
                    if other.files.is_empty() {
                        other.files = task.files;
                    }
                }
                None => block.tasks.push(task),
            }
        }
    }

    fn end(mut self) -> Text {
        self.without_stamp();
        self.end_of_listing();
        self.text.jobs.retain(Job::is_told);
        for block in &mut self.text.blocks {
            block.disks.retain(Disk::is_told);
        }
        self.text.blocks.retain(|block| !block.is_empty());
        self.text
    }
}

/// So far back it is looked for the same process.
const SAME: usize = 512;

#[cfg(test)]
mod tests;
