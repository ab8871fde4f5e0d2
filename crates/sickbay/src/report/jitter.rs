//! Moments in which processors stood still, and what may have done it, for people and for programs.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use sickbay_target::{CpuGaps, FileReader, Gap};

use crate::facts::memory::size;
use crate::facts::memory::slab_walk::{KnownReader, KnownReaders, SlabReaders, SlabWalk, Walk, interval};
use crate::model::outcome::Skip;
use crate::model::text::Text;
use crate::report::text::{Style, printable};
use crate::tr;

/// Everything that is told.
#[derive(Debug)]
pub struct Told {
    /// For so long it was looked.
    pub time: Duration,
    /// Gaps of this length and more.
    pub least: Duration,
    /// By processor.
    pub gaps: Vec<CpuGaps>,
    /// What the hypervisor gave to others meanwhile, in milliseconds, by processor.
    pub stolen: HashMap<u32, u64>,
    /// Who opened `/proc/slabinfo` meanwhile, or why that is not known.
    pub readers: Result<SlabReaders, Skip>,
    /// What a reading costs.
    pub walk: Result<Arc<SlabWalk>, Skip>,
    /// Who is known to do it.
    pub known: Result<Arc<KnownReaders>, Skip>,
    /// Who looks up names.
    pub makers: Vec<Text>,
}

/// Gaps and processors that are listed without `--verbose`.
const ROWS: usize = 16;

/// A reader that came so long before a gap, or in it, may have made it.
const BEFORE: Duration = Duration::from_millis(20);

fn milliseconds(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1000.0)
}

/// The longest gaps first: processor and gap.
fn longest(told: &Told) -> Vec<(u32, Gap)> {
    let mut all: Vec<(u32, Gap)> =
        told.gaps.iter().flat_map(|cpu| cpu.gaps.iter().map(|gap| (cpu.cpu, *gap))).collect();
    all.sort_by_key(|(cpu, gap)| (std::cmp::Reverse(gap.stood()), *cpu));
    all
}

/// Who opened slabinfo just before, or in it.
fn culprit<'t>(told: &'t Told, gap: &Gap) -> Option<&'t FileReader> {
    let (from, to) = (gap.began.saturating_sub(BEFORE), gap.began + gap.length);
    let readers = told.readers.as_ref().ok()?;
    // One that costs nothing makes no gap.
    told.walk.as_ref().ok().filter(|walk| walk.stall >= 1.0)?;
    readers.list.iter().find(|reader| reader.times.iter().any(|time| (from..=to).contains(time)))
}

