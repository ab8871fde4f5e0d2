//! Where in a text something stands.

/// Words of one line, as a caret points at them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The line, from 1 on.
    pub line: usize,
    /// The column of the first character, from 1 on.
    pub column: usize,
    /// How many characters; 0 for a place between two.
    pub len: usize,
}
