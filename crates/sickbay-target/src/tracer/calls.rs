//! The calls that look for something by its name.

use crate::inside::Instruction;
use crate::sys::ptrace::{self, Call};

/// What a call's argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A path.
    Path,
    /// A path below a directory that a descriptor stands for: in the argument before.
    Below,
    /// An address of a socket.
    Socket,
    /// Text that is written to standard error.
    Write,
}

/// A call that has begun.
#[derive(Clone, Debug)]
pub(super) struct Begun {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// Its path, address or text, as C writes it.
    pub(super) text: String,
    dir: i32,
}

impl Begun {
    /// A path below a descriptor, in full.
    pub(super) fn place(&self, tid: i32) -> Option<String> {
        if self.kind != Kind::Below || self.text.starts_with('/') || self.text.is_empty() {
            return None;
        }
        let dir = match self.dir {
            libc::AT_FDCWD => return None,
            fd => std::fs::read_link(format!("/proc/{tid}/fd/{fd}")).ok()?,
        };
        Some(format!("{}/{}", dir.to_str()?, self.text))
    }
}

/// Number, name, which argument, kind.
const CALLS: &[(libc::c_long, &str, usize, Kind)] = &[
    (libc::SYS_openat, "openat", 1, Kind::Below),
    (libc::SYS_openat2, "openat2", 1, Kind::Below),
    (libc::SYS_faccessat, "faccessat", 1, Kind::Below),
    (libc::SYS_faccessat2, "faccessat2", 1, Kind::Below),
    (libc::SYS_newfstatat, "newfstatat", 1, Kind::Below),
    (libc::SYS_statx, "statx", 1, Kind::Below),
    (libc::SYS_readlinkat, "readlinkat", 1, Kind::Below),
    (libc::SYS_unlinkat, "unlinkat", 1, Kind::Below),
    (libc::SYS_mkdirat, "mkdirat", 1, Kind::Below),
    (libc::SYS_chdir, "chdir", 0, Kind::Path),
    (libc::SYS_execve, "execve", 0, Kind::Path),
    (libc::SYS_execveat, "execveat", 1, Kind::Below),
    (libc::SYS_mount, "mount", 1, Kind::Path),
    (libc::SYS_connect, "connect", 1, Kind::Socket),
    (libc::SYS_bind, "bind", 1, Kind::Socket),
    (libc::SYS_write, "write", 1, Kind::Write),
    (libc::SYS_writev, "writev", 1, Kind::Write),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_open, "open", 0, Kind::Path),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_access, "access", 0, Kind::Path),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_stat, "stat", 0, Kind::Path),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_lstat, "lstat", 0, Kind::Path),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_readlink, "readlink", 0, Kind::Path),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_unlink, "unlink", 0, Kind::Path),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_mkdir, "mkdir", 0, Kind::Path),
];

/// The same for programs of 32 bits (arch/x86/entry/syscalls/syscall_32.tbl).
#[cfg(target_arch = "x86_64")]
const NARROW: &[(libc::c_long, &str, usize, Kind)] = &[
    (4, "write", 1, Kind::Write),
    (5, "open", 0, Kind::Path),
    (10, "unlink", 0, Kind::Path),
    (11, "execve", 0, Kind::Path),
    (12, "chdir", 0, Kind::Path),
    (21, "mount", 1, Kind::Path),
    (33, "access", 0, Kind::Path),
    (39, "mkdir", 0, Kind::Path),
    (85, "readlink", 0, Kind::Path),
    (106, "stat", 0, Kind::Path),
    (107, "lstat", 0, Kind::Path),
    (146, "writev", 1, Kind::Write),
    (195, "stat64", 0, Kind::Path),
    (196, "lstat64", 0, Kind::Path),
    (295, "openat", 1, Kind::Below),
    (296, "mkdirat", 1, Kind::Below),
    (300, "fstatat64", 1, Kind::Below),
    (301, "unlinkat", 1, Kind::Below),
    (305, "readlinkat", 1, Kind::Below),
    (307, "faccessat", 1, Kind::Below),
    (358, "execveat", 1, Kind::Below),
    (361, "bind", 1, Kind::Socket),
    (362, "connect", 1, Kind::Socket),
    (383, "statx", 1, Kind::Below),
    (437, "openat2", 1, Kind::Below),
    (439, "faccessat2", 1, Kind::Below),
];
#[cfg(not(target_arch = "x86_64"))]
const NARROW: &[(libc::c_long, &str, usize, Kind)] = &[];

