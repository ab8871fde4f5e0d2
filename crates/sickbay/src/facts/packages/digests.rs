//! Packaged files whose content is not what the package brought.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use bstr::ByteSlice;
use sickbay_target::{FileKind, threads};

use super::{DPKG, PackagedFile, Packages, System};
use crate::facts::packages::libraries::Libraries;
use crate::facts::packages::programs::Programs;
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::model::text::Text;

/// The largest program that prelink(8) is thought to have rewritten.
const PRELINKED: u64 = 256 << 20;

/// A file with another content than its package brought.
#[derive(Clone, Copy, Debug)]
pub struct Altered {
    /// Index in [`super::Database::files`].
    pub file: usize,
    /// Whether it has been written since it was installed, by its time of change: somebody replaced it. If not, the
    /// content changed below the file system's eyes: it is damaged.
    pub replaced: bool,
}

/// What reading files and comparing digests showed.
#[derive(Debug, Default)]
pub struct Digests {
    /// Files that differ, by path.
    pub altered: Vec<Altered>,
    /// How many were read.
    pub count: usize,
    /// Why some could not be read.
    pub untold: Option<Text>,
}

impl Fact for Digests {
    fn gather(facts: &Facts) -> Result<Digests, Skip> {
        let packages = facts.get::<Packages>()?;
        let wanted: Vec<usize> = if facts.all_digests() {
            (0..packages.files.len()).collect()
        } else {
            essential(facts)?.iter().filter_map(|path| packages.find(path)).collect()
        };
        let next = AtomicUsize::new(0);
        let work = || {
            let mut part = Digests::default();
            while let Some(&at) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Some(file) = packages.files.get(at) {
                    compare(facts, &packages, at, file, &mut part);
                }
            }
            part
        };
        let mut all = Digests::default();
        for part in threads::together(threads::processors(usize::MAX), work) {
            all.altered.extend(part.altered);
            all.count += part.count;
            all.untold = all.untold.or(part.untold);
        }
        all.altered.sort_by_key(|altered| packages.files.get(altered.file).map(|file| file.path.as_bytes()));
        Ok(all)
    }
}

/// The programs on the way to a prompt with their libraries, and the modules of PAM and of the name service.
fn essential(facts: &Facts) -> Result<Vec<PathBuf>, Skip> {
    // The libraries are known once the programs have been followed.
    facts.get::<Programs>()?;
    let mut all = facts.get::<Libraries>()?.whole(facts.root());
    let dirs: std::collections::BTreeSet<PathBuf> =
        all.iter().filter_map(|path| Some(path.parent()?.to_owned())).collect();
    for dir in &dirs {
        let modules = facts.root().read_dir(dir.join("security")).unwrap_or_default();
        all.extend(modules.iter().map(|entry| dir.join("security").join(&entry.name)));
        for entry in facts.root().read_dir(dir).unwrap_or_default() {
            if entry.kind == FileKind::File && entry.name.to_string_lossy().starts_with("libnss_") {
                all.insert(dir.join(&entry.name));
            }
        }
    }
    Ok(all.into_iter().collect())
}

fn compare(facts: &Facts, packages: &Packages, at: usize, file: &PackagedFile, part: &mut Digests) {
    if file.config {
        return;
    }
    let (root, path) = (facts.root(), file.as_path());
    // What is missing or empty is for others to say.
    let Some(metadata) = root.metadata(path).ok().filter(|found| found.is_file() && found.size > 0) else { return };
    let Some(digest) = packages.digest(root, file) else { return };
    let fits = root.fits(path, &digest).map_err(|error| error.to_string());
    match fits {
        Err(error) => {
            part.untold.get_or_insert_with(|| Text::verbatim(error));
            return;
        }
        Ok(true) => return part.count += 1,
        Ok(false) => part.count += 1,
    }
    // prelink(8) rewrites programs and libraries; RHEL up to 6 runs it every night.
    if root.read_up_to(path, PRELINKED).is_ok_and(|content| content.contains_str(".gnu.prelink_undo")) {
        return;
    }
    let replaced = match (packages.system, file.exact.as_ref().and_then(|exact| exact.mtime)) {
        (System::Rpm, Some(packed)) => u64::try_from(metadata.mtime.0).ok() != Some(packed),
        _ => installed(facts, packages, file).is_none_or(|installed| metadata.mtime.0 > installed),
    };
    part.altered.push(Altered { file: at, replaced });
}

/// When dpkg last wrote the package's list of files, in seconds since 1970. The files keep the time at which they were
/// packed, which is earlier.
fn installed(facts: &Facts, packages: &Packages, file: &PackagedFile) -> Option<i64> {
    let package = packages.package(file)?;
    let dir = Path::new(DPKG).join("info");
    let names = [format!("{}.list", package.name), format!("{}:{}.list", package.name, package.architecture)];
    names.iter().find_map(|name| facts.root().metadata(dir.join(name)).ok()).map(|metadata| metadata.mtime.0)
}
