//! `cargo xtask bench`: what a look costs, as ratios to the kernel's own cost and to peers in the same run.
//!
//! Nothing here fails because a machine is slow: it prints, and a person judges.

mod cost;
mod disk;
mod memory;
mod record;
mod sockets;
mod threads;
mod trace;
mod watch;

use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) use self::cost::watch;
use self::cost::{Cost, median};
use crate::lab::disk::output;

/// What is to be measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Bench {
    /// How often to run each command; the median counts
    #[arg(long, default_value_t = 7)]
    runs: usize,
    /// Measure this program instead of the one built from here: an older one, to compare with
    #[arg(long, value_name = "FILE")]
    sickbay: Option<PathBuf>,
    /// Path of the program `ec2rl.py`
    #[arg(long, value_name = "FILE")]
    ec2rl: Option<PathBuf>,
    /// Measure only this
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// For the bench itself: reads so many bytes of each file that a list names
    #[arg(long, hide = true, value_name = "LIST")]
    read: Option<PathBuf>,
    /// For the bench itself: reads the smaps_rollup of every process
    #[arg(long, hide = true)]
    rollups: bool,
    /// For the bench itself: reads the stat of every thread
    #[arg(long, hide = true)]
    stats: bool,
    /// For the bench itself: measures in the network namespace that it was started in
    #[arg(long, hide = true)]
    inside: bool,
    /// For the bench itself: has so many connections until its input ends
    #[arg(long, hide = true, value_name = "COUNT")]
    hold: Option<usize>,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// The disk of the lab: cold, and its packaged files
    Disk,
    /// An initramfs of 60 MB
    Initramfs,
    /// This machine
    Host,
    /// Its packaged files
    Packages,
    /// A kernel log of 1 GiB
    Log,
    /// The memory ledger, with 600 more processes
    Ledger,
    /// Every thread of it, with 2,000 more
    Threads,
    /// What recording it costs, with 2,000 more
    Record,
    /// What watching it costs, with 2,000 more
    Watch,
    /// 118,000 TCP sockets in a network namespace
    Sockets,
    /// What being traced costs a command
    Trace,
}

impl Bench {
    /// Does it.
    pub(crate) fn run(&self) -> Result<(), String> {
        if let Some(list) = &self.read {
            return disk::read(list);
        }
        if self.rollups {
            return memory::rollups();
        }
        if self.stats {
            return threads::stats();
        }
        if let Some(connections) = self.hold {
            return sockets::hold(connections);
        }
        if let (true, Some(sickbay)) = (self.inside, &self.sickbay) {
            return sockets::inside(sickbay, self.runs);
        }
        let sickbay = self.sickbay.clone().map_or_else(crate::lab::build, Ok)?;
        println!("{} runs each, medians; wall and CPU in ms\n", self.runs);
        for part in [
            Part::Disk,
            Part::Initramfs,
            Part::Host,
            Part::Packages,
            Part::Log,
            Part::Ledger,
            Part::Threads,
            Part::Record,
            Part::Watch,
            Part::Sockets,
            Part::Trace,
        ] {
            if self.only.is_some_and(|only| only != part) {
                continue;
            }
            match part {
                Part::Disk => {
                    disk::cold(&sickbay, self.runs)?;
                    disk::packages(&sickbay)?;
                }
                Part::Initramfs => disk::initramfs(&sickbay, self.runs)?,
                Part::Host => self.host(&sickbay)?,
                Part::Packages => self.packages(&sickbay)?,
                Part::Log => memory::log(&sickbay, self.runs)?,
                Part::Ledger => memory::ledger(&sickbay, self.runs)?,
                Part::Threads => threads::look(&sickbay, self.runs)?,
                Part::Record => record::record(&sickbay, self.runs)?,
                Part::Watch => watch::watch(&sickbay)?,
                Part::Sockets => sockets::look(&sickbay, self.runs)?,
                Part::Trace => trace::trace(&sickbay, self.runs)?,
            }
        }
        Ok(())
    }

    /// Every packaged file of this machine: looked at, and read against md5sum on as many cores.
    fn packages(&self, sickbay: &Path) -> Result<(), String> {
        let mut look = Command::new(sickbay);
        look.args(["check", "--only", "package-file-missing", "--only", "package-file-empty"]);
        let looks = (0..self.runs).map(|_| Cost::of(&mut look)).collect::<Result<Vec<_>, _>>()?;
        println!("packaged files of this machine");
        println!("  checked: wall {:.1} ms (at most 300)", cost::ms(median(&looks).wall));
        let all = "cd / && cat /var/lib/dpkg/info/*.md5sums | cut -c35- | tr '\\n' '\\0' \
            | xargs -0 -P \"$(nproc)\" -n 200 md5sum >/dev/null 2>&1; true";
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        // It reads gigabytes: once for the page cache, and twice.
        for _ in 0..3 {
            theirs.push(Cost::of(Command::new("sh").args(["-c", all]))?);
            ours.push(Cost::of(Command::new(sickbay).args(["check", "--digests", "--only", "package-file-altered"]))?);
        }
        let (ours, theirs) = (median(&ours), median(&theirs));
        cost::compare("sickbay check --digests", ours, "md5sum on all cores", theirs, |cost| cost.wall, 1.3);
        Ok(())
    }

    /// `check` of this machine against tools that look at a running machine too.
    fn host(&self, sickbay: &Path) -> Result<(), String> {
        let mut ours = Vec::new();
        for _ in 0..self.runs {
            // A run takes less than the kernel's clock tick can tell: twenty at once.
            let script =
                "for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do \"$1\" check >/dev/null; done; true";
            let cost = Cost::of(Command::new("sh").args(["-c", script, "sh"]).arg(sickbay))?;
            ours.push(Cost { wall: cost.wall / 20, cpu: cost.cpu / 20, ..cost });
        }
        // The peak of those runs is the shell's.
        let peak = Cost::of(Command::new(sickbay).arg("check"))?.peak;
        let ours = Cost { peak, ..median(&ours) };
        println!("this machine");
        println!("  sickbay check: wall {:.1}, CPU {:.1}", cost::ms(ours.wall), cost::ms(ours.cpu));
        println!("  peak memory {:.1} MiB (at most 64)", ours.peak as f64 / 1024.0);
        match &self.ec2rl {
            Some(program) => {
                let theirs = Cost::of(Command::new("python3").arg(program).args(["run", "--only-classes=diagnose"]))?;
                cost::compare("sickbay check", ours, "ec2rl run, diagnose modules", theirs, |cost| cost.cpu, 0.1);
            }
            None => println!("  ec2rl is missing: give its program with --ec2rl"),
        }
        if output(Command::new("lynis").arg("--version")).is_ok() {
            let mut lynis = Command::new("lynis");
            lynis.args(["audit", "system", "--quick", "--no-log", "--quiet"]);
            let theirs = Cost::of(&mut lynis)?;
            cost::compare("sickbay check", ours, "lynis audit system --quick", theirs, |cost| cost.cpu, 0.005);
        } else {
            println!("  lynis is not installed");
        }
        Ok(())
    }
}
