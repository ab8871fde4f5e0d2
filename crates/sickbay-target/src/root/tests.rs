use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};

use super::{FileKind, Metadata, READ_LIMIT, ReadError, Reason, Root};

/// A tree as an attacker would make it, and a file beside it that must never be reached.
struct Hostile {
    dir: tempfile::TempDir,
}

impl Hostile {
    fn new() -> Hostile {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        let root = dir.path().join("root");
        fs::create_dir_all(&outside).unwrap();
        fs::write(outside.join("secret"), "the helper's own").unwrap();
        fs::create_dir_all(root.join("etc/deep/er")).unwrap();
        fs::create_dir_all(root.join("usr/bin")).unwrap();
        fs::write(root.join("etc/fstab"), "proc /proc proc\n").unwrap();
        fs::write(root.join("usr/bin/sh"), "#!").unwrap();
        fs::write(root.join("secret"), "the target's own").unwrap();
        let outside = outside.to_str().unwrap();
        for (link, to) in [
            ("bin", "usr/bin"),
            ("abs", "/etc/fstab"),
            ("abs-dir", "/etc/deep"),
            ("out-abs", &format!("{outside}/secret")),
            ("out-rel", "../outside/secret"),
            ("out-deep", "../../../../../../../../etc/hostname"),
            ("above", ".."),
            ("above-etc", "../etc"),
            ("slash", "/"),
            ("slashes", "//etc///fstab"),
            ("dots", "/../../etc/./deep/../fstab"),
            ("loop-a", "loop-b"),
            ("loop-b", "loop-a"),
            ("self", "self"),
            ("self-deeper", "self-deeper/x"),
            ("dangling", "/nowhere"),
            ("through-file", "/etc/fstab/x"),
            ("file-dir", "/etc/fstab/"),
            ("file-dot", "/etc/fstab/."),
            ("file-dotdot", "/etc/fstab/.."),
            ("dir-slash", "etc/deep/"),
            ("proc", "/proc/self/root/etc/hostname"),
            ("etc/deep/er/up", "../../../../.."),
            ("etc/deep/er/up-fstab", "../../fstab"),
        ] {
            symlink(to, root.join(link)).unwrap();
        }
        // The kernel follows 40 links. A look-up that it has to begin again (a rename elsewhere is enough) goes on counting
        // from where it was, so what it says of 21 to 40 links changes from call to call.
        for links in [20, 41] {
            let dir = root.join(format!("chain{links}"));
            fs::create_dir(&dir).unwrap();
            fs::write(dir.join(links.to_string()), "end").unwrap();
            for n in 0..links {
                symlink((n + 1).to_string(), dir.join(n.to_string())).unwrap();
            }
        }
        symlink(OsStr::from_bytes(b"usr/\xff\xfe"), root.join(OsStr::from_bytes(b"\xe9t\xe9"))).unwrap();
        fs::write(root.join(OsStr::from_bytes(b"usr/\xff\xfe")), "bytes").unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, root.join("fifo"), Mode::RWXU).unwrap();
        Hostile { dir }
    }

    fn by_kernel(&self) -> Root {
        let root = Root::at(&self.dir.path().join("root")).unwrap();
        assert!(root.by_kernel, "this kernel has no openat2: the comparison compares nothing");
        root
    }

    fn by_walking(&self) -> Root {
        Root { by_kernel: false, ..self.by_kernel() }
    }

    /// Every name in the tree, alone and with something behind it.
    fn paths(&self) -> Vec<Vec<u8>> {
        let mut names: Vec<Vec<u8>> = vec![b"".to_vec(), b"missing".to_vec(), b"etc/missing".to_vec(), vec![b'n'; 300]];
        names.extend([b"chain20/0".to_vec(), b"chain41/0".to_vec()]);
        for dir in ["", "etc", "etc/deep", "etc/deep/er", "usr"] {
            for entry in fs::read_dir(self.dir.path().join("root").join(dir)).unwrap() {
                let path = Path::new(dir).join(entry.unwrap().file_name());
                names.push(path.as_os_str().as_bytes().to_vec());
            }
        }
        let mut paths =
            vec![b"".to_vec(), [b"/".as_slice(), &[b'/'; 5000]].concat(), b"/..".to_vec(), b"/../../etc".to_vec()];
        for name in names {
            for end in ["", "/", "/.", "/..", "//", "/fstab", "/../etc/fstab", "/secret", "/../outside/secret"] {
                paths.push([b"/", name.as_slice(), end.as_bytes()].concat());
                paths.push([name.as_slice(), end.as_bytes()].concat());
            }
        }
        paths
    }
}

