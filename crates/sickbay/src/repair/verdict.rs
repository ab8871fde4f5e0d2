//! What a repair was good for: the finding is gone, better, the same or worse when the target is looked at again.
//!
//! A finding is known again by its check and its subject. Where the subject is a line, the repair most likely changed that very
//! line: the edits that were made tell which line it has become.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use bstr::ByteSlice;

use crate::model::finding::{Finding, Identity};
use crate::model::repair::Change;
use crate::model::subject::Subject;
use crate::model::text::Lang;

/// What became of a finding after its repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It is not there any more.
    Gone,
    /// Less of it is there, or something else in its place: the repair stays, and what is left is told.
    Better,
    /// It is there as it was: the repair is taken back.
    Same,
    /// More of it is there, or it is graver: the repair is taken back.
    Worse,
}

/// What a file held before an edit and after it.
#[derive(Clone, Debug)]
pub struct Edited {
    path: PathBuf,
    before: Vec<u8>,
    after: Vec<u8>,
}

impl Edited {
    /// The edits among changes that were made.
    pub fn of(changes: &[Change]) -> impl Iterator<Item = Edited> {
        changes.iter().filter_map(|change| match change {
            Change::Edit { path, before, after } => {
                Some(Edited { path: path.clone(), before: before.clone(), after: after.clone() })
            }
            _ => None,
        })
    }

    /// The same taken back.
    pub fn reversed(self) -> Edited {
        Edited { path: self.path, before: self.after, after: self.before }
    }

    /// The lines that line `at` (from 0) has become: one, unless the edit puts more or fewer lines in the place of some.
    fn moved(&self, at: usize) -> std::ops::Range<usize> {
        let (old, new) = (lines(&self.before), lines(&self.after));
        let same = |(a, b): &(&&[u8], &&[u8])| a == b;
        // Of equal lines any may be the one that changed; let it be ours.
        let head = old.iter().zip(&new).take_while(same).count().min(at);
        let room = old.len().min(new.len()) - head;
        let tail = old.iter().rev().zip(new.iter().rev()).take_while(same).count().min(room);
        let (old_end, new_end) = (old.len() - tail, new.len() - tail);
        if at >= old_end {
            let at = at - old_end + new_end;
            at..at + 1
        } else if old_end == new_end {
            at..at + 1
        } else {
            // Lines come or go: they are found by their content.
            let text = old.get(at).copied().unwrap_or_default();
            let nth = old[head..at].iter().filter(|line| **line == text).count();
            let equal = (head..new_end).filter(|&line| new[line] == text).nth(nth);
            equal.map_or(head..new_end, |line| line..line + 1)
        }
    }
}

fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.lines().collect()
}

/// What a finding may be known by after `edits`, in the order in which they were made. Nothing for a line that is no more.
pub fn moved(identities: Vec<Identity>, edits: &[Edited]) -> Vec<Identity> {
    edits.iter().fold(identities, |identities, edit| identities.iter().flat_map(|one| after(one, edit)).collect())
}

fn after(identity: &Identity, edit: &Edited) -> Vec<Identity> {
    let Subject::Line { path, text, nth } = &identity.subject else { return vec![identity.clone()] };
    if *path != edit.path {
        return vec![identity.clone()];
    }
    let equal = lines(&edit.before).iter().enumerate().filter(|(_, line)| *line == text).nth(*nth).map(|(at, _)| at);
    let Some(at) = equal else { return vec![identity.clone()] };
    let of = |at: usize| Identity { subject: Subject::line(path, &edit.after, at + 1), ..identity.clone() };
    edit.moved(at).map(of).collect()
}

/// For every finding of a look, what has become of it in the next one.
pub fn paired(before: &[Finding], edits: &[Edited], after: &[Finding]) -> Vec<Option<usize>> {
    let known: Vec<Vec<Identity>> = before.iter().map(|finding| moved(vec![finding.identity()], edits)).collect();
    let now: Vec<Identity> = after.iter().map(Finding::identity).collect();
    let mut pairs = vec![None; before.len()];
    let mut taken = HashSet::new();
    // Where a check finds two things about one subject, those that say the same are the same.
    for alike in [true, false] {
        for (index, finding) in before.iter().enumerate().filter(|(index, _)| !known[*index].is_empty()) {
            if pairs[index].is_some() {
                continue;
            }
            let found = now.iter().enumerate().position(|(other, identity)| {
                !taken.contains(&other)
                    && known[index].contains(identity)
                    && (!alike || says(&after[other]) == says(finding))
            });
            pairs[index] = found;
            taken.extend(found);
        }
    }
    pairs
}

/// What became of a finding that is still there.
pub fn compare(before: &Finding, after: &Finding) -> Verdict {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let graver = before.severity.cmp(&after.severity);
    let more = before.amount().zip(after.amount()).map(|(old, new)| new.cmp(&old));
    match (graver, more) {
        (Greater, _) | (Equal, Some(Greater)) => Verdict::Worse,
        (Less, _) | (Equal, Some(Less)) => Verdict::Better,
        (Equal, Some(Equal)) => Verdict::Same,
        (Equal, None) if says(before) == says(after) => Verdict::Same,
        (Equal, None) => Verdict::Better,
    }
}

/// The sentence without its amounts: one that is another a moment later is no change.
fn says(finding: &Finding) -> String {
    let sentence = finding.message.render(Lang::En);
    let is_amount = |word: &&str| {
        let word = word.trim_end_matches([',', ':', ';', '.', ')']);
        word.starts_with(|c: char| c.is_ascii_digit())
            || ["bytes", "kB", "KiB", "MiB", "GiB", "TiB", "%"].contains(&word)
    };
    sentence.split_whitespace().filter(|word| !is_amount(word)).collect::<Vec<_>>().join(" ")
}

/// Whether what is changed at one of these paths is changed at one of the others too, or under it.
pub fn share(some: &[PathBuf], others: &[PathBuf]) -> bool {
    let touches = |a: &Path, b: &Path| a.starts_with(b) || b.starts_with(a);
    some.iter().any(|a| others.iter().any(|b| touches(a, b)))
}
