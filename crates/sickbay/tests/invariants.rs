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

/// What `cargo xtask package` makes before anything is packed.
const MADE: [&str; 5] =
    ["release/sickbay", "package/sickbay.1.gz", "package/sickbay.bash", "package/sickbay.zsh", "package/sickbay.fish"];

#[test]
fn packages_name_files_that_exist() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest: toml::Table = fs::read_to_string(here.join("Cargo.toml")).unwrap().parse().unwrap();
    let metadata = &manifest["package"]["metadata"];
    let text = |value: &toml::Value| value.as_str().unwrap().to_owned();
    // cargo-deb looks from here, but for what cargo made; cargo-generate-rpm from the workspace.
    let is_there = |source: &str| match source.trim_start_matches("../").strip_prefix("target/") {
        Some(made) => MADE.contains(&made),
        None => {
            let path = here.join("../..").join(source.trim_start_matches("../"));
            let wanted = path.file_name().unwrap().to_string_lossy().into_owned();
            if wanted == "*" { path.parent().unwrap().read_dir().unwrap().next().is_some() } else { path.is_file() }
        }
    };
    let deb = metadata["deb"]["assets"].as_array().unwrap();
    let deb: Vec<(String, String)> = deb.iter().map(|asset| (text(&asset[0]), text(&asset[1]))).collect();
    let rpm = metadata["generate-rpm"]["assets"].as_array().unwrap();
    let rpm: Vec<(String, String)> = rpm.iter().map(|asset| (text(&asset["source"]), text(&asset["dest"]))).collect();
    for (source, _) in deb.iter().chain(&rpm) {
        assert!(is_there(source), "{source} is not there");
    }
    // Both bring the same units, and whatever is enabled is named by the scripts that take it away again.
    for unit in ["sickbay-record.service", "sickbay-textfile.service", "sickbay-textfile.timer"] {
        for assets in [&deb, &rpm] {
            assert!(
                assets.iter().any(|(source, to)| source.ends_with(unit) && to.contains("usr/lib/systemd/system/")),
                "{unit}"
            );
        }
        let file = fs::read_to_string(here.join("../../packaging").join(unit)).unwrap();
        if file.contains("[Install]") {
            for script in ["deb/prerm", "rpm/preun"] {
                let script = fs::read_to_string(here.join("../../packaging").join(script)).unwrap();
                assert!(script.contains(unit), "{unit} stays enabled when the package goes");
            }
        }
    }
    for script in ["post_install_script", "pre_uninstall_script", "post_uninstall_script"] {
        assert!(here.join(text(&metadata["generate-rpm"][script])).is_file(), "{script}");
    }
    for script in ["postinst", "prerm", "postrm"] {
        assert!(here.join(text(&metadata["deb"]["maintainer-scripts"])).join(script).is_file(), "{script}");
    }
}
