"""The faults of live.sh, and the comparison."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time

SICKBAY = sys.argv[1]
kept = []


def do(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def listener(address, port, backlog):
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.bind((address, port))
    one.listen(backlog)
    kept.append(one)
    return one


def connected(server, source, count):
    """Pairs of the client's end and the server's."""
    pairs = []
    for _ in range(count):
        client = socket.socket()
        client.bind((source, 0))
        client.connect(server.getsockname())
        pairs.append((client, server.accept()[0]))
    return pairs


def unclosed():
    for client, accepted in connected(listener("127.0.0.1", 8081, 512), "127.0.0.1", 150):
        client.close()
        kept.append(accepted)


def not_accepted():
    full = listener("127.0.0.1", 8082, 1)
    for _ in range(2):
        one = socket.socket()
        one.settimeout(0.2)
        try:
            one.connect(full.getsockname())
        except OSError:
            pass
        kept.append(one)


def outside():
    kept.append(connected(listener("47.98.1.2", 6379, 16), "10.77.0.5", 5))


def ports_used_up():
    with open("/proc/sys/net/ipv4/ip_local_port_range", "w") as file:
        file.write("40000 40499")
    with open("/proc/sys/net/ipv4/tcp_tw_reuse", "w") as file:
        file.write("0")
    server = listener("10.77.0.5", 8083, 512)
    while True:
        one = socket.socket()
        try:
            one.connect(server.getsockname())
        except OSError:
            return
        other = server.accept()[0]
        one.close()
        other.close()


def dropped():
    do("nft", "add table inet trial")
    do("nft", "add chain inet trial input { type filter hook input priority 0; policy accept; }")
    do("nft", "add rule inet trial input tcp dport 8081 drop")


def no_sshd():
    """Nothing listens on port 22 here, which the machine's own files want."""


FAULTS = [unclosed, not_accepted, outside, dropped, no_sshd]
# What holds for the second in which somebody looks: other work on this machine is in one look and not in the other.
OF_A_MOMENT = ("cpu-", "load-", "io-", "process-storm")
WANTED = {"close-wait-leak", "listen-queue-overflow", "database-by-public-address", "tcp-ports-exhausted"}


def check(*target):
    done = subprocess.run([SICKBAY, "check", "--format", "json", *target], stdout=subprocess.PIPE)
    found = json.loads(done.stdout)["findings"]
    # Counts differ from look to look: what a finding is about does not.
    words = lambda text: " ".join("N" if any(c.isdigit() for c in word) and ":" not in word else word for word in text.split())
    return {(one["check"], words(one["message"])) for one in found if not one["check"].startswith(OF_A_MOMENT)}


def main():
    do("ip", "link", "set", "lo", "up")
    for address in ["10.77.0.5/24", "47.98.1.2/32"]:
        do("ip", "address", "add", address, "dev", "lo")
    for fault in FAULTS:
        fault()
    print("faults are made; a minute until they are old", flush=True)
    time.sleep(65)
    # These are gone after a minute.
    ports_used_up()
    with tempfile.TemporaryDirectory() as place:
        bundle = f"{place}/b.tar.zst"
        host = check()
        do(SICKBAY, "collect", "-o", bundle)
        told = check(bundle)
    for one in sorted(host | told):
        where = "both" if one in host and one in told else "host only" if one in host else "bundle only"
        print(f"{where:12} {one[0]}: {one[1]}")
    missed = WANTED - {one[0] for one in host}
    assert not missed, f"not even found on the host: {missed}"
    assert host == told, "host and bundle differ"
    print(f"{len(host)} findings, the same on the host and in its bundle")


if __name__ == "__main__":
    main()
