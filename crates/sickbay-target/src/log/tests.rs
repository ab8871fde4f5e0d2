use super::*;
use std::io::Write;

fn all(mut blocks: Blocks) -> (Vec<u8>, usize) {
    let (mut text, mut largest) = (Vec::new(), 0);
    while let Some(block) = blocks.next_block().unwrap() {
        largest = largest.max(block.len());
        text.extend_from_slice(block);
    }
    (text, largest)
}

/// Gives a few bytes at a time, as a pipe does.
struct Drops(Cursor<Vec<u8>>, usize);

impl Read for Drops {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(self.1);
        self.0.read(&mut buffer[..length])
    }
}

#[test]
fn whole_lines_however_they_come() {
    let text: Vec<u8> = (0..60_000).flat_map(|n| format!("[{n}.0] line {n}\n").into_bytes()).collect();
    for drop in [7, 4096, 1 << 20] {
        let mut blocks = Blocks::new(Drops(Cursor::new(text.clone()), drop)).unwrap();
        let mut read = Vec::new();
        while let Some(block) = blocks.next_block().unwrap() {
            assert!(block.ends_with(b"\n"));
            read.extend_from_slice(block);
        }
        assert!(read == text);
    }
    assert_eq!(all(Blocks::new(Cursor::new(b"no end".to_vec())).unwrap()).0, b"no end");
    assert_eq!(all(Blocks::new(io::empty()).unwrap()).0, b"");
}

#[test]
fn a_line_of_a_gigabyte_is_cut_and_the_next_one_is_whole() {
    let long = io::repeat(b'x').take(1 << 28);
    let input = Cursor::new(b"first\n".to_vec()).chain(long).chain(Cursor::new(b"\nlast\n".to_vec()));
    let (text, largest) = all(Blocks::new(input).unwrap());
    assert!(largest <= BLOCK);
    assert!(text.starts_with(b"first\nxxx") && text.ends_with(b"xlast\n"), "{}", text.len());
}

#[test]
fn what_follows_a_hole_is_a_line() {
    for hole in [10, BLOCK - 3, BLOCK, 3 * BLOCK + 7] {
        let mut text = b"first\n".to_vec();
        text.resize(6 + hole, 0);
        text.extend_from_slice(b"after the hole\nlast\n");
        let (read, _) = all(Blocks::new(Cursor::new(text)).unwrap());
        let words: Vec<&[u8]> = read.split(|byte| matches!(byte, 0 | b'\n')).filter(|word| !word.is_empty()).collect();
        assert_eq!(words, [b"first".as_slice(), b"after the hole", b"last"], "{hole}");
    }
}

#[test]
fn packed_logs_are_unpacked_and_damage_is_an_error() {
    let text = b"[1.0] one\n[2.0] two\n".repeat(5000);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&text).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::encode_all(&text[..], 3).unwrap();
    let mut xz = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(6)).unwrap();
    xz.write_all(&text).unwrap();
    let xz = xz.finish().unwrap();
    for packed in [gzip, zstd, xz] {
        assert!(all(Blocks::new(Cursor::new(packed.clone())).unwrap()).0 == text);
        let mut cut = Blocks::new(Cursor::new(packed[..packed.len() / 2].to_vec())).unwrap();
        let error = loop {
            match cut.next_block() {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the end is missing"),
                Err(error) => break error,
            }
        };
        assert!(!error.to_string().is_empty());
    }
}

#[test]
fn what_is_a_log() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let log = b"Jun 12 10:36:02 host kernel: eth0: link up\n";
    assert!(is_log(&write("x", log)).unwrap());
    assert!(is_log(&write("kern.log", b"anything\n")).unwrap());
    assert!(!is_log(&write("syslog.1", b"")).unwrap());
    assert!(!is_log(&write("empty", b"")).unwrap());
    assert!(!is_log(&write("notes", b"buy milk\n")).unwrap());
    assert!(!is_log(&write("messages", b"\x7fELF\x02\x01\x01\0\0\0\0\0\x03\0>\0\x01\0\0\0")).unwrap());
    assert!(is_log(&write("plain", b"nginx invoked oom-killer: gfp_mask=0x200da\n")).unwrap());
    let hole = write("hole", b"");
    std::fs::File::options().write(true).open(&hole).unwrap().set_len(1 << 20).unwrap();
    let mut file = std::fs::File::options().append(true).open(&hole).unwrap();
    file.write_all(log).unwrap();
    assert!(is_log(&hole).unwrap());
}

#[test]
fn a_directory_of_logs_is_read_oldest_first_and_without_copies() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["kern.log", "kern.log.1", "kern.log.10", "kern.log.2", "syslog", "boot.log", "README"] {
        std::fs::write(dir.path().join(name), b"hello\n").unwrap();
    }
    let names = |files: Vec<LogFile>| -> Vec<String> {
        files.iter().map(|file| file.path().file_name().unwrap().to_string_lossy().into_owned()).collect()
    };
    let found = names(of_directory(dir.path()).unwrap());
    assert_eq!(found, ["boot.log", "kern.log.10", "kern.log.2", "kern.log.1", "kern.log"]);
    std::fs::create_dir(dir.path().join("etc")).unwrap();
    assert!(of_directory(dir.path()).is_none());
}

