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
