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
    /// ## Symptom
    /// You see: "Login incorrect" for root, "No passwd entry for user 'root'", "unknown user root", or a root who gets
    /// "Permission denied" everywhere.
    ///
    /// ## What it finds
    /// No account named root in `/etc/passwd`, a root there whose UID is not 0, or a root whose hash should be in
    /// `/etc/shadow`, which has no line for it.
    ///
    /// ## Why it matters
    /// root cannot log in, and anything started as root by name fails. A root with another UID has no privileges: it
    /// cannot even read its own files. systemd-sysusers adds the account again when it boots, without a password; other
    /// systems do not.
    ///
    /// ## What the repair does
    /// Restores the line from the copy that the system's own tools keep (`/etc/passwd-`, `/etc/shadow-`), otherwise
    /// with the values that every system has. A lost password is only ever taken from a copy. Sets the UID to 0, which
    /// is risky when another account has UID 0: somebody may have renamed root.
    ///
    /// ## By hand
    /// ```sh
    /// # copy root's line from the backups
    /// grep '^root:' ROOT/etc/passwd- ROOT/etc/shadow-
    /// ```
    "root-account-missing", Login, seed = ["L1"], proves = [Account], "root is missing from the account files, or its UID is not 0"
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
            .why(tr!("root cannot log in, and anything started as root by name fails"))
            .stops(Stage::Account);
        let backup = Accounts::backup(facts, Kind::Passwd);
        let line = backup
            .as_ref()
            .and_then(|(_, copy)| Some(AccountFile::parse(Kind::Passwd, &copy.bytes).find(b"root")?.text.to_owned()))
            .unwrap_or_else(|| format!("root:x:0:0:root:/root:{}", shell(facts)).into_bytes());
        let text = [line.as_slice(), b"\n", &file.bytes].concat();
        finding.repair(Risk::Safe, tr!("add root's line at the top of {path}", path), [Change::edit(file, text)]);
        return Ok(());
    };
    if let Some(number) = root.number(2).filter(|number| *number != 0) {
        let finding = found.critical(tr!("root has UID {number} in {path}", number, path = file.path.as_path()));
        finding
            .at(file, root.span(2))
            .why(tr!("the kernel recognizes root only by UID 0: this root has no privileges"))
            .stops(Stage::Account);
        let other = passwd.good().any(|entry| entry.number(2) == Some(0));
        let text = lines::with_line(&file.bytes, root.line, |_| Some(root.with_field(2, b"0")));
        let risk = if other { Risk::Risky } else { Risk::Safe };
        finding.repair(risk, tr!("set root's UID to 0"), [Change::edit(file, text)]);
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
    finding.at_path(path).why(tr!("no password works for root")).stops(Stage::Account);
    match Accounts::root_of_copy(facts) {
        Some((copy, line)) => {
            let text = with_line_added(&file.bytes, &line);
            finding.repair(
                Risk::Safe,
                tr!("restore root's line from the copy {copy}", copy),
                [Change::edit(file, text)],
            );
        }
        None => {
            finding.by_hand(tr!("no copy has root's password: set a new one with sickbay fix --reset-password root"));
        }
    }
    Ok(())
}

fn shell(facts: &Facts) -> &'static str {
    let there = |path: &&&str| facts.root().exists(path).unwrap_or(false);
    ["/bin/bash", "/bin/sh"].iter().find(there).copied().unwrap_or("/bin/sh")
}
