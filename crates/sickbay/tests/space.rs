//! File systems that are really full: found, told by what, mended with the journal elsewhere, and undone. Needs root and loop
//! devices; every mount is in a namespace of its own and goes with it.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use support::command::{run, said};
use support::manifest::{Manifest, difference, manifest};
use support::story::Story;

/// A file system with a healthy system on it, which has one fault that needs no room of its own.
struct Disk {
    dir: tempfile::TempDir,
}

impl Disk {
    /// `mkfs` makes a file system of `size` MiB in the file whose name is added to its arguments.
    fn new(size: u64, mkfs: &[&str]) -> Disk {
        let dir = tempfile::tempdir().expect("a directory");
        let image = dir.path().join("image");
        std::fs::File::create(&image).and_then(|file| file.set_len(size << 20)).expect("room");
        let out = Command::new(mkfs[0]).args(&mkfs[1..]).arg(&image).output().expect("mkfs starts");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        std::fs::create_dir(dir.path().join("mnt")).expect("a directory");
        let story = dir.path().join("story.txt");
        std::fs::write(&story, "A system.\n\n--- tree debian-12\n--- mode /etc/shadow 0666\n").expect("written");
        let built = Story::read(&story).expect("a story").build().expect("built");
        let disk = Disk { dir };
        disk.shell("cp -a \"$SYSTEM/.\" .", &[("SYSTEM", built.root())]);
        disk
    }

    fn image(&self) -> PathBuf {
        self.dir.path().join("image")
    }

    /// Runs a script in the mounted root; gives what it says.
    fn shell(&self, script: &str, variables: &[(&str, &Path)]) -> String {
        let whole = format!("set -e; mount -o loop \"$IMAGE\" \"$MNT\"; cd \"$MNT\"\n{script}\ncd /; sync");
        let mut command = Command::new("unshare");
        command.args(["-m", "--propagation", "private", "sh", "-c", &whole]);
        command.env("IMAGE", self.image()).env("MNT", self.dir.path().join("mnt"));
        let out = command.envs(variables.iter().copied()).output().expect("unshare starts");
        let (code, text) = said(&out);
        assert_eq!(code, Some(0), "{text}");
        text
    }

    /// Every file with everything about it.
    fn manifest(&self) -> Manifest {
        let copy = self.dir.path().join("copy");
        let _ = std::fs::remove_dir_all(&copy);
        std::fs::create_dir(&copy).expect("a directory");
        self.shell("mount -o remount,ro \"$MNT\"; cp -a . \"$COPY\"", &[("COPY", &copy)]);
        manifest(&copy)
    }
}

/// The finding about space, without its number.
fn headline(text: &str) -> String {
    let line = text.lines().find(|line| line.contains("[file-system-full]: ")).unwrap_or_default();
    let (severity, rest) = line.split_once("[file-system-full]: F").unwrap_or_default();
    format!("{severity}: {}", rest.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start())
}

/// Fills whatever is left.
const FILL: &str = "mkdir -p var/lib/app/data; cat /dev/zero > var/lib/app/data/big 2>/dev/null || true; \
                    for n in 1 2 3 4 5 6 7 8; do cat /dev/zero > var/lib/app/data/rest$n 2>/dev/null || true; done";

/// What can be spared.
const SPARE: &str = "mkdir -p var/cache/apt/archives var/log/journal/0123; \
    head -c 6M /dev/urandom > var/cache/apt/archives/nginx_1.22.1-9_amd64.deb; \
    head -c 2M /dev/urandom > var/log/syslog.1; head -c 1M /dev/urandom > var/log/journal/0123/system@1-2.journal; \
    head -c 1M /dev/urandom > var/log/auth.log.1; head -c 1M /dev/urandom > var/log/journal/0123/system.journal";

#[test]
fn a_full_root_is_told_and_freed() {
    let disk = Disk::new(192, &["mkfs.ext4", "-q", "-F", "-m", "0"]);
    disk.shell(&format!("{SPARE}\n{FILL}"), &[]);
    let before = disk.manifest();
    let (_, text) = run(["check"], &disk.image());
    assert!(headline(&text) == "error: / is full", "{text}");
    assert!(text.contains("/var/lib/app/data") && text.contains("/var/lib/app/data/big"), "{text}");
    assert!(text.contains("remove 3 files that can be spared, 9 MiB"), "{text}");

    // Nothing is written where there is no room for the journal, and what is needed is said.
    let (_, text) = run(["fix", "--yes"], &disk.image());
    assert!(text.contains("not repaired: remove 3 files") && text.contains("KiB; --journal DIR keeps"), "{text}");
    // What changes a line may need no more than is left, and is taken back with what is left then.
    let (code, text) = run(["undo", "--yes"], &disk.image());
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(difference(&before, &disk.manifest()), None, "{text}");

    let keep = tempfile::tempdir().expect("a directory");
    let dir = keep.path().to_str().expect("text").to_owned();
    let (_, text) = run(["fix", "--yes", "--journal", &dir], &disk.image());
    assert!(text.contains("repaired: remove 3 files") && text.contains("[mode-too-open]"), "{text}");
    let (_, text) = run(["check"], &disk.image());
    assert!(!text.contains("file-system-full") && !text.contains("mode-too-open"), "{text}");
    let left = disk.shell("ls var/log var/log/journal/0123 var/cache/apt/archives", &[]);
    assert!(left.contains("auth.log.1") && left.contains("system.journal") && !left.contains(".deb"), "{left}");
    let (_, text) = run(["undo", "--list"], &disk.image());
    assert!(text.contains("the journal is empty"), "it is elsewhere: {text}");
    let (code, text) = run(["undo", "--yes", "--journal", &dir], &disk.image());
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(difference(&before, &disk.manifest()), None);
    assert_eq!(std::fs::read_dir(keep.path()).expect("readable").count(), 0, "the journal went with its last entry");
}

