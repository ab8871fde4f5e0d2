//! Paths of the system that were given to somebody: what a `chown -R` that went too high leaves behind, and whose each
//! path was.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use bstr::ByteSlice;
use sickbay_formats::accounts::{AccountFile, Kind};
use sickbay_target::{Dir, FileKind, Metadata};

use super::{DonorPackages, Packages, Survey};
use super::{Fact, Facts};
use crate::facts::login::accounts::Users;
use crate::model::outcome::Skip;

/// A path that belongs to somebody else than it should.
#[derive(Debug, Clone)]
pub struct Taken {
    /// The path.
    pub path: PathBuf,
    /// What it is now.
    pub now: Metadata,
    /// User and group that it should have.
    pub owner: (u32, u32),
}

/// The paths of the system that were given away.
#[derive(Debug, Default)]
pub struct Owners {
    /// Users that packaged paths were given to.
    pub users: BTreeSet<u32>,
    /// Groups likewise.
    pub groups: BTreeSet<u32>,
    /// What packages brought.
    pub packaged: Vec<Taken>,
    /// What lies in such directories and is the system's own.
    pub besides: Vec<Taken>,
    /// The uppermost paths that were given away, too, and of which it is not known whose they were.
    pub unknown: Vec<PathBuf>,
    known: HashSet<PathBuf>,
}

/// Directories at which a recursive chown is begun, by mistake.
const TOPS: [&str; 9] = ["/etc", "/usr", "/bin", "/sbin", "/lib", "/lib64", "/boot", "/var", "/root"];

/// So many files are not given to an account of the system on purpose.
const MANY: usize = 20;

/// nobody and nogroup; also what an id is shown as that a user namespace does not map.
pub const NOBODY: u32 = 65534;

/// More paths than any system has.
const LIMIT: usize = 500_000;

/// Directories of `/var` in which everything is root's, whatever made it, but for what has a place of its own below.
const ROOTS_OWN: [&str; 16] = [
    "/var/backups",
    "/var/cache/apt",
    "/var/cache/debconf",
    "/var/cache/dnf",
    "/var/cache/ldconfig",
    "/var/cache/yum",
    "/var/lib/apt",
    "/var/lib/dnf",
    "/var/lib/dpkg",
    "/var/lib/grub",
    "/var/lib/initramfs-tools",
    "/var/lib/pam",
    "/var/lib/rpm",
    "/var/lib/sickbay",
    "/var/lib/systemd",
    "/var/lib/ucf",
];

/// Where the data of people and of what they run lies, which belongs to accounts on purpose.
const PEOPLES: [&str; 7] = ["/home", "/srv", "/opt", "/mnt", "/media", "/tmp", "/var/tmp"];

