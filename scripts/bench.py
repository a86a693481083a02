"""The measurement itself, called by scripts/bench with the build folder, rounds, seconds, connections and
a word of KINDS that says what is measured.

Over TLS all three have the same certificate (P-256, made for the run) and the same policy: TLS 1.3 with X25519
and TLS_AES_128_GCM_SHA256, sessions resumed by tickets alone. CPU is what the kernel has counted for every process of a proxy (schedstat, in ns) over the measured time.
"""

import http.client
import os
import re
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading

PROXY_CORE, LOAD_CORE = "0", "1"
WARM_UP = 1  # seconds

BACKEND_CONF = """
daemon off; master_process off; pid {root}/backend.pid; error_log {root}/backend.log crit;
events {{ worker_connections 1024; use epoll; }}
http {{
  access_log off; tcp_nodelay on; keepalive_requests 100000000; keepalive_timeout 1h;
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location / {{ default_type text/plain; return 200 "hello, world\\n"; }}
  }}
}}
"""

NGINX_CONF = """
daemon off; worker_processes 1; pid {root}/nginx.pid; error_log {root}/nginx.log crit;
events {{ worker_connections 4096; use epoll; multi_accept on; }}
http {{
  access_log off; tcp_nodelay on; keepalive_requests 100000000; keepalive_timeout 1h;
  upstream app {{ server 127.0.0.1:{backend}; keepalive 256; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    listen 127.0.0.1:{h2c} http2 backlog=1024;
    listen 127.0.0.1:{tls} ssl backlog=1024;
    listen 127.0.0.1:{h2} ssl http2 backlog=1024;
    ssl_certificate {root}/site.pem; ssl_certificate_key {root}/site.pem;
    ssl_protocols TLSv1.3; ssl_ecdh_curve X25519; ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
    ssl_session_timeout 1h;
    location / {{
      proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;
    }}
  }}
}}
"""

HAPROXY_CONF = """
global
  nbthread 1
  maxconn 4096
  tune.ssl.cachesize 0
defaults
  mode http
  timeout client 1h
  timeout server 1h
  timeout connect 2s
  timeout http-request 10s
  option http-keep-alive
  http-reuse always
frontend front
  bind 127.0.0.1:{port}
  bind 127.0.0.1:{h2c} proto h2
  bind 127.0.0.1:{tls} ssl crt {root}/site.pem alpn http/1.1 ssl-min-ver TLSv1.3 curves X25519 ciphersuites TLS_AES_128_GCM_SHA256
  bind 127.0.0.1:{h2} ssl crt {root}/site.pem alpn h2 ssl-min-ver TLSv1.3 curves X25519 ciphersuites TLS_AES_128_GCM_SHA256
  default_backend app
backend app
  option forwardfor
  server one 127.0.0.1:{backend} pool-purge-delay 1h
"""

UPSWAP_CONF = """
workers = 1;
state_directory = "{root}/state";
admin = {{ socket = "{root}/admin.sock"; }};
listeners = ( {{ address = "127.0.0.1:{port}"; }}, {{ address = "127.0.0.1:{h2c}"; }}, {{ address = "127.0.0.1:{tls}";
  tls = {{ certificate = "{root}/site.pem"; minimum = "1.3"; protocols = [ "http/1.1" ]; }}; }}, {{ address = "127.0.0.1:{h2}";
  tls = {{ certificate = "{root}/site.pem"; minimum = "1.3"; protocols = [ "h2" ]; }}; }} );
services = ( {{ name = "web"; instances = [ "127.0.0.1:{backend}" ]; }} );
"""


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def wait_for(port, process, tls=None):
    """Until a request is answered; `tls`: the context to ask it with."""
    pause = threading.Event()
    for _ in range(200):
        if process.poll() is not None:
            break
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            if tls:
                connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=tls)
            connection.request("GET", "/")
            response = connection.getresponse()
            if response.status == 200 and response.read() == b"hello, world\n":
                return
        except OSError:
            pass
        pause.wait(0.05)
    sys.exit(f"nothing answers as it should on port {port}: {process.args}")


def process_tree(pid):
    found = [pid]
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
            for child in file.read().split():
                found += process_tree(int(child))
    return found


