#!/bin/bash
# What the real programs make of a network's files: each case of crates/sickbay-formats/tests/network is laid into a namespace with the cards that
# it names, the dialect's own program starts the network there, and what `ip` then shows is printed as the case records it.
#
#   lab/net/truth.sh CASE...          prints the case with what was measured
#   lab/net/truth.sh --write CASE...  writes it
#
# NET_ROOT is a directory laid over this machine's own root: ifupdown, netplan.io, bridge-utils and network-manager unpacked
# there, and of initscripts (branch rhel7) sysconfig/network-scripts, rc.d/init.d/{functions,network} and a compiled ipcalc. Needs root.
set -eu
write=
[ "$1" = --write ] && { write=1; shift; }
[ "$1" = --inside ] || : "${NET_ROOT:?a directory with the programs}"

# Runs inside the namespaces: $1 is the case, $2 the root that was made.
inside() {
    local case=$1 root=$2 dialect
    mount -t sysfs -o ro sysfs "$root/sys"
    mount -t proc proc "$root/proc"
    mount -t tmpfs tmpfs "$root/run"
    mount --rbind /dev "$root/dev"
    ln -sfn /run "$root/var/run" 2>/dev/null || true
    mkdir -p "$root/run/network" "$root/run/netreport" "$root/run/lock/subsys" "$root/var/lock/subsys" "$root/run/systemd/netif/links" "$root/run/systemd/netif/leases" "$root/run/dbus"
    rm -rf "$root"/etc/network/interfaces* "$root"/etc/netplan "$root"/etc/systemd/network "$root"/etc/NetworkManager/system-connections
    rm -f "$root"/etc/sysconfig/network "$root"/etc/sysconfig/network-scripts/ifcfg-*
    printf 'DEVICE=lo\nIPADDR=127.0.0.1\nNETMASK=255.0.0.0\nNETWORK=127.0.0.0\nBROADCAST=127.255.255.255\nONBOOT=yes\nNAME=loopback\n' \
        > "$root/etc/sysconfig/network-scripts/ifcfg-lo"
    echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad
    mkdir -p "$root"/etc/network/if-{pre-up,up,down,post-down}.d
    chown systemd-network:systemd-network "$root"/run/systemd/netif{,/links,/leases} 2>/dev/null || true
    awk -v root="$root" '
        /^--- (file|crlf) / { path = root $3; end = ($2 == "crlf") ? "\r\n" : "\n"; dir = path; sub("/[^/]*$", "", dir)
            system("mkdir -p \"" dir "\""); printf "" > path; next }
        /^--- / { path = ""; next }
        path != "" { printf "%s%s", $0, end > path }' "$case"
    chmod 600 "$root"/etc/NetworkManager/system-connections/* 2>/dev/null || true
    [ ! -e "$root/etc/network/map.d/which" ] || chmod 755 "$root/etc/network/map.d/which"
    # The other ends of the cards' cables, in a namespace of their own.
    unshare -n sleep 60 &
    local switch=$!
    sleep 0.2
    while read -r name mac; do
        [ -n "$name" ] || continue
        ip link add "$name" address "$mac" type veth peer name "$name" netns "$switch"
        nsenter -t "$switch" -n ip link set "$name" up
    done < <(awk '/^--- links/ { on = 1; next } /^--- / { on = 0 } on' "$case")
    dialect=$(awk '/^--- by / { print $3; exit }' "$case")
    case $dialect in
        network-scripts) chroot "$root" /bin/bash -c 'cd /; . /etc/sysconfig/network 2>/dev/null; /etc/init.d/network start' ;;
        ifupdown) chroot "$root" /bin/sh -c 'ifup -a; ifup -a --allow=hotplug' ;;
        networkd | netplan)
            if [ "$dialect" = netplan ]; then chroot "$root" /usr/lib/netplan/generate || true; fi
            chroot "$root" /usr/lib/systemd/systemd-networkd &
            local pid=$!
            sleep 4
            kill -KILL $pid ;;
        NetworkManager)
            # A bus of its own, in its own /run; a /sys that cannot be written to tells it that there is no udev.
            printf '[main]\nplugins=keyfile\nno-auto-default=*\ndns=none\n' > "$root/etc/NetworkManager/NetworkManager.conf"
            chroot "$root" dbus-daemon --system --nofork --nopidfile &
            local bus=$!
            sleep 0.5
            chroot "$root" /usr/sbin/NetworkManager --no-daemon &
            local pid=$!
            sleep 5
            kill -KILL $pid $bus ;;
    esac < /dev/null > "$root/net-truth.log" 2>&1 || true
    sleep 1
    echo "--- addresses"
    # Of a point-to-point address the prefix stands behind the other end's.
    ip -o addr show | awk '$4 !~ /^(fe80:|::1)/ { sub(/\\.*/, ""); if ($5 == "peer") sub(/.*\//, $4 "/", $6); print $2, $5 == "peer" ? $6 : $4 }'
    echo "--- routes"
    ip -4 route show | sed 's/ *$//'
    ip -6 route show | grep -v -e '^fe80' -e ' dev lo ' | sed 's/ *$//'
    if [ "$(ip rule show | wc -l)" -gt 3 ] || [ "$(ip -6 rule show | wc -l)" -gt 2 ]; then
        echo "--- rules"
        ip rule show
        ip -6 rule show | { grep -v -e '^0:.*lookup local' -e '^32766:.*lookup main' || true; }
    fi
    ip route show table all | awk 'match($0, / table [^ ]+/) { t = substr($0, RSTART + 7, RLENGTH - 7); if (t != "local") print t }' | sort -u |
        while read -r table; do echo "--- table $table"; ip -4 route show table "$table" | sed 's/ *$//'; ip -6 route show table "$table" | sed 's/ *$//'; done
    kill "$switch"
    if [ -n "${NET_LOG:-}" ]; then cat "$root/net-truth.log" >&2; fi
}

if [ "${1:-}" = --inside ]; then
    inside "$2" "$3"
    exit
fi
for case; do
    grep -q '^--- by .* by hand' "$case" && continue
    top=$(mktemp -d)
    mount -t tmpfs tmpfs "$top"
    mkdir "$top/up" "$top/work" "$top/root" && cp -a "$NET_ROOT" "$top/net"
    measured=$(unshare -n -m -p --fork --kill-child --mount-proc --propagation private bash -c '
        mount -t overlay overlay -o lowerdir="$1/net":/,upperdir="$1/up",workdir="$1/work" "$1/root"
        exec bash "$0" --inside "$2" "$1/root"' "$0" "$top" "$case")
    umount "$top" && rmdir "$top"
    # What was measured stands where the case had it, before anything that sickbay is expected to say.
    new=$(awk -v measured="$measured" '
        /^--- / { drop = ($2 == "addresses" || $2 == "routes" || $2 == "rules" || $2 == "table") }
        drop { next }
        /^--- complaints/ { print measured; done = 1 }
        { print }
        END { if (!done) print measured }' "$case")
    if [ -n "$write" ]; then printf '%s\n' "$new" > "$case"; else printf '%s\n' "$new"; fi
done
