//! TCP sockets as the kernel tells them: messages of NETLINK_SOCK_DIAG (sock_diag(7), include/uapi/linux/inet_diag.h) and
//! `/proc/net/tcp`, `tcp6`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bstr::ByteSlice;

/// A TCP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    /// One of [`STATES`], from 1 on.
    pub state: u8,
    /// Its own end; what is mapped into IPv6 is IPv4.
    pub source: (IpAddr, u16),
    /// The other end.
    pub destination: (IpAddr, u16),
    /// Bytes that wait to be read; of a listener the connections that wait to be accepted.
    pub received: u32,
    /// Bytes that are not acknowledged; of a listener how many may wait, where that is known (not from `/proc/net/tcp`).
    pub sent: u32,
    /// The inode, 0 for one that no file stands for.
    pub inode: u32,
    /// Milliseconds since data came last, where that was asked for.
    pub idle: Option<u32>,
    /// Milliseconds since data was sent last, likewise.
    pub silent: Option<u32>,
    /// Of one in TIME_WAIT the milliseconds until it is gone.
    pub left: Option<u32>,
    /// Packets, of a listener connections, that were dropped since it was made, where that was asked for.
    pub drops: Option<u32>,
}

/// States by their numbers, from 1 on (include/net/tcp_states.h), as ss(8) names them.
pub const STATES: [&str; 12] = [
    "ESTABLISHED",
    "SYN_SENT",
    "SYN_RECV",
    "FIN_WAIT1",
    "FIN_WAIT2",
    "TIME_WAIT",
    "CLOSE",
    "CLOSE_WAIT",
    "LAST_ACK",
    "LISTEN",
    "CLOSING",
    "NEW_SYN_RECV",
];

/// The number of ESTABLISHED.
pub const ESTABLISHED: u8 = 1;
/// The number of SYN_SENT.
pub const SYN_SENT: u8 = 2;
/// The number of TIME_WAIT.
pub const TIME_WAIT: u8 = 6;
/// The number of CLOSE_WAIT.
pub const CLOSE_WAIT: u8 = 8;
/// The number of LISTEN.
pub const LISTEN: u8 = 10;

impl Socket {
    /// The name of its state.
    pub fn state_name(&self) -> &'static str {
        usize::from(self.state).checked_sub(1).and_then(|at| STATES.get(at)).copied().unwrap_or("UNKNOWN")
    }
}

/// A header of netlink, `inet_diag_req_v2`, `inet_diag_msg`, in bytes.
const HEADER: usize = 16;
const REQUEST: usize = 56;
const MESSAGE: usize = 72;

const REQUEST_OF_BOTH: usize = 60;
/// `inet_diag_sockid`
const IDENTITY: usize = 48;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const TCPDIAG_GETSOCK: u16 = 18;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
const INET_DIAG_INFO: u16 = 2;
const INET_DIAG_SKMEMINFO: u16 = 7;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const TCP: u8 = 6;

/// What is asked for beside the sockets (`idiag_ext`): nothing, how long they have been idle, or what they dropped.
pub const NOTHING: u8 = 0;
/// See [`NOTHING`].
pub const AGES: u8 = 1 << (INET_DIAG_INFO - 1);
/// See [`NOTHING`].
pub const DROPS: u8 = 1 << (INET_DIAG_SKMEMINFO - 1);

/// `SK_MEMINFO_DROPS` of the numbers that INET_DIAG_SKMEMINFO is (include/uapi/linux/sock_diag.h), since 4.6.
const DROPPED: usize = 8 * 4;

/// `tcpi_last_data_sent` and `tcpi_last_data_recv` of `struct tcp_info`.
const LAST_DATA_SENT: usize = 44;
const LAST_DATA_RECV: usize = 52;

/// A request for the TCP sockets of IPv6, else of IPv4, that are in one of these states (bit N for state N), with `more` of each.
pub fn request(v6: bool, states: u32, more: u8) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + REQUEST);
    out.extend(u32::try_from(HEADER + REQUEST).unwrap_or(0).to_ne_bytes());
    out.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    out.extend(NLM_F_REQUEST_DUMP.to_ne_bytes());
    out.extend([0; 8]);
    out.extend([if v6 { AF_INET6 } else { AF_INET }, TCP, more, 0]);
    out.extend(states.to_ne_bytes());
    out.resize(HEADER + REQUEST, 0);
    out
}

