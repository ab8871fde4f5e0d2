//! Vmalloc failed.

use sickbay_formats::kernel_log::Kind;

use crate::facts::Facts;
use crate::facts::logs::seen::{Seen, kernel_log};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::{check, tr};

check! {
    /// ## What it finds
    /// `vmalloc: allocation failure`, `vmalloc error: size` and `vmap allocation for size … failed`.
    ///
    /// ## Why it matters
    /// A module, a firewall table or a BPF program was not loaded. On 32-bit systems the address space for vmalloc is
    /// small; on 64-bit ones it is memory that lacks.
    ///
    /// ## What the repair does
    /// Nothing. 32-bit: boot with `vmalloc=` larger, as the sentence itself says. 64-bit: see what asked, and how much.
    "vmalloc-failed", Logs, seed = [], proves = [], "vmalloc failed"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let log = kernel_log(facts, found)?;
    let Some(seen) = Seen::of(&log, Kind::Vmalloc) else { return Ok(()) };
    let finding = found.add(log.severity(Severity::Warning), tr!("vmalloc failed"));
    seen.describe(finding);
    finding.why(tr!("what asked for it was not loaded or not started"));
    finding.by_hand(tr!("32-bit: boot with a larger vmalloc=; 64-bit: see who asked, and for how much"));
    Ok(())
}
