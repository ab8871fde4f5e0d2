//! limits.conf(5) as pam_limits reads it (Linux-PAM, modules/pam_limits/pam_limits.c, `parse_config_file`): up to four words a line.

use bstr::{BString, ByteSlice};

use crate::lines::{Line as TextLine, lines, words};
use crate::span::Span;

/// Every item that pam_limits knows. `chroot` is Debian's.
pub const ITEMS: [&str; 21] = [
    "cpu",
    "fsize",
    "data",
    "stack",
    "core",
    "rss",
    "nproc",
    "nofile",
    "memlock",
    "as",
    "locks",
    "sigpending",
    "msgqueue",
    "nice",
    "rtprio",
    "rttime",
    "priority",
    "maxlogins",
    "maxsyslogins",
    "nonewprivs",
    "chroot",
];

/// Items that are limits of the kernel's in KiB.
const KIB: [&str; 7] = ["fsize", "data", "stack", "core", "rss", "memlock", "as"];

/// Which of the two limits a line sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// `soft`
    Soft,
    /// `hard`
    Hard,
    /// `-`: both.
    Both,
}

/// Whom a line is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Domain {
    /// A user by name.
    User(String),
    /// `@group`: every member of it.
    Group(String),
    /// `*`
    Everybody,
    /// `min:max` of user numbers.
    Numbers(Range),
    /// `@min:max` of group numbers.
    GroupNumbers(Range),
    /// `%…`, which is only for `maxlogins`, or a range that cannot be read.
    Other,
}

/// `min:max`, `min:`, `:number`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// `:number`: this one only.
    Only(u32),
    /// From the first to the last, or without an end.
    From(u32, Option<u32>),
}

impl Range {
    fn of(text: &[u8]) -> Option<Range> {
        let (least, most) = text.to_str().ok()?.split_once(':')?;
        let most = if most.is_empty() { None } else { Some(most.parse().ok()?) };
        match (least, most) {
            ("", most) => Some(Range::Only(most?)),
            (least, most) => Some(Range::From(least.parse().ok()?, most)),
        }
    }

    fn has(self, number: u32) -> bool {
        match self {
            Range::Only(only) => only == number,
            Range::From(least, most) => number >= least && most.is_none_or(|most| number <= most),
        }
    }
}

/// A user, as far as a line may be about one.
#[derive(Clone, Copy, Debug)]
pub struct Account<'a> {
    /// The name.
    pub name: &'a str,
    /// The number.
    pub uid: u32,
    /// The number of the first group.
    pub gid: u32,
    /// The names of all groups.
    pub groups: &'a [String],
    /// The numbers of all groups.
    pub gids: &'a [u32],
}

/// Why pam_limits passes over a line, with no word but in its own log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It has one word, two or three.
    Words,
    /// The second word is no type: `soft`, `hard`, `-`.
    Type,
    /// The third word is no item.
    Item,
    /// The fourth word does not begin as a number and is no word for "no limit".
    Value,
}

/// What a line sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Whom.
    pub domain: Domain,
    /// Which of the two.
    pub kind: Type,
    /// What, in lower case: `nofile`.
    pub item: String,
    /// As it is written; `None` where the line is `DOMAIN -`, which lifts every limit for it.
    pub value: Option<i128>,
    /// Whether the value means "no limit".
    pub unlimited: bool,
    /// Behind its number the value goes on, which is not read: `64k`, `65,536`.
    pub rest: Option<BString>,
}

/// A line that has something in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The whole line.
    pub span: Span,
    /// Its last word, or the one that is wrong.
    pub word: Span,
    /// What it sets, or why it sets nothing.
    pub says: Result<Entry, Fault>,
}

impl Entry {
    /// The limit in the kernel's unit (bytes, seconds, files, processes); `None` for no limit.
    pub fn limit(&self) -> Option<u64> {
        if self.unlimited {
            return None;
        }
        // strtoull(3) takes a sign, and counts from the other end.
        let value = u64::try_from(self.value?.rem_euclid(1 << 64)).unwrap_or(u64::MAX);
        let times = |factor: u64| if value >= u64::MAX / factor { u64::MAX } else { value * factor };
        let limit = match self.item.as_str() {
            item if KIB.contains(&item) => times(1024),
            "cpu" => times(60),
            // getrlimit(2): a nice value of 19 is a limit of 1, one of -20 is a limit of 40.
            "nice" => u64::try_from(20 - self.value?.clamp(-20, 19)).unwrap_or(0),
            _ => value,
        };
        // The largest number is what the kernel calls infinity.
        (limit != u64::MAX).then_some(limit)
    }

