#!/bin/sh
# Builds a disk that the lab breaks: Debian from the package sources of this machine, with a root file system, swap,
# an ext4 /data, two kernels (where the sources have two), sshd and a serial console. Root's password is `sickbay`.
#
#   lab/base.sh VARIANT NEW.img
#
#   base    Debian 12, GRUB in its own MBR, ext4          uefi    the signed GRUB and shim on an EFI system partition
#   xfs     xfs root, /boot an ext4 of its own            legacy  GRUB legacy, ext3, sysvinit, ifupdown
#   btrfs   btrfs root in the subvolume @                 dracut  an initramfs by dracut
#   lvm     the root is a logical volume                  trixie  Debian 13
#
#   networkd, ifupdown, netplan, network-manager
#           base, with a fixed address and a router in the files of that program, and once booted, so that its log names the card
#
#   full    base, with what servers usually run: packages.txt beside this script; trixie-full  the same of Debian 13
#
# The kernel is told no_timer_check: on a busy machine the clock of QEMU comes too late for that check, and it panics.
#
# Must be root. First the files are put onto the partitions, then the new system is booted once, by its kernel given to
# QEMU, and installs its own boot loader there: its kernel knows what this machine's may not (device mapper,
# vfat). Everything mounted or attached is gone afterwards, also when a step fails.
set -eu
variant=$1
case $2 in /*) image=$2 ;; *) image=$PWD/$2 ;; esac

# Mounts are our own and vanish with us; loop devices are remembered, and taken down.
if [ -z "${SICKBAY_LAB_PRIVATE:-}" ]; then
    SICKBAY_LAB_PRIVATE=1 exec unshare --mount --propagation private -- "$0" "$@"
fi
work=$(mktemp -d)
root=$work/root
mkdir "$root"
# shellcheck disable=SC2329 # called by the trap
leave() {
    umount -R "$root" 2>/dev/null || true
    for loop in $(cat "$work/loops" 2>/dev/null); do losetup -d "$loop" 2>/dev/null || true; done
    rm -r --one-file-system "$work"
}
trap leave EXIT
trap 'exit 1' INT TERM HUP
die() { echo "base.sh: $*" >&2; exit 1; }

# --- what the variants differ in ------------------------------------------------------------------------------------
suite=bookworm size=2400 type=ext4 options=defaults arguments="" extra="" packages=""
kernels='^linux-image-6\.1\.0-[0-9]+-cloud-amd64$'
system="systemd-sysv dbus libpam-systemd polkitd" initramfs="initramfs-tools zstd" loader=grub-pc more=""
install_loader="grub-install /dev/vda && update-grub"
case $variant in
base) ;;
xfs) type=xfs more=xfsprogs extra=boot ;;
btrfs) type=btrfs more=btrfs-progs options=defaults,subvol=@ arguments=rootflags=subvol=@ ;;
lvm) more=lvm2 ;;
uefi)
    loader="grub-efi-amd64 grub-efi-amd64-signed shim-signed" extra=esp
    # What Debian's installer is asked: whether the fallback path is written too.
    install_loader="grub-install --no-nvram --force-extra-removable /dev/vda && update-grub"
    ;;
legacy)
    type=ext3 loader=grub-legacy more="ifupdown isc-dhcp-client"
    system="sysvinit-core sysvinit-utils sysv-rc initscripts insserv rsyslog cron"
    # shellcheck disable=SC2016 # for the guest
    install_loader='mkdir -p /boot/grub && cp /usr/lib/grub/*-pc/* /boot/grub/ && echo "(hd0) /dev/vda" >/boot/grub/device.map &&
printf "root (hd0,0)\nsetup (hd0)\nquit\n" | grub --batch --no-floppy --device-map=/boot/grub/device.map && update-grub -y &&
sed -i -e "s/^# kopt=.*/& net.ifnames=0 no_timer_check console=tty0 console=ttyS0,115200/" -e "s/^timeout.*/timeout 1/" /boot/grub/menu.lst && update-grub'
    ;;
