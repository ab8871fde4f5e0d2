//! TCP reached a limit of its own on memory or on sockets without an owner.

use sickbay_formats::kernel_log::Kind;

use crate::facts::Facts;
use crate::facts::logs::seen::{Seen, kernel_log};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "TCP: out of memory -- consider tuning tcp_mem" or "TCP: too many orphaned sockets" in the kernel log,
    /// with resets and stalls on connections.
    ///
    /// ## What it finds
    /// `TCP: out of memory -- consider tuning tcp_mem`: the buffers of all connections together have reached the third
    /// value of `net.ipv4.tcp_mem`. `TCP: too many orphaned sockets`: more connections than `net.ipv4.tcp_max_orphans`
    /// were closed by their programs and wait for their last bytes to be acknowledged; while memory is short, one
    /// counts for up to four.
    ///
    /// ## Why it matters
    /// The kernel resets such connections and drops packets: peers see resets and stalls, although the machine has
    /// memory.
    ///
    /// ## What the repair does
    /// Nothing in a log. Find the connections whose queues are full: a peer or a program that does not read; raise the
    /// limit if the load is real.
    ///
    /// ## By hand
    /// ```sh
    /// # mem and orphan
    /// cat /proc/net/sockstat
    /// ss -tm
    /// ss -tn state fin-wait-1
    /// ```
    "tcp-limit-reached", Logs, seed = [], proves = [], "TCP reached its limit on memory or on orphaned sockets"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let log = kernel_log(facts, found)?;
    for subject in ["memory", "orphans"] {
        let each = log.of(Kind::TcpLimit).into_iter().filter(|seen| seen.subject == subject).collect();
        let Some(seen) = Seen::from(&log, each) else { continue };
        let memory = subject == "memory";
        let finding = found.add(
            log.severity(Severity::Error),
            if memory {
                tr!("the buffers of all TCP connections together reached net.ipv4.tcp_mem")
            } else {
                tr!("too many closed TCP connections wait for their peers (net.ipv4.tcp_max_orphans)")
            },
        );
        seen.describe(finding);
        finding.why(tr!(
            "the kernel resets connections and drops packets, no matter how much memory the machine has left"
        ));
        finding.by_hand(if memory {
            tr!("find the connections with full queues (ss -tm): which program does not read; raise the third value of net.ipv4.tcp_mem if the load is real")
        } else {
            tr!("find the peers that do not acknowledge (ss -tn state fin-wait-1, last-ack); raise net.ipv4.tcp_max_orphans if the load is real")
        });
    }
    Ok(())
}
