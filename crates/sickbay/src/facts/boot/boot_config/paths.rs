//! Devices and paths as GRUB names them, and what they are on the target.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bstr::{BStr, BString, ByteSlice};
use sickbay_formats::fstab::Source;
use sickbay_target::{Table, Volume};

use crate::facts::Facts;
use crate::facts::boot::devices::{Devices, Lookup};
use crate::facts::boot::esp::{Esps, PLACE};
use crate::facts::boot::fstab::Fstab;
use crate::model::outcome::Skip;

/// The device of which nothing is known but that it is there.
pub const UNTOLD: &str = "untold";

/// Translates between GRUB's names and the target's.
#[derive(Debug)]
pub struct Paths {
    devices: Option<Arc<Devices>>,
    /// Mount points below which a btrfs is seen by a subvolume, with its path from the top.
    subvolumes: Vec<(PathBuf, String)>,
    /// The EFI system partition that belongs at [`PLACE`] and is not mounted.
    esp: Option<Volume>,
}

impl Paths {
    /// Of this target.
    pub fn new(facts: &Facts) -> Result<Paths, Skip> {
        let devices = facts.get::<Devices>().ok();
        let mut subvolumes = Vec::new();
        if let Ok(fstab) = facts.get::<Fstab>() {
            for entry in fstab.sound().filter(|entry| entry.fstype() == "btrfs") {
                if let Some(name) = entry.options().find_map(|option| option.strip_prefix(b"subvol=")) {
                    let name = name.to_str_lossy();
                    let place = crate::facts::boot::fstab::mount_point(entry).to_owned();
                    // Where the root is seen to be counts for more than what is written.
                    let root = devices.as_ref().and_then(|devices| devices.root()?.subvolume.clone());
                    let name = root.filter(|_| place == Path::new("/")).unwrap_or_else(|| name.into_owned());
                    subvolumes.push((place, format!("/{}", name.trim_matches('/'))));
                }
            }
        }
        let esps = facts.get::<Esps>().ok();
        let esp = esps.as_ref().and_then(|esps| esps.unmounted()).map(|esp| esp.volume.clone());
        Ok(Paths { devices, subvolumes, esp })
    }

    /// Where the files of a volume are on the target.
    pub fn place<'a>(&self, volume: &'a Volume) -> Option<&'a Path> {
        let belongs = || (self.esp.as_ref() == Some(volume)).then_some(Path::new(PLACE));
        volume.mounted_on.as_deref().or_else(belongs)
    }

    /// What is known of the target's volumes.
    pub fn devices(&self) -> Option<&Devices> {
        self.devices.as_deref()
    }

    /// The volume that holds `path`, and the path on it; `None` where no volume is known.
    pub fn volume_of(&self, path: &Path) -> Option<(&Volume, &Path)> {
        let devices = self.devices.as_deref()?;
        let volumes = devices.volumes.iter().filter_map(|volume| Some((volume, self.place(volume)?)));
        let (volume, place) =
            volumes.filter(|(_, place)| path.starts_with(place)).max_by_key(|(_, place)| place.components().count())?;
        Some((volume, place))
    }

    /// The device and the path by which GRUB finds `path`, which must be absolute.
    pub fn to_grub(&self, path: &Path) -> (BString, String) {
        let Some((volume, place)) = self.volume_of(path) else {
            return (UNTOLD.into(), path.display().to_string());
        };
        let below = path.strip_prefix(place).unwrap_or(path);
        let subvolume = self.subvolume(volume, place).unwrap_or_default();
        (self.name(volume), format!("{subvolume}/{}", below.display()))
    }

    /// The btrfs subvolume that is mounted at `place`.
    pub fn subvolume(&self, volume: &Volume, place: &Path) -> Option<&str> {
        let named = self.subvolumes.iter().find(|(known, _)| known == place).map(|(_, name)| name.as_str());
        named.filter(|_| volume.fstype == "btrfs")
    }

    /// GRUB's name of a volume.
    pub fn name(&self, volume: &Volume) -> BString {
        if let Some((vg, lv)) = &volume.lv {
            return format!("lvm/{}-{}", vg.replace('-', "--"), lv.replace('-', "--")).into();
        }
        let disk = volume.disk;
        match (volume.partition, volume.table) {
            (Some(number), Some(Table::Gpt)) => format!("hd{disk},gpt{number}").into(),
            (Some(number), _) => format!("hd{disk},msdos{number}").into(),
            (None, _) => format!("hd{disk}").into(),
        }
    }

    /// The volume of that name, `hd0,msdos1` or `hd0,1`.
    pub fn find(&self, name: &BStr) -> Option<&Volume> {
        let volumes = &self.devices.as_deref()?.volumes;
        if let Some(volume) = volumes.iter().find(|volume| self.name(volume) == name) {
            return Some(volume);
        }
        let (disk, partition) = name.to_str().ok()?.strip_prefix("hd")?.split_once(',')?;
        let disk: usize = disk.parse().ok()?;
        let partition: u32 = partition.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().ok()?;
        volumes.iter().find(|volume| volume.disk == disk && volume.partition == Some(partition))
    }

    /// Where on the target `path` of GRUB's `device` is; `None` when the device is not known or not mounted, so that
    /// it cannot be told what is there.
    pub fn to_target(&self, facts: &Facts, device: &BStr, path: &BStr) -> Option<PathBuf> {
        let path = path.to_str().ok()?;
        if !path.starts_with('/') {
            return None;
        }
        if self.devices.as_deref().is_none_or(|devices| devices.root().is_none()) {
            // A root on no volume of its own: all there is is below it, /boot seen as it is or as a volume.
            let whole = PathBuf::from(path);
            let below = Path::new("/boot").join(path.trim_start_matches('/'));
            return Some(if facts.root().metadata(&whole).is_err() && facts.root().metadata(&below).is_ok() {
                below
            } else {
                whole
            });
        }
        let volume = self.find(device)?;
        let place = self.place(volume)?;
        let subvolume = self.subvolume(volume, place).unwrap_or_default();
        let below = match path.strip_prefix(subvolume) {
            Some(rest) if rest.starts_with('/') => rest,
            _ => path,
        };
        Some(place.join(below.trim_start_matches('/')))
    }

    /// GRUB's name of the device that a UUID or a label leads to: `None` when there is none.
    pub fn search(&self, facts: &Facts, source: &Source) -> Option<BString> {
        let Some(devices) = self.devices.as_deref() else { return Some(UNTOLD.into()) };
        match devices.find(facts, source) {
            Lookup::Volume(volume) => Some(self.name(volume)),
            Lookup::Several(volumes) => volumes.first().map(|volume| self.name(volume)),
            Lookup::Missing => None,
            Lookup::Device | Lookup::Untold(_) => Some(UNTOLD.into()),
        }
    }
}
