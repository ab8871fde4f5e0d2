use crate::filter::packet::{Host, Packet};
use crate::filter::{RuleSet, Verdict, nft, nft_json};

fn rules(text: &str) -> RuleSet {
    let mut rules = RuleSet::default();
    nft::read(&mut rules, "/etc/nftables.conf", text.as_bytes(), &mut |pattern| {
        assert_eq!(pattern, "/etc/nftables.d/*.nft");
        vec![("/etc/nftables.d/ports.nft".to_owned(), b"define web = { 80, 443 }\n".to_vec())]
    });
    rules.link();
    assert!(rules.unread.is_empty(), "{:?}", rules.unread);
    rules
}

fn ask(rules: &RuleSet, packet: &str) -> (Verdict, bool, usize) {
    let answer = rules.evaluate(&Packet::parse(packet).expect("a packet"), &Host::default());
    let line = answer
        .by
        .and_then(|by| rules.rule(by))
        .map_or(0, |(chain, rule)| rule.map_or(chain.at.line, |rule| rule.at.line));
    (answer.verdict, answer.certain, line)
}

const SERVER: &str = r#"#!/usr/sbin/nft -f
flush ruleset
include "/etc/nftables.d/*.nft"
define admins = { 10.0.0.0/8, 192.0.2.1-192.0.2.9 }
table inet filter {
	set bad {
		type ipv4_addr
		flags interval
		elements = { 198.51.100.0/24,
			     203.0.113.7 }
	}
	map services {
		type inet_service : verdict
		elements = { 25 : drop, 5432 : jump database }
	}
	chain input {
		type filter hook input priority filter + 10; policy drop;
		ct state vmap { established : accept, related : accept, invalid : drop }
		iifname "lo" accept
		ip saddr @bad counter packets 12 bytes 720 drop comment "those"
		ip saddr $admins tcp dport ssh accept
		tcp dport $web accept
		tcp dport vmap @services
		meta l4proto . th dport { tcp . 2222, udp . 53 } accept
		icmp type echo-request limit rate 5/second accept
		meta nfproto ipv6 fib saddr . mark . iif oif missing drop
		icmpv6 type { nd-neighbor-solicit, echo-request } accept
		tcp flags & (fin | syn | rst | ack) == syn tcp dport 9000-9010 \
			reject with tcp reset
	}
	chain database {
		ip saddr != 192.0.2.5 return
		accept
	}
}
add rule inet filter input udp dport 123 accept
table ip6 x { chain raw { type filter hook prerouting priority -300; policy accept; tcp dport 7 drop; }; }
"#;

#[test]
fn a_server() {
    let rules = rules(SERVER);
    for (packet, wanted) in [
        ("tcp from 10.1.2.3 to :22", (Verdict::Accept, true, 21)),
        ("tcp from 192.0.2.9 to :22", (Verdict::Accept, true, 21)),
        ("tcp from 8.8.8.8 to :22", (Verdict::Drop, true, 17)),
        ("tcp from 8.8.8.8 to :443", (Verdict::Accept, true, 22)),
        ("tcp from 198.51.100.5 to :443", (Verdict::Drop, true, 20)),
        ("tcp from 2001:db8::1 to :443", (Verdict::Accept, true, 22)),
        ("tcp from 2001:db8::1 to :7", (Verdict::Drop, true, 37)),
        ("tcp from 8.8.8.8 to :25", (Verdict::Drop, true, 23)),
        ("tcp from 192.0.2.5 to :5432", (Verdict::Accept, true, 33)),
        ("tcp from 8.8.8.8 to :5432", (Verdict::Drop, true, 17)),
        ("tcp from 8.8.8.8 to :2222", (Verdict::Accept, true, 24)),
        ("udp from 8.8.8.8 to :2222", (Verdict::Drop, true, 17)),
        ("udp from 8.8.8.8 to :123", (Verdict::Accept, true, 36)),
        ("icmp from 8.8.8.8", (Verdict::Drop, false, 17)),
        ("icmpv6 from 2001:db8::1", (Verdict::Accept, true, 27)),
        ("tcp from 8.8.8.8 to :9005", (Verdict::Reject, true, 28)),
        ("tcp from 8.8.8.8 to :9005 established", (Verdict::Accept, true, 18)),
    ] {
        assert_eq!(ask(&rules, packet), wanted, "{packet}");
    }
    let counted = rules.chains.iter().flat_map(|chain| &chain.rules).find_map(|rule| rule.packets);
    assert_eq!(counted, Some(12));
}

