//! How the ids that stat(2) tells of a target stand to those that its own system knows.
//!
//! The root of an unprivileged container is stored with every id shifted by one offset: its root is 100000 on the disk. And who
//! looks from inside a user namespace sees an overflow id where an id of the disk has none there. Both are undone here, where
//! the ids come in and go out, so that nothing above knows of it: root is 0.

use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};

use crate::root::Metadata;

/// What stands between the ids of the disk and those of the target's system.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Ids {
    user: Mapping,
    group: Mapping,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Mapping {
    /// None.
    #[default]
    Same,
    /// Root is stored as this id. Ids below it belong to nobody in the container; they get numbers that no account has, and
    /// their own back.
    Shifted(u32),
    /// An id that this user namespace does not map is shown as this one. The system's own files are root's.
    Overflow(u32),
}

impl Mapping {
    fn inside(self, id: u32) -> u32 {
        match self {
            Mapping::Same => id,
            Mapping::Shifted(offset) => id.wrapping_sub(offset),
            Mapping::Overflow(shown) => {
                if id == shown {
                    0
                } else {
                    id
                }
            }
        }
    }

    fn stored(self, id: u32) -> u32 {
        match self {
            Mapping::Shifted(offset) => id.wrapping_add(offset),
            Mapping::Same | Mapping::Overflow(_) => id,
        }
    }
}

/// Names at the top that are root's on every system. No link on the way could lead out of the target.
const ROOTS: [&str; 9] = ["bin", "boot", "etc", "lib", "opt", "root", "sbin", "usr", "var"];

/// The most of `/etc/passwd` that is read.
const PASSWD_LIMIT: usize = 4 << 20;

impl Ids {
    /// How the ids below `dir` are stored. One stat(2) where `dir` is root's, as nearly everywhere.
    pub(crate) fn of(dir: BorrowedFd<'_>) -> Ids {
        let Ok(top) = rustix::fs::fstat(dir) else { return Ids::default() };
        let (user, group) = (top.st_uid, top.st_gid);
        if user == 0 || !shares(dir, user) {
            return Ids::default();
        }
        if Some(user) == overflow("/proc/self/uid_map", "/proc/sys/kernel/overflowuid") {
            let shown = overflow("/proc/self/gid_map", "/proc/sys/kernel/overflowgid");
            let group = shown.filter(|shown| *shown == group).map_or(Mapping::Same, Mapping::Overflow);
            return Ids { user: Mapping::Overflow(user), group };
        }
        // A user of the target itself who was given all of it is a fault, and no container.
        if !is_offset(user, "/etc/subuid") || has_account(dir, user) {
            return Ids::default();
        }
        let group = if is_offset(group, "/etc/subgid") { Mapping::Shifted(group) } else { Mapping::Same };
        Ids { user: Mapping::Shifted(user), group }
    }

    /// As the target's system sees it.
    pub(crate) fn inside(self, mut metadata: Metadata) -> Metadata {
        metadata.uid = self.user.inside(metadata.uid);
        metadata.gid = self.group.inside(metadata.gid);
        metadata
    }

    /// What is to be stored for a user and a group of the target's system.
    pub(crate) fn stored(self, (user, group): (u32, u32)) -> (u32, u32) {
        (self.user.stored(user), self.group.stored(group))
    }
}

/// Whether what is root's on every system has this owner: most of it, for one of them may be somebody's by a fault.
fn shares(dir: BorrowedFd<'_>, user: u32) -> bool {
    let found = ROOTS.iter().filter_map(|path| rustix::fs::statat(dir, *path, AtFlags::SYMLINK_NOFOLLOW).ok());
    let owners: Vec<u32> = found.map(|stat| stat.st_uid).collect();
    let his = owners.iter().filter(|owner| **owner == user).count();
    his >= 3 && his * 4 >= owners.len() * 3
}

/// The offsets that are given out: 100000 and on in steps of 65536 (newuidmap(1), LXC), multiples of 65536
/// (systemd-nspawn(1)), and those that this machine's administrator gave to somebody (subuid(5)).
fn is_offset(id: u32, table: &str) -> bool {
    let usual = id >= 65536 && (id.is_multiple_of(65536) || id >= 100_000 && (id - 100_000).is_multiple_of(65536));
    usual || (id >= 65536 && given_out(table, id))
}

fn given_out(table: &str, id: u32) -> bool {
    let text = std::fs::read_to_string(table).unwrap_or_default();
    text.lines().any(|line| line.split(':').nth(1).and_then(|start| start.trim().parse().ok()) == Some(id))
}

/// Whether the target's own `/etc/passwd` has an account of this number.
fn has_account(dir: BorrowedFd<'_>, user: u32) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let file = rustix::fs::openat2(dir, "etc/passwd", flags, Mode::empty(), inside);
    // Kernels before 5.6 have no openat2.
    let file = file.or_else(|_| {
        let flags_of_dir = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let etc = rustix::fs::openat(dir, "etc", flags_of_dir, Mode::empty())?;
        rustix::fs::openat(etc, "passwd", flags, Mode::empty())
    });
    let Ok(file) = file else { return false };
    let is_file =
        rustix::fs::fstat(&file).is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file());
    let mut text = Vec::new();
    if !is_file
        || std::io::Read::read_to_end(
            &mut std::io::Read::take(std::fs::File::from(file), PASSWD_LIMIT as u64),
            &mut text,
        )
        .is_err()
    {
        return false;
    }
    let wanted = user.to_string();
    text.split(|byte| *byte == b'\n')
        .any(|line| line.split(|byte| *byte == b':').nth(2).is_some_and(|number| number == wanted.as_bytes()))
}

/// The id that stands for those which this process' user namespace does not map; `None` where it maps all of them.
fn overflow(map: &str, overflow: &str) -> Option<u32> {
    let map = std::fs::read_to_string(map).ok()?;
    let mapped: u64 = map.lines().filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok()).sum();
    if mapped >= u64::from(u32::MAX) {
        return None;
    }
    Some(std::fs::read_to_string(overflow).ok().and_then(|id| id.trim().parse().ok()).unwrap_or(65534))
}

#[cfg(test)]
mod tests {
    use super::{Mapping, is_offset};

    #[test]
    fn what_comes_in_goes_out_as_it_was() {
        for mapping in [Mapping::Same, Mapping::Shifted(100_000)] {
            for id in [0, 1000, 99_999, 100_000, 100_042, 165_535, u32::MAX] {
                assert_eq!(mapping.stored(mapping.inside(id)), id);
            }
        }
        assert_eq!(Mapping::Shifted(100_000).inside(100_042), 42);
        assert_eq!(Mapping::Overflow(65534).inside(65534), 0);
    }

    #[test]
    fn offsets_of_containers() {
        assert!([100_000, 165_536, 65536, 131_072].iter().all(|id| is_offset(*id, "/nonexistent")));
        assert!([0, 1000, 65534, 99_999, 100_001].iter().all(|id| !is_offset(*id, "/nonexistent")));
    }
}
