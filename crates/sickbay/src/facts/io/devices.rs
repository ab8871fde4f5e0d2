//! Which block device is a part of which, or lies upon which: by `/sys/class/block`, and by names where only those were
//! recorded.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::facts::glimpse::is_recorded;
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::sample::Window;

/// So many devices are looked at.
const MOST: usize = 4096;

/// The block devices.
#[derive(Debug, Default)]
pub struct Devices {
    /// A partition → its disk.
    disk_of: BTreeMap<String, String>,
    /// A device → those beneath it.
    beneath: BTreeMap<String, Vec<String>>,
    /// What it is called beside its name: of LVM and dm, the file of a loop device.
    labels: BTreeMap<String, String>,
    /// "254:1" → its name.
    numbers: BTreeMap<(u32, u32), String>,
}

impl Fact for Devices {
    fn gather(facts: &Facts) -> Result<Devices, Skip> {
        let mut devices = Devices::default();
        if is_recorded(facts) {
            // Numbers and names are all that is recorded.
            let window = facts.get::<Window>()?;
            let disks = window.samples.iter().rev().find_map(|sample| sample.disks.as_ref()).into_iter().flatten();
            devices.numbers = disks
                .map(|disk| (disk.device, disk.name.to_string()))
                .filter(|(number, _)| *number != (0, 0))
                .collect();
            return Ok(devices);
        }
        let root = facts.root();
        let base = Path::new("/sys/class/block");
        let text = |path: &Path| {
            let bytes = root.read_up_to(path, 4096).ok()?;
            Some(String::from_utf8_lossy(&bytes).trim().to_owned()).filter(|text| !text.is_empty())
        };
        for entry in root.read_dir(base).unwrap_or_default().into_iter().take(MOST) {
            let Some(name) = entry.name.to_str().map(str::to_owned) else { continue };
            let dir = base.join(&name);
            if let Some(number) = text(&dir.join("dev")).as_deref().and_then(number) {
                devices.numbers.insert(number, name.clone());
            }
            if root.stat(dir.join("partition")).is_ok() {
                // The link leads to …/block/vda/vda1.
                let above = root.read_link(&dir).ok().and_then(|link| {
                    let above = link.parent()?.file_name()?.to_str()?;
                    Some(above.to_owned())
                });
                devices.disk_of.extend(above.map(|above| (name.clone(), above)));
            }
            let slaves = root.read_dir(dir.join("slaves")).unwrap_or_default();
            let slaves: Vec<String> = slaves.into_iter().filter_map(|entry| entry.name.into_string().ok()).collect();
            if !slaves.is_empty() {
                devices.beneath.insert(name.clone(), slaves);
            }
            let label = text(&dir.join("dm/name")).or_else(|| text(&dir.join("loop/backing_file")));
            devices.labels.extend(label.map(|label| (name, label)));
        }
        Ok(devices)
    }
}

/// "254:1".
pub fn number(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.trim().split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

impl Devices {
    /// The disk that a partition is of, if it is one. `names` are those that are known.
    pub fn disk_of<'a>(&'a self, name: &'a str, names: &BTreeSet<&str>) -> Option<&'a str> {
        if let Some(disk) = self.disk_of.get(name) {
            return Some(disk);
        }
        let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
        if stem.is_empty() || stem == name {
            return None;
        }
        // nvme0n1p1, mmcblk0p2, md0p1: a disk whose name ends in a digit has a p in between.
        let with_p = stem.strip_suffix('p').filter(|disk| disk.ends_with(|c: char| c.is_ascii_digit()));
        [with_p, Some(stem)].into_iter().flatten().find(|disk| names.contains(disk))
    }

    /// The disks that a device lies upon in the end; itself where it is one.
    pub fn disks_of(&self, name: &str, names: &BTreeSet<&str>) -> BTreeSet<String> {
        let (mut disks, mut ahead, mut seen) = (BTreeSet::new(), vec![name.to_owned()], BTreeSet::new());
        while let Some(name) = ahead.pop() {
            if seen.len() > MOST || !seen.insert(name.clone()) {
                continue;
            }
            match (self.beneath.get(&name), self.disk_of(&name, names)) {
                (Some(below), _) => ahead.extend(below.iter().cloned()),
                (None, Some(disk)) => ahead.push(disk.to_owned()),
                (None, None) => drop(disks.insert(name)),
            }
        }
        disks
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// Whether it lies upon others, which do what it is told.
    pub fn is_upon(&self, name: &str) -> bool {
        self.beneath.contains_key(name)
    }

    /// The name of a device by its number.
    pub fn named(&self, number: (u32, u32)) -> Option<&str> {
        self.numbers.get(&number).map(String::as_str)
    }

    /// What it is called beside its name.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.get(name).map(String::as_str)
    }

    /// Devices upon that disk which are called something: "dm-0" and "vg0-data".
    pub fn upon(&self, disk: &str, names: &BTreeSet<&str>) -> Vec<(&str, &str)> {
        let is_upon = |name: &str| name != disk && self.disks_of(name, names).contains(disk);
        self.labels
            .iter()
            .filter(|(name, _)| is_upon(name))
            .map(|(name, label)| (name.as_str(), label.as_str()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_by_name() {
        let devices = Devices::default();
        let names = BTreeSet::from(["sda", "sda1", "nvme0n1", "nvme0n1p2", "dm-0", "md127", "loop0", "xvda1", "vdb"]);
        let disk = |name: &'static str| devices.disk_of(name, &names).map(str::to_owned);
        assert_eq!((disk("sda1").as_deref(), disk("nvme0n1p2").as_deref()), (Some("sda"), Some("nvme0n1")));
        // A disk; a partition whose disk is not there, as Xen has them.
        assert_eq!(
            (disk("nvme0n1"), disk("dm-0"), disk("md127"), disk("loop0"), disk("xvda1")),
            (None, None, None, None, None)
        );
    }

    #[test]
    fn a_volume_upon_two_disks() {
        let mut devices = Devices::default();
        devices.beneath.insert("dm-0".into(), vec!["md0".into()]);
        devices.beneath.insert("md0".into(), vec!["sda1".into(), "sdb1".into()]);
        // What is built in a circle has an end all the same.
        devices.beneath.insert("dm-9".into(), vec!["dm-9".into()]);
        devices.labels.insert("dm-0".into(), "vg0-data".into());
        let names = BTreeSet::from(["sda", "sdb", "sda1", "sdb1", "dm-0", "md0"]);
        assert_eq!(devices.disks_of("dm-0", &names), BTreeSet::from(["sda".to_owned(), "sdb".to_owned()]));
        assert_eq!(devices.disks_of("dm-9", &names), BTreeSet::new());
        assert_eq!(devices.upon("sdb", &names), [("dm-0", "vg0-data")]);
        assert_eq!((number("254:1\n"), number("x:1")), (Some((254, 1)), None));
    }
}
