//! What a target is, and what is none: directories without a system, what only looks like one, what has disks.

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::command::{run, said, sickbay};
use support::manifest::{difference, manifest};
use support::story::Story;

fn tree(dir: &Path, paths: &[&str]) -> PathBuf {
    let root = dir.join("root");
    fs::create_dir_all(&root).expect("made");
    for path in paths {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("below the root")).expect("made");
        fs::write(path, "x\n").expect("written");
    }
    root
}

/// A copy of a healthy system.
fn system(dir: &Path) -> PathBuf {
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/trees/debian-12.txt");
    let built = Story::read(&tree).and_then(|story| story.build()).expect("the tree");
    let root = dir.join("system");
    assert!(Command::new("cp").arg("-a").arg(built.root()).arg(&root).status().expect("cp").success());
    root
}

/// Neither looked at nor written to, and named.
fn refused(root: &Path, words: &str) {
    let before = manifest(root);
    for arguments in [&["check"][..], &["fix", "--yes", "--risky"], &["fix", "--dry-run"]] {
        let (code, text) = run(arguments.iter().copied(), root);
        assert_eq!(code, Some(2), "{}: {text}", root.display());
        assert!(text.contains(words) && !text.contains("critical"), "{}: {text}", root.display());
    }
    assert_eq!(difference(&before, &manifest(root)), None);
}

#[test]
fn a_directory_without_a_system_is_refused() {
    let words = "nothing here looks like a Linux root (is it mounted?)";
    for paths in [
        &[][..],
        &["alice/.bashrc", "bob/notes.txt"],
        &["2023/06/img_1.jpg"],
        &["passwd", "fstab", "shadow", "ssh/sshd_config"],
        &["etc/passwd", "etc/fstab", "home/alice/x"],
        &["boot/vmlinuz-6.1.0", "boot/grub/grub.cfg"],
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        refused(&tree(dir.path(), paths), words);
    }
    for dir in ["/etc", "/home"] {
        let (code, text) = run(["check"], Path::new(dir));
        assert_eq!((code, text.contains(words)), (Some(2), true), "{text}");
    }
    let (code, text) = run(["check"], Path::new("/proc"));
    assert_eq!((code, text.contains("(proc)")), (Some(2), true), "{text}");
}

#[test]
fn what_only_looks_like_a_system_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let suse =
        tree(dir.path(), &["basic-environment.txt", "etc/fstab", "etc/os-release", "usr/bin/sh", "proc/meminfo"]);
    refused(&suse, "is a supportconfig, which is not read yet");
}

#[test]
fn a_system_that_lost_most_of_it_is_looked_at() {
    for lost in
        [&["etc"][..], &["usr", "bin", "sbin", "lib"], &["var", "etc", "boot"], &["dev", "proc", "sys", "run", "tmp"]]
    {
        let dir = tempfile::tempdir().expect("a directory");
        let root = system(dir.path());
        for name in lost {
            let _ = fs::remove_dir_all(root.join(name));
            let _ = fs::remove_file(root.join(name));
        }
        let (code, text) = run(["check"], &root);
        assert!(!text.contains("looks like a Linux root"), "{lost:?}: {text}");
        assert!(code == Some(1) || code == Some(2), "{lost:?}: {code:?}: {text}");
        assert!(text.contains("critical"), "{lost:?}: {text}");
    }
}

/// The outcomes of checks in a JSON report.
fn outcomes(text: &str) -> std::collections::BTreeMap<String, String> {
    let report: serde_json::Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let word = |one: &serde_json::Value, key: &str| one[key].as_str().expect("a word").to_owned();
    let all = report["outcomes"].as_array().expect("a list");
    all.iter().map(|one| (word(one, "check"), word(one, "outcome"))).collect()
}

