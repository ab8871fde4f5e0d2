//! One fault from beginning to end.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

use serde_json::Value;

use super::disk::{Copy, Disk, difference, output, succeed};
use super::faults::{Debian, Fault, Way};
use super::guest::{Guest, Stop};

/// What every trial needs.
pub(super) struct Lab {
    /// The release binary.
    pub sickbay: PathBuf,
    /// Whether machines are booted.
    pub boots: bool,
    /// What the random triples come from.
    pub seed: u64,
}

/// A row of the table.
#[derive(Default)]
pub(super) struct Row {
    /// The fault's name.
    pub name: String,
    /// The disk that is broken.
    pub disk: &'static str,
    /// What it is.
    pub what: String,
    /// What the console showed.
    pub before: String,
    /// Ids of the checks whose findings are causes.
    pub findings: String,
    /// What `fix` did.
    pub repair: String,
    /// Whether root could log in afterwards.
    pub after: String,
    /// Whether `undo` brought everything back.
    pub undone: &'static str,
    /// Why it did not go as it should.
    pub failure: Option<String>,
    /// How long all of it took.
    pub seconds: u64,
}

impl Lab {
    /// Makes a fault, sees it, repairs it, sees it gone, takes the repair back.
    pub(super) fn try_fault(&self, fault: &Fault) -> Row {
        let begun = Instant::now();
        let mut row =
            Row { name: fault.name.to_owned(), disk: fault.disk.name, what: fault.what.to_owned(), ..Row::default() };
        row.failure = self.stages(fault, &mut row).err();
        row.seconds = begun.elapsed().as_secs();
        row
    }

    fn stages(&self, fault: &Fault, row: &mut Row) -> Result<(), String> {
        let disk = Copy::of(&fault.disk.healthy()?, fault.name)?;
        let disk = disk.path.as_path();
        fault.make(disk)?;
        let before = fault.state(disk)?;

        if self.boots {
            row.before = match (self.log_in(disk, fault.disk, fault.way), fault.debian) {
                (Ok(()), Debian::Survives(why)) => format!("logs in: {why}"),
                (Ok(()), Debian::Breaks) => return Err("the fault does not break it".to_owned()),
                (Err(stop), Debian::Survives(_)) => {
                    return Err(format!("Debian should survive it: {}\n{}", stop.symptom, stop.console));
                }
                (Err(stop), Debian::Breaks) => stop.symptom,
            };
        }

        let report = self.report(&["check"], disk, fault.donor(), fault.resets_password)?;
        row.findings = causes(&report).into_iter().collect::<Vec<_>>().join(", ");
        if row.findings != fault.finds {
            return Err(format!("found {:?}, wanted {:?}", row.findings, fault.finds));
        }

        // A disk that is full has no room for what is removed from it.
        let elsewhere = tempfile::tempdir().map_err(|error| error.to_string())?;
        let journal = fault.full.then(|| elsewhere.path());
        let path = elsewhere.path().display().to_string();
        let more: &[&str] = if fault.full { &["--journal", &path] } else { &[] };
        let verb = [fix(fault.risky), more].concat();
        let report = self.report(&verb, disk, fault.donor(), fault.resets_password)?;
        let applied = report["applied"].as_array().cloned().unwrap_or_default();
        let made: Vec<&str> = applied.iter().filter_map(|applied| applied["title"].as_str()).collect();
        // Where the copy is has no place in the table.
        row.repair = made.join("; ").replace(&disk.display().to_string(), "the disk");
        if applied.is_empty() || applied.iter().any(|applied| applied["verified"] != true) {
            return Err(format!("repairs did not hold: {applied:?}"));
        }
        let notes = self.expect_clear(disk)?;
        if !notes.is_empty() {
            row.repair.push_str(&format!("; a note stays: {}", notes.join(", ")));
        }

        if fault.modes {
            row.repair.push_str(&self.expect_modes(fault, disk)?);
        }

        self.works_again(disk, fault.disk, fault.way, row)?;
        self.undo(disk, journal)?;
        expect_same(&before, &fault.state(disk)?, row)
    }

