//! The network after a restart, and now: as JSON and as tables.

use std::fmt::Write as _;

use sickbay_formats::network::kernel::{Kernel, MAIN};
use sickbay_formats::network::{Complaint, Dialect};

use crate::facts::network::NetworkFiles;
use crate::facts::network::after_restart::AfterRestart;
use crate::facts::network::cards::{From, RULES};
use crate::facts::network::charge::name;
use crate::facts::network::words;
use crate::model::text::Text;
use crate::report::text::{Style, printable};
use crate::tr;

/// All that is told.
#[derive(Debug)]
pub struct Told<'a> {
    /// What the files come to.
    pub after: &'a AfterRestart,
    /// The files.
    pub files: &'a NetworkFiles,
    /// What the kernel of this machine has, where it is this machine.
    pub now: Option<&'a Kernel>,
}

/// The document for programs.
pub fn json(told: &Told<'_>, style: &Style) -> serde_json::Value {
    let Told { after, files, now } = told;
    let say = |text: &Text| text.render(style.lang);
    let kernel = &after.outcome.kernel;
    let unused: Vec<_> = after
        .charge
        .unused
        .iter()
        .map(|dialect| serde_json::json!({"dialect": name(*dialect), "files": paths(files, *dialect)}))
        .collect();
    let complaints: Vec<_> = after
        .outcome
        .complaints
        .iter()
        .map(|one| serde_json::json!({"file": one.place.path, "line": line(one), "text": say(&words::text(&one.what))}))
        .collect();
    let mut state = state(kernel);
    let dynamic: Vec<&str> = kernel.links.iter().filter(|link| link.dynamic).map(|link| link.name.as_str()).collect();
    let origins: Vec<_> = kernel
        .routes
        .iter()
        .filter(|route| !route.from.is_empty())
        .map(|route| {
            let lines: Vec<_> =
                route.from.iter().map(|place| serde_json::json!({"file": place.path, "line": place.line})).collect();
            serde_json::json!({"route": kernel.line(route), "table": kernel.table_name(route.table), "lines": lines})
        })
        .collect();
    state["dhcp"] = dynamic.into();
    state["complaints"] = complaints.into();
    state["origins"] = origins.into();
    let mut value = serde_json::json!({
        "schema": "sickbay/network/v1",
        "in_charge": after.charge.dialect.map(name),
        "why": say(&after.charge.why),
        "unused": unused,
        "cards": after.cards.iter().map(|card| serde_json::json!({"name": card.name, "mac": card.mac})).collect::<Vec<_>>(),
        "cards_from": say(&cards_from(&after.cards_from)),
        "after_restart": state,
        "unread": files.unread.iter().map(say).collect::<Vec<_>>(),
    });
    if let Some(now) = now {
        value["now"] = self::state(now);
    }
    value
}

/// Line 0 is the whole file.
fn line(one: &Complaint) -> Option<usize> {
    (one.place.line > 0).then_some(one.place.line)
}

fn paths(files: &NetworkFiles, dialect: Dialect) -> Vec<&str> {
    files.of(dialect).map(|file| file.path.as_str()).collect()
}

/// Addresses, routes and rules as ip(8) shows them.
fn state(kernel: &Kernel) -> serde_json::Value {
    let mut addresses = serde_json::Map::new();
    for (name, list) in kernel.addresses() {
        addresses.insert(name.to_owned(), list.into());
    }
    let mut tables = serde_json::Map::new();
    for table in kernel.other_tables() {
        tables.insert(kernel.table_name(table), kernel.route_lines(table).into());
    }
    serde_json::json!({
        "addresses": addresses,
        "routes": kernel.route_lines(MAIN),
        "rules": kernel.rule_lines(),
        "tables": tables,
    })
}

fn cards_from(from: &From) -> Text {
    match from {
        From::Given => tr!("the user"),
        From::Running => tr!("the running kernel"),
        From::Log(path) => tr!("the log of the last boot, {path}", path = path.as_path()),
        From::Rules => tr!("udev's rules, {path}", path = RULES),
        From::Files => tr!("the files alone: every card that they name is taken to be there"),
    }
}