/// What `check` says of `$root` after a script that mounts where nobody else sees it.
fn mounted(script: &str, variables: &[(&str, &Path)]) -> String {
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-ec", &format!("{script}\nexec \"$sickbay\" check --format=json \"$root\"")]);
    command.env("sickbay", env!("CARGO_BIN_EXE_sickbay")).env("LC_ALL", "C").envs(variables.iter().copied());
    let output = command.output().expect("unshare");
    assert!(!output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn a_directory_has_no_disks_and_no_file_system_of_its_own() {
    let dir = tempfile::tempdir().expect("a directory");
    let system = system(dir.path());
    let place = dir.path().join("place");
    fs::create_dir(&place).expect("made");
    let bound = mounted("mount --bind \"$system\" \"$root\"", &[("system", &system), ("root", &place)]);
    for text in [run(["check", "--format=json"], &system).1, bound] {
        let outcomes = outcomes(&text);
        for id in ["file-system-damaged", "file-system-full", "partition-table-damaged", "boot-loader-missing"] {
            assert_eq!(outcomes[id], "not-applicable", "{id}: {text}");
        }
    }
    // What is mounted as a whole has both.
    let image = dir.path().join("disk");
    let script = "truncate -s 128M \"$image\"; mkfs.ext4 -q \"$image\"; mount -o loop \"$image\" \"$root\"\n\
                  cp -a \"$system\"/. \"$root\"";
    let text = mounted(script, &[("system", &system), ("root", &place), ("image", &image)]);
    let outcomes = outcomes(&text);
    for id in ["file-system-damaged", "file-system-full"] {
        assert_eq!(outcomes[id], "clear", "{id}: {text}");
    }
}

#[test]
fn a_root_whose_etc_is_a_link_out_is_none_of_the_helpers() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path().join("root");
    fs::create_dir_all(&root).expect("made");
    for name in ["etc", "usr", "bin", "lib", "var"] {
        symlink(format!("{}{name}", "../".repeat(20)), root.join(name)).expect("linked");
    }
    refused(&root, "nothing here looks like a Linux root");
}

/// Standard input that gives the text once, as a pipe.
fn piped(arguments: &[&str], text: &[u8]) -> (Option<i32>, String) {
    use std::io::Write;
    let mut child = sickbay(arguments.iter().copied(), Path::new("-"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    let mut stdin = child.stdin.take().expect("a pipe");
    let text = text.to_vec();
    let writer = std::thread::spawn(move || drop(stdin.write_all(&text)));
    let output = child.wait_with_output().expect("ended");
    writer.join().expect("written");
    said(&output)
}

/// The findings of a report, each by check, severity and sentence.
fn findings(text: &str) -> Vec<String> {
    let report: serde_json::Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let list = report["findings"].as_array().expect("a list");
    list.iter().map(|one| format!("{} {} {}", one["severity"], one["check"], one["message"])).collect()
}

#[test]
fn every_log_says_the_same_through_a_pipe() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let dir = tempfile::tempdir().expect("a directory");
    let mut count = 0;
    let stories =
        fs::read_dir(cases).expect("cases").flatten().flat_map(|dir| fs::read_dir(dir.path()).expect("a directory"));
    for path in stories.flatten().map(|entry| entry.path()) {
        let Ok(Story { log: Some(log), .. }) = Story::read(&path) else { continue };
        let file = dir.path().join("LOG");
        fs::write(&file, &log).expect("written");
        let (code, by_path) = run(["check", "--format=json"], &file);
        let (again, by_pipe) = piped(&["check", "--format=json"], log.as_bytes());
        assert_eq!((code, findings(&by_path)), (again, findings(&by_pipe)), "{}", path.display());
        count += 1;
    }
    assert!(count > 20, "{count} logs");
    let report = "#\n# There is insufficient memory for the Java Runtime Environment to continue.\n\
                  # Native memory allocation (mmap) failed to map 65536 bytes for committing reserved memory.\n";
    let (code, text) = piped(&["check"], report.as_bytes());
    assert!(code != Some(0) && text.contains("jvm-out-of-memory"), "{text}");
}

#[test]
fn an_input_that_is_no_log_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut tar = vec![0; 1024];
    tar[..6].copy_from_slice(b"kern.l");
    tar[257..262].copy_from_slice(b"ustar");
    tar.extend(b"Jun 12 10:36:02 gw kernel: nf_conntrack: nf_conntrack: table full, dropping packet\n");
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, &tar).expect("packed");
    for (name, content, words) in [
        ("kern.log", &b""[..], "empty"),
        ("messages", b"BZh91AY&SY12345", "bzip2"),
        ("kern.tar.log", &tar, "a tar archive"),
        ("kern.tar.gz", &packed.finish().expect("packed"), "a tar archive"),
        ("dmesg.txt", b"\xff\xfe[\0 \0 \0 \x000\0.\x000\0", "not a log that sickbay knows"),
    ] {
        let path = dir.path().join(name);
        fs::write(&path, content).expect("written");
        let (code, text) = run(["check"], &path);
        assert_eq!((code, text.contains(words)), (Some(2), true), "{name}: {text}");
        let (code, text) = piped(&["check"], content);
        assert_eq!((code, text.contains(words)), (Some(2), true), "{name} by a pipe: {text}");
    }
}

