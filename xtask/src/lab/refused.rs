//! What a machine writes down of a login that it refuses, and what that is a consequence of.

use serde_json::Value;

use super::disk::{BASE, Copy};
use super::guest::Guest;
use super::trial::{Lab, Row, expect_same, fix};
use super::whole::row;

/// What the row is called, and the check that finds it as a consequence.
pub(crate) const NAME: &str = "refused-login-in-journal";
pub(crate) const FINDS: &str = "login-refused-in-log";

const SNIPPET: &str = r"sed -i 's/^root:/root:!/' $R/etc/shadow";

impl Lab {
    /// The log of a refused login hangs under the finding that explains it, and is silent once that is repaired.
    pub(super) fn refused(&self) -> Row {
        row(NAME, &BASE, "root's password is locked, and two logins were tried", |row| {
            let disk = Copy::of(&BASE.healthy()?, NAME)?;
            let disk = disk.path.as_path();
            BASE.change(disk, SNIPPET)?;
            if !self.boots {
                return Ok(());
            }
            let mut guest = Guest::start_writing(disk, &BASE)?;
            row.before = match guest.log_in() {
                Ok(()) => return Err("the fault does not break it".to_owned()),
                Err(stop) => stop.symptom,
            };
            guest.shut_down()?;
            let before = BASE.manifest(disk)?;
            let report = self.report(&["check"], disk, None, false)?;
            let findings = report["findings"].as_array().cloned().unwrap_or_default();
            let of = |check: &str| findings.iter().find(|finding| finding["check"] == check);
            let (cause, log) = (of("root-password-locked"), of(FINDS));
            match (cause, log) {
                (Some(cause), Some(log)) if findings.len() == 2 && log["caused_by"] == cause["id"] => {
                    row.findings = "root-password-locked, and under it login-refused-in-log".to_owned();
                }
                _ => return Err(format!("found {}", Value::from(findings))),
            }
            let report = self.report(fix(false), disk, None, false)?;
            row.repair = report["applied"][0]["title"].as_str().unwrap_or_default().to_owned();
            self.expect_clear(disk)?;
            self.works_again(disk, &BASE, super::faults::Way::Console, row)?;
            self.undo(disk, None)?;
            expect_same(&before, &BASE.manifest(disk)?, row)
        })
    }
}
