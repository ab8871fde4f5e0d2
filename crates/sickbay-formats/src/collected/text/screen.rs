//! Screens of `atop`, as `atop -r FILE` prints them where its output is no terminal: lines of cells for the machine, then a
//! table of processes. How wide the screen was decides which cells there are.

use bstr::{BString, ByteSlice};

use super::super::{decimal, number};
use super::time::Stamp;
use super::{Cpu, Disk, Reader, SinceStart, Source, Task};
use crate::procfs::loadavg::LoadAvg;
use crate::procfs::stat::Lumped;

/// What is known from the lines before.
#[derive(Debug, Default)]
pub(super) struct State {
    /// The moment, and how many seconds its interval was.
    moment: Option<(Stamp, f64)>,
    /// Those of the table of processes.
    columns: Vec<BString>,
}

impl State {
    /// A line without anything.
    pub(super) fn pause(&mut self) {
        self.columns.clear();
    }
}

impl Reader {
    pub(super) fn screen(&mut self, line: &[u8], words: &[&[u8]]) -> bool {
        if let [b"ATOP", b"-", node, rest @ .., elapsed, b"elapsed"] = words {
            let (Some(reading), Some(elapsed)) = (self.dates.read(rest), span(elapsed)) else { return false };
            self.text.node.get_or_insert_with(|| (*node).into());
            self.screen = State { moment: Some((reading.stamp, elapsed)), columns: Vec::new() };
            self.table = None;
            return true;
        }
        let Some((stamp, elapsed)) = self.screen.moment else { return false };
        match words {
            [label, b"|", ..] => self.screen_line(label, line, stamp, elapsed),
            [b"***", ..] if line.contains_str("since Boot") || line.contains_str("since boot") => {
                if let Some(block) = self.block(Source::Atop, stamp) {
                    block.since_start = SinceStart::Yes;
                }
                true
            }
            [b"PID", rest @ ..] if rest.contains(&&b"CMD"[..]) => {
                // What follows on it is the number of the page.
                let names = words.iter().take_while(|word| **word != b"CMD");
                self.screen.columns = names.map(|word| BString::from(*word)).collect();
                true
            }
            _ => self.screen_row(words, stamp, elapsed),
        }
    }

    fn screen_line(&mut self, label: &[u8], line: &[u8], stamp: Stamp, elapsed: f64) -> bool {
        let cells: Vec<&[u8]> = line.split(|byte| *byte == b'|').map(|cell| cell.trim_ascii()).collect();
        let of = |name: &str| {
            let mut rest = cells.iter().skip(1).filter_map(|cell| cell.strip_prefix(name.as_bytes()));
            let text = rest.find(|rest| rest.starts_with(b" "))?.trim_ascii();
            value(text.strip_suffix(b"%").unwrap_or(text))
        };
        let rate = |name: &str| of(name).map(|count| count / elapsed);
        match label {
            b"CPU" | b"cpu" => {
                // `cpu001 w 2%`
                let own = || {
                    let rest =
                        cells.iter().find_map(|cell| cell.strip_prefix(b"cpu").filter(|rest| !rest.is_empty()))?;
                    let (which, wait) = rest.split_once_str(" w ")?;
                    Some((number::<u32>(which)?, value(wait.trim_ascii().strip_suffix(b"%")?)?))
                };
                let (number, wait) = match own() {
                    _ if label == b"CPU" => (None, of("wait")),
                    Some((number, wait)) => (Some(number), Some(wait)),
                    None => return true,
                };
                let cpu = || {
                    Some(Cpu {
                        number,
                        user: of("user")?,
                        system: of("sys")? + of("irq").unwrap_or(0.0),
                        idle: of("idle")?,
                        iowait: wait?,
                        steal: of("steal").unwrap_or(0.0),
                        ..Cpu::default()
                    })
                };
                let Some(cpu) = cpu() else { return true };
                if let Some(block) = self.screen_block(stamp, elapsed) {
                    block.cpus.push(cpu);
                    block.lumped = Lumped::NiceToo;
                }
            }
            b"CPL" => {
                let hundredths = |name: &str| of(name).map(|average| super::table::whole_of(average * 100.0));
                let averages = || Some([hundredths("avg1")?, hundredths("avg5")?, hundredths("avg15")?]);
                let load = averages().map(|averages| LoadAvg { averages, ..LoadAvg::default() });
                let count = of("numcpu").map(super::table::whole).and_then(|count| u32::try_from(count).ok());
                self.text.cpus = count.filter(|count| *count > 0).or(self.text.cpus);
                let switches = rate("csw");
                if let Some(block) = self.screen_block(stamp, elapsed) {
                    (block.load, block.switches) = (load, switches);
                }
            }
            b"DSK" => {
                let Some(name) = cells.get(1).filter(|name| !name.is_empty() && name.find_byte(b' ').is_none()) else {
                    return true;
                };
                // `avio` is the time of the disk for each, not how long one took.
                let disk = Disk {
                    name: (*name).into(),
                    util: of("busy"),
                    reads: rate("read"),
                    writes: rate("write"),
                    read_kb: of("MBr/s").map(|mb| mb * 1024.0),
                    written_kb: of("MBw/s").map(|mb| mb * 1024.0),
                    queue: of("avq"),
                    ..Disk::default()
                };
                if let Some(block) = self.screen_block(stamp, elapsed) {
                    block.disks.push(disk);
                }
            }
            _ => {}
        }
        true
    }

