//! The checkers of file systems: run on a view, so that what they do is judged before the disk sees any of it.
//!
//! A journal is replayed first, as mounting would, so that a disk that merely lost its power shows nothing. Then the
//! checker looks without changing anything; only when it complains it repairs; then it looks again.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use sickbay_formats::superblock::condition::{Condition, Copy, Sign};

use crate::command::{Output, is_installed, run};
use crate::mounts::{Mounts, Recipe};

/// How long a checker may take: those of large file systems take hours.
const DEADLINE: Duration = Duration::from_secs(12 * 3600);

/// How much is kept of what it says.
const LIMIT: usize = 8 << 20;

/// Programs that know a file system, and the package that they are in.
const E2FSCK: (&str, &str) = ("e2fsck", "e2fsprogs");
const XFS_REPAIR: (&str, &str) = ("xfs_repair", "xfsprogs");
const BTRFS: (&str, &str) = ("btrfs", "btrfs-progs");

/// What a checker said of a volume, and what became of it on the view.
#[derive(Debug, Clone)]
pub struct Examined {
    /// Which of [`Target::volumes`](crate::Target::volumes).
    pub volume: usize,
    /// The checker: "e2fsck".
    pub program: &'static str,
    /// How it ended.
    pub verdict: Verdict,
    /// What its superblock said before; with [`Sign::Lost`] when only a copy was left of it.
    pub signs: Vec<Sign>,
    /// Why it could not be mounted before, if it was tried and could not.
    pub refused: Option<String>,
    /// The first complaints, as the checker words them.
    pub complaints: Vec<String>,
    /// Everything that was run and said.
    pub log: String,
}

/// How an examination ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It fits together.
    Sound,
    /// It did not, or had errors recorded, and on the view it is mended: the checker found nothing afterwards.
    Mended {
        /// It fitted together, and only the record of errors was cleared.
        was_sound: bool,
        /// Its root directory was lost and made anew: what was in it is in lost+found under numbers.
        root_made_anew: bool,
    },
    /// It does not, and the checker does not mend it.
    Beyond(String),
    /// The disk below it cannot be read in places: the checker's words. To mend it there would be to write over what a better
    /// reader may still get off the disk.
    Unreadable(String),
    /// It could not be told: the checker is missing, or older than the file system.
    Untold(String),
}

/// A file system to be examined.
pub(crate) struct Patient<'a> {
    /// A node of the view that can be written.
    pub(crate) device: PathBuf,
    pub(crate) fstype: &'a str,
    pub(crate) condition: Option<&'a Condition>,
    /// A copy of its superblock, when the first is lost.
    pub(crate) copy: Option<&'a Copy>,
    /// The kernel does not mount it.
    pub(crate) is_refused: bool,
    /// How it is mounted for writing.
    pub(crate) recipe: Option<Recipe>,
}

/// The checker for a type of file system.
pub(crate) fn program(fstype: &str) -> Option<&'static str> {
    match fstype {
        "ext2" | "ext3" | "ext4" => Some(E2FSCK.0),
        "xfs" => Some(XFS_REPAIR.0),
        "btrfs" => Some(BTRFS.0),
        _ => None,
    }
}

/// Examines it and mends it where that can be done without guessing.
pub(crate) fn examine(patient: &Patient<'_>, mounts: &Mounts) -> (Verdict, Vec<String>, String) {
    let mut session = Session { patient, log: String::new(), complaints: Vec::new() };
    let verdict = match patient.fstype {
        "xfs" => session.xfs(mounts),
        "btrfs" => session.btrfs(),
        _ => session.ext(),
    };
    (verdict.unwrap_or_else(|verdict| verdict), session.complaints, session.log)
}

struct Session<'a> {
    patient: &'a Patient<'a>,
    log: String,
    complaints: Vec<String>,
}

/// Early ends are verdicts too.
type Ended = Result<Verdict, Verdict>;

