//! Who besides root may log in and become root: by user ID 0, sudo, doas, or su and root's password.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bstr::{BStr, BString, ByteSlice};
use sickbay_formats::accounts::{Entry, Kind as File, Password};
use sickbay_formats::sudoers::{AliasKind, Grant, Member, Scope, What, is_alias, is_read, items};
use sickbay_formats::wildcard::fits;
use sickbay_formats::{doas_conf, nsswitch};
use sickbay_target::Metadata;

use crate::facts::login::accounts::{Accounts, Users};
use crate::facts::login::pam::judge::{Attempt, Judgement, User, judge};
use crate::facts::login::pam::{Call, Pam};
use crate::facts::login::ssh_keys::Keys;
use crate::facts::packages::Packages;
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::model::text::Text;
use crate::tr;

/// Who else administers the machine.
#[derive(Debug)]
pub struct Administrators {
    /// Accounts of which it is known.
    pub seen: Vec<Administrator>,
    /// Why there may be others that cannot be seen.
    pub unseen: Option<Text>,
}

/// An account that becomes root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Administrator {
    /// Its name.
    pub name: String,
    /// How it becomes root.
    pub by: By,
}

/// How somebody becomes root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The account has user ID 0.
    Number,
    /// A rule of sudoers.
    Sudo,
    /// A rule of doas.conf.
    Doas,
    /// su and root's password, which needs root's account to be open.
    Su,
}

impl Administrators {
    /// Whether there is, or may be, somebody.
    pub fn any(&self) -> bool {
        !self.seen.is_empty() || self.unseen.is_some()
    }

    /// Whether there is, or may be, somebody who does not need root's account to be open.
    pub fn any_without_su(&self) -> bool {
        self.seen.iter().any(|one| one.by != By::Su) || self.unseen.is_some()
    }
}

impl Fact for Administrators {
    fn gather(facts: &Facts) -> Result<Administrators, Skip> {
        let accounts = facts.get::<Accounts>()?;
        let passwd = accounts.parsed(File::Passwd);
        let sudo = Sudo::gather(facts)?;
        let doas = doas(facts)?;
        let su = Su::gather(facts, &accounts)?;
        let mut all = Administrators { seen: Vec::new(), unseen: None };
        for account in passwd.good().filter(|account| account.name() != "root") {
            let who = Who::of(facts, account)?;
            let by = if who.uid == Some(0) {
                Some(By::Number)
            } else if sudo.as_ref().is_some_and(|sudo| sudo.lets(&who)) {
                Some(By::Sudo)
            } else if doas.as_ref().is_some_and(|rules| permits(rules, &who)) {
                Some(By::Doas)
            } else if su.as_ref().is_some_and(|su| su.lets(&who)) {
                Some(By::Su)
            } else {
                None
            };
            let Some(by) = by else { continue };
            match way_in(facts, &accounts, account)? {
                WayIn::None => {}
                WayIn::Seen => all.seen.push(Administrator { name: who.name.to_string(), by }),
                WayIn::Unseen => {
                    all.unseen.get_or_insert_with(|| {
                        tr!(
                            "{name} may have keys that sshd gets from a program or a certificate authority",
                            name = &who.name
                        )
                    });
                }
            }
        }
        if all.unseen.is_none() {
            all.unseen = elsewhere(facts, sudo.as_ref(), su.is_some())?;
        }
        Ok(all)
    }
}

/// An account, as rules see it.
struct Who {
    name: BString,
    uid: Option<i64>,
    /// Names and numbers.
    groups: Vec<(BString, Option<i64>)>,
}

impl Who {
    fn of(facts: &Facts, account: &Entry<'_>) -> Result<Who, Skip> {
        let users = facts.get::<Users>()?;
        let parsed = users.parsed(File::Group);
        let groups = users.groups_of(account);
        let groups = groups.into_iter().map(|name| {
            let number = parsed.find(&name).and_then(|group| group.number(2));
            (name, number)
        });
        Ok(Who { name: account.name().to_owned(), uid: account.number(2), groups: groups.collect() })
    }

