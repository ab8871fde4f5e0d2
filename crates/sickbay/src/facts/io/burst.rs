//! A time in which a disk had all it could do: when, how much of what, and who made it.

use std::collections::{BTreeSet, HashMap};

use crate::facts::episode::{Episode, STEP, Step, average, longest, steps};
use crate::facts::io::devices::Devices;
use crate::sample::rates::DiskRates;
use crate::sample::{OpenFile, Sample, Window};

/// What a disk did in that time, on the average, as it was measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rates {
    /// Reads and writes a second.
    pub transfers: Option<f64>,
    /// Reads.
    pub reads: Option<f64>,
    /// Writes.
    pub writes: Option<f64>,
    /// KiB a second that were read.
    pub read_kb: Option<f64>,
    /// KiB a second that were written.
    pub written_kb: Option<f64>,
    /// Milliseconds that each took.
    pub wait: Option<f64>,
    /// How many were on their way.
    pub queue: Option<f64>,
    /// Percent of the time in which at least one was.
    pub util: Option<f64>,
}

/// The limit that something stops at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// Reads and writes a second.
    Iops(f64),
    /// Millions of bytes a second.
    Megabytes(f64),
}

/// A process and what it had read and written meanwhile.
#[derive(Clone, Debug, PartialEq)]
pub struct Doer {
    /// Its number.
    pub pid: u32,
    /// When it began, in ticks since the machine did.
    pub began: u64,
    /// Its name.
    pub name: String,
    /// Bytes.
    pub read: f64,
    /// Bytes.
    pub written: f64,
    /// Percent of what all processes did.
    pub share: f64,
    /// Files that it had open on that disk.
    pub files: Vec<OpenFile>,
}

/// A time in which a disk was busy in full.
#[derive(Clone, Debug, PartialEq)]
pub struct Burst {
    /// The disk: no partition, and nothing that lies upon others.
    pub disk: String,
    /// When.
    pub episode: Episode,
    /// As it was measured.
    pub rates: Rates,
    /// How often longer the time was than it was taken for, where the disk was busy for more than all of it.
    pub stretch: Option<f64>,
    /// Whether it stops at a limit, no more and no less, while more waits.
    pub limit: Option<Limit>,
    /// In how much of the time somebody waited for a disk, in percent; `None` without PSI.
    pub pressure: Option<f64>,
    /// Who did it, the most first. Empty where nobody was asked.
    pub doers: Vec<Doer>,
    /// Whether processes were asked at all.
    pub asked: bool,
}

/// From so many percent of the time on it is busy in full.
const BUSY: f64 = 90.0;
/// Where `util` is not known, with so many on their way it is.
const QUEUE: f64 = 4.0;
/// With so many on their way all the time it is, too, though `util` may say so little.
const CROWD: f64 = 8.0;
/// See there.
const TICKS: f64 = 20.0;
/// Above this it is no rounding.
const TOO_MUCH: f64 = 100.5;
/// Of fewer steps no limit follows.
const STEPS: usize = 8;
/// By no more than this part a limit wavers.
const FLAT: f64 = 0.02;

