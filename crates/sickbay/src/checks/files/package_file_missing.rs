//! Files that a package brought and that are not there any more.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use sickbay_target::Root;

use crate::facts::Facts;
use crate::facts::packages::{Lost, PackagedFile, Packages, State, Survey, Weight};
use crate::facts::system::release::{Init, System};
use crate::mend::packaged::{basic_packages, by_package, named_elsewhere, names, of_package, offer, point};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::model::repair::Risk;
use crate::model::subject::Subject;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "command not found", "cannot open shared object file: No such file or directory", or "Authentication
    /// failure" for everyone.
    ///
    /// ## What it finds
    /// Programs, shared libraries, PAM modules and configuration needed for logins that the package database (dpkg or
    /// rpm) lists and that do not exist; also a directory in `/usr/lib`, `/usr/lib64` or `/usr/libexec` that is gone as
    /// a whole. What one mistake removed is one finding: a directory, or the files of one package.
    ///
    /// What is missing on purpose is not a finding: documentation and translations, what dpkg's `path-exclude` or rpm's
    /// `--excludedocs` left out, files marked `%ghost` or `missingok`, diverted files, kernels, caches, configuration
    /// that the system starts without, and modules of languages that have their own package managers.
    ///
    /// ## Why it matters
    /// A missing file shows only when it is needed: at the next boot, at the next login. A missing `/etc/pam.d/login`
    /// means "Authentication failure" for everyone on the console.
    ///
    /// ## What the repair does
    /// Restores the files from a donor of the same release (`--donor ROOT`), from a package that apt, dnf, yum or
    /// zypper has kept on the target, or from one that is supplied (`--package FILE`). The package must have the
    /// version that the target has, and the restored files must match the digests in its database.
    ///
    /// ## By hand
    /// ```sh
    /// # in a chroot if it does not boot
    /// apt-get install --reinstall PACKAGE
    /// dnf reinstall PACKAGE
    /// ```
    "package-file-missing", Files, seed = ["L9"], proves = [], "packaged files are missing"
}

/// When files of more packages than this are missing from one directory, it is the directory that something happened to.
const SAME_CAUSE: usize = 5;

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    /// A directory is gone.
    Gone(PathBuf),
    /// Files of many packages are missing from a directory.
    From(PathBuf),
    /// Files of one package are missing.
    Package(u32),
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let packages = facts.get::<Packages>()?;
    let survey = facts.get::<Survey>()?;
    let elsewhere = named_elsewhere(facts, &packages);
    let basic = basic_packages(facts, &packages);
    let boots = facts.get::<System>()?.init != Init::None;
    let missing: Vec<(&Lost, &PackagedFile)> = survey
        .lost
        .iter()
        .filter(|lost| lost.state == State::Missing)
        .filter_map(|lost| Some((lost, packages.files.get(lost.file)?)))
        .collect();
    for (cause, files) in causes(facts.root(), &packages, &survey, &missing, &elsewhere) {
        let of = by_package(&packages, files.iter().copied());
        let (count, of_packages) = (files.len(), names(&of));
        let Some(first) = files.first() else { continue };
        let message = match &cause {
            Cause::Gone(dir) => tr!(
                "{dir} is missing, with {count} {count?file|files} from {packages}",
                dir = dir.as_path(),
                count,
                packages = of_packages
            ),
            Cause::From(dir) => tr!(
                "{count} {count?file|files} from {packages} {count?is|are} missing in {dir}",
                dir = dir.as_path(),
                count,
                packages = of_packages
            ),
            Cause::Package(_) if count == 1 => {
                tr!("{path} from {package} is missing", path = first.as_path(), package = of_packages)
            }
            Cause::Package(_) => tr!(
                "{path} and {more} more {more?file|files} from {package} are missing",
                path = first.as_path(),
                more = count - 1,
                package = of_packages
            ),
        };
        let needed = |file: &&PackagedFile| {
            if is_of_a_tool(file.as_path()) {
                return false;
            }
            basic.contains(&file.package)
                || packages.package(file).is_some_and(|package| package.basic)
                || crate::facts::packages::weight(&file.path, file.config) == Some(Weight::Login)
        };
        // Whoever builds a container takes away what it does not need.
        let severity = if boots && files.iter().any(needed) { Severity::Error } else { Severity::Warning };
        let finding = found.add(severity, message);
        match &cause {
            Cause::Gone(dir) => {
                finding.at_path(dir).explains(dir);
                let listed: Vec<String> = files.iter().map(|file| file.path.to_string()).collect();
                finding.detail("files", listed);
                for (name, (package, of_it)) in of.iter().take(8) {
                    finding.evidence(
                        format!("{} {}", bstr::BStr::new(name), package.version),
                        of_it.first().map(|file| file.path.to_string()).unwrap_or_default(),
                    );
                }
            }
            Cause::From(_) | Cause::Package(_) => {
                point(finding, &packages, &files);
                finding.subject(match &cause {
                    Cause::From(dir) => Subject::Named(format!("files in {}", dir.display())),
                    _ => of_package(&of),
                });
                // What one missing file leads to is told by whoever needs it; several have a cause of their own.
                if count > 1 {
                    files.iter().for_each(|file| _ = finding.explains(file.as_path()));
                }
            }
        }
        finding.why(tr!("whatever needs them fails the next time it is started, or the next time somebody logs in"));
        offer(facts, finding, &packages, &files, Risk::Safe);
    }
    if let Some(why) = &survey.untold {
        found.could_not_tell(why.clone());
    }
    Ok(())
}

