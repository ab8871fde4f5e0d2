//! Start-up files of Bourne shells: which commands stand where, as far as that can be told without running them.
//!
//! A reader of the shell's grammar (XCU 2.10, with bash's additions) that keeps only what matters to somebody who asks
//! what a file does: simple commands with their words, and what they depend on. It expands nothing.

mod parser;

use bstr::BString;

use crate::lines;
use crate::span::Span;

/// A word of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Word {
    /// Without quotes and backslashes; parameters and substitutions stay as they are written.
    pub text: BString,
    /// A `$` or backquote in it is expanded by the shell.
    pub expands: bool,
    /// A `*`, `?` or `[` outside of quotes.
    pub globs: bool,
}

/// A command without a structure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Simple {
    /// `NAME=value` before the words, in order.
    pub assignments: Vec<(BString, Word)>,
    /// The command and its arguments.
    pub words: Vec<Word>,
    /// Its input comes from a file, a text or a descriptor.
    pub input: bool,
    /// Where it stands; only its first line if it has more.
    pub span: Span,
    /// It ends on the line that it begins on.
    pub one_line: bool,
}

impl Simple {
    /// Word `index` as text; nothing when there are fewer.
    pub fn word(&self, index: usize) -> &[u8] {
        self.words.get(index).map(|word| word.text.as_slice()).unwrap_or_default()
    }
}

/// A piece of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A command, also `[ … ]` and `[[ … ]]`.
    Simple(Simple),
    /// Commands parted by `&&` (true) and `||` (false).
    AndOr(Box<Node>, Vec<(bool, Node)>),
    /// `!`
    Not(Box<Node>),
    /// `{ … }`
    Group(Vec<Node>),
    /// `( … )`, the parts of a pipeline, what runs in the background: nothing in it changes the shell.
    Subshell(Vec<Node>),
    /// Conditions with what depends on them, and what is done when none holds.
    If(Vec<(Vec<Node>, Vec<Node>)>, Vec<Node>),
    /// `while`, or `until` (true), with its condition, its body and where it begins.
    Loop(bool, Vec<Node>, Vec<Node>, Span),
    /// `for` and `select`: the variable, the words (none without `in`), the body.
    For(BString, Option<Vec<Word>>, Vec<Node>),
    /// The word, and patterns with what is done.
    Case(Word, Vec<(Vec<Word>, Vec<Node>)>),
    /// The definition of a function.
    Function(BString, Vec<Node>),
    /// `(( … ))`
    Arithmetic,
}

/// Where the shell reads no further, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// The line on which what is wrong begins: the open quote, the `if` without `fi`.
    pub line: usize,
    /// What it is.
    pub kind: ErrorKind,
    /// The line from which on nothing is read: that of the outermost command that does not end.
    pub unread_from: usize,
}

/// Kinds of syntax errors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// A quote, `${` or `$(` that does not end.
    Open(&'static str),
    /// A structure without the word that ends it: what is missing.
    Without(&'static str),
    /// A word or sign where none may be.
    Unexpected(BString),
}

/// A script.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// Everything up to the error, or to the end.
    pub nodes: Vec<Node>,
    /// Where the shell stops to read.
    pub error: Option<SyntaxError>,
}

/// Reads a script.
pub fn parse(text: &[u8]) -> Script {
    parser::parse(text)
}

/// The text with the command at `span` made `:`, which does nothing. Where the command is all of its line, the line
/// becomes a comment behind the `:`, else the old line is kept as a comment before it.
pub fn without(text: &[u8], span: Span) -> Vec<u8> {
    lines::with_line(text, span.line, |line| {
        let (before, command, after) = parts(line, span)?;
        if is_alone(before, after) {
            return Some([before, b": # sickbay: ", command, after].concat());
        }
        Some([b"# sickbay: ", line.trim_ascii(), b"\n", before, b":", after].concat())
    })
}

/// The text with another command in the place of the one at `span`; the old line is kept as a comment before it.
pub fn with(text: &[u8], span: Span, command: &str) -> Vec<u8> {
    lines::with_line(text, span.line, |line| {
        let (before, _, after) = parts(line, span)?;
        Some([b"# sickbay: ", line.trim_ascii(), b"\n", before, command.as_bytes(), after].concat())
    })
}

/// The text with the command at `span` put into the background; `None` where it is not all of its line.
pub fn in_background(text: &[u8], span: Span) -> Option<Vec<u8>> {
    let line = lines::lines(text).find(|line| line.number == span.line)?;
    let (before, command, after) = parts(line.text, span)?;
    is_alone(before, after)
        .then(|| lines::with_line(text, span.line, |_| Some([before, command, b" &", after].concat())))
}

/// A line parted by the command in it.
fn parts(line: &[u8], span: Span) -> Option<(&[u8], &[u8], &[u8])> {
    let start = lines::offset_in(line, span.column);
    let end = lines::offset_in(line, span.column + span.len);
    Some((line.get(..start)?, line.get(start..end)?, line.get(end..)?))
}

fn is_alone(before: &[u8], after: &[u8]) -> bool {
    before.trim_ascii().is_empty() && matches!(after.trim_ascii().first(), None | Some(b'#'))
}

#[cfg(test)]
mod tests;
