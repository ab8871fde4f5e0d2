//! A start-up file of root's shell that no login comes past.

use crate::facts::Facts;
use crate::facts::login::profile::{EventKind, Profile};
use crate::mend::script::take_out;
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::model::stage::Stage;
use crate::model::text::Text;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: the password is accepted, and then nothing, or the connection closes; or "Argument list too long" for
    /// every command. Ctrl-C may still get you a prompt.
    ///
    /// ## What it finds
    /// In the files that a login shell of root reads (`/etc/profile`, `/etc/profile.d`, bashrc, `~/.bash_profile`,
    /// `~/.profile` and everything they source): files that source themselves or each other endlessly, `exit`, `exec`
    /// of something that ends at once or does not exist, `kill -9 $$`, a shell that starts itself again, endless loops, long sleeps,
    /// programs that never exit (`tail -f`), `read` and others that wait for input, `set -e`, a `TMOUT` of a few
    /// seconds, `reboot`, an exported variable longer than the kernel passes to a program (128 KiB with pages of 4
    /// KiB). Only what is certain to happen counts: a command behind a condition that cannot be evaluated, such as a
    /// guard variable or a test for tmux, is not a finding.
    ///
    /// ## Why it matters
    /// The password is right, and then nothing comes, or the connection closes. A profile that sources itself makes
    /// PATH longer each time, until every command fails with "Argument list too long".
    ///
    /// ## What the repair does
    /// Replaces the command with `:`, which does nothing, or disables the loop with a condition, and keeps the line as
    /// a comment.
    ///
    /// ## By hand
    /// ```sh
    /// # or boot with init=/bin/bash; then comment out the line
    /// ssh HOST /bin/bash --noprofile --norc
    /// ```
    "profile-stops-login", Login, seed = ["L5", "C4", "B11"], proves = [Profile], "a shell start-up file stops the login"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let profile = facts.get::<Profile>()?;
    if let Some(why) = &profile.untold {
        found.could_not_tell(why.clone());
    }
    for event in &profile.events {
        let path = event.file.path.as_path();
        let Some((severity, message, why)) = say(&event.kind, path) else { continue };
        let finding = found.add(severity, message);
        finding.at(&event.file, event.span).why(why);
        if let EventKind::Loop(ring) = &event.kind {
            ring.iter().filter(|other| *other != path).for_each(|other| {
                finding.at_path(other);
            });
        }
        // An old error that waits for a command to fail stops nobody by itself.
        if event.kind != EventKind::ErrorsEnd {
            finding.stops(Stage::Profile);
        }
        take_out(finding, event);
    }
    Ok(())
}

fn say(kind: &EventKind, path: &std::path::Path) -> Option<(Severity, Text, Text)> {
    use Severity::{Critical, Error};
    Some(match kind {
        EventKind::Loop(ring) if ring.len() < 2 => (
            Critical,
            tr!("{path} sources itself endlessly", path),
            tr!("the login hangs, and its environment grows until no command can be started"),
        ),
        EventKind::Loop(ring) => (
            Critical,
            tr!(
                "{path} sources {other}, which sources it, endlessly",
                path,
                other = ring.first().cloned().unwrap_or_default()
            ),
            tr!("the login hangs, and its environment grows until no command can be started"),
        ),
        EventKind::Shells => (
            Critical,
            tr!("{path} starts a shell that reads it again, endlessly", path),
            tr!("the login hangs, and shells pile up"),
        ),
        EventKind::Endless => {
            (Critical, tr!("{path} has an endless loop", path), tr!("the login hangs before the prompt"))
        }
        EventKind::Ends => (Critical, tr!("{path} exits the shell", path), tr!("every login is closed at once")),
        EventKind::ExecGone(program) => (
            Critical,
            tr!("{path} replaces the shell with {program}, which does not exist", path, program = program.as_path()),
            tr!("every login is closed at once"),
        ),
        EventKind::Down => {
            (Critical, tr!("{path} shuts the machine down", path), tr!("every login shuts the machine down"))
        }
        EventKind::Waits => {
            (Error, tr!("{path} waits for input", path), tr!("the login seems to hang, and copying over ssh fails"))
        }
        EventKind::Serves(program) => (
            Critical,
            tr!("{path} waits for {program}, which never exits", path, program),
            tr!("the login hangs before the prompt"),
        ),
        EventKind::Sleeps(seconds) if *seconds == u64::MAX => {
            (Critical, tr!("{path} sleeps forever", path), tr!("the login hangs before the prompt"))
        }
        EventKind::Sleeps(seconds) => {
            (Error, tr!("{path} sleeps for {seconds} s", path, seconds), tr!("the login seems to hang"))
        }
        EventKind::TooLong(name, length) => (
            Critical,
            tr!("{path} makes {name} at least {length} bytes long", path, name, length),
            tr!("no program can be started with it in the environment: Argument list too long"),
        ),
        EventKind::ErrorsEnd => (
            Error,
            tr!("{path} sets -e for the login shell", path),
            tr!("the first command that fails closes the session"),
        ),
        EventKind::TimesOut(seconds) => (
            Error,
            tr!("{path} exits the shell after {seconds} s without input", path, seconds),
            tr!("nobody types that fast"),
        ),
        EventKind::PathLost(_) | EventKind::Syntax(_) => return None,
    })
}
