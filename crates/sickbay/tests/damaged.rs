//! File systems that are really damaged: found, mended by their checkers, and put back byte for byte. Needs root, loop
//! devices, FUSE, e2fsprogs, xfsprogs and btrfs-progs; every mount is in a namespace of its own and goes with it.

mod support;

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::command::{said, sickbay};
use support::story::Story;

/// Runs the program, which must come to its end.
fn run<'a>(arguments: impl IntoIterator<Item = &'a str>, image: &Path) -> (i32, String) {
    let out = sickbay(arguments, image).output().expect("the program starts");
    let (code, text) = said(&out);
    (code.unwrap_or_else(|| panic!("{}: {text}", out.status)), text)
}

/// A file system with a healthy system on it.
struct Disk {
    dir: tempfile::TempDir,
}

impl Disk {
    fn new(fstype: &str) -> Disk {
        let disk = Disk { dir: tempfile::tempdir().expect("a directory") };
        let size = if fstype == "ext4" { 192 } else { 320 };
        std::fs::File::create(disk.image()).and_then(|file| file.set_len(size << 20)).expect("room");
        // The kernel mounts no two btrfs with the same one at once.
        let uuid = std::fs::read_to_string("/proc/sys/kernel/random/uuid").expect("a UUID");
        let uuid = uuid.trim();
        let with_uuid = if fstype == "xfs" {
            vec!["-m".to_owned(), format!("uuid={uuid}")]
        } else {
            vec!["-U".into(), uuid.into()]
        };
        disk.tool(
            &[
                &[&*format!("mkfs.{fstype}"), "-q", if fstype == "ext4" { "-F" } else { "-f" }],
                &*with_uuid.iter().map(String::as_str).collect::<Vec<_>>(),
            ]
            .concat(),
        );
        std::fs::create_dir(disk.dir.path().join("mnt")).expect("a directory");
        let story = disk.dir.path().join("story.txt");
        let fstab = format!("--- file /etc/fstab\nUUID={uuid} / {fstype} defaults 0 1\n");
        std::fs::write(&story, format!("A system.\n\n--- tree debian-12\n{fstab}")).expect("written");
        let built = Story::read(&story).expect("a story").build().expect("built");
        disk.shell("cp -a \"$SYSTEM/.\" .", &[("SYSTEM", built.root())]);
        disk
    }

    fn image(&self) -> PathBuf {
        self.dir.path().join("image")
    }

