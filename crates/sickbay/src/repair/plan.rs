//! Which repairs are made, in one round.
//!
//! Only causes are repaired: what hangs under them is looked at again afterwards. Several repairs of one file are
//! joined where they do not collide; what cannot be joined waits for the next round.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use sickbay_target::Target;

use crate::facts::packages::mirror::Mirror;
use crate::mend::join::Joined;
use crate::model::about::Area;
use crate::model::diagnosis::Diagnosis;
use crate::model::finding::{Finding, Identity};
use crate::model::repair::{Change, Repair, RepairIdentity, Risk};
use crate::model::subject::Subject;
use crate::model::text::{Lang, Text};
use crate::repair::password::Order;
use crate::repair::verdict::{Edited, moved};
use crate::tr;

/// What the user lets `fix` do.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Only findings of this check or with this number (`F2`), if any are named.
    pub only: Vec<String>,
    /// Also risky repairs.
    pub risky: bool,
    /// Every packaged file is read, not only those that boot and login need.
    pub digests: bool,
    /// How much memory the machine has, in KiB, if the user said so.
    pub memory: Option<u64>,
    /// Fetches the packages that nothing at hand has.
    pub mirror: Option<Arc<Mirror>>,
    /// The directory in which the journal is kept, where it is not on the target.
    pub journal: Option<Arc<Target>>,
    /// A password that is set or cleared once nothing else is left to do.
    pub order: Option<Order>,
    /// For so many seconds repairs of the network wait to be confirmed, and are taken back by themselves then; 0 for those that do
    /// not. Told when the first plan is known.
    pub confirm: Arc<AtomicU32>,
}

/// A repair that is going to be made.
#[derive(Clone, Debug)]
pub struct Step {
    /// Index of the finding in the diagnosis; `None` for what the user orders.
    pub finding: Option<usize>,
    /// The check that found it, or the order's name.
    pub check: &'static str,
    /// Whether that check is one of the network.
    pub of_network: bool,
    /// By what the finding is known again, and the repair.
    pub identity: StepIdentity,
    /// The finding's sentence.
    pub sentence: Text,
    /// The repair, its edits joined with those of the steps before.
    pub repair: Repair,
}

impl Step {
    /// Whether it is about what reaches the machine: its network, or the files of that.
    pub fn is_of_network(&self) -> bool {
        let is_live = |change: &Change| matches!(change, Change::Network { .. });
        self.of_network || self.repair.changes.iter().any(is_live)
    }
}

/// The steps of one round.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// In the order in which they are made.
    pub steps: Vec<Step>,
}

/// By what a step is known again in a later round.
pub type StepIdentity = (Identity, RepairIdentity);

/// Which findings are to be repaired: what `--only` names, looked up once. Later a number is another finding's.
#[derive(Clone, Debug)]
pub struct Scope {
    risky: bool,
    checks: Vec<String>,
    /// What the findings that were named by number are known by now, and what they said.
    findings: Option<Vec<(Vec<Identity>, Text)>>,
    declined: HashSet<Identity>,
}

impl Scope {
    /// What `choice` means in the look that the user has seen.
    ///
    /// # Errors
    /// When there is no finding of that number, or it is only a consequence of another one.
    pub fn of(choice: &Choice, diagnosis: &Diagnosis) -> Result<Scope, Text> {
        let (mut checks, mut findings) = (Vec::new(), Vec::new());
        for id in &choice.only {
            let Some(number) = number(id) else {
                checks.push(id.clone());
                continue;
            };
            let index = number.wrapping_sub(1);
            let Some(finding) = diagnosis.findings.get(index) else {
                let count = diagnosis.findings.len();
                return Err(tr!("there is no finding {id}: {count} were found", id, count));
            };
            if let Some(cause) = finding.caused_by {
                let cause = format!("F{}", cause + 1);
                return Err(tr!("{id} follows from {cause}: repair that with --only {cause}", id, cause));
            }
            findings.push((vec![finding.identity()], finding.message.clone()));
        }
        let is_all = choice.only.is_empty();
        Ok(Scope { risky: choice.risky, checks, findings: (!is_all).then_some(findings), declined: HashSet::new() })
    }

    /// Leaves out a finding that the user wants to keep.
    pub fn decline(&mut self, identity: Identity) {
        self.declined.insert(identity);
    }

    /// Follows the findings that were named by number through edits.
    pub fn follow(&mut self, edits: &[Edited]) {
        for (identities, _) in self.findings.iter_mut().flatten() {
            *identities = moved(std::mem::take(identities), edits);
        }
    }

