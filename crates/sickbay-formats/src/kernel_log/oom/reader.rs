//! Puts a report together from the lines of a log.

use std::borrow::Cow;

use bstr::ByteSlice;

use super::lines::{Part, ZONES as ZONE_NAMES, is_open, join, memcg_use, part, slab, zone};
use super::table::Table;
use super::{Constraint, Kill, Oom, Release, Zone, flags};
use crate::kernel_log::{Message, Stamp};

/// So many lines in a row that belong to no report end it.
const FOREIGN: usize = 400;
/// The same once somebody was killed: only a few words follow.
const FOREIGN_AFTER_KILL: usize = 12;
/// A line is not joined beyond this.
const LONGEST: usize = 16 << 10;
/// No machine has more zones than this; a hostile log may.
const ZONES: usize = 4096;
/// No more kills are kept of one report.
const KILLS: usize = 4096;

/// How a line was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fed {
    /// The report goes on.
    More,
    /// The report was over before this line.
    Over,
}

/// A report being read.
#[derive(Debug)]
pub(crate) struct Reader {
    oom: Oom,
    host: Option<Vec<u8>>,
    table: Table,
    /// Sums of what the zones say in kB. Before 4.8 that is all there is to be known.
    sums: Vec<(&'static str, u64)>,
    /// The line that may go on, and whether it had a prefix.
    line: String,
    kind: Option<Part>,
    prefixed: bool,
    foreign: usize,
    time: Option<Stamp>,
    /// The process that asked is in a cpuset other than the root.
    some_nodes: bool,
    /// Where the line that is read stands in its source, and where `line` began.
    at: u64,
    began: u64,
    /// What stood before the name of the process that asked, where no prefix is known that looks so: the shape of each
    /// of its words. Every line of the report begins so.
    head: Vec<String>,
    /// The first line as it was: the name is at its end.
    asked: String,
}

impl Reader {
    /// A report that begins with this line.
    pub(crate) fn new(message: &Message<'_>, source: usize, line: u64) -> Reader {
        let words = message.text.to_str_lossy().trim().chars().take(400).collect();
        Reader {
            oom: Oom { time: message.time, source, line, words, ..Oom::default() },
            host: message.host.map(<[u8]>::to_vec),
            table: Table::default(),
            sums: Vec::new(),
            line: String::new(),
            kind: None,
            prefixed: false,
            foreign: 0,
            time: message.time,
            some_nodes: false,
            at: line,
            began: line,
            head: Vec::new(),
            asked: String::new(),
        }
    }

    /// The next line stands here in its source.
    pub(crate) fn at(&mut self, line: u64) {
        self.at = line;
    }

    /// What SLUB said just before: the name of a cgroup in which there was no room for an object.
    pub(crate) fn no_kernel_memory(&mut self, cgroup: &str) {
        self.oom.kernel_memory_of = Some(cgroup.to_owned());
    }

    /// Whether a line may be of this report: it is not another host's.
    pub(crate) fn is_of(&self, message: &Message<'_>) -> bool {
        message.host.is_none() || self.host.as_deref() == message.host
    }

    /// Whether somebody was killed already.
    pub(crate) fn has_kill(&self) -> bool {
        !self.oom.kills.is_empty() || self.kind == Some(Part::Killed)
    }

