//! A program does not accept its connections fast enough.

use sickbay_target::{tcp_listeners, tcp_sockets};

use crate::facts::Facts;
use crate::facts::network::sockets::{Owners, Sockets};
use crate::facts::network::tcp_counters::TcpCounters;
use crate::facts::system::kernel::parameter;
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict};
use crate::model::subject::Subject;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: clients time out or need 1, 3 or 7 seconds to connect, although the service runs; `ss -lnt` shows a
    /// Recv-Q as large as Send-Q.
    ///
    /// ## What it finds
    /// A listening TCP socket whose queue of connections that wait to be accepted is full now. The length in force is asked of the kernel: it is what the program gave to
    /// listen(2), at most `net.core.somaxconn` at that time. Where none is full at this moment, one that was full while it watched:
    /// `ListenOverflows` grew, and the kernel counts how many connections each socket has dropped. Counters since the start alone are
    /// never used.
    ///
    /// ## Why it matters
    /// Further connections are dropped: clients send again after 1, 3, 7 seconds, or give up.
    ///
    /// ## What the repair does
    /// Nothing by itself. A program that hangs accepts nothing, however long the queue. Else raise the backlog of the program (nginx `listen … backlog=`,
    /// tomcat `acceptCount`), and `net.core.somaxconn` if that cuts it, then restart it: the length is set once.
    ///
    /// ## By hand
    /// ```sh
    /// ss -lnt
    /// sysctl net.core.somaxconn
    /// ```
    "listen-queue-overflow", Network, seed = ["C12"], proves = [], "a queue of connections that wait to be accepted is full"
}

/// So many listeners are asked for; no machine has as many.
const LISTENERS: usize = 65_536;

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let sockets = facts.get::<Sockets>()?;
    if !sockets.is_full {
        return Err(Skip::NotApplicable(tr!("this kernel does not tell how long its queues may be")));
    }
    // It is full with one more than its length (sk_acceptq_is_full()).
    let full: Vec<_> = sockets.listeners().filter(|socket| socket.received > socket.sent).collect();
    let most = parameter(facts, "net.core.somaxconn")?;
    if full.is_empty() {
        return now_and_then(facts, most, found);
    }
    let owners = facts.get::<Owners>()?;
    for socket in full {
        let end = std::net::SocketAddr::new(socket.source.0, socket.source.1).to_string();
        let (waiting, backlog) = (socket.received, socket.sent);
        let finding = found.error(match owners.of(socket.inode) {
            Some((pid, comm)) => tr!("{comm} (PID {pid}) does not accept: {waiting} connections wait on {end}, whose queue has {backlog} {backlog?place|places}", comm, pid, waiting, end = end.as_str(), backlog),
            None => tr!("{waiting} connections wait on {end}, whose queue has {backlog} {backlog?place|places}", waiting, end = end.as_str(), backlog),
        });
        finding.subject(Subject::Socket(end.clone())).about(Subject::Socket(end.clone())).extent(waiting);
        finding.why(tr!("further connections are dropped until the program accepts some"));
        finding.detail("listener", end).detail("waiting", waiting).detail("backlog", backlog).detail("somaxconn", most);
        if most == Some(u64::from(backlog)) {
            finding.note(tr!("the queue is as long as net.core.somaxconn was when the program began to listen"));
        }
        finding.by_hand(tr!("look whether the program hangs; else give it a longer backlog, and restart it"));
    }
    Ok(())
}

/// A queue that was full for moments while somebody watched.
fn now_and_then(facts: &Facts, most: Option<u64>, found: &mut Findings) -> Verdict {
    // Without a moment before there is nothing to say of this.
    let Ok(counters) = facts.get::<TcpCounters>() else { return Ok(()) };
    let dropped = counters.grown("TcpExt.ListenOverflows");
    if dropped == 0 || !facts.target().can_be_asked() {
        return Ok(());
    }
    let Ok(answer) = facts.root().ask("sock_diag of TCP, listeners", || tcp_listeners(LISTENERS)) else {
        return Ok(());
    };
    let (all, _) = tcp_sockets(&answer, LISTENERS);
    let mut dropping: Vec<_> = all.iter().filter(|socket| socket.drops.is_some_and(|drops| drops > 0)).collect();
    dropping.sort_by_key(|socket| std::cmp::Reverse(socket.drops));
    // Before 4.6 the kernel does not tell whose they were.
    let Some(socket) = dropping.first() else { return Ok(()) };
    let owners = facts.get::<Owners>()?;
    let end = std::net::SocketAddr::new(socket.source.0, socket.source.1).to_string();
    let (backlog, seconds) = (socket.sent, counters.span.round().max(1.0) as u64);
    let name = owners.of(socket.inode).map_or_else(|| end.clone(), |(pid, comm)| format!("{comm} (PID {pid}), {end}"));
    let finding = found.warning(tr!(
        "{dropped} {dropped?connection was|connections were} dropped in {seconds} s because a queue was full for a moment: {name}, {backlog} {backlog?place|places}",
        dropped,
        seconds,
        name,
        backlog
    ));
    finding.subject(Subject::Socket(end.clone())).about(Subject::Socket(end.clone())).extent(dropped);
    finding.why(tr!("those clients send again after 1, 3 and 7 seconds: most are served, some late"));
    for socket in &dropping {
        let end = std::net::SocketAddr::new(socket.source.0, socket.source.1).to_string();
        let drops = socket.drops.unwrap_or(0);
        finding.note(tr!("{end} has dropped {drops} since it began to listen", end, drops));
    }
    finding.detail("listener", end).detail("dropped", dropped).detail("backlog", backlog).detail("somaxconn", most);
    finding.by_hand(tr!("connections come in bursts: give the program a longer backlog (and net.core.somaxconn, if that cuts it), and restart it"));
    Ok(())
}
