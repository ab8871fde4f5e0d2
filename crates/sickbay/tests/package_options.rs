//! `--package FILE` and `--digests` on the command line.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use support::command::run;
use support::manifest::{difference, manifest};
use support::story::Story;

#[test]
fn a_given_package_restores_what_it_has() {
    let story = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/lost-program.txt");
    let built = Story::read(&story).expect("a story").build().expect("built");
    let root = built.root();
    let before = manifest(root);
    let file = |name: &str| root.join("mnt").join(name).display().to_string();
    let tool = root.join("usr/bin/tool");
    let only = ["--only", "package-file-missing"];

    for (wrong, words) in [
        (root.join("etc/passwd").display().to_string(), "is neither a .deb nor an .rpm package"),
        (root.display().to_string(), "is not a package file"),
        (file("absent.deb"), "does not exist"),
    ] {
        let (code, text) = run(["check", "--package", &wrong, only[0], only[1]], root);
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains(words), "{text}");
    }

    let (code, text) = run(["fix", "--yes", "--package", &file("other.deb"), only[0], only[1]], root);
    // The disks of the machine that runs the tests may be nobody's to read: 2.
    assert!(matches!(code, Some(1 | 2)), "{text}");
    assert!(text.contains("other.deb has tools 3.0-1, the target has 2.0-1") && !tool.exists(), "{text}");

    let (code, text) = run(["fix", "--yes", "--package", &file("right.deb"), only[0], only[1]], root);
    assert!(matches!(code, Some(0 | 2)), "{text}");
    assert!(text.contains("restore /usr/bin/tool of tools 2.0-1 from ") && text.contains("right.deb"), "{text}");
    assert_eq!(fs::read(&tool).expect("the tool"), b"the tool\n");
    assert_eq!(fs::metadata(&tool).expect("the tool").permissions().mode() & 0o7777, 0o4755);

    let (code, text) = run(["undo", "--yes"], root);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(difference(&before, &manifest(root)), None);
}

#[test]
fn every_packaged_file_is_read_when_asked_for() {
    let story = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/altered-data.txt");
    let built = Story::read(&story).expect("a story").build().expect("built");
    let only = ["check", "--only", "package-file-altered", "--digests"];
    let (code, text) = run(only[..3].iter().copied(), built.root());
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = run(only, built.root());
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("/usr/share/tool/data is damaged: it is not what tool installed"), "{text}");
    assert!(!text.contains("/etc/tool/configuration"), "{text}");
}
