//! Compares what a story expects with what sickbay says, and writes the one anew from the other.
//!
//! An expected line is the whole line; a `…` in it stands for anything, for what varies from run to run.

use std::path::Path;

/// Set to 1, stories are rewritten: `UPDATE=1 cargo nextest run -p sickbay --test cases`.
const UPDATE: &str = "UPDATE";

/// What a story expects, by section, and its file.
pub struct Expected<'a> {
    path: &'a Path,
    text: String,
    is_new: bool,
    update: bool,
}

impl<'a> Expected<'a> {
    /// Of the story in this file.
    pub fn of(path: &'a Path) -> Result<Expected<'a>, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let update = std::env::var_os(UPDATE).is_some_and(|value| value == "1");
        Ok(Expected { path, text, is_new: false, update })
    }

    /// Compares the lines of a section. With `UPDATE=1` a section that the story has is rewritten instead: one that it has
    /// not expects nothing, and whoever wrote it so meant it. Nor is an expected finding ever taken out, but of `left`.
    pub fn expect(&mut self, section: &str, wanted: &[String], found: &[String]) -> Result<(), String> {
        let differs = compare(section, wanted, found);
        if !self.update || differs.is_ok() {
            return differs;
        }
        if let Some(lost) = lost(wanted, found).filter(|_| section != "left") {
            return Err(format!("{lost} is not said any more: if that is right, take it out of the story by hand"));
        }
        self.text = with_section(&self.text, section, &updated(wanted, found)).ok_or_else(|| match differs {
            Err(why) => format!("the story has no section {section:?} to be rewritten; {why}"),
            Ok(()) => String::new(),
        })?;
        self.is_new = true;
        Ok(())
    }

    /// Writes the story, if something of it is new.
    pub fn write(self) -> Result<(), String> {
        if !self.is_new {
            return Ok(());
        }
        std::fs::write(self.path, self.text).map_err(|error| format!("{}: {error}", self.path.display()))
    }
}

/// Whether both are the same, line by line.
fn compare(section: &str, wanted: &[String], found: &[String]) -> Result<(), String> {
    if wanted.len() == found.len() && wanted.iter().zip(found).all(|(wanted, found)| matches(wanted, found)) {
        return Ok(());
    }
    let mark = |lines: &[String], others: &[String], is_same: &dyn Fn(&str, &str) -> bool| -> String {
        let mark = |line: &String| if others.iter().any(|other| is_same(line, other)) { ' ' } else { '>' };
        lines.iter().map(|line| format!("\n{} {line}", mark(line))).collect()
    };
    Err(format!(
        "{section}: wanted{}\nfound{}\n(UPDATE=1 writes what is found into the story)",
        mark(wanted, found, &matches),
        mark(found, wanted, &|found, wanted| matches(wanted, found)),
    ))
}

/// Whether the line is the wanted one from beginning to end, a `…` being anything.
fn matches(wanted: &str, found: &str) -> bool {
    let Some((begin, parts)) = wanted.split_once('…') else { return wanted == found };
    let Some(mut rest) = found.strip_prefix(begin) else { return false };
    let (middle, end) = parts.rsplit_once('…').unwrap_or(("", parts));
    for part in middle.split('…') {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(end)
}

/// What is found, in the wanted words where they still match or are how it begins, so that a `…` stays.
fn updated(wanted: &[String], found: &[String]) -> Vec<String> {
    let mut left: Vec<&String> = wanted.iter().collect();
    let mut take = |fits: &dyn Fn(&str) -> bool| left.iter().position(|wanted| fits(wanted)).map(|at| left.remove(at));
    found
        .iter()
        .map(|found| {
            if let Some(same) = take(&|wanted| matches(wanted, found)) {
                return same.clone();
            }
            let goes_on = |wanted: &str| wanted.contains('…') && matches(&format!("{wanted}…"), found);
            match take(&goes_on) {
                Some(begin) => format!("{begin}{}", after(begin, found)),
                None => found.clone(),
            }
        })
        .collect()
}

/// What follows in `found` after the words of `begin`.
fn after<'a>(begin: &str, found: &'a str) -> &'a str {
    let mut rest = found;
    for part in begin.split('…') {
        rest = rest.find(part).map_or("", |at| &rest[at + part.len()..]);
    }
    rest
}

