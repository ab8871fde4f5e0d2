//! Units that wait for each other in a ring.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bstr::ByteSlice;
use sickbay_formats::lines::{with_comment, with_line};
use sickbay_formats::unit_file::Setting;

use crate::facts::Facts;
use crate::facts::system::units::{State, Unit, Units};
use crate::model::finding::Findings;
use crate::model::outcome::Verdict;
use crate::model::repair::{Change, Risk};
use crate::model::source::SourceFile;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "systemd[1]: …: Found ordering cycle on …" and "Job … deleted to break ordering cycle"; now and then
    /// sshd, the network or a mount is missing after a boot.
    ///
    /// ## What it finds
    /// Units needed for the boot whose `After=` and `Before=`, with the dependencies that systemd adds by itself, form
    /// a cycle: for example a service ordered before `basic.target` that by default also waits for it. Cycles through
    /// mounts that only fstab names are not detected.
    ///
    /// ## Why it matters
    /// systemd breaks the cycle by not starting one of its units, and which one that is can change from boot to boot:
    /// now and then sshd, the network or a mount is missing.
    ///
    /// ## What the repair does
    /// Removes the name from the `After=` or `Before=` that somebody wrote in `/etc`; whether that one or another was
    /// wrong only its author knows, so this is risky.
    ///
    /// ## By hand
    /// ```sh
    /// # a unit that must run early needs DefaultDependencies=no
    /// systemd-analyze verify default.target
    /// ```
    "unit-ordering-cycle", Boot, seed = ["B13"], proves = [], "units form an ordering cycle"
}

/// Why one unit waits for another.
#[derive(Clone)]
enum Reason<'a> {
    /// A line says so.
    Line(&'a Arc<SourceFile>, &'a Setting, String),
    /// systemd adds it.
    Default,
}

/// Unit → the units that it waits for.
type Waits<'a> = BTreeMap<&'a str, BTreeMap<&'a str, Reason<'a>>>;

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let units = facts.get::<Units>()?;
    let waits = waits(&units);
    for ring in rings(&waits) {
        let pairs = || ring.iter().zip(ring.iter().cycle().skip(1));
        let lines: Vec<(&Arc<SourceFile>, &Setting, &String)> = pairs()
            .filter_map(|(unit, other)| match waits.get(unit)?.get(other)? {
                Reason::Line(file, setting, word) => Some((*file, *setting, word)),
                Reason::Default => None,
            })
            .collect();
        let written = |(file, _, _): &&(&Arc<SourceFile>, &Setting, &String)| file.path.starts_with("/etc");
        let culprit = lines.iter().find(written).or(lines.first());
        let names: Vec<&str> = ring.iter().chain(ring.first()).copied().collect();
        let finding = found.error(tr!("these units form an ordering cycle: {ring}", ring = names.join(" → ")));
        finding
            .why(tr!("systemd drops one of them at every boot, and not always the same one"))
            .detail("units", ring.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        let Some((file, setting, word)) = culprit else { continue };
        finding.at(file, setting.span);
        if file.path.starts_with("/etc") {
            let title = tr!(
                "remove {unit} from line {line} of {path}",
                unit = *word,
                line = setting.span.line,
                path = file.path.as_path()
            );
            finding.repair(Risk::Risky, title, [Change::edit(file, without(file, setting, word))]);
        } else {
            finding.by_hand(tr!("systemd-analyze verify default.target, then correct one of these units"));
        }
    }
    Ok(())
}

/// The file with one word less in a list; a line that has no other becomes a comment.
fn without(file: &SourceFile, setting: &Setting, word: &str) -> Vec<u8> {
    let line = setting.span.line;
    let others =
        setting.value.split(u8::is_ascii_whitespace).filter(|other| !other.is_empty() && *other != word.as_bytes());
    if others.count() == 0 {
        return with_comment(&file.bytes, line);
    }
    with_line(&file.bytes, line, |text| {
        let at = text.find(word.as_bytes())?;
        let (head, tail) = (text.get(..at)?, text.get(at + word.len()..)?);
        Some([head, tail.strip_prefix(b" ").unwrap_or(tail)].concat())
    })
}