    /// Takes the next line. [`Fed::Over`] when it begins another report or is too far behind.
    pub(crate) fn feed(&mut self, message: &Message<'_>) -> Fed {
        let text = String::from_utf8_lossy(&message.text);
        let text = self.without_head(text);
        let trimmed = text.trim();
        if trimmed.is_empty() || trimmed == "```" {
            return Fed::More;
        }
        let kind = part(&text);
        let wrapped = kind.is_none() && !message.prefixed && !self.line.is_empty();
        if wrapped && self.line.len() < LONGEST && self.kind.is_some_and(|kind| self.is_open(kind)) {
            join(&mut self.line, &text);
            return Fed::More;
        }
        // The line is another processor's, or of no report; or it repeats the beginning.
        let begins = kind == Some(Part::Invoked)
            && (self.oom.trigger_comm.is_some() || self.has_kill() || self.kind == Some(Part::Invoked));
        let apart = self.time.zip(message.time).and_then(|(before, now)| between(before, now));
        let late = apart.is_some_and(|seconds| seconds > 300);
        let other = apart.is_some_and(|seconds| seconds > 2) && begins_another(trimmed);
        if begins || other || (late && kind != Some(Part::Row)) {
            return Fed::Over;
        }
        self.oom.page_fault |= trimmed.contains("pagefault_out_of_memory");
        match kind {
            Some(Part::Other) | None => self.foreign += 1,
            Some(_) => self.foreign = 0,
        }
        let limit = if self.has_kill() { FOREIGN_AFTER_KILL } else { FOREIGN };
        if self.foreign > limit {
            return Fed::Over;
        }
        if let Some(kind) = kind.filter(|kind| *kind != Part::Other) {
            self.close();
            // Anything may stand before these words: a prefix that is not known.
            self.line = text.into_owned();
            self.began = self.at;
            self.kind = Some(kind);
            self.prefixed = message.prefixed;
            self.time = message.time.or(self.time);
        } else if kind.is_some() || message.prefixed {
            self.close();
        }
        Fed::More
    }

