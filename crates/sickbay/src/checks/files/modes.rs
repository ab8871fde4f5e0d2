//! Which permission bits and owners the system's own files must and must not have: the built-in defaults that
//! `mode-too-open`, `mode-too-strict` and their repairs share.
//!
//! The bits are those that the packages of Debian, RHEL and SUSE agree on; where they differ (RHEL ships `/` as 0555,
//! Debian as 0755) only the bits that all have are asked for.

use sickbay_target::{Metadata, Root};

use crate::facts::Facts;
use crate::facts::packages::Packages;

/// What one path must be like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    /// The path.
    pub(super) path: &'static str,
    /// The bits it gets when its own are wrong and no donor tells better.
    pub(super) default: u32,
    /// Bits that must not be set.
    pub(super) never: u32,
    /// Bits that must be set.
    pub(super) always: u32,
}

const fn dir(path: &'static str) -> Rule {
    Rule { path, default: 0o755, never: 0o002, always: 0o005 }
}

const fn public(path: &'static str) -> Rule {
    Rule { path, default: 0o644, never: 0o002, always: 0o004 }
}

const fn secret(path: &'static str) -> Rule {
    Rule { path, default: 0o600, never: 0o007, always: 0 }
}

/// Paths that every login or boot passes through.
pub(super) const RULES: &[Rule] = &[
    dir("/"),
    dir("/etc"),
    dir("/usr"),
    dir("/usr/bin"),
    dir("/usr/sbin"),
    dir("/usr/lib"),
    dir("/usr/lib64"),
    dir("/bin"),
    dir("/sbin"),
    dir("/lib"),
    dir("/lib64"),
    dir("/var"),
    dir("/var/lib"),
    Rule { path: "/var/log", default: 0o755, never: 0o002, always: 0 },
    Rule { path: "/boot", default: 0o755, never: 0o002, always: 0 },
    Rule { path: "/var/empty/sshd", default: 0o711, never: 0o022, always: 0 },
    Rule { path: "/root", default: 0o700, never: 0o002, always: 0 },
    Rule { path: "/tmp", default: 0o1777, never: 0, always: 0o1777 },
    Rule { path: "/var/tmp", default: 0o1777, never: 0, always: 0o1777 },
    Rule { path: "/etc/pam.d", default: 0o755, never: 0o002, always: 0o005 },
    Rule { path: "/etc/sudoers.d", default: 0o750, never: 0o002, always: 0 },
    public("/etc/passwd"),
    public("/etc/group"),
    public("/etc/nsswitch.conf"),
    public("/etc/ld.so.cache"),
    public("/etc/profile"),
    Rule { path: "/etc/fstab", default: 0o644, never: 0o002, always: 0 },
    Rule { path: "/etc/crontab", default: 0o644, never: 0o002, always: 0 },
    Rule { path: "/etc/sudoers", default: 0o440, never: 0o022, always: 0 },
    secret("/etc/shadow"),
    secret("/etc/gshadow"),
    secret("/etc/shadow-"),
    secret("/etc/gshadow-"),
];

/// The bits that the package of `path` gives it, where its database tells.
pub(super) fn packaged_mode(facts: &Facts, path: &std::path::Path) -> Option<u32> {
    facts.get::<Packages>().ok()?.exact(path)?.mode
}

/// The bits that `path` should get: the package's where that is known, then the donor's where it has the path, if they are
/// fine, else the built-in ones. The password files of Debian belong to the group `shadow`, which keeps its right to read
/// them.
pub(super) fn right_mode(facts: &Facts, rule: &Rule, now: &Metadata) -> u32 {
    let donor = facts.donor().and_then(|donor| donor.root().stat(rule.path).ok()).map(|donor| donor.mode);
    // A link of a merged /usr has no mode of its own.
    let real = facts.root().canonical(rule.path).ok();
    let known = [real.and_then(|path| packaged_mode(facts, &path)), donor];
    let fine = |mode: &u32| mode & rule.never == 0 && mode & rule.always == rule.always;
    if let Some(mode) = known.into_iter().flatten().find(fine) {
        return mode;
    }
    if rule.path.contains("shadow") && now.gid != 0 { 0o640 } else { rule.default }
}

/// The usual bits of a path without a rule of its own, by what it is: for the repair of a recursive `chmod 777`.
pub(super) fn usual_mode(facts: &Facts, path: &std::path::Path, now: &Metadata) -> u32 {
    if let Some(mode) = packaged_mode(facts, path) {
        return mode;
    }
    if let Some(donor) = facts.donor().and_then(|donor| donor.root().metadata(path).ok())
        && donor.kind == now.kind
        && donor.mode & 0o002 == 0
    {
        return donor.mode;
    }
    // sshd passes over a host key that others may read; RHEL's may be read by the group of ssh-keysign.
    if is_host_key(path) {
        return if now.gid == 0 { 0o600 } else { 0o640 };
    }
    if now.is_dir() || is_program(facts.root(), path) { 0o755 } else { 0o644 }
}

/// Whether the path is that of a private host key of sshd.
pub(super) fn is_host_key(path: &std::path::Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    path.starts_with("/etc/ssh") && name.starts_with(b"ssh_host_") && name.ends_with(b"_key")
}

fn is_program(root: &Root, path: &std::path::Path) -> bool {
    let in_bin = path.parent().is_some_and(|dir| dir.ends_with("bin") || dir.ends_with("sbin"));
    in_bin
        || root.read_head(path, 18).is_ok_and(|head| match head.as_slice() {
            [b'#', b'!', ..] => true,
            // An ELF program; shared objects (type 3) outside of bin may be either, and libraries need no x bit.
            [0x7f, b'E', b'L', b'F', .., 2, 0] => true,
            _ => false,
        })
}
