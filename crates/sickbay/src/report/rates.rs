//! The tables behind what is said of processors, interrupts and disks over time, for people and for programs, which find the
//! names that sysstat made usual.

pub mod cpu;
pub mod io;
pub mod irq;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::Serialize;
use unicode_width::UnicodeWidthStr;

use crate::model::text::Text;
use crate::report::text::Style;
use crate::sample::asked::{shown, timestamp};
use crate::sample::rates::Interval;
use crate::sample::{Sample, Window};
use crate::tr;

/// What is told of.
#[derive(Clone, Debug)]
pub struct Told {
    /// Two samples at least.
    pub window: Arc<Window>,
    /// In which zone times are told.
    pub zone: TimeZone,
    /// What there is to know of the source.
    pub remarks: Vec<Text>,
}

/// From when to when.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct TimesV1 {
    /// When it began: RFC 3339.
    pub from: String,
    /// When it ended.
    pub to: String,
    /// How long it was, by a clock that nobody sets: what the rates are reckoned with.
    pub seconds: f64,
}

/// Intervals are no shorter than this: what a tick more or less makes of one that is says nothing.
const SHORTEST: Duration = Duration::from_millis(500);

/// So many intervals are shown without `--verbose`: those with most to see.
const SHOWN: usize = 24;

/// So many rows of processes, interrupts and so on.
const ROWS: usize = 12;

impl Told {
    /// Intervals between samples that have what is asked for.
    fn intervals(&self, has: impl Fn(&Sample) -> bool) -> Vec<Interval<'_>> {
        let mut intervals: Vec<Interval<'_>> = Vec::new();
        let mut before: Option<&Sample> = None;
        let mut last = Duration::ZERO;
        for sample in &self.window.samples {
            // The clock went back: the machine started anew.
            if sample.moment.steady < last {
                before = None;
            }
            last = sample.moment.steady;
            if !has(sample) {
                continue;
            }
            let Some(begin) = before else {
                before = Some(sample);
                continue;
            };
            if let Some(interval) = Interval::between(begin, sample).filter(|interval| interval.span >= SHORTEST) {
                intervals.push(interval);
                before = Some(sample);
            }
        }
        // The rest that is too short belongs to the one before it.
        let rest = self.window.samples.iter().rfind(|sample| has(sample));
        match (before, rest, intervals.last_mut()) {
            (Some(begin), Some(end), Some(interval)) if std::ptr::eq(begin, interval.after) => {
                *interval = Interval::between(interval.before, end).unwrap_or(*interval);
            }
            (Some(begin), Some(end), _) => intervals.extend(Interval::between(begin, end)),
            _ => {}
        }
        intervals
    }

    fn times(&self, interval: &Interval<'_>) -> TimesV1 {
        let told = |wall| {
            timestamp(wall).map_or_else(String::new, |time| {
                self.zone.to_datetime(time).strftime("%Y-%m-%dT%H:%M:%S").to_string() + &self.offset(time)
            })
        };
        TimesV1 { from: told(interval.from()), to: told(interval.to()), seconds: rounded(interval.span.as_secs_f64()) }
    }

    fn offset(&self, time: jiff::Timestamp) -> String {
        let seconds = self.zone.to_offset(time).seconds();
        let sign = if seconds < 0 { '-' } else { '+' };
        let minutes = seconds.unsigned_abs() / 60;
        format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }

    /// `10:36:03`; with the date where there are several days.
    fn moment(&self, wall: Duration, has_date: bool) -> String {
        let text = shown(wall, &self.zone);
        match has_date {
            true => text.get(5..).unwrap_or(&text).to_owned(),
            false => text.rsplit(' ').next().unwrap_or(&text).to_owned(),
        }
    }

    /// From when to when all of that is, in a line.
    fn head(&self, intervals: &[Interval<'_>], style: &Style) -> String {
        let Some((first, last)) = intervals.first().zip(intervals.last()) else { return String::new() };
        let (from, to) = (shown(first.from(), &self.zone), shown(last.to(), &self.zone));
        let to = match from.get(..10) == to.get(..10) {
            true => to.get(11..).unwrap_or(&to).to_owned(),
            false => to,
        };
        let count = intervals.len();
        style.say(&match count {
            1 => tr!("{from} to {to}", from, to),
            count => tr!("{from} to {to}, {count} intervals", from, to, count),
        })
    }

    fn remarks(&self, style: &Style) -> Vec<String> {
        self.remarks.iter().map(|text| style.say(text)).collect()
    }

    fn has_days(&self, intervals: &[Interval<'_>]) -> bool {
        let day = |wall| shown(wall, &self.zone).get(..10).map(str::to_owned);
        intervals.first().map(|first| day(first.from())) != intervals.last().map(|last| day(last.to()))
    }

    /// Says that nothing is known.
    fn nothing(&self, what: &Text, style: &Style) -> String {
        let mut out = format!("{}\n", style.say(what));
        for remark in self.remarks(style) {
            out.push_str(&remark);
            out.push('\n');
        }
        out
    }
}

/// Says how many there are that are not shown.
fn left_out(out: &mut String, count: usize, style: &Style) {
    if count > 0 {
        let _ = writeln!(out, "{}", style.say(&tr!("{count} more with --verbose", count)));
    }
}

/// The remarks, below all tables.
fn end(out: &mut String, told: &Told, style: &Style) {
    for remark in told.remarks(style) {
        let _ = write!(out, "\n{remark}\n");
    }
}

/// The indices of those with most to see, in their order.
fn greatest(amounts: &[f64], most: usize) -> Vec<usize> {
    let mut all: Vec<usize> = (0..amounts.len()).collect();
    let amount = |at: &usize| amounts.get(*at).copied().unwrap_or(0.0);
    all.sort_by(|one, other| amount(other).total_cmp(&amount(one)));
    all.truncate(most);
    all.sort_unstable();
    all
}

/// A mean over intervals of different lengths, of those in which it is known; and the greatest, with when that was.
#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    sum: f64,
    seconds: f64,
    peak: Option<(f64, Duration)>,
}

impl Mean {
    fn add(&mut self, rate: Option<f64>, interval: &Interval<'_>) {
        let Some(rate) = rate else { return };
        let seconds = interval.span.as_secs_f64();
        self.sum += rate * seconds;
        self.seconds += seconds;
        if self.peak.is_none_or(|(peak, _)| rate > peak) {
            self.peak = Some((rate, interval.to()));
        }
    }

    fn value(&self) -> Option<f64> {
        (self.seconds > 0.0).then(|| self.sum / self.seconds)
    }

    fn peak(&self) -> Option<f64> {
        self.peak.map(|(peak, _)| peak)
    }
}

/// To four places: more is not known.
fn rounded(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}

fn known(value: Option<f64>) -> Option<f64> {
    value.map(rounded)
}

/// In so many columns; what is not known is `-`.
fn cell(value: Option<f64>, width: usize, digits: usize) -> String {
    let text = value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"));
    // A large number gives its places up before it touches the column before.
    let text = match value {
        Some(value) if text.len() >= width => format!("{value:.0}"),
        _ => text,
    };
    format!("{text:>width$}")
}

/// In so many columns, from the left, cut where it is longer.
fn name(text: &str, width: usize) -> String {
    let mut kept = String::new();
    for c in text.chars() {
        if kept.width() + unicode_width::UnicodeWidthChar::width(c).unwrap_or(0) > width {
            break;
        }
        kept.push(c);
    }
    let blanks = width.saturating_sub(kept.width());
    kept + &" ".repeat(blanks)
}

#[cfg(test)]
mod tests;
