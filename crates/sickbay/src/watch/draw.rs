//! The screen: what there is to tell, in the room that there is.

use std::time::Duration;

use jiff::tz::TimeZone;
use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;
use ratatui_core::style::{Color, Modifier, Style};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::keys::{Page, State};
use super::scene::Scene;
use super::tables::Section;
use super::verdict::{self, Verdict};
use super::{headlines, tables};
use crate::model::text::{Lang, Text};
use crate::report::text::{Style as Report, printable};
use crate::sample::asked::shown;
use crate::tr;

/// What a screen can show, and in which language.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// The user's language.
    pub lang: Lang,
    /// With colours.
    pub colour: bool,
    /// Nothing but ASCII.
    pub ascii: bool,
}

/// A piece of a line.
pub type Piece = (String, Style);

/// A line.
pub type Line = Vec<Piece>;

impl Look {
    /// A text as this screen can show it.
    pub fn say(&self, text: &Text) -> String {
        self.plain(&text.render(self.lang))
    }

    /// The same of what is nobody's to translate: of a name that a stranger chose nothing reaches the terminal that it obeys.
    pub fn plain(&self, text: &str) -> String {
        let report = Report { lang: self.lang, colour: false, ascii: self.ascii, width: None, verbose: false };
        let text = report.shown(&printable(text));
        let is_seen = |letter: char| letter.width().is_some_and(|width| width > 0);
        let letter = |letter: char| match is_seen(letter) && (!self.ascii || letter.is_ascii()) {
            true => letter,
            false => '?',
        };
        text.chars().map(letter).collect()
    }

    /// What is worth a look.
    pub fn hot(&self) -> Style {
        let style = Style::new().add_modifier(Modifier::BOLD);
        if self.colour { style.fg(Color::Red) } else { style }
    }

    /// What may be.
    pub fn warm(&self) -> Style {
        if self.colour { Style::new().fg(Color::Yellow) } else { Style::new() }
    }

    /// A heading.
    pub fn head(&self) -> Style {
        let style = Style::new().add_modifier(Modifier::BOLD);
        if self.colour { style.fg(Color::Cyan) } else { style }
    }
}

/// Which moment it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Now, and going on.
    Live,
    /// Standing still, so much before now.
    Back(Duration),
    /// Of a recording.
    Past,
}

/// All that is drawn.
#[derive(Clone, Debug)]
pub struct Shown<'a> {
    /// The moment.
    pub scene: &'a Scene,
    /// What is wrong.
    pub verdict: &'a Verdict,
    /// Which moment it is.
    pub mode: Mode,
    /// Of which machine.
    pub host: &'a str,
    /// From when to when there is something.
    pub whole: Option<(Duration, Duration)>,
    /// In which zone times are told.
    pub zone: &'a TimeZone,
    /// What takes a while, and is being done.
    pub doing: Option<&'a Text>,
    /// The rest.
    pub state: &'a State,
}

/// Smaller ones show nothing of use.
const LEAST: (u16, u16) = (40, 8);

/// From so many columns on there is room for two columns of tables.
const WIDE: u16 = 150;

/// Draws it.
pub fn draw(shown: &Shown<'_>, look: &Look, (width, height): (u16, u16)) -> Buffer {
    let mut buffer = Buffer::empty(Rect::new(0, 0, width.min(1000), height.min(1000)));
    let Rect { width, height, .. } = *buffer.area();
    if width < LEAST.0 || height < LEAST.1 {
        let text = look.say(&tr!("{width}x{height} is too small: 80x24", width, height));
        write(&mut buffer, 0, 0, width, &vec![(text, Style::new())]);
        return buffer;
    }
    let last = height - 1;
    title(&mut buffer, shown, look);
    match &shown.state.page {
        Some(Page::Help) => {
            for (y, line) in (2..last).zip(help(look)) {
                write(&mut buffer, 1, y, width - 1, &line);
            }
        }
        Some(Page::Lines(lines, top)) => {
            for (y, line) in (1..last).zip(lines.iter().skip(*top)) {
                write(&mut buffer, 0, y, width, &vec![(look.plain(line), Style::new())]);
            }
        }
        None => body(&mut buffer, shown, look),
    }
    footer(&mut buffer, shown, look, last);
    buffer
}

