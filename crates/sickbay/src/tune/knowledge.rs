//! What is known of kernel parameters: one entry each, in the file of its part of the tree.
//!
//! Sources are given in short: a document of the kernel's, a commit, or `project#thread` for what it did to others.

mod filter;
mod memory;
mod network;
mod rarer;
mod system;
mod tcp;

use crate::model::text::Text;
use crate::tr;
use crate::tune::kernel::{EVER, Machine, Since};

/// What is said of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// To be taken.
    Ok,
    /// Is so without the line.
    Default,
    /// Does nothing, or not what it is set for.
    NoEffect,
    /// This kernel has no such parameter.
    Absent,
    /// Nothing is known of it.
    Unknown,
    /// To be taken with another value.
    Adapt,
    /// Harmful.
    Refuse,
    /// Not what the kernel or the module reads.
    Malformed,
}

/// What is said of a value, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// In a word.
    pub verdict: Verdict,
    /// The reason.
    pub message: Text,
    /// What to set instead.
    pub suggested: Option<String>,
    /// What speaks for it besides the sources of the parameter.
    pub sources: Vec<&'static str>,
}

impl Judgement {
    /// A verdict and its reason.
    pub fn new(verdict: Verdict, message: Text) -> Judgement {
        Judgement { verdict, message, suggested: None, sources: Vec::new() }
    }

    /// The same, with another value.
    pub fn with(self, suggested: impl ToString) -> Judgement {
        Judgement { suggested: Some(suggested.to_string()), ..self }
    }

    /// The same, with sources.
    pub fn from(self, sources: &[&'static str]) -> Judgement {
        Judgement { sources: sources.to_vec(), ..self }
    }
}

fn good(message: Text) -> Option<Judgement> {
    Some(Judgement::new(Verdict::Ok, message))
}

fn idle(message: Text) -> Option<Judgement> {
    Some(Judgement::new(Verdict::NoEffect, message))
}

fn adapt(message: Text, suggested: impl ToString) -> Option<Judgement> {
    Some(Judgement::new(Verdict::Adapt, message).with(suggested))
}

fn refuse(message: Text) -> Option<Judgement> {
    Some(Judgement::new(Verdict::Refuse, message))
}

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// So many numbers.
    Numbers(usize),
    /// Words, a path, a list of ports.
    Words,
}

/// What a value is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A switch, a mode, a plain number.
    Count,
    /// Bytes.
    Bytes,
    /// KiB.
    Kib,
    /// Pages of memory.
    Pages,
    /// Seconds.
    Seconds,
    /// Hundredths of a second.
    Centiseconds,
    /// Microseconds.
    Microseconds,
    /// Nanoseconds.
    Nanoseconds,
    /// Of a hundred.
    Percent,
}

impl Unit {
    /// The unit in words; empty for a plain number.
    pub fn name(self) -> Option<Text> {
        Some(match self {
            Unit::Count => return None,
            Unit::Bytes => tr!("bytes"),
            Unit::Kib => tr!("KiB"),
            Unit::Pages => tr!("pages"),
            Unit::Seconds => tr!("seconds"),
            Unit::Centiseconds => tr!("hundredths of a second"),
            Unit::Microseconds => tr!("microseconds"),
            Unit::Nanoseconds => tr!("nanoseconds"),
            Unit::Percent => tr!("percent"),
        })
    }
}

/// A default.
#[derive(Clone, Copy, Debug)]
pub enum Preset {
    /// The same on every machine.
    Is(&'static str),
    /// The kernel sizes it by the machine; `None` where that cannot be told.
    Sized(fn(&Machine) -> Option<u64>),
    /// It differs from build to build, or userspace sets it.
    Varies,
}

/// Values that do no harm, and why none beyond them.
#[derive(Clone, Debug)]
pub struct Range {
    /// The least.
    pub least: u64,
    /// The most.
    pub most: u64,
    /// What happens beyond.
    pub why: Text,
}

/// A value that is asked about.
pub struct Asked<'a> {
    /// The numbers in it.
    pub numbers: &'a [i128],
    /// All of it.
    pub text: &'a str,
    /// The machine.
    pub machine: &'a Machine,
    /// The first number to which the same list sets another parameter.
    pub other: &'a dyn Fn(&str) -> Option<i128>,
}

