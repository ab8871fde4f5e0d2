#!/bin/sh
# Builds the disk that the lab breaks: Debian 12 from the package sources of this machine, with GRUB on its own MBR,
# an ext4 root, swap, an ext4 /data, two kernels, sshd and a serial console. Root's password is `sickbay`.
#
#   lab/base.sh NEW.img
#
# Must be root. Everything mounted or attached is gone afterwards, also when a step fails.
set -eu
image=$1
packages="systemd-sysv udev dbus libpam-systemd libpam-runtime login passwd util-linux mount e2fsprogs openssh-server
    iproute2 netbase grub-pc initramfs-tools zstd procps kmod polkitd sudo less vim-tiny ncurses-term"

# Mounts are our own and vanish with us; the loop device has to be taken down by hand.
if [ -z "${SICKBAY_LAB_PRIVATE:-}" ]; then
    SICKBAY_LAB_PRIVATE=1 exec unshare --mount --propagation private -- "$0" "$@"
fi
loop=""
root=$(mktemp -d)
# shellcheck disable=SC2329 # called by the trap
leave() {
    umount -R "$root" 2>/dev/null || true
    rmdir "$root" 2>/dev/null || true
    if [ -n "$loop" ]; then
        partx -d "$loop" 2>/dev/null || true
        losetup -d "$loop" 2>/dev/null || true
    fi
}
trap leave EXIT
trap 'exit 1' INT TERM HUP

# --- the disk -------------------------------------------------------------------------------------------------------
rm -f "$image"
truncate -s 3G "$image"
sfdisk --quiet "$image" <<PARTITIONS
label: dos
start=1MiB, size=2400MiB, type=83, bootable
start=2401MiB, size=128MiB, type=82
start=2529MiB, type=83
PARTITIONS

# Debian's 10_linux leaves /dev/loop0 to /dev/loop9 out and then writes an empty menu, so a number from 20 up.
# grub-install wants a disk whose partitions the kernel knows: `partx -a`, since not every kernel reads tables itself.
for number in $(seq 20 99); do
    node=/dev/loop$number
    [ -e "$node" ] || mknod "$node" b 7 "$number"
    if losetup "$node" "$image" 2>/dev/null; then loop=$node; break; fi
