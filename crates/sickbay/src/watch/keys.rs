//! What a key asks for: a function of what is on the screen.

use sickbay_formats::keys::Key;

use crate::model::text::Text;
use crate::sample::When;
use crate::tr;

/// What lies upon the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Page {
    /// Which key does what.
    Help,
    /// Lines, of which that one is the first that is seen.
    Lines(Vec<String>, usize),
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// The end.
    Quit,
    /// So many samples on, or back.
    Step(i32),
    /// So many seconds on, or back.
    Shift(i32),
    /// A moment.
    Jump(When),
    /// The next stretch in which something is found, or the one before.
    Anomaly {
        /// The next.
        is_next: bool,
    },
    /// What was found, in full.
    Finding,
    /// The first moment that there is.
    First,
    /// The last: now.
    Last,
    /// Stand still, or go on.
    Pause,
    /// What takes long shall end.
    Cancel,
    /// Stop as by a shell.
    Stop,
    /// Draw all of it again.
    Redraw,
}

/// What is on the screen beside the numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// What is being typed.
    pub prompt: Option<String>,
    /// What lies upon it.
    pub page: Option<Page>,
    /// What was said last.
    pub message: Option<Text>,
}

/// A moment is no longer to write.
const TYPED: usize = 40;

impl State {
    /// A key on a screen of so many lines.
    pub fn press(&mut self, key: Key, height: usize) -> Option<Wish> {
        match key {
            Key::Control('c' | 'd') => return Some(Wish::Quit),
            Key::Control('z') => return Some(Wish::Stop),
            Key::Control('l') => return Some(Wish::Redraw),
            _ => {}
        }
        self.message = None;
        if self.prompt.is_some() {
            return self.write(key);
        }
        if self.page.is_some() {
            self.turn(key, height.saturating_sub(2).max(1));
            return None;
        }
        Some(match key {
            Key::Char('q') => Wish::Quit,
            Key::Left | Key::Char('h') => Wish::Step(-1),
            Key::Right | Key::Char('l') => Wish::Step(1),
            Key::ShiftLeft | Key::Char('[') | Key::PageUp => Wish::Shift(-60),
            Key::ShiftRight | Key::Char(']') | Key::PageDown => Wish::Shift(60),
            Key::Char('{') => Wish::Shift(-3600),
            Key::Char('}') => Wish::Shift(3600),
            Key::Char('n') => Wish::Anomaly { is_next: true },
            Key::Char('N' | 'p') => Wish::Anomaly { is_next: false },
            Key::Enter | Key::Char('f') => Wish::Finding,
            Key::Char(' ') => Wish::Pause,
            Key::Home | Key::Char('g') => Wish::First,
            Key::End | Key::Char('G') => Wish::Last,
            Key::Escape => Wish::Cancel,
            Key::Char('t') => {
                self.prompt = Some(String::new());
                return None;
            }
            Key::Char('?') => {
                self.page = Some(Page::Help);
                return None;
            }
            _ => return None,
        })
    }

    fn write(&mut self, key: Key) -> Option<Wish> {
        let typed = self.prompt.as_mut()?;
        match key {
            Key::Char(letter) if typed.chars().count() < TYPED => typed.push(letter),
            Key::Backspace => drop(typed.pop()),
            Key::Escape => self.prompt = None,
            Key::Enter => {
                let typed = self.prompt.take().unwrap_or_default();
                if typed.trim().is_empty() {
                    return None;
                }
                match When::parse(&typed) {
                    Some(when) => return Some(Wish::Jump(when)),
                    None => {
                        self.message = Some(tr!(
                            "{text} is not a moment: '2018-06-12 10:36', 10:36, -10m, or seconds since 1970",
                            text = typed
                        ));
                    }
                }
            }
            _ => {}
        }
        None
    }

    fn turn(&mut self, key: Key, height: usize) {
        let Some(Page::Lines(lines, top)) = &mut self.page else {
            self.page = None;
            return;
        };
        let last = lines.len().saturating_sub(height);
        *top = match key {
            Key::Up | Key::Char('k') => top.saturating_sub(1),
            Key::Down | Key::Char('j') => top.saturating_add(1),
            Key::PageUp => top.saturating_sub(height),
            Key::PageDown | Key::Char(' ') => top.saturating_add(height),
            Key::Home => 0,
            Key::End => last,
            Key::Escape | Key::Enter | Key::Char('q' | 'f') | Key::Left => {
                self.page = None;
                return;
            }
            _ => *top,
        }
        .min(last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(state: &mut State, text: &str) -> Option<Wish> {
        text.chars().fold(None, |_, letter| state.press(Key::Char(letter), 24))
    }

    #[test]
    fn a_moment_is_typed() {
        let mut state = State::default();
        assert_eq!(typed(&mut state, "t10:3x"), None);
        assert_eq!(state.press(Key::Backspace, 24), None);
        assert_eq!((typed(&mut state, "6"), state.prompt.as_deref()), (None, Some("10:36")));
        assert_eq!(state.press(Key::Enter, 24), When::parse("10:36").map(Wish::Jump));
        assert_eq!(typed(&mut state, "tq"), None);
        assert_eq!(state.press(Key::Enter, 24), None);
        assert!(state.message.is_some() && state.prompt.is_none());
        // What is said goes with the next key.
        assert_eq!(state.press(Key::Left, 24), Some(Wish::Step(-1)));
        assert_eq!(state.message, None);
        assert_eq!((typed(&mut state, "t"), state.press(Key::Escape, 24), state.prompt), (None, None, None));
    }

    #[test]
    fn a_page_is_read_and_left() {
        let lines: Vec<String> = (0..50).map(|line| line.to_string()).collect();
        let mut state = State { page: Some(Page::Lines(lines, 0)), ..State::default() };
        let top = |state: &State| if let Some(Page::Lines(_, top)) = state.page { Some(top) } else { None };
        for (key, at) in [(Key::Down, 1), (Key::PageDown, 23), (Key::PageDown, 28), (Key::PageUp, 6), (Key::Home, 0)] {
            assert_eq!((state.press(key, 24), top(&state)), (None, Some(at)));
        }
        // It is left, and nothing else ends.
        assert_eq!((state.press(Key::Char('q'), 24), top(&state)), (None, None));
        assert_eq!(state.press(Key::Char('q'), 24), Some(Wish::Quit));
        assert_eq!((state.press(Key::Char('?'), 24), state.page.clone()), (None, Some(Page::Help)));
        assert_eq!((state.press(Key::Char('x'), 24), state.page), (None, None));
        assert_eq!(State::default().press(Key::Control('c'), 24), Some(Wish::Quit));
    }
}
