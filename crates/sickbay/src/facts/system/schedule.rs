//! What starts by itself at set times: crontabs of the system and of users, timers of systemd.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bstr::ByteSlice;
use jiff::tz::TimeZone;
use sickbay_formats::calendar::{self, Event};
use sickbay_formats::crontab::{self, Times};
use sickbay_formats::rlimits::span;
use sickbay_formats::span::Span;

use crate::facts::system::units::{UNIT_DIRS, unit};
use crate::facts::{Fact, Facts};
use crate::model::outcome::Skip;
use crate::model::source::SourceFile;

/// When a job starts.
#[derive(Clone, Debug, PartialEq)]
pub enum When {
    /// As a crontab says it.
    Cron(Times),
    /// As a timer says it.
    Calendar(Event),
    /// So long after it was started last.
    Every(Duration),
}

/// Something that is started at set times.
#[derive(Clone, Debug)]
pub struct Job {
    /// The file that says so.
    pub file: Arc<SourceFile>,
    /// Where in it.
    pub span: Span,
    /// When.
    pub when: When,
    /// By how much later it may start, as its timer says.
    pub late: Duration,
    /// What is started.
    pub command: String,
    /// Scripts that it starts one after the other: those of `/etc/cron.hourly`.
    pub scripts: Vec<String>,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Schedule(pub Vec<Job>);

/// Where tables of users are.
const OF_USERS: [&str; 4] = ["/var/spool/cron/crontabs", "/var/spool/cron/tabs", "/var/spool/cron", "/etc/crontabs"];

/// So many jobs are kept.
const MOST: usize = 2000;

impl Fact for Schedule {
    fn gather(facts: &Facts) -> Result<Schedule, Skip> {
        let mut jobs = Vec::new();
        let root = facts.root();
        let in_dir = |dir: &str| -> Vec<PathBuf> {
            let entries = root.read_dir(dir).unwrap_or_default();
            let is_file = |path: &PathBuf| root.stat(path).is_ok_and(|metadata| metadata.is_file());
            entries.into_iter().map(|entry| Path::new(dir).join(entry.name)).filter(is_file).collect()
        };
        let mut tables = vec![(PathBuf::from("/etc/crontab"), true)];
        // cron passes over names with a dot: backups of editors and of packages.
        let is_name = |path: &PathBuf| path.file_name().is_some_and(|name| !name.as_encoded_bytes().contains(&b'.'));
        tables.extend(in_dir("/etc/cron.d").into_iter().filter(is_name).map(|path| (path, true)));
        tables.extend(OF_USERS.iter().flat_map(|dir| in_dir(dir)).map(|path| (path, false)));
        for (path, with_user) in tables {
            // What only root may read is not known.
            let Ok(Some(file)) = facts.file(&path) else { continue };
            for job in crontab::jobs(&file.bytes, with_user) {
                let Some(times) = job.times else { continue };
                let command = job.command.to_str_lossy().into_owned();
                let scripts = scripts(&command).map(&in_dir).unwrap_or_default();
                jobs.push(Job {
                    file: Arc::clone(&file),
                    span: job.span,
                    when: When::Cron(times),
                    late: Duration::ZERO,
                    scripts: scripts.iter().map(|path| path.display().to_string()).collect(),
                    command,
                });
            }
        }
        jobs.extend(timers(facts));
        jobs.truncate(MOST);
        Ok(Schedule(jobs))
    }
}

/// The directory whose scripts a command starts: of `run-parts /etc/cron.hourly`.
fn scripts(command: &str) -> Option<&str> {
    let mut words = command.split_ascii_whitespace();
    words.find(|word| word.ends_with("run-parts"))?;
    command.split_ascii_whitespace().rev().find(|word| word.starts_with("/etc/cron."))
}

fn timers(facts: &Facts) -> Vec<Job> {
    let mut jobs = Vec::new();
    let root = facts.root();
    let mut names: Vec<String> = UNIT_DIRS
        .iter()
        .flat_map(|dir| root.read_dir(dir).unwrap_or_default())
        .filter_map(|entry| entry.name.into_string().ok())
        .filter(|name| name.ends_with(".timer") && !name.contains('@'))
        .collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let Ok(timer) = unit(facts, &name) else { continue };
        let started = timer.last("Timer", "Unit").map(|(_, setting)| setting.value.to_str_lossy().into_owned());
        let started = started.unwrap_or_else(|| name.replace(".timer", ".service"));
        let command = || {
            let service = unit(facts, &started).ok()?;
            let (_, setting) = service.last("Service", "ExecStart")?;
            Some(setting.value.to_str_lossy().trim_start_matches(['-', '@', '+', '!', ':']).to_owned())
        };
        let length = |key: &str| {
            let (_, setting) = timer.last("Timer", key)?;
            span(setting.value.to_str().ok()?, 1_000_000).map(Duration::from_micros)
        };
        let late =
            length("AccuracySec").unwrap_or(Duration::from_secs(60)) + length("RandomizedDelaySec").unwrap_or_default();
        let mut settings = Vec::new();
        for (file, setting) in &timer.settings {
            if setting.section != "Timer" {
                continue;
            }
            let value = setting.value.to_str_lossy();
            let when = match setting.key.as_slice() {
                // An empty one takes back those before it.
                b"OnCalendar" if value.trim().is_empty() => {
                    settings.clear();
                    continue;
                }
                b"OnCalendar" => calendar::parse(&value).map(When::Calendar),
                b"OnUnitActiveSec" | b"OnUnitInactiveSec" => {
                    span(&value, 1_000_000).map(|micros| When::Every(Duration::from_micros(micros)))
                }
                _ => None,
            };
            settings.extend(when.map(|when| (Arc::clone(file), setting.span, when)));
        }
        if settings.is_empty() {
            continue;
        }
        let command = command().unwrap_or(started);
        jobs.extend(settings.into_iter().map(|(file, span, when)| Job {
            file,
            span,
            when,
            late,
            command: command.clone(),
            scripts: Vec::new(),
        }));
    }
    jobs
}

