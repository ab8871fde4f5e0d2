//! The table of connections was full.

use sickbay_formats::kernel_log::Kind;

use crate::facts::Facts;
use crate::facts::logs::seen::{Seen, kernel_log};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "nf_conntrack: table full, dropping packet" in the kernel log, and connections that time out at random.
    ///
    /// ## What it finds
    /// `nf_conntrack: table full, dropping packet` (`ip_conntrack` on old kernels).
    ///
    /// ## Why it matters
    /// Every packet of a new connection is dropped until another entry expires: connections time out at random while
    /// the machine looks idle. The message is limited to a few per second; many more packets were lost.
    ///
    /// ## What the repair does
    /// Nothing in a log. On the host raise `net.netfilter.nf_conntrack_max` (an entry takes about 320 bytes) and the
    /// number of buckets along with it, lower `nf_conntrack_tcp_timeout_established` (5 days by default), or exclude
    /// what needs no tracking with `NOTRACK`.
    ///
    /// ## By hand
    /// ```sh
    /// cat /proc/sys/net/netfilter/nf_conntrack_count
    /// sysctl -w net.netfilter.nf_conntrack_max=262144
    /// sysctl -w net.netfilter.nf_conntrack_tcp_timeout_established=86400
    /// ```
    "conntrack-full", Logs, seed = ["N1"], proves = [], "the connection tracking table overflowed"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let log = kernel_log(facts, found)?;
    let Some(seen) = Seen::of(&log, Kind::Conntrack) else { return Ok(()) };
    let finding =
        found.add(log.severity(Severity::Error), tr!("the connection tracking table overflowed: packets were dropped"));
    seen.describe(finding);
    finding.why(tr!("new connections fail at random until entries expire"));
    finding.by_hand(tr!(
        "raise net.netfilter.nf_conntrack_max and its buckets, or lower nf_conntrack_tcp_timeout_established"
    ));
    Ok(())
}
