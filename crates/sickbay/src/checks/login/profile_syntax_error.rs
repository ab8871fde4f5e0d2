//! A start-up file that the shell reads only in part.

use sickbay_formats::lines;
use sickbay_formats::shell::ErrorKind;

use crate::facts::Facts;
use crate::facts::login::profile::{EventKind, Profile};
use crate::model::finding::Findings;
use crate::model::outcome::Verdict;
use crate::model::repair::{Change, Risk};
use crate::{check, tr};

check! {
    /// ## What it finds
    /// A syntax error in a file that root's login shell reads: a quote without another, an `if` without `fi`, a `done` that
    /// belongs to nothing.
    ///
    /// ## Why it matters
    /// The shell reads no further: everything from the command with the error to the end of the file, often PATH and
    /// what it takes to find the programs of the machine, is not set.
    ///
    /// ## What the repair does
    /// If risky repairs are accepted: makes comments of the lines that the shell does not read anyway, so that the error is gone
    /// and nothing else changes. Only a person knows what was meant: `bash -n FILE` names the line.
    "profile-syntax-error", Login, seed = ["L5"], proves = [], "the shell reads a start-up file only in part"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let profile = facts.get::<Profile>()?;
    for event in &profile.events {
        let EventKind::Syntax(error) = &event.kind else { continue };
        let file = &event.file;
        let message = match &error.kind {
            ErrorKind::Open(sign) => tr!("{path} has a {sign} that does not end", path = file.path.as_path(), sign),
            ErrorKind::Without(word) => {
                tr!("{path} has a command without its {word}", path = file.path.as_path(), word)
            }
            ErrorKind::Unexpected(word) if word.is_empty() => {
                tr!("{path} ends in the middle of a command", path = file.path.as_path())
            }
            ErrorKind::Unexpected(word) => {
                tr!("{path} has a {word} where none may be", path = file.path.as_path(), word)
            }
        };
        let last = lines::lines(&file.bytes).last().map_or(0, |line| line.number);
        let text = (error.unread_from..=last).fold(file.bytes.clone(), |text, number| {
            let blank = file.line_text(number).trim().is_empty();
            if blank { text } else { lines::with_comment(&text, number) }
        });
        let title =
            tr!("make comments of lines {first} to {last}, which are not read anyway", first = error.unread_from, last);
        found
            .error(message)
            .at(file, event.span)
            .why(tr!("the shell reads nothing of this file from line {line} on", line = error.unread_from))
            .repair(Risk::Risky, title, [Change::edit(file, text)]);
    }
    Ok(())
}
