//! What other programs collected of a running system over time: `sar`'s files, and what `iostat`, `pidstat`, `iotop`, `atop`,
//! `vmstat`, `top` and loops around `ps` print when they are left running.

pub mod sa;
pub mod text;

use bstr::{BString, ByteSlice};

/// The words of a line.
fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// A whole number and nothing else.
fn number<T: std::str::FromStr>(word: &[u8]) -> Option<T> {
    let text = word.to_str().ok().filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))?;
    text.parse().ok()
}

/// A number with a point, or a comma as other languages have it: `12.50`, `-1,00`.
fn decimal(word: &[u8]) -> Option<f64> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b',');
    let unsigned = word.strip_prefix(b"-").unwrap_or(word);
    let is_number = unsigned.first().is_some_and(u8::is_ascii_digit) && unsigned.iter().all(|byte| is_digit(*byte));
    let text = word.to_str().ok().filter(|_| is_number && word.len() < 32)?;
    text.replace(',', ".").parse().ok()
}

/// The nearest whole number; 0 of what is negative or no number.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the bounds that were looked at")]
pub fn rounded(value: f64) -> u64 {
    if (0.0..9e18).contains(&value) { value.round() as u64 } else { 0 }
}

#[allow(clippy::cast_precision_loss, reason = "seconds since 1970 have 31 bits")]
fn float(value: u64) -> f64 {
    value as f64
}

/// The name of the program in the first word of a command line: `/usr/bin/fio` is `fio`, `[kworker/0:1]` stays without its
/// brackets.
fn program(word: &[u8]) -> BString {
    if let Some(name) = word.strip_prefix(b"[") {
        return name.strip_suffix(b"]").unwrap_or(name).into();
    }
    let name = word.rsplit(|byte| *byte == b'/').next().filter(|name| !name.is_empty());
    let name = name.filter(|_| word.starts_with(b"/")).unwrap_or(word);
    name.strip_suffix(b":").unwrap_or(name).into()
}