dracut) initramfs=dracut ;;
trixie | full | trixie-full | networkd) ;;
ifupdown) more=ifupdown ;;
netplan) more=netplan.io ;;
network-manager) more=network-manager ;;
*) die "there is no variant $variant" ;;
esac
case $variant in trixie*) suite=trixie kernels='^linux-image-6\.12\.[0-9]+\+deb13-cloud-amd64$' ;; esac
case $variant in *full) size=7600 packages=$(sed 's/#.*//' "$(dirname "$0")/packages.txt") ;; esac

# --- the disk -------------------------------------------------------------------------------------------------------
# Partition 1 holds the root, and 4 what has to be outside of it.
rm -f "$image"
truncate -s $((size + 600))M "$image"
{
    echo "label: dos"
    echo "start=1MiB, size=${size}MiB, type=$([ "$variant" = lvm ] && echo 8e || echo 83), bootable"
    echo "size=128MiB, type=82"
    echo "size=64MiB, type=83"
    echo "size=300MiB, type=$([ "$extra" = esp ] && echo ef || echo 83)"
} | sfdisk --quiet --no-tell-kernel "$image"
# A loop device on the partition of this number from $2 bytes on, in whole extents of LVM.
attach() {
    set -- "$1" "${2:-0}" "$(sfdisk --dump "$image" | sed -n 's/.*start= *\([0-9]*\), size= *\([0-9]*\),.*/\1 \2/p' | sed -n "$1p")"
    # Not the first that is free: to find it, every device there is is asked, and one that hangs holds up the rest.
    for number in $(seq 20 99); do
        loop=/dev/loop$number
        [ -e "$loop" ] || mknod "$loop" b 7 "$number" || true
        if losetup --offset $((${3% *} * 512 + $2)) --sizelimit $(((${3#* } * 512 - $2) / 4194304 * 4194304)) \
            "$loop" "$image" 2>/dev/null; then
            echo "$loop" >>"$work/loops"
            echo "$loop"
            return
        fi
    done
    return 1
}
shift_of_root=0
if [ "$variant" = lvm ]; then
    # No device mapper is needed to write what is on the disk; one linear segment begins behind the first MiB.
    loop=$(attach 1)
    lvm() {
        tool=$1
        shift
        LVM_SUPPRESS_FD_WARNINGS=1 "$tool" --quiet --driverloaded n \
            --config "devices { use_devicesfile=0 hints=\"none\" filter=[\"a|^$loop\$|\",\"r|.*|\"] } backup { backup=0 archive=0 } global { locking_dir=\"$work\" }" "$@" >/dev/null
    }
    lvm pvcreate --dataalignment 1m "$loop"
    lvm vgcreate lab "$loop"
    lvm lvcreate --activate n --zero n --wipesignatures n --extents 100%FREE --name root lab
    losetup -d "$loop"
    : >"$work/loops"
    shift_of_root=1048576
fi
first=$(attach 1 $shift_of_root)
case $type in
# Features that GRUB 2.06 cannot read stay off.
ext4) mkfs.ext4 -q -F -O ^metadata_csum_seed,^orphan_file -L root "$first" ;;
# As small in its inodes as GRUB legacy wants it.
ext3) mkfs.ext3 -q -F -I 128 -L root "$first" ;;
xfs) mkfs.xfs -q -f -L root "$first" ;;
btrfs)
    mkfs.btrfs -q -f -L root "$first"
    mount "$first" "$root"
    btrfs subvolume create "$root/@" >/dev/null
    umount "$root"
    ;;
esac
swap=$(attach 2) data=$(attach 3) fourth=$(attach 4)
mkswap "$swap" >/dev/null
mkfs.ext4 -q -F -O ^metadata_csum_seed,^orphan_file -L data "$data"
case $extra in
boot) mkfs.ext4 -q -F -O ^metadata_csum_seed,^orphan_file -L boot "$fourth" ;;
esp) mkfs.vfat -n ESP "$fourth" >/dev/null ;;
esac
uuid() { blkid -p -s UUID -o value "$1"; }
place=UUID=$(uuid "$first")
[ "$variant" != lvm ] || place=/dev/mapper/lab-root
mount -o "$options" "$first" "$root"
if [ "$extra" = boot ]; then
    mkdir "$root/boot"
    mount "$fourth" "$root/boot"
    rmdir "$root/boot/lost+found" # of it mmdebstrap thinks that the directory is not empty