/// Paths of Debian, Ubuntu and SUSE, whose users or groups are set by scripts of packages, or by their archives; of several
/// names the first that there is.
const OTHERS: [(&str, &str, &[&str]); 41] = [
    ("/etc/shadow", "root", &["shadow"]),
    ("/etc/shadow-", "root", &["shadow"]),
    ("/etc/gshadow", "root", &["shadow"]),
    ("/etc/gshadow-", "root", &["shadow"]),
    ("/sbin/unix_chkpwd", "root", &["shadow"]),
    ("/usr/sbin/unix_chkpwd", "root", &["shadow"]),
    ("/usr/bin/chage", "root", &["shadow"]),
    ("/usr/bin/expiry", "root", &["shadow"]),
    ("/usr/bin/ssh-agent", "root", &["_ssh", "ssh"]),
    ("/usr/bin/crontab", "root", &["crontab"]),
    ("/var/spool/cron/crontabs", "root", &["crontab"]),
    ("/usr/bin/at", "daemon", &["daemon"]),
    ("/var/spool/cron/atjobs", "daemon", &["daemon"]),
    ("/var/spool/cron/atspool", "daemon", &["daemon"]),
    ("/usr/bin/write", "root", &["tty"]),
    ("/usr/bin/write.ul", "root", &["tty"]),
    ("/usr/bin/bsd-write", "root", &["tty"]),
    ("/usr/bin/screen", "root", &["utmp"]),
    ("/usr/bin/dotlockfile", "root", &["mail"]),
    ("/usr/bin/lockfile", "root", &["mail"]),
    ("/usr/bin/procmail", "root", &["mail"]),
    ("/var/mail", "root", &["mail"]),
    ("/var/spool/mail", "root", &["mail"]),
    ("/usr/bin/plocate", "root", &["plocate"]),
    ("/usr/bin/mlocate", "root", &["mlocate"]),
    ("/var/lib/plocate", "root", &["plocate"]),
    ("/usr/sbin/postdrop", "root", &["postdrop"]),
    ("/usr/sbin/postqueue", "root", &["postdrop"]),
    ("/usr/lib/dbus-1.0/dbus-daemon-launch-helper", "root", &["messagebus"]),
    ("/usr/libexec/dbus-1/dbus-daemon-launch-helper", "root", &["dbus", "messagebus"]),
    ("/var/log/btmp", "root", &["utmp"]),
    ("/var/log/wtmp", "root", &["utmp"]),
    ("/var/log/lastlog", "root", &["utmp"]),
    ("/var/log/journal", "root", &["systemd-journal"]),
    ("/var/cache/man", "man", &["man"]),
    ("/var/local", "root", &["staff"]),
    ("/var/lib/polkit-1", "polkitd", &["root"]),
    ("/var/cache/apt/archives/partial", "_apt", &["root"]),
    ("/var/tmp", "root", &["root"]),
    ("/etc/ssl/private", "root", &["ssl-cert"]),
    ("/etc/chrony/chrony.keys", "root", &["_chrony"]),
];

impl Fact for Owners {
    fn gather(facts: &Facts) -> Result<Owners, Skip> {
        let (packages, accounts) = (facts.get::<Packages>()?, facts.get::<Users>()?);
        let mut owners = Owners::default();
        owners.find_takers(facts, &accounts)?;
        if owners.users.is_empty() && owners.groups.is_empty() {
            return Ok(owners);
        }
        let rules = facts.get::<Rules>()?;
        let mut dirs: Vec<PathBuf> = TOPS.iter().map(PathBuf::from).collect();
        let mut open: Option<(&Path, Option<Dir>)> = None;
        let mut seen = HashSet::new();
        for file in packages.files.iter().take(LIMIT) {
            let path = file.as_path();
            let (Some(above), Some(name)) = (path.parent(), path.file_name()) else { continue };
            if PEOPLES.iter().any(|dir| path.starts_with(dir) && path != Path::new(dir)) || !seen.insert(path) {
                continue;
            }
            if open.as_ref().is_none_or(|(path, _)| *path != above) {
                open = Some((above, facts.root().dir(above).ok()));
            }
            let Some((_, Some(dir))) = &open else { continue };
            let Some(now) = dir.metadata(name).ok().filter(|now| owners.has_taken(now)) else { continue };
            let exact = file.exact.as_ref().and_then(|exact| exact.owner);
            let named = exact.or_else(|| rules.owner(facts, &packages, path, &now));
            // What packages make below /var belongs to accounts of the system more often than not.
            let by_default = || {
                (!rules.is_system(&accounts, now.uid) || !path.starts_with("/var") || is_roots_own(path))
                    .then_some((0, 0))
            };
            let Some(owner) = named.or_else(by_default).filter(|owner| *owner != (now.uid, now.gid)) else { continue };
            if now.is_dir() {
                dirs.push(path.to_owned());
            }
            owners.known.insert(path.to_owned());
            owners.packaged.push(Taken { path: path.to_owned(), now, owner });
        }
        dirs.sort();
        dirs.dedup();
        for dir in &dirs {
            let Ok(now) = facts.root().metadata(dir) else { continue };
            if now.is_dir() && (owners.known.contains(dir) || owners.has_taken(&now)) {
                owners.look_beside(facts, &packages, &rules, dir, 0);
            }
        }
        owners.packaged.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(owners)
    }
}

