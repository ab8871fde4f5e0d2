//! Which permission bits and owners the system's own files must and must not have: the built-in defaults that
//! `mode-too-open`, `mode-too-strict` and their repairs share.
//!
//! The bits are those that the packages of Debian, RHEL and SUSE agree on; where they differ (RHEL ships `/` as 0555,
//! Debian as 0755) only the bits that all have are asked for.

use bstr::ByteSlice;
use sickbay_target::{FileKind, Metadata, Root};
use std::path::Path;

use crate::facts::Facts;
use crate::facts::packages::Packages;
use crate::facts::packages::owners::Owners;

/// What one path must be like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    /// The path.
    pub(crate) path: &'static str,
    /// The bits it gets when its own are wrong and no donor tells better.
    pub(crate) default: u32,
    /// Bits that must not be set.
    pub(crate) never: u32,
    /// Bits that must be set.
    pub(crate) always: u32,
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
pub(crate) const RULES: &[Rule] = &[
    dir("/"),
    dir("/etc"),
    dir("/usr"),
    dir("/usr/bin"),
    dir("/usr/sbin"),
    dir("/usr/lib"),
    dir("/usr/lib64"),
    dir("/usr/lib/x86_64-linux-gnu"),
    dir("/usr/lib/aarch64-linux-gnu"),
    dir("/usr/lib/x86_64-linux-gnu/security"),
    dir("/usr/lib64/security"),
    dir("/usr/share"),
    dir("/bin"),
    dir("/sbin"),
    dir("/lib"),
    dir("/lib64"),
    dir("/var"),
    dir("/var/lib"),
    Rule { path: "/var/log", default: 0o755, never: 0o002, always: 0 },
    Rule { path: "/var/log/btmp", default: 0o660, never: 0o002, always: 0 },
    Rule { path: "/var/log/wtmp", default: 0o664, never: 0o002, always: 0 },
    Rule { path: "/var/log/lastlog", default: 0o664, never: 0o002, always: 0 },
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
    Rule { path: "/etc/ssh/sshd_config", default: 0o644, never: 0o002, always: 0 },
    Rule { path: "/etc/fstab", default: 0o644, never: 0o002, always: 0 },
    Rule { path: "/etc/crontab", default: 0o644, never: 0o002, always: 0 },
    Rule { path: "/etc/sudoers", default: 0o440, never: 0o022, always: 0 },
    secret("/etc/shadow"),
    secret("/etc/gshadow"),
    secret("/etc/shadow-"),
    secret("/etc/gshadow-"),
];

/// Whether a path that is to be root's is somebody else's, and it is for `mode-too-open` to say: where a whole system was given
/// away, `package-mode-wrong` does.
pub(crate) fn is_anothers(facts: &Facts, path: &std::path::Path, metadata: &Metadata) -> bool {
    let meant = || {
        let packages = facts.get::<Packages>().ok();
        packages.and_then(|all| all.exact(path)?.owner).is_some_and(|owner| owner.0 == metadata.uid)
    };
    let told = || facts.get::<Owners>().is_ok_and(|owners| owners.covers(path));
    metadata.uid != 0 && !meant() && !told()
}

/// Whether `mode-too-open` names the path, whatever else is wrong with it.
pub(crate) fn has_rule(path: &std::path::Path) -> bool {
    RULES.iter().any(|rule| path == std::path::Path::new(rule.path))
}

/// The bits that the package of `path` gives it, where its database tells.
pub(crate) fn packaged_mode(facts: &Facts, path: &std::path::Path) -> Option<u32> {
    facts.get::<Packages>().ok()?.exact(path)?.mode
}

