//! What a program of the target makes again, an initramfs or a host key, from the finding to the undoing. Needs root, and a shell.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use sickbay::check::Check;
use sickbay::checks::boot::{initramfs_damaged, initramfs_lacks_drivers, initramfs_missing, kernel_incomplete};
use sickbay::checks::files::top_level_missing;
use sickbay::checks::login::sshd_host_key_missing;
use sickbay::engine::rounds;
use sickbay::engine::rounds::Outcome;
use sickbay::model::text::Lang;
use sickbay::repair::plan::Choice;
use sickbay::repair::undo::Force;
use sickbay_target::{Access, Target};
use support::initramfs::build;
use support::manifest::manifest;

const VERSION: &str = "6.1.0-1-amd64";
const INITRD: &str = "boot/initrd.img-6.1.0-1-amd64";
const CHECKS: [&Check; 2] = [&initramfs_damaged::CHECK, &initramfs_lacks_drivers::CHECK];

/// A root whose mkinitramfs is this script, and whose initramfs is damaged.
fn tree(script: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    for name in ["sh", "cat", "sha1sum"] {
        program(root, name);
    }
    file(root, "usr/sbin/mkinitramfs", format!("#!/usr/bin/sh\n{script}").as_bytes(), 0o755);
    file(root, "boot/vmlinuz-6.1.0-1-amd64", b"kernel", 0o644);
    file(root, INITRD, b"\x28\xb5\x2f\xfd cut off", 0o600);
    let modules =
        b"kernel/drivers/block/virtio_blk.ko: kernel/drivers/virtio/virtio.ko\nkernel/drivers/virtio/virtio.ko:\n";
    file(root, &format!("lib/modules/{VERSION}/modules.dep"), modules, 0o644);
    file(root, "good", &build(VERSION, &["virtio", "virtio_blk"], true), 0o644);
    file(root, "poor", &build(VERSION, &["virtio"], true), 0o644);
    for dir in ["var/lib", "var/tmp", "tmp", "etc"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    dir
}

/// A program of this machine, with its libraries.
fn program(root: &Path, name: &str) {
    let path = ["/usr/bin", "/bin"].iter().map(|dir| Path::new(dir).join(name)).find(|path| path.exists());
    let path = path.unwrap_or_else(|| panic!("{name}: is it installed?"));
    file(root, &format!("usr/bin/{name}"), &fs::read(&path).unwrap(), 0o755);
    let libraries = Command::new("ldd").arg(&path).output().unwrap();
    let libraries = String::from_utf8(libraries.stdout).unwrap();
    for word in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
        file(root, &word[1..], &fs::read(word).unwrap(), 0o755);
    }
}

fn file(root: &Path, path: &str, content: &[u8], mode: u32) {
    let path: PathBuf = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
}

fn fix(target: &Arc<Target>) -> Outcome {
    rounds::fix(target, None, &CHECKS, &Choice::default(), &mut |_, _| true).unwrap()
}

fn open(dir: &tempfile::TempDir) -> Arc<Target> {
    Arc::new(Target::described(dir.path(), Access::ReadWrite, Vec::new(), &[]).unwrap())
}

#[test]
fn made_and_taken_back() {
    let script =
        r#"test "$1 $3" = "-o 6.1.0-1-amd64" && cat /etc/initramfs-tools/conf.d/zz-sickbay && cat /good > "$2""#;
    let dir = tree(script);
    file(dir.path(), "var/lib/initramfs-tools/6.1.0-1-amd64", b"0  /boot/initrd.img-6.1.0-1-amd64\n", 0o644);
    let before = manifest(dir.path());
    let target = open(&dir);
    let outcome = fix(&target);
    assert!(outcome.diagnosis.findings.is_empty(), "{:?}", outcome.applied);
    assert_eq!(fs::read(dir.path().join(INITRD)).unwrap(), fs::read(dir.path().join("good")).unwrap());
    assert_eq!(fs::metadata(dir.path().join(INITRD)).unwrap().permissions().mode() & 0o7777, 0o600);
    // update-initramfs of old releases knows it again.
    let sum = fs::read_to_string(dir.path().join("var/lib/initramfs-tools/6.1.0-1-amd64")).unwrap();
    assert!(sum.ends_with("  /boot/initrd.img-6.1.0-1-amd64\n") && sum.len() > 60, "{sum}");
    // What it was lent is nowhere.
    assert!(!dir.path().join("etc/initramfs-tools").exists());

    drop(outcome);
    rounds::undo(&target, None, None, &[], Force::No).unwrap();
    assert_eq!(support::manifest::difference(&before, &manifest(dir.path())), None);
}

