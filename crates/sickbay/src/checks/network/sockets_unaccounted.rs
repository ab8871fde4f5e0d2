//! TCP sockets that are in no table of any network namespace.

use crate::facts::Facts;
use crate::facts::network::containers::container_of;
use crate::facts::network::sockets::{Sum, holders_of_unhashed};
use crate::model::finding::Findings;
use crate::model::outcome::Verdict;
use crate::model::subject::Subject;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: `ss -s` counts thousands of sockets that `ss -tan` and `netstat` do not list, and kernel memory grows.
    ///
    /// ## What it finds
    /// TCP sockets that the kernel has and that are in the tables of no network namespace: neither connected nor bound, or left behind after an error, by the
    /// thousand. All sockets (`alloc` of `/proc/net/sockstat`, which counts those of all namespaces) less those in the tables of each namespace (`inuse`).
    /// "closed 34011" of `ss -s` is no such number: it has all sockets of containers in it.
    ///
    /// ## Why it matters
    /// Each costs some 3 KiB of the kernel's memory and a descriptor, and no list of connections shows it: a program leaks them.
    ///
    /// ## What the repair does
    /// Nothing by itself; the programs that hold them are named. Restart them, and have them mended.
    ///
    /// ## By hand
    /// ```sh
    /// sickbay explain sockets
    /// ls /proc/PID/fd | wc -l
    /// ```
    "sockets-unaccounted", Network, seed = ["C15"], proves = [], "TCP sockets are in no table"
}

/// Programs have some that they have just made.
const MANY: u64 = 1000;
/// Of so many, those that are made between two looks are not worth a word.
const SHARE: u64 = 5;

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let sum = facts.get::<Sum>()?;
    let (unhashed, alloc) = (sum.unhashed, sum.alloc);
    if unhashed < MANY || unhashed.saturating_mul(SHARE) < alloc {
        return Ok(());
    }
    if let Some(why) = &sum.unseen {
        found.could_not_tell(tr!(
            "{unhashed} TCP sockets are leaked or of other network namespaces, which cannot be told apart: {why}",
            unhashed,
            why = why.clone()
        ));
        return Ok(());
    }
    let holders = holders_of_unhashed(facts, &sum);
    let finding = found.warning(match holders.first() {
        Some((pid, comm, count)) => tr!(
            "{unhashed} of {alloc} TCP sockets are in no table; {comm} (PID {pid}) holds {count} of them",
            unhashed,
            alloc,
            comm = comm.as_str(),
            pid = *pid,
            count = *count
        ),
        None => tr!("{unhashed} of {alloc} TCP sockets are in no table", unhashed, alloc),
    });
    finding.subject(Subject::Named("unhashed".to_owned())).extent(unhashed);
    finding.why(tr!("they are neither connected nor bound, and no list of connections shows them: somebody makes sockets and forgets them"));
    for (pid, comm, count) in holders.iter().take(10) {
        let (count, comm, pid) = (*count, comm.as_str(), *pid);
        finding.note(match container_of(facts, pid) {
            Some(container) => {
                tr!("{count}: {comm} (PID {pid}), in the container {container}", count, comm, pid, container)
            }
            None => tr!("{count}: {comm} (PID {pid})", count, comm, pid),
        });
    }
    let spaces = sum.spaces.len();
    finding.note(tr!("{spaces} network {spaces?namespace was|namespaces were} counted", spaces));
    let listed: Vec<_> = holders
        .iter()
        .take(20)
        .map(|(pid, comm, count)| serde_json::json!({"pid": pid, "comm": comm, "count": count}))
        .collect();
    finding.detail("unhashed", unhashed).detail("alloc", alloc).detail("holders", listed);
    finding.by_hand(tr!("restart the program that holds them, and have it mended"));
    Ok(())
}
