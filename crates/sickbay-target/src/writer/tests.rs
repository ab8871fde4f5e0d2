use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use rustix::fs::{FileType, Mode};
use rustix::io::Errno;

use super::{Attributes, Times, WriteError, Writer, write_all, write_with_holes};
use crate::Flags;
use crate::kernel_value::sysctl_path;
use crate::root::{FileKind, Root};

const TIMES: Times = Times { atime: (1_000_000_000, 1), mtime: (1_100_000_000, 999_999_999) };

struct Tree {
    dir: tempfile::TempDir,
    root: Root,
    writer: Writer,
}

impl Tree {
    fn new() -> Tree {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("root");
        fs::create_dir_all(base.join("etc")).unwrap();
        fs::create_dir_all(dir.path().join("outside")).unwrap();
        fs::write(dir.path().join("outside/file"), "outside").unwrap();
        fs::write(base.join("etc/file"), "old").unwrap();
        let root = Root::at(&base).unwrap();
        let writer = Writer::new(root.try_clone().unwrap(), false);
        Tree { dir, root, writer }
    }

    fn base(&self) -> std::path::PathBuf {
        self.dir.path().join("root")
    }

    fn attributes(&self, path: &str) -> Attributes {
        let m = self.root.metadata(path).unwrap();
        let times = Times { atime: m.atime, mtime: m.mtime };
        Attributes { mode: m.mode, uid: m.uid, gid: m.gid, times, xattrs: self.root.xattrs(path).unwrap() }
    }
}

fn some() -> Attributes {
    Attributes {
        mode: 0o4640,
        uid: 12,
        gid: 34,
        times: TIMES,
        xattrs: vec![("trusted.note".into(), b"\0\xff".to_vec()), ("user.a".into(), b"b".to_vec())],
    }
}

fn errno(result: Result<(), WriteError>) -> Option<Errno> {
    Errno::from_io_error(&result.unwrap_err().source)
}

fn path(text: &str) -> &Path {
    Path::new(text)
}

#[test]
fn a_replaced_file_has_exactly_what_was_asked_for() {
    let tree = Tree::new();
    tree.writer.replace(path("/etc/file"), b"new", &some(), ".t").unwrap();
    assert_eq!(tree.attributes("/etc/file"), some());
    assert_eq!(tree.root.read("/etc/file").unwrap(), b"new");
    assert_eq!(tree.root.read_dir("/etc").unwrap().len(), 1);
    let error = tree.writer.replace(path("/missing/file"), b"new", &some(), ".t").unwrap_err();
    assert_eq!(error.to_string(), "/missing/file could not be replaced: No such file or directory (os error 2)");
}

#[test]
fn a_failed_replacement_leaves_nothing_behind() {
    let tree = Tree::new();
    fs::create_dir(tree.base().join("etc/dir")).unwrap();
    assert_eq!(errno(tree.writer.replace(path("/etc/dir"), b"new", &some(), ".t")), Some(Errno::ISDIR));
    fs::write(tree.base().join("etc/.t"), "in the way").unwrap();
    assert_eq!(errno(tree.writer.replace(path("/etc/file"), b"new", &some(), ".t")), Some(Errno::EXIST));
    assert_eq!(tree.root.read("/etc/file").unwrap(), b"old");
    assert_eq!(tree.root.read("/etc/.t").unwrap(), b"in the way");
    let bad = Attributes { xattrs: vec![("nosuchspace.x".into(), vec![])], ..some() };
    assert!(tree.writer.replace(path("/etc/file"), b"new", &bad, ".u").is_err());
    assert!(!tree.root.exists("/etc/.u").unwrap());
}

#[test]
fn links_in_the_last_place_are_replaced_and_above_it_stay_inside() {
    let tree = Tree::new();
    let outside = tree.dir.path().join("outside");
    symlink(outside.join("file"), tree.base().join("etc/link")).unwrap();
    symlink(&outside, tree.base().join("out")).unwrap();
    symlink("../outside", tree.base().join("up")).unwrap();
    tree.writer.replace(path("/etc/link"), b"new", &some(), ".t").unwrap();
    assert_eq!(tree.root.metadata("/etc/link").unwrap().kind, FileKind::File);
    for way in ["/out/file", "/up/file", "/up/new", "/../outside/file"] {
        let way = path(way);
        assert_eq!(errno(tree.writer.replace(way, b"new", &some(), ".t")), Some(Errno::NOENT));
        assert_eq!(errno(tree.writer.write_new(way, b"new", 0o600)), Some(Errno::NOENT));
        assert_eq!(errno(tree.writer.remove(way)), Some(Errno::NOENT));
        assert_eq!(errno(tree.writer.set_mode(way, 0)), Some(Errno::NOENT));
        assert_eq!(errno(tree.writer.rename(path("/etc/file"), way)), Some(Errno::NOENT));
    }
    symlink(outside.join("file"), tree.base().join("etc/again")).unwrap();
    tree.writer.set_mode(path("/etc/again"), 0o777).unwrap();
    tree.writer.set_owner(path("/etc/again"), 7, 7).unwrap();
    tree.writer.set_times(path("/etc/again"), TIMES).unwrap();
    assert_eq!(errno(tree.writer.hard_link(path("/etc/file"), path("/out/new"))), Some(Errno::NOENT));
    let untouched = fs::metadata(outside.join("file")).unwrap();
    assert_eq!((untouched.uid(), untouched.mode() & 0o7777 & !0o022), (0, 0o644));
    assert_ne!(untouched.mtime(), TIMES.mtime.0);
    assert_eq!(fs::read(outside.join("file")).unwrap(), b"outside");
    assert_eq!(tree.root.metadata("/etc/again").unwrap().uid, 7);
}

