//! Lets a boot start a unit, as `systemctl enable` does.

use std::path::{Path, PathBuf};

use crate::facts::Facts;
use crate::facts::system::units::{UNIT_DIRS, unit};
use crate::model::finding::Finding;
use crate::model::repair::{Change, Risk};
use crate::tr;

/// Where the unit's own file is.
pub(crate) fn file_of(facts: &Facts, name: &str) -> Option<PathBuf> {
    UNIT_DIRS.iter().map(|dir| Path::new(dir).join(name)).find(|place| facts.root().metadata(place).is_ok())
}

/// Offers the links that the unit's `[Install]` section asks for. Risky: somebody may have disabled it on purpose. A unit that
/// says of no target that it belongs to it is enabled by hand.
pub(crate) fn offer(finding: &mut Finding, facts: &Facts, name: &str, place: &Path) {
    let root = facts.root();
    let unit = unit(facts, name).ok();
    let list = |key: &str| unit.as_ref().map(|unit| unit.list("Install", key)).unwrap_or_default();
    let wants = list("WantedBy").into_iter().map(|target| format!("{target}.wants"));
    let dirs: Vec<String> =
        wants.chain(list("RequiredBy").into_iter().map(|target| format!("{target}.requires"))).collect();
    let Some(first) = dirs.first().map(|dir| Path::new("/etc/systemd/system").join(dir).join(name)) else {
        finding.by_hand(tr!("enable {unit}", unit = name));
        return;
    };
    let mut changes = Vec::new();
    for dir in dirs {
        let dir = Path::new("/etc/systemd/system").join(dir);
        if root.metadata(&dir).is_err() {
            changes.push(Change::make_dir(&dir, 0o755));
        }
        if root.metadata(dir.join(name)).is_err() {
            changes.push(Change::link(dir.join(name), place));
        }
    }
    let title = tr!("enable it: link {link} to {unit}", link = first.as_path(), unit = place);
    finding.repair(Risk::Risky, title, changes);
}
