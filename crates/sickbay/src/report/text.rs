//! The report for people, like a good compiler's.

use std::fmt::Write as _;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use sickbay_formats::boot_console::{Said, Verdict};
use sickbay_target::vm::Firmware;

use crate::boot::{Outcome, Trial};
use crate::check::Outcome as CheckOutcome;
use crate::facts::console::{stage, why};
use crate::finding::{Finding, Line, Place, Severity};
use crate::proof::{Proof, Stage, State};
use crate::repair::plan::Plan;
use crate::repair::{Change, Risk};
use crate::report::Report;
use crate::report::json_v1::finding_id;
use crate::text::{Lang, Text};
use crate::tr;

/// How the report is written.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// The user's language.
    pub lang: Lang,
    /// With colours.
    pub colour: bool,
    /// Also what is usually left out: consequences in full, evidence, checks that do not apply.
    pub verbose: bool,
}

impl Style {
    fn say(&self, text: &Text) -> String {
        printable(&text.render(self.lang))
    }

    fn renderer(&self) -> Renderer {
        if self.colour { Renderer::styled() } else { Renderer::plain() }
    }
}

/// The report as text. `command` is how the user named the target, for the closing line.
pub fn render(report: &Report, style: &Style, command: &str) -> String {
    let mut out = String::new();
    header(&mut out, report, style);
    if let Some(trial) = &report.trial {
        tried(&mut out, trial, report, style);
    }
    let findings = &report.diagnosis.findings;
    for (index, finding) in findings.iter().enumerate() {
        if style.verbose || finding.caused_by.is_none() {
            out.push_str(&render_finding(report, index, style));
        }
    }
    if report.target.kind != "host" && !report.boot.stages.is_empty() {
        let boot_title = style.say(&tr!("boot"));
        let _ = writeln!(out, "{}  {}", pad(&boot_title), proof(&report.boot, style));
        for (channel, login) in &report.logins {
            let title = style.say(&tr!("root login"));
            let _ = writeln!(out, "{}  {channel}: {}", pad(&title), proof(login, style));
        }
        out.push('\n');
    }
    if let Some(comparison) = &report.comparison {
        out.push_str(&super::comparison::render(comparison, style));
    }
    // Of a boot that was tried the trial is the report; the findings only say why.
    if report.trial.is_none() || report.applied.is_some() {
        untold(&mut out, report, style);
        closing(&mut out, report, style, command);
    }
    out
}

/// One finding of the report, with its consequences; empty when there is none of that number.
pub fn render_finding(report: &Report, index: usize, style: &Style) -> String {
    let findings = &report.diagnosis.findings;
    let Some(finding) = findings.get(index) else { return String::new() };
    let consequences: Vec<(usize, &Finding)> =
        findings.iter().enumerate().filter(|(_, other)| other.caused_by == Some(index)).collect();
    format!("{}\n\n", block(index, finding, &consequences, style))
}

