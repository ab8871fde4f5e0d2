//! A program does not accept its connections fast enough.

use crate::facts::Facts;
use crate::facts::network::sockets::{Owners, Sockets};
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
    /// listen(2), at most `net.core.somaxconn` at that time. Counters since the start (`ListenOverflows`) are never used.
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

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let sockets = facts.get::<Sockets>()?;
    if !sockets.is_full {
        return Err(Skip::NotApplicable(tr!("this kernel does not tell how long its queues may be")));
    }
    // It is full with one more than its length (sk_acceptq_is_full()).
    let full: Vec<_> = sockets.listeners().filter(|socket| socket.received > socket.sent).collect();
    if full.is_empty() {
        return Ok(());
    }
    let owners = facts.get::<Owners>()?;
    let most = parameter(facts, "net.core.somaxconn")?;
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
