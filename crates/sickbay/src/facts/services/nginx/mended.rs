//! How a file that nginx refuses may have been meant.

use std::ops::Range;

use bstr::ByteSlice;
use sickbay_formats::nginx::{self, Judge};

use super::Mended;
use crate::spelling::nearest;

/// Lines that are tried.
const LINES: usize = 12;

/// A semicolon at the end of one of these lines, if with it nginx has nothing to say of the file, and only one line is so.
pub(super) fn semicolon(text: &[u8], first: usize, last: usize, inside: &[&[u8]]) -> Option<Mended> {
    let mut found = None;
    let mut at = 0;
    for (index, line) in text.lines_with_terminator().enumerate() {
        let number = index + 1;
        let end = at + line.trim_ascii_end().len();
        at += line.len();
        if number < first || number > last || number >= first + LINES {
            continue;
        }
        let content = line.trim_ascii();
        if content.is_empty() || content.contains(&b'#') || content.ends_with_str(";") || content.ends_with_str("{") {
            continue;
        }
        // `listen 80 }`: the brace is behind it.
        let end = if content.ends_with_str("}") {
            let from = end - content.len();
            let before = content.trim_end_with(|c| c == '}' || c == ' ');
            from + before.len()
        } else {
            end
        };
        let (Some(before), Some(after)) = (text.get(..end), text.get(end..)) else { continue };
        if before.ends_with(b";") || before.ends_with(b"{") || before.is_empty() {
            continue;
        }
        let new = [before, b";", after].concat();
        if is_well(&new, inside) {
            if found.is_some() {
                return None;
            }
            found = Some(Mended::Semicolon(number, new));
        }
    }
    found
}

/// A word that everybody uses, for one that is nearly so.
pub(super) fn word(text: &[u8], place: Range<usize>, name: &str) -> Option<Mended> {
    let meant = nearest(name, nginx::rules::common(), 2)?;
    let (before, after) = (text.get(..place.start)?, text.get(place.end..)?);
    Some(Mended::Word(name.to_owned(), meant.to_owned(), [before, meant.as_bytes(), after].concat()))
}

/// Whether nginx would have nothing to say of a file by itself, within such blocks.
fn is_well(text: &[u8], inside: &[&[u8]]) -> bool {
    let parsed = nginx::read(text);
    let mut judge = Judge::default();
    parsed.problem.is_none()
        && parsed.directives.iter().all(|directive| {
            let own = directive.inside.iter().map(|name| name.as_slice());
            let names: Vec<&[u8]> = inside.iter().copied().chain(own).collect();
            judge.see(directive, &names, directive.parent.map_or(0, |at| at + 1)).is_none()
        })
}
