//! Sizes and times as people write them.

use std::time::Duration;

use super::Failure;
use crate::model::text::Lang;
use crate::tr;

/// `16G`, in KiB.
pub(super) fn kibibytes(text: &str) -> Result<u64, String> {
    // Without a letter they are MiB, as of `boot --memory`.
    let plain = text.parse::<u32>().ok().map(|mib| u64::from(mib) << 10);
    let known = plain.or_else(|| super::record::bytes(text).map(|bytes| bytes >> 10)).filter(|kib| *kib > 0);
    known.ok_or_else(|| tr!("{text} is not a size: 512M, 16G", text).render(Lang::from_environment()))
}

/// A time as people write it: `10s`, `2m`, `1h`, `1.5`; seconds without a letter, a day at most.
pub(super) fn duration(text: &str) -> Result<Duration, Failure> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor = match unit {
        "" | "s" => Some(1.0),
        "m" | "min" => Some(60.0),
        "h" => Some(3600.0),
        _ => None,
    };
    let seconds = number.parse::<f64>().ok().zip(factor).map(|(number, factor)| number * factor);
    let known = seconds.filter(|seconds| (0.0..=86_400.0).contains(seconds));
    known
        .map(Duration::from_secs_f64)
        .ok_or_else(|| Failure(tr!("{text} is not a time: 10s, 2m, 1h, a day at most", text)))
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn times_as_people_write_them() {
        let seconds = |text: &str| duration(text).ok().map(|time| time.as_secs_f64());
        assert_eq!(
            (seconds("10s"), seconds("2m"), seconds("1.5"), seconds("0")),
            (Some(10.0), Some(120.0), Some(1.5), Some(0.0))
        );
        for wrong in ["", "s", "-1", "10x", "1e9", "25h", "NaN", "1..2", "é"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }
}
