//! `/proc/PID/io`: proc(5), of kernels with task IO accounting. Only its owner and root may read it.

use super::fields::Fields;

/// What a process, with its threads that ended too, did since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Io {
    /// Bytes that it had read from a disk, really.
    pub read_bytes: u64,
    /// Bytes that it made dirty in the page cache or wrote to a disk; the writing itself is done later, by others.
    pub write_bytes: u64,
    /// Of these, bytes that never came to a disk: the file was truncated before.
    pub cancelled: u64,
    /// Calls of read(2) and its kind.
    pub reads: u64,
    /// Calls of write(2) and its kind.
    pub writes: u64,
}

/// Reads it; `None` when it is not such a file.
pub fn parse(text: &[u8]) -> Option<Io> {
    let fields = Fields::parse(text);
    Some(Io {
        read_bytes: fields.get("read_bytes")?,
        write_bytes: fields.get("write_bytes")?,
        cancelled: fields.or_zero("cancelled_write_bytes"),
        reads: fields.or_zero("syscr"),
        writes: fields.or_zero("syscw"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer() {
        let text =
            b"rchar: 5\nwchar: 6\nsyscr: 1\nsyscw: 2\nread_bytes: 4096\nwrite_bytes: 8192\ncancelled_write_bytes: 3\n";
        let io = Io { read_bytes: 4096, write_bytes: 8192, cancelled: 3, reads: 1, writes: 2 };
        assert_eq!((parse(text), parse(b"rchar: 5\n")), (Some(io), None));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }
}
