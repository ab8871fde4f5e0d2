#!/bin/bash
# The inside of sos.sh: makes the faults, then the report.
set -eu
out=$1
mount --make-rprivate /
work=$(mktemp -d)
mount -t tmpfs none "$work"
mkdir "$work/upper" "$work/work"
mount -t overlay -o "lowerdir=/etc,upperdir=$work/upper,workdir=$work/work" none /etc

# What else is done with this machine is no part of the trial: only what its kernel says from now on.
mark="sickbay-trial-$$-$RANDOM"
echo "$mark" > /dev/kmsg
cp /usr/bin/dmesg "$work/dmesg"
printf '#!/bin/sh\n%s "$@" | sed "1,/%s/d"\n' "$work/dmesg" "$mark" > "$work/since"
chmod +x "$work/since"
mount --bind "$work/since" /usr/bin/dmesg

# 1. A line of fstab that no program understands.
printf 'UUID=0a1b2c3d-0000-4000-8000-000000000001 /data\n' >> /etc/fstab
# 2. More huge pages than there is memory.
echo 'vm.nr_hugepages = 10000000' > /etc/sysctl.d/90-huge.conf
# 3. A file system without room.
truncate -s 64M "$work/disk.img"
mkfs.ext4 -q -m 0 "$work/disk.img"
mount -o loop "$work/disk.img" /var/log
for size in 1M 4k 1; do
    dd if=/dev/zero of=/var/log/full bs=$size oflag=append conv=notrunc 2>/dev/null || true
done
# 4. A program that does not close what the other end has closed.
ip link set lo up
ulimit -n 8192
python3 - <<'P' &
import socket, time
server = socket.create_server(("127.0.0.1", 8080), backlog=2048)
kept = []
for _ in range(1200):
    client = socket.create_connection(("127.0.0.1", 8080))
    kept.append(server.accept()[0])
    client.close()
time.sleep(600)
P
leak=$!
# 5. A program that its control group has no memory for.
group=/sys/fs/cgroup/sickbay-trial-$$ limit=memory.max
if [ -d /sys/fs/cgroup/memory ]; then
    group=/sys/fs/cgroup/memory/sickbay-trial-$$ limit=memory.limit_in_bytes
fi
mkdir "$group"
echo 30M > "$group/$limit"
[ ! -e "$group/memory.swap.max" ] || echo 0 > "$group/memory.swap.max"
sh -c "echo 0 > $group/cgroup.procs; exec python3 -c 'x = bytearray(200 << 20)'" || true
sleep 2
sos report --batch --quiet --tmp-dir "$out" >/dev/null 2>&1
kill "$leak"
umount /var/log
rmdir "$group" 2>/dev/null || true
