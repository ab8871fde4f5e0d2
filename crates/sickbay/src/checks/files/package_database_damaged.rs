//! The package manager cannot read its own database.

use std::path::{Path, PathBuf};

use bstr::ByteSlice;
use sickbay_formats::dpkg;
use sickbay_target::{Reason, Root};

use crate::facts::Facts;
use crate::facts::packages::{DPKG, Packages, System, find_rpm};
use crate::model::finding::Findings;
use crate::model::outcome::{Skip, Verdict};
use crate::model::repair::{Change, Risk};
use crate::model::source::SourceFile;
use crate::model::text::Text;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "dpkg: error: parsing file '/var/lib/dpkg/status' near line …", "error: rpmdb: …", or a dnf that thinks
    /// nothing is installed.
    ///
    /// ## What it finds
    /// dpkg: `/var/lib/dpkg/status` missing, empty or damaged, a file list in `/var/lib/dpkg/info` that is truncated,
    /// or all of those lists gone. rpm: a database (`rpmdb.sqlite`, `Packages.db` or `Packages`) that is missing,
    /// empty, or has pages or entries that cannot be read.
    ///
    /// Leftovers of a killed process are not damage: locks, `__db.001`, a write-ahead log.
    ///
    /// ## Why it matters
    /// apt, dnf and yum refuse to install, update or remove anything. The system itself keeps running, until it needs a
    /// security update.
    ///
    /// ## What the repair does
    /// Restores the status file from the copy that dpkg keeps (`status-old`), or from the daily ones in `/var/backups`,
    /// if it covers the packages whose lists exist.
    ///
    /// ## By hand
    /// ```sh
    /// cp /var/lib/dpkg/status-old /var/lib/dpkg/status
    /// apt-get -f install
    /// # rpm: make a copy of the database first
    /// cp -a /var/lib/rpm /var/lib/rpm.copy && rpm --rebuilddb
    /// ```
    "package-database-damaged", Files, seed = ["L9"], proves = [], "the package database is damaged"
}

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let root = facts.root();
    if root.metadata(DPKG).is_ok() && (root.exists("/usr/bin/dpkg")? || root.metadata(status()).is_ok()) {
        return of_dpkg(facts, found);
    }
    of_rpm(facts, found)
}

fn status() -> PathBuf {
    Path::new(DPKG).join("status")
}

/// The packages that have a list of files.
fn listed(root: &Root) -> Vec<String> {
    let entries = root.read_dir(Path::new(DPKG).join("info")).unwrap_or_default();
    let mut names: Vec<String> =
        entries.iter().filter_map(|entry| Some(dpkg::package_of_list(entry.name.to_str()?)?.to_owned())).collect();
    names.dedup();
    names
}

fn of_dpkg(facts: &Facts, found: &mut Findings) -> Verdict {
    let (root, path) = (facts.root(), status());
    let listed = listed(root);
    let text = match root.read_up_to(&path, 1 << 30) {
        Ok(text) => Some(text),
        Err(error) if matches!(error.reason, Reason::NotFound | Reason::NotADirectory) => None,
        Err(error) => return Err(error.into()),
    };
    let count = text.as_deref().map_or(0, |text| dpkg::packages(text).filter(|package| package.unpacked).count());
    let first_error = text.as_deref().and_then(dpkg::first_error);
    let message = match (&text, first_error) {
        // Images are built that have dpkg and no package.
        _ if count == 0 && listed.is_empty() => return Err(Skip::NotApplicable(tr!("dpkg has no package installed"))),
        (None, _) => Some(tr!("{path} is missing", path)),
        (Some(text), _) if text.is_empty() => Some(tr!("{path} is empty", path)),
        (Some(_), Some(line)) => Some(tr!("{path} is damaged from line {line} onward", path, line)),
        (Some(_), None) if count == 0 => Some(tr!("{path} contains no packages", path)),
        _ => None,
    };
    if let Some(message) = message {
        let finding = found.error(message);
        finding.at_path(&path).explains(&path);
        finding.why(tr!("apt and dpkg cannot install, update or remove anything"));
        finding
            .evidence(path.display().to_string(), format!("{count} packages, {} lists in {DPKG}/info", listed.len()));
        offer_copy(facts, finding, text, &listed);
        return Ok(());
    }
    if listed.is_empty() {
        let info = Path::new(DPKG).join("info");
        found
            .error(tr!("{dir} has no file lists: dpkg no longer knows which files belong to its packages", dir = info))
            .at_path(Path::new(DPKG).join("info"))
            .why(tr!("updates leave old files behind, and nothing can be removed or verified"))
            .by_hand(tr!("restore it from a backup, or reinstall every package: apt-get install --reinstall"));
        return Ok(());
    }
    let packages = facts.get::<Packages>()?;
    lists(facts, found, &packages);
    if let Some(first) = packages.damage.first() {
        let finding = match packages.damage.len() - 1 {
            0 => found.warning(first.clone()),
            more => {
                found.warning(tr!("{first} and {more} more {more?package|packages} have no file list", first, more))
            }
        };
        finding.at_path(Path::new(DPKG).join("info"));
        finding.why(tr!("updates leave old files behind, and nothing can be removed or verified"));
        finding.by_hand(tr!("reinstall these packages: apt-get install --reinstall"));
    }
    Ok(())
}

