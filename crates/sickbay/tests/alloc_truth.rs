//! The allocation oracle against the kernel: what it says of random requests, and what mmap(2) says.
//!
//! By default in the mode that this machine has, with limits of the process itself. In a machine made for it the
//! environment can say `SICKBAY_TRIALS=1000` and `SICKBAY_SET_PARAMETERS=1`: then every trial has its own
//! `vm.overcommit_*`, reserves and huge pages; they are set back at the end, also when a trial fails.

use std::path::Path;
use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
use sickbay::facts::Facts;
use sickbay::facts::memory::alloc::{Accounting, Asker, Says};
use sickbay::facts::memory::overcommit::asker;
use sickbay_target::{Access, Target};

/// A small generator: the same numbers in every run (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) % below.max(1)
    }
}

const KEYS: [&str; 6] = [
    "overcommit_memory",
    "overcommit_ratio",
    "overcommit_kbytes",
    "admin_reserve_kbytes",
    "user_reserve_kbytes",
    "nr_hugepages",
];

fn path(key: &str) -> String {
    format!("/proc/sys/vm/{key}")
}

fn parameter(key: &str) -> String {
    std::fs::read_to_string(path(key)).expect("a parameter of the kernel").trim().to_owned()
}

/// Parameters as they were, set back when this goes. The order matters: the ratio takes back kbytes.
struct Kept(Vec<(&'static str, String)>);

impl Kept {
    fn all() -> Kept {
        Kept(KEYS.iter().map(|key| (*key, parameter(key))).collect())
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        for (key, value) in &self.0 {
            if *key != "overcommit_kbytes" || value != "0" {
                let _ = std::fs::write(path(key), value);
            }
        }
    }
}

/// Limits and capabilities as they were.
struct Unlimited(Rlimit, Rlimit, CapabilitySets);

impl Unlimited {
    fn now() -> Unlimited {
        let of_thread = capabilities(None).expect("capabilities");
        Unlimited(getrlimit(Resource::As), getrlimit(Resource::Data), of_thread)
    }

    fn restore(&self) {
        let _ = setrlimit(Resource::As, self.0);
        let _ = setrlimit(Resource::Data, self.1);
        let _ = set_capabilities(None, self.2);
    }
}

impl Drop for Unlimited {
    fn drop(&mut self) {
        self.restore();
    }
}

fn facts() -> Facts {
    // The root as it is, without the disks that nobody asks about here.
    let target =
        Target::described(Path::new("/"), Access::ReadOnly, Vec::new(), &[]).and_then(Target::taken_for_running);
    Facts::new(Arc::new(target.expect("the root")), None)
}

/// Smaller ones malloc may take from the 64 MiB of addresses that it keeps for a thread, in KiB.
const LEAST: u64 = 72 << 10;

/// Whether the kernel gives so many bytes. An allocation of this size is a mapping of its own, and is never touched.
fn granted(bytes: u64) -> bool {
    let mut memory: Vec<u8> = Vec::new();
    // malloc puts 16 bytes before it and rounds up to pages.
    memory.try_reserve_exact(usize::try_from(bytes - 32).expect("64 bits")).is_ok()
}

fn set(random: &mut Random, total: u64, committed: u64) {
    let put = |key: &str, value: u64| std::fs::write(path(key), value.to_string()).expect("root sets parameters");
    put("admin_reserve_kbytes", random.next(32 << 10));
    put("user_reserve_kbytes", random.next(256 << 10));
    put("nr_hugepages", random.next(3) * random.next(16));
    // Room must be left for the test itself.
    let least = (committed + (96 << 10)) * 100 / total + 2;
    if random.next(4) == 0 {
        put("overcommit_kbytes", committed + (96 << 10) + random.next(total));
    } else {
        put("overcommit_ratio", least + random.next(150));
    }
    put("overcommit_memory", random.next(3));
}

#[test]
fn the_oracle_says_what_the_kernel_does() {
    let trials: u64 = std::env::var("SICKBAY_TRIALS").ok().and_then(|n| n.parse().ok()).unwrap_or(200);
    let sets = std::env::var_os("SICKBAY_SET_PARAMETERS").is_some();
    let mut random = Random(0x5EED_0F00_D15E_A5E5);
    let kept = sets.then(Kept::all);
    let unlimited = Unlimited::now();
    let (mut unsure, mut wrong, mut refused) = (0, Vec::new(), 0);
    for trial in 0..trials {
        unlimited.restore();
        let before = facts().get::<Accounting>().expect("a running kernel");
        let total = before.meminfo.or_zero("MemTotal");
        if sets {
            set(&mut random, total, before.meminfo.or_zero("Committed_AS"));
        }
        let facts = facts();
        let accounting = facts.get::<Accounting>().expect("a running kernel");
        let first = asker(&facts, "thread-self", true).expect("this thread");
        // Near what is decisive, else anything up to twice the memory.
        let all = total + accounting.meminfo.or_zero("SwapTotal");
        let edge = match accounting.mode {
            Some(2) => u64::try_from(accounting.headroom(&first)).unwrap_or(0),
            _ => all,
        };
        let kib = match random.next(3) {
            0 => random.next(2 * total) + LEAST,
            1 => edge + 512 + random.next(total / 8),
            _ => edge.saturating_sub(512 + random.next(total / 8)),
        };
        let kib = kib.max(LEAST) / 4 * 4;
        let bytes = kib * 1024;
        match random.next(6) {
            // Always at least half a mebibyte beside the limit: the test itself maps a little.
            0 => limit(Resource::As, (first.total_vm + kib) * 1024 + (random.next(2) << 21), 1 << 20),
            1 => limit(Resource::Data, (first.data_vm + kib) * 1024 + (random.next(2) << 21), 1 << 20),
            2 => drop_admin(&unlimited.2),
            _ => {}
        }
        let asker: Asker = asker(&facts, "thread-self", true).expect("this thread");
        let verdict = accounting.judge(bytes, &asker);
        let really = granted(bytes);
        unlimited.restore();
        refused += u64::from(!really);
        match verdict.says() {
            Says::Unsure => unsure += 1,
            says if (says != Says::Refuses) == really => {}
            says => wrong.push(format!("trial {trial}: {bytes} bytes, said {says:?}, granted {really}: {verdict:#?}")),
        }
    }
    drop(kept);
    println!("{trials} trials, {refused} refused by the kernel, {unsure} unsure, {} wrong", wrong.len());
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(unsure * 10 <= trials, "{unsure} of {trials} could not be told");
    assert!(refused * 10 >= trials, "only {refused} of {trials} were refused");
}

fn limit(resource: Resource, bytes: u64, less: u64) {
    let bytes = bytes.saturating_sub(less);
    let hard = getrlimit(resource).maximum;
    setrlimit(resource, Rlimit { current: Some(bytes), maximum: hard }).expect("a soft limit");
}

fn drop_admin(all: &CapabilitySets) {
    let mut fewer = *all;
    fewer.effective.remove(CapabilitySet::SYS_ADMIN);
    set_capabilities(None, fewer).expect("to drop a capability");
}
