//! The reader of sshd_config against the real sshd: what it refuses, and what counts for root from one address.
//!
//! Needs /usr/sbin/sshd and ssh-keygen (openssh-server), and root for a mount namespace of its own: sshd wants a
//! directory below /run.
#![allow(clippy::unwrap_used, reason = "a test may")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use sickbay_formats::sshd_config::matching::Connection;
use sickbay_formats::sshd_config::tree::{Effective, Source, Tree};
use sickbay_formats::sshd_config::{Reader, directives};

const SSHD: &str = "/usr/sbin/sshd";

/// Keywords that are compared, in the words of `sshd -T`.
const COMPARED: &[&str] = &[
    "acceptenv",
    "allowgroups",
    "allowtcpforwarding",
    "allowusers",
    "authenticationmethods",
    "authorizedkeysfile",
    "banner",
    "chrootdirectory",
    "clientalivecountmax",
    "denygroups",
    "denyusers",
    "forcecommand",
    "kbdinteractiveauthentication",
    "logingracetime",
    "loglevel",
    "maxauthtries",
    "maxsessions",
    "maxstartups",
    "passwordauthentication",
    "permitemptypasswords",
    "permitrootlogin",
    "permittty",
    "port",
    "pubkeyauthentication",
    "strictmodes",
    "usedns",
    "usepam",
    "x11forwarding",
];

