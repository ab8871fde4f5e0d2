//! Parameters in YAML: tasks of Ansible, `sysctls:` of a container. It is not parsed: what sets a parameter is told line by line.

use super::{Found, MOST, Setting, begins_a_key, dotted, found, is_of_key, shortened, unquoted};
use crate::lines::lines;
use bstr::ByteSlice;

/// The value of a task stands so many lines below its name at most.
const NEAR: usize = 5;

/// Whether it looks like YAML: its first line is `---`, an entry of a list, or a name with nothing behind the colon.
pub(super) fn is(text: &[u8]) -> bool {
    let first = lines(text).map(|line| line.text.trim_ascii()).find(|text| !text.is_empty() && !text.starts_with(b"#"));
    first.is_some_and(|first| {
        first == b"---"
            || first.starts_with(b"- ") && first.contains(&b':')
            || first.strip_suffix(b":").is_some_and(|name| !name.is_empty() && name.iter().all(|byte| is_of_key(*byte)))
    })
}

/// Everything that is set.
pub(super) fn parse(text: &[u8]) -> Vec<Found> {
    let mut all = Vec::new();
    // `name: net.core.somaxconn`, whose `value:` is to come.
    let mut named: Option<(usize, Vec<u8>)> = None;
    for line in lines(text) {
        if all.len() >= MOST {
            break;
        }
        let line = shortened(line);
        let trimmed = line.text.trim_ascii();
        if trimmed.starts_with(b"#") {
            continue;
        }
        // `sysctl: name=net.core.somaxconn value=4096`
        let is_short = trimmed.contains_str("name=");
        for part in trimmed.split(|byte| matches!(byte, b'{' | b'}' | b',') || is_short && *byte == b' ') {
            let part = part.trim_ascii();
            let part = part.strip_prefix(b"- ").unwrap_or(part);
            let Some(at) = part.find_byteset(b":=") else { continue };
            let name = unquoted(part.get(..at).unwrap_or_default().trim_ascii());
            let value = part.get(at + 1..).unwrap_or_default();
            let value = unquoted(value.find(" #").and_then(|end| value.get(..end)).unwrap_or(value).trim_ascii());
            let (key, value) = if is_key(name) {
                (name.to_vec(), value)
            } else if matches!(name, b"name" | b"key" | b"sysctl") && is_key(value) {
                named = Some((line.number, value.to_vec()));
                continue;
            } else if name == b"value"
                && let Some((number, key)) = named.take()
                && line.number.saturating_sub(number) <= NEAR
            {
                (key, value)
            } else {
                continue;
            };
            if !value.is_empty() {
                all.push(found(&line, 0..line.text.len(), Setting::Sysctl { key: dotted(&key), value: value.into() }));
            }
        }
    }
    all
}

fn is_key(text: &[u8]) -> bool {
    begins_a_key(text) && text.iter().all(|byte| is_of_key(*byte))
}
