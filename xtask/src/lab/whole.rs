//! What is tried on the whole: the healthy disk, five faults at once, and a `fix` that is killed.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::disk::{BASE, Copy, Disk, checksum, difference, output, succeed};
use super::faults::{FAULTS, FIVE, Way};
use super::guest::{Guest, Stop};
use super::trial::{Lab, Row, expect_same, text};

impl Lab {
    /// On a healthy disk nothing is found, a look changes no byte, root can log in both ways, and nothing is found on the
    /// running system either.
    pub(super) fn pristine(&self, disk: &'static Disk) -> Row {
        row(disk.pristine, disk, disk.what, |row| {
            let healthy = disk.healthy()?;
            let before = checksum(&healthy)?;
            let notes = self.expect_clear(&healthy)?;
            if !notes.is_empty() {
                return Err(format!("notes of the healthy disk: {notes:?}"));
            }
            if checksum(&healthy)? != before {
                return Err("the look changed the disk".to_owned());
            }
            if self.boots {
                let copy = Copy::of(&healthy, disk.pristine)?;
                disk.change(&copy.path, &format!("install {} $R/usr/local/bin/sickbay", self.sickbay.display()))?;
                let mut guest = Guest::start(&copy.path, disk)?;
                let told = |stop: Stop| format!("{}\n{}", stop.symptom, stop.console);
                guest.log_in_by_ssh().map_err(told)?;
                guest.log_in().map_err(told)?;
                let (mut nothing_found, mut said) = guest.ssh("sickbay", "sickbay check");
                // An emulated machine beside others can be too slow for a look's own limits.
                if !nothing_found && said.contains("took too long") {
                    (nothing_found, said) = guest.ssh("sickbay", "sickbay check");
                }
                if !nothing_found {
                    return Err(format!("on the running system:\n{said}"));
                }
                "logs in on the console and over ssh; nothing is found inside".clone_into(&mut row.before);
            }
            row.undone = "no byte changed";
            Ok(())
        })
    }

    /// Five faults on one disk are repaired by one `fix`.
    pub(super) fn five(&self) -> Row {
        row("five-at-once", &BASE, &FIVE.join(", "), |row| {
            let disk = with_five("five-at-once")?;
            let disk = disk.path.as_path();
            let before = BASE.manifest(disk)?;
            if self.boots {
                row.before = match self.log_in(disk, &BASE, Way::Console) {
                    Ok(()) => return Err("five faults do not break it".to_owned()),
                    Err(stop) => stop.symptom,
                };
            }
            // One of the five is a rule that keeps root out, which somebody may have written on purpose.
            let out = output(Command::new(&self.sickbay).args(["fix", "--yes", "--risky", "--lang", "en"]).arg(disk))?;
            row.repair = format!("{} repairs", text(&out).matches("\nrepaired: ").count());
            self.expect_clear(disk)?;
            self.works_again(disk, &BASE, Way::Console, row)?;
            self.undo(disk, None)?;
            expect_same(&before, &BASE.manifest(disk)?, row)
        })
    }

    /// A `fix` that is killed leaves what `undo` restores and what another `fix` finishes.
    pub(super) fn killed(&self, times: usize) -> Row {
        row("killed", &BASE, &format!("fix killed with SIGKILL at {times} random moments"), |row| {
            let broken = with_five("killed-before")?;
            let before = BASE.manifest(&broken.path)?;
            let fix = |disk: &Path| {
                let mut command = Command::new(&self.sickbay);
                command.args(["fix", "--yes", "--risky"]).arg(disk).stdout(Stdio::null()).stderr(Stdio::null());
                command
            };
            let mut whole = {
                let disk = Copy::of(&broken.path, "killed-whole")?;
                let begun = Instant::now();
                output(&mut fix(&disk.path))?;
                begun.elapsed()
            };
            let mut random = Random::new(self.seed);
            let mut cut_off = 0;
            for turn in 0..times {
                let disk = Copy::of(&broken.path, "killed")?;
                let disk = disk.path.as_path();
                let mut child = fix(disk).spawn().map_err(|error| error.to_string())?;
                let moment = random.up_to(whole);
                std::thread::sleep(moment);
                let _ = child.kill();
                let status = child.wait().map_err(|error| error.to_string())?;
                if status.signal() == Some(9) {
                    cut_off += 1;
                } else {
                    // It was over sooner than the first, which a busy machine may have held up.
                    whole = whole.min(moment);
                }
                let left = succeed(Command::new("losetup").arg("--associated").arg(disk))?;
                if !left.stdout.is_empty() {
                    return Err(format!("a loop device is left: {}", text(&left)));
                }
                if turn % 2 == 1 {
                    output(&mut fix(disk))?;
                    self.expect_clear(disk).map_err(|why| format!("after kill {turn}, fix did not finish: {why}"))?;
                }
                self.undo(disk, None)?;
                if let Some(difference) = difference(&before, &BASE.manifest(disk)?) {
                    return Err(format!("after kill {turn}, undo left a difference:\n  {difference}"));
                }
            }
            if cut_off < times / 2 {
                return Err(format!("only {cut_off} of {times} were killed before their end"));
            }
            row.repair = format!("{cut_off} interrupted; every other one finished by another fix");
            row.undone = "identical";
            Ok(())
        })
    }
}

fn with_five(name: &str) -> Result<Copy, String> {
    let disk = Copy::of(&BASE.healthy()?, name)?;
    for fault in FAULTS.iter().filter(|fault| FIVE.contains(&fault.name)) {
        fault.make(&disk.path)?;
    }
    Ok(disk)
}

/// A row of the table, from what is done for it.
pub(super) fn row(
    name: &str,
    disk: &'static Disk,
    what: &str,
    run: impl FnOnce(&mut Row) -> Result<(), String>,
) -> Row {
    let begun = Instant::now();
    let mut row = Row { name: name.to_owned(), disk: disk.name, what: what.to_owned(), ..Row::default() };
    row.failure = run(&mut row).err();
    row.seconds = begun.elapsed().as_secs();
    row
}

/// xorshift64: enough to choose moments and faults.
pub(super) struct Random(u64);

impl Random {
    /// The same seed gives the same numbers.
    pub(super) fn new(seed: u64) -> Random {
        // Spread, since xorshift begins slowly with a small number, and stays at 0.
        Random(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 11
    }

    /// A number below this one.
    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn up_to(&mut self, most: Duration) -> Duration {
        most.mul_f64(self.next() as f64 / (1u64 << 53) as f64)
    }
}
