//! The account files of the target.

use std::path::PathBuf;
use std::sync::Arc;

use bstr::BString;
use sickbay_formats::accounts::{AccountFile, Entry, Kind, Password};

use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::model::source::SourceFile;
use crate::tr;

/// passwd and group, which every user may read.
#[derive(Debug)]
pub struct Users {
    passwd: Option<Arc<SourceFile>>,
    group: Option<Arc<SourceFile>>,
}

/// passwd, group and shadow, as they were read.
#[derive(Debug)]
pub struct Accounts {
    users: Arc<Users>,
    shadow: Option<Arc<SourceFile>>,
}

/// What is there and is no file is none: `account-file-damaged` says so.
fn file(facts: &Facts, kind: Kind) -> Result<Option<Arc<SourceFile>>, Skip> {
    match facts.root().stat(kind.path()) {
        Ok(there) if !there.is_file() => Ok(None),
        _ => facts.file(kind.path()),
    }
}

impl Fact for Users {
    fn gather(facts: &Facts) -> Result<Users, Skip> {
        Ok(Users { passwd: file(facts, Kind::Passwd)?, group: file(facts, Kind::Group)? })
    }
}

impl Fact for Accounts {
    fn gather(facts: &Facts) -> Result<Accounts, Skip> {
        Ok(Accounts { users: facts.get::<Users>()?, shadow: file(facts, Kind::Shadow)? })
    }
}

impl Users {
    /// The file itself; `None` when there is none.
    pub fn file(&self, kind: Kind) -> Option<&Arc<SourceFile>> {
        match kind {
            Kind::Passwd => self.passwd.as_ref(),
            Kind::Group => self.group.as_ref(),
            Kind::Shadow | Kind::Gshadow => None,
        }
    }

    /// What is in a file; nothing when it is not there.
    pub fn parsed(&self, kind: Kind) -> AccountFile<'_> {
        AccountFile::parse(kind, self.file(kind).map(|file| file.bytes.as_slice()).unwrap_or_default())
    }

    /// The groups that an account is in.
    pub fn groups_of(&self, account: &Entry<'_>) -> Vec<BString> {
        let (gid, name) = (account.number(3), account.name());
        let is_member = |group: &&Entry<'_>| group.number(2) == gid || group.members().any(|member| member == name);
        self.parsed(Kind::Group).good().filter(is_member).map(|group| group.name().to_owned()).collect()
    }
}

impl Accounts {
    /// The file itself; `None` when there is none.
    pub fn file(&self, kind: Kind) -> Option<&Arc<SourceFile>> {
        match kind {
            Kind::Shadow => self.shadow.as_ref(),
            _ => self.users.file(kind),
        }
    }

    /// What is in a file; nothing when it is not there.
    pub fn parsed(&self, kind: Kind) -> AccountFile<'_> {
        AccountFile::parse(kind, self.file(kind).map(|file| file.bytes.as_slice()).unwrap_or_default())
    }

    /// A file that has something in it, for checks of single lines; that it has not is `account-file-damaged`'s matter.
    pub fn present(&self, kind: Kind) -> Result<(&Arc<SourceFile>, AccountFile<'_>), Skip> {
        match self.file(kind) {
            Some(file) if !self.parsed(kind).empty => Ok((file, self.parsed(kind))),
            _ => Err(Skip::NotApplicable(tr!("{path} does not exist", path = kind.path()))),
        }
    }

    /// What the password of an account lets in.
    pub fn password(&self, account: &Entry<'_>) -> Password {
        match Password::of(account.field(1)) {
            Password::Shadowed => match self.parsed(Kind::Shadow).find(account.name()) {
                Some(line) => Password::of(line.field(1)),
                None => Password::None,
            },
            password => password,
        }
    }

    /// What root's password lets in.
    pub fn root_password(&self) -> Password {
        self.parsed(Kind::Passwd).find(b"root").map_or(Password::None, |root| self.password(root))
    }

    /// root's line in a copy of shadow that has a password for it, with the path of the copy.
    pub fn root_of_copy(facts: &Facts) -> Option<(PathBuf, Vec<u8>)> {
        let (copy, backup) = Accounts::backup(facts, Kind::Shadow)?;
        let line = AccountFile::parse(Kind::Shadow, &backup.bytes).find(b"root")?.text.to_owned();
        Some((copy, line))
    }

    /// A copy of an account file that the system's own tools left, sound and with root in it; with the path of the copy.
    pub fn backup(facts: &Facts, kind: Kind) -> Option<(PathBuf, Arc<SourceFile>)> {
        let name = kind.path().trim_start_matches("/etc/");
        let copies = [format!("/etc/{name}-"), format!("/var/backups/{name}.bak")];
        copies.iter().find_map(|path| {
            let file = facts.file(path).ok()??;
            let parsed = AccountFile::parse(kind, &file.bytes);
            let root = parsed.find(b"root")?;
            let usable = kind != Kind::Shadow || Password::of(root.field(1)) == Password::Hash;
            (parsed.sound() && usable).then(|| (PathBuf::from(path), Arc::clone(&file)))
        })
    }
}
