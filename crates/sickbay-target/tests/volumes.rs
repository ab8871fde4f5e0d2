//! What lies on several partitions, in volume groups, behind a key or in ruins. Needs root, loop devices, lvm2 and
//! cryptsetup.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use sickbay_target::{Access, OpenError, Options, Target, Verdict};
use support::{Lab, copy_into, fingerprint, run};

fn open(path: &Path, access: Access) -> Result<Target, OpenError> {
    Target::open(Some(path), &Options { access, with: Vec::new(), ..Options::default() })
}

fn uuid(image: &Path) -> String {
    run(Command::new("blkid").args(["-p", "-s", "UUID", "-o", "value"]).arg(image)).trim().to_owned()
}

#[test]
fn boot_and_usr_of_their_own_are_joined() {
    let lab = Lab::new();
    for label in ["dos", "gpt"] {
        let (boot, usr) = (lab.file_system("boot.part", "boot", "ext4"), lab.file_system("usr.part", "usr", "ext4"));
        let fstab = format!("UUID={} /boot ext4 defaults 0 2\nUUID={} /usr ext4 ro 0 2\n", uuid(&boot), uuid(&usr));
        std::fs::write(lab.tree("root").join("etc/fstab"), fstab).unwrap();
        let root = lab.file_system("root.part", "root", "xfs");
        let disk = lab.disk_of("disk.raw", label, &[boot, root, usr]);
        let before = fingerprint(&disk);
        let target = open(&disk, Access::ReadOnly).unwrap();
        assert!(target.root().exists("/boot/vmlinuz-6.1.0-1-amd64").unwrap(), "{label}: {:?}", target.notes());
        assert!(target.root().exists("/usr/bin/sh").unwrap());
        assert_eq!(target.root().read("/etc/hostname").unwrap(), b"patient\n");
        target.close().unwrap();
        assert_eq!(fingerprint(&disk), before);
        // Without a line of fstab they are known by what is on them.
        std::fs::write(lab.tree("root").join("etc/fstab"), "").unwrap();
        let (boot, usr) = (lab.path("boot.part"), lab.path("usr.part"));
        let root = lab.file_system("root.part", "root", "xfs");
        let disk = lab.disk_of("disk.raw", label, &[boot, root, usr]);
        let target = open(&disk, Access::ReadWrite).unwrap();
        assert!(target.root().exists("/boot/grub/grub.cfg").unwrap(), "{label}: {:?}", target.notes());
        assert!(target.root().exists("/usr/bin/sh").unwrap());
        assert!(
            target.notes().iter().any(|note| note.contains("/boot because of its content")),
            "{:?}",
            target.notes()
        );
        target.writer().unwrap().write_new(Path::new("/boot/new"), b"x", 0o600).unwrap();
        target.close().unwrap();
        lab.nothing_is_left(&disk);
        assert!(open(&disk, Access::ReadOnly).unwrap().root().exists("/boot/new").unwrap());
    }
}

/// A disk that is one physical volume, with a logical volume `root` of these runs of 4 MiB extents; the file system is
/// laid into the first run. This machine's kernel needs no device mapper: lvm2 writes the metadata, the rest is copied.
fn volume_group(lab: &Lab, runs: &[(u64, u64)]) -> PathBuf {
    let image = lab.file_system("lv", "root", "ext4");
    let disk = lab.path("lvm.raw");
    std::fs::File::create(&disk).unwrap().set_len(96 << 20).unwrap();
    let node = run(Command::new("losetup").args(["--find", "--show"]).arg(&disk)).trim().to_owned();
    // Of this machine's disks lvm2 may see this one alone.
    let config = format!(
        "devices {{ filter=[\"a|^{node}$|\",\"r|.*|\"] scan=[\"/dev\"] }} activation {{ udev_sync=0 udev_rules=0 }}"
    );
    let lvm = |arguments: &[&str]| {
        run(Command::new("lvm").args(arguments).args(["--config", &config]).env("LVM_SUPPRESS_FD_WARNINGS", "1"))
    };
    lvm(&["pvcreate", "--quiet", &node]);
    lvm(&["vgcreate", "--quiet", "sickbay_test", &node]);
    let backup = lab.path("vg");
    lvm(&["vgcfgbackup", "--quiet", "--file", backup.to_str().unwrap(), "sickbay_test"]);
    let text = std::fs::read_to_string(&backup).unwrap();
    let mut at = 0;
    let mut segments = String::new();
    for (n, (first, count)) in runs.iter().enumerate() {
        segments += &format!(
            "segment{} {{\nstart_extent = {at}\nextent_count = {count}\ntype = \"striped\"\nstripe_count = 1\nstripes = [\"pv0\", {first}]\n}}\n",
            n + 1
        );
        at += count;
    }
    let volumes = format!(
        "logical_volumes {{\nroot {{\nid = \"aaaaaa-bbbb-cccc-dddd-eeee-ffff-gggggg\"\nstatus = [\"READ\", \"WRITE\", \"VISIBLE\"]\n\
         flags = []\nsegment_count = {}\n{segments}}}\n}}\n",
        runs.len()
    );
    let end = closing(&text, text.find("sickbay_test {").unwrap());
    std::fs::write(&backup, format!("{}{volumes}{}", &text[..end], &text[end..])).unwrap();
    lvm(&["vgcfgrestore", "--quiet", "--force", "--file", backup.to_str().unwrap(), "sickbay_test"]);
    run(Command::new("losetup").args(["--detach", &node]));
    // The data area begins at 1 MiB, lvm2's default.
    copy_into(&image, &disk, (1 << 20) + runs[0].0 * (4 << 20));
    disk
}

