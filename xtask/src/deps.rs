//! `cargo xtask deps`: no dependency that nothing uses, none that `ARCHITECTURE.md` does not give a reason for, and no licence that
//! `deny.toml` does not allow.
//!
//! What cargo-machete and `cargo deny check licenses` do, without building them; `./x test` runs those as well where they are
//! installed.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::new_check::workspace;

/// What is to be done.
#[derive(Debug, clap::Args)]
pub(crate) struct Deps {}

impl Deps {
    /// Does it.
    pub(crate) fn run(&self) -> Result<(), String> {
        let root = workspace();
        let out =
            Command::new("cargo").args(["metadata", "--format-version", "1", "--locked"]).current_dir(&root).output();
        let out = out.map_err(|error| format!("cargo: {error}"))?;
        if !out.status.success() {
            return Err(String::from_utf8_lossy(&out.stderr).into_owned());
        }
        let metadata: Value = serde_json::from_slice(&out.stdout).map_err(|error| error.to_string())?;
        let read = |file: &str| fs::read_to_string(root.join(file)).map_err(|error| format!("{file}: {error}"));
        let toml = |file: &str| read(file)?.parse::<toml::Table>().map_err(|error| format!("{file}: {error}"));
        let mut wrong = unused(&metadata)?;
        wrong.extend(licences(&metadata, &toml("deny.toml")?));
        wrong.extend(unexplained(&toml("Cargo.toml")?, &metadata, &read("ARCHITECTURE.md")?));
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
    }
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

fn word<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn members(metadata: &Value) -> impl Iterator<Item = &Value> {
    let is_member = |package: &&Value| list(metadata, "workspace_members").any(|id| *id == package["id"]);
    list(metadata, "packages").filter(is_member)
}

/// As the source writes a package: `md-5` is `md5` there.
fn in_source(metadata: &Value, dependency: &Value) -> String {
    let name = word(dependency, "name");
    let is_library =
        |target: &&Value| list(target, "kind").any(|kind| matches!(kind.as_str(), Some("lib" | "proc-macro")));
    let package = list(metadata, "packages").find(|package| word(package, "name") == name);
    let library = package.and_then(|package| list(package, "targets").find(is_library));
    let renamed = dependency["rename"].as_str();
    renamed.or_else(|| library.map(|library| word(library, "name"))).unwrap_or(name).replace('-', "_")
}

/// Dependencies of which the sources that may use them say nothing.
fn unused(metadata: &Value) -> Result<Vec<String>, String> {
    let mut wrong = Vec::new();
    for package in members(metadata) {
        let dir = Path::new(word(package, "manifest_path")).parent().unwrap_or(Path::new("."));
        let of = |dirs: &[&str]| -> Result<String, String> {
            let mut text = String::new();
            dirs.iter().try_for_each(|part| code(&dir.join(part), &mut text))?;
            Ok(text)
        };
        let (normal, all) = (of(&["src", "build.rs"])?, of(&["src", "build.rs", "tests", "benches", "examples"])?);
        for dependency in list(package, "dependencies") {
            let text = if word(dependency, "kind") == "dev" { &all } else { &normal };
            if !has_word(text, &in_source(metadata, dependency)) {
                wrong.push(format!("{}: nothing uses {}", word(package, "name"), word(dependency, "name")));
            }
        }
    }
    Ok(wrong)
}

/// Every line of Rust at and below `path` that is no comment.
fn code(path: &Path, text: &mut String) -> Result<(), String> {
    let io = |error: std::io::Error| format!("{}: {error}", path.display());
    if path.is_dir() {
        for entry in fs::read_dir(path).map_err(io)? {
            code(&entry.map_err(io)?.path(), text)?;
        }
    } else if path.is_file() && path.extension().is_some_and(|extension| extension == "rs") {
        let file = fs::read_to_string(path).map_err(io)?;
        for line in file.lines().filter(|line| !line.trim_start().starts_with("//")) {
            text.push_str(line.split(" // ").next().unwrap_or_default());
            text.push('\n');
        }
    }
    Ok(())
}

/// Whether the name of a crate stands there as one: before `::`, or behind `use`.
fn has_word(text: &str, name: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(name).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + name.len()..]);
        let is_whole = !before.ends_with(is_part) && !after.starts_with(is_part);
        is_whole && (after.starts_with("::") || before.ends_with("use ") || before.ends_with("extern crate "))
    })
}

/// Packages with a licence that is not allowed.
fn licences(metadata: &Value, deny: &toml::Table) -> Vec<String> {
    let allowed = deny.get("licenses").and_then(|licenses| licenses.get("allow")).and_then(toml::Value::as_array);
    let allowed: Vec<&str> = allowed.into_iter().flatten().filter_map(toml::Value::as_str).collect();
    list(metadata, "packages")
        .filter(|package| !may_be_used(word(package, "license"), &allowed))
        .map(|package| {
            format!("{} {}: its licence is {}", word(package, "name"), word(package, "version"), package["license"])
        })
        .collect()
}

/// Whether an SPDX expression lets one choose licences that are all allowed. A slash is how `OR` was written.
fn may_be_used(expression: &str, allowed: &[&str]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    any(&mut words, allowed) && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any(words: &mut Words<'_>, allowed: &[&str]) -> bool {
    let mut is_allowed = every(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        is_allowed |= every(words, allowed);
    }
    is_allowed
}

fn every(words: &mut Words<'_>, allowed: &[&str]) -> bool {
    let mut is_allowed = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        is_allowed &= one(words, allowed);
    }
    is_allowed
}

