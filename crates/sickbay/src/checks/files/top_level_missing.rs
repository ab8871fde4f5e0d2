//! The directories and links at the top of the tree.

use std::path::{Path, PathBuf};

use sickbay_target::{FileKind, Root};

use crate::facts::Facts;
use crate::model::finding::{Findings, Severity};
use crate::model::outcome::Verdict;
use crate::model::repair::{Change, Risk};
use crate::model::stage::Stage;
use crate::model::text::Text;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: "Kernel panic - not syncing: No working init found", or "No such file or directory" for every command
    /// although its file exists.
    ///
    /// ## What it finds
    /// A directory at the top of the tree, or a link such as `/lib64 -> usr/lib64`, that is missing, leads nowhere, or
    /// is an empty directory where the programs of a merged `/usr` expect a link.
    ///
    /// ## Why it matters
    /// Every program names its loader as `/lib64/ld-linux-x86-64.so.2` or `/lib/ld-…`, every script its shell as
    /// `/bin/sh`. Without the link nothing starts: the kernel reports "No working init found", a login "No such file or
    /// directory" about a file that exists. Without `/dev`, `/proc`, `/sys` or `/run` systemd has nothing to mount on.
    ///
    /// ## What the repair does
    /// Recreates the link where `/usr` has the directory, and missing empty directories with their usual modes.
    /// Directories that contained files are restored from a donor (`--donor ROOT`).
    ///
    /// ## By hand
    /// ```sh
    /// ln -s usr/lib64 ROOT/lib64
    /// mkdir -p ROOT/dev ROOT/proc ROOT/sys ROOT/run
    /// ```
    "top-level-missing", Files, seed = ["B10"], proves = [], may_stop = [Init, Shell], "a top-level directory or link is missing"
}

/// Links of a merged /usr. Whether one is expected is told by the directory that it leads to.
const LINKS: [&str; 6] = ["bin", "sbin", "lib", "lib64", "lib32", "libx32"];

/// A directory that every system has: path, usual mode, what its absence means, whether it is empty by nature.
const DIRS: [(&str, u32, Severity, bool); 15] = [
    ("/etc", 0o755, Severity::Critical, false),
    ("/usr", 0o755, Severity::Critical, false),
    ("/usr/bin", 0o755, Severity::Critical, false),
    ("/usr/sbin", 0o755, Severity::Critical, false),
    ("/usr/lib", 0o755, Severity::Critical, false),
    ("/var", 0o755, Severity::Critical, false),
    ("/dev", 0o755, Severity::Critical, true),
    ("/proc", 0o555, Severity::Critical, true),
    ("/sys", 0o555, Severity::Critical, true),
    ("/run", 0o755, Severity::Critical, true),
    ("/root", 0o700, Severity::Warning, true),
    ("/tmp", 0o1777, Severity::Error, true),
    ("/var/tmp", 0o1777, Severity::Warning, true),
    ("/var/log", 0o755, Severity::Warning, true),
    ("/var/lib", 0o755, Severity::Error, false),
];

fn run(facts: &Facts, found: &mut Findings) -> Verdict {
    let root = facts.root();
    let merged = is_merged(root);
    for name in LINKS {
        let path = Path::new("/").join(name);
        let wanted = stands_in(root, name, merged);
        let why = match state(root, &path) {
            State::Dir { empty: true } if merged && wanted => {
                tr!("{path} is an empty directory instead of a link", path)
            }
            State::Dir { .. } => continue,
            State::Missing if wanted || matches!(name, "bin" | "sbin" | "lib") => tr!("{path} is missing", path),
            State::Missing => continue,
            State::Dangling(text) => tr!("{path} points to {text}, which does not exist", path, text),
            State::Other(kind) => tr!("{path} is {kind}", path, kind = kind.to_string()),
        };
        let link = wanted.then(|| PathBuf::from(format!("usr/{name}")));
        report(facts, found, &path, why, Severity::Critical, link, None);
    }
    for (dir, mode, severity, empty) in DIRS {
        let path = Path::new(dir);
        // Old systems have no /run: it came with systemd and with the last upstarts.
        if dir == "/run" && !root.exists("/usr/lib/systemd/systemd")? && !root.exists("/lib/systemd/systemd")? {
            continue;
        }
        let why = match state(root, path) {
            State::Dir { .. } => continue,
            State::Missing => tr!("{path} is missing", path),
            State::Dangling(text) => {
                // Links out of the file system, such as /tmp -> /var/tmp or /dev/shm, are an administrator's choice
                // when what they name is made at boot.
                if text.starts_with("/run") || text.starts_with("/dev") {
                    continue;
                }
                tr!("{path} points to {text}, which does not exist", path, text)
            }
            State::Other(kind) => tr!("{path} is {kind}", path, kind = kind.to_string()),
        };
        report(facts, found, path, why, severity, None, empty.then_some(mode));
    }
    Ok(())
}