impl Owners {
    /// Whether this is told of as one of many.
    pub fn covers(&self, path: &Path) -> bool {
        self.is_recursive() && self.known.contains(path)
    }

    /// Whether so much was given away that it was not done path by path.
    pub fn is_recursive(&self) -> bool {
        self.packaged.len() >= MANY
    }

    /// Everything that is to be given back.
    pub fn all(&self) -> impl Iterator<Item = &Taken> {
        self.packaged.iter().chain(&self.besides)
    }

    fn has_taken(&self, now: &Metadata) -> bool {
        self.users.contains(&now.uid) || self.groups.contains(&now.gid)
    }

    /// To whom programs, libraries and the directories at the top were given, who should not have them: somebody who is no account of
    /// the system, or who has many of them.
    fn find_takers(&mut self, facts: &Facts, accounts: &Users) -> Result<(), Skip> {
        let survey = facts.get::<Survey>()?;
        let (mut users, mut groups) = (BTreeMap::<u32, usize>::new(), BTreeMap::<u32, usize>::new());
        for (_, now) in &survey.foreign {
            *users.entry(now.uid).or_default() += 1;
            *groups.entry(now.gid).or_default() += 1;
        }
        let passwd = accounts.parsed(Kind::Passwd);
        let group = accounts.parsed(Kind::Group);
        let is_stranger = |file: &AccountFile<'_>, id: u32| {
            let known = file.good().find(|entry| entry.number(2) == Some(i64::from(id)));
            known.is_none_or(|_| id >= 1000 && id != NOBODY)
        };
        // Without whole account files nobody is known.
        if !passwd.sound() || !group.sound() || passwd.find(b"root").is_none() {
            return Ok(());
        }
        let taken = |counts: BTreeMap<u32, usize>, file: &AccountFile<'_>, many: usize| {
            let found = counts.into_iter().filter(|(id, _)| *id != 0);
            found.filter(|(id, count)| is_stranger(file, *id) || *count >= many).map(|(id, _)| id).collect::<Vec<_>>()
        };
        self.users.extend(taken(users, &passwd, MANY));
        // Games, mail and terminals have groups whose programs keep scores and locks.
        self.groups.extend(taken(groups, &group, MANY * 10));
        for top in TOPS {
            let Ok(now) = facts.root().metadata(top) else { continue };
            if now.uid != 0 && now.kind == FileKind::Dir {
                self.users.insert(now.uid);
                if now.gid != 0 && is_stranger(&group, now.gid) {
                    self.groups.insert(now.gid);
                }
            }
        }
        Ok(())
    }

    /// What lies in a directory that was given away and no package brought.
    fn look_beside(&mut self, facts: &Facts, packages: &Packages, rules: &Rules, dir: &Path, depth: usize) {
        if depth > 64 || self.besides.len() >= LIMIT || PEOPLES.iter().any(|peoples| dir.starts_with(peoples)) {
            return;
        }
        // The directories at the top may be in no package.
        if depth == 0 && !self.known.contains(dir) && packages.find(dir).is_none() {
            self.take_beside(facts, packages, rules, dir);
        }
        for entry in facts.root().read_dir(dir).unwrap_or_default() {
            let path = dir.join(&entry.name);
            if packages.find(&path).is_some() || self.known.contains(&path) {
                continue;
            }
            if self.take_beside(facts, packages, rules, &path) && entry.kind == FileKind::Dir {
                self.look_beside(facts, packages, rules, &path, depth + 1);
            }
        }
    }

    /// Whether what is in it is to be looked at, too.
    fn take_beside(&mut self, facts: &Facts, packages: &Packages, rules: &Rules, path: &Path) -> bool {
        let Ok(now) = facts.root().metadata(path) else { return false };
        let is_peoples = |dir: &&str| path.starts_with(dir) && path != Path::new(dir);
        if !self.has_taken(&now) || PEOPLES.iter().any(is_peoples) {
            return false;
        }
        let is_ours = !path.starts_with("/var") || path == Path::new("/var") || is_roots_own(path);
        let owner = rules.owner(facts, packages, path, &now).or_else(|| is_ours.then_some((0, 0)));
        let Some(owner) = owner else {
            self.unknown.push(path.to_owned());
            return false;
        };
        if owner != (now.uid, now.gid) {
            self.known.insert(path.to_owned());
            self.besides.push(Taken { path: path.to_owned(), now, owner });
        }
        true
    }
}

