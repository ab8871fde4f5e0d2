//! The disks of this machine: what a running system can mount, and which disk a mounted root lies on.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sickbay_formats::procfs::mountinfo::{self, Mount};

use crate::table::Table;
use crate::target::{Lack, Volume};
use crate::volumes::{self, Described, Placed};
use crate::{Disk, OpenError, Root, loops, sys};

/// The disks and volumes that belong to a running system or a mounted root.
pub(crate) struct Inventory {
    pub(crate) disks: Vec<Disk>,
    pub(crate) volumes: Result<Vec<Volume>, Lack>,
    /// See [`Described::opaque`].
    pub(crate) opaque: Vec<String>,
}

impl Inventory {
    fn without(why: Lack) -> Inventory {
        Inventory { disks: Vec::new(), volumes: Err(why), opaque: Vec::new() }
    }

    fn unread(why: impl Into<String>) -> Inventory {
        Inventory::without(Lack::Unread(why.into()))
    }
}

/// Whether a disk of this machine is none of the system's that we run in: it has no node here, as in a container and in a
/// chroot, or root itself may not open it. What it is then belongs to whoever runs this system.
fn is_of_others(error: &OpenError) -> bool {
    match error {
        OpenError::NotFound { .. } => true,
        OpenError::Denied { .. } => rustix::process::geteuid().is_root(),
        _ => false,
    }
}

/// Everything that this machine has.
pub(crate) fn host() -> Inventory {
    let names = match names("/sys/block") {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Inventory::without(Lack::None("/sys is not mounted here: a chroot, or a container".into()));
        }
        Err(error) => return Inventory::unread(format!("/sys/block cannot be read: {error}")),
    };
    let mut disks = Vec::new();
    let mut of_others = Vec::new();
    for name in names.iter().filter(|name| is_disk(name)) {
        match Disk::open(&node(name), crate::Access::ReadOnly) {
            Ok(disk) => disks.push(disk),
            Err(error) if is_of_others(&error) => of_others.push(error.to_string()),
            Err(OpenError::Denied { path }) => {
                return by_udev(&names).unwrap_or_else(|| Inventory::unread(no_permission(&path)));
            }
            Err(OpenError::Io { source, .. }) if source.raw_os_error() == Some(libc::ENOMEDIUM) => {}
            // What is not all of it would make everything else look missing.
            Err(error) => return Inventory::unread(error.to_string()),
        }
    }
    if let (true, Some(first)) = (disks.is_empty(), of_others.first()) {
        let why = Lack::None(format!("this machine's disks belong to another system ({first})"));
        return by_udev(&names).unwrap_or_else(|| Inventory::without(why));
    }
    let mut placed = match volumes::describe(&disks, false) {
        Ok(described) => described.placed,
        Err(error) => return Inventory::unread(format!("the disks cannot be read: {error}")),
    };
    // The kernel shows an assembled mirror as a device of its own.
    placed.retain(|placed| placed.read_only.is_none());
    let mut volumes: Vec<Volume> = placed.into_iter().map(|placed| placed.volume).collect();
    name_nodes(&disks, &mut volumes);
    for volume in &mut volumes {
        volume.name = volume.device.as_ref().map_or(volume.name.clone(), |node| node.display().to_string());
    }
    mark_mounts(&mut volumes, Path::new("/"));
    // What the system needs of encrypted volumes and arrays, it has opened, and it stands among the devices.
    Inventory { disks, volumes: Ok(volumes), opaque: of_others }
}

