//! What was seen over time as curves: what a picture shows, before anybody draws it. What is not known is no value, and never zero.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::model::text::Text;
use crate::report::rates::Told;
use crate::sample::rates::Interval;
use crate::sample::{Sample, Window};
use crate::tr;

/// So many steps a curve has at most.
const STEPS: usize = 240;
/// So many curves are in one picture: those with most to see.
const CURVES: usize = 5;
/// An interval so many times as long as the usual one is a hole: its mean says nothing of any moment in it.
const HOLE: f64 = 12.0;

/// Of what a curve is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    /// Percent of the whole: the axis ends at 100, or where more was measured, there.
    Percent,
    /// Bytes in a second.
    Bytes,
    /// Milliseconds.
    Milliseconds,
    /// Things in a second.
    PerSecond,
    /// Threads.
    Threads,
}

/// One curve.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Curve {
    /// What it is called.
    pub(super) name: Text,
    /// A value for each step; `None` where nothing is known.
    pub(super) values: Vec<Option<f64>>,
}

/// A picture.
#[derive(Clone, Debug)]
pub(super) struct Picture {
    /// What it shows.
    pub(super) title: Text,
    /// Of what its curves are.
    pub(super) scale: Scale,
    /// Whether they stand upon each other.
    pub(super) stacked: bool,
    /// From below.
    pub(super) curves: Vec<Curve>,
    /// A line above them that is no part of the stack: the average of the load.
    pub(super) line: Option<Curve>,
    /// For each step whether somebody looked.
    pub(super) known: Vec<bool>,
}

/// All pictures, and from when to when they are.
#[derive(Clone, Debug)]
pub(super) struct Pictures {
    /// When it begins, since 1970.
    pub(super) from: Duration,
    /// When it ends, since 1970.
    pub(super) to: Duration,
    /// In the order in which they are looked at.
    pub(super) all: Vec<Picture>,
}

impl Curve {
    /// Its mean and its greatest value, of what is known.
    pub(super) fn sums(&self) -> Option<(f64, f64)> {
        let known: Vec<f64> = self.values.iter().flatten().copied().collect();
        let most = known.iter().copied().reduce(f64::max)?;
        Some((known.iter().sum::<f64>() / known.len() as f64, most))
    }
}

/// A curve while it is gathered: what was so in each step, weighted by how much of the step that was.
#[derive(Clone)]
struct Steps {
    from: f64,
    width: f64,
    sums: Vec<(f64, f64)>,
}

impl Steps {
    fn new(from: f64, to: f64, count: usize) -> Steps {
        let count = count.clamp(1, STEPS);
        Steps { from, width: ((to - from) / count as f64).max(1e-9), sums: vec![(0.0, 0.0); count] }
    }

    fn add(&mut self, from: f64, to: f64, value: f64) {
        if !value.is_finite() || to <= from {
            return;
        }
        let last = self.sums.len().saturating_sub(1);
        let step = |time: f64| (((time - self.from) / self.width).max(0.0) as usize).min(last);
        for at in step(from)..=step(to) {
            let begin = self.from + at as f64 * self.width;
            let covered = to.min(begin + self.width) - from.max(begin);
            if let (true, Some((sum, weight))) = (covered > 0.0, self.sums.get_mut(at)) {
                *sum += value * covered;
                *weight += covered;
            }
        }
    }

    /// A step of which less than a quarter is known is not.
    fn values(&self) -> Vec<Option<f64>> {
        self.sums.iter().map(|(sum, weight)| (*weight > self.width / 4.0).then(|| sum / weight)).collect()
    }
}

/// Pieces of time with what is known of each.
struct Pieces<'a> {
    from: f64,
    to: f64,
    list: Vec<Interval<'a>>,
}

