//! What it costs to look at every thread of a machine that has many.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::cost::{self, Cost, median};

/// So many threads sleep meanwhile.
const THREADS: usize = 2000;

/// So often everything is read within one measurement: once takes less than the clock tick tells.
const TIMES: usize = 20;

/// One look at 2,000 threads against a loop that does nothing but read the `stat` of each.
pub(super) fn look(sickbay: &Path, runs: usize) -> Result<(), String> {
    let sleep = || std::thread::Builder::new().stack_size(64 << 10).spawn(std::thread::park);
    let sleepers = (0..THREADS).map_while(|_| sleep().ok()).count();
    println!("{sleepers} threads more");
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let script = format!("n=0; while [ $n -lt {TIMES} ]; do \"$@\" >/dev/null || exit 1; n=$((n+1)); done");
    let repeated = |program: &Path, words: &[&str]| {
        let mut command = Command::new("sh");
        command.args(["-c", &script, "sh"]).arg(program).args(words);
        Cost::of(&mut command)
    };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    // In turns: what else the machine does falls on both.
    for _ in 0..runs {
        theirs.push(repeated(&own, &["bench", "--stats"])?);
        ours.push(repeated(sickbay, &["explain", "load", "--for", "0"])?);
    }
    let (ours, theirs) = (median(&ours), median(&theirs));
    cost::compare("sickbay explain load --for 0", ours, "reading every stat", theirs, |cost| cost.cpu, 1.3);
    Ok(())
}

/// The loop to compare with.
pub(super) fn stats() -> Result<(), String> {
    let mut bytes = 0;
    for process in fs::read_dir("/proc").map_err(|error| error.to_string())?.flatten() {
        let Ok(threads) = fs::read_dir(process.path().join("task")) else { continue };
        for thread in threads.flatten() {
            bytes += fs::read(thread.path().join("stat")).map_or(0, |text| text.len());
        }
    }
    println!("{bytes}");
    Ok(())
}
