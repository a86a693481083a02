"""The shadow gate: a staged pool is sent copies of live requests; it must answer as the live pool does."""

import json
import threading
import time

import pytest

from harness.backend import Held
from harness.certificates import Authority
from harness.client import RawClient
from harness.http2 import Http2Client, Http2Instance
from harness.waiting import wait_until

SHADOW = {"share": 1.0, "seconds": 5, "minimum": 40, "differ": 0.05, "latency": 0.0}
PATHS = ("/", "/items?n=1", "/items?n=2", "/page")


class Traffic:
    """Clients that ask for these targets in turn until the end, and keep every answer."""

    def __init__(self, port, targets=PATHS, fields=(), method="GET", clients=2, body=b""):
        self.port, self.targets, self.fields, self.method, self.body = port, targets, list(fields), method, body
        self.stopping = threading.Event()
        self.answers, self.failures = [], []
        self.threads = [threading.Thread(target=self._run, daemon=True) for _ in range(clients)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join(30)
            assert not thread.is_alive(), "a client hangs"
        assert not self.failures, self.failures[:3]
        assert self.answers, "nothing was asked"

    def _run(self):
        try:
            with RawClient(self.port, timeout=30) as client:
                while not self.stopping.wait(0.004):
                    for target in self.targets:
                        response = client.ask(self.method, target, self.fields, self.body)
                        self.answers.append((response.status, response.body))
        except Exception as fault:  # whatever it is, it is a failed request
            self.failures.append(repr(fault))


@pytest.fixture
def shade(make_stand, make_backend):
    """shade(setting=..., service={...}) -> (stand, live, staged): a stand whose releases have a shadow gate."""

    def make(service=None, staged=None, **shadow):
        stand = make_stand(live=0, service={"shadow": {**SHADOW, **shadow}, **(service or {})}, workers=2)
        live, candidate = make_backend("same"), staged or make_backend("same")
        stand.daemon.config["services"][0]["instances"] = [live.address]
        stand.suite.shell("01_pass")
        stand.start()
        return stand, live, candidate

    return make


def end_of(stand, deployment):
    stand.events.wait_end(deployment, timeout=60)
    return stand.admin.deployment(deployment)


def copies(backend):
    """The copies that reached it; readiness probes send nothing, uptests here neither."""
    return [request for request in list(backend.requests) if request.get("X-Upswap-Shadow") == "1"]


def shadow_of(stand, deployment):
    return stand.admin.deployment(deployment)["shadow"] or {"compared": 0}


def wait_compared(stand, deployment, count=1):
    wait_until(lambda: shadow_of(stand, deployment)["compared"] >= count, what=f"{count} compared")


def whys(report):
    return [moment["why"] for moment in report["timeline"]]


def test_an_equal_release_passes_and_clients_see_nothing_of_the_copies(shade):
    stand, live, staged = shade()
    with Traffic(stand.port, fields=["X-Mine: 1"]) as traffic:
        deployment = stand.admin.stage([staged.address])
        stand.events.wait("shadow.started", deployment=deployment)
        assert stand.state(deployment) == "testing"
        report = end_of(stand, deployment)
    assert report["state"] == "done", report
    assert set(traffic.answers) == {(200, b"same")}
    shadow = report["shadow"]
    assert shadow["compared"] >= SHADOW["minimum"] and shadow["differing"] == 0 and shadow["worst"] == []
    assert shadow["share"] == 1.0
    assert 0 < shadow["latency"]["staged"]["p50"] <= shadow["latency"]["staged"]["p95"] < 5
    assert any("were answered differently (0.0%; limit 5.0%)" in why for why in whys(report)), report["timeline"]
    assert [cell["state"] for cell in report["gate"]["cells"]] == ["passed"] and "shadow" not in report["gate"]
    got = copies(staged)
    assert {request.target for request in got} == set(PATHS)
    assert all(request.get("Host") == "app.test" and request.get("X-Mine") == "1" for request in got)
    assert all(request.get("X-Forwarded-For") == "127.0.0.1" for request in got)
    assert not copies(live), "the live pool was sent a mark"
    order = [event["type"] for event in stand.events.all if event.get("deployment") == deployment]
    assert order.index("shadow.started") < order.index("gate.passed") < order.index("swap.published")


def test_a_release_that_fails_on_some_paths_is_rejected_and_they_are_named(shade):
    stand, live, staged = shade()
    staged.on("/page", b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n")
    before = stand.admin.live()
    with Traffic(stand.port) as traffic:
        result = stand.daemon.upswap("stage", "web", staged.address)
    assert result.returncode == 3, result
    report = stand.admin.history()[0]
    assert report["state"] == "rejected" and stand.admin.live() == before
    assert "/page" in report["reason"] and "(2xx live, 5xx staged)" in report["reason"], report["reason"]
    assert "/items" not in report["reason"]
    assert "/page" in result.stdout + result.stderr
    shadow = stand.admin.deployment(report["deployment"])["shadow"]
    assert 0.15 < shadow["differing"] / shadow["compared"] < 0.35
    worst = shadow["worst"][0]
    assert worst == {"path": "/page", "live": "2xx", "staged": "5xx", "slower": False, "count": shadow["differing"]}
    assert set(traffic.answers) == {(200, b"same")}
    assert stand.events.wait("gate.failed")["reason"] == report["reason"]


def test_a_release_that_is_slow_on_some_paths_is_rejected_and_they_are_named(shade):
    stand, live, staged = shade(latency=4.0)
    never = threading.Event()

    def slow(connection, request):
        never.wait(0.25)
        connection.answer(b"same")

    staged.on("/page", slow)
    with Traffic(stand.port):
        report = end_of(stand, stand.admin.stage([staged.address]))
    assert report["state"] == "rejected", report
    assert "took more than" in report["reason"] and "/page" in report["reason"], report["reason"]
    assert report["shadow"]["worst"][0]["slower"] and report["shadow"]["worst"][0]["path"] == "/page"
    assert report["shadow"]["differing"] == 0


def test_a_release_that_does_not_answer_is_rejected_even_where_little_was_compared(shade):
    held = Held()
    stand, live, staged = shade(minimum=1000, differ=0.01)
    staged.default = held
    with Traffic(stand.port):
        report = end_of(stand, stand.admin.stage([staged.address]))
    held.release()
    assert report["state"] == "rejected", report
    assert "none staged" in report["reason"] and "of 1000" in report["reason"], report["reason"]
    # What nobody answers does not pile up: a bounded number a worker is under way, and each waits for 2 s.
    assert len(copies(staged)) <= 2 * 16 * 4, "too many copies were under way at a time"
    assert report["shadow"]["dropped"] > 0


@pytest.mark.parametrize(
    "fields, method, body",
    [
        (["Cookie: a=b"], "GET", b""),
        (["Authorization: Basic eA=="], "GET", b""),
        (["Range: bytes=0-1"], "GET", b""),
        ([], "POST", b"x"),
        ([], "DELETE", b""),
        ([], "GET", b"body"),
        (["Connection: upgrade", "Upgrade: websocket"], "GET", b""),
    ],
    ids=["cookie", "authorization", "range", "post", "delete", "body", "upgrade"],
)
def test_what_acts_or_names_somebody_is_never_repeated(shade, fields, method, body):
    stand, live, staged = shade(minimum=1)
    with Traffic(stand.port, fields=fields, method=method, body=body) as traffic:
        report = end_of(stand, stand.admin.stage([staged.address], hold=False))
    assert report["state"] == "done"
    assert report["shadow"]["compared"] == 0 and not copies(staged)
    assert any("shadow: 0 of 1 requests were compared: not judged" in why for why in whys(report))
    assert {status for status, _ in traffic.answers} == {200}


def test_with_credentials_requests_that_name_somebody_are_repeated_as_they_are(shade):
    stand, live, staged = shade(credentials=True)
    with Traffic(stand.port, fields=["Cookie: a=b", "Authorization: Basic eA==", "X-Upswap-Shadow: 7"]):
        deployment = stand.admin.stage([staged.address])
        assert end_of(stand, deployment)["state"] == "done"
    assert copies(staged)
    assert all(r.get("Cookie") == "a=b" and r.get("Authorization") == "Basic eA==" for r in copies(staged))
    assert all(r.get("X-Upswap-Shadow") is None for r in live.requests), "a client forged the mark"


@pytest.fixture
def shade_over(make_stand, make_backend, tmp_path):
    """shade_over(tls, h2) -> (stand, staged, failing): instances that speak so; failing answers /page with 500."""
    made = []

    def instance(authority, h2, fails):
        tls = authority.server("127.0.0.1") if authority else None
        if h2:
            made.append(Http2Instance(tls=tls))
            if fails:
                made[-1].scripts["/page"] = lambda served, stream, *_: served.respond(stream, "500")
            return made[-1]
        backend = make_backend("same", tls=tls)
        if fails:
            backend.on("/page", b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n")
        return backend

    def make(tls, h2):
        authority = Authority(str(tmp_path)) if tls else None
        service = {"shadow": SHADOW, "upstream": "h2" if h2 else "h1"}
        if tls:
            service["tls"] = {"ca_file": authority.path}
        stand = make_stand(live=0, service=service, workers=2)
        live, staged, failing = (instance(authority, h2, fails) for fails in (False, False, True))
        stand.daemon.config["services"][0]["instances"] = [live.address]
        stand.suite.shell("01_pass")
        return stand.start(), staged, failing

    yield make
    for each in made:
        each.close()


@pytest.mark.parametrize("tls, h2", [(True, False), (False, True), (True, True)])
def test_copies_go_the_way_that_requests_go(shade_over, tls, h2):
    stand, staged, failing = shade_over(tls, h2)
    with Traffic(stand.port):
        assert end_of(stand, stand.admin.stage([failing.address]))["state"] == "rejected"
        report = end_of(stand, stand.admin.stage([staged.address]))
    assert report["state"] == "done" and report["shadow"]["differing"] == 0, report
    assert report["shadow"]["compared"] >= SHADOW["minimum"]
    failed = stand.admin.history()[1]
    assert "/page" in failed["reason"] and "(2xx live, 5xx staged)" in failed["reason"], failed["reason"]


def test_requests_over_http2_are_repeated_too(shade):
    stand, live, staged = shade()
    deployment = stand.admin.stage([staged.address])
    stand.events.wait("shadow.started", deployment=deployment)
    with Http2Client(stand.port) as client:
        for number in range(4 * SHADOW["minimum"]):
            assert client.ask(path=PATHS[number % len(PATHS)]).body == b"same"
        wait_compared(stand, deployment, SHADOW["minimum"])
    assert end_of(stand, deployment)["state"] == "done"
    assert {request.target for request in copies(staged)} == set(PATHS)


def test_a_held_deployment_is_held_behind_its_shadow(shade):
    stand, live, staged = shade()
    with Traffic(stand.port, method="HEAD"):
        deployment = stand.admin.stage([staged.address], hold=True)
        stand.events.wait("deployment.held", deployment=deployment, timeout=30)
        assert shadow_of(stand, deployment)["compared"] >= SHADOW["minimum"]
        copied = len(copies(staged))
        before = len(live.requests)
        wait_until(lambda: len(live.requests) > before + 50, what="more requests")
        assert len(copies(staged)) <= copied + 32, "the copies go on"
        stand.admin.command("abort")
        stand.events.wait_end(deployment)


def test_an_abort_cuts_the_copies_that_are_under_way(shade):
    held = Held()
    stand, live, staged = shade(service={"drain": {"requests": "60s"}})
    staged.default = held
    with Traffic(stand.port):
        deployment = stand.admin.stage([staged.address])
        held.wait()
        aborted = time.monotonic()
        assert stand.admin.command("abort").status == 200
        wait_until(lambda: stand.admin.pool(deployment) is None, what="the pool to be gone")
        assert time.monotonic() - aborted < 30, "the pool waited for copies"
    held.release()


def test_large_answers_are_not_read_to_their_end(shade):
    sizes = []

    def large(connection, request):
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 40000000\r\n\r\n")
        sent = 0
        try:
            while sent < 40000000:
                connection.send(b"x" * 65536)
                sent += 65536
        finally:
            if request.get("X-Upswap-Shadow"):
                sizes.append(sent)

    stand, live, staged = shade(minimum=5)
    staged.default = large
    with Traffic(stand.port, clients=1):
        report = end_of(stand, stand.admin.stage([staged.address]))
    assert report["state"] == "done", report
    assert sizes and max(sizes) < 20000000, "a copy's answer was read to its end"


def test_interim_answers_without_end_are_no_answer_and_keep_no_client_waiting(shade):
    sizes = []

    def hints(connection, request):
        sent = 0
        try:
            while sent < 500000000:
                connection.send(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 2000)
                sent += 56000
        finally:
            sizes.append(sent)

    stand, live, staged = shade(minimum=5)
    staged.default = hints
    with Traffic(stand.port, clients=1):
        report = end_of(stand, stand.admin.stage([staged.address]))
    assert report["state"] == "rejected", report
    assert sizes and max(sizes) < 20000000, "a copy's answer was read on and on"


@pytest.mark.parametrize("role", ["control", "keeper"])
def test_a_new_control_runs_the_whole_gate_again(shade, role):
    stand, live, staged = shade()
    staged.on("/page", b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n")
    with Traffic(stand.port):
        deployment = stand.admin.stage([staged.address])
        wait_compared(stand, deployment)
    stand.daemon.kill_role(role)
    with Traffic(stand.daemon.port):
        stand.events.wait("shadow.started", 2, timeout=30, deployment=deployment)
        report = end_of(stand, deployment)
    assert report["state"] == "rejected" and "/page" in report["reason"], report


def test_a_new_proxy_goes_on_where_the_old_one_was(shade):
    stand, live, staged = shade(minimum=5)
    staged.on("/page", b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n")
    deployment = None
    with Traffic(stand.port):
        deployment = stand.admin.stage([staged.address])
        wait_compared(stand, deployment, 8)
    seen = shadow_of(stand, deployment)["compared"]
    stand.daemon.kill_role("proxy")
    with Traffic(stand.port):
        wait_compared(stand, deployment, seen + 8)
        report = end_of(stand, deployment)
    assert report["state"] == "rejected" and "/page" in report["reason"], report


def test_a_first_pool_has_nobody_to_be_compared_with(make_stand, make_backend):
    stand = make_stand(live=0, service={"shadow": SHADOW})
    stand.suite.shell("01_pass")
    stand.start()
    deployment = stand.admin.stage([make_backend("first").address])
    assert end_of(stand, deployment)["state"] == "done"
    assert stand.admin.deployment(deployment)["shadow"] is None
