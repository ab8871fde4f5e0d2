//! crontab(5): what cron starts, and when.

use bstr::{BStr, ByteSlice};

use crate::lines;
use crate::span::Span;

/// The times of a job: which minutes, hours, days, months and days of the week, a bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Where both the day of the month and that of the week are given, one of them is enough.
    either_day: bool,
}

/// A moment by the clock on the wall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 1 to 31.
    pub day: u8,
    /// 1 to 12.
    pub month: u8,
    /// 0 is Sunday.
    pub weekday: u8,
}

/// A line that starts something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job<'a> {
    /// The line.
    pub span: Span,
    /// When; `None` for `@reboot`.
    pub times: Option<Times>,
    /// Who, in a table that tells it.
    pub user: Option<&'a BStr>,
    /// The command.
    pub command: &'a BStr,
}

impl Times {
    /// Whether it is started in that minute.
    pub fn fires(&self, clock: Clock) -> bool {
        let has = |set: u64, value: u8| set.checked_shr(u32::from(value)).unwrap_or(0) & 1 == 1;
        let (day, weekday) = (has(self.days, clock.day), has(self.weekdays, clock.weekday));
        let is_day = if self.either_day { day || weekday } else { day && weekday };
        has(self.minutes, clock.minute) && has(self.hours, clock.hour) && has(self.months, clock.month) && is_day
    }
}

/// The jobs of a table in order. `with_user` where each line has a user: `/etc/crontab`, `/etc/cron.d`.
pub fn jobs(text: &[u8], with_user: bool) -> impl Iterator<Item = Job<'_>> {
    lines::lines(text).filter_map(move |line| {
        let trimmed = line.text.trim_ascii();
        if trimmed.starts_with(b"#") || is_assignment(trimmed) {
            return None;
        }
        let (times, rest) = if trimmed.starts_with(b"@") {
            let (word, rest) = word(trimmed)?;
            (nickname(word)?, rest)
        } else {
            let (minutes, rest) = word(trimmed)?;
            let (hours, rest) = word(rest)?;
            let (days, rest) = word(rest)?;
            let (months, rest) = word(rest)?;
            let (weekdays, rest) = word(rest)?;
            (Some(times([minutes, hours, days, months, weekdays])?), rest)
        };
        let (user, command) = if with_user { word(rest).map(|(user, rest)| (Some(user), rest))? } else { (None, rest) };
        // What follows an unescaped per cent sign is what the command reads.
        let end = command.find_byte(b'%').unwrap_or(command.len());
        let command = command.get(..end)?.trim_ascii();
        (!command.is_empty()).then(|| Job {
            span: line.whole(),
            times,
            user: user.map(ByteSlice::as_bstr),
            command: command.as_bstr(),
        })
    })
}

fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = text.trim_ascii_start();
    let end = text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len());
    let (word, rest) = text.split_at_checked(end)?;
    (!word.is_empty()).then_some((word, rest))
}

/// `PATH=/bin`, `MAILTO = root`.
fn is_assignment(line: &[u8]) -> bool {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let name = line.iter().take_while(|byte| is_name(byte)).count();
    name > 0 && line.get(name..).is_some_and(|rest| rest.trim_ascii_start().starts_with(b"="))
}

/// The inner `None` is `@reboot`.
fn nickname(word: &[u8]) -> Option<Option<Times>> {
    let fields = match word.to_ascii_lowercase().as_slice() {
        b"@reboot" => return Some(None),
        b"@hourly" => ["0", "*", "*", "*", "*"],
        b"@daily" | b"@midnight" => ["0", "0", "*", "*", "*"],
        b"@weekly" => ["0", "0", "*", "*", "0"],
        b"@monthly" => ["0", "0", "1", "*", "*"],
        b"@yearly" | b"@annually" => ["0", "0", "1", "1", "*"],
        _ => return None,
    };
    times(fields.map(str::as_bytes)).map(Some)
}

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

fn times(fields: [&[u8]; 5]) -> Option<Times> {
    let [minutes, hours, days, months, weekdays] = fields;
    let of_week = set(weekdays, 0, 7, &WEEKDAYS, 0)?;
    Some(Times {
        minutes: set(minutes, 0, 59, &[], 0)?,
        hours: set(hours, 0, 23, &[], 0)?,
        days: set(days, 1, 31, &[], 0)?,
        months: set(months, 1, 12, &MONTHS, 1)?,
        // Sunday is 0 and 7.
        weekdays: of_week | (of_week >> 7),
        either_day: !days.starts_with(b"*") && !weekdays.starts_with(b"*"),
    })
}

