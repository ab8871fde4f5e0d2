//! `sickbay trace -- CMD` of commands that are broken in as many ways.
#![allow(clippy::disallowed_methods)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

fn sickbay(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sickbay")).args(["--lang", "en"]).args(words).output().expect("it runs")
}

/// What is told of a command: its status, the first cause and its subject.
fn told(command: &[&str]) -> (i32, String, String, Value) {
    let mut words = vec!["trace", "--format", "json", "--"];
    words.extend(command);
    let output = sickbay(&words);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let text = |key: &str| report["failures"][0][key].as_str().unwrap_or_default().to_owned();
    (output.status.code().unwrap_or(-1), text("cause"), text("subject"), report)
}

/// Whether files that are made here are root's.
fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|found| std::os::unix::fs::MetadataExt::uid(&found) == 0)
}

fn program(path: &Path, text: &str) {
    fs::write(path, text).expect("a file");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("a mode");
}

#[test]
fn broken_in_many_ways() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name).display().to_string();
    program(&dir.path().join("no-interpreter"), "#!/opt/gone/python\nprint(1)\n");
    program(&dir.path().join("carriage-return"), "#!/bin/sh\r\nexit 0\n");
    program(&dir.path().join("silent"), &format!("#!/bin/sh\n[ -e {}/wanted ] || exit 4\n", dir.path().display()));
    fs::create_dir(dir.path().join("a-file-not-a-dir")).expect("a directory");
    symlink("nowhere", dir.path().join("dangling")).expect("a link");
    fs::write(dir.path().join("file"), "x").expect("a file");
    program(&dir.path().join("other-machine"), "no program\n");
    fs::write(dir.path().join("not-executable"), "#!/bin/sh\n").expect("a file");
    for (command, status, cause, subject) in [
        (vec!["cat".to_owned(), path("gone")], 1, "missing", path("gone")),
        (vec!["cat".to_owned(), path("dangling")], 1, "missing", path("dangling")),
        (vec![path("no-interpreter")], 127, "interpreter", path("no-interpreter")),
        (vec!["sh".to_owned(), "-c".to_owned(), path("carriage-return")], 127, "interpreter", path("carriage-return")),
        (vec![path("silent")], 4, "missing", path("wanted")),
        (vec!["cat".to_owned(), path("file/below")], 1, "refused", path("file/below")),
        (
            vec!["chown".to_owned(), "nobody-of-that-name".to_owned(), path("file")],
            1,
            "unknown",
            "nobody-of-that-name".to_owned(),
        ),
        (vec![path("other-machine")], 126, "format", path("other-machine")),
        (vec![path("not-executable")], 126, "not-executable", path("not-executable")),
        (
            vec!["sh".to_owned(), "-c".to_owned(), "no-such-program".to_owned()],
            127,
            "program",
            "no-such-program".to_owned(),
        ),
        (vec!["env".to_owned(), "no-such-program".to_owned()], 127, "program", "no-such-program".to_owned()),
        (vec!["ls".to_owned(), path("gone")], 2, "missing", path("gone")),
        (
            vec![
                "sh".to_owned(),
                "-c".to_owned(),
                format!("sort < /etc/passwd > /dev/null; exec cat {}", path("gone")),
            ],
            1,
            "missing",
            path("gone"),
        ),
        (
            vec!["sh".to_owned(), "-c".to_owned(), format!("(cd / && (cat {} || exit 7))", path("gone"))],
            7,
            "missing",
            path("gone"),
        ),
    ] {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let (ended, found, about, report) = told(&words);
        assert_eq!((ended, found.as_str(), about.as_str()), (status, cause, subject.as_str()), "{words:?}: {report:#}");
    }
    let (.., report) = told(&["cat", &path("dangling")]);
    let link = format!("{} is a link to nowhere, which is not there", path("dangling"));
    assert_eq!(report["failures"][0]["link"], json!(link));
    // What the machine shows of it: names that begin in this directory, the interpreter, the mode.
    for (name, seen) in [
        ("no-interpreter", "its interpreter is /opt/gone/python, which is not there".to_owned()),
        (
            "carriage-return",
            "its first line ends in a carriage return, which the kernel takes for a part of the name /bin/sh: the file has the line ends of Windows"
                .to_owned(),
        ),
        ("other-machine", format!("{} has neither #! in its first line nor the beginning of a program", path("other-machine"))),
        ("not-executable", format!("{} has mode 0644 and belongs to UID 0, GID 0", path("not-executable"))),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sickbay"));
        command.args(["--lang", "en", "trace", "--format", "json", "--"]).arg(format!("./{name}")).current_dir(dir.path());
        let output = command.output().expect("it runs");
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        if name != "not-executable" || is_root() {
            assert_eq!(report["failures"][0]["link"], json!(seen), "{report:#}");
        }
    }
}

