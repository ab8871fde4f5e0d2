//! Reports of the OOM killer, from 2.6.32 to today.
//!
//! The sentences are those of `dump_header()`, `oom_kill_process()` (mm/oom_kill.c), `show_free_areas()` (mm/page_alloc.c,
//! since 6.4 mm/show_mem.c) and `mem_cgroup_print_oom_info()` (mm/memcontrol.c), whose layout changed with most releases.

mod blame;
mod gfp;
mod judge;
mod lines;
mod reader;
mod table;

pub use blame::Holder;
pub use gfp::{Release, flags};
pub use judge::{Judgement, Lack, Verdict, Zones};
pub(super) use reader::{Fed, Reader};

use super::Stamp;

/// Who was out of memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Constraint {
    /// The report does not tell, or is cut.
    #[default]
    Unknown,
    /// The whole machine.
    Global,
    /// The nodes of a cpuset.
    Cpuset,
    /// The nodes of a memory policy (mbind(2), numactl(8)).
    MemoryPolicy,
    /// A memory cgroup at its limit.
    Memcg,
    /// A person asked for it by SysRq-f.
    Manual,
}

/// The memory cgroup that was at its limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memcg {
    /// The cgroup whose limit was reached: the task's own or an ancestor of it.
    pub limited: String,
    /// The task's cgroup.
    pub task: String,
    /// Its use in kB when it failed.
    pub usage_kb: Option<u64>,
    /// Its limit in kB.
    pub limit_kb: Option<u64>,
    /// How often the limit was hit.
    pub failcnt: Option<u64>,
    /// The use of swap in kB, or of memory and swap together in cgroup v1.
    pub swap_usage_kb: Option<u64>,
    /// Its limit, in the same sense.
    pub swap_limit_kb: Option<u64>,
    /// How often that limit was hit.
    pub swap_failcnt: Option<u64>,
    /// Whether those two are of memory and swap together (cgroup v1).
    pub together: bool,
    /// The use of memory by the kernel, and its limit (cgroup v1).
    pub kernel_kb: Option<(u64, u64)>,
    /// What its memory is in kB, by the names of memory.stat: `anon` (cgroup v1: `rss`), `file` (`cache`), `shmem`, …
    pub parts: Vec<(String, u64)>,
}

/// One zone of one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Zone {
    /// The NUMA node.
    pub node: u32,
    /// "DMA", "DMA32", "Normal", "HighMem", "Movable", "Device".
    pub name: String,
    /// Free memory.
    pub free_kb: u64,
    /// The watermarks; unknown where only the list of free blocks is left of a zone.
    pub min_kb: Option<u64>,
    /// Below this kswapd wakes.
    pub low_kb: Option<u64>,
    /// Above this kswapd sleeps.
    pub high_kb: Option<u64>,
    /// Part of `free_kb` that only movable pages may use.
    pub free_cma_kb: u64,
    /// What the allocator manages in it; 0 where the kernel does not say (before 3.9).
    pub managed_kb: u64,
    /// For each zone that a request may have aimed at, in pages: what is kept here from such requests.
    pub lowmem_reserve: Vec<u64>,
    /// Free blocks: size in kB and how many.
    pub blocks: Vec<(u64, u64)>,
}

/// The processes of one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consumer {
    /// The command, at most 15 bytes of it.
    pub comm: String,
    /// How many processes.
    pub processes: u64,
    /// What they had resident, shared pages counted for each.
    pub rss_kb: u64,
    /// What they had in swap.
    pub swap_kb: u64,
}

/// A process that was killed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kill {
    /// When.
    pub time: Option<Stamp>,
    /// Its number.
    pub pid: u32,
    /// Its command.
    pub comm: String,
    /// Its score, where the kernel says it (2.6.36 to 5.2).
    pub score: Option<u64>,
    /// Its address space.
    pub total_vm_kb: Option<u64>,
    /// What it had resident of its own.
    pub anon_rss_kb: Option<u64>,
    /// What it had resident of files.
    pub file_rss_kb: Option<u64>,
    /// What it had resident of shared memory and tmpfs (since 4.5).
    pub shmem_rss_kb: Option<u64>,
    /// Its oom_score_adj.
    pub oom_score_adj: Option<i64>,
    /// The line that says so in the report's source, from 1; 0 where that is not known.
    pub line: u64,
    /// Whether the OOM reaper says that it freed the memory.
    pub reaped: bool,
}

