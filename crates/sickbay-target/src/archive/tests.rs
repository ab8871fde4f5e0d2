use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::*;
use crate::{FileKind, Reason};

/// One member as it is written, with a checksum that is right and nothing else checked.
fn member(name: &[u8], flag: u8, link: &[u8], mode: &str, size: u64, content: &[u8]) -> Vec<u8> {
    let mut block = [0_u8; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &name[..name.len().min(100)]);
    put(100, format!("{mode:0>7}\0").as_bytes());
    put(108, b"0000003\0");
    put(116, b"0000004\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, b"14524770400\0");
    put(148, b"        ");
    put(156, &[flag]);
    put(157, &link[..link.len().min(100)]);
    put(257, b"ustar  \0");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut out = block.to_vec();
    out.extend(content);
    out.resize(out.len().next_multiple_of(BLOCK), 0);
    out
}

fn file(name: &str, content: &[u8]) -> Vec<u8> {
    member(name.as_bytes(), b'0', b"", "644", content.len() as u64, content)
}

fn link(name: &str, to: &str) -> Vec<u8> {
    member(name.as_bytes(), b'2', to.as_bytes(), "777", 0, b"")
}

fn hard(name: &str, to: &str) -> Vec<u8> {
    member(name.as_bytes(), b'1', to.as_bytes(), "644", 0, b"")
}

fn pax(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while rest + length.to_string().len() != length {
            length += 1;
        }
        bytes.extend(format!("{length} {key}=").as_bytes());
        bytes.extend(*value);
        bytes.push(b'\n');
    }
    member(b"pax", b'x', b"", "644", bytes.len() as u64, &bytes)
}

fn archive(members: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = members.concat();
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

struct Case {
    dir: tempfile::TempDir,
}

impl Case {
    fn new(bytes: &[u8]) -> Case {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), bytes).unwrap();
        Case { dir }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("a")
    }

    fn unpack(&self) -> Unpacked {
        Unpacked::of_file(&self.path(), None).unwrap()
    }
}

fn small() -> Bounds {
    Bounds { members: 20, unpacked: 1 << 20, ratio: 20, always: 64 << 10, file: 100 << 10, room: 1 << 20 }
}

