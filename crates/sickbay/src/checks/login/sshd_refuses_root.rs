//! sshd is told to let root in by no way that root has, and nobody else administers the machine.

use std::sync::Arc;

use sickbay_formats::authorized_keys::keys;
use sickbay_formats::lines;
use sickbay_formats::sshd_config::Version;
use sickbay_formats::sshd_config::tree::Setting;

use crate::facts::Facts;
use crate::facts::login::accounts::Accounts;
use crate::facts::login::administrators::Administrators;
use crate::facts::login::root_over_ssh::{Refusal, RootOverSsh};
use crate::facts::login::sshd::Sshd;
use crate::model::finding::{Finding, Findings, Severity};
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::model::source::SourceFile;
use crate::model::stage::Stage;
use crate::model::text::Text;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "Permission denied, please try again." for root with the right password or key; or "Please login as the
    /// user "debian" rather than the user "root"."
    ///
    /// ## What it finds
    /// Lines in sshd_config that refuse root no matter what: `PermitRootLogin no` (or only with a key, where root has
    /// none), `DenyUsers` and `DenyGroups` that name root, `AllowUsers` and `AllowGroups` that name only others,
    /// `AuthenticationMethods` that root cannot satisfy, `PasswordAuthentication no` where root has no key, a
    /// `ForceCommand` that gives no shell, a `ChrootDirectory` that does not exist; and, where root has no password
    /// either, a key that only runs a command, as cloud-init gives root one. Match blocks are evaluated the way sshd
    /// does. On most systems such lines are a policy, and not a fault: they are one only where no other account with a
    /// password or a key can become root with sudo, doas, or su. Where such an account may exist and cannot be seen (in
    /// LDAP or Active Directory, with keys from a program or a certificate authority), nothing is reported.
    ///
    /// ## Why it matters
    /// Nobody can administer the machine over ssh. Anyone at its console who knows root's password still can.
    ///
    /// ## What the repair does
    /// Changes the one line that refuses root, no further than needed: `PermitRootLogin` becomes `prohibit-password`
    /// where root has a key and `yes` where root has only a password; root is added to `AllowUsers` or `AllowGroups`,
    /// or removed from `DenyUsers`; the command is removed from root's key. All of it is risky: somebody closed this
    /// door.
    ///
    /// ## By hand
    /// ```sh
    /// # edit the line in sshd_config, then
    /// sshd -t && systemctl reload sshd
    /// ```
    "sshd-refuses-root", Login, seed = ["L10"], proves = [SshdPolicy], "sshd refuses root, and nobody else can become root"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let sshd = facts.get::<Sshd>()?;
    if let Some(why) = sshd.unread.first() {
        return Err(Skip::Unknown(why.clone()));
    }
    let reader = sshd.reader();
    if !sshd.accepts_configuration() {
        return Err(Skip::NotApplicable(tr!("sshd does not start with its configuration")));
    }
    facts.get::<Accounts>()?;
    let root = facts.get::<RootOverSsh>()?;
    let Some(refusal) = root.refusal(facts, &sshd) else { return Ok(()) };
    let (said, culprit) = describe(&refusal);
    found.closed(Stage::SshdPolicy, said.clone());
    // An image that no cloud has started yet gets its administrator, and root its keys, when it is.
    let unborn = facts.root().exists("/etc/cloud/cloud.cfg")? && !facts.root().exists("/var/lib/cloud/instance")?;
    if unborn || facts.get::<Administrators>()?.any() {
        return Err(Skip::NotApplicable(said));
    }
    let severity = if root.password { Severity::Error } else { Severity::Critical };
    let why = match severity {
        Severity::Critical => {
            tr!("no other account can become root, and root has no password: nobody can administer the machine")
        }
        _ => tr!("no other account can become root, so nobody can administer the machine over ssh"),
    };
    if let Refusal::OnlyCommand(forced) = &refusal {
        // With a password root has the console, and the key is what it is meant to be.
        if root.password {
            return Err(Skip::NotApplicable(said));
        }
        let finding = found.add(severity, tr!("sshd gives root no shell: {said}", said));
        finding.at(&forced.file, forced.span).why(why).stops(Stage::SshdPolicy);
        let key = keys(&forced.file.bytes).into_iter().find(|key| key.span == forced.span);
        if let Some(key) = key {
            let text = lines::with_line(&forced.file.bytes, forced.span.line, |_| Some(key.freed()));
            let title = tr!("remove the command from the key in line {line}", line = forced.span.line);
            finding.repair(Risk::Risky, title, [Change::edit(&forced.file, text)]);
        }
        return Ok(());
    }
    let Some(setting) = culprit else { return Err(Skip::NotApplicable(said)) };
    let file = sshd.file(setting).ok_or_else(|| Skip::Unknown(said.clone()))?;
    let (_, line) = setting;
    let span = match &refusal {
        Refusal::Denied(_, index) => line.args.get(*index).map_or(line.whole, |word| word.span),
        _ => line.whole,
    };
    let effective = sshd.tree.effective(&reader, &root.connection());
    let key = root.keys(facts, &effective).free && effective.is_enabled("publickey");
    let finding = found.add(severity, tr!("sshd refuses root: {said}", said));
    // Where the home is not there, the keys in it are not either.
    finding.at(file, span).why(why).stops(Stage::SshdPolicy).about(root.home.as_path());
    match &refusal {
        Refusal::RootLogin(..) => {
            let old = reader.version.is_some_and(|version| version < Version(7, 0));
            let value = match (key, old) {
                (true, false) => "prohibit-password",
                (true, true) => "without-password",
                (false, _) => "yes",
            };
            write(finding, file, setting, 0, value);
        }
        Refusal::NotAllowed(_) => {
            let group = line.is("AllowGroups");
            let name = root.groups.first().filter(|_| group).map_or("root".into(), |name| name.to_string());
            if let Some(last) = line.args.last() {
                let text = lines::with_line(&file.bytes, line.line, |text| {
                    let (before, after) =
                        text.split_at_checked(lines::offset_in(text, last.span.column + last.span.len))?;
                    Some([before, b" ", name.as_bytes(), after].concat())
                });
                finding.repair(
                    Risk::Risky,
                    tr!("add {name} to line {line}", name, line = line.line),
                    [Change::edit(file, text)],
                );
            }
        }
        Refusal::Denied(_, index) => {
            let word = line.args.get(*index);
            if line.args.len() == 1 {
                finding.repair(Risk::Risky, comment_title(line.line), [comment(file, line.line)]);
            } else if let Some(word) = word.filter(|word| word.text == "root") {
                let text = lines::with_line(&file.bytes, line.line, |text| {
                    let (start, end) = (
                        lines::offset_in(text, word.span.column),
                        lines::offset_in(text, word.span.column + word.span.len),
                    );
                    let (before, after) = (text.get(..start)?, text.get(end..)?);
                    Some([before.trim_ascii_end(), after].concat())
                });
                finding.repair(
                    Risk::Risky,
                    tr!("remove root from line {line}", line = line.line),
                    [Change::edit(file, text)],
                );
            } else {
                finding.by_hand(tr!("write what is intended without locking out root"));
            }
        }
        Refusal::SwitchedOff(_) | Refusal::Locked(_) => write(finding, file, setting, 0, "yes"),
        Refusal::Methods(_) | Refusal::Connection(_) | Refusal::Session(_) => {
            finding.repair(Risk::Risky, comment_title(line.line), [comment(file, line.line)]);
        }
        Refusal::OnlyCommand(_) | Refusal::NothingToShow => {}
    }
    Ok(())
}

