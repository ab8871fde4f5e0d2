//! What it costs to watch the running system.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::cost;
use super::record::{SECONDS, Threads, steady};

/// A second of it on a terminal that nobody looks at.
pub(super) fn watch(sickbay: &Path) -> Result<(), String> {
    let threads = Threads::start();
    let command = format!("exec '{}' watch", sickbay.display());
    // Its input stays open: the end of it would be a key.
    let mut terminal = Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .env("TERM", "xterm")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| format!("script: {error}"))?;
    std::thread::sleep(std::time::Duration::from_secs(1));
    let parent = terminal.id();
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    let pid = children.split_whitespace().next().and_then(|pid| pid.parse().ok());
    let pid: u32 = pid.ok_or("script started nothing")?;
    let told = steady(pid);
    let ended = Command::new("kill").arg("-TERM").arg(pid.to_string()).status();
    ended.map_err(|error| error.to_string())?;
    terminal.wait().map_err(|error| error.to_string())?;
    drop(threads);
    let second = told.cpu / u32::try_from(SECONDS).unwrap_or(1);
    println!("watching every second, with 2,000 threads more");
    println!("  {:.2} % of a CPU (at most 2); {:.2} ms a second", second.as_secs_f64() * 100.0, cost::ms(second));
    println!("  memory: {} KiB of its own", told.anonymous);
    Ok(())
}
