//! Watches a machine until it stands, and judges what was seen.
//!
//! Time is the guest's own: what its processor had of ours. A guest that waits in a queue behind a build is not slow.

use std::time::{Duration, Instant};

use sickbay_formats::boot_console::{self, Cause, Console, Reader, Stage as ConsoleStage, Verdict};
use sickbay_target::vm::{Accelerator, Machine, State};

use super::Outcome;
use crate::model::text::Text;
use crate::tr;

/// A machine, as it is watched.
pub(super) trait Guest {
    /// Waits up to `wait` for words on the serial line. Gives whether some came.
    fn hear(&mut self, wait: Duration) -> bool;
    /// Everything that the serial line said.
    fn console(&self) -> &[u8];
    /// What the screen shows.
    fn screen(&mut self) -> String;
    /// Whether it is switched off.
    fn is_over(&self) -> bool;
    /// What it does.
    fn state(&mut self) -> State;
    /// How long it runs.
    fn time(&self) -> Time;
}

/// How long something took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Time {
    /// By the clock on the wall.
    pub(super) wall: Duration,
    /// What the guest had of our processors.
    pub(super) own: Duration,
}

impl Time {
    fn since(self, before: Time) -> Time {
        Time { wall: self.wall.saturating_sub(before.wall), own: self.own.saturating_sub(before.own) }
    }

    /// Whether a guest that was at work had `limit`. One that sleeps uses no processor: by the wall it has some times that.
    fn is_over(self, limit: Duration) -> bool {
        self.own >= limit || self.wall >= limit * SLEEPING
    }
}

/// A machine in QEMU.
pub(super) struct Live<'m> {
    machine: &'m mut Machine,
    begun: Instant,
}

impl<'m> Live<'m> {
    pub(super) fn of(machine: &'m mut Machine) -> Live<'m> {
        Live { machine, begun: Instant::now() }
    }
}

impl Guest for Live<'_> {
    fn hear(&mut self, wait: Duration) -> bool {
        self.machine.hear(wait).unwrap_or(false)
    }

    fn console(&self) -> &[u8] {
        self.machine.console()
    }

    fn screen(&mut self) -> String {
        self.machine.screen()
    }

    fn is_over(&self) -> bool {
        self.machine.is_over()
    }

    fn state(&mut self) -> State {
        self.machine.state()
    }

    fn time(&self) -> Time {
        Time { wall: self.begun.elapsed(), own: self.machine.processor_time() }
    }
}

/// How far an accelerator is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// There is no other.
    Full,
    /// It has yet to carry this guest.
    OnTrial,
}

/// How long is waited, in the guest's own time: until all must be over; for a sound from a firmware or boot loader; from a
/// kernel and what follows, which works long without a word. By the wall, for more after it seems to stand, and for a prompt
/// after everything is said to be started.
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
/// With KVM, until a program of the guest runs: that takes a few seconds of its time, if KVM works.
const ON_TRIAL: Duration = Duration::from_secs(45);
/// And for a sound.
const ON_TRIAL_SILENT: Duration = Duration::from_secs(15);
/// How many times as long a guest may sleep as it may work. systemd waits 90 s for a device, dracut twice that.
const SLEEPING: u32 = 4;

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

/// Why watching ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It says that it stands, or that somebody can log in.
    Said,
    /// It said nothing for a long time.
    Silence,
    /// It took too long.
    Timeout,
    /// KVM did not bring it as far as a program of its own.
    NotCarried,
    /// Its processor is halted for good.
    Halted,
    /// QEMU stopped it, for this reason.
    Paused(String),
    /// It switched itself off.
    Off,
    /// It starts again and again.
    Loop,
}

/// What was seen.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) end: End,
    pub(super) screen: String,
    pub(super) took: Time,
}

/// Watches one machine.
pub(super) struct Watch {
    patience: Patience,
    trust: Trust,
    /// The user's word on how long it may take.
    timeout: Option<Duration>,
    reader: Reader,
    /// Bytes of the serial line that the reader has.
    read: usize,
}

impl Watch {
    pub(super) fn new(accelerator: Accelerator, trust: Trust, timeout: Option<Duration>) -> Watch {
        let patience = if accelerator == Accelerator::Kvm { FAST } else { SLOW };
        Watch { patience, trust, timeout, reader: Reader::default(), read: 0 }
    }

