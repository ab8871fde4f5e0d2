//! The lines about the whole machine.

use ratatui_core::style::Style;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::draw::{Line, Look};
use super::scene::{Scene, Stalls};
use crate::facts::cpu::load::Group;
use crate::facts::memory::size;
use crate::sample::rates::Shares;
use crate::tr;

/// `2.7k`; `-` for what is not known.
pub(super) fn count(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value >= 999_500.0 => format!("{:.1}M", value / 1e6),
        Some(value) if value >= 9_999.5 => format!("{:.0}k", value / 1e3),
        Some(value) if value >= 999.5 => format!("{:.1}k", value / 1e3),
        Some(value) if value > 0.0 && value < 9.95 => format!("{value:.1}"),
        Some(value) => format!("{value:.0}"),
    }
}

/// The same of bytes.
pub(super) fn bytes(value: Option<f64>) -> String {
    let Some(value) = value else { return "-".to_owned() };
    let units = ["", "K", "M", "G", "T"];
    let (mut value, mut unit) = (value, 0);
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    let unit = units.get(unit).copied().unwrap_or_default();
    if value > 0.0 && value < 9.95 && !unit.is_empty() {
        format!("{value:.1}{unit}")
    } else {
        format!("{value:.0}{unit}")
    }
}

/// With so many digits.
pub(super) fn digits(value: Option<f64>, digits: usize) -> String {
    // The sum of nothing is -0.0.
    value.map_or_else(|| "-".to_owned(), |value| format!("{:.digits$}", value + 0.0))
}

/// Filled with blanks on the left.
pub(super) fn right(text: &str, width: usize) -> String {
    format!("{}{text}", " ".repeat(width.saturating_sub(text.width())))
}

/// Cut, or filled with blanks on the right.
pub(super) fn left(text: &str, width: usize) -> String {
    let mut out = String::new();
    let mut column = 0;
    for letter in text.chars() {
        let own = letter.width().unwrap_or(0);
        if column + own > width {
            break;
        }
        out.push(letter);
        column += own;
    }
    out + &" ".repeat(width - column)
}

/// The lines about the whole machine.
pub(super) fn headlines(scene: &Scene, look: &Look, width: u16) -> Vec<Line> {
    let mut lines = vec![load(scene, look), cpus(scene, look)];
    lines.extend(one_cpu(scene, look));
    lines.push(stalls(scene, look));
    lines.push(memory(scene, look, width));
    lines.extend(throttled(scene, look));
    lines
}

fn named(look: &Look, name: &str) -> (String, Style) {
    (left(name, 6), look.head())
}

fn load(scene: &Scene, look: &Look) -> Line {
    let mut line = vec![named(look, "load")];
    let cpus = scene.cpus.unwrap_or(1).max(1) as f64;
    match scene.load {
        Some(load) => {
            let [one, five, fifteen] = load.averages.map(|average| average as f64 / 100.0);
            let style = if one >= cpus * 1.5 { look.hot() } else { Style::new() };
            line.push((format!("{one:.2}"), style));
            line.push((format!(" {five:.2} {fifteen:.2}"), Style::new()));
        }
        None => line.push(("- - -".to_owned(), Style::new())),
    }
    let sum = |of: fn(&Group) -> f64| {
        let groups = scene.groups.as_ref()?;
        Some(groups.iter().filter(|group| !group.is_usual).map(of).sum::<f64>())
    };
    let (running, waiting) = (sum(|group| group.running), sum(|group| group.waiting));
    line.push(("   R ".to_owned(), Style::new()));
    line.push((
        digits(running, 1),
        if running.is_some_and(|running| running > cpus * 1.5) { look.hot() } else { Style::new() },
    ));
    line.push(("  D ".to_owned(), Style::new()));
    line.push((
        digits(waiting, 1),
        if waiting.is_some_and(|waiting| waiting >= 2.0) { look.hot() } else { Style::new() },
    ));
    let threads = scene.load.map(|load| load.total).filter(|total| *total > 0);
    let threads = threads.map_or_else(|| "-".to_owned(), |total| total.to_string());
    let made = count(scene.made);
    line.push((format!("   {}", look.say(&tr!("{threads} threads, {made}/s new", threads, made))), Style::new()));
    line
}

