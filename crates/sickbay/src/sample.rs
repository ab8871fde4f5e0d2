//! Time: what a running system counts, read twice or more, and what follows from the difference.
//!
//! A [`Sample`] holds counters as they were read, a [`Window`] samples in their order. Nothing is ever subtracted but here, so
//! that a counter that went back, a clock that did, or a number that another process has by now is known for what it is:
//! unknown, and never a rate.

pub mod asked;
mod collected;
mod details;
mod live;
pub mod rates;
pub mod recorded;
pub mod ring;
mod sampler;
pub mod used;
mod written;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use sickbay_formats::procfs::diskstats::Disk;
use sickbay_formats::procfs::interrupts::Interrupts;
use sickbay_formats::procfs::loadavg::{LoadAvg, counted};
use sickbay_formats::procfs::mib::Counter;
use sickbay_formats::procfs::net_dev::Link;
use sickbay_formats::procfs::pressure::Pressure;
use sickbay_formats::procfs::softnet::Softnet;
use sickbay_formats::procfs::stat::{Stat, Times};
use sickbay_formats::procfs::task::{KERNEL_THREAD, Task};
use sickbay_formats::procfs::task_io::Io;
use sickbay_target::Moment;

pub use asked::{Asked, When};
pub use live::{glance, glimpse, watch};
pub use recorded::recorded;
pub use sampler::Sampler;
pub use written::read;

/// So many threads are looked at in a sample; what there is beyond is counted, and said.
pub const MOST: usize = 1 << 16;

/// Of so many threads in uninterruptible sleep it is asked what they wait in.
pub const ASKED: usize = 256;

/// The name of a thread: what the kernel keeps of it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name([u8; 16]);

impl Name {
    /// The first 16 bytes.
    pub fn of(name: &[u8]) -> Name {
        let mut kept = [0; 16];
        kept.iter_mut().zip(name).for_each(|(kept, byte)| *kept = *byte);
        Name(kept)
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(self.0.len());
        self.0.get(..end).unwrap_or_default()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.bytes()))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// By what a thread is the same in another sample: its number and when it began.
pub type Identity = (u32, u64);

/// By how much something of each thread grew.
pub type Growths = HashMap<Identity, u64>;

/// A thread at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thread {
    /// The number of its process.
    pub pid: u32,
    /// Its own.
    pub id: u32,
    /// The process that made its process.
    pub parent: u32,
    /// Its name.
    pub name: Name,
    /// As proc(5) has it: `R`, `S`, `D`, `I` …
    pub state: u8,
    /// PF_* of the kernel.
    pub flags: u64,
    /// The time that it had of the processors, in ticks of a hundredth of a second. Of a process with one thread, that of
    /// threads that ended too.
    pub ticks: u64,
    /// Page faults of the children that ended: who starts many short programs is known by them.
    pub faults_of_children: u64,
    /// When it began, in ticks since the machine did.
    pub began: u64,
    /// What it sleeps in, of those that cannot be interrupted: `/proc/PID/wchan`.
    pub waits_in: Option<Box<str>>,
    /// How often it was given a processor, of the same: one that was given none in between has not moved.
    pub slices: Option<u64>,
}

impl Thread {
    /// From the line that tells of it.
    pub fn of(pid: u32, task: &Task<'_>) -> Thread {
        Thread {
            pid,
            id: task.id,
            parent: task.parent,
            name: Name::of(task.name),
            state: task.state,
            flags: task.flags,
            ticks: task.user.saturating_add(task.system),
            faults_of_children: task.faults_of_children,
            began: task.began,
            waits_in: None,
            slices: None,
        }
    }

    /// Whether it runs, could, or sleeps so that it cannot be interrupted.
    pub fn is_active(&self) -> bool {
        matches!(self.state, b'R' | b'D')
    }

    /// Whether it is one of the kernel's own.
    pub fn is_kernels(&self) -> bool {
        self.flags & KERNEL_THREAD != 0
    }

    /// By what it is the same thread in another sample: a number alone is given to others in time.
    pub fn identity(&self) -> Identity {
        (self.id, self.began)
    }
}

/// The threads at one moment, those of this process left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Threads {
    /// All of them; or those that are active, and processes whose children have ended since the look before.
    pub list: Vec<Thread>,
    /// Whether all are in the list.
    pub is_all: bool,
    /// How many nobody looked at, for there were too many.
    pub left_out: u64,
}

