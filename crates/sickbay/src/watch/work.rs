//! What takes a while, and is done beside: what the checks say of a moment, and where in a recording they say something.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::Duration;

use sickbay_target::Target;

use super::past::{HALF, between, part};
use super::verdict::Verdict;
use crate::checks;
use crate::engine::run::diagnose;
use crate::facts::Facts;
use crate::facts::episode::{STEP, Step, episodes, steps};
use crate::facts::glimpse::shows_something;
use crate::model::about::Area;
use crate::model::diagnosis::Diagnosis;
use crate::model::finding::{Finding, Severity};
use crate::model::outcome::Outcome;
use crate::model::text::Text;
use crate::sample::rates::Interval;
use crate::sample::{Sample, Window};

/// A recording is searched in pieces of this length.
pub(super) const PIECE: Duration = Duration::from_secs(30 * 60);

/// So many stretches of a piece are looked at closely, the longest.
const STRETCHES: usize = 32;

/// Two stretches that are so near are one.
const NEAR: Duration = Duration::from_secs(10);

/// A shorter one is none.
const SHORT: Duration = Duration::from_millis(1900);

/// What is looked at.
#[derive(Clone, Debug)]
pub(super) enum Of {
    /// A part of a recording.
    Recording(Arc<Target>),
    /// Samples of the running system.
    Running(Arc<Target>, Arc<Window>),
}

/// A stretch in which checks find something.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Anomaly {
    /// When it begins.
    pub(super) from: Duration,
    /// When it ends.
    pub(super) to: Duration,
    /// Which check finds the worst of it.
    pub(super) check: &'static str,
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Answer {
    /// What is to be said of a moment, and all that was found.
    Verdict(Verdict, Vec<Finding>),
    /// The stretches of a piece.
    Piece(u64, Result<Vec<Anomaly>, Text>),
}

/// Something that is being done.
#[derive(Debug)]
pub(super) struct Job {
    answer: Receiver<Answer>,
}

impl Job {
    /// Begins it; `None` where no thread can be had.
    pub(super) fn begin(work: impl FnOnce() -> Answer + Send + 'static) -> Option<Job> {
        let (sender, answer) = channel();
        let thread = std::thread::Builder::new().name("checks".into());
        // Whoever asked may be gone.
        thread.spawn(move || drop(sender.send(work()))).ok()?;
        Some(Job { answer })
    }

    /// Whether it is done; an error where it will never be.
    pub(super) fn answer(&self) -> Result<Option<Answer>, ()> {
        match self.answer.try_recv() {
            Ok(answer) => Ok(Some(answer)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(()),
        }
    }
}

impl Of {
    fn facts(&self, from: Duration, to: Duration) -> Facts {
        match self {
            Of::Recording(target) => Facts::new(Arc::clone(target), None).with_asked(between(from, to)),
            Of::Running(target, window) => {
                let is_part = |sample: &&Sample| (from..=to).contains(&sample.moment.wall);
                let samples: Vec<Sample> = window.samples.iter().filter(is_part).cloned().collect();
                let window = Window { samples, place: window.place.clone() };
                let length = window.span().unwrap_or(STEP);
                Facts::new(Arc::clone(target), None).with_window(Some(length)).with_samples(Arc::new(window))
            }
        }
    }

    /// What the checks that read recordings say of that time.
    fn diagnosis(&self, from: Duration, to: Duration) -> Diagnosis {
        diagnose(&Arc::new(self.facts(from, to)), &checks::of_windows())
    }

    /// What they say of that moment, by what was shortly before and after it.
    pub(super) fn verdict(&self, at: Duration, (from, to): (Duration, Duration)) -> Answer {
        let diagnosis = self.diagnosis(from, to);
        // As bad as the worst that follows from it.
        let severity = |index: usize, own: Severity| {
            let all = diagnosis.findings.iter().filter(|other| other.caused_by == Some(index));
            all.map(|other| other.severity).fold(own, Severity::min)
        };
        let causes = diagnosis.causes().filter(|(_, finding)| is_then(finding, at));
        let mut found: Vec<(Severity, Text)> =
            causes.map(|(index, finding)| (severity(index, finding.severity), finding.message.clone())).collect();
        found.sort_by_key(|(severity, _)| *severity);
        let untold = diagnosis.outcomes.iter().find_map(|(_, outcome)| match outcome {
            Outcome::Unknown(why) | Outcome::Broken(why) | Outcome::Found(Some(why)) => Some(why.clone()),
            _ => None,
        });
        let is_any_clear =
            diagnosis.outcomes.iter().any(|(_, outcome)| matches!(outcome, Outcome::Clear | Outcome::Found(_)));
        let verdict = match (found.is_empty(), untold) {
            (false, _) => Verdict::Found(found),
            (true, Some(why)) => Verdict::Untold(why),
            (true, None) if is_any_clear => Verdict::Clear,
            (true, None) => Verdict::Untold(crate::tr!("what is known of this moment is too little for the checks")),
        };
        Answer::Verdict(verdict, diagnosis.findings)
    }

    /// Where in that piece of a recording they say something.
    pub(super) fn piece(&self, index: u64) -> Answer {
        let from = PIECE.saturating_mul(u32::try_from(index).unwrap_or(u32::MAX));
        let asked = between(from.saturating_sub(HALF / 15), from.saturating_add(PIECE + HALF / 15));
        let Of::Recording(target) = self else { return self.all() };
        let found = part(target, asked).map(|(_, _, window)| {
            let mut all = self.anomalies(&window);
            // What begins before it is told there.
            all.retain(|one| one.from < from.saturating_add(PIECE) && one.to >= from);
            all
        });
        Answer::Piece(index, found)
    }

