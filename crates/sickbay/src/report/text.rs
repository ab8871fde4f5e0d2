//! The report for people, like a good compiler's.

use std::fmt::Write as _;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use sickbay_formats::boot_console::{Said, Verdict};
use sickbay_target::vm::Firmware;

use crate::boot::{Outcome, Trial};
use crate::engine::proof::{Proof, State};
use crate::facts::logs::console::{stage, why};
use crate::model::finding::{Finding, Line, Severity};
use crate::model::measured::Measured;
use crate::model::repair::{Change, Risk};
use crate::model::stage::Stage;
use crate::model::text::{Lang, Text};
use crate::repair::plan::Plan;
use crate::report::forms::Form;
use crate::report::json_v1::finding_id;
use crate::report::words::{self, Reason};
use crate::report::{Report, Section};
use crate::tr;

/// How the report is written.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// The user's language.
    pub lang: Lang,
    /// With colours.
    pub colour: bool,
    /// Whether the marks and arrows of reports must do with ASCII.
    pub ascii: bool,
    /// Columns that there are; `None` where nothing is cut: in a file, for another program.
    pub width: Option<usize>,
    /// Also what is usually left out: consequences in full, evidence, command lines, checks that do not apply.
    pub verbose: bool,
}

impl Style {
    pub(super) fn say(&self, text: &Text) -> String {
        printable(&text.render(self.lang))
    }

    pub(super) fn renderer(&self) -> Renderer {
        let renderer = if self.colour { Renderer::styled() } else { Renderer::plain() };
        match self.width {
            Some(width) => renderer.term_width(width),
            None => renderer,
        }
    }

    /// `text` with the marks that this screen has.
    pub fn shown(&self, text: &str) -> String {
        if !self.ascii || text.is_ascii() {
            return text.to_owned();
        }
        let mut out = String::with_capacity(text.len());
        for letter in text.chars() {
            match MARKS.iter().find(|(mark, _)| *mark == letter) {
                Some((_, ascii)) => out.push_str(ascii),
                None => out.push(letter),
            }
        }
        out
    }

    /// `text`, broken between words where the screen ends; what follows the first line begins `indent` columns further
    /// right. `used` columns of the first line are taken.
    pub(super) fn wrapped(&self, text: &str, used: usize, indent: usize) -> String {
        let text = self.shown(text);
        let Some(width) = self.width else { return text };
        let mut out = String::new();
        let mut column = used;
        for word in words(&text) {
            let length = word.trim_end().width();
            if column + length > width && column > indent {
                out.truncate(out.trim_end().len());
                out.push('\n');
                out.push_str(&" ".repeat(indent));
                column = indent;
            }
            out.push_str(word);
            column += word.width();
        }
        out
    }

    /// A titled line of the header or a proof.
    pub(super) fn titled(&self, out: &mut String, title: &Text, text: &str) {
        let _ = writeln!(out, "{}  {}", pad(&self.say(title)), self.wrapped(text, INDENT, INDENT));
    }
}

/// Where the text of titled lines begins.
const INDENT: usize = 12;

/// What the texts of reports have beyond ASCII.
const MARKS: [(char, &str); 14] = [
    ('✓', "ok"),
    ('✗', "FAIL"),
    ('–', "-"),
    ('—', "-"),
    ('·', "-"),
    ('…', "..."),
    ('→', "->"),
    ('←', "<-"),
    ('×', "x"),
    ('≥', ">="),
    ('≤', "<="),
    ('“', "\""),
    ('”', "\""),
    ('’', "'"),
];

/// `text` in pieces between which a line may end: behind blanks, and between Chinese characters.
fn words(text: &str) -> Vec<&str> {
    let mut all = Vec::new();
    let mut start = 0;
    let mut before = ' ';
    for (at, letter) in text.char_indices() {
        let is_wide = |letter: char| letter.width() == Some(2);
        // A comma or a closing bracket is never the first of a line.
        let may_begin = !matches!(letter, '，' | '。' | '：' | '；' | '、' | '）' | '”' | '？' | '！');
        if at > start
            && (before == ' ' && letter != ' ' || (is_wide(before) || is_wide(letter)) && may_begin && before != '（')
        {
            all.push(&text[start..at]);
            start = at;
        }
        before = letter;
    }
    all.push(&text[start..]);
    all
}

