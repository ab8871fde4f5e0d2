//! What happened from one sample to the next, a second or in percent, under the names that sysstat made usual. What cannot be
//! known is `None`: a counter that went back or wrapped, what one of the samples lacks, what the source does not tell apart.
//! Nothing is cut: a disk that was busy for 104 % of the time was measured with a wrong interval, and that is worth knowing.

use std::collections::HashMap;
use std::time::Duration;

use sickbay_formats::procfs::diskstats::Disk;
use sickbay_formats::procfs::interrupts::{Interrupts, Row};
use sickbay_formats::procfs::net_dev::Carried;
use sickbay_formats::procfs::softnet::Softnet;
use sickbay_formats::procfs::stat::{Lumped, Stat, Times};

use super::{Identity, Name, ProcessIo, Sample, Thread, Window};

/// Two samples, one after the other, with time between them.
#[derive(Clone, Copy, Debug)]
pub struct Interval<'a> {
    /// The earlier.
    pub before: &'a Sample,
    /// The later.
    pub after: &'a Sample,
    /// The time from the one to the other, by the clock that nobody sets; never zero.
    pub span: Duration,
}

/// What a processor, or all of them, did, in percent of its time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Shares {
    /// Programs.
    pub user: f64,
    /// Programs with a lowered priority; `None` where the source counts them with the others.
    pub nice: Option<f64>,
    /// The kernel; where the source does not tell `irq` and `softirq`, they are in it.
    pub system: f64,
    /// Nothing, while something waited for a disk.
    pub iowait: f64,
    /// Interrupts.
    pub irq: Option<f64>,
    /// What interrupts leave for later.
    pub softirq: Option<f64>,
    /// The hypervisor gave it to others.
    pub steal: f64,
    /// Nothing.
    pub idle: f64,
}

impl Shares {
    fn of(before: &Times, after: &Times, lumped: Lumped) -> Option<Shares> {
        let grew = |of: fn(&Times) -> u64| of(after).checked_sub(of(before));
        // Time that is not used is a sum over sleeps that others end; it may go back by a little and is none then.
        let unused = |of: fn(&Times) -> u64| match of(before).saturating_sub(of(after)) {
            0..=SLACK => Some(of(after).saturating_sub(of(before))),
            _ => None,
        };
        let (user, nice, system) = (grew(|t| t.user)?, grew(|t| t.nice)?, grew(|t| t.system)?);
        let (irq, softirq, steal) = (grew(|t| t.irq)?, grew(|t| t.softirq)?, grew(|t| t.steal)?);
        let (iowait, idle) = (unused(|t| t.iowait)?, unused(|t| t.idle)?);
        let all =
            [user, nice, system, irq, softirq, steal, iowait, idle].into_iter().try_fold(0_u64, u64::checked_add)?;
        let percent = |part: u64| part as f64 * 100.0 / all as f64;
        (all > 0).then(|| Shares {
            user: percent(user),
            nice: (lumped < Lumped::NiceToo).then(|| percent(nice)),
            system: percent(system),
            iowait: percent(iowait),
            irq: (lumped < Lumped::Interrupts).then(|| percent(irq)),
            softirq: (lumped < Lumped::Interrupts).then(|| percent(softirq)),
            steal: percent(steal),
            idle: percent(idle),
        })
    }

    /// The part in which it did something, in percent.
    pub fn busy(&self) -> f64 {
        (100.0 - self.idle - self.iowait).max(0.0)
    }
}

/// By so many ticks a time that is not used may go back (cpu-load.rst).
const SLACK: u64 = 100;

/// The processors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cpus {
    /// All together.
    pub all: Option<Shares>,
    /// Each that is in both samples; `None` where it cannot be told, of one that went off and on again for example.
    pub each: Vec<(u32, Option<Shares>)>,
}

impl Cpus {
    /// The one that had least to spare, and its shares.
    pub fn busiest(&self) -> Option<(u32, Shares)> {
        let known = self.each.iter().filter_map(|(cpu, shares)| Some((*cpu, (*shares)?)));
        known.min_by(|one, other| one.1.idle.total_cmp(&other.1.idle))
    }
}

