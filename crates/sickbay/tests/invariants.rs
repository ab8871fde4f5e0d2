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
    let allowed = ["repair/apply.rs", "repair/held.rs", "repair/journal.rs", "repair/session.rs", "repair/undo.rs"];
    for (path, code) in code() {
        if !allowed.iter().any(|allowed| path == Path::new(allowed)) {
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
