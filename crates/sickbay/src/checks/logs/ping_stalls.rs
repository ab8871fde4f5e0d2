//! What the times of a ping say: stalls, losses, queues.

use std::path::Path;

use sickbay_formats::ping::{Late, Outage, Series, Verdict};

use crate::facts::Facts;
use crate::facts::logs::kernel_log::KernelLog;
use crate::facts::logs::recorded_pings::RecordedPings;
use crate::model::finding::{Finding, Findings};
use crate::model::outcome::{Skip, Verdict as Outcome};
use crate::model::subject::Subject;
use crate::{check, tr};

check! {
    /// ## Symptom
    /// You see: in the output of ping a row of times that falls by the interval from line to line, such as 833, 773, 713 ms,
    /// or "100% packet loss" for a while.
    ///
    /// ## What it finds
    /// In what ping printed (iputils, inetutils, busybox, fping, oping, hping3, macOS, Windows; with times in front and in other languages too), given as a log, or recorded by
    /// `sickbay record --ping`: answers whose times go down by
    /// the interval from one to the next. They all waited for the same moment: one stall, with its first packet and its length, and the
    /// period if there are several. Also packets that were lost in a row, or one in a hundred and more; and answers that came late for a while without that order, as a
    /// queue on the way makes them.
    ///
    /// ## Why it matters
    /// In a stall nothing is lost and the network is well: one of the two machines took no packets for so long. Interrupts were off, its hypervisor did not let it
    /// run, or something held the processor in the kernel, such as a program that reads `/proc/slabinfo` where there are millions of
    /// slabs. Times below 50 µs to a "gateway" never left the host: the stall is this machine's own.
    ///
    /// ## What the repair does
    /// Nothing in a log. Run ping with `-D`, so that the times of stalls are known, and look for what runs at that moment:
    /// `sickbay explain jitter` tells for how long each CPU stood still, and who reads `/proc/slabinfo`; cron.
    ///
    /// ## By hand
    /// ```sh
    /// ping -D GATEWAY | tee ping.log
    /// sickbay record --ping gateway
    /// ```
    "ping-stalls", Logs, seed = ["C13"], proves = [], reads_recordings = true, "ping shows stalls, losses or a queue"
}

/// Packets lost in a row that are worth a word, and the share of all.
const ROW: u64 = 3;
const SHARE: u64 = 100;

/// An answer that was late and stands alone says nothing; so many in a row are a queue.
const QUEUE: u64 = 5;

/// Below this, in milliseconds, no network is in between.
const OWN: f64 = 0.05;

/// Stalls that are listed.
const LISTED: usize = 20;

fn run(facts: &Facts, found: &mut Findings) -> Outcome {
    if facts.target().recording().is_ok() {
        let recorded = facts.get::<RecordedPings>()?;
        for (source, series) in &recorded.0 {
            told(found, source, series);
        }
        return Ok(());
    }
    if facts.target().logs().is_err() {
        return Err(Skip::NotApplicable(tr!("only logs that are given are looked at")));
    }
    let log = facts.get::<KernelLog>()?;
    if log.pings.is_empty() {
        return Err(Skip::NotApplicable(tr!("no line of ping is in it")));
    }
    for series in &log.pings {
        told(found, &log.source(series.source), series);
    }
    if log.pings_cut {
        found.could_not_tell(tr!("there are more answers of ping than are kept: the last ones were not looked at"));
    }
    Ok(())
}

fn told(found: &mut Findings, source: &Path, series: &Series) {
    let verdict = series.verdict();
    stalls(found, source, series, &verdict);
    losses(found, source, series, &verdict);
    queues(found, source, series, &verdict);
}

/// Milliseconds as ping prints them: three digits.
fn milliseconds(time: f64) -> String {
    match time {
        time if time >= 100.0 => format!("{time:.0}"),
        time if time >= 10.0 => format!("{time:.1}"),
        time if time >= 1.0 => format!("{time:.2}"),
        time => format!("{time:.3}"),
    }
}

fn at(seconds: f64) -> Option<String> {
    let time = jiff::Timestamp::from_millisecond((seconds * 1000.0) as i64).ok()?;
    Some(time.strftime("%Y-%m-%d %H:%M:%S%.3f UTC").to_string())
}

/// What all findings of a series have.
fn describe(finding: &mut Finding, source: &Path, series: &Series, verdict: &Verdict, subject: &str) {
    finding.at_path(source).subject(Subject::Named(format!("{subject} {}", series.from)));
    finding.detail("from", series.from.as_str()).detail("sent", verdict.sent).detail("lost", verdict.lost);
    finding.detail("usual_ms", verdict.usual).detail("interval_ms", verdict.interval);
}

