//! Runs a program, or follows one that runs, and tells which files, programs and peers it and its children look for, and what the kernel
//! answers: as strace(1) would write it, so that there is one reader of both.
//!
//! A program that is started gets a filter (seccomp(2)) by which only these calls stop it. Whoever is attached to has none, and is stopped
//! by every call.

mod calls;

use std::collections::HashMap;
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use self::calls::Kind;
use crate::sys::ptrace::{self, Program, Stop};

/// How the command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With this status.
    Status(i32),
    /// By this signal.
    Signal(i32),
    /// It goes on without us.
    LetGo,
}

/// What is told of a run.
#[derive(Clone, Debug)]
pub struct Traced {
    /// How the command itself ended.
    pub end: End,
    /// Programs that gain the rights of their files' owners, and did not, because they were traced.
    pub set_uid: Vec<PathBuf>,
    /// It started so many processes at a time that all were killed.
    pub too_many: bool,
    /// How many processes there were.
    pub processes: u64,
}

/// So many processes and threads are followed at a time.
const MOST: usize = 4096;

struct Task {
    /// The process that the thread is of.
    pid: i32,
    /// The call that it is in, if it is one that counts.
    inside: Option<calls::Begun>,
    /// Whether its next stop is the end of a call.
    at_end: bool,
}

struct Tracer<'a> {
    tasks: HashMap<i32, Task>,
    /// Whether a filter says which calls stop a process.
    filtered: bool,
    take: &'a mut dyn FnMut(&str),
    set_uid: Vec<PathBuf>,
    too_many: bool,
    processes: u64,
    /// Everybody is to be let go at the next stop.
    leaving: bool,
    /// With what signal everybody was told to end.
    ending: Option<i32>,
}

/// Runs a command with the user's environment and terminal until it and all its children have ended. `take` gets the lines.
///
/// # Errors
/// The program is not found in `PATH`, or the kernel does not let it be traced.
pub fn run(words: &[OsString], output_aside: bool, take: &mut dyn FnMut(&str)) -> io::Result<Traced> {
    let Some(name) = words.first() else { return Err(io::ErrorKind::InvalidInput.into()) };
    let text = |text: &OsStr| CString::new(text.as_bytes()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
    let mut environment = Vec::new();
    for (key, value) in std::env::vars_os() {
        let mut one = key.into_vec();
        one.push(b'=');
        one.extend(value.into_vec());
        environment.push(CString::new(one).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?);
    }
    let mut arguments = Vec::new();
    for word in words {
        arguments.push(text(word)?);
    }
    let program =
        Program { path: text(find(name)?.as_os_str())?, arguments, environment, filter: calls::filter(), output_aside };
    let (go, mut to) = io::pipe()?;
    let pid = ptrace::start(&program, go.as_fd(), to.as_fd())?;
    drop(go);
    if let Err(error) = ptrace::seize(pid, ptrace::FOLLOW | libc::PTRACE_O_EXITKILL) {
        // It ends when nobody tells it to go.
        drop(to);
        let _ = ptrace::wait();
        return Err(error);
    }
    let mut tracer = Tracer::new(true, take);
    tracer.tasks.insert(pid, Task { pid, inside: None, at_end: false });
    ptrace::note_the_end();
    io::Write::write_all(&mut to, &[1])?;
    drop(to);
    // Ctrl-C is the command's: it is in the same foreground.
    let end = tracer.follow(pid, |_| false)?;
    Ok(tracer.told(end))
}

/// Follows a process and its threads until it ends, `seconds` have passed or Ctrl-C is pressed; then it is let go.
///
/// # Errors
/// There is no such process, or it may not be traced.
pub fn attach(pid: u32, seconds: Option<u32>, take: &mut dyn FnMut(&str)) -> io::Result<Traced> {
    let pid = i32::try_from(pid).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut tracer = Tracer::new(false, take);
    ptrace::seize(pid, ptrace::FOLLOW)?;
    tracer.tasks.insert(pid, Task { pid, inside: None, at_end: false });
    // Threads that begin meanwhile are found in the next round.
    for _ in 0..3 {
        for entry in std::fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
            let tid = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok());
            if let Some(tid) = tid.filter(|tid| !tracer.tasks.contains_key(tid))
                && tracer.tasks.len() < MOST
                && ptrace::seize(tid, ptrace::FOLLOW).is_ok()
            {
                tracer.tasks.insert(tid, Task { pid, inside: None, at_end: false });
            }
        }
    }
    ptrace::note_the_end();
    if let Some(seconds) = seconds {
        ptrace::end_in(seconds.max(1));
    }
    // They are stopped once, so that they go on from call to call.
    for tid in tracer.tasks.keys() {
        let _ = ptrace::interrupt(*tid);
    }
    let end = tracer.follow(pid, |_| ptrace::end_is_asked())?;
    Ok(tracer.told(end))
}

