"""Server-sent events across a swap: a stream ends behind a whole event, as an answer that is complete."""

import collections
import os
import signal
import subprocess
import threading
import time

import pytest

from harness import http1
from harness.client import RawClient
from harness.waiting import wait_until
from harness.wire import Ended

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"


class Source:
    """A script that leaves an open stream of events to the test: wait()."""

    def __init__(self, framing="chunked", fields=b""):
        self.framing = framing
        self.fields = fields
        self.arrived = threading.Semaphore(0)
        self.streams = []

    def __call__(self, connection, request):
        coding = b"Transfer-Encoding: chunked\r\n" if self.framing == "chunked" else b"Connection: close\r\n"
        connection.send(HEAD + coding + self.fields + b"\r\n")
        self.streams.append(Stream(connection, self.framing))
        self.arrived.release()
        connection.ended.wait(60)

    def wait(self):
        assert self.arrived.acquire(timeout=15), "no request reached the instance"
        return self.streams[-1]


class Stream:
    """The instance's side of one."""

    def __init__(self, connection, framing):
        self.connection = connection
        self.framing = framing

    def send(self, data):
        chunk = b"%x\r\n%s\r\n" % (len(data), data)
        self.connection.send(chunk if self.framing == "chunked" else data)


class Front:
    def __init__(self, make_stand, make_backend, source=None, drain=None, services=()):
        times = {"requests": "200ms", "streams": "100ms", "spread": "0s", **(drain or {})}
        self.stand = make_stand(service={"drain": times})
        self.stand.suite.shell("01")
        path = self.stand.daemon.path("drained")
        self.stand.install_hook(f'#!/bin/sh\necho "$TEARDOWN_DRAINED" >> {path}\n')
        self.drained_path = path
        self.stand.daemon.config["services"] += services
        self.source = self.stand.live[0].on("/events", source or Source())
        self.fresh = make_backend("fresh")
        self.stand.start()

    def open(self, version="1.1"):
        client = RawClient(self.stand.port)
        client.request(target="/events", version=version)
        head = http1.Response(client.until(b"\r\n\r\n"))
        assert head.status == 200
        return client, self.source.wait()

    def swap(self):
        return self.stand.admin.stage([self.fresh.address])

    def drained(self):
        return wait_until(self._drained, what="the teardown")

    def _drained(self):
        if not os.path.exists(self.drained_path):
            return None
        with open(self.drained_path, encoding="ascii") as file:
            return file.read().strip()


@pytest.fixture
def front(make_stand, make_backend):
    return Front(make_stand, make_backend)


def chunks(client):
    """The rest of a chunked body, whose end must be proper."""
    message = http1.Message(b"GET\r\n\r\n")
    message.read_chunks(client)
    return message.body


def test_a_stream_ends_behind_a_whole_event_and_the_connection_serves_on(front):
    client, source = front.open()
    source.send(b"data: one\n\ndata: t")
    assert client.until(b"data: t\r\n").endswith(b"data: one\n\ndata: t\r\n")
    deployment = front.swap()
    front.stand.events.wait("swap.published", deployment=deployment)
    with RawClient(front.stand.port) as other:
        assert other.ask().text == "fresh"
    source.send(b"wo\n\n")
    assert chunks(client) == b"wo\n\n"
    assert client.ask().text == "fresh"
    assert front.drained() == "clean"
    client.close()


@pytest.mark.parametrize("end", ["\n\n", "\r\n\r\n", "\r\r"], ids=["lf", "crlf", "cr"])
def test_an_end_of_line_may_be_of_any_kind(front, end):
    client, source = front.open()
    event = f"id: 1{end[: len(end) // 2]}data: one{end}".encode()
    source.send(event)
    front.swap()
    assert chunks(client) == event
    assert front.drained() == "clean"
    client.close()


def test_an_http_10_client_gets_an_end_and_no_reset(front):
    client, source = front.open(version="1.0")
    source.send(b"data: one\n\n")
    front.swap()
    assert client.to_end() == b"data: one\n\n"
    client.close()


