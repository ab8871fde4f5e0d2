//! How a verb speaks to whoever called it: reports and answers to standard output, all else to standard error.

use std::cell::RefCell;
use std::io::{IsTerminal, Write as _};
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

use clap::ValueEnum;

use crate::model::repair::{Change, Wanted};
use crate::model::text::{Lang, Text};
use crate::repair::plan::Plan;
use crate::report::documents::ErrorV1;
use crate::report::forms::{Form, Part};
use crate::report::text::{Style, printable};
use crate::report::visible::escaped;
use crate::report::{Report, json_v1, text};
use crate::tr;

/// To whom this process speaks on its standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// People.
    Text,
    /// Programs, or whoever takes a document: nothing else is written there.
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Color {
    /// On a terminal that supports them
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// What every verb needs to know of how to speak.
pub(super) struct Context {
    pub(super) format: Format,
    /// The form of reports.
    pub(super) form: &'static Form,
    pub(super) style: Style,
    /// The first thing that standard output did not take.
    unwritten: RefCell<Option<std::io::Error>>,
}

/// Exit status for "something could not be determined or done".
pub(super) const UNTOLD: u8 = 2;

/// Why a verb ended early.
pub(super) struct Failure(pub(super) Text);

impl From<crate::repair::apply::Error> for Failure {
    fn from(error: crate::repair::apply::Error) -> Failure {
        Failure(error.text())
    }
}

impl From<sickbay_target::OpenError> for Failure {
    fn from(error: sickbay_target::OpenError) -> Failure {
        Failure(Text::verbatim(error.to_string()))
    }
}

impl Context {
    pub(super) fn new(form: &'static Form, lang: Lang, color: Color, verbose: bool) -> Context {
        let style = Style { verbose, ..screen(color, lang) };
        SPOKEN.get_or_init(|| lang);
        let format = if form.name == text::FORM.name { Format::Text } else { Format::Json };
        Context { format, form, style, unwritten: RefCell::default() }
    }

    pub(super) fn say(&self, text: &Text) -> String {
        printable(&text.render(self.style.lang))
    }

    pub(super) fn fail(&self, why: &Text) {
        if self.form.name == json_v1::FORM.name {
            self.print(&escaped(&format!("{:#}\n", self.error(why))));
        }
        self.complain_of(why);
    }

    pub(super) fn complain_of(&self, why: &Text) {
        complain(&self.style.shown(&format!("sickbay: {}\n", self.say(why))));
    }

    /// What stands in the place of a JSON report that there is none of.
    pub(super) fn error(&self, why: &Text) -> serde_json::Value {
        serde_json::to_value(ErrorV1::of(why.render(self.style.lang))).unwrap_or_default()
    }

    /// Writes to standard output. What it does not take is told at the end: see [`Context::is_written`].
    pub(super) fn print(&self, text: &str) {
        let shown = if self.format == Format::Text { self.style.shown(text) } else { text.to_owned() };
        self.keep(std::io::stdout().lock().write_all(shown.as_bytes()));
    }

    pub(super) fn keep(&self, result: std::io::Result<()>) {
        if let Err(error) = result {
            self.unwritten.borrow_mut().get_or_insert(error);
        }
    }

    /// Whether everything has been written; tells if not. A reader that has gone away (`| head`) has what it wanted.
    pub(super) fn is_written(&self) -> bool {
        self.keep(std::io::stdout().lock().flush());
        match self.unwritten.take() {
            Some(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                let why = tr!("cannot write to standard output: {error}", error = error.to_string());
                self.complain_of(&why);
                false
            }
            _ => true,
        }
    }

    pub(super) fn print_json(&self, value: &impl serde::Serialize) -> Result<(), Failure> {
        let json = serde_json::to_string_pretty(value).map_err(|error| Failure(Text::verbatim(error.to_string())))?;
        self.print(&escaped(&json));
        self.print("\n");
        Ok(())
    }

    pub(super) fn print_report(&self, report: &Report, target: Option<&Path>) -> Result<(), Failure> {
        self.deliver(report, target, None)
    }

    /// The report of one target, to standard output or into a file.
    pub(super) fn deliver(&self, report: &Report, target: Option<&Path>, output: Option<&Path>) -> Result<(), Failure> {
        let name = target.map(|path| path.display().to_string()).unwrap_or_default();
        self.deliver_parts(&[Part { name: &name, report: Ok(report) }], output)
    }

    /// The report of several.
    pub(super) fn deliver_parts(&self, parts: &[Part<'_>], output: Option<&Path>) -> Result<(), Failure> {
        let fail = |why: String| Failure(Text::verbatim(why));
        let Some(path) = output else {
            self.print(&(self.form.render)(parts, &self.style).map_err(fail)?);
            return Ok(());
        };
        // A file is neither as narrow as a screen nor as short of letters.
        let style = Style { colour: false, ascii: false, width: None, ..self.style };
        let document = (self.form.render)(parts, &style).map_err(fail)?;
        sickbay_target::publish(path, document.as_bytes()).map_err(|error| {
            Failure(tr!("the report could not be written to {path}: {error}", path, error = error.to_string()))
        })
    }
}

/// What standard output can show.
pub(super) fn screen(color: Color, lang: Lang) -> Style {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let is_terminal = std::io::stdout().is_terminal();
    let terminal = variable("TERM").unwrap_or_default();
    let colour = match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => is_terminal && terminal != "dumb" && variable("NO_COLOR").is_none(),
    };
    let charset = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| variable(name)).unwrap_or_default();
    let is_utf8 = ["utf-8", "utf8"].iter().any(|name| charset.to_lowercase().contains(name));
    // The console of a kernel has no glyph for a check mark. Who reads Chinese has a terminal that shows more.
    let ascii = lang == Lang::En && (!is_utf8 || matches!(terminal.as_str(), "linux" | "dumb"));
    let of_terminal = || is_terminal.then(|| rustix::termios::tcgetwinsize(std::io::stdout()).ok()).flatten();
    let width = variable("COLUMNS")
        .and_then(|columns| columns.parse().ok())
        .or_else(|| of_terminal().map(|size| usize::from(size.ws_col)))
        .filter(|columns| *columns > 0);
    Style { lang, colour, ascii, width, verbose: false }
}

