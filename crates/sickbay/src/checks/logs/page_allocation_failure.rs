//! An allocation of pages failed.

use sickbay_formats::kernel_log::Kind;
use sickbay_formats::kernel_log::alloc_failure::{AllocFailure, Obstacle};

use crate::facts::Facts;
use crate::facts::logs::kernel_log::KernelLog;
use crate::facts::logs::seen::{Seen, kernel_log};
use crate::facts::memory::size;
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::model::subject::Subject;
use crate::model::text::Text;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "swapper/0: page allocation failure: order:0, mode:…" in the kernel log, with lost packets or a command
    /// that fails.
    ///
    /// ## What it finds
    /// `page allocation failure: order:N`: the kernel or a driver asked for 2^N contiguous pages and did not get them. The
    /// report behind it is read in full: which driver asked (the process that is named was often only interrupted),
    /// whether the request could wait, and which zone had too little free, or only blocks that were too small. One
    /// finding for each order.
    ///
    /// ## Why it matters
    /// Whatever asked must do without: a packet is dropped, a command fails. Order 0 in an interrupt means that
    /// `vm.min_free_kbytes` is too small for the network load; a higher order means that free memory is fragmented.
    ///
    /// ## What the repair does
    /// Nothing. For order 0 raise `vm.min_free_kbytes` to 1 % to 3 % of memory; for higher orders check fragmentation,
    /// compact memory, and prefer a driver that needs no large blocks.
    ///
    /// ## By hand
    /// ```sh
    /// cat /proc/buddyinfo
    /// echo 1 > /proc/sys/vm/compact_memory
    /// sysctl -w vm.min_free_kbytes=KIB
    /// ```
    "page-allocation-failure", Logs, seed = ["C17"], proves = [], "a page allocation failed"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let log = kernel_log(facts, found)?;
    let failed = log.of(Kind::PageAllocation);
    let mut orders: Vec<&str> = failed.iter().map(|seen| seen.detail.as_str()).collect();
    orders.sort_by_key(|order| order.parse::<u32>().unwrap_or(u32::MAX));
    orders.dedup();
    for order in orders {
        let of_order = failed.iter().filter(|seen| seen.detail == order).copied().collect();
        let Some(seen) = Seen::from(&log, of_order) else { continue };
        // The first that tells what stood in the way is the example.
        let reports = || log.said.allocs.iter().filter(|report| report.order.to_string() == order);
        let told = reports().find(|report| report.obstacle() != Obstacle::Untold).or_else(|| reports().next());
        report(&log, &seen, order, told, found);
    }
    Ok(())
}

fn report(log: &KernelLog, seen: &Seen<'_>, order: &str, told: Option<&AllocFailure>, found: &mut Findings) {
    let obstacle = told.map_or(Obstacle::Untold, AllocFailure::obstacle);
    let wanted = order.parse::<u32>().ok().map(|order| 4 << order.min(20));
    let page_kb = told.map_or(4, |report| report.memory.page_kb.max(1));
    let size = size(wanted.map_or(page_kb, |kb: u64| kb / 4 * page_kb));
    let who = told.map_or_else(|| Text::verbatim(seen.subjects()), asker);
    let finding = found.add(
        log.severity(Severity::Warning),
        match obstacle {
            Obstacle::BelowMin(zone, free, min) => tr!(
                "{who} did not get {size} (order {order}): zone {zone} had {free} kB free, below its min of {min} kB",
                who,
                size,
                order,
                zone,
                free,
                min
            ),
            Obstacle::Fragmented(zone, largest) => tr!(
                "{who} did not get {size} (order {order}): memory in zone {zone} was free only in blocks of up to {largest} kB",
                who,
                size,
                order,
                zone,
                largest
            ),
            Obstacle::Untold => tr!("{who} did not get {size} (order {order})", who, size, order),
        },
    );
    finding.subject(Subject::Named(format!("order {order}")));
    seen.describe(finding);
    if let Some(report) = told {
        // The report that is told is the one that is quoted.
        finding.evidence.clear();
        finding.evidence(format!("{}:{}", log.source(report.source).display(), report.line), report.words.as_str());
        finding.detail("driver", report.asker()).detail("atomic", report.is_atomic());
        finding.detail("in_interrupt", report.frames.in_interrupt());
    }
    let atomic = told.is_some_and(AllocFailure::is_atomic);
    finding.why(match (told, obstacle) {
        (Some(report), _) if report.receives() => {
            tr!("received packets were dropped; {task} was only interrupted", task = report.task.as_str())
        }
        (Some(report), _) if report.frames.in_interrupt() => {
            tr!("an interrupt cannot wait for memory; {task} was only interrupted", task = report.task.as_str())
        }
        (_, Obstacle::Fragmented(..)) => {
            tr!("memory was free, but fragmented: contiguous pages of this size were not available")
        }
        (Some(_), _) if atomic => {
            tr!("the request could not wait until memory is reclaimed, and only a reserve is kept free for such requests")
        }
        _ if order != "0" => tr!("a higher order needs contiguous pages: free memory is fragmented, or short"),
        _ if told.is_some() => tr!("memory was short at that moment, and whatever asked must do without"),
        _ => tr!("too few pages are kept free for atomic allocations"),
    });
    finding.by_hand(match obstacle {
        _ if order != "0" => tr!(
            "check /proc/buddyinfo; compact memory (vm.compact_memory), raise vm.min_free_kbytes so that larger blocks stay free, and make it use smaller buffers (MTU, ring)"
        ),
        Obstacle::BelowMin(..) | Obstacle::Untold | Obstacle::Fragmented(..) if told.is_none() || atomic => {
            match told.and_then(raised) {
                Some((now, more)) => {
                    tr!("raise vm.min_free_kbytes (it was about {now}), to {more} at first", now, more)
                }
                None => tr!("raise vm.min_free_kbytes, to 1 % to 3 % of memory"),
            }
        }
        _ => tr!("find what uses the memory: sickbay explain memory on the running machine"),
    });
}

/// Who asked, in words.
fn asker(report: &AllocFailure) -> Text {
    match (report.asker(), report.receives()) {
        (Some(driver), true) => tr!("the receive path of {driver}", driver),
        (Some(driver), false) if report.frames.in_interrupt() => tr!("{driver}, in an interrupt,", driver),
        (Some(driver), false) => tr!("{driver}, called by {task},", driver, task = report.task.as_str()),
        _ => Text::verbatim(report.task.as_str()),
    }
}

/// What vm.min_free_kbytes was, and twice that, but no more than a twentieth of memory.
fn raised(report: &AllocFailure) -> Option<(u64, u64)> {
    let now = report.min_free_kb()?;
    let more = now.saturating_mul(2).next_multiple_of(1024).max(65_536);
    let most = report.memory.managed_kb().map_or(u64::MAX, |managed| managed / 20);
    (more.min(most) > now).then_some((now, more.min(most)))
}
