//! root has no line in passwd or in shadow, or is not number 0 there.

use sickbay_formats::accounts::{AccountFile, Kind, Password, with_line_added};
use sickbay_formats::lines;

use crate::facts::Facts;
use crate::facts::login::accounts::Accounts;
use crate::model::finding::Findings;
use crate::model::outcome::Verdict;
use crate::model::repair::{Change, Risk};
use crate::model::stage::Stage;
use crate::{check, tr};

check! {
    /// ## What it finds
    /// No account named root in `/etc/passwd`, a root there whose number is not 0, or one whose hash is in `/etc/shadow`, which
    /// has no line for it.
    ///
    /// ## Why it matters
    /// root cannot log in, and what is started as root by name fails. A root with another number is nobody in particular: it
    /// cannot even read its own files. systemd-sysusers adds the account again when it
    /// boots, without a password; other systems do not.
    ///
    /// ## What the repair does
    /// Puts the line back, from the copy that the system's own tools keep (`/etc/passwd-`, `/etc/shadow-`), else with the
    /// values that every system has. A lost password is only ever taken from a copy. Writes 0, which is risky
    /// when another account has that number: somebody may have given root's name away. By hand: copy the line.
    "root-account-missing", Login, seed = ["L1"], proves = [Account], "root is not in the account files, or not number 0"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let accounts = facts.get::<Accounts>()?;
    let (file, passwd) = accounts.present(Kind::Passwd)?;
    // A damaged line for root is told as such.
    if passwd.compat || passwd.entries.iter().any(|entry| entry.name() == "root" && entry.defect.is_some()) {
        return Ok(());
    }
    let Some(root) = passwd.find(b"root") else {
        let path = file.path.as_path();
        let finding = found.critical(tr!("{path} has no line for root", path));
        finding
            .at_path(path)
            .why(tr!("root cannot log in, and what is started as root by name fails"))
            .stops(Stage::Account);
        let backup = Accounts::backup(facts, Kind::Passwd);
        let line = backup
            .as_ref()
            .and_then(|(_, copy)| Some(AccountFile::parse(Kind::Passwd, &copy.bytes).find(b"root")?.text.to_owned()))
            .unwrap_or_else(|| format!("root:x:0:0:root:/root:{}", shell(facts)).into_bytes());
        let text = [line.as_slice(), b"\n", &file.bytes].concat();
        finding.repair(Risk::Safe, tr!("put root's line first into {path}", path), [Change::edit(file, text)]);
        return Ok(());
    };
    if let Some(number) = root.number(2).filter(|number| *number != 0) {
        let finding = found.critical(tr!("root has UID {number} in {path}", number, path = file.path.as_path()));
        finding
            .at(file, root.span(2))
            .why(tr!("the kernel knows root by the number 0 alone: this one may do nothing"))
            .stops(Stage::Account);
        let other = passwd.good().any(|entry| entry.number(2) == Some(0));
        let text = lines::with_line(&file.bytes, root.line, |_| Some(root.with_field(2, b"0")));
        let risk = if other { Risk::Risky } else { Risk::Safe };
        finding.repair(risk, tr!("give root the number 0"), [Change::edit(file, text)]);
    }
    if Password::of(root.field(1)) != Password::Shadowed {
        return Ok(());
    }
    let (file, shadow) = accounts.present(Kind::Shadow)?;
    if shadow.entries.iter().any(|entry| entry.name() == "root") {
        return Ok(());
    }
    let path = file.path.as_path();
    let finding = found.critical(tr!("{path} has no line for root", path));
    finding.at_path(path).why(tr!("no password of root is right")).stops(Stage::Account);
    match Accounts::root_of_copy(facts) {
        Some((copy, line)) => {
            let text = with_line_added(&file.bytes, &line);
            finding.repair(Risk::Safe, tr!("take root's line from the copy {copy}", copy), [Change::edit(file, text)]);
        }
        None => {
            finding.by_hand(tr!("no copy holds root's password: set a new one with sickbay fix --reset-password root"));
        }
    }
    Ok(())
}

fn shell(facts: &Facts) -> &'static str {
    let there = |path: &&&str| facts.root().exists(path).unwrap_or(false);
    ["/bin/bash", "/bin/sh"].iter().find(there).copied().unwrap_or("/bin/sh")
}
