//! Who really had the memory: rarely who asked, and not always who was killed.

use super::{Constraint, Oom};

/// What held most of the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder<'a> {
    /// Processes of this name.
    Tasks(&'a str),
    /// Objects of the kernel that cannot be reclaimed.
    Slab,
    /// Files in a tmpfs, and memory that processes share.
    Shmem,
    /// Huge pages that were set aside.
    HugePages,
    /// Pages that no counter books: buffers of pipes and sockets, drivers, a balloon.
    Unbooked,
    /// Processes, of which the log lost the greater part of the table: resident in the table, anonymous memory, in kB.
    Lost(u64, u64),
}

impl Oom {
    /// Anonymous memory in kB. Pages of shared memory are on the same lists, since they too go to swap.
    pub fn anonymous_kb(&self) -> Option<u64> {
        let anon = self.counter("active_anon")?.saturating_add(self.counter("inactive_anon").unwrap_or(0));
        Some(anon.saturating_sub(self.counter("shmem").unwrap_or(0)))
    }

    /// What held more than a third of the memory that was short, and more than anything else (of shared memory and slab,
    /// for which no process stands, a sixth); `None` where the report
    /// does not tell, or nothing stands out.
    pub fn holder(&self) -> Option<Holder<'_>> {
        let tasks = self.tasks_rss_kb();
        let memcg = self.memcg.as_ref().filter(|_| self.constraint == Constraint::Memcg);
        let part = |name: &str| {
            let found = memcg?.parts.iter().find(|(known, _)| known == name);
            found.map(|(_, kb)| *kb)
        };
        let counter = |name: &str| self.counter(name).unwrap_or(0);
        // The kernel lists caches only where objects that cannot be reclaimed take more than all programs and files
        // (is_dump_unreclaim_slabs() in mm/oom_kill.c).
        let total = match memcg {
            Some(memcg) => memcg.usage_kb?,
            None if self.counter("active_anon").is_none() && !self.slabs.is_empty() => return Some(Holder::Slab),
            None => self.managed_kb()?,
        };
        let anonymous = match memcg {
            Some(_) => part("anon").or_else(|| part("rss")).unwrap_or(0),
            None => self.anonymous_kb().unwrap_or(0),
        };
        if anonymous > total / 4 && tasks < anonymous / 2 {
            return Some(Holder::Lost(tasks, anonymous));
        }
        let mut held = match memcg {
            Some(_) => vec![(part("shmem").unwrap_or(0), Holder::Shmem), (part("slab").unwrap_or(0), Holder::Slab)],
            None => vec![
                (counter("slab_unreclaimable"), Holder::Slab),
                (counter("shmem"), Holder::Shmem),
                (self.huge_pages_kb, Holder::HugePages),
                (self.unaccounted_kb().unwrap_or(0), Holder::Unbooked),
            ],
        };
        // Shared pages count for each process: more than there is of them, the processes cannot hold.
        held.extend(self.consumers.first().map(|top| (top.rss_kb, Holder::Tasks(&top.comm))));
        let (most, holder) = held.into_iter().rev().max_by_key(|(kb, _)| *kb)?;
        let alone = matches!(holder, Holder::Tasks(_)) && most > tasks / 2 && tasks > total / 2;
        let largest = matches!(holder, Holder::Shmem | Holder::Slab) && most > total / 6;
        (most > total / 3 || alone || largest).then_some(holder)
    }
}
