//! Memory is nearly used up.

use crate::facts::Facts;
use crate::facts::memory::ledger::{Ledger, Row};
use crate::facts::memory::{MEMINFO, size};
use crate::facts::system::kernel::MemInfo;
use crate::model::finding::{Findings, Severity};
use crate::model::measured::Unit;
use crate::model::outcome::Verdict;
use crate::model::subject::Subject;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: everything is slow, "Cannot allocate memory", or processes that the OOM killer ends; `free` shows
    /// little available and no swap left.
    ///
    /// ## What it finds
    /// Less than a twentieth of memory, and less than a gibibyte, available (`MemAvailable`, not `MemFree`: free memory
    /// is memory that serves nobody), and no swap left. It names what uses the most, and its details account for every
    /// page; `sickbay explain memory` shows the same as a table.
    ///
    /// ## Why it matters
    /// The next program that asks makes the kernel reclaim what is in use, which slows everything down, and then kill.
    ///
    /// ## What the repair does
    /// Nothing by itself: end or limit what uses the most, or give the machine more memory.
    ///
    /// ## By hand
    /// ```sh
    /// sickbay explain memory
    /// ps -eo pid,rss,comm --sort=-rss | head
    /// ```
    "memory-low", Memory, seed = ["C7"], proves = [], "memory is nearly used up"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let memory = facts.get::<MemInfo>()?;
    let (total, available) = (memory.total(), memory.available());
    if available >= (total / 20).min(1 << 20) || !memory.no_swap_left() {
        return Ok(());
    }
    let ledger = facts.get::<Ledger>()?;
    // What is free or a cache does not use the memory up.
    let holds = |row: &&Row| !matches!(row.name, "free" | "page-cache");
    let Some(most) = ledger.rows.iter().filter(holds).max_by_key(|row| row.kib) else { return Ok(()) };
    let severity = if available < (total / 50).min(256 << 10) { Severity::Error } else { Severity::Warning };
    let mut holder = tr!("the largest use is {what}, {size}", what = most.title.clone(), size = size(most.kib));
    if let Some(part) = most.parts.first().filter(|part| part.kib >= most.kib / 4) {
        holder = tr!("{holder} ({part}: {size})", holder, size = size(part.kib), part = part.what.clone());
    }
    let text = tr!(
        "only {available} of {total} of memory is left; {holder}",
        available = size(available),
        total = size(total),
        holder
    );
    let finding = found.add(severity, text);
    finding
        .about(Subject::Machine)
        .evidence(MEMINFO, format!("MemFree: {} kB, MemAvailable: {available} kB", memory.kib("MemFree")))
        .evidence(
            MEMINFO,
            format!("SwapTotal: {} kB, SwapFree: {} kB", memory.kib("SwapTotal"), memory.kib("SwapFree")),
        )
        .measured("MemAvailable", available as f64 * 1024.0, Unit::Bytes, Some(total as f64 * 1024.0))
        .detail("MemTotal", total.saturating_mul(1024))
        .detail("MemAvailable", available.saturating_mul(1024))
        .detail("ledger", ledger.details());
    finding
        .by_hand(tr!("sickbay explain memory accounts for every page; end or limit what uses the most, or add memory"));
    Ok(())
}
