//! Threads that end, as the kernel tells of them (taskstats): the only way to know programs that live for less than a look at
//! all processes takes.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_recv_buffer_size_force, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with};
use sickbay_formats::taskstats::{self, Exit};

use crate::netlink::message;

// include/uapi/linux/netlink.h, genetlink.h, taskstats.h
const REQUEST_ACK: u16 = 5;
const REQUEST_DUMP: u16 = 0x301;
const GENL_ID_CTRL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const TASKSTATS_CMD_GET: u8 = 1;
const REGISTER_CPUMASK: u16 = 3;
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// What waits to be read, in bytes; beyond that the kernel drops it.
const ROOM: usize = 8 << 20;

/// So many are read at once.
const MOST: usize = 1 << 16;

/// A place at which the kernel tells of every thread that ends, from here on until it is dropped.
#[derive(Debug)]
pub struct Exits {
    socket: OwnedFd,
    family: u16,
}

impl Exits {
    /// Those on these processors, as `0-7` has them.
    ///
    /// # Errors
    /// The kernel's: only root may know; in a container nobody does.
    pub fn of(cpus: &str) -> io::Result<Exits> {
        let socket =
            socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(netlink::GENERIC))?;
        set_socket_timeout(&socket, Timeout::Recv, Some(Duration::from_secs(2)))?;
        // All families are asked for: to ask for one that is not there would load a module.
        send(&socket, &message(GENL_ID_CTRL, REQUEST_DUMP, &[CTRL_CMD_GETFAMILY, 2, 0, 0]), SendFlags::empty())?;
        let mut families = Vec::new();
        let mut buffer = vec![0; 1 << 16];
        while families.len() < ROOM {
            let (got, _) = recv(&socket, &mut buffer[..], RecvFlags::empty())?;
            let got = buffer.get(..got).unwrap_or_default();
            families.extend(got);
            if got.is_empty() || kind(got) == DONE || kind(got) == ERROR || ends(got) {
                break;
            }
        }
        let family = taskstats::family(&families).ok_or(io::ErrorKind::Unsupported)?;
        // Who may not make it larger has what there is.
        let _ = set_socket_recv_buffer_size_force(&socket, ROOM);
        let mut body = vec![TASKSTATS_CMD_GET, 1, 0, 0];
        let length = u16::try_from(cpus.len() + 5).map_err(|_| io::ErrorKind::InvalidInput)?;
        body.extend(length.to_ne_bytes());
        body.extend(REGISTER_CPUMASK.to_ne_bytes());
        body.extend(cpus.as_bytes());
        body.push(0);
        body.resize(body.len().next_multiple_of(4), 0);
        send(&socket, &message(family, REQUEST_ACK, &body), SendFlags::empty())?;
        // Some may have ended before the answer comes.
        for _ in 0..1024 {
            let (got, _) = recv(&socket, &mut buffer[..], RecvFlags::empty())?;
            let got = buffer.get(..got).unwrap_or_default();
            if kind(got) == ERROR {
                let code = got.get(16..20).and_then(|code| code.try_into().ok()).map_or(0, i32::from_ne_bytes);
                return match code {
                    0 => Ok(Exits { socket, family }),
                    code => Err(io::Error::from_raw_os_error(code.saturating_neg())),
                };
            }
        }
        Err(io::ErrorKind::TimedOut.into())
    }

    /// Those that ended since the last time, and whether all of them are there.
    pub fn read(&mut self) -> (Vec<Exit>, bool) {
        let mut all = Vec::new();
        let mut is_all = true;
        let mut buffer = vec![0; 1 << 14];
        while all.len() < MOST {
            match recv(&self.socket, &mut buffer[..], RecvFlags::DONTWAIT) {
                Ok((0, _)) => break,
                Ok((got, _)) => all.extend(taskstats::exits(buffer.get(..got).unwrap_or_default(), self.family)),
                // There was no room for some.
                Err(rustix::io::Errno::NOBUFS) => is_all = false,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return (all, is_all),
            }
        }
        (all, false)
    }
}

fn kind(answer: &[u8]) -> u16 {
    answer.get(4..6).and_then(|kind| kind.try_into().ok()).map_or(0, u16::from_ne_bytes)
}

/// Whether the last message of a buffer is the end of a dump.
fn ends(answer: &[u8]) -> bool {
    // Its length is 20.
    answer.len().checked_sub(20).and_then(|at| answer.get(at..)).is_some_and(|last| kind(last) == DONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_ends_is_told() {
        let cpus = std::fs::read_to_string("/sys/devices/system/cpu/possible").expect("processors");
        let mut exits = match Exits::of(cpus.trim()) {
            Ok(exits) => exits,
            Err(error) => {
                // The kernel has it not, or this user may not know.
                let is_lack = matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied);
                assert!(is_lack, "{error}");
                return;
            }
        };
        let mut child = std::process::Command::new("true").spawn().expect("a child");
        let id = child.id();
        child.wait().expect("its end");
        let mut found = None;
        for _ in 0..100 {
            let (all, _) = exits.read();
            found = found.or_else(|| all.into_iter().find(|exit| exit.id == id));
            if found.is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let exit = found.expect("told");
        assert_eq!((exit.name.to_string(), exit.parent), ("true".to_owned(), std::process::id()));
        assert!(exit.lived_us > 0);
    }
}