/// `*`, `*/5`, `1,3`, `10-20/2`, `mon-fri`; `~` draws a number, which nobody knows.
fn set(text: &[u8], least: u8, most: u8, names: &[&str], first: u8) -> Option<u64> {
    let number = |text: &[u8]| -> Option<u8> {
        let text = text.to_str().ok()?;
        let named = names.iter().position(|name| text.eq_ignore_ascii_case(name));
        let named = named.and_then(|at| u8::try_from(at).ok()).and_then(|at| at.checked_add(first));
        named.or_else(|| text.parse().ok()).filter(|number| (least..=most).contains(number))
    };
    let mut bits = 0_u64;
    for part in text.split(|byte| *byte == b',') {
        let (range, step) = match part.find_byte(b'/') {
            Some(at) => {
                let step = part.get(at + 1..)?.to_str().ok()?.parse::<u8>().ok()?;
                (part.get(..at)?, step)
            }
            None => (part, 1),
        };
        let (from, to) = match (range, range.find_byte(b'-')) {
            (b"*", _) => (least, most),
            (_, Some(at)) => (number(range.get(..at)?)?, number(range.get(at + 1..)?)?),
            (_, None) if part.len() > range.len() => (number(range)?, most),
            (_, None) => number(range).map(|number| (number, number))?,
        };
        if step == 0 || from > to {
            return None;
        }
        for value in (from..=to).step_by(usize::from(step)) {
            bits |= 1_u64.checked_shl(u32::from(value)).unwrap_or(0);
        }
    }
    Some(bits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(weekday: u8, month: u8, day: u8, hour: u8, minute: u8) -> Clock {
        Clock { minute, hour, day, month, weekday }
    }

    fn fires(line: &str, clock: Clock) -> bool {
        let text = format!("{line} true\n");
        let job = jobs(text.as_bytes(), false).next().unwrap();
        job.times.unwrap().fires(clock)
    }

    #[test]
    fn a_table_of_the_system() {
        let text = b"# comment\nSHELL=/bin/sh\nMAILTO = root\n\n17 *\t* * *\troot    cd / && run-parts --report /etc/cron.hourly\n\
            */5 * * * * www-data /usr/bin/collect --all%in%put\n@reboot root /bin/once\n@daily root /bin/day\nno line\n";
        let all: Vec<_> = jobs(text, true).collect();
        let seen: Vec<_> =
            all.iter().map(|job| (job.span.line, job.command.to_string(), job.times.is_some())).collect();
        let expected = [
            (5, "cd / && run-parts --report /etc/cron.hourly".to_owned(), true),
            (6, "/usr/bin/collect --all".to_owned(), true),
            (7, "/bin/once".to_owned(), false),
            (8, "/bin/day".to_owned(), true),
        ];
        assert_eq!(seen, expected);
        assert_eq!(all[1].user, Some(BStr::new("www-data")));
    }

    #[test]
    fn when_it_fires() {
        assert!(fires("*/5 * * * *", at(3, 6, 12, 10, 35)) && !fires("*/5 * * * *", at(3, 6, 12, 10, 36)));
        assert!(fires("0-10/5,30 9-17 * * mon-fri", at(5, 6, 12, 9, 30)));
        assert!(!fires("0-10/5,30 9-17 * * mon-fri", at(6, 6, 12, 9, 30)));
        // Sunday by either number; from a number on in steps.
        assert!(fires("3/20 * * * 7", at(0, 6, 12, 9, 43)) && fires("3 * * * 0", at(0, 6, 12, 9, 3)));
        // One of the two days is enough where both are given.
        assert!(fires("0 0 13 * fri", at(5, 6, 12, 0, 0)) && fires("0 0 13 * fri", at(1, 6, 13, 0, 0)));
        assert!(!fires("0 0 13 * *", at(5, 6, 12, 0, 0)));
        assert!(fires("0 4 * JAN *", at(1, 1, 2, 4, 0)) && !fires("0 4 * jan *", at(1, 2, 2, 4, 0)));
    }

    #[test]
    fn what_is_no_time() {
        for wrong in ["60 * * * *", "*/0 * * * *", "5-1 * * * *", "x * * * *", "* * 0 * *", "* * * * 8", "0~30 * * * *"]
        {
            assert_eq!(jobs(format!("{wrong} true\n").as_bytes(), false).count(), 0, "{wrong}");
        }
        assert_eq!(jobs(b"* * * * *\n@often true\n* * * * root\n", true).count(), 0);
    }

    proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, text in "(@[a-z]{0,8}|[-0-9*/,~a-z]{0,9}( [-0-9*/,]{1,6}){0,5}) [a-z %]{0,9}") {
            for text in [bytes.as_slice(), text.as_bytes()] {
                let clock = at(0, 1, 1, 0, 0);
                let _ = jobs(text, true).filter(|job| job.times.is_some_and(|times| times.fires(clock))).count();
                let _ = jobs(text, false).count();
            }
        }
    }
}
