//! A report of the OOM killer in words, and as details.

use serde_json::{Value, json};
use sickbay_formats::kernel_log::oom::{Constraint, Holder, Judgement, Kill, Lack, Limit, Oom, Verdict, Zone};

use crate::facts::memory::size;
use crate::model::finding::Finding;
use crate::model::text::Text;
use crate::tr;

/// Zones that are told without --verbose: those of two nodes.
const ZONES: usize = 6;
/// Commands and kills in one line.
const FEW: usize = 5;

/// One sentence.
pub(crate) fn message(oom: &Oom, incident: &[&Oom]) -> Text {
    let kills: Vec<&Kill> = incident.iter().flat_map(|oom| &oom.kills).collect();
    let who = match kills.as_slice() {
        [] if oom.panicked => tr!("nobody was killed; the kernel stopped as vm.panic_on_oom requires"),
        [] if oom.no_victim => tr!("nobody could be killed"),
        [] => match &oom.chosen {
            Some((comm, pid)) => tr!("{comm} ({pid}) was chosen to be killed", comm = comm.as_str(), pid),
            None => tr!("who was killed is not in the log"),
        },
        [one] => tr!("{comm} ({pid}) was killed", comm = one.comm.as_str(), pid = one.pid),
        [first, ..] => tr!(
            "{count} {count?process was|processes were} killed, {comm} ({pid}) first",
            count = kills.len(),
            comm = first.comm.as_str(),
            pid = first.pid
        ),
    };
    match (&oom.constraint, &oom.memcg) {
        (Constraint::Memcg, Some(memcg)) => {
            let cgroup = match memcg.limited.as_str() {
                "" => tr!("a cgroup that the log does not name"),
                path => tr!("cgroup {path}", path),
            };
            match memcg.reached() {
                Limit::Memory(Some(limit)) => {
                    tr!("{cgroup} reached its limit of {limit}: {who}", cgroup, limit = size(limit), who)
                }
                Limit::Memory(None) => tr!("{cgroup} reached its memory limit: {who}", cgroup, who),
                Limit::WithSwap(limit) => tr!(
                    "{cgroup} reached its limit of {limit} for memory and swap together: {who}",
                    cgroup,
                    limit = size(limit),
                    who
                ),
                Limit::Kernel(limit) => tr!(
                    "{cgroup} reached its limit of {limit} for kernel memory: {who}",
                    cgroup,
                    limit = size(limit),
                    who
                ),
            }
        }
        (Constraint::Manual, _) => tr!("somebody made the kernel kill (SysRq f): {who}", who),
        (Constraint::Cpuset, _) => tr!("the nodes of a cpuset were out of memory: {who}", who),
        (Constraint::MemoryPolicy, _) => tr!("the nodes of a memory policy were out of memory: {who}", who),
        _ => match oom.lack() {
            Lack::Memory => tr!("the machine was out of memory: {who}", who),
            Lack::Blocks => tr!(
                "free memory was too fragmented for a request of order {order}: {who}",
                order = oom.order.unwrap_or(0),
                who
            ),
            Lack::LowMemory(zone, other, free) => {
                tr!(
                    "zone {zone} was out of memory, while {other} had {free} free: {who}",
                    zone,
                    other,
                    free = size(free),
                    who
                )
            }
            Lack::KernelMemory("") => tr!("a page fault got no memory, although memory was free: {who}", who),
            Lack::KernelMemory(cgroup) => tr!(
                "the kernel memory of cgroup {cgroup} was at its limit, although the machine had memory: {who}",
                cgroup,
                who
            ),
            Lack::Nothing => tr!("the OOM killer ran although memory was free: {who}", who),
        },
    }
}

