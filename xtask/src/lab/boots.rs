//! `sickbay boot` on faults that were not repaired: the stage that it tells must be the right one, and the disk the same
//! as before.

use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use super::disk::{BASE, Copy, checksum, output};
use super::faults::FAULTS;
use super::trial::{Lab, Row, text};

/// Faults and the stage at which each stops the boot; `healthy` is the disk as it is.
const STAGES: [(&str, &str); 17] = [
    ("healthy", "login"),
    ("mbr-signature-zeroed", "partition-table"),
    ("mbr-zeroed", "bootloader"),
    ("core-image-zeroed", "bootloader"),
    ("grub-modules-missing", "bootloader"),
    ("grub-cfg-empty", "boot-config"),
    ("kernel-missing", "kernel"),
    ("kernel-empty", "kernel"),
    ("initramfs-missing", "initramfs"),
    ("initramfs-cut-off", "initramfs"),
    ("grub-wrong-root", "root-device"),
    ("kernel-init-shell", "init"),
    ("lib64-link-missing", "init"),
    ("fstab-data-uuid", "mounts"),
    ("fstab-wrong-type", "mounts"),
    ("default-target", "services"),
    ("min-free", "services"),
];

/// How many of them CI tries: they are among the quickest.
const OF_SMOKE: [&str; 2] = ["grub-cfg-empty", "lib64-link-missing"];

impl Lab {
    /// Boots each with the verb that is shipped.
    pub(super) fn boots(&self, smoke: bool) -> Row {
        let begun = Instant::now();
        let what = "sickbay boot with faults left in place: the stage, and the disk unchanged";
        let mut row = Row { name: "boot-stages".to_owned(), disk: BASE.name, what: what.to_owned(), ..Row::default() };
        let mut told = Vec::new();
        for (fault, stage) in STAGES.iter().filter(|(fault, _)| !smoke || OF_SMOKE.contains(fault)) {
            match self.boot(fault, stage) {
                Ok(line) => {
                    println!("     {line}");
                    told.push(format!("{fault}: {stage}"));
                }
                Err(why) => {
                    println!("     {fault}: {why}");
                    row.failure.get_or_insert(format!("{fault}: {why}"));
                }
            }
        }
        row.before = told.join("; ");
        row.undone = "no byte changed";
        row.seconds = begun.elapsed().as_secs();
        row
    }

    fn boot(&self, name: &str, stage: &str) -> Result<String, String> {
        let disk = Copy::of(&BASE.healthy()?, &format!("boot-{name}"))?;
        if let Some(fault) = FAULTS.iter().find(|fault| fault.name == name) {
            fault.make(&disk.path)?;
        } else if stage != "login" {
            return Err("there is no such fault".to_owned());
        }
        let before = checksum(&disk.path)?;
        let mut command = Command::new(&self.sickbay);
        command.args(["boot", "--format", "json", "--lang", "en", "--memory", "768"]).arg(&disk.path);
        let out = output(&mut command)?;
        let after = checksum(&disk.path)?;
        let report: Value = serde_json::from_slice(&out.stdout).map_err(|error| format!("{error}: {}", text(&out)))?;
        let boot = &report["boot"];
        let kept = boot["console"].as_str().unwrap_or_default();
        let console = std::fs::read_to_string(kept).unwrap_or_default();
        let _ = std::fs::remove_file(kept);
        let reached = if boot["outcome"] == "login" { "login" } else { boot["stage"].as_str().unwrap_or_default() };
        if before != after {
            return Err("the boot changed the disk".to_owned());
        }
        let code = if stage == "login" { 0 } else { 1 };
        if reached != stage || out.status.code() != Some(code) {
            let lines: Vec<&str> = console.lines().collect();
            let end = lines.get(lines.len().saturating_sub(30)..).unwrap_or_default().join("\n");
            return Err(format!("it told {reached:?}, wanted {stage:?}: {boot:#}\n{end}"));
        }
        let line = boot["line"].as_u64().unwrap_or_default();
        if line == 0 || console.lines().count() < usize::try_from(line).unwrap_or(usize::MAX) {
            return Err(format!("line {line} is not in the console that is kept"));
        }
        let seconds = boot["took_ms"].as_u64().unwrap_or_default() / 1000;
        let findings = report["findings"].as_array().into_iter().flatten();
        let found: Vec<&str> = findings.filter_map(|finding| finding["check"].as_str()).collect();
        let said = boot["text"].as_str().unwrap_or_default();
        let why = boot["why"].as_str().unwrap_or("-");
        Ok(format!("{name}: {stage}, {seconds} s, line {line} {said:?}: {why} [{}]", found.join(", ")))
    }
}