    /// The line without what stands before every line of this report, where that is no known prefix.
    fn without_head<'a>(&self, text: Cow<'a, str>) -> Cow<'a, str> {
        if self.head.is_empty() {
            return text;
        }
        let mut rest = text.trim_start();
        for shape in &self.head {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            if self::shape(word) != *shape {
                return text;
            }
            rest = after.trim_start();
        }
        Cow::Owned(rest.to_owned())
    }

    fn is_open(&self, kind: Part) -> bool {
        if self.prefixed {
            return kind != Part::Row || self.table.row(&self.line).is_none_or(|row| !self.table.is_whole(&row));
        }
        match kind {
            Part::Row => self.table.row(&self.line).is_some_and(|row| !self.table.is_whole(&row)),
            kind => is_open(kind, &self.line),
        }
    }

    /// Takes a notice of the OOM reaper; `false` when it is about none of this report's victims.
    pub(crate) fn reaped(&mut self, pid: u32) -> bool {
        self.close();
        let kill = self.oom.kills.iter_mut().find(|kill| kill.pid == pid);
        kill.map(|kill| kill.reaped = true).is_some()
    }

    /// The report. `kernel` is the release that the log named before it, for reports that do not name it themselves.
    pub(crate) fn finish(mut self, kernel: Option<&str>) -> Oom {
        self.close();
        let mut oom = self.oom;
        oom.host = self.host.map(|host| String::from_utf8_lossy(&host).into_owned());
        if oom.kernel.is_none() {
            oom.kernel = kernel.map(str::to_owned);
        }
        oom.page_kb = page_kb(&oom, &self.table);
        let page_kb = oom.page_kb;
        for (_, value) in &mut oom.counters {
            *value = value.saturating_mul(page_kb);
        }
        if oom.counters.is_empty() {
            oom.counters = self.sums.iter().map(|(name, sum)| ((*name).to_owned(), *sum)).collect();
        }
        oom.ram_kb = oom.ram_kb.map(|pages| pages.saturating_mul(page_kb));
        oom.reserved_kb = oom.reserved_kb.map(|pages| pages.saturating_mul(page_kb));
        (oom.processes, oom.consumers) = self.table.sums(page_kb);
        for kill in &mut oom.kills {
            if let Some((total_vm, rss, adj)) = self.table.process(kill.pid) {
                kill.total_vm_kb.get_or_insert(total_vm.saturating_mul(page_kb));
                kill.anon_rss_kb.get_or_insert(rss.saturating_mul(page_kb));
                kill.oom_score_adj = kill.oom_score_adj.or(adj);
            }
        }
        if oom.gfp_flags.is_empty()
            && let Some(mask) = oom.gfp_mask
        {
            // Kernels since 4.6 print the names; one whose release is not known is older.
            let release = oom.kernel.as_deref().and_then(Release::of).unwrap_or(Release(3, 10));
            oom.gfp_flags = flags(mask, release);
        }
        if oom.order == Some(-1) {
            oom.constraint = Constraint::Manual;
        } else if oom.constraint == Constraint::Unknown {
            // Before 4.19 the kernel does not say it. Only reports of the whole machine and of its nodes list zones, and of
            // those that a cpuset forbids there are none.
            if oom.memcg.is_some() {
                oom.constraint = Constraint::Memcg;
            } else if self.some_nodes && lacks_nodes(&oom) {
                oom.constraint = Constraint::Cpuset;
            } else if !oom.zones.is_empty() {
                oom.constraint = Constraint::Global;
            }
        }
        oom.slabs.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
        oom.slabs.truncate(10);
        oom
    }

    /// Reads the line that is complete now.
    fn close(&mut self) {
        let text = std::mem::take(&mut self.line);
        let Some(kind) = self.kind.take() else { return };
        match kind {
            Part::Invoked => self.invoked(&text),
            Part::Cpu => self.cpu(&text),
            Part::Node => self.nodes(&text),
            Part::Reserve => {
                let pages = text.split(':').nth(1).unwrap_or_default().split_whitespace().map_while(|n| n.parse().ok());
                if let Some(zone) = self.oom.zones.last_mut() {
                    zone.lowmem_reserve = pages.take(8).collect();
                }
            }
            Part::Counters => {
                for word in text.split_whitespace() {
                    let Some((name, value)) = word.split_once(':') else { continue };
                    if let Ok(pages) = value.parse::<u64>()
                        && self.oom.counter(name).is_none()
                        && self.oom.counters.len() < 64
                    {
                        self.oom.counters.push((name.to_owned(), pages));
                    }
                }
            }
            Part::Total => self.total(&text),
            Part::Head => self.table.head(&text),
            Part::Row => {
                if let Some(row) = self.table.row(&text) {
                    self.table.add(row);
                }
            }
            Part::OomKill => self.oom_kill(&text),
            Part::Chosen => self.chosen(&text),
            Part::Killed => self.killed(&text),
            Part::NoVictim => self.oom.no_victim = true,
            Part::Memcg => self.memcg(&text),
            Part::MemcgUse => self.memcg_use(&text),
            Part::Panicked => self.oom.panicked = true,
            Part::Cpuset => self.some_nodes = !after(&text, " cpuset=").is_some_and(|rest| rest.starts_with("/ ")),
            Part::Slab => {
                if let Some((name, size)) = slab(&text)
                    && self.oom.slabs.len() < 4096
                {
                    self.oom.slabs.push((name.to_owned(), size));
                }
            }
            Part::Other => {}
        }
    }

    fn invoked(&mut self, text: &str) {
        let (comm, rest) = text.split_once(" invoked oom-killer").unwrap_or((text, ""));
        self.asked = comm.trim().to_owned();
        let name = comm_of(&self.asked);
        let head = self.asked.strip_suffix(name).unwrap_or_default();
        self.head = head.split_whitespace().take(12).map(shape).collect();
        self.oom.trigger_comm = Some(name.to_owned());
        let mask = after(rest, "gfp_mask=").unwrap_or_default();
        let digits: String = mask.trim_start_matches("0x").chars().take_while(char::is_ascii_hexdigit).collect();
        self.oom.gfp_mask = u64::from_str_radix(&digits, 16).ok();
        let names = mask.split(',').next().and_then(|word| word.split_once('(')).map(|(_, names)| names);
        if let Some(names) = names {
            let names = names.split(')').next().unwrap_or_default();
            self.oom.gfp_flags = names.split('|').map(|name| name.split_whitespace().collect()).take(32).collect();
            self.oom.gfp_flags.retain(|name: &String| !name.is_empty());
        }
        // 4.11 to 4.18 name the nodes of a memory policy here; since 4.19 the constraint is said later.
        if after(rest, "nodemask=").is_some_and(|nodes| nodes.starts_with(|c: char| c.is_ascii_digit())) {
            self.oom.constraint = Constraint::MemoryPolicy;
        }
        self.oom.order = after(rest, "order=").and_then(signed).and_then(|order| i32::try_from(order).ok());
    }

    /// The first such line that names the process which asked is its own; others belong to what came between.
    fn cpu(&mut self, text: &str) {
        let named = after(text, "Comm: ").or_else(|| after(text, "comm: ")).map(|rest| {
            let end =
                [" Not tainted", " Tainted", " Kdump", " tainted", " G "].iter().filter_map(|end| rest.find(end)).min();
            rest.get(..end.unwrap_or(rest.len())).unwrap_or_default().trim()
        });
        if let Some(comm) = named
            && !self.asked.is_empty()
        {
            if self.oom.trigger_pid.is_some() || !self.asked.ends_with(comm) {
                return;
            }
            self.oom.trigger_comm = Some(comm.to_owned());
        }
        let pid = after(text, "PID: ").or_else(|| after(text, "Pid: "));
        self.oom.trigger_pid = pid.and_then(number).and_then(|pid| u32::try_from(pid).ok());
        let tainted = after(text, "ainted").unwrap_or(text);
        let release = tainted.split_whitespace().find(|word| {
            word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.') && Release::of(word).is_some()
        });
        self.oom.kernel = release.map(|word| word.trim_end_matches(',').to_owned());
    }

    /// One `Node …` or several that were run together.
    fn nodes(&mut self, text: &str) {
        // A kernel without NUMA has one node and does not name it.
        let unnamed = zone(text.trim_start()).then(|| format!("0 {}", text.trim_start()));
        for segment in unnamed.as_deref().into_iter().chain(text.split("Node ").skip(1)) {
            let Some((node, rest)) = segment.trim_start().split_once(' ') else { continue };
            let Ok(node) = node.parse::<u32>() else { continue };
            let rest = rest.trim_start();
            if let Some(count) = after(rest, "hugepages_total=").and_then(number) {
                let size = after(rest, "hugepages_size=").and_then(number).unwrap_or(2048);
                self.oom.huge_pages_kb = self.oom.huge_pages_kb.saturating_add(count.saturating_mul(size));
            }
            if let Some(stack) = value(rest, "kernel_stack") {
                self.oom.kernel_stack_kb = self.oom.kernel_stack_kb.saturating_add(stack);
            }
            let name: String = rest.chars().take_while(char::is_ascii_alphanumeric).collect();
            if !ZONE_NAMES.contains(&name.as_str()) {
                continue;
            }
            let tail = rest.get(name.len()..).unwrap_or_default();
            let known = self.oom.zones.iter().position(|zone| zone.node == node && zone.name == name);
            if let Some(blocks) = tail.trim_start().strip_prefix(':') {
                let blocks = self::blocks(blocks);
                if let Some(zone) = known.and_then(|at| self.oom.zones.get_mut(at)) {
                    zone.blocks = blocks;
                } else if self.oom.zones.len() < ZONES && !blocks.is_empty() {
                    let size = |(size, count): &(u64, u64)| size.saturating_mul(*count);
                    let free_kb = blocks.iter().map(size).fold(0, u64::saturating_add);
                    self.oom.zones.push(Zone { node, name, free_kb, blocks, ..Zone::default() });
                }
            } else if let Some(free) = value(tail, "free") {
                let zone = Zone {
                    node,
                    name,
                    free_kb: free,
                    min_kb: value(tail, "min"),
                    low_kb: value(tail, "low"),
                    high_kb: value(tail, "high"),
                    free_cma_kb: value(tail, "free_cma").unwrap_or(0),
                    managed_kb: value(tail, "managed").unwrap_or(0),
                    ..Zone::default()
                };
                if known.is_none() && self.oom.zones.len() < ZONES {
                    self.oom.zones.push(zone);
                    self.sum(tail);
                }
            }
        }
    }

    /// Adds up what a zone's line says of the use of its memory.
    fn sum(&mut self, text: &str) {
        const NAMES: [&str; 14] = [
            "free",
            "active_anon",
            "inactive_anon",
            "isolated(anon)",
            "active_file",
            "inactive_file",
            "isolated(file)",
            "unevictable",
            "shmem",
            "slab_reclaimable",
            "slab_unreclaimable",
            "pagetables",
            "bounce",
            "free_pcp",
        ];
        for name in NAMES {
            let Some(kb) = value(text, name) else { continue };
            match self.sums.iter_mut().find(|(known, _)| *known == name) {
                Some((_, sum)) => *sum = sum.saturating_add(kb),
                None => self.sums.push((name, kb)),
            }
        }
    }

    fn total(&mut self, text: &str) {
        let text = text.trim();
        let amount = text.split_once('=').map(|(_, value)| value.trim_start()).and_then(number);
        if text.starts_with("Free swap") {
            self.oom.swap_free_kb = amount;
        } else if text.starts_with("Total swap") {
            self.oom.swap_total_kb = amount;
        } else if text.contains(" pages RAM") {
            self.oom.ram_kb = number(text);
        } else {
            self.oom.reserved_kb = number(text);
        }
    }

    /// `oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a,task_memcg=/a/b,task=…`
    fn oom_kill(&mut self, text: &str) {
        let field = |name: &str| {
            let text = after(text, &format!(",{name}="))?;
            // A name of a cgroup may have commas: it goes on to the next field that is known.
            let end = [",task_memcg=", ",task=", ",pid=", ",uid="].iter().filter_map(|next| text.find(next)).min();
            Some(text.get(..end.unwrap_or(text.len()))?.to_owned())
        };
        let constraint = after(text, "constraint=CONSTRAINT_").unwrap_or_default();
        self.oom.constraint = match constraint.split(',').next().unwrap_or_default() {
            "NONE" => Constraint::Global,
            "CPUSET" => Constraint::Cpuset,
            "MEMORY_POLICY" => Constraint::MemoryPolicy,
            "MEMCG" => Constraint::Memcg,
            _ => Constraint::Unknown,
        };
        let pid = field("pid").and_then(|pid| pid.parse().ok());
        self.oom.chosen = field("task").map(|task| task.chars().take(64).collect()).zip(pid);
        if let Some(limited) = field("oom_memcg") {
            let memcg = self.oom.memcg.get_or_insert_default();
            memcg.limited = limited;
            memcg.task = field("task_memcg").unwrap_or_default();
        }
    }

    fn memcg(&mut self, text: &str) {
        let memcg = self.oom.memcg.get_or_insert_default();
        if let Some((task, limited)) = text.trim().split_once(" killed as a result of limit of ") {
            memcg.task = task.strip_prefix("Task in ").unwrap_or(task).to_owned();
            memcg.limited = limited.trim().to_owned();
            return;
        }
        let head = text.split(": usage ").next().unwrap_or_default().trim();
        let usage = after(text, ": usage ").and_then(number);
        let limit = after(text, ", limit ").and_then(number);
        match head {
            "memory" => {
                memcg.usage_kb = usage;
                memcg.limit_kb = limit;
                memcg.failcnt = after(text, "failcnt ").and_then(number);
            }
            "swap" | "memory+swap" => {
                memcg.swap_usage_kb = usage;
                memcg.swap_limit_kb = limit;
                memcg.swap_failcnt = after(text, "failcnt ").and_then(number);
                memcg.together = head != "swap";
            }
            "kmem" => memcg.kernel_kb = usage.zip(limit),
            _ => {}
        }
    }

    fn memcg_use(&mut self, text: &str) {
        let memcg = self.oom.memcg.get_or_insert_default();
        let mut add = |name: &str, kb: u64| match memcg.parts.iter_mut().find(|(known, _)| known == name) {
            Some((_, sum)) => *sum = sum.saturating_add(kb),
            None => memcg.parts.push((name.to_owned(), kb)),
        };
        if let Some((name, bytes)) = memcg_use(text) {
            add(name, bytes / 1024);
        } else if let Some((_, rest)) = text.split_once(": ") {
            // A line for each cgroup below the limited one, and itself.
            for word in rest.split_whitespace().take(32) {
                let kb = word.split_once(':').and_then(|(name, kb)| Some((name, kb.strip_suffix("KB")?.parse().ok()?)));
                if let Some((name, kb)) = kb.filter(|(name, _)| matches!(*name, "cache" | "rss" | "shmem")) {
                    add(name, kb);
                }
            }
        }
    }

    /// The process that was chosen; one of its children may be killed in its stead.
    fn chosen(&mut self, text: &str) {
        self.mark_memcg(text);
        let rest = after(text, "ill process ").unwrap_or_default();
        let Some(pid) = number(rest).and_then(|pid| u32::try_from(pid).ok()) else { return };
        let score = after(rest, ") score ").or_else(|| after(rest, " score ")).and_then(number);
        if self.oom.kills.len() < KILLS {
            let line = self.began;
            self.oom.kills.push(Kill { time: self.time, pid, comm: comm(rest), score, line, ..Kill::default() });
        }
    }

    fn killed(&mut self, text: &str) {
        self.mark_memcg(text);
        let rest = after(text, "Killed process ").unwrap_or_default();
        let Some(pid) = number(rest).and_then(|pid| u32::try_from(pid).ok()) else { return };
        let field = |name: &str| after(rest, name).map(str::trim_start).and_then(number);
        let mut kill = Kill {
            time: self.time,
            pid,
            comm: comm(rest),
            score: None,
            // 2.6.33 to 2.6.35 call it vsz.
            total_vm_kb: field("total-vm:").or_else(|| field("vsz:")),
            anon_rss_kb: field("anon-rss:"),
            file_rss_kb: field("file-rss:"),
            shmem_rss_kb: field("shmem-rss:"),
            oom_score_adj: after(rest, "oom_score_adj:").and_then(signed),
            line: self.began,
            reaped: false,
        };
        // The choice and the kill are two lines before 5.0. A child that dies for its parent takes the choice's place.
        let choice =
            self.oom.kills.iter().rposition(|known| known.total_vm_kb.is_none() && known.anon_rss_kb.is_none());
        if let Some(choice) = choice {
            let chosen = self.oom.kills.remove(choice);
            kill.score = chosen.score.filter(|_| chosen.pid == pid);
        }
        if !self.oom.kills.iter().any(|known| known.pid == pid) && self.oom.kills.len() < KILLS {
            self.oom.kills.push(kill);
        }
    }

    fn mark_memcg(&mut self, text: &str) {
        if text.contains("Memory cgroup out of memory") {
            self.oom.memcg.get_or_insert_default();
        }
    }
}

