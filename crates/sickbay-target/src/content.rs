//! What a file is that is no disk, in a user's words.

/// Names the content of a file by how it begins.
pub(crate) fn name(head: &[u8]) -> &'static str {
    const MAGICS: [(&[u8], &str); 13] = [
        (b"\x7fELF", "a program or library (ELF)"),
        (b"PK\x03\x04", "a ZIP archive"),
        (b"\x1f\x8b", "compressed (gzip): unpack it first"),
        (b"\xfd7zXZ\0", "compressed (xz): unpack it first"),
        (b"\x28\xb5\x2f\xfd", "compressed (zstd): unpack it first"),
        (b"BZh", "compressed (bzip2): unpack it first"),
        (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
        (b"%PDF", "a PDF document"),
        (b"\x89PNG", "a picture"),
        (b"\xff\xd8\xff", "a picture"),
        (b"070701", "a cpio archive"),
        (b"\xed\xab\xee\xdb", "an RPM package"),
        (b"LPKSHHRH", "a journal: pipe `journalctl --file FILE -k -o export` into `sickbay check -`"),
    ];
    if let Some((_, name)) = MAGICS.iter().find(|(magic, _)| head.starts_with(magic)) {
        return name;
    }
    if head.get(257..262) == Some(b"ustar") {
        return "a tar archive";
    }
    if crate::disk::is_blank(head) {
        return "blank, at least its first mebibyte";
    }
    let text = head.get(..4096).unwrap_or(head);
    let is_text = |byte: &u8| *byte >= 0x20 || matches!(byte, b'\n' | b'\r' | b'\t');
    if text.iter().all(is_text) {
        return "a text file";
    }
    "nothing known: neither a partition table nor a file system"
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
        assert_eq!(name(&[1, 2, 3]), "nothing known: neither a partition table nor a file system");
    }
}
