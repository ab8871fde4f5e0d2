//! `dstat --output`: a line with groups, one with names, one for each interval; the first is of the time since the machine
//! started. The clock of a row tells no year, so the date is the one above the names.

use bstr::ByteSlice;

use super::super::{decimal, words};
use super::table::{whole, whole_of};
use super::time::{Stamp, clock};
use super::{Cpu, Disk, Reader, SinceStart, Source};
use crate::procfs::loadavg::LoadAvg;
use crate::procfs::stat::Lumped;

/// So many columns are read.
const COLUMNS: usize = 1024;

/// What is known from the lines before.
#[derive(Debug, Default)]
pub(super) struct State {
    /// The last line whose fields are all quoted.
    quoted: Vec<String>,
    /// The group and the name of each column.
    columns: Vec<(String, String)>,
}

impl Reader {
    pub(super) fn dstat(&mut self, line: &[u8]) -> bool {
        if line.starts_with(b"\"") {
            return self.dstat_head(line);
        }
        if self.dstat.columns.is_empty() || !line.first().is_some_and(u8::is_ascii_alphanumeric) {
            return false;
        }
        let fields = fields(line);
        if fields.len() < self.dstat.columns.len() {
            // A row that was cut off, or something else.
            return false;
        }
        let columns = std::mem::take(&mut self.dstat.columns);
        self.dstat_row(&columns, &fields);
        self.dstat.columns = columns;
        true
    }

    fn dstat_head(&mut self, line: &[u8]) -> bool {
        let fields = fields(line);
        let has = |name: &str| fields.iter().any(|field| field == name);
        if let Some(at) = fields.iter().position(|field| field == "Date:") {
            let date = fields.get(at + 1).map(String::as_bytes).unwrap_or_default();
            let words: Vec<&[u8]> = words(date).collect();
            self.date = self.dates.sentence(&words).and_then(|reading| reading.stamp.date);
            self.is_first = Some(SinceStart::Yes);
        }
        let is_names = has("time") || has("epoch") || (has("usr") && has("idl"));
        if is_names && !self.dstat.quoted.is_empty() {
            let mut group = String::new();
            let mut groups = self.dstat.quoted.iter();
            let column = |name: &String| {
                // One group may have several columns.
                if let Some(next) = groups.next().filter(|next| !next.is_empty()) {
                    group.clone_from(next);
                }
                let name = name.rsplit(':').next().unwrap_or(name);
                (group.clone(), name.to_owned())
            };
            self.dstat.columns = fields.iter().map(column).collect();
        }
        self.dstat.quoted = fields;
        true
    }

    fn dstat_row(&mut self, columns: &[(String, String)], fields: &[String]) {
        let text = |of: &str, name: &str| {
            let at = columns.iter().position(|(group, column)| group == of && column == name)?;
            fields.get(at).map(String::as_str)
        };
        let value = |group: &str, name: &str| decimal(text(group, name)?.as_bytes());
        let epoch = value("epoch", "epoch").filter(|epoch| (1e9..1e11).contains(epoch));
        let time = || text("system", "time")?.split(' ').next_back().and_then(|time| clock(time.as_bytes()));
        let stamp = match (epoch, time()) {
            (Some(_), _) => Stamp { epoch, ..Stamp::default() },
            (None, Some(clock)) => Stamp { clock, ..Stamp::default() },
            (None, None) => {
                self.text.without_time = self.text.without_time.saturating_add(1);
                return;
            }
        };
        let mut cpus: Vec<Cpu> = Vec::new();
        let mut disks: Vec<Disk> = Vec::new();
        let mut last = "";
        for (group, _) in columns.iter().filter(|(group, _)| !group.is_empty()) {
            if std::mem::replace(&mut last, group) == group {
                continue;
            }
            let of = |name: &str| value(group, name);
            if let Some(which) = group.strip_suffix(" usage") {
                let number = which.strip_prefix("cpu").and_then(|number| super::super::number(number.as_bytes()));
                cpus.extend((number.is_some() || which == "total cpu").then(|| cpu(number, of)).flatten());
            }
            // All disks together are none, and bytes alone do not tell how many reads there were.
            if let Some(name) = group.strip_prefix("io/").filter(|name| *name != "total") {
                let kb = |what: &str| value(&format!("dsk/{name}"), what).map(|bytes| bytes / 1024.0);
                disks.push(Disk {
                    name: name.into(),
                    reads: of("read"),
                    writes: of("writ"),
                    read_kb: kb("read"),
                    written_kb: kb("writ"),
                    ..Disk::default()
                });
            }
        }
        let hundredths = |name: &str| value("load avg", name).map(|average| whole_of(average * 100.0));
        let averages = || Some([hundredths("1m")?, hundredths("5m")?, hundredths("15m")?]);
        let load = averages().map(|averages| LoadAvg { averages, ..LoadAvg::default() });
        let Some(block) = self.block(Source::Dstat, stamp) else { return };
        (block.cpus, block.lumped) = (cpus, Lumped::NiceToo);
        (block.disks, block.load) = (disks, load);
        (block.running, block.blocked) = (value("procs", "run").map(whole), value("procs", "blk").map(whole));
        (block.made, block.switches) = (value("procs", "new"), value("system", "csw"));
    }
}

/// Old ones tell interrupts apart; they are of the kernel here, as they are since.
fn cpu(number: Option<u32>, of: impl Fn(&str) -> Option<f64>) -> Option<Cpu> {
    let interrupts = of("hiq").unwrap_or(0.0) + of("siq").unwrap_or(0.0);
    Some(Cpu {
        number,
        user: of("usr")?,
        system: of("sys")? + interrupts,
        idle: of("idl")?,
        iowait: of("wai").unwrap_or(0.0),
        steal: of("stl").unwrap_or(0.0),
        ..Cpu::default()
    })
}

/// The fields of a line; a comma between quotes is one.
fn fields(line: &[u8]) -> Vec<String> {
    let mut is_quoted = false;
    let is_end = |byte: &u8| {
        is_quoted ^= *byte == b'"';
        *byte == b',' && !is_quoted
    };
    let field = |field: &[u8]| field.trim_with(|c| c == '"' || c.is_ascii_whitespace()).to_str_lossy().into_owned();
    line.split(is_end).take(COLUMNS).map(field).collect()
}
