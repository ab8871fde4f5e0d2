//! Habits of administrators that are nobody's fault: each is done to a healthy system, and no check may say a word of it, nor
//! that it could not tell. `habits.txt` lists them; what each does is written as in a story.

mod support;

use std::path::Path;

use libtest_mimic::{Arguments, Failed, Trial};
use sickbay::check::Outcome;
use sickbay::checks;
use sickbay::diagnose::diagnose;
use sickbay::text::Lang;
use support::story::Story;

fn main() {
    let arguments = Arguments::from_args();
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/habits.txt");
    let text = std::fs::read_to_string(&list).expect("the habits are part of the checkout");
    let trials = text.split("\n=== ").skip(1).map(|habit| {
        let (name, directives) = habit.split_once('\n').unwrap_or((habit, ""));
        let (name, directives) = (name.to_owned(), directives.to_owned());
        Trial::test(name.clone(), move || stays_silent(&name, &directives).map_err(Failed::from))
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

fn stays_silent(name: &str, directives: &str) -> Result<(), String> {
    let tree = if directives.contains("--- tree ") { "" } else { "--- tree debian-12\n" };
    let file = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
    std::fs::write(file.path(), format!("{name}\n\n{tree}{directives}\n")).map_err(|error| error.to_string())?;
    let built = Story::read(file.path())?.build()?;
    let diagnosis = diagnose(&built.facts()?, checks::ALL);
    let found = diagnosis
        .findings
        .iter()
        .map(|finding| format!("{:?} {}: {}", finding.severity, finding.check.id, finding.message.render(Lang::En)));
    let unknown = diagnosis.outcomes.iter().filter_map(|(check, outcome)| match outcome {
        Outcome::Unknown(why) | Outcome::Broken(why) | Outcome::Found(Some(why)) => {
            Some(format!("unknown {}: {}", check.id, why.render(Lang::En)))
        }
        _ => None,
    });
    let said: Vec<String> = found.chain(unknown).collect();
    if said.is_empty() { Ok(()) } else { Err(said.join("\n")) }
}
