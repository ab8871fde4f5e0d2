# What every hostile scenario finds. A scenario is a bash script: it makes something hostile below $D, runs sickbay on it
# with `run`, and says what must hold. Everything happens in a mount namespace of its own, on files and loop devices made
# for it; what stands for this machine is watched, and must be the same after every run.
#
# | word | meaning |
# |---|---|
# | `tree DIR` | a small healthy root of Debian's kind |
# | `image FILE` | a small disk with such a root on its first partition; `lab_image FILE`: a copy of the lab's Debian disk |
# | `at_root IMAGE DIR [OPTIONS]` | its root, mounted on DIR for writing; `leave DIR` unmounts it |
# | `loop FILE` | a loop device for FILE, in $loop; gone at the end |
# | `run [-a ANSWER] [-s SECONDS] [-m MIB] [-p PREFIX] ARGUMENTS…` | runs sickbay: ends with 0, 1 or 2 within its bounds, never panics, changes nothing outside; what it said is in $D/said, its status in $status |
# | `status_is N…`, `says WORDS`, `never_says WORDS` | of the last run |
# | `same FILE…` | the bytes of each are what they were at `keep FILE…` |
set -eu -o pipefail
shopt -s nullglob
export LC_ALL=C NO_COLOR=1

fail() { echo "$*" >&2; [ ! -s "$D/said" ] || sed 's/^/  | /' "$D/said" | head -n 40 >&2; exit 1; }
need() { command -v "$1" >/dev/null || fail "needs $1"; }

tree() {
    mkdir -p "$1"/{etc/pam.d,etc/ssh,usr/{bin,sbin,lib/x86_64-linux-gnu},var/{lib/dpkg/info,log},boot,root,home,dev,proc,sys,run,tmp}
    local link; for link in bin sbin lib; do ln -s "usr/$link" "$1/$link"; done
    mkdir -p "$1/usr/lib64"; ln -s usr/lib64 "$1/lib64"
    printf 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n' >"$1/etc/os-release"
    printf 'root:x:0:0:root:/root:/bin/sh\n' >"$1/etc/passwd"
    printf 'root:*:19000:0:99999:7:::\n' >"$1/etc/shadow"
    printf 'root:x:0:\nshadow:x:42:\n' >"$1/etc/group"
    printf '# nothing\n' >"$1/etc/fstab"
    printf '12.0\n' >"$1/etc/debian_version"
    printf '#!/bin/sh\n' >"$1/usr/bin/true"
    chmod 755 "$1/usr/bin/true"; chmod 640 "$1/etc/shadow"; chmod 1777 "$1/tmp"; chmod 700 "$1/root"
    : >"$1/var/lib/dpkg/status"
}

image() {
    [ -d "$D/tree" ] || { mkdir "$D/tree"; tree "$D/tree"; }
    truncate -s 64M "$1"
    printf 'label: dos\n2048,,83\n' | sfdisk -q "$1"
    mkfs.ext4 -q -F -E offset=1048576 -d "$D/tree" "$1" 62M
}
endless() { yes "$1" | head -c "$2" || true; } # LINE BYTES
lab_image() { cp --sparse=always --reflink=auto "$BASE" "$1"; }

at_root() {
    local start size
    read -r start size < <(sfdisk --json "$1" | tr -d ' \n' | sed 's/.*"partitions":\[{\([^}]*\)}.*/\1/; s/.*"start":\([0-9]*\).*"size":\([0-9]*\).*/\1 \2/' && echo)
    mkdir -p "$2"
    loop "$1" "$((start * 512))" "$((size * 512))"
    mount -o "${3:-rw}" "$loop" "$2"
    let_go
}
leave() { umount -R "$1"; }

loops=()
loop() {
    local number
    for number in $(seq 200 399); do
        loop=/dev/loop$number
        [ -e "$loop" ] || mknod "$loop" b 7 "$number" || true
        if losetup ${2:+--offset "$2"} ${3:+--sizelimit "$3"} "$loop" "$1" 2>/dev/null; then loops+=("$loop"); return; fi
    done
    fail "no loop device for $1"
}
# The last device: it goes with what uses it, and its number may then be somebody else's.
let_go() { losetup -d "$loop"; unset 'loops[-1]'; }
finish() {
    local each
    for each in "${loops[@]}"; do losetup -d "$each" 2>/dev/null || true; done
    # What is left of a helper program must not outlive the suite either.
    for each in $(strays); do kill -9 "$each" 2>/dev/null || true; done
}
trap finish EXIT

# Programs that sickbay starts and that work below $D: none may outlive it.
strays() {
    pgrep -f "(qemu|e2fsck|xfs_repair|btrfs|curl|wget).*$D" || true
}

