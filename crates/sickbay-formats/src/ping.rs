//! What ping prints: of iputils, of busybox, of fping and of Windows, in whatever language; and what its times say of stalls, loss and
//! congestion.

use std::collections::BTreeMap;

use bstr::ByteSlice;

mod verdict;

pub use self::verdict::{Late, Outage, Stall, Verdict};

/// What a line says.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// `PING gw (10.0.0.1) 56(84) bytes of data.`
    Begins(String),
    /// An answer.
    Answer(Answer),
    /// No answer to a packet with this number, if it is told.
    Nothing(Option<u32>),
    /// `22 packets transmitted, 22 received, … time 1294ms`: sent, and milliseconds where that is told.
    Sum(u64, Option<f64>),
}

/// An answer to a packet.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Who answered.
    pub from: String,
    /// The number of the packet; 16 bits in the packet itself. Windows tells none.
    pub sequence: Option<u32>,
    /// Hops that were left.
    pub ttl: Option<u32>,
    /// The round trip in milliseconds.
    pub time: f64,
    /// When the answer came, in seconds since 1970 (`-D`).
    pub at: Option<f64>,
    /// Whether this packet was answered before.
    pub again: bool,
}

/// Of a line no more is read.
const LINE: usize = 512;

/// What a line says; `None` for what ping does not print.
pub fn line(bytes: &[u8]) -> Option<Said> {
    let bytes = bytes.get(..LINE).unwrap_or(bytes);
    // Cheap, for this is asked of every line of a log.
    let may_be = bytes.contains(&b'=') || bytes.contains_str("PING ") || bytes.contains_str("bytes, ");
    if !may_be && !bytes.contains_str("tim") && !bytes.contains_str("packets") && !bytes.contains_str("请求超时") {
        return None;
    }
    let text = bytes.to_str_lossy();
    let text = text.trim();
    if let Some(rest) = text.strip_prefix("PING ") {
        return Some(Said::Begins(rest.split(['(', ' ', ':']).next().unwrap_or_default().chars().take(100).collect()));
    }
    answer(text).map(Said::Answer).or_else(|| fping(text)).or_else(|| sum(text)).or_else(|| nothing(text))
}

/// A number that a word begins with, and what follows: `0.012`, `0,012`, `64`.
fn number(word: &str) -> Option<(f64, &str)> {
    let end = word.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ',').unwrap_or(word.len());
    let (digits, rest) = word.split_at_checked(end)?;
    let digits = digits.trim_end_matches([',', '.']).replace(',', ".");
    Some((digits.parse().ok().filter(|value: &f64| (0.0..1e9).contains(value))?, rest))
}

/// The value behind `key=`.
fn keyed<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let at = text.find(key)?;
    text.get(at + key.len()..)
}

fn stamp(text: &str) -> Option<f64> {
    let inside = text.strip_prefix('[')?.split(']').next()?;
    inside.parse().ok().filter(|seconds: &f64| (1e8..1e11).contains(seconds))
}

fn answer(text: &str) -> Option<Answer> {
    let lower = text.to_ascii_lowercase();
    let ttl = keyed(&lower, "ttl=").or_else(|| keyed(&lower, "hlim=")).and_then(number).map(|(ttl, _)| ttl as u32);
    let sequence = ["icmp_seq=", "icmp_req=", " seq="].iter().find_map(|key| number(keyed(&lower, key)?));
    // Whatever a language calls it: a value in milliseconds that is neither of these.
    let mut time = None;
    for (at, _) in lower.match_indices(['=', '<']) {
        let Some((value, rest)) = lower.get(at + 1..).and_then(number) else { continue };
        let rest = rest.trim_start();
        if rest.starts_with("ms") || rest.starts_with("毫秒") || rest.starts_with("мс") || rest.starts_with("ミリ秒")
        {
            time = Some(value);
        }
    }
    let time = time?;
    if sequence.is_none() && ttl.is_none() {
        return None;
    }
    // `64 bytes from HOST (1.2.3.4): …`: the last word with an address before the first `=`.
    let head = text.split('=').next().unwrap_or_default();
    let is_address = |word: &&str| word.contains('.') && word.len() > 3 || word.matches(':').count() > 1;
    let mut words = head.split([' ', '(', ')', ',', '，']).map(|word| word.trim_end_matches([':', '：']));
    let from = words.rfind(is_address).unwrap_or_default().chars().take(100).collect();
    let again = text.contains("DUP!");
    Some(Answer { from, sequence: sequence.map(|(number, _)| number as u32), ttl, time, at: stamp(text), again })
}

