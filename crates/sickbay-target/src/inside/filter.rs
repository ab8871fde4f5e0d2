//! The system calls that a program of the target does not get: a program for the kernel's filter (seccomp(2)).
//!
//! It is the second wall, so it says what is refused, not what is allowed: packers of initramfs are many, and what they need is
//! not known in advance. A call that is refused fails as it would for want of a capability.

/// An instruction of the filter, as the kernel wants it (`struct sock_filter`).
pub(crate) type Instruction = libc::sock_filter;

/// Where things are in `struct seccomp_data`, in bytes.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const fn argument(index: u32) -> u32 {
    16 + 8 * index // the lower half, of a machine with the lower half first
}

// include/uapi/linux/bpf_common.h
const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const IF_EQUAL: u16 = 0x15;
const IF_AT_LEAST: u16 = 0x35;
const IF_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

// include/uapi/linux/seccomp.h
const ALLOW: u32 = 0x7fff_0000;
const fn refuse(errno: i32) -> u32 {
    0x0005_0000 | errno.unsigned_abs()
}

// include/uapi/linux/audit.h
#[cfg(target_arch = "x86_64")]
const NATIVE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const NATIVE: u32 = 0xc000_00b7;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("which calls this architecture has must be written down here");
const I386: u32 = 0x4000_0003;

/// Any of the flags of clone(2) that make a namespace, but for that of the time, which shares a bit with the signal.
const NAMESPACES: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET)
    .cast_unsigned();

/// Calls whose arguments decide.
struct Judged {
    clone: u32,
    ioctl: u32,
    socket: u32,
    /// Both ways to make a node, and which argument is its kind.
    nodes: &'static [(u32, u32)],
}

/// Calls of this architecture that are refused: what changes mounts, roots and namespaces, what looks into other processes or opens
/// files without their paths, and what is the kernel's or the machine's own.
const REFUSED: &[libc::c_long] = &[
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_fanotify_init,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kcmp,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_bpf,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_syslog,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_vhangup,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_move_pages,
    libc::SYS_migrate_pages,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_kexec_file_load,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
];

/// The same on every architecture: io_uring, which does what the others do unseen by a filter, and the newer calls for mounts.
const REFUSED_ANYWHERE: [u32; 13] = [425, 426, 427, 428, 429, 430, 431, 432, 433, 438, 442, 443, 467];
/// clone3(2), whose flags no filter sees; the C libraries then take clone(2).
const CLONE3: u32 = 435;

#[cfg(target_arch = "x86_64")]
const NATIVE_JUDGED: Judged = Judged {
    clone: libc::SYS_clone as u32,
    ioctl: libc::SYS_ioctl as u32,
    socket: libc::SYS_socket as u32,
    nodes: &[(libc::SYS_mknod as u32, 1), (libc::SYS_mknodat as u32, 2)],
};
#[cfg(not(target_arch = "x86_64"))]
const NATIVE_JUDGED: Judged = Judged {
    clone: libc::SYS_clone as u32,
    ioctl: libc::SYS_ioctl as u32,
    socket: libc::SYS_socket as u32,
    nodes: &[(libc::SYS_mknodat as u32, 2)],
};

/// What programs of 32 bits call: the same list (arch/x86/entry/syscalls/syscall_32.tbl).
const REFUSED_I386: [u32; 49] = [
    21, 22, 52, 217, 61, 310, 346, 342, 341, 338, 26, 347, 348, 349, 336, 374, 357, 288, 286, 287, 128, 350, 129, 283,
    88, 87, 115, 103, 51, 131, 111, 79, 25, 264, 404, 124, 343, 405, 74, 121, 317, 294, 110, 101, 123, 113, 166, 149,
    102,
];
const I386_JUDGED: Judged = Judged { clone: 120, ioctl: 54, socket: 359, nodes: &[(14, 1), (297, 2)] };

/// The filter.
pub(super) fn program() -> Vec<Instruction> {
    let native = calls(REFUSED.iter().filter_map(|number| u32::try_from(*number).ok()), &NATIVE_JUDGED, true);
    let mut all = vec![plain(LOAD, ARCHITECTURE)];
    all.extend(if_equal(NATIVE, native));
    if cfg!(target_arch = "x86_64") {
        all.extend(if_equal(I386, calls(REFUSED_I386.into_iter(), &I386_JUDGED, false)));
    }
    all.push(plain(RETURN, refuse(libc::EPERM)));
    all
}

