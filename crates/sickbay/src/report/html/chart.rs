//! Curves as SVG. The plot is stretched to the page's width, its words are not: they stay readable on a telephone.

use std::time::Duration;

use crate::model::measured::Unit;
use crate::model::text::{Lang, Text};
use crate::report::json_v1::finding_id;
use crate::report::rates::Told;
use crate::report::text::Style;
use crate::report::timeline::{Curve, Picture, Pictures, Scale, pictures};
use crate::report::visible::visible;
use crate::report::{Report, words};
use crate::sample::asked::shown;
use crate::tr;

/// One picture, drawn. Coordinates are of a field of 1000 by 100 with its origin at the top left.
pub(super) struct Chart {
    pub(super) title: String,
    /// For those who do not see it.
    pub(super) label: String,
    pub(super) top: String,
    pub(super) middle: String,
    /// Colour and points of areas.
    pub(super) areas: Vec<(usize, String)>,
    /// Colour and points of lines.
    pub(super) lines: Vec<(String, String)>,
    /// Beginning and width of what is not known.
    pub(super) gaps: Vec<(String, String)>,
    pub(super) incidents: Vec<Incident>,
    pub(super) ticks: Vec<Tick>,
    pub(super) legend: Vec<Key>,
    /// Says what the grey parts are, where there are some.
    pub(super) gap: Option<String>,
}

/// A finding's time.
pub(super) struct Incident {
    pub(super) class: &'static str,
    pub(super) from: String,
    pub(super) width: String,
    /// Where its name stands, in percent.
    pub(super) at: String,
    pub(super) anchor: &'static str,
    pub(super) id: String,
}

/// A time below the plot.
pub(super) struct Tick {
    pub(super) at: u32,
    pub(super) anchor: &'static str,
    pub(super) label: String,
    /// Left out where the page is narrow.
    pub(super) is_minor: bool,
}

/// What a colour is.
pub(super) struct Key {
    pub(super) class: String,
    pub(super) name: String,
    pub(super) sums: String,
}

const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 100.0;
/// So many incidents are marked.
const INCIDENTS: usize = 12;

/// What is said above all charts, and the charts.
pub(super) fn charts(told: &Told, report: &Report, style: &Style) -> Option<(String, Vec<Chart>)> {
    let pictures = pictures(told).filter(|pictures| !pictures.all.is_empty())?;
    let zone = &told.zone;
    let (from, to) = (shown(pictures.from, zone), shown(pictures.to, zone));
    let offset = crate::sample::asked::timestamp(pictures.from).map(|time| zone.to_offset(time).to_string());
    let lead = tr!("{from} to {to} (UTC{offset})", from, to, offset = offset.unwrap_or_default());
    let lead = visible(&lead.render(style.lang));
    let charts = pictures.all.iter().map(|picture| chart(picture, &pictures, told, report, style)).collect();
    Some((lead, charts))
}

fn chart(picture: &Picture, pictures: &Pictures, told: &Told, report: &Report, style: &Style) -> Chart {
    let say = |text: &Text| visible(&text.render(style.lang));
    let most = highest(picture);
    let top = end_of_axis(most, picture.scale);
    let known = runs(&picture.known);
    let mut areas = Vec::new();
    let mut lines = Vec::new();
    if picture.stacked {
        areas = stack(&picture.curves, &known, top);
    } else {
        for (at, curve) in picture.curves.iter().enumerate() {
            lines.extend(line(curve, top).into_iter().map(|points| (format!("c{at}"), points)));
        }
    }
    if let Some(curve) = &picture.line {
        lines.extend(line(curve, top).into_iter().map(|points| ("over".to_owned(), points)));
    }
    let key = |(class, curve): (String, &Curve)| {
        // What never was is in no picture.
        let (mean, most) = curve.sums().filter(|(_, most)| *most > 0.0)?;
        let (mean, most) = (amount(mean, picture.scale), amount(most, picture.scale));
        let sums = say(&tr!("mean {mean}, maximum {most}", mean, most));
        Some(Key { class, name: say(&curve.name), sums })
    };
    let over = picture.line.iter().map(|curve| ("over".to_owned(), curve));
    let curves = picture.curves.iter().enumerate().map(|(at, curve)| (format!("c{at}"), curve));
    let legend: Vec<Key> = over.chain(curves).filter_map(key).collect();
    let title = say(&picture.title);
    let described: Vec<String> = legend.iter().map(|key| format!("{}: {}", key.name, key.sums)).collect();
    let semicolon = if style.lang == Lang::ZhCn { "；" } else { "; " };
    let gaps = gaps(&picture.known);
    Chart {
        label: format!("{title}{semicolon}{}", described.join(semicolon)),
        title,
        top: amount(top, picture.scale),
        middle: amount(top / 2.0, picture.scale),
        areas,
        lines,
        gap: (!gaps.is_empty()).then(|| say(&tr!("not known"))),
        gaps,
        incidents: incidents(pictures, report),
        ticks: ticks(pictures, told),
        legend,
    }
}