fi

# --- the system -----------------------------------------------------------------------------------------------------
# The machine's own sources, with Debian's releases of whatever name turned into the one that is built.
# shellcheck disable=SC2016 # apt's variables
sources=$(apt-get indextargets --format '$(ORIGIN)|deb $(REPO_URI) $(RELEASE)|$(COMPONENT)' 'Created-By: Packages' |
    sed -n -E "s/^Debian\|(deb [^ ]+) [a-z]+([-a-z\/]*)\|main$/\1 $suite\2 main/p" | sort -u)
[ -n "$sources" ] || die "apt-get indextargets names no source of Debian"
export DEBIAN_FRONTEND=noninteractive

cat >"$work/before" <<HOOK
set -eu
mkdir -p "\$1/etc/default" "\$1/data"
cat >"\$1/etc/fstab" <<FSTAB
# <file system> <mount point> <type> <options> <dump> <pass>
$place / $type $([ "${type#ext}" = "$type" ] && echo $options 0 0 || echo errors=remount-ro 0 1)
UUID=$(uuid "$swap") none swap sw 0 0
# data of the applications
UUID=$(uuid "$data") /data ext4 defaults 0 2
FSTAB
case "$extra" in
boot) echo "UUID=$(uuid "$fourth") /boot ext4 defaults 0 2" >>"\$1/etc/fstab" ;;
esp) mkdir -p "\$1/boot/efi" && echo "UUID=$(uuid "$fourth") /boot/efi vfat umask=0077 0 1" >>"\$1/etc/fstab" ;;
esac
echo 'grub-pc grub-pc/install_devices_empty boolean true' | chroot "\$1" debconf-set-selections
HOOK
cat >"$work/after" <<HOOK
set -eu
# By this the initramfs learns what the root is, so that its fsck comes along.
mkdir -p "\$1/dev/disk/by-uuid" "\$1/dev/mapper"
cp -a "$first" "\$1/dev/vda1"
ln -s ../../vda1 "\$1/dev/disk/by-uuid/$(uuid "$first")"
ln -s ../vda1 "\$1/dev/mapper/lab-root"
kernels=\$(chroot "\$1" apt-cache pkgnames linux-image- | grep -E '$kernels' | sort -V | tail -n 2)
[ -n "\$kernels" ]
# The boot loader's package last: that of GRUB legacy fails a kernel for which it is not set up yet.
chroot "\$1" apt-get install --yes --quiet --no-install-recommends \$kernels
chroot "\$1" apt-get install --yes --quiet --no-install-recommends $loader
HOOK
included="$system $initramfs $more udev libpam-runtime login passwd util-linux mount e2fsprogs openssh-server
    iproute2 netbase procps kmod sudo less vim-tiny ncurses-term $packages"
# shellcheck disable=SC2086 # a list of packages
mmdebstrap --quiet --mode=root --variant=minbase --format=directory --skip=check/empty \
    --include="$(echo $included | tr ' ' ',')" \
    --essential-hook="sh $work/before \"\$1\"" --customize-hook="sh $work/after \"\$1\"" \
    $suite "$root" - <<SOURCES
$sources
SOURCES

cd "$root"
rm -r dev/vda1 dev/disk dev/mapper
echo lab >etc/hostname
printf '127.0.0.1 localhost\n127.0.1.1 lab\n::1 localhost ip6-localhost ip6-loopback\n' >etc/hosts
sed -i 's/^#*PermitRootLogin .*/PermitRootLogin yes/' etc/ssh/sshd_config
if [ "$variant" = legacy ]; then
    printf 'auto lo\niface lo inet loopback\nauto eth0\niface eth0 inet dhcp\n' >etc/network/interfaces
    echo 'T0:23:respawn:/sbin/getty -L ttyS0 115200 vt100' >>etc/inittab
    mkdir -p boot/grub
