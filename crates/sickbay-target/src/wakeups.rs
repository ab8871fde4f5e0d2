//! What wakes somebody who watches the running system: the kernel, when threads wait for long (PSI); somebody who writes a kernel
//! parameter; who wants it to end; and the clock.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::sys;

/// When the kernel says that threads wait: a file below `/proc/pressure` and what is written to it, microseconds in so many.
/// An ordinary user may only ask for windows of two seconds.
const TRIGGERS: [(&str, [&str; 2]); 3] = [
    ("cpu", ["some 600000 1000000", "some 1200000 2000000"]),
    ("io", ["some 200000 1000000", "some 400000 2000000"]),
    ("memory", ["some 100000 1000000", "some 200000 2000000"]),
];

/// Why somebody was woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// It is time.
    Time,
    /// Threads wait for what that file of `/proc/pressure` is about.
    Pressure(&'static str),
    /// It shall end.
    Ended,
}

/// Somebody wrote a kernel parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The file below `/proc/sys`.
    pub parameter: String,
    /// The process; 0 for one that cannot be seen from here.
    pub pid: u32,
    /// Its name; empty when it was gone by then.
    pub comm: String,
    /// What the parameter is now.
    pub value: Option<String>,
}

/// What to wait for.
#[derive(Debug)]
pub struct Wakeups {
    end: OwnedFd,
    pressure: Vec<(&'static str, OwnedFd)>,
    writes: Option<OwnedFd>,
    seen: Vec<Written>,
}

/// So many writes are kept until they are asked for.
const WRITES: usize = 256;

impl Wakeups {
    /// From now on SIGTERM and SIGINT end nothing but the waiting. `parameters` are files below `/proc/sys`.
    ///
    /// # Errors
    /// The kernel's, where signals cannot be had. Without the rest there is less that wakes.
    pub fn new(parameters: &[&str]) -> io::Result<Wakeups> {
        let flags = rustix::pipe::PipeFlags::CLOEXEC | rustix::pipe::PipeFlags::NONBLOCK;
        let (end, told) = rustix::pipe::pipe_with(flags)?;
        sys::on_end(told)?;
        let pressure = TRIGGERS.iter().filter_map(|(file, words)| Some((*file, trigger(file, words)?))).collect();
        let open = |parameter: &&str| {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOFOLLOW;
            rustix::fs::open(Path::new("/proc/sys").join(parameter), flags, Mode::empty()).ok()
        };
        let files: Vec<OwnedFd> = parameters.iter().filter_map(open).collect();
        let marks: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        let writes = sys::watch_writes(&marks).ok().filter(|(_, watched)| *watched > 0).map(|(queue, _)| queue);
        Ok(Wakeups { end, pressure, writes, seen: Vec::new() })
    }

    /// Waits until then, or for something to happen before.
    pub fn wait(&mut self, until: Instant) -> Woken {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let wait = Timespec { tv_sec: left.as_secs().try_into().unwrap_or(1), tv_nsec: left.subsec_nanos().into() };
            let mut files = vec![PollFd::new(&self.end, PollFlags::IN)];
            files.extend(self.pressure.iter().map(|(_, file)| PollFd::new(file, PollFlags::PRI)));
            files.extend(self.writes.iter().map(|queue| PollFd::new(queue, PollFlags::IN)));
            match poll(&mut files, Some(&wait)) {
                Ok(0) => return Woken::Time,
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                // Nothing can be waited for but time.
                Err(_) => {
                    std::thread::sleep(left);
                    return Woken::Time;
                }
            }
            let events: Vec<PollFlags> = files.iter().map(PollFd::revents).collect();
            drop(files);
            let (first, rest) = events.split_first().unwrap_or((&PollFlags::IN, &[]));
            if !first.is_empty() {
                return Woken::Ended;
            }
            let (pressed, written) = rest.split_at_checked(self.pressure.len()).unwrap_or_default();
            if written.iter().any(|event| !event.is_empty()) {
                self.note_writes();
            }
            // A trigger that is broken would wake for ever.
            if let Some(broken) = pressed.iter().position(|event| event.contains(PollFlags::ERR)) {
                self.pressure.remove(broken);
                continue;
            }
            if let Some(index) = pressed.iter().position(|event| event.contains(PollFlags::PRI)) {
                return Woken::Pressure(self.pressure.get(index).map_or("", |(file, _)| file));
            }
        }
    }

    /// Who wrote parameters since this was called last.
    pub fn writes(&mut self) -> Vec<Written> {
        std::mem::take(&mut self.seen)
    }

    fn note_writes(&mut self) {
        let Some(queue) = &self.writes else { return };
        let mut buffer = vec![0; 4 << 10];
        let Ok(length) = rustix::io::read(queue, &mut buffer) else { return };
        for event in sys::opens(buffer.get(..length).unwrap_or_default()) {
            let (Some(file), Ok(pid)) = (event.file, u32::try_from(event.pid)) else { continue };
            if pid == std::process::id() || self.seen.len() >= WRITES {
                continue;
            }
            let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            let path = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap_or_default();
            let Ok(parameter) = path.strip_prefix("/proc/sys") else { continue };
            let value = std::fs::read_to_string(&path).ok().map(|text| text.trim().to_owned());
            self.seen.push(Written {
                parameter: parameter.to_string_lossy().into_owned(),
                pid,
                comm: comm.trim_end().to_owned(),
                value,
            });
        }
    }
}

/// Asks the kernel to tell; `None` where it has no PSI, or this user may not ask.
fn trigger(file: &str, words: &[&str]) -> Option<OwnedFd> {
    words.iter().find_map(|words| {
        let flags = (OFlags::NONBLOCK | OFlags::CLOEXEC).bits().cast_signed();
        let path = Path::new("/proc/pressure").join(file);
        let mut opened = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path).ok()?;
        opened.write_all(format!("{words}\0").as_bytes()).ok()?;
        Some(OwnedFd::from(opened))
    })
}

/// Lets all others go first.
pub fn stand_back() {
    // Without it, it is only less polite.
    let _ = rustix::process::setpriority_process(None, 10);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn time_writes_and_the_end() {
        let mut wakeups = Wakeups::new(&["vm/stat_interval", "no/such/parameter"]).expect("signals");
        let began = Instant::now();
        assert_eq!(wakeups.wait(began + Duration::from_millis(30)), Woken::Time);
        assert!(began.elapsed() >= Duration::from_millis(30));
        let path = "/proc/sys/vm/stat_interval";
        let value = std::fs::read_to_string(path).expect("a parameter");
        // The same again changes nothing.
        let script = format!("sleep 0.1; echo {} >{path}; sleep 0.3", value.trim());
        let mut child = std::process::Command::new("sh").args(["-c", &script]).spawn().expect("a shell");
        while wakeups.wait(Instant::now() + Duration::from_millis(100)) != Woken::Time || wakeups.seen.is_empty() {
            assert!(began.elapsed() < Duration::from_secs(20));
        }
        let seen = wakeups.writes();
        let expected = Written {
            parameter: "vm/stat_interval".into(),
            pid: child.id(),
            comm: "sh".into(),
            value: Some(value.trim().into()),
        };
        assert_eq!(seen, [expected]);
        child.wait().expect("ended");
        // SIGTERM, as a service manager sends it.
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM).expect("sent");
        assert_eq!(wakeups.wait(Instant::now() + Duration::from_secs(20)), Woken::Ended);
    }
}