impl Rates {
    fn of(steps: &[Step<'_>], disk: &str) -> Rates {
        let mean = |of: fn(&DiskRates<'_>) -> Option<f64>| average(steps, |step| of(rates(step, disk).as_ref()?));
        Rates {
            transfers: mean(|rates| rates.transfers),
            reads: mean(|rates| rates.reads),
            writes: mean(|rates| rates.writes),
            read_kb: mean(|rates| rates.read_kb),
            written_kb: mean(|rates| rates.written_kb),
            wait: mean(|rates| rates.wait),
            queue: mean(|rates| rates.queue),
            util: mean(|rates| rates.util),
        }
    }

    /// KiB a second, read and written.
    pub fn kb(&self) -> Option<f64> {
        match (self.read_kb, self.written_kb) {
            (None, None) => None,
            (read, written) => Some(read.unwrap_or(0.0) + written.unwrap_or(0.0)),
        }
    }

    /// The queue by Little's law: how many come a second, times how long each stays.
    pub fn little(&self) -> Option<f64> {
        Some(self.transfers? * self.wait? / 1000.0)
    }

    /// The same over a time that was longer: what is counted a second becomes less, what each took does not.
    pub fn stretched(&self, by: f64) -> Rates {
        let less = |value: Option<f64>| value.map(|value| value / by);
        Rates {
            transfers: less(self.transfers),
            reads: less(self.reads),
            writes: less(self.writes),
            read_kb: less(self.read_kb),
            written_kb: less(self.written_kb),
            wait: self.wait,
            queue: less(self.queue),
            util: less(self.util),
        }
    }
}

/// What a disk did in a step.
fn rates<'w>(step: &Step<'w>, disk: &str) -> Option<DiskRates<'w>> {
    step.interval.disks()?.into_iter().find(|rates| rates.disk.name == disk.as_bytes())
}

/// The steps of a window in which disks are known.
pub fn disk_steps(window: &Window) -> Vec<Step<'_>> {
    steps(window, STEP, |sample| sample.disks.is_some())
}

/// The names of the devices of a window.
pub fn names(window: &Window) -> BTreeSet<String> {
    let disks = window.samples.iter().rev().find_map(|sample| sample.disks.as_ref());
    disks.into_iter().flatten().map(|disk| disk.name.to_string()).collect()
}

impl Burst {
    /// Of every disk the longest time in which it was busy in full, the longest first.
    pub fn all(window: &Window, devices: &Devices) -> Vec<Burst> {
        let steps = disk_steps(window);
        let all = names(window);
        let known: BTreeSet<&str> = all.iter().map(String::as_str).collect();
        let whole = all.iter().filter(|name| devices.disk_of(name, &known).is_none());
        let bursts = whole.filter_map(|disk| Some((disk, longest(&steps, |step| is_busy(step, disk))?)));
        let mut found: Vec<(&String, Episode)> = bursts.collect();
        // What lies upon others does what they do: the culprit is beneath, unless that has time to spare.
        let busy: BTreeSet<String> = found.iter().map(|(disk, _)| (*disk).clone()).collect();
        let is_real = |name: &str| !name.starts_with("dm-") && !name.starts_with("loop");
        found.retain(|(disk, _)| {
            let below = devices.disks_of(disk, &known);
            let is_known = devices.is_upon(disk);
            let is_below_busy =
                if is_known { !below.is_disjoint(&busy) } else { busy.iter().any(|other| is_real(other)) };
            (is_real(disk) && !is_known) || !is_below_busy
        });
        found.sort_by_key(|(_, episode)| std::cmp::Reverse(episode.length));
        found.into_iter().map(|(disk, episode)| Burst::of(window, &steps, disk, episode, devices, &known)).collect()
    }

