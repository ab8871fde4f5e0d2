//! A journal that is found on a target is a stranger's, until it is shown to be ours: nothing outside of the target and nothing
//! that no repair does is done for it. What is ours is undone, also what version 0.1.0 wrote; who looks writes nothing.

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use serde_json::{Value, json};
use sickbay::engine::rounds;
use sickbay::model::repair::{Change, Repair, Risk};
use sickbay::model::text::{Lang, Text};
use sickbay::repair::undo::{Force, Undone, undo};
use sickbay_target::{Access, Target};
use support::command::{run, said, sickbay};
use support::manifest::{difference, manifest};
use support::story::Story;

/// A healthy tree in `root`, and beside it something that is not the target's.
struct Bed {
    dir: tempfile::TempDir,
}

impl Bed {
    fn new() -> Bed {
        let dir = tempfile::tempdir().expect("a directory");
        let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/trees/debian-12.txt");
        let built = Story::read(&tree).and_then(|story| story.build()).expect("the tree");
        let bed = Bed { dir };
        assert!(Command::new("cp").arg("-a").arg(built.root()).arg(bed.root()).status().expect("cp").success());
        fs::create_dir_all(bed.dir.path().join("helper/1")).expect("made");
        for name in ["sda", "1/b0", "1/file"] {
            fs::write(bed.dir.path().join("helper").join(name), "the helper's own").expect("written");
        }
        bed
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    fn home(&self) -> PathBuf {
        self.root().join("var/lib/sickbay")
    }

    /// Writes an entry as version 0.1.0 would; `done` when it was finished.
    fn plant(&self, id: &str, ops: Value, kept: &[(&str, &str)], done: bool) {
        let dir = self.home().join(id);
        fs::create_dir_all(&dir).expect("made");
        fs::write(self.home().join("parent"), ".sickbay-new.1700000000.0.1700000000.0").expect("written");
        let entry = json!({
            "version": 1, "tool": "0.1.0", "when": "2026-01-02T03:04:05Z\u{1b}]0;x\u{7}", "check": "\u{1b}[2Jfstab",
            "title": "\u{1b}[31mharmless\u{9b}2J\u{202e}", "donor": null, "ops": ops, "parents": [],
        });
        fs::write(dir.join("entry.json"), entry.to_string()).expect("written");
        kept.iter().for_each(|(name, content)| fs::write(dir.join(name), content).expect("written"));
        if done {
            fs::write(dir.join("done"), "").expect("written");
        }
        for (path, mode) in [(self.home(), 0o700), (dir, 0o700)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
        }
    }

    fn target(&self) -> Arc<Target> {
        Arc::new(Target::described(&self.root(), Access::ReadWrite, Vec::new(), &[]).expect("opened"))
    }
}

fn attributes(mode: u32) -> Value {
    json!({"mode": mode, "uid": 0, "gid": 0, "atime": [1_700_000_000, 0], "mtime": [1_700_000_000, 0], "xattrs": []})
}

fn file(mode: u32) -> Value {
    json!({"file": {"content": {"kept": "b0"}, "attributes": attributes(mode)}})
}

fn path_op(path: &str, before: Value, after: Value) -> Value {
    json!([{"path": {"path": path, "before": before, "after": after}}])
}

/// What no repair leaves, each with a word of the reason.
fn strange() -> Vec<(&'static str, Value, &'static str)> {
    let plain = || file(0o644);
    let disk = json!([{"disk": {"disk": 0, "offset": 0, "before": "b0", "after": "b1"}}]);
    let sysctl = |key: &str| json!([{"sysctl": {"key": key, "before": "1", "after": "0"}}]);
    let kept = |name: &str| json!({"file": {"content": {"kept": name}, "attributes": attributes(0o644)}});
    vec![
        ("a disk", disk, "not opened as a disk"),
        ("a path with ..", path_op("/etc/../etc/passwd", plain(), plain()), "not a path that a repair may touch"),
        ("a path that leads out", path_op("/../helper/sda", plain(), plain()), "not a path that a repair may touch"),
        ("a path with two slashes", path_op("/etc//passwd", plain(), plain()), "not a path that a repair may touch"),
        ("a path with a slash at its end", path_op("/etc/", plain(), plain()), "not a path that a repair may touch"),
        ("a path with a dot", path_op("/etc/./passwd", plain(), plain()), "not a path that a repair may touch"),
        ("a relative path", path_op("etc/passwd", plain(), plain()), "not a path that a repair may touch"),
        ("no path", path_op("", json!("absent"), plain()), "not a path that a repair may touch"),
        ("the root goes", path_op("/", json!("absent"), plain()), "not a path that a repair may touch"),
        (
            "a new set-user-ID program",
            path_op("/usr/bin/evil", file(0o4755), json!("absent")),
            "rights of a user other than",
        ),
        ("a set-group-ID bit", path_op("/etc/passwd", file(0o2755), plain()), "rights of a user other than"),
        (
            "set-user-ID on what is there",
            path_op("/etc/passwd", json!({"attributes": {"attributes": attributes(0o4755)}}), plain()),
            "rights of a user other than",
        ),
        (
            "a capability",
            path_op(
                "/etc/passwd",
                json!({"file": {"content": {"kept": "b0"}, "attributes": {
                    "mode": 420, "uid": 0, "gid": 0, "atime": [1, 0], "mtime": [1, 0],
                    "xattrs": [["security.capability", "%01%00%00%02"]],
                }}}),
                plain(),
            ),
            "rights of a user other than",
        ),
        ("a mode that does not exist", path_op("/etc/passwd", file(0o100_644), plain()), "a mode that does not exist"),
        ("a device", path_op("/dev/node", json!("absent"), json!("absent")), "not replaced"),
        ("the journal", path_op("/var/lib/sickbay/0001", json!("absent"), json!("absent")), "the journal itself"),
        (
            "a content outside",
            path_op("/etc/passwd", kept("../../../../../helper/sda"), plain()),
            "not one of its files",
        ),
        ("a content by path", path_op("/etc/passwd", kept("/etc/shadow"), plain()), "not one of its files"),
        ("a content that is a link", path_op("/etc/passwd", kept("b7"), plain()), "not what sickbay keeps"),
        ("a content that is a directory", path_op("/etc/passwd", kept("b8"), plain()), "not what sickbay keeps"),
        ("a content without end", path_op("/etc/passwd", kept("b9"), plain()), "too large"),
        ("a key that leads out", sysctl("kernel/../../../etc/passwd"), "not a kernel parameter"),
        ("a key with a line", sysctl("kernel.x\ny"), "not a kernel parameter"),
    ]
}

#[test]
fn what_no_repair_leaves_is_not_done() {
    for (what, ops, why) in strange() {
        for done in [false, true] {
            let bed = Bed::new();
            let node = bed.root().join("dev/node");
            fs::create_dir_all(bed.root().join("dev")).expect("made");
            let null = rustix::fs::makedev(1, 3);
            let mode = rustix::fs::Mode::from_raw_mode(0o666);
            rustix::fs::mknodat(rustix::fs::CWD, &node, rustix::fs::FileType::CharacterDevice, mode, null)
                .expect("made");
            bed.plant("0001", ops.clone(), &[("b0", "evil"), ("b1", "x")], done);
            let dir = bed.home().join("0001");
            symlink("../../../../../helper/sda", dir.join("b7")).expect("linked");
            fs::create_dir(dir.join("b8")).expect("made");
            fs::File::create(dir.join("b9")).and_then(|file| file.set_len(1 << 40)).expect("sparse");
            let before = (manifest_without(&bed, "b9"), manifest(&bed.dir.path().join("helper")));
            for arguments in [&["undo", "--yes"][..], &["undo", "--yes", "--force"], &["undo", "--list"]] {
                let (code, text) = run(arguments.iter().copied(), &bed.root());
                assert!(text.contains(why), "{what}: {arguments:?}: {text}");
                assert!(arguments[1] == "--list" || code == Some(2), "{what}: {text}");
                assert!(
                    !text.contains('\u{1b}') && !text.contains('\u{9b}') && !text.contains('\u{202e}'),
                    "{what}: {text:?}"
                );
                assert_eq!(difference(&before.0, &manifest_without(&bed, "b9")), None, "{what}: {arguments:?}");
            }
            // It holds up nothing: what is ill is repaired, and that is undone.
            if done && what.starts_with("a path") {
                continue;
            }
            fs::set_permissions(bed.root().join("etc/shadow"), fs::Permissions::from_mode(0o666)).expect("set");
            let (_, text) = run(["fix", "--yes", "--only", "mode-too-open"], &bed.root());
            assert!(text.contains("repaired: ") && (done || text.contains(why)), "{what}: {text}");
            let (_, text) = run(["undo", "--yes"], &bed.root());
            assert!(text.contains("reverted 0002"), "{what}: {text}");
            assert_eq!(difference(&before.1, &manifest(&bed.dir.path().join("helper"))), None, "{what}: the helper");
            assert!(fs::symlink_metadata(&node).is_ok());
        }
    }
}

/// A manifest reads every file, and one is 1 TiB.
fn manifest_without(bed: &Bed, name: &str) -> support::manifest::Manifest {
    let path = bed.home().join("0001").join(name);
    let aside = bed.dir.path().join("aside");
    fs::rename(&path, &aside).expect("moved");
    let times = fs::metadata(bed.home().join("0001")).and_then(|dir| dir.modified()).expect("there");
    let all = manifest(&bed.root());
    fs::rename(&aside, &path).expect("moved");
    let _ = times;
    all.into_iter().filter(|(path, _)| !path.ends_with("sickbay/0001")).collect()
}

#[test]
fn what_is_mounted_below_a_root_is_not_the_targets() {
    let bed = Bed::new();
    bed.plant("0001", path_op("/dev/sda", json!("absent"), json!("absent")), &[], false);
    bed.plant("0002", path_op("/mnt/1/file", file(0o644), json!("absent")), &[("b0", "evil")], false);
    for dir in ["dev", "mnt"] {
        fs::create_dir_all(bed.root().join(dir)).expect("made");
    }
    // As every guide to rescuing says, and in a view of its own, so that it goes with the shell.
    let script = "mount --bind helper root/dev && mount --bind helper root/mnt && \
        \"$1\" undo --yes root; \"$1\" fix --yes root; \"$1\" undo --list root";
    let mut command = Command::new("unshare");
    command.args(["-m", "--propagation", "private", "sh", "-c", script, "sh", env!("CARGO_BIN_EXE_sickbay")]);
    let before = manifest(&bed.dir.path().join("helper"));
    let (_, text) = said(&command.env("LC_ALL", "C").current_dir(bed.dir.path()).output().expect("unshare"));
    assert!(text.matches("not the target's own").count() >= 4, "{text}");
    assert_eq!(difference(&before, &manifest(&bed.dir.path().join("helper"))), None, "{text}");
}

#[test]
fn what_is_not_ours_is_no_journal() {
    type Change = fn(&Bed);
    let cases: [(&str, Change, &str); 6] = [
        ("no mark", |bed| fs::remove_file(bed.home().join("parent")).expect("removed"), "not a sickbay journal"),
        (
            "a link",
            |bed| {
                fs::rename(bed.home(), bed.dir.path().join("helper/journal")).expect("moved");
                symlink("../../../helper/journal", bed.home()).expect("linked");
            },
            "symbolic link",
        ),
        (
            "a link within",
            |bed| {
                fs::rename(bed.home(), bed.root().join("srv/journal")).expect("moved");
                symlink("/srv/journal", bed.home()).expect("linked");
            },
            "symbolic link",
        ),
        (
            "a link on the way",
            |bed| {
                fs::rename(bed.root().join("var"), bed.root().join("data")).expect("moved");
                symlink("data", bed.root().join("var")).expect("linked");
            },
            "symbolic link",
        ),
        (
            "another's",
            |bed| {
                std::os::unix::fs::chown(bed.home(), Some(1000), Some(1000)).expect("owned");
            },
            "owned by user 1000",
        ),
        (
            "open to others",
            |bed| {
                fs::set_permissions(bed.home(), fs::Permissions::from_mode(0o777)).expect("set");
            },
            "other users can write",
        ),
    ];
    for (what, change, why) in cases {
        let bed = Bed::new();
        bed.plant("0001", path_op("/etc/passwd", file(0o644), json!("absent")), &[("b0", "evil")], false);
        // Entries that never began: digits are removed only from a journal of ours.
        fs::create_dir(bed.home().join("0002")).expect("made");
        fs::create_dir(bed.root().join("var/lib/.sickbay-new.1.2.3.4")).expect("made");
        fs::write(bed.root().join("var/lib/.sickbay-new.1.2.3.4/file"), "a stranger's").expect("written");
        change(&bed);
        let before = manifest(bed.dir.path());
        for arguments in [&["undo", "--list"][..], &["undo", "--yes"], &["undo", "--yes", "--force"]] {
            let (code, text) = run(arguments.iter().copied(), &bed.root());
            assert!(code == Some(2) && text.contains(why), "{what}: {arguments:?}: {code:?} {text}");
            assert_eq!(difference(&before, &manifest(bed.dir.path())), None, "{what}: {arguments:?}");
        }
        let (_, text) = run(["fix", "--yes"], &bed.root());
        assert!(text.contains(why), "{what}: {text}");
        let passwd = fs::read_to_string(bed.root().join("etc/passwd")).expect("readable");
        assert!(passwd.starts_with("root:"), "{what}: {passwd}");
    }
}

#[test]
fn what_was_cut_off_is_asked_for() {
    let bed = Bed::new();
    let hosts = bed.root().join("etc/hosts-of-mine");
    fs::write(&hosts, "x").expect("written");
    let after = json!({"file": {"content": {"kept": "b1"}, "attributes": attributes(0o644)}});
    bed.plant("0001", path_op("/etc/hosts-of-mine", file(0o644), after), &[("b0", "former"), ("b1", "x")], false);
    let before = manifest(&bed.root());
    for verb in ["fix", "undo"] {
        // script(1) gives it a terminal.
        let line = format!("{} {verb} {}", env!("CARGO_BIN_EXE_sickbay"), bed.root().display());
        let script = format!("printf 'n\\n' | script -qec '{line}' /dev/null");
        let out = Command::new("sh").args(["-c", &script]).env("LC_ALL", "C").output().expect("script");
        let (_, text) = said(&out);
        assert!(text.contains("restore /etc/hosts-of-mine") && text.contains("[y/N]"), "{verb}: {text}");
        assert!(!text.contains("\u{1b}[2J"), "{verb}: {text:?}");
        assert_eq!(difference(&before, &manifest(&bed.root())), None, "{verb}: {text}");
    }
    let (_, text) = run(["fix", "--yes"], &bed.root());
    assert!(
        text.contains("restore /etc/hosts-of-mine") && text.contains("reverted, because it was interrupted: 0001"),
        "{text}"
    );
    assert_eq!(fs::read_to_string(&hosts).expect("readable"), "former");
}

#[test]
fn what_version_0_1_0_wrote_is_undone() {
    let bed = Bed::new();
    let times = json!([[1_650_000_000, 5], [1_650_000_000, 6]]);
    fs::write(bed.root().join("etc/new"), "made").expect("written");
    fs::write(bed.root().join("etc/hosts-of-mine"), "new").expect("written");
    let after = |name: &str| json!({"file": {"content": {"kept": name}, "attributes": attributes(0o644)}});
    let ops = json!([
        {"path": {"path": "/etc/hosts-of-mine", "before": file(0o640), "after": after("b1")}},
        {"path": {"path": "/etc/new", "before": "absent", "after": after("b2")}},
    ]);
    for done in [true, false] {
        bed.plant("0001", ops.clone(), &[("b0", "former"), ("b1", "new"), ("b2", "made")], done);
        let path = bed.home().join("0001/entry.json");
        let mut entry: Value = serde_json::from_slice(&fs::read(&path).expect("readable")).expect("JSON");
        entry["parents"] = json!([["/etc", times]]);
        fs::write(&path, serde_json::to_vec_pretty(&entry).expect("JSON")).expect("written");
        let (code, text) = run(["undo", "--yes"], &bed.root());
        assert_eq!(code, Some(0), "{text}");
        assert_eq!(fs::read_to_string(bed.root().join("etc/hosts-of-mine")).expect("readable"), "former");
        assert!(!bed.root().join("etc/new").exists() && !bed.home().exists(), "{text}");
        use std::os::unix::fs::MetadataExt;
        assert_eq!(fs::metadata(bed.root().join("etc")).expect("there").mtime(), 1_650_000_000);
        assert_eq!(fs::metadata(bed.root().join("var/lib")).expect("there").mtime(), 1_700_000_000);
        fs::write(bed.root().join("etc/new"), "made").expect("written");
        fs::write(bed.root().join("etc/hosts-of-mine"), "new").expect("written");
    }
}

#[test]
fn an_entry_that_cannot_be_taken_back_holds_up_only_what_is_built_on_it() {
    let bed = Bed::new();
    let after = |name: &str| json!({"file": {"content": {"kept": name}, "attributes": attributes(0o644)}});
    let op = |path: &str, before: &str, now: &str| {
        json!([{"path": {"path": path, "after": after(now),
            "before": {"file": {"content": {"kept": before}, "attributes": attributes(0o644)}}}}])
    };
    for (name, content) in [("one", "3"), ("two", "2")] {
        fs::write(bed.root().join("etc").join(name), content).expect("written");
    }
    bed.plant("0001", op("/etc/one", "b0", "b1"), &[("b0", "1"), ("b1", "2")], true);
    bed.plant("0002", op("/etc/two", "b0", "b1"), &[("b0", "1"), ("b1", "2")], true);
    bed.plant("0003", op("/etc/one", "b0", "b1"), &[("b0", "2"), ("b1", "somebody else's")], true);
    let (code, text) = run(["undo", "--yes"], &bed.root());
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("reverted 0002") && text.contains("/etc/one was changed after repair 0003"), "{text}");
    assert!(text.contains("not reverted: 0001: repair 0003, which came after it"), "{text}");
    let now = |name: &str| fs::read_to_string(bed.root().join("etc").join(name)).expect("readable");
    assert_eq!((now("one").as_str(), now("two").as_str()), ("3", "1"));
    let (code, text) = run(["undo", "--yes", "--force"], &bed.root());
    assert_eq!((code, now("one").as_str(), bed.home().exists()), (Some(0), "1", false), "{text}");
}

