//! The memory ledger for people and for programs.

use std::fmt::Write as _;

use crate::facts::memory::cgroups::Limited;
use crate::facts::memory::ledger::{Ledger, Part, Row};
use crate::facts::memory::size;
use crate::facts::system::kernel::MemInfo;
use crate::model::text::Text;
use crate::report::documents::{LedgerPartV1, LedgerRowV1, LedgerV1, LimitedV1, ShareV1};
use crate::report::text::{Style, printable};
use crate::tr;

/// A process with its proportional share in KiB, where that was asked for.
#[derive(Clone, Debug)]
pub struct Share {
    /// The PID.
    pub pid: u32,
    /// The name of the program, as in `/proc/PID/comm`: at most 15 bytes.
    pub comm: String,
    /// Its proportional set size in KiB.
    pub pss: u64,
}

/// Everything that is told.
#[derive(Debug)]
pub struct Told<'a> {
    /// The ledger.
    pub ledger: &'a Ledger,
    /// What it was made from.
    pub memory: &'a MemInfo,
    /// The processes with the largest proportional set size, if that was asked for.
    pub shares: Option<&'a [Share]>,
    /// Cgroups with a memory limit, the fullest first.
    pub limits: &'a [Limited],
    /// Who makes the objects that fill the memory, as it was seen for a moment.
    pub watched: &'a [Text],
}

/// Processes that are listed by their share.
const SHARES: usize = 20;

/// The ledger as a table.
pub fn render(told: &Told<'_>, style: &Style) -> String {
    let Told { ledger, shares, .. } = told;
    let say = |text: &Text| printable(&text.render(style.lang));
    let mut out = String::new();
    let per_cent = |kib: i64| format!("{:5.1} %", kib as f64 * 100.0 / (ledger.total.max(1)) as f64);
    let mut line = |indent: &str, kib: i64, title: &str| {
        let sign = if kib < 0 { "-" } else { "" };
        let amount = format!("{sign}{}", size(kib.unsigned_abs()));
        let _ = match indent {
            "" => writeln!(out, "{amount:>10}  {}  {title}", per_cent(kib)),
            _ => writeln!(out, "{:>20}  {indent}{amount:>10}  {title}", ""),
        };
    };
    let signed = |kib: u64| i64::try_from(kib).unwrap_or(i64::MAX);
    for row in &ledger.rows {
        line("", signed(row.kib), &format!("{}  [{}]", say(&row.title), row.source));
        for part in &row.parts {
            line("  ", signed(part.kib), &say(&part.what));
        }
    }
    line("", ledger.unaccounted, &say(&tr!("unaccounted for")));
    line("", signed(ledger.total), "MemTotal");
    out.push('\n');
    if let Some(shares) = shares {
        let all: u64 = shares.iter().map(|share| share.pss).sum();
        let title = tr!(
            "proportional set size (PSS) of {count} {count?process|processes}: {size}",
            count = shares.len(),
            size = size(all)
        );
        let _ = writeln!(out, "{}", say(&title));
        for share in shares.iter().take(SHARES) {
            let _ = writeln!(out, "{:>10}  {} (PID {})", size(share.pss), printable(&share.comm), share.pid);
        }
        out.push('\n');
    }
    for text in remarks(told) {
        let _ = writeln!(out, "- {}", say(&text));
    }
    out
}

/// The same for programs, in bytes.
pub fn json(told: &Told<'_>, style: &Style) -> LedgerV1 {
    let Told { ledger, memory, shares, limits, .. } = told;
    let say = |text: &Text| text.render(style.lang);
    let bytes = |kib: u64| kib.saturating_mul(1024);
    let part = |part: &Part| LedgerPartV1 { what: say(&part.what), bytes: bytes(part.kib) };
    let row = |row: &Row| LedgerRowV1 {
        name: row.name,
        title: say(&row.title),
        bytes: bytes(row.kib),
        source: row.source.clone(),
        parts: row.parts.iter().map(part).collect(),
    };
    let group =
        |group: &Limited| LimitedV1 { file: group.file.display().to_string(), limit: group.limit, used: group.used };
    let share = |share: &Share| ShareV1 { pid: share.pid, comm: share.comm.clone(), pss: bytes(share.pss) };
    LedgerV1 {
        schema: "sickbay/ledger/v1",
        total: bytes(ledger.total),
        available: bytes(memory.available()),
        rows: ledger.rows.iter().map(row).collect(),
        unaccounted: ledger.unaccounted.saturating_mul(1024),
        cgroups: limits.iter().map(group).collect(),
        remarks: remarks(told).iter().map(say).collect(),
        processes: shares.map(|shares| shares.iter().map(share).collect()),
    }
}

fn remarks(told: &Told<'_>) -> Vec<Text> {
    let Told { ledger, memory, limits, .. } = told;
    let mut all = ledger.remarks.clone();
    all.extend_from_slice(told.watched);
    all.push(tr!(
        "MemFree {free} is memory that nothing uses; MemAvailable {available} is what programs can still get: free memory and caches, minus what the kernel reserves ({reserve})",
        free = size(memory.kib("MemFree")),
        available = size(memory.available()),
        reserve = memory.total_reserve().map_or("?".to_owned(), size),
    ));
    let reclaimable = memory.kib("SReclaimable");
    if reclaimable > ledger.total / 10 {
        all.push(tr!(
            "{size} of the kernel objects are caches that shrink by themselves; emptying them with drop_caches loses their content and helps only until they fill up again",
            size = size(reclaimable)
        ));
    }
    if ledger.rows.iter().any(|row| row.name == "processes" && row.parts.len() > 1) {
        all.push(tr!(
            "by process: resident memory minus shared pages; what forked processes share is counted in each of them"
        ));
    }
    for group in *limits {
        let (name, used, limit) = (group.name.as_path(), size(group.used / 1024), size(group.limit / 1024));
        all.push(tr!("the cgroup {name} uses {used} of its limit of {limit}", name, used, limit));
    }
    all
}
