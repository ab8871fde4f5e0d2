//! Faults in what the kernel and systemd are told: parameters, the command line, drop-ins; and modules that are gone.

use super::{Fault, fault};

/// They are made on Debian 12.
pub(super) const PARAMETERS: &[Fault] = &[
    fault(
        "threads-max",
        "kernel.threads-max allows the machine 40 threads",
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
        "hugepages= on the kernel command line takes all the memory",
        r#"sed -i 's/\(linux.* ro\) /\1 hugepages=4000 /' $R/boot/grub/grub.cfg; printf '[    0.031] Memory: 700000K/786432K available\n' >$R/var/log/dmesg"#,
        "kernel-command-line",
    ),
    fault(
        "network-driver-on-a-list",
        "module_blacklist= on the kernel command line names virtio_net",
        r#"sed -i 's/\(linux.* ro\) /\1 module_blacklist=floppy,virtio_net /' $R/boot/grub/grub.cfg"#,
        "kernel-command-line",
    ).by_ssh(),
    fault(
        "unit-masked-by-argument",
        "systemd.mask=ssh.service on the kernel command line",
        r#"sed -i 's/\(linux.* ro\) /\1 systemd.mask=ssh.service /' $R/boot/grub/grub.cfg"#,
        "kernel-command-line",
    ).by_ssh(),
    fault(
        "network-driver-in-modprobe",
        "a modprobe.d line bans virtio_net",
        r"echo 'blacklist virtio_net' >$R/etc/modprobe.d/hardening.conf",
        "network-driver-missing",
    ).survived("the initramfs, which was built before, loads it"),
    fault(
        "modules-removed",
        "all modules of the newest kernel are gone, but not their lists",
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
        "package-file-missing",
    ).by_ssh().with_donor().survived("systemd generates a unit from its init script"),
    fault(
        "ssh-program-of-another",
        "a drop-in makes ssh.service start a program that does not exist",
        r"mkdir $R/etc/systemd/system/ssh.service.d; printf '[Service]\nExecStart=\nExecStart=/usr/local/sbin/sshd -D\n' >$R/etc/systemd/system/ssh.service.d/own.conf",
        "unit-masked",
    ).by_ssh(),
    fault(
        "target-missing",
        "multi-user.target is gone",
        r"rm $R/usr/lib/systemd/system/multi-user.target",
        "unit-masked",
    ).with_donor(),
    fault(
        "udevd-missing",
        "the programs of udev are gone",
        r"rm $R/usr/bin/udevadm $R/usr/lib/systemd/systemd-udevd",
        "package-file-missing",
    ).with_donor(),
    fault(
        "grub-timeout",
        "the GRUB menu waits for a key press",
        r"sed -i 's/set timeout=.*/set timeout=-1/' $R/boot/grub/grub.cfg; sed -i 's/^GRUB_TIMEOUT=.*/GRUB_TIMEOUT=-1/' $R/etc/default/grub",
        "boot-loader-waits",
    ),
    fault(
        "grub-password",
        "the GRUB entries ask for a user name and a password",
        r#"sed -i -e '1i set superusers="admin"' -e '1i password admin secret' $R/boot/grub/grub.cfg"#,
        "boot-loader-waits",
    ).risky(),
    fault(
        "grub-halt",
        "a line of grub.cfg halts the machine",
        r"sed -i '1i halt' $R/boot/grub/grub.cfg",
        "boot-loader-waits",
    ),
    fault(
        "fstab-over-usr",
        "fstab mounts the data disk over /usr",
        r"sed -i 's| /data | /usr |' $R/etc/fstab",
        "fstab-hides-system",
    ),
    fault(
        "fstab-over-var",
        "fstab mounts the data disk, with nothing copied to it, over /var",
        r"sed -i 's| /data | /var |' $R/etc/fstab",
        "fstab-hides-system",
    ).survived("systemd creates the directories that its services need"),
    fault(
        "fstab-noexec",
        "the root is mounted with noexec",
        r"sed -i 's|errors=remount-ro|errors=remount-ro,noexec|' $R/etc/fstab",
        "fstab-hides-system",
    ),
    fault(
        "fstab-misspelt-option",
        "a mount option of /data is misspelt",
        r"sed -i 's|^\(UUID=[^ ]* /data ext4 \)[^ ]*|\1defualts|' $R/etc/fstab",
        "fstab-bad-line",
    ),
    fault(
        "fstab-image-missing",
        "a file system image that fstab mounts is gone",
        r"echo '/srv/disk.img /mnt ext4 loop 0 0' >>$R/etc/fstab",
        "fstab-missing-device",
    ),
    fault(
        "limits-no-memory",
        "limits.conf allows root's sessions one mebibyte of memory",
        r"echo 'root hard as 1024' >>$R/etc/security/limits.conf",
        "pam-refuses-root",
    ),
    fault(
        "sshd-options",
        "sshd is started with an unknown option",
        r#"echo 'SSHD_OPTS="-o Foo=bar"' >$R/etc/default/ssh"#,
        "sshd-options-invalid",
    ).by_ssh(),
];