/// Whether the tops are links into /usr, as one that is left shows.
fn is_merged(root: &Root) -> bool {
    ["/bin", "/sbin", "/lib", "/lib64"]
        .iter()
        .any(|path| root.read_link(path).is_ok_and(|text| text.starts_with("usr") || text.starts_with("/usr")))
}

/// Whether `/usr/NAME` holds what `/NAME` must lead to, so that a link is what is missing.
fn stands_in(root: &Root, name: &str, merged: bool) -> bool {
    let holds = |wanted: &[&str]| {
        root.read_dir(Path::new("/usr").join(name)).is_ok_and(|entries| {
            entries.iter().any(|entry| {
                let name = entry.name.to_string_lossy();
                wanted.iter().any(|wanted| name.starts_with(wanted))
            })
        })
    };
    match name {
        "bin" => holds(&["sh", "bash", "dash", "busybox"]),
        "sbin" => holds(&["init", "agetty", "mingetty", "getty"]),
        "lib" => holds(&["modules", "systemd", "ld-linux", "ld-musl", "libc.so"]),
        "lib64" => holds(&["ld-linux", "ld64", "libc.so"]),
        // 32-bit and x32 programs look for their libraries there.
        _ => merged && holds(&["ld-linux", "libc.so"]),
    }
}

enum State {
    Dir { empty: bool },
    Missing,
    Dangling(PathBuf),
    Other(FileKind),
}

fn state(root: &Root, path: &Path) -> State {
    match root.metadata(path) {
        Err(_) => State::Missing,
        Ok(metadata) if metadata.kind == FileKind::Symlink => match root.stat(path) {
            Ok(metadata) if metadata.is_dir() => State::Dir { empty: false },
            Ok(metadata) => State::Other(metadata.kind),
            Err(_) => State::Dangling(root.read_link(path).unwrap_or_default()),
        },
        Ok(metadata) if metadata.is_dir() => State::Dir { empty: !has_entries(root, path) },
        Ok(metadata) => State::Other(metadata.kind),
    }
}

fn has_entries(root: &Root, path: &Path) -> bool {
    root.read_dir(path).is_ok_and(|entries| !entries.is_empty())
}

fn report(
    facts: &Facts,
    found: &mut Findings,
    path: &Path,
    message: Text,
    severity: Severity,
    link: Option<PathBuf>,
    mode: Option<u32>,
) {
    let there = facts.root().metadata(path).is_ok();
    let finding = found.add(severity, message).at_path(path).explains(path);
    if severity == Severity::Critical {
        finding
            .why(tr!("init and shells are started by absolute path; without it one of them cannot be started"))
            .stops(Stage::Init)
            .stops(Stage::Shell);
    }
    if let Some(target) = link {
        finding.repair(
            Risk::Safe,
            tr!("link {path} to {target}", path, target = target.as_path()),
            [Change::link(path, &target)],
        );
        return;
    }
    if there {
        finding.by_hand(tr!("move what is there aside and recreate {path}", path));
        return;
    }
    let on_donor = facts.donor().is_some_and(|donor| donor.root().metadata(path).is_ok());
    match mode {
        Some(mode) => {
            finding.repair(Risk::Safe, tr!("create the directory {path}", path), [Change::make_dir(path, mode)]);
        }
        None if on_donor => {
            // Another machine's /etc or /var is not this machine's.
            finding.repair(Risk::Risky, tr!("copy {path} from the donor", path), [Change::copy_from_donor(path)]);
        }
        None => {
            finding
                .by_hand(tr!("restore {path} from a backup, or supply a root of the same release with --donor", path));
        }
    }
}