/// A disk, by `iostat`'s names.
#[derive(Clone, Debug, PartialEq)]
pub struct DiskRates<'a> {
    /// Its counters at the end.
    pub disk: &'a Disk,
    /// Reads and writes together, a second: tps.
    pub transfers: Option<f64>,
    /// `r/s`.
    pub reads: Option<f64>,
    /// `w/s`.
    pub writes: Option<f64>,
    /// `rkB/s`.
    pub read_kb: Option<f64>,
    /// `wkB/s`.
    pub written_kb: Option<f64>,
    /// Milliseconds that a read or write took: `await`. `None` when there was none.
    pub wait: Option<f64>,
    /// `r_await`.
    pub read_wait: Option<f64>,
    /// `w_await`.
    pub write_wait: Option<f64>,
    /// How many were on their way, on the average: `aqu-sz`.
    pub queue: Option<f64>,
    /// Percent of the time in which at least one was: `util`. Above 100 where the interval was not what it was taken for.
    pub util: Option<f64>,
}

/// What a process had read and written from disks, a second.
#[derive(Clone, Debug, PartialEq)]
pub struct IoRates<'a> {
    /// Its counters at the end.
    pub process: &'a ProcessIo,
    /// Bytes.
    pub read: Option<f64>,
    /// Bytes.
    pub written: Option<f64>,
    /// Bytes that were never written after all.
    pub cancelled: Option<f64>,
}

/// The time that a thread, or a process, had of the processors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CpuRate {
    /// The process.
    pub pid: u32,
    /// The thread; of a process, its number again.
    pub id: u32,
    /// When the thread, or the first that was seen of the process, began.
    pub began: u64,
    /// Who made it.
    pub parent: u32,
    /// Its name; of a process, that of its leader, else of one of its threads.
    pub name: Name,
    /// Percent of one processor.
    pub cpu: f64,
}

/// An interrupt, or a softirq.
#[derive(Clone, Debug, PartialEq)]
pub struct InterruptRates<'a> {
    /// Its row at the end, with name and owners.
    pub row: &'a Row,
    /// Each processor that is in both samples, with how often a second. Empty for those that are counted once for all.
    pub each: Vec<(u32, Option<f64>)>,
    /// All together; `None` when that of one processor is.
    pub total: Option<f64>,
}

/// What a processor did with packets that came in, a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SoftnetRates {
    /// The processor; `None` on kernels that do not say.
    pub cpu: Option<u32>,
    /// Taken in.
    pub processed: Option<f64>,
    /// Dropped since the backlog was full.
    pub dropped: Option<f64>,
    /// How often time or budget ran out.
    pub squeezed: Option<f64>,
    /// How often another processor woke it.
    pub received_rps: Option<f64>,
    /// Dropped for the flow limit.
    pub flow_limit: Option<f64>,
}

/// One direction of an interface, a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CarriedRates {
    /// Bytes.
    pub bytes: Option<f64>,
    /// Packets.
    pub packets: Option<f64>,
    /// Errors.
    pub errors: Option<f64>,
    /// Dropped.
    pub dropped: Option<f64>,
}

impl Window {
    /// From each sample to the next; where the clock stood still or went back nothing is known, and there is none.
    pub fn intervals(&self) -> impl Iterator<Item = Interval<'_>> {
        self.intervals_with(|_| true)
    }

    /// The same, passing over samples that lack what is asked for: in a window made of several sources each sample has
    /// something else, and threads are not looked at in every one.
    pub fn intervals_with(&self, has: impl Fn(&Sample) -> bool + Clone) -> impl Iterator<Item = Interval<'_>> {
        let some = || {
            self.samples.iter().filter({
                let has = has.clone();
                move |sample| has(sample)
            })
        };
        let pairs: Vec<_> = some().zip(some().skip(1)).collect();
        pairs.into_iter().filter_map(|(before, after)| Interval::between(before, after))
    }

    /// From the first sample that has it to the last, as one interval.
    pub fn whole_with(&self, has: impl Fn(&Sample) -> bool) -> Option<Interval<'_>> {
        let mut some = self.samples.iter().filter(|sample| has(sample));
        let before = some.next()?;
        // What went back in between is not known, whatever it came to later.
        self.span()?;
        Interval::between(before, some.next_back()?)
    }
}

