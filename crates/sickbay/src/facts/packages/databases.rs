//! Reading the database of dpkg or rpm into one form.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use bstr::{BString, ByteSlice};
use sickbay_formats::accounts::{AccountFile, Kind};
use sickbay_formats::digest::Digest;
use sickbay_formats::rpm::{flag, verify};
use sickbay_formats::rpmdb::{self, Backend};
use sickbay_formats::wildcard::fits;
use sickbay_formats::{dpkg, rpm};
use sickbay_target::{Dir, FileKind, Reason, Root};

use super::path::Collected;
use super::{Database, Diversion, Exact, Package, System};
use crate::model::outcome::Skip;
use crate::model::text::Text;
use crate::tr;

/// dpkg's database.
pub const DPKG: &str = "/var/lib/dpkg";
/// The largest database that is read: 1 GiB, ten times that of a system with all packages of a distribution.
const LIMIT: u64 = 1 << 30;

pub(super) fn read(root: &Root) -> Result<Database, Skip> {
    if root.metadata(Path::new(DPKG).join("status")).is_ok() || has_lists(root) {
        return of_dpkg(root);
    }
    match find_rpm(root) {
        Some(found) => of_rpm(root, &found),
        None => Err(Skip::NotApplicable(tr!("there is no dpkg or rpm package database"))),
    }
}

fn has_lists(root: &Root) -> bool {
    let entries = root.read_dir(Path::new(DPKG).join("info")).unwrap_or_default();
    entries.iter().any(|entry| entry.name.as_encoded_bytes().ends_with(b".list"))
}

fn of_dpkg(root: &Root) -> Result<Database, Skip> {
    let mut database = Database::empty(root, System::Dpkg);
    let dir = Path::new(DPKG);
    let optional = |name: &str| root.read(dir.join(name)).unwrap_or_default();
    let (status, copy) = status(root)?;
    if copy {
        database.damage.push(tr!("{path} contains no packages", path = dir.join("status")));
    }
    let diversions = optional("diversions");
    database.diversions = dpkg::diversions(&diversions)
        .map(|one| Diversion { from: one.from.into(), to: one.to.into(), by: one.by.into() })
        .collect();
    database.overridden = dpkg::overridden(&optional("statoverride")).map(|path| database.aliases.real(path)).collect();
    let filters = configurations(root);
    let filters: Vec<dpkg::Filter<'_>> = filters.iter().flat_map(|text| dpkg::filters(text)).collect();
    let left_out = |path: &[u8]| {
        filters.iter().rev().find(|filter| fits(path, filter.pattern)).is_some_and(|filter| filter.exclude)
    };
    let info = Info::of(root);
    for package in dpkg::packages(&status).filter(|package| package.unpacked) {
        let Some((name, list)) = info.read(package.name, package.architecture, "list") else {
            database.damage.push(tr!("{package} has no file list", package = package.name));
            continue;
        };
        // Every package has at least the root directory.
        if list.is_empty() || dpkg::list_is_damaged(&list) {
            database.damaged_lists.push((dir.join("info").join(name), package.name.into()));
        }
        let conffiles: HashMap<&[u8], Option<Digest>> =
            package.conffiles().map(|(path, digest)| (path.as_bytes(), digest)).collect();
        let mut files = Collected::default();
        for path in dpkg::paths(&list) {
            let conffile = !conffiles.is_empty() && conffiles.contains_key(path.as_bytes());
            // What waits for its configuration may have its new files under other names.
            if left_out(path) || (conffile && !package.configured) {
                continue;
            }
            let place = database.placed(path, package.name);
            files.add(&database.aliases, place, conffile || path.starts_with(b"/etc/"), None);
        }
        let number = u32::try_from(database.packages.len()).unwrap_or(u32::MAX);
        database.files.extend(files.of(number));
        database.packages.push(Package {
            name: package.name.to_owned(),
            version: package.version.to_owned(),
            architecture: package.architecture.to_owned(),
            basic: package.basic,
            conffiles: conffiles
                .into_iter()
                .filter_map(|(path, digest)| Some((database.aliases.real(path), digest?)))
                .collect(),
            digests: OnceLock::new(),
        });
    }
    database.make_index();
    Ok(database)
}