/// The check of an expected line; nothing for a line that says more of the finding above it.
fn check(line: &str) -> Option<&str> {
    let is_detail = ["why: ", "fix: "].iter().any(|word| line.trim_start().starts_with(word));
    let mut words = line.split_whitespace();
    match words.next()? {
        _ if is_detail => None,
        "critical" | "error" | "warning" | "note" => words.next(),
        first => first.strip_suffix(':'),
    }
}

/// A check that is expected more often than it speaks.
fn lost<'a>(wanted: &'a [String], found: &[String]) -> Option<&'a str> {
    let mut found: Vec<&str> = found.iter().filter_map(|line| check(line)).collect();
    wanted.iter().filter_map(|line| check(line)).find(|id| match found.iter().position(|other| other == id) {
        Some(at) => {
            found.swap_remove(at);
            false
        }
        None => true,
    })
}

/// The story with other lines in one section, everything else byte for byte; `None` when it has no such section.
fn with_section(text: &str, section: &str, lines: &[String]) -> Option<String> {
    let heading = format!("--- {section}");
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        at += line.len();
        if line.split_whitespace().eq(heading.split_whitespace()) {
            let end = text[at..].split_inclusive('\n').take_while(|line| !line.starts_with("--- ")).map(str::len);
            let end = at + end.sum::<usize>();
            let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
            let newline = if text[..at].ends_with('\n') { "" } else { "\n" };
            return Some(format!("{}{newline}{body}{}", &text[..at], &text[end..]));
        }
    }
    None
}

/// Shows that an expectation can fail, and what `UPDATE=1` leaves as it is.
pub fn can_fail() -> Result<(), String> {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let said =
        lines("error a /x: it is gone\n    why: nobody gets in\n    fix: [safe] make it\n    fix: [manual] do it");
    let mut cases = vec![(said.clone(), true)];
    for (from, to) in [
        (" gone", ""),
        ("gone", "gone for good"),
        ("nobody", "no one"),
        ("[safe]", "[risky]"),
        ("make it", "make"),
        ("error", "warning"),
        ("it is gone", "…gone"),
        ("/x: it", "/y: it"),
        ("why: nobody", "why: … nobody"),
    ] {
        let other = said.iter().map(|line| line.replace(from, to)).collect();
        cases.push((other, to == "…gone"));
    }
    for (index, _) in said.iter().enumerate() {
        let mut less = said.clone();
        less.remove(index);
        cases.push((less, false));
    }
    cases.push(([said.clone(), lines("note b -: more")].concat(), false));
    for (wanted, is_met) in cases {
        if compare("finds", &wanted, &said).is_ok() != is_met {
            return Err(format!("is it met? {is_met}: {wanted:?}"));
        }
    }
    for (pattern, line, is_same) in [
        ("a…b…c", "a1b2c", true),
        ("a…b…c", "abc", true),
        ("a…b…c", "acb", false),
        ("a…a", "a", false),
        ("…", "", true),
        ("x: … of …", "x: 3 of 4", true),
        ("x: … of", "x: 3 of 4", false),
    ] {
        if matches(pattern, line) != is_same {
            return Err(format!("{pattern} and {line}"));
        }
    }
    Ok(())
}

/// The same of what `UPDATE=1` does.
pub fn keeps_what_it_may() -> Result<(), String> {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let wanted = lines("error a …: on … is little\nerror b /x: old words");
    let found = lines("error a /tmp/1: on /tmp/1 is little room\n    why: so\nerror b /x: new words");
    let new = updated(&wanted, &found);
    if new != lines("error a …: on … is little room\n    why: so\nerror b /x: new words") {
        return Err(format!("{new:?}"));
    }
    let before = "Prose: --- finds\n\n--- file /x\n--- findsnot\n\n--- finds\nold\n\n--- then /x\nkept";
    let after = with_section(before, "finds", &lines("one\n    why: two"));
    let expected = "Prose: --- finds\n\n--- file /x\n--- findsnot\n\n--- finds\none\n    why: two\n--- then /x\nkept";
    if after.as_deref() != Some(expected) || with_section(before, "left", &new).is_some() {
        return Err(format!("{after:?}"));
    }
    match (lost(&wanted, &found), lost(&wanted, &found[..2]), lost(&lines("b: why"), &lines("a: why"))) {
        (None, Some("b"), Some("b")) => Ok(()),
        other => Err(format!("{other:?}")),
    }
}