impl<'a> Interval<'a> {
    /// `None` where the clock stood still or went back.
    pub fn between(before: &'a Sample, after: &'a Sample) -> Option<Interval<'a>> {
        let span = after.moment.steady.checked_sub(before.moment.steady).filter(|span| !span.is_zero())?;
        Some(Interval { before, after, span })
    }

    /// When it began, by the clock of the day.
    pub fn from(&self) -> Duration {
        self.before.moment.wall
    }

    /// When it ended.
    pub fn to(&self) -> Duration {
        self.after.moment.wall
    }

    /// By how much something grew, a second.
    pub fn rate(&self, of: impl Fn(&Sample) -> Option<u64>) -> Option<f64> {
        self.per_second(of(self.before)?, of(self.after)?)
    }

    fn per_second(&self, before: u64, after: u64) -> Option<f64> {
        Some(after.checked_sub(before)? as f64 / self.span.as_secs_f64())
    }

    /// What the processors did.
    pub fn cpus(&self) -> Option<Cpus> {
        let (before, after) = (self.before.stat.as_ref()?, self.after.stat.as_ref()?);
        let lumped = before.lumped.max(after.lumped);
        let earlier: HashMap<u32, &Times> = before.cpus.iter().map(|(cpu, times)| (*cpu, times)).collect();
        let each = after.cpus.iter().filter_map(|(cpu, times)| {
            let before = *earlier.get(cpu)?;
            Some((*cpu, Shares::of(before, times, lumped)))
        });
        let is_told = |stat: &Stat| stat.total.all() > 0;
        let all =
            (is_told(before) && is_told(after)).then(|| Shares::of(&before.total, &after.total, lumped)).flatten();
        let cpus = Cpus { all, each: each.collect() };
        (cpus.all.is_some() || !cpus.each.is_empty()).then_some(cpus)
    }

    /// The block devices that are in both samples.
    pub fn disks(&self) -> Option<Vec<DiskRates<'a>>> {
        let (before, after) = (self.before.disks.as_ref()?, self.after.disks.as_ref()?);
        let earlier: HashMap<_, &Disk> = before.iter().map(|disk| ((disk.device, &disk.name), disk)).collect();
        let rates = |disk: &'a Disk| Some(self.disk(earlier.get(&(disk.device, &disk.name))?, disk));
        Some(after.iter().filter_map(rates).collect())
    }

    fn disk(&self, before: &Disk, after: &'a Disk) -> DiskRates<'a> {
        let grew = |of: fn(&Disk) -> u64| of(after).checked_sub(of(before));
        let grew_known = |of: fn(&Disk) -> Option<u64>| of(after)?.checked_sub(of(before)?);
        let seconds = self.span.as_secs_f64();
        let rate = |growth: Option<u64>| Some(growth? as f64 / seconds);
        let apart = before.transfers.is_none() && after.transfers.is_none();
        let times_apart = before.both_ms.is_none() && after.both_ms.is_none();
        let reads = grew(|disk| disk.reads).filter(|_| apart);
        let writes = grew(|disk| disk.writes).filter(|_| apart);
        let transfers = match apart {
            true => reads.zip(writes).map(|(reads, writes)| reads.saturating_add(writes)),
            false => grew_known(|disk| disk.transfers),
        };
        let read_ms = grew(|disk| disk.read_ms).filter(|_| times_apart);
        let write_ms = grew(|disk| disk.write_ms).filter(|_| times_apart);
        let both_ms = match times_apart {
            true => read_ms.zip(write_ms).map(|(read, write)| read.saturating_add(write)),
            false => grew_known(|disk| disk.both_ms),
        };
        let each =
            |time: Option<u64>, count: Option<u64>| Some(time? as f64 / count.filter(|count| *count > 0)? as f64);
        // Where only the sum is told, that of reads is that of all while nothing was written, and the other way round.
        let one_kind = |others: Option<u64>| both_ms.filter(|_| !times_apart && others == Some(0));
        DiskRates {
            disk: after,
            transfers: rate(transfers),
            reads: rate(reads),
            writes: rate(writes),
            read_kb: rate(grew(|disk| disk.sectors_read)).map(|sectors| sectors / 2.0),
            written_kb: rate(grew(|disk| disk.sectors_written)).map(|sectors| sectors / 2.0),
            wait: each(both_ms, transfers),
            read_wait: each(read_ms.or(one_kind(writes)), reads),
            write_wait: each(write_ms.or(one_kind(reads)), writes),
            queue: rate(grew(|disk| disk.weighted_ms)).map(|ms| ms / 1000.0),
            util: rate(grew(|disk| disk.busy_ms)).map(|ms| ms / 10.0),
        }
    }

    /// The processes whose IO is in both samples.
    pub fn io(&self) -> Option<Vec<IoRates<'a>>> {
        let (before, after) = (self.before.io.as_ref()?, self.after.io.as_ref()?);
        let earlier: HashMap<_, &ProcessIo> =
            before.iter().map(|process| ((process.pid, process.began), process)).collect();
        let rates = |process: &'a ProcessIo| {
            let before = &earlier.get(&(process.pid, process.began))?.io;
            let (read, written) = (process.io.read_bytes, process.io.write_bytes);
            Some(IoRates {
                process,
                read: self.per_second(before.read_bytes, read),
                written: self.per_second(before.write_bytes, written),
                cancelled: self.per_second(before.cancelled, process.io.cancelled),
            })
        };
        Some(after.iter().filter_map(rates).collect())
    }

    /// The threads that are in both samples. Where a sample has only those that were active, so do these.
    pub fn threads(&self) -> Option<Vec<CpuRate>> {
        let (before, after) = (self.before.threads.as_ref()?, self.after.threads.as_ref()?);
        let earlier: HashMap<Identity, &Thread> =
            before.list.iter().map(|thread| (thread.identity(), thread)).collect();
        let rate = |thread: &Thread| {
            let ticks = self.per_second(earlier.get(&thread.identity())?.ticks, thread.ticks)?;
            let Thread { pid, id, began, parent, name, .. } = *thread;
            // Ticks are hundredths of a second.
            Some(CpuRate { pid, id, began, parent, name, cpu: ticks })
        };
        Some(after.list.iter().filter_map(rate).collect())
    }

    /// The same, threads of one process added up.
    pub fn processes(&self) -> Option<Vec<CpuRate>> {
        let mut at: HashMap<u32, usize> = HashMap::new();
        let mut list: Vec<CpuRate> = Vec::new();
        for thread in self.threads()? {
            let index = *at.entry(thread.pid).or_insert(list.len());
            match list.get_mut(index) {
                Some(process) => {
                    process.cpu += thread.cpu;
                    if thread.id == thread.pid {
                        (process.name, process.began) = (thread.name, thread.began);
                    }
                }
                None => list.push(CpuRate { id: thread.pid, ..thread }),
            }
        }
        Some(list)
    }

    /// The interrupts.
    pub fn interrupts(&self) -> Option<Vec<InterruptRates<'a>>> {
        Some(self.table(self.before.interrupts.as_ref()?, self.after.interrupts.as_ref()?))
    }

    /// The softirqs.
    pub fn softirqs(&self) -> Option<Vec<InterruptRates<'a>>> {
        Some(self.table(self.before.softirqs.as_ref()?, self.after.softirqs.as_ref()?))
    }

    /// The columns of two tables need not be the same processors.
    fn table(&self, before: &Interrupts, after: &'a Interrupts) -> Vec<InterruptRates<'a>> {
        let columns: HashMap<u32, usize> = before.cpus.iter().enumerate().map(|(at, cpu)| (*cpu, at)).collect();
        let earlier: HashMap<_, &Row> = before.rows.iter().map(|row| (&row.name, row)).collect();
        let rates = |row: &'a Row| {
            let old = *earlier.get(&row.name)?;
            let is_once = |row: &Row, table: &Interrupts| row.counts.len() != table.cpus.len();
            if is_once(row, after) || is_once(old, before) {
                let total = self.per_second(*old.counts.first()?, *row.counts.first()?);
                return Some(InterruptRates { row, each: Vec::new(), total });
            }
            let of = |(cpu, now): (&u32, &u64)| {
                let was = old.counts.get(*columns.get(cpu)?)?;
                Some((*cpu, self.per_second(*was, *now)))
            };
            let each: Vec<_> = after.cpus.iter().zip(&row.counts).filter_map(of).collect();
            let total = each.iter().map(|(_, rate)| *rate).sum();
            Some(InterruptRates { row, each, total })
        };
        after.rows.iter().filter_map(rates).collect()
    }

    /// What processors did with packets. On kernels that do not say which row is whose, rows are only compared while there
    /// are as many as before.
    pub fn softnet(&self) -> Option<Vec<SoftnetRates>> {
        let (before, after) = (self.before.softnet.as_ref()?, self.after.softnet.as_ref()?);
        let rates = |(at, row): (usize, &Softnet)| {
            let old = match row.cpu {
                Some(_) => before.iter().find(|old| old.cpu == row.cpu)?,
                None if before.len() == after.len() => before.get(at)?,
                None => return None,
            };
            Some(SoftnetRates {
                cpu: row.cpu,
                processed: self.per_second(old.processed, row.processed),
                dropped: self.per_second(old.dropped, row.dropped),
                squeezed: self.per_second(old.squeezed, row.squeezed),
                received_rps: self.per_second(old.received_rps, row.received_rps),
                flow_limit: self.per_second(old.flow_limit, row.flow_limit),
            })
        };
        Some(after.iter().enumerate().filter_map(rates).collect())
    }

    /// Interfaces that are in both samples: name, what came in, what went out.
    pub fn links(&self) -> Option<Vec<(String, CarriedRates, CarriedRates)>> {
        let (before, after) = (self.before.links.as_ref()?, self.after.links.as_ref()?);
        let rates = |before: &Carried, after: &Carried| CarriedRates {
            bytes: self.per_second(before.bytes, after.bytes),
            packets: self.per_second(before.packets, after.packets),
            errors: self.per_second(before.errors, after.errors),
            dropped: self.per_second(before.dropped, after.dropped),
        };
        let link = after.iter().filter_map(|link| {
            let old = before.iter().find(|old| old.name == link.name)?;
            Some((link.name.to_string(), rates(&old.received, &link.received), rates(&old.sent, &link.sent)))
        });
        Some(link.collect())
    }
}

