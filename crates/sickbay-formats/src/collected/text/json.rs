//! `iostat -o JSON`, `mpstat -o JSON` and `sadf -j`: the same figures as in the tables, each interval an object of its own.
//! The objects are read one by one, since who is stopped by a signal leaves the document open.

use std::borrow::Cow;

use bstr::ByteSlice;
use serde_json::Value;

use super::super::words;
use super::table::{cpu, disk, whole, whole_of};
use super::time::Stamp;
use super::{Dates, Reader, SinceStart, Source, Text};
use crate::procfs::loadavg::LoadAvg;
use crate::procfs::stat::Lumped;

/// The head of a host is looked for in so much before its first interval.
const HEAD: usize = 4096;

const DAY: f64 = 86_400.0;

/// Whether a text begins as such a document does, of which only the beginning may be there.
pub(super) fn begins(text: &[u8]) -> bool {
    let mut text = text.trim_ascii_start();
    for token in [&b"{"[..], b"\"sysstat\"", b":"] {
        match text.strip_prefix(token) {
            Some(rest) => text = rest.trim_ascii_start(),
            None => return false,
        }
    }
    true
}

/// All that such documents tell, one after the other. `None` where the text is none.
pub(super) fn read(text: &[u8]) -> Option<Text> {
    begins(text).then_some(())?;
    let text = with_points(text);
    let mut reader = Reader::new(Dates::of(&text));
    let mut before = 0;
    for at in text.find_iter("\"statistics\"") {
        let head = text.get(before.max(at.saturating_sub(HEAD))..at).unwrap_or_default();
        reader.host(head);
        let rest = text.get(at..).unwrap_or_default();
        if let Some(open) = rest.find_byte(b'[') {
            reader.intervals(rest.get(open + 1..).unwrap_or_default());
        }
        before = at;
    }
    Some(reader.end())
}

/// With points in numbers, where the locale had commas: sysstat has a blank behind each comma of its own.
fn with_points(text: &[u8]) -> Cow<'_, [u8]> {
    let mut owned = Cow::Borrowed(text);
    let mut is_quoted = false;
    for (at, byte) in text.iter().enumerate() {
        let is_digit = |at: usize| text.get(at).is_some_and(u8::is_ascii_digit);
        match byte {
            b'"' => is_quoted = !is_quoted,
            b',' if !is_quoted && at > 0 && is_digit(at - 1) && is_digit(at + 1) => {
                if let Some(place) = owned.to_mut().get_mut(at) {
                    *place = b'.';
                }
            }
            _ => {}
        }
    }
    owned
}

impl Reader {
    /// `{"nodename": "host", … "date": "12/01/26",` as it stands before the intervals.
    fn host(&mut self, head: &[u8]) {
        let from = head.rfind("\"nodename\"").unwrap_or(0);
        let head = head.get(from..).unwrap_or_default().trim_ascii_end();
        let object = [b"{", head.strip_suffix(b",").unwrap_or(head), b"}"].concat();
        let Ok(head) = serde_json::from_slice::<Value>(&object) else { return };
        let text = |name: &str| head.get(name).and_then(Value::as_str);
        if let Some(node) = text("nodename") {
            self.text.node.get_or_insert_with(|| node.into());
        }
        if let Some(release) = text("release") {
            self.text.release.get_or_insert_with(|| release.into());
        }
        let count = head.get("number-of-cpus").and_then(Value::as_u64).and_then(|count| u32::try_from(count).ok());
        self.text.cpus = count.or(self.text.cpus);
        let date = text("date").or_else(|| text("file-date"));
        self.date = date.and_then(|date| self.dates.date(date.as_bytes())).or(self.date);
        self.is_first = Some(SinceStart::Perhaps);
    }

    fn intervals(&mut self, mut rest: &[u8]) {
        loop {
            rest = rest.trim_start_with(|c| c == ',' || c.is_ascii_whitespace());
            if !rest.starts_with(b"{") {
                return;
            }
            let mut objects = serde_json::Deserializer::from_slice(rest).into_iter::<Value>();
            // The last one may not be whole.
            let Some(Ok(interval)) = objects.next() else { return };
            rest = rest.get(objects.byte_offset()..).unwrap_or_default();
            self.interval(&interval);
        }
    }

