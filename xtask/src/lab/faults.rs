//! The faults. A new one is one entry.

mod families;
mod more;
mod network;
mod parameters;
mod space;
mod unmounted;

use std::path::Path;
use std::sync::LazyLock;

use super::disk::{BASE, Disk, checksum};

/// One way to break a system.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it is, in a few words.
    pub what: &'static str,
    /// The disk on which it is made.
    pub disk: &'static Disk,
    /// A shell script that makes it; `$R` is the mounted root, `$1` the disk, `$ESP` its EFI system partition for mtools.
    /// For one of an unmounted disk there are `$ROOT` and `$DATA` instead, the devices of the root and of /data.
    pub snippet: &'static str,
    /// Ids of the checks whose findings are causes, sorted, parted by ", ".
    pub finds: &'static str,
    /// What Debian makes of it.
    pub debian: Debian,
    /// The door that it shuts.
    pub way: Way,
    /// The healthy disk is the donor of what is lost.
    needs_donor: bool,
    /// The repair is a risky one.
    pub risky: bool,
    /// It is made on a disk that nobody has mounted, and that may not mount afterwards: what comes back is compared byte for byte.
    unmounted: bool,
    /// It leaves no room for a journal on the disk.
    pub full: bool,
    /// After the repair every packaged path has its mode and owner again.
    pub modes: bool,
    /// Nothing is found: root's password is set anew because somebody orders it.
    pub resets_password: bool,
    /// CI tries it.
    pub smoke: bool,
}

/// What Debian makes of a fault; other systems may differ.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Debian {
    /// It does not boot, or root cannot log in.
    Breaks,
    /// It boots and lets root in all the same, for this reason.
    Survives(&'static str),
}

/// A way in for root.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    /// The serial console.
    Console,
    /// ssh with a password.
    Ssh,
}

/// A fault with the usual circumstances.
const fn fault(name: &'static str, what: &'static str, snippet: &'static str, finds: &'static str) -> Fault {
    let (debian, way) = (Debian::Breaks, Way::Console);
    Fault {
        name,
        what,
        disk: &BASE,
        snippet,
        finds,
        debian,
        way,
        needs_donor: false,
        risky: false,
        unmounted: false,
        full: false,
        modes: false,
        resets_password: false,
        smoke: false,
    }
}

impl Fault {
    const fn smoke(self) -> Fault {
        Fault { smoke: true, ..self }
    }

    const fn survived(self, why: &'static str) -> Fault {
        Fault { debian: Debian::Survives(why), ..self }
    }

    const fn by_ssh(self) -> Fault {
        Fault { way: Way::Ssh, ..self }
    }

    const fn with_donor(self) -> Fault {
        Fault { needs_donor: true, ..self }
    }

    const fn resets_password(self) -> Fault {
        Fault { resets_password: true, ..self }
    }

    const fn risky(self) -> Fault {
        Fault { risky: true, ..self }
    }

    const fn unmounted(self) -> Fault {
        Fault { unmounted: true, ..self }
    }

    const fn full(self) -> Fault {
        Fault { full: true, ..self }
    }

    const fn modes(self) -> Fault {
        Fault { modes: true, ..self }
    }

    const fn on(self, disk: &'static Disk) -> Fault {
        Fault { disk, ..self }
    }

    /// Makes it.
    pub(crate) fn make(&self, image: &Path) -> Result<(), String> {
        if self.unmounted {
            self.disk.change_unmounted(image, self.snippet)
        } else {
            self.disk.change(image, self.snippet).map(drop)
        }
    }

    /// What must be the same again after `undo`.
    pub(crate) fn state(&self, image: &Path) -> Result<String, String> {
        if self.unmounted { checksum(image) } else { self.disk.manifest(image) }
    }

    /// Whether others can be made beside it, and repaired by one `fix`.
    pub(crate) fn mixes(&self) -> bool {
        !self.unmounted && !self.full
    }

    /// Whose healthy image is the donor.
    pub(crate) fn donor(&self) -> Option<&'static Disk> {
        self.needs_donor.then_some(self.disk)
    }
}

