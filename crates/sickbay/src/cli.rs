//! The command line: one verb per file. `--help` and the man page are both made from what is declared here.

mod boot;
mod check;
mod cut_off;
mod explain;
mod fix;
mod list;
mod password;
mod undo;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use sickbay_target::{Access, Kind, Options, Target};

use crate::facts::restore::{Mirror, Progress};
use crate::repair::held;
use crate::report::text::{Style, printable};
use crate::report::{Report, json_v1, text};
use crate::text::{Lang, Text};
use crate::tr;

/// Finds what is ill with a Linux system, and mends it.
///
/// TARGET is this machine when it is left out, else the directory on which a system is mounted, a disk, a partition or an image
/// (raw, qcow2, ...), or a log of a kernel: a file, packed or not, a directory of them, or `-` for standard input. `check` never changes anything. `fix` shows what it will do, asks, and keeps a journal on the target,
/// so that `undo` can take everything back.
///
/// Exit status: 0 nothing found, 1 something found, 2 something could not be told or done.
#[derive(Debug, Parser)]
#[command(name = "sickbay", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
    /// Form of the report
    #[arg(long, global = true, value_enum, default_value = "text")]
    format: Format,
    /// Language of the report [default: from the environment]
    #[arg(long, global = true, value_enum)]
    lang: Option<Lang>,
    /// When to use colours
    #[arg(long, global = true, value_enum, default_value = "auto")]
    color: Color,
    /// Show consequences, evidence and checks that do not apply as well
    #[arg(long, short, global = true)]
    verbose: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Find what is wrong; changes nothing
    Check(check::Check),
    /// Mend what was found: shows the plan, asks, repairs, checks again
    Fix(fix::Fix),
    /// Start a copy of a disk in QEMU, and tell how far it comes; the disk is not touched
    Boot(boot::Boot),
    /// Take back repairs; also finishes what a power loss cut off
    Undo(undo::Undo),
    /// Tell what a check means, why it happens, and how to mend it by hand
    Explain(explain::Explain),
    /// List every check
    List(list::List),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For programs: sickbay/report/v1
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

/// What to look at.
#[derive(Debug, clap::Args)]
struct TargetArgs {
    /// A mounted system, disk, partition, image or log (`-` reads one from standard input); this machine when left out
    target: Option<PathBuf>,
    /// A further disk of the same machine, such as a data disk that its fstab names
    #[arg(long, value_name = "DISK")]
    with: Vec<PathBuf>,
    /// A healthy root of the same release from which lost files are taken
    #[arg(long, value_name = "ROOT")]
    donor: Option<PathBuf>,
    /// A package file (.deb, .rpm) of this machine from which lost files are taken; can be given several times
    #[arg(long, value_name = "FILE")]
    package: Vec<PathBuf>,
}

/// What every verb needs to know of how to speak.
struct Context {
    format: Format,
    style: Style,
}

/// Exit status for "something could not be told or done".
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

/// The command as clap knows it, for the man page.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse_from(std::env::args_os().map(pasted));
    let colour = match cli.color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
    };
    let style = Style { lang: cli.lang.unwrap_or_else(Lang::from_environment), colour, verbose: cli.verbose };
    let context = Context { format: cli.format, style };
    let result = match cli.verb {
        Verb::Check(verb) => verb.run(&context),
        Verb::Fix(verb) => verb.run(&context),
        Verb::Boot(verb) => verb.run(&context),
        Verb::Undo(verb) => verb.run(&context),
        Verb::Explain(verb) => verb.run(&context),
        Verb::List(verb) => verb.run(&context),
    };
    ExitCode::from(result.unwrap_or_else(|Failure(why)| {
        context.fail(&why);
        UNTOLD
    }))
}

/// Tells somebody who waits at a terminal what takes long.
fn progress(what: &str) {
    if std::io::stderr().is_terminal() {
        eprintln!("sickbay: {what} ...");
    }
}

