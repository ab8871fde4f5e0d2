//! Reports in every form, as the program writes them.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use sickbay::report::forms::FORMS;
use support::command::said;
use support::story::{Built, Story};

fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sickbay"));
    command.args(arguments).env("LC_ALL", "C.UTF-8").env("NO_COLOR", "1").stdin(Stdio::null());
    said(&command.output().expect("the program starts"))
}

fn tree(story: &str) -> Built {
    let story = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support").join(story);
    Story::read(&story).expect("a story").build().expect("built")
}

/// What varies from run to run.
fn without_times(text: &str) -> String {
    let is_kept = |line: &&str| {
        !["Utc", " in ", "timestamp", "checked", "took_ms", "started", "seconds{", "*sickbay"]
            .iter()
            .any(|word| line.contains(word))
    };
    text.lines().filter(is_kept).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_form_says_the_same_in_a_file_and_with_its_exit_status() {
    let (ill, well) = (tree("many-faults.txt"), tree("healthy-server.txt"));
    let (ill, well) = (ill.root().display().to_string(), well.root().display().to_string());
    let dir = tempfile::tempdir().expect("a directory");
    for form in FORMS {
        let file = dir.path().join(form.name);
        let output = file.display().to_string();
        for (root, status) in [(&ill, 1), (&well, 0)] {
            let (code, shown) = run(&["check", "--format", form.name, root]);
            assert_eq!(code, Some(status), "{}: {shown}", form.name);
            let (code, told) = run(&["check", "--format", form.name, "--output", &output, root]);
            assert_eq!((code, told.as_str()), (Some(status), ""), "{}", form.name);
            let written = fs::read_to_string(&file).expect("written");
            assert_eq!(without_times(&written), without_times(&shown), "{}", form.name);
            assert!(!written.is_empty(), "{}", form.name);
            assert_eq!(fs::metadata(&file).expect("there").permissions().mode() & 0o7777, 0o644);
        }
    }
    let mut names: Vec<String> = fs::read_dir(dir.path())
        .expect("readable")
        .flatten()
        .map(|one| one.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    let mut expected: Vec<&str> = FORMS.iter().map(|form| form.name).collect();
    expected.sort_unstable();
    assert_eq!(names, expected, "nothing is left behind");
}

#[test]
fn several_targets_are_one_document_and_one_that_is_not_there_is_in_it() {
    let well = tree("healthy-server.txt");
    let root = well.root().display().to_string();
    for (format, parts) in [
        ("html", "<h1>"),
        ("junit", "<testsuite "),
        ("sarif", "\"invocations\""),
        ("openmetrics", "\nsickbay_up{"),
        ("markdown", "# sickbay: "),
    ] {
        let (code, text) = run(&["check", "--format", format, &root, "/no/such"]);
        let parts = text.matches(parts).count();
        assert_eq!((code, parts), (Some(2), if format == "markdown" { 1 } else { 2 }), "{format}: {text}");
        assert!(text.contains("/no/such"), "{format}");
        let (code, text) = run(&["check", "--format", format, "/no/such"]);
        assert!(code == Some(2) && text.matches("/no/such").count() > 1, "in the document and on the screen: {text}");
    }
}

#[test]
fn what_cannot_be_written_is_an_error() {
    let well = tree("healthy-server.txt");
    let root = well.root().display().to_string();
    let (code, text) = run(&["check", "--format", "html", "--output", "/no/such/dir/report.html", &root]);
    assert!(code == Some(2) && text.contains("the report could not be written to /no/such/dir/report.html"), "{text}");
    let (code, text) = run(&["list", "--format", "html"]);
    assert!(code == Some(2) && text.contains("check, fix and boot write them"), "{text}");
    let (code, text) = run(&["check", "--format", "pdf", &root]);
    assert!(code == Some(2) && text.contains("openmetrics"), "{text}");
}

#[test]
fn what_fix_did_is_in_its_report() {
    let ill = tree("many-faults.txt");
    let root = ill.root().display().to_string();
    let dir = tempfile::tempdir().expect("a directory");
    let output = dir.path().join("after.html").display().to_string();
    let (_, text) = run(&["fix", "--yes", "--format", "html", "--output", &output, &root]);
    let page = fs::read_to_string(&output).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert!(page.contains("Repairs made") && page.contains("repaired, journal entry"), "{page}");
    assert!(!page.contains("sickbay fix "), "it has just been done");
}
