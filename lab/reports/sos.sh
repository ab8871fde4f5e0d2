#!/bin/sh
# sos.sh SICKBAY: a real `sos report` of a machine with five faults; they are found in it, and nothing else. In name spaces of its own, with /etc as
# an overlay: nothing of this machine is changed. Needs root, sosreport, python3, e2fsprogs.
set -eu
sickbay=$(realpath "$1")
here=$(dirname "$(realpath "$0")")
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
unshare -m -n -p --fork --mount-proc "$here/inside.sh" "$out"
found=$("$sickbay" check --format json "$out"/sosreport-*.tar.xz |
    python3 -c 'import json, sys; print(*sorted(one["check"] for one in json.load(sys.stdin)["findings"]))')
wanted="close-wait-leak file-system-full fstab-bad-line oom-killer sysctl-hugepages"
echo "found:  $found"
if [ "$found" != "$wanted" ]; then
    echo "wanted: $wanted"
    exit 1
fi
