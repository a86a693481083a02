"""Clients that are slow on purpose, hundreds at once: what each may cost, that others are served meanwhile, and
that the timeouts cut them."""

import contextlib
import resource
import select

import pytest

from harness import processes
from harness.backend import Backend
from harness.waiting import wait_until

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
        wait_until(lambda: connections(front) < READERS / 10, timeout=60, what="the readers to be cut")
        for client in clients[::5]:  # what the kernel still holds of each comes slowly
            assert len(client.to_end_or_reset()) < len(BIG)
    assert front.ask().status == 200
