//! Images in qemu's formats, and what is wrong with some of them.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use sickbay_target::{Access, OpenError, Options, Target};
use support::{Lab, fingerprint, run};

fn open(path: &Path, access: Access) -> Result<Target, OpenError> {
    Target::open(Some(path), &Options { access, follow_images: true, ..Options::default() })
}

fn open_alone(path: &Path) -> Result<Target, OpenError> {
    Target::open(Some(path), &Options::default())
}

fn convert(raw: &Path, format: &str) -> PathBuf {
    let image = raw.with_extension(format);
    let driver = if format == "vhd" { "vpc" } else { format };
    run(Command::new("qemu-img").args(["convert", "-f", "raw", "-O", driver]).arg(raw).arg(&image));
    image
}

/// Drivers that serve an image, by its name.
fn drivers(image: &Path) -> String {
    let output =
        Command::new("pgrep").args(["-f", "-a"]).arg(format!("\"filename\":\"{}\"", image.display())).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn no_driver_is_left(image: &Path) {
    let until = Instant::now() + Duration::from_secs(5);
    while !drivers(image).is_empty() {
        assert!(Instant::now() < until, "left over: {}", drivers(image));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn every_format_is_read_and_left_as_it_was() {
    let lab = Lab::new();
    let raw = lab.disk("disk.raw", &[("root", "ext4")]);
    for format in ["qcow2", "vmdk", "vhdx", "vhd", "vdi"] {
        let image = convert(&raw, format);
        let before = fingerprint(&image);
        let target = open(&image, Access::ReadOnly).unwrap_or_else(|e| panic!("{format}: {e}"));
        assert_eq!(target.root().read("/etc/hostname").unwrap(), b"patient\n", "{format}");
        assert!(!drivers(&image).is_empty());
        target.close().unwrap();
        no_driver_is_left(&image);
        assert_eq!(fingerprint(&image), before, "{format} was written to");
    }
}

#[test]
fn a_qcow2_is_written_through_its_driver() {
    let lab = Lab::new();
    let base = convert(&lab.disk("disk.raw", &[("root", "ext4")]), "qcow2");
    let before = fingerprint(&base);
    let overlay = lab.path("over,lay.qcow2");
    let create = ["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"];
    run(Command::new("qemu-img").args(create).arg(&base).arg(overlay.to_str().unwrap().replace(',', ",,").as_str()));
    let overlay = if overlay.exists() { overlay } else { lab.path("over,,lay.qcow2") };
    let target = open(&overlay, Access::ReadWrite).unwrap();
    let writer = target.writer().unwrap();
    writer.write_new(Path::new("/etc/new"), b"written", 0o600).unwrap();
    let second = open(&overlay, Access::ReadWrite).unwrap_err();
    assert!(matches!(second, OpenError::InUse { .. }), "{second}");
    target.close().unwrap();
    no_driver_is_left(&overlay);
    let again = open(&overlay, Access::ReadOnly).unwrap();
    assert_eq!(again.root().read("/etc/new").unwrap(), b"written");
    drop(again);
    assert_eq!(fingerprint(&base), before, "the backing file was written to");
}

#[test]
fn a_damaged_image_is_refused_with_the_reason() {
    let lab = Lab::new();
    let qcow2 = convert(&lab.disk("disk.raw", &[("root", "ext4")]), "qcow2");
    let whole = std::fs::read(&qcow2).unwrap();
    let started = Instant::now();
    let refused = |length: usize| {
        let cut = lab.path("cut.qcow2");
        std::fs::write(&cut, &whole[..length]).unwrap();
        open(&cut, Access::ReadOnly).unwrap_err().to_string()
    };
    assert!(refused(50).ends_with("is truncated: it is 50 bytes long, and a qcow2 header alone has 104"));
    let early = refused(whole.len() / 8);
    assert!(early.contains("is truncated: ") && early.contains("beyond its end"), "{early}");
    let late = refused(whole.len() - (256 << 10));
    assert!(late.contains("clusters that its tables name are beyond its end"), "{late}");

    let orphan = lab.path("orphan.qcow2");
    let backing = lab.path("backing.qcow2");
    run(Command::new("cp").arg(&qcow2).arg(&backing));
    let create = ["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"];
    run(Command::new("qemu-img").args(create).arg(&backing).arg(&orphan));
    std::fs::remove_file(&backing).unwrap();
    let error = open(&orphan, Access::ReadOnly).unwrap_err();
    assert!(error.to_string().contains("cannot be opened as a disk image: "), "{error}");
    assert!(error.to_string().contains("backing.qcow2"), "{error}");

    let mut broken = whole.clone();
    broken[4..8].copy_from_slice(&9_u32.to_be_bytes()); // a version that never was
    let path = lab.path("broken.qcow2");
    std::fs::write(&path, broken).unwrap();
    let error = open(&path, Access::ReadOnly).unwrap_err();
    assert!(error.to_string().contains("cannot be opened as a disk image: "), "{error}");
    assert!(started.elapsed() < Duration::from_secs(10));
    no_driver_is_left(&orphan);
    no_driver_is_left(&path);
}

/// A process that does not outlive its test.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_image_in_use_is_not_written_and_its_user_is_named() {
    let lab = Lab::new();
    let raw = lab.disk("disk.raw", &[("root", "ext4")]);
    let qcow2 = convert(&raw, "qcow2");
    for (image, format) in [(&raw, "raw"), (&qcow2, "qcow2")] {
        // A machine that is not started but has its disk.
        let machine = Command::new("qemu-system-x86_64")
            .args(["-M", "pc,accel=tcg", "-m", "16", "-nodefaults", "-display", "none", "-S", "-blockdev"])
            .arg(format!("driver={format},node-name=d,file.driver=file,file.filename={}", image.display()))
            .args(["-device", "virtio-blk-pci,drive=d", "-monitor", "stdio"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut machine = Killed(machine);
        // It answers when it has its disk, and its lock.
        std::io::Write::write_all(machine.0.stdin.as_mut().unwrap(), b"info status\n").unwrap();
        let answers = std::io::BufReader::new(machine.0.stdout.as_mut().unwrap());
        assert!(std::io::BufRead::lines(answers).any(|line| line.unwrap().contains("VM status")));
        let error = open(image, Access::ReadWrite).unwrap_err();
        assert!(
            error.to_string().contains(&format!("is in use by qemu-system-x86 (PID {})", machine.0.id())),
            "{error}"
        );
        assert!(open(image, Access::ReadOnly).is_ok(), "looking is allowed");
        machine.0.kill().unwrap();
        machine.0.wait().unwrap();
        open(image, Access::ReadWrite).unwrap().close().unwrap();
    }
    let loop_device = run(Command::new("losetup").args(["-r", "-f", "--show"]).arg(&raw));
    let error = open(&raw, Access::ReadWrite).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{} is in use by {}: nothing may be written to it", raw.display(), loop_device.trim())
    );
    run(Command::new("losetup").arg("-d").arg(loop_device.trim()));
}

#[test]
fn nothing_is_left_after_a_kill() {
    let lab = Lab::new();
    let raw = lab.disk("disk.raw", &[("root", "xfs")]);
    let qcow2 = convert(&raw, "qcow2");
    for (image, access) in [(&raw, "ro"), (&raw, "rw"), (&qcow2, "ro"), (&qcow2, "rw")] {
        for signal in ["KILL", "TERM", "INT"] {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "--ignored", "--nocapture", "hold"])
                .env("HOLD", image)
                .env("ACCESS", access)
                .stdout(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
            assert!(lines.any(|line| line.unwrap().contains("holding")), "{} {access}", image.display());
            run(Command::new("kill").arg(format!("-{signal}")).arg(child.id().to_string()));
            child.wait().unwrap();
            no_driver_is_left(image);
            lab.nothing_is_left(image);
            let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
            assert!(!mounts.contains("sickbay") && !mounts.contains("/proc/driver"), "{mounts}");
            let target = open(image, Access::ReadOnly).unwrap_or_else(|e| panic!("after {signal} on {access}: {e}"));
            if access == "rw" {
                assert_eq!(target.root().read("/etc/kept").unwrap(), b"synced", "after {signal}");
            }
            drop(target);
            let clean = open(image, Access::ReadWrite).unwrap();
            if access == "rw" {
                clean.writer().unwrap().remove(Path::new("/etc/kept")).unwrap();
            }
            clean.close().unwrap();
        }
    }
}

/// Not a test: opens a target and waits to be killed.
#[test]
#[ignore = "run by nothing_is_left_after_a_kill"]
fn hold() {
    let Ok(image) = std::env::var("HOLD") else { return };
    let access = if std::env::var("ACCESS").unwrap() == "rw" { Access::ReadWrite } else { Access::ReadOnly };
    let target = open(Path::new(&image), access).unwrap();
    if let Some(writer) = target.writer() {
        writer.write_new(Path::new("/etc/kept"), b"synced", 0o600).unwrap();
        writer.sync(Path::new("/")).unwrap();
    }
    println!("holding");
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn an_image_has_no_other_file_unless_it_may() {
    let lab = Lab::new();
    let raw = lab.disk("disk.raw", &[("root", "ext4")]);
    let size = std::fs::metadata(&raw).unwrap().len();
    let aside = lab.path("aside");
    std::fs::create_dir(&aside).unwrap();
    let outside = |kind: &str| {
        let path = aside.join(kind);
        std::fs::copy(&raw, &path).unwrap();
        path
    };
    let qemu_img = |args: &[&str]| run(Command::new("qemu-img").args(args));
    let (backing, data, extent) = (outside("backing"), outside("data"), outside("extent"));
    let on_backing = lab.path("backing.qcow2");
    qemu_img(&[
        "create",
        "-q",
        "-f",
        "qcow2",
        "-F",
        "raw",
        "-b",
        backing.to_str().unwrap(),
        on_backing.to_str().unwrap(),
    ]);
    let with_data = lab.path("data.qcow2");
    let option = format!("data_file={},data_file_raw=on", data.display());
    qemu_img(&["create", "-q", "-f", "qcow2", "-o", &option, with_data.to_str().unwrap(), &size.to_string()]);
    std::fs::copy(&raw, &data).unwrap();
    let flat = lab.path("extent.vmdk");
    let sectors = size / 512;
    let descriptor = format!(
        "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\n\
         RW {sectors} FLAT \"{}\" 0\nddb.virtualHWVersion = \"4\"\nddb.geometry.cylinders = \"3048\"\n\
         ddb.geometry.heads = \"16\"\nddb.geometry.sectors = \"63\"\nddb.adapterType = \"ide\"\n",
        extent.display()
    );
    std::fs::write(&flat, descriptor).unwrap();
    for (image, other, role) in
        [(&on_backing, &backing, "backing file"), (&with_data, &data, "data file"), (&flat, &extent, "extent")]
    {
        let before = fingerprint(other);
        let error = open_alone(image).unwrap_err();
        assert!(matches!(error, OpenError::Outside { .. }), "{error}");
        let words = format!("names the {role} {}", other.display());
        assert!(error.to_string().contains(&words), "{error}");
        let target = open(image, Access::ReadOnly).unwrap_or_else(|error| panic!("{}: {error}", image.display()));
        assert_eq!(target.root().read("/etc/hostname").unwrap(), b"patient\n");
        assert!(target.notes().iter().any(|note| note.contains(other.to_str().unwrap())), "{:?}", target.notes());
        drop(target);
        assert_eq!(fingerprint(other), before);
        no_driver_is_left(image);
    }
}

#[test]
fn chains_end_and_reach_nothing_but_files() {
    let lab = Lab::new();
    let raw = lab.disk("disk.raw", &[("root", "ext4")]);
    let image = |name: &str, backing: &str, format: &str| {
        let path = lab.path(name);
        run(Command::new("qemu-img").args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"]).arg(&raw).arg(&path));
        run(Command::new("qemu-img").args(["rebase", "-u", "-f", "qcow2", "-F", format, "-b", backing]).arg(&path));
        path
    };
    let started = Instant::now();
    let itself = image("itself.qcow2", "itself.qcow2", "qcow2");
    for opened in [open(&itself, Access::ReadOnly), open_alone(&itself)] {
        let error = opened.unwrap_err().to_string();
        assert!(error.ends_with("its backing files loop"), "{error}");
    }
    let first = image("first.qcow2", "second.qcow2", "qcow2");
    image("second.qcow2", "first.qcow2", "qcow2");
    let error = open(&first, Access::ReadOnly).unwrap_err().to_string();
    assert!(error.ends_with("its backing files loop"), "{error}");
    for name in ["nbd://127.0.0.1:1/x", "json:{\"driver\":\"file\",\"filename\":\"/etc/passwd\"}", "ssh://x/y"] {
        let error = open(&image("far.qcow2", name, "raw"), Access::ReadOnly).unwrap_err();
        assert!(matches!(error, OpenError::Outside { .. }), "{name}: {error}");
    }
    let device = open(&image("device.qcow2", "/dev/null", "raw"), Access::ReadOnly).unwrap_err().to_string();
    assert!(device.contains("/dev/null, which is not a regular file"), "{device}");
    // A raw image below, whose guest wrote the header of an image to it, stays a raw image.
    let mut guest = std::fs::read(&itself).unwrap();
    guest.resize(1 << 20, 0);
    std::fs::write(lab.path("guest.raw"), guest).unwrap();
    let error = open(&image("on-guest.qcow2", "guest.raw", "raw"), Access::ReadOnly).unwrap_err().to_string();
    assert!(!error.contains("loop"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(20));
}