#[test]
fn an_initramfs_that_was_cut_off_hangs_under_it() {
    // The root of the tree's own menu.
    let uuid = "3f0c1d52-7c0e-4b0e-9d6c-0d3c5a9e1f01";
    let disk = Disk::new(192, &["mkfs.ext4", "-q", "-F", "-m", "0", "-U", uuid]);
    // The kernel's package was configured while there was no room for it.
    let cut = "i=boot/initrd.img-6.1.0-40-amd64; gzip -c $i > i.gz; half=$(($(stat -c %s i.gz) / 2)); \
        head -c $half i.gz > $i; rm i.gz; test -s $i";
    disk.shell(&format!("{cut}\n{FILL}"), &[]);
    let (_, text) = run(["check"], &disk.image());
    assert_eq!(headline(&text), "critical: / is full", "{text}");
    assert!(text.contains("= causes: ") && !text.contains("[initramfs-damaged]"), "{text}");
}

#[test]
fn a_root_without_inodes_is_told() {
    let disk = Disk::new(192, &["mkfs.ext4", "-q", "-F", "-N", "2048"]);
    disk.shell(
        "mkdir -p var/spool/clients; n=0; while touch var/spool/clients/f$n 2>/dev/null; do n=$((n + 1)); done",
        &[],
    );
    let (_, text) = run(["check"], &disk.image());
    assert!(headline(&text) == "error: / has run out of inodes", "{text}");
    assert!(text.contains("inodes by directory: /var/spool/clients"), "{text}");
    let (_, text) = run(["fix", "--yes"], &disk.image());
    assert!(text.contains("inodes free, the repair needs") && !text.contains("repaired: mode"), "{text}");
}

#[test]
fn what_is_kept_for_root_counts() {
    let disk = Disk::new(192, &["mkfs.ext4", "-q", "-F", "-m", "10"]);
    let script = "mkdir -p -m 777 var/lib/app; setpriv --reuid=65534 --clear-groups sh -c 'cat /dev/zero > var/lib/app/big' 2>/dev/null || true";
    disk.shell(script, &[]);
    let (_, text) = run(["check"], &disk.image());
    assert!(headline(&text) == "warning: / is full for everyone but root", "{text}");
    // root writes into what is kept for it.
    let (_, text) = run(["fix", "--yes"], &disk.image());
    assert!(text.contains("[mode-too-open], journal entry"), "{text}");
}

#[test]
fn xfs_and_btrfs_are_asked_too() {
    for mkfs in [["mkfs.xfs", "-q", "-f"], ["mkfs.btrfs", "-q", "-f"]] {
        let disk = Disk::new(320, &mkfs);
        let (_, text) = run(["check"], &disk.image());
        assert!(!text.contains("file-system-full"), "{text}");
        disk.shell(FILL, &[]);
        let (_, text) = run(["check"], &disk.image());
        assert!(headline(&text) == "error: / is full", "{text}");
        assert!(text.contains("/var/lib/app/data"), "{text}");
    }
}

#[test]
fn a_running_system_tells_who_holds_deleted_files() {
    let disk = Disk::new(192, &["mkfs.ext4", "-q", "-F", "-m", "0"]);
    let program = Path::new(env!("CARGO_BIN_EXE_sickbay"));
    let script = "cp \"$PROGRAM\" sickbay; mkdir -p proc dev; mount --bind /proc proc; \
        exec 7> var/log/app.log; cat /dev/zero >&7 2>/dev/null || true; rm var/log/app.log; \
        LC_ALL=C chroot . /sickbay check || true";
    let text = disk.shell(script, &[("PROGRAM", program)]);
    assert_eq!(headline(&text), "error: / is full", "{text}");
    assert!(text.contains("deleted but still open: ") && text.contains("app.log"), "{text}");
    assert!(text.contains("by sh (PID ") && text.contains("fd 7)"), "{text}");
}