fn refused(bytes: &[u8]) -> String {
    Unpacked::within(&Case::new(bytes).path(), small(), None).unwrap_err().to_string()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn what_it_tells_is_data() {
    let label = b"system_u:object_r:shadow_t:s0\0";
    let bytes = archive(&[
        member(b"./", b'5', b"", "755", 0, b""),
        member(b"./usr/bin/su", b'0', b"", "4755", 2, b"su"),
        pax(&[("SCHILY.xattr.security.selinux", label), ("uid", b"70000"), ("mtime", b"12.5")]),
        member(b"etc/shadow", b'0', b"", "000", 3, b"x:y"),
        link("lib", "usr/lib"),
        file("lib/a.so", b"elf"),
    ]);
    let case = Case::new(&bytes);
    assert!(is_archive(&case.path()).unwrap());
    let unpacked = case.unpack();
    let root = unpacked.root().unwrap();
    let su = root.metadata("/usr/bin/su").unwrap();
    assert_eq!((su.mode, su.uid, su.gid, su.mtime.0), (0o4755, 3, 4, 0o14524770400));
    // On this machine it is an ordinary file.
    let raw = rustix::fs::fstat(root.resolve(Path::new("/usr/bin/su"), rustix::fs::OFlags::empty()).unwrap()).unwrap();
    assert_eq!(raw.st_mode & 0o7777, 0o600);
    let shadow = root.metadata("/etc/shadow").unwrap();
    assert_eq!((shadow.mode, shadow.uid, shadow.mtime), (0, 70000, (12, 0)));
    assert_eq!(root.read("/etc/shadow").unwrap(), b"x:y");
    assert_eq!(root.xattrs("/etc/shadow").unwrap(), [("security.selinux".into(), label.to_vec())]);
    assert!(root.xattrs("/usr/bin/su").unwrap().is_empty());
    assert_eq!(root.dir("/etc").unwrap().metadata("shadow".as_ref()).unwrap(), shadow);
    assert_eq!((root.metadata("/etc").unwrap().mode, root.metadata("/etc").unwrap().uid), (0o755, 0));
    // A directory that is a link is gone through, inside.
    assert_eq!(root.read("/usr/lib/a.so").unwrap_or_else(|_| root.read("/lib/a.so").unwrap_or_default()), b"");
    assert_eq!(unpacked.notes, ["lib/a.so: not unpacked, since no file can have that name there"]);
    assert!(!root.has_own_file_system().unwrap());
}

#[test]
fn what_was_made_without_attributes_does_not_tell_them() {
    let case = Case::new(&archive(&[file("etc/passwd", b"")]));
    let root = case.unpack().root().unwrap();
    assert!(matches!(root.xattrs("/etc/passwd").unwrap_err().reason, Reason::NotTold));
}

#[test]
fn nothing_leads_out() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("there"), b"mine").unwrap();
    let out = outside.path().to_str().unwrap();
    let bytes = archive(&[
        file("../up", b"1"),
        file("a/../../up", b"2"),
        file(&format!("{out}/absolute"), b"3"),
        link("out", out),
        file("out/through", b"4"),
        file("out/there", b"5"),
        link("up", "../../../../../../.."),
        file(&format!("up{out}/relative"), b"6"),
        hard("stolen", &format!("{out}/there")),
        hard("stolen2", "../../../../../etc/passwd"),
        hard("stolen3", "out/there"),
        link("chain", "out/../../.."),
        member(b"chain/dir", b'5', b"", "777", 0, b""),
        member(b"dev/sda", b'4', b"", "666", 0, b""),
        member(b"pipe", b'6', b"", "666", 0, b""),
        file("", b"7"),
        file("/", b""),
        file("fine", b"9"),
    ]);
    let unpacked = Case::new(&bytes).unpack();
    let names: Vec<_> = fs::read_dir(outside.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["there"]);
    assert_eq!(fs::read(outside.path().join("there")).unwrap(), b"mine");
    let root = unpacked.root().unwrap();
    assert_eq!(root.read("/fine").unwrap(), b"9");
    // The absolute name is one of the archive, and the link leads there.
    assert_eq!(root.read("/out/absolute").unwrap(), b"3");
    // What the links lead to is inside, as the names themselves are.
    assert_eq!(root.read(format!("{out}/through")).unwrap(), b"4");
    assert_eq!(root.read("/stolen").unwrap(), b"5");
    assert!(root.metadata("/stolen2").is_err());
    assert_eq!(root.metadata("/pipe").unwrap_err().to_string(), "/pipe does not exist");
    let notes = unpacked.notes.join("\n");
    assert!(
        notes.contains("../up, a/../../up and 1 more: not unpacked, since the name leads out")
            || notes.contains("../up, a/../../up, stolen2: not unpacked"),
        "{notes}"
    );
    assert!(notes.contains("dev/sda, pipe: not unpacked: devices and FIFOs are not created"), "{notes}");
}

#[test]
fn the_last_of_a_name_counts() {
    let bytes = archive(&[
        file("a", b"first"),
        hard("b", "a"),
        file("a", b"second"),
        link("c", "a"),
        file("c", b"file"),
        member(b"d", b'5', b"", "755", 0, b""),
        file("d", b"no directory"),
        member(b"e", b'5', b"", "755", 0, b""),
        file("e/in", b"x"),
        file("e", b"does not replace it"),
        file("f", b"x"),
        file("f/in", b"x"),
        hard("a", "a"),
    ]);
    let unpacked = Case::new(&bytes).unpack();
    let root = unpacked.root().unwrap();
    let read = |path: &str| String::from_utf8(root.read(path).unwrap()).unwrap();
    assert_eq!(
        [read("/a"), read("/b"), read("/c"), read("/d"), read("/e/in")],
        ["second", "first", "file", "no directory", "x"]
    );
    assert_eq!(unpacked.notes, ["e, f/in: not unpacked, since no file can have that name there"]);
}

