//! Lines of a text with their numbers, ends kept apart so that every file can be written back as it was.

use std::ops::Range;

use bstr::ByteSlice;

use crate::span::Span;

/// How many lines end in a part of a text.
pub fn newlines(part: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', part).count() as u64
}

/// A line of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// From 1 on.
    pub number: usize,
    /// Without its end. A carriage return is part of it: no program but a DOS editor takes it for an end.
    pub text: &'a [u8],
    /// `"\n"`, or nothing when the text stops without one.
    pub end: &'a [u8],
}

impl Line<'_> {
    /// The words that the bytes `range` of this line are.
    pub fn span(&self, range: Range<usize>) -> Span {
        span_in(self.text, self.number, range)
    }

    /// All of the line but the blanks around it.
    pub fn whole(&self) -> Span {
        let start = self.text.len() - self.text.trim_ascii_start().len();
        self.span(start..start + self.text.trim_ascii().len())
    }
}

/// The characters that the bytes `range` of line `number`, whose content is `text`, are.
pub fn span_in(text: &[u8], number: usize, range: Range<usize>) -> Span {
    let chars = |range: Range<usize>| text.get(range).unwrap_or_default().chars().count();
    Span { line: number, column: chars(0..range.start) + 1, len: chars(range) }
}

/// The lines of a text. What follows the last newline is a line unless it is empty.
pub fn lines(text: &[u8]) -> impl Iterator<Item = Line<'_>> {
    text.split_inclusive(|&byte| byte == b'\n').enumerate().map(|(index, whole)| {
        let length = whole.len() - usize::from(whole.ends_with(b"\n"));
        let (text, end) = whole.split_at(length);
        Line { number: index + 1, text, end }
    })
}

/// The words of a text between blanks and line ends, as ranges of it.
pub fn words(text: &[u8]) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let blank = |byte: &u8| byte.is_ascii_whitespace();
        let start = at + text.get(at..)?.iter().position(|byte| !blank(byte))?;
        let length = text.get(start..)?.iter().position(blank).unwrap_or(text.len() - start);
        at = start + length;
        Some(start..at)
    })
}

/// The place of the bytes `range` of a text, which are taken to be on one line.
pub fn span_at(text: &[u8], range: Range<usize>) -> Span {
    let start = range.start.min(text.len());
    let before = text.get(..start).unwrap_or_default();
    let begin = before.rfind_byte(b'\n').map_or(0, |newline| newline + 1);
    let number = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
    let line = text.get(begin..).unwrap_or_default();
    let line = line.lines_with_terminator().next().unwrap_or_default();
    let end = range.end.saturating_sub(begin).min(line.trim_end_with(|c| c == '\n').len());
    span_in(line, number, start - begin..end.max(start - begin))
}

/// The text with the bytes `range` replaced.
pub fn with_bytes(text: &[u8], range: Range<usize>, new: &[u8]) -> Vec<u8> {
    let before = text.get(..range.start).unwrap_or(text);
    let after = text.get(range.end.max(range.start)..).unwrap_or_default();
    [before, new, after].concat()
}

/// `text` with the carriage returns at the ends of its lines gone.
pub fn without_carriage_returns(text: &[u8]) -> Vec<u8> {
    lines(text).flat_map(|line| [line.text.strip_suffix(b"\r").unwrap_or(line.text), line.end].concat()).collect()
}

/// The text with line `number` (from 1 on) replaced by what `edit` makes of it; `None` removes the line with its end.
pub fn with_line(text: &[u8], number: usize, edit: impl FnOnce(&[u8]) -> Option<Vec<u8>>) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 32);
    let mut edit = Some(edit);
    for line in lines(text) {
        match edit.take_if(|_| line.number == number) {
            Some(edit) => {
                if let Some(new) = edit(line.text) {
                    out.extend(new);
                    out.extend(line.end);
                }
            }
            None => {
                out.extend(line.text);
                out.extend(line.end);
            }
        }
    }
    out
}

/// Where in a line the character of column `column` (from 1 on) begins, in bytes.
pub fn offset_in(line: &[u8], column: usize) -> usize {
    line.char_indices().nth(column.saturating_sub(1)).map_or(line.len(), |(start, _, _)| start)
}

/// The text with the words that `span` points at replaced.
pub fn with_words(text: &[u8], span: Span, words: &[u8]) -> Vec<u8> {
    with_line(text, span.line, |line| {
        let (start, end) = (offset_in(line, span.column), offset_in(line, span.column + span.len));
        Some([line.get(..start).unwrap_or_default(), words, line.get(end..).unwrap_or_default()].concat())
    })
}

/// The text with line `number` made a comment that says who did it.
pub fn with_comment(text: &[u8], number: usize) -> Vec<u8> {
    with_line(text, number, |line| Some([b"# sickbay: ", line].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_kept_apart() {
        let all: Vec<_> = lines(b"a\r\n\nb").map(|line| (line.number, line.text, line.end)).collect();
        assert_eq!(all, [(1, &b"a\r"[..], &b"\n"[..]), (2, b"", b"\n"), (3, b"b", b"")]);
        assert_eq!(lines(b"").count(), 0);
    }

    #[test]
    fn carriage_returns_go_from_the_ends() {
        assert_eq!(without_carriage_returns(b"a\r\nb\r\nc\rd\n\r"), b"a\nb\nc\rd\n");
    }

    #[test]
    fn one_line_is_edited() {
        assert_eq!(with_comment(b"a\nb\nc", 2), b"a\n# sickbay: b\nc");
        assert_eq!(with_line(b"a\nb\nc", 2, |_| None), b"a\nc");
        assert_eq!(with_line(b"a\nb\nc", 9, |_| None), b"a\nb\nc");
    }

    #[test]
    fn words_are_replaced() {
        let span = lines("ä  bc d\n".as_bytes()).next().unwrap().span(4..6);
        assert_eq!(with_words("x\nä  bc d\n".as_bytes(), Span { line: 2, ..span }, b"yes"), "x\nä  yes d\n".as_bytes());
        assert_eq!(with_words(b"a b", Span { line: 1, column: 3, len: 1 }, b""), b"a ");
    }

    #[test]
    fn spans_count_characters() {
        let line = lines("ä  bc \n".as_bytes()).next().unwrap();
        assert_eq!(line.span(4..6), Span { line: 1, column: 4, len: 2 });
        assert_eq!(line.whole(), Span { line: 1, column: 1, len: 5 });
    }
}
