//! An NFS server did not answer.

use sickbay_formats::kernel_log::{Server, Stamp};

use crate::facts::Facts;
use crate::facts::logs::seen::{kernel_log, nfs_server, times};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "nfs: server … not responding, still trying" in the kernel log, `df` and `ls` that hang, a high load
    /// average, and tasks that were "blocked for more than 120 seconds".
    ///
    /// ## What it finds
    /// NFS servers that did not respond, for how long, and whether they responded again before the log ends. Tasks that
    /// were blocked meanwhile are shown as its effects.
    ///
    /// ## Why it matters
    /// On a hard mount (the default) whatever uses it waits in state D until the server is back, and cannot be killed
    /// by anything but SIGKILL. On a soft mount it gets an I/O error instead.
    ///
    /// ## What the repair does
    /// Nothing: the fault is the server, or the network to it.
    ///
    /// ## By hand
    /// ```sh
    /// ping SERVER
    /// rpcinfo -T tcp SERVER nfs
    /// nfsstat -m
    /// ```
    "nfs-server-silent", Logs, seed = [], proves = [], "an NFS server did not respond"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let log = kernel_log(facts, found)?;
    for server in log.said.servers.iter().filter(|server| log.counts(server.last)) {
        let name = server.name.as_str();
        let until_the_end =
            server.silent.and_then(|since| since?.seconds_to(log.said.newest?)).filter(|seconds| *seconds > 0);
        let text = match (server.silent, server.longest, until_the_end) {
            (Some(_), _, Some(seconds)) => {
                tr!(
                    "the NFS server {name} did not respond, and the log ends {time} later without an answer",
                    name,
                    time = lasting(seconds)
                )
            }
            (Some(_), ..) if server.gave_up => tr!("the NFS server {name} did not respond: requests timed out", name),
            (Some(_), ..) => tr!("the NFS server {name} did not respond, and the log ends without an answer", name),
            (None, Some(seconds), _) => {
                tr!("the NFS server {name} did not respond for {time}", name, time = lasting(seconds))
            }
            (None, None, _) => tr!("the NFS server {name} did not respond for some time", name),
        };
        let grave = severity(server, until_the_end);
        let finding = found.add(log.severity(grave), text);
        let source = log.source(server.source);
        finding.at_path(&source).subject(nfs_server(name));
        finding.evidence(format!("{}:{}", source.display(), server.line), server.words.as_str());
        finding.note(times(server.count, server.first, server.last));
        finding.why(if server.gave_up {
            tr!("the mount is soft: programs get I/O errors, and what they wrote may be lost")
        } else {
            tr!("whatever uses its mounts waits in state D until it is back, and counts in the load average")
        });
        finding.by_hand(tr!(
            "check the server and the network to it (ping, rpcinfo -T tcp {name} nfs, a firewall); a mount that nobody needs: umount -f -l",
            name
        ));
        finding.explains(nfs_server(name));
        let text = |stamp: Option<Stamp>| stamp.map(|stamp| stamp.to_string());
        finding
            .detail("server", name)
            .detail("count", server.count)
            .detail("first", text(server.first))
            .detail("last", text(server.last))
            .detail("longest_s", server.longest)
            .detail("silent_at_the_end", server.silent.is_some())
            .detail("soft", server.gave_up);
    }
    Ok(())
}

/// Half a minute is what a busy server may take; after a minute somebody noticed, and nobody knows what the end of a log hides.
fn severity(server: &Server, until_the_end: Option<i64>) -> Severity {
    match server.longest.max(until_the_end) {
        _ if server.silent.is_some() || server.gave_up => Severity::Error,
        Some(..30) => Severity::Note,
        Some(30..60) => Severity::Warning,
        _ => Severity::Error,
    }
}

/// "45 s", "10 min 20 s", "3 h 2 min".
fn lasting(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7200 if seconds % 60 == 0 => format!("{} min", seconds / 60),
        120..7200 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}
