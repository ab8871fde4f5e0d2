//! Pings a gateway for as long as somebody records, and writes what ping(8) would print with `-D`: everybody can read it, and a kill at any
//! moment takes one line at most.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto, recv, sendto, socket_with};

use crate::random;

/// The files in the directory of a recording, the older one first.
pub const PING_LOGS: [&str; 2] = ["ping.1.log", "ping.log"];

/// Between two packets at least, and by how much more at most: what is as regular as a fault finds it never, or always.
const LEAST: Duration = Duration::from_millis(125);
const MORE: u64 = 250;
/// An answer that comes later is none.
const PATIENCE: Duration = Duration::from_secs(10);
/// In front of the number in a packet: type, code, checksum, identifier, sequence; behind it a word that is our own.
const HEAD: usize = 8;
const NONCE: usize = 8;

/// The gateway of the default route, as the kernel has it: of IPv4, else of IPv6.
pub fn default_gateway() -> Option<IpAddr> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    gateway_v4(&read("/proc/net/route")).or_else(|| gateway_v6(&read("/proc/net/ipv6_route")))
}

/// RTF_GATEWAY of include/uapi/linux/route.h.
const THROUGH_GATEWAY: u32 = 2;

fn gateway_v4(table: &str) -> Option<IpAddr> {
    let routes = table.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, "00000000", gateway, flags, _, _, metric, "00000000", ..] = words.as_slice() else { return None };
        let is_through = u32::from_str_radix(flags, 16).ok()? & THROUGH_GATEWAY != 0;
        let gateway = u32::from_str_radix(gateway, 16).ok()?;
        is_through.then_some((metric.parse::<u64>().ok()?, IpAddr::V4(Ipv4Addr::from(gateway.to_ne_bytes()))))
    });
    routes.min_by_key(|(metric, _)| *metric).map(|(_, gateway)| gateway)
}

fn gateway_v6(table: &str) -> Option<IpAddr> {
    let routes = table.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [to, "00", _, _, hop, metric, _, _, flags, _] = words.as_slice() else { return None };
        let is_through = u32::from_str_radix(flags, 16).ok()? & THROUGH_GATEWAY != 0;
        let hop = Ipv6Addr::from(u128::from_str_radix(hop, 16).ok()?);
        // One of this link needs to be told which; its routes are left out.
        let fits = is_through && to.chars().all(|c| c == '0') && !hop.is_unicast_link_local();
        fits.then_some((u32::from_str_radix(metric, 16).ok()?, IpAddr::V6(hop)))
    });
    routes.min_by_key(|(metric, _)| *metric).map(|(_, hop)| hop)
}

/// What pings, from a thread of its own until this process ends.
#[derive(Debug)]
pub struct PingLog {
    address: IpAddr,
    socket: OwnedFd,
    /// Whether answers come with the header of IPv4.
    has_header: bool,
    nonce: [u8; NONCE],
    sequence: u16,
    sent: VecDeque<(u16, Instant)>,
    dir: PathBuf,
    file: File,
    length: u64,
    most: u64,
}

impl PingLog {
    /// Begins to ping that address, and writes to that directory, at most so many bytes.
    ///
    /// # Errors
    /// Where no socket for it is allowed (neither CAP_NET_RAW nor `net.ipv4.ping_group_range`), or nothing can be written.
    pub fn start(address: IpAddr, dir: &Path, most: u64) -> io::Result<()> {
        let mut log = PingLog::open(address, dir, most)?;
        std::thread::Builder::new().name("ping".to_owned()).stack_size(128 << 10).spawn(move || log.go_on())?;
        Ok(())
    }

