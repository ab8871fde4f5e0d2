//! Programs of this machine: always with a deadline, always with bounded output, and never outliving us.

#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, getrlimit, setrlimit, waitid};

use crate::sys;

/// Where programs are looked for: a user's own directories are none of ours.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a program did.
#[derive(Debug, Clone)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to standard output, up to the limit.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error, up to the limit.
    pub stderr: Vec<u8>,
    /// It wrote more than the limit to one of them; the rest was read and dropped.
    pub cut: bool,
}

impl Output {
    /// Whether it ended with status 0.
    pub fn success(&self) -> bool {
        self.status.success()
    }

    /// The last line it wrote to standard error, or how it ended when it said nothing.
    pub fn complaint(&self) -> String {
        let text = String::from_utf8_lossy(&self.stderr);
        match text.lines().rev().map(str::trim).find(|line| !line.is_empty()) {
            Some(line) => line.to_owned(),
            None => match (self.status.code(), self.status.signal()) {
                (Some(code), _) => format!("it ended with status {code}"),
                (None, Some(signal)) => format!("it was ended by signal {signal}"),
                (None, None) => "it did not end normally".to_owned(),
            },
        }
    }
}

/// Why a program gave no [`Output`].
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It is not installed.
    #[error("{program} is not installed on this machine")]
    NotFound {
        /// The program that was started.
        program: String,
    },
    /// It did not end in time and was killed.
    #[error("{program} did not end within {} s and was killed", .deadline.as_secs_f32())]
    TimedOut {
        /// The program that was started.
        program: String,
        /// How long it was waited for.
        deadline: Duration,
    },
    /// It started more and more processes and was killed.
    #[error("{program} started more and more processes and was killed")]
    TooMuch {
        /// The program that was started.
        program: String,
    },
    /// It could not be started or spoken to.
    #[error("{program} could not be run: {source}")]
    Io {
        /// The program that was started.
        program: String,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// Runs a program of this machine and waits for it, at most until `deadline` has passed; then it, and whatever it
/// started in its process group, is killed. So it is when this process dies.
///
/// It gets `stdin`, an English environment and nothing of the user's, and of each of its two outputs `limit` bytes are
/// kept.
///
/// # Errors
/// See [`CommandError`]. A program that fails is no error: see [`Output::success`].
pub fn run<A: AsRef<OsStr>>(
    program: &str,
    args: &[A],
    stdin: &[u8],
    deadline: Duration,
    limit: usize,
) -> Result<Output, CommandError> {
    let mut command = plain(program);
    command.args(args);
    sys::before_exec(&mut command, die_with_parent);
    converse(program, command, stdin, deadline, limit, &mut |_| true)
}

/// Starts a command whose hook asks for [`die_with_parent`], and does for it what [`run`] promises. It is killed as well when
/// `bound`, which is asked again and again, says that it does too much.
pub(crate) fn converse(
    program: &str,
    mut command: Command,
    stdin: &[u8],
    deadline: Duration,
    limit: usize,
    bound: &mut dyn FnMut(u32) -> bool,
) -> Result<Output, CommandError> {
    let until = Instant::now() + deadline;
    let fail = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => CommandError::NotFound { program: program.to_owned() },
        _ => CommandError::Io { program: program.to_owned(), source },
    };
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = Group(Some(command.spawn().map_err(fail)?));
    let mut talk = Talk::new(child.0.as_mut(), stdin, limit).map_err(fail)?;
    match talk.until(child.0.as_ref(), until, bound).map_err(fail)? {
        Talked::ToItsEnd => {}
        Talked::TooLong => return Err(CommandError::TimedOut { program: program.to_owned(), deadline }),
        Talked::TooMuch => return Err(CommandError::TooMuch { program: program.to_owned() }),
    }
    let status = child.end().map_err(fail)?;
    let cut = talk.stdout.cut || talk.stderr.cut;
    Ok(Output { status, stdout: talk.stdout.bytes, stderr: talk.stderr.bytes, cut })
}

/// Whether a program is installed where [`run`] looks.
pub fn is_installed(program: &str) -> bool {
    PATH.split(':').any(|dir| rustix::fs::access(Path::new(dir).join(program), rustix::fs::Access::EXEC_OK).is_ok())
}

/// Descriptors that a program may have.
const FILES: u64 = 1024;

/// A program with an English environment and nothing of the user's: no descriptor, no terminal, whose keys do not reach it.
pub(crate) fn plain(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", PATH).env("LC_ALL", "C").current_dir("/");
    sys::before_exec(&mut command, apart);
    command
}

/// What the child does before anything else. System calls only, see [`sys::before_exec`].
fn apart() -> io::Result<()> {
    rustix::process::setsid()?;
    // What crashes leaves nothing.
    limit(Resource::Core, 0)?;
    limit(Resource::Nofile, FILES)?;
    sys::close_others_on_exec()
}

/// Bounds a resource for good: lower than it is, never higher, which not even every root may.
pub(crate) fn limit(resource: Resource, most: u64) -> io::Result<()> {
    let most = getrlimit(resource).maximum.map_or(most, |now| now.min(most));
    Ok(setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?)
}

