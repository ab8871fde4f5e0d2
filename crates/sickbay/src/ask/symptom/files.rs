//! Files that cannot be made, opened or found.

use std::sync::Arc;

use bstr::ByteSlice;
use sickbay_formats::procfs::limits::limit;

use super::{Cause, Symptom, by_checks, cause, memory, nearly, open, read};
use crate::facts::Facts;
use crate::facts::login::sshd;
use crate::facts::memory::cgroups::Mounts;
use crate::facts::memory::processes::Holders;
use crate::facts::system::kernel::parameter;
use crate::model::about::Area;
use crate::tr;

pub(super) static SYMPTOMS: &[Symptom] = &[
    Symptom { words: &["no space left on device", "enospc", "disk quota exceeded"], causes: no_space },
    Symptom { words: &["too many open files", "emfile", "enfile"], causes: too_many },
    Symptom { words: &["cannot modify limit"], causes: cannot_raise },
    Symptom { words: &["error while loading shared libraries", "cannot open shared object file"], causes: libraries },
    Symptom { words: &["openssl version mismatch"], causes: openssl },
    Symptom {
        words: &[
            "symbol lookup error",
            "undefined symbol",
            "version `glibc",
            "not found (required by",
            "no version information available",
        ],
        causes: other_library,
    },
    Symptom { words: &["read-only file system", "erofs"], causes: read_only },
    Symptom {
        words: &["timed out waiting for device", "emergency mode", "dependency failed for"],
        causes: mounts_fail,
    },
    Symptom { words: &["command not found", "no such file or directory"], causes: not_found },
];

/// The file systems of disks, and tmpfs: what can be full.
const KINDS: [&str; 10] = ["ext2", "ext3", "ext4", "xfs", "btrfs", "tmpfs", "f2fs", "vfat", "overlay", "zfs"];

fn no_space(facts: &Arc<Facts>) -> Vec<Cause> {
    let (mut space, mut inodes, mut kept) = (Vec::new(), Vec::new(), Vec::new());
    if let Ok(mounts) = facts.get::<Mounts>() {
        let mut seen = std::collections::HashSet::new();
        for mount in mounts.all.iter().filter(|mount| KINDS.contains(&mount.fstype.as_str())) {
            let Ok(path) = mount.place.to_path() else { continue };
            let Ok(told) = facts.root().statvfs(path) else { continue };
            if told.size == 0 || told.read_only || !seen.insert(mount.device.clone()) {
                continue;
            }
            space.push((told.available.saturating_mul(100) / told.size, mount.place.to_string()));
            let left = told.inodes_free.saturating_mul(100).checked_div(told.inodes);
            inodes.extend(left.map(|left| (left, mount.place.to_string())));
            if told.available == 0 && told.free > 0 {
                kept.push(mount.place.to_string());
            }
        }
    }
    let fullest = |what, mut list: Vec<(u64, String)>| {
        list.sort();
        match list.first() {
            Some((left, place)) => cause(what, *left < 2, tr!("the fullest is {place}: {left} % left", place, left)),
            None => open(what, tr!("{name} cannot be read", name = "/proc/self/mountinfo")),
        }
    };
    let mut causes = vec![
        fullest(tr!("a file system is full"), space),
        fullest(tr!("a file system has no inodes left: too many small files"), inodes),
    ];
    if !kept.is_empty() {
        let places = kept.join(", ");
        causes.push(cause(
            tr!("what is left is reserved for root"),
            true,
            tr!("nothing left for other users on {places}", places),
        ));
    }
    let accounting = ["memory-min-free", "memory-overcommit-refuses", "memory-low"];
    causes.push(by_checks(
        facts,
        tr!("on a tmpfs that is not full: the kernel refuses the memory for it"),
        &accounting,
    ));
    let watches = parameter(facts, "fs.inotify.max_user_watches").ok().flatten();
    causes.push(open(
        tr!("a program that watches files has no watches left: fs.inotify.max_user_watches"),
        tr!("{value} per user here", value = watches.map_or("?".to_owned(), |watches| watches.to_string())),
    ));
    let semaphores = read(facts, "/proc/sysvipc/sem").map(|text| (text.lines().count() as u64).saturating_sub(1));
    let sets =
        read(facts, "/proc/sys/kernel/sem").and_then(|text| sickbay_formats::procfs::numbers(&text).get(3).copied());
    causes.push(nearly(tr!("there are no System V semaphores left: kernel.sem"), semaphores, sets, "kernel.sem"));
    causes
}

fn too_many(facts: &Arc<Facts>) -> Vec<Cause> {
    let what = tr!("a process has used up its limit on open files (ulimit -n, LimitNOFILE=)");
    let process = match facts.get::<Holders>() {
        Err(_) => open(what, tr!("{name} cannot be read", name = "/proc")),
        Ok(holders) => {
            // Few processes have so many that a limit can be near.
            let near = holders.list.iter().take(64).find_map(|holder| {
                let text = read(facts, &format!("/proc/{}/limits", holder.pid))?;
                let soft = limit(&text, "Max open files")?.soft?;
                (holder.fds >= soft - soft / 10).then_some((holder, soft))
            });
            match (near, holders.list.first()) {
                (Some((holder, soft)), _) => cause(
                    what,
                    true,
                    tr!(
                        "{name} (PID {pid}) has {fds} open of {limit}",
                        name = holder.comm.as_str(),
                        pid = holder.pid,
                        fds = holder.fds,
                        limit = soft
                    ),
                ),
                (None, Some(most)) => cause(
                    what,
                    false,
                    tr!(
                        "{name} (PID {pid}) has the most: {fds}",
                        fds = most.fds,
                        name = most.comm.as_str(),
                        pid = most.pid
                    ),
                ),
                (None, None) => open(what, tr!("{name} cannot be read", name = "/proc")),
            }
        }
    };
    let instances = parameter(facts, "fs.inotify.max_user_instances").ok().flatten();
    vec![
        process,
        memory::open_files(facts),
        open(
            tr!("a user has no inotify instances left: fs.inotify.max_user_instances"),
            tr!("{value} per user here", value = instances.map_or("?".to_owned(), |instances| instances.to_string())),
        ),
    ]
}

