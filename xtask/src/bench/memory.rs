//! Logs and the memory of the running system.

use std::fs;
use std::io::{BufWriter, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::cost::{self, Cost, median};
use crate::lab::disk::output;

/// The size of the log.
const LOG: usize = 1 << 30;
/// Reports of the OOM killer in it.
const REPORTS: usize = 200;
/// Processes that are started beside those that are there.
const PROCESSES: usize = 600;
/// What each of them sees, in bytes.
const MEMORY: usize = 12_000_000;

/// `check` of a kernel log of 1 GiB on one core, every incident looked for and 200 reports read whole, against programs
/// that look for one sentence.
pub(super) fn log(sickbay: &Path, runs: usize) -> Result<(), String> {
    let log = tempfile::Builder::new().suffix(".log").tempfile().map_err(|error| error.to_string())?;
    write(log.as_file()).map_err(|error| format!("{}: {error}", log.path().display()))?;
    let one_core = |program: &Path, arguments: &[&str]| {
        let mut command = Command::new("taskset");
        command.args(["-c", "0"]).arg(program).args(arguments).arg(log.path()).env("LC_ALL", "C");
        command
    };
    let median_of = |mut command: Command| -> Result<Cost, String> {
        // The first look is for the page cache. Into a pipe: grep stops at the first hit when nobody reads the count.
        output_of_any(&mut command)?;
        let costs = (0..runs).map(|_| Cost::of_talker(&mut command)).collect::<Result<Vec<_>, _>>()?;
        Ok(median(&costs))
    };
    let words = "invoked oom-killer";
    println!("a kernel log of 1 GiB, {REPORTS} reports of the OOM killer");
    let ours = median_of(one_core(sickbay, &["check"]))?;
    let grep = median_of(one_core(Path::new("grep"), &["-c", words]))?;
    cost::compare("sickbay check LOG", ours, "grep -c", grep, |cost| cost.cpu, 1.0);
    if output(Command::new("rg").arg("--version")).is_ok() {
        let rg = median_of(one_core(Path::new("rg"), &["-c", "-F", words]))?;
        cost::compare("sickbay check LOG", ours, "rg -c -F", rg, |cost| cost.cpu, 2.0);
    } else {
        println!("  rg is not installed");
    }
    println!("  peak memory {:.1} MiB (at most 64)\n", ours.peak as f64 / 1024.0);
    Ok(())
}

/// The log: what a machine says every day, and now and then a report as real machines made it.
fn write(file: &fs::File) -> Result<(), String> {
    let reports = reports()?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let (mut written, mut told) = (0, 0);
    // The numbers of a linear congruential generator (Knuth, MMIX): the same log every time.
    let mut seed: u64 = 1;
    let mut number = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let fail = |error: std::io::Error| error.to_string();
    while written < LOG {
        let (hour, minute, second) = (number(24), number(60), number(60));
        let (a, b, n, pid) = (number(256), number(256), number(100_000), 1000 + number(31_000));
        let said = match number(10) {
            0 => format!("systemd[1]: Started Session {n} of user root."),
            1 => "systemd[1]: Starting Daily apt download activities...".to_owned(),
            2 => {
                format!("sshd[{pid}]: Accepted publickey for deploy from 10.0.{a}.{b} port {pid} ssh2: RSA SHA256:{n}")
            }
            3 => format!("sshd[{pid}]: pam_unix(sshd:session): session opened for user deploy(uid=1000) by (uid=0)"),
            4 => format!("CRON[{pid}]: (root) CMD (   cd / && run-parts --report /etc/cron.hourly)"),
            5 => format!("kernel: [{n}.{pid:06}] eth0: link up, 1000 Mbps, full duplex"),
            6 => format!("kernel: [{n}.{pid:06}] docker0: port 1(veth{pid}) entered forwarding state"),
            7 => format!("kernel: [{n}.{pid:06}] audit: type=1400 audit({n}.{a}:{b}): apparmor=\"STATUS\" name=\"x\""),
            8 => format!("dhclient[{pid}]: DHCPREQUEST for 10.0.{a}.{b} on eth0 to 10.0.0.1 port 67"),
            _ => format!("nginx[{pid}]: 10.0.{a}.{b} - - \"GET /api/v1/items/{n} HTTP/1.1\" 200 {pid}"),
        };
        let line = format!("Jun 12 {hour:02}:{minute:02}:{second:02} web-01 {said}\n");
        out.write_all(line.as_bytes()).map_err(fail)?;
        written += line.len();
        if told < REPORTS && written >= LOG / REPORTS * (told + 1) - LOG / REPORTS / 2 {
            let report = reports.get(told % reports.len()).map(String::as_str).unwrap_or_default();
            for line in report.lines() {
                let line = format!("Jun 12 {hour:02}:{minute:02}:{second:02} web-01 kernel: {line}\n");
                out.write_all(line.as_bytes()).map_err(fail)?;
                written += line.len();
            }
            told += 1;
        }
    }
    out.flush().map_err(fail)
}

/// The first report of each console that the tests have.
fn reports() -> Result<Vec<String>, String> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/sickbay-formats/tests/oom");
    let mut reports = Vec::new();
    for entry in fs::read_dir(&dir).map_err(|error| format!("{}: {error}", dir.display()))?.flatten() {
        if !entry.file_name().to_string_lossy().starts_with("real-") {
            continue;
        }
        let text = fs::read_to_string(entry.path()).map_err(|error| error.to_string())?;
        let mut lines = text.lines().filter(|line| !line.starts_with("#: ")).peekable();
        let mut report: Vec<&str> = lines.next().into_iter().collect();
        while let Some(line) = lines.next_if(|line| !line.contains("invoked oom-killer")) {
            report.push(line);
        }
        reports.push(report.join("\n"));
    }
    if reports.is_empty() { Err(format!("{} has no reports", dir.display())) } else { Ok(reports) }
}