/// Why a processor may have been busy, where the kernel searched for memory.
pub(crate) fn why(oom: &Oom) -> Text {
    match (&oom.constraint, oom.lack()) {
        (Constraint::Manual, _) => tr!("there was no lack of memory: order -1 is what SysRq f asks for"),
        (Constraint::Memcg | Constraint::Cpuset | Constraint::MemoryPolicy, _) | (_, Lack::Memory | Lack::Blocks) => {
            tr!(
                "the kernel searched for memory in vain before it killed: a CPU peak at that moment is the effect of the memory shortage, not its cause"
            )
        }
        (_, Lack::LowMemory(zone, ..)) => {
            tr!("such a request may not use any zone above {zone}: memory that is free above it does not help", zone)
        }
        (_, Lack::KernelMemory(_)) => tr!(
            "the page allocator was not asked, or had enough: a cgroup's limit on kernel memory refused, and the killed process has nothing to do with it"
        ),
        (_, Lack::Nothing) => tr!(
            "each zone that the request may use had more than it needed when the report was written: memory was freed meanwhile, or a limit elsewhere refused"
        ),
    }
}

/// The whole story in notes, evidence and details.
pub(crate) fn tell(oom: &Oom, incident: &[&Oom], finding: &mut Finding) {
    request(oom, finding);
    let judged = oom.judge();
    // A cgroup at its limit has nothing to do with the zones.
    if oom.constraint != Constraint::Memcg {
        zones(oom, &judged, finding);
    }
    memory(oom, finding);
    consumers(oom, finding);
    victims(incident, finding);
    details(oom, &judged, incident, finding);
}

fn request(oom: &Oom, finding: &mut Finding) {
    let Some(comm) = oom.trigger_comm.as_deref() else {
        finding.note(tr!("the beginning of the report is missing: who asked is unknown"));
        return;
    };
    let pid = oom.trigger_pid.map_or_else(|| "?".to_owned(), |pid| pid.to_string());
    let order = oom.order.unwrap_or(0);
    let bytes = size(oom.page_kb << u32::try_from(order).unwrap_or(0).min(20));
    let flags = match (oom.gfp_flags.as_slice(), oom.gfp_mask) {
        ([], Some(mask)) => format!("gfp_mask={mask:#x}"),
        ([], None) => "?".to_owned(),
        (flags, _) => flags.join("|"),
    };
    let kernel = oom.kernel.as_deref().unwrap_or("?");
    finding.note(tr!(
        "{comm} ({pid}) asked for {bytes} (order {order}, {flags}; kernel {kernel}): it asked at the wrong moment, and is not necessarily what used up the memory",
        comm,
        pid,
        bytes,
        order,
        flags,
        kernel
    ));
}

fn zones(oom: &Oom, judged: &[Judgement], finding: &mut Finding) {
    let asked = oom.top_zone();
    let mut told = 0;
    for judgement in judged {
        let Some(zone) = oom.zones.get(judgement.zone) else { continue };
        let text = verdict(oom, zone, judgement, asked);
        let name = name(oom, zone);
        let whole = tr!("{name}: {verdict}", name, verdict = text);
        if judgement.verdict != Verdict::NotAsked && told < ZONES {
            told += 1;
            finding.note(whole);
        } else {
            finding.verbose_note(whole);
        }
    }
    for zone in &oom.zones {
        let blocks: Vec<String> = zone.blocks.iter().map(|(size, count)| format!("{count}×{size}")).collect();
        let or = |value: Option<u64>| value.map_or_else(|| "?".to_owned(), |value| value.to_string());
        finding.verbose_note(tr!(
            "{name}: free {free}, min {min}, low {low}, high {high}, managed {managed} kB; lowmem_reserve {reserve} pages; free blocks in kB: {blocks}",
            name = name(oom, zone),
            free = zone.free_kb,
            min = or(zone.min_kb),
            low = or(zone.low_kb),
            high = or(zone.high_kb),
            managed = zone.managed_kb,
            reserve = format!("{:?}", zone.lowmem_reserve),
            blocks = blocks.join(" ")
        ));
    }
}

/// "Normal", with its node where there are several.
fn name(oom: &Oom, zone: &Zone) -> String {
    let several = oom.zones.iter().any(|other| other.node != zone.node);
    if several { format!("node {} {}", zone.node, zone.name) } else { zone.name.clone() }
}