fn cannot_raise(facts: &Arc<Facts>) -> Vec<Cause> {
    let hard =
        read(facts, "/proc/self/limits").and_then(|text| limit(&text, "Max open files")).and_then(|limit| limit.hard);
    let most = parameter(facts, "fs.nr_open").ok().flatten();
    let number = |value: Option<u64>| value.map_or("?".to_owned(), |value| value.to_string());
    vec![
        open(
            tr!("only root may raise a hard limit: set it in limits.conf or the unit, and log in again"),
            tr!("the hard limit on open files is {limit} for programs started from here", limit = number(hard)),
        ),
        open(tr!("not even root may exceed fs.nr_open"), tr!("it is {limit} here", limit = number(most))),
    ]
}

fn libraries(facts: &Arc<Facts>) -> Vec<Cause> {
    vec![
        by_checks(
            facts,
            tr!("a library that programs need, or a link to it, is missing"),
            &["login-program-broken", "top-level-missing"],
        ),
        open(
            tr!("the library exists but is not in the cache: run ldconfig, check /etc/ld.so.conf"),
            match facts.root().exists("/etc/ld.so.cache") {
                Ok(true) => tr!("{path} exists", path = "/etc/ld.so.cache"),
                _ => tr!("{path} does not exist", path = "/etc/ld.so.cache"),
            },
        ),
        open(
            tr!("the library cannot be read, or is for another architecture"),
            tr!("the rest of the message says which"),
        ),
    ]
}

fn openssl(facts: &Arc<Facts>) -> Vec<Cause> {
    vec![
        in_front(facts),
        open(
            tr!(
                "openssl was updated without openssh-server: before OpenSSH 9.4, sshd requires the minor release it was built with"
            ),
            match sshd::version(facts) {
                Some(version) => tr!("sshd is of OpenSSH {major}.{minor}", major = version.0, minor = version.1),
                None => tr!("sshd -V shows its release"),
            },
        ),
        half_updated(facts),
    ]
}

fn other_library(facts: &Arc<Facts>) -> Vec<Cause> {
    vec![
        in_front(facts),
        half_updated(facts),
        open(
            tr!(
                "the program was built for a newer release of the distribution: it needs that release, or to be built here"
            ),
            tr!("the message names the version that is missing; objdump -T LIBRARY lists those that are there"),
        ),
    ]
}

fn in_front(facts: &Arc<Facts>) -> Cause {
    by_checks(
        facts,
        tr!(
            "ld.so takes a library from /usr/local, /opt or LD_LIBRARY_PATH instead of the system's own: ldd PROGRAM shows which"
        ),
        &["login-program-broken", "preloaded-library-missing"],
    )
}

fn half_updated(facts: &Arc<Facts>) -> Cause {
    by_checks(
        facts,
        tr!("an update stopped in the middle: the program is of one release, the library of another"),
        &["package-install-interrupted", "package-file-altered"],
    )
}

fn read_only(facts: &Arc<Facts>) -> Vec<Cause> {
    let mut places = Vec::new();
    if let Ok(mounts) = facts.get::<Mounts>() {
        let disk = |kind: &str| KINDS.contains(&kind) && !matches!(kind, "tmpfs" | "overlay");
        let read_only =
            mounts.all.iter().filter(|mount| disk(&mount.fstype) && mount.options.split(',').any(|o| o == "ro"));
        places = read_only.map(|mount| mount.place.to_string()).collect();
    }
    let seen = match places.is_empty() {
        true => tr!("no disk file system is mounted read-only"),
        false => tr!("mounted read-only: {places}", places = places.join(", ")),
    };
    vec![
        cause(
            tr!("the file system was damaged, and the kernel made it read-only: read its log, then run fsck"),
            !places.is_empty(),
            seen,
        ),
        by_checks(facts, tr!("fstab mounts it wrongly"), &["fstab-bad-line", "fstab-wrong-root", "fstab-wrong-type"]),
    ]
}

fn mounts_fail(facts: &Arc<Facts>) -> Vec<Cause> {
    let ids = [
        "fstab-missing-device",
        "fstab-duplicate-uuid",
        "fstab-wrong-type",
        "fstab-bad-line",
        "fstab-wrong-root",
        "fstab-missing-mount-point",
    ];
    vec![
        by_checks(facts, tr!("fstab names a device that does not exist, or is of another kind"), &ids),
        super::by_area(facts, tr!("something else that the boot needs is broken"), Area::Boot),
    ]
}

fn not_found(facts: &Arc<Facts>) -> Vec<Cause> {
    let ids = ["top-level-missing", "login-program-broken", "mode-too-strict"];
    vec![
        by_checks(facts, tr!("system directories, links or programs are missing or inaccessible"), &ids),
        open(
            tr!("PATH lacks the directory, or the package is not installed"),
            tr!("only the user's shell knows its PATH"),
        ),
        open(
            tr!("the program exists but its loader does not: it is for another architecture"),
            tr!("sickbay check names missing loaders"),
        ),
    ]
}
