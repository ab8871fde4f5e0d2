//! The memory ledger on the machine that runs the tests, with small faults planted in it.

use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use sickbay::facts::Facts;
use sickbay::facts::memory::ledger::{Ledger, TmpfsMounts};
use sickbay::facts::memory::processes::Holders;
use sickbay::facts::memory::slab_owners::{SlabOwners, Watched, seekers};
use sickbay::facts::system::kernel::MemInfo;
use sickbay_target::{Access, Target};

fn facts() -> Facts {
    let target =
        Target::described(Path::new("/"), Access::ReadOnly, Vec::new(), &[]).and_then(Target::taken_for_running);
    Facts::new(Arc::new(target.expect("the root")), None)
}

#[test]
fn every_page_is_booked() {
    // Counters are read one after the other while other tests run: the best of a few looks is the ledger's own error.
    let share = |_| {
        let ledger = facts().get::<Ledger>().expect("a running kernel");
        assert!(ledger.row("free") > 0 && ledger.row("processes") > 0 && ledger.row("page-cache") > 0);
        (ledger.unaccounted as f64 / ledger.total as f64).abs()
    };
    let best = (0..8).map(share).fold(1.0, f64::min);
    assert!(best < 0.01, "{:.2} % of the memory is not booked", best * 100.0);
}

#[test]
fn sockets_lead_to_their_owner() {
    let own = u64::from(std::process::id());
    let (_, hard) = limits();
    let wanted = hard.saturating_sub(200).min(19_500);
    let sockets: Vec<UnixDatagram> = (0..wanted).map_while(|_| UnixDatagram::unbound().ok()).collect();
    let count = sockets.len() as u64;
    let facts = facts();
    let holders = facts.get::<Holders>().expect("processes");
    let holder = holders.list.iter().find(|holder| u64::from(holder.pid) == own).expect("this process");
    assert!(holder.fds >= count && holder.fds < count + 200, "{holder:?}");
    if count >= 1000 {
        let sockets = holder.sockets.expect("a sample");
        assert!(sockets > count / 10 * 9 && sockets <= holder.fds, "{holder:?}");
        let place = holders.list.iter().position(|other| other.pid == holder.pid);
        assert!(place.is_some_and(|place| place < 8), "among the first: {place:?}");
    }
    // Named as an owner wherever the kernel does not keep far more for others.
    let owners = facts.get::<SlabOwners>().expect("owners");
    let ledger = facts.get::<Ledger>().expect("a running kernel");
    let kept = facts.get::<MemInfo>().expect("a running kernel").kib("SUnreclaim");
    let large = kept >= (ledger.total / 128).max(64 << 10);
    if large && count * 3584 / 1024 >= (ledger.row("slab") / 20).max(8 << 10) {
        assert!(owners.list.iter().any(|owner| owner.pid.map(u64::from) == Some(own)), "{:?}", owners.list);
    }
}

/// Soft and hard limit on open files; the soft one is raised.
fn limits() -> (u64, u64) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let old = getrlimit(Resource::Nofile);
    let hard = old.maximum.unwrap_or(1 << 20);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(hard), maximum: old.maximum });
    (old.current.unwrap_or(hard), hard)
}

/// Ends the process that was started when it goes.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_tmpfs_that_only_another_process_sees() {
    let script = "mount -t tmpfs -o size=100m none /mnt && head -c 50000000 /dev/zero > /mnt/full && echo there && exec sleep 60";
    let child = Command::new("unshare").args(["-m", "sh", "-c", script]).stdout(Stdio::piped()).spawn();
    let mut guard = Guard(child.expect("unshare(1), as root"));
    let mut line = String::new();
    BufReader::new(guard.0.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
    assert_eq!(line.trim(), "there");
    let mounts = facts().get::<TmpfsMounts>().expect("mounts");
    let found = mounts.list.iter().find(|tmpfs| tmpfs.pid == Some(guard.0.id())).expect("the tmpfs");
    assert_eq!((found.place.as_str(), found.size), ("/mnt", 100 << 10));
    assert!((48_800..52_000).contains(&found.used), "{found:?}");
}

#[test]
fn a_storm_of_look_ups_leads_to_who_makes_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let script = "echo there; for ((n = 0; n < 9000000; n++)); do [[ -e missing-$n ]]; done";
    // However much else runs here, it gets its time.
    let mut command = Command::new("nice");
    command.args(["-n", "-19", "bash", "-c", script]).current_dir(dir.path()).stdout(Stdio::piped());
    let mut guard = Guard(command.spawn().expect("nice(1)"));
    let mut line = String::new();
    BufReader::new(guard.0.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
    let looks: Vec<_> = (0..4).map(|_| seekers(&facts())).collect();
    let own = |seen: &&Watched| seen.pid == Some(guard.0.id());
    let named = looks.iter().flatten().find(own).unwrap_or_else(|| panic!("{looks:?}"));
    let text = named.text.render(sickbay::model::text::Lang::En);
    assert!(text.starts_with(&format!("bash (PID {}) is looking up names right now: ", guard.0.id())), "{text}");
}