#[test]
fn few_descriptors_make_nothing_look_missing() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = system(dir.path());
    let (expected, _) = run(["check"], &root);
    for (soft, hard) in [(10, 10), (10, 4096), (63, 63), (64, 64), (100, 100)] {
        let mut command = Command::new("prlimit");
        command.arg(format!("--nofile={soft}:{hard}")).arg(env!("CARGO_BIN_EXE_sickbay")).arg("check").arg(&root);
        let (code, text) = said(&command.env("LC_ALL", "C").output().expect("prlimit"));
        assert!(!text.contains("critical") && !text.contains("error["), "{soft}:{hard}: {text}");
        match hard {
            0..64 => assert!(code == Some(2) && text.contains("files at once"), "{soft}:{hard}: {code:?} {text}"),
            // The right answer, or that it is not known.
            _ => assert!(code == expected || code == Some(2), "{soft}:{hard}: {code:?} {text}"),
        }
    }
}

#[test]
fn directories_without_end_cost_little_and_are_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = system(dir.path());
    for name in ["etc/pam.d", "etc/profile.d", "etc/sysctl.d", "etc/ssh/sshd_config.d", "etc/security/limits.d"] {
        let dir = root.join(name);
        fs::create_dir_all(&dir).expect("made");
        let first = dir.join("00000.conf");
        fs::write(&first, "# nothing\n").expect("written");
        // Many names of one file: what is many is what is listed.
        for number in 1..=30_000 {
            let ending = if name.ends_with("profile.d") { "sh" } else { "conf" };
            fs::hard_link(&first, dir.join(format!("{number:05}.{ending}"))).expect("linked");
        }
    }
    let begun = std::time::Instant::now();
    let (code, text) = run(["check"], &root);
    assert!(begun.elapsed() < std::time::Duration::from_secs(60), "{:?}", begun.elapsed());
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("of which 4096 are read") && !text.contains("critical"), "{text}");
}

#[test]
fn images_that_reach_outside_are_refused_by_every_verb() {
    let dir = tempfile::tempdir().expect("a directory");
    let victim = dir.path().join("victim");
    fs::write(&victim, vec![0x5a; 1 << 20]).expect("written");
    let qemu_img = |arguments: &[&str]| {
        assert!(Command::new("qemu-img").args(arguments).status().expect("qemu-img").success(), "{arguments:?}");
    };
    let image = |name: &str| dir.path().join(name).display().to_string();
    let name = victim.display().to_string();
    qemu_img(&["create", "-q", "-f", "qcow2", "-F", "raw", "-b", &name, &image("backing.qcow2")]);
    let data = format!("data_file={},data_file_raw=on", image("data"));
    qemu_img(&["create", "-q", "-f", "qcow2", "-o", &data, &image("data.qcow2"), "1M"]);
    let descriptor = format!(
        "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\n\
         RW 2048 FLAT \"{name}\" 0\n"
    );
    fs::write(image("extent.vmdk"), descriptor).expect("written");
    for (name, words) in [
        ("backing.qcow2", format!("the backing file {name}")),
        ("data.qcow2", format!("the data file {}", image("data"))),
        ("extent.vmdk", format!("the extent {name}")),
    ] {
        for arguments in [&["check"][..], &["fix", "--yes"], &["undo", "--yes"], &["boot"]] {
            let (code, text) = run(arguments.iter().copied(), Path::new(&image(name)));
            assert_eq!(code, Some(2), "{name} {arguments:?}: {text}");
            assert!(text.contains(&words) && text.contains("--follow-images"), "{name} {arguments:?}: {text}");
        }
        let (code, text) = run(["check", "--follow-images"], Path::new(&image(name)));
        assert!(code == Some(2) && !text.contains("which is outside it"), "{name}: {text}");
    }
    assert!(fs::read(&victim).expect("readable").iter().all(|byte| *byte == 0x5a));
}