#[test]
fn long_names_and_sparse_files() {
    let long = format!("{}/file", ["directory-with-a-name"; 12].join("/"));
    let mut sparse = member(b"old", b'S', b"", "644", 512, &[b'x'; 512]);
    let mut put = |at: usize, bytes: &[u8]| sparse[at..at + bytes.len()].copy_from_slice(bytes);
    put(386, format!("{:011o}\0{:011o}\0", 1024, 512).as_bytes());
    put(483, format!("{:011o}\0", 4096).as_bytes());
    put(148, b"        ");
    let sum: u32 = sparse[..BLOCK].iter().map(|byte| u32::from(*byte)).sum();
    sparse[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut map = b"1\n1024\n512\n".to_vec();
    map.resize(512, 0);
    map.extend([b'y'; 512]);
    let bytes = archive(&[
        member(b"././@LongLink", b'L', b"", "644", long.len() as u64 + 1, format!("{long}\0").as_bytes()),
        file("short", b"long one"),
        pax(&[("path", format!("pax/{long}").as_bytes())]),
        file("short", b"pax one"),
        sparse,
        pax(&[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"new"),
            ("GNU.sparse.realsize", b"4096"),
        ]),
        file("GNUSparseFile.1/new", &map),
        file("after", b"whole"),
    ]);
    let unpacked = Case::new(&bytes).unpack();
    assert_eq!(unpacked.notes, Vec::<String>::new());
    let root = unpacked.root().unwrap();
    assert_eq!(root.read(format!("/{long}")).unwrap(), b"long one");
    assert_eq!(root.read(format!("/pax/{long}")).unwrap(), b"pax one");
    assert_eq!(root.read("/after").unwrap(), b"whole");
    for (name, byte) in [("/old", b'x'), ("/new", b'y')] {
        let mut whole = vec![0; 4096];
        whole[1024..1536].fill(byte);
        assert!(root.read(name).unwrap() == whole, "{name}");
    }
}

#[test]
fn every_packing_is_told_by_its_content() {
    let mut state = 1_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    let noise: Vec<u8> = (0..300_000).map(|_| noise()).collect();
    let plain = archive(&[file("etc/hostname", b"box\n"), file("noise", &noise)]);
    let mut xz = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(1)).unwrap();
    xz.write_all(&plain).unwrap();
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
    bzip2.write_all(&plain).unwrap();
    let packed = [
        plain.clone(),
        gzip(&plain),
        xz.finish().unwrap(),
        bzip2.finish().unwrap(),
        zstd::encode_all(plain.as_slice(), 3).unwrap(),
    ];
    for bytes in packed {
        let case = Case::new(&bytes);
        assert!(is_archive(&case.path()).unwrap());
        assert_eq!(case.unpack().root().unwrap().read("/etc/hostname").unwrap(), b"box\n");
        for cut in [bytes.len() / 2, bytes.len() * 3 / 4, bytes.len() - 2000] {
            let error = Unpacked::of_file(&Case::new(&bytes[..cut]).path(), None).unwrap_err().to_string();
            assert!(error.contains("is truncated: it ends after"), "{cut}: {error}");
        }
    }
    for other in [&b""[..], b"text\n", &[0; 4096], b"\x1f\x8b", &gzip(b"log line\n")] {
        assert!(!is_archive(&Case::new(other).path()).unwrap());
    }
}

