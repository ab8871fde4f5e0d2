//! root's account has expired.

use sickbay_formats::accounts::Kind;
use sickbay_formats::lines;

use crate::facts::Facts;
use crate::facts::login::accounts::Accounts;
use crate::facts::login::administrators::Administrators;
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::model::repair::{Change, Risk};
use crate::model::stage::Stage;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "Your account has expired; please contact your system administrator", with the right password and with
    /// a key.
    ///
    /// ## What it finds
    /// An expiry date for root in `/etc/shadow` that has passed, or a password that is older than its maximum age plus
    /// the grace days after it. A warning where another account can become root without root's password: then it may be
    /// intended.
    ///
    /// ## Why it matters
    /// root is refused even with the right password or a key, and cron runs none of root's jobs.
    ///
    /// ## What the repair does
    /// Empties the field, so that the account does not expire; the password stays.
    ///
    /// ## By hand
    /// ```sh
    /// chage -R ROOT -E -1 -I -1 root
    /// ```
    "root-account-expired", Login, seed = ["L1"], proves = [Account], "root's account has expired"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let accounts = facts.get::<Accounts>()?;
    let (file, shadow) = accounts.present(Kind::Shadow)?;
    let Some(root) = shadow.find(b"root") else { return Ok(()) };
    // shadow(5) counts days since 1970-01-01.
    let today = facts.now().as_second() / 86_400;
    let number = |field| root.number(field).filter(|days| *days >= 0);
    let (changed, maximum, inactive, expires) = (number(2), number(4), number(6), number(7));
    let (message, field) = if let Some(day) = expires.filter(|day| today >= *day) {
        (tr!("root's account expired {days} {days?day|days} ago", days = today - day), 7)
    } else if let (Some(changed), Some(maximum), Some(inactive)) = (changed, maximum, inactive)
        && changed > 0
        && today - changed > maximum + inactive
    {
        (
            tr!(
                "root's password is {days} {days?day|days} old, and the account expired because of it",
                days = today - changed
            ),
            6,
        )
    } else {
        return Ok(());
    };
    let line = root.with_field(field, b"");
    let text = lines::with_line(&file.bytes, root.line, |_| Some(line));
    // usermod(8) advises it for who shall not log in.
    let others = facts.get::<Administrators>()?.any_without_su();
    let (severity, risk) = if others { (Severity::Warning, Risk::Risky) } else { (Severity::Critical, Risk::Safe) };
    found
        .add(severity, message)
        .at_path(Kind::Shadow.path())
        .evidence(
            format!("{}:{}", Kind::Shadow.path(), root.line),
            format!("field {}: {}", field + 1, root.field(field)),
        )
        .why(tr!("root is refused even with the right password or a key"))
        .stops(Stage::Account)
        .repair(risk, tr!("empty the field, so that root does not expire"), [Change::edit(file, text)]);
    Ok(())
}
