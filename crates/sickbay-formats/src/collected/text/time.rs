//! Dates and times as programs print them in several languages, and loops around `date`.

use bstr::ByteSlice;

use super::super::number;

/// A day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date {
    /// 2018.
    pub year: i16,
    /// 1 to 12.
    pub month: i8,
    /// 1 to 31.
    pub day: i8,
}

impl Date {
    fn new(year: u32, month: u32, day: u32) -> Option<Date> {
        // Two digits are of this century; sysstat has no older files.
        let year = if year < 100 { year + 2000 } else { year };
        let is_day = (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
        is_day.then_some(())?;
        Some(Date { year: year.try_into().ok()?, month: month.try_into().ok()?, day: day.try_into().ok()? })
    }
}

/// A moment as it was printed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stamp {
    /// The day, where it is known.
    pub date: Option<Date>,
    /// Seconds since midnight.
    pub clock: f64,
    /// Seconds since 1970, where that was printed: then nothing else counts.
    pub epoch: Option<f64>,
    /// By how many seconds its clock is ahead of UTC, where that was printed.
    pub offset: Option<i32>,
    /// The day is not its own but that of a line before.
    pub is_inherited: bool,
}

/// A moment, and how many words it took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Reading {
    pub(super) stamp: Stamp,
    pub(super) used: usize,
}

/// What the numbers of a date between slashes mean, which only the whole text tells: `06/12/2018` is a day in June or in
/// December.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dates {
    is_day_first: bool,
}

/// So much of a text is looked at for it.
const LOOKED_AT: usize = 1 << 20;

impl Dates {
    /// The day comes first where the first number is above 12 somewhere; else the month does, as in the C locale.
    pub(super) fn of(text: &[u8]) -> Dates {
        let text = text.get(..text.len().min(LOOKED_AT)).unwrap_or_default();
        let mut first_is_day = false;
        for at in memchr::memchr_iter(b'/', text) {
            let before = text.get(at.saturating_sub(3)..at).unwrap_or_default();
            let after = text.get(at + 1..(at + 4).min(text.len())).unwrap_or_default();
            let ([start, tens, ones], [ten, one, b'/']) = (before, after) else { continue };
            let two = |tens: &u8, ones: &u8| number::<u32>(&[*tens, *ones]);
            let (Some(first), Some(second)) = (two(tens, ones), two(ten, one)) else { continue };
            let is_date = start.is_ascii_whitespace() && first <= 31 && second <= 31;
            if is_date && second > 12 {
                return Dates { is_day_first: false };
            }
            first_is_day |= is_date && first > 12;
        }
        Dates { is_day_first: first_is_day || has_commas(text) }
    }

    /// `06/12/2018`, `06/12/18`, `2018-06-12`, `12.06.2018`, `2018/06/12`, `2018年06月12日`.
    pub(super) fn date(&self, word: &[u8]) -> Option<Date> {
        let text = word.to_str().ok()?.trim_end_matches(',');
        if text.len() < 8 || text.len() > 32 || !text.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        let is_slashed = text.contains('/');
        let parts: Vec<&str> = text.split(['/', '-', '.', '年', '月', '日']).filter(|part| !part.is_empty()).collect();
        let &[first, second, third] = parts.as_slice() else { return None };
        let digits = |part: &str| number::<u32>(part.as_bytes());
        let values = (digits(first)?, digits(second)?, digits(third)?);
        let is_dotted = text.contains('.');
        match values {
            (year, month, day) if first.len() == 4 => Date::new(year, month, day),
            (day, month, year) if is_dotted || (is_slashed && self.is_day_first) => Date::new(year, month, day),
            (month, day, year) if is_slashed => Date::new(year, month, day),
            // 12-06-2018.
            (day, month, year) if third.len() == 4 => Date::new(year, month, day),
            _ => None,
        }
    }

    /// A moment at the beginning of a line: a date or none, a time, `AM` or `PM` or neither; or seconds since 1970.
    pub(super) fn read(&self, words: &[&[u8]]) -> Option<Reading> {
        let first = *words.first()?;
        if let Some(stamp) = self.joined(first) {
            return Some(Reading { stamp, used: 1 });
        }
        let date = self.date(first);
        let used = usize::from(date.is_some());
        // `11:17:14` or `11时17分14秒`.
        let clock = clock(words.get(used)?)?;
        let half = words.get(used + 1).and_then(|word| half(word));
        let clock = match half {
            Some(is_afternoon) => on_dial(clock, is_afternoon)?,
            None => clock,
        };
        let stamp = Stamp { date, clock, ..Stamp::default() };
        Some(Reading { stamp, used: used + 1 + usize::from(half.is_some()) })
    }

