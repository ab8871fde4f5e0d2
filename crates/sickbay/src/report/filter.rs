//! What becomes of a packet, rule by rule: as text and as JSON.

use std::fmt::Write as _;

use sickbay_formats::filter::evaluate::Step;
use sickbay_formats::filter::packet::{Packet, Way, states};
use sickbay_formats::filter::{RuleSet, Verdict};

use crate::facts::Facts;
use crate::facts::network::filters::{Decider, Saved, decider};
use crate::facts::network::outside::Outside;
use crate::facts::network::security_groups::SecurityGroups;
use crate::model::text::Text;
use crate::report::text::{Style, printable};
use crate::tr;

/// A packet, and for whom it is.
#[derive(Debug)]
pub struct Asked {
    /// The packet.
    pub packet: Packet,
    /// The server that is configured for its port, where that is why it is asked about.
    pub of: Option<&'static str>,
}

/// A rule that it met.
#[derive(Debug)]
struct Met {
    chain: String,
    number: Option<usize>,
    rule: String,
    place: String,
    may: bool,
    depth: usize,
}

/// What becomes of one packet.
#[derive(Debug)]
struct One {
    asked: Asked,
    verdict: Verdict,
    certain: bool,
    by: Option<Decider>,
    possible: Vec<(Verdict, Decider)>,
    path: Vec<Met>,
    translated: Option<String>,
    not_forwarded: bool,
    group: Option<(Verdict, bool, Option<String>)>,
}

/// All that is told.
#[derive(Debug)]
pub struct Told {
    running: bool,
    rules: usize,
    sources: Vec<String>,
    others: Vec<&'static str>,
    unread: Vec<(String, String)>,
    each: Vec<One>,
}

impl Told {
    /// Takes each packet through the rules.
    pub fn new(
        facts: &Facts,
        running: bool,
        rules: &RuleSet,
        saved: &Saved,
        outside: &Outside,
        groups: Option<&SecurityGroups>,
        asked: Vec<Asked>,
    ) -> Told {
        let one = |asked: Asked| {
            let answer = rules.evaluate(&asked.packet, &outside.host);
            let possible = answer.possible.iter();
            let possible = possible.filter_map(|(verdict, by)| Some((*verdict, decider(facts, rules, &answer, *by)?)));
            let group = groups.map(|given| {
                let answer = given.groups.evaluate(&asked.packet);
                let rule = answer.by.and_then(|at| given.groups.rules.get(at)).map(|rule| rule.text());
                (answer.verdict, answer.certain, rule)
            });
            One {
                verdict: answer.verdict,
                certain: answer.certain,
                by: answer.by.and_then(|by| decider(facts, rules, &answer, by)),
                possible: possible.take(8).collect(),
                path: answer.path.iter().filter_map(|step| met(rules, step)).collect(),
                translated: answer.translated.map(|(address, port)| {
                    let address = address.map_or_else(String::new, |address| address.to_string());
                    port.map_or(address.clone(), |port| format!("{address}:{port}"))
                }),
                not_forwarded: answer.not_forwarded,
                group,
                asked,
            }
        };
        Told {
            running,
            rules: rules.rules(),
            sources: match running {
                true => rules.files.clone(),
                false => saved
                    .sources
                    .iter()
                    .map(|source| format!("{} ({})", source.program, source.path.display()))
                    .collect(),
            },
            others: if running { Vec::new() } else { saved.others.clone() },
            unread: rules.unread.iter().map(|(at, text)| (rules.place(*at), text.clone())).collect(),
            each: asked.into_iter().map(one).collect(),
        }
    }
}

fn met(rules: &RuleSet, step: &Step) -> Option<Met> {
    let (chain, rule) = rules.rule(step.by)?;
    let at = rule.map_or(chain.at, |rule| rule.at);
    let policy = if chain.policy == Verdict::Accept { "policy accept" } else { "policy drop" };
    Some(Met {
        chain: format!("{}/{}", chain.table, chain.name),
        number: step.by.rule.map(|number| number + 1),
        rule: rule.map_or_else(|| policy.to_owned(), |rule| rule.text.clone()),
        place: rules.place(at),
        may: step.may,
        depth: step.depth,
    })
}

/// A packet in the words that it may be asked for with.
fn words(packet: &Packet) -> String {
    let protocol = match packet.protocol {
        1 => "icmp".to_owned(),
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        58 => "icmpv6".to_owned(),
        other => other.to_string(),
    };
    let end = |address: Option<std::net::IpAddr>, port: Option<u16>| match (address, port) {
        (Some(address), Some(port)) => std::net::SocketAddr::new(address, port).to_string(),
        (Some(address), None) => address.to_string(),
        (None, Some(port)) => format!(":{port}"),
        (None, None) => "any".to_owned(),
    };
    let mut out =
        format!("{protocol} from {} to {}", end(packet.source, packet.sport), end(packet.destination, packet.dport));
    if let Some(card) = packet.iif.as_ref().filter(|_| packet.way != Way::Out) {
        let _ = write!(out, " in {card}");
    }
    match packet.way {
        Way::In => {}
        Way::Out => out.push_str(" output"),
        Way::Through => out.push_str(" forward"),
    }
    match packet.state {
        states::ESTABLISHED => out.push_str(" established"),
        states::RELATED => out.push_str(" related"),
        states::INVALID => out.push_str(" invalid"),
        states::UNTRACKED => out.push_str(" untracked"),
        _ => {}
    }
    out
}

