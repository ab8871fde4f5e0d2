//! The running kernel keeps too much memory free, or too little.

use crate::facts::Facts;
use crate::facts::memory::{MEMINFO, size};
use crate::facts::system::kernel::{MemInfo, parameter};
use crate::facts::system::sysctl_files::SysctlFiles;
use crate::mend::sysctl_lines::winner;
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::model::repair::{Change, Risk};
use crate::model::subject::Subject;
use crate::{check, tr};

check! {
    /// ## What it finds
    /// A running kernel whose `vm.min_free_kbytes` is more than a fifth of the memory, or less than a quarter of what the
    /// kernel would choose by itself (4 × the square root of the memory in KiB: 16 MiB on a machine of 16 GiB), or less
    /// than what the sysctl files say. That the kernel raises the value for transparent huge pages is well.
    ///
    /// ## Why it matters
    /// What is kept counts as free in `MemFree`, but nobody gets it: `MemAvailable` is smaller by half as much again.
    /// "fork: Cannot allocate memory", "No space left on device" on a tmpfs that is nearly empty, and the OOM killer come
    /// while `free` shows gibibytes. With too little kept, bursts of network packets find no page: "page allocation
    /// failure", lost packets.
    ///
    /// ## What the repair does
    /// Sets what the kernel would choose by itself. A sysctl file that sets too much is the matter of `sysctl-min-free`,
    /// and is repaired before.
    "memory-min-free", Memory, seed = ["C17"], proves = [], "the running kernel keeps the wrong amount of memory free"
}

const KEY: &str = "vm.min_free_kbytes";

/// What a kernel keeps by itself, in KiB: 4 × sqrt(memory), at least 128 KiB and at most 256 MiB (64 MiB before 5.17);
/// mm/page_alloc.c, calculate_min_free_kbytes().
fn chosen_by_kernel(total: u64) -> u64 {
    total.saturating_mul(16).isqrt().clamp(128, 256 << 10)
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let memory = facts.get::<MemInfo>()?;
    let Some(kept) = parameter(facts, KEY)? else { return Ok(()) };
    let total = memory.total();
    // On 32-bit machines what lies above 896 MiB does not count.
    let chosen = chosen_by_kernel(memory.meminfo.get("LowTotal").unwrap_or(total));
    let set = facts.get::<SysctlFiles>().ok().and_then(|files| winner(&files, KEY));
    // tuned(8) sets parameters from profiles of its own.
    let tuned = facts.root().exists("/etc/tuned/active_profile").unwrap_or(true);
    let finding = if kept > total / 5 {
        let severity = if kept > total / 5 * 2 { Severity::Critical } else { Severity::Error };
        let text = tr!(
            "the kernel keeps {kept} of {total} of memory free, which no program gets",
            kept = size(kept),
            total = size(total)
        );
        let finding = found.add(severity, text);
        finding.why(tr!(
            "free shows them as free: forks fail, tmpfs says it is full, and the OOM killer comes while they lie idle"
        ));
        finding.explains(Subject::Machine)
    } else if kept < chosen / 4 {
        let text = tr!(
            "the kernel keeps only {kept} of memory free; by itself it would keep {chosen}",
            kept = size(kept),
            chosen = size(chosen)
        );
        let finding = found.note(text);
        finding.why(tr!("what may not wait, packets from the network first of all, finds no page when memory is full"))
    } else if let Some(set) = set.filter(|set| kept < *set && *set <= total / 5 && !tuned) {
        let (kept, set) = (size(kept), size(set));
        let text = tr!(
            "the kernel keeps {kept} of memory free, and the sysctl files say {set}: it changes with the next boot",
            kept,
            set
        );
        found.note(text)
    } else {
        return Ok(());
    };
    let available = memory.available();
    finding
        .at_parameter(KEY)
        .about(Subject::Parameter("vm.min_free_kbytes".to_owned()))
        .evidence(KEY, kept.to_string())
        .evidence(MEMINFO, format!("MemFree: {} kB, MemAvailable: {available} kB", memory.kib("MemFree")))
        .detail(KEY, kept)
        .detail("MemTotal", total.saturating_mul(1024))
        .detail("MemFree", memory.kib("MemFree").saturating_mul(1024))
        .detail("MemAvailable", available.saturating_mul(1024));
    let value = set.filter(|set| (chosen / 4..=total / 5).contains(set)).unwrap_or(chosen);
    let change = Change::kernel(KEY, kept.to_string(), value.to_string());
    finding.repair(Risk::Safe, tr!("set {key} to {value}", key = KEY, value), [change]);
    Ok(())
}