    fn holds(&self, finding: &Finding, diagnosis: &Diagnosis) -> bool {
        let identity = finding.identity();
        if self.declined.contains(&identity) {
            return false;
        }
        let Some(findings) = &self.findings else { return true };
        // Of several findings about one subject it is the one that says what was seen.
        let alike = || diagnosis.findings.iter().filter(|other| other.identity() == identity).count();
        let named = |(known, said): &(Vec<Identity>, Text)| {
            known.contains(&identity) && (*said == finding.message || alike() == 1)
        };
        self.checks.iter().any(|check| check == finding.check.id) || findings.iter().any(named)
    }
}

/// The number of `F4`.
pub fn number(id: &str) -> Option<usize> {
    id.strip_prefix('F').filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()
}

/// Chooses for every cause the first repair whose risk is accepted and which is none of `refused`.
pub fn plan(diagnosis: &Diagnosis, scope: &Scope, refused: &HashSet<StepIdentity>) -> Plan {
    let mut steps = Vec::new();
    let mut planned: HashMap<PathBuf, Joined> = HashMap::new();
    let mut touched: HashSet<PathBuf> = HashSet::new();
    let mut chosen: Vec<(usize, &Finding, &Repair)> = Vec::new();
    for (index, finding) in diagnosis.causes().filter(|(_, finding)| scope.holds(finding, diagnosis)) {
        let identity = finding.identity();
        let mut open = offered(finding, scope);
        chosen.extend(
            open.find(|repair| !refused.contains(&(identity.clone(), repair.identity())))
                .map(|repair| (index, finding, repair)),
        );
    }
    // What makes room goes before what needs it, and what runs a program of the target after what mends the program's files.
    chosen.sort_by_key(|(_, _, repair)| {
        let makes_room = repair.changes.iter().all(|change| matches!(change, Change::Remove { .. }));
        let runs_program = repair.changes.iter().any(|change| matches!(change, Change::Rebuild(_)));
        (!makes_room, runs_program)
    });
    for (index, finding, repair) in chosen {
        if let Some(changes) = join(&repair.changes, &mut planned, &mut touched) {
            steps.push(Step {
                finding: Some(index),
                check: finding.check.id,
                of_network: finding.check.area == Area::Network,
                identity: (finding.identity(), repair.identity()),
                sentence: finding.message.clone(),
                repair: Repair { changes, ..repair.clone() },
            });
        }
    }
    // A file system that does not fit together comes first and alone: everything else is on it.
    let mends = |step: &Step| matches!(step.repair.changes.as_slice(), [Change::CheckFileSystem { .. }]);
    if steps.iter().any(mends) {
        steps.retain(mends);
    }
    Plan { steps }
}

/// The repairs of a finding whose risk is accepted, best first.
pub fn offered<'f>(finding: &'f Finding, scope: &Scope) -> impl Iterator<Item = &'f Repair> + use<'f> {
    let accepted = if scope.risky { Risk::Risky } else { Risk::Safe };
    finding.repairs.iter().filter(move |repair| repair.risk <= accepted && !repair.changes.is_empty())
}

impl Step {
    /// A repair that no finding asks for, under the name `check`.
    pub fn ordered(check: &'static str, repair: Repair) -> Step {
        let subject = Subject::Named(repair.title.render(Lang::En));
        let identity = (Identity { check, subject, kind: None }, repair.identity());
        Step { finding: None, check, of_network: false, identity, sentence: repair.title.clone(), repair }
    }
}

/// The changes, with edits of files that an earlier step edits joined to that step's result; `None` when they collide.
fn join(
    changes: &[Change],
    planned: &mut HashMap<PathBuf, Joined>,
    touched: &mut HashSet<PathBuf>,
) -> Option<Vec<Change>> {
    let mut joined = Vec::new();
    let mut new: HashMap<PathBuf, Joined> = HashMap::new();
    for change in changes {
        match change {
            Change::Edit { path, before, after } => {
                let all = match planned.get(path) {
                    None if touched.contains(path.as_path()) => return None,
                    None => Joined::new(before).with(before, after)?,
                    Some(all) => all.with(before, after)?,
                };
                let before = planned.get(path).map_or(before.as_slice(), Joined::text).to_vec();
                joined.push(Change::Edit { path: path.clone(), before, after: all.text().to_vec() });
                new.insert(path.clone(), all);
            }
            other => {
                let collides = |path: &Path| touched.contains(path) || planned.contains_key(path);
                // What an earlier step does to a path, a mode that it sets too, is looked at again before the next.
                if other.path().is_some_and(collides) {
                    return None;
                }
                joined.push(other.clone());
            }
        }
    }
    planned.extend(new);
    touched.extend(changes.iter().filter_map(|change| change.path().map(Path::to_owned)));
    Some(joined)
}
