//! What a list of kernel parameters and limits does on one kernel and one machine, line by line, and where two lines do not go
//! together.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use bstr::ByteSlice;
use sickbay_formats::span::Span;
use sickbay_formats::tuning::{Found, Kind, Setting, parse};

use crate::model::source::SourceFile;
use crate::model::text::Text;
use crate::tr;
use crate::tune::kernel::{Bounds, Kernel, Machine, from};
use crate::tune::knowledge::{self, Judgement, Verdict, is_same};
use crate::tune::limits::{self, ITEMS, Layer};

/// A line and what is said of it.
#[derive(Clone, Debug)]
pub struct Line {
    /// From 1 on.
    pub line: usize,
    /// The words that set something.
    pub span: Span,
    /// The whole line.
    pub text: String,
    /// `net.core.somaxconn`, `* soft nofile`, `LimitNOFILE`; empty for a line that sets nothing.
    pub key: String,
    /// What it is set to.
    pub value: String,
    /// What is said.
    pub said: Judgement,
}

/// Two lines that do not go together.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The numbers of both lines.
    pub lines: [usize; 2],
    /// What both set.
    pub keys: [String; 2],
    /// What is said of them together.
    pub said: Judgement,
}

/// What is said of a whole list.
#[derive(Clone, Debug)]
pub struct Lint {
    /// The list's name.
    pub file: String,
    /// The kernel that it was judged for; `None` for an old and a new one alike.
    pub kernel: Option<Kernel>,
    /// Memory in KiB, and processors, where known.
    pub memory: Option<u64>,
    /// The processors.
    pub cpus: Option<u64>,
    /// Every line that sets something or should.
    pub lines: Vec<Line>,
    /// Lines that do not go together.
    pub pairs: Vec<Pair>,
}

/// What stands for old and new kernels where none is named.
const OLD: &str = "3.10";
const NEW: &str = "6.12";

impl Lint {
    /// Judges a list. Without a kernel, for an old one and a new one both; `bounds` are those of the machine, if it is at hand.
    pub fn of(
        file: &SourceFile,
        kernel: Option<Kernel>,
        memory: Option<u64>,
        cpus: Option<u64>,
        bounds: Bounds,
    ) -> Lint {
        let found = parse(&file.bytes);
        let machine = |kernel: Kernel| Machine { kernel, memory, cpus, bounds };
        let judged = |release: &str| Kernel::parse(release).map(|kernel| judge(file, &found, &machine(kernel)));
        let (lines, pairs) = match &kernel {
            Some(kernel) => judge(file, &found, &machine(kernel.clone())),
            None => match (judged(OLD), judged(NEW)) {
                (Some((old, pairs)), Some((new, others))) => (both(old, new), joined(pairs, others)),
                _ => (Vec::new(), Vec::new()),
            },
        };
        Lint { file: file.path.display().to_string(), kernel, memory, cpus, lines, pairs }
    }

    /// Whether something must not stay as it is.
    pub fn objects(&self) -> bool {
        let verdicts = self.lines.iter().map(|line| &line.said).chain(self.pairs.iter().map(|pair| &pair.said));
        verdicts.into_iter().any(|said| matches!(said.verdict, Verdict::Adapt | Verdict::Refuse | Verdict::Malformed))
    }

    /// Whether any line sets anything.
    pub fn is_list(&self) -> bool {
        self.lines.iter().any(|line| !line.key.is_empty())
    }
}

/// What lines say to each other: the last value of each parameter, and of words each as a number of its own.
fn values(found: &[Found]) -> BTreeMap<String, i128> {
    let mut values = BTreeMap::new();
    for one in found {
        if let Setting::Sysctl { key, value } = &one.setting {
            let (key, value) = (key.to_string(), value.to_string());
            let first = value.split_whitespace().next().unwrap_or_default();
            if !first.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
                values.insert(format!("{key}.{first}"), 1);
            }
            values.insert(key, first.parse().unwrap_or(0));
        }
    }
    values
}

fn judge(file: &SourceFile, found: &[Found], machine: &Machine) -> (Vec<Line>, Vec<Pair>) {
    let values = values(found);
    let other = |key: &str| values.get(key).copied();
    let texts: Vec<&[u8]> = file.bytes.lines().collect();
    let text = |number: usize| {
        let text = texts.get(number.saturating_sub(1)).copied().unwrap_or_default();
        text.to_str_lossy().chars().take(400).collect()
    };
    let near = Near::default();
    let mut lines: Vec<Line> = found.iter().map(|one| line(text(one.line), one, machine, &other, &near)).collect();
    with_both(found, &mut lines);
    let pairs = pairs(found, &lines, machine);
    (lines, pairs)
}

