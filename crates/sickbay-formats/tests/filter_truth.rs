//! Generated rule sets, loaded by the real programs in a network namespace; what becomes of real packets there must be what was
//! predicted. Needs root, ip, python3, and those of iptables-nft, iptables-legacy and nft that are installed.
#![allow(clippy::disallowed_methods)]

use std::io::{BufRead, BufReader, Write};
use std::net::IpAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use sickbay_formats::filter::packet::{Host, Packet, TCP, UDP, states};
use sickbay_formats::filter::{RuleSet, Verdict, iptables, nft, nft_json};
use sickbay_formats::network::address::Cidr;

const PORTS: [u16; 6] = [22, 80, 443, 2222, 3306, 8005];
const SOURCES: [&str; 4] = ["10.77.0.2", "10.77.0.3", "198.51.100.5", "203.0.113.9"];
const SERVER: &str = "10.77.0.1";

/// Listens on every port of TCP and answers on every port of UDP.
const LISTEN: &str = "
import socket, select, sys
socks = []
for port in map(int, sys.argv[1].split(',')):
    s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(('0.0.0.0', port)); s.listen(64); socks.append(s)
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(('0.0.0.0', port)); socks.append(u)
print('ready', flush=True)
while True:
    for s in select.select(socks + [sys.stdin], [], [])[0]:
        if s is sys.stdin: sys.exit()
        if s.type == socket.SOCK_STREAM: s.accept()[0].close()
        else:
            data, peer = s.recvfrom(64)
            try: s.sendto(data, peer)
            except OSError: pass
";

/// Of each line `tcp SOURCE PORT …` tells what became of it: all of a line at once.
const CONNECT: &str = "
import socket, select, sys, time, errno
server = sys.argv[1]
for line in sys.stdin:
    words = line.split()
    asked, waiting = [], {}
    for i in range(0, len(words), 3):
        kind, source, port = words[i], words[i + 1], int(words[i + 2])
        s = socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == 'tcp' else socket.SOCK_DGRAM)
        s.setblocking(False); s.bind((source, 0))
        answer = ['drop']; asked.append(answer)
        code = s.connect_ex((server, port))
        if kind == 'udp': s.send(b'x')
        waiting[s] = (kind, answer)
    end = time.time() + float(sys.argv[2])
    while waiting and time.time() < end:
        tcp = [s for s in waiting if waiting[s][0] == 'tcp']; udp = [s for s in waiting if waiting[s][0] == 'udp']
        readable, writable, _ = select.select(udp, tcp, [], max(0, end - time.time()))
        for s in readable + writable:
            kind, answer = waiting.pop(s)
            code = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if kind == 'udp' and not code:
                try: s.recv(64)
                except OSError as error: code = error.errno
            answer[0] = 'reject' if code else 'accept'
            s.close()
    for s in waiting: s.close()
    print(' '.join(a[0] for a in asked), flush=True)
";

struct Python {
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
}

impl Python {
    fn within(namespace: &str, program: &str, args: &[&str]) -> Python {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace, "python3", "-c", program]).args(args);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python runs");
        let (to, from) = (child.stdin.take(), BufReader::new(child.stdout.take().expect("a pipe")));
        Python { child, to, from }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.from.read_line(&mut line).expect("it answers");
        line.trim().to_owned()
    }

    fn ask(&mut self, line: &str) -> String {
        writeln!(self.to.as_mut().expect("a pipe"), "{line}").expect("it reads");
        self.line()
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        // The end of its input is its end.
        self.to = None;
        let _ = self.child.wait();
    }
}

/// Two namespaces with a wire between them.
struct Wire {
    server: String,
    client: String,
}