    /// Runs a program that gets the image as its last argument.
    fn tool(&self, words: &[&str]) -> String {
        let out = Command::new(words[0]).args(&words[1..]).arg(self.image()).output().expect("it starts");
        assert!(out.status.success(), "{words:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    /// Runs a script in the mounted root.
    fn shell(&self, script: &str, variables: &[(&str, &Path)]) {
        let whole = format!("set -e; mount -o loop \"$IMAGE\" \"$MNT\"; cd \"$MNT\"\n{script}\ncd /; sync");
        let mut command = Command::new("unshare");
        command.args(["-m", "--propagation", "private", "sh", "-c", &whole]);
        command.env("IMAGE", self.image()).env("MNT", self.dir.path().join("mnt"));
        let (code, text) = said(&command.envs(variables.iter().copied()).output().expect("unshare starts"));
        assert_eq!(code, Some(0), "{text}");
    }

    fn write(&self, at: u64, bytes: &[u8]) {
        let file = std::fs::File::options().write(true).open(self.image()).expect("an image");
        file.write_all_at(bytes, at).expect("written");
    }

    fn digest(&self) -> String {
        let text = self.tool(&["sha256sum"]);
        text.split(' ').next().unwrap_or_default().to_owned()
    }

    /// `check` says it and changes nothing, `fix` mends it, `undo` puts it back.
    fn is_mended(&self, arguments: &[&str], sentence: &str) {
        let before = self.digest();
        let (_, text) = run([&["check"], arguments].concat(), &self.image());
        assert!(text.contains(sentence), "{sentence}: {text}");
        assert_eq!(text.matches("[file-system-damaged]: F").count(), 1, "{text}");
        assert_eq!(self.digest(), before, "check changes nothing");
        let (_, text) = run([&["fix", "--dry-run"], arguments].concat(), &self.image());
        assert!(text.contains("let ") && self.digest() == before, "{text}");
        let (_, text) = run([&["fix", "--yes"], arguments].concat(), &self.image());
        assert!(text.contains("[file-system-damaged], journal entry disk-0001"), "{text}");
        let after = self.digest();
        let (_, text) = run(["check", "--fsck"], &self.image());
        assert!(!text.contains("file-system-damaged"), "{text}");
        assert!(self.digest() == after && after != before);
        let (_, text) = run(["undo", "--list"], &self.image());
        assert!(text.contains("disk-0001"), "{text}");
        let (code, text) = run(["undo", "--yes"], &self.image());
        assert_eq!(code, 0, "{text}");
        assert_eq!(self.digest(), before, "{text}");
        assert!(!self.dir.path().join("image.sickbay").exists());
    }
}

#[test]
fn a_lost_superblock_of_ext4() {
    let disk = Disk::new("ext4");
    disk.write(0, &[0; 4096]);
    disk.is_mended(&[], "the superblock of the ext4 on whole disk is lost");
}

#[test]
fn a_lost_superblock_of_xfs() {
    let disk = Disk::new("xfs");
    disk.write(0, &[0; 512]);
    disk.is_mended(&[], "the superblock of the xfs on whole disk is lost");
}

#[test]
fn a_lost_superblock_of_btrfs() {
    let disk = Disk::new("btrfs");
    disk.write(64 << 10, &[0; 4096]);
    disk.is_mended(&[], "the superblock of the btrfs on whole disk is lost");
}

#[test]
fn a_file_of_ext4_without_its_inode() {
    let disk = Disk::new("ext4");
    disk.tool(&["debugfs", "-w", "-R", "clri /etc/hostname"]);
    disk.is_mended(&["--fsck"], "the ext4 on whole disk is damaged");
    disk.tool(&["debugfs", "-w", "-R", "clri /etc/ssh/sshd_config"]);
    // A file that is read tells, without being asked for.
    disk.is_mended(&[], "the ext4 on whole disk is damaged");
    // That the file is not there any more is no fault of its own.
    let (_, text) = run(["check", "--fsck"], &disk.image());
    assert!(!text.contains("[sshd-config-invalid]: F"), "{text}");
}

#[test]
fn an_ext4_without_its_root_directory() {
    let disk = Disk::new("ext4");
    disk.tool(&["debugfs", "-w", "-R", "clri <2>"]);
    let before = disk.digest();
    let (_, text) = run(["fix", "--yes", "--fsck"], &disk.image());
    assert!(text.contains("everything that was in it goes to lost+found"), "{text}");
    assert_eq!(disk.digest(), before, "only with --risky: {text}");
}

#[test]
fn errors_on_record() {
    let disk = Disk::new("ext4");
    disk.tool(&["debugfs", "-w", "-R", "ssv error_count 3"]);
    disk.is_mended(&[], "the ext4 on whole disk has recorded errors, though it is consistent");
}

#[test]
fn trees_of_xfs() {
    let disk = Disk::new("xfs");
    disk.tool(&["xfs_db", "-x", "-c", "agi 1", "-c", "write -d magicnum 0"]);
    disk.is_mended(&["--fsck"], "the xfs on whole disk is damaged");
}

#[test]
fn trees_of_btrfs_are_left_alone() {
    let disk = Disk::new("btrfs");
    let root = disk.tool(&["btrfs", "inspect-internal", "dump-super"]);
    let root = root.lines().find_map(|line| line.strip_prefix("root\t")).expect("its root").trim().to_owned();
    let places = disk.tool(&["btrfs-map-logical", "-l", &root]);
    let places: Vec<u64> =
        places.lines().filter_map(|line| line.split("physical ").nth(1)?.split(' ').next()?.parse().ok()).collect();
    assert!(!places.is_empty());
    places.iter().for_each(|&at| disk.write(at, &[0xa5; 4096]));
    let before = disk.digest();
    let (_, text) = run(["check"], &disk.image());
    assert!(text.contains("the btrfs on whole disk is damaged and cannot be mounted"), "{text}");
    let (_, text) = run(["fix", "--yes"], &disk.image());
    assert!(text.contains("there is no safe repair for the trees of btrfs"), "{text}");
    assert_eq!(disk.digest(), before);
}

#[test]
fn a_power_cut_is_no_damage() {
    for fstype in ["ext4", "xfs", "btrfs"] {
        let disk = Disk::new(fstype);
        let copy = disk.dir.path().join("copy");
        let script = "mkdir srv/a; for n in 1 2 3 4 5 6 7 8; do date > srv/a/$n; done; sync; mv srv/a srv/b; rm srv/b/3; \
            sync -f srv; date > srv/b/9; sync srv/b/9; cp --sparse=always \"$IMAGE\" \"$COPY\"";
        disk.shell(script, &[("COPY", &copy)]);
        std::fs::rename(&copy, disk.image()).expect("renamed");
        let before = disk.digest();
        for arguments in [["check"].as_slice(), &["check", "--fsck"]] {
            let (_, text) = run(arguments.iter().copied(), &disk.image());
            assert!(!text.contains("file-system-damaged"), "{fstype}: {text}");
            assert_eq!(disk.digest(), before, "{fstype}");
        }
        let (_, text) = run(["fix", "--yes", "--fsck"], &disk.image());
        assert!(!text.contains("file-system-damaged"), "{fstype}: {text}");
    }
}

#[test]
fn what_was_cut_off_while_it_was_written_is_put_back() {
    let disk = Disk::new("ext4");
    disk.write(0, &[0; 4096]);
    disk.tool(&["debugfs", "-w", "-b", "4096", "-s", "32768", "-R", "clri /etc/ssh/sshd_config"]);
    disk.write(0, &[0; 4096]);
    let (before, ill) = (disk.digest(), disk.dir.path().join("ill"));
    std::fs::copy(disk.image(), &ill).expect("copied");
    let kept = disk.dir.path().join("image.sickbay/journal/0001");
    for verb in ["undo", "fix"] {
        let (_, text) = run(["fix", "--yes"], &disk.image());
        assert!(kept.join("done").exists(), "{text}");
        // The first block is written, the rest is not.
        std::fs::remove_file(kept.join("done")).expect("removed");
        let mut first = vec![0; 4096];
        std::fs::File::open(disk.image()).and_then(|file| file.read_exact_at(&mut first, 0)).expect("read");
        std::fs::copy(&ill, disk.image()).expect("copied");
        disk.write(0, &first);
        assert_ne!(disk.digest(), before);
        let (_, text) = run(["check"], &disk.image());
        assert!(text.contains("repair disk-0001 was interrupted"), "{text}");
        let (_, text) = run([verb, "--yes"], &disk.image());
        assert!(kept.join("done").exists() == (verb == "fix"), "{text}");
        if verb == "undo" {
            assert_eq!(disk.digest(), before, "{text}");
        } else {
            assert!(text.contains("reverted, because it was interrupted: disk-0001"), "{text}");
            let (_, text) = run(["check", "--fsck"], &disk.image());
            assert!(!text.contains("file-system-damaged"), "{text}");
        }
    }
}
