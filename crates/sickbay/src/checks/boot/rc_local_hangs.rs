//! The last script of the boot never ends.

use sickbay_formats::shell;

use crate::check::Verdict;
use crate::facts::Facts;
use crate::facts::profile::{EventKind, RcLocal};
use crate::finding::Findings;
use crate::proof::Stage;
use crate::repair::{Change, Risk};
use crate::{check, tr};

check! {
    /// ## What it finds
    /// An `/etc/rc.local` (`/etc/rc.d/rc.local`, SUSE's `boot.local`) that may be executed and does not come to its end: a loop
    /// without an end, a `sleep` of ten minutes or more, a script that sources itself, or `reboot` and the like. Only what
    /// happens for sure counts, and what is put into the background with `&` does not.
    ///
    /// ## Why it matters
    /// No console gets a prompt before it has ended: systemd starts every getty after `rc-local.service`, for which it waits
    /// without a limit, and sysvinit comes to its gettys only after the last script. A `reboot` in it makes the machine start
    /// for ever.
    ///
    /// ## What the repair does
    /// Puts `:`, which does nothing, in the place of the command, and keeps the line as a comment. For a loop the script loses
    /// the right to be executed, which is risky, since what else it does is not done any more. By hand: end the line in `&`,
    /// or make a unit of it (`Restart=always`); `chmod -x /etc/rc.local` keeps all of it from running.
    "rc-local-hangs", Boot, seed = ["B11"], proves = [Services], "the last script of the boot never ends"
}

/// Whoever waits longer for a prompt takes the machine for dead.
const PATIENCE: u64 = 600;

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let RcLocal(script) = &*facts.get::<RcLocal>()?;
    if let Some(why) = &script.untold {
        found.could_not_tell(why.clone());
    }
    for event in &script.events {
        let path = event.file.path.as_path();
        let message = match &event.kind {
            EventKind::Loop(_) | EventKind::Shells => tr!("{path} runs itself without an end", path),
            EventKind::Endless => tr!("{path} has a loop without an end", path),
            EventKind::Sleeps(u64::MAX) => tr!("{path} sleeps for ever", path),
            EventKind::Sleeps(seconds) if *seconds >= PATIENCE => tr!("{path} sleeps for {seconds} s", path, seconds),
            EventKind::Down => tr!("{path} shuts the machine down", path),
            // Its input is empty, and what ends a login ends only the script.
            _ => continue,
        };
        let finding = found.critical(message);
        finding.at(&event.file, event.span).stops(Stage::Services).why(match &event.kind {
            EventKind::Down => tr!("every start ends there"),
            _ => tr!("no console gets a prompt before this script has ended"),
        });
        let mode = facts.root().metadata(path)?.mode;
        if event.one_line {
            let text = shell::without(&event.file.bytes, event.span);
            let title = tr!("make the command of line {line} a comment", line = event.span.line);
            finding.repair(Risk::Safe, title, [Change::edit(&event.file, text)]);
        } else {
            let title = tr!("take the right to be executed from {path}", path);
            let change = Change::Mode { path: path.to_owned(), before: mode, after: mode & !0o111 };
            finding.repair(Risk::Risky, title, [change]);
        }
    }
    Ok(())
}
