//! `sickbay explain`: a check, a finding, or a question about this machine.

mod alloc;
mod filter;
mod finding;
mod jitter;
mod limits;
mod load;
mod memory;
mod network;
mod over_time;
mod sockets;
mod symptom;
mod sysctl;

use std::path::PathBuf;
use std::sync::Arc;

use sickbay_target::{Options, Target};

use self::limits::Whom;
use self::over_time::What;
use super::{Context, Failure, Format, Past, this_machine};
use crate::facts::Facts;
use crate::report::documents::{ExplainedCheckV1, ListedCheckV1};
use crate::{checks, tr};

/// Explain a check, a finding, an error message, where memory goes, what makes up the load, or the network
///
/// A check's id: what it means, why it matters, how to repair it by hand.
///
/// A check's id or a finding's number (F1), and the TARGET it was found in: everything that is known about it, such as
/// the full table of an OOM report.
///
/// `memory`: where this machine's memory goes. `alloc SIZE`: whether a program can get that much. `load`: what makes up the load
/// average, watched for 5 s or as long as `--for` says; of a recording, or of this machine in the past, with `--at` or `--from`.
///
/// `cpu`, `irq`, `io`: the whole table of what processors, interrupts or disks did, watched for a second or as long as `--for` says,
/// or of a recording or of files that sar, iostat, iotop, pidstat, atop, vmstat or top wrote.
///
/// `network`: the addresses and routes that a machine, or the TARGET, has after a restart, in whichever dialect its network is
/// configured; and which lines do not do what they seem to.
///
/// `filter --packet 'tcp from 1.2.3.4 to :22'`: what becomes of one packet in the packet filter of this machine, or of the TARGET's
/// files, rule by rule; without --packet of one from outside to each port that a server is configured for. A packet is a protocol
/// and any of `from ADDRESS[:PORT]`, `to [ADDRESS][:PORT]`, `in CARD`, `established`, `output`.
///
/// `sysctl KEY`, with a TARGET or for this machine: every file that sets the kernel parameter, in the order of a boot, which one wins,
/// what it is now, and what it does.
///
/// `limits PID`, `limits UNIT`, `limits USER`: each resource limit, layer by layer with file and line, which of them counts, and
/// what it will be after a restart; of a unit or a user also for a TARGET that is not running.
///
/// `sockets`: every TCP socket of this machine, by state, destination, owner and network namespace, up to the kernel's own sum.
///
/// `jitter`: for how long each CPU stood still, watched for 5 s or as long as `--for` says; who reads /proc/slabinfo meanwhile, and
/// what that costs here.
///
/// The text of an error message: possible causes, and the evidence on this machine for and against each.
#[derive(Debug, clap::Args)]
pub(super) struct Explain {
    /// A check's id, alone or with a TARGET; a finding's number and its TARGET; `memory`, `alloc SIZE`,
    /// `load|cpu|irq|io [TARGET]`, `network [TARGET]`, `filter [TARGET]`, `sysctl KEY`,
    /// `limits PID|UNIT|USER [TARGET]`, `sockets`, `jitter`, or the text of an error message
    #[arg(required = true)]
    what: Vec<String>,
    /// `alloc`: requested by this process. `limits`: those of this process
    #[arg(long, value_name = "PID", conflicts_with = "user")]
    pid: Option<u32>,
    /// `alloc`: requested by a new process of this user. `limits`: those of this user's logins
    #[arg(long)]
    user: Option<String>,
    /// `sockets`: nothing but how many are in each state; a fraction of the cost
    #[arg(long)]
    states: bool,
    /// `memory`: also the exact share of every process (PSS); takes longer
    #[arg(long)]
    pss: bool,
    /// `load`, `cpu`, `irq`, `io`, `jitter`: how long to watch: 10s, 2m, 1h
    #[arg(long = "for", value_name = "TIME")]
    time: Option<String>,
    #[command(flatten)]
    past: Past,
    /// `network`: the cards that the machine has, as JSON: {"interfaces": [{"name": "eth0", "mac": "52:54:00:12:34:56"}]}
    #[arg(long, value_name = "FILE")]
    links: Option<PathBuf>,
    /// `filter`: the packet, as in 'tcp from 1.2.3.4 to :22'
    #[arg(long)]
    packet: Option<String>,
    /// `filter`: also the rules of a cloud's security group, as JSON of `aliyun ecs DescribeSecurityGroupAttribute` or `aws ec2
    /// describe-security-groups`
    #[arg(long, value_name = "FILE")]
    security_group: Option<PathBuf>,
}