/// What can be compared of an answer.
fn told(answer: Result<Metadata, ReadError>) -> Result<(u64, u64, FileKind), String> {
    answer.map(|m| (m.dev, m.ino, m.kind)).map_err(|e| format!("{:?}", e.reason))
}

#[test]
fn walking_finds_what_openat2_finds() {
    let tree = Hostile::new();
    let (kernel, walking) = (tree.by_kernel(), tree.by_walking());
    let paths = tree.paths();
    assert!(paths.len() > 700);
    let mut found = 0;
    for path in &paths {
        let path = Path::new(OsStr::from_bytes(path));
        assert_eq!(told(kernel.stat(path)), told(walking.stat(path)), "stat {path:?}");
        assert_eq!(told(kernel.metadata(path)), told(walking.metadata(path)), "lstat {path:?}");
        assert_eq!(
            kernel.read(path).map_err(|e| e.to_string()),
            walking.read(path).map_err(|e| e.to_string()),
            "read {path:?}"
        );
        assert_eq!(
            kernel.read_dir(path).map_err(|e| e.to_string()),
            walking.read_dir(path).map_err(|e| e.to_string()),
            "list {path:?}"
        );
        let canonical = kernel.canonical(path);
        assert_eq!(canonical.is_ok(), kernel.stat(path).is_ok(), "canonical {path:?}");
        if let Ok(canonical) = canonical {
            found += 1;
            assert_eq!(told(kernel.metadata(&canonical)), told(kernel.stat(path)), "{path:?} leads to {canonical:?}");
        }
    }
    assert!(found > 200, "only {found} paths lead anywhere");
}

#[test]
fn nothing_leads_outside() {
    let tree = Hostile::new();
    for root in [tree.by_kernel(), tree.by_walking()] {
        for path in tree.paths() {
            let path = Path::new(OsStr::from_bytes(&path)).to_owned();
            if let Ok(bytes) = root.read(&path) {
                assert_ne!(bytes, b"the helper's own", "{path:?}");
            }
        }
        assert_eq!(root.read("/out-rel").unwrap_err().to_string(), "/out-rel does not exist");
        assert_eq!(root.read("/above/secret").unwrap(), b"the target's own");
        assert_eq!(root.canonical("/etc/deep/er/up/abs-dir/er/up-fstab").unwrap(), Path::new("/etc/fstab"));
        assert_eq!(root.canonical("/dots").unwrap(), Path::new("/etc/fstab"));
    }
}

#[test]
fn an_etc_that_leads_to_the_helpers_is_empty() {
    let dir = tempfile::tempdir().unwrap();
    symlink("/etc", dir.path().join("etc")).unwrap();
    let root = Root::at(dir.path()).unwrap();
    assert!(matches!(root.read("/etc/passwd").unwrap_err().reason, Reason::LinkLoop));
    let walking = Root { by_kernel: false, ..Root::at(dir.path()).unwrap() };
    assert!(matches!(walking.read("/etc/passwd").unwrap_err().reason, Reason::LinkLoop));
    assert!(!root.exists("/etc/passwd").unwrap());
}

#[test]
fn nothing_but_regular_files_is_opened() {
    let tree = Hostile::new();
    let base = tree.dir.path().join("root");
    let _socket = std::os::unix::net::UnixListener::bind(base.join("socket")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        base.join("null"),
        rustix::fs::FileType::CharacterDevice,
        Mode::RWXU,
        rustix::fs::makedev(1, 3),
    )
    .unwrap();
    let started = Instant::now();
    for root in [tree.by_kernel(), tree.by_walking()] {
        for (path, kind, text) in [
            ("/fifo", FileKind::Fifo, "/fifo is a FIFO, not a regular file"),
            ("/socket", FileKind::Socket, "/socket is a socket, not a regular file"),
            ("/null", FileKind::CharDevice, "/null is a character device, not a regular file"),
            ("/abs-dir", FileKind::Dir, "/abs-dir is a directory, not a regular file"),
        ] {
            let error = root.read(path).unwrap_err();
            assert_eq!(error.to_string(), text);
            assert!(matches!(error.reason, Reason::IsA(is) if is == kind));
        }
        assert!(matches!(root.read_dir("/fifo").unwrap_err().reason, Reason::NotADirectory));
        assert!(matches!(root.read_link("/fifo").unwrap_err().reason, Reason::IsA(FileKind::Fifo)));
    }
    assert!(started.elapsed() < Duration::from_secs(1));
}

