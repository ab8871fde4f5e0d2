//! Every story under `tests/cases/CHECK-ID/` from beginning to end: a root is built, diagnosed, repaired, diagnosed again,
//! everything is undone and compared. CONTRIBUTING.md tells how a story is written.

mod support;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};
use sickbay::checks;
use sickbay::engine::proof::{BOOT, LOGINS, Proof, State};
use sickbay::engine::rounds;
use sickbay::engine::run::diagnose;
use sickbay::facts::Facts;
use sickbay::model::diagnosis::Diagnosis;
use sickbay::model::finding::Finding;
use sickbay::model::subject::Subject;
use sickbay::model::text::Lang;
use sickbay::repair::plan::Choice;
use sickbay::repair::undo::Force;
use support::manifest::manifest;
use support::story::Story;

fn main() {
    let arguments = Arguments::from_args();
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut trials = Vec::new();
    for path in stories(&cases) {
        let name = path.strip_prefix(&cases).unwrap_or(&path).with_extension("").display().to_string();
        trials.push(Trial::test(name, move || run(&path).map_err(Failed::from)));
    }
    libtest_mimic::run(&arguments, trials).exit();
}

fn stories(cases: &Path) -> Vec<PathBuf> {
    let list = |dir: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(dir).expect("the cases are part of the checkout");
        entries.map(|entry| entry.expect("readable").path()).collect()
    };
    let mut all: Vec<PathBuf> =
        list(cases).into_iter().filter(|path| path.is_dir()).flat_map(|dir| list(&dir)).collect();
    all.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    all.sort();
    all
}

fn run(path: &Path) -> Result<(), String> {
    let story = Story::read(path)?;
    let check = path.parent().and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or_default();
    if !checks::ALL.iter().any(|known| known.id == check) && check != "healthy" {
        return Err(format!("the folder {check} is named after no check"));
    }
    let built = story.build()?;

    let before = manifest(built.root());
    let disk = built.disk();
    let first = look(&built.facts()?);
    let mut seen = findings(&first);
    if let Some(log) = built.log() {
        seen = seen.iter().map(|line| line.replace(&log.display().to_string(), "LOG")).collect();
    }
    expect("finds", &story.finds, &seen)?;
    let unknown = unknown(&first);
    expect("cannot tell", &story.cannot_tell, &unknown)?;
    if story.proofs {
        every_stage_is_ok(&first)?;
    }
    if let Some(wanted) = &story.closed {
        expect("closed", wanted, &closed(&first))?;
    }
    if manifest(built.root()) != before || built.disk() != disk {
        return Err("the diagnosis changed the target".to_owned());
    }
    if story.finds.is_empty() || story.log.is_some() {
        return Ok(());
    }

    let choice = Choice { only: Vec::new(), risky: story.risky, ..Choice::default() };
    let (target, donor) = built.open_for_repair()?;
    let mut agree = |_: &Diagnosis, _: &mut sickbay::repair::plan::Plan| true;
    let outcome = rounds::fix(&target, donor.as_ref(), &checks::ALL, &choice, &mut agree)
        .map_err(|error| format!("fix failed: {}", error.text().render(Lang::En)))?;
    expect("left", &story.left, &findings(&outcome.diagnosis))?;
    for applied in &outcome.applied {
        if !applied.verified && !story.takes_back {
            let why = applied.failure.as_ref().map(|why| why.render(Lang::En)).unwrap_or_default();
            return Err(format!("repair for {} did not hold: {why}", applied.check));
        }
    }
    drop(outcome);
    for (file, wanted) in &story.then {
        let found = std::fs::read(support::inside(built.root(), file)).map_err(|error| format!("{file}: {error}"))?;
        if found != *wanted {
            return Err(format!(
                "{file} after the repair is\n{}\nwanted\n{}",
                String::from_utf8_lossy(&found),
                String::from_utf8_lossy(wanted)
            ));
        }
    }

    for (path, wanted) in &story.then_modes {
        let metadata = std::fs::symlink_metadata(support::inside(built.root(), path));
        let mode = metadata.map_err(|error| format!("{path}: {error}"))?.mode() & 0o7777;
        if mode != *wanted {
            return Err(format!("{path} has mode {mode:04o} after the repair, wanted {wanted:04o}"));
        }
    }

    for (path, wanted) in &story.then_links {
        let path = built.root().join(path.trim_start_matches('/'));
        let found = std::fs::read_link(&path).ok().map(|target| target.display().to_string());
        if found != *wanted || (wanted.is_none() && path.symlink_metadata().is_ok()) {
            return Err(format!("{} leads to {found:?} after the repair, wanted {wanted:?}", path.display()));
        }
    }

    for (path, wanted) in &story.then_owners {
        let metadata = std::fs::symlink_metadata(support::inside(built.root(), path));
        let metadata = metadata.map_err(|error| format!("{path}: {error}"))?;
        let owner = format!("{}:{}", metadata.uid(), metadata.gid());
        if owner != *wanted {
            return Err(format!("{path} belongs to {owner} after the repair, wanted {wanted}"));
        }
    }

    let undone = rounds::undo(&target, donor.as_deref(), None, &[], Force::No)
        .map_err(|error| format!("undo failed: {}", error.text().render(Lang::En)))?;
    if let Some((id, why)) = undone.left.first() {
        return Err(format!("undo left {id}: {}", why.render(Lang::En)));
    }
    let after = manifest(built.root());
    if let Some(difference) = support::manifest::difference(&before, &after) {
        return Err(format!("undo left a difference: {difference}"));
    }
    if built.disk() != disk {
        return Err("undo left a difference on the disk".to_owned());
    }
    Ok(())
}

