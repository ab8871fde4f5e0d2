//! The loop: samples, keys and answers come in, and what changed on the screen goes out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;
use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;
use sickbay_target::{Event, Screen, Target};

use super::draw::{Look, Mode, Shown, draw};
use super::keys::State;
use super::live::Kept;
use super::paint;
use super::past::Past;
use super::scene::Scene;
use super::verdict::Verdict;
use super::work::{Anomaly, Job, PIECE};
use crate::facts::Facts;
use crate::facts::io::devices::Devices;
use crate::facts::system::kernel::Kernel;
use crate::model::finding::Finding;
use crate::model::text::Text;
use crate::sample::asked::shown;
use crate::sample::{Sample, Sampler, When};
use crate::tr;

/// A moment is judged by so much before and after it.
pub(super) const AROUND: Duration = Duration::from_secs(30);

/// The checks are asked no more often, and in a hundredth of the time; but what they said shall not be older than this.
const JUDGED: Duration = Duration::from_secs(3);
const SHARE: u32 = 100;
const OLD: Duration = Duration::from_secs(10);

/// Whoever goes through a recording fast is not told of each moment.
pub(super) const REST: Duration = Duration::from_millis(250);

/// While something is being done it is looked so often whether it is.
const SOON: Duration = Duration::from_millis(50);

/// The running system.
#[derive(Debug)]
pub struct Now<'r> {
    /// Takes the samples.
    pub sampler: Sampler<'r>,
    /// The machine.
    pub target: Arc<Target>,
    /// What was recorded of it, if something was.
    pub recorded: Option<Arc<Target>>,
}

/// What there is to see.
#[derive(Debug)]
pub struct Sources<'r> {
    /// The running system.
    pub now: Option<Now<'r>>,
    /// A recording, and the moment of it to begin with.
    pub past: Option<(Arc<Target>, Option<When>)>,
    /// The name of the machine.
    pub host: String,
    /// Its zone.
    pub zone: TimeZone,
}

/// A search for a stretch in which something is found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hunt {
    pub(super) is_next: bool,
    pub(super) from: Duration,
    pub(super) piece: u64,
}

/// All that is remembered between two keys.
pub(super) struct Session<'r> {
    pub(super) screen: Screen,
    pub(super) look: Look,
    pub(super) state: State,
    pub(super) now: Option<Now<'r>>,
    pub(super) kept: Kept,
    /// Of the running system; `None` is the last sample.
    pub(super) back: Option<Duration>,
    pub(super) past: Option<Past>,
    pub(super) is_past: bool,
    pub(super) host: String,
    pub(super) zone: TimeZone,
    pub(super) of_now: (u32, u32),
    pub(super) devices: Arc<Devices>,
    pub(super) scene: Scene,
    pub(super) verdict: Verdict,
    pub(super) findings: Vec<Finding>,
    /// Whether the verdict is yet to be asked for, and since when.
    pub(super) unjudged: Option<Instant>,
    pub(super) judged: Option<(Instant, Duration)>,
    pub(super) job: Option<(Job, Instant)>,
    pub(super) pieces: BTreeMap<u64, Vec<Anomaly>>,
    pub(super) hunt: Option<Hunt>,
    pub(super) wants_page: bool,
    pub(super) drawn: Buffer,
}

/// Opens the recording, where there is one to begin with, so that what is wrong with it is told before the screen is taken.
///
/// # Errors
/// Why it cannot be had.
pub fn open(sources: Sources<'_>) -> Result<Opened<'_>, Text> {
    let past = sources.past.map(|(target, at)| Past::open(target, at)).transpose()?;
    let facts = sources.now.as_ref().map(|now| Facts::new(Arc::clone(&now.target), None));
    let of_now = facts.as_ref().and_then(|facts| facts.get::<Kernel>().ok()).map_or((u32::MAX, 0), |one| one.version);
    let devices = facts.as_ref().and_then(|facts| facts.get::<Devices>().ok()).unwrap_or_default();
    Ok(Opened { now: sources.now, past, host: sources.host, zone: sources.zone, of_now, devices })
}

/// What can be shown.
#[derive(Debug)]
pub struct Opened<'r> {
    now: Option<Now<'r>>,
    past: Option<Past>,
    host: String,
    zone: TimeZone,
    of_now: (u32, u32),
    devices: Arc<Devices>,
}

impl<'r> Opened<'r> {
    /// Shows it until the user has seen enough.
    pub fn show(self, screen: Screen, look: Look) {
        let Opened { now, past, host, zone, of_now, devices } = self;
        let is_past = past.is_some();
        let mut session = Session {
            screen,
            look,
            state: State::default(),
            now,
            kept: Kept::default(),
            back: None,
            is_past,
            past,
            host,
            zone,
            of_now,
            devices,
            scene: Scene::default(),
            verdict: Verdict::Pending,
            findings: Vec::new(),
            unjudged: Some(Instant::now()),
            judged: None,
            job: None,
            pieces: BTreeMap::new(),
            hunt: None,
            wants_page: false,
            drawn: Buffer::empty(Rect::ZERO),
        };
        if session.is_past {
            session.moved();
        }
        session.go_on();
    }
}

