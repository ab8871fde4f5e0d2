//! The block devices of the target, and what a name of one means there.

use std::path::Path;

use sickbay_formats::fstab::Source;
use sickbay_target::Volume;

use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::model::subject::Subject;
use crate::model::text::Text;
use crate::tr;

/// Everything on the target that can be mounted or swapped on.
#[derive(Debug)]
pub struct Devices {
    /// On all of the target's disks.
    pub volumes: Vec<Volume>,
    /// What could not be looked into and may hold more.
    opaque: Vec<String>,
    /// Device nodes of the running machine can be asked for.
    is_host: bool,
    /// They are what a support tool wrote down, with the names that the running kernel gave them.
    is_report: bool,
}

/// What a name leads to.
#[derive(Clone, Debug)]
pub enum Lookup<'a> {
    /// One volume.
    Volume(&'a Volume),
    /// Several volumes of which any may be taken.
    Several(Vec<&'a Volume>),
    /// A device that is none of the volumes: a RAID array, a loop device, a CD drive.
    Device,
    /// Nothing has that name.
    Missing,
    /// It could not be told.
    Untold(Text),
}

impl Fact for Devices {
    fn gather(facts: &Facts) -> Result<Devices, Skip> {
        let target = facts.target();
        let volumes = target.volumes.clone()?;
        Ok(Devices {
            volumes,
            opaque: target.opaque.clone(),
            is_host: facts.runs(),
            is_report: target.report().is_ok(),
        })
    }
}

impl Devices {
    /// The volume that the root file system is on; `None` for a container or a plain directory.
    pub fn root(&self) -> Option<&Volume> {
        self.mounted_on(Path::new("/"))
    }

    /// The volume that is mounted there.
    pub fn mounted_on(&self, place: &Path) -> Option<&Volume> {
        self.volumes.iter().find(|volume| volume.mounted_on.as_deref() == Some(place))
    }

    /// Looks a name up on the target's own disks. `facts` is asked for device nodes when the target is this host.
    pub fn find(&self, facts: &Facts, source: &Source) -> Lookup<'_> {
        let by = |is: &dyn Fn(&Volume) -> Option<&String>, wanted: &str| {
            // Serial numbers and UUIDs are looked for in either case, as mount(8) does.
            self.some_of(
                self.volumes.iter().filter(|volume| is(volume).is_some_and(|v| v.eq_ignore_ascii_case(wanted))),
            )
        };
        let found = match source {
            Source::Uuid(uuid) => by(&|volume| volume.uuid.as_ref(), uuid),
            Source::Label(label) => {
                self.some_of(self.volumes.iter().filter(|volume| volume.label.as_ref() == Some(label)))
            }
            Source::PartUuid(uuid) => by(&|volume| volume.partuuid.as_ref(), uuid),
            Source::PartLabel(label) => {
                self.some_of(self.volumes.iter().filter(|volume| volume.partlabel.as_ref() == Some(label)))
            }
            Source::Device(path) => return self.device(facts, path),
            Source::NoDevice => return Lookup::Device,
        };
        match found {
            Lookup::Missing if self.is_host && self.has_link(facts, source) => Lookup::Device,
            Lookup::Missing => self.unless_opaque(),
            found => found,
        }
    }

    fn has_link(&self, facts: &Facts, source: &Source) -> bool {
        let (dir, name) = match source {
            Source::Uuid(name) => ("uuid", name),
            Source::Label(name) => ("label", name),
            Source::PartUuid(name) => ("partuuid", name),
            Source::PartLabel(name) => ("partlabel", name),
            _ => return false,
        };
        facts.root().exists(format!("/dev/disk/by-{dir}/{name}")).unwrap_or(false)
    }

    fn unless_opaque(&self) -> Lookup<'_> {
        match self.opaque.first() {
            Some(why) => Lookup::Untold(Text::verbatim(why)),
            None => Lookup::Missing,
        }
    }

    fn some_of<'a>(&'a self, found: impl Iterator<Item = &'a Volume>) -> Lookup<'a> {
        let found: Vec<&Volume> = found.collect();
        match found.as_slice() {
            [] => Lookup::Missing,
            [one] => Lookup::Volume(one),
            // One btrfs on several devices has one UUID; so have the two halves of a mirror and what lies below it.
            [first, ..] if found.iter().all(|volume| volume.fstype == "btrfs") => Lookup::Volume(first),
            [first, ..]
                if found
                    .iter()
                    .any(|volume| volume.fstype == "linux_raid_member" || volume.name.starts_with("mirror on ")) =>
            {
                Lookup::Volume(found.iter().find(|v| v.mounted_on.is_some()).unwrap_or(first))
            }
            _ => Lookup::Several(found),
        }
    }

    fn device(&self, facts: &Facts, path: &str) -> Lookup<'_> {
        if let Some(volume) = self.volumes.iter().find(|volume| volume.device.as_deref() == Some(Path::new(path)))
            && (self.is_host || self.is_report)
        {
            return Lookup::Volume(volume);
        }
        let is_this_lv = |volume: &&Volume| {
            volume.lv.as_ref().is_some_and(|(vg, lv)| {
                let escaped = |name: &str| name.replace('-', "--");
                path == format!("/dev/{vg}/{lv}") || path == format!("/dev/mapper/{}-{}", escaped(vg), escaped(lv))
            })
        };
        if let Some(volume) = self.volumes.iter().find(is_this_lv) {
            return Lookup::Volume(volume);
        }
        if self.is_host {
            return match facts.root().exists(path) {
                Ok(true) => Lookup::Device,
                Ok(false) => Lookup::Missing,
                Err(error) => Lookup::Untold(Text::verbatim(error.to_string())),
            };
        }
        let name = path.strip_prefix("/dev/").unwrap_or(path);
        if self.is_report {
            // Only partitions and what the device mapper makes are sure to be listed: not a drive without a disk in it, or a link.
            let is_listed = kernel_name(name).is_some_and(|(_, partition)| partition.is_some())
                || name.strip_prefix("mapper/").is_some_and(|name| !in_crypttab(facts, name));
            return if is_listed { self.unless_opaque() } else { Lookup::Device };
        }
        if let Some((disk, partition)) = kernel_name(name) {
            let on_disk = |volume: &&Volume| volume.disk == disk && volume.partition == partition;
            return match self.volumes.iter().find(on_disk) {
                Some(volume) => Lookup::Volume(volume),
                // The first disk is the one that was given; which the others are, only the running kernel says.
                None if disk == 0 && partition.is_some() => self.unless_opaque(),
                None => untold(path),
            };
        }
        match name.strip_prefix("mapper/") {
            Some(name) if is_of_multipath(facts, name) => untold(path),
            Some(name) if !in_crypttab(facts, name) => self.unless_opaque(),
            _ => untold(path),
        }
    }
}

