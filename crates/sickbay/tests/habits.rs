//! What administrators do on purpose, and what no check may say a word about: `tests/habits/*.txt`.
//!
//! A file begins like a story (`tests/support/story.rs`); every `=== NAME` after that is a habit, a few more directives
//! to the same beginning.

mod support;

use std::path::Path;
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};
use sickbay::checks;
use sickbay::engine::run::diagnose;
use sickbay::facts::Facts;
use sickbay::model::outcome::Outcome;
use sickbay::model::text::Lang;
use support::story::Story;

fn main() {
    let arguments = Arguments::from_args();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/habits");
    let mut paths: Vec<_> =
        std::fs::read_dir(dir).expect("part of the checkout").map(|entry| entry.expect("readable").path()).collect();
    paths.sort();
    let mut trials = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("readable");
        let file = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut parts = text.split("\n=== ");
        let begin = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (name, rest) = part.split_once('\n').unwrap_or((part, ""));
            let story = format!("{begin}\n{rest}\n");
            trials.push(Trial::test(format!("{file}/{name}"), move || is_silent(&story).map_err(Failed::from)));
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}

fn is_silent(text: &str) -> Result<(), String> {
    let built = Story::of(text)?.build()?;
    let facts: Arc<Facts> = built.facts()?;
    let checks: Vec<_> = checks::ALL.iter().copied().filter(|check| checks::applies(check, facts.target())).collect();
    let diagnosis = diagnose(&facts, &checks);
    let found = diagnosis.findings.iter().map(|one| format!("{}: {}", one.check.id, one.message.render(Lang::En)));
    let unknown = diagnosis.outcomes.iter().filter_map(|(check, outcome)| match outcome {
        Outcome::Unknown(why) | Outcome::Broken(why) | Outcome::Found(Some(why)) => {
            Some(format!("{}: could not tell: {}", check.id, why.render(Lang::En)))
        }
        _ => None,
    });
    let said: Vec<String> = found.chain(unknown).collect();
    if said.is_empty() { Ok(()) } else { Err(said.join("\n")) }
}
