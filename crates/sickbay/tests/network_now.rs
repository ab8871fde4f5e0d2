//! The network of a running machine repaired now, in a network namespace, over veth: also where the repair cuts the connection over which it
//! is made.
#![allow(clippy::disallowed_methods)]

mod support;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use support::manifest::{difference, manifest};

/// Runs one of the ignored functions below as the first process of its own namespaces. `false` where there are none: without root, or
/// without ip(8).
fn inside(name: &str) -> bool {
    if !Command::new("unshare").args(["-n", "-m", "ip", "link"]).output().is_ok_and(|out| out.status.success()) {
        return false;
    }
    let own = std::env::current_exe().expect("the test itself");
    let out = Command::new("unshare")
        .args(["-n", "-m", "--propagation", "private"])
        .arg(own)
        .args(["--exact", name, "--ignored", "--nocapture"])
        .output()
        .expect("it starts");
    let text = [out.stdout.as_slice(), &out.stderr].concat();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&text));
    true
}

fn ip(arguments: &str) -> String {
    let out = Command::new("ip").args(arguments.split(' ')).output().expect("ip starts");
    assert!(out.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// The machine: a root of its own with network-scripts, two cards, and behind them a namespace that is the rest of the world.
struct Machine {
    root: PathBuf,
    dir: tempfile::TempDir,
    world: Child,
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.world.kill();
        let _ = self.world.wait();
        for below in ["proc", "sys", ""] {
            let _ = Command::new("umount").arg(self.root.join(below)).status();
        }
        let _ = &self.dir;
    }
}

impl Machine {
    fn new(network: &str) -> Machine {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().join("root");
        fs::create_dir(&root).expect("made");
        let mount = |arguments: &[&str], place: &Path| {
            assert!(Command::new("mount").args(arguments).arg(place).status().expect("mount").success());
        };
        mount(&["-t", "tmpfs", "tmpfs"], &root);
        for place in
            "proc sys dev tmp var/lib usr/sbin usr/bin etc/sysconfig/network-scripts etc/rc.d/init.d etc/rc.d/rc3.d"
                .split(' ')
        {
            fs::create_dir_all(root.join(place)).expect("made");
        }
        mount(&["-t", "proc", "proc"], &root.join("proc"));
        mount(&["-t", "sysfs", "-o", "ro", "sysfs"], &root.join("sys"));
        assert!(
            Command::new("mknod").arg(root.join("dev/null")).args(["c", "1", "3"]).status().expect("mknod").success()
        );
        fs::copy(env!("CARGO_BIN_EXE_sickbay"), root.join("sickbay")).expect("copied");
        for (path, content) in [
            ("etc/os-release", "ID=centos\nVERSION_ID=\"7\"\n"),
            ("etc/passwd", "root:x:0:0::/root:/bin/sh\n"),
            ("etc/rc.d/init.d/network", "#!/bin/sh\n"),
            ("etc/sysconfig/network", network),
            (
                "etc/sysconfig/network-scripts/ifcfg-eth0",
                "DEVICE=eth0\nONBOOT=yes\nBOOTPROTO=static\nIPADDR=10.25.158.37\nNETMASK=255.255.252.0\n",
            ),
            (
                "etc/sysconfig/network-scripts/ifcfg-eth1",
                "DEVICE=eth1\nONBOOT=yes\nBOOTPROTO=static\nIPADDR=60.205.150.10\nNETMASK=255.255.252.0\n",
            ),
        ] {
            fs::write(root.join(path), content).expect("written");
        }
        fs::set_permissions(root.join("etc/rc.d/init.d/network"), fs::Permissions::from_mode(0o755)).expect("set");
        symlink("rc.d/init.d", root.join("etc/init.d")).expect("linked");
        symlink("../init.d/network", root.join("etc/rc.d/rc3.d/S10network")).expect("linked");
        let world = Command::new("unshare")
            .args(["-n", "sleep", "300"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let machine = Machine { root, dir, world };
        let pid = machine.world.id();
        let own = fs::read_link("/proc/self/ns/net").expect("a namespace");
        wait("the other namespace", || fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|other| other != own));
        ip("link set lo up");
        for card in ["eth0", "eth1"] {
            ip(&format!("link add {card} type veth peer name {card} netns {pid}"));
            machine.world(&format!("link set {card} up"));
        }
        machine
    }

    /// ip(8) in the rest of the world.
    fn world(&self, arguments: &str) {
        let pid = self.world.id().to_string();
        let out = Command::new("nsenter").args(["-t", &pid, "-n", "ip"]).args(arguments.split(' ')).output();
        let out = out.expect("nsenter starts");
        assert!(out.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&out.stderr));
    }

    fn sickbay(&self, arguments: &str) -> (Option<i32>, String) {
        let mut command = Command::new("chroot");
        command
            .arg(&self.root)
            .arg("/sickbay")
            .args(arguments.split(' '))
            .env("LC_ALL", "C")
            .env_remove("SSH_CONNECTION");
        let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().expect("it starts");
        (status.code(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
    }

    /// All that a repair may touch: files, links, addresses, routes.
    fn state(&self) -> (support::manifest::Manifest, String) {
        let files = manifest(&self.root.join("etc"));
        let var = manifest(&self.root.join("var"));
        (
            files.into_iter().chain(var).collect(),
            ["-d -4 addr", "-d -4 route", "-d -4 route show table local"].map(ip).concat(),
        )
    }
}

fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Whether a byte comes back.
fn answers(stream: &mut TcpStream, patience: Duration) -> bool {
    stream.set_read_timeout(Some(patience)).expect("set");
    stream.write_all(b"x").expect("written");
    match stream.read(&mut [0; 64]) {
        Ok(read) => read > 0,
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => false,
        Err(error) => panic!("{error}"),
    }
}

/// Not a test: the other end of the connection, which gives every byte back.
#[test]
#[ignore = "is started by another test"]
fn world_answers() {
    let mut stream = TcpStream::connect("10.25.158.37:22").expect("it connects");
    let mut bytes = [0; 64];
    while let Ok(read) = stream.read(&mut bytes)
        && read > 0
    {
        let _ = stream.write_all(bytes.get(..read).unwrap_or_default());
    }
}

/// GATEWAYDEV is wrong, and what is wrong by it is what the only connection lives on.
#[test]
#[ignore = "is started by another test"]
fn a_route_over_which_it_is_repaired() {
    let machine = Machine::new("NETWORKING=yes\nGATEWAY=60.205.151.247\nGATEWAYDEV=eth0\n");
    ip("link set eth0 up");
    ip("link set eth1 up");
    ip("addr add 10.25.158.37/22 broadcast + dev eth0");
    ip("addr add 60.205.150.10/22 broadcast + dev eth1");
    ip("route add default dev eth0");
    machine.world("addr add 198.51.100.9/32 dev eth0");
    machine.world("route add 10.25.156.0/22 dev eth0");
    let listener = TcpListener::bind("0.0.0.0:22").expect("the port of a namespace of its own");
    let mut other = Command::new("nsenter")
        .args(["-t", &machine.world.id().to_string(), "-n"])
        .arg(std::env::current_exe().expect("the test itself"))
        .args(["--exact", "world_answers", "--ignored"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let (mut stream, peer) = listener.accept().expect("it accepts");
    assert_eq!(peer.ip().to_string(), "198.51.100.9");
    assert!(answers(&mut stream, Duration::from_secs(20)));
    let before = machine.state();

    // Taken back by itself, the file with it.
    let fix = "fix --yes --only network-default-route --only network-differs-now";
    let (code, said) = machine.sickbay(&format!("{fix} --confirm-within 4s"));
    assert!(said.contains("repaired: set the default route by 60.205.151.247 on eth1 now"), "{code:?} {said}");
    assert!(said.contains("unless you confirm the repair of the network within 4 s"), "{said}");
    assert!(!answers(&mut stream, Duration::from_millis(500)), "the repair was to cut the connection");
    assert!(ip("route").contains("default via 60.205.151.247 dev eth1"));
    let network = machine.root.join("etc/sysconfig/network");
    let text = fs::read_to_string(&network).expect("read");
    assert!(!text.lines().any(|line| line.starts_with("GATEWAYDEV")), "{text}");
    // Who hangs up does not end what keeps watch.
    let guard = guards();
    assert_eq!(guard.len(), 1, "{said}");
    assert!(Command::new("kill").args(["-HUP", &guard[0]]).status().expect("kill").success());
    wait("it is taken back", || ip("route").contains("default dev eth0") && guards().is_empty());
    assert_eq!(difference(&before.0, &machine.state().0), None);
    assert_eq!(before.1, machine.state().1);
    wait("the connection goes on", || answers(&mut stream, Duration::from_secs(1)));

    // Without being told it is careful by itself, and keeps what is confirmed.
    let (_, said) = machine.sickbay(fix);
    assert!(said.contains("the ssh connection of 198.51.100.9 goes over eth0, which this repair changes"), "{said}");
    assert!(machine.sickbay("undo --list").1.contains("waits to be confirmed until"));
    let (code, said) = machine.sickbay("undo --confirm");
    assert!(code == Some(0) && said.matches("confirmed 000").count() == 2, "{said}");
    wait("nobody keeps watch any more", || guards().is_empty());
    assert!(ip("route").contains("default via 60.205.151.247 dev eth1"));
    let (code, said) = machine.sickbay("undo --yes");
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(difference(&before.0, &machine.state().0), None);
    assert_eq!(before.1, machine.state().1);
    assert!(machine.sickbay("fix --confirm").1.contains("nothing waits to be confirmed"));
    drop(stream);
    let _ = other.wait();
}

/// The processes of this namespace that keep watch.
fn guards() -> Vec<String> {
    let own = fs::read_link("/proc/self/ns/net").expect("a namespace");
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let words = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        if words.contains("undo\0--guard") && fs::read_link(entry.path().join("ns/net")).is_ok_and(|ns| ns == own) {
            all.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    all
}

#[test]
fn a_repair_over_its_own_connection_is_taken_back_by_itself() {
    inside("a_route_over_which_it_is_repaired");
}

/// What e-books leave behind: the mask of the address's class; a card that is down; no default route.
#[test]
#[ignore = "is started by another test"]
fn a_mask_and_a_card() {
    let machine = Machine::new("NETWORKING=yes\nGATEWAY=10.25.159.247\n");
    ip("link set eth0 up");
    ip("addr add 10.25.158.37/8 broadcast + dev eth0");
    ip("route add default via 10.25.159.247 dev eth0 metric 7");
    ip("route add 203.0.113.0/24 via 10.25.159.246 dev eth0 mtu 1400");
    let before = machine.state();
    let (_, said) = machine.sickbay("check");
    assert!(said.contains("eth0 is in 10.0.0.0/8, and its configuration says 10.25.156.0/22"), "{said}");
    assert!(said.contains("eth1 is down, and its configuration brings it up"), "{said}");
    let (_, said) = machine.sickbay("fix --yes --only network-mask-wrong --only network-differs-now");
    // Nobody is connected: nothing to wait for.
    assert!(!said.contains("undo --confirm") && guards().is_empty(), "{said}");
    let now = ip("-4 addr");
    assert!(now.contains("10.25.158.37/22 brd 10.25.159.255 scope global eth0"), "{said} {now}");
    assert!(!now.contains("/8 brd") && now.contains("60.205.150.10/22"), "{now}");
    assert!(ip("route").contains("default via 10.25.159.247 dev eth0 metric 7"), "what was there stays");
    assert!(machine.sickbay("check").1.matches("network-").count() == 0);
    let (code, said) = machine.sickbay("undo --yes");
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(difference(&before.0, &machine.state().0), None);
    assert_eq!(before.1, machine.state().1);
    // Set anew, and by somebody else taken away meanwhile: that is no hindrance.
    machine.sickbay("fix --yes --only network-differs-now");
    ip("addr del 60.205.150.10/22 dev eth1");
    assert_eq!(machine.sickbay("undo --yes").0, Some(0));
    assert_eq!(before.1, machine.state().1);
    // Another namespace has a network of its own.
    machine.sickbay("fix --yes --only network-differs-now");
    let mut elsewhere = Command::new("nsenter");
    elsewhere.args(["-t", &machine.world.id().to_string(), "-n", "chroot"]).arg(&machine.root);
    let out = elsewhere.args(["/sickbay", "undo", "--yes"]).env("LC_ALL", "C").output().expect("it starts");
    let said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    assert!(out.status.code() == Some(2) && said.contains("in another network namespace"), "{said}");
    assert_eq!(machine.sickbay("undo --yes").0, Some(0));
    assert_eq!(before.1, machine.state().1);
}

#[test]
fn what_is_set_up_now_is_taken_back_exactly() {
    inside("a_mask_and_a_card");
}

/// Not a test: what [`an_address_that_another_host_has`] runs in its namespaces.
#[test]
#[ignore = "is started by another test"]
fn address_of_another_host() {
    let machine = Machine::new("NETWORKING=yes\nGATEWAY=60.205.151.247\n");
    ip("link set eth0 up");
    machine.world("-6 addr add 2001:db8::5/64 dev eth0 nodad");
    let (_, healthy) = machine.sickbay("check");
    assert!(!healthy.contains("another host"), "{healthy}");
    ip("-6 addr add 2001:db8::5/64 dev eth0");
    wait("the kernel finds the other one", || ip("-6 addr show dev eth0").contains("dadfailed"));
    let (status, text) = machine.sickbay("check");
    assert_eq!(text.matches("another host has the address 2001:db8::5 of eth0").count(), 1, "{status:?} {text}");
}

#[test]
fn an_address_that_another_host_has() {
    inside("address_of_another_host");
}

/// Not a test: what [`packets_that_the_reverse_path_filter_drops`] runs in its namespaces.
#[test]
#[ignore = "is started by another test"]
fn strict_filter() {
    let machine = Machine::new("NETWORKING=yes\nGATEWAY=10.25.159.247\n");
    for (card, here, there) in
        [("eth0", "10.25.158.37/22", "10.25.159.247/22"), ("eth1", "60.205.150.10/22", "60.205.151.247/22")]
    {
        ip(&format!("link set {card} up"));
        ip(&format!("addr add {here} dev {card}"));
        machine.world(&format!("addr add {there} dev {card}"));
    }
    ip("route add default via 10.25.159.247 dev eth0");
    machine.world("link set lo up");
    machine.world("addr add 198.51.100.1/32 dev lo");
    machine.world("route add 60.205.150.10/32 dev eth1 src 198.51.100.1");
    // The filter would drop the question who has the address, too.
    let mac = fs::read_to_string(machine.root.join("sys/class/net/eth1/address")).expect("read");
    machine.world(&format!("neigh replace 60.205.150.10 lladdr {} dev eth1 nud permanent", mac.trim()));
    let filter = machine.root.join("proc/sys/net/ipv4/conf/eth1/rp_filter");
    let read = || fs::read_to_string(&filter).expect("read").trim().to_owned();
    fs::write(machine.root.join("proc/sys/net/ipv4/conf/all/rp_filter"), "0").expect("set");
    fs::write(&filter, "1").expect("set");
    let (_, quiet) = machine.sickbay("check --for 1s");
    assert!(!quiet.contains("reverse path"), "{quiet}");
    let mut caller = Command::new("nsenter")
        .args(["-t", &machine.world.id().to_string(), "-n", "bash", "-c"])
        .arg("while sleep 0.02; do echo x >/dev/udp/60.205.150.10/9; done")
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let (_, text) = machine.sickbay("check --for 1s");
    let (_, fixed) = machine.sickbay("fix --yes --risky --only reverse-path-filter");
    let loose = read();
    let (_, undone) = machine.sickbay("undo --yes");
    caller.kill().expect("ended");
    caller.wait().expect("ended");
    assert_eq!(text.matches("the reverse path filter dropped ").count(), 1, "{text}");
    assert!(text.contains("eth1 is filtered strictly, and answers to other networks leave by eth0"), "{text}");
    assert_eq!(loose, "2", "{fixed}");
    assert_eq!(read(), "1", "{undone}");
    assert!(!machine.root.join("var/lib/sickbay").exists(), "{undone}");
}

#[test]
fn packets_that_the_reverse_path_filter_drops() {
    inside("strict_filter");
}
