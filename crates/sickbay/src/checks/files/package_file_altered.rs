//! Programs and libraries with another content than their package brought.

use crate::facts::Facts;
use crate::facts::packages::{Digests, PackagedFile, Packages};
use crate::mend::packaged::{by_package, named_elsewhere, names, of_package, offer, point};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::model::repair::Risk;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: programs that crash with "Segmentation fault" or "Illegal instruction" for no apparent reason, or
    /// nothing at all.
    ///
    /// ## What it finds
    /// The programs needed between power-on and a login prompt, their libraries, and the PAM and name service modules,
    /// where the content does not match the digest in the package database. With `--digests`, every packaged file.
    /// Configuration is left out: it is there to be changed.
    ///
    /// The modification time tells two cases apart. If it is that of the package, nobody wrote to the file: the disk or
    /// the memory damaged it. If it is later, somebody replaced the file: with a local build, a copy from another
    /// machine, or as an intruder.
    ///
    /// ## Why it matters
    /// A library with a few wrong bytes crashes programs that nobody would connect with it. A replaced sshd or
    /// pam_unix.so may let in whoever replaced it.
    ///
    /// ## What the repair does
    /// Restores a damaged file from a donor or a package of the same version. A file that somebody replaced is restored
    /// only with `--risky`.
    ///
    /// ## By hand
    /// ```sh
    /// # find the files, then reinstall their packages
    /// debsums -s
    /// rpm -Va
    /// ```
    "package-file-altered", Files, seed = ["L9"], proves = [], "programs or libraries differ from what their package installed"
}

/// Files of more packages than this changed together.
const SAME_CAUSE: usize = 10;

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let packages = facts.get::<Packages>()?;
    let digests = facts.get::<Digests>()?;
    let elsewhere = named_elsewhere(facts, &packages);
    for replaced in [false, true] {
        let files: Vec<&PackagedFile> = digests
            .altered
            .iter()
            .filter(|altered| altered.replaced == replaced)
            .filter_map(|altered| packages.files.get(altered.file))
            .filter(|file| !elsewhere.contains(file.as_path()))
            .collect();
        let of = by_package(&packages, files.iter().copied());
        let groups: Vec<Vec<&PackagedFile>> = if of.len() > SAME_CAUSE {
            vec![files.clone()]
        } else {
            of.into_values().map(|(_, files)| files).collect()
        };
        for files in groups {
            report(facts, found, &packages, &files, replaced);
        }
    }
    if let Some(why) = &digests.untold {
        found.could_not_tell(why.clone());
    }
    Ok(())
}

fn report(facts: &Facts, found: &mut Findings, packages: &Packages, files: &[&PackagedFile], replaced: bool) {
    let Some(first) = files.first() else { return };
    let of = by_package(packages, files.iter().copied());
    let subject = of_package(&of);
    let of = names(&of);
    let (path, more) = (first.as_path(), files.len() - 1);
    let (severity, message, why, least) = if replaced {
        (
            Severity::Note,
            match more {
                0 => tr!("{path} was replaced: it is not the file from {package}", path, package = of),
                _ => tr!(
                    "{path} and {more} more {more?file|files} were replaced: they are not the files from {package}",
                    path,
                    more,
                    package = of
                ),
            },
            tr!("it was written after the package was installed: a local build, or an intruder"),
            Risk::Risky,
        )
    } else {
        (
            Severity::Error,
            match more {
                0 => tr!("{path} is damaged: it is not what {package} installed", path, package = of),
                _ => tr!(
                    "{path} and {more} more {more?file|files} are damaged: they are not what {package} installed",
                    path,
                    more,
                    package = of
                ),
            },
            tr!(
                "nothing has written to it since it was installed, so the disk or the memory is at fault: check the kernel log"
            ),
            Risk::Safe,
        )
    };
    let finding = found.add(severity, message).why(why);
    point(finding, packages, files);
    finding.subject(subject);
    offer(facts, finding, packages, files, least);
}