/// What a process had read and written since it began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessIo {
    /// Its number.
    pub pid: u32,
    /// When it began, in ticks since the machine did.
    pub began: u64,
    /// Its name.
    pub name: Name,
    /// What it did.
    pub io: Io,
}

/// The headline of `/proc/meminfo`, in KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// `MemTotal`.
    pub total: u64,
    /// `MemFree`.
    pub free: u64,
    /// `MemAvailable`, of kernels from 3.14 on.
    pub available: Option<u64>,
    /// `Buffers` and `Cached`.
    pub cached: u64,
    /// `Dirty`.
    pub dirty: u64,
    /// `Writeback`.
    pub writeback: u64,
    /// `Shmem`.
    pub shmem: u64,
    /// `Slab`.
    pub slab: u64,
    /// `SwapTotal`.
    pub swap_total: u64,
    /// `SwapFree`.
    pub swap_free: u64,
}

/// A control group with a quota of processor time: `cpu.stat`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Throttled {
    /// Its path below the hierarchy: `/system.slice/nginx.service`.
    pub group: String,
    /// `cpu.max` or `cpu.cfs_quota_us`: microseconds in each period.
    pub quota: u64,
    /// The period, in microseconds.
    pub period: u64,
    /// Periods in which it had something to do.
    pub periods: u64,
    /// Periods in which it had used up its quota.
    pub throttled: u64,
    /// How long it stood still for that, in microseconds, its threads on all processors added up.
    pub throttled_us: u64,
}

/// Sockets of one network namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sockets {
    /// The inode of the namespace; 0 where it is not known.
    pub namespace: u64,
    /// The number of a process in it.
    pub pid: u32,
    /// The lines of `/proc/PID/net/sockstat` that are of TCP: inuse, orphan, tw, alloc, mem.
    pub tcp: Vec<Counter>,
}

/// A counter of a network card's own: `ethtool -S`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CardCounter {
    /// The interface.
    pub link: String,
    /// Its name as the driver has it: `bw_in_allowance_exceeded`, `rx_queue_0_drops`.
    pub name: String,
    /// Its value.
    pub value: u64,
}

/// Where a thread was in the kernel: `/proc/PID/stack`, the innermost function first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stack {
    /// The number of the thread.
    pub id: u32,
    /// When it began.
    pub began: u64,
    /// Its functions, without offsets.
    pub functions: Vec<Box<str>>,
}

/// A file that a process had open, which does much IO.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenFile {
    /// The number of the process.
    pub pid: u32,
    /// When it began.
    pub began: u64,
    /// The number of the descriptor.
    pub descriptor: u32,
    /// What `/proc/PID/fd/N` says.
    pub path: PathBuf,
    /// The device number of its file system, where mountinfo tells it.
    pub device: Option<(u32, u32)>,
    /// `pos` of fdinfo: how far in the file it is.
    pub position: Option<u64>,
    /// `flags` of fdinfo, octal there: O_DIRECT, O_WRONLY …
    pub flags: Option<u32>,
}

/// Threads of one name and one parent that ended, as the kernel told of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Their name.
    pub name: String,
    /// The process that made them, or their process.
    pub parent: u32,
    /// How many.
    pub count: u64,
    /// Microseconds that they had of the processors for themselves, all together.
    pub user_us: u64,
    /// Microseconds that the kernel had for them.
    pub system_us: u64,
}

/// What a program said of its own reads and writes, when it had ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Said {
    /// The program: `fio`.
    pub program: String,
    /// What it calls its job.
    pub job: String,
    /// The number of its process, where it tells.
    pub pid: Option<u32>,
    /// When it began, since 1970.
    pub from: Duration,
    /// When it ended.
    pub to: Duration,
    /// Reads a second.
    pub reads: f64,
    /// Writes a second.
    pub writes: f64,
    /// Bytes read a second.
    pub read: f64,
    /// Bytes written a second.
    pub written: f64,
    /// The files that it worked on.
    pub files: Vec<PathBuf>,
}