    fn of(
        window: &Window,
        steps: &[Step<'_>],
        disk: &str,
        episode: Episode,
        devices: &Devices,
        known: &BTreeSet<&str>,
    ) -> Burst {
        let part = episode.of(steps);
        let measured = Rates::of(part, disk);
        let util = measured.util.filter(|util| *util > TOO_MUCH);
        let whole = episode.whole(steps);
        let stalled = whole.and_then(|whole| whole.interval.rate(|sample| Some(sample.io_pressure?.some?.total)));
        let (mut doers, asked) = doers(window, whole.as_ref());
        let samples = whole.and_then(|whole| window.samples.get(whole.first..=whole.last)).unwrap_or_default();
        for doer in &mut doers {
            doer.files = files(samples, doer, disk, devices, known);
        }
        Burst {
            disk: disk.to_owned(),
            limit: limit(part, disk),
            rates: measured,
            stretch: util.map(|util| util / 100.0),
            pressure: stalled.map(|micros| micros / 10_000.0),
            doers,
            asked,
            episode,
        }
    }

    /// What it did, over the time that it was really measured in.
    pub fn corrected(&self) -> Rates {
        self.stretch.map_or_else(|| self.rates.clone(), |by| self.rates.stretched(by))
    }
}

fn is_busy(step: &Step<'_>, disk: &str) -> bool {
    let Some(rates) = rates(step, disk) else { return false };
    // One that is asked for nothing may count what never ends: another fault, or a mistake of the kernel's.
    let works = rates.transfers.is_none_or(|transfers| transfers > 0.0);
    let has_queue = |least: f64| rates.queue.is_some_and(|queue| queue >= least);
    // From 5.0 on the kernel counts busy time by ticks, and misses much of what is short. Those kernels have PSI, too.
    let by_ticks = step.interval.after.io_pressure.is_some();
    works
        && match rates.util {
            Some(util) => util >= BUSY || (by_ticks && util >= TICKS && has_queue(CROWD)),
            None => has_queue(QUEUE),
        }
}

/// Whether a disk does the same all the time while more waits.
fn limit(part: &[Step<'_>], disk: &str) -> Option<Limit> {
    // The first and the last step are partly of what was before and after.
    let part = part.get(1..part.len().checked_sub(1)?)?;
    if part.len() < STEPS {
        return None;
    }
    let waits = average(part, |step| rates(step, disk)?.queue).is_some_and(|queue| queue >= QUEUE);
    let flat = |of: &dyn Fn(&DiskRates<'_>) -> Option<f64>| {
        let value = |step: &Step<'_>| {
            let rates = rates(step, disk)?;
            // A step that was measured too short has too much of everything.
            let by = rates.util.filter(|util| *util > TOO_MUCH).map_or(1.0, |util| util / 100.0);
            Some(of(&rates)? / by)
        };
        let mean = average(part, value).filter(|mean| *mean > 0.0)?;
        let spread = average(part, |step| Some((value(step)? - mean).powi(2)))?.sqrt();
        (spread <= mean * FLAT).then_some(mean)
    };
    if !waits {
        return None;
    }
    let iops = flat(&|rates| rates.transfers).filter(|iops| *iops >= 50.0).map(Limit::Iops);
    let megabytes = flat(&|rates| Some((rates.read_kb? + rates.written_kb?) * 1.024 / 1000.0));
    iops.or(megabytes.filter(|megabytes| *megabytes >= 5.0).map(Limit::Megabytes))
}

/// Sizes at which clouds sell disks.
const IOPS: [f64; 18] = [
    100.0, 120.0, 240.0, 500.0, 600.0, 1000.0, 1100.0, 2300.0, 3000.0, 5000.0, 7500.0, 10_000.0, 16_000.0, 20_000.0,
    25_000.0, 50_000.0, 64_000.0, 100_000.0,
];
/// The same in millions of bytes a second.
const MEGABYTES: [f64; 12] = [25.0, 50.0, 60.0, 90.0, 100.0, 125.0, 150.0, 200.0, 250.0, 350.0, 500.0, 750.0];

impl Limit {
    /// The round number that it is close to, if clouds sell that.
    pub fn sold(self) -> Option<f64> {
        let (value, list): (f64, &[f64]) = match self {
            Limit::Iops(value) => (value, &IOPS),
            Limit::Megabytes(value) => (value, &MEGABYTES),
        };
        // Some count MiB.
        let is_near = |known: f64| (value / known - 1.0).abs() <= 0.03;
        list.iter()
            .copied()
            .find(|known| is_near(*known) || (matches!(self, Limit::Megabytes(_)) && is_near(known * 1.048_576)))
    }
}

/// Who read and wrote meanwhile, and whether anybody was asked.
fn doers(window: &Window, part: Option<&Step<'_>>) -> (Vec<Doer>, bool) {
    let Some(part) = part else { return (Vec::new(), false) };
    let (from, to) = (part.interval.before.moment.steady, part.interval.after.moment.steady);
    let mut sums: HashMap<(u32, u64), Doer> = HashMap::new();
    let mut asked = false;
    for interval in window.intervals_with(|sample| sample.io.is_some()) {
        let (begins, ends) = (interval.before.moment.steady, interval.after.moment.steady);
        if ends <= from || begins >= to {
            continue;
        }
        asked = true;
        let seconds = interval.span.as_secs_f64();
        for rates in interval.io().into_iter().flatten() {
            let process = rates.process;
            let doer = sums.entry((process.pid, process.began)).or_insert_with(|| Doer {
                pid: process.pid,
                began: process.began,
                name: process.name.to_string(),
                read: 0.0,
                written: 0.0,
                share: 0.0,
                files: Vec::new(),
            });
            let lost = rates.cancelled.unwrap_or(0.0).min(rates.written.unwrap_or(0.0));
            doer.read += rates.read.unwrap_or(0.0) * seconds;
            doer.written += (rates.written.unwrap_or(0.0) - lost) * seconds;
        }
    }
    let mut doers: Vec<Doer> = sums.into_values().filter(|doer| doer.read + doer.written > 0.0).collect();
    let all: f64 = doers.iter().map(|doer| doer.read + doer.written).sum();
    doers.sort_by(|one, other| {
        (other.read + other.written).total_cmp(&(one.read + one.written)).then(one.pid.cmp(&other.pid))
    });
    doers.truncate(16);
    for doer in &mut doers {
        doer.share = (doer.read + doer.written) * 100.0 / all;
    }
    (doers, asked)
}

/// The files of a process that are on a disk, as far as they were written down.
fn files(samples: &[Sample], doer: &Doer, disk: &str, devices: &Devices, known: &BTreeSet<&str>) -> Vec<OpenFile> {
    let mut found: Vec<OpenFile> = Vec::new();
    let own =
        samples.iter().flat_map(|sample| &sample.files).filter(|file| (file.pid, file.began) == (doer.pid, doer.began));
    for file in own.filter(|file| is_on(file, disk, devices, known)) {
        match found.iter_mut().find(|other| other.descriptor == file.descriptor && other.path == file.path) {
            Some(other) => *other = file.clone(),
            None => found.push(file.clone()),
        }
    }
    found
}

/// Whether an open file is on a disk, or is that disk; where it is not known on which device it is, it may be.
pub fn is_on(file: &OpenFile, disk: &str, devices: &Devices, known: &BTreeSet<&str>) -> bool {
    let Some(path) = file.path.to_str() else { return false };
    if !path.starts_with('/') {
        // Of a command line it is known by its name alone; pipe:[7] and their kind are on no disk.
        return file.device.is_none() && !path.is_empty() && !path.contains(':');
    }
    if let Some(node) = path.strip_prefix("/dev/") {
        return node == disk || devices.disks_of(node, known).contains(disk);
    }
    if ["/proc/", "/sys/", "/dev", "/memfd:"].iter().any(|start| path.starts_with(start)) {
        return false;
    }
    match file.device.and_then(|device| devices.named(device)) {
        Some(name) => name == disk || devices.disks_of(name, known).contains(disk),
        // Of what is no disk (tmpfs, NFS) there is a number, and no device.
        None => file.device.is_none_or(|(major, _)| major != 0 && devices.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sickbay_formats::procfs::diskstats::Disk;
    use sickbay_formats::procfs::task_io::Io;

    use super::*;
    use crate::sample::{Name, ProcessIo};

    /// A disk that did that a second, each second, for so long.
    fn window(seconds: u64, each: impl Fn(u64) -> (u64, u64, u64, u64, u64)) -> Window {
        let mut disk = Disk { name: "vdb".into(), device: (254, 16), ..Disk::default() };
        let part = Disk { name: "vdb1".into(), device: (254, 17), ..Disk::default() };
        let mut io = Io::default();
        let mut samples = Vec::new();
        for second in 0..=seconds {
            let mut sample = Sample::default();
            sample.moment.steady = Duration::from_secs(100 + second);
            sample.moment.wall = Duration::from_secs(1_528_770_900 + second);
            let same = Disk { name: part.name.clone(), device: part.device, ..disk.clone() };
            sample.disks = Some(vec![disk.clone(), same]);
            sample.io = Some(vec![ProcessIo { pid: 11974, began: 7, name: Name::of(b"fio"), io }]);
            samples.push(sample);
            let (writes, sectors, busy, weighted, took) = each(second);
            disk.writes += writes;
            disk.sectors_written += sectors;
            disk.busy_ms += busy;
            disk.weighted_ms += weighted;
            disk.write_ms += took;
            io.write_bytes += sectors * 512;
        }
        Window { samples, place: "/proc".into() }
    }

    #[test]
    fn the_burst_of_the_book() {
        // 2823.69 w/s, 2837.63 kB/s, 47.00 ms, a queue of 132.97 and a util of 104.53 %: over three seconds that were 3.136.
        let window = window(3, |_| (2824, 5675, 1045, 132_970, 132_728));
        let bursts = Burst::all(&window, &Devices::default());
        let [burst] = bursts.as_slice() else { panic!("{bursts:?}") };
        assert_eq!((burst.disk.as_str(), burst.stretch, burst.pressure), ("vdb", Some(1.045), None));
        let rates = burst.corrected();
        let near = |value: Option<f64>, wanted: f64| value.is_some_and(|value| (value / wanted - 1.0).abs() < 0.008);
        // fio itself said 2722 and 2722.8 KB/s, iotop 2.64 M/s.
        assert!(near(rates.written_kb, 2722.8) && near(rates.written_kb, 2.64 * 1024.0), "{rates:?}");
        assert!(near(rates.transfers, 2702.0) && near(burst.rates.little(), 132.97), "{rates:?}");
        assert_eq!((burst.doers[0].pid, burst.doers[0].share, burst.limit), (11974, 100.0, None));
    }

    #[test]
    fn a_flat_top_is_a_limit() {
        let flat = window(20, |second| {
            if second == 0 { (100, 800, 100, 1, 1) } else { (3000 + second % 3, 24_000, 1000, 64_000, 60_000) }
        });
        let bursts = Burst::all(&flat, &Devices::default());
        let limit = bursts[0].limit.expect("a limit");
        assert!(matches!(limit, Limit::Iops(iops) if (iops - 3001.0).abs() < 1.0), "{limit:?}");
        assert_eq!(
            (limit.sold(), Limit::Iops(2715.0).sold(), Limit::Megabytes(131.0).sold()),
            (Some(3000.0), None, Some(125.0))
        );
        assert_eq!((bursts[0].episode.is_open_before, bursts[0].episode.length), (false, Duration::from_secs(19)));
        // What a disk of its own does goes up and down.
        let uneven = window(20, |second| (3000 + second % 5 * 100, 24_000 + second % 7 * 900, 1000, 64_000, 60_000));
        assert_eq!(Burst::all(&uneven, &Devices::default())[0].limit, None);
        // Nobody waits: what is flat is what is asked for.
        let calm = window(20, |_| (3000, 24_000, 1000, 900, 900));
        assert_eq!(Burst::all(&calm, &Devices::default())[0].limit, None);
    }

    #[test]
    fn a_disk_with_little_to_do() {
        assert_eq!(Burst::all(&window(5, |_| (100, 800, 400, 500, 400)), &Devices::default()), []);
        // A counter that never ends, and nothing that does.
        assert_eq!(Burst::all(&window(5, |_| (0, 0, 1000, 1000, 0)), &Devices::default()), []);
    }
}
