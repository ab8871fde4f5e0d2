//! `cargo xtask lab`: faults on the disk of a real machine. Each is made on a copy of a Debian 12 disk, seen to break
//! the boot or the login in QEMU, diagnosed and repaired by the release binary, seen to boot and to let root in (and a
//! wrong password not), and undone.

mod faults;
mod guest;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::time::Instant;

use self::faults::{FAULTS, Fault};
use self::guest::Guest;
use crate::new_check::workspace;

/// What is to be run.
#[derive(Debug, clap::Args)]
pub struct Lab {
    /// Only a chosen few, as CI does
    #[arg(long)]
    smoke: bool,
    /// Only these faults
    #[arg(long, num_args = 1..)]
    only: Vec<String>,
    /// Tell which faults there are
    #[arg(long)]
    list: bool,
    /// How many machines at a time; with more than two the consoles time out
    #[arg(long, default_value_t = 2)]
    jobs: usize,
}

/// A row of the table.
struct Row {
    name: &'static str,
    before: String,
    findings: String,
    after: String,
    undone: &'static str,
    failure: Option<String>,
    seconds: u64,
}

impl Lab {
    /// Does it.
    pub fn run(&self) -> Result<(), String> {
        let chosen: Vec<&'static Fault> = FAULTS
            .iter()
            .filter(|fault| !self.smoke || fault.smoke)
            .filter(|fault| self.only.is_empty() || self.only.iter().any(|name| name == fault.name))
            .collect();
        if self.list {
            chosen.iter().for_each(|fault| println!("{}", fault.name));
            return Ok(());
        }
        let sickbay = build()?;
        let base = base()?;
        let pristine = pristine(&sickbay, &base);
        let queue = Mutex::new(chosen.iter());
        let rows = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                scope.spawn(|| {
                    loop {
                        let next = queue.lock().ok().and_then(|mut queue| queue.next().copied());
                        let Some(fault) = next else { break };
                        let row = try_fault(fault, &sickbay, &base);
                        println!(
                            "{} {} ({} s)",
                            if row.failure.is_some() { "FAIL" } else { "ok  " },
                            row.name,
                            row.seconds
                        );
                        if let Ok(mut rows) = rows.lock() {
                            rows.push(row);
                        }
                    }
                });
            }
        });
        let rows = rows.into_inner().unwrap_or_default();
        println!("\n| fault | console before | findings | console after | undone | s |\n|---|---|---|---|---|---|");
        for row in &rows {
            let Row { name, before, findings, after, undone, seconds, .. } = row;
            println!("| {name} | {before} | {findings} | {after} | {undone} | {seconds} |");
        }
        let mut failed = 0;
        for (name, why) in rows
            .iter()
            .filter_map(|row| row.failure.as_ref().map(|why| (row.name, why)))
            .chain(pristine.as_ref().err().map(|why| ("pristine", why)))
        {
            failed += 1;
            println!("\nFAILED {name}: {why}");
        }
        println!("\n{} passed, {failed} failed", rows.len() + 1 - failed);
        if failed == 0 { Ok(()) } else { Err("some faults failed".to_owned()) }
    }
}

/// Builds the release binary.
fn build() -> Result<PathBuf, String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--release", "--package", "sickbay", "--message-format=json"]);
    let out = output(cargo.current_dir(workspace()))?;
    // The last message that names an executable.
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    text.lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .next_back()
        .ok_or_else(|| "cargo built no executable".to_owned())
}

/// The healthy disk, built when it is not there.
fn base() -> Result<PathBuf, String> {
    let cache = workspace().join("lab/cache");
    let base = cache.join("base.img");
    if !base.exists() {
        fs::create_dir_all(&cache).map_err(|error| error.to_string())?;
        let new = cache.join("base.new");
        println!("building the disk, about two minutes");
        succeed(Command::new(workspace().join("lab/base.sh")).arg(&new))?;
        fs::rename(&new, &base).map_err(|error| error.to_string())?;
    }
    Ok(base)
}

/// On the healthy disk nothing is found, and a look changes no byte.
fn pristine(sickbay: &Path, base: &Path) -> Result<(), String> {
    let sum = || succeed(Command::new("sha256sum").arg(base)).map(|out| out.stdout);
    let before = sum()?;
    let out = output(Command::new(sickbay).arg("check").arg(base))?;
    if out.status.code() != Some(0) {
        return Err(format!("the healthy disk: {}", String::from_utf8_lossy(&out.stdout)));
    }
    if sum()? == before { Ok(()) } else { Err("the look changed the disk".to_owned()) }
}

