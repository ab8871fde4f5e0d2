//! The calls of the kernel for which there is no safe function: loop devices, locks of open files, mount name spaces,
//! and what a child process does between fork(2) and execve(2). All `unsafe` of the project is here.
#![allow(unsafe_code)]

pub(crate) mod ptrace;

use std::ffi::c_int;
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::inside::Instruction;

/// A part of a file, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) start: u64,
    pub(crate) size: u64,
}

// include/uapi/linux/loop.h
const LOOP_SET_FD: u64 = 0x4C00;
const LOOP_CLR_FD: u64 = 0x4C01;
const LOOP_SET_STATUS64: u64 = 0x4C04;
const LOOP_GET_STATUS64: u64 = 0x4C05;
const LOOP_CONFIGURE: u64 = 0x4C0A;
const LOOP_CTL_GET_FREE: u64 = 0x4C82;
const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;

#[repr(C)]
#[derive(Clone, Copy)]
struct LoopInfo64 {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo64,
    reserved: [u64; 8],
}

/// What a loop device stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LoopBacking {
    /// `st_dev` of the file.
    pub(crate) dev: u64,
    /// `st_ino` of the file.
    pub(crate) ino: u64,
    /// Where in the file it begins, in bytes.
    pub(crate) offset: u64,
    /// Where it ends, counted from `offset`; 0 for the end of the file.
    pub(crate) size_limit: u64,
}

/// The number of a loop device that nobody uses; made when there is none.
pub(crate) fn loop_free(control: BorrowedFd<'_>) -> io::Result<u32> {
    // SAFETY: the request takes no argument.
    let number = answer(unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE as _) })?;
    Ok(number.unsigned_abs())
}

/// Makes `device` stand for a part of `backing`, until nobody has it open or mounted any more (autoclear). It can be
/// written when both descriptors can.
pub(crate) fn loop_attach(
    device: BorrowedFd<'_>,
    backing: BorrowedFd<'_>,
    window: Window,
    read_only: bool,
) -> io::Result<()> {
    // SAFETY: the structures are plain integers, for which zero is a value.
    let mut config: LoopConfig = unsafe { zeroed() };
    config.fd = backing.as_raw_fd().unsigned_abs();
    config.info.offset = window.start;
    config.info.size_limit = window.size;
    config.info.flags = LO_FLAGS_AUTOCLEAR | if read_only { LO_FLAGS_READ_ONLY } else { 0 };
    let fd = device.as_raw_fd();
    // SAFETY: the kernel reads a `struct loop_config`, which `LoopConfig` mirrors.
    match answer(unsafe { libc::ioctl(fd, LOOP_CONFIGURE as _, &raw const config) }) {
        // Kernels before 5.8 do it in two steps.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOTTY)) => {}
        other => return other.map(drop),
    }
    // SAFETY: the argument is a descriptor, by value.
    answer(unsafe { libc::ioctl(fd, LOOP_SET_FD as _, backing.as_raw_fd()) })?;
    // SAFETY: the kernel reads a `struct loop_info64`, which `LoopInfo64` mirrors.
    answer(unsafe { libc::ioctl(fd, LOOP_SET_STATUS64 as _, &raw const config.info) }).map(drop).inspect_err(|_| {
        // SAFETY: the request takes no argument.
        unsafe { libc::ioctl(fd, LOOP_CLR_FD as _, 0) };
    })
}

/// What a loop device stands for; `None` when it is free.
pub(crate) fn loop_backing(device: BorrowedFd<'_>) -> io::Result<Option<LoopBacking>> {
    // SAFETY: the structure is plain integers, for which zero is a value.
    let mut info: LoopInfo64 = unsafe { zeroed() };
    // SAFETY: the kernel writes a `struct loop_info64`, which `LoopInfo64` mirrors.
    match answer(unsafe { libc::ioctl(device.as_raw_fd(), LOOP_GET_STATUS64 as _, &raw mut info) }) {
        Ok(_) => Ok(Some(LoopBacking {
            dev: info.device,
            ino: info.inode,
            offset: info.offset,
            size_limit: info.size_limit,
        })),
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether another open of the same file holds any lock in a range of it (fcntl(2), "open file description locks").
pub(crate) fn range_is_locked(file: BorrowedFd<'_>, start: i64, length: i64) -> io::Result<bool> {
    let mut lock = range(libc::F_WRLCK, start, length);
    // SAFETY: the kernel reads and writes a `struct flock`.
    answer(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) })?;
    Ok(c_int::from(lock.l_type) != libc::F_UNLCK)
}