/// The status file, or where it holds no package the copy that dpkg keeps, and whether it is the copy.
fn status(root: &Root) -> Result<(Vec<u8>, bool), Skip> {
    let dir = Path::new(DPKG);
    let status = root.read_up_to(dir.join("status"), LIMIT);
    if let Ok(status) = &status
        && dpkg::packages(status).next().is_some()
    {
        return Ok((status.clone(), false));
    }
    match root.read_up_to(dir.join("status-old"), LIMIT) {
        Ok(copy) => Ok((copy, true)),
        Err(_) => Ok((status?, true)),
    }
}

/// `/var/lib/dpkg/info`, held open where that is possible.
struct Info<'a> {
    root: &'a Root,
    dir: Option<Dir>,
}

impl Info<'_> {
    fn of(root: &Root) -> Info<'_> {
        Info { root, dir: root.dir(Path::new(DPKG).join("info")).ok() }
    }

    /// A file of a package and its name. Those of packages that can be installed for several architectures have that in
    /// their names.
    fn read(&self, package: &[u8], architecture: &[u8], suffix: &str) -> Option<(String, Vec<u8>)> {
        let (package, architecture) = (package.to_str().ok()?, architecture.to_str().ok()?);
        let names = [format!("{package}.{suffix}"), format!("{package}:{architecture}.{suffix}")];
        names.into_iter().find_map(|name| {
            let read = self.dir.as_ref()?.read(OsStr::new(&name));
            let bytes = match read {
                Ok(bytes) => bytes,
                Err(error) if matches!(error.reason, Reason::NotFound) => return None,
                // A link may lead to it.
                Err(_) => self.root.read(Path::new(DPKG).join("info").join(&name)).ok()?,
            };
            Some((name, bytes))
        })
    }
}

/// The digests of a package's files, by their indices, sorted.
pub(super) fn md5sums(root: &Root, database: &Database, package: &Package) -> Vec<(usize, Digest)> {
    let file = Info::of(root).read(&package.name, &package.architecture, "md5sums");
    let text = file.map(|(_, text)| text).unwrap_or_default();
    let mut all: Vec<(usize, Digest)> = dpkg::md5sums(&text)
        .filter_map(|(path, digest)| {
            let path = database.aliases.real(database.placed(&path, &package.name));
            Some((database.find_real(&path)?, digest))
        })
        .collect();
    all.sort_by_key(|(index, _)| *index);
    all
}

/// The configuration of dpkg, in the order in which it reads it.
fn configurations(root: &Root) -> Vec<Vec<u8>> {
    let dir = Path::new("/etc/dpkg/dpkg.cfg.d");
    let mut paths = Vec::new();
    for entry in root.read_dir(dir).unwrap_or_default() {
        // As run-parts(8) names them.
        if entry.name.to_str().is_some_and(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))) {
            paths.push(dir.join(&entry.name));
        }
    }
    paths.push("/etc/dpkg/dpkg.cfg".into());
    paths.iter().filter_map(|path| root.read(path).ok()).collect()
}

/// Where rpm's database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rpm {
    /// The container.
    pub backend: Backend,
    /// Its file.
    pub path: PathBuf,
}

/// The rpm database that is there; a directory without one is none.
pub fn find_rpm(root: &Root) -> Option<Rpm> {
    // SUSE and Fedora since 36 keep it under /usr, with a link from the old place.
    let dirs = ["/usr/lib/sysimage/rpm", "/var/lib/rpm"];
    let backends = [Backend::Sqlite, Backend::Ndb, Backend::Bdb];
    let found = backends.iter().flat_map(|backend| dirs.map(|dir| (*backend, Path::new(dir).join(backend.file()))));
    found
        .into_iter()
        .find(|(_, path)| root.stat(path).is_ok_and(|metadata| metadata.is_file()))
        .map(|(backend, path)| Rpm { backend, path })
}

