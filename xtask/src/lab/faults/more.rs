//! Faults of Debian 12 in the units, the lists of who may come in, and the profile.

use super::{Fault, fault};

/// They are made on the disk that most servers resemble.
pub const DEBIAN: &[Fault] = &[
    fault(
        "unit-getty-masked",
        "the getty of the serial console is masked",
        r"ln -s /dev/null $R/etc/systemd/system/serial-getty@.service; ln -s /dev/null $R/etc/systemd/system/getty@.service",
        "unit-masked",
    ),
    fault(
        "unit-ssh-masked",
        "ssh.service is masked",
        r"ln -sf /dev/null $R/etc/systemd/system/ssh.service",
        "unit-masked",
    ).by_ssh(),
    fault(
        "unit-cycle",
        "a service is ordered before sysinit.target, for which it waits",
        r"printf '[Unit]\nBefore=sysinit.target\n[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=sysinit.target\n' >$R/etc/systemd/system/agent.service; mkdir -p $R/etc/systemd/system/sysinit.target.wants; ln -s ../agent.service $R/etc/systemd/system/sysinit.target.wants/",
        "unit-ordering-cycle",
    ).risky().survived("systemd drops one of the jobs, which here is not one that a login needs"),
    fault(
        "selinux-without-policy",
        "SELinux enforcing, and no policy is installed",
        r#"mkdir -p $R/etc/selinux; printf 'SELINUX=enforcing\nSELINUXTYPE=targeted\n' >$R/etc/selinux/config; sed -i 's/\(linux.* ro\) /\1 selinux=1 security=selinux /' $R/boot/grub/grub.cfg; sed -i 's/^GRUB_CMDLINE_LINUX="/&selinux=1 security=selinux /' $R/etc/default/grub"#,
        "selinux-policy-missing",
    ),
    fault(
        "mount-point-missing",
        "the directory /data is gone",
        r"rmdir $R/data",
        "fstab-missing-mount-point",
    ).survived("systemd makes the directory"),
    fault(
        "nologin-left",
        "/etc/nologin was left by somebody",
        r"echo maintenance >$R/etc/nologin",
        "nologin-file",
    ).survived("root may come in").risky(),
    fault(
        "access-conf",
        "access.conf and pam_access refuse root",
        r"echo '-:root:ALL' >>$R/etc/security/access.conf; sed -i '1i account required pam_access.so' $R/etc/pam.d/login",
        "pam-refuses-root",
    ),
    fault(
        "securetty",
        "securetty lists no terminal there is",
        r"echo none >$R/etc/securetty; sed -i '1i auth required pam_securetty.so' $R/etc/pam.d/login",
        "pam-refuses-root",
    ),
    fault(
        "nsswitch-without-files",
        "nsswitch.conf asks only ldap for accounts",
        r"sed -i -E 's/^(passwd|group|shadow):.*/\1: ldap/' $R/etc/nsswitch.conf",
        "nsswitch-broken",
    ),
    fault(
        "sshd-user-missing",
        "the account sshd is gone from passwd",
        r"sed -i /^sshd:/d $R/etc/passwd",
        "sshd-user-missing",
    ).by_ssh(),
    fault(
        "sshd-host-keys-missing",
        "the host keys of sshd are gone",
        r"rm $R/etc/ssh/ssh_host_*",
        "sshd-host-key-missing",
    ).by_ssh().risky(),
    fault(
        "sshd-host-keys-empty",
        "the host keys of sshd are empty",
        r"for key in $R/etc/ssh/ssh_host_*_key; do : >$key; done",
        "sshd-host-key-missing",
    ).by_ssh().risky(),
    fault(
        "pam-tally2",
        "login names pam_tally2, which left with Linux-PAM 1.5",
        r"sed -i '1i auth required pam_tally2.so deny=5 unlock_time=600' $R/etc/pam.d/login",
        "pam-module-broken",
    ).risky(),
    fault(
        "sshd-grace",
        "LoginGraceTime leaves a second",
        r"echo LoginGraceTime 1 >>$R/etc/ssh/sshd_config",
        "sshd-limits",
    ).by_ssh(),
    fault(
        "login-defs-erasechar",
        "a value of login.defs that login cannot read",
        r"sed -i 's/^ERASECHAR.*/ERASECHAR 0x7Q/' $R/etc/login.defs",
        "login-defs-invalid",
    ).survived("login says so and goes on"),
    fault(
        "profile-path",
        "profile sets an empty PATH",
        r"echo PATH= >>$R/etc/profile",
        "profile-path-lost",
    ).survived("a shell without programs is a shell"),
    fault(
        "profile-syntax",
        "profile has an if without an end",
        r"echo 'if [ x ]; then' >>$R/etc/profile",
        "profile-syntax-error",
    ).survived("bash says so and goes on").risky(),
    fault(
        "bashrc-exec",
        "root's .bashrc becomes another program",
        r"echo 'exec /bin/true' >>$R/root/.bashrc",
        "profile-stops-login",
    ),
    fault(
        "setuid-lost",
        "su has lost its setuid bit",
        r"chmod u-s $R/usr/bin/su",
        "setuid-lost",
    ).survived("root needs no su"),
    fault(
        "mode-700-root",
        "mode 700 on /",
        r"chmod 700 $R/",
        "mode-too-strict",
    ).survived("root may all"),
    fault(
        "login-program-missing",
        "/bin/login is gone",
        r"rm $R/usr/bin/login",
        "login-program-broken",
    ).with_donor(),
    fault(
        "libpam-dangling",
        "libpam.so.0 leads nowhere",
        r"ln -sf libpam.so.9 $R/usr/lib/x86_64-linux-gnu/libpam.so.0",
        "login-program-broken",
    ).with_donor(),
    fault(
        "init-missing",
        "/sbin/init is gone",
        r"rm $R/usr/sbin/init",
        "login-program-broken",
    ).with_donor(),
];
