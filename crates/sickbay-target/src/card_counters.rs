//! Counters that network cards keep by themselves, as `ethtool -S` shows them. Some drivers sleep for long before they answer, so
//! whoever has something else to do asks through [`CardWatch`].

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::ethtool;

/// So many cards are asked.
const CARDS: usize = 64;

/// Counters of one card: their names, and what they are.
pub type Counters = Vec<(String, u64)>;

/// The counters of a card.
fn counters_of(link: &str) -> io::Result<Counters> {
    let (names, values) = ethtool::counters(link)?;
    let counters = sickbay_formats::ethtool::counters_of(&names, &values);
    Ok(counters.into_iter().map(|counter| (counter.name.to_string(), counter.value)).collect())
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
                    let mut counters = counters_of(&link).ok()?;
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
        assert!(counters_of("no-such-link").is_err());
        for link in cards() {
            // Which ones there are is the driver's affair; that they are told is not.
            if let Ok(counters) = counters_of(&link) {
                assert!(counters.iter().all(|(name, _)| name.len() <= 32), "{link}: {counters:?}");
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
