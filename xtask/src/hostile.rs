//! `cargo xtask hostile`: targets that mean no good. Each scenario of `lab/hostile` makes one, runs the release binary on it, and
//! fails when something outside the target changed, a bound of time or memory did not hold, or the exit status was not true.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::bench::watch;
use crate::lab::disk::{BASE, output};
use crate::new_check::workspace;

/// What is to be run.
#[derive(Debug, clap::Args)]
pub(crate) struct Hostile {
    /// Only those marked `# short`, as `./x test` does
    #[arg(long)]
    short: bool,
    /// Only these scenarios
    #[arg(long, num_args = 1..)]
    only: Vec<String>,
    /// List them
    #[arg(long)]
    list: bool,
    /// How many at a time
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Multiply the time limits by this: for a machine that is busy with something else
    #[arg(long, default_value_t = 1)]
    slowly: u32,
    /// Use this release binary instead of building one
    #[arg(long, value_name = "FILE")]
    sickbay: Option<PathBuf>,
    /// For the suite itself: runs a command, and writes its status, milliseconds and KiB of memory to a file
    #[arg(long, hide = true, value_name = "FILE")]
    measure: Option<PathBuf>,
    /// For the suite itself: seconds after which the command is killed
    #[arg(long, hide = true, default_value_t = 60)]
    limit: u64,
    #[arg(last = true, hide = true)]
    command: Vec<String>,
}

/// A scenario: a script of `lab/hostile`.
struct Scenario {
    name: String,
    path: PathBuf,
    what: String,
    is_short: bool,
}

impl Hostile {
    /// Does it.
    pub(crate) fn run(&self) -> Result<(), String> {
        if let Some(file) = &self.measure {
            return measure(file, Duration::from_secs(self.limit), &self.command);
        }
        let mut scenarios = all()?;
        scenarios.retain(|it| !self.short || it.is_short);
        scenarios.retain(|it| self.only.is_empty() || self.only.contains(&it.name));
        if self.list {
            scenarios.iter().for_each(|it| println!("{}: {}", it.name, it.what));
            return Ok(());
        }
        if scenarios.is_empty() {
            return Err("there is no such scenario: see --list".to_owned());
        }
        let sickbay = self.sickbay.clone().map_or_else(crate::lab::build, Ok)?;
        let base = BASE.healthy()?;
        let place = workspace().join("target/hostile");
        fs::create_dir_all(&place).map_err(|error| error.to_string())?;
        let (queue, failed, runs) = (Mutex::new(scenarios.iter()), Mutex::new(Vec::new()), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                scope.spawn(|| {
                    loop {
                        let next = queue.lock().ok().and_then(|mut queue| queue.next());
                        let Some(scenario) = next else { break };
                        let begun = Instant::now();
                        let result = self.withstands(scenario, &sickbay, &base, &place);
                        let seconds = begun.elapsed().as_secs();
                        match result {
                            Ok(count) => {
                                runs.fetch_add(count, Ordering::Relaxed);
                                println!("ok   {} ({count} runs, {seconds} s)", scenario.name);
                            }
                            Err(why) => {
                                println!("FAIL {} ({seconds} s) {why}", scenario.name);
                                failed.lock().map(|mut failed| failed.push(scenario.name.clone())).unwrap_or_default();
                            }
                        }
                    }
                });
            }
        });
        let failed = failed.into_inner().unwrap_or_default();
        println!("\n{} runs of sickbay on hostile targets", runs.into_inner());
        println!("{} passed, {} failed", scenarios.len() - failed.len(), failed.len());
        if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", "))) }
    }

    /// Runs one scenario in a mount namespace of its own; gives how often it ran sickbay.
    fn withstands(&self, scenario: &Scenario, sickbay: &Path, base: &Path, place: &Path) -> Result<usize, String> {
        let dir =
            tempfile::Builder::new().prefix(&scenario.name).tempdir_in(place).map_err(|error| error.to_string())?;
        let this = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut bash = Command::new("unshare");
        bash.args(["--mount", "--propagation", "private", "--", "bash", "-c", ". \"$1\"; . \"$2\"", "bash"]);
        bash.arg(scenarios_dir().join("lib.bash")).arg(&scenario.path).stdin(Stdio::null());
        bash.env("D", dir.path()).env("BASE", base).env("SICKBAY", sickbay).env("XTASK", this);
        bash.env("SLOWLY", self.slowly.to_string());
        let out = output(&mut bash)?;
        if !out.status.success() {
            return Err(String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).trim().to_owned());
        }
        let runs = fs::read_to_string(dir.path().join("runs")).unwrap_or_default();
        match runs.trim().parse() {
            Ok(count) => Ok(count),
            Err(_) => Err("it never ran sickbay".to_owned()),
        }
    }
}

fn scenarios_dir() -> PathBuf {
    workspace().join("lab/hostile")
}

fn all() -> Result<Vec<Scenario>, String> {
    let mut all = Vec::new();
    for entry in fs::read_dir(scenarios_dir()).map_err(|error| error.to_string())? {
        let path = entry.map_err(|error| error.to_string())?.path();
        if path.extension().is_none_or(|extension| extension != "sh") {
            continue;
        }
        let text = fs::read_to_string(&path).map_err(|error| error.to_string())?;
        let comment = |word: &str| text.lines().find_map(|line| line.strip_prefix("# ")?.strip_prefix(word));
        all.push(Scenario {
            name: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            what: comment("what: ").ok_or_else(|| format!("{} has no `# what: `", path.display()))?.to_owned(),
            is_short: comment("short").is_some(),
            path,
        });
    }
    all.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(all)
}

/// Runs a command with our own standard streams, kills it when it takes too long, and writes what it took.
fn measure(file: &Path, limit: Duration, command: &[String]) -> Result<(), String> {
    let (program, arguments) = command.split_first().ok_or("no command")?;
    let begun = Instant::now();
    let mut child = Command::new(program).args(arguments).spawn().map_err(|error| format!("{program}: {error}"))?;
    let (status, peak) = watch(&mut child, Some(limit))?;
    let code = match status.map(|status| status.code()) {
        None => "late".to_owned(),
        Some(Some(code)) => code.to_string(),
        Some(None) => "killed".to_owned(),
    };
    let line = format!("{code} {} {peak}\n", begun.elapsed().as_millis());
    fs::write(file, line).map_err(|error| error.to_string())
}
