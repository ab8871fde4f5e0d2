use super::*;

fn of(bytes: &[u8]) -> (Option<Format>, Vec<Other>) {
    let read = |at: u64, length: usize| {
        let rest = bytes.get(usize::try_from(at).unwrap_or(usize::MAX)..).unwrap_or_default();
        rest.get(..length.min(rest.len())).unwrap_or_default().to_vec()
    };
    let tail = bytes.get(bytes.len().saturating_sub(512)..).unwrap_or_default();
    let format = Format::of(bytes, tail);
    (format, format.map(|format| others(format, &read)).unwrap_or_default())
}

fn told(bytes: &[u8]) -> Vec<(Role, String, Option<String>)> {
    let (_, all) = of(bytes);
    all.into_iter().map(|one| (one.role, one.name.to_string(), one.format.map(|format| format.to_string()))).collect()
}

fn put(bytes: &mut [u8], at: usize, content: &[u8]) {
    bytes[at..at + content.len()].copy_from_slice(content);
}

/// A header of version 3 with extensions, the name of a backing file behind them.
fn qcow2(bits: u64, extensions: &[(u32, &[u8])], backing: Option<&[u8]>) -> Vec<u8> {
    let mut bytes = vec![0; 65536];
    put(&mut bytes, 0, QCOW);
    put(&mut bytes, 4, &3_u32.to_be_bytes());
    put(&mut bytes, 20, &16_u32.to_be_bytes());
    put(&mut bytes, 72, &bits.to_be_bytes());
    put(&mut bytes, 100, &112_u32.to_be_bytes());
    let mut at = 112;
    for (kind, content) in extensions {
        put(&mut bytes, at, &kind.to_be_bytes());
        put(&mut bytes, at + 4, &u32::try_from(content.len()).unwrap().to_be_bytes());
        put(&mut bytes, at + 8, content);
        at = (at + 8 + content.len()).next_multiple_of(8);
    }
    if let Some(name) = backing {
        at += 8;
        put(&mut bytes, 8, &(at as u64).to_be_bytes());
        put(&mut bytes, 16, &u32::try_from(name.len()).unwrap().to_be_bytes());
        put(&mut bytes, at, name);
    }
    bytes
}

#[test]
fn what_a_qcow2_names() {
    const FEATURES: (u32, &[u8]) = (0x6803_F857, &[0; 144]);
    assert_eq!(of(&qcow2(0, &[FEATURES], None)), (Some(Format::Qcow2), Vec::new()));
    let extensions = [FEATURES, (0xE279_2ACA, b"raw".as_slice())];
    assert_eq!(
        told(&qcow2(0, &extensions, Some(b"/srv/base.img"))),
        [(Role::Backing, "/srv/base.img".into(), Some("raw".into()))]
    );
    assert_eq!(told(&qcow2(4, &[(0x4441_5441, b"disk.raw")], None)), [(Role::Data, "disk.raw".into(), None)]);
    // Not named, or where no name can be: something is meant all the same.
    assert_eq!(told(&qcow2(4, &[FEATURES], None)), [(Role::Data, String::new(), None)]);
    let mut far = qcow2(0, &[], Some(b"x"));
    put(&mut far, 8, &(1_u64 << 40).to_be_bytes());
    assert_eq!(told(&far), [(Role::Backing, String::new(), None)]);
    // Version 2 has no length of its header.
    let mut old = qcow2(0, &[], None);
    put(&mut old, 4, &2_u32.to_be_bytes());
    put(&mut old, 72, &[0xE2, 0x79, 0x2A, 0xCA, 0, 0, 0, 5]);
    put(&mut old, 80, b"qcow2");
    put(&mut old, 8, &200_u64.to_be_bytes());
    put(&mut old, 16, &4_u32.to_be_bytes());
    put(&mut old, 200, b"base");
    assert_eq!(told(&old), [(Role::Backing, "base".into(), Some("qcow2".into()))]);
}

