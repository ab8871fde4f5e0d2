//! `/etc/nologin`, which keeps everybody but root out.

use sickbay_formats::accounts::{Kind, Password};

use crate::facts::Facts;
use crate::facts::login::accounts::{Accounts, Users};
use crate::facts::login::ssh_keys::Keys;
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::model::repair::{Change, Risk};
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "System is going down. Unprivileged users are not permitted to log in anymore." or another text, and
    /// the connection closes. root can log in.
    ///
    /// ## What it finds
    /// The file `/etc/nologin`, or `/run/nologin` on a system that is not running.
    ///
    /// ## Why it matters
    /// While it exists only root can log in (nologin(5)); everyone else is shown its text and disconnected. systemd
    /// creates `/run/nologin` early in a boot and at shutdown and removes it itself; `/etc/nologin` stays until
    /// somebody removes it.
    ///
    /// ## What the repair does
    /// Removes the file, if risky repairs are accepted: it may be there for maintenance.
    ///
    /// ## By hand
    /// ```sh
    /// rm ROOT/etc/nologin
    /// ```
    "nologin-file", Login, seed = ["L2"], proves = [], "a nologin file keeps out everyone but root"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let users = facts.get::<Users>()?;
    let accounts = facts.get::<Accounts>();
    // Somebody who could come in but for the file; who may not read the passwords takes it that one has one.
    let concerned = users.parsed(Kind::Passwd).good().any(|entry| {
        let locked_shell = [&b"nologin"[..], b"false", b"sync", b"halt", b"shutdown"];
        let shell = entry.field(6);
        let hash = accounts.as_ref().map_or(true, |accounts| accounts.password(entry) == Password::Hash);
        entry.number(2) != Some(0)
            && !locked_shell.iter().any(|name| shell.ends_with(name))
            && (hash || Keys::of(facts, entry).free)
    });
    // On a running machine systemd's file in /run may be seconds old.
    let paths: &[&str] = if facts.runs() { &["/etc/nologin"] } else { &["/etc/nologin", "/run/nologin"] };
    for path in paths {
        let Some(file) = facts.file(path)? else { continue };
        let severity = if concerned { Severity::Warning } else { Severity::Note };
        let finding = found.add(severity, tr!("{path} keeps out everyone but root", path = *path));
        finding.at_path(path);
        if !file.bytes.is_empty() {
            finding.evidence(*path, file.line_text(1));
        }
        finding.why(match concerned {
            true => tr!("users other than root are shown its text and disconnected"),
            false => tr!("no user with a password or a key would be kept out by it now"),
        });
        finding.repair(Risk::Risky, tr!("remove {path}", path = *path), [Change::Remove { path: path.into() }]);
    }
    Ok(())
}
