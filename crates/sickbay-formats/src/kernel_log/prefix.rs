//! What stands before the kernel's own words in a line of a log.

use std::borrow::Cow;

use bstr::ByteSlice;

use super::journal;
use super::stamp::{MONTHS, Stamp};

/// A line of a log, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// When; a date is preferred to a time since the start.
    pub time: Option<Stamp>,
    /// The host that the line names.
    pub host: Option<&'a [u8]>,
    /// Whether the line may be the kernel's: `false` when it names another program as its author.
    pub kernel: bool,
    /// Whether the line is the kernel's by its prefix alone: it names the kernel, or has a form that only dmesg(1) writes.
    pub certain: bool,
    /// Whether anything stood before the message. A wrapped line's second half has no prefix.
    pub prefixed: bool,
    /// What was said.
    pub text: Cow<'a, [u8]>,
}

/// No prefix of a log is longer.
const LONGEST: usize = 256;

/// Takes a line (without its end) apart. Knows the forms that the module's head lists, and combinations of them, also
/// indented or quoted.
pub fn message(line: &[u8]) -> Message<'_> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    // A hole where logrotate cut the file under its writer; a mark of the order of bytes.
    let line = line.trim_start_with(|c| c == '\0');
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    if let Some(entry) = journal::object(line) {
        let said = apart(entry.text);
        // What a forwarder sends on has a prefix of its own, which tells the author better than the forwarder does.
        let kernel = if said.certain || !said.kernel { said.kernel } else { entry.kernel };
        let time = said.time.filter(|_| entry.time.is_none() || said.prefixed).or(entry.time);
        return Message { time, kernel, certain: said.certain || entry.certain, prefixed: true, ..said };
    }
    if line.contains(&0x1b) {
        // dmesg --color; also what a hostile author may have put there.
        return apart(without_escapes(line));
    }
    if line.contains_str("\u{a0}") {
        // Copied from a page of the web.
        return apart(line.replace("\u{a0}", " "));
    }
    if let Some(rest) = line.strip_prefix(b"MESSAGE=") {
        let text = Cow::Borrowed(rest);
        return Message { prefixed: true, text, ..plain(rest) };
    }
    message_of(line)
}

fn plain(line: &[u8]) -> Message<'_> {
    Message { time: None, host: None, kernel: true, certain: false, prefixed: false, text: Cow::Borrowed(line) }
}

/// The same for a line that was made. The host's name goes with it.
fn apart(line: Vec<u8>) -> Message<'static> {
    let inner = message_of(&line);
    let Message { time, kernel, certain, prefixed, .. } = inner;
    Message { time, host: None, kernel, certain, prefixed, text: Cow::Owned(inner.text.into_owned()) }
}

fn message_of(line: &[u8]) -> Message<'_> {
    let mut found = steps(line);
    if !found.prefixed {
        let bare = unquoted(line);
        if bare.len() < line.len() {
            found = steps(bare);
        }
    }
    found
}

fn steps(line: &[u8]) -> Message<'_> {
    let mut found = plain(line);
    // Several may stand one after the other: `Jun 12 10:36:02 host kernel: <4>[   12.345678][ T123] …`.
    let mut rest = line;
    for _ in 0..6 {
        let Some(after) = step(rest, &mut found) else { break };
        found.prefixed = true;
        rest = after;
        if !found.kernel {
            break;
        }
    }
    found.text = Cow::Borrowed(rest);
    found
}

/// The line without indent, without the marks of a quotation (`> `, `| `), and without the name of the machine or
/// container that a tool which follows several logs puts before each line (`node1 | `).
fn unquoted(line: &[u8]) -> &[u8] {
    let mut rest = line;
    for _ in 0..6 {
        rest = rest.trim_ascii_start();
        let marked = rest.strip_prefix(b"> ").or_else(|| rest.strip_prefix(b"| ")).or_else(|| rest.strip_prefix(b">"));
        let Some(after) = marked.or_else(|| named(rest)) else { break };
        rest = after;
    }
    rest
}

