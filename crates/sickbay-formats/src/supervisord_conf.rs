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
        } else if let Some((key, value)) = content.split_once_str("=") {
            let value = value.split_str(" ;").next().unwrap_or_default().trim_ascii().into();
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
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = settings(&bytes);
        }
    }
}