    /// The same of all samples of the running system.
    fn all(&self) -> Answer {
        let Of::Running(_, window) = self else { return Answer::Piece(u64::MAX, Ok(Vec::new())) };
        Answer::Piece(u64::MAX, Ok(self.anomalies(window)))
    }

    fn anomalies(&self, window: &Window) -> Vec<Anomaly> {
        let of_all = self
            .confirmed(stretches(window, |step, samples| shows_something(&step.interval) || is_crowd(samples)), |_| {
                true
            });
        // A disk that has all it can do for a while, on a machine that is busy all day.
        let of_disks =
            self.confirmed(stretches(window, |step, _| is_disk_busy(&step.interval)), |one| one.check.area == Area::Io);
        let is_told = |disk: &Anomaly| {
            of_all.iter().any(|one| one.check == disk.check && one.from <= disk.to && disk.from <= one.to)
        };
        let mut all: Vec<Anomaly> = of_disks.into_iter().filter(|disk| !is_told(disk)).collect();
        all.extend(of_all.iter().cloned());
        all.sort_by_key(|one| (one.from, one.to));
        all
    }

    /// Those of the stretches in which the checks find something of that kind.
    fn confirmed(&self, mut stretches: Vec<(Duration, Duration)>, is_meant: impl Fn(&Finding) -> bool) -> Vec<Anomaly> {
        stretches.sort_by_key(|(from, to)| std::cmp::Reverse(to.saturating_sub(*from)));
        stretches.truncate(STRETCHES);
        stretches.sort();
        let found = stretches.into_iter().filter_map(|(from, to)| {
            let diagnosis = self.diagnosis(from.saturating_sub(NEAR), to.saturating_add(NEAR));
            let meant = diagnosis.findings.iter().enumerate().filter(|(_, finding)| is_meant(finding));
            let (worst, _) = meant.min_by_key(|(_, finding)| finding.severity)?;
            let cause = diagnosis.findings.get(diagnosis.root_cause(worst))?;
            Some(Anomaly { from, to, check: cause.check.id })
        });
        found.collect()
    }
}

/// Whether a finding is about that moment, where it says when it was.
fn is_then(finding: &Finding, at: Duration) -> bool {
    let Some(when) = finding.when else { return true };
    let seconds = |time: jiff::Timestamp| u64::try_from(time.as_second()).unwrap_or(0);
    (seconds(when.from).saturating_sub(2)..=seconds(when.to).saturating_add(2)).contains(&at.as_secs())
}

/// Stretches in which that is so, by what the kernel counts alone.
fn stretches(window: &Window, is_so: impl Fn(&Step<'_>, &[Sample]) -> bool) -> Vec<(Duration, Duration)> {
    // In a window of several sources each sample has something else.
    let has: [fn(&Sample) -> bool; 3] =
        [|sample| sample.stat.is_some(), |sample| sample.disks.is_some(), |sample| sample.load.is_some()];
    let mut all: Vec<(Duration, Duration)> = Vec::new();
    for has in has {
        let steps = steps(window, STEP, has);
        let samples = |step: &Step<'_>| window.samples.get(step.first..=step.last).unwrap_or_default();
        let found = episodes(&steps, |step: &Step<'_>| is_so(step, samples(step)));
        all.extend(found.into_iter().map(|episode| (episode.from, episode.to)));
    }
    all.sort();
    let mut merged: Vec<(Duration, Duration)> = Vec::new();
    for (from, to) in all {
        match merged.last_mut() {
            Some(last) if from <= last.1.saturating_add(NEAR) => last.1 = last.1.max(to),
            _ => merged.push((from, to)),
        }
    }
    merged.retain(|(from, to)| to.saturating_sub(*from) >= SHORT);
    merged
}

fn is_disk_busy(interval: &Interval<'_>) -> bool {
    interval
        .disks()
        .into_iter()
        .flatten()
        .any(|disk| disk.util.is_some_and(|util| util >= 70.0) || disk.queue.is_some_and(|queue| queue >= 8.0))
}

/// More threads run or wait than there are CPUs for.
fn is_crowd(samples: &[Sample]) -> bool {
    samples.iter().any(|sample| {
        let stat = sample.stat.as_ref();
        let cpus = stat.map_or(1, |stat| stat.cpus.len()).max(1);
        let blocked = stat.and_then(|stat| stat.blocked).unwrap_or(0);
        let running = sample.load.map_or(0, |load| load.running.saturating_sub(1));
        let threads = sample.threads.iter().flat_map(|threads| &threads.list);
        let waiting = threads.filter(|thread| thread.state == b'D' && !thread.is_kernels()).count();
        // Of some recorders there is nothing but the averages.
        let load = match (stat, &sample.threads) {
            (None, None) => sample.load.map_or(0, |load| load.averages[0] / 100),
            _ => 0,
        };
        blocked >= 4 || waiting >= 4 || running > (cpus as u64).saturating_mul(2).saturating_add(2) || load >= 8
    })
}

/// Whether the running system shows anything that the checks should see.
pub(super) fn is_worth_while(samples: &[Sample]) -> bool {
    let window = Window { samples: samples.to_vec(), place: "/proc".into() };
    let steps = steps(&window, STEP, |_| true);
    let high = samples.last().is_some_and(|last| {
        let cpus = last.stat.as_ref().map_or(1, |stat| stat.cpus.len()).max(1) as u64;
        last.load.is_some_and(|load| load.averages[0] >= (cpus * 150).max(cpus * 100 + 150))
    });
    high || is_crowd(samples) || steps.iter().any(|step| shows_something(&step.interval))
}
