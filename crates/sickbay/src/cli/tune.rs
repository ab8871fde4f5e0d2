//! `sickbay tune`.

use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sickbay_formats::{procfs, tuning};
use sickbay_target::{Access, Options, Root, Target};

use super::ask::{Answers, aside};
use super::{Aid, Context, Failure, Format, TargetArgs, UNTOLD};
use crate::engine::rounds;
use crate::facts::Facts;
use crate::model::diagnosis::Diagnosis;
use crate::model::repair::Risk;
use crate::model::source::SourceFile;
use crate::model::text::Text;
use crate::repair::plan::{Plan, Step};
use crate::report::tune as report;
use crate::tr;
use crate::tune::advice::{Advice, Advices, Held, advise, held};
use crate::tune::capacity::{self, Question};
use crate::tune::change;
use crate::tune::kernel::{Kernel, Machine};
use crate::tune::lint::Lint;
use crate::tune::work::Work;

/// Under this name it is in the journal.
const ID: &str = "tune";

/// Headings of `--help`.
const LINT: &str = "A list";
const MACHINE: &str = "This machine";
const CAPACITY: &str = "Capacity";

/// Judge kernel parameters and limits: a list that somebody sets, or this machine
///
/// Without --lint: what this machine would gain from, by what runs on it, with what each value is now and which line sets it. What is
/// well is not spoken of. A bundle tells as much; a root or a disk, which does not run, what its files set and what its kernel does
/// without them. --apply writes /etc/sysctl.d/99-sickbay-tune.conf, and for limits a drop-in of the unit, sets the values of
/// now, and looks whether they hold now and after a restart; `undo` takes it back.
///
/// With --lint, every line of a sysctl.conf, a limits.conf, a unit or a script is judged: good, default already, without effect,
/// to be adapted, harmful, absent from that kernel, unknown, malformed, or at odds with another line.
///
/// With --capacity: how many connections and requests the settings of this host carry, which limit binds first and which next, how
/// many hosts a peak needs, and whether it is the host at all that binds.
///
/// Exit status: 0 when nothing is recommended or the list can be taken as it is, 1 when something is recommended, refused, adapted or
/// malformed, or a peak is too much, 2 when it cannot be read, understood or done.
#[derive(Debug, clap::Args)]
pub(super) struct Tune {
    /// A running system's bundle, a root, a disk or an image [default: this machine]
    target: Option<PathBuf>,
    /// What the machine is for [default: judged by what runs on it]
    #[arg(long = "for", value_enum, value_name = "WORK", help_heading = MACHINE, conflicts_with = "lint")]
    work: Option<Work>,
    /// Show what would be changed, ask, and change it
    #[arg(long, help_heading = MACHINE, conflicts_with = "lint")]
    apply: bool,
    /// Only this parameter, or the limit of this unit; can be given several times
    #[arg(long, value_name = "KEY", help_heading = MACHINE, conflicts_with = "lint")]
    only: Vec<String>,
    /// With --apply, also apply what is marked risky: right most of the time, but not always
    #[arg(long, help_heading = MACHINE, requires = "apply")]
    risky: bool,
    /// With --apply, do it without asking
    #[arg(long, short = 'y', help_heading = MACHINE, requires = "apply")]
    yes: bool,
    /// Judge this list; - reads standard input
    #[arg(long, value_name = "FILE", help_heading = LINT)]
    lint: Option<PathBuf>,
    /// The kernel to judge for: 3.10.0-1160.el7, 6.1, el9, or any [default: this machine's]
    #[arg(long, value_name = "RELEASE", help_heading = LINT, requires = "lint")]
    kernel: Option<String>,
    /// How much memory the machine has, such as 8G [default: this machine's]
    #[arg(long, value_name = "SIZE", help_heading = LINT, requires = "lint")]
    memory: Option<String>,
    /// How many processors the machine has [default: this machine's]
    #[arg(long, value_name = "N", help_heading = LINT, requires = "lint")]
    cpus: Option<u64>,
    /// What the settings of this host carry, and which limit binds first
    #[arg(long, help_heading = CAPACITY, conflicts_with_all = ["lint", "apply", "work"])]
    capacity: bool,
    /// A peak that all hosts together have to carry: 220000conn,18534rps,5Gbps
    #[arg(long, value_name = "PEAK", help_heading = CAPACITY, requires = "capacity")]
    peak: Option<String>,
    /// What the load balancer before them passes on: 5Gbps,200backends
    #[arg(long, value_name = "LIMITS", help_heading = CAPACITY, requires = "capacity")]
    lb: Option<String>,
    /// Connections of one host's pool to redis or a database, and how many milliseconds a request holds one: 20,5
    #[arg(long, value_name = "SIZE,MS", help_heading = CAPACITY, requires = "capacity")]
    pool: Option<String>,
    /// How many hosts there are [default: as many as are needed]
    #[arg(long, value_name = "N", help_heading = CAPACITY, requires = "capacity")]
    hosts: Option<u64>,
}