/// Somebody wrote a kernel parameter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParameterWrite {
    /// The file below `/proc/sys`: `net/core/somaxconn`.
    pub parameter: String,
    /// Who did.
    pub pid: u32,
    /// Its name.
    pub name: Name,
    /// What it is now.
    pub value: Option<String>,
}

/// Counters as they were read; `None` where this kernel has them not, this user may not see them, or nobody looked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// When.
    pub moment: Moment,
    /// `/proc/loadavg`.
    pub load: Option<LoadAvg>,
    /// `/proc/stat`.
    pub stat: Option<Stat>,
    /// `/proc/pressure/cpu`.
    pub cpu_pressure: Option<Pressure>,
    /// `/proc/pressure/io`.
    pub io_pressure: Option<Pressure>,
    /// `/proc/pressure/memory`.
    pub memory_pressure: Option<Pressure>,
    /// `/proc/diskstats`.
    pub disks: Option<Vec<Disk>>,
    /// The threads, where they were looked at.
    pub threads: Option<Threads>,
    /// `/proc/PID/io`, of processes that could be asked.
    pub io: Option<Vec<ProcessIo>>,
    /// `/proc/interrupts`. In a container it may be empty: then `None`.
    pub interrupts: Option<Interrupts>,
    /// `/proc/softirqs`.
    pub softirqs: Option<Interrupts>,
    /// `/proc/net/softnet_stat`.
    pub softnet: Option<Vec<Softnet>>,
    /// `/proc/net/dev`.
    pub links: Option<Vec<Link>>,
    /// Counters of the cards' own.
    pub cards: Option<Vec<CardCounter>>,
    /// `/proc/net/snmp` and `/proc/net/netstat`, the part about TCP.
    pub tcp: Option<Vec<Counter>>,
    /// Sockets of each network namespace.
    pub sockets: Option<Vec<Sockets>>,
    /// `/proc/meminfo`.
    pub memory: Option<Memory>,
    /// Control groups with a quota of processor time.
    pub throttled: Option<Vec<Throttled>>,
    /// Where threads were that waited or spun, at moments when something was to be seen.
    pub stacks: Vec<Stack>,
    /// Files of those who did much IO, at such moments.
    pub files: Vec<OpenFile>,
    /// Who wrote kernel parameters since the sample before.
    pub writes: Vec<ParameterWrite>,
    /// What programs said of themselves, which had ended then.
    pub said: Vec<Said>,
    /// Who ended since the watch began; only where the kernel was asked to tell, which is at the end of it.
    pub ended: Option<Vec<Ended>>,
}

impl Sample {
    /// Ticks in which a processor did something, all together.
    fn used(&self) -> Option<u64> {
        let times = self.stat.as_ref()?.total;
        (times.all() > 0).then(|| times.all().saturating_sub(times.unused()))
    }

    /// How many processors were busy from that sample to this one, on the average.
    pub fn busy_since(&self, before: &Sample) -> Option<f64> {
        let span = self.moment.steady.checked_sub(before.moment.steady).filter(|span| !span.is_zero())?;
        Some(self.used()?.checked_sub(before.used()?)? as f64 / 100.0 / span.as_secs_f64())
    }
}

/// What processors had counted that go off: when they come back they go on from there.
fn remember_off(samples: &mut [Sample]) {
    let mut known: BTreeMap<u32, Times> = BTreeMap::new();
    for stat in samples.iter_mut().filter_map(|sample| sample.stat.as_mut()) {
        let is_off = |cpu: &u32| !stat.cpus.iter().any(|(other, _)| other == cpu);
        let off = known.iter().filter(|(cpu, _)| is_off(cpu)).map(|(cpu, times)| (*cpu, *times)).collect();
        known.extend(stat.cpus.iter().copied());
        stat.off = off;
    }
}

/// Samples in their order: of a running system for a while, or of what was written down of one.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// At least one. With one alone there are states, and no rates.
    pub samples: Vec<Sample>,
    /// Where the files of the last moment are: `/proc`.
    pub place: PathBuf,
}

/// One count of the kernel's, seen by a change of the average of one minute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Count {
    /// Which sample is the first after it.
    pub before: usize,
    /// How many threads it was of, to an eighth; see [`counted`].
    pub threads: f64,
}

impl Window {
    /// The last sample.
    pub fn last(&self) -> Option<&Sample> {
        self.samples.last()
    }

