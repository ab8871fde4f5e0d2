//! Who does it: tables, each with what matters most first.

use ratatui_core::style::Style;
use unicode_width::UnicodeWidthStr;

use super::draw::{Line, Look};
use super::headlines::{bytes, count, digits, left, right};
use super::scene::{DiskRow, Doer, Hot, LinkRow, Scene};
use crate::facts::cpu::load::Group;
use crate::facts::cpu::usage::User;
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
        return Section { head, rows: nothing(look, &tr!("- threads were not looked at then")), weight: 0.5 };
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
    let rows: Vec<Line> = groups.iter().filter(|group| !group.is_usual && group.count() >= 0.05).map(row).collect();
    let weight = 1.0 + (scene.active / cpus).min(6.0);
    match rows.is_empty() {
        true => Section { head, rows: nothing(look, &tr!("nothing runs or waits for a disk")), weight },
        false => Section { head, rows, weight },
    }
}

fn users(scene: &Scene, look: &Look, width: usize) -> Section {
    let over = if scene.over.is_zero() { "-".to_owned() } else { format!("{:.0}", scene.over.as_secs_f64().max(1.0)) };
    let head = format!("{:>6}  {}", "CPU", look.say(&tr!("who used it, over {over} s, and its busiest threads", over)));
    let head = vec![(head, look.head())];
    let Some(users) = &scene.users else {
        return Section { head, rows: nothing(look, &tr!("- threads were not looked at then")), weight: 0.5 };
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
            let threads: Vec<String> =
                user.threads.iter().filter(|one| one.share >= 0.01).take(3).map(thread).collect();
            if !threads.is_empty() {
                line.push((format!("  [{}]", threads.join(", ")), Style::new()));
            }
        }
        line
    };
    let mut rows: Vec<Line> = users.iter().filter(|user| user.cpus >= 0.005).map(row).collect();
    if let Some(brief) = scene.brief.filter(|brief| *brief >= 0.1) {
        let text = look.say(&tr!("short-lived programs, which no look saw"));
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
        return Section { head, rows: nothing(look, &tr!("- unknown")), weight: 0.5 };
    };
    let is_hot = |disk: &DiskRow| {
        disk.util.is_some_and(|util| util >= 70.0)
            || (disk.util.is_none() && disk.queue.is_some_and(|queue| queue >= 4.0))
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
    let over = format!("{:.0}", span.as_secs_f64().max(1.0));
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
    Some(Section { head: vec![(head, look.head())], rows: doers.iter().map(row).collect(), weight: 0.6 + busy / 40.0 })
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
        return Section { head, rows: nothing(look, &tr!("- unknown")), weight: 0.4 };
    };
    let row = |link: &LinkRow| {
        let cells =
            [bytes(link.received), bytes(link.sent), count(link.packets_in), count(link.packets_out), count(link.lost)];
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
    let head =
        format!("{:>8}  {}", "irq/s", look.say(&tr!("interrupts and softirqs, and the CPU that has most of each")));
    let head = vec![(head, look.head())];
    let all = [&scene.interrupts, &scene.softirqs];
    if all.iter().all(|table| table.is_none()) {
        return Section { head, rows: nothing(look, &tr!("- unknown")), weight: 0.2 };
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