#[test]
fn what_others_name() {
    let mut qcow = vec![0; 512];
    put(&mut qcow, 0, b"QFI\xfb\0\0\0\x01");
    put(&mut qcow, 8, &100_u64.to_be_bytes());
    put(&mut qcow, 16, &3_u32.to_be_bytes());
    put(&mut qcow, 100, b"old");
    assert_eq!(told(&qcow), [(Role::Backing, "old".into(), None)]);
    let mut qed = vec![0; 512];
    put(&mut qed, 0, b"QED\0");
    put(&mut qed, 16, &5_u64.to_le_bytes());
    put(&mut qed, 56, &64_u32.to_le_bytes());
    put(&mut qed, 60, &4_u32.to_le_bytes());
    put(&mut qed, 64, b"base");
    assert_eq!(told(&qed), [(Role::Backing, "base".into(), Some("raw".into()))]);
    let mut vhd = vec![0; 4096];
    put(&mut vhd, 0, b"conectix");
    put(&mut vhd, 16, &512_u64.to_be_bytes());
    put(&mut vhd, 60, &4_u32.to_be_bytes());
    put(&mut vhd, 512, b"cxsparse");
    put(&mut vhd, 512 + 64, b"\0p\0.\0v\0h\0d");
    assert_eq!(told(&vhd), [(Role::Backing, "p.vhd".into(), None)]);
    put(&mut vhd, 60, &3_u32.to_be_bytes());
    assert_eq!(told(&vhd), []);
}

#[test]
fn what_a_vmdk_names() {
    let flat = b"# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\n\
        RW 4192256 FLAT \"/dev/sda\" 0\n rw 100 SPARSE \"part-s002.vmdk\"\nRW 1 ZERO\nparentFileNameHint=\"base.vmdk\"\n";
    assert_eq!(
        told(flat),
        [
            (Role::Extent, "/dev/sda".into(), None),
            (Role::Extent, "part-s002.vmdk".into(), None),
            (Role::Backing, "base.vmdk".into(), None)
        ]
    );
    // In a sparse one the descriptor names the file itself, unless that has no size.
    let mut sparse = vec![0; 65536];
    put(&mut sparse, 0, b"KDMV");
    put(&mut sparse, 12, &2048_u64.to_le_bytes());
    put(&mut sparse, 28, &1_u64.to_le_bytes());
    put(&mut sparse, 512, &flat[..flat.len() - 35]);
    assert_eq!(told(&sparse).len(), 0);
    put(&mut sparse, 12, &[0; 8]);
    assert_eq!(told(&sparse).len(), 2);
    put(&mut sparse, 12, &2048_u64.to_le_bytes());
    put(&mut sparse, 512, flat);
    assert_eq!(told(&sparse), [(Role::Backing, "base.vmdk".into(), None)]);
}

#[test]
fn what_is_no_file() {
    for (name, is_no_file) in [
        ("nbd://host/x", true),
        ("json:{\"driver\":\"file\"}", true),
        ("ssh://a/b", true),
        ("file:/etc/shadow", true),
        ("/a:b", false),
        ("dir/a:b", false),
        ("base.qcow2", false),
        ("", false),
    ] {
        assert_eq!(other(Role::Backing, name).is_no_file(), is_no_file, "{name}");
    }
}

#[test]
fn a_raw_image_is_none() {
    assert_eq!(of(&[0; 4096]), (None, Vec::new()));
    assert_eq!(of(b""), (None, Vec::new()));
}

proptest::proptest! {
    #[test]
    fn never_panics(magic in 0..8_usize, bytes: Vec<u8>) {
        let magics: [&[u8]; 8] =
            [b"QFI\xfb\0\0\0\x03", b"QFI\xfb\0\0\0\x01", b"QED\0", b"KDMV", DESCRIPTOR, b"vhdxfile", b"conectix", b""];
        let _ = of(&[magics[magic], &bytes].concat());
    }

    /// A changed header names something, or nothing; whatever it is, it is no more than fits.
    #[test]
    fn of_a_changed_header(at in 0..300_usize, byte: u8) {
        let mut bytes = qcow2(4, &[(0x4441_5441, b"disk.raw"), (0xE279_2ACA, b"raw")], Some(b"base"));
        bytes[at] = byte;
        for one in of(&bytes).1 {
            proptest::prop_assert!(one.name.len() <= 65536);
        }
    }
}
