//! Control groups with a quota of processor time, and how often they used it up: of cgroup2 and of the older hierarchy.

use std::path::{Path, PathBuf};

use sickbay_formats::procfs::fields::Fields;
use sickbay_target::{FileKind, Root};

use super::Throttled;

/// So many groups are looked at.
const MOST: usize = 4096;

/// Quotas are no deeper than this.
const DEEPEST: usize = 12;

/// Where the hierarchy with the processors may be, below `/sys/fs/cgroup`.
const PLACES: [&str; 4] = ["", "unified", "cpu,cpuacct", "cpu"];

/// Those with a quota. `None` where there is no hierarchy that tells.
pub fn throttled(root: &Root, sys: &Path) -> Option<Vec<Throttled>> {
    let base = sys.join("fs/cgroup");
    let is_there = |top: &PathBuf| {
        // The newer one says which controllers it has; of the older one every group but the top has a quota.
        let has = |file: &str| root.stat(top.join(file)).is_ok();
        has("cgroup.controllers") || has("cpu.shares") || has("cpu.stat")
    };
    // cpu is a link to cpu,cpuacct where both are one.
    let mut tops: Vec<PathBuf> = PLACES.iter().map(|place| base.join(place)).filter(is_there).collect();
    tops.dedup_by_key(|top| root.canonical(&*top).ok());
    let found: Vec<Throttled> = tops.iter().flat_map(|top| below(root, top)).collect();
    (!tops.is_empty()).then_some(found)
}

fn below(root: &Root, top: &Path) -> Vec<Throttled> {
    let mut found = Vec::new();
    let (mut ahead, mut looked) = (vec![(top.to_owned(), 0)], 0);
    while let Some((dir, depth)) = ahead.pop() {
        looked += 1;
        if looked > MOST {
            break;
        }
        let is_older = top.file_name().is_some_and(|name| name != "unified" && name != "cgroup");
        found.extend(group(root, &dir, top, is_older));
        if depth < DEEPEST {
            let entries = root.read_dir(&dir).unwrap_or_default();
            let dirs = entries.into_iter().filter(|entry| entry.kind == FileKind::Dir);
            ahead.extend(dirs.map(|entry| (dir.join(entry.name), depth + 1)));
        }
    }
    found
}

fn group(root: &Root, dir: &Path, top: &Path, is_older: bool) -> Option<Throttled> {
    let read = |name: &str| root.read_up_to(dir.join(name), 4096).ok();
    let text = |name: &str| String::from_utf8(read(name)?).ok();
    let (quota, period) = match is_older {
        true => (text("cpu.cfs_quota_us")?.trim().parse().ok()?, text("cpu.cfs_period_us")?.trim().parse().ok()?),
        false => {
            let text = text("cpu.max")?;
            let mut words = text.split_ascii_whitespace();
            // Without a quota it is "max".
            (words.next()?.parse().ok()?, words.next()?.parse().ok()?)
        }
    };
    let stat = Fields::parse(&read("cpu.stat")?);
    let micros = stat.get("throttled_usec").or_else(|| stat.get("throttled_time").map(|nanos| nanos / 1000));
    Some(Throttled {
        group: PathBuf::from("/").join(dir.strip_prefix(top).ok()?).to_string_lossy().into_owned(),
        quota,
        period,
        periods: stat.get("nr_periods")?,
        throttled: stat.get("nr_throttled")?,
        throttled_us: micros?,
    })
}
