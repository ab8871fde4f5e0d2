//! Tables: a line with names, lines with values. sysstat's programs and `vmstat` print such.

use bstr::{BString, ByteSlice};

use super::super::decimal;
use super::time::{Reading, Stamp};
use super::{Cpu, Disk, Reader, SinceStart, Source, Task};
use crate::procfs::loadavg::LoadAvg;
use crate::procfs::stat::Lumped;

/// A table whose rows are read.
#[derive(Clone, Debug)]
pub(super) struct Table {
    kind: Kind,
    columns: Vec<String>,
    /// The moment in the line with the names: sysstat prints there when the interval began.
    began: Option<Stamp>,
    /// Each row begins with a time.
    has_time: bool,
    /// What was read of a row that goes on in the next line.
    row: Vec<BString>,
    /// No row was read yet, so that the names may go on.
    is_new: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A disk in each row.
    Disks(Source),
    /// `avg-cpu` of `iostat`: one row, without a name.
    Average,
    /// A processor in each row.
    Cpus,
    /// A process in each row.
    Tasks,
    /// `vmstat`.
    Vmstat,
    /// `sar -q`.
    Queue,
    /// `sar -w`.
    Made,
}

/// Names that may begin the second half of a line with names.
const NAMES: [&str; 12] = [
    "avgqu-sz",
    "await",
    "svctm",
    "%util",
    "%idle",
    "%steal",
    "Command",
    "CPU",
    "kB_wr/s",
    "kB_ccwr/s",
    "w_await",
    "r_await",
];

impl Reader {
    pub(super) fn table(&mut self, line: &[u8], words: &[&[u8]]) -> bool {
        self.names(words) || self.more_names(words) || self.row(line, words)
    }

    /// A line with names.
    fn names(&mut self, words: &[&[u8]]) -> bool {
        // `# Time UID PID …` of `pidstat -h`; the last words of `vmstat -t` are a zone, whatever it is called.
        let (words, is_marked) = match words {
            [b"#", b"Time", rest @ ..] => (rest, true),
            words => (words, false),
        };
        let reading = if is_marked { None } else { self.dates.read(words) };
        let used = reading.map_or(0, |reading| reading.used);
        let rest = words.get(used..).unwrap_or_default();
        let has = |name: &str| rest.contains(&name.as_bytes());
        let first = rest.first().copied().unwrap_or_default();
        let has_time = used > 0 || is_marked;
        let kind = match first {
            b"Device:" | b"Device" if !has_time => Kind::Disks(Source::Iostat),
            // With -h the names come last.
            b"tps" | b"r/s" | b"w/s" | b"d/s" | b"f/s" if rest.last() == Some(&&b"Device"[..]) => {
                Kind::Disks(Source::Iostat)
            }
            b"DEV" if has_time && has("tps") => Kind::Disks(Source::Sar),
            // With -p they do, too.
            b"tps" if has_time && rest.last() == Some(&&b"DEV"[..]) => Kind::Disks(Source::Sar),
            b"avg-cpu:" => Kind::Average,
            b"CPU" if has_time && (has("%user") || has("%usr")) => Kind::Cpus,
            b"UID" | b"USER" | b"PID" if has_time && (has("%CPU") || has("kB_wr/s")) => Kind::Tasks,
            b"r" if rest.get(1) == Some(&&b"b"[..]) && has("us") && has("id") => Kind::Vmstat,
            b"runq-sz" => Kind::Queue,
            b"proc/s" => Kind::Made,
            // The names of a table that is not read: its rows are no part of the one before.
            _ if used > 0 && rest.len() > 1 && rest.iter().all(|word| cell(word).is_none()) => {
                self.table = None;
                return true;
            }
            _ => return false,
        };
        let columns = rest.iter().map(|word| word.to_str_lossy().trim_end_matches(':').to_owned()).collect();
        let began = reading.map(|reading| reading.stamp);
        if kind == Kind::Vmstat && self.table.as_ref().is_none_or(|table| table.kind != kind) {
            self.is_first = self.is_first.or(Some(SinceStart::Yes));
        }
        let has_time = has_time && kind != Kind::Vmstat;
        self.is_fresh = false;
        self.table = Some(Table { kind, columns, began, has_time, row: Vec::new(), is_new: true });
        true
    }

    /// The names go on in another line.
    fn more_names(&mut self, words: &[&[u8]]) -> bool {
        let Some(table) = self.table.as_mut().filter(|table| table.is_new) else { return false };
        let known = |word: &&[u8]| NAMES.iter().any(|name| name.as_bytes() == *word);
        if !words.iter().all(known) {
            return false;
        }
        table.columns.extend(words.iter().map(|word| word.to_str_lossy().into_owned()));
        true
    }

