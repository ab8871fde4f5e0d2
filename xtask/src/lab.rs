//! `cargo xtask lab`: faults on the disk of a real machine. Each is made on a copy of a Debian 12 disk, seen to break
//! the boot or the login in QEMU, diagnosed and repaired by the release binary, seen to boot and to let root in (and a
//! wrong password not), and undone.

mod boots;
pub mod disk;
mod faults;
mod guest;
mod table;
mod trial;
mod whole;

use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

use self::disk::output;
use self::faults::{FAULTS, Fault};
use self::trial::{Lab as Workplace, Row};
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
    /// Write the table into docs/lab.md; rows that are not tried stay as they are
    #[arg(long)]
    write: bool,
}

/// How many times `fix` is killed.
const KILLS: usize = 100;
const KILLS_OF_SMOKE: usize = 6;

impl Lab {
    /// Does it.
    pub fn run(&self) -> Result<(), String> {
        let trials: Vec<Trial> = self.trials();
        if self.list {
            trials.iter().for_each(|trial| println!("{}", trial.name()));
            return Ok(());
        }
        if trials.is_empty() {
            return Err("there is no such fault: see --list".to_owned());
        }
        let lab = Workplace { sickbay: build()?, healthy: disk::healthy()? };
        let queue = Mutex::new(trials.iter());
        let rows = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                scope.spawn(|| {
                    loop {
                        let next = queue.lock().ok().and_then(|mut queue| queue.next());
                        let Some(trial) = next else { break };
                        let row = trial.run(&lab);
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
        let mut rows: Vec<Row> = rows.into_inner().unwrap_or_default();
        rows.sort_by_key(|row| trials.iter().position(|trial| trial.name() == row.name));
        println!("\n{}", table::table(&rows));
        for row in &rows {
            if let Some(why) = &row.failure {
                println!("\nFAILED {}: {why}", row.name);
            }
        }
        let failed = rows.iter().filter(|row| row.failure.is_some()).count();
        if self.write && failed == 0 {
            let all = all(false);
            let names: Vec<&str> = all.iter().map(Trial::name).collect();
            table::write(&workspace().join("docs/lab.md"), &rows, &names)?;
        }
        println!("\n{} passed, {failed} failed", rows.len() - failed);
        if failed == 0 { Ok(()) } else { Err("the lab failed".to_owned()) }
    }

    fn trials(&self) -> Vec<Trial> {
        let mut trials = all(self.smoke);
        trials.retain(|trial| self.only.is_empty() || self.only.iter().any(|name| name == trial.name()));
        trials
    }
}

/// Everything there is to be tried, the longest first, so that the end is not spent waiting for one.
fn all(smoke: bool) -> Vec<Trial> {
    let whole =
        [Trial::Boots(smoke), Trial::Pristine, Trial::Five, Trial::Killed(if smoke { KILLS_OF_SMOKE } else { KILLS })];
    whole.into_iter().chain(FAULTS.iter().filter(|fault| !smoke || fault.smoke).map(Trial::Fault)).collect()
}

/// Something that is tried.
enum Trial {
    /// `sickbay boot` of faults that stay, of a chosen few or all.
    Boots(bool),
    /// The healthy disk: nothing is found, nothing is changed, it boots.
    Pristine,
    /// Five faults on one disk.
    Five,
    /// `fix` killed at so many moments.
    Killed(usize),
    /// One fault.
    Fault(&'static Fault),
}

impl Trial {
    fn name(&self) -> &'static str {
        match self {
            Trial::Boots(_) => "boot-stages",
            Trial::Pristine => "pristine",
            Trial::Five => "five-at-once",
            Trial::Killed(_) => "killed",
            Trial::Fault(fault) => fault.name,
        }
    }

    fn run(&self, lab: &Workplace) -> Row {
        match self {
            Trial::Boots(smoke) => lab.boots(*smoke),
            Trial::Pristine => lab.pristine(),
            Trial::Five => lab.five(),
            Trial::Killed(times) => lab.killed(*times),
            Trial::Fault(fault) => lab.try_fault(fault),
        }
    }
}

/// Builds the release binary.
pub fn build() -> Result<PathBuf, String> {
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
