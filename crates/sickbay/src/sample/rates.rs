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
    /// `None` where nothing passed.
    fn of(ticks: &Times, lumped: Lumped) -> Option<Shares> {
        let all = ticks.all();
        let percent = |part: u64| part as f64 * 100.0 / all as f64;
        (all > 0).then(|| Shares {
            user: percent(ticks.user),
            nice: (lumped < Lumped::NiceToo).then(|| percent(ticks.nice)),
            system: percent(ticks.system),
            iowait: percent(ticks.iowait),
            irq: (lumped < Lumped::Interrupts).then(|| percent(ticks.irq)),
            softirq: (lumped < Lumped::Interrupts).then(|| percent(ticks.softirq)),
            steal: percent(ticks.steal),
            idle: percent(ticks.idle),
        })
    }

    /// The part in which it did something, in percent.
    pub fn busy(&self) -> f64 {
        (100.0 - self.idle - self.iowait).max(0.0)
    }
}

/// By so many ticks a time that is not used may go back (cpu-load.rst).
const SLACK: u64 = 100;

/// In a shorter time a processor may not have moved at all, whatever it did.
const MOVES: Duration = Duration::from_millis(500);

/// The ticks from one to the other, in a time that has no more than `most`; `None` when that cannot be told.
fn ticks(before: &Times, after: &Times, most: u64) -> Option<Times> {
    let grew = |of: fn(&Times) -> u64| of(after).checked_sub(of(before));
    // Time that is not used is a sum over sleeps that others end: it may go back by a little, and is none then. Where it begins
    // anew the processor was off and on again: what it did is counted on, and what it did not do from then.
    let is_new = before.idle.saturating_sub(after.idle) > SLACK;
    let unused = |of: fn(&Times) -> u64| match of(after).checked_sub(of(before)) {
        Some(grown) => Some(grown),
        None if is_new => Some(of(after)).filter(|ticks| *ticks <= most),
        None => Some(0),
    };
    let ticks = Times {
        user: grew(|t| t.user)?,
        nice: grew(|t| t.nice)?,
        system: grew(|t| t.system)?,
        irq: grew(|t| t.irq)?,
        softirq: grew(|t| t.softirq)?,
        steal: grew(|t| t.steal)?,
        iowait: unused(|t| t.iowait)?,
        idle: unused(|t| t.idle)?,
    };
    (ticks.all() < u64::MAX).then_some(ticks)
}

/// Counters of 32 bits begin anew when they are full: those of interrupts, of packets by processor, of a disk's milliseconds.
fn grown_32(before: u64, after: u64) -> Option<u64> {
    const HALF: u64 = 1 << 31;
    let has_wrapped = (HALF..HALF * 2).contains(&before) && after < HALF / 2;
    after.checked_sub(before).or_else(|| has_wrapped.then(|| (HALF * 2 - before).saturating_add(after)))
}

/// The processors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cpus {
    /// All together.
    pub all: Option<Shares>,
    /// Each that is on at the end and was seen before; `None` where it cannot be told.
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
    /// Reads, writes and discards together, a second: tps.
    pub transfers: Option<f64>,
    /// `r/s`.
    pub reads: Option<f64>,
    /// `w/s`.
    pub writes: Option<f64>,
    /// `rkB/s`.
    pub read_kb: Option<f64>,
    /// `wkB/s`.
    pub written_kb: Option<f64>,
    /// Milliseconds that one of them took: `await`. `None` when there was none.
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

/// Whether a disk of the same name counts from the beginning: all that it counted before is gone.
fn is_another(before: &Disk, after: &Disk) -> bool {
    let counters = |disk: &Disk| {
        let transfers = disk.transfers.unwrap_or(0);
        [disk.reads, disk.writes, disk.sectors_read, disk.sectors_written, disk.busy_ms, transfers]
    };
    let pairs = || counters(before).into_iter().zip(counters(after));
    pairs().all(|(before, after)| after < before || before == 0 && after == 0) && pairs().any(|(before, _)| before > 0)
}