    fn row(&mut self, line: &[u8], words: &[&[u8]]) -> bool {
        let Some(mut table) = self.table.take() else { return false };
        let is_read = self.row_of(&mut table, line, words);
        // A line of another kind ends a table, but for what is read row by row with its time.
        if is_read || table.has_time || !table.row.is_empty() || table.is_new {
            table.is_new = table.is_new && !is_read;
            self.table = Some(table);
        }
        is_read
    }

    fn row_of(&mut self, table: &mut Table, line: &[u8], words: &[&[u8]]) -> bool {
        if !table.row.is_empty() {
            // The rest of a row is numbers alone.
            let is_rest = words.iter().all(|word| decimal(word).is_some());
            if !is_rest {
                table.row.clear();
            }
        }
        let mut stamp = self.stamp;
        let mut rest = words;
        if table.has_time && table.row.is_empty() {
            let Some(reading) = self.row_time(words) else { return false };
            stamp = Some(reading.stamp);
            rest = words.get(reading.used..).unwrap_or_default();
        }
        if table.kind == Kind::Tasks {
            return stamp.is_some_and(|stamp| self.task_row(table, stamp, line, rest));
        }
        let mut row = std::mem::take(&mut table.row);
        if table.has_time && row.is_empty() {
            // It is kept with what was read of it, since the rest has no time.
            self.stamp = stamp.or(self.stamp);
        }
        row.extend(rest.iter().map(|word| BString::from(*word)));
        let expected = match table.kind {
            Kind::Average => table.columns.len().saturating_sub(1),
            Kind::Vmstat => vmstat_columns(table),
            _ => table.columns.len(),
        };
        if row.len() < expected {
            let numbers = row.iter().skip(1).all(|word| decimal(word).is_some());
            let begins = row.len() > 1 && numbers;
            if begins {
                table.row = row;
            }
            return begins;
        }
        self.take(table, stamp, &row)
    }

    /// The time at the beginning of a row; `pidstat -h` of before 12 prints seconds since 1970.
    fn row_time(&self, words: &[&[u8]]) -> Option<Reading> {
        self.dates.read(words).or_else(|| {
            let epoch = decimal(words.first()?).filter(|epoch| (1e9..1e11).contains(epoch))?;
            Some(Reading { stamp: Stamp { epoch: Some(epoch), ..Stamp::default() }, used: 1 })
        })
    }

    fn take(&mut self, table: &Table, stamp: Option<Stamp>, row: &[BString]) -> bool {
        let value = |name: &str| {
            let at = table.columns.iter().position(|column| column == name)?;
            cell(row.get(at)?)
        };
        // With -h the name comes last, and each kind of request has a table.
        let is_last = table.columns.last().is_some_and(|column| column == "Device" || column == "DEV");
        let name = if is_last { row.get(table.columns.len().saturating_sub(1)) } else { row.first() };
        let name = name.map(|name| name.to_vec()).unwrap_or_default();
        match table.kind {
            Kind::Disks(source) => {
                let disk = disk(&name, value);
                if !is_last && !disk.is_told() {
                    return false;
                }
                self.of_moment(source, stamp, table, |block| {
                    match block.disks.iter_mut().find(|other| is_last && other.name == disk.name) {
                        Some(other) => other.learn(&disk),
                        None => block.disks.push(disk),
                    }
                })
            }
            Kind::Average => {
                // The first word of the names is no column.
                let at = |name: &str| {
                    let at = table.columns.iter().position(|column| column == name)?.checked_sub(1)?;
                    cell(row.get(at)?)
                };
                let Some(cpu) = cpu(None, at) else { return false };
                self.of_moment(Source::Iostat, stamp, table, |block| {
                    block.cpus.push(cpu);
                    block.lumped = Lumped::Interrupts;
                })
            }
            Kind::Cpus => {
                let number = match name.as_slice() {
                    b"all" => None,
                    name => match super::super::number(name) {
                        Some(number) => Some(number),
                        None => return false,
                    },
                };
                let Some(cpu) = cpu(number, value) else { return false };
                let is_told = value("%irq").is_some() && value("%soft").is_some();
                self.of_moment(Source::Sar, stamp, table, |block| {
                    block.cpus.push(cpu);
                    block.lumped = if is_told { Lumped::Nothing } else { Lumped::Interrupts };
                })
            }
            Kind::Vmstat => self.vmstat(table, row),
            Kind::Queue => {
                let whole = |name: &str| value(name).map(whole);
                let hundredths = |name: &str| value(name).map(|average| whole_of(average * 100.0));
                let averages = || Some([hundredths("ldavg-1")?, hundredths("ldavg-5")?, hundredths("ldavg-15")?]);
                let (running, total) = (whole("runq-sz"), whole("plist-sz"));
                let load = averages().map(|averages| LoadAvg {
                    averages,
                    running: running.unwrap_or(0),
                    total: total.unwrap_or(0),
                    last_pid: 0,
                });
                let blocked = whole("blocked");
                self.of_moment(Source::Sar, stamp, table, |block| {
                    (block.load, block.running, block.blocked) = (load, running, blocked);
                })
            }
            Kind::Made => {
                let (made, switches) = (value("proc/s"), value("cswch/s"));
                self.of_moment(Source::Sar, stamp, table, |block| (block.made, block.switches) = (made, switches))
            }
            Kind::Tasks => false,
        }
    }