    fn open(address: IpAddr, dir: &Path, most: u64) -> io::Result<PingLog> {
        let (family, protocol) = match address {
            IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP),
            IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6),
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (socket, is_raw) = match socket_with(family, SocketType::RAW, flags, Some(protocol)) {
            Ok(socket) => (socket, true),
            Err(_) => (socket_with(family, SocketType::DGRAM, flags, Some(protocol))?, false),
        };
        let [_, path] = PING_LOGS.map(|name| dir.join(name));
        let file = options().open(path)?;
        let length = file.metadata()?.len();
        let mut log = PingLog {
            address,
            socket,
            has_header: is_raw && address.is_ipv4(),
            nonce: random()
                .unwrap_or_else(|_| std::process::id().to_ne_bytes().repeat(2).try_into().unwrap_or([0; NONCE])),
            sequence: 0,
            sent: VecDeque::new(),
            dir: dir.to_owned(),
            file,
            length,
            most: most.max(128 << 10) / 2,
        };
        log.write(format_args!("PING {address} ({address}) 16(44) bytes of data."))?;
        Ok(log)
    }

    fn go_on(&mut self) {
        loop {
            self.send();
            let more = u64::from(u16::from_ne_bytes(random().unwrap_or([0, 1]))) % MORE;
            let next = Instant::now() + LEAST + Duration::from_millis(more);
            while let Some(left) = next.checked_duration_since(Instant::now()) {
                let wait = Timespec { tv_sec: 0, tv_nsec: left.subsec_nanos().into() };
                match poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&wait)) {
                    Ok(0) => break,
                    Ok(_) => self.receive(),
                    Err(Errno::INTR) => {}
                    Err(_) => std::thread::sleep(left),
                }
            }
            self.give_up();
        }
    }

    fn send(&mut self) {
        self.sequence = self.sequence.wrapping_add(1);
        let mut packet = vec![if self.address.is_ipv4() { 8 } else { 128 }, 0, 0, 0];
        packet.extend(self.nonce.get(..2).unwrap_or_default());
        packet.extend(self.sequence.to_be_bytes());
        packet.extend(self.nonce);
        packet.extend([0; 8]);
        // The kernel makes that of IPv6 by itself.
        if self.address.is_ipv4() {
            let sum = checksum(&packet).to_be_bytes();
            if let Some(place) = packet.get_mut(2..4) {
                place.copy_from_slice(&sum);
            }
        }
        self.sent.push_back((self.sequence, Instant::now()));
        // What cannot be sent is not answered, and that is told.
        let _ = sendto(&self.socket, &packet, SendFlags::empty(), &SocketAddr::new(self.address, 0));
    }

    fn receive(&mut self) {
        let mut buffer = [0; 2048];
        // A raw socket gets what is meant for others, too.
        for _ in 0..64 {
            let Ok((length, _)) = recv(&self.socket, &mut buffer[..], RecvFlags::empty()) else { return };
            let now = Instant::now();
            let Some((sequence, ttl)) = self.answer(buffer.get(..length).unwrap_or_default()) else { continue };
            let Some(at) = self.sent.iter().position(|(number, _)| *number == sequence) else { continue };
            let Some((_, sent)) = self.sent.remove(at) else { continue };
            let ttl = ttl.map(|ttl| format!(" ttl={ttl}")).unwrap_or_default();
            let time = (now - sent).as_secs_f64() * 1000.0;
            let address = self.address;
            let _ = self.write(format_args!("24 bytes from {}: icmp_seq={sequence}{ttl} time={time:.3} ms", address));
        }
    }

    /// The number of the packet that is answered, and the hops that were left.
    fn answer(&self, datagram: &[u8]) -> Option<(u16, Option<u8>)> {
        let (packet, ttl) = match self.has_header {
            true => {
                let length = usize::from(datagram.first()? & 0xF) * 4;
                (datagram.get(length..)?, Some(*datagram.get(8)?))
            }
            false => (datagram, None),
        };
        let is_answer = *packet.first()? == if self.address.is_ipv4() { 0 } else { 129 };
        let is_ours = packet.get(HEAD..HEAD + NONCE)? == self.nonce;
        let sequence = u16::from_be_bytes(packet.get(6..8)?.try_into().ok()?);
        (is_answer && is_ours).then_some((sequence, ttl))
    }

    fn give_up(&mut self) {
        while let Some((sequence, _)) = self.sent.front().copied().filter(|(_, sent)| sent.elapsed() > PATIENCE) {
            self.sent.pop_front();
            let _ = self.write(format_args!("no answer yet for icmp_seq={sequence}"));
        }
    }

    /// A line, in the words of ping(8), which are not translated. Where there is no room it is lost, as samples are.
    fn write(&mut self, text: std::fmt::Arguments<'_>) -> io::Result<()> {
        if self.length > self.most {
            let [older, newer] = PING_LOGS.map(|name| self.dir.join(name));
            std::fs::rename(&newer, older)?;
            self.file = options().open(newer)?;
            self.length = 0;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let line = format!("[{}.{:06}] {text}\n", now.as_secs(), now.subsec_micros());
        self.file.write_all(line.as_bytes())?;
        self.length += line.len() as u64;
        Ok(())
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o640);
    options.custom_flags((OFlags::NOFOLLOW | OFlags::CLOEXEC).bits().cast_signed());
    options
}

/// RFC 1071.
fn checksum(packet: &[u8]) -> u16 {
    let words = packet.chunks(2).map(|pair| {
        u32::from(u16::from_be_bytes([pair.first().copied().unwrap_or(0), pair.get(1).copied().unwrap_or(0)]))
    });
    let mut sum: u32 = words.sum();
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways() {
        let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
            eth1\t00000000\t0201A8C0\t0003\t0\t0\t200\t00000000\t0\t0\t0\neth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
            eth0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        let expected = if cfg!(target_endian = "little") { "192.168.1.1" } else { "1.1.168.192" };
        assert_eq!(gateway_v4(table), expected.parse().ok());
        assert_eq!(gateway_v4(""), None);
        let table = "00000000000000000000000000000000 00 00000000000000000000000000000000 00 20010db8000000000000000000000001 00000400 00000001 00000000 00000003 eth0\n\
            00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200 lo\n";
        assert_eq!(gateway_v6(table), "2001:db8::1".parse().ok());
    }

    #[test]
    fn this_machine_answers_and_the_files_stay_within_bounds() {
        let dir = tempfile::tempdir().expect("a directory");
        for address in ["127.0.0.1", "::1"] {
            let Ok(mut log) = PingLog::open(address.parse().expect("an address"), dir.path(), 0) else { continue };
            log.send();
            let wait = Timespec { tv_sec: 5, tv_nsec: 0 };
            let _ = poll(&mut [PollFd::new(&log.socket, PollFlags::IN)], Some(&wait));
            log.receive();
            let text = std::fs::read_to_string(dir.path().join("ping.log")).expect("the log");
            assert!(text.contains(&format!(" bytes from {address}: icmp_seq=1")), "{text}");
            assert!(log.sent.is_empty());
            for number in 0..3000 {
                log.write(format_args!("no answer yet for icmp_seq={number}")).expect("written");
            }
            let sizes = PING_LOGS.map(|name| std::fs::metadata(dir.path().join(name)).map_or(0, |file| file.len()));
            assert!(sizes.iter().all(|size| (1..70_000).contains(size)), "{sizes:?}");
        }
        assert_eq!(checksum(&[8, 0, 0, 0, 0, 1, 0, 1]), 0xF7FD);
    }
}
