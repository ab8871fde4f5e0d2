//! The first lines: what is wrong, and who it is.

use ratatui_core::style::{Color, Modifier, Style};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::draw::{Line, Look};
use crate::model::finding::Severity;
use crate::model::text::Text;
use crate::tr;

/// What is wrong at the moment that is shown.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Verdict {
    /// Nobody looked yet.
    #[default]
    Pending,
    /// Nothing.
    Clear,
    /// That, the worst first.
    Found(Vec<(Severity, Text)>),
    /// It could not be told.
    Untold(Text),
}

fn style_of(severity: Severity, look: &Look) -> Style {
    match severity {
        Severity::Critical | Severity::Error => look.hot(),
        Severity::Warning => look.warm().add_modifier(Modifier::BOLD),
        Severity::Note => Style::new(),
    }
}

/// Breaks a text between words, where the screen ends.
pub(super) fn wrapped(text: &str, width: usize, most: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut column = 0;
    let mut word = String::new();
    let is_han = |letter: char| letter.width().is_some_and(|width| width > 1);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        word.push(letter);
        if letter != ' ' && !is_han(letter) && letters.peek().is_some_and(|next| !is_han(*next)) {
            continue;
        }
        let length = word.trim_end().width();
        if column > 0 && column + length > width {
            lines.push(String::new());
            column = 0;
        }
        column += word.width();
        if let Some(line) = lines.last_mut() {
            line.push_str(&word);
        }
        word.clear();
    }
    if lines.len() > most {
        lines.truncate(most);
        if let Some(last) = lines.last_mut() {
            last.push_str("...");
            while last.width() > width && last.len() > 3 {
                // The dots stay.
                let cut = last.trim_end_matches('.').trim_end().to_owned();
                let cut = cut.chars().take(cut.chars().count().saturating_sub(1)).collect::<String>();
                *last = format!("{cut}...");
            }
        }
    }
    lines
}

/// The lines that say it, so many at most.
pub(super) fn lines(verdict: &Verdict, look: &Look, width: u16, most: usize) -> Vec<Line> {
    let one = |text: String, style: Style| vec![vec![(text, style)]];
    let found = match verdict {
        Verdict::Pending => return one(look.say(&tr!("(checking)")), Style::new()),
        Verdict::Clear => {
            let style = if look.colour { Style::new().fg(Color::Green) } else { Style::new() };
            return one(look.say(&tr!("the checks find nothing wrong at this moment")), style);
        }
        Verdict::Untold(why) => return one(format!("? {}", look.say(why)), Style::new()),
        Verdict::Found(found) => found,
    };
    let mut lines = Vec::new();
    for (index, (severity, text)) in found.iter().enumerate() {
        let name = match severity {
            Severity::Critical => tr!("critical"),
            Severity::Error => tr!("error"),
            Severity::Warning => tr!("warning"),
            Severity::Note => tr!("note"),
        };
        let name = look.say(&name);
        let style = style_of(*severity, look);
        // Each of the others has a line, if there is one.
        let others = found.len() - index - 1;
        let own = most.saturating_sub(lines.len()).saturating_sub(others.min(most / 2)).max(1);
        for (line, text) in
            wrapped(&format!("{name}: {}", look.say(text)), usize::from(width), own).into_iter().enumerate()
        {
            let text = if line == 0 { text } else { format!("  {text}") };
            lines.push(vec![(text, style)]);
        }
        if lines.len() >= most {
            break;
        }
    }
    lines.truncate(most);
    lines
}
