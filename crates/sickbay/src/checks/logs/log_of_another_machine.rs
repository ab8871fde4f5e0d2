//! A log that was given along with a system is another system's.

use crate::facts::Facts;
use crate::facts::logs::kernel_log::KernelLog;
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict};
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: `sickbay check DISK --with console.log` reports what the files of the disk do not show.
    ///
    /// ## What it finds
    /// A log given with `--with` that another machine wrote: it names another host, and neither its kernel nor the UUID
    /// of its root is on this system; or, where it names no host, neither of the two is.
    ///
    /// ## Why it matters
    /// What such a log says is true of the other machine, and says nothing of this one.
    ///
    /// ## What the repair does
    /// Nothing. Give the log of this machine, or the disk of the other one.
    ///
    /// ## By hand
    /// ```sh
    /// grep -m1 'Linux version' LOG
    /// grep -m1 'Command line' LOG
    /// cat ROOT/etc/hostname
    /// ```
    "log-of-another-machine", Logs, seed = [], proves = [], "a given log is another machine's"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    if facts.target().logs().is_ok() || facts.target().given_logs().is_empty() {
        return Err(Skip::NotApplicable(tr!("no log was given along with a system")));
    }
    let log = facts.get::<KernelLog>()?;
    let Some(why) = log.foreign.clone() else { return Ok(()) };
    let path = log.source(0);
    found
        .warning(tr!("{path} seems to be another machine's: {why}", path = path.as_path(), why))
        .at_path(&path)
        .why(tr!("what it says is not joined with what the files of this system show"))
        .by_hand(tr!("give the log of this machine, or the disk of the other one"));
    Ok(())
}
