//! The rounds of `fix`, by a check that finds made-up faults and repairs that help, do not, help in part, or make it worse.
//! Whatever comes together: what can be repaired is, everything else is as it was to the byte, and undo comes back to the
//! beginning. `SICKBAY_CASES=10000` asks for more cases than the ordinary run has.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bstr::ByteSlice;
use sickbay::check::Check;
use sickbay::engine::rounds;
use sickbay::engine::rounds::Outcome;
use sickbay::facts::Facts;
use sickbay::model::about::{About, Area};
use sickbay::model::finding::{Findings, Severity};
use sickbay::model::outcome::{Skip, Verdict};
use sickbay::model::repair::{Change, Risk};
use sickbay::model::source::SourceFile;
use sickbay::model::subject::Subject;
use sickbay::model::text::{Lang, Text};
use sickbay::repair::plan::Choice;
use sickbay::repair::undo::{Force, entries};
use sickbay::repair::verdict;
use sickbay_formats::lines::{lines, with_line};
use sickbay_formats::span::Span;
use sickbay_target::{Access, Target};
use support::manifest::{difference, manifest};

const FILES: [&str; 3] = ["/etc/a", "/etc/b", "/etc/c.d/d"];

static LINES: Check = Check {
    about: About {
        id: "lines",
        area: Area::Files,
        seed: &[],
        proves: &[],
        may_stop: &[],
        looks_at_disks_alone: false,
        reads_recordings: false,
        runs_last: false,
        title: "a line is bad",
        page: "",
        zh_cn: "",
    },
    run: look_at_lines,
};

static THINGS: Check =
    Check { about: About { id: "things", title: "something is missing", ..LINES.about }, run: look_at_things };

/// What stands in the place of a line after each repair that is offered for it; nothing where the line goes.
fn repairs(word: &str, name: &str) -> Vec<Option<String>> {
    let to = |word: &str| Some(format!("{word} {name}"));
    match word {
        "simple" => vec![to("ok")],
        "goes" => vec![None],
        "grows" => vec![Some(format!("ok {name}\nok more"))],
        "stubborn" => vec![to("still")],
        "stubborn-goes-on" => vec![Some(format!("ok above\nstill {name}"))],
        "second" => vec![to("still"), to("ok")],
        "worse" => vec![to("dying"), to("ok")],
        "worst" => vec![to("dying")],
        "half" => vec![to("quarter")],
        "quarter" => vec![to("ok")],
        "halves-only" => vec![to("rest")],
        // Helps only together with what it makes possible.
        "opens" => vec![to("opened")],
        "opened" => vec![to("ok")],
        "opens-nothing" => vec![to("opened-in-vain")],
        "opened-in-vain" => vec![to("still")],
        _ => Vec::new(),
    }
}

/// What is left of a line once everything was tried.
fn wanted(line: &str) -> Option<String> {
    let Some((word, name)) = line.split_once(' ') else { return Some(line.to_owned()) };
    match word {
        "simple" | "second" | "worse" | "half" | "quarter" | "opens" => Some(format!("ok {name}")),
        "grows" => Some(format!("ok {name}\nok more")),
        "goes" => None,
        "halves-only" => Some(format!("rest {name}")),
        _ => Some(line.to_owned()),
    }
}

fn look_at_lines(facts: &Facts, found: &mut Findings) -> Verdict {
    for path in FILES {
        let Some(file) = facts.file(path)? else { continue };
        for line in lines(&file.bytes) {
            look_at_line(found, &file, line.number, &line.text.to_str_lossy());
        }
    }
    Ok(())
}

fn look_at_line(found: &mut Findings, file: &SourceFile, number: usize, line: &str) {
    let Some((word, name)) = line.split_once(' ') else { return };
    if !matches!(word, "still" | "dying" | "rest") && repairs(word, name).is_empty() {
        return;
    }
    let severity = if word == "dying" { Severity::Critical } else { Severity::Warning };
    // The number of the line is an amount that is another one at the next look.
    let finding = found.add(severity, Text::verbatim(format!("a line is bad, {number} lines down")));
    finding.at(file, Span { line: number, column: 1, len: 1 });
    match word {
        "half" => _ = finding.extent(4_u64),
        "quarter" => _ = finding.extent(2_u64),
        "halves-only" => _ = finding.detail("count", 4),
        "rest" => _ = finding.detail("count", 3),
        _ => {}
    }
    for (index, new) in repairs(word, name).into_iter().enumerate() {
        let text = with_line(&file.bytes, number, |_| new.map(String::into_bytes));
        finding.repair(Risk::Safe, Text::verbatim(format!("{word} {index}")), [Change::edit(file, text)]);
    }
}

