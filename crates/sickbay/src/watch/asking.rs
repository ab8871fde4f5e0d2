//! What the checks are asked, beside all else: of the moment that is shown, and where there is one that they have to say something of.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::draw::Look;
use super::keys::Page;
use super::session::{AROUND, Hunt, REST, Session};
use super::verdict::{Verdict, wrapped};
use super::work::{Anomaly, Answer, Job, Of, PIECE, is_worth_while};
use crate::model::finding::Finding;
use crate::report::text::{Style, render_cause};
use crate::sample::asked::shown;
use crate::sample::{Sample, Window};
use crate::tr;

impl Session<'_> {
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

    /// Begins what is to be done, if nothing is.
    pub(super) fn begin_work(&mut self) {
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
            let near: Vec<Sample> = samples
                .iter()
                .rev()
                .take_while(|sample| sample.moment.wall >= span.0)
                .filter(is_near)
                .cloned()
                .collect();
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

    /// Takes what was done.
    pub(super) fn take_answer(&mut self) {
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
                let target = match past.target.is_this_machine() {
                    true => String::new(),
                    false => format!(" {}", past.target.name),
                };
                format!("sickbay check{target} --at '{}'", shown(past.now(), &past.zone))
            }
            _ => "sickbay check".to_owned(),
        };
        for line in wrapped(&tr!("more of it: {command}", command).render(lang), width, usize::MAX) {
            text.push_str(line.trim_end());
            text.push('\n');
        }
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
                    true => tr!("the checks find nothing more up to the end"),
                    false => tr!("the checks find nothing more back to the beginning"),
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
            false => found.iter().rfind(|one| one.from.saturating_add(Duration::from_secs(8)) < hunt.from),
        };
        let Some(next) = next.cloned() else {
            if is_all && hunt.is_next {
                self.hunt = None;
                self.state.message = Some(tr!("the checks find nothing more up to the end"));
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
                        self.state.message = Some(tr!("the checks find nothing more back to the beginning"));
                    }
                }
            }
            return;
        };
        self.hunt = None;
        // A little behind its beginning: what is told of some seconds is of it, then.
        let at = next.from.saturating_add(Duration::from_secs(6)).min(next.to);
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
}

/// In which piece of a recording that is.
pub(super) fn piece_of(at: Duration) -> u64 {
    at.as_secs() / PIECE.as_secs()
}
