//! What a terminal sends when a key is pressed.

/// A key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// One that writes something.
    Char(char),
    /// With Ctrl: its letter.
    Control(char),
    /// Enter.
    Enter,
    /// Escape by itself.
    Escape,
    /// Backspace.
    Backspace,
    /// An arrow.
    Left,
    /// An arrow.
    Right,
    /// An arrow.
    Up,
    /// An arrow.
    Down,
    /// An arrow with Shift.
    ShiftLeft,
    /// An arrow with Shift.
    ShiftRight,
    /// Page up.
    PageUp,
    /// Page down.
    PageDown,
    /// Home.
    Home,
    /// End.
    End,
}

/// A sequence is no longer than this.
const LONGEST: usize = 16;

/// The keys that were pressed, and how many bytes they are. What is not complete is left; what is no key that anybody here
/// knows is passed over. With `is_all` nothing more will come: then an escape is a key of its own.
pub fn parse(bytes: &[u8], is_all: bool) -> (Vec<Key>, usize) {
    let mut keys = Vec::new();
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let Some((key, length)) = one(rest, is_all) else { break };
        keys.extend(key);
        at = at.saturating_add(length);
    }
    (keys, at)
}

/// One key, if it is one, and its length; `None` where more must come.
fn one(bytes: &[u8], is_all: bool) -> Option<(Option<Key>, usize)> {
    let (first, rest) = bytes.split_first()?;
    let key = match first {
        0x1B => return escape(rest, is_all),
        b'\r' | b'\n' => Key::Enter,
        0x7F | 0x08 => Key::Backspace,
        b'\t' => Key::Char('\t'),
        1..=26 => Key::Control(char::from(first.saturating_add(b'a' - 1))),
        0..=31 => return Some((None, 1)),
        _ => return character(bytes, is_all),
    };
    Some((Some(key), 1))
}

fn character(bytes: &[u8], is_all: bool) -> Option<(Option<Key>, usize)> {
    let piece = bytes.get(..4).unwrap_or(bytes);
    let text = match std::str::from_utf8(piece) {
        Ok(text) => text,
        Err(error) if error.valid_up_to() > 0 => {
            std::str::from_utf8(piece.get(..error.valid_up_to())?).unwrap_or_default()
        }
        // The rest of it is still on its way.
        Err(error) if error.error_len().is_none() && !is_all => return None,
        Err(_) => return Some((None, 1)),
    };
    let letter = text.chars().next()?;
    Some(((!letter.is_control()).then_some(Key::Char(letter)), letter.len_utf8()))
}

/// What follows an escape.
fn escape(rest: &[u8], is_all: bool) -> Option<(Option<Key>, usize)> {
    let alone = Some((Some(Key::Escape), 1));
    match rest.first() {
        None => alone.filter(|_| is_all),
        // ESC [ parameters letter, and ESC O letter of keypads.
        Some(b'[') => {
            let body = rest.get(1..).unwrap_or_default();
            // The console of Linux has ESC [ [ A for F1.
            let skip = usize::from(body.first() == Some(&b'['));
            let end = body.iter().skip(skip).position(|byte| (0x40..=0x7E).contains(byte));
            let Some(end) = end.map(|end| end.saturating_add(skip)) else {
                let is_endless = body.len() > LONGEST || is_all;
                return is_endless.then_some((None, rest.len().saturating_add(1)));
            };
            let parameters = body.get(..end).unwrap_or_default();
            let key = if skip == 0 { sequence(parameters, *body.get(end)?) } else { None };
            Some((key, end.saturating_add(3)))
        }
        Some(b'O') => match rest.get(1) {
            Some(letter) => Some((sequence(b"", *letter), 3)),
            None => is_all.then_some((None, 2)),
        },
        Some(0x1B) => alone,
        // Alt with a key.
        Some(_) => one(rest, is_all).map(|(_, length)| (None, length.saturating_add(1))),
    }
}

fn sequence(parameters: &[u8], letter: u8) -> Option<Key> {
    let has_shift = parameters == b"1;2" || parameters == b"2";
    Some(match (letter, parameters) {
        (b'A', _) => Key::Up,
        (b'B', _) => Key::Down,
        (b'C', _) if has_shift => Key::ShiftRight,
        (b'D', _) if has_shift => Key::ShiftLeft,
        // rxvt.
        (b'c', _) => Key::ShiftRight,
        (b'd', _) => Key::ShiftLeft,
        (b'C', _) => Key::Right,
        (b'D', _) => Key::Left,
        (b'H', _) | (b'~', b"1" | b"7") => Key::Home,
        (b'F', _) | (b'~', b"4" | b"8") => Key::End,
        (b'~', b"5") => Key::PageUp,
        (b'~', b"6") => Key::PageDown,
        (b'M', b"") => Key::Enter,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_terminals() {
        let keys = |text: &str| parse(text.as_bytes(), true).0;
        assert_eq!(keys("q?\r"), [Key::Char('q'), Key::Char('?'), Key::Enter]);
        assert_eq!(keys("\x1b[D\x1b[1;2D\x1bOC\x1b[1;2C"), [Key::Left, Key::ShiftLeft, Key::Right, Key::ShiftRight]);
        assert_eq!(keys("\x1b[5~\x1b[6~\x1b[H\x1b[4~"), [Key::PageUp, Key::PageDown, Key::Home, Key::End]);
        assert_eq!(keys("\x03\x1a\x7f"), [Key::Control('c'), Key::Control('z'), Key::Backspace]);
        assert_eq!(keys("中\x1b"), [Key::Char('中'), Key::Escape]);
        // F1, a mouse, Alt-x.
        assert_eq!(keys("\x1b[[A\x1b[<0;1;1Mq\x1bxr"), [Key::Char('q'), Key::Char('r')]);
    }

    #[test]
    fn what_is_not_complete_is_waited_for() {
        assert_eq!(parse(b"a\x1b", false), (vec![Key::Char('a')], 1));
        assert_eq!(parse(b"\x1b[1;", false), (Vec::new(), 0));
        assert_eq!(parse("中".as_bytes().get(..2).unwrap_or_default(), false), (Vec::new(), 0));
        assert_eq!(parse(b"\x1b[1;", true).1, 4);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, is_all: bool) {
            let (_, used) = parse(&bytes, is_all);
            assert!(used <= bytes.len());
            // Nothing is kept for ever.
            assert!(!is_all || used == bytes.len());
        }
    }
}
