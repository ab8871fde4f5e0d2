//! The words of a configuration, one directive after the other, with all that nginx has to say about them.

use std::ops::Range;

use bstr::BString;

/// What ends a directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// `;`
    Semicolon,
    /// `{`
    Open,
    /// `}`
    Close,
    /// The end of the file.
    End,
    /// What nginx says.
    Error(String),
}

/// A word.
#[derive(Clone, Debug)]
pub(super) struct Word {
    /// Without quotes and backslashes.
    pub(super) text: BString,
    /// With them.
    pub(super) place: Range<usize>,
    /// The line that it begins on.
    pub(super) line: usize,
}

/// nginx reads so much at a time, and no word may be longer.
const BUFFER: usize = 4096;

/// Where it is in the text.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    text: &'a [u8],
    /// The next byte.
    pub(super) at: usize,
    /// The line that it is in.
    pub(super) line: usize,
    /// From where on nginx has the text in its buffer.
    held: usize,
}

impl<'a> Reader<'a> {
    /// At the beginning.
    pub(super) fn new(text: &'a [u8]) -> Reader<'a> {
        Reader { text, at: 0, line: 1, held: 0 }
    }

    /// The next directive: its words, and what ended it.
    pub(super) fn directive(&mut self) -> (Vec<Word>, Token) {
        let mut words: Vec<Word> = Vec::new();
        // What the word is in, or what has to come.
        let (mut is_comment, mut is_escaped, mut is_variable) = (false, false, false);
        let (mut between, mut needs_space) = (true, false);
        let mut quote: Option<u8> = None;
        let (mut start, mut start_line) = (self.at, self.line);
        loop {
            let Some(byte) = self.text.get(self.at).copied() else {
                let end = if words.is_empty() && between {
                    Token::End
                } else {
                    Token::Error("unexpected end of file, expecting \";\" or \"}\"".to_owned())
                };
                return (words, end);
            };
            if self.at >= self.held + BUFFER {
                if self.at - start >= BUFFER {
                    self.line = start_line;
                    return (words, Token::Error(too_long(quote, self.text.get(start..).unwrap_or_default())));
                }
                self.held = start;
            }
            self.at += 1;
            if byte == b'\n' {
                self.line += 1;
                is_comment = false;
            }
            if is_comment {
                continue;
            }
            if is_escaped {
                is_escaped = false;
                continue;
            }
            let is_space = matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
            if needs_space {
                match byte {
                    _ if is_space => {
                        (between, needs_space) = (true, false);
                        continue;
                    }
                    b';' => return (words, Token::Semicolon),
                    b'{' => return (words, Token::Open),
                    b')' => (between, needs_space) = (true, false),
                    _ => return (words, unexpected(byte)),
                }
            }
            if between {
                (start, start_line) = (self.at - 1, self.line);
                match byte {
                    _ if is_space => continue,
                    b';' | b'{' if words.is_empty() => return (words, unexpected(byte)),
                    b';' => return (words, Token::Semicolon),
                    b'{' => return (words, Token::Open),
                    b'}' if words.is_empty() => return (words, Token::Close),
                    b'}' => return (words, unexpected(byte)),
                    b'#' => {
                        is_comment = true;
                        continue;
                    }
                    b'\\' => is_escaped = true,
                    b'"' | b'\'' => quote = Some(byte),
                    b'$' => is_variable = true,
                    _ => {}
                }
                between = false;
                continue;
            }
            if byte == b'{' && is_variable {
                continue;
            }
            is_variable = false;
            match byte {
                b'\\' => {
                    is_escaped = true;
                    continue;
                }
                b'$' => {
                    is_variable = true;
                    continue;
                }
                _ => {}
            }
            let (place, inner) = match quote {
                Some(closing) if byte == closing => {
                    (quote, needs_space) = (None, true);
                    (start..self.at, start + 1..self.at - 1)
                }
                Some(_) => continue,
                None if is_space || matches!(byte, b';' | b'{') => {
                    between = true;
                    (start..self.at - 1, start..self.at - 1)
                }
                None => continue,
            };
            let text = unescaped(self.text.get(inner).unwrap_or_default());
            words.push(Word { text, place, line: start_line });
            match byte {
                b';' => return (words, Token::Semicolon),
                b'{' => return (words, Token::Open),
                _ => {}
            }
        }
    }

    /// Passes over a block that is not nginx's, by its braces alone.
    pub(super) fn skip_block(&mut self) {
        let mut depth = 1_usize;
        while let Some(byte) = self.text.get(self.at).copied() {
            self.at += 1;
            match byte {
                b'\n' => self.line += 1,
                b'{' => depth += 1,
                b'}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        self.held = self.at;
    }
}

fn unexpected(byte: u8) -> Token {
    Token::Error(format!("unexpected \"{}\"", char::from(byte)))
}

fn too_long(quote: Option<u8>, word: &[u8]) -> String {
    match quote {
        Some(quote) => {
            format!("too long parameter, probably missing terminating \"{}\" character", char::from(quote))
        }
        None => {
            let head = String::from_utf8_lossy(word.get(..10).unwrap_or(word)).into_owned();
            format!("too long parameter \"{head}...\" started")
        }
    }
}

/// A word without its backslashes: only `\"`, `\'`, `\\`, `\t`, `\r` and `\n` lose them.
fn unescaped(word: &[u8]) -> BString {
    let mut out = Vec::with_capacity(word.len());
    let mut bytes = word.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let escaped = match (byte, bytes.peek()) {
            (b'\\', Some(next @ (b'"' | b'\'' | b'\\'))) => Some(*next),
            (b'\\', Some(b't')) => Some(b'\t'),
            (b'\\', Some(b'r')) => Some(b'\r'),
            (b'\\', Some(b'n')) => Some(b'\n'),
            _ => None,
        };
        if escaped.is_some() {
            bytes.next();
        }
        out.push(escaped.unwrap_or(byte));
    }
    out.into()
}
