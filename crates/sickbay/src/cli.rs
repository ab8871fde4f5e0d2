//! The command line: one verb per file. `--help` and the man page are both made from what is declared here.

mod ask;
mod boot;
mod check;
mod collect;
mod completions;
mod confirm;
mod cut_off;
mod diff;
mod explain;
mod fix;
mod language;
mod list;
mod password;
mod record;
mod rescue;
mod trace;
mod tune;
mod undo;
mod watch;

use std::cell::RefCell;
use std::ffi::OsString;
use std::io::{IsTerminal, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::LazyLock;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{FromArgMatches, Parser, Subcommand, ValueEnum};
use sickbay_target::{Access, Kind, Options, RECORDINGS, Recording, Target};

use crate::facts::memory::size;
use crate::facts::packages::mirror::{Mirror, Progress};
use crate::model::repair::{Change, Wanted};
use crate::model::text::{Lang, Text};
use crate::repair::held;
use crate::repair::journal::Journal;
use crate::repair::plan::Plan;
use crate::report::documents::ErrorV1;
use crate::report::forms::{FORMS, Form, Part};
use crate::report::text::{Style, printable};
use crate::report::visible::escaped;
use crate::report::{Report, json_v1, text};
use crate::sample::{Asked, When};
use crate::tr;

/// The version, and of a release the commit, its day and what it was built for.
static BUILD: LazyLock<String> = LazyLock::new(|| {
    let commit = option_env!("SICKBAY_COMMIT").map(|commit| format!("{commit}, ")).unwrap_or_default();
    format!("{} ({commit}{})", env!("CARGO_PKG_VERSION"), env!("SICKBAY_TARGET"))
});

/// Finds out why a Linux system won't boot or won't let anyone log in, and repairs it.
///
/// TARGET is a directory on which a system is mounted, a disk, a partition or an image (raw, qcow2, ...); without it,
/// this machine. `check` also takes logs. `check` never changes anything. `fix` shows what it found and what it will
/// do, asks, and keeps a journal on the target, so that `undo` can revert everything.
///
/// Programs of this machine are run from the usual directories only, whatever PATH says: /usr/local/sbin,
/// /usr/local/bin, /usr/sbin, /usr/bin, /sbin, /bin.
///
/// Exit status: 0 nothing found, 1 something found, 2 something could not be determined or done.
#[derive(Debug, Parser)]
#[command(name = "sickbay", bin_name = "sickbay", version, long_version = BUILD.as_str(), max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
    /// Format of the report
    #[arg(long, global = true, value_parser = form(), default_value = "text", ignore_case = true, help_heading = OUTPUT)]
    format: &'static Form,
    /// Language of the report [default: from the environment]
    #[arg(long, global = true, value_enum, help_heading = OUTPUT)]
    lang: Option<Lang>,
    /// When to use colors
    #[arg(long, global = true, value_enum, default_value = "auto", help_heading = OUTPUT)]
    color: Color,
    /// Also show consequences, evidence, command lines, and checks that do not apply
    #[arg(long, short, global = true, help_heading = OUTPUT)]
    verbose: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Find what is wrong; changes nothing
    Check(check::Check),
    /// Repair what was found: shows the plan, asks, repairs, checks again
    Fix(fix::Fix),
    Boot(boot::Boot),
    Collect(collect::Collect),
    /// Revert repairs; also cleans up after a repair that a power loss interrupted
    Undo(undo::Undo),
    Explain(explain::Explain),
    /// List all checks, or those with a word in their name or title
    List(list::List),
    Rescue(rescue::Rescue),
    Record(record::Record),
    Watch(watch::Watch),
    Tune(tune::Tune),
    Trace(trace::Trace),
    Diff(diff::Diff),
    Completions(completions::Completions),
}

/// The names of all forms, with what each is for.
fn form() -> impl TypedValueParser<Value = &'static Form> {
    let values = FORMS.iter().map(|form| PossibleValue::new(form.name).help(form.about));
    PossibleValuesParser::new(values).try_map(|name| Form::of(&name).ok_or("unknown"))
}

