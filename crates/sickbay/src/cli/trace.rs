//! `sickbay trace -- CMD`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use sickbay_formats::elf;
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
            if let Some(seen) = seen(&failure.cause) {
                out.push_str(&format!("  {}\n", say(&seen)));
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
        // Whoever sent SIGTERM or Ctrl-C knows why it ended.
        let ended_well = matches!(traced.end, End::Status(0) | End::LetGo | End::Signal(2 | 15)) || traced.too_many;
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
                    "link": seen(&failure.cause).map(|link| context.say(&link)),
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

/// What this machine shows of it: a link that leads nowhere, the interpreter, the mode that refuses.
fn seen(cause: &Cause) -> Option<Text> {
    let root = Root::host().ok()?;
    let paths: Vec<PathBuf> = match cause {
        Cause::Library { candidates, .. } => candidates.iter().map(PathBuf::from).collect(),
        Cause::Missing(path)
        | Cause::Program(path)
        | Cause::Interpreter(path)
        | Cause::NotExecutable(path)
        | Cause::Format(path)
        | Cause::Refused(path, _) => vec![in_full(path)?],
        _ => return None,
    };
    let leads = |path: &&PathBuf| path.is_absolute() && root.read_link(path).is_ok() && root.stat(path).is_err();
    if let Some(path) = paths.iter().find(leads) {
        let to = root.read_link(path).ok()?;
        return Some(tr!("{path} is a link to {to}, which is not there", path = path.as_path(), to = to.as_path()));
    }
    let path = paths.first()?;
    match cause {
        Cause::Program(_) | Cause::Interpreter(_) => interpreter(&root, path),
        Cause::Format(_) => format_of(&root, path),
        Cause::NotExecutable(_) => unentered(&root, path).or_else(|| not_executable(&root, path)),
        Cause::Refused(_, errno) if errno == "EACCES" => unentered(&root, path).or_else(|| {
            let mode = mode_of(&root, path)?;
            (mode & 0o004 == 0 || mode & 0o111 == 0).then(|| modes(&root, path)).flatten()
        }),
        Cause::Missing(_) => {
            let above = path.ancestors().skip(1).find(|above| root.stat(above).is_ok())?;
            let gone = path.ancestors().find(|below| below.parent() == Some(above))?;
            (gone != path.as_path()).then(|| tr!("the directory {path} is not there either", path = gone))
        }
        _ => None,
    }
}

/// A path from `/` on; names that begin here are taken to mean this directory, in which the command was started.
fn in_full(path: &str) -> Option<PathBuf> {
    match path {
        _ if path.starts_with('/') => Some(PathBuf::from(path)),
        _ if path.contains('/') => Some(std::env::current_dir().ok()?.join(path.trim_start_matches("./"))),
        _ => None,
    }
}

fn mode_of(root: &Root, path: &Path) -> Option<u32> {
    root.stat(path).ok().map(|found| found.mode & 0o7777)
}

fn modes(root: &Root, path: &Path) -> Option<Text> {
    let found = root.stat(path).ok()?;
    let mode = format!("{:04o}", found.mode & 0o7777);
    Some(tr!(
        "{path} has mode {mode} and belongs to UID {uid}, GID {gid}",
        path,
        mode,
        uid = found.uid,
        gid = found.gid
    ))
}

/// The first directory on the way that others may not enter.
fn unentered(root: &Root, path: &Path) -> Option<Text> {
    let mut above: Vec<&Path> = path.ancestors().skip(1).collect();
    above.reverse();
    let closed = above.into_iter().find(|dir| mode_of(root, dir).is_some_and(|mode| mode & 0o001 == 0))?;
    modes(root, closed)
}

fn not_executable(root: &Root, path: &Path) -> Option<Text> {
    let found = root.stat(path).ok()?;
    if found.is_dir() {
        return Some(tr!("{path} is a directory", path));
    }
    if found.mode & 0o111 != 0o111 {
        return modes(root, path);
    }
    // The mount with the longest path that it is below, of several the last.
    let mounts = root.read("/proc/self/mounts").ok()?;
    let real = root.canonical(path).ok()?;
    let of_line = |line: &str| {
        let mut words = line.split(' ').skip(1);
        let (at, options) = (PathBuf::from(words.next()?.replace("\\040", " ")), words.nth(1)?.to_owned());
        real.starts_with(&at).then_some((at, options))
    };
    let text = String::from_utf8_lossy(&mounts).into_owned();
    let (at, options) = text.lines().filter_map(of_line).max_by_key(|(at, _)| at.components().count())?;
    options.split(',').any(|option| option == "noexec").then(|| tr!("{path} is mounted noexec", path = at.as_path()))
}

/// What runs a program, where that is missing.
fn interpreter(root: &Root, path: &Path) -> Option<Text> {
    let head = root.read_head(path, 256).ok()?;
    let name = match head.strip_prefix(b"#!") {
        Some(line) => {
            let line = line.split(|byte| *byte == b'\n').next()?.trim_ascii_start();
            let name = line.split(|byte| matches!(byte, b' ' | b'\t')).next()?;
            if let Some(name) = name.strip_suffix(b"\r") {
                return Some(tr!(
                    "its first line ends in a carriage return, which the kernel takes for a part of the name {name}: the file has the line ends of Windows",
                    name = String::from_utf8_lossy(name).into_owned()
                ));
            }
            name.to_vec()
        }
        None => elf::parse(root.read(path).ok()?.as_slice()).ok()?.interpreter?.to_vec(),
    };
    let name = PathBuf::from(String::from_utf8_lossy(&name).into_owned());
    Some(match root.stat(&name) {
        Ok(_) => tr!("its interpreter is {name}", name = name.as_path()),
        Err(_) => tr!("its interpreter is {name}, which is not there", name = name.as_path()),
    })
}

fn format_of(root: &Root, path: &Path) -> Option<Text> {
    let head = root.read_head(path, 64).ok()?;
    if head.is_empty() {
        return Some(tr!("{path} is empty", path));
    }
    match elf::parse(root.read(path).ok()?.as_slice()) {
        Ok(elf) => Some(tr!("{path} is a program for {machine}", path, machine = elf.abi.name())),
        Err(_) if !head.starts_with(b"\x7fELF") && !head.starts_with(b"#!") => {
            Some(tr!("{path} has neither #! in its first line nor the beginning of a program", path))
        }
        Err(_) => None,
    }
}

/// Why a process may not be followed.
fn refused(pid: u32, error: &std::io::Error) -> Failure {
    let root = Root::host();
    let scope = root.ok().and_then(|root| root.read(Path::new("/proc/sys/kernel/yama/ptrace_scope")).ok());
    let is_narrow = scope.is_some_and(|text| !text.starts_with(b"0"));
    // Field 3 of proc_pid_stat(5) is the state, field 9 the flags: PF_KTHREAD of the kernel.
    let stat = Root::host().map(|root| root.read(format!("/proc/{pid}/stat")).unwrap_or_default());
    let stat = String::from_utf8_lossy(&stat.unwrap_or_default()).into_owned();
    let fields: Vec<&str> =
        stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
    let flags: u64 = fields.get(6).and_then(|flags| flags.parse().ok()).unwrap_or(0);
    if matches!(fields.first(), Some(&"Z" | &"X")) {
        return Failure(tr!(
            "process {pid} has ended, and only its parent has not taken note of it: there is nothing to trace",
            pid
        ));
    }
    if flags & 0x0020_0000 != 0 {
        return Failure(tr!("process {pid} is a thread of the kernel: there is nothing to trace", pid));
    }
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
