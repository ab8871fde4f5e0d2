//! Files that administration writes have a flag of chattr(1) that forbids it.

use std::path::PathBuf;

use crate::facts::Facts;
use crate::facts::login::root_over_ssh::RootOverSsh;
use crate::model::finding::Findings;
use crate::model::outcome::Verdict;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "passwd: Authentication token manipulation error", "useradd: cannot open /etc/passwd", "Operation not
    /// permitted" as root, or an update that stops at a file that it cannot replace.
    ///
    /// ## What it finds
    /// The flags `i` (immutable) and `a` (append only) on files that administrators and their programs write: accounts,
    /// sudoers, fstab, the settings of sshd and its keys, crontabs, the resolver, `ld.so.preload`.
    ///
    /// ## Why it matters
    /// Not even root can write such a file, nor replace or delete it, before the flag is cleared. Administrators set it to
    /// keep a file as it is, and so do intruders, on their own key or their own `ld.so.preload`.
    ///
    /// ## What the repair does
    /// Nothing: somebody set it on purpose.
    ///
    /// ## By hand
    /// ```sh
    /// lsattr ROOT/etc/passwd
    /// chattr -i -a ROOT/etc/passwd
    /// ```
    "files-immutable", Files, seed = [], proves = [], "a file that administration writes is immutable"
}

const PATHS: [&str; 20] = [
    "/etc/passwd",
    "/etc/shadow",
    "/etc/group",
    "/etc/gshadow",
    "/etc/sudoers",
    "/etc/fstab",
    "/etc/hosts",
    "/etc/resolv.conf",
    "/etc/ssh/sshd_config",
    "/etc/ld.so.preload",
    "/etc/ld.so.cache",
    "/etc/crontab",
    "/etc/rc.local",
    "/etc/profile",
    "/var/spool/cron/root",
    "/var/spool/cron/crontabs/root",
    "/etc/default/grub",
    "/boot/grub/grub.cfg",
    "/boot/grub2/grub.cfg",
    "/etc",
];

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let mut paths: Vec<PathBuf> = PATHS.iter().map(PathBuf::from).collect();
    if let Ok(root) = facts.get::<RootOverSsh>() {
        paths.extend([".ssh", ".ssh/authorized_keys", ".bashrc", ".profile"].map(|name| root.home.join(name)));
    }
    let mut flagged = Vec::new();
    for path in paths {
        if !facts.root().exists(&path)? {
            continue;
        }
        let flags = facts.root().flags(&path)?;
        if flags.any() {
            flagged.push((path, if flags.immutable { "i" } else { "a" }));
        }
    }
    let Some((first, flag)) = flagged.first() else { return Ok(()) };
    let finding = found.note(match flagged.len() {
        1 => tr!(
            "{path} has the chattr flag {flag} set: not even root can change it",
            path = first.as_path(),
            flag = *flag
        ),
        count => tr!(
            "{path} and {others} more {others?path|paths} have chattr flags set: not even root can change them",
            path = first.as_path(),
            others = count - 1
        ),
    });
    for (path, flag) in &flagged {
        finding.at_path(path).evidence(path.display().to_string(), format!("chattr +{flag}"));
    }
    let accounts = flagged.iter().any(|(path, _)| path.ends_with("passwd") || path.ends_with("shadow"));
    finding.why(if accounts {
        tr!("passwd, useradd and updates fail with \"Operation not permitted\"; administrators set such flags, and so do intruders")
    } else {
        tr!("editors and updates fail with \"Operation not permitted\"; administrators set such flags, and so do intruders")
    });
    let list = flagged.iter().map(|(path, _)| path.display().to_string()).collect::<Vec<_>>().join(" ");
    finding.by_hand(tr!("if that is not intended: chattr -i -a {list}", list));
    Ok(())
}
