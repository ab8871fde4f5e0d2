//! Calendar events of systemd.time(7), as far as timers use them: `hourly`, `Mon..Fri *-*-* 10:00`, `*:0/5`.

/// A moment by the clock on the wall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// The year.
    pub year: u16,
    /// 1 to 12.
    pub month: u16,
    /// 1 to 31.
    pub day: u16,
    /// 0 is Monday.
    pub weekday: u16,
    /// 0 to 23.
    pub hour: u16,
    /// 0 to 59.
    pub minute: u16,
    /// 0 to 59.
    pub second: u16,
}

/// One part of a field: from, to, in steps.
type Part = (u16, u16, u16);

/// When something happens. Empty fields are all values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    weekdays: Vec<Part>,
    years: Vec<Part>,
    months: Vec<Part>,
    days: Vec<Part>,
    hours: Vec<Part>,
    minutes: Vec<Part>,
    seconds: Vec<Part>,
    /// Of another time zone than the machine's.
    pub is_utc: bool,
}

const WEEKDAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

impl Event {
    /// Whether it is due in that second.
    pub fn fires(&self, clock: Clock) -> bool {
        let has = |parts: &[Part], value: u16| {
            parts.is_empty()
                || parts.iter().any(|(from, to, step)| {
                    (*from..=*to).contains(&value) && value.saturating_sub(*from).is_multiple_of((*step).max(1))
                })
        };
        has(&self.weekdays, clock.weekday)
            && has(&self.years, clock.year)
            && has(&self.months, clock.month)
            && has(&self.days, clock.day)
            && has(&self.hours, clock.hour)
            && has(&self.minutes, clock.minute)
            && has(&self.seconds, clock.second)
    }

    /// The seconds of a minute in which it may be due.
    pub fn seconds(&self) -> impl Iterator<Item = u16> + '_ {
        let at = |second: u16| {
            self.seconds.is_empty()
                || self.seconds.iter().any(|(from, to, step)| {
                    (*from..=*to).contains(&second) && second.saturating_sub(*from).is_multiple_of((*step).max(1))
                })
        };
        (0..60).filter(move |second| at(*second))
    }
}

/// Reads one; `None` for what is of another form, or counted from the end of the month.
pub fn parse(text: &str) -> Option<Event> {
    let normal = match text.trim().to_ascii_lowercase().as_str() {
        "minutely" => "*-*-* *:*:00",
        "hourly" => "*-*-* *:00:00",
        "daily" => "*-*-* 00:00:00",
        "weekly" => "mon *-*-* 00:00:00",
        "monthly" => "*-*-01 00:00:00",
        "quarterly" => "*-01,04,07,10-01 00:00:00",
        "semiannually" => "*-01,07-01 00:00:00",
        "yearly" | "annually" => "*-01-01 00:00:00",
        other => return event(other),
    };
    event(normal)
}

fn event(text: &str) -> Option<Event> {
    let mut event = Event::default();
    let (mut has_time, mut is_any) = (false, false);
    for word in text.split_ascii_whitespace() {
        if word.starts_with(|c: char| c.is_ascii_alphabetic()) {
            match word {
                "utc" => event.is_utc = true,
                _ => event.weekdays = weekdays(word)?,
            }
        } else if word.contains(':') {
            let mut parts = word.split(':');
            event.hours = field(parts.next()?, 23)?;
            event.minutes = field(parts.next()?, 59)?;
            event.seconds = parts.next().map_or(Some(vec![(0, 0, 1)]), |part| field(part, 59))?;
            if parts.next().is_some() {
                return None;
            }
            has_time = true;
        } else if word.contains('-') && !word.contains('~') {
            let mut parts = word.rsplit('-');
            event.days = field(parts.next()?, 31)?;
            event.months = field(parts.next()?, 12)?;
            event.years = parts.next().map_or(Some(Vec::new()), |part| field(part, u16::MAX))?;
            if parts.next().is_some() {
                return None;
            }
        } else {
            return None;
        }
        is_any = true;
    }
    if !has_time {
        (event.hours, event.minutes, event.seconds) = (vec![(0, 0, 1)], vec![(0, 0, 1)], vec![(0, 0, 1)]);
    }
    is_any.then_some(event)
}

fn weekdays(word: &str) -> Option<Vec<Part>> {
    let day = |name: &str| {
        let at = WEEKDAYS.iter().position(|known| name.get(..3) == Some(*known))?;
        u16::try_from(at).ok()
    };
    let part = |part: &str| match part.split_once("..") {
        Some((from, to)) => Some((day(from)?, day(to)?, 1)).filter(|(from, to, _)| from <= to),
        None => day(part).map(|day| (day, day, 1)),
    };
    word.split(',').map(part).collect()
}

fn field(text: &str, most: u16) -> Option<Vec<Part>> {
    if text == "*" {
        return Some(Vec::new());
    }
    // Fractions of a second make no difference here.
    let number = |text: &str| text.split('.').next()?.parse::<u16>().ok().filter(|number| *number <= most);
    let part = |part: &str| {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step.parse::<u16>().ok().filter(|step| *step > 0)?)),
            None => (part, None),
        };
        let (from, to) = match (range, range.split_once("..")) {
            ("*", _) => (0, most),
            (_, Some((from, to))) => (number(from)?, number(to)?),
            (_, None) => number(range).map(|from| (from, if step.is_some() { most } else { from }))?,
        };
        (from <= to).then_some((from, to, step.unwrap_or(1)))
    };
    text.split(',').map(part).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(weekday: u16, day: u16, hour: u16, minute: u16, second: u16) -> Clock {
        Clock { year: 2018, month: 6, day, weekday, hour, minute, second }
    }

    #[test]
    fn when_it_is_due() {
        let fires = |text: &str, clock| parse(text).unwrap().fires(clock);
        assert!(fires("hourly", at(1, 12, 10, 0, 0)) && !fires("hourly", at(1, 12, 10, 1, 0)));
        assert!(fires("*:0/5", at(1, 12, 10, 35, 0)) && !fires("*:0/5", at(1, 12, 10, 36, 0)));
        assert!(!fires("*:0/5", at(1, 12, 10, 35, 1)));
        assert!(fires("Mon..Fri 10:00", at(4, 12, 10, 0, 0)) && !fires("Mon..Fri 10:00", at(5, 12, 10, 0, 0)));
        assert!(fires("Sat,Sun *-06-12 *:*:0/20", at(5, 12, 7, 9, 40)));
        assert!(fires("2018-*-* 6,18:00", at(0, 1, 18, 0, 0)) && fires("daily", at(0, 1, 0, 0, 0)));
        assert!(fires("*-*-*", at(0, 1, 0, 0, 0)) && !fires("*-*-*", at(0, 1, 1, 0, 0)));
        assert!(parse("*-*-* 04:00 UTC").is_some_and(|event| event.is_utc));
        assert_eq!(parse("*:*:0/20").map(|event| event.seconds().collect::<Vec<_>>()), Some(vec![0, 20, 40]));
    }

    #[test]
    fn what_is_none() {
        for wrong in ["", "often", "*:99", "*:0/0", "1:2:3:4", "*-*~03", "Fri..Mon", "5", "1-2-3-4", "Europe/Berlin"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(any: String, text in "([A-Za-z.,]{0,9} )?[-*0-9,/.~]{0,9} [*0-9:,/.]{0,12}") {
            for text in [any, text] {
                let event = parse(&text);
                let _ = event.map(|event| (event.fires(at(0, 1, 0, 0, 0)), event.seconds().count()));
            }
        }
    }
}
