//! Whether what is in force follows from the files as they are.

use std::path::PathBuf;

use super::Row;
use crate::facts::Facts;
use crate::facts::limits::process::Origin;
use crate::tr;

/// Says whether what is in force follows from the files as they are.
pub(super) fn compare(facts: &Facts, row: &mut Row, origin: Option<&Origin>) {
    let (Some(origin), Some(now), Some((soft, hard))) = (origin, row.now, row.after) else { return };
    if (now.soft, now.hard) == (soft, hard) {
        return;
    }
    let counting: Vec<(PathBuf, usize)> =
        row.layers.iter().filter(|layer| layer.counts).filter_map(|layer| layer.place.clone()).collect();
    // Without a line of a file, what is built in may be another's.
    if counting.is_empty() && !row.resource.main {
        return;
    }
    row.differs = true;
    let changed = counting.iter().find(|(path, _)| {
        let changed = facts.root().stat(path).map(|found| found.mtime.0).unwrap_or(i64::MIN);
        origin.started.is_some_and(|started| changed > started)
    });
    row.remarks.push(match changed {
        Some((path, _)) => tr!(
            "does not match: {path} changed after the process started: systemctl daemon-reload, then restart",
            path = path.as_path()
        ),
        None if origin.is_first_of_unit() => {
            tr!("does not match: the program sets its own limit, somebody used prlimit, or a file that is gone set it")
        }
        None => tr!(
            "does not match: its parent, {parent}, or itself set another limit",
            parent = origin.ancestors.first().map(|(_, comm)| comm.clone()).unwrap_or_default()
        ),
    });
    let word = |bound: Option<u64>| bound.map_or_else(|| "unlimited".to_owned(), |bound| bound.to_string());
    let command = format!("prlimit --pid {} --{}={}:{}", origin.pid, row.resource.name, word(soft), word(hard));
    row.remarks.push(tr!("at once, until it is restarted: {command}", command));
}
