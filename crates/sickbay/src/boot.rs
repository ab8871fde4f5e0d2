//! Starts a copy of a disk in QEMU and watches how far it comes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sickbay_formats::boot_console::{self, Cause, Console, Verdict};
use sickbay_target::vm::{self, Accelerator, Bus, Copies, Firmware, Machine, Parts};
use sickbay_target::{Access, Lack, Options, Target};

use crate::engine::rounds;
use crate::facts::Facts;
use crate::facts::boot::boot_config::{BootConfig, Entry};
use crate::mend::boot_entries::edits;
use crate::model::repair::{Repair, Risk};
use crate::model::text::Text;
use crate::tr;

mod watch;

use self::watch::{Live, Seen, Trust, Watch, verdict};

/// What is to be started, and how.
#[derive(Debug)]
pub struct Wish {
    /// The disk or image that it is started from.
    pub disk: PathBuf,
    /// Further disks of the same machine.
    pub with: Vec<PathBuf>,
    /// Whether images may lead to other files.
    pub follow_images: bool,
    /// What starts it; what the disk is made for when left out.
    pub firmware: Option<Firmware>,
    /// How its disks are attached.
    pub bus: Bus,
    /// What runs it.
    pub by: By,
    /// MiB.
    pub memory: u32,
    /// How long a start may take, by the clock on the wall; by the guest's own when left out.
    pub timeout: Option<Duration>,
    /// Where the console is kept.
    pub console: Option<PathBuf>,
}

/// What is to run the guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum By {
    /// KVM where it is there and carries the guest, else QEMU alone.
    #[default]
    Auto,
    /// KVM, come what may.
    Kvm,
    /// QEMU alone.
    Tcg,
}

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Somebody could log in.
    Login,
    /// It stopped on the way.
    Stopped,
    /// That could not be told.
    Untold,
}

/// A boot that was tried.
#[derive(Debug)]
pub struct Trial {
    /// How it went.
    pub outcome: Outcome,
    /// Why it could not be told.
    pub untold: Option<Text>,
    /// What the console said; lines are those of the file that is kept.
    pub console: Console,
    /// Where the console is kept.
    pub kept: PathBuf,
    /// How long it took.
    pub took: Duration,
    /// Whether KVM was used.
    pub kvm: bool,
    /// What started it.
    pub firmware: Firmware,
    /// What the kernel was told besides, on the copy only.
    pub added: Option<&'static str>,
    /// What else the user should know.
    pub remarks: Vec<Text>,
}

/// Makes kernel and init speak on the serial line, the screen's own words staying where they are.
const ARGUMENTS: &str = "console=tty0 console=ttyS0,115200";

/// Starts a copy of the disk. `facts` are of the disk itself, if it could be opened; `progress` is told how far it is.
pub fn run(wish: &Wish, facts: Option<&Arc<Facts>>, progress: &mut dyn FnMut(&Console)) -> Result<Trial, Text> {
    let firmware = match wish.firmware {
        Some(firmware) => firmware,
        None => vm::firmware_of(&wish.disk, wish.follow_images).map_err(program)?,
    };
    let (boot, remark) = carried(wish.by, vm::has_kvm(), |accelerator, trust| {
        start(wish, firmware, facts, accelerator, trust, progress)
    })?;
    let Boot { seen, console, text, mut remarks, added, accelerator, .. } = boot;
    remarks.extend(remark.into_iter().chain(watch::remark(&seen.end)));
    let kept = vm::keep(wish.console.as_deref(), &text).map_err(|error| {
        let path = wish.console.clone().unwrap_or_default();
        tr!("the console cannot be written to {path}: {why}", path, why = error.to_string())
    })?;
    let (outcome, untold) = verdict(&console, &seen);
    let kvm = accelerator == Accelerator::Kvm;
    Ok(Trial { outcome, untold, console, kept, took: seen.took.wall, kvm, firmware, added, remarks })
}

/// One start of the copy.
struct Boot {
    accelerator: Accelerator,
    seen: Seen,
    console: Console,
    text: Vec<u8>,
    added: Option<&'static str>,
    remarks: Vec<Text>,
}

/// Lets KVM run the guest, where it is there, but believes in it only after it has carried one: if not this one, another is
/// started that is emulated. Gives the boot that counts, and what is to be said of KVM.
fn carried(
    by: By,
    has_kvm: bool,
    mut start: impl FnMut(Accelerator, Trust) -> Result<Boot, Text>,
) -> Result<(Boot, Option<Text>), Text> {
    let first = match by {
        By::Tcg => return Ok((start(Accelerator::Tcg, Trust::Full)?, None)),
        By::Kvm => return Ok((start(Accelerator::Kvm, Trust::Full)?, None)),
        By::Auto if !has_kvm => return Ok((start(Accelerator::Tcg, Trust::Full)?, None)),
        By::Auto => start(Accelerator::Kvm, Trust::OnTrial),
    };
    match first {
        Ok(boot) if !watch::is_kvm_suspected(&boot.console) => Ok((boot, None)),
        Ok(by_kvm) => {
            let emulated = start(Accelerator::Tcg, Trust::Full)?;
            // A guest that does no better emulated says nothing against KVM.
            let better = watch::worth(&emulated.console) > watch::worth(&by_kvm.console);
            let remark = better.then(|| tr!("KVM exists but does not run guests: this one was restarted, emulated"));
            Ok((emulated, remark))
        }
        Err(why) => {
            let emulated = start(Accelerator::Tcg, Trust::Full)?;
            Ok((emulated, Some(tr!("KVM exists but cannot be used ({why}): the guest was emulated", why))))
        }
    }
}

