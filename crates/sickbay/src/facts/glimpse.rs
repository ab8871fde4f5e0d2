//! Whether a second of watching is worth while for what one moment does not show: two looks, a tenth of a second apart.

use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;

use crate::facts::episode::Episode;
use crate::facts::system::kernel::running;
use crate::facts::time::{Glance, Recorded, over_time};
use crate::facts::{Fact, Facts};
use crate::model::finding::Finding;
use crate::model::outcome::Skip;
use crate::model::text::Text;
use crate::sample::asked::shown;
use crate::sample::rates::Interval;
use crate::sample::{self, Window};
use crate::tr;

/// So far apart: ten ticks.
const APART: Duration = Duration::from_millis(110);

/// Two looks at what the kernel counts.
#[derive(Debug)]
pub struct Glimpse(pub Arc<Window>);

impl Fact for Glimpse {
    fn gather(facts: &Facts) -> Result<Glimpse, Skip> {
        running(facts)?;
        Ok(Glimpse(Arc::new(sample::glimpse(facts.root(), APART)?)))
    }
}

impl Glimpse {
    fn shows_something(&self) -> bool {
        let [before, after] = self.0.samples.as_slice() else { return false };
        Interval::between(before, after).is_some_and(|interval| shows_something(&interval))
    }
}

/// Whether something may be ill in that time, by the counters alone: it is worth while to look closely.
pub fn shows_something(interval: &Interval<'_>) -> bool {
    let (before, after) = (interval.before, interval.after);
    let cpus = interval.cpus();
    let all = cpus.as_ref().and_then(|cpus| cpus.all);
    let is_busy = all.is_some_and(|all| all.busy() >= 85.0 || all.steal >= 5.0 || all.iowait >= 25.0);
    let is_pinned = cpus.and_then(|cpus| cpus.busiest()).is_some_and(|(_, shares)| shares.busy() >= 85.0);
    let is_stormy = interval.rate(|sample| sample.stat.as_ref()?.made).is_some_and(|made| made >= 100.0);
    let disk_works = interval.disks().into_iter().flatten().any(|disk| {
        let stands = disk.disk.in_flight > 0 && disk.transfers == Some(0.0);
        stands || disk.util.is_some_and(|util| util >= 70.0)
    });
    let some = after.io_pressure.and_then(|pressure| pressure.some).map_or(0, |some| some.averages[0]);
    let before = before.throttled.iter().flatten();
    let throttles = before
        .zip(after.throttled.iter().flatten())
        .any(|(before, after)| before.group == after.group && before.throttled < after.throttled);
    is_busy || is_pinned || is_stormy || disk_works || throttles || some >= 2000
}

/// The window of a running system, if there is something to see in it or the user asked for one; of what was written down or
/// recorded always.
pub fn window_worth_while(facts: &Facts) -> Result<Option<Arc<Window>>, Skip> {
    over_time(facts)?;
    let is_cheap = is_recorded(facts) || !facts.target().is_this_machine() || facts.window().is_some();
    let is_worth_while = is_cheap || facts.get::<Glance>()?.shows_load() || facts.get::<Glimpse>()?.shows_something();
    if is_worth_while { facts.get::<Window>().map(Some) } else { Ok(None) }
}

/// Why there is nothing to compare.
pub fn no_rates(path: &str) -> Skip {
    Skip::NotApplicable(tr!("{path} was written down at one moment alone, or not at all", path))
}

/// Whether what is looked at was recorded: then the target may have no files, and its processes are gone.
pub fn is_recorded(facts: &Facts) -> bool {
    facts.target().recording().is_ok()
}

/// Whether the processes of the window are those that run here and now.
pub fn is_now(facts: &Facts) -> bool {
    !is_recorded(facts) && facts.target().running().is_ok()
}

