//! Files in memory take a large part of it.

use std::path::{Path, PathBuf};

use sickbay_target::FileKind;

use crate::facts::Facts;
use crate::facts::memory::ledger::{Tmpfs, TmpfsMounts};
use crate::facts::memory::size;
use crate::facts::system::kernel::MemInfo;
use crate::model::finding::{Findings, Severity};
use crate::model::measured::Unit;
use crate::model::outcome::Verdict;
use crate::model::subject::Subject;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: `free` shows a large `shared` and `buff/cache` that dropping caches does not free; `df -t tmpfs` shows
    /// a well-filled tmpfs.
    ///
    /// ## What it finds
    /// A tmpfs, even one that only a container sees, that takes up a quarter of memory or more. A note; a warning while
    /// less than a tenth of memory is available. The largest file on it is named.
    ///
    /// ## Why it matters
    /// Files on a tmpfs are in memory, and no reclaim frees them: without swap they stay until somebody deletes them.
    /// `free` counts them as `shared` and as `buff/cache`, and they belong to no process.
    ///
    /// ## What the repair does
    /// Nothing by itself: the files belong to the user. Delete what is not needed, and give the mount a `size=`.
    ///
    /// ## By hand
    /// ```sh
    /// df -h -t tmpfs
    /// mount -o remount,size=1G MOUNT-POINT
    /// ```
    "memory-tmpfs-large", Memory, seed = ["C7", "C17"], proves = [], "files on a tmpfs take up a large part of memory"
}

/// So many names of a tmpfs are looked at for its largest file.
const NAMES: usize = 4096;

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let memory = facts.get::<MemInfo>()?;
    let total = memory.total();
    for tmpfs in facts.get::<TmpfsMounts>()?.list.iter().filter(|tmpfs| tmpfs.used >= total / 4) {
        // In a container the mounts that are seen can be of another memory than meminfo's; and then Shmem is too small.
        if tmpfs.used > memory.kib("Shmem").saturating_add(memory.kib("SwapTotal")) {
            continue;
        }
        let severity = if memory.available() < total / 10 { Severity::Warning } else { Severity::Note };
        let (used, place) = (size(tmpfs.used), tmpfs.place.as_str());
        let finding = found.add(
            severity,
            tr!("files on the tmpfs {place} take up {used} of {total} of memory", place, used, total = size(total)),
        );
        finding
            .at_path(place)
            .explains(Subject::Machine)
            .measured("used", tmpfs.used as f64 * 1024.0, Unit::Bytes, Some(tmpfs.size as f64 * 1024.0))
            .detail("used", tmpfs.used.saturating_mul(1024))
            .detail("size", tmpfs.size.saturating_mul(1024))
            .detail("MemTotal", total.saturating_mul(1024));
        if let Some(pid) = tmpfs.pid {
            finding.evidence(format!("/proc/{pid}/mountinfo"), place.to_owned()).detail("pid", pid);
        }
        if let Some((path, bytes)) = largest(facts, tmpfs) {
            finding.evidence(path.display().to_string(), size(bytes / 1024));
            finding.detail("largest", path.display().to_string());
        }
        finding.by_hand(tr!("delete what is not needed there; the mount option size= limits it"));
    }
    Ok(())
}

/// The largest file that is found on it.
fn largest(facts: &Facts, tmpfs: &Tmpfs) -> Option<(PathBuf, u64)> {
    let other = tmpfs.pid.and_then(|pid| facts.root().of_process(pid).ok());
    let root = match (&other, tmpfs.pid) {
        (Some(root), _) => root,
        (None, Some(_)) => return None,
        (None, None) => facts.root(),
    };
    let device = root.stat(&tmpfs.place).ok()?.dev;
    let mut dirs = vec![Path::new(&tmpfs.place).to_owned()];
    let mut best: Option<(PathBuf, u64)> = None;
    let mut left = NAMES;
    while let Some(dir) = dirs.pop() {
        for entry in root.read_dir(&dir).unwrap_or_default() {
            if left == 0 {
                return best;
            }
            left -= 1;
            let path = dir.join(&entry.name);
            let Ok(seen) = root.metadata(&path) else { continue };
            match entry.kind {
                FileKind::Dir if seen.dev == device => dirs.push(path),
                FileKind::File if best.as_ref().is_none_or(|(_, bytes)| seen.allocated > *bytes) => {
                    best = Some((path, seen.allocated));
                }
                _ => {}
            }
        }
    }
    best
}