#[test]
fn a_list_writes_nothing() {
    let bed = Bed::new();
    bed.plant("0001", json!([]), &[], true);
    fs::create_dir(bed.home().join("0002")).expect("begun");
    fs::write(bed.home().join("0002/b0"), "begun").expect("written");
    let before = manifest(&bed.root());
    let (code, text) = run(["undo", "--list"], &bed.root());
    assert!(code == Some(0) && text.contains("0001") && !text.contains("0002"), "{text}");
    let (_, text) = run(["undo", "--list", "--format", "json"], &bed.root());
    let json: Value = serde_json::from_str(&text).unwrap_or_else(|why| panic!("{why}: {text}"));
    assert_eq!(
        (json["schema"].as_str(), json["entries"][0]["journal"].as_str()),
        (Some("sickbay/undo-list/v1"), Some("0001"))
    );
    assert!(!text.contains('\u{9b}') && !text.contains('\u{202e}'), "{text:?}");
    assert_eq!(difference(&before, &manifest(&bed.root())), None);
}

#[test]
fn what_lies_beside_an_image_may_be_a_strangers() {
    let dir = tempfile::tempdir().expect("a directory");
    let image = dir.path().join("image");
    fs::File::create(&image).and_then(|file| file.set_len(32 << 20)).expect("room");
    assert!(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image).status().expect("mkfs").success());
    let helper = dir.path().join("helper");
    fs::create_dir_all(helper.join("journal/0001")).expect("made");
    fs::write(helper.join("journal/parent"), ".journal-new.1.0.1.0").expect("written");
    fs::write(helper.join("journal/0001/b0"), "not begun").expect("written");
    let record = dir.path().join("image.sickbay");
    symlink("helper", &record).expect("linked");
    let before = (manifest(dir.path()), fs::read(&image).expect("readable"));
    let stay = |arguments: &[&str], why: &str| {
        let (code, text) = run(arguments.iter().copied(), &image);
        assert!(code == Some(2) && text.contains(why), "{arguments:?}: {text}");
        assert_eq!(difference(&before.0, &manifest(dir.path())), None, "{arguments:?}: {text}");
    };
    for arguments in [&["undo", "--list"][..], &["undo", "--yes"], &["fix", "--yes"]] {
        stay(arguments, "symbolic link");
    }
    fs::remove_file(&record).expect("removed");
    fs::create_dir(&record).expect("made");
    fs::write(record.join("notes"), "mine").expect("written");
    let (code, text) = run(["undo", "--yes"], &image);
    assert!(code == Some(2) && text.contains("not a sickbay directory"), "{text}");
    assert_eq!(fs::read(record.join("notes")).expect("readable"), b"mine");
}

