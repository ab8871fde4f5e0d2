//! A file as it was read.

use std::path::PathBuf;

use bstr::ByteSlice;
use sickbay_formats::span::Span;

/// A text file of the target as it was read.
#[derive(Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// The path on the target.
    pub path: PathBuf,
    /// The content, byte for byte.
    pub bytes: Vec<u8>,
}

impl SourceFile {
    /// The text of line `number` (from 1) without its end, undecodable bytes replaced, cut at 400 characters.
    pub fn line_text(&self, number: usize) -> String {
        let line = self.bytes.lines().nth(number.saturating_sub(1)).unwrap_or_default();
        line.to_str_lossy().chars().take(400).collect()
    }

    /// The words of line `number`, without the blanks around them.
    pub fn line_span(&self, number: usize) -> Span {
        let text = self.line_text(number);
        let column = text.chars().take_while(|char| char.is_whitespace()).count() + 1;
        Span { line: number, column, len: text.trim().chars().count() }
    }
}
