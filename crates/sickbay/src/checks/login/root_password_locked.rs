//! root's password was locked, and nobody else can become root.

use sickbay_formats::accounts::{Kind, Password, unlocked};
use sickbay_formats::lines;
use sickbay_formats::pam::Kind::Auth;

use crate::facts::Facts;
use crate::facts::login::accounts::Accounts;
use crate::facts::login::administrators::Administrators;
use crate::facts::login::pam::{Call, Pam};
use crate::facts::login::ssh_keys::Keys;
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::model::stage::Stage;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "Login incorrect" for root with the right password, and no other account that could become root.
    ///
    /// ## What it finds
    /// A `!` before root's hash in `/etc/shadow`, as `usermod -L` and `passwd -l` put it there, on a system where root
    /// has no ssh key and no other account with a password or a key can become root. A root that never had a password
    /// (just `*` or `!`), as cloud images ship it, is not a fault; the login proof for the console mentions it all the
    /// same. Where root has a key and nobody else can become root, a password that is locked now and is not in
    /// `/etc/shadow-`, the copy before the last change, is a note.
    ///
    /// ## Why it matters
    /// Nobody can administer the machine any more.
    ///
    /// ## What the repair does
    /// Removes the `!`: the password is what it was before. Risky where root has a key.
    ///
    /// ## By hand
    /// ```sh
    /// usermod -R ROOT -U root
    /// ```
    "root-password-locked", Login, seed = ["L1"], proves = [Password], "root's password is locked, and nobody else can become root"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let accounts = facts.get::<Accounts>()?;
    let (file, shadow) = accounts.present(Kind::Shadow)?;
    let Some(root) = shadow.find(b"root") else { return Ok(()) };
    match accounts.root_password() {
        Password::Locked => found.closed(Stage::Password, tr!("root's password is locked")),
        Password::None => found.closed(Stage::Password, tr!("root has no password")),
        Password::Invalid => found.closed(Stage::Password, tr!("no password works for root")),
        Password::Empty if !takes_none(facts)? => {
            found.closed(Stage::Password, tr!("root's password is empty, and login accepts no empty passwords"));
        }
        Password::Empty | Password::Hash | Password::Shadowed => {}
    }
    if Password::of(root.field(1)) != Password::Locked || accounts.root_password() != Password::Locked {
        return Ok(());
    }
    let keys = Keys::of_root(facts);
    let line = root.with_field(1, unlocked(root.field(1)));
    let text = lines::with_line(&file.bytes, root.line, |_| Some(line));
    if facts.get::<Administrators>()?.any() {
        return Ok(());
    }
    if keys.free || keys.unseen {
        if was_open(facts, root.field(1)) {
            found
                .note(tr!(
                    "root's password is locked, and in {path}, the copy before the last change, it is not",
                    path = COPY
                ))
                .at_path(Kind::Shadow.path())
                .evidence(format!("{}:{}", Kind::Shadow.path(), root.line), "root:!…")
                .why(tr!("root gets in with a key only: when the network is down, nobody does"))
                .repair(Risk::Risky, tr!("remove the ! from root's hash"), [Change::edit(file, text)]);
        }
        return Ok(());
    }
    found
        .critical(tr!("root's password is locked, and no other account can become root"))
        .at_path(Kind::Shadow.path())
        .evidence(format!("{}:{}", Kind::Shadow.path(), root.line), "root:!…")
        .why(tr!("nobody can administer the machine"))
        .stops(Stage::Password)
        .repair(Risk::Safe, tr!("remove the ! from root's hash"), [Change::edit(file, text)]);
    Ok(())
}

/// What the programs of shadow leave when they change the file.
const COPY: &str = "/etc/shadow-";

/// Whether the copy of the file has the same hash without the `!`.
fn was_open(facts: &Facts, field: &[u8]) -> bool {
    let Ok(Some(copy)) = facts.file(COPY) else { return false };
    let old = bstr::ByteSlice::lines(copy.bytes.as_slice()).find_map(|line| line.strip_prefix(b"root:"));
    let old = old.and_then(|rest| rest.split(|byte| *byte == b':').next());
    old.is_some_and(|old| !old.is_empty() && old == unlocked(field))
}

/// Whether login lets somebody in who has an empty password: without PAM it does, with pam_unix if that is told to.
fn takes_none(facts: &Facts) -> Result<bool, Skip> {
    let pam = match facts.get::<Pam>() {
        Err(Skip::NotApplicable(_)) => return Ok(true),
        pam => pam?,
    };
    let Some(login) = pam.services.iter().find(|service| service.name == "login") else { return Ok(true) };
    Ok(login.entries().any(|(kind, entry)| {
        let Call::Module { args, .. } = &entry.call else { return false };
        kind == Auth && args.iter().any(|arg| arg == "nullok" || arg == "nullok_secure")
    }))
}