    fn is_in(&self, group: &[u8]) -> bool {
        let number = group.strip_prefix(b"#").and_then(|text| text.to_str().ok()?.parse::<i64>().ok());
        self.groups.iter().any(|(name, gid)| name == group || (number.is_some() && *gid == number))
    }
}

/// Shells that give nobody a session.
const NO_SHELL: [&str; 7] = ["nologin", "false", "true", "sync", "halt", "shutdown", "git-shell"];

/// Whether an account has a shell.
pub fn may_log_in(account: &&Entry<'_>) -> bool {
    let shell = account.field(6).to_path_lossy();
    !shell.file_name().and_then(|name| name.to_str()).is_some_and(|name| NO_SHELL.contains(&name))
}

/// Why accounts may be in a directory (LDAP, Active Directory, NIS), which is not part of the target.
pub fn of_a_directory(facts: &Facts) -> Result<Option<Text>, Skip> {
    elsewhere(facts, None, true)
}

/// How an account gets a session of its own.
enum WayIn {
    None,
    Seen,
    /// Only with keys that cannot be seen.
    Unseen,
}

fn way_in(facts: &Facts, accounts: &Accounts, account: &Entry<'_>) -> Result<WayIn, Skip> {
    let shell = account.field(6).to_path_lossy().into_owned();
    let name = shell.file_name().and_then(|name| name.to_str()).unwrap_or("sh");
    let shadow = accounts.parsed(File::Shadow);
    let today = facts.now().as_second() / 86_400;
    let expires = shadow.find(account.name()).and_then(|line| line.number(7)).filter(|day| *day >= 0);
    if NO_SHELL.contains(&name) || expires.is_some_and(|day| today >= day) {
        return Ok(WayIn::None);
    }
    if matches!(accounts.password(account), Password::Hash | Password::Empty) {
        return Ok(WayIn::Seen);
    }
    let keys = Keys::of(facts, account);
    Ok(match (keys.free, keys.unseen) {
        (true, _) => WayIn::Seen,
        (false, true) => WayIn::Unseen,
        (false, false) => WayIn::None,
    })
}

/// The first of these that is there, links followed.
fn program(facts: &Facts, name: &str) -> Option<Metadata> {
    let dirs = ["/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin", "/sbin"];
    dirs.iter().find_map(|dir| facts.root().stat(Path::new(dir).join(name)).ok().filter(|it| it.is_file()))
}

// sudo

/// What sudo goes by. Without a sudoers file that is there it is taken for granted that its usual group may.
#[derive(Default)]
struct Sudo {
    files: usize,
    rules: Vec<(Vec<Member>, Vec<Grant>)>,
    aliases: HashMap<(Kind, BString), Vec<Member>>,
    /// Whose password is asked for, which must be one that can be given; the last that is set counts.
    asks_root: Vec<(Scope, bool)>,
    /// As whom a rule lets when it does not say.
    default_root: bool,
    root_has_password: bool,
    host: String,
}

/// [`AliasKind`] as a key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    User,
    Runas,
    Host,
    Cmnd,
}

/// How deep files may include each other (sudoers.h, `MAX_SUDOERS_DEPTH`).
const DEPTH: usize = 128;
/// More files no sudo of people has.
const FILES: usize = 1000;
/// How often an alias may lead to another.
const ALIASES: usize = 16;

/// The groups that distributions give sudo to.
const USUAL: [&str; 4] = ["sudo", "wheel", "admin", "google-sudoers"];

impl Sudo {
    fn gather(facts: &Facts) -> Result<Option<Sudo>, Skip> {
        if program(facts, "sudo").is_none() {
            return Ok(None);
        }
        let host = facts.file("/etc/hostname")?;
        let host = host.map(|file| file.bytes.trim_ascii().to_str_lossy().into_owned()).unwrap_or_default();
        let accounts = facts.get::<Accounts>()?;
        let root_has_password = matches!(accounts.root_password(), Password::Hash | Password::Empty);
        let mut sudo = Sudo { host, root_has_password, default_root: true, ..Sudo::default() };
        let mut faults = 0;
        // SUSE's goes to /usr/etc when there is nothing in /etc.
        for path in ["/etc/sudoers", "/usr/etc/sudoers"] {
            sudo.read(facts, Path::new(path), 0, &mut faults)?;
            if sudo.files > 0 {
                break;
            }
        }
        // Until 1.9.2 one line that it does not understand makes sudo refuse everybody.
        Ok((faults == 0 || !is_old(facts)).then_some(sudo))
    }

