//! `sickbay explain cpu`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;

use super::{Mean, ROWS, SHOWN, TimesV1, Told, cell, greatest, known, left_out, name, rounded};
use crate::report::text::{Style, printable};
use crate::sample::Window;
use crate::sample::rates::{Cpus, Interval, Shares};
use crate::tr;

/// What the processors did: `sickbay/cpu/v1`. Fields are only ever added.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CpuV1 {
    /// Always `sickbay/cpu/v1`.
    pub schema: &'static str,
    /// In the order of time.
    pub intervals: Vec<CpuIntervalV1>,
    /// Processes over all of it, the busiest first.
    pub processes: Vec<CpuProcessV1>,
    /// What a reader should know about the figures, a sentence each.
    pub remarks: Vec<String>,
}

/// One interval.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CpuIntervalV1 {
    /// When the interval began and ended.
    #[serde(flatten)]
    pub times: TimesV1,
    /// All processors together; null when it is not known.
    pub all: Option<SharesV1>,
    /// Each; one of which nothing is known is left out.
    pub cpus: Vec<CpuSharesV1>,
    /// Changes from one thread to another, a second.
    #[serde(rename = "cswch/s")]
    pub switches: Option<f64>,
    /// Processes and threads made a second.
    #[serde(rename = "proc/s")]
    pub made: Option<f64>,
    /// Threads that ran or could at its end.
    #[serde(rename = "runq-sz")]
    pub running: Option<u64>,
    /// Threads that waited for a disk at its end.
    pub blocked: Option<u64>,
    /// The average of the load over one minute at its end.
    #[serde(rename = "ldavg-1")]
    pub load: Option<f64>,
}

/// Percent of its time.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SharesV1 {
    /// Programs, guests too.
    pub user: f64,
    /// Programs with a lowered priority; null where the source counts them with the others.
    pub nice: Option<f64>,
    /// The kernel; with `irq` and `softirq` where those are null.
    pub system: f64,
    /// Nothing, while something waited for a disk.
    pub iowait: f64,
    /// Interrupts.
    pub irq: Option<f64>,
    /// What interrupts leave for later.
    pub softirq: Option<f64>,
    /// The hypervisor gave it to others.
    pub steal: f64,
    /// Percent of the time in which the CPU was idle, and nothing waited for a disk.
    pub idle: f64,
}

/// The same of one processor.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CpuSharesV1 {
    /// The number of the CPU, from 0 on.
    pub cpu: u32,
    /// What it did.
    #[serde(flatten)]
    pub shares: SharesV1,
}

/// A process.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CpuProcessV1 {
    /// The PID.
    pub pid: u32,
    /// The name of the program.
    pub name: String,
    /// Percent of one processor, on the average of the intervals in which it was there; of one that came and went between
    /// two looks at all threads, of the whole time.
    pub cpu: f64,
    /// The same in the interval with most.
    pub peak: f64,
}

fn shares(shares: &Shares) -> SharesV1 {
    SharesV1 {
        user: rounded(shares.user),
        nice: known(shares.nice),
        system: rounded(shares.system),
        iowait: rounded(shares.iowait),
        irq: known(shares.irq),
        softirq: known(shares.softirq),
        steal: rounded(shares.steal),
        idle: rounded(shares.idle),
    }
}

fn processes(told: &Told) -> Vec<CpuProcessV1> {
    let mut all: BTreeMap<(u32, u64), (String, Mean)> = BTreeMap::new();
    let intervals = told.intervals(|sample| sample.threads.as_ref().is_some_and(|threads| threads.is_all));
    for interval in &intervals {
        for process in interval.processes().unwrap_or_default() {
            let (known, mean) = all.entry((process.pid, process.began)).or_default();
            *known = process.name.to_string();
            mean.add(Some(process.cpu), interval);
        }
    }
    let row = |((pid, _), (name, mean)): ((u32, u64), (String, Mean))| {
        let (cpu, peak) = (mean.value()?, mean.peak()?);
        (peak > 0.0).then(|| CpuProcessV1 { pid, name, cpu: rounded(cpu), peak: rounded(peak) })
    };
    let mut rows: Vec<CpuProcessV1> = all.into_iter().filter_map(row).collect();
    let others = seen_between(&told.window, |pid| rows.iter().any(|row| row.pid == pid));
    rows.extend(others);
    rows.sort_by(|one, other| other.cpu.total_cmp(&one.cpu));
    rows
}

