//! grub.cfg, the script that GRUB 2 runs: its commands with their places, and what running it shows.
//!
//! GRUB goes on with the next command after one that it cannot understand, and so does this.

mod parse;
pub mod run;
#[cfg(test)]
mod tests;

mod words;
pub mod write;

use std::ops::Range;

use bstr::BString;

pub use parse::parse;
pub use words::in_text;

/// A word of a command as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// What it is made of.
    pub parts: Vec<Part>,
    /// Its bytes in the text, quotes and all.
    pub range: Range<usize>,
}

/// A piece of a [`Word`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Text that stands for itself.
    Text {
        /// Without quotes and escapes.
        value: BString,
        /// Where its first byte stands, if the bytes from there on are the value itself.
        start: Option<usize>,
    },
    /// `$name` or `${name}`.
    Variable {
        /// The name, or a special one: `1`, `@`, `?`.
        name: BString,
        /// Between double quotes, where the value stays one word.
        quoted: bool,
    },
}

/// A command or a compound of commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// Words, and the block of those that take one: `menuentry 'title' { … }`.
    Command {
        /// At least one.
        words: Vec<Word>,
        /// What stands between the braces.
        block: Option<Vec<Node>>,
    },
    /// `if … then … elif … then … else … fi`
    If {
        /// Conditions with what they guard.
        arms: Vec<(Vec<Node>, Vec<Node>)>,
        /// After `else`.
        otherwise: Vec<Node>,
    },
    /// `for name in words; do … done`
    For {
        /// The variable.
        name: BString,
        /// Its values.
        words: Vec<Word>,
        /// What is done with each.
        body: Vec<Node>,
    },
    /// `while` and `until`: parsed, never run.
    Loop,
    /// `function name { … }`
    Function {
        /// How it is called.
        name: BString,
        /// What it does.
        body: Vec<Node>,
    },
}

/// A parsed text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// In order.
    pub nodes: Vec<Node>,
    /// Bytes that GRUB refuses: a word that closes nothing, a quote or block that is never closed.
    pub defects: Vec<Range<usize>>,
}
