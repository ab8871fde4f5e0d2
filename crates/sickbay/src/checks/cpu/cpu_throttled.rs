//! A cgroup has used up its quota of CPU time, again and again.

use crate::facts::Facts;
use crate::facts::cpu::usage::thousandths;
use crate::facts::glimpse::{is_recorded, no_rates, window_worth_while};
use crate::facts::system::units::unit;
use crate::model::finding::Findings;
use crate::model::measured::Unit;
use crate::model::outcome::Verdict;
use crate::model::subject::Subject;
use crate::sample::Throttled;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: a service answers late at times, though the CPUs are idle and no steal is shown; the log of a container
    /// platform says "CPUThrottlingHigh".
    ///
    /// ## What it finds
    /// A cgroup that stood still in a quarter or more of its periods because it had used up its quota (`cpu.max`,
    /// `cpu.cfs_quota_us`): by what `cpu.stat` counted meanwhile, and not since the boot. It names the unit and the line that
    /// sets `CPUQuota=`.
    ///
    /// ## Why it matters
    /// A group of many threads uses the quota of a period, mostly 100 ms, in the first few milliseconds, and then stands still up to
    /// the next. Every request that is under way waits for that long. No tool that looks at CPUs shows it: they are idle.
    ///
    /// ## What the repair does
    /// Nothing by itself. A quota is a decision; more of it, fewer threads in the program, or a weight (`CPUWeight=`) in its
    /// place take the pauses away.
    ///
    /// ## By hand
    /// ```sh
    /// # how often it was throttled
    /// cat /sys/fs/cgroup/GROUP/cpu.stat
    /// # more for a unit, up to the next boot
    /// systemctl set-property --runtime UNIT CPUQuota=200%
    /// ```
    "cpu-throttled", Cpu, seed = ["D4"], proves = [], reads_recordings = true,
    "a cgroup stands still because its CPU quota is used up"
}

/// Less often it is not noticed, in percent.
const OFTEN: f64 = 25.0;
/// Of fewer periods nothing follows.
const PERIODS: u64 = 5;
/// So many groups are told one by one.
const SHOWN: usize = 5;

/// What a group did meanwhile.
struct Grown<'w> {
    group: &'w Throttled,
    percent: f64,
    seconds: f64,
    periods: u64,
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let Some(window) = window_worth_while(facts)? else { return Ok(()) };
    let Some(whole) = window.whole_with(|sample| sample.throttled.is_some()) else {
        return Err(no_rates("cpu.stat"));
    };
    let (before, after) = (whole.before.throttled.iter().flatten(), whole.after.throttled.iter().flatten());
    let before: std::collections::HashMap<_, _> = before.map(|group| (group.group.as_str(), group)).collect();
    let grown = after.filter_map(|group| {
        let old = before.get(group.group.as_str())?;
        let periods = group.periods.checked_sub(old.periods).filter(|periods| *periods >= PERIODS)?;
        let percent = group.throttled.checked_sub(old.throttled)? as f64 * 100.0 / periods as f64;
        let seconds = group.throttled_us.checked_sub(old.throttled_us)? as f64 / 1e6;
        Some(Grown { group, percent, seconds, periods }).filter(|grown| grown.percent >= OFTEN)
    });
    let mut grown: Vec<Grown<'_>> = grown.collect();
    grown.sort_by(|one, other| other.percent.total_cmp(&one.percent).then(one.group.group.cmp(&other.group.group)));
    // A group above one that is told counts what those below it do.
    let names: Vec<String> = grown.iter().map(|grown| grown.group.group.clone()).collect();
    grown.retain(|one| {
        !names.iter().any(|other| other.strip_prefix(&one.group.group).is_some_and(|rest| rest.starts_with('/')))
    });
    for one in grown.iter().take(SHOWN) {
        tell(facts, found, one, whole.span.as_secs_f64())?;
    }
    Ok(())
}

fn tell(facts: &Facts, found: &mut Findings, one: &Grown<'_>, span: f64) -> Verdict {
    let group = one.group;
    let cpus = group.quota as f64 / group.period.max(1) as f64;
    let (name, kind) = unit_of(&group.group);
    let percent = format!("{:.0}", one.percent.min(100.0));
    let quota = format!("{cpus:.2}");
    let text = match name {
        Some(name) => tr!(
            "{unit} is throttled in {percent} % of its periods: its quota of {quota} {quota?CPU|CPUs} is used up",
            unit = name,
            percent,
            quota
        ),
        None => tr!(
            "the cgroup {group} is throttled in {percent} % of its periods: its quota of {quota} {quota?CPU|CPUs} is used up",
            group = group.group.as_str(),
            percent,
            quota
        ),
    };
    let finding = found.warning(text);
    let mut is_placed = false;
    if let (Some(name), Some(section)) = (name, kind)
        && !is_recorded(facts)
        && let Ok(unit) = unit(facts, name)
        && let Some((file, setting)) = unit.last(section, "CPUQuota")
    {
        finding.at(file, setting.span);
        is_placed = true;
    }
    if !is_placed {
        finding.at_subject(Subject::Cgroup(group.group.clone().into()));
    }
    finding.subject(Subject::Cgroup(group.group.clone().into()));
    finding.why(tr!(
        "its threads stand still up to the end of each period, though CPUs are idle: {seconds} s of all of them together in {span} s",
        seconds = format!("{:.1}", one.seconds),
        span = format!("{span:.1}")
    ));
    finding
        .note(tr!(
            "{quota} ms in each period of {period} ms, {periods} periods meanwhile",
            quota = group.quota / 1000,
            period = group.period / 1000,
            periods = one.periods
        ))
        .measured("throttled", one.percent, Unit::Percent, None)
        .detail("group", group.group.as_str())
        .detail("quota_cpus", thousandths(cpus))
        .detail("throttled_seconds", thousandths(one.seconds));
    finding.by_hand(match name {
        Some(unit) if kind.is_some() => {
            tr!("give it more (CPUQuota= in {unit}), or a weight (CPUWeight=) in place of the quota", unit)
        }
        _ => {
            tr!("give it more in the configuration of whatever made the group, or let the program start fewer threads")
        }
    });
    Ok(())
}

/// The unit of systemd that a group is of, and the section in which its quota is set.
fn unit_of(group: &str) -> (Option<&str>, Option<&'static str>) {
    let last = group.rsplit('/').find(|part| !part.is_empty());
    let section = last.and_then(|last| {
        let kinds = [(".service", "Service"), (".slice", "Slice"), (".socket", "Socket"), (".mount", "Mount")];
        kinds.iter().find(|(end, _)| last.ends_with(end)).map(|(_, section)| *section)
    });
    match (last, section) {
        (Some(last), Some(section)) => (Some(last), Some(section)),
        (Some(last), None) if last.ends_with(".scope") => (Some(last), None),
        _ => (None, None),
    }
}
