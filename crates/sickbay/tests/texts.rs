//! Every text has its Chinese, no Chinese is left over, and both have the same places to fill.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use sickbay::checks;
use sickbay::text::{CheckCatalogue, GENERAL_ZH_CN};

/// File → templates of every `tr!` in it.
fn templates() -> BTreeMap<PathBuf, BTreeSet<String>> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = BTreeMap::new();
    let mut dirs = vec![src.clone()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).expect("the source is there") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("readable");
                all.insert(path.strip_prefix(&src).expect("below").to_owned(), of(&text));
            }
        }
    }
    all
}

/// The literals that begin a `tr!(`, outside of comments.
fn of(source: &str) -> BTreeSet<String> {
    let code: String =
        source.lines().filter(|line| !line.trim_start().starts_with("//")).map(|line| format!("{line}\n")).collect();
    code.match_indices("tr!(")
        // `include_str!(` ends in the same letters.
        .filter(|(at, _)| !code[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
        .filter_map(|(at, call)| {
            let rest = code[at + call.len()..].trim_start().strip_prefix('"')?;
            let mut literal = String::new();
            let mut characters = rest.chars();
            loop {
                match characters.next()? {
                    '"' => return Some(literal),
                    '\\' => match characters.next()? {
                        'n' => literal.push('\n'),
                        '\n' => {
                            // A line continued with a backslash goes on at its first word.
                            let rest: String = characters.collect();
                            return of(&format!("tr!(\"{literal}{}", rest.trim_start())).into_iter().next();
                        }
                        other => literal.push(other),
                    },
                    other => literal.push(other),
                }
            }
        })
        .collect()
}

fn places(template: &str) -> BTreeSet<&str> {
    template.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name).collect()
}

fn general() -> HashMap<String, String> {
    toml::from_str(GENERAL_ZH_CN).expect("locale/zh-CN.toml is TOML")
}

fn own_catalogue(file: &Path) -> Option<CheckCatalogue> {
    let stem = file.file_stem()?.to_str()?.replace('_', "-");
    let check = checks::ALL.iter().find(|check| check.id == stem)?;
    Some(toml::from_str(check.zh_cn).unwrap_or_else(|error| panic!("{stem}.zh-CN.toml: {error}")))
}

#[test]
fn every_text_is_translated() {
    let general = general();
    let mut missing = Vec::new();
    for (file, texts) in templates() {
        let own = own_catalogue(&file).map(|catalogue| catalogue.messages).unwrap_or_default();
        for text in texts {
            match own.get(&text).or_else(|| general.get(&text)) {
                None => missing.push(format!("{}: {text:?}", file.display())),
                Some(chinese) if places(chinese) != places(&text) => {
                    missing.push(format!("{}: {text:?} has other places in Chinese: {chinese}", file.display()));
                }
                Some(_) => {}
            }
        }
    }
    assert!(missing.is_empty(), "without Chinese:\n{}", missing.join("\n"));
}

#[test]
fn no_translation_is_left_over() {
    let templates = templates();
    let all: BTreeSet<&String> = templates.values().flatten().collect();
    let mut stale: Vec<String> = general()
        .into_keys()
        .filter(|text| !all.contains(text))
        .map(|text| format!("locale/zh-CN.toml: {text:?}"))
        .collect();
    for (file, texts) in &templates {
        if let Some(catalogue) = own_catalogue(file) {
            let unused = catalogue.messages.into_keys().filter(|text| !texts.contains(text));
            stale.extend(unused.map(|text| format!("{}: {text:?}", file.display())));
        }
    }
    assert!(stale.is_empty(), "Chinese of texts that are no longer said:\n{}", stale.join("\n"));
}

#[test]
fn every_check_has_a_whole_page_in_both_languages_and_a_story() {
    // How full a disk is no story can tell: `tests/space.rs` fills real ones.
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    for check in checks::ALL {
        let chinese: CheckCatalogue = toml::from_str(check.zh_cn).unwrap_or_else(|e| panic!("{}: {e}", check.id));
        for heading in ["## What it finds", "## Why it matters", "## What the repair does"] {
            assert!(check.page.contains(heading), "{} lacks {heading:?}", check.id);
        }
        for heading in ["## 它发现什么", "## 为什么重要", "## 修复做什么"] {
            assert!(chinese.page.contains(heading), "{} lacks {heading:?}", check.id);
        }
        assert!(!chinese.title.is_empty() && !chinese.title.is_ascii(), "{} has no Chinese title", check.id);
        let stories = fs::read_dir(cases.join(check.id)).map(Iterator::count).unwrap_or(0);
        assert!(stories > 0 || check.id == "file-system-full", "{} has no story", check.id);
    }
}

#[test]
fn ids_are_unique_and_well_formed() {
    let mut seen = BTreeSet::new();
    for check in checks::ALL {
        assert!(seen.insert(check.id), "{} is there twice", check.id);
        assert!(check.id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{}", check.id);
        assert!(!check.title.is_empty());
    }
}
