//! `sickbay tune`: what lists of other people do, on the kernels and machines that they meet.

mod support;

use std::path::PathBuf;

use sickbay::engine::rounds;
use sickbay::facts::Facts;
use sickbay::model::repair::Risk;
use sickbay::model::source::SourceFile;
use sickbay::model::text::Lang;
use sickbay::repair::plan::Step;
use sickbay::repair::undo::Force;
use sickbay::tune::advice::{Advice, What, advise, held};
use sickbay::tune::capacity::{self, Counts, Question, Whose, capacity as carried};
use sickbay::tune::change;
use sickbay::tune::kernel::{Bounds, Kernel};
use sickbay::tune::knowledge::Verdict::{self, *};
use sickbay::tune::lint::Lint;
use sickbay::tune::origin::{How, Origin};
use sickbay::tune::work::Work;
use support::manifest::manifest;
use support::story::{Built, Story};

fn lint(text: &str, kernel: &str, gib: Option<u64>) -> Lint {
    let file = SourceFile { path: PathBuf::from("list"), bytes: text.as_bytes().to_vec() };
    Lint::of(&file, Kernel::parse(kernel), gib.map(|gib| gib << 20), Some(4), Bounds::default())
}

/// The one line of a list.
fn one(text: &str, kernel: &str, gib: u64) -> (Verdict, String, Option<String>) {
    let lint = lint(text, kernel, Some(gib));
    let line = lint.lines.first().expect("a line").clone();
    (line.said.verdict, line.said.message.render(Lang::En), line.said.suggested)
}

/// Each line of a list with the verdicts on three machines: EL 7 with 8 GiB, and Linux 6.1 with 8 GiB and with 32.
fn table(list: &[(&str, [Verdict; 3])]) -> Vec<Lint> {
    let text: String = list.iter().map(|(line, _)| format!("{line}\n")).collect();
    let machines = [("3.10.0-1160.el7.x86_64", 8), ("6.1.0-18-amd64", 8), ("6.1.0-18-amd64", 32)];
    let lints = machines.map(|(kernel, gib)| lint(&text, kernel, Some(gib)));
    for (machine, lint) in lints.iter().enumerate() {
        assert_eq!(lint.lines.len(), list.len());
        for ((written, wanted), line) in list.iter().zip(&lint.lines) {
            let said = line.said.message.render(Lang::En);
            assert_eq!(line.said.verdict, wanted[machine], "{written} on machine {machine}: {said}");
        }
        assert!(lint.objects());
    }
    lints.into()
}

fn message(lint: &Lint, key: &str) -> String {
    let line = lint.lines.iter().find(|line| line.key == key).unwrap_or_else(|| panic!("{key} is there"));
    line.said.message.render(Lang::En)
}

#[test]
fn the_script_of_the_book() {
    let lints = table(&[
        ("net.ipv4.tcp_syncookies = 1", [Default, Default, Default]),
        ("net.core.somaxconn = 4096", [Ok, Default, Default]),
        ("net.netfilter.nf_conntrack_max = 655350", [Adapt, Ok, Ok]),
        ("net.ipv4.tcp_max_syn_backlog = 8192", [Ok, NoEffect, NoEffect]),
        ("net.ipv4.ip_local_port_range = 1024 65000", [Refuse, Refuse, Refuse]),
        ("net.ipv4.tcp_max_tw_buckets = 50000", [Ok, Ok, Adapt]),
        ("net.netfilter.nf_conntrack_tcp_timeout_established = 1200", [Adapt, Adapt, Adapt]),
        ("net.ipv4.tcp_timestamps = 1", [Default, Default, Default]),
        ("net.ipv4.tcp_tw_recycle = 0", [Default, Absent, Absent]),
        ("net.ipv4.tcp_tw_reuse = 1", [Ok, Ok, Ok]),
        ("net.ipv4.tcp_fin_timeout = 30", [NoEffect, NoEffect, NoEffect]),
        ("root soft nofile 655350", [NoEffect, NoEffect, NoEffect]),
        ("root hard nofile 655350", [NoEffect, NoEffect, NoEffect]),
        ("* soft nofile 655350", [NoEffect, NoEffect, NoEffect]),
        ("* hard nofile 655350", [NoEffect, NoEffect, NoEffect]),
        ("root soft nproc 655350", [NoEffect, NoEffect, NoEffect]),
        ("root hard nproc 655350", [NoEffect, NoEffect, NoEffect]),
        ("* soft nproc 655350", [NoEffect, NoEffect, NoEffect]),
        ("* hard nproc 655350", [NoEffect, NoEffect, NoEffect]),
    ]);
    let [el7, small, large] = lints.as_slice() else { panic!("three machines") };
    assert!(message(large, "net.ipv4.tcp_max_tw_buckets").starts_with("a decrease: this machine's default is 131072"));
    assert!(message(small, "net.ipv4.tcp_fin_timeout").contains("no timer of TIME_WAIT"));
    assert!(message(el7, "net.netfilter.nf_conntrack_max").contains("hashsize=163840 in /etc/modprobe.d"));
    assert!(message(small, "net.netfilter.nf_conntrack_max").contains("module nf_conntrack"));
    assert!(message(small, "net.netfilter.nf_conntrack_tcp_timeout_established").contains("after 7200 s"));
    assert!(message(small, "net.ipv4.tcp_tw_reuse").contains("outgoing connections only"));
    assert!(message(small, "* soft nofile").ends_with("* does not include root"));
    assert_eq!(message(small, "* soft nproc"), "kernel.threads-max is reached before, at 65536 for all users together");
    assert_eq!(message(el7, "* soft nproc"), "kernel.pid_max is reached before, at 32768 for all users together");
    let ports = &small.lines[4].said;
    assert_eq!(ports.suggested.as_deref(), Some("32768 60999"));
    assert!(["routing-release#206", "barclamp-network#215"].iter().all(|source| ports.sources.contains(source)));
    assert!(ports.message.render(Lang::En).contains("Both ends are even or both odd"));
}