fn look_at_things(facts: &Facts, found: &mut Findings) -> Verdict {
    let Some(file) = facts.file("/etc/things")? else { return Ok(()) };
    for line in file.bytes.lines().map(|line| line.to_str_lossy().into_owned()) {
        let mut words = line.split(' ');
        let (Some(kind), Some(name)) = (words.next(), words.next()) else { continue };
        let path = Path::new("/etc").join(name);
        let metadata = facts.root().metadata(&path);
        let is_there = metadata.is_ok();
        let changes = match kind {
            "file" | "file-in-vain" => vec![Change::create(&path, "content\n", 0o640)],
            "dir" => vec![Change::make_dir(&path, 0o750), Change::create(path.join("x"), "x\n", 0o600)],
            "link" => vec![Change::link(&path, "a")],
            "gone" => vec![Change::Remove { path: path.clone() }],
            "mode" | "mode-in-vain" => match &metadata {
                Ok(there) if there.mode != 0o611 => {
                    vec![Change::Mode { path: path.clone(), before: there.mode, after: 0o611 }]
                }
                _ => Vec::new(),
            },
            _ => Vec::new(),
        };
        let well = match kind {
            "gone" => !is_there,
            "mode" => metadata.is_ok_and(|there| there.mode == 0o611),
            "file-in-vain" | "mode-in-vain" => false,
            _ => is_there,
        };
        if !well {
            let finding = found.error(Text::verbatim(format!("{name} is not as it should be")));
            finding.subject(Subject::Named(line.clone()));
            if !(is_there && kind == "file-in-vain") {
                finding.repair(Risk::Safe, Text::verbatim(format!("mend {line}")), changes);
            }
        }
    }
    Ok(())
}

/// A generator of numbers that is the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end
    }

    fn of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }
}

const WORDS: [&str; 14] = [
    "ok",
    "ok",
    "simple",
    "simple",
    "goes",
    "grows",
    "stubborn",
    "stubborn-goes-on",
    "second",
    "worse",
    "worst",
    "half",
    "halves-only",
    "opens",
];

/// Files of lines of which many are equal, and things of other kinds.
fn files(random: &mut Random) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for path in FILES.iter().take(1 + random.below(FILES.len())) {
        let text: String = (0..random.below(9))
            .map(|_| match random.below(8) {
                0 => "opens-nothing x\n".to_owned(),
                _ => format!("{} {}\n", random.of(&WORDS), random.of(&["x", "y"])),
            })
            .collect();
        all.insert((*path).to_owned(), text);
    }
    let things = ["file n1", "file-in-vain n2", "dir n3", "link n4", "gone g1", "mode g2", "mode-in-vain g3", "mode a"];
    let chosen: Vec<&str> = things.into_iter().filter(|_| random.below(3) == 0).collect();
    all.insert("/etc/things".to_owned(), chosen.join("\n"));
    all
}

fn build(root: &Path, files: &BTreeMap<String, String>) {
    for dir in ["etc/c.d", "var/lib"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    for (path, text) in files {
        fs::write(root.join(&path[1..]), text).unwrap();
    }
    for name in ["g1", "g2", "g3"] {
        fs::write(root.join("etc").join(name), name).unwrap();
    }
    fs::set_permissions(root.join("etc/g2"), fs::Permissions::from_mode(0o600)).unwrap();
    // Long ago, so that every change of a time is seen.
    for path in ["etc/a", "etc/g1", "etc/g2", "etc/g3", "etc/c.d", "etc", "var/lib", "var", ""] {
        let file = fs::File::open(root.join(path)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)).unwrap();
    }
}

fn open(root: &Path) -> Arc<Target> {
    Arc::new(Target::described(root, Access::ReadWrite, Vec::new(), &[]).unwrap())
}

fn fix(target: &Arc<Target>, choice: &Choice) -> Outcome {
    rounds::fix(target, None, &[&LINES, &THINGS], choice, &mut |_, _| true).unwrap()
}

/// A directory in memory, where there is one.
fn dir() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.unwrap()
}

