//! Samples of the running system for months: cheap each time, and dear only when there is something to see.
//!
//! Counters are read for each sample. All threads are looked at as seldom as their number demands (the look takes so small a
//! part of the time), and at once when something is new: more threads want a CPU than at the last look, more wait for a disk,
//! the kernel counted more than run, it says itself that threads wait (PSI). In between those threads are looked at that did
//! something lately, and every one that was made since: nobody hides for long.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use sickbay_formats::procfs::loadavg::{self, LoadAvg, counted};
use sickbay_formats::procfs::task;
use sickbay_target::{CardWatch, Moment, ReadError, Root, Tasks, Written};

use super::details::{self, Quotas};
use super::live::{self, Chance, Faults};
use super::{CardCounter, Identity, Name, ParameterWrite, Sample, Thread, Threads};

/// A look at all threads takes this part of the time, and this one when something is new.
const SHARE: u32 = 250;
const SHARE_OF_NEWS: u32 = 40;

/// So many threads are looked at in a look at all, so that they need little memory.
const THREADS: u64 = 1 << 14;

/// So many threads are looked at between looks at all.
const HOT: usize = 256;

/// So many new threads are looked at in between.
const NEW: u64 = 64;

/// Details are taken for so long after what they are taken for.
const ALARM: Duration = Duration::from_secs(3);

/// Sockets and who reads and writes are looked at so often even if nothing seems to happen.
const SOCKETS: Duration = Duration::from_secs(10);
const QUIET: Duration = Duration::from_secs(30);

/// So many sectors in a second, or so many requests, are something.
const SECTORS: u64 = 2048;
const REQUESTS: u64 = 50;

/// Something that is done no more often than it is cheap.
#[derive(Debug)]
struct Pace {
    last: Option<Instant>,
    cost: Duration,
    least: Duration,
}

impl Pace {
    fn new(least: Duration) -> Pace {
        Pace { last: None, cost: Duration::ZERO, least }
    }

    /// Whether so long has passed that it takes no more than that part of the time.
    fn is_due(&self, now: Instant, share: u32) -> bool {
        self.last.is_none_or(|last| now.duration_since(last) >= self.least.max(self.cost * share))
    }

    fn was_done(&mut self, began: Instant) {
        // One that was kept waiting by others is not dearer for it: the mean of some.
        let cost = began.elapsed();
        self.cost = if self.cost.is_zero() { cost } else { (self.cost * 3 + cost) / 4 };
        self.last = Some(began);
    }
}

/// What a look at the whole saw.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    running: u64,
    blocked: u64,
}

/// Takes samples of the running system.
#[derive(Debug)]
pub struct Sampler<'r> {
    root: &'r Root,
    tasks: Tasks<'r>,
    chance: Chance,
    every: Duration,
    cpus: u64,
    faults: Faults,
    look: Pace,
    io: Pace,
    sockets: Pace,
    dear: Pace,
    quotas: Option<Quotas>,
    cards: Option<CardWatch>,
    /// Threads that did something lately, and the ticks of all when they were looked at last.
    hot: Vec<(u32, u32)>,
    ticks: HashMap<Identity, u64>,
    pids: Vec<u32>,
    /// The number of the thread that was made last.
    last_pid: Option<u64>,
    /// What each had read and written, and who did most since.
    bytes: HashMap<(u32, u64), u64>,
    greedy: Vec<(u32, u64)>,
    seen: Seen,
    load: Option<LoadAvg>,
    /// Sectors and requests of all disks at the last sample, and when that was.
    disks: Option<(u64, u64, Instant)>,
    /// Something has shown since the last look at all threads.
    is_news: bool,
    alarm: Option<Instant>,
}

/// Which counters of a card say that something was lost.
fn of_interest(name: &str) -> bool {
    const WORDS: [&str; 10] =
        ["exceeded", "drop", "discard", "err", "miss", "no_buf", "nobuf", "fail", "timeout", "kick_limit"];
    let name = name.to_ascii_lowercase();
    WORDS.iter().any(|word| name.contains(word))
}

