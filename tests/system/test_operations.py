"""Running it: readiness, signals, the end, metrics, the processes' rights."""

import os
import pwd
import signal
import socket

import pytest

from harness import frames, processes
from harness.backend import Backend, Held
from harness.client import RawClient, ask
from harness.waiting import wait_until


@pytest.fixture
def front(start_own_front):
    return start_own_front(Backend("one"))


def test_the_service_manager_is_told_when_it_is_ready_and_when_it_stops(make_daemon):
    daemon = make_daemon()
    path = daemon.path("notify")
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.settimeout(10)
    notify.bind(path)
    daemon.environment = {"NOTIFY_SOCKET": path}
    daemon.write_config()
    daemon.spawn()
    said = notify.recv(4096).decode()
    assert "READY=1" in said.splitlines()
    assert daemon.admin.request("GET", "/healthz").status == 200
    daemon.signal(signal.SIGTERM)
    while "STOPPING=1" not in said:
        said = notify.recv(4096).decode()
    assert daemon.wait_end() == 0
    notify.close()


def test_status_tells_versions_pids_and_listeners(front):
    status = front.admin.status()
    assert status["version"] and status["snapshot"] >= 1
    assert status["pids"]["keeper"] == front.daemon.process.pid
    for role in ("control", "proxy"):
        assert processes.is_running(status["pids"][role])
    (listener,) = status["listeners"]
    assert listener["address"] == "127.0.0.1:0" and listener["bound"] == f"127.0.0.1:{front.port}"


def test_sigterm_with_nothing_in_flight_ends_at_once_with_0(front):
    with front.client() as idle:
        assert idle.ask().status == 200
        assert front.daemon.stop(timeout=5) == 0
        idle.assert_closed()


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_the_end_finishes_what_is_in_flight_and_accepts_nothing_new(front, sig):
    held = Held(b"finished")
    front.backend.on("/held", held)
    with front.client() as client:
        client.request(target="/held")
        held.wait()
        front.daemon.signal(sig)
        wait_until(lambda: refused(front.port), what="new connections to be refused")
        assert front.daemon.process.poll() is None
        held.release()
        response = client.response()
        assert response.text == "finished" and not response.keeps_alive
        client.assert_closed()
    assert front.daemon.wait_end() == 0


def test_the_end_finishes_what_a_client_that_has_just_come_has_sent_behind_its_first_request(front):
    """The worker does not watch it yet, so it reads the next ones behind its first answer."""
    front.backend.on("/held", held := Held(b"held"))
    with front.client() as client:
        client.request(target="/held")
        held.wait()
        client.request(target="/second")
        client.request(target="/third")
        front.daemon.signal(signal.SIGTERM)
        wait_until(lambda: refused(front.port), what="new connections to be refused")
        held.release()
        assert [client.response().text for _ in range(3)] == ["held", "one", "one"]
        client.assert_closed()
    assert front.daemon.wait_end() == 0


def refused(port):
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:  # it was in the backlog when that was closed
        pass
    return False


def test_the_end_does_not_wait_longer_than_the_drain_times(start_own_front):
    front = start_own_front(Backend("one"), service={"drain": {"requests": "500ms", "streams": "500ms"}})
    held = Held()
    front.backend.on("/held", held)
    with front.client() as client:
        client.request(target="/held")
        held.wait()
        assert front.daemon.stop(timeout=5) == 0
        held.release()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_a_terminal_sends_to_all_processes_cuts_no_request(front, number):
    front.backend.on("/held", held := Held(b"whole"))
    with front.client() as client:
        client.request(target="/held")
        held.wait()
        for role in ("proxy", "control"):
            os.kill(front.admin.status()["pids"][role], number)
        front.daemon.signal(signal.SIGTERM)
        wait_until(lambda: refused(front.port), what="new connections to be refused")
        held.release()
        assert client.response().text == "whole"
    assert front.daemon.wait_end() == 0


def test_a_second_signal_right_behind_the_first_cuts_no_request(front):
    front.backend.on("/held", held := Held(b"whole"))
    with front.client() as client:
        client.request(target="/held")
        held.wait()
        for number in (signal.SIGSTOP, signal.SIGTERM, signal.SIGINT, signal.SIGCONT):  # both come in one moment
            front.daemon.signal(number)
        wait_until(lambda: refused(front.port), what="new connections to be refused")
        held.release()
        assert client.response().text == "whole"
    assert front.daemon.wait_end() == 0


def test_a_second_signal_some_time_later_ends_at_once(front):
    front.backend.on("/held", held := Held(b"cut"))
    with front.client() as client:
        client.request(target="/held")
        held.wait()

        def is_ended_by_a_signal():
            front.daemon.signal(signal.SIGTERM)
            return front.daemon.process.poll() is not None

        wait_until(is_ended_by_a_signal, what="the end")
        client.assert_closed()
    assert front.daemon.wait_end() == 1
    held.release()


