//! `fix` at a terminal: report, plan, question, and nothing before the answer. Needs root, loop devices, e2fsprogs, and script(1)
//! for the terminal.
#![allow(clippy::disallowed_methods)]

mod support;

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use support::command::run;
use support::story::Story;

/// An image of a file system with a system on it that has two faults.
struct Image {
    dir: tempfile::TempDir,
}

impl Image {
    fn new() -> Image {
        let dir = tempfile::tempdir().expect("a directory");
        let uuid = "3f0c1d52-7c0e-4b0e-9d6c-0d3c5a9e1f01";
        let story = dir.path().join("story.txt");
        let text = format!(
            "A system.\n\n--- tree debian-12\n--- file /etc/fstab\nUUID={uuid} / ext4 defaults 0 1\nsee ticket\n--- mode /etc/passwd 0666\n"
        );
        std::fs::write(&story, text).expect("written");
        let built = Story::read(&story).expect("a story").build().expect("built");
        std::fs::remove_file(&story).expect("removed");
        let image = Image { dir };
        std::fs::File::create(image.path()).and_then(|file| file.set_len(96 << 20)).expect("room");
        let mut mkfs = Command::new("mkfs.ext4");
        let out = mkfs.args(["-q", "-F", "-U", uuid, "-d"]).arg(built.root()).arg(image.path()).output();
        let out = out.expect("mkfs.ext4 starts");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        image
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("image")
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.path()).expect("readable")
    }

    fn beside(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path()).expect("readable");
        entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned()).collect()
    }

    /// What `fix` says at a terminal on which this is typed, and its exit status.
    fn fix(&self, arguments: &str, typed: &str) -> (Option<i32>, String) {
        let command = format!("{} fix {arguments} {}", env!("CARGO_BIN_EXE_sickbay"), self.path().display());
        let mut script = Command::new("script");
        script.args(["-q", "-e", "-c", &command, "/dev/null"]).env("LC_ALL", "C").env("NO_COLOR", "1");
        let mut script =
            script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("script starts");
        let mut input = script.stdin.take().expect("piped");
        let mut shown = Vec::new();
        // ^C does not wait for the question by itself.
        if typed == "\u{3}" {
            let output = script.stdout.as_mut().expect("piped");
            let mut byte = [0];
            while !shown.ends_with(b"[y,n,a,q,?]") && output.read(&mut byte).expect("readable") > 0 {
                shown.push(byte[0]);
            }
        }
        input.write_all(typed.as_bytes()).expect("read");
        // Its end is typed as ^D, which ends a question too.
        drop(input);
        let out = script.wait_with_output().expect("it ends");
        shown.extend(out.stdout);
        (out.status.code(), String::from_utf8_lossy(&shown).replace('\r', ""))
    }
}

/// Where each of these words stands, which must be one after the other.
fn in_order(text: &str, words: &[&str]) {
    let mut rest = text;
    for word in words {
        let at = rest.find(word).unwrap_or_else(|| panic!("{word:?} does not come next in\n{text}"));
        rest = &rest[at + word.len()..];
    }
}

#[test]
fn nothing_is_touched_before_a_yes() {
    let image = Image::new();
    let before = image.bytes();
    for typed in ["n\nn\n", "q\n", "?\nq\n", "y\nq\n", "\u{3}", ""] {
        let (code, text) = image.fix("", typed);
        assert!(image.bytes() == before, "{typed:?} changed the image: {text}");
        assert_eq!(image.beside(), ["image"], "{typed:?}");
        // The cause, why it matters, what would be done, the question.
        in_order(&text, &["fstab-bad-line", "it mounts nothing", "-see ticket", "apply this repair? [y,n,a,q,?]"]);
        if typed != "\u{3}" {
            assert_eq!(code, Some(2), "{typed:?}: {text}");
            assert!(text.contains("nothing was changed"), "{typed:?}: {text}");
        }
        assert_eq!(typed.contains('?'), text.contains("sickbay fix --only F1 applies this one alone"), "{text}");
    }
}

#[test]
fn each_repair_is_asked_for_and_told_how_to_take_back() {
    let image = Image::new();
    let (_, text) = run(["check"], &image.path());
    let number = |check: &str| -> usize {
        let findings: Vec<&str> =
            text.lines().filter(|line| line.contains("error[") || line.contains("warning[")).collect();
        findings.iter().position(|line| line.contains(check)).unwrap_or_else(|| panic!("{check}: {text}"))
    };
    // Only the line of fstab.
    let answers = if number("fstab-bad-line") < number("mode-too-open") { "y\nn\n" } else { "n\ny\n" };
    let (code, text) = image.fix("", answers);
    assert_eq!(code, Some(1), "{text}");
    let line = "repaired: comment out line 2 [fstab-bad-line], journal entry 0001";
    let undo = format!("sickbay undo {} reverts this", image.path().display());
    in_order(&text, &["mode-too-open", line, &undo]);
    let (_, left) = run(["check"], &image.path());
    assert!(left.contains("mode-too-open") && !left.contains("fstab-bad-line"), "{left}");
    // All that is left, at once.
    let (code, text) = image.fix("", "a\n");
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = run(["undo", "--yes"], &image.path());
    assert_eq!(code, Some(0), "{text}");
    let (_, again) = run(["check"], &image.path());
    assert!(again.contains("mode-too-open") && again.contains("fstab-bad-line"), "{again}");
}

#[test]
fn only_a_finding_that_there_is() {
    let image = Image::new();
    let before = image.bytes();
    let (code, text) = image.fix("--only F9", "y\n");
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("there is no finding F9: 2 were found") && image.bytes() == before, "{text}");
}
