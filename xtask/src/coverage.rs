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

/// The rows of running machines, scripts and the last chapter: what each is about, and the trials that show it: tests that make the
/// fault, or run the verb, on a real machine. A row without a trial is shown by stories.
const LIVE: [(&str, &str, &[&str]); 41] = [
    ("D1", "ports that should listen do", &["filters"]),
    ("D2", "security groups let those ports in", &["filters"]),
    ("D3", "time stamps and tcp_tw_recycle", &[]),
    ("D4", "who uses the CPU, and for what", &["load", "collected"]),
    ("D5", "fstab: as B7", &[]),
    ("D6", "directories and links of the system: as B10", &[]),
    ("D7", "modes of the files of ssh", &[]),
    ("D8", "SELinux: as B12", &[]),
    ("D9", "huge pages", &[]),
    ("D10", "the rule of a packet filter that drops a common port", &["filters"]),
    ("D11", "limits.conf and limits.d", &["limit_chains"]),
    ("D12", "the form of passwd and its like", &[]),
    ("C1", "grub.conf was emptied", &[]),
    ("C2", "which file is missing, without guessing", &["trace"]),
    ("C3", "PAM lets nobody in", &["libpam"]),
    ("C4", "a login that hangs in a profile", &["bash_login"]),
    ("C5", "who is the load", &["load", "record"]),
    ("C6", "who called the OOM killer", &["logs"]),
    ("C7", "where the memory is", &["ledger"]),
    ("C8", "interrupts and queues of network cards", &["nic"]),
    ("C9", "an IO spike, named afterwards", &["record", "collected"]),
    ("C10", "interfaces that do not come up", &["network_now"]),
    ("C11", "the default route goes the wrong way", &["network_now"]),
    ("C12", "TIME_WAIT and CLOSE_WAIT", &["sockets"]),
    ("C13", "a stall in a series of pings, and who reads /proc/slabinfo", &[]),
    ("C14", "which layer sets a limit", &["limit_chains"]),
    ("C15", "every TCP socket accounted for", &["sockets"]),
    ("C16", "memory that is there and not granted", &["alloc_truth"]),
    ("C17", "min_free_kbytes", &[]),
    ("C18", "which limit of a host binds first", &["tune"]),
    ("T1", "everything collected into one bundle", &["bundles"]),
    ("T2", "kernel parameters and limits, persistent and reversible", &["tune"]),
    ("T3", "a detached system disk is repaired", &["damaged", "rounds"]),
    ("T4", "the whole rescue in one run", &["rescue"]),
    ("N1", "sysctl lists for high concurrency", &["tune"]),
    ("N2", "lists for limits.conf", &["tune"]),
    ("N3", "nginx", &[]),
    ("N4", "options of JVMs", &[]),
    ("N5", "connection pools, tomcat, libraries that leak", &["services"]),
    ("N6", "a database reached by a public address", &[]),
    ("N7", "capacity", &["tune"]),
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

/// The row that answers `row`, where the checklist asks what the other lists ask.
fn of(row: &str) -> &str {
    match row {
        "D5" => "B7",
        "D6" => "B10",
        "D8" => "B12",
        "D12" => "L1",
        other => other,
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
    let mut out = "# What shows that it works\n\nWritten by `cargo xtask docs`. The first rows are those of the e-book's lists for systems that do not boot (B) and \
        that nobody can log in to (L). A fault is injected into the disk of a real machine and undone ([lab.md](lab.md)); a story is a tree in `crates/sickbay/tests/cases/CHECK`, \
        diagnosed, repaired and undone by every test run.\n\n| row | what it is about | faults in the lab | checks |\n|---|---|---|---|\n"
        .to_owned();
    for (row, about) in ROWS {
        let Shown { faults, checks } = shown(row);
        // Not how many stories each has: that would be another with every branch.
        let checks: Vec<&str> = checks.iter().map(|(check, _)| *check).collect();
        let _ = writeln!(out, "| {row} | {about} | {} | {} |", faults.join(", "), checks.join(", "));
    }
    out.push_str(
        "\nThe checklist of running machines (D), the cases (C), the scripts (T) and the last chapter (N). A trial is a file in \
        `crates/sickbay/tests` that makes the fault with real processes, sockets, namespaces and disks, or runs the verb.\n\n\
        | row | what it is about | trials | checks |\n|---|---|---|---|\n",
    );
    for (row, about, trials) in LIVE {
        let checks: Vec<&str> = shown(of(row)).checks.iter().map(|(check, _)| *check).collect();
        let _ = writeln!(out, "| {row} | {about} | {} | {} |", trials.join(", "), checks.join(", "));
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
        for (row, _, trials) in LIVE {
            let told = shown(of(row)).checks.iter().any(|(_, stories)| *stories > 0);
            assert!(told || !trials.is_empty(), "no story and no trial shows {row}");
            for trial in trials {
                let file = workspace().join("crates/sickbay/tests").join(trial).with_extension("rs");
                assert!(file.is_file(), "{row}: there is no trial {trial}");
            }
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
