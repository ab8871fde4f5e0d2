//! `fix` and `undo` from beginning to end: look, plan, ask, repair, look again, until nothing is left that can be done.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use sickbay_target::Target;

use crate::check::Check;
use crate::engine::run::look as look_at;
use crate::facts::Facts;
use crate::model::about::Area;
use crate::model::diagnosis::Diagnosis;
use crate::model::finding::{Finding, Identity};
use crate::model::outcome::Outcome as How;
use crate::model::repair::{Repair, Risk};
use crate::model::text::Text;
use crate::repair::apply::{Error, HELD, Workshop, apply};
use crate::repair::journal::{Journal, Pending, writer_of};
use crate::repair::plan::{Choice, Plan, Scope, Step, StepIdentity, offered, plan};
use crate::repair::undo;
pub use crate::repair::undo::undo;
use crate::repair::undo::{Force, touched};
use crate::repair::verdict::{Edited, Verdict, compare, moved, paired, share};
use crate::tr;

/// A repair that was made.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The check whose finding it is for.
    pub check: &'static str,
    /// That finding, and the repair.
    pub identity: StepIdentity,
    /// That finding's sentence.
    pub finding: Text,
    /// What was done.
    pub title: Text,
    /// The journal entry; `None` once taken back or when it was not made.
    pub journal: Option<String>,
    /// What became of the finding; `None` when it was not made.
    pub verdict: Option<Verdict>,
    /// Whether the finding was gone afterwards.
    pub verified: bool,
    /// Why it was not made or was taken back.
    pub failure: Option<Text>,
}

impl Applied {
    /// A step that could not be made.
    fn failed(step: &Step, why: Text) -> Applied {
        Applied { failure: Some(why), ..Applied::of(step) }
    }

    fn of(step: &Step) -> Applied {
        Applied {
            check: step.check,
            identity: step.identity.clone(),
            finding: step.sentence.clone(),
            title: step.repair.title.clone(),
            journal: None,
            verdict: None,
            verified: false,
            failure: None,
        }
    }
}

/// What `fix` did.
#[derive(Debug)]
pub struct Outcome {
    /// The facts of the last look.
    pub facts: Arc<Facts>,
    /// The last look.
    pub diagnosis: Diagnosis,
    /// What was done, in order.
    pub applied: Vec<Applied>,
    /// Whether the user stopped it.
    pub declined: bool,
}

/// Faults hide behind faults; this many layers are dug through.
const ROUNDS: usize = 24;

/// Decides on a plan, after what the look found: whether to go on. Steps that it takes out of the plan are not made.
pub type Confirm<'a> = &'a mut dyn FnMut(&Diagnosis, &mut Plan) -> bool;

