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
    // `LimitNICE=+5:-5` has signs, a span of time may have blanks.
    let (soft, hard) = text.split_once(':').unwrap_or((text, text));
    let pair = (one(resource.measure, soft)?, one(resource.measure, hard)?);
    let above = match pair {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(soft), Some(hard)) => soft > hard,
    };
    (!above).then_some(pair)
}

fn one(measure: Measure, text: &str) -> Option<Option<u64>> {
    let text = text.trim();
    if text == "infinity" {
        return Some(None);
    }
    let value = match measure {
        Measure::Count => text.parse().ok()?,
        Measure::Bytes => bytes(text)?,
        Measure::Seconds => span(text, 1_000_000)?.div_ceil(1_000_000),
        Measure::Microseconds => span(text, 1)?,
        // With a sign it is a nice value, without one it is the limit itself (rlimit_parse_nice() of systemd).
        Measure::Nice => match text.strip_prefix('+').or(text.strip_prefix('-').map(|_| text)) {
            Some(nice) => {
                u64::try_from(20 - nice.parse::<i64>().ok().filter(|nice| (-20..=19).contains(nice))?).ok()?
            }
            None => text.parse().ok().filter(|raw| (1..=40).contains(raw))?,
        },
    };
    Some(Some(value))
}

/// `64K`, `1.5G`, powers of 1024 (systemd.syntax(7)).
fn bytes(text: &str) -> Option<u64> {
    let is_plain = |c: char| c.is_ascii_digit() || c == '.';
    let unit = text.trim_start_matches(is_plain).trim();
    if text.starts_with(is_plain) && matches!(unit, "" | "B" | "K" | "M" | "G" | "T") {
        return crate::procfs::size(text);
    }
    None
}

/// A span of time in microseconds: `30`, `2min`, `1h 5s` (systemd.time(7)); a bare number is in units of `bare`.
pub fn span(text: &str, bare: u64) -> Option<u64> {
    let mut rest = text.trim();
    let mut sum = 0_u64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, after) = rest.split_at_checked(digits)?;
        let after = after.trim_start();
        let letters = after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len());
        let (unit, left) = after.split_at_checked(letters)?;
        let factor = match unit {
            "" => bare,
            "us" | "usec" | "µs" => 1,
            "ms" | "msec" => 1000,
            "s" | "sec" | "second" | "seconds" => 1_000_000,
            "m" | "min" | "minute" | "minutes" => 60_000_000,
            "h" | "hr" | "hour" | "hours" => 3_600_000_000,
            "d" | "day" | "days" => 86_400_000_000,
            _ => return None,
        };
        sum = sum.checked_add(number.parse::<u64>().ok()?.checked_mul(factor)?)?;
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
        for wrong in ["unlimited", "64K", "10:5", "-1", "", "infinity:5"] {
            assert_eq!(of_unit(&nofile, wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(of_unit(&core, b"64K:infinity"), Some((Some(65_536), None)));
        assert_eq!(of_unit(&core, b"64KB"), None);
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
