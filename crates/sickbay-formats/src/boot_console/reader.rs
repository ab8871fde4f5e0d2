//! Goes once over a console and keeps what matters of its last boot.

use super::lines::{Piece, pieces};
use super::rules::{DAMAGED, Meaning, NO_ROOT, Part, Suspect, failed_driver, is_of_storage, meaning, stage_of};
use super::{Cause, Console, Said, Stage, Stop, Verdict};

/// Reads a console. Feed it blocks of whole lines with [`Reader::block`]; ask at any time with [`Reader::console`].
#[derive(Clone, Debug, Default)]
pub struct Reader {
    /// Lines that were read.
    lines: usize,
    boots: usize,
    is_console: bool,
    boot: Boot,
    /// The boot before a kernel that was started to write a dump: that is no boot of the system.
    crashed: Option<Box<Boot>>,
}

/// What is known of one boot.
#[derive(Clone, Debug)]
struct Boot {
    begin: usize,
    part: Option<Part>,
    at: Stage,
    kernel: Option<String>,
    /// `root=` of the kernel's command line.
    root: Option<String>,
    /// A systemd of the initramfs is at work.
    in_initramfs: bool,
    suspects: Vec<(Suspect, Said)>,
    /// Drivers that could not take their device, and whether a line of theirs tells of disks.
    drivers: Vec<(String, Said, bool)>,
    /// Whose line it was that last told of disks.
    storage: Option<String>,
    halt: Option<(Suspect, Said, bool)>,
    up: Option<(Said, bool)>,
    uptime: u64,
    last: Option<Said>,
    /// It crashed, and a kernel that writes a dump is at work.
    over: bool,
}

impl Default for Boot {
    fn default() -> Boot {
        Boot {
            begin: 1,
            part: None,
            at: Stage::PartitionTable,
            kernel: None,
            root: None,
            in_initramfs: false,
            suspects: Vec::new(),
            drivers: Vec::new(),
            storage: None,
            halt: None,
            up: None,
            uptime: 0,
            last: None,
            over: false,
        }
    }
}

/// No boot has more reasons than this; a hostile text must not fill the memory.
const SUSPECTS: usize = 64;
/// A kernel's clock that goes back by more than this, in microseconds, to near its beginning, was started anew.
const BACK: (u64, u64) = (5_000_000, 3_000_000);

impl Reader {
    /// Reads a part of the console that begins and ends between two lines. Gives whether another boot
    /// began in it.
    pub fn block(&mut self, block: &[u8]) -> bool {
        let before = self.boot.begin;
        let mut lines = block.split(|byte| *byte == b'\n').peekable();
        while let Some(line) = lines.next() {
            // What is behind the last line feed is a line only if there is something.
            if line.is_empty() && lines.peek().is_none() {
                break;
            }
            self.lines += 1;
            for piece in pieces(line) {
                self.piece(&piece);
            }
        }
        self.boot.begin != before
    }

    /// The line with which the last boot begins, from 1.
    pub fn begin(&self) -> usize {
        self.boot.begin
    }

    /// Whether what was read so far is a console.
    pub fn is_console(&self) -> bool {
        self.is_console
    }

    /// Whether somebody could log in to the last boot.
    pub fn is_up(&self) -> bool {
        self.boot.up.is_some()
    }

    /// What was found.
    pub fn console(&self) -> Console {
        let boot = &self.boot;
        Console {
            is_console: self.is_console,
            boots: self.boots.max(1),
            begin: boot.begin,
            kernel: boot.kernel.clone(),
            stage: if boot.up.is_some() { Stage::Services } else { boot.at },
            verdict: boot.verdict(),
        }
    }

