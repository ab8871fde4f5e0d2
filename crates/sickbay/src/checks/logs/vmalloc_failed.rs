//! Vmalloc failed.

use sickbay_formats::kernel_log::Kind;

use crate::facts::Facts;
use crate::facts::logs::seen::{Seen, kernel_log};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "vmalloc: allocation failure: … bytes" or "vmap allocation for size … failed" in the kernel log, and a
    /// module or a firewall that does not load.
    ///
    /// ## What it finds
    /// `vmalloc: allocation failure`, `vmalloc error: size` and `vmap allocation for size … failed`.
    ///
    /// ## Why it matters
    /// A module, a firewall table or a BPF program was not loaded. On 32-bit systems the address space for vmalloc is
    /// small; on 64-bit ones the memory itself is lacking.
    ///
    /// ## What the repair does
    /// Nothing. 32-bit: boot with a larger `vmalloc=`, as the message itself suggests. 64-bit: check what asked, and
    /// for how much.
    ///
    /// ## By hand
    /// ```sh
    /// grep Vmalloc /proc/meminfo
    /// ```
    "vmalloc-failed", Logs, seed = [], proves = [], "vmalloc failed"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let log = kernel_log(facts, found)?;
    let Some(seen) = Seen::of(&log, Kind::Vmalloc) else { return Ok(()) };
    let finding = found.add(log.severity(Severity::Warning), tr!("vmalloc failed"));
    seen.describe(finding);
    finding.why(tr!("what asked for it was not loaded or not started"));
    finding.by_hand(tr!("32-bit: boot with a larger vmalloc=; 64-bit: check what asked, and for how much"));
    Ok(())
}
