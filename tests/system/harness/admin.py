"""The admin socket: requests, and events as they come."""

import http.client
import json
import re
import socket
import threading

from .waiting import PATIENCE
from .wire import Wire

ENDS = ("deployment.done", "deployment.rejected", "deployment.aborted", "deployment.rolled_back")


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=PATIENCE):
        super().__init__("upswap", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def detail(self):
        """The sentence of a refusal, whose shape is checked on the way."""
        assert self.headers["Content-Type"].startswith("application/problem+json"), self.headers.as_string()
        problem = self.json
        assert {"type", "title", "status", "detail"} <= set(problem), problem
        assert problem["status"] == self.status
        return problem["detail"]

    def __repr__(self):
        return f"<{self.status} {self.body[:500]!r}>"


class Admin:
    def __init__(self, path):
        self.path = path

    def request(self, method, target, body=None, headers=None):
        """One request on a connection of its own; a body that is no bytes goes as JSON."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        connection = UnixConnection(self.path)
        try:
            connection.request(method, target, body, headers or {})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def get(self, target):
        """The JSON of a GET that must succeed."""
        answer = self.request("GET", target)
        assert answer.status == 200, (target, answer)
        return answer.json

    def post(self, target, body=None):
        return self.request("POST", target, body if body is not None else {})

    def status(self):
        return self.get("/v1/status")

    def service(self, service="web"):
        return self.get(f"/v1/services/{service}")

    def live(self, service="web"):
        return self.service(service)["live"]

    def pool(self, deployment, service="web"):
        """The pool of that deployment as the service shows it, or None when it is retired."""
        return next((p for p in self.service(service)["pools"] if p["deployment"] == deployment), None)

    def deployment(self, deployment):
        return self.get(f"/v1/deployments/{deployment}")

    def history(self, service="web"):
        return self.get(f"/v1/services/{service}/deployments")["deployments"]

    def try_stage(self, instances, service="web", **keys):
        return self.post(f"/v1/services/{service}/deployments", {"instances": instances, **keys})

    def stage(self, instances, service="web", **keys):
        """Stages a pool; returns the deployment's name."""
        answer = self.try_stage(instances, service, **keys)
        assert answer.status == 202, answer
        return answer.json["deployment"]

    def command(self, verb, service="web", **keys):
        return self.post(f"/v1/services/{service}/{verb}", keys)

    def metrics(self):
        """Prometheus text as {(name, frozenset of label pairs): value}."""
        answer = self.request("GET", "/metrics")
        assert answer.status == 200
        return parse_metrics(answer.body.decode())

    def raw(self):
        """A bare connection to the socket."""
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(self.path)
        return Wire(sock)


def parse_metrics(text):
    """Exposition format 0.0.4, strictly: every sample belongs to a family with HELP and TYPE before it."""
    samples, types, helps = {}, {}, set()
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# HELP "):
            helps.add(line.split(" ", 3)[2])
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in types, f"{name} has two TYPE lines"
            assert kind in ("counter", "gauge", "histogram", "summary"), line
            types[name] = kind
        elif line:
            series, value = line.rsplit(" ", 1)
            name, brace, rest = series.partition("{")
            labels = _labels(rest[:-1]) if brace else frozenset()
            family = name
            for suffix in ("_bucket", "_sum", "_count"):
                if name not in types and name.endswith(suffix):
                    family = name[: -len(suffix)]
            assert family in types and family in helps, f"{name} without HELP and TYPE"
            assert (name, labels) not in samples, f"{series} came twice"
            samples[name, labels] = float(value)
    return samples


def _labels(text):
    pairs = []
    while text:
        name, _, rest = text.partition('="')
        end = 0
        while rest[end] != '"':
            end += 2 if rest[end] == "\\" else 1
        pairs.append((name, rest[:end]))
        text = rest[end + 1 :]
        assert not text or re.match(r",[a-z]", text), f"labels go on with {text}"
        text = text[1:]
    return frozenset(pairs)


class Events:
    """Follows the event log on a thread of its own, across restarts of control. `all` only grows."""

    def __init__(self, path, since=0):
        self.path = path
        self.all = []
        self.last = since
        self.changed = threading.Condition(threading.RLock())
        self.stopped = False
        self.connection = None
        self.listeners = []
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def on(self, type_, action):
        """Calls action(event) for each event of this type (None: of any), at once on the follower's thread."""
        self.listeners.append((type_, action))

    def _run(self):
        while not self.stopped:
            connection = UnixConnection(self.path, timeout=None)
            self.connection = connection
            try:
                connection.request("GET", f"/v1/events?since={self.last}&follow=1")
                response = connection.getresponse()
                while line := response.readline():
                    self._add(json.loads(line))
            except (OSError, http.client.HTTPException, ValueError):
                pass
            finally:
                connection.close()
            with self.changed:
                if not self.stopped:
                    self.changed.wait(0.02)  # the daemon is away: look again

    def _add(self, event):
        with self.changed:
            if event["seq"] <= self.last:
                return
            self.last = event["seq"]
            self.all.append(event)
            self.changed.notify_all()
        for type_, action in list(self.listeners):
            if type_ in (None, event["type"]):
                action(event)

    def of(self, type_, **keys):
        with self.changed:
            return [e for e in self.all if e["type"] == type_ and all(e.get(k) == v for k, v in keys.items())]

    def wait(self, type_, count=1, timeout=PATIENCE, **keys):
        """The `count`th event of this type with these members."""
        with self.changed:
            if not self.changed.wait_for(lambda: len(self.of(type_, **keys)) >= count, timeout):
                seen = [(e["type"], e.get("deployment")) for e in self.all[-12:]]
                raise AssertionError(f"no {type_} {keys} within {timeout} s; the last events: {seen}")
            return self.of(type_, **keys)[count - 1]

    def wait_end(self, deployment, timeout=PATIENCE):
        """The event that ends a deployment."""

        def end():
            return [e for e in self.all if e.get("deployment") == deployment and e["type"] in ENDS]

        with self.changed:
            if not self.changed.wait_for(end, timeout):
                seen = [e["type"] for e in self.all if e.get("deployment") == deployment]
                raise AssertionError(f"{deployment} did not end within {timeout} s; its events: {seen[-12:]}")
            return end()[0]

    def stop(self):
        with self.changed:
            self.stopped = True
            self.changed.notify_all()
        connection = self.connection
        if connection is not None and connection.sock is not None:
            try:
                connection.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.thread.join(5)