#[test]
fn the_list_of_the_last_chapter() {
    let lints = table(&[
        ("net.ipv4.tcp_max_tw_buckets = 50000", [Ok, Ok, Adapt]),
        ("net.ipv4.tcp_max_syn_backlog = 4096", [Ok, NoEffect, NoEffect]),
        ("net.core.somaxconn = 4096", [Ok, Default, Default]),
        ("net.ipv4.tcp_tw_reuse = 1", [Ok, Ok, Ok]),
        ("net.ipv4.tcp_timestamps = 1", [Default, Default, Default]),
        ("net.ipv4.tcp_tw_recycle = 1", [Refuse, Absent, Absent]),
        ("* soft nofile 65535", [NoEffect, NoEffect, NoEffect]),
        ("* hard nofile 65535", [NoEffect, NoEffect, NoEffect]),
        ("net.ipv4.tcp_fin_timeout = 5", [Adapt, Adapt, Adapt]),
    ]);
    let pairs: Vec<usize> = lints.iter().map(|lint| lint.pairs.len()).collect();
    assert_eq!(pairs, [1, 0, 0]);
    assert_eq!(lints[0].pairs[0].lines, [6, 5]);
    assert_eq!(lints[0].pairs[0].said.verdict, Refuse);
}

#[test]
fn the_same_list_as_it_was_written_down() {
    let lint =
        lint("net.ipv4.tcp_max_tw_buckets = 5000 --> 50000\nnet.ipv4.tcp_timestamps = 1(both)\n", "6.1", Some(8));
    let said: Vec<_> = lint.lines.iter().map(|line| (line.said.verdict, line.said.suggested.as_deref())).collect();
    assert_eq!(said, [(Malformed, Some("50000")), (Malformed, Some("1"))]);
}

#[test]
fn without_a_kernel_both_answers() {
    let lint = lint("net.ipv4.tcp_tw_recycle = 1\nnet.ipv4.tcp_syncookies = 1\n", "", None);
    assert_eq!(lint.lines[0].said.verdict, Refuse);
    let message = lint.lines[0].said.message.render(Lang::En);
    assert!(message.contains("Linux 3.10: refused") && message.contains("Linux 6.12: absent"), "{message}");
    assert_eq!(lint.lines[1].said.verdict, Default);
}

#[test]
fn folklore() {
    for (line, kernel, gib, verdict, suggested) in [
        ("net.ipv4.tcp_tw_recycle=1", "2.6.32-754.el6", 4, Refuse, Some("0")),
        ("net.ipv4.tcp_tw_recycle=1", "4.18.0-553.el8_10", 4, Absent, None),
        ("net.ipv4.ip_local_port_range=15000 65000", "6.1", 4, Adapt, Some("15000 65001")),
        ("net.ipv4.ip_local_port_range=15000 65000", "3.10.0-1160.el7", 4, Ok, None),
        ("net.ipv4.ip_local_port_range=1025 65535", "3.10.0-1160.el7", 4, Refuse, Some("32768 61000")),
        ("net.ipv4.ip_local_port_range=1024", "6.1", 4, Malformed, None),
        ("net.ipv4.tcp_mem=94500000 915000000 927000000", "6.1", 16, Adapt, Some("196608 262144 393216")),
        ("net.ipv4.tcp_rmem=4096 87380 16777216", "6.1", 16, Ok, None),
        ("net.ipv4.tcp_rmem=8388608 12582912 16777216", "6.1", 16, Adapt, Some("4096 131072 16777216")),
        ("net.ipv4.tcp_timestamps=0", "6.1", 4, Adapt, Some("1")),
        ("net.ipv4.tcp_window_scaling=0", "6.1", 4, Refuse, Some("1")),
        ("net.ipv4.tcp_sack=0", "6.1", 4, Adapt, Some("1")),
        ("net.ipv4.tcp_syncookies=0", "6.1", 4, Adapt, Some("1")),
        ("net.ipv4.tcp_retries2=5", "6.1", 4, Adapt, Some("8")),
        ("net.ipv4.tcp_fack=1", "6.1", 4, NoEffect, None),
        ("net.ipv4.tcp_congestion_control=bbr", "3.10.0-1160.el7", 4, Absent, None),
        ("net.ipv4.tcp_congestion_control=bbr", "4.18.0-553.el8", 4, Ok, None),
        ("net.ipv4.tcp_max_tw_buckets=5000", "3.10.0-1160.el7", 8, Adapt, Some("32768")),
        ("net.core.somaxconn=100000", "6.1", 4, Adapt, Some("65535")),
        ("net.core.somaxconn=1024", "6.1", 4, Adapt, Some("4096")),
        ("net.core.rmem_default=16777216", "6.1", 4, Adapt, Some("212992")),
        ("net.netfilter.nf_conntrack_max=10000000", "6.1", 8, Adapt, Some("3354624")),
        ("vm.swappiness=0", "6.1", 4, Adapt, Some("1")),
        ("vm.swappiness=150", "3.10.0-1160.el7", 4, Malformed, Some("100")),
        ("vm.overcommit_memory=2", "6.1", 4, Adapt, Some("0")),
        ("vm.min_free_kbytes=1024000", "3.10.0-1160.el7", 2, Refuse, Some("104857")),
        ("vm.nr_hugepages=10000", "6.1", 16, Refuse, Some("4096")),
        ("vm.vfs_cache_pressure=0", "6.1", 4, Refuse, Some("100")),
        ("vm.drop_caches=3", "6.1", 4, NoEffect, None),
        ("fs.file-max=65535", "6.1", 8, Adapt, Some("838860")),
        ("fs.nr_open=65535", "6.1", 8, Refuse, Some("1048576")),
        ("kernel.shmmax=68719476736", "6.1", 8, Ok, None),
        ("kernel.shmmax=1073741824", "6.1", 8, Adapt, Some("18446744073692774399")),
        ("kernel.shmall=4294967296", "6.1", 8, Ok, None),
        ("net.ipv4.ip_local_port_range=9000 65500", "6.1", 8, Adapt, Some("9000 65501")),
        ("fs.file-max=6815744", "6.1", 128, Ok, None),
        ("net.ipv6.conf.all.accept_ra=0", "6.1", 8, Ok, None),
        ("kernel.shmmax=68719476736", "3.10.0-1160.el7", 8, Ok, None),
        ("kernel.pid_max=99999999", "6.1", 8, Malformed, Some("4194304")),
        ("kernel.sched_migration_cost_ns=5000000", "6.1", 8, Absent, None),
        ("kernel.sched_migration_cost_ns=5000000", "3.10.0-1160.el7", 8, Ok, None),
        ("net.ipv4.tcp_tw_reuse_delay=500", "6.1", 8, Absent, None),
        ("net.core.somaxcon=4096", "6.1", 8, Unknown, Some("net.core.somaxconn")),
        ("net.ipv4.conf.eth0.rp_filter=1", "6.1", 8, Ok, None),
        ("net.netfilter.nf_conntrack_buckets=65536", "3.10.0-1160.el7", 8, NoEffect, None),
        ("* soft nofile unlimited", "6.1", 8, Refuse, Some("1048576")),
        ("* hard nofile 2000000", "6.1", 8, Refuse, Some("1048576")),
        ("* - nofile 64k", "6.1", 8, Malformed, Some("64")),
        ("* soft nofiles 65535", "6.1", 8, Unknown, Some("nofile")),
        ("* soft nproc 2000", "3.10.0-1160.el7", 8, NoEffect, None),
        ("ulimit -n unlimited", "6.1", 8, Refuse, Some("1048576")),
        ("ulimit -n 65535", "6.1", 8, Ok, None),
        ("LimitNOFILE=infinity", "6.1", 8, Ok, None),
        ("LimitNOFILE=65536", "6.1", 8, Ok, None),
    ] {
        let (said, message, instead) = one(line, kernel, gib);
        assert_eq!((said, instead.as_deref()), (verdict, suggested), "{line} on {kernel}: {message}");
    }
}

