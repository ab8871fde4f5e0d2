# what: names and contents of the target that a terminal would obey
# short
R=$D/root; tree "$R"
evil=$'\e]0;owned\a\e[2J\xc2\x9b31m\xe2\x80\xae'
for dir in etc/pam.d etc/sysctl.d etc/profile.d etc/systemd/system var/log boot lib/modules; do mkdir -p "$R/$dir/$evil"; printf 'x%s = %s\n' "$evil" "$evil" >"$R/$dir/a$evil.conf"; done
printf '%s\n' "$evil ticket" "UUID=$evil /da$evil ext4 defaults 0 2" >>"$R/etc/fstab"
printf 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="%s"\n' "$evil" >"$R/etc/os-release"; printf '%s\n' "$evil" >"$R/etc/hostname"
printf 'auth required pam_%s.so\n' "$evil" >"$R/etc/pam.d/login"; printf 'vm.nr_hugepages = 9999999%s\n' "$evil" >"$R/etc/sysctl.d/a.conf"
printf '%s %s\n' "$evil" yes >"$R/etc/ssh/sshd_config"; mkdir -p "$D/dir$evil"; cp -a "$R" "$D/dir$evil/root"
for verb in "check" "check --verbose" "check --format json" "fix --dry-run" "fix --yes" "undo --list" "undo --yes"; do run $verb "$R"; done
run check "$D/dir$evil/root"; run check "$D/dir$evil/nothing"; status_is 2
printf 'Out of memory: Killed process 1 (%s) total-vm:1kB\n%s\n' "$evil" "$evil" >"$D/kern.log"; run check "$D/kern.log"
