//! `vm`.

use super::{Asked, Judgement, KEY, Key, Preset, Range, Takes, Unit, VM, Verdict, adapt, good, idle, refuse};
use crate::facts::memory::size;
use crate::tr;
use crate::tune::kernel::{EVER, Machine, from, from_el};

/// The entries.
pub(super) const KEYS: &[Key] = &[
    Key {
        name: "vm.swappiness",
        preset: &[(EVER, Preset::Is("60"))],
        what: || tr!("how readily memory of programs is swapped out before the page cache is given up"),
        rule: Some(swappiness),
        sources: &["fe35004fbf9e", "admin-guide/sysctl/vm.rst"],
        ..KEY
    },
    Key {
        name: "vm.overcommit_memory",
        preset: &[(EVER, Preset::Is("0"))],
        what: || {
            tr!(
                "whether programs may ask for more memory than there is: 0 by judgement, 1 always, 2 never beyond a limit"
            )
        },
        rule: Some(|asked| match asked.value() {
            2 => adapt(
                tr!(
                    "a limit of swap plus overcommit_ratio of the memory for everything that is asked for, used or not: java, databases and fork() are refused with half of the memory free"
                ),
                0,
            ),
            1 => good(tr!(
                "every request is granted, and what is then not there ends in the OOM killer: redis asks for it, because of its fork()"
            )),
            _ => None,
        }),
        sources: VM,
        ..KEY
    },
    Key {
        name: "vm.overcommit_ratio",
        unit: Unit::Percent,
        preset: &[(EVER, Preset::Is("50"))],
        what: || tr!("share of the memory that programs may ask for; counts with vm.overcommit_memory = 2 only"),
        rule: Some(|asked| only_with_two(asked, |value| value < 50)),
        sources: VM,
        ..KEY
    },
    Key {
        name: "vm.overcommit_kbytes",
        since: from_el(3, 14, 7),
        unit: Unit::Kib,
        preset: &[(EVER, Preset::Is("0"))],
        what: || tr!("memory that programs may ask for; counts with vm.overcommit_memory = 2 only"),
        rule: Some(|asked| only_with_two(asked, |_| false)),
        sources: VM,
        ..KEY
    },
    Key {
        name: "vm.min_free_kbytes",
        unit: Unit::Kib,
        what: || tr!("memory that is kept free for the kernel itself, and from which all watermarks are made"),
        rule: Some(min_free),
        sources: VM,
        ..KEY
    },
    Key {
        name: "vm.watermark_scale_factor",
        since: from_el(4, 6, 8),
        preset: &[(from(4, 6), Preset::Is("10"))],
        what: || tr!("how far apart the watermarks are, in ten-thousandths of the memory: more starts reclaim earlier"),
        range: Some(|_| {
            Some(Range {
                least: 10,
                most: 1000,
                why: tr!("at 1000 a tenth of the memory lies idle between the watermarks"),
            })
        }),
        sources: VM,
        ..KEY
    },
    Key {
        name: "vm.watermark_boost_factor",
        since: from(5, 0),
        preset: &[(from(5, 0), Preset::Is("15000"))],
        what: || tr!("how much more is reclaimed after memory was found in pieces; 0 turns it off"),
        sources: VM,
        ..KEY
    },
    Key {
        name: "vm.dirty_ratio",
        unit: Unit::Percent,
        preset: &[(EVER, Preset::Is("20"))],
        what: || {
            tr!(
                "share of the available memory that may be written but not yet on the disk before programs have to wait"
            )
        },
        rule: Some(dirty),
        sources: VM,
        ..KEY
    },
    Key {
        name: "vm.dirty_background_ratio",
        unit: Unit::Percent,
        preset: &[(EVER, Preset::Is("10"))],
        what: || {
            tr!("share of the available memory that may be written before the kernel begins to bring it to the disk")
        },
        rule: Some(|asked| match asked.value() {
            0 => good(tr!("the kernel begins to write at once")),
            51.. => adapt(tr!("half of the memory is dirty before anything is written: then everything waits"), 10),
            _ => None,
        }),
        sources: VM,
        ..KEY
    },
    Key {
        name: "vm.dirty_bytes",
        unit: Unit::Bytes,
        preset: &[(EVER, Preset::Is("0"))],
        what: || tr!("vm.dirty_ratio in bytes: each sets the other to 0"),
        range: Some(|machine| {
            let most = machine.share(400)?.saturating_mul(1024);
            Some(Range {
                least: 0,
                most,
                why: tr!("two fifths of the memory dirty: a crash loses it, and a sync takes minutes"),
            })
        }),
        sources: VM,
        ..KEY
    },
    Key {
        name: "vm.dirty_background_bytes",
        unit: Unit::Bytes,
        preset: &[(EVER, Preset::Is("0"))],
        what: || tr!("vm.dirty_background_ratio in bytes: each sets the other to 0"),
        sources: VM,
        ..KEY
    },
    Key {
        name: "vm.dirty_expire_centisecs",
        unit: Unit::Centiseconds,
        preset: &[(EVER, Preset::Is("3000"))],
        what: || tr!("what is older than this is written out"),
        range: Some(|_| {
            Some(Range {
                least: 100,
                most: 12_000,
                why: tr!("what is not on the disk when the machine fails is lost: two minutes of everybody's work"),
            })
        }),
        sources: VM,
        ..KEY
    },
    Key {
        name: "vm.dirty_writeback_centisecs",
        unit: Unit::Centiseconds,
        preset: &[(EVER, Preset::Is("500"))],
        what: || tr!("how often the kernel looks for what is to be written out"),
        rule: Some(|asked| match asked.value() {
            0 => adapt(tr!("0 turns it off: nothing is written by age, whatever vm.dirty_expire_centisecs says"), 500),
            _ => None,
        }),
        sources: VM,
        ..KEY
    },
    Key {
        name: "vm.vfs_cache_pressure",
        preset: &[(EVER, Preset::Is("100"))],
        what: || tr!("how readily cached names and inodes are given up, against the page cache"),
        rule: Some(|asked| match asked.value() {
            0 => refuse(tr!("they are never given up: they fill the memory, and the OOM killer comes"))
                .map(|one| one.with(100)),
            1..10 => adapt(tr!("names and inodes crowd out the page cache"), 50),
            1001.. => adapt(tr!("every look for what can be freed walks long lists under a lock"), 200),
            _ => None,
        }),
        sources: VM,
        ..KEY
    },
    Key {
        name: "vm.max_map_count",
        preset: &[(EVER, Preset::Is("65530"))],
        what: || tr!("so many mappings one process may have: elasticsearch asks for 262144"),
        range: Some(|_| {
            Some(Range {
                least: 65_530,
                most: 2_147_483_647,
                why: tr!(
                    "below the default programs with many mappings end with \"out of memory\"; some that copy the number into 32 bits fail at its limit"
                ),
            })
        }),
        sources: VM,
        ..KEY
    },
    Key {
        name: "vm.nr_hugepages",
        preset: &[(EVER, Preset::Is("0"))],
        what: || tr!("huge pages that are set aside: nothing but programs that ask for huge pages can use that memory"),
        rule: Some(hugepages),
        sources: VM,
        ..KEY
    },
    Key {
        name: "vm.nr_overcommit_hugepages",
        preset: &[(EVER, Preset::Is("0"))],
        what: || tr!("huge pages that may be made when they are asked for"),
        sources: VM,
        ..KEY
    },
    Key {
        name: "vm.hugetlb_shm_group",
        what: || tr!("the group that may put shared memory on huge pages"),
        sources: VM,
        ..KEY
    },
    Key {
        name: "vm.zone_reclaim_mode",
        preset: &[(EVER, Preset::Is("0"))],
        what: || tr!("frees memory of the own NUMA node before it takes that of another"),
        rule: Some(|asked| match asked.value() {
            0 => None,
            _ => {
                adapt(tr!("a database or a file server drops its cache on one node while the other has memory free"), 0)
            }
        }),
        sources: &["4f9b16a64753", "admin-guide/sysctl/vm.rst"],
        ..KEY
    },
    Key {
        name: "vm.panic_on_oom",
        preset: &[(EVER, Preset::Is("0"))],
        what: || tr!("the machine stops when memory runs out, instead of one process"),
        rule: Some(|asked| match asked.value() {
            0 => None,
            _ => adapt(
                tr!("one process that leaks takes the whole machine down: only where another takes over at once"),
                0,
            ),
        }),
        sources: VM,
        ..KEY
    },
    Key {
        name: "vm.oom_kill_allocating_task",
        preset: &[(EVER, Preset::Is("0"))],
        what: || tr!("kills whoever asks, not whoever has the most"),
        sources: VM,
        ..KEY
    },
    Key {
        name: "vm.oom_dump_tasks",
        preset: &[(EVER, Preset::Is("1"))],
        what: || tr!("the report of the OOM killer lists all processes"),
        rule: Some(|asked| match asked.value() {
            0 => adapt(tr!("without the list nobody can tell who had the memory"), 1),
            _ => None,
        }),
        sources: VM,
        ..KEY
    },
    Key {
        name: "vm.drop_caches",
        what: || tr!("drops caches once, when it is written"),
        rule: Some(|_| {
            idle(tr!(
                "at boot there is nothing to drop; in cron it takes the page cache from everybody, and the next reads come from the disk"
            ))
        }),
        sources: VM,
        ..KEY
    },
    Key {
        name: "vm.compact_memory",
        what: || tr!("brings free pages together once, when it is written"),
        rule: Some(|_| idle(tr!("it does something once, when it is written: in a file it does nothing"))),
        sources: VM,
        ..KEY
    },
    Key {
        name: "vm.page-cluster",
        preset: &[(EVER, Preset::Is("3"))],
        what: || tr!("so many pages are read from swap at once, as a power of two: 0 for zram and SSDs"),
        sources: VM,
        ..KEY
    },
    Key {
        name: "vm.admin_reserve_kbytes",
        since: from_el(3, 10, 7),
        unit: Unit::Kib,
        what: || tr!("memory that only root may still ask for where overcommit is bounded"),
        sources: VM,
        ..KEY
    },
    Key {
        name: "vm.user_reserve_kbytes",
        since: from_el(3, 10, 7),
        unit: Unit::Kib,
        what: || tr!("with vm.overcommit_memory = 2, what one process leaves for others"),
        sources: VM,
        ..KEY
    },
    Key {
        name: "vm.mmap_min_addr",
        unit: Unit::Bytes,
        what: || tr!("below this address nothing can be mapped"),
        rule: Some(|asked| match asked.value() {
            0 => refuse(tr!("a bug of the kernel that follows a null pointer gives root to everybody"))
                .map(|one| one.with(65_536)),
            _ => None,
        }),
        sources: VM,
        ..KEY
    },
    Key {
        name: "vm.lowmem_reserve_ratio",
        takes: Takes::Words,
        what: || tr!("how much of the low zones is kept from requests that could have had others"),
        sources: VM,
        ..KEY
    },
    Key {
        name: "vm.extra_free_kbytes",
        until: Some(from_el(0, 0, 7)),
        what: || tr!("it was never in Linux itself, only in vendors' kernels (Android, EL 6)"),
        sources: VM,
        ..KEY
    },
    Key {
        name: "vm.percpu_pagelist_fraction",
        until: Some(from(5, 14)),
        preset: &[(EVER, Preset::Is("0"))],
        what: || tr!("how many pages each processor keeps for itself; now vm.percpu_pagelist_high_fraction"),
        sources: &["74f44822097c"],
        ..KEY
    },
    Key {
        name: "vm.stat_interval",
        unit: Unit::Seconds,
        preset: &[(EVER, Preset::Is("1"))],
        what: || tr!("how often the counters of memory are brought up to date"),
        sources: VM,
        ..KEY
    },
    Key {
        name: "vm.laptop_mode",
        preset: &[(EVER, Preset::Is("0"))],
        what: || tr!("writes in bursts so that a disk can sleep"),
        sources: VM,
        ..KEY
    },
];

