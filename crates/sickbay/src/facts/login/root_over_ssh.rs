//! How root gets in over ssh, or why not: sshd's rules applied to root's own keys and password.

use std::path::PathBuf;

use bstr::{BString, ByteSlice};
use sickbay_formats::accounts::{Kind, Password};
use sickbay_formats::authorized_keys::gives_shell;
use sickbay_formats::sshd_config::Version;
use sickbay_formats::sshd_config::matching::{self, Connection};
use sickbay_formats::sshd_config::tree::{Effective, Setting};

use crate::facts::login::accounts::{Accounts, Users};
use crate::facts::login::ssh_keys::{Forced, Keys};
use crate::facts::login::sshd::Sshd;
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;

/// What root can show to sshd.
#[derive(Debug)]
pub struct RootOverSsh {
    /// The groups that root is in.
    pub groups: Vec<BString>,
    /// root's home directory.
    pub home: PathBuf,
    /// root has a password that can be given; false where nobody may read it, so who asks takes [`Accounts`] as well.
    pub password: bool,
    /// root's password is empty.
    pub empty_password: bool,
    /// root's field begins with a `!`: without PAM sshd takes the account for locked, whatever key is shown.
    pub locked: bool,
}

/// Why sshd refuses root.
#[derive(Clone, Debug)]
pub enum Refusal<'a> {
    /// A word of DenyUsers or DenyGroups is meant for root.
    Denied(Setting<'a>, usize),
    /// The lines of AllowUsers or AllowGroups name others only; the last of them.
    NotAllowed(Setting<'a>),
    /// The account is locked, and nobody but PAM would say otherwise: `UsePAM no`.
    Locked(Setting<'a>),
    /// RefuseConnection.
    Connection(Setting<'a>),
    /// PermitRootLogin leaves no way that root has; the default when no line says it.
    RootLogin(Option<Setting<'a>>, String),
    /// The session ends as soon as root is in: a command that only says no, a directory that is not there.
    Session(Setting<'a>),
    /// AuthenticationMethods asks for something that is switched off or that root has not.
    Methods(Setting<'a>),
    /// The methods that root could use are switched off; the lines that do it.
    SwitchedOff(Vec<Setting<'a>>),
    /// root has nothing to show but a key that only runs a command.
    OnlyCommand(Forced),
    /// root has neither a key nor a password.
    NothingToShow,
}

impl Fact for RootOverSsh {
    fn gather(facts: &Facts) -> Result<RootOverSsh, Skip> {
        let users = facts.get::<Users>()?;
        let passwd = users.parsed(Kind::Passwd);
        let root = passwd.find(b"root");
        let password = facts.get::<Accounts>().ok().map(|accounts| accounts.root_password());
        let home = root.map(|root| root.field(5).to_str_lossy().into_owned()).filter(|home| home.starts_with('/'));
        Ok(RootOverSsh {
            groups: root.map(|root| users.groups_of(root)).unwrap_or_default(),
            home: PathBuf::from(home.unwrap_or_else(|| "/root".to_owned())),
            password: password == Some(Password::Hash),
            empty_password: password == Some(Password::Empty),
            locked: facts.get::<Accounts>().is_ok_and(|accounts| {
                let shadow = accounts.parsed(Kind::Shadow);
                shadow.find(b"root").is_some_and(|root| root.field(1).starts_with(b"!"))
            }),
        })
    }
}

impl RootOverSsh {
    /// root connecting from anywhere.
    pub fn connection(&self) -> Connection {
        Connection { user: "root".into(), groups: self.groups.clone(), ..Connection::default() }
    }

    /// Why root is refused wherever root comes from; `None` when there is a place to come from with a way in.
    pub fn refusal<'a>(&self, facts: &Facts, sshd: &'a Sshd) -> Option<Refusal<'a>> {
        let reader = sshd.reader();
        let usual = self.connection();
        let refusal = self.refusal_of(facts, sshd, &sshd.tree.effective(&reader, &usual), false)?;
        // A block for some addresses may let root in from there, which is then how it is meant.
        let elsewhere = sshd.tree.origins(&reader).into_iter().any(|(source, directive)| {
            let connection = Connection { assumed: Some((source, directive.line)), ..usual.clone() };
            self.refusal_of(facts, sshd, &sshd.tree.effective(&reader, &connection), true).is_none()
        });
        (!elsewhere && self.refusal_of(facts, sshd, &sshd.tree.effective(&reader, &usual), true).is_some())
            .then_some(refusal)
    }

    /// The rules in sshd's order (auth.c: allowed_user(), auth_root_allowed()). `assumed` takes hosts behind an `@` for met.
    fn refusal_of<'a>(
        &self,
        facts: &Facts,
        sshd: &Sshd,
        effective: &Effective<'a>,
        assumed: bool,
    ) -> Option<Refusal<'a>> {
        let root = self.connection();
        if let Some(setting) = effective.setting("RefuseConnection").filter(|(_, line)| is_yes(line.arg(0))) {
            return Some(Refusal::Connection(setting));
        }
        // auth.c, allowed_user(): the prefix is the one of Linux.
        let without_pam = effective.setting("UsePAM").filter(|(_, line)| !is_yes(line.arg(0)));
        if let Some(setting) = without_pam.filter(|_| self.locked) {
            return Some(Refusal::Locked(setting));
        }
        let is_user = |pattern: &[u8], assumed| matching::user_matches(&root, pattern, assumed);
        let is_group = |pattern: &BString| matching::any_group_matches(&self.groups, std::slice::from_ref(pattern));
        // Who is refused from some hosts only is not refused.
        let refused = word_of(effective, "DenyUsers", &|word| is_user(word, false))
            .or_else(|| word_of(effective, "DenyGroups", &is_group));
        if let Some((setting, index)) = refused {
            return Some(Refusal::Denied(setting, index));
        }
        for (name, allowed) in [
            ("AllowUsers", word_of(effective, "AllowUsers", &|word| is_user(word, assumed)).is_some()),
            ("AllowGroups", word_of(effective, "AllowGroups", &is_group).is_some()),
        ] {
            if let (Some(setting), false) = (effective.all(name).last(), allowed) {
                return Some(Refusal::NotAllowed(*setting));
            }
        }
        self.refused_methods(facts, sshd, effective).or_else(|| no_session(facts, effective))
    }

    fn refused_methods<'a>(&self, facts: &Facts, sshd: &Sshd, effective: &Effective<'a>) -> Option<Refusal<'a>> {
        let keys = self.keys(facts, effective);
        // A key that only runs a command is none for who wants a shell.
        let any_key = keys.unseen || keys.free;
        let password = self.password || (self.empty_password && effective.value("PermitEmptyPasswords", "no") == "yes");
        let has = |method: &str| match method {
            "publickey" => any_key,
            "password" | "keyboard-interactive" => password,
            _ => true,
        };
        let default = match sshd.reader().version {
            Some(version) if version < Version(7, 0) => "yes",
            _ => "prohibit-password",
        };
        let permit = effective.value("PermitRootLogin", default);
        let permitted = |method: &str| match permit.as_str() {
            "yes" => true,
            "no" => false,
            // What the key runs may be a shell.
            "forced-commands-only" => method == "publickey" && any_key,
            _ => !matches!(method, "password" | "keyboard-interactive"),
        };
        // Without PAM keyboard-interactive has nothing to ask.
        let enabled = |method: &str| {
            effective.is_enabled(method)
                && (method != "keyboard-interactive" || effective.value("UsePAM", "no") == "yes")
        };
        let all = ["publickey", "password", "keyboard-interactive", "hostbased", "gssapi-with-mic", "gssapi-keyex"];
        let nothing = || keys.forced.clone().map(Refusal::OnlyCommand);
        if !any_key && !password {
            return Some(nothing().unwrap_or(Refusal::NothingToShow));
        }
        match effective.method_lists() {
            None if all.iter().any(|method| enabled(method) && has(method) && permitted(method)) => return None,
            Some(lists) => {
                let usable = |list: &Vec<String>| list.iter().all(|method| enabled(method) && has(method));
                if lists.iter().any(|list| usable(list) && list.iter().all(|method| permitted(method))) {
                    return None;
                }
                if let Some(setting) = effective.setting("AuthenticationMethods").filter(|_| !lists.iter().any(usable))
                {
                    return Some(Refusal::Methods(setting));
                }
            }
            None => {}
        }
        let usable: Vec<&str> = all.into_iter().filter(|method| enabled(method) && has(method)).collect();
        if usable.is_empty() {
            let flags = ["PubkeyAuthentication", "PasswordAuthentication", "KbdInteractiveAuthentication"];
            let wanted = if any_key { &flags[..1] } else { &flags[1..] };
            return Some(Refusal::SwitchedOff(wanted.iter().filter_map(|flag| effective.setting(flag)).collect()));
        }
        // Whoever gave root such a key wants no more of root over ssh.
        let by_key = permitted("publickey") || permit == "forced-commands-only";
        let by_command = nothing().filter(|_| by_key && !any_key && effective.is_enabled("publickey"));
        Some(by_command.unwrap_or_else(|| Refusal::RootLogin(effective.setting("PermitRootLogin"), permit)))
    }

    /// The keys that these settings lead to.
    pub fn keys(&self, facts: &Facts, effective: &Effective<'_>) -> Keys {
        Keys::by(facts, effective, "root", "0", &self.home)
    }
}

/// What leaves no session of root a shell: a ForceCommand of something else, or a ChrootDirectory that is not there.
fn no_session<'a>(facts: &Facts, effective: &Effective<'a>) -> Option<Refusal<'a>> {
    let force = effective.setting("ForceCommand");
    let force = force.filter(|(_, line)| line.rest != "none" && gives_shell(&line.rest) == Some(false));
    let chroot = effective.setting("ChrootDirectory").filter(|(_, line)| {
        let dir = line.arg(0).to_str_lossy();
        dir.starts_with('/') && !dir.contains('%') && facts.root().exists(dir.as_ref()).is_ok_and(|there| !there)
    });
    force.or(chroot).map(Refusal::Session)
}

fn is_yes(word: &[u8]) -> bool {
    word.eq_ignore_ascii_case(b"yes")
}

/// The first word of a keyword's lines that is meant.
fn word_of<'a>(
    effective: &Effective<'a>,
    name: &str,
    is_meant: &dyn Fn(&BString) -> bool,
) -> Option<(Setting<'a>, usize)> {
    effective.all(name).iter().find_map(|setting| {
        let index = setting.1.args.iter().position(|word| is_meant(&word.text))?;
        Some((*setting, index))
    })
}
