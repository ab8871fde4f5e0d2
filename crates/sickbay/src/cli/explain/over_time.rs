//! `sickbay explain cpu`, `irq` and `io`: the tables of a while of this machine, or of what was recorded of one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sickbay_target::{Access, Options, Recording, Target};

use super::super::{Context, Failure, Format, Past, announce, duration, in_the_past, this_machine};
use super::{DEADLINE, within_time};
use crate::facts::Facts;
use crate::facts::time::{Recorded, local_zone};
use crate::report::rates::{self, Told};
use crate::sample::Window;
use crate::tr;

/// So long is watched where nobody says how long.
const USUAL: Duration = Duration::from_millis(1200);

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Cpu,
    Irq,
    Io,
}

impl What {
    pub(super) fn of(word: &str) -> Option<What> {
        match word {
            "cpu" => Some(What::Cpu),
            "irq" => Some(What::Irq),
            "io" => Some(What::Io),
            _ => None,
        }
    }
}

/// Of this machine, or of what was recorded of one, or written down of its `/proc`.
pub(super) fn explain(
    context: &Context,
    what: What,
    targets: &[&str],
    time: Option<&str>,
    past: &Past,
) -> Result<u8, Failure> {
    let (facts, length) = watched(targets, time, USUAL, past)?;
    let told = within_time(DEADLINE.saturating_add(length), move || {
        let is_recorded = facts.target().recording().is_ok();
        let recorded = is_recorded.then(|| facts.get::<Recorded>()).transpose()?;
        let (zone, remarks) = match recorded {
            Some(recorded) => (recorded.zone.clone(), recorded.remarks.clone()),
            None => (local_zone(), Vec::new()),
        };
        Ok(Told { window: facts.get::<Window>()?, zone, remarks })
    })?;
    let style = &context.style;
    match (context.format, what) {
        (Format::Json, What::Cpu) => context.print_json(&rates::cpu::json(&told, style))?,
        (Format::Json, What::Irq) => context.print_json(&rates::irq::json(&told, style))?,
        (Format::Json, What::Io) => context.print_json(&rates::io::json(&told, style))?,
        (Format::Text, What::Cpu) => context.print(&rates::cpu::render(&told, style)),
        (Format::Text, What::Irq) => context.print(&rates::irq::render(&told, style)),
        (Format::Text, What::Io) => context.print(&rates::io::render(&told, style)),
    }
    Ok(0)
}

/// Facts of what is to be watched, or was recorded; and how long a running machine will be watched.
pub(super) fn watched(
    targets: &[&str],
    time: Option<&str>,
    usual: Duration,
    past: &Past,
) -> Result<(Facts, Duration), Failure> {
    let length = time.map(duration).transpose()?.unwrap_or(usual);
    let asked = past.asked()?;
    let target = in_the_past(open(targets)?, &asked)?;
    if target.recording().is_err() && target.is_this_machine() && length >= Duration::from_secs(2) {
        announce(&tr!("watching for {seconds} s", seconds = format!("{:.0}", length.as_secs_f64())));
    }
    Ok((Facts::new(Arc::new(target), None).with_window(Some(length)).with_asked(asked), length))
}

/// This machine, a recording, files of other recorders that belong together, or a directory with a `/proc` that was written down.
fn open(targets: &[&str]) -> Result<Target, Failure> {
    let [target] = targets else {
        if targets.is_empty() {
            return this_machine();
        }
        let paths: Vec<PathBuf> = targets.iter().map(PathBuf::from).collect();
        let together = Target::of_recordings(&paths)?;
        return together.ok_or_else(|| Failure(tr!("only what other programs recorded may be given as several files")));
    };
    let path = Path::new(target);
    if path.is_file() || Recording::of_directory(path)?.is_some() {
        let target = Target::open(Some(path), &Options::default())?;
        return match target.recording() {
            Ok(_) => Ok(target),
            Err(_) => Err(Failure(tr!("{path} is no recording", path))),
        };
    }
    Ok(Target::described(path, Access::ReadOnly, Vec::new(), &[])?.taken_for_running()?)
}
