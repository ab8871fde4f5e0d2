//! Runs checks over facts, each with a deadline and a net, and finds what causes what.

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sickbay_target::Unread;

use crate::check::{Check, Outcome, Skip};
use crate::checks;
use crate::facts::{Facts, panic_message};
use crate::finding::{Finding, Findings, Place, Severity};
use crate::proof::Stage;
use crate::repair::apply::mind_flags;
use crate::text::Text;
use crate::tr;

/// How one check ended, what it found, and what is closed on purpose.
type Result = (Outcome, Vec<Finding>, Vec<(Stage, Text)>);

/// What all checks together say of a target.
#[derive(Clone, Debug)]
pub struct Diagnosis {
    /// How every check ended, in the order of [`crate::checks::ALL`].
    pub outcomes: Vec<(&'static Check, Outcome)>,
    /// What was found: causes first by severity, each followed by its consequences.
    pub findings: Vec<Finding>,
    /// Stages of the proofs through which nobody comes, which is no fault; and why.
    pub closed: Vec<(Stage, Text)>,
    /// How long it took.
    pub took: Duration,
}

impl Diagnosis {
    /// The findings that nothing else causes.
    pub fn causes(&self) -> impl Iterator<Item = (usize, &Finding)> {
        self.findings.iter().enumerate().filter(|(_, finding)| finding.caused_by.is_none())
    }

    /// The index of the finding at the end of `index`'s chain of causes.
    pub fn root_cause(&self, index: usize) -> usize {
        // Causes are linked only to findings that have none themselves, see `link_causes`.
        self.findings.get(index).and_then(|finding| finding.caused_by).unwrap_or(index)
    }

    /// The same with checks that the user wanted left out: they are told of, and are never clear.
    pub fn with_skipped(mut self, skipped: Vec<&'static Check>) -> Diagnosis {
        self.outcomes.extend(skipped.into_iter().map(|check| (check, Outcome::Skipped)));
        self.outcomes.sort_by_key(|(check, _)| checks::ALL.iter().position(|other| other.id == check.id));
        self
    }