/// What follows `node1 | `.
fn named(line: &[u8]) -> Option<&[u8]> {
    let (name, rest) = word(line.get(..64.min(line.len()))?)?;
    let simple = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/');
    // Flags of a request stand so too.
    let flags = name.starts_with(b"GFP_") || name.starts_with(b"__GFP");
    let rest = rest.strip_prefix(b"| ").filter(|_| !flags && name.iter().all(simple))?;
    line.get(line.len().min(64) - rest.len()..)
}

/// Removes one prefix.
fn step<'a>(line: &'a [u8], found: &mut Message<'a>) -> Option<&'a [u8]> {
    match *line.first()? {
        b'<' => priority(line, found),
        b'[' => bracket(line, found),
        b'0'..=b'9' => kmsg(line, found).or_else(|| dated(line, found)),
        b'A'..=b'Z' => dated(line, found),
        b'k' if line.starts_with(b"kernel: ") => author(line, found),
        b'a'..=b'z' => facility(line, found).or_else(|| dated(line, found)).or_else(|| undated(line, found)),
        0x80.. => dated(line, found),
        _ => None,
    }
}

/// `host kernel: ` without any date.
fn undated<'a>(line: &'a [u8], found: &mut Message<'a>) -> Option<&'a [u8]> {
    let (host, rest) = word(line.get(..LONGEST.min(line.len()))?)?;
    rest.starts_with(b"kernel: ").then_some(())?;
    let simple = host.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
    (simple && !found.prefixed).then(|| author(line, found))?
}

/// `kern  :warn  : `: dmesg -x.
fn facility<'a>(line: &'a [u8], found: &mut Message<'a>) -> Option<&'a [u8]> {
    const FACILITIES: [&[u8]; 12] = [
        b"kern",
        b"user",
        b"mail",
        b"daemon",
        b"auth",
        b"syslog",
        b"lpr",
        b"news",
        b"uucp",
        b"cron",
        b"authpriv",
        b"ftp",
    ];
    const LEVELS: [&[u8]; 8] = [b"emerg", b"alert", b"crit", b"err", b"warn", b"notice", b"info", b"debug"];
    let field = |text: &'a [u8]| -> Option<(&'a [u8], &'a [u8])> {
        let end = text.get(..16.min(text.len()))?.find_byte(b':')?;
        Some((text.get(..end)?.trim_ascii(), text.get(end + 1..)?))
    };
    let (name, rest) = field(line)?;
    let (level, rest) = field(rest)?;
    (FACILITIES.contains(&name) && LEVELS.contains(&level)).then_some(())?;
    found.kernel &= name == b"kern";
    found.certain |= name == b"kern";
    Some(rest.strip_prefix(b" ").unwrap_or(rest))
}

/// `<6>`, and the version after it in RFC 5424.
fn priority<'a>(line: &'a [u8], found: &mut Message<'a>) -> Option<&'a [u8]> {
    let (number, rest) = number(line.get(1..)?)?;
    let rest = rest.strip_prefix(b">").filter(|_| number < 1024)?;
    found.certain |= number < 8;
    Some(rest.strip_prefix(b"1 ").unwrap_or(rest))
}

