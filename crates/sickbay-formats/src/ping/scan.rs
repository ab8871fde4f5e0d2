//! The lines of a log, put together to what one ping to one address printed.

use std::collections::BTreeMap;

use bstr::ByteSlice;

use super::line::{Answer, Said, Sum, line};

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
    /// Who answers, or should.
    pub from: String,
    /// The answered packets in the order of their numbers.
    pub packets: Vec<Packet>,
    /// The numbers of packets of which the log says that there was no answer.
    pub unanswered: u64,
    /// The highest of them.
    pub silent: Option<u64>,
    /// The number of the first packet, where the log begins with the head that ping prints.
    pub begins: Option<u64>,
    /// Packets that were sent, as ping says at its end.
    pub sent: Option<u64>,
    /// Answers, likewise.
    pub received: Option<u64>,
    /// How long it took, in milliseconds, as ping says at its end.
    pub took: Option<f64>,
    /// Hops that were left, of the first answer.
    pub ttl: Option<u32>,
    last: Option<u64>,
    has_numbers: bool,
}

/// Answers that are kept of all series together.
const PACKETS: usize = 1 << 20;
/// Series that are kept.
const SERIES: usize = 4096;
/// A number of the first packet this far behind the last one is of another run.
const BACK: u64 = 8;

/// Reads logs for what ping printed. Feed it blocks of whole lines.
#[derive(Debug, Default)]
pub struct Scanner {
    /// What was found, in order.
    pub series: Vec<Series>,
    /// Series of this source by who answers.
    open: BTreeMap<String, usize>,
    /// Those that are over and may still get their sum: fping prints them all at its end.
    closed: BTreeMap<String, usize>,
    /// Who is asked since the last head, and the number of the first packet.
    head: Option<(String, Option<u32>)>,
    /// A sum that came before the answers: hping3 prints it elsewhere.
    early: Option<Sum>,
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
        self.end();
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

    /// A line is passed over.
    pub fn skip(&mut self) {
        self.lines += 1;
    }

    /// The source is over.
    pub fn end(&mut self) {
        // A sum that no answers follow: `ping -q`.
        if let Some(early) = self.early.take()
            && let Some(index) = self.new_series(String::new())
        {
            self.sum_of(index, &early);
        }
        self.head = None;
    }

    fn new_series(&mut self, from: String) -> Option<usize> {
        if self.series.len() >= SERIES {
            self.is_cut = true;
            return None;
        }
        let begins = self.head.as_ref().and_then(|(_, first)| *first).map(u64::from);
        let from = match &self.head {
            Some((whom, _)) if from.is_empty() => whom.clone(),
            _ => from,
        };
        self.series.push(Series { source: self.source, from, begins, ..Series::default() });
        Some(self.series.len() - 1)
    }

    fn take(&mut self, said: Said) {
        match said {
            // What is answered from now on is of another run.
            Said::Begins(whom, first) => {
                // hping3 prints its sum to another file, which may stand before.
                let early = self.early.take().filter(|_| first == Some(0));
                self.end();
                self.early = early;
                self.open.clear();
                self.closed.clear();
                self.head = Some((whom, first));
            }
            Said::Sum(sum) => self.sum(sum),
            Said::Nothing(sequence) => {
                let only = self.open.values().max().copied();
                let index = only.or_else(|| {
                    let index = self.new_series(String::new())?;
                    self.open.insert(String::new(), index);
                    Some(index)
                });
                let Some(series) = index.and_then(|index| self.series.get_mut(index)) else { return };
                series.unanswered += 1;
                match sequence {
                    Some(number) => {
                        let number = unwrapped(u64::from(number), series.last.or(series.silent));
                        series.silent = series.silent.max(Some(number));
                    }
                    // Who tells no numbers counts every packet.
                    None if !series.has_numbers => {
                        let next = series.last.map_or(1, |last| last + 1);
                        (series.last, series.silent) = (Some(next), Some(next));
                        // What is counted here begins with the first.
                        series.begins.get_or_insert(1);
                    }
                    None => {}
                }
            }
            Said::Answer(answer) if !answer.again => self.answer(answer),
            Said::Answer(_) => {}
            Said::Row(from, times) => {
                let Some(index) = self.new_series(from.clone()) else { return };
                self.closed.insert(from, index);
                let kept = self.kept;
                let line = self.lines;
                let Some(series) = self.series.get_mut(index) else { return };
                (series.begins, series.sent, series.has_numbers) = (Some(0), Some(times.len() as u64), true);
                for (sequence, time) in (0..).zip(times).take(PACKETS.saturating_sub(kept)) {
                    if let Some(time) = time {
                        series.packets.push(Packet { sequence, time, at: None, line });
                        self.kept += 1;
                    }
                }
            }
        }
    }

