//! The table of neighbours was full.

use sickbay_formats::kernel_log::Kind;

use crate::facts::Facts;
use crate::facts::logs::seen::{Seen, kernel_log};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "neighbour: arp_cache: neighbor table overflow!" in the kernel log, and "No buffer space available" or
    /// "No route to host" for hosts on the same network.
    ///
    /// ## What it finds
    /// `neighbour: arp_cache: neighbor table overflow!` (`ndisc_cache` for IPv6).
    ///
    /// ## Why it matters
    /// Hosts on the same network that are not in the table cannot be reached: `connect` fails with "No buffer space
    /// available". It happens in large flat networks and on hosts with many containers.
    ///
    /// ## What the repair does
    /// Nothing in a log. Raise `net.ipv4.neigh.default.gc_thresh1`, `2` and `3` (3 is the hard limit, 1024 by default),
    /// and the same under `net.ipv6`.
    ///
    /// ## By hand
    /// ```sh
    /// ip neigh | wc -l
    /// sysctl -w net.ipv4.neigh.default.gc_thresh3=8192
    /// sysctl -w net.ipv4.neigh.default.gc_thresh2=4096
    /// sysctl -w net.ipv4.neigh.default.gc_thresh1=1024
    /// ```
    "neighbour-table-full", Logs, seed = [], proves = [], "the neighbor (ARP) table overflowed"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let log = kernel_log(facts, found)?;
    let Some(seen) = Seen::of(&log, Kind::Neighbours) else { return Ok(()) };
    let finding = found.add(
        log.severity(Severity::Error),
        tr!("the neighbor (ARP) table overflowed: {tasks}", tasks = seen.subjects()),
    );
    seen.describe(finding);
    finding.why(tr!("hosts on the same network that are not in it cannot be reached"));
    finding.by_hand(tr!(
        "raise gc_thresh1, gc_thresh2 and gc_thresh3 under net.ipv4.neigh.default, or net.ipv6.neigh.default"
    ));
    Ok(())
}
