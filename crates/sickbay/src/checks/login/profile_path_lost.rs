//! PATH leads to no command after login.

use sickbay_formats::shell;

use crate::facts::Facts;
use crate::facts::login::profile::{EventKind, Profile};
use crate::model::finding::Findings;
use crate::model::outcome::Verdict;
use crate::model::repair::{Change, Risk};
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: a prompt, and "bash: ls: command not found" for every command.
    ///
    /// ## What it finds
    /// A start-up file that sets PATH, unconditionally and permanently, to something with neither `/usr/bin` nor `/bin`
    /// in it: empty, unset, only one other directory, or `PATH` where `$PATH` was intended.
    ///
    /// ## Why it matters
    /// root gets a prompt, and every command is "not found".
    ///
    /// ## What the repair does
    /// Writes `$PATH` where `PATH` was written by mistake, otherwise replaces the command with `:` and keeps the line
    /// as a comment.
    ///
    /// ## By hand
    /// ```sh
    /// # then correct the line
    /// export PATH=/usr/sbin:/usr/bin:/sbin:/bin
    /// ```
    "profile-path-lost", Login, seed = ["L5"], proves = [], "PATH finds no commands after login"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let profile = facts.get::<Profile>()?;
    for event in &profile.events {
        let EventKind::PathLost(value) = &event.kind else { continue };
        let message = match value.as_str() {
            "" => tr!("{path} empties PATH", path = event.file.path.as_path()),
            value => tr!("{path} sets PATH to {value}", path = event.file.path.as_path(), value),
        };
        let finding = found.error(message);
        finding.at(&event.file, event.span).why(tr!("after login no command is found, except by its full path"));
        let misspelt = value.split(':').any(|entry| entry == "PATH");
        if misspelt {
            let text = event.file.line_text(event.span.line);
            let after = text.replace("=PATH:", "=$PATH:").replace(":PATH", ":$PATH");
            let text =
                sickbay_formats::lines::with_line(&event.file.bytes, event.span.line, |_| Some(after.into_bytes()));
            finding.repair(Risk::Safe, tr!("write $PATH instead of PATH"), [Change::edit(&event.file, text)]);
        } else if event.one_line {
            let text = shell::without(&event.file.bytes, event.span);
            let title = tr!("comment out the command at line {line}", line = event.span.line);
            finding.repair(Risk::Safe, title, [Change::edit(&event.file, text)]);
        } else {
            finding.by_hand(tr!("comment out the lines of this command"));
        }
    }
    Ok(())
}
