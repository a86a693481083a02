"""Trace context: traceparent and tracestate as they reach the app, and the trace's id in the access log."""

import json
import os
import re

import pytest

from harness import frames
from harness.backend import Backend
from harness.http2 import Http2Client, Http2Instance
from harness.waiting import wait_until

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-00"
STATE = ["tracestate: rojo=00f067aa0ba902b7", "tracestate: congo=t61rcWkgMzE"]
BEGUN = r"00-([0-9a-f]{32})-[0-9a-f]{16}-01"


class Traced:
    """A front with an access log; `ask` gives the app's request, `logged` the traces in the log by request."""

    def __init__(self, start, folder, **settings):
        self.path = os.path.join(folder, "access.log")
        service = {"hosts": ["app.test"], **settings.pop("service", {})}
        self.front = start(Backend("traced"), access_log={"path": self.path}, service=service, **settings)

    def ask(self, fields):
        self.front.backend.forget()
        assert self.front.ask(fields=fields).status == 200
        return self.front.backend.next_request()[1]

    def read(self):
        if not os.path.exists(self.path):
            return {}
        with open(self.path, encoding="ascii") as file:
            lines = [json.loads(line) for line in file if line.endswith("\n")]
        return {line["request_id"]: line["trace_id"] for line in lines}

    def logged(self, *requests):
        """The traces of requests, or of their ids, as the log has them, which is written about once a second."""
        ids = [each if isinstance(each, str) else each.get("X-Request-Id") for each in requests]
        wait_until(lambda: set(ids) <= set(self.read()), what="the lines of the log")
        return [self.read()[each] for each in ids]


@pytest.fixture(scope="module")
def traced(start_front, tmp_path_factory):
    return Traced(start_front, str(tmp_path_factory.mktemp("log")))


@pytest.fixture
def make_traced(start_own_front, tmp_path):
    return lambda **settings: Traced(start_own_front, str(tmp_path), **settings)


def begun(request):
    """The id of the new trace, which is the only one."""
    (parent,) = request.all("traceparent")
    trace = re.fullmatch(BEGUN, parent).group(1)
    assert trace != TRACE and request.all("tracestate") == []
    return trace


def test_a_clients_trace_is_passed_unchanged_and_logged(traced):
    request = traced.ask([STATE[0], f"traceparent: {PARENT}", STATE[1]])
    assert request.all("traceparent") == [PARENT]
    assert [f"tracestate: {value}" for value in request.all("tracestate")] == STATE
    assert traced.logged(request) == [TRACE]


def test_without_one_a_trace_begins_that_has_the_requests_id(traced):
    requests = [traced.ask([]) for _ in range(5)]
    traces = [begun(request) for request in requests]
    assert traces == [request.get("X-Request-Id") for request in requests] == traced.logged(*requests)
    assert len(set(traces)) == len({request.get("traceparent").split("-")[2] for request in requests}) == 5


def test_what_is_malformed_is_replaced_and_its_state_taken_off(traced):
    malformed = [
        ["traceparent: 00-00000000000000000000000000000000-b7ad6b7169203331-01"],
        [f"traceparent: {PARENT}-more"],
        [f"traceparent: {PARENT.upper()}"],
        [f"traceparent: {PARENT}", f"traceparent: {PARENT}"],
        [f"traceparent: {PARENT}, {PARENT}"],
        [],
    ]
    requests = [traced.ask([*fields, *STATE]) for fields in malformed]
    assert [begun(request) for request in requests] == traced.logged(*requests)


def test_with_pass_none_begins_and_a_valid_one_is_passed(make_traced):
    traced = make_traced(service={"trace": "pass"})
    passed = traced.ask([f"traceparent: {PARENT}", STATE[0]])
    assert passed.all("traceparent") == [PARENT]
    others = [traced.ask(fields) for fields in ([], STATE, [f"traceparent: {PARENT}x", STATE[0]])]
    for request in others:
        assert request.all("traceparent") == request.all("tracestate") == []
    assert traced.logged(passed, *others) == [TRACE, None, None, None]


@pytest.mark.parametrize("proxies, believed", [([], False), (["127.0.0.1"], True)])
def test_with_trusted_only_a_trusted_proxys_is_passed(make_traced, proxies, believed):
    traced = make_traced(service={"trace": "trusted"}, trusted_proxies=proxies)
    request = traced.ask([f"traceparent: {PARENT}", STATE[0]])
    if believed:
        assert request.all("traceparent") == [PARENT] and len(request.all("tracestate")) == 1
        own = traced.ask(["X-Request-Id: theirs"])  # which is no id of a trace
        assert traced.logged(request, own) == [TRACE, begun(own)]
    else:
        assert traced.logged(request) == [begun(request)]


def test_an_own_answer_has_the_requests_id_and_the_log_the_clients_trace(traced):
    response = traced.front.ask(host="other.test", fields=[f"traceparent: {PARENT}"])
    assert response.status == 404 and response.get("traceparent") is None
    assert traced.logged(response.get("X-Request-Id")) == [TRACE]


def test_http2_is_treated_alike(traced):
    backend = traced.front.backend
    backend.forget()
    with Http2Client(traced.front.port) as client:
        client.ask(extra=[("traceparent", PARENT), ("tracestate", "a=1")])
        passed = backend.next_request()[1]
        assert passed.get("traceparent") == PARENT and passed.get("tracestate") == "a=1"
        backend.forget()
        client.ask()
        request = backend.next_request()[1]
    assert traced.logged(passed, request) == [TRACE, begun(request)]


def test_an_instance_of_http2_is_told_too(make_daemon):
    instance = Http2Instance()
    try:
        daemon = make_daemon([{"name": "web", "upstream": "h2", "instances": [instance.address]}]).start()
        with Http2Client(daemon.port) as client:
            client.ask(extra=[("traceparent", PARENT), ("tracestate", "a=1")])
            client.ask()
        first, second = (dict(fields) for _, fields, _ in instance.requests[:2])
        assert first["traceparent"] == PARENT and first["tracestate"] == "a=1"
        assert re.fullmatch(BEGUN, second["traceparent"]) and "tracestate" not in second
    finally:
        instance.close()


def test_a_websocket_is_part_of_a_trace_too(traced):
    upgraded = frames.Upgraded()
    backend = traced.front.backend
    backend.on("/ws", upgraded)
    backend.forget()
    with traced.front.client() as client:
        response = client.ask(target="/ws", fields=[*frames.UPGRADE, f"traceparent: {PARENT}"])
        assert response.status == 101
        upgraded.wait().close()
        assert backend.next_request()[1].all("traceparent") == [PARENT]
    assert traced.logged(response.get("X-Request-Id")) == [TRACE]
