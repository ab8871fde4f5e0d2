//! The counters of one record. Those of kinds that are of use here; others are skipped by their length.

use bstr::BString;

use super::Activity;
use super::bytes::{Bytes, Types};
use crate::procfs::diskstats::Disk;
use crate::procfs::interrupts::{Interrupts, Row};
use crate::procfs::loadavg::LoadAvg;
use crate::procfs::mib::Counter;
use crate::procfs::net_dev::{Carried, Link};
use crate::procfs::pressure::{Pressure, Stall};
use crate::procfs::softnet::Softnet;
use crate::procfs::stat::{Stat, Times};

/// The magic number of the first layout of every kind: ACTIVITY_MAGIC_BASE.
pub(super) const BASE: u32 = 0x8a;

/// Of more cells than this no table of interrupts is kept: only the sums.
const CELLS: usize = 1 << 16;

/// Counters as they were read; `None` where the file has them not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statistics {
    /// Times of the processors, processes that were made, switches, and how many ran or waited for a disk.
    pub stat: Option<Stat>,
    /// The load; the number of the last process is not told, and 0.
    pub load: Option<LoadAvg>,
    /// Disks; of reads and writes only the sum is told. Their names are those that `sar -d` has, or by the kernel's list of
    /// device numbers.
    pub disks: Option<Vec<Disk>>,
    /// Interrupts; before 12.5 without processors.
    pub interrupts: Option<Interrupts>,
    /// Packets that came in, by processor.
    pub softnet: Option<Vec<Softnet>>,
    /// Interfaces.
    pub links: Option<Vec<Link>>,
    /// Counters of TCP.
    pub tcp: Option<Vec<Counter>>,
    /// Pressure of the processors, of IO, of memory.
    pub pressure: [Option<Pressure>; 3],
}

/// What two kinds tell of each interface.
#[derive(Debug, Default)]
pub(super) struct Links {
    carried: Option<Vec<(BString, [u64; 4])>>,
    faults: Option<Vec<(BString, [u64; 4])>>,
}

impl Links {
    /// Only those of which both are known.
    pub(super) fn all(self) -> Option<Vec<Link>> {
        let faults = self.faults?;
        let link = |(name, [rx_packets, tx_packets, rx_bytes, tx_bytes]): (BString, [u64; 4])| {
            let (_, [rx_errors, tx_errors, rx_dropped, tx_dropped]) = *faults.iter().find(|(of, _)| *of == name)?;
            let carried = |bytes, packets, errors, dropped| Carried { bytes, packets, errors, dropped };
            let received = carried(rx_bytes, rx_packets, rx_errors, rx_dropped);
            Some(Link { name, received, sent: carried(tx_bytes, tx_packets, tx_errors, tx_dropped) })
        };
        Some(self.carried?.into_iter().filter_map(link).collect())
    }
}

/// How the structures of a kind are laid out.
#[derive(Clone, Copy)]
enum Layout {
    /// By the version of the old layout, counted from its first.
    Old(u32),
    /// By its numbers of fields, with the version of their meaning.
    New(u32, Types),
}

