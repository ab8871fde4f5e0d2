//! What is tried on the whole: the healthy disk, five faults at once, and a `fix` that is killed.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use super::disk::{Copy, checksum, difference, inside, manifest, output, succeed};
use super::faults::{FAULTS, FIVE};
use super::guest::Guest;
use super::trial::{Lab, Row, text};

impl Lab {
    /// On the healthy disk nothing is found, a look changes no byte, and root can log in both ways.
    pub fn pristine(&self) -> Row {
        row("pristine", "nothing", |row| {
            let before = checksum(&self.healthy)?;
            let notes = self.expect_clear(&self.healthy)?;
            if !notes.is_empty() {
                return Err(format!("notes of the healthy disk: {notes:?}"));
            }
            if checksum(&self.healthy)? != before {
                return Err("the look changed the disk".to_owned());
            }
            let mut guest = Guest::start(&self.healthy)?;
            guest.log_in().map_err(|stop| format!("{}\n{}", stop.symptom, stop.console))?;
            drop(guest);
            let mut guest = Guest::start(&self.healthy)?;
            guest.log_in_by_ssh().map_err(|stop| format!("{}\n{}", stop.symptom, stop.console))?;
            "logs in on the console and over ssh".clone_into(&mut row.before);
            row.undone = "no byte changed";
            Ok(())
        })
    }

    /// Five faults on one disk are repaired by one `fix`.
    pub fn five(&self) -> Row {
        row("five-at-once", &FIVE.join(", "), |row| {
            let disk = self.with_five("five-at-once")?;
            let disk = disk.path.as_path();
            let before = manifest(disk)?;
            row.before = match Guest::start(disk)?.log_in() {
                Ok(()) => return Err("five faults do not break it".to_owned()),
                Err(stop) => stop.symptom,
            };
            let out = output(Command::new(&self.sickbay).args(["fix", "--yes", "--lang", "en"]).arg(disk))?;
            row.repair = format!("{} repairs", text(&out).matches("\nrepaired: ").count());
            self.expect_clear(disk)?;
            let mut guest = Guest::start(disk)?;
            guest.log_in().map_err(|stop| format!("after the repair: {}\n{}", stop.symptom, stop.console))?;
            drop(guest);
            "logs in on the console, a wrong password does not".clone_into(&mut row.after);
            self.undo(disk)?;
            if let Some(difference) = difference(&before, &manifest(disk)?) {
                return Err(format!("undo left a difference:\n  {difference}"));
            }
            row.undone = "identical";
            Ok(())
        })
    }

    /// A `fix` that is killed leaves what `undo` restores and what another `fix` finishes.
    pub fn killed(&self, times: usize) -> Row {
        row("killed", &format!("SIGKILL of fix at {times} random moments"), |row| {
            let broken = self.with_five("killed-before")?;
            let before = manifest(&broken.path)?;
            let fix = |disk: &Path| {
                let mut command = Command::new(&self.sickbay);
                command.args(["fix", "--yes"]).arg(disk).stdout(Stdio::null()).stderr(Stdio::null());
                command
            };
            let whole = {
                let disk = Copy::of(&broken.path, "killed-whole")?;
                let begun = Instant::now();
                output(&mut fix(&disk.path))?;
                begun.elapsed()
            };
            let mut random = Random::new();
            let mut cut_off = 0;
            for turn in 0..times {
                let disk = Copy::of(&broken.path, "killed")?;
                let disk = disk.path.as_path();
                let mut child = fix(disk).spawn().map_err(|error| error.to_string())?;
                std::thread::sleep(random.up_to(whole));
                let _ = child.kill();
                let status = child.wait().map_err(|error| error.to_string())?;
                cut_off += usize::from(status.signal() == Some(9));
                let left = succeed(Command::new("losetup").arg("--associated").arg(disk))?;
                if !left.stdout.is_empty() {
                    return Err(format!("a loop device is left: {}", text(&left)));
                }
                if turn % 2 == 1 {
                    output(&mut fix(disk))?;
                    self.expect_clear(disk).map_err(|why| format!("after kill {turn}, fix did not finish: {why}"))?;
                }
                self.undo(disk)?;
                if let Some(difference) = difference(&before, &manifest(disk)?) {
                    return Err(format!("after kill {turn}, undo left a difference:\n  {difference}"));
                }
            }
            if cut_off < times / 2 {
                return Err(format!("only {cut_off} of {times} were killed before their end"));
            }
            row.repair = format!("{cut_off} cut off; every other one finished by another fix");
            row.undone = "identical";
            Ok(())
        })
    }

    fn with_five(&self, name: &str) -> Result<Copy, String> {
        let disk = Copy::of(&self.healthy, name)?;
        for fault in FAULTS.iter().filter(|fault| FIVE.contains(&fault.name)) {
            inside(&disk.path, "rw", fault.snippet)?;
        }
        Ok(disk)
    }
}

fn row(name: &str, what: &str, run: impl FnOnce(&mut Row) -> Result<(), String>) -> Row {
    let begun = Instant::now();
    let mut row = Row { name: name.to_owned(), what: what.to_owned(), ..Row::default() };
    row.failure = run(&mut row).err();
    row.seconds = begun.elapsed().as_secs();
    row
}

/// xorshift64: enough to choose moments.
struct Random(u64);

impl Random {
    fn new() -> Random {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Random(now.as_nanos() as u64 | 1)
    }

    fn up_to(&mut self, most: Duration) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        most.mul_f64((self.0 >> 11) as f64 / (1u64 << 53) as f64)
    }
}