/// A running system of which only a parameter of the kernel counts.
fn running(value: &str, boot: &str) -> (tempfile::TempDir, Arc<Target>) {
    let dir = tempfile::tempdir().expect("a directory");
    for path in ["proc/sys/vm", "proc/sys/kernel/random", "var/lib", "etc"] {
        fs::create_dir_all(dir.path().join(path)).expect("made");
    }
    fs::write(dir.path().join("proc/sys/vm/swappiness"), value).expect("written");
    fs::write(dir.path().join("proc/sys/kernel/random/boot_id"), boot).expect("written");
    fs::write(dir.path().join("proc/stat"), "cpu 0\nbtime 1700000000\n").expect("written");
    let target = Target::described(dir.path(), Access::ReadWrite, Vec::new(), &[]).and_then(Target::taken_for_running);
    (dir, Arc::new(target.expect("opened")))
}

fn set_swappiness(target: &Target) -> Result<(), String> {
    let sysctl = Change::kernel("vm.swappiness", "60", "10");
    let changes = vec![sysctl, Change::create("/etc/swap.conf", "vm.swappiness = 10\n", 0o644)];
    let repair = Repair { title: Text::verbatim("less"), risk: Risk::Safe, changes };
    rounds::make(target, None, repair).map_err(|error| error.text().render(Lang::En))
}

