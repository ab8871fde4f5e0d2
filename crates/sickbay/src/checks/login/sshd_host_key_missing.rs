//! sshd has no host key that it can use.

use std::path::{Path, PathBuf};

use bstr::ByteSlice;
use sickbay_formats::accounts::Kind;
use sickbay_formats::sshd_config::Version;

use crate::facts::Facts;
use crate::facts::login::accounts::Accounts;
use crate::facts::login::sshd::Sshd;
use crate::facts::login::sshd_service::SshdService;
use crate::mend::rebuild;
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::model::stage::Stage;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "Connection refused" over ssh; in the log "sshd: no hostkeys available -- exiting." or "UNPROTECTED
    /// PRIVATE KEY FILE".
    ///
    /// ## What it finds
    /// A machine where sshd cannot use any host key: they are missing or empty, contain no complete key, or are
    /// readable by users other than root. Systems that create the keys when sshd starts, or at the first boot as cloud
    /// images do, are left alone when the keys simply do not exist yet.
    ///
    /// ## Why it matters
    /// sshd exits with "no hostkeys available", and nobody can log in over ssh. A key that others can read is ignored,
    /// which is how a `chmod -R` on `/etc` locks everyone out.
    ///
    /// ## What the repair does
    /// Restores mode 0600 on the keys. Where none is left, creates an Ed25519 key and its public half; every client will
    /// warn about the new key, but a machine without any lets nobody in. If sshd does not take such a key (before OpenSSH
    /// 6.5, in FIPS mode, or when `sshd_config` asks for other types only), the target's own `ssh-keygen` creates an RSA
    /// key, which is a risky repair.
    ///
    /// ## By hand
    /// ```sh
    /// chmod 600 ROOT/etc/ssh/ssh_host_*_key
    /// chroot ROOT ssh-keygen -A
    /// ```
    "sshd-host-key-missing", Login, seed = ["L10", "D7"], proves = [Sshd], "sshd has no usable host key"
}

/// Where keys are when no line says otherwise (servconf.c).
const USUAL: [&str; 4] = [
    "/etc/ssh/ssh_host_rsa_key",
    "/etc/ssh/ssh_host_dsa_key",
    "/etc/ssh/ssh_host_ecdsa_key",
    "/etc/ssh/ssh_host_ed25519_key",
];

/// Bytes of a key that are read; one of 16,384 bits has 13,000.
const KEY: u64 = 64 << 10;

