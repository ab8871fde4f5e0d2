//! Going from moment to moment: in what was seen since this began, and in what was recorded.

use std::time::Duration;

use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;

use super::asking::piece_of;
use super::keys::Wish;
use super::past::Past;
use super::session::{Hunt, Session};
use crate::model::text::Text;
use crate::sample::When;
use crate::sample::asked::shown;
use crate::tr;

impl Session<'_> {
    /// Does what a key asked for. Gives whether it shall end.
    pub(super) fn fulfil(&mut self, wish: Wish) -> bool {
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
    pub(super) fn moment(&self) -> Duration {
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
    pub(super) fn go(&mut self, at: Duration) -> Result<(), Text> {
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

    /// What was recorded of this machine before this began.
    pub(super) fn open_past(&mut self) -> Result<(), Text> {
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
            return Err(if by < 0 { tr!("this is the first sample") } else { tr!("this is the last sample") });
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
            self.state.message = Some(tr!("a recording does not run by itself: left and right step through it"));
        } else if self.is_past || self.back.is_some() {
            (self.is_past, self.back) = (false, None);
            self.moved();
        } else {
            self.back = self.kept.samples().last().map(|last| last.moment.steady);
        }
    }
}