impl<'r> Sampler<'r> {
    /// Of the running system whose root that is.
    ///
    /// # Errors
    /// When there is no `/proc`.
    pub fn new(root: &'r Root, every: Duration) -> Result<Sampler<'r>, ReadError> {
        Ok(Sampler {
            root,
            tasks: Tasks::open(root, "/proc")?,
            chance: Chance::new(),
            every,
            cpus: 1,
            faults: Faults::new(),
            look: Pace::new(every.mul_f64(0.6)),
            io: Pace::new(every.mul_f64(0.6)),
            sockets: Pace::new(SOCKETS),
            dear: Pace::new(Duration::from_millis(900).min(every)),
            quotas: Quotas::find(root, "/sys"),
            cards: CardWatch::start(SOCKETS, of_interest),
            hot: Vec::new(),
            ticks: HashMap::new(),
            pids: Vec::new(),
            last_pid: None,
            bytes: HashMap::new(),
            greedy: Vec::new(),
            seen: Seen::default(),
            load: None,
            disks: None,
            is_news: false,
            alarm: None,
        })
    }

    /// How long until the next sample: no two steps are alike.
    pub fn step(&mut self) -> Duration {
        self.chance.about(self.every)
    }

    /// The kernel says that threads wait.
    pub fn alarm(&mut self, now: Instant) {
        self.is_news = true;
        self.alarm = Some(now);
    }

    /// What can be seen ten times a second. Gives whether a sample is worth while at once.
    pub fn glimpse(&mut self, now: Instant) -> bool {
        let Some(load) = self.tasks.read("loadavg").ok().and_then(|text| loadavg::parse(&text)) else { return false };
        let before = self.load.replace(load);
        // Who looks runs.
        let running = load.running.saturating_sub(1);
        let is_more = running > self.seen.running + 1;
        // The kernel counted since: how many that were, and do not run.
        let hidden = before.filter(|before| before.averages != load.averages).map_or(0.0, |before| {
            counted(before.averages[0], load.averages[0]) - running.max(self.seen.running) as f64
        });
        if running > self.cpus * 2 + 2 || hidden >= self.cpus as f64 + 2.0 {
            self.alarm = Some(now);
        }
        let is_new = is_more || hidden >= 2.0;
        self.is_news |= is_new;
        is_new && self.look.is_due(now, SHARE_OF_NEWS)
    }

    /// One sample. `writes` are those of kernel parameters since the one before.
    pub fn sample(&mut self, writes: Vec<Written>) -> Sample {
        let now = Instant::now();
        let mut sample = live::counters(&mut self.tasks, Moment::now());
        live::add_tables(&mut self.tasks, &mut sample);
        let stat = sample.stat.as_ref();
        self.cpus = stat.map_or(1, |stat| stat.cpus.len() as u64).max(1);
        let blocked = stat.and_then(|stat| stat.blocked).unwrap_or(0);
        let running = sample.load.map_or(0, |load| load.running.saturating_sub(1));
        let is_busy_disk = self.note_disks(&sample, now);
        if blocked > self.seen.blocked + 1 || blocked >= 1 && is_busy_disk && self.seen.blocked == 0 {
            self.is_news = true;
        }
        if blocked >= self.cpus + 2 {
            self.alarm = Some(now);
        }
        let share = if self.is_news { SHARE_OF_NEWS } else { SHARE };
        if self.look.is_due(now, share) {
            sample.threads = self.look_at_all(sample.load, now);
            self.is_news = false;
            self.seen = Seen { running, blocked };
            let wants_io = is_busy_disk || self.io.last.is_none_or(|last| now.duration_since(last) >= QUIET);
            if wants_io && self.io.is_due(now, SHARE_OF_NEWS) {
                self.look_at_io(&mut sample);
            }
        } else {
            sample.threads = self.look_at_some(sample.load, running);
        }
        if self.sockets.is_due(now, SHARE) {
            let began = Instant::now();
            sample.sockets = details::sockets(&mut self.tasks, self.pids.iter().copied());
            self.sockets.was_done(began);
        }
        let alarm = self.alarm.is_some_and(|alarm| now.duration_since(alarm) < ALARM);
        if (alarm || is_busy_disk && !self.greedy.is_empty()) && self.dear.is_due(now, SHARE_OF_NEWS) {
            self.look_closely(&mut sample, alarm);
        }
        sample.throttled = self.quotas.as_mut().and_then(|quotas| quotas.read(self.root));
        sample.cards = self.cards.as_ref().and_then(CardWatch::take).map(|cards| {
            let of = |(link, counters): (String, Vec<(String, u64)>)| {
                counters.into_iter().map(move |(name, value)| CardCounter { link: link.clone(), name, value })
            };
            cards.into_iter().flat_map(of).collect()
        });
        let write = |write: Written| ParameterWrite {
            parameter: write.parameter,
            pid: write.pid,
            name: Name::of(write.comm.as_bytes()),
            value: write.value,
        };
        sample.writes = writes.into_iter().map(write).collect();
        sample
    }

    /// Whether the disks do something that is worth while to look at.
    fn note_disks(&mut self, sample: &Sample, now: Instant) -> bool {
        let Some(disks) = &sample.disks else { return false };
        let sum = |of: fn(&sickbay_formats::procfs::diskstats::Disk) -> u64| {
            disks.iter().map(of).fold(0, u64::saturating_add)
        };
        let sectors = sum(|disk| disk.sectors_read.saturating_add(disk.sectors_written));
        let requests = sum(|disk| disk.reads.saturating_add(disk.writes));
        let Some((before, asked, then)) = self.disks.replace((sectors, requests, now)) else { return false };
        let seconds = now.duration_since(then).as_secs_f64();
        let is_much = |now: u64, then: u64, much: u64| now.saturating_sub(then) as f64 >= much as f64 * seconds;
        is_much(sectors, before, SECTORS) || is_much(requests, asked, REQUESTS)
    }

    fn look_at_all(&mut self, load: Option<LoadAvg>, now: Instant) -> Option<Threads> {
        let threads = live::threads(&mut self.tasks, true, &mut self.faults, THREADS);
        self.look.was_done(now);
        let mut threads = threads?;
        self.last_pid = load.map(|load| load.last_pid);
        live::tell_left_out(&mut threads, load);
        let before = std::mem::take(&mut self.ticks);
        let did = |thread: &&Thread| {
            thread.is_active() || before.get(&thread.identity()).is_none_or(|ticks| *ticks != thread.ticks)
        };
        self.hot = threads.list.iter().filter(did).map(|thread| (thread.pid, thread.id)).take(HOT).collect();
        self.ticks = threads.list.iter().map(|thread| (thread.identity(), thread.ticks)).collect();
        let leaders = || threads.list.iter().filter(|thread| thread.id == thread.pid);
        self.pids = leaders().filter(|thread| !thread.is_kernels()).map(|thread| thread.pid).collect();
        // Those that are gone are forgotten.
        self.faults = leaders().map(|thread| (thread.pid, thread.faults_of_children)).collect();
        Some(threads)
    }

    /// Those that did something lately, and those that are new. They are a look if they are as many as run.
    fn look_at_some(&mut self, load: Option<LoadAvg>, running: u64) -> Option<Threads> {
        let last = load.map_or(0, |load| load.last_pid);
        // Numbers begin anew at pid_max: then only the newest is known.
        let before = self.last_pid.replace(last).unwrap_or(last).min(last.saturating_sub(1));
        let before = if before + NEW < last { last.saturating_sub(NEW) } else { before };
        let new = before + 1..=last;
        let new = new.filter_map(|pid| u32::try_from(pid).ok()).map(|pid| (pid, pid));
        let wanted: Vec<(u32, u32)> = self.hot.iter().copied().chain(new).collect();
        let mut list = Vec::new();
        let mut asked = HashSet::new();
        for (pid, id) in wanted {
            if pid == std::process::id() || !asked.insert(id) {
                continue;
            }
            let Ok(text) = self.tasks.read(&format!("{pid}/task/{id}/stat")) else { continue };
            let Some(thread) = task::parse(&text).map(|task| Thread::of(pid, &task)) else { continue };
            let has_grown = self.ticks.get(&thread.identity()).is_none_or(|ticks| *ticks != thread.ticks);
            if has_grown && !self.hot.contains(&(pid, id)) && self.hot.len() < HOT {
                self.hot.push((pid, id));
            }
            if thread.is_active() || has_grown {
                list.push(thread);
            }
        }
        live::ask_what_for(&mut self.tasks, &mut list);
        let active = list.iter().filter(|thread| thread.is_active()).count() as u64;
        (active + 1 >= running).then_some(Threads { list, is_all: false, left_out: 0 })
    }

    fn look_at_io(&mut self, sample: &mut Sample) {
        let began = Instant::now();
        sample.io = sample.threads.as_ref().and_then(|threads| live::process_io(&mut self.tasks, threads));
        self.io.was_done(began);
        let Some(io) = &sample.io else { return };
        let sums = || io.iter().map(|one| ((one.pid, one.began), one.io.read_bytes.saturating_add(one.io.write_bytes)));
        // Of the first look nobody knows since when.
        self.greedy = if self.bytes.is_empty() { Vec::new() } else { details::greedy(&self.bytes, sums()) };
        self.bytes = sums().collect();
    }

    /// Where threads are that wait or spin, and the files of who reads and writes most.
    fn look_closely(&mut self, sample: &mut Sample, alarm: bool) {
        let began = Instant::now();
        let none = Threads::default();
        let threads = sample.threads.as_ref().unwrap_or(&none);
        if alarm {
            sample.stacks = details::stacks(&mut self.tasks, threads);
        }
        let waiting = threads.list.iter().filter(|thread| thread.state == b'D' && !thread.is_kernels());
        let mut processes = self.greedy.clone();
        for thread in waiting {
            // The beginning of a process is that of its first thread.
            if !processes.iter().any(|(pid, _)| *pid == thread.pid) && thread.id == thread.pid {
                processes.push(thread.identity());
            }
        }
        sample.files = details::files(&mut self.tasks, &processes);
        self.dear.was_done(began);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dear_is_seldom() {
        let began = Instant::now();
        let mut pace = Pace::new(Duration::from_millis(100));
        assert!(pace.is_due(began, 250));
        pace.last = Some(began);
        pace.cost = Duration::from_millis(20);
        let at = |millis| began + Duration::from_millis(millis);
        assert!(!pace.is_due(at(4999), 250) && pace.is_due(at(5000), 250));
        assert!(!pace.is_due(at(799), 40) && pace.is_due(at(800), 40));
    }

    #[test]
    fn counters_of_cards_that_tell_of_loss() {
        for name in ["bw_in_allowance_exceeded", "rx_queue_0_drops", "tx_timeout", "rx_missed_errors", "rx_fifo_errors"]
        {
            assert!(of_interest(name), "{name}");
        }
        assert!(!of_interest("rx_queue_0_packets") && !of_interest("tx_bytes"));
    }

    #[test]
    fn this_machine() {
        let root = Root::host().expect("the root");
        let mut sampler = Sampler::new(&root, Duration::from_millis(200)).expect("/proc");
        let mut samples = Vec::new();
        for _ in 0..12 {
            samples.push(sampler.sample(Vec::new()));
            sampler.glimpse(Instant::now());
            let step = sampler.step();
            std::thread::sleep(step);
        }
        let own = std::process::id();
        let looks = || samples.iter().filter_map(|sample| sample.threads.as_ref());
        assert!(looks().any(|look| look.is_all) && looks().all(|look| look.list.iter().all(|one| one.pid != own)));
        assert!(samples.iter().all(|sample| sample.stat.is_some() && sample.links.is_some() && sample.tcp.is_some()));
        assert!(
            samples.iter().any(|sample| sample.io.is_some()) && samples.iter().any(|sample| sample.sockets.is_some())
        );
        // Every look at all tells of what was made of what: of the same threads, the same or more.
        let window = super::super::Window { samples, place: "/proc".into() };
        assert!(window.span().is_some() && window.busy().is_some());
    }
}
