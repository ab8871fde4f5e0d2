//! Programs of a target, run on a copy of it. Needs root.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use sickbay_target::{Access, Inside, InsideError, Made, Options, Target};
use support::{Lab, escape, run};

/// A root with a shell of this machine in it, and some programs.
fn tree(lab: &Lab) -> PathBuf {
    let tree = lab.tree("root");
    for program in ["sh", "cat", "sleep", "ls", "touch", "id", "mkdir", "mknod", "readlink"] {
        let path = ["/usr/bin", "/bin"].iter().map(|dir| Path::new(dir).join(program)).find(|path| path.exists());
        let path = path.unwrap_or_else(|| panic!("{program}: is it installed?"));
        copy(&path, &tree.join("usr/bin").join(program));
        for word in run(Command::new("ldd").arg(&path)).split_whitespace().filter(|word| word.starts_with('/')) {
            copy(Path::new(word), &tree.join(&word[1..]));
        }
    }
    tree
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
    std::fs::copy(from, to).unwrap();
    std::fs::set_permissions(to, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn shell(script: &str) -> Inside {
    Inside {
        program: "sh".into(),
        arguments: vec!["-c".into(), script.into()],
        lent: vec![("/etc/settings.d/lent".into(), b"lent\n".to_vec())],
        outputs: vec!["/made".into(), "/nothing".into()],
        deadline: Duration::from_secs(30),
    }
}

fn open(path: &Path) -> Target {
    Target::open(Some(path), &Options { access: Access::ReadWrite, with: Vec::new(), ..Options::default() }).unwrap()
}

fn said(made: &Made) -> String {
    assert!(made.output.success(), "{}", String::from_utf8_lossy(&made.output.stderr));
    String::from_utf8_lossy(made.files[0].as_deref().unwrap_or_default()).into_owned()
}

fn names(dir: &Path) -> Vec<String> {
    let mut all: Vec<String> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    all.sort();
    all
}

#[test]
fn what_it_makes_is_taken_out_and_nothing_changes() {
    let lab = Lab::new();
    let tree = tree(&lab);
    let target = open(&tree);
    let before = names(&tree);
    let made = target
        .run_inside(&shell("cat /etc/settings.d/lent /etc/hostname > /made; touch /etc/x; echo y > /etc/hostname"));
    let made = made.unwrap();
    assert_eq!(said(&made), "lent\npatient\n");
    assert_eq!(made.files[1], None);
    assert_eq!(names(&tree), before);
    assert!(!tree.join("etc/x").exists() && !tree.join("etc/settings.d").exists());
    assert_eq!(std::fs::read_to_string(tree.join("etc/hostname")).unwrap(), "patient\n");
}

#[test]
fn it_reaches_nothing_outside() {
    let lab = Lab::new();
    let tree = tree(&lab);
    // Links that lead out of the root lead to places in it.
    std::fs::remove_dir(tree.join("run")).unwrap();
    std::os::unix::fs::symlink("/", tree.join("run")).unwrap();
    let target = open(&tree);
    let script = "exec 2>&1 > /made
        echo pid $$
        mknod /tmp/disk b 7 0; cat /tmp/disk && echo read a disk
        echo 1 > /proc/sys/kernel/panic && echo wrote a sysctl
        cat /dev/null /proc/self/status | while read -r key value; do case $key in CapEff:) echo $value;; esac; done
        while read -r name rest; do echo net $name; done < /proc/net/dev
        cat /dev/zero 2>&1 | { read -r x; true; } & sleep 0.1
        true";
    let text = said(&target.run_inside(&shell(script)).unwrap());
    assert!(text.contains("pid 1\n") && text.contains("00000000000000db") && text.contains("net lo:"), "{text}");
    assert!(!text.contains("read a disk") && !text.contains("wrote a sysctl") && !text.contains("net eth"), "{text}");
}

/// A program of the target that wants out, with this argument.
fn hostile(argument: &str) -> Inside {
    Inside {
        program: "escape".into(),
        arguments: vec![argument.into()],
        deadline: Duration::from_secs(60),
        ..Inside::default()
    }
}

#[test]
fn no_way_leads_out() {
    let lab = Lab::new();
    let tree = tree(&lab);
    escape(&tree.join("usr/bin/escape"));
    let secret = lab.path("secret");
    std::fs::write(&secret, "the helper's").unwrap();
    // Whoever started us may have left something open; what is not marked is inherited.
    let open_dir = std::fs::File::open("/").unwrap();
    rustix::io::fcntl_setfd(&open_dir, rustix::io::FdFlags::empty()).unwrap();
    let disk = lab.disk("disk", &[("root", "ext4")]);
    for target in [open(&tree), open(&disk)] {
        let made = target.run_inside(&hostile(secret.to_str().unwrap())).unwrap();
        let said = String::from_utf8_lossy(&made.output.stdout).into_owned();
        assert!(made.output.success() && said == "tried\n", "{said}{}", made.output.complaint());
    }
    // It does get out of a mere chroot, or the test would show nothing.
    let jail = Command::new("chroot").arg(&tree).arg("/usr/bin/escape").arg(&secret).arg("chroot").output().unwrap();
    assert!(String::from_utf8_lossy(&jail.stdout).contains("OUT chdir upwards"), "{jail:?}");
}

#[test]
fn what_it_takes_is_bounded() {
    let lab = Lab::new();
    let tree = tree(&lab);
    escape(&tree.join("usr/bin/escape"));
    let target = open(&tree);
    let made = target.run_inside(&hostile("fill")).unwrap();
    let said = String::from_utf8_lossy(&made.output.stdout).into_owned();
    let filled: u64 = said.trim().strip_prefix("filled ").unwrap().parse().unwrap();
    assert!((100..=2048).contains(&filled), "{said}");

    let started = Instant::now();
    let error = target.run_inside(&hostile("forks")).unwrap_err().to_string();
    assert_eq!(error, "escape started more and more processes and was killed");
    assert!(started.elapsed() < Duration::from_secs(20));
    let left = run(Command::new("sh").args(["-c", "pgrep -x escape | wc -l"]));
    assert_eq!(left.trim(), "0");
}

#[test]
fn it_ends_in_time_with_all_that_it_started() {
    let lab = Lab::new();
    let target = open(&tree(&lab));
    let started = Instant::now();
    let forever = Inside { deadline: Duration::from_millis(700), ..shell("sleep 6543 & sleep 6543") };
    assert!(matches!(target.run_inside(&forever), Err(InsideError::Command(_))));
    assert!(started.elapsed() < Duration::from_secs(10));
    std::thread::sleep(Duration::from_millis(200));
    let running = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        std::fs::read_to_string(entry.ok()?.path().join("cmdline")).ok().filter(|line| line.contains("sleep\u{0}6543"))
    });
    assert_eq!(running.count(), 0);

    let failing = target.run_inside(&shell("echo no room >&2; exit 3")).unwrap();
    assert!(!failing.output.success() && failing.output.complaint() == "no room");
    let missing = Inside { program: "mkinitramfs".into(), ..shell("") };
    let error = target.run_inside(&missing).unwrap_err().to_string();
    assert!(error.starts_with("mkinitramfs of the target was not run: the target does not have it"), "{error}");
}

#[test]
fn a_disk_with_a_boot_of_its_own() {
    let lab = Lab::new();
    tree(&lab);
    let disk = lab.disk("disk", &[("root", "ext4"), ("boot", "ext4")]);
    let target = open(&disk);
    let uuid = target.volumes.as_ref().unwrap().iter().find_map(|volume| volume.uuid.clone()).unwrap();
    let script = "exec > /boot/made; ls /boot; readlink /dev/disk/by-uuid/*; ls /dev/disk/by-uuid";
    let run = Inside { outputs: vec!["/boot/made".into()], ..shell(script) };
    let text = said(&target.run_inside(&run).unwrap());
    assert!(
        text.contains("vmlinuz-6.1.0-1-amd64\n") && text.contains("../../vda1\n") && text.contains(&uuid),
        "{text}"
    );
    assert!(!target.root().exists("/boot/made").unwrap());
}