    fn piece(&mut self, piece: &Piece) {
        let text = piece.text.as_str();
        let said = Said { line: self.lines, text: text.chars().take(400).collect() };
        if let Some(uptime) = piece.uptime {
            let back = self.boot.uptime.saturating_sub(uptime) > BACK.0 && uptime < BACK.1;
            if back && self.boot.part.is_none_or(|part| part == Part::Kernel) {
                self.start(Part::Kernel);
            }
            self.boot.uptime = uptime;
        }
        let found = meaning(text, self.boot.at, self.boot.in_initramfs);
        self.is_console |= is_of_a_console(piece, found.as_ref());
        if let Some(Meaning::Begin(part)) = found {
            self.begin_part(part, text);
        }
        if text.starts_with("Linux version ") {
            let release = text.split_ascii_whitespace().nth(2).unwrap_or_default();
            self.boot.kernel = Some(release.chars().take(80).collect());
        }
        if let Some((_, arguments)) = text.split_once("ommand line: ") {
            let root = arguments.split_ascii_whitespace().rev().find_map(|word| word.strip_prefix("root="));
            self.boot.root = root.map(|root| root.chars().take(160).collect()).or(self.boot.root.take());
            if arguments.contains("elfcorehdr=")
                && let Some(crashed) = self.crashed.take()
            {
                self.boot = *crashed;
                self.boot.over = true;
                self.boots = self.boots.saturating_sub(1);
            }
        }
        if let Some((_, rest)) = text.split_once("VFS: Cannot open root device \"") {
            let root = rest.split('"').next().unwrap_or_default();
            self.boot.root.get_or_insert(root.chars().take(160).collect());
        }
        // What the kernel says that only writes a dump is no step of a boot.
        if !self.boot.over {
            self.boot.take(found, said, text);
        }
    }

    fn begin_part(&mut self, part: Part, text: &str) {
        let known = self.boot.part;
        let anew = match part {
            Part::PowerOn => known.is_some() || self.boot.last.is_some(),
            Part::Firmware => known.is_some_and(|known| known > Part::Firmware),
            Part::Loader | Part::Load => known == Some(Part::Kernel),
            Part::Kernel => known == Some(Part::Kernel),
        };
        // A text that is cut off at its beginning may have the end of a boot before the first one that begins in it.
        let rest = known.is_none() && self.boot.last.is_some() && part != Part::Firmware && part != Part::Load;
        if anew || rest && self.boot.at > stage_of(text) {
            self.start(part);
        }
        self.boots = self.boots.max(1);
        self.boot.part = self.boot.part.max(Some(part));
        self.boot.at(stage_of(text));
    }

    fn start(&mut self, part: Part) {
        let old = std::mem::replace(&mut self.boot, Boot { begin: self.lines, part: Some(part), ..Boot::default() });
        let panicked = old.halt.as_ref().is_some_and(|(_, _, panic)| *panic);
        self.crashed = (panicked && part == Part::Kernel).then(|| Box::new(old));
        self.boots = self.boots.max(1) + 1;
    }
}

impl Boot {
    fn take(&mut self, found: Option<Meaning>, said: Said, text: &str) {
        if let Some(driver) = failed_driver(text)
            && self.drivers.len() < SUSPECTS
        {
            let disks = is_of_storage(text) || self.storage.as_deref() == Some(driver);
            self.drivers.push((driver.to_owned(), said.clone(), disks));
        } else if is_of_storage(text) {
            self.storage = text.split([' ', ':']).next().map(|name| name.chars().take(40).collect());
        }
        // It is the root's own check that failed, in an initramfs.
        if text.contains("Dependency failed for ") && text.contains("/sysroot") {
            self.in_initramfs = self.at <= Stage::RootDevice;
            for (suspect, _) in &mut self.suspects {
                if self.at <= Stage::RootDevice && suspect.cause == Cause::CheckFailed {
                    suspect.stage = Stage::RootDevice;
                }
            }
        }
        match found {
            Some(Meaning::At(stage)) => self.at(stage),
            Some(Meaning::InInitramfs) => {
                self.at(Stage::RootDevice);
                self.in_initramfs |= self.at == Stage::RootDevice;
            }
            Some(Meaning::Leaves) => {
                self.in_initramfs = false;
                self.at(Stage::Init);
            }
            Some(Meaning::Suspect(suspect)) => {
                let known = self.suspects.iter().any(|(other, _)| *other == suspect);
                if !known && self.suspects.len() < SUSPECTS {
                    self.suspects.push((suspect, said.clone()));
                }
            }
            Some(Meaning::Halt(suspect)) => self.halt(suspect, &said, false),
            Some(Meaning::Panic(reason)) => {
                let suspect = self.panic(&reason);
                self.halt(suspect, &said, true);
            }
            Some(Meaning::Up) => {
                self.up.get_or_insert((said.clone(), false));
                self.at(Stage::Services);
            }
            Some(Meaning::Prompt) if !self.up.as_ref().is_some_and(|(_, prompt)| *prompt) => {
                self.up = Some((said.clone(), true));
                self.at(Stage::Services);
            }
            _ => {}
        }
        // A frame or a row of dots says nothing.
        if text.chars().any(char::is_alphanumeric) {
            self.last = Some(said);
        }
    }

