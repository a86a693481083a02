"""Limits of what one client may ask for: requests a second, bodies by service."""

import json

import pytest

from harness.backend import Backend
from harness.client import ask
from harness.http2 import Http2Client



def statuses(client, count, **options):
    return [client.ask(**options).status for _ in range(count)]


@pytest.fixture
def front(start_own_front):
    return start_own_front(
        Backend(),
        trusted_proxies=["127.0.0.2"],
        workers=2,
        limits={"requests_per_address": 1, "requests_burst": 5},
    )


def test_requests_above_the_rate_get_429_and_are_told_when_to_return(front):
    with front.client() as client:
        assert statuses(client, 5) == [200] * 5
        refused = client.ask()
        assert refused.status == 429
        assert refused.upswap == "rate-limited"
        assert int(refused.get("Retry-After")) >= 1
        assert refused.get("Connection") is None  # the connection may stay
        assert client.ask().status == 429
    assert "429" in str(front.admin.metrics())


def test_new_connections_to_any_worker_do_not_escape(front):
    answers = [front.ask().status for _ in range(30)]
    assert answers.count(200) <= 10, answers  # 5, and those of the seconds that the test took
    assert 429 in answers


def test_another_address_is_not_concerned(front):
    with front.client() as client, front.client(source="127.0.0.3") as other:
        assert 429 in statuses(client, 30)
        assert other.ask().status == 200


def test_behind_a_trusted_proxy_the_real_client_is_counted(front):
    with front.client(source="127.0.0.2") as proxy:
        first = statuses(proxy, 30, fields=["X-Forwarded-For: 198.51.100.1"])
        assert 429 in first
        assert proxy.ask(fields=["X-Forwarded-For: 198.51.100.2"]).status == 200


def test_a_client_cannot_escape_by_inventing_addresses(front):
    with front.client(source="127.0.0.2") as proxy:
        forged = [
            proxy.ask(fields=[f"X-Forwarded-For: 203.0.113.{i}, 198.51.100.9"]).status for i in range(30)
        ]
    with front.client(source="127.0.0.4") as direct:
        forged_too = [direct.ask(fields=[f"X-Forwarded-For: 203.0.113.{i}"]).status for i in range(30)]
    assert 429 in forged
    assert 429 in forged_too


def test_a_service_counts_on_its_own(start_own_front):
    backend = Backend()
    front = start_own_front(backend, service={"requests_per_address": 1, "requests_burst": 2})
    front.daemon.config["services"].append(
        {"name": "other", "hosts": ["other.test"], "instances": [backend.address]}
    )
    front.daemon.write_config()
    assert front.daemon.upswap("reload").returncode == 0
    with front.client() as client:
        assert 429 in statuses(client, 20)
        assert statuses(client, 20, host="other.test") == [200] * 20


def test_a_body_limit_of_a_service_stands_in_place_of_the_general_one(start_own_front):
    backend = Backend()
    front = start_own_front(backend, service={"body": 100}, limits={"body": 50})
    front.daemon.config["services"].append(
        {"name": "small", "hosts": ["small.test"], "instances": [backend.address]}
    )
    front.daemon.write_config()
    assert front.daemon.upswap("reload").returncode == 0
    assert front.ask("POST", body=b"x" * 100).status == 200
    assert front.ask("POST", body=b"x" * 101).upswap == "body-too-large"
    assert front.ask("POST", body=b"x" * 51, host="small.test").upswap == "body-too-large"


def test_a_body_that_is_announced_too_long_is_refused_by_its_head_with_trailers_too(start_own_front):
    """For which its text has no length."""
    backend = Backend()
    front = start_own_front(backend, limits={"body": 50})
    with Http2Client(front.port) as client:
        got = client.finish(client.begin("POST", "/", [("content-length", "51"), ("trailer", "x-sum")], end=False))
        assert (got.status, got.get("x-upswap")) == (413, "body-too-large")
        stream = client.begin("POST", "/", [("content-length", "50"), ("trailer", "x-sum")], end=False)
        client.send(stream, b"x" * 50)
        client.trailers(stream, [("x-sum", "1")])
        assert client.finish(stream).status == 200
    assert len(backend.requests) == 1


def test_the_access_log_names_the_client_behind_a_trusted_proxy(start_own_front, tmp_path):
    path = str(tmp_path / "access.log")
    front = start_own_front(Backend(), trusted_proxies=["127.0.0.2"], access_log={"path": path})
    with front.client(source="127.0.0.2") as proxy, front.client() as stranger:
        proxy.ask(target="/proxied", fields=["X-Forwarded-For: 203.0.113.1, 198.51.100.1"])
        stranger.ask(target="/direct", fields=["X-Forwarded-For: 198.51.100.1"])
    front.daemon.stop()
    with open(path, encoding="utf-8") as file:
        clients = {line["target"]: line["client"] for line in map(json.loads, file)}
    assert clients == {"/proxied": "198.51.100.1", "/direct": "127.0.0.1"}
