//! `sickbay explain limits`, on the four cases of the e-book and what surrounds them: each layer, the one that counts, now and
//! after a restart.

mod support;

use std::sync::Arc;

use sickbay::facts::Facts;
use sickbay::facts::limits::chain::{self, Chain, Row};
use sickbay::model::text::Lang;
use support::story::{Built, Story};

/// What all of them have: a running Debian whose systemd is old, so that process 1 may have 65536 files.
const BEGIN: &str = "\
--- tree running
--- file /proc/sys/fs/nr_open
1048576
--- file /proc/stat
btime 1700000000
--- file /proc/1/stat
1 (systemd) S 0 1 1 0 -1 4194560 100 0 0 0 10 10 0 0 20 0 1 0 1 100 100
--- file /proc/1/limits
Limit                     Soft Limit           Hard Limit           Units     
Max core file size        0                    unlimited            bytes     
Max processes             31202                31202                processes 
Max open files            65536                65536                files     
";

fn process(pid: u32, comm: &str, parent: u32, cgroup: &str, files: &str) -> String {
    format!(
        "--- file /proc/{pid}/status\nName:\t{comm}\nUid:\t0\t0\t0\t0\nThreads:\t2\n\
         --- file /proc/{pid}/comm\n{comm}\n--- file /proc/{pid}/cgroup\n0::{cgroup}\n\
         --- file /proc/{pid}/stat\n{pid} ({comm}) S {parent} 1 1 0 -1 4194560 100 0 0 0 10 10 0 0 20 0 1 0 471100 100 100\n\
         --- file /proc/{pid}/limits\n\
         Limit                     Soft Limit           Hard Limit           Units     \n\
         Max core file size        0                    unlimited            bytes     \n\
         Max processes             31202                31202                processes \n\
         Max open files            {files} files     \n"
    )
}

const DOCKER: &str = "\
--- file /usr/lib/systemd/system/docker.service
[Unit]
Description=Docker Application Container Engine
[Service]
Type=notify
ExecStart=/usr/bin/dockerd -H fd://
LimitNOFILE=infinity
LimitNPROC=infinity
LimitCORE=infinity
TasksMax=infinity
";

fn built(text: &str) -> (Built, Arc<Facts>) {
    let built = Story::of(&format!("{BEGIN}{text}")).expect("a story").build().expect("it is built");
    let facts = built.facts().expect("facts");
    (built, facts)
}

fn row<'a>(chain: &'a Chain, name: &str) -> &'a Row {
    chain.rows.iter().find(|row| row.resource.name == name).expect("every limit has a row")
}

/// Name, place and remark of the layers that count.
fn counting(row: &Row) -> Vec<String> {
    let counts = row.layers.iter().filter(|layer| layer.counts);
    let shown = counts.map(|layer| {
        let place = layer.place.as_ref().map(|(path, line)| format!(" {}:{line}", path.display())).unwrap_or_default();
        format!("{}{place}", layer.name.render(Lang::En))
    });
    shown.collect()
}

fn remarks(row: &Row) -> String {
    row.remarks.iter().map(|remark| remark.render(Lang::En)).collect::<Vec<_>>().join("; ")
}

#[test]
fn infinity_is_what_process_1_may_have() {
    let (_built, facts) =
        built(&format!("{DOCKER}{}", process(812, "dockerd", 1, "/system.slice/docker.service", "65536  65536")));
    let chain = chain::of_process(&facts, 812).expect("it runs");
    let nofile = row(&chain, "nofile");
    assert_eq!(counting(nofile), ["docker.service /usr/lib/systemd/system/docker.service:6"]);
    assert_eq!((nofile.wanted, nofile.after), (Some((None, None)), Some((Some(65_536), Some(65_536)))));
    assert!(!nofile.differs, "{}", remarks(nofile));
    // The unit as it stands says otherwise, and was changed (in this test, just now) after the process was started.
    for name in ["nproc", "core"] {
        let row = row(&chain, name);
        assert!(row.differs && remarks(row).contains("changed after the process started"), "{}", remarks(row));
    }
    assert!(chain.beside.iter().any(|one| one.name == "TasksMax" && one.word.as_deref() == Some("infinity")));
}