/// Nobody's list has more misspelt parameters; to find what is meant by one costs as much as everything else that is said of it.
const MISSPELT: usize = 300;

/// What misspelt parameters of a list mean, each asked once.
#[derive(Default)]
struct Near(RefCell<BTreeMap<String, Option<&'static str>>>);

impl Near {
    fn of(&self, key: &str) -> Option<&'static str> {
        let mut known = self.0.borrow_mut();
        match known.get(key) {
            Some(near) => *near,
            None if known.len() >= MISSPELT => None,
            None => *known.entry(key.to_owned()).or_insert_with(|| knowledge::meant(key)),
        }
    }
}

/// Where limits.conf sets a soft and a hard limit, a unit takes both in one line; of the soft one alone it would make the hard one too.
fn with_both(found: &[Found], lines: &mut [Line]) {
    // By whom and what, the soft one first.
    type Both = [Option<String>; 2];
    let mut values: BTreeMap<(&[u8], &[u8]), Both> = BTreeMap::new();
    for one in found {
        if let Setting::Limit { domain, kind: kind @ (Kind::Soft | Kind::Hard), item, value } = &one.setting {
            let [soft, hard] = values.entry((domain, item)).or_default();
            *(if *kind == Kind::Soft { soft } else { hard }) = Some(value.to_string());
        }
    }
    for (one, line) in found.iter().zip(lines) {
        let Setting::Limit { domain, item, .. } = &one.setting else { continue };
        let Some([Some(soft), Some(hard)]) = values.get(&(domain.as_slice(), item.as_slice())) else { continue };
        let Some(known) = ITEMS.iter().find(|known| item == known.name) else { continue };
        let is_unit = line.said.suggested.as_ref().is_some_and(|suggested| suggested.starts_with("Limit"));
        if is_unit && soft != hard {
            let hard = limits::for_unit(known, hard);
            let hard = hard.split_once('=').map_or("", |(_, hard)| hard);
            line.said.suggested = Some(format!("{}:{hard}", limits::for_unit(known, soft)));
        }
    }
}

fn line(text: String, found: &Found, machine: &Machine, other: &dyn Fn(&str) -> Option<i128>, near: &Near) -> Line {
    let limit = |layer: Layer<'_>, kind: Kind, item: &str, value: &str| {
        limits::judge(&limits::Line { layer, kind, item, value }, machine, other)
    };
    let (key, value, said) = match &found.setting {
        Setting::Sysctl { key, value } => {
            let (key, value) = (key.to_string(), value.to_string());
            let said = judged(&key, &value, machine, other, &|key| near.of(key));
            (key, value, said)
        }
        Setting::Limit { domain, kind, item, value } => {
            let (domain, item, value) = (domain.to_string(), item.to_string(), value.to_string());
            let said = limit(Layer::Pam(&domain), *kind, &item, &value);
            (format!("{domain} {} {item}", word(*kind)), value, said)
        }
        Setting::Ulimit { kind, option, value } => {
            let value = value.to_string();
            let item = ITEMS.iter().find(|item| item.option == Some(*option)).map_or("", |item| item.name);
            (format!("ulimit -{option}"), value.clone(), limit(Layer::Shell, *kind, item, &value))
        }
        Setting::Unit { name, value } => {
            let (name, value) = (name.to_string(), value.to_string());
            let layer = if name.starts_with("Default") { Layer::Defaults } else { Layer::Unit };
            let bare = name.trim_start_matches("Default").trim_start_matches("Limit");
            let item = ITEMS.iter().find(|item| item.unit == bare).map_or("", |item| item.name);
            // `soft:hard`
            let hard = value.rsplit(':').next().unwrap_or_default();
            let said = limit(layer, Kind::Both, item, hard);
            (name, value, said)
        }
        Setting::Nothing => {
            let why = tr!("this line sets nothing: neither key = value nor a line of limits.conf");
            (String::new(), String::new(), Judgement::new(Verdict::Malformed, why))
        }
    };
    Line { line: found.line, span: found.span, text, key, value, said }
}

/// What is said of one parameter.
pub fn parameter(key: &str, value: &str, machine: &Machine, other: &dyn Fn(&str) -> Option<i128>) -> Judgement {
    judged(key, value, machine, other, &knowledge::meant)
}