#[test]
fn what_fails_or_is_no_better_is_not_taken() {
    let cases = [
        ("echo no space left >&2; exit 1", "mkinitramfs of the target failed: no space left"),
        ("echo done", "mkinitramfs of the target did not create /boot/initrd.img-6.1.0-1-amd64: done"),
        (r#"cat /poor > "$2""#, "what was created as /boot/initrd.img-6.1.0-1-amd64 lacks virtio_blk too"),
        (
            r#"cat /etc/hostname > "$2"; echo x > "$2""#,
            "what was created as /boot/initrd.img-6.1.0-1-amd64 is not a complete initramfs",
        ),
    ];
    for (script, wanted) in cases {
        let dir = tree(script);
        let before = manifest(dir.path());
        let outcome = fix(&open(&dir));
        let failure = outcome.applied[0].failure.as_ref().map(|why| why.render(Lang::En)).unwrap_or_default();
        assert!(failure.starts_with(wanted), "{failure}");
        assert_eq!(outcome.diagnosis.findings.len(), 1);
        assert_eq!(support::manifest::difference(&before, &manifest(dir.path())), None);
    }
}

#[test]
fn made_when_what_it_runs_is_back() {
    let dir = tree("");
    file(dir.path(), "usr/sbin/mkinitramfs", b"#!/bin/sh\ncat /good > \"$2\"", 0o755);
    let before = manifest(dir.path());
    let target = open(&dir);
    let checks = [&initramfs_damaged::CHECK, &top_level_missing::CHECK];
    let outcome = rounds::fix(&target, None, &checks, &Choice::default(), &mut |_, _| true).unwrap();
    assert!(outcome.applied.iter().any(|applied| applied.check == "initramfs-damaged"), "{:?}", outcome.applied);
    assert!(outcome.applied.iter().all(|applied| applied.verified), "{:?}", outcome.applied);
    assert_eq!(fs::read(dir.path().join(INITRD)).unwrap(), fs::read(dir.path().join("good")).unwrap());

    drop(outcome);
    rounds::undo(&target, None, None, &[], Force::No).unwrap();
    assert_eq!(support::manifest::difference(&before, &manifest(dir.path())), None);
}

#[test]
fn a_host_key_by_ssh_keygen() {
    let dir = tree("");
    program(dir.path(), "ssh-keygen");
    file(dir.path(), "usr/sbin/sshd", b"", 0o755);
    file(dir.path(), "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n", 0o644);
    file(dir.path(), "etc/ssh/sshd_config", b"PermitRootLogin yes\n", 0o644);
    file(dir.path(), "etc/ssh/ssh_host_rsa_key", b"", 0o600);
    file(dir.path(), "etc/ssh/ssh_host_rsa_key.pub", b"ssh-rsa of another key\n", 0o644);
    let before = manifest(dir.path());
    let target = open(&dir);
    let choice = Choice { risky: true, ..Choice::default() };
    let checks = [&sshd_host_key_missing::CHECK];
    let outcome = rounds::fix(&target, None, &checks, &choice, &mut |_, _| true).unwrap();
    assert!(outcome.applied.len() == 1 && outcome.applied[0].verified, "{:?}", outcome.applied);
    // The halves belong together.
    let key = dir.path().join("etc/ssh/ssh_host_rsa_key");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o7777, 0o600);
    let told = Command::new("ssh-keygen").arg("-y").arg("-f").arg(&key).output().unwrap();
    let public = fs::read_to_string(dir.path().join("etc/ssh/ssh_host_rsa_key.pub")).unwrap();
    let words = |text: &str| text.split_whitespace().take(2).map(str::to_owned).collect::<Vec<String>>();
    assert_eq!(words(&public), words(&String::from_utf8_lossy(&told.stdout)));

    drop(outcome);
    rounds::undo(&target, None, None, &[], Force::No).unwrap();
    assert_eq!(support::manifest::difference(&before, &manifest(dir.path())), None);
}

