//! What `sickbay tune` says of a list of parameters.

use std::fmt::Write as _;

use annotate_snippets::{Group, Level, Origin as Place};
use schemars::JsonSchema;
use serde::Serialize;
use unicode_width::UnicodeWidthStr;

use super::machine;
use crate::model::finding::Line;
use crate::model::text::{Lang, Text};
use crate::report::text::{Style, printable, snippet};
use crate::tr;
use crate::tune::knowledge::{Judgement, Verdict};
use crate::tune::lint::{Lint, name};

/// What is said of a list: `sickbay/tune-lint/v1`. Fields are only ever added.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LintV1 {
    /// Always `sickbay/tune-lint/v1`.
    pub schema: &'static str,
    /// The kernel that it was judged for; null when for an old and a new one alike.
    pub kernel: Option<String>,
    /// Memory of the machine in bytes; null when unknown.
    pub memory: Option<u64>,
    /// Its processors; null when unknown.
    pub cpus: Option<u64>,
    /// Every line that sets something or should.
    pub lines: Vec<LineV1>,
    /// Lines that do not go together.
    pub pairs: Vec<PairV1>,
}

/// A line.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LineV1 {
    /// The list.
    pub file: String,
    /// From 1 on.
    pub line: usize,
    /// The whole line.
    pub text: String,
    /// The parameter, or the domain, kind and name of a limit; empty for a line that sets nothing.
    pub key: String,
    /// What it is set to.
    pub value: String,
    /// In a word.
    pub verdict: Verdict,
    /// The reason, as a sentence.
    pub message: String,
    /// What to set instead.
    pub suggested: Option<String>,
    /// What it is known from: a document of the kernel's, a commit, a thread (`project#number`).
    pub sources: Vec<&'static str>,
}

/// Two lines.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PairV1 {
    /// Their numbers.
    pub lines: [usize; 2],
    /// What they set.
    pub keys: [String; 2],
    /// In a word.
    pub verdict: Verdict,
    /// The reason, as a sentence.
    pub message: String,
    /// What to set instead.
    pub suggested: Option<String>,
    /// What it is known from.
    pub sources: Vec<&'static str>,
}

/// The lint for programs.
pub fn lint_json(lint: &Lint, lang: Lang) -> LintV1 {
    LintV1 {
        schema: "sickbay/tune-lint/v1",
        kernel: lint.kernel.as_ref().map(|kernel| kernel.release.clone()),
        memory: lint.memory.map(|kib| kib.saturating_mul(1024)),
        cpus: lint.cpus,
        lines: lint
            .lines
            .iter()
            .map(|line| LineV1 {
                file: lint.file.clone(),
                line: line.line,
                text: line.text.clone(),
                key: line.key.clone(),
                value: line.value.clone(),
                verdict: line.said.verdict,
                message: line.said.message.render(lang),
                suggested: line.said.suggested.clone(),
                sources: line.said.sources.clone(),
            })
            .collect(),
        pairs: lint
            .pairs
            .iter()
            .map(|pair| PairV1 {
                lines: pair.lines,
                keys: pair.keys.clone(),
                verdict: pair.said.verdict,
                message: pair.said.message.render(lang),
                suggested: pair.said.suggested.clone(),
                sources: pair.said.sources.clone(),
            })
            .collect(),
    }
}

/// The lint for people: what needs nothing in a line each, everything else with its line of the list.
pub fn lint(lint: &Lint, style: &Style) -> String {
    let mut out = String::new();
    let kernel = lint.kernel.as_ref().map(|kernel| kernel.release.as_str());
    style.titled(&mut out, &tr!("list"), &printable(&lint.file));
    style.titled(&mut out, &tr!("judged for"), &machine(kernel, lint.memory, lint.cpus, style));
    out.push('\n');
    for line in &lint.lines {
        if matches!(line.said.verdict, Verdict::Ok | Verdict::Default) {
            let word = style.say(&name(line.said.verdict));
            let text = format!(
                "{word}[{}]: {}:{}: {}",
                printable(&line.key),
                printable(&lint.file),
                line.line,
                style.say(&line.said.message)
            );
            let _ = writeln!(out, "{}\n", style.wrapped(&text, 0, 4));
            continue;
        }
        let place = Line { span: line.span, text: line.text.clone(), label: None };
        let group = titled(&line.said, &line.key, style).element(snippet(&printable(&lint.file), &place, style));
        let _ = writeln!(out, "{}\n", style.renderer().render(&[remarks(group, &line.said, style)]));
    }
    for pair in &lint.pairs {
        let [first, second] = pair.lines;
        let group = titled(&pair.said, &pair.keys.join(" + "), style)
            .element(Place::path(format!("{}:{first}, {second}", printable(&lint.file))));
        let _ = writeln!(out, "{}\n", style.renderer().render(&[remarks(group, &pair.said, style)]));
    }
    let _ = writeln!(out, "{}", style.wrapped(&counts(lint, style), 0, 0));
    out
}

fn level(verdict: Verdict) -> Level<'static> {
    match verdict {
        Verdict::Refuse | Verdict::Malformed => Level::ERROR,
        Verdict::Adapt => Level::WARNING,
        _ => Level::NOTE,
    }
}

fn titled(said: &Judgement, key: &str, style: &Style) -> Group<'static> {
    let word = style.say(&name(said.verdict));
    let key = printable(if key.is_empty() { "-" } else { key });
    // What follows the first line stands under it.
    let lead = word.width() + key.width() + "[]: ".len();
    let narrower = Style { width: style.width.map(|width| width.saturating_sub(lead).max(30)), ..*style };
    let message = narrower.wrapped(&style.say(&said.message), 0, 0);
    level(said.verdict).with_name(word).primary_title(message).id(key).elements(std::iter::empty::<Place<'_>>())
}

fn remarks<'a>(group: Group<'a>, said: &Judgement, style: &Style) -> Group<'a> {
    let mut group = group;
    let mut add = |name: Text, text: String| {
        let taken = std::mem::replace(&mut group, Group::with_level(Level::NOTE));
        group = taken.element(Level::NOTE.with_name(style.say(&name)).message(text));
    };
    if let Some(suggested) = &said.suggested {
        add(tr!("instead"), printable(suggested));
    }
    if !said.sources.is_empty() {
        add(tr!("source"), said.sources.join(", "));
    }
    group
}

fn counts(lint: &Lint, style: &Style) -> String {
    let count = |verdict| lint.lines.iter().filter(|line| line.said.verdict == verdict).count();
    let all = [
        Verdict::Refuse,
        Verdict::Malformed,
        Verdict::Adapt,
        Verdict::NoEffect,
        Verdict::Absent,
        Verdict::Unknown,
        Verdict::Default,
        Verdict::Ok,
    ];
    let mut parts: Vec<String> = all
        .into_iter()
        .filter(|verdict| count(*verdict) > 0)
        .map(|verdict| style.say(&tr!("{count} {word}", count = count(verdict), word = name(verdict))))
        .collect();
    let pairs = lint.pairs.len();
    if pairs > 0 {
        parts.push(style.say(&tr!("{pairs} {pairs?pair that does|pairs that do} not go together", pairs)));
    }
    let lines = lint.lines.len();
    format!("{} · {}", style.say(&tr!("{lines} {lines?line|lines}", lines)), parts.join(", "))
}