impl Asked<'_> {
    /// Number `index`; 0 where there is none.
    pub fn number(&self, index: usize) -> u64 {
        self.numbers.get(index).and_then(|number| u64::try_from(*number).ok()).unwrap_or(0)
    }

    /// The first number.
    pub fn value(&self) -> u64 {
        self.number(0)
    }

    /// Whether the kernel is at least that.
    pub fn since(&self, since: Since) -> bool {
        since.holds(&self.machine.kernel)
    }
}

/// A parameter.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name with dots; `*` stands for an interface.
    pub name: &'static str,
    /// The first kernel that has it.
    pub since: Since,
    /// The first kernel that no longer does.
    pub until: Option<Since>,
    /// The module without which it is not there.
    pub module: Option<&'static str>,
    /// How a value is written.
    pub takes: Takes,
    /// What it counts.
    pub unit: Unit,
    /// Its defaults, each from that kernel on.
    pub preset: &'static [(Since, Preset)],
    /// One sentence.
    pub what: fn() -> Text,
    /// Values that do no harm.
    pub range: Option<fn(&Machine) -> Option<Range>>,
    /// What else is to be said of a value; comes first.
    pub rule: Option<fn(&Asked<'_>) -> Option<Judgement>>,
    /// What all of this is known from.
    pub sources: &'static [&'static str],
}

/// What entries leave out.
const KEY: Key = Key {
    name: "",
    since: EVER,
    until: None,
    module: None,
    takes: Takes::Numbers(1),
    unit: Unit::Count,
    preset: &[],
    what: || tr!("bytes"),
    range: None,
    rule: None,
    sources: &[],
};

/// The documents of the kernel that most entries are from.
const IP: &[&str] = &["ip-sysctl.rst"];
const CORE: &[&str] = &["admin-guide/sysctl/net.rst"];
const VM: &[&str] = &["admin-guide/sysctl/vm.rst"];
const FS: &[&str] = &["admin-guide/sysctl/fs.rst"];
const KERNEL: &[&str] = &["admin-guide/sysctl/kernel.rst"];
const CONNTRACK: &[&str] = &["nf_conntrack-sysctl.rst"];

/// Every parameter that is known.
pub fn all() -> impl Iterator<Item = &'static Key> {
    [network::KEYS, tcp::KEYS, filter::KEYS, memory::KEYS, system::KEYS, rarer::KEYS].into_iter().flatten()
}

/// The entry of a parameter.
pub fn find(name: &str) -> Option<&'static Key> {
    all().find(|key| key.name == name).or_else(|| all().find(|key| key.stands_for(name)))
}

/// The parameter that a misspelt name means.
pub fn meant(name: &str) -> Option<&'static str> {
    let near = crate::spelling::nearest(name, all().map(|key| key.name).filter(|name| !name.contains('*')), 3);
    // The last part in another branch: net.ipv4.somaxconn.
    let last = name.rsplit('.').next().filter(|last| last.len() > 5)?;
    near.or_else(|| all().map(|key| key.name).find(|known| *known != name && known.rsplit('.').next() == Some(last)))
}

/// The most that an `int` of the kernel holds (proc_dointvec()).
const INT: i128 = 2_147_483_647;

/// What the kernel keeps in 64 bits, or without a sign.
const WIDE: &[&str] = &[
    "fs.aio-max-nr",
    "fs.epoll.max_user_watches",
    "fs.file-max",
    "fs.inotify.",
    "fs.nr_open",
    "kernel.keys.",
    "kernel.shmall",
    "kernel.shmmax",
    "net.ipv4.ipfrag_",
    "net.ipv4.tcp_notsent_lowat",
    "user.",
    "vm.",
];

impl Key {
    fn is_wide(&self) -> bool {
        WIDE.iter().any(|wide| self.name.starts_with(wide)) || self.takes != Takes::Numbers(1)
    }

    /// Whether the name is this one with an interface in it.
    fn stands_for(&self, name: &str) -> bool {
        let Some((before, after)) = self.name.split_once('*') else { return false };
        let middle = name.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
        middle.is_some_and(|middle| !middle.is_empty() && !middle.contains('.'))
    }

    /// Whether this kernel has it, modules aside.
    pub fn is_in(&self, machine: &Machine) -> bool {
        self.since.holds(&machine.kernel) && !self.until.is_some_and(|until| until.holds(&machine.kernel))
    }