def cpu_ns(pids):
    """ns on a CPU of all threads of these processes."""
    total = 0
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as file:
                total += int(file.read().split()[0])
    return total


class Proxy:
    def __init__(self, name, argv, ports, root):
        self.name = name
        self.port, self.h2c, self.tls, self.h2 = ports
        self.root = root
        self.process = subprocess.Popen(
            ["taskset", "-c", PROXY_CORE, *argv], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for(self.port, self.process)
        wait_for(self.tls, self.process, ssl.create_default_context(cafile=os.path.join(root, "site.pem")))
        self.rounds = []

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


def latency(text, percentile):
    """wrk's percentile, in ms."""
    number, unit = re.search(rf"^ *{percentile}% +([0-9.]+)(us|ms|s)$", text, re.M).groups()
    return float(number) * UNITS[unit] * 1000


def run_wrk(url, seconds, connections):
    argv = ["taskset", "-c", LOAD_CORE, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
    said = subprocess.run([*argv, url], capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in said or "Socket errors" in said:
        sys.exit(f"faulty answers:\n{said}")
    return said


def run_h2load(url, seconds, connections):
    argv = ["taskset", "-c", LOAD_CORE, "h2load", "-t1", f"-c{connections}", "-m16", f"-D{seconds}"]
    said = subprocess.run([*argv, url], capture_output=True, text=True, check=True).stdout
    if " 0 failed, 0 errored" not in said or " 0 3xx, 0 4xx, 0 5xx" not in said:
        sys.exit(f"faulty answers:\n{said}")
    return said


def run_handshakes(proxy, seconds, connections, how):
    argv = ["taskset", "-c", LOAD_CORE, os.path.join(proxy.root, "handshakes")]
    done = subprocess.run(
        [*argv, str(proxy.tls), str(seconds), str(connections), how], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"faulty handshakes:\n{done.stdout}{done.stderr}")
    return done.stdout


def cpu_over(proxy, load):
    """What the load said, and the ns that the proxy has spent on it."""
    pids = process_tree(proxy.process.pid)
    before = cpu_ns(pids)
    said = load()
    return said, cpu_ns(pids) - before


def measure_streams(proxy, url, seconds, connections):
    """h2load tells no percentiles."""
    run_h2load(url, WARM_UP, connections)
    said, spent = cpu_over(proxy, lambda: run_h2load(url, seconds, connections))
    requests = int(re.search(r"([0-9]+) succeeded", said)[1])
    return {"requests/s": requests / seconds, "CPU us/request": spent / requests / 1000}


def measure_requests(proxy, url, seconds, connections):
    run_wrk(url, WARM_UP, connections)
    said, spent = cpu_over(proxy, lambda: run_wrk(url, seconds, connections))
    requests = int(re.search(r"([0-9]+) requests in", said)[1])
    return {
        "requests/s": float(re.search(r"Requests/sec: +([0-9.]+)", said)[1]),
        "CPU us/request": spent / requests / 1000,
        "p50 ms": latency(said, 50),
        "p99 ms": latency(said, 99),
    }


def measure_clear(proxy, seconds, connections):
    return measure_requests(proxy, f"http://127.0.0.1:{proxy.port}/", seconds, connections)


def measure_tls(proxy, seconds, connections):
    return measure_requests(proxy, f"https://127.0.0.1:{proxy.tls}/", seconds, connections)


def measure_h2c(proxy, seconds, connections):
    return measure_streams(proxy, f"http://127.0.0.1:{proxy.h2c}/", seconds, connections)


def measure_h2(proxy, seconds, connections):
    return measure_streams(proxy, f"https://127.0.0.1:{proxy.h2}/", seconds, connections)


def measure_handshakes(proxy, seconds, connections, how):
    """A client's share of a full handshake is the bigger one: the load's core is what limits their number."""
    run_handshakes(proxy, WARM_UP, connections, how)
    said, spent = cpu_over(proxy, lambda: run_handshakes(proxy, seconds, connections, how))
    handshakes = int(said.split()[0])
    return {"handshakes/s": handshakes / seconds, "CPU us/handshake": spent / handshakes / 1000}


KINDS = {
    "clear": measure_clear,
    "tls": measure_tls,
    "h2c": measure_h2c,
    "h2": measure_h2,
    "full": lambda *what: measure_handshakes(*what, "full"),
    "resumed": lambda *what: measure_handshakes(*what, "resumed"),
}


def make_certificate(root):
    """Certificate and key in one file, as HAProxy wants it."""
    key, certificate = os.path.join(root, "key.pem"), os.path.join(root, "certificate.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
        + ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        stderr=subprocess.DEVNULL,
        check=True,
    )
    with open(os.path.join(root, "site.pem"), "w", encoding="ascii") as site:
        for path in (certificate, key):
            with open(path, encoding="ascii") as part:
                site.write(part.read())


def build_handshakes(root):
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "handshakes.c")
    argv = ["cc", "-O2", "-o", os.path.join(root, "handshakes"), source, "-lssl", "-lcrypto", "-pthread"]
    subprocess.run(argv, check=True)


def start_all(build, root, backend):
    makers = {
        "upswap": (UPSWAP_CONF, lambda conf: [os.path.join(build, "upswapd"), "-c", conf]),
        "haproxy": (HAPROXY_CONF, lambda conf: [shutil.which("haproxy", path=SBIN), "-db", "-f", conf]),
        "nginx": (NGINX_CONF, lambda conf: [shutil.which("nginx", path=SBIN), "-c", conf, "-p", root]),
    }
    for name, (text, argv) in makers.items():
        ports = [free_port() for _ in range(4)]
        port, h2c, tls, h2 = ports
        conf = os.path.join(root, f"{name}.conf")
        with open(conf, "w", encoding="ascii") as file:
            file.write(text.format(root=root, port=port, h2c=h2c, tls=tls, h2=h2, backend=backend))
        yield Proxy(name, argv(conf), ports, root)


SBIN = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"


def start_backend(root):
    port = free_port()
    conf = os.path.join(root, "backend.conf")
    with open(conf, "w", encoding="ascii") as file:
        file.write(BACKEND_CONF.format(root=root, port=port))
    process = subprocess.Popen(
        ["taskset", "-c", LOAD_CORE, shutil.which("nginx", path=SBIN), "-c", conf, "-p", root],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for(port, process)
    return process, port


def report(proxies):
    columns = list(proxies[0].rounds[0])
    cpu = next(column for column in columns if column.startswith("CPU"))
    print(f"{'median of rounds':<18}" + "".join(f"{column:>18}" for column in columns))
    for proxy in proxies:
        medians = (statistics.median(each[column] for each in proxy.rounds) for column in columns)
        print(f"{proxy.name:<18}" + "".join(f"{median:>18.2f}" for median in medians))
    # Within a round all have met the same machine, so the ratio is taken there.
    own, *others = ([each[cpu] for each in proxy.rounds] for proxy in proxies)
    ratio = statistics.median(mine / min(theirs) for mine, *theirs in zip(own, *others))
    print(f"CPU of upswap to that of the better of the two, median of rounds: {ratio:.2f}")


def main():
    build = sys.argv[1]
    kinds = [argument for argument in sys.argv[2:] if argument in KINDS] or ["clear"]
    numbers = [argument for argument in sys.argv[2:] if argument not in KINDS]
    if len(kinds) > 1 or len(numbers) > 3 or not all(number.isdecimal() for number in numbers):
        sys.exit(f"usage: scripts/bench [ROUNDS [SECONDS [CONNECTIONS]]] [{'|'.join(KINDS)}]")
    measured = KINDS[kinds[0]]
    rounds, seconds, connections = (int(number) for number in numbers + ["5", "4", "32"][len(numbers) :])
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("scripts/bench needs two cores: one for the proxy, one for backend and load")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="upswap-bench-") as root:
        os.chmod(root, 0o755)
        make_certificate(root)
        build_handshakes(root)
        backend, port = start_backend(root)
        proxies = []
        try:
            for proxy in start_all(build, root, port):
                proxies.append(proxy)
            for number in range(rounds):
                for proxy in proxies:
                    proxy.rounds.append(measured(proxy, seconds, connections))
                    figures = "  ".join(f"{k} {v:.2f}" for k, v in proxy.rounds[-1].items())
                    print(f"round {number + 1}  {proxy.name:<8} {figures}", flush=True)
            report(proxies)
        finally:
            for proxy in proxies:
                proxy.stop()
            backend.terminate()
            backend.wait()


if __name__ == "__main__":
    main()