fn judged(
    key: &str,
    value: &str,
    machine: &Machine,
    other: &dyn Fn(&str) -> Option<i128>,
    meant: &dyn Fn(&str) -> Option<&'static str>,
) -> Judgement {
    if value.contains('$') || value.contains('`') {
        return Judgement::new(Verdict::Unknown, tr!("{value} is known only when the script runs", value));
    }
    match knowledge::find(key) {
        Some(known) => known.judge(value, machine, other),
        None => match meant(key) {
            Some(near) => {
                Judgement::new(Verdict::Unknown, tr!("no such parameter is known: did you mean {near}?", near))
                    .with(near)
            }
            None => Judgement::new(
                Verdict::Unknown,
                tr!("no such parameter is known: see whether the kernel has it, sysctl {key}", key),
            ),
        },
    }
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Soft => "soft",
        Kind::Hard => "hard",
        Kind::Both => "-",
    }
}

/// Answers for an old and for a new kernel as one.
fn both(old: Vec<Line>, new: Vec<Line>) -> Vec<Line> {
    let one = |(old, new): (Line, Line)| {
        if old.said.message == new.said.message {
            return old;
        }
        let message = tr!(
            "Linux {old}: {word}, {said}. Linux {new}: {other}, {otherwise}",
            old = OLD,
            word = name(old.said.verdict),
            said = old.said.message.clone(),
            new = NEW,
            other = name(new.said.verdict),
            otherwise = new.said.message.clone()
        );
        let graver = if new.said.verdict > old.said.verdict { new } else { old };
        Line { said: Judgement { message, ..graver.said.clone() }, ..graver }
    };
    old.into_iter().zip(new).map(one).collect()
}

fn joined(mut pairs: Vec<Pair>, others: Vec<Pair>) -> Vec<Pair> {
    let known: BTreeSet<[usize; 2]> = pairs.iter().map(|pair| pair.lines).collect();
    pairs.extend(others.into_iter().filter(|other| !known.contains(&other.lines)));
    pairs
}

/// A verdict in a word.
pub fn name(verdict: Verdict) -> Text {
    match verdict {
        Verdict::Ok => tr!("good"),
        Verdict::Default => tr!("default already"),
        Verdict::NoEffect => tr!("no effect"),
        Verdict::Absent => tr!("absent"),
        Verdict::Unknown => tr!("unknown"),
        Verdict::Adapt => tr!("adapt"),
        Verdict::Refuse => tr!("refused"),
        Verdict::Malformed => tr!("malformed"),
    }
}

/// What does something once, when it is written.
const ONCE: [&str; 3] = ["net.ipv4.route.flush", "vm.compact_memory", "vm.drop_caches"];