    /// What it is without anybody's doing, on this machine.
    pub fn default(&self, machine: &Machine) -> Option<String> {
        let last = self.preset.iter().rfind(|(since, _)| since.holds(&machine.kernel))?;
        match last.1 {
            Preset::Is(value) => Some(value.to_owned()),
            Preset::Sized(size) => size(machine).map(|value| value.to_string()),
            Preset::Varies => None,
        }
    }

    /// The values that do no harm on this machine.
    pub fn range(&self, machine: &Machine) -> Option<Range> {
        self.range.and_then(|range| range(machine))
    }

    /// What is said of a value. `other` gives what else the same list sets.
    pub fn judge(&self, text: &str, machine: &Machine, other: &dyn Fn(&str) -> Option<i128>) -> Judgement {
        if !self.is_in(machine) {
            return self.absent(machine);
        }
        let numbers = match self.takes {
            Takes::Words => Vec::new(),
            Takes::Numbers(count) => match numbers(text, count, self.unit) {
                Ok(numbers) => match numbers.first().filter(|value| **value > INT && !self.is_wide()) {
                    Some(_) => {
                        let said = Judgement::new(
                            Verdict::Malformed,
                            tr!("the kernel refuses more than {most}", most = 2_147_483_647),
                        );
                        return said.from(self.sources);
                    }
                    None => numbers,
                },
                Err(wrong) => return wrong,
            },
        };
        let asked = Asked { numbers: &numbers, text, machine, other };
        let said = self.rule.and_then(|rule| rule(&asked));
        let default = self.default(machine);
        let is_default = default.as_deref().is_some_and(|default| is_same(default, text));
        let is_decided = |said: &Judgement| said.verdict != Verdict::Ok;
        let mut judgement = match said {
            Some(said) if is_decided(&said) => said,
            _ if is_default => {
                Judgement::new(Verdict::Default, tr!("is so without the line: the default of this kernel"))
            }
            said => self.beyond(&asked).or(said).unwrap_or_else(|| Judgement::new(Verdict::Ok, (self.what)())),
        };
        judgement.sources.extend(
            self.sources.iter().filter(|source| !judgement.sources.contains(source)).copied().collect::<Vec<_>>(),
        );
        if let (Some(module), Verdict::Ok | Verdict::Adapt) = (self.module, judgement.verdict) {
            judgement.message = tr!(
                "{message}; the parameter exists only while the module {module} is loaded: name it in /etc/modules-load.d",
                message = judgement.message,
                module
            );
        }
        judgement
    }

    fn absent(&self, machine: &Machine) -> Judgement {
        let why = match self.until {
            // Vendors' own.
            Some(until) if until.name() == EVER.name() => {
                tr!("this kernel has no such parameter: {what}", what = (self.what)())
            }
            Some(until) if until.holds(&machine.kernel) => {
                tr!(
                    "removed in Linux {version}, so that the line only fails; {what}",
                    version = until.name(),
                    what = (self.what)()
                )
            }
            _ => tr!("came with Linux {version}: this kernel has no such parameter", version = self.since.name()),
        };
        Judgement { sources: self.sources.to_vec(), ..Judgement::new(Verdict::Absent, why) }
    }

    /// Values that are too small or too great.
    fn beyond(&self, asked: &Asked<'_>) -> Option<Judgement> {
        let range = self.range(asked.machine)?;
        let value = asked.numbers.first().copied()?;
        if value < i128::from(range.least) {
            return adapt(range.why, range.least);
        }
        if value > i128::from(range.most) {
            return adapt(range.why, range.most);
        }
        None
    }
}

/// Whether two values are the same but for blanks.
pub fn is_same(one: &str, other: &str) -> bool {
    one.split_whitespace().eq(other.split_whitespace())
}

