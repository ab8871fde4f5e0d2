//! A cgroup is about to reach its memory limit with memory that cannot be reclaimed.

use sickbay_formats::procfs::fields::Fields;

use crate::facts::Facts;
use crate::facts::memory::cgroups::{Limited, MEMORY, Mounts};
use crate::facts::memory::size;
use crate::facts::system::kernel::MemInfo;
use crate::model::finding::Findings;
use crate::model::measured::Unit;
use crate::model::outcome::Verdict;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: a container or service whose processes are killed ("Memory cgroup out of memory: Killed process …")
    /// while the machine has memory free.
    ///
    /// ## What it finds
    /// A cgroup of version 1 or 2 (a container, a service) with a memory limit of which 95 % is memory that cannot be
    /// reclaimed: of processes, shared memory and tmpfs, kernel objects that stay; without swap for it. A cgroup that
    /// is filled to its limit with cached files is fine: these are reclaimed.
    ///
    /// ## Why it matters
    /// Its next requests are refused: its processes are killed, however much memory the machine has. Requests are
    /// granted at first, because the limit counts pages when they are touched.
    ///
    /// ## What the repair does
    /// Nothing by itself: raise the limit where it was set (`MemoryMax=` of the unit, the container's definition), or
    /// make the program use less.
    ///
    /// ## By hand
    /// ```sh
    /// cat /sys/fs/cgroup/PATH/memory.stat
    /// systemctl set-property UNIT MemoryMax=2G
    /// ```
    "memory-cgroup-limit", Memory, seed = ["C6", "C7"], proves = [], "a cgroup has nearly used up its memory limit"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let memory = facts.get::<MemInfo>()?;
    let total = memory.total().saturating_mul(1024);
    let mounts = facts.get::<Mounts>()?;
    let near: Vec<(Limited, u64)> = mounts
        .limited(facts, MEMORY)
        .into_iter()
        // A limit above all memory never comes first.
        .filter(|group| group.limit > 0 && group.limit < total && group.used >= group.limit / 20 * 19)
        .filter_map(|group| Some((kept(facts, &group)?, group)))
        .filter(|(kept, group)| *kept >= group.limit / 20 * 19 && !can_swap(facts, group, &memory))
        .map(|(kept, group)| (group, kept))
        .collect();
    for (group, kept) in &near {
        // What is above a full one is full of it.
        if near.iter().any(|(other, _)| other.dir != group.dir && other.dir.starts_with(&group.dir)) {
            continue;
        }
        let (name, limit) = (group.name.as_path(), size(group.limit / 1024));
        let finding = found.warning(tr!(
            "the cgroup {name} has used {kept} of its limit of {limit} for memory that cannot be reclaimed",
            name,
            kept = size(kept / 1024),
            limit
        ));
        finding
            .at_path(&group.file)
            .why(tr!("its next requests are refused, and its processes are killed while the machine has memory left"))
            .evidence(group.file.display().to_string(), group.limit.to_string())
            .measured("memory.current", group.used as f64, Unit::Bytes, Some(group.limit as f64))
            .detail("limit", group.limit)
            .detail("used", group.used)
            .detail("unreclaimable", *kept)
            .by_hand(tr!(
                "raise the limit where it is set (MemoryMax= of a unit, the container's definition), or use less"
            ));
        for file in ["memory.events", "memory.failcnt"] {
            if let Ok(text) = facts.root().read_up_to(group.dir.join(file), 4096) {
                let text = String::from_utf8_lossy(&text).split_whitespace().collect::<Vec<_>>().join(" ");
                finding.evidence(group.dir.join(file).display().to_string(), text);
            }
        }
    }
    Ok(())
}

/// What cannot be reclaimed of a cgroup's memory, in bytes.
fn kept(facts: &Facts, group: &Limited) -> Option<u64> {
    let stat = Fields::parse(&facts.root().read_up_to(group.dir.join("memory.stat"), 1 << 16).ok()?);
    let sum = |names: &[&str]| names.iter().map(|name| stat.or_zero(name)).fold(0, u64::saturating_add);
    Some(match group.v1 {
        // Version 1 counts without the cgroups below, and with them in "total_".
        true => sum(&["total_active_anon", "total_inactive_anon", "total_unevictable"]),
        false => sum(&[
            "active_anon",
            "inactive_anon",
            "unevictable",
            "slab_unreclaimable",
            "kernel_stack",
            "pagetables",
            "percpu",
            "sock",
        ]),
    })
}

/// Whether some of it can still be swapped out.
fn can_swap(facts: &Facts, group: &Limited, memory: &MemInfo) -> bool {
    if memory.no_swap_left() {
        return false;
    }
    let value = |name: &str| {
        let text = facts.root().read_up_to(group.dir.join(name), 4096).ok()?;
        sickbay_formats::procfs::number(&text)
    };
    match group.v1 {
        true => value("memory.memsw.limit_in_bytes").is_none_or(|limit| limit > group.limit),
        false => match (value("memory.swap.max"), value("memory.swap.current")) {
            (Some(max), Some(used)) => used < max / 10 * 9,
            _ => true,
        },
    }
}
