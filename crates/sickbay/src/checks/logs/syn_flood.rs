//! Connections came faster than they were taken.

use sickbay_formats::kernel_log::Kind;

use crate::facts::Facts;
use crate::facts::logs::seen::{Seen, kernel_log};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::{check, tr};

check! {
    /// ## What it finds
    /// `possible SYN flooding on port N`: the queue of half-open connections of a listening socket ran over.
    ///
    /// ## Why it matters
    /// Mostly it is no attack: the program takes connections too slowly, or its backlog (the smaller of listen(2) and
    /// `net.core.somaxconn`) is too small. With syncookies connections go on, without they are dropped.
    ///
    /// ## What the repair does
    /// Nothing in a log. Raise the program's backlog and `net.core.somaxconn` together with
    /// `net.ipv4.tcp_max_syn_backlog`; `ss -ltn` shows the queue (Recv-Q of Send-Q).
    "syn-flood", Logs, seed = ["N3"], proves = [], "connections came faster than they were taken"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let log = kernel_log(facts, found)?;
    let Some(seen) = Seen::of(&log, Kind::SynFlood) else { return Ok(()) };
    let finding = found.add(
        log.severity(Severity::Warning),
        tr!("connections came faster than they were taken on port {tasks}", tasks = seen.subjects()),
    );
    seen.describe(finding);
    finding.why(tr!("the program takes them too slowly or its backlog is too small; only seldom is it an attack"));
    finding
        .by_hand(tr!("raise the program's backlog and net.core.somaxconn together with net.ipv4.tcp_max_syn_backlog"));
    Ok(())
}
