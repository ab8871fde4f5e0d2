#!/bin/bash
# trial.sh PACKAGE ROOT: installs a .deb or an .rpm (`cargo xtask package`) in a copy of a root, uses it, installs it again as an
# upgrade, removes it, purges it, and compares every path with what was there before. Needs root; for an .rpm, rpm(8).
set -eu
package=$(realpath "$1") root=$2
work=$(mktemp -d)
trap 'umount "$work/root/proc" 2>/dev/null || true; rm -rf --one-file-system "$work"' EXIT
cp -a "$root" "$work/root"
cd "$work"
fail() { echo "trial of ${package##*/} in $root: $*" >&2; exit 1; }
inside() { chroot root "$@"; }
# The records of the package manager and of man-db differ, and nothing else may.
shot() {
    find root -xdev -path root/var/lib/dpkg -prune -o -path root/var/lib/rpm -prune -o -path root/var/log/dpkg.log -prune \
        -o -path root/proc -prune -o -path root/usr/lib/sysimage -prune -o -path root/root/.rpmdb -prune -o -path root/var/cache/man -prune -o -path root/tmp -prune \
        -o -printf '%P %y %m %U:%G %l\n' | sort
    find root -xdev -path root/var/lib -prune -o -path root/var/cache/man -prune -o -path root/root/.rpmdb -prune -o -path root/proc -prune -o -path root/tmp -prune -o -name dpkg.log -prune \
        -o -type f -exec sha256sum {} + | sort -k2
}
case $package in
*.deb)
    add() { cp "$package" root/tmp/it.deb; inside dpkg -i /tmp/it.deb >log 2>&1 || fail "$(cat log)"; rm root/tmp/it.deb; }
    again() { add; }
    remove() { inside dpkg -r sickbay >log 2>&1 || fail "$(cat log)"; }
    purge() { inside dpkg -P sickbay >log 2>&1 || fail "$(cat log)"; }
    completions="bash-completion/completions/sickbay zsh/vendor-completions/_sickbay fish/vendor_completions.d/sickbay.fish"
    ;;
*.rpm)
    mkdir -p root/var/lib/rpm
    # What rpm of Debian wants to hear, and no other knows.
    own=$(rpm --help 2>&1 | grep -o -- --force-debian || true)
    rpm --root "$work/root" --initdb
    add() { rpm $own --root "$work/root" -i --nodeps --ignoreos "$package" >log 2>&1 || fail "$(cat log)"; [ ! -s log ] || fail "$(cat log)"; }
    again() { rpm $own --root "$work/root" -U --force --nodeps "$package" >log 2>&1 || fail "$(cat log)"; [ ! -s log ] || fail "$(cat log)"; }
    remove() { rpm $own --root "$work/root" -e sickbay >log 2>&1 || fail "$(cat log)"; [ ! -s log ] || fail "$(cat log)"; }
    purge() { :; }
    completions="bash-completion/completions/sickbay zsh/site-functions/_sickbay fish/vendor_completions.d/sickbay.fish"
    ;;
esac
shot >before
add
mount -t proc proc root/proc
inside sickbay --version
status=0
inside sickbay check --color never >log 2>&1 || status=$?
[ "$status" -le 1 ] || fail "check: exit status $status: $(cat log)"
tail -1 log
zcat root/usr/share/man/man1/sickbay.1.gz | grep -q '^\.TH' || fail "the man page is none"
for file in $completions; do [ -s "root/usr/share/$file" ] || fail "$file is not there"; done
inside bash -c '. /usr/share/bash-completion/completions/sickbay && complete -p sickbay' >log || fail "bash does not complete"
if [ -x root/usr/bin/systemctl ]; then enable="inside systemctl"; else enable="systemctl --root=$work/root"; fi
$enable enable sickbay-record.service sickbay-textfile.timer >log 2>&1 || fail "$(cat log)"
links=(root/etc/systemd/system/multi-user.target.wants/sickbay-record.service root/etc/systemd/system/timers.target.wants/sickbay-textfile.timer)
are_there() { for link in "${links[@]}"; do [ -L "$link" ] || return 1; done; }
are_there || fail "enable made no links"
systemd-analyze --root="$work/root" --man=no verify sickbay-record.service sickbay-textfile.timer sickbay-textfile.service >log 2>&1 || true
# A root without systemd has no sysinit.target.
grep -v 'Unit sysinit.target not found' log | grep -i sickbay && fail "a unit is not well"
# What the units do, by hand.
mkdir -p root/var/lib/prometheus/node-exporter
inside sickbay check --format openmetrics --output /var/lib/prometheus/node-exporter/sickbay.prom || [ $? -le 2 ]
[ -s root/var/lib/prometheus/node-exporter/sickbay.prom ] || fail "no metrics"
inside timeout 4 sickbay record --dir /var/log/sickbay --every 1s --keep 7d --max 200M >log 2>&1 || [ $? = 124 ] || fail "record: $(cat log)"
[ -n "$(ls -A root/var/log/sickbay)" ] || fail "no recording"
again
are_there || fail "an upgrade disables what was enabled"
[ -n "$(ls -A root/var/log/sickbay)" ] || fail "an upgrade takes the recordings"
umount root/proc
remove
for link in "${links[@]}"; do [ ! -L "$link" ] || fail "$link stays"; done
case $package in *.deb) [ -d root/var/log/sickbay ] || fail "remove takes the recordings: that is for purge" ;; esac
purge
# Directories that were made for others: links of units, and the collector's.
rmdir root/var/lib/prometheus/node-exporter root/var/lib/prometheus
for made in root/etc/systemd/system/{multi-user,timers}.target.wants; do
    grep -q "^${made#root/} " before || rmdir "$made" 2>/dev/null || true
done
shot >after
diff before after || fail "something is left, or gone"
echo "trial of ${package##*/} in $root: nothing is left"
