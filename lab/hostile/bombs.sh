# what: a few hundred KiB that unpack to many GiB: logs, an initramfs, packages
bomb() { head -c "$1" /dev/zero; }
bomb 4G | xz -0 -T2 >"$D/kern.log.1.xz"; bomb 4G | zstd -q -1 >"$D/kern.log.2.zst"; bomb 4G | gzip -1 >"$D/kern.log.3.gz"
for log in "$D"/kern.log.*; do run -s 60 check "$log"; status_is 2; never_says 'unpack it first'; done
R=$D/root; tree "$R"; mkdir -p "$R/lib/modules/6.1.0-1-amd64" "$R/var/cache/apt/archives" "$R/var/log"
cp "$D/kern.log.1.xz" "$R/boot/initrd.img-6.1.0-1-amd64"; : >"$R/boot/vmlinuz-6.1.0-1-amd64"
cp "$D"/kern.log.* "$R/var/log/"
mkdir "$D/deb"; cp "$D/kern.log.1.xz" "$D/deb/data.tar.xz"; cp "$D/kern.log.1.xz" "$D/deb/control.tar.xz"; echo 2.0 >"$D/deb/debian-binary"
(cd "$D/deb" && ar rc "$R/var/cache/apt/archives/libc6_2.36-9_amd64.deb" debian-binary control.tar.xz data.tar.xz)
run -s 30 check "$R"; run fix --yes --risky "$R"
