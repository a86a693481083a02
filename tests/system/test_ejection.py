"""Passive ejection: requests that fail take an instance out for a while, and never empty a pool."""

import pytest

from harness.backend import Backend, canned
from harness.load import Load
from harness.waiting import stays, wait_until

QUICK = {"failures": 3, "pause": "10s"}
OFF = {"interval": "0s"}


def states(front):
    live = front.admin.pool(front.admin.live())
    return {each["address"]: each["state"] for each in live["instances"]}


def fail(connection, request):
    request.read_body(connection)
    connection.answer(b"oh\n", status="500 Oh")


@pytest.fixture
def pair(start_own_front):
    """start(**ejection): a front with the instances "a" and "b", one worker, and no checks."""

    def start(count=2, **ejection):
        backends = [Backend(name) for name in "abcd"[:count]]
        front = start_own_front(*backends, service={"health": OFF, "ejection": {**QUICK, **ejection}}, workers=1)
        front.events = front.daemon.events()
        return front

    return start


def ask_until_ejected(front, backend):
    """Asks until the instance gets nothing any more."""
    event = None
    wait_until(lambda: front.ask() and states(front)[backend.address] == "ejected", what="the ejection")
    event = front.events.wait("instance.ejected")
    assert event["instance"] == backend.address and event["by"] == "traffic", event
    return event


def test_a_run_of_server_errors_ejects(pair):
    front = pair()
    a, b = front.backends
    a.default = fail
    event = ask_until_ejected(front, a)
    assert "one after the other" in event["reason"]
    assert len(a.requests) == 3
    assert {front.ask().body for _ in range(10)} == {b"b"}
    ejections = {
        dict(labels)["instance"]: value
        for (name, labels), value in front.admin.metrics().items()
        if name == "upswap_instance_ejections_total"
    }
    assert ejections == {a.address: 1, b.address: 0}


def test_server_errors_with_a_pass_in_between_do_not(pair):
    front = pair(count=1, most=100)
    for _ in range(5):
        front.backend.default = fail
        assert [front.ask().status for _ in range(2)] == [500, 500]
        front.backend.default = canned(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        assert front.ask().status == 404
    assert states(front) == {front.backend.address: "up"} and not front.events.of("instance.ejected")


@pytest.mark.parametrize("status", ["501 Not Implemented", "505 Version", "404 Not Found"])
def test_statuses_that_speak_of_the_request_do_not(pair, status):
    front = pair()
    front.backend.default = canned(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
    for _ in range(20):
        front.ask()
    assert set(states(front).values()) == {"up"}


def close_early(connection, request):
    request.read_body(connection)
    connection.close()


@pytest.mark.parametrize("script", [close_early, canned(b"nonsense\r\n\r\n", close=True)])
def test_broken_answers_eject(pair, script):
    front = pair()
    front.backend.default = script
    ask_until_ejected(front, front.backend)


def test_refused_connections_eject_and_no_request_fails(start_own_front):
    a, b = Backend("a", listen=False), Backend("b")
    front = start_own_front(a, b, service={"health": OFF, "ejection": QUICK}, workers=1)
    assert [front.ask().status for _ in range(10)] == [200] * 10
    assert states(front)[a.address] == "ejected"
    pool = front.admin.live()
    refused = front.admin.metrics()[
        "upswap_upstream_errors_total",
        frozenset({("service", "web"), ("pool", pool), ("kind", "connect_refused")}),
    ]
    assert refused == 3


def test_answers_that_do_not_come_eject(start_own_front):
    def hang(connection, request):
        connection.ended.wait(20)

    a, b = Backend("a", script=hang), Backend("b")
    service = {"health": OFF, "ejection": {**QUICK, "failures": 1}, "timeouts": {"first_byte": "100ms"}}
    front = start_own_front(a, b, service=service, workers=1)
    assert sorted(front.ask().status for _ in range(6)) == [200] * 5 + [504]
    assert states(front)[a.address] == "ejected"


def test_after_the_pause_one_request_tries_it(pair):
    front = pair(pause="300ms")
    a, b = front.backends
    a.default = fail
    ask_until_ejected(front, a)
    front.events.wait("instance.restored")
    seen = len(a.requests)
    wait_until(lambda: front.ask() and len(a.requests) > seen, what="a request that tries it")
    assert states(front)[a.address] == "ejected"  # one was enough
    assert len(a.requests) == seen + 1
    a.default = canned(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na")
    front.events.wait("instance.restored", count=2)
    wait_until(lambda: front.ask().body == b"a", what="a to answer")
    assert {front.ask().body for _ in range(8)} == {b"a", b"b"}


def test_no_more_than_half_are_ejected(pair):
    front = pair(count=4)
    for backend in front.backends:
        backend.default = fail
    for _ in range(60):
        assert front.ask().status == 500
    assert sorted(states(front).values()) == ["ejected", "ejected", "up", "up"]


def test_when_all_are_out_all_are_tried(pair):
    front = pair(most=100)
    for backend in front.backends:
        backend.default = fail
    wait_until(lambda: front.ask() and set(states(front).values()) == {"ejected"}, what="both to be out")
    before = [len(backend.requests) for backend in front.backends]
    for _ in range(6):
        assert front.ask().status == 500
    assert all(len(backend.requests) > seen for backend, seen in zip(front.backends, before))


def test_by_default_nobody_is_ejected(start_own_front):
    a, b = Backend("a", script=fail), Backend("b")
    front = start_own_front(a, b)
    for _ in range(40):
        front.ask()
    assert stays(lambda: set(states(front).values()) == {"up"}, 0.6) is None


def test_a_reload_switches_it_off_and_on(pair):
    front = pair()
    a, _ = front.backends
    a.default = fail

    def reload(ejection):
        front.daemon.config["services"][0]["ejection"] = ejection
        front.daemon.write_config()
        assert front.admin.post("/v1/reload").status == 200

    ask_until_ejected(front, a)
    reload({"failures": 0})
    assert states(front)[a.address] == "up"
    assert {front.ask().status for _ in range(6)} == {200, 500}
    reload(QUICK)
    assert states(front)[a.address] == "ejected"


def test_a_swap_while_instances_are_ejected(make_stand, make_backend):
    stand = make_stand(live=2, service={"health": OFF, "ejection": {**QUICK, "failures": 1}}, workers=1)
    stand.suite.shell("01_pass")
    stand.live[0].default = fail
    stand.start()
    wait_until(lambda: stand.ask() and states(stand)[stand.live[0].address] == "ejected", what="the ejection")
    new = [make_backend(f"new-{number}") for number in range(2)]
    end = stand.events.wait_end(stand.admin.stage([backend.address for backend in new]))
    assert end["type"] == "deployment.done"
    assert {stand.ask().body for _ in range(8)} == {b"new-0", b"new-1"}
    assert set(states(stand).values()) == {"up"}


def test_an_instance_that_is_killed_under_load_costs_no_idempotent_request(make_daemon, make_app):
    apps = make_app("r1", 2)
    service = {"name": "web", "instances": [app.address for app in apps], "ejection": QUICK}
    daemon = make_daemon([service]).start()
    events = daemon.events()
    with Load(daemon.port, plan=("fresh",) * 4) as load:
        wait_until(lambda: len(load.exchanges) > 100, what="some load")
        apps[0].kill()
        events.wait("instance.ejected")
        before = len(load.exchanges)
        wait_until(lambda: len(load.exchanges) > before + 200, what="more load")
    load.assert_flawless()
