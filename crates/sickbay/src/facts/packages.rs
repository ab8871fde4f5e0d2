//! What the package database says of every file that a package brought: read from outside, and from what is left of it.

pub mod archives;
pub mod comparison;
pub mod configuration;
mod databases;
mod digests;
pub mod donor;
pub mod libraries;
pub mod mirror;
pub mod modes;
pub mod owners;
mod path;
pub mod programs;
pub(crate) mod shadows;
mod survey;

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::hash::BuildHasher;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use bstr::{BStr, BString};
use hashbrown::HashTable;
use sickbay_formats::digest::Digest;
use sickbay_target::{FileKind, Root};

use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::model::text::Text;

pub(crate) use databases::Names;
pub use databases::{DPKG, Rpm, find_rpm};
pub use digests::{Altered, Digests};
pub use path::PackagedPath;
pub use survey::{Lost, State, Survey, Weight, weight};

/// A kind of package database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// `/var/lib/dpkg`: digests of files, nothing of modes and owners.
    Dpkg,
    /// `/var/lib/rpm` or `/usr/lib/sysimage/rpm`: all of them.
    Rpm,
}

/// An installed package.
#[derive(Debug)]
pub struct Package {
    /// `bash`
    pub name: BString,
    /// As its database writes it; rpm's with epoch and release.
    pub version: BString,
    /// `amd64`, `x86_64` …
    pub architecture: BString,
    /// Whether every system of the distribution has it, by the database's own account.
    pub basic: bool,
    /// dpkg's digests of configuration files.
    conffiles: HashMap<BString, Digest>,
    /// dpkg keeps digests in a file of their own for each package, which is read when first needed; by the index of the
    /// file, sorted.
    digests: OnceLock<Vec<(usize, Digest)>>,
}

/// A file, directory or link of a package. There are hundreds of thousands, so it is small.
#[derive(Debug)]
pub struct PackagedFile {
    /// Where it is on this target: the links of a merged /usr and diversions are followed.
    pub path: PackagedPath,
    /// Index in [`Database::packages`].
    pub package: u32,
    /// Whether the administrator is free to change it.
    pub config: bool,
    /// What rpm knows beyond that.
    pub exact: Option<Box<Exact>>,
}

/// What rpm knows of a file. `None` where the package says that it may differ.
#[derive(Debug)]
pub struct Exact {
    /// What it is.
    pub kind: FileKind,
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner and group; `None` also when the target knows no such names.
    pub owner: Option<(u32, u32)>,
    /// In bytes.
    pub size: Option<u64>,
    /// Time of the last change when it was packed, in seconds since 1970.
    pub mtime: Option<u64>,
    /// The digest of its content.
    pub digest: Option<Digest>,
}

impl PackagedFile {
    /// Takes from both what they say of one path and do not agree in.
    fn agree(&mut self, other: &mut PackagedFile) {
        let (Some(a), Some(b)) = (&mut self.exact, &mut other.exact) else { return };
        if (a.digest, a.size) != (b.digest, b.size) {
            (a.digest, a.size, b.digest, b.size) = (None, None, None, None);
        }
        if (a.mode, a.owner) != (b.mode, b.owner) {
            (a.mode, a.owner, b.mode, b.owner) = (None, None, None, None);
        }
    }

    /// The path, to look at it.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.path))
    }
}

/// A package database.
#[derive(Debug)]
pub struct Database {
    /// Whose it is.
    pub system: System,
    /// All packages whose files are unpacked.
    pub packages: Vec<Package>,
    /// All their files, package by package.
    pub files: Vec<PackagedFile>,
    /// What of the database could not be read, one sentence each.
    pub damage: Vec<Text>,
    /// Lists of files that dpkg cannot read, each with its package.
    pub damaged_lists: Vec<(PathBuf, BString)>,
    /// Paths that the administrator gave another owner or mode through dpkg-statoverride(1).
    pub overridden: HashSet<BString>,
    diversions: Vec<Diversion>,
    aliases: Aliases,
    index: HashTable<u32>,
    hasher: hashbrown::DefaultHashBuilder,
}

/// A file of dpkg's packages that stands aside for that of another.
#[derive(Debug)]
struct Diversion {
    from: BString,
    to: BString,
    by: BString,
}

impl Database {
    fn empty(root: &Root, system: System) -> Database {
        Database {
            system,
            packages: Vec::new(),
            files: Vec::new(),
            damage: Vec::new(),
            damaged_lists: Vec::new(),
            overridden: HashSet::new(),
            diversions: Vec::new(),
            aliases: Aliases::of(root),
            index: HashTable::new(),
            hasher: hashbrown::DefaultHashBuilder::default(),
        }
    }

