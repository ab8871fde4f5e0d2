//! The tags of an XML file with their attributes: all that firewalld's files consist of.

/// A tag.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) name: String,
    pub(super) attributes: Vec<(String, String)>,
    pub(super) line: usize,
    /// `</name>`
    pub(super) closes: bool,
    /// `<name/>`
    pub(super) is_empty: bool,
    /// What stands behind it up to the next one.
    pub(super) text: String,
}

impl Tag {
    /// An attribute, empty where it is not there.
    pub(super) fn of(&self, name: &str) -> &str {
        self.attributes.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

/// No text behind a tag is longer.
const LONGEST: usize = 4096;

/// So many tags are kept.
const MOST: usize = 20_000;

pub(super) fn tags(bytes: &[u8]) -> Vec<Tag> {
    let text = String::from_utf8_lossy(bytes);
    let mut all = Vec::new();
    let mut rest = text.as_ref();
    let mut line = 1;
    let count = |text: &str| text.bytes().filter(|byte| *byte == b'\n').count();
    while let Some((before, after)) = rest.split_once('<') {
        line += count(before);
        let ends = if after.starts_with("!--") { "-->" } else { ">" };
        let Some((inside, next)) = after.split_once(ends) else { break };
        if !inside.starts_with(['!', '?']) && all.len() < MOST {
            let behind = next.split('<').next().unwrap_or_default().trim();
            let text = plain(behind.get(..behind.floor_char_boundary(LONGEST)).unwrap_or_default());
            all.push(Tag { text, ..tag(inside, line) });
        }
        line += count(inside);
        rest = next;
    }
    all
}

fn tag(inside: &str, line: usize) -> Tag {
    let closes = inside.starts_with('/');
    let is_empty = inside.ends_with('/');
    let inside = inside.trim_matches('/').trim();
    let (name, mut rest) = inside.split_once(char::is_whitespace).unwrap_or((inside, ""));
    let mut attributes = Vec::new();
    while let Some((key, after)) = rest.split_once('=') {
        let after = after.trim_start();
        let Some(quote) = after.chars().next().filter(|char| matches!(char, '"' | '\'')) else { break };
        let Some((value, next)) = after.get(1..).unwrap_or_default().split_once(quote) else { break };
        attributes.push((key.trim().to_owned(), plain(value)));
        rest = next;
    }
    Tag { name: name.to_owned(), attributes, line, closes, is_empty, text: String::new() }
}

fn plain(text: &str) -> String {
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'");
    text.replace("&amp;", "&")
}

/// Whether every tag that opens is closed, and nothing else is left open: what a parser of XML does not refuse.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let tags = tags(bytes);
    let mut open: Vec<&str> = Vec::new();
    for tag in &tags {
        if tag.closes {
            if open.pop() != Some(tag.name.as_str()) {
                return false;
            }
        } else if !tag.is_empty {
            open.push(&tag.name);
        }
    }
    let last = text.rfind('<').is_none_or(|at| text.get(at..).is_some_and(|rest| rest.contains('>')));
    open.is_empty() && last && (!tags.is_empty() || tags.len() >= MOST)
}
