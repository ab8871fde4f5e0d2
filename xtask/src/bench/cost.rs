//! What a command costs.

use std::fs;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Of one run, or the medians of several.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cost {
    /// From its start to its end.
    pub wall: Duration,
    /// Processor time of it and its children, in the kernel's ticks of 10 ms.
    pub cpu: Duration,
    /// The most memory that the process itself had at a time, in KiB (VmHWM).
    pub peak: u64,
}

impl Cost {
    /// Runs a command to its end, whatever its status.
    pub(super) fn of(command: &mut Command) -> Result<Cost, String> {
        Cost::with_output(command, Stdio::null())
    }

    /// The same into a pipe. What a command says must be short: nobody reads it.
    pub(super) fn of_talker(command: &mut Command) -> Result<Cost, String> {
        Cost::with_output(command, Stdio::piped())
    }

    fn with_output(command: &mut Command, output: Stdio) -> Result<Cost, String> {
        let name = command.get_program().display().to_string();
        let before = children_ticks();
        let begun = Instant::now();
        let child = command.stdin(Stdio::null()).stdout(output).stderr(Stdio::null()).spawn();
        let mut child = child.map_err(|error| format!("{name}: {error}"))?;
        let (_, peak) = watch(&mut child, None)?;
        let wall = begun.elapsed();
        let cpu = Duration::from_millis(10 * (children_ticks() - before));
        Ok(Cost { wall, cpu, peak })
    }
}

/// The medians of each part.
pub(super) fn median(costs: &[Cost]) -> Cost {
    fn middle<T: Ord + Copy + Default>(costs: &[Cost], part: impl Fn(&Cost) -> T) -> T {
        let mut all: Vec<T> = costs.iter().map(part).collect();
        all.sort_unstable();
        all.get(all.len() / 2).copied().unwrap_or_default()
    }
    Cost {
        wall: middle(costs, |cost| cost.wall),
        cpu: middle(costs, |cost| cost.cpu),
        peak: costs.iter().map(|cost| cost.peak).max().unwrap_or(0),
    }
}

/// Prints both and the ratio of what counts.
pub(super) fn compare(
    ours: &str,
    our_cost: Cost,
    theirs: &str,
    their_cost: Cost,
    part: fn(&Cost) -> Duration,
    most: f64,
) {
    for (name, cost) in [(ours, our_cost), (theirs, their_cost)] {
        println!("  {name}: wall {:.1}, CPU {:.1}", ms(cost.wall), ms(cost.cpu));
    }
    let ratio = part(&our_cost).as_secs_f64() / part(&their_cost).as_secs_f64().max(1e-9);
    println!("  ratio {ratio:.4} (at most {most})");
}

/// Milliseconds.
pub(super) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Fields 16 and 17 of /proc/self/stat (proc(5)): user and system time of children that were waited for.
fn children_ticks() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field is the name in parentheses, which may hold blanks.
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect::<Vec<_>>()).unwrap_or_default();
    let number = |index: usize| fields.get(index - 3).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    number(16) + number(17)
}

/// Waits for a child, which is killed when it takes longer than `limit`. Gives how it ended, unless it was killed for that, and
/// the most memory that it had at a time, in KiB.
pub(crate) fn watch(child: &mut Child, limit: Option<Duration>) -> Result<(Option<ExitStatus>, u64), String> {
    let begun = Instant::now();
    let file = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let mut is_late = false;
    loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            return Ok(((!is_late).then_some(status), peak));
        }
        // The high-water mark only grows, so the last look is the one that counts.
        peak = high_water(&file).unwrap_or(peak).max(peak);
        if !is_late && limit.is_some_and(|limit| begun.elapsed() > limit) {
            is_late = true;
            child.kill().map_err(|error| error.to_string())?;
        }
        std::thread::sleep(Duration::from_micros(500));
    }
}

fn high_water(status: &str) -> Option<u64> {
    let text = fs::read_to_string(status).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}
