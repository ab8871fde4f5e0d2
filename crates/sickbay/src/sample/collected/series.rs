//! Rates that were printed become counters that grow so. They are whole numbers, as the kernel's are, and so were those from
//! which the rates came: with the interval that the program used, which is a hundredth of a second or so off the one that its
//! times tell, everything comes out even. That interval is looked for; where it is found, the rates are exactly those that
//! were printed.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::Duration;

use sickbay_formats::collected::rounded;
use sickbay_formats::collected::text::{Block, SinceStart, Source, Task};
use sickbay_formats::procfs::diskstats;
use sickbay_formats::procfs::stat::{Stat, Times};
use sickbay_formats::procfs::task_io::Io;
use sickbay_target::Moment;

use super::super::{Name, OpenFile, ProcessIo, Sample, Thread, Threads};
use super::growth::{PRINTED, counts, grow_disk, grow_times, implied, new_disk};

/// A block with its moment, in seconds since 1970.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) wall: f64,
    /// When its interval began, where that was printed.
    pub(super) began: Option<f64>,
    pub(super) block: Block,
}

/// So many processes are kept in all samples together.
const CELLS: usize = 1 << 21;

/// By so much the clock of the intervals may be off the one of the day.
const OFF: f64 = 0.9;

/// So many files of a moment are kept.
const FILES: usize = 256;

/// The state of a thread of which it was not told.
const UNKNOWN: u8 = b'?';

/// Samples of one source of a file.
pub(super) fn samples(source: Source, mut list: Vec<Told>, cpus: Option<u32>) -> Vec<Sample> {
    list.sort_by(|one, other| one.wall.total_cmp(&other.wall));
    let cpus = cpus.or_else(|| busy_at_least(&list));
    let runs = runs(source, list);
    let count = runs.len() as u64;
    let made = (1_u64..).zip(runs).flat_map(|(number, run)| {
        // Each begins lower than the one before ended, so that nobody takes what lies between for known.
        let base = count.saturating_sub(number);
        let mut made = Run::new(base, cpus.filter(|cpus| *cpus > 0)).samples(run);
        complete(&mut made, base);
        made
    });
    made.collect()
}

/// How many processors there must be where nobody tells: processes did not have more of them than there are.
fn busy_at_least(list: &[Told]) -> Option<u32> {
    let of = |block: &Block| {
        let has_threads = block.tasks.iter().any(|task| !task.is_process);
        let rows = block.tasks.iter().filter(|task| task.is_process != has_threads);
        rows.filter_map(|task| task.cpu).sum::<f64>()
    };
    let blocks = list.iter().map(|told| &told.block).filter(|block| block.since_start == SinceStart::No);
    let most = blocks.map(of).fold(0.0, f64::max);
    // A process may seem to have had a little more than all of one.
    let count = rounded((most / 100.0 - 0.2).ceil().max(1.0));
    (most > 0.0).then(|| u32::try_from(count).unwrap_or(1).min(4096))
}

/// Parts without a break: between them the program did not run.
fn runs(source: Source, list: Vec<Told>) -> Vec<Vec<Told>> {
    let mut runs: Vec<Vec<Told>> = Vec::new();
    let usual = usual_gap(&list);
    let mut before = f64::NEG_INFINITY;
    for told in list {
        let gap = told.wall - before;
        let is_new = told.block.since_start != SinceStart::No || runs.is_empty();
        // Who prints only what is active prints nothing for a while; the others were stopped for a while and say so, for
        // their rates are of the whole gap.
        let is_far = match source {
            Source::Iotop | Source::Ps | Source::Top => gap > usual * 2.5 + 2.0,
            _ => gap > usual * 2.5 + 600.0,
        };
        before = told.wall;
        match runs.last_mut().filter(|_| !is_new && !is_far) {
            Some(run) => run.push(told),
            None => runs.push(vec![told]),
        }
    }
    runs
}

/// The time from one block to the next, in the middle of all such times: the lower one of two.
fn usual_gap(list: &[Told]) -> f64 {
    if let Some(interval) = list.iter().find_map(|told| told.block.interval) {
        return interval;
    }
    let mut gaps: Vec<f64> = list
        .windows(2)
        .filter_map(|pair| Some(pair.last()?.wall - pair.first()?.wall))
        .filter(|gap| *gap > 0.0)
        .collect();
    gaps.extend(list.iter().filter_map(|told| Some(told.wall - told.began?)));
    gaps.sort_by(f64::total_cmp);
    gaps.get(gaps.len().saturating_sub(1) / 2).copied().unwrap_or(1.0)
}

