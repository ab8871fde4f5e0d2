//! Writing ends at every moment at which it can, as by a power loss, and each step of it fails once, as on a full disk:
//! whatever is left, undo restores every byte, mode, owner, time, flag and attribute, and the repair can be made again.
//! There is no third state. The lab does the same on disks, by killing the program.
#![cfg(debug_assertions)] // what is released has nothing that makes writing fail

mod support;

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use sickbay::checks;
use sickbay::engine::rounds;
use sickbay::model::repair::{Change, Repair, Risk};
use sickbay::model::text::{Lang, Text};
use sickbay::repair::held;
use sickbay::repair::held::Which;
use sickbay::repair::journal::Entry;
use sickbay::repair::plan::Choice;
use sickbay::repair::undo::{Force, undo};
use sickbay_target::{Access, Disk, Extent, Target, faults};
use support::command::{said, sickbay};
use support::manifest::{Manifest, difference, manifest};
use support::story::{Built, Story};

/// Gives everything below `path` times that no run of this test makes.
fn age(path: &Path) {
    if fs::symlink_metadata(path).expect("there").is_dir() {
        fs::read_dir(path).expect("readable").for_each(|entry| age(&entry.expect("readable").path()));
    }
    long_ago(path);
}

fn long_ago(path: &Path) {
    let time = rustix::fs::Timespec { tv_sec: 1_000_000_000, tv_nsec: 0 };
    let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(rustix::fs::CWD, path, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).expect("set");
}

/// A system with little in it, a donor and a disk.
struct Bed {
    dir: tempfile::TempDir,
}