fn one(words: &mut Words<'_>, allowed: &[&str]) -> bool {
    match words.next() {
        Some("(") => any(words, allowed) & words.next_if_eq(&")").is_some(),
        Some(name) => {
            let exception = words.next_if_eq(&"WITH").and_then(|_| words.next());
            let name = exception.map_or(name.to_owned(), |exception| format!("{name} WITH {exception}"));
            allowed.contains(&name.as_str())
        }
        None => false,
    }
}

/// Dependencies of the workspace that no member has, or of which "Crates, and why each is there" does not tell why; and those
/// of which it tells though nothing depends on them.
fn unexplained(manifest: &toml::Table, metadata: &Value, architecture: &str) -> Vec<String> {
    let declared =
        manifest.get("workspace").and_then(|workspace| workspace.get("dependencies")).and_then(toml::Value::as_table);
    let is_foreign = |value: &toml::Value| value.get("path").is_none();
    let declared = declared.into_iter().flatten().filter(|(_, value)| is_foreign(value)).map(|(name, _)| name.as_str());
    let declared: BTreeSet<&str> = declared.collect();
    let had: BTreeSet<&str> =
        members(metadata).flat_map(|package| list(package, "dependencies")).map(|one| word(one, "name")).collect();
    let section =
        architecture.split("\n## Crates").nth(1).unwrap_or_default().split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let told: BTreeSet<&str> = rows
        .flat_map(|row| row.split([',', ' ', '(', ')']))
        .filter(|word| !matches!(*word, "" | "crate") && !word.starts_with('-'))
        .collect();
    // What is said in brackets is a part of what stands before them.
    let outside = |row: &str| row.split('(').next().unwrap_or_default().trim().to_owned();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let named: BTreeSet<String> =
        rows.flat_map(|row| row.split(", ").map(outside)).filter(|name| name != "crate" && !name.is_empty()).collect();
    let no_member = declared.difference(&had).map(|name| format!("Cargo.toml: no crate of the workspace uses {name}"));
    let no_reason = declared.difference(&told).map(|name| format!("ARCHITECTURE.md: why {name} is there is not told"));
    let stale = named.iter().filter(|name| !declared.contains(name.as_str()));
    let stale = stale.map(|name| format!("ARCHITECTURE.md: {name} is no dependency"));
    no_member.chain(no_reason).chain(stale).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_licence_is_one_that_may_be_chosen() {
        let allowed = ["MIT", "Apache-2.0", "Unicode-3.0", "Apache-2.0 WITH LLVM-exception"];
        for (expression, is_allowed) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("", false),
            ("MIT OR GPL-3.0", true),
            ("GPL-3.0/MIT", true),
            ("MIT AND GPL-3.0", false),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
            ("(MIT OR Apache-2.0) AND GPL-3.0", false),
            ("GPL-3.0 AND MIT OR Apache-2.0", true),
            ("GPL-3.0 AND (MIT OR Apache-2.0)", false),
            ("Apache-2.0 WITH LLVM-exception OR GPL-3.0", true),
            ("Apache-2.0 WITH another-exception", false),
            ("(MIT", false),
            ("MIT MIT", false),
        ] {
            assert_eq!(may_be_used(expression, &allowed), is_allowed, "{expression}");
        }
    }

    #[test]
    fn what_nothing_uses_is_found() {
        let dir = tempfile::tempdir().unwrap();
        for (file, text) in [
            (
                "src/lib.rs",
                "//! unused_one::x\nuse used_one::X; // unused_two::y\nfn f() { md5::g(); not_unused_two::h(); }",
            ),
            ("tests/t.rs", "use only_in_tests as x;"),
        ] {
            crate::new_check::write(&dir.path().join(file), text).unwrap();
        }
        let dependency = |name: &str, kind: Option<&str>| json!({"name": name, "kind": kind, "rename": null});
        let metadata = json!({
            "workspace_members": ["a"],
            "packages": [
                {"id": "a", "name": "a", "manifest_path": dir.path().join("Cargo.toml"), "license": "MIT", "dependencies": [
                    dependency("used-one", None), dependency("unused-one", None), dependency("unused_two", None),
                    dependency("md-5", None), dependency("only-in-tests", Some("dev")), dependency("only-in-tests", None),
                ]},
                {"id": "b", "name": "md-5", "version": "1", "license": "BSL", "targets": [{"name": "md5", "kind": ["lib"]}]},
            ],
        });
        let wrong = unused(&metadata).unwrap();
        assert_eq!(
            wrong,
            ["a: nothing uses unused-one", "a: nothing uses unused_two", "a: nothing uses only-in-tests"]
        );
        let deny: toml::Table = "[licenses]\nallow = [\"MIT\"]".parse().unwrap();
        assert_eq!(licences(&metadata, &deny), ["md-5 1: its licence is \"BSL\""]);
        let manifest = "[workspace.dependencies]\na = { path = \"a\" }\nmd-5 = \"1\"\nidle = \"1\"\nused-one = \"1\"";
        let page = "x\n## Crates\n| crate | why |\n|---|---|\n| md-5 (old), idle | digests |\n| gone | no more |\n\n## Y\n| z | z |\n";
        assert_eq!(
            unexplained(&manifest.parse().unwrap(), &metadata, page),
            [
                "Cargo.toml: no crate of the workspace uses idle",
                "ARCHITECTURE.md: why used-one is there is not told",
                "ARCHITECTURE.md: gone is no dependency",
            ]
        );
    }
}
