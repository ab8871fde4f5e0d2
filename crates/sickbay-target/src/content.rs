//! What a file is that is no disk, in a user's words.

use bstr::ByteSlice;

use crate::log;

const MAGICS: [(&[u8], &str); 11] = [
    (b"\x7fELF", "a program or library (ELF)"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"BZh", "compressed (bzip2): unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"070701", "a cpio archive"),
    (b"\xed\xab\xee\xdb", "an RPM package"),
    (b"\xff\xfe", "text in UTF-16: convert it to UTF-8 (iconv -f UTF-16)"),
    (b"\xfe\xff", "text in UTF-16: convert it to UTF-8 (iconv -f UTF-16)"),
];

const PACKED: [(&[u8], &str); 3] = [(b"\x1f\x8b", "gzip"), (b"\xfd7zXZ\0", "xz"), (b"\x28\xb5\x2f\xfd", "zstd")];

/// Names the content of a file by how it begins.
pub(crate) fn name(head: &[u8]) -> String {
    if let Some((_, packing)) = PACKED.iter().find(|(magic, _)| head.starts_with(magic)) {
        let inside = log::unpacked(head);
        return match inside.as_slice() {
            [] => format!("{}, compressed ({packing})", "nothing that can be read"),
            inside => format!("{}, compressed ({packing})", plain(inside)),
        };
    }
    plain(head).to_owned()
}

fn plain(head: &[u8]) -> &'static str {
    if let Some((_, name)) = MAGICS.iter().find(|(magic, _)| head.starts_with(magic)) {
        return name;
    }
    if is_tar(head) {
        return "a tar archive: unpack it first";
    }
    if head.is_empty() {
        return "empty";
    }
    if crate::disk::is_blank(head) {
        return "blank, at least its first mebibyte";
    }
    let text = head.get(..4096).unwrap_or(head);
    let is_text = |byte: &u8| *byte >= 0x20 || matches!(byte, b'\n' | b'\r' | b'\t');
    if text.contains_str("% time     seconds  usecs/call") {
        return "a summary of strace -c or ltrace -c, which tells of no call: trace it again without -c";
    }
    if text.contains_str("@SYS(") {
        return "a trace of ltrace, whose calls are not read: use strace";
    }
    if text.iter().all(is_text) {
        return "a text file";
    }
    "nothing recognized: neither a partition table nor a file system"
}

/// Whether it is a tar archive, which holds texts between its headers.
pub(crate) fn is_tar(head: &[u8]) -> bool {
    head.get(257..262) == Some(b"ustar")
}

/// Whether it is something else than text by how it begins.
pub(crate) fn is_named(head: &[u8]) -> bool {
    is_tar(head) || MAGICS.iter().chain(&PACKED).any(|(magic, _)| head.starts_with(magic)) || head.is_empty()
}

/// Whether `text` is no text: more than a tenth of its first 64 KiB are bytes that no text has.
pub(crate) fn is_binary(text: &[u8]) -> bool {
    let text = text.get(..64 << 10).unwrap_or(text);
    let odd = |byte: &&u8| **byte < 0x20 && !matches!(**byte, b'\n' | b'\r' | b'\t' | 0x1b) || **byte == 0x7f;
    text.iter().filter(odd).count() > text.len() / 10
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn what_is_no_disk_is_named() {
        assert_eq!(name(b"\x7fELF\x02"), "a program or library (ELF)");
        assert_eq!(name("fstab\nänderung\n".as_bytes()), "a text file");
        assert_eq!(name(&[0; 100]), "blank, at least its first mebibyte");
        assert_eq!(name(&[1, 2, 3]), "nothing recognized: neither a partition table nor a file system");
        assert_eq!(name(b""), "empty");
        assert_eq!(name(b"BZh91AY&SY"), "compressed (bzip2): unpack it first");
    }
}
