//! A terminal that is taken for a whole screen, and given back as it was however this ends.

use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use sickbay_formats::keys::{self, Key};

use crate::sys;

/// What happened at a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It is time.
    Time,
    /// Keys were pressed.
    Keys(Vec<Key>),
    /// The screen has another size, or somebody else wrote to it: all of it is to be drawn again.
    Redraw,
    /// It shall end: a signal, or the terminal is gone.
    Ended,
}

/// A terminal in raw mode.
#[derive(Debug)]
pub struct Screen {
    signals: OwnedFd,
    before: Termios,
    has_other: bool,
    pending: Vec<u8>,
    is_gone: bool,
}

/// So long a terminal may take between the bytes of one key.
const BETWEEN: Duration = Duration::from_millis(50);

/// What was before, for a panic, which comes while nobody can be asked.
static TAKEN: AtomicBool = AtomicBool::new(false);
static HOOK: Once = Once::new();

/// No other screen, no colours for the whole line: what ends a screen on every terminal.
const LEAVE: &[u8] = b"\x1b[0m\x1b[?25h\x1b[?1049l";
const LEAVE_ONLY: &[u8] = b"\x1b[0m\x1b[?25h\x1b[H\x1b[2J";

impl Screen {
    /// Whether standard input and output are one.
    pub fn is_there() -> bool {
        io::stdin().is_terminal() && io::stdout().is_terminal()
    }

    /// Takes it. `has_other`: whether it has a second screen to draw on, so that what was there comes back.
    ///
    /// # Errors
    /// The kernel's, where there is no terminal, or signals cannot be had.
    pub fn take(has_other: bool) -> io::Result<Screen> {
        let before = tcgetattr(io::stdin())?;
        let flags = rustix::pipe::PipeFlags::CLOEXEC | rustix::pipe::PipeFlags::NONBLOCK;
        let (signals, told) = rustix::pipe::pipe_with(flags)?;
        sys::on_signals(told, sys::OF_SCREENS)?;
        let mut screen = Screen { signals, before, has_other, pending: Vec::new(), is_gone: false };
        give_back_in_a_panic();
        screen.enter()?;
        Ok(screen)
    }

    fn enter(&mut self) -> io::Result<()> {
        let mut raw = self.before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        TAKEN.store(true, Ordering::SeqCst);
        self.write(if self.has_other { b"\x1b[?1049h\x1b[?25l\x1b[2J" } else { b"\x1b[?25l\x1b[2J" });
        Ok(())
    }

    fn leave(&mut self) {
        if TAKEN.swap(false, Ordering::SeqCst) {
            self.write(if self.has_other { LEAVE } else { LEAVE_ONLY });
            // One that is gone needs it no more.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
        }
    }

    /// Columns and lines; `None` where the terminal does not tell.
    pub fn size(&self) -> Option<(u16, u16)> {
        let size = tcgetwinsize(io::stdout()).ok()?;
        (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
    }

    /// Writes to it.
    pub fn write(&mut self, bytes: &[u8]) {
        let mut out = io::stdout().lock();
        if out.write_all(bytes).and_then(|()| out.flush()).is_err() {
            self.is_gone = true;
        }
    }

    /// Stops this process, as Ctrl-Z does, and goes on when it is told to.
    pub fn stop(&mut self) {
        self.leave();
        // SIGSTOP, for the other is answered with this.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP);
        if self.enter().is_err() {
            self.is_gone = true;
        }
    }

    /// Waits until then, or for something to happen before.
    pub fn wait(&mut self, until: Instant) -> Event {
        loop {
            if self.is_gone {
                return Event::Ended;
            }
            let key = (!self.pending.is_empty()).then(|| Instant::now() + BETWEEN);
            let left = key.unwrap_or(until).min(until).saturating_duration_since(Instant::now());
            let wait = Timespec { tv_sec: left.as_secs().try_into().unwrap_or(1), tv_nsec: left.subsec_nanos().into() };
            let input = io::stdin();
            let mut files =
                [PollFd::new(&self.signals, PollFlags::IN), PollFd::from_borrowed_fd(input.as_fd(), PollFlags::IN)];
            match poll(&mut files, Some(&wait)) {
                Ok(0) if !self.pending.is_empty() => return Event::Keys(self.keys(true)),
                Ok(0) => return Event::Time,
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(_) => return Event::Ended,
            }
            let [signals, typed] = files.map(|file| file.revents());
            if !signals.is_empty() {
                match self.signal() {
                    Some(event) => return event,
                    None => continue,
                }
            }
            if typed.contains(PollFlags::IN) {
                let mut buffer = [0; 256];
                match rustix::io::read(io::stdin(), &mut buffer) {
                    Ok(0) => self.is_gone = true,
                    Ok(length) => self.pending.extend(buffer.get(..length).unwrap_or_default()),
                    Err(Errno::INTR | Errno::AGAIN) => continue,
                    Err(_) => self.is_gone = true,
                }
                let keys = self.keys(false);
                if !keys.is_empty() {
                    return Event::Keys(keys);
                }
            } else if !typed.is_empty() {
                self.is_gone = true;
            }
        }
    }

    fn keys(&mut self, is_all: bool) -> Vec<Key> {
        let (keys, used) = keys::parse(&self.pending, is_all);
        self.pending.drain(..used.min(self.pending.len()));
        keys
    }

    fn signal(&mut self) -> Option<Event> {
        let mut told = [0; 64];
        let length = rustix::io::read(&self.signals, &mut told).unwrap_or(0);
        let told = told.get(..length).unwrap_or_default();
        let has = |signal: rustix::process::Signal| told.iter().any(|byte| i32::from(*byte) == signal.as_raw());
        use rustix::process::Signal;
        if has(Signal::TERM) || has(Signal::INT) || has(Signal::HUP) || has(Signal::QUIT) {
            return Some(Event::Ended);
        }
        if has(Signal::TSTP) {
            self.stop();
        } else if has(Signal::CONT) && TAKEN.load(Ordering::SeqCst) {
            // Somebody stopped it by a signal that cannot be answered; the shell has the terminal as it likes it.
            if self.enter().is_err() {
                return Some(Event::Ended);
            }
        }
        (has(Signal::TSTP) || has(Signal::CONT) || has(Signal::WINCH)).then_some(Event::Redraw)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.leave();
    }
}

/// A panic is told on the screen that was before. Of what other threads do their owners take care, and they print nothing.
fn give_back_in_a_panic() {
    HOOK.call_once(|| {
        let main = std::thread::current().id();
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let is_taken = TAKEN.load(Ordering::SeqCst);
            if is_taken && std::thread::current().id() != main {
                return;
            }
            if is_taken {
                // The mode of the terminal is set back when the stack is unwound.
                let _ = io::stdout().lock().write_all(LEAVE);
            }
            before(panic);
        }));
    });
}
