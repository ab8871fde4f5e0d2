//! Words and separators of a GRUB script.

use std::ops::Range;

use bstr::BString;

use super::{Part, Word};

/// What a script is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Word(Word),
    /// A newline or a semicolon, and the operators that GRUB reserves.
    Separator,
    Open(usize),
    Close(usize),
}

/// So many words and signs are read of one text. A menu of a hundred kernels has a tenth of them; a hostile text must not
/// fill the memory.
const MOST: usize = 1 << 18;

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    end: usize,
    unclosed: Vec<Range<usize>>,
}

/// The tokens of `text` within `range`, and what is wrong with it: quotes that are never closed, and the place from which on it
/// is not read, being too long.
pub(super) fn tokens(text: &[u8], range: Range<usize>) -> (Vec<Token>, Vec<Range<usize>>) {
    let mut reader = Reader { text, at: range.start, end: range.end.min(text.len()), unclosed: Vec::new() };
    let mut all = Vec::new();
    while let Some(byte) = reader.peek(0) {
        if all.len() >= MOST {
            reader.unclosed.push(reader.at..reader.at + 1);
            break;
        }
        match byte {
            b' ' | b'\t' | b'\r' => reader.at += 1,
            b'\n' | b';' | b'|' | b'&' | b'<' | b'>' => {
                reader.at += 1;
                all.push(Token::Separator);
            }
            b'#' => {
                while reader.peek(0).is_some_and(|byte| byte != b'\n') {
                    reader.at += 1;
                }
            }
            b'\\' if reader.peek(1) == Some(b'\n') => reader.at += 2,
            b'{' => {
                all.push(Token::Open(reader.at));
                reader.at += 1;
            }
            b'}' => {
                all.push(Token::Close(reader.at));
                reader.at += 1;
            }
            _ => all.push(Token::Word(reader.word())),
        }
    }
    (all, reader.unclosed)
}

/// The words of a text that is no script but is expanded like one: the options of a boot loader entry.
pub fn in_text(text: &[u8], range: Range<usize>) -> Vec<Word> {
    let tokens = tokens(text, range).0;
    tokens.into_iter().filter_map(|token| if let Token::Word(word) = token { Some(word) } else { None }).collect()
}

impl Reader<'_> {
    fn peek(&self, ahead: usize) -> Option<u8> {
        let at = self.at + ahead;
        if at < self.end { self.text.get(at).copied() } else { None }
    }

    fn word(&mut self) -> Word {
        let begin = self.at;
        let mut parts = Vec::new();
        while let Some(byte) = self.peek(0) {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' | b';' | b'|' | b'&' | b'<' | b'>' => break,
                // Braces end a word only at its beginning, where `tokens` sees them.
                b'\'' => {
                    let open = self.at;
                    self.at += 1;
                    let start = self.at;
                    while self.peek(0).is_some_and(|byte| byte != b'\'') {
                        self.at += 1;
                    }
                    push(&mut parts, self.text.get(start..self.at).unwrap_or_default(), Some(start));
                    if self.peek(0).is_none() {
                        self.unclosed.push(open..self.at);
                    }
                    self.at += 1;
                }
                b'"' => self.double_quoted(&mut parts),
                b'\\' => {
                    if let Some(next) = self.peek(1).filter(|&next| next != b'\n') {
                        push(&mut parts, &[next], Some(self.at + 1));
                    }
                    self.at += 2;
                }
                b'$' if self.variable(&mut parts, false) => {}
                _ => {
                    push(&mut parts, &[byte], Some(self.at));
                    self.at += 1;
                }
            }
        }
        self.at = self.at.min(self.end);
        Word { parts, range: begin..self.at }
    }

    fn double_quoted(&mut self, parts: &mut Vec<Part>) {
        let open = self.at;
        self.at += 1;
        // An empty pair of quotes is a word too.
        push(parts, b"", Some(self.at));
        loop {
            match self.peek(0) {
                None => {
                    self.unclosed.push(open..self.at);
                    return;
                }
                Some(b'"') => {
                    self.at += 1;
                    return;
                }
                Some(b'\\') if matches!(self.peek(1), Some(b'$' | b'"' | b'\\')) => {
                    push(parts, &[self.peek(1).unwrap_or_default()], Some(self.at + 1));
                    self.at += 2;
                }
                Some(b'\\') if self.peek(1) == Some(b'\n') => self.at += 2,
                Some(b'$') if self.variable(parts, true) => {}
                Some(byte) => {
                    push(parts, &[byte], Some(self.at));
                    self.at += 1;
                }
            }
        }
    }

    /// Reads `$name` or `${name}`; `false` for a dollar that stands for itself.
    fn variable(&mut self, parts: &mut Vec<Part>, quoted: bool) -> bool {
        let braced = self.peek(1) == Some(b'{');
        let start = self.at + 1 + usize::from(braced);
        let named = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let rest = self.text.get(start..self.end).unwrap_or_default();
        let length = match rest.first() {
            Some(b'@' | b'*' | b'#' | b'?') => 1,
            _ => rest.iter().take_while(|byte| named(byte)).count(),
        };
        let closes = !braced || rest.get(length) == Some(&b'}');
        if length == 0 || !closes {
            return false;
        }
        let name = BString::from(rest.get(..length).unwrap_or_default());
        parts.push(Part::Variable { name, quoted });
        self.at = start + length + usize::from(braced);
        true
    }
}

/// Adds text, joined to what stands directly before it.
fn push(parts: &mut Vec<Part>, bytes: &[u8], start: Option<usize>) {
    if let Some(Part::Text { value, start: begin }) = parts.last_mut()
        && begin.zip(start).is_some_and(|(begin, start)| begin + value.len() == start)
    {
        value.extend_from_slice(bytes);
    } else {
        parts.push(Part::Text { value: bytes.into(), start });
    }
}
