//! Which of TCP's counters grew while somebody watched.

use std::collections::BTreeMap;
use std::time::Duration;

use bstr::ByteSlice;

use crate::facts::glimpse::Glimpse;
use crate::facts::time::Glance;
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::sample::Window;
use crate::tr;

/// A window that is shorter tells nothing of a rate.
const SHORTEST: Duration = Duration::from_millis(400);

/// What a second of watching is worth while for.
const ILL: [&str; 5] = [
    "TcpExt.IPReversePathFilter",
    "TcpExt.ListenOverflows",
    "TcpExt.TCPTimeWaitOverflow",
    "TcpExt.TCPAbortOnMemory",
    "TcpExt.TCPMemoryPressures",
];

/// By how much each counter of `/proc/net/netstat` and of TCP in `/proc/net/snmp` grew; nothing where a first look of a tenth of a
/// second showed none grow that should not. Counters since the start say nothing of now.
#[derive(Debug, Default)]
pub struct TcpCounters {
    /// For how long was watched, in seconds.
    pub span: f64,
    grown: BTreeMap<String, u64>,
}

impl Fact for TcpCounters {
    fn gather(facts: &Facts) -> Result<TcpCounters, Skip> {
        let glance = facts.get::<Glance>()?;
        if facts.target().is_this_machine() && facts.window().is_none() && !glance.shows_load() {
            let glimpse = facts.get::<Glimpse>()?;
            if TcpCounters::of(&glimpse.0).is_some_and(|seen| ILL.iter().all(|name| seen.grown(name) == 0)) {
                return Ok(TcpCounters::default());
            }
        }
        let window = facts.get::<Window>()?;
        if window.samples.len() < 2 {
            return Err(Skip::NotApplicable(tr!("there is one moment only: what grows cannot be told")));
        }
        if window.samples.iter().all(|sample| sample.tcp.is_none()) {
            return Err(Skip::NotApplicable(tr!("nothing was seen of the network")));
        }
        if window.span().is_none_or(|span| span < SHORTEST) {
            return Err(Skip::Unknown(tr!("the clock stood still or went back while it was watched")));
        }
        TcpCounters::of(&window).ok_or_else(|| Skip::NotApplicable(tr!("nothing was seen of the network")))
    }
}

impl TcpCounters {
    fn of(window: &Window) -> Option<TcpCounters> {
        let mut with = window.samples.iter().filter_map(|sample| sample.tcp.as_ref());
        let (first, last) = (with.next()?, with.next_back()?);
        let before: BTreeMap<&[u8], u64> = first.iter().map(|one| (one.name.as_slice(), one.value)).collect();
        // One that went back began anew: nothing is known of it.
        let grown = last.iter().filter_map(|one| {
            let by = one.value.checked_sub(*before.get(one.name.as_slice())?)?;
            (by > 0).then(|| (one.name.to_str_lossy().into_owned(), by))
        });
        Some(TcpCounters { span: window.span()?.as_secs_f64(), grown: grown.collect() })
    }

    /// By how much the counter of that name grew: `TcpExt.ListenOverflows`. What the kernel does not have did not.
    pub fn grown(&self, name: &str) -> u64 {
        self.grown.get(name).copied().unwrap_or(0)
    }
}
