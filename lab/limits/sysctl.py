#!/usr/bin/env python3
"""Compares what `sickbay explain sysctl KEY` says of the time after a boot with what the real systemd-sysctl sets.

    lab/limits/sysctl.py ROOT SICKBAY [--count 20] [--seed 1]

ROOT is a system with systemd (a directory; it stays as it is). Each round writes random sysctl.d files to an overlay on it, runs its own
systemd-sysctl in a new network namespace, and reads the parameters back. Needs root. Exits with 1 when something differs.
"""
import argparse, json, os, random, shutil, subprocess, sys, tempfile

CARDS = ["all", "default", "lo", "sb0", "sb1", "sb0.7"]
LEAVES = ["rp_filter", "log_martians", "arp_announce", "shared_media"]
KEYS = ["net.ipv4.ip_default_ttl", "net.ipv4.tcp_retries2", "net.ipv4.tcp_fin_timeout"]


def names(rand):
    """A key as somebody would write it."""
    if rand.random() < 0.2:
        key = rand.choice(KEYS)
        return key if rand.random() < 0.7 else key.replace(".", "/")
    card = rand.choice(CARDS + ["*", "*", "sb*", "sb?", "s*0", "[ls]*", "sb0*"])
    leaf = rand.choice(LEAVES + ["rp_filter"] * 3 + (["*_martians"] if rand.random() < 0.3 else []))
    if rand.random() < 0.4:
        slash = f"net/ipv4/conf/{card}/{leaf}"
        return "/" + slash if rand.random() < 0.1 else slash
    return f"net.ipv4.conf.{card.replace('.', '/')}.{leaf}"


def line(rand):
    key = names(rand)
    form = rand.random()
    if form < 0.12:
        return "-" + key
    value = rand.choice(["0", "1", "2"]) if "conf" in key else rand.choice(["5", "9", "12"])
    if form < 0.25:
        return f"-{key} = {value}"
    if form < 0.35:
        return f"  {key}={value}   "
    if form < 0.4:
        return f"# {key} = {value}"
    if form < 0.45:
        return f"{key} {value}"
    return f"{key} = {value}"


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("root"), arguments.add_argument("sickbay")
    arguments.add_argument("--count", type=int, default=20), arguments.add_argument("--seed", type=int, default=1)
    options = arguments.parse_args()
    keys = KEYS + [f"net.ipv4.conf.{card.replace('.', '/')}.{leaf}" for card in CARDS for leaf in LEAVES[:2]]
    compared = differ = 0
    for number in range(options.count):
        rand = random.Random(f"{options.seed}-{number}")
        work = tempfile.mkdtemp(prefix="sickbay-sysctl-")
        for name in ("root", "upper", "work"):
            os.mkdir(f"{work}/{name}")
        root = work + "/root"
        overlay = f"lowerdir={options.root},upperdir={work}/upper,workdir={work}/work"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", overlay, root], check=True)
        try:
            wrote = {}
            for directory in ("/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d"):
                for name in ("10-a.conf", "50-b.conf", "90-c.conf", "z.conf", "99-sysctl.conf", "note.txt"):
                    if rand.random() < 0.35:
                        form = rand.random()
                        wrote[f"{directory}/{name}"] = None if form < 0.12 else "" if form < 0.17 else "\n".join(line(rand) for _ in range(rand.randint(1, 5))) + "\n"
            wrote["/etc/sysctl.conf"] = "\n".join(line(rand) for _ in range(2)) + "\n"
            for path, text in wrote.items():
                os.makedirs(os.path.dirname(root + path), exist_ok=True)
                if os.path.lexists(root + path):
                    os.unlink(root + path)
                if text is None:
                    os.symlink("/dev/null", root + path)
                else:
                    open(root + path, "w").write(text)
            # Before and after, in a namespace of its own.
            read = "; ".join(f"cat /proc/sys/{slashed(key)}" for key in keys)
            script = (f"ip link add sb0 type bridge; ip link add sb1 type bridge; ip link add sb0.7 type bridge; {read}; "
                      f"mount -t proc proc {root}/proc; mount --bind /dev {root}/dev; chroot {root} /usr/lib/systemd/systemd-sysctl >&2; {read}")
            real = subprocess.run(["unshare", "-n", "-m", "--propagation", "private", "sh", "-c", script], capture_output=True, text=True)
            got = real.stdout.split()
            before, after = dict(zip(keys, got)), dict(zip(keys, got[len(keys):]))
            for key in keys:
                said = subprocess.run([options.sickbay, "--lang", "en", "--format", "json", "explain", "sysctl", key, root], capture_output=True, text=True)
                try:
                    found = json.loads(said.stdout)
                    wins = [one["value"] for one in found["set_by"] if one["wins"]]
                except ValueError:
                    if "there is no kernel parameter" not in said.stderr:
                        print(f"round {number}: {key}: {said.stderr[:200]}")
                    wins = []
                    found = {}
                # A new value of conf.default goes to cards whose own was not written; one that is as it should be is not written.
                if wins and wins[0] == before[key] and ".conf." in key:
                    continue
                compared += 1
                expected = wins[0] if wins else found["after_restart"] if "inherits" in found else before[key]
                if expected != after[key]:
                    differ += 1
                    print(f"round {number}: {key}: said {wins or 'nothing'}, was {before[key]}, really {after[key]}")
                    leaf = key.rsplit(".", 1)[1]
                    for file, text in sorted(wrote.items(), key=lambda one: os.path.basename(one[0])):
                        lines = [one for one in (text or "MASKED").splitlines() if leaf in one or "martians" in one or not text]
                        if lines:
                            print(f"    {file}: " + " | ".join(lines))
        finally:
            subprocess.run(["umount", "-l", root])
            shutil.rmtree(work, ignore_errors=True)
    print(f"{compared} compared, {differ} differ")
    return 1 if differ else 0


def slashed(key):
    return key.translate(str.maketrans("./", "/."))


if __name__ == "__main__":
    sys.exit(main())
