#!/bin/sh
# trial.sh SICKBAY [DISK]: a machine with the e-book's list of kernel parameters; `sickbay tune --apply`, a restart, and the values hold; `undo`, a restart,
# and values and files are what they were. In QEMU, on a copy-on-write file over the lab's disk. Needs root, qemu, e2fsprogs, python3.
set -eu
here=$(dirname "$(realpath "$0")")
exec python3 "$here/trial.py" "$(realpath "$1")" "$(realpath "${2:-$here/../cache/base.img}")"