/// Writes a line, cut where there is no more room.
fn write(buffer: &mut Buffer, x: u16, y: u16, end: u16, line: &Line) -> u16 {
    let mut at = x;
    for (text, style) in line {
        let room = usize::from(end.saturating_sub(at));
        if room == 0 {
            break;
        }
        (at, _) = buffer.set_stringn(at, y, text, room, *style);
    }
    at
}

fn title(buffer: &mut Buffer, shown: &Shown<'_>, look: &Look) {
    let width = buffer.area().width;
    let bar = Style::new().add_modifier(Modifier::REVERSED);
    buffer.set_style(Rect::new(0, 0, width, 1), bar);
    let time = match shown.scene.at.is_zero() {
        true => "-".to_owned(),
        false => self::shown(shown.scene.at, shown.zone),
    };
    let mode = match shown.mode {
        Mode::Live => tr!("live"),
        Mode::Back(back) => tr!("{seconds} s before now", seconds = back.as_secs()),
        Mode::Past => tr!("recorded"),
    };
    let cpus = shown.scene.cpus.map_or_else(|| "?".to_owned(), |cpus| cpus.to_string());
    let mut left = format!(" {}  {time}  {}", look.plain(shown.host), look.say(&mode));
    if let Some((from, to)) = shown.whole.filter(|_| width >= 110) {
        let (from, to) = (self::shown(from, shown.zone), self::shown(to, shown.zone));
        left.push_str(&format!("  {}", look.say(&tr!("(from {from} to {to})", from, to))));
    }
    let right = look.say(&tr!("{cpus} CPUs", cpus)) + " ";
    write(buffer, 0, 0, width, &vec![(left, bar)]);
    let at = width.saturating_sub(u16::try_from(right.width()).unwrap_or(0));
    write(buffer, at, 0, width, &vec![(right, bar)]);
}

fn footer(buffer: &mut Buffer, shown: &Shown<'_>, look: &Look, y: u16) {
    let width = buffer.area().width;
    let state = shown.state;
    let line = match (&state.prompt, &state.message, shown.doing) {
        (Some(typed), ..) => {
            let text = look.say(&tr!("go to (10:36, 2018-06-12 10:36, -10m):"));
            vec![(format!("{text} {}", look.plain(typed)), look.head()), ("_".to_owned(), Style::new())]
        }
        (None, Some(message), _) => vec![(look.say(message), look.warm().add_modifier(Modifier::BOLD))],
        (None, None, Some(doing)) => vec![(look.say(doing), look.head())],
        (None, None, None) => {
            let keys = match (&state.page, shown.mode) {
                (Some(Page::Help), _) => tr!("any key: back"),
                (Some(_), _) => tr!("up/down: read on  Esc: back"),
                (None, Mode::Live) => {
                    tr!("q quit  ? help  space pause  left: back  t time  n/N anomaly  Enter: finding")
                }
                (None, Mode::Back(_)) => {
                    tr!("q quit  ? help  left/right  [ ] minute  t time  n/N anomaly  Enter  End: now")
                }
                (None, Mode::Past) => {
                    tr!("q quit  ? help  left/right  [ ] minute  t time  n/N anomaly  Enter: finding")
                }
            };
            vec![(look.say(&keys), Style::new())]
        }
    };
    write(buffer, 0, y, width, &line);
}

