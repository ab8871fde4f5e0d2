//! `sickbay explain`: a check, a finding, or a question about this machine.

mod alloc;
mod finding;
mod limits;
mod memory;
mod sockets;
mod symptom;

use std::path::Path;
use std::sync::Arc;

use sickbay_target::{Access, Options, Target};

use self::limits::Whom;
use super::{Context, Failure, Format};
use crate::facts::Facts;
use crate::{checks, tr};

/// Explain a check, a finding, an error message, or where the memory is
///
/// A check's id: what it means, why it matters, how to repair it by hand.
///
/// A check's id or the number of a finding (F1), and the TARGET that it was found in: all that is known of it, such as the whole
/// table of an OOM report.
///
/// `memory`: where the memory of this machine is. `alloc SIZE`: whether a program can get that much.
///
/// `limits PID`, `limits UNIT`, `limits USER`: each resource limit, layer by layer with file and line, what of it counts, and
/// what it will be after a restart; of a unit or a user also for a TARGET that does not run.
///
/// `sockets`: every TCP socket of this machine, by state, destination, owner and network namespace, up to the kernel's own sum.
///
/// The text of an error: what may cause it, and what on this machine speaks for and against each cause.
#[derive(Debug, clap::Args)]
pub(super) struct Explain {
    /// A check's id, alone or with a TARGET; the number of a finding and its TARGET; `memory`, `alloc SIZE`,
    /// `limits PID|UNIT|USER [TARGET]`, `sockets`, or the text of an error
    #[arg(required = true)]
    what: Vec<String>,
    /// `alloc`: asked for by this process. `limits`: those of this process
    #[arg(long, value_name = "PID", conflicts_with = "user")]
    pid: Option<u32>,
    /// `alloc`: asked for by a new process of this user. `limits`: those of this user's logins
    #[arg(long)]
    user: Option<String>,
    /// `memory`: also the exact share of every process (PSS); takes longer
    #[arg(long)]
    pss: bool,
}

impl Explain {
    pub(super) fn run(&self, context: &Context) -> Result<u8, Failure> {
        let words: Vec<&str> = self.what.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["sockets"] => sockets::explain(context),
            ["memory"] => memory::explain(context, self.pss || context.style.verbose),
            ["alloc"] => Err(Failure(tr!("say how much: sickbay explain alloc 4G"))),
            ["alloc", size] => alloc::explain(context, size, self.pid, self.user.as_deref()),
            ["limits", rest @ ..] => self.limits(context, rest),
            [number] if finding::number(number).is_some() => finding::numbered(context, number, None),
            [number, target] if finding::number(number).is_some() => finding::numbered(context, number, Some(target)),
            [id, target] if checks::ALL.iter().any(|check| check.id == *id) => finding::of_check(context, id, target),
            [id] if checks::ALL.iter().any(|check| check.id == *id) => self.check(context, id),
            _ => symptom::explain(context, &words.join(" ")),
        }
    }

    fn limits(&self, context: &Context, words: &[&str]) -> Result<u8, Failure> {
        match (self.pid, &self.user, words) {
            (Some(pid), _, []) => limits::explain(context, Whom::Process(pid), None),
            (_, Some(user), []) => limits::explain(context, Whom::User(user.clone()), None),
            (_, Some(user), [target]) => limits::explain(context, Whom::User(user.clone()), Some(target)),
            (None, None, [word]) => limits::explain(context, Whom::Word((*word).to_owned()), None),
            (None, None, [word, target]) => limits::explain(context, Whom::Word((*word).to_owned()), Some(target)),
            _ => Err(Failure(tr!("say of whom: sickbay explain limits PID, UNIT or USER"))),
        }
    }

    fn check(&self, context: &Context, id: &str) -> Result<u8, Failure> {
        for check in checks::chosen(&[id.to_owned()]).map_err(Failure)? {
            let (title, page) = check.explanation(context.style.lang);
            if context.format == Format::Json {
                context.print_json(&serde_json::json!({
                    "check": check.id, "area": check.area, "seed": check.seed, "title": title, "page": page,
                }))?;
            } else {
                context.print(&format!("# {}: {title}\n\n{}\n", check.id, page.trim()));
            }
        }
        Ok(0)
    }
}

/// Facts of this machine.
fn host() -> Result<Arc<Facts>, Failure> {
    // The kernel is asked, not the system.
    let options = Options { any_directory: true, ..Options::default() };
    Ok(Arc::new(Facts::new(Arc::new(Target::open(None, &options)?), None)))
}

impl From<crate::model::outcome::Skip> for Failure {
    fn from(skip: crate::model::outcome::Skip) -> Failure {
        match skip {
            crate::model::outcome::Skip::Unknown(why) | crate::model::outcome::Skip::NotApplicable(why) => Failure(why),
        }
    }
}

/// Facts of this machine's memory: without its disks, which would have to be read.
fn host_without_disks() -> Result<Arc<Facts>, Failure> {
    let target = Target::described(Path::new("/"), Access::ReadOnly, Vec::new(), &[])?.taken_for_running()?;
    Ok(Arc::new(Facts::new(Arc::new(target), None)))
}

/// How long a question may take: reading a process can wait for a lock that it never gives back.
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(20);

/// Runs `work` beside this thread and gives up waiting for it after the deadline.
fn within<T: Send + 'static>(work: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Result<T, Failure> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let beside = move || drop(sender.send(work()));
    std::thread::Builder::new()
        .spawn(beside)
        .map_err(|error| Failure(tr!("no thread can be started: {error}", error = error.to_string())))?;
    receiver
        .recv_timeout(DEADLINE)
        .map_err(|_| Failure(tr!("it took longer than {seconds} s", seconds = DEADLINE.as_secs())))?
}
