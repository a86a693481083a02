"""The loads: each has a program answer for so many seconds, and tells how often and how fast it has. Invariant: an answer that is
not as it should be ends the benchmark."""

import concurrent.futures
import contextlib
import json
import os
import re
import resource
import socket
import ssl
import subprocess
import sys

import machine

HERE = os.path.dirname(os.path.abspath(__file__))
MIB = 1 << 20


def faulty(said):
    sys.exit(f"scripts/bench: faulty answers:\n{said}")


def percentiles(p50, p99, p999):
    """In us; 0 is not known."""
    return {name: us for name, us in (("p50 us", p50), ("p99 us", p99), ("p99.9 us", p999)) if us}


# What a browser sends with its next page of a site.
BROWSER = (
    "Cache-Control: max-age=0",
    'sec-ch-ua: "Chromium";v="124", "Google Chrome";v="124", "Not-A.Brand";v="99"',
    "sec-ch-ua-mobile: ?0",
    'sec-ch-ua-platform: "Windows"',
    "Upgrade-Insecure-Requests: 1",
    "User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8",
    "Sec-Fetch-Site: same-origin",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-User: ?1",
    "Sec-Fetch-Dest: document",
    "Referer: https://www.example.com/products/list?page=2",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Accept-Language: en-US,en;q=0.9,de;q=0.8",
    "Cookie: session=eyJhbGciOiJIUzI1NiJ9.eyJ1c2VyIjoxMjM0NX0; _ga=GA1.1.123456789.1700000000; theme=dark",
)


def wrk(
    port, seconds, connections=64, path="/", tls=False, depth=1, host=None, fields=(), threads=1, core=(machine.LOAD_CORE,)
):
    """HTTP/1.1 on kept connections, `depth` requests at a time on each."""
    url = f"{'https' if tls else 'http'}://127.0.0.1:{port}{path}"
    argv = ["wrk", f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "-s", os.path.join(HERE, "wrk.lua")]
    for field in [*([f"Host: {host}"] if host else []), *fields]:
        argv += ["-H", field]
    said = machine.run([*argv, url, "--", depth], core)
    count, took, *times, faults = re.search(r"figures (\d+) ([\d.]+) (\d+) (\d+) (\d+) faults (\d+)", said).groups()
    if faults != "0":
        faulty(said)
    return {"requests": int(count), "seconds": float(took), **percentiles(*map(int, times))}


def h2load(port, seconds, tls, folder):
    """HTTP/2, 16 streams on each of 16 connections."""
    log = os.path.join(folder, "h2load.log")
    argv = ["h2load", "-t1", "-c16", "-m16", f"-D{seconds}", f"--log-file={log}", f"{'https' if tls else 'http'}://127.0.0.1:{port}/"]
    said = machine.run(argv)
    if " 0 failed, 0 errored" not in said or " 0 3xx, 0 4xx, 0 5xx" not in said:
        faulty(said)
    with open(log, encoding="ascii") as file:
        times = sorted(int(line.split()[2]) for line in file)
    os.unlink(log)
    count = int(re.search(r"(\d+) succeeded", said)[1])
    at = (times[int(len(times) * share)] for share in (0.5, 0.99, 0.999))
    return {"requests": count, "seconds": seconds, **percentiles(*at)}


def _load_argv(setting, port, seconds, connections, words):
    return [setting.tool("load"), port, seconds, connections, *words]


def _of_load(said):
    told = json.loads(said)
    return {**told, **percentiles(*(told[name] / 1000 for name in ("p50", "p99", "p99.9")))}


def load(setting, port, seconds, connections, *words):
    """Our own: see load.c."""
    return _of_load(machine.run(_load_argv(setting, port, seconds, connections, words)))


class RunningLoad:
    """The same beside other things; it ends when it is told to."""

    def __init__(self, setting, port, connections, *words):
        argv = _load_argv(setting, port, 3600, connections, words)
        self.process = machine.spawn(argv, (machine.LOAD_CORE,), stdout=subprocess.PIPE, text=True)

    def end(self):
        self.process.terminate()
        said = self.process.communicate()[0]
        if self.process.returncode != 0:
            faulty(said)
        return _of_load(said)


def handshakes(setting, port, seconds, how):
    said = machine.run([setting.tool("handshakes"), port, seconds, 16, how])
    return {"requests": int(said.split()[0]), "seconds": seconds}


def _allow_descriptors(count):
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if most != resource.RLIM_INFINITY and most < count + 100:
        sys.exit(f"scripts/bench: {count} clients need more descriptors than the limit of {most}: raise it (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _ask_once(port, context):
    client = socket.create_connection(("127.0.0.1", port))
    if context:
        client = context.wrap_socket(client, server_hostname="127.0.0.1")
    client.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    answer = b""
    while not answer.endswith(b"x" * 13):
        answer += client.recv(4096) or faulty(answer)
    return client


@contextlib.contextmanager
def idle(port, count, certificate=None):
    """So many clients that have asked once, and wait."""
    _allow_descriptors(count)
    context = ssl.create_default_context(cafile=certificate) if certificate else None
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        clients = list(pool.map(lambda _: _ask_once(port, context), range(count)))
    try:
        yield
    finally:
        for client in clients:
            client.close()