/// `[   12.345678] `, `[ T123] ` and `[    C1] ` (CONFIG_PRINTK_CALLER), and what dmesg(1) makes of the time:
/// `[Mon Jun 12 10:36:02 2023] ` in every language, `[Jun12 10:36] ` and `[  +0.000012] `, `[   12.345678 <    0.000012>] `.
fn bracket<'a>(line: &'a [u8], found: &mut Message<'a>) -> Option<&'a [u8]> {
    let close = line.get(..80.min(line.len()))?.find_byte(b']')?;
    let inside = line.get(1..close)?.trim_ascii();
    let rest = line.get(close + 1..)?;
    let rest = rest.strip_prefix(b" ").unwrap_or(rest);
    if matches!(inside.first(), Some(b'T' | b'C')) && inside.get(1..)?.trim_ascii().iter().all(u8::is_ascii_digit) {
        return (found.prefixed && inside.len() > 1).then_some(rest);
    }
    // The time since the line before.
    let since = |text: &[u8]| uptime(&text.trim_ascii().replace(",", ".")).is_some();
    let (inside, delta) = match inside.strip_suffix(b">").and_then(|inside| inside.rsplit_once_str("<")) {
        Some((inside, delta)) if since(delta) => (inside.trim_ascii(), true),
        _ => (inside, false),
    };
    if let Some(stamp) = uptime(inside) {
        found.time.get_or_insert(stamp);
        found.certain = true;
        return journal_author(rest, found).or(Some(rest));
    }
    if inside.strip_prefix(b"+").is_some_and(since) || delta && inside.is_empty() {
        found.certain = true;
        return Some(rest);
    }
    if let Some((stamp, b"")) = date(inside) {
        found.time.get_or_insert(stamp);
        // Other programs put dates in brackets too, but not in this form.
        found.certain |= delta || !inside.first()?.is_ascii_digit();
        return Some(rest);
    }
    let stamp = any_date(inside).or_else(|| day_and_minute(inside))?;
    found.time = found.time.or(stamp);
    found.certain = true;
    Some(rest)
}

/// A date in a language that is not known: it has a clock, a year or a day, and words; a stamp where the month is told.
fn any_date(text: &[u8]) -> Option<Option<Stamp>> {
    let (mut second, mut year, mut day, mut month, mut words) = (None, None, None, None, 0);
    for word in text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()) {
        words += 1;
        let bare = word.trim_end_with(|c| matches!(c, '.' | ',' | '日' | '年' | '일' | '년'));
        match number_only(bare) {
            _ if words > 8 => return None,
            None if word.contains(&b':') => second = Some(clock(word).filter(|(_, rest)| rest.is_empty())?.0),
            None => month = month.or_else(|| month_named(bare)),
            Some(number @ 1990..2200) => year = u16::try_from(number).ok(),
            Some(number @ 1..=31) => day = u8::try_from(number).ok(),
            Some(_) => return None,
        }
    }
    let second = second?;
    (words > 2 && (day.is_some() || year.is_some())).then_some(())?;
    Some(match (month, day) {
        (Some(month), Some(day)) => Some(Stamp::Date { year, month, day, second, offset: None }),
        _ => None,
    })
}

/// The month that a word names: by its number (`8月`), or by how its name begins in a language of Europe.
fn month_named(word: &[u8]) -> Option<u8> {
    const NAMES: [(u8, &str); 12] = [
        (1, "jan ene gen янв sty led január ιαν oca"),
        (2, "feb fév fev фев lut úno φεβ şub"),
        (3, "mar mär mrt мар μαρ bře maart març"),
        (4, "apr avr abr апр kwi dub απρ nis"),
        (5, "may mai mei mag мая май maj kvě μαϊ μαΐ máj"),
        (6, "jun juin giu июн cze čvn ιουν haz jún"),
        (7, "jul juil lug июл lip čvc ιουλ tem júl"),
        (8, "aug aoû ago авг sie srp αυγ ağu"),
        (9, "sep set сен wrz zář σεπ eyl szept"),
        (10, "oct okt ott out окт paź říj οκτ eki"),
        (11, "nov ноя lis νοε kas"),
        (12, "dec dez dic déc des дек gru pro δεκ ara"),
    ];
    let word = word.to_str().ok()?.to_lowercase();
    if let Some(number) = word.strip_suffix('月').or_else(|| word.strip_suffix('월')) {
        return number.parse().ok().filter(|month| (1..=12).contains(month));
    }
    let of = |names: &str| names.split(' ').filter(|name| word.starts_with(name)).map(str::len).max();
    NAMES.iter().filter_map(|(month, names)| Some((of(names)?, *month))).max().map(|(_, month)| month)
}