fn swappiness(asked: &Asked<'_>) -> Option<Judgement> {
    let most = if asked.since(from(5, 8)) { 200 } else { 100 };
    match asked.value() {
        value if value > most => {
            Some(Judgement::new(Verdict::Malformed, tr!("the kernel refuses more than {most}", most)).with(most))
        }
        0 if asked.since(from_el(3, 5, 6)) => adapt(
            tr!(
                "0 swaps nothing until the page cache is gone: the OOM killer comes with swap free. 1 is what those who wrote 0 wanted"
            ),
            1,
        ),
        _ => None,
    }
}

fn only_with_two(asked: &Asked<'_>, is_little: fn(u64) -> bool) -> Option<Judgement> {
    match (asked.other)("vm.overcommit_memory") {
        Some(2) if is_little(asked.value()) => adapt(
            tr!(
                "programs may ask for that share of the memory and the swap together: what is free beyond it nobody can use"
            ),
            80,
        ),
        Some(2) => None,
        _ => idle(tr!("it counts only with vm.overcommit_memory = 2, which this list does not set")),
    }
}

/// The kernel's own: the square root of 16 times the memory in KiB, at most 64 MiB, since 5.8 256 MiB (mm/page_alloc.c,
/// calculate_min_free_kbytes()); and 66 MiB with three zones where transparent huge pages are on, but no more than a twentieth
/// (mm/khugepaged.c, set_recommended_min_free_kbytes()).
fn own_min_free(machine: &Machine) -> Option<u64> {
    let most = if from(5, 8).holds(&machine.kernel) { 262_144 } else { 65_536 };
    let memory = machine.memory?;
    Some(memory.saturating_mul(16).isqrt().clamp(128, most).max((memory / 20).min(67_584)))
}

