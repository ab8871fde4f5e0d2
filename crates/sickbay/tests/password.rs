//! `fix --reset-password` and `--clear-password`: what libcrypt says of the hash, and that undo brings everything back.

mod support;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use support::command::{run, said, sickbay};
use support::manifest::{difference, manifest};
use support::story::{Built, Story};

fn built(directives: &str) -> Built {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), format!("A system.\n\n--- tree debian-12\n{directives}")).expect("written");
    Story::read(file.path()).expect("a story").build().expect("built")
}

/// `fix` with these arguments and a line on standard input.
fn fix(arguments: &[&str], typed: &[u8], root: &Path) -> (Option<i32>, String) {
    let mut command = sickbay(["fix", "--yes"].into_iter().chain(arguments.iter().copied()), root);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("started");
    child.stdin.take().expect("piped").write_all(typed).expect("typed");
    said(&child.wait_with_output().expect("ended"))
}

fn line(root: &Path, file: &str, user: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root.join(file)).expect("readable");
    let line = text.lines().find(|line| line.starts_with(&format!("{user}:"))).expect("a line of the user");
    line.split(':').map(str::to_owned).collect()
}

/// Whether the libcrypt of this machine takes `password` for `hash`.
fn matches(password: &str, hash: &str) -> bool {
    let perl = Command::new("perl").args(["-e", "print crypt($ARGV[0], $ARGV[1])", password, hash]).output();
    String::from_utf8(perl.expect("perl runs").stdout).expect("text") == hash
}

fn today() -> i64 {
    jiff::Timestamp::now().as_second() / 86_400
}

#[test]
fn a_new_password_is_one_that_libcrypt_takes() {
    let built = built("");
    let before = manifest(built.root());
    let old = line(built.root(), "etc/shadow", "root");
    for password in ["correct horse", "x", "pässwörd: 'with' \"$6$\" signs", &"long ".repeat(50)] {
        let (_, text) = fix(&["--reset-password", "root"], format!("{password}\n").as_bytes(), built.root());
        assert!(text.contains("repaired: set root's password [reset-password]"), "{text}");
        let new = line(built.root(), "etc/shadow", "root");
        assert!(!text.contains(&new[1]) && !text.contains(&old[1]), "a hash is shown: {text}");
        assert!(matches(password, &new[1]) && !matches("another", &new[1]), "{password}: {}", new[1]);
        assert!((today() - 1..=today()).contains(&new[2].parse().expect("a day")));
        assert_eq!(new[3..], old[3..], "the other fields stay");
    }
    let (code, text) = run(["undo", "--yes"], built.root());
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(difference(&before, &manifest(built.root())), None);
}

#[test]
fn other_faults_are_mended_first() {
    // shadow is gone, with every copy of it; the account that is meant is locked and another's.
    let built = built("--- empty /etc/shadow 0640\n--- append /etc/passwd\nadmin:x:1000:1000::/home/admin:/bin/bash\n");
    let before = manifest(built.root());
    let (_, text) = run(["check"], built.root());
    assert!(text.contains("sickbay fix --reset-password root"), "{text}");
    let (_, text) = fix(&["--reset-password", "root"], b"first one\r\n", built.root());
    assert!(text.contains("repaired: set root's password"), "{text}");
    let (_, text) = fix(&["--reset-password", "admin", "--only", "reset-password"], b"second", built.root());
    assert!(text.contains("repaired: set admin's password"), "{text}");
    assert!(matches("first one", &line(built.root(), "etc/shadow", "root")[1]));
    assert!(matches("second", &line(built.root(), "etc/shadow", "admin")[1]));
    let (code, text) = run(["undo", "--yes"], built.root());
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(difference(&before, &manifest(built.root())), None);
}

#[test]
fn a_system_without_shadow_keeps_the_hash_in_passwd() {
    let built = built("--- remove /etc/shadow\n--- replace /etc/passwd\nroot:x:\nroot:*:\n");
    let (_, text) = fix(&["--reset-password", "root", "--only", "reset-password"], b"the password\n", built.root());
    assert!(text.contains("repaired: set root's password"), "{text}");
    assert!(matches("the password", &line(built.root(), "etc/passwd", "root")[1]));
    assert!(!built.root().join("etc/shadow").exists());
}

#[test]
fn a_cleared_password_is_empty() {
    let built = built("");
    let (_, text) = run(["fix", "--yes", "--clear-password", "root"], built.root());
    assert!(text.contains("anyone at the console can log in as root"), "{text}");
    assert_eq!(line(built.root(), "etc/shadow", "root")[1], "");
}

#[test]
fn what_nobody_could_type_is_refused() {
    let built = built("");
    let before = manifest(built.root());
    let refused = |user: &str, typed: &[u8], why: &str| {
        let (code, text) = fix(&["--reset-password", user], typed, built.root());
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains(why), "{text}");
        assert_eq!(difference(&before, &manifest(built.root())), None);
    };
    refused("root", b"\n", "the password is empty");
    refused("root", b"", "the password is empty");
    refused("root", b"a\0b\n", "control character");
    refused("root", b"\xff\xfe\n", "not valid UTF-8");
    refused("root", &[b'x'; 400], "longer than 256 bytes");
    refused("nobody-here", b"the password\n", "there is no account nobody-here");
    let (_, text) = run(["fix", "--dry-run", "--reset-password", "root"], built.root());
    assert!(text.contains("reset-password: set root's password") && !text.contains("New password"), "{text}");
    assert_eq!(difference(&before, &manifest(built.root())), None);
}