def test_a_stream_that_its_instance_ends_by_closing_ends_with_a_last_chunk(make_stand, make_backend):
    front = Front(make_stand, make_backend, Source(framing="close"))
    client, source = front.open()
    source.send(b"data: one\n\n")
    front.swap()
    assert chunks(client) == b"data: one\n\n"
    client.close()


def test_an_event_that_never_ends_is_cut_and_counts_as_forced(front):
    client, source = front.open()
    source.send(b"data: one\n\ndata: never")
    front.swap()
    with pytest.raises((Ended, ConnectionResetError)):
        chunks(client)
    assert front.drained() == "forced"
    client.close()


def test_compressed_events_cannot_be_told_apart_and_are_cut(make_stand, make_backend):
    front = Front(make_stand, make_backend, Source(fields=b"Content-Encoding: gzip\r\n"))
    client, _ = front.open()
    front.swap()
    with pytest.raises((Ended, ConnectionResetError)):
        chunks(client)
    assert front.drained() == "forced"
    client.close()


def test_another_answer_in_chunks_is_a_request_and_cut_so_that_it_looks_incomplete(front):
    def download(connection, request):
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nx\n\n\n\r\n")
        connection.ended.wait(30)

    front.stand.live[0].on("/download", download)
    with RawClient(front.stand.port) as client:
        client.request(target="/download")
        client.until(b"x\n\n\n\r\n")
        front.swap()
        with pytest.raises((Ended, ConnectionResetError)):
            chunks(client)


def test_a_daemon_that_stops_ends_its_streams_properly(front):
    client, source = front.open()
    source.send(b"data: one\n\n")
    assert client.until(b"one\n\n\r\n")
    front.stand.daemon.signal(signal.SIGTERM)
    assert chunks(client) == b""
    assert front.stand.daemon.wait_end() == 0
    client.close()


def test_curl_sees_a_complete_answer(front):
    process = subprocess.Popen(
        ["curl", "-sS", "-N", f"http://127.0.0.1:{front.stand.port}/events"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    front.source.wait().send(b"data: one\n\n")
    front.swap()
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, b"data: one\n\n", b"")


def events_without_end(connection, request):
    """Events that are never whole at the end of a chunk."""
    connection.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    piece, number = b"data: ", 0
    while not connection.ended.wait(0.01):
        number += 1
        piece = b"%d\n\ndata: " % number if number > 1 else b"data: "
        connection.send(b"%x\r\n%s\r\n" % (len(piece), piece))


def test_many_streams_end_over_their_spread_each_behind_an_event_and_others_feel_nothing(
    make_stand, make_backend
):
    count, wait, spread = 100, 4, 3
    other = make_backend("other")
    other_source = other.on("/events", Source())
    services = [{"name": "other", "hosts": ["other.test"], "instances": [other.address]}]
    drain = {"streams": f"{wait}s", "spread": f"{spread}s"}
    front = Front(make_stand, make_backend, events_without_end, drain, services)
    port, bodies, times, lock = front.stand.port, [], [], threading.Lock()

    def read():
        with RawClient(port, timeout=40) as client:
            response = client.ask(target="/events")
            ended = time.monotonic()
            text = client.ask().text
        with lock:
            bodies.append((response.body, text))
            times.append(ended)

    with RawClient(port) as bystander:
        bystander.request(target="/events", host="other.test")
        bystander.until(b"\r\n\r\n")
        threads = [threading.Thread(target=read, daemon=True) for _ in range(count)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(front.stand.live[0].requests_of("/events")) == count, what="all streams")
        since = time.monotonic()
        front.swap()
        for thread in threads:
            thread.join(40)
        assert bystander.is_open()
        other_source.wait().send(b"data: still here\n\n")
        assert b"still here" in bystander.until(b"\n\n")
    assert len(bodies) == count
    for body, text in bodies:
        assert body.endswith(b"\n\n") and text == "fresh", body[-40:]
        assert body == b"".join(b"data: %d\n\n" % number for number in range(2, body.count(b"\n\n") + 2))
    times.sort()
    assert times[0] >= since + wait - spread - 0.1
    halves = collections.Counter(at - times[0] < (times[-1] - times[0]) / 2 for at in times)
    assert min(halves[True], halves[False]) > count / 6, halves
    assert front.drained() == "clean"