    /// `2018-06-12T10:36:03+0800`, `2018-06-12-10:36:03`.
    fn joined(&self, word: &[u8]) -> Option<Stamp> {
        let text = word.to_str().ok()?;
        if text.len() < 19 || !text.is_ascii() {
            return None;
        }
        let (day, rest) = text.split_at(10);
        let date = self.date(day.as_bytes())?;
        let rest = rest.strip_prefix(['T', '-'])?;
        let (time, zone) = rest.split_at(rest.find(['+', '-', 'Z']).unwrap_or(rest.len()));
        let offset = match zone {
            "" => None,
            "Z" => Some(0),
            zone => {
                let digits: String = zone.chars().filter(char::is_ascii_digit).collect();
                let (hours, minutes) = digits.split_at_checked(2)?;
                let seconds =
                    number::<i32>(hours.as_bytes())? * 3600 + number::<i32>(minutes.as_bytes()).unwrap_or(0) * 60;
                Some(if zone.starts_with('-') { -seconds } else { seconds })
            }
        };
        Some(Stamp { date: Some(date), clock: clock(time.as_bytes())?, offset, ..Stamp::default() })
    }

    /// What date(1) prints: `Sat Jan 20 15:54:12 CST 2018`, `Sat 20 Jan 2018 03:54:12 PM CST`, `2018年 01月 20日 星期六
    /// 15:54:12 CST`, and the same with its first word lost.
    pub(super) fn sentence(&self, words: &[&[u8]]) -> Option<Reading> {
        if !(4..=9).contains(&words.len()) {
            return None;
        }
        let (mut year, mut month, mut day, mut time, mut is_afternoon) = (None, None, None, None, None);
        for word in words {
            let text = word.to_str().ok()?.trim_end_matches([',', '.']);
            let of_unit = |unit: char| text.strip_suffix(unit).and_then(|value| number::<u32>(value.as_bytes()));
            if let Some(found) = clock(text.as_bytes()).filter(|_| time.is_none()) {
                time = Some(found);
            } else if let Some(found) = half(text.as_bytes()) {
                is_afternoon = Some(found);
            } else if let Some(found) = of_unit('年') {
                year = Some(found);
            } else if let Some(found) = of_unit('月') {
                month = Some(found);
            } else if let Some(found) = of_unit('日') {
                day = Some(found);
            } else if let Some(found) = number::<u32>(text.as_bytes()) {
                match text.len() {
                    1 | 2 if day.is_none() => day = Some(found),
                    4 if year.is_none() => year = Some(found),
                    _ => return None,
                }
            } else if let Some(found) = month_of(text).filter(|_| month.is_none()) {
                month = Some(found);
            } else if text.chars().count() > 12 {
                return None;
            }
        }
        let clock = match is_afternoon {
            Some(is_afternoon) => on_dial(time?, is_afternoon)?,
            None => time?,
        };
        let stamp = Stamp { date: Some(Date::new(year?, month?, day?)?), clock, ..Stamp::default() };
        Some(Reading { stamp, used: words.len() })
    }
}

/// Whether numbers have a comma in them, `12,50`: where they have and dates slashes, the day comes first.
fn has_commas(text: &[u8]) -> bool {
    memchr::memchr_iter(b',', text).any(|at| {
        let around = text.get(at.saturating_sub(1)..(at + 4).min(text.len())).unwrap_or_default();
        matches!(around, [one, b',', two, three, end] if [one, two, three].iter().all(|byte| byte.is_ascii_digit()) && end.is_ascii_whitespace())
    })
}

/// `Jan`, `January`.
fn month_of(text: &str) -> Option<u32> {
    const NAMES: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let begin = text.get(..3)?.to_ascii_lowercase();
    (1..).zip(NAMES).find(|(_, name)| *name == begin).map(|(month, _)| month)
}

/// Seconds since midnight: `10:36:03`, `10:36:03.250`, `10时36分03秒`.
pub(super) fn clock(word: &[u8]) -> Option<f64> {
    let text = word.to_str().ok()?;
    if text.len() > 24 || !text.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let mut parts = text.split([':', '时', '時', '分', '秒']).filter(|part| !part.is_empty());
    let hours: f64 = parts.next().and_then(|part| number::<u32>(part.as_bytes())).filter(|hours| *hours < 24)?.into();
    let minutes: f64 = parts.next().and_then(|part| number::<u32>(part.as_bytes())).filter(|all| *all < 60)?.into();
    let seconds = parts.next()?;
    let plain = seconds.len() >= 2 && seconds.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let seconds = plain.then(|| seconds.parse::<f64>().ok()).flatten().filter(|seconds| *seconds < 61.0)?;
    parts.next().is_none().then_some(hours * 3600.0 + minutes * 60.0 + seconds)
}

/// Which half of the day.
fn half(word: &[u8]) -> Option<bool> {
    match word.to_str().ok()? {
        "AM" | "am" | "上午" | "午前" => Some(false),
        "PM" | "pm" | "下午" | "午後" => Some(true),
        _ => None,
    }
}

/// By a dial of twelve hours.
fn on_dial(clock: f64, is_afternoon: bool) -> Option<f64> {
    let half = 12.0 * 3600.0;
    // 12:05 AM is five past midnight.
    let clock = if clock >= half { clock - half } else { clock };
    (clock < half).then_some(if is_afternoon { clock + half } else { clock })
}
