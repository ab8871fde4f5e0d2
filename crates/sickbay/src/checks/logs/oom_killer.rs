//! Who called the OOM killer, why nobody could serve the request, who had the memory, who died.

use sickbay_formats::kernel_log::oom::{Constraint, Oom};

use crate::facts::Facts;
use crate::facts::logs::kernel_log::KernelLog;
use crate::facts::logs::oom_story;
use crate::facts::logs::seen::{kernel_log, panic_on_oom, times};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "Out of memory: Killed process 1234 (java)" in the kernel log, and a service that is gone, or that
    /// systemd reports as "killed, status=9/KILL" or "oom-kill".
    ///
    /// ## What it finds
    /// Reports of the kernel's OOM killer, read in full, from 2.6.32 to today: who asked for memory (which is rarely
    /// who used it up), for how much and with which flags, in that kernel's terms; whether the machine, a cgroup or
    /// some nodes had none left; what held most of it: processes, slab, shared memory and tmpfs, huge pages, or pages
    /// that the kernel does not account for; for each zone what was free, what the watermark and `lowmem_reserve`
    /// required, and how much was lacking; who had the memory, by command; who was killed, and what that gave back.
    /// Reports that follow each other within an hour are one incident.
    ///
    /// A zone serves a request only while it has more free than its `min` watermark plus what it protects from requests
    /// that may use a higher zone (`lowmem_reserve`, in pages). That is why memory may be "free" in DMA and DMA32 while
    /// a request for Normal is refused.
    ///
    /// ## Why it matters
    /// A service is gone, and it will happen again. A CPU that is busy at the same moment is an effect: before it
    /// kills, the kernel searches for memory again and again, and none of that is the work of programs.
    ///
    /// ## What the repair does
    /// Nothing can be repaired in a log. Give the machine or the cgroup more memory, or its largest user less; swap
    /// buys time; `OOMScoreAdjust=` of a unit sets who should die last.
    ///
    /// ## By hand
    /// ```sh
    /// sickbay explain oom-killer LOG
    /// sickbay explain memory
    /// ```
    "oom-killer", Logs, seed = ["C6", "C17"], proves = [], "the kernel ran out of memory and killed processes"
}

/// Reports further apart than this are incidents of their own.
const APART: i64 = 3600;

/// Findings of one log at most: the cgroups that are told apart.
const SCOPES: usize = 16;

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let log = kernel_log(facts, found)?;
    let mut scopes: Vec<(String, Vec<&Oom>)> = Vec::new();
    for oom in &log.said.ooms {
        // What a person asked for is no lack of memory.
        let manual = (oom.constraint == Constraint::Manual).then(|| "SysRq".to_owned());
        let scope = manual.unwrap_or_else(|| oom.memcg.as_ref().map(|memcg| memcg.limited.clone()).unwrap_or_default());
        match scopes.iter().position(|(known, _)| *known == scope) {
            Some(at) => scopes[at].1.push(oom),
            None if scopes.len() < SCOPES => scopes.push((scope, vec![oom])),
            None => {}
        }
    }
    for (_, ooms) in scopes {
        report(&log, &ooms, found);
    }
    Ok(())
}

/// One finding for the reports of one scope. The latest incident is told, from its first report on.
fn report(log: &KernelLog, ooms: &[&Oom], found: &mut Findings) {
    let apart = |pair: &[&Oom]| match (pair.first().and_then(|oom| oom.time), pair.last().and_then(|oom| oom.time)) {
        (Some(before), Some(after)) => before.seconds_to(after).is_none_or(|seconds| !(0..=APART).contains(&seconds)),
        _ => false,
    };
    let start = ooms.windows(2).rposition(apart).map_or(0, |at| at + 1);
    let incident = ooms.get(start..).unwrap_or_default();
    let Some(oom) = incident.first() else { return };
    if !log.counts(incident.last().and_then(|oom| oom.time)) {
        return;
    }
    let grave = if oom.constraint == Constraint::Manual { Severity::Note } else { Severity::Error };
    let finding = found.add(log.severity(grave), oom_story::message(oom, incident));
    let source = log.source(oom.source);
    finding.at_path(&source);
    finding.evidence(format!("{}:{}", source.display(), oom.line), oom.words.as_str());
    oom_story::tell(oom, incident, finding);
    if ooms.len() > 1 {
        let count = if ooms.len() == log.said.ooms.len() { log.said.oom_count } else { ooms.len() as u64 };
        finding.note(tr!(
            "reports: {times}",
            times = times(count, ooms.first().and_then(|oom| oom.time), ooms.last().and_then(|oom| oom.time))
        ));
    }
    finding.why(oom_story::why(oom));
    finding.by_hand(oom_story::advice(oom));
    finding.explains(panic_on_oom());
}