/// What belongs to a directory that is the root of a system: all of the disks that it lies on, if what is mounted there is
/// a file system of its own. The disk that a mere directory lies on is this machine's and holds this machine's system.
pub(crate) fn of_root(root: &Root, dir: &Path, with: &[PathBuf]) -> Result<Inventory, OpenError> {
    let own = disks_below(root).and_then(|paths| {
        paths
            .iter()
            .map(|path| Disk::open(path, crate::Access::ReadOnly))
            .collect::<Result<Vec<Disk>, _>>()
            .map_err(|error| if is_of_others(&error) { Lack::None } else { Lack::Unread }(error.to_string()))
    });
    // Without the disk of the root those that the user gave are not all.
    let (mut disks, lack) = match own {
        Ok(disks) => (disks, None),
        Err(why) if with.is_empty() => return Ok(Inventory::without(why)),
        Err(Lack::None(why) | Lack::Unread(why)) => (Vec::new(), Some(why)),
    };
    for path in with {
        disks.push(Disk::open(path, crate::Access::ReadOnly)?);
    }
    let Described { placed, mut opaque, .. } = match volumes::describe(&disks, true) {
        Ok(described) => described,
        Err(error) => return Ok(Inventory::unread(format!("the disks cannot be read: {error}"))),
    };
    opaque.extend(lack);
    let mut volumes: Vec<Volume> = placed.into_iter().map(|Placed { volume, .. }| volume).collect();
    name_nodes(&disks, &mut volumes);
    // An active logical volume is found twice: in the metadata, and as a device with whatever is really on it.
    let active: Vec<_> = volumes.iter().filter(|v| v.device.is_some()).filter_map(|v| v.lv.clone()).collect();
    volumes.retain(|v| v.device.is_some() || v.lv.as_ref().is_none_or(|lv| !active.contains(lv)));
    mark_mounts(&mut volumes, &fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned()));
    Ok(Inventory { disks, volumes: Ok(volumes), opaque })
}

/// Why nothing may be written to a mounted root, if so.
pub(crate) fn refuse_root(root: &Root, dir: &Path) -> Result<(), OpenError> {
    let path = dir.to_owned();
    if root.statvfs("/").is_ok_and(|told| told.read_only) {
        return Err(OpenError::MountedReadOnly { path });
    }
    let Ok(own) = root.stat("/") else { return Ok(()) };
    let mut ours = vec![std::process::id()];
    while let Some(parent) = ours.last().and_then(|pid| parent_of(*pid)).filter(|pid| *pid > 0) {
        ours.push(parent);
    }
    for name in names("/proc").unwrap_or_default() {
        let Some(pid) = name.parse::<u32>().ok().filter(|pid| !ours.contains(pid)) else { continue };
        let here = fs::metadata(format!("/proc/{pid}/root"));
        if here.is_ok_and(|here| (here.dev(), here.ino()) == (own.dev, own.ino)) {
            let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            return Err(OpenError::InUse { path, by: format!("{} (PID {pid}), whose root it is", comm.trim()) });
        }
    }
    Ok(())
}

fn parent_of(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

fn names(dir: &str) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names)
}

/// The node of a device of sysfs, where a `!` stands for a slash.
fn node(name: &str) -> PathBuf {
    Path::new("/dev").join(name.replace('!', "/"))
}

fn attribute(name: &str, file: &str) -> Option<String> {
    let text = fs::read_to_string(Path::new("/sys/class/block").join(name).join(file)).ok()?;
    Some(text.trim().to_owned())
}

/// Whether a device of `/sys/block` can hold volumes of the system.
fn is_disk(name: &str) -> bool {
    let passing = ["loop", "ram", "zram", "fd", "sr"];
    let is_passing = passing
        .iter()
        .any(|kind| name.strip_prefix(kind).is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit())));
    let uuid = attribute(name, "dm/uuid").unwrap_or_default();
    // Behind the two identifiers of a logical volume stands what part it is of another: a pool, a log, a copy.
    let is_inner = uuid.strip_prefix("LVM-").is_some_and(|ids| ids.contains('-'));
    // Each path to a disk shows the same disk; the multipath device stands for all.
    let is_path =
        holders(name).iter().any(|holder| attribute(holder, "dm/uuid").is_some_and(|uuid| uuid.starts_with("mpath-")));
    let is_part_of_path = uuid.starts_with("part") && uuid.contains("-mpath-");
    let is_empty = attribute(name, "size").is_none_or(|size| size == "0");
    let is_hidden = attribute(name, "hidden").is_some_and(|hidden| hidden == "1");
    !(is_passing || is_inner || is_path || is_part_of_path || is_empty || is_hidden)
}

