//! What is predicted of a network against what the real programs made of it (`lab/net/truth.sh`; `by hand` where this machine's kernel or
//! its lack of udev stands in the way), and one network in five dialects.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use sickbay_formats::network::ifcfg;
use sickbay_formats::network::kernel::MAIN;
use sickbay_formats::network::{Card, Dialect, File, Machine, Outcome, after_restart, dialect_of};

/// A case: files, cards, and what `ip` showed.
#[derive(Debug, Default)]
struct Case {
    files: Vec<File>,
    cards: Vec<Card>,
    by: String,
    shown: BTreeMap<String, Vec<String>>,
}

fn parsed(text: &str) -> Case {
    let mut case = Case::default();
    let mut section = String::new();
    for line in text.trim_end_matches('\n').split('\n') {
        if let Some(heading) = line.strip_prefix("--- ") {
            section = heading.to_owned();
            match heading.split_once(' ') {
                Some(("file" | "crlf", path)) => {
                    let mode = if path.contains("system-connections") { 0o600 } else { 0o644 };
                    case.files.push(File { path: path.to_owned(), bytes: Vec::new(), mode, owner: (0, 0) });
                }
                Some(("by", by)) => case.by = by.to_owned(),
                _ => drop(case.shown.insert(heading.to_owned(), Vec::new())),
            }
            continue;
        }
        match section.split(' ').next().unwrap_or_default() {
            "links" => {
                if let Some((name, mac)) = line.split_once(' ') {
                    case.cards.push(Card { name: name.to_owned(), mac: Some(mac.to_owned()) });
                }
            }
            "file" | "crlf" => {
                let file = case.files.last_mut().expect("a file");
                file.bytes.extend(line.as_bytes());
                file.bytes.extend(if section.starts_with("crlf") { &b"\r\n"[..] } else { b"\n" });
            }
            _ => {
                if let Some(shown) = case.shown.get_mut(&section) {
                    shown.push(line.to_owned());
                }
            }
        }
    }
    case
}

fn predicted(case: &Case) -> Outcome {
    let dialect = dialect(case.by.split(' ').next().unwrap_or_default());
    after_restart(dialect, &case.files, &Machine { cards: case.cards.clone(), ..Machine::default() })
}

fn dialect(name: &str) -> Dialect {
    match name {
        "network-scripts" => Dialect::Ifcfg,
        "ifupdown" => Dialect::Ifupdown,
        "netplan" => Dialect::Netplan,
        "networkd" => Dialect::Networkd,
        "NetworkManager" => Dialect::NetworkManager,
        other => panic!("who is {other}?"),
    }
}

fn cases() -> Vec<(String, Case)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/network");
    let mut all: Vec<_> = fs::read_dir(dir)
        .expect("the cases")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .map(|path| {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            (name, parsed(&fs::read_to_string(&path).expect("a case")))
        })
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

