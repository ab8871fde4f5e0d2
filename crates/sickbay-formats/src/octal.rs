//! Words in which blanks, tabs, line ends and backslashes are written in octal: `\040`. So do fstab(5), `/proc/mounts` and
//! mountinfo (fs/proc_namespace.c, mangle_path).

use bstr::BString;

/// The word with its escapes resolved; what is no escape stays.
pub fn unescaped(word: &[u8]) -> BString {
    let mut out = Vec::with_capacity(word.len());
    let mut rest = word;
    while let [first, tail @ ..] = rest {
        if let (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) = (*first, tail) {
            out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
            rest = after;
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_and_what_is_none() {
        assert_eq!(unescaped(br"/mnt/a\040b\134\0401"), r"/mnt/a b\ 1");
        assert_eq!(unescaped(br"\04\999\"), r"\04\999\");
    }
}
