//! The account files of the target, and who else than root administers it.

use std::path::PathBuf;
use std::sync::Arc;

use bstr::ByteSlice;
use sickbay_formats::accounts::{AccountFile, Entry, Kind, Password};
use sickbay_formats::lines;

use crate::check::Skip;
use crate::facts::{Fact, Facts, SourceFile};
use crate::tr;

/// passwd, shadow and group, as they were read.
#[derive(Debug)]
pub struct Accounts {
    passwd: Option<Arc<SourceFile>>,
    shadow: Option<Arc<SourceFile>>,
    group: Option<Arc<SourceFile>>,
}

impl Fact for Accounts {
    fn gather(facts: &Facts) -> Result<Accounts, Skip> {
        // What is there and is no file is none: `account-file-damaged` says so.
        let file = |kind: Kind| match facts.root().stat(kind.path()) {
            Ok(there) if !there.is_file() => Ok(None),
            _ => facts.file(kind.path()),
        };
        Ok(Accounts { passwd: file(Kind::Passwd)?, shadow: file(Kind::Shadow)?, group: file(Kind::Group)? })
    }
}

impl Accounts {
    /// The file itself; `None` when there is none.
    pub fn file(&self, kind: Kind) -> Option<&Arc<SourceFile>> {
        match kind {
            Kind::Passwd => self.passwd.as_ref(),
            Kind::Shadow => self.shadow.as_ref(),
            Kind::Group => self.group.as_ref(),
            Kind::Gshadow => None,
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

    /// Whether somebody else than root can log in and become root: an account with a password or a key that is in an
    /// administrators' group, has user ID 0, or stands in sudoers.
    pub fn has_other_administrator(&self, facts: &Facts) -> bool {
        !self.other_administrators(facts).is_empty()
    }

    /// The names of those.
    pub fn other_administrators(&self, facts: &Facts) -> Vec<String> {
        let (passwd, shadow, group) = (self.parsed(Kind::Passwd), self.parsed(Kind::Shadow), self.parsed(Kind::Group));
        let in_sudoers = sudoers(facts);
        let administers = |entry: &&Entry<'_>| {
            let name = entry.name();
            let mut groups = group
                .good()
                .filter(|group| group.number(2) == entry.number(3) || group.members().any(|member| member == name));
            let administers = entry.number(2) == Some(0)
                || in_sudoers.iter().any(|user| user == name)
                || groups.any(|group| {
                    ["sudo", "wheel", "admin", "google-sudoers"].iter().any(|known| group.name() == known)
                        || in_sudoers.iter().any(|user| user.strip_prefix(b"%") == Some(group.name().as_bytes()))
                });
            administers && (has_password(entry, &shadow) || has_key(facts, entry))
        };
        let others = passwd.good().filter(|entry| entry.name() != "root").filter(administers);
        others.map(|entry| entry.name().to_str_lossy().into_owned()).collect()
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

/// Whether keys let this account in over ssh.
pub fn has_key(facts: &Facts, entry: &Entry<'_>) -> bool {
    let home = entry.field(5).to_str_lossy();
    let keys = facts.file(format!("{home}/.ssh/authorized_keys"));
    keys.is_ok_and(|keys| keys.is_some_and(|keys| keys.bytes.contains_str("ssh-") || keys.bytes.contains_str("ecdsa-")))
}

fn has_password(entry: &Entry<'_>, shadow: &AccountFile<'_>) -> bool {
    let field = match Password::of(entry.field(1)) {
        Password::Shadowed => shadow.find(entry.name()).map(|line| line.field(1)),
        _ => Some(entry.field(1)),
    };
    field.is_some_and(|field| matches!(Password::of(field), Password::Hash | Password::Empty))
}

/// The first words of the lines of sudoers that give rights: users, and groups as `%name`.
fn sudoers(facts: &Facts) -> Vec<Vec<u8>> {
    let dropped = facts.root().read_dir("/etc/sudoers.d").unwrap_or_default();
    let paths = dropped.into_iter().map(|entry| PathBuf::from("/etc/sudoers.d").join(entry.name));
    let mut all = Vec::new();
    for path in paths.chain([PathBuf::from("/etc/sudoers")]) {
        let Ok(Some(file)) = facts.file(&path) else { continue };
        for line in lines::lines(&file.bytes) {
            let Some(word) = line.text.split(|byte| byte.is_ascii_whitespace()).find(|word| !word.is_empty()) else {
                continue;
            };
            if !word.starts_with(b"#") && !word.starts_with(b"@") && !word.starts_with(b"Defaults") {
                all.push(word.to_owned());
            }
        }
    }
    all
}
