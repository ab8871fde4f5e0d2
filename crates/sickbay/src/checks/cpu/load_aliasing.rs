//! Peaks of the load average that are no load.

use std::time::Duration;

use bstr::ByteSlice;

use crate::facts::Facts;
use crate::facts::cpu::beat::{self, Point};
use crate::facts::system::kernel::Kernel;
use crate::facts::time::over_time;
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::{Skip, Verdict};
use crate::sample::{Sample, Window};
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: load1 climbs to 5 or 7 on an idle machine every hour or two, at intervals that match no cron job,
    /// and falls again within minutes.
    ///
    /// ## What it finds
    /// Peaks of the load average that come every 41.75, 104.25 or 125 minutes, every 6.95 hours, or a fifth of that, by the
    /// kernel's HZ, while neither the CPUs nor the threads that can be seen have anything to show for them. It needs to see
    /// three of them, so only a long recording, or a long `--for`, tells.
    ///
    /// ## Why it matters
    /// The kernel counts threads every 5·HZ+1 ticks: every 5 s and one tick. What runs for a moment every 5 or 10 s, as an
    /// agent does that starts twenty threads to collect something, is out of step with that by one tick each time; every
    /// 5·(5·HZ+1) s they coincide, many counts in a row find all of these threads, and load1 shows 7 on an idle machine.
    /// Whoever looks for the load then searches for days.
    ///
    /// ## What the repair does
    /// Nothing by itself: nothing is wrong but the number. An agent with a random delay, or with an interval that is no whole
    /// number of seconds, no longer does this.
    ///
    /// ## By hand
    /// ```sh
    /// # which agents run something every 5 or 10 s
    /// ps -eo pid,etimes,args --sort=etimes | head -40
    /// ```
    "load-aliasing", Cpu, seed = ["C5"], proves = [], reads_recordings = true,
    "the load average has peaks that are no load"
}

/// Three peaks of the shortest beat take longer.
const LEAST: Duration = Duration::from_secs(1200);

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    over_time(facts)?;
    let short = || Skip::NotApplicable(tr!("peaks that come back show in a long recording, not in one look"));
    if facts.target().recording().is_err()
        && facts.target().is_this_machine()
        && facts.window().is_none_or(|length| length < LEAST)
    {
        return Err(short());
    }
    let window = facts.get::<Window>()?;
    if window.span().is_none_or(|span| span < LEAST) {
        return Err(short());
    }
    let Some(beat) = beat::find(&points(&window), hz(facts)) else { return Ok(()) };
    let text = tr!(
        "peaks of load1 up to {highest} every {minutes} minutes are no load: something runs for a moment at multiples of {every} s, and the kernel counts every 5 s and one tick (HZ {hz})",
        highest = format!("{:.2}", beat.highest),
        minutes = format!("{:.1}", beat.period / 60.0),
        every = beat.every,
        hz = beat.hz
    );
    let finding = found.add(Severity::Note, text);
    finding
        .at_path("/proc/loadavg")
        .why(tr!(
            "the two coincide every {period} s; meanwhile the CPUs were as busy as ever, and {seen} threads more were seen",
            period = beat::period(beat.hz, beat.every),
            seen = format!("{:.1}", beat.seen)
        ))
        .detail("peaks", beat.peaks)
        .detail("period", beat.period)
        .detail("hz", beat.hz)
        .by_hand(tr!("give whatever collects or runs every few seconds a random delay, or an interval that is no whole number of seconds"));
    Ok(())
}

fn points(window: &Window) -> Vec<Point> {
    let pairs = window.samples.iter().zip(window.samples.iter().skip(1));
    let point = |(before, after): (&Sample, &Sample)| {
        let active = after.threads.as_ref()?.list.iter().filter(|thread| thread.is_active()).count();
        Some(Point {
            time: after.moment.steady.as_secs_f64(),
            load: after.load?.averages[0] as f64 / 100.0,
            active: active as f64,
            busy: after.busy_since(before)?,
        })
    };
    pairs.filter_map(point).collect()
}

/// What the kernel was built with, where that is written.
fn hz(facts: &Facts) -> Option<u32> {
    let release = facts.get::<Kernel>().ok()?.release.clone();
    let config = facts.file(format!("/boot/config-{release}")).ok()??;
    config.bytes.lines().find_map(|line| line.strip_prefix(b"CONFIG_HZ="))?.to_str().ok()?.parse().ok()
}
