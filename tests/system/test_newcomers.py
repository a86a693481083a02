"""Clients that are accepted with their request: served without being watched, where that goes quickly, and watched in time where
it does not."""

import contextlib
import re
import threading

import pytest

from harness import http1, processes
from harness.backend import Backend
from harness.certificates import Authority, TlsClient
from harness.tracing import traced
from harness.waiting import PATIENCE

BIG = b"x" * (8 << 20)
TRIES = 20  # a slow machine may take its time with an answer
ONCE = ["Connection: close"]


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(str(tmp_path_factory.mktemp("authority")))


@pytest.fixture(scope="module")
def front(start_front, authority):
    identity = authority.issue("app.test", "127.0.0.1")
    front = start_front(
        Backend("one"), workers=1, listeners=[{"address": "127.0.0.1:0"}, {"address": "127.0.0.1:0", "tls": identity.setting}]
    )
    front.backend.on("/big", lambda connection, request: connection.answer(BIG))
    return front


def held_still(front):
    return processes.standing(front.daemon.pids["proxy"])


@pytest.fixture(params=["clear", "tls"])
def first(request, front, authority):
    """A client that has sent this; without TLS before the proxy knows of it."""

    def begin(data):
        if request.param == "tls":
            client = TlsClient(front.daemon.ports()[1], authority.context())
            client.send(data)
            return client
        with held_still(front):
            client = front.client(receive_buffer=4096)
            client.send(data)
        return client

    return begin


def head(target="/", method="GET", fields=()):
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: app.test", *fields, "", ""]).encode()


def registered(path):
    """Of each client that was accepted, whether it was registered with epoll before it was closed."""
    clients, done = {}, []
    with open(path, encoding="utf-8") as file:
        for line in file:
            if found := re.search(r"accept4.*AF_INET.* = (\d+)$", line):
                clients[found[1]] = False
            elif (found := re.search(r"EPOLL_CTL_ADD, (\d+)", line)) and found[1] in clients:
                clients[found[1]] = True
            elif (found := re.search(r"close\((\d+)", line)) and found[1] in clients:
                done.append(clients.pop(found[1]))
    return done


def test_who_is_served_soon_is_never_registered_with_epoll(front, tmp_path):
    front.ask()
    path = str(tmp_path / "calls")
    with traced(front.daemon.pids["proxy"], path, "accept4,epoll_ctl,close", "-f"):
        for _ in range(TRIES):
            with held_still(front):
                client = front.client()
                client.request(fields=ONCE)
            assert client.response().text == "one"
            client.assert_closed()
            client.close()
    outcomes = registered(path)
    assert len(outcomes) >= TRIES - 1 and not all(outcomes)


def test_who_leaves_while_its_instance_thinks_is_noticed(front, first):
    arrived, left = threading.Event(), threading.Event()

    def think(connection, request):
        arrived.set()
        with contextlib.suppress(ConnectionResetError):
            assert not connection.fill()
        connection.close()
        left.set()

    front.backend.on("/think", think)
    client = first(head("/think", fields=ONCE))
    assert arrived.wait(PATIENCE)
    client.reset()
    assert left.wait(PATIENCE), "the instance was not told that the client has gone"


def test_who_sends_its_request_in_pieces_is_served(front, first):
    def echo(connection, request):
        request.read_body(connection)
        connection.answer(request.body)

    front.backend.on("/echo", echo)
    request = head("/echo", "POST", ["Content-Length: 6", *ONCE]) + b"pieces"
    with first(request[:9]) as client:
        for at in range(9, len(request), 9):
            client.send(request[at : at + 9])
        assert client.response().text == "pieces"
        client.assert_closed()


def test_who_keeps_its_connection_is_heard_again_and_again(front, first):
    with first(head()) as client:
        assert client.response().text == "one"
        for _ in range(3):
            assert client.ask().text == "one"


def test_much_comes_whole_to_a_slow_reader_that_asks_once(front, first):
    with first(head("/big", fields=ONCE)) as client:
        size = int(http1.Response(client.until(b"\r\n\r\n")).get("Content-Length"))
        assert size == len(BIG) and sum(1 for _ in client.discard(size)) > 1
        client.assert_closed()
