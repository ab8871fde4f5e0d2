//! What comes from outside and means no good: links that lead out, things that are no files, files without end, images
//! that are none. Nothing outside the target changes, nothing hangs, every reason is named.

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use support::command::{run, said, sickbay};
use support::manifest::{Manifest, difference, manifest};
use support::story::Story;

/// A healthy tree in `dir/root`, and beside it what a hostile root must not reach: a broken system of the helper's own.
fn beside_a_canary() -> (tempfile::TempDir, Manifest) {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path().join("root");
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/trees/debian-12.txt");
    let built = Story::read(&tree).and_then(|story| story.build()).expect("the tree");
    let copied = std::process::Command::new("cp").arg("-a").arg(built.root()).arg(&root).status().expect("cp");
    assert!(copied.success());
    let canary = dir.path().join("helper");
    fs::create_dir_all(canary.join("etc/ssh")).expect("made");
    fs::write(canary.join("etc/fstab"), "UUID=dead / ext4 defaults 0 1\ngarbage\n").expect("written");
    fs::write(canary.join("etc/passwd"), "root:x:0:0:root:/root:/bin/none\r\n").expect("written");
    fs::write(canary.join("etc/sysctl.conf"), "vm.nr_hugepages = 99999999999\n").expect("written");
    fs::set_permissions(canary.join("etc/ssh"), fs::Permissions::from_mode(0o777)).expect("set");
    let before = manifest(&canary);
    (dir, before)
}

/// Checks and repairs the hostile root; neither may hang, panic, or change the helper.
fn withstand(dir: &Path, before: &Manifest, what: &str) {
    let etc = manifest_of_names(Path::new("/etc"));
    for arguments in [&["check"][..], &["fix", "--yes", "--risky"], &["undo", "--yes", "--force"]] {
        let begun = Instant::now();
        let (code, text) = run(arguments.iter().copied(), &dir.join("root"));
        assert!(begun.elapsed() < Duration::from_secs(30), "{what}: {arguments:?} took {:?}", begun.elapsed());
        assert!(matches!(code, Some(0..=2)), "{what}: {arguments:?} ended with {code:?}: {text}");
        assert!(!text.contains("panicked") && !text.contains("check failed"), "{what}: {text}");
        assert_eq!(
            difference(before, &manifest(&dir.join("helper"))),
            None,
            "{what}: {arguments:?} reached the helper"
        );
        assert_eq!(manifest_of_names(Path::new("/etc")), etc, "{what}: {arguments:?} reached this machine");
    }
}

/// Modes, owners, sizes and modification times of a directory of this machine and of its `ssh` and `pam.d`.
fn manifest_of_names(dir: &Path) -> Vec<String> {
    use std::os::unix::fs::MetadataExt;
    let mut all = Vec::new();
    for dir in [dir.to_owned(), dir.join("ssh"), dir.join("pam.d")] {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            // What the system itself rewrites at any time.
            if let (Ok(m), false) = (entry.metadata(), entry.file_name() == "resolv.conf") {
                let name = entry.path().display().to_string();
                all.push(format!("{name} {:o} {}:{} {}", m.mode(), m.uid(), m.gid(), m.mtime_nsec()));
            }
        }
    }
    all.sort();
    all
}

#[test]
fn an_etc_that_is_a_link_leads_nowhere_outside() {
    let (dir, before) = beside_a_canary();
    let root = dir.path().join("root");
    let helper = dir.path().join("helper/etc").display().to_string();
    fs::rename(root.join("etc"), root.join("etc.real")).expect("moved");
    let up = "../".repeat(20);
    for text in [
        "/etc".to_owned(),
        helper.clone(),
        format!("{up}etc"),
        format!("{up}{helper}"),
        "../helper/etc".to_owned(),
        "/proc/self/root/etc".to_owned(),
        "/proc/1/root/etc".to_owned(),
        "etc".to_owned(),
    ] {
        symlink(&text, root.join("etc")).expect("linked");
        withstand(dir.path(), &before, &text);
        fs::remove_file(root.join("etc")).expect("removed");
    }
}

#[test]
fn files_that_are_links_lead_nowhere_outside() {
    let (dir, before) = beside_a_canary();
    let root = dir.path().join("root");
    let helper = dir.path().join("helper/etc");
    for name in ["fstab", "passwd", "shadow", "sysctl.conf", "ssh", "pam.d", "login.defs", "profile"] {
        let path = root.join("etc").join(name);
        let _ = fs::remove_dir_all(&path);
        let _ = fs::remove_file(&path);
        symlink(format!("{}{}", "../".repeat(20), helper.join(name).display()), &path).expect("linked");
    }
    for name in ["var", "root", "boot", "tmp"] {
        let _ = fs::remove_dir_all(root.join(name));
        symlink(&helper, root.join(name)).expect("linked");
    }
    withstand(dir.path(), &before, "files and directories that are links");
}

