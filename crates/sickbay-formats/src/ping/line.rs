//! One line of ping's.

use bstr::ByteSlice;

/// What a line says.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// `PING gw (10.0.0.1) 56(84) bytes of data.`: whom it asks, and the number of its first packet, where that is known.
    Begins(String, Option<u32>),
    /// An answer.
    Answer(Answer),
    /// No answer to a packet with this number, if it is told.
    Nothing(Option<u32>),
    /// The end.
    Sum(Sum),
    /// `10.0.0.1 : 0.05 - 0.04`: all packets to one host, from number 0 on (`fping -C`).
    Row(String, Vec<Option<f64>>),
}

/// `22 packets transmitted, 22 received, … time 1294ms`
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sum {
    /// To whom, where that is told in the same line.
    pub from: Option<String>,
    /// Packets that were sent.
    pub sent: u64,
    /// Answers, where that is told.
    pub received: Option<u64>,
    /// Milliseconds, where that is told.
    pub took: Option<f64>,
}

/// An answer to a packet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// Who answered.
    pub from: String,
    /// The number of the packet; 16 bits in the packet itself. Windows tells none.
    pub sequence: Option<u32>,
    /// Hops that were left.
    pub ttl: Option<u32>,
    /// The round trip in milliseconds.
    pub time: f64,
    /// When the answer came, in seconds since 1970 (`-D`, `ts '%.s'`, a time with its zone).
    pub at: Option<f64>,
    /// Whether this packet was answered before.
    pub again: bool,
}

/// Of a line no more is read.
const LINE: usize = 512;
/// A name is no longer.
const NAME: usize = 100;
/// Times in a row of `fping -C` that are read.
const ROW: usize = 20_000;

/// `请求超时` as Windows writes it where that is not UTF-8.
const TIMED_OUT_GBK: &[u8] = b"\xC7\xEB\xC7\xF3\xB3\xAC\xCA\xB1";

/// What a line says; `None` for what ping does not print.
pub fn line(bytes: &[u8]) -> Option<Said> {
    if let Some(row) = row(bytes) {
        return Some(row);
    }
    let bytes = bytes.get(..LINE).unwrap_or(bytes);
    // Cheap, for this is asked of every line of a log.
    let words =
        ["PING ", "bytes, ", "tim", "packets", "请求超时", "nreachable", "Ping", "0%", "berschreitung", "ailure"];
    let may_be = bytes.contains(&b'=') || words.iter().any(|word| bytes.contains_str(word));
    if !may_be && !bytes.contains_str(TIMED_OUT_GBK) {
        return None;
    }
    if bytes.contains_str(TIMED_OUT_GBK) && bytes.len() < 40 {
        return Some(Said::Nothing(None));
    }
    let text = bytes.to_str_lossy();
    // What a terminal shows where somebody pressed ^C.
    let text = text.trim().trim_start_matches("^C");
    begins(text)
        .or_else(|| answer(text).map(Said::Answer))
        .or_else(|| fping(text))
        .or_else(|| sum(text))
        .or_else(|| nothing(text))
}

fn name(text: &str) -> String {
    text.chars().take(NAME).collect()
}

