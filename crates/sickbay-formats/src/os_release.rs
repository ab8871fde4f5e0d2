//! os-release(5).

use bstr::ByteSlice;

/// What an os-release file says of a system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OsRelease {
    /// `ID`, lower case: `debian`.
    pub id: Option<String>,
    /// `ID_LIKE`, nearest first.
    pub id_like: Vec<String>,
    /// `VERSION_ID`: `12`; rolling releases have none.
    pub version: Option<String>,
    /// `PRETTY_NAME`, for people.
    pub pretty_name: Option<String>,
}

impl OsRelease {
    /// Reads a file; keys that are missing or damaged stay empty.
    pub fn parse(text: &[u8]) -> OsRelease {
        let mut all = OsRelease::default();
        for line in text.lines() {
            let Some((key, value)) = line.trim_ascii().split_once_str("=") else { continue };
            let value = unquoted(value);
            if value.is_empty() {
                continue;
            }
            match key {
                b"ID" => all.id = Some(value.to_lowercase()),
                b"ID_LIKE" => all.id_like = value.split_whitespace().map(str::to_lowercase).collect(),
                b"VERSION_ID" => all.version = Some(value),
                b"PRETTY_NAME" => all.pretty_name = Some(value),
                _ => {}
            }
        }
        all
    }

    /// Whether the system is `id` or descends from it.
    pub fn is_like(&self, id: &str) -> bool {
        self.id.as_deref() == Some(id) || self.id_like.iter().any(|like| like == id)
    }
}

/// A value as a shell would take it: quotes away, a backslash before a character away.
fn unquoted(value: &[u8]) -> String {
    let value = value.trim_ascii();
    let inner = match value {
        [quote @ (b'"' | b'\''), inner @ .., last] if quote == last => inner,
        _ => value,
    };
    let mut out = Vec::with_capacity(inner.len());
    let mut escaped = false;
    for &byte in inner {
        if byte == b'\\' && !escaped {
            escaped = true;
            continue;
        }
        escaped = false;
        out.push(byte);
    }
    out.to_str_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_damage() {
        let all = OsRelease::parse(
            b"NAME=\"CentOS Linux\"\nID='centos'\nID_LIKE=\"rhel fedora\"\nVERSION_ID=7\r\nPRETTY_NAME=\"a \\\"b\\\"\"\n=\n\xff",
        );
        assert_eq!(all.id.as_deref(), Some("centos"));
        assert_eq!(all.version.as_deref(), Some("7"));
        assert_eq!(all.pretty_name.as_deref(), Some("a \"b\""));
        assert!(all.is_like("rhel") && all.is_like("centos") && !all.is_like("debian"));
        assert_eq!(OsRelease::parse(b""), OsRelease::default());
    }
}
