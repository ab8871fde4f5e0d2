//! The hardware reports errors.

use sickbay_formats::kernel_log::{Incident, Kind};

use crate::facts::Facts;
use crate::facts::logs::kernel_log::KernelLog;
use crate::facts::logs::seen::{Seen, kernel_log};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::model::subject::Subject;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "mce: [Hardware Error]", "EDAC MC0: 1 CE …" or "{1}[Hardware Error]: …" in the kernel log; programs or
    /// the machine may die without another reason.
    ///
    /// ## What it finds
    /// Machine check exceptions, the firmware's `[Hardware Error]` (APEI), EDAC's corrected (CE) and uncorrected (UE)
    /// memory errors, and PCIe errors (AER): those that were not corrected, and as a note ten or more that
    /// were; a machine that turned itself off because it was too hot.
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

/// So many errors of the bus, corrected by itself, are worth a word.
const BUS: u64 = 10;

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let log = kernel_log(facts, found)?;
    let (uncorrected, mut corrected): (Vec<&Incident>, Vec<&Incident>) =
        log.of(Kind::Hardware).into_iter().partition(|error| error.detail == "uncorrected");
    // Beside what was logged, that something was logged is nothing more.
    if !uncorrected.is_empty() || corrected.len() > 1 {
        corrected.retain(|error| error.subject != "machine check");
    }
    for each in [uncorrected, corrected] {
        if let Some(seen) = Seen::from(&log, each) {
            report(&log, &seen, found);
        }
    }
    if let Some(seen) = Seen::of(&log, Kind::TooHot) {
        let finding = found.add(
            log.severity(Severity::Critical),
            tr!("the machine was too hot and shut itself down: {tasks}", tasks = seen.subjects()),
        );
        finding.subject(Subject::Named("heat".to_owned()));
        seen.describe(finding);
        finding.why(tr!("a temperature reached the value at which the kernel turns the power off at once"));
        finding.by_hand(tr!(
            "clean it, check fans and air; sensors and ipmitool sdr show the temperatures; a sensor may be wrong"
        ));
    }
    if let Some(seen) = Seen::of(&log, Kind::BusCorrected).filter(|seen| seen.count >= BUS) {
        let finding = found.note(tr!("the PCIe link corrects errors: {tasks}", tasks = seen.subjects()));
        finding.subject(Subject::Named("PCIe".to_owned()));
        seen.describe(finding);
        finding.why(tr!(
            "nothing is lost, but packets are sent again; a slot, a riser, a cable or power saving (ASPM) is at fault"
        ));
        finding.by_hand(tr!("reseat the card or cable; as a trial boot with pcie_aspm=off"));
    }
    Ok(())
}

fn report(log: &KernelLog, seen: &Seen<'_>, found: &mut Findings) {
    let uncorrected = seen.each.iter().any(|error| error.detail == "uncorrected");
    let grave = if uncorrected { Severity::Error } else { Severity::Warning };
    let list = seen.subjects();
    let text = match uncorrected {
        true => tr!("the hardware reports errors that it could not correct: {tasks}", tasks = list),
        false => tr!("the hardware reports errors: {tasks}", tasks = list),
    };
    let finding = found.add(log.severity(grave), text);
    finding.subject(Subject::Named(if uncorrected { "uncorrected" } else { "corrected" }.to_owned()));
    seen.describe(finding);
    // EDAC names memory, AER a device on the bus; a machine check alone names neither.
    let is_memory = seen.each.iter().any(|error| error.words.starts_with("EDAC"));
    let is_bus = seen.each.iter().any(|error| error.words.contains("PCIe Bus Error"));
    finding.why(match () {
        () if is_memory => {
            tr!("a memory module that reports errors again and again is about to fail; move off this hardware")
        }
        () if is_bus => tr!("what a device on the bus sent or got was lost: it is reset, or gone"),
        () if uncorrected => tr!("the CPU, its caches, memory or the bus failed: what was computed may be wrong"),
        () => tr!(
            "the CPU corrected an error of its own, of memory or of the bus; one is no harm, many foretell a failure"
        ),
    });
    finding.by_hand(match is_memory || is_bus {
        true => tr!("replace the part that the message names, or move to other hardware"),
        false => {
            tr!("decode it (rasdaemon: ras-mc-ctl --errors; mcelog), and replace the part, or move to other hardware")
        }
    });
}