fn shares(line: &mut Line, shares: &Shares, look: &Look) {
    let programs = shares.user + shares.nice.unwrap_or(0.0);
    let parts = [
        ("user", Some(programs), 85.0),
        ("system", Some(shares.system), 30.0),
        ("iowait", Some(shares.iowait), 25.0),
        ("irq", shares.irq, 10.0),
        ("softirq", shares.softirq, 15.0),
        ("steal", Some(shares.steal), 5.0),
        ("idle", Some(shares.idle), f64::INFINITY),
    ];
    for (name, value, much) in parts {
        let style = if value.is_some_and(|value| value >= much) { look.hot() } else { Style::new() };
        line.push((format!("{name} "), Style::new()));
        line.push((format!("{:>3}", digits(value, 0)), style));
        line.push((" ".to_owned(), Style::new()));
    }
}

fn cpus(scene: &Scene, look: &Look) -> Line {
    let mut line = vec![named(look, "CPU %")];
    match scene.shares.as_ref().and_then(|cpus| cpus.all) {
        Some(all) => shares(&mut line, &all, look),
        None => line.push(("-".to_owned(), Style::new())),
    }
    line
}

/// The CPU that has much more to do than the others.
fn one_cpu(scene: &Scene, look: &Look) -> Option<Line> {
    let cpus = scene.shares.as_ref()?;
    let (cpu, own) = cpus.busiest()?;
    let all = cpus.all?;
    if cpus.each.len() < 2 || own.busy() < 70.0 || own.busy() - all.busy() < 25.0 {
        return None;
    }
    let mut line = vec![(left(&format!("cpu{cpu}"), 6), look.hot())];
    shares(&mut line, &own, look);
    Some(line)
}

fn stalls(scene: &Scene, look: &Look) -> Line {
    let mut line = vec![named(look, "PSI %")];
    let names = ["cpu", "io", "memory"];
    for (name, stall) in names.iter().zip(&scene.stalls) {
        let Stalls { some, full } = stall.unwrap_or_default();
        let much = if *name == "cpu" { 40.0 } else { 15.0 };
        let style = if some.is_some_and(|some| some >= much) { look.hot() } else { Style::new() };
        line.push((format!("{name} "), Style::new()));
        line.push((digits(some, 0), style));
        if *name != "cpu" {
            line.push((format!(" (full {})", digits(full, 0)), Style::new()));
        }
        line.push(("   ".to_owned(), Style::new()));
    }
    line
}

fn memory(scene: &Scene, look: &Look, width: u16) -> Line {
    let mut line = vec![named(look, "mem")];
    let Some(memory) = scene.memory else {
        line.push(("-".to_owned(), Style::new()));
        return line;
    };
    let available = memory.available.map_or_else(|| "-".to_owned(), size);
    let is_low = memory.available.is_some_and(|available| available * 10 < memory.total);
    let style = if is_low { look.hot() } else { Style::new() };
    let mut add = |text: String, style: Style| line.push((text, style));
    add(format!("{}  ", look.say(&tr!("{total} total", total = size(memory.total)))), Style::new());
    add(format!("{}  ", look.say(&tr!("{available} available", available))), style);
    add(format!("{}  ", look.say(&tr!("{cached} cached", cached = size(memory.cached)))), Style::new());
    let swap = match memory.swap_total {
        0 => tr!("no swap"),
        total => {
            tr!("{used} of {total} swap", used = size(total.saturating_sub(memory.swap_free)), total = size(total))
        }
    };
    add(look.say(&swap), Style::new());
    if width >= 100 {
        let dirty = tr!("{dirty} dirty", dirty = size(memory.dirty.saturating_add(memory.writeback)));
        add(format!("  {}", look.say(&dirty)), Style::new());
        add(format!("  slab {}", size(memory.slab)), Style::new());
    }
    line
}

fn throttled(scene: &Scene, look: &Look) -> Option<Line> {
    let (group, percent) = scene.throttled.first()?;
    let text = tr!(
        "{group} is stopped at its CPU quota in {percent} % of the periods",
        group = group.as_str(),
        percent = format!("{percent:.0}")
    );
    Some(vec![named(look, "quota"), (look.say(&text), look.hot())])
}