/// Seconds between two lines. A date with a year and one without are of two clocks, as where a container's log has the
/// one and the kernel's own prefix the other.
fn between(before: Stamp, now: Stamp) -> Option<i64> {
    match (before, now) {
        (Stamp::Date { year: Some(_), .. }, Stamp::Date { year: None, .. })
        | (Stamp::Date { year: None, .. }, Stamp::Date { year: Some(_), .. }) => None,
        _ => before.seconds_to(now).map(i64::abs),
    }
}

/// Whether a line begins a report of something else.
fn begins_another(text: &str) -> bool {
    const WORDS: [&str; 6] =
        ["WARNING: CPU: ", "------------[ cut here", "BUG: ", "INFO: task ", "INFO: rcu", "general protection fault"];
    WORDS.iter().any(|words| text.contains(words))
}

/// The name of a process at the end of a text: at most 15 bytes (TASK_COMM_LEN), which may have blanks. What is longer, or has
/// marks that prefixes end with, has something before the name that is not known: the name is then its last word.
fn comm_of(text: &str) -> &str {
    let text = ["] ", ": ", "| ", "> ", ") "]
        .iter()
        .fold(text, |text, mark| text.rsplit_once(mark).map_or(text, |(_, name)| name));
    match text.len() {
        0..=15 => text,
        _ => text.rsplit(char::is_whitespace).next().unwrap_or(text),
    }
}

