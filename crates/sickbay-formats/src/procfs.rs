//! Files of `/proc`, `/sys` and cgroups that a running kernel writes: proc(5), and the kernel's
//! Documentation/filesystems/proc.rst.

pub mod cgroup;
pub mod diskstats;
pub mod fd_info;
pub mod fields;
pub mod interrupts;
pub mod limits;
pub mod loadavg;
pub mod mib;
pub mod mountinfo;
pub mod net_dev;
pub mod pressure;
pub mod schedstat;
pub mod slabinfo;
pub mod sockstat;
pub mod softnet;
pub mod stack;
pub mod stat;
pub mod task;
pub mod task_io;
pub mod zoneinfo;

use bstr::ByteSlice;

/// The words of a text, whatever white space is between them.
fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// All numbers of a text in their order, whatever stands between them: `/proc/sys/fs/dentry-state`, `file-nr`,
/// `/proc/PID/statm`, zram's `mm_stat`. A word that is no number ends the list.
pub fn numbers(text: &[u8]) -> Vec<u64> {
    words(text).map_while(|word| word.to_str().ok()?.parse().ok()).collect()
}

/// A whole number and nothing else. Without a detour by way of text: it is asked for some fifty times a thread.
fn digits(word: &[u8]) -> Option<u64> {
    if word.is_empty() {
        return None;
    }
    word.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// `12.34` as hundredths, which is what the kernel prints: 1234.
fn hundredths(word: &[u8]) -> Option<u64> {
    let (whole, part) = word.split_at_checked(word.iter().position(|byte| *byte == b'.')?)?;
    let part = part.get(1..).filter(|part| part.len() == 2)?;
    digits(whole)?.checked_mul(100)?.checked_add(digits(part)?)
}

/// The one number of a file: a kernel parameter, `memory.max`. `None` for `max` and whatever else is no number.
pub fn number(text: &[u8]) -> Option<u64> {
    numbers(text).first().copied()
}

/// The leading two numbers of a kernel's release: `5.10.0-8-amd64` is (5, 10).
pub fn kernel_version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

/// A memory size as people write it: `4G`, `512m`, `4294967296`, `1.5GiB`, `64 kB`, in bytes. A letter stands for
/// powers of 1024, as in Java's options and systemd's.
pub fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return None,
    };
    match number.parse::<u64>() {
        Ok(whole) => whole.checked_mul(1 << shift),
        Err(_) => {
            let value = number.parse::<f64>().ok()?
                * f64::from(1_u32 << (shift % 32))
                * if shift >= 32 { 4294967296.0 } else { 1.0 };
            (value.is_finite() && value < u64::MAX as f64).then_some(value as u64)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_people_and_kernels() {
        assert_eq!(numbers(b"122339\t120645 45 0\n"), [122_339, 120_645, 45, 0]);
        assert_eq!((number(b"max\n"), number(b" 7\n"), number(b"")), (None, Some(7), None));
        assert_eq!(kernel_version("3.10.0-693.2.2.el7.x86_64"), Some((3, 10)));
        assert_eq!(kernel_version("6.18.44-fc-v669"), Some((6, 18)));
        assert_eq!(kernel_version("Linux"), None);
        let sizes = ["4G", "4096m", "4 GiB", "4294967296"].map(size);
        assert!(sizes.iter().all(|size| *size == Some(4 << 30)), "{sizes:?}");
        assert_eq!((size("1.5k"), size("0.5T"), size("4X"), size("")), (Some(1536), Some(1 << 39), None, None));
        assert_eq!((size("99999999999G"), size("1..2G"), size("é")), (None, None, None));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, text: String) {
            let _ = (numbers(&bytes), number(&bytes), kernel_version(&text), size(&text));
        }
    }
}
