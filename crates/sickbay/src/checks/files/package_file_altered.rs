//! Programs and libraries with another content than their package brought.

use crate::facts::Facts;
use crate::facts::packages::{Digests, PackagedFile, Packages};
use crate::mend::packaged::{by_package, named_elsewhere, names, of_package, offer, point};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::model::repair::Risk;
use crate::{check, tr};

check! {
    /// ## What it finds
    /// The programs between power-on and a prompt, their libraries, and the modules of PAM and of the name service, where the
    /// content has not the digest of the package database. With `--digests`, every packaged file. Configuration is
    /// left out: it is there to be changed.
    ///
    /// The time of the last change tells two cases apart. If it is that of the package, nobody wrote the file: the disk or
    /// the memory damaged it. If it is later, somebody replaced the file: a build of one's own, a copy from another machine,
    /// or an intruder.
    ///
    /// ## Why it matters
    /// A library with a few wrong bytes makes programs crash that nobody would connect with it. A replaced sshd or
    /// pam_unix.so may let in whoever replaced it.
    ///
    /// ## What the repair does
    /// Brings a damaged file back from a donor or a package of the same version. A file that somebody replaced is brought back
    /// only with `--risky`. By hand: `debsums -s` or `rpm -Va`, then reinstall the package.
    "package-file-altered", Files, seed = ["L9"], proves = [], "programs or libraries are not what their package brought"
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
                0 => tr!("{path} was replaced: it is not the one of {package}", path, package = of),
                _ => tr!(
                    "{path} and {more} more {more?file|files} were replaced: they are not those of {package}",
                    path,
                    more,
                    package = of
                ),
            },
            tr!("it was written after the package was installed: a build of one's own, or an intruder's"),
            Risk::Risky,
        )
    } else {
        (
            Severity::Error,
            match more {
                0 => tr!("{path} is damaged: it is not what {package} brought", path, package = of),
                _ => tr!(
                    "{path} and {more} more {more?file|files} are damaged: they are not what {package} brought",
                    path,
                    more,
                    package = of
                ),
            },
            tr!(
                "nobody has written it since it was installed, so the disk or the memory is at fault: look at the kernel's log"
            ),
            Risk::Safe,
        )
    };
    let finding = found.add(severity, message).why(why);
    point(finding, packages, files);
    finding.subject(subject);
    offer(facts, finding, packages, files, least);
}
