//! The keys with which an account comes in over ssh: the files that sshd is told to look into.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bstr::{BString, ByteSlice};
use sickbay_formats::accounts::{Entry, Kind};
use sickbay_formats::authorized_keys::accepted::Policy;
use sickbay_formats::authorized_keys::{gives_shell, keys};
use sickbay_formats::span::Span;
use sickbay_formats::sshd_config::matching::Connection;
use sickbay_formats::sshd_config::tree::Effective;

use crate::facts::Facts;
use crate::facts::login::accounts::Users;
use crate::facts::login::sshd::Sshd;
use crate::model::source::SourceFile;

/// What an account has to show to sshd besides a password.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    /// Some key gives a shell, or may: what its command starts is not known.
    pub free: bool,
    /// The first key that only runs a command, and the command.
    pub forced: Option<Forced>,
    /// Keys are told by a program, or signed by an authority: they may exist, and cannot be seen.
    pub unseen: bool,
    /// The files that hold keys.
    pub files: Vec<PathBuf>,
    /// The files that are looked into and are there.
    pub looked: Vec<Arc<SourceFile>>,
}

/// A key that only runs a command.
#[derive(Clone, Debug)]
pub struct Forced {
    /// The file.
    pub file: Arc<SourceFile>,
    /// The line.
    pub span: Span,
    /// What it runs.
    pub command: String,
}

impl Keys {
    /// The keys of `account`, as sshd would look for them.
    pub fn of(facts: &Facts, account: &Entry<'_>) -> Keys {
        let home = account.field(5).to_str_lossy().into_owned();
        let uid = account.field(2).to_str_lossy().into_owned();
        let name = account.name().to_str_lossy().into_owned();
        let Ok(sshd) = facts.get::<Sshd>() else {
            return Keys::in_files(facts, &[], &Policy::default(), [&name, &uid], Path::new(&home));
        };
        let groups = facts.get::<Users>().map(|users| users.groups_of(account)).unwrap_or_default();
        let connection = Connection { user: BString::from(name.clone()), groups, ..Connection::default() };
        let effective = sshd.tree.effective(&sshd.reader(), &connection);
        let forced = effective.setting("ForceCommand").filter(|(_, line)| line.rest != "none");
        if !effective.is_enabled("publickey") || forced.is_some_and(|(_, line)| gives_shell(&line.rest) == Some(false))
        {
            return Keys::default();
        }
        Keys::by(facts, &effective, &name, &uid, Path::new(&home))
    }

    /// The keys of root by name.
    pub fn of_root(facts: &Facts) -> Keys {
        let users = facts.get::<Users>();
        users
            .ok()
            .and_then(|users| users.parsed(Kind::Passwd).find(b"root").map(|root| Keys::of(facts, root)))
            .unwrap_or_default()
    }

    /// The keys that settings lead to.
    pub fn by(facts: &Facts, effective: &Effective<'_>, name: &str, uid: &str, home: &Path) -> Keys {
        let set: Vec<String> = effective.words("AuthorizedKeysFile").iter().map(ToString::to_string).collect();
        let mut keys = Keys::in_files(facts, &set, &policy(facts, effective), [name, uid], home);
        let is_set = |name: &str| !matches!(effective.value(name, "none").as_str(), "none" | "");
        keys.unseen = is_set("AuthorizedKeysCommand") || is_set("TrustedUserCAKeys");
        keys
    }

    fn in_files(facts: &Facts, patterns: &[String], policy: &Policy, [name, uid]: [&str; 2], home: &Path) -> Keys {
        let usual = [".ssh/authorized_keys".to_owned(), ".ssh/authorized_keys2".to_owned()];
        let patterns = if patterns.is_empty() { &usual[..] } else { patterns };
        let mut all = Keys::default();
        for pattern in patterns.iter().filter(|pattern| !pattern.eq_ignore_ascii_case("none")) {
            let path = home.join(expanded(pattern, name, uid, &home.to_string_lossy()));
            if let Ok(Some(file)) = facts.file(&path) {
                all.add(facts, &file, policy);
            }
        }
        all
    }

    fn add(&mut self, facts: &Facts, file: &Arc<SourceFile>, policy: &Policy) {
        let mut any = false;
        for key in keys(&file.bytes) {
            let expired = key.value("expiry-time").is_some_and(|until| is_past(facts, &until));
            if expired || key.refusal(policy).is_some() {
                continue;
            }
            any = true;
            match key.value("command") {
                Some(command) if gives_shell(&command) == Some(false) => {
                    let command = String::from_utf8_lossy(&command).into_owned();
                    self.forced.get_or_insert_with(|| Forced { file: Arc::clone(file), span: key.span, command });
                }
                _ => self.free = true,
            }
        }
        self.looked.push(Arc::clone(file));
        if any {
            self.files.push(file.path.clone());
        }
    }
}

/// Which types of keys the installed sshd takes, as it is set up for a connection.
pub(crate) fn policy(facts: &Facts, effective: &Effective<'_>) -> Policy {
    let value =
        |names: [&str; 2]| names.into_iter().map(|name| effective.value(name, "")).find(|value| !value.is_empty());
    Policy {
        version: facts.get::<Sshd>().ok().and_then(|sshd| sshd.reader().version),
        accepted: value(["PubkeyAcceptedAlgorithms", "PubkeyAcceptedKeyTypes"]).unwrap_or_default(),
        // RHEL had it under another name before OpenSSH 9.1.
        least_rsa: value(["RequiredRSASize", "RSAMinSize"]).and_then(|value| value.parse().ok()),
    }
}

/// `%h`, `%u`, `%U` and `%%` of sshd_config(5), TOKENS.
fn expanded(pattern: &str, name: &str, uid: &str, home: &str) -> String {
    let mut path = String::new();
    let mut chars = pattern.chars();
    while let Some(char) = chars.next() {
        match char {
            '%' => match chars.next() {
                Some('h') => path.push_str(home),
                Some('u') => path.push_str(name),
                Some('U') => path.push_str(uid),
                Some(other) => path.push(other),
                None => {}
            },
            _ => path.push(char),
        }
    }
    path.strip_prefix("~/").map(str::to_owned).unwrap_or(path)
}

/// Whether a day of `expiry-time=` (YYYYMMDD and perhaps a time of day) is over.
fn is_past(facts: &Facts, until: &[u8]) -> bool {
    let day = until.get(..8).and_then(|day| day.to_str().ok()).filter(|day| day.bytes().all(|b| b.is_ascii_digit()));
    let today = facts.now().strftime("%Y%m%d").to_string();
    day.is_some_and(|day| day < today.as_str())
}