fn help(look: &Look) -> Vec<Line> {
    let keys = [
        ("q, Ctrl-C", tr!("quit")),
        ("Left, Right", tr!("one sample back or on")),
        ("[ ], Shift-Left/Right", tr!("a minute back or on")),
        ("{ }", tr!("an hour back or on")),
        ("t", tr!("go to a moment: 10:36, 2018-06-12 10:36, -10m")),
        ("n, N", tr!("the next, or previous, time the checks find something")),
        ("Enter, f", tr!("what was found, with evidence and remedy")),
        ("space", tr!("pause, or go on")),
        ("Home, End", tr!("the first moment, the last: now")),
        ("Esc", tr!("stop searching; close a page")),
        ("Ctrl-L, Ctrl-Z", tr!("redraw; suspend")),
    ];
    let mut lines: Vec<Line> = Vec::new();
    for (key, what) in keys {
        lines.push(vec![(format!("{key:<24}"), look.head()), (look.say(&what), Style::new())]);
    }
    lines.push(Vec::new());
    for text in [
        tr!("R runs or waits for a CPU, D waits uninterruptibly: both are load."),
        tr!("- is what this kernel does not tell, or nobody looked at: it is not 0."),
        tr!("CPU is in CPUs: 1.00 is one CPU in full. Rates are a second."),
    ] {
        lines.push(vec![(look.say(&text), Style::new())]);
    }
    lines
}

fn body(buffer: &mut Buffer, shown: &Shown<'_>, look: &Look) {
    let Rect { width, height, .. } = *buffer.area();
    let last = height - 1;
    let most = match height {
        40.. => 4,
        20..40 => 3,
        _ => 2,
    };
    let mut y = 1;
    for line in verdict::lines(shown.verdict, look, width.saturating_sub(2), most) {
        write(buffer, 0, y, width, &line);
        y += 1;
    }
    for line in headlines::headlines(shown.scene, look, width) {
        if y < last {
            write(buffer, 0, y, width, &line);
            y += 1;
        }
    }
    let room = usize::from(last.saturating_sub(y));
    if width >= WIDE {
        let half = (width - 2) / 2;
        let (left, right) = tables::both(shown.scene, look, half);
        stacked(buffer, (0, y, half), &left, room);
        stacked(buffer, (half + 2, y, width), &right, room);
    } else {
        let (mut all, rest) = tables::both(shown.scene, look, width);
        all.extend(rest);
        stacked(buffer, (0, y, width), &all, room);
    }
}

/// Tables one below the other; those with more to see have more of the room.
fn stacked(buffer: &mut Buffer, (x, mut y, end): (u16, u16, u16), sections: &[Section], room: usize) {
    let given = shared(sections, room);
    for (section, rows) in sections.iter().zip(given) {
        if rows == 0 {
            continue;
        }
        for line in std::iter::once(&section.head).chain(section.rows.iter().take(rows - 1)) {
            write(buffer, x, y, end, line);
            y += 1;
        }
    }
}

/// How many lines each has, its heading too. The heaviest come first to their own.
fn shared(sections: &[Section], room: usize) -> Vec<usize> {
    let mut given = vec![0_usize; sections.len()];
    let mut left = room;
    let mut order: Vec<usize> = (0..sections.len()).collect();
    let weight = |index: &usize| sections.get(*index).map_or(0.0, |section| section.weight);
    order.sort_by(|one, other| weight(other).total_cmp(&weight(one)));
    for index in &order {
        // A heading without a row says nothing.
        let rows = sections.get(*index).map_or(0, |section| section.rows.len());
        if let Some(own) = given.get_mut(*index).filter(|_| left >= 2 && rows > 0) {
            *own = 2;
            left -= 2;
        }
    }
    while left > 0 {
        let wants = |index: &&usize| {
            let own = given.get(**index).copied().unwrap_or(0);
            own > 0 && sections.get(**index).is_some_and(|section| section.rows.len() + 1 > own)
        };
        let hunger = |index: &usize| weight(index) / given.get(*index).copied().unwrap_or(1).max(1) as f64;
        let next = order.iter().filter(wants).max_by(|one, other| hunger(one).total_cmp(&hunger(other))).copied();
        let Some(own) = next.and_then(|index| given.get_mut(index)) else { break };
        *own += 1;
        left -= 1;
    }
    given
}
