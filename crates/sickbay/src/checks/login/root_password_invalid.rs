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
    /// ## Symptom
    /// You see: "Login incorrect" for root with the right password, on the console and over ssh.
    ///
    /// ## What it finds
    /// A second field of root's line in `/etc/shadow` that is neither a hash (crypt(5)) nor a lock (`*`, `!`): the
    /// beginning of a hash, or a plain-text password. A warning where root has an ssh key or another account can become
    /// root.
    ///
    /// ## Why it matters
    /// No password matches it, and root cannot log in on the console.
    ///
    /// ## What the repair does
    /// Restores root's line from the copy that the system's own tools keep (`/etc/shadow-`), if that has a hash.
    /// Otherwise a new password must be set.
    ///
    /// ## By hand
    /// ```sh
    /// sickbay fix --reset-password root ROOT
    /// ```
    "root-password-invalid", Login, seed = ["L1"], proves = [Password], "root's password field is not a valid hash"
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
            tr!("root's password field in {path} is not a valid hash", path = Kind::Shadow.path()),
        )
        .at_path(Kind::Shadow.path())
        // The field itself may be a password.
        .evidence(format!("{}:{}", Kind::Shadow.path(), root.line), "root:…")
        .why(tr!("no password works for root"));
    if !others {
        finding.stops(Stage::Password);
    }
    match Accounts::root_of_copy(facts) {
        Some((copy, line)) => {
            let text = lines::with_line(&file.bytes, root.line, |_| Some(line));
            finding.repair(risk, tr!("restore root's line from the copy {copy}", copy), [Change::edit(file, text)]);
        }
        None => {
            finding.by_hand(tr!("no copy has root's password: set a new one with sickbay fix --reset-password root"));
        }
    }
    Ok(())
}
