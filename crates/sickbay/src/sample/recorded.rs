//! A part of a recording, whoever made it, as a window.

use std::time::Duration;

use jiff::tz::TimeZone;
use sickbay_formats::recording::Kind;
use sickbay_target::Recording;

use super::asked::shown;
use super::{Asked, Window, collected, ring};
use crate::model::text::Text;
use crate::tr;

/// What a recording tells of the machine that it is of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Machine {
    /// Its name.
    pub name: Option<String>,
    /// `uname -r`.
    pub release: Option<String>,
    /// How long it had been up at the end of the window, in seconds.
    pub uptime: Option<f64>,
}

/// A part of a recording.
#[derive(Clone, Debug)]
pub struct Part {
    /// What was asked for of it, at least one sample. [`Window::place`] is the recording itself: there are no files.
    pub window: Window,
    /// Of which machine it is.
    pub machine: Machine,
    /// The first moment of the whole recording and the last, since 1970.
    pub whole: (Duration, Duration),
    /// In which zone its times are told.
    pub zone: TimeZone,
    /// What the user should know: which parts could not be read, what was left out.
    pub remarks: Vec<Text>,
}

/// The part of a recording that is asked for. `zone` is that of this machine, for recordings that do not tell theirs.
///
/// # Errors
/// Why it cannot be had, in a sentence: nothing was recorded then, it is damaged, a newer version made it.
pub fn recorded(recording: &Recording, asked: &Asked, zone: &TimeZone) -> Result<Part, Text> {
    match recording.kind {
        Kind::Ring => {
            // It tells in which zone it was.
            let _ = zone;
            ring::read(recording, asked)
        }
        Kind::Sa | Kind::Text => collected::read(recording, asked, zone),
    }
}

/// Says that nothing was recorded at the time that is asked for.
pub fn nothing_then(
    recording: &Recording,
    range: (Duration, Duration),
    whole: (Duration, Duration),
    zone: &TimeZone,
) -> Text {
    let path = recording.path.as_path();
    let (first, last) = (shown(whole.0, zone), shown(whole.1, zone));
    if range.1 == Duration::MAX {
        return tr!(
            "{path} has nothing from {from} on: it was recorded from {first} to {last}",
            path,
            from = shown(range.0, zone),
            first,
            last
        );
    }
    tr!(
        "{path} has nothing from {from} to {to}: it was recorded from {first} to {last}",
        path,
        from = shown(range.0, zone),
        to = shown(range.1, zone),
        first,
        last
    )
}
