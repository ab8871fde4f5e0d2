//! Starts a copy of a disk in QEMU and watches how far it comes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sickbay_formats::boot_console::{self, Cause, Console, Reader, Stage as ConsoleStage, Verdict};
use sickbay_target::vm::{self, Bus, Copies, Firmware, Machine, Parts};
use sickbay_target::{Access, Options, Target};

use crate::checks::boot::boot_entries::edits;
use crate::facts::Facts;
use crate::facts::boot_config::{BootConfig, Entry};
use crate::repair::{Repair, Risk, session};
use crate::text::Text;
use crate::tr;

/// What is to be started, and how.
#[derive(Debug)]
pub struct Wish {
    /// The disk or image that it is started from.
    pub disk: PathBuf,
    /// Further disks of the same machine.
    pub with: Vec<PathBuf>,
    /// What starts it; what the disk is made for when left out.
    pub firmware: Option<Firmware>,
    /// How its disks are attached.
    pub bus: Bus,
    /// MiB.
    pub memory: u32,
    /// How long it may take.
    pub timeout: Option<Duration>,
    /// Where the console is kept.
    pub console: Option<PathBuf>,
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

/// How long is waited: until all must be over; for a sound from a firmware or boot loader; from a kernel and what follows,
/// which waits 90 s for a device (systemd) or twice that (dracut); for more after it seems to stand; for a prompt after
/// everything is said to be started.
struct Patience {
    all: Duration,
    loader: Duration,
    system: Duration,
    halt: Duration,
    prompt: Duration,
}

/// With KVM.
const FAST: Patience = patience(180, 30, 120, 4, 20);
/// Without: a boot takes minutes.
const SLOW: Patience = patience(900, 60, 200, 8, 60);

const fn patience(all: u64, loader: u64, system: u64, halt: u64, prompt: u64) -> Patience {
    let seconds = Duration::from_secs;
    Patience {
        all: seconds(all),
        loader: seconds(loader),
        system: seconds(system),
        halt: seconds(halt),
        prompt: seconds(prompt),
    }
}

/// How often the screen is looked at.
const SCREEN: Duration = Duration::from_secs(3);
/// A machine that starts itself anew more often than this does so for ever; once or twice is usual after new labels.
const BOOTS: usize = 4;

/// Starts a copy of the disk. `facts` are of the disk itself, if it could be opened; `progress` is told how far it is.
pub fn run(wish: &Wish, facts: Option<&Arc<Facts>>, progress: &mut dyn FnMut(&Console)) -> Result<Trial, Text> {
    let program = |error: vm::VmError| Text::verbatim(error.to_string());
    let mut remarks = Vec::new();
    let firmware = match wish.firmware {
        Some(firmware) => firmware,
        None => vm::firmware_of(&wish.disk).map_err(program)?,
    };
    let disks: Vec<PathBuf> = std::iter::once(&wish.disk).chain(&wish.with).cloned().collect();
    let copies = Copies::of(&disks).map_err(program)?;
    let added = match facts.map(|facts| speak(facts, &copies)) {
        Some(Ok(added)) => added,
        Some(Err(why)) => {
            remarks.push(tr!(
                "the kernel could not be told to use the serial line, so only the screen is read: {why}",
                why
            ));
            None
        }
        None => None,
    };
    let parts = Parts { firmware, bus: wish.bus, memory: wish.memory };
    let mut machine = Machine::start(&copies, parts).map_err(program)?;
    let begun = Instant::now();
    let mut watch = Watch { patience: if machine.kvm { FAST } else { SLOW }, reader: Reader::default(), read: 0 };
    if let Some(timeout) = wish.timeout {
        watch.patience.all = timeout;
    }
    let (end, screen) = watch.until_it_stands(&mut machine, begun, progress);
    let took = begun.elapsed();

    let serial = machine.console().to_vec();
    let (text, console) = judged(&serial, &screen);
    let kept = vm::keep(wish.console.as_deref(), &text).map_err(|error| {
        let path = wish.console.clone().unwrap_or_default();
        tr!("the console cannot be written to {path}: {why}", path, why = error.to_string())
    })?;
    let (outcome, untold) = verdict(&console, end, !serial.is_empty(), took);
    Ok(Trial { outcome, untold, console, kept, took, kvm: machine.kvm, firmware, added, remarks })
}

/// Why watching ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It says that it stands, or that somebody can log in.
    Said,
    /// It said nothing for a long time.
    Silence,
    /// It took too long.
    Timeout,
    /// It switched itself off.
    Off,
    /// It starts again and again.
    Loop,
}

struct Watch {
    patience: Patience,
    reader: Reader,
    /// Bytes of the serial line that the reader has.
    read: usize,
}