    /// Makes [`Database::find`] possible once all files are there. A file of two packages (of two word sizes, say) is
    /// judged only by what both say, and found as that of the first.
    fn make_index(&mut self) {
        self.index.reserve(self.files.len(), |_| 0);
        for at in 0..self.files.len() {
            let (before, rest) = self.files.split_at_mut(at);
            let Some(file) = rest.first_mut() else { break };
            let hash = self.hasher.hash_one(&*file.path);
            let of = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
            let first = self.index.find(hash, |known| before.get(of(*known)).is_some_and(|it| it.path == file.path));
            match first.and_then(|first| before.get_mut(of(*first))) {
                Some(first) => first.agree(file),
                None => {
                    let number = u32::try_from(at).unwrap_or(u32::MAX);
                    // Room was made for all of them.
                    self.index.insert_unique(hash, number, |_| hash);
                }
            }
        }
    }

    /// The index in [`Database::files`] of the file at `path`, by any of its names in a merged /usr.
    pub fn find(&self, path: &Path) -> Option<usize> {
        self.find_real(&self.aliases.real(path.as_os_str().as_bytes()))
    }

    fn find_real(&self, path: &[u8]) -> Option<usize> {
        let of = |number: u32| self.files.get(usize::try_from(number).ok()?);
        let is_it = |number: &u32| of(*number).is_some_and(|file| **file.path == *path);
        let number = self.index.find(self.hasher.hash_one(BStr::new(path)), is_it)?;
        usize::try_from(*number).ok()
    }

    /// The file at `path`, by any of its names in a merged /usr.
    pub fn file(&self, path: &Path) -> Option<&PackagedFile> {
        self.files.get(self.find(path)?)
    }

    /// What rpm knows of mode and owner of `path`.
    pub fn exact(&self, path: &Path) -> Option<&Exact> {
        self.file(path)?.exact.as_deref()
    }

    /// The package that a file belongs to.
    pub fn package(&self, file: &PackagedFile) -> Option<&Package> {
        self.packages.get(usize::try_from(file.package).ok()?)
    }

    /// An installed package by its name.
    pub fn installed(&self, name: &BStr) -> Option<&Package> {
        self.packages.iter().find(|package| package.name == name)
    }

    /// The digest that a file should have, if that is known.
    pub fn digest(&self, root: &Root, file: &PackagedFile) -> Option<Digest> {
        if let Some(exact) = &file.exact {
            return exact.digest;
        }
        let package = self.package(file)?;
        if file.config {
            return package.conffiles.get(&**file.path).copied();
        }
        let digests = package.digests.get_or_init(|| databases::md5sums(root, self, package));
        let index = self.find_real(&file.path)?;
        let at = digests.binary_search_by_key(&index, |(index, _)| *index).ok()?;
        digests.get(at).map(|(_, digest)| *digest)
    }

    /// Where the file that a package calls `path` is.
    fn placed<'a>(&'a self, path: &'a [u8], package: &[u8]) -> &'a [u8] {
        let diversion = self.diversions.iter().find(|diversion| diversion.from == path);
        diversion.filter(|diversion| diversion.by != package).map_or(path, |diversion| &diversion.to)
    }

    /// The path that a file has on this target: `/usr/bin/sh` for `/bin/sh` where `/bin` is a link.
    pub fn real(&self, path: &Path) -> PathBuf {
        PathBuf::from(OsStr::from_bytes(&self.aliases.real(path.as_os_str().as_bytes())))
    }
}

/// Links at the top of the tree by which packages may still name what is in `/usr`.
#[derive(Debug, Default)]
struct Aliases(Vec<(Vec<u8>, Vec<u8>)>);

impl Aliases {
    fn of(root: &Root) -> Aliases {
        let links = ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/usr/sbin", "/usr/lib64"];
        let aliases = links.iter().filter_map(|link| {
            root.read_link(link).ok()?;
            let real = root.canonical(link).ok()?;
            Some((link.as_bytes().to_vec(), real.as_os_str().as_bytes().to_vec()))
        });
        Aliases(aliases.collect())
    }

    fn real(&self, path: &[u8]) -> BString {
        let mut real = Vec::with_capacity(path.len() + 8);
        self.append_real(path, &mut real);
        real.into()
    }

    fn append_real(&self, path: &[u8], text: &mut Vec<u8>) {
        let under =
            |(link, _): &&(Vec<u8>, Vec<u8>)| path.get(link.len()) == Some(&b'/') && path.starts_with(link.as_slice());
        match self.0.iter().find(under) {
            Some((link, real)) => {
                text.extend(real);
                text.extend(path.get(link.len()..).unwrap_or_default());
            }
            None => text.extend(path),
        }
    }
}

/// The target's package database.
#[derive(Debug)]
pub struct Packages(pub Database);

impl std::ops::Deref for Packages {
    type Target = Database;

    fn deref(&self) -> &Database {
        &self.0
    }
}

impl Fact for Packages {
    fn gather(facts: &Facts) -> Result<Packages, Skip> {
        databases::read(facts.root()).map(Packages)
    }
}

/// The donor's package database.
#[derive(Debug)]
pub struct DonorPackages(pub Database);

impl Fact for DonorPackages {
    fn gather(facts: &Facts) -> Result<DonorPackages, Skip> {
        let donor = facts.donor().ok_or_else(|| Skip::NotApplicable(crate::tr!("there is no donor")))?;
        databases::read(donor.root()).map(DonorPackages)
    }
}