#[test]
fn limits_conf_has_no_effect_on_a_service_and_system_conf_has() {
    let (_built, facts) = built(&format!(
        "--- file /etc/security/limits.conf\nroot - nofile 100000\n\
         --- file /etc/systemd/system.conf\n[Manager]\nDefaultLimitNOFILE=4096\n\
         --- file /etc/systemd/system.conf.d/10-more.conf\n[Manager]\nDefaultLimitNOFILE=50000\nDefaultLimitNPROC=unlimited\n\
         --- file /etc/systemd/system/shop.service\n[Service]\nExecStart=/bin/bash\n{}",
        process(3606, "shop", 1, "/system.slice/shop.service", "50000 50000")
    ));
    let chain = chain::of_unit_named(&facts, "shop.service").expect("it is there");
    let nofile = row(&chain, "nofile");
    assert_eq!(counting(nofile), ["system.conf /etc/systemd/system.conf.d/10-more.conf:2"]);
    assert_eq!((nofile.after, nofile.differs), (Some((Some(50_000), Some(50_000))), false));
    let idle = nofile.layers.iter().find(|layer| layer.name.render(Lang::En) == "limits.conf").expect("it is shown");
    assert_eq!(
        idle.remark.as_ref().map(|remark| remark.render(Lang::En)).as_deref(),
        Some("no effect: not a PAM session")
    );
    let nproc = row(&chain, "nproc");
    assert!(nproc.layers.iter().any(|layer| layer.word.as_deref() == Some("unlimited")));
    assert_eq!(nproc.after, Some((Some(31_202), Some(31_202))));
}

#[test]
fn a_drop_in_beats_the_unit() {
    let (_built, facts) = built(&format!(
        "{DOCKER}--- file /etc/systemd/system/docker.service.d/50-files.conf\n[Service]\nLimitNOFILE=200000\n{}",
        process(812, "dockerd", 1, "/system.slice/docker.service", "65536 65536")
    ));
    let chain = chain::of_process(&facts, 812).expect("it runs");
    let nofile = row(&chain, "nofile");
    assert_eq!(counting(nofile), ["docker.service /etc/systemd/system/docker.service.d/50-files.conf:2"]);
    assert_eq!(nofile.after, Some((Some(200_000), Some(200_000))));
    assert!(nofile.differs);
}

#[test]
fn supervisor_raises_what_its_own_section_says() {
    let unit = "--- file /usr/lib/systemd/system/supervisor.service\n[Service]\nExecStart=/usr/bin/supervisord -n\n";
    let config = "--- file /etc/supervisor/supervisord.conf\n[supervisord]\nminfds=655350 ; min. avail\n\
                  [program:shop]\nminprocs=9\n";
    let (_built, facts) = built(&format!(
        "{unit}{config}{}{}",
        process(900, "supervisord", 1, "/system.slice/supervisor.service", "655350 655350"),
        process(2423, "shop", 900, "/system.slice/supervisor.service", "655350 655350"),
    ));
    let chain = chain::of_process(&facts, 2423).expect("it runs");
    let nofile = row(&chain, "nofile");
    assert_eq!(counting(nofile), ["minfds /etc/supervisor/supervisord.conf:2"]);
    assert_eq!(nofile.after, Some((Some(655_350), Some(655_350))));
    let nproc = row(&chain, "nproc");
    let wrong = nproc.layers.iter().find(|layer| layer.place.is_some()).expect("the wrong section is shown");
    assert!(wrong.remark.as_ref().is_some_and(|remark| remark.render(Lang::En).contains("[supervisord]")));
    assert_eq!(nproc.after, Some((Some(31_202), Some(31_202))));
}

