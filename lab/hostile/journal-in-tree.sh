# what: a directory brings a journal with an entry that was cut off: bytes of a disk, a device node, a file through a mount
# short
# On a file system of its own, as a rescuer has it: the disk below it is a loop device.
truncate -s 128M "$D/disk"; mkfs.ext4 -q -F "$D/disk"; loop "$D/disk"; disk=$loop
mkdir "$D/play"; mount "$disk" "$D/play"
R=$D/play/root; tree "$R"
for below in "$R" "$D/play"; do
    [ "$below" = "$R" ] || { rm -rf "$R/var/lib/sickbay"; cp -a "$R/." "$D/play/"; }
    mkdir -p "$below/dev"; mount --bind "$D/helper" "$below/dev"
    entry=$below/var/lib/sickbay/0001; mkdir -p "$entry"
    printf OVERWRITTEN >"$entry/b0"; printf x >"$entry/b1"
    cat >"$entry/entry.json" <<'J'
{"version":1,"tool":"0.1.0","when":"2026\u001b]0;x\u0007","check":"\u001b[2J","title":"\u001b[31mharmless \u009b31m \u202e","donor":null,"parents":[],
"ops":[{"disk":{"disk":0,"offset":0,"before":"b0","after":"b1"}},{"path":{"path":"/dev/secret","before":"absent","after":"absent"}}]}
J
    head -c 1024 "$disk" | sha256sum >"$D/head"
    for verb in "check" "undo --list" "undo --list --format json" "fix --yes" "fix --yes --risky" "undo --yes" "undo --yes --force"; do
        run $verb "$below"
        head -c 1024 "$disk" | sha256sum | cmp -s - "$D/head" || fail "sickbay $verb wrote to the disk"
    done
    run -a 'n\nq\nq\n' fix "$below"
    head -c 1024 "$disk" | sha256sum | cmp -s - "$D/head" || fail "fix wrote to the disk before the answer"
    leave "$below/dev"
done
leave "$D/play"
