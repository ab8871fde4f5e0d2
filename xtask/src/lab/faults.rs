//! The faults. A new one is one entry.

/// One way to break a system.
#[derive(Debug)]
pub struct Fault {
    /// What it is called on the command line.
    pub name: &'static str,
    /// A shell script that makes it; `$R` is the mounted root.
    pub snippet: &'static str,
    /// Ids of the checks whose findings are causes, sorted, parted by ", ".
    pub finds: &'static str,
    /// Debian 12 boots and lets root in all the same.
    pub survives: bool,
    /// CI tries it.
    pub smoke: bool,
}

const fn fault(name: &'static str, snippet: &'static str, finds: &'static str) -> Fault {
    Fault { name, snippet, finds, survives: false, smoke: false }
}

const fn smoke(name: &'static str, snippet: &'static str, finds: &'static str) -> Fault {
    Fault { name, snippet, finds, survives: false, smoke: true }
}

const fn survived(name: &'static str, snippet: &'static str, finds: &'static str) -> Fault {
    Fault { name, snippet, finds, survives: true, smoke: false }
}

/// All of them.
pub const FAULTS: &[Fault] = &[
    survived(
        "fstab-root-uuid",
        r#"sed -i "s|^UUID=[^ ]* / |UUID=$(cat /proc/sys/kernel/random/uuid) / |" $R/etc/fstab"#,
        "fstab-wrong-root",
    ),
    smoke(
        "fstab-data-uuid",
        r#"sed -i "s|^UUID=[^ ]* /data |UUID=$(cat /proc/sys/kernel/random/uuid) /data |" $R/etc/fstab"#,
        "fstab-missing-device",
    ),
    fault("fstab-wrong-type", r"sed -i 's|/data ext4|/data xfs|' $R/etc/fstab", "fstab-wrong-type"),
    survived("fstab-garbage-line", r"echo 'see ticket' >>$R/etc/fstab", "fstab-bad-line"),
    smoke("passwd-crlf", r"sed -i 's/$/\r/' $R/etc/passwd", "account-file-damaged"),
    smoke("shadow-empty", r"cp -p $R/etc/shadow $R/etc/shadow-; : >$R/etc/shadow", "account-file-damaged"),
    smoke("root-locked", r"sed -i 's/^root:/root:!/' $R/etc/shadow", "root-password-locked"),
    smoke(
        "root-expired",
        r"sed -i -E 's/^(root:[^:]*:[^:]*:[^:]*:[^:]*:[^:]*:[^:]*):[^:]*:/\1:19000:/' $R/etc/shadow",
        "root-account-expired",
    ),
    fault("root-shell-missing", r"sed -i '/^root:/s|[^:]*$|/usr/bin/zsh|' $R/etc/passwd", "root-shell-missing"),
    smoke("lib64-link-missing", r"rm $R/lib64", "top-level-missing"),
    fault("bin-link-missing", r"rm $R/bin", "top-level-missing"),
    fault("lib-link-missing", r"rm $R/lib", "top-level-missing"),
    survived("mode-777-etc-ssh", r"chmod -R 777 $R/etc/ssh", "mode-too-open"),
    smoke(
        "default-target",
        r"ln -sf /usr/lib/systemd/system/kiosk.target $R/etc/systemd/system/default.target",
        "default-target-missing",
    ),
];