fn try_fault(fault: &'static Fault, sickbay: &Path, base: &Path) -> Row {
    let begun = Instant::now();
    let mut row = Row {
        name: fault.name,
        before: String::new(),
        findings: String::new(),
        after: String::new(),
        undone: "",
        failure: None,
        seconds: 0,
    };
    let image = base.with_file_name(format!("{}.img", fault.name));
    row.failure = stages(fault, sickbay, base, &image, &mut row).err();
    let _ = fs::remove_file(&image);
    row.seconds = begun.elapsed().as_secs();
    row
}

fn stages(fault: &Fault, sickbay: &Path, base: &Path, image: &Path, row: &mut Row) -> Result<(), String> {
    succeed(Command::new("cp").arg("--sparse=always").arg(base).arg(image))?;
    inside(image, "rw", fault.snippet)?;
    let before = inside(image, "ro,noload", MANIFEST)?;

    row.before = match Guest::start(image)?.log_in() {
        Ok(()) if fault.survives => "logs in".to_owned(),
        Ok(()) => return Err("the fault does not break it".to_owned()),
        Err(stop) => stop.symptom,
    };

    let out = output(Command::new(sickbay).args(["check", "--format", "json"]).arg(image))?;
    let report: serde_json::Value = serde_json::from_slice(&out.stdout)
        .map_err(|error| format!("check: {error}: {}", String::from_utf8_lossy(&out.stderr)))?;
    let causes: BTreeSet<String> = report["findings"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|finding| finding["caused_by"].is_null())
        .filter_map(|finding| finding["check"].as_str().map(str::to_owned))
        .collect();
    row.findings = causes.iter().cloned().collect::<Vec<_>>().join(", ");
    if row.findings != fault.finds || out.status.code() != Some(1) {
        return Err(format!("found {:?} with exit code {:?}, wanted {}", row.findings, out.status.code(), fault.finds));
    }

    succeed(Command::new(sickbay).args(["fix", "--yes"]).arg(image))?;
    succeed(Command::new(sickbay).arg("check").arg(image))?;
    Guest::start(image)?.log_in().map_err(|stop| format!("after the repair: {}\n{}", stop.symptom, stop.console))?;
    row.after = "logs in, a wrong password does not".to_owned();

    succeed(Command::new(sickbay).args(["undo", "--yes"]).arg(image))?;
    let after = inside(image, "ro,noload", MANIFEST)?;
    if let Some((old, new)) = before.lines().zip(after.lines()).find(|(old, new)| old != new) {
        return Err(format!("undo left a difference:\n  {old}\n  {new}"));
    }
    if before.len() != after.len() {
        return Err("undo left more or fewer files".to_owned());
    }
    row.undone = "identical";
    Ok(())
}

/// Names, modes, owners, times, links and content of everything but the journal.
const MANIFEST: &str = r"cd $R
find . -xdev -path ./var/lib/sickbay -prune -o -path ./lost+found -prune -o -printf '%p %y %m %U:%G %T@ %l\n' | sort
find . -xdev -path ./var/lib/sickbay -prune -o -type f -print0 | sort -z | xargs -0 sha256sum
cd /";

/// Runs a shell script with the root partition mounted at `$R`, in a mount namespace of its own.
fn inside(image: &Path, options: &str, script: &str) -> Result<String, String> {
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    // The first partition of base.sh begins at 1 MiB and has 2400 MiB.
    let whole = format!(
        "set -eu\nmount -o loop,offset=1048576,sizelimit=2516582400,{options} \"$1\" \"$R\"\n{script}\nsync\numount \"$R\""
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "--", "sh", "-c", &whole, "sh"]);
    let out = succeed(command.arg(image).env("R", dir.path()))?;
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

fn output(command: &mut Command) -> Result<Output, String> {
    command.output().map_err(|error| format!("{}: {error}", command.get_program().display()))
}

fn succeed(command: &mut Command) -> Result<Output, String> {
    let out = output(command)?;
    if out.status.success() {
        return Ok(out);
    }
    let text = [out.stdout, out.stderr].concat();
    Err(format!("{command:?}: {}\n{}", out.status, String::from_utf8_lossy(&text)))
}
