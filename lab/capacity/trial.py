"""The set-ups of trial.sh: what is set low, what must bind, how it shows."""
import json, os, re, selectors, socket, subprocess, sys, tempfile, threading, time

sickbay, only = sys.argv[1], sys.argv[2:]
work = tempfile.mkdtemp()
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def sysctl(key, value):
    with open("/proc/sys/" + key.replace(".", "/"), "w") as file:
        file.write(value)


def upstream(port, seconds):
    """A server that takes its time, for nginx to wait for."""
    server = socket.create_server(("127.0.0.1", port), backlog=4096)

    def serve(client):
        try:
            while client.recv(4096):
                time.sleep(seconds)
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
                client.close()
                return
        except OSError:
            pass

    def loop():
        while True:
            client, _ = server.accept()
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    threading.Thread(target=loop, daemon=True).start()


def load(count, port=8080, wait=4.0, quick=False):
    """Opens so many connections with a request each; how many were answered, or are being worked on."""
    chosen, alive, answered = selectors.DefaultSelector(), set(), 0
    for _ in range(count):
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex(("127.0.0.1", port))
        chosen.register(one, selectors.EVENT_WRITE)
        alive.add(one)
        if quick:
            time.sleep(0.002)
    end, good, bad = time.time() + wait, set(), set()
    while time.time() < end and len(good) + len(bad) < count:
        for key, events in chosen.select(0.2):
            one = key.fileobj
            try:
                if events & selectors.EVENT_WRITE:
                    one.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                    chosen.modify(one, selectors.EVENT_READ)
                else:
                    said = one.recv(4096)
                    (good if b" 200 " in said else bad).add(one)
                    chosen.unregister(one)
            except OSError:
                bad.add(one)
                chosen.unregister(one)
    held = len(good) + len(alive) - len(good) - len(bad)
    for one in alive:
        one.close()
    return len(good), len(bad), held


def nginx(conf):
    path = f"{work}/nginx.conf"
    open(path, "w").write(conf)
    log = f"{work}/error.log"
    open(log, "w").close()
    child = subprocess.Popen(["nginx", "-c", path, "-e", log, "-g", f"daemon off; pid {work}/pid; error_log {log} info;"])
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", 8080), 1).close()
            break
        except OSError:
            time.sleep(0.05)
    return child, log


def conf(main="", events="worker_connections 2000;", listen="", location='return 200 "ok";'):
    return (f"worker_processes 1; {main}\nevents {{ {events} }}\nhttp {{ access_log off; client_body_temp_path {work}/b; proxy_temp_path {work}/p;"
            f" fastcgi_temp_path {work}/f; uwsgi_temp_path {work}/u; scgi_temp_path {work}/s; keepalive_timeout 60s;\n"
            f"server {{ listen 8080 {listen}; location / {{ {location} }} }} }}\n")


PASS = "proxy_pass http://127.0.0.1:9000; proxy_connect_timeout 2s;"
NOT_ENOUGH, FILES, PORTS = r"worker_connections are not enough", r"Too many open files", r"99: Cannot assign requested address"
# Name, configuration, kernel parameters, seconds of the upstream, connections, what must bind, what the log says.
SETUPS = [
    ("workers-connections", conf(events="worker_connections 100;"), {}, None, 300, "worker_connections of nginx", NOT_ENOUGH),
    ("two-workers", conf(events="worker_connections 60;").replace("worker_processes 1", "worker_processes 2"), {}, None, 400, "worker_connections of nginx", NOT_ENOUGH),
    ("proxy", conf(events="worker_connections 100;", location=PASS), {}, 3, 300, "worker_connections of nginx", NOT_ENOUGH),
    ("open-files", conf(main="worker_rlimit_nofile 80;"), {}, None, 300, "open files of nginx (worker_rlimit_nofile)", FILES),
    ("open-files-proxy", conf(main="worker_rlimit_nofile 120;", location=PASS), {}, 3, 300, "open files of nginx (worker_rlimit_nofile)", FILES),
    ("ports", conf(main="worker_rlimit_nofile 8000;", location=PASS), {"net.ipv4.ip_local_port_range": "40000 40099"}, 3, 300, "local ports to one upstream", PORTS),
    ("ports-two-workers", conf(main="worker_rlimit_nofile 8000;", location=PASS).replace("worker_processes 1", "worker_processes 2"), {"net.ipv4.ip_local_port_range": "40000 40199"}, 3, 400, "local ports to one upstream", PORTS),
    ("time-wait", conf(main="worker_rlimit_nofile 8000;", location=PASS), {"net.ipv4.ip_local_port_range": "40000 40199"}, 0, 600, "new connections to one upstream", PORTS),
    ("somaxconn", conf(main="worker_rlimit_nofile 8000;"), {"net.core.somaxconn": "16"}, None, 200, "accept queue: new connections in one second of a busy program", "ListenOverflows"),
    ("backlog", conf(main="worker_rlimit_nofile 8000;", listen="backlog=8"), {}, None, 200, "accept queue: new connections in one second of a busy program", "ListenOverflows"),
]


