//! The hardware reports errors.

use sickbay_formats::kernel_log::Kind;

use crate::facts::Facts;
use crate::facts::logs::seen::{Seen, kernel_log};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::{check, tr};

check! {
    /// ## What it finds
    /// Machine check exceptions, `[Hardware Error]` of the firmware (APEI) and EDAC's corrected (CE) and uncorrected
    /// (UE) errors of memory.
    ///
    /// ## Why it matters
    /// Corrected errors that repeat at one place are a module that is about to fail. Uncorrected ones kill programs or
    /// the machine, and may have damaged data.
    ///
    /// ## What the repair does
    /// Nothing. Replace the module or processor that the words name; on a cloud, move the instance to another host.
    "hardware-errors", Logs, seed = [], proves = [], "the hardware reports errors"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let log = kernel_log(facts, found)?;
    let Some(seen) = Seen::of(&log, Kind::Hardware) else { return Ok(()) };
    let uncorrected = seen.each.iter().any(|error| error.detail == "uncorrected");
    let grave = if uncorrected { Severity::Error } else { Severity::Warning };
    let finding = found.add(log.severity(grave), tr!("the hardware reports errors: {tasks}", tasks = seen.subjects()));
    seen.describe(finding);
    finding.why(tr!("a module that errs again and again is about to fail; move off this hardware"));
    finding.by_hand(tr!("replace the part that the words name, or move to other hardware"));
    Ok(())
}
