//! What stands in the place of root's password hash is none.

use sickbay_formats::accounts::{Kind, Password};
use sickbay_formats::lines;

use crate::facts::Facts;
use crate::facts::login::accounts::Accounts;
use crate::facts::login::administrators::Administrators;
use crate::facts::login::ssh_keys::Keys;
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::model::repair::{Change, Risk};
use crate::model::stage::Stage;
use crate::{check, tr};

check! {
    /// ## What it finds
    /// A second field of root's line in `/etc/shadow` that is neither a hash (crypt(5)) nor a lock (`*`, `!`): the beginning of a
    /// hash, or a password as it is typed. A warning where root has an ssh key or another account may become root.
    ///
    /// ## Why it matters
    /// No password matches it, and root cannot log in on the console.
    ///
    /// ## What the repair does
    /// Takes root's line from the copy that the system's own tools keep (`/etc/shadow-`), if a hash is in it. Else set a new
    /// password: `sickbay fix --reset-password root`.
    "root-password-invalid", Login, seed = ["L1"], proves = [Password], "root's password hash is none"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let accounts = facts.get::<Accounts>()?;
    let (file, shadow) = accounts.present(Kind::Shadow)?;
    let Some(root) = shadow.find(b"root").filter(|root| Password::of(root.field(1)) == Password::Invalid) else {
        return Ok(());
    };
    let keys = Keys::of_root(facts);
    let others = keys.free || keys.unseen || facts.get::<Administrators>()?.any();
    // Whoever wrote a word there may have meant that no password is right.
    let risk = if others { Risk::Risky } else { Risk::Safe };
    let finding = found
        .add(
            if others { Severity::Warning } else { Severity::Critical },
            tr!("what {path} has for root's password is no hash", path = Kind::Shadow.path()),
        )
        .at_path(Kind::Shadow.path())
        // The field itself may be a password.
        .evidence(format!("{}:{}", Kind::Shadow.path(), root.line), "root:…")
        .why(tr!("no password is right for root"));
    if !others {
        finding.stops(Stage::Password);
    }
    match Accounts::root_of_copy(facts) {
        Some((copy, line)) => {
            let text = lines::with_line(&file.bytes, root.line, |_| Some(line));
            finding.repair(risk, tr!("take root's line from the copy {copy}", copy), [Change::edit(file, text)]);
        }
        None => {
            finding.by_hand(tr!("no copy holds root's password: set a new one with sickbay fix --reset-password root"));
        }
    }
    Ok(())
}