fn ip(words: &str) -> bool {
    Command::new("ip").args(words.split(' ')).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

impl Wire {
    fn new() -> Option<Wire> {
        let id = std::process::id();
        let wire = Wire { server: format!("sickbay-s{id}"), client: format!("sickbay-c{id}") };
        let (server, client) = (&wire.server, &wire.client);
        if !ip(&format!("netns add {server}")) || !ip(&format!("netns add {client}")) {
            return None;
        }
        let mut well = ip(&format!("-n {server} link add eth0 type veth peer name eth0 netns {client}"));
        for words in [
            format!("-n {server} addr add {SERVER}/24 dev eth0"),
            format!("-n {server} link set eth0 up"),
            format!("-n {server} link set lo up"),
            format!("-n {client} addr add 10.77.0.2/24 dev eth0"),
            format!("-n {client} addr add 10.77.0.3/24 dev eth0"),
            format!("-n {client} addr add 198.51.100.5/32 dev eth0"),
            format!("-n {client} addr add 203.0.113.9/32 dev eth0"),
            format!("-n {client} link set eth0 up"),
            format!("-n {server} route add 198.51.100.0/24 via 10.77.0.2"),
            format!("-n {server} route add 203.0.113.0/24 via 10.77.0.2"),
        ] {
            well &= ip(&words);
        }
        // A reject must not be silent because there are many.
        well.then_some(())?;
        wire.run(
            "sh",
            &["-c", "echo 0 > /proc/sys/net/ipv4/icmp_ratelimit; echo 100000 > /proc/sys/net/ipv4/icmp_msgs_per_sec"],
            "",
        );
        Some(wire)
    }

    /// Runs a program in the server's namespace; what it prints, if it succeeds.
    fn run(&self, program: &str, args: &[&str], input: &str) -> Option<Vec<u8>> {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.server, program]).args(args);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
        child.stdin.take()?.write_all(input.as_bytes()).ok()?;
        let output = child.wait_with_output().ok()?;
        output.status.success().then_some(output.stdout)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        ip(&format!("netns del {}", self.server));
        ip(&format!("netns del {}", self.client));
    }
}

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or(0) % sides
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of.get(self.roll(of.len())).copied().unwrap_or_default()
    }
}

