//! The checks of sockets and `sickbay explain sockets` on real sockets: on the loopback, and in a network namespace of their own.
#![allow(clippy::disallowed_methods)]

use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::net::{AddressFamily, SocketType, listen, socket};
use sickbay::checks;
use sickbay::engine::run::diagnose;
use sickbay::facts::Facts;
use sickbay::facts::network::sockets::{Owners, Sockets, States, Sum, unclosed};
use sickbay::facts::network::tcp_counters::TcpCounters;
use sickbay::model::text::Lang;
use sickbay_target::{Access, Target};

fn facts() -> Arc<Facts> {
    let target = Target::described(Path::new("/"), Access::ReadOnly, Vec::new(), &[]);
    let target = target.and_then(Target::taken_for_running).expect("this machine");
    Arc::new(Facts::new(Arc::new(target), None))
}

/// What one check says of this machine.
fn said(id: &str) -> Vec<String> {
    let checks = checks::chosen(&[id.to_owned()]).unwrap_or_else(|_| panic!("there is {id}"));
    let diagnosis = diagnose(&facts(), &checks);
    diagnosis.findings.iter().map(|finding| finding.message.render(Lang::En)).collect()
}

#[test]
fn a_queue_that_is_full_and_one_that_is_not() {
    let well = TcpListener::bind("127.0.0.1:0").expect("a port");
    let full = TcpListener::bind("127.0.0.1:0").expect("a port");
    listen(&full, 1).expect("a short queue");
    let address = full.local_addr().expect("an address");
    let connect = || TcpStream::connect_timeout(&address, std::time::Duration::from_millis(200));
    let waiting: Vec<TcpStream> = (0..2).filter_map(|_| connect().ok()).collect();
    assert_eq!(waiting.len(), 2);
    let said = said("listen-queue-overflow");
    let own = format!(
        "(PID {}) does not accept: 2 connections wait on {address}, whose queue has 1 place",
        std::process::id()
    );
    assert!(said.iter().any(|line| line.contains(&own)), "{said:?}");
    let other = well.local_addr().expect("an address").to_string();
    assert!(!said.iter().any(|line| line.contains(&other)), "{said:?}");
}

#[test]
fn a_queue_that_was_full_for_a_moment() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listen(&listener, 1).expect("a short queue");
    let address = listener.local_addr().expect("an address");
    let connect = move || TcpStream::connect_timeout(&address, std::time::Duration::from_millis(20));
    let waiting: Vec<TcpStream> = (0..2).filter_map(|_| connect().ok()).collect();
    let enough = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&enough);
    let caller = std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            let _ = connect();
        }
    });
    let facts = facts();
    let grown = facts.get::<TcpCounters>().map(|counters| counters.grown("TcpExt.ListenOverflows")).ok();
    enough.store(true, Ordering::Relaxed);
    caller.join().expect("it ends");
    assert!(grown.is_some_and(|grown| grown > 0), "{grown:?}");
    // By now it accepts.
    listener.set_nonblocking(true).expect("set");
    while listener.accept().is_ok() {}
    drop(waiting);
    let checks = checks::chosen(&["listen-queue-overflow".to_owned()]).unwrap_or_else(|_| panic!("there is one"));
    let diagnosis = diagnose(&facts, &checks);
    let said: Vec<String> = diagnosis.findings.iter().map(|finding| finding.message.render(Lang::En)).collect();
    let wanted = format!("a queue was full for a moment: {} (PID {}), {address}, 1 place", name(), std::process::id());
    assert!(said.iter().any(|line| line.ends_with(&wanted)), "{said:?}, wanted {wanted}");
}

/// The kernel's name of this thread's process.
fn name() -> String {
    std::fs::read_to_string("/proc/self/comm").expect("read").trim().to_owned()
}

#[test]
fn connections_by_destination_and_unclosed_ones_by_owner() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let mut clients = Vec::new();
    for _ in 0..150 {
        clients.push(TcpStream::connect(address).expect("it connects"));
        // The server closes at once, and the client does not.
        drop(listener.accept().expect("it accepts"));
    }
    let facts = facts();
    let sockets = facts.get::<Sockets>().unwrap_or_else(|_| panic!("the sockets of this machine"));
    assert!(sockets.is_full && !sockets.is_cut);
    let pairs = sockets.pairs();
    let pair = pairs.iter().find(|pair| pair.port == address.port()).expect("the destination");
    assert_eq!((pair.open, pair.waiting), (150, 0));
    let states = facts.get::<States>().unwrap_or_else(|_| panic!("the states"));
    assert!(
        states.0.get("CLOSE_WAIT").is_some_and(|count| *count >= 150) && states.0.contains_key("LISTEN"),
        "{states:?}"
    );
    let owners = facts.get::<Owners>().unwrap_or_else(|_| panic!("the owners"));
    let all = unclosed(&sockets, &owners);
    let own = all.iter().find(|one| one.pid == std::process::id()).expect("this process has some");
    // None of them for a minute: nobody is blamed.
    assert_eq!((own.count, own.old), (150, Some(0)));
    assert!(own.oldest.is_some_and(|oldest| oldest < 60));
    assert!(!said("close-wait-leak").iter().any(|line| line.contains(&format!("(PID {})", std::process::id()))));
}

