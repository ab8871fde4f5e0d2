//! A program that watches memory killed before the kernel had to.

use sickbay_formats::service_log::Fault;

use crate::facts::Facts;
use crate::facts::logs::kernel_log::KernelLog;
use crate::facts::logs::seen::times;
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict};
use crate::model::subject::Subject;
use crate::model::text::Text;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: a session, container or service that is suddenly gone, and "systemd-oomd killed some process(es) in this
    /// unit", "Killed … due to memory pressure" or "sending SIGTERM to process …" in the log, but nothing of the
    /// kernel's OOM killer.
    ///
    /// ## What it finds
    /// In logs that are given explicitly: what systemd-oomd, earlyoom or nohang killed, and by which figures: the
    /// pressure of which cgroup, or how much memory and swap was in use.
    ///
    /// ## Why it matters
    /// These programs act before memory is gone. Pressure means that tasks of that cgroup wait for memory, such as when
    /// swap is slow or a `MemoryHigh=` is near; the killed cgroup is the one with most reclaim or swap, and need not be
    /// the one that has the memory.
    ///
    /// ## What the repair does
    /// Nothing can be repaired in a log. Give the machine or the cgroup more memory, its users less, or change the
    /// limits: `ManagedOOMMemoryPressureLimit=`, `ManagedOOMPreference=`, `oomd.conf`, `/etc/default/earlyoom`.
    ///
    /// ## By hand
    /// ```sh
    /// oomctl
    /// systemctl show -p ManagedOOMMemoryPressure,ManagedOOMSwap UNIT
    /// cat /proc/pressure/memory
    /// ```
    "memory-daemon-killed", Logs, seed = [], proves = [], "systemd-oomd or earlyoom killed processes"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let log = facts.get::<KernelLog>()?;
    if !log.given {
        return Err(Skip::NotApplicable(tr!("only logs that are given explicitly are read")));
    }
    let by_itself = log.services.iter().any(|seen| matches!(seen.told.fault, Fault::OomdPressure | Fault::OomdSwap));
    for seen in log.services.iter().filter(|seen| seen.told.fault.is_of_memory()) {
        // What systemd says of a kill that oomd itself tells with its reason.
        if seen.told.fault == Fault::OomdUnit && by_itself {
            continue;
        }
        let (subject, said) = (seen.told.subject.as_str(), seen.told.detail.as_str());
        let source = log.source(seen.source);
        let (text, why, fix) = told(seen.told.fault, subject, said);
        let finding = found.error(text);
        finding.at_path(&source).subject(Subject::Named(format!("{:?} {subject}", seen.told.fault)));
        finding.evidence(format!("{}:{}", source.display(), seen.line), seen.words.as_str());
        finding.why(why).by_hand(fix).note(times(seen.count, seen.first, seen.last));
        finding.detail("subject", subject).detail("said", said).detail("count", seen.count);
    }
    Ok(())
}

fn told(fault: Fault, subject: &str, said: &str) -> (Text, Text, Text) {
    match fault {
        Fault::OomdPressure => (
            tr!("systemd-oomd killed {subject}: {said}", subject, said),
            tr!(
                "tasks of the cgroup that it names waited for memory too long; the killed one reclaimed most, and need not be what uses up the memory"
            ),
            tr!(
                "find what fills the memory (oomctl, systemd-cgtop -m); more memory, a higher ManagedOOMMemoryPressureLimit=, or ManagedOOMPreference=avoid for what must stay"
            ),
        ),
        Fault::OomdSwap => (
            tr!("systemd-oomd killed {subject}: {said}", subject, said),
            tr!("memory and swap were nearly full: the cgroup that used most swap was killed"),
            tr!("give the machine more memory or swap, or limit what fills it (MemoryHigh=, MemoryMax=)"),
        ),
        Fault::OomdUnit => (
            tr!("systemd-oomd killed {count} processes of {unit}", count = said, unit = subject),
            tr!(
                "memory pressure or swap was above the limit of one of its slices; the reason is in systemd-oomd's own lines"
            ),
            tr!(
                "find what fills the memory (oomctl, systemd-cgtop -m); more memory, a higher ManagedOOMMemoryPressureLimit=, or ManagedOOMPreference=avoid for what must stay"
            ),
        ),
        _ => (
            tr!("a memory watcher ({said}) killed {subject}", subject, said),
            tr!("memory and swap fell below its limits: it kills before the kernel has to"),
            tr!(
                "give the machine more memory or swap, or its largest user less; its limits are in its own configuration"
            ),
        ),
    }
}
