//! Invariants of ARCHITECTURE.md that are about the source itself.

use std::fs;
use std::path::{Path, PathBuf};

/// Lines of code (no comments) of every source file of the tool, with its path below `src`.
fn code() -> Vec<(PathBuf, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    let mut dirs = vec![src.clone()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).expect("the source is there") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("readable");
                let code =
                    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
                all.push((path.strip_prefix(&src).expect("below").to_owned(), code));
            }
        }
    }
    assert!(all.len() > 20, "the source was found");
    all
}

#[test]
fn only_the_repair_engine_writes() {
    let allowed = [
        "repair/apply.rs",
        "repair/apply/node.rs",
        "repair/apply/flags.rs",
        "repair/held.rs",
        "repair/journal.rs",
        "repair/journal/home.rs",
        "repair/undo.rs",
    ];
    for (path, code) in code() {
        if !allowed.iter().any(|allowed| path == Path::new(allowed)) {
            // That of XML writes to memory.
            let code = code.replace("quick_xml::Writer", "");
            for word in ["Writer", ".writer(", "write_disk("] {
                assert!(!code.contains(word), "{} has {word}", path.display());
            }
        }
    }
}

#[test]
fn only_reports_and_verbs_print() {
    for (path, code) in code() {
        if !path.starts_with("cli") && path != Path::new("cli.rs") && !path.starts_with("report") {
            for word in ["println!", "eprintln!", "print!", "stdout()", "stderr()"] {
                assert!(!code.contains(word), "{} has {word}", path.display());
            }
        }
    }
}

#[test]
fn a_check_is_one_file_that_declares_one_check() {
    for (path, code) in code() {
        let declarations = code.matches("\ncheck! {").count();
        assert!(declarations <= 1, "{} declares {declarations} checks", path.display());
        assert!(declarations == 0 || path.starts_with("checks"), "{} is no place for a check", path.display());
    }
}

/// The rooms from the ground up. A file may import those below its own, and its own; of the checks and the verbs each stands
/// alone. What is not listed lies below everything (`spelling`) or on top (`lib`, `main`).
const ROOMS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("sample", &["model"]),
    ("facts", &["model", "sample"]),
    ("mend", &["model", "facts"]),
    ("check", &["model", "facts"]),
    ("checks", &["model", "sample", "facts", "mend", "check"]),
    ("repair", &["model", "facts", "mend"]),
    ("engine", &["model", "facts", "mend", "check", "repair"]),
    ("tune", &["model", "facts", "mend", "repair", "engine"]),
    ("ask", &["model", "facts", "check", "checks", "engine"]),
    ("boot", &["model", "facts", "mend", "check", "checks", "repair", "engine"]),
    ("report", &["model", "sample", "facts", "repair", "engine", "ask", "boot", "tune"]),
    ("watch", &["model", "sample", "facts", "check", "checks", "engine", "report"]),
];

/// The code without its module of tests. What else is for tests alone (a file of them) is judged as all is.
fn without_tests(code: &str) -> String {
    match code.split_once("#[cfg(test)]\nmod tests {") {
        None => code.to_owned(),
        Some((before, rest)) => before.to_owned() + rest.split_once("\n}").map_or("", |(_, after)| after),
    }
}

/// File → modules of this crate that its code names, tests aside.
fn imports() -> Vec<(PathBuf, Vec<Vec<String>>)> {
    let mut all = Vec::new();
    for (path, code) in code() {
        let code = without_tests(&code);
        let mut names = Vec::new();
        for (at, _) in code.match_indices("crate::") {
            if code[..at].ends_with('$') || code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
                continue;
            }
            let rest = &code[at + "crate::".len()..];
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(rest.len());
            let stem: Vec<String> =
                rest[..end].split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect();
            // `use crate::facts::{Facts, boot::fstab}`: each of the braces is one.
            match rest[end..].strip_prefix('{').filter(|_| rest[..end].ends_with("::") || end == 0) {
                Some(group) => {
                    let group = group.split_once("};").map_or(group, |(group, _)| group);
                    for leaf in group.split(',') {
                        let parts = leaf.trim().trim_matches(['{', '}']).split("::").map(|part| part.trim().to_owned());
                        names.push(stem.iter().cloned().chain(parts).filter(|part| !part.is_empty()).collect());
                    }
                }
                None => names.push(stem),
            }
        }
        all.push((path, names));
    }
    all
}

fn room(path: &Path) -> String {
    let first = path.components().next().map(|part| part.as_os_str().to_string_lossy().into_owned());
    first.unwrap_or_default().trim_end_matches(".rs").to_owned()
}

/// What an import breaks of the order of the rooms.
fn breaks(path: &Path, name: &[String]) -> Option<String> {
    let own = room(path);
    let other = name.first()?;
    if other == "checks" && own == "checks" {
        // The lists of the areas are above the checks.
        let is_check = path.components().count() > 2;
        return is_check.then(|| format!("{}: a check imports {}", path.display(), name.join("::")));
    }
    let (_, below) = ROOMS.iter().find(|(room, _)| *room == own)?;
    let is_room = ROOMS.iter().any(|(room, _)| room == other) || other == "cli";
    (is_room && *other != own && !below.contains(&other.as_str()))
        .then(|| format!("{}: {own} imports {}", path.display(), name.join("::")))
}

#[test]
fn rooms_are_built_upon_each_other() {
    let broken: Vec<String> =
        imports().iter().flat_map(|(path, names)| names.iter().filter_map(|name| breaks(path, name))).collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    // The test can fail.
    let words = |name: &str| name.split("::").map(str::to_owned).collect::<Vec<_>>();
    for (path, name) in [
        ("checks/boot/one.rs", "checks::boot::other"),
        ("facts/boot/one.rs", "mend::pam"),
        ("model/finding.rs", "facts::Facts"),
        ("engine/run.rs", "report::Report"),
    ] {
        assert!(breaks(Path::new(path), &words(name)).is_some(), "{path} may import {name}");
    }
}

/// `super::super::mend` would be a way around the order of the rooms.
#[test]
fn a_room_names_others_by_their_path() {
    for (path, code) in code() {
        let above = "super::".repeat(path.components().count());
        assert!(!without_tests(&code).contains(&above), "{} names the crate by {above}", path.display());
    }
}

#[test]
fn a_check_looks_at_no_other_check() {
    for (path, code) in code() {
        if path.starts_with("checks") && path.components().count() > 2 {
            assert!(!without_tests(&code).contains("super::"), "{} looks at what is beside it", path.display());
        }
    }
}
