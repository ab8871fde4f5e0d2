//! Every text has its Chinese, no Chinese is left over, and both have the same places to fill.
//!
//! With `SICKBAY_OWED=1` Chinese may be owed while one works: it is listed, as by `cargo xtask docs --missing`, and no failure.
#![allow(clippy::print_stdout, reason = "what is owed is listed")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use sickbay::checks;
use sickbay::model::text::{CheckCatalogue, GENERAL_ZH_CN, HELP_ZH_CN, Lang, TARGET_ZH_CN};

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

/// Fails when Chinese is owed, or lists it where that is no failure.
fn expect_nothing_owed(owed: &[String]) {
    if std::env::var_os("SICKBAY_OWED").is_some_and(|value| value == "1") {
        owed.iter().for_each(|one| println!("owed: {one}"));
    } else {
        assert!(owed.is_empty(), "Chinese is owed (SICKBAY_OWED=1 puts it off):\n{}", owed.join("\n"));
    }
}

fn places(template: &str) -> BTreeSet<&str> {
    let places = template.split('{').skip(1).filter_map(|rest| rest.split_once('}'));
    // `{count?file|files}` is a form of the same.
    places.map(|(name, _)| name.split('?').next().unwrap_or(name)).collect()
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
    let mut owed = Vec::new();
    let mut differing = Vec::new();
    for (file, texts) in templates() {
        let own = own_catalogue(&file).map(|catalogue| catalogue.messages).unwrap_or_default();
        for text in texts {
            match own.get(&text).or_else(|| general.get(&text)).filter(|chinese| !chinese.is_empty()) {
                None => owed.push(format!("{}: {text:?}", file.display())),
                Some(chinese) if places(chinese) != places(&text) => {
                    differing.push(format!("{}: {text:?} has other places in Chinese: {chinese}", file.display()));
                }
                Some(_) => {}
            }
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
    expect_nothing_owed(&owed);
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
    let mut owed = Vec::new();
    for check in checks::ALL.iter() {
        let chinese: CheckCatalogue = toml::from_str(check.zh_cn).unwrap_or_else(|e| panic!("{}: {e}", check.id));
        let english = check.explanation(Lang::En).1;
        let sections = ["## Symptom", "## What it finds", "## Why it matters", "## What the repair does", "## By hand"];
        assert_sections(check.id, &english, &sections);
        assert!(english.starts_with("## Symptom\nYou see: "), "{}: what the user sees comes first", check.id);
        if !chinese.page.is_empty() {
            let sections = ["## 症状", "## 它发现什么", "## 为什么重要", "## 修复做什么", "## 手工修复"];
            assert_sections(check.id, &chinese.page, &sections);
            assert_eq!(english.contains("## By hand"), chinese.page.contains("## 手工修复"), "{}", check.id);
        }
        assert!(chinese.title.is_empty() || !chinese.title.is_ascii(), "{} has no Chinese title", check.id);
        let parts = [("title", chinese.title), ("page", chinese.page)];
        owed.extend(parts.iter().filter(|(_, text)| text.is_empty()).map(|(part, _)| format!("{}: {part}", check.id)));
        let stories = fs::read_dir(cases.join(check.id)).map(Iterator::count).unwrap_or(0);
        assert!(stories > 0 || check.id == "file-system-full", "{} has no story", check.id);
    }
    expect_nothing_owed(&owed);
}

/// A page has these sections and no others, in this order; the last, commands in a code block, may be missing.
fn assert_sections(id: &str, page: &str, sections: &[&str]) {
    let mut is_code = false;
    let mut found = Vec::new();
    for line in page.lines() {
        is_code ^= line.starts_with("```");
        if !is_code && line.starts_with("## ") {
            found.push(line);
        }
    }
    assert!(!is_code, "{id}: a code block has no end");
    let (last, others) = sections.split_last().expect("there are some");
    assert_eq!(found.strip_suffix(&[*last]).unwrap_or(&found), others, "{id}: other sections");
    if let Some((_, commands)) = page.split_once(last) {
        let is_block = commands.trim().strip_prefix("```sh\n").and_then(|rest| rest.strip_suffix("\n```"));
        assert!(is_block.is_some_and(|block| !block.contains("```")), "{id}: {last} is not one code block");
    }
}

#[test]
fn ids_are_unique_and_well_formed() {
    let mut seen = BTreeSet::new();
    for check in checks::ALL.iter() {
        assert!(seen.insert(check.id), "{} is there twice", check.id);
        assert!(check.id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{}", check.id);
        assert!(!check.title.is_empty());
    }
}

/// Every paragraph of `--help` of a command and its verbs, and its headings.
fn helps(command: &clap::Command, all: &mut BTreeSet<String>) {
    let mut add = |text: Option<String>| {
        let paragraphs =
            text.iter().flat_map(|text| text.split("\n\n")).map(|text| text.trim_end_matches('.').to_owned());
        all.extend(paragraphs.collect::<Vec<_>>());
    };
    add(command.get_about().map(ToString::to_string));
    add(command.get_long_about().map(ToString::to_string));
    for argument in command.get_arguments() {
        add(argument.get_help().map(ToString::to_string));
        add(argument.get_long_help().map(ToString::to_string));
        add(argument.get_help_heading().map(str::to_owned));
        for value in argument.get_possible_values() {
            add(value.get_help().map(ToString::to_string));
        }
    }
    for verb in command.get_subcommands() {
        helps(verb, all);
    }
}

#[test]
fn every_help_is_translated() {
    let mut command = sickbay::cli::command(Lang::En);
    command.build();
    let mut said = BTreeSet::new();
    helps(&command, &mut said);
    let known: BTreeMap<String, String> = toml::from_str(HELP_ZH_CN).expect("locale/help.zh-CN.toml is TOML");
    let is_known = |text: &String| known.get(text).is_some_and(|chinese| !chinese.is_empty());
    let owed: Vec<_> = said.iter().filter(|text| !is_known(text)).map(|text| format!("help: {text:?}")).collect();
    expect_nothing_owed(&owed);
    let stale: Vec<_> = known.keys().filter(|text| !said.contains(*text)).collect();
    assert!(stale.is_empty(), "Chinese of helps that are no longer there: {stale:#?}");
}

#[test]
fn help_in_chinese_has_no_english_of_claps() {
    let mut command = sickbay::cli::command(Lang::ZhCn);
    let mut said = vec![command.render_help().to_string(), command.render_long_help().to_string()];
    for verb in command.get_subcommands_mut() {
        said.push(verb.render_help().to_string());
        said.push(verb.render_long_help().to_string());
    }
    for text in said {
        for word in ["Usage", "Options", "Arguments", "Commands", "Print ", "ossible values", "[default", "[OPTIONS]"] {
            assert!(!text.contains(word), "{word} in {text}");
        }
        assert!(text.contains("用法："), "{text}");
    }
}

/// `{name}` and `{}` alike.
fn without_names(template: &str) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, (_, after))) =
        rest.split_once('{').and_then(|(before, after)| Some((before, after.split_once('}')?)))
    {
        out.push_str(before);
        out.push_str("{}");
        rest = after;
    }
    out + rest
}

