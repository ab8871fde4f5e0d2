//! nft's text in words.

use bstr::ByteSlice;

use crate::filter::At;

/// A word, with its place. The end of a line is a word too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: Box<str>,
    pub(super) quoted: bool,
    pub(super) at: At,
}

/// Cuts a text. What stands behind `#` is left out, and a backslash joins lines.
pub(super) fn cut(text: &[u8], file: usize) -> Vec<Word> {
    let mut words = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let at = At { file, line: number + 1 };
        let line = line.to_str_lossy();
        let mut rest = line.as_ref();
        let mut joins = false;
        loop {
            rest = rest.trim_start();
            let Some(first) = rest.chars().next() else { break };
            let push = |words: &mut Vec<Word>, text: &str, quoted| words.push(Word { text: text.into(), quoted, at });
            match first {
                '#' => break,
                '\\' => {
                    joins = rest.trim_end() == "\\";
                    rest = rest.get(1..).unwrap_or_default();
                }
                '"' => {
                    let inside = rest.get(1..).unwrap_or_default();
                    let (text, after) = inside.split_once('"').unwrap_or((inside, ""));
                    push(&mut words, text, true);
                    rest = after;
                }
                '{' | '}' | ';' | ',' | '(' | ')' | '&' | '|' | '^' => {
                    push(&mut words, rest.get(..1).unwrap_or_default(), false);
                    rest = rest.get(1..).unwrap_or_default();
                }
                '=' | '!' | '<' | '>' => {
                    let length = rest.find(|char| !matches!(char, '=' | '!' | '<' | '>')).unwrap_or(rest.len());
                    let (sign, after) = rest.split_at(length);
                    push(&mut words, sign, false);
                    rest = after;
                }
                _ => {
                    let ends = |char: char| char.is_whitespace() || "{};,()&|^=!<>\"#".contains(char);
                    let length = rest.find(ends).unwrap_or(rest.len());
                    let (word, after) = rest.split_at(length.max(first.len_utf8()));
                    // The colon of a map stands apart, or behind its key.
                    match word.strip_suffix(':') {
                        Some(key) if !key.is_empty() && !key.contains(':') => {
                            push(&mut words, key, false);
                            push(&mut words, ":", false);
                        }
                        _ => push(&mut words, word, false),
                    }
                    rest = after;
                }
            }
        }
        if !joins {
            words.push(Word { text: "\n".into(), quoted: false, at });
        }
    }
    words
}

/// A statement as it would be written.
pub(super) fn text(words: &[Word]) -> String {
    let mut out = String::new();
    for word in words {
        if !out.is_empty() && !matches!(&*word.text, "," | ";") {
            out.push(' ');
        }
        match word.quoted {
            true => {
                out.push('"');
                out.push_str(&word.text);
                out.push('"');
            }
            false => out.push_str(&word.text),
        }
        if out.len() > 2000 {
            out.push('…');
            break;
        }
    }
    out
}
