//! Makes one system of the volumes of a target: finds its root, mounts it, and joins what belongs below it.

mod examination;
mod looks;

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::mount::MountFlags;

use self::examination::Failure;
pub(crate) use self::looks::has_skeleton;
use self::looks::{Looks, look};
use sickbay_formats::fstab::{self, Entry, Source};

use crate::checker::{self, Examined};
use crate::loops::Loop;
use crate::mounts::{self, Mounts, Recipe};
use crate::sys::Window;
use crate::volumes::Placed;
use crate::{Access, Disk, OpenError, Options, ReadError, Reason, Root, machine};

/// A system, mounted. Dropped, everything is unmounted and detached; the descriptors of its root must be closed before.
#[derive(Debug)]
pub(crate) struct System {
    mounts: Mounts,
    devices: HashMap<usize, Loop>,
}

/// What was made of the volumes.
pub(crate) struct Assembled {
    pub(crate) system: System,
    /// The root file system; an empty directory where there is none.
    pub(crate) root: Root,
    /// Why the root file system could not be mounted.
    pub(crate) unreadable: Option<String>,
    /// The file systems that were examined.
    pub(crate) examined: Vec<Examined>,
}

/// A file system that can be chosen for a purpose.
struct Candidate {
    /// Which of the volumes.
    volume: usize,
    /// The subvolume of a btrfs; `None` for the default one.
    subvolume: Option<String>,
    looks: Looks,
}

/// A volume, as fstab(5) wants it mounted.
struct Line {
    source: Source,
    place: PathBuf,
    subvolume: Option<String>,
}

impl System {
    /// Finds the root file system among the volumes, mounts it and what belongs below it; says in the volumes what was
    /// mounted where. What is damaged is examined first.
    pub(crate) fn assemble(
        path: &Path,
        disks: &mut [Disk],
        placed: &mut [Placed],
        options: &Options,
        notes: &mut Vec<String>,
    ) -> Result<Assembled, OpenError> {
        let access = options.access;
        let mounts = Mounts::new().map_err(|e| OpenError::io(path, "mounting", e))?;
        let mut system = System { mounts, devices: HashMap::new() };
        let (mut candidates, mut failures) = system.look_at_all(disks, placed);
        let first = best_root(&candidates).and_then(|at| candidates.get(at)).map(|candidate| candidate.volume);
        let examined = system
            .examine_suspects(disks, placed, &failures, first, options)
            .map_err(|e| OpenError::io(path, "showing the checker a copy of it", e))?;
        if examined.iter().any(|examined| matches!(examined.verdict, checker::Verdict::Mended { .. })) {
            (candidates, failures) = system.look_at_all(disks, placed);
        }
        let Some((root_at, chosen)) = best_root(&candidates).and_then(|at| Some((at, candidates.get(at)?))) else {
            return match no_root(path, placed, &failures) {
                error @ (OpenError::CannotMount { .. } | OpenError::NoRoot { .. }) if !examined.is_empty() => {
                    let empty = Recipe { fstype: "tmpfs", flags: MountFlags::RDONLY, options: vec![String::new()] };
                    let dir = system.mounts.mount(Path::new("sickbay"), &empty);
                    let root = Root::from_dir(dir.map_err(|e| OpenError::io(path, "mounting", e))?);
                    Ok(Assembled { system, root, unreadable: Some(error.to_string()), examined })
                }
                error => Err(error),
            };
        };
        let told = |failure: &Failure| examined.iter().any(|examined| examined.volume == failure.volume);
        notes.extend(
            failures
                .iter()
                .filter(|failure| !told(failure))
                .map(|Failure { name, why, .. }| format!("{name} could not be mounted: {why}")),
        );

        if access == Access::ReadWrite {
            system.devices.clear(); // they were attached for reading
        }
        let cannot = |placed: &Placed, why: String| OpenError::CannotMount {
            path: path.to_owned(),
            volume: format!("{} ({})", placed.volume.name, placed.volume.fstype),
            why,
        };
        let Some(place) = placed.get_mut(chosen.volume) else { return Err(no_root(path, placed, &[])) };
        if let (Access::ReadWrite, Some(why)) = (access, place.read_only) {
            return Err(cannot(place, why.to_owned()));
        }
        let device = system.device(disks, chosen.volume, place, access).map_err(|e| cannot(place, e.to_string()))?;
        let Some(recipe) = recipe(&place.volume.fstype, chosen.subvolume.as_deref(), access) else {
            return Err(cannot(place, "its file system is unknown".into()));
        };
        let dir = system.mounts.mount(&device, &recipe).map_err(|e| cannot(place, why(&e, &place.volume.fstype)))?;
        place.volume.device = Some(device);
        place.volume.mounted_on = Some(PathBuf::from("/"));
        let beside = |other: &&Candidate| other.volume == chosen.volume && other.looks.is_root();
        if candidates.iter().filter(beside).count() == 1 {
            place.volume.subvolume.clone_from(&chosen.subvolume);
        }
        let root = Root::from_dir(dir);
        for (n, other) in candidates.iter().enumerate() {
            if n != root_at && other.looks.is_root() {
                let name = placed.get(other.volume).map_or("", |placed| placed.volume.name.as_str());
                notes.push(format!("{name} has another root file system, which was left alone"));
            }
        }
        system.join(disks, placed, &candidates, root_at, &root, access, notes);
        for placed in placed.iter().filter(|placed| placed.volume.fstype == "crypto_LUKS") {
            notes.push(format!(
                "{} is encrypted (LUKS) and was not opened: unlock it with `cryptsetup open DEVICE NAME` and add `--with /dev/mapper/NAME`",
                placed.volume.name
            ));
        }
        Ok(Assembled { system, root, unreadable: None, examined })
    }