fn amount(value: f64, scale: Scale) -> String {
    let plain = |value: f64| {
        let text = format!("{value:.*}", if value.abs() < 10.0 { 1 } else { 0 });
        text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
    };
    match scale {
        Scale::Percent => format!("{} %", plain(value)),
        Scale::Bytes => Unit::BytesPerSecond.shown(value),
        Scale::Milliseconds => format!("{} ms", plain(value)),
        Scale::PerSecond => format!("{}/s", plain(value)),
        Scale::Threads => plain(value),
    }
}

/// The highest that is to be drawn.
fn highest(picture: &Picture) -> f64 {
    let of = |curve: &Curve| curve.values.iter().flatten().copied().fold(0.0, f64::max);
    let line = picture.line.as_ref().map_or(0.0, of);
    let curves = match picture.stacked {
        true => (0..picture.known.len()).map(|at| sum(&picture.curves, at)).fold(0.0, f64::max),
        false => picture.curves.iter().map(of).fold(0.0, f64::max),
    };
    line.max(curves)
}

fn sum(curves: &[Curve], at: usize) -> f64 {
    curves.iter().filter_map(|curve| curve.values.get(at).copied().flatten()).sum()
}

/// A round number that is not less.
fn end_of_axis(most: f64, scale: Scale) -> f64 {
    if scale == Scale::Percent && most <= 100.5 {
        return 100.0;
    }
    let least = if scale == Scale::Bytes { 1024.0 } else { 1.0 };
    let base = if scale == Scale::Bytes { 1024_f64 } else { 10.0 };
    let mut unit = least;
    while unit * base < most && unit < 1e18 {
        unit *= base;
    }
    let tens = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];
    let doubles = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];
    let steps: &[f64] = if scale == Scale::Bytes { &doubles } else { &tens };
    steps.iter().map(|step| step * unit).find(|end| *end >= most).unwrap_or(most)
}

/// Where it is known: beginnings and ends.
fn runs(known: &[bool]) -> Vec<(usize, usize)> {
    let mut all: Vec<(usize, usize)> = Vec::new();
    for (at, _) in known.iter().enumerate().filter(|(_, known)| **known) {
        match all.last_mut() {
            Some((_, end)) if *end == at => *end = at + 1,
            _ => all.push((at, at + 1)),
        }
    }
    all
}