done
[ -n "$loop" ] || { echo "base.sh: no free loop device" >&2; exit 1; }
name=${loop#/dev/}
partx -a "$loop" 2>/dev/null || true
for part in 1 2 3; do
    numbers=$(cat "/sys/block/$name/${name}p$part/dev")
    [ -e "${loop}p$part" ] || mknod "${loop}p$part" b "${numbers%:*}" "${numbers#*:}"
done

# Features that GRUB 2.06 cannot read stay off.
mkfs.ext4 -q -F -O ^metadata_csum_seed,^orphan_file -L root "${loop}p1"
mkswap -q "${loop}p2" 2>/dev/null || mkswap "${loop}p2" >/dev/null
mkfs.ext4 -q -F -O ^metadata_csum_seed,^orphan_file -L data "${loop}p3"
uuid() { blkid -p -s UUID -o value "${loop}p$1"; }
root_uuid=$(uuid 1) swap_uuid=$(uuid 2) data_uuid=$(uuid 3)

mount "${loop}p1" "$root"

# --- the system -----------------------------------------------------------------------------------------------------
# The machine's own sources, with Debian's releases of whatever name turned into bookworm's.
sources=$(apt-get indextargets --format '$(ORIGIN)|deb $(REPO_URI) $(RELEASE)|$(COMPONENT)' 'Created-By: Packages' |
    sed -n -E 's/^Debian\|(deb [^ ]+) [a-z]+([-a-z/]*)\|main$/\1 bookworm\2 main/p' | sort -u)
[ -n "$sources" ] || { echo "base.sh: apt-get indextargets names no source of Debian" >&2; exit 1; }
export DEBIAN_FRONTEND=noninteractive

hooks=$root.hooks
mkdir "$hooks"
cat >"$hooks/before" <<HOOK
set -eu
mkdir -p "\$1/etc/default"
cat >"\$1/etc/fstab" <<FSTAB
# <file system> <mount point> <type> <options> <dump> <pass>
UUID=$root_uuid / ext4 errors=remount-ro 0 1
UUID=$swap_uuid none swap sw 0 0
# data of the applications
UUID=$data_uuid /data ext4 defaults 0 2
FSTAB
mkdir -p "\$1/data"
echo 'grub-pc grub-pc/install_devices_empty boolean true' | chroot "\$1" debconf-set-selections
HOOK
cat >"$hooks/after" <<'HOOK'
set -eu
kernels=$(chroot "$1" apt-cache pkgnames linux-image-6.1.0- | grep -E '^linux-image-6\.1\.0-[0-9]+-cloud-amd64$' |
    sort -V | tail -n 2)
[ "$(echo "$kernels" | wc -l)" = 2 ]
# shellcheck disable=SC2086 # a list
chroot "$1" apt-get install --yes --quiet --no-install-recommends $kernels
HOOK
mmdebstrap --quiet --mode=root --variant=minbase --format=directory \
    --include="$(echo $packages | tr ' ' ',')" \
    --essential-hook="sh $hooks/before \"\$1\"" --customize-hook="sh $hooks/after \"\$1\"" \
    bookworm "$root" - <<SOURCES
$sources
SOURCES
rm -r "$hooks"

cd "$root"
echo lab >etc/hostname
printf '127.0.0.1 localhost\n127.0.1.1 lab\n::1 localhost ip6-localhost ip6-loopback\n' >etc/hosts
printf '[Match]\nName=en* eth*\n\n[Network]\nDHCP=yes\n' >etc/systemd/network/80-dhcp.network
sed -i 's/^#*PermitRootLogin .*/PermitRootLogin yes/' etc/ssh/sshd_config
sed -i -e 's/^GRUB_TIMEOUT=.*/GRUB_TIMEOUT=1/' -e 's/^GRUB_CMDLINE_LINUX_DEFAULT=.*/GRUB_CMDLINE_LINUX_DEFAULT=""/' \
    -e 's/^GRUB_CMDLINE_LINUX=.*/GRUB_CMDLINE_LINUX="console=tty0 console=ttyS0,115200"/' etc/default/grub
printf 'GRUB_TERMINAL="console serial"\nGRUB_SERIAL_COMMAND="serial --speed=115200"\n' >>etc/default/grub
chroot . useradd --create-home --shell /bin/bash alice
printf 'root:sickbay\nalice:sickbay\n' | chroot . chpasswd
# What would run some day and change files while nobody looks.
chroot . systemctl --quiet enable systemd-networkd.service ssh.service
chroot . systemctl --quiet disable systemd-networkd-wait-online.service apt-daily.timer apt-daily-upgrade.timer

# --- initramfs and boot loader --------------------------------------------------------------------------------------
# A /dev of its own with by-uuid links: without them root= becomes a device name and fsck stays out of the initramfs.
mount -t tmpfs -o mode=755 dev dev
for node in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0; do
    IFS=: read -r node major minor <<NODE
$node
NODE
    mknod -m 666 "dev/$node" c "$major" "$minor"
done
ln -s /proc/self/fd dev/fd
mkdir -p dev/disk/by-uuid
for part in "" p1 p2 p3; do cp -a "$loop$part" "dev/$name$part"; done
ln -s "../../${name}p1" "dev/disk/by-uuid/$root_uuid"
ln -s "../../${name}p2" "dev/disk/by-uuid/$swap_uuid"
ln -s "../../${name}p3" "dev/disk/by-uuid/$data_uuid"
mount -t proc proc proc
mount -t sysfs sys sys
chroot . update-initramfs -u -k all >/dev/null
chroot . grub-install --target=i386-pc "$loop"
chroot . update-grub
# update-grub exits with 0 also when it found nothing.
entries=$(grep -c "^[[:space:]]*linux.*root=UUID=$root_uuid" boot/grub/grub.cfg)
[ "$entries" -ge 3 ] || { echo "base.sh: grub.cfg has $entries entries that name the root" >&2; exit 1; }
umount sys proc dev
cd /
umount "$root"
e2fsck -p -f "${loop}p1" >/dev/null
