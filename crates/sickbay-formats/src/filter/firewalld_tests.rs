use super::*;
use crate::filter::packet::{Host, Packet};
use crate::filter::{Verdict, evaluate::Answer};

fn file(path: &str, text: &str) -> File {
    File { path: path.to_owned(), bytes: text.as_bytes().to_vec() }
}

fn config(zones: &[(&str, &str)]) -> Config {
    let mut config = Config { default_zone: "public".to_owned(), ..Config::default() };
    for (name, text) in zones {
        config.zones.push(((*name).to_owned(), file(&format!("/etc/firewalld/zones/{name}.xml"), text)));
    }
    let ssh = "<?xml version=\"1.0\"?>\n<service>\n  <port protocol=\"tcp\" port=\"22\"/>\n</service>\n";
    config.services.insert("ssh".to_owned(), file("/usr/lib/firewalld/services/ssh.xml", ssh));
    config
}

fn ask(config: &Config, packet: &str) -> (Answer, String) {
    let mut rules = RuleSet::default();
    read(&mut rules, config);
    rules.link();
    let answer = rules.evaluate(&Packet::parse(packet).expect("a packet"), &Host::default());
    let by = answer.by.and_then(|by| rules.rule(by));
    let place = by.and_then(|(_, rule)| rule).map(|rule| rules.place(rule.at)).unwrap_or_default();
    (answer, place)
}

#[test]
fn zones_services_and_rich_rules() {
    let public = "<zone>\n  <service name=\"ssh\"/>\n  <port protocol=\"tcp\" port=\"8000-8010\"/>\n  <rule family=\"ipv4\">\n    <source address=\"198.51.100.0/24\"/>\n    <reject/>\n  </rule>\n</zone>\n";
    let drop = "<zone target=\"DROP\">\n  <source address=\"192.0.2.0/24\"/>\n  <interface name=\"eth9\"/>\n</zone>\n";
    let config = config(&[("public", public), ("drop", drop)]);
    for (packet, verdict, place) in [
        ("tcp from 203.0.113.9 to :22 in eth0", Verdict::Accept, "/etc/firewalld/zones/public.xml:2"),
        ("tcp from 203.0.113.9 to :8005 in eth0", Verdict::Accept, "/etc/firewalld/zones/public.xml:3"),
        ("tcp from 203.0.113.9 to :80 in eth0", Verdict::Reject, "/etc/firewalld/zones/public.xml:1"),
        ("icmp from 203.0.113.9 in eth0", Verdict::Accept, "/etc/firewalld/zones/public.xml:1"),
        ("tcp from 198.51.100.7 to :22 in eth0", Verdict::Reject, "/etc/firewalld/zones/public.xml:4"),
        ("tcp from 192.0.2.7 to :22 in eth0", Verdict::Drop, "/etc/firewalld/zones/drop.xml:1"),
        ("tcp from 203.0.113.9 to :22 in eth9", Verdict::Drop, "/etc/firewalld/zones/drop.xml:1"),
        ("tcp from 203.0.113.9 to :80 in eth0 established", Verdict::Accept, "firewalld"),
    ] {
        let (answer, found) = ask(&config, packet);
        assert_eq!((answer.verdict, answer.certain, found.as_str()), (verdict, true, place), "{packet}: {answer:?}");
    }
}

proptest::proptest! {
    #[test]
    fn never_panics(bytes: Vec<u8>, text in "(<(zone|rule|port|service|source|accept) |name=\"ssh\"|port=\"1\"|/>|>|</rule>|<!--|-->){0,30}") {
        for text in [bytes.as_slice(), text.as_bytes()] {
            let mut config = Config { default_zone: "public".to_owned(), ..Config::default() };
            config.zones.push(("public".to_owned(), File { path: "x".to_owned(), bytes: text.to_vec() }));
            let mut rules = RuleSet::default();
            read(&mut rules, &config);
            rules.link();
            service(text);
        }
    }
}
