//! What a line of a report is, and whether the next one is its second half.

/// The lines that mean something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// `nginx invoked oom-killer: gfp_mask=…`
    Invoked,
    /// `CPU: 1 PID: 10242 Comm: nginx Not tainted 3.13.0-86-generic`
    Cpu,
    /// `Node 0 …`, also several run together.
    Node,
    /// `lowmem_reserve[]: 0 3746 7968 7968`
    Reserve,
    /// `active_anon:904812 inactive_anon:130 …`, in pages.
    Counters,
    /// `Free swap = 0kB`, `Total swap = 0kB`, `2097054 pages RAM`, `33366 pages reserved`.
    Total,
    /// `[ pid ]   uid  tgid …`
    Head,
    /// `[  355]     0   355 …`
    Row,
    /// `oom-kill:constraint=…`
    OomKill,
    /// `Out of memory: Kill process 10366 (nginx) score 6 or sacrifice child`
    Chosen,
    /// `Killed process 10366 (nginx) total-vm:…`
    Killed,
    /// `Out of memory and no killable processes...`
    NoVictim,
    /// `Task in /a killed as a result of limit of /b`, `memory: usage …`.
    Memcg,
    /// What a cgroup's memory is: `Memory cgroup stats for /a: cache:0KB rss:61440KB shmem:0KB …` in one line, since 5.0
    /// `anon 62914560`, one a line.
    MemcgUse,
    /// `Kernel panic - not syncing: Out of memory: system-wide panic_on_oom is enabled`
    Panicked,
    /// `java cpuset=/ mems_allowed=0-1`: a line of its own before 5.0.
    Cpuset,
    /// `dentry  12345KB  23456KB`
    Slab,
    /// Part of a report that tells nothing needed here.
    Other,
}

/// Names of the counters of show_free_areas() that begin a line.
const COUNTERS: [&str; 8] = [
    "active_anon:",
    "active_file:",
    "unevictable:",
    "slab_reclaimable:",
    "mapped:",
    "sec_pagetables:",
    "kernel_misc_reclaimable:",
    "free:",
];

const OTHER: [&str; 23] = [
    "Mem-Info",
    "Mem-info",
    "Call Trace",
    "Hardware name",
    "Swap cache stats",
    "Tasks state",
    "Tasks dump",
    "Unreclaimable slab info",
    "Name                      Used",
    "Memory limit reached",
    "Tasks in /",
    "Workqueue:",
    "Tainted:",
    "pstate:",
    "pc :",
    "lr :",
    "sp :",
    "RIP:",
    "RSP:",
    "Code:",
    "CPU    ",
    "Hugepagesize",
    "Purging",
];

/// What `text`, without prefix, is; `None` for what is in no report, or is the second half of a line.
pub(super) fn part(text: &str) -> Option<Part> {
    let text = text.trim_start();
    if text.contains(" invoked oom-killer") {
        return Some(Part::Invoked);
    }
    if text.contains("oom-kill:constraint=") {
        return Some(Part::OomKill);
    }
    if text.contains("Killed process ") {
        return Some(Part::Killed);
    }
    if text.contains("no killable processes") || text.contains("System is deadlocked on memory") {
        return Some(Part::NoVictim);
    }
    // 2.6.32: "out of memory. panic_on_oom is selected"
    if text.contains("panic_on_oom is ") {
        return Some(Part::Panicked);
    }
    if text.contains("Kill process ") || text.contains(": kill process ") {
        return Some(Part::Chosen);
    }
    if node(text) {
        return Some(Part::Node);
    }
    if text.starts_with("lowmem_reserve[]") {
        return Some(Part::Reserve);
    }
    if let Some(rest) = text.strip_prefix('[') {
        let inside = rest.split(']').next().unwrap_or_default().trim();
        if inside == "pid" {
            return Some(Part::Head);
        }
        return (!inside.is_empty() && inside.len() < 12 && inside.bytes().all(|b| b.is_ascii_digit()))
            .then_some(Part::Row);
    }
    if let Some(name) = COUNTERS.iter().find(|name| text.starts_with(**name)) {
        // In kB it is the middle of a zone's line.
        let value: String = text.get(name.len()..).unwrap_or_default().trim_start().chars().take(24).collect();
        let digits = value.bytes().take_while(u8::is_ascii_digit).count();
        return (digits > 0 && !value.get(digits..).is_some_and(|rest| rest.starts_with("kB")))
            .then_some(Part::Counters);
    }
    if (text.starts_with("CPU: ") && text.contains("Comm: ")) || text.starts_with("Pid: ") {
        return Some(Part::Cpu);
    }
    if ["Free swap", "Total swap"].iter().any(|head| text.starts_with(head)) {
        return Some(Part::Total);
    }
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        if text.contains(" pages RAM") || text.contains(" pages reserved") {
            return Some(Part::Total);
        }
        let plain = [
            "total pagecache pages",
            "pages in swap cache",
            "pages HighMem",
            "pages cma reserved",
            "pages shared",
            "pages non-shared",
            "pages hwpoisoned",
            "pages in pagetable cache",
        ];
        return plain.iter().any(|words| text.contains(words)).then_some(Part::Other);
    }
    if (text.starts_with("Task in ") && text.contains("killed as a result of limit"))
        || (text.contains(": usage ") && text.contains(", limit "))
    {
        return Some(Part::Memcg);
    }
    if text.starts_with("Memory cgroup stats for ") || memcg_use(text).is_some() {
        return Some(Part::MemcgUse);
    }
    if slab(text).is_some() {
        return Some(Part::Slab);
    }
    if text.contains(" cpuset=") && text.contains(" mems_allowed=") {
        return Some(Part::Cpuset);
    }
    let known = OTHER.iter().any(|head| text.starts_with(head)) || is_frame(text);
    known.then_some(Part::Other)
}