/// Asks the kernel to kill this process when the thread that started it ends.
pub(crate) fn die_with_parent() -> io::Result<()> {
    Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// A child that leads a process group. With it ends all of the group.
#[derive(Debug)]
pub(crate) struct Group(Option<Child>);

impl Group {
    /// Of a child that was made by [`plain`].
    pub(crate) fn of(child: Child) -> Group {
        Group(Some(child))
    }

    /// Its process.
    pub(crate) fn id(&self) -> Option<u32> {
        self.0.as_ref().map(Child::id)
    }

    /// What it writes; given once.
    pub(crate) fn stdout(&mut self) -> Option<std::process::ChildStdout> {
        self.0.as_mut()?.stdout.take()
    }

    /// Whether it has ended; leaves it to be waited for.
    pub(crate) fn has_ended(&self) -> io::Result<bool> {
        has_ended(self.0.as_ref())
    }

    /// Ends it, and gives the last line that it wrote to standard error, or how it ended.
    pub(crate) fn complaint(&mut self) -> String {
        self.ended().map_or_else(|error| error.to_string(), |(_, complaint)| complaint)
    }

    /// Ends it, and gives how it ended as well.
    pub(crate) fn ended(&mut self) -> io::Result<(ExitStatus, String)> {
        let pipe = self.0.as_mut().and_then(|child| child.stderr.take());
        let status = self.end()?;
        let mut stderr = Vec::new();
        if let Some(pipe) = pipe {
            let _ = pipe.take(64 << 10).read_to_end(&mut stderr); // what there is
        }
        let complaint = Output { status, stdout: Vec::new(), stderr, cut: false }.complaint();
        Ok((status, complaint))
    }

    /// Kills the group, before the child is waited for: until then its number belongs to nobody else.
    fn end(&mut self) -> io::Result<ExitStatus> {
        let mut child = self.0.take().ok_or(io::ErrorKind::NotFound)?;
        if let Some(group) = pid(&child) {
            let _ = rustix::process::kill_process_group(group, Signal::KILL); // there may be nobody left
        }
        child.wait()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

fn pid(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

/// Whether it has ended; leaves it to be waited for.
fn has_ended(child: Option<&Child>) -> io::Result<bool> {
    let Some(pid) = child.and_then(pid) else {
        return Ok(true);
    };
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    Ok(waitid(WaitId::Pid(pid), options)?.is_some())
}

/// The three pipes to a child.
struct Talk<'i> {
    stdin: Option<(OwnedFd, &'i [u8])>,
    stdout: Intake,
    stderr: Intake,
}

/// How a talk ended.
enum Talked {
    ToItsEnd,
    TooLong,
    TooMuch,
}

struct Intake {
    pipe: Option<std::fs::File>,
    bytes: Vec<u8>,
    limit: usize,
    cut: bool,
}

impl<'i> Talk<'i> {
    fn new(child: Option<&mut Child>, stdin: &'i [u8], limit: usize) -> io::Result<Talk<'i>> {
        let child = child.ok_or(io::ErrorKind::NotFound)?;
        let quiet = |fd: OwnedFd| -> io::Result<OwnedFd> {
            fcntl_setfl(&fd, fcntl_getfl(&fd)? | OFlags::NONBLOCK)?;
            Ok(fd)
        };
        let intake = |fd: Option<OwnedFd>| -> io::Result<Intake> {
            let pipe = fd.map(quiet).transpose()?.map(std::fs::File::from);
            Ok(Intake { pipe, bytes: Vec::new(), limit, cut: false })
        };
        Ok(Talk {
            stdin: child.stdin.take().map(|pipe| quiet(pipe.into())).transpose()?.map(|fd| (fd, stdin)),
            stdout: intake(child.stdout.take().map(OwnedFd::from))?,
            stderr: intake(child.stderr.take().map(OwnedFd::from))?,
        })
    }

    /// Talks until the child has ended, `until` has come, or `bound` says that it does too much.
    fn until(
        &mut self,
        child: Option<&Child>,
        until: Instant,
        bound: &mut dyn FnMut(u32) -> bool,
    ) -> io::Result<Talked> {
        loop {
            if self.stdin.as_ref().is_some_and(|(_, rest)| rest.is_empty()) {
                self.stdin = None; // closed: that is all
            }
            let ended = has_ended(child)?;
            let heard = self.exchange(if ended { Duration::ZERO } else { slice(until) })?;
            // A grandchild in the background may hold the pipes for ever: once the child has ended, what is in them
            // now is all there is.
            if ended && !heard {
                return Ok(Talked::ToItsEnd);
            }
            if Instant::now() >= until {
                return Ok(if ended { Talked::ToItsEnd } else { Talked::TooLong });
            }
            if !ended && child.is_some_and(|child| !bound(child.id())) {
                return Ok(Talked::TooMuch);
            }
        }
    }

    /// Moves what can be moved within `wait`; tells whether anything was.
    fn exchange(&mut self, wait: Duration) -> io::Result<bool> {
        let mut fds = Vec::with_capacity(3);
        fds.extend(self.stdout.pipe.as_ref().map(|pipe| PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN)));
        fds.extend(self.stderr.pipe.as_ref().map(|pipe| PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN)));
        fds.extend(self.stdin.as_ref().map(|(fd, _)| PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::OUT)));
        let wait = Timespec::try_from(wait).map_err(io::Error::other)?;
        match poll(&mut fds, Some(&wait)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(false),
            Ok(_) => {}
            Err(errno) => return Err(errno.into()),
        }
        if let Some((fd, rest)) = &mut self.stdin {
            match rustix::io::write(fd, rest) {
                Ok(n) => *rest = rest.get(n..).unwrap_or_default(),
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
                Err(_) => self.stdin = None, // it does not want the rest
            }
        }
        let out = self.stdout.take_in()?;
        let err = self.stderr.take_in()?;
        Ok(out || err)
    }
}

impl Intake {
    fn take_in(&mut self) -> io::Result<bool> {
        let Some(pipe) = &mut self.pipe else {
            return Ok(false);
        };
        let mut buffer = [0; 16 << 10];
        match pipe.read(&mut buffer) {
            Ok(0) => self.pipe = None,
            Ok(n) => {
                let room = self.limit.saturating_sub(self.bytes.len());
                self.cut |= n > room;
                self.bytes.extend(buffer.iter().take(n.min(room)));
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
        Ok(true)
    }
}

/// A short wait that does not go beyond `until`: a child may end without a sound.
fn slice(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now()).min(Duration::from_millis(20))
}

/// A program that must not outlive us, however we go.
///
/// A shell waits for the end of a pipe that we hold. That end comes when this is dropped, and when this process dies,
/// by SIGKILL too: one way of cleaning up for every case. Then the program is asked to end (SIGTERM), and five seconds
/// later it is killed, so that six seconds after our end nothing of it is left.
#[derive(Debug)]
pub(crate) struct Keeper {
    shell: Group,
    pid: u32,
    ask: Option<ChildStdin>,
    stopped: bool,
}

/// `$0` is how many seconds the kernel is given to write out what we left, when we died unasked, before the program ends.
const KEEP_RUNNING: &str = r#"exec 3<&0
"$@" </dev/null 3<&- & program=$!
{
    read -r asked <&3; [ "$asked" ] || sleep "$0"
    kill "$program"
    for second in 1 2 3 4 5; do sleep 1; kill -0 "$program" || exit; done
    kill -9 "$program"
} >/dev/null 2>&1 & waiter=$!
wait "$program"; status=$?
kill "$waiter" 2>/dev/null
exit "$status""#;

/// Memory that such a program may fill, in bytes. What it only reserves does not count.
const KEPT_MEMORY: u64 = 2 << 30;

impl Keeper {
    /// Starts a program that ends when we do. `hook` runs before it, see [`sys::before_exec`].
    pub(crate) fn running(program: &mut Command, hook: fn() -> io::Result<()>) -> io::Result<Keeper> {
        let mut shell = plain("sh");
        shell.arg("-c").arg(KEEP_RUNNING).arg("0.3").arg(program.get_program()).args(program.get_args());
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        sys::before_exec(&mut shell, || limit(Resource::Data, KEPT_MEMORY));
        sys::before_exec(&mut shell, hook);
        let mut child = shell.spawn()?;
        Ok(Keeper { pid: child.id(), ask: child.stdin.take(), shell: Group::of(child), stopped: false })
    }

    /// The process of the shell, for its view of the mounts.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// How the program ended, when it has, and what it said.
    pub(crate) fn ended(&mut self) -> io::Result<Option<(ExitStatus, String)>> {
        let Some(shell) = self.shell.0.as_mut() else { return Err(io::ErrorKind::NotFound.into()) };
        let Some(status) = shell.try_wait()? else {
            return Ok(None);
        };
        let mut said = Vec::new();
        if let Some(pipe) = shell.stderr.take() {
            fcntl_setfl(&pipe, fcntl_getfl(&pipe)? | OFlags::NONBLOCK)?;
            let _ = pipe.take(64 << 10).read_to_end(&mut said); // up to what is there
        }
        Ok(Some((status, String::from_utf8_lossy(&said).into_owned())))
    }

    /// Puts the end to it and waits for that, at most `deadline`; then it is killed.
    pub(crate) fn stop(&mut self, deadline: Duration) -> io::Result<ExitStatus> {
        self.stopped = true;
        if let Some(mut pipe) = self.ask.take() {
            let _ = pipe.write_all(b"end\n"); // and with its end, the end of the pipe
        }
        let until = Instant::now() + deadline;
        while !self.shell.has_ended()? {
            if Instant::now() >= until {
                self.shell.end()?;
                return Err(io::ErrorKind::TimedOut.into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.shell.0.as_mut().ok_or(io::ErrorKind::NotFound)?.wait()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if !self.stopped {
            let _ = self.stop(Duration::from_secs(5));
        }
    }
}
