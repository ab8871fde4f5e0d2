//! `sickbay tune`: what lists of other people do, on the kernels and machines that they meet.

use std::path::PathBuf;

use sickbay::model::source::SourceFile;
use sickbay::model::text::Lang;
use sickbay::tune::kernel::Kernel;
use sickbay::tune::knowledge::Verdict::{self, *};
use sickbay::tune::lint::Lint;

fn lint(text: &str, kernel: &str, gib: Option<u64>) -> Lint {
    let file = SourceFile { path: PathBuf::from("list"), bytes: text.as_bytes().to_vec() };
    Lint::of(&file, Kernel::parse(kernel), gib.map(|gib| gib << 20), Some(4))
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
    let lint = lint("net.ipv4.tcp_max_tw_buckets = 5000 --> 50000\nnet.ipv4.tcp_timestamps = 1(both)\n", "6.1", Some(8));
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
        ("kernel.shmmax=68719476736", "6.1", 8, Adapt, Some("18446744073692774399")),
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