/// ` dump_stack+0x99/0xdc`, ` [<ffffffff8172a3b4>] dump_stack+0x45/0x56`.
fn is_frame(text: &str) -> bool {
    text.contains("+0x") && text.contains("/0x")
}

/// The zones that a kernel can have.
pub(super) const ZONES: [&str; 6] = ["DMA", "DMA32", "Normal", "HighMem", "Movable", "Device"];

fn node(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("Node ") else { return zone(text) };
    let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    rest.starts_with(' ')
}

/// A zone's line of a kernel without NUMA, which does not name the node: `Normal free:1800kB min:…`, `DMA: 3*4kB …`.
pub(super) fn zone(text: &str) -> bool {
    let name = text.bytes().take_while(u8::is_ascii_alphanumeric).count();
    let (name, rest) = text.split_at(name);
    let listed = rest.strip_prefix(": ").is_some_and(|rest| {
        rest.starts_with(|c: char| c.is_ascii_digit()) && rest.split(' ').next().is_some_and(|word| word.contains('*'))
    });
    ZONES.contains(&name) && (rest.starts_with(" free:") || listed)
}

/// A row of the table of slab caches: name, kB used, kB.
pub(super) fn slab(text: &str) -> Option<(&str, u64)> {
    let mut words = text.split_whitespace();
    let (name, used, all) = (words.next()?, words.next()?, words.next()?);
    used.strip_suffix("KB")?.parse::<u64>().ok()?;
    let size = all.strip_suffix("KB")?.parse().ok()?;
    words.next().is_none().then_some((name, size))
}

/// A line of what a cgroup's memory is, in bytes; the names are those of memory.stat.
pub(super) fn memcg_use(text: &str) -> Option<(&str, u64)> {
    const NAMES: [&str; 8] = ["anon", "file", "shmem", "slab", "sock", "kernel_stack", "cache", "rss"];
    let (name, bytes) = text.trim_end().split_once(' ')?;
    NAMES.contains(&name).then_some((name, bytes.parse().ok()?))
}

/// Whether a line of this kind may still go on in the next line.
pub(super) fn is_open(part: Part, text: &str) -> bool {
    let text = text.trim_end();
    match part {
        Part::Node => true,
        Part::Reserve | Part::Counters | Part::OomKill => true,
        Part::Invoked => !(text.contains("order=") && (text.contains("oom_score_adj=") || text.contains("oom_adj="))),
        Part::Cpu => !text.contains("ainted"),
        Part::Chosen => !text.ends_with("child") && !text.contains("Killed"),
        Part::Killed => {
            text.ends_with(['-', '_', ',', ':']) || (text.contains("total-vm:") && !text.contains("file-rss:"))
        }
        Part::Head => !text.ends_with("name"),
        _ => false,
    }
}

/// Puts the second half of a line behind the first.
pub(super) fn join(text: &mut String, more: &str) {
    let more = more.trim();
    let end = text.trim_end().len();
    text.truncate(end);
    let torn = text.ends_with(['_', '-', '.', '=']) || more.starts_with('_');
    if !torn {
        text.push(' ');
    }
    text.push_str(more);
}