/// Counters as they grow.
struct Run {
    base: u64,
    cpus: Option<u32>,
    disks: BTreeMap<bstr::BString, diskstats::Disk>,
    total: Times,
    each: BTreeMap<u32, Times>,
    io: BTreeMap<u32, (u64, ProcessIo)>,
    threads: BTreeMap<u32, (u64, Thread)>,
    switches: u64,
    made: u64,
}

impl Run {
    fn new(base: u64, cpus: Option<u32>) -> Run {
        let times = Times { user: base, idle: base + 1, ..Times::default() };
        Run {
            base,
            cpus,
            disks: BTreeMap::new(),
            total: times,
            each: BTreeMap::new(),
            io: BTreeMap::new(),
            threads: BTreeMap::new(),
            switches: base,
            made: base,
        }
    }

    fn samples(mut self, run: Vec<Told>) -> Vec<Sample> {
        let usual = usual_gap(&run);
        let mut samples: Vec<Sample> = Vec::new();
        let mut run = run.into_iter().peekable();
        let Some(first) = run.peek().cloned() else { return samples };
        let is_listing = first.block.source == Source::Ps;
        let mut steady = first.began.unwrap_or(first.wall - usual);
        let is_since_start = match first.block.since_start {
            SinceStart::No => false,
            SinceStart::Yes => true,
            SinceStart::Perhaps => {
                let mut next = run.clone();
                let first = next.next();
                !first.zip(next.next()).is_some_and(|(first, next)| is_alike(&first.block, &next.block))
            }
        };
        if is_since_start {
            if let Some(first) = run.next() {
                steady = first.wall;
                self.know(&first.block);
                samples.push(self.sample(&first, steady));
            }
        } else if !is_listing {
            let block = Block { load: None, running: None, blocked: None, has_states: false, ..first.block.clone() };
            let told = Told { wall: steady, began: None, block };
            self.know(&told.block);
            let mut sample = self.sample(&told, steady);
            states(&mut sample, &[]);
            samples.push(sample);
        }
        let mut wall = steady;
        for told in run {
            let gap = told.began.map_or(told.wall - wall, |began| told.wall - began);
            let nominal = match told.block.interval {
                Some(interval) => interval,
                None if (gap - usual).abs() <= 1.0 => usual,
                None => gap,
            };
            wall = told.wall;
            if is_listing {
                samples.push(self.listing(&told));
                continue;
            }
            // Neither clock may run away from the other.
            let ahead = |span: f64| (steady + span - told.wall).abs();
            let nominal = if ahead(nominal) > OFF { told.wall - steady } else { nominal };
            if nominal <= 0.0 {
                continue;
            }
            let exact = match told.block.interval {
                Some(interval) => interval,
                None => implied(nominal, &counts(&told.block), |span| ahead(span) <= OFF + PRINTED).unwrap_or(nominal),
            };
            let exact = if ahead(exact) > OFF + PRINTED { nominal } else { exact };
            steady += exact;
            self.grow(&told.block, exact);
            let mut sample = self.sample(&told, steady);
            sample.files = self.files(&told.block);
            samples.push(sample);
        }
        samples
    }

    /// Those whose rates come have been there before.
    fn know(&mut self, block: &Block) {
        self.grow(block, 0.0);
    }

    fn grow(&mut self, block: &Block, span: f64) {
        let base = self.base;
        for told in &block.disks {
            let disk = self.disks.entry(told.name.clone()).or_insert_with(|| new_disk(told, base));
            grow_disk(disk, told, span);
        }
        let rows = block.cpus.iter().filter(|cpu| cpu.number.is_some()).count();
        let all = self.cpus.map_or(1.0, f64::from).max(rows as f64);
        for told in &block.cpus {
            let times = match told.number {
                None => &mut self.total,
                Some(number) => {
                    let new = Times { user: base, idle: base + 1, ..Times::default() };
                    self.each.entry(number).or_insert(new)
                }
            };
            let count = if told.number.is_none() { all } else { 1.0 };
            grow_times(times, told, span * 100.0 * count);
        }
        let has_threads = block.tasks.iter().any(|task| !task.is_process && task.cpu.is_some());
        for task in &block.tasks {
            if task.read.is_some() || task.written.is_some() {
                self.grow_io(task, span);
            }
            // Where there are threads, the row of their process is their sum.
            if (task.cpu.is_some() || task.state.is_some()) && (!has_threads || !task.is_process) {
                self.grow_thread(task, span);
            }
        }
        let grown = |rate: Option<f64>| rounded(rate.unwrap_or(0.0) * span);
        self.switches = self.switches.saturating_add(grown(block.switches));
        self.made = self.made.saturating_add(grown(block.made));
    }