fn take_back(target: &Target, force: Force) -> Undone {
    undo(target, None, None, &[], force).expect("a journal")
}

#[test]
fn a_kernel_parameter_is_guarded_like_a_file() {
    let value =
        |dir: &tempfile::TempDir| fs::read_to_string(dir.path().join("proc/sys/vm/swappiness")).expect("readable");
    let set =
        |dir: &tempfile::TempDir, path: &str, text: &str| fs::write(dir.path().join(path), text).expect("written");
    // Changed since the look.
    let (dir, target) = running("61\n", "one\n");
    assert!(set_swappiness(&target).is_err_and(|why| why.contains("changed since it was checked")));
    assert_eq!(value(&dir), "61\n");
    // Changed since the repair.
    let (dir, target) = running("60\n", "one\n");
    set_swappiness(&target).expect("made");
    assert_eq!(value(&dir), "10\n");
    set(&dir, "proc/sys/vm/swappiness", "30\n");
    let undone = take_back(&target, Force::No);
    let why = undone.left.first().map(|(_, why)| why.render(Lang::En)).unwrap_or_default();
    assert!(why.contains("vm.swappiness was changed after repair 0001"), "{why}");
    assert_eq!((value(&dir).as_str(), dir.path().join("etc/swap.conf").exists()), ("30\n", true));
    assert!(take_back(&target, Force::Yes).left.is_empty());
    assert_eq!(value(&dir), "60\n");
    // After a reboot the value is the new kernel's; the file is taken back.
    set_swappiness(&target).expect("made");
    set(&dir, "proc/sys/kernel/random/boot_id", "two\n");
    set(&dir, "proc/sys/vm/swappiness", "10\n");
    let undone = take_back(&target, Force::No);
    let notes: Vec<String> =
        undone.taken.iter().flat_map(|(.., notes)| notes).map(|note| note.render(Lang::En)).collect();
    assert!(undone.left.is_empty() && notes.join(" ").contains("an earlier boot"), "{notes:?}");
    assert_eq!((value(&dir).as_str(), dir.path().join("etc/swap.conf").exists()), ("10\n", false));
    assert!(!dir.path().join("var/lib/sickbay").exists());
}

