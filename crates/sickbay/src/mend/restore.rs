//! Where a lost file comes back from: the donor, a package that the target's package manager has kept, or one that the
//! user gives, or one of a mirror. Whatever it comes from, it is right when it has the digest that the target's own database asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bstr::{BStr, BString};
use sickbay_formats::archive::Body;
use sickbay_target::{FileKind, Root};

use crate::facts::Facts;
use crate::facts::packages::{DonorPackages, Packages};
use crate::model::repair::{Change, Risk};
use crate::model::text::Text;
use crate::tr;

use crate::facts::packages::archives::{Archives, changes as changes_of};

/// What restores lost files.
#[derive(Clone, Debug)]
pub struct Restoration {
    /// Safe when the content is known to be what the target's package brought, else risky.
    pub risk: Risk,
    /// An order: "copy /usr/bin/bash of bash 5.2.15-2+b8 from the donor".
    pub title: Text,
    /// The directories, links and files.
    pub changes: Vec<Change>,
}

/// How `path` can be restored; `None` when nothing at hand has it.
pub fn restore(facts: &Facts, path: impl AsRef<Path>) -> Option<Restoration> {
    let path = path.as_ref();
    let donor = of_donor(facts, path);
    if let Some(restoration) = donor.as_ref().filter(|restoration| restoration.risk == Risk::Safe) {
        return Some(restoration.clone());
    }
    of_packages(facts, &[path.to_owned()]).map(|found| found.restoration).or(donor)
}

/// How as many as possible of `paths` can be restored at once, and which of them cannot. With a risk of
/// [`Risk::Safe`] only what is surely right is taken.
pub fn restore_all(facts: &Facts, paths: &[PathBuf], most: Risk) -> (Option<Restoration>, Vec<PathBuf>) {
    if let [path] = paths {
        return match restore(facts, path).filter(|restoration| restoration.risk <= most) {
            Some(mut restoration) => {
                restoration.changes.splice(0..0, missing_dirs(facts, std::slice::from_ref(path)));
                (Some(restoration), Vec::new())
            }
            None => (None, paths.to_vec()),
        };
    }
    let mut safe: BTreeMap<&Path, Restoration> = BTreeMap::new();
    let mut risky = safe.clone();
    for path in paths {
        if let Some(restoration) = of_donor(facts, path) {
            if restoration.risk == Risk::Safe {
                safe.insert(path, restoration);
            } else if restoration.risk <= most {
                risky.insert(path, restoration);
            }
        }
    }
    let open: Vec<PathBuf> = paths.iter().filter(|path| !safe.contains_key(path.as_path())).cloned().collect();
    let packaged = if open.is_empty() { None } else { of_packages(facts, &open) };
    let taken: BTreeSet<PathBuf> = packaged.iter().flat_map(|found| found.paths.clone()).collect();
    risky.retain(|path, _| !taken.contains(*path));
    let left: Vec<PathBuf> =
        open.into_iter().filter(|path| !taken.contains(path) && !risky.contains_key(path.as_path())).collect();
    let risk = if risky.is_empty() { Risk::Safe } else { Risk::Risky };
    let from_donor = safe.len() + risky.len();
    let restored: Vec<PathBuf> = paths.iter().filter(|path| !left.contains(path)).cloned().collect();
    let mut changes = missing_dirs(facts, &restored);
    let copies = safe.into_values().chain(risky.into_values()).flat_map(|restoration| restoration.changes);
    // Two files may be reached through the same link.
    for change in copies.chain(packaged.iter().flat_map(|found| found.restoration.changes.clone())) {
        if !changes.contains(&change) {
            changes.push(change);
        }
    }
    let title = match &packaged {
        None if from_donor == 0 => return (None, left),
        None => tr!("copy {count} {count?file|files} from the donor", count = from_donor),
        Some(found) if from_donor == 0 => {
            tr!(
                "restore {count} {count?file|files} from {sources}",
                count = taken.len(),
                sources = found.sources.join(", ")
            )
        }
        Some(found) => tr!(
            "copy {count} {count?file|files} from the donor, and restore {more} from {sources}",
            count = from_donor,
            more = taken.len(),
            sources = found.sources.join(", ")
        ),
    };
    (Some(Restoration { risk, title, changes }), left)
}