/// Lists that dpkg refuses to read: it then refuses everything.
fn lists(facts: &Facts, found: &mut Findings, packages: &Packages) {
    let root = facts.root();
    for (path, name) in &packages.damaged_lists {
        let Ok(list) = root.read(path) else { continue };
        let empty = list.is_empty();
        let finding = if empty {
            let finding = found.warning(tr!("the file list of {package} is empty", package = name));
            finding.why(tr!("updates leave old files behind, and nothing can be removed or verified"))
        } else {
            let finding = found.error(tr!("the file list of {package} is truncated or damaged", package = name));
            finding.why(tr!("dpkg refuses to work as long as it cannot read one of its file lists"))
        };
        finding.at_path(path);
        let theirs = |root: &Root| {
            let status = root.read_up_to(status(), 1 << 30).ok()?;
            let package = dpkg::packages(&status).find(|package| package.name == name)?;
            Some(package.version.to_owned())
        };
        let same = facts.donor().is_some_and(|donor| {
            let good = donor.root().read(path).is_ok_and(|list| !list.is_empty() && !dpkg::list_is_damaged(&list));
            good && theirs(donor.root()).is_some_and(|version| theirs(root) == Some(version))
        });
        if same {
            finding.repair(Risk::Safe, tr!("copy {path} from the donor", path), [Change::copy_from_donor(path)]);
        } else if !empty && !list.contains(&0) {
            // The last line may be half a path; dpkg writes the list anew when the package is installed again.
            let end = list.rfind_byte(b'\n').map_or(0, |at| at + 1);
            let whole = list.get(..end).unwrap_or_default().to_vec();
            let file = SourceFile { path: path.clone(), bytes: list };
            finding.repair(
                Risk::Risky,
                tr!("truncate the file list after its last complete line"),
                [Change::edit(&file, whole)],
            );
        } else {
            finding.by_hand(tr!("move the file list away, then apt-get install --reinstall {package}", package = name));
        }
    }
}

/// Offers the newest copy of the status file that dpkg can read.
fn offer_copy(facts: &Facts, finding: &mut crate::model::finding::Finding, text: Option<Vec<u8>>, listed: &[String]) {
    let root = facts.root();
    let copies = [format!("{DPKG}/status-old"), "/var/backups/dpkg.status.0".to_owned()].into_iter();
    let packed = (1..=6).map(|number| format!("/var/backups/dpkg.status.{number}.gz"));
    for copy in copies.chain(packed) {
        let Ok(bytes) = root.read_up_to(&copy, 1 << 30) else { continue };
        let Some(content) =
            (if copy.ends_with(".gz") { sickbay_formats::archive::unpack(b"gz", &bytes) } else { Some(bytes) })
        else {
            continue;
        };
        if content.is_empty() || dpkg::first_error(&content).is_some() {
            continue;
        }
        let names: std::collections::HashSet<&[u8]> = dpkg::packages(&content)
            .filter(|package| package.unpacked)
            .map(|package| package.name.as_bytes())
            .collect();
        let known = listed.iter().filter(|name| names.contains(name.as_bytes())).count();
        // A copy from before a large change would make dpkg forget what is installed.
        let risk = if known == listed.len() { Risk::Safe } else { Risk::Risky };
        if known * 2 < listed.len() {
            continue;
        }
        let change = match text {
            Some(text) => Change::Edit { path: status(), before: text, after: content.clone() },
            None => Change::create(status(), content.clone(), 0o644),
        };
        finding.repair(
            risk,
            tr!(
                "restore {path} from the copy {copy}, which has {known} of {all} packages",
                path = status(),
                copy,
                known,
                all = listed.len()
            ),
            [change],
        );
        return;
    }
    finding.by_hand(tr!("no copy of {path} is usable: restore it from a backup", path = status()));
}

fn of_rpm(facts: &Facts, found: &mut Findings) -> Verdict {
    let root = facts.root();
    let by_hand: fn(PathBuf) -> Text =
        |path| tr!("make a copy of {path}, then rpm --rebuilddb; if that fails, restore it from a backup", path);
    let Some(database) = find_rpm(root) else {
        if !uses_rpm(facts)? {
            return Err(Skip::NotApplicable(tr!("there is no dpkg or rpm package database")));
        }
        let path = Path::new("/var/lib/rpm");
        found
            .error(tr!("{path} is not a package database", path))
            .at_path(path)
            .why(tr!("to dnf, yum and zypper the system looks as if it had no packages"))
            .by_hand(tr!("restore it from a backup"));
        return Ok(());
    };
    let packages = facts.get::<Packages>()?;
    let Some(first) = packages.damage.first() else { return Ok(()) };
    if packages.system != System::Rpm {
        return Ok(());
    }
    let (path, more, left) = (database.path.clone(), packages.damage.len() - 1, packages.packages.len());
    let message = match more {
        0 => tr!("{path} is damaged: {first}", path, first),
        _ => tr!("{path} is damaged in {count} {count?place|places}: {first}", path, count = more + 1, first),
    };
    found
        .error(message)
        .at_path(&database.path)
        .explains(&database.path)
        .why(tr!("rpm, dnf and yum cannot install, update or remove anything, or lose track of packages; {left} {left?package|packages} can still be read", left))
        .by_hand(by_hand(database.path));
    Ok(())
}

/// Whether this is a distribution of rpm: it has rpm and the configuration of what fetches packages for it.
fn uses_rpm(facts: &Facts) -> Result<bool, Skip> {
    let there = |path: &str| facts.root().exists(path);
    Ok((there("/usr/bin/rpm")? || there("/bin/rpm")?)
        && (there("/etc/yum.conf")? || there("/etc/dnf/dnf.conf")? || there("/etc/zypp/zypp.conf")?))
}
