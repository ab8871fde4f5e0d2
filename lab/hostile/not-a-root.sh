# what: directories that hold no system: nothing is found wrong with them, and nothing is made there
# short
mkdir -p "$D/empty" "$D/photos/2026" "$D/home/alice/.ssh" "$D/sos/sos_commands/kernel" "$D/sos/etc" "$D/sos/proc"
head -c 5000 /dev/urandom >"$D/photos/2026/one.jpg"; echo 'ssh-ed25519 AAAA x' >"$D/home/alice/.ssh/authorized_keys"
echo 'ID=rhel' >"$D/sos/etc/os-release"; echo 'UUID=1 / xfs defaults 0 0' >"$D/sos/etc/fstab"; : >"$D/sos/sos_commands/kernel/dmesg"; echo 'MemTotal: 1 kB' >"$D/sos/proc/meminfo"; echo 'up' >"$D/sos/uptime"
for dir in empty photos home sos; do
    find "$D/$dir" -printf '%p %m %s %T@\n' | sort >"$D/tree.before"
    for verb in "check" "fix --yes --risky" "undo --yes"; do run $verb "$D/$dir"; status_is 2; never_says 'critical['; never_says 'error['; done
    find "$D/$dir" -printf '%p %m %s %T@\n' | sort | cmp -s - "$D/tree.before" || fail "something was made in $dir"
done
for dir in /proc /sys /dev; do run check "$dir"; status_is 2; never_says 'critical['; done
mkdir "$D/copy"; cp -a /etc/passwd /etc/fstab "$D/copy/"; run check "$D/copy"; status_is 2
