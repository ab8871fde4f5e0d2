//! What `ss` and `netstat` print of TCP sockets, as tools for support write it down.

use std::net::{IpAddr, Ipv4Addr};

use bstr::ByteSlice;

use crate::sock_diag::{STATES, Socket};

/// So many lines are read.
const LINES: usize = 500_000;

/// A socket, and who has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// As far as it is told.
    pub socket: Socket,
    /// The number of the process and its name, where root asked.
    pub owner: Option<(u32, String)>,
}

/// Sockets in what `ss -peaonmi`, `ss -tanp`, `netstat -W -neopa` or `netstat -tanp` printed; other lines are passed over. `None` where it
/// is of neither.
pub fn tcp(text: &[u8]) -> Option<Vec<Told>> {
    let mut lines = text.lines().take(LINES);
    let read = lines.find_map(|line| {
        let head = line.to_str_lossy();
        let names = |word: &str| head.split_whitespace().any(|known| known == word);
        match () {
            () if names("Proto") && names("Recv-Q") => Some(of_netstat as fn(&str) -> Option<Told>),
            () if names("State") && names("Recv-Q") && names("Netid") => Some(of_ss as fn(&str) -> Option<Told>),
            () if names("State") && names("Recv-Q") => Some(of_ss_tcp as fn(&str) -> Option<Told>),
            () => None,
        }
    })?;
    Some(lines.filter_map(|line| read(line.to_str().ok()?)).collect())
}

