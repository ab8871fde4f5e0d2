//! `sickbay explain io`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;

use super::{Mean, ROWS, SHOWN, TimesV1, Told, cell, greatest, known, left_out, name, rounded};
use crate::report::text::{Style, printable};
use crate::sample::rates::DiskRates;
use crate::tr;

/// What the disks did: `sickbay/io/v1`. Fields are only ever added.
#[derive(Debug, Serialize, JsonSchema)]
pub struct IoV1 {
    /// Always `sickbay/io/v1`.
    pub schema: &'static str,
    /// In the order of time.
    pub intervals: Vec<IoIntervalV1>,
    /// Processes over all of it, those that had most read and written first.
    pub processes: Vec<IoProcessV1>,
    /// What a reader should know about the figures, a sentence each.
    pub remarks: Vec<String>,
}

/// One interval.
#[derive(Debug, Serialize, JsonSchema)]
pub struct IoIntervalV1 {
    /// When the interval began and ended.
    #[serde(flatten)]
    pub times: TimesV1,
    /// The disks.
    pub disks: Vec<DiskV1>,
}

/// A disk, by the names of `iostat -x`. What is not known is null.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DiskV1 {
    /// The kernel's name of the disk: `sda`, `nvme0n1`.
    pub disk: String,
    /// Reads, writes and discards a second.
    pub tps: Option<f64>,
    /// Reads a second.
    #[serde(rename = "r/s")]
    pub reads: Option<f64>,
    /// Writes a second.
    #[serde(rename = "w/s")]
    pub writes: Option<f64>,
    /// KiB read a second.
    #[serde(rename = "rkB/s")]
    pub read_kb: Option<f64>,
    /// KiB written a second.
    #[serde(rename = "wkB/s")]
    pub written_kb: Option<f64>,
    /// Milliseconds that a read, a write or a discard took; 0 when there was none.
    #[serde(rename = "await")]
    pub wait: Option<f64>,
    /// Milliseconds that a read took.
    pub r_await: Option<f64>,
    /// Milliseconds that a write took.
    pub w_await: Option<f64>,
    /// How many were on their way, on the average.
    #[serde(rename = "aqu-sz")]
    pub queue: Option<f64>,
    /// Percent of the time in which one was; above 100 where the interval was not what it was taken for.
    pub util: Option<f64>,
}

/// A process.
#[derive(Debug, Serialize, JsonSchema)]
pub struct IoProcessV1 {
    /// The PID.
    pub pid: u32,
    /// The name of the program.
    pub name: String,
    /// KiB a second that it had read, on the average of the intervals in which it was there; null when it is not known.
    #[serde(rename = "kB_rd/s")]
    pub read_kb: Option<f64>,
    /// KiB a second that it had written.
    #[serde(rename = "kB_wr/s")]
    pub written_kb: Option<f64>,
    /// Both together in the interval with most.
    pub peak_kb: Option<f64>,
    /// When that ended: RFC 3339.
    pub peak_at: Option<String>,
}

fn disk(rates: &DiskRates<'_>) -> DiskV1 {
    // What there was none of took no time, as sysstat has it.
    let none = |count: Option<f64>| count.filter(|count| *count == 0.0);
    DiskV1 {
        disk: rates.disk.name.to_string(),
        tps: known(rates.transfers),
        reads: known(rates.reads),
        writes: known(rates.writes),
        read_kb: known(rates.read_kb),
        written_kb: known(rates.written_kb),
        wait: known(rates.wait.or(none(rates.transfers))),
        r_await: known(rates.read_wait.or(none(rates.reads))),
        w_await: known(rates.write_wait.or(none(rates.writes))),
        queue: known(rates.queue),
        util: known(rates.util),
    }
}

/// The name of a process, what it had read, written and both, and when that was most.
type Sums = (String, [Mean; 3], Option<TimesV1>);

