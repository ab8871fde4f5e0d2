//! More sockets in TIME_WAIT than allowed.

use sickbay_formats::kernel_log::Kind;

use crate::facts::Facts;
use crate::facts::logs::seen::{Seen, kernel_log};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "TCP: time wait bucket table overflow" in the kernel log.
    ///
    /// ## What it finds
    /// `TCP: time wait bucket table overflow`: there were more than `net.ipv4.tcp_max_tw_buckets`.
    ///
    /// ## Why it matters
    /// The kernel then closes sockets without TIME_WAIT. Connections continue; a late packet of an old one may disturb
    /// a new one with the same ports. It shows that a great many short connections are made.
    ///
    /// ## What the repair does
    /// Nothing in a log. Raise `net.ipv4.tcp_max_tw_buckets` where memory allows (about 250 bytes each), or better,
    /// keep connections open (keepalive, pools). `tcp_tw_recycle` breaks clients behind NAT and was removed in 4.12.
    ///
    /// ## By hand
    /// ```sh
    /// ss -s
    /// sysctl -w net.ipv4.tcp_max_tw_buckets=262144
    /// ```
    "time-wait-overflow", Logs, seed = ["C12"], proves = [], "more sockets in TIME_WAIT than allowed"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let log = kernel_log(facts, found)?;
    let Some(seen) = Seen::of(&log, Kind::TimeWait) else { return Ok(()) };
    let finding = found.add(
        log.severity(Severity::Warning),
        tr!("more sockets were in TIME_WAIT than net.ipv4.tcp_max_tw_buckets allows"),
    );
    seen.describe(finding);
    finding.why(tr!("a great many short connections are made; the kernel cut TIME_WAIT short"));
    finding.by_hand(tr!(
        "keep connections open (keepalive, pools), or raise net.ipv4.tcp_max_tw_buckets; never set tcp_tw_recycle"
    ));
    Ok(())
}