fn is_roots_own(path: &Path) -> bool {
    ROOTS_OWN.iter().any(|dir| path.starts_with(dir))
}

/// What is known of owners besides rpm's database.
struct Rules {
    overrides: BTreeMap<PathBuf, (u32, u32)>,
    others: BTreeMap<PathBuf, (u32, u32)>,
    tmpfiles: BTreeMap<PathBuf, (u32, u32)>,
    homes: Vec<(PathBuf, (u32, u32))>,
    donor: Option<[BTreeMap<u32, u32>; 2]>,
    polkitd: Option<(u32, u32)>,
}

impl Fact for Rules {
    fn gather(facts: &Facts) -> Result<Rules, Skip> {
        let accounts = facts.get::<Users>()?;
        let (passwd, group) = (accounts.parsed(Kind::Passwd), accounts.parsed(Kind::Group));
        let id = |file: &AccountFile<'_>, name: &[u8]| -> Option<u32> {
            if name == b"root" || name == b"-" {
                return Some(0);
            }
            let number = name.strip_prefix(b"#").unwrap_or(name).to_str().ok().and_then(|number| number.parse().ok());
            number.or_else(|| u32::try_from(file.find(name)?.number(2)?).ok())
        };
        let pair = |user: &[u8], of: &[u8]| Some((id(&passwd, user)?, id(&group, of)?));
        let others = OTHERS.iter().filter_map(|(path, user, groups)| {
            let of = groups.iter().find_map(|name| id(&group, name.as_bytes()))?;
            Some((PathBuf::from(path), (id(&passwd, user.as_bytes())?, of)))
        });
        let words =
            |line: &[u8]| -> Vec<Vec<u8>> { line.fields_with(char::is_whitespace).map(<[u8]>::to_vec).collect() };
        let path_of = |bytes: &[u8]| PathBuf::from(std::ffi::OsStr::from_bytes(bytes));
        let mut overrides = BTreeMap::new();
        if let Ok(Some(file)) = facts.file("/var/lib/dpkg/statoverride") {
            for line in file.bytes.lines() {
                if let [user, of, _, path] = words(line).as_slice()
                    && let Some(owner) = pair(user, of)
                {
                    overrides.insert(path_of(path), owner);
                }
            }
        }
        let mut tmpfiles = BTreeMap::new();
        for dir in ["/usr/lib/tmpfiles.d", "/etc/tmpfiles.d"] {
            let names = facts.root().read_dir(dir).unwrap_or_default();
            let of_tmpfiles = |name: &std::ffi::OsString| name.as_encoded_bytes().ends_with(b".conf");
            for entry in names.iter().filter(|entry| of_tmpfiles(&entry.name)).take(LIMIT) {
                let Ok(Some(file)) = facts.file(Path::new(dir).join(&entry.name)) else { continue };
                for line in file.bytes.lines() {
                    let words = words(line);
                    let [kind, path, _, user, of, ..] = words.as_slice() else { continue };
                    let makes = kind.first().is_some_and(|kind| b"fFdDevqQzZ".contains(kind));
                    let plain = path.starts_with(b"/") && !path.iter().any(|byte| b"%*?[".contains(byte));
                    if makes
                        && plain
                        && let Some(owner) = pair(user, of)
                    {
                        tmpfiles.insert(path_of(path), owner);
                    }
                }
            }
        }
        let homes = passwd.good().filter_map(|entry| {
            let (uid, gid) = (u32::try_from(entry.number(2)?).ok()?, u32::try_from(entry.number(3)?).ok()?);
            let home = path_of(entry.field(5));
            // A directory of one service, not one that many share.
            let own = home.components().count() >= 4 && home.starts_with("/var");
            (own && uid != 0 && uid < 1000).then_some((home, (uid, gid)))
        });
        let names = |kind: Kind, here: &AccountFile<'_>| -> Option<BTreeMap<u32, u32>> {
            let text = facts.donor()?.root().read(kind.path()).ok()?;
            let theirs = AccountFile::parse(kind, &text);
            let same = theirs.good().filter_map(|entry| {
                let (theirs, ours) = (entry.number(2)?, here.find(entry.name())?.number(2)?);
                Some((u32::try_from(theirs).ok()?, u32::try_from(ours).ok()?))
            });
            // People of another machine own nothing here.
            Some(same.filter(|(theirs, ours)| *theirs < 1000 && *ours < 1000).collect())
        };
        Ok(Rules {
            overrides,
            others: others.collect(),
            tmpfiles,
            homes: homes.collect(),
            polkitd: pair(b"polkitd", b"polkitd"),
            donor: names(Kind::Passwd, &passwd).zip(names(Kind::Group, &group)).map(|(users, groups)| [users, groups]),
        })
    }
}

