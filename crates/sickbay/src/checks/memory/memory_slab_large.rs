//! The kernel's own objects take a large part of the memory.

use crate::facts::Facts;
use crate::facts::memory::slab_owners::{SlabOwners, watched};
use crate::facts::memory::slabs::{Slabs, dentries};
use crate::facts::memory::{MEMINFO, size};
use crate::facts::system::kernel::MemInfo;
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::{Skip, Verdict};
use crate::model::subject::Subject;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: `free` shows memory as used that no process in `top` has; `slabtop` or `Slab:` in `/proc/meminfo` is
    /// large.
    ///
    /// ## What it finds
    /// Kernel objects that cannot be reclaimed (`SUnreclaim`) amounting to an eighth of memory or more, at least 512
    /// MiB; or reclaimable ones amounting to a quarter of memory, at least 512 MiB, most of which are not a cache of
    /// files but inodes of `/proc` or names of files that do not exist. It names who holds them: processes with many
    /// sockets, descriptors or threads, and, observed for a moment, whatever reads `/proc` or looks up files in vain:
    /// the kernel keeps no owner of these afterwards. A large inode cache on a file server is fine.
    ///
    /// ## Why it matters
    /// This memory belongs to no process: `top` does not show it. Objects that cannot be reclaimed stay until their
    /// owner closes them or exits; with a leak they grow until the OOM killer kills processes that are not to blame.
    ///
    /// ## What the repair does
    /// Nothing by itself: the owner must close what it holds. Emptying the reclaimable caches with `drop_caches` can
    /// take minutes of CPU time, and they fill up again: it does not help against a leak. How the numbers are read
    /// matters too: on old kernels `/proc/slabinfo` stops a CPU while it counts millions of objects, so counters are
    /// read instead.
    ///
    /// ## By hand
    /// ```sh
    /// slabtop -o -s c | head -20
    /// echo 2 > /proc/sys/vm/drop_caches
    /// ```
    "memory-slab-large", Memory, seed = ["C7"], proves = [], "kernel objects take up a large part of memory"
}

/// The size of a dentry in bytes on 64-bit machines, in every kernel from 2.6.32 on.
const DENTRY: u64 = 192;

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let memory = facts.get::<MemInfo>()?;
    let total = memory.total();
    let (kept, cached) = (memory.kib("SUnreclaim"), memory.kib("SReclaimable"));
    let useless = useless(facts);
    let leak = kept >= (total / 8).max(512 << 10);
    let owners = facts.get::<SlabOwners>();
    let list = owners.as_ref().map(|owners| owners.list.as_slice()).unwrap_or_default();
    // What does not give way is held by somebody; caches have no owner.
    let mut suspects = list.iter().filter(|owner| !leak || owner.pid.is_some());
    let first = suspects.next();
    // Where the caches are not told apart, a process with very many descriptors or threads is what points at it.
    let pointed = facts.get::<Slabs>().is_err() && first.is_some_and(|owner| owner.pid.is_some());
    let pile = cached >= (total / 4).max(512 << 10) && (useless >= cached / 2 || pointed);
    if !leak && !pile {
        return Ok(());
    }
    let amount = if leak { size(kept) } else { size(cached) };
    let total_text = size(total);
    let text = match (leak, first) {
        (true, Some(owner)) => tr!(
            "kernel objects that stay until their owner releases them take {amount} of {total} of memory: {owner}",
            amount,
            total = total_text,
            owner = owner.text.clone()
        ),
        (true, None) => tr!(
            "kernel objects that cannot be reclaimed take {amount} of {total} of memory, and no process holds enough to explain them",
            amount,
            total = total_text
        ),
        (false, Some(owner)) => tr!(
            "kernel objects take {amount} of {total} of memory: {owner}",
            amount,
            total = total_text,
            owner = owner.text.clone()
        ),
        (false, None) => tr!("kernel objects take {amount} of {total} of memory", amount, total = total_text),
    };
    let finding = found.add(if leak { Severity::Warning } else { Severity::Note }, text);
    finding
        .at_path(MEMINFO)
        .explains(Subject::Machine)
        .evidence(MEMINFO, format!("SReclaimable: {cached} kB, SUnreclaim: {kept} kB"))
        .detail("SReclaimable", cached.saturating_mul(1024))
        .detail("SUnreclaim", kept.saturating_mul(1024))
        .detail("MemTotal", total.saturating_mul(1024));
    if let Some(pid) = first.and_then(|owner| owner.pid) {
        finding.detail("pid", pid);
    }
    if let Some((all, negative)) = dentries(facts) {
        finding.evidence("/proc/sys/fs/dentry-state", format!("{all} dentries, {negative} negative"));
    }
    match facts.get::<Slabs>() {
        Ok(slabs) => {
            for cache in slabs.caches.iter().take(5) {
                finding.evidence(slabs.source, format!("{}: {} KiB, {} objects", cache.name, cache.kib, cache.objects));
            }
        }
        Err(Skip::Unknown(why) | Skip::NotApplicable(why)) => {
            finding.why(tr!("kernel objects cannot be broken down: {why}", why));
        }
    }
    if let Some(second) = suspects.next() {
        finding.why(tr!("the next largest: {owner}", owner = second.text.clone()));
    }
    for (index, seen) in watched(facts).into_iter().enumerate() {
        if let Some(pid) = seen.pid.filter(|_| index == 0 && first.is_none_or(|owner| owner.pid.is_none())) {
            finding.detail("pid", pid);
        }
        finding.note(seen.text);
    }
    finding.by_hand(match leak {
        true => tr!("have the owner close them, or end the owner; drop_caches does not free them"),
        false => {
            tr!("find what creates them; drop_caches frees them at the cost of CPU time, until they fill up again")
        }
    });
    Ok(())
}

/// Reclaimable objects that no file is read faster for, in KiB.
fn useless(facts: &Facts) -> u64 {
    let negative = dentries(facts).map_or(0, |(_, negative)| negative.saturating_mul(DENTRY) / 1024);
    let inodes = facts.get::<Slabs>().ok().and_then(|slabs| slabs.cache("proc_inode_cache").cloned());
    // An inode of /proc comes with a dentry.
    let of_proc = inodes.map_or(0, |cache| cache.kib.saturating_add(cache.objects.saturating_mul(DENTRY) / 1024));
    negative.saturating_add(of_proc)
}
