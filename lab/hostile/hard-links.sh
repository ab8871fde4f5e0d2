# what: a file with a second name, as a backup has it, keeps its content under that name
# short
R=$D/root; tree "$R"; echo 'see ticket 12' >>"$R/etc/fstab"; mkdir "$D/helper/backup"; ln "$R/etc/fstab" "$D/backup"
keep "$D/backup"; cp -a "$R" "$D/before"
run fix --yes "$R"; same "$D/backup"
run undo --yes "$R"; same "$D/backup"; diff -r "$R" "$D/before" || fail "undo left something"
