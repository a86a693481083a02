"""upswap top: what pools and instances do now, against the real daemon."""

import json
import os
import pty
import signal
import subprocess

import pytest

from harness.backend import Backend
from harness.waiting import wait_until


@pytest.fixture
def front(start_own_front):
    return start_own_front(Backend("a"))


def figures(front):
    (service,) = front.admin.request("GET", "/v1/status?figures=1").json["services"]
    (pool,) = service["pools"]
    return pool


def figures_once(front, is_there):
    """A request is counted when its answer has gone, so it may not be yet when that has come."""

    def look():
        pool = figures(front)
        return pool if is_there(pool, pool["instances"][0]) else None

    return wait_until(look, what="the requests to be counted")


def test_figures_count_every_request_of_a_pool_and_its_instances(front):
    for _ in range(5):
        assert front.ask().status == 200
    pool = figures_once(front, lambda _, instance: instance["requests"] == 5)
    assert sum(count for _, count in pool["durations"]) == pool["requests"] == 5
    assert [one["errors"] for one in pool["instances"]] == [0]
    front.backend.close()
    assert front.ask().status == 502
    pool = figures_once(front, lambda pool, _: pool["answers_5xx"] == 1)
    assert pool["instances"][0]["errors"] >= 1


def test_figures_are_shown_only_to_those_who_ask(front):
    (service,) = front.admin.status()["services"]
    assert "durations" not in service["pools"][0] and "requests" not in service["pools"][0]["instances"][0]
    assert front.admin.request("GET", "/v1/status?figures=2").status == 400


def test_top_shows_one_interval_where_there_is_no_terminal(front):
    done = front.daemon.upswap("top", "--interval", "100ms")
    head, pool, instance = done.stdout.splitlines()
    assert done.returncode == 0 and "requests/s" in head and "errors/s" in head and "p99" in head
    assert pool.split()[:2] == [front.admin.live(), "live"] and instance.split()[:2] == [front.backend.address, "up"]


def test_top_counts_what_comes_in_its_interval(front):
    client = front.daemon.spawn_upswap("top", "web", "--json", "-i", "500ms")
    while client.poll() is None:
        assert front.ask().status == 200
    (pool,) = json.loads(client.stdout.read())["pools"]
    assert pool["requests_per_second"] > 0 and 0 < pool["p50"] <= pool["p99"]
    assert pool["instances"][0]["requests_per_second"] > 0 and pool["errors_per_second"] == 0


def test_top_refreshes_in_place_until_ctrl_c(front):
    master, slave = pty.openpty()
    client = subprocess.Popen(
        front.daemon.client_argv("top", "-i", "100ms"), stdout=slave, stderr=slave,
        env={**os.environ, "TERM": "xterm", "NO_COLOR": "1"}, preexec_fn=lambda: signal.alarm(20),
    )
    os.close(slave)
    out, sent = b"", False
    while True:
        try:
            out += os.read(master, 65536)
        except OSError:  # the other side is closed
            break
        if out.count(b"requests/s") >= 3 and not sent:
            sent = True
            client.send_signal(signal.SIGINT)
    os.close(master)
    assert client.wait(10) == 0
    assert b"\033[2A\033[J" in out and out.endswith(b"\r\n")


def test_an_unknown_service_and_too_short_an_interval_are_refused(front):
    assert 'did you mean "web"?' in front.daemon.upswap("top", "wbe").stderr
    assert front.daemon.upswap("top", "-i", "10ms").returncode == 2
