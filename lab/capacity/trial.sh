#!/bin/sh
# trial.sh SICKBAY [SET-UP…]: nginx with one limit set low on purpose, in name spaces of its own, loaded on loopback until it refuses;
# what `sickbay tune --capacity` says binds first must be what nginx or the kernel ran into. Needs root, nginx, python3.
set -eu
sickbay=$(realpath "$1"); shift
here=$(dirname "$(realpath "$0")")
exec unshare -n -p -m -i --mount-proc -f python3 "$here/trial.py" "$sickbay" "$@"
