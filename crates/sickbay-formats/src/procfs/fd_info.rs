//! `/proc/PID/fdinfo/FD`: how far in a file a descriptor is, and how it was opened.

use bstr::ByteSlice;

/// A descriptor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FdInfo {
    /// Where the next byte is read or written.
    pub position: Option<u64>,
    /// O_RDONLY, O_DIRECT …
    pub flags: Option<u32>,
    /// The number of the mount that the file is on, as in mountinfo. Kernels from 3.15 on tell it.
    pub mount: Option<u64>,
}

/// Reads it; lines of what is no plain file are passed over.
pub fn parse(text: &[u8]) -> FdInfo {
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name.as_bytes()))?;
        line.trim_ascii().to_str().ok()
    };
    FdInfo {
        position: value("pos:").and_then(|text| text.parse().ok()),
        flags: value("flags:").and_then(|text| u32::from_str_radix(text, 8).ok()),
        mount: value("mnt_id:").and_then(|text| text.parse().ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_written_directly() {
        let text = b"pos:\t1048576\nflags:\t0140001\nmnt_id:\t29\nino:\t12\n";
        assert_eq!(parse(text), FdInfo { position: Some(1 << 20), flags: Some(0o140_001), mount: Some(29) });
        assert_eq!(parse(b"pos: 7\nflags: 9\n"), FdInfo { position: Some(7), ..FdInfo::default() });
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) {
            parse(&bytes);
        }
    }
}