/// The head: `PING gw (10.0.0.1) 56(84) bytes of data.`, `Pinging gw [10.0.0.1] with 32 bytes of data:`, with a time in front or not.
fn begins(text: &str) -> Option<Said> {
    let heads =
        ["HPING ", "PING ", "Pinging ", "正在 Ping ", "Ping wird ausgeführt für ", "Envoi d’une requête 'Ping' "];
    let (at, head) = heads.iter().find_map(|head| Some((text.find(head)?, head)))?;
    // In front of it is at most a time.
    let is_time = |c: char| c.is_ascii_digit() || " :.-+TZ[]".contains(c);
    let in_front = text.get(..at)?;
    if !(in_front.chars().all(is_time) || in_front.len() < 40 && in_front.contains(':')) {
        return None;
    }
    let rest = text.get(at + head.len()..)?;
    let whom = rest.split(['(', ' ', '[', ':']).find(|word| !word.is_empty()).unwrap_or_default();
    // IPv6 addresses have colons of their own.
    let v6 = rest.split(['(', ' ', '[', ')', ']', ',']).find(|word| word.matches(':').count() > 1);
    // iputils and oping count from 1, and tell `56(84) bytes of data` or `56 bytes of data`; those of BSD's family say `56 data bytes`,
    // and count from 0.
    let first = match () {
        () if *head == "HPING " => Some(0),
        () if *head != "PING " => None,
        () if rest.contains(" data bytes") && !rest.contains("::") && !rest.contains("PING6") => Some(0),
        () if rest.contains("bytes of data") || rest.contains("data bytes") => Some(1),
        () if rest.contains(") ") => Some(1),
        () => None,
    };
    Some(Said::Begins(name(v6.map_or(whom, |v6| v6.trim_end_matches(':'))), first))
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

/// Seconds since 1970 at the beginning of a line: `[1546769450.781316]`, `1546769450.781316` and a time with its zone. A time without a
/// fraction or without a zone says nothing that is of use.
fn stamp(text: &str) -> Option<f64> {
    let word = text.trim_start_matches('[').split([' ', ']', '\t']).next()?;
    let epoch = word.parse().ok().filter(|seconds: &f64| (1e8..1e11).contains(seconds));
    epoch.or_else(|| iso(word))
}

/// `2026-12-01T03:23:33.479198+0000`
fn iso(word: &str) -> Option<f64> {
    let (date, time) = word.split_once('T')?;
    let mut parts = date.split('-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let zone_at = time.find(['+', '-', 'Z'])?;
    let (clock, zone) = time.split_at_checked(zone_at)?;
    let mut parts = clock.split(':');
    let (hour, minute): (i64, i64) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let second = parts.next()?.replace(',', ".");
    second.contains('.').then_some(())?;
    let second: f64 = second.parse().ok().filter(|second| (0.0..61.0).contains(second))?;
    let digits: String = zone.chars().filter(char::is_ascii_digit).collect();
    let offset = match digits.len() {
        0 => 0,
        2 => digits.parse::<i64>().ok()? * 60,
        4 => digits.get(..2)?.parse::<i64>().ok()? * 60 + digits.get(2..)?.parse::<i64>().ok()?,
        _ => return None,
    };
    let offset = if zone.starts_with('-') { -offset } else { offset };
    // Days since 1970 of the proleptic Gregorian calendar, years beginning in March.
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1 - 719_468;
    let minutes = days * 1440 + hour * 60 + minute - offset;
    Some(minutes as f64 * 60.0 + second)
}

/// `64 bytes from HOST (1.2.3.4): …`, `len=28 ip=1.2.3.4 …`: the last word with an address.
fn address(text: &str) -> String {
    if let Some(rest) = keyed(text, " ip=") {
        return name(rest.split(' ').next().unwrap_or_default());
    }
    let head = text.split(['=', '<']).next().unwrap_or_default();
    // A time in front has points and colons too, and letters only of hexadecimal numbers; so the last.
    let is_address = |word: &&str| word.contains('.') && word.len() > 3 || word.matches(':').count() > 1;
    let mut words = head.split([' ', '(', ')', ',', '，']).map(|word| word.trim_end_matches([':', '：']));
    name(words.rfind(is_address).unwrap_or_default())
}

/// How Windows begins an answer.
const REPLIES: [&str; 6] = ["Reply from ", "来自 ", "Antwort von ", "Réponse de ", "Respuesta desde ", "からの応答"];

fn answer(text: &str) -> Option<Answer> {
    let lower = text.to_ascii_lowercase();
    let ttl = keyed(&lower, "ttl=").or_else(|| keyed(&lower, "hlim=")).and_then(number).map(|(ttl, _)| ttl as u32);
    let sequence = ["icmp_seq=", "icmp_req=", " seq="].iter().find_map(|key| number(keyed(&lower, key)?));
    // Whatever a language calls it: a value in milliseconds that is neither of these.
    let mut time = None;
    for (at, _) in lower.match_indices(['=', '<']) {
        let Some((value, rest)) = lower.get(at + 1..).and_then(number) else { continue };
        let rest = rest.trim_start();
        if ["ms", "毫秒", "мс", "ミリ秒"].iter().any(|unit| rest.starts_with(unit)) {
            time = Some(value);
        }
    }
    let time = time?;
    // Windows tells neither of an answer by IPv6.
    if sequence.is_none() && ttl.is_none() && !REPLIES.iter().any(|reply| text.contains(reply)) {
        return None;
    }
    // The sum of fping has times too.
    if lower.contains("min/avg/max") {
        return None;
    }
    let (again, sequence) = (text.contains("DUP!"), sequence.map(|(number, _)| number as u32));
    Some(Answer { from: address(text), sequence, ttl, time, at: stamp(text), again })
}

/// `10.0.0.1 : [0], 64 bytes, 0.05 ms (0.05 avg, 0% loss)`, `10.0.0.1 : [1], timed out (…)`,
/// `10.0.0.1 : xmt/rcv/%loss = 4/4/0%, min/avg/max = 0.022/0.032/0.036`.
fn fping(text: &str) -> Option<Said> {
    let at = stamp(text);
    let rest = if text.starts_with('[') { text.split_once(']')?.1.trim_start() } else { text };
    if let Some((from, rest)) = rest.split_once(" : xmt/rcv/%loss = ") {
        let mut numbers = rest.split('/').map(|word| word.parse::<u64>().ok());
        let (sent, received) = (numbers.next()??, numbers.next()?);
        return Some(Said::Sum(Sum { from: Some(name(from.trim())), sent, received, took: None }));
    }
    let (from, rest) = rest.split_once(" : [")?;
    let (sequence, rest) = rest.split_once("], ")?;
    let sequence: u32 = sequence.trim().parse().ok()?;
    if rest.starts_with("timed out") {
        return Some(Said::Nothing(Some(sequence)));
    }
    let (_, rest) = rest.split_once(" bytes, ")?;
    let (time, rest) = number(rest)?;
    rest.trim_start().starts_with("ms").then_some(())?;
    // `10.0.0.1 : [0], 84 bytes, 0.05 ms (0.05 avg, 0% loss) [<- 10.0.0.2]`
    Some(Said::Answer(Answer {
        from: name(from.rsplit(' ').next().unwrap_or_default()),
        sequence: Some(sequence),
        ttl: None,
        time,
        at,
        again: rest.contains("duplicate"),
    }))
}

/// `10.0.0.1 : 0.016 0.034 - 0.044`
fn row(bytes: &[u8]) -> Option<Said> {
    let at = bytes.find(b" : ")?;
    let (from, rest) = (bytes.get(..at)?, bytes.get(at + 3..)?);
    // Nothing but numbers: said of a few bytes before all of it is read.
    let is_of_numbers = |byte: &u8| byte.is_ascii_digit() || b". -\r".contains(byte);
    if from.len() > NAME || rest.is_empty() || !rest.iter().all(is_of_numbers) {
        return None;
    }
    let mut times = Vec::new();
    for word in rest.to_str().ok()?.split_ascii_whitespace().take(ROW) {
        times.push(match word {
            "-" => None,
            word if word.contains('.') => Some(word.parse().ok()?),
            _ => return None,
        });
    }
    let from = from.to_str_lossy();
    let from = from.trim();
    (!times.is_empty() && !from.contains(' ') && !from.is_empty()).then(|| Said::Row(name(from), times))
}

/// What stands behind the number of packets that were sent, and what before it.
const SENT: [&str; 9] = [
    " packets transmitted",
    "个包",
    " 個封包",
    " Pakete übertragen",
    " paquets transmis",
    " paquetes transmitidos",
    " pacotes transmitidos",
    " pacchetti trasmessi",
    " пакетов передано",
];
const SENT_BEFORE: [&str; 2] = ["送信パケット数 ", "送信パケット数: "];
const TOOK: [&str; 9] = ["time ", "Zeit ", "temps ", "tiempo ", "tempo ", "时间 ", "時間 ", "время ", "время: "];

fn sum(text: &str) -> Option<Said> {
    if let Some(windows) = sum_of_windows(text) {
        return Some(windows);
    }
    let first = |text: &str| {
        let at = text.find(|c: char| c.is_ascii_digit())?;
        Some(number(text.get(at..)?)?.0 as u64)
    };
    let behind = SENT.iter().find_map(|words| {
        let at = text.find(words)?;
        let word = text.get(..at)?.trim_end().rsplit([' ', '：']).next()?;
        Some((word.parse::<u64>().ok()?, text.get(at + words.len()..)?))
    });
    let before =
        || SENT_BEFORE.iter().find_map(|words| number(keyed(text, words)?)).map(|(sent, rest)| (sent as u64, rest));
    let (sent, rest) = behind.or_else(before)?;
    let took = TOOK.iter().find_map(|key| number(keyed(text, key)?.trim_start()));
    Some(Said::Sum(Sum {
        from: None,
        sent,
        received: first(rest).filter(|received| *received <= sent),
        took: took.filter(|(_, rest)| rest.trim_start().starts_with("ms")).map(|(took, _)| took),
    }))
}

/// `Packets: Sent = 4, Received = 3, Lost = 1 (25% loss),`: whatever the words are.
fn sum_of_windows(text: &str) -> Option<Said> {
    let mut numbers = text.split(" = ").skip(1).map(|part| number(part).map(|(value, rest)| (value as u64, rest)));
    let ((sent, _), (received, _), (lost, rest)) = (numbers.next()??, numbers.next()??, numbers.next()??);
    let is_it = rest.trim_start().starts_with(['(', '（']) && rest.contains('%') && received.checked_add(lost)? == sent;
    is_it.then_some(Said::Sum(Sum { from: None, sent, received: Some(received), took: None }))
}

/// Words of errors about a packet.
const ERRORS: [&str; 8] = [
    "nreachable",
    "不可达",
    "Time to live exceeded",
    "Packet filtered",
    "TTL expired",
    "Communication prohibited",
    "nicht erreichbar",
    "无法访问目标主机",
];

/// All that Windows says of a packet without an answer.
const NO_ANSWER: [&str; 8] = [
    "Request timed out.",
    "请求超时。",
    "Zeitüberschreitung der Anforderung.",
    "General failure.",
    "PING: transmit failed. General failure.",
    "Délai d’attente de la demande dépassé.",
    "Tiempo de espera agotado para esta solicitud.",
    "要求がタイムアウトしました。",
];

fn nothing(text: &str) -> Option<Said> {
    let sequence = ["icmp_seq=", "icmp_seq ", "seq="].iter().find_map(|key| number(keyed(text, key)?));
    let sequence = sequence.map(|(number, _)| number as u32);
    let is_error = ERRORS.iter().any(|words| text.contains(words));
    let told = text.contains("no answer yet for")
        || text.contains("Request timeout for")
        || sequence.is_some() && is_error
        // `36 bytes from 10.0.0.2: Destination Host Unreachable`, `Reply from 10.0.0.2: Destination host unreachable.`
        || is_error && (text.contains(" bytes from ") || REPLIES.iter().any(|reply| text.contains(reply)))
        || text.starts_with("ICMP ") && text.contains(" for ICMP Echo sent to ");
    if told {
        return Some(Said::Nothing(sequence));
    }
    // Where ü is not what it was.
    let is_german = text.starts_with("Zeit") && text.ends_with("berschreitung der Anforderung.");
    (is_german || NO_ANSWER.iter().any(|words| text.ends_with(words) && text.len() < words.len() + 40))
        .then_some(Said::Nothing(None))
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
            ("64 bytes from 10.109.0.253: icmp_seq=1 ident=46606 ttl=64 time=0.024 ms", Some(1), 0.024),
            ("64 bytes from 10.109.0.253: icmp_seq=2 ttl=64 time=0.037 ms\t(same route)", Some(2), 0.037),
            ("[1546769450.781316] 64 bytes from 10.109.0.253: icmp_seq=2 ttl=64 time=0.012 ms", Some(2), 0.012),
            ("1796095413.571871 64 bytes from 10.109.0.253: icmp_seq=1 ttl=64 time=0.023 ms", Some(1), 0.023),
            (
                "2026-12-01T03:23:33.479198+0000 64 bytes from 10.109.0.253: icmp_seq=1 ttl=64 time=0.033 ms",
                Some(1),
                0.033,
            ),
            ("00:00:00.000100 64 bytes from 10.109.0.253: icmp_seq=1 ttl=64 time=0.022 ms", Some(1), 0.022),
            ("Dec 01 03:23:33 64 bytes from 10.109.0.253: icmp_seq=1 ttl=64 time=0.013 ms", Some(1), 0.013),
            ("64 bytes from 10.109.0.253: seq=0 ttl=64 time=0.123 ms", Some(0), 0.123),
            ("56 bytes from 10.109.0.253 (10.109.0.253): icmp_seq=1 ttl=64 time=0.03 ms", Some(1), 0.03),
            ("len=28 ip=10.109.0.253 ttl=64 id=65417 icmp_seq=0 rtt=2.6 ms", Some(0), 2.6),
            ("len=40 ip=10.109.0.253 ttl=64 DF id=0 sport=22 flags=RA seq=2 win=0 rtt=0.9 ms", Some(2), 0.9),
            ("64 Bytes von 10.109.0.253: icmp_seq=3 ttl=64 Zeit=0,5 ms", Some(3), 0.5),
            ("64 字节，来自 10.109.0.253: icmp_seq=4 ttl=64 时间=12.5 毫秒", Some(4), 12.5),
            ("64 octets de 10.109.0.253 : icmp_seq=5 ttl=64 temps=7.1 ms", Some(5), 7.1),
            ("64 バイト応答 送信元 10.109.0.253: icmp_seq=6 ttl=64 時間=0.5ミリ秒", Some(6), 0.5),
            ("10.109.0.253 : [6], 84 bytes, 0.52 ms (0.50 avg, 0% loss)", Some(6), 0.52),
            ("[1546769450.78] 10.109.0.253 : [7], 64 bytes, 3 ms (3 avg, 0% loss)", Some(7), 3.0),
            ("Reply from 10.109.0.253: bytes=32 time<1ms TTL=64", None, 1.0),
            ("来自 10.109.0.253 的回复: 字节=32 时间=9ms TTL=64", None, 9.0),
            ("Antwort von 10.109.0.253: Bytes=32 Zeit=9ms TTL=64", None, 9.0),
            ("Thu Jan  4 10:00:01 CST 2018 64 bytes from 10.109.0.253: icmp_seq=8 ttl=64 time=1.0 ms", Some(8), 1.0),
            (
                "Tue Dec  1 03:23:33 UTC 2026: 64 bytes from 10.109.0.253: icmp_seq=1 ttl=64 time=0.014 ms",
                Some(1),
                0.014,
            ),
        ] {
            assert_eq!(answer(text), (sequence, time, "10.109.0.253".to_owned()), "{text}");
        }
        assert_eq!(answer("Reply from fe80::1: time<1ms"), (None, 1.0, "fe80::1".to_owned()));
        for (text, seconds) in [
            ("[1546769450.781316] 64 bytes from 10.0.0.1: icmp_seq=2 ttl=64 time=0.012 ms", 1_546_769_450.781_316),
            ("2026-12-01T03:23:33.5+0000 64 bytes from 10.0.0.1: icmp_seq=2 ttl=64 time=1 ms", 1_796_095_413.5),
            ("2026-12-01T11:23:33.5+08:00 64 bytes from 10.0.0.1: icmp_seq=2 ttl=64 time=1 ms", 1_796_095_413.5),
            ("2024-02-29T00:00:00.0Z 64 bytes from 10.0.0.1: icmp_seq=2 ttl=64 time=1 ms", 1_709_164_800.0),
        ] {
            let Some(Said::Answer(Answer { at: Some(at), .. })) = line(text.as_bytes()) else { panic!("{text}") };
            assert!((at - seconds).abs() < 0.001, "{text}: {at}");
        }
    }

    #[test]
    fn what_else_is_said() {
        let sum = |sent, received, took| Said::Sum(Sum { from: None, sent, received: Some(received), took });
        for (text, said) in [
            ("PING gw (10.0.0.1) 56(84) bytes of data.", Said::Begins("gw".into(), Some(1))),
            ("PING 10.0.0.1 (10.0.0.1): 56 data bytes", Said::Begins("10.0.0.1".into(), Some(0))),
            ("PING ::1(::1) 56 data bytes", Said::Begins("::1".into(), Some(1))),
            (
                "2026-12-01 03:23:33 PING 127.0.0.1 (127.0.0.1) 56(84) bytes of data.",
                Said::Begins("127.0.0.1".into(), Some(1)),
            ),
            (
                "Dec 01 03:23:33 PING 127.0.0.1 (127.0.0.1) 56(84) bytes of data.",
                Said::Begins("127.0.0.1".into(), Some(1)),
            ),
            ("PING 10.0.0.1 (10.0.0.1) 56(84) 比特的数据。", Said::Begins("10.0.0.1".into(), Some(1))),
            ("Pinging gw [10.0.0.1] with 32 bytes of data:", Said::Begins("gw".into(), None)),
            ("正在 Ping 10.0.0.1 具有 32 字节的数据:", Said::Begins("10.0.0.1".into(), None)),
            ("HPING 10.0.0.1 (eth0 10.0.0.1): icmp mode set, 28 headers", Said::Begins("10.0.0.1".into(), Some(0))),
            ("22 packets transmitted, 21 received, 4% packet loss, time 1294ms", sum(22, 21, Some(1294.0))),
            ("Dec 01 03:23:33 3 packets transmitted, 3 received, 0% packet loss, time 35ms", sum(3, 3, Some(35.0))),
            ("2 packets transmitted, 0 received, +2 errors, 100% packet loss, time 201ms", sum(2, 0, Some(201.0))),
            ("22 packets transmitted, 22 packets received, 0% packet loss", sum(22, 22, None)),
            ("已发送 22 个包， 已接收 22 个包, 0% packet loss, time 1294ms", sum(22, 22, Some(1294.0))),
            ("5 Pakete übertragen, 4 empfangen, 20% Paketverlust, Zeit 4005ms", sum(5, 4, Some(4005.0))),
            ("5 paquets transmis, 4 reçus, 20% packet loss, time 4005ms", sum(5, 4, Some(4005.0))),
            ("送信パケット数 5, 受信パケット数 4, パケット損失 20%, 時間 4005ms", sum(5, 4, Some(4005.0))),
            ("    Packets: Sent = 4, Received = 3, Lost = 1 (25% loss),", sum(4, 3, None)),
            ("    数据包: 已发送 = 4，已接收 = 3，丢失 = 1 (25% 丢失)，", sum(4, 3, None)),
            ("no answer yet for icmp_seq=5", Said::Nothing(Some(5))),
            ("From 10.0.0.2 icmp_seq=6 Destination Host Unreachable", Said::Nothing(Some(6))),
            ("From 10.0.0.2 icmp_seq=6 Time to live exceeded", Said::Nothing(Some(6))),
            ("36 bytes from 10.0.0.2: Destination Host Unreachable", Said::Nothing(None)),
            ("Reply from 10.0.0.2: Destination host unreachable.", Said::Nothing(None)),
            ("Request timeout for icmp_seq 7", Said::Nothing(Some(7))),
            ("10.0.0.1 : [1], timed out (NaN avg, 100% loss)", Said::Nothing(Some(1))),
            ("ICMP Host Unreachable from 10.0.0.2 for ICMP Echo sent to 10.0.0.1", Said::Nothing(None)),
            ("Request timed out.", Said::Nothing(None)),
            ("10:00:01.12 Request timed out.", Said::Nothing(None)),
            ("10.0.0.1 : 0.016 - 1.5", Said::Row("10.0.0.1".into(), vec![Some(0.016), None, Some(1.5)])),
        ] {
            assert_eq!(line(text.as_bytes()), Some(said), "{text}");
        }
        let fping = line(b"10.0.0.1 : xmt/rcv/%loss = 4/3/25%, min/avg/max = 0.022/0.032/0.036");
        let from = Some("10.0.0.1".to_owned());
        assert_eq!(fping, Some(Said::Sum(Sum { from, sent: 4, received: Some(3), took: None })));
        assert_eq!(line(b"\xC7\xEB\xC7\xF3\xB3\xAC\xCA\xB1\xA1\xA3"), Some(Said::Nothing(None)));
        assert_eq!(line(b"Zeit\x81berschreitung der Anforderung."), Some(Said::Nothing(None)));
    }

    #[test]
    fn what_is_none_of_it() {
        for text in [
            "eth0: link up",
            "a=5 ms",
            "upstream timed out (110: Connection timed out) while reading",
            "x = y",
            "rtt min/avg/max/mdev = 0.025/0.031/0.037/0.006 ms",
            "round-trip min/avg/max = 0.024/0.043/0.063 ms",
            "load average : 1 2 3",
            "cpu MHz\t\t : 2400.000 x",
            "bogomips : ",
            "Time to live exceeded",
            "connect: Network is unreachable",
            "nginx: 404 reason = a, b = 2, c = 3",
            "rsyslogd: PINGed by the master",
        ] {
            assert_eq!(line(text.as_bytes()), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, text in "[0-9T:+Z. \\[\\]-]{0,40}64 bytes from [0-9.:]{1,12}: icmp_seq=[0-9]{1,12} ttl=[0-9]{1,4} time=[0-9.,]{1,12} (ms|毫秒)?") {
            let _ = (line(&bytes), line(text.as_bytes()), line(text.replace("from", " : ").as_bytes()));
        }
    }
}
