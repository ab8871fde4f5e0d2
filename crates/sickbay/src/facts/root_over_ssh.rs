//! How root gets in over ssh, or why not: sshd's rules applied to root's own keys and password.

use std::path::{Path, PathBuf};

use bstr::{BString, ByteSlice};
use sickbay_formats::accounts::{Entry, Kind, Password};
use sickbay_formats::lines;
use sickbay_formats::sshd_config::Version;
use sickbay_formats::sshd_config::matching::{self, Connection};
use sickbay_formats::sshd_config::tree::{Effective, Setting};

use crate::check::Skip;
use crate::facts::accounts::Accounts;
use crate::facts::sshd::Sshd;
use crate::facts::{Fact, Facts};

/// What root can show to sshd.
#[derive(Debug)]
pub struct RootOverSsh {
    /// The groups that root is in.
    pub groups: Vec<BString>,
    /// root's home directory.
    pub home: PathBuf,
    /// root has a password that can be given.
    pub password: bool,
    /// root's password is empty.
    pub empty_password: bool,
}

/// Why sshd refuses root.
#[derive(Clone, Debug)]
pub enum Refusal<'a> {
    /// A word of DenyUsers or DenyGroups is meant for root.
    Denied(Setting<'a>, usize),
    /// The lines of AllowUsers or AllowGroups name others only; the last of them.
    NotAllowed(Setting<'a>),
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
    /// root has neither a key nor a password.
    NothingToShow,
}

/// A file of keys of root.
#[derive(Debug)]
pub struct KeyFile {
    /// Where it is.
    pub path: PathBuf,
    /// Some line lets root in without a forced command.
    pub free: bool,
    /// Some line lets root in with a forced command.
    pub forced: bool,
}

impl Fact for RootOverSsh {
    fn gather(facts: &Facts) -> Result<RootOverSsh, Skip> {
        let accounts = facts.get::<Accounts>()?;
        let (passwd, shadow, group) =
            (accounts.parsed(Kind::Passwd), accounts.parsed(Kind::Shadow), accounts.parsed(Kind::Group));
        let root = passwd.find(b"root");
        let gid = root.and_then(|root| root.number(3)).unwrap_or(0);
        let is_member = |group: &&Entry<'_>| group.number(2) == Some(gid) || group.members().any(|name| name == "root");
        let field = match root.map(|root| Password::of(root.field(1))) {
            Some(Password::Shadowed) => shadow.find(b"root").map(|line| line.field(1)),
            _ => root.map(|root| root.field(1)),
        };
        let password = field.map(|field| Password::of(field));
        let home = root.map(|root| root.field(5).to_str_lossy().into_owned()).filter(|home| home.starts_with('/'));
        Ok(RootOverSsh {
            groups: group.good().filter(is_member).map(|group| group.name().to_owned()).collect(),
            home: PathBuf::from(home.unwrap_or_else(|| "/root".to_owned())),
            password: matches!(password, Some(Password::Hash)),
            empty_password: matches!(password, Some(Password::Empty)),
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
        // Keys that a program or a certificate authority tells cannot be seen from here.
        let foreign = |name: &str| !matches!(effective.value(name, "none").as_str(), "none" | "");
        let foreign = foreign("AuthorizedKeysCommand") || foreign("TrustedUserCAKeys");
        let free_key = foreign || keys.iter().any(|file| file.free);
        let any_key = free_key || keys.iter().any(|file| file.forced);
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
            "forced-commands-only" => method == "publickey" && (foreign || keys.iter().any(|file| file.forced)),
            _ => !matches!(method, "password" | "keyboard-interactive"),
        };
        // Without PAM keyboard-interactive has nothing to ask.
        let enabled = |method: &str| {
            effective.is_enabled(method)
                && (method != "keyboard-interactive" || effective.value("UsePAM", "no") == "yes")
        };
        let all = ["publickey", "password", "keyboard-interactive", "hostbased", "gssapi-with-mic", "gssapi-keyex"];
        if !any_key && !password {
            return Some(Refusal::NothingToShow);
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
        Some(Refusal::RootLogin(effective.setting("PermitRootLogin"), permit))
    }

    /// The files of root's keys that are there and hold keys.
    pub fn keys(&self, facts: &Facts, effective: &Effective<'_>) -> Vec<KeyFile> {
        let set = effective.words("AuthorizedKeysFile");
        let patterns: Vec<String> = match set.as_slice() {
            [] => vec![".ssh/authorized_keys".to_owned(), ".ssh/authorized_keys2".to_owned()],
            words => words.iter().map(ToString::to_string).filter(|word| word != "none").collect(),
        };
        let home = self.home.to_string_lossy();
        patterns
            .iter()
            .filter_map(|pattern| {
                let path = pattern.replace("%h", &home).replace("%u", "root").replace("%U", "0").replace("%%", "%");
                let path = path.strip_prefix("~/").unwrap_or(&path);
                key_file(facts, &self.home.join(Path::new(path)))
            })
            .collect()
    }
}

fn key_file(facts: &Facts, path: &Path) -> Option<KeyFile> {
    let file = facts.file(path).ok()??;
    let mut found = KeyFile { path: path.to_owned(), free: false, forced: false };
    for line in lines::lines(&file.bytes) {
        let text = line.text.trim_ascii();
        let is_key = ["ssh-", "ecdsa-", "sk-"].iter().any(|kind| text.contains_str(kind)) && text.contains_str("AAAA");
        if text.starts_with(b"#") || !is_key {
            continue;
        }
        let options = text.split_str("AAAA").next().unwrap_or_default();
        let options = options.to_ascii_lowercase();
        if options.contains_str("command=\"") {
            found.forced = true;
        } else {
            found.free = true;
        }
    }
    (found.free || found.forced).then_some(found)
}

/// What ends every session of root at once: a ForceCommand that does nothing, or a ChrootDirectory that is not there.
fn no_session<'a>(facts: &Facts, effective: &Effective<'a>) -> Option<Refusal<'a>> {
    const NOTHING: [&str; 5] = ["/bin/false", "/usr/bin/false", "/sbin/nologin", "/usr/sbin/nologin", "/bin/nologin"];
    let force = effective.setting("ForceCommand").filter(|(_, line)| NOTHING.iter().any(|no| line.rest == *no));
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
