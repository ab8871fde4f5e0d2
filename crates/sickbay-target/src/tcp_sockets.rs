//! The TCP sockets of this process's network namespace, asked of the kernel over netlink (sock_diag(7)): faster than
//! `/proc/net/tcp`, and with what that lacks, such as the backlog in force.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with};
use sickbay_formats::sock_diag::{CLOSE_WAIT, ESTABLISHED, End, LISTEN, Socket, answers, request};

/// The kernel answers at once or not at all.
const PATIENCE: Duration = Duration::from_secs(2);
/// All of it may take so long.
const DEADLINE: Duration = Duration::from_secs(10);
/// The kernel makes no larger datagrams.
const DATAGRAM: usize = 64 << 10;

/// What the kernel answers about at most `most` sockets: datagrams, each behind its length in four bytes. Listeners and those
/// that the other end has closed tell how long they have been idle.
///
/// # Errors
/// Where the kernel has no sock_diag for TCP (`tcp_diag`), or does not let this process ask.
pub fn tcp_answers(most: usize) -> io::Result<Vec<u8>> {
    let with_ages = 1_u32 << LISTEN | 1 << CLOSE_WAIT;
    ask(most, &[(with_ages, true), (!with_ages, false)])
}

/// The same of those that are established, with how long they have been idle. It costs more than the sockets alone.
///
/// # Errors
/// As [`tcp_answers`].
pub fn tcp_ages(most: usize) -> io::Result<Vec<u8>> {
    ask(most, &[(1 << ESTABLISHED, true)])
}

fn ask(most: usize, wanted: &[(u32, bool)]) -> io::Result<Vec<u8>> {
    let began = Instant::now();
    let kind = SocketType::RAW;
    let netlink = socket_with(AddressFamily::NETLINK, kind, SocketFlags::CLOEXEC, Some(netlink::SOCK_DIAG))?;
    set_socket_timeout(&netlink, Timeout::Recv, Some(PATIENCE))?;
    let (mut all, mut count) = (Vec::new(), 0);
    for &(states, ages) in wanted {
        for v6 in [false, true] {
            send(&netlink, &request(v6, states, ages), SendFlags::empty())?;
            match receive(&netlink, began, &mut all, most, &mut count) {
                // A kernel without IPv6.
                Err(error) if v6 && error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => {}
                other => other?,
            }
        }
    }
    Ok(all)
}

/// The sockets in such an answer, at most `most`, and whether there were more.
pub fn tcp_sockets(answer: &[u8], most: usize) -> (Vec<Socket>, bool) {
    let (mut all, mut is_cut) = (Vec::new(), false);
    let mut rest = answer;
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_ne_bytes(*length) as usize;
        answers(after.get(..length).unwrap_or_default(), |socket| {
            if all.len() < most {
                all.push(socket);
            } else {
                is_cut = true;
            }
        });
        rest = after.get(length..).unwrap_or_default();
    }
    (all, is_cut)
}

fn receive(netlink: &OwnedFd, began: Instant, all: &mut Vec<u8>, most: usize, count: &mut usize) -> io::Result<()> {
    let mut buffer = vec![0; DATAGRAM];
    loop {
        if began.elapsed() > DEADLINE {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let length = match recv(netlink, &mut buffer[..], RecvFlags::empty()) {
            Ok((length, _)) => length,
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno.into()),
        };
        let datagram = buffer.get(..length).unwrap_or_default();
        // One more than wanted says that there are more.
        let is_wanted = *count <= most;
        let end = answers(datagram, |_| *count += 1);
        if is_wanted && let Ok(length) = u32::try_from(length) {
            all.extend(length.to_ne_bytes());
            all.extend_from_slice(datagram);
        }
        match end {
            End::More => {}
            End::Done => return Ok(()),
            End::Error(errno) => return Err(io::Error::from_raw_os_error(errno)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn tcp_sockets(most: usize) -> io::Result<(Vec<Socket>, bool)> {
        Ok(super::tcp_sockets(&tcp_answers(most)?, most))
    }

    #[test]
    fn sockets_of_this_process() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let own = listener.local_addr().expect("an address").port();
        let client = TcpStream::connect(("127.0.0.1", own)).expect("it connects");
        let (all, is_cut) = tcp_sockets(1 << 20).expect("sock_diag");
        assert!(!is_cut);
        let listening = all.iter().find(|one| one.state == LISTEN && one.source.1 == own).expect("it listens");
        assert!(listening.received == 1 && listening.sent > 0 && listening.inode > 0, "{listening:?}");
        // The server closes: the client does not.
        drop(listener.accept().expect("it accepts"));
        let (all, _) = tcp_sockets(1 << 20).expect("sock_diag");
        let waits = all.iter().find(|one| one.state == CLOSE_WAIT && one.destination.1 == own).expect("it waits");
        assert!(waits.idle.is_some() && waits.inode > 0, "{waits:?}");
        drop(client);
        assert_eq!(tcp_sockets(0).map(|(all, is_cut)| (all.len(), is_cut)).ok(), Some((0, true)));
    }
}