/// What is said of the refusal, and the line that is to blame.
fn describe<'a>(refusal: &Refusal<'a>) -> (Text, Option<Setting<'a>>) {
    let said = |setting: &Setting<'a>| {
        let args: Vec<String> = setting.1.args.iter().map(|word| word.text.to_string()).collect();
        Text::verbatim(format!("{} {}", setting.1.keyword.text, args.join(" ")))
    };
    match refusal {
        Refusal::Denied(setting, _)
        | Refusal::NotAllowed(setting)
        | Refusal::Connection(setting)
        | Refusal::Session(setting)
        | Refusal::Methods(setting) => (said(setting), Some(*setting)),
        Refusal::Locked(setting) => (
            tr!("UsePAM no, and without PAM an account with a ! before its password is locked, for keys too"),
            Some(*setting),
        ),
        Refusal::RootLogin(Some(setting), _) => (said(setting), Some(*setting)),
        Refusal::RootLogin(None, value) => (tr!("PermitRootLogin {value} by default", value), None),
        Refusal::SwitchedOff(settings) => match settings.first() {
            Some(setting) => (said(setting), Some(*setting)),
            None => (tr!("no method that root could use is enabled"), None),
        },
        Refusal::OnlyCommand(forced) => {
            let command: String = forced.command.chars().take(60).collect();
            (tr!("root's only key runs a command: {command}", command), None)
        }
        Refusal::NothingToShow => (tr!("root has neither a password nor a key"), None),
    }
}

fn write(finding: &mut Finding, file: &Arc<SourceFile>, setting: Setting<'_>, index: usize, value: &str) {
    if let Some(word) = setting.1.args.get(index) {
        let text = lines::with_words(&file.bytes, word.span, value.as_bytes());
        let title = tr!("write {keyword} {value}", keyword = setting.1.keyword.text, value);
        finding.repair(Risk::Risky, title, [Change::edit(file, text)]);
    }
}

fn comment_title(line: usize) -> Text {
    tr!("comment out line {line}", line)
}

fn comment(file: &Arc<SourceFile>, line: usize) -> Change {
    Change::edit(file, lines::with_comment(&file.bytes, line))
}