/// Whether something on the disks of `target` could not be read in a way that hints at damage, while it was looked at.
fn met_damage(target: &Target) -> bool {
    sickbay_target::met_damage() && target.kind == Kind::Disk
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

/// A message of a login shell, "-bash: fork: ...", without the hyphen that would make options of it.
fn pasted(argument: OsString) -> OsString {
    match argument.to_str().and_then(|text| text.strip_prefix('-')) {
        Some(rest) if rest.contains(": ") && !rest.starts_with('-') => rest.into(),
        _ => argument,
    }
}

/// JSON without what a terminal obeys, or what reorders what is seen: JSON itself asks only for the first 32 characters to be
/// escaped, and such a character stands nowhere but in a string.
fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '\u{7F}'..='\u{9F}'
            | '\u{061C}'
            | '\u{200E}'
            | '\u{200F}'
            | '\u{2028}'..='\u{202E}'
            | '\u{2066}'..='\u{2069}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

impl Context {
    fn say(&self, text: &Text) -> String {
        printable(&text.render(self.style.lang))
    }

    fn fail(&self, why: &Text) {
        if self.format == Format::Json {
            let error = serde_json::json!({
                "schema": "sickbay/error/v1",
                "tool": {"version": env!("CARGO_PKG_VERSION")},
                "error": why.render(self.style.lang),
            });
            self.print(&escaped(&format!("{error:#}\n")));
        }
        eprintln!("sickbay: {}", self.say(why));
    }

    /// Writes to standard output. A reader that has gone away (`| head`) is no error.
    fn print(&self, text: &str) {
        use std::io::Write as _;
        let _ = std::io::stdout().lock().write_all(text.as_bytes());
    }

    fn print_json(&self, value: &impl serde::Serialize) -> Result<(), Failure> {
        let json = serde_json::to_string_pretty(value).map_err(|error| Failure(Text::verbatim(error.to_string())))?;
        self.print(&escaped(&json));
        self.print("\n");
        Ok(())
    }

    fn print_report(&self, report: &Report, target: Option<&Path>) -> Result<(), Failure> {
        match self.format {
            Format::Json => self.print_json(&json_v1::report(report, self.style.lang)),
            Format::Text => {
                let command = target.map(|path| path.display().to_string()).unwrap_or_default();
                self.print(&text::render(report, &self.style, &command));
                Ok(())
            }
        }
    }
}

/// What fetches packages, if the user lets it; on a terminal a line tells how far it is.
fn mirror(fetch: bool) -> Result<Option<Arc<Mirror>>, Failure> {
    let progress: Progress = |package, size| match size {
        _ if !std::io::stderr().is_terminal() => {}
        Some(size) => eprint!("\r\x1b[K{} {} KiB", printable(package), size >> 10),
        None => eprint!("\r\x1b[K"),
    };
    let mirror = fetch.then(|| Mirror::new(progress)).transpose().map_err(Failure)?;
    Ok(mirror.map(Arc::new))
}

impl TargetArgs {
    fn open(&self, access: Access) -> Result<Arc<Target>, Failure> {
        self.open_examined(access, false)
    }

    /// With `thorough`, every file system is examined by its checker.
    fn open_examined(&self, access: Access, thorough: bool) -> Result<Arc<Target>, Failure> {
        let options = Options { access, with: self.with.clone(), thorough, progress: Some(progress) };
        let mut target = Target::open(self.target.as_deref(), &options)?;
        target.give_packages(&self.package)?;
        for path in target.packages() {
            if !crate::facts::restore::is_package(path) {
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
        self.target.iter().chain(&self.with).map(PathBuf::as_path)
    }

    /// Says so when a repair of the disks themselves was cut off while it was written.
    fn cut_off(&self, context: &Context) -> Vec<String> {
        let of = |path: &Path| held::entries(path).unwrap_or_default().into_iter();
        let open = self.disks().flat_map(of).filter(|(.., done)| !done);
        let say = |id: String| {
            context.say(&tr!(
                "repair {id} was cut off while the disk was written: sickbay fix or undo puts back what was there",
                id
            ))
        };
        open.map(|(id, ..)| say(id)).collect()
    }

    /// The donor that was named; else this machine, if it can be one for `target`: see [`crate::facts::donor`].
    fn open_donor(&self, target: &Target) -> Result<Option<Arc<Target>>, Failure> {
        if let Some(path) = &self.donor {
            let options = Options { access: Access::ReadOnly, with: Vec::new(), ..Options::default() };
            let donor = Target::open(Some(path), &options)?;
            return match crate::facts::donor::why_not(target, &donor) {
                Some(why) => Err(Failure(why)),
                None => Ok(Some(Arc::new(donor))),
            };
        }
        if matches!(target.kind, Kind::Host | Kind::Log) {
            return Ok(None);
        }
        // Only its files count: its disks need not be looked at.
        let host = Target::described(Path::new("/"), Access::ReadOnly, Vec::new(), &[])?;
        Ok(crate::facts::donor::why_not(target, &host).is_none().then(|| Arc::new(host)))
    }
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn json_holds_nothing_that_a_terminal_obeys() {
        let value = serde_json::json!({"title": "a\u{9b}2J\u{202e}b\u{7f}c\u{2066}\u{1b}é"});
        let json = escaped(&serde_json::to_string(&value).expect("JSON"));
        assert_eq!(json, r#"{"title":"a\u009b2J\u202eb\u007fc\u2066\u001bé"}"#);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).expect("JSON still"), value);
    }
}
