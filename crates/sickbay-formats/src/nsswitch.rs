//! `/etc/nsswitch.conf` (nsswitch.conf(5)).

use bstr::{BString, ByteSlice};

use crate::lines::lines;
use crate::span::Span;

/// A service that is asked, and what follows from its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// `files`, `sss` …: the X of `libnss_X.so.2`.
    pub name: BString,
    /// Where the name stands.
    pub span: Span,
    /// What follows it in brackets, without them: `NOTFOUND=return`.
    pub action: Option<BString>,
}

/// A line that names a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// `passwd`, `hosts` …
    pub name: BString,
    /// What is asked, in order.
    pub sources: Vec<Source>,
    /// The whole line.
    pub span: Span,
    /// Brackets that are not closed or stand before every service: glibc reads no further then.
    pub broken: bool,
}

/// What a line with something in it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// `name: sources`
    Database(Database),
    /// Something else, which glibc passes over.
    Junk(Span),
}

/// The lines that are neither blank nor comments.
pub fn entries(text: &[u8]) -> Vec<Entry> {
    let mut all = Vec::new();
    for line in lines(text) {
        let content = line.text.split_str("#").next().unwrap_or_default();
        if content.trim_ascii().is_empty() {
            continue;
        }
        let Some(colon) = content.find_byte(b':') else {
            all.push(Entry::Junk(line.whole()));
            continue;
        };
        let name = content.get(..colon).unwrap_or_default().trim_ascii();
        if name.is_empty() || name.iter().any(u8::is_ascii_whitespace) {
            all.push(Entry::Junk(line.whole()));
            continue;
        }
        let mut database = Database { name: name.into(), sources: Vec::new(), span: line.whole(), broken: false };
        let mut at = colon + 1;
        while let Some(rest) = content.get(at..).filter(|rest| !rest.is_empty()) {
            let blanks = rest.len() - rest.trim_ascii_start().len();
            let Some(word) = rest.get(blanks..).filter(|word| !word.is_empty()) else { break };
            let start = at + blanks;
            if word.starts_with(b"[") {
                let Some(end) = word.find_byte(b']') else {
                    database.broken = true;
                    break;
                };
                match database.sources.last_mut() {
                    Some(source) => source.action = Some(word.get(1..end).unwrap_or_default().trim_ascii().into()),
                    None => database.broken = true,
                }
                at = start + end + 1;
            } else {
                let end =
                    word.iter().position(|byte| byte.is_ascii_whitespace() || *byte == b'[').unwrap_or(word.len());
                database.sources.push(Source {
                    name: word.get(..end).unwrap_or_default().into(),
                    span: line.span(start..start + end),
                    action: None,
                });
                at = start + end;
            }
        }
        all.push(Entry::Database(database));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_all_kinds() {
        let all = entries(
            b"# x\npasswd:  sss files systemd\nhosts: files mdns4_minimal [NOTFOUND=return] dns\njunk\n\ngroup:\n",
        );
        let [Entry::Database(passwd), Entry::Database(hosts), Entry::Junk(junk), Entry::Database(group)] =
            all.as_slice()
        else {
            panic!("{all:?}")
        };
        assert_eq!(passwd.sources[1].name, "files");
        assert_eq!(passwd.sources[1].span, Span { line: 2, column: 14, len: 5 });
        assert_eq!(hosts.sources[1].action.as_ref().unwrap(), "NOTFOUND=return");
        assert_eq!(hosts.sources[2].name, "dns");
        assert_eq!(junk.line, 4);
        assert!(group.sources.is_empty() && !group.broken);
        let open = entries(b"passwd: files [SUCCESS=");
        let [Entry::Database(open)] = open.as_slice() else { panic!() };
        assert!(open.broken);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, text in "[a-z\\[\\]: #\n]{0,60}") {
            let _ = entries(&bytes);
            let _ = entries(text.as_bytes());
        }
    }
}
