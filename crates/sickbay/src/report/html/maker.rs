//! What of a report stands where on the page.

use std::time::Duration;

use super::{Block, Fix, LINES, Marked, Row, Shown, Spot, StageView, Words, chart};
use crate::engine::proof::State;
use crate::model::finding::{Finding, Place};
use crate::model::measured::Measured;
use crate::model::repair::Change;
use crate::model::stage::Stage;
use crate::model::text::Text;
use crate::report::json_v1::finding_id;
use crate::report::text::Style;
use crate::report::visible::{visible, visible_lines};
use crate::report::{NamedProof, Report, Section, words};
use crate::sample::asked::shown;
use crate::tr;

/// Makes the parts of a page.
pub(super) struct Maker<'a> {
    pub(super) report: &'a Report,
    pub(super) style: &'a Style,
    /// As the user named the target.
    pub(super) name: &'a str,
}

impl Maker<'_> {
    fn say(&self, text: &Text) -> String {
        visible(&text.render(self.style.lang))
    }

    fn plain(&self) -> Style {
        Style { colour: false, ascii: false, width: None, ..*self.style }
    }

    /// What a section is on the page; nothing where there is nothing to show.
    pub(super) fn blocks(&self, section: &Section<'_>) -> Vec<Block> {
        let one = match section {
            Section::Trial(trial) => Block::Text {
                title: self.say(&tr!("Test boot")),
                text: visible_lines(&crate::report::text::trial(trial, self.report, &self.plain())),
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
                text: visible_lines(&crate::report::comparison::render(comparison, &self.plain())),
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
