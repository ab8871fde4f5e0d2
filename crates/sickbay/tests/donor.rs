//! `--donor`: which one is refused, and the table that shows the target beside it.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use support::command::run;
use support::story::{Built, Story};

fn server() -> Built {
    let story = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/healthy-server.txt");
    Story::read(&story).expect("a story").build().expect("built")
}

fn check(donor: &Built, target: &Built) -> (Option<i32>, String) {
    let donor = donor.root().display().to_string();
    run(["check", "--donor", &donor], target.root())
}

#[test]
fn another_release_is_no_donor() {
    let (donor, target) = (server(), server());
    let release = donor.root().join("usr/lib/os-release");
    let text = fs::read_to_string(&release).expect("a release").replace("VERSION_ID=\"12\"", "VERSION_ID=\"11\"");
    fs::write(&release, text).expect("written");
    let (code, text) = check(&donor, &target);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("the donor is debian 11, the target debian 12"), "{text}");
}

#[test]
fn another_architecture_is_no_donor() {
    let (donor, target) = (server(), server());
    let program = donor.root().join("usr/lib/systemd/systemd");
    let mut bytes = fs::read(&program).expect("systemd");
    // EM_AARCH64 at e_machine (elf.h).
    bytes[18..20].copy_from_slice(&183u16.to_le_bytes());
    fs::write(&program, bytes).expect("written");
    let (code, text) = check(&donor, &target);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("the donor has a different architecture"), "{text}");
}

#[test]
fn an_empty_directory_is_no_donor() {
    let (donor, target) = (tempfile::tempdir().expect("a directory"), server());
    let donor = donor.path().display().to_string();
    let (code, text) = run(["check", "--donor", &donor], target.root());
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("nothing here looks like a Linux root"), "{text}");
}

#[test]
fn the_table_shows_what_differs_and_nothing_else() {
    let (donor, target) = (server(), server());
    let root = target.root();
    fs::remove_dir_all(root.join("usr/share/words")).expect("removed");
    fs::set_permissions(root.join("etc/profile"), fs::Permissions::from_mode(0o600)).expect("a mode");
    fs::remove_file(root.join("usr/bin/sh")).expect("removed");
    fs::write(root.join("etc/sysctl.d/10-server.conf"), "vm.swappiness = 10\n").expect("written");
    fs::write(root.join("etc/hostname"), "another\n").expect("written");
    let (_, text) = check(&donor, &target);
    let table = text.split_once("compared with the donor").map(|(_, table)| table).unwrap_or_default();
    for line in ["/etc/profile: 0600 | 0644", "/usr/bin/sh: - | dash", "vm.swappiness: 10 | -"] {
        assert!(table.contains(line), "{line}: {text}");
    }
    // The directory with its two files, and the link.
    let counts = table.lines().find_map(|line| line.trim().strip_prefix("/usr: ")?.split_once(" | "));
    let number = |text: &str| text.trim_end_matches(" !").parse::<usize>().expect("a number");
    let (ours, theirs) = counts.expect("a row of /usr");
    assert_eq!(number(ours) + 4, number(theirs), "{text}");
    for other in ["/var", "/boot", "hostname"] {
        assert!(!table.contains(other), "{other}: {text}");
    }
    let (_, text) = check(&server(), &server());
    assert!(!text.contains(" | -") && !text.contains("- | "), "{text}");
}