/// To whom this process speaks on its standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// People.
    Text,
    /// Programs, or whoever takes a document: nothing else is written there.
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Color {
    /// On a terminal that supports them
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// Headings of `--help`.
const OUTPUT: &str = "Output";
/// What is looked at, and what helps with it.
const LOOK: &str = "What to check";

/// What to look at.
#[derive(Clone, Debug, clap::Args)]
struct TargetArgs {
    /// A mounted system, disk, partition or image [default: this machine]
    target: Option<PathBuf>,
    #[command(flatten)]
    aid: Aid,
}

/// What there is besides the target.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = LOOK)]
struct Aid {
    /// Another disk of the same machine, such as a data disk named in its fstab; or a log of it, such as its console
    #[arg(long, value_name = "DISK")]
    with: Vec<PathBuf>,
    /// Let an image use the other files that it names: backing files, data files, extents. Without this option such an
    /// image is refused, because it could name any file of this machine
    #[arg(long)]
    follow_images: bool,
    /// A healthy root of the same release to restore lost files from
    #[arg(long, value_name = "ROOT")]
    donor: Option<PathBuf>,
    /// A package file (.deb, .rpm) on this machine to restore lost files from; can be given several times
    #[arg(long, value_name = "FILE")]
    package: Vec<PathBuf>,
}

/// What every verb needs to know of how to speak.
struct Context {
    format: Format,
    /// The form of reports.
    form: &'static Form,
    style: Style,
    /// The first thing that standard output did not take.
    unwritten: RefCell<Option<std::io::Error>>,
}

/// Exit status for "something could not be determined or done".
const UNTOLD: u8 = 2;

/// Why a verb ended early.
struct Failure(Text);

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

/// The command as clap knows it, for `--help`, the man page and completions.
pub fn command(lang: Lang) -> clap::Command {
    language::command(lang)
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    // Whatever is said from here on may be a check's, in Chinese.
    LazyLock::force(&crate::checks::ALL);
    let arguments: Vec<OsString> = std::env::args_os().map(pasted).collect();
    let asked = language::Asked::of(&arguments);
    let parsed = command(asked.lang).try_get_matches_from(arguments).and_then(|found| Cli::from_arg_matches(&found));
    let (context, result) = match parsed {
        Ok(cli) => {
            let context = Context::new(cli.format, cli.lang.unwrap_or(asked.lang), cli.color, cli.verbose);
            let result = enough_room().and_then(|()| cli.verb.takes(context.form)).and_then(|()| {
                tell_of_long_logs(context.style.lang);
                cli.verb.run(&context)
            });
            (context, result)
        }
        Err(error) => {
            let context = Context::new(asked.format, asked.lang, Color::Auto, false);
            let result = language::answer(&context, &error);
            (context, result)
        }
    };
    let status = result.unwrap_or_else(|Failure(why)| {
        context.fail(&why);
        UNTOLD
    });
    ExitCode::from(if context.is_written() { status } else { UNTOLD })
}

/// This process may have the memory and the descriptors that it needs: what cannot be opened for want of them would look as if
/// it were not there.
fn enough_room() -> Result<(), Failure> {
    if let Err(few) = sickbay_target::memory::prepare() {
        return Err(Failure(tr!(
            "this process may only have {limit} MiB of memory (ulimit {option}), and sickbay needs {needed}",
            limit = few.limit,
            option = few.option,
            needed = few.needed
        )));
    }
    let (files, least) = (sickbay_target::raise_files(), sickbay_target::LEAST_FILES);
    if files >= least {
        return Ok(());
    }
    Err(Failure(tr!(
        "this process may open only {files} files at once, and at least {least} are needed: ulimit -n {least}",
        files,
        least
    )))
}

/// A file with the rules of security groups: its name and content.
fn security_group(path: &Path) -> Result<(String, Vec<u8>), Failure> {
    let fail = |error: String| Failure(tr!("{path} could not be read: {error}", path, error));
    let absolute = std::path::absolute(path).map_err(|error| fail(error.to_string()))?;
    let bytes = sickbay_target::Root::host()?.read(&absolute).map_err(|error| fail(error.to_string()))?;
    Ok((path.display().to_string(), bytes))
}

impl Verb {
    /// Whether it writes a report in that form. All write text, and JSON.
    fn takes(&self, form: &Form) -> Result<(), Failure> {
        let writes_reports = matches!(self, Verb::Check(_) | Verb::Fix(_) | Verb::Boot(_));
        if writes_reports || [text::FORM.name, json_v1::FORM.name].contains(&form.name) {
            return Ok(());
        }
        Err(Failure(tr!("--format {format} is a form of reports: check, fix and boot write them", format = form.name)))
    }

    fn run(self, context: &Context) -> Result<u8, Failure> {
        match self {
            Verb::Check(verb) => verb.run(context),
            Verb::Fix(verb) => verb.run(context),
            Verb::Boot(verb) => verb.run(context),
            Verb::Collect(verb) => verb.run(context),
            Verb::Undo(verb) => verb.run(context),
            Verb::Explain(verb) => verb.run(context),
            Verb::List(verb) => verb.run(context),
            Verb::Rescue(verb) => verb.run(context),
            Verb::Record(verb) => verb.run(context),
            Verb::Watch(verb) => verb.run(context),
            Verb::Tune(verb) => verb.run(context),
            Verb::Diff(verb) => verb.run(context),
            Verb::Trace(verb) => verb.run(context),
            Verb::Completions(verb) => verb.run(context),
        }
    }
}

/// The language that was asked for, for those who are called by what knows no [`Context`].
static SPOKEN: OnceLock<Lang> = OnceLock::new();

/// Writes to standard error. Where nobody can be told there is nobody to tell that either.
fn complain(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Tells somebody who waits at a terminal what takes long: once, however often it is done.
fn announce(what: &Text) {
    static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    let line = printable(&what.render(SPOKEN.get().copied().unwrap_or(Lang::En)));
    if std::io::stderr().is_terminal() && !told.contains(&line) {
        complain(&format!("sickbay: {line} ...\n"));
        told.push(line);
    }
}

/// The same for what sickbay-target does.
fn progress(what: &str) {
    announce(&Text::verbatim(what));
}

/// Announces the programs that a plan runs.
fn announce_programs(plan: &Plan) {
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
fn tell_of_long_logs(lang: Lang) {
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
const LONG: u64 = 256 << 20;

/// Whether something on the disks of `target` could not be read in a way that hints at damage, while it was looked at.
fn met_damage(target: &Target) -> bool {
    target.root().met_damage() && target.kind == Kind::Disk
}

/// The target alone, once the last thread of a check has let go of it; `None` when one hangs.
fn alone(mut target: Arc<Target>) -> Option<Target> {
    for _ in 0..500 {
        match Arc::try_unwrap(target) {
            Ok(target) => return Some(target),
            Err(shared) => target = shared,
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    None
}

/// `16G`, in KiB.
fn kibibytes(text: &str) -> Result<u64, String> {
    // Without a letter they are MiB, as of `boot --memory`.
    let plain = text.parse::<u32>().ok().map(|mib| u64::from(mib) << 10);
    let known = plain.or_else(|| record::bytes(text).map(|bytes| bytes >> 10)).filter(|kib| *kib > 0);
    known.ok_or_else(|| tr!("{text} is not a size: 512M, 16G", text).render(Lang::from_environment()))
}

/// A time as people write it: `10s`, `2m`, `1h`, `1.5`; seconds without a letter, a day at most.
fn duration(text: &str) -> Result<Duration, Failure> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor = match unit {
        "" | "s" => Some(1.0),
        "m" | "min" => Some(60.0),
        "h" => Some(3600.0),
        _ => None,
    };
    let seconds = number.parse::<f64>().ok().zip(factor).map(|(number, factor)| number * factor);
    let known = seconds.filter(|seconds| (0.0..=86_400.0).contains(seconds));
    known
        .map(Duration::from_secs_f64)
        .ok_or_else(|| Failure(tr!("{text} is not a time: 10s, 2m, 1h, a day at most", text)))
}

/// Which part of a recording is looked at.
#[derive(Clone, Debug, Default, clap::Args)]
struct Past {
    /// A recording: some minutes around that moment, by the clock of the machine that was recorded. 'YYYY-MM-DD HH:MM[:SS]',
    /// HH:MM, seconds since 1970, or -10m before its end; of this machine /var/log/sickbay is looked at
    #[arg(long, value_name = "MOMENT", allow_hyphen_values = true, conflicts_with_all = ["from", "to"], help_heading = LOOK)]
    at: Option<String>,
    /// A recording: from that moment on
    #[arg(long, value_name = "MOMENT", allow_hyphen_values = true, help_heading = LOOK)]
    from: Option<String>,
    /// A recording: up to that moment
    #[arg(long, value_name = "MOMENT", allow_hyphen_values = true, help_heading = LOOK)]
    to: Option<String>,
}

impl Past {
    fn asked(&self) -> Result<Asked, Failure> {
        let when = |text: &Option<String>| {
            let parse = |text: &String| {
                When::parse(text).ok_or_else(|| {
                    Failure(tr!(
                        "{text} is not a moment: '2018-06-12 10:36', 10:36, -10m, or seconds since 1970",
                        text = text.as_str()
                    ))
                })
            };
            text.as_ref().map(parse).transpose()
        };
        Ok(Asked { at: when(&self.at)?, from: when(&self.from)?, to: when(&self.to)? })
    }
}

/// The target with what was recorded of it, where a moment is asked for: of this machine, by `sickbay record`.
fn in_the_past(target: Target, asked: &Asked) -> Result<Target, Failure> {
    if !asked.is_something() || target.recording().is_ok() {
        return Ok(target);
    }
    let path = target.name.clone();
    if !target.is_this_machine() {
        return Err(Failure(tr!("{path} is no recording: --at, --from and --to are about one", path)));
    }
    let place = Path::new(RECORDINGS);
    let missing = || {
        Failure(tr!(
            "nothing was recorded on this machine: {place} has no recording, which sickbay record would make",
            place
        ))
    };
    let recording = Recording::of_directory(place).ok().flatten().ok_or_else(missing)?;
    Ok(target.with_recording(recording))
}

/// A message of a login shell, "-bash: fork: ...", without the hyphen that would make options of it.
fn pasted(argument: OsString) -> OsString {
    match argument.to_str().and_then(|text| text.strip_prefix('-')) {
        Some(rest) if rest.contains(": ") && !rest.starts_with('-') => rest.into(),
        _ => argument,
    }
}

impl Context {
    fn new(form: &'static Form, lang: Lang, color: Color, verbose: bool) -> Context {
        let style = Style { verbose, ..screen(color, lang) };
        SPOKEN.get_or_init(|| lang);
        let format = if form.name == text::FORM.name { Format::Text } else { Format::Json };
        Context { format, form, style, unwritten: RefCell::default() }
    }

    fn say(&self, text: &Text) -> String {
        printable(&text.render(self.style.lang))
    }

    fn fail(&self, why: &Text) {
        if self.form.name == json_v1::FORM.name {
            self.print(&escaped(&format!("{:#}\n", self.error(why))));
        }
        self.complain_of(why);
    }

    fn complain_of(&self, why: &Text) {
        complain(&self.style.shown(&format!("sickbay: {}\n", self.say(why))));
    }

    /// What stands in the place of a JSON report that there is none of.
    fn error(&self, why: &Text) -> serde_json::Value {
        serde_json::to_value(ErrorV1::of(why.render(self.style.lang))).unwrap_or_default()
    }

    /// Writes to standard output. What it does not take is told at the end: see [`Context::is_written`].
    fn print(&self, text: &str) {
        let shown = if self.format == Format::Text { self.style.shown(text) } else { text.to_owned() };
        self.keep(std::io::stdout().lock().write_all(shown.as_bytes()));
    }

    fn keep(&self, result: std::io::Result<()>) {
        if let Err(error) = result {
            self.unwritten.borrow_mut().get_or_insert(error);
        }
    }

    /// Whether everything has been written; tells if not. A reader that has gone away (`| head`) has what it wanted.
    fn is_written(&self) -> bool {
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

    fn print_json(&self, value: &impl serde::Serialize) -> Result<(), Failure> {
        let json = serde_json::to_string_pretty(value).map_err(|error| Failure(Text::verbatim(error.to_string())))?;
        self.print(&escaped(&json));
        self.print("\n");
        Ok(())
    }

    fn print_report(&self, report: &Report, target: Option<&Path>) -> Result<(), Failure> {
        self.deliver(report, target, None)
    }

    /// The report of one target, to standard output or into a file.
    fn deliver(&self, report: &Report, target: Option<&Path>, output: Option<&Path>) -> Result<(), Failure> {
        let name = target.map(|path| path.display().to_string()).unwrap_or_default();
        self.deliver_parts(&[Part { name: &name, report: Ok(report) }], output)
    }

    /// The report of several.
    fn deliver_parts(&self, parts: &[Part<'_>], output: Option<&Path>) -> Result<(), Failure> {
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
fn screen(color: Color, lang: Lang) -> Style {
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

/// What fetches packages, if the user lets it; on a terminal a line tells how far it is.
fn mirror(fetch: bool, insecure: bool) -> Result<Option<Arc<Mirror>>, Failure> {
    let progress: Progress = |package, got| match got {
        _ if !std::io::stderr().is_terminal() => {}
        Some(bytes) => complain(&format!("\r\x1b[K{} {}", printable(package), size(bytes >> 10))),
        None => complain("\r\x1b[K"),
    };
    let mirror = fetch.then(|| Mirror::new(progress, insecure)).transpose().map_err(Failure)?;
    Ok(mirror.map(Arc::new))
}

impl TargetArgs {
    fn open(&self, access: Access) -> Result<Arc<Target>, Failure> {
        self.open_examined(access, false)
    }

    /// With `thorough`, every file system is examined by its checker.
    fn open_examined(&self, access: Access, thorough: bool) -> Result<Arc<Target>, Failure> {
        self.open_with(Options { access, thorough, ..Options::default() })
    }

    /// A directory in which something was repaired, whatever it looks like now.
    fn open_to_undo(&self, access: Access) -> Result<Arc<Target>, Failure> {
        self.open(access).or_else(|refused| {
            let target = self.open_with(Options { access, any_directory: true, ..Options::default() });
            target.ok().filter(|target| Journal::is_on(target)).ok_or(refused)
        })
    }

    fn open_with(&self, options: Options) -> Result<Arc<Target>, Failure> {
        let (with, follow_images) = (self.aid.with.clone(), self.aid.follow_images);
        let options = Options { with, follow_images, progress: Some(progress), ..options };
        let mut target = Target::open(self.target.as_deref(), &options)?;
        target.give_packages(&self.aid.package)?;
        for path in target.packages() {
            if !crate::facts::packages::archives::is_package(path) {
                return Err(Failure(tr!("{path} is neither a .deb nor an .rpm package, or it is damaged", path)));
            }
        }
        Ok(Arc::new(target))
    }

    /// The directory in which the journal is kept, where it is not on the target.
    fn open_journal(dir: Option<&Path>) -> Result<Option<Arc<Target>>, Failure> {
        let Some(dir) = dir else { return Ok(None) };
        Ok(Some(Arc::new(Target::described(dir, Access::ReadWrite, Vec::new(), &[])?)))
    }

    /// The same directory, to look into.
    fn open_journal_to_look(dir: Option<&Path>) -> Result<Option<Arc<Target>>, Failure> {
        let Some(dir) = dir else { return Ok(None) };
        Ok(Some(Arc::new(Target::described(dir, Access::ReadOnly, Vec::new(), &[])?)))
    }

    /// The disks and images that were named.
    fn disks(&self) -> impl Iterator<Item = &Path> {
        self.target.iter().chain(&self.aid.with).map(PathBuf::as_path)
    }

    /// Says so when a repair of the disks themselves was cut off while it was written.
    fn cut_off(&self, context: &Context) -> Vec<String> {
        let of = |path: &Path| held::entries(path).unwrap_or_default().into_iter();
        let open = self.disks().flat_map(of).filter(|(.., done)| !done);
        let say = |id: String| {
            context.say(&tr!(
                "repair {id} was interrupted while it wrote to the disk: sickbay fix or undo restores what was there",
                id
            ))
        };
        open.map(|(id, ..)| say(id)).collect()
    }

    /// The donor that was named; else this machine, if it can be one for `target`: see [`crate::facts::packages::donor`].
    fn open_donor(&self, target: &Target) -> Result<Option<Arc<Target>>, Failure> {
        if let Some(path) = &self.aid.donor {
            let options = Options { access: Access::ReadOnly, with: Vec::new(), ..Options::default() };
            let donor = Target::open(Some(path), &options)?;
            return match crate::facts::packages::donor::why_not(target, &donor) {
                Some(why) => Err(Failure(why)),
                None => Ok(Some(Arc::new(donor))),
            };
        }
        if matches!(target.kind, Kind::Host | Kind::Log | Kind::Recording | Kind::Report) {
            return Ok(None);
        }
        // Only its files count: its disks need not be looked at.
        let host = Target::described(Path::new("/"), Access::ReadOnly, Vec::new(), &[])?;
        Ok(crate::facts::packages::donor::why_not(target, &host).is_none().then(|| Arc::new(host)))
    }
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn times_as_people_write_them() {
        let seconds = |text: &str| duration(text).ok().map(|time| time.as_secs_f64());
        assert_eq!(
            (seconds("10s"), seconds("2m"), seconds("1.5"), seconds("0")),
            (Some(10.0), Some(120.0), Some(1.5), Some(0.0))
        );
        for wrong in ["", "s", "-1", "10x", "1e9", "25h", "NaN", "1..2", "é"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }
}
