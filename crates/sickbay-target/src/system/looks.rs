//! Tells by what is in its uppermost directory what a file system is for. On a damaged system any single file may be
//! missing, so nothing depends on one.

use std::path::Path;

use rustix::fs::OFlags;

use crate::root::{DirEntry, FileKind, Root};

/// What a file system looks like.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Looks {
    /// How much it looks like a root; 0 when it does not.
    pub(super) root: u32,
    boot: bool,
    usr: bool,
    var: bool,
}

impl Looks {
    pub(super) fn is_root(&self) -> bool {
        self.root > 0
    }
}

/// A directory, and whether a file system looks like what belongs there.
type Place = (&'static str, fn(&Looks) -> bool);

/// Where file systems of the other looks belong.
pub(super) const PLACES: [Place; 3] =
    [("/usr", |looks| looks.usr), ("/var", |looks| looks.var), ("/boot", |looks| looks.boot)];

/// Names that a root has and the other file systems have not (hier(7)).
const OF_ROOT: [&str; 13] =
    ["boot", "dev", "etc", "home", "mnt", "opt", "proc", "root", "run", "srv", "sys", "usr", "var"];

/// Names that a root shares with `/usr` and others.
const ALSO_OF_ROOT: [&str; 6] = ["bin", "lib", "lib64", "media", "sbin", "tmp"];

/// Files that tell of two roots which is the better one.
const INSIDE: [&str; 6] =
    ["/etc/fstab", "/etc/passwd", "/etc/os-release", "/usr/lib/os-release", "/usr/bin", "/var/lib"];

/// What an uppermost directory is searched for names in; no root has so many.
const NAMES: usize = 1 << 16;

fn has(entries: &[DirEntry], wanted: &str) -> bool {
    entries.iter().any(|entry| entry.name == wanted && matches!(entry.kind, FileKind::Dir | FileKind::Symlink))
}

fn count(entries: &[DirEntry], wanted: &[&str]) -> usize {
    wanted.iter().filter(|name| has(entries, name)).count()
}

/// Whether the names in the uppermost directory are those of a root, whatever is in them.
pub(crate) fn has_skeleton(root: &Root) -> bool {
    let (entries, _) = root.read_dir_up_to("/", NAMES).unwrap_or_default();
    is_skeleton(count(&entries, &OF_ROOT), count(&entries, &ALSO_OF_ROOT))
}

fn is_skeleton(own: usize, shared: usize) -> bool {
    own >= 4 && own + shared >= 6
}

/// Looks at the uppermost directory of a file system.
pub(super) fn look(root: &Root) -> Looks {
    let Ok((entries, _)) = root.read_dir_up_to("/", NAMES) else { return Looks::default() };
    let names: Vec<(&str, FileKind)> =
        entries.iter().filter_map(|entry| Some((entry.name.to_str()?, entry.kind))).collect();
    let has = |wanted: &str| has(&entries, wanted);
    let count = |wanted: &[&str]| count(&entries, wanted);
    let begins = |starts: &[&str]| {
        names.iter().any(|(name, kind)| *kind != FileKind::Dir && starts.iter().any(|s| name.starts_with(s)))
    };
    let (own, shared) = (count(&OF_ROOT), count(&ALSO_OF_ROOT));
    if is_skeleton(own, shared) {
        let inside = INSIDE.iter().filter(|path| root.exists(path).unwrap_or(false)).count();
        return Looks { root: u32::try_from(own + shared + 2 * inside).unwrap_or(1), ..Looks::default() };
    }
    Looks {
        root: 0,
        boot: count(&["grub", "grub2", "loader"]) > 0
            || begins(&["vmlinuz", "vmlinux-", "initrd.img-", "initramfs-", "System.map-"]),
        usr: has("share") && count(&["bin", "lib", "sbin", "local", "libexec", "include"]) >= 2,
        var: count(&["lib", "log", "spool", "cache", "tmp"]) >= 3 && !has("share") && !has("bin"),
    }
}

/// Looks at every subvolume in the uppermost directory of a btrfs, and at the one that snapper(8) boots first.
pub(super) fn subvolumes(top: &Root) -> Vec<(String, Looks)> {
    let entries = top.read_dir("/").unwrap_or_default();
    let names = entries.iter().filter(|entry| entry.kind == FileKind::Dir).filter_map(|entry| entry.name.to_str());
    let mut paths: Vec<String> = names.take(64).map(str::to_owned).collect();
    paths.push("@/.snapshots/1/snapshot".into());
    paths
        .into_iter()
        // A comma would end the name in the options of mount(2).
        .filter(|path| !path.contains(','))
        .filter_map(|path| {
            let dir = top.resolve(&Path::new("/").join(&path), OFlags::DIRECTORY).ok()?;
            // The number of a subvolume's uppermost directory (BTRFS_FIRST_FREE_OBJECTID).
            let is_subvolume = rustix::fs::fstat(&dir).is_ok_and(|stat| stat.st_ino == 256);
            is_subvolume.then(|| (path, look(&Root::from_dir(dir))))
        })
        .collect()
}