/// Nothing yet, of a disk of which the same is told.
fn like(new: &Disk, disk: &Disk) -> Disk {
    Disk { transfers: disk.transfers.map(|_| 0), both_ms: disk.both_ms.map(|_| 0), ..new.clone() }
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

    /// By how much a counter of 32 bits grew, a second.
    fn per_second_32(&self, before: u64, after: u64) -> Option<f64> {
        Some(grown_32(before, after)? as f64 / self.span.as_secs_f64())
    }

    /// What the processors did.
    pub fn cpus(&self) -> Option<Cpus> {
        let (before, after) = (self.before.stat.as_ref()?, self.after.stat.as_ref()?);
        let lumped = before.lumped.max(after.lumped);
        let is_counted = !before.is_printed && !after.is_printed;
        let most = u64::try_from(self.span.as_millis() / 10).unwrap_or(u64::MAX).saturating_add(SLACK);
        // One that was off begins where it ended.
        let earlier: HashMap<u32, &Times> =
            before.off.iter().chain(&before.cpus).map(|(cpu, times)| (*cpu, times)).collect();
        let known = |(cpu, times): &(u32, Times)| Some((*cpu, ticks(earlier.get(cpu)?, times, most)));
        let grown: Vec<(u32, Option<Times>)> = after.cpus.iter().filter_map(known).collect();
        let sum =
            grown.iter().filter_map(|(_, ticks)| ticks.as_ref()).fold(Times::default(), |sum, ticks| sum.plus(ticks));
        // Old kernels count nothing for one that sleeps without being woken.
        let sleeps = is_counted && self.span >= MOVES && sum.all() > 0;
        let idle = Shares { nice: Some(0.0), irq: Some(0.0), softirq: Some(0.0), idle: 100.0, ..Shares::default() };
        let shares = |ticks: Times| match ticks.all() {
            0 if sleeps => Some(idle),
            _ => Shares::of(&ticks, lumped),
        };
        let is_told = |stat: &Stat| stat.total.all() > 0;
        let total = || ticks(&before.total, &after.total, u64::MAX).filter(|_| is_told(before) && is_told(after));
        // The kernel's own sum is off by a tick of each processor, and has those in it that are off.
        let is_whole = is_counted && sum.all() > 0 && grown.iter().all(|(_, ticks)| ticks.is_some());
        let all = if is_whole { Some(sum) } else { total() };
        let each = grown.into_iter().map(|(cpu, ticks)| (cpu, ticks.and_then(shares))).collect();
        let cpus = Cpus { all: all.and_then(|ticks| Shares::of(&ticks, lumped)), each };
        (cpus.all.is_some() || !cpus.each.is_empty()).then_some(cpus)
    }

    /// The block devices that are in both samples, and those that came in between: what those did they did in that time.
    pub fn disks(&self) -> Option<Vec<DiskRates<'a>>> {
        let (before, after) = (self.before.disks.as_ref()?, self.after.disks.as_ref()?);
        let earlier: HashMap<_, &Disk> = before.iter().map(|disk| ((disk.device, &disk.name), disk)).collect();
        let new = Disk::default();
        let busy = u64::try_from(self.span.as_millis()).unwrap_or(u64::MAX).saturating_add(1000);
        let rates = |disk: &'a Disk| match earlier.get(&(disk.device, &disk.name)) {
            // It was taken away and came again.
            Some(before) if is_another(before, disk) && disk.busy_ms <= busy => {
                Some(self.disk(&like(&new, disk), disk))
            }
            Some(before) => Some(self.disk(before, disk)),
            None if !before.is_empty() && disk.busy_ms <= busy => Some(self.disk(&like(&new, disk), disk)),
            None => None,
        };
        Some(after.iter().filter_map(rates).collect())
    }

    fn disk(&self, before: &Disk, after: &'a Disk) -> DiskRates<'a> {
        let grew = |of: fn(&Disk) -> u64| of(after).checked_sub(of(before));
        let grew_known = |of: fn(&Disk) -> Option<u64>| of(after)?.checked_sub(of(before)?);
        let grew_ms = |of: fn(&Disk) -> u64| grown_32(of(before), of(after));
        let seconds = self.span.as_secs_f64();
        let rate = |growth: Option<u64>| Some(growth? as f64 / seconds);
        let apart = before.transfers.is_none() && after.transfers.is_none();
        let times_apart = before.both_ms.is_none() && after.both_ms.is_none();
        let reads = grew(|disk| disk.reads).filter(|_| apart);
        let writes = grew(|disk| disk.writes).filter(|_| apart);
        let discards = grew(|disk| disk.discards);
        let sum = |one: Option<u64>, two: Option<u64>, three: Option<u64>| {
            Some(one?.saturating_add(two?).saturating_add(three?))
        };
        let transfers = match apart {
            true => sum(reads, writes, discards),
            false => grew_known(|disk| disk.transfers),
        };
        let read_ms = grew_ms(|disk| disk.read_ms).filter(|_| times_apart);
        let write_ms = grew_ms(|disk| disk.write_ms).filter(|_| times_apart);
        let both_ms = match times_apart {
            true => sum(read_ms, write_ms, grew_ms(|disk| disk.discard_ms)),
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
            queue: rate(grew_ms(|disk| disk.weighted_ms)).map(|ms| ms / 1000.0),
            util: rate(grew_ms(|disk| disk.busy_ms)).map(|ms| ms / 10.0),
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
                let total = self.per_second_32(*old.counts.first()?, *row.counts.first()?);
                return Some(InterruptRates { row, each: Vec::new(), total });
            }
            let of = |(cpu, now): (&u32, &u64)| {
                let was = old.counts.get(*columns.get(cpu)?)?;
                Some((*cpu, self.per_second_32(*was, *now)))
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
                processed: self.per_second_32(old.processed, row.processed),
                dropped: self.per_second_32(old.dropped, row.dropped),
                squeezed: self.per_second_32(old.squeezed, row.squeezed),
                received_rps: self.per_second_32(old.received_rps, row.received_rps),
                flow_limit: self.per_second_32(old.flow_limit, row.flow_limit),
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
mod tests;
