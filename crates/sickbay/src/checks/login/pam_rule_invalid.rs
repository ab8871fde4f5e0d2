//! Lines of PAM files that libpam cannot read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sickbay_formats::pam::{self, Fault, Rule};

use crate::facts::Facts;
use crate::facts::login::pam::judge::{Attempt, Judgement, User, judge};
use crate::facts::login::pam::{Pam, Service, is_damaged, respelt};
use crate::model::finding::{Finding, Findings, Severity};
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::model::source::SourceFile;
use crate::model::stage::Stage;
use crate::model::subject::Subject;
use crate::model::text::Text;
use crate::{check, mend, tr};

check! {
    /// ## Symptom
    /// You see: "Authentication failure" or "Login incorrect" for everyone; in the log "PAM (login) illegal module
    /// type: …" or "unable to dlopen".
    ///
    /// ## What it finds
    /// Lines in the PAM files of `login`, `sshd`, `su` and `sudo` that libpam cannot parse: a first word that is not
    /// one of auth, account, password and session, an unknown control value, a wrong pair in brackets, no module, NUL
    /// bytes, and files whose lines end in CR LF, down to a single blank line.
    ///
    /// ## Why it matters
    /// libpam does not skip such a line: the rule fails everyone. With CR LF even the names of modules and included
    /// files change, and files of those names do not exist.
    ///
    /// ## What the repair does
    /// Removes the carriage returns, or corrects the spelling. A line that cannot be parsed otherwise is commented out,
    /// if a wrong password is still refused after that; otherwise the file is restored as shipped by the distribution.
    ///
    /// ## By hand
    /// ```sh
    /// # correct the line; what libpam says about it
    /// journalctl -t login -t sshd | grep -i pam
    /// ```
    "pam-rule-invalid", Login, seed = ["L2", "C3"], proves = [PamLogin, PamSshd],
    "a PAM file has a line that cannot be parsed"
}

/// A file, what is wrong in it, and the services that come to it.
type Wrong<'a> = (Arc<SourceFile>, Vec<Rule>, Vec<&'a Service>);

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let pam = facts.get::<Pam>()?;
    let root = User::named(facts, "root")?;
    let mut files: BTreeMap<PathBuf, Wrong<'_>> = BTreeMap::new();
    for service in &pam.services {
        for file in service.files() {
            let wrong =
                || pam::rules(&file.bytes, pam::Layout::Service).into_iter().filter(|rule| !rule.faults.is_empty());
            let entry =
                files.entry(file.path.clone()).or_insert_with(|| (Arc::clone(file), wrong().collect(), Vec::new()));
            entry.2.push(service);
        }
    }
    for (path, (file, rules, services)) in files.iter().filter(|(_, (_, rules, _))| !rules.is_empty()) {
        let mut stops = Vec::new();
        for service in services {
            let attempt = Attempt::right(&root);
            if let Some(stage) = service.stage
                && matches!(judge(facts, service, attempt)?, Judgement::Refuses(_))
            {
                stops.push(stage);
            }
        }
        let severity = if stops.is_empty() { Severity::Error } else { Severity::Critical };
        let names: Vec<&str> = services.iter().map(|service| service.name.as_str()).collect();
        let names = names.join(", ");
        let mark = |finding: &mut Finding| {
            finding.detail("services", names.as_str());
            for stage in [Stage::PamLogin, Stage::PamSshd].into_iter().filter(|stage| stops.contains(stage)) {
                finding.stops(stage);
            }
        };
        // One finding for the whole file: an editor of another system saved it.
        let is_damaged = is_damaged(file);
        let mut returns =
            rules.iter().filter(|_| !is_damaged).filter(|rule| rule.faults.contains(&Fault::CarriageReturn)).peekable();
        if let Some(first) = returns.peek().copied() {
            // A line with something on it shows better what is meant.
            let rule = returns.find(|rule| rule.module.is_some()).unwrap_or(first);
            let text = sickbay_formats::lines::without_carriage_returns(&file.bytes);
            let finding = found.add(severity, tr!("{path} has lines that end in CR LF", path = path.as_path()));
            finding.at(file, rule.span).why(tr!("the carriage return becomes part of the name of a module or file"));
            mark(finding);
            offer(
                facts,
                &pam,
                finding,
                path,
                vec![(tr!("change the line endings to LF"), Change::edit(file, text.clone()), text)],
            )?;
        }
        let unreadable = |rule: &&Rule| rule.faults.iter().any(|fault| *fault != Fault::CarriageReturn);
        let count = rules.iter().filter(unreadable).count();
        if is_damaged && let Some(first) = rules.iter().find(unreadable) {
            let finding = found.add(
                severity,
                tr!("{count} {count?line|lines} of {path} cannot be parsed", count, path = path.as_path()),
            );
            finding.subject(Subject::Path(path.clone())).extent(count);
            finding.at(file, first.span).why(tr!("the file was damaged, or it is not a PAM file"));
            mark(finding);
            offer(facts, &pam, finding, path, Vec::new())?;
            continue;
        }
        for rule in rules {
            let Some(fault) = rule.faults.iter().find(|fault| **fault != Fault::CarriageReturn) else { continue };
            let (message, span) = match fault {
                Fault::Kind(word) => (
                    tr!("{word} is not one of auth, account, password and session", word = shown(&word.text)),
                    word.span,
                ),
                Fault::Control(word) => {
                    (tr!("the control value {word} is unknown", word = shown(&word.text)), word.span)
                }
                Fault::NoControl => (tr!("a rule has no control value"), rule.span),
                Fault::NoModule => (tr!("a rule names no module"), rule.span),
                Fault::Nul => (tr!("a line contains NUL bytes"), rule.span),
                Fault::CarriageReturn => continue,
            };
            let finding = found.add(severity, message);
            finding.at(file, span).why(match stops.is_empty() {
                true => tr!("libpam does not skip it: the rule fails"),
                false => tr!("libpam does not skip it: the rule fails, and with it every login"),
            });
            mark(finding);
            let mut texts = Vec::new();
            if let Some((right, line)) = respelt(&file.bytes, rule) {
                let text = pam::with_rule(&file.bytes, rule, &line);
                texts.push((tr!("write {word}", word = right), Change::edit(file, text.clone()), text));
            }
            let text = pam::without(&file.bytes, rule);
            let title = tr!("comment out line {line}", line = rule.span.line);
            texts.push((title, Change::edit(file, text.clone()), text));
            offer(facts, &pam, finding, path, texts)?;
        }
    }
    Ok(())
}

fn shown(word: &[u8]) -> String {
    String::from_utf8_lossy(word).chars().take(60).collect()
}

/// Offers what does no harm, and after that whole files.
fn offer(
    facts: &Facts,
    pam: &Pam,
    finding: &mut Finding,
    path: &Path,
    texts: Vec<(Text, Change, Vec<u8>)>,
) -> Result<(), Skip> {
    for (title, change, text) in texts {
        if mend::pam::effect(facts, pam, path, &text)?.is_harmless() {
            finding.repair(Risk::Safe, title, [change]);
        }
    }
    if finding.repairs.is_empty() {
        for replacement in mend::pam::replacements(facts, pam, path)? {
            // What the administrator wrote into the file is lost.
            finding.repair(Risk::Risky, replacement.title, replacement.changes);
        }
    }
    if finding.repairs.is_empty() {
        finding.by_hand(tr!("correct the line: commented out, it would let anyone in"));
    }
    Ok(())
}