fn verdict(oom: &Oom, zone: &Zone, judgement: &Judgement, asked: &str) -> Text {
    let (free, min, deficit) = (judgement.usable_kb, zone.min_kb.unwrap_or(0), judgement.deficit_kb);
    match judgement.verdict {
        Verdict::NotAsked => tr!("is above {asked}, the highest zone that such a request may use", asked),
        // More than the sum must be free.
        Verdict::BelowMin | Verdict::Reserved if deficit == 0 => tr!(
            "{free} kB free, all of it reserved: min {min} kB and lowmem_reserve {reserve} kB",
            free,
            min,
            reserve = judgement.reserve_kb
        ),
        Verdict::BelowMin if judgement.reserve_kb == 0 => {
            tr!("{free} kB free, min {min} kB: {deficit} kB below min", free, min, deficit)
        }
        Verdict::BelowMin | Verdict::Reserved => tr!(
            "{free} kB free, but min {min} kB and lowmem_reserve {reserve} kB make {needed} kB: {deficit} kB short",
            free,
            min,
            reserve = judgement.reserve_kb,
            needed = judgement.needed_kb,
            deficit
        ),
        Verdict::Fragmented(largest) => {
            let wanted = oom.page_kb << u32::try_from(oom.order.unwrap_or(0)).unwrap_or(0).min(20);
            tr!(
                "{free} kB free, but fragmented: the largest block is {largest} kB, {wanted} kB were requested",
                free,
                largest,
                wanted
            )
        }
        Verdict::Untold if zone.min_kb.is_some() => tr!(
            "{free} kB free, {needed} kB needed; whether in blocks as large as requested is not in the log",
            free,
            needed = judgement.needed_kb
        ),
        Verdict::Untold => tr!("{free} kB free; how much had to be free is not in the log", free),
        Verdict::Enough => {
            tr!(
                "{free} kB free, {needed} kB needed: enough when the report was written",
                free,
                needed = judgement.needed_kb
            )
        }
    }
}

fn memory(oom: &Oom, finding: &mut Finding) {
    if let Some(memcg) = &oom.memcg
        && !memcg.parts.is_empty()
    {
        let parts: Vec<String> = memcg.parts.iter().map(|(name, kb)| format!("{name} {}", size(*kb))).collect();
        finding.note(tr!("composition of the cgroup's memory: {parts}", parts = parts.join(", ")));
    }
    if let Some(memcg) = &oom.memcg
        && let (Some(usage), Some(limit)) = (memcg.usage_kb, memcg.limit_kb)
    {
        let hits = match memcg.reached() {
            Limit::WithSwap(_) => memcg.swap_failcnt.or(memcg.failcnt),
            _ => memcg.failcnt,
        };
        let (task, hits) = (memcg.task.as_str(), hits.unwrap_or(0));
        finding.note(if task.is_empty() {
            tr!("{usage} of {limit} kB used, limit hit {hits} {hits?time|times}", usage, limit, hits)
        } else {
            tr!(
                "{usage} of {limit} kB used, limit hit {hits} {hits?time|times}; the task's own cgroup: {task}",
                usage,
                limit,
                hits,
                task
            )
        });
    }
    // What the report lacks is left out: it is not 0.
    let sum = |names: &[&str]| names.iter().map(|name| oom.counter(name)).sum::<Option<u64>>();
    let mut parts: Vec<Text> = Vec::new();
    parts.extend(oom.anonymous_kb().map(|kb| tr!("anonymous {size}", size = size(kb))));
    parts.extend(sum(&["active_file", "inactive_file"]).map(|kb| tr!("page cache {size}", size = size(kb))));
    parts.extend(sum(&["shmem"]).map(|kb| tr!("shared memory and tmpfs {size}", size = size(kb))));
    parts.extend(sum(&["slab_reclaimable", "slab_unreclaimable"]).map(|kb| {
        let fixed = size(oom.counter("slab_unreclaimable").unwrap_or(0));
        tr!("slab {size} ({fixed} of it cannot be freed)", size = size(kb), fixed)
    }));
    parts.extend(sum(&["pagetables"]).map(|kb| tr!("page tables {size}", size = size(kb))));
    parts.extend((oom.huge_pages_kb > 0).then(|| tr!("huge pages {size}", size = size(oom.huge_pages_kb))));
    parts.extend(oom.unaccounted_kb().map(|kb| tr!("unaccounted for {size}", size = size(kb))));
    if let Some(all) = parts.into_iter().reduce(|all, part| tr!("{all}, {part}", all, part)) {
        finding.note(all);
    }
    if let (Some(total), Some(free)) = (oom.swap_total_kb, oom.swap_free_kb) {
        if total == 0 {
            finding.note(tr!("there was no swap"));
        } else {
            finding.note(tr!("swap: {free} of {total} free", free = size(free), total = size(total)));
        }
    }
    for (cache, kb) in &oom.slabs {
        finding.verbose_note(tr!("slab {cache}: {size}", cache = cache.as_str(), size = size(*kb)));
    }
}

