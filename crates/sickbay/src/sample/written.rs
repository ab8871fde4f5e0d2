//! Samples of what was written down of a system: its `/proc` as files. Directories `/proc@10:36:02` beside it are moments,
//! each a `/proc` of its own by the clock in its name; without them `/proc` is the only one. `/sys@10:36:02` may be beside it.
//! What `ethtool -S IF` printed is in `/proc` as `ethtool/IF`, since no kernel has a file for it.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use sickbay_formats::ethtool;
use sickbay_target::{Moment, ReadError, Root, Tasks};

use super::{CardCounter, Sample, Window, details, live};

/// So many moments are read.
const MOMENTS: usize = 4096;

/// All moments that are there.
///
/// # Errors
/// When there is no `/proc`.
pub fn read(root: &Root) -> Result<Window, ReadError> {
    let mut moments: Vec<String> =
        root.read_dir("/")?.iter().filter_map(|entry| entry.name.to_str().map(str::to_owned)).collect();
    moments.retain(|name| name.strip_prefix("proc@").and_then(clock).is_some());
    moments.truncate(MOMENTS);
    if moments.is_empty() {
        moments.push("proc".to_owned());
    }
    let mut samples = Vec::new();
    for name in &moments {
        samples.push(sample(root, name)?);
    }
    super::remember_off(&mut samples);
    let place = Path::new("/").join(moments.last().map_or("proc", String::as_str));
    Ok(Window { samples, place })
}

fn sample(root: &Root, name: &str) -> Result<Sample, ReadError> {
    let mut tasks = Tasks::open(root, Path::new("/").join(name))?;
    let named = name.strip_prefix("proc@").and_then(clock);
    let uptime = tasks.read("uptime").ok().and_then(|text| {
        let text = String::from_utf8_lossy(&text).into_owned();
        Duration::try_from_secs_f64(text.split_whitespace().next()?.parse().ok()?).ok()
    });
    let mut sample =
        live::sample(&mut tasks, Moment { steady: Duration::ZERO, wall: Duration::ZERO }, true, &mut HashMap::new());
    // `/sys` may have been written down as often as `/proc`, or once.
    let sys = name.replacen("proc", "/sys", 1);
    let sys = if root.metadata(&sys).is_ok() { sys } else { "/sys".to_owned() };
    sample.throttled = details::throttled(root, Path::new(&sys));
    sample.cards = cards(root, name);
    let started = sample.stat.as_ref().and_then(|stat| stat.started).map(Duration::from_secs);
    let told = started.zip(uptime).map(|(started, uptime)| started.saturating_add(uptime));
    sample.moment = Moment { steady: uptime.or(named).unwrap_or_default(), wall: named.or(told).unwrap_or_default() };
    Ok(sample)
}

/// So many cards are read.
const CARDS: usize = 64;

fn cards(root: &Root, moment: &str) -> Option<Vec<CardCounter>> {
    let dir = Path::new("/").join(moment).join("ethtool");
    let mut all = Vec::new();
    for entry in root.read_dir(&dir).ok()?.iter().take(CARDS) {
        let Some(link) = entry.name.to_str() else { continue };
        let Ok(text) = root.read(dir.join(link)) else { continue };
        all.extend(ethtool::counters(&text).into_iter().map(|one| live::named(link, one)));
    }
    (!all.is_empty()).then_some(all)
}

/// `10:36:02` or `10:36:02.5`: the time of the day.
fn clock(text: &str) -> Option<Duration> {
    let mut parts = text.splitn(3, ':');
    let mut whole = || parts.next()?.parse::<u32>().ok().filter(|number| *number < 60);
    let minutes = whole()? * 60 + whole()?;
    let seconds: f64 = parts.next()?.parse().ok().filter(|seconds| (0.0..61.0).contains(seconds))?;
    Duration::try_from_secs_f64(f64::from(minutes * 60) + seconds).ok()
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // what is read is made first
mod tests {
    use super::*;

    #[test]
    fn times_of_the_day() {
        assert_eq!(clock("10:36:02.5"), Some(Duration::from_millis(38_162_500)));
        for wrong in ["", "10:36", "10:99:00", "a:b:c", "10:36:-1", "10:36:NaN", "1:2:3:4"] {
            assert_eq!(clock(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn moments_beside_each_other() {
        let dir = tempfile::tempdir().expect("a directory");
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().expect("above")).expect("made");
            std::fs::write(path, text).expect("written");
        };
        write("proc/loadavg", "1.00 1.00 1.00 1/2 3\n");
        let root = Root::at(dir.path()).expect("the root");
        let window = read(&root).expect("a window");
        assert_eq!((window.samples.len(), window.span(), window.place.as_path()), (1, None, Path::new("/proc")));
        write("proc@10:36:04/stat", "processes 150\n");
        write("proc@10:36:02/stat", "processes 100\n");
        write("proc@10:36:02/7/stat", "7 (a) D 1 1 1 0 -1 0 0 0 0 0 1 2 0 0 20 0 1 0 77 0\n");
        write("proc@10:36:02/7/wchan", "rpc_wait_bit_killable");
        write("proc@x/stat", "processes 1\n");
        let window = read(&root).expect("a window");
        assert_eq!((window.made(), window.place.as_path()), (Some(25.0), Path::new("/proc@10:36:04")));
        let waits = window.looks().next().and_then(|look| look.list.first()?.waits_in.clone());
        assert_eq!(waits.as_deref(), Some("rpc_wait_bit_killable"));
        // By the clock of the machine it went back.
        write("proc@10:36:02/uptime", "500.00 900.00\n");
        write("proc@10:36:04/uptime", "20.00 30.00\n");
        assert_eq!(read(&root).expect("a window").made(), None);
    }
}