    /// How long it is; `None` with one sample, and where the clock stood still or went back in it.
    pub fn span(&self) -> Option<Duration> {
        let steady = || self.samples.iter().map(|sample| sample.moment.steady);
        let goes_on = steady().zip(steady().skip(1)).all(|(before, after)| before <= after);
        let span = steady().next_back()?.checked_sub(steady().next()?)?;
        (goes_on && !span.is_zero()).then_some(span)
    }

    /// By how many seconds somebody set the clock of the day in it, forwards or back; `None` below one second.
    pub fn clock_was_set(&self) -> Option<f64> {
        let (first, last) = (self.samples.first()?.moment, self.last()?.moment);
        let seconds = |time: Duration| time.as_secs_f64();
        let by = (seconds(last.wall) - seconds(first.wall)) - (seconds(last.steady) - seconds(first.steady));
        (by.abs() >= 1.0).then_some(by)
    }

    /// By how much a counter grew. `None` with one sample, where a sample lacks it, and where it went back or wrapped: what it
    /// was in between nobody knows.
    pub fn growth(&self, of: impl Fn(&Sample) -> Option<u64>) -> Option<u64> {
        let mut values = self.samples.iter().map(of);
        let first = values.next()??;
        let mut last = None;
        for value in values {
            let value = value?;
            if value < last.unwrap_or(first) {
                return None;
            }
            last = Some(value);
        }
        last?.checked_sub(first)
    }

    /// The same a second.
    pub fn rate(&self, of: impl Fn(&Sample) -> Option<u64>) -> Option<f64> {
        Some(self.growth(of)? as f64 / self.span()?.as_secs_f64())
    }

    /// How many processors were busy on the average.
    pub fn busy(&self) -> Option<f64> {
        Some(self.rate(Sample::used)? / 100.0)
    }

    /// Processes and threads that are made, a second.
    pub fn made(&self) -> Option<f64> {
        let by_stat = self.rate(|sample| sample.stat.as_ref()?.made);
        // Numbers begin anew at pid_max, which looks as if they went back.
        by_stat.or_else(|| self.rate(|sample| Some(sample.load?.last_pid).filter(|pid| *pid > 0)))
    }

    /// The counts that the kernel made in it, as far as an average shows them: a count that leaves it as it was does not.
    pub fn counts(&self) -> Vec<Count> {
        let pairs = self.samples.iter().zip(self.samples.iter().skip(1)).enumerate();
        pairs
            .filter_map(|(index, (before, after))| {
                let (before, after) = (before.load?.averages, after.load?.averages);
                let threads = counted(before[0], after[0]);
                (before != after).then_some(Count { before: index + 1, threads })
            })
            .collect()
    }

    /// The samples in which the threads were looked at.
    pub fn looks(&self) -> impl Iterator<Item = &Threads> {
        self.samples.iter().filter_map(|sample| sample.threads.as_ref())
    }

    /// The time that each thread had of the processors from the first look at all of them to when it was last seen, in ticks,
    /// with what `of` tells; of one that began later, all of its time. Those are left out whose numbers went back.
    pub fn growths(&self, of: impl Fn(&Thread) -> u64) -> Option<(Growths, Duration)> {
        let is_whole = |sample: &Sample| sample.threads.as_ref().is_some_and(|all| all.is_all);
        let (first, last) = (self.samples.iter().position(is_whole)?, self.samples.iter().rposition(is_whole)?);
        self.span()?;
        let whole = self.samples.get(first..=last)?;
        let (first, later) = whole.split_first()?;
        let span = later.last()?.moment.steady.checked_sub(first.moment.steady).filter(|span| !span.is_zero())?;
        let before: HashMap<_, _> =
            first.threads.iter().flat_map(|all| &all.list).map(|thread| (thread.identity(), of(thread))).collect();
        let mut now = HashMap::new();
        for thread in later.iter().filter_map(|sample| sample.threads.as_ref()).flat_map(|all| &all.list) {
            now.insert(thread.identity(), of(thread));
        }
        let grown = now
            .into_iter()
            .filter_map(|(who, now)| Some((who, now.checked_sub(before.get(&who).copied().unwrap_or(0))?)));
        Some((grown.collect(), span))
    }
}

#[cfg(test)]
mod tests;