#[test]
fn journal_files_in_order() {
    let name = |text: &str| age(Path::new(text));
    let id = "91b8f2b0b1e84c0d8d4f0f4c1f0e7a11";
    let (old, young) = (
        format!("system@{id}-0000000000000901-00061f0a1b2c3d4e.journal"),
        format!("system@{id}-0000000000000001-00061f0b1b2c3d4e.journal"),
    );
    assert!(name(&old) < name(&young) && name(&young) < name("system.journal"));
    assert!(name("system@00061f0a1b2c3d4f-1234567890abcdef.journal~") > name(&old));
}

#[test]
fn a_bomb_is_left() {
    use std::io::Read;
    let text = std::io::repeat(b'\n').take(400 << 20);
    let bomb = zstd::stream::encode_all(text, 1).unwrap();
    let mut blocks = Blocks::new(Cursor::new(bomb)).unwrap();
    let mut read = 0;
    let error = loop {
        match blocks.next_block() {
            Ok(Some(block)) => read += block.len(),
            Ok(None) => panic!("it was read to its end"),
            Err(error) => break error,
        }
    };
    assert!(error.to_string().starts_with("it unpacks to more than ") && read < 300 << 20, "{error}: {read}");
    // A text is as long as it is.
    let mut blocks = Blocks::new(Cursor::new(b"one\ntwo\n".to_vec())).unwrap().at_most(4);
    assert!(blocks.next_block().is_err());
}

#[test]
fn dates_in_names_are_dates() {
    let name = |name: &str| age(Path::new(name));
    assert!(name("messages-2023-06-12") < name("messages-2023-06-13"));
    assert!(name("messages-20230612-03.gz") < name("messages-20230612-04.gz"));
    assert!(name("messages-20230613") < name("messages"));
    assert!(name("syslog.10.gz") < name("syslog.2.gz") && name("syslog.1") < name("syslog"));
}

/// A journal file of so many entries of the kernel, each with a message of its own, and the list of them.
fn journal_of(count: u64) -> Vec<u8> {
    let mut out = vec![0; 256];
    out[..8].copy_from_slice(b"LPKSHHRH");
    out[88..96].copy_from_slice(&256_u64.to_le_bytes());
    let add = |out: &mut Vec<u8>, kind: u8, head: usize, body: &[u8]| {
        let at = out.len();
        let mut object = vec![0; head];
        object[0] = kind;
        object.extend(body);
        let size = object.len() as u64;
        object[8..16].copy_from_slice(&size.to_le_bytes());
        object.resize(object.len().next_multiple_of(8), 0);
        out.extend(object);
        at as u64
    };
    let kernel = add(&mut out, 1, 64, b"_TRANSPORT=kernel");
    let mut places = Vec::new();
    for number in 0..count {
        let message = add(&mut out, 1, 64, format!("MESSAGE=line {number:06} {}", "x".repeat(400)).as_bytes());
        let items: Vec<u8> =
            [kernel, message].iter().flat_map(|place| [place.to_le_bytes(), [0; 8]].concat()).collect();
        let entry = add(&mut out, 3, 64, &items);
        let at = usize::try_from(entry).unwrap();
        out[at + 24..at + 32].copy_from_slice(&(1_700_000_000_000_000 + number).to_le_bytes());
        places.extend(entry.to_le_bytes());
    }
    let array = add(&mut out, 6, 24, &places);
    out[176..184].copy_from_slice(&array.to_le_bytes());
    out
}

#[test]
fn of_a_large_journal_the_newest_part_is_read() {
    let bytes = journal_of(2000);
    let size = bytes.len() as u64;
    let read = |whole: u64| {
        let bytes = bytes.clone();
        let at = move |buffer: &mut [u8], at: u64| {
            let rest = bytes.get(usize::try_from(at).unwrap()..).unwrap_or_default();
            let count = rest.len().min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        };
        let entries = super::journal::entries_within(Box::new(at), size, whole, |entry| entry.kernel).unwrap();
        let mut blocks = Blocks::of_entries(entries);
        let mut text = Vec::new();
        while let Some(block) = blocks.next_block().unwrap() {
            text.extend_from_slice(block);
        }
        (blocks.is_cut(), String::from_utf8(text).unwrap())
    };
    let (cut, text) = read(size);
    assert!(!cut && text.contains("MESSAGE=line 000000 ") && text.contains("MESSAGE=line 001999 "));
    let (cut, text) = read(200 << 10);
    assert!(cut && !text.contains("MESSAGE=line 000000 ") && text.contains("MESSAGE=line 001999 "));
    let count = text.matches("MESSAGE=line ").count();
    assert!((100..1000).contains(&count), "{count}");
}