fn case(seed: u64) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    (0..4).for_each(|_| _ = random.below(2));
    let files = files(&mut random);
    let dir = dir();
    let root = dir.path();
    build(root, &files);
    let before = manifest(root);
    let target = open(root);
    let outcome = fix(&target, &Choice::default());

    for path in FILES.iter().filter(|path| files.contains_key(**path)) {
        let all: Vec<String> = files[*path].lines().filter_map(wanted).map(|line| line + "\n").collect();
        let found = fs::read_to_string(root.join(&path[1..])).unwrap();
        assert_eq!(found, all.concat(), "case {seed}: {path} was\n{}", files[*path]);
    }
    let things = &files["/etc/things"];
    let has = |thing: &str| things.lines().any(|line| line == thing);
    let mode =
        |name: &str| fs::metadata(root.join("etc").join(name)).map_or(0, |there| there.permissions().mode() & 0o7777);
    for (thing, holds) in [
        ("file n1", mode("n1") == 0o640),
        ("dir n3", mode("n3/x") == 0o600),
        ("link n4", root.join("etc/n4").is_symlink()),
        ("gone g1", !root.join("etc/g1").exists()),
        ("mode g2", mode("g2") == 0o611),
    ] {
        assert_eq!(has(thing), holds, "case {seed}: {thing}");
    }
    assert!(!root.join("etc/n2").exists() && mode("g3") == 0o644, "case {seed}: what is in vain is taken back");
    for applied in &outcome.applied {
        let kept = applied.journal.is_some();
        assert_eq!(kept, applied.failure.is_none(), "case {seed}: {applied:?}");
        assert_eq!(applied.verified, applied.verdict == Some(verdict::Verdict::Gone), "case {seed}: {applied:?}");
        assert_eq!(kept, matches!(applied.verdict, Some(verdict::Verdict::Gone | verdict::Verdict::Better)));
    }
    drop(outcome);
    undo(&target, &mut random, seed);
    assert_eq!(difference(&before, &manifest(root)), None, "case {seed}");
}

/// Takes everything back: all at once, or one by one in any order that is allowed.
fn undo(target: &Arc<Target>, random: &mut Random, seed: u64) {
    if random.below(2) == 0 {
        let undone = rounds::undo(target, None, None, &[], Force::No).unwrap();
        assert!(undone.left.is_empty(), "case {seed}: {:?}", undone.left);
        return;
    }
    let mut left: Vec<String> = entries(target, None).unwrap().into_iter().map(|listed| listed.id).collect();
    let mut tries = 0;
    while !left.is_empty() {
        let at = random.below(left.len());
        let undone = rounds::undo(target, None, None, &left[at..=at], Force::No).unwrap();
        match undone.left.first() {
            None => _ = left.remove(at),
            // The newest is always allowed.
            Some((_, why)) => assert!(at + 1 < left.len(), "case {seed}: {}", why.render(Lang::En)),
        }
        tries += 1;
        assert!(tries < 10_000, "case {seed}: no order is allowed");
    }
}

#[test]
fn repaired_or_as_it_was_and_undone_to_the_byte() {
    let cases = std::env::var("SICKBAY_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(300);
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                let seeds = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
                seeds.take_while(|seed| *seed < cases).for_each(case);
            });
        }
    });
}

/// One root with these lines.
fn root_of(lines: &str) -> tempfile::TempDir {
    let dir = dir();
    build(dir.path(), &BTreeMap::from([("/etc/a".to_owned(), lines.to_owned())]));
    dir
}

fn a(dir: &tempfile::TempDir) -> String {
    fs::read_to_string(dir.path().join("etc/a")).unwrap()
}

#[test]
fn a_finding_that_was_named_by_number_is_the_only_one_that_is_repaired() {
    let dir = root_of("simple x\nsimple x\nsimple y\nsimple x\n");
    let only = |id: &str| Choice { only: vec![id.to_owned()], ..Choice::default() };
    fix(&open(dir.path()), &only("F2"));
    assert_eq!(a(&dir), "simple x\nok x\nsimple y\nsimple x\n");
    fix(&open(dir.path()), &only("F2"));
    assert_eq!(a(&dir), "simple x\nok x\nok y\nsimple x\n");
    fix(&open(dir.path()), &only("lines"));
    assert_eq!(a(&dir), "ok x\nok x\nok y\nok x\n");
}

#[test]
fn a_number_that_no_finding_has_is_an_error() {
    let dir = root_of("simple x\n");
    let choice = Choice { only: vec!["F9".to_owned()], ..Choice::default() };
    let why = rounds::fix(&open(dir.path()), None, &[&LINES], &choice, &mut |_, _| true).unwrap_err();
    assert_eq!(why.text().render(Lang::En), "there is no finding F9: 1 were found");
    assert_eq!(a(&dir), "simple x\n");
    assert!(!dir.path().join("var/lib/sickbay").exists());
}

