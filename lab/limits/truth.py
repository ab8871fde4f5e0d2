#!/usr/bin/env python3
"""Compares what `sickbay explain limits` says of the time after a restart with what the restarted really has.

    lab/limits/truth.py ROOT SICKBAY [--count 30] [--seed 1] [--keep]

ROOT is a Debian system with systemd, openssh-server, sudo, supervisor and libpam-systemd (a directory; it stays as it is:
the system that is booted with systemd-nspawn is an overlay on it). SICKBAY is a program that runs in it. Each round writes
random units, drop-ins, system.conf, user.conf, limits.conf and supervisord.conf, asks for the prediction, restarts, and reads
/proc/PID/limits. Needs root. Prints every difference, and exits with 1 when there is one.
"""
import argparse, json, os, random, re, shutil, signal, subprocess, sys, tempfile, time

NAMES = {
    "nofile": "Max open files", "nproc": "Max processes", "core": "Max core file size", "memlock": "Max locked memory",
    "stack": "Max stack size", "as": "Max address space", "data": "Max data size", "fsize": "Max file size",
    "sigpending": "Max pending signals", "msgqueue": "Max msgqueue size", "rtprio": "Max realtime priority",
    "nice": "Max nice priority", "cpu": "Max cpu time", "rttime": "Max realtime timeout", "locks": "Max file locks",
    "rss": "Max resident set",
}
# What systemd reads, and what it does not; nothing that keeps a system from running.
COUNTS = ["4000", "2048:16384", "900:infinity", "infinity", "65536", "3000000", "1024:524288", " 7000 ", "8000:6000",
          "unlimited", "64K", "-1", "1e4", "+5000", "5000 # why", "\"5000\"", "0x1000", "007000", "5 000", ":9000", "9000:"]
BYTES = ["64M", "1G:2G", "100M:infinity", "infinity", "1.5G", "67108864", "64MB", "64m", "1G512M", "64 M", "2T", "unlimited",
         "1E", "99999999999999999999", "max", "64KiB", "1.25G:1.5G", "+64M"]
SMALL = ["0", "1M", "64K:128K", "infinity", "8388608", "0:infinity", "1KB", "4k", "32K "]
SPANS = ["10000", "1h", "5h 30min", "1d", "infinity", "90000s", "1week", "1.5h", "2h:3h", "1y", "600000ms:infinity", "1hour", "abc"]
MICRO = ["5000000", "20s", "10s:infinity", "infinity", "1min", "900ms", "1.5s", "2M"]
NICE = ["-5", "+5", "20", "0", "41", "+5:-5", "10:30", "infinity", "-20", "+20", "1"]
UNIT = {"NOFILE": COUNTS, "NPROC": COUNTS, "CORE": SMALL, "MEMLOCK": SMALL + BYTES, "STACK": BYTES, "DATA": BYTES, "FSIZE": BYTES,
        "SIGPENDING": COUNTS, "MSGQUEUE": SMALL, "RTPRIO": ["0", "10", "5:50", "infinity", "x"], "NICE": NICE, "CPU": SPANS,
        "RTTIME": MICRO, "LOCKS": COUNTS, "RSS": BYTES, "AS": BYTES}
VALUES = {"nofile": ["5000", "1024", "unlimited", "-1", "infinity", "20000", "2000000", "64k", "9,000", "", "max", "-", "3000 # no", "+6000", "1048576"],
          "nproc": ["5000", "unlimited", "9000", "2000000", "4096x", "-5"],
          "core": ["0", "unlimited", "100"], "memlock": ["64", "unlimited", "2048", "1G"], "stack": ["8192", "unlimited", "16384"],
          "data": ["unlimited", "4000000"], "fsize": ["unlimited", "1000000"], "rss": ["unlimited", "10000"],
          "sigpending": ["5000", "unlimited", "1000000"], "msgqueue": ["819200", "100000", "2000000"],
          "nice": ["-5", "0", "19", "-20", "5", "-21", "25"], "rtprio": ["0", "10", "99", "unlimited"],
          "cpu": ["600", "unlimited"], "locks": ["unlimited", "100"], "rttime": ["5000000", "unlimited"], "maxlogins": ["40"],
          "as": ["unlimited", "8000000"], "nofiles": ["1"], "priority": ["0"]}