#[test]
fn what_is_predicted_is_what_was_measured() {
    let mut wrong = Vec::new();
    for (name, case) in cases() {
        let outcome = predicted(&case);
        let mut said: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let addresses = outcome.kernel.addresses().into_iter();
        // Whether lo is up without its own program is not the dialect's matter.
        let addresses =
            addresses.flat_map(|(name, list)| list.into_iter().map(move |address| format!("{name} {address}")));
        said.insert("addresses".into(), addresses.filter(|line| !line.starts_with("lo ")).collect());
        said.insert("routes".into(), outcome.kernel.route_lines(MAIN));
        if !outcome.kernel.rules.is_empty() {
            said.insert("rules".into(), outcome.kernel.rule_lines());
        }
        for table in outcome.kernel.other_tables() {
            said.insert(format!("table {}", outcome.kernel.table_name(table)), outcome.kernel.route_lines(table));
        }
        let mut shown = case.shown.clone();
        shown.remove("links");
        let complaints = shown.remove("complaints");
        if let Some(addresses) = shown.get_mut("addresses") {
            addresses.retain(|line| !line.starts_with("lo "));
        }
        if said != shown {
            let mut text = format!("{name}:");
            for key in said.keys().chain(shown.keys()).collect::<std::collections::BTreeSet<_>>() {
                let (none, said, shown) = (Vec::new(), said.get(key), shown.get(key));
                let (said, shown) = (said.unwrap_or(&none), shown.unwrap_or(&none));
                if said != shown {
                    let only = |of: &[String], other: &[String], mark: &str| {
                        of.iter().filter(|l| !other.contains(l)).map(|l| format!("\n  {mark} {l}")).collect::<String>()
                    };
                    text += &format!("\n {key}{}{}", only(said, shown, "said"), only(shown, said, "real"));
                }
            }
            for one in &outcome.complaints {
                text += &format!("\n   {}:{} {:?}", one.place.path, one.place.line, one.what);
            }
            wrong.push(text);
        }
        let said: Vec<String> = outcome
            .complaints
            .iter()
            .map(|one| format!("{}:{} {:?}", one.place.path, one.place.line, one.what))
            .collect();
        if let Some(complaints) = complaints {
            if said != complaints {
                wrong.push(format!("{name}: complains {}\nexpected {}", said.join("\n"), complaints.join("\n")));
            }
        } else if std::env::var_os("SICKBAY_BLESS").is_some() {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/network/{name}.txt"));
            let text = fs::read_to_string(&path).expect("the case");
            let lines: String = said.iter().map(|line| format!("{line}\n")).collect();
            fs::write(path, format!("{text}--- complaints\n{lines}")).expect("it can be written");
        }
        assert!(
            case.files.iter().all(|file| dialect_of(&file.path).is_some()
                || file.path.ends_with(".yml")
                || file.path == "/etc/sysconfig/static-routes"),
            "{name}"
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// The e-book's C11, step by step: stopped, `ifup eth1`, then `ifup eth0`.
#[test]
fn the_routes_of_the_ebook() {
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/network/c11-restart.txt")).expect("C11");
    let case = parsed(&text);
    let machine = Machine { cards: case.cards.clone(), ..Machine::default() };
    let after = |names: &[&str]| ifcfg::after_ifup(&case.files, &machine, names).kernel.route_lines(MAIN);
    let right =
        ["default via 60.205.151.247 dev eth1", "60.205.148.0/22 dev eth1 proto kernel scope link src 60.205.148.11"];
    assert_eq!(after(&["eth1"]), right);
    let broken = after(&["eth1", "eth0"]);
    assert_eq!(broken.first().map(String::as_str), Some("default dev eth0 scope link"));
    assert_eq!(&broken, &predicted(&case).kernel.route_lines(MAIN));
}

/// `--- in DIALECT` begins the files of one way to write the network, `--- means` is what each of them declares.
#[test]
fn one_network_is_one_in_every_dialect() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/network/dialects");
    let (mut networks, mut ways) = (0, 0);
    for entry in fs::read_dir(dir).expect("the networks") {
        let path = entry.expect("an entry").path();
        let text = fs::read_to_string(&path).expect("a network");
        let (text, means) = text.split_once("--- means\n").expect("what it means");
        let mut means: Vec<&str> = means.lines().collect();
        means.sort_unstable();
        for way in text.split("--- in ").skip(1) {
            let (name, files) = way.split_once('\n').expect("files");
            let case = parsed(files);
            let outcome = after_restart(dialect(name), &case.files, &Machine::default());
            let described = outcome.network.describe();
            assert_eq!(described, means, "{} in {name}: {:#?}", path.display(), outcome.complaints);
            ways += 1;
        }
        networks += 1;
    }
    assert!(networks >= 8 && ways >= 35, "{networks} networks in {ways} ways");
}

proptest::proptest! {
    /// Pieces of what such files are made of, in any order: nothing panics, and it ends.
    #[test]
    fn noise_is_read(pieces in proptest::collection::vec(0usize..PIECES.len(), 0..60), which in 0usize..5) {
        let text: String = pieces.iter().map(|at| PIECES[*at]).collect();
        let (dialect, paths) = [
            (Dialect::Ifcfg, &["/etc/sysconfig/network", "/etc/sysconfig/network-scripts/ifcfg-eth0", "/etc/sysconfig/network-scripts/ifcfg-eth0:1", "/etc/sysconfig/network-scripts/ifcfg-eth0-range0", "/etc/sysconfig/network-scripts/route-eth0", "/etc/sysconfig/network-scripts/rule-eth0"][..]),
            (Dialect::Ifupdown, &["/etc/network/interfaces", "/etc/network/interfaces.d/a"][..]),
            (Dialect::Netplan, &["/etc/netplan/a.yaml"][..]),
            (Dialect::Networkd, &["/etc/systemd/network/a.network", "/etc/systemd/network/a.netdev", "/etc/systemd/network/a.link"][..]),
            (Dialect::NetworkManager, &["/etc/NetworkManager/system-connections/a"][..]),
        ][which];
        let files: Vec<File> = paths.iter().map(|path| File { path: (*path).into(), bytes: text.clone().into(), mode: 0o600, owner: (0, 0) }).collect();
        let cards = vec![Card { name: "eth0".into(), mac: Some("00:16:3e:00:00:01".into()) }];
        let outcome = after_restart(dialect, &files, &Machine { cards, ..Machine::default() });
        outcome.kernel.route_lines(MAIN);
        outcome.kernel.rule_lines();
        outcome.network.describe();
    }
}

const PIECES: [&str; 52] = [
    "\n",
    "\n",
    "\n",
    " ",
    "=",
    "\"",
    "'",
    "\\",
    "\r",
    "#",
    "$",
    "${",
    "`",
    "DEVICE=",
    "eth0",
    "eth0:1",
    "IPADDR=",
    "10.0.0.5",
    "10.0.0.0/8",
    "/24",
    "/33",
    "NETMASK=",
    "255.255.255.0",
    "GATEWAY=",
    "GATEWAYDEV=",
    "PREFIX=",
    "ADDRESS0=",
    "default",
    " via ",
    " dev ",
    " table 100",
    "auto ",
    "iface ",
    " inet ",
    "static",
    "dhcp",
    "source /etc/network/*",
    "source-directory interfaces.d",
    "address ",
    "gateway ",
    "up ip route add ",
    "[Match]",
    "[Network]",
    "[Route]",
    "Name=",
    "Address=",
    "Gateway=",
    "[connection]",
    "[ipv4]",
    "type=ethernet",
    "address1=",
    "IPADDR_START=",
];
