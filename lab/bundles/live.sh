#!/bin/sh
# live.sh SICKBAY: faults of a running system, made for real in name spaces of their own, all at once; what is found on the host is found in its bundle, and
# nothing else. Needs root, iproute2, nftables, python3; takes two minutes, for what counts only when it is old.
set -eu
sickbay=$(realpath "$1")
here=$(dirname "$(realpath "$0")")
exec unshare -n -m -p -i --mount-proc -f python3 "$here/live.py" "$sickbay"