/// Not a test: the process in another namespace, which holds its connections until its input ends.
#[test]
#[ignore = "is started by another test"]
fn holds_connections() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let mut held = Vec::new();
    for _ in 0..600 {
        held.push(TcpStream::connect(address).expect("it connects"));
        held.push(listener.accept().expect("it accepts").0);
    }
    eprintln!("ready");
    let _ = std::io::stdin().read(&mut [0]);
}

#[test]
fn another_namespace_is_no_leak_and_a_leak_is_one() {
    let own = std::env::current_exe().expect("the test itself");
    let script =
        format!("ip link set lo up && exec '{}' --exact holds_connections --ignored --nocapture", own.display());
    let child = Command::new("unshare")
        .args(["-n", "sh", "-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else { return };
    let mut lines = BufReader::new(child.stderr.take().expect("it was asked for")).lines();
    // Without root, or without ip(8), there is no such namespace.
    if !lines.any(|line| line.is_ok_and(|line| line.contains("ready"))) {
        let _ = child.wait();
        return;
    }
    let facts = facts();
    let sum = facts.get::<Sum>().unwrap_or_else(|_| panic!("the sum"));
    let theirs = sum.spaces.iter().find(|space| !space.is_own && space.inuse >= 1201).expect("the other namespace");
    assert_eq!(theirs.pid, child.id());
    assert!(sum.alloc >= 1201 && sum.unhashed < 1000, "{sum:?}");
    assert!(said("sockets-unaccounted").is_empty());

    let leak: Vec<OwnedFd> =
        (0..1500).map(|_| socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket")).collect();
    if sum.unseen.is_none() {
        let said = said("sockets-unaccounted");
        let own = format!("(PID {}) holds 1500 of them", std::process::id());
        assert!(said.iter().any(|line| line.contains(&own)), "{said:?}");
    }
    let output = Command::new(env!("CARGO_BIN_EXE_sickbay")).args(["--format", "json", "explain", "sockets"]).output();
    let output = output.expect("it runs");
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let space = |one: &serde_json::Value| one["pid"] == child.id() && one["inuse"].as_u64() >= Some(1201);
    assert!(told["namespaces"].as_array().expect("a list").iter().any(space), "{told:#}");
    let holder = |one: &serde_json::Value| one["pid"] == std::process::id() && one["count"] == 1500;
    assert!(told["in_no_table_by_process"].as_array().expect("a list").iter().any(holder), "{told:#}");
    drop(leak);
    drop(child.stdin.take());
    let _ = child.wait();
}

#[test]
fn processors_and_readers_of_slabinfo() {
    let mut reader = Command::new("sh")
        .args(["-c", "while :; do cat /proc/slabinfo > /dev/null; sleep 0.1; done"])
        .stderr(Stdio::null())
        .spawn()
        .expect("sh");
    let output = Command::new(env!("CARGO_BIN_EXE_sickbay"))
        .args(["--format", "json", "explain", "jitter", "--for", "1s"])
        .output()
        .expect("it runs");
    let _ = reader.kill();
    let _ = reader.wait();
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(told["schema"], "sickbay/jitter/v1");
    let cpus = told["cpus"].as_array().expect("a list");
    assert!(!cpus.is_empty() && cpus.iter().all(|cpu| cpu["ticks"].as_u64() > Some(0)), "{told}");
    assert!(told["slabinfo"]["dentries"].as_u64() > Some(0), "{told}");
    // Who may not watch says so, and names nobody.
    let Some(readers) = told["readers"].as_array() else { return };
    let cat =
        readers.iter().find(|reader| reader["comm"] == "cat" && reader["parents"][0] == "sh").expect("the reader");
    assert!(cat["opens"].as_u64() > Some(1) && cat["every"].as_f64() > Some(0.0), "{cat}");
    let known = told["known_readers"].as_array().expect("a list");
    assert!(known.iter().any(|one| one["pid"] == reader.id()), "{known:?}");
}