    /// A later stage is at work: what was suspected of the earlier ones did not stop it.
    fn at(&mut self, stage: Stage) {
        if stage > self.at {
            self.at = stage;
            let damaged = |suspect: &Suspect| suspect.weight == DAMAGED && stage <= Stage::RootDevice;
            let without = |suspect: &Suspect| suspect.weight == NO_ROOT && stage <= Stage::Init;
            self.suspects.retain(|(suspect, _)| suspect.stage >= stage || damaged(suspect) || without(suspect));
            self.halt = None;
        }
    }

    fn halt(&mut self, mut suspect: Suspect, said: &Said, panic: bool) {
        // The same words are said in the initramfs and in the system.
        if suspect.cause == Cause::EmergencyMode {
            suspect.stage =
                if self.in_initramfs || self.at < Stage::Init { Stage::RootDevice } else { self.at.max(Stage::Mounts) };
        }
        match &mut self.halt {
            // A kernel that stops after the boot stood belongs to the same story.
            Some((_, _, panicked)) => *panicked |= panic,
            None => self.halt = Some((suspect, said.clone(), panic)),
        }
    }

    /// Why the kernel stopped.
    fn panic(&self, reason: &str) -> Suspect {
        let suspect = |stage, cause, culprit: &str, weight| Suspect {
            stage,
            cause,
            culprit: culprit.trim_end_matches([' ', '.']).chars().take(160).collect(),
            weight,
        };
        let after = |words: &str| reason.split_once(words).map_or("", |(_, rest)| rest);
        if reason.contains("Unable to mount root fs") {
            // Only an initramfs finds these (name_to_dev_t in init/do_mounts.c knows devices and PARTUUID=, PARTLABEL=).
            let root = self.root.as_deref().unwrap_or_default();
            let needs = ["UUID=", "LABEL=", "/dev/mapper/", "/dev/disk/", "live:", "ZFS=", "zfs:"];
            return if needs.iter().any(|needs| root.starts_with(needs)) || root.matches('/').count() > 2 {
                suspect(Stage::Initramfs, Cause::InitramfsNotUsed, root, 30)
            } else {
                // Block device 0:0 is none at all.
                let is_there = !reason.contains("unknown-block(0,0)");
                let cause = if is_there { Cause::RootUnmountable } else { Cause::RootMissing };
                suspect(Stage::RootDevice, cause, if root.is_empty() && is_there { after(" on ") } else { root }, 30)
            };
        }
        if reason.contains("No working init found") || reason.starts_with("No init found") {
            return suspect(Stage::Init, Cause::InitMissing, "", 30);
        }
        if reason.starts_with("Requested init ") {
            let program = after("Requested init ").split(' ').next().unwrap_or_default();
            return suspect(Stage::Init, Cause::InitMissing, program, 55);
        }
        if reason.contains("Attempted to kill init") {
            let stage = if self.at < Stage::RootDevice { Stage::Initramfs } else { Stage::Init };
            let cause = if stage == Stage::Initramfs { Cause::InitramfsDamaged } else { Cause::InitDied };
            return suspect(stage, cause, after("exitcode="), 30);
        }
        if reason.contains("emory") {
            // Once init runs it is what is started that wants the memory.
            let stage = if self.at >= Stage::Init { Stage::Services } else { self.at.max(Stage::Initramfs) };
            return suspect(stage, Cause::OutOfMemory, "", 90);
        }
        suspect(self.at.max(Stage::Kernel), Cause::KernelPanic, reason, 90)
    }