#[test]
fn lines_that_do_not_go_together() {
    let pairs = |text: &str, kernel: &str| {
        let lint = lint(text, kernel, Some(8));
        lint.pairs.iter().map(|pair| (pair.lines, pair.said.verdict)).collect::<Vec<_>>()
    };
    for (text, wanted) in [
        ("vm.swappiness=1\nvm.swappiness=10\n", ([1, 2], NoEffect)),
        ("vm.dirty_ratio=10\nvm.dirty_bytes=1000000000\n", ([1, 2], Adapt)),
        ("vm.dirty_background_ratio=20\nvm.dirty_ratio=20\n", ([1, 2], Adapt)),
        ("net.ipv4.tcp_timestamps=0\nnet.ipv4.tcp_tw_reuse=1\n", ([2, 1], NoEffect)),
        ("fs.nr_open=1048576\n* hard nofile 1048577\n", ([1, 2], Refuse)),
        ("* hard nofile 1024\n* soft nofile 4096\n", ([2, 1], Adapt)),
        ("kernel.pid_max=65536\n* soft nproc 655350\n", ([1, 2], NoEffect)),
        (
            "net.ipv4.tcp_keepalive_time=1800\nnet.netfilter.nf_conntrack_tcp_timeout_established=1200\n",
            ([2, 1], Refuse),
        ),
    ] {
        assert_eq!(pairs(text, "6.1"), [wanted], "{text}");
    }
    // With keepalive soon enough the timeout is no longer too short.
    let text = "net.ipv4.tcp_keepalive_time=300\nnet.netfilter.nf_conntrack_tcp_timeout_established=1200\n";
    let lint = lint(text, "6.1", Some(8));
    assert!(!lint.objects() && lint.pairs.is_empty());
}

/// A running web server with what these lines of a story say besides.
fn machine(lines: &str) -> Built {
    Story::of(&format!("A machine.\n\n--- tree running\n{lines}")).expect("a story").build().expect("built")
}

