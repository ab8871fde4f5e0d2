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
    /// ## Symptom
    /// You see: "fork: Cannot allocate memory", "No space left on device" on a nearly empty tmpfs, or the OOM killer,
    /// while `free` shows gigabytes free; or "page allocation failure" and lost packets.
    ///
    /// ## What it finds
    /// A running kernel whose `vm.min_free_kbytes` is more than a fifth of memory, or less than a quarter of what the
    /// kernel would choose itself (4 × the square root of the memory in KiB: 16 MiB on a machine with 16 GiB), or less
    /// than what the sysctl files say. It is fine that the kernel raises the value for transparent huge pages.
    ///
    /// ## Why it matters
    /// What is kept free counts in `MemFree`, but nobody can get it: `MemAvailable` is smaller by half as much again.
    /// With too little kept free, bursts of network packets find no page: "page allocation failure", lost packets.
    ///
    /// ## What the repair does
    /// Sets the value that the kernel would choose itself. A sysctl file that sets too much is covered by
    /// `sysctl-min-free`, and is repaired first.
    ///
    /// ## By hand
    /// ```sh
    /// # 1 % to 3 % of memory, in KiB
    /// sysctl -w vm.min_free_kbytes=KIB
    /// ```
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
            "the kernel keeps {kept} of {total} of memory free, which no program can get",
            kept = size(kept),
            total = size(total)
        );
        let finding = found.add(severity, text);
        finding.why(tr!(
            "free shows them as free: forks fail, tmpfs reports that it is full, and the OOM killer runs while they lie idle"
        ));
        finding.explains(Subject::Machine)
    } else if kept < chosen / 4 {
        let text = tr!(
            "the kernel keeps only {kept} of memory free; its own default would be {chosen}",
            kept = size(kept),
            chosen = size(chosen)
        );
        let finding = found.note(text);
        finding
            .why(tr!("requests that cannot wait, network packets first of all, find no free page when memory is full"))
    } else if let Some(set) = set.filter(|set| kept < *set && *set <= total / 5 && !tuned) {
        let (kept, set) = (size(kept), size(set));
        let text = tr!(
            "the kernel keeps {kept} of memory free, and the sysctl files say {set}: it changes at the next boot",
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
