"""Whoever keeps others waiting is let go, within the times that the config names."""

import threading
import time

import pytest

from harness import http1
from harness.backend import Backend, Held
from harness.http1 import chunked
from harness.waiting import PATIENCE

HEAD, IDLE, FIRST, STALL, UPSTREAM = 0.4, 0.8, 0.5, 0.5, 0.6  # seconds
SLACK = 2.0  # a loaded machine may be late, but never early


@pytest.fixture(scope="module")
def front(start_front):
    timeouts = {
        "head": "400ms",
        "idle": "800ms",
        "first_byte": "500ms",
        "stall": "500ms",
        "upstream_idle": "600ms",
    }
    return start_front(Backend("prompt"), defaults={"timeouts": timeouts})


class between:
    """The block lasts at least `least` seconds and not much longer."""

    def __init__(self, least):
        self.least = least

    def __enter__(self):
        self.began = time.monotonic()

    def __exit__(self, kind, *_):
        if kind is None:
            took = time.monotonic() - self.began
            assert self.least * 0.95 <= took <= self.least + SLACK, f"{took:.3f} s"


def test_a_client_that_sends_nothing_is_let_go(front):
    with front.client() as client, between(HEAD):
        client.assert_closed()


def test_a_client_that_sends_half_a_head_gets_408_and_is_let_go(front):
    with front.client() as client, between(HEAD):
        client.send(b"GET / HTTP/1.1\r\nHost: app.test\r\nX: ")
        response = client.response()
        assert response.status == 408 and response.upswap and not response.keeps_alive
        client.assert_closed()


def test_a_client_that_drips_its_head_byte_by_byte_is_let_go_all_the_same(front):
    with front.client() as client, between(HEAD):
        client.send(b"GET / HTTP/1.1\r\n")
        while client.is_open(0.05):
            client.send(b"X")
        assert client.response().status == 408


def test_an_idle_connection_is_closed_after_its_time_without_a_word(front):
    with front.client() as client:
        assert client.ask().status == 200
        with between(IDLE):
            client.assert_closed()


def test_the_idle_time_begins_anew_with_each_request(front):
    with front.client() as client, between(IDLE + 3 * 0.4):
        for _ in range(3):
            assert client.ask().status == 200
            assert client.is_open(0.4)
        assert client.ask().status == 200
        client.assert_closed()


def test_a_client_that_stops_in_its_body_gets_408(front):
    with front.client() as client:
        client.request("POST", "/", ["Content-Length: 100"], b"half")
        with between(STALL):
            response = client.response()
        assert response.status == 408 and response.upswap
        client.assert_closed()


def test_a_client_that_stops_in_a_body_that_it_would_not_wait_with_gets_408_too(front):
    """It has asked to be told to go on, and has not waited for that (RFC 9110 section 10.1.1)."""
    with front.client() as client:
        client.request("POST", "/", ["Content-Length: 100", "Expect: 100-continue"], b"abc")
        with between(STALL):
            response = client.response()
        assert (response.status, response.upswap) == (408, "body-timeout")


def test_a_client_that_stops_in_a_chunk_gets_408_and_the_instance_no_end(front):
    front.backend.forget()
    with front.client() as client:
        client.request("POST", "/", ["Transfer-Encoding: chunked"], b"64\r\nhalf")
        assert client.response().status == 408
    connection, _ = front.backend.next_request()
    assert connection.ended.wait(5)
    assert not bytes(connection.received).endswith(b"0\r\n\r\n")


def test_an_instance_that_does_not_answer_is_a_504(front):
    held = Held()
    front.backend.on("/never", held)
    with front.client() as client, between(FIRST):
        response = client.ask(target="/never")
        assert response.status == 504 and response.upswap == "first-byte-timeout"
    held.release()


@pytest.mark.parametrize("piece", [b"X-A: 1\r\n", b"HTTP/1.1 102 Processing\r\n\r\n"])
def test_an_instance_that_begins_a_head_or_says_that_it_works_has_no_more_time_for_its_answer(front, piece):
    stop = threading.Event()

    def drip(connection, request):
        connection.send(b"HTTP/1.1 200 OK\r\n" if piece.startswith(b"X") else b"")
        while not stop.wait(FIRST / 4):
            connection.send(piece)

    front.backend.on("/drips", drip)
    with front.client() as client, between(FIRST):
        assert client.ask(target="/drips").status == 504
    stop.set()