    /// Mounts every volume for a look, each for itself, and says which could not be.
    fn look_at_all(&mut self, disks: &[Disk], placed: &[Placed]) -> (Vec<Candidate>, Vec<Failure>) {
        let mut candidates = Vec::new();
        let mut failures = Vec::new();
        for (index, place) in placed.iter().enumerate() {
            let fstype = place.volume.fstype.as_str();
            if recipe(fstype, None, Access::ReadOnly).is_none() {
                continue;
            }
            match self.look_at(disks, index, place) {
                Ok(found) => candidates.extend(found),
                // The firmware's partition holds nothing that is needed to go on.
                Err(error) if fstype == "vfat" && error.raw_os_error() == Some(libc::ENODEV) => {}
                Err(error) => {
                    let name = format!("{} ({fstype})", place.volume.name);
                    let is_suspect = checker::may_be_damage(&error);
                    failures.push(Failure { volume: index, name, why: why(&error, fstype), is_suspect });
                }
            }
        }
        (candidates, failures)
    }

    fn look_at(&mut self, disks: &[Disk], index: usize, place: &Placed) -> io::Result<Vec<Candidate>> {
        let device = self.device(disks, index, place, Access::ReadOnly)?;
        let mut found = vec![Candidate {
            volume: index,
            subvolume: None,
            looks: self.look_through(&device, &place.volume.fstype, None, look)?,
        }];
        let is_root = found.iter().any(|candidate| candidate.looks.is_root());
        if place.volume.fstype == "btrfs" && !is_root {
            // The default subvolume is none: one of the others may be, by whatever name.
            let below = self.look_through(&device, "btrfs", Some("/"), looks::subvolumes)?;
            found.extend(below.into_iter().map(|(name, looks)| Candidate {
                volume: index,
                subvolume: Some(name),
                looks,
            }));
        }
        Ok(found)
    }

    /// Mounts a device read-only, looks, and unmounts it again.
    fn look_through<T>(
        &self,
        device: &Path,
        fstype: &str,
        subvolume: Option<&str>,
        look: impl FnOnce(&Root) -> T,
    ) -> io::Result<T> {
        let recipe = recipe(fstype, subvolume, Access::ReadOnly).ok_or(io::ErrorKind::Unsupported)?;
        let root = Root::from_dir(self.mounts.mount(device, &recipe)?);
        let readable = match root.read_dir("/") {
            Err(ReadError { reason: Reason::Io(error), .. }) => Err(error),
            _ => Ok(()),
        };
        let seen = look(&root);
        drop(root);
        self.mounts.unmount()?;
        readable.map(|()| seen)
    }

    /// The node that stands for a volume, made when there is none yet.
    fn device(&mut self, disks: &[Disk], index: usize, placed: &Placed, access: Access) -> io::Result<PathBuf> {
        if let Some(device) = self.devices.get(&index) {
            return Ok(device.path().to_owned());
        }
        let read_only = access == Access::ReadOnly;
        let device = match placed.extents.as_slice() {
            [(disk, window)] => {
                let disk = disks.get(*disk).ok_or(io::ErrorKind::NotFound)?;
                attach(disk.blocks(), *window, read_only)?
            }
            _ => {
                return Err(io::Error::other(
                    "it is in several pieces, which sickbay does not assemble: activate it with `vgchange -ay` and use its device node",
                ));
            }
        };
        let path = device.path().to_owned();
        self.devices.insert(index, device);
        Ok(path)
    }

