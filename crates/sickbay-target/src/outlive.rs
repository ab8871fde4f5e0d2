//! A process that outlives the session in which it was started: what takes back a repair that nobody confirms, since whoever would
//! may be cut off by that very repair.

use std::ffi::OsStr;
use std::io::{self, IsTerminal};
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

use crate::sys;

/// Starts this program once more, in a session of its own that no hangup reaches. Nobody waits for it; what it says goes to the terminal,
/// if there is one: a pipe would be kept open by it.
///
/// # Errors
/// When it cannot be started.
pub fn outlive<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> io::Result<()> {
    let said = if io::stderr().is_terminal() { Stdio::inherit() } else { Stdio::null() };
    let mut command = Command::new("/proc/self/exe");
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(said).current_dir("/");
    sys::before_exec(&mut command, apart);
    command.spawn().map(drop)
}

/// In the child, before it is the program. System calls only, see [`sys::before_exec`].
fn apart() -> io::Result<()> {
    rustix::process::setsid()?;
    sys::ignore_hangup();
    sys::close_others_on_exec()
}

/// Whether the process that started this one is still there. `parent` is what [`parent`] said at the beginning.
pub fn has_parent(of: Option<i32>) -> bool {
    parent() == of
}

/// The process that started this one.
pub fn parent() -> Option<i32> {
    rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get())
}

/// A line for the system's log, of the facility "daemon". Where nobody listens it is lost.
pub fn tell_log(text: &str) {
    // LOG_DAEMON (3 << 3) and LOG_WARNING (4).
    let line = format!("<28>sickbay[{}]: {text}", std::process::id());
    let _ = UnixDatagram::unbound().and_then(|socket| socket.send_to(line.as_bytes(), "/dev/log"));
}
