//! The checks of packet filters, `explain filter` and security groups on real rules, in network namespaces of their own. Needs root, ip,
//! nft and iptables; what is not installed is left out.
#![allow(clippy::disallowed_methods)]

use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

struct Space(String);

impl Space {
    fn new(name: &str) -> Option<Space> {
        let space = Space(format!("sickbay-{name}{}", std::process::id()));
        let ip = |words: &str| {
            Command::new("ip")
                .args(words.split(' '))
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        };
        let name = &space.0;
        let made = ip(&format!("netns add {name}"))
            && ip(&format!("-n {name} link set lo up"))
            && ip(&format!("-n {name} link add eth0 type veth peer name eth1"))
            && ip(&format!("-n {name} addr add 192.0.2.10/24 dev eth0"))
            && ip(&format!("-n {name} link set eth0 up"))
            && ip(&format!("-n {name} link set eth1 up"))
            && ip(&format!("-n {name} route add default via 192.0.2.1"));
        made.then_some(space)
    }

    fn run(&self, words: &[&str], input: &str) -> Output {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0]).args(words);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("ip runs");
        child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("it reads");
        child.wait_with_output().expect("it ends")
    }

    fn sickbay(&self, words: &[&str]) -> Value {
        let mut all = vec![env!("CARGO_BIN_EXE_sickbay"), "--format", "json", "--lang", "en"];
        all.extend(words);
        let output = self.run(&all, "");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn rules_in_force() {
    let Some(space) = is_root().then(|| Space::new("f")).flatten() else { return };
    let rules = "table inet filter {\n chain in {\n  type filter hook input priority 0; policy drop;\n  ct state established,related accept\n  iif lo accept\n\
                 tcp dport 80 accept\n  jump f2b-sshd\n }\n chain f2b-sshd {\n  ip saddr 198.51.100.0/24 counter reject\n }\n}\n";
    if !space.run(&["nft", "-f", "-"], rules).status.success() {
        return;
    }
    let ask = |packet: &str| {
        let told = space.sickbay(&["explain", "filter", "--packet", packet]);
        assert_eq!(told["running"], json!(true));
        let one = &told["packets"][0];
        (one["verdict"].clone(), one["certain"].clone(), one["by"]["what"].clone())
    };
    assert_eq!(
        ask("tcp from 203.0.113.9 to :80"),
        (json!("accept"), json!(true), json!("rule 3 of chain in in table filter"))
    );
    assert_eq!(ask("tcp from 198.51.100.9 to :22"), (json!("reject"), json!(true), json!("fail2ban's jail sshd")));
    assert_eq!(
        ask("udp from 203.0.113.9 to :53"),
        (json!("drop"), json!(true), json!("the policy of chain in in table filter"))
    );
    // Rules of old and of nf_tables both count.
    if space.run(&["iptables-legacy", "-A", "INPUT", "-p", "tcp", "--dport", "80", "-j", "DROP"], "").status.success() {
        let (verdict, certain, what) = ask("tcp from 203.0.113.9 to :80");
        assert_eq!((verdict, certain), (json!("drop"), json!(true)), "{what}");
    }
    // Nothing is in force elsewhere.
    let Some(other) = Space::new("g") else { return };
    let told = other.sickbay(&["explain", "filter", "--packet", "tcp from 203.0.113.9 to :80"]);
    assert_eq!((&told["rules"], &told["packets"][0]["verdict"]), (&json!(0), &json!("accept")));
}

/// What one check finds in a namespace.
fn found(space: &Space, words: &[&str]) -> Vec<String> {
    let mut all = vec!["check"];
    all.extend(words);
    let report = space.sickbay(&all);
    let findings = report["findings"].as_array().cloned().unwrap_or_default();
    findings.iter().map(|finding| finding["message"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn closed_to_everybody() {
    let Some(space) = is_root().then(|| Space::new("h")).flatten() else { return };
    // Answers and the loopback are forgotten, whatever is installed here.
    if !space.run(&["iptables-nft", "-P", "INPUT", "DROP"], "").status.success() {
        return;
    }
    let all = found(&space, &["--only", "packet-filter-drops"]);
    let policy = "the policy of chain INPUT in table filter";
    assert!(all.contains(&format!("{policy} drops the answers to this machine's own connections")), "{all:?}");
    assert!(all.contains(&format!("{policy} drops the packets that this machine sends to itself")), "{all:?}");
    space.run(&["iptables-nft", "-A", "INPUT", "-i", "lo", "-j", "ACCEPT"], "");
    space.run(
        &["iptables-nft", "-A", "INPUT", "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j", "ACCEPT"],
        "",
    );
    let all = found(&space, &["--only", "packet-filter-drops"]);
    assert!(!all.iter().any(|line| line.contains("answers") || line.contains("itself")), "{all:?}");
}

#[test]
fn security_groups() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path().join("root");
    for (path, text) in [
        ("etc/os-release", "ID=debian\nVERSION_ID=12\n"),
        ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
        ("etc/ssh/sshd_config", "Port 2222\n"),
        ("usr/sbin/sshd", ""),
        ("etc/rc2.d/S02ssh", ""),
        ("etc/init.d/ssh", "#!/bin/sh\n"),
        ("sbin/init", ""),
    ] {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("a directory")).expect("it is made");
        fs::write(path, text).expect("it is written");
    }
    let group = dir.path().join("group.json");
    let rule = |port: u16| {
        json!({"SecurityGroups": [{"GroupId": "sg-1", "IpPermissions": [
            {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]}]})
    };
    let check = |port: u16| {
        fs::write(&group, rule(port).to_string()).expect("it is written");
        let output = Command::new(env!("CARGO_BIN_EXE_sickbay"))
            .args(["--format", "json", "--lang", "en", "check", "--only", "security-group-drops", "--security-group"])
            .args([&group, &root])
            .output()
            .expect("it runs");
        let report: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
        report["findings"][0]["message"].clone()
    };
    assert_eq!(check(22), json!("no rule of the security group opens port 2222 (sshd)"));
    assert_eq!(check(2222), Value::Null);
}