impl Statistics {
    pub(super) fn add(&mut self, links: &mut Links, activity: &Activity, items: &[Bytes<'_>]) {
        let Some(version) = activity.magic.checked_sub(BASE) else { return };
        let layout = activity.types.map_or(Layout::Old(version), |types| Layout::New(version, types));
        match activity.id {
            1 => self.times(layout, items),
            2 => self.made(layout, items),
            3 => self.interrupts = interrupts(layout, items, activity.sub),
            9 => self.queue(layout, items),
            11 => self.disks = items.iter().map(|item| disk(layout, item)).collect(),
            12 => links.carried = items.iter().map(|item| carried(layout, item)).collect(),
            13 => links.faults = items.iter().map(|item| faults(layout, item)).collect(),
            21 => self.tcp(layout, items, ["ActiveOpens", "PassiveOpens", "InSegs", "OutSegs"]),
            22 => self.tcp(layout, items, ["AttemptFails", "EstabResets", "RetransSegs", "InErrs", "OutRsts"]),
            39 => self.softnet = softnet(layout, items),
            40..=42 => {
                let at = usize::try_from(activity.id.saturating_sub(40)).unwrap_or(usize::MAX);
                // In the order in which Sample has them: processors, IO, memory.
                if let (Some(place), Some(item)) = (self.pressure.get_mut(at), items.first()) {
                    *place = pressure(layout, item);
                }
            }
            _ => {}
        }
    }

    fn stat(&mut self) -> &mut Stat {
        self.stat.get_or_insert_default()
    }

    fn times(&mut self, layout: Layout, items: &[Bytes<'_>]) {
        let times = |item: &Bytes<'_>| {
            let field = |index| match layout {
                Layout::Old(0) => item.u64_at(usize::try_from(index).unwrap_or(usize::MAX).saturating_mul(16)),
                Layout::New(1, types) => item.wide(&types, index),
                _ => None,
            };
            Some(Times {
                user: field(0)?,
                nice: field(1)?,
                system: field(2)?,
                idle: field(3)?,
                iowait: field(4)?,
                steal: field(5)?,
                irq: field(6)?,
                softirq: field(7)?,
            })
        };
        let mut all = items.iter().map(times);
        let Some(Some(total)) = all.next() else { return };
        let stat = self.stat();
        stat.total = total;
        // A processor that is off has nothing but zeros.
        let cpus = (0..).zip(all).filter_map(|(cpu, times)| Some((cpu, times.filter(|times| times.all() > 0)?)));
        stat.cpus = cpus.collect();
    }

    fn made(&mut self, layout: Layout, items: &[Bytes<'_>]) {
        let Some(item) = items.first() else { return };
        let (switches, made) = match layout {
            Layout::Old(0) => (item.u64_at(0), item.long_at(16)),
            Layout::New(1, types) => (item.wide(&types, 0), item.long(&types, 0)),
            _ => return,
        };
        let stat = self.stat();
        (stat.switches, stat.made) = (switches, made);
    }

    fn queue(&mut self, layout: Layout, items: &[Bytes<'_>]) {
        let Some(item) = items.first() else { return };
        let (running, blocked, averages, total) = match layout {
            Layout::Old(version @ (0 | 1)) => {
                let at = if version == 0 { 8 } else { 16 };
                let int = |index: usize| item.u32_at(at + index * 4);
                let blocked = (version == 1).then(|| item.long_at(8)).flatten();
                (item.long_at(0), blocked, [int(0), int(1), int(2)], int(3).map(u64::from))
            }
            Layout::New(2, types) => {
                let averages = [0, 1, 2].map(|index| item.int(&types, index));
                (item.wide(&types, 0), item.wide(&types, 1), averages, item.wide(&types, 2))
            }
            _ => return,
        };
        let stat = self.stat();
        (stat.running, stat.blocked) = (running, blocked);
        let [one, five, fifteen] = averages.map(|average| average.map(u64::from));
        self.load =
            one.zip(five).zip(fifteen).zip(running.zip(total)).map(|(((one, five), fifteen), (running, total))| {
                LoadAvg { averages: [one, five, fifteen], running, total, last_pid: 0 }
            });
    }

    fn tcp<const N: usize>(&mut self, layout: Layout, items: &[Bytes<'_>], names: [&str; N]) {
        let Some(item) = items.first() else { return };
        let value = |index: u64| match layout {
            Layout::Old(0) => item.long_at(usize::try_from(index).ok()?.checked_mul(8)?),
            Layout::New(0, types) => item.long(&types, index),
            _ => None,
        };
        let counters = (0..)
            .zip(names)
            .filter_map(|(index, name)| Some(Counter { name: format!("Tcp.{name}").into(), value: value(index)? }));
        self.tcp.get_or_insert_default().extend(counters);
    }
}

fn disk(layout: Layout, item: &Bytes<'_>) -> Option<Disk> {
    let disk = match layout {
        Layout::Old(0) => Disk {
            device: (item.u32_at(72)?, item.u32_at(76)?),
            sectors_read: item.u64_at(0)?,
            sectors_written: item.u64_at(16)?,
            read_ms: item.long_at(32)?,
            write_ms: item.long_at(40)?,
            busy_ms: item.long_at(48)?,
            weighted_ms: item.long_at(56)?,
            transfers: Some(item.long_at(64)?),
            ..Disk::default()
        },
        Layout::Old(1) => Disk {
            device: (item.u32_at(48)?, item.u32_at(52)?),
            transfers: Some(item.u64_at(0)?),
            sectors_read: item.long_at(16)?,
            sectors_written: item.long_at(24)?,
            read_ms: item.u32_at(32)?.into(),
            write_ms: item.u32_at(36)?.into(),
            busy_ms: item.u32_at(40)?.into(),
            weighted_ms: item.u32_at(44)?.into(),
            ..Disk::default()
        },
        Layout::New(2, types) => {
            let int = |index| item.int(&types, index).map(u64::from);
            Disk {
                device: (item.int(&types, 4)?, item.int(&types, 5)?),
                transfers: Some(item.wide(&types, 0)?),
                sectors_read: item.long(&types, 0)?,
                sectors_written: item.long(&types, 1)?,
                read_ms: int(0)?,
                write_ms: int(1)?,
                busy_ms: int(2)?,
                weighted_ms: int(3)?,
                // Discards are among the transfers, and so is their time.
                both_ms: Some(int(0)?.saturating_add(int(1)?).saturating_add(int(6).unwrap_or(0))),
                ..Disk::default()
            }
        }
        Layout::Old(_) | Layout::New(..) => return None,
    };
    Some(Disk { name: disk_name(disk.device), ..disk })
}

/// The name of a device whose number is assigned for good (devices.txt), else that by which `sar -d` calls it.
pub(super) fn disk_name((major, minor): (u32, u32)) -> BString {
    let letters = |prefix: &str, disk: u32, part: u32| {
        let (first, second) = (disk / 26, disk % 26);
        let letter = |number: u32| char::from_u32(u32::from(b'a').saturating_add(number)).unwrap_or('?');
        let mut name = prefix.to_owned();
        if first > 0 {
            name.push(letter(first - 1));
        }
        name.push(letter(second));
        if part > 0 {
            name.push_str(&part.to_string());
        }
        name
    };
    // Sixteen disks of sixteen partitions to a number.
    let scsi = |base: u32| Some(base.checked_add(minor / 16)?).filter(|disk| *disk < 702);
    let name = match major {
        8 => scsi(0).map(|disk| letters("sd", disk, minor % 16)),
        65..=71 => scsi((major - 64) * 16).map(|disk| letters("sd", disk, minor % 16)),
        128..=135 => scsi((major - 120) * 16).map(|disk| letters("sd", disk, minor % 16)),
        202 if minor < 256 => Some(letters("xvd", minor / 16, minor % 16)),
        // From the seventeenth on each has 256 partitions.
        202 => Some(minor / 256).filter(|disk| (16..702).contains(disk)).map(|disk| letters("xvd", disk, minor % 256)),
        104..=111 => {
            let part = if minor % 16 > 0 { format!("p{}", minor % 16) } else { String::new() };
            Some(format!("cciss/c{}d{}{part}", major - 104, minor / 16))
        }
        7 => Some(format!("loop{minor}")),
        9 => Some(format!("md{minor}")),
        11 => Some(format!("sr{minor}")),
        _ => None,
    };
    name.unwrap_or_else(|| format!("dev{major}-{minor}")).into()
}

/// Packets received and sent, bytes received and sent.
fn carried(layout: Layout, item: &Bytes<'_>) -> Option<(BString, [u64; 4])> {
    let four = |of: &dyn Fn(usize) -> Option<u64>| Some([of(0)?, of(1)?, of(2)?, of(3)?]);
    match layout {
        Layout::Old(0) => Some((item.text_at(56, 16)?, four(&|index| item.long_at(index * 8))?)),
        Layout::Old(1) => Some((item.text_at(112, 16)?, four(&|index| item.u64_at(index * 16))?)),
        Layout::Old(2) => Some((item.text_at(116, 16)?, four(&|index| item.u64_at(index * 16))?)),
        Layout::New(3, types) => {
            Some((item.rest(&types, 16)?, four(&|index| item.wide(&types, u64::try_from(index).ok()?))?))
        }
        Layout::Old(_) | Layout::New(..) => None,
    }
}

/// Errors when receiving and sending, packets dropped when receiving and sending. Collisions come before them.
fn faults(layout: Layout, item: &Bytes<'_>) -> Option<(BString, [u64; 4])> {
    let four = |of: &dyn Fn(usize) -> Option<u64>| Some([of(1)?, of(2)?, of(3)?, of(4)?]);
    match layout {
        Layout::Old(0) => Some((item.text_at(72, 16)?, four(&|index| item.long_at(index * 8))?)),
        Layout::Old(1) => Some((item.text_at(144, 16)?, four(&|index| item.u64_at(index * 16))?)),
        Layout::New(2, types) => {
            Some((item.rest(&types, 16)?, four(&|index| item.wide(&types, u64::try_from(index).ok()?))?))
        }
        Layout::Old(_) | Layout::New(..) => None,
    }
}

fn interrupts(layout: Layout, items: &[Bytes<'_>], sub: u32) -> Option<Interrupts> {
    match layout {
        // Of each interrupt one number; the first is the sum of all.
        Layout::Old(0) | Layout::New(1, _) => {
            let number = |item: &Bytes<'_>| match layout {
                Layout::Old(_) => item.u64_at(0),
                Layout::New(_, types) => item.wide(&types, 0),
            };
            let row = |(name, item): (u32, &Bytes<'_>)| {
                let counts = vec![number(item)?];
                Some(Row { name: name.to_string().into(), counts, about: BString::default() })
            };
            let rows: Option<Vec<Row>> = (0..).zip(items.iter().skip(1)).map(row).collect();
            // A number that never came may be of no interrupt at all.
            let rows: Vec<Row> = rows?.into_iter().filter(|row| row.counts != [0]).collect();
            (!rows.is_empty()).then(|| Interrupts { cpus: Vec::new(), rows })
        }
        // A row of structures for all processors together, with the names; then one for each.
        Layout::New(2, types) => {
            let mut rows = items.chunks_exact(usize::try_from(sub).ok()?.max(1));
            let names: Vec<(BString, u64)> = rows
                .next()?
                .iter()
                .map(|item| Some((item.rest(&types, 8)?, item.int(&types, 0)?.into())))
                .collect::<Option<_>>()?;
            let each: Vec<(u32, &[Bytes<'_>])> =
                (0..).zip(rows).filter(|(_, row)| row.iter().any(|item| item.int(&types, 0) != Some(0))).collect();
            let is_kept = each.len().saturating_mul(names.len()) <= CELLS;
            let cpus = if is_kept { each.iter().map(|(cpu, _)| *cpu).collect() } else { Vec::new() };
            let row = |(at, (name, all)): (usize, (BString, u64))| {
                let cell = |(_, row): &(u32, &[Bytes<'_>])| Some(row.get(at)?.int(&types, 0)?.into());
                let counts = match is_kept {
                    true => each.iter().map(cell).collect::<Option<Vec<u64>>>()?,
                    false => vec![all],
                };
                Some(Row { name, counts, about: BString::default() })
            };
            // The first is their sum.
            let rows: Vec<Row> = names.into_iter().enumerate().skip(1).filter_map(row).collect();
            let rows: Vec<Row> = rows.into_iter().filter(|row| !row.name.is_empty()).collect();
            (!rows.is_empty()).then_some(Interrupts { cpus, rows })
        }
        Layout::Old(_) | Layout::New(..) => None,
    }
}

fn softnet(layout: Layout, items: &[Bytes<'_>]) -> Option<Vec<Softnet>> {
    // The first is of all processors together.
    let row = |(cpu, item): (u32, &Bytes<'_>)| {
        let field = |index: u64| match layout {
            Layout::Old(0) => item.u32_at(usize::try_from(index).ok()?.checked_mul(4)?).map(u64::from),
            Layout::New(0, types) => item.int(&types, index).map(u64::from),
            Layout::Old(_) | Layout::New(..) => None,
        };
        Some(Softnet {
            cpu: Some(cpu),
            processed: field(0)?,
            dropped: field(1)?,
            squeezed: field(2)?,
            received_rps: field(3)?,
            flow_limit: field(4)?,
        })
    };
    let rows: Vec<Softnet> = (0..).zip(items.iter().skip(1)).map(row).collect::<Option<_>>()?;
    (!rows.is_empty()).then_some(rows)
}

fn pressure(layout: Layout, item: &Bytes<'_>) -> Option<Pressure> {
    let Layout::New(0, types) = layout else { return None };
    let stall = |total: u64, first: u64| {
        let average = |index| item.long(&types, first + index);
        Some(Stall { averages: [average(0)?, average(1)?, average(2)?], total: item.wide(&types, total)? })
    };
    let pressure = Pressure { some: stall(0, 0), full: stall(1, 3) };
    pressure.some.is_some().then_some(pressure)
}