fn processes(told: &Told) -> Vec<IoProcessV1> {
    let mut all: BTreeMap<(u32, u64), Sums> = BTreeMap::new();
    for interval in &told.intervals(|sample| sample.io.is_some()) {
        for rates in interval.io().unwrap_or_default() {
            let process = rates.process;
            let (known, means, when) = all.entry((process.pid, process.began)).or_default();
            *known = process.name.to_string();
            let [read, written, both] = means;
            read.add(rates.read, interval);
            written.add(rates.written, interval);
            let sum = rates.read.zip(rates.written).map(|(read, written)| read + written);
            let before = both.peak();
            both.add(sum, interval);
            if both.peak() > before {
                *when = Some(told.times(interval));
            }
        }
    }
    let kb = |mean: &Mean| known(mean.value().map(|bytes| bytes / 1024.0));
    let row = |((pid, _), (name, [read, written, both], when)): ((u32, u64), Sums)| {
        let peak = both.peak().filter(|peak| *peak > 0.0)?;
        Some(IoProcessV1 {
            pid,
            name,
            read_kb: kb(&read),
            written_kb: kb(&written),
            peak_kb: Some(rounded(peak / 1024.0)),
            peak_at: when.map(|times| times.to),
        })
    };
    let mut rows: Vec<IoProcessV1> = all.into_iter().filter_map(row).collect();
    let sum = |row: &IoProcessV1| row.read_kb.unwrap_or(0.0) + row.written_kb.unwrap_or(0.0);
    rows.sort_by(|one, other| sum(other).total_cmp(&sum(one)));
    rows
}

/// The document for programs.
pub fn json(told: &Told, style: &Style) -> IoV1 {
    let intervals = told.intervals(|sample| sample.disks.is_some());
    let interval = |interval: &crate::sample::rates::Interval<'_>| IoIntervalV1 {
        times: told.times(interval),
        disks: interval.disks().unwrap_or_default().iter().map(disk).collect(),
    };
    IoV1 {
        schema: "sickbay/io/v1",
        intervals: intervals.iter().map(interval).collect(),
        processes: processes(told),
        remarks: told.remarks(style),
    }
}

/// The columns, with their width, their places, and how each is found.
type Column = (&'static str, usize, usize, fn(&DiskRates<'_>) -> Option<f64>);

/// With reads and writes apart; `sar` has only their sum.
const APART: [Column; 8] = [
    ("r/s", 7, 2, |rates| rates.reads),
    ("w/s", 8, 2, |rates| rates.writes),
    ("rkB/s", 9, 2, |rates| rates.read_kb),
    ("wkB/s", 9, 2, |rates| rates.written_kb),
    ("r_await", 8, 2, |rates| rates.read_wait),
    ("w_await", 8, 2, |rates| rates.write_wait),
    ("aqu-sz", 7, 2, |rates| rates.queue),
    ("%util", 7, 2, |rates| rates.util),
];

const TOGETHER: [Column; 6] = [
    ("tps", 9, 2, |rates| rates.transfers),
    ("rkB/s", 10, 2, |rates| rates.read_kb),
    ("wkB/s", 10, 2, |rates| rates.written_kb),
    ("await", 8, 2, |rates| rates.wait),
    ("aqu-sz", 8, 2, |rates| rates.queue),
    ("%util", 8, 2, |rates| rates.util),
];

/// Renders it as text, for people.
pub fn render(told: &Told, style: &Style) -> String {
    let intervals = told.intervals(|sample| sample.disks.is_some());
    let disks: Vec<Vec<DiskRates<'_>>> =
        intervals.iter().map(|interval| interval.disks().unwrap_or_default()).collect();
    let processes = processes(told);
    if disks.iter().all(Vec::is_empty) && processes.is_empty() {
        return told.nothing(&tr!("nothing is known of what the disks did"), style);
    }
    let mut out = String::new();
    if !intervals.is_empty() {
        let _ = writeln!(out, "{}", told.head(&intervals, style));
        let is_apart = disks.iter().flatten().any(|rates| rates.reads.is_some());
        let columns: &[Column] = if is_apart { &APART } else { &TOGETHER };
        means(&mut out, told, columns, &disks, style);
        if intervals.len() > 1 {
            moments(&mut out, told, columns, &disks, style);
        }
    }
    if !processes.is_empty() {
        let of = |text| style.say(&text);
        let _ = writeln!(
            out,
            "\n{:>10} {:>10} {:>10}  {:>7}  {}",
            "kB_rd/s",
            "kB_wr/s",
            of(tr!("peak")),
            "PID",
            of(tr!("program"))
        );
        let most = if style.verbose { usize::MAX } else { ROWS };
        for process in processes.iter().take(most) {
            let cells =
                [process.read_kb, process.written_kb, process.peak_kb].map(|value| cell(value, 10, 2)).join(" ");
            let when = process.peak_at.as_deref().and_then(|when| when.get(11..19)).unwrap_or("-");
            let _ = writeln!(out, "{cells}  {:>7}  {} ({when})", process.pid, printable(&process.name));
        }
        left_out(&mut out, processes.len().saturating_sub(most), style);
    }
    super::end(&mut out, told, style);
    out
}

