//! The firewall dropped packets.

use sickbay_formats::kernel_log::Kind;

use crate::facts::Facts;
use crate::facts::logs::seen::{Seen, kernel_log};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::{check, tr};

check! {
    /// ## What it finds
    /// Lines of a LOG rule of iptables or nft whose prefix says drop, block, deny or reject. Only in a log that is
    /// examined for itself: on a machine in the Internet they are everyday.
    ///
    /// ## Why it matters
    /// When a service cannot be reached, the line tells which rule and which address and port it was.
    ///
    /// ## What the repair does
    /// Nothing. If the traffic is wanted, allow it in the rule that the prefix names.
    "firewall-drops", Logs, seed = [], proves = [], "the firewall dropped packets"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let log = kernel_log(facts, found)?;
    if !log.given {
        return Ok(());
    }
    let Some(seen) = Seen::of(&log, Kind::Firewall) else { return Ok(()) };
    let finding =
        found.add(log.severity(Severity::Note), tr!("the firewall dropped packets: {tasks}", tasks = seen.subjects()));
    seen.describe(finding);
    finding.why(tr!("if a service cannot be reached, this may be why"));
    finding.by_hand(tr!("if the traffic is wanted, allow it in the rule that the prefix names"));
    Ok(())
}