/// What a kernel of EL 7 says on a machine that somebody tuned by the book.
const TUNED: &str = "\
--- file /proc/sys/kernel/osrelease
3.10.0-1160.el7.x86_64
--- file /sys/devices/system/cpu/online
0-3
--- file /etc/sysctl.conf
# by the book
net.ipv4.tcp_tw_recycle = 1
net.ipv4.tcp_max_tw_buckets = 5000
net.ipv4.ip_local_port_range = 1024 65000
vm.swappiness = 0
net.ipv4.tcp_fin_timeout = 30
--- file /etc/sysctl.d/10-old.conf
net.ipv4.tcp_max_tw_buckets = 180000
--- file /proc/sys/net/ipv4/tcp_tw_recycle
1
--- file /proc/sys/net/ipv4/tcp_timestamps
1
--- file /proc/sys/net/ipv4/tcp_max_tw_buckets
5000
--- file /proc/sys/net/ipv4/ip_local_port_range
1024 65000
--- file /proc/sys/net/ipv4/tcp_fin_timeout
30
--- file /proc/sys/net/core/somaxconn
128
--- file /proc/sys/net/ipv4/tcp_max_syn_backlog
256
--- file /proc/sys/vm/swappiness
0
--- file /proc/sys/fs/nr_open
1048576
--- file /proc/612/cgroup
1:name=systemd:/system.slice/nginx.service
--- file /proc/612/limits
Limit                     Soft Limit           Hard Limit           Units
Max open files            1024                 4096                 files
--- dir /proc/612/fd
--- file /etc/nginx/nginx.conf
worker_processes auto;
events { worker_connections 10240; }
http { include conf.d/*.conf; }
--- file /etc/nginx/conf.d/api.conf
server { listen 80 backlog=65533; location / { proxy_pass http://api; } }
";

fn advised(facts: &Facts, work: Option<Work>) -> Vec<Advice> {
    advise(facts, work).unwrap_or_else(|_| panic!("it runs")).list
}

fn shown(list: &[Advice]) -> Vec<String> {
    let one = |advice: &Advice| {
        let by = advice.set_by.as_deref().unwrap_or("-");
        format!("{} {} ({by}) -> {} {:?}", advice.what.name(), advice.now, advice.value, advice.risk)
    };
    list.iter().map(one).collect()
}

/// A system that does not run, with what these lines of a story say besides.
fn at_rest(tree: &str, lines: &str) -> Built {
    Story::of(&format!("A disk.\n\n--- tree {tree}\n{lines}")).expect("a story").build().expect("built")
}

#[test]
fn files_alone_tell_what_they_set_and_what_the_kernel_does_without_them() {
    let lines = "--- file /etc/sysctl.d/50-book.conf\nnet.ipv4.tcp_tw_recycle = 1\nnet.ipv4.ip_local_port_range = 1024 65000\n\
        --- link /etc/systemd/system/multi-user.target.wants/nginx.service -> /usr/lib/systemd/system/nginx.service\n";
    let built = at_rest("centos-7", lines);
    let advices = advise(&built.facts().expect("facts"), None).unwrap_or_else(|_| panic!("it has a kernel"));
    assert_eq!(advices.works.keys().copied().collect::<Vec<_>>(), [Work::Web]);
    assert_eq!(advices.machine.kernel.enterprise, Some(7));
    let shown = shown(&advices.list);
    let wanted = [
        "net.ipv4.ip_local_port_range 1024 65000 (/etc/sysctl.d/50-book.conf:2) -> ",
        "net.ipv4.tcp_tw_recycle 1 (/etc/sysctl.d/50-book.conf:1) -> 0 Safe",
        "net.core.somaxconn 128 (-) -> 4096 Safe",
    ];
    for wanted in wanted {
        assert!(shown.iter().any(|line| line.starts_with(wanted)), "{wanted}: {shown:#?}");
    }
    let untold: Vec<_> = advices.untold.iter().map(|why| why.render(Lang::En)).collect();
    assert!(untold.iter().any(|why| why.contains("only the running system tells")), "{untold:?}");
}

#[test]
fn a_healthy_disk_gets_no_advice_and_a_container_none_of_its_own() {
    let advices =
        advise(&at_rest("debian-12", "").facts().expect("facts"), None).unwrap_or_else(|_| panic!("it has a kernel"));
    assert_eq!(shown(&advices.list), [""; 0]);
    let without = at_rest("centos-7", "--- remove /usr/lib/modules\n--- remove /boot\n");
    assert!(advise(&without.facts().expect("facts"), None).is_err());
}

#[test]
fn a_healthy_machine_gets_no_advice() {
    let lines = "--- file /proc/sys/net/core/somaxconn\n4096\n--- file /proc/sys/net/ipv4/ip_local_port_range\n32768\t60999\n\
        --- file /proc/sys/net/ipv4/tcp_max_tw_buckets\n32768\n--- file /proc/sys/net/ipv4/tcp_syncookies\n1\n\
        --- file /proc/sys/fs/file-nr\n1216\t0\t9223372036854775807\n--- file /proc/sys/vm/swappiness\n60\n\
        --- file /etc/sysctl.d/90-own.conf\nnet.core.somaxconn = 4096\nvm.max_map_count = 262144\nnet.ipv4.tcp_fin_timeout = 60\n\
        --- file /proc/sys/net/ipv4/tcp_fin_timeout\n60\n";
    let built = machine(lines);
    let facts = built.facts().expect("facts");
    for work in [None, Some(Work::Web), Some(Work::Proxy), Some(Work::Java), Some(Work::Database), Some(Work::General)]
    {
        assert_eq!(shown(&advised(&facts, work)), [""; 0], "{work:?}");
    }
    let advices = advise(&facts, None).unwrap_or_else(|_| panic!("it runs"));
    assert_eq!(advices.works.keys().collect::<Vec<_>>(), [&Work::Web]);
}

#[test]
fn advice_is_taken_and_taken_back() {
    let built = machine(TUNED);
    let before = manifest(built.root());
    let facts = built.facts().expect("facts");
    let list = advised(&facts, None);
    assert_eq!(
        shown(&list),
        [
            "net.ipv4.ip_local_port_range 1024 65000 (/etc/sysctl.conf:4) -> 32768 61000 Safe",
            "net.ipv4.tcp_max_tw_buckets 5000 (/etc/sysctl.conf:3) -> 32768 Safe",
            "net.ipv4.tcp_tw_recycle 1 (/etc/sysctl.conf:2) -> 0 Safe",
            "vm.swappiness 0 (/etc/sysctl.conf:5) -> 1 Risky",
            "net.core.somaxconn 128 (-) -> 4096 Safe",
            "net.ipv4.tcp_max_syn_backlog 256 (-) -> 4096 Safe",
            "nginx.service LimitNOFILE 1024 (-) -> 65536 Safe",
        ]
    );
    drop(facts);

    let (target, _) = built.open_for_repair().expect("opened");
    let facts = Facts::new(target.clone(), None);
    let safe: Vec<Advice> = list.iter().filter(|advice| advice.risk == Risk::Safe).cloned().collect();
    let repair = change::repair(&facts, &safe).unwrap_or_else(|_| panic!("readable")).expect("something to do");
    drop(facts);
    let id = rounds::order(&target, None, &Step::ordered("tune", repair))
        .unwrap_or_else(|error| panic!("{}", error.text().render(Lang::En)));
    let read = |path: &str| std::fs::read_to_string(built.root().join(path)).unwrap_or_else(|_| panic!("{path}"));
    let ours = read("etc/sysctl.d/99-sickbay-tune.conf");
    let set: Vec<&str> = ours.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(
        set,
        [
            "net.ipv4.ip_local_port_range = 32768 61000",
            "net.ipv4.tcp_max_tw_buckets = 32768",
            "net.ipv4.tcp_tw_recycle = 0",
            "net.core.somaxconn = 4096",
            "net.ipv4.tcp_max_syn_backlog = 4096",
        ]
    );
    let conf = read("etc/sysctl.conf");
    let left: Vec<&str> = conf.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(left, ["vm.swappiness = 0", "net.ipv4.tcp_fin_timeout = 30"], "{conf}");
    assert_eq!(read("etc/sysctl.d/10-old.conf"), "net.ipv4.tcp_max_tw_buckets = 180000\n", "it is read before ours");
    assert!(
        read("etc/systemd/system/nginx.service.d/90-sickbay-tune.conf").ends_with("[Service]\nLimitNOFILE=65536\n")
    );
    assert_eq!(read("proc/sys/net/core/somaxconn").trim(), "4096");
    let facts = built.facts().expect("facts");
    for advice in &safe {
        let held = held(&facts, advice);
        assert!(held.holds, "{}: {held:?}", advice.what.name());
    }
    // What was done is not advised again, but for the service, which runs on.
    let again: Vec<What> = advised(&facts, None).into_iter().map(|advice| advice.what).collect();
    assert_eq!(again, [What::Sysctl("vm.swappiness".to_owned()), What::Files("nginx.service".to_owned())]);
    drop(facts);

    rounds::undo(&target, None, None, &[id], Force::No)
        .unwrap_or_else(|error| panic!("{}", error.text().render(Lang::En)));
    drop(target);
    assert_eq!(manifest(built.root()), before);
}

#[test]
fn what_is_advised_needs_something_seen() {
    let with = |lines: &str, work| {
        let built = machine(lines);
        let facts = built.facts().expect("facts");
        shown(&advised(&facts, work))
    };
    let tables = "--- file /proc/sys/net/netfilter/nf_conntrack_count\n200000\n--- file /proc/sys/net/netfilter/nf_conntrack_max\n262144\n\
        --- file /proc/sys/kernel/pid_max\n32768\n--- file /proc/loadavg\n0.1 0.1 0.1 1/30000 99\n";
    assert_eq!(
        with(tables, Some(Work::General)),
        ["net.netfilter.nf_conntrack_max 262144 (-) -> 524288 Safe", "kernel.pid_max 32768 (-) -> 4194304 Safe"]
    );
    let ports = "--- file /proc/net/sockstat\nsockets: used 118\nTCP: inuse 12 orphan 0 tw 20000 alloc 14 mem 2\n\
        --- file /proc/sys/net/ipv4/ip_local_port_range\n32768\t60999\n--- file /proc/sys/net/ipv4/tcp_tw_reuse\n2\n";
    assert_eq!(
        with(ports, Some(Work::Proxy)),
        ["net.ipv4.tcp_tw_reuse 2 (-) -> 1 Safe", "net.ipv4.ip_local_port_range 32768 60999 (-) -> 16384 60999 Risky"]
    );
    assert_eq!(with(ports, Some(Work::Web)), [""; 0], "a server's own TIME_WAIT takes no ports");
}

#[test]
fn where_a_parameter_comes_from() {
    let built = machine(&format!(
        "{TUNED}--- file /etc/sysctl.d/20-all.conf\nnet.ipv4.*.tcp_x = 1\nnet/ipv4/tcp_max_tw_buckets=7\n"
    ));
    let facts = built.facts().expect("facts");
    let ask = |key: &str| Origin::of(&facts, key).unwrap_or_else(|_| panic!("readable"));
    let origin = ask("net/ipv4/tcp_max_tw_buckets");
    let settings: Vec<_> = origin
        .settings
        .iter()
        .map(|one| (one.file.path.display().to_string(), one.span.line, one.value.as_str(), one.how))
        .collect();
    assert_eq!(
        settings,
        [
            ("/etc/sysctl.d/10-old.conf".to_owned(), 1, "180000", How::Name),
            ("/etc/sysctl.d/20-all.conf".to_owned(), 2, "7", How::Name),
            ("/etc/sysctl.conf".to_owned(), 3, "5000", How::Name),
        ]
    );
    assert_eq!(
        (origin.winner, origin.now.as_deref(), origin.default.as_deref()),
        (Some(2), Some("5000"), Some("32768"))
    );
    assert_eq!(origin.after_restart(), Some("5000"));
    let unset = ask("net.core.somaxconn");
    assert_eq!((unset.winner, unset.after_restart()), (None, Some("128")));

    // Without the link nobody reads /etc/sysctl.conf at boot.
    let built = machine(&format!("{TUNED}--- remove /etc/sysctl.d/99-sysctl.conf\n"));
    let facts = built.facts().expect("facts");
    let origin = Origin::of(&facts, "vm.swappiness").unwrap_or_else(|_| panic!("readable"));
    assert_eq!(origin.settings.iter().map(|one| one.how).collect::<Vec<_>>(), [How::NotAtBoot]);
    assert_eq!((origin.winner, origin.after_restart()), (None, Some("60")));
}

#[test]
fn what_people_meant() {
    let wrong = |line: &str| {
        let (verdict, _, suggested) = one(line, "6.1", 16);
        (verdict, suggested.unwrap_or_default())
    };
    assert_eq!(wrong("net.core.rmem_max = 16 MB"), (Verdict::Malformed, "16777216".to_owned()));
    assert_eq!(wrong("vm.min_free_kbytes = 64M"), (Verdict::Malformed, "65536".to_owned()));
    assert_eq!(wrong("net.ipv4.tcp_keepalive_time = 5m"), (Verdict::Malformed, "300".to_owned()));
    assert_eq!(wrong("net.ipv4.ip_local_port_range = 1024-65000"), (Verdict::Malformed, "1024 65000".to_owned()));
    assert_eq!(wrong("net.core.somaxconn = 99999999999"), (Verdict::Malformed, String::new()));
    // A list for a small machine, on a large one.
    assert_eq!(wrong("net.ipv4.tcp_mem = 25600 51200 102400"), (Verdict::Adapt, "196608 262144 393216".to_owned()));
    assert_eq!(wrong("net.ipv4.tcp_congestion_control = bbrplus"), (Verdict::Absent, "bbr".to_owned()));
    assert_eq!(wrong("fs.may_detach_mounts = 1").0, Verdict::Absent);
    assert_eq!(one("fs.may_detach_mounts = 1", "3.10.0-1160.el7", 16).0, Verdict::Ok);
    // limits.conf counts KiB and minutes, a unit bytes and seconds, and takes both limits in one line.
    let limits = lint(
        "a soft memlock 1024\na hard memlock 2048\nb - cpu 5\nb - stack unlimited\nb hard nice -20\n",
        "6.1",
        None,
    );
    let told: Vec<Option<&str>> = limits.lines.iter().map(|line| line.said.suggested.as_deref()).collect();
    assert_eq!(
        told,
        [
            Some("LimitMEMLOCK=1024K:2048K"),
            Some("LimitMEMLOCK=1024K:2048K"),
            Some("LimitCPU=5min"),
            Some("8192"),
            Some("LimitNICE=-20")
        ]
    );
    // Now and after a restart is no contradiction; two values are.
    let pairs = |text: &str| -> Vec<String> {
        lint(text, "6.1", None).pairs.iter().map(|pair| pair.said.message.render(Lang::En)).collect()
    };
    assert_eq!(pairs("echo vm.swappiness=1 >> /etc/sysctl.conf\nsysctl -w vm.swappiness=1\n"), [""; 0]);
    assert_eq!(
        pairs("echo vm.swappiness=1 >> /etc/sysctl.conf\nsysctl -w vm.swappiness=10\n"),
        ["line 2 sets it until a restart, line 1 another value from then on"]
    );
    assert_eq!(pairs("echo 1 > /proc/sys/vm/drop_caches\necho 3 > /proc/sys/vm/drop_caches\n"), [""; 0]);
}

#[test]
fn a_list_of_misspelt_parameters_is_bounded() {
    let text: String = (0..2000).map(|number| format!("net.ipv4.tcp_syncooki{number} = 1\n")).collect();
    let said = lint(&text, "6.1", None);
    assert_eq!(said.lines.len(), 2000);
    assert!(said.lines.iter().all(|line| line.said.verdict == Verdict::Unknown));
}

/// A host of the last chapter: nginx before tomcat, with what its notes set.
const OF_THE_BOOK: &str = "\
--- file /etc/nginx/nginx.conf
worker_processes 16;
worker_rlimit_nofile 102400;
events { worker_connections 10240; }
http { server { listen 80 backlog=65533; location / { proxy_pass http://127.0.0.1:8080; } } }
--- file /proc/sys/net/core/somaxconn
4096
--- file /proc/sys/net/ipv4/ip_local_port_range
32768\t60999
";

#[test]
fn the_configuration_that_runs_counts() {
    let other = "--- file /srv/n/nginx.conf\nworker_processes 2;\nevents { worker_connections 60; }\nhttp { server { listen 8080; } }\n";
    let process = "--- file /proc/9/comm\nnginx\n--- file /proc/9/cmdline\nnginx: master process nginx -c /srv/n/nginx.conf -q\n\
        --- file /proc/9/status\nName:\tnginx\nPid:\t9\nPPid:\t1\n--- file /proc/9/stat\n9 (nginx) S 1 9 9 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 100 0 0\n";
    let built = machine(&format!("{OF_THE_BOOK}{other}{process}"));
    let facts = built.facts().expect("facts");
    let alone = carried(&facts, Question::default()).unwrap_or_else(|_| panic!("it runs"));
    let first = alone.limits.first().expect("a limit");
    assert_eq!((first.what.render(Lang::En).as_str(), first.carries), ("worker_connections of nginx", 120));
}

#[test]
fn the_book_was_not_bound_by_its_hosts() {
    let built = machine(OF_THE_BOOK);
    let facts = built.facts().expect("facts");
    let ask = |peak: &str, balancer: &str, pool: Option<&str>, hosts| {
        let question = Question {
            peak: if peak.is_empty() {
                std::default::Default::default()
            } else {
                capacity::peak(peak).expect("a peak")
            },
            balancer: if balancer.is_empty() {
                std::default::Default::default()
            } else {
                capacity::balancer(balancer).expect("limits")
            },
            pool: pool.map(|text| capacity::pool(text).expect("a pool")),
            hosts,
        };
        carried(&facts, question).unwrap_or_else(|_| panic!("it runs"))
    };
    let english = |text: &sickbay::model::text::Text| text.render(Lang::En);
    // The host alone.
    let alone = ask("", "", None, None);
    let limits: Vec<(String, u64)> = alone.limits.iter().map(|limit| (english(&limit.what), limit.carries)).collect();
    let of = |name: &str| limits.iter().find(|(what, _)| what.starts_with(name)).map(|(_, carries)| *carries);
    assert_eq!(of("worker_connections"), Some(81_920));
    assert_eq!(of("accept queue"), Some(4096), "min(65533, somaxconn)");
    assert_eq!(of("open files of nginx"), Some(16 * 102_400 / 4));
    assert_eq!(of("local ports"), Some(28_232));
    let files = alone.limits.iter().find(|limit| english(&limit.what).starts_with("open files")).expect("there");
    assert!(english(&files.how).contains("20480 a worker are needed"), "{}", english(&files.how));
    assert_eq!(
        english(&alone.says),
        "local ports to one upstream binds first, at 28232 connections of clients; next is worker_connections of nginx, at 81920"
    );
    assert!(alone.binds.is_none());

    // 3 February: 293 hosts behind a load balancer of 5 Gbit/s that takes 200.
    let peak = "221947conn,18534rps,5Gbps";
    let third = ask(peak, "5Gbps,200backends", None, Some(293));
    let binds = &third.limits[third.binds.expect("something binds")];
    assert_eq!((binds.whose, binds.counts), (Whose::Outside, Counts::Hosts));
    let bandwidth = third.limits.iter().find(|limit| limit.counts == Counts::Bits).expect("there");
    assert_eq!((bandwidth.whose, bandwidth.used), (Whose::Outside, Some(100)));
    assert!(english(&third.says).starts_with("not this host: load balancer"), "{}", english(&third.says));
    assert!(third.limits.iter().filter(|limit| limit.whose == Whose::Host).all(|limit| limit.used < Some(20)));
    let derived: Vec<String> = third.derived.iter().map(english).collect();
    assert_eq!(derived[0], "each of 293 hosts: 757 connections, 63 requests/s, 17 Mbit/s");
    assert_eq!(derived[1], "32.9 KiB a request");
    assert!(derived[2].starts_with("12.0 s a connection lives"), "{}", derived[2]);

    // With as many hosts as the load balancer takes, its bandwidth is left.
    let fewer = ask(peak, "5Gbps,200backends", None, Some(100));
    assert_eq!(fewer.limits[fewer.binds.expect("something binds")].counts, Counts::Bits);

    // 5 February, with 150 hosts and the 50 that it thinks enough.
    let fifth = |hosts| english(&ask("63434conn,4248rps,1.3Gbps", "5Gbps,200backends", None, Some(hosts)).derived[0]);
    assert_eq!(fifth(150), "each of 150 hosts: 422 connections, 28 requests/s, 8 Mbit/s");
    assert_eq!(fifth(50), "each of 50 hosts: 1268 connections, 84 requests/s, 26 Mbit/s");
    let calm = ask("63434conn,4248rps,1.3Gbps", "5Gbps,200backends", None, Some(150));
    assert!(
        calm.binds.is_none() && english(&calm.says).starts_with("not this host: with 150 hosts"),
        "{}",
        english(&calm.says)
    );

    // The pool of 8 connections to redis: held for 130 ms each, 61 requests/s, where 63 come.
    let pool = ask(peak, "10Gbps,400backends", Some("8,130"), Some(293));
    assert!(english(&pool.says).starts_with("this host: pool of connections"), "{}", english(&pool.says));
}

#[test]
fn a_machine_at_hand_bounds_its_limits() {
    let list = b"* hard nofile 2000000\n* soft nproc 100000\n";
    let file = SourceFile { path: PathBuf::from("list"), bytes: list.to_vec() };
    let bounds = Bounds { files: Some(1 << 30), pids: Some(4_194_304), threads: Some(192_730) };
    let lint = Lint::of(&file, Kernel::parse("6.1"), Some(24 << 20), Some(2), bounds);
    assert!(!lint.objects());
    let bounds = Bounds { threads: Some(50_000), ..bounds };
    let lint = Lint::of(&file, Kernel::parse("6.1"), Some(24 << 20), Some(2), bounds);
    assert_eq!(message(&lint, "* soft nproc"), "kernel.threads-max is reached before, at 50000 for all users together");
}

/// The command line, on the running kernel, with a network, an /etc and a /var of its own. Needs root.
#[test]
fn the_running_kernel_takes_it_and_gives_it_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let script = r#"
        set -e
        mount --make-rprivate /
        mount -t tmpfs none "$DIR"
        for d in etc var; do
            mkdir "$DIR/$d" "$DIR/$d.work"
            mount -t overlay none -o "lowerdir=/$d,upperdir=$DIR/$d,workdir=$DIR/$d.work" "/$d"
        done
        mkdir -p /etc/sysctl.d
        printf '# old\nnet.ipv4.tcp_timestamps = 0\nnet.ipv4.tcp_rfc1337 = 1\n' > /etc/sysctl.d/99-zz.conf
        echo 0 > /proc/sys/net/ipv4/tcp_timestamps
        status() { set +e; "$SICKBAY" "$@"; echo "= $?"; set -e; }
        status tune --only net.ipv4.tcp_timestamps
        status tune --apply --only net.ipv4.tcp_timestamps --yes
        echo "now $(cat /proc/sys/net/ipv4/tcp_timestamps), $(grep -c '^net' /etc/sysctl.d/99-zz.conf) line"
        status explain sysctl net.ipv4.tcp_timestamps
        status tune --only net.ipv4.tcp_timestamps
        status undo --yes
        echo "then $(cat /proc/sys/net/ipv4/tcp_timestamps), $(grep -c '^net' /etc/sysctl.d/99-zz.conf) lines"
        test ! -e /etc/sysctl.d/99-sickbay-tune.conf && test ! -e /var/lib/sickbay && echo clean
    "#;
    let mut command = std::process::Command::new("unshare");
    command.args(["--net", "--mount", "sh", "-c", script]).stdin(std::process::Stdio::null());
    command.env("DIR", dir.path()).env("SICKBAY", env!("CARGO_BIN_EXE_sickbay")).env("LC_ALL", "C.UTF-8");
    let out = command.output().expect("unshare starts");
    let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    let mut rest = said.as_str();
    for words in [
        "net.ipv4.tcp_timestamps: 0 -> 1 (safe)",
        "0, set by /etc/sysctl.d/99-zz.conf:2",
        "= 1",
        "+net.ipv4.tcp_timestamps = 1",
        "+# sickbay: net.ipv4.tcp_timestamps = 0",
        "sysctl net.ipv4.tcp_timestamps: 0 -> 1",
        "net.ipv4.tcp_timestamps is 1, and 1 after a restart",
        "= 0",
        "now 1, 1 line",
        "/etc/sysctl.d/99-sickbay-tune.conf:3  1  wins",
        "nothing to recommend",
        "= 0",
        "reverted",
        "then 0, 2 lines",
        "clean",
    ] {
        let at = rest.find(words).unwrap_or_else(|| panic!("{words} is not said in its place:\n{said}"));
        rest = &rest[at + words.len()..];
    }
}

/// The program with these arguments and this on its standard input.
fn run(arguments: &[&str], input: &str) -> (Option<i32>, String) {
    use std::io::Write as _;
    use std::process::Stdio;
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_sickbay"));
    command
        .args(arguments)
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    // Who does not read is gone by then.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    let out = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    let complained = String::from_utf8_lossy(&out.stderr).into_owned();
    (out.status.code(), if said.is_empty() { complained } else { said })
}

#[test]
fn what_the_command_line_answers() {
    let lint = |input: &str, more: &[&str]| run(&[&["tune", "--lint", "-"], more].concat(), input);
    assert_eq!(lint("net.ipv4.tcp_syncookies = 1\n", &["--kernel", "6.1"]).0, Some(0));
    let (code, said) = lint("sysctl -w net.ipv4.tcp_sack=0\n", &["--kernel", "el7", "--memory", "8G", "--cpus", "4"]);
    assert_eq!(code, Some(1), "{said}");
    for words in ["kernel el7, memory 8 GiB, 4 processors", "--> -:1:11", "= instead: 1", "= source: ip-sysctl.rst"] {
        assert!(said.contains(words), "{words} is not in\n{said}");
    }
    for (input, more, words) in [
        ("hello\n", &[][..], "sets no kernel parameter and no limit"),
        ("", &[], "sets no kernel parameter and no limit"),
        ("vm.swappiness=1\n", &["--kernel", "new"], "new is no release of a kernel"),
        ("vm.swappiness=1\n", &["--memory", "much"], "much is not a size"),
    ] {
        let (code, said) = lint(input, more);
        assert!(code == Some(2) && said.contains(words), "{input} {more:?}: {code:?} {said}");
    }
    let (_, said) = lint("vm.swappiness = 0\nrubbish\n", &["--kernel", "any", "--format", "json"]);
    let value: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(value["schema"], "sickbay/tune-lint/v1");
    assert_eq!(value["kernel"], serde_json::Value::Null);
    assert_eq!((&value["lines"][0]["verdict"], &value["lines"][0]["suggested"]), (&"adapt".into(), &"1".into()));
    assert_eq!(value["lines"][1]["verdict"], "malformed");

    assert_eq!(run(&["tune", "/nonexistent"], "").0, Some(2));
    let (code, said) = run(&["tune", "--apply"], "");
    assert!(code == Some(2) && said.contains("no terminal to ask on"), "{said}");
    let (code, said) = run(&["explain", "sysctl", "net.core.somaxcon"], "");
    assert!(code == Some(2) && said.contains("did you mean net.core.somaxconn?"), "{said}");
    let (code, said) = run(&["explain", "sysctl", "net.ipv4.tcp_tw_recycle"], "");
    assert!(code == Some(0) && said.contains("removed in Linux 4.12"), "{said}");
    let (code, said) = run(&["tune", "--capacity", "--peak", "5Gbps,many"], "");
    assert!(code == Some(2) && said.contains("many is no amount"), "{said}");
    let (code, said) = run(&["tune", "--capacity", "--peak", "5Gbps", "--lb", "5Gbps", "--format", "json"], "");
    let value: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!((code, &value["whose"]), (Some(1), &"outside".into()), "{said}");
}