fn consumers(oom: &Oom, finding: &mut Finding) {
    if let Some(text) = who(oom) {
        finding.note(text);
    }
    if oom.consumers.is_empty() {
        return;
    }
    let few: Vec<String> = oom
        .consumers
        .iter()
        .take(FEW)
        .map(|consumer| match consumer.processes {
            1 => format!("{} {}", consumer.comm, size(consumer.rss_kb)),
            count => format!("{} ×{count} {}", consumer.comm, size(consumer.rss_kb)),
        })
        .collect();
    finding.note(tr!("resident by command: {list}", list = few.join(", ")));
    for consumer in &oom.consumers {
        finding.verbose_note(tr!(
            "{comm}: {processes} {processes?process|processes}, {rss} resident, {swap} in swap",
            comm = consumer.comm.as_str(),
            processes = consumer.processes,
            rss = size(consumer.rss_kb),
            swap = size(consumer.swap_kb)
        ));
    }
}

/// Who really had the memory, where the report tells.
fn who(oom: &Oom) -> Option<Text> {
    Some(match oom.holder()? {
        Holder::Tasks(comm) => tr!("most of it was used by {comm}", comm),
        Holder::Slab => {
            let caches: Vec<String> =
                oom.slabs.iter().take(3).map(|(name, kb)| format!("{name} {}", size(*kb))).collect();
            if caches.is_empty() {
                tr!("most of it was the kernel's own, in slab: killing a process does not give that back")
            } else {
                tr!(
                    "most of it was the kernel's own, in slab: killing a process does not give that back; most in {caches}",
                    caches = caches.join(", ")
                )
            }
        }
        Holder::Shmem => {
            tr!("most of it was shared memory or files in a tmpfs: killing a process does not give that back")
        }
        Holder::HugePages => tr!("most of it was reserved as huge pages"),
        Holder::Unbooked => tr!(
            "most of it is unaccounted for: the kernel took it page by page, for example for data waiting in pipes and sockets, for a driver, or for the host's balloon"
        ),
        Holder::Lost(tasks, anon) => tr!(
            "the task table explains only {tasks} of {anon} anonymous memory: it is truncated, and who had the rest is not in the log",
            tasks = size(tasks),
            anon = size(anon)
        ),
    })
}