fn heads(columns: &[Column]) -> String {
    columns.iter().map(|(name, width, ..)| format!("{name:>width$}")).collect()
}

/// Of each disk over all intervals. One that did nothing is left out.
fn means(out: &mut String, told: &Told, columns: &[Column], disks: &[Vec<DiskRates<'_>>], style: &Style) {
    let intervals = told.intervals(|sample| sample.disks.is_some());
    let mut each: BTreeMap<String, Vec<Mean>> = BTreeMap::new();
    for (interval, disks) in intervals.iter().zip(disks) {
        for rates in disks {
            let means = each.entry(rates.disk.name.to_string()).or_insert_with(|| vec![Mean::default(); columns.len()]);
            for (mean, (.., of)) in means.iter_mut().zip(columns) {
                mean.add(of(rates), interval);
            }
        }
    }
    // Of one that did nothing no time is known either. One of which nothing is known is shown.
    let values = |means: &[Mean]| means.iter().filter_map(Mean::value).collect::<Vec<f64>>();
    let is_busy = |means: &Vec<Mean>| values(means).is_empty() || values(means).iter().any(|value| *value > 0.0);
    let idle = each.values().filter(|means| !is_busy(means)).count();
    let _ = writeln!(out, "\n{}{}", name(&style.say(&tr!("disk")), 12), heads(columns));
    for (disk, means) in each.iter().filter(|(_, means)| style.verbose || is_busy(means)) {
        let cells: String = means
            .iter()
            .zip(columns)
            .map(|(mean, (_, width, digits, _))| cell(mean.value(), *width, *digits))
            .collect();
        let _ = writeln!(out, "{}{cells}", name(&printable(disk), 12));
    }
    if idle > 0 && !style.verbose {
        let _ = writeln!(out, "{}", style.say(&tr!("disks that did nothing: {count}", count = idle)));
    }
}

/// The intervals in which a disk was busy, in the order of time.
fn moments(out: &mut String, told: &Told, columns: &[Column], disks: &[Vec<DiskRates<'_>>], style: &Style) {
    let intervals = told.intervals(|sample| sample.disks.is_some());
    let days = told.has_days(&intervals);
    // With dates there is no room for more.
    let columns = if days { &TOGETHER } else { columns };
    let rows: Vec<_> = intervals
        .iter()
        .zip(disks)
        .flat_map(|(interval, disks)| disks.iter().map(move |rates| (interval, rates)))
        .filter(|(_, rates)| rates.transfers > Some(0.0) || rates.util > Some(0.0))
        .collect();
    if rows.is_empty() {
        return;
    }
    let amounts: Vec<f64> =
        rows.iter().map(|(_, rates)| rates.util.unwrap_or(0.0) * 1e6 + rates.transfers.unwrap_or(0.0)).collect();
    let shown = greatest(&amounts, if style.verbose { usize::MAX } else { SHOWN });
    let width = if days { 15 } else { 9 };
    let _ = writeln!(out, "\n{}{}{}", name(&style.say(&tr!("until")), width), name("", 8), heads(columns));
    for at in &shown {
        let Some((interval, rates)) = rows.get(*at) else { continue };
        let cells: String = columns.iter().map(|(_, width, digits, of)| cell(of(rates), *width, *digits)).collect();
        let when = name(&told.moment(interval.to(), days), width);
        let _ = writeln!(out, "{when}{}{cells}", name(&printable(&rates.disk.name.to_string()), 8));
    }
    left_out(out, rows.len().saturating_sub(shown.len()), style);
}