/// A report. Everything may be missing from a damaged one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Oom {
    /// When it began.
    pub time: Option<Stamp>,
    /// Number of the source (file) it was found in, as the scanner's user counts.
    pub source: usize,
    /// Its first line there, from 1, and what that says.
    pub line: u64,
    /// See `line`.
    pub words: String,
    /// The host that the lines name.
    pub host: Option<String>,
    /// The kernel's release, as `uname -r` says it.
    pub kernel: Option<String>,
    /// The process whose request could not be served.
    pub trigger_comm: Option<String>,
    /// Its number.
    pub trigger_pid: Option<u32>,
    /// The request was for 2 to the power of this many pages; -1 for SysRq-f.
    pub order: Option<i32>,
    /// The request's flags as a number.
    pub gfp_mask: Option<u64>,
    /// Their names: as printed (since 4.6), else by the table of that kernel.
    pub gfp_flags: Vec<String>,
    /// Who was out of memory.
    pub constraint: Constraint,
    /// The cgroup, where it was one.
    pub memcg: Option<Memcg>,
    /// Every zone of the report.
    pub zones: Vec<Zone>,
    /// The kernel's counters of the whole machine, or the sums of its zones, in kB: `active_anon`, `slab_unreclaimable`, `shmem`, …
    pub counters: Vec<(String, u64)>,
    /// Huge pages that are set aside, all nodes and sizes.
    pub huge_pages_kb: u64,
    /// Kernel stacks, all nodes.
    pub kernel_stack_kb: u64,
    /// All memory, and what of it the kernel never gave to the allocator.
    pub ram_kb: Option<u64>,
    /// See `ram_kb`.
    pub reserved_kb: Option<u64>,
    /// Size of swap.
    pub swap_total_kb: Option<u64>,
    /// Free swap.
    pub swap_free_kb: Option<u64>,
    /// Slab caches that cannot be shrunk, largest first (since 4.15 where they are most of the memory).
    pub slabs: Vec<(String, u64)>,
    /// The size of a page in kB: 4, or 16 or 64 on arm64.
    pub page_kb: u64,
    /// The table of tasks summed by command, largest first.
    pub consumers: Vec<Consumer>,
    /// How many processes the table lists.
    pub processes: u64,
    /// Who was killed, in order.
    pub kills: Vec<Kill>,
    /// Whom the kernel chose, where the line that tells the kill may be missing.
    pub chosen: Option<(String, u32)>,
    /// The kernel found nobody to kill.
    pub no_victim: bool,
    /// The kernel stopped in place of killing: vm.panic_on_oom.
    pub panicked: bool,
    /// It was a page fault that got no memory, and from somewhere else than the allocator of pages.
    pub page_fault: bool,
    /// The cgroup in which the kernel got no memory for an object just before: its name, as SLUB writes it.
    pub kernel_memory_of: Option<String>,
}

/// Whether a text without a prefix is a line of a report; without `among`, one that nothing else has.
pub(super) fn is_part(text: &[u8], among: bool) -> bool {
    use lines::Part::*;
    match lines::part(&String::from_utf8_lossy(text)) {
        Some(Invoked | OomKill | Killed | NoVictim | Chosen | Panicked | Cpu | Reserve | Head | Memcg) => true,
        found => among && found.is_some(),
    }
}

/// Which limit of a cgroup was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// That of memory; its size in kB where the report says it.
    Memory(Option<u64>),
    /// That of memory and swap together (cgroup v1), in kB.
    WithSwap(u64),
    /// That of the kernel's own memory (cgroup v1), in kB.
    Kernel(u64),
}

impl Memcg {
    /// The limit that was reached: the one that left no room.
    pub fn reached(&self) -> Limit {
        // Up to a batch of pages may be charged and not yet used (MEMCG_CHARGE_BATCH).
        let full = |used: u64, limit: u64| used.saturating_add(512) >= limit;
        let memory = match (self.usage_kb, self.limit_kb) {
            (Some(used), Some(limit)) => full(used, limit),
            _ => true,
        };
        // Both are full where both are the same: the one that refused has counted it.
        let counted = self.failcnt == Some(0) && self.swap_failcnt.is_some_and(|count| count > 0);
        let memory = memory && !(counted && self.together);
        match (self.swap_usage_kb, self.swap_limit_kb, self.kernel_kb) {
            (Some(used), Some(limit), _) if !memory && self.together && full(used, limit) => Limit::WithSwap(limit),
            (.., Some((used, limit))) if !memory && full(used, limit) => Limit::Kernel(limit),
            _ => Limit::Memory(self.limit_kb),
        }
    }
}

impl Oom {
    /// Whether this is a report of the same kill, written twice: in two files, or told again.
    pub(super) fn repeats(&self, other: &Oom) -> bool {
        let pids = |oom: &Oom| oom.kills.iter().map(|kill| kill.pid).collect::<Vec<_>>();
        let same = |a: Option<u32>, b: Option<u32>| a == b || a.is_none() || b.is_none();
        self.time == other.time
            && self.host == other.host
            && !self.kills.is_empty()
            && pids(self) == pids(other)
            && self.trigger_comm == other.trigger_comm
            && same(self.trigger_pid, other.trigger_pid)
    }

    /// A counter of the whole machine in kB, by the kernel's name for it.
    pub fn counter(&self, name: &str) -> Option<u64> {
        self.counters.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    }

    /// All that the allocator manages: the zones' sum, else RAM without what is reserved.
    pub fn managed_kb(&self) -> Option<u64> {
        let zones: u64 = self.zones.iter().map(|zone| zone.managed_kb).fold(0, u64::saturating_add);
        if zones > 0 {
            return Some(zones);
        }
        self.ram_kb.map(|ram| ram.saturating_sub(self.reserved_kb.unwrap_or(0)))
    }

    /// What none of the kernel's counters books: pages that drivers or a balloon took, 0 when all is booked. `None` when
    /// the report lacks the counters.
    pub fn unaccounted_kb(&self) -> Option<u64> {
        const BOOKED: [&str; 15] = [
            "active_anon",
            "inactive_anon",
            "isolated_anon",
            "active_file",
            "inactive_file",
            "isolated_file",
            "isolated(anon)",
            "isolated(file)",
            "unevictable",
            "slab_reclaimable",
            "slab_unreclaimable",
            "pagetables",
            "bounce",
            "free",
            "free_pcp",
        ];
        let needed = ["active_anon", "inactive_file", "slab_unreclaimable", "free"];
        needed.iter().all(|name| self.counter(name).is_some()).then_some(())?;
        let booked: u64 = BOOKED.iter().filter_map(|name| self.counter(name)).fold(0, u64::saturating_add);
        let booked = booked.saturating_add(self.kernel_stack_kb).saturating_add(self.huge_pages_kb);
        self.managed_kb().map(|managed| managed.saturating_sub(booked))
    }

    /// Resident memory of all processes of the table.
    pub fn tasks_rss_kb(&self) -> u64 {
        self.consumers.iter().map(|consumer| consumer.rss_kb).fold(0, u64::saturating_add)
    }
}