fn victims(incident: &[&Oom], finding: &mut Finding) {
    let kills: Vec<&Kill> = incident.iter().flat_map(|oom| &oom.kills).collect();
    let freed = |kill: &Kill| {
        [kill.anon_rss_kb, kill.file_rss_kb, kill.shmem_rss_kb].iter().flatten().copied().fold(0, u64::saturating_add)
    };
    match kills.as_slice() {
        [] => {}
        [kill] => {
            let (comm, pid, freed) = (kill.comm.as_str(), kill.pid, size(freed(kill)));
            finding.note(match kill.score {
                Some(score) => {
                    tr!("{comm} ({pid}), score {score}, was killed and had {freed} resident", comm, pid, score, freed)
                }
                None => tr!("{comm} ({pid}) was killed and had {freed} resident", comm, pid, freed),
            });
        }
        kills => {
            let line = |kill: &&Kill| {
                let time = kill.time.map(|time| format!("{time} ")).unwrap_or_default();
                format!("{time}{} ({}) {}", kill.comm, kill.pid, size(freed(kill)))
            };
            let list: Vec<String> = kills.iter().take(FEW).map(line).collect();
            let more = kills.len().saturating_sub(FEW);
            let list = list.join(", ");
            finding.note(if more > 0 {
                tr!("killed one after the other: {list} and {more} more", list, more)
            } else {
                tr!("killed one after the other: {list}", list)
            });
            for kill in kills.iter().skip(FEW) {
                finding.verbose_note(tr!("killed: {kill}", kill = line(kill)));
            }
        }
    }
}

/// What a person can do.
pub(crate) fn advice(oom: &Oom) -> Text {
    let holder = oom.holder();
    match (&oom.constraint, oom.lack()) {
        (Constraint::Manual, _) => {
            tr!("find out who asked for it: echo f > /proc/sysrq-trigger, or the keys Alt+SysRq+F")
        }
        (Constraint::Memcg, _) => match oom.memcg.as_ref().map(|memcg| memcg.reached()) {
            Some(Limit::Kernel(_)) => tr!(
                "remove the cgroup's limit on kernel memory (memory.kmem.limit_in_bytes, docker --kernel-memory), and limit its processes instead"
            ),
            _ if matches!(holder, Some(Holder::Shmem)) => tr!(
                "remove files from the cgroup's tmpfs (/dev/shm, an emptyDir in memory) or limit their size, since they count in the cgroup; or raise its limit"
            ),
            Some(Limit::WithSwap(_)) => tr!(
                "raise the limit on memory and swap together (memory.memsw.limit_in_bytes, docker --memory-swap), or make the largest user in the cgroup take less"
            ),
            _ => tr!(
                "raise the cgroup's limit (memory.max, MemoryMax=, the container's limit), or make its largest user take less"
            ),
        },
        (Constraint::Cpuset | Constraint::MemoryPolicy, _) => tr!("let the task use more nodes, or make it take less"),
        (_, Lack::KernelMemory(_)) => tr!(
            "remove that container's limit on kernel memory (docker --kernel-memory), and limit its number of processes instead (--pids-limit)"
        ),
        (_, Lack::Nothing) => {
            tr!("look for a limit that refused: the limits of cgroups, of the allowed nodes, of the process")
        }
        (_, Lack::LowMemory(_, "HighMem", _)) => tr!(
            "use a 64-bit kernel: the kernel's own data fits only below HighMem; until then raise vm.min_free_kbytes and vm.lowmem_reserve_ratio, and keep fewer files cached"
        ),
        (_, Lack::LowMemory(zone, ..)) => tr!(
            "find what allocates only from {zone} (a driver with a narrow DMA mask), and keep more of it free: vm.lowmem_reserve_ratio, vm.min_free_kbytes",
            zone
        ),
        (_, Lack::Blocks) => {
            tr!(
                "find what asks for such large blocks and make it use smaller ones, and compact memory earlier (vm.compact_memory, vm.min_free_kbytes)"
            )
        }
        _ if matches!(holder, Some(Holder::Slab)) => match oom.slabs.first() {
            Some((cache, _)) => tr!(
                "find what in the kernel fills the cache {cache}: a driver, a file system, too many files or connections; a newer kernel may have the leak fixed",
                cache = cache.as_str()
            ),
            None => tr!("find what in the kernel fills slab: slabtop -sc on the running machine"),
        },
        _ if matches!(holder, Some(Holder::Shmem)) => tr!(
            "remove files from the tmpfs that holds them (df -t tmpfs) or limit its size=, and check shared memory (ipcs -m)"
        ),
        _ if oom.order.unwrap_or(0) > 3 => {
            tr!(
                "find what asks for such large blocks and make it use smaller ones, and compact memory earlier (vm.compact_memory, vm.min_free_kbytes)"
            )
        }
        _ if oom.swap_total_kb == Some(0) => {
            tr!("give the machine more memory or swap, or make its largest user take less")
        }
        _ => tr!("give the machine more memory, or make its largest user take less"),
    }
}