fn place(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

fn gaps(known: &[bool]) -> Vec<(String, String)> {
    let width = WIDTH / known.len().max(1) as f64;
    let unknown: Vec<bool> = known.iter().map(|known| !known).collect();
    let gap = |(from, to): (usize, usize)| (place(from as f64 * width), place((to - from) as f64 * width));
    runs(&unknown).into_iter().map(gap).collect()
}

/// The middles of the steps of a run, and its ends, each with the step that it belongs to.
fn marks(from: usize, to: usize, steps: usize) -> Vec<(f64, usize)> {
    let width = WIDTH / steps.max(1) as f64;
    let middles = (from..to).map(|at| ((at as f64 + 0.5) * width, at));
    let first = std::iter::once((from as f64 * width, from));
    let last = std::iter::once((to as f64 * width, to.saturating_sub(1)));
    first.chain(middles).chain(last).collect()
}

fn height(value: f64, top: f64) -> f64 {
    (HEIGHT - value / top * HEIGHT).clamp(0.0, HEIGHT)
}

/// Areas that stand upon each other.
fn stack(curves: &[Curve], known: &[(usize, usize)], top: f64) -> Vec<(usize, String)> {
    let steps = curves.first().map_or(0, |curve| curve.values.len());
    let mut areas = Vec::new();
    for (index, _) in curves.iter().enumerate() {
        let below = curves.get(..index).unwrap_or_default();
        let with = curves.get(..=index).unwrap_or_default();
        for (from, to) in known {
            let marks = marks(*from, *to, steps);
            let is_something = (*from..*to).any(|at| sum(with, at) > sum(below, at));
            if !is_something {
                continue;
            }
            let point = |x: f64, value: f64| format!("{},{}", place(x), place(height(value, top)));
            let upper = marks.iter().map(|(x, at)| point(*x, sum(with, *at)));
            let lower = marks.iter().rev().map(|(x, at)| point(*x, sum(below, *at)));
            areas.push((index, upper.chain(lower).collect::<Vec<_>>().join(" ")));
        }
    }
    areas
}

/// A line, in pieces where it is not known.
fn line(curve: &Curve, top: f64) -> Vec<String> {
    let known: Vec<bool> = curve.values.iter().map(Option::is_some).collect();
    let piece = |(from, to): (usize, usize)| {
        let marks = marks(from, to, known.len());
        let value = |at: usize| curve.values.get(at).copied().flatten().unwrap_or(0.0);
        let point = |(x, at): &(f64, usize)| format!("{},{}", place(*x), place(height(value(*at), top)));
        marks.iter().map(point).collect::<Vec<_>>().join(" ")
    };
    runs(&known).into_iter().map(piece).collect()
}

/// Findings that tell when they were.
fn incidents(pictures: &Pictures, report: &Report) -> Vec<Incident> {
    let span = (pictures.to.as_secs_f64() - pictures.from.as_secs_f64()).max(1e-9);
    let share = |time: jiff::Timestamp| {
        let seconds = time.as_millisecond() as f64 / 1000.0;
        ((seconds - pictures.from.as_secs_f64()) / span).clamp(0.0, 1.0)
    };
    let mut taken: Vec<f64> = Vec::new();
    let one = |(index, finding): (usize, &crate::model::finding::Finding)| {
        let when = finding.when?;
        let (from, to) = (share(when.from), share(when.to));
        // Of another time than what is shown.
        if to <= 0.0 && from <= 0.0 || from >= 1.0 && to >= 1.0 {
            return None;
        }
        let to = to.max((from + 0.003).min(1.0));
        let middle = (from + to) / 2.0;
        // Two names at one place cover each other: each further one stands right of those before.
        let mut at = middle;
        while taken.iter().any(|other| (other - at).abs() < 0.06) {
            at += 0.06;
        }
        taken.push(at);
        let at = at.min(0.98);
        let anchor = if at < 0.03 {
            "start"
        } else if at > 0.97 {
            "end"
        } else {
            "middle"
        };
        Some(Incident {
            class: words::name(finding.severity),
            from: place(from * WIDTH),
            width: place((to - from) * WIDTH),
            at: place(at * 100.0),
            anchor,
            id: finding_id(index),
        })
    };
    report.diagnosis.causes().take(INCIDENTS * 4).filter_map(one).take(INCIDENTS).collect()
}

fn ticks(pictures: &Pictures, told: &Told) -> Vec<Tick> {
    let span = pictures.to.saturating_sub(pictures.from);
    let label = |wall: Duration| {
        let text = shown(wall, &told.zone);
        let (date, time) = text.split_once(' ').unwrap_or(("", &text));
        let minutes = time.get(..5).unwrap_or(time);
        match span.as_secs() {
            0..=900 => time.to_owned(),
            901..=86_400 => minutes.to_owned(),
            _ => format!("{} {minutes}", date.get(5..).unwrap_or(date)),
        }
    };
    let tick = |quarter: u32| Tick {
        at: quarter * 25,
        anchor: match quarter {
            0 => "start",
            4 => "end",
            _ => "middle",
        },
        label: label(pictures.from + span / 4 * quarter),
        is_minor: quarter % 2 == 1,
    };
    (0..=4).map(tick).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        assert_eq!((end_of_axis(3.2, Scale::Threads), end_of_axis(23.0, Scale::Threads)), (4.0, 30.0));
        assert_eq!(end_of_axis(97.0, Scale::Percent), 100.0);
        assert_eq!(end_of_axis(104.5, Scale::Percent), 200.0);
        assert_eq!(end_of_axis(3.0 * 1024.0 * 1024.0, Scale::Bytes), 4.0 * 1024.0 * 1024.0);
        assert_eq!(end_of_axis(0.0, Scale::Threads), 1.0);
        assert_eq!(amount(2048.0, Scale::Bytes), "2.0 KiB/s");
    }

    #[test]
    fn a_line_ends_where_nothing_is_known() {
        let curve = Curve { name: Text::verbatim("x"), values: vec![Some(0.0), Some(10.0), None, Some(5.0)] };
        assert_eq!(line(&curve, 10.0), ["0,100 125,100 375,0 500,0", "750,50 875,50 1000,50"]);
        assert_eq!(gaps(&[true, true, false, true]), [("500".to_owned(), "250".to_owned())]);
    }

    #[test]
    fn areas_stand_upon_each_other() {
        let curve = |value| Curve { name: Text::verbatim("x"), values: vec![Some(value)] };
        let areas = stack(&[curve(2.0), curve(0.0), curve(3.0)], &[(0, 1)], 10.0);
        assert_eq!(
            areas,
            [
                (0, "0,80 500,80 1000,80 1000,100 500,100 0,100".to_owned()),
                (2, "0,50 500,50 1000,50 1000,80 500,80 0,80".to_owned())
            ]
        );
    }
}