fn of_rpm(root: &Root, found: &Rpm) -> Result<Database, Skip> {
    let mut database = Database::empty(root, System::Rpm);
    let file = root.read_up_to(&found.path, LIMIT)?;
    let wal = match found.backend {
        Backend::Sqlite => root.read_up_to(found.path.with_file_name("rpmdb.sqlite-wal"), LIMIT).ok(),
        _ => None,
    };
    let read = rpmdb::read(found.backend, &file, wal.as_deref());
    drop(file);
    database.damage = read.lost.iter().map(|lost| lost_text(*lost)).collect();
    let names = Names::of(root);
    for package in read.packages {
        let mut files = Collected::default();
        for file in package.files {
            if !file.installed || file.flags & (flag::GHOST | flag::MISSING_OK) != 0 {
                continue;
            }
            let Some(exact) = exact(&file, &names) else { continue };
            files.add(&database.aliases, &file.path, file.flags & flag::CONFIG != 0, Some(Box::new(exact)));
        }
        let number = u32::try_from(database.packages.len()).unwrap_or(u32::MAX);
        database.files.extend(files.of(number));
        database.packages.push(Package {
            name: package.name,
            version: package.version,
            architecture: package.architecture,
            basic: false,
            conffiles: HashMap::new(),
            digests: OnceLock::new(),
        });
    }
    database.make_index();
    Ok(database)
}

fn exact(file: &rpm::File, names: &Names) -> Option<Exact> {
    let kind = match file.mode & 0o170_000 {
        0o100_000 => FileKind::File,
        0o040_000 => FileKind::Dir,
        0o120_000 => FileKind::Symlink,
        _ => return None,
    };
    let looked_at = |bit: u32| file.verify & bit != 0;
    let owner = names.user(&file.user).zip(names.group(&file.group));
    Some(Exact {
        kind,
        mode: (looked_at(verify::MODE) && kind != FileKind::Symlink).then_some(file.mode & 0o7777),
        owner: owner.filter(|_| looked_at(verify::USER) && looked_at(verify::GROUP)),
        size: file.size.filter(|_| looked_at(verify::SIZE) && kind == FileKind::File),
        mtime: file.mtime.filter(|_| looked_at(verify::MTIME)),
        digest: file.digest.filter(|_| looked_at(verify::DIGEST)),
    })
}

fn lost_text(lost: rpmdb::Lost) -> Text {
    match lost {
        rpmdb::Lost::Container => tr!("the file does not begin like such a database"),
        rpmdb::Lost::Table => tr!("its table of packages cannot be found"),
        rpmdb::Lost::Page(page) => tr!("page {page} cannot be read", page),
        rpmdb::Lost::Entry(key) => tr!("the entry of package {key} is damaged", key),
    }
}

/// Users and groups of the target, by name.
pub(crate) struct Names {
    users: HashMap<BString, u32>,
    groups: HashMap<BString, u32>,
}

impl Names {
    pub(crate) fn of(root: &Root) -> Names {
        let read = |kind: Kind| -> HashMap<BString, u32> {
            let text = root.read(kind.path()).unwrap_or_default();
            let file = AccountFile::parse(kind, &text);
            let number = |entry: &sickbay_formats::accounts::Entry<'_>| {
                Some((BString::from(entry.name().as_bytes()), u32::try_from(entry.number(2)?).ok()?))
            };
            file.good().filter_map(number).collect()
        };
        Names { users: read(Kind::Passwd), groups: read(Kind::Group) }
    }

    pub(crate) fn user(&self, name: &[u8]) -> Option<u32> {
        if name == b"root" { Some(0) } else { self.users.get(name.as_bstr()).copied() }
    }

    pub(crate) fn group(&self, name: &[u8]) -> Option<u32> {
        if name == b"root" { Some(0) } else { self.groups.get(name.as_bstr()).copied() }
    }
}
