//! Faults in what the kernel and systemd are told: parameters, the command line, drop-ins; and modules that are gone.

use super::{Fault, fault};

/// They are made on Debian 12.
pub const PARAMETERS: &[Fault] = &[
    fault(
        "threads-max",
        "kernel.threads-max lets the machine have 40 threads",
        r"echo 'kernel.threads-max = 40' >$R/etc/sysctl.d/60-limits.conf",
        "sysctl-too-low",
    ),
    fault(
        "mount-namespaces",
        "user.max_mnt_namespaces is 0",
        r"echo 'user.max_mnt_namespaces = 0' >$R/etc/sysctl.d/60-hardening.conf",
        "sysctl-too-low",
    ),
    fault(
        "overcommit-ratio",
        "strict overcommit with a ratio of 1 %",
        r"printf 'vm.overcommit_memory = 2\nvm.overcommit_kbytes = 16384\n' >>$R/etc/sysctl.conf",
        "sysctl-too-low",
    ),
    fault(
        "pty-max",
        "kernel.pty.max is 0: ssh has no terminals to give",
        r"echo 'kernel.pty.max = 0' >$R/etc/sysctl.d/60-hardening.conf",
        "sysctl-too-low",
    ).survived("a login on the console needs none, and ssh can still run commands"),
    fault(
        "hugepages-argument",
        "hugepages= on the kernel's command line takes all of the memory",
        r#"sed -i 's/\(linux.* ro\) /\1 hugepages=4000 /' $R/boot/grub/grub.cfg; printf '[    0.031] Memory: 700000K/786432K available\n' >$R/var/log/dmesg"#,
        "kernel-command-line",
    ),
    fault(
        "network-driver-on-a-list",
        "module_blacklist= on the kernel's command line names virtio_net",
        r#"sed -i 's/\(linux.* ro\) /\1 module_blacklist=floppy,virtio_net /' $R/boot/grub/grub.cfg"#,
        "kernel-command-line",
    ).by_ssh(),
    fault(
        "unit-masked-by-argument",
        "systemd.mask=ssh.service on the kernel's command line",
        r#"sed -i 's/\(linux.* ro\) /\1 systemd.mask=ssh.service /' $R/boot/grub/grub.cfg"#,
        "kernel-command-line",
    ).by_ssh(),
    fault(
        "network-driver-in-modprobe",
        "a line of modprobe.d bans virtio_net",
        r"echo 'blacklist virtio_net' >$R/etc/modprobe.d/hardening.conf",
        "network-driver-missing",
    ).survived("the initramfs, which was packed before, loads it"),
    fault(
        "modules-removed",
        "all modules of the newest kernel are gone, their lists are not",
        r"rm -r $R/lib/modules/$(ls $R/lib/modules | sort -V | tail -n 1)/kernel",
        "kernel-modules-missing",
    ).with_donor().survived("the initramfs has loaded what a login needs"),
    fault(
        "ssh-disabled",
        "nothing starts ssh.service",
        r"rm $R/etc/systemd/system/multi-user.target.wants/ssh.service",
        "sshd-not-started",
    ).by_ssh().risky(),
    fault(
        "ssh-unit-missing",
        "the unit of sshd is gone",
        r"rm $R/usr/lib/systemd/system/ssh.service",
        "unit-masked",
    ).by_ssh().with_donor(),
    fault(
        "ssh-program-of-another",
        "a drop-in lets ssh.service start a program that is not there",
        r"mkdir $R/etc/systemd/system/ssh.service.d; printf '[Service]\nExecStart=\nExecStart=/usr/local/sbin/sshd -D\n' >$R/etc/systemd/system/ssh.service.d/own.conf",
        "unit-masked",
    ).by_ssh(),
    fault(
        "target-missing",
        "multi-user.target is gone",
        r"rm $R/usr/lib/systemd/system/multi-user.target",
        "unit-masked",
    ).with_donor(),
];
