# what: files that cannot be changed: the repair that fails blocks no other, and undo goes on
# short
need chattr
truncate -s 32M "$D/fs"; mkfs.ext4 -q -F "$D/fs"; loop "$D/fs"; mkdir "$D/S"; mount "$loop" "$D/S"; let_go
R=$D/S/root; tree "$R"; printf 'root:x:0:0:root:/root:/bin/sh\r\n' >"$R/etc/passwd"; chattr +i "$R/etc/passwd"; chmod 777 "$R/etc"; echo 'see ticket 12' >>"$R/etc/fstab"
cp -a "$R" "$D/before"
run fix --yes "$R"; says 'repaired: '
[ "$(stat -c %a "$R/etc")" = 755 ] || fail "the other repair was not made"
chattr +i "$R/etc/fstab"; chmod 777 "$R/usr/bin"
run fix --yes "$R"; [ "$(stat -c %a "$R/usr/bin")" = 755 ] || fail "a later repair was blocked"
run undo --yes "$R"; [ "$(stat -c %a "$R/etc")" = 777 ] || fail "what can be taken back was not"
chattr -i "$R/etc/fstab" "$R/etc/passwd" 2>/dev/null || true
run undo --yes "$R"
diff -r "$R" "$D/before" >"$D/said" || fail "undo left something"
leave "$D/S"