fn untold(path: &str) -> Lookup<'static> {
    Lookup::Untold(tr!(
        "whether {device} exists shows only on the running system: give all of its disks with --with, or name it by UUID",
        device = path
    ))
}

fn in_crypttab(facts: &Facts, name: &str) -> bool {
    let Ok(Some(file)) = facts.file("/etc/crypttab") else { return false };
    let wanted = name.as_bytes();
    file.bytes.split(|&byte| byte == b'\n').any(|line| {
        let first = line.split(|byte| byte.is_ascii_whitespace()).find(|word| !word.is_empty());
        first == Some(wanted)
    })
}

/// Whether multipathd makes the name: one of its own (`mpatha`), an alias of multipath.conf, or a WWID where it is set up; with a
/// partition behind it or not.
fn is_of_multipath(facts: &Facts, name: &str) -> bool {
    let digits = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let disk = digits
        .strip_suffix("-part")
        .or_else(|| digits.strip_suffix('p').filter(|disk| disk.ends_with(|c: char| c.is_ascii_digit())));
    let disks = [Some(name), Some(digits), disk];
    let is_own = |disk: &str| {
        let letters = disk.strip_prefix("mpath").unwrap_or_default();
        !letters.is_empty() && letters.bytes().all(|byte| byte.is_ascii_lowercase())
    };
    if disks.iter().flatten().any(|disk| is_own(disk)) {
        return true;
    }
    ["/etc/multipath.conf", "/etc/multipath/bindings", "/etc/multipath/wwids"].iter().any(|path| {
        let Ok(Some(file)) = facts.file(path) else { return false };
        file.bytes
            .split(|byte| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'/'))
            .any(|word| disks.iter().flatten().any(|disk| word == disk.as_bytes()))
    })
}

/// The number of the disk (from 0) and of the partition in a name that the kernel gives: `vda1`, `sdb`, `nvme0n1p2`.
pub fn kernel_name(name: &str) -> Option<(usize, Option<u32>)> {
    let letters = ["sd", "vd", "xvd", "hd"].iter().find_map(|prefix| name.strip_prefix(prefix));
    if let Some(rest) = letters {
        let split = rest.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(rest.len());
        let (disk, partition) = rest.split_at(split);
        if disk.is_empty() || disk.len() > 3 || !partition.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        // a to z, then aa: bijective numbers in base 26.
        let index = disk.bytes().fold(0, |sum, byte| sum * 26 + usize::from(byte - b'a') + 1) - 1;
        return Some((index, partition.parse().ok()));
    }
    let rest = name.strip_prefix("nvme").or_else(|| name.strip_prefix("mmcblk"))?;
    let (disk, rest) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
    let partition = match rest.rsplit_once('p') {
        Some((_, number)) => Some(number.parse().ok()?),
        None => None,
    };
    Some((disk.parse().ok()?, partition))
}

/// How a volume is best named in a file: by UUID, else by the UUID of its partition.
pub fn tag(volume: &Volume) -> Option<String> {
    match (&volume.uuid, &volume.partuuid) {
        (Some(uuid), _) => Some(format!("UUID={uuid}")),
        (None, Some(uuid)) => Some(format!("PARTUUID={uuid}")),
        (None, None) => None,
    }
}

/// The names under which a log may tell of a volume: its node, and what a kernel may have called it.
pub fn volume_names(volume: &Volume) -> Vec<Subject> {
    let mut names: Vec<String> = volume.device.iter().map(|node| node.display().to_string()).collect();
    if let (Some(number), Ok(disk)) = (volume.partition, u8::try_from(volume.disk)) {
        if let Some(letter) = b'a'.checked_add(disk).filter(u8::is_ascii_lowercase).map(char::from) {
            names.extend(["vd", "sd", "xvd", "hd"].map(|kind| format!("/dev/{kind}{letter}{number}")));
        }
        names.push(format!("/dev/nvme{disk}n1p{number}"));
    }
    names.into_iter().map(Subject::Device).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_kernel() {
        assert_eq!(kernel_name("vda1"), Some((0, Some(1))));
        assert_eq!(kernel_name("sdb"), Some((1, None)));
        assert_eq!(kernel_name("sdaa3"), Some((26, Some(3))));
        assert_eq!(kernel_name("nvme0n1p2"), Some((0, Some(2))));
        assert_eq!(kernel_name("nvme1n1"), Some((1, None)));
        assert_eq!(kernel_name("mmcblk0p1"), Some((0, Some(1))));
        assert_eq!(kernel_name("sr0"), None);
        assert_eq!(kernel_name("vdax1y"), None);
        assert_eq!(kernel_name("md0"), None);
    }
}
