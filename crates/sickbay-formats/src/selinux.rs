//! `/etc/selinux/config`, as libselinux reads it, and the labels that files carry.

use bstr::{BStr, ByteSlice};

use crate::lines::lines;
use crate::span::Span;

/// A line `KEY=value` that libselinux takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting<'a> {
    /// Without blanks around it.
    pub value: &'a BStr,
    /// Where the value stands.
    pub span: Span,
}

/// What SELinux does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It forbids.
    Enforcing,
    /// It only says what it would forbid.
    Permissive,
    /// It is off.
    Disabled,
}

impl Mode {
    /// The mode that a value of `SELINUX=` means; libselinux looks at its beginning only, in any case of letters
    /// (selinux_getenforcemode(3)). `None` for what it does not know, which it takes for permissive.
    pub fn of(value: &[u8]) -> Option<Mode> {
        let begins =
            |word: &str| value.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word.as_bytes()));
        match () {
            () if begins("enforcing") => Some(Mode::Enforcing),
            () if begins("permissive") => Some(Mode::Permissive),
            () if begins("disabled") => Some(Mode::Disabled),
            () => None,
        }
    }
}

/// The value of `key`, `SELINUX` or `SELINUXTYPE`: of several lines the first for the mode and the last for the type count
/// in libselinux; both are the same on any file that a person understands, so the last is taken.
pub fn setting<'a>(text: &'a [u8], key: &str) -> Option<Setting<'a>> {
    lines(text)
        .filter_map(|line| {
            // The key stands at the beginning of the line, with no blank before the sign.
            let value = line.text.strip_prefix(key.as_bytes())?.strip_prefix(b"=")?;
            let start = line.text.len() - value.trim_ascii_start().len();
            let value = value.trim_ascii();
            Some(Setting { value: value.as_bstr(), span: line.span(start..start + value.len()) })
        })
        .last()
}

/// What `setfiles -n -v` says that it would do: paths and their new labels. libselinux writes "Would relabel PATH from OLD to NEW",
/// before 2.6 it was "restorecon reset PATH context OLD->NEW", with the name of the program before it.
pub fn would_relabel(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    text.lines().filter_map(|line| {
        let (path, label) = if let Some(rest) = line.strip_prefix(b"Would relabel ") {
            let (rest, label) = rest.rsplit_once_str(" to ")?;
            (rest.rsplit_once_str(" from ")?.0, label)
        } else {
            let (_, rest) = line.split_once_str(" reset ")?;
            let (path, labels) = rest.rsplit_once_str(" context ")?;
            (path, labels.rsplit_once_str("->")?.1)
        };
        let is_label = label.split(|byte| *byte == b':').count() >= 3 && label.is_ascii() && !label.contains(&b' ');
        (path.starts_with(b"/") && is_label).then_some((path, label))
    })
}

/// The type in a label: `shadow_t` of `system_u:object_r:shadow_t:s0`. Labels on disk end in a NUL byte.
pub fn type_of(label: &[u8]) -> Option<&BStr> {
    let label = label.strip_suffix(b"\0").unwrap_or(label);
    label.split(|byte| *byte == b':').nth(2).filter(|name| !name.is_empty()).map(ByteSlice::as_bstr)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_setfiles_would_do() {
        let said = "setfiles: note\nWould relabel /etc/a b from <no context> to system_u:object_r:etc_t:s0\n\
                    Would relabel /x from a to b from unconfined_u:object_r:t:s0 to system_u:object_r:u:s0:c1,c2\n\
                    setfiles reset /old context system_u:object_r:a:s0->system_u:object_r:b:s0\nWould relabel /etc from x\n";
        let found: Vec<(&[u8], &[u8])> = would_relabel(said.as_bytes()).collect();
        assert_eq!(
            found,
            [
                (&b"/etc/a b"[..], &b"system_u:object_r:etc_t:s0"[..]),
                (b"/x from a to b", b"system_u:object_r:u:s0:c1,c2"),
                (b"/old", b"system_u:object_r:b:s0"),
            ]
        );
    }

    #[test]
    fn a_config_as_it_is_shipped() {
        let text = b"# SELINUX= can take one of these\nSELINUX=Enforcing\n# type\nSELINUXTYPE= targeted \n";
        let mode = setting(text, "SELINUX").map(|one| (Mode::of(one.value), one.span.line, one.span.column));
        assert_eq!(mode, Some((Some(Mode::Enforcing), 2, 9)));
        assert_eq!(setting(text, "SELINUXTYPE").map(|one| one.value), Some("targeted".into()));
        assert_eq!(setting(b" SELINUX=enforcing\n", "SELINUX"), None);
        assert_eq!(Mode::of(b"disable"), None);
    }

    #[test]
    fn types_of_labels() {
        assert_eq!(type_of(b"system_u:object_r:shadow_t:s0\0"), Some("shadow_t".into()));
        assert_eq!(type_of(b"nonsense"), None);
    }

    proptest! {
        #[test]
        fn anything_is_read(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(found) = setting(&text, "SELINUX") {
                prop_assert!(found.span.line >= 1);
            }
            let _ = type_of(&text);
        }
    }
}
