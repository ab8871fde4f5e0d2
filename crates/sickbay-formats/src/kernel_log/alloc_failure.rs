//! Reports of allocations that failed: `java: page allocation failure: order:0, mode:…`, the stack and the state of memory
//! behind it (warn_alloc() in mm/page_alloc.c, before 4.9 warn_alloc_failed()).

use bstr::ByteSlice;

use super::frames::Frames;
use super::oom::{self, Judgement, Oom, Verdict};
use super::{Message, Stamp};

/// So many lines that are not of it end a report.
const FOREIGN: u32 = 12;
/// And so many lines in all.
const LINES: u32 = 400;

/// A report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllocFailure {
    /// When.
    pub time: Option<Stamp>,
    /// The source it was found in, as the scanner's user counts.
    pub source: usize,
    /// Its first line there, from 1.
    pub line: u64,
    /// What that says.
    pub words: String,
    /// The process that ran at that moment.
    pub task: String,
    /// The request was for 2 to the power of this many pages.
    pub order: u32,
    /// The stack of the request.
    pub frames: Frames,
    /// The request and the zones, as a report of the OOM killer has them.
    pub memory: Oom,
}

/// What stood in the way of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle<'a> {
    /// The zone had less free than its watermark: its name, free and min in kB.
    BelowMin(&'a str, u64, u64),
    /// No free block was large enough: the zone's name, the largest in kB.
    Fragmented(&'a str, u64),
    /// The report does not tell, or memory was free again when it was written.
    Untold,
}

impl AllocFailure {
    /// Whether the request could not wait: it takes only what is kept free.
    pub fn is_atomic(&self) -> bool {
        let flags = &self.memory.gfp_flags;
        let has = |name: &str| flags.iter().any(|flag| flag == name);
        let waits = ["GFP_KERNEL", "GFP_KERNEL_ACCOUNT", "GFP_USER", "GFP_NOIO", "GFP_NOFS", "__GFP_DIRECT_RECLAIM"];
        let waits = waits.iter().any(|name| has(name)) || has("__GFP_WAIT") || has("__GFP_RECLAIM");
        let waits = waits || flags.iter().any(|flag| flag.starts_with("GFP_HIGHUSER") || flag == "GFP_TRANSHUGE");
        has("GFP_ATOMIC") || has("GFP_NOWAIT") || !waits && (has("__GFP_HIGH") || self.frames.in_interrupt())
    }

    /// The driver that asked, else the kernel's function that did: the first on the stack that is not of the allocator
    /// or of what all drivers use.
    pub fn asker(&self) -> Option<String> {
        const COMMON: [&str; 30] = [
            "dump_",
            "show_",
            "warn_alloc",
            "__alloc_pages",
            "alloc_pages",
            "__alloc_frozen",
            "__folio_alloc",
            "folio_alloc",
            "__get_free_page",
            "get_zeroed_page",
            "kmem_",
            "cache_",
            "____cache",
            "fallback_alloc",
            "new_slab",
            "allocate_slab",
            "___slab_alloc",
            "__slab_alloc",
            "__kmalloc",
            "kmalloc",
            "___kmalloc",
            "kmalloc_order",
            "page_frag",
            "__page_frag",
            "__netdev_alloc",
            "__napi_alloc",
            "napi_alloc",
            "__alloc_skb",
            "alloc_skb",
            "pskb_",
        ];
        let list = self.frames.list();
        let module = list.iter().map(|frame| &frame.module).find(|module| !module.is_empty());
        let own = |name: &str| !COMMON.iter().any(|head| name.starts_with(head));
        module.cloned().or_else(|| list.iter().map(|frame| &frame.name).find(|name| own(name)).cloned())
    }

    /// Whether it was a packet that was received, or a buffer for one.
    pub fn receives(&self) -> bool {
        self.frames.in_interrupt()
            && self.frames.list().iter().any(|frame| {
                ["net_rx_action", "napi_poll", "__napi_poll", "process_backlog"].contains(&frame.name.as_str())
                    || frame.name.contains("_rx_")
            })
    }

    /// What stood in its way.
    pub fn obstacle(&self) -> Obstacle<'_> {
        let zone = |judged: &Judgement| self.memory.zones.get(judged.zone);
        let judged = self.memory.judge();
        let asked: Vec<&Judgement> = judged.iter().filter(|one| one.verdict != Verdict::NotAsked).collect();
        let largest = asked.iter().filter(|one| one.verdict == Verdict::BelowMin);
        let below = largest.max_by_key(|one| zone(one).map_or(0, |zone| zone.managed_kb.max(zone.min_kb.unwrap_or(0))));
        let split = asked.iter().find_map(|one| match one.verdict {
            Verdict::Fragmented(largest) => Some((zone(one)?, largest)),
            _ => None,
        });
        match (split, below.and_then(|one| Some((zone(one)?, one.usable_kb)))) {
            // Of a large request fragments are the reason where there are any.
            (Some((zone, largest)), _) if self.order > 0 => Obstacle::Fragmented(&zone.name, largest),
            (_, Some((zone, free))) => Obstacle::BelowMin(&zone.name, free, zone.min_kb.unwrap_or(0)),
            _ => Obstacle::Untold,
        }
    }

    /// What vm.min_free_kbytes was: the sum of the zones' watermarks, but of those that the kernel leaves out.
    pub fn min_free_kb(&self) -> Option<u64> {
        let zones = self.memory.zones.iter().filter(|zone| zone.name != "HighMem" && zone.name != "Movable");
        let sum = zones.filter_map(|zone| zone.min_kb).fold(0, u64::saturating_add);
        (sum > 0).then_some(sum)
    }
}