fn calls(refused: impl Iterator<Item = u32>, judged: &Judged, native: bool) -> Vec<Instruction> {
    let no = plain(RETURN, refuse(libc::EPERM));
    let yes = plain(RETURN, ALLOW);
    let mut all = vec![plain(LOAD, NUMBER)];
    if native && cfg!(target_arch = "x86_64") {
        // The numbers of x32, another name for each call.
        all.extend([branch(IF_AT_LEAST, 0x4000_0000, 0, 1), no]);
    }
    for number in refused.chain(REFUSED_ANYWHERE) {
        all.extend(if_equal(number, vec![no]));
    }
    all.extend(if_equal(CLONE3, vec![plain(RETURN, refuse(libc::ENOSYS))]));
    let flags = vec![plain(LOAD, argument(0)), branch(IF_ANY_BIT, NAMESPACES, 0, 1), no, yes];
    all.extend(if_equal(judged.clone, flags));
    // Typing into a terminal.
    let typing = [libc::TIOCSTI as u32, libc::TIOCLINUX as u32];
    let keys =
        vec![plain(LOAD, argument(1)), branch(IF_EQUAL, typing[0], 1, 0), branch(IF_EQUAL, typing[1], 0, 1), no, yes];
    all.extend(if_equal(judged.ioctl, keys));
    for (number, kind) in judged.nodes {
        let device = vec![
            plain(LOAD, argument(*kind)),
            plain(AND, libc::S_IFMT),
            branch(IF_EQUAL, libc::S_IFCHR, 1, 0),
            branch(IF_EQUAL, libc::S_IFBLK, 0, 1),
            no,
            yes,
        ];
        all.extend(if_equal(*number, device));
    }
    // Families of sockets that a network namespace holds; AF_VSOCK, for one, leads to the hypervisor.
    let known = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK].map(i32::cast_unsigned);
    let families = vec![
        plain(LOAD, argument(0)),
        branch(IF_EQUAL, known[0], 4, 0),
        branch(IF_EQUAL, known[1], 3, 0),
        branch(IF_EQUAL, known[2], 2, 0),
        branch(IF_EQUAL, known[3], 1, 0),
        plain(RETURN, refuse(libc::EAFNOSUPPORT)),
        yes,
    ];
    all.extend(if_equal(judged.socket, families));
    all.push(yes);
    all
}

/// Does `body`, which must end with an answer, where what is loaded is `value`.
fn if_equal(value: u32, body: Vec<Instruction>) -> Vec<Instruction> {
    let over = plain(JUMP, u32::try_from(body.len()).unwrap_or_default());
    [vec![branch(IF_EQUAL, value, 1, 0), over], body].concat()
}

fn plain(code: u16, k: u32) -> Instruction {
    Instruction { code, jt: 0, jf: 0, k }
}

fn branch(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel's machine does with it.
    fn answer(architecture: u32, number: u32, arguments: [u32; 3]) -> u32 {
        let program = program();
        let (mut at, mut held) = (0, 0);
        loop {
            let one = program[at];
            at += 1;
            let taken = match one.code {
                LOAD => {
                    held = match one.k {
                        NUMBER => number,
                        ARCHITECTURE => architecture,
                        offset => arguments[(offset as usize - 16) / 8],
                    };
                    continue;
                }
                AND => {
                    held &= one.k;
                    continue;
                }
                JUMP => {
                    at += one.k as usize;
                    continue;
                }
                RETURN => return one.k,
                IF_EQUAL => held == one.k,
                IF_AT_LEAST => held >= one.k,
                IF_ANY_BIT => held & one.k != 0,
                other => panic!("{other}"),
            };
            at += usize::from(if taken { one.jt } else { one.jf });
        }
    }

    fn native(number: libc::c_long, arguments: [u32; 3]) -> u32 {
        answer(NATIVE, u32::try_from(number).unwrap(), arguments)
    }

    #[test]
    fn what_packs_files_is_allowed() {
        for number in [libc::SYS_read, libc::SYS_openat, libc::SYS_execve, libc::SYS_fchownat, libc::SYS_wait4] {
            assert_eq!(native(number, [0; 3]), ALLOW);
        }
        assert_eq!(native(libc::SYS_clone, [libc::SIGCHLD as u32, 0, 0]), ALLOW);
        assert_eq!(native(libc::SYS_mknodat, [0, 0, libc::S_IFIFO | 0o600]), ALLOW);
        assert_eq!(native(libc::SYS_socket, [libc::AF_UNIX as u32, 0, 0]), ALLOW);
        assert_eq!(native(libc::SYS_ioctl, [0, 0x5401, 0]), ALLOW);
        assert_eq!(native(libc::SYS_clone3, [0; 3]), refuse(libc::ENOSYS));
    }

    #[test]
    fn what_leads_outside_is_not() {
        let no = refuse(libc::EPERM);
        for number in REFUSED {
            assert_eq!(native(*number, [0; 3]), no);
        }
        for flag in [libc::CLONE_NEWNS, libc::CLONE_NEWUSER, libc::CLONE_NEWPID] {
            assert_eq!(native(libc::SYS_clone, [(flag | libc::SIGCHLD) as u32, 0, 0]), no);
        }
        assert_eq!(native(libc::SYS_mknodat, [0, 0, libc::S_IFBLK | 0o600]), no);
        assert_eq!(native(libc::SYS_ioctl, [0, libc::TIOCSTI as u32, 0]), no);
        assert_eq!(native(libc::SYS_socket, [libc::AF_VSOCK as u32, 0, 0]), refuse(libc::EAFNOSUPPORT));
        // Another architecture's numbers mean other calls.
        assert_eq!(answer(0x1234, 0, [0; 3]), no);
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn calls_of_32_bits_have_other_numbers() {
        let no = refuse(libc::EPERM);
        for number in REFUSED_I386 {
            assert_eq!(answer(I386, number, [0; 3]), no);
        }
        assert_eq!(answer(I386, 14, [0, libc::S_IFBLK, 0]), no);
        assert_eq!((answer(I386, 3, [0; 3]), answer(I386, 165, [0; 3])), (ALLOW, ALLOW));
        assert_eq!(answer(NATIVE, 0x4000_0000, [0; 3]), no);
    }
}
