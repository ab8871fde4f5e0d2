//! `sickbay explain jitter`.

use std::time::Duration;

use sickbay_formats::procfs::stat;

use super::super::{Context, Failure, Format, duration};
use super::{host_without_disks, within_time};
use crate::facts::Facts;
use crate::facts::memory::slab_owners::seekers;
use crate::facts::memory::slab_walk::{KnownReaders, SlabReaders, SlabWalk};
use crate::report::jitter::{self, Told};
use crate::tr;

/// So long is looked, where nobody says otherwise, and no longer than that.
const USUAL: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(3600);

/// A gap that is shorter says nothing: others ran.
const LEAST: Duration = Duration::from_millis(10);

pub(super) fn explain(context: &Context, time: Option<&str>) -> Result<u8, Failure> {
    let time = time.map(duration).transpose()?.unwrap_or(USUAL);
    if !(Duration::from_millis(500)..=LONGEST).contains(&time) {
        return Err(Failure(tr!("--for is a time from 0.5s to 1h")));
    }
    let facts = host_without_disks()?;
    let told = within_time(time + Facts::DEADLINE, move || {
        let steal = |facts: &Facts| stat::parse(&facts.root().read("/proc/stat").unwrap_or_default()).cpus;
        let before = steal(&facts);
        let (gaps, readers) = std::thread::scope(|scope| {
            let watch = scope.spawn(|| sickbay_target::tick_gaps(time, LEAST));
            let readers = SlabReaders::watch(&facts, time);
            (watch.join(), readers)
        });
        let gaps = match gaps {
            Ok(Ok(gaps)) => gaps,
            Ok(Err(error)) => return Err(Failure(tr!("cannot start a thread: {error}", error = error.to_string()))),
            Err(_) => Vec::new(),
        };
        let stolen = steal(&facts).into_iter().filter_map(|(cpu, now)| {
            let (_, then) = before.iter().find(|(known, _)| *known == cpu)?;
            // In ticks of 10 ms.
            Some((cpu, now.steal.saturating_sub(then.steal).saturating_mul(10)))
        });
        let stolen = stolen.collect();
        let walk = facts.get::<SlabWalk>();
        let known = facts.get::<KnownReaders>();
        let makers = seekers(&facts).into_iter().map(|seen| seen.text).collect();
        Ok(Told { time, least: LEAST, gaps, stolen, readers, walk, known, makers })
    })?;
    match context.format {
        Format::Json => context.print_json(&jitter::json(&told, &context.style))?,
        Format::Text => context.print(&jitter::render(&told, &context.style)),
    }
    Ok(0)
}
