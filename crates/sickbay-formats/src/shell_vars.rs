//! Files of shell assignments: /etc/default/grub, /etc/sysconfig/*.

use std::ops::Range;

use bstr::{BString, ByteSlice};

/// `NAME=value`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The name.
    pub name: BString,
    /// The value without quotes; `None` where the shell would have to compute it (`$x`, backquotes).
    pub value: Option<BString>,
    /// The bytes of the value as it is written, quotes and all.
    pub range: Range<usize>,
}

/// The assignments at the beginning of lines, in order; the last of a name counts.
pub fn assignments(text: &[u8]) -> Vec<Assignment> {
    let mut all = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let rest = text.get(at..).unwrap_or_default();
        let indent = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let begin = at + indent;
        let line = text.get(begin..).unwrap_or_default();
        let line = match line.strip_prefix(b"export ") {
            Some(rest) => rest,
            None => line,
        };
        let begin = text.len() - line.len();
        let length = line.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
        if length > 0 && line.get(length) == Some(&b'=') {
            let from = begin + length + 1;
            let (value, end) = value(text, from);
            let name = line.get(..length).unwrap_or_default().into();
            all.push(Assignment { name, value, range: from..end });
            at = end;
        }
        let left = text.get(at..).unwrap_or_default();
        at += left.find_byte(b'\n').map_or(left.len(), |newline| newline + 1);
    }
    all
}

/// The value of the last assignment to `name` that can be told.
pub fn value_of(all: &[Assignment], name: &str) -> Option<BString> {
    all.iter().rev().find(|assignment| assignment.name == name).and_then(|assignment| assignment.value.clone())
}

/// The value that begins at `from`, and where it ends.
fn value(text: &[u8], from: usize) -> (Option<BString>, usize) {
    let mut value = BString::default();
    let mut computed = false;
    let mut at = from;
    while let Some(&byte) = text.get(at) {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' | b';' | b'#' if byte != b'#' || at == from => break,
            b'\'' => {
                let inner = text.get(at + 1..).unwrap_or_default();
                let length = inner.find_byte(b'\'').unwrap_or(inner.len());
                value.extend_from_slice(inner.get(..length).unwrap_or_default());
                at = (at + length + 2).min(text.len());
            }
            b'"' => {
                at += 1;
                while let Some(&byte) = text.get(at).filter(|&&byte| byte != b'"') {
                    let next = text.get(at + 1).copied();
                    if byte == b'\\' && matches!(next, Some(b'"' | b'\\' | b'$' | b'`')) {
                        value.extend(next);
                        at += 1;
                    } else if byte == b'\\' && next == Some(b'\n') {
                        at += 1;
                    } else {
                        computed |= matches!(byte, b'$' | b'`');
                        value.push(byte);
                    }
                    at += 1;
                }
                at = (at + 1).min(text.len());
            }
            b'\\' => {
                value.extend(text.get(at + 1).filter(|&&byte| byte != b'\n'));
                at = (at + 2).min(text.len());
            }
            b'`' => {
                computed = true;
                let inner = text.get(at + 1..).unwrap_or_default();
                at = (at + 2 + inner.find_byte(b'`').unwrap_or(inner.len())).min(text.len());
            }
            _ => {
                computed |= byte == b'$';
                value.push(byte);
                at += 1;
            }
        }
    }
    ((!computed).then_some(value), at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_are_read() {
        let text = b"# c\nGRUB_DEFAULT=0\nGRUB_DISTRIBUTOR=`lsb_release -i -s 2> /dev/null || echo Debian`\n\
            GRUB_CMDLINE_LINUX=\"console=tty0 console=ttyS0,115200\" # x\nA='b c'd\n  B=\"x\\\"y\"\nexport C=1\n\
            D=\"$(uname)\"\nnot an assignment\nE=\"two\nlines\"\nF=";
        let all: Vec<_> = assignments(text)
            .into_iter()
            .map(|found| (found.name.to_string(), found.value.map(|value| value.to_string())))
            .collect();
        let some = |name: &str, value: &str| (name.to_owned(), Some(value.to_owned()));
        assert_eq!(
            all,
            [
                some("GRUB_DEFAULT", "0"),
                ("GRUB_DISTRIBUTOR".to_owned(), None),
                some("GRUB_CMDLINE_LINUX", "console=tty0 console=ttyS0,115200"),
                some("A", "b cd"),
                some("B", "x\"y"),
                some("C", "1"),
                ("D".to_owned(), None),
                some("E", "two\nlines"),
                some("F", ""),
            ]
        );
    }

    proptest::proptest! {
        #[test]
        fn never_panics_and_ranges_are_within(text in "[A-C='\"\\\\`$# \n;]{0,60}") {
            for found in assignments(text.as_bytes()) {
                proptest::prop_assert!(text.as_bytes().get(found.range.clone()).is_some());
            }
        }
    }
}
