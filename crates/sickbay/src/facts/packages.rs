//! What the package database says of every file that a package brought: read from outside, and from what is left of it.

mod databases;
mod digests;
mod survey;

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use bstr::{BStr, BString};
use sickbay_formats::digest::Digest;
use sickbay_target::{FileKind, Root};

use crate::check::Skip;
use crate::facts::{Fact, Facts};
use crate::text::Text;

pub(crate) use databases::Names;
pub use databases::{DPKG, Rpm, find_rpm};
pub use digests::{Altered, Digests};
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
    /// dpkg keeps digests in a file of their own for each package, which is read when first needed.
    digests: OnceLock<HashMap<BString, Digest>>,
}

/// A file, directory or link of a package. There are hundreds of thousands, so it is small.
#[derive(Debug)]
pub struct PackagedFile {
    /// Where it is on this target: the links of a merged /usr and diversions are followed.
    pub path: BString,
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
    /// All their files, sorted by path.
    pub files: Vec<PackagedFile>,
    /// What of the database could not be read, one sentence each.
    pub damage: Vec<Text>,
    /// Paths that the administrator gave another owner or mode through dpkg-statoverride(1).
    pub overridden: HashSet<BString>,
    aliases: Aliases,
}

impl Database {
    /// The index in [`Database::files`] of the file at `path`, by any of its names in a merged /usr.
    pub fn find(&self, path: &Path) -> Option<usize> {
        let path = self.aliases.real(path.as_os_str().as_bytes());
        self.files.binary_search_by(|file| file.path.cmp(&path)).ok()
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
            return package.conffiles.get(&file.path).copied();
        }
        let digests = package.digests.get_or_init(|| databases::md5sums(root, package, &self.aliases));
        digests.get(&file.path).copied()
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
        let under = |(link, _): &&(Vec<u8>, Vec<u8>)| {
            path.strip_prefix(link.as_slice()).is_some_and(|rest| rest.first() == Some(&b'/'))
        };
        match self.0.iter().find(under) {
            Some((link, real)) => [real, path.get(link.len()..).unwrap_or_default()].concat().into(),
            None => path.into(),
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