/// `10.0.0.1 : [0], 64 bytes, 0.05 ms (0.05 avg, 0% loss)`, `10.0.0.1 : [1], timed out (…)`.
fn fping(text: &str) -> Option<Said> {
    let at = stamp(text);
    let rest = if at.is_some() { text.split_once(']')?.1.trim_start() } else { text };
    let (from, rest) = rest.split_once(" : [")?;
    let (sequence, rest) = rest.split_once("], ")?;
    let sequence: u32 = sequence.trim().parse().ok()?;
    if rest.starts_with("timed out") {
        return Some(Said::Nothing(Some(sequence)));
    }
    let (_, rest) = rest.split_once(" bytes, ")?;
    let (time, rest) = number(rest)?;
    rest.trim_start().starts_with("ms").then_some(())?;
    let from = from.trim().chars().take(100).collect();
    Some(Said::Answer(Answer { from, sequence: Some(sequence), ttl: None, time, at, again: false }))
}

fn sum(text: &str) -> Option<Said> {
    let words = [" packets transmitted", "个包", " Pakete übertragen", " paquets transmis", " paquetes transmitidos"];
    let at = words.iter().find_map(|words| text.find(words)).or_else(|| text.find("已发送").map(|_| 0))?;
    let before = text.get(..at)?.rsplit(' ').next()?;
    let sent = match before.parse() {
        Ok(sent) => sent,
        // `已发送 22 个包，已接收 22 个包, 0% packet loss, time 1294ms`
        Err(_) => number(keyed(text, "已发送")?.trim_start())?.0 as u64,
    };
    let took =
        ["time ", "Zeit ", "temps ", "tiempo ", "时间 "].iter().find_map(|key| number(keyed(text, key)?.trim_start()));
    Some(Said::Sum(sent, took.filter(|(_, rest)| rest.trim_start().starts_with("ms")).map(|(took, _)| took)))
}

fn nothing(text: &str) -> Option<Said> {
    let sequence = ["icmp_seq=", "icmp_seq ", "seq="].iter().find_map(|key| number(keyed(text, key)?));
    let sequence = sequence.map(|(number, _)| number as u32);
    let told = text.contains("no answer yet for")
        || text.contains("Request timeout for")
        || sequence.is_some() && (text.contains("nreachable") || text.contains("不可达"));
    match (told, text) {
        (true, _) => Some(Said::Nothing(sequence)),
        (_, "Request timed out." | "请求超时。" | "Zeitüberschreitung der Anforderung.") => {
            Some(Said::Nothing(None))
        }
        _ => None,
    }
}

/// One packet that was answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Packet {
    /// Its number, from the first on without the wrap at 65536.
    pub sequence: u64,
    /// The round trip in milliseconds.
    pub time: f64,
    /// When the answer came, in seconds since 1970.
    pub at: Option<f64>,
    /// The line of the log.
    pub line: u64,
}

/// What one ping to one address printed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// Which of the sources.
    pub source: usize,
    /// Who answers.
    pub from: String,
    /// The answered packets in the order of their numbers.
    pub packets: Vec<Packet>,
    /// The numbers of packets of which the log says that there was no answer.
    pub unanswered: u64,
    /// Packets that were sent, as ping says at its end.
    pub sent: Option<u64>,
    /// How long it took, in milliseconds, as ping says at its end.
    pub took: Option<f64>,
    /// Hops that were left, of the first answer.
    pub ttl: Option<u32>,
    last: Option<u64>,
}

/// Answers that are kept of all series together.
const PACKETS: usize = 1 << 20;
/// Series that are kept.
const SERIES: usize = 4096;

