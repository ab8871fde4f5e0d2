//! A task did not run for minutes.

use sickbay_formats::kernel_log::frames::Frames;
use sickbay_formats::kernel_log::{Incident, Kind, Server};

use crate::facts::Facts;
use crate::facts::cpu::waits::Wait;
use crate::facts::logs::kernel_log::KernelLog;
use crate::facts::logs::seen::{Seen, kernel_log, nfs_server};
use crate::model::finding::{Finding, Findings, Severity};
use crate::model::outcome::Verdict;
use crate::model::subject::Subject;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "INFO: task … blocked for more than 120 seconds." in the kernel log, a high load average, and processes
    /// in state D that cannot be killed.
    ///
    /// ## What it finds
    /// Kernel messages that a task was blocked for more than 120 seconds (`kernel.hung_task_timeout_secs`): it waited
    /// in state D. The stack behind the message tells for what: a disk, a journal, an NFS server, a lock. Stacks of tasks
    /// in state D without such a message (SysRq w, a mail) are read, too; how long they waited is not in them.
    ///
    /// ## Why it matters
    /// A task in state D waits for a disk, a network file system or a kernel lock, cannot be killed, and counts in the
    /// load average. Nearly always the cause is storage that does not respond; I/O errors in the same log name it.
    ///
    /// ## What the repair does
    /// Nothing. The lines after the message in the log are the task's stack trace: where it waited. Check the storage
    /// below it first.
    ///
    /// ## By hand
    /// ```sh
    /// ps -eo pid,state,wchan:32,comm | awk '$2 == "D"'
    /// cat /proc/PID/stack
    /// ```
    "hung-task", Logs, seed = [], proves = [], "a task did not run for minutes"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let log = kernel_log(facts, found)?;
    let stuck = log.of(Kind::HungTask);
    // What waited for a server that was silent is told apart from the rest: it is an effect.
    let (of_nfs, others): (Vec<&Incident>, Vec<&Incident>) =
        stuck.into_iter().partition(|seen| match waits_for(&seen.stack) {
            Some(wait) => wait == Wait::Nfs && !log.said.servers.is_empty(),
            // Without a stack: one that hung while a server was silent most likely waited for it.
            None => seen.stack.is_empty() && log.said.servers.iter().any(|server| was_silent(server, seen)),
        });
    for (each, is_nfs) in [(of_nfs, true), (others, false)] {
        let Some(seen) = Seen::from(&log, each) else { continue };
        let finding = found.add(
            log.severity(Severity::Error),
            tr!("tasks were blocked for minutes: {tasks}", tasks = seen.subjects()),
        );
        seen.describe(finding);
        if is_nfs {
            finding.subject(Subject::Named("NFS".to_owned()));
            for server in &log.said.servers {
                finding.about(nfs_server(&server.name));
            }
        }
        let waits: Vec<Wait> = seen.each.iter().filter_map(|seen| waits_for(&seen.stack)).collect();
        tell(&waits, finding);
    }
    if log.of(Kind::HungTask).is_empty() && !log.blocked.is_empty() {
        asked(&log, found);
    }
    Ok(())
}

/// Whether the server was silent when the task is first said to be stuck.
fn was_silent(server: &Server, task: &Incident) -> bool {
    let Some((since, stuck)) = server.first.zip(task.first) else { return false };
    let after = since.seconds_to(stuck).is_some_and(|seconds| seconds >= 0);
    // The answer was the last that was said of it.
    let before = server.silent.is_some() || server.last.and_then(|last| stuck.seconds_to(last)).is_some_and(|s| s >= 0);
    after && before
}

/// Stacks that somebody asked for: the tasks are in state D, and nobody knows for how long.
fn asked(log: &KernelLog, found: &mut Findings) {
    let mut tasks: Vec<(&str, u64)> = Vec::new();
    for blocked in &log.blocked {
        match tasks.iter_mut().find(|(name, _)| *name == blocked.task) {
            Some((_, count)) => *count += 1,
            None => tasks.push((&blocked.task, 1)),
        }
    }
    tasks.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let more = if tasks.len() > 5 { ", …" } else { "" };
    let list: Vec<String> = tasks.iter().take(5).map(|(name, count)| format!("{name} ({count})")).collect();
    let list = format!("{}{more}", list.join(", "));
    let finding = found.warning(tr!("tasks were in state D when their stacks were printed: {tasks}", tasks = list));
    if let Some(first) = log.blocked.first() {
        let source = log.source(first.source);
        finding.at_path(&source).evidence(format!("{}:{}", source.display(), first.line), first.words.as_str());
    }
    finding.note(tr!("how long they were is not in the log"));
    let waits: Vec<Wait> = log.blocked.iter().filter_map(|blocked| waits_for(&blocked.frames)).collect();
    tell(&waits, finding);
    finding.detail("count", log.blocked.len());
}

/// What most of them waited for, and what follows.
fn tell(waits: &[Wait], finding: &mut Finding) {
    let mut counted: Vec<(usize, Wait)> =
        waits.iter().map(|wait| (waits.iter().filter(|other| *other == wait).count(), *wait)).collect();
    counted.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    counted.dedup_by_key(|(_, wait)| *wait);
    match counted.first() {
        Some((_, wait)) => {
            finding.why(tr!(
                "by their stacks they waited for {what}, in state D: until then they cannot be killed",
                what = wait.told()
            ));
            finding.detail("waits_for", format!("{wait:?}"));
        }
        None => {
            finding.why(tr!("they waited for storage or for a kernel lock; until then they cannot be killed"));
        }
    }
    finding.by_hand(match counted.first().map(|(_, wait)| *wait) {
        Some(Wait::Nfs | Wait::Smb | Wait::Ceph) => tr!("check the server and the network to it"),
        Some(Wait::Fuse) => tr!("check the program behind the FUSE mount: ending it ends the wait"),
        Some(Wait::Disk | Wait::Journal) => {
            tr!("check the disk below: iostat -x, I/O errors in the log, limits of a cloud disk, the host of a VM")
        }
        Some(Wait::Memory) => tr!("check memory: /proc/pressure/memory, reports of the OOM killer, the cgroup's limits"),
        Some(Wait::Lock) => {
            tr!("find who holds the lock: the stacks of all blocked tasks (echo w > /proc/sysrq-trigger); one of them waits for something else")
        }
        _ => tr!("read the stack trace after the message in the log, and check the storage that the task waits for"),
    });
}

/// What a task waits for: what may never answer before what merely is slow, else the innermost that tells something.
fn waits_for(stack: &Frames) -> Option<Wait> {
    let of_module = |module: &str| match module {
        "nfs" | "nfsv3" | "nfsv4" | "sunrpc" | "lockd" => Some(Wait::Nfs),
        "cifs" => Some(Wait::Smb),
        "ceph" | "libceph" => Some(Wait::Ceph),
        "fuse" => Some(Wait::Fuse),
        "jbd2" => Some(Wait::Journal),
        _ => None,
    };
    let all: Vec<Wait> =
        stack.list().iter().filter_map(|frame| of_module(&frame.module).or_else(|| Wait::of(&frame.name))).collect();
    let first = all.iter().find(|wait| **wait != Wait::Disk);
    all.iter().find(|wait| wait.may_hang()).or(first).or(all.first()).copied()
}