/// How a copy of the disk started.
fn tried(out: &mut String, trial: &Trial, report: &Report, style: &Style) {
    let seconds = trial.took.as_secs();
    let stop = trial.console.stands_at();
    let at = stage(stop.map_or(trial.console.stage, |stop| stop.stage)).title();
    let verdict = match (trial.outcome, stop) {
        (Outcome::Login, _) => tr!("it comes to a login, after {seconds} s", seconds),
        (Outcome::Stopped, Some(stop)) => tr!("it stops at {stage}: {why}", stage = at, why = why(stop)),
        (Outcome::Stopped, None) | (Outcome::Untold, _) => {
            let reason = trial.untold.clone().unwrap_or_else(|| tr!("it says nothing more"));
            tr!("it could not be told whether it starts; it came to {stage}: {reason}", stage = at, reason)
        }
    };
    let _ = writeln!(out, "{}  {}", pad(&style.say(&tr!("started"))), style.say(&verdict));
    let mut line = |said: &Said| {
        let _ = writeln!(out, "{}  {}: {}", pad(&style.say(&tr!("line"))), said.line, printable(&said.text));
    };
    match (&trial.console.verdict, stop) {
        (Verdict::Reached { said, .. }, _) => line(said),
        (_, Some(stop)) => std::iter::once(&stop.said).chain(&stop.also).for_each(line),
        _ => {}
    }
    let firmware = match trial.firmware {
        Firmware::Bios => "BIOS",
        Firmware::Uefi => "UEFI",
    };
    let accelerator = if trial.kvm { "KVM" } else { "TCG" };
    let how =
        tr!("on a copy that is gone again, {firmware}, {accelerator}, {seconds} s", firmware, accelerator, seconds);
    let _ = writeln!(out, "{}  {}", pad(&style.say(&tr!("how"))), style.say(&how));
    let added = trial.added.map(|added| tr!("the kernel was told {added} besides, on the copy only", added));
    for remark in trial.remarks.iter().chain(&added) {
        let _ = writeln!(out, "{}  {}", pad(&style.say(&tr!("remark"))), style.say(remark));
    }
    let _ = writeln!(out, "{}  {}", pad(&style.say(&tr!("console"))), printable(&trial.kept.display().to_string()));
    let repaired = report.applied.iter().flatten().any(|applied| applied.journal.is_some());
    if repaired && trial.outcome != Outcome::Login {
        let target = report.target.name.as_str();
        let undo = tr!("the repairs stay; sickbay undo {target} takes them back", target);
        let _ = writeln!(out, "{}  {}", pad(&style.say(&tr!("remark"))), style.say(&undo));
    }
    out.push('\n');
}

/// Checks that did not look at everything; those with one reason stand in one line.
fn untold(out: &mut String, report: &Report, style: &Style) {
    let mut lines: Vec<(String, String, Vec<&str>)> = Vec::new();
    for (check, outcome) in &report.diagnosis.outcomes {
        let (word, why) = match outcome {
            CheckOutcome::Unknown(why) | CheckOutcome::Found(Some(why)) => (tr!("could not tell"), why),
            CheckOutcome::Broken(why) => (tr!("check failed"), why),
            CheckOutcome::NotApplicable(why) if style.verbose => (tr!("not applicable"), why),
            _ => continue,
        };
        let (word, why) = (style.say(&word), style.say(why));
        match lines.iter_mut().find(|(other, reason, _)| *other == word && *reason == why) {
            Some((_, _, checks)) => checks.push(check.id),
            None => lines.push((word, why, vec![check.id])),
        }
    }
    for (word, why, checks) in lines {
        let _ = writeln!(out, "{word}[{}]: {why}", checks.join(", "));
    }
}

/// Titles of the header and the proofs stand in one column.
fn pad(title: &str) -> String {
    let width = title.chars().map(|c| if c.is_ascii() { 1 } else { 2 }).sum::<usize>();
    format!("{title}{}", " ".repeat(10usize.saturating_sub(width)))
}

fn header(out: &mut String, report: &Report, style: &Style) {
    let target = &report.target;
    let mut parts: Vec<String> = Vec::new();
    if !target.description.is_empty() {
        let words: Vec<String> = target.description.iter().map(|text| style.say(text)).collect();
        parts.push(words.join(", "));
    }
    parts.extend(target.pretty_name.as_deref().map(printable));
    parts.extend(
        target.kernel.as_deref().map(|version| style.say(&tr!("kernel {version}", version = printable(version)))),
    );
    let title = style.say(&tr!("target"));
    let _ = writeln!(out, "{}  {}: {}", pad(&title), printable(&target.name), parts.join(" · "));
    for note in &target.notes {
        let _ = writeln!(out, "{}  {}", pad(&style.say(&tr!("remark"))), printable(note));
    }
    out.push('\n');
}

fn severity(severity: Severity) -> (Level<'static>, Text) {
    match severity {
        Severity::Critical => (Level::ERROR, tr!("critical")),
        Severity::Error => (Level::ERROR, tr!("error")),
        Severity::Warning => (Level::WARNING, tr!("warning")),
        Severity::Note => (Level::NOTE, tr!("note")),
    }
}