/// Small configurations; `@` is the directory of the story, and `--- NAME` begins a file to include.
const CORPUS: &[&str] = &[
    "",
    "# nothing\n\n",
    "PermitRootLogin no\n",
    "PermitRootLogin no\nPermitRootLogin yes\n",
    "permitrootlogin=YES\n",
    "PermitRootLogin = without-password\n",
    "PermitRootLogin == yes\n",
    "\"PermitRootLogin\" \"forced-commands-only\"\n",
    "PermitRootLogin yes # why\n",
    "PermitRootLogin yes no\n",
    "PermitRootLogin\n",
    "PermitRootLogin maybe\n",
    "PermitRootLogn yes\n",
    "\tUsePAM\tyes\r\nPort 2222\r\n",
    "garbage\n",
    "this is not a directive\n",
    "Port 22\nPort 2222\nport ssh\n",
    "Port 0\n",
    "Port 70000\n",
    "Port no-such-service\n",
    "AllowUsers alice bob\nAllowUsers carol\n",
    "AllowUsers root@10.0.0.0/8 !bob\n",
    "AllowUsers root@10.1.2.3/8\n",
    "AllowUsers\n",
    "AllowUsers # nobody\n",
    "AllowGroups \"domain users\" 'wheel'\nDenyGroups a\\ b\n",
    "DenyUsers root\nMatch User root\nDenyUsers x\n",
    "LoginGraceTime 1m30s\nMaxStartups 3:50:9\n",
    "LoginGraceTime 2y\n",
    "MaxStartups 0\n",
    "MaxStartups 10:30\n",
    "MaxStartups 5\n",
    "MaxAuthTries -1\n",
    "MaxAuthTries 0\n",
    "Match User root\n PermitRootLogin no\nMatch all\n PermitRootLogin yes\n",
    "Match all\nPort 2200\nUseDNS yes\n",
    "Match User root\nPort 2200\n",
    "Match User alice\nUsePAM yes\n",
    "Match User root,!alice Address 10.0.0.0/8,192.168.1.*\nPasswordAuthentication no\nMaxSessions 3\n",
    "Match User !root,*\nX11Forwarding yes\n",
    "Match Host *.example.org LocalPort 22\nBanner /etc/issue.net\n",
    "Match LocalAddress 192.168.0.1\nPermitTTY no\n",
    "Match Group root,wheel\nAuthenticationMethods publickey,password publickey,keyboard-interactive\n",
    "Match Adress 1.2.3.4\n",
    "Match\n",
    "Match User\n",
    "Match all User root\n",
    "Match user=root\nForceCommand /bin/echo \"a  b\" # c\n",
    "Match Address 1.2.3.4/8\n",
    "Match Invalid-User\n",
    "AuthenticationMethods any\n",
    "AuthenticationMethods any publickey\n",
    "AuthenticationMethods publickey,pasword\n",
    "ChallengeResponseAuthentication no\nKbdInteractiveAuthentication yes\n",
    "SkeyAuthentication no\n",
    "Protocol 2\nUsePrivilegeSeparation sandbox\nRSAAuthentication yes\nKeyRegenerationInterval 3600\n",
    "Match User root\nProtocol 2\n",
    "Ciphers aes128-ctr,aes256-ctr\n",
    "Ciphers arcfour\n",
    "MACs +hmac-md5\n",
    "KexAlgorithms -diffie-hellman*\n",
    "HostKeyAlgorithms ssh-ed25519,no-such-key\n",
    "PubkeyAcceptedKeyTypes +ssh-rsa\n",
    "Subsystem sftp internal-sftp\nSubsystem sftp /usr/lib/openssh/sftp-server\n",
    "Subsystem sftp\n",
    "DebianBanner no\n",
    "AcceptEnv LANG LC_*\nAcceptEnv X\n",
    "AcceptEnv A=B\n",
    "SetEnv A\n",
    "Banner \"/etc/my issue\n",
    "Banner\n",
    "\"Port 22\n",
    "SyslogFacility LOCAL9\n",
    "LogLevel verbose\n",
    "AuthorizedKeysFile .ssh/authorized_keys /etc/ssh/keys/%u\n",
    "AuthorizedKeysFile none\nStrictModes no\n",
    "AuthorizedKeysCommand relative\n",
    "ClientAliveCountMax 0\nChrootDirectory /srv\n",
    "UseDNS yes\nUseLogin yes\nGatewayPorts clientspecified\n",
    "IgnoreUnknown x\n",
    "Include @/a\nPermitRootLogin yes\n--- a\nPermitRootLogin no\n",
    "PermitRootLogin yes\nInclude @/a\n--- a\nPermitRootLogin no\n",
    "Include @/*.conf\n--- 1.conf\nMaxSessions 1\nMatch User root\nMaxAuthTries 2\n--- 2.conf\nMaxSessions 2\nMaxAuthTries 5\n",
    "Include @/missing/*\nMaxSessions 4\n",
    "Match User alice\nInclude @/a\n--- a\nMatch User root\nPermitRootLogin no\n",
    "Match User root\nInclude @/a\nMaxSessions 7\n--- a\nPermitRootLogin no\nMatch User alice\nMaxSessions 8\n",
    "Match User alice\nInclude @/a\n--- a\nPort 22\n",
    "Include @/a @/b\n--- a\nAllowUsers x\nMatch all\nAllowUsers z\n--- b\nAllowUsers y\n",
    "Include\n",
    "Include @/a\n--- a\nBogus yes\n",
    "Include @/*\n--- a\nInclude @/b\n--- b\nMaxSessions 2\nInclude @/a\n",
];

struct Story {
    dir: std::path::PathBuf,
    text: String,
}

