//! Disks and images, built here with the programs that build real ones. Needs root, loop devices and those programs.

mod support;

use std::path::Path;
use std::process::Command;

use sickbay_target::{Access, OpenError, Options, Target};
use support::{Lab, fingerprint, run};

fn read_only(path: &Path) -> Result<Target, OpenError> {
    Target::open(Some(path), &Options::default())
}

fn read_write(path: &Path) -> Result<Target, OpenError> {
    Target::open(Some(path), &Options { access: Access::ReadWrite, with: Vec::new(), ..Options::default() })
}

fn refusal(path: &Path) -> String {
    match read_only(path) {
        Ok(target) => panic!("{} was opened: {target:?}", path.display()),
        Err(error) => error.to_string(),
    }
}

#[test]
fn every_file_system_is_found_read_and_left_as_it_was() {
    let lab = Lab::new();
    for (fstype, uuid) in [("ext4", true), ("xfs", true), ("btrfs", true), ("ext2", true), ("ext3", true)] {
        let disk = lab.disk("disk.raw", &[("root", fstype)]);
        let before = fingerprint(&disk);
        let target = read_only(&disk).unwrap_or_else(|e| panic!("{fstype}: {e}"));
        assert_eq!(target.word(), "disk");
        assert_eq!(target.root().read("/etc/hostname").unwrap(), b"patient\n", "{fstype}");
        let volumes = target.volumes.clone().unwrap();
        let [volume] = volumes.as_slice() else { panic!("{volumes:?}") };
        assert_eq!((volume.name.as_str(), volume.fstype.as_str()), ("partition 1", fstype));
        assert_eq!(volume.uuid.is_some(), uuid);
        assert_eq!(volume.mounted_on.as_deref(), Some(Path::new("/")));
        assert!(target.notes().is_empty(), "{:?}", target.notes());
        target.close().unwrap();
        assert_eq!(fingerprint(&disk), before, "{fstype} was written to");
        lab.nothing_is_left(&disk);
    }
}

#[test]
fn what_is_written_is_there_and_nothing_stays_attached() {
    let lab = Lab::new();
    for fstype in ["ext4", "xfs", "btrfs"] {
        let disk = lab.disk("disk.raw", &[("root", fstype)]);
        let target = read_write(&disk).unwrap();
        target.writer().unwrap().write_new(Path::new("/etc/new"), b"written", 0o600).unwrap();
        assert!(matches!(read_write(&disk), Err(OpenError::InUse { .. })), "twice at once");
        target.close().unwrap();
        lab.nothing_is_left(&disk);
        let again = read_only(&disk).unwrap();
        assert_eq!(again.root().read("/etc/new").unwrap(), b"written", "{fstype}");
        assert!(again.writer().is_none());
        // Dropped, not closed.
        drop(again);
        lab.nothing_is_left(&disk);
    }
}

#[test]
fn a_disk_without_partitions_and_one_partition_alone() {
    let lab = Lab::new();
    let plain = lab.file_system("plain.raw", "root", "ext4");
    let target = read_only(&plain).unwrap();
    assert_eq!(target.volumes.clone().unwrap()[0].name, "whole disk");
    assert_eq!(target.disks[0].table, None);
    assert!(target.root().exists("/etc/fstab").unwrap());
}

#[test]
fn what_is_no_disk_is_named() {
    let lab = Lab::new();
    let text = lab.path("notes.txt");
    std::fs::write(&text, "not a disk\n".repeat(1000)).unwrap();
    assert_eq!(
        refusal(&text),
        format!("{} is a text file: expected a directory, a disk, a partition, a disk image or a log", text.display())
    );
    assert!(refusal(Path::new("/bin/ls")).contains("is a program or library (ELF)"));
    assert!(refusal(Path::new("/dev/null")).contains("is a character device"));
    assert_eq!(refusal(Path::new("/no/such/disk")), "/no/such/disk does not exist");
    let empty = lab.path("empty");
    std::fs::write(&empty, "").unwrap();
    assert!(refusal(&empty).contains("is empty"));
    let fifo = lab.path("fifo");
    run(Command::new("mkfifo").arg(&fifo));
    assert!(refusal(&fifo).contains("is a FIFO"));
    let blank = lab.path("blank");
    std::fs::File::create(&blank).unwrap().set_len(64 << 20).unwrap();
    assert!(refusal(&blank).contains("is blank"));
}
