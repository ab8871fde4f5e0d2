//! File systems that do not fit together any more.

use super::super::disk::{BTRFS, XFS};
use super::{Fault, fault};

/// The damage is done on the device itself. A cleared inode is what a write that went astray leaves; without the mark in the
/// superblock, which the kernel sets when it meets such a thing, nothing at the start would look for it.
pub(super) const DAMAGED: &[Fault] = &[
    fault(
        "ext4-superblock",
        "the root's superblock is overwritten, its copies are intact",
        r"dd if=/dev/zero of=$ROOT bs=4096 count=1 conv=notrunc status=none",
        "file-system-damaged",
    )
    .unmounted(),
    fault(
        "ext4-group-descriptors",
        "the root's group descriptors are overwritten, their copies are intact",
        r"dd if=/dev/zero of=$ROOT bs=4096 seek=1 count=1 conv=notrunc status=none",
        "file-system-damaged",
    )
    .unmounted(),
    fault(
        "ext4-directory-lost",
        "a directory's inode is cleared, and what was in it is orphaned",
        r"debugfs -w -R 'clri /usr/share/locale' $ROOT; debugfs -w -R 'ssv state 2' $ROOT",
        "file-system-damaged",
    )
    .unmounted(),
    fault(
        "ext4-pam-lost",
        "the inode of /etc/pam.d is cleared",
        r"debugfs -w -R 'clri /etc/pam.d' $ROOT; debugfs -w -R 'ssv state 2' $ROOT",
        "file-system-damaged",
    )
    .unmounted()
    .with_donor(),
    fault(
        "ext4-error-flag",
        "an error is recorded, and the number of free blocks is wrong",
        r"debugfs -w -R 'ssv free_blocks_count 1000' $ROOT; debugfs -w -R 'ssv state 2' $ROOT",
        "file-system-damaged",
    )
    .unmounted()
    .survived("the initramfs has its own e2fsck repair that"),
    fault(
        "ext4-journal-lost",
        "the inode of the journal is cleared",
        r"debugfs -w -R 'clri <8>' $ROOT",
        "file-system-damaged",
    )
    .unmounted()
    .survived("the initramfs has its own e2fsck create a new one"),
    fault(
        "ext4-data-superblock",
        "the superblock of /data is overwritten",
        r"dd if=/dev/zero of=$DATA bs=4096 count=1 conv=notrunc status=none",
        "file-system-damaged",
    )
    .unmounted(),
    fault(
        "xfs-superblock",
        "the superblock of an xfs root is overwritten",
        r"dd if=/dev/zero of=$ROOT bs=512 count=1 conv=notrunc status=none",
        "file-system-damaged",
    )
    .unmounted()
    .on(&XFS),
    fault(
        "xfs-pam-lost",
        "the block with the names in /etc/pam.d is overwritten",
        r#"inode=$(xfs_db -r -c 'path /etc/pam.d' -c inode $ROOT | sed -n 's/.*inode number is //p')
at=$(xfs_db -r -c "inode $inode" -c 'dblock 0' -c daddr $ROOT | sed -n 's/.*daddr is //p')
dd if=/dev/zero of=$ROOT bs=512 seek="$at" count=8 conv=notrunc status=none"#,
        "file-system-damaged, package-file-missing",
    )
    .unmounted()
    .on(&XFS)
    .with_donor(),
    fault(
        "btrfs-superblock",
        "the first superblock of a btrfs root is overwritten",
        r"dd if=/dev/zero of=$ROOT bs=4096 seek=16 count=1 conv=notrunc status=none",
        "file-system-damaged",
    )
    .unmounted()
    .on(&BTRFS),
];