/// Renders it as text, for people.
pub fn render(told: &Told, style: &Style) -> String {
    let say = |text: &Text| printable(&text.render(style.lang));
    let mut out = String::new();
    let from = told.sources.join(", ");
    let head = match (told.running, told.sources.is_empty()) {
        (true, _) if told.rules == 0 => tr!("no rules are in force: every packet is accepted"),
        (true, _) => tr!("{count} {count?rule|rules} in force ({from})", count = told.rules, from),
        (false, true) => tr!("no program that loads rules at boot is enabled"),
        (false, false) => tr!("{count} {count?rule|rules} that the next boot loads: {from}", count = told.rules, from),
    };
    let _ = writeln!(out, "{}", say(&head));
    if !told.others.is_empty() {
        let text = tr!("not in a file: what {programs} adds when it runs", programs = told.others.join(", "));
        let _ = writeln!(out, "{}", say(&text));
    }
    let is_alone = told.each.len() == 1;
    for one in &told.each {
        out.push('\n');
        let of = one.asked.of.map(|name| format!(" ({name})")).unwrap_or_default();
        let _ = writeln!(out, "{}{of}", printable(&words(&one.asked.packet)));
        if is_alone || style.verbose {
            for met in &one.path {
                let may = if met.may { "? " } else { "" };
                let number = met.number.map(|number| format!(" {number}")).unwrap_or_default();
                let blanks = " ".repeat(2 + met.depth * 2);
                let _ = writeln!(out, "{blanks}{may}{}{number}: {}", printable(&met.chain), printable(&met.rule));
                if met.place.starts_with('/') {
                    let _ = writeln!(out, "{blanks}  {}", printable(&met.place));
                }
            }
            if let Some(to) = &one.translated {
                let _ = writeln!(out, "  {}", say(&tr!("its destination becomes {to}", to = to.as_str())));
            }
        }
        let _ = writeln!(out, "  {}", say(&verdict(one)));
        if let Some(packets) = one.by.as_ref().and_then(|by| by.packets) {
            let _ = writeln!(out, "  {}", say(&tr!("it has met {packets} {packets?packet|packets} so far", packets)));
        }
        for (verdict, by) in one.possible.iter().filter(|_| !one.certain) {
            let text = tr!("it may be another: {verdict} by {what}", verdict = verdict.word(), what = by.what.clone());
            let _ = writeln!(out, "  {}", say(&text));
        }
        if let Some((verdict, certain, rule)) = &one.group {
            let text = match (rule, certain) {
                (_, false) => tr!(
                    "security group: {verdict}, unless a rule for members of another group or list matches",
                    verdict = verdict.word()
                ),
                (Some(rule), true) => {
                    tr!("security group: {verdict} by {rule}", verdict = verdict.word(), rule = rule.as_str())
                }
                (None, true) => tr!("security group: {verdict}, as no rule matches", verdict = verdict.word()),
            };
            let _ = writeln!(out, "  {}", say(&text));
        }
    }
    for (place, text) in &told.unread {
        let _ = writeln!(
            out,
            "{}",
            say(&tr!(
                "not understood, and taken as what may match: {place}: {text}",
                place = place.as_str(),
                text = text.as_str()
            ))
        );
    }
    out
}

fn verdict(one: &One) -> Text {
    let what = one.by.as_ref().map(|by| by.what.clone());
    match (one.verdict, what, one.certain) {
        _ if one.not_forwarded => tr!("drop: it is for another machine, and this one does not forward"),
        (verdict, Some(what), true) => tr!("{verdict}: {what} decides", verdict = verdict.word(), what),
        (verdict, Some(what), false) => tr!("probably {verdict}: {what} decides", verdict = verdict.word(), what),
        (verdict, None, true) => tr!("{verdict}: nothing is in its way", verdict = verdict.word()),
        (verdict, None, false) => tr!("probably {verdict}", verdict = verdict.word()),
    }
}

/// The document for programs.
pub fn json(told: &Told, style: &Style) -> serde_json::Value {
    let of = |decider: &Decider| {
        serde_json::json!({
            "what": decider.what.render(style.lang), "rule": decider.rule, "place": decider.place, "packets": decider.packets,
            "program": decider.program, "object": decider.object,
        })
    };
    let each: Vec<_> = told
        .each
        .iter()
        .map(|one| {
            let path: Vec<_> = one
                .path
                .iter()
                .map(|met| serde_json::json!({"chain": met.chain, "rule": met.number, "text": met.rule, "place": met.place, "may": met.may}))
                .collect();
            let possible: Vec<_> = one
                .possible
                .iter()
                .map(|(verdict, by)| serde_json::json!({"verdict": verdict.word(), "by": of(by)}))
                .collect();
            let mut value = serde_json::json!({
                "packet": words(&one.asked.packet), "server": one.asked.of, "verdict": one.verdict.word(), "certain": one.certain,
                "by": one.by.as_ref().map(of), "possible": possible, "path": path, "translated_to": one.translated,
                "forwards": !one.not_forwarded,
            });
            if let Some((verdict, certain, rule)) = &one.group {
                value["security_group"] = serde_json::json!({"verdict": verdict.word(), "certain": certain, "rule": rule});
            }
            value
        })
        .collect();
    let unread: Vec<_> =
        told.unread.iter().map(|(place, text)| serde_json::json!({"place": place, "text": text})).collect();
    serde_json::json!({
        "schema": "sickbay/filter/v1", "running": told.running, "rules": told.rules, "sources": told.sources, "added_later": told.others,
        "packets": each, "not_understood": unread,
    })
}