/// Lines that do not go together.
fn pairs(found: &[Found], lines: &[Line], machine: &Machine) -> Vec<Pair> {
    let mut pairs = Vec::new();
    // The last line that sets a parameter counts.
    let mut last: BTreeMap<&str, &Line> = BTreeMap::new();
    let mut last_is_now: BTreeMap<&str, bool> = BTreeMap::new();
    for (one, line) in found.iter().zip(lines).filter(|(_, line)| !line.key.is_empty()) {
        let was_now = last_is_now.insert(&line.key, one.is_now);
        if let Some(before) = last.insert(&line.key, line) {
            // What does something each time it is written; and now as well as after a restart, as it should be.
            let is_other = was_now.is_some_and(|was_now| was_now != one.is_now);
            if ONCE.contains(&line.key.as_str()) || is_other && is_same(&before.value, &line.value) {
                continue;
            }
            let (first, second) = (before.line, line.line);
            if is_other {
                let (now, later) = if one.is_now { (second, first) } else { (first, second) };
                let message =
                    tr!("line {now} sets it until a restart, line {later} another value from then on", now, later);
                pairs.push(pair(before, line, Judgement::new(Verdict::Adapt, message)));
                continue;
            }
            let message = match is_same(&before.value, &line.value) {
                true => tr!("lines {first} and {second} say the same", first, second),
                false => tr!("line {second} is the later one and wins: line {first} does nothing", first, second),
            };
            pairs.push(pair(before, line, Judgement::new(Verdict::NoEffect, message)));
        }
    }
    let mut together = |one: &str, other: &str, judge: &dyn Fn(i128, i128) -> Option<Judgement>| {
        let (Some(first), Some(second)) = (last.get(one), last.get(other)) else { return };
        let number = |line: &Line| line.value.split_whitespace().next()?.parse::<i128>().ok();
        let (Some(a), Some(b)) = (number(first), number(second)) else { return };
        pairs.extend(judge(a, b).map(|said| pair(first, second, said)));
    };
    together("net.ipv4.tcp_tw_recycle", "net.ipv4.tcp_timestamps", &|recycle, stamps| {
        (recycle != 0 && stamps != 0 && !from(4, 12).holds(&machine.kernel)).then(|| {
            Judgement::new(Verdict::Refuse, tr!("both on: connections from behind one NAT address fail at random, since only the newest timestamp of an address is let in"))
                .from(&["4396e46187ca"])
        })
    });
    together("net.ipv4.tcp_tw_reuse", "net.ipv4.tcp_timestamps", &|reuse, stamps| {
        (reuse != 0 && stamps == 0).then(|| {
            Judgement::new(Verdict::NoEffect, tr!("tcp_tw_reuse needs the timestamps that the other line turns off"))
        })
    });
    for (one, other) in [
        ("vm.overcommit_ratio", "vm.overcommit_kbytes"),
        ("vm.dirty_ratio", "vm.dirty_bytes"),
        ("vm.dirty_background_ratio", "vm.dirty_background_bytes"),
    ] {
        together(one, other, &|_, bytes| {
            (bytes != 0).then(|| {
                Judgement::new(Verdict::Adapt, tr!("each sets the other to 0: the later line wins"))
                    .from(&["admin-guide/sysctl/vm.rst"])
            })
        });
    }
    together("vm.dirty_background_ratio", "vm.dirty_ratio", &|background, ratio| {
        (background >= ratio && ratio > 0).then(|| {
            Judgement::new(Verdict::Adapt, tr!("the background begins to write only when everybody waits already: the kernel takes half of vm.dirty_ratio instead"))
                .with(format!("vm.dirty_background_ratio = {}", ratio / 2))
        })
    });
    for (family, one, other) in [
        ("ipv4", "gc_thresh1", "gc_thresh2"),
        ("ipv4", "gc_thresh2", "gc_thresh3"),
        ("ipv6", "gc_thresh1", "gc_thresh2"),
        ("ipv6", "gc_thresh2", "gc_thresh3"),
    ] {
        let name = |last: &str| format!("net.{family}.neigh.default.{last}");
        together(&name(one), &name(other), &|low, high| {
            (low > high).then(|| {
                Judgement::new(
                    Verdict::Adapt,
                    tr!("the first must be the smaller: neighbours are dropped before they are counted as many"),
                )
            })
        });
    }
    together("net.netfilter.nf_conntrack_tcp_timeout_established", "net.ipv4.tcp_keepalive_time", &|timeout, idle| {
        (timeout <= idle).then(|| {
            Judgement::new(
                Verdict::Refuse,
                tr!("the firewall forgets a connection before keepalive asks for the first time"),
            )
        })
    });
    together("net.ipv4.tcp_max_syn_backlog", "net.core.somaxconn", &|half, full| {
        (half > full && !from(4, 4).holds(&machine.kernel)).then(|| {
            Judgement::new(Verdict::NoEffect, tr!("the smaller of both counts: {full}", full = full.to_string()))
        })
    });
    limits_of(found, lines, &last, &mut pairs);
    pairs
}

/// Limits against kernel parameters of the same list, and soft against hard.
fn limits_of(found: &[Found], lines: &[Line], last: &BTreeMap<&str, &Line>, pairs: &mut Vec<Pair>) {
    let number = |line: &Line| limits::number(&line.value).flatten();
    for (one, line) in found.iter().zip(lines) {
        let Setting::Limit { domain, kind, item, .. } = &one.setting else { continue };
        let Some(value) = number(line) else { continue };
        for (of, key) in [
            ("nofile", "fs.nr_open"),
            ("nofile", "fs.file-max"),
            ("nproc", "kernel.pid_max"),
            ("nproc", "kernel.threads-max"),
        ] {
            let Some(bound) = last.get(key).filter(|_| item == of) else { continue };
            let Some(most) = number(bound).filter(|most| value > *most) else { continue };
            let verdict = if key == "fs.nr_open" { Verdict::Refuse } else { Verdict::NoEffect };
            let message = tr!("{value} is more than {key} = {most} of the same list", value, key, most);
            pairs.push(pair(bound, line, Judgement::new(verdict, message)));
        }
        let hard = last.get(format!("{domain} hard {item}").as_str()).filter(|_| *kind == Kind::Soft);
        if let Some(hard) = hard
            && number(hard).is_some_and(|most| value > most)
        {
            pairs.push(pair(
                line,
                hard,
                Judgement::new(Verdict::Adapt, tr!("the soft limit is above the hard one, and is cut to it"))
                    .with(&hard.value),
            ));
        }
    }
}

fn pair(one: &Line, other: &Line, said: Judgement) -> Pair {
    Pair { lines: [one.line, other.line], keys: [one.key.clone(), other.key.clone()], said }
}