    fn sum(&mut self, sum: Sum) {
        if let Some(from) = &sum.from {
            // One line a host, when all are over.
            let index = self.open.get(from).or_else(|| self.closed.get(from)).copied();
            if let Some(index) = index.or_else(|| self.new_series(from.clone())) {
                self.sum_of(index, &sum);
            }
            return;
        }
        match self.open.values().max().copied() {
            Some(index) => {
                self.sum_of(index, &sum);
                self.head = None;
            }
            // Nothing but the head was before it.
            None if self.head.is_some() => {
                if let Some(index) = self.new_series(String::new()) {
                    self.sum_of(index, &sum);
                }
                self.head = None;
            }
            None => {
                self.end();
                self.early = Some(sum);
            }
        }
        self.open.clear();
    }

    fn sum_of(&mut self, index: usize, sum: &Sum) {
        if let Some(series) = self.series.get_mut(index) {
            (series.sent, series.received) = (Some(sum.sent), sum.received);
            series.took = sum.took.or(series.took);
        }
    }

    fn answer(&mut self, answer: Answer) {
        if self.kept >= PACKETS || self.open.len() >= SERIES {
            self.is_cut = true;
            return;
        }
        // A run that starts again without its head: the first packet is answered once more.
        let is_anew = |series: &Series| match (answer.sequence, series.last, series.packets.first()) {
            (Some(number @ 0..=1), Some(last), Some(first)) => {
                let number = u64::from(number);
                number + BACK < last && last & 0xFFFF < 0xFF00 && first.sequence <= number
            }
            _ => false,
        };
        let mut known = self.open.get(&answer.from).copied();
        if known.and_then(|index| self.series.get(index)).is_some_and(is_anew) {
            self.open.remove(&answer.from);
            known = None;
        }
        // Until now nobody answered.
        if known.is_none()
            && let Some(index) = self.open.remove("")
        {
            self.open.insert(answer.from.clone(), index);
            known = Some(index);
        }
        let index = known.or_else(|| {
            let index = self.new_series(answer.from.clone())?;
            self.open.insert(answer.from.clone(), index);
            if let Some(early) = self.early.take() {
                self.sum_of(index, &early);
            }
            Some(index)
        });
        let Some(series) = index.and_then(|index| self.series.get_mut(index)) else { return };
        if series.packets.is_empty() {
            (series.from, series.ttl) = (answer.from, answer.ttl);
        }
        let sequence = match (answer.sequence, series.last) {
            (None, None) => 1,
            (None, Some(last)) => last + 1,
            (Some(number), last) => unwrapped(u64::from(number), last),
        };
        series.has_numbers |= answer.sequence.is_some();
        series.last = Some(series.last.map_or(sequence, |last| last.max(sequence)));
        series.packets.push(Packet { sequence, time: answer.time, at: answer.at, line: self.lines });
        self.kept += 1;
    }
}

