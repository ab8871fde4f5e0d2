//! /proc/mdstat (drivers/md/md.c, md_seq_show), and the ARRAY lines of mdadm.conf(5).

use bstr::ByteSlice;

use crate::lines;
use crate::span::Span;

/// An array of the running kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Array {
    /// `md0`
    pub name: String,
    /// `raid1`; empty while it is inactive.
    pub level: String,
    /// Whether it runs.
    pub active: bool,
    /// Devices that failed: `(F)`.
    pub failed: Vec<String>,
    /// How many devices it is made for, and how many work; `None` for what has no redundancy.
    pub devices: Option<(u32, u32)>,
    /// It is being rebuilt, reshaped or checked, or waits for that.
    pub busy: bool,
}

/// All arrays. Lines that say nothing of one are passed over.
pub fn arrays(text: &[u8]) -> Vec<Array> {
    let mut all: Vec<Array> = Vec::new();
    for line in text.lines() {
        let line = line.to_str_lossy();
        if !line.starts_with(' ') {
            if let Some((name, rest)) = line.split_once(" : ").filter(|(name, _)| name.starts_with("md")) {
                all.push(array(name, rest));
            }
            continue;
        }
        let Some(last) = all.last_mut() else { continue };
        // `      1046528 blocks super 1.2 [2/1] [U_]`
        for word in line.split_whitespace().filter(|_| line.contains(" blocks")) {
            let pair =
                word.strip_prefix('[').and_then(|word| word.strip_suffix(']')).and_then(|word| word.split_once('/'));
            if let Some((made, work)) = pair.and_then(|(made, work)| Some((made.parse().ok()?, work.parse().ok()?))) {
                last.devices = Some((made, work));
            }
        }
        last.busy |= ["recovery", "resync", "reshape", "check"].iter().any(|word| line.contains(&format!("{word} =")))
            || line.contains("=DELAYED")
            || line.contains("=PENDING");
    }
    all
}

fn array(name: &str, rest: &str) -> Array {
    let mut found = Array { name: name.trim().to_owned(), ..Array::default() };
    for word in rest.split_whitespace() {
        match word {
            "active" => found.active = true,
            "inactive" | "(auto-read-only)" | "(read-only)" | "broken" => {}
            _ if word.contains('[') => {
                let device = word.split('[').next().unwrap_or_default();
                if word.contains("(F)") {
                    found.failed.push(device.to_owned());
                }
            }
            _ if found.level.is_empty() => found.level = word.to_owned(),
            _ => {}
        }
    }
    found
}

/// A line `ARRAY` of mdadm.conf with a UUID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// `/dev/md0`, `/dev/md/data`, or a name alone.
    pub device: String,
    /// The UUID as 32 small hexadecimal digits.
    pub uuid: String,
    /// The bytes of the UUID in the file.
    pub range: std::ops::Range<usize>,
    /// The line.
    pub span: Span,
}

/// The ARRAY lines of mdadm.conf; a line that begins with a blank goes on with the one before it.
pub fn lines_of_config(text: &[u8]) -> Vec<Line> {
    let mut all = Vec::new();
    let mut device: Option<String> = None;
    let mut at = 0;
    for line in lines::lines(text) {
        let begin = at;
        at += line.text.len() + line.end.len();
        let goes_on = line.text.first().is_some_and(u8::is_ascii_whitespace);
        let words: Vec<_> = lines::words(line.text).collect();
        let word = |number: usize| words.get(number).and_then(|range| line.text.get(range.clone())).unwrap_or_default();
        if !goes_on && !line.text.is_empty() {
            device = word(0).eq_ignore_ascii_case(b"ARRAY").then(|| word(1).to_str_lossy().into_owned());
        }
        let Some(device) = &device else { continue };
        for range in &words {
            let value = line.text.get(range.clone()).unwrap_or_default();
            if value.starts_with(b"#") {
                break;
            }
            if value.len() < 6 || !value.get(..5).is_some_and(|key| key.eq_ignore_ascii_case(b"UUID=")) {
                continue;
            }
            let uuid = plain(value.get(5..).unwrap_or_default());
            if uuid.len() == 32 {
                let range = begin + range.start + 5..begin + range.end;
                all.push(Line { device: device.clone(), uuid, range, span: line.whole() });
            }
        }
    }
    all
}

/// A UUID without what stands between its digits.
pub fn plain(uuid: &[u8]) -> String {
    uuid.iter().filter(|byte| byte.is_ascii_hexdigit()).map(|byte| char::from(byte.to_ascii_lowercase())).collect()
}

/// As mdadm writes it: `aaaaaaaa:bbbbbbbb:cccccccc:dddddddd`.
pub fn in_mdadms_form(plain: &str) -> String {
    let parts: Vec<&str> = (0..4).filter_map(|part| plain.get(part * 8..part * 8 + 8)).collect();
    parts.join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_running_kernel() {
        let text = b"Personalities : [raid1] [raid6]\nmd0 : active raid1 sda1[0] sdb1[1](F)\n      1046528 blocks super 1.2 [2/1] [U_]\n      bitmap: 1/1 pages [4KB], 65536KB chunk\n\nmd127 : inactive sdc1[0](S)\n      1046528 blocks super 1.2\n\nmd1 : active (auto-read-only) raid5 sdd1[3] sde1[1]\n      4186112 blocks super 1.2 level 5, 512k chunk, algorithm 2 [3/2] [_UU]\n      [=>...................]  recovery =  5.4% (57024/1046528) finish=0.8min speed=19008K/sec\n\nunused devices: <none>\n";
        let all = arrays(text);
        assert_eq!(all.len(), 3);
        assert_eq!((all[0].name.as_str(), all[0].level.as_str(), all[0].devices), ("md0", "raid1", Some((2, 1))));
        assert!(all[0].active && !all[0].busy && all[0].failed == ["sdb1"]);
        assert!(!all[1].active && all[1].devices.is_none());
        assert!(all[2].busy && all[2].level == "raid5");
    }

    #[test]
    fn of_mdadm() {
        let text = b"# ARRAY /dev/md9 UUID=00000000:00000000:00000000:00000001\nDEVICE partitions\nARRAY /dev/md0 metadata=1.2\n  uuid=AAAAAAAA:bbbbbbbb:cccccccc:dddddddd # x\nARRAY <ignore> UUID=1\n";
        let all = lines_of_config(text);
        assert_eq!(all.len(), 1);
        assert_eq!((all[0].device.as_str(), all[0].uuid.as_str()), ("/dev/md0", "aaaaaaaabbbbbbbbccccccccdddddddd"));
        assert_eq!(&text[all[0].range.clone()], b"AAAAAAAA:bbbbbbbb:cccccccc:dddddddd");
        assert_eq!(in_mdadms_form(&all[0].uuid), "aaaaaaaa:bbbbbbbb:cccccccc:dddddddd");
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let text = [b"md0 : active raid1 [2/1]\n ARRAY a UUID=".as_slice(), &text].concat();
            proptest::prop_assert!(!arrays(&text).is_empty());
            for line in lines_of_config(&text) {
                proptest::prop_assert!(text.get(line.range).is_some());
            }
        }
    }
}