def test_a_stop_in_which_the_proxy_is_killed_has_not_finished_everything(front):
    front.backend.on("/held", held := Held(b"lost"))
    with front.client() as client:
        client.request(target="/held")
        held.wait()
        proxy = front.admin.status()["pids"]["proxy"]
        front.daemon.signal(signal.SIGTERM)
        wait_until(lambda: refused(front.port), what="new connections to be refused")
        os.kill(proxy, signal.SIGKILL)
        client.assert_closed()
    assert front.daemon.wait_end() == 1
    assert "the proxy was killed by signal 9 (Killed) in the middle of the stop" in front.daemon.stderr()
    held.release()


@pytest.mark.parametrize("start", [b"GET / HT", b"PRI * HTTP/2.0\r\n\r\n"])
def test_the_end_does_not_wait_for_a_head_that_does_not_come(start_own_front, start):
    front = start_own_front(Backend("one"), defaults={"timeouts": {"head": "10m"}})
    with front.client() as client, front.client() as other:
        client.send(start)
        assert other.ask().status == 200
        assert front.daemon.stop(timeout=8) == 0


def test_a_request_body_that_is_on_its_way_at_the_end_is_finished(front):
    with front.client() as client:
        client.request("POST", "/", ["Content-Length: 10"], b"first")
        front.backend.next_request()
        front.daemon.signal(signal.SIGTERM)
        wait_until(lambda: refused(front.port))
        client.send(b"-last")
        assert client.response().status == 200
    assert front.daemon.wait_end() == 0


def test_sigterm_in_a_deployment_ends_and_the_next_start_goes_on_with_it(make_stand, make_backend, puppets):
    stand = make_stand()
    stand.suite.add("01", puppets.program)
    stand.start()
    deployment = stand.admin.stage([make_backend("fresh").address])
    call = puppets.next()
    assert stand.daemon.stop() == 0
    call.wait_end()
    stand.daemon.start()
    again = puppets.next()
    again.exit(0)
    wait_until(lambda: stand.state(deployment) == "done")
    assert ask(stand.daemon.port).text == "fresh"


def test_the_admin_socket_is_gone_after_the_end(front):
    assert front.daemon.stop() == 0
    assert not os.path.exists(front.daemon.socket)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give up its rights")
def test_the_proxy_runs_as_its_user_without_a_way_back(start_own_front):
    front = start_own_front(Backend("one"), user="nobody")
    with open(f"/proc/{front.daemon.pids['proxy']}/status", encoding="ascii") as file:
        status = dict(line.split(":", 1) for line in file)
    uid = str(pwd.getpwnam("nobody").pw_uid)
    assert status["Uid"].split() == [uid] * 4
    assert status["NoNewPrivs"].strip() == "1"
    assert int(status["CapEff"], 16) == 0 and int(status["CapPrm"], 16) == 0


@pytest.mark.skipif(os.getuid() != 0, reason="only root may look into a role")
def test_the_proxy_has_one_thread_a_worker_and_inherits_no_stray_descriptors(start_own_front):
    front = start_own_front(Backend("one"), workers=3)
    proxy = front.daemon.pids["proxy"]
    assert len(os.listdir(f"/proc/{proxy}/task")) <= 5
    links = []
    for fd in os.listdir(f"/proc/{proxy}/fd"):
        try:
            links.append(os.readlink(f"/proc/{proxy}/fd/{fd}"))
        except FileNotFoundError:
            pass
    assert not [link for link in links if link.startswith(front.daemon.folder) and not link.endswith("stderr")]


def test_descriptors_do_not_leak_over_many_connections(start_own_front):
    front = start_own_front(Backend("one"), defaults={"timeouts": {"head": "1s"}})

    def descriptors():
        return processes.descriptors(front.daemon.pids["proxy"])

    for _ in range(50):
        front.ask()
    before = descriptors()
    for _ in range(300):
        front.ask()
    for _ in range(50):
        client = front.client()
        client.send(b"GET / HT")
        client.reset()
    wait_until(lambda: descriptors() <= before + 5, what="the connections' descriptors to be closed")


def labelled(samples, name, **labels):
    """The sum of a metric's samples with these labels."""
    found = [v for (n, pairs), v in samples.items() if n == name and set(labels.items()) <= pairs]
    assert found, f"no {name} with {labels}"
    return sum(found)


def events(connection, request):
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
    connection.ended.wait(60)


def shout(connection, request):
    connection.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: shout\r\nConnection: Upgrade\r\n\r\n")
    connection.ended.wait(60)


WEBSOCKET = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="]


