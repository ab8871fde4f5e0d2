//! Processes and threads are about to reach a limit: then fork fails.

use std::collections::HashMap;

use sickbay_formats::procfs::limits::limit;

use crate::facts::Facts;
use crate::facts::memory::cgroups::{Mounts, PIDS};
use crate::facts::memory::processes::{Holder, Holders};
use crate::facts::system::kernel::{parameter, running};
use crate::model::finding::{Finding, Findings, Severity};
use crate::model::outcome::Verdict;
use crate::model::subject::Subject;
use crate::model::text::Text;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "fork: Cannot allocate memory" or "fork: retry: Resource temporarily unavailable" while memory is free.
    ///
    /// ## What it finds
    /// Processes and threads that have used up nine tenths of a limit: `kernel.pid_max`, `kernel.threads-max`,
    /// `pids.max` of a cgroup (`TasksMax=` of a service, a container's limit), or a user's `RLIMIT_NPROC`. It names the
    /// process with the most threads.
    ///
    /// ## Why it matters
    /// At the limit nothing new starts, although memory is free. A thread counts like a process everywhere.
    ///
    /// ## What the repair does
    /// Nothing by itself: a program that creates more and more threads reaches every limit. Fix it, or raise a limit
    /// that it reaches for good reason.
    ///
    /// ## By hand
    /// ```sh
    /// ps -eLf | awk '{ n[$2]++ } END { for (p in n) print n[p], p }' | sort -n | tail
    /// sysctl -w kernel.pid_max=4194304
    /// systemctl set-property UNIT TasksMax=16384
    /// ```
    "memory-limits-fork", Memory, seed = ["C17"], proves = [], "the number of processes and threads is close to the limit"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    running(facts)?;
    let holders = facts.get::<Holders>()?;
    let most = holders.list.iter().max_by_key(|holder| holder.threads);
    if let Some(threads) = all_threads(facts)? {
        let limits = ["kernel.pid_max", "kernel.threads-max"];
        let mut known = Vec::new();
        for key in limits {
            known.extend(parameter(facts, key)?.map(|limit| (key, limit)));
        }
        // Of both the lower one comes first.
        if let Some((key, limit)) = known.into_iter().min_by_key(|(_, limit)| *limit)
            && near(threads, limit)
        {
            let text = tr!("{threads} processes and threads of the {limit} that {key} allows", threads, limit, key);
            report(found, text, threads, limit, most).at_parameter(key).evidence("/proc/loadavg", threads.to_string());
        }
    }
    if let Ok(mounts) = facts.get::<Mounts>() {
        for group in mounts.limited(facts, PIDS).iter().filter(|group| near(group.used, group.limit)) {
            let (used, limit, name) = (group.used, group.limit, group.name.as_path());
            let text =
                tr!("{used} processes and threads of the {limit} that the cgroup {name} may have", used, limit, name);
            report(found, text, used, limit, None).at_path(&group.file);
        }
    }
    of_users(facts, found, &holders.list);
    Ok(())
}

fn near(used: u64, limit: u64) -> bool {
    limit > 0 && used >= limit.saturating_sub(limit / 10)
}

fn report<'a>(found: &'a mut Findings, text: Text, used: u64, limit: u64, most: Option<&Holder>) -> &'a mut Finding {
    let severity = if used >= limit.saturating_sub(limit / 50) { Severity::Error } else { Severity::Warning };
    let finding = found.add(severity, text);
    finding.detail("used", used).detail("limit", limit);
    match most {
        Some(holder) => {
            let (name, pid, threads) = (holder.comm.as_str(), holder.pid, holder.threads);
            finding.detail("pid", pid);
            finding.why(tr!(
                "at the limit, fork fails although memory is free; {name} (PID {pid}) has the most threads, {threads}",
                threads,
                name,
                pid
            ))
        }
        None => finding.why(tr!("at the limit, fork fails although memory is free")),
    };
    finding.by_hand(tr!("end what creates so many, or raise the limit if they are needed"))
}

/// All processes and threads, from the fourth field of `/proc/loadavg`: "running/all".
fn all_threads(facts: &Facts) -> Result<Option<u64>, crate::model::outcome::Skip> {
    let Some(file) = facts.file("/proc/loadavg")? else { return Ok(None) };
    let text = String::from_utf8_lossy(&file.bytes).into_owned();
    let all =
        text.split_whitespace().nth(3).and_then(|field| field.split_once('/')).and_then(|(_, all)| all.parse().ok());
    Ok(all)
}

/// `RLIMIT_NPROC` counts all processes and threads of a user, and does not hold for root.
fn of_users(facts: &Facts, found: &mut Findings, holders: &[Holder]) {
    let mut users: HashMap<u64, (u64, &Holder)> = HashMap::new();
    for holder in holders.iter().filter(|holder| holder.uid != 0) {
        let user = users.entry(holder.uid).or_insert((0, holder));
        user.0 = user.0.saturating_add(holder.threads);
        if holder.threads > user.1.threads {
            user.1 = holder;
        }
    }
    let mut users: Vec<_> = users.into_iter().collect();
    users.sort_by_key(|(uid, _)| *uid);
    for (uid, (threads, most)) in users {
        let path = format!("/proc/{}/limits", most.pid);
        let Ok(text) = facts.root().read(&path) else { continue };
        let Some(allowed) = limit(&text, "Max processes").and_then(|limit| limit.soft) else { continue };
        if near(threads, allowed) {
            let text = tr!(
                "user {uid} has {threads} processes and threads of the {allowed} that are allowed",
                uid,
                threads,
                allowed
            );
            let finding = report(found, text, threads, allowed, Some(most));
            finding.subject(Subject::User(uid.to_string())).evidence(path, format!("Max processes {allowed}"));
        }
    }
}
