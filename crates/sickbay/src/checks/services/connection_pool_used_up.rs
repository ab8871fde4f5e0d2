//! A pool of connections is used up, and the program waits for it.

use crate::facts::Facts;
use crate::facts::services::pools::used_up;
use crate::model::finding::Findings;
use crate::model::outcome::Verdict;
use crate::model::subject::Subject;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: a service answers nobody any more although it runs and its processor is idle; clients time out; redis or the database has
    /// nothing to do. A restart helps for some hours.
    ///
    /// ## What it finds
    /// A process whose clients wait to be accepted (its listen queue is filled by half or more), while all of its connections to one server, as many as pools have (8,
    /// 10, 20, 100 …), have neither sent nor received anything for a minute or more. That is how it looks from outside when every connection of a
    /// pool was borrowed and not given back, and all threads wait for one. The kernel tells it (sock_diag, tcp_info), so it does not depend on the language or the client.
    ///
    /// A pool that is idle while nobody waits is healthy, and not found.
    ///
    /// ## Why it matters
    /// Threads that wait for a connection accept no clients. Without a maximum wait they do so for ever (jedis, lettuce and commons-dbcp wait without
    /// limit unless told otherwise); a larger pool only delays it.
    ///
    /// ## What the repair does
    /// Nothing by itself: take a dump of the threads first, since it shows who waits; then restart the service. What cures it is a
    /// client without the leak, connections given back in every case, and a maximum wait.
    ///
    /// ## By hand
    /// ```sh
    /// jstack PID | grep -A8 borrowObject
    /// ss -tnpi state established dport = :6379
    /// ```
    "connection-pool-used-up", Services, seed = ["N5"], proves = [], "a pool of connections is used up"
}

/// Nothing that is borrowed for a request is idle for so long, in milliseconds.
const IDLE: u32 = 60_000;

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    for pool in used_up(facts, IDLE)? {
        let (comm, pid, size) = (pool.comm.as_str(), pool.pid, pool.size);
        let (server, end) = (pool.server.to_string(), pool.waiting.end.to_string());
        let (seconds, waiting) = (pool.idle / 1000, pool.waiting.count);
        let finding = found.error(tr!(
            "{comm} (PID {pid}) uses none of its {size} connections to {server}: nothing has gone through them for {seconds} s, while {waiting} clients wait on {end}",
            comm,
            pid,
            size,
            server = server.as_str(),
            seconds,
            waiting,
            end = end.as_str()
        ));
        finding.subject(Subject::Named(format!("{comm} {server}"))).extent(size);
        finding.about(Subject::Process { pid, start: None, name: comm.to_owned() });
        finding.explains(Subject::Socket(end.clone()));
        finding.why(tr!("that is a pool whose connections were all borrowed and not given back, and threads that wait for one; a program that hangs as a whole looks the same"));
        finding.detail("pid", pid).detail("server", server).detail("connections", size);
        finding.detail("idle_ms", pool.idle).detail("listener", end).detail("waiting", waiting);
        finding.by_hand(tr!("dump its threads first (java: jstack {pid}): many of them in borrowObject or getConnection prove it; then restart it, replace the client that leaks, and set a maximum wait", pid));
    }
    Ok(())
}