/// One finding.
fn block(index: usize, finding: &Finding, consequences: &[(usize, &Finding)], style: &Style) -> String {
    let (level, word) = severity(finding.severity);
    let message = format!("{}  {}", finding_id(index), style.say(&finding.message));
    let mut group = level
        .clone()
        .with_name(style.say(&word))
        .primary_title(message)
        .id(finding.check.id)
        .elements(std::iter::empty::<Origin<'_>>());
    for place in &finding.places {
        group = match place {
            Place::File { path, line: Some(line) } => {
                group.element(snippet(&printable(&path.display().to_string()), line, style))
            }
            Place::File { path, line: None } => group.element(Origin::path(printable(&path.display().to_string()))),
            Place::Sysctl(key) => group.element(Origin::path(format!("sysctl {}", printable(key)))),
            Place::Device(name) => group.element(Origin::path(printable(name))),
        };
    }
    let mut remark = |name: Text, text: String| {
        let taken = std::mem::replace(&mut group, Group::with_level(Level::NOTE));
        group = taken.element(Level::NOTE.with_name(style.say(&name)).message(text));
    };
    let pointed: Vec<&str> = finding
        .places
        .iter()
        .filter_map(|place| match place {
            Place::File { line: Some(line), .. } => Some(line.text.as_str()),
            _ => None,
        })
        .collect();
    for note in finding.notes.iter().filter(|note| style.verbose || !note.verbose) {
        remark(tr!("note"), style.say(&note.text));
    }
    for evidence in finding.evidence.iter().filter(|evidence| !pointed.contains(&evidence.text.as_str())) {
        remark(tr!("seen"), format!("{}: {}", printable(&evidence.source), printable(&evidence.text)));
    }
    if let Some(why) = &finding.why {
        remark(tr!("why"), style.say(why));
    }
    for (other, consequence) in consequences {
        remark(tr!("so"), format!("{} {}", finding_id(*other), style.say(&consequence.message)));
    }
    for repair in &finding.repairs {
        let risk = match repair.risk {
            Risk::Safe => tr!("safe"),
            Risk::Risky => tr!("risky"),
            Risk::Manual => tr!("by hand"),
        };
        remark(tr!("fix"), format!("{} ({})", style.say(&repair.title), style.say(&risk)));
    }
    style.renderer().render(&[group])
}

fn snippet(path: &str, line: &Line, style: &Style) -> Snippet<'static, annotate_snippets::Annotation<'static>> {
    let text = printable(&line.text);
    let offset = |column: usize| text.char_indices().nth(column).map_or(text.len(), |(offset, _)| offset);
    let start = offset(line.span.column.saturating_sub(1));
    let end = offset(line.span.column.saturating_sub(1) + line.span.len.max(1)).max(start);
    let mut annotation = AnnotationKind::Primary.span(start..end);
    if let Some(label) = &line.label {
        annotation = annotation.label(style.say(label));
    }
    Snippet::source(text).path(path.to_owned()).line_start(line.span.line).annotation(annotation)
}

fn proof(proof: &Proof, style: &Style) -> String {
    let stages: Vec<String> = proof
        .stages
        .iter()
        .map(|(stage, state)| {
            let title = style.say(&stage.title());
            match state {
                State::Ok => format!("{title} ✓"),
                State::Broken(index) => format!("{title} ✗ {}", finding_id(*index)),
                State::Unknown(_) => format!("{title} ?"),
                // Whom sshd lets in is for the administrator to say: what was said, not only that it was.
                State::NotApplicable(why) if *stage == Stage::SshdPolicy => format!("{title} – {}", style.say(why)),
                State::Closed(why) => format!("{title} – {}", style.say(why)),
                State::NotApplicable(_) => format!("{title} –"),
            }
        })
        .collect();
    stages.join("  ")
}

fn closing(out: &mut String, report: &Report, style: &Style, command: &str) {
    let diagnosis = &report.diagnosis;
    let mut counts = Vec::new();
    for wanted in [Severity::Critical, Severity::Error, Severity::Warning, Severity::Note] {
        let count = diagnosis.causes().filter(|(_, finding)| finding.severity == wanted).count();
        if count > 0 {
            counts.push(format!("{count} {}", style.say(&severity(wanted).1)));
        }
    }
    if counts.is_empty() {
        counts.push(style.say(&tr!("nothing found")));
    }
    let count =
        |test: fn(&CheckOutcome) -> bool| diagnosis.outcomes.iter().filter(|(_, outcome)| test(outcome)).count();
    let checks = tr!(
        "{all} checks in {seconds} s: {clear} clear, {na} not applicable, {unknown} could not be told",
        all = diagnosis.outcomes.len(),
        seconds = format!("{:.2}", diagnosis.took.as_secs_f64()),
        clear = count(|outcome| matches!(outcome, CheckOutcome::Clear)),
        na = count(|outcome| matches!(outcome, CheckOutcome::NotApplicable(_))),
        unknown = count(|outcome| matches!(
            outcome,
            CheckOutcome::Unknown(_) | CheckOutcome::Broken(_) | CheckOutcome::Found(Some(_))
        ))
    );
    let _ = write!(out, "{} · {}", counts.join(", "), style.say(&checks));
    let repairable =
        diagnosis.causes().any(|(_, finding)| finding.repairs.iter().any(|repair| repair.risk != Risk::Manual));
    if repairable && report.applied.is_none() {
        let _ = write!(out, " · sickbay fix{}{command}", if command.is_empty() { "" } else { " " });
    }
    out.push('\n');
}

/// A plan as a person wants to see it before agreeing.
pub fn render_plan(plan: &Plan, style: &Style) -> String {
    let mut out = String::new();
    for step in &plan.steps {
        let risk =
            if step.repair.risk == Risk::Risky { format!(" ({})", style.say(&tr!("risky"))) } else { String::new() };
        let number = step.finding.map(|index| format!("{} ", finding_id(index))).unwrap_or_default();
        let _ = writeln!(out, "{number}{}: {}{risk}", step.check, style.say(&step.repair.title));
        let changes = &step.repair.changes;
        if changes.len() > MANY {
            for change in changes.iter().take(FEW) {
                let _ = writeln!(out, "    {}", style.say(&change.summary()));
            }
            let _ = writeln!(out, "    {}", style.say(&tr!("… {count} changes in all", count = changes.len())));
            continue;
        }
        for change in changes {
            out.push_str(&render_change(change, style));
        }
    }
    out
}

/// Of a repair with more changes than this, only the first few are shown: a directory that is copied.
const MANY: usize = 40;
const FEW: usize = 5;
/// How many lines of one change's difference are shown.
const DIFF_LINES: usize = 200;

fn render_change(change: &Change, style: &Style) -> String {
    let Some(diff) = change.diff() else {
        return format!("    {}\n", style.say(&change.summary()));
    };
    let mut out = String::new();
    for line in diff.lines().take(DIFF_LINES) {
        let line = printable(line);
        let (on, off) = match (style.colour, line.as_bytes().first()) {
            (true, Some(b'+')) => ("\x1b[32m", "\x1b[0m"),
            (true, Some(b'-')) => ("\x1b[31m", "\x1b[0m"),
            _ => ("", ""),
        };
        let _ = writeln!(out, "    {on}{line}{off}");
    }
    if diff.lines().count() > DIFF_LINES {
        let _ = writeln!(out, "    …");
    }
    out
}

/// `text` with everything replaced that a terminal would act on: a hostile disk must not write to the screen.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' => ' ',
            c if c.is_control() => '\u{FFFD}',
            // Marks that reorder what is seen (Unicode bidirectional controls).
            '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => '\u{FFFD}',
            c => c,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn escape_sequences_of_the_patient_do_not_reach_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\r\u{202E}c\td"), "a\u{FFFD}[2Jb\u{FFFD}\u{FFFD}c d");
    }
}
