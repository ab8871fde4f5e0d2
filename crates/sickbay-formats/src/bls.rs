//! Boot loader entries: the files of /boot/loader/entries (the Boot Loader Specification, as `blscfg` reads it).

use std::cmp::Ordering;
use std::ops::Range;

use bstr::BString;

use crate::lines::{self, lines};

/// A line of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// `title`, `version`, `linux`, `initrd`, `options` …
    pub key: BString,
    /// The rest of the line without blanks around it.
    pub value: BString,
    /// The bytes of the value in the file.
    pub range: Range<usize>,
}

/// The lines of an entry that are no comments.
pub fn fields(text: &[u8]) -> Vec<Field> {
    let mut all = Vec::new();
    let mut at = 0;
    for line in lines(text) {
        let start = at;
        at += line.text.len() + line.end.len();
        let key_at = line.text.len() - line.text.trim_ascii_start().len();
        let content = line.text.trim_ascii();
        if content.is_empty() || content.starts_with(b"#") {
            continue;
        }
        let length = content.iter().position(|byte| matches!(byte, b' ' | b'\t')).unwrap_or(content.len());
        let (key, rest) = content.split_at(length);
        let value = rest.trim_ascii_start();
        let from = start + key_at + content.len() - value.len();
        all.push(Field { key: key.into(), value: value.into(), range: from..from + value.len() });
    }
    all
}

/// The text of an entry.
pub fn write(title: &str, version: &str, linux: &str, initrd: Option<&str>, options: &str) -> String {
    let mut out = format!("title {title}\nversion {version}\nlinux {linux}\n");
    if let Some(initrd) = initrd {
        out.push_str(&format!("initrd {initrd}\n"));
    }
    out.push_str(&format!("options {options}\ngrub_users $grub_users\ngrub_arg --unrestricted\ngrub_class kernel\n"));
    out
}

/// Compares versions the way kernels are ordered: by runs of digits and of letters, digits by value, numbers newer than
/// letters, `~` older than the end (the rule of rpm, which `blscfg` uses too).
pub fn compare_versions(left: &[u8], right: &[u8]) -> Ordering {
    let (mut left, mut right) = (left, right);
    loop {
        let skip = |text: &mut &[u8]| {
            let count = text.iter().take_while(|byte| !byte.is_ascii_alphanumeric() && **byte != b'~').count();
            *text = text.get(count..).unwrap_or_default();
        };
        skip(&mut left);
        skip(&mut right);
        match (left.first(), right.first()) {
            (None, None) => return Ordering::Equal,
            (Some(b'~'), Some(b'~')) => {
                left = left.get(1..).unwrap_or_default();
                right = right.get(1..).unwrap_or_default();
            }
            (Some(b'~'), _) => return Ordering::Less,
            (_, Some(b'~')) => return Ordering::Greater,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(l), Some(r)) => {
                let (l, r) = (l.is_ascii_digit(), r.is_ascii_digit());
                if l != r {
                    return if l { Ordering::Greater } else { Ordering::Less };
                }
                let run = |text: &[u8]| {
                    text.iter()
                        .take_while(|byte| if l { byte.is_ascii_digit() } else { byte.is_ascii_alphabetic() })
                        .count()
                };
                let (a, rest_a) = left.split_at(run(left));
                let (b, rest_b) = right.split_at(run(right));
                let order = if l {
                    let value = |text: &[u8]| text.iter().skip_while(|&&byte| byte == b'0').count();
                    let digits = |text| -> BString {
                        <[u8]>::iter(text).copied().skip_while(|&byte| byte == b'0').collect::<Vec<u8>>().into()
                    };
                    value(a).cmp(&value(b)).then_with(|| digits(a).cmp(&digits(b)))
                } else {
                    a.cmp(b)
                };
                if order != Ordering::Equal {
                    return order;
                }
                left = rest_a;
                right = rest_b;
            }
        }
    }
}

/// The words of a value with their bytes in the file.
pub fn words(field: &Field) -> Vec<(BString, Range<usize>)> {
    let value = |range: &Range<usize>| field.value.get(range.clone()).unwrap_or_default().into();
    let moved = |range: Range<usize>| field.range.start + range.start..field.range.start + range.end;
    lines::words(&field.value).map(|range| (value(&range), moved(range))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read() {
        let text = b"title Red Hat Enterprise Linux (4.18.0-80.el8.x86_64) 8.0\nversion 4.18.0-80.el8.x86_64\n\
            linux /vmlinuz-4.18.0-80.el8.x86_64\n# comment\n  options\t$kernelopts $tuned_params \n";
        let all = fields(text);
        assert_eq!(all.len(), 4);
        assert_eq!(all[3].value, "$kernelopts $tuned_params");
        assert_eq!(text.get(all[3].range.clone()), Some(&b"$kernelopts $tuned_params"[..]));
        let all = fields(write("a b", "1", "/vmlinuz-1", Some("/i.img"), "root=/dev/vda1 ro").as_bytes());
        assert_eq!(all.iter().find(|field| field.key == "initrd").unwrap().value, "/i.img");
        assert_eq!(words(&all[4])[1].0, "ro");
    }

    #[test]
    fn versions_are_ordered() {
        let ordered = [
            "2.6.32-642.el6.x86_64",
            "2.6.32-696.3.2.el6.x86_64",
            "4.18.0-80.el8.x86_64",
            "4.18.0-305.3.1.el8.x86_64",
            "4.18.0-305.10.2.el8_4.x86_64",
            "5.10.0-9-amd64",
            "5.10.0-10-amd64",
            "6.1.0-55-cloud-amd64",
            "6.1.0-56-cloud-amd64",
            "6.8.0~rc1-1",
            "6.8.0-1",
        ];
        for pair in ordered.windows(2) {
            assert_eq!(compare_versions(pair[0].as_bytes(), pair[1].as_bytes()), Ordering::Less, "{pair:?}");
            assert_eq!(compare_versions(pair[1].as_bytes(), pair[0].as_bytes()), Ordering::Greater, "{pair:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn values_stand_where_they_say(text in "[a-z#$ \t\r\n]{0,80}") {
            for field in fields(text.as_bytes()) {
                proptest::prop_assert_eq!(text.as_bytes().get(field.range.clone()), Some(field.value.as_slice()));
            }
        }

        #[test]
        fn versions_have_an_order(a in "[0-9a-c.~-]{0,8}", b in "[0-9a-c.~-]{0,8}", c in "[0-9a-c.~-]{0,8}") {
            let order = |x: &String, y: &String| compare_versions(x.as_bytes(), y.as_bytes());
            proptest::prop_assert_eq!(order(&a, &b), order(&b, &a).reverse());
            if order(&a, &b) == Ordering::Less && order(&b, &c) == Ordering::Less {
                proptest::prop_assert_eq!(order(&a, &c), Ordering::Less);
            }
        }
    }
}