#[test]
fn a_kernel_parameter_of_version_0_1_0_is_known_by_its_time() {
    for (when, value) in [("2023-01-01T00:00:00Z", "10\n"), ("2024-01-01T00:00:00Z", "60\n")] {
        let (dir, target) = running("10\n", "one\n");
        let home = dir.path().join("var/lib/sickbay");
        fs::create_dir_all(home.join("0001")).expect("made");
        fs::write(home.join("parent"), ".sickbay-new.1.0.1.0").expect("written");
        let entry = json!({"version": 1, "tool": "0.1.0", "when": when, "check": "c", "title": "t", "donor": null,
            "parents": [], "ops": [{"sysctl": {"key": "vm.swappiness", "before": "60", "after": "10"}}]});
        fs::write(home.join("0001/entry.json"), entry.to_string()).expect("written");
        fs::write(home.join("0001/done"), "").expect("written");
        assert!(take_back(&target, Force::No).left.is_empty());
        assert_eq!(fs::read_to_string(dir.path().join("proc/sys/vm/swappiness")).expect("readable"), value);
    }
}

#[test]
fn a_flag_that_somebody_set_is_told_and_holds_up_nothing() {
    let bed = Bed::new();
    let passwd = bed.root().join("etc/passwd");
    let text = fs::read_to_string(&passwd).expect("readable");
    fs::write(&passwd, text.replace('\n', "\r\n")).expect("written");
    fs::set_permissions(bed.root().join("etc/shadow"), fs::Permissions::from_mode(0o666)).expect("set");
    let chattr = |how: &str| Command::new("chattr").arg(how).arg(&passwd).status().is_ok_and(|status| status.success());
    if !chattr("+i") {
        eprintln!("no flags on this file system: nothing is tested");
        return;
    }
    let before = manifest(&bed.root());
    let (_, told) = run(["check"], &bed.root());
    let (_, plain) = run(["fix", "--yes"], &bed.root());
    let (_, list) = run(["undo", "--list"], &bed.root());
    let (_, risky) = run(["fix", "--yes", "--risky"], &bed.root());
    let flags = Command::new("lsattr").arg("-d").arg(&passwd).output().expect("lsattr").stdout;
    let fixed = fs::read_to_string(&passwd).expect("readable");
    let (code, undone) = run(["undo", "--yes"], &bed.root());
    let again = Command::new("lsattr").arg("-d").arg(&passwd).output().expect("lsattr").stdout;
    let after = manifest(&bed.root());
    assert!(chattr("-i"));
    let (_, without) = run(["check"], &bed.root());
    let note = "note[files-immutable]: ";
    assert!(told.contains(note) && told.contains("/etc/passwd has the chattr flag i"), "{told}");
    assert!(!without.contains(note), "{without}");
    assert!(plain.contains("repaired: ") && !plain.contains("not finished"), "{plain}");
    assert!(!list.contains("not finished"), "{list}");
    assert!(risky.contains("the chattr flag on /etc/passwd is cleared"), "{risky}");
    assert!(!fixed.contains('\r') && flags.contains(&b'i') && again.contains(&b'i'), "{fixed}");
    assert_eq!(code, Some(0), "{undone}");
    assert_eq!(difference(&before, &after), None);
    let _ = (bed.target(), sickbay(["check"], &bed.root()));
}