#[test]
fn what_is_taken_out_of_a_plan_is_not_made() {
    let dir = root_of("simple x\nok\nok\nsimple y\nok\nok\nsimple z\n");
    let mut asked = 0;
    let mut without_the_second = |_: &_, plan: &mut sickbay::repair::plan::Plan| {
        asked += 1;
        plan.steps.remove(1);
        true
    };
    let target = open(dir.path());
    rounds::fix(&target, None, &[&LINES], &Choice::default(), &mut without_the_second).unwrap();
    assert_eq!((a(&dir).as_str(), asked), ("ok x\nok\nok\nsimple y\nok\nok\nok z\n", 1));
}

#[test]
fn a_verdict_is_told() {
    let dir = root_of("simple x\nok\nstubborn x\nok\nhalves-only x\nok\nworst x\nok\nhalf y\n");
    let outcome = fix(&open(dir.path()), &Choice::default());
    let verdicts = |title: &str| -> Vec<_> {
        let of = outcome.applied.iter().filter(|applied| applied.title.render(Lang::En).starts_with(title));
        of.map(|applied| (applied.verdict, applied.verified, applied.journal.is_some())).collect()
    };
    use verdict::Verdict::{Better, Gone, Same, Worse};
    assert_eq!(verdicts("simple"), [(Some(Gone), true, true)]);
    assert_eq!(verdicts("stubborn"), [(Some(Same), false, false)]);
    assert_eq!(verdicts("halves-only"), [(Some(Better), false, true)]);
    assert_eq!(verdicts("worst"), [(Some(Worse), false, false)]);
    // Better at first, gone in the end.
    assert_eq!(verdicts("half"), [(Some(Gone), true, true)]);
    assert_eq!(verdicts("quarter"), [(Some(Gone), true, true)]);
}

#[test]
fn what_somebody_else_changed_meanwhile_is_never_taken_back_by_force() {
    let dir = root_of("stubborn x\n");
    let path = dir.path().join("etc/a");
    // The check itself is the somebody: it is asked again after the repair.
    fn meddles(facts: &Facts, found: &mut Findings) -> Verdict {
        let file = facts.required("/etc/a")?;
        if file.bytes.starts_with(b"still") {
            let root = facts.target().name.clone();
            fs::write(Path::new(&root).join("etc/a"), "still x\nan administrator's line\n").unwrap();
        }
        look_at_lines(facts, found)
    }
    static MEDDLES: Check = Check { run: meddles, ..LINES };
    let target = open(dir.path());
    let outcome = rounds::fix(&target, None, &[&MEDDLES], &Choice::default(), &mut |_, _| true).unwrap();
    assert_eq!(fs::read_to_string(path).unwrap(), "still x\nan administrator's line\n");
    let failure = outcome.applied[0].failure.as_ref().map(|why| why.render(Lang::En)).unwrap_or_default();
    assert!(failure.starts_with("it could not be reverted: /etc/a was changed after repair 0001"), "{failure}");
}

#[test]
fn a_check_that_cannot_look_any_more_proves_nothing() {
    fn goes_blind(facts: &Facts, found: &mut Findings) -> Verdict {
        look_at_lines(facts, found)?;
        match facts.required("/etc/a")?.bytes.starts_with(b"ok") {
            true => Err(Skip::Unknown(Text::verbatim("no light"))),
            false => Ok(()),
        }
    }
    fn breaks(facts: &Facts, found: &mut Findings) -> Verdict {
        assert!(!facts.required("/etc/a")?.bytes.starts_with(b"ok"), "broken");
        look_at_lines(facts, found)
    }
    fn was_blind_before(facts: &Facts, found: &mut Findings) -> Verdict {
        found.could_not_tell(Text::verbatim("no light"));
        look_at_lines(facts, found)
    }
    static BLIND: Check = Check { run: goes_blind, ..LINES };
    static BROKEN: Check = Check { run: breaks, ..LINES };
    static DIM: Check = Check { run: was_blind_before, ..LINES };
    for (check, helps) in [(&BLIND, false), (&BROKEN, false), (&DIM, true)] {
        let dir = root_of("simple x\n");
        let before = manifest(dir.path());
        let target = open(dir.path());
        let outcome = rounds::fix(&target, None, &[check], &Choice::default(), &mut |_, _| true).unwrap();
        assert_eq!(outcome.applied[0].verified, helps);
        let failure = outcome.applied[0].failure.as_ref().map(|why| why.render(Lang::En)).unwrap_or_default();
        assert_eq!(failure.starts_with("whether it helped is undetermined"), !helps, "{failure}");
        assert_eq!(difference(&before, &manifest(dir.path())).is_none(), !helps);
    }
}
