//! The lines of a screen: of the whole machine first, then of who does it.

use ratatui_core::style::Style;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::draw::{Line, Look};
use super::scene::{DiskRow, Doer, Hot, LinkRow, Scene, Stalls};
use crate::facts::cpu::load::Group;
use crate::facts::cpu::usage::User;
use crate::facts::memory::size;
use crate::sample::rates::Shares;
use crate::tr;

/// A table.
#[derive(Clone, Debug, Default)]
pub(super) struct Section {
    /// What its columns are.
    pub(super) head: Line,
    /// The most important first.
    pub(super) rows: Vec<Line>,
    /// How much there is to see.
    pub(super) weight: f64,
}

/// `2.7k`; `-` for what is not known.
fn count(value: Option<f64>) -> String {
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
fn bytes(value: Option<f64>) -> String {
    let Some(value) = value else { return "-".to_owned() };
    let units = ["", "K", "M", "G", "T"];
    let (mut value, mut unit) = (value, 0);
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    let unit = units.get(unit).copied().unwrap_or_default();
    if value > 0.0 && value < 9.95 && !unit.is_empty() { format!("{value:.1}{unit}") } else { format!("{value:.0}{unit}") }
}

fn digits(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

/// Filled with blanks on the left.
fn right(text: &str, width: usize) -> String {
    format!("{}{text}", " ".repeat(width.saturating_sub(text.width())))
}

/// Cut, or filled with blanks on the right.
fn left(text: &str, width: usize) -> String {
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
    line.push((digits(running, 1), if running.is_some_and(|running| running > cpus * 1.5) { look.hot() } else { Style::new() }));
    line.push(("  D ".to_owned(), Style::new()));
    line.push((digits(waiting, 1), if waiting.is_some_and(|waiting| waiting >= 2.0) { look.hot() } else { Style::new() }));
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
        line.push(("  ".to_owned(), Style::new()));
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
            line.push((format!(" ({} {})", look.say(&tr!("all")), digits(full, 0)), Style::new()));
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
    add(format!("{}  ", look.say(&tr!("{total} in all", total = size(memory.total)))), Style::new());
    add(format!("{}  ", look.say(&tr!("{available} available", available))), style);
    add(format!("{}  ", look.say(&tr!("{cached} cached", cached = size(memory.cached)))), Style::new());
    let swap = match memory.swap_total {
        0 => tr!("no swap"),
        total => tr!("{used} of {total} swap", used = size(total.saturating_sub(memory.swap_free)), total = size(total)),
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

/// The tables: of CPUs and load, and of disks and the network.
pub(super) fn both(scene: &Scene, look: &Look, width: u16) -> (Vec<Section>, Vec<Section>) {
    let width = usize::from(width);
    let mut right = vec![disks(scene, look, width)];
    right.extend(doers(scene, look, width));
    right.push(links(scene, look));
    (vec![waits(scene, look), users(scene, look, width), interrupts(scene, look)], right)
}

fn nothing(look: &Look, text: &crate::model::text::Text) -> Vec<Line> {
    vec![vec![(format!("  {}", look.say(text)), Style::new())]]
}

fn waits(scene: &Scene, look: &Look) -> Section {
    let head = format!("{:>6} {:>6} {:>4}  {}", "R", "D", "%", look.say(&tr!("load: who, and what it waits for")));
    let head = vec![(head, look.head())];
    let Some(groups) = &scene.groups else {
        return Section { head, rows: nothing(look, &tr!("- nobody looked at threads then")), weight: 0.5 };
    };
    let cpus = scene.cpus.unwrap_or(1).max(1) as f64;
    let row = |group: &Group| {
        let share = if scene.active > 0.0 { group.count() * 100.0 / scene.active } else { 0.0 };
        let style = if group.waiting >= 2.0 || group.running > cpus { look.hot() } else { Style::new() };
        let who = match group.told_wait().filter(|_| group.waiting > 0.0) {
            Some(what) => tr!("{who}: {what}", who = group.who(), what),
            None => group.who(),
        };
        let numbers = format!("{:>6.1} {:>6.1} {share:>4.0}  ", group.running, group.waiting);
        vec![(numbers, style), (look.say(&who), style)]
    };
    let rows: Vec<Line> =
        groups.iter().filter(|group| !group.is_usual && group.count() >= 0.05).map(row).collect();
    let weight = 1.0 + (scene.active / cpus).min(6.0);
    match rows.is_empty() {
        true => Section { head, rows: nothing(look, &tr!("nothing runs or waits for a disk")), weight },
        false => Section { head, rows, weight },
    }
}

fn users(scene: &Scene, look: &Look, width: usize) -> Section {
    let over = format!("{:.0}", scene.over.as_secs_f64());
    let head = format!("{:>6}  {}", "CPU", look.say(&tr!("who used it, over {over} s, and its busiest threads", over)));
    let head = vec![(head, look.head())];
    let Some(users) = &scene.users else {
        return Section { head, rows: nothing(look, &tr!("- nobody looked at threads then")), weight: 0.5 };
    };
    let row = |user: &User| {
        let style = if user.cpus >= 0.85 { look.hot() } else { Style::new() };
        let who = look.say(&user.who());
        let mut line = vec![(format!("{:>6.2}  ", user.cpus), style), (left(&who, who.width().min(width)), style)];
        // One thread is the process.
        let is_one = matches!(user.threads.as_slice(), [one] if one.id == one.pid);
        if !is_one {
            let thread = |thread: &crate::facts::cpu::usage::Busy| {
                format!("{} {} {:.2}", look.plain(&thread.name), thread.id, thread.share)
            };
            let threads: Vec<String> = user.threads.iter().filter(|one| one.share >= 0.01).take(3).map(thread).collect();
            if !threads.is_empty() {
                line.push((format!("  [{}]", threads.join(", ")), Style::new()));
            }
        }
        line
    };
    let mut rows: Vec<Line> = users.iter().filter(|user| user.cpus >= 0.005).map(row).collect();
    if let Some(brief) = scene.brief.filter(|brief| *brief >= 0.1) {
        let text = look.say(&tr!("short-lived programs, or nobody who was seen"));
        let at = users.iter().filter(|user| user.cpus >= brief).count().min(rows.len());
        rows.insert(at, vec![(format!("{brief:>6.2}  {text}"), if brief >= 0.85 { look.hot() } else { Style::new() })]);
    }
    let used: f64 = users.iter().map(|user| user.cpus).sum();
    let busy = used / scene.cpus.unwrap_or(1).max(1) as f64;
    match rows.is_empty() {
        true => Section { head, rows: nothing(look, &tr!("nothing used a CPU")), weight: 1.0 },
        false => Section { head, rows, weight: 1.0 + busy * 4.0 },
    }
}

fn disks(scene: &Scene, look: &Look, width: usize) -> Section {
    let name = if width >= 100 { 16 } else { 9 };
    let titles = ["util%", "r/s", "w/s", "rB/s", "wB/s", "await", "aqu-sz"];
    let mut head = left(&look.say(&tr!("disk")), name);
    titles.iter().for_each(|title| head.push_str(&right(title, 8)));
    let head = vec![(head, look.head())];
    let Some(disks) = &scene.disks else {
        return Section { head, rows: nothing(look, &tr!("- not known")), weight: 0.5 };
    };
    let is_hot = |disk: &DiskRow| {
        disk.util.is_some_and(|util| util >= 70.0) || (disk.util.is_none() && disk.queue.is_some_and(|queue| queue >= 4.0))
    };
    let row = |disk: &DiskRow| {
        let kb = |kb: Option<f64>| bytes(kb.map(|kb| kb * 1024.0));
        // One number where the source has one: of both.
        let (reads, writes) = match (disk.reads, disk.writes, disk.transfers) {
            (None, None, Some(both)) => (format!("={}", count(Some(both))), "-".to_owned()),
            (reads, writes, _) => (count(reads), count(writes)),
        };
        let cells = [
            digits(disk.util, 0),
            reads,
            writes,
            kb(disk.read_kb),
            kb(disk.written_kb),
            digits(disk.wait, 1),
            digits(disk.queue, 1),
        ];
        let text = left(&look.plain(&disk.name), name) + &cells.iter().map(|cell| right(cell, 8)).collect::<String>();
        vec![(text, if is_hot(disk) { look.hot() } else { Style::new() })]
    };
    let rows: Vec<Line> = disks.iter().map(row).collect();
    let util = disks.iter().filter_map(|disk| disk.util).fold(0.0, f64::max).min(100.0);
    match rows.is_empty() {
        true => Section { head, rows: nothing(look, &tr!("no disk")), weight: 0.5 },
        false => Section { head, rows, weight: 1.0 + util / 50.0 },
    }
}

fn doers(scene: &Scene, look: &Look, width: usize) -> Option<Section> {
    let (doers, span) = scene.doers.as_ref()?;
    if doers.is_empty() {
        return None;
    }
    let over = format!("{:.0}", span.as_secs_f64());
    let head = format!(
        "{:>8} {:>8}  {}",
        "rB/s",
        "wB/s",
        look.say(&tr!("who reads and writes, over {over} s: disk, file", over))
    );
    let row = |doer: &Doer| {
        let who = tr!("{name} (PID {pid})", name = doer.name.as_str(), pid = doer.pid);
        let disk = doer.disk.as_deref().unwrap_or("?");
        let file = doer.file.as_deref().map(|file| format!("  {file}")).unwrap_or_default();
        let text = look.plain(&format!("  {disk}{file}"));
        let numbers = format!("{:>8} {:>8}  {}", bytes(doer.read), bytes(doer.written), look.say(&who));
        vec![(left(&(numbers + &text), width), Style::new())]
    };
    let busy = scene.disks.iter().flatten().filter_map(|disk| disk.util).fold(0.0, f64::max).min(100.0);
    Some(Section {
        head: vec![(head, look.head())],
        rows: doers.iter().map(row).collect(),
        weight: 0.6 + busy / 40.0,
    })
}

fn links(scene: &Scene, look: &Look) -> Section {
    let mut head = left(&look.say(&tr!("interface")), 16);
    ["in B/s", "out B/s", "in p/s", "out p/s", "lost/s"].iter().for_each(|title| head.push_str(&right(title, 9)));
    let mut head = vec![(head, look.head())];
    let softnet = scene.softnet.unwrap_or_default();
    let mut add = |name: &str, value: Option<f64>| {
        if let Some(value) = value.filter(|value| *value > 0.0) {
            head.push((format!("  {name} {}", count(Some(value))), look.hot()));
        }
    };
    add("softnet drops/s", softnet.dropped);
    add("squeezed/s", softnet.squeezed.filter(|squeezed| *squeezed >= 1.0));
    add("retrans/s", scene.again.filter(|again| *again >= 1.0));
    let Some(links) = &scene.links else {
        return Section { head, rows: nothing(look, &tr!("- not known")), weight: 0.4 };
    };
    let row = |link: &LinkRow| {
        let cells = [
            bytes(link.received),
            bytes(link.sent),
            count(link.packets_in),
            count(link.packets_out),
            count(link.lost),
        ];
        let text = left(&look.plain(&link.name), 16) + &cells.iter().map(|cell| right(cell, 9)).collect::<String>();
        vec![(text, if link.lost.is_some_and(|lost| lost > 0.0) { look.hot() } else { Style::new() })]
    };
    let loses = links.iter().any(|link| link.lost.is_some_and(|lost| lost > 0.0));
    let rows: Vec<Line> = links.iter().map(row).collect();
    match rows.is_empty() {
        true => Section { head, rows: nothing(look, &tr!("no interface")), weight: 0.3 },
        false => Section { head, rows, weight: if loses { 2.0 } else { 0.8 } },
    }
}

fn interrupts(scene: &Scene, look: &Look) -> Section {
    let head = format!("{:>8}  {}", "irq/s", look.say(&tr!("interrupts and softirqs, and the CPU that has most of each")));
    let head = vec![(head, look.head())];
    let all = [&scene.interrupts, &scene.softirqs];
    if all.iter().all(|table| table.is_none()) {
        return Section { head, rows: nothing(look, &tr!("- not known")), weight: 0.2 };
    }
    let mut rows: Vec<&Hot> = all.iter().filter_map(|table| table.as_ref()).flatten().collect();
    rows.sort_by(|one, other| other.total.total_cmp(&one.total));
    let row = |hot: &Hot| {
        let name = look.plain(&hot.name);
        let about = look.plain(&hot.about);
        let about = if about.is_empty() { String::new() } else { format!(" {}", left(&about, about.width().min(36))) };
        let cpu = hot.cpu.map(|(cpu, percent)| format!("  cpu{cpu} {percent:.0} %")).unwrap_or_default();
        vec![(format!("{:>8}  {name}{about}{cpu}", count(Some(hot.total))), Style::new())]
    };
    let softirq = scene.shares.as_ref().and_then(|cpus| cpus.busiest()).and_then(|(_, one)| one.softirq).unwrap_or(0.0);
    Section { head, rows: rows.into_iter().map(row).collect(), weight: 0.3 + softirq / 25.0 }
}
