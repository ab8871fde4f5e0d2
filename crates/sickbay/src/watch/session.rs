//! The loop: samples, keys and answers come in, and what changed on the screen goes out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;
use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;
use sickbay_target::{Event, Screen, Target};

use super::draw::{Look, Mode, Shown, Verdict, draw};
use super::keys::{Page, State, Wish};
use super::live::Kept;
use super::paint;
use super::past::Past;
use super::scene::Scene;
use super::work::{Anomaly, Answer, Job, Of, PIECE, is_worth_while};
use crate::facts::Facts;
use crate::facts::io::devices::Devices;
use crate::facts::system::kernel::Kernel;
use crate::model::finding::Finding;
use crate::model::text::Text;
use crate::report::text::{Style, render_cause};
use crate::sample::asked::shown;
use crate::sample::{Sample, Sampler, When, Window};
use crate::tr;

/// A moment is judged by so much before and after it.
const AROUND: Duration = Duration::from_secs(30);

/// The checks are asked no more often, and in no more than a hundredth of the time.
const JUDGED: Duration = Duration::from_secs(3);
const SHARE: u32 = 100;

/// Whoever goes through a recording fast is not told of each moment.
const REST: Duration = Duration::from_millis(250);

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
struct Hunt {
    is_next: bool,
    from: Duration,
    piece: u64,
}