/// The request of older kernels, which newer ones answer too (`struct inet_diag_req`): one look at the tables for both families.
pub fn request_of_both(states: u32, more: u8) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + REQUEST_OF_BOTH);
    out.extend(u32::try_from(HEADER + REQUEST_OF_BOTH).unwrap_or(0).to_ne_bytes());
    out.extend(TCPDIAG_GETSOCK.to_ne_bytes());
    out.extend(NLM_F_REQUEST_DUMP.to_ne_bytes());
    out.extend([0; 8]);
    out.extend([AF_INET, 0, 0, more]);
    out.extend([0; IDENTITY]);
    out.extend(states.to_ne_bytes());
    out.resize(HEADER + REQUEST_OF_BOTH, 0);
    out
}

/// How a datagram of answers ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// More will come.
    More,
    /// That was all.
    Done,
    /// The kernel refuses, with this errno.
    Error(i32),
}

/// Reads a datagram: gives each socket to `take`.
pub fn answers(datagram: &[u8], mut take: impl FnMut(Socket)) -> End {
    let mut rest = datagram;
    loop {
        let (Some(length), Some(kind)) = (u32_at(rest, 0), u16_at(rest, 4)) else { return End::More };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let Some(body) = rest.get(HEADER..length) else { return End::More };
        match kind {
            NLMSG_DONE => return End::Done,
            NLMSG_ERROR => {
                let code = u32_at(body, 0).map_or(0, |code| i32::from_ne_bytes(code.to_ne_bytes()));
                return End::Error(code.saturating_neg());
            }
            SOCK_DIAG_BY_FAMILY | TCPDIAG_GETSOCK => {
                if let Some(socket) = message(body) {
                    take(socket);
                }
            }
            _ => {}
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn message(body: &[u8]) -> Option<Socket> {
    let port = |at: usize| Some(u16::from_be_bytes(body.get(at..at + 2)?.try_into().ok()?));
    let v6 = *body.first()? == AF_INET6;
    let address = |at: usize| -> Option<IpAddr> {
        if v6 {
            let bytes: [u8; 16] = body.get(at..at + 16)?.try_into().ok()?;
            Some(unmapped(Ipv6Addr::from(bytes)))
        } else {
            let bytes: [u8; 4] = body.get(at..at + 4)?.try_into().ok()?;
            Some(IpAddr::V4(Ipv4Addr::from(bytes)))
        }
    };
    let (mut idle, mut silent, mut drops) = (None, None, None);
    let mut attributes = body.get(MESSAGE..).unwrap_or_default();
    while let (Some(length), Some(kind)) = (u16_at(attributes, 0), u16_at(attributes, 2)) {
        let length = usize::from(length);
        let Some(value) = attributes.get(4..length) else { break };
        if kind == INET_DIAG_INFO {
            (silent, idle) = (u32_at(value, LAST_DATA_SENT), u32_at(value, LAST_DATA_RECV));
        } else if kind == INET_DIAG_SKMEMINFO {
            drops = u32_at(value, DROPPED);
        }
        attributes = attributes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    let state = *body.get(1)?;
    Some(Socket {
        state,
        source: (address(8)?, port(4)?),
        destination: (address(24)?, port(6)?),
        received: u32_at(body, 56)?,
        sent: u32_at(body, 60)?,
        inode: u32_at(body, 68)?,
        idle,
        silent,
        left: if state == TIME_WAIT { u32_at(body, 52) } else { None },
        drops,
    })
}

fn unmapped(address: Ipv6Addr) -> IpAddr {
    address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4)
}

/// The lines of `/proc/net/tcp` or `tcp6` (Documentation/networking/proc_net_tcp.rst).
pub fn table(text: &[u8]) -> impl Iterator<Item = Socket> {
    text.lines().filter_map(row)
}

fn row(line: &[u8]) -> Option<Socket> {
    let line = line.to_str().ok()?;
    let mut words = line.split_ascii_whitespace();
    let number = words.next()?.strip_suffix(':')?;
    number.parse::<u64>().ok()?;
    let (source, destination) = (end(words.next()?)?, end(words.next()?)?);
    let state = u8::from_str_radix(words.next()?, 16).ok()?;
    let (sent, received) = words.next()?.split_once(':')?;
    let queue = |text: &str| u32::from_str_radix(text, 16).ok();
    let timer = words.next()?;
    let inode = words.nth(3)?.parse().ok()?;
    // A timer of 3 is that of TIME_WAIT, in ticks of 10 ms.
    let left = timer.strip_prefix("03:").filter(|_| state == TIME_WAIT).and_then(queue);
    Some(Socket {
        state,
        source,
        destination,
        received: queue(received)?,
        sent: queue(sent)?,
        inode,
        idle: None,
        silent: None,
        left: left.map(|ticks| ticks.saturating_mul(10)),
        drops: None,
    })
}

/// `0100007F:1F90`: words of an address in the machine's order, a port as it is read.
fn end(text: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| u32::from_str_radix(address.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    let address = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for (index, part) in bytes.chunks_exact_mut(4).enumerate() {
                part.copy_from_slice(&word(index * 8)?);
            }
            unmapped(Ipv6Addr::from(bytes))
        }
        _ => return None,
    };
    Some((address, port))
}

/// Local ports from `ip_local_reserved_ports`: `8080,9148-9150`; how many of them lie between two others.
pub fn reserved_within(text: &str, first: u16, last: u16) -> u64 {
    let ranges = text.trim().split(',').filter_map(|part| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to) = (from.trim().parse::<u16>().ok()?.max(first), to.trim().parse::<u16>().ok()?.min(last));
        (from <= to).then(|| u64::from(to - from) + 1)
    });
    ranges.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut out = u32::try_from(HEADER + body.len()).unwrap().to_ne_bytes().to_vec();
        out.extend(kind.to_ne_bytes());
        out.extend([0; 10]);
        out.extend(body);
        out
    }

    #[test]
    fn a_listener_with_its_age() {
        let mut body = vec![0; MESSAGE];
        (body[0], body[1]) = (AF_INET6, LISTEN);
        body[4..6].copy_from_slice(&8080_u16.to_be_bytes());
        body[18..24].copy_from_slice(&[0xff, 0xff, 127, 0, 0, 1]);
        body[56..60].copy_from_slice(&5_u32.to_ne_bytes());
        body[60..64].copy_from_slice(&4096_u32.to_ne_bytes());
        body[68..72].copy_from_slice(&4711_u32.to_ne_bytes());
        let mut info = vec![0; 104];
        info[LAST_DATA_RECV..LAST_DATA_RECV + 4].copy_from_slice(&60_000_u32.to_ne_bytes());
        body.extend(u16::try_from(4 + info.len()).unwrap().to_ne_bytes());
        body.extend(INET_DIAG_INFO.to_ne_bytes());
        body.extend(info);
        let mut all = Vec::new();
        let mut bytes = datagram(SOCK_DIAG_BY_FAMILY, &body);
        bytes.extend(datagram(NLMSG_DONE, &[0; 4]));
        assert_eq!(answers(&bytes, |socket| all.push(socket)), End::Done);
        let socket = all[0];
        assert_eq!((socket.source, socket.received, socket.sent), (("127.0.0.1".parse().unwrap(), 8080), 5, 4096));
        assert_eq!((socket.inode, socket.idle, socket.state_name()), (4711, Some(60_000), "LISTEN"));
        let error = datagram(NLMSG_ERROR, &(-2_i32).to_ne_bytes());
        assert_eq!(answers(&error, |_| {}), End::Error(2));
        assert_eq!((request(true, 1 << LISTEN, AGES).len(), request_of_both(1 << LISTEN, DROPS).len()), (72, 76));
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn tables() {
        let text = b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            \x20  0: 0100007F:1F90 00000000:0000 0A 00000000:00000003 00:00000000 00000000     0        0 4711 1 0000000000000000 100 0 0 10 0\n\
            \x20  1: 0100007F:9C40 0101010A:0050 06 00000000:00000000 03:00000f2a 00000000     0        0 0 3 0000000000000000\n";
        let all: Vec<Socket> = table(text).collect();
        assert_eq!((all.len(), all[0].received, all[0].inode, all[0].state), (2, 3, 4711, LISTEN));
        assert_eq!(all[1].destination, ("10.1.1.1".parse().unwrap(), 80));
        assert_eq!((all[0].left, all[1].left), (None, Some(38_820)));
        let six = b"   0: 0000000000000000FFFF00000100007F:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 7 1\n";
        assert_eq!(table(six).next().map(|socket| socket.source), Some(("127.0.0.1".parse().unwrap(), 22)));
        assert_eq!(reserved_within("8080,9148-9150,1-40000", 32_768, 60_999), 7233);
        assert_eq!(reserved_within("", 32_768, 60_999), 0);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, text: String) {
            let _ = answers(&bytes, |_| {});
            let _ = answers(&datagram(SOCK_DIAG_BY_FAMILY, &bytes), |_| {});
            let _ = (table(&bytes).count(), reserved_within(&text, 1, 9));
        }
    }
}
