//! The kernel gave up the processor's clock.

use sickbay_formats::kernel_log::Kind;

use crate::facts::Facts;
use crate::facts::logs::seen::{Seen, kernel_log};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "clocksource: timekeeping watchdog on CPU1: Marking clocksource 'tsc' as unstable because the skew is too
    /// large" and "Switched to clocksource hpet" in the kernel log; programs that ask for the time often become slow, with much
    /// system time.
    ///
    /// ## What it finds
    /// A kernel whose watchdog gave up the TSC while it ran.
    ///
    /// ## Why it matters
    /// With the TSC a program reads the time without the kernel, in some 20 ns. With hpet or acpi_pm each reading is a system
    /// call and an access to slow hardware: 1 µs to 5 µs, one CPU at a time. Databases, JVMs and tracing read it hundreds of
    /// thousands of times a second.
    ///
    /// ## What the repair does
    /// Nothing. It stays so until the machine is restarted. On a virtual machine a pause is often the reason, and kvm-clock or
    /// the host's own clock is the better choice; where the TSC is known to be good, `tsc=reliable` keeps it.
    ///
    /// ## By hand
    /// ```sh
    /// cat /sys/devices/system/clocksource/clocksource0/current_clocksource
    /// cat /sys/devices/system/clocksource/clocksource0/available_clocksource
    /// ```
    "clock-unstable", Logs, seed = [], proves = [], "the kernel gave up the CPU's clock, and reading the time is slow"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let log = kernel_log(facts, found)?;
    let Some(seen) = Seen::of(&log, Kind::ClockUnstable) else { return Ok(()) };
    let finding = found.add(
        log.severity(Severity::Warning),
        tr!("the kernel gave up the TSC as its clock: reading the time is slow until the machine is restarted"),
    );
    seen.describe(finding);
    finding.why(tr!(
        "each reading is a system call and an access to hpet or acpi_pm: what reads the time often loses much CPU time"
    ));
    finding.by_hand(tr!("compare current_clocksource in /sys/devices/system/clocksource/clocksource0; restart the machine; on a virtual machine look for pauses of the host, and use kvm-clock or tsc=reliable"));
    Ok(())
}