# What stands for this machine: a tree and a disk that no run may touch, the disk's device, and what lies about in /etc.
world() {
    find "$D/helper" -printf '%p %y %m %U:%G %s %T@ %l\n' | sort
    find "$D/helper" -type f -exec sha256sum {} + | sort
    sha256sum <"$canary"
    find /etc -xdev ! -name resolv.conf ! -name mtab -printf '%p %y %m %U:%G %s %T@ %l\n' | sort
    find / -maxdepth 1 -printf '%p %y %m %U:%G\n' | sort
    stat -c '%n %F %a %t:%T' /dev/null /dev/zero
    sed 's/ [0-9-]* / /' /proc/self/mounts
}
begin() {
    mkdir -p "$D/helper/etc/ssh"
    printf 'UUID=dead / ext4 defaults 0 1\ngarbage\n' >"$D/helper/etc/fstab"
    printf 'root:x:0:0:root:/root:/bin/none\r\n' >"$D/helper/etc/passwd"
    printf 'secret of the helper\n' >"$D/helper/secret"
    truncate -s 8M "$D/canary.disk"
    printf 'label: dos\n,,83\n' | sfdisk -q "$D/canary.disk"
    loop "$D/canary.disk"; canary=$loop
}

run() {
    local answer= seconds=10 mib=128 prefix=()
    case "${*: 1}" in *fix*) seconds=60 ;; esac
    while :; do
        case "$1" in
            -a) answer=$2; shift 2 ;;
            -s) seconds=$2; shift 2 ;;
            -m) mib=$2; shift 2 ;;
            -p) read -r -a prefix <<<"$2"; shift 2 ;;
            *) break ;;
        esac
    done
    world >"$D/world.before"
    rm -f "$D/cost" # what an earlier run took says nothing of this one
    local command=("$XTASK" hostile --measure "$D/cost" --limit "$((seconds * SLOWLY))" -- "${prefix[@]}" "$SICKBAY" "$@")
    if [ -n "$answer" ]; then
        # A terminal, at which somebody answers.
        printf -v answer '%b' "$answer"
        rm -f "$D/keys"; mkfifo "$D/keys"
        : >"$D/said"
        { await_question; printf '%s' "$answer"; exec sleep "$((seconds * SLOWLY + 5))"; } >"$D/keys" &
        local typist=$!
        script -qec "$(printf '%q ' "${command[@]}")" /dev/null <"$D/keys" >"$D/said" 2>&1 || true
        kill "$typist" 2>/dev/null || true; wait "$typist" 2>/dev/null || true
    else
        "${command[@]}" </dev/null >"$D/said" 2>&1 || true
    fi
    local took peak
    # An interrupt reaches whoever measures as well.
    if [ ! -s "$D/cost" ]; then
        case "$answer" in *$'\003'*) echo interrupted 0 0 >"$D/cost" ;; *) fail "sickbay $*: was not run to its end" ;; esac
    fi
    read -r status took peak <"$D/cost"
    case "$status" in 0 | 1 | 2 | interrupted) ;; *) fail "sickbay $*: ended with $status after $took ms" ;; esac
    if grep -qa -e 'panicked' -e 'the check failed' -e 'RUST_BACKTRACE' "$D/said"; then fail "sickbay $*: panicked"; fi
    # What a terminal would obey: ESC, C1 controls, and what turns text around. Colours are off.
    if [ -z "$answer" ] && LC_ALL=C.UTF-8 grep -qaP '[\x{1b}\x{80}-\x{9f}\x{202a}-\x{202e}\x{2066}-\x{2069}]' "$D/said"; then
        fail "sickbay $*: prints what a terminal obeys"
    fi
    [ "$peak" -le "$((mib * 1024))" ] || fail "sickbay $*: took $((peak / 1024)) MiB, at most $mib"
    world >"$D/world.after"
    cmp -s "$D/world.before" "$D/world.after" || fail "sickbay $*: changed this machine: $(diff "$D/world.before" "$D/world.after" | head -n 4)"
    [ -z "$(strays)" ] || fail "sickbay $*: left a program running: $(strays)"
    runs=$((runs + 1)); echo "$runs" >"$D/runs"
}
# What is typed before it is asked for reaches nobody.
await_question() {
    local tenths; for ((tenths = 0; tenths < 100 * SLOWLY; tenths++)); do grep -qa '\[y' "$D/said" && return; sleep 0.1; done
}
runs=0
status_is() { local want; for want; do [ "$status" != "$want" ] || return 0; done; fail "ended with $status, wanted $*"; }
says() { grep -qaF -- "$1" "$D/said" || fail "does not say: $1"; }
never_says() { if grep -qaF -- "$1" "$D/said"; then fail "says: $1"; fi; }
# Holes are skipped: most of a disk is one.
bytes() { tar --create --sparse --mtime=@0 --file=- "$1" 2>/dev/null | sha256sum; }
keep() { local f; for f; do bytes "$f" >"$D/kept.$(printf %s "$f" | tr / _)"; done; }
same() { local f; for f; do bytes "$f" | cmp -s - "$D/kept.$(printf %s "$f" | tr / _)" || fail "$f was changed"; done; }

begin
