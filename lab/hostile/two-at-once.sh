# what: two fix on one disk at the same time: one of them waits or is refused, and undo is to the byte
# short
image "$D/disk.img"; at_root "$D/disk.img" "$D/R"; echo 'see ticket 12' >>"$D/R/etc/fstab"; chmod 777 "$D/R/etc"; leave "$D/R"; keep "$D/disk.img"
cp --sparse=always "$D/disk.img" "$D/before.img"
"$SICKBAY" fix --yes "$D/disk.img" </dev/null >"$D/other" 2>&1 & other=$!
run fix --yes "$D/disk.img"
wait "$other" || true
run check "$D/disk.img"; never_says 'fstab-bad-line'
run undo --yes "$D/disk.img"
at_root "$D/disk.img" "$D/R" ro,noload; at_root "$D/before.img" "$D/B" ro,noload
diff <(cd "$D/R" && find . -xdev -printf '%p %y %m %U:%G %s %T@ %l\n' | sort) <(cd "$D/B" && find . -xdev -printf '%p %y %m %U:%G %s %T@ %l\n' | sort) >"$D/said" || fail "undo left something"
leave "$D/R"; leave "$D/B"
