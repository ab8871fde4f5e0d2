//! `cargo xtask bench`: what a look costs, as ratios to the kernel's own cost and to peers in the same run.
//!
//! Nothing here fails because a machine is slow: it prints, and a person judges.

mod cost;
mod memory;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use self::cost::{Cost, median};
use crate::lab::disk::{BASE, output, succeed};

/// What is to be measured.
#[derive(Debug, clap::Args)]
pub struct Bench {
    /// How often each command is run; the median counts
    #[arg(long, default_value_t = 7)]
    runs: usize,
    /// The program `ec2rl.py`, where it is
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
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// A cold disk
    Disk,
    /// This machine
    Host,
    /// Its packaged files
    Packages,
    /// A kernel log of 1 GiB
    Log,
    /// The ledger of the memory, with 600 processes more
    Ledger,
}

impl Bench {
    /// Does it.
    pub fn run(&self) -> Result<(), String> {
        if let Some(list) = &self.read {
            return read(list);
        }
        if self.rollups {
            return memory::rollups();
        }
        let sickbay = crate::lab::build()?;
        println!("{} runs each, medians; wall and CPU in ms\n", self.runs);
        for part in [Part::Disk, Part::Host, Part::Packages, Part::Log, Part::Ledger] {
            if self.only.is_some_and(|only| only != part) {
                continue;
            }
            match part {
                Part::Disk => self.disk(&sickbay)?,
                Part::Host => self.host(&sickbay)?,
                Part::Packages => self.packages(&sickbay)?,
                Part::Log => memory::log(&sickbay, self.runs)?,
                Part::Ledger => memory::ledger(&sickbay, self.runs)?,
            }
        }
        Ok(())
    }

    /// `check` of a disk that is not in the page cache, against attaching it, mounting it and reading the same bytes.
    fn disk(&self, sickbay: &Path) -> Result<(), String> {
        let image = fs::canonicalize(BASE.healthy()?).map_err(|error| error.to_string())?;
        let list = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
        let files = files_read(sickbay, &image)?;
        let text: String = files.iter().map(|(path, bytes)| format!("{bytes} {path}\n")).collect();
        fs::write(list.path(), text).map_err(|error| error.to_string())?;
        let this = std::env::current_exe().map_err(|error| error.to_string())?;
        // The first partition of base.sh begins at 1 MiB and has 2400 MiB.
        let script = r#"set -e
loop=$(losetup --find --show --read-only --offset 1048576 --sizelimit 2516582400 "$1")
trap 'losetup -d "$loop"' EXIT
dir=$(mktemp -d)
mount -o ro,noload "$loop" "$dir"
cd "$dir"
"$2" bench --read "$3"
cd /
umount "$dir"
rmdir "$dir""#;
        let mut ours = Vec::new();
        let mut theirs = Vec::new();
        for _ in 0..self.runs {
            uncache(&image)?;
            ours.push(Cost::of(Command::new(sickbay).arg("check").arg(&image))?);
            uncache(&image)?;
            let mut by_hand = Command::new("unshare");
            by_hand.args(["--mount", "--propagation", "private", "--", "sh", "-c", script, "sh"]);
            theirs.push(Cost::of(by_hand.arg(&image).arg(&this).arg(list.path()))?);
        }
        let bytes: u64 = files.values().sum();
        println!("a cold disk, {} files, {} KiB of them read", files.len(), bytes / 1024);
        let (ours, theirs) = (median(&ours), median(&theirs));
        cost::compare("sickbay check DISK", ours, "attach, mount, read by hand", theirs, |cost| cost.wall, 1.5);
        println!("  peak memory {:.1} MiB (at most 64)\n", ours.peak as f64 / 1024.0);
        Ok(())
    }

    /// Every packaged file of this machine: looked at, and read against md5sum on as many cores.
    fn packages(&self, sickbay: &Path) -> Result<(), String> {
        let mut look = Command::new(sickbay);
        look.args(["check", "--only", "package-file-missing", "--only", "package-file-empty"]);
        let looks = (0..self.runs).map(|_| Cost::of(&mut look)).collect::<Result<Vec<_>, _>>()?;
        println!("packaged files of this machine");
        println!("  looked at: wall {:.1} ms (at most 300)", cost::ms(median(&looks).wall));
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
            None => println!("  ec2rl is not here: give its program with --ec2rl"),
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

/// Which files of the disk a look reads and how many bytes of each, as strace sees it: those of the root by their path in
/// it, without a slash before, and the image itself.
fn files_read(sickbay: &Path, image: &Path) -> Result<BTreeMap<String, u64>, String> {
    let log = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-s", "0", "-e", "trace=read,pread64", "-o"]).arg(log.path());
    output(strace.arg(sickbay).arg("check").arg(image))?;
    let text = fs::read_to_string(log.path()).map_err(|error| error.to_string())?;
    let mut files = BTreeMap::new();
    for line in text.lines() {
        // 123 read(7</run/etc/fstab>, ""..., 65536) = 113, where /run is the place of the private mount.
        let Some((_, rest)) = line.split_once("read(").or_else(|| line.split_once("pread64(")) else { continue };
        let Some((descriptor, tail)) = rest.split_once(">, ") else { continue };
        let Some((_, path)) = descriptor.split_once('<') else { continue };
        let Some(bytes) = tail.rsplit_once("= ").and_then(|(_, bytes)| bytes.trim().parse::<u64>().ok()) else {
            continue;
        };
        let name = match path.strip_prefix("/run/") {
            Some(inside) => inside,
            None if Path::new(path) == image => path,
            // This machine's own: /proc, /sys, the program's libraries.
            None => continue,
        };
        *files.entry(name.to_owned()).or_insert(0) += bytes;
    }
    if files.len() < 10 {
        return Err(format!("strace saw only {} files read: is it installed?", files.len()));
    }
    Ok(files)
}

/// Reads so many bytes of each file as the list says; what is not there is passed over.
fn read(list: &Path) -> Result<(), String> {
    let text = fs::read_to_string(list).map_err(|error| error.to_string())?;
    let mut buffer = Vec::new();
    for line in text.lines() {
        let Some((bytes, path)) = line.split_once(' ') else { continue };
        let Ok(file) = fs::File::open(path) else { continue };
        buffer.clear();
        file.take(bytes.parse().unwrap_or(0)).read_to_end(&mut buffer).map_err(|error| format!("{path}: {error}"))?;
    }
    Ok(())
}

/// Drops a file's pages from the cache.
fn uncache(path: &Path) -> Result<(), String> {
    let mut dd = Command::new("dd");
    dd.arg(format!("if={}", path.display())).args(["iflag=nocache", "count=0", "status=none"]);
    succeed(&mut dd).map(drop)
}
