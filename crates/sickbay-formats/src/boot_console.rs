//! What a boot says on its console: the text of a serial line as a cloud's "get console output" gives it, or of a screen.
//!
//! It may hold several boots one after another, control sequences of a terminal, NULs, kernel time stamps and the status
//! lines of init, and be cut off at both ends. [`Reader`] goes once over it and judges the last boot: how far it came,
//! whether it stands, and which line says why. Nothing that was said before the last power-on counts.

mod lines;
mod reader;
mod rules;
pub use rules::device_path;
#[cfg(test)]
mod tests;

pub use reader::Reader;

/// How far a boot has come: the stage that it is at work on. All stages before are behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// The firmware looks for something to start.
    PartitionTable,
    /// The boot loader's own code and modules.
    BootLoader,
    /// The boot loader's configuration.
    BootConfig,
    /// The kernel's file, and the kernel itself.
    Kernel,
    /// The initramfs's file, and its unpacking.
    Initramfs,
    /// The root file system is looked for and mounted.
    RootDevice,
    /// Process 1 of the system is started.
    Init,
    /// The other file systems are checked and mounted.
    Mounts,
    /// Everything up to the login prompt.
    Services,
}

/// Why a boot stops, as far as the console tells. What it is about is [`Stop::culprit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The firmware finds nothing to start.
    NothingToBoot,
    /// The firmware cannot start this entry or file.
    FirmwareEntry,
    /// The partition table or its signature.
    PartitionTable,
    /// The boot loader's code does not work or cannot be read.
    LoaderCode,
    /// The boot loader does not find this file of its own.
    LoaderFile,
    /// The boot loader does not find this disk, partition or file system, or cannot read it.
    LoaderDevice,
    /// The boot loader has no menu, or does not understand it: this word or nothing.
    LoaderConfig,
    /// This kernel is not there.
    KernelMissing,
    /// The kernel cannot be started: these words of the boot loader.
    KernelDamaged,
    /// No entry of the menu could be started.
    EntriesFailed,
    /// This initramfs is not there.
    InitramfsMissing,
    /// The initramfs cannot be unpacked, or does not work.
    InitramfsDamaged,
    /// The kernel has no usable initramfs, and this root file system only an initramfs can find.
    InitramfsNotUsed,
    /// This root device is not there.
    RootMissing,
    /// This driver failed, and then the root device is not there.
    StorageDriver,
    /// LVM's devices file does not have the disk: what it looked for.
    LvmDevices,
    /// The root file system is on another machine, and could not be mounted.
    RootOverNetwork,
    /// Nothing says which device is the root.
    RootUnnamed,
    /// The root file system on this device cannot be mounted.
    RootUnmountable,
    /// This program, the first one, is not there or cannot be run.
    InitMissing,
    /// Process 1 lacks this library.
    InitLibrary,
    /// Process 1 ended; its exit code.
    InitDied,
    /// Process 1 gave up: its words.
    InitFrozen,
    /// systemd does not find its default target.
    TargetMissing,
    /// A shell was started in the place of init.
    InitShell,
    /// The policy of SELinux cannot be loaded.
    SelinuxPolicy,
    /// This device, which is to be mounted, is not there.
    DeviceMissing,
    /// This file system cannot be mounted.
    MountFailed,
    /// The check of this file system wants a person.
    CheckFailed,
    /// The kernel finds the file system on this device damaged.
    FileSystemDamaged,
    /// Emergency mode, and nothing says why.
    EmergencyMode,
    /// Rescue mode: somebody asked for it.
    RescueMode,
    /// The initramfs stopped in its shell, and nothing says why.
    InitramfsShell,
    /// This unit or service does not start.
    UnitFailed,
    /// There is not enough memory.
    OutOfMemory,
    /// The programs that show login prompts end again and again.
    GettyLoop,
    /// The kernel stopped for this reason.
    KernelPanic,
    /// It waits for this.
    Waiting,
    /// It says nothing more.
    Silence,
}

/// A line of the console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Its number, from 1.
    pub line: usize,
    /// What it says, without time stamp and control sequences, undecodable bytes replaced, cut at 400 characters.
    pub text: String,
}

/// Where and why a boot stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// The stage that it did not get over.
    pub stage: Stage,
    /// Why.
    pub cause: Cause,
    /// What the cause is about; "" when that is not said.
    pub culprit: String,
    /// The line that says so.
    pub said: Said,
    /// Other lines that belong to it, in order; the last one is where it stands, if that is another.
    pub also: Vec<Said>,
    /// Whether the kernel panicked.
    pub panic: bool,
}

/// How the last boot ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Somebody can log in: this line shows it.
    Reached {
        /// The line.
        said: Said,
        /// It is a prompt, or a shell behind one; else it only says that everything was started.
        prompt: bool,
    },
    /// It stands.
    Stopped(Stop),
    /// The text ends on the way. What it then would have stopped at, if it did: see [`Console::stands_at`].
    GoingOn(Stop),
    /// It says nothing of a boot.
    Nothing,
}

/// What a console says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Console {
    /// Whether this is a console and no other log: a boot loader, a prompt or init's status lines are in it.
    pub is_console: bool,
    /// How many boots begin or go on in it.
    pub boots: usize,
    /// The line with which the last one begins, from 1.
    pub begin: usize,
    /// The release of the kernel that it started.
    pub kernel: Option<String>,
    /// The stage that it came to.
    pub stage: Stage,
    /// How it ended.
    pub verdict: Verdict,
}

impl Console {
    /// Where it stands: for one that goes on, where it would if nothing more came.
    pub fn stands_at(&self) -> Option<&Stop> {
        match &self.verdict {
            Verdict::Stopped(stop) | Verdict::GoingOn(stop) => Some(stop),
            Verdict::Reached { .. } | Verdict::Nothing => None,
        }
    }
}

/// Reads the whole text of a console.
pub fn read(text: &[u8]) -> Console {
    let mut reader = Reader::default();
    reader.block(text);
    reader.console()
}

/// Whether a text is that of a console.
pub fn resembles(text: &[u8]) -> bool {
    read(text).is_console
}

/// Whether a line is one that only a console has; with `among`, where others of the same text are, one that a boot says.
pub fn knows(text: &[u8], among: bool) -> bool {
    let text = String::from_utf8_lossy(text);
    reader::is_told_by_a_boot(text.trim(), among)
}