/// A word with every run of digits as one `0` and every run of letters as one `a`.
fn shape(word: &str) -> String {
    let mut shape = String::new();
    for c in word.chars() {
        let class = match c {
            '0'..='9' => '0',
            c if c.is_alphabetic() => 'a',
            c => c,
        };
        if !(matches!(class, '0' | 'a') && shape.ends_with(class)) {
            shape.push(class);
        }
    }
    shape
}

/// Whether the zones of the report are clearly less than the machine's: by more than a sixteenth.
fn lacks_nodes(oom: &Oom) -> bool {
    let listed: u64 = oom.zones.iter().map(|zone| zone.managed_kb).fold(0, u64::saturating_add);
    let all = oom.ram_kb.map_or(0, |ram| ram.saturating_sub(oom.reserved_kb.unwrap_or(0)));
    listed > 0 && listed < all / 16 * 15
}

/// The size of a page: the smallest free block, else what the victim's sizes in pages and in kB say.
fn page_kb(oom: &Oom, table: &Table) -> u64 {
    let block = oom.zones.iter().filter_map(|zone| zone.blocks.first()).map(|(size, _)| *size).min();
    let victim = || {
        oom.kills.iter().find_map(|kill| {
            let (pages, _, _) = table.process(kill.pid)?;
            kill.total_vm_kb?.checked_div(pages)
        })
    };
    block.or_else(victim).filter(|size| matches!(size, 4 | 8 | 16 | 64)).unwrap_or(4)
}