/// The bits that `path` should get: the package's where that is known, then the donor's where it has the path, if they are
/// fine, else the built-in ones. The password files of Debian belong to the group `shadow`, which keeps its right to read
/// them.
pub(crate) fn right_mode(facts: &Facts, rule: &Rule, now: &Metadata) -> u32 {
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

/// Paths of Debian's and Ubuntu's packages, whose database knows no modes, that are neither 0755 nor 0644. A
/// set-group-ID bit goes with a group of its own.
const SPECIAL: [(&str, u32); 37] = [
    ("/boot/grub/grub.cfg", 0o600),
    ("/etc/.pwd.lock", 0o600),
    ("/etc/polkit-1/rules.d", 0o700),
    ("/etc/security/opasswd", 0o600),
    ("/etc/ssl/private", 0o710),
    ("/etc/sudoers.d/README", 0o440),
    ("/usr/bin/at", 0o2755),
    ("/usr/bin/chage", 0o2755),
    ("/usr/bin/chfn", 0o4755),
    ("/usr/bin/chsh", 0o4755),
    ("/usr/bin/crontab", 0o2755),
    ("/usr/bin/dotlockfile", 0o2755),
    ("/usr/bin/expiry", 0o2755),
    ("/usr/bin/fusermount3", 0o4755),
    ("/usr/bin/gpasswd", 0o4755),
    ("/usr/bin/mount", 0o4755),
    ("/usr/bin/newgrp", 0o4755),
    ("/usr/bin/passwd", 0o4755),
    ("/usr/bin/pkexec", 0o4755),
    ("/usr/bin/ssh-agent", 0o2755),
    ("/usr/bin/su", 0o4755),
    ("/usr/bin/sudo", 0o4755),
    ("/usr/bin/umount", 0o4755),
    ("/usr/lib/dbus-1.0/dbus-daemon-launch-helper", 0o4754),
    ("/usr/lib/openssh/ssh-keysign", 0o4755),
    ("/usr/lib/polkit-1/polkit-agent-helper-1", 0o4755),
    ("/usr/sbin/mount.nfs", 0o4755),
    ("/usr/sbin/unix_chkpwd", 0o2755),
    ("/usr/share/polkit-1/rules.d", 0o700),
    ("/var/cache/apt/archives/partial", 0o700),
    ("/var/cache/ldconfig", 0o700),
    ("/var/lib/apt/lists/partial", 0o700),
    ("/var/lib/polkit-1", 0o700),
    ("/var/local", 0o2775),
    ("/var/mail", 0o2775),
    ("/var/spool/cron/atjobs", 0o1770),
    ("/var/spool/cron/crontabs", 0o1730),
];

/// The usual bits of a path without a rule of its own: those that its package or the donor gives it, else by what it is.
/// For the repair of a recursive `chmod 777`.
pub(crate) fn usual_mode(facts: &Facts, path: &std::path::Path, now: &Metadata) -> u32 {
    if let Some(mode) = packaged_mode(facts, path) {
        return mode;
    }
    if let Some(donor) = facts.donor().and_then(|donor| donor.root().metadata(path).ok())
        && donor.kind == now.kind
        && !is_open(&donor)
        // On a running donor these are the kernel's.
        && !["/proc", "/sys", "/dev"].iter().any(|kernel| path == std::path::Path::new(kernel))
    {
        return donor.mode;
    }
    if let Some((_, mode)) = SPECIAL.iter().find(|(special, _)| path == std::path::Path::new(special)) {
        return if mode & 0o2000 != 0 && now.gid == 0 { 0o755 } else { *mode };
    }
    // sshd passes over a host key that others may read; RHEL's may be read by the group of ssh-keysign.
    if is_host_key(path) {
        return if now.gid == 0 { 0o600 } else { 0o640 };
    }
    // sudo warns of more than this.
    if path.parent().is_some_and(|dir| dir == std::path::Path::new("/etc/sudoers.d")) {
        return 0o440;
    }
    // Neither ssh nor sshd takes keys that others may read.
    if path.ends_with(".ssh") || path.parent().is_some_and(|dir| dir.ends_with(".ssh")) {
        return if now.is_dir() { 0o700 } else { 0o600 };
    }
    if now.is_dir() || is_program(facts.root(), path) { 0o755 } else { 0o644 }
}

/// The mode of a path that gets `owner` again, with the set-user-ID and set-group-ID bits that its package, an entry of
/// dpkg-statoverride(1), the distribution or the donor gives it. Such a bit is nothing without the owner that goes with it.
pub(crate) fn mode_with_bits(facts: &Facts, path: &std::path::Path, now: &Metadata, owner: (u32, u32)) -> u32 {
    if let Some(mode) = packaged_mode(facts, path) {
        return mode;
    }
    let special = || SPECIAL.iter().find(|(special, _)| path == std::path::Path::new(special)).map(|(_, mode)| *mode);
    let of_donor = || {
        let donor = facts.donor()?.root().metadata(path).ok()?;
        (donor.kind == now.kind).then_some(donor.mode)
    };
    let wanted = overridden_mode(facts, path).or_else(special).or_else(of_donor).unwrap_or_default();
    let group = if owner.1 == 0 { 0 } else { wanted & 0o2000 };
    now.mode | (wanted & 0o4000) | group
}

/// The mode that the administrator or a package's script gave a path through dpkg-statoverride(1).
pub(crate) fn overridden_mode(facts: &Facts, path: &std::path::Path) -> Option<u32> {
    let file = facts.file("/var/lib/dpkg/statoverride").ok()??;
    file.bytes.lines().find_map(|line| {
        let words: Vec<&[u8]> = line.fields_with(char::is_whitespace).collect();
        let [_, _, mode, of] = words.as_slice() else { return None };
        (of.to_path_lossy() == path).then(|| u32::from_str_radix(mode.to_str().ok()?, 8).ok())?
    })
}

/// Whether everybody may replace it. A sticky directory is meant to be written by everybody.
pub(crate) fn is_open(metadata: &Metadata) -> bool {
    metadata.mode & 0o002 != 0 && metadata.mode & 0o1000 == 0 && metadata.kind != FileKind::Symlink
}

/// Whether a directory for everybody, as `/tmp`, is without the bit that keeps everybody from the files of others.
pub(crate) fn lost_sticky(rule: &Rule, metadata: &Metadata) -> bool {
    rule.always & 0o1000 != 0 && is_open(metadata)
}

/// Whether the path is that of a private host key of sshd.
pub(crate) fn is_host_key(path: &std::path::Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    path.starts_with("/etc/ssh") && name.starts_with(b"ssh_host_") && name.ends_with(b"_key")
}

fn is_program(root: &Root, path: &std::path::Path) -> bool {
    let in_bin = path.parent().is_some_and(|dir| dir.ends_with("bin") || dir.ends_with("sbin"));
    if in_bin || path.starts_with("/usr/share/doc") {
        return in_bin;
    }
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    let Ok(head) = root.read_head(path, 4096) else { return false };
    if let Some(script) = head.strip_prefix(b"#!") {
        // Perl's modules may begin as programs do.
        return script.trim_ascii_start().starts_with(b"/") && !name.ends_with(b".pm");
    }
    if !head.starts_with(b"\x7fELF") {
        return false;
    }
    // The loader is a program, too. Of the libraries that print something when they are started, only libc is shipped so.
    let is_library = name.starts_with(b"lib") && !name.starts_with(b"libc.so.");
    // ET_EXEC and PT_INTERP (elf(5)); the program headers come first.
    name.starts_with(b"ld-") || (!is_library && (head.get(16..18) == Some(&[2, 0]) || has_interpreter(&head)))
}

/// Whether the program headers in the first bytes of an ELF file of 64 bits name an interpreter.
fn has_interpreter(head: &[u8]) -> bool {
    let number = |at: usize| Some(usize::from(u16::from_le_bytes(*head.get(at..)?.first_chunk()?)));
    let start = head.get(32..).and_then(|at| at.first_chunk()).map(|at| u64::from_le_bytes(*at));
    let start = start.and_then(|start| usize::try_from(start).ok());
    let (Some(start), Some(size), Some(count)) = (start, number(54), number(56)) else { return false };
    (0..count)
        .any(|entry| head.get(start.saturating_add(entry * size)..).is_some_and(|it| it.starts_with(&[3, 0, 0, 0])))
}

/// Name, usual mode, and whether losing the bit alone proves a fault. Administrators take it from the others on
/// purpose (the hardening guides tell them to).
pub(crate) const PROGRAMS: [(&str, u32, bool); 18] = [
    ("su", 0o4755, true),
    ("sudo", 0o4755, true),
    ("passwd", 0o4755, true),
    ("mount", 0o4755, false),
    ("umount", 0o4755, false),
    ("newgrp", 0o4755, false),
    ("chsh", 0o4755, false),
    ("chfn", 0o4755, false),
    ("gpasswd", 0o4755, false),
    ("pkexec", 0o4755, false),
    ("fusermount3", 0o4755, false),
    ("../lib/polkit-1/polkit-agent-helper-1", 0o4755, false),
    ("../libexec/polkit-agent-helper-1", 0o4755, false),
    ("../lib/dbus-1.0/dbus-daemon-launch-helper", 0o4754, false),
    ("../libexec/dbus-1/dbus-daemon-launch-helper", 0o4750, false),
    // On Debian these have a group of their own; elsewhere only the package's database tells.
    ("../sbin/unix_chkpwd", 0o2755, false),
    ("ssh-agent", 0o2755, false),
    ("crontab", 0o2755, false),
];

/// Whether `setuid-lost` looks at the file.
pub(crate) fn needs_setuid(path: &Path) -> bool {
    // `/etc/pam.d/su` is another matter.
    !path.starts_with("/etc") && PROGRAMS.iter().any(|(name, _, _)| path.file_name() == Path::new(name).file_name())
}

/// So many modes do not change one by one.
pub(crate) const MANY: usize = 20;