/// Reads logs for what ping printed. Feed it blocks of whole lines.
#[derive(Debug, Default)]
pub struct Scanner {
    /// What was found, in order.
    pub series: Vec<Series>,
    /// Series of this source by who answers.
    open: BTreeMap<String, usize>,
    source: usize,
    lines: u64,
    kept: usize,
    /// Lines of ping in this source, and bytes that were read of it.
    seen: u64,
    read: u64,
    /// Whether not everything was kept.
    pub is_cut: bool,
}

/// A source without one line of ping in so many bytes is none of ping's.
const BEGINNING: u64 = 64 << 10;

impl Scanner {
    /// From now on blocks are of this source.
    pub fn source(&mut self, source: usize) {
        *self = Scanner {
            series: std::mem::take(&mut self.series),
            source,
            kept: self.kept,
            is_cut: self.is_cut,
            ..Scanner::default()
        };
    }

    /// Reads a block.
    pub fn block(&mut self, block: &[u8]) {
        for bytes in block.lines() {
            if self.seen == 0 && self.read > BEGINNING {
                return;
            }
            self.lines += 1;
            self.read += bytes.len() as u64 + 1;
            if let Some(said) = line(bytes) {
                self.seen += 1;
                self.take(said);
            }
        }
    }

    fn take(&mut self, said: Said) {
        match said {
            // What is answered from now on is of another run.
            Said::Begins(_) => self.open.clear(),
            Said::Sum(sent, took) => {
                let last = self.open.values().max().copied();
                if let Some(series) = last.and_then(|index| self.series.get_mut(index)) {
                    (series.sent, series.took) = (Some(sent), took);
                } else if self.series.len() < SERIES {
                    let empty = Series { source: self.source, sent: Some(sent), took, ..Series::default() };
                    self.series.push(empty);
                }
                self.open.clear();
            }
            Said::Nothing(sequence) => {
                let only = self.open.values().max().copied();
                if let Some(series) = only.and_then(|index| self.series.get_mut(index)) {
                    series.unanswered += 1;
                    // Who tells no numbers counts every packet.
                    if sequence.is_none() {
                        series.last = series.last.map(|last| last + 1);
                    }
                }
            }
            Said::Answer(answer) if !answer.again => self.answer(answer),
            Said::Answer(_) => {}
        }
    }

