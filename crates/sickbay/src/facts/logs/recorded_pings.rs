//! What was pinged while a machine was recorded.

use std::path::PathBuf;

use bstr::ByteSlice;
use sickbay_formats::ping::{Scanner, Series};
use sickbay_target::PING_LOGS;

use crate::facts::time::Recorded;
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::tr;

/// The series of the part that is asked for, each with its file.
#[derive(Debug)]
pub struct RecordedPings(pub Vec<(PathBuf, Series)>);

/// So much of a file is read: more than `record` ever writes.
const MOST: u64 = 256 << 20;

/// A packet was sent before it was answered, and samples are some time apart, in seconds.
const AROUND: f64 = 2.0;

impl Fact for RecordedPings {
    fn gather(facts: &Facts) -> Result<RecordedPings, Skip> {
        let recording = facts.target().recording()?;
        let files = recording.pings(MOST);
        if files.is_empty() {
            return Err(Skip::NotApplicable(tr!("nothing was pinged while it was recorded")));
        }
        let (from, to) = facts.get::<Recorded>()?.part;
        let range = from.as_secs_f64() - AROUND..=to.as_secs_f64() + AROUND;
        let mut scanner = Scanner::default();
        let names = PING_LOGS.iter().skip(PING_LOGS.len().saturating_sub(files.len()));
        for (index, file) in files.iter().enumerate() {
            scanner.source(index);
            for line in file.lines() {
                match stamp(line).is_some_and(|at| range.contains(&at)) {
                    true => scanner.block(line),
                    false => scanner.skip(),
                }
            }
        }
        scanner.end();
        let paths: Vec<PathBuf> = names.map(|name| recording.path.join(name)).collect();
        let path = |series: &Series| paths.get(series.source).cloned().unwrap_or_default();
        Ok(RecordedPings(scanner.series.into_iter().map(|series| (path(&series), series)).collect()))
    }
}

/// `[1796095393.131635] …`
fn stamp(line: &[u8]) -> Option<f64> {
    let end = line.find_byte(b']')?;
    line.get(1..end)?.to_str().ok()?.parse().ok()
}
