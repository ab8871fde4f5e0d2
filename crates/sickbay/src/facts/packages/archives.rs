//! Package files at hand: those that apt, dnf, yum or zypper kept on the target, and those that the user gives.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use bstr::{BStr, ByteSlice};
use sickbay_formats::archive::{self, Body, Identity, Member};
use sickbay_target::{FileKind, Root};

use crate::facts::packages::{Database, Names, Package};
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::model::repair::Change;

/// The largest package that is read; kernels with debug information come near.
const LIMIT: u64 = 2 << 30;
/// Where package managers keep what they have fetched, and how deep.
const CACHES: [(&str, usize); 6] = [
    ("/var/cache/apt/archives", 0),
    ("/var/cache/dnf", 3),
    ("/var/cache/yum", 6),
    ("/var/cache/tdnf", 3),
    ("/var/cache/zypp/packages", 4),
    ("/var/cache/libdnf5", 3),
];

/// Whether a file of this machine is a package whose files can be taken.
pub fn is_package(path: &Path) -> bool {
    read(path).is_some_and(|file| archive::identity(&file).is_some())
}

/// A file of this machine.
fn read(path: &Path) -> Option<Vec<u8>> {
    Root::host().ok()?.read_up_to(path, LIMIT).ok()
}

/// The package files at hand.
#[derive(Debug)]
pub struct Archives {
    cached: Vec<PathBuf>,
    given: Vec<(PathBuf, Identity)>,
}

impl Fact for Archives {
    fn gather(facts: &Facts) -> Result<Archives, Skip> {
        let mut cached = Vec::new();
        for (dir, depth) in CACHES {
            collect(facts.root(), Path::new(dir), depth, &mut cached);
        }
        let identify = |path: &PathBuf| Some((path.clone(), archive::identity(&read(path)?)?));
        Ok(Archives { cached, given: facts.target().packages().iter().filter_map(identify).collect() })
    }
}

fn collect(root: &Root, dir: &Path, depth: usize, all: &mut Vec<PathBuf>) {
    for entry in root.read_dir(dir).unwrap_or_default() {
        let path = dir.join(&entry.name);
        match entry.kind {
            FileKind::File if matches!(path.extension().map(OsStr::as_bytes), Some(b"deb" | b"rpm")) => all.push(path),
            FileKind::Dir if depth > 0 => collect(root, &path, depth - 1, all),
            _ => {}
        }
    }
}

impl Archives {
    /// The wanted members of the installed package, with where they are from and by their paths on the target.
    pub(crate) fn extract(
        &self,
        facts: &Facts,
        database: &Database,
        package: &Package,
        wanted: &BTreeSet<PathBuf>,
    ) -> Option<(String, Vec<(PathBuf, Member)>)> {
        let is_it = |identity: &Identity| {
            identity.name == package.name
                && identity.version == package.version
                && identity.architecture == package.architecture
        };
        let fetched = facts.mirror().and_then(|mirror| mirror.get(package));
        if let Some((fetched, file)) = fetched.and_then(|fetched| fetched.read().map(|file| (fetched, file))) {
            let mut members = members(database, &file, wanted);
            if !fetched.listed {
                // Nobody vouches for anything but what the database has digests of.
                members.retain(|(path, member)| {
                    let digest = database.file(path).and_then(|file| database.digest(facts.root(), file));
                    matches!((&member.body, digest), (Body::File(content), Some(digest)) if digest.fits(content))
                });
                for (_, member) in &mut members {
                    (member.user, member.group) = ("root".into(), "root".into());
                    member.mode &= 0o755;
                }
            }
            return Some((fetched.url.clone(), members));
        }
        let given =
            self.given.iter().find(|(_, identity)| is_it(identity)).and_then(|(path, _)| Some((path, read(path)?)));
        let (path, file) = match given {
            Some(found) => found,
            None => self.cached.iter().filter(|path| names(path, package)).find_map(|path| {
                let file = facts.root().read_up_to(path, LIMIT).ok()?;
                archive::identity(&file).filter(|identity| is_it(identity))?;
                Some((path, file))
            })?,
        };
        Some((path.display().to_string(), members(database, &file, wanted)))
    }

    /// A given file that has the package in another version than wanted.
    pub(crate) fn other_version(&self, package: &BStr) -> Option<(String, String)> {
        let (path, identity) = self.given.iter().find(|(_, identity)| identity.name == package)?;
        Some((path.display().to_string(), identity.version.to_string()))
    }
}

/// Where the target has what a package calls `path`.
pub(crate) fn real_path(database: &Database, path: &[u8]) -> PathBuf {
    database.real(Path::new(OsStr::from_bytes(path)))
}

/// The wanted members of a package by their paths on the target.
fn members(database: &Database, file: &[u8], wanted: &BTreeSet<PathBuf>) -> Vec<(PathBuf, Member)> {
    let members = archive::extract(file, |path| wanted.contains(&real_path(database, path)));
    members.into_iter().map(|member| (real_path(database, &member.path), member)).collect()
}

/// Whether a file has the name under which a package manager keeps the package: `bash_5.2.15-2+b8_amd64.deb`,
/// `bash-5.1.8-9.el9.x86_64.rpm`. Which version it is, the file itself tells.
fn names(path: &Path, package: &Package) -> bool {
    let name = path.file_name().map_or(&b""[..], OsStr::as_bytes);
    let rest = name.strip_prefix(package.name.as_slice());
    rest.is_some_and(|rest| rest.starts_with(b"_") || rest.starts_with(b"-"))
}

/// The changes that make `path` what the package brings; `None` when something else is in the way.
pub(crate) fn changes(root: &Root, path: &Path, member: Member) -> Option<Vec<Change>> {
    let names = Names::of(root);
    let owner = (names.user(&member.user).unwrap_or(0), names.group(&member.group).unwrap_or(0));
    let here = root.metadata(path).ok();
    let path = path.to_owned();
    Some(match (member.body, here) {
        (Body::File(content), None) => vec![Change::Create { path, content, mode: member.mode, owner }],
        (Body::File(content), Some(here)) if here.is_file() => {
            let before = root.read_up_to(&path, u64::MAX).ok()?;
            let mut changes = vec![Change::Edit { path: path.clone(), before, after: content }];
            if here.mode != member.mode && here.mode & 0o111 == 0 && member.mode & 0o111 != 0 {
                changes.push(Change::Mode { path, before: here.mode, after: member.mode });
            }
            changes
        }
        (Body::Dir, None) => vec![Change::MakeDir { path, mode: member.mode, owner }],
        (Body::Link(text), None) => {
            vec![Change::Link { path, target: PathBuf::from(text.to_os_str().ok()?) }]
        }
        (Body::Link(text), Some(here)) if here.kind == FileKind::Symlink => {
            vec![Change::Link { path, target: PathBuf::from(text.to_os_str().ok()?) }]
        }
        _ => return None,
    })
}
