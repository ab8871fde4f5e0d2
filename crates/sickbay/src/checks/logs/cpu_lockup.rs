//! A processor was stuck in the kernel.

use sickbay_formats::kernel_log::{Incident, Kind};

use crate::facts::Facts;
use crate::facts::logs::seen::{Seen, kernel_log};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "watchdog: BUG: soft lockup - CPU#2 stuck for 22s!" or "hard LOCKUP", and a machine that freezes for
    /// seconds.
    ///
    /// ## What it finds
    /// `BUG: soft lockup` (a CPU did not schedule for twice `kernel.watchdog_thresh`) and `hard LOCKUP` (it took no
    /// interrupts either).
    ///
    /// ## Why it matters
    /// Everything that runs on that CPU hangs, network packets too. On a virtual machine the cause is often the host:
    /// it did not give the CPU any time. Otherwise it is a loop or a lock in the kernel or a driver; reading
    /// `/proc/slabinfo` with a great many slabs was one.
    ///
    /// ## What the repair does
    /// Nothing. Compare the time with steal time and with the host; the stack trace in the log names the function, and
    /// a newer kernel may have it fixed.
    ///
    /// ## By hand
    /// ```sh
    /// # %steal
    /// sar -u -f FILE
    /// vmstat 1
    /// ```
    "cpu-lockup", Logs, seed = [], proves = [], "a CPU was stuck in the kernel"
}

/// A processor that was stuck for so long when that was told first.
const PAUSE: u64 = 120;

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let log = kernel_log(facts, found)?;
    let Some(seen) = Seen::of(&log, Kind::Lockup) else { return Ok(()) };
    let finding = found
        .add(log.severity(Severity::Error), tr!("a CPU was stuck in the kernel: {tasks}", tasks = seen.subjects()));
    seen.describe(finding);
    let lockups: Vec<serde_json::Value> = seen
        .each
        .iter()
        .map(|one| {
            serde_json::json!({
                "cpu": number(one, "CPU#").or_else(|| number(one, "on cpu ")),
                "seconds": number(one, "stuck for "),
                "task": one.subject,
                "function": one.function,
            })
        })
        .collect();
    finding.detail("lockups", lockups);
    if let Some(function) = seen.each.iter().find_map(|one| one.function.as_deref()) {
        finding.note(tr!("it was in {function}", function));
    }
    // The first is told after some twenty seconds: one that is much longer by then is no loop, but a clock that jumped.
    let stood_still = seen.each.iter().filter_map(|one| number(one, "stuck for ")).max().filter(|most| *most >= PAUSE);
    let first = seen.each.iter().find_map(|one| Some((number(one, "CPU#")?, number(one, "stuck for ")?)));
    if let Some((cpu, seconds)) = first {
        finding.note(tr!("the first: CPU {cpu}, for {seconds} s", cpu, seconds));
    }
    finding.why(match stood_still {
        Some(seconds) => tr!(
            "{seconds} s is longer than the watchdog takes to notice: the whole machine stood still, as a virtual machine does that is paused, moved, or whose host is out of CPU or memory",
            seconds
        ),
        None => tr!("nothing else ran on it meanwhile; on a virtual machine the host may have withheld the CPU"),
    });
    finding.by_hand(tr!("compare the time with steal time and with the host; otherwise try a newer kernel"));
    Ok(())
}

/// The number behind these words.
fn number(seen: &Incident, words: &str) -> Option<u64> {
    let rest = seen.words.split_once(words)?.1;
    rest.get(..rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()))?.parse().ok()
}