#[cfg(test)]
mod tests {
    use sickbay_formats::procfs::{diskstats, interrupts, stat};

    use super::*;
    use crate::sample::Threads;

    fn at(ms: u64) -> Sample {
        let mut sample = Sample::default();
        sample.moment.steady = Duration::from_millis(ms);
        sample
    }

    fn between<'a>(before: &'a Sample, after: &'a Sample) -> Interval<'a> {
        Interval::between(before, after).expect("time")
    }

    fn near(rate: Option<f64>, expected: f64) {
        assert!(rate.is_some_and(|rate| (rate - expected).abs() < 1e-9), "{rate:?} is not {expected}");
    }

    #[test]
    fn a_disk_as_iostat_has_it() {
        let (mut before, mut after) = (at(1000), at(3000));
        before.disks =
            Some(diskstats::parse(b"8 0 sda 100 0 800 50 200 0 1600 900 0 1000 950\n8 16 sdb 9 0 9 9 9 0 9 9 0 9 9\n"));
        after.disks = Some(diskstats::parse(
            b"8 0 sda 110 0 880 70 200 0 1600 900 3 3090 5150\n8 16 sdb 9 0 9 9 8 0 9 9 0 9 9\n",
        ));
        let interval = between(&before, &after);
        let disks = interval.disks().expect("disks");
        let sda = &disks[0];
        near(sda.reads, 5.0);
        near(sda.read_kb, 20.0);
        near(sda.read_wait, 2.0);
        near(sda.queue, 2.1);
        // More than the time there was, and told as it is.
        near(sda.util, 104.5);
        near(sda.writes, 0.0);
        assert_eq!(sda.write_wait, None);
        // Writes of the other went back.
        assert_eq!((disks[1].writes, disks[1].transfers, disks[1].util), (None, None, Some(0.0)));
    }

