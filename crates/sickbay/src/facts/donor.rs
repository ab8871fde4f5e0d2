//! The healthy root that lost files are taken from, and what may be taken.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use bstr::BString;
use sickbay_formats::dpkg;
use sickbay_target::{FileKind, Root, Target};

use crate::check::Skip;
use crate::facts::{Fact, Facts};
use crate::repair::{Change, Risk};
use crate::text::Text;
use crate::tr;

/// Why `donor` cannot give files to `target`; `None` when it can: same distribution, same release, same architecture.
pub fn why_not(target: &Target, donor: &Target) -> Option<Text> {
    let (theirs, ours) = (release(donor.root()), release(target.root()));
    if let (Some(theirs), Some(ours)) = (&theirs, &ours)
        && theirs != ours
    {
        return Some(tr!(
            "the donor is {theirs}, the target {ours}: files are only taken from the same release",
            theirs,
            ours
        ));
    }
    let (theirs, ours) = (machine(donor.root()), machine(target.root()));
    match (theirs, ours) {
        (None, _) => Some(tr!("the donor {name} holds no system", name = donor.name)),
        (Some(theirs), Some(ours)) if theirs != ours => {
            Some(tr!("the donor is of another architecture than the target"))
        }
        _ => None,
    }
}

/// `debian 12`, from os-release(5).
fn release(root: &Root) -> Option<String> {
    let release = super::system::release(root);
    Some(format!("{} {}", release.id?, release.version.unwrap_or_default()))
}

/// ELF class and machine of the first program that is there.
pub fn machine(root: &Root) -> Option<[u8; 3]> {
    ["/usr/bin/env", "/usr/lib/systemd/systemd", "/lib/systemd/systemd", "/sbin/init", "/bin/ls", "/usr/bin/ls"]
        .iter()
        .find_map(|path| {
            let head = root.read_head(path, 20).ok()?;
            match head.as_slice() {
                [0x7f, b'E', b'L', b'F', class, .., low, high] => Some([*class, *low, *high]),
                _ => None,
            }
        })
}

/// Versions of the packages on target and donor.
#[derive(Debug)]
pub struct Packages {
    target: HashMap<BString, BString>,
    donor: HashMap<BString, BString>,
}

impl Fact for Packages {
    fn gather(facts: &Facts) -> Result<Packages, Skip> {
        let versions = |root: &Root| -> HashMap<BString, BString> {
            // 64 MiB: a status file of some 30,000 packages.
            let status = root.read_up_to("/var/lib/dpkg/status", 64 << 20).unwrap_or_default();
            dpkg::packages(&status)
                .filter(|package| package.unpacked)
                .map(|package| (package.name.to_owned(), package.version.to_owned()))
                .collect()
        };
        Ok(Packages {
            target: versions(facts.root()),
            donor: facts.donor().map(|donor| versions(donor.root())).unwrap_or_default(),
        })
    }
}

/// The dpkg package that owns `path` on `root`, if dpkg knows one. Packages may name a file by its path through the
/// links of a merged /usr (`/bin/bash`) or without them (`/usr/bin/bash`).
pub fn owner(root: &Root, path: &Path) -> Option<String> {
    let bytes = path.as_os_str().as_bytes();
    let other = match bytes.strip_prefix(b"/usr") {
        Some(rest) => rest.to_vec(),
        None => [b"/usr", bytes].concat(),
    };
    let info = Path::new("/var/lib/dpkg/info");
    root.read_dir(info).ok()?.into_iter().find_map(|entry| {
        let package = dpkg::package_of_list(entry.name.to_str()?)?;
        let list = root.read(info.join(&entry.name)).ok()?;
        (dpkg::lists(&list, bytes) || dpkg::lists(&list, &other)).then(|| package.to_owned())
    })
}

/// What restores a lost file.
#[derive(Clone, Debug)]
pub struct Restoration {
    /// Safe when the donor's package has the version that the target's package has, else risky.
    pub risk: Risk,
    /// An order: "copy /usr/bin/bash of bash 5.2.15-2+b8 from the donor".
    pub title: Text,
    /// The file, and where it is a link, what it leads to.
    pub changes: Vec<Change>,
}

/// How the donor can restore `path`; `None` when there is no donor or it has no such file.
pub fn restore(facts: &Facts, path: impl AsRef<Path>) -> Option<Restoration> {
    let path = path.as_ref();
    let donor = facts.donor()?;
    let chain = chain(donor.root(), path)?;
    let file = chain.last()?;
    if donor.root().metadata(file).ok()?.size == 0 {
        return None;
    }
    let mut changes = Vec::new();
    for link in &chain {
        if differs(facts.root(), donor.root(), link) {
            changes.push(Change::copy_from_donor(link));
        }
    }
    let packages = facts.get::<Packages>().ok()?;
    let package = owner(donor.root(), file);
    let versions = package.as_ref().map(|package| {
        let name = BString::from(package.as_str());
        (packages.target.get(&name), packages.donor.get(&name))
    });
    let (risk, title) = match (package, versions) {
        (Some(package), Some((Some(ours), Some(theirs)))) if ours == theirs => (
            Risk::Safe,
            tr!("copy {path} of {package} {version} from the donor", path = file.as_path(), package, version = ours),
        ),
        (Some(package), Some((ours, theirs))) => (
            Risk::Risky,
            tr!(
                "copy {path} of {package} from the donor, which has version {theirs}; the target has {ours}",
                path = file.as_path(),
                package,
                theirs = theirs.map_or_else(|| "?".to_owned(), BString::to_string),
                ours = ours.map_or_else(|| "?".to_owned(), BString::to_string)
            ),
        ),
        _ => (Risk::Risky, tr!("copy {path} from the donor; its package is not known", path = file.as_path())),
    };
    Some(Restoration { risk, title, changes })
}

/// `path` and what it leads to, link by link, as far as the names of the files themselves go.
fn chain(root: &Root, path: &Path) -> Option<Vec<PathBuf>> {
    let mut all = Vec::new();
    let mut next = path.to_owned();
    for _ in 0..16 {
        let metadata = root.metadata(&next).ok()?;
        let resolved = match next.parent() {
            Some(parent) => root.canonical(parent).ok()?.join(next.file_name()?),
            None => next.clone(),
        };
        all.push(resolved.clone());
        match metadata.kind {
            FileKind::Symlink => next = resolved.parent()?.join(root.read_link(&resolved).ok()?),
            FileKind::File => return Some(all),
            _ => return None,
        }
    }
    None
}

/// Whether what the donor has at `path` is not on the target: a link that says something else, a file of another size.
fn differs(target: &Root, donor: &Root, path: &Path) -> bool {
    match (target.metadata(path), donor.metadata(path)) {
        (Ok(ours), Ok(theirs)) if ours.kind == theirs.kind => match ours.kind {
            FileKind::Symlink => target.read_link(path).ok() != donor.read_link(path).ok(),
            _ => {
                ours.size != theirs.size
                    || target.read_up_to(path, 1 << 28).ok() != donor.read_up_to(path, 1 << 28).ok()
            }
        },
        (_, Ok(_)) => true,
        (_, Err(_)) => false,
    }
}