class Machine:
    def __init__(self, root, sickbay):
        self.dir = tempfile.mkdtemp(prefix="sickbay-limits-")
        self.root = self.dir + "/root"
        for name in ("root", "upper", "work"):
            os.mkdir(f"{self.dir}/{name}")
        options = f"lowerdir={root},upperdir={self.dir}/upper,workdir={self.dir}/work"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, self.root], check=True)
        shutil.copy(sickbay, self.root + "/usr/local/bin/sickbay")
        for line in ("groupadd -g 4100 crew", "useradd -u 4001 -m -G crew alma", "useradd -u 4002 -m -g crew bert"):
            subprocess.run(["chroot", self.root, *line.split()], check=False, stderr=subprocess.DEVNULL)
        subprocess.run(["chroot", self.root, "sh", "-c", "rm -f /root/.ssh/k; mkdir -p /root/.ssh; ssh-keygen -A >/dev/null; ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/k;"
                        "for u in root alma bert; do h=$(getent passwd $u | cut -d: -f6); mkdir -p $h/.ssh; cp /root/.ssh/k.pub $h/.ssh/authorized_keys;"
                        "chown -R $u: $h/.ssh; done; mkdir -p /var/lib/systemd/linger; touch /var/lib/systemd/linger/alma; ln -sf /bin/true /usr/bin/systemd-networkd-wait-online"], check=True)
        # systemctl for the manager of a user.
        self.write("/usr/local/bin/own", "#!/bin/sh\nexec setpriv --reuid=4001 --regid=4001 --init-groups env XDG_RUNTIME_DIR=/run/user/4001 systemctl --user \"$@\"\n")
        os.chmod(self.root + "/usr/local/bin/own", 0o755)
        # A machine with the old hierarchy has the new one for itself here.
        script = ("umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup && mkdir -p /sys/fs/cgroup/sickbay-limits &&"
                  "echo $$ > /sys/fs/cgroup/sickbay-limits/cgroup.procs; SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 exec systemd-nspawn -q --register=no "
                  f"--keep-unit --boot -D {self.root} --machine sickbay-limits --private-network --resolv-conf=off --timezone=off --console=pipe")
        self.nspawn = subprocess.Popen(["unshare", "-m", "--propagation", "private", "sh", "-c", script],
                                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.first = None
        for _ in range(120):
            time.sleep(0.5)
            try:
                self.first = int(open(f"/proc/{self.nspawn.pid}/task/{self.nspawn.pid}/children").read().split()[0])
            except (OSError, IndexError):
                continue
            if self("systemctl is-system-running").stdout.strip() in ("running", "degraded"):
                return
        raise SystemExit("it does not boot")

    def __call__(self, command, **more):
        words = ["nsenter", "-t", str(self.first), "-a", "sh", "-c", command]
        return subprocess.run(words, capture_output=True, text=True, timeout=120, **more)

    def write(self, path, text):
        path = self.root + path
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if os.path.lexists(path):
            os.unlink(path)
        if text is None:
            os.symlink("/dev/null", path)
        else:
            open(path, "w").write(text)

    def end(self):
        self.nspawn.send_signal(signal.SIGTERM)
        try:
            self.nspawn.wait(20)
        except subprocess.TimeoutExpired:
            self.nspawn.kill()
            self.nspawn.wait()
        for _ in range(20):
            if subprocess.run(["umount", self.root], stderr=subprocess.DEVNULL).returncode == 0:
                break
            time.sleep(0.5)
        shutil.rmtree(self.dir, ignore_errors=True)


def parsed(text):
    out = {}
    for name, proc in NAMES.items():
        found = re.search("^" + re.escape(proc) + r"\s+(\S+)\s+(\S+)", text, re.M)
        if found:
            out[name] = tuple(None if one == "unlimited" else int(one) for one in found.groups())
    return out


def unit_lines(rand, most, default=""):
    lines = []
    for _ in range(rand.randint(0, most)):
        key = rand.choice(list(UNIT) + ["NOFILE"] * 5 + ["NPROC"] * 3)
        value = rand.choice(UNIT[key])
        # A small number of processes or bytes ends the very programs that tell.
        lines.append(f"{default}Limit{key}={value}")
        if rand.random() < 0.08:
            lines.append(f"{default}Limit{key}=")
        if rand.random() < 0.05:
            lines.append(f"{default}limit{key.lower()}=100")
    return lines


def conf_line(rand):
    domain = rand.choice(["*", "*", "root", "alma", "bert", "@crew", "@alma", "4001:", ":4001", "4000:4001", "4002:4002", "@4100:", "@4100", "%crew", "1000:2000", "@root", "0:", "@:4100", "nobody", "4001"])
    item = rand.choice(list(VALUES) + ["nofile"] * 8 + ["nproc"] * 3)
    line = f"{domain} {rand.choice(['soft', 'hard', '-', 'soft', 'hard', 'Soft', 'both'])} {item} {rand.choice(VALUES[item])}"
    if rand.random() < 0.04:
        line = f"{domain} -"
    if rand.random() < 0.05:
        line = "#" + line
    if rand.random() < 0.05:
        line = line.replace(" ", "\t", 2)
    if rand.random() < 0.03:
        line = line.replace(" ", "=", 1)
    return line


NAME = "sickbay-test-limits"


def write_round(machine, rand):
    wrote = {}
    def write(path, text):
        wrote[path] = text
    def some(chance):
        return rand.random() < chance
    for kind in ("system", "user"):
        if some(0.6):
            write(f"/etc/systemd/{kind}.conf", "[Manager]\n" + "\n".join(unit_lines(rand, 4, "Default")) + "\n")
        for path in (f"/etc/systemd/{kind}.conf.d/20-a.conf", f"/run/systemd/{kind}.conf.d/10-b.conf", f"/usr/lib/systemd/{kind}.conf.d/30-c.conf", f"/usr/local/lib/systemd/{kind}.conf.d/25-d.conf", f"/etc/systemd/{kind}.conf.d/30-c.conf"):
            if some(0.25):
                section = "[Service]" if some(0.1) else "[Manager]"
                write(path, None if some(0.15) else section + "\n" + "\n".join(unit_lines(rand, 3, "Default")) + "\n")
    extra = []
    user = rand.choice([None, None, "alma", "bert", "4001"])
    if user:
        extra.append(f"User={user}")
    if some(0.25):
        extra.append("PAMName=" + rand.choice(["login", "su", "sshd", "systemd-user", "other", "cron"]))
    if some(0.2):
        extra.append(f"TasksMax={rand.choice(['50', 'infinity', '10%'])}")
    body = extra + unit_lines(rand, 5)
    rand.shuffle(body)
    where = rand.choice(["/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system"])
    instance = some(0.25)
    file = f"{NAME}@.service" if instance else f"{NAME}.service"
    unit = f"{NAME}@one.service" if instance else file
    write(f"{where}/{file}", "[Service]\nExecStart=/bin/sleep infinity\n" + "\n".join(body) + "\n")
    for directory in (f"/etc/systemd/system/{file}.d", f"/run/systemd/system/{unit}.d", "/etc/systemd/system/sickbay-.service.d",
                      "/usr/lib/systemd/system/sickbay-test-.service.d", "/etc/systemd/system/service.d", f"/usr/lib/systemd/system/{unit}.d"):
        if some(0.22):
            name = rand.choice(["10-x.conf", "20-y.conf", "limits.conf", "note.txt"])
            lines = unit_lines(rand, 2)
            write(f"{directory}/{name}", None if some(0.15) else "[Service]\n" + "\n".join(lines) + "\n")
    write("/etc/security/limits.conf", "\n".join(conf_line(rand) for _ in range(rand.randint(0, 7))) + "\n")
    for name in ("10-a.conf", "20-b.conf", "90-z", "nproc.conf"):
        if some(0.3):
            write(f"/etc/security/limits.d/{name}", "\n".join(conf_line(rand) for _ in range(rand.randint(1, 4))) + "\n")
    minfds = rand.choice(["", "minfds=4096\n", "minfds=15000\n", "minfds = 6000 ; why\n", "MINFDS=5000\n", "minfds=1024\n", "minfds:7000\n"])
    minprocs = rand.choice(["", "minprocs=300\n", "minprocs=90000\n"])
    wrong = rand.choice(["", "minfds=9999\n"])
    write("/etc/supervisor/supervisord.conf", "[unix_http_server]\nfile=/run/supervisor.sock\n[supervisord]\nlogfile=/var/log/supervisor/s.log\npidfile=/run/supervisord.pid\n"
          f"{minfds}{minprocs}[program:idle]\ncommand=/bin/sleep infinity\n{wrong}")
    if some(0.4):
        write("/etc/systemd/system/supervisor.service.d/limits.conf", "[Service]\n" + "\n".join(unit_lines(rand, 2)) + "\n")
    if some(0.3):
        write("/etc/systemd/system/ssh.service.d/limits.conf", "[Service]\n" + "\n".join(unit_lines(rand, 2)) + "\n")
    if some(0.3):
        write("/etc/systemd/system/user@.service.d/limits.conf", "[Service]\n" + "\n".join(unit_lines(rand, 2)) + "\n")
    write("/etc/systemd/user/sickbay-test-own.service", "[Service]\nExecStart=/bin/sleep infinity\n" + "\n".join(unit_lines(rand, 3)) + "\n")
    for path, text in wrote.items():
        machine.write(path, text)
    return wrote, unit


def remove(machine, wrote):
    for path in wrote:
        if path.startswith("/etc/security/limits.conf") or path.endswith("supervisord.conf"):
            continue
        try:
            os.unlink(machine.root + path) if not path.startswith("/run") else machine(f"rm -f {path}")
        except FileNotFoundError:
            pass


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("root"), arguments.add_argument("sickbay")
    arguments.add_argument("--count", type=int, default=30), arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--only", type=int), arguments.add_argument("--keep", action="store_true")
    options = arguments.parse_args()
    machine = Machine(options.root, options.sickbay)
    # What is written below /run is the container's own.
    plain = machine.write
    def write(path, text):
        if path.startswith("/run/"):
            machine(f"mkdir -p $(dirname {path})")
            machine(f"ln -sf /dev/null {path}" if text is None else f"rm -f {path}; cat > {path} <<'TEXT'\n{text}TEXT\n")
        else:
            plain(path, text)
    machine.write = write
    compared = differ = unknown = 0
    try:
        for number in range(options.count):
            rand = random.Random(f"{options.seed}-{number}")
            if options.only is not None and number != options.only:
                continue
            wrote, unit = write_round(machine, rand)
            # daemon-reexec is what reads system.conf again; sickbay is asked before it.
            def ask(of):
                said = machine(f"/usr/local/bin/sickbay --lang en --format json explain limits {of}")
                try:
                    return {one["name"]: one for one in json.loads(said.stdout)["limits"]}
                except (ValueError, KeyError):
                    print(f"round {number}: explain limits {of}: {said.stdout[:200]} {said.stderr[:300]}")
                    return None
            def pid_of(name, program="systemctl"):
                return machine(f"{program} show -p MainPID --value {name}").stdout.strip()
            machine("systemctl daemon-reload; own daemon-reload; own start sickbay-test-own.service")
            child = machine("pgrep -P $(systemctl show -p MainPID --value supervisor.service) sleep").stdout.split()
            own = pid_of("sickbay-test-own.service", "own")
            said = {"unit": ask(unit), "alma": ask("alma"), "bert": ask("bert"), "root": ask("root"),
                    "supervised": ask(child[0]) if child else None, "own": ask(own) if own not in ("", "0") else None}
            machine("systemctl daemon-reexec")
            time.sleep(0.3)
            machine(f"systemctl restart {unit} ssh.service supervisor.service user@4001.service; own start sickbay-test-own.service")
            time.sleep(1.5)
            real = {}
            pid = pid_of(unit)
            real["unit"] = machine(f"cat /proc/{pid}/limits").stdout
            for user in ("alma", "bert", "root"):
                real[user] = machine(f"ssh -o StrictHostKeyChecking=no -o LogLevel=ERROR -i /root/.ssh/k {user}@127.0.0.1 cat /proc/self/limits").stdout
            child = machine("pgrep -P $(systemctl show -p MainPID --value supervisor.service) sleep").stdout.split()
            real["supervised"] = machine(f"cat /proc/{child[0]}/limits").stdout if child else ""
            own = pid_of("sickbay-test-own.service", "own")
            real["own"] = machine(f"cat /proc/{own}/limits").stdout if own not in ("", "0") else ""
            bad = set()
            for what, rows in said.items():
                have = parsed(real[what])
                if rows is None or not have:
                    print(f"round {number}: {what}: asked {rows is not None}, runs {bool(have)}")
                    continue
                for name, row in rows.items():
                    compared += 1
                    after = row.get("after_restart")
                    if after is None:
                        unknown += 1
                        print(f"round {number}: {what} {name}: not known, really {have[name]}")
                    elif (after["soft"], after["hard"]) != have[name]:
                        differ += 1
                        bad.add(name)
                        print(f"round {number}: {what} {name}: said {after['soft'], after['hard']}, really {have[name]}")
            for path, text in wrote.items():
                lines = [line for line in (text or "MASKED").splitlines() if re.search("|".join(bad) or "$^", line, re.I) or not text or re.match("User|PAM", line)]
                if bad and lines:
                    print(f"    {path}: " + " | ".join(lines))
            sys.stdout.flush()
            if not options.keep:
                machine(f"systemctl stop {unit}")
                remove(machine, wrote)
        print(f"{compared} compared, {differ} differ, {unknown} not known")
    finally:
        machine.end()
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