/// For people.
pub const FORM: Form = Form {
    name: "text",
    about: "For people, on a terminal",
    render: |parts, style| {
        let all = parts.iter().filter_map(|part| Some(render(part.report.ok()?, style, part.name)));
        Ok(style.shown(&all.collect::<Vec<_>>().join("\n")))
    },
};

/// The report as text. `command` is how the user named the target, for the closing line.
pub fn render(report: &Report, style: &Style, command: &str) -> String {
    let mut out = String::new();
    header(&mut out, report, style);
    for section in report.sections() {
        match section {
            Section::Trial(trial) => tried(&mut out, trial, report, style),
            Section::Findings => {
                for (index, finding) in report.diagnosis.findings.iter().enumerate() {
                    if style.verbose || finding.caused_by.is_none() {
                        out.push_str(&render_finding(report, index, style));
                    }
                }
            }
            Section::Proofs(proofs) => {
                for one in proofs {
                    proof(&mut out, &one.title, one.channel, one.proof, style);
                }
                out.push('\n');
            }
            Section::Comparison(comparison) => out.push_str(&super::comparison::render(comparison, style)),
            // `sickbay explain` has them as tables; what was repaired is told as it is done.
            Section::TimeLines(_) | Section::Applied(_) => {}
            Section::Outcomes => {
                untold(&mut out, report, style);
                closing(&mut out, report, style, command);
            }
        }
    }
    out
}

/// One finding of the report, with its consequences; empty when there is none of that number.
pub fn render_finding(report: &Report, index: usize, style: &Style) -> String {
    render_cause(&report.diagnosis.findings, index, style)
}

/// One of these findings, with its consequences; empty when there is none of that number.
pub fn render_cause(findings: &[Finding], index: usize, style: &Style) -> String {
    let Some(finding) = findings.get(index) else { return String::new() };
    let consequences: Vec<(usize, &Finding)> =
        findings.iter().enumerate().filter(|(_, other)| other.caused_by == Some(index)).collect();
    format!("{}\n\n", block(index, finding, &consequences, style))
}

/// How a copy of the disk started, for other forms.
pub(super) fn trial(trial: &Trial, report: &Report, style: &Style) -> String {
    let mut out = String::new();
    tried(&mut out, trial, report, style);
    out
}