impl Rules {
    /// Whose a path is by anything that says so.
    fn owner(&self, facts: &Facts, packages: &Packages, path: &Path, now: &Metadata) -> Option<(u32, u32)> {
        // A link has no secrets, whatever it leads to.
        if now.kind == FileKind::Symlink {
            return Some((0, 0));
        }
        // polkitd alone reads its rules, where they are for nobody else.
        if let Some((user, group)) = self.polkitd.filter(|_| path.ends_with("polkit-1/rules.d")) {
            return Some(match now.mode & 0o077 {
                0 => (user, 0),
                0o050 => (0, group),
                // Its mode was changed, and says nothing until it is restored: its owner may be right.
                _ if now.uid == user || now.gid == group => (now.uid, now.gid),
                _ => (0, 0),
            });
        }
        let told = self.overrides.get(path).or_else(|| self.others.get(path)).or_else(|| self.tmpfiles.get(path));
        if let Some(owner) = told {
            return Some(*owner);
        }
        let home = self.homes.iter().filter(|(home, _)| path.starts_with(home));
        if let Some((_, owner)) = home.max_by_key(|(home, _)| home.components().count()) {
            return Some(*owner);
        }
        let shared = self.others.iter().find(|(dir, _)| dir.ends_with("man") && path.starts_with(dir));
        shared.map(|(_, owner)| *owner).or_else(|| self.of_donor(facts, packages, path, now))
    }

    /// Whose it is on the donor, by names, where the same package has it there, or none has it on either.
    fn of_donor(&self, facts: &Facts, packages: &Packages, path: &Path, now: &Metadata) -> Option<(u32, u32)> {
        let [users, groups] = self.donor.as_ref()?;
        let theirs = facts.donor()?.root().metadata(path).ok().filter(|theirs| theirs.kind == now.kind)?;
        let donor = facts.get::<DonorPackages>().ok()?;
        let name = |of: &super::Database| -> Option<Vec<u8>> { Some(of.package(of.file(path)?)?.name.to_vec()) };
        if name(&donor.0) != name(packages) {
            return None;
        }
        let id = |ids: &BTreeMap<u32, u32>, id: u32| if id == 0 { Some(0) } else { ids.get(&id).copied() };
        Some((id(users, theirs.uid)?, id(groups, theirs.gid)?))
    }

    fn is_system(&self, accounts: &Users, uid: u32) -> bool {
        let passwd = accounts.parsed(Kind::Passwd);
        uid < 1000 && passwd.good().any(|entry| entry.number(2) == Some(i64::from(uid)))
    }
}

/// The user and the group that a path of the system should have: by what says so on the target or its donor, else root's.
pub fn usual_owner(facts: &Facts, path: &Path, now: &Metadata) -> (u32, u32) {
    let (Ok(packages), Ok(rules)) = (facts.get::<Packages>(), facts.get::<Rules>()) else { return (0, 0) };
    let exact = packages.exact(path).and_then(|exact| exact.owner);
    exact.or_else(|| rules.owner(facts, &packages, path, now)).unwrap_or((0, 0))
}