#[test]
fn what_goes_beyond_the_bounds_is_refused() {
    let many: Vec<Vec<u8>> = (0..30).map(|number| file(&format!("f{number}"), b"")).collect();
    assert!(refused(&archive(&many)).contains("it has more than 20 members"));
    let zeros = vec![0; 900 << 10];
    let bomb = gzip(&archive(&[file("zeros", &zeros)]));
    assert!(refused(&bomb).contains("it unpacks to more than 20 times its size"), "{}", refused(&bomb));
    let about = archive(&[member(b"x", b'L', b"", "644", 8 << 30, b"")]);
    assert!(refused(&about).contains("a header in it is larger than 1 MiB"));
    let told = archive(&[member(b"x", b'0', b"", "644", 8 << 30, b"little")]);
    assert!(refused(&told).contains("is truncated"));
    let mut broken = archive(&[file("a", b"x"), file("b", b"y")]);
    broken[1024 + 3] ^= 1;
    assert!(refused(&broken).contains("what follows its member 1 is no header of tar"), "{}", refused(&broken));
    let mut largest = member(b"x", b'0', b"", "644", 0, b"");
    largest[124..136].copy_from_slice(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff");
    largest[148..156].copy_from_slice(b"        ");
    let sum: u32 = largest.iter().map(|byte| u32::from(*byte)).sum();
    largest[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    assert!(refused(&archive(&[largest])).contains("is truncated"));
}

#[test]
fn what_is_too_large_is_known_and_cannot_be_read() {
    let bytes = archive(&[file("var/huge", &vec![b'x'; 200 << 10]), file("etc/small", b"x")]);
    let unpacked = Unpacked::within(&Case::new(&bytes).path(), small(), None).unwrap();
    let root = unpacked.root().unwrap();
    assert_eq!(root.metadata("/var/huge").unwrap().size, 200 << 10);
    let error = root.read("/var/huge").unwrap_err();
    assert!(matches!(error.reason, Reason::LeftPacked), "{error}");
    assert_eq!(root.take_unread().len(), 1);
    assert_eq!(root.read("/etc/small").unwrap(), b"x");
    assert!(unpacked.notes[0].starts_with("var/huge: too large to be unpacked"), "{:?}", unpacked.notes);
    // Little room: the large ones give way to the small ones.
    let mut members: Vec<Vec<u8>> = (0..12).map(|n| file(&format!("large{n}"), &vec![b'x'; 90 << 10])).collect();
    members.push(file("etc/small", b"x"));
    let unpacked = Unpacked::within(&Case::new(&archive(&members)).path(), small(), None).unwrap();
    let root = unpacked.root().unwrap();
    assert_eq!(root.read("/etc/small").unwrap(), b"x");
    assert!(matches!(root.read("/large11").unwrap_err().reason, Reason::LeftPacked));
    assert!(unpacked.notes[0].contains("no room to unpack it"), "{:?}", unpacked.notes);
}

#[test]
fn a_directory_on_a_disk_vanishes() {
    let place = place::Place::on_disk(1 << 30).unwrap();
    let path = fs::read_link(crate::xattr::through_proc(std::os::fd::AsFd::as_fd(&place.dir))).unwrap();
    assert!(path.is_dir() && place.room > 0);
    fs::create_dir_all(path.join("a/b")).unwrap();
    drop(place);
    assert!(!path.exists());
}

#[test]
fn what_is_in_it_is_listed_by_its_kind() {
    let bytes = archive(&[file("a", b"x"), link("b", "a"), member(b"c/", b'0', b"", "755", 0, b"")]);
    let entries = Case::new(&bytes).unpack().root().unwrap().read_dir("/").unwrap();
    let kinds: Vec<FileKind> = entries.iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, [FileKind::File, FileKind::Symlink, FileKind::Dir]);
}

#[test]
fn a_hole_costs_no_time() {
    let case = Case::new(&member(b"hole", b'0', b"", "644", 1 << 32, b""));
    let file = fs::File::options().write(true).open(case.path()).unwrap();
    file.set_len(BLOCK as u64 + (1 << 32) + 1024).unwrap();
    let unpacked = case.unpack();
    assert_eq!(unpacked.root().unwrap().metadata("/hole").unwrap().size, 1 << 32);
    assert!(unpacked.notes[0].starts_with("hole: too large to be unpacked"), "{:?}", unpacked.notes);
}

#[test]
fn whatever_is_changed_in_it_nothing_leads_out() {
    let outside = tempfile::tempdir().unwrap();
    let out = outside.path().to_str().unwrap();
    let good = archive(&[
        link("l", out),
        file("l/a", b"1"),
        hard("h", "l/a"),
        member(b"d", b'5', b"", "755", 0, b""),
        pax(&[("path", format!("{out}/b").as_bytes()), ("size", b"1")]),
        file("x", b"2"),
        member(b"././@LongLink", b'K', b"", "644", 4, b"../y"),
        link("z", "w"),
        file("d/../../c", b"3"),
    ]);
    let mut state = 7_u64;
    let mut next = |most: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % most
    };
    let mut unpacked = 0;
    for _ in 0..150 {
        let mut bytes = good.clone();
        for _ in 0..=next(3) {
            // Single bytes of a header, mostly the type, the size and the magic.
            let header = next(good.len() / BLOCK - 2) * BLOCK;
            let field = [124 + next(12), 156, 157 + next(20), next(30), 257 + next(6), 345 + next(8)][next(6)];
            bytes[header + field] = [b'0', b'1', b'2', b'5', b'S', b'L', b'x', b'/', b'.', 0, 0x80, 0xFF][next(12)];
            let mut block: [u8; BLOCK] = bytes[header..header + BLOCK].try_into().unwrap();
            block[148..156].copy_from_slice(b"        ");
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            bytes[header + 148..header + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
        unpacked += usize::from(Unpacked::within(&Case::new(&bytes).path(), small(), None).is_ok());
    }
    assert!(unpacked > 30, "{unpacked}");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}