    fn grow_io(&mut self, task: &Task, span: f64) {
        // Of a process with threads only the row of all counts.
        if !task.is_process {
            return;
        }
        let name = Name::of(&task.name);
        let (generation, process) = self.io.entry(task.id).or_default();
        if *generation == 0 || process.name != name {
            *generation += 1;
            let io = Io { read_bytes: self.base, write_bytes: self.base, ..Io::default() };
            *process = ProcessIo { pid: task.id, began: *generation, name, io };
        }
        let grown = |rate: Option<f64>| rounded(rate.unwrap_or(0.0) * span);
        process.io.read_bytes = process.io.read_bytes.saturating_add(grown(task.read));
        process.io.write_bytes = process.io.write_bytes.saturating_add(grown(task.written));
        process.io.cancelled = process.io.cancelled.saturating_add(grown(task.cancelled));
    }

    fn grow_thread(&mut self, task: &Task, span: f64) {
        let name = Name::of(&task.name);
        let (generation, thread) = self.threads.entry(task.id).or_default();
        if *generation == 0 || thread.name != name {
            *generation += 1;
            *thread = thread_of(task);
            (thread.began, thread.ticks) = (*generation, self.base);
        }
        thread.state = task.state.unwrap_or(UNKNOWN);
        thread.ticks = thread.ticks.saturating_add(rounded(task.cpu.unwrap_or(0.0) * span));
    }

    fn sample(&self, told: &Told, steady: f64) -> Sample {
        let block = &told.block;
        let mut sample = Sample { moment: moment(steady, told.wall), load: block.load, ..Sample::default() };
        let has_numbers = block.running.is_some() || block.blocked.is_some();
        if !block.cpus.is_empty() || has_numbers || block.made.is_some() || block.switches.is_some() {
            let has_total = block.cpus.iter().any(|cpu| cpu.number.is_none());
            let is_told = |cpu: &u32| block.cpus.iter().any(|told| told.number == Some(*cpu));
            sample.stat = Some(Stat {
                total: if has_total { self.total } else { Times::default() },
                // Of one that was not printed nothing is known.
                cpus: self.each.iter().filter(|(cpu, _)| is_told(cpu)).map(|(cpu, times)| (*cpu, *times)).collect(),
                is_printed: true,
                switches: block.switches.map(|_| self.switches),
                made: block.made.map(|_| self.made),
                running: block.running,
                blocked: block.blocked,
                lumped: block.lumped,
                ..Stat::default()
            });
        }
        if !block.disks.is_empty() {
            sample.disks = Some(self.disks.values().cloned().collect());
        }
        if !self.io.is_empty() {
            sample.io = Some(self.io.values().map(|(_, process)| process.clone()).collect());
        }
        if !self.threads.is_empty() {
            let list = self.threads.values().map(|(_, thread)| thread.clone()).collect();
            sample.threads = Some(Threads { list, is_all: true, left_out: 0 });
            states(&mut sample, &block.tasks);
        }
        sample
    }

    /// What the command lines of those that read and wrote name.
    fn files(&self, block: &Block) -> Vec<OpenFile> {
        let named = block.tasks.iter().filter(|task| task.is_process && !task.files.is_empty());
        let known = named.filter_map(|task| Some((task, self.io.get(&task.id)?.0)));
        let file = |(task, began): (&Task, u64), (path, flags): &(bstr::BString, Option<u32>)| OpenFile {
            pid: task.id,
            began,
            path: PathBuf::from(path.to_string()),
            flags: *flags,
            ..OpenFile::default()
        };
        known.flat_map(|one| one.0.files.iter().map(move |path| file(one, path))).take(FILES).collect()
    }

    /// Threads that are active, and nobody knows how much they had of the processors. Who looks is no part of it.
    fn listing(&self, told: &Told) -> Sample {
        let tasks = told.block.tasks.iter().filter(|task| *task.name != *b"ps");
        let list = tasks.map(thread_of).collect();
        let threads = told.block.has_states.then_some(Threads { list, is_all: false, left_out: 0 });
        Sample { moment: moment(told.wall, told.wall), load: told.block.load, threads, ..Sample::default() }
    }
}

