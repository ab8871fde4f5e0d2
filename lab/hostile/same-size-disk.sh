# what: a repair of one disk was cut off, and another disk of the same size is looked at
image "$D/ill.img"; image "$D/well.img"
read -r start _ < <(sfdisk --json "$D/ill.img" | tr -d ' \n' | sed 's/.*"partitions":\[{[^}]*"start":\([0-9]*\).*/\1/' && echo)
# The inode table of the root is damaged: the checker works on a view, and a record is kept.
loop "$D/ill.img" "$((start * 512))"; e2label "$loop" ill; tune2fs -U random "$loop" >/dev/null; debugfs -w -R 'clri /etc/hostname' "$loop" 2>/dev/null; let_go
loop "$D/ill.img"; ill=$loop; loop "$D/well.img"; well=$loop
run fix --yes --fsck "$ill"; says 'repaired: '
rm -f /var/lib/sickbay-disks/*/0001/done /var/lib/sickbay-disks/*/journal/0001/done 2>/dev/null || true
keep "$D/well.img"
for verb in "undo --list" "check"; do run -s 20 $verb "$well"; same "$D/well.img"; done
run -a 'n\nq\nq\n' fix "$well"; same "$D/well.img"
run undo --yes "$well"; same "$D/well.img"
run undo --yes --force "$well"; same "$D/well.img"
run undo --yes "$ill"