/// A report that is being read.
#[derive(Debug)]
pub(super) struct Reader {
    report: AllocFailure,
    memory: oom::Reader,
    lines: u32,
    foreign: u32,
    zones: bool,
}

impl Reader {
    /// A report that begins with this line; `None` when it is none.
    pub(super) fn new(said: &Message<'_>, source: usize, line: u64) -> Option<Reader> {
        let text = said.text.to_str_lossy();
        let (task, rest) = text.split_once(": page allocation failure")?;
        let order = rest.split_once("order:")?.1;
        let digits: String = order.chars().take_while(char::is_ascii_digit).collect();
        let order: u32 = digits.parse().ok().filter(|order| *order < 32)?;
        let mode = rest.split_once("mode:").map_or("0x0", |(_, rest)| rest);
        let mode = match (mode.find(')'), mode.find([',', ' '])) {
            (Some(end), plain) if mode.find('(').is_some_and(|open| plain.is_none_or(|plain| open < plain)) => {
                mode.get(..=end)
            }
            (_, plain) => mode.get(..plain.unwrap_or(mode.len())),
        };
        // What follows is what the OOM killer prints, too, so that its words may stand for these.
        let words = format!("{task} invoked oom-killer: gfp_mask={}, order={order}, oom_score_adj=0", mode?.trim());
        let first = Message { text: words.as_bytes().into(), ..said.clone() };
        let mut memory = oom::Reader::new(&first, source, line);
        memory.feed(&first);
        let report = AllocFailure {
            time: said.time,
            source,
            line,
            words: text.chars().take(400).collect(),
            task: task.rsplit(": ").next().unwrap_or(task).trim().chars().take(60).collect(),
            order,
            ..AllocFailure::default()
        };
        Some(Reader { report, memory, lines: 0, foreign: 0, zones: false })
    }

    /// Takes the next line; `false` when the report was over before it.
    pub(super) fn feed(&mut self, said: &Message<'_>) -> bool {
        if !said.kernel || !self.memory.is_of(said) {
            return true;
        }
        let text = said.text.to_str_lossy();
        if text.contains(": page allocation failure") || text.contains(" invoked oom-killer") {
            return false;
        }
        self.lines += 1;
        let is_frame = !self.zones && self.report.frames.line(&text);
        self.zones |= text.contains("Mem-Info:");
        let is_part = is_frame || oom::is_part(&said.text, true);
        self.foreign = if is_part { 0 } else { self.foreign + 1 };
        if self.lines > LINES || self.foreign > FOREIGN {
            return false;
        }
        !matches!(self.memory.feed(said), oom::Fed::Over)
    }

    /// The report. `kernel` is the release that the log named before it.
    pub(super) fn finish(self, kernel: Option<&str>) -> AllocFailure {
        AllocFailure { memory: self.memory.finish(kernel), ..self.report }
    }
}