/// All that is remembered between two keys.
struct Session<'r> {
    screen: Screen,
    look: Look,
    state: State,
    now: Option<Now<'r>>,
    kept: Kept,
    /// Of the running system; `None` is the last sample.
    back: Option<Duration>,
    past: Option<Past>,
    is_past: bool,
    host: String,
    zone: TimeZone,
    of_now: (u32, u32),
    devices: Arc<Devices>,
    scene: Scene,
    verdict: Verdict,
    findings: Vec<Finding>,
    /// Whether the verdict is yet to be asked for, and since when.
    unjudged: Option<Instant>,
    judged: Option<(Instant, Duration)>,
    job: Option<(Job, Instant)>,
    pieces: BTreeMap<u64, Vec<Anomaly>>,
    hunt: Option<Hunt>,
    wants_page: bool,
    drawn: Buffer,
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
            let is_due = self.judged.is_none_or(|(when, cost)| when.elapsed() >= JUDGED.max(cost * SHARE));
            if is_due && self.kept.samples().len() > 1 {
                self.unjudged.get_or_insert_with(Instant::now);
            }
        }
    }

    /// The samples that are looked at, and which of them is shown.
    fn place(&self) -> (&[Sample], usize) {
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
    fn moved(&mut self) {
        self.compute();
        self.verdict = Verdict::Pending;
        self.findings.clear();
        self.unjudged = Some(Instant::now());
        // What is asked of another moment says nothing of this one.
        if self.hunt.is_none() {
            self.job = None;
        }
    }

    fn fulfil(&mut self, wish: Wish) -> bool {
        let done = match wish {
            Wish::Quit => return true,
            Wish::Redraw => {
                self.drawn = Buffer::empty(Rect::ZERO);
                Ok(())
            }
            Wish::Stop => {
                self.screen.stop();
                self.drawn = Buffer::empty(Rect::ZERO);
                Ok(())
            }
            Wish::Cancel => {
                self.hunt = None;
                Ok(())
            }
            Wish::Step(by) => self.step(by),
            Wish::Shift(seconds) => {
                let by = Duration::from_secs(u64::from(seconds.unsigned_abs()));
                let at = self.moment();
                self.go(if seconds < 0 { at.saturating_sub(by) } else { at.saturating_add(by) })
            }
            Wish::Jump(when) => self.resolve(when).and_then(|at| self.go(at)),
            Wish::First => self.first(),
            Wish::Last => self.last(),
            Wish::Pause => {
                self.pause();
                Ok(())
            }
            Wish::Anomaly { is_next } => {
                let from = self.moment();
                self.job = None;
                self.hunt = Some(Hunt { is_next, from, piece: piece_of(from) });
                Ok(())
            }
            Wish::Finding => {
                self.wants_page = true;
                Ok(())
            }
        };
        if let Err(why) = done {
            self.state.message = Some(why);
        }
        false
    }

    /// The moment that is shown, by the clock of the day.
    fn moment(&self) -> Duration {
        let (samples, at) = self.place();
        samples.get(at).map_or(Duration::ZERO, |sample| sample.moment.wall)
    }

    fn resolve(&mut self, when: When) -> Result<Duration, Text> {
        if self.is_past || self.now.is_none() {
            return self.past.as_ref().map_or_else(|| Err(tr!("there is no such moment")), |past| past.resolve(when));
        }
        let end = self.kept.samples().last().map_or(Duration::ZERO, |last| last.moment.wall);
        when.resolve(&self.zone, end).ok_or_else(|| tr!("there is no such moment"))
    }

    /// Goes to that moment, in what was seen since this began, else in what was recorded before.
    fn go(&mut self, at: Duration) -> Result<(), Text> {
        let kept = self.kept.samples();
        let is_kept = self.now.is_some() && kept.get(1).is_some_and(|first| first.moment.wall <= at);
        if is_kept {
            let is_last = kept.last().is_some_and(|last| last.moment.wall <= at);
            let steady = kept.iter().rfind(|sample| sample.moment.wall <= at).map(|sample| sample.moment.steady);
            self.back = if is_last { None } else { steady };
            self.is_past = false;
            self.moved();
            return Ok(());
        }
        self.open_past()?;
        let Some(past) = &mut self.past else { return Ok(()) };
        past.go(at.clamp(past.whole.0, past.whole.1.max(past.whole.0)))?;
        self.is_past = true;
        self.moved();
        Ok(())
    }

    fn open_past(&mut self) -> Result<(), Text> {
        if self.past.is_some() {
            return Ok(());
        }
        let recorded = self.now.as_ref().and_then(|now| now.recorded.clone());
        let Some(target) = recorded else {
            let from = self.kept.get(1).map_or_else(|| "-".to_owned(), |first| shown(first.moment.wall, &self.zone));
            return Err(tr!("nothing was recorded before {from}: sickbay record would do that", from));
        };
        self.past = Some(Past::open(target, None)?);
        Ok(())
    }

    fn step(&mut self, by: i32) -> Result<(), Text> {
        if self.is_past {
            let Some(past) = &mut self.past else { return Ok(()) };
            if past.step(by)? {
                self.moved();
                return Ok(());
            }
            if by > 0 && self.now.is_some() {
                // What follows was seen here.
                let at = self.moment();
                let next = self.kept.samples().iter().skip(1).find(|sample| sample.moment.wall > at);
                let next = next.map(|sample| sample.moment.steady);
                (self.is_past, self.back) = (false, next);
                self.moved();
                return Ok(());
            }
            return Err(if by < 0 { tr!("this is where it begins") } else { tr!("this is where it ends") });
        }
        let (samples, at) = self.place();
        let to = at.checked_add_signed(isize::try_from(by).unwrap_or(0)).filter(|to| *to > 0);
        match to {
            Some(to) if to + 1 < samples.len() => self.back = samples.get(to).map(|sample| sample.moment.steady),
            Some(_) => self.back = None,
            None => {
                let before = samples.first().map_or(Duration::ZERO, |first| first.moment.wall);
                return self.go(before.saturating_sub(Duration::from_millis(1)));
            }
        }
        self.moved();
        Ok(())
    }

    fn first(&mut self) -> Result<(), Text> {
        if !self.is_past && self.open_past().is_err() {
            self.back = self.kept.get(1).map(|first| first.moment.steady);
            self.moved();
            return Ok(());
        }
        let begin = self.past.as_ref().map_or(Duration::ZERO, |past| past.whole.0);
        let Some(past) = &mut self.past else { return Ok(()) };
        past.go(begin)?;
        if past.cursor == 0 && past.samples().len() > 1 {
            past.cursor = 1;
        }
        self.is_past = true;
        self.moved();
        Ok(())
    }

    fn last(&mut self) -> Result<(), Text> {
        if self.now.is_some() {
            (self.is_past, self.back) = (false, None);
        } else if let Some(past) = &mut self.past {
            past.go(past.whole.1)?;
        }
        self.moved();
        Ok(())
    }

    fn pause(&mut self) {
        if self.now.is_none() {
            self.state.message = Some(tr!("a recording stands still by itself: left and right go on"));
        } else if self.is_past || self.back.is_some() {
            (self.is_past, self.back) = (false, None);
            self.moved();
        } else {
            self.back = self.kept.samples().last().map(|last| last.moment.steady);
        }
    }

    /// What the checks are asked about.
    fn of(&self) -> Option<Of> {
        match (&self.past, &self.now) {
            (Some(past), _) if self.is_past => Some(Of::Recording(Arc::clone(&past.target))),
            (_, Some(now)) => {
                let window = Window { samples: self.kept.samples().to_vec(), place: "/proc".into() };
                Some(Of::Running(Arc::clone(&now.target), Arc::new(window)))
            }
            _ => None,
        }
    }

    fn begin_work(&mut self) {
        if self.job.is_some() {
            return;
        }
        if self.hunt.is_some() {
            self.go_hunting();
            return;
        }
        let is_rested = self.unjudged.is_some_and(|since| since.elapsed() >= REST);
        if !(is_rested || (self.wants_page && self.unjudged.is_some())) {
            return;
        }
        self.unjudged = None;
        let at = self.moment();
        let span = match &self.past {
            Some(past) if self.is_past => past.around(AROUND),
            _ => (at.saturating_sub(AROUND), at.saturating_add(AROUND)),
        };
        if !self.is_past {
            // On a machine that has nothing to do the checks would say just that.
            let samples = self.kept.samples();
            let is_near = |sample: &&Sample| (span.0..=span.1).contains(&sample.moment.wall);
            let near: Vec<Sample> = samples.iter().rev().take_while(|sample| sample.moment.wall >= span.0).filter(is_near).cloned().collect();
            let near: Vec<Sample> = near.into_iter().rev().collect();
            if near.len() < 2 {
                self.unjudged = Some(Instant::now());
                return;
            }
            if !is_worth_while(&near) {
                (self.verdict, self.judged) = (Verdict::Clear, Some((Instant::now(), Duration::ZERO)));
                self.findings.clear();
                return;
            }
            let Some(now) = &self.now else { return };
            let of = Of::Running(Arc::clone(&now.target), Arc::new(Window { samples: near, place: "/proc".into() }));
            self.job = Job::begin(move || of.verdict(at, span)).map(|job| (job, Instant::now()));
        } else if let Some(of) = self.of() {
            self.job = Job::begin(move || of.verdict(at, span)).map(|job| (job, Instant::now()));
        }
    }

    fn take_answer(&mut self) {
        if let Some((job, began)) = &self.job {
            match job.answer() {
                Ok(None) => return,
                Ok(Some(Answer::Verdict(verdict, findings))) => {
                    self.judged = Some((Instant::now(), began.elapsed()));
                    (self.verdict, self.findings, self.job) = (verdict, findings, None);
                }
                Ok(Some(Answer::Piece(piece, found))) => {
                    self.job = None;
                    match found {
                        Ok(found) if piece == u64::MAX => self.choose(&found, true),
                        // A piece that is still written to has more to tell later.
                        Ok(found) => drop(self.pieces.insert(piece, found)),
                        Err(_) => drop(self.pieces.insert(piece, Vec::new())),
                    }
                }
                Err(()) => {
                    self.job = None;
                    self.hunt = None;
                    self.verdict = Verdict::Untold(tr!("the checks failed"));
                }
            }
        }
        if self.wants_page && self.unjudged.is_none() && self.job.is_none() {
            self.open_page();
        }
    }

    fn open_page(&mut self) {
        self.wants_page = false;
        let width = self.screen.size().map_or(80, |(width, _)| usize::from(width));
        let Look { lang, ascii, .. } = self.look;
        let style = Style { lang, colour: false, ascii, width: Some(width), verbose: false };
        let mut text = String::new();
        let causes = |(_, finding): &(usize, &Finding)| finding.caused_by.is_none();
        for (index, _) in self.findings.iter().enumerate().filter(causes) {
            text.push_str(&render_cause(&self.findings, index, &style));
        }
        if text.is_empty() {
            self.state.message = Some(match &self.verdict {
                Verdict::Untold(why) => why.clone(),
                _ => tr!("the checks find nothing wrong at this moment: n goes to the next one at which they do"),
            });
            return;
        }
        let command = match &self.past {
            Some(past) if self.is_past => {
                let (from, to) = past.around(AROUND);
                let whole = shown(to.saturating_add(Duration::from_secs(1)), &past.zone);
                let target = match past.target.is_this_machine() {
                    true => String::new(),
                    false => format!(" {}", past.target.name),
                };
                format!("sickbay check{target} --from '{}' --to '{whole}'", shown(from, &past.zone))
            }
            _ => "sickbay check".to_owned(),
        };
        text.push_str(&tr!("the same in a report: {command}", command).render(lang));
        self.state.page = Some(Page::Lines(text.lines().map(str::to_owned).collect(), 0));
    }

    fn go_hunting(&mut self) {
        let Some(hunt) = self.hunt else { return };
        let Some(of) = self.of() else { return };
        if !self.is_past {
            self.job = Job::begin(move || of.piece(u64::MAX)).map(|job| (job, Instant::now()));
            return;
        }
        let Some(past) = &self.past else { return };
        let (first, last) = (piece_of(past.whole.0), piece_of(past.whole.1));
        let mut piece = hunt.piece;
        loop {
            if piece < first || piece > last {
                self.hunt = None;
                self.state.message = Some(match hunt.is_next {
                    true => tr!("the checks find nothing from here to the end"),
                    false => tr!("the checks find nothing from here to the beginning"),
                });
                return;
            }
            let Some(found) = self.pieces.get(&piece) else { break };
            let found = found.clone();
            self.choose(&found, false);
            if self.hunt.is_none() {
                return;
            }
            piece = if hunt.is_next { piece.saturating_add(1) } else { piece.saturating_sub(1) };
            if !hunt.is_next && piece == 0 {
                piece = first.saturating_sub(1);
            }
            self.hunt = Some(Hunt { piece, ..hunt });
        }
        self.job = Job::begin(move || of.piece(piece)).map(|job| (job, Instant::now()));
    }

    /// Goes to the nearest of these, if one is where it is searched.
    fn choose(&mut self, found: &[Anomaly], is_all: bool) {
        let Some(hunt) = self.hunt else { return };
        let next = match hunt.is_next {
            true => found.iter().find(|one| one.from > hunt.from.saturating_add(Duration::from_secs(2))),
            // The one in which it stands begins before it.
            false => found.iter().rfind(|one| one.from.saturating_add(Duration::from_secs(5)) < hunt.from),
        };
        let Some(next) = next.cloned() else {
            if is_all && hunt.is_next {
                self.hunt = None;
                self.state.message = Some(tr!("the checks find nothing from here to the end"));
            } else if is_all {
                // What was before this began may be recorded.
                let begin = self.kept.samples().first().map_or(Duration::ZERO, |first| first.moment.wall);
                match self.open_past().and_then(|()| self.go(begin.saturating_sub(Duration::from_secs(1)))) {
                    Ok(()) => {
                        let from = self.moment();
                        self.hunt = Some(Hunt { is_next: false, from, piece: piece_of(from) });
                    }
                    Err(_) => {
                        self.hunt = None;
                        self.state.message = Some(tr!("the checks find nothing from here to the beginning"));
                    }
                }
            }
            return;
        };
        self.hunt = None;
        // A little behind its beginning: the first sample of it is partly of what was before.
        let at = next.from.saturating_add(Duration::from_secs(3)).min(next.to);
        let zone = if self.is_past { self.past.as_ref().map(|past| past.zone.clone()) } else { None };
        let zone = zone.unwrap_or_else(|| self.zone.clone());
        match self.go(at) {
            Ok(()) => {
                let seconds = next.to.saturating_sub(next.from).as_secs();
                let (from, to) = (shown(next.from, &zone), shown(next.to, &zone));
                let to = to.rsplit(' ').next().unwrap_or(&to).to_owned();
                let check = next.check;
                self.state.message =
                    Some(tr!("{from} to {to}, {seconds} s ({check}); Enter: finding", from, to, seconds, check));
            }
            Err(why) => self.state.message = Some(why),
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
                Some(tr!("searching, at {at}; Esc leaves off", at))
            }
            None if self.wants_page => Some(tr!("the checks are looking ...")),
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

fn piece_of(at: Duration) -> u64 {
    at.as_secs() / PIECE.as_secs()
}