    /// Adds to the block of that moment; without any it is counted.
    fn of_moment(
        &mut self,
        source: Source,
        stamp: Option<Stamp>,
        table: &Table,
        add: impl FnOnce(&mut super::Block),
    ) -> bool {
        let Some(stamp) = stamp else {
            self.text.without_time = self.text.without_time.saturating_add(1);
            return true;
        };
        let began = table.began.map(|began| self.dated(began));
        if let Some(block) = self.block(source, stamp) {
            block.began = block.began.or(began);
            add(block);
        }
        true
    }

    fn vmstat(&mut self, table: &Table, row: &[BString]) -> bool {
        let value = |name: &str| {
            let at = table.columns.iter().position(|column| column == name)?;
            decimal(row.get(at)?)
        };
        let words: Vec<&[u8]> = row.iter().map(|word| word.as_slice()).collect();
        let stamp = words.get(vmstat_columns(table)..).and_then(|rest| self.dates.read(rest));
        let numbers = || Some((whole(value("r")?), whole(value("b")?), value("us")?, value("sy")?, value("id")?));
        let Some((running, blocked, user, system, idle)) = numbers() else { return false };
        let switches = value("cs");
        let (iowait, steal) = (value("wa").unwrap_or(0.0), value("st").unwrap_or(0.0));
        let cpu = Cpu { user, system, idle, iowait, steal, ..Cpu::default() };
        self.of_moment(Source::Vmstat, stamp.map(|reading| reading.stamp).or(self.stamp), table, |block| {
            (block.running, block.blocked, block.switches) = (Some(running), Some(blocked), switches);
            block.cpus.push(cpu);
            block.lumped = Lumped::NiceToo;
        })
    }

    /// A row of `pidstat`. The last column is a command, which may have blanks in it.
    fn task_row(&mut self, table: &Table, stamp: Stamp, _line: &[u8], row: &[&[u8]]) -> bool {
        let at = |name: &str| table.columns.iter().position(|column| column == name);
        let text = |name: &str| row.get(at(name)?).copied();
        let value = |name: &str| decimal(text(name)?);
        let id = |name: &str| text(name).and_then(super::super::number::<u32>);
        let Some(command) = at("Command").and_then(|at| row.get(at)) else { return false };
        let command = command.strip_prefix(b"|__").unwrap_or(command);
        // `TGID 7 TID -` is the process, `TGID - TID 8` one of its threads; without threads there is only `PID`.
        let (pid, thread) = (id("TGID").or_else(|| id("PID")), id("TID"));
        let (Some(number), is_process) = (thread.or(pid), thread.is_none()) else { return false };
        let leader = if is_process { number } else { self.top.leader(pid) };
        if is_process {
            self.top.is_led_by(number);
        }
        // A negative rate stands for what could not be read.
        let bytes = |name: &str| value(name).filter(|rate| *rate >= 0.0).map(|rate| rate * 1024.0);
        let task = Task {
            pid: leader,
            id: number,
            is_process,
            parent: None,
            name: command.into(),
            state: None,
            cpu: value("%CPU"),
            read: bytes("kB_rd/s"),
            written: bytes("kB_wr/s"),
            cancelled: bytes("kB_ccwr/s"),
            files: at("Command").and_then(|at| row.get(at..)).map(super::fio::files_of).unwrap_or_default(),
        };
        let began = table.began.map(|began| self.dated(began));
        self.task(Source::Pidstat, stamp, task);
        if let Some(block) = self.block(Source::Pidstat, stamp) {
            block.began = block.began.or(began);
        }
        true
    }
}

