# what: the file system of the target has hardly a block left: every amount of room, from none on
# short
need mkfs.ext4
tree "$D/tree"; echo 'see ticket 12' >>"$D/tree/etc/fstab"; chmod 777 "$D/tree/etc" "$D/tree/usr/bin"; printf 'root:x:0:0:root:/root:/bin/sh\r\n' >"$D/tree/etc/passwd"
for room in 0 1 2 3 4 6 8 12 16 24 40 80 200; do
    rm -f "$D/small.img"; truncate -s 16M "$D/small.img"; mkfs.ext4 -q -F -b 1024 -m 0 -O ^has_journal "$D/small.img"
    loop "$D/small.img"; mkdir -p "$D/S"; mount "$loop" "$D/S"; let_go
    cp -a "$D/tree/." "$D/S/"
    free=$(($(stat -f -c %f "$D/S") - room)); head -c "$((free * 1024))" /dev/urandom >"$D/S/home/big" 2>/dev/null || true; sync -f "$D/S"
    listing() { find "$D/S" -xdev ! -path "$D/S/var/lib/sickbay*" -printf '%p %y %m %U:%G %s %T@ %l\n' | sort; find "$D/S" -xdev -type f ! -path '*/big' ! -path "$D/S/var/lib/sickbay*" -exec sha256sum {} + | sort; }
    listing >"$D/S.before"
    run fix --yes --risky "$D/S"
    run undo --yes "$D/S"
    listing >"$D/S.after"
    cmp -s "$D/S.before" "$D/S.after" || fail "with $room KiB of room: $(diff "$D/S.before" "$D/S.after" | head -n 6)"
    leave "$D/S"
done
