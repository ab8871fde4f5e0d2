//! Unit files of systemd and their drop-ins (systemd.syntax(7)).

use bstr::{BString, ByteSlice};

use crate::lines::lines;
use crate::span::Span;

/// `Key=value` in a section: of a unit file, or of another of the same shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// `Unit`, `Service`, …; empty before the first section.
    pub section: BString,
    /// The word before the `=`.
    pub key: BString,
    /// What follows it, continued lines joined by a blank.
    pub value: BString,
    /// The key and the first line of its value.
    pub span: Span,
}

/// The settings of a file, in order. What systemd ignores with a warning (prose, a key outside of a section) is left out.
pub fn settings(text: &[u8]) -> Vec<Setting> {
    let mut all: Vec<Setting> = Vec::new();
    let mut section = BString::default();
    let mut continued = false;
    for line in lines(text) {
        let content = line.text.trim_ascii();
        // Comments may stand between continued lines.
        if content.starts_with(b"#") || content.starts_with(b";") {
            continue;
        }
        let (content, goes_on) = match content.strip_suffix(b"\\") {
            Some(content) => (content.trim_ascii_end(), true),
            None => (content, false),
        };
        if continued {
            if let Some(last) = all.last_mut() {
                if !last.value.is_empty() && !content.is_empty() {
                    last.value.push(b' ');
                }
                last.value.extend_from_slice(content);
            }
        } else if let Some(name) = content.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")) {
            section = name.into();
            continue;
        } else if let Some((key, value)) = content.split_once_str("=") {
            let (key, value) = (key.trim_ascii().into(), value.trim_ascii().into());
            all.push(Setting { section: section.clone(), key, value, span: line.whole() });
        } else {
            continue;
        }
        continued = goes_on;
    }
    all
}

/// The values of a key that takes a list, in order: each value is split into its words, an empty one forgets what came
/// before (systemd.syntax(7)).
pub fn list<'a>(settings: impl IntoIterator<Item = &'a Setting>, section: &str, key: &str) -> Vec<BString> {
    let mut all: Vec<BString> = Vec::new();
    for setting in settings.into_iter().filter(|one| one.section == section && one.key == key) {
        if setting.value.is_empty() {
            all.clear();
        }
        all.extend(setting.value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).map(BString::from));
    }
    all
}

/// The last value of a key that takes one.
pub fn last<'a>(settings: &'a [Setting], section: &str, key: &str) -> Option<&'a Setting> {
    settings.iter().rfind(|one| one.section == section && one.key == key)
}

/// Whether a value means yes (parse_boolean() of systemd): `1`, `yes`, `y`, `true`, `t`, `on`.
pub fn is_yes(value: &[u8]) -> bool {
    ["1", "yes", "y", "true", "t", "on"].iter().any(|yes| value.eq_ignore_ascii_case(yes.as_bytes()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_unit_as_systemd_reads_it() {
        let text = b"junk=1\n[Unit]\nDescription = A thing\n# no\nAfter=a.service \\\n; still no\n  b.service\nAfter=c.service\n\
                     [Service]\nprose\nExecStart=/bin/a \\\n\n[Install]\nWantedBy=";
        let all = settings(text);
        assert_eq!(all.first().map(|one| (one.section.clone(), one.key.clone())), Some(("".into(), "junk".into())));
        assert_eq!(list(&all, "Unit", "After"), ["a.service", "b.service", "c.service"]);
        assert_eq!(last(&all, "Unit", "Description").map(|one| one.value.clone()), Some("A thing".into()));
        assert_eq!(
            last(&all, "Service", "ExecStart").map(|one| (one.value.clone(), one.span.line)),
            Some(("/bin/a".into(), 11))
        );
        assert_eq!(last(&all, "Install", "WantedBy").map(|one| one.value.is_empty()), Some(true));
    }

    #[test]
    fn an_empty_value_forgets() {
        let all = settings(b"[Unit]\nAfter=a b\nAfter=\nAfter=c\n");
        assert_eq!(list(&all, "Unit", "After"), ["c"]);
        assert!(is_yes(b"True") && is_yes(b"on") && !is_yes(b"no") && !is_yes(b""));
    }

    proptest! {
        #[test]
        fn anything_is_read(text in proptest::collection::vec(any::<u8>(), 0..400)) {
            for setting in settings(&text) {
                prop_assert!(setting.span.line >= 1 && !setting.key.contains(&b'\n'));
            }
        }

        #[test]
        fn what_is_written_is_read(keys in proptest::collection::vec(("[A-Za-z]{1,12}", "[a-z0-9/. -]{0,20}"), 0..8)) {
            let text: String = keys.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
            let found: Vec<(String, String)> = settings(format!("[S]\n{text}").as_bytes())
                .iter().map(|one| (one.key.to_string(), one.value.to_string())).collect();
            let wanted: Vec<(String, String)> = keys.iter().map(|(key, value)| (key.clone(), value.trim().to_owned())).collect();
            prop_assert_eq!(found, wanted);
        }
    }
}