    /// Whether some check could not tell something.
    pub fn something_unknown(&self) -> bool {
        self.outcomes
            .iter()
            .any(|(_, outcome)| matches!(outcome, Outcome::Unknown(_) | Outcome::Broken(_) | Outcome::Found(Some(_))))
    }
}

/// How long one check may take before it counts as unknown, unless the facts that it waits for may take longer.
pub const DEADLINE: Duration = Duration::from_secs(30);

fn deadline(facts: &Facts) -> Duration {
    DEADLINE.max(facts.deadline())
}

/// Makes facts and runs `checks` over them, and once more when packages that they need have been fetched in between.
pub fn look(make: impl Fn() -> Facts, checks: &[&'static Check]) -> (Arc<Facts>, Diagnosis) {
    loop {
        let facts = Arc::new(make());
        let diagnosis = diagnose(&facts, checks);
        // It fetches nothing twice.
        if !facts.mirror().is_some_and(|mirror| mirror.fetch(&facts)) {
            return (facts, diagnosis);
        }
    }
}

/// Runs `checks` over `facts`.
pub fn diagnose(facts: &Arc<Facts>, checks: &[&'static Check]) -> Diagnosis {
    let started = Instant::now();
    let mut results = run_all(facts, checks);
    let mut outcomes = Vec::new();
    let mut findings = Vec::new();
    let mut closed = Vec::new();
    for (check, result) in checks.iter().zip(results.iter_mut()) {
        let (outcome, mut found, mut stages) = result.take().unwrap_or_else(|| {
            let seconds = deadline(facts).as_secs();
            (Outcome::Unknown(tr!("the check took longer than {seconds} s", seconds)), Vec::new(), Vec::new())
        });
        outcomes.push((*check, outcome));
        findings.append(&mut found);
        closed.append(&mut stages);
    }
    drop_unexplained(&mut findings, &mut outcomes);
    link_causes(&mut findings);
    Diagnosis { outcomes, findings: in_order(findings), closed, took: started.elapsed() }
}

/// More than most machines have processors: on a disk that is not in the page cache a check waits for it, and for facts that
/// another one gathers.
const WORKERS: usize = 8;

/// Runs every check on a few threads. A check that hangs (a dead network file system, say) is left behind with its
/// thread, and a new thread takes its place.
fn run_all(facts: &Arc<Facts>, checks: &[&'static Check]) -> Vec<Option<Result>> {
    let mut results: Vec<Option<Result>> = checks.iter().map(|_| None).collect();
    let queue = Arc::new((AtomicUsize::new(0), checks.to_vec()));
    let running: Arc<Mutex<Vec<(usize, Instant)>>> = Arc::default();
    let (sender, receiver) = channel();
    let start = || start_worker(facts, &queue, &running, &sender);
    let mut workers = (0..WORKERS.min(checks.len())).map_while(|_| start().then_some(())).count();
    let deadline = deadline(facts);
    let mut open = checks.len();
    while open > 0 {
        // Where no thread can be had (`ulimit -u`), this one does the work, without a deadline, which is better than none.
        if workers == 0 {
            work(facts, &queue, &running, &sender);
            workers = usize::MAX;
        }
        match receiver.recv_timeout(Duration::from_millis(500)) {
            Ok((index, result)) => {
                if let Some(slot) = results.get_mut(index).filter(|slot| slot.is_none()) {
                    *slot = Some(result);
                    open -= 1;
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                let mut running_now = running.lock().unwrap_or_else(PoisonError::into_inner);
                let before = running_now.len();
                running_now.retain(|(_, since)| since.elapsed() < deadline);
                let lost = before - running_now.len();
                drop(running_now);
                open -= lost;
                workers -= lost;
                workers += (0..lost).map_while(|_| start().then_some(())).count();
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    results
}

type Queue = (AtomicUsize, Vec<&'static Check>);
type Running = Mutex<Vec<(usize, Instant)>>;

/// Whether a thread could be started that works until nothing is left.
fn start_worker(
    facts: &Arc<Facts>,
    queue: &Arc<Queue>,
    running: &Arc<Running>,
    sender: &Sender<(usize, Result)>,
) -> bool {
    let (facts, queue, running, sender) = (Arc::clone(facts), Arc::clone(queue), Arc::clone(running), sender.clone());
    std::thread::Builder::new().spawn(move || work(&facts, &queue, &running, &sender)).is_ok()
}

fn work(facts: &Facts, queue: &Queue, running: &Running, sender: &Sender<(usize, Result)>) {
    loop {
        let index = queue.0.fetch_add(1, Ordering::Relaxed);
        let Some(check) = queue.1.get(index) else { return };
        running.lock().unwrap_or_else(PoisonError::into_inner).push((index, Instant::now()));
        let result = run_one(check, facts);
        let mut running_now = running.lock().unwrap_or_else(PoisonError::into_inner);
        let still_awaited = running_now.iter().any(|(other, _)| *other == index);
        running_now.retain(|(other, _)| *other != index);
        drop(running_now);
        // One that was given up has a successor already.
        if !still_awaited || sender.send((index, result)).is_err() {
            return;
        }
    }
}

fn run_one(check: &'static Check, facts: &Facts) -> Result {
    if let (Some(why), false) = (facts.target().unreadable(), checks::looks_at_disks_alone(check)) {
        return (Outcome::Unknown(Text::verbatim(why)), Vec::new(), Vec::new());
    }
    drop(facts.root().take_unread());
    let mut found = Findings::of(check);
    let verdict = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (check.run)(facts, &mut found)));
    let closed = found.take_closed();
    let (mut list, mut untold) = found.into_parts();
    let unread = facts.root().take_unread();
    if let Some(doubt) = doubtful(&mut list, &unread) {
        untold.get_or_insert(doubt);
    }
    list.iter_mut().for_each(|finding| mind_flags(facts.target().root(), &mut finding.repairs));
    let outcome = match verdict {
        Err(panic) => Outcome::Broken(tr!("the check failed: {message}", message = panic_message(panic.as_ref()))),
        Ok(Err(Skip::Unknown(why))) if list.is_empty() => Outcome::Unknown(why),
        Ok(Err(Skip::Unknown(why))) => Outcome::Found(Some(why)),
        Ok(Err(Skip::NotApplicable(why))) if list.is_empty() && untold.is_none() => Outcome::NotApplicable(why),
        Ok(_) if !list.is_empty() => Outcome::Found(untold),
        Ok(_) => untold.map_or(Outcome::Clear, Outcome::Unknown),
    };
    (outcome, list, closed)
}

/// What could not be read must not be taken for what is not there: takes away findings about such a path, and all where
/// this process lacked descriptors or memory. Gives the reason why something remains open, if so.
fn doubtful(findings: &mut Vec<Finding>, unread: &[Unread]) -> Option<Text> {
    let first = unread.iter().find(|one| one.is_want).or(unread.first())?;
    if first.is_want {
        findings.clear();
    }
    findings.retain(|finding| !paths(finding).any(|path| unread.iter().any(|one| path.starts_with(&one.path))));
    Some(Text::verbatim(&first.why))
}

/// Findings that are nothing without another go where that one is not; a check that has none left is clear.
fn drop_unexplained(findings: &mut Vec<Finding>, outcomes: &mut [(&'static Check, Outcome)]) {
    let found: HashSet<&str> = findings.iter().map(|finding| finding.check.id).collect();
    findings.retain(|finding| finding.only_under.is_empty() || finding.only_under.iter().any(|id| found.contains(id)));
    for (check, outcome) in outcomes {
        if let Outcome::Found(untold) = outcome
            && !findings.iter().any(|finding| finding.check.id == check.id)
        {
            *outcome = untold.take().map_or(Outcome::Clear, Outcome::Unknown);
        }
    }
}

/// A finding hangs under the one that explains the deepest path that it is about.
fn link_causes(findings: &mut [Finding]) {
    let parents: Vec<Option<usize>> = findings
        .iter()
        .enumerate()
        .map(|(index, finding)| {
            let mut best: Option<(usize, usize)> = None;
            for (other, cause) in findings.iter().enumerate().filter(|(other, _)| *other != index) {
                for explained in &cause.explains {
                    let concerned = paths(finding).any(|path| path.starts_with(explained));
                    // Of two findings that explain each other the one that explains more stands, or the first.
                    let stands = (std::cmp::Reverse(finding.explains.len()), index)
                        < (std::cmp::Reverse(cause.explains.len()), other);
                    let mutual = stands
                        && finding.explains.iter().any(|path| paths(cause).any(|theirs| theirs.starts_with(path)));
                    let depth = explained.components().count();
                    if concerned && !mutual && best.is_none_or(|(_, deepest)| depth > deepest) {
                        best = Some((other, depth));
                    }
                }
            }
            let named = || {
                let causes = finding.only_under.iter();
                causes.filter_map(|id| findings.iter().position(|cause| cause.check.id == *id)).next()
            };
            best.map(|(other, _)| other).or_else(named)
        })
        .collect();
    for (index, finding) in findings.iter_mut().enumerate() {
        let mut cause = parents.get(index).copied().flatten();
        let mut steps = parents.len();
        while let Some(next) = cause.and_then(|index| parents.get(index).copied().flatten()) {
            // A ring of causes has no root: all its members stay findings of their own.
            if next == index || steps == 0 {
                cause = None;
                break;
            }
            cause = Some(next);
            steps -= 1;
        }
        finding.caused_by = cause;
    }
    // What leads to a system that does not start is as bad.
    let critical = findings.iter().filter(|finding| finding.severity == Severity::Critical);
    for cause in critical.filter_map(|finding| finding.caused_by).collect::<Vec<_>>() {
        findings[cause].severity = Severity::Critical;
    }
}

fn paths(finding: &Finding) -> impl Iterator<Item = &Path> {
    finding
        .places
        .iter()
        .filter_map(|place| match place {
            Place::File { path, .. } => Some(path.as_path()),
            _ => None,
        })
        .chain(finding.about.iter().map(|path| path.as_path()))
}

/// Causes by severity, each followed by its consequences; the indices of the causes are moved along.
fn in_order(findings: Vec<Finding>) -> Vec<Finding> {
    let mut order: Vec<usize> = (0..findings.len()).collect();
    order.sort_by_key(|&index| {
        let cause = findings[index].caused_by.unwrap_or(index);
        (findings[cause].severity, cause, findings[index].caused_by.is_some(), findings[index].severity, index)
    });
    let mut place = vec![0; order.len()];
    for (new, &old) in order.iter().enumerate() {
        place[old] = new;
    }
    let mut slots: Vec<Option<Finding>> = findings.into_iter().map(Some).collect();
    let mut sorted: Vec<Finding> = order.iter().filter_map(|&old| slots[old].take()).collect();
    for finding in &mut sorted {
        finding.caused_by = finding.caused_by.map(|old| place[old]);
    }
    sorted
}

#[cfg(test)]
mod tests {
    use sickbay_target::{Access, Target};

    use super::*;
    use crate::check::{Area, Verdict};
    use crate::facts::Fact;

    fn unread(path: &str, is_want: bool) -> Unread {
        Unread { path: path.into(), why: format!("{path} could not be read"), is_want }
    }

    /// Meets an error, and takes it for absence.
    struct Careless;

    impl Fact for Careless {
        fn gather(facts: &Facts) -> std::result::Result<Careless, Skip> {
            facts.root().note_unread(&[unread("/etc/one", false)]);
            Ok(Careless)
        }
    }

    fn finds(facts: &Facts, found: &mut Findings) -> Verdict {
        facts.get::<Careless>()?;
        found.critical(Text::verbatim("one is missing")).at_path("/etc/one/below");
        found.critical(Text::verbatim("two is missing")).at_path("/etc/two");
        Ok(())
    }

    fn looks(facts: &Facts, _: &mut Findings) -> Verdict {
        facts.get::<Careless>().map(drop)
    }

    fn lacks_descriptors(facts: &Facts, found: &mut Findings) -> Verdict {
        facts.root().note_unread(&[unread("/etc/one", false), unread("/etc/three", true)]);
        found.critical(Text::verbatim("two is missing")).at_path("/etc/two");
        Ok(())
    }

    fn sees_all(_: &Facts, found: &mut Findings) -> Verdict {
        found.critical(Text::verbatim("one is missing")).at_path("/etc/one");
        Ok(())
    }

    #[test]
    fn what_could_not_be_read_is_not_absent() {
        let dir = tempfile::tempdir().unwrap();
        let target = Target::described(dir.path(), Access::ReadOnly, Vec::new(), &[]).unwrap();
        let facts = Facts::new(Arc::new(target), None);
        let run = |run: fn(&Facts, &mut Findings) -> Verdict| {
            let check = Check {
                id: "x",
                area: Area::Boot,
                seed: &[],
                proves: &[],
                may_stop: &[],
                title: "",
                page: "",
                zh_cn: "",
                run,
            };
            let (outcome, list, _) = run_one(Box::leak(Box::new(check)), &facts);
            (outcome, list.len())
        };
        // Twice: whoever gets a fact that somebody else gathered is in the same doubt.
        for _ in 0..2 {
            assert!(matches!(run(finds), (Outcome::Found(Some(_)), 1)));
            assert!(matches!(run(looks), (Outcome::Unknown(_), 0)));
        }
        assert!(matches!(run(lacks_descriptors), (Outcome::Unknown(_), 0)));
        assert!(matches!(run(sees_all), (Outcome::Found(None), 1)));
    }
}
