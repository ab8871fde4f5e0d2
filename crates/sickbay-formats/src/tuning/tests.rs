//! Lists as people write them.

use super::*;

fn told(text: &str) -> Vec<String> {
    parse(text.as_bytes())
        .into_iter()
        .map(|found| match found.setting {
            Setting::Sysctl { key, value } => format!("{} {key}={value}", found.line),
            Setting::Limit { domain, kind, item, value } => {
                format!("{} {domain} {kind:?} {item} {value}", found.line)
            }
            Setting::Ulimit { kind, option, value } => format!("{} ulimit {kind:?} {option} {value}", found.line),
            Setting::Unit { name, value } => format!("{} {name}:{value}", found.line),
            Setting::Nothing => format!("{} nothing", found.line),
        })
        .collect()
}

#[test]
fn files() {
    assert_eq!(
        told(
            "# a\nnet.core.somaxconn=4096\n\n-net/ipv4/conf/eth0.1/rp_filter = 1\n* soft nofile 65535 # x\n@a - nproc 5\nrubbish\nvm.swappiness\n"
        ),
        [
            "2 net.core.somaxconn=4096",
            "4 net.ipv4.conf.eth0/1.rp_filter=1",
            "5 * Soft nofile 65535",
            "6 @a Both nproc 5",
            "7 nothing",
            "8 nothing",
        ]
    );
    assert_eq!(told("[Service]\nLimitNOFILE=65536:1048576\nRestart=always\n"), ["2 LimitNOFILE:65536:1048576"]);
}

#[test]
fn scripts() {
    assert_eq!(
        told(concat!(
            "#!/bin/bash\nset -e\nsysctl -w net.ipv4.tcp_rmem=\"4096 87380 16777216\" vm.swappiness=1; true\n",
            "sudo /sbin/sysctl -qw 'net.core.somaxconn = 1024'\n",
            "echo 1 > /proc/sys/net/ipv4/tcp_syncookies\n",
            "echo \"1024 65000\" | tee /proc/sys/net/ipv4/ip_local_port_range\n",
            "echo 'fs.file-max = 100000' >> /etc/sysctl.conf\n",
            "echo '* soft nofile 655350' >> /etc/security/limits.conf\n",
            "ulimit -SHn 65535\ncat >> /etc/sysctl.conf <<EOF\nvm.max_map_count = 262144\nEOF\n",
            "sed -i 's/^kernel.pid_max.*/kernel.pid_max = 65535/' /etc/sysctl.conf\n",
        )),
        [
            "3 net.ipv4.tcp_rmem=4096 87380 16777216",
            "3 vm.swappiness=1",
            "4 net.core.somaxconn=1024",
            "5 net.ipv4.tcp_syncookies=1",
            "6 net.ipv4.ip_local_port_range=1024 65000",
            "7 fs.file-max=100000",
            "8 * Soft nofile 655350",
            "9 ulimit Both n 65535",
            "11 vm.max_map_count=262144",
            "13 kernel.pid_max=65535",
        ]
    );
    assert_eq!(
        told(
            "import os\nos.system(\"sysctl -w net.core.somaxconn=4096\")\nlines = ['vm.swappiness = 10', \"fs.nr_open=5\"]\n"
        ),
        ["2 net.core.somaxconn=4096", "3 vm.swappiness=10", "3 fs.nr_open=5"]
    );
}

