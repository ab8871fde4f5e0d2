//! The resource limits of getrlimit(2), by all their names, and the values that systemd takes for them.

use bstr::ByteSlice;

/// A resource limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resource {
    /// As limits.conf(5) and ulimit name it.
    pub name: &'static str,
    /// As `/proc/PID/limits` names it.
    pub proc: &'static str,
    /// As units of systemd name it.
    pub unit: &'static str,
    /// What its values are.
    pub measure: Measure,
    /// Whether a program meets it by opening files or making processes, so that it is worth a line of its own.
    pub main: bool,
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Files, processes, signals.
    Count,
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
    /// Microseconds.
    Microseconds,
    /// 20 minus a nice value.
    Nice,
}

const fn resource(
    name: &'static str,
    proc: &'static str,
    unit: &'static str,
    measure: Measure,
    main: bool,
) -> Resource {
    Resource { name, proc, unit, measure, main }
}

/// All of them, those that programs run into first.
pub const ALL: [Resource; 16] = [
    resource("nofile", "Max open files", "LimitNOFILE", Measure::Count, true),
    resource("nproc", "Max processes", "LimitNPROC", Measure::Count, true),
    resource("core", "Max core file size", "LimitCORE", Measure::Bytes, false),
    resource("memlock", "Max locked memory", "LimitMEMLOCK", Measure::Bytes, false),
    resource("stack", "Max stack size", "LimitSTACK", Measure::Bytes, false),
    resource("as", "Max address space", "LimitAS", Measure::Bytes, false),
    resource("data", "Max data size", "LimitDATA", Measure::Bytes, false),
    resource("fsize", "Max file size", "LimitFSIZE", Measure::Bytes, false),
    resource("sigpending", "Max pending signals", "LimitSIGPENDING", Measure::Count, false),
    resource("msgqueue", "Max msgqueue size", "LimitMSGQUEUE", Measure::Bytes, false),
    resource("rtprio", "Max realtime priority", "LimitRTPRIO", Measure::Count, false),
    resource("nice", "Max nice priority", "LimitNICE", Measure::Nice, false),
    resource("cpu", "Max cpu time", "LimitCPU", Measure::Seconds, false),
    resource("rttime", "Max realtime timeout", "LimitRTTIME", Measure::Microseconds, false),
    resource("locks", "Max file locks", "LimitLOCKS", Measure::Count, false),
    resource("rss", "Max resident set", "LimitRSS", Measure::Bytes, false),
];

/// A soft and a hard value; `None` is infinity.
pub type Pair = (Option<u64>, Option<u64>);

/// The value of a `Limit…=` or `DefaultLimit…=`: one for both, or `soft:hard` (systemd.exec(5)). `None` for what systemd ignores
/// with a warning: another word than `infinity`, a soft value above the hard one.
pub fn of_unit(resource: &Resource, value: &[u8]) -> Option<Pair> {
    let text = value.to_str().ok()?.trim();
    // What stands behind a second colon is not read.
    let mut parts = text.split(':');
    let soft = one(resource.measure, parts.next()?)?;
    let hard = match parts.next() {
        Some(hard) => one(resource.measure, hard)?,
        None => soft,
    };
    let above = match (soft, hard) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(soft), Some(hard)) => soft > hard,
    };
    (!above).then_some((soft, hard))
}

fn one(measure: Measure, text: &str) -> Option<Option<u64>> {
    if text == "infinity" {
        return Some(None);
    }
    let value = match measure {
        Measure::Count => count(text)?,
        Measure::Bytes => bytes(text)?,
        Measure::Seconds => span(text, 1_000_000)?.div_ceil(1_000_000),
        Measure::Microseconds => span(text, 1)?,
        // With a sign it is a nice value, without one it is the limit itself (rlimit_parse_nice() of systemd).
        Measure::Nice => match (text.strip_prefix('+'), text.strip_prefix('-')) {
            (Some(nice), _) => 20 - count(nice).filter(|nice| *nice < 20)?,
            (None, Some(nice)) => 20 + count(nice).filter(|nice| *nice <= 20)?,
            (None, None) => count(text).filter(|raw| (1..=40).contains(raw))?,
        },
    };
    // The largest number is what the kernel calls infinity.
    Some(Some(value).filter(|value| *value != u64::MAX))
}

/// A whole number as safe_atou64() of systemd reads it: `0x`, `0b`, `0o` and a leading 0 as in C; nothing behind it.
fn count(text: &str) -> Option<u64> {
    let text = text.trim_start();
    let text = text.strip_prefix('+').unwrap_or(text);
    let lower = text.to_ascii_lowercase();
    let (digits, base) = match () {
        () if lower.starts_with("0x") => (lower.get(2..)?, 16),
        () if lower.starts_with("0b") => (lower.get(2..)?, 2),
        () if lower.starts_with("0o") => (lower.get(2..)?, 8),
        () if lower.len() > 1 && lower.starts_with('0') => (lower.get(1..)?, 8),
        () => (lower.as_str(), 10),
    };
    if digits.starts_with('+') {
        return None;
    }
    u64::from_str_radix(digits, base).ok()
}

/// Without the sign that strtoull(3) takes.
fn unsigned(text: &str) -> &str {
    let text = text.trim_start();
    text.strip_prefix('+').filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit())).unwrap_or(text)
}

/// Units of sizes, the largest first, and how often they are 1024.
const SIZES: [(&str, u32); 8] = [("E", 60), ("P", 50), ("T", 40), ("G", 30), ("M", 20), ("K", 10), ("B", 0), ("", 0)];