    pub(super) fn until_it_stands(&mut self, guest: &mut impl Guest, progress: &mut dyn FnMut(&Console)) -> Seen {
        let mut screen = String::new();
        let mut looked = Duration::ZERO;
        let mut sound = Time::default();
        // Since when it seems to be at an end, and how often in a row its processor was found halted.
        let mut ended: Option<Duration> = None;
        let mut halted = 0;
        loop {
            let heard = guest.hear(Duration::from_millis(200));
            let time = guest.time();
            let mut seen = false;
            let mut paused = None;
            if time.wall.saturating_sub(looked) > SCREEN {
                looked = time.wall;
                let now = guest.screen();
                seen = !now.is_empty() && now != screen;
                screen = if now.is_empty() { screen } else { now };
                match guest.state() {
                    State::Running => halted = 0,
                    State::Halted => halted += 1,
                    State::Paused(why) => paused = Some(why),
                }
            }
            if heard || seen {
                sound = time;
                halted = 0;
            }
            let console = self.console(guest.console(), &screen);
            if heard || seen {
                progress(&console);
            }
            let wait = match &console.verdict {
                Verdict::Reached { prompt: true, .. } => Some(Duration::ZERO),
                Verdict::Reached { prompt: false, .. } => Some(self.patience.prompt),
                Verdict::Stopped(_) => Some(self.patience.halt),
                Verdict::GoingOn(_) | Verdict::Nothing => None,
            };
            ended = wait.and(ended.or(Some(time.wall)));
            let done = wait.zip(ended).is_some_and(|(wait, since)| time.wall.saturating_sub(since) >= wait);
            let early = console.stage <= ConsoleStage::BootConfig;
            let mut quiet = if early { self.patience.loader } else { self.patience.system };
            let on_trial = self.trust == Trust::OnTrial && !runs_programs(&console);
            if on_trial {
                quiet = quiet.min(ON_TRIAL_SILENT);
            }
            let end = match () {
                () if done => End::Said,
                () if guest.is_over() => End::Off,
                () if paused.is_some() => End::Paused(paused.take().unwrap_or_default()),
                () if halted >= 2 => End::Halted,
                () if console.boots >= BOOTS => End::Loop,
                () if on_trial && time.is_over(ON_TRIAL) => End::NotCarried,
                () if time.since(sound).is_over(quiet) => End::Silence,
                () if self.timeout.is_some_and(|limit| time.wall >= limit) => End::Timeout,
                () if self.timeout.is_none() && time.is_over(self.patience.all) => End::Timeout,
                () => continue,
            };
            let now = guest.screen();
            return Seen { end, screen: if now.is_empty() { screen } else { now }, took: time };
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

/// Whether programs run on its kernel: then whatever runs the guest has shown that it can.
fn runs_programs(console: &Console) -> bool {
    matches!(console.verdict, Verdict::Reached { .. }) || console.stage > ConsoleStage::Initramfs
}

/// Whether how a boot under KVM ended may be KVM's doing: no program of the guest ran, and nothing that was printed says
/// why. A kernel that panics and blames no part of the disk is among that.
pub(super) fn is_kvm_suspected(console: &Console) -> bool {
    match &console.verdict {
        _ if runs_programs(console) => false,
        Verdict::Stopped(stop) => stop.cause == Cause::KernelPanic,
        Verdict::Reached { .. } | Verdict::GoingOn(_) | Verdict::Nothing => true,
    }
}

/// Which of two consoles of one machine tells more: the one with the login, else the one that came further, else the one
/// that says where it stands.
pub(super) fn worth(console: &Console) -> (bool, ConsoleStage, bool) {
    let reached = matches!(console.verdict, Verdict::Reached { .. });
    (reached, console.stage, matches!(console.verdict, Verdict::Stopped(_)))
}

/// How it went. Silence tells nothing: only a guest that printed why, halted, went off or starts again and again stopped.
pub(super) fn verdict(console: &Console, seen: &Seen) -> (Outcome, Option<Text>) {
    let cause = match &console.verdict {
        Verdict::Reached { .. } => return (Outcome::Login, None),
        Verdict::Stopped(_) => return (Outcome::Stopped, None),
        Verdict::GoingOn(stop) => Some(stop.cause),
        Verdict::Nothing => None,
    };
    let untold = |why: Text| (Outcome::Untold, Some(why));
    let (seconds, own) = (seen.took.wall.as_secs(), seen.took.own.as_secs());
    match &seen.end {
        End::Paused(why) => untold(tr!("QEMU stopped it ({why})", why)),
        _ if cause.is_none() => untold(tr!("neither the serial line nor the screen shows anything")),
        End::Timeout => untold(tr!("it is still busy after {seconds} s: allow more with --timeout", seconds)),
        End::Said | End::Halted | End::Off | End::Loop => (Outcome::Stopped, None),
        End::Silence if console.stage == ConsoleStage::Kernel && console.kernel.is_none() => untold(tr!(
            "the kernel was started and then prints nothing, neither on the serial line nor on a text screen"
        )),
        // It printed a reason before it fell silent.
        End::Silence | End::NotCarried if cause != Some(Cause::Silence) => (Outcome::Stopped, None),
        End::Silence | End::NotCarried => untold(tr!(
            "it has stopped printing, after {seconds} s, in which it used {own} s of CPU time",
            seconds,
            own
        )),
    }
}

/// What is to be said of an end that no line of the console tells.
pub(super) fn remark(end: &End) -> Option<Text> {
    match end {
        End::Halted => Some(tr!("the guest's CPU is halted, with interrupts off")),
        End::Off => Some(tr!("the guest powered itself off")),
        End::Loop => Some(tr!("the guest reboots over and over")),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