#[test]
fn sshd_agrees() {
    assert!(Path::new(SSHD).exists(), "{SSHD} is missing: install openssh-server");
    let temporary = tempfile::tempdir().unwrap();
    let key = temporary.path().join("key");
    run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key));

    let texts = CORPUS.iter().map(|text| (*text).to_owned()).chain(random(150));
    let stories: Vec<Story> = texts.enumerate().map(|(number, text)| write(temporary.path(), number, &text)).collect();
    let script = "mount -t tmpfs tmpfs /run && mkdir -m 0755 /run/sshd && cd \"$1\" || exit 1
        for dir in story*; do
            /usr/sbin/sshd -T -h \"$1/key\" -f \"$1/$dir/sshd_config\" \
                -C user=root,host=h.example.org,addr=10.1.2.3,laddr=192.168.0.1,lport=22 \
                >\"$dir/out\" 2>\"$dir/err\"
            echo $? >\"$dir/status\"
        done";
    run(Command::new("unshare")
        .args(["--mount", "--propagation", "private", "--", "sh", "-c", script, "sh"])
        .arg(temporary.path()));

    let program = fs::read(SSHD).unwrap();
    let reader = Reader::of(&program);
    assert!(reader.version.is_some() && reader.program.is_some(), "{SSHD} is not recognised");
    let defaults = told(&stories[0]);
    assert!(defaults.contains_key("permitrootlogin"), "sshd -T does not work here: {}", read(&stories[0], "err"));
    let mut refused = 0;
    for story in &stories {
        let tree = tree(&story.dir, &reader);
        let faults: Vec<_> = tree.faults(&reader).into_iter().map(|(_, d, fault)| (d.line, fault)).collect();
        let accepted = read(story, "status").trim() == "0";
        refused += usize::from(!accepted);
        let no_way_in = tree.at_start(&reader).method_lists().is_some_and(|lists| lists.is_empty());
        assert_eq!(
            faults.is_empty() && !no_way_in,
            accepted,
            "{}\nwe say {faults:?}, sshd {}",
            story.text,
            read(story, "err")
        );
        if accepted {
            compare(story, &tree, &reader, &defaults);
        }
    }
    assert!(refused >= 40 && stories.len() - refused >= 80, "{refused} of {} refused: a poor test", stories.len());
}

fn compare(story: &Story, tree: &Tree, reader: &Reader<'_>, defaults: &BTreeMap<String, Vec<String>>) {
    let root = Connection {
        user: "root".into(),
        groups: vec!["root".into()],
        host: Some("h.example.org".into()),
        address: "10.1.2.3".parse().ok(),
        local_address: "192.168.0.1".parse().ok(),
        local_port: Some(22),
        assumed: None,
    };
    let effective = tree.effective(reader, &root);
    let told = told(story);
    for name in COMPARED {
        let ours = match effective.all(name) {
            [] => defaults.get(*name).cloned().unwrap_or_default(),
            _ => values(&effective, name),
        };
        let theirs = told.get(*name).cloned().unwrap_or_default();
        assert_eq!(ours, theirs, "{name} in\n{}", story.text);
    }
}

/// Our values as `sshd -T` writes them.
fn values(effective: &Effective<'_>, name: &str) -> Vec<String> {
    let words: Vec<String> = effective.words(name).iter().map(ToString::to_string).collect();
    let first = effective.value(name, "");
    match name {
        "allowusers" | "denyusers" | "allowgroups" | "denygroups" | "acceptenv" => words,
        "port" => words.into_iter().map(|port| if port == "ssh" { "22".to_owned() } else { port }).collect(),
        "permitrootlogin" if first == "prohibit-password" => vec!["without-password".to_owned()],
        "allowtcpforwarding" if first == "all" => vec!["yes".to_owned()],
        "logingracetime" => vec![effective.seconds(name).unwrap().to_string()],
        "loglevel" => vec![first.to_uppercase()],
        "maxstartups" => {
            let (start, rate, full) = effective.startups().unwrap();
            // With one number sshd keeps its usual rate.
            let rate = if words[0].contains(':') { rate } else { 30 };
            vec![format!("{start}:{rate}:{full}")]
        }
        "authenticationmethods" | "authorizedkeysfile" => vec![words.join(" ")],
        "forcecommand" => vec![effective.setting(name).unwrap().1.rest.to_string()],
        "banner" | "chrootdirectory" => vec![words[0].clone()],
        _ => vec![first],
    }
}

fn told(story: &Story) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in read(story, "out").lines() {
        let (name, value) = line.split_once(' ').unwrap_or((line, ""));
        all.entry(name.to_owned()).or_default().push(value.to_owned());
    }
    all
}

