//! The Reed-Solomon codes that protect GRUB's core image.
//!
//! Bytes are numbers of GF(2⁸) modulo x⁸+x⁴+x³+x²+1. Data and codes are each cut into 512 columns, the n-th byte of every
//! sector; a column with r code bytes is divided by (x-1)(x-2)(x-2²)…(x-2^(r-1)), and the remainder is its codes. So a
//! sector that is lost costs each column one byte, and r codes restore r/2 bytes. Data and codes of more than 100 KiB are
//! cut into parts first.

/// Columns: one for each byte of a sector.
const COLUMNS: usize = 512;
/// Sectors of data and codes that a part has at most.
const PART: usize = 200;

/// Powers of 2, and the exponent of each number.
struct Field {
    power: [u8; 510],
    exponent: [usize; 256],
}

impl Field {
    fn new() -> Field {
        let mut field = Field { power: [0; 510], exponent: [0; 256] };
        let mut number = 1_u16;
        for at in 0..255 {
            field.power[at] = number as u8;
            field.power[at + 255] = number as u8;
            field.exponent[usize::from(number)] = at;
            number <<= 1;
            if number > 0xFF {
                number ^= 0x11D;
            }
        }
        field
    }

    fn product(&self, one: u8, other: u8) -> u8 {
        if one == 0 || other == 0 {
            return 0;
        }
        let sum = self.exponent[usize::from(one)] + self.exponent[usize::from(other)];
        self.power.get(sum).copied().unwrap_or_default()
    }

    /// What is divided by for `codes` code bytes, without its first coefficient, which is 1.
    fn divisor(&self, codes: usize) -> Vec<u8> {
        let mut divisor = vec![1];
        for root in 0..codes {
            let root = self.power.get(root % 255).copied().unwrap_or_default();
            let mut next = divisor.clone();
            next.push(0);
            for (to, from) in next.iter_mut().skip(1).zip(&divisor) {
                *to ^= self.product(*from, root);
            }
            divisor = next;
        }
        divisor.remove(0);
        divisor
    }

    /// The code bytes of one column.
    fn remainder(&self, data: impl Iterator<Item = u8>, divisor: &[u8]) -> Vec<u8> {
        let mut remainder = std::collections::VecDeque::from(vec![0; divisor.len()]);
        for byte in data {
            let factor = byte ^ remainder.pop_front().unwrap_or_default();
            remainder.push_back(0);
            for (to, coefficient) in remainder.iter_mut().zip(divisor) {
                *to ^= self.product(*coefficient, factor);
            }
        }
        remainder.into()
    }
}

/// The lengths of data and codes in each part.
fn parts(mut data: usize, mut codes: usize) -> Vec<(usize, usize)> {
    let mut parts = Vec::new();
    while data > 0 {
        let all = data + codes;
        let (of_data, of_codes) = if all > PART * COLUMNS {
            // In the ratio of the whole, in whole sectors.
            (data * PART / all * COLUMNS, codes * PART / all * COLUMNS)
        } else {
            (data, codes)
        };
        if of_data == 0 {
            break;
        }
        parts.push((of_data, of_codes));
        data -= of_data;
        codes -= of_codes;
    }
    parts
}

/// `length` bytes of codes for `data`.
pub fn redundancy(data: &[u8], length: usize) -> Vec<u8> {
    let field = Field::new();
    let mut codes = vec![0; length];
    let (mut data, mut rest) = (data, codes.as_mut_slice());
    for (of_data, of_codes) in parts(data.len(), length) {
        let (Some((part, after)), Some((here, left))) =
            (data.split_at_checked(of_data), rest.split_at_mut_checked(of_codes))
        else {
            break;
        };
        (data, rest) = (after, left);
        let mut divisor = Vec::new();
        for column in 0..COLUMNS.min(part.len()).min(here.len()) {
            let count = here.len().saturating_sub(column).div_ceil(COLUMNS);
            if divisor.len() != count {
                divisor = field.divisor(count);
            }
            let remainder = field.remainder(part.iter().skip(column).step_by(COLUMNS).copied(), &divisor);
            for (to, code) in here.iter_mut().skip(column).step_by(COLUMNS).zip(remainder) {
                *to = code;
            }
        }
    }
    codes
}

/// Whether the codes restore `data` from what was found of both.
pub fn is_restorable(data: &[u8], found: &[u8], codes: &[u8], found_codes: &[u8]) -> bool {
    let mut at = (0, 0);
    parts(data.len(), codes.len()).into_iter().all(|(of_data, of_codes)| {
        let cut =
            |bytes: &[u8], from: usize, length: usize| bytes.get(from..from + length).unwrap_or_default().to_vec();
        let (is, was) = (cut(found, at.0, of_data), cut(data, at.0, of_data));
        let (codes_are, codes_were) = (cut(found_codes, at.1, of_codes), cut(codes, at.1, of_codes));
        at = (at.0 + of_data, at.1 + of_codes);
        (0..COLUMNS).all(|column| {
            let wrong = |is: &[u8], was: &[u8]| {
                let column = |bytes: &[u8]| bytes.iter().skip(column).step_by(COLUMNS).copied().collect::<Vec<u8>>();
                column(is).iter().zip(column(was)).filter(|(is, was)| **is != *was).count()
            };
            let count = codes_were.len().saturating_sub(column).div_ceil(COLUMNS);
            wrong(&is, &was) + wrong(&codes_are, &codes_were) <= count / 2
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value of a column, data before codes, at a power of 2.
    fn value(field: &Field, column: &[u8], power: usize) -> u8 {
        column.iter().fold(0, |sum, byte| field.product(sum, field.power[power % 255]) ^ byte)
    }

    #[test]
    fn known_answers() {
        // One code byte is the sum of all, for (x-1) divides only what is 0 at 1.
        let data: Vec<u8> = (0..3 * COLUMNS).map(|n| (n % 7) as u8).collect();
        let codes = redundancy(&data, COLUMNS);
        assert!((0..COLUMNS).all(|n| codes[n] == data[n] ^ data[n + COLUMNS] ^ data[n + 2 * COLUMNS]));
        // More than a part has: cut in the ratio of the whole.
        assert_eq!(parts(60 << 10, 60 << 10), [(51200, 51200), (10240, 10240)]);
    }

    proptest::proptest! {
        #[test]
        fn every_column_is_zero_at_every_root(data in proptest::collection::vec(proptest::num::u8::ANY, 1..5000), length in 0_usize..6000) {
            let codes = redundancy(&data, length);
            proptest::prop_assert_eq!(codes.len(), length);
            let field = Field::new();
            for column in 0..COLUMNS.min(data.len()) {
                let count = length.saturating_sub(column).div_ceil(COLUMNS);
                let whole: Vec<u8> = data.iter().skip(column).step_by(COLUMNS)
                    .chain(codes.iter().skip(column).step_by(COLUMNS)).copied().collect();
                for root in 0..count {
                    proptest::prop_assert_eq!(value(&field, &whole, root), 0);
                }
            }
        }

        #[test]
        fn never_panics(data: Vec<u8>, found: Vec<u8>, codes: Vec<u8>, length in 0_usize..3000) {
            let _ = (redundancy(&data, length), is_restorable(&data, &found, &codes, &found));
        }
    }
}