/// Takes a shared lock of a range, without waiting, held as long as the file is open.
pub(crate) fn lock_range_shared(file: BorrowedFd<'_>, start: i64, length: i64) -> io::Result<()> {
    let lock = range(libc::F_RDLCK, start, length);
    // SAFETY: the kernel reads a `struct flock`.
    answer(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) }).map(drop)
}

fn range(kind: c_int, start: i64, length: i64) -> libc::flock {
    // SAFETY: the structure is plain integers, for which zero is a value.
    let mut lock: libc::flock = unsafe { zeroed() };
    lock.l_type = kind as _;
    lock.l_whence = libc::SEEK_SET as _;
    lock.l_start = start;
    lock.l_len = length;
    lock
}

/// The number of the mount that a file was opened through; `None` where the kernel does not tell (before 5.8, without
/// /proc).
pub(crate) fn mount_id(file: BorrowedFd<'_>) -> Option<u64> {
    use rustix::fs::{AtFlags, StatxFlags, statx};
    let told = statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).ok();
    if let Some(told) = told.filter(|told| told.stx_mask & StatxFlags::MNT_ID.bits() != 0) {
        return Some(told.stx_mnt_id);
    }
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd())).ok()?;
    info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().parse().ok()
}

/// Gives the calling thread its own view of the mounts, and with it (the kernel couples them) its own root and working
/// directory. What it mounts is seen by no other process, and vanishes when the last thread of the view ends.
pub(crate) fn own_mounts() -> io::Result<()> {
    // SAFETY: unsharing is unsafe where threads rely on shared descriptors; these stay shared.
    Ok(unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }?)
}

/// Gives the calling thread a root and working directory of its own, so that it may enter another view of the mounts.
pub(crate) fn own_root() -> io::Result<()> {
    // SAFETY: as above.
    Ok(unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::FS) }?)
}

/// Gives the calling thread its own view of the mounts, and of the network (with nothing in it), of System V objects and
/// of the host's name; and what it starts, a view of the processes in which the first one takes all others with it.
pub(crate) fn own_everything() -> io::Result<()> {
    use rustix::thread::UnshareFlags as Flags;
    let flags = Flags::NEWNS | Flags::NEWPID | Flags::NEWNET | Flags::NEWIPC | Flags::NEWUTS;
    // SAFETY: as above.
    unsafe { rustix::thread::unshare_unsafe(flags) }?;
    // SAFETY: as above. Kernels before 4.6 have no view of the control groups, and none is mounted there.
    let _ = unsafe { rustix::thread::unshare_unsafe(Flags::NEWCGROUP) };
    Ok(())
}

/// Somebody opened something: fanotify(7).
pub(crate) struct Opened {
    /// The process, in our view of processes; 0 for one outside of it.
    pub(crate) pid: i32,
    /// What was opened, open for us too; `None` where the kernel had no room to remember or could not open it.
    pub(crate) file: Option<OwnedFd>,
}

/// A queue of what is opened from now on in the mount that `place` is on. It delays nobody.
pub(crate) fn watch_opens(place: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    opened_at(place, libc::FAN_MARK_MOUNT, libc::FAN_OPEN | libc::FAN_ONDIR)
}

/// The same of one file, through whatever mount it is opened.
pub(crate) fn watch_opens_of(file: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    opened_at(file, 0, libc::FAN_OPEN)
}