#[test]
fn two_tables_and_a_device() {
    let rules = rules(
        "table inet a {\n chain i {\n  type filter hook input priority 0\n  policy accept\n  tcp dport 22 accept\n }\n}\n\
         table inet b {\n chain i { type filter hook input priority 5; policy accept; tcp dport 22 drop; }\n}\n\
         table netdev c {\n chain in {\n  type filter hook ingress device \"eth1\" priority 0; policy accept;\n  udp dport 53 drop\n }\n}\n",
    );
    // An accept is not the end: the next table has its say.
    assert_eq!(ask(&rules, "tcp from 8.8.8.8 to :22"), (Verdict::Drop, true, 9));
    assert_eq!(ask(&rules, "udp from 8.8.8.8 to :53 in eth0").0, Verdict::Accept);
    assert_eq!(ask(&rules, "udp from 8.8.8.8 to :53 in eth1"), (Verdict::Drop, true, 14));
    assert!(!ask(&rules, "udp from 8.8.8.8 to :53").1);
}

#[test]
fn the_same_in_json() {
    let json = r#"{"nftables": [{"metainfo": {"version": "1.0.6"}}, {"table": {"family": "inet", "name": "f", "handle": 1}},
      {"chain": {"family": "inet", "table": "f", "name": "in", "handle": 1, "type": "filter", "hook": "input", "prio": 0, "policy": "drop"}},
      {"chain": {"family": "inet", "table": "f", "name": "web", "handle": 2}},
      {"set": {"family": "inet", "name": "bad", "table": "f", "type": "ipv4_addr", "flags": ["interval"], "elem": [{"prefix": {"addr": "198.51.100.0", "len": 24}}, {"range": ["203.0.113.1", "203.0.113.9"]}]}},
      {"rule": {"family": "inet", "table": "f", "chain": "in", "handle": 3, "expr": [{"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}}, {"accept": null}]}},
      {"rule": {"family": "inet", "table": "f", "chain": "in", "handle": 4, "expr": [{"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": "@bad"}}, {"counter": {"packets": 3, "bytes": 180}}, {"drop": null}]}},
      {"rule": {"family": "inet", "table": "f", "chain": "in", "handle": 5, "expr": [{"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": {"set": [22, {"range": [8000, 8010]}]}}}, {"jump": {"target": "web"}}]}},
      {"rule": {"family": "inet", "table": "f", "chain": "in", "handle": 6, "expr": [{"vmap": {"key": {"payload": {"protocol": "udp", "field": "dport"}}, "data": {"set": [[53, {"accept": null}], [69, {"drop": null}]]}}}]}},
      {"rule": {"family": "inet", "table": "f", "chain": "web", "handle": 7, "comment": "x", "expr": [{"match": {"op": "!=", "left": {"meta": {"key": "iifname"}}, "right": "eth9"}}, {"accept": null}]}}]}"#;
    let mut rules = RuleSet::default();
    nft_json::read(&mut rules, "nft -j list ruleset", json.as_bytes()).expect("a ruleset");
    rules.link();
    assert!(rules.unread.is_empty(), "{:?}", rules.unread);
    let ask = |packet: &str| {
        let answer = rules.evaluate(&Packet::parse(packet).expect("a packet"), &Host::default());
        (answer.verdict, answer.certain)
    };
    assert_eq!(ask("tcp from 8.8.8.8 to :8005 in eth0"), (Verdict::Accept, true));
    assert_eq!(ask("tcp from 8.8.8.8 to :8005 in eth9"), (Verdict::Drop, true));
    assert_eq!(ask("tcp from 203.0.113.4 to :22 in eth0"), (Verdict::Drop, true));
    assert_eq!(ask("udp from 8.8.8.8 to :53 in eth0"), (Verdict::Accept, true));
    assert_eq!(ask("tcp from 8.8.8.8 to :80 in eth0"), (Verdict::Drop, true));
    assert_eq!(ask("tcp from 8.8.8.8 to :80 established"), (Verdict::Accept, true));
}

proptest::proptest! {
    #[test]
    fn never_panics(bytes: Vec<u8>, text in "((table|inet|x|chain|\\{|\\}|type|filter|hook|input|priority|0|;|tcp|dport|22|ip|saddr|@s|set|elements|=|vmap|:|,|\\.|accept|meta|mark|and|flags|/|\"|define|\\$x|include|add|rule|\n|-|&|\\(|\\)|\\|)[ ]?){0,60}") {
        for text in [bytes.as_slice(), text.as_bytes(), format!("table inet x {{ chain i {{ {text} }} }}").as_bytes()] {
            let mut rules = RuleSet::default();
            nft::read(&mut rules, "x", text, &mut |_| Vec::new());
            rules.link();
            rules.evaluate(&Packet::parse("tcp from 1.2.3.4 to :22").expect("a packet"), &Host::default());
        }
    }
}
