//! ptrace(2), and a child that waits to be traced.

use std::ffi::{CString, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use super::answer;
use crate::inside::Instruction;

/// The registers that tell of a call: its number, its arguments, and what it gave.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Call {
    pub(crate) number: u64,
    pub(crate) arguments: [u64; 6],
    pub(crate) result: i64,
    /// Whether it is one of a program of 32 bits, whose calls have other numbers.
    pub(crate) narrow: bool,
}

/// What a traced process was stopped by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stop {
    pub(crate) tid: i32,
    pub(crate) status: c_int,
}

/// Options of `PTRACE_SEIZE`.
pub(crate) const FOLLOW: c_int = libc::PTRACE_O_TRACESYSGOOD
    | libc::PTRACE_O_TRACEFORK
    | libc::PTRACE_O_TRACEVFORK
    | libc::PTRACE_O_TRACECLONE
    | libc::PTRACE_O_TRACEEXEC
    | libc::PTRACE_O_TRACESECCOMP;

// include/uapi/linux/ptrace.h, elf.h
const GETREGSET: u32 = 0x4204;
const SEIZE: u32 = 0x4206;
const INTERRUPT: u32 = 0x4207;
const LISTEN: u32 = 0x4208;
const NT_PRSTATUS: usize = 1;

fn request(request: u32, tid: i32, data: usize) -> io::Result<()> {
    // SAFETY: none of the requests made here takes an address; `data` is a number.
    let result = unsafe { libc::ptrace(request, tid, std::ptr::null_mut::<c_void>(), data as *mut c_void) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Begins to trace a process or thread without stopping it.
pub(crate) fn seize(tid: i32, options: c_int) -> io::Result<()> {
    request(SEIZE, tid, usize::try_from(options).unwrap_or(0))
}

/// Stops it.
pub(crate) fn interrupt(tid: i32) -> io::Result<()> {
    request(INTERRUPT, tid, 0)
}

/// Leaves it stopped as its shell wants it, and tells when it goes on.
pub(crate) fn listen(tid: i32) -> io::Result<()> {
    request(LISTEN, tid, 0)
}

/// Lets it go on to the next stop that was asked for; with `calls` to the next beginning or end of a call.
pub(crate) fn resume(tid: i32, calls: bool, signal: c_int) -> io::Result<()> {
    let how = if calls { libc::PTRACE_SYSCALL } else { libc::PTRACE_CONT };
    request(how, tid, usize::try_from(signal).unwrap_or(0))
}

/// Lets it go for good.
pub(crate) fn detach(tid: i32, signal: c_int) -> io::Result<()> {
    request(libc::PTRACE_DETACH, tid, usize::try_from(signal).unwrap_or(0))
}

/// Which call it is in.
pub(crate) fn call(tid: i32) -> io::Result<Call> {
    let mut registers = std::mem::MaybeUninit::<libc::user_regs_struct>::zeroed();
    let mut part =
        libc::iovec { iov_base: registers.as_mut_ptr().cast(), iov_len: size_of::<libc::user_regs_struct>() };
    // SAFETY: the kernel writes at most as many bytes as `part` has.
    let result = unsafe { libc::ptrace(GETREGSET, tid, NT_PRSTATUS, &raw mut part) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // A program of 32 bits has fewer and smaller ones (struct user_regs_struct32 of the kernel).
    #[cfg(target_arch = "x86_64")]
    if part.iov_len == 17 * 4 {
        // SAFETY: the kernel has written that many bytes.
        let all: [u32; 17] = unsafe { registers.as_ptr().cast::<[u32; 17]>().read() };
        let [b, c, d, si, di, bp, a, ..] = all;
        return Ok(Call {
            number: all[11].into(),
            arguments: [b, c, d, si, di, bp].map(u64::from),
            result: a.cast_signed().into(),
            narrow: true,
        });
    }
    // SAFETY: they were zeroed, and are numbers.
    let registers = unsafe { registers.assume_init() };
    #[cfg(target_arch = "x86_64")]
    let call = Call {
        number: registers.orig_rax,
        arguments: [registers.rdi, registers.rsi, registers.rdx, registers.r10, registers.r8, registers.r9],
        result: registers.rax.cast_signed(),
        narrow: false,
    };
    #[cfg(target_arch = "aarch64")]
    let call = Call {
        number: registers.regs[8],
        arguments: std::array::from_fn(|at| registers.regs[at]),
        result: registers.regs[0].cast_signed(),
        narrow: false,
    };
    Ok(call)
}

/// Waits for any traced process. `None` where there is none any more; interrupted where a signal came.
pub(crate) fn wait() -> io::Result<Option<Stop>> {
    let mut status = 0;
    // SAFETY: the kernel writes one number.
    let tid = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL) };
    if tid >= 0 {
        return Ok(Some(Stop { tid, status }));
    }
    match io::Error::last_os_error() {
        error if error.raw_os_error() == Some(libc::ECHILD) => Ok(None),
        error => Err(error),
    }
}

/// Reads the memory of another process; as much of it as is there.
pub(crate) fn memory(pid: i32, address: u64, into: &mut [u8]) -> usize {
    let Ok(address) = usize::try_from(address) else { return 0 };
    let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    let remote = libc::iovec { iov_base: address as *mut c_void, iov_len: into.len() };
    // SAFETY: the kernel writes at most `into.len()` bytes there, and judges the other address itself.
    let got = unsafe { libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0) };
    usize::try_from(got).unwrap_or(0)
}