impl<'a> Pieces<'a> {
    /// Between samples that have something; without holes, and without those in which a clock was set back.
    fn of(told: &'a Told, whole: (f64, f64), has: impl Fn(&Sample) -> bool + Clone) -> Pieces<'a> {
        let mut list: Vec<Interval<'_>> = told.window.intervals_with(has).filter(|one| one.to() > one.from()).collect();
        let mut spans: Vec<f64> = list.iter().map(|one| one.span.as_secs_f64()).collect();
        spans.sort_by(f64::total_cmp);
        let usual = spans.get(spans.len() / 2).copied().unwrap_or(0.0);
        list.retain(|one| one.span.as_secs_f64() <= (usual * HOLE).max(2.0));
        Pieces { from: whole.0, to: whole.1, list }
    }

    fn steps(&self) -> Steps {
        Steps::new(self.from, self.to, self.list.len())
    }

    /// Where somebody looked.
    fn known(&self) -> Vec<bool> {
        self.curve(Text::verbatim(""), |_| Some(1.0)).values.iter().map(Option::is_some).collect()
    }

    /// A curve of one value.
    fn curve(&self, name: Text, of: impl Fn(&Interval<'a>) -> Option<f64>) -> Curve {
        let mut steps = self.steps();
        for one in &self.list {
            if let Some(value) = of(one) {
                steps.add(one.from().as_secs_f64(), one.to().as_secs_f64(), value);
            }
        }
        Curve { name, values: steps.values() }
    }

    /// Curves of several by name; those with the greatest mean come first, the others are left out.
    fn curves(&self, of: impl Fn(&Interval<'a>) -> Vec<(String, Option<f64>)>) -> Vec<Curve> {
        let mut each: BTreeMap<String, Steps> = BTreeMap::new();
        for one in &self.list {
            for (name, value) in of(one) {
                let steps = each.entry(name).or_insert_with(|| self.steps());
                if let Some(value) = value {
                    steps.add(one.from().as_secs_f64(), one.to().as_secs_f64(), value);
                }
            }
        }
        let curve = |(name, steps): (String, Steps)| Curve { name: Text::verbatim(name), values: steps.values() };
        let mut curves: Vec<Curve> = each.into_iter().map(curve).collect();
        curves.retain(|curve| curve.sums().is_some_and(|(_, most)| most > 0.0));
        curves.sort_by(|one, other| total(other).total_cmp(&total(one)));
        curves.truncate(CURVES);
        curves
    }
}

fn total(curve: &Curve) -> f64 {
    curve.sums().map_or(0.0, |(mean, _)| mean)
}

/// All there is to see in it.
pub(super) fn pictures(told: &Told) -> Option<Pictures> {
    let walls = || told.window.samples.iter().map(|sample| sample.moment.wall);
    let (from, to) = (walls().min()?, walls().max()?);
    if to <= from {
        return None;
    }
    let whole = (from.as_secs_f64(), to.as_secs_f64());
    let mut all = Vec::new();
    all.extend(load(told, whole));
    all.extend(cpu(told, whole));
    all.extend(disks(told, whole));
    all.extend(links(told, whole));
    all.retain(|picture| {
        let curves = picture.curves.iter().chain(&picture.line);
        curves.flat_map(|curve| &curve.values).any(Option::is_some)
    });
    Some(Pictures { from, to, all })
}

/// Who ran, could run, or waited uninterruptibly, by program.
fn load(told: &Told, whole: (f64, f64)) -> Option<Picture> {
    let has = |sample: &Sample| sample.threads.is_some();
    let pieces = Pieces::of(told, whole, has);
    let leaders = leaders(&told.window);
    let mut sums: HashMap<String, f64> = HashMap::new();
    let groups = |sample: &Sample| {
        let mut groups: BTreeMap<String, f64> = BTreeMap::new();
        for thread in sample.threads.iter().flat_map(|threads| &threads.list).filter(|thread| thread.is_active()) {
            let own = thread.name.to_string();
            let program = match leaders.get(&thread.pid) {
                _ if thread.is_kernels() => own.split(['/', ':']).next().unwrap_or(&own).to_owned(),
                Some(leader) => leader.clone(),
                None => own,
            };
            *groups.entry(format!("{program} {}", char::from(thread.state))).or_default() += 1.0;
        }
        groups
    };
    let each: Vec<BTreeMap<String, f64>> = pieces.list.iter().map(|one| groups(one.after)).collect();
    for (group, threads) in each.iter().flatten() {
        *sums.entry(group.clone()).or_default() += threads;
    }
    let mut ranked: Vec<(&String, &f64)> = sums.iter().collect();
    ranked.sort_by(|one, other| other.1.total_cmp(one.1).then(one.0.cmp(other.0)));
    let most: Vec<String> = ranked.iter().take(CURVES).map(|(group, _)| (*group).clone()).collect();
    let is_more = ranked.len() > most.len();
    let of = |name: Text, value: &dyn Fn(&BTreeMap<String, f64>) -> f64| {
        let mut steps = pieces.steps();
        for (one, groups) in pieces.list.iter().zip(&each) {
            steps.add(one.from().as_secs_f64(), one.to().as_secs_f64(), value(groups));
        }
        Curve { name, values: steps.values() }
    };
    let mut curves: Vec<Curve> = most
        .iter()
        .map(|group| of(Text::verbatim(group), &|groups| groups.get(group).copied().unwrap_or(0.0)))
        .collect();
    if is_more {
        let rest = |groups: &BTreeMap<String, f64>| {
            groups.iter().filter(|(group, _)| !most.contains(group)).map(|(_, threads)| threads).sum()
        };
        curves.push(of(tr!("others"), &rest));
    }
    let averages = Pieces::of(told, whole, |sample| sample.load.is_some());
    let load1 = |one: &Interval<'_>| Some(f64::from(u32::try_from(one.after.load?.averages[0]).ok()?) / 100.0);
    let line = averages.curve(Text::verbatim("load1"), load1);
    Some(Picture {
        title: tr!("Load: threads that run (R) or wait uninterruptibly (D), by program"),
        scale: Scale::Threads,
        stacked: true,
        curves,
        line: Some(line),
        known: pieces.known(),
    })
}

/// Process → the name of its first thread.
fn leaders(window: &Window) -> HashMap<u32, String> {
    let threads = window.samples.iter().filter_map(|sample| sample.threads.as_ref()).flat_map(|threads| &threads.list);
    threads.filter(|thread| thread.id == thread.pid).map(|thread| (thread.pid, thread.name.to_string())).collect()
}

fn cpu(told: &Told, whole: (f64, f64)) -> Option<Picture> {
    let pieces = Pieces::of(told, whole, |sample| sample.stat.is_some());
    type Part = (&'static str, fn(&crate::sample::rates::Shares) -> Option<f64>);
    const PARTS: [Part; 7] = [
        ("user", |shares| Some(shares.user)),
        ("nice", |shares| shares.nice),
        ("system", |shares| Some(shares.system)),
        ("iowait", |shares| Some(shares.iowait)),
        ("irq", |shares| shares.irq),
        ("softirq", |shares| shares.softirq),
        ("steal", |shares| Some(shares.steal)),
    ];
    let curve = |(name, of): &Part| pieces.curve(Text::verbatim(*name), |one| of(&one.cpus()?.all?));
    let curves = PARTS.iter().map(curve).collect();
    let known = pieces.known();
    Some(Picture { title: tr!("CPU, all processors"), scale: Scale::Percent, stacked: true, curves, line: None, known })
}

fn disks(told: &Told, whole: (f64, f64)) -> Vec<Picture> {
    let pieces = Pieces::of(told, whole, |sample| sample.disks.is_some());
    type Of = fn(&crate::sample::rates::DiskRates<'_>) -> Option<f64>;
    let picture = |title: Text, scale: Scale, of: Of| {
        let curves = pieces.curves(|one| {
            let disks = one.disks().unwrap_or_default();
            disks.iter().map(|disk| (disk.disk.name.to_string(), of(disk))).collect()
        });
        Picture { title, scale, stacked: false, curves, line: None, known: pieces.known() }
    };
    vec![
        picture(tr!("Disks: how much of the time they were busy"), Scale::Percent, |disk| disk.util),
        picture(tr!("Disks: read and written"), Scale::Bytes, |disk| Some((disk.read_kb? + disk.written_kb?) * 1024.0)),
        picture(tr!("Disks: how long a read or write took"), Scale::Milliseconds, |disk| disk.wait),
    ]
}

fn links(told: &Told, whole: (f64, f64)) -> Vec<Picture> {
    let pieces = Pieces::of(told, whole, |sample| sample.links.is_some());
    let carried = pieces.curves(|one| {
        let links = one.links().unwrap_or_default();
        let both = |(name, received, sent): &(String, _, _)| {
            let (received, sent): (&crate::sample::rates::CarriedRates, &crate::sample::rates::CarriedRates) =
                (received, sent);
            [(format!("{name} rx"), received.bytes), (format!("{name} tx"), sent.bytes)]
        };
        links.iter().flat_map(both).collect()
    });
    let lost = pieces.curves(|one| {
        let links = one.links().unwrap_or_default();
        let sum = |(name, received, sent): &(
            String,
            crate::sample::rates::CarriedRates,
            crate::sample::rates::CarriedRates,
        )| {
            let all = [received.dropped, received.errors, sent.dropped, sent.errors].into_iter().sum::<Option<f64>>();
            (name.clone(), all)
        };
        links.iter().map(sum).collect()
    });
    let known = pieces.known();
    let picture =
        |title, scale, curves| Picture { title, scale, stacked: false, curves, line: None, known: known.clone() };
    vec![
        picture(tr!("Network: received (rx) and sent (tx)"), Scale::Bytes, carried),
        picture(tr!("Network: packets dropped or with errors"), Scale::PerSecond, lost),
    ]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::tz::TimeZone;

    use super::*;
    use crate::report::sample::recorded;

    #[test]
    fn what_is_not_known_is_a_gap() {
        let told = recorded();
        let pictures = pictures(&told).expect("pictures");
        let cpu = pictures.all.iter().find(|picture| picture.scale == Scale::Percent && picture.stacked).expect("cpu");
        let user = &cpu.curves[0].values;
        assert!(user.iter().any(Option::is_none), "nobody looked for a while");
        assert!(user.iter().flatten().all(|value| (0.0..=100.0).contains(value)));
        let load = &pictures.all[0];
        assert!(load.curves[0].name.render(crate::model::text::Lang::En).starts_with("nginx"), "{load:?}");
        assert!(load.curves.iter().all(|curve| curve.values.len() == load.curves[0].values.len()));
    }

    #[test]
    fn a_clock_that_stands_still_shows_nothing() {
        let samples = vec![Sample::default(), Sample::default()];
        let window = Arc::new(Window { samples, place: "/proc".into() });
        assert!(pictures(&Told { window, zone: TimeZone::UTC, remarks: Vec::new() }).is_none());
    }

    #[test]
    fn a_mean_is_weighted_by_time() {
        let mut steps = Steps::new(0.0, 10.0, 1);
        steps.add(0.0, 1.0, 100.0);
        steps.add(1.0, 10.0, 0.0);
        assert_eq!(steps.values(), [Some(10.0)]);
        let mut steps = Steps::new(0.0, 10.0, 2);
        steps.add(6.0, 10.0, f64::NAN);
        steps.add(5.0, 10.0, 3.0);
        assert_eq!(steps.values(), [None, Some(3.0)]);
    }
}