    fn interval(&mut self, told: &Value) {
        let list = |name: &str| told.get(name).and_then(Value::as_array).map(Vec::as_slice);
        let is_iostat = told.get("avg-cpu").is_some()
            || list("disk").is_some_and(|disks| disks.iter().any(|disk| disk.get("disk_device").is_some()));
        let source = if is_iostat { Source::Iostat } else { Source::Sar };
        let Some((stamp, length)) = told.get("timestamp").and_then(|time| self.time(time)) else {
            self.text.without_time = self.text.without_time.saturating_add(1);
            return;
        };
        let cpus = list("cpu-load").or_else(|| list("cpu-load-all")).unwrap_or_default();
        let rows = cpus.iter().chain(told.get("avg-cpu"));
        let cpus = rows.filter_map(|row| {
            let number = match row.get("cpu").and_then(Value::as_str) {
                None | Some("all") => None,
                Some(number) => Some(super::super::number(number.as_bytes())?),
            };
            cpu(number, |name| value(row, name))
        });
        let cpus: Vec<_> = cpus.collect();
        let is_apart = told.get("avg-cpu").is_none() && cpus_apart(told);
        let disks = list("disk").unwrap_or_default().iter().filter_map(|row| {
            let name = row.get("disk_device").or_else(|| row.get("disk-device"))?.as_str()?;
            Some(disk(name.as_bytes(), |name| value(row, name)))
        });
        let disks: Vec<_> = disks.collect();
        let of = |table: &str, name: &str| told.get(table)?.get(name)?.as_f64();
        let queue = |name: &str| of("queue", name).map(whole);
        let hundredths = |name: &str| of("queue", name).map(|average| whole_of(average * 100.0));
        let averages = || Some([hundredths("ldavg-1")?, hundredths("ldavg-5")?, hundredths("ldavg-15")?]);
        let load = averages().map(|averages| LoadAvg {
            averages,
            running: queue("runq-sz").unwrap_or(0),
            total: queue("plist-sz").unwrap_or(0),
            last_pid: 0,
        });
        let created = |name: &str| of("process-and-context-switch", name);
        let Some(block) = self.block(source, stamp) else { return };
        block.began = length.map(|length| Stamp { clock: (stamp.clock - length).rem_euclid(DAY), ..stamp });
        if !cpus.is_empty() {
            (block.cpus, block.lumped) = (cpus, if is_apart { Lumped::Nothing } else { Lumped::Interrupts });
        }
        block.disks = disks;
        (block.load, block.running, block.blocked) = (load, queue("runq-sz"), queue("blocked"));
        (block.made, block.switches) = (created("proc"), created("cswch"));
    }

    /// `"12/01/26 13:12:10"`, or with its parts apart, and how long the interval was.
    fn time(&self, time: &Value) -> Option<(Stamp, Option<f64>)> {
        let read = |text: &str| {
            let words: Vec<&[u8]> = words(text.as_bytes()).collect();
            let whole = self.dates.read(&words).filter(|reading| reading.used == words.len());
            whole.or_else(|| self.dates.sentence(&words)).map(|reading| reading.stamp)
        };
        if let Some(text) = time.as_str() {
            return Some((read(text)?, None));
        }
        let text = |name: &str| time.get(name).and_then(Value::as_str);
        let is_utc = time.get("utc").and_then(Value::as_u64) == Some(1) || text("tz") == Some("UTC");
        let stamp = read(&format!("{} {}", text("date")?, text("time")?))?;
        // In whole seconds, so that it tells no more than when the interval began.
        let length = time.get("interval").and_then(Value::as_f64).filter(|length| *length > 0.0 && *length < DAY);
        Some((Stamp { offset: is_utc.then_some(0).or(stamp.offset), ..stamp }, length))
    }
}

/// Whether the time of interrupts is told apart from that of the kernel.
fn cpus_apart(told: &Value) -> bool {
    let rows = told.get("cpu-load").or_else(|| told.get("cpu-load-all")).and_then(Value::as_array);
    rows.into_iter().flatten().any(|row| row.get("irq").is_some() && row.get("soft").is_some())
}

/// By its name in the tables: `%util` is `util` or `util-percent` here, `rkB/s` may be `rkB`.
fn value(row: &Value, name: &str) -> Option<f64> {
    let plain = name.trim_start_matches('%');
    let percent = || row.get(format!("{plain}-percent"));
    let found = row.get(name).or_else(|| row.get(plain.trim_end_matches("/s"))).or_else(|| row.get(plain));
    found.or_else(percent)?.as_f64().filter(|value| value.is_finite())
}