else
    printf '[Match]\nName=en* eth*\n\n[Network]\nDHCP=yes\n' >etc/systemd/network/80-dhcp.network
    enabled=systemd-networkd.service
    case $variant in networkd | ifupdown | netplan | network-manager) rm etc/systemd/network/80-dhcp.network ;; esac
    case $variant in
    networkd)
        printf '[Match]\nName=ens3\n\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\n' >etc/systemd/network/10-lan.network
        ;;
    ifupdown)
        printf 'auto lo\niface lo inet loopback\n\nauto ens3\niface ens3 inet static\n    address 10.0.2.15/24\n    gateway 10.0.2.2\n' >etc/network/interfaces
        enabled=networking.service
        ;;
    netplan)
        cat >etc/netplan/50-cloud-init.yaml <<YAML
network:
  version: 2
  renderer: networkd
  ethernets:
    ens3:
      addresses:
        - 10.0.2.15/24
      routes:
        - to: default
          via: 10.0.2.2
YAML
        chmod 600 etc/netplan/50-cloud-init.yaml
        ;;
    network-manager)
        cat >etc/NetworkManager/system-connections/lan.nmconnection <<KEYFILE
[connection]
id=lan
uuid=0b7d9b5c-6a0e-4d5f-9b61-0a0d3a6f2c11
type=ethernet
interface-name=ens3

[ipv4]
method=manual
address1=10.0.2.15/24,10.0.2.2

[ipv6]
method=ignore
KEYFILE
        chmod 600 etc/NetworkManager/system-connections/lan.nmconnection
        enabled=NetworkManager.service
        ;;
    esac
    sed -i -e 's/^GRUB_TIMEOUT=.*/GRUB_TIMEOUT=1/' -e 's/^GRUB_CMDLINE_LINUX_DEFAULT=.*/GRUB_CMDLINE_LINUX_DEFAULT=""/' \
        -e 's/^GRUB_CMDLINE_LINUX=.*/GRUB_CMDLINE_LINUX="no_timer_check console=tty0 console=ttyS0,115200"/' etc/default/grub
    printf 'GRUB_TERMINAL="console serial"\nGRUB_SERIAL_COMMAND="serial --speed=115200"\n' >>etc/default/grub
    # What would run some day and change files while nobody looks.
    chroot . systemctl --quiet enable "$enabled" ssh.service
    chroot . systemctl --quiet disable systemd-networkd-wait-online.service apt-daily.timer apt-daily-upgrade.timer
fi
chroot . useradd --create-home --shell /bin/bash alice
printf 'root:sickbay\nalice:sickbay\n' | chroot . chpasswd --crypt-method YESCRYPT

# --- the boot loader, by the system itself --------------------------------------------------------------------------
cat >finish <<FINISH
#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
finish() {
    set -e
    mountpoint -q /proc || mount -t proc proc /proc
    mountpoint -q /sys || mount -t sysfs sys /sys
    mount -a
    $install_loader
    touch /finished
}
(finish) 2>&1
umount -a -t ext4,vfat
mount -o remount,ro /
# In memory before the disk is taken away.
sleep 60 &
echo o >/proc/sysrq-trigger
wait
FINISH
chmod +x finish
# A kernel of the new system, for this once.
kernel=$(ls boot/vmlinuz-* | sort -V | tail -n 1)
initrd=$(ls boot/initrd.img-* | sort -V | tail -n 1)
cp "$kernel" "$work/kernel"
cp "$initrd" "$work/initrd"
cd /
umount -R "$root"
for loop in $(cat "$work/loops"); do losetup -d "$loop"; done
: >"$work/loops"

set -- -accel tcg -smp 1 -m 1024 -display none -serial stdio -no-reboot -nic none
[ "$extra" != esp ] || set -- "$@" -bios /usr/share/ovmf/OVMF.fd
timeout 1800 qemu-system-x86_64 "$@" -drive "file=$image,format=raw,if=virtio" -kernel "$work/kernel" -initrd "$work/initrd" \
    -append "root=$place $arguments rw init=/finish no_timer_check console=ttyS0 quiet panic=-1" </dev/null >"$work/console" 2>&1 || true
# Mounted once more, so that no journal is left to be replayed.
first=$(attach 1 $shift_of_root)
mount -o "$options" "$first" "$root"
rm "$root/finished" || { tail -n 60 "$work/console" >&2; die "the system did not finish itself"; }
rm "$root/finish"
umount "$root"
[ "${type#ext}" = "$type" ] || e2fsck -p -f "$first" >/dev/null || [ $? = 1 ]