/// The columns of `vmstat` without the time behind them.
fn vmstat_columns(table: &Table) -> usize {
    // Other languages call those of memory otherwise. The last ones are these; what follows is the zone.
    const LAST: [&str; 6] = ["us", "sy", "id", "wa", "st", "gu"];
    table.columns.iter().rposition(|column| LAST.contains(&column.as_str())).map_or(0, |at| at + 1)
}

pub(super) fn cpu(number: Option<u32>, value: impl Fn(&str) -> Option<f64>) -> Option<Cpu> {
    let either = |one: &str, other: &str| value(one).or_else(|| value(other));
    Some(Cpu {
        number,
        // sysstat tells guests apart from programs where it tells interrupts; they are programs here.
        user: either("%user", "%usr")? + value("%guest").unwrap_or(0.0),
        nice: value("%nice")? + value("%gnice").unwrap_or(0.0),
        system: either("%system", "%sys")?,
        iowait: value("%iowait").unwrap_or(0.0),
        irq: value("%irq").unwrap_or(0.0),
        softirq: value("%soft").unwrap_or(0.0),
        steal: value("%steal").unwrap_or(0.0),
        idle: value("%idle")?,
    })
}

/// A number; with -h it is followed by a percent sign, or by a unit above that of its column, which is kB.
fn cell(word: &[u8]) -> Option<f64> {
    let (digits, factor) = match word.split_last() {
        Some((b'%' | b'k', digits)) => (digits, 1.0),
        Some((b'M', digits)) => (digits, 1024.0),
        Some((b'G', digits)) => (digits, 1024.0 * 1024.0),
        _ => (word, 1.0),
    };
    Some(decimal(digits)? * factor)
}

pub(super) fn disk(name: &[u8], value: impl Fn(&str) -> Option<f64>) -> Disk {
    // Sectors of 512 bytes, or blocks, which are the same; MiB with -m.
    let kb = |names: [&str; 3], sectors: [&str; 2], mb: [&str; 2]| {
        let direct = names.iter().find_map(|name| value(name));
        let by_sectors = || sectors.iter().find_map(|name| value(name)).map(|sectors| sectors / 2.0);
        let by_mb = || mb.iter().find_map(|name| value(name)).map(|mb| mb * 1024.0);
        direct.or_else(by_sectors).or_else(by_mb)
    };
    Disk {
        name: name.into(),
        transfers: value("tps"),
        reads: value("r/s"),
        writes: value("w/s"),
        read_kb: kb(["rkB/s", "kB_read/s", "rdkB/s"], ["rsec/s", "rd_sec/s"], ["rMB/s", "MB_read/s"]),
        written_kb: kb(["wkB/s", "kB_wrtn/s", "wrkB/s"], ["wsec/s", "wr_sec/s"], ["wMB/s", "MB_wrtn/s"]),
        merged: [value("rrqm/s"), value("wrqm/s")],
        wait: value("await"),
        read_wait: value("r_await"),
        write_wait: value("w_await"),
        queue: value("aqu-sz").or_else(|| value("avgqu-sz")),
        util: value("%util"),
    }
}

impl Disk {
    /// Whether it is told what was asked of it.
    pub(super) fn is_told(&self) -> bool {
        (self.reads.is_some() && self.writes.is_some()) || self.transfers.is_some()
    }

    /// What another table tells of the same.
    fn learn(&mut self, other: &Disk) {
        let Disk {
            name: _,
            transfers,
            reads,
            writes,
            read_kb,
            written_kb,
            merged: [one, two],
            wait,
            read_wait,
            write_wait,
            queue,
            util,
        } = other;
        let pairs = [
            (&mut self.transfers, transfers),
            (&mut self.reads, reads),
            (&mut self.writes, writes),
            (&mut self.read_kb, read_kb),
            (&mut self.written_kb, written_kb),
            (&mut self.wait, wait),
            (&mut self.read_wait, read_wait),
            (&mut self.write_wait, write_wait),
            (&mut self.queue, queue),
            (&mut self.util, util),
        ];
        let [first, second] = &mut self.merged;
        for (own, theirs) in pairs.into_iter().chain([(first, one), (second, two)]) {
            *own = own.or(*theirs);
        }
    }
}

/// A number that is whole.
pub(super) fn whole(value: f64) -> u64 {
    whole_of(value)
}

pub(super) fn whole_of(value: f64) -> u64 {
    super::super::rounded(value)
}