fn details(oom: &Oom, judged: &[Judgement], incident: &[&Oom], finding: &mut Finding) {
    let constraint = match oom.constraint {
        Constraint::Unknown => "unknown",
        Constraint::Global => "global",
        Constraint::Cpuset => "cpuset",
        Constraint::MemoryPolicy => "mempolicy",
        Constraint::Memcg => "memcg",
        Constraint::Manual => "manual",
    };
    let judged_of = |index: usize| judged.iter().find(|judgement| judgement.zone == index);
    let zones: Vec<Value> = oom
        .zones
        .iter()
        .enumerate()
        .map(|(index, zone)| {
            let judgement = judged_of(index);
            json!({
                "node": zone.node,
                "name": zone.name,
                "free_kb": zone.free_kb,
                "min_kb": zone.min_kb,
                "low_kb": zone.low_kb,
                "high_kb": zone.high_kb,
                "lowmem_reserve_kb": judgement.map(|judgement| judgement.reserve_kb),
                "deficit_kb": judgement.map(|judgement| judgement.deficit_kb),
            })
        })
        .collect();
    let top: Vec<Value> = oom
        .consumers
        .iter()
        .take(10)
        .map(|top| json!({"comm": top.comm, "processes": top.processes, "rss_kb": top.rss_kb}))
        .collect();
    let kill = oom.kills.first();
    let time = |time: Option<sickbay_formats::kernel_log::Stamp>| time.map(|time| time.to_string());
    let kills: Vec<Value> = incident
        .iter()
        .flat_map(|oom| &oom.kills)
        .take(100)
        .map(|kill| json!({"time": time(kill.time), "pid": kill.pid, "comm": kill.comm, "anon_rss_kb": kill.anon_rss_kb}))
        .collect();
    let events: Vec<Value> = incident
        .iter()
        .take(100)
        .map(|oom| {
            let killed: Vec<&str> = oom.kills.iter().take(FEW).map(|kill| kill.comm.as_str()).collect();
            json!({"time": time(oom.time), "line": oom.line, "trigger_comm": oom.trigger_comm, "killed": killed})
        })
        .collect();
    finding
        .detail("events", events)
        .detail("kernel", oom.kernel.clone())
        .detail("trigger_comm", oom.trigger_comm.clone())
        .detail("trigger_pid", oom.trigger_pid)
        .detail("order", oom.order)
        .detail("gfp_mask", oom.gfp_mask.map(|mask| format!("{mask:#x}")))
        .detail("gfp_flags", oom.gfp_flags.clone())
        .detail("constraint", constraint)
        .detail("memcg", oom.memcg.as_ref().map(|memcg| memcg.limited.clone()))
        .detail("memcg_limit_kb", oom.memcg.as_ref().and_then(|memcg| memcg.limit_kb))
        .detail("zones", zones)
        .detail("victim_pid", kill.map(|kill| kill.pid))
        .detail("victim_comm", kill.map(|kill| kill.comm.clone()))
        .detail("victim_score", kill.and_then(|kill| kill.score))
        .detail("victim_total_vm_kb", kill.and_then(|kill| kill.total_vm_kb))
        .detail("victim_anon_rss_kb", kill.and_then(|kill| kill.anon_rss_kb))
        .detail("victim_file_rss_kb", kill.and_then(|kill| kill.file_rss_kb))
        .detail("top_consumers", top)
        .detail("unaccounted_kb", oom.unaccounted_kb())
        .detail("swap_total_kb", oom.swap_total_kb)
        .detail("swap_free_kb", oom.swap_free_kb)
        .detail("killed_at", time(kill.and_then(|kill| kill.time)))
        .detail("kills", kills);
}
