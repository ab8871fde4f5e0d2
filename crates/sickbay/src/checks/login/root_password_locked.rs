//! root's password was locked, and nobody else can become root.

use sickbay_formats::accounts::{Kind, Password, unlocked};
use sickbay_formats::lines;

use crate::check::Verdict;
use crate::facts::Facts;
use crate::facts::accounts::{Accounts, has_key};
use crate::finding::Findings;
use crate::proof::Stage;
use crate::repair::{Change, Risk};
use crate::{check, tr};

check! {
    /// ## What it finds
    /// A `!` before root's hash in `/etc/shadow`, as `usermod -L` and `passwd -l` put it there, on a system where root has
    /// no ssh key and no other account with a password or a key may become root. A root that never had a password (`*` or
    /// `!` alone), as cloud images ship it, is no fault.
    ///
    /// ## Why it matters
    /// Nobody can administer the machine any more.
    ///
    /// ## What the repair does
    /// Takes the `!` away: the password is the one that it was before. By hand: `usermod -U root` in a chroot.
    "root-password-locked", Login, seed = ["L1"], proves = [Password], "root's password is locked, and nobody else is root"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let accounts = facts.get::<Accounts>()?;
    let (file, shadow) = accounts.present(Kind::Shadow)?;
    let Some(root) = shadow.find(b"root") else { return Ok(()) };
    let keys = accounts.parsed(Kind::Passwd).find(b"root").is_some_and(|root| has_key(facts, root));
    if Password::of(root.field(1)) != Password::Locked || keys || accounts.has_other_administrator(facts) {
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
        .repair(Risk::Safe, tr!("take the ! from root's hash away"), [Change::edit(file, text)]);
    Ok(())
}
