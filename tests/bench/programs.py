"""The programs that are compared, each with the best settings that are known for it. All have one worker, keep their connections to
the app, write no access log, and over TLS have the same certificate (P-256) and policy: TLS 1.3, X25519, TLS_AES_128_GCM_SHA256,
sessions resumed by tickets alone."""

import dataclasses
import http.client
import os
import shutil
import ssl
import sys
import threading

import machine

ANSWER = b"x" * 13  # of the app, to /
MANY = 10000  # services, or clients, where there are many


@dataclasses.dataclass
class Setting:
    """What the programs of one case are set up for."""

    folder: str
    build: str
    app: int  # port
    long: bool = False  # bodies are long
    once: bool = False  # clients have one request
    clients: int = 1000  # at the same time
    workers: int = 1

    @property
    def certificate(self):
        return os.path.join(self.folder, "site.pem")

    def tool(self, name):
        return os.path.join(self.build, "tests", "bench", name)


class Program:
    """One that serves on four ports: clear, h2c, tls, h2. A subclass says its name, config and argv."""

    name, config = "", ""
    has_tls = True

    def __init__(self, setting, **more):
        self.setting = setting
        self.more = more
        self.clear, self.h2c, self.tls, self.h2 = (machine.free_port() for _ in range(4))
        self.process = None
        self.conf = os.path.join(setting.folder, f"{self.name.split(',')[0]}.conf")

    def values(self):
        ports = {"clear": self.clear, "h2c": self.h2c, "tls": self.tls, "h2": self.h2}
        return {**dataclasses.asdict(self.setting), "pem": self.setting.certificate, **ports, **self.more}

    def write_config(self):
        with open(self.conf, "w", encoding="ascii") as file:
            file.write(self.config.format(**self.values()))

    def argv(self):
        raise NotImplementedError

    def start(self, cores=(machine.PROXY_CORE,)):
        self.write_config()
        self.process = machine.spawn(self.argv(), cores)
        self.wait_for(self.clear)
        if self.has_tls:
            self.wait_for(self.tls, ssl.create_default_context(cafile=self.setting.certificate))
        return self

    def wait_for(self, port, tls=None):
        """Until a request is answered."""
        pause = threading.Event()
        for _ in range(4000):
            if self.process.poll() is not None:
                break
            try:
                if ask(port, tls):
                    return
            except OSError:
                pass
            pause.wait(0.005)
        sys.exit(f"scripts/bench: {self.name} does not answer as it should on port {port}: {self.process.args}")

    def stop(self):
        if self.process is not None:
            machine.end(self.process)
        self.process = None

    def pids(self):
        return machine.process_tree(self.process.pid)


def ask(port, tls=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    if tls:
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=tls)
    try:
        connection.request("GET", "/", headers={"Connection": "close"})
        response = connection.getresponse()
        return response.status == 200 and response.read() == ANSWER
    finally:
        connection.close()


class Upswap(Program):
    name = "upswap"
    config = """
workers = {workers};
state_directory = "{folder}/{state}";
admin = {{ socket = "{folder}/{state}.sock"; }};
log = {{ level = "error"; }};
limits = {{ connections = {most}; }};
defaults = {{ timeouts = {{ idle = "1h"; }}; }};
{log}
listeners = ( {{ address = "127.0.0.1:{clear}"; }}, {{ address = "127.0.0.1:{h2c}"; }}, {{ address = "127.0.0.1:{tls}";
  tls = {{ certificate = "{pem}"; minimum = "1.3"; protocols = [ "http/1.1" ]; }}; }}, {{ address = "127.0.0.1:{h2}";
  tls = {{ certificate = "{pem}"; minimum = "1.3"; protocols = [ "h2" ]; }}; }} );
services = ( {{ name = "web"; instances = [ "127.0.0.1:{app}" ]; uptests = {{ {uptests} }}; health = {{ interval = "0s"; }}; }}{services} );
"""

    def __init__(self, setting, name="upswap", state="state", log="", services="", uptests="required = false;"):
        super().__init__(setting, log=log, services=services, state=state, uptests=uptests)
        self.name = name
        self.conf = os.path.join(setting.folder, f"upswap-{state}.conf")
        self.socket = os.path.join(setting.folder, f"{state}.sock")

    def values(self):
        return {**super().values(), "most": self.setting.clients + 1000}

    def argv(self):
        return [os.path.join(self.setting.build, "upswapd"), "-c", self.conf]

    def stop(self):
        super().stop()
        shutil.rmtree(os.path.join(self.setting.folder, self.more["state"]), ignore_errors=True)


