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
    /// same.
    ///
    /// ## Why it matters
    /// Nobody can administer the machine any more.
    ///
    /// ## What the repair does
    /// Removes the `!`: the password is what it was before.
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
    if keys.free || keys.unseen || facts.get::<Administrators>()?.any() {
        return Ok(());
    }
    let line = root.with_field(1, unlocked(root.field(1)));
    let text = lines::with_line(&file.bytes, root.line, |_| Some(line));
    found
        .critical(tr!("root's password is locked, and no other account can become root"))
        .at_path(Kind::Shadow.path())
        .evidence(format!("{}:{}", Kind::Shadow.path(), root.line), "root:!…")
        .why(tr!("nobody can administer the machine"))
        .stops(Stage::Password)
        .repair(Risk::Safe, tr!("remove the ! from root's hash"), [Change::edit(file, text)]);
    Ok(())
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