/// Why sshd cannot use a key.
enum Defect {
    Missing,
    Damaged,
    Open(u32),
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let sshd = facts.get::<Sshd>()?;
    let service = facts.get::<SshdService>()?;
    let effective = sshd.tree.at_start(&sshd.reader());
    let agent = effective.setting("HostKeyAgent").is_some();
    let named = effective.words("HostKey");
    let paths: Vec<PathBuf> = match named.as_slice() {
        [] => {
            // DSA went out of the defaults with 7.0.
            let dsa = sshd.reader().version.is_some_and(|version| version < Version(7, 0));
            USUAL.iter().filter(|path| dsa || !path.contains("_dsa_")).map(PathBuf::from).collect()
        }
        words => words.iter().map(|word| PathBuf::from("/etc/ssh").join(word.to_str_lossy().as_ref())).collect(),
    };
    // RHEL's ssh-keysign reads them as this group, which its sshd bears with.
    let accounts = facts.get::<Accounts>()?;
    let keysign = accounts.parsed(Kind::Group).find(b"ssh_keys").and_then(|group| group.number(2));
    let mut defects = Vec::new();
    for path in &paths {
        let metadata = match facts.root().stat(path) {
            Ok(metadata) => metadata,
            Err(error)
                if matches!(error.reason, sickbay_target::Reason::NotFound | sickbay_target::Reason::NotADirectory) =>
            {
                defects.push((path, Defect::Missing));
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let bears = if keysign == Some(i64::from(metadata.gid)) { 0o040 } else { 0 };
        let text = facts.root().read_up_to(path, KEY)?;
        if metadata.uid == 0 && metadata.mode & 0o077 & !bears != 0 {
            defects.push((path, Defect::Open(metadata.mode)));
        } else if !rebuild::is_host_key(&text) {
            defects.push((path, Defect::Damaged));
        } else {
            return Ok(());
        }
    }
    let open: Vec<(&PathBuf, u32)> = defects
        .iter()
        .filter_map(|(path, defect)| if let Defect::Open(mode) = defect { Some((*path, *mode)) } else { None })
        .collect();
    if agent {
        return Err(Skip::NotApplicable(tr!("the host keys are kept by an agent")));
    }
    if let (Some(maker), true) = (&service.key_maker, open.is_empty()) {
        return Err(Skip::NotApplicable(tr!("{maker} creates the host keys", maker = maker.as_path())));
    }
    let severity = if service.enabled { Severity::Critical } else { Severity::Warning };
    if let Some((first, mode)) = open.first() {
        let mode = format!("{mode:04o}");
        let finding = found
            .add(severity, tr!("sshd ignores its host keys: {path} has mode {mode}", path = first.as_path(), mode));
        let changes: Vec<Change> = open
            .iter()
            .map(|(path, mode)| Change::Mode { path: (*path).clone(), before: *mode, after: 0o600 })
            .collect();
        for (path, mode) in &open {
            finding.at_path(path).evidence(path.display().to_string(), format!("mode {mode:04o}"));
        }
        finding.why(tr!("sshd does not start, and nobody can log in over ssh")).stops(Stage::Sshd);
        finding.repair(Risk::Safe, tr!("set the mode of the keys to 0600"), changes);
        return Ok(());
    }
    let damaged = defects.iter().find(|(_, defect)| matches!(defect, Defect::Damaged));
    let message = match (damaged, paths.as_slice()) {
        (Some((path, _)), _) => tr!("sshd has no host key: {path} has none", path = path.as_path()),
        (None, [only]) => tr!("sshd has no host key: {path} does not exist", path = only.as_path()),
        (None, _) => tr!("sshd has no host key: none of the {count} exists", count = paths.len()),
    };
    let finding = found.add(severity, message);
    finding.at_path(damaged.map(|(path, _)| *path).or(paths.first()).unwrap_or(&sshd.config));
    finding.why(tr!("sshd does not start, and nobody can log in over ssh")).stops(Stage::Sshd);
    if let Some(path) = ed25519_path(facts, &sshd, &paths) {
        let (mode, owner) = attributes(facts, &path, keysign);
        let title = tr!("create a new Ed25519 key {path}: clients will warn about it", path = path.as_path());
        finding.repair(Risk::Safe, title, [Change::HostKey { path, mode, owner }]);
        return Ok(());
    }
    // What a file is called is for people; sshd looks at what it holds.
    let rsa = paths.iter().find(|path| path.to_string_lossy().contains("_rsa_")).or(paths.first());
    match rsa.and_then(|path| rebuild::host_key(facts, path)) {
        // Who has put the machine's old key down somewhere has a better one.
        Some((title, change)) => {
            finding.repair(Risk::Risky, title, [change]);
        }
        None => {
            finding.by_hand(tr!(
                "remove what is left of them and create new ones: ssh-keygen -A (with chroot on a mounted root)"
            ));
        }
    }
    Ok(())
}

/// Where a new Ed25519 key goes; `None` when sshd would not take one or is told to have keys of other types.
fn ed25519_path(facts: &Facts, sshd: &Sshd, paths: &[PathBuf]) -> Option<PathBuf> {
    let reader = sshd.reader();
    let knows = reader.version.is_some_and(|version| version >= Version(6, 5)) || sshd.mentions("ssh-ed25519");
    let offered = sshd.tree.at_start(&reader).words("HostKeyAlgorithms");
    // A list that begins with a sign changes the built-in one.
    let offers = offered.iter().all(|list| match list.first() {
        Some(b'+' | b'^') => true,
        Some(b'-') => !list.contains_str("ed25519"),
        _ => list.contains_str("ssh-ed25519"),
    });
    let policy = facts.root().read_up_to("/etc/crypto-policies/state/current", 64).unwrap_or_default();
    let fips = policy.starts_with(b"FIPS") || facts.root().exists("/etc/system-fips").unwrap_or(false);
    if !knows || !offers || fips {
        return None;
    }
    let path = paths.iter().find(|path| path.to_string_lossy().contains("ed25519"))?;
    let dir = facts.root().stat(path.parent()?).ok()?;
    dir.is_dir().then(|| path.clone())
}

/// What mode, owner and group the distribution's keys have. RHEL's ssh-keysign read them as a group before release 9.
fn attributes(facts: &Facts, path: &Path, keysign: Option<i64>) -> (u32, (u32, u32)) {
    let root = facts.root();
    if let Ok(found) = root.stat(path)
        && found.uid == 0
        && found.mode & 0o777 == 0o600
    {
        return (0o600, (0, found.gid));
    }
    let program = root.stat("/usr/libexec/openssh/ssh-keysign").ok();
    let group = program.filter(|program| program.mode & 0o2000 != 0 && keysign == Some(i64::from(program.gid)));
    group.map_or((0o600, (0, 0)), |program| (0o640, (0, program.gid)))
}
