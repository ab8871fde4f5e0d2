//! The disk that is broken: a healthy one is built once, and every fault gets a copy.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::new_check::workspace;

/// The healthy disk, built when it is not there.
pub fn healthy() -> Result<PathBuf, String> {
    let cache = workspace().join("lab/cache");
    let base = cache.join("base.img");
    if !base.exists() {
        fs::create_dir_all(&cache).map_err(|error| error.to_string())?;
        let new = cache.join("base.new");
        println!("building the disk, about a minute");
        succeed(Command::new(workspace().join("lab/base.sh")).arg(&new))?;
        fs::rename(&new, &base).map_err(|error| error.to_string())?;
    }
    Ok(base)
}

/// A copy of a disk that goes when it is dropped.
pub struct Copy {
    /// Where it is.
    pub path: PathBuf,
}

impl Copy {
    /// Copies `disk`; `name` must be used by nobody else.
    pub fn of(disk: &Path, name: &str) -> Result<Copy, String> {
        let copy = Copy { path: disk.with_file_name(format!("{name}.img")) };
        succeed(Command::new("cp").args(["--sparse=always", "--reflink=auto"]).arg(disk).arg(&copy.path))?;
        Ok(copy)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// SHA-256 of a whole file.
pub fn checksum(path: &Path) -> Result<String, String> {
    let out = succeed(Command::new("sha256sum").arg(path))?;
    Ok(String::from_utf8_lossy(&out.stdout).split(' ').next().unwrap_or_default().to_owned())
}

/// Names, modes, owners, times, links, attributes and content of everything, and the space before the first partition.
pub fn manifest(disk: &Path) -> Result<String, String> {
    inside(
        disk,
        "ro,noload",
        r#"head -c 1048576 "$1" | sha256sum
cd "$R"
find . -xdev -printf '%p %y %m %U:%G %T@ %l\n' | sort
getfattr --recursive --no-dereference --dump --match=- --encoding=hex .
find . -xdev -type f -print0 | sort -z | xargs -0 sha256sum
cd /"#,
    )
}

/// Where two manifests differ.
pub fn difference(before: &str, after: &str) -> Option<String> {
    let differing = before.lines().zip(after.lines()).find(|(old, new)| old != new);
    match differing {
        Some((old, new)) => Some(format!("{old}\n  {new}")),
        None if before.len() != after.len() => Some("more or fewer files".to_owned()),
        None => None,
    }
}

/// Runs a shell script with the root partition mounted at `$R`, in a mount namespace of its own; `$1` is the disk.
pub fn inside(disk: &Path, options: &str, script: &str) -> Result<String, String> {
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    // The first partition of base.sh begins at 1 MiB and has 2400 MiB.
    let whole = format!(
        "set -eu\nmount -o loop,offset=1048576,sizelimit=2516582400,{options} \"$1\" \"$R\"\n{script}\nsync\numount \"$R\""
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "--", "sh", "-c", &whole, "sh"]);
    let out = succeed(command.arg(disk).env("R", dir.path()))?;
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// Runs a program to its end.
pub fn output(command: &mut Command) -> Result<Output, String> {
    command.output().map_err(|error| format!("{}: {error}", command.get_program().display()))
}

/// Runs a program that must succeed.
pub fn succeed(command: &mut Command) -> Result<Output, String> {
    let out = output(command)?;
    if out.status.success() {
        return Ok(out);
    }
    let text = [out.stdout, out.stderr].concat();
    Err(format!("{command:?}: {}\n{}", out.status, String::from_utf8_lossy(&text)))
}