fn iptables_rules(dice: &mut Dice) -> String {
    let chains = ["web", "guests", "last"];
    let condition = |dice: &mut Dice| {
        let mut text = String::new();
        if dice.roll(2) == 0 {
            text += dice.one(&[
                "-s 10.77.0.0/24 ",
                "! -s 10.77.0.2/32 ",
                "-s 198.51.100.0/24 ",
                "-m iprange --src-range 203.0.113.1-203.0.113.20 ",
                "-d 10.77.0.1/32 ",
                "-m iprange ! --src-range 10.77.0.2-10.77.0.2 ",
                "-m iprange --dst-range 10.77.0.1-10.77.0.9 ",
                "-s 203.0.113.9/255.255.255.0 ",
                "! -d 10.77.0.1/32 ",
            ]);
        }
        if dice.roll(3) == 0 {
            text += dice.one(&["-i eth0 ", "! -i lo ", "-i eth+ ", "-i lo "]);
        }
        if dice.roll(3) > 0 {
            text += dice.one(&[
                "-p tcp -m tcp --dport 22 ",
                "-p tcp -m multiport --dports 80,443,8000:8010 ",
                "-p tcp -m tcp ! --dport 22 ",
                "-p tcp -m tcp --sport 1024:65535 --dport 2000:3000 ",
                "-p udp -m udp --dport 80 ",
                "-p tcp -m multiport ! --dports 22,80 ",
                "-p tcp -m multiport --ports 22,443 ",
                "-p udp -m multiport --dports 20:30,80 ",
                "-p tcp -m tcp ! --syn ",
                "-p tcp -m tcp --dport :80 ",
                "-p tcp -m tcp --dport 2000: ",
                "-p tcp -m tcp --syn ",
                "-p tcp -m tcp --tcp-flags SYN,RST SYN ",
                "! -p tcp ",
                "-p udp ",
            ]);
        }
        if dice.roll(4) == 0 {
            text += dice.one(&[
                "-m conntrack --ctstate NEW ",
                "-m conntrack --ctstate INVALID ",
                "-m state --state NEW,ESTABLISHED ",
                "-m conntrack ! --ctstate NEW ",
                "-m mark --mark 0x1/0x3 ",
                "-m mark ! --mark 0x2 ",
                "-m addrtype --dst-type LOCAL ",
                "-m pkttype --pkt-type unicast ",
                "-m set --match-set bad src ",
                "-m set ! --match-set bad src ",
                "-p tcp -m set --match-set pairs src,dst ",
                "-m connmark --mark 0x1 ",
                "-m addrtype ! --src-type LOCAL ",
                "-m conntrack --ctstate UNTRACKED ",
                "-m conntrack --ctstate DNAT ",
                "-m conntrack --ctorigdstport 443 ",
                "-m comment --comment \"a b\" ",
            ]);
        }
        text
    };
    let mut text = String::from("*mangle\n:PREROUTING ACCEPT [0:0]\n");
    for _ in 0..dice.roll(3) {
        let mark = dice.one(&["0x1/0xff", "0x2/0xffffffff", "0x3/0x3"]);
        text += &format!("-A PREROUTING {}-j MARK --set-xmark {mark}\n", condition(dice));
    }
    text += "COMMIT\n*nat\n:PREROUTING ACCEPT [0:0]\n";
    if dice.roll(3) == 0 {
        text += dice.one(&[
            "-A PREROUTING -p tcp -m tcp --dport 443 -j REDIRECT --to-ports 2222\n",
            "-A PREROUTING -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.77.0.1:22\n",
            "-A PREROUTING -s 203.0.113.9/32 -p tcp -j REDIRECT --to-ports 22\n",
        ]);
    }
    text += "COMMIT\n*filter\n";
    text += &format!(":INPUT {} [0:0]\n:web - [0:0]\n:guests - [0:0]\n:last - [0:0]\n", dice.one(&["ACCEPT", "DROP"]));
    let fill = |dice: &mut Dice, chain: &str, from: usize, most: usize| {
        let mut text = String::new();
        for _ in 0..=dice.roll(most) {
            let mut targets =
                vec!["-j ACCEPT", "-j DROP", "-j REJECT", "-j RETURN", "-j LOG", "-j REJECT --reject-with tcp-reset"];
            let jumps: Vec<String> =
                chains.iter().skip(from).flat_map(|to| [format!("-j {to}"), format!("-g {to}")]).collect();
            targets.extend(jumps.iter().map(String::as_str));
            targets.extend(jumps.iter().map(String::as_str));
            let target = dice.one(&targets);
            let condition = condition(dice);
            let fits = !target.contains("tcp-reset") || condition.contains("-p tcp") && !condition.contains("! -p tcp");
            text += &format!("-A {chain} {condition}{}\n", if fits { target } else { "-j DROP" });
        }
        text
    };
    text += &fill(dice, "INPUT", 0, 9);
    text += &fill(dice, "web", 1, 4);
    text += &fill(dice, "guests", 2, 4);
    text += &fill(dice, "last", 3, 4);
    text + "COMMIT\n"
}