/// The numbers of a value as the kernel reads them (kernel/sysctl.c, proc_get_long()): what follows the last behind a blank is
/// passed over, what follows one directly makes the whole fail; of too few the first are set.
fn numbers(text: &str, count: usize, unit: Unit) -> Result<Vec<i128>, Judgement> {
    let malformed = |why: Text| Judgement::new(Verdict::Malformed, why);
    let words: Vec<&str> = text.split_whitespace().collect();
    let number = |word: &str| {
        let (sign, digits) = word.strip_prefix('-').map_or((1, word), |digits| (-1, digits));
        let value = match digits.strip_prefix("0x") {
            Some(hexadecimal) => i128::from_str_radix(hexadecimal, 16),
            None if digits.starts_with(|c: char| c.is_ascii_digit()) => digits.parse(),
            None => return None,
        };
        value.ok().map(|value| sign * value)
    };
    let mut found = Vec::new();
    for word in words.iter().take(count) {
        match number(word) {
            Some(number) => found.push(number),
            None => {
                let digits: String = word.chars().take_while(char::is_ascii_digit).collect();
                let wrong = malformed(tr!("the kernel refuses {word}: it is no number", word = *word));
                let last =
                    words.last().and_then(|last| number(last)).filter(|_| words.iter().any(|word| is_arrow(word)));
                return Err(match last.map(|last| last.to_string()).or_else(|| meant_by(word, count, unit)) {
                    Some(meant) => wrong.with(meant),
                    None if digits.is_empty() || count > 1 => wrong,
                    None => wrong.with(digits),
                });
            }
        }
    }
    if found.is_empty() {
        return Err(malformed(tr!("no value: the kernel refuses an empty line")));
    }
    if found.len() < count {
        let (wanted, given) = (count, found.len());
        return Err(malformed(tr!(
            "{wanted} numbers belong here, {given} {given?is|are} given: the others stay as they are",
            wanted,
            given
        )));
    }
    if let Some(rest) = words.get(count) {
        // `5000 --> 50000` of somebody's notes.
        if is_arrow(rest) {
            let wrong = malformed(tr!(
                "the kernel takes {first} and passes over the rest of the line",
                first = words.iter().take(count).copied().collect::<Vec<_>>().join(" ")
            ));
            return Err(wrong.with(words.iter().skip(count + 1).take(count).copied().collect::<Vec<_>>().join(" ")));
        }
        if !rest.starts_with('#') {
            let wanted = count;
            return Err(malformed(tr!(
                "{wanted} {wanted?number belongs|numbers belong} here: the kernel passes over the rest of the line",
                wanted
            ))
            .with(
                match words.first().filter(|_| count == 1).and_then(|first| scaled(&format!("{first}{rest}"), unit)) {
                    // `16 MB`
                    Some(scaled) => scaled.to_string(),
                    None => words.iter().take(count).copied().collect::<Vec<_>>().join(" "),
                },
            ));
        }
    }
    Ok(found)
}

/// From the old value to the new one, in somebody's notes.
fn is_arrow(word: &str) -> bool {
    matches!(word, "-->" | "->" | "=>" | "→" | "⇒")
}

/// What a word was meant for that the kernel does not take for a number.
fn meant_by(word: &str, count: usize, unit: Unit) -> Option<String> {
    match word.to_ascii_lowercase().as_str() {
        "yes" | "true" | "on" | "enabled" if count == 1 => return Some("1".to_owned()),
        "no" | "false" | "off" | "disabled" if count == 1 => return Some("0".to_owned()),
        _ => {}
    }
    if count == 1 {
        return scaled(word, unit).map(|value| value.to_string());
    }
    // `4096,87380,6291456`, `1024-65000`
    let parts: Vec<&str> = word.split(|c: char| !c.is_ascii_digit()).collect();
    (parts.len() == count && parts.iter().all(|part| !part.is_empty())).then(|| parts.join(" "))
}

/// `16M`, `64GB`, `5m` in what the parameter counts.
fn scaled(word: &str, unit: Unit) -> Option<i128> {
    let digits = word.bytes().take_while(u8::is_ascii_digit).count();
    let (number, suffix) = word.split_at_checked(digits)?;
    let number: i128 = number.parse().ok()?;
    let suffix = suffix.to_ascii_lowercase();
    let seconds = match suffix.as_str() {
        "s" | "sec" => Some(1),
        "m" | "min" => Some(60),
        "h" => Some(3600),
        "d" => Some(86_400),
        _ => None,
    };
    let of_second = match unit {
        Unit::Seconds => Some(1),
        Unit::Centiseconds => Some(100),
        Unit::Microseconds => Some(1_000_000),
        Unit::Nanoseconds => Some(1_000_000_000),
        _ => None,
    };
    if let Some(of_second) = of_second {
        return number.checked_mul(seconds?)?.checked_mul(of_second);
    }
    let bytes = match suffix.as_str() {
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        _ => return None,
    };
    let bytes = number.checked_mul(bytes)?;
    Some(match unit {
        Unit::Kib => bytes >> 10,
        Unit::Pages => bytes >> 12,
        _ => bytes,
    })
}

#[cfg(test)]
mod tests;