    /// Every packaged path has the mode and the owner that it has on the healthy disk; gives how many have not when the disk is
    /// repaired with nothing at hand but sickbay.
    fn expect_modes(&self, fault: &Fault, repaired: &Path) -> Result<String, String> {
        let healthy = fault.disk.packaged_modes(&fault.disk.healthy()?)?;
        let differing = |image: &Path| -> Result<Vec<String>, String> {
            let now = fault.disk.packaged_modes(image)?;
            let now: BTreeSet<&str> = now.lines().collect();
            Ok(healthy.lines().filter(|line| !now.contains(line)).map(str::to_owned).collect())
        };
        let wrong = differing(repaired)?;
        if !wrong.is_empty() || healthy.is_empty() {
            return Err(format!("{} packaged paths differ from the healthy disk:\n{}", wrong.len(), wrong.join("\n")));
        }
        let alone = Copy::of(&fault.disk.healthy()?, &format!("{}-alone", fault.name))?;
        fault.make(&alone.path)?;
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "--", "sh", "-c", ALONE, "sh"]);
        succeed(command.arg(&self.sickbay).arg(&alone.path))?;
        let (all, left) = (healthy.lines().count(), differing(&alone.path)?.len());
        Ok(format!("; {all} packaged paths have their modes and owners back, without a donor all but {left}"))
    }

    /// The repaired disk boots and lets root in.
    pub(super) fn works_again(&self, image: &Path, disk: &Disk, way: Way, row: &mut Row) -> Result<(), String> {
        if self.boots {
            self.log_in(image, disk, way)
                .map_err(|stop| format!("after the repair: {}\n{}", stop.symptom, stop.console))?;
            row.after = match way {
                Way::Console => "logs in on the console, a wrong password does not".to_owned(),
                Way::Ssh => "logs in over ssh, a wrong password does not".to_owned(),
            };
        }
        Ok(())
    }

    /// Boots a disk and logs in.
    pub(super) fn log_in(&self, image: &Path, disk: &Disk, way: Way) -> Result<(), Stop> {
        let mut guest = Guest::start(image, disk).map_err(|symptom| Stop { symptom, console: String::new() })?;
        match way {
            Way::Console => guest.log_in(),
            Way::Ssh => guest.log_in_by_ssh(),
        }
    }

    /// Runs a verb and gives its JSON report; `resets` has `fix` set root's password.
    pub(super) fn report(
        &self,
        verb: &[&str],
        image: &Path,
        donor: Option<&Disk>,
        resets: bool,
    ) -> Result<Value, String> {
        let mut command = Command::new(&self.sickbay);
        command.args(verb).args(["--format", "json", "--lang", "en"]).arg(image);
        if let Some(donor) = donor {
            command.arg("--donor").arg(donor.healthy()?);
        }
        if resets && verb.contains(&"fix") {
            // The password that the lab gives at the prompt, typed in as a script does.
            let (reader, mut writer) = std::io::pipe().map_err(|error| error.to_string())?;
            std::io::Write::write_all(&mut writer, b"sickbay\n").map_err(|error| error.to_string())?;
            command.args(["--reset-password", "root"]).stdin(reader);
        }
        let out = output(&mut command)?;
        serde_json::from_slice(&out.stdout).map_err(|error| format!("{verb:?}: {error}: {}", text(&out)))
    }

    /// Nothing is unknown and nothing is found but notes, whose checks are given: of the kernel that is not booted any more.
    pub(super) fn expect_clear(&self, disk: &Path) -> Result<Vec<String>, String> {
        let out = output(Command::new(&self.sickbay).args(["check", "--format", "json"]).arg(disk))?;
        let report: Value = serde_json::from_slice(&out.stdout).map_err(|error| format!("{error}: {}", text(&out)))?;
        let findings = report["findings"].as_array().cloned().unwrap_or_default();
        if findings.iter().all(|finding| finding["severity"] == "note") && matches!(out.status.code(), Some(0 | 1)) {
            Ok(findings.iter().filter_map(|finding| finding["check"].as_str().map(str::to_owned)).collect())
        } else {
            Err(format!("not clear:\n{}", text(&out)))
        }
    }

    /// Takes every repair back, of a journal that may be on this machine.
    pub(super) fn undo(&self, disk: &Path, journal: Option<&Path>) -> Result<(), String> {
        let mut command = Command::new(&self.sickbay);
        command.args(["undo", "--yes"]).arg(disk);
        if let Some(journal) = journal {
            command.arg("--journal").arg(journal);
        }
        let out = output(&mut command)?;
        if out.status.success() { Ok(()) } else { Err(format!("undo: {}", text(&out))) }
    }
}

/// In a shell: `$1 fix` of the image `$2` in a root that holds nothing else, as this machine could be a donor.
const ALONE: &str = r#"set -eu
root=$(mktemp -d)
mount -t tmpfs none "$root"
mkdir "$root/dev" "$root/proc" "$root/sys" "$root/tmp" "$root/run" "$root/var"
for dir in dev proc sys; do mount --rbind /$dir "$root/$dir"; done
cp "$1" "$root/sickbay"
touch "$root/image"
mount --bind "$2" "$root/image"
chroot "$root" /sickbay fix --yes /image || [ $? = 1 ]
umount -R -l "$root"
rmdir "$root""#;

/// Everything is as it was before.
pub(super) fn expect_same(before: &str, after: &str, row: &mut Row) -> Result<(), String> {
    match difference(before, after) {
        Some(difference) => Err(format!("undo left a difference:\n  {difference}")),
        None => {
            row.undone = "identical";
            Ok(())
        }
    }
}

/// How `fix` is called.
pub(super) fn fix(risky: bool) -> &'static [&'static str] {
    if risky { &["fix", "--yes", "--risky"] } else { &["fix", "--yes"] }
}

/// Ids of the checks whose findings are causes.
fn causes(report: &Value) -> BTreeSet<String> {
    let findings = report["findings"].as_array().into_iter().flatten();
    findings
        .filter(|finding| finding["caused_by"].is_null())
        .filter_map(|finding| finding["check"].as_str().map(str::to_owned))
        .collect()
}

/// What a program said.
pub(super) fn text(out: &Output) -> String {
    [String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr)].concat()
}