    fn verdict(&self) -> Verdict {
        if let Some((said, prompt)) = &self.up
            && self.halt.as_ref().is_none_or(|(_, halt, _)| *prompt || halt.line > said.line)
        {
            return Verdict::Reached { said: said.clone(), prompt: *prompt };
        }
        let halt = self.halt.as_ref();
        // The heaviest, and of several the first. The frame of a stop is at most as heavy as what it is a frame of.
        let mut best: Option<&(Suspect, Said)> = None;
        for one in &self.suspects {
            if best.is_none_or(|(known, _)| one.0.weight > known.weight) {
                best = Some(one);
            }
        }
        let best = best.filter(|(suspect, _)| halt.is_none_or(|(halt, _, _)| suspect.weight > halt.weight));
        let Some((cause, said)) =
            best.map(|(cause, said)| (cause, said)).or(halt.map(|(cause, said, _)| (cause, said)))
        else {
            let Some(last) = &self.last else { return Verdict::Nothing };
            if self.part.is_none() && self.at == Stage::PartitionTable {
                return Verdict::Nothing;
            }
            let (stage, cause) = (self.at, Cause::Silence);
            let culprit = String::new();
            return Verdict::GoingOn(Stop {
                stage,
                cause,
                culprit,
                said: last.clone(),
                also: Vec::new(),
                panic: false,
            });
        };
        let near = |other: &Suspect| other != cause && other.weight >= 35 && other.stage == cause.stage;
        let mut also: Vec<Said> =
            self.suspects.iter().filter(|(other, _)| near(other)).map(|(_, said)| said.clone()).take(2).collect();
        also.extend(halt.map(|(_, halt, _)| halt.clone()));
        also.retain(|other| other.line != said.line);
        also.sort_by_key(|said| said.line);
        also.dedup();
        let panic = halt.is_some_and(|(_, _, panic)| *panic);
        // The disk is not there since what it hangs on failed before.
        let driver = self.drivers.iter().find(|(.., disks)| *disks).filter(|_| cause.cause == Cause::RootMissing);
        if let Some((driver, failed, _)) = driver {
            also.insert(0, said.clone());
            let (stage, cause, culprit) = (cause.stage, Cause::StorageDriver, driver.clone());
            let stop = Stop { stage, cause, culprit, said: failed.clone(), also, panic };
            return if halt.is_some() { Verdict::Stopped(stop) } else { Verdict::GoingOn(stop) };
        }
        // "Failed to mount /sysroot" does not name the device; what the kernel said before does.
        let damaged = |other: &&(Suspect, Said)| other.0.cause == Cause::FileSystemDamaged && cause.culprit.is_empty();
        let culprit = self.suspects.iter().find(damaged).map_or(&cause.culprit, |(other, _)| &other.culprit).clone();
        let stop = Stop { stage: cause.stage, cause: cause.cause, culprit, said: said.clone(), also, panic };
        if halt.is_some() { Verdict::Stopped(stop) } else { Verdict::GoingOn(stop) }
    }
}

/// What init's status lines begin with.
const STATUS: [&str; 7] = ["[!!!!!!]", "[  OK  ]", "[FAILED]", "[DEPEND]", "[ TIME ]", "[ WARN ]", "INIT: version "];

/// Whether a boot says such a line; without `among`, whether nothing else does.
pub(super) fn is_told_by_a_boot(text: &str, among: bool) -> bool {
    if STATUS.iter().any(|status| text.starts_with(status)) {
        return true;
    }
    match meaning(text, Stage::PartitionTable, false) {
        Some(Meaning::Begin(part)) => among || part != Part::Kernel,
        // Any program may say "Error 15".
        Some(Meaning::Halt(_)) => among || !text.starts_with("Error "),
        Some(Meaning::Prompt) => true,
        found => among && found.is_some(),
    }
}

/// Whether no other log has such a line: a firmware, a boot loader, a status line of init, a prompt.
fn is_of_a_console(piece: &Piece, found: Option<&Meaning>) -> bool {
    if piece.uptime.is_none() && STATUS.iter().any(|status| piece.text.starts_with(status)) {
        return true;
    }
    match found {
        Some(Meaning::Begin(part)) => *part != Part::Kernel,
        // What an initramfs says of the root, which no system is there to log.
        Some(Meaning::Suspect(_)) => piece.text.contains("initqueue") || piece.text.contains("root fs via NFS"),
        Some(Meaning::Halt(suspect)) => piece.uptime.is_none() || suspect.cause == Cause::SelinuxPolicy,
        // What stops a kernel before there is anybody who could keep a log.
        Some(Meaning::Panic(reason)) => reason.contains("Unable to mount root fs") || reason.contains("init found"),
        _ => false,
    }
}
