# what: directories with 200,000 entries that every look would read
R=$D/root; tree "$R"
for dir in etc/pam.d etc/profile.d etc/sysctl.d etc/ssh/sshd_config.d etc/systemd/system etc/modprobe.d etc/ld.so.conf.d var/lib/dpkg/info etc/security/limits.d; do
    mkdir -p "$R/$dir"
    (cd "$R/$dir" && seq -f '%.0f.conf' 1 200000 | xargs touch)
done
printf 'Include /etc/ssh/sshd_config.d/*.conf\n' >"$R/etc/ssh/sshd_config"
printf 'include /etc/ld.so.conf.d/*.conf\n' >"$R/etc/ld.so.conf"
run check "$R"
run fix --yes "$R"