/// How a copy of the disk started.
fn tried(out: &mut String, trial: &Trial, report: &Report, style: &Style) {
    let seconds = trial.took.as_secs();
    let stop = trial.console.stands_at();
    let at = stage(stop.map_or(trial.console.stage, |stop| stop.stage)).title();
    let verdict = match (trial.outcome, stop) {
        (Outcome::Login, _) => tr!("it reaches a login after {seconds} s", seconds),
        (Outcome::Stopped, Some(stop)) => tr!("it stops at {stage}: {why}", stage = at, why = why(stop)),
        (Outcome::Stopped, None) | (Outcome::Untold, _) => {
            let reason = trial.untold.clone().unwrap_or_else(|| tr!("it prints nothing more"));
            tr!("whether it boots is undetermined; it got to {stage}: {reason}", stage = at, reason)
        }
    };
    style.titled(out, &tr!("booted"), &style.say(&verdict));
    let mut line = |said: &Said| {
        style.titled(out, &tr!("line"), &format!("{}: {}", said.line, printable(&said.text)));
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
    let how = tr!(
        "on a copy that has since been deleted, {firmware}, {accelerator}, {seconds} s",
        firmware,
        accelerator,
        seconds
    );
    style.titled(out, &tr!("how"), &style.say(&how));
    let added = trial.added.map(|added| tr!("{added} was added to the kernel command line, on the copy only", added));
    for remark in trial.remarks.iter().chain(&added) {
        style.titled(out, &tr!("note"), &style.say(remark));
    }
    style.titled(out, &tr!("console"), &printable(&trial.kept.display().to_string()));
    let repaired = report.applied.iter().flatten().any(|applied| applied.journal.is_some());
    if repaired && trial.outcome != Outcome::Login {
        let target = report.target.name.as_str();
        let undo = tr!("the repairs stay; sickbay undo {target} reverts them", target);
        style.titled(out, &tr!("note"), &style.say(&undo));
    }
    out.push('\n');
}

/// Checks that did not look at everything; those with one reason stand in one line.
fn untold(out: &mut String, report: &Report, style: &Style) {
    let lines = words::reasons(&report.diagnosis, style.verbose, |text| style.say(text));
    let shown = if style.verbose { lines.len() } else { REASONS };
    for Reason { word, why, checks, .. } in lines.iter().take(shown) {
        let named = if style.verbose || checks.len() <= NAMED + 1 { checks.len() } else { NAMED };
        let mut list = checks.iter().take(named).copied().collect::<Vec<_>>().join(", ");
        if checks.len() > named {
            let _ = write!(list, ", {}", style.say(&tr!("{count} more", count = checks.len() - named)));
        }
        let _ = writeln!(out, "{}", style.wrapped(&format!("{word}[{list}]: {why}"), 0, 4));
    }
    if lines.len() > shown {
        let checks: usize = lines.iter().skip(shown).map(|reason| reason.checks.len()).sum();
        let rest = tr!("… and {checks} more {checks?check|checks}, for other reasons (--verbose)", checks);
        let _ = writeln!(out, "{}", style.wrapped(&style.say(&rest), 0, 4));
    }
}

/// Of checks with one reason so many are named to those who do not ask for all.
const NAMED: usize = 3;
/// So many reasons are given to them.
const REASONS: usize = 8;

/// Titles of the header and the proofs stand in one column.
fn pad(title: &str) -> String {
    format!("{title}{}", " ".repeat((INDENT - 2).saturating_sub(title.width())))
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
    let name = target.name.as_str();
    let about = match parts.is_empty() {
        true => Text::verbatim(name),
        false => tr!("{name}: {about}", name, about = parts.join(" · ")),
    };
    style.titled(out, &tr!("target"), &style.say(&about));
    if let Some(donor) = &target.donor {
        style.titled(out, &tr!("donor"), &style.say(donor));
    }
    for note in &target.notes {
        style.titled(out, &tr!("note"), &style.say(&Text::verbatim(note)));
    }
    for remark in &target.remarks {
        style.titled(out, &tr!("note"), &style.say(remark));
    }
    out.push('\n');
}

fn level(severity: Severity) -> Level<'static> {
    match severity {
        Severity::Critical | Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    }
}

