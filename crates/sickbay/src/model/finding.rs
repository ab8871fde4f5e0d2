//! What a check found: a sentence, the place, the evidence, the repairs.

use std::path::Path;

use sickbay_formats::span::Span;

use crate::model::about::About;
use crate::model::measured::{Measured, Unit, When};
use crate::model::repair::{Change, Repair, Risk};
use crate::model::source::SourceFile;
use crate::model::stage::{Said, Stage};
use crate::model::subject::Subject;
use crate::model::text::{Lang, Text};

/// What happens to the user.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It does not start, or nobody can log in, or data is at risk now.
    Critical,
    /// Something is broken.
    Error,
    /// It will break, or it is slow.
    Warning,
    /// Worth knowing.
    Note,
}

/// Where a culprit is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// What it is.
    pub subject: Subject,
    /// The words of a line that a caret points at, where the subject is a line.
    pub line: Option<Line>,
}

/// A line of a file and the words in it that a caret should point at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Line, column and length, counted from 1.
    pub span: Span,
    /// The whole line, undecodable bytes replaced.
    pub text: String,
    /// What the caret says.
    pub label: Option<Text>,
}

/// By what a finding is known again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The check that found it.
    pub check: &'static str,
    /// What it is about.
    pub subject: Subject,
    /// The sentence without its values, where one place can have several faults. A subject that the check names itself
    /// has one, in whatever words.
    pub kind: Option<&'static str>,
}

/// Something read from the target that proves the finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// Where it was read: `/etc/fstab:3`.
    pub source: String,
    /// What was read.
    pub text: String,
}

/// A line that tells a finding in detail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What it says.
    pub text: Text,
    /// Whether it is shown only to those who ask for everything: a row of a long table.
    pub verbose: bool,
}

/// What a check found: one fault, with its place, evidence, consequence and repairs.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The check that found it.
    pub check: &'static About,
    /// What happens to the user.
    pub severity: Severity,
    /// One sentence that names the culprit.
    pub message: Text,
    /// What follows from it.
    pub why: Option<Text>,
    /// Where it is; the first is the culprit.
    pub places: Vec<Place>,
    /// What it is about, where that is not its first place: see [`Finding::subject`].
    pub subject: Option<Subject>,
    /// When it was seen, where that is not the moment of the look.
    pub when: Option<When>,
    /// What was measured, the most telling first.
    pub measured: Vec<Measured>,
    /// How much there is of it, if the check counts: see [`Finding::extent`].
    pub extent: Option<u64>,
    /// The finding in detail, line by line.
    pub notes: Vec<Note>,
    /// What was read.
    pub evidence: Vec<Evidence>,
    /// Typed values of the check, in base units.
    pub details: serde_json::Map<String, serde_json::Value>,
    /// What can be done, best first.
    pub repairs: Vec<Repair>,
    /// Stages of the proofs that this stops.
    pub stops: Vec<Stage>,
    /// What is gone, unreadable or ill because of this; a finding about anything that one of them covers hangs under this one.
    pub explains: Vec<Subject>,
    /// What this finding is about besides its places.
    pub about: Vec<Subject>,
    /// Checks of whose findings this one is a consequence, or nothing: see [`Finding::only_under`].
    pub only_under: &'static [&'static str],
    /// Of those findings only such as name this: see [`Finding::only_about`].
    pub only_about: Option<String>,
    /// What a log shows of a stage that stopped: see [`Finding::seen_at`].
    pub seen_at: Option<(Stage, String)>,
    /// Whatever is written to the target meanwhile may make it worse: no repair of any finding is safe.
    pub no_write_is_safe: bool,
    /// Index of the finding that causes this one.
    pub caused_by: Option<usize>,
}

impl Finding {
    /// What the finding is recognised by when the target is looked at again.
    pub fn identity(&self) -> Identity {
        let check = self.check.id;
        if let Some(subject) = &self.subject {
            return Identity { check, subject: subject.clone(), kind: None };
        }
        let template = self.message.template();
        let subject = match self.places.first() {
            Some(place) => place.subject.clone(),
            None if self.message.is_verbatim() => Subject::Named(self.message.render(Lang::En)),
            None => Subject::Named(template.to_owned()),
        };
        Identity { check, subject, kind: Some(template) }
    }

    /// How much there is of it: what the check says, else the length of the longest list, or the count, among its values.
    pub fn amount(&self) -> Option<u64> {
        let counted = || self.details.get("count").and_then(serde_json::Value::as_u64);
        let listed = || self.details.values().filter_map(|value| Some(value.as_array()?.len() as u64)).max();
        self.extent.or_else(counted).or_else(listed)
    }