impl Bed {
    fn new() -> Bed {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().join("root");
        for path in
            ["etc/pam.d", "var/lib", "boot", "usr/bin", "usr/lib", "proc/sys/vm", "proc/sys/kernel/random", "backup"]
        {
            fs::create_dir_all(root.join(path)).expect("made");
        }
        for (path, text) in [
            ("etc/passwd", "root:x:0:0:root:/root:/bin/bash\r\n"),
            ("etc/fstab", "UUID=1 / ext4 defaults 0 1\n"),
            ("etc/shadow", "root:*:1::::::\n"),
            ("etc/os-release", "ID=debian\n"),
            ("etc/group", "root:x:0:\n"),
            ("usr/bin/sh", "#!\n"),
            ("usr/bin/mount", "#!\n"),
            ("usr/bin/tool", "#!/bin/sh\n"),
            ("proc/sys/vm/swappiness", "60\n"),
            ("proc/sys/kernel/random/boot_id", "one\n"),
        ] {
            fs::write(root.join(path), text).expect("written");
        }
        fs::hard_link(root.join("etc/shadow"), root.join("backup/shadow")).expect("linked");
        symlink("/usr/lib/gone", root.join("etc/target")).expect("linked");
        let donor = dir.path().join("donor/usr/lib/pam");
        fs::create_dir_all(donor.join("deep")).expect("made");
        fs::write(donor.join("pam_unix.so"), "module").expect("written");
        fs::write(donor.join("deep/pam_deny.so"), "another").expect("written");
        symlink("pam_unix.so", donor.join("pam.so")).expect("linked");
        let bed = Bed { dir };
        fs::write(bed.image(), vec![7; 1 << 20]).expect("written");
        // Times that no run of this test makes.
        age(bed.dir.path());
        bed
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    fn image(&self) -> PathBuf {
        self.dir.path().join("disk")
    }

    fn target(&self) -> Arc<Target> {
        let target = Target::described(&self.root(), Access::ReadWrite, Vec::new(), &[self.image()]);
        Arc::new(target.and_then(Target::taken_for_running).expect("opened"))
    }

    fn donor(&self) -> Target {
        Target::described(&self.dir.path().join("donor"), Access::ReadOnly, Vec::new(), &[]).expect("opened")
    }

    fn make(&self, changes: &[Change]) -> Result<(), String> {
        let repair = Repair { title: Text::verbatim("a repair"), risk: Risk::Safe, changes: changes.to_vec() };
        rounds::make(&self.target(), Some(&self.donor()), repair).map_err(|error| error.text().render(Lang::En))
    }

    fn undo(&self) -> Result<usize, String> {
        let undone = undo(&self.target(), Some(&self.donor()), None, &[], Force::No);
        let undone = undone.map_err(|error| error.text().render(Lang::En))?;
        match undone.left.first() {
            Some((id, why)) => Err(format!("{id}: {}", why.render(Lang::En))),
            None => Ok(undone.taken.len()),
        }
    }

    /// Everything that there is, the disk too.
    fn state(&self) -> (Manifest, Vec<u8>, String) {
        let target = Target::described(&self.root(), Access::ReadOnly, Vec::new(), &[]).expect("opened");
        let flags = format!("{:?}", ["/etc", "/etc/fstab"].map(|path| target.root().flags(path).ok()));
        (manifest(&self.root()), fs::read(self.image()).expect("readable"), flags)
    }

    fn is(&self, wanted: &(Manifest, Vec<u8>, String), when: &str) {
        let found = self.state();
        assert_eq!(difference(&wanted.0, &found.0), None, "{when}");
        assert!(wanted.1 == found.1, "{when}: the disk is another");
        assert_eq!(wanted.2, found.2, "{when}: flags");
    }

    /// What the repair is for: everything but the journal and times.
    fn repaired(&self) -> Vec<(PathBuf, Vec<u8>, u32)> {
        let all = manifest(&self.root());
        let paths = all.keys().filter(|path| !path.starts_with("var/lib")).map(|path| self.root().join(path));
        let with = |path: PathBuf| {
            let found = fs::symlink_metadata(&path).expect("there");
            let content = if found.is_file() { fs::read(&path).expect("readable") } else { Vec::new() };
            (path.strip_prefix(self.root()).expect("below").to_owned(), content, found.mode())
        };
        paths.map(with).collect()
    }
}

fn edit(path: &str, before: &str, after: &str) -> Change {
    Change::Edit { path: path.into(), before: before.into(), after: after.into() }
}

/// Repairs of every kind.
fn repairs() -> Vec<(&'static str, Vec<Change>)> {
    let passwd = || edit("/etc/passwd", "root:x:0:0:root:/root:/bin/bash\r\n", "root:x:0:0:root:/root:/bin/bash\n");
    let fstab = || edit("/etc/fstab", "UUID=1 / ext4 defaults 0 1\n", "UUID=2 / ext4 defaults 0 1\n");
    let shadow = || edit("/etc/shadow", "root:*:1::::::\n", "root:!:1::::::\n");
    let mode = |path: &str, before, after| Change::Mode { path: path.into(), before, after };
    vec![
        ("an edit", vec![passwd()]),
        ("two edits", vec![passwd(), fstab()]),
        ("a new file", vec![Change::create("/etc/hostname", "host\n", 0o644)]),
        ("a directory and a file in it", vec![Change::make_dir("/srv", 0o755), Change::create("/srv/new", "x", 0o600)]),
        ("a file goes", vec![Change::Remove { path: "/etc/fstab".into() }]),
        ("a link in the place of a dangling one", vec![Change::link("/etc/target", "/usr/bin/tool")]),
        ("mode and owner", {
            let owner = Change::Owner { path: "/usr/bin/tool".into(), before: (0, 0), after: (7, 8) };
            vec![owner, mode("/usr/bin/tool", 0o644, 0o755)]
        }),
        ("a directory of the donor", vec![Change::copy_from_donor("/usr/lib/pam")]),
        ("a file with two names", vec![shadow()]),
        ("the mode of a file with two names", vec![mode("/etc/shadow", 0o644, 0o640), shadow()]),
        (
            "boot code",
            vec![
                Change::WriteDisk { disk: 0, offset: 512, before: vec![7; 1024], after: vec![9; 1024] },
                Change::WriteDisk { disk: 0, offset: 0, before: vec![7; 440], after: vec![8; 440] },
            ],
        ),
        ("a kernel parameter and its file", {
            let sysctl = Change::kernel("vm.swappiness", "60", "10");
            vec![sysctl, Change::create("/etc/swap.conf", "vm.swappiness = 10\n", 0o644)]
        }),
    ]
}

/// Makes a repair with writing cut off after `n` steps, for every `n`.
fn at_every_step(name: &str, changes: &[Change], prepare: &dyn Fn(&Bed)) -> u64 {
    let wanted = {
        let bed = Bed::new();
        prepare(&bed);
        bed.make(changes).expect("nothing is in its way");
        bed.repaired()
    };
    for n in 0.. {
        let bed = Bed::new();
        prepare(&bed);
        let before = bed.state();
        faults::cut_off_after(n);
        let made = bed.make(changes);
        faults::end();
        bed.undo().unwrap_or_else(|why| panic!("{name}, cut off after {n}: {why}"));
        bed.is(&before, &format!("{name}, cut off after {n}, undone"));
        if n % 3 != 0 && made.is_err() {
            continue; // what is as it was is repaired as it was
        }
        bed.make(changes).unwrap_or_else(|why| panic!("{name}, once more after {n}: {why}"));
        assert!(bed.repaired() == wanted, "{name}, made again after {n}");
        bed.undo().unwrap_or_else(|why| panic!("{name}, at last after {n}: {why}"));
        bed.is(&before, &format!("{name}, made again after {n}, undone"));
        if made.is_ok() {
            return n;
        }
    }
    0
}

#[test]
fn a_repair_that_is_cut_off_is_undone_to_the_byte() {
    let mut steps = 0;
    for (name, changes) in repairs() {
        steps += at_every_step(name, &changes, &|_| {});
    }
    assert!(steps > 150, "only {steps} moments");
}

/// A journal that was made, and no entry in it that counts: what a user types takes that away too.
#[test]
fn what_is_cut_off_before_it_counts_is_cleared_away_by_undo() {
    let changes = &repairs()[0].1;
    let mut remains = 0;
    for n in 0.. {
        let bed = Bed::new();
        let before = bed.state();
        faults::cut_off_after(n);
        let made = bed.make(changes);
        faults::end();
        let has_entries = bed.root().join("var/lib/sickbay/0001/entry.json").exists();
        if has_entries || made.is_ok() {
            break;
        }
        remains += usize::from(bed.state() != before);
        let (status, list) = said(&sickbay(["undo", "--list"], &bed.root()).output().expect("the program starts"));
        assert_eq!(status, Some(0), "{list}");
        assert_eq!(list.contains("cut off before it changed anything"), bed.state() != before, "{n}: {list}");
        let (status, text) = said(&sickbay(["undo", "--yes"], &bed.root()).output().expect("the program starts"));
        assert_eq!(status, Some(0), "{text}");
        bed.is(&before, &format!("cut off after {n}, undone by the program"));
    }
    assert!(remains > 3, "only {remains} moments");
}

#[test]
fn an_undo_that_is_cut_off_is_finished_by_the_next() {
    for (name, changes) in repairs() {
        for n in 0.. {
            let bed = Bed::new();
            let before = bed.state();
            bed.make(&changes).expect(name);
            faults::cut_off_after(n);
            let undone = bed.undo();
            faults::end();
            bed.undo().unwrap_or_else(|why| panic!("{name}, undo cut off after {n}: {why}"));
            bed.is(&before, &format!("{name}, undo cut off after {n}"));
            if undone.is_ok() {
                break;
            }
        }
    }
}

#[test]
fn a_repair_of_which_one_step_fails_leaves_nothing() {
    for (name, changes) in repairs() {
        for n in 0.. {
            let bed = Bed::new();
            let before = bed.state();
            faults::fail_after(n);
            let made = bed.make(&changes);
            let steps = faults::end();
            match made {
                Err(_) => bed.is(&before, &format!("{name}, step {n} failed")),
                Ok(()) => {
                    bed.undo().unwrap_or_else(|why| panic!("{name}, step {n} failed: {why}"));
                    bed.is(&before, &format!("{name}, step {n} failed, undone"));
                }
            }
            if steps <= n {
                break;
            }
        }
    }
}

/// A whole session of many repairs, cut off at moments spread over all of it.
#[test]
fn a_session_that_is_cut_off_is_undone_or_finished() {
    let story = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/many-faults.txt");
    let story = Story::read(&story).expect("a story");
    let choice = || Choice { risky: true, ..Choice::default() };
    let fix = |built: &Built| {
        let (target, donor) = built.open_for_repair().expect("opened");
        rounds::fix(&target, donor.as_ref(), &checks::ALL, &choice(), &mut |_, _| true).map(|outcome| outcome.applied)
    };
    let take_back = |built: &Built| {
        let (target, donor) = built.open_for_repair().expect("opened");
        undo(&target, donor.as_deref(), None, &[], Force::No).expect("undone")
    };
    let all = {
        let built = story.build().expect("built");
        faults::cut_off_after(u64::MAX);
        let applied = fix(&built).unwrap_or_else(|why| panic!("{:?}", why.text()));
        assert!(applied.iter().filter(|repair| repair.verified).count() >= 8, "too little to be cut off in");
        faults::end()
    };
    assert!(all > 100, "only {all} steps");
    for turn in 0..12 {
        let built = story.build().expect("built");
        let before = manifest(built.root());
        faults::cut_off_after(all * turn / 12 + turn);
        let _ = fix(&built);
        faults::end();
        let undone = take_back(&built);
        assert!(undone.left.is_empty(), "in turn {turn}: {:?}", undone.left);
        assert_eq!(difference(&before, &manifest(built.root())), None, "in turn {turn}");
    }
}

/// Sets a flag of chattr(1); whether this file system has them.
fn chattr(bed: &Bed, how: &str, path: &str) -> bool {
    let path = bed.root().join(path);
    Command::new("chattr").arg(how).arg(path).status().is_ok_and(|status| status.success())
}

#[test]
fn flags_are_cleared_for_a_repair_and_set_again() {
    let bed = Bed::new();
    if !(chattr(&bed, "+i", "etc/fstab") && chattr(&bed, "-i", "etc/fstab")) {
        eprintln!("no flags on this file system: nothing is tested");
        return;
    }
    let changes = [edit("/etc/fstab", "UUID=1 / ext4 defaults 0 1\n", "UUID=2 / ext4 defaults 0 1\n")];
    let unlock = |bed: &Bed| {
        for path in ["etc", "etc/fstab"] {
            chattr(bed, "-ia", path);
        }
    };
    for n in 0.. {
        let bed = Bed::new();
        assert!(chattr(&bed, "+i", "etc/fstab") && chattr(&bed, "+a", "etc"));
        let before = bed.state();
        faults::cut_off_after(n);
        let made = bed.make(&changes);
        faults::end();
        let undone = bed.undo();
        let now = bed.state();
        let done = made.is_ok();
        if done {
            bed.make(&changes).expect("once more");
            assert_eq!(bed.state().2, before.2, "the flags are set after a repair");
            assert_eq!(fs::read(bed.root().join("etc/fstab")).expect("readable"), b"UUID=2 / ext4 defaults 0 1\n");
        }
        unlock(&bed);
        undone.unwrap_or_else(|why| panic!("cut off after {n}: {why}"));
        assert_eq!(difference(&before.0, &now.0), None, "cut off after {n}");
        assert_eq!(before.2, now.2, "cut off after {n}");
        if done {
            break;
        }
    }
}

#[test]
fn the_other_names_of_a_file_keep_their_content() {
    let bed = Bed::new();
    let before = bed.state();
    let inode = |path: &str| fs::metadata(bed.root().join(path)).expect("there").ino();
    let (backup, was) = (fs::read(bed.root().join("backup/shadow")).expect("readable"), inode("backup/shadow"));
    for changes in [
        [edit("/etc/shadow", "root:*:1::::::\n", "root:!:1::::::\n")],
        [Change::Mode { path: "/etc/shadow".into(), before: 0o644, after: 0o640 }],
    ] {
        bed.make(&changes).expect("made");
        assert_eq!(fs::read(bed.root().join("backup/shadow")).expect("readable"), backup);
        assert_eq!(fs::metadata(bed.root().join("backup/shadow")).expect("there").permissions().mode() & 0o777, 0o644);
        assert_ne!(inode("etc/shadow"), was);
        bed.undo().expect("undone");
        assert_eq!((inode("etc/shadow"), inode("backup/shadow")), (was, was), "they are one file again");
        bed.is(&before, "undone");
    }
}

/// Pieces of a disk, as a checker of file systems changes them.
fn extents() -> Vec<Extent> {
    let extent = |offset: u64, length: usize| Extent { offset, before: vec![7; length], after: vec![9; length] };
    vec![extent(0, 4096), extent(8192, 512), extent(65536, 16384)]
}

#[test]
fn a_disk_that_is_written_as_a_whole_is_never_in_between() {
    for n in 0.. {
        let bed = Bed::new();
        let image = bed.image();
        let before = fs::read(&image).expect("readable");
        let twin = bed.dir.path().join("twin");
        fs::write(&twin, vec![5; before.len()]).expect("written");
        let entry = Entry {
            pieces: extents().iter().map(|it| (it.offset, it.after.len() as u64)).collect(),
            ..Entry::new("t".into())
        };
        let disk = Disk::to_restore(&image).expect("opened");
        faults::cut_off_after(n);
        let made = held::write(&disk, &extents(), &entry, "log");
        faults::end();
        drop(disk);
        let unfinished: Vec<_> =
            held::entries(&image).expect("listed").into_iter().filter(|(.., done)| !done).collect();
        let of_twin = held::take_back(&twin, Which::Named(&[]), Force::Yes).expect("nothing is kept of it");
        assert!(of_twin.is_empty());
        let taken = held::take_back(&image, Which::Named(&[]), Force::No).expect("put back");
        assert!(taken.iter().all(|taken| taken.left.is_none()), "after {n}: {taken:?}");
        assert!(fs::read(&image).expect("readable") == before, "after {n}: {} unfinished", unfinished.len());
        assert!(fs::read(&twin).expect("readable").iter().all(|byte| *byte == 5));
        let record = bed.dir.path().join("disk.sickbay");
        assert!(!record.exists() || made.is_err(), "after {n}");
        // The next one begins where this one was cut off.
        let disk = Disk::to_restore(&image).expect("opened");
        held::write(&disk, &extents(), &entry, "log").unwrap_or_else(|why| panic!("after {n}: {:?}", why.text()));
        assert!(disk.read_at(0, 4096).expect("readable") == vec![9; 4096]);
        drop(disk);
        held::take_back(&image, Which::Named(&[]), Force::No).expect("put back");
        assert!(fs::read(&image).expect("readable") == before && !record.exists(), "after {n}");
        if made.is_ok() {
            break;
        }
    }
}

#[test]
fn a_putting_back_that_is_cut_off_is_finished_by_the_next() {
    for n in 0.. {
        let bed = Bed::new();
        let image = bed.image();
        let before = fs::read(&image).expect("readable");
        let entry = Entry {
            pieces: extents().iter().map(|it| (it.offset, it.after.len() as u64)).collect(),
            ..Entry::new("t".into())
        };
        let disk = Disk::to_restore(&image).expect("opened");
        held::write(&disk, &extents(), &entry, "log").expect("written");
        drop(disk);
        faults::cut_off_after(n);
        let undone = held::take_back(&image, Which::Named(&[]), Force::No);
        faults::end();
        // What is made of both is put back, with all that is known of it.
        let taken = held::take_back(&image, Which::Named(&[]), Force::Yes).expect("put back");
        assert!(taken.iter().all(|taken| taken.left.is_none()), "after {n}: {taken:?}");
        assert!(fs::read(&image).expect("readable") == before, "after {n}");
        if undone.is_ok() {
            break;
        }
    }
}

/// A loop device that goes with this.
struct Loop(PathBuf);

impl Loop {
    fn of(image: &Path) -> Option<Loop> {
        let out = Command::new("losetup").args(["--find", "--show"]).arg(image).output().ok()?;
        let node = String::from_utf8(out.stdout).ok()?.trim().to_owned();
        (out.status.success() && !node.is_empty()).then(|| Loop(node.into()))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("--detach").arg(&self.0).status();
    }
}

#[test]
fn what_was_kept_of_one_device_is_never_written_to_another() {
    let dir = tempfile::tempdir().expect("a directory");
    let records = dir.path().join("records");
    let system = |name: &str| {
        let image = dir.path().join(name);
        fs::File::create(&image).and_then(|file| file.set_len(64 << 20)).expect("room");
        assert!(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image).status().expect("mkfs").success());
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/trees/debian-12.txt");
        let built = Story::read(&root).and_then(|story| story.build()).expect("the tree");
        let mnt = dir.path().join("mnt");
        let _ = fs::create_dir(&mnt);
        let script = "mount -o loop \"$1\" \"$2\" && cp -a \"$3/.\" \"$2\"";
        let mut unshare = Command::new("unshare");
        unshare
            .args(["-m", "--propagation", "private", "sh", "-c", script, "sh"])
            .arg(&image)
            .arg(&mnt)
            .arg(built.root());
        assert!(unshare.status().expect("unshare").success());
        image
    };
    let (ill, healthy) = (system("ill"), system("healthy"));
    let file = fs::File::options().write(true).open(&ill).expect("opened");
    file.write_all_at(&[0; 4096], 0).expect("written");
    let before = fs::read(&ill).expect("readable");
    let twin = fs::read(&healthy).expect("readable");
    let (Some(one), Some(other)) = (Loop::of(&ill), Loop::of(&healthy)) else {
        eprintln!("no loop devices: nothing is tested");
        return;
    };
    let run = |arguments: &[&str], device: &Loop| {
        let mut command = sickbay(arguments.iter().copied(), &device.0);
        said(&command.env("SICKBAY_TEST_DISKS", &records).output().expect("the program starts"))
    };
    let (_, text) = run(&["fix", "--yes", "--only", "file-system-damaged"], &one);
    assert!(text.contains("journal entry disk-0001"), "{text}");
    let record = fs::read_dir(&records).expect("kept").next().expect("one").expect("readable").path();
    // As if it had been cut off; the other device has taken its name.
    let done = record.join("journal/0001/done");
    for (what, name) in [("of this version", None), ("of version 0.1.0", Some("disk-of-67108864-bytes"))] {
        let _ = fs::remove_file(&done);
        if let Some(name) = name {
            fs::remove_file(record.join("identity")).expect("removed");
            fs::rename(&record, records.join(name)).expect("renamed");
        }
        for arguments in [&["check"][..], &["fix", "--yes"], &["undo", "--list"], &["undo", "--yes", "--force"]] {
            let (_, text) = run(arguments, &other);
            assert!(!text.contains("reverted: ") && !text.contains("reverted, because"), "{what}: {text}");
            let now = fs::read(&healthy).expect("readable");
            let same = now == twin;
            // A mount for writing is noted in the superblock, as `fix` of any healthy disk does.
            assert!(
                same || arguments[0] == "fix" && now[4096..65536] == twin[4096..65536],
                "{what}: {arguments:?}: {text}"
            );
            fs::write(&healthy, &twin).expect("as before");
        }
    }
    let (code, text) = run(&["undo", "--yes"], &one);
    assert_eq!(code, Some(0), "{text}");
    assert!(fs::read(&ill).expect("readable") == before, "{text}");
    assert!(!records.exists(), "nothing stays behind");
}