// include/uapi/linux/bpf_common.h, seccomp.h, audit.h
const LOAD: u16 = 0x20;
const IF_EQUAL: u16 = 0x15;
const IF_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;
const ALLOW: u32 = 0x7fff_0000;
const TRACE: u32 = 0x7ff0_0000;
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
#[cfg(target_arch = "x86_64")]
const NATIVE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const NATIVE: u32 = 0xc000_00b7;
/// AUDIT_ARCH_I386
const OF_32_BITS: u32 = 0x4000_0003;

const fn argument(index: u32) -> u32 {
    16 + 8 * index
}

fn step(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code, jt, jf, k }
}

/// The filter by which only these calls stop a process. A stat of an open file, which names nothing, does not; nor does writing to anything
/// but standard error.
pub(super) fn filter() -> Vec<Instruction> {
    let mut narrow = vec![step(LOAD, NUMBER, 0, 0)];
    trace(&mut narrow, NARROW);
    let mut program = vec![step(LOAD, ARCHITECTURE, 0, 0)];
    match u8::try_from(narrow.len() + 2) {
        Ok(length) if !NARROW.is_empty() => {
            program.extend([step(IF_EQUAL, NATIVE, length, 0), step(IF_EQUAL, OF_32_BITS, 1, 0)]);
            program.push(step(RETURN, ALLOW, 0, 0));
            program.extend(narrow);
        }
        _ => program.extend([step(IF_EQUAL, NATIVE, 1, 0), step(RETURN, ALLOW, 0, 0)]),
    }
    program.push(step(LOAD, NUMBER, 0, 0));
    trace(&mut program, CALLS);
    program
}

/// The steps by which these calls stop a process, and no other does.
fn trace(program: &mut Vec<Instruction>, calls: &[(libc::c_long, &str, usize, Kind)]) {
    for (number, name, _, kind) in calls {
        let number = u32::try_from(*number).unwrap_or(u32::MAX);
        let is_stat = *name == "newfstatat";
        match (kind, is_stat) {
            (Kind::Write, _) => program.extend([
                step(IF_EQUAL, number, 0, 4),
                step(LOAD, argument(0), 0, 0),
                step(IF_EQUAL, 2, 0, 1),
                step(RETURN, TRACE, 0, 0),
                step(RETURN, ALLOW, 0, 0),
            ]),
            (_, true) => program.extend([
                step(IF_EQUAL, number, 0, 4),
                step(LOAD, argument(3), 0, 0),
                step(IF_ANY_BIT, libc::AT_EMPTY_PATH.cast_unsigned(), 1, 0),
                step(RETURN, TRACE, 0, 0),
                step(RETURN, ALLOW, 0, 0),
            ]),
            _ => program.extend([step(IF_EQUAL, number, 0, 1), step(RETURN, TRACE, 0, 0)]),
        }
    }
    program.push(step(RETURN, ALLOW, 0, 0));
}

/// A call that counts, with what it looks for.
pub(super) fn begun(tid: i32, call: &Call) -> Option<Begun> {
    let number = libc::c_long::try_from(call.number).ok()?;
    let calls = if call.narrow { NARROW } else { CALLS };
    let (_, name, at, kind) = calls.iter().find(|(known, ..)| *known == number)?;
    let value = |at: usize| call.arguments.get(at).copied().unwrap_or(0);
    let descriptor = |at: usize| u32::try_from(value(at) & 0xffff_ffff).unwrap_or(0).cast_signed();
    let text = match kind {
        Kind::Write if descriptor(0) != 2 => return None,
        Kind::Write => written(tid, name, value(1), value(2), if call.narrow { 4 } else { 8 }),
        Kind::Socket => peer(tid, value(*at), value(2))?,
        Kind::Path | Kind::Below => path(tid, value(*at)),
    };
    let dir = if *kind == Kind::Below { descriptor(0) } else { libc::AT_FDCWD };
    Some(Begun { name, kind: *kind, text, dir })
}

/// A text of C, at most 4096 bytes. A page is read at a time: the next may not be there.
fn path(tid: i32, address: u64) -> String {
    let mut bytes = Vec::new();
    let mut at = address;
    while bytes.len() < 4096 {
        let left = usize::try_from(4096 - at % 4096).unwrap_or(1).min(4096);
        let mut part = vec![0; left.min(512)];
        let got = ptrace::memory(tid, at, &mut part);
        let Some(part) = part.get(..got).filter(|part| !part.is_empty()) else { break };
        let end = part.iter().position(|byte| *byte == 0);
        bytes.extend(part.get(..end.unwrap_or(part.len())).unwrap_or_default());
        if end.is_some() {
            break;
        }
        at = at.saturating_add(u64::try_from(got).unwrap_or(0));
    }
    escaped(&bytes)
}

