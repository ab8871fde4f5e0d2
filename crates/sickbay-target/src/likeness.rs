//! Whether a directory is the root of a Linux system. One that is none, taken for one, would be "repaired": a mount
//! point on which nothing is mounted, a disk of `/home`, `/etc` itself, what a tool for support collected.
//!
//! What is broken must be recognised all the same, so nothing depends on one file: two witnesses are asked for, of
//! different kinds. All that is below `/etc` is one witness, for there are more backups of it than systems that lost
//! everything else.

use std::path::{Path, PathBuf};

use crate::root::FileKind;
use crate::{OpenError, ReadError, Reason, Root, system};

/// Something that only a system has.
type Witness = fn(&mut Looking<'_>) -> bool;

const WITNESSES: [Witness; 7] = [
    |seen| seen.has(OF_ETC) >= 1 || seen.has(IN_ETC) >= 2,
    |seen| seen.has(PACKAGES) >= 1,
    |seen| PROGRAM_DIRS.iter().any(|dir| seen.holds(dir, |name| PROGRAMS.contains(&name))),
    |seen| LIBRARY_DIRS.iter().any(|dir| seen.holds(dir, is_of_libraries)),
    |seen| seen.holds("/usr/share", |name| SHARE.contains(&name)),
    |seen| seen.holds("/boot", is_of_boot),
    |seen| system::has_skeleton(seen.root),
];

/// So many are enough.
const ENOUGH: usize = 2;

/// Which system it is.
const OF_ETC: &[&str] = &[
    "/etc/os-release",
    "/etc/debian_version",
    "/etc/redhat-release",
    "/etc/system-release",
    "/etc/SuSE-release",
    "/etc/alpine-release",
    "/etc/arch-release",
    "/etc/gentoo-release",
    "/etc/slackware-version",
    "/etc/openwrt_release",
    "/etc/lsb-release",
];

/// What is in the `/etc` of about every system.
const IN_ETC: &[&str] = &[
    "/etc/passwd",
    "/etc/group",
    "/etc/shadow",
    "/etc/fstab",
    "/etc/inittab",
    "/etc/nsswitch.conf",
    "/etc/pam.d",
    "/etc/login.defs",
    "/etc/profile",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/init.d",
    "/etc/systemd",
    "/etc/ssh",
];

/// Databases of package managers.
const PACKAGES: &[&str] = &[
    "/var/lib/dpkg",
    "/var/lib/rpm",
    "/usr/lib/sysimage/rpm",
    "/usr/share/rpm",
    "/lib/apk/db",
    "/usr/lib/apk/db",
    "/var/lib/pacman",
    "/var/lib/portage",
    "/var/lib/pkgtools",
    "/var/lib/opkg",
    "/usr/lib/opkg",
    "/nix/store",
];

const PROGRAM_DIRS: [&str; 4] = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];

/// Programs of the base of a system, of which some survive.
const PROGRAMS: [&str; 14] = [
    "sh",
    "bash",
    "busybox",
    "env",
    "ls",
    "mount",
    "login",
    "passwd",
    "su",
    "sudo",
    "init",
    "systemctl",
    "ldconfig",
    "chroot",
];

const LIBRARY_DIRS: [&str; 4] = ["/usr/lib", "/lib", "/usr/lib64", "/lib64"];

fn is_of_libraries(name: &str) -> bool {
    let whole = ["systemd", "modules", "firmware", "udev", "os-release", "libc.so.6"];
    whole.contains(&name) || name.starts_with("ld-") || name.ends_with("-linux-gnu")
}

const SHARE: [&str; 7] = ["doc", "man", "zoneinfo", "terminfo", "i18n", "misc", "base-files"];

fn is_of_boot(name: &str) -> bool {
    let heads = ["vmlinuz", "vmlinux", "initrd", "initramfs", "System.map", "config-"];
    ["grub", "grub2", "loader", "efi", "extlinux"].contains(&name) || heads.iter().any(|head| name.starts_with(head))
}

/// What has trees like those of a system, and is none.
const OTHERS: [(&[&str], &str); 4] = [
    (&["/sos_logs", "/sos_reports"], "a sosreport without what commands printed (sos_commands)"),
    (&["/supportconfig.txt", "/basic-environment.txt"], "a supportconfig, which is not read yet"),
    (&["/etc/initrd-release"], "an initramfs: the root of the system is elsewhere"),
    (&["/scripts/init-premount", "/scripts/local-top"], "an initramfs: the root of the system is elsewhere"),
];

