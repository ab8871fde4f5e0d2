//! `docs/coverage.md`: which faults of the lab and which stories show that a row of the e-book's coverage works.
//!
//! A row belongs to the checks that name it (`seed = ["B7"]`); a fault belongs to the checks that find it, a story to the
//! one in whose directory it is.

use std::fmt::Write as _;
use std::path::Path;

use sickbay::check::Check;

use crate::lab::faults::{FAULTS, Fault};
use crate::lab::refused;
use crate::new_check::workspace;

/// The rows of boot and login, and what each is about.
const ROWS: [(&str, &str); 24] = [
    ("B1", "a file system is damaged"),
    ("B2", "out of space or inodes"),
    ("B3", "an initramfs lacks the machine's drivers"),
    ("B4", "the default kernel cannot boot, an older one can"),
    ("B5", "/boot lacks parts of a kernel"),
    ("B6", "device.map names hda instead of vda"),
    ("B7", "fstab is wrong"),
    ("B8", "the boot loader or its configuration is wrong, empty or missing"),
    ("B9", "lost modes and owners, 777 included"),
    ("B10", "top-level directories and links are missing"),
    ("B11", "parameters and scripts that stop the boot"),
    ("B12", "SELinux"),
    ("B13", "init, its target, essential units, crypttab, auditd, the EFI entry"),
    ("L1", "passwd, shadow and group"),
    ("L2", "PAM files"),
    ("L3", "modules, libraries and programs needed for logins"),
    ("L4", "empty files"),
    ("L5", "the profile"),
    ("L6", "which kernels are installed, and which one boots"),
    ("L7", "what the logs say about a refused login"),
    ("L8", "login.defs"),
    ("L9", "files missing according to the package database"),
    ("L10", "sshd_config and host keys"),
    ("L11", "root's password is reset"),
];

/// The list of what is repaired at one click, and the rows that it is made of.
const REPAIRS: [(&str, &str); 13] = [
    ("file system check", "B1"),
    ("disk or inodes full", "B2"),
    ("system files and links", "B10, L3, L9"),
    ("777 on / and the directories of ssh", "B9"),
    ("fstab and grub", "B7, B8"),
    ("SELinux", "B12"),
    ("sysctl: huge pages and min_free", "B11"),
    ("sshd's configuration", "L10"),
    ("passwd and shadow: format and users", "L1"),
    ("pam.d", "L2"),
    ("empty files", "L4"),
    ("profile and bashrc", "L5"),
    ("several kernels", "B4, B5, L6"),
];

/// What shows that a row works.
struct Shown {
    faults: Vec<&'static str>,
    /// The checks that answer it, and how many stories each has.
    checks: Vec<(&'static str, usize)>,
}

fn shown(row: &str) -> Shown {
    let checks: Vec<&Check> = sickbay::checks::ALL.iter().copied().filter(|check| check.seed.contains(&row)).collect();
    let shows = |fault: &&Fault| {
        (row == "L11" && fault.resets_password)
            || fault.finds.split(", ").any(|id| checks.iter().any(|check| check.id == id))
    };
    let in_log = checks.iter().any(|check| check.id == refused::FINDS).then_some(refused::NAME);
    Shown {
        faults: FAULTS.iter().filter(shows).map(|fault| fault.name).chain(in_log).collect(),
        checks: checks.iter().map(|check| (check.id, stories(check.id))).collect(),
    }
}

fn stories(check: &str) -> usize {
    let dir = workspace().join("crates/sickbay/tests/cases").join(check);
    std::fs::read_dir(dir).map_or(0, |entries| {
        let is_story = |path: &Path| path.extension().is_some_and(|ending| ending == "txt");
        entries.flatten().filter(|entry| is_story(&entry.path())).count()
    })
}

/// The page.
pub(crate) fn page() -> String {
    let mut out = "# What shows that it works\n\nWritten by `cargo xtask docs`. The rows are those of the e-book's lists for systems that do not boot (B) and \
        that nobody can log in to (L). A fault is injected into the disk of a real machine and undone ([lab.md](lab.md)); a story is a tree in `crates/sickbay/tests/cases/CHECK`, \
        diagnosed, repaired and undone by every test run.\n\n| row | what it is about | faults in the lab | checks |\n|---|---|---|---|\n"
        .to_owned();
    for (row, about) in ROWS {
        let Shown { faults, checks } = shown(row);
        // Not how many stories each has: that would be another with every branch.
        let checks: Vec<&str> = checks.iter().map(|(check, _)| *check).collect();
        let _ = writeln!(out, "| {row} | {about} | {} | {} |", faults.join(", "), checks.join(", "));
    }
    out.push_str("\nWhat the e-book repairs at one click is made of these rows:\n\n| repair | rows |\n|---|---|\n");
    for (repair, rows) in REPAIRS {
        let _ = writeln!(out, "| {repair} | {rows} |");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_shown() {
        for (row, _) in ROWS {
            let Shown { faults, checks } = shown(row);
            assert!(!faults.is_empty(), "no fault of the lab shows {row}");
            assert!(row == "L11" || checks.iter().any(|(_, stories)| *stories > 0), "no story shows {row}");
        }
        for (repair, rows) in REPAIRS {
            assert!(rows.split(", ").all(|row| ROWS.iter().any(|(known, _)| *known == row)), "{repair}: {rows}");
        }
    }

    #[test]
    fn every_fault_names_checks_that_there_are() {
        for fault in FAULTS.iter().filter(|fault| !fault.finds.is_empty()) {
            for id in fault.finds.split(", ") {
                assert!(sickbay::checks::ALL.iter().any(|check| check.id == id), "{}: {id}", fault.name);
            }
        }
    }
}