/// A number of 16 bits: of the next turn, unless it is a late one of the turn before.
fn unwrapped(number: u64, last: Option<u64>) -> u64 {
    let Some(last) = last else { return number };
    let turn = last & !0xFFFF;
    match () {
        () if number > 0xFFFF => number,
        () if turn + number + 0x8000 < last => turn + number + 0x1_0000,
        () if turn + number > last + 0x8000 && turn > 0 => turn + number - 0x1_0000,
        () => turn + number,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(text: &str) -> Vec<Series> {
        let mut scanner = Scanner::default();
        scanner.block(text.as_bytes());
        scanner.end();
        scanner.series
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

    #[test]
    fn a_run_without_its_head() {
        let run: String =
            (1..=20).map(|n| format!("64 bytes from 10.0.0.1: icmp_seq={n} ttl=64 time=1 ms\n")).collect();
        let all = scan(&(run.clone() + &run));
        assert_eq!(all.iter().map(|series| series.packets.len()).collect::<Vec<_>>(), [20, 20]);
    }

    #[test]
    fn sums_of_all_kinds() {
        let quiet = "PING 10.0.0.1 (10.0.0.1) 56(84) bytes of data.\n\n--- 10.0.0.1 ping statistics ---\n\
            5 packets transmitted, 5 received, 0% packet loss, time 82ms\n";
        let all = scan(&quiet.repeat(2));
        assert_eq!(all.len(), 2);
        for series in all {
            assert_eq!((series.from.as_str(), series.verdict().sent, series.verdict().lost), ("10.0.0.1", 5, 0));
        }
        let hping = "--- 10.0.0.1 hping statistic ---\n2 packets transmitted, 2 packets received, 0% packet loss\n\
            HPING 10.0.0.1 (lo 10.0.0.1): icmp mode set, 28 headers + 0 data bytes\n\
            len=28 ip=10.0.0.1 ttl=64 id=1 icmp_seq=0 rtt=2.6 ms\nlen=28 ip=10.0.0.1 ttl=64 id=2 icmp_seq=1 rtt=1.3 ms\n";
        let all = scan(hping);
        assert_eq!((all.len(), all[0].sent, all[0].verdict().lost), (1, Some(2), 0));
        let fping = "10.0.0.1 : [0], 64 bytes, 0.05 ms (0.05 avg, 0% loss)\n10.0.0.2 : [0], 64 bytes, 0.05 ms (0.05 avg, 0% loss)\n\
            10.0.0.1 : [2], 64 bytes, 0.05 ms (0.05 avg, 0% loss)\n10.0.0.2 : [1], 64 bytes, 0.05 ms (0.05 avg, 0% loss)\n\n\
            10.0.0.1 : xmt/rcv/%loss = 3/2/33%, min/avg/max = 0.04/0.05/0.07\n10.0.0.2 : xmt/rcv/%loss = 2/2/0%, min/avg/max = 0.04/0.05/0.07\n";
        let lost: Vec<_> = scan(fping).iter().map(|series| (series.verdict().sent, series.verdict().lost)).collect();
        assert_eq!(lost, [(3, 1), (2, 0)]);
        let row = scan("10.0.0.1 : 0.05 - - - 0.04\n");
        assert_eq!((row[0].verdict().sent, row[0].verdict().lost), (5, 3));
    }

    #[test]
    fn nobody_answers_at_first_at_the_end_or_at_all() {
        let answers = |from: u32, to: u32| -> String {
            (from..to).map(|n| format!("64 bytes from 10.0.0.1: icmp_seq={n} ttl=64 time=1 ms\n")).collect()
        };
        let head = "PING 10.0.0.1 (10.0.0.1) 56(84) bytes of data.\n";
        let verdict = |text: &str| scan(text)[0].verdict();
        let late = verdict(&(head.to_owned() + &answers(5, 20)));
        assert_eq!((late.sent, late.lost, late.outages[0].first, late.outages[0].packets), (19, 4, 1, 4));
        let errors: String =
            (1..5).map(|n| format!("From 10.0.0.9 icmp_seq={n} Destination Host Unreachable\n")).collect();
        let late = verdict(&(head.to_owned() + &errors + &answers(5, 20)));
        assert_eq!((late.sent, late.lost, late.outages[0].packets), (19, 4, 4));
        let none: String = (10..15).map(|n| format!("no answer yet for icmp_seq={n}\n")).collect();
        let ended = verdict(&(head.to_owned() + &answers(1, 10) + &none));
        assert_eq!((ended.sent, ended.lost, ended.outages[0].first, ended.outages[0].packets), (14, 5, 10, 5));
        let summed =
            head.to_owned() + &answers(1, 10) + "20 packets transmitted, 9 received, 55% packet loss, time 19020ms\n";
        let ended = verdict(&summed);
        assert_eq!((ended.sent, ended.lost, ended.outages[0].first, ended.outages[0].packets), (20, 11, 10, 11));
        let windows =
            "\nPinging 10.0.0.1 with 32 bytes of data:\nRequest timed out.\nRequest timed out.\nRequest timed out.\n";
        assert_eq!((verdict(windows).sent, verdict(windows).lost), (3, 3));
        let back = windows.to_owned()
            + "Reply from 10.0.0.1: bytes=32 time=1ms TTL=64\nReply from 10.0.0.1: bytes=32 time=1ms TTL=64\n";
        let back = verdict(&back);
        assert_eq!((back.sent, back.lost, back.outages[0].packets), (5, 3, 3));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, text in "((64 bytes from 1.2.3.4: icmp_seq=[0-9]{1,7} ttl=64 time=[0-9.,]{1,12} ms|no answer yet for icmp_seq=[0-9]{1,9}|PING a \\(b\\) 56\\(84\\) bytes of data.|[0-9]{1,19} packets transmitted, [0-9]{1,19} received|Request timed out.)\n){0,40}") {
            let mut scanner = Scanner::default();
            scanner.block(&bytes);
            scanner.block(text.as_bytes());
            scanner.end();
            for series in &scanner.series {
                let _ = series.verdict();
            }
        }
    }
}
