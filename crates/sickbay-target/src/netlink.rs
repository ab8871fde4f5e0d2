//! What the kernel answers about its network (rtnetlink(7)): links, addresses, routes, rules, as messages.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};
use sickbay_formats::network::piece::Piece;

/// More than this no kernel answers, in bytes: a router with a full table of the internet.
const MOST: usize = 256 << 20;

// include/uapi/linux/netlink.h
const REQUEST_DUMP: u16 = 0x301;
const REQUEST: u16 = 1;
const REQUEST_ACK: u16 = 5;
const GETROUTE: u16 = 26;
const RTA_DST: u16 = 1;
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// All messages that the kernel has for `RTM_GETLINK` (18), `RTM_GETADDR` (22), `RTM_GETROUTE` (26) or `RTM_GETRULE` (34), of the network
/// namespace that this process is in.
///
/// # Errors
/// The kernel's.
pub fn dump(request: u16, family: u8) -> io::Result<Vec<u8>> {
    ask(None, request, family, 32)
}

// include/uapi/linux/netfilter/nfnetlink.h, nf_tables.h
const NFT_MSG_GETTABLE: u16 = 10 << 8 | 1;

/// Whether nf_tables has any table in the network namespace that this process is in. Where nothing of netfilter is in the kernel, asking
/// would load a module: see who calls this.
///
/// # Errors
/// The kernel's: `EPERM` without CAP_NET_ADMIN.
pub fn has_nf_tables() -> io::Result<bool> {
    let answer = ask(Some(rustix::net::netlink::NETFILTER), NFT_MSG_GETTABLE, 0, 20)?;
    let first = answer.get(4..6).map(|kind| u16::from_ne_bytes(kind.try_into().unwrap_or_default()));
    Ok(first.is_some_and(|kind| kind != DONE))
}

fn ask(protocol: Option<rustix::net::Protocol>, request: u16, family: u8, length: u8) -> io::Result<Vec<u8>> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
    set_socket_timeout(&socket, Timeout::Recv, Some(Duration::from_secs(5)))?;
    let mut message = Vec::with_capacity(32);
    message.extend(u32::from(length).to_ne_bytes());
    message.extend(request.to_ne_bytes());
    message.extend(REQUEST_DUMP.to_ne_bytes());
    message.extend(1u32.to_ne_bytes());
    message.extend(0u32.to_ne_bytes());
    message.push(family);
    message.resize(usize::from(length), 0);
    send(&socket, &message, SendFlags::empty())?;
    let mut all = Vec::new();
    let mut buffer = vec![0u8; 1 << 16];
    loop {
        let (got, _) = recv(&socket, &mut buffer[..], RecvFlags::empty())?;
        let got = buffer.get(..got).unwrap_or_default();
        if got.is_empty() || all.len() + got.len() > MOST {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut rest = got;
        while let (Some(length), Some(kind)) = (rest.get(..4), rest.get(4..6)) {
            let length = u32::from_ne_bytes(length.try_into().unwrap_or_default()) as usize;
            match u16::from_ne_bytes(kind.try_into().unwrap_or_default()) {
                DONE => {
                    all.extend(got);
                    return Ok(all);
                }
                ERROR => {
                    let code = rest.get(16..20).and_then(|code| code.try_into().ok()).map_or(0, i32::from_ne_bytes);
                    return Err(io::Error::from_raw_os_error(code.saturating_neg()));
                }
                _ => {}
            }
            if length < 16 {
                break;
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        all.extend(got);
    }
}

/// Sends what changes something, and waits for the kernel's word on it.
pub(crate) fn change(request: u16, flags: u16, body: &[u8]) -> io::Result<()> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&socket, Timeout::Recv, Some(Duration::from_secs(5)))?;
    send(&socket, &message(request, REQUEST_ACK | flags, body), SendFlags::empty())?;
    let mut buffer = [0u8; 4096];
    let (got, _) = recv(&socket, &mut buffer[..], RecvFlags::empty())?;
    match first(buffer.get(..got).unwrap_or_default()) {
        (ERROR, 0) => Ok(()),
        (ERROR, code) => Err(io::Error::from_raw_os_error(code)),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// The link by which packets to an address leave, by its number.
///
/// # Errors
/// The kernel's: `ENETUNREACH` where no route leads there.
pub fn link_to(address: IpAddr) -> io::Result<u32> {
    let (family, octets) = match address {
        IpAddr::V4(address) => (2, address.octets().to_vec()),
        IpAddr::V6(address) => (10, address.octets().to_vec()),
    };
    let length = u8::try_from(octets.len()).unwrap_or(0);
    let mut body = vec![family, length * 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    body.extend((u16::from(length) + 4).to_ne_bytes());
    body.extend(RTA_DST.to_ne_bytes());
    body.extend(octets);
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&socket, Timeout::Recv, Some(Duration::from_secs(5)))?;
    send(&socket, &message(GETROUTE, REQUEST, &body), SendFlags::empty())?;
    let mut buffer = [0u8; 4096];
    let (got, _) = recv(&socket, &mut buffer[..], RecvFlags::empty())?;
    let answer = buffer.get(..got).unwrap_or_default();
    if let (ERROR, code) = first(answer) {
        return Err(io::Error::from_raw_os_error(code));
    }
    let routes = Piece::all(answer);
    routes.first().and_then(Piece::link_index).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

pub(crate) fn message(request: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(16 + body.len());
    message.extend(u32::try_from(16 + body.len()).unwrap_or(16).to_ne_bytes());
    message.extend(request.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend(1u32.to_ne_bytes());
    message.extend(0u32.to_ne_bytes());
    message.extend(body);
    message
}

/// The type of an answer, and the error in it.
fn first(answer: &[u8]) -> (u16, i32) {
    let kind = answer.get(4..6).and_then(|kind| kind.try_into().ok()).map_or(0, u16::from_ne_bytes);
    let code = answer.get(16..20).and_then(|code| code.try_into().ok()).map_or(0, i32::from_ne_bytes);
    (kind, code.saturating_neg())
}

#[cfg(test)]
mod tests {
    #[test]
    fn loopback_leads_to_itself() {
        let lo = super::link_to(std::net::Ipv4Addr::LOCALHOST.into());
        assert_eq!(lo.ok(), Some(1));
    }

    #[test]
    fn every_machine_has_lo() {
        let links = super::dump(18, 0).expect("the kernel answers");
        assert!(links.windows(3).any(|three| three == b"lo\0"));
    }
}
