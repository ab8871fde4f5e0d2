//! root's shell is not there.

use std::path::Path;

use bstr::ByteSlice;
use sickbay_formats::accounts::Kind;
use sickbay_formats::lines;

use crate::facts::Facts;
use crate::facts::login::accounts::Accounts;
use crate::facts::login::administrators::Administrators;
use crate::model::finding::Findings;
use crate::model::outcome::Verdict;
use crate::model::repair::{Change, Risk};
use crate::model::stage::Stage;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: after the right password the session ends at once: "Cannot execute /bin/zsh: No such file or directory"
    /// or "This account is currently not available."
    ///
    /// ## What it finds
    /// A shell for root in `/etc/passwd` that does not exist, or one that rejects every login (`nologin`, `false`)
    /// where no other account can become root.
    ///
    /// ## Why it matters
    /// The password is right, and the session ends at once, on the console and over ssh.
    ///
    /// ## What the repair does
    /// Sets a shell that exists: `/bin/bash`, otherwise `/bin/sh`.
    ///
    /// ## By hand
    /// ```sh
    /// usermod -R ROOT -s /bin/bash root
    /// ```
    "root-shell-missing", Login, seed = ["L1"], proves = [Shell], "root's shell does not exist"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let accounts = facts.get::<Accounts>()?;
    let (file, passwd) = accounts.present(Kind::Passwd)?;
    // A carriage return at its end is told as such.
    let Some(root) = passwd.find(b"root").filter(|_| passwd.carriage_returns == 0) else { return Ok(()) };
    let field = root.field(6).to_str_lossy();
    // passwd(5): an empty field means /bin/sh.
    let shell = if field.is_empty() { "/bin/sh" } else { field.as_ref() };
    let name = Path::new(shell).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let message = if !facts.root().exists(shell)? {
        tr!("root's shell {shell} does not exist", shell)
    } else if matches!(name, "nologin" | "false") {
        found.closed(Stage::Shell, tr!("root's shell {shell} rejects every login", shell));
        if facts.get::<Administrators>()?.any() {
            return Ok(());
        }
        tr!("root's shell {shell} rejects every login, and no other account can become root", shell)
    } else {
        return Ok(());
    };
    let finding = found.critical(message);
    finding
        .at(file, root.span(6))
        .about(shell)
        .why(tr!("the session ends as soon as the right password is entered"))
        .stops(Stage::Shell);
    let there = |path: &&&str| facts.root().exists(path).unwrap_or(false);
    match ["/bin/bash", "/bin/sh"].iter().find(there) {
        Some(shell) => {
            let line = root.with_field(6, shell.as_bytes());
            let text = lines::with_line(&file.bytes, root.line, |_| Some(line));
            finding.repair(Risk::Safe, tr!("set root's shell to {shell}", shell), [Change::edit(file, text)]);
        }
        None => {
            finding.by_hand(tr!("no shell is installed: reinstall bash"));
        }
    }
    Ok(())
}