#[test]
fn of_users_the_nearest_line_counts_and_debian_passes_root_over() {
    let text = "--- file /etc/security/limits.conf\n* soft nofile 4096\n* hard nofile 60000\n\
                --- file /etc/security/limits.d/50.conf\nnobody soft nofile 90000\n* soft nofile 2000\n";
    let (_built, facts) = built(text);
    let chain = chain::of_user_named(&facts, "nobody").expect("a user");
    let nofile = row(&chain, "nofile");
    assert_eq!(
        counting(nofile),
        ["limits.conf /etc/security/limits.conf:2", "limits.conf /etc/security/limits.d/50.conf:1"]
    );
    assert_eq!(nofile.after, Some((Some(60_000), Some(60_000))));
    let chain = chain::of_user_named(&facts, "root").expect("root");
    assert!(!counting(row(&chain, "nofile")).iter().any(|layer| layer.starts_with("limits.conf")));
}

#[test]
fn a_root_that_does_not_run_says_what_is_not_known() {
    let text = format!("--- tree debian-12\n{DOCKER}");
    let built = Story::of(&text).expect("a story").build().expect("it is built");
    let chain = chain::of_unit_named(&built.facts().expect("facts"), "docker.service").expect("it is there");
    let nofile = row(&chain, "nofile");
    assert_eq!((nofile.now, nofile.after), (None, None));
    assert!(remarks(nofile).contains("only the running system tells"));
    assert_eq!(row(&chain, "nproc").after, Some((None, None)));
}

/// The module of newer Debians, which takes fs.nr_open for "unlimited" and begins with what the program has that opens the session.
const NEW_MODULE: &str = "\
--- file /usr/lib/x86_64-linux-gnu/security/pam_limits.so
/proc/sys/fs/nr_open Did not find kernel RLIMIT for %s, using default
--- file /etc/group
root:x:0:
crew:x:4100:alma
--- file /etc/passwd
root:x:0:0::/root:/bin/bash
alma:x:4001:4001::/home/alma:/bin/bash
--- file /etc/pam.d/sshd
session required pam_limits.so
--- file /usr/lib/systemd/system/ssh.service
[Service]
ExecStart=/usr/sbin/sshd -D
LimitNOFILE=5000:40000
LimitNPROC=900:1000
";

#[test]
fn sessions_begin_with_what_sshd_has() {
    let lines =
        "--- file /etc/security/limits.conf\n4000:4999 soft nofile 9000\n@:4100 - nproc 700\n* hard nofile unlimited\n";
    let (_built, facts) = built(&format!("{NEW_MODULE}{lines}"));
    let chain = chain::of_user_named(&facts, "alma").expect("a user");
    assert_eq!(row(&chain, "nofile").after, Some((Some(9000), Some(1_048_576))));
    assert_eq!(row(&chain, "nproc").after, Some((Some(700), Some(700))));
    // Neither groups nor * are for root on Debian.
    let chain = chain::of_user_named(&facts, "root").expect("root");
    assert_eq!(row(&chain, "nofile").after, Some((Some(5000), Some(40_000))));
    assert_eq!(row(&chain, "nproc").after, Some((Some(900), Some(1000))));
}

#[test]
fn a_line_lifts_all_for_a_user() {
    let lines =
        "--- file /etc/security/limits.conf\nalma - nofile 10\n--- file /etc/security/limits.d/90.conf\n@crew -\n";
    let (_built, facts) = built(&format!("{NEW_MODULE}{lines}"));
    let chain = chain::of_user_named(&facts, "alma").expect("a user");
    let nofile = row(&chain, "nofile");
    assert_eq!(nofile.after, Some((Some(5000), Some(40_000))));
    let line = nofile.layers.last().and_then(|layer| layer.remark.as_ref()).map(|remark| remark.render(Lang::En));
    assert_eq!(
        line.as_deref(),
        Some("no effect: /etc/security/limits.d/90.conf:1 says that nothing is limited for alma")
    );
}

/// A container: process 1 may raise nothing.
const BOUNDED: &str = "--- file /proc/1/status\nName:\tsystemd\nCapEff:\t00000000fcecbfff\n";

