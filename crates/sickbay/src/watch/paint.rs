//! What a screen shows → the bytes with which a terminal shows it: of what was there before only what is another now.
//!
//! Nothing but what every terminal since the VT100 knows: positions, bold, reverse, and the eight colours where they are wanted.

use std::fmt::Write as _;

use ratatui_core::buffer::Buffer;
use ratatui_core::style::{Color, Modifier};

/// The bytes.
pub fn changes(before: &Buffer, now: &Buffer) -> Vec<u8> {
    let mut out = String::new();
    let area = now.area();
    let is_whole = before.area() != area;
    if is_whole {
        out.push_str("\x1b[0m\x1b[2J");
    }
    let blank = Buffer::empty(*area);
    let before = if is_whole { &blank } else { before };
    let mut next = None;
    let mut pen = (Color::Reset, Modifier::empty());
    let mut is_set = false;
    for (x, y, cell) in before.diff_iter(now) {
        // What is written in the last corner moves the whole screen on some terminals.
        if y + 1 == area.height && x + 1 == area.width {
            continue;
        }
        if next != Some((x, y)) {
            match between(now, next, (x, y), pen) {
                Some(same) => out.push_str(&same),
                None => drop(write!(out, "\x1b[{};{}H", y + 1, x + 1)),
            }
        }
        if !is_set || pen != (cell.fg, cell.modifier) {
            pen = (cell.fg, cell.modifier);
            is_set = true;
            out.push_str("\x1b[0");
            if pen.1.contains(Modifier::BOLD) {
                out.push_str(";1");
            }
            if pen.1.contains(Modifier::REVERSED) {
                out.push_str(";7");
            }
            let colour = match pen.0 {
                Color::Red => Some(31),
                Color::Green => Some(32),
                Color::Yellow => Some(33),
                Color::Cyan => Some(36),
                _ => None,
            };
            if let Some(colour) = colour {
                let _ = write!(out, ";{colour}");
            }
            out.push('m');
        }
        out.push_str(cell.symbol());
        // A wide letter, or one that a terminal takes for wide: where the next begins is said anew.
        next = cell.symbol().is_ascii().then_some((x + 1, y)).filter(|(x, _)| *x < area.width);
    }
    if is_set {
        out.push_str("\x1b[0m");
    }
    out.into_bytes()
}

/// So many cells that are as they were cost less than a jump over them.
const NEAR: u16 = 6;

/// The cells up to that one, if they are written soonest by writing them again.
fn between(now: &Buffer, next: Option<(u16, u16)>, to: (u16, u16), pen: (Color, Modifier)) -> Option<String> {
    let (from, row) = next?;
    if row != to.1 || from > to.0 || to.0 - from > NEAR {
        return None;
    }
    let mut same = String::new();
    for x in from..to.0 {
        let cell = now.cell((x, row)).filter(|cell| cell.symbol().is_ascii() && (cell.fg, cell.modifier) == pen)?;
        same.push_str(cell.symbol());
    }
    Some(same)
}

#[cfg(test)]
mod tests {
    use ratatui_core::layout::Rect;
    use ratatui_core::style::Style;

    use super::*;

    fn buffer(text: &str) -> Buffer {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 10, 2));
        buffer.set_string(0, 0, text, Style::new());
        buffer
    }

    #[test]
    fn only_what_is_another() {
        let shown = |before: &Buffer, now: &Buffer| String::from_utf8(changes(before, now)).expect("text");
        assert_eq!(shown(&buffer("load 1.02"), &buffer("load 1.02")), "");
        assert_eq!(shown(&buffer("load 1.02"), &buffer("load 1.37")), "\x1b[1;8H\x1b[0m37\x1b[0m");
        // One cell between two is written again; seven are not.
        assert_eq!(shown(&buffer("load 1.02"), &buffer("load 2.03")), "\x1b[1;6H\x1b[0m2.03\x1b[0m");
        assert_eq!(shown(&buffer("load 1.02"), &buffer("Load 1.03")), "\x1b[1;1H\x1b[0mL\x1b[1;9H3\x1b[0m");
        let mut red = buffer("load 1.02");
        red.set_string(5, 0, "9", Style::new().fg(Color::Red).add_modifier(Modifier::BOLD));
        assert_eq!(shown(&buffer("load 1.02"), &red), "\x1b[1;6H\x1b[0;1;31m9\x1b[0m");
        // Of another size, all of it; a wide letter has two columns.
        let small = Buffer::empty(Rect::new(0, 0, 4, 1));
        assert_eq!(shown(&small, &buffer("中a")), "\x1b[0m\x1b[2J\x1b[1;1H\x1b[0m中\x1b[1;3Ha\x1b[0m");
    }

    #[test]
    fn the_last_corner_is_left_alone() {
        let mut full = Buffer::empty(Rect::new(0, 0, 3, 1));
        full.set_string(0, 0, "abc", Style::new());
        let shown = changes(&Buffer::empty(Rect::new(0, 0, 3, 1)), &full);
        assert_eq!(shown, b"\x1b[1;1H\x1b[0mab\x1b[0m");
    }
}