/// Bytes of what is written that are read.
const WRITTEN: usize = 400;

/// What is written, its beginning; of writev its first parts.
fn written(tid: i32, name: &str, address: u64, length: u64, word: usize) -> String {
    let read = |address: u64, length: u64| {
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0).min(WRITTEN)];
        let got = ptrace::memory(tid, address, &mut bytes);
        bytes.truncate(got);
        bytes
    };
    if name == "write" {
        return escaped(&read(address, length));
    }
    let parts = read(address, length.min(16).saturating_mul(if word == 4 { 8 } else { 16 }));
    let mut all = Vec::new();
    for part in parts.chunks_exact(2 * word) {
        let number = |at: usize| {
            let bytes = part.get(at..at + word).unwrap_or_default();
            let wide = bytes.try_into().ok().map(u64::from_ne_bytes);
            wide.or_else(|| bytes.try_into().ok().map(u32::from_ne_bytes).map(u64::from)).unwrap_or(0)
        };
        all.extend(read(number(0), number(word)));
    }
    escaped(&all)
}

/// The address of a socket.
fn peer(tid: i32, address: u64, length: u64) -> Option<String> {
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0).min(128)];
    let got = ptrace::memory(tid, address, &mut bytes);
    bytes.truncate(got);
    let family = bytes.get(..2).and_then(|two| two.try_into().ok()).map(u16::from_ne_bytes)?;
    let port = || bytes.get(2..4).and_then(|two| two.try_into().ok()).map(u16::from_be_bytes);
    match i32::from(family) {
        libc::AF_UNIX => {
            let path = bytes.get(2..)?.split(|byte| *byte == 0).next()?;
            (!path.is_empty()).then(|| escaped(path))
        }
        libc::AF_INET => {
            let four: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
            Some(std::net::SocketAddr::from((four, port()?)).to_string())
        }
        libc::AF_INET6 => {
            let all: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
            Some(std::net::SocketAddr::from((all, port()?)).to_string())
        }
        _ => None,
    }
}

/// As C writes a text.
fn escaped(bytes: &[u8]) -> String {
    let mut out = String::new();
    for part in bytes.utf8_chunks() {
        for char in part.valid().chars() {
            match char {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                char if char.is_control() => out.push('?'),
                char => out.push(char),
            }
        }
        if !part.invalid().is_empty() {
            out.push('?');
        }
    }
    out
}

/// The names of errors that a look-up meets.
pub(super) fn errno(code: i32) -> String {
    let name = match code {
        libc::EPERM => "EPERM",
        libc::ENOENT => "ENOENT",
        libc::EIO => "EIO",
        libc::ENXIO => "ENXIO",
        libc::ENOEXEC => "ENOEXEC",
        libc::EAGAIN => "EAGAIN",
        libc::ENOMEM => "ENOMEM",
        libc::EACCES => "EACCES",
        libc::EBUSY => "EBUSY",
        libc::EEXIST => "EEXIST",
        libc::ENODEV => "ENODEV",
        libc::ENOTDIR => "ENOTDIR",
        libc::EISDIR => "EISDIR",
        libc::EINVAL => "EINVAL",
        libc::ENFILE => "ENFILE",
        libc::EMFILE => "EMFILE",
        libc::ENOSPC => "ENOSPC",
        libc::EROFS => "EROFS",
        libc::ELOOP => "ELOOP",
        libc::ENAMETOOLONG => "ENAMETOOLONG",
        libc::ENOSYS => "ENOSYS",
        libc::EADDRINUSE => "EADDRINUSE",
        libc::EADDRNOTAVAIL => "EADDRNOTAVAIL",
        libc::ENETUNREACH => "ENETUNREACH",
        libc::ECONNREFUSED => "ECONNREFUSED",
        libc::EHOSTUNREACH => "EHOSTUNREACH",
        libc::EINPROGRESS => "EINPROGRESS",
        libc::ETIMEDOUT => "ETIMEDOUT",
        libc::EOPNOTSUPP => "EOPNOTSUPP",
        other => return format!("E{other}"),
    };
    name.to_owned()
}

/// The name of a signal.
pub(super) fn signal(number: i32) -> String {
    let name = match number {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGILL => "SIGILL",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGTERM => "SIGTERM",
        libc::SIGSYS => "SIGSYS",
        other => return format!("SIG{other}"),
    };
    name.to_owned()
}