fn program(error: vm::VmError) -> Text {
    Text::verbatim(error.to_string())
}

fn start(
    wish: &Wish,
    firmware: Firmware,
    facts: Option<&Arc<Facts>>,
    accelerator: Accelerator,
    trust: Trust,
    progress: &mut dyn FnMut(&Console),
) -> Result<Boot, Text> {
    let mut remarks = Vec::new();
    let disks: Vec<PathBuf> = std::iter::once(&wish.disk).chain(&wish.with).cloned().collect();
    let copies = Copies::of(&disks, wish.follow_images).map_err(program)?;
    let added = match facts.map(|facts| speak(facts, &copies)) {
        Some(Ok(added)) => added,
        Some(Err(why)) => {
            remarks.push(tr!(
                "the kernel could not be made to use the serial line, so only the screen is read: {why}",
                why
            ));
            None
        }
        None => None,
    };
    let parts = Parts { firmware, bus: wish.bus, memory: wish.memory };
    let mut machine = Machine::start(&copies, parts, accelerator).map_err(program)?;
    let seen = Watch::new(accelerator, trust, wish.timeout).until_it_stands(&mut Live::of(&mut machine), progress);
    let (text, console) = judged(machine.console(), &seen.screen);
    Ok(Boot { accelerator, seen, console, text, added, remarks })
}

/// The text that is kept, and what it says. Where the screen says more it is a part of that text.
fn judged(serial: &[u8], screen: &str) -> (Vec<u8>, Console) {
    let mut text = serial.to_vec();
    let (mut of_serial, mut of_screen) = (boot_console::read(serial), boot_console::read(screen.as_bytes()));
    if watch::worth(&of_screen) <= watch::worth(&of_serial) {
        of_serial.boots = of_serial.boots.max(1);
        return (text, of_serial);
    }
    if !text.is_empty() {
        text.extend_from_slice(b"\n");
    }
    let before = text.iter().filter(|byte| **byte == b'\n').count();
    text.extend_from_slice(screen.as_bytes());
    of_screen.begin += before;
    match &mut of_screen.verdict {
        Verdict::Reached { said, .. } => said.line += before,
        Verdict::Stopped(stop) | Verdict::GoingOn(stop) => {
            stop.said.line += before;
            stop.also.iter_mut().for_each(|said| said.line += before);
        }
        Verdict::Nothing => {}
    }
    (text, of_screen)
}

/// Tells the kernels on the copy to speak on the serial line, where they do not. Gives what was added.
fn speak(facts: &Arc<Facts>, copies: &Copies) -> Result<Option<&'static str>, Text> {
    let Ok(config) = facts.get::<BootConfig>() else { return Ok(None) };
    if words(&config).is_empty() {
        return Ok(None);
    }
    // They lie on the disks themselves, of which each is a file of its own.
    let options = Options {
        access: Access::ReadWrite,
        with: copies.others().to_vec(),
        follow_images: true,
        ..Options::default()
    };
    let copy = Target::open(Some(copies.first()), &options).map_err(|error| Text::verbatim(error.to_string()))?;
    // A damaged file system is started as it is.
    if copy.is_held() {
        return Ok(None);
    }
    let copy = Arc::new(copy);
    let changes = {
        let facts = Facts::new(Arc::clone(&copy), None);
        facts.get::<BootConfig>().map(|config| edits(words(&config))).unwrap_or_default()
    };
    let repair = Repair { title: Text::verbatim(ARGUMENTS), risk: Risk::Safe, changes };
    let made = rounds::make(&copy, None, repair).map_err(|error| error.text());
    if let Ok(copy) = Arc::try_unwrap(copy) {
        copy.close().map_err(|error| Text::verbatim(error.to_string()))?;
    }
    made.map(|()| Some(ARGUMENTS))
}

/// What is put behind the last argument of every kernel that does not use the serial line.
fn words(config: &BootConfig) -> Vec<(Arc<crate::model::source::SourceFile>, std::ops::Range<usize>, String)> {
    let silent = |entry: &&Entry| {
        entry.kernel.is_some() && !entry.arguments.iter().any(|word| word.text.starts_with("console=ttyS"))
    };
    let entries = config.loaders.iter().flat_map(|loader| &loader.entries).filter(silent);
    entries
        .filter_map(|entry| {
            entry.arguments.iter().take_while(|word| word.text != "--").filter(|word| word.literal).last()
        })
        .map(|word| (Arc::clone(&word.file), word.range.end..word.range.end, format!(" {ARGUMENTS}")))
        .collect()
}

impl Trial {
    /// The exit status: 0 somebody can log in, 1 it stopped, 2 that could not be told.
    pub fn exit_code(&self) -> u8 {
        match self.outcome {
            Outcome::Login => 0,
            Outcome::Stopped => 1,
            Outcome::Untold => 2,
        }
    }

    /// Whether it only fell silent.
    pub fn is_silent(&self) -> bool {
        self.console.stands_at().is_some_and(|stop| stop.cause == Cause::Silence)
    }
}

/// Whether a target can be started: only from a disk.
pub fn why_not(target: &Target, path: &Path) -> Option<Text> {
    let why = match target.attached() {
        _ if target.bundle().is_some() => tr!("it is a bundle"),
        Ok(_) => return None,
        Err(Lack::None(why) | Lack::Unread(why)) => Text::verbatim(why),
    };
    Some(tr!("{path} cannot be booted: {why}; only a disk or a disk image can", path, why))
}

#[cfg(test)]
mod tests;
