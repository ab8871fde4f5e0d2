//! What was recorded of a running system: our own recordings, and those of other programs.

use crate::collected::{sa, text};

/// Whose recording it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One of `sickbay record`.
    Ring,
    /// A file of `sar`'s.
    Sa,
    /// What `iostat`, `iotop`, `pidstat`, `atop`, `vmstat`, `top` or a loop around `ps` printed.
    Text,
}

/// Each file of our own recordings begins so. The first byte is no text, the last ones show what line endings were changed.
pub const RING: [u8; 10] = *b"\x89sickrec\r\n";

/// The recording that begins so, if it is one.
pub fn recognize(head: &[u8]) -> Option<Kind> {
    if head.starts_with(&RING) {
        return Some(Kind::Ring);
    }
    if sa::is_sa(head) {
        return Some(Kind::Sa);
    }
    // A disk begins with anything.
    (!head.contains(&0) && text::is_one(head)).then_some(Kind::Text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_their_beginning() {
        assert_eq!(recognize(b"\x89sickrec\r\n\x01"), Some(Kind::Ring));
        for other in [&b""[..], b"\x89sickrec", b"sickrec\r\n", b"\x89sickrec\n\n"] {
            assert_eq!(recognize(other), None);
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(head: Vec<u8>) {
            recognize(&head);
        }
    }
}
