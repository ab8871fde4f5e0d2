//! An allocation of pages failed.

use sickbay_formats::kernel_log::Kind;

use crate::facts::Facts;
use crate::facts::logs::seen::{Seen, kernel_log};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "swapper/0: page allocation failure: order:0, mode:…" in the kernel log, with lost packets or a command
    /// that fails.
    ///
    /// ## What it finds
    /// `page allocation failure: order:N`: the kernel or a driver asked for 2^N contiguous pages and did not get them.
    ///
    /// ## Why it matters
    /// Whatever asked must do without: a packet is dropped, a command fails. Order 0 in an interrupt means that
    /// `vm.min_free_kbytes` is too small for the network load; a higher order means that free memory is fragmented.
    ///
    /// ## What the repair does
    /// Nothing. For order 0 raise `vm.min_free_kbytes` to 1 % to 3 % of memory; for higher orders check fragmentation,
    /// compact memory, and prefer a driver that needs no large blocks.
    ///
    /// ## By hand
    /// ```sh
    /// cat /proc/buddyinfo
    /// echo 1 > /proc/sys/vm/compact_memory
    /// sysctl -w vm.min_free_kbytes=KIB
    /// ```
    "page-allocation-failure", Logs, seed = ["C17"], proves = [], "a page allocation failed"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let log = kernel_log(facts, found)?;
    let Some(seen) = Seen::of(&log, Kind::PageAllocation) else { return Ok(()) };
    let finding = found.add(
        log.severity(Severity::Warning),
        tr!("the kernel did not get the pages it asked for: {tasks}", tasks = seen.subjects()),
    );
    seen.describe(finding);
    finding.why(tr!(
        "order 0: too few pages are kept free for atomic allocations; higher orders: free memory is fragmented"
    ));
    finding.by_hand(tr!(
        "order 0: raise vm.min_free_kbytes to 1 % to 3 % of memory; higher: see /proc/buddyinfo and compact memory"
    ));
    Ok(())
}
