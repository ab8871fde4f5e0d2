//! What it costs to look at more than a hundred thousand TCP sockets, against ss(8) and netstat(8).

use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::cost::{self, Cost, median};
use crate::lab::disk::output;

/// So many sockets, both ends of connections on the loopback of a network namespace,
const SOCKETS: usize = 118_000;

/// are held by so many processes: each may have some 20,000 descriptors on machines that are set up tightly.
const HOLDERS: usize = 7;

/// Ports of one process that are connected to.
const LISTENERS: usize = 4;

/// Starts itself in a network namespace of its own.
pub(super) fn look(sickbay: &Path, runs: usize) -> Result<(), String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut inside = Command::new("unshare");
    inside.arg("--net").arg(own).args(["bench", "--runs", &runs.to_string(), "--inside"]).arg("--sickbay").arg(sickbay);
    let status = inside.status().map_err(|error| format!("unshare: {error}"))?;
    status.success().then_some(()).ok_or_else(|| "the sockets could not be measured".to_owned())
}

/// In the namespace: makes the sockets, and measures.
pub(super) fn inside(sickbay: &Path, runs: usize) -> Result<(), String> {
    output(Command::new("ip").args(["link", "set", "lo", "up"]))?;
    std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "10000 65000").map_err(|error| error.to_string())?;
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let holders = (0..HOLDERS).map(|_| {
        let mut holder = Command::new(&own);
        holder.args(["bench", "--hold"]).arg((SOCKETS / HOLDERS / 2).to_string());
        holder.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()
    });
    let mut holders: Vec<Child> = holders.collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    let mut count = 0;
    for holder in &mut holders {
        let mut line = String::new();
        if let Some(told) = holder.stdout.as_mut() {
            BufReader::new(told).read_line(&mut line).map_err(|error| error.to_string())?;
        }
        count += line.trim().parse::<usize>().unwrap_or(0);
    }
    println!("{count} TCP sockets in a network namespace, of {HOLDERS} processes");
    let result = measure(sickbay, runs);
    for mut holder in holders {
        // Its input ends.
        drop(holder.stdin.take());
        let _ = holder.wait();
    }
    result
}

fn measure(sickbay: &Path, runs: usize) -> Result<(), String> {
    let of = |program: &Path, words: &[&str], times: usize| {
        let costs = (0..times).map(|_| Cost::of(Command::new(program).args(words))).collect::<Result<Vec<_>, _>>()?;
        Ok::<Cost, String>(median(&costs))
    };
    let states = of(sickbay, &["explain", "sockets", "--states"], runs)?;
    let owners = of(sickbay, &["explain", "sockets"], runs)?;
    // They take ten seconds each.
    let few = runs.min(3);
    for (program, words, ours, name, times, most) in [
        ("ss", "-tan", states, "sickbay explain sockets --states", runs, 1.0 / 3.0),
        ("netstat", "-tan", states, "sickbay explain sockets --states", runs, 1.0 / 8.0),
        ("netstat", "-antp", owners, "sickbay explain sockets", few, 1.0 / 8.0),
        ("ss", "-tanp", owners, "sickbay explain sockets", few, 1.0 / 12.0),
    ] {
        match of(Path::new(program), &[words], times) {
            Ok(theirs) => cost::compare(name, ours, &format!("{program} {words}"), theirs, |cost| cost.cpu, most),
            Err(error) => println!("  {error}"),
        }
    }
    let all = of(sickbay, &["check"], runs)?;
    println!("  sickbay check: wall {:.1}, CPU {:.1} (at most 1000)", cost::ms(all.wall), cost::ms(all.cpu));
    Ok(())
}

/// A process that has so many connections to itself until its input ends.
pub(super) fn hold(connections: usize) -> Result<(), String> {
    sickbay_target::raise_files();
    let listeners: Vec<TcpListener> = (0..LISTENERS).filter_map(|_| TcpListener::bind("127.0.0.1:0").ok()).collect();
    let mut ends = Vec::new();
    for listener in listeners.iter().cycle().take(connections) {
        let connected =
            listener.local_addr().and_then(TcpStream::connect).and_then(|one| Ok((one, listener.accept()?.0)));
        match connected {
            Ok((one, other)) => ends.extend([one, other]),
            Err(_) => break,
        }
    }
    println!("{}", ends.len());
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    Ok(())
}