/// Repairs `target` as far as `choice` allows. `confirm` is asked before every round.
///
/// # Errors
/// When nothing can be done at all: the target is open for reading only, `--only` names a finding that is not there.
pub fn fix(
    target: &Arc<Target>,
    donor: Option<&Arc<Target>>,
    checks: &[&'static Check],
    choice: &Choice,
    confirm: Confirm<'_>,
) -> Result<Outcome, Error> {
    let writer = writer_of(target)?;
    let shop = Workshop { target, writer, donor: donor.map(Arc::as_ref), confirm: 0 };
    let journal = Journal::open(target, choice.journal.as_deref())?;

    let look = || {
        let facts = || {
            Facts::new(Arc::clone(target), donor.cloned()).with_all_digests(choice.digests).with_memory(choice.memory)
        };
        look_at(|| facts().with_mirror(choice.mirror.clone()), checks)
    };
    let (mut facts, mut diagnosis) = look();
    let scope = Scope::of(choice, &diagnosis).map_err(Error::Refused)?;
    let mut session = Session { shop, journal, scope, made: Vec::new(), refused: HashSet::new() };
    let mut declined = false;
    let mut order = choice.order.as_ref();
    for _ in 0..ROUNDS {
        let mut next = plan(&diagnosis, &session.scope, &session.not_again());
        if next.steps.is_empty() {
            if session.settle(&diagnosis) {
                (facts, diagnosis) = look();
                continue;
            }
            // The account's files are mended first.
            match order.take().map(|order| order.step(&facts).map_err(|why| (order, why))) {
                Some(Ok(step)) => next.steps.push(step),
                Some(Err((order, why))) => session.made.push(Made::failed(&order.nothing(), why)),
                None => {}
            }
        }
        if next.steps.is_empty() {
            break;
        }
        let asked = next.clone();
        if !confirm(&diagnosis, &mut next) {
            declined = true;
            break;
        }
        // The edits of one step stand on those before it: without one of them the others are joined anew.
        let kept: HashSet<StepIdentity> = next.steps.iter().map(|step| step.identity.clone()).collect();
        let dropped = asked.steps.iter().filter(|step| !kept.contains(&step.identity));
        let dropped: Vec<Identity> = dropped.map(|step| step.identity.0.clone()).collect();
        if !dropped.is_empty() {
            dropped.into_iter().for_each(|identity| session.scope.decline(identity));
            if next.steps.is_empty() {
                declined = session.made.is_empty();
                continue;
            }
            declined = false;
            next = plan(&diagnosis, &session.scope, &session.not_again());
            next.steps.retain(|step| kept.contains(&step.identity));
        }
        session.confirm_in(choice.confirm.load(Ordering::Relaxed))?;
        let first = session.make(&next, &diagnosis);
        let (after_facts, after) = look();
        let helped = session.judge(first, &diagnosis, &after);
        (facts, diagnosis) = if helped { (after_facts, after) } else { look() };
    }
    if session.settle(&diagnosis) {
        (facts, diagnosis) = look();
    }
    let mut applied: Vec<Applied> = session.made.into_iter().map(|made| made.applied).collect();
    for (package, why) in choice.mirror.iter().flat_map(|mirror| mirror.failures()) {
        let repair = Repair { title: tr!("fetch {package}", package), risk: Risk::Safe, changes: Vec::new() };
        applied.push(Applied::failed(&Step::ordered("fetch", repair), why));
    }
    // A run that changed nothing leaves nothing.
    if session.journal.entries()?.is_empty() {
        session.journal.remove_home()?;
    }
    Ok(Outcome { facts, diagnosis, applied, declined })
}

/// A repair that was made in this session, and what is needed to judge it and to take it back.
struct Made {
    applied: Applied,
    /// The finding as it was; `None` for what the user ordered.
    finding: Option<Finding>,
    /// Its index in the look that it was planned from.
    index: Option<usize>,
    /// What it may be known by now, after all edits since.
    known: Vec<Identity>,
    /// What its check could not tell when it was planned.
    untold: Option<Text>,
    /// Why the look after it is no proof that it helped.
    unproven: Option<Text>,
    edits: Vec<Edited>,
    /// What it changed: see [`touched`].
    touched: Vec<PathBuf>,
}

impl Made {
    fn failed(step: &Step, why: Text) -> Made {
        let applied = Applied::failed(step, why);
        Made {
            applied,
            finding: None,
            index: None,
            known: Vec::new(),
            untold: None,
            unproven: None,
            edits: Vec::new(),
            touched: Vec::new(),
        }
    }

    fn is_of_network(&self) -> bool {
        self.finding.as_ref().is_some_and(|finding| finding.check.area == Area::Network)
    }

    /// Whether it is on the target, and can be taken off again.
    fn stands(&self) -> bool {
        self.applied.journal.as_deref().is_some_and(|id| id != HELD)
    }

    /// Remembers what became of the finding.
    fn found(&mut self, verdict: Verdict) {
        self.applied.verdict = Some(verdict);
        self.applied.verified = verdict == Verdict::Gone;
    }

    /// Why the absence of its finding proves nothing: the check could not look at something that it saw before.
    fn blind(&self, now: &Diagnosis) -> Option<Text> {
        let alike = |why: &Text| {
            let before = self.untold.as_ref();
            before.is_some_and(|before| before.template() == why.template() && (!why.is_verbatim() || before == why))
        };
        untold(now, self.applied.check).filter(|why| !alike(why)).cloned()
    }

    /// What became of the finding that it was made for, by a look after later ones.
    fn verdict(&mut self, now: &Diagnosis) -> Verdict {
        let Some(finding) = &self.finding else { return Verdict::Gone };
        let there: Vec<&Finding> = now.findings.iter().filter(|other| self.known.contains(&other.identity())).collect();
        let verdicts = there.into_iter().map(|other| compare(finding, other));
        // Of several about one subject, the one that is likest.
        let likest = verdicts.min_by_key(|verdict| *verdict != Verdict::Same);
        likest.unwrap_or_else(|| {
            self.unproven = self.blind(now);
            if self.unproven.is_some() { Verdict::Same } else { Verdict::Gone }
        })
    }
}

/// What a check could not tell, if anything.
fn untold<'d>(diagnosis: &'d Diagnosis, check: &str) -> Option<&'d Text> {
    let (_, outcome) = diagnosis.outcomes.iter().find(|(known, _)| known.id == check)?;
    match outcome {
        How::Unknown(why) | How::Broken(why) | How::Found(Some(why)) => Some(why),
        _ => None,
    }
}