/// Where the brace closes that the first one behind `start` opens.
fn closing(text: &str, start: usize) -> usize {
    let mut depth = 0;
    for (at, c) in text[start..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return start + at,
            '}' => depth -= 1,
            _ => {}
        }
    }
    panic!("no closing brace in {text}");
}

#[test]
fn a_root_in_a_volume_group_is_found() {
    let lab = Lab::new();
    // 16 MiB, in one piece and in two pieces that happen to follow one another.
    for runs in [&[(3, 4)][..], &[(5, 2), (7, 2)]] {
        let disk = volume_group(&lab, runs);
        let before = fingerprint(&disk);
        let target = open(&disk, Access::ReadOnly).unwrap();
        assert_eq!(target.root().read("/etc/hostname").unwrap(), b"patient\n", "{:?}", target.notes());
        let volumes = target.volumes.clone().unwrap();
        let root = volumes.iter().find(|volume| volume.mounted_on.is_some()).unwrap();
        assert_eq!(root.lv, Some(("sickbay_test".to_owned(), "root".to_owned())));
        target.close().unwrap();
        assert_eq!(fingerprint(&disk), before);
        let target = open(&disk, Access::ReadWrite).unwrap();
        target.writer().unwrap().write_new(Path::new("/etc/new"), b"x", 0o600).unwrap();
        target.close().unwrap();
        lab.nothing_is_left(&disk);
        assert!(open(&disk, Access::ReadOnly).unwrap().root().exists("/etc/new").unwrap());
    }
}

#[test]
fn a_volume_in_pieces_is_refused_with_what_to_do() {
    let lab = Lab::new();
    let disk = volume_group(&lab, &[(3, 2), (9, 2)]);
    let error = open(&disk, Access::ReadOnly).unwrap_err().to_string();
    assert!(error.contains("LV sickbay_test/root") && error.contains("vgchange -ay"), "{error}");
    lab.nothing_is_left(&disk);
}

#[test]
fn an_encrypted_disk_is_named_as_such() {
    let lab = Lab::new();
    let locked = lab.path("locked");
    std::fs::File::create(&locked).unwrap().set_len(32 << 20).unwrap();
    let mut format = Command::new("cryptsetup");
    format.args([
        "luksFormat",
        "--batch-mode",
        "--pbkdf",
        "pbkdf2",
        "--iter-time",
        "10",
        "--key-file",
        "/etc/hostname",
    ]);
    run(format.arg(&locked));
    let disk = lab.disk_of("disk.raw", "gpt", std::slice::from_ref(&locked));
    let error = open(&disk, Access::ReadOnly).unwrap_err();
    assert!(matches!(error, OpenError::Encrypted { .. }), "{error}");
    assert!(error.to_string().contains("encrypted") && error.to_string().contains("partition 1"), "{error}");
    lab.nothing_is_left(&disk);
}

#[test]
fn a_file_system_in_ruins_is_named_with_the_reason() {
    let lab = Lab::new();
    let disk = lab.disk("disk.raw", &[("root", "ext4")]);
    // The superblock stays, the group descriptors behind it do not.
    let junk = lab.path("junk");
    std::fs::write(&junk, [0xA5; 3072]).unwrap();
    copy_into(&junk, &disk, support::FIRST + 2048);
    let before = fingerprint(&disk);
    for access in [Access::ReadOnly, Access::ReadWrite] {
        let target = open(&disk, access).unwrap();
        let examined = &target.examined()[0];
        assert_eq!(examined.verdict, Verdict::Mended { was_sound: false, root_made_anew: false }, "{}", examined.log);
        assert!(examined.refused.is_some() && target.is_held());
        assert_eq!(target.root().read("/etc/hostname").unwrap(), b"patient\n");
        target.close().unwrap();
    }
    assert_eq!(fingerprint(&disk), before);
    lab.nothing_is_left(&disk);
}
