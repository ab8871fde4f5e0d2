//! What the checks of packaged files share: one finding for what has one cause, and the repair of all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use bstr::ByteSlice;

use crate::facts::Facts;
use crate::facts::packages::programs::Programs;
use crate::facts::packages::{Package, PackagedFile, Packages};
use crate::mend::restore;
use crate::model::finding::Finding;
use crate::model::repair::Risk;
use crate::model::subject::Subject;

/// How many paths a finding points at; the others are counted.
const SHOWN: usize = 8;

/// Files that some check of programs names already, each with what it stops.
pub(crate) fn named_elsewhere(facts: &Facts, packages: &Packages) -> BTreeSet<PathBuf> {
    let Ok(programs) = facts.get::<Programs>() else { return BTreeSet::new() };
    programs.culprits.keys().map(|path| packages.real(path)).collect()
}

/// Packages that have a program on the way to a prompt, or a library of one.
pub(crate) fn basic_packages(facts: &Facts, packages: &Packages) -> BTreeSet<u32> {
    let Ok(programs) = facts.get::<Programs>() else { return BTreeSet::new() };
    let libraries = facts.get::<crate::facts::packages::libraries::Libraries>();
    let whole = libraries.map(|libraries| libraries.whole(facts.root())).unwrap_or_default();
    let paths = whole.into_iter().chain(programs.all.iter().map(|program| program.path.clone()));
    paths.filter_map(|path| packages.file(&path)).map(|file| file.package).collect()
}

/// Files by their package, in the order of names.
pub(crate) fn by_package<'a>(
    packages: &'a Packages,
    files: impl IntoIterator<Item = &'a PackagedFile>,
) -> BTreeMap<&'a [u8], (&'a Package, Vec<&'a PackagedFile>)> {
    let mut all: BTreeMap<&[u8], (&Package, Vec<&PackagedFile>)> = BTreeMap::new();
    for file in files {
        if let Some(package) = packages.package(file) {
            all.entry(package.name.as_slice()).or_insert_with(|| (package, Vec::new())).1.push(file);
        }
    }
    all
}

/// Up to three names, and how many more there are.
pub(crate) fn names(packages: &BTreeMap<&[u8], (&Package, Vec<&PackagedFile>)>) -> String {
    let mut names: Vec<String> = packages.keys().take(3).map(|name| name.to_str_lossy().into_owned()).collect();
    if packages.len() > names.len() {
        names.push(format!("… ({})", packages.len()));
    }
    names.join(", ")
}

/// What a finding about files of packages is about: the package, for its files are others once some are back.
pub(crate) fn of_package(packages: &BTreeMap<&[u8], (&Package, Vec<&PackagedFile>)>) -> Subject {
    match packages.keys().collect::<Vec<_>>().as_slice() {
        [name] => Subject::Package(name.as_bstr().to_string()),
        _ => Subject::Named("packages".to_owned()),
    }
}

/// Points the finding at the files, says which they are and of which packages.
pub(crate) fn point(finding: &mut Finding, packages: &Packages, files: &[&PackagedFile]) {
    let paths: Vec<PathBuf> = files.iter().map(|file| file.as_path().to_owned()).collect();
    for (at, path) in paths.iter().enumerate() {
        if at < SHOWN {
            finding.at_path(path);
        } else {
            finding.about(path);
        }
    }
    finding.detail("files", paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>());
    for (name, (package, of_it)) in by_package(packages, files.iter().copied()).iter().take(SHOWN) {
        let first = of_it.first().map(|file| file.path.to_string()).unwrap_or_default();
        let others = if of_it.len() > 1 { format!(" +{}", of_it.len() - 1) } else { String::new() };
        finding.evidence(format!("{} {}", name.as_bstr(), package.version), format!("{first}{others}"));
    }
}

/// Offers what brings the files back: all that can be, and where that is risky, before it what is safe. `least` is the risk
/// that a repair has at least.
pub(crate) fn offer(facts: &Facts, finding: &mut Finding, packages: &Packages, files: &[&PackagedFile], least: Risk) {
    let paths: Vec<PathBuf> = files.iter().map(|file| file.as_path().to_owned()).collect();
    let (restoration, left) = restore::restore_all(facts, &paths, Risk::Risky);
    let risky = restoration.as_ref().is_some_and(|restoration| restoration.risk > Risk::Safe);
    let mut add = |restoration: Option<restore::Restoration>| {
        if let Some(restoration) = restoration.filter(|restoration| !restoration.changes.is_empty()) {
            finding.repair(restoration.risk.max(least), restoration.title, restoration.changes);
        }
    };
    add(restoration);
    if risky && paths.len() > 1 && least == Risk::Safe {
        add(restore::restore_all(facts, &paths, Risk::Safe).0);
    }
    let open = left.first().and_then(|path| packages.file(path)).and_then(|file| packages.package(file));
    if let Some(package) = open {
        finding.by_hand(restore::by_hand(facts, package.name.as_ref(), package.version.as_ref()));
    }
}
