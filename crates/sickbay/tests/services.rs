//! Servers on real sockets, and jars.
#![allow(clippy::disallowed_methods)]

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::listen;
use sickbay::checks;
use sickbay::engine::run::diagnose;
use sickbay::facts::Facts;
use sickbay::facts::services::pools::used_up;
use sickbay::model::text::Lang;
use sickbay_target::{Access, Target};

fn this_machine() -> Facts {
    let target = Target::described(Path::new("/"), Access::ReadOnly, Vec::new(), &[]);
    let target = target.and_then(Target::taken_for_running).expect("this machine");
    Facts::new(Arc::new(target), None)
}

/// A pool of eight connections that have all carried something, each with its other end.
fn pool(server: &TcpListener) -> Vec<(TcpStream, TcpStream)> {
    let address = server.local_addr().expect("an address");
    let mut pool = Vec::new();
    for _ in 0..8 {
        let mut client = TcpStream::connect(address).expect("it connects");
        let mut peer = server.accept().expect("it accepts").0;
        client.write_all(b"PING").expect("it sends");
        peer.read_exact(&mut [0; 4]).expect("it receives");
        pool.push((client, peer));
    }
    pool
}

#[test]
fn a_pool_that_is_used_up_and_one_that_is_idle() {
    let database = TcpListener::bind("127.0.0.1:0").expect("a port");
    let web = TcpListener::bind("127.0.0.1:0").expect("a port");
    listen(&web, 2).expect("a short queue");
    let pool = pool(&database);
    let (server, own) = (database.local_addr().expect("an address"), std::process::id());
    let ours = |threshold: u32| {
        let found = used_up(&this_machine(), threshold).unwrap_or_else(|_| panic!("the sockets of this machine"));
        found.into_iter().filter(|one| one.pid == own && one.server == server).collect::<Vec<_>>()
    };
    // Nobody waits: an idle pool is healthy.
    assert_eq!(ours(0), []);
    let address = web.local_addr().expect("an address");
    let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(200));
    let waiting: Vec<TcpStream> = (0..3).filter_map(|_| connect().ok()).collect();
    assert_eq!(waiting.len(), 3);
    let found = ours(0);
    let [one] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((one.size, one.waiting.end, one.waiting.count, one.waiting.places), (8, address, 3, 2));
    // It has carried something a moment ago, and what waits to be read is in use.
    assert_eq!(ours(60_000), []);
    let (_, peer) = pool.first().expect("one of eight");
    let mut peer = peer;
    peer.write_all(b"PONG").expect("it sends");
    assert_eq!(ours(1), []);
}

/// An archive with members that are stored.
fn jar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut out, mut list) = (Vec::new(), Vec::new());
    let number = |length: usize| u32::try_from(length).expect("small").to_le_bytes();
    for (name, text) in members {
        let start = number(out.len());
        let name_length = u16::try_from(name.len()).expect("short").to_le_bytes();
        let common = [
            &[20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..],
            &number(text.len()),
            &number(text.len()),
            &name_length,
            &[0, 0],
        ]
        .concat();
        out.extend([b"PK\x03\x04", common.as_slice(), name.as_bytes(), text].concat());
        list.extend([b"PK\x01\x02\x14\0", common.as_slice(), &[0; 10], &start, name.as_bytes()].concat());
    }
    let start = number(out.len());
    let length = number(list.len());
    out.extend(list);
    out.extend([b"PK\x05\x06\0\0\0\0\x01\0\x01\0".as_slice(), &length, &start, &[0, 0]].concat());
    out
}

/// What the checks of Spring Boot and its clients say of a jar that a unit starts.
fn said(jar: &[u8], beside: Option<&str>) -> Vec<String> {
    let dir = tempfile::tempdir().expect("a directory");
    let units = dir.path().join("usr/lib/systemd/system");
    fs::create_dir_all(&units).expect("units");
    fs::create_dir_all(dir.path().join("srv")).expect("a directory");
    fs::write(dir.path().join("usr/lib/systemd/systemd"), "").expect("systemd");
    fs::write(units.join("default.target"), "[Unit]\nWants=shop.service\n").expect("a unit");
    fs::write(units.join("shop.service"), "[Service]\nExecStart=/usr/bin/java -Xmx1g -jar /srv/shop.jar\n")
        .expect("a unit");
    fs::write(dir.path().join("srv/shop.jar"), jar).expect("a jar");
    if let Some(text) = beside {
        fs::write(dir.path().join("srv/application.yml"), text).expect("settings");
    }
    let target = Target::described(dir.path(), Access::ReadOnly, Vec::new(), &[]).expect("a target");
    let chosen = ["spring-boot-keys-ineffective".to_owned(), "java-client-leaks".to_owned()];
    let chosen = checks::chosen(&chosen).unwrap_or_else(|_| panic!("there are"));
    let diagnosis = diagnose(&Arc::new(Facts::new(Arc::new(target), None)), &chosen);
    let notes =
        diagnosis.findings.iter().flat_map(|finding| finding.notes.iter().map(|note| note.text.render(Lang::En)));
    diagnosis.findings.iter().map(|finding| finding.message.render(Lang::En)).chain(notes).collect()
}

#[test]
fn the_e_books_jar() {
    let boot = |version: &str, jedis: &str, settings: &[u8]| {
        let (boot, jedis) =
            (format!("BOOT-INF/lib/spring-boot-{version}.jar"), format!("BOOT-INF/lib/jedis-{jedis}.jar"));
        jar(&[(&boot, b""), (&jedis, b""), ("BOOT-INF/classes/application.properties", settings)])
    };
    // Boot 1.5 with the key of Boot 2, jedis 2.9.1, and a pool without a maximum wait.
    let all = said(
        &boot("1.5.19.RELEASE", "2.9.1", b"server.servlet.session.timeout=300s\nspring.redis.pool.max-active=20\n"),
        None,
    );
    let wanted = [
        "server.servlet.session.timeout has no effect: it is Spring Boot 1.5.19.RELEASE",
        "/srv/shop.jar has jedis 2.9.1, whose pool loses connections",
        "its pool has no maximum wait (max-wait): threads then wait for ever",
    ];
    assert_eq!(all, wanted);
    // The cure, with the settings beside the jar.
    let well = boot("1.5.19.RELEASE", "2.10.2", b"server.session.timeout=300\n");
    assert_eq!(said(&well, Some("spring:\n  redis:\n    pool: {maxActive: 20, max-wait: 2000}\n")), [""; 0]);
    // Boot 2 with keys of Boot 1, beside the jar.
    let two = boot("2.7.18", "3.8.0", b"server.tomcat.threads.max=800\n");
    let all = said(&two, Some("server:\n  context-path: /shop\n"));
    assert_eq!(all, ["server.context-path has no effect: it is Spring Boot 2.7.18"]);
    // What is no jar says nothing.
    assert_eq!(said(b"PK\x05\x06 no archive", None), [""; 0]);
}
