//! All that a screen tells of one moment, in numbers: what is not known is `None`.

mod rows;

use std::collections::BTreeSet;
use std::time::Duration;

use sickbay_formats::procfs::loadavg::LoadAvg;
use sickbay_formats::procfs::mib;
use sickbay_formats::procfs::pressure::Pressure;

use self::rows::{add_parents, doers, hot, interval, links, softnet};
use crate::facts::cpu::load::{Group, Load};
use crate::facts::cpu::usage::{Usage, User};
use crate::facts::episode::Step;
use crate::facts::io::devices::Devices;
use crate::sample::rates::{Cpus, Interval};
use crate::sample::{Memory, Sample, Window};

/// Who uses and who waits is told of so long a time.
const OVER: Duration = Duration::from_secs(5);

/// What is looked at seldom is told of if it is no older than this.
const LATE: Duration = Duration::from_secs(12);

/// So much before the moment may be of use: who was seen before.
const BEFORE: Duration = Duration::from_secs(60);

/// So many rows of each kind are kept.
const ROWS: usize = 48;

/// What waited for something, in percent of the time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stalls {
    /// Somebody did.
    pub some: Option<f64>,
    /// Everybody did.
    pub full: Option<f64>,
}

/// A disk.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DiskRow {
    /// Its name.
    pub name: String,
    /// Percent of the time.
    pub util: Option<f64>,
    /// Reads a second.
    pub reads: Option<f64>,
    /// Writes a second.
    pub writes: Option<f64>,
    /// Both, where they are not told apart.
    pub transfers: Option<f64>,
    /// KiB a second.
    pub read_kb: Option<f64>,
    /// KiB a second.
    pub written_kb: Option<f64>,
    /// Milliseconds.
    pub wait: Option<f64>,
    /// How many were on their way.
    pub queue: Option<f64>,
}

/// A process that reads and writes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Doer {
    /// Its number.
    pub pid: u32,
    /// Its name.
    pub name: String,
    /// Bytes a second.
    pub read: Option<f64>,
    /// Bytes a second.
    pub written: Option<f64>,
    /// On which disk, as far as that is known.
    pub disk: Option<String>,
    /// A file of it there.
    pub file: Option<String>,
}

/// An interface.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LinkRow {
    /// Its name.
    pub name: String,
    /// Bytes a second that came in.
    pub received: Option<f64>,
    /// Bytes a second that went out.
    pub sent: Option<f64>,
    /// Packets a second that came in.
    pub packets_in: Option<f64>,
    /// Packets a second that went out.
    pub packets_out: Option<f64>,
    /// Dropped or in error, a second, both ways.
    pub lost: Option<f64>,
}

/// An interrupt or a softirq and the CPU that has most of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hot {
    /// Its number, or what the kernel calls it.
    pub name: String,
    /// Whose it is.
    pub about: String,
    /// Times a second on all CPUs.
    pub total: f64,
    /// The CPU, and what part of it all, in percent.
    pub cpu: Option<(u32, f64)>,
}

/// What packets that came in met.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Softnet {
    /// A second.
    pub processed: Option<f64>,
    /// Dropped, for the backlog was full.
    pub dropped: Option<f64>,
    /// How often time ran out.
    pub squeezed: Option<f64>,
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scene {
    /// By the clock of the day.
    pub at: Duration,
    /// The time that rates are of.
    pub span: Option<Duration>,
    /// The time that users and waits are of.
    pub over: Duration,
    /// CPUs that are online.
    pub cpus: Option<usize>,
    /// `/proc/loadavg`.
    pub load: Option<LoadAvg>,
    /// Threads that wait for a disk, by the kernel's count.
    pub blocked: Option<u64>,
    /// Processes made a second.
    pub made: Option<f64>,
    /// Who makes the load; `None` where nobody looked.
    pub groups: Option<Vec<Group>>,
    /// All that they are.
    pub active: f64,
    /// What the CPUs did.
    pub shares: Option<Cpus>,
    /// CPU, IO, memory; `None` without PSI.
    pub stalls: [Option<Stalls>; 3],
    /// `/proc/meminfo`.
    pub memory: Option<Memory>,
    /// Whole disks that did something, or may.
    pub disks: Option<Vec<DiskRow>>,
    /// Who reads and writes; `None` where nobody was asked.
    pub doers: Option<(Vec<Doer>, Duration)>,
    /// The interfaces.
    pub links: Option<Vec<LinkRow>>,
    /// Packets.
    pub softnet: Option<Softnet>,
    /// Segments that were sent again, a second.
    pub again: Option<f64>,
    /// Who uses the CPUs; `None` where nobody looked.
    pub users: Option<Vec<User>>,
    /// CPUs that programs used which lived for moments, and interrupts.
    pub brief: Option<f64>,
    /// Interrupts, the most first.
    pub interrupts: Option<Vec<Hot>>,
    /// The same of softirqs.
    pub softirqs: Option<Vec<Hot>>,
    /// Control groups that stood still at their quota, and for how much of their periods, in percent.
    pub throttled: Vec<(String, f64)>,
}

