//! `sickbay explain irq`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;

use super::{Mean, ROWS, TimesV1, Told, cell, known, left_out, name};
use crate::report::text::{Style, printable};
use crate::sample::rates::{InterruptRates, Interval, SoftnetRates};
use crate::tr;

/// Interrupts, what they leave for later, and packets that came in: `sickbay/irq/v1`. Fields are only ever added.
#[derive(Debug, Serialize, JsonSchema)]
pub struct IrqV1 {
    /// Always `sickbay/irq/v1`.
    pub schema: &'static str,
    /// In the order of time.
    pub intervals: Vec<IrqIntervalV1>,
    /// What a reader should know about the figures, a sentence each.
    pub remarks: Vec<String>,
}

/// One interval.
#[derive(Debug, Serialize, JsonSchema)]
pub struct IrqIntervalV1 {
    /// When the interval began and ended.
    #[serde(flatten)]
    pub times: TimesV1,
    /// Interrupts; null when nothing is known, in a container for example.
    pub interrupts: Option<Vec<RowV1>>,
    /// Softirqs.
    pub softirqs: Option<Vec<RowV1>>,
    /// Packets that came in, by processor.
    pub softnet: Option<Vec<SoftnetV1>>,
}

/// One kind.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RowV1 {
    /// `27`, `NMI`, `NET_RX`.
    pub name: String,
    /// Who has it; empty when it is not told.
    pub about: String,
    /// A second, on all processors; null when it is not known.
    pub total: Option<f64>,
    /// On each processor that tells.
    pub cpus: Vec<CountV1>,
}

/// On one processor.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CountV1 {
    /// The number of the CPU, from 0 on.
    pub cpu: u32,
    /// A second; null when it is not known.
    pub rate: Option<f64>,
}

/// A processor, by the names of `sar -n SOFT`, a second. What is not known is null.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SoftnetV1 {
    /// Its number; null on kernels before 5.14, whose rows have none.
    pub cpu: Option<u32>,
    /// Packets.
    #[serde(rename = "total/s")]
    pub total: Option<f64>,
    /// Dropped since the backlog was full.
    #[serde(rename = "dropd/s")]
    pub dropped: Option<f64>,
    /// How often time or budget ran out.
    #[serde(rename = "squeezd/s")]
    pub squeezed: Option<f64>,
    /// How often another processor woke it.
    #[serde(rename = "rx_rps/s")]
    pub received_rps: Option<f64>,
    /// Dropped for the flow limit.
    #[serde(rename = "flw_lim/s")]
    pub flow_limit: Option<f64>,
}

fn row(rates: &InterruptRates<'_>) -> RowV1 {
    RowV1 {
        name: rates.row.name.to_string(),
        about: rates.row.about.to_string(),
        total: known(rates.total),
        cpus: rates.each.iter().map(|(cpu, rate)| CountV1 { cpu: *cpu, rate: known(*rate) }).collect(),
    }
}

fn softnet(rates: &SoftnetRates) -> SoftnetV1 {
    SoftnetV1 {
        cpu: rates.cpu,
        total: known(rates.processed),
        dropped: known(rates.dropped),
        squeezed: known(rates.squeezed),
        received_rps: known(rates.received_rps),
        flow_limit: known(rates.flow_limit),
    }
}

fn intervals(told: &Told) -> Vec<Interval<'_>> {
    told.intervals(|sample| sample.interrupts.is_some() || sample.softirqs.is_some() || sample.softnet.is_some())
}

/// The document for programs.
pub fn json(told: &Told, style: &Style) -> IrqV1 {
    let rows = |rates: Option<Vec<InterruptRates<'_>>>| rates.map(|rates| rates.iter().map(row).collect());
    let interval = |interval: &Interval<'_>| IrqIntervalV1 {
        times: told.times(interval),
        interrupts: rows(interval.interrupts()),
        softirqs: rows(interval.softirqs()),
        softnet: interval.softnet().map(|rates| rates.iter().map(softnet).collect()),
    };
    IrqV1 {
        schema: "sickbay/irq/v1",
        intervals: intervals(told).iter().map(interval).collect(),
        remarks: told.remarks(style),
    }
}

/// One kind over all intervals.
#[derive(Default)]
struct Sum {
    about: String,
    total: Mean,
    each: BTreeMap<u32, Mean>,
}

