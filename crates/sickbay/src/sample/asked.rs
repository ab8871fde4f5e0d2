//! Which part of a recording the user means, as people write it.

use std::time::Duration;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// So much before a moment is looked at, and as much behind it.
pub const AROUND: Duration = Duration::from_secs(120);

/// A moment as it was written. Which one that is depends on the time zone of who recorded, and on when that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Since 1970.
    Absolute(Duration),
    /// So long before the end of the recording.
    BeforeEnd(Duration),
    /// A date and a time of the day there.
    Civil(DateTime),
    /// The last such time of the day that is in the recording.
    Clock(Time),
}

/// The part of a recording that is asked for; all of it, or its last day, where nothing is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Some minutes around this.
    pub at: Option<When>,
    /// From this on.
    pub from: Option<When>,
    /// Up to this.
    pub to: Option<When>,
}

impl When {
    /// `2018-06-12 10:36`, with seconds or a zone (`Z`, `+08:00`) if need be; `10:36`; seconds since 1970, `@` before them
    /// or not; `-10m`; `now`.
    pub fn parse(text: &str) -> Option<When> {
        let text = text.trim();
        if text == "now" {
            return Some(When::BeforeEnd(Duration::ZERO));
        }
        if let Some(back) = text.strip_prefix('-') {
            return length(back).map(When::BeforeEnd);
        }
        let epoch = text.strip_prefix('@').unwrap_or(text);
        if epoch.len() >= 9 && epoch.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            return Duration::try_from_secs_f64(epoch.parse().ok()?).ok().map(When::Absolute);
        }
        let text = text.replace('/', "-");
        if let Ok(time) = text.parse::<Timestamp>() {
            return Some(When::Absolute(since_1970(time)));
        }
        if let Ok(civil) = text.parse::<DateTime>() {
            return Some(When::Civil(civil));
        }
        if let Ok(date) = text.parse::<Date>() {
            return Some(When::Civil(date.to_datetime(Time::midnight())));
        }
        text.contains(':').then(|| text.parse::<Time>().ok().map(When::Clock)).flatten()
    }

    /// Since 1970, in that zone, of a recording that ended then. `None` outside of what a calendar has.
    pub fn resolve(self, zone: &TimeZone, end: Duration) -> Option<Duration> {
        match self {
            When::Absolute(time) => Some(time),
            When::BeforeEnd(back) => Some(end.saturating_sub(back)),
            When::Civil(civil) => zone.to_timestamp(civil).ok().map(since_1970),
            When::Clock(time) => {
                let last = zone.to_datetime(timestamp(end)?);
                let on = |date: Date| zone.to_timestamp(date.to_datetime(time)).ok().map(since_1970);
                let today = on(last.date())?;
                if today <= end { Some(today) } else { on(last.date().checked_sub(1.day()).ok()?) }
            }
        }
    }
}

impl Asked {
    /// Whether anything was said.
    pub fn is_something(&self) -> bool {
        *self != Asked::default()
    }

    /// The first moment and the last, since 1970. What is not said reaches to the end of time.
    pub fn range(&self, zone: &TimeZone, end: Duration) -> Option<(Duration, Duration)> {
        if let Some(at) = self.at {
            let at = at.resolve(zone, end)?;
            return Some((at.saturating_sub(AROUND), at.saturating_add(AROUND)));
        }
        let resolve = |when: Option<When>| when.map(|when| when.resolve(zone, end));
        let from = resolve(self.from).unwrap_or(Some(Duration::ZERO))?;
        let to = resolve(self.to).unwrap_or(Some(Duration::MAX))?;
        Some((from, to))
    }
}

/// `10m`, `1h`, `90`: seconds without a letter.
fn length(text: &str) -> Option<Duration> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor = match unit {
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        "w" => 604_800.0,
        _ => return None,
    };
    let seconds = number.parse::<f64>().ok()? * factor;
    (seconds <= 1e9).then(|| Duration::try_from_secs_f64(seconds).ok()).flatten()
}

/// The same for what `--keep` says.
pub fn time(text: &str) -> Option<Duration> {
    length(text.trim())
}

fn since_1970(time: Timestamp) -> Duration {
    Duration::try_from(time.as_duration()).unwrap_or_default()
}

/// A moment as a time stamp; `None` beyond the calendar.
pub fn timestamp(time: Duration) -> Option<Timestamp> {
    Timestamp::new(time.as_secs().try_into().ok()?, time.subsec_nanos().try_into().ok()?).ok()
}

/// A moment as people read it: `2018-06-12 10:36:02`, in that zone. Of what was written down with the time of day alone there is no
/// date: `10:36:02`.
pub fn shown(time: Duration, zone: &TimeZone) -> String {
    let has_date = time.as_secs() >= 86_400 * 366;
    match timestamp(time) {
        None => format!("@{}", time.as_secs()),
        Some(moment) if has_date => zone.to_datetime(moment).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Some(moment) => TimeZone::UTC.to_datetime(moment).strftime("%H:%M:%S").to_string(),
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::offset;

    use super::*;

    fn seconds(text: &str) -> Option<u64> {
        let zone = TimeZone::fixed(offset(8));
        // 2018-06-12 11:00:00 there.
        let end = Duration::from_secs(1_528_772_400);
        Some(When::parse(text)?.resolve(&zone, end)?.as_secs())
    }

    #[test]
    fn moments_as_people_read_them() {
        let shown = |seconds| shown(Duration::from_secs(seconds), &TimeZone::fixed(offset(8)));
        assert_eq!(shown(1_528_770_963), "2018-06-12 10:36:03");
        assert_eq!(shown(38_163), "10:36:03");
    }

    #[test]
    fn moments_as_people_write_them() {
        let half_past = Some(1_528_770_960);
        for same in [
            "2018-06-12 10:36",
            "2018-06-12 10:36:00",
            "2018-06-12T10:36",
            "2018/06/12 10:36",
            "2018-06-12T02:36:00Z",
            "2018-06-12 10:36:00+08:00",
            "10:36",
            "10:36:00",
            "@1528770960",
            "1528770960",
            "-24m",
            "-1440s",
        ] {
            assert_eq!(seconds(same), half_past, "{same}");
        }
        assert_eq!(seconds("now"), Some(1_528_772_400));
        // Yesterday: today it was not yet.
        assert_eq!(seconds("23:00"), Some(1_528_729_200));
        assert_eq!(seconds("2018-06-12"), Some(1_528_732_800));
        for wrong in ["", "x", "10", "-", "-1y", "--", "2018-13-01", "25:00", "-1e99h", "99999999999999999999"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn some_minutes_around_a_moment() {
        let zone = TimeZone::UTC;
        let at = |seconds| Some(When::Absolute(Duration::from_secs(seconds)));
        let asked = Asked { at: at(1000), ..Asked::default() };
        assert_eq!(asked.range(&zone, Duration::ZERO), Some((Duration::from_secs(880), Duration::from_secs(1120))));
        let from = Asked { from: at(7), ..Asked::default() };
        assert_eq!(from.range(&zone, Duration::ZERO), Some((Duration::from_secs(7), Duration::MAX)));
        assert!(from.is_something() && !Asked::default().is_something());
        assert_eq!(shown(Duration::from_secs(1_528_770_960), &zone), "2018-06-12 02:36:00");
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text: String, end: u64) {
            if let Some(when) = When::parse(&text) {
                let _ = when.resolve(&TimeZone::UTC, Duration::from_secs(end));
            }
            shown(Duration::from_secs(end), &TimeZone::UTC);
        }
    }
}