    /// Whether the line is `DOMAIN -`: pam_limits then sets nothing at all for whom it is about.
    pub fn lifts_all(&self) -> bool {
        self.item.is_empty()
    }

    /// Whether it sets the soft limit.
    pub fn is_soft(&self) -> bool {
        self.kind != Type::Hard
    }

    /// Whether it sets the hard limit.
    pub fn is_hard(&self) -> bool {
        self.kind != Type::Soft
    }

    /// How near it is to a user, nearer being smaller (`LIMITS_DEF_USER` …); `None` where it is not about the user. On Debian groups
    /// and `*` do not hold for root (its patch of pam_limits; its limits.conf(5) says so), but ranges of numbers do.
    pub fn distance(&self, user: Account<'_>, debian: bool) -> Option<usize> {
        let spared = debian && user.uid == 0;
        match &self.domain {
            Domain::User(name) => (name == user.name).then_some(0),
            // `DOMAIN -` is for users, groups and ranges only.
            Domain::Everybody if self.lifts_all() => None,
            // Whoever is spared from groups is compared as a user.
            Domain::GroupNumbers(range) if spared && !self.lifts_all() => range.has(user.uid).then_some(0),
            Domain::Group(_) | Domain::Everybody if spared && !self.lifts_all() => None,
            Domain::Group(name) => user.groups.contains(name).then_some(1),
            Domain::Numbers(range) => range.has(user.uid).then_some(0),
            Domain::GroupNumbers(Range::Only(gid)) => user.gids.contains(gid).then_some(1),
            Domain::GroupNumbers(range) => range.has(user.gid).then_some(1),
            Domain::Everybody => Some(2),
            Domain::Other => None,
        }
    }
}

/// The lines that are neither blank nor comments.
pub fn parse(text: &[u8]) -> Vec<Line> {
    lines(text).filter_map(|line| one(&line)).collect()
}

fn one(line: &TextLine<'_>) -> Option<Line> {
    let text = line.text.split(|&byte| byte == b'#').next().unwrap_or_default();
    let at: Vec<_> = words(text).take(4).collect();
    let word = |index: usize| at.get(index).and_then(|range| text.get(range.clone())).unwrap_or_default();
    let first = at.first()?;
    let last = at.last()?;
    let span = line.span(first.start..last.end);
    let lower = |index: usize| word(index).to_ascii_lowercase();
    let of = |index: usize, says| {
        let range = at.get(index).unwrap_or(last).clone();
        Some(Line { span, word: line.span(range), says })
    };
    let domain = domain(word(0));
    let kind = match lower(1).as_slice() {
        b"soft" => Some(Type::Soft),
        b"hard" => Some(Type::Hard),
        b"-" => Some(Type::Both),
        _ => None,
    };
    if at.len() == 2 && kind == Some(Type::Both) {
        let entry = Entry { domain, kind: Type::Both, item: String::new(), value: None, unlimited: true, rest: None };
        return of(1, Ok(entry));
    }
    if at.len() < 4 {
        return of(at.len(), Err(Fault::Words));
    }
    let item = lower(2).to_str_lossy().into_owned();
    if !ITEMS.contains(&item.as_str()) {
        return of(2, Err(Fault::Item));
    }
    // What is counted at login has no two limits.
    let Some(kind) = kind.or_else(|| item.starts_with("max").then_some(Type::Both)) else {
        return of(1, Err(Fault::Type));
    };
    let (value, rest) = number(&lower(3));
    let unlimited = !matches!(item.as_str(), "priority" | "nice" | "chroot")
        && [&b"-1"[..], b"-", b"unlimited", b"infinity"].contains(&lower(3).as_slice());
    if value.is_none() && !unlimited && item != "chroot" {
        return of(3, Err(Fault::Value));
    }
    let rest = Some(rest).filter(|rest| !rest.is_empty() && !unlimited && item != "chroot");
    of(3, Ok(Entry { domain, kind, item, value, unlimited, rest }))
}

fn domain(word: &[u8]) -> Domain {
    let (group, name) = match word.strip_prefix(b"@") {
        Some(name) => (true, name),
        None => (false, word),
    };
    let text = || name.to_str_lossy().into_owned();
    match () {
        () if name.contains(&b':') && !name.starts_with(b"%") => match Range::of(name) {
            Some(range) if group => Domain::GroupNumbers(range),
            Some(range) => Domain::Numbers(range),
            None => Domain::Other,
        },
        () if name.starts_with(b"%") => Domain::Other,
        () if group => Domain::Group(text()),
        () if name == b"*" => Domain::Everybody,
        () => Domain::User(text()),
    }
}

