//! `--format html`: one page that needs nothing but itself: no script, no font, no image, no request. What a stranger wrote is
//! escaped by the template (askama escapes whatever it fills in), and what a browser may do is bounded by a policy of its own.

mod chart;

use std::time::Duration;

use askama::Template;
use base64ct::{Base64, Encoding as _};
use sha2::{Digest, Sha256};

use crate::engine::proof::State;
use crate::facts::glimpse::shown;
use crate::model::finding::{Finding, Place};
use crate::model::measured::Measured;
use crate::model::repair::Change;
use crate::model::stage::Stage;
use crate::model::text::{Lang, Text};
use crate::report::forms::{Form, Part};
use crate::report::json_v1::finding_id;
use crate::report::text::Style;
use crate::report::visible::{visible, visible_lines};
use crate::report::{NamedProof, Report, Section, words};
use crate::tr;

/// For browsers.
pub const FORM: Form = Form {
    name: "html",
    about: "A page for any browser, in one file: with diagrams of recordings",
    render: |parts, style| page(parts, style).render().map_err(|error| error.to_string()),
};

/// The only thing that is not escaped.
const CSS: &str = include_str!("html/page.css");

/// The page.
#[derive(Template)]
#[template(path = "report.html")]
struct Page {
    lang: &'static str,
    title: String,
    css: &'static str,
    /// The digest of the style sheet: nothing else may style the page.
    css_digest: String,
    version: &'static str,
    contents: String,
    parts: Vec<View>,
}