/// Where a shell would find a program.
fn find(name: &OsStr) -> io::Result<PathBuf> {
    if name.as_bytes().contains(&b'/') {
        return Ok(PathBuf::from(name));
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| crate::command::PATH.into());
    let dirs = std::env::split_paths(&path);
    let runs = |path: &PathBuf| path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok();
    dirs.map(|dir| dir.join(name)).find(runs).ok_or_else(|| io::ErrorKind::NotFound.into())
}

impl<'a> Tracer<'a> {
    fn new(filtered: bool, take: &'a mut dyn FnMut(&str)) -> Tracer<'a> {
        Tracer {
            tasks: HashMap::new(),
            filtered,
            take,
            set_uid: Vec::new(),
            too_many: false,
            processes: 1,
            leaving: false,
            ending: None,
        }
    }

    fn told(self, end: End) -> Traced {
        Traced { end, set_uid: self.set_uid, too_many: self.too_many, processes: self.processes }
    }

    fn follow(&mut self, root: i32, leave: impl Fn(&Tracer<'_>) -> bool) -> io::Result<End> {
        let mut end = End::LetGo;
        while !self.tasks.is_empty() {
            if !self.leaving && leave(self) {
                self.leaving = true;
                for tid in self.tasks.keys() {
                    let _ = ptrace::interrupt(*tid);
                }
            }
            // Whoever ends us means the command; the second time, whatever it makes of it.
            if self.filtered && ptrace::is_told_to_end() {
                let signal = if self.ending.is_some() { libc::SIGKILL } else { libc::SIGTERM };
                self.tasks.values().for_each(|task| ptrace::kill(task.pid, signal));
                self.ending = Some(signal);
            }
            let stop = match ptrace::wait() {
                Ok(Some(stop)) => stop,
                Ok(None) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let Stop { tid, status } = stop;
            if libc::WIFEXITED(status) || libc::WIFSIGNALED(status) {
                self.gone(tid, status);
                if tid == root {
                    end = match libc::WIFEXITED(status) {
                        true => End::Status(libc::WEXITSTATUS(status)),
                        false => End::Signal(libc::WTERMSIG(status)),
                    };
                }
            } else if libc::WIFSTOPPED(status) {
                self.stopped(tid, status);
            }
        }
        Ok(end)
    }

    fn gone(&mut self, tid: i32, status: i32) {
        let Some(task) = self.tasks.remove(&tid) else { return };
        // A thread's end is no process's.
        if task.pid != tid {
            return;
        }
        let (how, what) = match libc::WIFEXITED(status) {
            true => (" +++ exited with ", libc::WEXITSTATUS(status).to_string()),
            false => (" +++ killed by ", calls::signal(libc::WTERMSIG(status))),
        };
        let line = [&tid.to_string(), how, &what, " +++\n"].concat();
        (self.take)(&line);
    }

    fn stopped(&mut self, tid: i32, status: i32) {
        let (signal, event) = (libc::WSTOPSIG(status), status >> 16);
        if !self.tasks.contains_key(&tid) {
            self.begun(tid);
        }
        if self.leaving {
            let signal = if event == 0 && signal != libc::SIGTRAP | 0x80 { signal } else { 0 };
            let _ = ptrace::detach(tid, signal);
            self.tasks.remove(&tid);
            return;
        }
        let mut pass = 0;
        match event {
            libc::PTRACE_EVENT_SECCOMP => self.call_begins(tid),
            libc::PTRACE_EVENT_EXEC => self.is_another(tid),
            // The end of a group's stop, the beginning of a child, or a stop that was asked for.
            128 => {
                if matches!(signal, libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU) {
                    let _ = ptrace::listen(tid);
                    return;
                }
            }
            0 if signal == libc::SIGTRAP | 0x80 => self.call_stops(tid),
            0 => pass = signal,
            _ => {}
        }
        let calls = !self.filtered || self.tasks.get(&tid).is_some_and(|task| task.inside.is_some());
        // One that is gone is told of by the next wait.
        let _ = ptrace::resume(tid, calls, pass);
    }

    /// A thread or process that began.
    fn begun(&mut self, tid: i32) {
        let pid = group_of(tid).unwrap_or(tid);
        self.processes += u64::from(pid == tid);
        self.tasks.insert(tid, Task { pid, inside: None, at_end: false });
        if let Some(signal) = self.ending {
            // It was being begun when the others were told.
            ptrace::kill(pid, signal);
        } else if self.too_many && self.filtered {
            // What was begun when the others were killed.
            ptrace::kill(pid, libc::SIGKILL);
        } else if self.tasks.len() > MOST && !self.too_many {
            self.too_many = true;
            match self.filtered {
                true => self.tasks.values().for_each(|task| ptrace::kill(task.pid, libc::SIGKILL)),
                false => self.leaving = true,
            }
        }
    }

    /// Another program begins in a process; its other threads are gone.
    fn is_another(&mut self, tid: i32) {
        let pid = self.tasks.get(&tid).map_or(tid, |task| task.pid);
        self.tasks.retain(|other, task| task.pid != pid || *other == tid);
        if rustix::process::geteuid().is_root() {
            return;
        }
        let path = std::fs::read_link(format!("/proc/{tid}/exe"));
        let gains = |path: &Path| {
            use std::os::unix::fs::MetadataExt;
            std::fs::metadata(path).is_ok_and(|found| found.mode() & 0o6000 != 0)
        };
        if let Ok(path) = path.and_then(|path| if gains(&path) { Ok(path) } else { Err(io::ErrorKind::Other.into()) })
            && !self.set_uid.contains(&path)
            && self.set_uid.len() < 16
        {
            self.set_uid.push(path);
        }
    }

    fn call_begins(&mut self, tid: i32) {
        let begun = ptrace::call(tid).ok().and_then(|call| calls::begun(tid, &call));
        if let Some(task) = self.tasks.get_mut(&tid) {
            (task.inside, task.at_end) = (begun, true);
        }
    }

    /// The beginning or the end of a call.
    fn call_stops(&mut self, tid: i32) {
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        if !self.filtered && !task.at_end {
            task.at_end = true;
            task.inside = ptrace::call(tid).ok().and_then(|call| calls::begun(tid, &call));
            return;
        }
        task.at_end = false;
        let Some(begun) = task.inside.take() else { return };
        let pid = task.pid;
        let Ok(call) = ptrace::call(tid) else { return };
        let result = match call.result {
            error @ -4095..=-1 => {
                let code = i32::try_from(error.saturating_neg()).unwrap_or(0);
                // What begins again is no answer.
                if matches!(code, 512..=516) {
                    return;
                }
                let words = Errno::from_raw_os_error(code).to_string();
                format!("-1 {} ({})", calls::errno(code), words.split(" (os error").next().unwrap_or_default())
            }
            well => well.to_string(),
        };
        // A program that is there, and cannot be started for want of what runs it.
        let lacks = call.result == -i64::from(libc::ENOENT) && begun.name == "execve" && !begun.text.is_empty();
        let from = if begun.text.starts_with('/') { "root" } else { "cwd/" };
        if lacks && std::fs::metadata(format!("/proc/{tid}/{from}{}", begun.text)).is_ok() {
            (self.take)(&format!("{pid} access(\"{}\") = 0\n", begun.text));
        }
        let place = if call.result < 0 { begun.place(tid) } else { None };
        let args = match begun.kind {
            Kind::Write => format!("2, \"{}\"", begun.text),
            _ => format!("\"{}\"", place.as_deref().unwrap_or(&begun.text)),
        };
        (self.take)(&format!("{pid} {}({args}) = {result}\n", begun.name));
    }
}

/// The process that a thread is of.
fn group_of(tid: i32) -> Option<i32> {
    let status = std::fs::read_to_string(format!("/proc/{tid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(words: &[&str]) -> (Traced, Vec<String>) {
        let mut lines = Vec::new();
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        let traced = run(&words, true, &mut |line| lines.push(line.trim_end().to_owned())).expect("it runs");
        (traced, lines)
    }

    #[test]
    fn look_ups_and_how_it_ends() {
        let (traced, lines) = lines(&["sh", "-c", "cat /no/such/file 2>/dev/null; exit 3"]);
        assert_eq!(traced.end, End::Status(3));
        assert!(lines.iter().any(|line| line.contains("openat(\"/no/such/file\") = -1 ENOENT")), "{lines:#?}");
        assert!(lines.last().is_some_and(|line| line.ends_with("+++ exited with 3 +++")), "{lines:#?}");
        assert!(traced.processes >= 2);
        let (traced, _) = self::lines(&["sh", "-c", "kill -9 $$"]);
        assert_eq!(traced.end, End::Signal(9));
        assert!(run(&["no-such-program".into()], true, &mut |_| {}).is_err());
    }

    #[test]
    fn attached_and_let_go() {
        let mut child = std::process::Command::new("sh")
            .args(["-c", "while :; do cat /no/such/file 2>/dev/null; sleep 0.05; done"])
            .spawn()
            .expect("it runs");
        let mut found = false;
        let traced = attach(child.id(), Some(1), &mut |line| found |= line.contains("/no/such/file"));
        assert_eq!(traced.expect("it may be traced").end, End::LetGo);
        assert!(found);
        // It goes on.
        assert!(child.try_wait().expect("it can be asked").is_none());
        let state = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).expect("it is there");
        assert!(!state.contains(") t ") && !state.contains(") T "), "{state}");
        child.kill().expect("it ends");
        child.wait().expect("it ended");
    }
}
