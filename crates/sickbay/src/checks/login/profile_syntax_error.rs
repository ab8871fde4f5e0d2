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
    /// ## Symptom
    /// You see: "bash: /etc/profile: line 12: unexpected EOF while looking for matching
    /// `\"'" or "syntax error near unexpected token" at login, and commands that are not found.
    ///
    /// ## What it finds
    /// A syntax error in a file that root's login shell reads: an unclosed quote, an `if` without `fi`, a stray `done`.
    ///
    /// ## Why it matters
    /// The shell stops reading there: everything from the command with the error to the end of the file, often PATH and
    /// other settings that the machine's programs need, is not set.
    ///
    /// ## What the repair does
    /// If risky repairs are accepted: comments out the lines that the shell does not read anyway, so that the error is
    /// gone and nothing else changes. Only a person knows what was intended.
    ///
    /// ## By hand
    /// ```sh
    /// # names the line
    /// bash -n FILE
    /// ```
    "profile-syntax-error", Login, seed = ["L5"], proves = [], "the shell reads only part of a start-up file"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let profile = facts.get::<Profile>()?;
    for event in &profile.events {
        let EventKind::Syntax(error) = &event.kind else { continue };
        let file = &event.file;
        let message = match &error.kind {
            ErrorKind::Open(sign) => tr!("{path} has an unclosed {sign}", path = file.path.as_path(), sign),
            ErrorKind::Without(word) => {
                tr!("{path} has a command without its {word}", path = file.path.as_path(), word)
            }
            ErrorKind::Unexpected(word) if word.is_empty() => {
                tr!("{path} ends in the middle of a command", path = file.path.as_path())
            }
            ErrorKind::Unexpected(word) => {
                tr!("{path} has a misplaced {word}", path = file.path.as_path(), word)
            }
        };
        let last = lines::lines(&file.bytes).last().map_or(0, |line| line.number);
        let text = (error.unread_from..=last).fold(file.bytes.clone(), |text, number| {
            let blank = file.line_text(number).trim().is_empty();
            if blank { text } else { lines::with_comment(&text, number) }
        });
        let title =
            tr!("comment out lines {first} to {last}, which are not read anyway", first = error.unread_from, last);
        found
            .error(message)
            .at(file, event.span)
            .why(tr!("the shell reads nothing of this file from line {line} on", line = error.unread_from))
            .repair(Risk::Risky, title, [Change::edit(file, text)]);
    }
    Ok(())
}