#[test]
fn the_other_name_of_a_file_keeps_its_content() {
    let tree = Tree::new();
    let former = tree.root.metadata("/etc/file").unwrap();
    tree.writer.hard_link(path("/etc/file"), path("/etc/twin")).unwrap();
    tree.writer.replace(path("/etc/file"), b"new", &some(), ".t").unwrap();
    assert_eq!(tree.root.read("/etc/file").unwrap(), b"new");
    let twin = tree.root.metadata("/etc/twin").unwrap();
    assert_eq!((twin.ino, twin.nlink, twin.mtime, twin.mode), (former.ino, 1, former.mtime, former.mode));
    tree.writer.rename(path("/etc/twin"), path("/etc/file")).unwrap();
    assert_eq!(tree.root.metadata("/etc/file").unwrap().ino, former.ino);
}

#[test]
fn flags_are_cleared_and_set_and_the_others_stay() {
    let tree = Tree::new();
    let (file, immutable) = (path("/etc/file"), Flags { immutable: true, append_only: false });
    if tree.writer.set_flags(file, immutable).is_err() {
        return; // not every file system has them, nor every container the right to
    }
    assert_eq!(tree.root.flags(file).unwrap(), immutable);
    assert!(tree.writer.replace(file, b"new", &some(), ".t").unwrap_err().immutable);
    tree.writer.set_flags(file, Flags::default()).unwrap();
    assert!(!tree.root.flags(file).unwrap().any());
    tree.writer.replace(file, b"new", &some(), ".t").unwrap();
}

#[test]
fn attributes_can_be_taken_back_whatever_they_were() {
    let tree = Tree::new();
    rustix::fs::mkfifoat(rustix::fs::CWD, tree.base().join("etc/fifo"), Mode::from_raw_mode(0o620)).unwrap();
    let node = (FileType::CharacterDevice, Mode::from_raw_mode(0o600), rustix::fs::makedev(1, 3));
    rustix::fs::mknodat(rustix::fs::CWD, tree.base().join("etc/null"), node.0, node.1, node.2).unwrap();
    symlink("file", tree.base().join("etc/link")).unwrap();
    for name in ["/etc/file", "/etc/fifo", "/etc/null", "/etc/link", "/etc"] {
        let before = tree.attributes(name);
        let mut after = some();
        after.xattrs.retain(|(name, _)| name != "user.a"); // only files and directories may have those
        tree.writer.set_attributes(path(name), &after).unwrap();
        if name == "/etc/link" {
            after.mode = 0o777;
        }
        assert_eq!(tree.attributes(name), after, "{name}");
        tree.writer.set_attributes(path(name), &before).unwrap();
        assert_eq!(tree.attributes(name), before, "{name}");
    }
}

#[test]
fn a_mode_and_its_acl_stay_in_step() {
    let tree = Tree::new();
    // version 2; owner rw-, user 5 rw-, group r--, mask rw-, others none (linux/posix_acl_xattr.h)
    let mut acl = vec![2, 0, 0, 0];
    for (tag, perm, id) in [(1u16, 6u16, u32::MAX), (2, 6, 5), (4, 4, u32::MAX), (16, 6, u32::MAX), (32, 0, u32::MAX)] {
        acl.extend(tag.to_le_bytes());
        acl.extend(perm.to_le_bytes());
        acl.extend(id.to_le_bytes());
    }
    tree.writer.set_xattr(path("/etc/file"), OsStr::new("system.posix_acl_access"), &acl).unwrap();
    let before = tree.attributes("/etc/file");
    assert_eq!(before.mode, 0o660);
    let narrowed = Attributes { mode: 0o600, ..before.clone() };
    tree.writer.set_attributes(path("/etc/file"), &narrowed).unwrap();
    assert_eq!(tree.attributes("/etc/file").mode, 0o600);
    tree.writer.set_attributes(path("/etc/file"), &before).unwrap();
    assert_eq!(tree.attributes("/etc/file"), before);
    tree.writer.remove_xattr(path("/etc/file"), OsStr::new("system.posix_acl_access")).unwrap();
    assert!(tree.root.xattrs("/etc/file").unwrap().is_empty());
}

