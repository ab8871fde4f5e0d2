//! What two systems are set to: their files below `/etc`, and the values of two running kernels.
//!
//! What always differs between two machines is left out, and so are UUIDs. What not everybody may read is not shown either: that
//! it differs is enough, and a report is passed on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sickbay_target::{Budget, FileKind, Root};

use crate::facts::Facts;
use crate::facts::packages::comparison::{Difference, comes_with_a_package, differences};

/// Files of `/etc` that every machine has of its own, and what programs make of others.
const OWN: [&str; 16] = [
    "/etc/.pwd.lock",
    "/etc/.updated",
    "/etc/adjtime",
    "/etc/group-",
    "/etc/gshadow-",
    "/etc/hostname",
    "/etc/ld.so.cache",
    "/etc/machine-id",
    "/etc/mtab",
    "/etc/passwd-",
    "/etc/printcap",
    "/etc/shadow-",
    "/etc/subgid-",
    "/etc/subuid-",
    "/etc/udev/hwdb.bin",
    "/etc/ssl/certs",
];
/// Beginnings of paths that are a machine's own.
const OWN_BEGINNINGS: [&str; 2] = ["/etc/ssh/ssh_host_", "/etc/lvm/backup"];
/// Kernel values that count, or that belong to one machine or one of its interfaces.
const OWN_VALUES: [&str; 16] = [
    "fs.aio-nr",
    "fs.dentry-state",
    "fs.file-nr",
    "fs.inode-nr",
    "fs.inode-state",
    "fs.quota",
    "kernel.hostname",
    "kernel.keys",
    "kernel.ns_last_pid",
    "kernel.pty.nr",
    "kernel.random",
    "kernel.sched_domain",
    "kernel.tainted",
    "net.netfilter.nf_conntrack_count",
    "kernel.spl",
    "sunrpc.transports",
];
/// Longer files are only said to differ.
const LONGEST: u64 = 1 << 20;
/// So many entries are looked at, and so long.
const ENTRIES: usize = 50_000;
const LENGTH: Duration = Duration::from_secs(30);
const DEPTH: usize = 12;

/// A file that is not the same here and there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Its path.
    pub path: String,
    /// In what way.
    pub how: How,
}

/// How two files differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// Only the first system has it.
    OnlyFirst,
    /// Only the second has it.
    OnlySecond,
    /// In these lines, `-` the first's and `+` the second's.
    Lines(Vec<String>),
    /// In some way: it is no text, or too long to be shown.
    Somehow,
    /// In some way that is not shown, since not everybody may read it.
    Hidden,
    /// That cannot be told: why it could not be read.
    Unread(String),
}

/// What two systems are set to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configuration {
    /// Files below `/etc`.
    pub files: Vec<Changed>,
    /// Kernel parameters in force; empty where one of the two does not run.
    pub running: Vec<Difference<String>>,
    /// Limits of the first process, which are those of all services that set none of their own; likewise.
    pub limits: Vec<Difference<String>>,
    /// Whether something was not compared: there was too much of it.
    pub incomplete: bool,
}

impl Configuration {
    /// Compares the target of `first` with that of `second`.
    pub fn of(first: &Facts, second: &Facts) -> Configuration {
        let budget = Budget::new(LENGTH);
        let mut incomplete = false;
        let (a, b) = (first.root(), second.root());
        let mut listed = |root: &Root, top: &str| {
            let mut all = Vec::new();
            let within = list(root, Path::new(top), 0, &budget, &mut all);
            incomplete |= !within;
            all
        };
        let mut paths = listed(a, "/etc");
        paths.extend(listed(b, "/etc"));
        paths.sort_unstable();
        paths.dedup();
        let is_told = |one: &Changed| match one.how {
            How::OnlyFirst => !comes_with_a_package(Path::new(&one.path), [first, second]),
            How::OnlySecond => !comes_with_a_package(Path::new(&one.path), [second, first]),
            _ => true,
        };
        let files = paths.iter().filter(|path| !is_own(path)).filter_map(|path| changed(a, b, path));
        let files = files.filter(is_told).collect();
        let (mut running, mut limits) = (Vec::new(), Vec::new());
        if first.runs() && second.runs() {
            let [one, other] = [a, b].map(|root| values(root, listed(root, "/proc/sys")));
            running = differences(one, other);
            limits = differences(limits_of_first(a), limits_of_first(b));
        }
        Configuration { files, running, limits, incomplete }
    }

    /// Whether nothing differs.
    pub fn is_same(&self) -> bool {
        self.files.is_empty() && self.running.is_empty() && self.limits.is_empty()
    }
}

/// The files below `dir`; whether those are all.
fn list(root: &Root, dir: &Path, depth: usize, budget: &Budget, into: &mut Vec<PathBuf>) -> bool {
    let mut whole = true;
    for entry in root.read_dir(dir).unwrap_or_default() {
        if into.len() >= ENTRIES || depth > DEPTH || budget.is_spent() {
            return false;
        }
        let path = dir.join(&entry.name);
        match entry.kind {
            FileKind::Dir => whole &= list(root, &path, depth + 1, budget, into),
            FileKind::File => into.push(path),
            _ => {}
        }
    }
    whole
}

fn is_own(path: &Path) -> bool {
    let text = path.to_string_lossy();
    OWN.iter().any(|own| path.starts_with(own))
        || OWN_BEGINNINGS.iter().any(|beginning| text.starts_with(beginning))
        || [".dpkg-old", ".dpkg-dist", ".rpmsave", ".rpmnew", ".rpmorig"].iter().any(|ending| text.ends_with(ending))
}