#[test]
fn a_log_has_no_journal() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = dir.path().join("kern.log");
    fs::write(&log, "Jan  1 00:00:00 host kernel: [    0.000000] Linux version 6.1.0 (x)\n".repeat(20))
        .expect("written");
    for arguments in [&["undo", "--list"][..], &["undo", "--yes"], &["fix", "--yes"]] {
        let (code, text) = run(arguments.iter().copied(), &log);
        assert!(code == Some(2) && text.contains("is a log"), "{arguments:?}: {text}");
    }
}

#[test]
fn a_value_below_sys_is_set_read_back_and_taken_back() {
    let (dir, target) = running("60\n", "one\n");
    let file = "/sys/class/net/eth0/queues/rx-0/rps_cpus";
    let at = dir.path().join(&file[1..]);
    fs::create_dir_all(at.parent().expect("below")).expect("made");
    fs::write(&at, "00000000\n").expect("written");
    let set = |name: &str, after: &str| {
        let changes = vec![Change::kernel(name, "0", after)];
        let repair = Repair { title: Text::verbatim("spread"), risk: Risk::Safe, changes };
        rounds::make(&target, None, repair).map_err(|error| error.text().render(Lang::En))
    };
    set(file, "f").expect("made");
    assert_eq!(fs::read_to_string(&at).expect("readable"), "f\n");
    let undone = take_back(&target, Force::No);
    assert_eq!((undone.taken.len(), fs::read_to_string(&at).expect("readable").as_str()), (1, "0\n"));
    // What may not be set is refused before anything is written.
    fs::write(dir.path().join("sys/trigger"), "0\n").expect("written");
    assert!(set("/sys/trigger", "1").is_err_and(|why| why.contains("is not a kernel parameter")));
    assert_eq!(fs::read_to_string(dir.path().join("sys/trigger")).expect("readable"), "0\n");
}