/// `Jun12 10:36`: dmesg -H, where a minute begins.
fn day_and_minute(text: &[u8]) -> Option<Option<Stamp>> {
    let (day, minute) = word(text)?;
    let (hours, minutes) = minute.split_once_str(":")?;
    let digits = day.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let (name, number) = day.split_at_checked(day.len() - digits)?;
    let (hours, minutes, day) = (number_only(hours)?, number_only(minutes)?, number_only(number)?);
    (hours < 24 && minutes < 60 && (1..=31).contains(&day) && !name.is_empty()).then_some(())?;
    let second = (hours * 3600 + minutes * 60) as u32;
    Some(month_named(name).map(|month| Stamp::Date { year: None, month, day: day as u8, second, offset: None }))
}

/// `journalctl -o short-monotonic` has the host and the author behind the bracket.
fn journal_author<'a>(rest: &'a [u8], found: &mut Message<'a>) -> Option<&'a [u8]> {
    let (host, after) = word(rest)?;
    let plain = host.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
    let rest = after.strip_prefix(b"kernel: ").filter(|_| plain && found.host.is_none())?;
    found.host = Some(host);
    Some(rest)
}

/// `12.345678` → microseconds.
fn uptime(text: &[u8]) -> Option<Stamp> {
    let (seconds, rest) = number(text)?;
    let fraction = rest.strip_prefix(b".")?;
    if fraction.is_empty() || fraction.len() > 9 || !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let micros = (0..6).fold(0, |sum, at| sum * 10 + u64::from(fraction.get(at).map_or(0, |digit| digit - b'0')));
    Some(Stamp::Uptime(seconds.checked_mul(1_000_000)?.checked_add(micros)?))
}

/// A record of `/dev/kmsg`: `6,1234,5678901,-;message` (Documentation/ABI/testing/dev-kmsg).
fn kmsg<'a>(line: &'a [u8], found: &mut Message<'a>) -> Option<&'a [u8]> {
    let head = line.get(..80.min(line.len()))?;
    let end = head.find_byte(b';')?;
    let mut fields = line.get(..end)?.split_str(",");
    let facility = number_only(fields.next()?)? >> 3;
    number_only(fields.next()?)?;
    let micros = number_only(fields.next()?)?;
    matches!(fields.next()?, b"-" | b"c" | b"+").then_some(())?;
    found.time.get_or_insert(Stamp::Uptime(micros));
    found.kernel = facility == 0;
    found.certain = facility == 0;
    line.get(end + 1..)
}

/// A date in one of many forms, then mostly a host and an author.
fn dated<'a>(line: &'a [u8], found: &mut Message<'a>) -> Option<&'a [u8]> {
    let Some((stamp, rest)) = date(line) else {
        return dated_otherwise(line, found);
    };
    let comma = line.get(19) == Some(&b',');
    found.time = match found.time {
        Some(known @ Stamp::Date { .. }) => Some(known),
        _ => Some(stamp),
    };
    let rest = rest.trim_ascii_start();
    // A container under Kubernetes (CRI): the stream, and whether the line is whole.
    if let Some(rest) = rest.strip_prefix(b"stdout ").or_else(|| rest.strip_prefix(b"stderr "))
        && let Some(rest) = rest.strip_prefix(b"F ").or_else(|| rest.strip_prefix(b"P "))
    {
        return Some(rest);
    }
    // dmesg --time-format iso writes a comma before the microseconds and no author.
    if comma { Some(rest) } else { author(rest, found).or(Some(rest)) }
}

/// A date of syslog in another language, or with a year in its middle: `12. Aug 10:36:02 `, `8月 12 10:36:02 `. What
/// follows it must be a host and an author, since so little is asked of the date.
fn dated_otherwise<'a>(line: &'a [u8], found: &mut Message<'a>) -> Option<&'a [u8]> {
    let head = line.get(..64.min(line.len()))?;
    let colon = head.find_byte(b':')?;
    let end = colon + head.get(colon..)?.find_byte(b' ')?;
    let stamp = any_date(line.get(..end)?)?;
    let rest = author(line.get(end + 1..)?.trim_ascii_start(), found)?;
    found.time = found.time.or(stamp);
    Some(rest)
}

