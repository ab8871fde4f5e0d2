//! `cargo xtask lab`: faults on the disks of real machines. Each is made on a copy of a Debian disk, seen to break
//! the boot or the login in QEMU, diagnosed and repaired by the release binary, seen to boot and to let root in (and a
//! wrong password not), and undone.

mod boots;
mod cascade;
pub(crate) mod disk;
pub(crate) mod faults;
mod guest;
mod live;
pub(crate) mod refused;
mod table;
mod trial;
mod whole;

use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

use self::disk::{BASE, DISKS, Disk, output};
use self::faults::{FAULTS, Fault};
use self::trial::{Lab as Workplace, Row};
use crate::new_check::workspace;

/// What is to be run.
#[derive(Debug, clap::Args)]
pub(crate) struct Lab {
    /// Only a chosen few, as CI does
    #[arg(long)]
    smoke: bool,
    /// Only these faults; a name also stands for those that begin with it: `pristine` for all disks, `cascade` for all twenty
    #[arg(long, num_args = 1..)]
    only: Vec<String>,
    /// List the faults
    #[arg(long)]
    list: bool,
    /// Boot nothing: only inject the faults, find, repair and undo them
    #[arg(long, conflicts_with = "write")]
    no_boot: bool,
    /// Seed of the random groups of three faults
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many machines at a time; with more than two the consoles time out
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Use this release binary instead of building one
    #[arg(long, value_name = "FILE")]
    sickbay: Option<PathBuf>,
    /// Write the table to docs/lab.md; rows that were not run, or that failed, stay as they are
    #[arg(long)]
    write: bool,
}

/// How many times `fix` is killed.
const KILLS: usize = 100;
const KILLS_OF_SMOKE: usize = 6;
/// How many disks get three faults.
const CASCADES: usize = 20;
const CASCADES_OF_SMOKE: usize = 1;

impl Lab {
    /// Does it.
    pub(crate) fn run(&self) -> Result<(), String> {
        let trials: Vec<Trial> = self.trials();
        if self.list {
            trials.iter().for_each(|trial| println!("{} ({})", trial.name(), trial.disk().name));
            return Ok(());
        }
        if trials.is_empty() {
            return Err("there is no such fault: see --list".to_owned());
        }
        let sickbay = self.sickbay.clone().map_or_else(build, Ok)?;
        let lab = Workplace { sickbay, boots: !self.no_boot, seed: self.seed };
        // Built one after the other before anything is tried.
        for disk in DISKS.iter().filter(|disk| trials.iter().any(|trial| trial.disk().name == disk.name)) {
            disk.healthy()?;
        }
        let names: Vec<String> = all(false).iter().map(Trial::name).collect();
        let queue = Mutex::new(trials.iter());
        let rows = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                scope.spawn(|| {
                    loop {
                        let next = queue.lock().ok().and_then(|mut queue| queue.next());
                        let Some(trial) = next else { break };
                        let row = trial.run(&lab);
                        match &row.failure {
                            None => println!("ok   {} ({} s)", row.name, row.seconds),
                            Some(why) => println!("FAIL {} ({} s) {why}", row.name, row.seconds),
                        }
                        if let Ok(mut rows) = rows.lock() {
                            rows.push(row);
                            // What was seen is kept when the rest is cut off.
                            if self.write
                                && let Err(why) = table::write(&workspace().join("docs/lab.md"), &rows, &names)
                            {
                                eprintln!("{why}");
                            }
                        }
                    }
                });
            }
        });
        let mut rows: Vec<Row> = rows.into_inner().unwrap_or_default();
        rows.sort_by_key(|row| trials.iter().position(|trial| trial.name() == row.name));
        println!("\n{}", table::table(&rows));
        let failed = rows.iter().filter(|row| row.failure.is_some()).count();
        println!("\n{} passed, {failed} failed", trials.len() - failed);
        rows.iter().filter(|row| row.failure.is_some()).for_each(|row| println!("failed: {}", row.name));
        if failed == 0 { Ok(()) } else { Err("the lab failed".to_owned()) }
    }

    fn trials(&self) -> Vec<Trial> {
        let mut trials = all(self.smoke);
        let meant = |full: &str, name: &str| {
            full.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        trials.retain(|trial| self.only.is_empty() || self.only.iter().any(|name| meant(&trial.name(), name)));
        trials
    }
}

/// Everything there is to be tried, the longest first, so that the end is not spent waiting for one.
fn all(smoke: bool) -> Vec<Trial> {
    let disks = DISKS.into_iter().filter(|disk| !smoke || disk.name == BASE.name).map(Trial::Pristine);
    let live = [Trial::Live, Trial::Refused].into_iter().filter(|_| !smoke);
    let whole = [Trial::Boots(smoke), Trial::Five, Trial::Killed(if smoke { KILLS_OF_SMOKE } else { KILLS })];
    let cascades = (1..=if smoke { CASCADES_OF_SMOKE } else { CASCADES }).map(Trial::Cascade);
    let faults = FAULTS.iter().filter(|fault| !smoke || fault.smoke).map(Trial::Fault);
    whole.into_iter().chain(live).chain(disks).chain(cascades).chain(faults).collect()
}

/// Something that is tried.
enum Trial {
    /// `sickbay boot` of faults that stay, of a chosen few or all.
    Boots(bool),
    /// A healthy disk: nothing is found, nothing is changed, it boots.
    Pristine(&'static Disk),
    /// Five faults on one disk.
    Five,
    /// `fix` killed at so many moments.
    Killed(usize),
    /// A running machine that repairs itself.
    Live,
    /// A login that is refused and written down.
    Refused,
    /// Three faults by chance, the one of this number.
    Cascade(usize),
    /// One fault.
    Fault(&'static Fault),
}

impl Trial {
    fn name(&self) -> String {
        match self {
            Trial::Pristine(disk) => disk.pristine.to_owned(),
            Trial::Boots(_) => "boot-stages".to_owned(),
            Trial::Five => "five-at-once".to_owned(),
            Trial::Killed(_) => "killed".to_owned(),
            Trial::Live => "live-memory".to_owned(),
            Trial::Refused => refused::NAME.to_owned(),
            Trial::Cascade(number) => format!("cascade-{number}"),
            Trial::Fault(fault) => fault.name.to_owned(),
        }
    }

    fn disk(&self) -> &'static Disk {
        match self {
            Trial::Pristine(disk) => disk,
            Trial::Boots(_) | Trial::Five | Trial::Killed(_) | Trial::Live | Trial::Refused | Trial::Cascade(_) => {
                &BASE
            }
            Trial::Fault(fault) => fault.disk,
        }
    }

    fn run(&self, lab: &Workplace) -> Row {
        match self {
            Trial::Pristine(disk) => lab.pristine(disk),
            Trial::Boots(smoke) => lab.boots(*smoke),
            Trial::Five => lab.five(),
            Trial::Killed(times) => lab.killed(*times),
            Trial::Live => lab.live(),
            Trial::Refused => lab.refused(),
            Trial::Cascade(number) => lab.cascade(*number),
            Trial::Fault(fault) => lab.try_fault(fault),
        }
    }
}

/// Builds the release binary.
pub(crate) fn build() -> Result<PathBuf, String> {
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
