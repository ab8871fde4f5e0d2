//! The target beside a donor of the same release: what an administrator sees who lists the same directories of two machines.
//!
//! What always differs between two machines is left out: their names, keys and accounts' homes, logs, caches, data.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use bstr::BString;
use sickbay_target::{Budget, FileKind, Metadata, Root};

use crate::facts::Facts;
use crate::facts::boot::kernels::Kernels;
use crate::facts::packages::Packages;
use crate::facts::system::sysctl_files::SysctlFiles;

/// Directories whose content is a machine's own, and files that every machine has of its own.
const OWN: [&str; 24] = [
    "/dev",
    "/home",
    "/lost+found",
    "/media",
    "/mnt",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/srv",
    "/swapfile",
    "/sys",
    "/tmp",
    "/usr/local",
    "/usr/src",
    "/usr/share/doc",
    "/usr/share/locale",
    "/usr/share/man",
    "/var/backups",
    "/var/cache",
    "/var/lib",
    "/var/log",
    "/var/spool",
    "/var/tmp",
];
/// So long both trees are walked; what was not reached by then is not compared.
const LENGTH: Duration = Duration::from_secs(60);
/// The deepest directory that is entered.
const DEPTH: usize = 40;

/// Something that two machines have in two ways. `None` where one has it not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference<T> {
    /// A path, or the name of a package, a unit or a kernel parameter.
    pub name: String,
    /// The target's.
    pub ours: Option<T>,
    /// The donor's.
    pub theirs: Option<T>,
}

/// How two trees differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// What the donor is called.
    pub donor: String,
    /// The newest kernel, where the two have not the same one; modules and boot files are then not compared.
    pub kernel: Option<Difference<String>>,
    /// For each top-level directory how many files, links and directories are below it.
    pub counts: Vec<Difference<usize>>,
    /// Symbolic links and what they say.
    pub links: Vec<Difference<String>>,
    /// Links by which units are enabled.
    pub units: Vec<Difference<String>>,
    /// Permission bits of what both have.
    pub modes: Vec<Difference<u32>>,
    /// Packages and their versions.
    pub packages: Vec<Difference<String>>,
    /// Kernel parameters that files set.
    pub sysctl: Vec<Difference<String>>,
    /// Whether the time was too short for all of it.
    pub incomplete: bool,
}

impl Comparison {
    /// Compares the target of `ours` with that of `theirs`.
    pub fn of(ours: &Facts, theirs: &Facts) -> Comparison {
        let kernels = [ours, theirs].map(newest_kernel);
        let [a, b] = &kernels;
        let kernel = (a != b).then(|| Difference { name: "kernel".to_owned(), ours: a.clone(), theirs: b.clone() });
        let mut comparison = Comparison {
            donor: theirs.target().name.clone(),
            packages: differences(packages(ours), packages(theirs)),
            sysctl: differences(sysctl(ours), sysctl(theirs)),
            kernel,
            ..Comparison::default()
        };
        let mut walk = Walk {
            ours: ours.root(),
            theirs: theirs.root(),
            budget: Budget::new(LENGTH),
            other_kernel: comparison.kernel.is_some(),
            found: &mut comparison,
        };
        let (first, second) = (walk.names(walk.ours, Path::new("/")), walk.names(walk.theirs, Path::new("/")));
        for name in union(&first, &second) {
            let path = Path::new("/").join(&name);
            if walk.is_left_out(&path) {
                continue;
            }
            let [ours, theirs] = walk.both(&path, first.get(&name), second.get(&name), 0);
            let is_dir = [&first, &second].iter().any(|all| all.get(&name) == Some(&FileKind::Dir));
            if is_dir {
                let count = |count: usize| (count > 0).then_some(count);
                let name = path.display().to_string();
                walk.found.counts.push(Difference { name, ours: count(ours), theirs: count(theirs) });
            }
        }
        // Alternatives are made by packages, and belong to none.
        comparison.links.retain(|one| {
            let path = Path::new(&one.name);
            match (&one.ours, &one.theirs) {
                (Some(_), Some(_)) => true,
                _ if path.starts_with("/etc/alternatives") => false,
                (Some(_), None) => !comes_with_a_package(path, [ours, theirs]),
                _ => !comes_with_a_package(path, [theirs, ours]),
            }
        });
        comparison
    }
}

impl Comparison {
    /// Whether nothing differs.
    pub fn is_same(&self) -> bool {
        let Comparison { donor: _, kernel, counts, links, units, modes, packages, sysctl, incomplete: _ } = self;
        kernel.is_none()
            && counts.iter().all(|one| one.ours == one.theirs)
            && modes.is_empty()
            && [links, units, packages, sysctl].iter().all(|list| list.is_empty())
    }
}

struct Walk<'a> {
    ours: &'a Root,
    theirs: &'a Root,
    budget: Budget,
    other_kernel: bool,
    found: &'a mut Comparison,
}

type Names = BTreeMap<OsString, FileKind>;

