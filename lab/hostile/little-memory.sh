# what: little address space, a memory cgroup of 64 MiB, and configurations that are nested without end
# short
lab_image "$D/disk.img"; at_root "$D/disk.img" "$D/R"
run -p "prlimit --as=400000000" check "$D/R"; never_says 'critical['; never_says 'error['
run -p "prlimit --data=33554432" check "$D/R"; never_says 'critical['; never_says 'error['
run -p "prlimit --stack=262144" check "$D/R"; never_says 'critical['
group=/sys/fs/cgroup/sickbay-hostile-$$
if mkdir "$group" 2>/dev/null; then
    if echo 64M >"$group/memory.max" 2>/dev/null; then
        echo 0 >"$group/memory.swap.max" 2>/dev/null || true
        printf '#!/bin/sh\necho $$ >%s/cgroup.procs\nexec "$@"\n' "$group" >"$D/in-group"; chmod 755 "$D/in-group"
        run -p "$D/in-group" check "$D/R"; never_says 'critical['
    fi
    rmdir "$group" 2>/dev/null || true
fi
leave "$D/R"
R=$D/nested; tree "$R"; mkdir -p "$R/boot/grub" "$R/etc/profile.d" "$R/etc/ssh"
endless 'if true; then' 15728640 >"$R/boot/grub/grub.cfg"; run check "$R"
endless 'menuentry x {' 15728640 >"$R/boot/grub/grub.cfg"; run check "$R"
endless '{ (' 15728640 >"$R/etc/profile.d/a.sh"; run check "$R"
endless 'if [ 1 ]; then case $(' 8000000 >"$R/etc/profile.d/b.sh"; run check "$R"
endless 'Match all' 8000000 >"$R/etc/ssh/sshd_config"; run check "$R"
endless 'Include /etc/ssh/sshd_config' 1000000 >"$R/etc/ssh/sshd_config"; run check "$R"
for f in login sshd common-auth; do endless "@include $f" 1000000 >"$R/etc/pam.d/$f"; done; run check "$R"
mkdir -p "$R/etc/ld.so.conf.d"; printf 'include /etc/ld.so.conf.d/*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b\ninclude /etc/ld.so.conf\n' >"$R/etc/ld.so.conf"
: >"$R/etc/ld.so.conf.d/$(head -c 200 /dev/zero | tr '\0' a)"; run check "$R"
