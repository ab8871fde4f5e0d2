//! Runs checks over facts, each with a deadline and a net, and finds what causes what.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sickbay_target::{Unread, threads};

use crate::check::Check;
use crate::engine::causes::{drop_unexplained, in_order, link_causes};
use crate::facts::{Facts, panic_message};
use crate::model::about::Need;
use crate::model::diagnosis::Diagnosis;
use crate::model::finding::{Finding, Findings};
use crate::model::outcome::{Outcome, Skip};
use crate::model::repair::Risk;
use crate::model::stage::{Said, Stage};
use crate::model::subject::Subject;
use crate::model::text::Text;
use crate::repair::apply::mind_flags;
use crate::tr;

/// How one check ended, what it found, and what is closed on purpose.
type Result = (Outcome, Vec<Finding>, Vec<(Stage, Said)>);

/// How long one check may take before it counts as unknown: half as long again as the facts that it waits for.
fn deadline(facts: &Facts) -> Duration {
    let of_fact = facts.budget().length();
    of_fact.saturating_add(of_fact / 2)
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
    let (last, first): (Vec<&Check>, Vec<&Check>) = checks.iter().partition(|check| check.runs_last);
    let mut of_first = run_all(facts, &first).into_iter();
    let mut of_last = run_all(facts, &last).into_iter();
    let mut outcomes = Vec::new();
    let mut findings = Vec::new();
    let mut said = Vec::new();
    for check in checks {
        let result = if check.runs_last { of_last.next() } else { of_first.next() };
        let (outcome, mut found, mut stages) = result.flatten().unwrap_or_else(|| {
            let seconds = deadline(facts).as_secs();
            (Outcome::Unknown(tr!("the check took longer than {seconds} s", seconds)), Vec::new(), Vec::new())
        });
        outcomes.push((&check.about, outcome));
        findings.append(&mut found);
        said.append(&mut stages);
    }
    drop_unexplained(&mut findings, &mut outcomes);
    link_causes(&mut findings);
    if findings.iter().any(|finding| finding.no_write_is_safe) {
        let repairs = findings.iter_mut().flat_map(|finding| &mut finding.repairs);
        repairs.filter(|repair| repair.risk == Risk::Safe).for_each(|repair| repair.risk = Risk::Risky);
    }
    Diagnosis { outcomes, findings: in_order(findings), said, took: started.elapsed() }
}

/// More than most machines have processors: on a disk that is not in the page cache a check waits for it, and for facts that
/// another one gathers.
const WORKERS: usize = 8;

/// Runs every check on a few threads. A check that hangs (a dead network file system, say) is left behind with its
/// thread, and a new thread takes its place.
fn run_all(facts: &Arc<Facts>, checks: &[&'static Check]) -> Vec<Option<Result>> {
    let mut results: Vec<Option<Result>> = checks.iter().map(|_| None).collect();
    let queue = Arc::new((AtomicUsize::new(0), in_turn(checks)));
    let running: Arc<Mutex<Vec<(usize, Instant)>>> = Arc::default();
    let (sender, receiver) = channel();
    let start = || start_worker(facts, &queue, &running, &sender);
    let most = if threads::is_one_processor() { 1 } else { WORKERS };
    let mut workers = (0..most.min(checks.len())).map_while(|_| start().then_some(())).count();
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

/// How many were begun, and all in the order in which they are, each with its place among the results.
type Queue = (AtomicUsize, Vec<(usize, &'static Check)>);

/// One that watches the machine goes first, so that the others work meanwhile; those that wait for the same go last.
fn in_turn(checks: &[&'static Check]) -> Vec<(usize, &'static Check)> {
    let (mut turn, others): (Vec<_>, Vec<_>) =
        checks.iter().copied().enumerate().partition(|(_, check)| check.needs() == Need::Window);
    let waiting = turn.split_off(1.min(turn.len()));
    turn.into_iter().chain(others).chain(waiting).collect()
}
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
        let Some((index, check)) = queue.1.get(queue.0.fetch_add(1, Ordering::Relaxed)).copied() else { return };
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
    let has = match check.needs() {
        Need::Files => facts.target().files().map(drop),
        Need::Running => facts.target().running().map(drop),
        Need::Window => facts.target().recording().map(drop).or_else(|_| facts.target().running().map(drop)),
        Need::Disks | Need::Logs => Ok(()),
    };
    match has.map_err(Skip::from) {
        Ok(()) => {}
        Err(Skip::NotApplicable(why)) => return (Outcome::NotApplicable(why), Vec::new(), Vec::new()),
        Err(Skip::Unknown(why)) => return (Outcome::Unknown(why), Vec::new(), Vec::new()),
    }
    drop(facts.root().take_unread());
    let mut found = Findings::of(&check.about);
    let verdict = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (check.run)(facts, &mut found)));
    let said = found.take_said();
    let (mut list, mut untold) = found.into_parts();
    let (uncollected, unread): (Vec<_>, Vec<_>) =
        facts.root().take_unread().into_iter().partition(|unread| unread.is_uncollected);
    // What is not in a bundle is no fault of what is.
    drop(doubtful(&mut list, &uncollected));
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
        Ok(_) => match (untold, uncollected.first()) {
            (Some(untold), _) => Outcome::Unknown(untold),
            (None, Some(first)) => Outcome::NotApplicable(Text::verbatim(&first.why)),
            (None, None) => Outcome::Clear,
        },
    };
    (outcome, list, said)
}

/// What could not be read must not be taken for what is not there: takes away findings about such a path, and all where
/// this process lacked descriptors or memory. Gives the reason why something remains open, if so.
fn doubtful(findings: &mut Vec<Finding>, unread: &[Unread]) -> Option<Text> {
    let first = unread.iter().find(|one| one.is_want).or(unread.first())?;
    if first.is_want {
        findings.clear();
    }
    let is_unread = |path: &Path| unread.iter().any(|one| path.starts_with(&one.path));
    findings.retain(|finding| !finding.subjects().filter_map(Subject::path).any(is_unread));
    Some(Text::verbatim(&first.why))
}

#[cfg(test)]
mod tests {
    use sickbay_target::{Access, Target};

    use super::*;
    use crate::facts::Fact;
    use crate::model::about::{About, Area};
    use crate::model::outcome::Verdict;

    fn unread(path: &str, is_want: bool) -> Unread {
        Unread {
            path: path.into(),
            why: format!("{path} could not be read"),
            is_uncollected: false,
            is_want,
            is_io: false,
        }
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
            let about = About {
                id: "x",
                area: Area::Boot,
                seed: &[],
                proves: &[],
                may_stop: &[],
                looks_at_disks_alone: false,
                reads_recordings: false,
                runs_last: false,
                title: "",
                page: "",
                zh_cn: "",
            };
            let check = Check { about, run };
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