def test_the_status_tells_what_is_in_flight_by_class_as_the_metrics_do(front):
    front.backend.on("/held", held := Held())
    front.backend.on("/events", events)
    front.backend.on("/chat", frames.Upgraded())
    front.backend.on("/shout", shout)
    clients = []
    for target, fields in [("/held", [])] * 2 + [("/events", [])] * 3 + [("/chat", WEBSOCKET), ("/shout", ["Connection: Upgrade", "Upgrade: shout"])]:
        clients.append(front.client())
        clients[-1].request(target=target, fields=fields)
        if target != "/held":
            clients[-1].until(b"\r\n\r\n")
    for _ in range(2):
        held.wait()
    classes = {"request": 2, "stream": 3, "websocket": 1, "tunnel": 1}
    pool = front.daemon.upswap_json("status")["services"][0]["pools"][0]
    assert (pool["in_flight"], pool["in_flight_by_class"]) == (7, classes)
    assert front.admin.pool(front.admin.live())["in_flight_by_class"] == classes
    samples = front.admin.metrics()
    assert {name: labelled(samples, "upswap_in_flight_by_class", **{"class": name}) for name in classes} == classes
    held.release()
    for client in clients:
        client.close()
    wait_until(lambda: front.admin.pool(front.admin.live())["in_flight_by_class"]["request"] == 0, what="their end")


FAMILIES = [
    "upswap_requests_total",
    "upswap_in_flight",
    "upswap_in_flight_by_class",
    "upswap_upstream_errors_total",
    "upswap_connections",
    "upswap_deployments_total",
    "upswap_uptests_total",
    "upswap_pool_info",
    "upswap_instance_up",
    "upswap_snapshot_version",
    "upswap_build_info",
    "upswap_request_duration_seconds_count",
    "upswap_swap_seconds_count",
    "upswap_uptest_seconds_count",
]


def test_metrics_count_what_happened(make_stand, make_backend):
    stand = make_stand()
    stand.suite.shell("01_pass")
    stand.start()
    old = stand.admin.live()
    stand.live[0].on("/missing", b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
    stand.live[0].on("/mute", lambda connection, request: connection.close())
    for _ in range(7):
        stand.ask()
    for _ in range(3):
        stand.ask(target="/missing")
    stand.ask(target="/mute")
    held = Held()
    stand.live[0].on("/held", held)
    with RawClient(stand.port) as client:
        client.request(target="/held")
        held.wait()
        samples = stand.admin.metrics()
        assert labelled(samples, "upswap_in_flight", service="web", pool=old) == 1
        assert labelled(samples, "upswap_connections") >= 1
        held.release()
        client.response()
    wait_until(lambda: labelled(stand.admin.metrics(), "upswap_requests_total", pool=old, code="200") == 8)
    samples = stand.admin.metrics()
    assert labelled(samples, "upswap_requests_total", service="web", pool=old, code="404") == 3
    assert labelled(samples, "upswap_requests_total", service="web", pool=old, code="502") == 1
    assert labelled(samples, "upswap_upstream_errors_total", service="web", pool=old) == 1
    assert labelled(samples, "upswap_request_duration_seconds_count", service="web", pool=old) == 12
    assert labelled(samples, "upswap_pool_info", pool=old, state="live") == 1
    assert labelled(samples, "upswap_instance_up", instance=stand.live[0].address) == 1
    version = labelled(samples, "upswap_snapshot_version")
    deployment = stand.admin.stage([make_backend("fresh").address], release="v2")
    stand.events.wait_end(deployment)
    stand.ask()
    ended = frozenset({("service", "web"), ("pool", deployment), ("code", "200")})
    wait_until(lambda: ("upswap_requests_total", ended) in stand.admin.metrics(), what="the request to be counted")
    samples = stand.admin.metrics()
    assert labelled(samples, "upswap_deployments_total", service="web", result="done") == 1
    assert labelled(samples, "upswap_uptests_total", service="web", result="passed") == 1
    assert labelled(samples, "upswap_snapshot_version") > version
    assert labelled(samples, "upswap_pool_info", pool=deployment, state="live", release="v2") == 1
    for family in FAMILIES:
        labelled(samples, family)


def test_histogram_buckets_are_cumulative_and_end_with_infinity(front):
    for _ in range(20):
        front.ask()
    buckets = {}
    for (name, labels), value in front.admin.metrics().items():
        if name == "upswap_request_duration_seconds_bucket":
            pairs = dict(labels)
            bound = float(pairs.pop("le"))
            buckets.setdefault(frozenset(pairs.items()), []).append((bound, value))
    assert buckets
    for series in buckets.values():
        series.sort()
        assert series[-1][0] == float("inf")
        assert [v for _, v in series] == sorted(v for _, v in series)


def test_counters_survive_a_restart_of_control(front):
    for _ in range(10):
        front.ask()
    front.daemon.kill_role("control")
    for _ in range(5):
        front.ask()
    live = front.admin.live()
    wait_until(lambda: labelled(front.admin.metrics(), "upswap_requests_total", pool=live, code="200") == 15)
