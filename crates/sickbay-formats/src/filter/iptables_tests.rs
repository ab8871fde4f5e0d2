use crate::filter::packet::{Host, Packet};
use crate::filter::{RuleSet, Verdict, ipset, iptables, ufw};

fn rules(text: &str) -> RuleSet {
    let mut rules = RuleSet::default();
    iptables::read(&mut rules, "rules.v4", text.as_bytes(), false);
    rules.link();
    assert!(rules.unread.is_empty(), "{:?}", rules.unread);
    rules
}

/// What becomes of a packet, whether it is certain, and where that stands.
fn ask(rules: &RuleSet, packet: &str) -> (Verdict, bool, usize) {
    let host = Host { cards: vec![("eth0".into(), vec!["192.0.2.10/24".parse_cidr()])], ..Host::default() };
    let answer = rules.evaluate(&Packet::parse(packet).expect("a packet"), &host);
    let line = answer
        .by
        .and_then(|by| rules.rule(by))
        .map_or(0, |(chain, rule)| rule.map_or(chain.at.line, |rule| rule.at.line));
    (answer.verdict, answer.certain, line)
}

trait ParseCidr {
    fn parse_cidr(&self) -> crate::network::address::Cidr;
}

impl ParseCidr for str {
    fn parse_cidr(&self) -> crate::network::address::Cidr {
        crate::network::address::Cidr::parse(self).expect("a network")
    }
}

const SERVER: &str = "*filter
:INPUT DROP [7:420]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:guests - [0:0]
[100:2000] -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -i lo -j ACCEPT
-A INPUT -s 10.0.0.0/8,172.16.0.0/12 -p tcp -m multiport --dports 22,8000:8010 -j ACCEPT
-A INPUT ! -i eth+ -j DROP
-A INPUT -p tcp -m tcp --dport 22 -m comment --comment \"ssh for guests\" -g guests
-A INPUT -p tcp --dport 80 -m limit --limit 25/min -j ACCEPT
-A INPUT -p icmp --icmp-type echo-request -j ACCEPT
-A guests -m iprange --src-range 203.0.113.1-203.0.113.9 -j RETURN
-A guests -p tcp ! --syn -j ACCEPT
[3:180] -A guests -j REJECT --reject-with icmp-port-unreachable
COMMIT
";

#[test]
fn a_server() {
    let rules = rules(SERVER);
    for (packet, wanted) in [
        ("tcp from 10.1.1.1 to :22 in eth0", (Verdict::Accept, true, 8)),
        ("tcp from 10.1.1.1 to :8010 in eth0", (Verdict::Accept, true, 8)),
        ("tcp from 10.1.1.1 to :22 in wlan0", (Verdict::Accept, true, 8)),
        ("tcp from 8.8.8.8 to :22 in wlan0", (Verdict::Drop, true, 9)),
        ("tcp from 8.8.8.8 to :22 in eth0", (Verdict::Reject, true, 15)),
        // goto: the end of the chain is the end of INPUT.
        ("tcp from 203.0.113.5 to :22 in eth0", (Verdict::Drop, true, 2)),
        ("tcp from 8.8.8.8 to :80 in eth0", (Verdict::Drop, false, 2)),
        ("tcp from 8.8.8.8 to :80 in eth0 established", (Verdict::Accept, true, 6)),
        ("icmp from 8.8.8.8 in eth0", (Verdict::Accept, true, 12)),
        ("udp from 8.8.8.8 to :53 in eth0", (Verdict::Drop, true, 2)),
        // By which card is not known: it may be another.
        ("udp from 8.8.8.8 to :53", (Verdict::Drop, true, 2)),
    ] {
        assert_eq!(ask(&rules, packet), wanted, "{packet}");
    }
    let refuses = rules.chains.iter().find(|chain| &*chain.name == "guests").and_then(|chain| chain.rules.last());
    assert_eq!(refuses.and_then(|rule| rule.packets), Some(3));
}

#[test]
fn docker_translates() {
    let rules = rules(
        "*nat\n:PREROUTING ACCEPT [0:0]\n:DOCKER - [0:0]\n-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n\
         -A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80\nCOMMIT\n\
         *filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n:DOCKER - [0:0]\n:DOCKER-USER - [0:0]\n-A FORWARD -j DOCKER-USER\n\
         -A FORWARD -o docker0 -j DOCKER\n-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT\n\
         -A DOCKER-USER -s 198.51.100.0/24 -j DROP\n-A DOCKER-USER -j RETURN\nCOMMIT\n",
    );
    let cards = vec![
        ("eth0".to_owned(), vec!["192.0.2.10/24".parse_cidr()]),
        ("docker0".to_owned(), vec!["172.17.0.1/16".parse_cidr()]),
    ];
    let mut host = Host { cards, forwards: Some(true), forwards_v6: None };
    let packet = |text: &str| Packet::parse(text).expect("a packet");
    let answer = rules.evaluate(&packet("tcp from 8.8.8.8 to 192.0.2.10:8080 in eth0"), &host);
    assert_eq!((answer.verdict, answer.certain), (Verdict::Accept, true), "{answer:?}");
    assert_eq!(answer.translated, Some(("172.17.0.2".parse().ok(), Some(80))));
    let answer = rules.evaluate(&packet("tcp from 198.51.100.1 to 192.0.2.10:8080 in eth0"), &host);
    assert_eq!((answer.verdict, answer.certain), (Verdict::Drop, true));
    let origin = rules.origin(&answer, answer.by.expect("a rule")).expect("it is Docker's");
    assert_eq!(origin.program.name(), "Docker");
    host.forwards = Some(false);
    let answer = rules.evaluate(&packet("tcp from 8.8.8.8 to 192.0.2.10:8080 in eth0"), &host);
    assert!(answer.not_forwarded && answer.verdict == Verdict::Drop);
}

