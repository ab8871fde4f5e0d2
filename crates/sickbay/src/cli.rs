//! The command line: one verb per file. `--help` and the man page are both made from what is declared here.

mod ask;
mod boot;
mod check;
mod collect;
mod completions;
mod confirm;
mod context;
mod cut_off;
mod diff;
mod explain;
mod fix;
mod language;
mod list;
mod password;
mod quantity;
mod record;
mod rescue;
mod target;
mod trace;
mod tune;
mod undo;
mod watch;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::LazyLock;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{FromArgMatches, Parser, Subcommand};

use self::context::{
    Color, Context, Failure, Format, UNTOLD, announce, announce_programs, complain, tell_of_long_logs,
};
use self::quantity::{duration, kibibytes};
use self::target::{
    Aid, Depth, LOOK, Past, TargetArgs, alone, in_the_past, met_damage, mirror, security_group, this_machine,
};
use crate::model::text::Lang;
use crate::report::forms::{FORMS, Form};
use crate::report::{json_v1, text};
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

/// A heading of `--help`.
const OUTPUT: &str = "Output";
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

/// A message of a login shell, "-bash: fork: ...", without the hyphen that would make options of it.
fn pasted(argument: OsString) -> OsString {
    match argument.to_str().and_then(|text| text.strip_prefix('-')) {
        Some(rest) if rest.contains(": ") && !rest.starts_with('-') => rest.into(),
        _ => argument,
    }
}
