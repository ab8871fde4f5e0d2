//! What the kernel answers about its network (rtnetlink(7)): links, addresses, routes, rules, as messages.

use std::io;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

/// More than this no kernel answers, in bytes: a router with a full table of the internet.
const MOST: usize = 256 << 20;

// include/uapi/linux/netlink.h
const REQUEST_DUMP: u16 = 0x301;
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

#[cfg(test)]
mod tests {
    #[test]
    fn every_machine_has_lo() {
        let links = super::dump(18, 0).expect("the kernel answers");
        assert!(links.windows(3).any(|three| three == b"lo\0"));
    }
}
