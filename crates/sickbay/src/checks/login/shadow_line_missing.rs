//! Accounts whose password is in shadow, which has no line for them.

use sickbay_formats::accounts::{AccountFile, Kind, Password, with_line_added};

use crate::facts::Facts;
use crate::facts::login::accounts::Accounts;
use crate::model::finding::Findings;
use crate::model::outcome::Verdict;
use crate::model::repair::{Change, Risk};
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "Permission denied" or "Login incorrect" for some users, even with an ssh key.
    ///
    /// ## What it finds
    /// Accounts with a shell and an `x` in `/etc/passwd`, which says that the password is in `/etc/shadow`, and no line
    /// there. root is covered by `root-account-missing`.
    ///
    /// ## Why it matters
    /// These users cannot log in: no password works, and over ssh not even a key helps, because the account is treated
    /// as one without access (`pam_unix` in the account phase).
    ///
    /// ## What the repair does
    /// Restores the lines from the copy that the system's own tools keep (`/etc/shadow-`), where it has them.
    ///
    /// ## By hand
    /// ```sh
    /// # in a chroot: creates the lines; then set the passwords
    /// pwconv
    /// passwd USER
    /// ```
    "shadow-line-missing", Login, seed = ["L1"], proves = [], "accounts have no line in shadow"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let accounts = facts.get::<Accounts>()?;
    let (_, passwd) = accounts.present(Kind::Passwd)?;
    let (file, shadow) = accounts.present(Kind::Shadow)?;
    if passwd.compat || !passwd.sound() || !shadow.sound() {
        return Ok(());
    }
    let logs_in =
        |shell: &[u8]| !shell.ends_with(b"/nologin") && !shell.ends_with(b"/false") && !shell.ends_with(b"/sync");
    let missing: Vec<String> = passwd
        .good()
        .filter(|entry| entry.name() != "root" && Password::of(entry.field(1)) == Password::Shadowed)
        .filter(|entry| logs_in(entry.field(6)) && shadow.find(entry.name()).is_none())
        .map(|entry| entry.name().to_string())
        .collect();
    let Some(first) = missing.first() else { return Ok(()) };
    let path = file.path.as_path();
    let finding = if missing.len() == 1 {
        found.warning(tr!("{path} has no line for {name}", path, name = first))
    } else {
        found.warning(tr!(
            "{path} has no {count?line|lines} for {count} {count?account|accounts}: {names}",
            path,
            count = missing.len(),
            names = missing.join(", ")
        ))
    };
    finding.at_path(path).detail("accounts", missing.clone()).why(tr!("they cannot log in by any means"));
    let copy = format!("{}-", Kind::Shadow.path());
    let mut text = file.bytes.clone();
    if let Some(backup) = facts.file(&copy)? {
        let parsed = AccountFile::parse(Kind::Shadow, &backup.bytes);
        for entry in missing.iter().filter_map(|name| parsed.find(name.as_bytes())) {
            text = with_line_added(&text, entry.text);
        }
    }
    let restored = AccountFile::parse(Kind::Shadow, &text);
    if missing.iter().all(|name| restored.find(name.as_bytes()).is_some()) {
        finding.repair(
            Risk::Safe,
            tr!("restore the lines from the copy {copy}", copy),
            [Change::edit(file, text.clone())],
        );
    } else {
        finding.by_hand(tr!("run pwconv in a chroot, then set the passwords with passwd"));
    }
    Ok(())
}
