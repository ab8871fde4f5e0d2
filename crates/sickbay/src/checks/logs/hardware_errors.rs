//! The hardware reports errors.

use sickbay_formats::kernel_log::Kind;

use crate::facts::Facts;
use crate::facts::logs::seen::{Seen, kernel_log};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "mce: [Hardware Error]", "EDAC MC0: 1 CE …" or "{1}[Hardware Error]: …" in the kernel log; programs or
    /// the machine may die without another reason.
    ///
    /// ## What it finds
    /// Machine check exceptions, the firmware's `[Hardware Error]` (APEI) and EDAC's corrected (CE) and uncorrected
    /// (UE) memory errors.
    ///
    /// ## Why it matters
    /// Corrected errors that repeat at one location are a module that is about to fail. Uncorrected ones kill programs
    /// or the machine, and may have damaged data.
    ///
    /// ## What the repair does
    /// Nothing. Replace the module or CPU that the message names; on a cloud, move the instance to another host.
    ///
    /// ## By hand
    /// ```sh
    /// ras-mc-ctl --errors
    /// edac-util -v
    /// ```
    "hardware-errors", Logs, seed = [], proves = [], "the hardware reports errors"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let log = kernel_log(facts, found)?;
    let Some(seen) = Seen::of(&log, Kind::Hardware) else { return Ok(()) };
    let uncorrected = seen.each.iter().any(|error| error.detail == "uncorrected");
    let grave = if uncorrected { Severity::Error } else { Severity::Warning };
    let finding = found.add(log.severity(grave), tr!("the hardware reports errors: {tasks}", tasks = seen.subjects()));
    seen.describe(finding);
    finding.why(tr!("a memory module that reports errors again and again is about to fail; move off this hardware"));
    finding.by_hand(tr!("replace the part that the message names, or move to other hardware"));
    Ok(())
}