fn min_free(asked: &Asked<'_>) -> Option<Judgement> {
    let value = asked.value();
    let memory = asked.machine.memory?;
    let own = own_min_free(asked.machine)?;
    // Watermarks are made of it: the high one is half as much again.
    let most = (memory / 20).max(own);
    if value > memory / 4 {
        return refuse(tr!(
            "{value} of {memory} that no program gets: the OOM killer comes at once, the machine may not start",
            value = size(value),
            memory = size(memory)
        ))
        .map(|one| one.with(most));
    }
    if value > most {
        return adapt(
            tr!("more than a twentieth of the memory lies idle, and half as much again is reclaimed all the time"),
            most,
        );
    }
    if value < own / 2 {
        return adapt(
            tr!(
                "the kernel takes {own} by itself: with less, network cards get no memory in a burst (\"page allocation failure\")",
                own = size(own)
            ),
            own,
        );
    }
    good(tr!("the kernel takes {own} by itself on this machine", own = size(own)))
}

fn dirty(asked: &Asked<'_>) -> Option<Judgement> {
    let value = asked.value();
    if value > 60 {
        return adapt(
            tr!(
                "most of the memory may be dirty: a crash loses it, and when it is reached every writer waits for the disk"
            ),
            20,
        );
    }
    if value < 3 && value > 0 {
        return adapt(tr!("every writer waits for the disk nearly all the time"), 5);
    }
    let dirty = asked.machine.memory? / 100 * value;
    // 8 GiB at 200 MB/s are 40 s.
    if dirty > 16 << 20 && value > 20 {
        return adapt(
            tr!(
                "{size} may be dirty: at 200 MB/s a sync takes {seconds} s",
                size = size(dirty),
                seconds = dirty / 200_000
            ),
            10,
        );
    }
    None
}

fn hugepages(asked: &Asked<'_>) -> Option<Judgement> {
    let kib = asked.value().saturating_mul(2048);
    let memory = asked.machine.memory?;
    if kib > memory / 100 * 80 {
        return refuse(tr!(
            "{size} in pages of 2 MiB, of {memory} in all: too little is left to start with",
            size = size(kib),
            memory = size(memory)
        ))
        .map(|one| one.with(memory / 2 / 2048));
    }
    (kib > 0).then(|| {
        Judgement::new(
            Verdict::Ok,
            tr!("{size} in pages of 2 MiB that only programs get which ask for huge pages", size = size(kib)),
        )
    })
}