impl Watch {
    fn until_it_stands(
        &mut self,
        machine: &mut Machine,
        begun: Instant,
        progress: &mut dyn FnMut(&Console),
    ) -> (End, String) {
        let mut screen = String::new();
        let mut looked = Instant::now();
        let mut sound = Instant::now();
        // Since when it seems to be at an end.
        let mut ended: Option<Instant> = None;
        loop {
            let heard = machine.hear(Duration::from_millis(200)).unwrap_or(false);
            let mut seen = false;
            if looked.elapsed() > SCREEN {
                let now = machine.screen();
                seen = !now.is_empty() && now != screen;
                screen = if now.is_empty() { screen } else { now };
                looked = Instant::now();
            }
            if heard || seen {
                sound = Instant::now();
            }
            let console = self.console(machine.console(), &screen);
            if heard || seen {
                progress(&console);
            }
            let wait = match &console.verdict {
                Verdict::Reached { prompt: true, .. } => Some(Duration::ZERO),
                Verdict::Reached { prompt: false, .. } => Some(self.patience.prompt),
                Verdict::Stopped(_) => Some(self.patience.halt),
                Verdict::GoingOn(_) | Verdict::Nothing => None,
            };
            ended = wait.and(ended.or(Some(Instant::now())));
            let done = wait.zip(ended).is_some_and(|(wait, since)| since.elapsed() >= wait);
            let early = console.stage <= ConsoleStage::BootConfig;
            let quiet = if early { self.patience.loader } else { self.patience.system };
            let end = match () {
                () if done => End::Said,
                () if machine.is_over() => End::Off,
                () if console.boots >= BOOTS => End::Loop,
                () if sound.elapsed() >= quiet => End::Silence,
                () if begun.elapsed() >= self.patience.all => End::Timeout,
                () => continue,
            };
            let now = machine.screen();
            return (end, if now.is_empty() { screen } else { now });
        }
    }

    /// What is known by now, of the serial line or the screen.
    fn console(&mut self, serial: &[u8], screen: &str) -> Console {
        let new = serial.get(self.read..).unwrap_or_default();
        let whole = new.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        self.reader.block(new.get(..whole).unwrap_or_default());
        self.read += whole;
        let mut now = self.reader.clone();
        now.block(new.get(whole..).unwrap_or_default());
        let (serial, screen) = (now.console(), boot_console::read(screen.as_bytes()));
        if worth(&screen) > worth(&serial) { screen } else { serial }
    }
}

/// Which of two consoles of one machine tells more: the one with the login, else the one that came further, else the one
/// that says where it stands.
fn worth(console: &Console) -> (bool, ConsoleStage, bool) {
    let reached = matches!(console.verdict, Verdict::Reached { .. });
    (reached, console.stage, matches!(console.verdict, Verdict::Stopped(_)))
}

/// The text that is kept, and what it says. Where the screen says more it is a part of that text.
fn judged(serial: &[u8], screen: &str) -> (Vec<u8>, Console) {
    let mut text = serial.to_vec();
    let (mut of_serial, mut of_screen) = (boot_console::read(serial), boot_console::read(screen.as_bytes()));
    if worth(&of_screen) <= worth(&of_serial) {
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

fn verdict(console: &Console, end: End, serial: bool, took: Duration) -> (Outcome, Option<Text>) {
    match &console.verdict {
        Verdict::Reached { .. } => return (Outcome::Login, None),
        Verdict::Stopped(_) => return (Outcome::Stopped, None),
        Verdict::Nothing => {
            return (Outcome::Untold, Some(tr!("neither the serial line nor the screen says anything")));
        }
        Verdict::GoingOn(_) => {}
    }
    let seconds = took.as_secs();
    // A kernel that was started and says nothing may only say it elsewhere.
    let deaf = console.stage == ConsoleStage::Kernel && console.kernel.is_none() && !serial;
    match end {
        End::Silence if deaf => (
            Outcome::Untold,
            Some(tr!("the kernel was started and then says nothing, neither on the serial line nor on a text screen")),
        ),
        End::Timeout => {
            (Outcome::Untold, Some(tr!("after {seconds} s it is still at work: give it more --timeout", seconds)))
        }
        End::Said | End::Silence | End::Off | End::Loop => (Outcome::Stopped, None),
    }
}

/// Tells the kernels on the copy to speak on the serial line, where they do not. Gives what was added.
fn speak(facts: &Arc<Facts>, copies: &Copies) -> Result<Option<&'static str>, Text> {
    let Ok(config) = facts.get::<BootConfig>() else { return Ok(None) };
    if words(&config).is_empty() {
        return Ok(None);
    }
    let options = Options { access: Access::ReadWrite, with: copies.others().to_vec(), ..Options::default() };
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
    let made = session::make(&copy, None, repair).map_err(|error| error.text());
    if let Ok(copy) = Arc::try_unwrap(copy) {
        copy.close().map_err(|error| Text::verbatim(error.to_string()))?;
    }
    made.map(|()| Some(ARGUMENTS))
}

/// What is put behind the last argument of every kernel that does not use the serial line.
fn words(config: &BootConfig) -> Vec<(Arc<crate::facts::SourceFile>, std::ops::Range<usize>, String)> {
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
    match target.kind {
        sickbay_target::Kind::Disk => None,
        sickbay_target::Kind::Log => Some(tr!("{path} is a log: only a disk or an image of one can be started", path)),
        sickbay_target::Kind::Host | sickbay_target::Kind::Root => Some(tr!(
            "{path} is a mounted system: only a disk or an image of one can be started; name the disk that it is on",
            path
        )),
    }
}