    #[test]
    fn a_disk_of_which_only_sums_are_told() {
        let (mut before, mut after) = (at(1000), at(2000));
        let disk = |transfers, both_ms| Disk { name: "sda".into(), transfers, both_ms, ..Disk::default() };
        before.disks = Some(vec![disk(Some(10), Some(100))]);
        after.disks = Some(vec![disk(Some(20), Some(150))]);
        let disks = between(&before, &after).disks().expect("disks");
        near(disks[0].transfers, 10.0);
        near(disks[0].wait, 5.0);
        assert_eq!((disks[0].reads, disks[0].writes, disks[0].read_wait), (None, None, None));
        // Only writes: their time is that of all.
        before.disks = Some(vec![disk(None, Some(100))]);
        after.disks = Some(vec![Disk { writes: 10, ..disk(None, Some(150)) }]);
        let disks = between(&before, &after).disks().expect("disks");
        near(disks[0].write_wait, 5.0);
        assert_eq!(disks[0].read_wait, None);
    }

    #[test]
    fn processors_that_come_and_go() {
        let (mut before, mut after) = (at(1000), at(2000));
        before.stat = Some(stat::parse(b"cpu 100 0 100 1000 50\ncpu0 50 0 50 500 50\ncpu1 50 0 50 500 0\n"));
        after.stat = Some(stat::parse(b"cpu 150 0 120 1040 40\ncpu0 100 0 70 530 40\ncpu2 9 0 9 9 0\n"));
        let cpus = between(&before, &after).cpus().expect("processors");
        // The time in which it waited for a disk went back: there was none, and the rest is known.
        let cpu0 = cpus.each[0].1.expect("known");
        assert_eq!((cpu0.user, cpu0.system, cpu0.idle, cpu0.iowait), (50.0, 20.0, 30.0, 0.0));
        assert_eq!((cpus.each.len(), cpus.busiest().map(|(cpu, _)| cpu)), (1, Some(0)));
        after.stat = Some(stat::parse(b"cpu 90 0 100 1100 50\n"));
        assert_eq!(between(&before, &after).cpus(), None);
        let lumped = Stat { lumped: Lumped::NiceToo, ..stat::parse(b"cpu 150 0 120 1040 50\n") };
        after.stat = Some(lumped);
        let all = between(&before, &after).cpus().and_then(|cpus| cpus.all).expect("known");
        assert_eq!((all.nice, all.irq, all.softirq), (None, None, None));
    }

