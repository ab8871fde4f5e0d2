//! Writes reports of the OOM killer by the formats of the releases: the calls of printk() in mm/oom_kill.c, mm/page_alloc.c,
//! mm/show_mem.c and mm/memcontrol.c. What such a report says comes from the scenario, never from the reader.

/// How a release words things.
pub(crate) struct Layout {
    /// `uname -r`.
    pub release: &'static str,
    /// Flags of GFP_HIGHUSER_MOVABLE and of GFP_KERNEL there.
    pub user: u64,
    pub kernel: u64,
    /// What changed; each names the release that it came with.
    pub has: &'static [Has],
}

/// What a release's reports have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Has {
    /// Names of the flags (4.6, edcfbca6e7).
    Names,
    /// `nodemask=` in the first line (4.11).
    NodeMask,
    /// `oom_adj=` in the first line (before 3.7).
    OomAdj,
    /// `oom_score_adj=` in the first line and in the table (2.6.36; el6).
    ScoreAdj,
    /// `name cpuset=/ mems_allowed=0` (before 5.0).
    Cpuset,
    /// `Pid: 1, comm: x` in place of `CPU: 0 PID: 1 Comm: x` (before 3.11).
    OldPid,
    /// `CPU: 0 UID: 0 PID: 1 Comm: x` (6.11).
    Uid,
    /// Managed pages of a zone (3.9).
    Managed,
    /// The lists of pages belong to nodes, not to zones (4.8).
    NodeLists,
    /// `boost:` in a zone (5.17).
    Boost,
    /// Types of pages behind the free blocks (3.3).
    Types,
    /// The zone DEVICE counts in lowmem_reserve[] (4.3 with CONFIG_ZONE_DEVICE).
    Device,
    /// Columns of the table: cpu (before 3.7), nr_ptes (3.7), nr_pmds (4.0), pgtables_bytes (4.15), rss_anon and others (6.8).
    Cpu,
    Ptes,
    Pmds,
    PgTables,
    Split,
    /// `oom-kill:constraint=` (4.19).
    OomKill,
    /// `Kill process … or sacrifice child` before the kill (before 5.3).
    Sacrifice,
    /// The same in the words of 2.6.32: `kill process … or a child`, and the kill names no sizes.
    OldKill,
    /// `Killed process 1, UID 0, (x) total-vm:…` (el6).
    KillUid,
    /// `shmem-rss:` of the victim (4.5).
    Shmem,
    /// `UID:0 pgtables:1kB oom_score_adj:0` of the victim (5.3).
    KillTail,
    /// `Task in /a killed as a result of limit of /b` (cgroup v1 before 4.19).
    TaskIn,
    /// `swap:` in place of `memory+swap:`: cgroup v2.
    V2,
    /// arm64 with pages of 64 kB, and no zone DMA32 (before 5.5).
    Pages64,
}

use Has::*;

const OLD: u64 = 0x200da;
const OLD_KERNEL: u64 = 0xd0;