impl Job {
    /// Whether it explains that something began at each of these moments, seconds since 1970, that far apart, each known to
    /// `step` seconds: it starts then, and hardly ever else.
    pub fn explains(&self, begins: &[f64], period: f64, step: f64, zone: &TimeZone) -> bool {
        let (Some(first), Some(last)) = (begins.first(), begins.last()) else { return false };
        // It takes a moment until what is started is seen.
        let late = self.late.as_secs_f64() + step + 5.0;
        if let When::Every(every) = self.when {
            let every = every.as_secs_f64();
            // From the end of one to the next, or from start to start.
            return every > 0.0 && period >= every * 0.97 - step && period <= every * 1.1 + late.min(every);
        }
        let is_close = late < period * 0.8;
        if !is_close {
            return false;
        }
        let begun = |time: f64| begins.iter().any(|begin| (time - step - 1.0..=time + late).contains(begin));
        let (mut starts, mut hits, mut time) = (0_usize, 0_usize, (first / 60.0).floor() * 60.0 - 60.0);
        let mut minutes = 0;
        while time <= *last + 1.0 && minutes < 60 * 24 * 8 {
            for second in self.starts_in(time, zone) {
                let at = time + second;
                if at >= first - late && at <= last + step {
                    starts += 1;
                    hits += usize::from(begun(at));
                }
            }
            time += 60.0;
            minutes += 1;
        }
        let all = begins.len();
        starts > 0 && hits * 5 >= all * 4 && hits * 5 >= starts * 4 && starts <= all * 5 / 4 + 1
    }

    /// The seconds of the minute that begins then in which it starts.
    fn starts_in(&self, minute: f64, zone: &TimeZone) -> Vec<f64> {
        let Ok(time) = jiff::Timestamp::from_second(minute as i64) else { return Vec::new() };
        let zone = match &self.when {
            When::Calendar(event) if event.is_utc => &TimeZone::UTC,
            _ => zone,
        };
        let local = zone.to_datetime(time);
        let (hour, day, month) = (local.hour(), local.day(), local.month());
        let unsigned = |value: i8| u8::try_from(value).unwrap_or(0);
        match &self.when {
            When::Cron(times) => {
                let clock = crontab::Clock {
                    minute: unsigned(local.minute()),
                    hour: unsigned(hour),
                    day: unsigned(day),
                    month: unsigned(month),
                    weekday: unsigned(local.weekday().to_sunday_zero_offset()),
                };
                if times.fires(clock) { vec![0.0] } else { Vec::new() }
            }
            When::Calendar(event) => {
                let at = |second: u16| calendar::Clock {
                    year: u16::try_from(local.year()).unwrap_or(0),
                    month: unsigned(month).into(),
                    day: unsigned(day).into(),
                    weekday: unsigned(local.weekday().to_monday_zero_offset()).into(),
                    hour: unsigned(hour).into(),
                    minute: unsigned(local.minute()).into(),
                    second,
                };
                event.seconds().filter(|second| event.fires(at(*second))).map(f64::from).collect()
            }
            When::Every(_) => Vec::new(),
        }
    }