fn nft_rules(dice: &mut Dice) -> String {
    let condition = |dice: &mut Dice| {
        let mut text = String::new();
        if dice.roll(2) == 0 {
            text += dice.one(&[
                "ip saddr 10.77.0.0/24 ",
                "ip saddr != 10.77.0.2 ",
                "ip saddr @bad ",
                "ip saddr { 10.77.0.3, 203.0.113.0-203.0.113.20 } ",
                "ip saddr . tcp dport { 10.77.0.2 . 22, 198.51.100.5 . 80 } ",
                "ip6 saddr ::1 ",
                "ip daddr 10.77.0.1 ",
                "ip saddr . tcp dport @pairs ",
                "ip saddr . tcp dport { 10.77.0.0/24 . 80-443, 203.0.113.9 . 22 } ",
                "ip saddr . meta l4proto . th dport { 10.77.0.2 . tcp . 22, 198.51.100.5 . udp . 80 } ",
                "iifname . ip saddr { \"eth0\" . 10.77.0.3, \"eth1\" . 10.77.0.2 } ",
                "ip saddr & 255.255.255.0 == 10.77.0.0 ",
                "ip saddr . ip daddr @both ",
            ]);
        }
        if dice.roll(3) == 0 {
            text += dice.one(&[
                "iifname \"eth0\" ",
                "iifname != \"lo\" ",
                "iifname \"eth*\" ",
                "iif lo ",
                "meta nfproto ipv4 ",
                "meta l4proto tcp ",
                "meta pkttype host ",
            ]);
        }
        if dice.roll(3) > 0 {
            text += dice.one(&[
                "tcp dport 22 ",
                "tcp dport { 80, 443, 8000-8010 } ",
                "tcp dport != 22 ",
                "tcp dport 2000-3000 ",
                "udp dport 80 ",
                "tcp flags syn ",
                "tcp flags & (fin | syn | rst | ack) == syn ",
                "tcp flags & (fin | syn) != 0 ",
                "ip protocol udp ",
                "tcp dport >= 443 ",
                "th dport < 100 ",
                "tcp dport @open ",
                "tcp dport != @open ",
                "th dport @open ",
                "tcp dport != { 22, 80 } ",
                "meta l4proto { tcp, udp } th dport 22 ",
                "meta l4proto != udp ",
                "tcp sport 1024-65535 tcp dport { 22, 443 } ",
                "tcp flags != syn ",
                "tcp flags syn / fin,syn,rst,ack ",
                "tcp dport > 80 tcp dport < 3000 ",
            ]);
        }
        if dice.roll(4) == 0 {
            text += dice.one(&[
                "ct state new ",
                "ct state invalid ",
                "ct state established,new ",
                "ct state != new ",
                "meta mark 0x1 ",
                "meta mark & 0x3 == 0x1 ",
                "fib daddr type local ",
                "ct direction original ",
                "meta mark != 0x2 ",
                "ct state vmap { invalid : drop, established : accept, related : accept } ",
                "meta iifname \"eth?\" ",
                "fib saddr type != local ",
                "ct state { new, untracked } ",
                "ct mark 0x0 ",
            ]);
        }
        text
    };
    let mut text = String::from(
        "define pair = 10.77.0.2\ntable inet t {\n set bad { type ipv4_addr; flags interval; elements = { 198.51.100.0/24, 203.0.113.9 }; }\n\
         set open { type inet_service; elements = { 22, 3306 }; }\n set pairs { type ipv4_addr . inet_service; elements = { $pair . 22, 203.0.113.9 . 80 }; }\n\
         map jumps { type inet_service : verdict; elements = { 22 : accept, 80 : drop, 443 : jump web, 8005 : goto last }; }\n\
         set both { type ipv4_addr . ipv4_addr; elements = { 10.77.0.3 . 10.77.0.1 }; }\n\
         map byboth { typeof ip saddr . tcp dport : verdict; flags interval; elements = { 10.77.0.0/24 . 80-443 : jump last, 198.51.100.5 . 22 : drop }; }\n",
    );
    text += " chain last {\n";
    let chains = ["web", "last"];
    let fill = |dice: &mut Dice, from: usize, most: usize| {
        let mut text = String::new();
        for _ in 0..=dice.roll(most) {
            let mut targets = vec![
                "accept",
                "drop",
                "reject",
                "return",
                "counter",
                "log prefix \"x \"",
                "meta mark set 0x1",
                "meta mark set 2 accept",
                "continue",
                "reject with icmpx admin-prohibited",
                "ct mark set 0x1",
                "meta mark set meta mark or 0x1",
            ];
            let jumps: Vec<String> =
                chains.iter().skip(from).flat_map(|to| [format!("jump {to}"), format!("goto {to}")]).collect();
            targets.extend(jumps.iter().map(String::as_str));
            if from == 0 {
                targets.extend([
                    "tcp dport vmap @jumps",
                    "tcp dport vmap { 22 : jump web, 80-443 : drop, 3306 : continue }",
                    "ip saddr vmap { 10.77.0.2 : accept, 203.0.113.0/24 : jump last }",
                    "ip saddr . tcp dport vmap { 10.77.0.2 . 22 : drop, 10.77.0.3 . 80 : jump web, 203.0.113.9 . 443 : accept }",
                    "iifname vmap { \"lo\" : accept, \"eth0\" : jump web }",
                    "meta l4proto vmap { udp : drop, tcp : jump last }",
                    "ip saddr . tcp dport vmap @byboth",
                ]);
            }
            let target = dice.one(&targets).to_owned();
            text += &format!("  {}{target}\n", condition(dice));
        }
        text
    };
    text += &fill(dice, 2, 4);
    text += " }\n chain web {\n";
    text += &fill(dice, 1, 4);
    text += " }\n";
    for (name, priority) in
        [("one", dice.one(&["filter - 10", "-200", "mangle"]).to_owned()), ("two", "filter".to_owned())]
    {
        let hook = if priority == "mangle" { "prerouting" } else { "input" };
        let policy = if name == "one" { "accept" } else { dice.one(&["accept", "drop"]) };
        text += &format!(" chain {name} {{\n  type filter hook {hook} priority {priority}; policy {policy};\n");
        text += &fill(dice, 0, if name == "one" { 3 } else { 9 });
        text += " }\n";
    }
    text + "}\n"
}