/// The ledger of the memory with 600 processes more than there were, against a loop that reads every smaps_rollup.
pub(super) fn ledger(sickbay: &Path, runs: usize) -> Result<(), String> {
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let workers = Workers::start()?;
    // A run takes less than the kernel's clock tick can tell: ten at once.
    let script = "for n in 1 2 3 4 5 6 7 8 9 10; do \"$@\" >/dev/null; done";
    let ten = |program: &Path, arguments: &[&str]| {
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).arg(program).args(arguments);
        command
    };
    let mut commands = [
        ten(&this, &["bench", "--rollups"]),
        ten(sickbay, &["explain", "memory", "--pss"]),
        ten(sickbay, &["explain", "memory"]),
    ];
    let mut costs = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..runs {
        for (command, costs) in commands.iter_mut().zip(&mut costs) {
            let cost = Cost::of(command)?;
            costs.push(Cost { wall: cost.wall / 10, cpu: cost.cpu / 10, ..cost });
        }
    }
    drop(workers);
    println!("the memory of this machine, with {PROCESSES} processes more");
    let [bare, exact, default] = costs.map(|costs| median(&costs));
    cost::compare("sickbay explain memory --pss", exact, "every smaps_rollup", bare, |cost| cost.cpu, 1.15);
    cost::compare("sickbay explain memory", default, "every smaps_rollup", bare, |cost| cost.cpu, 0.1);
    Ok(())
}

/// Processes that wait until nobody needs them any more.
struct Workers(Child);

impl Workers {
    /// Workers of a server that forks: each sees [`MEMORY`] bytes, which are there once. It takes the kernel about 0.4 ms to
    /// look at one of them, as at the processes of an ordinary server; one of half a megabyte it looks at in a quarter of that.
    fn start() -> Result<Workers, String> {
        let script = format!(
            "memory=$(printf %0{MEMORY}d 0); for n in $(seq {PROCESSES}); do (read -r <&3; true) & done 3<&0; echo; wait"
        );
        let mut parent = Command::new("bash");
        parent.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut workers = Workers(parent.spawn().map_err(|error| error.to_string())?);
        // It says when all of them are there.
        let mut byte = [0];
        let said = workers.0.stdout.as_mut().map(|out| out.read(&mut byte));
        if matches!(said, Some(Ok(1))) { Ok(workers) } else { Err("bash starts no processes".to_owned()) }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        // With the end of their input they end too.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Reads every `/proc/PID/smaps_rollup` and does nothing with it.
pub(super) fn rollups() -> Result<(), String> {
    let mut buffer = vec![0; 16 << 10];
    for entry in fs::read_dir("/proc").map_err(|error| error.to_string())?.flatten() {
        let name = entry.file_name();
        if !name.to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let Ok(mut file) = fs::File::open(Path::new("/proc").join(name).join("smaps_rollup")) else { continue };
        while file.read(&mut buffer).is_ok_and(|length| length > 0) {}
    }
    Ok(())
}

/// Runs a command whatever its status.
fn output_of_any(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().display().to_string();
    command.output().map(drop).map_err(|error| format!("{name}: {error}"))
}