impl Session<'_> {
    fn go_on(&mut self) {
        let mut next = Instant::now();
        loop {
            if self.now.is_some() && Instant::now() >= next {
                self.sample();
                let step = self.now.as_mut().map_or(REST, |now| now.sampler.step());
                next = Instant::now() + step;
            }
            self.take_answer();
            self.begin_work();
            self.draw();
            let idle = Instant::now() + Duration::from_secs(3600);
            let mut until = if self.now.is_some() { next } else { idle };
            if self.job.is_some() {
                until = until.min(Instant::now() + SOON);
            } else if let Some(since) = self.unjudged {
                until = until.min((since + REST).max(Instant::now() + SOON));
            }
            match self.screen.wait(until) {
                Event::Time => {}
                Event::Ended => return,
                Event::Redraw => self.drawn = Buffer::empty(Rect::ZERO),
                Event::Keys(keys) => {
                    let height = self.screen.size().map_or(24, |(_, height)| usize::from(height));
                    for key in keys {
                        if let Some(wish) = self.state.press(key, height)
                            && self.fulfil(wish)
                        {
                            return;
                        }
                    }
                }
            }
        }
    }

    fn sample(&mut self) {
        let Some(now) = &mut self.now else { return };
        // It says what is new, which is looked at closely then.
        now.sampler.glimpse(Instant::now());
        self.kept.add(now.sampler.sample(Vec::new()));
        if !self.is_past && self.back.is_none() {
            self.compute();
            let is_due = self.judged.is_none_or(|(when, cost)| when.elapsed() >= JUDGED.max(cost * SHARE).min(OLD));
            if is_due && self.kept.samples().len() > 1 {
                self.unjudged.get_or_insert_with(Instant::now);
            }
        }
    }

    /// The samples that are looked at, and which of them is shown.
    pub(super) fn place(&self) -> (&[Sample], usize) {
        match &self.past {
            Some(past) if self.is_past => (past.samples(), past.cursor),
            _ => {
                let last = self.kept.samples().len().saturating_sub(1);
                (self.kept.samples(), self.back.map_or(last, |back| self.kept.at(back)))
            }
        }
    }

    fn compute(&mut self) {
        let (version, devices) = match &self.past {
            Some(past) if self.is_past => {
                let version = past.facts.get::<Kernel>().map_or((u32::MAX, 0), |kernel| kernel.version);
                (version, past.facts.get::<Devices>().unwrap_or_default())
            }
            _ => (self.of_now, Arc::clone(&self.devices)),
        };
        let (samples, at) = self.place();
        self.scene = Scene::of(samples, at, version, &devices);
    }

    /// Another moment is looked at.
    pub(super) fn moved(&mut self) {
        self.compute();
        self.verdict = Verdict::Pending;
        self.findings.clear();
        self.unjudged = Some(Instant::now());
        // What is asked of another moment says nothing of this one.
        if self.hunt.is_none() {
            self.job = None;
        }
    }

    fn draw(&mut self) {
        let Some(size) = self.screen.size().or(Some((80, 24))) else { return };
        let mode = match (self.is_past, self.back) {
            (true, _) => Mode::Past,
            (false, None) => Mode::Live,
            (false, Some(back)) => {
                let last = self.kept.samples().last().map_or(back, |last| last.moment.steady);
                Mode::Back(last.saturating_sub(back))
            }
        };
        let (zone, whole) = match &self.past {
            Some(past) if self.is_past => (&past.zone, Some(past.whole)),
            _ => (&self.zone, None),
        };
        let doing = match self.hunt {
            Some(hunt) => {
                let at = shown(PIECE.saturating_mul(u32::try_from(hunt.piece).unwrap_or(0)), zone);
                let at = if self.is_past { at } else { shown(hunt.from, zone) };
                Some(tr!("searching, at {at}; Esc stops", at))
            }
            None if self.wants_page => Some(tr!("checking ...")),
            None => None,
        };
        let shown = Shown {
            scene: &self.scene,
            verdict: &self.verdict,
            mode,
            host: &self.host,
            whole,
            zone,
            doing: doing.as_ref(),
            state: &self.state,
        };
        let buffer = draw(&shown, &self.look, size);
        let changes = paint::changes(&self.drawn, &buffer);
        if !changes.is_empty() {
            self.screen.write(&changes);
        }
        self.drawn = buffer;
    }
}
