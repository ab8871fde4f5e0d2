//! What it costs a command to be traced.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::cost::{self, Cost, median};

/// Files that the second command opens.
const FILES: usize = 2000;

/// `/bin/true`, and a command that opens 2,000 files, by themselves, under `sickbay trace` and under `strace -f`.
pub(super) fn trace(sickbay: &Path, runs: usize) -> Result<(), String> {
    let dir = std::env::temp_dir().join(format!("sickbay-bench-trace-{}", std::process::id()));
    fs::create_dir_all(&dir).map_err(|error| error.to_string())?;
    for number in 0..FILES {
        fs::write(dir.join(number.to_string()), "x").map_err(|error| error.to_string())?;
    }
    let all = format!("exec cat {}/*", dir.display());
    let told = [("/bin/true", vec!["/bin/true"]), ("2,000 files", vec!["sh", "-c", &all])]
        .into_iter()
        .try_for_each(|(name, command)| one(sickbay, runs, name, &command));
    fs::remove_dir_all(&dir).map_err(|error| error.to_string())?;
    told
}

fn one(sickbay: &Path, runs: usize, name: &str, command: &[&str]) -> Result<(), String> {
    let (mut plain, mut ours, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    // In turn, so that all meet the same machine.
    for _ in 0..runs.max(5) * 3 {
        let (program, words) = command.split_first().ok_or("no command")?;
        plain.push(Cost::of(Command::new(program).args(words))?);
        ours.push(Cost::of(Command::new(sickbay).args(["trace", "--"]).args(command))?);
        theirs.push(Cost::of(Command::new("strace").args(["-f", "-o", "/dev/null", "--"]).args(command))?);
    }
    let plain = median(&plain).wall;
    let slower = |costs: &[Cost]| Cost { wall: median(costs).wall.saturating_sub(plain), ..median(costs) };
    println!("how much slower a command is that is traced: {name}, {:.2} ms by itself", cost::ms(plain));
    cost::compare("sickbay trace", slower(&ours), "strace -f", slower(&theirs), |cost| cost.wall, 1.0 / 3.0);
    Ok(())
}