/// Ok, or closed as it is meant: root of a cloud image has no password.
fn every_stage_is_ok(diagnosis: &Diagnosis) -> Result<(), String> {
    for stages in LOGINS.iter().map(|(_, stages)| *stages).chain([BOOT]) {
        for (stage, state) in Proof::of(stages, diagnosis).stages {
            if !matches!(state, State::Ok | State::Closed(_)) {
                return Err(format!("the stage {stage:?} is {state:?}"));
            }
        }
    }
    Ok(())
}

/// `stage: reason` for each stage of the logins that is closed.
fn closed(diagnosis: &Diagnosis) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for (stage, state) in LOGINS.iter().flat_map(|(_, stages)| Proof::of(stages, diagnosis).stages) {
        if let State::Closed(why) = state {
            let line = format!("{}: {}", stage.title().render(Lang::En), why.render(Lang::En));
            if !all.contains(&line) {
                all.push(line);
            }
        }
    }
    all
}

fn look(facts: &Arc<Facts>) -> Diagnosis {
    let checks: Vec<_> =
        checks::ALL.iter().copied().filter(|check| checks::applies(check, facts.target().kind)).collect();
    diagnose(facts, &checks)
}

/// One line for each finding: `severity check-id place: message`, consequences indented.
fn findings(diagnosis: &Diagnosis) -> Vec<String> {
    diagnosis.findings.iter().map(line).collect()
}

fn line(finding: &Finding) -> String {
    let place = finding.places.first().map_or_else(
        || "-".to_owned(),
        |place| match (&place.subject, &place.line) {
            (Subject::Line { path, .. } | Subject::Path(path), Some(line)) => {
                format!("{}:{}", path.display(), line.span.line)
            }
            (Subject::Path(path), None) => path.display().to_string(),
            (Subject::Parameter(key), _) => format!("sysctl:{key}"),
            (Subject::Device(name), _) => format!("device:{}", name.replace(' ', "-")),
            (other, _) => other.to_string().replace(' ', "-"),
        },
    );
    let severity = format!("{:?}", finding.severity).to_lowercase();
    let indent = if finding.caused_by.is_some() { "  " } else { "" };
    format!("{indent}{severity} {} {place}: {}", finding.check.id, finding.message.render(Lang::En))
}

fn unknown(diagnosis: &Diagnosis) -> Vec<String> {
    use sickbay::model::outcome::Outcome;
    diagnosis
        .outcomes
        .iter()
        .filter_map(|(check, outcome)| match outcome {
            Outcome::Unknown(why) | Outcome::Broken(why) | Outcome::Found(Some(why)) => {
                Some(format!("{}: {}", check.id, why.render(Lang::En)))
            }
            _ => None,
        })
        .collect()
}

/// Every wanted line must be the beginning of the found line in its place; a `…` in it stands for anything.
fn expect(what: &str, wanted: &[String], found: &[String]) -> Result<(), String> {
    let matches = |wanted: &String, found: &String| {
        let mut rest = found.as_str();
        wanted.split('…').enumerate().all(|(index, part)| {
            let at = if index == 0 { rest.starts_with(part).then_some(0) } else { rest.find(part) };
            match at {
                Some(at) => {
                    rest = &rest[at + part.len()..];
                    true
                }
                None => false,
            }
        })
    };
    if wanted.len() == found.len() && wanted.iter().zip(found).all(|(wanted, found)| matches(wanted, found)) {
        return Ok(());
    }
    Err(format!("{what}: wanted\n  {}\nfound\n  {}", wanted.join("\n  "), found.join("\n  ")))
}
