//! A disk cannot be read in places.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bstr::ByteSlice;
use sickbay_target::{Verdict as Checked, Volume};

use crate::facts::Facts;
use crate::facts::boot::devices::{Devices, volume_names};
use crate::facts::boot::mounted::Mounted;
use crate::facts::memory::cgroups::Mounts;
use crate::model::finding::Findings;
use crate::model::outcome::Verdict;
use crate::model::stage::Stage;
use crate::model::subject::Subject;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "Input/output error" where a file is read; in the kernel's log "I/O error, dev sda, sector …",
    /// "critical medium error"; programs that hang, and then fail.
    ///
    /// ## What it finds
    /// Reads that failed with an I/O error while everything else was looked at, and checkers of file systems that could
    /// not read what they had to. Network file systems and FUSE, which give this error for reasons of their own, do not
    /// count, nor does a file system that the kernel has shut down: `file-system-damaged` tells of that one.
    ///
    /// ## Why it matters
    /// The disk, its cable or the storage behind it is failing. What cannot be read today may be readable for a patient
    /// reader, or once the storage is well again; what is written over is lost. A checker that "repairs" such a disk
    /// replaces what it cannot read by nothing.
    ///
    /// ## What the repair does
    /// Nothing: the disk is to be copied first. While this finding stands no repair of any other is *safe*: `fix` makes
    /// them with `--risky` only.
    ///
    /// ## By hand
    /// ```sh
    /// smartctl -a /dev/sdX                             # or the events of the volume in the provider's console
    /// ddrescue -n /dev/sdX disk.img disk.map           # what is easy to read first
    /// ddrescue -r3 /dev/sdX disk.img disk.map          # then the rest
    /// sickbay fix disk.img
    /// ```
    "disk-unreadable", Boot, seed = ["B1"], proves = [], may_stop = [RootDevice], looks_at_disks_alone = true, runs_last = true,
    "a disk cannot be read in places"
}

/// So many paths are quoted.
const QUOTED: usize = 5;

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let target = facts.target();
    let devices = facts.get::<Devices>();
    let volumes = devices.as_ref().map_or(&[][..], |devices| &devices.volumes);
    // Of each volume the paths that cannot be read, and what its checker said.
    let mut paths: BTreeMap<Option<usize>, Vec<PathBuf>> = BTreeMap::new();
    for path in target.root().io_errors() {
        if facts.runs() && !is_on_disk(facts, &path) {
            continue;
        }
        let places = volumes.iter().enumerate().filter_map(|(at, volume)| Some((at, volume.mounted_on.as_deref()?)));
        let on = places.filter(|(_, place)| path.starts_with(place)).max_by_key(|(_, place)| place.as_os_str().len());
        paths.entry(on.map(|(at, _)| at)).or_default().push(path);
    }
    let mut said: BTreeMap<usize, (&str, &str)> = BTreeMap::new();
    for examined in target.examined() {
        if let Checked::Unreadable(words) = &examined.verdict {
            said.insert(examined.volume, (examined.program, words));
            paths.entry(Some(examined.volume)).or_default();
        }
    }
    for (on, paths) in paths {
        let volume = on.and_then(|at| volumes.get(at));
        let name = volume.map_or("?", |volume| &volume.name);
        let message = match (paths.as_slice(), volume) {
            ([], _) => tr!("the disk cannot be read in places on {volume}", volume = name),
            ([path], None) => tr!("the disk cannot be read in places: reading {path} fails", path),
            ([path], Some(_)) => {
                tr!("the disk cannot be read in places: reading {path} on {volume} fails", path, volume = name)
            }
            ([path, rest @ ..], None) => {
                tr!(
                    "the disk cannot be read in places: reading {path} and {count} more fails",
                    path,
                    count = rest.len()
                )
            }
            ([path, rest @ ..], Some(_)) => tr!(
                "the disk cannot be read in places: reading {path} and {count} more on {volume} fails",
                path,
                count = rest.len(),
                volume = name
            ),
        };
        let finding = found.critical(message);
        finding.subject(Subject::Device(name.to_owned())).extent(paths.len().max(1)).makes_writing_risky();
        match volume {
            Some(volume) => {
                finding.at_device(name).detail("volume", name);
                volume_names(volume).into_iter().for_each(|name| {
                    finding.explains(name);
                });
            }
            None => paths.first().into_iter().for_each(|path| {
                finding.at_path(path);
            }),
        }
        for path in paths.iter().take(QUOTED) {
            finding.evidence(path.display().to_string(), "Input/output error");
        }
        for path in &paths {
            finding.explains(path);
        }
        if let Some((program, words)) = on.and_then(|at| said.get(&at)) {
            finding.evidence(*program, *words);
        }
        if target.unreadable().is_some() && on.is_some_and(|at| said.contains_key(&at)) {
            finding.stops(Stage::RootDevice);
        }
        finding.why(tr!(
            "the disk or what connects it fails; what is written to it now may be what could still be rescued from it"
        ));
        if volume.is_some_and(is_btrfs) {
            finding.note(tr!(
                "btrfs gives the same error for data that do not fit their checksum: the kernel's log tells which it is"
            ));
        }
        finding.by_hand(tr!("copy the disk to a new one first (ddrescue), and check and repair the copy"));
    }
    Ok(())
}

fn is_btrfs(volume: &Volume) -> bool {
    volume.fstype == "btrfs"
}

/// Whether a path of the running system is on a file system that has a disk, and that the kernel has not shut down.
fn is_on_disk(facts: &Facts, path: &Path) -> bool {
    let Ok(mounts) = facts.get::<Mounts>() else { return false };
    // A link may lead to another file system.
    let real = |path: &Path| facts.root().canonical(path).ok();
    let Some(path) = real(path).or_else(|| real(path.parent()?)) else { return false };
    // Of several on one place the last hides the others.
    let covers = mounts.all.iter().rev().filter(|mount| path.starts_with(mount.place.to_path_lossy()));
    let Some(mount) = covers.max_by_key(|mount| mount.place.len()) else { return false };
    let place = mount.place.to_path_lossy();
    let is_shut_down = facts
        .get::<Mounted>()
        .is_ok_and(|mounted| mounted.list.iter().any(|one| one.place == place && one.shut_down.is_some()));
    matches!(mount.fstype.as_str(), "ext2" | "ext3" | "ext4" | "xfs" | "btrfs" | "vfat" | "f2fs") && !is_shut_down
}
