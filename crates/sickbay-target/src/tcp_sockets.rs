//! The TCP sockets of this process's network namespace, asked of the kernel over netlink (sock_diag(7)): faster than
//! `/proc/net/tcp`, and with what that lacks, such as the backlog in force.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with};
use sickbay_formats::sock_diag::{
    AGES, CLOSE_WAIT, DROPS, ESTABLISHED, End, LISTEN, NOTHING, Socket, answers, request, request_of_both,
};

/// The kernel answers at once or not at all.
const PATIENCE: Duration = Duration::from_secs(2);
/// All of it may take so long.
const DEADLINE: Duration = Duration::from_secs(10);
/// Fewer in CLOSE_WAIT are nobody's leak.
const FEW: usize = 50;
/// Both ends of a connection.
type Ends = ((IpAddr, u16), (IpAddr, u16));
/// The kernel makes no larger datagrams.
const DATAGRAM: usize = 64 << 10;

/// What the kernel answers about at most `most` sockets: datagrams, each behind its length in four bytes. Those that the other end has
/// closed tell how long they have been idle, where there are many.
///
/// # Errors
/// Where the kernel has no sock_diag for TCP (`tcp_diag`), or does not let this process ask.
pub fn tcp_answers(most: usize) -> io::Result<Vec<u8>> {
    let mut unclosed = 0_usize;
    // One look for both families, which all kernels know since 2.6.14; two where this one does not.
    let mut all = match ask(most, &[(u32::MAX, NOTHING)], true, &mut unclosed) {
        Ok(all) => all,
        Err(_) => ask(most, &[(u32::MAX, NOTHING)], false, &mut unclosed)?,
    };
    if unclosed >= FEW {
        all.extend(ask(most, &[(1 << CLOSE_WAIT, AGES)], false, &mut unclosed)?);
    }
    Ok(all)
}

/// The same of those in some states (bit N for state N), as many as there are of both families, without ages.
///
/// # Errors
/// As [`tcp_answers`].
pub fn tcp_in_states(most: usize, states: u32) -> io::Result<Vec<u8>> {
    ask(most, &[(states, NOTHING)], true, &mut 0)
}

/// The same of those that are established, with how long they have been idle. It costs more than the sockets alone.
///
/// # Errors
/// As [`tcp_answers`].
pub fn tcp_ages(most: usize) -> io::Result<Vec<u8>> {
    ask(most, &[(1 << ESTABLISHED, AGES)], false, &mut 0)
}

/// The same of those that listen, with how many connections each has dropped since it was made.
///
/// # Errors
/// As [`tcp_answers`].
pub fn tcp_listeners(most: usize) -> io::Result<Vec<u8>> {
    ask(most, &[(1 << LISTEN, DROPS)], false, &mut 0)
}

/// `unclosed` counts those in CLOSE_WAIT.
fn ask(most: usize, wanted: &[(u32, u8)], both: bool, unclosed: &mut usize) -> io::Result<Vec<u8>> {
    let began = Instant::now();
    let kind = SocketType::RAW;
    let netlink = socket_with(AddressFamily::NETLINK, kind, SocketFlags::CLOEXEC, Some(netlink::SOCK_DIAG))?;
    set_socket_timeout(&netlink, Timeout::Recv, Some(PATIENCE))?;
    let (mut all, mut count) = (Vec::new(), 0);
    for &(states, more) in wanted {
        for v6 in [false, true] {
            if both && v6 {
                break;
            }
            let request = if both { request_of_both(states, more) } else { request(v6, states, more) };
            send(&netlink, &request, SendFlags::empty())?;
            match receive(&netlink, began, &mut all, most, &mut count, unclosed) {
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
    // Those that are told twice: the second time with their age.
    let mut unclosed: HashMap<Ends, usize> = HashMap::new();
    let mut rest = answer;
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_ne_bytes(*length) as usize;
        answers(after.get(..length).unwrap_or_default(), |socket| {
            let ends = (socket.source, socket.destination);
            let known = (socket.state == CLOSE_WAIT).then(|| unclosed.get(&ends).copied()).flatten();
            if let Some(before) = known.and_then(|index| all.get_mut(index)) {
                *before = socket;
            } else if all.len() < most {
                if socket.state == CLOSE_WAIT {
                    unclosed.insert(ends, all.len());
                }
                all.push(socket);
            } else {
                is_cut = true;
            }
        });
        rest = after.get(length..).unwrap_or_default();
    }
    (all, is_cut)
}

fn receive(
    netlink: &OwnedFd,
    began: Instant,
    all: &mut Vec<u8>,
    most: usize,
    count: &mut usize,
    unclosed: &mut usize,
) -> io::Result<()> {
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
        let end = answers(datagram, |socket| {
            *count += 1;
            *unclosed += usize::from(socket.state == CLOSE_WAIT);
        });
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
        let six = TcpListener::bind("[::1]:0").ok();
        let clients: Vec<TcpStream> =
            (0..FEW).map(|_| TcpStream::connect(("127.0.0.1", own)).expect("it connects")).collect();
        let (all, is_cut) = tcp_sockets(1 << 20).expect("sock_diag");
        assert!(!is_cut);
        let listening = all.iter().find(|one| one.state == LISTEN && one.source.1 == own).expect("it listens");
        assert!(listening.received as usize == FEW && listening.sent > 0 && listening.inode > 0, "{listening:?}");
        if let Some(port) = six.and_then(|six| six.local_addr().ok()).map(|address| address.port()) {
            assert!(!all.iter().any(|one| one.state == LISTEN && one.source.1 == port && one.source.0.is_ipv4()));
        }
        let both = ask(1 << 20, &[(1 << LISTEN, NOTHING)], true, &mut 0)
            .map(|answer| super::tcp_sockets(&answer, 1 << 20).0.len());
        let each = ask(1 << 20, &[(1 << LISTEN, NOTHING)], false, &mut 0)
            .map(|answer| super::tcp_sockets(&answer, 1 << 20).0.len());
        assert!(both.is_ok_and(|both| both > 0) && each.is_ok_and(|each| each > 0));
        // The server closes: the client does not.
        clients.iter().for_each(|_| drop(listener.accept().expect("it accepts")));
        let (all, _) = tcp_sockets(1 << 20).expect("sock_diag");
        let waits: Vec<&Socket> =
            all.iter().filter(|one| one.state == CLOSE_WAIT && one.destination.1 == own).collect();
        assert!(waits.len() == FEW && waits.iter().all(|one| one.idle.is_some() && one.inode > 0), "{waits:?}");
        drop(clients);
        assert_eq!(tcp_sockets(0).map(|(all, is_cut)| (all.len(), is_cut)).ok(), Some((0, true)));
    }
}
