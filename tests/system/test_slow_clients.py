"""Clients that are slow on purpose, hundreds at once: what each may cost, that others are served meanwhile, and
that the timeouts cut them."""

import contextlib
import resource
import select
import threading
import time

import pytest

from harness import processes
from harness.backend import Backend
from harness.http2 import Http2Client
from harness.waiting import wait_until
from harness.wire import Ended

CLIENTS = 300
KIB = 1024
PER_CLIENT = 40 * KIB  # what waits for one: a buffer of 16k and what belongs to the connection, twice over
SPARE = 2 << 20  # what the workers keep in their free lists, once
READERS = 50  # the kernel keeps megabytes for each
BIG = b"x" * (8 << 20)


@pytest.fixture(scope="module", autouse=True)
def many_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Cost:
    """Memory of the proxy, over what it had."""

    def __init__(self, front):
        self.pid = front.daemon.pids["proxy"]
        self.before = processes.resident_bytes(self.pid)

    def per_client(self, clients):
        return (processes.resident_bytes(self.pid) - self.before - SPARE) / len(clients)


@contextlib.contextmanager
def crowd(front, first, count=CLIENTS, **options):
    """Clients that have sent these bytes and do no more."""
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(count):
            client = stack.enter_context(front.client(timeout=90, **options))
            client.send(first)
            clients.append(client)
        yield clients


def connections(front):
    return sum(
        value for (name, _), value in front.admin.metrics().items() if name == "upswap_connections"
    )


def big(connection, request):
    request.read_body(connection)
    connection.answer(BIG)


def start(start_own_front, **timeouts):
    backend = Backend()
    backend.on("/big", big)
    return start_own_front(backend, defaults={"timeouts": timeouts})


def has_news(client, seconds=30):
    poll = select.poll()  # select.select takes no descriptor above 1023
    poll.register(client.socket, select.POLLIN)
    return poll.poll(seconds * 1000)


def test_hundreds_of_heads_that_do_not_end_cost_little_and_are_cut(start_own_front):
    front = start(start_own_front, head="6s")
    front.ask()
    cost = Cost(front)
    with crowd(front, b"GET / HTTP/1.1\r\nHost: app.test\r\nX-Slow: ") as clients:
        wait_until(lambda: connections(front) >= CLIENTS, timeout=60, what="all clients to be there")
        assert cost.per_client(clients) < PER_CLIENT
        for _ in range(10):
            for client in clients[:100]:
                client.send(b"x")  # a byte now and then buys no time: the whole head has one deadline
            assert front.ask().status == 200
        for client in clients:
            assert client.response().upswap == "head-timeout"


def test_hundreds_of_bodies_that_do_not_come_cost_little_and_are_cut(start_own_front):
    front = start(start_own_front, stall="6s", first_byte="60s")
    front.ask()
    cost = Cost(front)
    head = b"POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 100000\r\n\r\n"
    with crowd(front, head + b"x" * 1000) as clients:
        wait_until(lambda: len(front.backend.requests) > CLIENTS, timeout=60, what="all heads to be with the app")
        assert cost.per_client(clients) < PER_CLIENT
        assert front.ask().status == 200
        for client in clients:
            assert client.response().upswap == "body-timeout"


def test_dozens_of_readers_that_do_not_read_cost_little_and_are_cut(start_own_front):
    front = start(start_own_front, stall="4s")
    front.ask()
    cost = Cost(front)
    with crowd(front, b"GET /big HTTP/1.1\r\nHost: app.test\r\n\r\n", READERS, receive_buffer=4096) as clients:
        wait_until(lambda: len(front.backend.requests) > READERS, timeout=60, what="all requests to be with the app")
        for client in clients:
            assert has_news(client)  # the answer has begun
        assert cost.per_client(clients) < PER_CLIENT
        assert front.ask().status == 200
        # Cut, not completed: none gets the whole answer.
        wait_until(lambda: connections(front) == 0, timeout=60, what="the readers to be cut")
        for client in clients[::5]:  # what the kernel still holds of each comes slowly
            assert len(client.to_end_or_reset()) < len(BIG)
    assert front.ask().status == 200


# ---- too slow, though something moves all the time ----


class Taker:
    """A script that takes a chunked body of x and a last ! as it comes, and tells of each."""

    def __init__(self):
        self.taken = threading.Semaphore(0)

    def __call__(self, connection, request):
        with contextlib.suppress(Ended):
            while (byte := connection.exactly(1)) != b"!":
                if byte == b"x":
                    self.taken.release()
            connection.exactly(len(b"\r\n0\r\n\r\n"))
            connection.answer(b"thanks\n")


def pacing(start_own_front, minimum_rate):
    backend = Backend()
    backend.on("/big", big)
    backend.on("/slow", taker := Taker())
    timeouts = {"stall": "500ms", "minimum_rate": minimum_rate}
    return start_own_front(backend, defaults={"timeouts": timeouts}, http2={"window_updates": 1000000}), taker


def sends_a_byte(client, stream, taker):
    """True: the app has it."""
    client.send(stream, b"x")
    got = taker.taken.acquire(timeout=1)
    while has_news(client, 0):
        client.step()
    return got


CHUNKED = ["Transfer-Encoding: chunked"]


def test_a_body_that_dribbles_in_is_cut_though_it_never_stands_still(start_own_front):
    front, taker = pacing(start_own_front, "1g")
    with front.client() as client:
        client.request("POST", "/slow", CHUNKED)
        while not has_news(client, 0):
            client.send(b"1\r\nx\r\n")
            taker.taken.acquire(timeout=1)
        assert client.response().upswap == "body-too-slow"
    with Http2Client(front.port) as client:
        stream = client.begin("POST", "/slow", end=False)
        while client.answers[stream].fields is None:
            sends_a_byte(client, stream, taker)
        assert client.answers[stream].get("x-upswap") == "body-too-slow"
        assert client.ask().status == 200


def test_a_slow_client_that_is_fast_enough_is_served(start_own_front):
    front, taker = pacing(start_own_front, 100)
    with front.client() as client:
        client.request("POST", "/slow", CHUNKED)
        end = time.monotonic() + 3
        while time.monotonic() < end:
            client.send(b"1\r\nx\r\n")
            assert taker.taken.acquire(timeout=10)
        client.send(b"1\r\n!\r\n0\r\n\r\n")
        assert client.response().text == "thanks\n"
    with Http2Client(front.port) as client:
        stream = client.begin("POST", "/slow", end=False)
        end = time.monotonic() + 3
        while time.monotonic() < end:
            assert sends_a_byte(client, stream, taker)
        client.send(stream, b"!", end=True)
        assert client.finish(stream).body == b"thanks\n"


def test_a_reader_that_sips_is_cut_though_it_never_stands_still(start_own_front):
    front, _ = pacing(start_own_front, "1g")
    with Http2Client(front.port, reads=False) as client:
        stream = client.begin(path="/big")
        answer = client.answers[stream]
        client.until(lambda: len(answer.body) == 65535, "what the first window takes")
        while not answer.over:
            client.h2.increment_flow_control_window(1)
            client.h2.increment_flow_control_window(1, stream)
            client.flush()
            assert client.step()
        assert answer.reset is not None and len(answer.body) < len(BIG)
        assert front.ask().status == 200
