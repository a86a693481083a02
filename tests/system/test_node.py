"""Node's own clients (http, https, http2, fetch), which node/clients.js drives, against a daemon and across swaps."""

import contextlib
import hashlib
import json
import os
import select
import shutil
import signal
import subprocess

import pytest

from harness import frames, http1, processes
from harness.backend import Held
from harness.certificates import Authority
from harness.waiting import PATIENCE, wait_until

PROGRAM = os.path.join(os.path.dirname(__file__), "node", "clients.js")

pytestmark = pytest.mark.skipif(not shutil.which("node"), reason="needs node")


class Node:
    """A client of clients.js: hears what it says, line by line, and tells it how to go on."""

    def __init__(self, name, *arguments):
        self.process = processes.spawn(
            ["node", PROGRAM, name, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.buffer = b""

    def hear(self):
        while b"\n" not in self.buffer:
            assert select.select([self.process.stdout], [], [], PATIENCE)[0], "node says nothing"
            data = os.read(self.process.stdout.fileno(), 65536)
            assert data, "node has ended: its error is on stderr"
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        return json.loads(line)

    def tell(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def end(self):
        """It ends by itself, without an error and with nothing left to say."""
        assert processes.finish(self.process) == 0
        assert self.buffer + self.process.stdout.read() == b""

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            processes.finish(self.process)
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture
def node():
    made = []

    def start(name, *arguments):
        made.append(Node(name, *arguments))
        return made[-1]

    yield start
    for each in made:
        each.close()


def start(make_daemon, instance, **settings):
    drain = {"requests": "300ms", "streams": "100ms", "websockets": "100ms", "spread": "0s"}
    service = {"name": "web", "instances": [instance.address], "uptests": {"required": False}, "drain": drain}
    return make_daemon([service], **settings).start()


def start_tls(make_daemon, instance, folder):
    """A daemon whose listener speaks TLS, and the path of the authority to trust."""
    authority = Authority(str(folder))
    tls = authority.issue("app.test").setting
    return start(make_daemon, instance, listeners=[{"address": "127.0.0.1:0", "tls": tls}]), authority.path


def swap(daemon, instance):
    return daemon.admin.stage([instance.address], allow_untested=True)


def test_an_agent_that_keeps_its_connections_loses_no_request_over_swaps(make_daemon, make_app, node):
    apps = {app.address: app for app in [make_app("v1")]}
    daemon = start(make_daemon, *apps.values())
    events = daemon.events()
    events.on("instance.retired", lambda event: apps[event["instance"]].kill())
    client = node("agent", daemon.port)
    assert client.hear() == "v1"
    for release in ("v2", "v3"):
        fresh = make_app(release)
        apps[fresh.address] = fresh
        deployment = swap(daemon, fresh)
        assert client.hear() == release
        events.wait_end(deployment)
    client.tell("stop")
    said = client.hear()
    assert said["bad"] == 0 and said["count"] > 50
    assert said["last"] == ["v3"], "a request went to a pool that was done"
    assert said["sockets"] == 8, "a swap has cost a connection"
    client.end()
    assert len(events.of("instance.retired")) == 2


def test_fetch_sends_and_gets_each_piece_of_a_body_before_the_next_is_there(make_daemon, make_backend, node):
    instance = make_backend()
    held = Held()  # keeps the connection for the test
    instance.on("/pieces", lambda *_: held.released.wait(60))
    client = node("pieces", start(make_daemon, instance).port)
    client.tell("one")
    connection, request = instance.next_request()
    connection.socket.settimeout(PATIENCE)
    assert request.framing() == "chunked"
    assert connection.until(b"one\r\n") == b"3\r\none\r\n"
    client.tell("three")
    assert connection.until(b"three\r\n") == b"5\r\nthree\r\n"
    client.tell("end")
    assert connection.until(b"\r\n\r\n") == b"0\r\n\r\n"
    connection.send(b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert client.hear() == 201
    for piece in ("four", "fifth"):
        connection.send(f"{len(piece):x}\r\n{piece}\r\n".encode())
        assert client.hear() == piece
    connection.send(b"0\r\n\r\n")
    assert client.hear() == "end"
    client.end()
    held.release()


def test_fetch_moves_megabytes_in_streams_both_ways_unharmed(make_daemon, make_app, node):
    client = node("bulk", start(make_daemon, make_app("v1")).port)
    said = client.hear()
    assert said["sent"] == said["wanted"]
    assert said["got"] == hashlib.sha256(b"v1 " + b"x" * (4000000 - 3)).hexdigest()
    client.end()


def test_an_upgrade_passes_frames_and_is_closed_by_a_swap(make_daemon, make_backend, node):
    instance = make_backend("old")
    upgraded = instance.on("/ws", frames.Upgraded(frames.frame(frames.TEXT, b"with the agreement")))
    daemon = start(make_daemon, instance)
    client = node("upgrade", daemon.port)
    assert client.hear() == {"status": 101, "agreed": True}
    assert client.hear() == "with the agreement"
    connection = upgraded.wait()
    assert frames.read_frame(connection, masked=True) == (frames.TEXT, b"from node", True)
    connection.send(frames.frame(frames.TEXT, b"to node"))
    assert client.hear() == "to node"
    swap(daemon, make_backend("fresh"))
    assert client.hear() == {"opcode": frames.CLOSE, "code": 1012, "reason": "service restart"}
    assert frames.read_close(connection, masked=True) == (1001, "going away")
    connection.send(frames.close_frame(1001))
    client.end()
    connection.close()


def test_https_trusts_the_certificate_keeps_the_connection_and_resumes_the_session(
    make_daemon, make_backend, node, tmp_path
):
    daemon, authority = start_tls(make_daemon, make_backend("one"), tmp_path)
    client = node("secure", daemon.port, authority)
    assert client.hear() == {"same": True, "authorized": True, "protocol": "TLSv1.3", "bodies": ["one"]}
    assert client.hear() == {"other": True, "resumed": True}
    assert client.hear() == "ERR_TLS_CERT_ALTNAME_INVALID"
    assert client.hear() == "UNABLE_TO_VERIFY_LEAF_SIGNATURE"
    client.end()


def echo(connection, request):
    """The body, in chunks, with the trailers that came."""
    request.read_body(connection)
    trailers = "".join(f"{name}: {value}\r\n" for name, value in request.trailers).encode()
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    connection.send(head + http1.chunked(request.body, trailers=trailers))


def test_an_http2_session_has_streams_with_trailers_and_ends_with_a_stop(make_daemon, make_backend, node, tmp_path):
    instance = make_backend("one")
    instance.on("/echo", echo)
    held = instance.on("/held", Held(b"whole"))
    daemon, authority = start_tls(make_daemon, instance, tmp_path)
    client = node("streams", daemon.port, authority)
    assert client.hear() == {"alpn": "h2", "streams": 30, "whole": True}
    held.wait()
    daemon.signal(signal.SIGTERM)
    assert client.hear() == "goaway"
    held.release()
    assert client.hear() == "whole"
    assert client.hear() == {"goaways": [0], "destroyed": True}
    client.end()
    assert daemon.wait_end() == 0


def begin_events(connection, _):
    """Starts a stream of events and leaves it to the test."""
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    connection.to_end_or_reset()
    connection.close()


def tell_event(connection, data):
    with contextlib.suppress(OSError):  # who has gone is told no more
        connection.send(b"%x\r\n%s\r\n" % (len(data), data))


def test_fetch_reads_events_as_they_come_to_a_proper_end_and_gives_a_stream_up(make_daemon, make_backend, node):
    old, fresh = make_backend("old"), make_backend("fresh")
    old.on("/events", begin_events)
    fresh.on("/events", begin_events)
    daemon = start(make_daemon, old)
    client = node("events", daemon.port)
    connection, _ = old.next_request()
    assert client.hear() == "text/event-stream"
    for number in range(3):
        tell_event(connection, b"data: %d\n\n" % number)
        assert client.hear() == f"data: {number}"
    swap(daemon, fresh)
    assert client.hear() == {"rest": ""}
    connection, _ = fresh.next_request()
    assert client.hear() == "text/event-stream"
    tell_event(connection, b"data: enough\n\n")
    assert client.hear() == "data: enough"
    assert client.hear() == {"rest": ""}
    client.end()
    # One that has sent its end may still read: what says that it has gone is the reset that the next event meets.
    wait_until(lambda: connection.ended.is_set() or tell_event(connection, b": more\n\n"), what="the stream's end")
