//! What the times of a ping say. When a machine does nothing for a while, the answers that wait are all taken at once: each packet was
//! sent one interval later than the one before it, and its time is shorter by just that. A queue on the way gives times
//! that rise and fall instead.

use super::{Packet, Series};

/// The machine, or its side of the network, did nothing for a while.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stall {
    /// The first packet whose answer waited.
    pub first: u64,
    /// How many waited.
    pub packets: u64,
    /// At least so long, in milliseconds: the time of the first one.
    pub length: f64,
    /// When it ended, in seconds since 1970, if the log says when answers came.
    pub ended: Option<f64>,
    /// The line of the first one.
    pub line: u64,
}

/// Packets in a row that were not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    /// The first one.
    pub first: u64,
    /// How many.
    pub packets: u64,
}

/// Answers in a row that came late, in no order that a stall has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Late {
    /// The first packet.
    pub first: u64,
    /// How many.
    pub packets: u64,
    /// The longest time, in milliseconds.
    pub longest: f64,
    /// The line of the first one.
    pub line: u64,
}

/// What a series says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// Packets that were sent, from the first to the last that are told of.
    pub sent: u64,
    /// Those without an answer.
    pub lost: u64,
    /// Between two packets, in milliseconds, where it can be told.
    pub interval: Option<f64>,
    /// The time of an answer that nothing kept back, in milliseconds.
    pub usual: f64,
    /// Stalls in order.
    pub stalls: Vec<Stall>,
    /// Seconds, or packets where the interval is not known, from one stall to the next, if that is always about the same.
    pub period: Option<f64>,
    /// Losses in a row, in order.
    pub outages: Vec<Outage>,
    /// Late answers that no stall explains: a queue on the way, or single ones.
    pub late: Vec<Late>,
}

/// An answer is late from so many milliseconds above the usual on.
const LATE: f64 = 10.0;
/// And from so many times the usual on.
const TIMES: f64 = 4.0;
/// A log that is one stall from its first line to its last has no usual time. Steps that are shorter than this, in milliseconds, could
/// be chance there.
const STEP: f64 = 150.0;
/// So many are kept of each kind.
const MOST: usize = 1000;

impl Series {
    /// What the times say.
    pub fn verdict(&self) -> Verdict {
        let mut packets = self.packets.clone();
        packets.sort_by_key(|packet| packet.sequence);
        packets.dedup_by_key(|packet| packet.sequence);
        let (Some(first), Some(last)) = (packets.first(), packets.last()) else {
            let sent = self.sent.unwrap_or(self.unanswered);
            let lost = sent.saturating_sub(self.received.unwrap_or(0));
            // Not one of them: all in a row.
            let row = (lost > 0 && lost == sent).then(|| Outage { first: self.begins.unwrap_or(1), packets: lost });
            return Verdict { sent, lost, outages: row.into_iter().collect(), ..Verdict::default() };
        };
        let mut verdict = Verdict::default();
        let answered = packets.len() as u64;
        // What is before the first one was cut off, unless the log has the head, or it begins with the first packets.
        let is_whole = self.begins.is_some() || first.sequence <= 1;
        let begins = self.begins.unwrap_or(first.sequence).min(first.sequence);
        let ends = last.sequence.max(self.silent.unwrap_or(0));
        let told = (ends - begins).saturating_add(1);
        let sent = self.sent.filter(|sent| is_whole && *sent >= told);
        verdict.sent = sent.unwrap_or(told);
        // Answers without a time, or of which the lines are not there.
        let received = self.received.filter(|_| sent.is_some()).unwrap_or(0);
        verdict.lost = verdict.sent.saturating_sub(answered.max(received));
        verdict.usual = usual(&packets);
        verdict.interval = self.interval(&packets);
        if verdict.lost > 0 {
            verdict.outages = outages(&packets, begins, begins.saturating_add(verdict.sent));
        }
        let (stalls, late) = kept_back(&packets, verdict.usual, verdict.interval);
        // The steps down are the interval, where nothing else tells it.
        verdict.stalls = stalls;
        verdict.late = late;
        verdict.period = period(&verdict);
        verdict
    }

