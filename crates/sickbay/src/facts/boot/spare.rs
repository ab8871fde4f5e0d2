//! Files that nothing needs any more and that a distribution's own tools remove from time to time.

use std::path::{Path, PathBuf};

use sickbay_target::{FileKind, Root};

use crate::facts::Facts;
use crate::facts::boot::kernels::Kernels;

/// A file that can be spared.
#[derive(Clone, Debug)]
pub struct Spare {
    /// The file.
    pub path: PathBuf,
    /// The space that it takes, in bytes.
    pub bytes: u64,
}

/// A larger one is not moved by a repair, which holds it in memory on the way.
const LARGEST: u64 = 512 << 20;

/// So many are looked for.
const MOST: usize = 5000;

/// Logs that every distribution's own logrotate(8) rules rotate. Those of logins (wtmp, btmp, secure, auth.log, audit) are left
/// alone: somebody may have to read them. Those of other programs are their owner's.
const LOGS: [&str; 22] = [
    "alternatives.log",
    "boot.log",
    "cron",
    "cron.log",
    "daemon.log",
    "debug",
    "dnf.librepo.log",
    "dnf.log",
    "dnf.rpm.log",
    "dpkg.log",
    "hawkey.log",
    "kern.log",
    "lpr.log",
    "mail.info",
    "mail.log",
    "maillog",
    "messages",
    "spooler",
    "syslog",
    "user.log",
    "warn",
    "yum.log",
];

/// What can be spared on the file system with this number, what is missed least first: packages that can be fetched again,
/// rotated logs, closed journals, initramfses of kernels that are gone.
pub fn spare(facts: &Facts, dev: u64) -> Vec<Spare> {
    let root = facts.root();
    let mut found = Vec::new();
    let mut add = |path: PathBuf| {
        let metadata = root.metadata(&path).ok();
        let fits = metadata.filter(|it| it.is_file() && it.dev == dev && it.nlink == 1 && it.allocated <= LARGEST);
        if let Some(metadata) = fits.filter(|it| it.allocated > 0 && found.len() < MOST) {
            found.push(Spare { path, bytes: metadata.allocated });
        }
    };
    files(root, "/var/cache/apt/archives", 0, &|name| name.ends_with(".deb")).into_iter().for_each(&mut add);
    for dir in ["/var/cache/dnf", "/var/cache/yum", "/var/cache/zypp/packages", "/var/cache/libdnf5"] {
        files(root, dir, 6, &|name| name.ends_with(".rpm")).into_iter().for_each(&mut add);
    }
    files(root, "/var/log", 0, &is_rotated).into_iter().for_each(&mut add);
    files(root, "/var/log/apt", 0, &|name| is_rotated_of(name, &["history.log", "term.log"]))
        .into_iter()
        .for_each(&mut add);
    // systemd-journald.service(8): a file that was closed has an @ in its name, one that was damaged a tilde at its end.
    let closed = |name: &str| name.ends_with(".journal~") || (name.contains('@') && name.ends_with(".journal"));
    files(root, "/var/log/journal", 1, &closed).into_iter().for_each(&mut add);
    stale_initramfses(facts).into_iter().for_each(&mut add);
    found
}

fn is_rotated(name: &str) -> bool {
    is_rotated_of(name, &LOGS)
}

/// `syslog.1`, `syslog.2.gz`, `messages-20240101`, `messages-20240101.xz`.
fn is_rotated_of(name: &str, logs: &[&str]) -> bool {
    let packed = [".gz", ".xz", ".bz2", ".zst"].iter().find_map(|ending| name.strip_suffix(ending));
    let plain = packed.unwrap_or(name);
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let numbered = plain.rsplit_once('.').filter(|(_, number)| digits(number) && number.len() <= 3);
    let dated = plain.rsplit_once('-').filter(|(_, date)| digits(date) && date.len() >= 8);
    numbered.or(dated).is_some_and(|(base, _)| logs.contains(&base))
}

/// What removed kernels left in /boot: neither the kernel nor its modules are there. Those of kdump and rescue entries have
/// names of their own.
fn stale_initramfses(facts: &Facts) -> Vec<PathBuf> {
    let Ok(kernels) = facts.get::<Kernels>() else { return Vec::new() };
    // Where no kernel is in /boot the loader takes them from elsewhere, and nothing is known of what it needs.
    if kernels.complete().next().is_none() {
        return Vec::new();
    }
    let is_stale = |name: &str| {
        let version =
            name.strip_prefix("initrd.img-").or_else(|| name.strip_prefix("initramfs-")?.strip_suffix(".img"));
        version
            .filter(|version| version.starts_with(|c: char| c.is_ascii_digit()) && !version.contains("kdump"))
            .is_some_and(|version| {
                let kernel = kernels.all.iter().any(|kernel| kernel.version == version);
                let modules = ["/lib/modules", "/usr/lib/modules"]
                    .iter()
                    .any(|dir| facts.root().metadata(Path::new(dir).join(version)).is_ok());
                !kernel && !modules
            })
    };
    files(facts.root(), "/boot", 0, &is_stale)
}

/// Files whose names fit, in `dir` and at most `depth` directories below; links are not followed.
fn files(root: &Root, dir: impl AsRef<Path>, depth: usize, fits: &dyn Fn(&str) -> bool) -> Vec<PathBuf> {
    let dir = dir.as_ref();
    let mut found = Vec::new();
    for entry in root.read_dir(dir).unwrap_or_default() {
        let path = dir.join(&entry.name);
        match entry.kind {
            FileKind::File if entry.name.to_str().is_some_and(fits) => found.push(path),
            FileKind::Dir if depth > 0 => found.extend(files(root, &path, depth - 1, fits)),
            _ => {}
        }
        if found.len() >= MOST {
            break;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rotated_logs_of_the_system_are_spared() {
        for name in ["syslog.1", "syslog.2.gz", "messages-20240101", "messages-20240101.xz", "kern.log.10.zst"] {
            assert!(is_rotated(name), "{name}");
        }
        for name in
            ["syslog", "messages", "secure-20240101", "auth.log.1", "btmp-20240101", "shop.1", "messages-old", "a.gz"]
        {
            assert!(!is_rotated(name), "{name}");
        }
    }
}