    /// Says what the finding is about, where that is not its first place: a package whose first missing file is another once
    /// some are back. Two findings of one check about one subject are told apart by nothing but their sentences.
    pub fn subject(&mut self, subject: Subject) -> &mut Self {
        self.subject = Some(subject);
        self
    }

    /// Says how much there is of it, in whatever the check counts. Less of it after a repair is better.
    pub fn extent(&mut self, extent: impl TryInto<u64>) -> &mut Self {
        self.extent = extent.try_into().ok();
        self
    }

    /// Points at words of a line.
    pub fn at(&mut self, file: &SourceFile, span: Span) -> &mut Self {
        let text = file.line_text(span.line);
        let subject = Subject::line(&file.path, &file.bytes, span.line);
        self.evidence.push(Evidence { source: format!("{}:{}", file.path.display(), span.line), text: text.clone() });
        self.places.push(Place { subject, line: Some(Line { span, text, label: None }) });
        self
    }

    /// Points at a file, directory or anything else that is no line.
    pub fn at_subject(&mut self, subject: impl Into<Subject>) -> &mut Self {
        self.places.push(Place { subject: subject.into(), line: None });
        self
    }

    /// Points at a whole file or directory.
    pub fn at_path(&mut self, path: impl AsRef<Path>) -> &mut Self {
        self.at_subject(path.as_ref())
    }

    /// Points at a device.
    pub fn at_device(&mut self, name: impl Into<String>) -> &mut Self {
        self.at_subject(Subject::Device(name.into()))
    }

    /// Points at a kernel parameter.
    pub fn at_parameter(&mut self, key: impl Into<String>) -> &mut Self {
        self.at_subject(Subject::Parameter(key.into()))
    }

    /// What the caret of the latest line says.
    pub fn label(&mut self, text: Text) -> &mut Self {
        if let Some(line) = self.places.last_mut().and_then(|place| place.line.as_mut()) {
            line.label = Some(text);
        }
        self
    }

    /// What follows from it.
    pub fn why(&mut self, text: Text) -> &mut Self {
        self.why = Some(text);
        self
    }

    /// Tells one thing more.
    pub fn note(&mut self, text: Text) -> &mut Self {
        self.notes.push(Note { text, verbose: false });
        self
    }

    /// Tells one thing more to those who ask for everything.
    pub fn verbose_note(&mut self, text: Text) -> &mut Self {
        self.notes.push(Note { text, verbose: true });
        self
    }

    /// Adds what was read and where.
    pub fn evidence(&mut self, source: impl Into<String>, text: impl Into<String>) -> &mut Self {
        self.evidence.push(Evidence { source: source.into(), text: text.into() });
        self
    }

    /// Adds a typed value for programs that read the report.
    pub fn detail(&mut self, key: &str, value: impl Into<serde_json::Value>) -> &mut Self {
        self.details.insert(key.to_owned(), value.into());
        self
    }

    /// Says that the boot or a login stops here. The stage must be among those that the check declares.
    pub fn stops(&mut self, stage: Stage) -> &mut Self {
        let declared = self.check.proves.iter().chain(self.check.may_stop);
        debug_assert!(declared.clone().any(|one| *one == stage), "{} does not declare {stage:?}", self.check.id);
        self.stops.push(stage);
        self
    }

    /// Says that findings about what `subject` covers are consequences of this one.
    pub fn explains(&mut self, subject: impl Into<Subject>) -> &mut Self {
        self.explains.push(subject.into());
        self
    }

    /// Says that the finding is about `subject` although it does not point there.
    pub fn about(&mut self, subject: impl Into<Subject>) -> &mut Self {
        self.about.push(subject.into());
        self
    }

    /// Everything that it is about.
    pub fn subjects(&self) -> impl Iterator<Item = &Subject> {
        self.places.iter().map(|place| &place.subject).chain(&self.about)
    }

    /// Adds a value that was measured, and where it is bounded, by how much.
    pub fn measured(&mut self, name: &str, value: f64, unit: Unit, limit: Option<f64>) -> &mut Self {
        self.measured.push(Measured { name: name.to_owned(), value, unit, limit });
        self
    }

    /// Says when it was seen.
    pub fn seen(&mut self, from: jiff::Timestamp, to: jiff::Timestamp) -> &mut Self {
        self.when = Some(When { from, to });
        self
    }