#[test]
fn what_people_paste() {
    // A text in quotes over two lines, escapes of echo, several limits in a line, a limit for systemd.
    assert_eq!(
        told(concat!(
            "echo \"vm.swappiness = 1\nvm.max_map_count=262144\" >> /etc/sysctl.conf\n",
            "echo -e \"net.ipv4.tcp_syncookies = 1\\nnet.core.somaxconn = 8192\" >> /etc/sysctl.conf\n",
            "echo -e \"* soft nofile 1024\\n* hard nofile 4096\" >> /etc/security/limits.conf\n",
            "ulimit -u unlimited; ulimit -s 65536 -n 1024\n",
            "echo 'DefaultLimitNOFILE=1048576' >> /etc/systemd/system.conf\n",
            "sysctl -w kernel.threads-max=`nproc`\n",
            "sudo sh -c 'echo \"vm.overcommit_memory = 1\" >> /etc/sysctl.conf'\n",
        )),
        [
            "1 vm.swappiness=1",
            "2 vm.max_map_count=262144",
            "3 net.ipv4.tcp_syncookies=1",
            "3 net.core.somaxconn=8192",
            "4 * Soft nofile 1024",
            "4 * Hard nofile 4096",
            "5 ulimit Both u unlimited",
            "5 ulimit Both s 65536",
            "5 ulimit Both n 1024",
            "6 DefaultLimitNOFILE:1048576",
            "7 kernel.threads-max=`nproc`",
            "8 vm.overcommit_memory=1",
        ]
    );
    // A page of somebody's notes.
    assert_eq!(
        told("Edit `/etc/sysctl.conf`:\n\n    vm.max_map_count=262144\n\nThen `sysctl -w vm.swappiness=1` and wait.\n"),
        ["3 vm.max_map_count=262144", "5 vm.swappiness=1"]
    );
    // A profile of tuned, an exception of sysctl.d(5), a root that only modules have.
    assert_eq!(
        told("[main]\nsummary=fast\n[sysctl]\nvm.swappiness=10\nrubbish\n[sysfs]\n/sys/kernel/mm/ksm/run=0\n"),
        ["4 vm.swappiness=10", "5 nothing"]
    );
    assert_eq!(
        told("-net.ipv4.conf.all.rp_filter\nsunrpc.tcp_slot_table_entries = 128\nxen.independent_wallclock = 1\n"),
        ["2 sunrpc.tcp_slot_table_entries=128", "3 xen.independent_wallclock=1"]
    );
}

#[test]
fn what_holds_now() {
    let text =
        "echo 'vm.swappiness=1' >> /etc/sysctl.conf\nsysctl -w vm.swappiness=1\necho 1 > /proc/sys/vm/swappiness\n";
    let now: Vec<bool> = parse(text.as_bytes()).iter().map(|found| found.is_now).collect();
    assert_eq!(now, [false, true, true]);
}

#[test]
fn yaml() {
    assert_eq!(
        told(concat!(
            "- hosts: all\n  tasks:\n    - name: set up the queue\n      sysctl:\n        name: net.core.somaxconn\n",
            "        value: \"65535\"  # many\n        state: present\n    - sysctl: name=vm.swappiness value=1\n",
            "    - sysctl: { name: \"{{ item.key }}\", value: \"{{ item.value }}\" }\n      loop:\n",
            "        - { key: net.ipv4.tcp_fin_timeout, value: 30 }\n",
        )),
        ["6 net.core.somaxconn=65535", "8 vm.swappiness=1", "11 net.ipv4.tcp_fin_timeout=30"]
    );
    assert_eq!(
        told("services:\n  redis:\n    sysctls:\n      net.core.somaxconn: 1024\n      - net.ipv4.tcp_syncookies=0\n"),
        ["4 net.core.somaxconn=1024", "5 net.ipv4.tcp_syncookies=0"]
    );
}

proptest::proptest! {
    #[test]
    fn never_panics_on_yaml(text in "(---|- |name|value|key|: |net\\.a|[-={},\"#`\\\\n \n\u{e9}]){0,30}") {
        let _ = parse(format!("---\n{text}").as_bytes());
    }

    #[test]
    fn never_panics(bytes: Vec<u8>) {
        let _ = parse(&bytes);
    }

    #[test]
    fn never_panics_on_lines(text in "(echo|sysctl|ulimit|net\\.|vm/|/proc/sys/|[-a.\"'>|/=#; \t\r\n\u{e9}]){0,30}") {
        let _ = parse(text.as_bytes());
    }
}