    /// Mounts what fstab names below the root, and what is told by its content where fstab is of no help.
    #[allow(clippy::too_many_arguments)]
    fn join(
        &mut self,
        disks: &[Disk],
        placed: &mut [Placed],
        candidates: &[Candidate],
        root_at: usize,
        root: &Root,
        access: Access,
        notes: &mut Vec<String>,
    ) {
        let root_volume = candidates.get(root_at).map(|candidate| candidate.volume);
        for line in lines(root) {
            let Some(index) = resolve(&line.source, placed) else { continue };
            // The subvolumes of the root's own btrfs are mounted as often as they are named.
            if Some(index) == root_volume && line.subvolume.is_none() {
                continue;
            }
            if hides(root, candidates, index, &line) {
                if let Some(placed) = placed.get_mut(index) {
                    placed.volume.hides = Some(line.place);
                }
                continue;
            }
            let result = self.mount_below(disks, placed, index, line.subvolume.as_deref(), &line.place, root, access);
            if let (Err(why), Some(placed)) = (result, placed.get(index)) {
                let Placed { volume, .. } = placed;
                let place = line.place.display();
                notes.push(format!("{} ({}) was not mounted on {place}: {why}", volume.name, volume.fstype));
            }
        }
        for (place, fits) in looks::PLACES {
            let place = Path::new(place);
            let is_mounted = placed.iter().any(|placed| placed.volume.mounted_on.as_deref() == Some(place));
            if is_mounted || looks_within(root, place).is_some_and(|looks| fits(&looks)) {
                continue;
            }
            let free = |candidate: &&Candidate| {
                let is_free = placed.get(candidate.volume).is_some_and(|p| p.volume.mounted_on.is_none());
                is_free && !candidate.looks.is_root() && fits(&candidate.looks)
            };
            let mut fitting = candidates.iter().filter(free);
            let (Some(only), None) = (fitting.next(), fitting.next()) else { continue };
            let (index, subvolume) = (only.volume, only.subvolume.as_deref());
            let result = self.mount_below(disks, placed, index, subvolume, place, root, access);
            let name = placed.get(index).map_or("", |placed| placed.volume.name.as_str());
            let place = place.display();
            notes.push(match result {
                Ok(()) => format!("{name} was taken to be {place} because of its content: no fstab line leads to it"),
                Err(why) => format!("{name} looks like {place}, but was not mounted there: {why}"),
            });
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn mount_below(
        &mut self,
        disks: &[Disk],
        placed: &mut [Placed],
        index: usize,
        subvolume: Option<&str>,
        place: &Path,
        root: &Root,
        access: Access,
    ) -> Result<(), String> {
        let placed = placed.get_mut(index).ok_or("there is no such volume")?;
        if let (Access::ReadWrite, Some(why)) = (access, placed.read_only) {
            return Err(why.to_owned());
        }
        let fstype = placed.volume.fstype.clone();
        let recipe = recipe(&fstype, subvolume, access).ok_or("its file system is unknown")?;
        let dir = root.resolve(place, OFlags::DIRECTORY).map_err(|e| e.to_string())?;
        let device = self.device(disks, index, placed, access).map_err(|e| e.to_string())?;
        self.mounts.mount_on(&device, &recipe, dir.as_fd()).map_err(|e| why(&e, &fstype))?;
        placed.volume.device = Some(device);
        placed.volume.mounted_on.get_or_insert_with(|| place.to_owned());
        Ok(())
    }

    /// The view of the mounts in which it is mounted.
    pub(crate) fn view(&self) -> io::Result<OwnedFd> {
        self.mounts.view()
    }

    /// Brings everything that was written to the devices.
    pub(crate) fn sync(&self, root: &Root, volumes: &[crate::Volume]) -> io::Result<()> {
        for place in volumes.iter().filter_map(|volume| volume.mounted_on.as_deref()) {
            let dir: OwnedFd = root.resolve(place, OFlags::DIRECTORY).map_err(io::Error::other)?;
            mounts::sync(dir.as_fd())?;
        }
        Ok(())
    }
}

impl System {
    /// Unmounts and detaches everything; when it returns, all has arrived on the disks.
    pub(crate) fn close(mut self) -> io::Result<()> {
        self.mounts.unmount()?;
        self.devices.drain().try_for_each(|(_, device)| device.detach())
    }
}

impl Drop for System {
    fn drop(&mut self) {
        let _ = self.mounts.unmount(); // nothing may be mounted when opening failed half-way
    }
}

fn attach(blocks: &File, window: Window, read_only: bool) -> io::Result<Loop> {
    Loop::attach(blocks, window, read_only)
}

/// How a file system is mounted, so that looking at it changes nothing; `None` for what is none.
fn recipe(fstype: &str, subvolume: Option<&str>, access: Access) -> Option<Recipe> {
    let read_only = access == Access::ReadOnly;
    let (fstype, options): (&'static str, Vec<&str>) = match (fstype, read_only) {
        // What the file system says is to be done about errors (panic, for one) is meant for the machine it was on.
        ("ext2", true) => ("ext2", vec!["errors=continue"]),
        ("ext3", true) => ("ext3", vec!["noload,errors=continue"]),
        ("ext4", true) => ("ext4", vec!["noload,errors=continue"]),
        ("ext2", false) => ("ext2", vec!["errors=remount-ro"]),
        ("ext3", false) => ("ext3", vec!["errors=remount-ro"]),
        ("ext4", false) => ("ext4", vec!["errors=remount-ro"]),
        // A clone of a disk of this machine has its UUIDs.
        ("xfs", true) => ("xfs", vec!["norecovery,nouuid"]),
        ("xfs", false) => ("xfs", vec!["nouuid"]),
        // Since 5.9; since 4.6; before that nothing kept the kernel from replaying the log, but the device does.
        ("btrfs", true) => ("btrfs", vec!["rescue=nologreplay", "nologreplay", ""]),
        ("btrfs", false) => ("btrfs", vec![""]),
        ("vfat", _) => ("vfat", vec![""]),
        _ => return None,
    };
    let with_subvolume = |options: &str| match subvolume {
        Some(name) if options.is_empty() => format!("subvol={name}"),
        Some(name) => format!("{options},subvol={name}"),
        None => options.to_owned(),
    };
    let quiet = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::SILENT;
    Some(Recipe {
        fstype,
        flags: quiet | if read_only { MountFlags::RDONLY | MountFlags::NOEXEC } else { MountFlags::NOATIME },
        options: options.into_iter().map(with_subvolume).collect(),
    })
}

/// What the kernel means when it refuses to mount.
fn why(error: &io::Error, fstype: &str) -> String {
    match error.raw_os_error() {
        Some(libc::ENODEV) => format!("this machine's kernel has no {fstype}"),
        Some(libc::EINVAL | libc::EUCLEAN | libc::EBADMSG) => {
            format!("it is damaged, or newer than this machine's kernel knows: {error}")
        }
        Some(libc::EPERM | libc::EACCES) => format!("no permission to mount: run as root ({error})"),
        Some(libc::EEXIST) => "this machine has another file system of the same UUID mounted".into(),
        _ => error.to_string(),
    }
}

fn best_root(candidates: &[Candidate]) -> Option<usize> {
    let roots = candidates.iter().enumerate().filter(|(_, candidate)| candidate.looks.is_root());
    // Of equals the first.
    roots.rev().max_by_key(|(_, candidate)| candidate.looks.root).map(|(index, _)| index)
}

fn no_root(path: &Path, placed: &[Placed], failures: &[Failure]) -> OpenError {
    let path = path.to_owned();
    let cut = placed
        .iter()
        .find(|placed| placed.extents.iter().map(|(_, window)| window.size).sum::<u64>() < placed.volume.size);
    if let (Some(cut), false) = (cut, failures.is_empty()) {
        let (there, size) = (cut.extents.iter().map(|(_, w)| w.size).sum::<u64>(), cut.volume.size);
        let why = format!("{} should have {size} bytes, but only {there} of them are there", cut.volume.name);
        return OpenError::Truncated { path, why };
    }
    if let Some(Failure { name, why, .. }) = failures.first() {
        return OpenError::CannotMount { path, volume: name.clone(), why: why.clone() };
    }
    if let Some(locked) = placed.iter().find(|placed| placed.volume.fstype == "crypto_LUKS") {
        return OpenError::Encrypted { path, volume: locked.volume.name.clone() };
    }
    let found: Vec<String> = placed
        .iter()
        .map(|placed| match placed.volume.fstype.as_str() {
            "" => format!("{} (nothing recognized)", placed.volume.name),
            fstype => format!("{} ({fstype})", placed.volume.name),
        })
        .collect();
    OpenError::NoRoot { path, found: if found.is_empty() { "no partition".into() } else { found.join(", ") } }
}

/// What the target's fstab mounts or swaps on; of a damaged file what is sound.
fn entries(root: &Root) -> Vec<Entry> {
    let mut entries = fstab::entries(&root.read("/etc/fstab").unwrap_or_default());
    entries.retain(|entry| entry.fields.len() > 1);
    entries
}

/// The lines of the target's fstab for directories in which a system keeps its own files, the uppermost first.
fn lines(root: &Root) -> Vec<Line> {
    let mut lines: Vec<Line> = entries(root)
        .iter()
        .filter_map(|entry| {
            let place = std::str::from_utf8(entry.mount_point()).ok()?;
            let top = place.strip_prefix('/')?.split('/').next()?;
            let is_system = matches!(top, "boot" | "usr" | "var" | "root" | "home" | "opt");
            is_system.then(|| Line {
                source: entry.source(),
                place: PathBuf::from(place.trim_end_matches('/')),
                subvolume: entry.option("subvol").map(|name| String::from_utf8_lossy(name).into_owned()),
            })
        })
        .collect();
    lines.sort_by_key(|line| line.place.components().count());
    lines
}

/// Whether a volume has nothing of what belongs to the place where a line mounts it, and the root itself has that there. A
/// kernel comes from a `/boot` that is not mounted as well.
fn hides(root: &Root, candidates: &[Candidate], index: usize, line: &Line) -> bool {
    let place = looks::PLACES.iter().find(|(place, _)| *place != "/boot" && line.place == Path::new(place));
    let looks =
        candidates.iter().find(|one| one.volume == index && one.subvolume == line.subvolume).map(|one| &one.looks);
    let (Some((place, fits)), Some(looks)) = (place, looks) else { return false };
    !fits(looks) && looks_within(root, Path::new(place)).is_some_and(|looks| fits(&looks))
}

/// What a directory looks like, as the root of a file system.
fn looks_within(root: &Root, dir: &Path) -> Option<Looks> {
    root.resolve(dir, OFlags::DIRECTORY).ok().map(|dir| look(&Root::from_dir(dir)))
}

/// Which volume a line of fstab names.
fn resolve(source: &Source, placed: &[Placed]) -> Option<usize> {
    let find = |is: &dyn Fn(&crate::Volume) -> bool| placed.iter().position(|placed| is(&placed.volume));
    let same = |own: &Option<String>, value: &str| own.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(value));
    let node = match source {
        Source::Uuid(value) => return find(&|v| same(&v.uuid, value)),
        Source::PartUuid(value) => return find(&|v| same(&v.partuuid, value)),
        Source::Label(value) => return find(&|v| v.label.as_ref() == Some(value)),
        Source::PartLabel(value) => return find(&|v| v.partlabel.as_ref() == Some(value)),
        Source::Device(node) => node.strip_prefix("/dev/")?,
        _ => return None,
    };
    let lv = |vg: &str, lv: &str| find(&|v| v.lv.as_ref().is_some_and(|(own_vg, own)| own_vg == vg && own == lv));
    if let Some(mapped) = node.strip_prefix("mapper/") {
        let (vg, name) = machine::split_mapped(mapped)?;
        return lv(&vg, &name);
    }
    if let Some((vg, name)) = node.split_once('/') {
        return lv(vg, name);
    }
    // The letter is the kernel's of that machine; the disks are in the order in which they were given.
    let number = node.trim_start_matches(|c: char| !c.is_ascii_digit());
    let disk = ["vd", "sd", "xvd", "hd"]
        .iter()
        .find_map(|kind| node.strip_prefix(kind))
        .and_then(|rest| rest.bytes().next().filter(u8::is_ascii_lowercase).map(|letter| usize::from(letter - b'a')));
    match disk {
        Some(disk) => {
            let number: u32 = number.parse().ok()?;
            find(&|v| v.disk == disk && v.partition == Some(number))
        }
        None => {
            let (_, number) = node.strip_prefix("nvme").or(node.strip_prefix("mmcblk"))?.rsplit_once('p')?;
            let number: u32 = number.parse().ok()?;
            find(&|v| v.disk == 0 && v.partition == Some(number))
        }
    }
}