/// The generations.
pub(crate) const LAYOUTS: &[Layout] = &[
    Layout {
        release: "2.6.32-5-amd64",
        user: OLD,
        kernel: OLD_KERNEL,
        has: &[OomAdj, OldPid, Cpuset, Cpu, OldKill, TaskIn],
    },
    Layout {
        release: "2.6.32-754.el6.x86_64",
        user: OLD,
        kernel: OLD_KERNEL,
        has: &[OomAdj, ScoreAdj, OldPid, Cpuset, Cpu, Sacrifice, KillUid, TaskIn],
    },
    Layout {
        release: "3.2.0-4-amd64",
        user: OLD,
        kernel: OLD_KERNEL,
        has: &[OomAdj, ScoreAdj, OldPid, Cpuset, Cpu, Sacrifice, TaskIn],
    },
    Layout {
        release: "3.10.0-1160.el7.x86_64",
        user: OLD,
        kernel: OLD_KERNEL,
        has: &[ScoreAdj, Cpuset, Managed, Types, Ptes, Sacrifice, Shmem, TaskIn],
    },
    Layout {
        release: "3.13.0-86-generic",
        user: OLD,
        kernel: OLD_KERNEL,
        has: &[ScoreAdj, Cpuset, Managed, Types, Ptes, Sacrifice, TaskIn],
    },
    Layout {
        release: "3.16.0-4-amd64",
        user: OLD,
        kernel: OLD_KERNEL,
        has: &[ScoreAdj, Cpuset, Managed, Types, Ptes, Sacrifice, TaskIn],
    },
    Layout {
        release: "4.4.0-21-generic",
        user: 0x24200ca,
        kernel: 0x24000c0,
        has: &[ScoreAdj, Cpuset, Managed, Types, Pmds, Sacrifice, TaskIn],
    },
    Layout {
        release: "4.9.0-8-amd64",
        user: 0x24200ca,
        kernel: 0x24000c0,
        has: &[Names, ScoreAdj, Cpuset, Managed, Types, NodeLists, Device, Pmds, Sacrifice, Shmem, TaskIn],
    },
    Layout {
        release: "4.14.146-119.123.amzn2.x86_64",
        user: 0x14200ca,
        kernel: 0x14000c0,
        has: &[Names, NodeMask, ScoreAdj, Cpuset, Managed, Types, NodeLists, Device, Pmds, Sacrifice, Shmem, TaskIn],
    },
    Layout {
        release: "4.15.0-20-generic",
        user: 0x14200ca,
        kernel: 0x14000c0,
        has: &[
            Names, NodeMask, ScoreAdj, Cpuset, Managed, Types, NodeLists, Device, PgTables, Sacrifice, Shmem, TaskIn,
        ],
    },
    Layout {
        release: "4.18.0-348.el8.x86_64",
        user: 0x6200ca,
        kernel: 0x6000c0,
        has: &[Names, ScoreAdj, Managed, Types, NodeLists, Device, PgTables, OomKill, Shmem, KillTail],
    },
    Layout {
        release: "4.18.0-348.el8.aarch64",
        user: 0x6200ca,
        kernel: 0x6000c0,
        has: &[Names, ScoreAdj, Managed, Types, NodeLists, PgTables, OomKill, Shmem, KillTail, Pages64],
    },
    Layout {
        release: "4.19.91-26.an8.x86_64",
        user: 0x6200ca,
        kernel: 0x6000c0,
        has: &[
            Names, NodeMask, ScoreAdj, Cpuset, Managed, Types, NodeLists, Device, PgTables, Sacrifice, Shmem, TaskIn,
        ],
    },
    Layout {
        release: "5.0.0-32-generic",
        user: 0x6200ca,
        kernel: 0x6000c0,
        has: &[Names, ScoreAdj, Managed, Types, NodeLists, Device, PgTables, OomKill, Sacrifice, Shmem],
    },
    Layout {
        release: "5.4.0-42-generic",
        user: 0x100cca,
        kernel: 0xcc0,
        has: &[Names, ScoreAdj, Managed, Types, NodeLists, Device, PgTables, OomKill, Shmem, KillTail],
    },
    Layout {
        release: "5.10.134-16.1.al8.x86_64",
        user: 0x100cca,
        kernel: 0xcc0,
        has: &[Names, ScoreAdj, Managed, Types, NodeLists, Device, PgTables, OomKill, Shmem, KillTail],
    },
    Layout {
        release: "5.14.0-362.8.1.el9_3.aarch64",
        user: 0x100cca,
        kernel: 0xcc0,
        has: &[Names, ScoreAdj, Managed, Types, NodeLists, Device, PgTables, OomKill, Shmem, KillTail, V2],
    },
    Layout {
        release: "6.1.0-13-amd64",
        user: 0x100cca,
        kernel: 0xcc0,
        has: &[Names, ScoreAdj, Managed, Types, NodeLists, Device, Boost, PgTables, OomKill, Shmem, KillTail, V2],
    },
    Layout {
        release: "6.8.0-31-generic",
        user: 0x140cca,
        kernel: 0xcc0,
        has: &[Names, ScoreAdj, Managed, Types, NodeLists, Device, Boost, Split, OomKill, Shmem, KillTail, V2],
    },
    Layout {
        release: "6.12.48+deb13-amd64",
        user: 0x140cca,
        kernel: 0xcc0,
        has: &[Names, ScoreAdj, Managed, Types, NodeLists, Device, Boost, Split, Uid, OomKill, Shmem, KillTail, V2],
    },
];