/// `64K`, `1.5G`, `1G512M`, powers of 1024, larger units first (parse_size() of systemd).
fn bytes(text: &str) -> Option<u64> {
    let mut rest = text.trim();
    let (mut sum, mut from) = (0_u128, 0);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        rest = unsigned(rest);
        let after = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        let digits = rest.get(..rest.len() - after.len()).filter(|digits| !digits.is_empty())?;
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => {
                let left = after.trim_start_matches(|c: char| c.is_ascii_digit());
                (after.get(..after.len() - left.len())?, left)
            }
            None => ("", after),
        };
        let after = after.trim_start();
        let at = SIZES.iter().skip(from).position(|(unit, _)| after.starts_with(unit))? + from;
        let (unit, shift) = *SIZES.get(at)?;
        let factor = 1_u128 << shift;
        let whole = u128::from(digits.parse::<u64>().ok()?).checked_mul(factor)?;
        let part: u128 = if fraction.is_empty() {
            0
        } else {
            let fraction = fraction.get(..fraction.len().min(15))?;
            let power = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
            fraction.parse::<u128>().ok()?.checked_mul(factor)? / power
        };
        sum = sum.checked_add(whole)?.checked_add(part)?;
        rest = after.get(unit.len()..)?;
        from = at + 1;
    }
    u64::try_from(sum).ok()
}

/// Words for spans of time and their microseconds (systemd.time(7)).
const SPANS: [(&[&str], u64); 10] = [
    (&["seconds", "second", "sec", "s"], 1_000_000),
    (&["minutes", "minute", "min", "m"], 60_000_000),
    (&["months", "month", "M"], 2_629_800_000_000),
    (&["msec", "ms"], 1000),
    (&["hours", "hour", "hr", "h"], 3_600_000_000),
    (&["days", "day", "d"], 86_400_000_000),
    (&["weeks", "week", "w"], 604_800_000_000),
    (&["years", "year", "y"], 31_557_600_000_000),
    (&["usec", "us", "µs", "μs"], 1),
    (&["nsec", "ns"], 0),
];

/// A span of time in microseconds: `30`, `2min`, `1h 5s`, `1.5h` (systemd.time(7)); a bare number is in units of `bare`.
pub fn span(text: &str, bare: u64) -> Option<u64> {
    let mut rest = text.trim();
    let mut sum = 0_u64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        rest = unsigned(rest);
        let after = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        let digits = rest.get(..rest.len() - after.len())?;
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => {
                let left = after.trim_start_matches(|c: char| c.is_ascii_digit());
                (after.get(..after.len() - left.len())?, left)
            }
            None => ("", after),
        };
        if digits.is_empty() && fraction.is_empty() {
            return None;
        }
        let after = after.trim_start();
        let letters = after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len());
        let (unit, left) = after.split_at_checked(letters)?;
        let factor = match SPANS.iter().find(|(words, _)| words.contains(&unit)) {
            Some((_, factor)) => *factor,
            None if unit.is_empty() => bare,
            None => return None,
        };
        let whole = if digits.is_empty() { 0 } else { digits.parse::<u64>().ok()? };
        sum = sum.checked_add(whole.checked_mul(factor)?)?;
        let mut tenth = factor / 10;
        for digit in fraction.bytes() {
            sum = sum.checked_add(u64::from(digit.saturating_sub(b'0')).checked_mul(tenth)?)?;
            tenth /= 10;
        }
        rest = left.trim_start();
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_units() {
        let [nofile, _, core, ..] = ALL;
        let named = |name: &str| ALL.into_iter().find(|one| one.name == name).unwrap();
        assert_eq!(of_unit(&nofile, b"infinity"), Some((None, None)));
        assert_eq!(of_unit(&nofile, b"1024:524288"), Some((Some(1024), Some(524_288))));
        for wrong in
            ["unlimited", "64K", "10:5", "-1", "", "infinity:5", "5000 # why", "\"5000\"", "1e4", "5 000", ":9", "9:"]
        {
            assert_eq!(of_unit(&nofile, wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(of_unit(&core, b"64K:infinity"), Some((Some(65_536), None)));
        for wrong in ["64KB", "64m", "64KiB", "1M1G", "M", "99999999999999999999"] {
            assert_eq!(of_unit(&core, wrong.as_bytes()), None, "{wrong}");
        }
        for (text, value) in [
            ("1.5G", 1_610_612_736),
            ("1G512M", 1_610_612_736),
            ("64 M", 67_108_864),
            ("7B", 7),
            ("+7K", 7168),
            ("1.25K", 1280),
        ] {
            assert_eq!(of_unit(&core, text.as_bytes()), Some((Some(value), Some(value))), "{text}");
        }
        for (text, value) in [("0x1000", 4096), ("010", 8), ("0b11", 3), ("+5", 5), ("1:2:3", 1)] {
            assert_eq!(of_unit(&nofile, text.as_bytes()).and_then(|pair| pair.0), Some(value), "{text}");
        }
        assert_eq!(of_unit(&named("cpu"), b"1.5h"), Some((Some(5400), Some(5400))));
        assert_eq!(of_unit(&named("cpu"), b"1week"), Some((Some(604_800), Some(604_800))));
        assert_eq!(of_unit(&named("cpu"), b"1min 30s"), Some((Some(90), Some(90))));
        assert_eq!(of_unit(&named("nice"), b"-5"), Some((Some(25), Some(25))));
        assert_eq!(of_unit(&named("rttime"), b"5ms"), Some((Some(5000), Some(5000))));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, text: String) {
            for one in &ALL {
                let _ = (of_unit(one, &bytes), of_unit(one, text.as_bytes()));
            }
        }
    }
}
