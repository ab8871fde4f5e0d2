//! What `sickbay --version` tells of a release besides its version: the commit and its day, and what it was built for.
#![allow(clippy::disallowed_methods, reason = "a build is no diagnosis")]

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let of_cargo = |name: &str| std::env::var(name).unwrap_or_default();
    println!("cargo::rustc-env=SICKBAY_TARGET={}", of_cargo("TARGET"));
    // While one works every commit would be another build.
    if of_cargo("PROFILE") != "release" {
        return;
    }
    // Rust's own linker for x86-64 is lld: it keeps one of several functions that are the same, and a word for each address that
    // the start of a program has to correct instead of three.
    if of_cargo("TARGET") == "x86_64-unknown-linux-gnu" {
        for flag in ["--icf=all", "-zpack-relative-relocs"] {
            println!("cargo::rustc-link-arg-bins=-Wl,{flag}");
        }
    }
    let log = Path::new(&of_cargo("CARGO_MANIFEST_DIR")).join("../../.git/logs/HEAD");
    if log.is_file() {
        println!("cargo::rerun-if-changed={}", log.display());
    }
    // What was unpacked from an archive has no commit, and is not asked for one.
    let commit = Command::new("git").args(["log", "-1", "--format=%h %cs", "--abbrev=12"]).output();
    if let Some(commit) = commit.ok().filter(|out| out.status.success())
        && let Ok(text) = String::from_utf8(commit.stdout)
    {
        println!("cargo::rustc-env=SICKBAY_COMMIT={}", text.trim());
    }
}
