# what: journals of every bad form in a tree: links, other owners, paths that lead out, setuid programs, endless numbers, other kinds
# short
R=$D/root; tree "$R"; J=$R/var/lib/sickbay
attributes='"attributes":{"mode":MODE,"uid":0,"gid":0,"atime":[0,0],"mtime":[0,0],"xattrs":[]}'
entry() { # PATH MODE
    mkdir -p "$J/0001"; printf evil >"$J/0001/b0"
    printf '{"version":1,"tool":"0.1.0","when":"2026-01-01T00:00:00Z","check":"x","title":"x","donor":null,"parents":[],"ops":[{"path":{"path":"%s","before":{"file":{"content":{"kept":"b0"},%s}},"after":"absent"}}]}' \
        "$1" "${attributes/MODE/$2}" >"$J/0001/entry.json"
}
all() { for verb in "undo --list" "fix --yes" "undo --yes" "undo --yes --force"; do run $verb "$R"; done; rm -rf "$J"; }
for path in ../../../../../../../../../../../../../..$D/helper/secret "$D/helper/secret" /../helper/secret /usr/bin/../../../helper/secret "" / /. /etc/./../../helper/secret relative; do
    entry "$path" 420; all
    grep -q 'secret of' "$D/helper/secret" || fail "$path reached the helper"
done
# A program with the set-user-ID bit, where there was none.
entry /usr/bin/true 2541; touch "$J/0001/done"; run "undo" --yes "$R"; [ ! -u "$R/usr/bin/true" ] || fail "a setuid program appeared"; rm -rf "$J"
entry /usr/bin/true 2541; run fix --yes "$R"; [ ! -u "$R/usr/bin/true" ] || fail "a setuid program appeared"; rm -rf "$J"
# The content of the helper's file.
entry /etc/motd 420; rm "$J/0001/b0"; ln -s "$D/helper/secret" "$J/0001/b0"; all
! grep -qs 'secret of' "$R/etc/motd" || fail "the helper's file was copied into the target"
# A journal that is a link, or that others own, or that is no directory.
mkdir "$D/helper/journal" "$D/helper/journal/0001"; ln -s "$D/helper/journal" "$J"; all
entry /etc/motd 420; chown -R 1000:1000 "$J"; all
: >"$J"; all
mkdir "$J"; mkfifo "$J/0001"; all
mkdir -p "$J/0001"; mkfifo "$J/0001/entry.json"; all
mkdir -p "$J/0001"; truncate -s 8G "$J/0001/entry.json"; all
mkdir -p "$J/0001"; printf '{"ops":' >"$J/0001/entry.json"; head -c 1000000 /dev/zero | tr '\0' '[' >>"$J/0001/entry.json"; all
mkdir -p "$J/0001"; head -c 3000 /dev/urandom >"$J/0001/entry.json"; all
mkdir -p "$J"/{9999,99999999999999999999,-1,0x1,1}; all