    /// Says that this is evidence of what one of these checks finds; where none of them finds anything it is dropped.
    pub fn only_under(&mut self, checks: &'static [&'static str]) -> &mut Self {
        self.only_under = checks;
        self
    }

    /// With [`Finding::only_under`]: and only under a finding that names this device, unit or file.
    pub fn only_about(&mut self, name: impl Into<String>) -> &mut Self {
        self.only_about = Some(name.into());
        self
    }

    /// Says that a log shows the target stop at this stage, because of `culprit` in the log's words, or "". It is what a finding
    /// that stops the stage looks like from outside, and hangs under that.
    pub fn seen_at(&mut self, stage: Stage, culprit: impl Into<String>) -> &mut Self {
        self.seen_at = Some((stage, culprit.into()));
        self
    }

    /// Says that whatever is written to the target may make it worse: beside this finding no repair is safe.
    pub fn makes_writing_risky(&mut self) -> &mut Self {
        self.no_write_is_safe = true;
        self
    }

    /// Offers a repair. The first one offered is the one that `fix` takes, if its risk is accepted.
    pub fn repair(&mut self, risk: Risk, title: Text, changes: impl IntoIterator<Item = Change>) -> &mut Self {
        self.repairs.push(Repair { title, risk, changes: changes.into_iter().collect() });
        self
    }

    /// Says what a person can do where no program should.
    pub fn by_hand(&mut self, title: Text) -> &mut Self {
        self.repair(Risk::Manual, title, [])
    }
}

/// What one check has found so far.
#[derive(Debug)]
pub struct Findings {
    check: &'static About,
    list: Vec<Finding>,
    untold: Option<Text>,
    said: Vec<(Stage, Said)>,
}

impl Findings {
    /// An empty list for `check`.
    pub fn of(check: &'static About) -> Findings {
        Findings { check, list: Vec::new(), untold: None, said: Vec::new() }
    }

    /// What was found, and what could not be told on the way.
    pub fn into_parts(self) -> (Vec<Finding>, Option<Text>) {
        (self.list, self.untold)
    }

    /// Says that nobody comes through `stage` although that is no fault: a locked password where others administer the
    /// machine. The stage must be among the check's `proves`.
    pub fn closed(&mut self, stage: Stage, why: Text) {
        debug_assert!(self.check.proves.contains(&stage), "{} does not declare {stage:?}", self.check.id);
        self.said.push((stage, Said::Closed(why)));
    }

    /// Says that nothing on the target tells whether `stage` holds, although everything was looked at: no more is to be had, and so
    /// the check itself is not undetermined. The stage must be among the check's `proves`.
    pub fn open(&mut self, stage: Stage, why: Text) {
        debug_assert!(self.check.proves.contains(&stage), "{} does not declare {stage:?}", self.check.id);
        self.said.push((stage, Said::Open(why)));
    }

    /// What was said of stages, which is then forgotten.
    pub fn take_said(&mut self) -> Vec<(Stage, Said)> {
        std::mem::take(&mut self.said)
    }

    /// Notes that one part could not be told while the check goes on with the others.
    pub fn could_not_tell(&mut self, why: Text) {
        self.untold.get_or_insert(why);
    }

    /// It does not start, or nobody can log in, or data is at risk now.
    pub fn critical(&mut self, message: Text) -> &mut Finding {
        self.add(Severity::Critical, message)
    }

    /// Something is broken.
    pub fn error(&mut self, message: Text) -> &mut Finding {
        self.add(Severity::Error, message)
    }

    /// It will break, or it is slow.
    pub fn warning(&mut self, message: Text) -> &mut Finding {
        self.add(Severity::Warning, message)
    }

    /// A note: worth knowing, and nothing is broken.
    pub fn note(&mut self, message: Text) -> &mut Finding {
        self.add(Severity::Note, message)
    }

    /// A finding whose severity depends on the target.
    pub fn add(&mut self, severity: Severity, message: Text) -> &mut Finding {
        self.list.push(Finding {
            check: self.check,
            severity,
            message,
            why: None,
            places: Vec::new(),
            subject: None,
            when: None,
            measured: Vec::new(),
            extent: None,
            notes: Vec::new(),
            evidence: Vec::new(),
            details: serde_json::Map::new(),
            repairs: Vec::new(),
            stops: Vec::new(),
            explains: Vec::new(),
            about: Vec::new(),
            only_under: &[],
            only_about: None,
            seen_at: None,
            no_write_is_safe: false,
            caused_by: None,
        });
        let last = self.list.len() - 1;
        &mut self.list[last]
    }
}