/// Name, free, min, lowmem_reserve in pages for each higher zone, free blocks by order, what must come out.
pub(crate) type ZoneStory = (&'static str, u64, u64, [u64; 5], [u64; 4], &'static str);

/// pid, uid, total_vm, rss, swapents (pages), oom_score_adj, name.
pub(crate) type Task = (u32, u32, u64, u64, u64, i64, &'static str);

/// What happened.
pub(crate) struct Scenario {
    pub name: &'static str,
    pub trigger: (&'static str, u32),
    pub order: i32,
    /// Asked for by the kernel for itself.
    pub for_kernel: bool,
    /// The limited cgroup and the task's.
    pub memcg: Option<(&'static str, &'static str, u64)>,
    /// Constraint where it is not told by the cgroup.
    pub constraint: &'static str,
    /// The zones.
    pub zones: &'static [ZoneStory],
    /// The table of tasks.
    pub tasks: &'static [Task],
    pub victim: (u32, &'static str, u64),
    pub swap: (u64, u64),
}

/// The stories.
pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "machine",
        trigger: ("java", 4242),
        order: 0,
        for_kernel: false,
        memcg: None,
        constraint: "global",
        zones: &[
            ("DMA", 15_904, 132, [0, 2982, 7700, 7700, 7700], [1, 0, 1, 3], "reserved 15028"),
            ("DMA32", 31_000, 25_000, [0, 0, 4718, 4718, 4718], [700, 300, 60, 1], "reserved 12872"),
            ("Normal", 39_000, 40_000, [0, 0, 0, 0, 0], [900, 400, 10, 0], "below 1000"),
        ],
        tasks: &[
            (301, 0, 9000, 700, 120, -1000, "systemd-udevd"),
            (4200, 27, 400_000, 90_000, 2000, 0, "mysqld"),
            (4242, 1000, 1_200_000, 600_000, 5000, 0, "java"),
            (4250, 1000, 1_200_000, 500_000, 0, 300, "java"),
            (4300, 33, 30_000, 2500, 0, 0, "(sd-pam)"),
            (4301, 33, 30_000, 2000, 0, 0, "Web Content"),
        ],
        victim: (4242, "java", 412),
        swap: (2_097_148, 12),
    },
    Scenario {
        name: "cgroup",
        trigger: ("python3", 777),
        order: 0,
        for_kernel: true,
        memcg: Some(("/kubepods/burstable/pod1", "/kubepods/burstable/pod1/box", 524_288)),
        constraint: "memcg",
        zones: &[],
        tasks: &[
            (700, 0, 250, 1, 0, -998, "pause"),
            (777, 1000, 200_000, 120_000, 0, 990, "python3"),
            (778, 1000, 100_000, 8000, 0, 990, "gunicorn: worke"),
        ],
        victim: (777, "python3", 1900),
        swap: (0, 0),
    },
    Scenario {
        name: "fragments",
        trigger: ("dockerd", 911),
        order: 3,
        for_kernel: true,
        memcg: None,
        constraint: "global",
        zones: &[
            ("DMA", 15_904, 132, [0, 2982, 7700, 7700, 7700], [1, 0, 1, 3], "reserved 15028"),
            ("DMA32", 48_000, 25_000, [0, 0, 4718, 4718, 4718], [9000, 1500, 0, 0], "fragmented 8"),
            ("Normal", 90_000, 40_000, [0, 0, 0, 0, 0], [20_000, 1250, 0, 0], "fragmented 8"),
        ],
        tasks: &[(911, 0, 300_000, 20_000, 0, -500, "dockerd"), (950, 0, 60_000, 50_000, 0, 0, "memhog")],
        victim: (950, "memhog", 55),
        swap: (0, 0),
    },
];

/// The report and what it says; `None` where such a machine cannot be.
pub(crate) fn write(layout: &Layout, scenario: &Scenario) -> Option<(String, Vec<String>)> {
    let has = |what: Has| layout.has.contains(&what);
    let page = if has(Pages64) { 64 } else { 4 };
    if has(Pages64) && !scenario.zones.is_empty() {
        return write_pages64(layout, scenario);
    }
    let mut out = String::new();
    let mut say = |line: String| out += &format!("{line}\n");
    let (comm, pid) = scenario.trigger;
    let mask = if scenario.for_kernel { layout.kernel } else { layout.user };
    let plain = if scenario.for_kernel { "GFP_KERNEL" } else { "GFP_HIGHUSER_MOVABLE" };
    let comp = !scenario.for_kernel && layout.user == 0x140cca;
    let flags = if comp { format!("{plain}|__GFP_COMP") } else { plain.to_owned() };
    let names = if has(Names) { format!("({flags})") } else { String::new() };
    let nodes = if has(NodeMask) { "nodemask=(null), " } else { "" };
    let mut adjustments = String::new();
    if has(OomAdj) {
        adjustments += ", oom_adj=0";
    }
    if has(ScoreAdj) {
        adjustments += ", oom_score_adj=0";
    }
    say(format!("{comm} invoked oom-killer: gfp_mask={mask:#x}{names}, {nodes}order={}{adjustments}", scenario.order));
    if has(Cpuset) {
        say(format!("{comm} cpuset=/ mems_allowed=0"));
    }
    say(if has(OldPid) {
        format!("Pid: {pid}, comm: {comm} Not tainted {} #1", layout.release)
    } else if has(Uid) {
        format!("CPU: 3 UID: 0 PID: {pid} Comm: {comm} Tainted: G        W           {} #1 PREEMPT", layout.release)
    } else {
        format!("CPU: 3 PID: {pid} Comm: {comm} Not tainted {} #1", layout.release)
    });
    if !has(OldPid) {
        say("Hardware name: Alibaba Cloud Alibaba Cloud ECS, BIOS 449e491 04/01/2014".to_owned());
    }
    say("Call Trace:".to_owned());
    say(" [<ffffffff81122960>] ? dump_header+0x90/0x1b0".to_owned());
    if let Some((limited, task, limit)) = scenario.memcg {
        if has(TaskIn) {
            say(format!("Task in {task} killed as a result of limit of {limited}"));
        }
        say(format!("memory: usage {limit}kB, limit {limit}kB, failcnt 1234"));
        let swap = if has(V2) { "swap" } else { "memory+swap" };
        say(format!("{swap}: usage 0kB, limit 9007199254740988kB, failcnt 0"));
        if !has(V2) {
            say("kmem: usage 0kB, limit 9007199254740988kB, failcnt 0".to_owned());
        }
        say(format!("Memory cgroup stats for {limited}: cache:0KB rss:{limit}KB rss_huge:0KB"));
    } else {
        say("Mem-Info:".to_owned());
        say("active_anon:1100000 inactive_anon:95000 isolated_anon:0".to_owned());
        say(" active_file:500 inactive_file:700 isolated_file:32".to_owned());
        say(" unevictable:0 dirty:3 writeback:0 unstable:0".to_owned());
        say(" slab_reclaimable:12000 slab_unreclaimable:34000".to_owned());
        say(" mapped:900 shmem:1500 pagetables:7000 bounce:0".to_owned());
        say(" free:21476 free_pcp:60 free_cma:0".to_owned());
        if has(NodeLists) {
            say("Node 0 active_anon:4400000kB inactive_anon:380000kB active_file:2000kB inactive_file:2800kB unevictable:0kB isolated(anon):0kB isolated(file):128kB mapped:3600kB dirty:12kB writeback:0kB shmem:6000kB writeback_tmp:0kB kernel_stack:9000kB all_unreclaimable? yes".to_owned());
        }
        for (name, free, min, reserve, _, _) in scenario.zones {
            let boost = if has(Boost) { " boost:0kB" } else { "" };
            let managed = if has(Managed) { " managed:3000000kB" } else { "" };
            let tail = if has(NodeLists) {
                " writepending:0kB present:3129216kB".to_owned()
                    + managed
                    + " mlocked:0kB bounce:0kB free_pcp:0kB local_pcp:0kB free_cma:0kB"
            } else {
                " unevictable:0kB isolated(anon):0kB isolated(file):0kB present:3129216kB".to_owned()
                    + managed
                    + " mlocked:0kB dirty:0kB writeback:0kB mapped:0kB shmem:0kB slab_reclaimable:8kB slab_unreclaimable:16kB kernel_stack:0kB pagetables:0kB unstable:0kB bounce:0kB writeback_tmp:0kB pages_scanned:0 all_unreclaimable? yes"
            };
            say(format!(
                "Node 0 {name} free:{free}kB{boost} min:{min}kB low:{}kB high:{}kB active_anon:0kB inactive_anon:0kB active_file:0kB inactive_file:0kB{tail}",
                min * 5 / 4,
                min * 3 / 2
            ));
            let count = if has(Device) { 5 } else { 4 };
            let pages: Vec<String> = reserve.iter().take(count).map(u64::to_string).collect();
            say(format!("lowmem_reserve[]: {}", pages.join(" ")));
        }
        for (name, _, _, _, blocks, _) in scenario.zones {
            let types = if has(Types) { " (UEM)" } else { "" };
            let list: Vec<String> = blocks
                .iter()
                .enumerate()
                .map(|(order, count)| format!("{count}*{}kB{}", page << order, if *count > 0 { types } else { "" }))
                .collect();
            let sum: u64 = blocks.iter().enumerate().map(|(order, count)| count * (page << order)).sum();
            say(format!("Node 0 {name}: {} 0*64kB 0*128kB = {sum}kB", list.join(" ")));
        }
        if has(Managed) {
            say("Node 0 hugepages_total=0 hugepages_free=0 hugepages_surp=0 hugepages_size=2048kB".to_owned());
        }
        say("2732 total pagecache pages".to_owned());
        say("0 pages in swap cache".to_owned());
        say("Swap cache stats: add 0, delete 0, find 0/0".to_owned());
        say(format!("Free swap  = {}kB", scenario.swap.1));
        say(format!("Total swap = {}kB", scenario.swap.0));
        say("2097054 pages RAM".to_owned());
        say("33366 pages reserved".to_owned());
    }
    if has(OomKill) {
        say("Tasks state (memory values in pages):".to_owned());
    }
    let columns: &str = if has(Split) {
        "rss_anon rss_file rss_shmem pgtables_bytes swapents oom_score_adj"
    } else if has(PgTables) {
        "pgtables_bytes swapents oom_score_adj"
    } else if has(Pmds) {
        "nr_ptes nr_pmds swapents oom_score_adj"
    } else if has(Ptes) {
        "nr_ptes swapents oom_score_adj"
    } else if has(ScoreAdj) {
        "cpu oom_adj oom_score_adj"
    } else {
        "cpu oom_adj"
    };
    let bracket = if has(PgTables) || has(Split) { "[  pid  ]" } else { "[ pid ]" };
    say(format!("{bracket}   uid  tgid total_vm      rss {columns} name"));
    for (pid, uid, total_vm, rss, swap, adj, name) in scenario.tasks {
        let rest = if has(Split) {
            format!("{rss:8} {:8} {:9} {:8} {swap:8} {adj:13}", 0, 0, 94_208)
        } else if has(PgTables) {
            format!("{:8} {swap:8} {adj:13}", 94_208)
        } else if has(Pmds) {
            format!("{:7} {:7} {swap:8} {adj:13}", 44, 5)
        } else if has(Ptes) {
            format!("{:7} {swap:8} {adj:13}", 44)
        } else if has(ScoreAdj) {
            format!("{:3} {:7} {adj:13}", 1, 0)
        } else {
            format!("{:3} {:7}", 1, 0)
        };
        let width = if has(PgTables) || has(Split) { 7 } else { 5 };
        say(format!("[{pid:width$}] {uid:5} {pid:5} {total_vm:8} {rss:8} {rest} {name}"));
    }
    let (victim, name, score) = scenario.victim;
    let row = scenario.tasks.iter().find(|task| task.0 == victim).expect("the victim is in the table");
    let (vm, anon) = (row.2 * page, row.3 * page - 100);
    if has(OomKill) {
        let group = scenario.memcg.map_or_else(
            || "global_oom,task_memcg=/system.slice/x.service".to_owned(),
            |(limited, task, _)| format!("oom_memcg={limited},task_memcg={task}"),
        );
        let constraint = if scenario.memcg.is_some() { "MEMCG" } else { "NONE" };
        say(format!(
            "oom-kill:constraint=CONSTRAINT_{constraint},nodemask=(null),cpuset=/,mems_allowed=0,{group},task={name},pid={victim},uid={}",
            row.1
        ));
    }
    let what = if scenario.memcg.is_some() { "Memory cgroup out of memory" } else { "Out of memory" };
    let shmem = if has(Shmem) { ", shmem-rss:0kB" } else { "" };
    if has(OldKill) {
        say(format!("{what}: kill process {victim} ({name}) score {score} or a child"));
        say(format!("Killed process {victim} ({name})"));
    } else if has(Sacrifice) {
        say(format!("{what}: Kill process {victim} ({name}) score {score} or sacrifice child"));
        let uid =
            if has(KillUid) { format!("{victim}, UID {}, ({name})", row.1) } else { format!("{victim} ({name})") };
        say(format!("Killed process {uid} total-vm:{vm}kB, anon-rss:{anon}kB, file-rss:100kB{shmem}"));
    } else {
        let tail = if has(KillTail) {
            format!(", UID:{} pgtables:92kB oom_score_adj:{}", row.1, row.5)
        } else {
            String::new()
        };
        say(format!(
            "{what}: Killed process {victim} ({name}) total-vm:{vm}kB, anon-rss:{anon}kB, file-rss:100kB{shmem}{tail}"
        ));
    }

    let mut expected = vec![
        format!("trigger {comm} {pid}"),
        format!("order {}", scenario.order),
        format!("gfp {}", flags.replace('|', ",")),
        format!("constraint {}", scenario.constraint),
        format!("kernel {}", layout.release),
        format!("processes {}", scenario.tasks.len()),
    ];
    expected.push(if has(OldKill) {
        format!("kill {victim} {name} {vm} {} ?", row.3 * page)
    } else {
        format!("kill {victim} {name} {vm} {anon} 100")
    });
    if has(Sacrifice) || has(OldKill) {
        expected.push(format!("score {score}"));
    }
    for (name, free, min, _, _, verdict) in scenario.zones {
        expected.push(format!("zone {name} {free} {min} {verdict}"));
    }
    if scenario.memcg.is_none() {
        expected.push(format!("swap {} {}", scenario.swap.0, scenario.swap.1));
    }
    if let Some((limited, task, limit)) = scenario.memcg {
        expected.extend([format!("memcg {limited}"), format!("task {task}"), format!("limit {limit}")]);
    }
    for task in scenario.tasks {
        let rss: u64 = scenario.tasks.iter().filter(|other| other.6 == task.6).map(|other| other.3 * page).sum();
        expected.push(format!("rss {} {rss}", task.6));
    }
    Some((out, expected))
}

/// The same on a machine whose pages are larger: one zone, DMA, and Normal above it (arm64 before 5.5 has no DMA32).
fn write_pages64(layout: &Layout, scenario: &Scenario) -> Option<(String, Vec<String>)> {
    if scenario.order > 0 {
        return None;
    }
    let same = Layout {
        release: layout.release,
        user: layout.user,
        kernel: layout.kernel,
        has: &[Names, ScoreAdj, Managed, Types, NodeLists, PgTables, OomKill, Shmem, KillTail],
    };
    let (text, expected) = write(&same, scenario)?;
    // Blocks of 64 kB and more, three zones to count (DMA, Normal, Movable), and a reserve of 471 pages of 64 kB.
    let text: String = text
        .lines()
        .filter(|line| !line.starts_with("Node 0 DMA32"))
        .map(|line| match line {
            "lowmem_reserve[]: 0 2982 7700 7700" => "lowmem_reserve[]: 0 471 471\n".to_owned(),
            "lowmem_reserve[]: 0 0 4718 4718" => String::new(),
            "lowmem_reserve[]: 0 0 0 0" => "lowmem_reserve[]: 0 0 0\n".to_owned(),
            line if line.contains("*4kB") => {
                let line = line.replace("0*64kB 0*128kB", "").replace("*32kB", "*512kB").replace("*16kB", "*256kB");
                line.replace("*8kB", "*128kB").replace("*4kB", "*64kB") + "\n"
            }
            line => format!("{line}\n"),
        })
        .collect();
    let row = scenario.tasks.iter().find(|task| task.0 == scenario.victim.0)?;
    let mut expected: Vec<String> =
        expected.into_iter().filter(|fact| !fact.starts_with("zone ") && !fact.starts_with("rss ")).collect();
    // 132 + 471 × 64 = 30276 kB are needed, 15904 are free.
    expected.extend([
        "page 64".to_owned(),
        "zone DMA 15904 132 reserved 14372".to_owned(),
        "zone Normal 39000 40000 below 1000".to_owned(),
    ]);
    let sum: u64 = scenario.tasks.iter().filter(|other| other.6 == row.6).map(|other| other.3 * 64).sum();
    expected.push(format!("rss {} {sum}", row.6));
    Some((text, expected))
}

/// What stands before the lines in a log.
pub(crate) struct Prefix {
    pub name: &'static str,
    /// Whether it tells the time.
    pub timed: bool,
    put: fn(&str) -> String,
}

impl Prefix {
    /// The text with it before each line.
    pub(crate) fn on(&self, text: &str) -> String {
        text.lines().map(|line| (self.put)(line) + "\n").collect()
    }
}

/// The forms of logs.
pub(crate) const PREFIXES: &[Prefix] = &[
    Prefix { name: "none", timed: false, put: str::to_owned },
    Prefix { name: "dmesg", timed: true, put: |line| format!("[  123.456789] {line}") },
    Prefix { name: "dmesg -T", timed: true, put: |line| format!("[Mon Jun 12 10:36:02 2023] {line}") },
    Prefix {
        name: "dmesg --time-format iso",
        timed: true,
        put: |line| format!("2023-06-12T10:36:02,123456+08:00 {line}"),
    },
    Prefix { name: "caller", timed: true, put: |line| format!("[  123.456789][ T4242] {line}") },
    Prefix { name: "level", timed: false, put: |line| format!("<4>{line}") },
    Prefix { name: "kmsg", timed: true, put: |line| format!("4,1234,123456789,-;{line}") },
    Prefix { name: "syslog", timed: true, put: |line| format!("Jun 12 10:36:02 db-1 kernel: {line}") },
    Prefix {
        name: "syslog and uptime",
        timed: true,
        put: |line| format!("Jun  2 10:36:02 db-1 kernel: [  123.456789] {line}"),
    },
    Prefix {
        name: "busybox",
        timed: true,
        put: |line| format!("Jun  2 10:36:02 db-1 kern.warn kernel: [  123.456789] {line}"),
    },
    Prefix {
        name: "rfc 5424",
        timed: true,
        put: |line| format!("<4>1 2023-06-12T10:36:02.123456+08:00 db-1 kernel - - - {line}"),
    },
    Prefix { name: "iso", timed: true, put: |line| format!("2023-06-12T10:36:02.123456+08:00 db-1 kernel: {line}") },
    Prefix { name: "short-iso", timed: true, put: |line| format!("2023-06-12T10:36:02+0800 db-1 kernel: {line}") },
    Prefix { name: "short-full", timed: true, put: |line| format!("Mon 2023-06-12 10:36:02 CST db-1 kernel: {line}") },
    Prefix { name: "short-monotonic", timed: true, put: |line| format!("[  123.456789] db-1 kernel: {line}") },
    Prefix { name: "short-unix", timed: true, put: |line| format!("1686537362.123456 db-1 kernel: {line}") },
    Prefix {
        name: "docker",
        timed: true,
        put: |line| {
            format!("{{\"log\":{:?},\"stream\":\"stdout\",\"time\":\"2023-06-12T02:36:02.1Z\"}}", format!("{line}\n"))
        },
    },
    Prefix {
        name: "kubernetes",
        timed: true,
        put: |line| format!("2023-06-12T02:36:02.123456789Z stdout F [  123.456789] {line}"),
    },
    Prefix {
        name: "json",
        timed: true,
        put: |line| {
            let line = line.replace('\\', "\\\\").replace('"', "\\\"");
            format!(
                "{{\"__CURSOR\":\"s=1\",\"__REALTIME_TIMESTAMP\":\"1686537362123456\",\"_TRANSPORT\":\"kernel\",\"PRIORITY\":\"4\",\"MESSAGE\":\"{line}\",\"_HOSTNAME\":\"db-1\"}}"
            )
        },
    },
    Prefix {
        name: "export",
        timed: true,
        put: |line| {
            format!(
                "__CURSOR=s=1\n__REALTIME_TIMESTAMP=1686537362123456\n__MONOTONIC_TIMESTAMP=123456789\n_TRANSPORT=kernel\nPRIORITY=4\nMESSAGE={line}\n_HOSTNAME=db-1\n"
            )
        },
    },
];