impl Explain {
    pub(super) fn run(&self, context: &Context) -> Result<u8, Failure> {
        let words: Vec<&str> = self.what.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["sockets"] if self.states => sockets::states(context),
            ["sockets"] => sockets::explain(context),
            ["jitter"] => jitter::explain(context, self.time.as_deref()),
            ["memory"] => memory::explain(context, self.pss || context.style.verbose),
            ["load", targets @ ..] if targets.iter().all(|target| is_target(target)) => {
                load::explain(context, targets, self.time.as_deref(), &self.past)
            }
            [word, targets @ ..] if What::of(word).is_some() && targets.iter().all(|target| is_target(target)) => {
                let what = What::of(word).unwrap_or(What::Cpu);
                over_time::explain(context, what, targets, self.time.as_deref(), &self.past)
            }
            ["alloc"] => Err(Failure(tr!("give a size: sickbay explain alloc 4G"))),
            ["alloc", size] => alloc::explain(context, size, self.pid, self.user.as_deref()),
            ["network"] => network::explain(context, None, self.links.as_deref()),
            ["network", target] if network::is_there(target) => {
                network::explain(context, Some(target), self.links.as_deref())
            }
            ["filter"] => self.filter(context, None),
            ["filter", target] if network::is_there(target) => self.filter(context, Some(target)),
            ["sysctl"] => Err(Failure(tr!("say which: sickbay explain sysctl net.core.somaxconn"))),
            ["sysctl", key] => sysctl::explain(context, key, None),
            ["sysctl", key, target] => sysctl::explain(context, key, Some(target)),
            ["limits", rest @ ..] => self.limits(context, rest),
            [number] if finding::number(number).is_some() => finding::numbered(context, number, None),
            [number, target] if finding::number(number).is_some() => finding::numbered(context, number, Some(target)),
            [id, target] if checks::ALL.iter().any(|check| check.id == *id) => finding::of_check(context, id, target),
            [id] if checks::ALL.iter().any(|check| check.id == *id) => self.check(context, id),
            _ => symptom::explain(context, &words.join(" ")),
        }
    }

    fn filter(&self, context: &Context, target: Option<&str>) -> Result<u8, Failure> {
        filter::explain(context, target, self.packet.as_deref(), self.security_group.as_deref())
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
                let check = ListedCheckV1 { check: check.id, area: check.area, seed: check.seed, title };
                context.print_json(&ExplainedCheckV1 { check, page })?;
            } else {
                context.print(&format!("# {}: {title}\n\n{}\n", check.id, without_fences(page.trim())));
            }
        }
        Ok(0)
    }
}

/// A path, and no word of an error message.
fn is_target(word: &str) -> bool {
    word.contains('/') || network::is_there(word)
}

/// A page as it is read on a terminal: commands stand indented, without the fences that Markdown puts around them.
fn without_fences(page: &str) -> String {
    let mut lines = Vec::new();
    let mut is_code = false;
    for line in page.lines() {
        match line.starts_with("```") {
            true => is_code = !is_code,
            false if is_code => lines.push(format!("    {line}")),
            false => lines.push(line.to_owned()),
        }
    }
    lines.join("\n")
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
    Ok(Arc::new(Facts::new(Arc::new(this_machine()?), None)))
}

/// How long a question may take: reading a process can wait for a lock that it never gives back.
const DEADLINE: std::time::Duration = Facts::DEADLINE;

/// Runs `work` beside this thread and gives up waiting for it after the deadline.
fn within<T: Send + 'static>(work: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Result<T, Failure> {
    within_time(DEADLINE, work)
}

/// The same with another deadline.
fn within_time<T: Send + 'static>(
    deadline: std::time::Duration,
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let beside = move || drop(sender.send(work()));
    std::thread::Builder::new()
        .spawn(beside)
        .map_err(|error| Failure(tr!("cannot start a thread: {error}", error = error.to_string())))?;
    receiver
        .recv_timeout(deadline)
        .map_err(|_| Failure(tr!("it took longer than {seconds} s", seconds = deadline.as_secs())))?
}