#[test]
fn a_sparse_giant_is_refused_unread() {
    let dir = tempfile::tempdir().unwrap();
    fs::File::create(dir.path().join("fstab")).unwrap().set_len(2 << 30).unwrap();
    let root = Root::at(dir.path()).unwrap();
    let error = root.read("/fstab").unwrap_err();
    assert_eq!(error.to_string(), "/fstab is too large: 2147483648, and at most 16777216 is read");
    assert_eq!(root.read_head("/fstab", 10).unwrap(), [0; 10]);
    assert_eq!(root.metadata("/fstab").unwrap().size, 2 << 30);
    assert_eq!(root.metadata("/fstab").unwrap().allocated, 0);
    fs::write(dir.path().join("exact"), vec![7; 100]).unwrap();
    assert_eq!(root.read_up_to("/exact", 100).unwrap().len(), 100);
    assert!(matches!(root.read_up_to("/exact", 99).unwrap_err().reason, Reason::TooLarge { size: 100, limit: 99 }));
}

#[test]
fn files_that_do_not_know_their_size_are_read_and_bounded() {
    let root = Root::host().unwrap();
    assert!(root.read("/proc/meminfo").unwrap().starts_with(b"MemTotal:"));
    assert!(matches!(
        root.read_up_to("/proc/meminfo", 10).unwrap_err().reason,
        Reason::TooLarge { size: 11, limit: 10 }
    ));
    assert_eq!(root.metadata("/proc/meminfo").unwrap().size, 0);
    const { assert!(READ_LIMIT < 1 << 30) };
}

#[test]
fn names_are_bytes() {
    let tree = Hostile::new();
    for root in [tree.by_kernel(), tree.by_walking()] {
        let link = Path::new(OsStr::from_bytes(b"/\xe9t\xe9"));
        assert_eq!(root.read(link).unwrap(), b"bytes");
        assert_eq!(root.read_link(link).unwrap().as_os_str().as_bytes(), b"usr/\xff\xfe");
        let names: Vec<_> = root.read_dir("/usr").unwrap().into_iter().map(|e| (e.name, e.kind)).collect();
        assert_eq!(names, [("bin".into(), FileKind::Dir), (OsStr::from_bytes(b"\xff\xfe").to_owned(), FileKind::File)]);
    }
    let error = tree.by_kernel().read(OsStr::from_bytes(b"/a\0b")).unwrap_err();
    assert!(matches!(error.reason, Reason::Io(_)), "{error}");
}

#[test]
fn attributes_are_read_of_files_and_links() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "x").unwrap();
    symlink("file", dir.path().join("link")).unwrap();
    rustix::fs::setxattr(dir.path().join("file"), "user.b", b"2", rustix::fs::XattrFlags::empty()).unwrap();
    rustix::fs::setxattr(dir.path().join("file"), "user.a", b"1", rustix::fs::XattrFlags::empty()).unwrap();
    rustix::fs::lsetxattr(dir.path().join("link"), "trusted.c", b"3", rustix::fs::XattrFlags::empty()).unwrap();
    let root = Root::at(dir.path()).unwrap();
    assert_eq!(root.xattrs("/file").unwrap(), [("user.a".into(), b"1".to_vec()), ("user.b".into(), b"2".to_vec())]);
    assert_eq!(root.xattrs("/link").unwrap(), [("trusted.c".into(), b"3".to_vec())]);
}

#[test]
fn the_parent_is_inside_and_the_last_name_is_not_followed() {
    let tree = Hostile::new();
    for root in [tree.by_kernel(), tree.by_walking()] {
        let (dir, name) = root.parent(Path::new("/above-etc/abs")).unwrap();
        let here = rustix::fs::fstat(&dir).unwrap().st_ino;
        assert_eq!(here, root.stat("/etc").unwrap().ino);
        assert_eq!(name, "abs");
        assert!(root.parent(Path::new("/")).is_err());
        assert!(root.parent(Path::new("/etc/..")).is_err());
        assert!(root.resolve(Path::new("/etc/fstab"), OFlags::DIRECTORY).is_err());
    }
}
