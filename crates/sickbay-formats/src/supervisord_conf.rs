//! Settings of supervisord's configuration, an ini file with comments behind ` ;`.

use bstr::{BString, ByteSlice};

use crate::lines::lines;
pub use crate::unit_file::{Setting, last};

/// The settings in order, with keys in lower case and values without their comments. Lines of another form are passed over.
pub fn settings(text: &[u8]) -> Vec<Setting> {
    let mut section = BString::default();
    let mut all = Vec::new();
    for line in lines(text) {
        let content = line.text.trim_ascii_end();
        if content.starts_with(b"#") || content.starts_with(b";") {
            continue;
        }
        if let Some(name) = content.strip_prefix(b"[").and_then(|rest| rest.split_once_str("]")) {
            section = name.0.into();
        } else if let Some(at) = content.find_byteset(b"=:") {
            // What is indented goes on with the value of the line before.
            if content.starts_with(b" ") || content.starts_with(b"\t") {
                continue;
            }
            let (key, value) = content.split_at_checked(at).unwrap_or_default();
            let value = value.get(1..).unwrap_or_default();
            // A comment begins behind a blank (configparser of Python).
            let end = value.windows(2).position(|pair| matches!(pair, [b' ' | b'\t', b';' | b'#']));
            let value = value.get(..end.unwrap_or(value.len())).unwrap_or_default().trim_ascii().into();
            let key = key.trim_ascii().to_ascii_lowercase().into();
            all.push(Setting { section: section.clone(), key, value, span: line.whole() });
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_in_its_section() {
        let text = b"[supervisord]\nminfds=655350 ; min. avail startup file descriptors;\nminprocs=65535\n[program:x]\nminfds=1\n";
        let all = settings(text);
        assert_eq!(last(&all, "supervisord", "minfds").unwrap().value, "655350");
        assert_eq!(last(&all, "supervisord", "minfds").unwrap().span.line, 2);
        assert_eq!(last(&all, "supervisorctl", "minfds"), None);
        let all = settings(b"[supervisord]\nMINFDS: 7000 # why\nnocleanup = true\n  minfds=1\n");
        assert_eq!(last(&all, "supervisord", "minfds").unwrap().value, "7000");
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = settings(&bytes);
        }
    }
}
