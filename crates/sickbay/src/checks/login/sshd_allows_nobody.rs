//! sshd lets in only accounts that do not exist.

use sickbay_formats::accounts::{Entry, Kind};
use sickbay_formats::sshd_config::matching::{Connection, any_group_matches, user_matches};
use sickbay_formats::sshd_config::tree::Setting;

use crate::facts::Facts;
use crate::facts::login::accounts::Users;
use crate::facts::login::administrators::{Administrators, may_log_in, of_a_directory};
use crate::facts::login::sshd::Sshd;
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict};
use crate::model::stage::Stage;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "Permission denied, please try again." for everybody, and "User … from … not allowed because not listed in AllowUsers" in
    /// the log.
    ///
    /// ## What it finds
    /// `AllowUsers` or `AllowGroups` in sshd_config that fit no account of the system with a shell, in no Match block: a name that was
    /// misspelt or deleted, a group without members. Names with wildcards and `user@host` are taken as sshd takes them. Where accounts
    /// may be in a directory (LDAP, Active Directory, NIS), nothing is reported.
    ///
    /// ## Why it matters
    /// Nobody can log in over ssh. Who has the console still can.
    ///
    /// ## What the repair does
    /// Nothing: who shall be let in only a person knows.
    ///
    /// ## By hand
    /// ```sh
    /// getent passwd NAME
    /// getent group GROUP
    /// # correct the line in sshd_config, then
    /// sshd -t && systemctl reload sshd
    /// ```
    "sshd-allows-nobody", Login, seed = ["L10"], proves = [], may_stop = [SshdPolicy], "sshd lets in only accounts that do not exist"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let sshd = facts.get::<Sshd>()?;
    if let Some(why) = sshd.unread.first() {
        return Err(Skip::Unknown(why.clone()));
    }
    if !sshd.accepts_configuration() {
        return Err(Skip::NotApplicable(tr!("sshd does not start with its configuration")));
    }
    let users = facts.get::<Users>()?;
    let passwd = users.parsed(Kind::Passwd);
    let mut barred: Option<Setting<'_>> = None;
    for account in passwd.good().filter(may_log_in) {
        match bar(&users, &sshd, account) {
            Some(setting) => barred = barred.or(Some(setting)),
            None => return Ok(()),
        }
    }
    // Without such a line somebody was let in, unless there is nobody at all.
    let Some(setting) = barred else { return Ok(()) };
    if let Some(why) = of_a_directory(facts)? {
        return Err(Skip::NotApplicable(why));
    }
    // Nobody else administers it: the refusal of root is the finding.
    if !facts.get::<Administrators>()?.any() {
        return Ok(());
    }
    let Some(file) = sshd.file(setting) else { return Ok(()) };
    let (_, line) = setting;
    let words = line.args.iter().map(|word| word.text.to_string()).collect::<Vec<_>>().join(" ");
    let name = line.keyword.text.to_string();
    let finding = found.error(tr!("{name} names no account that could log in: {words}", name, words));
    finding.at(file, line.whole).why(tr!("sshd refuses everybody else: nobody can log in over ssh"));
    finding.stops(Stage::SshdPolicy);
    finding.by_hand(tr!("correct the names, or create the account"));
    Ok(())
}

/// The line that keeps an account out wherever it comes from.
fn bar<'a>(users: &Users, sshd: &'a Sshd, account: &Entry<'_>) -> Option<Setting<'a>> {
    let reader = sshd.reader();
    let usual = Connection { user: account.name().into(), groups: users.groups_of(account), ..Connection::default() };
    let bar = |connection: &Connection| {
        let effective = sshd.tree.effective(&reader, connection);
        ["AllowUsers", "AllowGroups"].into_iter().find_map(|name| {
            let lines = effective.all(name);
            let fits = |word: &bstr::BString| match name {
                "AllowUsers" => user_matches(&usual, word, true),
                _ => any_group_matches(&usual.groups, std::slice::from_ref(word)),
            };
            let is_in = lines.iter().any(|(_, line)| line.args.iter().any(|word| fits(&word.text)));
            lines.last().copied().filter(|_| !is_in)
        })
    };
    let barred = bar(&usual)?;
    let elsewhere = sshd.tree.origins(&reader).into_iter().any(|(source, directive)| {
        bar(&Connection { assumed: Some((source, directive.line)), ..usual.clone() }).is_none()
    });
    (!elsewhere).then_some(barred)
}
