//! The text of an error as a question: what may cause it, and what on this machine speaks for and against each.
//!
//! A symptom is a few words that messages have and a list of causes, best first. A cause is judged by checks, where there
//! are some, or by a look of its own. Nothing is guessed: what cannot be told stays open.

mod files;
mod login;
mod memory;
mod network;

use std::sync::Arc;

use crate::check::Check;
use crate::engine::run::diagnose;
use crate::facts::Facts;
use crate::model::about::Area;
use crate::model::outcome::Outcome;
use crate::model::text::Text;
use crate::{checks, tr};

/// Messages that mean the same, and what they may come from.
pub struct Symptom {
    /// Words of the message in lower case; the first names the symptom. A message that has any of them is meant.
    pub words: &'static [&'static str],
    /// What may cause it, the commonest first.
    causes: fn(&Arc<Facts>) -> Vec<Cause>,
}

/// One possible cause.
#[derive(Clone, Debug)]
pub struct Cause {
    /// What it is, and what to do about it.
    pub what: Text,
    /// What this machine says.
    pub says: Says,
    /// What was seen.
    pub seen: Text,
}

/// What a machine says of a cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Says {
    /// It is so here.
    For,
    /// It cannot be told from here.
    Open,
    /// It is not so here, at this moment.
    Against,
}

/// Every symptom.
static ALL: &[&[Symptom]] = &[memory::SYMPTOMS, files::SYMPTOMS, network::SYMPTOMS, login::SYMPTOMS];

/// The symptoms that a message is of: those whose words it has, the longest words first; if it has none, those with words
/// that begin with or hold what was given.
pub fn matching(message: &str) -> Vec<&'static Symptom> {
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    let message = plain(message);
    let every = || ALL.iter().flat_map(|list| list.iter());
    let longest = |symptom: &'static Symptom| {
        let found = symptom.words.iter().filter(|words| message.contains(**words));
        found.map(|words| words.len()).max().map(|length| (length, symptom))
    };
    let mut found: Vec<_> = every().filter_map(longest).collect();
    if found.is_empty() && message.len() >= 4 {
        found = every()
            .filter(|symptom| symptom.words.iter().any(|words| words.contains(&message)))
            .map(|s| (0, s))
            .collect();
    }
    found.sort_by_key(|(length, _)| std::cmp::Reverse(*length));
    found.into_iter().map(|(_, symptom)| symptom).collect()
}

impl Symptom {
    /// Its causes, those that this machine speaks for first, those that it speaks against last.
    pub fn ranked(&self, facts: &Arc<Facts>) -> Vec<Cause> {
        let mut causes = (self.causes)(facts);
        causes.sort_by_key(|cause| cause.says);
        causes
    }
}

/// A cause that checks judge: for it when one of them finds something, against it when all of them looked and did not.
fn by_checks(facts: &Arc<Facts>, what: Text, ids: &[&str]) -> Cause {
    let chosen: Vec<&'static Check> = checks::ALL.iter().filter(|check| ids.contains(&check.id)).copied().collect();
    judged(facts, what, &chosen)
}

/// As [`by_checks`], with every check of an area.
fn by_area(facts: &Arc<Facts>, what: Text, area: Area) -> Cause {
    let chosen: Vec<&'static Check> = checks::ALL.iter().filter(|check| check.area == area).copied().collect();
    judged(facts, what, &chosen)
}

fn judged(facts: &Arc<Facts>, what: Text, chosen: &[&'static Check]) -> Cause {
    let diagnosis = diagnose(facts, chosen);
    if let Some((_, finding)) = diagnosis.causes().next() {
        let seen = tr!("{check}: {message}", check = finding.check.id, message = finding.message.clone());
        return Cause { what, says: Says::For, seen };
    }
    for (check, outcome) in &diagnosis.outcomes {
        if let Outcome::Unknown(why) | Outcome::Broken(why) = outcome {
            return Cause {
                what,
                says: Says::Open,
                seen: tr!("{check}: {message}", check = check.id, message = why.clone()),
            };
        }
    }
    let ids = chosen.iter().map(|check| check.id).collect::<Vec<_>>().join(", ");
    Cause { what, says: Says::Against, seen: tr!("nothing found by {checks}", checks = ids) }
}

/// A cause that only the circumstances tell.
fn open(what: Text, seen: Text) -> Cause {
    Cause { what, says: Says::Open, seen }
}

/// A cause that is so or is not so.
fn cause(what: Text, is_so: bool, seen: Text) -> Cause {
    Cause { what, says: if is_so { Says::For } else { Says::Against }, seen }
}

/// A number of the kernel that has reached nine tenths of its limit; open when it is not told.
fn nearly(what: Text, used: Option<u64>, limit: Option<u64>, name: &str) -> Cause {
    match (used, limit) {
        (Some(used), Some(limit)) => {
            let seen = tr!("{used} of {limit} ({name})", used, limit, name);
            cause(what, limit > 0 && used >= limit - limit / 10, seen)
        }
        _ => open(what, tr!("{name} cannot be read", name)),
    }
}

/// The text of a file of the running system.
fn read(facts: &Facts, path: &str) -> Option<Vec<u8>> {
    facts.root().read(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(message: &str) -> Option<&'static str> {
        matching(message).first().map(|symptom| symptom.words[0])
    }

    #[test]
    fn messages_as_people_paste_them() {
        assert_eq!(first("-bash: fork: Cannot allocate memory"), Some("cannot allocate memory"));
        assert_eq!(
            first("  # There is insufficient memory for the\n  Java Runtime Environment to continue."),
            Some("cannot allocate memory")
        );
        assert_eq!(first("cp: error writing '/run/J7': No space left on device"), Some("no space left on device"));
        assert_eq!(first("java.net.SocketException: Too many open files (Accept failed)"), Some("too many open files"));
        assert_eq!(
            first("bash: fork: retry: Resource temporarily unavailable"),
            Some("resource temporarily unavailable")
        );
        assert_eq!(first("RTNETLINK answers: File exists"), Some("rtnetlink answers: file exists"));
        assert_eq!(first("connect: Cannot assign requested address"), Some("cannot assign requested address"));
        assert_eq!(first("ssh: connect to host 10.0.0.1 port 22: Connection timed out"), Some("connection timed out"));
        assert_eq!(first("Permission denied, please try again."), Some("permission denied, please try again"));
        assert_eq!(first("login: Module is unknown"), Some("module is unknown"));
        assert_eq!(
            first("/bin/bash: error while loading shared libraries: libc.so.6"),
            Some("error while loading shared libraries")
        );
        assert_eq!(first("kernel: TCP: time wait bucket table overflow"), Some("time wait bucket table overflow"));
        assert_eq!(first("chown: invalid user: 'root:root'"), Some("invalid user"));
        assert_eq!(
            first("ulimit: open files: cannot modify limit: Operation not permitted"),
            Some("cannot modify limit")
        );
        // Parts of a message will do.
        assert_eq!(first("shared libraries"), Some("error while loading shared libraries"));
        assert_eq!(first("fstab-missing-devise"), None);
        assert_eq!(first(""), None);
    }

    #[test]
    fn words_are_in_lower_case_and_said_once() {
        let mut seen = std::collections::HashSet::new();
        for words in ALL.iter().flat_map(|list| list.iter()).flat_map(|symptom| symptom.words) {
            assert_eq!(*words, words.to_lowercase());
            assert!(seen.insert(words), "{words} twice");
        }
    }
}
