//! The running system over time. A look costs time, so it is only taken where there is something to see: of what the kernel
//! says of the whole, or because the user asked.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::tz::TimeZone;

use crate::facts::system::kernel::running;
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::model::text::Text;
use crate::sample::recorded::Machine;
use crate::sample::{self, Sample, Window};
use crate::tr;

/// So long is watched where nobody says how long.
pub const USUAL: Duration = Duration::from_secs(1);

/// Ends a check of what a machine does over time on a target that neither runs nor is recorded.
pub fn over_time(facts: &Facts) -> Result<(), Skip> {
    if facts.target().recording().is_ok() { Ok(()) } else { running(facts) }
}

/// The part of a recording that is looked at, where the target is one or was given one.
#[derive(Debug)]
pub struct Recorded {
    /// Of which machine it is.
    pub machine: Machine,
    /// The first moment of the whole recording and the last, since 1970.
    pub whole: (Duration, Duration),
    /// The same of the part that is looked at.
    pub part: (Duration, Duration),
    /// How many samples that is.
    pub samples: usize,
    /// In which zone its times are told.
    pub zone: TimeZone,
    /// What the user should know of it.
    pub remarks: Vec<Text>,
    /// The samples, until [`Window`] takes them.
    window: Mutex<Option<Window>>,
}

impl Fact for Recorded {
    fn gather(facts: &Facts) -> Result<Recorded, Skip> {
        let recording = facts.target().recording()?;
        let part = sample::recorded(recording, facts.asked(), &local_zone()).map_err(Skip::Unknown)?;
        let moments = || part.window.samples.iter().map(|sample| sample.moment.wall);
        Ok(Recorded {
            machine: part.machine,
            whole: part.whole,
            part: (moments().min().unwrap_or_default(), moments().max().unwrap_or_default()),
            samples: part.window.samples.len(),
            zone: part.zone,
            remarks: part.remarks,
            window: Mutex::new(Some(part.window)),
        })
    }
}

/// The zone of this machine; UTC where `/etc/localtime` does not tell.
pub fn local_zone() -> TimeZone {
    let told = || {
        let bytes = sickbay_target::Root::host().ok()?.read_up_to(Path::new("/etc/localtime"), 1 << 20).ok()?;
        TimeZone::tzif("Local", &bytes).ok()
    };
    told().unwrap_or(TimeZone::UTC)
}

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
        over_time(facts)?;
        let sample = match facts.target().recording().is_err() && facts.target().is_this_machine() {
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
        if facts.target().recording().is_ok() {
            let recorded = facts.get::<Recorded>()?;
            let taken = recorded.window.lock().unwrap_or_else(PoisonError::into_inner).take();
            return taken.ok_or_else(|| Skip::Unknown(tr!("the recording was taken by another")));
        }
        running(facts)?;
        if let Some(samples) = facts.samples() {
            return Ok(Window::clone(samples));
        }
        match facts.target().is_this_machine() {
            true => Ok(sample::watch(facts.root(), facts.window().unwrap_or(USUAL))?),
            false => Ok(sample::read(facts.root())?),
        }
    }
}

/// The window, if there is something to see in it or the user asked for one.
pub fn window_with_load(facts: &Facts) -> Result<Option<std::sync::Arc<Window>>, Skip> {
    if facts.target().recording().is_ok() {
        // It costs nothing more, and its last moment says nothing of the others.
        let window = facts.get::<Window>()?;
        return match window.samples.iter().any(|sample| sample.load.is_some()) {
            true => Ok(Some(window)),
            false => Err(Skip::NotApplicable(tr!("the load average was not recorded"))),
        };
    }
    let glance = facts.get::<Glance>()?;
    if glance.sample.load.is_none() {
        return Err(Skip::Unknown(tr!("{path} says nothing, or no thread can be seen", path = "/proc/loadavg")));
    }
    match facts.window().is_some() || glance.shows_load() {
        true => facts.get::<Window>().map(Some),
        false => Ok(None),
    }
}
