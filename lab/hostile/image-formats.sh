# what: images whose headers lead to other files: backing and data files, extents, loops, chains, protocols
# short
need qemu-img
outside=$D/helper/disk.raw; image "$outside"; size=$(stat -c %s "$outside")
qemu-img create -q -f qcow2 -b "$outside" -F raw "$D/backing.qcow2"
qemu-img create -q -f qcow2 -o data_file="$outside",data_file_raw=on "$D/data.qcow2" "$size" || true
image "$outside"
for link in "$outside" ../"$(basename "$D")/helper/disk.raw"; do
    printf '# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType="monolithicFlat"\nRW %s FLAT "%s" 0\nddb.virtualHWVersion = "4"\nddb.geometry.cylinders = "3048"\nddb.geometry.heads = "16"\nddb.geometry.sectors = "63"\nddb.adapterType = "ide"\n' "$((size / 512))" "$link" >"$D/extent-${#link}.vmdk"
done
# Its own backing file; two that lead to each other; a long chain; what is no file.
qemu-img create -q -f qcow2 "$D/self.qcow2" 1G; qemu-img rebase -u -f qcow2 -b "$D/self.qcow2" -F qcow2 "$D/self.qcow2"
qemu-img create -q -f qcow2 "$D/one.qcow2" 1G; qemu-img create -q -f qcow2 -b "$D/one.qcow2" -F qcow2 "$D/two.qcow2"; qemu-img rebase -u -f qcow2 -b "$D/two.qcow2" -F qcow2 "$D/one.qcow2"
cp "$D/self.qcow2" "$D/c0.qcow2"; qemu-img create -q -f qcow2 "$D/c0.qcow2" 1G
for n in $(seq 1 40); do qemu-img create -q -u -f qcow2 -b "$D/c$((n - 1)).qcow2" -F qcow2 "$D/c$n.qcow2" 1G; done
qemu-img create -q -u -f qcow2 -b 'json:{"driver":"raw","file":{"driver":"file","filename":"'"$outside"'"}}' -F raw "$D/json.qcow2" 1G
qemu-img create -q -u -f qcow2 -b 'nbd://127.0.0.1:1/x' -F raw "$D/nbd.qcow2" 1G
qemu-img create -q -u -f qcow2 -b "fat:$D/helper" -F raw "$D/fat.qcow2" 1G
printf 'QFI\373\0\0\0\3' >"$D/cut.qcow2"
head -c 4096 "$D/backing.qcow2" >"$D/short.qcow2"
{ printf 'QFI\373\0\0\0\3'; head -c 4000 /dev/zero | tr '\0' '\377'; } >"$D/mad.qcow2"
for file in backing data extent-${#outside} json nbd fat self one two c40 cut short mad extent-$(expr length ../"$(basename "$D")/helper/disk.raw"); do
    for kind in qcow2 vmdk; do
        [ -e "$D/$file.$kind" ] || continue
        run check "$D/$file.$kind"; status_is 2
        never_says 'Debian GNU/Linux'
        run fix --yes --risky "$D/$file.$kind"; status_is 2
        run undo --yes "$D/$file.$kind"
        run -s 20 boot "$D/$file.$kind"; status_is 2
    done
done
# A raw disk whose first bytes say qcow2, as a guest could write them, leads nowhere either.
cp --sparse=always "$outside" "$D/raw.img"; head -c 512 "$D/backing.qcow2" | dd of="$D/raw.img" conv=notrunc status=none
run check "$D/raw.img"; never_says 'Debian GNU/Linux'