/// In which zone times are told and jobs are started: that of the target, UTC where nobody knows.
pub fn zone(facts: &Facts) -> TimeZone {
    if is_recorded(facts) {
        return facts.get::<Recorded>().map_or(TimeZone::UTC, |recorded| recorded.zone.clone());
    }
    let file = facts.root().read_up_to("/etc/localtime", 1 << 20).ok();
    file.and_then(|bytes| TimeZone::tzif("Local", &bytes).ok()).unwrap_or(TimeZone::UTC)
}

/// When something was so, and for how long.
fn told_time(facts: &Facts, episode: &Episode) -> Text {
    let zone = zone(facts);
    let (from, to) = (shown(episode.from, &zone), shown(episode.to, &zone));
    let seconds = episode.length.as_secs();
    match (episode.is_open_before, episode.is_open_after) {
        (false, false) => tr!("from {from} to {to}, {seconds} s", from, to, seconds),
        (true, false) => tr!("from {from} or earlier to {to}, {seconds} s of it recorded", from, to, seconds),
        (false, true) => tr!("from {from} to {to} or later, {seconds} s of it recorded", from, to, seconds),
        (true, true) => tr!("from {from} or earlier to {to} or later, {seconds} s of it recorded", from, to, seconds),
    }
}

/// Says of a finding when it was so, and for how long.
pub fn tell_time(facts: &Facts, finding: &mut Finding, episode: &Episode) {
    finding.note(told_time(facts, episode));
    let time = |wall: Duration| jiff::Timestamp::from_second(i64::try_from(wall.as_secs()).ok()?).ok();
    // Of what was written down with the time of the day alone there is no date.
    if let (Some(from), Some(to)) = (time(episode.from), time(episode.to))
        && episode.from.as_secs() > 86_400 * 366
    {
        finding.seen(from, to);
    }
}

#[cfg(test)]
mod tests {
    use sickbay_formats::procfs::{diskstats, stat};

    use super::*;
    use crate::sample::{Sample, Throttled};

    fn glimpse(before: Sample, after: Sample) -> Glimpse {
        Glimpse(Arc::new(Window { samples: vec![before, after], place: "/proc".into() }))
    }

    fn sample(ms: u64, cpu: &str, disk: &str) -> Sample {
        let mut sample = Sample { stat: Some(stat::parse(cpu.as_bytes())), ..Sample::default() };
        sample.moment.steady = Duration::from_millis(ms);
        sample.disks = Some(diskstats::parse(disk.as_bytes()));
        sample
    }

    #[test]
    fn what_is_worth_a_look() {
        let base = "cpu 100 0 0 100 0\ncpu0 50 0 0 50 0\ncpu1 50 0 0 50 0\nprocesses 10\n";
        let disk = "8 0 sda 1 0 1 1 1 0 1 1 0 100 100\n";
        let shows = |cpu: &str, after: &str| glimpse(sample(0, base, disk), sample(100, cpu, after)).shows_something();
        assert!(!shows("cpu 105 0 0 115 0\ncpu0 54 0 0 56 0\ncpu1 51 0 0 59 0\nprocesses 11\n", disk));
        assert!(shows("cpu 111 0 0 109 0\ncpu0 60 0 0 50 0\ncpu1 51 0 0 59 0\n", disk));
        assert!(shows("cpu 101 0 0 119 0\nprocesses 30\n", disk));
        assert!(shows(base, "8 0 sda 1 0 1 1 1 0 1 1 1 180 100\n"));
        // One request that does not end.
        assert!(shows(base, "8 0 sda 1 0 1 1 1 0 1 1 1 100 100\n"));
        let (mut before, mut after) = (sample(0, base, disk), sample(100, base, disk));
        assert!(!glimpse(before.clone(), after.clone()).shows_something());
        before.throttled = Some(vec![Throttled::default()]);
        after.throttled = Some(vec![Throttled { throttled: 1, ..Throttled::default() }]);
        assert!(glimpse(before, after).shows_something());
    }
}
