use super::*;
use proptest::prelude::*;

/// Places bytes in a head of zeros.
fn head(pieces: &[(usize, &[u8])]) -> Vec<u8> {
    let mut head = vec![0; 128 << 10];
    for (at, bytes) in pieces {
        head[*at..at + bytes.len()].copy_from_slice(bytes);
    }
    head
}

const UUID: [u8; 16] = [0x3f, 0x0c, 0x1d, 0x52, 0x7c, 0x0e, 0x4b, 0x0e, 0x9d, 0x6c, 0x0d, 0x3c, 0x5a, 0x9e, 0x1f, 1];
const UUID_TEXT: &str = "3f0c1d52-7c0e-4b0e-9d6c-0d3c5a9e1f01";

fn probed(pieces: &[(usize, &[u8])]) -> (String, Option<String>, Option<String>) {
    let head = head(pieces);
    let found = probe(&head, head.len() as u64).expect("recognised");
    (found.fstype.to_owned(), found.uuid, found.label)
}

#[test]
fn ext_by_its_features() {
    let kind = |compatible: u8, incompatible: u8, read_only: u8| {
        probed(&[
            (1080, &[0x53, 0xef]),
            (1116, &[compatible]),
            (1120, &[incompatible]),
            (1124, &[read_only]),
            (1128, &UUID),
            (1144, b"root"),
        ])
    };
    let named = |fstype: &str| (fstype.to_owned(), Some(UUID_TEXT.to_owned()), Some("root".to_owned()));
    assert_eq!(kind(0, 2, 1), named("ext2"));
    assert_eq!(kind(4, 2, 1), named("ext3"));
    assert_eq!(kind(4, 0x42, 1), named("ext4"));
    assert_eq!(kind(4, 2, 8), named("ext4"));
    assert_eq!(kind(0, 8, 0), named("jbd"));
}

#[test]
fn a_member_of_a_raid_is_no_file_system() {
    let raid = [0xfc, 0x4e, 0x2b, 0xa9, 1, 0, 0, 0];
    let found = probed(&[
        (1080, &[0x53, 0xef]),
        (4096, &raid),
        (4096 + 16, &UUID),
        (4096 + 32, b"web-07:boot"),
        (4096 + 144, &[8]),
    ]);
    assert_eq!(found, ("linux_raid_member".to_owned(), Some(UUID_TEXT.to_owned()), Some("web-07:boot".to_owned())));
}

#[test]
fn a_raid_superblock_at_the_end() {
    let size: u64 = (1 << 20) + 1536;
    let mut device = vec![0; size as usize];
    let at = (((size - 8192) / 4096) * 4096) as usize;
    device[at..at + 8].copy_from_slice(&[0xfc, 0x4e, 0x2b, 0xa9, 1, 0, 0, 0]);
    device[at + 16..at + 32].copy_from_slice(&UUID);
    device[at + 144..at + 152].copy_from_slice(&(at as u64 / 512).to_le_bytes());
    let found = probe_end(&device[device.len() - TAIL..], size).expect("1.0");
    assert_eq!((found.fstype, found.uuid.as_deref()), ("linux_raid_member", Some(UUID_TEXT)));
    assert_eq!(probe_end(&vec![0; TAIL], size), None);

    let mut device = vec![0; size as usize];
    let at = ((size & !0xffff) - 0x1_0000) as usize;
    device[at..at + 4].copy_from_slice(&[0xfc, 0x4e, 0x2b, 0xa9]);
    for (offset, word) in [20, 52, 56, 60].into_iter().zip(UUID.chunks(4)) {
        device[at + offset..at + offset + 4].copy_from_slice(word);
    }
    let found = probe_end(&device[device.len() - TAIL..], size).expect("0.90");
    assert_eq!(found.uuid.as_deref(), Some(UUID_TEXT));
}

#[test]
fn swap_of_other_page_sizes() {
    let found = probed(&[(65536 - 10, b"SWAPSPACE2"), (1036, &UUID)]);
    assert_eq!(found, ("swap".to_owned(), Some(UUID_TEXT.to_owned()), None));
    assert_eq!(probed(&[(4086, b"S1SUSPEND\0"), (1036, &UUID)]).0, "swsuspend");
}

#[test]
fn an_iso_has_the_time_of_its_making_for_a_uuid() {
    let found = probed(&[
        (32768, b"\x01CD001"),
        (32768 + 40, b"cidata                          "),
        (32768 + 830, b"2024010203040506"),
    ]);
    assert_eq!(found, ("iso9660".to_owned(), Some("2024-01-02-03-04-05-06".to_owned()), Some("cidata".to_owned())));
}

#[test]
fn nothing_known() {
    assert_eq!(probe(&[], 0), None);
    assert_eq!(probe(&[0; 4096], 4096), None);
    // What lies behind the end of the device does not count.
    assert_eq!(probe(&head(&[(0, b"XFSB")]), 0), None);
}

proptest! {
    #[test]
    fn never_panics(
        noise in proptest::collection::vec(any::<u8>(), 0..600),
        at in 0usize..70_000,
        size in any::<u64>(),
        magic in 0usize..8,
    ) {
        let magics: [(usize, &[u8]); 8] = [
            (1080, &[0x53, 0xef]), (0, b"XFSB"), (65600, b"_BHRfS_M"), (512, b"LABELONE"), (0, b"LUKS\xba\xbe"),
            (510, &[0x55, 0xaa]), (82, b"FAT32   "), (32768, b"\x01CD001"),
        ];
        let mut bytes = head(&[]);
        bytes[at..at + noise.len()].copy_from_slice(&noise);
        let (place, text) = magics[magic];
        bytes[place..place + text.len()].copy_from_slice(text);
        bytes[0] = if magic == 6 { 0xeb } else { bytes[0] };
        probe(&bytes, size);
        probe(&bytes[..at], size);
        probe_end(&bytes[..at], size);
    }
}
