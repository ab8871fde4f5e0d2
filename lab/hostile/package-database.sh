# what: a package database that sends lost files to odd places, with a donor that has them
R=$D/root; tree "$R"; cp -a "$R" "$D/donor"
mkdir -p "$D/donor$D/helper" "$D/donor/proc/sys/kernel" "$D/donor/dev"; echo evil >"$D/donor$D/helper/secret"; echo evil >"$D/donor/proc/sys/kernel/hostname"; echo evil >"$D/donor/usr/bin/login"
for path in "/../../../../../../..$D/helper/secret" /proc/sys/kernel/hostname /usr/bin/login "/usr/bin/../../../../helper/secret" "/dev/secret" $'/usr/bin/a\tb' "//"; do printf '%s\n' "$path"; done >"$R/var/lib/dpkg/info/base-files.list"
printf 'Package: base-files\nStatus: install ok installed\nVersion: 12\nArchitecture: amd64\nMaintainer: x\nDescription: x\nConffiles:\n /../../../../../..%s/helper/secret 7d793037a0760186574b0282f2f435e7\n\n' "$D" >"$R/var/lib/dpkg/status"
sed 's|^|0123456789abcdef0123456789abcdef  |; s|  /|  |' "$R/var/lib/dpkg/info/base-files.list" >"$R/var/lib/dpkg/info/base-files.md5sums"
mkdir -p "$R/proc/sys/kernel"
for verb in "check" "fix --yes --risky" "undo --yes --force"; do run $verb --donor "$D/donor" "$R" || true; done
run check --donor "$D/donor" "$R"; run fix --yes --risky --donor "$D/donor" "$R"; run undo --yes "$R"