/// Renders it as text, for people.
pub fn render(told: &Told, style: &Style) -> String {
    let intervals = intervals(told);
    let mut interrupts: BTreeMap<String, Sum> = BTreeMap::new();
    let mut softirqs: BTreeMap<String, Sum> = BTreeMap::new();
    let mut packets: BTreeMap<Option<u32>, [Mean; 5]> = BTreeMap::new();
    for interval in &intervals {
        for (rates, sums) in [(interval.interrupts(), &mut interrupts), (interval.softirqs(), &mut softirqs)] {
            for rates in rates.unwrap_or_default() {
                let sum = sums.entry(rates.row.name.to_string()).or_default();
                sum.about = rates.row.about.to_string();
                sum.total.add(rates.total, interval);
                for (cpu, rate) in rates.each {
                    sum.each.entry(cpu).or_default().add(rate, interval);
                }
            }
        }
        for rates in interval.softnet().unwrap_or_default() {
            let all = [rates.processed, rates.dropped, rates.squeezed, rates.received_rps, rates.flow_limit];
            for (mean, rate) in packets.entry(rates.cpu).or_default().iter_mut().zip(all) {
                mean.add(rate, interval);
            }
        }
    }
    if interrupts.is_empty() && softirqs.is_empty() && packets.is_empty() {
        return told.nothing(&tr!("nothing is known of interrupts: in a container they cannot be seen"), style);
    }
    let mut out = format!("{}\n", told.head(&intervals, style));
    table(&mut out, &tr!("interrupts a second"), &interrupts, style);
    table(&mut out, &tr!("softirqs a second"), &softirqs, style);
    if !packets.is_empty() {
        let heads: String = ["total/s", "dropd/s", "squeezd/s", "rx_rps/s", "flw_lim/s"]
            .iter()
            .map(|name| format!("{name:>12}"))
            .collect();
        let _ = writeln!(out, "\n{}\n{:<10}{heads}", style.say(&tr!("packets that came in")), "CPU");
        for (cpu, means) in &packets {
            let cpu = cpu.map_or_else(|| "?".to_owned(), |cpu| cpu.to_string());
            let cells: String = means.iter().map(|mean| cell(mean.value(), 12, 2)).collect();
            let _ = writeln!(out, "{cpu:<10}{cells}");
        }
    }
    super::end(&mut out, told, style);
    out
}

/// So many processors have a column of their own.
const CPUS: usize = 4;

/// Those with most of them, on the processors with most.
fn table(out: &mut String, title: &crate::model::text::Text, sums: &BTreeMap<String, Sum>, style: &Style) {
    let mut rows: Vec<(&String, &Sum)> =
        sums.iter().filter(|(_, sum)| sum.total.value().is_none_or(|total| total > 0.0)).collect();
    if rows.is_empty() {
        return;
    }
    let total = |sum: &Sum| sum.total.value().unwrap_or(f64::INFINITY);
    rows.sort_by(|one, other| total(other.1).total_cmp(&total(one.1)));
    let mut cpus: BTreeMap<u32, f64> = BTreeMap::new();
    for (cpu, mean) in rows.iter().flat_map(|(_, sum)| &sum.each) {
        *cpus.entry(*cpu).or_default() += mean.value().unwrap_or(0.0);
    }
    let mut busiest: Vec<(u32, f64)> = cpus.iter().map(|(cpu, rate)| (*cpu, *rate)).collect();
    busiest.sort_by(|one, other| other.1.total_cmp(&one.1));
    busiest.truncate(if style.verbose { usize::MAX } else { CPUS });
    busiest.sort_by_key(|(cpu, _)| *cpu);
    let heads: String = busiest.iter().map(|(cpu, _)| format!("{:>10}", format!("CPU{cpu}"))).collect();
    let _ = writeln!(out, "\n{}\n{:<9}{:>10}{heads}", style.say(title), "", style.say(&tr!("all")));
    let most = if style.verbose { usize::MAX } else { ROWS };
    for (kind, sum) in rows.iter().take(most) {
        let cells: String =
            busiest.iter().map(|(cpu, _)| cell(sum.each.get(cpu).and_then(Mean::value), 10, 1)).collect();
        // Before the names of those who asked for it stand chip and trigger; an interrupt of the processor's own is described.
        let is_device = kind.bytes().all(|byte| byte.is_ascii_digit());
        let owner = sum.about.split_whitespace().last().filter(|_| is_device);
        let about = owner.filter(|_| !style.verbose).unwrap_or(&sum.about);
        let about: String = about.chars().take(if style.verbose { usize::MAX } else { 28 }).collect();
        let about = about.as_str();
        let line =
            format!("{}{}{cells}  {}", name(&printable(kind), 9), cell(sum.total.value(), 10, 1), printable(about));
        let _ = writeln!(out, "{}", line.trim_end());
    }
    left_out(out, rows.len().saturating_sub(most), style);
    let more = cpus.len().saturating_sub(busiest.len());
    if more > 0 {
        let _ = writeln!(
            out,
            "{}",
            style.say(&tr!("{count} more {count?processor|processors} with --verbose", count = more))
        );
    }
}
