# what: no, and an interrupt at the question, leave every byte of the disk
# short
image "$D/disk.img"; at_root "$D/disk.img" "$D/R"; echo 'see ticket 12' >>"$D/R/etc/fstab"; chmod 777 "$D/R/etc"; leave "$D/R"; keep "$D/disk.img"
for answer in 'n\nq\n' '\003' '\004' 'nonsense\nq\n' 'q\n' '?\n\nq\n'; do run -a "$answer" fix "$D/disk.img" || true; same "$D/disk.img"; done
run -s 20 check "$D/disk.img"; same "$D/disk.img"
run -s 20 undo --list "$D/disk.img"; same "$D/disk.img"
run -s 20 fix --dry-run "$D/disk.img"; same "$D/disk.img"