#[test]
fn what_is_no_file_is_named_and_hinders_nothing_else() {
    let (dir, before) = beside_a_canary();
    let root = dir.path().join("root");
    let make = |name: &str, kind: FileType, device: u64| {
        let _ = fs::remove_file(root.join(name));
        mknodat(CWD, root.join(name), kind, Mode::from_raw_mode(0o644), device).expect("made");
    };
    make("etc/fstab", FileType::Fifo, 0);
    // /dev/zero and /dev/tty.
    make("etc/shadow", FileType::CharacterDevice, rustix::fs::makedev(1, 5));
    make("etc/login.defs", FileType::CharacterDevice, rustix::fs::makedev(5, 0));
    make("etc/group", FileType::Socket, 0);
    fs::remove_file(root.join("etc/sysctl.conf")).unwrap_or_default();
    fs::create_dir(root.join("etc/sysctl.conf")).expect("made");
    let (code, text) = run(["check"], &root);
    assert_eq!(code, Some(2), "{text}");
    for reason in ["/etc/fstab is a FIFO", "/etc/shadow is a character device"] {
        assert!(text.contains(reason), "{reason} is not in {text}");
    }
    withstand(dir.path(), &before, "FIFOs and devices");
}

#[test]
fn files_without_end_and_without_text_are_named() {
    let (dir, before) = beside_a_canary();
    let root = dir.path().join("root");
    fs::File::create(root.join("etc/fstab")).and_then(|file| file.set_len(2 << 30)).expect("2 GiB");
    let bytes: Vec<u8> = (0..65536_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for name in ["passwd", "group", "profile", "sysctl.conf", "nsswitch.conf", "ssh/sshd_config", "pam.d/login"] {
        fs::create_dir_all(root.join("etc").join(name).parent().expect("below etc")).expect("made");
        fs::write(root.join("etc").join(name), &bytes).expect("written");
    }
    let (code, text) = run(["check"], &root);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("/etc/fstab is too large"), "{text}");
    withstand(dir.path(), &before, "2 GiB and noise");
}

#[test]
fn without_permission_the_path_is_named() {
    let (dir, _) = beside_a_canary();
    let root = dir.path().join("root");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("set");
    // The program's own directory may be closed to others.
    let program = dir.path().join("sickbay");
    fs::copy(env!("CARGO_BIN_EXE_sickbay"), &program).expect("copied");
    let out =
        std::process::Command::new(&program).arg("check").arg(&root).env("LC_ALL", "C").uid(65534).gid(65534).output();
    let (code, text) = said(&out.expect("the program starts"));
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("/etc/shadow") && text.contains("ermission"), "{text}");
    let out = sickbay(["check"], Path::new("/nonexistent/disk.img")).output().expect("the program starts");
    let (code, text) = said(&out);
    assert_eq!(code, Some(2));
    assert!(text.contains("/nonexistent/disk.img") && text.contains("does not exist"), "{text}");
}

#[test]
fn what_is_no_disk_is_refused_by_name() {
    let dir = tempfile::tempdir().expect("a directory");
    let refuse = |name: &str, content: &[u8], words: &str| {
        let path = dir.path().join(name);
        fs::write(&path, content).expect("written");
        for arguments in [&["check"][..], &["fix", "--yes"], &["undo", "--yes"]] {
            let (code, text) = run(arguments.iter().copied(), &path);
            assert_eq!(code, Some(2), "{name}: {text}");
            assert!(text.contains(name) && text.contains(words), "{name}: {text}");
            assert_eq!(fs::read(&path).expect("readable"), content, "{name} was written to");
        }
    };
    refuse("empty.img", b"", "empty");
    refuse("zeros.img", &[0; 1 << 20], "zeros.img");
    refuse("noise.img", &(0..100_000_u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect::<Vec<u8>>(), "noise.img");
    refuse("cut.qcow2", b"QFI\xfb\0\0\0\x03\0\0\0\0", "cut.qcow2");
}

#[test]
fn the_program_runs_in_an_empty_chroot() {
    let (dir, _) = beside_a_canary();
    fs::copy(env!("CARGO_BIN_EXE_sickbay"), dir.path().join("sickbay")).expect("copied");
    let inside = |arguments: &[&str]| {
        let mut chroot = std::process::Command::new("/usr/sbin/chroot");
        said(&chroot.arg(dir.path()).arg("/sickbay").args(arguments).env_clear().output().expect("chroot"))
    };
    let (code, text) = inside(&["--version"]);
    assert_eq!((code, text.starts_with("sickbay ")), (Some(0), true), "{text}");
    fs::write(dir.path().join("root/etc/fstab"), "see ticket 12\n").expect("written");
    let (code, text) = inside(&["check", "/root"]);
    assert!(code.is_some_and(|code| code > 0) && text.contains("fstab-bad-line"), "{code:?}: {text}");
    let (code, text) = inside(&["fix", "--yes", "--only", "fstab-bad-line", "/root"]);
    assert!(code.is_some() && text.contains("repaired: "), "{code:?}: {text}");
    let (code, text) = inside(&["undo", "--yes", "/root"]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(fs::read(dir.path().join("root/etc/fstab")).expect("readable"), b"see ticket 12\n");
}