fn opened_at(place: BorrowedFd<'_>, kind: libc::c_uint, mask: u64) -> io::Result<OwnedFd> {
    let flags = libc::FAN_CLASS_NOTIF | libc::FAN_CLOEXEC | libc::FAN_NONBLOCK;
    let for_files = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_LARGEFILE;
    // SAFETY: the call takes no pointer.
    let queue = answer(unsafe { libc::fanotify_init(flags, for_files as _) })?;
    // SAFETY: the descriptor was just made and belongs to nobody else.
    let queue = unsafe { OwnedFd::from_raw_fd(queue) };
    let what = libc::FAN_MARK_ADD | kind;
    // SAFETY: no path is given, so that the mark is on the descriptor itself.
    answer(unsafe { libc::fanotify_mark(queue.as_raw_fd(), what, mask, place.as_raw_fd(), std::ptr::null()) })?;
    Ok(queue)
}

/// The events in a buffer that read(2) of such a queue filled, whose descriptors become ours.
pub(crate) fn opens(mut buffer: &[u8]) -> Vec<Opened> {
    const HEAD: usize = size_of::<libc::fanotify_event_metadata>();
    let mut all = Vec::new();
    while buffer.len() >= HEAD {
        // SAFETY: there are as many bytes, and the structure is plain integers.
        let event: libc::fanotify_event_metadata = unsafe { std::ptr::read_unaligned(buffer.as_ptr().cast()) };
        // SAFETY: the kernel made the descriptor for the reader of this event.
        let file = (event.fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(event.fd) });
        all.push(Opened { pid: event.pid, file });
        buffer = buffer.get((event.event_len as usize).max(HEAD)..).unwrap_or_default();
    }
    all
}

/// Runs `hook` in the child between fork(2) and execve(2).
///
/// `hook` may neither allocate nor take a lock: another thread may have held it at the time of the fork.
pub(crate) fn before_exec(command: &mut Command, hook: fn() -> io::Result<()>) {
    // SAFETY: every caller in this crate passes a function that makes system calls and nothing else.
    unsafe { command.pre_exec(hook) };
}

/// The end of a terminal or of a session does not end this process, nor what it becomes.
pub(crate) fn ignore_hangup() {
    // SAFETY: ignoring a signal takes no function.
    unsafe {
        libc::signal(libc::SIGHUP, libc::SIG_IGN);
        libc::signal(libc::SIGINT, libc::SIG_IGN);
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
    }
}

/// Makes all threads share one heap of glibc's. Otherwise each reserves 64 MiB of addresses, which counts where those are
/// limited or the kernel promises no more than it has (vm.overcommit_memory=2).
pub(crate) fn one_heap() {
    // SAFETY: takes no pointer. Where it is refused, nothing changes.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

/// Closes, when another program is executed, all descriptors but the first three.
pub(crate) fn close_others_on_exec() -> io::Result<()> {
    const FROM: u32 = 3;
    // SAFETY: takes no pointer, and closes nothing now.
    if unsafe { libc::syscall(libc::SYS_close_range, FROM, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) } == 0 {
        return Ok(());
    }
    // Kernels before 5.11: one by one, as many as there may be.
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    for fd in FROM.cast_signed()..c_int::try_from(most.min(1 << 16)).unwrap_or(c_int::MAX) {
        // SAFETY: takes no pointer; a number that is no descriptor is refused.
        unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    Ok(())
}

/// Has every further system call of this process, and of what it starts, judged by a filter (seccomp(2)). It must not be able
/// to gain privileges any more.
pub(crate) fn filter_calls(filter: &[Instruction]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).map_err(io::Error::other)?,
        filter: filter.as_ptr().cast_mut(),
    };
    // SAFETY: the kernel reads as many instructions as there are, and copies them.
    answer(unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) }).map(drop)
}

