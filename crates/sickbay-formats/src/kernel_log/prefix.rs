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
    /// Whether anything stood before the message. A wrapped line's second half has no prefix.
    pub prefixed: bool,
    /// What was said.
    pub text: Cow<'a, [u8]>,
}

/// No prefix of a log is longer.
const LONGEST: usize = 256;

/// Takes a line (without its end) apart. Knows the forms that the module's head lists, and combinations of them.
pub fn message(line: &[u8]) -> Message<'_> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    // A hole where logrotate cut the file under its writer.
    let line = line.trim_start_with(|c| c == '\0');
    if line.first().is_some_and(|&byte| matches!(byte, b'{' | 0x1e)) && journal::is_json(line) {
        return journal::json(line);
    }
    let mut found = Message { time: None, host: None, kernel: true, prefixed: false, text: Cow::Borrowed(line) };
    let owned = |line: Vec<u8>| {
        let inner = message_of(&line);
        let (time, kernel, prefixed, text) = (inner.time, inner.kernel, inner.prefixed, inner.text.into_owned());
        Message { time, host: None, kernel, prefixed, text: Cow::Owned(text) }
    };
    if line.starts_with(b"{\"log\":") {
        // A container of Docker's that copies the kernel's log.
        let (said, time) = journal::docker(line);
        let said = owned(said);
        let time = said.time.or_else(|| Some(date(&time?)?.0));
        return Message { time, prefixed: true, ..said };
    }
    if line.contains(&0x1b) {
        // dmesg --color; also what a hostile author may have put there.
        return owned(without_escapes(line));
    }
    if let Some(rest) = line.strip_prefix(b"MESSAGE=") {
        found.text = Cow::Borrowed(rest);
        found.prefixed = true;
        return found;
    }
    message_of(line)
}

fn message_of(line: &[u8]) -> Message<'_> {
    let mut found = Message { time: None, host: None, kernel: true, prefixed: false, text: Cow::Borrowed(line) };
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

/// Removes one prefix.
fn step<'a>(line: &'a [u8], found: &mut Message<'a>) -> Option<&'a [u8]> {
    match *line.first()? {
        b'<' => priority(line),
        b'[' => bracket(line, found),
        b'0'..=b'9' => kmsg(line, found).or_else(|| dated(line, found)),
        b'A'..=b'Z' => dated(line, found),
        b'k' if line.starts_with(b"kernel: ") => author(line, found),
        _ => None,
    }
}

/// `<6>`, and the version after it in RFC 5424.
fn priority(line: &[u8]) -> Option<&[u8]> {
    let (number, rest) = number(line.get(1..)?)?;
    let rest = rest.strip_prefix(b">").filter(|_| number < 1024)?;
    Some(rest.strip_prefix(b"1 ").unwrap_or(rest))
}

/// `[   12.345678] `, `[ T123] ` and `[    C1] ` (CONFIG_PRINTK_CALLER), `[Mon Jun 12 10:36:02 2023] `.
fn bracket<'a>(line: &'a [u8], found: &mut Message<'a>) -> Option<&'a [u8]> {
    let close = line.get(..40.min(line.len()))?.find_byte(b']')?;
    let inside = line.get(1..close)?.trim_ascii();
    let rest = line.get(close + 1..)?;
    let rest = rest.strip_prefix(b" ").unwrap_or(rest);
    if let Some(stamp) = uptime(inside) {
        found.time.get_or_insert(stamp);
        return journal_author(rest, found).or(Some(rest));
    }
    if matches!(inside.first(), Some(b'T' | b'C')) && inside.get(1..)?.trim_ascii().iter().all(u8::is_ascii_digit) {
        return (found.prefixed && inside.len() > 1).then_some(rest);
    }
    let (stamp, after) = date(inside)?;
    if !after.is_empty() {
        return None;
    }
    found.time.get_or_insert(stamp);
    Some(rest)
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
    line.get(end + 1..)
}

/// A date in one of many forms, then mostly a host and an author.
fn dated<'a>(line: &'a [u8], found: &mut Message<'a>) -> Option<&'a [u8]> {
    let (stamp, rest) = date(line)?;
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
            return line.get(offset..);
        }
        if at == 1
            && let Some(rest) = structured(after)
        {
            found.kernel &= name == b"kernel";
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
fn date(text: &[u8]) -> Option<(Stamp, &[u8])> {
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