impl Session<'_> {
    /// Runs a checker on the device; gives its status and what it said.
    fn run(&mut self, (program, package): (&str, &str), args: &[&str]) -> Result<(i32, String), Verdict> {
        if !is_installed(program) {
            return Err(Verdict::Untold(format!("{program} is not installed on this machine: install {package}")));
        }
        let device = self.patient.device.display().to_string();
        let mut all = args.to_vec();
        all.push(&device);
        let output: Output =
            run(program, &all, b"", DEADLINE, LIMIT).map_err(|error| Verdict::Untold(error.to_string()))?;
        let said = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
        let said = String::from_utf8_lossy(&said).replace(&device, "DEVICE");
        let status = output.status.code().unwrap_or(128);
        self.log.push_str(&format!("$ {program} {} DEVICE\n{said}\n(status {status})\n\n", args.join(" ")));
        Ok((status, said))
    }

    /// Exit status of e2fsck(8): 1 corrected, 2 corrected and a reboot is needed, 4 left uncorrected, 8 operational
    /// error, 16 usage, 32 cancelled, 128 library error.
    fn ext(&mut self) -> Ended {
        let is_dirty = self.patient.condition.is_some_and(|condition| condition.to_be_replayed);
        let mut looked = None;
        if is_dirty && self.patient.copy.is_none() {
            // Where the kernel refuses it, its group descriptors may be bad. To replay the journal by them would write them
            // over their copies, from which they can be restored.
            if self.patient.is_refused {
                looked = Some(self.run(E2FSCK, &["-fn"])?);
            }
            if looked.as_ref().is_none_or(|(_, said)| !said.contains("trying backup blocks")) {
                // Versions before 1.43 do not know this, and leave it to the repair.
                self.run(E2FSCK, &["-p", "-E", "journal_only"])?;
                looked = None;
            }
        }
        let (status, said) = match looked {
            Some(looked) => looked,
            None => self.run(E2FSCK, &["-fn"])?,
        };
        too_old(&said, "Get a newer version of e2fsck", E2FSCK)?;
        self.is_readable(&said)?;
        let recorded = self.patient.condition.is_some_and(|condition| {
            condition.signs.iter().any(|sign| matches!(sign, Sign::Errors | Sign::Recorded { .. }))
        });
        let was_sound = status == 0;
        if was_sound && !recorded && self.patient.copy.is_none() {
            return Ok(Verdict::Sound);
        }
        if !was_sound {
            self.complain(&said);
        }
        let from_copy = self.patient.copy.map(|copy| (copy.at / copy.block.max(1), copy.block));
        let place = from_copy.map(|(number, size)| (number.to_string(), size.to_string()));
        let mut repair = vec!["-fy"];
        if let Some((number, size)) = &place {
            repair.extend(["-b", number, "-B", size]);
        }
        let mut root_made_anew = false;
        // What one run mends may show more.
        for _ in 0..3 {
            let (status, said) = self.run(E2FSCK, &repair)?;
            root_made_anew |= said.contains("Root inode not allocated.");
            if status >= 8 {
                return Ok(Verdict::Beyond(last_line(&said, E2FSCK.0, status)));
            }
            // What it says where it gives up a table of inodes, and all files in it.
            if said.contains("SEVERE DATA LOSS POSSIBLE") {
                return Ok(Verdict::Beyond(
                    "e2fsck could repair it only by giving up files that may still be there: keep a copy of the disk, then try its other superblocks (mke2fs -n shows where they are, e2fsck -b uses one)"
                        .into(),
                ));
            }
            repair = vec!["-fy"];
            let (status, _) = self.run(E2FSCK, &["-fn"])?;
            if status == 0 {
                return Ok(Verdict::Mended { was_sound, root_made_anew });
            }
        }
        Ok(Verdict::Beyond("e2fsck still finds errors after three runs".into()))
    }

    /// Exit status of xfs_repair(8): with -n 1 for damage; else 1 when it failed, 2 for a log that must be replayed
    /// first.
    fn xfs(&mut self, mounts: &Mounts) -> Ended {
        if let (Some(recipe), None) = (&self.patient.recipe, self.patient.copy) {
            // Only mounting replays the log.
            let replayed = mounts.mount(&self.patient.device, recipe).and_then(|root| {
                drop(root);
                mounts.unmount()
            });
            self.log.push_str(&match replayed {
                Ok(()) => "mounted and unmounted to replay the log\n\n".to_owned(),
                Err(error) => format!("it cannot be mounted to replay the log: {error}\n\n"),
            });
        }
        let (status, said) = self.run(XFS_REPAIR, &["-n"])?;
        too_old(&said, "nsupported filesystem features", XFS_REPAIR)?;
        too_old(&said, "Superblock has unknown", XFS_REPAIR)?;
        self.is_readable(&said)?;
        if status == 0 {
            return Ok(Verdict::Sound);
        }
        self.complain(&said);
        let (status, said) = self.run(XFS_REPAIR, &[])?;
        let root_made_anew = said.contains("reinitializing root directory");
        match status {
            0 | 4 => {}
            2 => {
                return Ok(Verdict::Beyond(
                    "its log must be replayed first, and it cannot be mounted: keep a copy of the disk, then decide whether to discard the log (xfs_repair -L)"
                        .into(),
                ));
            }
            status => return Ok(Verdict::Beyond(last_line(&said, XFS_REPAIR.0, status))),
        }
        let (status, said) = self.run(XFS_REPAIR, &["-n"])?;
        if status != 0 {
            return Ok(Verdict::Beyond(last_line(&said, XFS_REPAIR.0, status)));
        }
        Ok(Verdict::Mended { was_sound: false, root_made_anew })
    }

    /// btrfs-check(8) mends nothing without danger; superblocks are copied from each other (btrfs-rescue(8): 0 all were
    /// right, 2 recovered).
    fn btrfs(&mut self) -> Ended {
        let is_lost = self.patient.copy.is_some()
            || self
                .patient
                .condition
                .is_some_and(|condition| condition.signs.iter().any(|sign| matches!(sign, Sign::Lost { .. })));
        if is_lost {
            let (status, said) = self.run(BTRFS, &["rescue", "super-recover", "-y"])?;
            if !matches!(status, 0 | 2) {
                return Ok(Verdict::Beyond(last_line(&said, BTRFS.0, status)));
            }
        }
        let (status, said) = self.run(BTRFS, &["check", "--readonly"])?;
        if said.contains("is missing") {
            return Err(Verdict::Untold("it is on several devices, and not all of them are here".into()));
        }
        too_old(&said, "unsupported option", BTRFS)?;
        match (status, is_lost) {
            (0, true) => Ok(Verdict::Mended { was_sound: false, root_made_anew: false }),
            (0, false) => Ok(Verdict::Sound),
            _ => {
                self.complain(&said);
                Ok(Verdict::Beyond(
                    "there is no safe repair for the trees of btrfs: save the files (mount -o ro,rescue=all, or btrfs restore), then recreate it"
                        .into(),
                ))
            }
        }
    }

    /// Of btrfs such an error says nothing: it gives it for a checksum that does not fit, too.
    fn is_readable(&mut self, said: &str) -> Result<(), Verdict> {
        let Some(line) = said.lines().find(|line| line.contains("Input/output error")) else { return Ok(()) };
        self.complain(said);
        Err(Verdict::Unreadable(line.trim().chars().take(200).collect()))
    }

    /// Keeps the first lines that are complaints.
    fn complain(&mut self, said: &str) {
        let is_noise = |line: &str| {
            let starts = [
                "Pass ",
                "e2fsck ",
                "Phase ",
                "- ",
                "Fix? ",
                "Opening filesystem",
                "Checking filesystem",
                "UUID: ",
                "[",
            ];
            let parts = [
                "** ",
                "WARNING: Filesystem still has errors",
                "No modify flag set",
                " files (",
                "skipping",
                "not attempting",
                "would have been",
                "Only ",
            ];
            line.is_empty() || starts.iter().any(|s| line.starts_with(s)) || parts.iter().any(|s| line.contains(s))
        };
        let lines = said.lines().map(str::trim).filter(|line| !is_noise(line));
        self.complaints = lines.take(5).map(|line| line.chars().take(200).collect()).collect();
    }
}

fn too_old(said: &str, words: &str, (program, package): (&str, &str)) -> Result<(), Verdict> {
    let Some(line) = said.lines().find(|line| line.contains(words)) else { return Ok(()) };
    let line = line.trim();
    Err(Verdict::Untold(format!("this machine's {program} is too old for it: a newer {package} is needed ({line})")))
}

fn last_line(said: &str, program: &str, status: i32) -> String {
    match said.lines().rev().map(str::trim).find(|line| !line.is_empty()) {
        Some(line) => format!("{program} gave up: {line}"),
        None => format!("{program} ended with status {status}"),
    }
}

/// Whether the kernel's refusal to mount may come of damage.
pub(crate) fn may_be_damage(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EINVAL | libc::EUCLEAN | libc::EBADMSG | libc::EIO | libc::EFBIG | libc::EOVERFLOW)
    )
}