impl Scene {
    /// What is known of the sample with that index, of a kernel of that version.
    pub fn of(samples: &[Sample], at: usize, version: (u32, u32), devices: &Devices) -> Scene {
        let Some(last) = samples.get(at) else { return Scene::default() };
        let part = |length: Duration| {
            // What is before a boot is of another machine, as it were.
            let is_part = |sample: &Sample| {
                last.moment.steady.checked_sub(sample.moment.steady).is_some_and(|before| before <= length)
            };
            let up_to = samples.get(..=at).unwrap_or_default();
            let from = up_to.iter().rposition(|sample| !is_part(sample)).map_or(0, |index| index + 1);
            up_to.get(from..).unwrap_or_default()
        };
        // Rates need two, however far apart they are.
        let enough = |least: Duration| {
            let near = part(least);
            if near.len() >= 2 { near } else { samples.get(at.saturating_sub(1)..=at).unwrap_or_default() }
        };
        let near = enough(BEFORE);
        let mut scene = Scene {
            at: last.moment.wall,
            load: last.load,
            blocked: last.stat.as_ref().and_then(|stat| stat.blocked),
            memory: last.memory,
            ..Scene::default()
        };
        scene.add_counters(near);
        let mut window = Window { samples: near.to_vec(), place: "/proc".into() };
        let up_to = samples.get(..=at).unwrap_or_default();
        add_parents(&mut window, up_to);
        scene.add_users(&window);
        scene.add_doers(&window, devices);
        let short = part(OVER);
        let looks = |samples: &[Sample]| samples.iter().filter(|sample| sample.threads.is_some()).count();
        let seen = if looks(short) > 0 { short } else { part(LATE) };
        if looks(seen) > 0 {
            let mut window = Window { samples: seen.to_vec(), place: "/proc".into() };
            add_parents(&mut window, up_to);
            if let Some(load) = Load::of(&window, version, &[]) {
                scene.active = load.groups.iter().filter(|group| !group.is_usual).map(Group::count).sum();
                scene.groups = Some(load.groups);
            }
        }
        scene
    }

    fn add_counters(&mut self, near: &[Sample]) {
        let interval = |has: &dyn Fn(&Sample) -> bool| interval(near, has);
        if let Some(interval) = interval(&|sample| sample.stat.is_some()) {
            self.span = Some(interval.span);
            self.shares = interval.cpus();
            self.made = interval.rate(|sample| sample.stat.as_ref()?.made);
        }
        let stat = near.iter().rev().find_map(|sample| sample.stat.as_ref());
        self.cpus = stat.map(|stat| stat.cpus.len()).filter(|cpus| *cpus > 0);
        let stalls = |of: fn(&Sample) -> Option<Pressure>| {
            let interval = interval(&|sample| of(sample).is_some())?;
            let share = |micros: Option<f64>| micros.map(|micros| (micros / 10_000.0).min(100.0));
            Some(Stalls {
                some: share(interval.rate(|sample| Some(of(sample)?.some?.total))),
                full: share(interval.rate(|sample| Some(of(sample)?.full?.total))),
            })
        };
        self.stalls = [
            stalls(|sample| sample.cpu_pressure),
            stalls(|sample| sample.io_pressure),
            stalls(|sample| sample.memory_pressure),
        ];
        self.links = interval(&|sample| sample.links.is_some()).and_then(|interval| links(&interval));
        self.softnet = interval(&|sample| sample.softnet.is_some()).and_then(|interval| softnet(&interval));
        let tables = interval(&|sample| sample.interrupts.is_some());
        self.interrupts = tables.and_then(|interval| Some(hot(interval.interrupts()?)));
        let tables = interval(&|sample| sample.softirqs.is_some());
        self.softirqs = tables.and_then(|interval| Some(hot(interval.softirqs()?)));
        self.again = interval(&|sample| sample.tcp.is_some())
            .and_then(|interval| interval.rate(|sample| mib::value(sample.tcp.as_ref()?, "Tcp.RetransSegs")));
        if let Some(interval) = interval(&|sample| sample.throttled.is_some()) {
            let before = || interval.before.throttled.iter().flatten();
            let mut all: Vec<(String, f64)> = Vec::new();
            for now in interval.after.throttled.iter().flatten() {
                let grew = before().find(|old| old.group == now.group).and_then(|old| {
                    Some((now.periods.checked_sub(old.periods)?, now.throttled.checked_sub(old.throttled)?))
                });
                if let Some((periods, throttled)) = grew.filter(|(periods, throttled)| *periods > 0 && *throttled > 0) {
                    all.push((now.group.clone(), throttled as f64 * 100.0 / periods as f64));
                }
            }
            all.sort_by(|one, other| other.1.total_cmp(&one.1));
            all.truncate(ROWS);
            self.throttled = all;
        }
    }

