//! The command line as people meet it: what is typed wrongly, narrow and plain screens, full disks, Chinese.

mod support;

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use support::command::said;
use support::story::{Built, Story};

/// The program, in a terminal's usual locale.
fn sickbay(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sickbay"));
    for name in ["LC_ALL", "LC_CTYPE", "LC_MESSAGES", "COLUMNS", "NO_COLOR"] {
        command.env_remove(name);
    }
    command.args(arguments).env("LANG", "C.UTF-8").env("TERM", "xterm").stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> (Option<i32>, String) {
    said(&sickbay(arguments).output().expect("the program starts"))
}

fn chinese(arguments: &[&str]) -> (Option<i32>, String) {
    said(&sickbay(arguments).env("LANG", "zh_CN.UTF-8").output().expect("the program starts"))
}

fn tree() -> Built {
    let story = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/healthy-server.txt");
    Story::read(&story).expect("a story").build().expect("built")
}

fn path(built: &Built) -> String {
    built.root().display().to_string()
}

#[test]
fn a_report_that_cannot_be_written_is_an_error() {
    let built = tree();
    let root = path(&built);
    let verbs: &[&[&str]] = &[
        &["check", &root],
        &["check", &root, &root],
        &["fix", "--dry-run", &root],
        &["undo", "--list", &root],
        &["explain", "fstab-bad-line"],
        &["list"],
    ];
    for verb in verbs {
        for format in ["text", "json"] {
            let full = File::options().write(true).open("/dev/full").expect("/dev/full");
            let out = sickbay(verb).args(["--format", format]).stdout(full).output().expect("the program starts");
            let (code, text) = said(&out);
            assert_eq!(code, Some(2), "{verb:?} {format}: {text}");
            assert!(text.contains("cannot write to standard output"), "{verb:?} {format}: {text}");
        }
    }
    for verb in [&["--help"] as &[&str], &["--version"], &["check", "--help"], &["completions", "bash"]] {
        let full = File::options().write(true).open("/dev/full").expect("/dev/full");
        let out = sickbay(verb).stdout(full).output().expect("the program starts");
        assert_eq!(out.status.code(), Some(2), "{verb:?}");
    }
    // Nobody is left to be told.
    let full = || File::options().write(true).open("/dev/full").expect("/dev/full");
    let out = sickbay(&["check", "/nonexistent"]).stdout(full()).stderr(full()).output().expect("the program starts");
    assert_eq!(out.status.code(), Some(2));
}

#[test]
fn a_reader_that_has_read_enough_is_none() {
    let built = tree();
    for verb in [&["check", "-v", &path(&built)] as &[&str], &["list"], &["completions", "zsh"], &["--help"]] {
        let code = sickbay(verb).output().expect("the program starts").status.code();
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let out = sickbay(verb).stdout(writer).output().expect("the program starts");
        assert_eq!((out.status.code(), out.stderr.as_slice()), (code, b"".as_slice()), "{verb:?}");
    }
}

#[test]
fn what_was_meant_is_told() {
    for (words, wanted) in [
        (
            &["/mnt/x"] as &[&str],
            "/mnt/x is not a command; to check a system, disk, image or log: sickbay check /mnt/x",
        ),
        (&["disk.img"], "sickbay check disk.img"),
        (&["chekc"], "chekc is not a command: did you mean check?"),
        (&["check", "--onyl", "x"], "there is no option --onyl here: did you mean --only?"),
        (&["check", "--nonsense"], "there is no option --nonsense here"),
        (&["check", "--only"], "--only <ID> needs a value"),
        (&["check", "--format", "xml"], "xml is not a valid value for --format <FORMAT>: text, json"),
        (&["boot", "x", "--memory", "much"], "much is not a valid value for --memory <MIB>"),
        (&["boot"], "<TARGET> is missing"),
        (&["fix", "a", "b"], "b is one argument too many"),
        (&["explain", "fstab-bad-lin"], "did you mean fstab-bad-line?"),
        (&["check", "--only", "ignores-keys"], "there is no check ignores-keys: did you mean sshd-ignores-keys?"),
        (&["check", "--skip", "fstab-bad-lines"], "did you mean fstab-bad-line?"),
        (&["list", "fstab-bda-line"], "no check has fstab-bda-line in its name: did you mean fstab-bad-line?"),
    ] {
        let (code, text) = run(words);
        assert_eq!(code, Some(2), "{words:?}: {text}");
        assert!(text.contains(wanted), "{words:?}: {text}");
    }
}

#[test]
fn an_error_on_the_command_line_is_told_to_programs_too() {
    let out = sickbay(&["check", "--nonsense", "--format", "json"]).output().expect("the program starts");
    let value: serde_json::Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert_eq!(value["schema"], "sickbay/error/v1");
}

#[test]
fn several_targets_are_reported_one_by_one() {
    let (first, second) = (tree(), tree());
    fs::write(second.root().join("etc/fstab"), "see ticket\n").expect("written");
    let (one, two) = (path(&first), path(&second));
    let (_, text) = run(&["check", "--only", "fstab-bad-line", &one, "/nonexistent", &two]);
    let (own, absent) = (text.find(&one).expect("the first"), text.find("/nonexistent does not exist").expect("told"));
    let other = text.find(&two).expect("the second");
    assert!(own < other && own < absent, "{text}");
    assert!(text.contains("fstab-bad-line]: F1"), "{text}");

    let out = |targets: &[&str]| -> Output {
        let arguments = [&["check", "--only", "fstab-bad-line", "--format", "json"], targets].concat();
        sickbay(&arguments).output().expect("the program starts")
    };
    let both = out(&[&one, &two]);
    assert_eq!(both.status.code(), Some(1));
    let list: serde_json::Value = serde_json::from_slice(&both.stdout).expect("JSON");
    assert_eq!(list.as_array().map(Vec::len), Some(2));
    assert_eq!(list[0]["schema"], "sickbay/report/v1");
    assert_eq!(list[1]["findings"][0]["check"], "fstab-bad-line");
    let all = out(&[&one, "/nonexistent", &two]);
    assert_eq!(all.status.code(), Some(2), "the worst counts");
    let list: serde_json::Value = serde_json::from_slice(&all.stdout).expect("JSON");
    assert_eq!(list[1]["schema"], "sickbay/error/v1");
    assert_eq!(list[2]["schema"], "sickbay/report/v1");
    // One target is one document, as ever.
    let single: serde_json::Value = serde_json::from_slice(&out(&[&one]).stdout).expect("JSON");
    assert_eq!(single["schema"], "sickbay/report/v1");
}

#[test]
fn what_is_skipped_is_said_to_be_and_is_not_clear() {
    let built = tree();
    fs::write(built.root().join("etc/fstab"), "see ticket\n").expect("written");
    let root = path(&built);
    let (code, text) = run(&["check", "--only", "fstab-bad-line", "--skip", "fstab-bad-line", &root]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("skipped[fstab-bad-line]: ") && text.contains(", 1 skipped"), "{text}");
    assert!(text.contains("0 clear"), "{text}");
    let out = sickbay(&["check", "--skip", "fstab-bad-line", "--format", "json", &root]).output().expect("it starts");
    let value: serde_json::Value = serde_json::from_slice(&out.stdout).expect("JSON");
    let outcome = value["outcomes"].as_array().expect("a list").iter().find(|one| one["check"] == "fstab-bad-line");
    assert_eq!(outcome.expect("it is named")["outcome"], "skipped");
    let mounts = value["proofs"]["boot"].as_array().expect("a list").iter().find(|one| one["stage"] == "mounts");
    assert_ne!(mounts.expect("the stage")["state"], "ok");
}

#[test]
fn proofs_break_between_their_stages() {
    let built = tree();
    let root = path(&built);
    let (_, wide) = run(&["check", &root]);
    let stages = |text: &str| text.matches(" ✓").count() + text.matches(" –").count() + text.matches(" ✗").count();
    for columns in ["40", "60", "80", "119"] {
        let out = sickbay(&["check", &root]).env("COLUMNS", columns).output().expect("the program starts");
        let (_, text) = said(&out);
        let width: usize = columns.parse().expect("a number");
        let begin = text.find("\nboot").expect("the proofs");
        let proofs: Vec<&str> = text[begin..].lines().skip(1).take_while(|line| !line.is_empty()).collect();
        assert!(proofs.iter().all(|line| line.chars().count() <= width), "{columns}: {text}");
        assert_eq!(stages(&proofs.join("\n")), stages(&wide), "no stage is cut in two: {text}");
        for stage in ["partition table", "boot loader", "boot configuration", "password", "profile"] {
            assert!(proofs.iter().any(|line| line.contains(stage)), "{columns}: {stage}: {text}");
        }
    }
}

#[test]
fn a_screen_without_utf8_gets_ascii() {
    let built = tree();
    fs::write(built.root().join("etc/fstab"), "see ticket\n").expect("written");
    let root = path(&built);
    for (name, value) in [("LC_ALL", "C"), ("LANG", "C"), ("LANG", "POSIX"), ("LANG", "en_US"), ("TERM", "linux")] {
        for verb in
            [&["check", "-v", &root] as &[&str], &["fix", "--dry-run", &root], &["explain", "dmesg: command not found"]]
        {
            let (_, text) = said(&sickbay(verb).env(name, value).output().expect("the program starts"));
            let strange: String = text.chars().filter(|letter| !letter.is_ascii()).collect();
            assert_eq!(strange, "", "{name}={value} {verb:?}");
        }
    }
    fs::write(built.root().join("etc/passwd"), "").expect("written");
    let (_, text) = said(&sickbay(&["check", &root]).env("LANG", "C").output().expect("the program starts"));
    assert!(text.contains("account FAIL F") && text.contains("init ok"), "{text}");
    // Who asks for Chinese can see it.
    let out = sickbay(&["check", "--lang", "zh-CN", &root]).env("LANG", "C").output().expect("the program starts");
    assert!(said(&out).1.contains('✓'));
}

#[test]
fn colours_are_for_those_who_have_them() {
    let built = tree();
    let root = path(&built);
    let (_, text) = run(&["check", "--color", "always", &root, "--only", "fstab-bad-line"]);
    assert!(!text.is_empty());
    for terminal in ["dumb", "xterm"] {
        let out = sickbay(&["check", &root]).env("TERM", terminal).output().expect("the program starts");
        assert!(!said(&out).1.contains('\x1b'), "{terminal}");
    }
}

#[test]
fn completions_know_verbs_options_and_checks() {
    for shell in ["bash", "zsh", "fish"] {
        let (code, text) = run(&["completions", shell]);
        assert_eq!(code, Some(0), "{text}");
        for word in ["check", "undo", "skip", "dry-run", "fstab-bad-line"] {
            assert!(text.contains(word), "{shell}: {word}");
        }
    }
    assert_eq!(run(&["completions", "tcsh"]).0, Some(2));
}

#[test]
fn fix_groups_its_options() {
    let (_, text) = run(&["fix", "--help"]);
    let place = |words: &str| text.find(words).unwrap_or_else(|| panic!("{words} in {text}"));
    assert!(place("What to check:") < place("--donor"), "{text}");
    assert!(place("What to repair:") < place("--dry-run"), "{text}");
    assert!(place("Boot test:") < place("--boot-test"), "{text}");
    assert!(place("Output:") < place("--format"), "{text}");
    for verb in ["fix", "undo", "boot"] {
        assert!(!run(&[verb, "-h"]).1.contains("log ("), "{verb} takes no log");
    }
}

#[test]
fn the_journal_is_a_document() {
    let built = tree();
    let out = sickbay(&["undo", "--list", "--format", "json", &path(&built)]).output().expect("the program starts");
    let value: serde_json::Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert_eq!(value["schema"], "sickbay/undo-list/v1");
    assert_eq!(value["entries"].as_array().map(Vec::len), Some(0));
}

#[test]
fn errors_and_help_are_in_chinese() {
    for (words, wanted) in [
        (&["check", "/nonexistent"] as &[&str], "/nonexistent 不存在"),
        (&["check", "/etc/os-release/x"], "不是目录"),
        (&["/mnt/x"], "没有 /mnt/x 这个命令；要检查系统、磁盘、映像或日志：sickbay check /mnt/x"),
        (&["check", "--nonsense"], "这里没有选项 --nonsense"),
        (&["check", "--only", "fstab-bad-lin"], "没有 fstab-bad-lin 这项检查：是否指 fstab-bad-line？"),
        (&["--help"], "找出 Linux 系统为什么无法启动或无法登录"),
        (&["fix", "--help"], "只显示将会首先做什么，不执行"),
        (&["fix", "-h"], "用法：sickbay fix [选项]"),
        (&["help", "undo"], "只列出修复记录"),
    ] {
        let (_, text) = chinese(words);
        assert!(text.contains(wanted), "{words:?}: {text}");
        assert!(!text.contains("Usage"), "{words:?}: {text}");
    }
    let (_, text) = run(&["--lang", "zh-CN", "check", "/nonexistent"]);
    assert!(text.contains("/nonexistent 不存在"), "{text}");
}