fn holders(name: &str) -> Vec<String> {
    names(&format!("/sys/class/block/{name}/holders")).unwrap_or_default()
}

/// Enters the nodes of this machine into what the disks themselves told.
fn name_nodes(disks: &[Disk], volumes: &mut [Volume]) {
    for volume in volumes {
        let Some(disk) = disks.get(volume.disk) else { continue };
        let is_device = disk.path.starts_with("/dev");
        if volume.lv.is_some() && !is_whole(disk, volume) {
            continue;
        }
        if is_whole(disk, volume) && volume.partition.is_none() && is_device {
            volume.device = Some(disk.path.clone());
            let name = disk.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if let Some(mapped) = attribute(&name, "dm/name") {
                volume.device = Some(Path::new("/dev/mapper").join(&mapped));
                let is_lv = attribute(&name, "dm/uuid").is_some_and(|uuid| uuid.starts_with("LVM-"));
                volume.lv = if is_lv { split_mapped(&mapped) } else { None };
            }
        } else if is_device {
            volume.device = partition_node(&disk.path, volume.start);
        } else {
            volume.device = loop_at(&disk.path, volume.start);
        }
    }
}

fn is_whole(disk: &Disk, volume: &Volume) -> bool {
    volume.start == 0 && volume.size == disk.size
}

/// The volume group and the logical volume in a name of the device mapper, where a hyphen of a name is doubled.
pub(crate) fn split_mapped(mapped: &str) -> Option<(String, String)> {
    let names = mapped.replace("--", "\0");
    let (vg, lv) = names.split_once('-')?;
    Some((vg.replace('\0', "-"), lv.replace('\0', "-")))
}

/// The kernel's partition that begins at that byte.
fn partition_node(disk: &Path, start: u64) -> Option<PathBuf> {
    let name = disk.file_name()?.to_str()?;
    let below = names(&format!("/sys/class/block/{name}")).ok()?;
    let sectors = (start / 512).to_string();
    let found = below.iter().find(|part| {
        attribute(part, "partition").is_some() && attribute(part, "start").as_deref() == Some(sectors.as_str())
    })?;
    Some(node(found))
}

/// The loop device that stands for the part of an image that begins at that byte, or the partition that the kernel sees
/// there in one that stands for all of it.
fn loop_at(image: &Path, start: u64) -> Option<PathBuf> {
    let metadata = fs::metadata(image).ok()?;
    let attached = loops::standing_for(metadata.dev(), metadata.ino());
    let begins_at =
        |start: u64| move |node: &&PathBuf| loops::backing_of(node).is_some_and(|backing| backing.offset == start);
    attached
        .iter()
        .find(begins_at(start))
        .cloned()
        .or_else(|| partition_node(attached.iter().find(begins_at(0))?, start))
}

fn mounts() -> Vec<Mount> {
    mountinfo::parse(&fs::read("/proc/self/mountinfo").unwrap_or_default())
}

/// The device number that a mount comes from, as "major:minor"; btrfs shows one of its own.
fn origin(mount: &Mount) -> String {
    if !mount.device.starts_with("0:") {
        return mount.device.clone();
    }
    fs::metadata(OsStr::from_bytes(&mount.source)).map(|m| number(m.rdev())).unwrap_or_default()
}

fn number(device: u64) -> String {
    format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device))
}

