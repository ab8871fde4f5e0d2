//! The user or the directory that sshd gives its rights up with.

use bstr::ByteSlice;
use sickbay_formats::accounts::{self, Kind};
use sickbay_formats::sshd_config::Version;

use crate::facts::Facts;
use crate::facts::login::accounts::Accounts;
use crate::facts::login::sshd::Sshd;
use crate::facts::login::sshd_service::SshdService;
use crate::facts::login::sysusers;
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::model::stage::Stage;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "Connection refused" over ssh; in the log "Privilege separation user sshd does not exist" or "Missing
    /// privilege separation directory: /run/sshd".
    ///
    /// ## What it finds
    /// The user `sshd`, missing from `/etc/passwd`, and the empty directory that sshd confines its unprivileged process
    /// to (`/var/empty/sshd`, `/usr/share/empty.sshd`, `/var/lib/empty`, as compiled into the program), missing or
    /// writable by others. A user that systemd-sysusers recreates at boot, and a directory below `/run`, are not a
    /// fault.
    ///
    /// ## Why it matters
    /// sshd does not start, and nobody can log in over ssh.
    ///
    /// ## What the repair does
    /// Restores the user's line as it is in `/etc/passwd-`, otherwise adds one with a free UID, as the package does;
    /// creates the directory.
    ///
    /// ## By hand
    /// ```sh
    /// # in a chroot
    /// apt-get install --reinstall openssh-server
    /// dnf reinstall openssh-server
    /// ```
    "sshd-user-missing", Login, seed = ["L1", "L10"], proves = [Sshd], "sshd's user or directory is missing"
}

/// What is compiled in (the configure option --with-privsep-path of the distributions).
const DIRS: [&str; 5] = ["/var/empty/sshd", "/usr/share/empty.sshd", "/var/lib/empty", "/var/empty", "/var/chroot/ssh"];

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let sshd = facts.get::<Sshd>()?;
    let effective = sshd.tree.at_start(&sshd.reader());
    let old = sshd.reader().version.is_some_and(|version| version < Version(7, 5));
    if old && effective.value("UsePrivilegeSeparation", "yes") == "no" {
        return Err(Skip::NotApplicable(tr!("privilege separation is off (UsePrivilegeSeparation no)")));
    }
    let severity = if facts.get::<SshdService>()?.enabled { Severity::Critical } else { Severity::Warning };
    let accounts = facts.get::<Accounts>()?;
    let (file, passwd) = accounts.present(Kind::Passwd)?;
    // A damaged file is wrong as a whole, and another check's matter.
    // Systems that are built as an image keep further accounts beside the programs (nss-altfiles).
    let more = facts.file("/usr/lib/passwd")?;
    let more = accounts::AccountFile::parse(Kind::Passwd, more.as_ref().map(|file| &*file.bytes).unwrap_or_default());
    if passwd.find(b"sshd").is_none()
        && more.find(b"sshd").is_none()
        && !passwd.compat
        && passwd.sound()
        && passwd.find(b"root").is_some()
        && !sysusers::users(facts).contains(b"sshd".as_slice())
    {
        let line = line_for_sshd(facts, &accounts);
        let text = accounts::with_line_added(&file.bytes, line.as_bytes());
        found
            .add(severity, tr!("there is no user sshd in {path}", path = Kind::Passwd.path()))
            .at_path(Kind::Passwd.path())
            .why(tr!("sshd does not start, and nobody can log in over ssh"))
            .stops(Stage::Sshd)
            .repair(Risk::Safe, tr!("add the user: {line}", line), [Change::edit(file, text)]);
    }
    for dir in DIRS.iter().filter(|dir| sshd.mentions(dir)) {
        let metadata = facts.root().stat(dir);
        match metadata {
            Ok(metadata) if metadata.is_dir() && metadata.uid == 0 && metadata.mode & 0o022 != 0 => {
                let mode = format!("{:04o}", metadata.mode);
                let change = Change::Mode { path: dir.into(), before: metadata.mode, after: 0o711 };
                found
                    .add(severity, tr!("sshd's directory {dir} has mode {mode}", dir, mode))
                    .at_path(dir)
                    .why(tr!("sshd does not start, and nobody can log in over ssh"))
                    .stops(Stage::Sshd)
                    .repair(Risk::Safe, tr!("set its mode to 0711"), [change]);
            }
            Err(error) if matches!(error.reason, sickbay_target::Reason::NotFound) && !facts.root().exists(dir)? => {
                let mut changes = Vec::new();
                let parent =
                    std::path::Path::new(dir).parent().filter(|parent| !facts.root().exists(parent).unwrap_or(true));
                changes.extend(parent.map(|parent| Change::make_dir(parent, 0o755)));
                changes.push(Change::make_dir(dir, 0o711));
                found
                    .add(severity, tr!("sshd's directory {dir} is missing", dir))
                    .at_path(dir)
                    .why(tr!("sshd does not start, and nobody can log in over ssh"))
                    .stops(Stage::Sshd)
                    .repair(Risk::Safe, tr!("create it"), changes);
            }
            _ => {}
        }
    }
    Ok(())
}

/// The line as it was, or one as packages write it: with a free number of a system user, and a group for nobody.
fn line_for_sshd(facts: &Facts, accounts: &Accounts) -> String {
    let (passwd, group) = (accounts.parsed(Kind::Passwd), accounts.parsed(Kind::Group));
    let is_free = |uid: i64| passwd.good().all(|entry| entry.number(2) != Some(uid));
    if let Ok(Some(copy)) = facts.file("/etc/passwd-") {
        let copy = accounts::AccountFile::parse(Kind::Passwd, &copy.bytes);
        if let Some(entry) = copy.find(b"sshd").filter(|entry| entry.number(2).is_some_and(is_free)) {
            return entry.text.to_str_lossy().into_owned();
        }
    }
    let gid =
        [&b"sshd"[..], b"nogroup", b"nobody"].iter().find_map(|name| group.find(name)?.number(2)).unwrap_or(65534);
    // 74 is the number that RHEL keeps for it; Debian takes the next from 100 on.
    let uid = if gid == 74 && is_free(74) { 74 } else { (100..1000).find(|&uid| is_free(uid)).unwrap_or(74) };
    let nologin = ["/usr/sbin/nologin", "/sbin/nologin"].iter().find(|path| facts.root().stat(path).is_ok());
    format!("sshd:x:{uid}:{gid}:Privilege-separated SSH:/:{}", nologin.unwrap_or(&"/bin/false"))
}
