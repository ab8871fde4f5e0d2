//! Faults that only another disk, boot loader or init can have.

use super::super::disk::{BTRFS, DRACUT, LEGACY, LVM, TRIXIE, UEFI, XFS};
use super::{Fault, fault};

/// By disk.
pub(super) const FAMILIES: &[Fault] = &[
    fault(
        "xfs-boot-emptied",
        "everything on the separate /boot is gone",
        r"rm -r $R/boot/*",
        "boot-loader-modules-missing, kernels-gone",
    ).on(&XFS).with_donor(),
    fault(
        "xfs-boot-uuid",
        "the UUID of /boot in fstab is not on any disk",
        r#"sed -i "s|^UUID=[^ ]* /boot |UUID=$(cat /proc/sys/kernel/random/uuid) /boot |" $R/etc/fstab"#,
        "fstab-missing-device",
    ).on(&XFS),
    fault(
        "xfs-root-type",
        "fstab says ext4 for an xfs root",
        r"sed -i 's|/ xfs|/ ext4|' $R/etc/fstab",
        "fstab-wrong-type",
    ).on(&XFS).survived("the root is mounted by the initramfs, which asks the disk"),
    fault(
        "xfs-initramfs-missing",
        "the newest kernel's initramfs is missing from a separate /boot",
        r"rm $(ls $R/boot/initrd.img-* | sort -V | tail -n 1)",
        "initramfs-missing",
    ).on(&XFS),
    fault(
        "btrfs-grub-cfg-empty",
        "grub.cfg is empty on btrfs",
        r": >$R/boot/grub/grub.cfg",
        "grub-config-missing",
    ).on(&BTRFS),
    fault(
        "btrfs-fstab-subvol",
        "fstab names a subvolume that does not exist",
        r"sed -i 's|subvol=@|subvol=@root|' $R/etc/fstab",
        "fstab-wrong-root",
    ).on(&BTRFS).survived("the initramfs mounts what rootflags= says"),
    fault(
        "btrfs-rootflags",
        "rootflags= names a subvolume that does not exist",
        r"sed -i 's|rootflags=subvol=@|rootflags=subvol=@root|' $R/boot/grub/grub.cfg",
        "grub-wrong-root",
    ).on(&BTRFS),
    fault(
        "lvm-fstab-volume",
        "fstab names a logical volume that does not exist",
        r"sed -i 's|/dev/mapper/lab-root|/dev/mapper/lab-system|' $R/etc/fstab",
        "fstab-wrong-root",
    ).on(&LVM).survived("the initramfs mounts what root= says"),
    fault(
        "lvm-grub-root",
        "root= names a logical volume that does not exist",
        r"sed -i 's|root=/dev/mapper/lab-root|root=/dev/mapper/lab-system|' $R/boot/grub/grub.cfg",
        "grub-wrong-root",
    ).on(&LVM),
    fault(
        "lvm-grub-cfg-empty",
        "grub.cfg is empty in a logical volume",
        r": >$R/boot/grub/grub.cfg",
        "grub-config-missing",
    ).on(&LVM),
    fault(
        "lvm-initramfs-without-lvm",
        "every initramfs built without LVM",
        r"mv $R/usr/share/initramfs-tools/hooks/lvm2 $R/root/lvm2; mv $R/usr/share/initramfs-tools/hooks/dmsetup $R/root/dmsetup || true
unshare -m sh -ec 'mount --bind /dev '$R'/dev; mount -t proc proc '$R'/proc; for k in $(ls '$R'/lib/modules); do chroot '$R' mkinitramfs -o /boot/initrd.img-$k $k; done'
mv $R/root/lvm2 $R/usr/share/initramfs-tools/hooks/lvm2; mv $R/root/dmsetup $R/usr/share/initramfs-tools/hooks/dmsetup || true",
        "initramfs-lacks-drivers",
    ).on(&LVM).risky(),
    fault(
        "uefi-esp-emptied",
        "everything in the EFI system partition is gone",
        r#"mdeltree -i "$ESP" ::/EFI"#,
        "efi-boot-files-missing",
    ).on(&UEFI),
    fault(
        "uefi-fallback-missing",
        "the fallback path of the EFI system partition is gone",
        r#"mdeltree -i "$ESP" ::/EFI/BOOT"#,
        "efi-boot-files-missing",
    ).on(&UEFI),
    fault(
        "uefi-stub-missing",
        "the grub.cfg in the EFI system partition is gone",
        r#"mdel -i "$ESP" ::/EFI/debian/grub.cfg"#,
        "grub-config-missing",
    ).on(&UEFI),
    fault(
        "uefi-stub-empty",
        "the grub.cfg in the EFI system partition is empty",
        r#"mcopy -o -i "$ESP" /dev/null ::/EFI/debian/grub.cfg"#,
        "grub-config-missing",
    ).on(&UEFI),
    fault(
        "uefi-stub-wrong-root",
        "the grub.cfg in the EFI system partition looks for a file system that is not on any disk",
        r#"mtype -i "$ESP" ::/EFI/debian/grub.cfg | sed "s/fs_uuid [^ ]*/fs_uuid $(cat /proc/sys/kernel/random/uuid)/" |
mcopy -o -i "$ESP" - ::/EFI/debian/grub.cfg"#,
        "grub-config-missing",
    ).on(&UEFI),
    fault(
        "uefi-stub-other-volume",
        "the grub.cfg in the EFI system partition looks for the file system of /data",
        r#"uuid=$(sed -n 's|^UUID=\([^ ]*\) /data .*|\1|p' $R/etc/fstab)
mtype -i "$ESP" ::/EFI/debian/grub.cfg | sed "s/fs_uuid [^ ]*/fs_uuid $uuid/" | mcopy -o -i "$ESP" - ::/EFI/debian/grub.cfg"#,
        "grub-config-missing",
    ).on(&UEFI),
    fault(
        "legacy-menu-empty",
        "menu.lst of GRUB legacy is empty",
        r": >$R/boot/grub/menu.lst",
        "grub-config-missing",
    ).on(&LEGACY),
    fault(
        "legacy-stage2-missing",
        "stage2 of GRUB legacy is gone",
        r"rm $R/boot/grub/stage2",
        "grub-legacy-missing",
    ).on(&LEGACY)
    .risky(),
    fault(
        "legacy-wrong-root",
        "root= in menu.lst is not on any disk",
        r#"sed -i "s/root=UUID=[^ ]*/root=UUID=$(cat /proc/sys/kernel/random/uuid)/" $R/boot/grub/menu.lst"#,
        "grub-wrong-root",
    ).on(&LEGACY),
    fault(
        "legacy-device-map",
        "device.map of GRUB legacy names /dev/hda",
        r"echo '(hd0) /dev/hda' >$R/boot/grub/device.map",
        "device-map-stale",
    ).on(&LEGACY).survived("nothing reads it at boot"),
    fault(
        "inittab-empty",
        "inittab is empty",
        r": >$R/etc/inittab",
        "inittab-broken",
    ).on(&LEGACY),
    fault(
        "inittab-without-getty",
        "inittab starts no getty",
        r"sed -i /getty/d $R/etc/inittab",
        "inittab-broken",
    ).on(&LEGACY),
    fault(
        "inittab-runlevel",
        "inittab has runlevel 6 as the default",
        r"sed -i s/^id:.*/id:6:initdefault:/ $R/etc/inittab",
        "inittab-broken",
    ).on(&LEGACY),
    fault(
        "sysinit-scripts-missing",
        "the scripts rcS and rc, which inittab starts, are gone",
        r"rm $R/etc/init.d/rcS $R/etc/init.d/rc",
        "inittab-broken",
    ).on(&LEGACY).by_ssh().with_donor(),
    fault(
        "sysinit-links-missing",
        "/etc/rcS.d is gone",
        r"rm -r $R/etc/rcS.d",
        "inittab-broken",
    ).on(&LEGACY).by_ssh().with_donor().risky(),
    fault(
        "dracut-initramfs-missing",
        "the newest kernel's initramfs, built by dracut, is missing",
        r"rm $(ls $R/boot/initrd.img-* | sort -V | tail -n 1)",
        "initramfs-missing",
    ).on(&DRACUT),
    fault(
        "dracut-without-drivers",
        "every initramfs built by dracut without virtio_blk",
        r#"echo 'omit_drivers+=" virtio_blk "' >$R/etc/dracut.conf.d/omit.conf
unshare -m sh -ec 'mount --bind /dev '$R'/dev; mount -t proc proc '$R'/proc; mount -t sysfs sys '$R'/sys; for k in $(ls '$R'/lib/modules); do chroot '$R' dracut --force --quiet /boot/initrd.img-$k $k; done'"#,
        "initramfs-lacks-drivers",
    ).on(&DRACUT).risky(),
    fault(
        "trixie-lib64-missing",
        "the link /lib64 of Debian 13 is gone",
        r"rm $R/lib64",
        "top-level-missing",
    ).on(&TRIXIE),
    fault(
        "trixie-pam-refuses-root",
        "pam_succeed_if.so user != root in login of Debian 13",
        r"sed -i '1i auth required pam_succeed_if.so user != root' $R/etc/pam.d/login",
        "pam-refuses-root",
    ).on(&TRIXIE).risky(),
    fault(
        "trixie-pam-unix-missing",
        "pam_unix.so of Debian 13 is gone",
        r"rm $R/usr/lib/x86_64-linux-gnu/security/pam_unix.so",
        "pam-module-broken",
    ).on(&TRIXIE).with_donor(),
    fault(
        "trixie-pam-library-missing",
        "the library behind libcrypt.so.1 is gone, which pam_unix.so and sshd need, but init of Debian 13 does not",
        r"rm $R/usr/lib/x86_64-linux-gnu/libcrypt.so.1.1.0",
        "login-program-broken",
    ).on(&TRIXIE).with_donor(),
    fault(
        "trixie-sshd-allow-users",
        "AllowUsers with another user on Debian 13, who is no administrator",
        r"echo AllowUsers alice >>$R/etc/ssh/sshd_config; sed -i 's/^alice:/&!/' $R/etc/shadow",
        "sshd-refuses-root",
    ).on(&TRIXIE).by_ssh().risky(),
    fault(
        "trixie-sshd-session-missing",
        "sshd-session of Debian 13 is gone",
        r"rm $R/usr/lib/openssh/sshd-session",
        "login-program-broken",
    ).on(&TRIXIE).by_ssh().with_donor(),
    fault(
        "trixie-grub-cfg-empty",
        "grub.cfg of Debian 13 is empty",
        r": >$R/boot/grub/grub.cfg",
        "grub-config-missing",
    ).on(&TRIXIE),
];
