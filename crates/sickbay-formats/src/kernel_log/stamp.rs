//! When a line was written, as far as the line itself tells.

use std::fmt;

/// The time of a line of a log. Two stamps of different kinds cannot be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamp {
    /// Time since the machine started, in microseconds: `[   12.345678]`.
    Uptime(u64),
    /// A date as it is written.
    Date {
        /// The year; syslog's own form has none.
        year: Option<u16>,
        /// 1 to 12.
        month: u8,
        /// 1 to 31.
        day: u8,
        /// Seconds since midnight.
        second: u32,
        /// Seconds east of UTC, where the line says so; else it is local time.
        offset: Option<i32>,
    },
}

pub(super) const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

impl Stamp {
    /// The date of `seconds` since 1970 in UTC (by the algorithm of days_from_civil, proleptic Gregorian).
    pub fn of_unix(seconds: u64) -> Stamp {
        let days = (seconds / 86_400).min(3_000_000) as i64 + 719_468;
        let (era, of_era) = (days / 146_097, days % 146_097);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        Stamp::Date {
            year: u16::try_from(year_of_era + era * 400 + i64::from(month <= 2)).ok(),
            month: month as u8,
            day: (day_of_year - (153 * shifted + 2) / 5 + 1) as u8,
            second: (seconds % 86_400) as u32,
            offset: Some(0),
        }
    }

    /// Seconds from `self` to `later`; `None` when the two cannot be compared.
    pub fn seconds_to(self, later: Stamp) -> Option<i64> {
        let days = |year: Option<u16>, month: u8, day: u8| {
            let (year, month) = (i64::from(year.unwrap_or(2000)), i64::from(month));
            let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
            year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + i64::from(day)
        };
        match (self, later) {
            (Stamp::Uptime(a), Stamp::Uptime(b)) => Some((i64::try_from(b).ok()? - i64::try_from(a).ok()?) / 1_000_000),
            (
                Stamp::Date { year: y1, month: m1, day: d1, second: s1, offset: o1 },
                Stamp::Date { year: y2, month: m2, day: d2, second: s2, offset: o2 },
            ) => {
                // Where only one says its year, the other's is taken to be the same.
                let (y1, y2) = (y1.or(y2), y2.or(y1));
                let zones = match (o1, o2) {
                    (Some(a), Some(b)) => i64::from(a) - i64::from(b),
                    _ => 0,
                };
                Some((days(y2, m2, d2) - days(y1, m1, d1)) * 86_400 + i64::from(s2) - i64::from(s1) + zones)
            }
            _ => None,
        }
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Stamp::Uptime(micros) => write!(f, "[{}.{:06}]", micros / 1_000_000, micros % 1_000_000),
            Stamp::Date { year, month, day, second, offset } => {
                let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
                match year {
                    Some(year) => write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")?,
                    None => {
                        let name = MONTHS.get(usize::from(month).wrapping_sub(1)).unwrap_or(&"?");
                        write!(f, "{name} {day:2} {hour:02}:{minute:02}:{second:02}")?;
                    }
                }
                match offset {
                    None => Ok(()),
                    Some(0) => f.write_str("Z"),
                    Some(east) => {
                        let sign = if east < 0 { '-' } else { '+' };
                        let east = east.unsigned_abs();
                        write!(f, "{sign}{:02}:{:02}", east / 3600, east / 60 % 60)
                    }
                }
            }
        }
    }
}