/// A tenth of a percent is told, and no less.
const TOLD: f64 = 0.1;

/// Those that no two looks at all threads have in common: they came and went in between, or were only looked at while they ran.
fn seen_between(window: &Window, is_known: impl Fn(u32) -> bool) -> Vec<CpuProcessV1> {
    let mut all: BTreeMap<u32, (String, f64)> = BTreeMap::new();
    let last = window.samples.len().saturating_sub(1);
    for used in window.used(0, last).unwrap_or_default() {
        let thread = used.thread;
        if is_known(thread.pid) {
            continue;
        }
        let (name, share) = all.entry(thread.pid).or_default();
        *share += used.share * 100.0;
        // A process is called what its first thread is.
        if name.is_empty() || thread.id == thread.pid {
            *name = thread.name.to_string();
        }
    }
    let told = all.into_iter().filter(|(_, (_, share))| *share >= TOLD);
    told.map(|(pid, (name, share))| CpuProcessV1 { pid, name, cpu: rounded(share), peak: rounded(share) }).collect()
}

/// The document for programs.
pub fn json(told: &Told, style: &Style) -> CpuV1 {
    let intervals = told.intervals(|sample| sample.stat.is_some());
    let interval = |interval: &Interval<'_>| {
        let cpus = interval.cpus().unwrap_or_default();
        let each = cpus
            .each
            .iter()
            .filter_map(|(cpu, known)| Some(CpuSharesV1 { cpu: *cpu, shares: shares(known.as_ref()?) }));
        let stat = interval.after.stat.as_ref();
        CpuIntervalV1 {
            times: told.times(interval),
            all: cpus.all.as_ref().map(shares),
            cpus: each.collect(),
            switches: known(interval.rate(|sample| sample.stat.as_ref()?.switches)),
            made: known(interval.rate(|sample| sample.stat.as_ref()?.made)),
            running: stat.and_then(|stat| stat.running),
            blocked: stat.and_then(|stat| stat.blocked),
            load: interval.after.load.map(|load| load.averages[0] as f64 / 100.0),
        }
    };
    CpuV1 {
        schema: "sickbay/cpu/v1",
        intervals: intervals.iter().map(interval).collect(),
        processes: processes(told),
        remarks: told.remarks(style),
    }
}