fn changed(first: &Root, second: &Root, path: &Path) -> Option<Changed> {
    let how = |how: How| Some(Changed { path: path.display().to_string(), how });
    let is_file = |root: &Root| root.metadata(path).ok().filter(|it| it.kind == FileKind::File);
    let (one, other) = match (is_file(first), is_file(second)) {
        (Some(one), Some(other)) => (one, other),
        (Some(_), None) => return how(How::OnlyFirst),
        (None, Some(_)) => return how(How::OnlySecond),
        (None, None) => return None,
    };
    if one.size > LONGEST || other.size > LONGEST {
        return if one.size == other.size { None } else { how(How::Somehow) };
    }
    let (one_bytes, other_bytes) = match (first.read(path), second.read(path)) {
        (Ok(one), Ok(other)) => (one, other),
        (Err(why), _) | (_, Err(why)) => return how(How::Unread(why.to_string())),
    };
    if one_bytes == other_bytes {
        return None;
    }
    let is_secret = [one.mode, other.mode].iter().any(|mode| mode & 0o004 == 0);
    let (Ok(one), Ok(other)) = (std::str::from_utf8(&one_bytes), std::str::from_utf8(&other_bytes)) else {
        return how(if is_secret { How::Hidden } else { How::Somehow });
    };
    if without_ids(one) == without_ids(other) {
        return None;
    }
    if is_secret {
        return how(How::Hidden);
    }
    let patch = diffy::DiffOptions::new().set_context_len(0).create_patch(one, other).to_string();
    let line = |line: &str| line.starts_with(['-', '+']).then(|| line.to_owned());
    how(How::Lines(patch.lines().skip(2).filter_map(line).collect()))
}

/// The text without UUIDs, which every machine has of its own.
fn without_ids(text: &str) -> String {
    let is_id = |word: &str| {
        word.len() == 36
            && word.bytes().enumerate().all(|(at, byte)| match at {
                8 | 13 | 18 | 23 => byte == b'-',
                _ => byte.is_ascii_hexdigit(),
            })
    };
    let plain = |word: &str| if is_id(word) { "*".to_owned() } else { word.to_owned() };
    text.split_inclusive(|c: char| !c.is_ascii_alphanumeric() && c != '-')
        .map(|piece| {
            let word = piece.trim_end_matches(|c: char| !c.is_ascii_alphanumeric() && c != '-');
            format!("{}{}", plain(word), piece.get(word.len()..).unwrap_or_default())
        })
        .collect()
}

fn values(root: &Root, paths: Vec<PathBuf>) -> BTreeMap<String, String> {
    let key = |path: &Path| path.strip_prefix("/proc/sys").ok().map(|key| key.display().to_string().replace('/', "."));
    let is_common = |key: &String| {
        let of_interface = ["net.ipv4.conf.", "net.ipv6.conf.", "net.ipv4.neigh.", "net.ipv6.neigh."]
            .iter()
            .find_map(|beginning| key.strip_prefix(beginning))
            .is_some_and(|rest| !rest.starts_with("all.") && !rest.starts_with("default."));
        !of_interface
            && !OWN_VALUES
                .iter()
                .any(|own| key.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '_'])))
    };
    let read = |path: PathBuf| {
        let key = key(&path).filter(is_common)?;
        // What only root may read, such as keys of TCP Fast Open, is nobody else's to see.
        root.metadata(&path).ok().filter(|it| it.mode & 0o004 != 0)?;
        let value = root.read_up_to(&path, 4096).ok()?;
        Some((key, String::from_utf8_lossy(&value).split_whitespace().collect::<Vec<_>>().join(" ")))
    };
    paths.into_iter().filter_map(read).collect()
}

/// `Max open files            1024                 524288               files`.
fn limits_of_first(root: &Root) -> BTreeMap<String, String> {
    let text = root.read("/proc/1/limits").unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let row = |line: &str| {
        let (name, rest) = line.split_at_checked(26)?;
        let mut words = rest.split_whitespace();
        Some((name.trim().to_owned(), format!("{}:{}", words.next()?, words.next()?)))
    };
    text.lines().skip(1).filter_map(row).collect()
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test may")]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_a_machines_own() {
        let fstab = |id: &str, options: &str| format!("# <x>\nUUID={id} / ext4 {options} 0 1\n");
        let (a, b) = ("3f0c1d52-7c0e-4b0e-9d6c-0d3c5a9e1f01", "9a1e7b34-52d1-4c55-8a53-9f3f0b6a2c02");
        assert_eq!(without_ids(&fstab(a, "defaults")), without_ids(&fstab(b, "defaults")));
        assert_ne!(without_ids(&fstab(a, "defaults")), without_ids(&fstab(b, "noatime")));
        assert_eq!(without_ids("a-b, ü\n"), "a-b, ü\n");
        assert_eq!(without_ids(&format!("{a}x")), format!("{a}x"));
    }

    #[test]
    fn limits_are_read_by_their_columns() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir_all(dir.path().join("proc/1")).expect("a directory");
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
            Max open files            1024                 524288               files     \n\
            Max nice priority         0                    0                    \n";
        std::fs::write(dir.path().join("proc/1/limits"), text).expect("written");
        let found = limits_of_first(&Root::at(dir.path()).expect("a root"));
        assert_eq!(found.get("Max open files").map(String::as_str), Some("1024:524288"));
        assert_eq!(found.get("Max nice priority").map(String::as_str), Some("0:0"));
        assert_eq!(found.len(), 2);
    }
}