def test_an_instance_that_stops_in_its_answer_cuts_it(front):
    held = Held()

    def stall(connection, request):
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        held(connection, request)

    front.backend.on("/stall", stall)
    with front.client() as client, between(STALL):
        client.request(target="/stall")
        client.until(b"\r\n\r\n")
        assert len(client.to_end_or_reset()) < 100
    held.release()


def test_an_answer_that_trickles_faster_than_the_stall_time_is_not_cut(front):
    def trickle(connection, request):
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n")
        for _ in range(8):
            assert connection.is_open(0.2)
            connection.send(b"x")

    front.backend.on("/trickle", trickle)
    with front.client() as client, between(8 * 0.2):
        assert client.ask(target="/trickle").body == b"xxxxxxxx"


def test_a_client_that_does_not_read_is_let_go(front):
    block = bytes(1 << 20)
    ended = []

    def flood(connection, request):
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n")
        try:
            while True:
                connection.send(block)
        except OSError:
            ended.append(True)
            raise

    front.backend.on("/flood", flood)
    front.backend.forget()
    with front.client(receive_buffer=4096) as client:
        client.request(target="/flood")
        connection, _ = front.backend.next_request()
        assert connection.ended.wait(10), "the client that does not read is kept for ever"
        assert ended


def test_an_idle_upstream_connection_is_closed_after_its_time(front):
    front.backend.forget()
    assert front.ask().status == 200
    connection, _ = front.backend.next_request()
    with between(UPSTREAM - 0.1):
        assert connection.ended.wait(5)


def test_a_tunnel_that_is_quiet_is_not_an_idle_connection(front):
    """Between two messages of a WebSocket may lie any time below the stall time, however often."""

    def echo(connection, request):
        connection.send(b"HTTP/1.1 101 OK\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
        while connection.buffer or connection.fill():
            connection.send(connection.take(len(connection.buffer)))
        connection.close()

    front.backend.on("/tunnel", echo)
    with front.client() as client:
        assert client.ask(target="/tunnel", fields=["Connection: upgrade", "Upgrade: x"]).status == 101
        for _ in range(5):
            assert client.is_open(0.3)
            client.send(b"ping")
            assert client.exactly(4) == b"ping"


def test_a_tunnel_whose_client_had_ended_before_it_began_has_the_time_of_a_stall(front):
    ended = threading.Event()

    def switch_and_keep_silent(connection, request):
        ended.wait(PATIENCE)
        connection.send(b"HTTP/1.1 101 OK\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
        connection.to_end()
        ended.clear()
        ended.wait(PATIENCE)

    front.backend.on("/alone", switch_and_keep_silent)
    front.backend.forget()
    with front.client() as client:
        client.request(target="/alone", fields=["Connection: upgrade", "Upgrade: x"])
        front.backend.next_request()
        client.half_close()
        ended.set()
        assert client.response().status == 101
        with between(STALL - 0.1):
            client.assert_closed()
    ended.set()


def test_the_next_request_may_take_its_time_up_to_the_idle_time(front):
    with front.client() as client:
        assert client.ask().status == 200
        assert client.is_open(HEAD + 0.1)
        assert client.ask().status == 200


def test_a_pipelined_half_request_still_has_a_deadline(front):
    with front.client() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HT")
        assert client.response().status == 200
        with between(HEAD * 0.9):
            assert client.response().status == 408
        client.assert_closed()


def test_slow_but_steady_uploads_are_not_cut(front):
    with front.client() as client:
        client.request("POST", "/", ["Transfer-Encoding: chunked"])
        for _ in range(6):
            assert client.is_open(0.25)
            client.send(b"40\r\n" + b"x" * 64 + b"\r\n")  # more than timeouts.minimum_rate
        client.send(chunked())
        assert client.response().status == 200


def test_own_answers_after_a_timeout_are_complete_messages(front):
    with front.client() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
        response = client.response()
        assert isinstance(response, http1.Response) and response.status == 408
        assert response.framing() == len(response.body)
