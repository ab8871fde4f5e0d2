//! `sickbay trace -- CMD`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use sickbay_formats::trace::{Cause, Failure as Seen, Scanner};
use sickbay_target::Root;
use sickbay_target::tracer::{self, End, Traced};

use super::{Context, Failure, Format, complain};
use crate::checks::logs::traced_failure::{named, told};
use crate::model::text::Text;
use crate::report::text::printable;
use crate::tr;

/// Run a command, and show which missing or refused file makes it fail
///
/// Follows the command and its children, and tells only what explains that it failed: a library that is in none of its places, an
/// interpreter that is not there, a file that was missing or refused just before the program complained, a user that nobody knows. The
/// command keeps its terminal, and its exit status is passed on. A log of strace is read by `check`.
///
/// What it starts in the background is waited for, too: a daemon that runs already is looked at with --pid.
#[derive(Debug, clap::Args)]
pub(super) struct Trace {
    /// Follow a running process instead, until it ends, --for is over or Ctrl-C is pressed; it goes on afterwards. Slower for the process
    #[arg(long, value_name = "PID", conflicts_with = "command")]
    pid: Option<u32>,
    /// With --pid: how long to follow it: 10s, 2m
    #[arg(long = "for", value_name = "TIME", requires = "pid")]
    time: Option<String>,
    /// The command and its arguments
    #[arg(last = true, required_unless_present = "pid")]
    command: Vec<OsString>,
}

impl Trace {
    pub(super) fn run(&self, context: &Context) -> Result<u8, Failure> {
        let mut scanner = Scanner::default();
        let mut take = |line: &str| scanner.block(line.as_bytes());
        let is_json = context.format == Format::Json;
        let traced = match self.pid {
            Some(pid) => {
                let length = self.time.as_deref().map(super::duration).transpose()?;
                let seconds = length.map(|length| u32::try_from(length.as_secs()).unwrap_or(u32::MAX));
                tracer::attach(pid, seconds, &mut take).map_err(|error| refused(pid, &error))?
            }
            None => {
                let name = self.command.first().map(PathBuf::from).unwrap_or_default();
                tracer::run(&self.command, is_json, &mut take).map_err(|error| match error.kind() {
                    std::io::ErrorKind::NotFound => {
                        Failure(tr!("there is no program {name} in PATH", name = name.as_path()))
                    }
                    _ => Failure(tr!(
                        "{name} could not be traced: {error}",
                        name = name.as_path(),
                        error = error.to_string()
                    )),
                })?
            }
        };
        scanner.finish();
        match context.format {
            Format::Json => context.print_json(&self.json(context, &traced, &scanner.failures))?,
            // Standard output is the command's.
            Format::Text => complain(&context.style.shown(&self.text(context, &traced, &scanner.failures))),
        }
        Ok(match (traced.end, self.pid) {
            (_, Some(_)) => u8::from(!scanner.failures.is_empty()),
            (End::Status(status), None) => u8::try_from(status & 0xff).unwrap_or(u8::MAX),
            (End::Signal(signal), None) => u8::try_from(128_i32.saturating_add(signal)).unwrap_or(u8::MAX),
            (End::LetGo, None) => super::UNTOLD,
        })
    }

    fn text(&self, context: &Context, traced: &Traced, failures: &[Seen]) -> String {
        let say = |text: &Text| printable(&context.say(text));
        let mut out = String::new();
        for failure in failures {
            let (message, why, by_hand) = told(failure);
            out.push_str(&format!("sickbay: {}\n", say(&message)));
            if let Some(said) = &failure.message {
                out.push_str(&format!("  {}\n", say(&tr!("the program said: {said}", said = said.as_str()))));
            }
            if let Some(link) = dangling(&failure.cause) {
                out.push_str(&format!("  {}\n", say(&link)));
            }
            out.push_str(&format!("  {}\n  {}\n", say(&why), say(&by_hand)));
        }
        for remark in self.remarks(traced, failures) {
            out.push_str(&format!("sickbay: {}\n", say(&remark)));
        }
        out
    }

    fn remarks(&self, traced: &Traced, failures: &[Seen]) -> Vec<Text> {
        let mut all = Vec::new();
        for path in &traced.set_uid {
            all.push(tr!(
                "{path} is set-uid, and ran without its rights because it was traced: run this as root",
                path = path.as_path()
            ));
        }
        if traced.too_many {
            all.push(tr!("it started more and more processes, and was ended"));
        }
        let ended_well = matches!(traced.end, End::Status(0) | End::LetGo);
        if failures.is_empty() && !ended_well {
            all.push(tr!("it failed, and nothing that it looked for in vain explains it"));
        }
        if failures.is_empty() && self.pid.is_some() {
            all.push(tr!("nothing that it looked for in vain explains a failure"));
        }
        all
    }

    fn json(&self, context: &Context, traced: &Traced, failures: &[Seen]) -> serde_json::Value {
        let each: Vec<_> = failures
            .iter()
            .map(|failure| {
                let (kind, subject) = named(&failure.cause);
                let (message, ..) = told(failure);
                let candidates = match &failure.cause {
                    Cause::Library { candidates, .. } => candidates.clone(),
                    _ => Vec::new(),
                };
                serde_json::json!({
                    "cause": kind, "subject": subject, "message": context.say(&message), "said": failure.message,
                    "ended": failure.ended, "processes": failure.count, "call": failure.words, "candidates": candidates,
                    "link": dangling(&failure.cause).map(|link| context.say(&link)),
                })
            })
            .collect();
        let (status, signal) = match traced.end {
            End::Status(status) => (Some(status), None),
            End::Signal(signal) => (None, Some(signal)),
            End::LetGo => (None, None),
        };
        let remarks: Vec<_> = self.remarks(traced, failures).iter().map(|text| context.say(text)).collect();
        serde_json::json!({
            "schema": "sickbay/trace/v1", "status": status, "signal": signal, "processes": traced.processes, "failures": each,
            "remarks": remarks,
        })
    }
}

/// A name that is there, and leads nowhere.
fn dangling(cause: &Cause) -> Option<Text> {
    let root = Root::host().ok()?;
    let paths: Vec<&str> = match cause {
        Cause::Library { candidates, .. } => candidates.iter().map(String::as_str).collect(),
        Cause::Missing(path) | Cause::Program(path) | Cause::Interpreter(path) => vec![path],
        _ => Vec::new(),
    };
    let leads = |path: &&str| path.starts_with('/') && root.read_link(path).is_ok() && root.stat(path).is_err();
    let path = paths.into_iter().find(leads)?;
    let to = root.read_link(path).ok()?;
    Some(tr!("{path} is a link to {to}, which is not there", path, to = to.as_path()))
}

/// Why a process may not be followed.
fn refused(pid: u32, error: &std::io::Error) -> Failure {
    let root = Root::host();
    let scope = root.ok().and_then(|root| root.read(Path::new("/proc/sys/kernel/yama/ptrace_scope")).ok());
    let is_narrow = scope.is_some_and(|text| !text.starts_with(b"0"));
    Failure(match error.kind() {
        std::io::ErrorKind::PermissionDenied if is_narrow => {
            tr!(
                "process {pid} may not be traced: only root may, as kernel.yama.ptrace_scope says, and nobody while another traces it",
                pid
            )
        }
        std::io::ErrorKind::PermissionDenied => {
            tr!("process {pid} may not be traced: it is another user's, or another program traces it", pid)
        }
        _ if error.raw_os_error() == Some(3) => tr!("there is no process {pid}", pid),
        _ => tr!("process {pid} may not be traced: {error}", pid, error = error.to_string()),
    })
}
