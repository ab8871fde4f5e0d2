//! Settings of a Spring Boot program: `application.properties` and `application.yml`, both as dotted keys.

use bstr::ByteSlice;
use saphyr_parser::{Event, Parser};

/// `server.port=8080`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// In small letters with dashes, as Boot compares it: `server.tomcat.max-threads`.
    pub key: String,
    /// As it is written.
    pub value: String,
    /// The line, from 1 on.
    pub line: usize,
}

/// `maxThreads` and `max_threads` are `max-threads`.
fn relaxed(key: &str) -> String {
    let mut out = String::with_capacity(key.len() + 4);
    for char in key.chars() {
        match char {
            '_' => out.push('-'),
            char if char.is_ascii_uppercase() => {
                if out.chars().next_back().is_some_and(|last| last.is_ascii_lowercase() || last.is_ascii_digit()) {
                    out.push('-');
                }
                out.push(char.to_ascii_lowercase());
            }
            char => out.push(char),
        }
    }
    out
}

/// `key=value`, `key: value`, `key value`; a line may go on in the next one.
pub fn properties(text: &[u8]) -> Vec<Setting> {
    let mut all = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let mut whole = line.trim_ascii().to_str_lossy().into_owned();
        if whole.is_empty() || whole.starts_with(['#', '!']) {
            continue;
        }
        while whole.ends_with('\\') && !whole.ends_with("\\\\") {
            whole.pop();
            let Some((_, next)) = lines.next() else { break };
            whole.push_str(&next.trim_ascii().to_str_lossy());
        }
        let end = whole.find(['=', ':', ' ', '\t']).unwrap_or(whole.len());
        let (key, rest) = whole.split_at_checked(end).unwrap_or((&whole, ""));
        let value = rest.trim_start().trim_start_matches(['=', ':']).trim().to_owned();
        all.push(Setting { key: relaxed(key), value, line: index + 1 });
    }
    all
}

/// Deeper than this no configuration is.
const DEEPEST: usize = 32;

/// What is open on the way.
enum Open {
    /// A map; the key whose value comes next.
    Map(Option<String>),
    /// A list; how many elements it had.
    List(usize),
}

/// All documents of a YAML file, up to where it is none.
pub fn yaml(text: &str) -> Vec<Setting> {
    let mut all = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    for event in Parser::new_from_str(text) {
        let Ok((event, span)) = event else { break };
        match event {
            Event::Scalar(text, ..) => {
                if let Some(Open::Map(key @ None)) = open.last_mut() {
                    *key = Some(text.into_owned());
                    continue;
                }
                all.push(Setting { key: relaxed(&path(&open)), value: text.into_owned(), line: span.start.line() });
                done(&mut open);
            }
            Event::MappingStart(..) | Event::SequenceStart(..) if open.len() >= DEEPEST => break,
            Event::MappingStart(..) => open.push(Open::Map(None)),
            Event::SequenceStart(..) => open.push(Open::List(0)),
            Event::MappingEnd | Event::SequenceEnd => {
                open.pop();
                done(&mut open);
            }
            Event::Alias(_) => done(&mut open),
            _ => {}
        }
    }
    all
}

fn path(open: &[Open]) -> String {
    let mut out = String::new();
    for one in open {
        match one {
            Open::Map(Some(key)) if out.is_empty() => out.push_str(key),
            Open::Map(Some(key)) => {
                out.push('.');
                out.push_str(key);
            }
            Open::List(index) => out.push_str(&format!("[{index}]")),
            Open::Map(None) => {}
        }
    }
    out
}

fn done(open: &mut [Open]) {
    match open.last_mut() {
        Some(Open::Map(key)) => *key = None,
        Some(Open::List(index)) => *index += 1,
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(all: &[Setting]) -> Vec<String> {
        all.iter().map(|one| format!("{} {}={}", one.line, one.key, one.value)).collect()
    }

    #[test]
    fn both_forms() {
        let text =
            b"# x\nserver.port = 8080\nserver.contextPath: /shop\nlong=a\\\n  b\nserver.tomcat.max_threads 800\n";
        let wanted =
            ["2 server.port=8080", "3 server.context-path=/shop", "4 long=ab", "6 server.tomcat.max-threads=800"];
        assert_eq!(shown(&properties(text)), wanted);
        let text = "server:\n  port: 8080\n  tomcat: {maxThreads: 800}\nhosts:\n  - a\n  - b: 1\n---\nspring.redis.pool.max-active: 8\n";
        let wanted = [
            "2 server.port=8080",
            "3 server.tomcat.max-threads=800",
            "5 hosts[0]=a",
            "6 hosts[1].b=1",
            "8 spring.redis.pool.max-active=8",
        ];
        assert_eq!(shown(&yaml(text)), wanted);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, text in "[a:\\-{}\\[\\]&*!\\n =\\\\#]{0,80}") {
            let _ = properties(&bytes);
            let _ = (yaml(&text), properties(text.as_bytes()));
        }
    }
}
