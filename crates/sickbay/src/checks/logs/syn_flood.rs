//! Connections came faster than they were taken.

use sickbay_formats::kernel_log::Kind;

use crate::facts::Facts;
use crate::facts::logs::seen::{Seen, kernel_log};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "TCP: request_sock_TCP: Possible SYN flooding on port 443. Sending cookies." in the kernel log, and
    /// clients that connect slowly or time out.
    ///
    /// ## What it finds
    /// `possible SYN flooding on port N`: the queue of half-open connections of a listening socket overflowed.
    ///
    /// ## Why it matters
    /// Usually it is not an attack: the program accepts connections too slowly, or its backlog (the smaller of
    /// listen(2) and `net.core.somaxconn`) is too small. With syncookies connections continue, without them they are
    /// dropped.
    ///
    /// ## What the repair does
    /// Nothing in a log. Raise the program's backlog and `net.core.somaxconn` together with
    /// `net.ipv4.tcp_max_syn_backlog`.
    ///
    /// ## By hand
    /// ```sh
    /// # Recv-Q is the queue, Send-Q its limit
    /// ss -ltn
    /// sysctl -w net.core.somaxconn=4096 net.ipv4.tcp_max_syn_backlog=8192
    /// ```
    "syn-flood", Logs, seed = ["N3"], proves = [], "connections arrived faster than they were accepted"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let log = kernel_log(facts, found)?;
    let Some(seen) = Seen::of(&log, Kind::SynFlood) else { return Ok(()) };
    let finding = found.add(
        log.severity(Severity::Warning),
        tr!("connections arrived faster than they were accepted on port {tasks}", tasks = seen.subjects()),
    );
    seen.describe(finding);
    finding.why(tr!("the program accepts too slowly or its backlog is too small; only rarely is it an attack"));
    finding
        .by_hand(tr!("raise the program's backlog and net.core.somaxconn together with net.ipv4.tcp_max_syn_backlog"));
    Ok(())
}