/// Says of the volumes which are mounted at `root` and below it.
fn mark_mounts(volumes: &mut [Volume], root: &Path) {
    for mount in mounts() {
        let Ok(below) = Path::new(OsStr::from_bytes(&mount.place)).strip_prefix(root) else { continue };
        let origin = origin(&mount);
        for volume in volumes.iter_mut().filter(|volume| volume.mounted_on.is_none()) {
            let node = volume.device.as_ref().and_then(|node| fs::metadata(node).ok());
            if node.is_some_and(|node| number(node.rdev()) == origin) {
                volume.mounted_on = Some(Path::new("/").join(below));
            }
        }
    }
}

/// The disks, or images, that the file system of a mounted root lies on, and the devices made of them.
fn disks_below(root: &Root) -> Result<Vec<PathBuf>, Lack> {
    let unread = |error: crate::ReadError| Lack::Unread(error.to_string());
    if !root.is_mount_point().map_err(unread)? {
        return Err(Lack::None("it is a directory and has no disks: nothing is mounted on it".into()));
    }
    if matches!(fs::metadata("/proc/self/mountinfo"), Err(error) if error.kind() == io::ErrorKind::NotFound) {
        return Err(Lack::None("/proc is not mounted here: a chroot, or a container".into()));
    }
    let id = sys::mount_id(root.as_dir());
    let mount = mounts().into_iter().find(|mount| Some(mount.id) == id);
    let mount = mount.ok_or_else(|| Lack::Unread("the mount it belongs to is undetermined".into()))?;
    // The uppermost directory of a subvolume has the number 256 (BTRFS_FIRST_FREE_OBJECTID).
    let is_subvolume = || mount.fstype == "btrfs" && root.stat("/").is_ok_and(|found| found.ino == 256);
    if mount.root != "/" && !is_subvolume() {
        let why = format!("it is a directory and has no disks: {} of another file system is mounted on it", mount.root);
        return Err(Lack::None(why));
    }
    let sys = PathBuf::from(format!("/sys/dev/block/{}", origin(&mount)));
    let device = fs::canonicalize(&sys)
        .ok()
        .and_then(|dir| Some(dir.file_name()?.to_str()?.to_owned()))
        .ok_or_else(|| Lack::None(format!("it is on {}, which is not a disk of this machine", mount.source)))?;
    let mut whole = BTreeSet::new();
    descend(&device, &mut whole, 0);
    let mut paths = Vec::new();
    for name in &whole {
        let image = attribute(name, "loop/backing_file").map(PathBuf::from);
        paths.push(image.filter(|image| image.is_file()).unwrap_or_else(|| node(name)));
    }
    // What else is made of these disks, other logical volumes first of all.
    for name in names("/sys/block").unwrap_or_default() {
        let mut below = BTreeSet::new();
        descend(&name, &mut below, 0);
        if !whole.contains(&name) && is_disk(&name) && below.iter().any(|disk| whole.contains(disk)) {
            paths.push(node(&name));
        }
    }
    paths.dedup();
    Ok(paths)
}

/// The whole disks that a device is made of.
fn descend(name: &str, whole: &mut BTreeSet<String>, depth: u32) {
    let dir = PathBuf::from(format!("/sys/class/block/{name}"));
    let slaves = names(&format!("/sys/class/block/{name}/slaves")).unwrap_or_default();
    if depth < 16 && !slaves.is_empty() {
        for slave in slaves {
            descend(&slave, whole, depth + 1);
        }
    } else if dir.join("partition").exists() {
        let parent = fs::canonicalize(&dir).ok().and_then(|dir| Some(dir.parent()?.file_name()?.to_str()?.to_owned()));
        whole.extend(parent);
    } else {
        whole.insert(name.to_owned());
    }
}