/// `host kernel: `, `host kern.warn kernel: `, `host program[12]: `, and RFC 5424's `host kernel - - - `.
fn author<'a>(line: &'a [u8], found: &mut Message<'a>) -> Option<&'a [u8]> {
    let head = line.get(..LONGEST.min(line.len()))?;
    let mut rest = head;
    for at in 0..4 {
        let (word, after) = word(rest)?;
        let name = word.strip_suffix(b":").unwrap_or(word);
        let name = name.split_str("[").next().unwrap_or(name);
        let offset = head.len() - after.len();
        if word.ends_with(b":") && (at > 0 || name == b"kernel") {
            found.kernel &= name == b"kernel";
            found.certain |= name == b"kernel";
            return line.get(offset..);
        }
        if at == 1
            && let Some(rest) = structured(after)
        {
            found.kernel &= name == b"kernel";
            found.certain |= name == b"kernel";
            return line.get(head.len() - rest.len()..);
        }
        if at == 0 {
            found.host = found.host.or(Some(word));
        }
        rest = after;
    }
    found.host = None;
    None
}

/// What follows `PROCID MSGID STRUCTURED-DATA` of RFC 5424.
fn structured(text: &[u8]) -> Option<&[u8]> {
    let (process, rest) = word(text)?;
    let (_, rest) = word(rest)?;
    let plain = process == b"-" || process.iter().all(u8::is_ascii_digit);
    let rest = match rest.strip_prefix(b"- ") {
        Some(rest) => rest,
        None => rest.strip_prefix(b"[").and_then(|rest| rest.get(rest.find("] ")? + 2..))?,
    };
    plain.then_some(rest)
}

/// The first word, and what follows the blanks after it.
fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.find_byte(b' ')?;
    Some((text.get(..end)?, text.get(end..)?.trim_ascii_start()))
}

fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let digits = text.iter().take(20).take_while(|byte| byte.is_ascii_digit()).count();
    let value = text.get(..digits)?.to_str().ok()?.parse().ok()?;
    Some((value, text.get(digits..)?))
}

fn number_only(text: &[u8]) -> Option<u64> {
    number(text).filter(|(_, rest)| rest.is_empty()).map(|(value, _)| value)
}

/// Reads a date and gives the rest. Forms: `Jun 12 10:36:02`, `Mon Jun 12 10:36:02 2023`, `2023-06-12T10:36:02.123456+08:00`,
/// `2023-06-12 10:36:02`, `Mon 2023-06-12 10:36:02 CST`, `2023 Jun 12 10:36:02`, `1686537362.123456`.
pub(super) fn date(text: &[u8]) -> Option<(Stamp, &[u8])> {
    const DAYS: [&[u8]; 7] = [b"Mon ", b"Tue ", b"Wed ", b"Thu ", b"Fri ", b"Sat ", b"Sun "];
    let text = DAYS.iter().find_map(|day| text.strip_prefix(*day)).unwrap_or(text);
    if text.first()?.is_ascii_digit() {
        return iso(text).or_else(|| {
            let (year, rest) = number(text)?;
            let year = u16::try_from(year).ok().filter(|year| (1990..2200).contains(year))?;
            syslog(rest.strip_prefix(b" ")?, Some(year))
        });
    }
    syslog(text, None)
}

fn syslog(text: &[u8], year: Option<u16>) -> Option<(Stamp, &[u8])> {
    let name = text.get(..3)?;
    let month = MONTHS.iter().position(|month| month.as_bytes() == name)? as u8 + 1;
    let (day, rest) = number(text.get(3..)?.trim_ascii_start())?;
    let (second, rest) = clock(rest.strip_prefix(b" ")?.trim_ascii_start())?;
    let (year, rest) = match rest.strip_prefix(b" ").and_then(number) {
        Some((after, rest)) if year.is_none() && (1990..2200).contains(&after) => (u16::try_from(after).ok(), rest),
        _ => (year, rest),
    };
    let day = u8::try_from(day).ok().filter(|day| (1..=31).contains(day))?;
    Some((Stamp::Date { year, month, day, second, offset: None }, rest))
}