    /// Whether the name of a program is in what it starts.
    pub fn names(&self, program: &str) -> bool {
        let is_word = |text: &str| {
            text.split(|c: char| !(c.is_alphanumeric() || "-_.".contains(c)))
                .any(|word| word == program || (program.len() == 15 && word.starts_with(program)))
        };
        is_word(&self.command) || self.scripts.iter().any(|script| is_word(script))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(when: When, late: u64) -> Job {
        let file = Arc::new(SourceFile { path: "/etc/crontab".into(), bytes: Vec::new() });
        Job {
            file,
            span: Span::default(),
            when,
            late: Duration::from_secs(late),
            command: "/usr/local/bin/collect --all".into(),
            scripts: Vec::new(),
        }
    }

    fn cron(times: &str) -> Job {
        let text = format!("{times} true\n");
        let times = crontab::jobs(text.as_bytes(), false).next().and_then(|job| job.times).expect("times");
        job(When::Cron(times), 0)
    }

    /// 2018-06-12 10:00:00 UTC.
    const TEN: f64 = 1_528_797_600.0;

    #[test]
    fn a_job_and_what_begins_with_it() {
        let each = |every: f64, count: u32, off: f64| -> Vec<f64> {
            (0..count).map(|n| TEN + off + every * f64::from(n)).collect()
        };
        let utc = TimeZone::UTC;
        assert!(cron("*/5 * * * *").explains(&each(300.0, 6, 2.0), 300.0, 1.0, &utc));
        assert!(cron("* * * * *").explains(&each(60.0, 5, 1.5), 60.0, 1.0, &utc));
        // Of those that come more often, or seldom, or at another minute, it is none.
        for other in ["* * * * *", "*/10 * * * *", "2-59/5 * * * *", "0 * * * *"] {
            assert!(!cron(other).explains(&each(300.0, 6, 2.0), 300.0, 1.0, &utc), "{other}");
        }
        // By the clock of the machine: hours do not fit, minutes do.
        let zone = TimeZone::fixed(jiff::tz::offset(8));
        assert!(cron("0,20,40 18-19 * * *").explains(&each(1200.0, 4, 3.0), 1200.0, 1.0, &zone));
        assert!(!cron("0,20,40 10-11 * * *").explains(&each(1200.0, 4, 3.0), 1200.0, 1.0, &zone));
        let timer = |text: &str| job(When::Calendar(calendar::parse(text).expect("an event")), 1);
        assert!(timer("*:*:0/20").explains(&each(20.0, 9, 0.5), 20.0, 1.0, &utc));
        assert!(!timer("minutely").explains(&each(20.0, 9, 0.5), 20.0, 1.0, &utc));
        assert!(job(When::Every(Duration::from_secs(300)), 60).explains(&each(312.0, 4, 99.0), 312.0, 1.0, &utc));
        assert!(!job(When::Every(Duration::from_secs(300)), 60).explains(&each(600.0, 4, 99.0), 600.0, 1.0, &utc));
        assert!(!cron("* * * * *").explains(&[], 60.0, 1.0, &utc));
    }

    #[test]
    fn what_it_starts() {
        assert!(cron("* * * * *").names("collect") && !cron("* * * * *").names("coll"));
        assert_eq!(scripts("cd / && run-parts --report /etc/cron.hourly"), Some("/etc/cron.hourly"));
        assert_eq!(scripts("/usr/bin/true /etc/cron.hourly"), None);
    }
}