impl Tune {
    pub(super) fn run(&self, context: &Context) -> Result<u8, Failure> {
        match &self.lint {
            Some(path) => self.judge(context, path),
            None if self.capacity => self.carries(context),
            None if self.apply => self.apply(context),
            None => {
                let advices = self.look(&self.facts(Access::ReadOnly)?)?;
                match context.format {
                    Format::Json => context.print_json(&report::advice_json(&advices, None, context.style.lang))?,
                    Format::Text => context.print(&report::advice(&advices, &context.style)),
                }
                Ok(u8::from(!advices.list.is_empty()))
            }
        }
    }

    /// Facts of the machine, without its disks, which would have to be read, or of what else was named.
    fn facts(&self, access: Access) -> Result<Facts, Failure> {
        let path = self.target.as_deref().unwrap_or(Path::new("/"));
        let target = if path == Path::new("/") {
            Target::described(path, access, Vec::new(), &[])?.taken_for_running()?
        } else if access == Access::ReadWrite {
            return Err(Failure(tr!(
                "{path} does not run here, and what it needs only its own work shows: sickbay tune --apply is for this machine",
                path
            )));
        } else {
            Target::open(Some(path), &Options { access, ..Options::default() })?
        };
        Ok(Facts::new(Arc::new(target), None))
    }

    /// What is recommended, as far as it was asked for.
    fn look(&self, facts: &Facts) -> Result<Advices, Failure> {
        let mut advices = advise(facts, self.work)?;
        let is_asked = |advice: &Advice| {
            let name = advice.what.name();
            self.only.is_empty() || self.only.iter().any(|only| name == *only || name.split(' ').next() == Some(only))
        };
        advices.list.retain(is_asked);
        Ok(advices)
    }

    /// Does what is recommended: shown, asked for, journalled.
    fn apply(&self, context: &Context) -> Result<u8, Failure> {
        if !self.yes && !std::io::stdin().is_terminal() {
            return Err(Failure(tr!(
                "standard input is no terminal to ask on: give --yes, or leave out --apply to only look"
            )));
        }
        let aid = Aid { with: Vec::new(), follow_images: false, donor: None, package: Vec::new() };
        if !super::cut_off::take_back(context, &TargetArgs { target: self.target.clone(), aid }, None, self.yes)? {
            return Ok(UNTOLD);
        }
        let facts = self.facts(Access::ReadWrite)?;
        let advices = self.look(&facts)?;
        if context.format == Format::Text {
            context.print(&report::advice(&advices, &context.style));
            context.print("\n");
        }
        let is_taken = |advice: &&Advice| advice.risk == Risk::Safe || self.risky && advice.risk == Risk::Risky;
        let taken: Vec<Advice> = advices.list.iter().filter(is_taken).cloned().collect();
        let Some(repair) = change::repair(&facts, &taken)? else {
            aside(context, &format!("{}\n", context.say(&tr!("nothing was changed"))));
            if context.format == Format::Json {
                context.print_json(&report::advice_json(&advices, None, context.style.lang))?;
            }
            return Ok(u8::from(!advices.list.is_empty()));
        };
        let mut plan = Plan { steps: vec![Step::ordered(ID, repair)] };
        let nothing = Diagnosis { outcomes: Vec::new(), findings: Vec::new(), said: Vec::new(), took: Duration::ZERO };
        let agreed = Answers::new(self.yes).decide(context, &nothing, &mut plan, true);
        let Some(step) = plan.steps.first().filter(|_| agreed) else {
            aside(context, &format!("{}\n", context.say(&tr!("nothing was changed"))));
            return Ok(UNTOLD);
        };
        let journal = rounds::order(facts.target(), None, step)?;
        drop(facts);
        let after = self.facts(Access::ReadOnly)?;
        let held: Vec<Option<Held>> =
            advices.list.iter().map(|advice| is_taken(&advice).then(|| held(&after, advice))).collect();
        match context.format {
            Format::Json => {
                context.print_json(&report::advice_json(&advices, Some((&journal, &held)), context.style.lang))?;
            }
            Format::Text => context.print(&report::held(&advices, &journal, &held, &context.style)),
        }
        Ok(u8::from(!held.iter().all(|held| held.as_ref().is_some_and(|held| held.holds))))
    }