/// All of them.
pub(crate) static FAULTS: LazyLock<Vec<Fault>> = LazyLock::new(|| {
    [
        DEBIAN,
        more::DEBIAN,
        parameters::PARAMETERS,
        families::FAMILIES,
        network::NETWORK,
        unmounted::DAMAGED,
        space::FULL,
    ]
    .concat()
});

/// Those of Debian 12 as most servers have it.
const DEBIAN: &[Fault] = &[
    // fstab
    fault(
        "fstab-root-uuid",
        "fstab has a different UUID for the root",
        r#"sed -i "s|^UUID=[^ ]* / |UUID=$(cat /proc/sys/kernel/random/uuid) / |" $R/etc/fstab"#,
        "fstab-wrong-root",
    )
    .survived("the initramfs mounts what root= says"),
    fault(
        "fstab-data-uuid",
        "a data disk's UUID in fstab is not on any disk",
        r#"sed -i "s|^UUID=[^ ]* /data |UUID=$(cat /proc/sys/kernel/random/uuid) /data |" $R/etc/fstab"#,
        "fstab-missing-device",
    )
    .smoke(),
    fault("fstab-wrong-type", "fstab says xfs for an ext4", r"sed -i 's|/data ext4|/data xfs|' $R/etc/fstab", "fstab-wrong-type"),
    fault("fstab-garbage-line", "a line of prose in fstab", r"echo 'see ticket' >>$R/etc/fstab", "fstab-bad-line")
        .survived("systemd skips the line"),
    // The boot loader, its configuration and its files
    fault("mbr-zeroed", "no code in the MBR", r#"dd if=/dev/zero of="$1" bs=440 count=1 conv=notrunc status=none"#, "boot-loader-missing")
        .smoke(),
    fault(
        "core-image-zeroed",
        "GRUB's core image is overwritten",
        r#"dd if=/dev/zero of="$1" bs=512 seek=1 count=1000 conv=notrunc status=none"#,
        "boot-loader-missing",
    ),
    fault(
        "grub-modules-missing",
        "/boot/grub/i386-pc is gone",
        r"rm -r $R/boot/grub/i386-pc",
        "boot-loader-modules-missing",
    ),
    fault(
        "mbr-signature-zeroed",
        "the MBR does not end in 55 AA",
        r#"printf '\000\000' | dd of="$1" bs=1 seek=510 conv=notrunc status=none"#,
        "partition-table-damaged",
    ),
    fault("grub-cfg-empty", "grub.cfg is empty", r": >$R/boot/grub/grub.cfg", "grub-config-missing").smoke(),
    fault("grub-cfg-missing", "grub.cfg is missing", r"rm $R/boot/grub/grub.cfg", "grub-config-missing"),
    fault(
        "grub-wrong-root",
        "root= and search name a different UUID",
        r#"sed -i "s/$(sed -n 's/.*root=UUID=\([^ ]*\) .*/\1/p;T;q' $R/boot/grub/grub.cfg)/$(cat /proc/sys/kernel/random/uuid)/g" $R/boot/grub/grub.cfg"#,
        "grub-wrong-root",
    )
    .smoke(),
    fault(
        "initramfs-missing",
        "the newest kernel's initramfs is missing, an older kernel is intact",
        r"rm $(ls $R/boot/initrd.img-* | sort -V | tail -n 1)",
        "initramfs-missing",
    ),
    fault(
        "initramfs-empty",
        "the newest kernel's initramfs is empty",
        r": >$(ls $R/boot/initrd.img-* | sort -V | tail -n 1)",
        "initramfs-missing",
    ),
    fault(
        "initramfs-cut-off",
        "the newest kernel's initramfs is truncated",
        r"truncate -s 9M $(ls $R/boot/initrd.img-* | sort -V | tail -n 1)",
        "initramfs-damaged",
    ),
    fault(
        "initramfs-without-drivers",
        "every initramfs built with MODULES=list and an empty list",
        r#"sed -i 's/^MODULES=.*/MODULES=list/' $R/etc/initramfs-tools/initramfs.conf
unshare -m sh -ec 'mount --bind /dev '$R'/dev; mount -t proc proc '$R'/proc
for k in $(ls '$R'/lib/modules); do chroot '$R' mkinitramfs -o /boot/initrd.img-$k $k; done'"#,
        "initramfs-lacks-drivers",
    )
    .risky(),
    fault(
        "kernel-missing",
        "the newest kernel is missing, an older one is intact",
        r"rm $(ls $R/boot/vmlinuz-* | sort -V | tail -n 1)",
        "kernel-missing",
    )
    .smoke(),
    fault("kernel-empty", "the newest kernel is empty", r": >$(ls $R/boot/vmlinuz-* | sort -V | tail -n 1)", "kernel-missing"),
    fault(
        "kernel-init-shell",
        "the kernel command line has init=/bin/sh, in /etc/default/grub too",
        r#"sed -i 's|\(linux.* ro\) |\1 init=/bin/sh |' $R/boot/grub/grub.cfg; sed -i 's|^GRUB_CMDLINE_LINUX="|&init=/bin/sh |' $R/etc/default/grub"#,
        "kernel-command-line",
    ),
    fault("boot-emptied", "everything in /boot is gone", r"rm -r $R/boot/*", "boot-loader-modules-missing, kernels-gone").with_donor(),
    // Accounts
    fault("passwd-crlf", "passwd has DOS line ends", r"sed -i 's/$/\r/' $R/etc/passwd", "account-file-damaged").smoke(),
    fault("passwd-without-root", "root is gone from passwd", r"sed -i '/^root:/d' $R/etc/passwd", "root-account-missing")
        .survived("systemd-sysusers adds the line again"),
    fault(
        "shadow-empty",
        "shadow is empty, shadow- is not",
        r"cp -p $R/etc/shadow $R/etc/shadow-; : >$R/etc/shadow",
        "account-file-damaged",
    ),
    fault("root-locked", "root's password is locked", r"sed -i 's/^root:/root:!/' $R/etc/shadow", "root-password-locked"),
    fault(
        "root-expired",
        "root's account expired",
        r"sed -i -E 's/^(root:[^:]*:[^:]*:[^:]*:[^:]*:[^:]*:[^:]*):[^:]*:/\1:19000:/' $R/etc/shadow",
        "root-account-expired",
    ),
    fault(
        "root-password-forgotten",
        "nobody knows root's password: fix --reset-password root",
        r"sed -i 's|^root:[^:]*|root:$6$saltsalt$qRiaCYQUmJJjZMW/9b5vxnhzP0S8mEcZyRYfTQfGHXyqFYYJDHlxZyVfJBPLRXxLBJ8hCZ5lgdOYOrkBlYDV0.|' $R/etc/shadow",
        "",
    )
    .resets_password(),
    fault("root-shell-missing", "root's shell is not installed", r"sed -i '/^root:/s|[^:]*$|/usr/bin/zsh|' $R/etc/passwd", "root-shell-missing"),
    // PAM
    fault("pam-login-missing", "/etc/pam.d/login is gone", r"rm $R/etc/pam.d/login", "pam-file-missing")
        .survived("PAM takes other, which has the same rules"),
    fault(
        "pam-refuses-root",
        "pam_succeed_if.so user != root in login",
        r"sed -i '1i auth required pam_succeed_if.so user != root' $R/etc/pam.d/login",
        "pam-refuses-root",
    )
    // Somebody else comes in there, and may become root.
    .risky()
    .smoke(),
    fault("pam-common-auth-empty", "common-auth is empty", r": >$R/etc/pam.d/common-auth", "pam-file-missing").with_donor(),
    fault("pam-unix-missing", "pam_unix.so is gone", r"rm $R/usr/lib/x86_64-linux-gnu/security/pam_unix.so", "pam-module-broken")
        .with_donor(),
    fault("pam-common-account-missing", "common-account is gone", r"rm $R/etc/pam.d/common-account", "pam-file-missing"),
    fault("pam-sshd-crlf", "the PAM file of sshd has DOS line ends", r"sed -i 's/$/\r/' $R/etc/pam.d/sshd", "pam-rule-invalid").by_ssh(),
    fault(
        "pam-permit",
        "pam_permit is sufficient for login",
        r"sed -i '1i auth sufficient pam_permit.so' $R/etc/pam.d/login",
        "pam-lets-anyone-in",
    ),
    fault(
        "pam-modules-gone",
        "the directory of PAM's modules is gone",
        r"rm -r $R/usr/lib/x86_64-linux-gnu/security",
        "package-file-missing",
    )
    .with_donor(),
    fault("passwd-program-empty", "/usr/bin/passwd is empty", r": >$R/usr/bin/passwd", "package-file-empty")
        .with_donor()
        .survived("nobody has to change a password"),
    // Links, modes, programs
    fault("lib64-link-missing", "the link /lib64 is gone", r"rm $R/lib64", "top-level-missing").smoke(),
    fault("bin-link-missing", "the link /bin is gone", r"rm $R/bin", "top-level-missing"),
    fault("lib-link-missing", "the link /lib is gone", r"rm $R/lib", "top-level-missing"),
    fault("bash-empty", "/bin/bash is empty", r": >$R/usr/bin/bash", "login-program-broken").with_donor(),
    fault("mode-777-root", "mode 777 on / and /etc/ssh", r"chmod 777 $R/; chmod -R 777 $R/etc/ssh", "mode-too-open").by_ssh(),
    fault("mode-777-usr", "chmod -R 777 /usr", r"chmod -R 777 $R/usr", "mode-too-open")
        .with_donor()
        .modes()
        .survived("sudo and su refuse, but root logs in"),
    fault("mode-777-everything", "chmod -R 777 /", r"chmod -R 777 $R/", "mode-too-open").with_donor().modes().by_ssh(),
    // Profile
    fault("profile-loop", "/etc/profile sources itself", r"echo '. /etc/profile' >>$R/etc/profile", "profile-stops-login").smoke(),
    fault("profile-exit", "exit in a file of profile.d", r"echo 'exit 0' >$R/etc/profile.d/x.sh", "profile-stops-login"),
    // sshd
    fault("sshd-bad-directive", "a directive that sshd does not know", r"echo 'PermitRootLogins yes' >>$R/etc/ssh/sshd_config", "sshd-config-invalid")
        .by_ssh(),
    fault(
        "sshd-permit-root-no",
        "PermitRootLogin no, and nobody else is an administrator",
        r"sed -i 's/^PermitRootLogin .*/PermitRootLogin no/' $R/etc/ssh/sshd_config; sed -i 's/^alice:/&!/' $R/etc/shadow",
        "sshd-refuses-root",
    )
    .by_ssh()
    .risky(),
    fault(
        "sshd-allow-users",
        "AllowUsers for another, who is no administrator",
        r"echo 'AllowUsers alice' >>$R/etc/ssh/sshd_config; sed -i 's/^alice:/&!/' $R/etc/shadow",
        "sshd-refuses-root",
    )
    .by_ssh()
    .risky(),
    // Parameters and units
    fault(
        "hugepages",
        "vm.nr_hugepages takes all of the memory",
        r"echo 'vm.nr_hugepages = 1000000' >$R/etc/sysctl.d/90-db.conf",
        "sysctl-hugepages",
    )
    .survived("the kernel takes what it can get, and so small a system starts with the rest"),
    fault(
        "min-free",
        "vm.min_free_kbytes keeps all of the memory free",
        r"echo 'vm.min_free_kbytes = 50000000' >>$R/etc/sysctl.conf",
        "sysctl-min-free",
    ),
    fault(
        "default-target",
        "default.target leads nowhere",
        r"ln -sf /usr/lib/systemd/system/kiosk.target $R/etc/systemd/system/default.target",
        "default-target-missing",
    )
    .smoke(),
];

/// Five at once, each of which alone would stop it.
pub(crate) const FIVE: [&str; 5] =
    ["fstab-data-uuid", "grub-cfg-empty", "lib64-link-missing", "pam-refuses-root", "passwd-crlf"];
