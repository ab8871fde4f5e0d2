//! Counters that network cards keep by themselves, as `ethtool -S` shows them. Some drivers sleep for long before they answer, so
//! whoever has something else to do asks through [`CardWatch`].

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketType, socket};

use crate::sys;

// include/uapi/linux/ethtool.h
const GSSET_INFO: u32 = 0x37;
const GSTRINGS: u32 = 0x1b;
const GSTATS: u32 = 0x1d;
const STATS: u32 = 1;
/// The length of a name.
const NAME: usize = 32;
/// So many counters of a card are read. Cards with many queues have thousands.
const MOST: u32 = 1 << 14;
/// So many cards are asked.
const CARDS: usize = 64;

/// Counters of one card: their names, and what they are.
pub type Counters = Vec<(String, u64)>;

/// The counters of a card; none where its driver has none.
///
/// # Errors
/// The kernel's.
pub fn card_counters(link: &str) -> io::Result<Counters> {
    let asker = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    let halves = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    let low = |word: Option<&u64>| word.map_or(0, |word| *word as u32);
    // struct ethtool_sset_info: command, reserved, mask, lengths.
    let mut command = [0; 8];
    command[0] = halves(GSSET_INFO, 0);
    command[1] = 1 << STATS;
    sys::ask_driver(asker.as_fd(), link, &mut command)?;
    let count = if command[1] == 0 { 0 } else { low(command.get(2)) };
    if count == 0 || count > MOST {
        return Ok(Vec::new());
    }
    // A driver that has more by now than it said (queues that were added) writes as many as it is told to.
    let length = count as usize;
    let mut names = vec![0; 2 + length * 2 * NAME / 8 + 64];
    names[0] = halves(GSTRINGS, STATS);
    names[1] = u64::from(count);
    sys::ask_driver(asker.as_fd(), link, &mut names)?;
    let mut values = vec![0; 1 + length * 2 + 64];
    values[0] = halves(GSTATS, count);
    sys::ask_driver(asker.as_fd(), link, &mut values)?;
    // struct ethtool_gstrings: command, set, length, names. They begin at its 12th byte.
    let bytes: Vec<u8> = names.iter().flat_map(|word| word.to_le_bytes()).skip(12).collect();
    let name = |text: &[u8]| {
        let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
        String::from_utf8_lossy(text.get(..end).unwrap_or_default()).trim().to_owned()
    };
    let names = bytes.chunks(NAME).take(length).map(name);
    Ok(names.zip(values.into_iter().skip(1)).filter(|(name, _)| !name.is_empty()).collect())
}

/// The interfaces behind which is a device.
fn cards() -> Vec<String> {
    let Ok(entries) = std::fs::read_dir("/sys/class/net") else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| Path::new("/sys/class/net").join(name).join("device").exists()).take(CARDS).collect()
}

/// What the cards said last, and when.
type Answer = Arc<Mutex<Option<(Instant, Vec<(String, Counters)>)>>>;

/// Asks all cards again and again, beside whoever wants to know.
#[derive(Debug)]
pub struct CardWatch {
    answer: Answer,
    every: Duration,
}

impl CardWatch {
    /// Begins to ask for the counters that `is_wanted`. `None` where there is no card that has any.
    pub fn start(every: Duration, is_wanted: fn(&str) -> bool) -> Option<CardWatch> {
        if cards().is_empty() {
            return None;
        }
        let answer = Answer::default();
        let given = Arc::downgrade(&answer);
        let work = move || {
            while let Some(answer) = given.upgrade() {
                let of = |link: String| {
                    let mut counters = card_counters(&link).ok()?;
                    counters.retain(|(name, _)| is_wanted(name));
                    (!counters.is_empty()).then_some((link, counters))
                };
                let all: Vec<_> = cards().into_iter().filter_map(of).collect();
                *answer.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), all));
                drop(answer);
                std::thread::sleep(every);
            }
        };
        std::thread::Builder::new().name("cards".into()).stack_size(128 << 10).spawn(work).ok()?;
        Some(CardWatch { answer, every })
    }

    /// What they said, if that is new and not too old: a driver that does not answer says nothing.
    pub fn take(&self) -> Option<Vec<(String, Counters)>> {
        let (when, counters) = self.answer.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        (when.elapsed() < self.every * 2).then_some(counters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_of_this_machine() {
        assert!(card_counters("lo").is_ok_and(|counters| counters.is_empty()) || card_counters("lo").is_err());
        assert!(card_counters("no-such-link-at-all").is_err());
        for link in cards() {
            // Which ones there are is the driver's affair; that they are told is not.
            if let Ok(counters) = card_counters(&link) {
                assert!(counters.iter().all(|(name, _)| name.len() <= NAME), "{link}: {counters:?}");
                println!("{link}: {} counters", counters.len());
            }
        }
        if let Some(watch) = CardWatch::start(Duration::from_secs(60), |_| true) {
            let until = Instant::now() + Duration::from_secs(5);
            let mut told = None;
            while told.is_none() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(10));
                told = watch.take();
            }
            assert!(told.is_some() && watch.take().is_none());
        }
    }
}