/// The columns, with how each is found.
type Column = (&'static str, fn(&Shares) -> Option<f64>);

const COLUMNS: [Column; 8] = [
    ("%user", |shares| Some(shares.user)),
    ("%nice", |shares| shares.nice),
    ("%system", |shares| Some(shares.system)),
    ("%iowait", |shares| Some(shares.iowait)),
    ("%irq", |shares| shares.irq),
    ("%soft", |shares| shares.softirq),
    ("%steal", |shares| Some(shares.steal)),
    ("%idle", |shares| Some(shares.idle)),
];

/// Renders it as text, for people.
pub fn render(told: &Told, style: &Style) -> String {
    let intervals = told.intervals(|sample| sample.stat.is_some());
    let cpus: Vec<_> = intervals.iter().map(|interval| interval.cpus().unwrap_or_default()).collect();
    let processes = processes(told);
    if cpus.iter().all(|cpus| cpus.all.is_none() && cpus.each.is_empty()) && processes.is_empty() {
        return told.nothing(&tr!("nothing is known of what the processors did"), style);
    }
    let mut out = String::new();
    if !intervals.is_empty() {
        let _ = writeln!(out, "{}\n", told.head(&intervals, style));
        tables(&mut out, told, &intervals, &cpus, style);
    }
    if !processes.is_empty() {
        let _ = writeln!(
            out,
            "\n{:>8} {:>8}  {:>7}  {}",
            "%CPU",
            style.say(&tr!("peak")),
            "PID",
            style.say(&tr!("program"))
        );
        let most = if style.verbose { usize::MAX } else { ROWS };
        for process in processes.iter().take(most) {
            let CpuProcessV1 { pid, cpu, peak, .. } = process;
            let _ = writeln!(out, "{cpu:>8.2} {peak:>8.2}  {pid:>7}  {}", printable(&process.name));
        }
        left_out(&mut out, processes.len().saturating_sub(most), style);
    }
    super::end(&mut out, told, style);
    out
}

/// Each processor over all of it, then each interval.
fn tables(out: &mut String, told: &Told, intervals: &[Interval<'_>], cpus: &[Cpus], style: &Style) {
    let names: String = COLUMNS.iter().map(|(name, _)| format!("{name:>8}")).collect();
    let row_of = |shares: Option<Shares>| -> String {
        COLUMNS.iter().map(|(_, of)| cell(shares.as_ref().and_then(of), 8, 2)).collect()
    };
    let row = |means: &[Mean]| -> String { means.iter().map(|mean| cell(mean.value(), 8, 2)).collect() };
    let mut each: BTreeMap<Option<u32>, [Mean; 8]> = BTreeMap::new();
    for (interval, cpus) in intervals.iter().zip(cpus) {
        let all = [(None, cpus.all)];
        let one = cpus.each.iter().map(|(cpu, shares)| (Some(*cpu), *shares));
        for (cpu, shares) in all.into_iter().chain(one) {
            let means = each.entry(cpu).or_default();
            for (mean, (_, of)) in means.iter_mut().zip(COLUMNS) {
                mean.add(shares.as_ref().and_then(of), interval);
            }
        }
    }
    let _ = writeln!(out, "{:<15}{names}", "CPU");
    let busiest = |means: &[Mean; 8]| means.last().and_then(Mean::value).map_or(0.0, |idle| 100.0 - idle);
    let amounts: Vec<f64> =
        each.iter().map(|(cpu, means)| if cpu.is_none() { f64::INFINITY } else { busiest(means) }).collect();
    let most = if style.verbose { usize::MAX } else { ROWS + 4 };
    let shown = greatest(&amounts, most);
    for (at, (cpu, means)) in each.iter().enumerate() {
        if shown.binary_search(&at).is_ok() {
            let cpu = cpu.map_or_else(|| "all".to_owned(), |cpu| cpu.to_string());
            let _ = writeln!(out, "{cpu:<15}{}", row(means));
        }
    }
    left_out(out, each.len().saturating_sub(shown.len()), style);

    if intervals.len() > 1 {
        let days = told.has_days(intervals);
        let _ = writeln!(out, "\n{}{names}", name(&style.say(&tr!("until")), 15));
        let amounts: Vec<f64> = cpus.iter().map(|cpus| cpus.all.map_or(0.0, |shares| 100.0 - shares.idle)).collect();
        let shown = greatest(&amounts, if style.verbose { usize::MAX } else { SHOWN });
        for at in &shown {
            let (Some(interval), Some(cpus)) = (intervals.get(*at), cpus.get(*at)) else { continue };
            let _ = writeln!(out, "{}{}", name(&told.moment(interval.to(), days), 15), row_of(cpus.all));
        }
        left_out(out, intervals.len().saturating_sub(shown.len()), style);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sample::{Name, Sample, Thread, Threads};

    fn sample(seconds: u64, is_all: bool, list: &[(u32, u32, &str, u64, u64)]) -> Sample {
        let thread = |(pid, id, name, began, ticks): &(u32, u32, &str, u64, u64)| Thread {
            pid: *pid,
            id: *id,
            name: Name::of(name.as_bytes()),
            began: *began,
            ticks: *ticks,
            state: b'R',
            ..Thread::default()
        };
        let mut sample = Sample::default();
        sample.moment.steady = Duration::from_secs(seconds);
        sample.threads = Some(Threads { list: list.iter().map(thread).collect(), is_all, left_out: 0 });
        sample
    }

    #[test]
    fn a_compiler_that_came_and_went() {
        let window = Window {
            samples: vec![
                sample(100, true, &[(7, 7, "init", 1, 500)]),
                sample(102, false, &[(20, 21, "opt cgu.0", 10_100, 80), (20, 20, "rustc", 10_100, 20)]),
                sample(110, true, &[(7, 7, "init", 1, 500)]),
            ],
            place: "/proc".into(),
        };
        let others = seen_between(&window, |pid| pid == 7);
        let told: Vec<_> = others.iter().map(|one| (one.pid, one.name.as_str(), one.cpu)).collect();
        assert_eq!(told, [(20, "rustc", 10.0)]);
        assert!(seen_between(&window, |_| true).is_empty());
    }
}
