//! Repairs of shell scripts: what stops them is commented out, or not entered.

use sickbay_formats::shell;

use crate::facts::login::profile::Event;
use crate::model::finding::Finding;
use crate::model::repair::{Change, Risk};
use crate::tr;

/// Offers to take out the command or the loop that an event is about; by hand where it cannot be taken out by its place.
pub fn take_out(finding: &mut Finding, event: &Event) {
    let line = event.span.line;
    if event.one_line {
        let text = shell::without(&event.file.bytes, event.span);
        let title = tr!("comment out the command at line {line}", line);
        finding.repair(Risk::Safe, title, [Change::edit(&event.file, text)]);
    } else if let Some((span, condition)) = event.passed {
        let text = shell::with(&event.file.bytes, span, condition);
        let title = tr!("disable the loop at line {line}", line);
        finding.repair(Risk::Safe, title, [Change::edit(&event.file, text)]);
    } else {
        finding.by_hand(tr!("comment out the lines of this command"));
    }
}