/// What a person is told to do when nothing at hand has the files.
pub fn by_hand(facts: &Facts, package: &BStr, version: &BStr) -> Text {
    if let Some(why) = facts.mirror().and_then(|mirror| mirror.failure(package, version)) {
        return tr!("{why}; supply the package of version {version} with --package", why, version);
    }
    let given = facts.get::<Archives>().ok().and_then(|archives| archives.other_version(package));
    match given {
        Some((file, theirs)) => tr!(
            "{file} has {package} {theirs}, the target has {version}: supply the package of that version with --package",
            file,
            package,
            theirs,
            version
        ),
        None => tr!(
            "reinstall {package}, or supply its package of version {version} with --package, or a root of the same release with --donor",
            package,
            version
        ),
    }
}

/// How the donor can restore `path`; `None` when there is no donor or it has no such file.
fn of_donor(facts: &Facts, path: &Path) -> Option<Restoration> {
    let donor = facts.donor()?;
    let chain = chain(donor.root(), path)?;
    let file = chain.last()?;
    let content_size = donor.root().metadata(file).ok()?.size;
    let ours = facts.get::<Packages>().ok();
    let known = ours.as_ref().and_then(|ours| ours.file(file));
    let digest = ours.as_ref().zip(known).and_then(|(ours, known)| ours.digest(facts.root(), known));
    // The content decides where the database tells what it must be.
    let fits =
        digest.map(|digest| donor.root().open(file).is_ok_and(|content| digest.fits_read(content).unwrap_or(false)));
    if content_size == 0 && fits != Some(true) {
        return None;
    }
    let mut changes = Vec::new();
    for link in &chain {
        if differs(facts.root(), donor.root(), link) {
            changes.push(Change::copy_from_donor(link));
        }
    }
    let theirs = facts.get::<DonorPackages>().ok();
    let name: Option<BString> = match (&ours, known) {
        (Some(ours), Some(known)) => ours.package(known).map(|package| package.name.clone()),
        _ => theirs.as_ref().and_then(|theirs| {
            theirs.0.file(file).and_then(|file| theirs.0.package(file)).map(|package| package.name.clone())
        }),
    };
    let path = file.as_path();
    let Some(name) = name else {
        let title = tr!("copy {path} from the donor; its package is unknown", path);
        return Some(Restoration { risk: Risk::Risky, title, changes });
    };
    let version = |package: Option<&crate::facts::packages::Package>| package.map(|package| package.version.clone());
    let ours = version(ours.as_ref().and_then(|ours| ours.installed(name.as_ref())));
    let theirs = version(theirs.as_ref().and_then(|theirs| theirs.0.installed(name.as_ref())));
    let (risk, title) = match (ours, theirs) {
        (Some(version), _) if fits == Some(true) => {
            (Risk::Safe, tr!("copy {path} of {package} {version} from the donor", path, package = name, version))
        }
        (Some(ours), Some(theirs)) if ours == theirs && fits == Some(false) => {
            (Risk::Risky, tr!("copy {path} of {package} from the donor, where it was changed", path, package = name))
        }
        (Some(ours), Some(theirs)) if ours == theirs => {
            (Risk::Safe, tr!("copy {path} of {package} {version} from the donor", path, package = name, version = ours))
        }
        (ours, theirs) => (
            Risk::Risky,
            tr!(
                "copy {path} of {package} from the donor, which has version {theirs}; the target has {ours}",
                path,
                package = name,
                theirs = theirs.map_or_else(|| "?".to_owned(), |version| version.to_string()),
                ours = ours.map_or_else(|| "?".to_owned(), |version| version.to_string())
            ),
        ),
    };
    Some(Restoration { risk, title, changes })
}

/// What packages at hand restore.
struct FromPackages {
    restoration: Restoration,
    paths: Vec<PathBuf>,
    sources: Vec<String>,
}