def many_services(count, app, instances=1):
    """The text of so many services besides "web": s1 to sN, each with a host of its own and instances on addresses of its own."""
    texts = []
    for number in range(1, count + 1):
        first = (number - 1) * instances
        named = (f'"127.{1 + (first + i) // 62500}.{(first + i) // 250 % 250}.{1 + (first + i) % 250}:{app}"' for i in range(instances))
        texts.append(
            f', {{ name = "s{number}"; hosts = [ "s{number}.example.com" ]; instances = [ {", ".join(named)} ]; '
            'uptests = { required = false; }; health = { interval = "0s"; }; }\n'
        )
    return "".join(texts)


class Haproxy(Program):
    """Its reckoning of two descriptors a client may go beyond the limit: idle ones have one. Long
    bodies are always spliced, by large pipes."""

    name = "haproxy"
    config = """
global
  nbthread {workers}
  maxconn {most}
  no strict-limits
  {pipes}
  tune.ssl.cachesize 0
defaults
  mode http
  timeout client 1h
  timeout server 1h
  timeout connect 2s
  timeout http-request 10s
  option http-keep-alive
  http-reuse always
  {splice}
frontend front
  bind 127.0.0.1:{clear} backlog 4096
  bind 127.0.0.1:{h2c} proto h2
  bind 127.0.0.1:{tls} backlog 4096 ssl crt {pem} alpn http/1.1 ssl-min-ver TLSv1.3 curves X25519 ciphersuites TLS_AES_128_GCM_SHA256
  bind 127.0.0.1:{h2} ssl crt {pem} alpn h2 ssl-min-ver TLSv1.3 curves X25519 ciphersuites TLS_AES_128_GCM_SHA256
  default_backend app
backend app
  option forwardfor
  server one 127.0.0.1:{app} pool-purge-delay 1h
"""

    def values(self):
        long = {"pipes": "tune.pipesize 1048576", "splice": "option splice-request\n  option splice-response"}
        return {**super().values(), "most": self.setting.clients + 1000, **(long if self.setting.long else dict.fromkeys(long, ""))}

    def argv(self):
        return [shutil.which("haproxy", path=machine.SBIN), "-db", "-f", self.conf]


class Nginx(Program):
    """What it holds of a body is as much as it reads at a time, and never goes to a file."""

    name = "nginx"
    config = """
daemon off; worker_processes {workers}; pid {folder}/nginx.pid; error_log {folder}/nginx.log crit;
events {{ worker_connections {most}; use epoll; multi_accept on; accept_mutex off; }}
http {{
  access_log off; tcp_nodelay on; keepalive_requests 100000000; keepalive_timeout 1h; server_tokens off;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream app {{ server 127.0.0.1:{app}; keepalive 256; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{clear} backlog=4096;
    listen 127.0.0.1:{h2c} http2 backlog=4096;
    listen 127.0.0.1:{tls} ssl backlog=4096;
    listen 127.0.0.1:{h2} ssl http2 backlog=4096;
    ssl_certificate {pem}; ssl_certificate_key {pem};
    ssl_protocols TLSv1.3; ssl_ecdh_curve X25519; ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
    ssl_session_timeout 1h;
    client_max_body_size 0;
    location / {{
      proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;
      {long_bodies}
    }}
  }}
}}
"""
    LONG = "proxy_buffering off; proxy_request_buffering off; proxy_buffer_size 64k; proxy_buffers 4 64k; proxy_busy_buffers_size 128k; client_body_buffer_size 64k;"

    def values(self):
        most = 2 * self.setting.clients + 1000
        return {**super().values(), "most": most, "long_bodies": self.LONG if self.setting.long else ""}

    def argv(self):
        return [shutil.which("nginx", path=machine.SBIN), "-c", self.conf, "-p", self.setting.folder]


class Floor(Program):
    """The forwarder of bytes; over HTTP/1.1 only."""

    name = "floor"
    has_tls = False

    def __init__(self, setting, how=""):
        super().__init__(setting)
        self.how = how or ("once" if setting.once else "")
        self.name = f"floor, {how}" if how else "floor"

    def write_config(self):
        pass

    def argv(self):
        return [self.setting.tool("forwarder"), self.clear, self.setting.app, *filter(None, [self.how])]


class App:
    """What answers behind all of them, on the load's core."""

    def __init__(self, build):
        self.port = machine.free_port()
        tool = os.path.join(build, "tests", "bench", "backend")
        self.process = machine.spawn([tool, self.port], (machine.LOAD_CORE,))

    def stop(self):
        machine.end(self.process)


def make_certificate(path):
    """Certificate and key in one file, as HAProxy wants it."""
    key = path + ".key"
    machine.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
        + ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", path]
    )
    with open(path, "a", encoding="ascii") as site, open(key, encoding="ascii") as part:
        site.write(part.read())