/// The initramfs is gone, and the line that loads it: neither helps without the other, so both are one repair.
#[test]
fn an_initramfs_and_the_line_that_loads_it() {
    let dir = tree(r#"cat /good > "$2""#);
    let root = dir.path();
    fs::remove_file(root.join(INITRD)).unwrap();
    let uuid = "3f0c1d52-7c0e-4b0e-9d6c-0d3c5a9e1f01";
    let entry = format!("menuentry a {{\n linux /boot/vmlinuz-{VERSION} root=UUID={uuid}\n}}\n");
    file(root, "boot/grub/grub.cfg", entry.as_bytes(), 0o644);
    file(root, &format!("boot/vmlinuz-{VERSION}"), &support::boot::kernel(), 0o644);
    // Another kernel has one, and shows what they are called here.
    let other = "6.1.0-0-amd64";
    file(root, &format!("boot/vmlinuz-{other}"), &support::boot::kernel(), 0o644);
    file(root, &format!("boot/initrd.img-{other}"), &build(other, &["virtio", "virtio_blk"], true), 0o644);
    file(root, &format!("lib/modules/{other}/modules.dep"), b"kernel/drivers/block/virtio_blk.ko:\n", 0o644);
    let before = manifest(root);
    let target = open(&dir);
    let checks = [&initramfs_missing::CHECK];
    let outcome = rounds::fix(&target, None, &checks, &Choice::default(), &mut |_, _| true).unwrap();
    assert!(outcome.diagnosis.findings.is_empty(), "{:?}", outcome.diagnosis.findings);
    assert!(outcome.applied.len() == 1, "{:?}", outcome.applied);
    assert!(outcome.applied.iter().all(|applied| applied.verified && applied.journal.is_some()));
    let config = fs::read_to_string(root.join("boot/grub/grub.cfg")).unwrap();
    assert!(config.contains(&format!("\n initrd /boot/initrd.img-{VERSION}\n")), "{config}");

    drop(outcome);
    rounds::undo(&target, None, None, &[], Force::No).unwrap();
    assert_eq!(support::manifest::difference(&before, &manifest(root)), None);
}

/// The kernel's file and its modules are there; the list of them is gone. What depmod of this release does not write stays away.
#[test]
fn a_list_of_modules_by_depmod() {
    let dir = tree("");
    let root = dir.path();
    let script =
        "#!/usr/bin/sh\ncd /lib/modules/$1 && echo 'kernel/virtio.ko:' >modules.dep && echo x >modules.alias\n";
    file(root, "usr/sbin/depmod", script.as_bytes(), 0o755);
    file(root, &format!("lib/modules/{VERSION}/modules.dep"), b"", 0o644);
    file(root, &format!("lib/modules/{VERSION}/modules.softdep"), b"as it was\n", 0o644);
    file(root, "boot/grub/grub.cfg", b"menuentry a {\n linux /boot/vmlinuz-6.1.0-1-amd64 root=/dev/vda1\n}\n", 0o644);
    file(root, "boot/vmlinuz-6.1.0-1-amd64", &support::boot::kernel(), 0o644);
    let before = manifest(root);
    let target = open(&dir);
    let choice = Choice { risky: true, ..Choice::default() };
    let checks = [&kernel_incomplete::CHECK];
    let outcome = rounds::fix(&target, None, &checks, &choice, &mut |_, _| true).unwrap();
    assert!(outcome.applied.len() == 1 && outcome.applied[0].verified, "{:?}", outcome.applied);
    let made = |name: &str| fs::read_to_string(root.join(format!("lib/modules/{VERSION}/{name}"))).ok();
    assert_eq!(made("modules.dep").as_deref(), Some("kernel/virtio.ko:\n"));
    assert_eq!(made("modules.alias").as_deref(), Some("x\n"));
    assert_eq!(made("modules.softdep").as_deref(), Some("as it was\n"));
    assert_eq!(made("modules.dep.bin"), None);

    drop(outcome);
    rounds::undo(&target, None, None, &[], Force::No).unwrap();
    assert_eq!(support::manifest::difference(&before, &manifest(root)), None);
}
