//! Initramfses that cpio(1) and the real compressors make, whole and damaged.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use sickbay_formats::initramfs::{Compression, Damage, Initramfs};

/// Every compressor with the arguments that initramfs-tools or dracut give it.
const TOOLS: [(&[&str], Compression); 8] = [
    (&["cat"], Compression::None),
    (&["gzip", "-n", "-9"], Compression::Gzip),
    (&["bzip2", "-9"], Compression::Bzip2),
    (&["xz", "--format=lzma", "-9"], Compression::Lzma),
    (&["xz", "--check=crc32", "--x86", "--lzma2=dict=1MiB"], Compression::Xz),
    (&["lzop", "-9"], Compression::Lzo),
    (&["lz4", "-9", "-l", "-q"], Compression::Lz4),
    (&["zstd", "-q", "-19"], Compression::Zstd),
];

fn run(command: &[&str], dir: &Path, input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(command[0])
        .args(&command[1..])
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", command[0]));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "{command:?}");
    output.stdout
}

/// An archive of `names`, of files with a content that packs neither well nor badly, and of a link.
fn archive(format: &str, names: &[&str], size: usize) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let mut list = String::new();
    let mut noise = 7u32;
    for name in names {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let content: Vec<u8> = (0..size)
            .map(|index| {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if (index / 512) % 3 == 0 { (noise >> 24) as u8 } else { (index % 61) as u8 }
            })
            .collect();
        std::fs::write(&path, content).unwrap();
        list.push_str(&format!("{name}\n"));
    }
    std::os::unix::fs::symlink("usr/bin", dir.path().join("bin")).unwrap();
    list.push_str("bin\n");
    run(&["cpio", "-o", "--quiet", "-H", format], dir.path(), list.as_bytes())
}

fn read(bytes: &[u8]) -> Initramfs {
    Initramfs::read(&mut &*bytes, &|_| false).unwrap()
}

const EARLY: &str = "kernel/x86/microcode/GenuineIntel.bin";
const MODULE: &str = "usr/lib/modules/6.1.0/kernel/fs/ext4/ext4.ko";

#[test]
fn whole_and_damaged() {
    let early = archive("newc", &[EARLY], 3000);
    let main = archive("newc", &["init", MODULE, "conf/conf.d/x"], 300_000);
    let last = archive("crc", &["last"], 10);
    for (tool, compression) in TOOLS {
        let dir = tempfile::tempdir().unwrap();
        let packed = run(tool, dir.path(), &main);
        let bytes = [&early[..], &packed, &vec![0; 512 - packed.len() % 4], &last].concat();
        let found = read(&bytes);
        assert_eq!(found.damage, None, "{tool:?}");
        let parts: Vec<_> = found.parts.iter().map(|part| (part.compression, part.entries)).collect();
        assert_eq!(parts, [(Compression::None, 2), (compression, 4), (Compression::None, 2)], "{tool:?}");
        assert_eq!(found.parts[1].start, early.len() as u64, "{tool:?}");
        let names: Vec<String> = found.entries.iter().map(|entry| entry.name.to_string()).collect();
        assert_eq!(names, [EARLY, "bin", "init", MODULE, "conf/conf.d/x", "bin", "last", "bin"], "{tool:?}");
        assert_eq!(found.entries[5].link().map(ToString::to_string).as_deref(), Some("usr/bin"));

        // Cut off anywhere.
        for cut in [packed.len() / 3, packed.len() * 2 / 3, packed.len() - 5] {
            let start = early.len() as u64;
            let found = read(&bytes[..early.len() + cut]);
            let complete = compression == Compression::None && cut > packed.len() - 200;
            match found.damage {
                Some(Damage::Truncated(at, how)) => assert_eq!((at, how), (start, compression)),
                other => assert!(complete, "{tool:?} cut at {cut}: {other:?}"),
            }
            assert!(found.entries.iter().any(|entry| entry.name == EARLY));
        }

        // A byte in the middle: what has a checksum, or no longer unpacks, says so.
        let mut flipped = packed.clone();
        for byte in flipped.iter_mut().skip(packed.len() / 2).take(8) {
            *byte ^= 0xff;
        }
        if !matches!(compression, Compression::None | Compression::Lz4 | Compression::Lzma) {
            let found = read(&[&early[..], &flipped].concat());
            assert!(
                matches!(found.damage, Some(Damage::Corrupt(..) | Damage::Truncated(..))),
                "{tool:?}: {:?}",
                found.damage
            );
        }
    }
}

#[test]
fn what_is_no_initramfs() {
    assert_eq!(read(b"").damage, Some(Damage::Blank));
    assert_eq!(read(&[0; 5000]).damage, Some(Damage::Blank));
    assert_eq!(read(b"\x7fELF\x02\x01").damage, Some(Damage::Unknown(0)));
    let mut bytes = archive("newc", &["init"], 10);
    let end = bytes.len() as u64;
    bytes.extend(b"garbage");
    assert_eq!(read(&bytes).damage, Some(Damage::Unknown(end)));
    // The frame format of lz4 without -l, and cpio without -H newc: the kernel unpacks neither.
    let dir = tempfile::tempdir().unwrap();
    let packed = run(&["lz4", "-q", "-c", "-"], dir.path(), &archive("newc", &["init"], 10));
    assert_eq!(read(&packed).damage, Some(Damage::Unknown(0)));
    assert_eq!(read(&archive("odc", &["init"], 10)).damage, Some(Damage::Unknown(0)));
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read(tool in 0usize..9, bytes: Vec<u8>) {
        const MAGICS: [&[u8]; 9] = [
            b"", b"070701", b"\x1f\x8b\x08", b"BZh9", b"\x5d\0\0\0\x04", b"\xfd7zXZ\0", b"\x89LZO\0\x0d\x0a\x1a\x0a",
            b"\x02\x21\x4c\x18", b"\x28\xb5\x2f\xfd",
        ];
        read(&[MAGICS[tool], &bytes].concat());
    }
}
