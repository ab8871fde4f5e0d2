//! `atop -P`: lines for programs. Each begins with its label, the machine, seconds since 1970, date, time, and how many
//! seconds it is of; what follows are counts of that time.

use super::super::{decimal, number};
use super::time::Stamp;
use super::{Cpu, Disk, Reader, SinceStart, Source, Task};
use crate::procfs::loadavg::LoadAvg;

impl Reader {
    pub(super) fn atop(&mut self, words: &[&[u8]]) -> bool {
        match words {
            [b"RESET"] => {
                self.is_first = Some(SinceStart::Yes);
                return true;
            }
            [b"SEP"] => {
                self.is_first = None;
                return true;
            }
            _ => {}
        }
        let [label, node, epoch, date, time, interval, rest @ ..] = words else { return false };
        let is_label = *label == b"cpu" || (label.len() == 3 && label.iter().all(u8::is_ascii_uppercase));
        let stamp = || self.dates.read(&[date, time]).filter(|reading| reading.used == 2);
        let moment = || Some((stamp()?.stamp, number::<u64>(epoch)?, decimal(interval)?));
        let Some((stamp, epoch, interval)) = moment().filter(|(.., interval)| is_label && *interval > 0.0) else {
            return false;
        };
        self.text.node.get_or_insert_with(|| (*node).into());
        let stamp = Stamp { epoch: Some(super::super::float(epoch)), ..stamp };
        let since_start = self.is_first.unwrap_or_default();
        let value = |at: usize| decimal(rest.get(at)?);
        let per_second = |at: usize| value(at).map(|count| count / interval);
        let whole = |at: usize| value(at).map(super::table::whole);
        let mut cpu = None;
        let mut disk = None;
        let mut load = None;
        match *label {
            b"CPU" => {
                self.text.cpus = rest.get(1).and_then(|count| number(count)).or(self.text.cpus);
                cpu = times(value, None);
            }
            b"cpu" => cpu = rest.get(1).and_then(|cpu| number(cpu)).and_then(|number| times(value, Some(number))),
            b"CPL" => {
                let hundredths = |at| value(at).map(|average| super::table::whole_of(average * 100.0));
                let averages = || Some([hundredths(1)?, hundredths(2)?, hundredths(3)?]);
                load = averages().map(|averages| LoadAvg { averages, ..LoadAvg::default() });
            }
            b"DSK" => {
                let half = |rate: Option<f64>| rate.map(|sectors| sectors / 2.0);
                disk = rest.first().map(|name| Disk {
                    name: (*name).into(),
                    util: per_second(1).map(|ms| ms / 10.0),
                    reads: per_second(2),
                    read_kb: half(per_second(3)),
                    writes: per_second(4),
                    written_kb: half(per_second(5)),
                    ..Disk::default()
                });
            }
            b"PRC" | b"PRD" => {
                if let Some(task) = task(label, rest, interval) {
                    self.task(Source::Atop, stamp, task);
                }
            }
            _ => return true,
        }
        let switches = (*label == b"CPL").then(|| per_second(4)).flatten();
        let running = whole(0).filter(|_| false);
        if let Some(block) = self.block(Source::Atop, stamp) {
            (block.since_start, block.interval) = (since_start, Some(interval));
            block.cpus.extend(cpu);
            block.disks.extend(disk);
            block.load = load.or(block.load);
            block.switches = switches.or(block.switches);
            block.running = running.or(block.running);
            block.has_states |= *label == b"PRC";
        }
        true
    }
}

/// Ticks, as shares of their sum.
fn times(value: impl Fn(usize) -> Option<f64>, number: Option<u32>) -> Option<Cpu> {
    let (system, user, nice, idle) = (value(2)?, value(3)?, value(4)?, value(5)?);
    let (iowait, irq, softirq, steal) = (value(6)?, value(7)?, value(8)?, value(9)?);
    let all = system + user + nice + idle + iowait + irq + softirq + steal;
    let share = |ticks: f64| if all > 0.0 { ticks * 100.0 / all } else { 0.0 };
    (all > 0.0).then(|| Cpu {
        number,
        user: share(user),
        nice: share(nice),
        system: share(system),
        iowait: share(iowait),
        irq: share(irq),
        softirq: share(softirq),
        steal: share(steal),
        idle: share(idle),
    })
}

/// `7 (name with blanks) S …`.
fn task(label: &[u8], rest: &[&[u8]], interval: f64) -> Option<Task> {
    let id: u32 = number(rest.first()?)?;
    let end = rest.iter().position(|word| word.ends_with(b")"))?;
    let name = rest.get(1..=end)?.join(&b' ');
    let name = name.strip_prefix(b"(")?.strip_suffix(b")")?.to_vec();
    let rest = rest.get(end + 1..)?;
    let value = |at: usize| decimal(rest.get(at)?);
    let state = match rest.first()? {
        [state] => Some(*state),
        _ => None,
    };
    let mut task = Task { pid: id, id, is_process: true, name: name.into(), state, ..Task::default() };
    match label {
        // State, ticks a second, user, system, nice, priority, two of the scheduler, processor, sleep, thread group.
        b"PRC" => {
            let (a_second, user, system) = (value(1)?, value(2)?, value(3)?);
            task.cpu = (a_second > 0.0).then(|| (user + system) / a_second / interval * 100.0);
            task.pid = rest.get(10).and_then(|group| number(group)).unwrap_or(id);
            task.is_process = rest.get(11).is_none_or(|is_process| *is_process == b"y");
        }
        // State, an old patch, whether it is counted at all, reads, sectors, writes, sectors, cancelled ones, group.
        _ => {
            let is_counted = rest.get(2) == Some(&&b"y"[..]);
            let bytes = |at| value(at).filter(|_| is_counted).map(|sectors| sectors * 512.0 / interval);
            (task.read, task.written, task.cancelled) = (bytes(4), bytes(6), bytes(7));
            task.pid = rest.get(8).and_then(|group| number(group)).unwrap_or(id);
            task.is_process = rest.get(10).is_none_or(|is_process| *is_process == b"y");
        }
    }
    Some(task)
}
