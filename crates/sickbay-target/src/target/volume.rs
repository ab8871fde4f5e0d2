//! What can be mounted or swapped on.

use std::path::PathBuf;

use sickbay_formats::superblock::condition::Condition;

use crate::Table;

/// Something that can be mounted or swapped on: a partition, a logical volume, or a disk without partitions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Volume {
    /// "partition 1", "LV vg/root", "whole disk"; on a host "/dev/vda1".
    pub name: String,
    /// Its node on this machine; `None` where it is only described.
    pub device: Option<PathBuf>,
    /// What is on it, as blkid(8) names it ("ext4", "xfs", "swap", "LVM2_member", "crypto_LUKS"); "" when nothing known is.
    pub fstype: String,
    /// The UUID of what is on it.
    pub uuid: Option<String>,
    /// The label of what is on it.
    pub label: Option<String>,
    /// The partition's own UUID, as in fstab's `PARTUUID=`.
    pub partuuid: Option<String>,
    /// The partition's own name (GPT), as in fstab's `PARTLABEL=`.
    pub partlabel: Option<String>,
    /// The type that the partition table gives it, as blkid(8) writes it: a byte ("0x83") or a GUID.
    pub parttype: Option<String>,
    /// The number of the partition, from 1 on; logical partitions of an MBR from 5 on.
    pub partition: Option<u32>,
    /// The kind of the table that the partition is described in.
    pub table: Option<Table>,
    /// Where it begins on its disk, in bytes.
    pub start: u64,
    /// Its size in bytes.
    pub size: u64,
    /// For a logical volume: its volume group and its own name.
    pub lv: Option<(String, String)>,
    /// Which of [`Target::disks`](super::Target::disks) holds it, or holds its beginning.
    pub disk: usize,
    /// Where it is mounted in the target, for example "/boot".
    pub mounted_on: Option<PathBuf>,
    /// Where fstab mounts it, although it has nothing of what the system keeps there and would hide that: it was not mounted.
    pub hides: Option<PathBuf>,
    /// Where it was last mounted for writing, by its own account; only ext2, ext3 and ext4 keep that.
    pub last_mounted_on: Option<PathBuf>,
    /// What the superblock of its file system says of its condition, when the target was opened.
    pub condition: Option<Condition>,
    /// The subvolume of a btrfs in which the target's root is, as `subvol=` names it, where no other could be meant.
    pub subvolume: Option<String>,
}