    fn add_users(&mut self, window: &Window) {
        let Some(last) = window.samples.len().checked_sub(1) else { return };
        let Some(end) = window.samples.last().map(|sample| sample.moment.steady) else { return };
        let is_within = |sample: &Sample| end.saturating_sub(sample.moment.steady) <= OVER;
        let first = window.samples.iter().position(is_within).unwrap_or(last).min(last.saturating_sub(1));
        let has = |index: &usize| window.samples.get(*index).is_some_and(|sample| sample.stat.is_some());
        let ends = (first..=last).find(has).zip((first..=last).rev().find(has)).filter(|(first, last)| first < last);
        let Some((first, last)) = ends else { return };
        let (Some(before), Some(after)) = (window.samples.get(first), window.samples.get(last)) else { return };
        let Some(interval) = Interval::between(before, after) else { return };
        self.over = interval.span;
        let looked = window.samples.get(first..=last).unwrap_or_default().iter().any(|one| one.threads.is_some());
        if let Some(usage) = Usage::of(window, &Step { first, last, interval }).filter(|_| looked) {
            self.brief = Some(usage.unknown());
            self.users = Some(usage.users);
        }
    }

    fn add_doers(&mut self, window: &Window, devices: &Devices) {
        let Some(disks) = interval(&window.samples, &|sample| sample.disks.is_some()) else { return };
        let rates = disks.disks().unwrap_or_default();
        let names: Vec<String> = rates.iter().map(|disk| disk.disk.name.to_string()).collect();
        let known: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        let mut rows: Vec<DiskRow> = Vec::new();
        for (name, disk) in names.iter().zip(&rates) {
            let is_idle = disk.transfers.is_some_and(|transfers| transfers == 0.0) && disk.disk.in_flight == 0;
            let is_plain = ["loop", "ram", "zram", "sr", "fd"].iter().any(|kind| name.starts_with(kind));
            if devices.disk_of(name, &known).is_some() || (is_idle && is_plain) {
                continue;
            }
            let (read_kb, written_kb, wait) = (disk.read_kb, disk.written_kb, disk.wait);
            let (reads, writes, transfers) = (disk.reads, disk.writes, disk.transfers);
            let (util, queue, name) = (disk.util, disk.queue, name.clone());
            rows.push(DiskRow { name, util, reads, writes, transfers, read_kb, written_kb, wait, queue });
        }
        let weight = |row: &DiskRow| {
            (
                row.util.unwrap_or(0.0),
                row.queue.unwrap_or(0.0),
                row.read_kb.unwrap_or(0.0) + row.written_kb.unwrap_or(0.0),
            )
        };
        rows.sort_by(|one, other| {
            weight(other).partial_cmp(&weight(one)).unwrap_or(std::cmp::Ordering::Equal).then(one.name.cmp(&other.name))
        });
        rows.truncate(ROWS);
        self.doers = doers(window, devices, &rows, &known);
        self.disks = Some(rows);
    }
}
