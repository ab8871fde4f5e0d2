//! What the profile checks say of a story, the real bash does: a login is stopped before the repair and gets through after
//! it. The story's files are put over this machine's in namespaces of their own, with limits of time and memory.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sickbay::checks;
use sickbay::engine::rounds;
use sickbay::repair::plan::{Choice, Plan};
use support::story::{Built, Story};

/// Stories that may be run: `reboot` is not among them.
const STOPPED: &[&str] = &[
    "profile-stops-login/seed-case",
    "profile-stops-login/through-profile-d",
    "profile-stops-login/each-other",
    "profile-stops-login/exit",
    "profile-stops-login/exit-in-a-branch",
    "profile-stops-login/exec",
    "profile-stops-login/shells",
    "profile-stops-login/kill",
    "profile-stops-login/read",
    "profile-stops-login/errors-end",
    "profile-stops-login/endless",
    "profile-stops-login/path-doubled",
    "profile-stops-login/file-in-a-variable",
    "profile-path-lost/own-only",
    "profile-path-lost/dollar",
];

/// A login on a terminal (script(1) makes one) that somebody sits at: a command that fails, then one that is looked for in PATH.
const TYPED: &str = "false\nenv printf 'reached %d\\n' 42\n";

fn build(name: &str) -> Built {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/cases/{name}.txt"));
    Story::read(&path).unwrap().build().unwrap()
}

/// Whether a login shell with the files of `root` comes to the prompt and finds commands.
fn gets_in(root: &Path) -> Result<(), String> {
    let script = "
        set -e
        for path in /etc/profile /etc/profile.d /etc/bash.bashrc /root; do mount --bind \"$1$path\" \"$path\"; done
        ulimit -v 1000000
        (printf '%s' \"$2\"; sleep 4) |
            timeout -s KILL 8 env -i HOME=/root USER=root TERM=dumb PATH=/usr/bin:/bin script -qec 'bash -l' /dev/null";
    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "--propagation",
        "private",
        "--pid",
        "--fork",
        "--kill-child",
        "--",
        "sh",
        "-c",
        script,
        "sh",
    ]);
    let Output { stdout, stderr, .. } = command.arg(root).arg(TYPED).output().unwrap();
    let text = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
    if text.contains("reached 42") { Ok(()) } else { Err(text.chars().take(2000).collect()) }
}

#[test]
fn bash_is_stopped_and_then_gets_in() {
    // This machine's bash must have what is put over; a healthy story shows that the harness works.
    for path in ["/etc/profile", "/etc/profile.d", "/etc/bash.bashrc"] {
        assert!(PathBuf::from(path).exists(), "{path} is needed here to put the story's over it");
    }
    gets_in(build("healthy/debian-12").root()).unwrap_or_else(|said| panic!("a healthy login is stopped: {said}"));
    gets_in(build("healthy/profiles-of-rhel").root())
        .unwrap_or_else(|said| panic!("a healthy login is stopped: {said}"));
    // Each of them mostly waits.
    std::thread::scope(|scope| {
        for name in STOPPED {
            scope.spawn(move || is_stopped_and_then_gets_in(name));
        }
    });
}

fn is_stopped_and_then_gets_in(name: &str) {
    let built = build(name);
    assert!(gets_in(built.root()).is_err(), "{name}: bash gets in before the repair");
    let (target, donor) = built.open_for_repair().unwrap();
    let mut agree = |_: &sickbay::model::diagnosis::Diagnosis, _: &mut Plan| true;
    let choice = Choice::default();
    let outcome = rounds::fix(&target, donor.as_ref(), &checks::ALL, &choice, &mut agree);
    assert!(outcome.is_ok_and(|outcome| outcome.diagnosis.findings.is_empty()), "{name} is not repaired");
    gets_in(built.root()).unwrap_or_else(|said| panic!("{name}: bash is stopped after the repair: {said}"));
}