/// `tcp 1 0 10.0.0.1:8080 10.0.0.2:40000 CLOSE_WAIT 1000 38211 1733/java off (0.00/0/0)`
fn of_netstat(line: &str) -> Option<Told> {
    let mut words = line.split_whitespace();
    words.next().filter(|kind| matches!(*kind, "tcp" | "tcp6"))?;
    let (received, sent, source, destination) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let state = state(words.next()?)?;
    let rest: Vec<&str> = words.collect();
    let owner = rest.iter().find_map(|word| {
        let (pid, name) = word.split_once('/')?;
        Some((pid.parse().ok()?, name.trim_end_matches(':').to_owned()))
    });
    // With -e the user and the inode stand before the process.
    let inode = rest.get(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    told([received, sent], state, [source, destination], inode, owner)
}

/// `tcp CLOSE-WAIT 1 0 10.0.0.1:8080 10.0.0.2:40000 users:(("java",pid=1733,fd=52)) ino:38211 sk:5 <->`
fn of_ss(line: &str) -> Option<Told> {
    let (kind, rest) = line.split_once(char::is_whitespace)?;
    (kind == "tcp").then(|| of_ss_tcp(rest))?
}

fn of_ss_tcp(line: &str) -> Option<Told> {
    // What is said of the socket before is indented.
    let line = line.trim_start_matches(' ');
    let mut words = line.split_whitespace();
    let state = state(words.next().filter(|_| !line.starts_with('\t'))?)?;
    let (received, sent, source, destination) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let inode = words.clone().find_map(|word| word.strip_prefix("ino:")?.parse().ok()).unwrap_or(0);
    let owner = line.split_once("users:((\"").and_then(|(_, rest)| {
        let (name, rest) = rest.split_once("\",")?;
        // Before iproute 4: `("java",1733,52)`.
        let pid = rest.strip_prefix("pid=").unwrap_or(rest).split([',', ')']).next()?;
        Some((pid.parse().ok()?, name.to_owned()))
    });
    told([received, sent], state, [source, destination], inode, owner)
}

fn told(queues: [&str; 2], state: u8, ends: [&str; 2], inode: u32, owner: Option<(u32, String)>) -> Option<Told> {
    let [source, destination] = ends.map(end);
    let [received, sent] = queues.map(|number| number.parse().ok());
    let socket = Socket {
        state,
        source: source?,
        destination: destination?,
        received: received?,
        sent: sent?,
        inode,
        idle: None,
        silent: None,
        left: None,
        drops: None,
    };
    Some(Told { socket, owner })
}

/// Each has its own spelling: `CLOSE_WAIT` and `CLOSE-WAIT`, `ESTABLISHED` and `ESTAB`, `FIN_WAIT1` and `FIN-WAIT-1`.
fn state(word: &str) -> Option<u8> {
    let word = match word {
        "ESTAB" => "ESTABLISHED",
        "UNCONN" => "CLOSE",
        other => other,
    };
    let is_letter = |byte: &u8| !matches!(byte, b'-' | b'_');
    let is_it = |known: &&str| known.bytes().filter(is_letter).eq(word.bytes().filter(is_letter));
    let at = STATES.iter().position(is_it)?;
    u8::try_from(at).ok()?.checked_add(1)
}

/// `10.0.0.1:22`, `[::1]:22`, `:::80`, `*:*`, `0.0.0.0:*`, `[::ffff:10.0.0.1]:80`, `fe80::1%eth0:546`, `10.0.0.1%eth0:68`
fn end(word: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = word.rsplit_once(':')?;
    let port = if port == "*" { 0 } else { port.parse().ok()? };
    let address = address.trim_start_matches('[').trim_end_matches(']');
    let address = address.split_once('%').map_or(address, |(address, _)| address);
    let address = match address {
        "*" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        other => match other.parse().ok()? {
            IpAddr::V6(mapped) => mapped.to_ipv4_mapped().map_or(IpAddr::V6(mapped), IpAddr::V4),
            plain => plain,
        },
    };
    Some((address, port))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sock_diag::{CLOSE_WAIT, ESTABLISHED, LISTEN};

    /// State, own port, other end, inode, owner.
    type Row = (u8, u16, String, u32, Option<(u32, String)>);

    fn all(text: &str) -> Vec<Row> {
        let told = tcp(text.as_bytes()).expect("it is of one");
        let one = |told: Told| {
            let Socket { state, source, destination, inode, .. } = told.socket;
            (state, source.1, format!("{}:{}", destination.0, destination.1), inode, told.owner)
        };
        told.into_iter().map(one).collect()
    }

    #[test]
    fn netstat_of_sos() {
        let text = "\
Active Internet connections (servers and established)
Proto Recv-Q Send-Q Local Address           Foreign Address         State       User       Inode      PID/Program name     Timer
tcp        0      0 0.0.0.0:22              0.0.0.0:*               LISTEN      0          1576       890/sshd: /usr/sbin  off (0.00/0/0)
tcp        1      0 10.0.0.1:8080           10.0.0.2:40000          CLOSE_WAIT  1000       38211      1733/java            keepalive (7198.29/0/0)
tcp6       0      0 ::ffff:10.0.0.1:8080    ::ffff:10.0.0.2:40001   ESTABLISHED 1000       38212      -                    off (0.00/0/0)
udp        0      0 0.0.0.0:68              0.0.0.0:*                           0          1577       700/dhclient         off (0.00/0/0)
Active UNIX domain sockets (servers and established)
unix  3      [ ]         STREAM     CONNECTED     8795299  903486/cargo
";
        let java = Some((1733, "java".to_owned()));
        assert_eq!(
            all(text),
            [
                (LISTEN, 22, "0.0.0.0:0".to_owned(), 1576, Some((890, "sshd".to_owned()))),
                (CLOSE_WAIT, 8080, "10.0.0.2:40000".to_owned(), 38211, java),
                (ESTABLISHED, 8080, "10.0.0.2:40001".to_owned(), 38212, None),
            ]
        );
    }

    #[test]
    fn ss_new_and_old() {
        let new = "\
Netid State      Recv-Q Send-Q Local Address:Port  Peer Address:Port Process
nl    UNCONN     0      0      rtnl:chronyd/700    *
tcp   LISTEN     0      128          [::]:80             [::]:*     users:((\"nginx\",pid=612,fd=6)) ino:20 sk:1 cgroup:/system.slice/nginx.service <->
\t skmem:(r0,rb131072,t0,tb16384,f0,w0,o0,bl0,d0) cubic cwnd:10
tcp   CLOSE-WAIT 1      0      10.0.0.1%eth0:8080 10.0.0.2:40000 users:((\"java\",pid=1733,fd=52)) uid:1000 ino:38211 sk:5 -->
";
        let java = Some((1733, "java".to_owned()));
        assert_eq!(
            all(new),
            [
                (LISTEN, 80, ":::0".to_owned(), 20, Some((612, "nginx".to_owned()))),
                (CLOSE_WAIT, 8080, "10.0.0.2:40000".to_owned(), 38211, java.clone()),
            ]
        );
        let old = "State      Recv-Q Send-Q Local Address:Port Peer Address:Port\n\
            CLOSE-WAIT 1 0 10.0.0.1:8080 10.0.0.2:40000 users:((\"java\",1733,52)) ino:38211 sk:5\n";
        assert_eq!(all(old), [(CLOSE_WAIT, 8080, "10.0.0.2:40000".to_owned(), 38211, java)]);
    }

    #[test]
    fn what_is_neither() {
        assert_eq!(tcp(b"bash: ss: command not found\n"), None);
        assert_eq!(tcp(b""), None);
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300), text in "[a-zA-Z-_:.\\[\\]%*()\",=0-9 \t\n]{0,200}") {
            for head in ["Proto Recv-Q\n", "Netid State Recv-Q\n", "State Recv-Q\n", ""] {
                let _ = tcp(&[head.as_bytes(), &bytes].concat());
                let _ = tcp(&[head.as_bytes(), text.as_bytes()].concat());
            }
        }
    }
}
