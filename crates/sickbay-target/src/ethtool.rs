//! What the drivers of network interfaces say of themselves: queues (`ethtool -l`) and counters of their own (`ethtool -S`).
//!
//! Some drivers ask their card, which may take long or for ever; so each answer has a deadline, and a thread that waits for
//! one that does not come is left behind.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::sys;

/// A driver has this long to answer.
const PATIENCE: Duration = Duration::from_millis(500);

/// So many threads may wait for answers that do not come; after that nobody is asked any more.
const LEFT_BEHIND: usize = 4;

/// No driver has as many counters.
const COUNTERS: u32 = 1 << 15;

// include/uapi/linux/ethtool.h
const GET_STRINGS: u32 = 0x1b;
const GET_STATS: u32 = 0x1d;
const GET_STRING_SET_INFO: u32 = 0x37;
const GET_CHANNELS: u32 = 0x3c;
const SET_OF_STATS: u32 = 1;

static WAITING: AtomicUsize = AtomicUsize::new(0);

/// A `struct ethtool_channels` of the interface.
///
/// # Errors
/// The kernel's, `EOPNOTSUPP` for a driver that has none; `TimedOut`.
pub fn channels(interface: &str) -> io::Result<Vec<u8>> {
    within(interface, |interface| {
        let mut data = words(&[GET_CHANNELS]);
        data.resize(36, 0);
        ask(interface, &mut data)?;
        Ok(data)
    })
}

/// The names of the driver's own counters, 32 bytes each, and their values, 8 bytes each.
///
/// # Errors
/// As of [`channels`].
pub fn counters(interface: &str) -> io::Result<(Vec<u8>, Vec<u8>)> {
    within(interface, |interface| {
        // struct ethtool_sset_info: the number, reserved, a mask of 64 bits, and one number for each bit that is set.
        let mut data = words(&[GET_STRING_SET_INFO, 0]);
        data.extend((1_u64 << SET_OF_STATS).to_ne_bytes());
        data.extend(0_u32.to_ne_bytes());
        ask(interface, &mut data)?;
        let count = word(&data, 4).unwrap_or(0);
        if count == 0 || count > COUNTERS {
            return Err(io::ErrorKind::Unsupported.into());
        }
        // A driver that makes queues meanwhile writes more than it said: there is room for twice as many.
        let (count, room) = (count as usize, count as usize * 2 + 1024);
        let mut names = words(&[GET_STRINGS, SET_OF_STATS, u32::try_from(count).unwrap_or(0)]);
        names.resize(12 + room * 32, 0);
        ask(interface, &mut names)?;
        let mut values = words(&[GET_STATS, u32::try_from(count).unwrap_or(0)]);
        values.resize(8 + room * 8, 0);
        ask(interface, &mut values)?;
        let told = |data: &[u8], at| word(data, at).map_or(0, |count| count as usize).min(room);
        if told(&names, 2) != count || told(&values, 1) != count {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let part = |data: &[u8], from: usize, length: usize| data.get(from..from + length).unwrap_or_default().to_vec();
        Ok((part(&names, 12, count * 32), part(&values, 8, count * 8)))
    })
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn word(data: &[u8], index: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(data.get(index * 4..index * 4 + 4)?.try_into().ok()?))
}

fn ask(interface: &str, data: &mut [u8]) -> io::Result<()> {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    sys::ethtool(socket.as_fd(), interface.as_bytes(), data)
}

fn within<T: Send + 'static>(
    interface: &str,
    question: impl FnOnce(&str) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    if interface.is_empty() || interface.len() > 15 || interface.contains('/') {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    if WAITING.load(Ordering::Relaxed) >= LEFT_BEHIND {
        return Err(io::ErrorKind::TimedOut.into());
    }
    let (sender, receiver) = mpsc::channel();
    let interface = interface.to_owned();
    let thread = move || {
        WAITING.fetch_add(1, Ordering::Relaxed);
        let answer = question(&interface);
        WAITING.fetch_sub(1, Ordering::Relaxed);
        let _ = sender.send(answer);
    };
    std::thread::Builder::new().name("ethtool".to_owned()).spawn(thread)?;
    receiver.recv_timeout(PATIENCE).unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drivers_answer_or_say_why_not() {
        for wrong in ["", "no-such-card", "../eth0", "a-name-much-too-long"] {
            assert!(channels(wrong).is_err() && counters(wrong).is_err(), "{wrong}");
        }
        // The loopback device has no queues of hardware, and no counters.
        assert!(channels("lo").is_err());
        for entry in std::fs::read_dir("/sys/class/net").into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Ok(told) = channels(&name) {
                assert_eq!(told.len(), 36, "{name}");
            }
            if let Ok((names, values)) = counters(&name) {
                assert_eq!(names.len() / 32, values.len() / 8, "{name}");
                assert!(names.chunks(32).all(|name| name.first().is_some_and(u8::is_ascii_graphic)), "{name}");
            }
        }
    }
}
