# what: a disk that cannot be read in places: what is there is not missing
need qemu-storage-daemon; need debugfs
lab_image "$D/disk.img"
start=$(sfdisk --json "$D/disk.img" | tr -d ' \n' | sed 's/.*"partitions":\[{[^}]*"start":\([0-9]*\).*/\1/')
trap 'broken_end; finish' EXIT
daemon=
broken_end() { [ -z "$daemon" ] || { kill "$daemon" 2>/dev/null || true; wait "$daemon" 2>/dev/null || true; }; daemon=; }
# Blocks of the file PATH, at most so many, as sectors of the disk; its inode's too, if it is a directory.
sectors() {
    local block
    for block in $(debugfs -R "blocks $1" "$D/disk.img?offset=$((start * 512))" 2>/dev/null | tr ' ' '\n' | head -n "$2"); do
        seq "$((start + block * 8))" "$((start + block * 8 + 7))"
    done
}
# The disk, as a file in which reads of these sectors fail. By a daemon's FUSE export: not every kernel has a device mapper.
broken() {
    local rules; rules=$(printf '{"event":"none","iotype":"read","errno":5,"sector":%s},' $1)
    : >"$D/broken.img"
    (cd "$D" && exec qemu-storage-daemon --blockdev driver=file,node-name=file,filename=disk.img,read-only=on \
        --blockdev "{\"driver\":\"blkdebug\",\"node-name\":\"bad\",\"image\":\"file\",\"inject-error\":[${rules%,}]}" \
        --export type=fuse,id=out,node-name=bad,mountpoint=broken.img,writable=off) >"$D/daemon.log" 2>&1 &
    daemon=$!
    for _ in $(seq 100); do [ ! -s "$D/broken.img" ] || return 0; sleep 0.1; done
    fail "no export: $(cat "$D/daemon.log")"
}
for path in / /etc/fstab /etc/shadow /etc/pam.d /usr/sbin/sshd /var/lib/dpkg/status /usr/lib/systemd /boot; do
    bad=$(sectors "$path" 40); [ -n "$bad" ] || fail "$path has no blocks"
    broken "$bad"
    if dd if="$D/broken.img" of=/dev/null bs=512 skip="${bad%%$'\n'*}" count=1 2>/dev/null; then fail "$path can be read"; fi
    run -s 60 check "$D/broken.img"; status_is 1 2
    says 'critical[disk-unreadable]'; never_says "$path is missing"; never_says 'does not exist'; never_says 'let e2fsck repair'
    broken_end
done