/// A program with all that its start needs, made before fork(2).
pub(crate) struct Program {
    pub(crate) path: CString,
    pub(crate) arguments: Vec<CString>,
    pub(crate) environment: Vec<CString>,
    pub(crate) filter: Vec<Instruction>,
    /// Its standard output goes to standard error.
    pub(crate) output_aside: bool,
}

/// Forks a child that waits until `go` can be read, then puts the filter on itself and becomes the program. Gives its number.
pub(crate) fn start(program: &Program, go: BorrowedFd<'_>, other_end: BorrowedFd<'_>) -> io::Result<i32> {
    let pointers = |all: &[CString]| {
        let mut all: Vec<_> = all.iter().map(|one| one.as_ptr()).collect();
        all.push(std::ptr::null());
        all
    };
    let (arguments, environment) = (pointers(&program.arguments), pointers(&program.environment));
    let filter = libc::sock_fprog {
        len: u16::try_from(program.filter.len()).map_err(io::Error::other)?,
        filter: program.filter.as_ptr().cast_mut(),
    };
    let (go, other_end) = (go.as_raw_fd(), other_end.as_raw_fd());
    // SAFETY: the child calls nothing but the kernel until it is another program or ends; what it reads was made before.
    unsafe {
        let pid = libc::fork();
        if pid != 0 {
            return answer(pid);
        }
        libc::close(other_end);
        let mut byte = 0_u8;
        if libc::read(go, (&raw mut byte).cast(), 1) != 1 {
            libc::_exit(126);
        }
        libc::close(go);
        if program.output_aside {
            libc::dup2(2, 1);
        }
        if filter.len > 0 && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) != 0 {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            if libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) != 0 {
                libc::_exit(125);
            }
        }
        libc::execve(program.path.as_ptr(), arguments.as_ptr(), environment.as_ptr());
        libc::_exit(if io::Error::last_os_error().raw_os_error() == Some(libc::ENOENT) { 127 } else { 126 });
    }
}

static ASKED: AtomicBool = AtomicBool::new(false);

static TOLD: AtomicBool = AtomicBool::new(false);

extern "C" fn note(signal: c_int) {
    if signal == libc::SIGTERM {
        TOLD.store(true, Ordering::Relaxed);
        // It may come just before a wait begins, which then is interrupted a second later.
        // SAFETY: takes a number, and may be called in a handler.
        unsafe { libc::alarm(1) };
    }
    ASKED.store(true, Ordering::Relaxed);
}

/// Ctrl-C and SIGTERM end a wait instead of this process.
pub(crate) fn note_the_end() {
    ASKED.store(false, Ordering::Relaxed);
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGQUIT, libc::SIGALRM] {
        // SAFETY: the handler stores one flag. Without SA_RESTART a wait is interrupted.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = note as extern "C" fn(c_int) as usize;
            libc::sigaction(signal, &raw const action, std::ptr::null_mut());
        }
    }
}

/// Whether one came.
pub(crate) fn end_is_asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}

/// Whether this process was asked to end (SIGTERM), and not the whole terminal's foreground.
pub(crate) fn is_told_to_end() -> bool {
    TOLD.swap(false, Ordering::Relaxed)
}

/// After so many seconds a wait is interrupted, as by Ctrl-C.
pub(crate) fn end_in(seconds: u32) {
    // SAFETY: as above; alarm takes a number.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = note as extern "C" fn(c_int) as usize;
        libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut());
        libc::alarm(seconds);
    }
}

/// Sends a signal to a process.
pub(crate) fn kill(pid: i32, signal: c_int) {
    // SAFETY: takes numbers.
    unsafe { libc::kill(pid, signal) };
}