fn answer(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

const _: () = assert!(size_of::<LoopInfo64>() == 232 && size_of::<LoopConfig>() == 304);

/// Gives the calling thread a table of descriptors of its own with nothing but `keep` in it. Descriptors that only this
/// thread shall have are to be closed in the table that it left, by [`close_copy`].
pub(crate) fn own_files(keep: &[BorrowedFd<'_>]) -> io::Result<()> {
    // SAFETY: takes no pointers.
    answer(unsafe { libc::unshare(libc::CLONE_FILES) })?;
    let others: Vec<c_int> = std::fs::read_dir("/proc/thread-self/fd")?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|fd| keep.iter().all(|kept| kept.as_raw_fd() != *fd))
        .collect();
    for fd in others {
        // SAFETY: in this table nobody else owns anything; the owners are in the other one.
        unsafe { libc::close(fd) };
    }
    Ok(())
}

/// Closes a descriptor whose owner is a thread with a table of its own, see [`own_files`].
pub(crate) fn close_copy(fd: c_int) {
    // SAFETY: the caller says that nobody in this table owns it.
    unsafe { libc::close(fd) };
}

/// Somebody wrote to one of the files from now on: a queue like that of [`watch_opens`]. Files that are not there are left out; so many are
/// watched.
pub(crate) fn watch_writes(files: &[BorrowedFd<'_>]) -> io::Result<(OwnedFd, usize)> {
    let flags = libc::FAN_CLASS_NOTIF | libc::FAN_CLOEXEC | libc::FAN_NONBLOCK;
    let for_files = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_LARGEFILE;
    // SAFETY: the call takes no pointer.
    let queue = answer(unsafe { libc::fanotify_init(flags, for_files as _) })?;
    // SAFETY: the descriptor was just made and belongs to nobody else.
    let queue = unsafe { OwnedFd::from_raw_fd(queue) };
    let mut watched = 0;
    for file in files {
        let (what, mask) = (libc::FAN_MARK_ADD, libc::FAN_MODIFY);
        // SAFETY: no path is given, so that the mark is on the descriptor itself.
        let marked = unsafe { libc::fanotify_mark(queue.as_raw_fd(), what, mask, file.as_raw_fd(), std::ptr::null()) };
        watched += usize::from(marked == 0);
    }
    Ok((queue, watched))
}

/// Where [`on_signals`] tells of a signal.
static TOLD: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(-1);

extern "C" fn tell(signal: c_int) {
    let fd = TOLD.load(std::sync::atomic::Ordering::Relaxed);
    // Numbers of signals are small.
    let byte = u8::try_from(signal).unwrap_or(0);
    // SAFETY: write(2) may be called here, and the byte is there. What it answers nobody could use.
    unsafe { libc::write(fd, (&raw const byte).cast(), 1) };
}

/// What ends a screen, changes its size, or stops it.
pub(crate) const OF_SCREENS: &[c_int] =
    &[libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT, libc::SIGWINCH, libc::SIGTSTP, libc::SIGCONT];

/// SIGTERM and SIGINT write a byte to `fd` from now on, and end nothing.
pub(crate) fn on_end(fd: OwnedFd) -> io::Result<()> {
    on_signals(fd, &[libc::SIGTERM, libc::SIGINT])
}

/// These signals write their number to `fd` from now on, and do nothing else.
pub(crate) fn on_signals(fd: OwnedFd, signals: &[c_int]) -> io::Result<()> {
    use std::os::fd::IntoRawFd;
    TOLD.store(fd.into_raw_fd(), std::sync::atomic::Ordering::Relaxed);
    for signal in signals {
        // SAFETY: all fields of the structure may be zero; the handler makes one system call.
        let mut action: libc::sigaction = unsafe { zeroed() };
        action.sa_sigaction = tell as *const () as usize;
        action.sa_flags = libc::SA_RESTART;
        // SAFETY: the structure is whole, and nobody asks for the former one.
        answer(unsafe { libc::sigaction(*signal, &raw const action, std::ptr::null_mut()) })?;
    }
    Ok(())
}

/// Asks the driver of a network interface (SIOCETHTOOL): `data` begins with the number of what is asked, and takes the answer.
/// It must have room for all that the driver writes.
pub(crate) fn ethtool(socket: BorrowedFd<'_>, interface: &[u8], data: &mut [u8]) -> io::Result<()> {
    // SAFETY: the structure is plain integers and a union of such, for which zero is a value.
    let mut request: libc::ifreq = unsafe { zeroed() };
    // The last byte stays 0.
    let name = request.ifr_name.iter_mut().rev().skip(1).rev();
    name.zip(interface).for_each(|(kept, byte)| *kept = *byte as _);
    request.ifr_ifru.ifru_data = data.as_mut_ptr().cast();
    // SAFETY: the kernel reads a `struct ifreq` and writes to `data`, which outlives the call; how much it writes is what the
    // caller has made room for.
    answer(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request) }).map(drop)
}