#[test]
fn a_library_that_is_gone_and_a_peer_that_refuses() {
    let dir = tempfile::tempdir().expect("a directory");
    let python = Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success());
    if python {
        let code = "import socket; s = socket.socket(); s.connect(('127.0.0.1', 9))";
        let (status, cause, subject, report) = told(&["python3", "-c", code]);
        assert_eq!((status, cause.as_str(), subject.as_str()), (1, "refused", "127.0.0.1:9"), "{report:#}");
    }
    // A program that wants a library which is nowhere.
    let source = dir.path().join("a.c");
    fs::write(&source, "int f(void); int main(void) { return f(); }").expect("a file");
    let library = dir.path().join("f.c");
    fs::write(&library, "int f(void) { return 0; }").expect("a file");
    let at = |name: &str| dir.path().join(name);
    let compiled =
        |args: &[&std::ffi::OsStr]| Command::new("cc").args(args).status().is_ok_and(|status| status.success());
    let so = at("libsickbaytest.so");
    let built = compiled(&["-shared".as_ref(), "-fPIC".as_ref(), "-o".as_ref(), so.as_os_str(), library.as_os_str()])
        && compiled(&["-o".as_ref(), at("program").as_os_str(), source.as_os_str(), so.as_os_str()]);
    if built {
        let program = at("program").display().to_string();
        assert_eq!(told(&[&program]).0, 0);
        fs::remove_file(&so).expect("it goes");
        let (status, cause, subject, report) = told(&[&program]);
        assert_eq!((status, cause.as_str()), (127, "library"), "{report:#}");
        assert!(subject.contains("libsickbaytest.so"), "{report:#}");
    }
}

#[test]
fn what_works_says_nothing_and_keeps_its_status() {
    for (command, status) in
        [(vec!["true"], 0), (vec!["sh", "-c", "exit 0"], 0), (vec!["sh", "-c", "kill -15 $$"], 143)]
    {
        let (ended, cause, ..) = told(&command);
        assert_eq!((ended, cause.as_str()), (status, ""), "{command:?}");
    }
    let output = sickbay(&["trace", "--", "sh", "-c", "echo hello; echo there >&2; ls / > /dev/null"]);
    assert_eq!(
        (output.status.code(), output.stdout.as_slice(), output.stderr.as_slice()),
        (Some(0), &b"hello\n"[..], &b"there\n"[..])
    );
    let output = sickbay(&["trace", "--", "no-such-program"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "sickbay: there is no program no-such-program in PATH\n");
    let output = sickbay(&["trace", "--pid", "4000000"]);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "sickbay: there is no process 4000000\n");
}

#[test]
fn whoever_ends_it_ends_the_command() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sickbay"))
        .args(["trace", "--", "sh", "-c", "echo; sleep 600; exit 1"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("it runs");
    // It has begun when it says something.
    let mut byte = [0];
    std::io::Read::read_exact(&mut child.stdout.take().expect("a pipe"), &mut byte).expect("a line");
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
    assert_eq!(child.wait().expect("it ends").code(), Some(143));
}
