#!/bin/sh
# Writes behind each case of sickbay-formats/tests/nginx/broken.txt what the real `nginx -t` says of it ("--- LINE SENTENCE").
# `~` stands for a carriage return, LONG for 5000 letters. Needs nginx (Debian: nginx-light); starts no server.
set -eu
cases=$(dirname "$0")/../../crates/sickbay-formats/tests/nginx/broken.txt
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 - "$cases" "$work" <<'PYTHON'
import re, subprocess, sys
path, work = sys.argv[1:]
head, *cases = open(path).read().split("=== ")
out = head
for case in cases:
    name, _, body = case.partition("\n")
    body = body.split("--- ")[0]
    text = body.replace("~", "\r").replace("LONG", "x" * 5000)
    open(work + "/nginx.conf", "w", newline="").write(text)
    run = subprocess.run(["nginx", "-t", "-e", "/dev/null", "-c", work + "/nginx.conf"], capture_output=True, text=True)
    said = re.search(r"\[emerg\] (.*) in " + re.escape(work) + r"/nginx\.conf:(\d+)", run.stderr.replace("\r", "~"))
    out += "=== " + name + "\n" + body
    out += "--- " + (said[2] + " " + said[1].replace("x" * 10 + "...", "xxxxxxxxxx...") if said else "well") + "\n"
    if not said and run.returncode: print(name, run.stderr)
open(path, "w").write(out)
PYTHON
