//! The load average explained, for people and for programs.

use std::fmt::Write as _;

use crate::facts::cpu::load::{Group, Load};
use crate::model::text::Text;
use crate::report::text::{Style, printable};
use crate::tr;

/// Rows that are shown to those who do not ask for everything.
const ROWS: usize = 12;

/// Renders it as a table, for people.
pub fn render(load: &Load, style: &Style) -> String {
    let say = |text: &Text| printable(&text.render(style.lang));
    let mut out = String::new();
    let cpus = load.cpus.map_or_else(|| "?".to_owned(), |cpus| cpus.to_string());
    let _ = writeln!(out, "{}", say(&tr!("/proc/loadavg: {line}; {cpus} CPUs", line = load.line(), cpus)));
    if let (Some(before), Some(residue)) = (load.before, load.residue) {
        let sum: f64 = load.groups.iter().filter_map(|group| group.gained).sum();
        let sentence = tr!(
            "load1 {load1} = {before} left of before + {sum} of these threads, by the kernel's formula; {residue} is explained by nothing",
            load1 = format!("{:.2}", load.load1()),
            before = format!("{before:.2}"),
            sum = format!("{sum:.2}"),
            residue = format!("{residue:+.2}")
        );
        let _ = writeln!(out, "{}", say(&sentence));
    }
    out.push('\n');
    let known =
        |value: Option<f64>, digits: usize| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"));
    let shown = if style.verbose { load.groups.len() } else { ROWS };
    let mut line = |cells: [&str; 5], who: &str| {
        let [running, waiting, share, load1, cpu] = cells;
        let _ = writeln!(out, "{running:>7} {waiting:>7} {share:>6} {load1:>7} {cpu:>6}  {who}");
    };
    line(["R", "D", "%", "load1", "CPU"], &say(&tr!("who, and what it waits for")));
    for group in load.groups.iter().take(shown) {
        let cells = [
            format!("{:.1}", group.running),
            format!("{:.1}", group.waiting),
            format!("{:.0}", load.share(group)),
            known(group.gained, 2),
            known(group.cpu, 2),
        ];
        line(cells.each_ref().map(String::as_str), &say(&told(group)));
    }
    let rest = load.groups.len().saturating_sub(shown);
    if rest > 0 {
        let _ = writeln!(out, "{:>38} {}", "", say(&tr!("and {rest} more: -v shows all", rest)));
    }
    out.push('\n');
    for text in load.remarks() {
        let _ = writeln!(out, "- {}", say(&text));
    }
    out
}

/// The same as JSON.
pub fn json(load: &Load, style: &Style) -> serde_json::Value {
    let mut value = serde_json::json!({"schema": "sickbay/load/v1"});
    if let (Some(all), serde_json::Value::Object(details)) = (value.as_object_mut(), load.details()) {
        all.extend(details);
        let remarks = load.remarks().iter().map(|text| text.render(style.lang).into()).collect();
        all.insert("remarks".to_owned(), serde_json::Value::Array(remarks));
    }
    value
}

fn told(group: &Group) -> Text {
    match group.told_wait().filter(|_| group.waiting > 0.0) {
        Some(what) => tr!("{who}: {what}", who = group.who(), what),
        None => group.who(),
    }
}