fn stalls(found: &mut Findings, source: &Path, series: &Series, verdict: &Verdict) {
    let Some(longest) = verdict.stalls.iter().max_by(|a, b| a.length.total_cmp(&b.length)) else { return };
    let length = milliseconds(longest.length);
    let finding = found.warning(if verdict.stalls.len() == 1 {
        let (first, packets) = (longest.first, longest.packets);
        tr!(
            "one stall of {length} ms: the answers to {packets} packets from number {first} on came at once",
            length,
            packets,
            first
        )
    } else {
        let count = verdict.stalls.len();
        tr!(
            "{count} stalls, the longest of {length} ms: each time the answers to several packets came at once",
            count,
            length
        )
    });
    describe(finding, source, series, verdict, "stalls");
    finding.why(if verdict.lost == 0 {
        tr!("nothing was lost and nothing was slow on the way: one of the two machines took no packets for so long")
    } else {
        tr!("nothing was slow on the way: one of the two machines took no packets for so long")
    });
    for stall in verdict.stalls.iter().take(LISTED) {
        let (first, last, length) = (stall.first, stall.first + stall.packets - 1, milliseconds(stall.length));
        finding.note(match stall.ended.and_then(at) {
            Some(ended) => tr!("packets {first} to {last}: {length} ms, ended {ended}", first, last, length, ended),
            None => tr!("packets {first} to {last}: {length} ms", first, last, length),
        });
    }
    if let Some(period) = verdict.period {
        let period = format!("{period:.0}");
        finding.note(match verdict.interval {
            Some(_) => tr!("one begins every {period} s: look for what runs as often", period),
            None => tr!("one begins every {period} packets: look for what runs as often", period),
        });
    }
    if verdict.usual < OWN && series.ttl.is_some_and(|ttl| ttl >= 64) {
        let usual = format!("{:.0}", verdict.usual * 1000.0);
        finding.note(tr!(
            "the usual answer takes {usual} µs and has its ttl of 64 or more: it never left this machine's host, and the stall is this machine's own",
            usual
        ));
    }
    let first = verdict.stalls.first();
    if let Some(packet) = series.packets.iter().find(|packet| first.is_some_and(|stall| stall.line == packet.line)) {
        let text = format!("seq={} time={} ms", packet.sequence, milliseconds(packet.time));
        finding.evidence(format!("{}:{}", source.display(), packet.line), text);
    }
    let listed = verdict.stalls.iter().map(|stall| {
        serde_json::json!({
            "first_seq": stall.first, "packets": stall.packets, "length_ms": (stall.length * 10.0).round() / 10.0,
            "ended": stall.ended, "line": stall.line,
        })
    });
    finding.detail("stalls", listed.collect::<Vec<_>>()).detail("period", verdict.period);
    finding.by_hand(tr!("run ping -D on both machines at once, and look for what else happens at the time of a stall"));
}

fn losses(found: &mut Findings, source: &Path, series: &Series, verdict: &Verdict) {
    let (lost, sent) = (verdict.lost, verdict.sent);
    let rows: Vec<&Outage> = verdict.outages.iter().filter(|outage| outage.packets >= ROW).collect();
    if sent == 0 || lost == 0 || rows.is_empty() && lost.saturating_mul(SHARE) < sent {
        return;
    }
    let message = tr!("{lost} of {sent} packets were not answered", lost, sent);
    let finding = if lost == sent { found.error(message) } else { found.warning(message) };
    describe(finding, source, series, verdict, "losses");
    finding.why(if rows.is_empty() {
        tr!("single ones, here and there: a queue that overflows, a limit of packets a second, a bad link")
    } else {
        tr!("some in a row: the way was interrupted, a machine was down or moved, or its address was not known")
    });
    for outage in rows.iter().take(LISTED) {
        let (first, last) = (outage.first, outage.first + outage.packets - 1);
        finding.note(tr!("packets {first} to {last} were lost", first, last));
    }
    let listed = verdict.outages.iter().take(LISTED);
    let listed: Vec<_> =
        listed.map(|one| serde_json::json!({"first_seq": one.first, "packets": one.packets})).collect();
    finding.detail("outages", listed);
    finding.by_hand(tr!("ping the machines on the way one after the other (mtr), from both ends"));
}

fn queues(found: &mut Findings, source: &Path, series: &Series, verdict: &Verdict) {
    let runs: Vec<&Late> = verdict.late.iter().filter(|late| late.packets >= QUEUE).collect();
    let Some(longest) = runs.iter().max_by(|a, b| a.longest.total_cmp(&b.longest)) else { return };
    let (packets, first) = (longest.packets, longest.first);
    let finding = found.warning(tr!(
        "{packets} answers in a row from number {first} on were late, up to {time} ms, with times that rise and fall",
        packets,
        first,
        time = milliseconds(longest.longest)
    ));
    describe(finding, source, series, verdict, "queues");
    finding.why(tr!("this is no stall, whose times fall by the interval: a queue was full, here or on the way"));
    let listed: Vec<_> = runs
        .iter()
        .take(LISTED)
        .map(|run| serde_json::json!({"first_seq": run.first, "packets": run.packets, "longest_ms": run.longest}))
        .collect();
    finding.detail("queues", listed);
    finding.by_hand(tr!(
        "look who fills the link at that time, at the limits of the cloud, and at softirq time of the receiver"
    ));
}