/// File systems that the kernel makes up, by the number that statfs(2) gives (include/uapi/linux/magic.h). To read their
/// files may do something.
const OF_KERNEL: [(u64, &str); 12] = [
    (0x9FA0, "proc"),
    (0x6265_6572, "sysfs"),
    (0x6462_6720, "debugfs"),
    (0x7472_6163, "tracefs"),
    (0x0027_E0EB, "cgroup"),
    (0x6367_7270, "cgroup2"),
    (0x6265_6570, "configfs"),
    (0x7363_6673, "securityfs"),
    (0xF97C_FF8C, "selinuxfs"),
    (0xDE5E_81E4, "efivarfs"),
    (0xCAFE_4A11, "bpf"),
    (0x1CD1, "devpts"),
];

/// Looks into a directory, and remembers what was in the way.
struct Looking<'r> {
    root: &'r Root,
    blocked: Option<ReadError>,
}

impl Looking<'_> {
    fn keep<T>(&mut self, answer: Result<T, ReadError>) -> Option<T> {
        match answer {
            Ok(found) => Some(found),
            Err(ReadError { reason: Reason::NotFound | Reason::NotADirectory | Reason::LinkLoop, .. }) => None,
            Err(error) => {
                self.blocked.get_or_insert(error);
                None
            }
        }
    }

    /// How many of the paths are there; a link that leads nowhere counts.
    fn has(&mut self, paths: &[&str]) -> usize {
        let root = self.root;
        paths.iter().filter(|path| self.keep(root.metadata(path)).is_some()).count()
    }

    /// Whether a directory holds one of the names.
    fn holds(&mut self, dir: &str, is_wanted: impl Fn(&str) -> bool) -> bool {
        let listed = self.keep(self.root.read_dir_up_to(dir, 1 << 16));
        let is_wanted = |name: &std::ffi::OsString| name.to_str().is_some_and(&is_wanted);
        listed.is_some_and(|(entries, _)| entries.iter().any(|entry| is_wanted(&entry.name)))
    }

    fn is_root(&mut self) -> bool {
        // What belongs below /usr has programs and libraries too; no root has a `share`.
        if self.has(&["/share"]) > 0 && self.has(&["/usr", "/etc"]) == 0 {
            return false;
        }
        let mut count = 0;
        WITNESSES.iter().any(|witness| {
            count += usize::from(witness(self));
            count == ENOUGH
        })
    }
}

/// What a directory is that looks a little like the root of a system; `None` for one that may be a root, or logs.
pub(crate) fn name(root: &Root) -> Option<String> {
    let told = root.statvfs("/").ok()?;
    if let Some((_, name)) = OF_KERNEL.iter().find(|(magic, _)| *magic == told.magic) {
        return Some(format!("a file system of the running kernel's own ({name}), not the root of a system"));
    }
    let is_there = |path: &&&str| root.metadata(path).is_ok();
    let found = OTHERS.iter().find(|(marks, _)| marks.iter().find(is_there).is_some());
    found.map(|(_, what)| (*what).to_owned())
}

/// Whether a directory is the root of a system.
///
/// # Errors
/// When that cannot be told.
pub(crate) fn is_root(root: &Root) -> Result<bool, ReadError> {
    let mut looking = Looking { root, blocked: None };
    match (looking.is_root(), looking.blocked) {
        (true, _) => Ok(true),
        (false, None) => Ok(false),
        (false, Some(error)) => Err(error),
    }
}

