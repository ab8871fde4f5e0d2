//! `--format markdown`: for a ticket, a chat or a wiki. Plain CommonMark, no HTML; with `--verbose` long parts fold in `<details>`.

use std::fmt::Write as _;

use crate::engine::proof::State;
use crate::model::finding::{Finding, Place};
use crate::model::measured::Measured;
use crate::model::text::{Lang, Text};
use crate::report::forms::Form;
use crate::report::json_v1::finding_id;
use crate::report::text::Style;
use crate::report::visible::{visible, visible_lines};
use crate::report::{NamedProof, Report, Section, words};
use crate::tr;

/// For tickets.
pub const FORM: Form = Form {
    name: "markdown",
    about: "For a ticket or a chat",
    render: |parts, style| {
        let all = parts.iter().map(|part| match part.report {
            Ok(report) => Page { report, style, name: part.name, out: String::new() }.render(),
            Err(why) => {
                let lead = text(&tr!("could not be looked at").render(style.lang));
                format!("# {}\n\n{lead}: {}\n", text(part.name), text(&why.render(style.lang)))
            }
        });
        Ok(all.collect::<Vec<_>>().join("\n"))
    },
};

/// A sentence in which nothing is markup.
fn text(plain: &str) -> String {
    let mut out = String::with_capacity(plain.len());
    for (at, c) in visible(plain).char_indices() {
        let is_markup = matches!(c, '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '~' | '$' | '&' | '#' | '!');
        // What begins a list or a rule, at the beginning alone.
        let begins = at == 0 && matches!(c, '-' | '+' | '=');
        if is_markup || begins {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// Words as code in a line. A longer run of backticks than any inside ends it.
fn code(plain: &str) -> String {
    let plain = visible(plain);
    let fence = "`".repeat(longest_run(&plain) + 1);
    // A blank at each end is taken away again where one stands at either.
    let needs_room = plain.starts_with(['`', ' ']) || plain.ends_with(['`', ' ']) || plain.is_empty();
    let room = if needs_room { " " } else { "" };
    format!("{fence}{room}{plain}{room}{fence}")
}

fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

/// Lines as code, between fences longer than any inside; `indent` puts them into a list.
fn block(lines: &str, language: &str, indent: &str) -> String {
    let lines = visible_lines(lines);
    let fence = "`".repeat(longest_run(&lines).max(2) + 1);
    let body: String = lines.lines().map(|line| format!("{indent}{line}\n")).collect();
    format!("{indent}{fence}{language}\n{body}{indent}{fence}\n")
}

struct Page<'a> {
    report: &'a Report,
    style: &'a Style,
    name: &'a str,
    out: String,
}

impl Page<'_> {
    fn say(&self, what: &Text) -> String {
        text(&what.render(self.style.lang))
    }

    fn render(mut self) -> String {
        self.head();
        for section in self.report.sections() {
            match section {
                Section::Trial(trial) => {
                    let plain = Style { colour: false, ascii: false, width: None, ..*self.style };
                    let shown = super::text::trial(trial, self.report, &plain);
                    self.out.push_str(&block(&shown, "text", ""));
                    self.out.push('\n');
                }
                Section::Findings => self.findings(),
                Section::Applied(applied) => {
                    let _ = writeln!(self.out, "## {}\n", self.say(&tr!("Repairs made")));
                    for one in applied {
                        let _ = writeln!(
                            self.out,
                            "- {} [{}]: {}",
                            self.say(&one.title),
                            one.check,
                            self.say(&words::applied(one))
                        );
                    }
                    self.out.push('\n');
                }
                Section::Proofs(proofs) => self.proofs(&proofs),
                // Pictures are in the HTML.
                Section::TimeLines(_) => {}
                Section::Comparison(comparison) => {
                    let plain = Style { colour: false, ascii: false, width: None, ..*self.style };
                    self.folded(
                        &tr!("Compared with the donor"),
                        &block(&super::comparison::render(comparison, &plain), "text", ""),
                    );
                }
                Section::Outcomes => self.outcomes(),
            }
        }
        let version = env!("CARGO_PKG_VERSION");
        let _ = writeln!(self.out, "*sickbay {version}, {}*", words::moment(self.report.started));
        self.out
    }

    fn head(&mut self) {
        let report = self.report;
        let _ = writeln!(self.out, "# sickbay: {}\n", text(&report.target.name));
        let counts = words::counts(&report.diagnosis);
        let counts: Vec<String> = counts.iter().map(|(_, count)| self.say(count)).collect();
        let comma = if self.style.lang == Lang::ZhCn { "，" } else { ", " };
        let sum = if counts.is_empty() { self.say(&tr!("nothing found")) } else { counts.join(comma) };
        let _ = writeln!(self.out, "**{sum}** · {}\n", text(&words::checks(&report.diagnosis, self.style.lang)));
        for (title, value) in words::target(report, self.style.lang) {
            let _ = writeln!(self.out, "- {}: {}", self.say(&title), text(&value));
        }
        self.out.push('\n');
    }

    /// Under a heading; with `--verbose` folded away.
    fn folded(&mut self, title: &Text, body: &str) {
        let title = self.say(title);
        let _ = match self.style.verbose {
            true => writeln!(self.out, "<details><summary>{title}</summary>\n\n{body}\n</details>\n"),
            false => writeln!(self.out, "## {title}\n\n{body}"),
        };
    }

    fn findings(&mut self) {
        let findings = &self.report.diagnosis.findings;
        for (index, finding) in findings.iter().enumerate().filter(|(_, finding)| finding.caused_by.is_none()) {
            self.finding(index, finding);
        }
    }

    fn finding(&mut self, index: usize, finding: &Finding) {
        let severity = self.say(&words::severity(finding.severity));
        let id = finding_id(index);
        let message = self.say(&finding.message);
        let _ = writeln!(self.out, "## {id} {severity}: {message}\n\n{}\n", code(finding.check.id));
        for place in &finding.places {
            self.place(place);
        }
        let mut list = String::new();
        let mut item = |title: &Text, body: String| {
            let _ = writeln!(list, "- **{}**: {body}", text(&title.render(self.style.lang)));
        };
        if !finding.measured.is_empty() {
            let shown: Vec<String> = finding.measured.iter().map(Measured::shown).collect();
            item(&tr!("measured"), text(&shown.join(", ")));
        }
        if let Some(when) = &finding.when {
            let (from, to) = (words::moment(when.from), words::moment(when.to));
            item(&tr!("seen"), self.say(&tr!("{from} to {to}", from, to)));
        }
        for note in finding.notes.iter().filter(|note| self.style.verbose || !note.verbose) {
            item(&tr!("note"), self.say(&note.text));
        }
        for evidence in words::evidence(finding) {
            item(&tr!("evidence"), format!("{}\n\n{}", code(&evidence.source), block(&evidence.text, "text", "  ")));
        }
        if let Some(why) = &finding.why {
            item(&tr!("why"), self.say(why));
        }
        let others = self.report.diagnosis.findings.iter().enumerate();
        for (other, consequence) in others.filter(|(_, other)| other.caused_by == Some(index)) {
            item(&tr!("causes"), format!("{} {}", finding_id(other), self.say(&consequence.message)));
        }
        for (at, repair) in finding.repairs.iter().enumerate() {
            let risk = words::risk(repair.risk);
            let title = repair.title.clone();
            let mut body = self.say(&tr!("{title} ({risk})", title, risk));
            let command = words::command(finding, repair.risk, self.name).filter(|_| at == 0);
            if let Some(command) = command.filter(|_| self.report.can_be_fixed()) {
                let _ = write!(body, ": {}", code(&command));
            }
            item(&tr!("fix"), body);
        }
        if !list.is_empty() {
            let _ = writeln!(self.out, "{list}");
        }
    }

    fn place(&mut self, place: &Place) {
        match (&place.line, place.subject.path()) {
            (Some(line), Some(path)) => {
                let at = format!("{}:{}:{}", path.display(), line.span.line, line.span.column);
                let number = line.span.line.to_string();
                let (before, marked, _) = words::parts(line);
                let columns = |text: &str| unicode_width::UnicodeWidthStr::width(visible(text).as_str());
                let label = line.label.as_ref().map(|label| label.render(self.style.lang)).unwrap_or_default();
                let blanks = " ".repeat(number.len() + 3 + columns(before));
                let carets = "^".repeat(columns(marked).max(1));
                let caret = format!("{blanks}{carets} {}", visible(&label));
                let shown = format!("{number} | {}\n{}", visible(&line.text), caret.trim_end());
                let _ = writeln!(self.out, "{}\n\n{}", code(&at), block(&shown, "text", ""));
            }
            (None, Some(path)) => _ = writeln!(self.out, "{}\n", code(&path.display().to_string())),
            _ => _ = writeln!(self.out, "{}\n", code(&place.subject.to_string())),
        }
    }

    fn proofs(&mut self, proofs: &[NamedProof<'_>]) {
        for one in proofs {
            let title = words::proof(one);
            let stages = one.proof.stages.iter().map(|(stage, state)| {
                let (_, mark, _) = words::state(state);
                let finding =
                    if let State::Broken(index) = state { format!(" {}", finding_id(*index)) } else { String::new() };
                format!("{} {mark}{finding}", self.say(&stage.title()))
            });
            let stages: Vec<String> = stages.collect();
            let _ = writeln!(self.out, "**{}**: {}\n", self.say(&title), stages.join(", "));
        }
    }

    fn outcomes(&mut self) {
        let verbose = self.style.verbose;
        let reasons = words::reasons(&self.report.diagnosis, verbose, |text| text.render(self.style.lang));
        let mut list = String::new();
        for reason in &reasons {
            let checks: Vec<String> = reason.checks.iter().map(|check| code(check)).collect();
            let _ = writeln!(list, "- {}: {} ({})", text(&reason.word), text(&reason.why), checks.join(", "));
        }
        if !list.is_empty() {
            let title = if verbose { tr!("Undetermined, skipped and not applicable") } else { tr!("Undetermined") };
            self.folded(&title, &list);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::forms::Part;
    use crate::report::sample::{golden, hostile, style};

    /// What of a line is not code.
    fn outside(line: &str) -> String {
        let mut out = String::new();
        let mut rest = line;
        while let Some(at) = rest.find('`').filter(|at| !rest[..*at].ends_with('\\')) {
            let run = rest[at..].chars().take_while(|c| *c == '`').count();
            let behind = &rest[at + run..];
            let is_end = |at: &usize| !behind[..*at].ends_with('`') && !behind[at + run..].starts_with('`');
            let end = behind.match_indices(&"`".repeat(run)).map(|(at, _)| at).find(is_end);
            out.push_str(&rest[..at]);
            rest = &behind[end.expect("code ends") + run..];
        }
        out + rest
    }

    #[test]
    fn nothing_that_a_stranger_wrote_is_markup() {
        assert_eq!(text("a*b_[c](d) <script>&"), r"a\*b\_\[c\](d) \<script\>\&");
        assert_eq!(text("- x\n# y"), r"\- x\\n\# y");
        assert_eq!(code("a``b`"), "``` a``b` ```");
        assert_eq!(block("a\n````\n", "", ""), "`````\na\n````\n`````\n");
        let report = hostile();
        let parts = [Part { name: "/mnt/a b", report: Ok(&report) }];
        let plain = (FORM.render)(&parts, &style()).expect("a document");
        golden("markdown.md", &plain);
        assert!(!plain.contains("<details>") && !plain.contains('\u{1b}') && !plain.contains('\u{202e}'));
        // Between fences it may stand as it is; elsewhere no tag begins.
        let mut fence = String::new();
        for line in plain.lines().map(str::trim_start) {
            let run: String = line.chars().take_while(|c| *c == '`').collect();
            match fence.is_empty() {
                true if run.len() >= 3 => fence = run,
                false if line == fence => fence.clear(),
                true => assert!(!outside(line).replace("\\<", "").contains('<'), "{line}"),
                false => {}
            }
        }
        assert!(fence.is_empty());
        let verbose = (FORM.render)(&parts, &Style { verbose: true, ..style() }).expect("a document");
        assert_eq!(verbose.matches("<details>").count(), verbose.matches("</details>").count());
        assert!(verbose.contains("<details>"));
    }
}