#[test]
fn names_are_made_moved_and_removed() {
    let tree = Tree::new();
    let writer = &tree.writer;
    writer.make_dir(path("/etc/dir"), 0o2750, (3, 4)).unwrap();
    let made = tree.root.metadata("/etc/dir").unwrap();
    assert_eq!((made.mode, made.uid, made.gid), (0o2750, 3, 4));
    writer.write_new(path("/etc/dir/new"), b"x", 0o640).unwrap();
    assert_eq!(errno(writer.write_new(path("/etc/dir/new"), b"y", 0o640)), Some(Errno::EXIST));
    assert_eq!(errno(writer.remove(path("/etc/dir"))), Some(Errno::NOTEMPTY));
    writer.rename(path("/etc/dir/new"), path("/etc/moved")).unwrap();
    writer.link(path("/etc/moved"), path("/anywhere"), &Attributes { xattrs: vec![], ..some() }, ".t").unwrap();
    assert_eq!(tree.root.read_link("/etc/moved").unwrap(), path("/anywhere"));
    assert_eq!(tree.root.metadata("/etc/moved").unwrap().mtime, TIMES.mtime);
    writer.remove(path("/etc/moved")).unwrap();
    writer.remove(path("/etc/dir")).unwrap();
    writer.sync_dir(path("/etc")).unwrap();
    writer.sync(path("/")).unwrap();
    writer.set_times(path("/"), TIMES).unwrap();
    assert_eq!(tree.root.metadata("/").unwrap().mtime, TIMES.mtime);
    assert!(writer.remove(path("/")).is_err());
    assert_eq!(tree.root.read_dir("/etc").unwrap().len(), 1);
}

#[test]
fn an_immutable_file_is_named_as_such() {
    let tree = Tree::new();
    let file = fs::File::open(tree.base().join("etc/file")).unwrap();
    let flags = rustix::fs::ioctl_getflags(&file).unwrap();
    rustix::fs::ioctl_setflags(&file, flags | rustix::fs::IFlags::IMMUTABLE).unwrap();
    let error = tree.writer.replace(path("/etc/file"), b"new", &some(), ".t").unwrap_err();
    rustix::fs::ioctl_setflags(&file, flags).unwrap();
    assert!(error.immutable);
    assert!(error.to_string().ends_with("it is immutable, `chattr -i` makes it writable"), "{error}");
    assert_eq!(tree.root.read_dir("/etc").unwrap().len(), 1);
}

#[test]
fn a_lock_keeps_others_out_until_it_is_dropped() {
    let tree = Tree::new();
    let lock = tree.writer.lock(path("/etc")).unwrap();
    let refused = tree.writer.lock(path("/etc")).unwrap_err();
    assert_eq!(Errno::from_io_error(&refused.source), Some(Errno::WOULDBLOCK));
    drop(lock);
    tree.writer.lock(path("/etc")).unwrap();
}

#[test]
fn kernel_parameters_are_for_the_host() {
    let tree = Tree::new();
    assert_eq!(errno(tree.writer.write_kernel("vm.swappiness", "60")), Some(Errno::NOSYS));
    let host = Writer::new(Root::host().unwrap(), true);
    let before = fs::read_to_string("/proc/sys/vm/swappiness").unwrap();
    host.write_kernel("vm.swappiness", before.trim()).unwrap();
    assert_eq!(fs::read_to_string("/proc/sys/vm/swappiness").unwrap(), before);
    // Behind links of sysfs: the value that it has.
    let queue = "/sys/class/net/lo/queues/rx-0/rps_cpus";
    if let Ok(mask) = std::fs::read_to_string(queue) {
        host.write_kernel(queue, mask.trim()).unwrap();
    }
    assert_eq!(errno(host.write_kernel("vm.swappiness", "many")), Some(Errno::INVAL));
    assert_eq!(errno(host.write_kernel("vm.no_such_key", "1")), Some(Errno::NOENT));
    assert_eq!(errno(host.write_kernel("vm/../../../etc/hostname", "x")), Some(Errno::INVAL));
    assert_eq!(sysctl_path("net.ipv4.conf.eth0/1.forwarding"), path("/proc/sys/net/ipv4/conf/eth0.1/forwarding"));
    assert_eq!(sysctl_path("net/ipv4/conf/eth0.1/forwarding"), path("/proc/sys/net/ipv4/conf/eth0.1/forwarding"));
}

#[test]
fn zeros_become_holes_where_there_is_no_room() {
    let file = tempfile::tempfile().unwrap();
    let mut content = vec![0; 1 << 20];
    content[5000] = 1;
    content.extend_from_slice(b"the end, and zeros\0\0\0");
    write_all(&file, b"what was written before there was no room").unwrap();
    write_with_holes(&file, &content).unwrap();
    let mut found = vec![1; content.len()];
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut found, 0).unwrap();
    assert_eq!(found, content);
    let metadata = file.metadata().unwrap();
    assert_eq!(metadata.len(), content.len() as u64);
    assert!(std::os::unix::fs::MetadataExt::blocks(&metadata) * 512 < 1 << 17, "the zeros take room");
}