def overflows():
    lines = [line.split() for line in open("/proc/net/netstat") if line.startswith("TcpExt:")]
    return int(lines[1][lines[0].index("ListenOverflows")])


failed = 0
for name, text, parameters, seconds, count, wanted, sign in SETUPS:
    if only and name not in only:
        continue
    defaults = {"net.ipv4.ip_local_port_range": "32768 60999", "net.core.somaxconn": "4096"}
    for key, value in {**defaults, "net.ipv4.tcp_tw_reuse": "0", **parameters}.items():
        sysctl(key, value)
    if seconds is not None:
        sysctl("net.ipv4.ip_local_port_range", "32768 60999")
    child, log = nginx(text)
    told = subprocess.run([sickbay, "tune", "--capacity", "--format", "json"], capture_output=True, text=True)
    # The clients' own ports must not be what runs out: they come from another address space of the same range, so the range is set last.
    pid = os.fork() if seconds is not None else 0
    if seconds is not None and pid == 0:
        pass
    if seconds is not None and pid:
        os.waitpid(pid, 0)
        child.terminate(); child.wait(); time.sleep(0.3)
        continue
    if seconds is not None:
        upstream(9000, seconds)
    for key, value in parameters.items():
        sysctl(key, value)
    if "net.ipv4.ip_local_port_range" in parameters:
        told = subprocess.run([sickbay, "tune", "--capacity", "--format", "json"], capture_output=True, text=True)
    try:
        limits = json.loads(told.stdout)["limits"]
    except (ValueError, KeyError):
        print(name, "sickbay says nothing:", told.stderr, told.stdout[:300]); sys.exit(1)
    before = overflows()
    if sign == "ListenOverflows":
        worker = subprocess.run(["pgrep", "-P", str(child.pid)], capture_output=True, text=True).stdout.split()
        for one in worker: os.kill(int(one), 19)
        seen = load(count, wait=2.0)
        for one in worker: os.kill(int(one), 18)
        shown = overflows() > before
        of = [limit for limit in limits if limit["counts"] == "requests" and limit["whose"] == "host"]
    else:
        if "net.ipv4.ip_local_port_range" in parameters:
            # Clients from addresses of their own.
            original = socket.socket.connect_ex
            places = iter((f"127.0.{1 + i // 60}.{1 + i % 60}") for i in range(100000))
            def connect_ex(self, address):
                self.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
                self.bind((next(places), 0)); return original(self, address)
            socket.socket.connect_ex = connect_ex
        seen = load(count, quick=name == "time-wait", wait=6.0)
        shown = re.search(sign, open(log).read()) is not None
        kind = "requests" if name == "time-wait" else "connections"
        of = [limit for limit in limits if limit["counts"] == kind and limit["whose"] == "host"]
    first = of[0] if of else {"what": "nothing", "carries": 0}
    good = first["what"] == wanted and shown
    failed += not good
    print(f"{'ok  ' if good else 'FAIL'} {name}: says {first['what']}, {first['carries']}; of {count} connections answered {seen[0]}, refused {seen[1]}, waiting {seen[2]}; {sign}: {'seen' if shown else 'not seen'}", flush=True)
    if not good:
        print("     wanted", wanted, "|", [(limit["what"], limit["counts"], limit["carries"]) for limit in limits], open(log).read()[-400:])
    if seconds is not None:
        os._exit(0)
    child.terminate(); child.wait(); time.sleep(0.3)
sys.exit(1 if failed else 0)