fn after<'a>(text: &'a str, words: &str) -> Option<&'a str> {
    text.split_once(words).map(|(_, rest)| rest)
}

fn number(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    text.get(..digits)?.parse().ok()
}

fn signed(text: &str) -> Option<i64> {
    let magnitude = number(text.trim_start_matches('-')).and_then(|value| i64::try_from(value).ok())?;
    Some(if text.starts_with('-') { -magnitude } else { magnitude })
}

/// `name:123kB` of a zone's line, a blank before it.
fn value(text: &str, name: &str) -> Option<u64> {
    let mut from = 0;
    loop {
        let at = from + text.get(from..)?.find(name)?;
        let rest = text.get(at + name.len()..)?;
        let before = at == 0 || text.as_bytes().get(at - 1) == Some(&b' ');
        if let Some(rest) = rest.strip_prefix(':').filter(|_| before) {
            return number(rest.trim_start());
        }
        from = at + name.len();
    }
}

/// `1*4kB (U) 0*8kB … = 15908kB` → sizes and counts.
fn blocks(text: &str) -> Vec<(u64, u64)> {
    let list = text.split('=').next().unwrap_or_default();
    let block = |word: &str| -> Option<(u64, u64)> {
        let (count, size) = word.split_once('*')?;
        Some((size.strip_suffix("kB")?.parse().ok()?, count.parse().ok()?))
    };
    list.split_whitespace().filter_map(block).take(16).collect()
}

/// The name in `10366 (nginx) total-vm:…` or `2032, UID 48, (httpd) total-vm:…`; it may have brackets itself.
fn comm(text: &str) -> String {
    let end = ["total-vm:", "vsz:", " score ", ", UID", "\n"]
        .iter()
        .filter_map(|next| text.find(next))
        .filter(|at| text.get(..*at).is_some_and(|head| head.contains(')')));
    let head = text.get(..end.min().unwrap_or(text.len())).unwrap_or_default();
    let inside = head.split_once('(').map(|(_, rest)| rest).unwrap_or_default();
    inside.rsplit_once(')').map_or(inside, |(name, _)| name).to_owned()
}