    /// Milliseconds between two packets: by the time stamps, else by what ping says at its end.
    fn interval(&self, packets: &[Packet]) -> Option<f64> {
        let mut each: Vec<f64> = Vec::new();
        for pair in packets.windows(2).take(10_000) {
            let [one, next] = pair else { continue };
            let sent = |packet: &Packet| packet.at.map(|at| at * 1000.0 - packet.time);
            let (Some(one_sent), Some(next_sent)) = (sent(one), sent(next)) else { continue };
            each.push((next_sent - one_sent) / (next.sequence - one.sequence).max(1) as f64);
        }
        let by_stamps = median(each);
        let by_sum = || match (self.took, self.sent) {
            (Some(took), Some(sent)) if sent > 1 => Some(took / (sent - 1) as f64),
            _ => None,
        };
        // Lines that stood in a pipe have the times at which it was emptied.
        let by_sum = by_sum();
        let is_near = |stamps: &f64| by_sum.is_none_or(|sum| (0.5..2.0).contains(&(stamps / sum)));
        by_stamps.filter(is_near).or(by_sum).filter(|interval| *interval > 0.1)
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// The time that one answer in ten has at most: a log may consist of a stall for the most part.
fn usual(packets: &[Packet]) -> f64 {
    let mut times: Vec<f64> = packets.iter().map(|packet| packet.time).collect();
    times.sort_by(f64::total_cmp);
    let usual = times.get(times.len() / 10).copied().unwrap_or_default();
    let downhill = packets.windows(2).all(|pair| matches!(pair, [one, next] if one.time - next.time >= STEP));
    if downhill && packets.len() > 2 { 0.0 } else { usual }
}

/// Losses in a row among the packets from one number up to another, which was not sent any more.
fn outages(packets: &[Packet], begins: u64, end: u64) -> Vec<Outage> {
    let numbers = packets.iter().map(|packet| packet.sequence);
    let next = numbers.clone().chain([end]);
    let after = std::iter::once(begins).chain(numbers.map(|number| number + 1));
    let gaps = after.zip(next).filter(|(first, next)| first < next);
    gaps.map(|(first, next)| Outage { first, packets: next - first }).take(MOST).collect()
}

/// Late answers: those that step down by the interval, and the others.
fn kept_back(packets: &[Packet], usual: f64, interval: Option<f64>) -> (Vec<Stall>, Vec<Late>) {
    let is_late = |packet: &Packet| packet.time > usual + LATE && packet.time > usual * TIMES;
    let (mut stalls, mut late): (Vec<Stall>, Vec<Late>) = (Vec::new(), Vec::new());
    let mut at = 0;
    while let Some(first) = packets.get(at) {
        if !is_late(first) {
            at += 1;
            continue;
        }
        let count = descending(packets.get(at..).unwrap_or_default(), usual, interval);
        // Without an interval two steps could be chance.
        let least = if interval.is_some() { 2 } else { 3 };
        if count >= least {
            if stalls.len() < MOST {
                let ended = first.at;
                let last = packets.get(at + count - 1).map_or(first.sequence, |last| last.sequence);
                let (packets, length) = (last - first.sequence + 1, first.time - usual);
                stalls.push(Stall { first: first.sequence, packets, length, ended, line: first.line });
            }
            at += count;
            continue;
        }
        let is_full = late.len() >= MOST;
        match late.last_mut() {
            Some(run) if run.first + run.packets == first.sequence => {
                run.packets += 1;
                run.longest = run.longest.max(first.time);
            }
            _ if !is_full => {
                let (sequence, time, line) = (first.sequence, first.time, first.line);
                late.push(Late { first: sequence, packets: 1, longest: time, line });
            }
            _ => {}
        }
        at += 1;
    }
    (stalls, late)
}

/// How far a step may be from the interval: clocks of machines that stall are not exact.
const NEAR: std::ops::Range<f64> = 0.6..1.5;

/// Answers of one stall come at once: as many milliseconds apart at most, where the log says when they came.
const AT_ONCE: f64 = 20.0;

/// How many packets from the first on have times that go down by the interval from each to the next.
fn descending(packets: &[Packet], usual: f64, interval: Option<f64>) -> usize {
    let steps = packets.windows(2).map_while(|pair| match pair {
        [one, next] if next.time < one.time && next.sequence > one.sequence => {
            let step = (one.time - next.time) / (next.sequence - one.sequence) as f64;
            // Packets that are sent at odd times come at once all the same.
            let apart = one.at.zip(next.at).map(|(one, next)| ((next - one) * 1000.0).abs());
            Some((step, apart.is_some_and(|apart| apart <= AT_ONCE && apart < (one.time - next.time) / 2.0)))
        }
        _ => None,
    });
    let steps: Vec<(f64, bool)> = steps.take(100_000).collect();
    let middle = || median(steps.iter().map(|(step, _)| *step).collect());
    let Some(step) = interval.or_else(middle).filter(|step| *step > 0.0) else { return 0 };
    let near = |one: f64| NEAR.contains(&(one / step));
    // Two or three that are uneven could be anything.
    let even = steps.iter().filter(|(one, _)| near(*one)).count();
    let may_pair = steps.len() >= 5 && even * 3 >= steps.len() * 2;
    let mut fits = 0;
    while let Some((one, at_once)) = steps.get(fits) {
        // A sender that was late with one packet was early with the next.
        let with_next = steps.get(fits + 1).map(|(next, _)| (one + next) / 2.0);
        match () {
            () if near(*one) || *at_once => fits += 1,
            () if may_pair && with_next.is_some_and(near) => fits += 2,
            () => break,
        }
    }
    // The last one that fits is of the stall only if it waited itself.
    let count = fits + 1;
    let waited = packets.get(..count).unwrap_or_default().iter().take_while(|packet| packet.time > usual * 1.5 + 0.5);
    let count = waited.count();
    // All the way down, unless the log ends before: the last answer that waited waited less than the next packet would have.
    let last = count.checked_sub(1).and_then(|last| packets.get(last)).map_or(0.0, |packet| packet.time);
    let next = packets.get(count).zip(packets.get(count.saturating_sub(1)));
    let lost = next.map_or(1, |(next, last)| next.sequence.saturating_sub(last.sequence).max(1));
    let by_stamps = steps.get(..count.saturating_sub(1)).unwrap_or_default().iter().any(|(_, at_once)| *at_once);
    let least = if by_stamps { 3.0 } else { 1.6 };
    if count < packets.len() && last - usual > step * least * lost as f64 { 0 } else { count }
}

/// From one stall to the next, if that is about the same each time.
fn period(verdict: &Verdict) -> Option<f64> {
    let starts: Vec<f64> = verdict.stalls.iter().map(|stall| stall.first as f64).collect();
    let gaps: Vec<f64> = starts.windows(2).filter_map(|pair| Some(pair.get(1)? - pair.first()?)).collect();
    if gaps.len() < 2 {
        return None;
    }
    let middle = median(gaps.clone())?;
    let even = gaps.iter().all(|gap| (gap - middle).abs() <= middle * 0.1 + 1.0);
    even.then(|| verdict.interval.map_or(middle, |interval| middle * interval / 1000.0))
}

#[cfg(test)]
mod tests {
    use super::super::{Scanner, Series};

    fn series(times: &[f64]) -> Series {
        let mut scanner = Scanner::default();
        for (number, time) in times.iter().enumerate() {
            if *time >= 0.0 {
                let text = format!("64 bytes from 10.0.0.1: icmp_seq={} ttl=64 time={time} ms\n", number + 1);
                scanner.block(text.as_bytes());
            }
        }
        scanner.series.remove(0)
    }

    /// The e-book's 22 lines: numbers 51 to 72.
    const BOOK: [f64; 22] = [
        0.012, 0.029, 0.025, 0.028, 0.033, 833.0, 774.0, 714.0, 664.0, 614.0, 554.0, 494.0, 434.0, 374.0, 314.0, 254.0,
        194.0, 134.0, 74.1, 14.1, 0.037, 0.015,
    ];

    #[test]
    fn one_stall_of_the_book() {
        let verdict = series(&BOOK).verdict();
        assert_eq!((verdict.sent, verdict.lost, verdict.stalls.len()), (22, 0, 1));
        let stall = verdict.stalls[0];
        assert_eq!((stall.first, stall.packets), (6, 15));
        assert!((stall.length - 833.0).abs() < 1.0, "{stall:?}");
        assert!(verdict.late.is_empty() && verdict.outages.is_empty() && verdict.period.is_none());
    }

    #[test]
    fn a_stall_that_is_all_there_is() {
        let verdict = series(&[5001.0, 4000.0, 3001.0, 2000.0, 1001.0, 1.0, 1.0]).verdict();
        assert_eq!((verdict.stalls.len(), verdict.stalls[0].packets), (1, 5));
    }

    #[test]
    fn a_log_that_ends_in_a_stall() {
        let verdict = series(&[5001.0, 4000.0, 3001.0]).verdict();
        assert_eq!((verdict.stalls.len(), verdict.stalls[0].packets), (1, 3));
        assert!(series(&[620.0, 610.0, 600.0]).verdict().stalls.is_empty());
    }

    #[test]
    fn odd_times_of_sending() {
        // Packets of a jittered ping, all answered in the same moment.
        let mut text = String::new();
        let (mut now, stall) = (1_796_095_400.0, 1_796_095_403.0..1_796_095_404.2_f64);
        for number in 1..60 {
            now += [0.05, 0.2, 0.11, 0.17][number % 4];
            let came = if stall.contains(&now) { stall.end + 0.0001 * number as f64 } else { now + 0.0004 };
            text += &format!(
                "[{came:.6}] 64 bytes from 10.0.0.1: icmp_seq={number} ttl=63 time={:.3} ms\n",
                (came - now) * 1000.0
            );
        }
        let mut scanner = Scanner::default();
        scanner.block(text.as_bytes());
        let verdict = scanner.series[0].verdict();
        assert_eq!((verdict.stalls.len(), verdict.lost, verdict.late.len()), (1, 0, 0), "{verdict:?}");
        assert!((1000.0..1200.0).contains(&verdict.stalls[0].length), "{verdict:?}");
    }

    #[test]
    fn a_sender_that_is_late_and_early() {
        let mut times = vec![0.05; 40];
        for (at, time) in [100.0, 92.0, 78.0, 70.0, 60.0, 52.0, 38.0, 30.0, 20.0, 11.0].into_iter().enumerate() {
            times[20 + at] = time;
        }
        let verdict = series(&times).verdict();
        assert_eq!(
            (verdict.stalls.len(), verdict.stalls.first().map(|stall| stall.packets)),
            (1, Some(10)),
            "{verdict:?}"
        );
    }

    #[test]
    fn a_stall_with_losses_and_two_in_a_row() {
        let mut times = vec![1.0; 60];
        for (at, time) in [1001.0, 801.0, -1.0, 401.0, 201.0, 501.0, 301.0, 101.0].into_iter().enumerate() {
            times[20 + at] = time;
        }
        let verdict = series(&times).verdict();
        let packets: Vec<u64> = verdict.stalls.iter().map(|stall| stall.packets).collect();
        assert_eq!((packets, verdict.lost), (vec![5, 3], 1), "{verdict:?}");
    }

    #[test]
    fn a_queue_is_no_stall() {
        let mut times = vec![1.0; 40];
        for (at, time) in [40.0, 90.0, 130.0, 180.0, 210.0, 190.0, 220.0, 120.0, 60.0, 45.0].into_iter().enumerate() {
            times[10 + at] = time;
        }
        let verdict = series(&times).verdict();
        assert!(verdict.stalls.is_empty(), "{verdict:?}");
        assert_eq!((verdict.late.len(), verdict.late[0].packets), (1, 10));
        // A single one says nothing of its cause.
        let mut times = vec![1.0; 40];
        times[7] = 300.0;
        let verdict = series(&times).verdict();
        assert_eq!((verdict.stalls.len(), verdict.late.len()), (0, 1));
    }

    #[test]
    fn loss_and_periods() {
        let mut times = vec![1.0; 100];
        for start in [10, 40, 70] {
            for (at, time) in [3001.0, 2001.0, 1001.0].into_iter().enumerate() {
                times[start + at] = time;
            }
        }
        times[90..95].fill(-1.0);
        let verdict = series(&times).verdict();
        assert_eq!((verdict.stalls.len(), verdict.period, verdict.lost), (3, Some(30.0), 5));
        assert_eq!((verdict.outages.len(), verdict.outages[0].first, verdict.outages[0].packets), (1, 91, 5));
        assert!(series(&[1.0, 1.2, 0.9, 1.1]).verdict().stalls.is_empty());
    }
}
