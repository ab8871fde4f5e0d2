# what: IMAGE.sickbay is a link to a directory of the helper, or was made by somebody else
# short
image "$D/disk.img"; keep "$D/disk.img"
mkdir -p "$D/helper/journal"/{0001,0002,12}
ln -s "$D/helper" "$D/disk.img.sickbay"
for verb in "undo --list" "undo --yes" "check"; do run -s 20 $verb "$D/disk.img"; same "$D/disk.img"; done
run -a 'n\nq\nq\n' fix "$D/disk.img"; same "$D/disk.img"
rm "$D/disk.img.sickbay"; mkdir -p "$D/disk.img.sickbay/journal/0001"
printf 'OVERWRITTEN' >"$D/disk.img.sickbay/journal/0001/b0"; printf 'x' >"$D/disk.img.sickbay/journal/0001/b1"
printf '{"version":1,"tool":"0.1.0","when":"2026-01-01T00:00:00Z","check":"x","title":"x","donor":null,"parents":[],"ops":[],"pieces":[[0,11]]}' >"$D/disk.img.sickbay/journal/0001/entry.json"
for owner in 0 1000; do
    chown -R "$owner" "$D/disk.img.sickbay"
    run -s 20 undo --list "$D/disk.img"; same "$D/disk.img"
    run -a 'n\nq\nq\n' fix "$D/disk.img"; same "$D/disk.img"
    run -s 20 undo --yes "$D/disk.img"; same "$D/disk.img"
    run fix --yes "$D/disk.img"; head -c 11 "$D/disk.img" | grep -qv OVERWRITTEN || fail "the disk was written over"
done