    fn screen_block(&mut self, stamp: Stamp, elapsed: f64) -> Option<&mut super::Block> {
        let block = self.block(Source::Atop, stamp)?;
        block.interval = Some(elapsed);
        Some(block)
    }

    fn screen_row(&mut self, words: &[&[u8]], stamp: Stamp, elapsed: f64) -> bool {
        let columns = &self.screen.columns;
        let text = |name: &str| words.get(columns.iter().position(|column| column == name)?).copied();
        let row = || {
            let id = number(text("PID")?)?;
            let name = words.get(columns.len()..).filter(|name| !name.is_empty())?.join(&b' ');
            // One that has ended is in angle brackets.
            let name = name.strip_prefix(b"<").and_then(|name| name.strip_suffix(b">")).unwrap_or(&name).to_vec();
            let percent = |text: &[u8]| value(text.strip_suffix(b"%")?);
            let state = text("S").and_then(|state| if let [state] = state { Some(*state) } else { None });
            let bytes = |name: &str| Some(size(text(name)?)? / elapsed);
            Some(Task {
                pid: id,
                id,
                is_process: true,
                name: name.into(),
                state,
                cpu: text("CPU").and_then(percent),
                read: bytes("RDDSK"),
                written: bytes("WRDSK"),
                ..Task::default()
            })
        };
        let Some(task) = row() else { return false };
        let has_state = task.state.is_some();
        self.task(Source::Atop, stamp, task);
        if let Some(block) = self.screen_block(stamp, elapsed) {
            block.has_states |= has_state;
        }
        true
    }
}

/// A number, which may be short: `15826e3`.
fn value(text: &[u8]) -> Option<f64> {
    match text.split_once_str("e") {
        Some((digits, power)) => Some(decimal(digits)? * 10_f64.powi(number::<u8>(power)?.min(30).into())),
        None => decimal(text),
    }
}

/// `4.0K`, `0B`.
fn size(text: &[u8]) -> Option<f64> {
    let (unit, digits) = text.split_last()?;
    let at = b"BKMGT".iter().position(|known| known == unit)?;
    Some(decimal(digits)? * 1024_f64.powi(i32::try_from(at).ok()?))
}

/// Seconds: `10s`, `1h56m17s`, `1d2h`.
fn span(text: &[u8]) -> Option<f64> {
    let mut rest = text;
    let mut all = 0.0;
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| !byte.is_ascii_digit())?;
        let (digits, unit) = rest.split_at(end);
        let seconds = match unit.first()? {
            b's' => 1.0,
            b'm' => 60.0,
            b'h' => 3600.0,
            b'd' => 86_400.0,
            _ => return None,
        };
        all += f64::from(number::<u32>(digits)?) * seconds;
        rest = unit.get(1..)?;
    }
    (all > 0.0).then_some(all)
}