/// One finding.
fn block(index: usize, finding: &Finding, consequences: &[(usize, &Finding)], style: &Style) -> String {
    let (level, word) = (level(finding.severity), words::severity(finding.severity));
    let lead = style.say(&word).width() + finding.check.id.len() + "[]: ".len();
    let message = format!("{}  {}", finding_id(index), style.say(&finding.message));
    let message = style.wrapped(&message, lead, 0);
    let mut group = level
        .clone()
        .with_name(style.say(&word))
        .primary_title(message)
        .id(finding.check.id)
        .elements(std::iter::empty::<Origin<'_>>());
    for place in &finding.places {
        group = match (&place.line, place.subject.path()) {
            (Some(line), Some(path)) => group.element(snippet(&printable(&path.display().to_string()), line, style)),
            (None, Some(path)) => group.element(Origin::path(printable(&path.display().to_string()))),
            _ => group.element(Origin::path(printable(&place.subject.to_string()))),
        };
    }
    let mut remark = |name: Text, text: String| {
        let taken = std::mem::replace(&mut group, Group::with_level(Level::NOTE));
        let name = style.say(&name);
        // Behind "  = name: " and the number of a line.
        let narrower =
            Style { width: style.width.map(|width| width.saturating_sub(name.width() + 8).max(20)), ..*style };
        group = taken.element(Level::NOTE.with_name(name).message(narrower.wrapped(&text, 0, 0)));
    };
    let pointed: Vec<&str> =
        finding.places.iter().filter_map(|place| Some(place.line.as_ref()?.text.as_str())).collect();
    if !finding.measured.is_empty() {
        let shown = finding.measured.iter().map(Measured::shown).collect::<Vec<_>>().join(", ");
        remark(tr!("measured"), printable(&shown));
    }
    if let Some(when) = &finding.when {
        remark(tr!("seen"), style.say(&tr!("{from} to {to}", from = when.from.to_string(), to = when.to.to_string())));
    }
    for note in finding.notes.iter().filter(|note| style.verbose || !note.verbose) {
        remark(tr!("note"), style.say(&note.text));
    }
    for evidence in finding.evidence.iter().filter(|evidence| !pointed.contains(&evidence.text.as_str())) {
        remark(tr!("evidence"), format!("{}: {}", printable(&evidence.source), printable(&evidence.text)));
    }
    if let Some(why) = &finding.why {
        remark(tr!("why"), style.say(why));
    }
    for (other, consequence) in consequences {
        remark(tr!("causes"), format!("{} {}", finding_id(*other), style.say(&consequence.message)));
    }
    for repair in &finding.repairs {
        let risk = words::risk(repair.risk);
        let title = repair.title.clone();
        remark(tr!("fix"), style.say(&tr!("{title} ({risk})", title, risk)));
    }
    style.renderer().render(&[group])
}

/// A line of a file, with a caret under its words.
pub(super) fn snippet(
    path: &str,
    line: &Line,
    style: &Style,
) -> Snippet<'static, annotate_snippets::Annotation<'static>> {
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

/// A proof; where it does not fit into one line, broken between its stages.
fn proof(out: &mut String, title: &Text, channel: Option<&str>, proof: &Proof, style: &Style) {
    let stages = proof.stages.iter().map(|(stage, state)| {
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
    });
    let lead = match channel {
        Some("console") => style.say(&tr!("console: ")),
        Some(channel) => style.say(&tr!("{channel}: ", channel)),
        None => String::new(),
    };
    let mut line = lead.clone();
    let mut lines = Vec::new();
    for stage in stages {
        let stage = style.shown(&stage);
        let blanks = if line == lead { "" } else { "  " };
        let fits = style.width.is_none_or(|width| INDENT + line.width() + blanks.len() + stage.width() <= width);
        if fits || line == lead {
            line.push_str(blanks);
            line.push_str(&stage);
        } else {
            lines.push(std::mem::replace(&mut line, stage));
        }
    }
    lines.push(line);
    let indent = format!("\n{}", " ".repeat(INDENT));
    // A stage that is too long by itself is broken between words.
    let lines: Vec<String> = lines.iter().map(|line| style.wrapped(line, INDENT, INDENT + 2)).collect();
    let _ = writeln!(out, "{}  {}", pad(&style.say(title)), lines.join(&indent));
}

fn closing(out: &mut String, report: &Report, style: &Style, command: &str) {
    let diagnosis = &report.diagnosis;
    let mut counts: Vec<String> = words::counts(diagnosis).iter().map(|(_, text)| style.say(text)).collect();
    if counts.is_empty() {
        counts.push(style.say(&tr!("nothing found")));
    }
    let comma = if style.lang == Lang::ZhCn { "，" } else { ", " };
    let mut line = format!("{} · {}", counts.join(comma), printable(&words::checks(diagnosis, style.lang)));
    if report.has_repairs() && report.can_be_fixed() {
        let _ = write!(line, " · sickbay fix{}{}", if command.is_empty() { "" } else { " " }, printable(command));
    }
    let _ = writeln!(out, "{}", style.wrapped(&line, 0, 0));
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
            let _ = writeln!(
                out,
                "    {}",
                style.say(&tr!("… {count} {count?change|changes} in all", count = changes.len()))
            );
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
        let mut out = format!("    {}\n", style.wrapped(&style.say(&change.summary()), 4, 6));
        if let (Change::Rebuild(rebuild), true) = (change, style.verbose) {
            let _ = writeln!(out, "      $ {}", printable(&rebuild.command_line()));
        }
        return out;
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
