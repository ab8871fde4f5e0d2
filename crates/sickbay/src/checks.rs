//! Every check. `cargo xtask new-check` adds to these lists.

pub mod boot;
pub mod cpu;
pub mod files;
pub mod io;
pub mod limits;
pub mod login;
pub mod logs;
pub mod memory;
pub mod network;
mod of_reports;
pub mod services;

use sickbay_target::{Lack, Target};

use crate::check::Check;
use crate::model::about::Need;
use crate::model::diagnosis::Diagnosis;
use crate::model::outcome::Outcome;
use crate::model::text::{Text, know_checks};
use crate::spelling::nearest;
use crate::tr;
use std::sync::LazyLock;

/// All checks, an area after the other: what is broken on disk is repaired before what builds on it.
pub static ALL: LazyLock<Vec<&'static Check>> = LazyLock::new(|| {
    let all = [
        boot::ALL,
        files::ALL,
        login::ALL,
        limits::ALL,
        logs::ALL,
        memory::ALL,
        cpu::ALL,
        network::ALL,
        io::ALL,
        services::ALL,
    ]
    .concat();
    know_checks(all.iter().map(|check| check.zh_cn).collect());
    all
});

/// What a target has for checks to look at.
enum Has {
    /// A system.
    Everything,
    /// Logs alone.
    Logs,
    /// What a machine did over time, and nothing else is asked for.
    Window,
    /// What a support tool collects of a system.
    Part,
}

fn has(target: &Target) -> Has {
    match target.whole() {
        _ if target.recording().is_ok() => Has::Window,
        _ if target.logs().is_ok() => Has::Logs,
        Err(Lack::None(_)) => Has::Part,
        Ok(_) | Err(Lack::Unread(_)) => Has::Everything,
    }
}

/// Whether a check has anything to look at in a target.
pub fn applies(check: &Check, target: &Target) -> bool {
    match has(target) {
        Has::Everything => true,
        Has::Logs => check.needs() == Need::Logs,
        Has::Window => check.reads_recordings,
        Has::Part => of_reports::reads(check),
    }
}

/// The checks that need nothing but what a machine did over time.
pub fn of_windows() -> Vec<&'static Check> {
    ALL.iter().copied().filter(|check| check.needs() == Need::Window).collect()
}

/// The checks with these ids; all of them when none is named.
pub fn chosen(ids: &[String]) -> Result<Vec<&'static Check>, Text> {
    if ids.is_empty() {
        return Ok(ALL.to_vec());
    }
    ids.iter()
        .map(|id| {
            ALL.iter().find(|check| check.id == id).copied().ok_or_else(|| match meant(id) {
                Some(near) => tr!("there is no check {id}: did you mean {near}?", id, near),
                None => tr!("there is no check {id}: run sickbay list", id),
            })
        })
        .collect()
}

/// The id that was meant where `word` is written: one that is nearly so, or the only one that it is a part of.
pub fn meant(word: &str) -> Option<&'static str> {
    let word = word.to_lowercase();
    let ids = || ALL.iter().map(|check| check.id);
    let mut holding = ids().filter(|id| !word.is_empty() && id.contains(&word));
    match (holding.next(), holding.next()) {
        (Some(only), None) => Some(only),
        _ => nearest(&word, ids(), word.len().div_ceil(4)),
    }
}

/// The same for a target. To name a check that has nothing to look at there is a mistake.
pub fn chosen_for(ids: &[String], target: &Target) -> Result<Vec<&'static Check>, Text> {
    let mut all = chosen(ids)?;
    if let Some(check) = all.iter().find(|check| !ids.is_empty() && !applies(check, target)) {
        return Err(match has(target) {
            Has::Window => tr!("{check} does not read recordings", check = check.id),
            Has::Part => tr!("{check} needs more than what a support tool collects", check = check.id),
            Has::Logs | Has::Everything => tr!("{check} does not read logs", check = check.id),
        });
    }
    all.retain(|check| applies(check, target));
    Ok(all)
}

/// The same with checks that the user wanted left out: they are told of, and are never clear.
pub fn with_skipped(mut diagnosis: Diagnosis, skipped: Vec<&'static Check>) -> Diagnosis {
    diagnosis.outcomes.extend(skipped.into_iter().map(|check| (&check.about, Outcome::Skipped)));
    diagnosis.outcomes.sort_by_key(|(check, _)| ALL.iter().position(|other| other.id == check.id));
    diagnosis
}
