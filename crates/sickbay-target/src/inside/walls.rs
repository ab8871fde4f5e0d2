//! What holds a program of the target: a root with nothing above it, few capabilities, few calls of the kernel, limits.
//!
//! The program is root, since what it packs has owners and modes, and it must be taken for an enemy, since the disk is a
//! stranger's. So there are two walls, each of which would do: of the helper's mounts none is left in its view
//! ([`enter`] pivots into the copy and unmounts the old root), and what could reach past a view, such as handles of files,
//! devices, other namespaces or the kernel itself, is denied by capabilities and by a filter of system calls alike.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::LazyLock;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_move, mount_remount, unmount};
use rustix::process::Resource;
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::filter::{self, Instruction};
use crate::{command, mounts, sys};

/// What packing files takes: any owner and mode, whatever they are. What could make a device, leave a root, open a file by
/// its handle or give a file capabilities is not among it.
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID);

/// Processes and threads at a time, beyond which whoever counts them from outside ends all of it. Packing an initramfs takes a
/// dozen.
pub(super) const PROCESSES: u64 = 1024;
/// What the kernel itself stops at, where it can.
const PROCESSES_AT_MOST: &[u8] = b"2048";
/// Addresses of one process: compressors with a thread a processor use a tenth of it.
const ADDRESSES: u64 = 4 << 30;

static FILTER: LazyLock<Vec<Instruction>> = LazyLock::new(filter::program);

/// Makes what [`enter`] needs and must not make itself.
pub(super) fn prepare() {
    LazyLock::force(&FILTER);
}

/// In the child, whose working directory is the copy: makes that its root and everything else unreachable. System calls
/// only, see [`sys::before_exec`].
pub(super) fn enter() -> io::Result<()> {
    // Whoever runs out of memory here, it is this one that ends; and it makes way for whoever watches it.
    let _ = rustix::fs::open(c"/proc/self/oom_score_adj", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
        .and_then(|file| rustix::io::write(file, b"1000"));
    let _ = rustix::process::nice(5);
    // A view of the mounts that not even our own thread is in.
    sys::own_mounts()?;
    pivot()?;
    let flags = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC;
    mount(c"proc", c"/proc", c"proc", flags, None)?;
    if counts_processes_by_namespace() {
        // Whoever counts from outside may come late: this is what stops a program that only makes processes.
        let file = rustix::fs::open(c"/proc/sys/kernel/pid_max", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::io::write(file, PROCESSES_AT_MOST)?;
    }
    // Read-only: /proc/sysrq-trigger and /proc/sys are open to root without any capability.
    mount_remount(c"/proc", flags | MountFlags::RDONLY | MountFlags::BIND, c"")?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    command::limit(Resource::Nproc, PROCESSES)?;
    command::limit(Resource::As, ADDRESSES)?;
    command::limit(Resource::Fsize, super::OUTPUT_LIMIT)?;
    drop_capabilities()?;
    rustix::thread::set_no_new_privs(true)?;
    sys::filter_calls(&FILTER)
}

/// Whether kernel.pid_max is one of the PID namespace, as it is from Linux 6.14 on (kernel/pid_namespace.c,
/// `register_pidns_sysctls`): before, it is that of the whole machine.
fn counts_processes_by_namespace() -> bool {
    let uname = rustix::system::uname();
    let mut numbers = uname.release().to_bytes().split(|byte| !byte.is_ascii_digit()).map(|digits| {
        digits.iter().fold(0_u32, |number, digit| number.saturating_mul(10).saturating_add(u32::from(digit - b'0')))
    });
    let (major, minor) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    (major, minor) >= (6, 14)
}

/// Makes the working directory, which is a mount, the root, and unmounts what was the root with all that is below it.
fn pivot() -> io::Result<()> {
    match rustix::process::pivot_root(c".", c".") {
        Ok(()) => {}
        // The root is no mount (a chroot), or the first one of all (an initramfs), which cannot be exchanged.
        Err(Errno::INVAL) => {
            let copy = mounts::leave_root(c".")?;
            rustix::process::fchdir(&copy)?;
            if rustix::process::pivot_root(c".", c".").is_err() {
                // As switch_root(8) does: it is covered, and without CAP_SYS_CHROOT nobody comes below.
                mount_move(c".", c"/")?;
                rustix::process::chroot(c".")?;
                return Ok(rustix::process::chdir(c"/")?);
            }
        }
        Err(error) => return Err(error.into()),
    }
    // Both are mounted on one place now, and the old root is the upper one.
    unmount(c".", UnmountFlags::DETACH)?;
    Ok(rustix::process::chdir(c"/")?)
}

/// Also those that execve(2) would give root again.
fn drop_capabilities() -> io::Result<()> {
    for bit in 0..64 {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        if !KEPT.contains(capability) {
            match rustix::thread::remove_capability_from_bounding_set(capability) {
                Ok(()) => {}
                Err(Errno::INVAL) => break, // beyond the last one that the kernel knows
                Err(error) => return Err(error.into()),
            }
        }
    }
    // A service of systemd may have been given fewer than these.
    let had = rustix::thread::capabilities(None)?;
    let kept = KEPT & had.permitted;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    let _ = rustix::thread::clear_ambient_capability_set(); // kernels before 4.3 have none
    Ok(rustix::thread::set_capabilities(None, sets)?)
}

/// How many processes and threads there are where `pid` is the first one. The kernel's own limit does not hold for root.
pub(super) fn processes(pid: u32) -> u64 {
    // Its own /proc, through its root.
    let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/root/proc")) else { return 0 };
    let is_process = |entry: &std::fs::DirEntry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit);
    // A directory has a link of each directory in it, and here that is one a thread.
    let threads = |entry: std::fs::DirEntry| entry.path().join("task").metadata().map_or(0, |tasks| tasks.nlink() - 2);
    entries.flatten().filter(is_process).map(threads).sum()
}
