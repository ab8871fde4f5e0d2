//! The features of a file system that whoever does not know them must not read.

/// Bits of incompatible features, by the type of file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Features {
    /// `s_feature_incompat` of ext2, ext3 and ext4.
    Ext(u32),
    /// `sb_features_incompat` of XFS, version 5.
    Xfs(u32),
}

impl Features {
    /// The bits.
    pub fn bits(&self) -> u32 {
        match self {
            Features::Ext(bits) | Features::Xfs(bits) => *bits,
        }
    }
}

/// The features of the file system that begins with these bytes, of which 2 KiB are needed; `None` for other types.
pub fn features(head: &[u8]) -> Option<Features> {
    let four = |at: usize| -> Option<[u8; 4]> { head.get(at..at + 4)?.try_into().ok() };
    if head.starts_with(b"XFSB") {
        // fs/xfs/libxfs/xfs_format.h: sb_versionnum at 100, sb_features_incompat at 216.
        return (head.get(101)? & 0xf == 5).then_some(Features::Xfs(u32::from_be_bytes(four(216)?)));
    }
    // fs/ext4/ext4.h: s_magic at 0x38, s_rev_level at 0x4c, s_feature_incompat at 0x60.
    let is_ext = head.get(1024 + 0x38..1024 + 0x3a) == Some(&[0x53, 0xef]);
    let has_features = four(1024 + 0x4c).is_some_and(|level| u32::from_le_bytes(level) >= 1);
    (is_ext && has_features).then_some(Features::Ext(u32::from_le_bytes(four(1024 + 0x60)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn of_each_type() {
        let mut head = vec![0; 2048];
        assert_eq!(features(&head), None);
        head[1024 + 0x38..1024 + 0x3a].copy_from_slice(&[0x53, 0xef]);
        assert_eq!(features(&head), None);
        head[1024 + 0x4c] = 1;
        head[1024 + 0x60..1024 + 0x62].copy_from_slice(&[0xc2, 2]);
        assert_eq!(features(&head), Some(Features::Ext(0x2c2)));
        head[..4].copy_from_slice(b"XFSB");
        head[101] = 0xb5;
        head[219] = 0x2b;
        assert_eq!(features(&head), Some(Features::Xfs(0x2b)));
        head[101] = 0xb4;
        assert_eq!(features(&head), None);
    }

    proptest! {
        #[test]
        fn never_panics(head in prop::collection::vec(any::<u8>(), 0..1200), xfs: bool) {
            let head = if xfs { [b"XFSB".as_slice(), &head].concat() } else { head };
            prop_assert!(features(&head).is_none_or(|found| u64::from(found.bits()) <= u64::from(u32::MAX)));
        }
    }
}
