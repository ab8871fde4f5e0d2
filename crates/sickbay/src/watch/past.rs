//! What was recorded: a part of it around the moment that is looked at, and another when that is left.

use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use sickbay_target::Target;

use crate::facts::Facts;
use crate::facts::time::Recorded;
use crate::model::outcome::Skip;
use crate::model::text::Text;
use crate::sample::{Asked, Sample, When, Window};
use crate::tr;

/// So much before a moment is read, and as much behind it.
pub(super) const HALF: Duration = Duration::from_secs(15 * 60);

/// Shorter than any step.
const MOMENT: Duration = Duration::from_millis(1);

/// A recording that is gone through.
#[derive(Debug)]
pub(super) struct Past {
    /// The recording.
    pub(super) target: Arc<Target>,
    /// The part that was read.
    pub(super) facts: Arc<Facts>,
    window: Arc<Window>,
    /// From when to when there is something.
    pub(super) whole: (Duration, Duration),
    /// In which zone it was.
    pub(super) zone: TimeZone,
    /// The sample that is shown.
    pub(super) cursor: usize,
}

/// A part of a recording.
type Part = (Arc<Facts>, Arc<Recorded>, Arc<Window>);

/// Reads a part of a recording.
pub(super) fn part(target: &Arc<Target>, asked: Asked) -> Result<Part, Text> {
    let facts = Arc::new(Facts::new(Arc::clone(target), None).with_asked(asked));
    let why = |skip: Skip| match skip {
        Skip::Unknown(why) | Skip::NotApplicable(why) => why,
    };
    let recorded = facts.get::<Recorded>().map_err(why)?;
    let window = facts.get::<Window>().map_err(why)?;
    Ok((facts, recorded, window))
}

/// From then to then.
pub(super) fn between(from: Duration, to: Duration) -> Asked {
    Asked { at: None, from: Some(When::Absolute(from)), to: Some(When::Absolute(to)) }
}

impl Past {
    /// At that moment, or at the end.
    pub(super) fn open(target: Arc<Target>, at: Option<When>) -> Result<Past, Text> {
        // Its last minutes tell where it is, and when it ends.
        let asked = Asked { from: Some(When::BeforeEnd(HALF)), ..Asked::default() };
        let (facts, recorded, window) = part(&target, asked)?;
        let cursor = window.samples.len().saturating_sub(1);
        let (whole, zone) = (recorded.whole, recorded.zone.clone());
        let mut past = Past { target, facts, window, whole, zone, cursor };
        if let Some(at) = at {
            let at = past.resolve(at)?;
            past.load(at)?;
        }
        Ok(past)
    }

    /// Which moment that is.
    pub(super) fn resolve(&self, when: When) -> Result<Duration, Text> {
        when.resolve(&self.zone, self.whole.1).ok_or_else(|| tr!("there is no such moment"))
    }

    /// The samples around.
    pub(super) fn samples(&self) -> &[Sample] {
        &self.window.samples
    }

    /// The moment that is shown.
    pub(super) fn now(&self) -> Duration {
        self.samples().get(self.cursor).map_or(self.whole.1, |sample| sample.moment.wall)
    }

    /// The moments of the samples around that one that a closer look needs at least.
    pub(super) fn around(&self, span: Duration) -> (Duration, Duration) {
        let at = self.now();
        let wall = |index: usize| self.samples().get(index).map_or(at, |sample| sample.moment.wall);
        let from = wall(self.cursor.saturating_sub(2)).min(at.saturating_sub(span));
        let to = wall((self.cursor + 1).min(self.samples().len().saturating_sub(1))).max(at.saturating_add(span));
        (from, to)
    }

    /// Goes to that moment: to the last sample that is no later.
    pub(super) fn go(&mut self, at: Duration) -> Result<(), Text> {
        let is_here = self.samples().first().zip(self.samples().last()).is_some_and(|(first, last)| {
            // Rates need what was before.
            let begin =
                if first.moment.wall <= self.whole.0 { first.moment.wall } else { first.moment.wall + HALF / 5 };
            (begin..=last.moment.wall).contains(&at)
        });
        if is_here {
            self.cursor = self.index(at);
            return Ok(());
        }
        self.load(at)
    }

    fn index(&self, at: Duration) -> usize {
        self.samples().iter().rposition(|sample| sample.moment.wall <= at).unwrap_or(0)
    }

    fn load(&mut self, at: Duration) -> Result<(), Text> {
        let read = |half: Duration, to: Duration| part(&self.target, between(at.saturating_sub(half), to));
        let (mut half, most) = (HALF, self.whole.1.saturating_sub(self.whole.0).max(HALF));
        let found = loop {
            let found = read(half, at.saturating_add(half));
            // Some recorders look every ten minutes, and nobody recorded at night.
            if found.is_ok() || half >= most {
                break found?;
            }
            half = half.saturating_mul(8).min(most);
        };
        // A part begins at a boot, behind which the moment may be.
        let is_later = found.2.samples.first().is_some_and(|first| first.moment.wall > at.saturating_add(MOMENT));
        let found = match is_later {
            true => read(half, at).unwrap_or(found),
            false => found,
        };
        let (facts, recorded, window) = found;
        (self.facts, self.window) = (facts, window);
        self.whole = (recorded.whole.0, recorded.whole.1.max(self.whole.1));
        self.cursor = self.index(at);
        Ok(())
    }

    /// So many samples on, or back. Gives whether there are so many.
    pub(super) fn step(&mut self, by: i32) -> Result<bool, Text> {
        let to = self.cursor.checked_add_signed(isize::try_from(by).unwrap_or(0));
        // One before it is needed for rates.
        if let Some(to) = to.filter(|to| *to < self.samples().len() && (*to > 0 || by > 0)) {
            self.cursor = to;
            return Ok(true);
        }
        let before = self.now();
        let at = if by < 0 { before.saturating_sub(MOMENT) } else { before.saturating_add(MOMENT) };
        if at < self.whole.0 || at > self.whole.1 {
            // What was recorded meanwhile is known when it is read.
            let end = part(&self.target, between(before.saturating_add(MOMENT), Duration::MAX));
            match end {
                Ok((_, recorded, _)) if by > 0 => self.whole.1 = recorded.whole.1,
                _ => return Ok(false),
            }
        }
        self.load(at)?;
        if by > 0 {
            // The last that is no later is the one where it was.
            let next = self.samples().iter().position(|sample| sample.moment.wall > before);
            match next {
                Some(next) => self.cursor = next,
                None => return self.leap(before),
            }
        }
        Ok(self.now() != before)
    }

    /// Over a stretch in which nothing was recorded.
    fn leap(&mut self, before: Duration) -> Result<bool, Text> {
        let Ok((_, _, rest)) = part(&self.target, between(before.saturating_add(MOMENT), self.whole.1)) else {
            return Ok(false);
        };
        match rest.samples.first().map(|first| first.moment.wall) {
            Some(next) => self.load(next).map(|()| true),
            None => Ok(false),
        }
    }
}