    #[test]
    fn columns_are_processors() {
        let (mut before, mut after) = (at(1000), at(3000));
        before.interrupts = interrupts::parse(b" CPU0 CPU1 CPU2\n27: 10 20 30 chip input\nERR: 5\n28: 1 1 1 x\n");
        after.interrupts = interrupts::parse(b" CPU0 CPU2\n27: 12 50 chip input\nERR: 7\n28: 0 3 x\n29: 1 1 y\n");
        let interval = between(&before, &after);
        let rows = interval.interrupts().expect("rows");
        assert_eq!(rows[0].each, [(0, Some(1.0)), (2, Some(10.0))]);
        assert_eq!((rows[0].total, rows[1].total, rows[1].each.len()), (Some(11.0), Some(1.0), 0));
        assert_eq!((rows[2].each[0], rows[2].total, rows.len()), ((0, None), None, 3));
    }

    #[test]
    fn rows_without_a_number_are_compared_only_while_none_is_gone() {
        let row = |cpu, processed| Softnet { cpu, processed, ..Softnet::default() };
        let (mut before, mut after) = (at(1000), at(2000));
        before.softnet = Some(vec![row(None, 5), row(None, 10)]);
        after.softnet = Some(vec![row(None, 9), row(None, 10)]);
        assert_eq!(between(&before, &after).softnet().expect("rows")[0].processed, Some(4.0));
        after.softnet = Some(vec![row(None, 10)]);
        assert_eq!(between(&before, &after).softnet(), Some(Vec::new()));
        before.softnet = Some(vec![row(Some(0), 5), row(Some(3), 10)]);
        after.softnet = Some(vec![row(Some(3), 12)]);
        let rates = between(&before, &after).softnet().expect("rows");
        assert_eq!((rates[0].cpu, rates[0].processed), (Some(3), Some(2.0)));
    }

    #[test]
    fn threads_and_their_process() {
        let thread = |pid, id, began, ticks, name: &str| Thread {
            pid,
            id,
            began,
            ticks,
            name: Name::of(name.as_bytes()),
            ..Thread::default()
        };
        let (mut before, mut after) = (at(0), at(2000));
        let all = |list| Some(Threads { list, is_all: true, left_out: 0 });
        before.threads =
            all(vec![thread(7, 8, 5, 10, "worker"), thread(7, 7, 5, 10, "main"), thread(9, 9, 1, 50, "x")]);
        after.threads =
            all(vec![thread(7, 8, 5, 110, "worker"), thread(7, 7, 5, 30, "main"), thread(9, 9, 200, 60, "x")]);
        let interval = between(&before, &after);
        assert_eq!(interval.threads().expect("threads").len(), 2);
        let processes = interval.processes().expect("processes");
        // Another has the number 9 by now.
        assert_eq!((processes.len(), processes[0].cpu, processes[0].name.to_string()), (1, 60.0, "main".to_owned()));
    }

    #[test]
    fn samples_of_several_sources_take_turns() {
        let with_disks = |ms, reads| Sample { disks: Some(vec![Disk { reads, ..Disk::default() }]), ..at(ms) };
        let samples = vec![with_disks(1000, 0), at(1500), with_disks(2000, 7), at(2000), with_disks(3000, 9), at(2500)];
        let window = Window { samples, place: "/proc".into() };
        let reads: Vec<_> = window
            .intervals_with(|sample| sample.disks.is_some())
            .filter_map(|interval| interval.disks()?.first()?.reads)
            .collect();
        assert_eq!(reads, [7.0, 2.0]);
        // Of six samples two pairs have no time between them.
        assert_eq!(window.intervals().count(), 3);
        // The clock went back in it.
        assert!(window.whole_with(|sample| sample.disks.is_some()).is_none());
    }
}