impl Walk<'_> {
    fn names(&self, root: &Root, path: &Path) -> Names {
        root.read_dir(path).unwrap_or_default().into_iter().map(|entry| (entry.name, entry.kind)).collect()
    }

    fn is_left_out(&self, path: &Path) -> bool {
        let of_kernel = self.other_kernel
            && [Path::new("/boot"), Path::new("/usr/lib/modules"), Path::new("/lib/modules")].contains(&path);
        of_kernel || OWN.iter().any(|own| path == Path::new(own))
    }

    /// Compares `path`, which is of these kinds; gives how much is at and below it here and there.
    fn both(&mut self, path: &Path, ours: Option<&FileKind>, theirs: Option<&FileKind>, depth: usize) -> [usize; 2] {
        if self.budget.is_spent() || depth > DEPTH {
            self.found.incomplete = true;
            return [0, 0];
        }
        if let (Some(ours), Some(theirs)) = (ours, theirs)
            && ours == theirs
            && *ours != FileKind::Symlink
        {
            self.mode(path);
        }
        if [ours, theirs].contains(&Some(&FileKind::Symlink)) {
            self.link(path);
        }
        let mut counts = [usize::from(ours.is_some()), usize::from(theirs.is_some())];
        let is_dir = |kind: Option<&FileKind>| kind == Some(&FileKind::Dir);
        let first = if is_dir(ours) { self.names(self.ours, path) } else { Names::new() };
        let second = if is_dir(theirs) { self.names(self.theirs, path) } else { Names::new() };
        for name in union(&first, &second) {
            let below = path.join(&name);
            if !self.is_left_out(&below) {
                let [ours, theirs] = self.both(&below, first.get(&name), second.get(&name), depth + 1);
                counts = [counts[0] + ours, counts[1] + theirs];
            }
        }
        counts
    }

    fn mode(&mut self, path: &Path) {
        let look = |root: &Root| root.metadata(path).ok().map(|Metadata { mode, .. }| mode);
        let (ours, theirs) = (look(self.ours), look(self.theirs));
        if ours != theirs {
            self.found.modes.push(Difference { name: path.display().to_string(), ours, theirs });
        }
    }

    fn link(&mut self, path: &Path) {
        let look = |root: &Root| root.read_link(path).ok().map(|text| text.display().to_string());
        let (ours, theirs) = (look(self.ours), look(self.theirs));
        if ours == theirs {
            return;
        }
        let enables =
            path.starts_with("/etc/systemd") || path.starts_with("/etc/rc.d") || path.starts_with("/etc/runlevels");
        let list = if enables { &mut self.found.units } else { &mut self.found.links };
        list.push(Difference { name: path.display().to_string(), ours, theirs });
    }
}

/// Whether a path comes with a package that only one of the two systems has: that the package is missing says it all.
pub(super) fn comes_with_a_package(path: &Path, [has, lacks]: [&Facts; 2]) -> bool {
    let (Ok(has), Ok(lacks)) = (has.get::<Packages>(), lacks.get::<Packages>()) else { return false };
    let package = has.file(path).and_then(|file| has.package(file));
    package.is_some_and(|package| lacks.installed(package.name.as_ref()).is_none())
}

fn union(first: &Names, second: &Names) -> Vec<OsString> {
    let mut all: Vec<OsString> = first.keys().chain(second.keys()).cloned().collect();
    all.sort_unstable();
    all.dedup();
    all
}

pub(super) fn differences(
    ours: BTreeMap<String, String>,
    mut theirs: BTreeMap<String, String>,
) -> Vec<Difference<String>> {
    let mut all = Vec::new();
    for (name, value) in ours {
        let other = theirs.remove(&name);
        if other.as_ref() != Some(&value) {
            all.push(Difference { name, ours: Some(value), theirs: other });
        }
    }
    all.extend(theirs.into_iter().map(|(name, value)| Difference { name, ours: None, theirs: Some(value) }));
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

fn newest_kernel(facts: &Facts) -> Option<String> {
    Some(facts.get::<Kernels>().ok()?.all.first()?.version.clone())
}

fn packages(facts: &Facts) -> BTreeMap<String, String> {
    let Ok(packages) = facts.get::<Packages>() else { return BTreeMap::new() };
    let mut all: BTreeMap<String, Vec<&BString>> = BTreeMap::new();
    for package in &packages.packages {
        // Several kernels are installed beside each other under one name.
        all.entry(package.name.to_string()).or_default().push(&package.version);
    }
    let words = |versions: Vec<&BString>| versions.iter().map(|one| one.to_string()).collect::<Vec<_>>().join(", ");
    all.into_iter().map(|(name, versions)| (name, words(versions))).collect()
}

fn sysctl(facts: &Facts) -> BTreeMap<String, String> {
    let Ok(files) = facts.get::<SysctlFiles>() else { return BTreeMap::new() };
    // Later files win.
    let all = files.files.iter().flat_map(|(_, assignments)| assignments);
    all.filter_map(|one| Some((one.key.to_string(), one.value.as_ref()?.to_string()))).collect()
}

/// Whether the donor has much more below a directory than the target.
pub fn is_far_fewer(count: &Difference<usize>) -> bool {
    let (ours, theirs) = (count.ours.unwrap_or(0), count.theirs.unwrap_or(0));
    theirs >= 20 && ours < theirs - theirs / 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_far_fewer() {
        let count = |ours, theirs| is_far_fewer(&Difference { name: "/etc".to_owned(), ours, theirs });
        assert!(count(Some(80), Some(100)));
        assert!(count(None, Some(100)));
        assert!(!count(Some(95), Some(100)));
        assert!(!count(Some(1), Some(5)));
        assert!(!count(Some(200), Some(100)));
    }

    #[test]
    fn maps_side_by_side() {
        let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let all = differences(map(&[("a", "1"), ("b", "2"), ("c", "3")]), map(&[("b", "2"), ("c", "4"), ("d", "5")]));
        let names: Vec<_> = all.iter().map(|one| (&*one.name, one.ours.as_deref(), one.theirs.as_deref())).collect();
        assert_eq!(names, [("a", Some("1"), None), ("c", Some("3"), Some("4")), ("d", None, Some("5"))]);
    }
}
