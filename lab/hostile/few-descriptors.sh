# what: a healthy system is looked at with hardly any descriptors: nothing may be missed for missing
# short
need prlimit
lab_image "$D/disk.img"; at_root "$D/disk.img" "$D/R"
run check "$D/R"; cp "$D/said" "$D/enough"
for n in 6 8 10 12 16 20 24 32 48 64; do
    run -p "prlimit --nofile=$n:$n" check "$D/R"
    never_says 'critical['; never_says 'error['
done
leave "$D/R"