#[test]
fn without_the_capability_nothing_is_raised() {
    let unit = "--- file /etc/systemd/system/shop.service\n[Service]\nExecStart=/bin/bash\nLimitNOFILE=200000\nLimitNPROC=9000:90000\n";
    let lines = "--- file /etc/security/limits.conf\nalma hard nofile 50000\nalma hard nproc 500\n";
    let (_built, facts) = built(&format!("{BOUNDED}{NEW_MODULE}{unit}{lines}"));
    let chain = chain::of_unit_named(&facts, "shop.service").expect("it is there");
    let nofile = row(&chain, "nofile");
    assert_eq!(nofile.after, Some((Some(65_536), Some(65_536))));
    let remark = nofile.layers.iter().find(|layer| layer.counts).and_then(|layer| layer.remark.as_ref());
    assert_eq!(
        remark.map(|remark| remark.render(Lang::En)).as_deref(),
        Some("PID 1 has no CAP_SYS_RESOURCE: cut to its own hard limit")
    );
    assert_eq!(row(&chain, "nproc").after, Some((Some(9000), Some(31_202))));
    // Debian's pam_limits goes on with what sshd has.
    let chain = chain::of_user_named(&facts, "alma").expect("a user");
    assert_eq!(row(&chain, "nofile").after, Some((Some(5000), Some(40_000))));
    assert!(remarks(row(&chain, "nofile")).contains("CAP_SYS_RESOURCE"));
    assert_eq!(row(&chain, "nproc").after, Some((Some(500), Some(500))));
}

#[test]
fn a_unit_of_a_users_manager_is_bounded_by_the_manager() {
    let files = "--- file /usr/lib/systemd/system/user@.service\n[Service]\nUser=%i\nPAMName=systemd-user\nLimitNOFILE=30000\n\
        --- file /etc/systemd/user.conf\n[Manager]\nDefaultLimitNPROC=400\n\
        --- file /home/alma/.config/systemd/user/shop.service\n[Service]\nExecStart=/bin/bash\nLimitNOFILE=4000:64000\n\
        --- file /etc/systemd/user/shop-.service.d/x.conf\n[Service]\nLimitNOFILE=1\n";
    let running =
        process(77, "shop", 1, "/user.slice/user-4001.slice/user@4001.service/app.slice/shop.service", "4000 30000")
            .replace("Uid:\t0\t0\t0\t0", "Uid:\t4001\t4001\t4001\t4001");
    let (_built, facts) = built(&format!("{NEW_MODULE}{files}{running}"));
    let chain = chain::of_process(&facts, 77).expect("it runs");
    let nofile = row(&chain, "nofile");
    assert_eq!(nofile.after, Some((Some(4000), Some(30_000))));
    assert_eq!(counting(nofile), ["shop.service /home/alma/.config/systemd/user/shop.service:3"]);
    assert_eq!(counting(row(&chain, "nproc")), ["user.conf /etc/systemd/user.conf:2"]);
    assert_eq!(row(&chain, "nproc").after, Some((Some(400), Some(400))));
}

#[test]
fn drop_ins_of_a_stronger_directory_win() {
    let files = "--- file /etc/systemd/system/shop-a@.service\n[Service]\nExecStart=/bin/bash\n\
        --- file /run/systemd/system/shop-a@one.service.d/x.conf\n[Service]\nLimitNOFILE=1\nLimitNPROC=10\n\
        --- file /etc/systemd/system/shop-@.service.d/x.conf\n[Service]\nLimitNOFILE=2000\n\
        --- file /etc/systemd/system/service.d/y.conf\n[Service]\nLimitCORE=5\n";
    let (_built, facts) = built(files);
    let chain = chain::of_unit_named(&facts, "shop-a@one.service").expect("it is there");
    assert_eq!(counting(row(&chain, "nofile")), ["shop-a@one.service /etc/systemd/system/shop-@.service.d/x.conf:2"]);
    assert_ne!(row(&chain, "nproc").after, Some((Some(10), Some(10))));
    assert_eq!(row(&chain, "core").after, Some((Some(5), Some(5))));
}