/// The language that was asked for, for those who are called by what knows no [`Context`].
pub(super) static SPOKEN: OnceLock<Lang> = OnceLock::new();

/// Writes to standard error. Where nobody can be told there is nobody to tell that either.
pub(super) fn complain(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Tells somebody who waits at a terminal what takes long: once, however often it is done.
pub(super) fn announce(what: &Text) {
    static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    let line = printable(&what.render(SPOKEN.get().copied().unwrap_or(Lang::En)));
    if std::io::stderr().is_terminal() && !told.contains(&line) {
        complain(&format!("sickbay: {line} ...\n"));
        told.push(line);
    }
}

/// The same for what sickbay-target does.
pub(super) fn progress(what: &str) {
    announce(&Text::verbatim(what));
}

/// Announces the programs that a plan runs.
pub(super) fn announce_programs(plan: &Plan) {
    for change in plan.steps.iter().flat_map(|step| &step.repair.changes) {
        if let Change::Rebuild(rebuild) = change {
            let (program, path) = (rebuild.name(), rebuild.path.as_path());
            if rebuild.wanted == Wanted::Labels {
                announce(&tr!("{program} of the target is looking at every file, which may take a minute", program));
                continue;
            }
            announce(&tr!("{program} of the target is building {path}, which may take a minute", program, path));
        }
    }
}

/// Tells somebody who waits at a terminal how much of a log was read, once that takes long.
pub(super) fn tell_of_long_logs(lang: Lang) {
    if !std::io::stderr().is_terminal() {
        return;
    }
    let told = move || {
        let mut shown = false;
        loop {
            std::thread::sleep(std::time::Duration::from_secs(1));
            match sickbay_target::reading().filter(|(_, bytes)| *bytes >= LONG) {
                Some((path, bytes)) => {
                    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    let gib = format!("{:.1}", bytes as f64 / f64::from(1 << 30));
                    let line = tr!("{gib} GiB so far, {name}", gib, name);
                    complain(&format!("\r\x1b[K{}", printable(&line.render(lang))));
                    shown = true;
                }
                None if std::mem::take(&mut shown) => complain("\r\x1b[K"),
                None => {}
            }
        }
    };
    let _ = std::thread::Builder::new().name("progress".into()).spawn(told); // without it nothing is missing
}

/// So many bytes of a log are read in no time.
pub(super) const LONG: u64 = 256 << 20;