fn answers(rules: &RuleSet, probes: &[(u8, &str, u16)]) -> Vec<(Verdict, bool)> {
    let cards = vec![("eth0".to_owned(), Cidr::parse("10.77.0.1/24").into_iter().collect())];
    let host = Host { cards, forwards: Some(false), forwards_v6: Some(false) };
    let of = |(protocol, source, port): &(u8, &str, u16)| {
        let mut packet = Packet::connection(source.parse().ok(), *port);
        packet.protocol = *protocol;
        packet.destination = SERVER.parse::<IpAddr>().ok();
        packet.iif = Some("eth0".to_owned());
        let answer = rules.evaluate(&packet, &host);
        // A connection whose later packets are refused fails sooner or later.
        packet.state = states::ESTABLISHED;
        let later = rules.evaluate(&packet, &host);
        let lives =
            *protocol != TCP || answer.verdict != Verdict::Accept || later.verdict == Verdict::Accept && later.certain;
        (answer.verdict, answer.certain && lives)
    };
    probes.iter().map(of).collect()
}

#[test]
fn what_is_predicted_happens() {
    if !Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout == b"0\n") {
        return;
    }
    let Some(wire) = Wire::new() else {
        eprintln!("no network namespaces here");
        return;
    };
    let ports = PORTS.map(|port| port.to_string()).join(",");
    let mut listener = Python::within(&wire.server, LISTEN, &[&ports]);
    assert_eq!(listener.line(), "ready");
    // Long enough for two processors that have much to do.
    let mut client = Python::within(&wire.client, CONNECT, &[SERVER, "0.4"]);
    let probes: Vec<(u8, &str, u16)> = SOURCES
        .iter()
        .flat_map(|source| {
            PORTS.iter().map(move |port| (TCP, *source, *port)).chain([(UDP, *source, 80), (UDP, *source, 22)])
        })
        .collect();
    let line: Vec<String> = probes
        .iter()
        .map(|(protocol, source, port)| format!("{} {source} {port}", if *protocol == TCP { "tcp" } else { "udp" }))
        .collect();
    let line = line.join(" ");
    let (mut sets, mut certain, mut all) = (0, 0, 0);
    let has_ipset = wire.run("ipset", &["create", "bad", "hash:net"], "").is_some();
    wire.run("ipset", &["add", "bad", "203.0.113.0/24"], "");
    wire.run("ipset", &["create", "pairs", "hash:ip,port"], "");
    wire.run("ipset", &["add", "pairs", "10.77.0.2,tcp:22"], "");
    wire.run("ipset", &["add", "pairs", "198.51.100.5,80"], "");
    for (seed, kind) in (0..60_u64).zip(["nft", "iptables-nft", "iptables-legacy"].iter().cycle()) {
        let mut dice = Dice(seed * 7919 + 13);
        for _ in 0..4 {
            dice.roll(2);
        }
        let mut rules = RuleSet::default();
        let text;
        if *kind == "nft" {
            text = nft_rules(&mut dice);
            if wire.run("nft", &["-f", "-"], &text).is_none() {
                // What nft refuses is no case: conditions that contradict each other.
                wire.run("nft", &["flush", "ruleset"], "");
                continue;
            }
            let listed = wire.run("nft", &["-a", "list", "ruleset"], "").expect("it lists");
            let json = wire.run("nft", &["-j", "list", "ruleset"], "").expect("it lists");
            nft::read(&mut rules, "list", &listed, &mut |_| Vec::new());
            // The file, the list and JSON must say the same.
            let mut others = [RuleSet::default(), RuleSet::default()];
            let [of_file, of_json] = &mut others;
            nft::read(of_file, "file", text.as_bytes(), &mut |_| Vec::new());
            nft_json::read(of_json, "json", &json).expect("JSON");
            rules.link();
            for (other, name) in others.iter_mut().zip(["file", "json"]) {
                other.link();
                assert!(other.unread.is_empty(), "{name}: {:?}\n{text}", other.unread);
                assert_eq!(answers(other, &probes), answers(&rules, &probes), "{name}:\n{text}");
            }
        } else {
            text = iptables_rules(&mut dice);
            let text = if has_ipset {
                text.clone()
            } else {
                text.replace("-m set --match-set bad src ", "").replace("-m set ! --match-set bad src ", "")
            };
            if wire.run(&format!("{kind}-restore"), &[], &text).is_none() {
                continue;
            }
            let saved = wire.run(&format!("{kind}-save"), &["-c"], "").expect("it saves");
            let sets = wire.run("ipset", &["save"], "").unwrap_or_default();
            sickbay_formats::filter::ipset::read(&mut rules, &sets);
            iptables::read(&mut rules, "saved", &saved, false);
            rules.link();
        }
        assert!(rules.unread.is_empty(), "{:?}\n{text}", rules.unread);
        let real = client.ask(&line);
        for (((verdict, sure), real), probe) in answers(&rules, &probes).into_iter().zip(real.split(' ')).zip(&probes) {
            all += 1;
            if sure {
                certain += 1;
                assert_eq!(verdict.word(), real, "{kind}, seed {seed}: {probe:?}\n{text}");
            }
        }
        sets += 1;
        // What was loaded goes.
        match *kind {
            "nft" => wire.run("nft", &["flush", "ruleset"], ""),
            kind => wire.run(
                &format!("{kind}-restore"),
                &[],
                "*mangle\nCOMMIT\n*nat\nCOMMIT\n*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n",
            ),
        };
        wire.run("sh", &["-c", "nft flush ruleset; conntrack -F"], "");
    }
    eprintln!("{sets} rule sets, {certain} of {all} packets told for certain");
    assert!(
        sets >= 40
            || !["nft", "iptables-nft", "iptables-legacy"]
                .iter()
                .all(|name| wire.run(name, &["--version"], "").is_some()),
        "{sets}"
    );
    assert!(certain * 100 >= all * 90, "{certain} of {all}");
}