    /// What the settings of this host carry.
    fn carries(&self, context: &Context) -> Result<u8, Failure> {
        let no = |part: String| Failure(tr!("{part} is no amount: 220000conn, 18534rps, 5Gbps, 200backends", part));
        let peak = self.peak.as_deref().map(capacity::peak).transpose().map_err(no)?.unwrap_or_default();
        let balancer = self.lb.as_deref().map(capacity::balancer).transpose().map_err(no)?.unwrap_or_default();
        let pool = match self.pool.as_deref() {
            Some(text) => {
                let pool = capacity::pool(text);
                Some(pool.ok_or_else(|| {
                    Failure(tr!("{text} is no pool: 20,5 are 20 connections, each held for 5 ms", text))
                })?)
            }
            None => None,
        };
        let question = Question { peak, balancer, pool, hosts: self.hosts.filter(|hosts| *hosts > 0) };
        let capacity = capacity::capacity(&self.facts(Access::ReadOnly)?, question)?;
        match context.format {
            Format::Json => context.print_json(&report::capacity_json(&capacity, context.style.lang))?,
            Format::Text => context.print(&report::capacity(&capacity, &context.style)),
        }
        Ok(u8::from(capacity.binds.is_some()))
    }

    /// What is said of a list.
    fn judge(&self, context: &Context, path: &Path) -> Result<u8, Failure> {
        let file = list(path)?;
        let here = this_machine();
        let memory = match &self.memory {
            Some(text) => Some(kib(text)?),
            None => here.as_ref().and_then(|machine| machine.memory),
        };
        let cpus = self.cpus.or(here.as_ref().and_then(|machine| machine.cpus));
        // Those of this machine count for this machine.
        let is_here = self.kernel.is_none() && self.memory.is_none() && self.cpus.is_none();
        let bounds = here.as_ref().filter(|_| is_here).map(|machine| machine.bounds).unwrap_or_default();
        let kernel = match self.kernel.as_deref() {
            Some("any") => None,
            Some(text) => match Kernel::parse(text) {
                Some(kernel) => Some(kernel),
                None => {
                    return Err(Failure(tr!("{text} is no release of a kernel: 3.10.0-1160.el7, 6.1, el9, any", text)));
                }
            },
            None => here.map(|machine| machine.kernel).filter(|kernel| kernel.version != (0, 0)),
        };
        let lint = Lint::of(&file, kernel, memory, cpus, bounds);
        if lint.lines.len() >= tuning::MOST {
            return Err(Failure(tr!("{path} sets {most} values and more: no list", path, most = tuning::MOST)));
        }
        if !lint.is_list() {
            return Err(Failure(tr!("{path} sets no kernel parameter and no limit", path = file.path.as_path())));
        }
        match context.format {
            Format::Json => context.print_json(&report::lint_json(&lint, context.style.lang))?,
            Format::Text => context.print(&report::lint(&lint, &context.style)),
        }
        Ok(u8::from(lint.objects()))
    }
}

/// This machine's kernel, memory and processors, as far as they can be told.
fn this_machine() -> Option<Machine> {
    let target = Target::described(Path::new("/"), Access::ReadOnly, Vec::new(), &[]).ok()?.taken_for_running().ok()?;
    Machine::of(&Facts::new(std::sync::Arc::new(target), None)).ok()
}

/// A size of memory in KiB.
fn kib(text: &str) -> Result<u64, Failure> {
    match procfs::size(text).filter(|bytes| *bytes >= 1 << 20) {
        Some(bytes) => Ok(bytes >> 10),
        None => Err(Failure(tr!("{text} is not a size: 4G, 512M, 4294967296", text))),
    }
}

/// Nobody's list is larger.
const LARGEST: u64 = 1 << 20;

/// The list that is to be judged.
fn list(path: &Path) -> Result<SourceFile, Failure> {
    let cannot = |error: std::io::Error| Failure(Text::verbatim(format!("{}: {error}", path.display())));
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().lock().take(LARGEST + 1).read_to_end(&mut bytes).map_err(cannot)?;
    } else {
        let absolute = std::path::absolute(path).map_err(cannot)?;
        bytes =
            Root::host()?.read_up_to(&absolute, LARGEST).map_err(|error| Failure(Text::verbatim(error.to_string())))?;
    }
    if bytes.len() as u64 > LARGEST {
        return Err(Failure(tr!("{path} is longer than {mib} MiB: no list", path, mib = LARGEST >> 20)));
    }
    Ok(SourceFile { path: path.to_owned(), bytes })
}