fn iso(text: &[u8]) -> Option<(Stamp, &[u8])> {
    let (year, rest) = number(text)?;
    if let Some(rest) = rest.strip_prefix(b".")
        && year > 600_000_000
    {
        // journalctl -o short-unix
        return Some((Stamp::of_unix(year), number(rest)?.1));
    }
    let year = u16::try_from(year).ok().filter(|year| (1970..2200).contains(year))?;
    let separator = *rest.first().filter(|byte| matches!(byte, b'-' | b'/'))?;
    let (month, rest) = number(rest.get(1..)?)?;
    let (day, rest) = number(rest.strip_prefix(&[separator])?)?;
    let rest = rest.strip_prefix(b"T").or_else(|| rest.strip_prefix(b" "))?;
    let (second, rest) = clock(rest)?;
    let month = u8::try_from(month).ok().filter(|month| (1..=12).contains(month))?;
    let day = u8::try_from(day).ok().filter(|day| (1..=31).contains(day))?;
    let (offset, rest) = zone(rest);
    Some((Stamp::Date { year: Some(year), month, day, second, offset }, rest))
}

/// `Z`, `+08:00`, `+0800`, ` UTC`; a zone's name is passed over.
fn zone(text: &[u8]) -> (Option<i32>, &[u8]) {
    let numeric = || {
        let sign = match text.first()? {
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let digits: Vec<u8> = text.get(1..)?.iter().copied().take(5).filter(u8::is_ascii_digit).take(4).collect();
        let length = if text.get(3) == Some(&b':') { 6 } else { 5 };
        let value = number_only(&digits).filter(|_| digits.len() == 4)?;
        Some((Some(sign * i32::try_from(value / 100 * 3600 + value % 100 * 60).ok()?), text.get(length..)?))
    };
    if let Some(rest) = text.strip_prefix(b"Z").or_else(|| text.strip_prefix(b" UTC")) {
        return (Some(0), rest);
    }
    if let Some(found) = numeric() {
        return found;
    }
    let named = text.strip_prefix(b" ").and_then(word);
    match named {
        Some((name, rest)) if (2..=5).contains(&name.len()) && name.iter().all(u8::is_ascii_uppercase) => (None, rest),
        _ => (None, text),
    }
}

/// `10:36:02`, with a fraction or without, in seconds since midnight.
fn clock(text: &[u8]) -> Option<(u32, &[u8])> {
    let (hour, rest) = number(text)?;
    let (minute, rest) = number(rest.strip_prefix(b":")?)?;
    let (second, rest) = number(rest.strip_prefix(b":")?)?;
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let rest = match rest.first() {
        Some(b'.' | b',') => number(rest.get(1..)?).map_or(rest, |(_, rest)| rest),
        _ => rest,
    };
    Some(((hour * 3600 + minute * 60 + second) as u32, rest))
}

/// The line without terminal control sequences.
fn without_escapes(line: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find_byte(0x1b) {
        out.extend_from_slice(rest.get(..at).unwrap_or_default());
        rest = rest.get(at + 1..).unwrap_or_default();
        if let Some(sequence) = rest.strip_prefix(b"[") {
            // systemd shortens a line in the middle, in the middle of a sequence too: what cannot be in one ends it.
            let end = sequence.iter().position(|byte| !(0x20..=0x3f).contains(byte)).unwrap_or(sequence.len());
            let last = usize::from(sequence.get(end).is_some_and(|byte| (0x40..=0x7e).contains(byte)));
            rest = sequence.get(end + last..).unwrap_or_default();
        }
    }
    out.extend_from_slice(rest);
    out
}
