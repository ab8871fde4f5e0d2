//! The firewall dropped packets.

use sickbay_formats::kernel_log::Kind;

use crate::facts::Facts;
use crate::facts::logs::seen::{Seen, kernel_log};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "[UFW BLOCK] IN=eth0 …", "DROP: IN=…" or similar lines in the kernel log, and a service that cannot be
    /// reached.
    ///
    /// ## What it finds
    /// Lines of an iptables or nft LOG rule whose prefix says drop, block, deny or reject. Only in a log that is
    /// checked by itself: on a machine on the Internet they are routine.
    ///
    /// ## Why it matters
    /// When a service cannot be reached, the line shows which rule, address and port it was.
    ///
    /// ## What the repair does
    /// Nothing. If the traffic is wanted, allow it in the rule with that log prefix.
    ///
    /// ## By hand
    /// ```sh
    /// nft list ruleset
    /// iptables-save
    /// ```
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
    finding.by_hand(tr!("if the traffic is wanted, allow it in the rule with that log prefix"));
    Ok(())
}