/// Of a thread that is not in the block it is not known what it did.
fn states(sample: &mut Sample, tasks: &[Task]) {
    let told: HashMap<u32, Option<u8>> = tasks.iter().map(|task| (task.id, task.state)).collect();
    for thread in sample.threads.iter_mut().flat_map(|threads| &mut threads.list) {
        thread.state = told.get(&thread.id).copied().flatten().unwrap_or(UNKNOWN);
    }
}

/// Processes that came later were there before, with nothing done: who prints only what is active does not tell of the others.
/// Of too many those are kept that did most.
fn complete(samples: &mut [Sample], base: u64) {
    let most = CELLS / samples.len().max(1);
    let mut processes: HashMap<(u32, u64), (u64, ProcessIo)> = HashMap::new();
    let mut threads: HashMap<(u32, u64), (u64, Thread)> = HashMap::new();
    for sample in samples.iter() {
        for process in sample.io.iter().flatten() {
            let all = process.io.read_bytes.saturating_add(process.io.write_bytes);
            processes.insert((process.pid, process.began), (all, process.clone()));
        }
        for thread in sample.threads.iter().flat_map(|threads| &threads.list) {
            threads.insert((thread.id, thread.began), (thread.ticks, thread.clone()));
        }
    }
    let processes = greatest(processes, most);
    let threads = greatest(threads, most);
    let mut last_io: HashMap<(u32, u64), Io> = HashMap::new();
    let mut last_ticks: HashMap<(u32, u64), u64> = HashMap::new();
    for sample in samples {
        if !processes.is_empty() {
            last_io.extend(sample.io.iter().flatten().map(|process| ((process.pid, process.began), process.io)));
            let none = Io { read_bytes: base, write_bytes: base, ..Io::default() };
            let of = |process: &ProcessIo| {
                let io = last_io.get(&(process.pid, process.began)).copied().unwrap_or(none);
                ProcessIo { io, ..process.clone() }
            };
            sample.io = Some(processes.iter().map(of).collect());
        }
        if !threads.is_empty() {
            let told = sample.threads.take().map(|threads| threads.list).unwrap_or_default();
            let states: HashMap<_, u8> = told.iter().map(|thread| (thread.identity(), thread.state)).collect();
            last_ticks.extend(told.iter().map(|thread| (thread.identity(), thread.ticks)));
            let of = |thread: &Thread| Thread {
                ticks: last_ticks.get(&thread.identity()).copied().unwrap_or(base),
                state: states.get(&thread.identity()).copied().unwrap_or(UNKNOWN),
                ..thread.clone()
            };
            let list = threads.iter().map(of).collect();
            sample.threads = Some(Threads { list, is_all: true, left_out: 0 });
        }
    }
}

/// The greatest of them, in the order of their numbers. Listings have threads without any number of their own that grows.
fn greatest<T>(all: HashMap<(u32, u64), (u64, T)>, most: usize) -> Vec<T> {
    let mut all: Vec<_> = all.into_iter().filter(|((_, began), _)| *began > 0).collect();
    all.sort_by_key(|(identity, (amount, _))| (std::cmp::Reverse(*amount), *identity));
    all.truncate(most);
    all.sort_by_key(|(identity, _)| *identity);
    all.into_iter().map(|(_, (_, one))| one).collect()
}

fn thread_of(task: &Task) -> Thread {
    Thread {
        pid: if task.pid == 0 { task.id } else { task.pid },
        id: task.id,
        parent: task.parent.unwrap_or(0),
        name: Name::of(&task.name),
        state: task.state.unwrap_or(UNKNOWN),
        ..Thread::default()
    }
}

fn moment(steady: f64, wall: f64) -> Moment {
    let time = |seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or_default();
    // Spans are hundredths of a second.
    let steady = Duration::from_millis(rounded(steady * 1000.0));
    Moment { steady, wall: time(wall) }
}

/// Whether the first block, which usually is of the time since the machine started, tells what the next one does: then it is
/// one of an interval, and what was before it was cut off.
fn is_alike(first: &Block, next: &Block) -> bool {
    let busiest = |block: &Block| {
        let util = block.disks.iter().filter_map(|disk| disk.util).fold(0.0, f64::max);
        let busy = block.cpus.iter().map(|cpu| 100.0 - cpu.idle).fold(0.0, f64::max);
        if block.disks.is_empty() { busy } else { util }
    };
    let (first, next) = (busiest(first), busiest(next));
    first > 20.0 && (0.5..=2.0).contains(&(next / first))
}
