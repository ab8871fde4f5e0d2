"""The trial of trial.sh: four boots of one machine, and somebody at its console."""

import json
import os
import re
import selectors
import shutil
import subprocess
import sys
import tempfile
import time

# T2 and N1, as the e-book sets them, without what no kernel has any more, and with the one line that lowers a queue.
LIST = """\
net.ipv4.tcp_syncookies = 1
net.core.somaxconn = 128
net.ipv4.tcp_max_syn_backlog = 8192
net.ipv4.ip_local_port_range = 1024 65000
net.ipv4.tcp_max_tw_buckets = 5000
net.ipv4.tcp_timestamps = 1
net.ipv4.tcp_tw_reuse = 1
net.ipv4.tcp_fin_timeout = 30
vm.swappiness = 60
"""
KEYS = [line.split(" = ")[0] for line in LIST.splitlines()]
BOOT, ANSWER = 420, 180


class Machine:
    """A machine that is on; its console is its serial line."""

    def __init__(self, disk, tools):
        self.said = ""
        self.child = subprocess.Popen(
            ["qemu-system-x86_64", "-accel", "tcg", "-smp", "1", "-m", "768", "-display", "none", "-serial", "stdio"]
            + ["-no-reboot", "-nic", "none"]
            + ["-drive", f"file={disk},format=qcow2,if=virtio", "-drive", f"file={tools},format=raw,if=virtio,readonly=on"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.child.stdout, selectors.EVENT_READ)

    def wait(self, wanted, seconds):
        """What was said up to what is wanted, a pattern."""
        end = time.monotonic() + seconds
        while True:
            found = re.search(wanted, self.said)
            if found:
                told, self.said = self.said[: found.end()], self.said[found.end() :]
                return told
            left = end - time.monotonic()
            if left <= 0 or not self.selector.select(left):
                self.child.kill()
                sys.exit(f"nothing like {wanted!r} within {seconds} s, but:\n{self.said[-3000:]}")
            data = os.read(self.child.stdout.fileno(), 65536)
            if not data:
                sys.exit(f"the machine went off:\n{self.said[-3000:]}")
            self.said += data.decode(errors="replace").replace("\r", "")

    def say(self, line):
        self.child.stdin.write(line.encode() + b"\n")
        self.child.stdin.flush()

    def run(self, command):
        """What a command prints. The shell computes the mark, so that its echo is none."""
        self.say(f"{command}; echo end-$((6 * 7))-$?")
        told = self.wait(r"end-42-\d+\n", ANSWER)
        status = int(told.rstrip().rsplit("-", 1)[1])
        lines = told.split("\n")
        return status, "\n".join(lines[:-2])

    def off(self):
        self.say("sync; systemctl poweroff")
        try:
            self.child.wait(ANSWER)
        except subprocess.TimeoutExpired:
            self.child.kill()
            sys.exit("the machine does not go off")


def boot(disk, tools):
    machine = Machine(disk, tools)
    machine.wait(r"login: ", BOOT)
    machine.say("root")
    machine.wait(r"assword: ", ANSWER)
    machine.say("sickbay")
    machine.wait(r"# ", ANSWER)
    machine.run("stty -echo cols 2000; PS1=; mount -o ro /dev/vdb /mnt; export TERM=dumb")
    return machine


def values(machine):
    """Each parameter as the running kernel has it, to the byte."""
    _, told = machine.run("for k in " + " ".join(KEYS) + "; do echo \"$k=$(base64 -w0 /proc/sys/$(echo $k | tr . /))\"; done")
    found = dict(line.split("=", 1) for line in told.splitlines() if "=" in line)
    assert sorted(found) == sorted(KEYS), told
    return found


def files(machine):
    """Every file of /etc and where a journal would be: content, mode, owner, and when it was changed."""
    _, told = machine.run(
        "{ find /etc -xdev ! -name resolv.conf ! -name adjtime -printf '%p %y %m %U %G %s %T@ %l\\n' | sort;"
        " find /etc -xdev -type f ! -name resolv.conf ! -name adjtime -exec sha256sum {} + | sort -k2; ls -d /var/lib/sickbay* 2>&1 | sort; } | sha256sum"
    )
    return told.strip()


def plain(text):
    return " ".join(text.split())


def kernel(machine, key):
    return plain(machine.run(f"cat /proc/sys/{key.replace('.', '/')}")[1])


def main():
    sickbay, base = sys.argv[1:3]
    with tempfile.TemporaryDirectory() as place:
        disk, tools, on_it = f"{place}/disk.qcow2", f"{place}/tools.img", f"{place}/tools"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", disk], check=True)
        os.mkdir(on_it)
        shutil.copy(sickbay, f"{on_it}/sickbay")
        with open(f"{on_it}/50-list.conf", "w") as file:
            file.write(LIST)
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", on_it, tools, "256M"], check=True)

        machine = boot(disk, tools)
        machine.run("cp /mnt/50-list.conf /etc/sysctl.d/; touch -d 2026-01-02 /etc/sysctl.d/50-list.conf /etc/sysctl.d")
        machine.off()

        machine = boot(disk, tools)
        values_before, files_before = values(machine), files(machine)
        status, told = machine.run("/mnt/sickbay tune --for web --apply --risky --yes --format json 2>/dev/null")
        document = json.loads(told[told.index("{") :])
        advice = {one["key"]: one for one in document["advice"] if not one.get("unit")}
        assert {"net.core.somaxconn", "net.ipv4.ip_local_port_range"} <= set(advice), sorted(advice)
        assert status == 0, (status, told)
        for key, one in advice.items():
            print(f"applied  {key}: {one['now']} -> {one['value']}, set by {one['set_by']}")
            assert one["held"]["holds"], one
            assert kernel(machine, key) == plain(one["value"]), one
        machine.off()

        machine = boot(disk, tools)
        for key, one in advice.items():
            assert kernel(machine, key) == plain(one["value"]), (key, kernel(machine, key), one)
        print(f"restart  {len(advice)} values hold")
        status, told = machine.run("/mnt/sickbay tune --for web --format json 2>/dev/null")
        assert status == 0 and not json.loads(told[told.index("{") :])["advice"], told
        status, told = machine.run("/mnt/sickbay undo --yes 2>&1")
        assert status == 0, told
        files_undone = files(machine)
        machine.off()

        machine = boot(disk, tools)
        values_after, files_after = values(machine), files(machine)
        machine.off()
        assert files_undone == files_before, "undo left something of its files"
        assert files_after == files_before, "something of its files is there after the restart"
        assert values_after == values_before, {key: values_after[key] for key in KEYS if values_after[key] != values_before[key]}
        print(f"undone   {len(KEYS)} values and every file of /etc as before, to the byte")


if __name__ == "__main__":
    main()