/// Who waits for whom, by what the units say and by what systemd adds (the "Default Dependencies" sections of
/// systemd.service(5), systemd.socket(5), systemd.timer(5), systemd.path(5) and systemd.target(5)).
fn waits(units: &Units) -> Waits<'_> {
    let mut waits = Waits::new();
    let loaded = || units.all.iter().filter(|(_, unit)| unit.state == State::Loaded);
    for (name, unit) in loaded() {
        for (key, is_after) in [("After", true), ("Before", false)] {
            for (file, setting, word) in words(unit, key) {
                let (unit, other) = if is_after { (name.as_str(), word) } else { (word, name.as_str()) };
                enter(units, &mut waits, unit, other, Reason::Line(file, setting, word.to_owned()));
            }
        }
    }
    for (name, _) in loaded().filter(|(_, unit)| unit.has_default_dependencies()) {
        let (after, before): (&[&str], &[&str]) = match name.rsplit_once('.').map(|(_, kind)| kind) {
            Some("service") => (&["sysinit.target", "basic.target"], &[]),
            Some("socket") => (&["sysinit.target"], &["sockets.target"]),
            Some("timer") => (&["sysinit.target"], &["timers.target"]),
            Some("path") => (&["sysinit.target"], &["paths.target"]),
            _ => (&[], &[]),
        };
        for other in after {
            enter(units, &mut waits, name, other, Reason::Default);
        }
        for other in before {
            enter(units, &mut waits, other, name, Reason::Default);
        }
    }
    // A target waits for what it pulls in, unless that waits for the target already.
    for (name, unit) in loaded().filter(|(name, unit)| name.ends_with(".target") && unit.has_default_dependencies()) {
        for (other, _) in &unit.pulls {
            let other = units.name(other);
            let wants = units.get(other).is_some_and(Unit::has_default_dependencies);
            let reverse = waits.get(other).is_some_and(|of| of.contains_key(name.as_str()));
            if wants && !reverse {
                enter(units, &mut waits, name, other, Reason::Default);
            }
        }
    }
    waits
}

/// The words of a list with the line that each is on; an empty value forgets those before it.
fn words<'a>(unit: &'a Unit, key: &str) -> Vec<(&'a Arc<SourceFile>, &'a Setting, &'a str)> {
    let mut all = Vec::new();
    for (file, setting) in unit.settings.iter().filter(|(_, one)| one.section == "Unit" && one.key == key) {
        if setting.value.is_empty() {
            all.clear();
        }
        let words = setting.value.split(u8::is_ascii_whitespace).filter_map(|word| word.to_str().ok());
        all.extend(words.filter(|word| !word.is_empty()).map(|word| (file, setting, word)));
    }
    all
}

/// `unit` waits for `other`, where both are going to be started; what was entered first stands.
fn enter<'a>(units: &'a Units, waits: &mut Waits<'a>, unit: &str, other: &str, reason: Reason<'a>) {
    let loaded = |name: &str| {
        let found = units.all.get_key_value(units.name(name));
        found.filter(|(_, unit)| unit.state == State::Loaded).map(|(name, _)| name.as_str())
    };
    if let (Some(unit), Some(other)) = (loaded(unit), loaded(other))
        && unit != other
    {
        waits.entry(unit).or_default().entry(other).or_insert(reason);
    }
}

/// One ring of each knot: a shortest way back to the first of its units.
fn rings<'a>(waits: &Waits<'a>) -> Vec<Vec<&'a str>> {
    let mut all: Vec<Vec<&str>> = Vec::new();
    let mut done: BTreeSet<&str> = BTreeSet::new();
    for &start in waits.keys() {
        if done.contains(start) {
            continue;
        }
        let Some(ring) = shortest(waits, start, &done) else { continue };
        // All that is knotted together with it has one cause.
        done.extend(reachable(waits, start).filter(|other| reaches(waits, other, start)));
        all.push(ring);
    }
    all
}

/// The units on a shortest way from `start` to itself.
fn shortest<'a>(waits: &Waits<'a>, start: &'a str, avoid: &BTreeSet<&str>) -> Option<Vec<&'a str>> {
    let mut from: BTreeMap<&str, &str> = BTreeMap::new();
    let mut queue = std::collections::VecDeque::from([start]);
    while let Some(unit) = queue.pop_front() {
        for (&other, _) in waits.get(unit).into_iter().flatten() {
            if other == start {
                let mut ring = vec![unit];
                while let Some(&before) = ring.last().and_then(|last| from.get(last)) {
                    ring.push(before);
                }
                ring.reverse();
                return Some(ring);
            }
            if !from.contains_key(other) && !avoid.contains(other) {
                from.insert(other, unit);
                queue.push_back(other);
            }
        }
    }
    None
}

fn reachable<'a>(waits: &Waits<'a>, start: &'a str) -> impl Iterator<Item = &'a str> + use<'a> {
    let mut seen = BTreeSet::from([start]);
    let mut ahead = vec![start];
    while let Some(unit) = ahead.pop() {
        for (&other, _) in waits.get(unit).into_iter().flatten() {
            if seen.insert(other) {
                ahead.push(other);
            }
        }
    }
    seen.into_iter()
}

fn reaches<'a>(waits: &Waits<'a>, from: &'a str, to: &str) -> bool {
    reachable(waits, from).any(|unit| unit == to)
}