/// A number as strtoull(3) reads it, and what it leaves.
fn number(word: &[u8]) -> (Option<i128>, BString) {
    let (sign, digits) = match word.first() {
        Some(b'-') => (-1, word.get(1..).unwrap_or_default()),
        Some(b'+') => (1, word.get(1..).unwrap_or_default()),
        _ => (1, word),
    };
    let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = digits.split_at(length);
    // What has more digits is as large as it can be.
    let value = digits.to_str().ok().filter(|digits| !digits.is_empty());
    let value = value.map(|digits| digits.parse::<u64>().map_or(i128::from(u64::MAX), i128::from) * sign);
    (value, rest.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(text: &str) -> Line {
        let mut all = parse(text.as_bytes());
        assert_eq!(all.len(), 1, "{text}");
        all.remove(0)
    }

    #[test]
    fn what_is_set() {
        let entry = only("root\tHard  NOFILE 65535 # as asked\n").says.unwrap();
        assert_eq!((entry.domain.clone(), entry.kind), (Domain::User("root".into()), Type::Hard));
        assert_eq!((entry.item.as_str(), entry.limit()), ("nofile", Some(65_535)));
        assert_eq!(only("* - memlock unlimited").says.unwrap().limit(), None);
        assert_eq!(only("* - memlock 64").says.unwrap().limit(), Some(65_536));
        assert_eq!(only("@audio - nice -11").says.unwrap().limit(), Some(31));
        assert_eq!(only("1000: - nproc 4").says.unwrap().domain, Domain::Numbers(Range::From(1000, None)));
        assert_eq!(only("x:y - nproc 4").says.unwrap().domain, Domain::Other);
        assert_eq!(only("%ops - nproc 4").says.unwrap().domain, Domain::Other);
        // One less than nothing is a very large number, one that is too large for KiB is none.
        assert_eq!(only("* - nproc -5").says.unwrap().limit(), Some(u64::MAX - 4));
        assert_eq!(only("* - memlock -5").says.unwrap().limit(), None);
        assert_eq!(only("* - nproc 99999999999999999999").says.unwrap().limit(), None);
        assert_eq!(only("oracle x maxlogins 4").says.unwrap().kind, Type::Both);
        assert!(only("ops -").says.unwrap().unlimited);
        let cut = only("* soft nofile 65,536").says.unwrap();
        assert_eq!((cut.limit(), cut.rest), (Some(65), Some(",536".into())));
    }

    #[test]
    fn what_does_nothing() {
        for (text, fault, column) in [
            ("* soft nofile", Fault::Words, 8),
            ("* soft nofile=65535", Fault::Words, 8),
            ("* both nofile 65535", Fault::Type, 3),
            ("* soft nofiles 65535", Fault::Item, 8),
            ("* soft nofile max", Fault::Value, 15),
            ("ulimit -n 65535", Fault::Words, 11),
        ] {
            let line = only(text);
            assert_eq!((line.says, line.word.column), (Err(fault), column), "{text}");
        }
        assert!(parse(b"# * soft core 0\n\n   \n").is_empty());
    }

    #[test]
    fn whom_it_is_about() {
        let groups = ["ops".to_owned()];
        let one = Account { name: "a", uid: 1001, gid: 7, groups: &groups, gids: &[7, 9] };
        let root = Account { name: "root", uid: 0, gid: 0, groups: &groups, gids: &[0] };
        let of = |text: &str, user, debian| only(text).says.unwrap().distance(user, debian);
        for (text, is_one, on_debian, elsewhere) in [
            ("* - nofile 9", Some(2), None, Some(2)),
            ("@ops - nofile 9", Some(1), None, Some(1)),
            ("a - nofile 9", Some(0), None, None),
            ("1001 - nofile 9", None, None, None),
            ("1000: - nofile 9", Some(0), None, None),
            ("0:2000 - nofile 9", Some(0), Some(0), Some(0)),
            (":1001 - nofile 9", Some(0), None, None),
            ("@:9 - nofile 9", Some(1), None, None),
            ("@8:9 - nofile 9", None, None, None),
            ("@7: - nofile 9", Some(1), None, None),
            ("@0: - nofile 9", Some(1), Some(0), Some(1)),
            ("%ops - nofile 9", None, None, None),
            ("* -", None, None, None),
            ("@ops -", Some(1), Some(1), Some(1)),
        ] {
            assert_eq!(
                (of(text, one, true), of(text, root, true), of(text, root, false)),
                (is_one, on_debian, elsewhere),
                "{text}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, text in "[*@a-z0-9:]{0,6} (soft|hard|-) [a-z]{0,8} [-0-9a-z]{0,30}") {
            for line in parse(&bytes).into_iter().chain(parse(text.as_bytes())) {
                let _ = line.says.map(|entry| entry.limit());
            }
        }
    }
}
