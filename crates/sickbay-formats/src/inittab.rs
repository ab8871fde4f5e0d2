//! inittab(5): what System V init starts, and in which runlevels.

use bstr::{BStr, ByteSlice};

use crate::lines;
use crate::span::Span;

/// A line with four fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The number of the line, from 1 on.
    pub line: usize,
    /// The runlevels, a character each; none means all.
    pub runlevels: &'a BStr,
    /// Where the runlevels stand.
    pub span: Span,
    /// What init does with the process.
    pub action: &'a BStr,
    /// The command line.
    pub process: &'a BStr,
}

impl Entry<'_> {
    /// The program, without the characters that tell init how to start it; `None` when it is no absolute path.
    pub fn program(&self) -> Option<&str> {
        let word = self.process.trim_ascii_start().split(u8::is_ascii_whitespace).next()?.to_str().ok()?;
        Some(word.trim_start_matches(['+', '-', '@'])).filter(|word| word.starts_with('/'))
    }

    /// Whether it opens a terminal in `runlevel`.
    pub fn is_getty(&self, runlevel: u8) -> bool {
        self.action == "respawn"
            && self.program().is_some_and(|program| program.contains("getty") || program.ends_with("/sulogin"))
            && (self.runlevels.is_empty() || self.runlevels.contains(&runlevel))
    }
}

/// All entries in order. Comments, and lines with fewer fields, which init leaves out, are none.
pub fn entries(text: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    lines::lines(text).filter_map(|line| {
        if line.text.trim_ascii_start().starts_with(b"#") {
            return None;
        }
        let mut fields = line.text.splitn(4, |&byte| byte == b':');
        let id = fields.next()?;
        let (runlevels, action, process) = (fields.next()?, fields.next()?, fields.next()?);
        let at = id.len() + 1;
        Some(Entry {
            line: line.number,
            runlevels: runlevels.as_bstr(),
            span: line.span(at..at + runlevels.len()),
            action: action.as_bstr(),
            process: process.trim_ascii_end().as_bstr(),
        })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_init_reads() {
        let text =
            b"# id:2:initdefault:\nid:2:initdefault:\n1:2345:respawn:/sbin/getty --noclear 38400 tty1\nbad line\n";
        let all: Vec<Entry<'_>> = entries(text).collect();
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].line, all[0].action, all[0].runlevels), (2, BStr::new("initdefault"), BStr::new("2")));
        assert_eq!(all[1].program(), Some("/sbin/getty"));
        assert!(all[1].is_getty(b'2') && !all[1].is_getty(b'1'));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let lines = text.split(|&byte| byte == b'\n').count();
            for entry in entries(&text) {
                prop_assert!(entry.line >= 1 && entry.line <= lines);
                let _ = (entry.program(), entry.is_getty(b'2'));
            }
        }
    }
}
