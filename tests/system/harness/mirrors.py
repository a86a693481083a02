"""Independent servers that tell what they saw of each request: Node's http and Python's http.server by themselves;
nginx, Apache and HAProxy, which read it and pass it on to a mirror of their own.

Invariant: what a server has read as a request is told once, however it ended: a smuggled one has nowhere to hide.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading

from . import processes
from .haproxy import Haproxy
from .waiting import wait_until

HERE = os.path.join(os.path.dirname(__file__), "..", "mirrors")


class Mirrors:
    """Processes that print a line for each request; `records` are by the server's name."""

    def __init__(self, names, argv):
        self.records = {name: [] for name in names}
        self.process = processes.spawn([*argv, *names], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.ports = dict(zip(names, json.loads(self.process.stdout.readline())))
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        for line in self.process.stdout:
            record = json.loads(line)
            self.records[record.pop("server")].append(record)

    def close(self):
        self.process.terminate()
        self.thread.join()
        processes.finish(self.process)
        self.process.stdout.close()


NGINX = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log crit; {user}
events {{ worker_connections 512; }}
http {{
  log_format seen escape=json '{{"id":"$http_x_request_id","line":"$request","status":$status}}';
  access_log {folder}/log seen;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  client_max_body_size 0; large_client_header_buffers 4 32k; keepalive_requests 1000000;
  upstream mirror {{ server 127.0.0.1:{port}; keepalive 16; }}
  server {{
    listen unix:{folder}/socket;
    location / {{ proxy_pass http://mirror; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
"""

APACHE = """
ServerRoot "{folder}"
DefaultRuntimeDir "{folder}"
PidFile "{folder}/pid"
ServerName apache.test
Listen 127.0.0.1:{own}
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule proxy_module /usr/lib/apache2/modules/mod_proxy.so
LoadModule proxy_http_module /usr/lib/apache2/modules/mod_proxy_http.so
{user}
ServerLimit 1
StartServers 1
ThreadsPerChild 64
MaxRequestWorkers 64
KeepAliveTimeout 60
MaxKeepAliveRequests 0
LimitRequestLine 32768
LimitRequestFieldSize 32768
HttpProtocolOptions Strict
AllowEncodedSlashes NoDecode
MergeSlashes Off
ErrorLog "{folder}/error.log"
LogLevel crit
LogFormat "%{{X-Request-Id}}i %>s %r" seen
CustomLog "{folder}/log" seen
ProxyPass "/" "http://127.0.0.1:{port}/" nocanon keepalive=On
"""


class Relay:
    """A server of its own kind in front of a mirror. `entries`: (id or None, status, request line) of all it has read."""

    def __init__(self, argv, text, port, own=None):
        self.folder = tempfile.mkdtemp(prefix="upswap-relay-")
        os.chmod(self.folder, 0o755)
        path = os.path.join(self.folder, "conf")
        root = os.getuid() == 0
        user = {"nginx": "user root;" if root else "", "apache2": "User nobody\nGroup nogroup" if root else ""}
        kind = os.path.basename(argv[0])
        with open(path, "w", encoding="utf-8") as file:
            file.write(text.format(folder=self.folder, port=port, own=own, user=user[kind]))
        self.process = processes.spawn(
            [word.format(path=path) for word in argv], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.address = f"127.0.0.1:{own}" if own else f"unix:{self.folder}/socket"
        wait_until(self._accepts, what=f"{kind} to accept connections")

    def _accepts(self):
        assert self.process.poll() is None, f"{self.process.args} ended"
        where = self.address.removeprefix("unix:")
        try:
            with socket.socket(socket.AF_UNIX if where != self.address else socket.AF_INET) as sock:
                host, _, port = where.rpartition(":")
                sock.connect(where if where != self.address else (host, int(port)))
            return True
        except OSError:
            return False

    def log(self):
        with open(os.path.join(self.folder, "log"), encoding="latin-1") as file:
            return file.read().splitlines()

    def close(self):
        self.process.terminate()
        processes.finish(self.process)
        self.lines = self.log()
        shutil.rmtree(self.folder)


class Nginx(Relay):
    def __init__(self, port):
        super().__init__(["/usr/sbin/nginx", "-c", "{path}", "-e", "stderr"], NGINX, port)

    def entries(self):
        for line in self.lines:
            entry = json.loads(line)
            if entry["line"]:  # empty: a connection that was closed without a request
                yield entry["id"] or None, entry["status"], entry["line"]


class Apache(Relay):
    def __init__(self, port):
        with socket.create_server(("127.0.0.1", 0)) as free:
            own = free.getsockname()[1]
        super().__init__(["/usr/sbin/apache2", "-DFOREGROUND", "-f", "{path}"], APACHE, port, own)

    def entries(self):
        for line in self.lines:
            identity, status, request = line.split(" ", 2)
            if request != "-":
                yield None if identity == "-" else identity, int(status), re.sub(r"\\(.)", r"\1", request)


class HaproxyRelay:
    """HAProxy tells it to a datagram socket."""

    def __init__(self, port):
        self.folder = tempfile.TemporaryDirectory(prefix="upswap-relay-")
        path = os.path.join(self.folder.name, "log")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.lines = []
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()
        more = [
            f"log {path} format raw local0",
            "http-request capture req.hdr(X-Request-Id) len 64",
            'log-format "-%[capture.req.hdr(0)] %ST %r"',
            "option dontlognull",
        ]
        self.haproxy = Haproxy(f"127.0.0.1:{port}", more=more)
        self.address = self.haproxy.address

    def _read(self):
        while data := self.socket.recv(65536):
            self.lines.append(data.decode("latin-1").rstrip("\n"))

    def entries(self):
        for line in self.lines:
            identity, status, request = line[1:].split(" ", 2)
            request = re.sub("#([0-9A-F]{2})", lambda code: chr(int(code[1], 16)), request)
            yield None if identity in ("", "-") else identity, int(status), "" if request == "<BADREQ>" else request

    def close(self):
        self.haproxy.close()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.connect(os.path.join(self.folder.name, "log"))
            sock.send(b"")  # the last one
        self.thread.join()
        self.socket.close()
        self.folder.cleanup()


class Servers:
    """All of them. Their names are of one length, so that a request for one is a request for another, byte by byte."""

    NAMES = ("nodes", "pytho", "nginx", "apach", "hapro")

    def __init__(self):
        self.run = True
        self.node = Mirrors(("nodes", "nginx", "apach", "hapro"), ["/usr/bin/node", os.path.join(HERE, "mirror.js")])
        self.python = Mirrors(("pytho",), ["/usr/bin/python3", os.path.join(HERE, "mirror.py")])
        ports = self.node.ports
        self.relays = {"nginx": Nginx(ports["nginx"]), "apach": Apache(ports["apach"]), "hapro": HaproxyRelay(ports["hapro"])}
        self.addresses = {name: relay.address for name, relay in self.relays.items()}
        self.addresses["nodes"] = f"127.0.0.1:{ports['nodes']}"
        self.addresses["pytho"] = f"127.0.0.1:{self.python.ports['pytho']}"

    def close(self):
        """Ends those that still run."""
        for closed in (*self.relays.values(), self.node, self.python) if self.run else ():
            closed.close()
        self.run = False

    def records(self, name):
        """What was read as a whole request: dictionaries with id, method, target, length and hash; or with a fault."""
        return (self.python if name == "pytho" else self.node).records[name]
