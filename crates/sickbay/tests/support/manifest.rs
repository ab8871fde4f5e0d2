//! A tree as comparable lines: kind, mode, owner, times, links, extended attributes and content of every path.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Path → everything that can be told of it.
pub type Manifest = BTreeMap<PathBuf, String>;

/// The manifest of everything under `root`.
pub fn manifest(root: &Path) -> Manifest {
    let mut all = Manifest::new();
    walk(root, root, &mut all);
    all
}

fn walk(root: &Path, path: &Path, all: &mut Manifest) {
    let metadata = std::fs::symlink_metadata(path).expect("the test's own tree");
    let mut content = DefaultHasher::new();
    if metadata.is_file() {
        std::fs::read(path).expect("readable").hash(&mut content);
    } else if metadata.is_symlink() {
        std::fs::read_link(path).expect("readable").hash(&mut content);
    }
    let attributes = xattrs(path);
    // The parameters of a running kernel have no times that anybody keeps.
    let times = if ["proc/sys", "proc/irq", "sys"].iter().any(|dir| path.starts_with(root.join(dir))) {
        (0, 0)
    } else {
        (metadata.mtime(), metadata.mtime_nsec())
    };
    let line = format!(
        "mode {:o} owner {}:{} nlink {} size {} mtime {}.{:09} content {:x} xattrs {attributes:?}",
        metadata.mode(),
        metadata.uid(),
        metadata.gid(),
        metadata.nlink(),
        if metadata.is_dir() { 0 } else { metadata.size() },
        times.0,
        times.1,
        content.finish(),
    );
    all.insert(path.strip_prefix(root).unwrap_or(path).to_owned(), line);
    if metadata.is_dir() {
        for entry in std::fs::read_dir(path).expect("readable") {
            walk(root, &entry.expect("readable").path(), all);
        }
    }
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 65536];
    let Ok(length) = rustix::fs::llistxattr(path, &mut names) else { return BTreeMap::new() };
    names
        .get(..length)
        .unwrap_or_default()
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let mut value = vec![0; 65536];
            let length = rustix::fs::lgetxattr(path, std::ffi::OsStr::from_bytes(name), &mut value).unwrap_or(0);
            value.truncate(length);
            (name.to_vec(), value)
        })
        .collect()
}

/// The first difference, if there is one.
pub fn difference(before: &Manifest, after: &Manifest) -> Option<String> {
    for (path, line) in before {
        match after.get(path) {
            None => return Some(format!("/{} is gone", path.display())),
            Some(other) if other != line => {
                return Some(format!("/{}:\n  before {line}\n  after  {other}", path.display()));
            }
            Some(_) => {}
        }
    }
    after.keys().find(|path| !before.contains_key(*path)).map(|path| format!("/{} is new", path.display()))
}