    fn answer(&mut self, answer: Answer) {
        if self.kept >= PACKETS || self.open.len() >= SERIES {
            self.is_cut = true;
            return;
        }
        let index = match self.open.get(&answer.from) {
            Some(index) => *index,
            None if self.series.len() >= SERIES => {
                self.is_cut = true;
                return;
            }
            None => {
                let (source, from, ttl) = (self.source, answer.from.clone(), answer.ttl);
                self.series.push(Series { source, from, ttl, ..Series::default() });
                self.open.insert(answer.from, self.series.len() - 1);
                self.series.len() - 1
            }
        };
        let Some(series) = self.series.get_mut(index) else { return };
        let sequence = match (answer.sequence, series.last) {
            (None, None) => 1,
            (None, Some(last)) => last + 1,
            (Some(number), None) => u64::from(number),
            (Some(number), Some(last)) => {
                // 16 bits: the next turn, unless it is a late one of the turn before.
                let number = u64::from(number);
                let turn = last & !0xFFFF;
                match () {
                    () if number > 0xFFFF => number,
                    () if turn + number + 0x8000 < last => turn + number + 0x1_0000,
                    () if turn + number > last + 0x8000 && turn > 0 => turn + number - 0x1_0000,
                    () => turn + number,
                }
            }
        };
        series.last = Some(series.last.map_or(sequence, |last| last.max(sequence)));
        series.packets.push(Packet { sequence, time: answer.time, at: answer.at, line: self.lines });
        self.kept += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> (Option<u32>, f64, String) {
        match line(text.as_bytes()) {
            Some(Said::Answer(answer)) => (answer.sequence, answer.time, answer.from),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn answers_in_all_tongues() {
        for (text, sequence, time) in [
            ("64 bytes from 10.109.0.253: icmp_seq=56 ttl=64 time=833 ms", Some(56), 833.0),
            ("64 bytes from gw (10.109.0.253): icmp_req=1 ttl=58 time=2.37 ms", Some(1), 2.37),
            ("[1546769450.781316] 64 bytes from 10.109.0.253: icmp_seq=2 ttl=64 time=0.012 ms", Some(2), 0.012),
            ("64 bytes from 10.109.0.253: seq=0 ttl=64 time=0.123 ms", Some(0), 0.123),
            ("64 Bytes von 10.109.0.253: icmp_seq=3 ttl=64 Zeit=0,5 ms", Some(3), 0.5),
            ("64 字节，来自 10.109.0.253: icmp_seq=4 ttl=64 时间=12.5 毫秒", Some(4), 12.5),
            ("64 octets de 10.109.0.253 : icmp_seq=5 ttl=64 temps=7.1 ms", Some(5), 7.1),
            ("10.109.0.253 : [6], 84 bytes, 0.52 ms (0.50 avg, 0% loss)", Some(6), 0.52),
            ("[1546769450.78] 10.109.0.253 : [7], 64 bytes, 3 ms (3 avg, 0% loss)", Some(7), 3.0),
            ("Reply from 10.109.0.253: bytes=32 time<1ms TTL=64", None, 1.0),
            ("来自 10.109.0.253 的回复: 字节=32 时间=9ms TTL=64", None, 9.0),
            ("Thu Jan  4 10:00:01 CST 2018 64 bytes from 10.109.0.253: icmp_seq=8 ttl=64 time=1.0 ms", Some(8), 1.0),
        ] {
            assert_eq!(answer(text), (sequence, time, "10.109.0.253".to_owned()), "{text}");
        }
        let stamped = line(b"[1546769450.781316] 64 bytes from 10.0.0.1: icmp_seq=2 ttl=64 time=0.012 ms");
        assert!(matches!(stamped, Some(Said::Answer(Answer { at: Some(at), .. })) if at > 1_546_769_450.0));
    }

    #[test]
    fn what_else_is_said() {
        for (text, said) in [
            ("PING gw (10.0.0.1) 56(84) bytes of data.", Said::Begins("gw".into())),
            ("PING 10.0.0.1 (10.0.0.1): 56 data bytes", Said::Begins("10.0.0.1".into())),
            ("22 packets transmitted, 21 received, 4% packet loss, time 1294ms", Said::Sum(22, Some(1294.0))),
            ("22 packets transmitted, 22 packets received, 0% packet loss", Said::Sum(22, None)),
            ("已发送 22 个包， 已接收 22 个包, 0% packet loss, time 1294ms", Said::Sum(22, Some(1294.0))),
            ("no answer yet for icmp_seq=5", Said::Nothing(Some(5))),
            ("From 10.0.0.2 icmp_seq=6 Destination Host Unreachable", Said::Nothing(Some(6))),
            ("10.0.0.1 : [1], timed out (NaN avg, 100% loss)", Said::Nothing(Some(1))),
            ("Request timed out.", Said::Nothing(None)),
        ] {
            assert_eq!(line(text.as_bytes()), Some(said), "{text}");
        }
        for text in ["eth0: link up", "a=5 ms", "upstream timed out (110: Connection timed out) while reading", "x = y"]
        {
            assert_eq!(line(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn numbers_begin_anew_after_65536() {
        let mut scanner = Scanner::default();
        for number in [65_534, 65_535, 0, 1, 65_533_u32] {
            let text = format!("64 bytes from 10.0.0.1: icmp_seq={number} ttl=64 time=1 ms\n");
            scanner.block(text.as_bytes());
        }
        let numbers: Vec<u64> = scanner.series[0].packets.iter().map(|packet| packet.sequence).collect();
        assert_eq!(numbers, [65_534, 65_535, 65_536, 65_537, 65_533]);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, text in "(64 bytes from 1.2.3.4: icmp_seq=[0-9]{1,7} ttl=64 time=[0-9.,]{1,12} ms\n){0,40}") {
            let _ = line(&bytes);
            let mut scanner = Scanner::default();
            scanner.block(&bytes);
            scanner.block(text.as_bytes());
            for series in &scanner.series {
                let _ = series.verdict();
            }
        }
    }
}