fn of_packages(facts: &Facts, paths: &[PathBuf]) -> Option<FromPackages> {
    let (packages, archives) = (facts.get::<Packages>().ok()?, facts.get::<Archives>().ok()?);
    let mut by_package: BTreeMap<u32, Vec<&Path>> = BTreeMap::new();
    for path in paths {
        if let Some(file) = packages.file(path) {
            by_package.entry(file.package).or_default().push(path);
        }
    }
    let (mut changes, mut restored, mut sources) = (Vec::new(), Vec::new(), Vec::new());
    let mut first = None;
    for (number, paths) in by_package {
        let package = usize::try_from(number).ok().and_then(|number| packages.packages.get(number));
        let Some(package) = package else { continue };
        let wanted: BTreeSet<PathBuf> = paths.iter().map(|path| packages.real(path)).collect();
        let before = restored.len();
        let (source, members) = archives.extract(facts, &packages, package, &wanted).unwrap_or_default();
        for (path, member) in members {
            let digest = packages.file(&path).and_then(|file| packages.digest(facts.root(), file));
            if let (Body::File(content), Some(digest)) = (&member.body, digest)
                && !digest.fits(content)
            {
                continue;
            }
            if let Some(made) = changes_of(facts.root(), &path, member) {
                changes.extend(made);
                first.get_or_insert((path.clone(), package));
                restored.push(path);
                if !sources.contains(&source) {
                    sources.push(source.clone());
                }
            }
        }
        if let Some(mirror) = facts.mirror().filter(|_| restored.len() - before < wanted.len()) {
            mirror.want(package);
        }
    }
    let (path, package) = first?;
    let title = tr!(
        "restore {path} of {package} {version} from {source}",
        path,
        package = package.name,
        version = package.version,
        source = sources.join(", ")
    );
    let restoration = Restoration { risk: Risk::Safe, title, changes };
    Some(FromPackages { restoration, paths: restored, sources })
}

/// The modes that the packages at hand give to `paths`, as far as they have them.
pub fn modes(facts: &Facts, paths: &[PathBuf]) -> Vec<(PathBuf, u32)> {
    let (Ok(packages), Ok(archives)) = (facts.get::<Packages>(), facts.get::<Archives>()) else { return Vec::new() };
    let mut by_package: BTreeMap<u32, BTreeSet<PathBuf>> = BTreeMap::new();
    for path in paths {
        if let Some(file) = packages.file(path) {
            by_package.entry(file.package).or_default().insert(packages.real(path));
        }
    }
    let of_package = |(number, wanted): (u32, BTreeSet<PathBuf>)| {
        let package = packages.packages.get(usize::try_from(number).ok()?)?;
        let (_, members) = archives.extract(facts, &packages, package, &wanted)?;
        Some(members.into_iter().map(|(path, member)| (path, member.mode)).collect::<Vec<_>>())
    };
    by_package.into_iter().filter_map(of_package).flatten().collect()
}

/// Makes the directories that are missing on the way to `paths`, as the donor or the database has them.
fn missing_dirs(facts: &Facts, paths: &[PathBuf]) -> Vec<Change> {
    let packages = facts.get::<Packages>().ok();
    let mut dirs = BTreeSet::new();
    for path in paths {
        for dir in path.ancestors().skip(1) {
            if facts.root().metadata(dir).is_ok() || !dirs.insert(dir.to_owned()) {
                break;
            }
        }
    }
    let make = |path: PathBuf| {
        let of_donor = facts.donor().and_then(|donor| donor.root().metadata(&path).ok()).filter(|dir| dir.is_dir());
        let exact = packages.as_ref().and_then(|packages| packages.file(&path)).and_then(|file| file.exact.as_deref());
        let (mode, owner) = match (exact.and_then(|exact| Some((exact.mode?, exact.owner?))), of_donor) {
            (Some(known), _) => known,
            (None, Some(dir)) => (dir.mode, (dir.uid, dir.gid)),
            (None, None) => (0o755, (0, 0)),
        };
        Change::MakeDir { path, mode, owner }
    };
    // A directory comes before what is in it.
    dirs.into_iter().map(make).collect()
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
