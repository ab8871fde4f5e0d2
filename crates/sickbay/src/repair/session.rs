//! `fix` and `undo` from beginning to end: look, plan, ask, repair, look again, until nothing is left that can be done.

use std::collections::HashSet;
use std::sync::Arc;

use sickbay_target::Target;

use super::Repair;
use super::apply::{Error, HELD, Workshop, apply};
use super::journal::{Journal, writer_of};
use super::password;
use super::plan::{Choice, Plan, Step, plan, refusal};
pub use super::undo::undo;
use super::undo::{Force, take_back};
use crate::check::Check;
use crate::diagnose::{self, Diagnosis};
use crate::facts::Facts;
use crate::text::Text;
use crate::tr;

/// A repair that was made.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The check whose finding it is for.
    pub check: &'static str,
    /// That finding's sentence.
    pub finding: Text,
    /// What was done.
    pub title: Text,
    /// The journal entry; `None` once taken back or when it was not made.
    pub journal: Option<String>,
    /// Whether the finding was gone afterwards.
    pub verified: bool,
    /// Why it was not made or was taken back.
    pub failure: Option<Text>,
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

/// Decides on a plan, after what the look found.
pub type Confirm<'a> = &'a mut dyn FnMut(&Diagnosis, &Plan) -> bool;

/// Repairs `target` as far as `choice` allows. `confirm` is asked before every round.
pub fn fix(
    target: &Arc<Target>,
    donor: Option<&Arc<Target>>,
    checks: &[&'static Check],
    choice: &Choice,
    confirm: Confirm<'_>,
) -> Result<Outcome, Error> {
    let writer = writer_of(target)?;
    let shop = Workshop { target, writer, donor: donor.map(Arc::as_ref) };
    let mut journal = Journal::open(target, choice.journal.as_deref())?;

    let look = || {
        let facts = || Facts::new(Arc::clone(target), donor.cloned()).with_all_digests(choice.digests);
        diagnose::look(|| facts().with_mirror(choice.mirror.clone()), checks)
    };
    let (mut facts, mut diagnosis) = look();
    let mut applied = Vec::new();
    let mut refused = HashSet::new();
    let mut declined = false;
    let mut order = choice.order.as_ref();
    for _ in 0..ROUNDS {
        let mut next = plan(&diagnosis, choice, &refused);
        // The account's files are mended first.
        if next.steps.is_empty()
            && let Some(order) = order.take()
        {
            match order.step(&facts) {
                Ok(step) => next.steps.push(step),
                Err(why) => applied.push(Applied {
                    check: password::ID,
                    finding: order.title(),
                    title: order.title(),
                    journal: None,
                    verified: false,
                    failure: Some(why),
                }),
            }
        }
        if next.steps.is_empty() {
            break;
        }
        if !confirm(&diagnosis, &next) {
            declined = true;
            break;
        }
        let mut made = Vec::new();
        for step in &next.steps {
            let result = apply(&shop, &mut journal, step);
            let failure = result.as_ref().err().map(Error::text);
            if failure.is_some() {
                refused.insert(refusal(&step.key, &step.repair.title));
            }
            made.push((step.key.clone(), applied.len()));
            applied.push(Applied {
                check: step.check,
                finding: step.key.1.clone(),
                title: step.repair.title.clone(),
                journal: result.ok(),
                verified: false,
                failure,
            });
        }
        (facts, diagnosis) = look();
        let mut taken_back = false;
        for (key, index) in made.into_iter().rev() {
            let Some(repair) = applied.get_mut(index) else { continue };
            let Some(id) = repair.journal.clone() else { continue };
            let is_gone = diagnosis.findings.iter().all(|finding| finding.key() != key);
            if is_gone || id == HELD {
                repair.verified = is_gone;
            } else {
                refused.insert(refusal(&key, &repair.title));
                take_back(&shop, &mut journal, &id, Force::Yes)?;
                repair.journal = None;
                repair.failure = Some(tr!("the finding was still there afterwards, so the repair was taken back"));
                taken_back = true;
            }
        }
        if taken_back {
            (facts, diagnosis) = look();
        }
    }
    for (package, why) in choice.mirror.iter().flat_map(|mirror| mirror.failures()) {
        let title = tr!("fetch {package}", package);
        let failure = Some(why);
        applied.push(Applied {
            check: "fetch",
            finding: title.clone(),
            title,
            journal: None,
            verified: false,
            failure,
        });
    }
    // A run that changed nothing leaves nothing.
    if journal.entries()?.is_empty() {
        journal.remove_home()?;
    }
    Ok(Outcome { facts, diagnosis, applied, declined })
}

/// Makes one repair that no finding asked for, on a copy that is thrown away.
pub fn make(target: &Target, donor: Option<&Target>, repair: Repair) -> Result<(), Error> {
    let writer = writer_of(target)?;
    let shop = Workshop { target, writer, donor };
    let mut journal = Journal::open(target, None)?;
    let key = ("boot", repair.title.clone());
    apply(&shop, &mut journal, &Step { finding: None, check: "boot", key, repair }).map(drop)
}
