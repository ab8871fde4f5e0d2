//! How long the values of variables are at least, whatever it is that they hold.

use bstr::{BStr, ByteSlice};
use sickbay_formats::shell::Word;

use super::walk::Walk;

impl Walk<'_> {
    /// How many bytes a word comes to at least.
    pub(super) fn least(&self, word: &Word) -> usize {
        if !word.expands {
            return word.text.len();
        }
        let mut least = 0_usize;
        let mut rest = word.text.as_slice();
        while let Some(at) = rest.iter().position(|byte| matches!(byte, b'$' | b'`')) {
            let (before, after) = rest.split_at(at);
            least = least.saturating_add(before.len());
            let (length, behind) = self.expansion(after);
            least = least.saturating_add(length);
            rest = behind;
        }
        least.saturating_add(rest.len())
    }

    /// The least length of what begins with a `$` or a backquote, and what is behind it.
    fn expansion<'a>(&self, text: &'a [u8]) -> (usize, &'a [u8]) {
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        match text {
            [b'`', inner @ ..] => match inner.split_once_str("`") {
                Some((command, behind)) => (self.output(command), behind),
                None => (0, b""),
            },
            [b'$', b'(', inner @ ..] => {
                let mut open = 1_usize;
                let close = inner.iter().position(|byte| {
                    open = match byte {
                        b'(' => open + 1,
                        b')' => open - 1,
                        _ => open,
                    };
                    open == 0
                });
                match close {
                    Some(close) => {
                        let (command, behind) = inner.split_at(close);
                        (self.output(command), behind.get(1..).unwrap_or_default())
                    }
                    None => (0, b""),
                }
            }
            [b'$', b'{', inner @ ..] => match inner.split_once_str("}") {
                Some((name, behind)) if name.iter().all(is_name) => (self.length(name.as_bstr()), behind),
                Some((_, behind)) => (0, behind),
                None => (0, b""),
            },
            [_, inner @ ..] => {
                let (name, behind) = inner.split_at(inner.iter().take_while(|byte| is_name(byte)).count());
                (self.length(name.as_bstr()), behind)
            }
            [] => (0, b""),
        }
    }

    fn length(&self, name: &BStr) -> usize {
        self.lengths.get(name).copied().unwrap_or_default()
    }

    /// The least length of what a command writes: of `cat FILE` and `< FILE`, which is there.
    fn output(&self, command: &[u8]) -> usize {
        let words: Vec<&str> = command.to_str().unwrap_or_default().split_ascii_whitespace().collect();
        let path = match words.as_slice() {
            ["cat" | "/bin/cat" | "/usr/bin/cat" | "<", path] => *path,
            [path] => path.strip_prefix('<').unwrap_or_default(),
            _ => return 0,
        };
        let file = Some(path).filter(|path| path.starts_with('/')).and_then(|path| self.root().read(path).ok());
        // The shell takes away the ends of lines at the end, and NUL bytes.
        let kept = |text: Vec<u8>| {
            let end = text.iter().rposition(|byte| *byte != b'\n').map_or(0, |last| last + 1);
            text.iter().take(end).filter(|byte| **byte != 0).count()
        };
        file.map_or(0, kept)
    }
}
