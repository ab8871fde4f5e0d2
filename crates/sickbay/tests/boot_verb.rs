//! `sickbay boot` with real machines in QEMU, whose whole system is a boot sector that speaks on the serial line.
#![allow(clippy::unwrap_used, reason = "a test may")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use sha2::{Digest, Sha256};

/// Writes each byte of a text behind it to the first serial port, and halts.
const SPEAKER: [u8; 22] = [
    0xfa, // cli
    0x31, 0xc0, 0x8e, 0xd8, // ds = 0
    0xbe, 0x16, 0x7c, // si = the text
    0xba, 0xf8, 0x03, // dx = the port
    0xac, 0x84, 0xc0, 0x74, 0x03, // lodsb, and out of it at a NUL
    0xee, 0xeb, 0xf8, // out, again
    0xf4, 0xeb, 0xfd, // hlt for ever
];

/// A disk that says `text` when it is started.
fn speaker(dir: &Path, text: &str) -> PathBuf {
    let mut disk = SPEAKER.to_vec();
    disk.extend_from_slice(text.as_bytes());
    assert!(disk.len() < 440, "it fits before the partition table");
    disk.resize(1 << 20, 0);
    disk[510] = 0x55;
    disk[511] = 0xaa;
    let path = dir.join("speaker.img");
    std::fs::write(&path, disk).unwrap();
    path
}

fn sickbay(dir: &Path, args: &[&str], disk: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sickbay"));
    let console = dir.join("console.log");
    command.args(args).arg(disk).args(["--lang", "en", "--memory", "64", "--console"]).arg(console);
    // What is made on the way is made here.
    let scratch = dir.join("scratch");
    std::fs::create_dir_all(&scratch).unwrap();
    command.env("TMPDIR", scratch);
    command
}

fn boot(dir: &Path, disk: &Path) -> (Value, Output) {
    let output = sickbay(dir, &["boot", "--format", "json"], disk).output().unwrap();
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (report, output)
}

fn digest(path: &Path) -> Vec<u8> {
    Sha256::digest(std::fs::read(path).unwrap()).to_vec()
}

fn left_over(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir.join("scratch")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn a_login_is_reached_and_the_disk_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let disk =
        speaker(dir.path(), "Loading Linux 6.1 ...\r\n[    0.000000] Linux version 6.1.0 (gcc)\r\n\r\nlab login: ");
    let before = digest(&disk);
    let (report, output) = boot(dir.path(), &disk);
    assert_eq!(output.status.code(), Some(0), "{report:#}");
    assert_eq!(report["boot"]["outcome"], "login");
    assert_eq!(report["boot"]["line"], 4);
    assert_eq!(report["boot"]["kernel"], "6.1.0");
    assert_eq!(report["boot"]["firmware"], "bios");
    assert!(report["proofs"]["boot"].as_array().unwrap().iter().all(|stage| stage["state"] == "ok"));
    assert_eq!(digest(&disk), before);
    assert_eq!(left_over(dir.path()), Vec::<String>::new());
    let kept = std::fs::read_to_string(dir.path().join("console.log")).unwrap();
    assert!(kept.ends_with("lab login: "), "{kept:?}");
}

#[test]
fn a_stop_is_told_with_stage_and_line_of_a_qcow2_too() {
    let dir = tempfile::tempdir().unwrap();
    let raw =
        speaker(dir.path(), "GRUB loading.\r\nWelcome to GRUB!\r\n\r\nerror: no such partition.\r\ngrub rescue> ");
    let disk = dir.path().join("a, b.qcow2");
    let converted = Command::new("qemu-img").args(["convert", "-O", "qcow2"]).arg(&raw).arg(&disk).status().unwrap();
    assert!(converted.success());
    let before = digest(&disk);
    let (report, output) = boot(dir.path(), &disk);
    assert_eq!(output.status.code(), Some(1), "{report:#}");
    assert_eq!(report["boot"]["stage"], "bootloader");
    assert_eq!(report["boot"]["cause"], "LoaderDevice");
    assert_eq!(report["boot"]["line"], 4);
    assert_eq!(report["boot"]["text"], "error: no such partition.");
    assert_eq!(digest(&disk), before);
}

#[test]
fn an_overlay_is_started_with_what_it_lies_on_when_asked_to() {
    let dir = tempfile::tempdir().unwrap();
    let below = speaker(dir.path(), "[    0.000000] Linux version 6.1.0 (gcc)\r\n\r\nlab login: ");
    let disk = dir.path().join("overlay.qcow2");
    let mut create = Command::new("qemu-img");
    create.args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"]).arg(&below).arg(&disk);
    assert!(create.status().unwrap().success());
    let before = (digest(&below), digest(&disk));
    let refused = sickbay(dir.path(), &["boot"], &disk).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--follow-images allows that"));
    let started = sickbay(dir.path(), &["boot", "--follow-images"], &disk).output().unwrap();
    assert_eq!(started.status.code(), Some(0), "{}", String::from_utf8_lossy(&started.stderr));
    assert_eq!((digest(&below), digest(&disk)), before);
}

#[test]
fn a_machine_that_is_at_work_when_its_time_is_up_is_not_told_to_stand() {
    let dir = tempfile::tempdir().unwrap();
    let disk = speaker(dir.path(), "[    0.000000] Linux version 6.1.0 (gcc)\r\nLoading, please wait...\r\n");
    let output = sickbay(dir.path(), &["boot", "--timeout", "3"], &disk).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("whether it boots is undetermined; it got to root=: it is still busy after "), "{said}");
    // A pipe gets no progress.
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn when_it_is_killed_nothing_stays() {
    let dir = tempfile::tempdir().unwrap();
    let disk = speaker(dir.path(), "Welcome to GRUB!\r\n");
    let mut child = sickbay(dir.path(), &["boot"], &disk).stdout(Stdio::null()).spawn().unwrap();
    let is_ours = |line: &str| line.contains("qemu-system") && line.contains(&*dir.path().to_string_lossy());
    let machines = || {
        let listed = Command::new("ps").args(["-eo", "args"]).output().unwrap();
        String::from_utf8_lossy(&listed.stdout).lines().filter(|line| is_ours(line)).count()
    };
    // Once it runs, its files have no names any more.
    let until = Instant::now() + Duration::from_secs(60);
    while machines() == 0 || !left_over(dir.path()).is_empty() {
        assert!(Instant::now() < until, "it does not start");
        std::thread::sleep(Duration::from_millis(100));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let until = Instant::now() + Duration::from_secs(10);
    while machines() > 0 {
        assert!(Instant::now() < until, "the machine outlives us");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(left_over(dir.path()), Vec::<String>::new());
}

#[test]
fn what_cannot_be_started_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let said = |target: &Path| {
        let output = sickbay(dir.path(), &["boot"], target).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let root = dir.path().join("root");
    for dir in ["etc", "usr/bin", "var/lib/dpkg"] {
        std::fs::create_dir_all(root.join(dir)).unwrap();
    }
    std::fs::write(root.join("etc/os-release"), "ID=debian\n").unwrap();
    std::fs::write(root.join("var/lib/dpkg/status"), "").unwrap();
    assert!(
        said(&root)
            .contains("cannot be booted: it is mounted (name the disk it is on); only a disk or a disk image can")
    );
    let log = dir.path().join("console.txt");
    std::fs::write(&log, "GRUB loading.\nWelcome to GRUB!\nerror: no such partition.\ngrub rescue> ").unwrap();
    assert!(said(&log).contains("cannot be booted: it is a log"));
    assert!(said(&dir.path().join("nothing")).contains("does not exist"));
}
