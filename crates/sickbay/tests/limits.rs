//! A narrow machine: what cannot work is said at once, and what can does.
#![allow(clippy::disallowed_methods)]

use std::process::{Command, Output};

fn within(limit: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new("prlimit");
    command.arg(limit).arg(env!("CARGO_BIN_EXE_sickbay")).args(["--lang", "en"]).args(arguments);
    command.output().expect("prlimit of util-linux")
}

#[test]
fn too_little_memory_is_named() {
    for (limit, named) in [("--data=33554432", "32 MiB of memory (ulimit -d)"), ("--as=104857600", "100 MiB of memory")]
    {
        let output = within(limit, &["check", "/"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(named) && !said.contains("panicked"), "{said}");
    }
}

#[test]
fn few_addresses_are_enough() {
    // `ulimit -v 400000`
    let output = within("--as=409600000", &["check", "/"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code().is_some_and(|code| code <= 2) && !said.contains("memory allocation"), "{said}");
}

#[test]
fn without_one_more_thread_the_same_is_found() {
    let target = tempfile::tempdir().unwrap();
    std::fs::set_permissions(target.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for dir in ["etc", "usr/bin", "usr/lib/modules", "var/lib/dpkg", "boot"] {
        std::fs::create_dir_all(target.path().join(dir)).unwrap();
    }
    std::fs::write(target.path().join("etc/fstab"), "UUID=dead-beef /data ext4\n").unwrap();
    std::fs::write(target.path().join("etc/os-release"), "ID=debian\nVERSION_ID=12\n").unwrap();
    // A user of its own has no other processes that count; the one that it may have is the program itself.
    let program = target.path().join("sickbay");
    std::fs::copy(env!("CARGO_BIN_EXE_sickbay"), &program).unwrap();
    let check = |limit: &str| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=54321", "--regid=54321", "--clear-groups", "prlimit", limit]).arg(&program);
        command.args(["--lang", "en", "--format", "json", "check"]).arg(target.path());
        let output = command.output().expect("setpriv and prlimit of util-linux");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!said.contains("panicked"), "{said}");
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect(&said);
        let ids = report["findings"].as_array().unwrap().iter().map(|finding| finding["check"].clone());
        (output.status.code(), ids.collect::<Vec<_>>())
    };
    let (narrow, wide) = (check("--nproc=1"), check("--nproc=100"));
    assert!(!wide.1.is_empty());
    assert_eq!(narrow, wide);
}