    fn read(&mut self, facts: &Facts, path: &Path, depth: usize, faults: &mut usize) -> Result<(), Skip> {
        if depth > DEPTH || self.files > FILES {
            return Ok(());
        }
        let Some(file) = facts.file(path)? else { return Ok(()) };
        self.files += 1;
        for item in items(&file.bytes) {
            match item.what {
                What::Fault => *faults += 1,
                What::Rule { users, grants } => self.rules.push((users, grants)),
                What::Alias { kind, name, members } => {
                    let kind = match kind {
                        AliasKind::User => Kind::User,
                        AliasKind::Runas => Kind::Runas,
                        AliasKind::Host => Kind::Host,
                        AliasKind::Cmnd => Kind::Cmnd,
                    };
                    self.aliases.insert((kind, name), members);
                }
                What::Default { scope, off, name, value } => match name.as_slice() {
                    b"targetpw" | b"rootpw" | b"runaspw" => self.asks_root.push((scope, !off)),
                    b"runas_default" => self.default_root = value.is_none_or(|value| value == "root"),
                    _ => {}
                },
                What::Include(name) => {
                    let path = self.expanded(path, &name);
                    self.read(facts, &path, depth + 1, faults)?;
                }
                What::IncludeDir(name) => {
                    let dir = self.expanded(path, &name);
                    let mut names: Vec<_> =
                        facts.root().read_dir(&dir).unwrap_or_default().into_iter().map(|entry| entry.name).collect();
                    names.retain(|name| is_read(name.as_encoded_bytes()));
                    names.sort();
                    for name in names {
                        self.read(facts, &dir.join(name), depth + 1, faults)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn expanded(&self, from: &Path, name: &BString) -> PathBuf {
        let short = self.host.split('.').next().unwrap_or_default();
        let name = name.to_str_lossy().replace("%h", short).replace("%%", "%");
        from.parent().unwrap_or(Path::new("/")).join(name)
    }

    /// Whether a rule makes `who` root, with a password that can be given. Of several rules the last that is about a
    /// command counts, which for a list that leaves out some commands is the one that gives all.
    fn lets(&self, who: &Who) -> bool {
        if self.files == 0 {
            return USUAL.iter().any(|group| who.is_in(group.as_bytes()));
        }
        let mut lets = false;
        for (users, grants) in &self.rules {
            if !self.is_listed(Kind::User, users, &|name| user_is(who, name)) {
                continue;
            }
            for grant in grants {
                if !self.is_for_root(grant) || !self.is_here(grant) {
                    continue;
                }
                let usable = grant.nopasswd || self.root_has_password || !self.asks_for_root(who);
                match self.is_listed(Kind::Cmnd, std::slice::from_ref(&grant.command), &|name| gives_root(name)) {
                    true => lets = usable,
                    false if grant.command.negated && grant.command.name == "ALL" => lets = false,
                    false => {}
                }
            }
        }
        lets
    }

    /// The names in rules that make somebody root.
    fn names(&self) -> Vec<BString> {
        let mut names = Vec::new();
        for (users, grants) in &self.rules {
            let is_root = |grant: &Grant| {
                let command = std::slice::from_ref(&grant.command);
                self.is_for_root(grant) && self.is_here(grant) && self.is_listed(Kind::Cmnd, command, &gives_root)
            };
            if grants.iter().any(is_root) {
                self.flatten(users, ALIASES, &mut names);
            }
        }
        names
    }

    fn flatten(&self, members: &[Member], depth: usize, names: &mut Vec<BString>) {
        for member in members.iter().filter(|member| !member.negated) {
            match self.aliases.get(&(Kind::User, member.name.clone())) {
                Some(inner) if depth > 0 => self.flatten(inner, depth - 1, names),
                _ => names.push(member.name.clone()),
            }
        }
    }

    fn asks_for_root(&self, who: &Who) -> bool {
        let concerns = |scope: &Scope| match scope {
            Scope::All => true,
            Scope::Users(list) => self.is_listed(Kind::User, list, &|name| user_is(who, name)),
            Scope::Other => false,
        };
        self.asks_root.iter().rev().find(|(scope, _)| concerns(scope)).is_some_and(|(_, on)| *on)
    }

    fn is_for_root(&self, grant: &Grant) -> bool {
        match &grant.runas {
            None => self.default_root,
            Some(list) => {
                self.is_listed(Kind::Runas, list, &|name| matches!(name.as_bytes(), b"root" | b"#0" | b"ALL"))
            }
        }
    }

    /// A name that is none of this machine's may be an address or a group of hosts.
    fn is_here(&self, grant: &Grant) -> bool {
        let short = self.host.split('.').next().unwrap_or_default();
        self.is_listed(Kind::Host, &grant.hosts, &|name| {
            let is_name = name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.*?".contains(byte))
                && name.iter().any(u8::is_ascii_alphabetic);
            let ours = |ours: &str| fits(ours.to_ascii_lowercase().as_bytes(), &name.to_ascii_lowercase());
            *name == "ALL" || !is_name || self.host.is_empty() || ours(&self.host) || ours(short)
        })
    }

    /// Whether a list names something; of its members the last that matches decides.
    fn is_listed(&self, kind: Kind, list: &[Member], matches: &dyn Fn(&BStr) -> bool) -> bool {
        self.listed(kind, list, matches, ALIASES).unwrap_or(false)
    }

    fn listed(&self, kind: Kind, list: &[Member], matches: &dyn Fn(&BStr) -> bool, depth: usize) -> Option<bool> {
        list.iter().rev().find_map(|member| {
            let inner = self.aliases.get(&(kind, member.name.clone())).filter(|_| is_alias(&member.name));
            let found = match inner {
                Some(inner) if depth > 0 => self.listed(kind, inner, matches, depth - 1)?,
                Some(_) => return None,
                None => matches(member.name.as_bstr()).then_some(true)?,
            };
            Some(found != member.negated)
        })
    }
}

fn user_is(who: &Who, name: &BStr) -> bool {
    if let Some(group) = name.strip_prefix(b"%") {
        return who.is_in(group);
    }
    match name.strip_prefix(b"#") {
        Some(uid) => uid.to_str().ok().and_then(|uid| uid.parse().ok()) == who.uid && who.uid.is_some(),
        None => *name == "ALL" || who.name == *name,
    }
}

/// Whether a command that is run as root makes one root: all of them, a shell, or a program that starts or writes whatever
/// it is told to.
fn gives_root(command: &BStr) -> bool {
    const PROGRAMS: [&str; 44] = [
        "sh",
        "bash",
        "dash",
        "ash",
        "ksh",
        "zsh",
        "fish",
        "csh",
        "tcsh",
        "su",
        "sudo",
        "env",
        "chroot",
        "nsenter",
        "unshare",
        "systemd-run",
        "run0",
        "machinectl",
        "visudo",
        "passwd",
        "chpasswd",
        "usermod",
        "vipw",
        "vi",
        "vim",
        "nvim",
        "nano",
        "emacs",
        "ed",
        "tee",
        "cp",
        "mv",
        "dd",
        "docker",
        "podman",
        "apt",
        "apt-get",
        "dpkg",
        "dnf",
        "yum",
        "rpm",
        "zypper",
        "python3",
        "perl",
    ];
    let name = command.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    *command == "ALL"
        || (command.starts_with(b"/") && (name.is_empty() || name == b"*"))
        || PROGRAMS.iter().any(|known| name == known.as_bytes())
}

/// Whether one line that it does not understand makes this sudo refuse everybody (before 1.9.3).
pub(crate) fn is_old(facts: &Facts) -> bool {
    let Ok(packages) = facts.get::<Packages>() else { return false };
    let Some(package) = packages.installed("sudo".into()) else { return false };
    let version = package.version.to_str_lossy().into_owned();
    let version = version.split_once(':').map_or(version.as_str(), |(_, rest)| rest);
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse::<u32>().ok());
    let version = [numbers.next(), numbers.next(), numbers.next()].map(|number| number.unwrap_or_default());
    version < [1, 9, 3]
}

// doas

/// One rule: whether it permits, for whom.
type Doas = Vec<(bool, BString)>;

fn doas(facts: &Facts) -> Result<Option<Doas>, Skip> {
    if program(facts, "doas").is_none() {
        return Ok(None);
    }
    let mut paths = vec![PathBuf::from("/etc/doas.conf"), PathBuf::from("/usr/local/etc/doas.conf")];
    // Alpine's reads a directory as well.
    let dir = Path::new("/etc/doas.d");
    let mut names: Vec<_> =
        facts.root().read_dir(dir).unwrap_or_default().into_iter().map(|entry| dir.join(entry.name)).collect();
    names.retain(|name| name.extension().is_some_and(|extension| extension == "conf"));
    names.sort();
    paths.extend(names);
    let mut all = Vec::new();
    for path in paths {
        let Some(file) = facts.file(&path)? else { continue };
        let Some(rules) = doas_conf::rules(&file.bytes) else { return Ok(None) };
        let is_whole = |rule: &doas_conf::Rule<'_>| {
            let as_root = rule.target.is_none_or(|target| target == "root" || target == "0");
            as_root && rule.command.is_none_or(|command| rule.permits && gives_root(command))
        };
        all.extend(rules.into_iter().filter(is_whole).map(|rule| (rule.permits, rule.identity.to_owned())));
    }
    Ok(Some(all))
}

fn permits(rules: &Doas, who: &Who) -> bool {
    let is_meant = |identity: &BString| match identity.strip_prefix(b":") {
        Some(group) => who.is_in(group) || who.is_in(&[b"#", group].concat()),
        None => *identity == who.name || identity.to_str().ok().and_then(|uid| uid.parse().ok()) == who.uid,
    };
    rules.iter().rev().find(|(_, identity)| is_meant(identity)).is_some_and(|(permits, _)| *permits)
}

// su

/// su, where root's password is one that can be given and root's account is open.
struct Su {
    program: Metadata,
    /// Groups that a rule of pam_wheel asks for, or shuts out.
    wheels: Vec<(String, bool)>,
}

impl Su {
    fn gather(facts: &Facts, accounts: &Accounts) -> Result<Option<Su>, Skip> {
        let Some(program) = program(facts, "su").filter(|program| program.mode & 0o4000 != 0) else { return Ok(None) };
        let passwd = accounts.parsed(File::Passwd);
        let Some(root) = passwd.find(b"root") else { return Ok(None) };
        let shell = root.field(6).to_path_lossy().into_owned();
        let name = shell.file_name().and_then(|name| name.to_str()).unwrap_or("sh");
        let shell_is_there = shell.as_os_str().is_empty() || facts.root().exists(&shell).unwrap_or(true);
        if accounts.password(root) != Password::Hash || !shell_is_there || matches!(name, "nologin" | "false") {
            return Ok(None);
        }
        let mut wheels = Vec::new();
        let pam = match facts.get::<Pam>() {
            Ok(pam) => Some(pam),
            Err(Skip::NotApplicable(_)) => None,
            Err(unknown) => return Err(unknown),
        };
        if let Some(service) = pam.as_ref().and_then(|pam| pam.services.iter().find(|service| service.name == "su")) {
            let user = User::named(facts, "root")?;
            if matches!(judge(facts, service, Attempt::right(&user))?, Judgement::Refuses(_)) {
                return Ok(None);
            }
            for (_, entry) in service.entries() {
                let Call::Module { name, args } = &entry.call else { continue };
                let has = |word: &str| args.iter().any(|arg| arg == word);
                if name.ends_with(b"pam_wheel.so") && !has("trust") {
                    let group = args.iter().find_map(|arg| arg.strip_prefix(b"group="));
                    let group = group.map_or("wheel".into(), |group| group.to_str_lossy().into_owned());
                    wheels.push((group, !has("deny")));
                }
            }
        }
        Ok(Some(Su { program, wheels }))
    }

    fn lets(&self, who: &Who) -> bool {
        let runs = self.program.mode & 0o001 != 0
            || who.groups.iter().any(|(_, gid)| *gid == Some(i64::from(self.program.gid)));
        let in_wheel = |(group, wanted): &(String, bool)| {
            // Without a group `wheel` the one with the number 0 counts (pam_wheel(8)).
            let is_member = who.is_in(group.as_bytes()) || (group == "wheel" && who.is_in(b"#0"));
            is_member == *wanted
        };
        runs && self.wheels.iter().all(in_wheel)
    }
}

// Accounts that are not in files.

/// Why administrators may be in a directory (LDAP, Active Directory, NIS), which is not part of the target.
fn elsewhere(facts: &Facts, sudo: Option<&Sudo>, su: bool) -> Result<Option<Text>, Skip> {
    const OURS: [&str; 8] = ["files", "compat", "systemd", "mymachines", "altfiles", "usrfiles", "db", "resolve"];
    let users = facts.get::<Users>()?;
    let (passwd, group) = (users.parsed(File::Passwd), users.parsed(File::Group));
    let mut sources: Vec<(String, String)> = Vec::new();
    if let Some(file) = facts.file("/etc/nsswitch.conf")? {
        for entry in nsswitch::entries(&file.bytes) {
            let nsswitch::Entry::Database(database) = entry else { continue };
            let name = database.name.to_string();
            sources.extend(database.sources.into_iter().map(|source| (name.clone(), source.name.to_string())));
        }
    }
    let of_users = |(database, source): &&(String, String)| {
        matches!(database.as_str(), "passwd" | "group" | "initgroups") && !OURS.contains(&source.as_str())
    };
    let foreign = sources.iter().find(of_users).map(|(_, source)| source.clone());
    let foreign = foreign.or_else(|| (passwd.compat || group.compat).then(|| "compat".to_owned()));
    // Distributions name sss before it is set up.
    let is_set_up = |source: &str| -> bool {
        let any = |paths: &[&str]| paths.iter().any(|path| facts.root().exists(path).unwrap_or(true));
        match source {
            "sss" => {
                let dropped = facts.root().read_dir("/etc/sssd/conf.d").unwrap_or_default();
                any(&["/etc/sssd/sssd.conf"]) || !dropped.is_empty()
            }
            "ldap" => any(&["/etc/sudo-ldap.conf", "/etc/ldap.conf", "/etc/ldap/ldap.conf", "/etc/openldap/ldap.conf"]),
            _ => true,
        }
    };
    let of_sudo = |(name, source): &&(String, String)| name == "sudoers" && source != "files" && is_set_up(source);
    if let Some((_, source)) = sources.iter().find(of_sudo).filter(|_| sudo.is_some()) {
        return Ok(Some(tr!(
            "sudo also takes rules from {source}, which is not on this disk",
            source = source.as_str()
        )));
    }
    let Some(source) = foreign else { return Ok(None) };
    for name in sudo.iter().flat_map(|sudo| sudo.names()) {
        let is_here = match name.strip_prefix(b"%") {
            Some(number) if number.starts_with(b"#") => true,
            Some(name) => {
                group.find(name).is_some_and(|group| group.members().all(|member| passwd.find(member).is_some()))
            }
            None => name == "ALL" || name.starts_with(b"#") || passwd.find(&name).is_some(),
        };
        if !is_here || name.starts_with(b"+") {
            return Ok(Some(tr!(
                "sudoers names {name}, who may be in {source}, which is not on this disk",
                name = &name,
                source
            )));
        }
    }
    let open = su && is_set_up(&source);
    Ok(open.then(|| tr!("accounts from {source} are not on this disk, and su is open to them", source)))
}