#[test]
fn sets_marks_and_what_may_be() {
    let mut rules = RuleSet::default();
    ipset::read(
        &mut rules,
        b"create bad hash:net family inet\nadd bad 198.51.100.0/24\nadd bad 203.0.113.7\ncreate web hash:ip,port\nadd web 192.0.2.10,tcp:80\n",
    );
    iptables::read(
        &mut rules,
        "x",
        b"*mangle\n:PREROUTING ACCEPT\n-A PREROUTING -p tcp --dport 443 -j MARK --set-xmark 0x1/0xf\nCOMMIT\n*filter\n:INPUT DROP\n\
          -A INPUT -m set --match-set bad src -j DROP\n-A INPUT -m set --match-set web dst,dst -j ACCEPT\n\
          -A INPUT -m mark --mark 0x1/0xf -j ACCEPT\n-A INPUT -m set --match-set gone src -j ACCEPT\n\
          -A INPUT -m recent --name ssh --set\n-A INPUT -p tcp --dport 23 -m time --timestart 08:00 -j REJECT\nCOMMIT\n",
        false,
    );
    rules.link();
    for (packet, wanted) in [
        ("tcp from 198.51.100.3 to 192.0.2.10:80", (Verdict::Drop, true, 7)),
        ("tcp from 203.0.113.7 to 192.0.2.10:80", (Verdict::Drop, true, 7)),
        ("tcp from 203.0.113.8 to 192.0.2.10:80", (Verdict::Accept, true, 8)),
        ("tcp from 203.0.113.8 to 192.0.2.10:443", (Verdict::Accept, true, 9)),
        // The set is not there.
        ("tcp from 203.0.113.8 to 192.0.2.10:22", (Verdict::Drop, false, 6)),
    ] {
        assert_eq!(ask(&rules, packet), wanted, "{packet}");
    }
}

#[test]
fn ufw_as_it_is_started() {
    let before = "*filter\n:ufw-before-input - [0:0]\n-A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\nCOMMIT\n";
    let user = "*filter\n:ufw-user-input - [0:0]\n### RULES ###\n\n### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in\n\
        -A ufw-user-input -p tcp --dport 22 -j ACCEPT\n\n### tuple ### deny any any 0.0.0.0/0 any 203.0.113.0/24 in\n\
        -A ufw-user-input -s 203.0.113.0/24 -j DROP\nCOMMIT\n";
    let defaults =
        "# comment\nDEFAULT_INPUT_POLICY=\"DROP\"\nDEFAULT_FORWARD_POLICY=\"DROP\"\nDEFAULT_OUTPUT_POLICY=\"ACCEPT\"\n";
    let mut rules = RuleSet::default();
    let file = |path, text: &'static str| ufw::File { path, bytes: text.as_bytes() };
    let parts = [file("/etc/ufw/before.rules", before), file("/etc/ufw/user.rules", user)];
    ufw::read(&mut rules, &ufw::Files { defaults: file("/etc/default/ufw", defaults), rules: &parts }, false);
    rules.link();
    assert_eq!(ask(&rules, "tcp from 198.51.100.1 to :22"), (Verdict::Accept, true, 6));
    assert_eq!(ask(&rules, "tcp from 203.0.113.1 to :80"), (Verdict::Drop, true, 9));
    // The policy, in /etc/default/ufw.
    assert_eq!(ask(&rules, "tcp from 198.51.100.1 to :80"), (Verdict::Drop, true, 2));
    assert_eq!(ufw::tuple(user.as_bytes(), 6).as_deref(), Some("allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in"));
}

#[test]
fn many_rules() {
    let mut text = String::from("*filter\n:INPUT DROP [0:0]\n");
    for number in 0..50_000_u32 {
        text.push_str(&format!(
            "-A INPUT -s 10.{}.{}.{}/32 -p tcp -m tcp --dport 22 -j DROP\n",
            number >> 16,
            number >> 8 & 255,
            number & 255
        ));
    }
    text.push_str("-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\nCOMMIT\n");
    let rules = rules(&text);
    assert_eq!(rules.rules(), 50_001);
    assert_eq!(ask(&rules, "tcp from 8.8.8.8 to :22"), (Verdict::Accept, true, 50_003));
    assert_eq!(ask(&rules, "tcp from 10.0.195.79 to :22"), (Verdict::Drop, true, 50_002));
    // A loop that never ends is not followed for ever.
    let rules =
        self::rules("*filter\n:INPUT ACCEPT\n:a -\n:b -\n-A INPUT -j a\n-A a -j b\n-A a -j b\n-A b -j a\n-A b -j a\n");
    assert!(!ask(&rules, "tcp from 8.8.8.8 to :22").1);
}

proptest::proptest! {
    #[test]
    fn never_panics(bytes: Vec<u8>, text in "((\\*filter|:INPUT DROP|-A INPUT|-s|-p|tcp|!|--dport|--state|NEW|-m|-j|\"|\\\\|DROP|a|create x hash:ip|add x|[0-9:,/]{1,9})[ \n]){0,40}") {
        for text in [bytes.as_slice(), text.as_bytes()] {
            let mut rules = RuleSet::default();
            ipset::read(&mut rules, text);
            iptables::read(&mut rules, "x", text, false);
            rules.link();
            rules.evaluate(&Packet::parse("tcp from 1.2.3.4 to :22").expect("a packet"), &Host::default());
        }
    }
}
