# what: a disk that cannot be read in places: what is there is not missing
need dmsetup
lab_image "$D/disk.img"; loop "$D/disk.img"; disk=$loop; sectors=$(blockdev --getsz "$disk")
name=sickbay-hostile-$$
trap 'umount "$D/R" 2>/dev/null || true; dmsetup remove -f "$name" 2>/dev/null || true; finish' EXIT
read -r start size < <(sfdisk --json "$D/disk.img" | tr -d ' \n' | sed 's/.*"partitions":\[{\([^}]*\)}.*/\1/; s/.*"start":\([0-9]*\).*"size":\([0-9]*\).*/\1 \2/' && echo)
# A tenth of the root cannot be read.
for tenth in 3 6 9; do
    bad=$((start + size / 10 * tenth)); length=$((size / 20))
    printf '0 %s linear %s 0\n%s %s error\n%s %s linear %s %s\n' "$bad" "$disk" "$bad" "$length" "$((bad + length))" "$((sectors - bad - length))" "$disk" "$((bad + length))" | dmsetup create "$name" || fail "no device mapper"
    run -s 60 check "/dev/mapper/$name"; status_is 1 2
    never_says 'is missing: the package'
    dmsetup remove "$name"
done
