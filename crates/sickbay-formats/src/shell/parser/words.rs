//! Words: quotes, expansions, substitutions.

use super::super::{ErrorKind, Word};
use super::{DEPTH, Parser, Result, is_meta};

impl Parser<'_> {
    /// A word up to a blank or sign.
    pub(super) fn word(&mut self) -> Result<Word> {
        let begun = self.at;
        let mut word = Word::default();
        while let Some(byte) = self.peek() {
            match byte {
                b'<' | b'>' if self.text.get(self.at + 1) == Some(&b'(') => {
                    self.at += 1;
                    self.substitution(&mut word)?;
                }
                // Patterns of bash: !(…), @(…) and so on.
                b'?' | b'*' | b'+' | b'@' | b'!' if self.text.get(self.at + 1) == Some(&b'(') => {
                    let open = self.at;
                    self.at += 2;
                    word.globs = true;
                    let mut depth = 1;
                    while depth > 0 {
                        match self.peek() {
                            None => return self.fault(open, ErrorKind::Without(")")),
                            Some(b'(') => depth += 1,
                            Some(b')') => depth -= 1,
                            Some(b'\'' | b'"' | b'\\' | b'$' | b'`') => {
                                self.piece(&mut word, false)?;
                                continue;
                            }
                            Some(_) => {}
                        }
                        self.at += 1;
                    }
                    word.text.extend_from_slice(self.text.get(open..self.at).unwrap_or_default());
                }
                _ if is_meta(byte) => break,
                b'\r' if matches!(self.text.get(self.at + 1), None | Some(b'\n')) => break,
                _ => {
                    word.globs |= matches!(byte, b'*' | b'?' | b'[');
                    self.piece(&mut word, false)?;
                }
            }
        }
        if self.at == begun {
            return self.unexpected();
        }
        Ok(word)
    }

    /// One character, quoted string or expansion.
    fn piece(&mut self, word: &mut Word, in_quotes: bool) -> Result<()> {
        let begun = self.at;
        let Some(byte) = self.peek() else { return Ok(()) };
        self.at += 1;
        match byte {
            b'\\' => {
                match self.peek() {
                    Some(b'\n') => {}
                    Some(next) if in_quotes && !matches!(next, b'"' | b'\\' | b'$' | b'`') => {
                        word.text.extend([b'\\', next])
                    }
                    Some(next) => word.text.push(next),
                    None => word.text.push(b'\\'),
                }
                self.at = (self.at + 1).min(self.text.len());
            }
            b'\'' if !in_quotes => {
                let Some(length) = self.rest().iter().position(|&byte| byte == b'\'') else {
                    return self.fault(begun, ErrorKind::Open("'"));
                };
                word.text.extend_from_slice(self.rest().get(..length).unwrap_or_default());
                self.at += length + 1;
            }
            b'"' if !in_quotes => {
                while self.peek() != Some(b'"') {
                    if self.peek().is_none() {
                        return self.fault(begun, ErrorKind::Open("\""));
                    }
                    self.piece(word, true)?;
                }
                self.at += 1;
            }
            b'`' => {
                word.expands = true;
                loop {
                    match self.peek() {
                        None => return self.fault(begun, ErrorKind::Open("`")),
                        Some(b'`') => break,
                        Some(b'\\') => self.at = (self.at + 2).min(self.text.len()),
                        Some(_) => self.at += 1,
                    }
                }
                self.at += 1;
                word.text.extend_from_slice(self.text.get(begun..self.at).unwrap_or_default());
            }
            b'$' => match self.peek() {
                Some(b'\'') if !in_quotes => {
                    self.at += 1;
                    loop {
                        match self.peek() {
                            None => return self.fault(begun, ErrorKind::Open("$'")),
                            Some(b'\'') => break,
                            Some(b'\\') => self.at = (self.at + 2).min(self.text.len()),
                            Some(_) => self.at += 1,
                        }
                    }
                    self.at += 1;
                    word.expands = true;
                }
                Some(b'"') if !in_quotes => {}
                Some(b'(') => {
                    word.expands = true;
                    self.at = begun + 1;
                    if !(self.next_is("((") && self.skip_arithmetic()) {
                        self.at = begun + 1;
                        self.substitution(word)?;
                    }
                    word.text.extend_from_slice(self.text.get(begun..self.at).unwrap_or_default());
                }
                Some(b'{') => {
                    word.expands = true;
                    self.at += 1;
                    self.braces(begun)?;
                    word.text.extend_from_slice(self.text.get(begun..self.at).unwrap_or_default());
                }
                Some(b'[') => {
                    // $[ … ], the old arithmetic.
                    word.expands = true;
                    word.text.push(b'$');
                }
                _ => {
                    word.expands = true;
                    word.text.push(b'$');
                    if self.peek().is_some_and(|next| matches!(next, b'#' | b'!' | b'?' | b'$' | b'-' | b'@' | b'*')) {
                        word.text.push(self.peek().unwrap_or_default());
                        self.at += 1;
                    }
                }
            },
            _ => word.text.push(byte),
        }
        Ok(())
    }

    /// Up to the `}` that ends a `${`.
    fn braces(&mut self, begun: usize) -> Result<()> {
        self.depth += 1;
        if self.depth > DEPTH {
            return self.unexpected();
        }
        let mut ignored = Word::default();
        let quoted = self.text.get(..begun).is_some();
        loop {
            match self.peek() {
                None => return self.fault(begun, ErrorKind::Open("${")),
                Some(b'}') => break,
                Some(b'"' | b'\\' | b'$' | b'`') => self.piece(&mut ignored, false)?,
                Some(b'\'') if quoted => {
                    // Within double quotes a single one is no quote: where it has no other here, it is a character.
                    let close = self.rest().iter().skip(1).position(|&byte| byte == b'\'');
                    let brace = self.rest().iter().position(|&byte| byte == b'}');
                    match (close, brace) {
                        (Some(close), Some(_)) => self.at += close + 2,
                        _ => self.at += 1,
                    }
                }
                Some(_) => self.at += 1,
            }
        }
        self.at += 1;
        self.depth -= 1;
        Ok(())
    }

    /// `( … )` of a substitution.
    fn substitution(&mut self, word: &mut Word) -> Result<()> {
        let begun = self.at;
        word.expands = true;
        self.at += 1;
        let outer = std::mem::take(&mut self.documents);
        self.list()?;
        self.documents = outer;
        if self.peek() != Some(b')') {
            return if self.peek().is_none() { self.fault(begun, ErrorKind::Open("$(")) } else { self.unexpected() };
        }
        self.at += 1;
        Ok(())
    }

    /// Skips `(( … ))`; `false`, and nothing skipped, when it is something else that begins with two parentheses.
    pub(super) fn skip_arithmetic(&mut self) -> bool {
        let mut depth = 0_usize;
        for (offset, &byte) in self.rest().iter().enumerate() {
            match byte {
                b'(' => depth += 1,
                b')' => {
                    depth -= 1;
                    if depth == 1 && self.text.get(self.at + offset + 1) != Some(&b')') {
                        // Still inside, unless this was the inner one of two that are not together.
                        let inner = self.rest().get(2..offset).unwrap_or_default();
                        if inner.iter().filter(|&&b| b == b'(').count() == inner.iter().filter(|&&b| b == b')').count()
                        {
                            return false;
                        }
                    }
                    if depth == 0 {
                        self.at += offset + 1;
                        return true;
                    }
                }
                _ => {}
            }
        }
        false
    }
}