/// As text.
pub fn render(told: &Told, style: &Style) -> String {
    let say = |text: &Text| printable(&text.render(style.lang));
    let rows = if style.verbose { usize::MAX } else { ROWS };
    let mut out = String::new();
    let (seconds, least) = (format!("{:.1}", told.time.as_secs_f64()), milliseconds(told.least));
    let _ = writeln!(
        out,
        "{}",
        say(&tr!(
            "watched for {seconds} s: moments of {least} ms and more in which a CPU ran nothing for us",
            seconds,
            least
        ))
    );
    let mut cpus: Vec<&CpuGaps> = told.gaps.iter().collect();
    let worst = |cpu: &CpuGaps| cpu.gaps.iter().map(Gap::stood).max().unwrap_or_default();
    cpus.sort_by_key(|cpu| (std::cmp::Reverse(worst(cpu)), cpu.cpu));
    for cpu in cpus.iter().take(rows) {
        let stood: Duration = cpu.gaps.iter().map(Gap::stood).sum();
        let queued: Duration = cpu.gaps.iter().filter_map(|gap| gap.queued).sum();
        let count = cpu.gaps.len();
        let mut line = format!("   CPU {:<4} {count:>5} ", cpu.cpu);
        if count > 0 {
            line += &say(&tr!(
                "the longest {longest} ms; others ran for {queued} ms of them, nothing for {stood} ms",
                longest = milliseconds(cpu.gaps.iter().map(|gap| gap.length).max().unwrap_or_default()),
                queued = milliseconds(queued),
                stood = milliseconds(stood)
            ));
        }
        if let Some(stolen) = told.stolen.get(&cpu.cpu).filter(|stolen| **stolen > 0) {
            line += "  ";
            line += &say(&tr!("the hypervisor took {stolen} ms", stolen = *stolen));
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
    let gaps = longest(told);
    let standing: Vec<&(u32, Gap)> = gaps.iter().filter(|(_, gap)| gap.stood() >= told.least).take(rows).collect();
    if !standing.is_empty() {
        let _ = writeln!(
            out,
            "\n{}",
            say(&tr!("the longest in which nothing ran: interrupts were off, or the hypervisor ran another guest"))
        );
    }
    for (cpu, gap) in standing {
        let mut line =
            format!("   +{:.3} s  CPU {cpu:<4} {:>8} ms", gap.began.as_secs_f64(), milliseconds(gap.stood()));
        if let Some(reader) = culprit(told, gap) {
            line += "  ";
            line += &say(&tr!(
                "{comm} (PID {pid}) read /proc/slabinfo then",
                comm = reader.comm.as_str(),
                pid = reader.pid
            ));
        }
        let _ = writeln!(out, "{line}");
    }
    slabinfo(&mut out, told, &say);
    out
}

fn slabinfo(out: &mut String, told: &Told, say: &dyn Fn(&Text) -> String) {
    let why = |skip: &Skip| match skip {
        Skip::Unknown(why) | Skip::NotApplicable(why) => why.clone(),
    };
    let _ = writeln!(out, "\n/proc/slabinfo");
    match &told.walk {
        Ok(walk) => {
            let _ = writeln!(out, "   {}", say(&cost(walk)));
            let slab = size(walk.slab);
            let line = match walk.dentries {
                Some((all, negative)) => tr!(
                    "all slabs: {slab}; {all} cached names, {negative} of them of files that do not exist",
                    slab,
                    all,
                    negative
                ),
                None => tr!("all slabs: {slab}", slab),
            };
            let _ = writeln!(out, "   {}", say(&line));
        }
        Err(skip) => {
            let _ = writeln!(out, "   {}", say(&why(skip)));
        }
    }
    match &told.readers {
        Ok(readers) if readers.list.is_empty() => {
            let _ = writeln!(out, "   {}", say(&tr!("nobody read it meanwhile")));
        }
        Ok(readers) => {
            for reader in readers.list.iter().take(ROWS) {
                let _ = writeln!(out, "   {}", say(&seen(reader)));
            }
        }
        Err(skip) => {
            let _ = writeln!(out, "   {}", say(&why(skip)));
        }
    }
    for known in told.known.iter().flat_map(|known| &known.0).take(ROWS) {
        let _ = writeln!(out, "   {}", say(&known_reader(known)));
    }
    for maker in &told.makers {
        let _ = writeln!(out, "   {}", say(maker));
    }
}

fn cost(walk: &SlabWalk) -> Text {
    let (slabs, cache, stall) = (walk.slabs, walk.cache.as_str(), format!("{:.1}", walk.stall));
    match walk.walk {
        Walk::None => tr!("this kernel walks no long lists for it: reading it stops nothing"),
        Walk::All => tr!(
            "reading it stops a CPU for about {stall} ms: this kernel walks all {slabs} slabs of {cache}",
            stall,
            slabs,
            cache
        ),
        Walk::Partial => tr!(
            "reading it stops a CPU for about {stall} ms: this kernel walks {slabs} partly used slabs of {cache}",
            stall,
            slabs,
            cache
        ),
    }
}

fn seen(reader: &FileReader) -> Text {
    let mut who = reader.command.clone();
    if let Some(parent) = reader.parents.first() {
        who = format!("{who} < {parent}");
    }
    let (comm, pid, opens) = (reader.comm.as_str(), reader.pid, reader.opens);
    if comm.is_empty() {
        return tr!("a process that is gone (PID {pid}) opened it", pid);
    }
    match interval(reader) {
        Some(seconds) => tr!(
            "{comm} (PID {pid}) opened it {opens} {opens?time|times}, every {seconds} s: {who}",
            comm,
            pid,
            opens,
            seconds = format!("{seconds:.2}"),
            who
        ),
        None => tr!("{comm} (PID {pid}) opened it once: {who}", comm, pid, who),
    }
}

fn known_reader(known: &KnownReader) -> Text {
    match known {
        KnownReader::Process { pid, comm, command } => tr!(
            "{comm} (PID {pid}) is known to read it: {command}",
            comm = comm.as_str(),
            pid = *pid,
            command = command.as_str()
        ),
        KnownReader::Job { file, span, command } => {
            let place = format!("{}:{}", file.path.display(), span.line);
            tr!("{place} starts what reads it: {command}", place, command = command.as_str())
        }
    }
}

/// The same as JSON.
pub fn json(told: &Told, style: &Style) -> serde_json::Value {
    let round = |time: Duration| (time.as_secs_f64() * 10_000.0).round() / 10.0;
    let cpus = told.gaps.iter().map(|cpu| {
        serde_json::json!({
            "cpu": cpu.cpu, "ticks": cpu.ticks, "gaps": cpu.gaps.len(), "more": cpu.is_cut,
            "longest_ms": round(cpu.gaps.iter().map(|gap| gap.length).max().unwrap_or_default()),
            "queued_ms": round(cpu.gaps.iter().filter_map(|gap| gap.queued).sum()),
            "stood_ms": round(cpu.gaps.iter().map(Gap::stood).sum()),
            "steal_ms": told.stolen.get(&cpu.cpu),
        })
    });
    let gaps = longest(told).into_iter().take(1000).map(|(cpu, gap)| {
        serde_json::json!({
            "cpu": cpu, "began": gap.began.as_secs_f64(), "length_ms": round(gap.length), "stood_ms": round(gap.stood()),
            "queued_ms": gap.queued.map(round), "slabinfo_reader": culprit(told, &gap).map(|reader| reader.pid),
        })
    });
    let readers = told.readers.iter().flat_map(|readers| &readers.list).map(|reader| {
        serde_json::json!({
            "pid": reader.pid, "comm": reader.comm, "command": reader.command, "parents": reader.parents, "unit": reader.unit,
            "opens": reader.opens, "every": interval(reader),
        })
    });
    let known = told.known.iter().flat_map(|known| &known.0).map(|known| match known {
        KnownReader::Process { pid, comm, command } => {
            serde_json::json!({"pid": pid, "comm": comm, "command": command})
        }
        KnownReader::Job { file, span, command } => {
            serde_json::json!({"file": file.path.display().to_string(), "line": span.line, "command": command})
        }
    });
    let walk = told.walk.as_ref().ok();
    serde_json::json!({
        "schema": "sickbay/jitter/v1",
        "seconds": told.time.as_secs_f64(),
        "cpus": cpus.collect::<Vec<_>>(),
        "gaps": gaps.collect::<Vec<_>>(),
        "slabinfo": walk.map(|walk| serde_json::json!({
            "stall_ms": (walk.stall * 10.0).round() / 10.0, "slabs": walk.slabs, "cache": walk.cache, "slab_bytes": walk.slab.saturating_mul(1024),
            "dentries": walk.dentries.map(|(all, _)| all), "negative_dentries": walk.dentries.map(|(_, negative)| negative),
        })),
        "readers": told.readers.is_ok().then(|| readers.collect::<Vec<_>>()),
        "known_readers": known.collect::<Vec<_>>(),
        "remarks": told.makers.iter().map(|text| text.render(style.lang)).collect::<Vec<_>>(),
    })
}