/// Why a directory that is no root is refused, with the root that may be meant: what is directly above it or below.
pub(crate) fn refusal(root: &Root, dir: &Path) -> OpenError {
    let is_meant =
        |dir: &PathBuf| Root::at(dir).is_ok_and(|root| name(&root).is_none() && is_root(&root).unwrap_or(false));
    let above = std::fs::canonicalize(dir).ok().and_then(|dir| Some(dir.parent()?.to_owned()));
    let below = || {
        let (entries, _) = root.read_dir_up_to("/", 64).unwrap_or_default();
        let dirs = entries.into_iter().filter(|entry| entry.kind == FileKind::Dir);
        dirs.map(|entry| dir.join(entry.name)).find(&is_meant)
    };
    // This machine itself needs no name.
    let meant = above.filter(|above| above != Path::new("/")).filter(&is_meant).or_else(below);
    OpenError::NotARoot { path: dir.to_owned(), meant: meant.map(|meant| meant.display().to_string()) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn tree(paths: &[&str]) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        for path in paths {
            let path = dir.path().join(path.trim_start_matches('/'));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            match path.to_str().unwrap().strip_suffix('/') {
                Some(dir) => fs::create_dir_all(dir).unwrap(),
                None => fs::write(&path, "x").unwrap(),
            }
        }
        let root = Root::at(dir.path()).unwrap();
        (dir, root)
    }

    #[test]
    fn a_system_with_most_of_it_gone_is_a_system() {
        let systems: [&[&str]; 10] = [
            // Only /usr is left.
            &["usr/bin/env", "usr/lib/os-release", "usr/share/doc/bash/copyright"],
            &["usr/bin/passwd", "usr/share/man/man1/ls.1"],
            // /etc is lost, or /usr.
            &[
                "usr/bin/bash",
                "usr/lib/x86_64-linux-gnu/libc.so.6",
                "var/lib/dpkg/status",
                "boot/vmlinuz-6.1.0-18-amd64",
            ],
            &["etc/passwd", "etc/fstab", "var/lib/dpkg/status"],
            &["etc/redhat-release", "boot/grub2/grub.cfg"],
            // Before /usr was merged.
            &["bin/bash", "lib/modules/2.6.32/modules.dep"],
            // Only /var, and the names of the others.
            &["var/lib/rpm/Packages", "dev/", "proc/", "sys/", "etc/", "usr/", "tmp/"],
            // Containers.
            &["bin/busybox", "etc/alpine-release", "lib/apk/db/installed"],
            &["etc/passwd", "etc/group", "var/lib/dpkg/status.d/base"],
            &["nix/store/x", "etc/passwd", "etc/group"],
        ];
        for paths in systems {
            let (_dir, root) = tree(paths);
            assert!(is_root(&root).unwrap(), "{paths:?}");
            assert_eq!(name(&root), None, "{paths:?}");
        }
    }

    #[test]
    fn what_is_no_system_is_none() {
        let others: [&[&str]; 14] = [
            &[],
            &["alice/.bashrc", "bob/.profile", "lost+found/"],
            &["2023/06/img_1.jpg", "raw/a.cr2"],
            // A mount point of which somebody made the usual directories.
            &["etc/", "usr/", "var/"],
            &["bin/", "etc/", "lib/", "usr/", "var/", "home/", "dev/", "proc/", "sys/"],
            // /etc itself, /var, /usr, /boot, of other disks.
            &["passwd", "fstab", "os-release", "ssh/sshd_config", "pam.d/login", "opt/", "default/"],
            &["lib/dpkg/status", "lib/systemd/x", "lib/udev/", "log/syslog", "cache/", "spool/", "tmp/"],
            &["bin/env", "lib/os-release", "lib/systemd/systemd", "share/doc/", "sbin/", "local/"],
            &["vmlinuz-6.1", "grub/grub.cfg", "efi/"],
            // Backups: of /etc, and what rsnapshot keeps as it comes.
            &["etc/passwd", "etc/fstab", "etc/os-release"],
            &["etc/passwd", "etc/fstab", "etc/os-release", "home/alice/x", "usr/local/bin/backup"],
            // What a home directory has, and what a package is built in.
            &["bin/backup.sh", "lib/mine.so", "etc/my.conf", "tmp/", "src/"],
            &["usr/bin/frobnicate", "usr/share/doc/frobnicate/copyright", "etc/frobnicate.conf", "DEBIAN/control"],
            // The mount point of /boot in an empty directory.
            &["boot/vmlinuz-6.1.0", "boot/grub/grub.cfg"],
        ];
        for paths in others {
            let (_dir, root) = tree(paths);
            assert!(!is_root(&root).unwrap(), "{paths:?}");
        }
    }

    #[test]
    fn what_looks_like_one_is_named() {
        for (paths, what) in [
            (&["sos_reports/x", "etc/fstab", "etc/os-release", "proc/meminfo"][..], "a sosreport"),
            (&["supportconfig.txt", "meta_data/"], "a supportconfig"),
            (&["etc/initrd-release", "usr/bin/bash", "usr/lib/systemd/x"], "an initramfs"),
        ] {
            let (_dir, root) = tree(paths);
            assert!(name(&root).is_some_and(|told| told.starts_with(what)), "{paths:?}");
        }
        let told = name(&Root::at(Path::new("/proc")).unwrap()).unwrap();
        assert!(told.contains("(proc)"), "{told}");
    }

    #[test]
    fn what_may_be_meant_is_told() {
        let (dir, root) = tree(&["rootfs/usr/bin/env", "rootfs/usr/share/doc/", "config"]);
        let told = refusal(&root, dir.path()).to_string();
        assert!(told.ends_with(&format!("{} does", dir.path().join("rootfs").display())), "{told}");
        let etc = dir.path().join("rootfs/usr");
        let told = refusal(&Root::at(&etc).unwrap(), &etc).to_string();
        assert!(told.contains(&format!("{} does", dir.path().join("rootfs").display())), "{told}");
    }
}