/// What udev keeps of every block device, for users who may not read the devices themselves.
fn by_udev(disks: &[String]) -> Option<Inventory> {
    let mut volumes = Vec::new();
    for disk in disks.iter().filter(|disk| is_disk(disk)) {
        let below = names(&format!("/sys/class/block/{disk}")).unwrap_or_default();
        let parts = below.iter().filter(|part| attribute(part, "partition").is_some());
        for name in std::iter::once(disk).chain(parts) {
            let record = fs::read_to_string(format!("/run/udev/data/b{}", attribute(name, "dev")?)).ok()?;
            volumes.extend(of_record(name, &record));
        }
    }
    if volumes.is_empty() {
        return None;
    }
    mark_mounts(&mut volumes, Path::new("/"));
    Some(Inventory { disks: Vec::new(), volumes: Ok(volumes), opaque: Vec::new() })
}

fn no_permission(node: &Path) -> String {
    format!("no permission to read {}", node.display())
}

/// A volume, from its record in the database of udev; `None` for a disk that only holds partitions.
fn of_record(name: &str, record: &str) -> Option<Volume> {
    let property = |key: &str| {
        let mut lines = record.lines().filter_map(|line| line.strip_prefix("E:"));
        lines.find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).map(str::to_owned)
    };
    let partition = property("ID_PART_ENTRY_NUMBER").and_then(|number| number.parse().ok());
    if partition.is_none() && property("ID_FS_TYPE").is_none() {
        return None;
    }
    let bytes = |key| attribute(name, key).and_then(|sectors| sectors.parse::<u64>().ok()).unwrap_or(0) * 512;
    Some(Volume {
        name: node(name).display().to_string(),
        device: Some(attribute(name, "dm/name").map_or(node(name), |mapped| Path::new("/dev/mapper").join(mapped))),
        fstype: property("ID_FS_TYPE").unwrap_or_default(),
        uuid: property("ID_FS_UUID"),
        label: property("ID_FS_LABEL"),
        partuuid: property("ID_PART_ENTRY_UUID"),
        partlabel: property("ID_PART_ENTRY_NAME"),
        parttype: property("ID_PART_ENTRY_TYPE"),
        partition,
        table: match property("ID_PART_ENTRY_SCHEME").as_deref() {
            Some("gpt") => Some(Table::Gpt),
            Some("dos") => Some(Table::Mbr),
            _ => None,
        },
        start: bytes("start"),
        size: bytes("size"),
        lv: property("DM_VG_NAME").zip(property("DM_LV_NAME")),
        ..Volume::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_of_udev_is_understood() {
        let record = "S:disk/by-uuid/aaaa\nI:123\nE:ID_FS_TYPE=ext4\nE:ID_FS_UUID=aaaa\nE:ID_PART_ENTRY_NUMBER=2\n\
                      E:ID_PART_ENTRY_SCHEME=gpt\nE:ID_PART_ENTRY_UUID=bbbb\nE:ID_FS_UUID_ENC=x\n";
        let volume = of_record("vda2", record).unwrap();
        assert_eq!((volume.fstype.as_str(), volume.uuid.as_deref()), ("ext4", Some("aaaa")));
        assert_eq!((volume.partition, volume.table), (Some(2), Some(Table::Gpt)));
        assert_eq!(volume.name, "/dev/vda2");
        assert!(of_record("vda", "E:ID_PART_TABLE_TYPE=gpt\n").is_none());
    }

    #[test]
    fn names_of_the_device_mapper_are_taken_apart() {
        assert_eq!(split_mapped("vg-root"), Some(("vg".into(), "root".into())));
        assert_eq!(split_mapped("vg--01-lv--root"), Some(("vg-01".into(), "lv-root".into())));
        assert_eq!(split_mapped("luks"), None);
    }

    #[test]
    fn the_root_of_this_machine_is_found_or_the_reason_told() {
        let Inventory { disks, volumes, .. } = host();
        match volumes {
            Ok(volumes) => {
                assert!(volumes.iter().all(|volume| volume.disk < disks.len() || disks.is_empty()));
                assert!(volumes.iter().all(|volume| volume.device.as_ref().is_none_or(|node| node.exists())));
            }
            Err(Lack::None(why) | Lack::Unread(why)) => assert!(why.contains("/dev/"), "{why}"),
        }
    }
}