fn read(story: &Story, name: &str) -> String {
    fs::read_to_string(story.dir.join(name)).unwrap()
}

fn write(root: &Path, number: usize, text: &str) -> Story {
    let dir = root.join(format!("story{number:03}"));
    fs::create_dir(&dir).unwrap();
    let text = text.replace('@', dir.to_str().unwrap()).replace(&format!("root{}", dir.display()), "root@");
    let mut name = "sshd_config".to_owned();
    let mut content = String::new();
    for line in text.split_inclusive('\n') {
        match line.strip_prefix("--- ") {
            Some(next) => {
                fs::write(dir.join(&name), &content).unwrap();
                name = next.trim().to_owned();
                content.clear();
            }
            None => content.push_str(line),
        }
    }
    fs::write(dir.join(&name), &content).unwrap();
    Story { dir, text }
}

/// The tree with its includes resolved: every pattern of the corpus is a name or a `*` in the story's directory.
fn tree(dir: &Path, reader: &Reader<'_>) -> Tree {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| !["out", "err", "status", "sshd_config"].contains(&name.as_str()));
    names.sort();
    names.insert(0, "sshd_config".to_owned());
    let mut sources: Vec<Source> = names
        .iter()
        .map(|name| Source {
            directives: directives(&fs::read(dir.join(name)).unwrap(), reader),
            includes: BTreeMap::new(),
        })
        .collect();
    for source in &mut sources {
        for directive in source.directives.iter().filter(|directive| directive.is("Include")) {
            let patterns = directive.args.iter();
            let hits = patterns.flat_map(|pattern| {
                (1..names.len()).filter(|&number| {
                    let path = format!("{}/{}", dir.display(), names[number]);
                    sickbay_formats::wildcard::fits(path.as_bytes(), &pattern.text)
                })
            });
            source.includes.insert(directive.line, hits.collect());
        }
    }
    Tree { sources }
}

/// Configurations made of lines that are mostly right, with and without blocks.
fn random(count: usize) -> Vec<String> {
    let good = prop::sample::select(vec![
        "PermitRootLogin yes",
        "PermitRootLogin no",
        "permitrootlogin prohibit-password",
        "PasswordAuthentication no",
        "PasswordAuthentication=yes",
        "AllowUsers root alice",
        "AllowUsers \"bob\"  carol # end",
        "DenyUsers mallory",
        "AllowGroups root",
        "MaxSessions 4",
        "MaxAuthTries 3",
        "X11Forwarding yes",
        "PermitTTY no",
        "Banner none",
        "AcceptEnv LANG",
        "ClientAliveCountMax 2",
        "AuthenticationMethods publickey",
        "ForceCommand internal-sftp",
        "Match User root",
        "Match User alice",
        "Match Address 10.0.0.0/8",
        "Match Address !10.1.2.3,10.0.0.0/8",
        "Match Host *.example.org User r*",
        "Match Group wheel",
        "Match all",
        "PubkeyAuthentication no",
        "# comment",
        "",
    ]);
    let odd = prop::sample::select(vec![
        "Port 2022",
        "UsePAM yes",
        "UseDNS no",
        "LoginGraceTime 60",
        "LoginGraceTime x",
        "MaxSessions many",
        "PermitTTY on",
        "NoSuchKeyword 1",
        "Match User",
        "Match Net 10.0.0.0/8",
        "AllowGroups 'open",
        "Compression 3",
        "StrictModes yes yes",
        "TCPKeepAlive",
    ]);
    let line = prop_oneof![12 => good, 1 => odd];
    let texts = prop::collection::vec(line, 1..12).prop_map(|lines| lines.join("\n") + "\n");
    let mut runner = TestRunner::deterministic();
    (0..count).map(|_| texts.new_tree(&mut runner).unwrap().current()).collect()
}

fn run(command: &mut Command) {
    let out = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
}
