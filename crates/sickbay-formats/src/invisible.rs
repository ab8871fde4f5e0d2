//! Characters that one cannot see, or that look like a blank and are none to the programs that read a file: they come along
//! when text is pasted from a web page or a chat, or saved by an editor that begins files with a byte order mark.

use bstr::ByteSlice;

/// A character of that kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invisible {
    /// The character.
    pub character: char,
    /// Where it begins in the text, in bytes.
    pub at: usize,
    /// It looks like a blank; otherwise it cannot be seen at all.
    pub blank: bool,
}

/// Whether a character cannot be seen, and whether it looks like a blank.
pub fn kind(character: char) -> Option<bool> {
    match character {
        '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => Some(true),
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}' => {
            Some(false)
        }
        _ => None,
    }
}

/// Those of a text, in their order.
pub fn all(text: &[u8]) -> impl Iterator<Item = Invisible> + '_ {
    // Each of them begins with one of four bytes.
    let mut from = 0;
    std::iter::from_fn(move || {
        loop {
            let rest = text.get(from..)?;
            let at = from + rest.find_byteset(b"\xc2\xe1\xe2\xe3\xef")?;
            let (character, length) = bstr::decode_utf8(text.get(at..)?);
            from = at + length.max(1);
            if let Some((character, blank)) = character.and_then(|character| Some((character, kind(character)?))) {
                return Some(Invisible { character, at, blank });
            }
        }
    })
}

/// The part of a text with a blank in the place of what looks like one, and without the others.
pub fn cleaned(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut from = 0;
    for one in all(text) {
        out.extend_from_slice(text.get(from..one.at).unwrap_or_default());
        if one.blank {
            out.push(b' ');
        }
        from = one.at + one.character.len_utf8();
    }
    out.extend_from_slice(text.get(from..).unwrap_or_default());
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn kinds() {
        let text = "\u{feff}a\u{a0}b\u{3000}c\u{200b}ä€\n".as_bytes();
        let found: Vec<(char, bool)> = all(text).map(|one| (one.character, one.blank)).collect();
        assert_eq!(found, [('\u{feff}', false), ('\u{a0}', true), ('\u{3000}', true), ('\u{200b}', false)]);
        assert_eq!(cleaned(text), "a b cä€\n".as_bytes());
    }

    proptest! {
        #[test]
        fn never_panics(text: Vec<u8>) {
            let clean = cleaned(&text);
            prop_assert!(clean.len() <= text.len());
            prop_assert_eq!(all(&text).count() == 0, clean == text);
        }

        #[test]
        fn nothing_is_left(text in "[ab \u{a0}\u{feff}\u{200b}ä\u{3000}]{0,40}") {
            prop_assert_eq!(all(&cleaned(text.as_bytes())).count(), 0);
        }
    }
}