/// What sickbay-target says: its errors, and what it puts together with `format!`.
fn sentences_of_the_target() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let mut dirs = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../sickbay-target/src")];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).expect("the source is there") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                dirs.push(path);
                continue;
            }
            if path.ends_with("tests.rs") {
                continue;
            }
            let text = fs::read_to_string(&path).expect("readable");
            // Tests stand at the end.
            let text = text.split("\nmod tests {").next().unwrap_or_default();
            let code = text.replace("#[error(", "tr!(").replace("format!(", "tr!(");
            all.extend(of(&code).into_iter().filter(|literal| is_prose(literal)));
        }
    }
    assert!(all.len() > 50, "the sentences were found");
    all
}

/// Whether a template is more than a path, an option or a command line: it has two words of letters side by side.
fn is_prose(template: &str) -> bool {
    let is_word = |word: &str| {
        word.len() > 1 && word.trim_end_matches([',', ':', ';']).bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
    };
    let words: Vec<&str> = template.split_whitespace().collect();
    words.windows(2).any(|pair| pair.iter().all(|word| is_word(word)))
}

#[test]
fn every_sentence_of_the_target_is_translated() {
    let known: BTreeMap<String, String> = toml::from_str(TARGET_ZH_CN).expect("locale/target.zh-CN.toml is TOML");
    let templates: BTreeSet<String> = known.keys().map(|template| without_names(template)).collect();
    let owed: Vec<String> = sentences_of_the_target()
        .into_iter()
        .filter(|sentence| {
            let sentence = without_names(sentence.trim_end());
            // What is appended without a blank is one of several endings: those are known whole.
            let stem = sentence.strip_suffix("{}").filter(|stem| !stem.ends_with(' ')).unwrap_or("\0");
            let is_known = |one: &String| *one == sentence || one.starts_with(stem);
            !templates.iter().any(is_known)
        })
        .map(|sentence| format!("sickbay-target: {sentence:?}"))
        .collect();
    expect_nothing_owed(&owed);
    for (english, chinese) in &known {
        // A number of errno is no loss.
        assert!(places(english).is_superset(&places(chinese)), "other places in Chinese: {english}");
    }
}
