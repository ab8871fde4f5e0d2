//! A program does not close what its other end has closed.

use crate::facts::Facts;
use crate::facts::network::sockets::{Owners, Sockets, unclosed};
use crate::model::finding::Findings;
use crate::model::outcome::Verdict;
use crate::model::subject::Subject;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "Too many open files" in the log of a service, and `ss -tan` with hundreds of lines that say
    /// CLOSE-WAIT.
    ///
    /// ## What it finds
    /// A process with a hundred TCP sockets or more in CLOSE_WAIT for longer than a minute: the other end has closed, the
    /// kernel has told the program, and the program has not closed its own end.
    ///
    /// ## Why it matters
    /// There is no timeout for it: each of them keeps a descriptor until the program ends, and at "Too many open files" it stands still. No kernel parameter
    /// helps; keepalive neither.
    ///
    /// ## What the repair does
    /// Nothing by itself: the program has to be mended (a response that is not closed on the way of an error, a pool that is not asked). A
    /// restart of it helps for a while.
    ///
    /// ## By hand
    /// ```sh
    /// ss -tanp state close-wait
    /// systemctl restart UNIT
    /// ```
    "close-wait-leak", Network, seed = ["C12"], proves = [], "a program does not close its connections"
}

/// A program may be slow with so many.
const MANY: u64 = 100;

/// Where nobody tells for how long, only what no program has at a time.
const VERY_MANY: u64 = 1000;

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let sockets = facts.get::<Sockets>()?;
    let all = sockets.by_state().get("CLOSE_WAIT").copied().unwrap_or(0);
    // Who has them costs a look at every descriptor.
    if all < MANY {
        return Ok(());
    }
    let owners = facts.get::<Owners>()?;
    for one in unclosed(&sockets, &owners) {
        let is_leak = one.old.map_or(one.count >= VERY_MANY, |old| old >= MANY);
        if !is_leak {
            continue;
        }
        let (count, comm, pid) = (one.count, one.comm.as_str(), one.pid);
        let finding = found.error(match pid {
            0 => tr!(
                "{count} connections were closed by the other end and by nobody here; whose they are is not known",
                count
            ),
            _ => tr!(
                "{comm} (PID {pid}) does not close {count} connections that the other end has closed",
                comm,
                pid,
                count
            ),
        });
        finding.subject(Subject::Named(format!("close-wait {comm}"))).extent(count);
        finding.why(tr!("they have no timeout: each keeps a descriptor until the program ends"));
        if let Some(oldest) = one.oldest {
            finding.note(tr!("the oldest has been so for {oldest} s", oldest)).detail("oldest", oldest);
        }
        if let Some((address, port, most)) = one.most {
            let end = std::net::SocketAddr::new(address, port).to_string();
            finding.note(tr!("{most} of them are of {end}", most, end = end.as_str())).detail("end", end);
        }
        finding.detail("pid", pid).detail("count", count).detail("older_than_a_minute", one.old);
        finding
            .by_hand(tr!("mend the program, which must close a connection when read gives 0; restart it until then"));
    }
    Ok(())
}
