//! Which repairs are made, in one round.
//!
//! Only causes are repaired: what hangs under them is looked at again afterwards. Several repairs of one file are
//! joined by a three-way merge; what cannot be joined waits for the next round.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sickbay_target::Target;

use crate::diagnose::Diagnosis;
use crate::facts::restore::Mirror;
use crate::finding::Finding;
use crate::repair::password::Order;
use crate::repair::{Change, Repair, Risk};
use crate::text::Text;

/// What the user lets `fix` do.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Only findings of this check or with this number (`F2`), if any are named.
    pub only: Vec<String>,
    /// Also risky repairs.
    pub risky: bool,
    /// Every packaged file is read, not only those that boot and login need.
    pub digests: bool,
    /// Fetches the packages that nothing at hand has.
    pub mirror: Option<Arc<Mirror>>,
    /// The directory in which the journal is kept, where it is not on the target.
    pub journal: Option<Arc<Target>>,
    /// A password that is set or cleared once nothing else is left to do.
    pub order: Option<Order>,
}

/// A repair that is going to be made.
#[derive(Clone, Debug)]
pub struct Step {
    /// Index of the finding in the diagnosis; `None` for what the user orders.
    pub finding: Option<usize>,
    /// The check that found it, or the order's name.
    pub check: &'static str,
    /// By what the finding is known again.
    pub key: (&'static str, Text),
    /// The repair, its edits joined with those of the steps before.
    pub repair: Repair,
}

/// The steps of one round.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// In the order in which they are made.
    pub steps: Vec<Step>,
}

/// A repair that was tried and did not help: the check, the finding's sentence, the repair's title.
pub type Refusal = (&'static str, String, String);

/// Chooses for every cause the first repair whose risk is accepted and which is none of `refused`.
pub fn plan(diagnosis: &Diagnosis, choice: &Choice, refused: &HashSet<Refusal>) -> Plan {
    let mut steps = Vec::new();
    let mut planned: HashMap<PathBuf, Vec<u8>> = HashMap::new();
    let mut touched: HashSet<PathBuf> = HashSet::new();
    let mut chosen: Vec<(usize, &Finding, &Repair)> = Vec::new();
    for (index, finding) in diagnosis.causes().filter(|(index, finding)| wanted(choice, *index, finding)) {
        let accepted = if choice.risky { Risk::Risky } else { Risk::Safe };
        let mut open = finding.repairs.iter().filter(|repair| repair.risk <= accepted && !repair.changes.is_empty());
        let key = finding.key();
        chosen.extend(
            open.find(|repair| !refused.contains(&refusal(&key, &repair.title))).map(|it| (index, finding, it)),
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
                key: finding.key(),
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

/// How a repair that did not help is remembered.
pub fn refusal(key: &(&'static str, Text), title: &Text) -> Refusal {
    let english = |text: &Text| text.render(crate::text::Lang::En);
    (key.0, english(&key.1), english(title))
}

fn wanted(choice: &Choice, index: usize, finding: &Finding) -> bool {
    choice.only.is_empty() || choice.only.iter().any(|id| id == finding.check.id || *id == format!("F{}", index + 1))
}

/// The changes, with edits of files that an earlier step edits joined to that step's result; `None` when they collide.
fn join(
    changes: &[Change],
    planned: &mut HashMap<PathBuf, Vec<u8>>,
    touched: &mut HashSet<PathBuf>,
) -> Option<Vec<Change>> {
    let mut joined = Vec::new();
    let mut new_content = HashMap::new();
    for change in changes {
        match change {
            Change::Edit { path, before, after } => {
                let edit = match planned.get(path) {
                    None if touched.contains(path.as_path()) => return None,
                    None => change.clone(),
                    Some(current) => {
                        let merged = diffy::merge_bytes(before, current, after).ok()?;
                        Change::Edit { path: path.clone(), before: current.clone(), after: merged }
                    }
                };
                if let Change::Edit { after, .. } = &edit {
                    new_content.insert(path.clone(), after.clone());
                }
                joined.push(edit);
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
    planned.extend(new_content);
    touched.extend(changes.iter().filter_map(|change| change.path().map(Path::to_owned)));
    Some(joined)
}
