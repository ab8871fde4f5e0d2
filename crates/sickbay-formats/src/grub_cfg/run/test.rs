//! The command `[`, as far as configurations use it.

use bstr::{BStr, ByteSlice};

/// Whether the words between the brackets hold. `-a` and `-o` have no precedence in GRUB; neither here.
pub(super) fn holds(words: &[&BStr], size: &dyn Fn(&BStr) -> Option<u64>) -> bool {
    let mut words = words;
    let mut result = true;
    let mut operator = b'a';
    while !words.is_empty() {
        let (value, used) = term(words, size);
        result = if operator == b'a' { result && value } else { result || value };
        words = words.get(used..).unwrap_or_default();
        match words.first().map(|word| word.as_bytes()) {
            Some(b"-o") => operator = b'o',
            Some(b"-a") => operator = b'a',
            _ => return result,
        }
        words = words.get(1..).unwrap_or_default();
    }
    result && operator == b'a'
}

/// The first term, and how many words it takes.
fn term(words: &[&BStr], size: &dyn Fn(&BStr) -> Option<u64>) -> (bool, usize) {
    match words {
        [not, rest @ ..] if *not == "!" && !rest.is_empty() => {
            let (value, used) = term(rest, size);
            (!value, used + 1)
        }
        [left, operator, right, ..] if compare(left, operator, right).is_some() => {
            (compare(left, operator, right).unwrap_or(false), 3)
        }
        [operator, word, ..] if matches!(operator.as_bytes(), b"-n" | b"-z" | b"-e" | b"-f" | b"-s" | b"-d") => {
            let value = match operator.as_bytes() {
                b"-n" => !word.is_empty(),
                b"-z" => word.is_empty(),
                b"-s" => size(word).is_some_and(|size| size > 0),
                _ => size(word).is_some(),
            };
            (value, 2)
        }
        // A test of a variable that is not set: the word after the operator is gone.
        [operator] if *operator == "-z" => (true, 1),
        [operator] if *operator == "-n" => (false, 1),
        [word, ..] => (!word.is_empty(), 1),
        [] => (false, 0),
    }
}

fn compare(left: &BStr, operator: &BStr, right: &BStr) -> Option<bool> {
    let numbers = || -> (i64, i64) {
        let number = |text: &BStr| text.to_str().ok().and_then(|text| text.parse().ok()).unwrap_or(0);
        (number(left), number(right))
    };
    Some(match operator.as_bytes() {
        b"=" | b"==" => left == right,
        b"!=" => left != right,
        b"<" => left < right,
        b">" => left > right,
        b"-eq" => numbers().0 == numbers().1,
        b"-ne" => numbers().0 != numbers().1,
        b"-lt" => numbers().0 < numbers().1,
        b"-gt" => numbers().0 > numbers().1,
        b"-le" => numbers().0 <= numbers().1,
        b"-ge" => numbers().0 >= numbers().1,
        _ => return None,
    })
}