/// One target.
struct View {
    /// Distinguishes what it links to.
    number: usize,
    name: String,
    /// Class and words.
    verdict: Vec<(&'static str, String)>,
    checks: String,
    facts: Vec<(String, String)>,
    /// Why nothing can be said.
    failure: Option<String>,
    /// Severity, id, sentence of each cause.
    overview: Vec<(&'static str, String, String, String)>,
    sections: Vec<Block>,
}

/// A section.
enum Block {
    Text { title: String, text: String },
    Findings { title: String, list: Vec<Shown> },
    Applied { title: String, list: Vec<(String, &'static str, String, bool)> },
    Proofs { title: String, list: Vec<Row> },
    Charts { title: String, lead: String, list: Vec<chart::Chart> },
    Reasons { title: String, open: bool, list: Vec<(String, String, Vec<&'static str>)> },
}

/// A finding.
struct Shown {
    id: String,
    class: &'static str,
    severity: String,
    check: &'static str,
    message: String,
    places: Vec<Spot>,
    /// Name and sentence.
    remarks: Vec<(String, String)>,
    /// What stands only in the long form.
    more: Vec<String>,
    /// Source and text.
    evidence: Vec<(String, String)>,
    causes_title: String,
    causes: Vec<Shown>,
    fixes_title: String,
    fixes: Vec<Fix>,
    words: Words,
}

/// Words that a finding needs in each place.
#[derive(Clone)]
struct Words {
    evidence: String,
    more: String,
    changes: String,
}

/// A place.
struct Spot {
    name: String,
    line: Option<Marked>,
}

/// A line with what is pointed at.
struct Marked {
    number: usize,
    before: String,
    marked: String,
    after: String,
    label: String,
}

/// A repair.
struct Fix {
    class: &'static str,
    risk: String,
    title: String,
    command: Option<String>,
    /// Lines of a diff with their class, or what is done.
    changes: Vec<(&'static str, String)>,
}

/// A proof.
struct Row {
    title: String,
    stages: Vec<StageView>,
}

struct StageView {
    class: &'static str,
    mark: &'static str,
    word: String,
    title: String,
    why: String,
    finding: Option<String>,
}

/// Of one repair so many lines are shown.
const LINES: usize = 200;

fn page(parts: &[Part<'_>], style: &Style) -> Page {
    let say = |text: Text| visible(&text.render(style.lang));
    let views: Vec<View> = parts.iter().enumerate().map(|(at, part)| view(at + 1, part, style)).collect();
    let names: Vec<&str> = views.iter().map(|view| view.name.as_str()).collect();
    let version = env!("CARGO_PKG_VERSION");
    Page {
        lang: if style.lang == Lang::ZhCn { "zh-CN" } else { "en" },
        title: format!("sickbay: {}", names.join(", ")),
        css: CSS,
        css_digest: Base64::encode_string(&Sha256::digest(CSS.as_bytes())),
        version,
        contents: say(tr!("Findings at a glance")),
        parts: views,
    }
}

fn view(number: usize, part: &Part<'_>, style: &Style) -> View {
    let say = |text: &Text| visible(&text.render(style.lang));
    let report = match part.report {
        Ok(report) => report,
        Err(why) => {
            return View {
                number,
                name: visible(part.name),
                verdict: vec![("undetermined", say(&tr!("could not be looked at")))],
                checks: String::new(),
                facts: Vec::new(),
                failure: Some(say(why)),
                overview: Vec::new(),
                sections: Vec::new(),
            };
        }
    };
    let counts = words::counts(&report.diagnosis);
    let mut verdict: Vec<_> = counts.iter().map(|(severity, text)| (words::name(*severity), say(text))).collect();
    if verdict.is_empty() {
        let class = if report.diagnosis.something_unknown() { "undetermined" } else { "clear" };
        verdict.push((class, say(&tr!("nothing found"))));
    }
    let mut facts: Vec<(String, String)> =
        words::target(report, style.lang).into_iter().map(|(title, value)| (say(&title), visible(&value))).collect();
    facts.push((say(&tr!("checked")), words::moment(report.started)));
    let maker = Maker { report, style, name: part.name };
    let overview = report.diagnosis.causes().map(|(index, finding)| {
        let severity = say(&words::severity(finding.severity));
        (words::name(finding.severity), severity, finding_id(index), say(&finding.message))
    });
    View {
        number,
        name: visible(&report.target.name),
        verdict,
        checks: visible(&words::checks(&report.diagnosis, style.lang)),
        facts,
        failure: None,
        overview: overview.collect(),
        sections: report.sections().iter().flat_map(|section| maker.blocks(section)).collect(),
    }
}

/// Makes the parts of a page.
struct Maker<'a> {
    report: &'a Report,
    style: &'a Style,
    name: &'a str,
}

impl Maker<'_> {
    fn say(&self, text: &Text) -> String {
        visible(&text.render(self.style.lang))
    }

    fn plain(&self) -> Style {
        Style { colour: false, ascii: false, width: None, ..*self.style }
    }

    fn blocks(&self, section: &Section<'_>) -> Vec<Block> {
        let one = match section {
            Section::Trial(trial) => Block::Text {
                title: self.say(&tr!("Test boot")),
                text: visible_lines(&super::text::trial(trial, self.report, &self.plain())),
            },
            Section::Findings => {
                let findings = self.report.diagnosis.causes();
                let list: Vec<Shown> = findings.map(|(index, finding)| self.finding(index, finding)).collect();
                if list.is_empty() {
                    return Vec::new();
                }
                Block::Findings { title: self.say(&tr!("Findings")), list }
            }
            Section::Applied(applied) => {
                let row = |one: &crate::engine::rounds::Applied| {
                    (self.say(&one.title), one.check, self.say(&words::applied(one)), one.verified)
                };
                Block::Applied { title: self.say(&tr!("Repairs made")), list: applied.iter().map(row).collect() }
            }
            Section::Proofs(proofs) => Block::Proofs {
                title: self.say(&tr!("Boot and login")),
                list: proofs.iter().map(|proof| self.proof(proof)).collect(),
            },
            Section::TimeLines(told) => {
                let Some(charts) = chart::charts(told, self.report, self.style) else { return Vec::new() };
                Block::Charts { title: self.say(&tr!("Over time")), lead: charts.0, list: charts.1 }
            }
            Section::Comparison(comparison) => Block::Text {
                title: self.say(&tr!("Compared with the donor")),
                text: visible_lines(&super::comparison::render(comparison, &self.plain())),
            },
            Section::Outcomes => return self.outcomes(),
        };
        vec![one]
    }

    fn outcomes(&self) -> Vec<Block> {
        let reasons = words::reasons(&self.report.diagnosis, true, |text| self.say(text));
        let (harmless, other): (Vec<_>, Vec<_>) = reasons.into_iter().partition(|reason| reason.is_harmless);
        let list = |reasons: Vec<words::Reason>| {
            reasons.into_iter().map(|reason| (reason.word, reason.why, reason.checks)).collect::<Vec<_>>()
        };
        let count = |reasons: &[words::Reason]| reasons.iter().map(|reason| reason.checks.len()).sum::<usize>();
        let titled = |title: &Text, count: usize| format!("{} ({count})", self.say(title));
        let mut all = Vec::new();
        for (title, reasons) in [(tr!("Undetermined"), other), (tr!("Not applicable"), harmless)] {
            if !reasons.is_empty() {
                let title = titled(&title, count(&reasons));
                all.push(Block::Reasons { title, open: false, list: list(reasons) });
            }
        }
        all
    }

    fn finding(&self, index: usize, finding: &Finding) -> Shown {
        let mut remarks: Vec<(String, String)> = Vec::new();
        let mut remark = |name: Text, text: String| remarks.push((self.say(&name), text));
        if !finding.measured.is_empty() {
            let shown: Vec<String> = finding.measured.iter().map(Measured::shown).collect();
            remark(tr!("measured"), visible(&shown.join(", ")));
        }
        if let Some(when) = &finding.when {
            // As below the diagrams, where there are some.
            let told = |time: jiff::Timestamp| match (&self.report.time, u64::try_from(time.as_second())) {
                (Some(told), Ok(seconds)) => shown(Duration::from_secs(seconds), &told.zone),
                _ => words::moment(time),
            };
            let (from, to) = (told(when.from), told(when.to));
            remark(tr!("seen"), self.say(&tr!("{from} to {to}", from, to)));
        }
        for note in finding.notes.iter().filter(|note| !note.verbose) {
            remark(tr!("note"), self.say(&note.text));
        }
        if let Some(why) = &finding.why {
            remark(tr!("why"), self.say(why));
        }
        let others = self.report.diagnosis.findings.iter().enumerate();
        let others = others.filter(|(_, other)| other.caused_by == Some(index));
        let fixes = finding.repairs.iter().enumerate().map(|(at, repair)| Fix {
            class: words::risk_name(repair.risk),
            risk: self.say(&words::risk(repair.risk)),
            title: self.say(&repair.title),
            command: words::command(finding, repair.risk, self.name)
                .filter(|_| at == 0 && self.report.can_be_fixed())
                .map(|command| visible(&command)),
            changes: self.changes(&repair.changes),
        });
        Shown {
            id: finding_id(index),
            class: words::name(finding.severity),
            severity: self.say(&words::severity(finding.severity)),
            check: finding.check.id,
            message: self.say(&finding.message),
            places: finding.places.iter().map(|place| self.place(place)).collect(),
            remarks,
            more: finding.notes.iter().filter(|note| note.verbose).map(|note| self.say(&note.text)).collect(),
            evidence: words::evidence(finding)
                .map(|evidence| (visible(&evidence.source), visible_lines(&evidence.text)))
                .collect(),
            causes_title: self.say(&tr!("causes")),
            causes: others.map(|(other, consequence)| self.finding(other, consequence)).collect(),
            fixes_title: self.say(&tr!("fix")),
            fixes: fixes.collect(),
            words: Words {
                evidence: self.say(&tr!("evidence")),
                more: self.say(&tr!("in detail")),
                changes: self.say(&tr!("what it changes")),
            },
        }
    }

    fn changes(&self, changes: &[Change]) -> Vec<(&'static str, String)> {
        let mut lines = Vec::new();
        for change in changes {
            match change.diff() {
                Some(diff) => lines.extend(diff.lines().take(LINES).map(|line| {
                    let class = match line.as_bytes().first() {
                        Some(b'+') => "added",
                        Some(b'-') => "removed",
                        Some(b'@') => "range",
                        _ => "same",
                    };
                    (class, visible_lines(line))
                })),
                None => lines.push(("same", self.say(&change.summary()))),
            }
            if lines.len() > LINES {
                lines.truncate(LINES);
                lines.push(("range", "…".to_owned()));
                break;
            }
        }
        lines
    }

    fn place(&self, place: &Place) -> Spot {
        let path = || place.subject.path().map(|path| path.display().to_string());
        match (&place.line, path()) {
            (Some(line), Some(path)) => {
                let (before, marked, after) = words::parts(line);
                Spot {
                    name: visible(&format!("{path}:{}:{}", line.span.line, line.span.column)),
                    line: Some(Marked {
                        number: line.span.line,
                        before: visible_lines(before),
                        marked: visible_lines(marked),
                        after: visible_lines(after),
                        label: line.label.as_ref().map(|label| self.say(label)).unwrap_or_default(),
                    }),
                }
            }
            (None, Some(path)) => Spot { name: visible(&path), line: None },
            _ => Spot { name: visible(&place.subject.to_string()), line: None },
        }
    }

    fn proof(&self, proof: &NamedProof<'_>) -> Row {
        let stage = |(stage, state): &(Stage, State)| {
            let (class, mark, word) = words::state(state);
            let (why, finding) = match state {
                State::Ok => (String::new(), None),
                State::Broken(index) => (String::new(), Some(finding_id(*index))),
                State::Unknown(why) | State::Closed(why) | State::NotApplicable(why) => (self.say(why), None),
            };
            StageView { class, mark, word: self.say(&word), title: self.say(&stage.title()), why, finding }
        };
        Row { title: self.say(&words::proof(proof)), stages: proof.proof.stages.iter().map(stage).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::{golden, healthy, hostile, many, recording, style};

    /// Elements that need no end.
    const VOID: [&str; 6] = ["meta", "br", "hr", "rect", "line", "polyline"];

    /// Checks that tags are closed in order, that nothing is loaded, that no name is given twice; tells how many tags there are.
    fn well_formed(page: &str) -> usize {
        let mut open: Vec<&str> = Vec::new();
        let mut names = std::collections::BTreeSet::new();
        let mut tags = 0;
        let body = page.replace(CSS, "");
        for piece in body.split('<').skip(1) {
            let (tag, _) = piece.split_once('>').unwrap_or_else(|| panic!("<{piece}"));
            let name = tag.split([' ', '\n', '/']).next().unwrap_or_default();
            tags += 1;
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name.trim()), "</{name}>");
                continue;
            }
            if tag.starts_with('!') {
                continue;
            }
            assert!(!matches!(name, "script" | "img" | "link" | "iframe" | "object" | "form" | "base"), "<{tag}>");
            let attributes = tag.get(name.len()..).unwrap_or_default();
            for attribute in attributes.split_whitespace().filter_map(|word| word.split_once("=\"")) {
                let (key, value) = (attribute.0, attribute.1.trim_end_matches(['"', '/']));
                assert!(!key.starts_with("on") && !matches!(key, "src" | "style" | "xlink:href"), "<{tag}>");
                assert!(key != "href" || value.starts_with('#'), "<{tag}>");
                assert!(key != "id" || names.insert(value.to_owned()), "{value} twice");
            }
            if !VOID.contains(&name) && !tag.ends_with('/') {
                open.push(name);
            }
        }
        assert!(open.is_empty(), "{open:?}");
        tags
    }

    fn made(parts: &[Part<'_>], style: &Style) -> String {
        (FORM.render)(parts, style).expect("a page")
    }

    #[test]
    fn nothing_that_a_stranger_wrote_is_markup() {
        let report = hostile();
        let why = Text::verbatim("<script>alert(1)</script>");
        let parts =
            [Part { name: "/mnt/<b>", report: Ok(&report) }, Part { name: "\"><script>\u{1b}", report: Err(&why) }];
        let page = made(&parts, &style());
        golden("report.html", &page);
        well_formed(&page);
        for bad in ["<script", "<b>", "\u{1b}", "\u{202e}", "\u{0}", "onerror=\"", "javascript:"] {
            assert!(!page.contains(bad), "{bad:?}");
        }
        assert!(page.contains("&#60;script&#62;"), "told all the same");
        assert!(page.contains("default-src 'none'; style-src 'sha256-"));
    }

    #[test]
    fn in_both_languages_well_and_over_time() {
        for report in [healthy(), recording(), hostile()] {
            for lang in [Lang::En, Lang::ZhCn] {
                let page = made(&[Part { name: "", report: Ok(&report) }], &Style { lang, ..style() });
                well_formed(&page);
                let tag = if lang == Lang::En { "<html lang=\"en\">" } else { "<html lang=\"zh-CN\">" };
                assert!(page.contains(tag));
            }
        }
        let report = recording();
        let page = made(&[Part { name: "", report: Ok(&report) }], &style());
        golden("recording.html", &page.replace(CSS, ""));
        assert!(page.contains("<svg") && page.contains("class=\"incident"));
    }

    #[test]
    fn a_thousand_findings() {
        let report = many(1_000);
        let page = made(&[Part { name: "", report: Ok(&report) }], &style());
        assert!(page.matches("<article").count() == 1_000 && well_formed(&page) > 10_000);
    }
}
