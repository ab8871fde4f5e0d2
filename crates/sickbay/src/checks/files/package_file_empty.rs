//! Files without content that their package brought with some.

use crate::facts::Facts;
use crate::facts::packages::{PackagedFile, Packages, State, Survey, Weight};
use crate::mend::packaged::{by_package, named_elsewhere, names, of_package, offer, point};
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::model::repair::Risk;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "error while loading shared libraries: …: file too short", "Exec format error", or programs that do
    /// nothing at all.
    ///
    /// ## What it finds
    /// Programs, libraries and configuration needed for logins that are empty although the package database says they
    /// must not be (rpm records the size, dpkg the digest), and anything that is not the file the package installed,
    /// such as a directory in its place.
    ///
    /// ## Why it matters
    /// After a power loss, a full disk or a redirection gone wrong (`> file`), files exist by name but are empty. An
    /// empty program does nothing and reports success; an empty library is "file too short".
    ///
    /// ## What the repair does
    /// Restores the content from a donor, or from a package of the same version that the target has kept or that is
    /// supplied with `--package`.
    ///
    /// ## By hand
    /// ```sh
    /// # then reinstall the packages of these files
    /// find /etc /lib64 /bin /sbin /usr/bin /usr/sbin -size 0
    /// ```
    "package-file-empty", Files, seed = ["L4"], proves = [], "packaged files are empty"
}

/// Files of more packages than this lost their content together.
const SAME_CAUSE: usize = 5;

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let packages = facts.get::<Packages>()?;
    let survey = facts.get::<Survey>()?;
    let elsewhere = named_elsewhere(facts, &packages);
    let mut empty: Vec<&PackagedFile> = Vec::new();
    for lost in &survey.lost {
        let Some(file) = packages.files.get(lost.file) else { continue };
        if elsewhere.contains(file.as_path()) {
            continue;
        }
        match lost.state {
            State::Empty if must_have_content(facts, &packages, file) => empty.push(file),
            State::Other(kind) => {
                let path = file.as_path();
                let finding = found.error(tr!("{path} is {kind} instead of a file", path, kind = kind.to_string()));
                point(finding, &packages, &[file]);
                finding.by_hand(tr!("move what is there aside, then run sickbay again"));
            }
            _ => {}
        }
    }
    let of = by_package(&packages, empty.iter().copied());
    let groups: Vec<Vec<&PackagedFile>> =
        if of.len() > SAME_CAUSE { vec![empty.clone()] } else { of.into_values().map(|(_, files)| files).collect() };
    for files in groups {
        let Some(first) = files.first() else { continue };
        let of = by_package(&packages, files.iter().copied());
        let message = if files.len() == 1 {
            tr!("{path} from {package} is empty", path = first.as_path(), package = names(&of))
        } else {
            tr!(
                "{path} and {more} more {more?file|files} from {package} are empty",
                path = first.as_path(),
                more = files.len() - 1,
                package = names(&of)
            )
        };
        let finding = found.add(Severity::Error, message);
        finding.why(tr!("an empty program does nothing and reports success; an empty library cannot be loaded"));
        point(finding, &packages, &files);
        finding.subject(of_package(&of));
        offer(facts, finding, &packages, &files, Risk::Safe);
    }
    Ok(())
}

fn must_have_content(facts: &Facts, packages: &Packages, file: &PackagedFile) -> bool {
    let size = file.exact.as_ref().and_then(|exact| exact.size);
    // Configuration may be emptied on purpose, but not PAM's.
    let config = file.config && crate::facts::packages::weight(&file.path, true) != Some(Weight::Login);
    let digest = || packages.digest(facts.root(), file);
    !config && size.map_or_else(|| digest().is_some_and(|digest| !digest.fits(b"")), |size| size > 0)
}
