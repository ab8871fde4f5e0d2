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
use sickbay::model::stage::Stage;
use sickbay::model::subject::Subject;
use sickbay::model::text::Lang;
use sickbay::repair::plan::Choice;
use sickbay::repair::undo::Force;
use support::expect::{self, Expected};
use support::manifest::manifest;
use support::story::Story;

fn main() {
    let arguments = Arguments::from_args();
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut trials = vec![
        Trial::test("expect/can_fail", || expect::can_fail().map_err(Failed::from)),
        Trial::test("expect/keeps_what_it_may", || expect::keeps_what_it_may().map_err(Failed::from)),
    ];
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
    let mut expected = Expected::of(path)?;
    let result = tell(path, &mut expected);
    expected.write().and(result)
}

fn tell(path: &Path, expected: &mut Expected<'_>) -> Result<(), String> {
    let story = Story::read(path)?;
    let check = path.parent().and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or_default();
    if !checks::ALL.iter().any(|known| known.id == check) && check != "healthy" {
        return Err(format!("the folder {check} is named after no check"));
    }
    let built = story.build()?;

    let before = manifest(built.root());
    let disk = built.disk();
    let first = look(&built.facts()?);
    let seen = built.without_places(findings(&first, &[]));
    expected.expect("finds", &story.finds, &seen)?;
    expected.expect("cannot tell", &story.cannot_tell, &built.without_places(unknown(&first)))?;
    if story.proofs {
        every_stage_is_ok(&first)?;
    }
    if let Some(wanted) = &story.closed {
        expected.expect("closed", wanted, &closed(&first))?;
    }
    if manifest(built.root()) != before || built.disk() != disk {
        return Err("the diagnosis changed the target".to_owned());
    }
    if seen.is_empty() || story.log.is_some() {
        return Ok(());
    }

    let choice = Choice { only: Vec::new(), risky: story.risky, ..Choice::default() };
    let (target, donor) = built.open_for_repair()?;
    let mut agree = |_: &Diagnosis, _: &mut sickbay::repair::plan::Plan| true;
    let outcome = rounds::fix(&target, donor.as_ref(), &checks::ALL, &choice, &mut agree)
        .map_err(|error| format!("fix failed: {}", error.text().render(Lang::En)))?;
    let left = findings(&outcome.diagnosis, &first.findings);
    expected.expect("left", &story.left, &built.without_places(left))?;
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
            // Trees have neither cards nor, most of them, files of a network.
            let of_network = matches!(stage, Stage::Network | Stage::Reachable);
            if of_network && matches!(state, State::NotApplicable(_) | State::Unknown(_)) {
                continue;
            }
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
    let checks: Vec<_> = checks::ALL.iter().copied().filter(|check| checks::applies(check, facts.target())).collect();
    diagnose(facts, &checks)
}

/// For each finding `severity check-id place: message`, consequences indented, and under it what follows from it and what can
/// be done. Of a finding that is among the `known` ones that is said already.
fn findings(diagnosis: &Diagnosis, known: &[Finding]) -> Vec<String> {
    let known: Vec<String> = known.iter().map(line).collect();
    let mut lines = Vec::new();
    for finding in &diagnosis.findings {
        let line = line(finding);
        let is_known = known.iter().any(|known| known.trim_start() == line.trim_start());
        let indent = " ".repeat(line.len() - line.trim_start().len() + 4);
        lines.push(line);
        if !is_known {
            let why = finding.why.iter().map(|why| format!("why: {}", why.render(Lang::En)));
            let fixes = finding.repairs.iter().map(|repair| {
                let risk = format!("{:?}", repair.risk).to_lowercase();
                format!("fix: [{risk}] {}", repair.title.render(Lang::En))
            });
            lines.extend(why.chain(fixes).map(|detail| format!("{indent}{}", detail.replace('\n', "\\n"))));
        }
    }
    lines
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
    format!(
        "{indent}{severity} {} {place}: {}",
        finding.check.id,
        finding.message.render(Lang::En).replace('\n', "\\n")
    )
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