/// As tables for people.
pub fn render(told: &Told<'_>, style: &Style) -> String {
    let Told { after, files, now } = told;
    let say = |text: &Text| printable(&text.render(style.lang));
    let mut out = String::new();
    let why = after.charge.why.clone();
    let charge = match after.charge.dialect {
        Some(dialect) => tr!("{program} is in charge of the network: {why}", program = name(dialect), why),
        None => tr!("nothing is in charge of the network: {why}", why),
    };
    let _ = writeln!(out, "{}", say(&charge));
    for dialect in &after.charge.unused {
        let list = paths(files, *dialect);
        let line =
            tr!("nobody reads the files of {program}: {paths}", program = name(*dialect), paths = list.join(", "));
        let _ = writeln!(out, "{}", say(&line));
    }
    let _ = writeln!(out, "{}", say(&tr!("cards are known from {source}", source = cards_from(&after.cards_from))));
    let kernel = &after.outcome.kernel;
    // Without files nothing is known of what a restart brings.
    if after.charge.dialect.is_some() {
        let _ = writeln!(out, "\n{}", say(&tr!("After a restart")));
        table(&mut out, kernel);
    }
    if let Some(now) = now {
        let _ = writeln!(out, "\n{}", say(&tr!("Now")));
        match after.charge.dialect {
            Some(_) => differences(&mut out, now, kernel, style),
            None => table(&mut out, now),
        }
    }
    if !after.outcome.complaints.is_empty() {
        let _ = writeln!(out, "\n{}", say(&tr!("What stands in the files")));
    }
    for one in &after.outcome.complaints {
        let line = line(one).map_or(String::new(), |line| format!(":{line}"));
        let _ = writeln!(out, "  {}{line}: {}", printable(&one.place.path), say(&words::text(&one.what)));
    }
    for text in &files.unread {
        let _ = writeln!(out, "  ? {}", say(text));
    }
    out
}

/// Cards with their addresses, then routes with the lines that they come from.
fn table(out: &mut String, kernel: &Kernel) {
    let width = kernel.links.iter().map(|link| link.name.len()).max().unwrap_or(0).min(15);
    for link in &kernel.links {
        let mut list: Vec<String> = link.addresses.iter().map(|address| address.cidr.to_string()).collect();
        if link.dynamic {
            list.push("DHCP".into());
        }
        if let Some(master) = &link.master {
            list.push(format!("→ {master}"));
        }
        if list.is_empty() {
            list.push("-".into());
        }
        let _ = writeln!(out, "  {:width$}  {}", printable(&link.name), printable(&list.join("  ")));
    }
    for (number, routes) in tables(kernel) {
        if routes.is_empty() {
            continue;
        }
        let _ = writeln!(out);
        let indent = if number == MAIN { String::new() } else { format!("table {}  ", kernel.table_name(number)) };
        let lines: Vec<String> = routes.iter().map(|route| format!("{indent}{}", kernel.line(route))).collect();
        let width = lines.iter().map(String::len).max().unwrap_or(0).min(72);
        for (line, route) in lines.iter().zip(&routes) {
            let from: Vec<String> = match route.proto {
                "kernel" => Vec::new(),
                _ => route.from.iter().map(|place| format!("{}:{}", place.path, place.line)).collect(),
            };
            let row = format!("  {:width$}  {}", printable(line), printable(&from.join(" ")));
            let _ = writeln!(out, "{}", row.trim_end());
        }
    }
    if !kernel.rules.is_empty() {
        let _ = writeln!(out);
        for line in kernel.rule_lines() {
            let _ = writeln!(out, "  {}", printable(&line));
        }
    }
}

fn tables(kernel: &Kernel) -> Vec<(u32, Vec<&sickbay_formats::network::kernel::Route>)> {
    let numbers = std::iter::once(MAIN).chain(kernel.other_tables());
    numbers.map(|number| (number, [kernel.table(number, false), kernel.table(number, true)].concat())).collect()
}

/// What the kernel has now: the same, but for `-` what a restart takes away and `+` what it brings.
fn differences(out: &mut String, now: &Kernel, after: &Kernel, style: &Style) {
    let addresses = |kernel: &Kernel| {
        let of = |(name, list): (&str, Vec<String>)| {
            list.into_iter().map(move |one| format!("{name} {one}")).collect::<Vec<_>>()
        };
        kernel.addresses().into_iter().flat_map(of).collect::<Vec<_>>()
    };
    let mut any = false;
    for (now, after) in [(addresses(now), addresses(after)), (now.route_lines(MAIN), after.route_lines(MAIN))] {
        for line in now.iter().filter(|line| !after.contains(line)) {
            any = true;
            let _ = writeln!(out, "  - {}", printable(line));
        }
        for line in after.iter().filter(|line| !now.contains(line)) {
            any = true;
            let _ = writeln!(out, "  + {}", printable(line));
        }
    }
    let text = match any {
        true => tr!("- is there now and not after a restart, + the other way round"),
        false => tr!("the same"),
    };
    let _ = writeln!(out, "  {}", printable(&text.render(style.lang)));
}
