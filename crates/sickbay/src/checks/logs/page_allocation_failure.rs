//! An allocation of pages failed.

use sickbay_formats::kernel_log::Kind;

use crate::facts::Facts;
use crate::facts::logs::seen::{Seen, kernel_log};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::{check, tr};

check! {
    /// ## What it finds
    /// `page allocation failure: order:N`: the kernel or a driver asked for 2^N pages in a row and did not get them.
    ///
    /// ## Why it matters
    /// What asked must do without: a packet is dropped, a command fails. Order 0 in an interrupt means that
    /// `vm.min_free_kbytes` is too small for the network load; a higher order means that free memory is in pieces.
    ///
    /// ## What the repair does
    /// Nothing. For order 0 raise `vm.min_free_kbytes` to 1 % to 3 % of memory; for higher orders look at
    /// `/proc/buddyinfo`, compact with `echo 1 > /proc/sys/vm/compact_memory`, and prefer a driver that needs no large
    /// blocks.
    "page-allocation-failure", Logs, seed = ["C17"], proves = [], "an allocation of pages failed"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let log = kernel_log(facts, found)?;
    let Some(seen) = Seen::of(&log, Kind::PageAllocation) else { return Ok(()) };
    let finding = found.add(
        log.severity(Severity::Warning),
        tr!("the kernel did not get the pages that it asked for: {tasks}", tasks = seen.subjects()),
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