struct Session<'a> {
    shop: Workshop<'a>,
    journal: Journal<'a>,
    scope: Scope,
    made: Vec<Made>,
    refused: HashSet<StepIdentity>,
}

impl Session<'_> {
    /// What is not tried, or not tried again on top of itself.
    fn not_again(&self) -> HashSet<StepIdentity> {
        let open = self.made.iter().filter(|made| made.applied.journal.is_some() && !made.applied.verified);
        let again = |made: &Made| {
            let repair = made.applied.identity.1.clone();
            made.known.iter().map(|identity| (identity.clone(), repair.clone())).collect::<Vec<_>>()
        };
        open.flat_map(again).chain(self.refused.iter().cloned()).collect()
    }

    /// From here on repairs of the network wait for so long to be confirmed, and with them those that this run made before: one without
    /// the other is neither the former state nor the new one.
    fn confirm_in(&mut self, seconds: u32) -> Result<(), Error> {
        let is_new = seconds > 0 && self.shop.confirm == 0;
        self.shop.confirm = seconds;
        for made in self.made.iter().filter(|made| is_new && made.is_of_network() && made.stands()) {
            let Some(id) = &made.applied.journal else { continue };
            let mut entry = self.journal.read(id)?;
            entry.pending = Some(Pending::for_seconds(seconds));
            self.journal.commit(id, &entry)?;
        }
        Ok(())
    }

    /// Makes the steps of a plan; gives the index of the first.
    fn make(&mut self, next: &Plan, diagnosis: &Diagnosis) -> usize {
        let first = self.made.len();
        for step in &next.steps {
            match apply(&self.shop, &mut self.journal, step) {
                Ok(id) => {
                    let finding = step.finding.and_then(|index| diagnosis.findings.get(index));
                    let entry = self.journal.read(&id).ok();
                    self.made.push(Made {
                        applied: Applied { journal: Some(id), ..Applied::of(step) },
                        known: finding.map(Finding::identity).into_iter().collect(),
                        finding: finding.cloned(),
                        index: step.finding,
                        untold: untold(diagnosis, step.check).cloned(),
                        unproven: None,
                        edits: Edited::of(&step.repair.changes).collect(),
                        touched: entry.as_ref().map(touched).unwrap_or_default(),
                    });
                }
                Err(error) => {
                    self.refused.insert(step.identity.clone());
                    self.made.push(Made::failed(step, error.text()));
                }
            }
        }
        first
    }

    /// Judges the repairs from `first` on and takes back those that did not help; whether none was.
    fn judge(&mut self, first: usize, before: &Diagnosis, after: &Diagnosis) -> bool {
        let edits: Vec<Edited> = self.made.iter().skip(first).flat_map(|made| made.edits.clone()).collect();
        self.follow(&edits);
        let pairs = paired(&before.findings, &edits, &after.findings);
        let mut useless = Vec::new();
        for (index, made) in
            self.made.iter_mut().enumerate().skip(first).filter(|(_, made)| made.applied.journal.is_some())
        {
            let was = made.index.and_then(|index| Some((made.finding.as_ref()?, pairs.get(index)?)));
            let Some((finding, now)) = was else {
                made.found(Verdict::Gone);
                continue;
            };
            let now = now.and_then(|index| after.findings.get(index));
            let unproven = if now.is_none() { made.blind(after) } else { None };
            let mut verdict = match now {
                Some(now) => compare(finding, now),
                None if unproven.is_some() => Verdict::Same,
                None => Verdict::Gone,
            };
            // The same check finds something graver about the very thing.
            let graver = |(index, other): (usize, &Finding)| {
                !pairs.contains(&Some(index))
                    && other.severity < finding.severity
                    && made
                        .known
                        .iter()
                        .any(|known| known.check == other.check.id && known.subject == other.identity().subject)
            };
            if after.findings.iter().enumerate().any(graver) {
                verdict = Verdict::Worse;
            }
            // One that makes another possible is judged together with that.
            let offers =
                |finding: &Finding| offered(finding, &self.scope).map(Repair::identity).collect::<HashSet<_>>();
            let opens = now.is_some_and(|now| !offers(now).is_subset(&offers(finding)));
            made.unproven = unproven;
            made.found(if verdict == Verdict::Same && opens { Verdict::Better } else { verdict });
            if matches!(made.applied.verdict, Some(Verdict::Same | Verdict::Worse)) && made.stands() {
                useless.push(index);
            }
        }
        self.take_back(&useless);
        useless.is_empty()
    }

    /// Judges once more what was only better, now that nothing else is left to do; whether something was taken back.
    fn settle(&mut self, now: &Diagnosis) -> bool {
        let mut useless = Vec::new();
        for (index, made) in
            self.made.iter_mut().enumerate().filter(|(_, made)| made.stands() && !made.applied.verified)
        {
            let verdict = made.verdict(now);
            made.found(verdict);
            if matches!(verdict, Verdict::Same | Verdict::Worse) && made.applied.failure.is_none() {
                useless.push(index);
            }
        }
        self.take_back(&useless);
        !useless.is_empty()
    }

    /// Takes back repairs that did not help, as a stack: what was built on one of them since goes first, and is planned anew.
    fn take_back(&mut self, useless: &[usize]) {
        let mut back: Vec<bool> = (0..self.made.len()).map(|index| useless.contains(&index)).collect();
        for index in 0..self.made.len() {
            for later in index + 1..self.made.len() {
                let (below, above) = (&self.made[index], &self.made[later]);
                back[later] |= back[index] && above.stands() && share(&below.touched, &above.touched);
            }
        }
        let mut undone = Vec::new();
        let mut stuck: Vec<PathBuf> = Vec::new();
        for index in (0..self.made.len()).rev().filter(|index| back[*index]) {
            let made = &mut self.made[index];
            let Some(id) = made.applied.journal.clone() else { continue };
            let is_useless = useless.contains(&index);
            if is_useless {
                self.refused.insert(made.applied.identity.clone());
                made.applied.failure = Some(match (made.unproven.take(), made.applied.verdict) {
                    (Some(why), _) => {
                        tr!("whether it helped is undetermined, so the repair was reverted: {why}", why)
                    }
                    (None, Some(Verdict::Worse)) => tr!("things were worse afterwards, so the repair was reverted"),
                    _ => tr!("the finding was still there afterwards, so the repair was reverted"),
                });
            }
            // Never by force: what does not hold what the repair wrote is somebody else's by now.
            let result = match share(&stuck, &made.touched) {
                true => Err(Error::Refused(tr!("what was built on it could not be reverted"))),
                false => undo::take_back(&self.shop, &mut self.journal, &id, Force::No),
            };
            match result {
                Ok(()) => {
                    made.applied.journal = None;
                    undone.extend(made.edits.drain(..).rev().map(Edited::reversed));
                }
                Err(error) => {
                    stuck.extend(made.touched.iter().cloned());
                    made.applied.failure = Some(tr!("it could not be reverted: {why}", why = error.text()));
                }
            }
        }
        // Those that were only in the way are no failures.
        self.made.retain(|made| made.applied.journal.is_some() || made.applied.failure.is_some());
        self.follow(&undone);
    }

    /// Follows every finding through edits.
    fn follow(&mut self, edits: &[Edited]) {
        self.scope.follow(edits);
        for made in &mut self.made {
            made.known = moved(std::mem::take(&mut made.known), edits);
        }
    }
}

/// Makes one step that the user ordered, whatever was found; gives the id of its journal entry.
///
/// # Errors
/// When it could not be made; then everything is as it was.
pub fn order(target: &Target, journal: Option<&Target>, step: &Step) -> Result<String, Error> {
    let writer = writer_of(target)?;
    let shop = Workshop { target, writer, donor: None, confirm: 0 };
    let mut kept = Journal::open(target, journal)?;
    let made = apply(&shop, &mut kept, step);
    // A run that changed nothing leaves nothing.
    if made.is_err() && kept.entries()?.is_empty() {
        kept.remove_home()?;
    }
    made
}

/// Makes one repair that no finding asked for, on a copy that is thrown away.
pub fn make(target: &Target, donor: Option<&Target>, repair: Repair) -> Result<(), Error> {
    let writer = writer_of(target)?;
    let shop = Workshop { target, writer, donor, confirm: 0 };
    let mut journal = Journal::open(target, None)?;
    apply(&shop, &mut journal, &Step::ordered("boot", repair)).map(drop)
}
