//! One fault from beginning to end.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

use serde_json::Value;

use super::disk::{Copy, Disk, difference, output};
use super::faults::{Debian, Fault, Way};
use super::guest::{Guest, Stop};

/// What every trial needs.
pub struct Lab {
    /// The release binary.
    pub sickbay: PathBuf,
    /// Whether machines are booted.
    pub boots: bool,
    /// What the random triples come from.
    pub seed: u64,
}

/// A row of the table.
#[derive(Default)]
pub struct Row {
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
    pub fn try_fault(&self, fault: &Fault) -> Row {
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
        fault.disk.change(disk, fault.snippet)?;
        let before = fault.disk.manifest(disk)?;

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

        let report = self.report(fix(fault.risky), disk, fault.donor(), fault.resets_password)?;
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

        self.works_again(disk, fault.disk, fault.way, row)?;
        self.expect_undone(disk, fault.disk, &before, row)
    }

    /// The repaired disk boots and lets root in.
    pub fn works_again(&self, image: &Path, disk: &Disk, way: Way, row: &mut Row) -> Result<(), String> {
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

    /// `undo` brings everything back as it was `before`.
    pub fn expect_undone(&self, image: &Path, disk: &Disk, before: &str, row: &mut Row) -> Result<(), String> {
        self.undo(image)?;
        match difference(before, &disk.manifest(image)?) {
            Some(difference) => Err(format!("undo left a difference:\n  {difference}")),
            None => {
                row.undone = "identical";
                Ok(())
            }
        }
    }

    /// Boots a disk and logs in.
    pub fn log_in(&self, image: &Path, disk: &Disk, way: Way) -> Result<(), Stop> {
        let mut guest = Guest::start(image, disk.uefi()).map_err(|symptom| Stop { symptom, console: String::new() })?;
        match way {
            Way::Console => guest.log_in(),
            Way::Ssh => guest.log_in_by_ssh(),
        }
    }

    /// Runs a verb and gives its JSON report; `resets` has `fix` set root's password.
    pub fn report(&self, verb: &[&str], image: &Path, donor: Option<&Disk>, resets: bool) -> Result<Value, String> {
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
    pub fn expect_clear(&self, disk: &Path) -> Result<Vec<String>, String> {
        let out = output(Command::new(&self.sickbay).args(["check", "--format", "json"]).arg(disk))?;
        let report: Value = serde_json::from_slice(&out.stdout).map_err(|error| format!("{error}: {}", text(&out)))?;
        let findings = report["findings"].as_array().cloned().unwrap_or_default();
        if findings.iter().all(|finding| finding["severity"] == "note") && matches!(out.status.code(), Some(0 | 1)) {
            Ok(findings.iter().filter_map(|finding| finding["check"].as_str().map(str::to_owned)).collect())
        } else {
            Err(format!("not clear:\n{}", text(&out)))
        }
    }

    /// Takes every repair back.
    pub fn undo(&self, disk: &Path) -> Result<(), String> {
        let out = output(Command::new(&self.sickbay).args(["undo", "--yes"]).arg(disk))?;
        if out.status.success() { Ok(()) } else { Err(format!("undo: {}", text(&out))) }
    }
}

/// How `fix` is called.
pub fn fix(risky: bool) -> &'static [&'static str] {
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
pub fn text(out: &Output) -> String {
    [String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr)].concat()
}