/// A PAM file of a program that changes accounts (chfn, chpasswd): `other` takes its place, and nobody's login hangs on it.
fn is_of_a_tool(path: &Path) -> bool {
    const TOOLS: [&str; 14] = [
        "chfn",
        "chsh",
        "newusers",
        "chpasswd",
        "chgpasswd",
        "chage",
        "useradd",
        "userdel",
        "usermod",
        "groupadd",
        "groupdel",
        "groupmod",
        "groupmems",
        "newgrp",
    ];
    path.parent().is_some_and(|dir| dir.ends_with("pam.d"))
        && path.file_name().and_then(|name| name.to_str()).is_some_and(|name| TOOLS.contains(&name))
}

/// What happened, each with the files that it took.
fn causes<'a>(
    root: &Root,
    packages: &'a Packages,
    survey: &Survey,
    missing: &[(&Lost, &'a PackagedFile)],
    elsewhere: &BTreeSet<PathBuf>,
) -> BTreeMap<Cause, Vec<&'a PackagedFile>> {
    let mut known: HashMap<PathBuf, bool> = HashMap::new();
    let mut is_missing = |path: &Path| *known.entry(path.to_owned()).or_insert_with(|| root.metadata(path).is_err());
    // What is behind a link that leads nowhere may be on a disk that is not mounted.
    let mut behind: HashMap<PathBuf, bool> = HashMap::new();
    let mut is_behind_a_link = |dir: &Path| {
        *behind
            .entry(dir.to_owned())
            .or_insert_with(|| dir.ancestors().any(|above| root.metadata(above).is_ok() && root.stat(above).is_err()))
    };
    let mut all: BTreeMap<Cause, Vec<&PackagedFile>> = BTreeMap::new();
    let mut left: BTreeMap<&Path, Vec<&PackagedFile>> = BTreeMap::new();
    let mut gone: BTreeSet<PathBuf> = BTreeSet::new();
    for (_, file) in missing {
        let path = file.as_path();
        if path.parent().is_some_and(&mut is_behind_a_link) {
            continue;
        }
        let dirs = path.ancestors().skip(1).take_while(|dir| is_missing(dir));
        match (dirs.last(), path.parent()) {
            (Some(dir), _) => {
                gone.insert(dir.to_owned());
            }
            (None, Some(_)) if elsewhere.contains(path) => {}
            (None, Some(dir)) => left.entry(dir).or_default().push(file),
            (None, None) => {}
        }
    }
    for dir in survey.gone.keys() {
        if !dir.ancestors().skip(1).any(|above| gone.contains(above)) && !is_behind_a_link(dir) {
            gone.insert(dir.clone());
        }
    }
    if !gone.is_empty() {
        for file in &packages.files {
            // Documentation and the like stays away: it is what has a weight, or is no weight's neighbour, that is missed.
            if let Some(dir) = file.as_path().ancestors().skip(1).find(|dir| gone.contains(*dir)) {
                all.entry(Cause::Gone(dir.to_owned())).or_default().push(file);
            }
        }
    }
    for files in all.values_mut() {
        files.sort_by(|a, b| a.path.cmp(&b.path));
    }
    for (dir, files) in left {
        let of: BTreeSet<u32> = files.iter().map(|file| file.package).collect();
        if of.len() > SAME_CAUSE {
            all.insert(Cause::From(dir.to_owned()), files);
        } else {
            for file in files {
                all.entry(Cause::Package(file.package)).or_default().push(file);
            }
        }
    }
    all
}
