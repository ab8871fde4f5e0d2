//! The running system over time. A look costs time, so it is only taken where there is something to see: of what the kernel
//! says of the whole, or because the user asked.

use std::time::Duration;

use crate::facts::system::kernel::running;
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::sample::{self, Sample, Window};
use crate::tr;

/// So long is watched where nobody says how long.
pub const USUAL: Duration = Duration::from_secs(1);

/// What the kernel says of the whole, read in a moment.
#[derive(Debug)]
pub struct Glance {
    /// Counters, without threads.
    pub sample: Sample,
    /// Processors that are online, at least 1.
    pub cpus: usize,
}

impl Fact for Glance {
    fn gather(facts: &Facts) -> Result<Glance, Skip> {
        running(facts)?;
        let sample = match facts.target().is_this_machine() {
            true => sample::glance(facts.root())?,
            // All that there is was written down.
            false => {
                let window = facts.get::<Window>()?;
                window.last().cloned().ok_or_else(|| Skip::NotApplicable(tr!("the target is not running")))?
            }
        };
        let cpus = sample.stat.as_ref().map_or(0, |stat| stat.cpus.len()).max(1);
        Ok(Glance { sample, cpus })
    }
}

/// From so many threads on that wait for a disk, there is something to see on a machine of any size.
const WAITING: u64 = 4;

impl Glance {
    /// Whether it is worth while to watch: more threads want the processors than there are, or some wait for what is none.
    pub fn shows_load(&self) -> bool {
        let cpus = self.cpus as u64;
        let Some(load) = self.sample.load else { return false };
        let stat = self.sample.stat.as_ref();
        // Hundredths. What does not run, and yet is load, waits; who reads it runs.
        let high = load.averages[0] >= (cpus * 150).max(cpus * 100 + 150);
        let waits = load.averages[0].saturating_sub(load.running.saturating_sub(1) * 100) >= 250;
        let blocked = stat.and_then(|stat| stat.blocked).unwrap_or(0) >= WAITING;
        // Who reads it is one of those that run.
        let crowd = load.running > cpus.saturating_mul(3).saturating_add(4);
        // Everybody waits for a disk for half of the time, if few at once.
        let some = |pressure: Option<sickbay_formats::procfs::pressure::Pressure>| {
            pressure.and_then(|pressure| pressure.full).map_or(0, |full| full.averages[0])
        };
        high || waits || blocked || crowd || some(self.sample.io_pressure) >= 5000
    }
}

impl Fact for Window {
    fn gather(facts: &Facts) -> Result<Window, Skip> {
        running(facts)?;
        match facts.target().is_this_machine() {
            true => Ok(sample::watch(facts.root(), facts.window().unwrap_or(USUAL))?),
            false => Ok(sample::read(facts.root())?),
        }
    }
}

/// The window, if there is something to see in it or the user asked for one.
pub fn window_with_load(facts: &Facts) -> Result<Option<std::sync::Arc<Window>>, Skip> {
    let glance = facts.get::<Glance>()?;
    if glance.sample.load.is_none() {
        return Err(Skip::Unknown(tr!("{path} says nothing, or no thread can be seen", path = "/proc/loadavg")));
    }
    match facts.window().is_some() || glance.shows_load() {
        true => facts.get::<Window>().map(Some),
        false => Ok(None),
    }
}
