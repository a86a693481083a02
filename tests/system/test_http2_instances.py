"""HTTP/2 to instances: shared connections, what may be sent again, drains, WebSockets by extended CONNECT."""

import base64
import hashlib
import os
import signal
import socket
import threading
from types import SimpleNamespace

import hpack
import pytest

from harness import frames
from harness.backend import Backend, Held
from harness.client import RawClient
from harness.http1 import Response, answer
from harness.http2 import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PROTOCOL_ERROR,
    RST_STREAM,
    WINDOW_UPDATE,
    Http2Client,
    Http2Instance,
    frame,
)
from harness.processes import resident_bytes
from harness.waiting import wait_until
from harness.wire import Wire

MIB = 1 << 20
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@pytest.fixture
def make_instance():
    made = []

    def make(**options):
        made.append(Http2Instance(**options))
        return made[-1]

    yield make
    for instance in made:
        instance.close()


@pytest.fixture
def start(make_daemon):
    """start(instance..., key=...): a front with these instances."""
    from conftest import Front

    def start(*instances, workers=1, **service):
        service = {"name": "web", "upstream": "h2", "instances": [each.address for each in instances], **service}
        return Front(make_daemon([service], workers=workers).start(), list(instances))

    return start


def test_a_request_of_http1_goes_over_http2(start, make_instance):
    instance = make_instance()
    front = start(instance)
    response = front.ask("POST", "/a?b", ["X-Y: Z", "Content-Length: 3"], b"abc")
    assert (response.status, response.body) == (200, b"/a")
    _, fields, body = instance.requests[0]
    fields = dict(fields)
    assert body == b"abc" and fields[":path"] == "/a?b" and fields[":method"] == "POST"
    assert fields["x-y"] == "Z" and fields["content-length"] == "3" and "connection" not in fields
    assert fields[":authority"] and "host" not in fields and fields["x-forwarded-for"] == "127.0.0.1"


def test_an_instance_is_not_measured_by_what_a_client_may_do(make_daemon, make_instance):
    """Its connection is that of many clients' requests."""
    from conftest import Front

    def ping_and_end_early(served, stream, fields, body):
        for _ in range(5):
            served.h2.ping(b"12345678")
        served.answer(stream, b"early")
        served.socket.sendall(frame(RST_STREAM, 0, stream, bytes(4)))

    instance, held, slow = make_instance(), threading.Event(), []
    instance.scripts["/early"] = ping_and_end_early
    instance.scripts["/slow"] = lambda served, stream, fields, body: (slow.append((served, stream)), held.set())
    service = {"name": "web", "upstream": "h2", "instances": [instance.address]}
    front = Front(make_daemon([service], workers=1, http2={"pings": 3, "resets": 3}).start(), [instance])
    with front.client() as waiting:
        waiting.request(target="/slow")
        assert held.wait(10)
        assert [front.ask(target="/early").text for _ in range(20)] == ["early"] * 20
        served, stream = slow[0]
        served.answer(stream, b"slow")
        assert waiting.response().text == "slow"
    assert len(instance.asked()) == 1


HINT = [(":status", "103"), ("x-pad", os.urandom(6000).hex())]


def test_interim_answers_that_nobody_reads_are_a_head_that_is_too_large(start, make_instance):
    """They are bound by no window, on neither side."""

    def hints(served, stream, *_):
        block = hpack.Encoder().encode(HINT)
        with served.lock:
            for _ in range(4000):
                served.socket.sendall(frame(HEADERS, END_HEADERS, stream, block))
        sent.set()

    instance, sent = make_instance(), threading.Event()
    instance.scripts["/hints"] = hints
    front = start(instance)
    assert front.ask().status == 200
    size = resident_bytes(front.daemon.pids["proxy"])
    with Http2Client(front.port) as client:
        client.begin(path="/hints")
        assert sent.wait(30)
        assert resident_bytes(front.daemon.pids["proxy"]) < size + 16 * MIB
    assert front.ask().status == 200


def test_of_interim_answers_that_the_client_has_there_may_be_any_number(start, make_instance):
    instance, asked = make_instance(), []
    instance.scripts["/hints"] = lambda served, stream, *_: asked.append((served, stream))
    front = start(instance)
    with Http2Client(front.port) as client:
        stream = client.begin(path="/hints")
        wait_until(lambda: asked, what="the request")
        served, number = asked[0]
        encoder = hpack.Encoder()
        for count in range(1, 13):
            served.socket.sendall(frame(HEADERS, END_HEADERS, number, encoder.encode(HINT)))
            client.until(lambda: len(client.answers[stream].interim) == count, "the next one")
        served.h2.encoder = encoder  # which knows what the peer's table has
        served.answer(number, b"at last")
        got = client.finish(stream)
    assert (got.status, got.body, len(got.interim)) == (200, b"at last", 12)


@pytest.mark.parametrize("fields", [[], [("content-length", "3"), ("trailer", "x-sum")]], ids=["unmeasured", "measured"])
def test_trailers_pass_both_ways(start, make_instance, fields):
    """Also behind a Content-Length, where they are announced."""

    def sum_up(served, stream, _, body):
        served.h2.send_headers(stream, [(":status", "200"), *fields])
        served.h2.send_data(stream, body)
        served.h2.send_headers(stream, [("x-sum", served.trailers[stream]["x-sum"] + "2")], end_stream=True)

    instance = make_instance()
    instance.scripts["/sum"] = sum_up
    front = start(instance)
    with Http2Client(front.port) as client:
        stream = client.begin("POST", "/sum", fields, end=False)
        client.send(stream, b"abc")
        client.trailers(stream, [("x-sum", "4")])
        got = client.finish(stream)
    assert (got.status, got.body, got.trailers) == (200, b"abc", {"x-sum": "42"})


def test_big_bodies_pass_both_ways(start, make_instance):
    body = os.urandom(300000)
    instance = make_instance()
    instance.scripts["/echo"] = lambda served, stream, _, got: served.answer(stream, hashlib.sha256(got).digest())
    instance.scripts["/big"] = lambda served, stream, *_: served.answer(stream, body[:60000])
    front = start(instance)
    assert front.ask("POST", "/echo", ["Content-Length: 300000"], body).body == hashlib.sha256(body).digest()
    assert front.ask("GET", "/big").body == body[:60000]
    with Http2Client(front.port) as client:
        assert client.ask("POST", "/echo", body=body).body == hashlib.sha256(body).digest()


def test_requests_share_one_connection(start, make_instance):
    instance = make_instance()
    waiting = []
    instance.scripts["/held"] = lambda served, stream, *_: waiting.append((served, stream))
    front = start(instance)
    with Http2Client(front.port) as client:
        streams = [client.begin("GET", "/held") for _ in range(50)]
        wait_until(lambda: len(waiting) == 50, what="all requests")
        assert len(instance.asked()) == 1
        for served, stream in waiting:
            served.answer(stream, b"done")
        assert [client.finish(stream).body for stream in streams] == [b"done"] * 50


def test_another_connection_is_made_when_one_is_full(start, make_instance):
    instance = make_instance(streams=4)
    waiting = []
    instance.scripts["/held"] = lambda served, stream, *_: waiting.append((served, stream))
    front = start(instance)
    with Http2Client(front.port) as client:
        assert client.ask().status == 200
        streams = [client.begin("GET", "/held") for _ in range(8)]
        wait_until(lambda: len(waiting) == 8, what="all requests")
        assert len({served.number for served, _ in waiting}) == 2
        for served, stream in waiting:
            served.answer(stream, b"done")
        assert [client.finish(stream).body for stream in streams] == [b"done"] * 8


def test_what_was_refused_is_sent_again_whatever_the_method(start, make_instance):
    instance = make_instance()
    refused = []

    def refuse_once(served, stream, _, body):
        if refused:
            served.answer(stream, body)
        else:
            refused.append(stream)
            served.refuse(stream)

    instance.scripts["/shy"] = refuse_once
    front = start(instance)
    response = front.ask("POST", "/shy", ["Content-Length: 3"], b"abc")
    assert (response.status, response.body) == (200, b"abc") and len(refused) == 1
    instance.scripts["/never"] = lambda served, stream, *_: served.refuse(stream)
    response = front.ask("POST", "/never", ["Content-Length: 3"], b"abc")
    assert (response.status, response.upswap) == (502, "refused-by-instance")


def go_away(served, last, close):
    served.socket.sendall(frame(GOAWAY, 0, 0, last.to_bytes(4, "big") + bytes(4)))
    if close:
        served.close()


WAYS_TO_REFUSE = {
    "a stream": lambda served, stream, *_: served.refuse(stream),
    "a connection": lambda served, *_: go_away(served, 0, close=False),
    "a connection, which ends": lambda served, *_: go_away(served, 0, close=True),
    "all streams": None,
}


@pytest.mark.parametrize("way", WAYS_TO_REFUSE)
def test_what_an_instance_refuses_goes_to_another_one_whatever_the_method(start, make_instance, way):
    shy, healthy = make_instance(streams=100 if WAYS_TO_REFUSE[way] else 0), make_instance()
    shy.scripts["/x"] = WAYS_TO_REFUSE[way]
    front = start(shy, healthy)
    for method in ["POST", "GET"] * 3:
        response = front.ask(method, "/x", ["Content-Length: 3"], b"abc")
        assert (response.status, response.body) == (200, b"/x")
    assert [body for _, _, body in healthy.requests] == [b"abc"] * 6
    # A new connection speaks for it, and it is left alone for a second.
    assert len(shy.connections) <= 5


def test_what_a_new_connection_refuses_is_asked_there_again_where_no_other_may_serve(start, make_instance):
    shy, other = make_instance(), make_instance()
    shy.scripts["/x"] = lambda served, stream, *_: (
        served.refuse(stream) if len(shy.requests) == 1 else served.answer(stream, b"again")
    )
    front = start(shy, other)
    front.admin.command("drain", instance=other.address)
    response = front.ask("POST", "/x", ["Content-Length: 3"], b"abc")
    assert (response.status, response.body, len(shy.requests)) == (200, b"again", 2)


def test_what_an_instance_may_have_looked_at_goes_to_no_other(start, make_instance):
    shy, healthy = make_instance(), make_instance()
    shy.scripts["/x"] = lambda served, stream, *_: go_away(served, stream, close=True)
    front = start(shy, healthy)
    answers = [front.ask("POST", "/x", ["Content-Length: 3"], b"abc") for _ in range(4)]
    assert [each.upswap for each in answers if each.status == 502] == ["closed-early"] * len(shy.requests)
    assert len(shy.requests) == 2 and len(healthy.requests) == 2


def head_of(served, stream, *fields, flags=END_HEADERS | END_STREAM):
    return frame(HEADERS, flags, stream, served.h2.encoder.encode(fields))


OK = (":status", "200")
MALFORMED = {
    "no status": lambda served, stream: head_of(served, stream, ("x", "y")),
    "a field of connections": lambda served, stream: head_of(served, stream, OK, ("connection", "close")),
    "a large letter": lambda served, stream: head_of(served, stream, OK, ("X", "y")),
    "two lengths": lambda served, stream: head_of(served, stream, OK, ("content-length", "0"), ("content-length", "0")),
    "a 101": lambda served, stream: head_of(served, stream, (":status", "101"), flags=END_HEADERS),
    "data before a head": lambda served, stream: frame(DATA, END_STREAM, stream, b"abc"),
    "an end before the length": lambda served, stream: head_of(served, stream, OK, ("content-length", "3")),
    "a window of nothing": lambda served, stream: frame(WINDOW_UPDATE, 0, stream, bytes(4)),
    "no HPACK": lambda served, stream: frame(HEADERS, END_HEADERS | END_STREAM, stream, b"\xff\xff\xff\xff\xff"),
    "a frame of the wrong size": lambda served, stream: frame(WINDOW_UPDATE, 0, stream, bytes(3)),
}


def test_a_malformed_answer_is_told_as_such_and_nothing_is_asked_twice(start, make_instance):
    instance = make_instance()
    for target, (_, make) in enumerate(MALFORMED.items()):
        instance.scripts[f"/{target}"] = lambda served, stream, *_, make=make: served.socket.sendall(make(served, stream))
    front = start(instance)
    for target, way in enumerate(MALFORMED):
        assert front.ask(target="/ok").status == 200  # the connection is kept
        response = front.ask(target=f"/{target}")
        assert (response.status, response.upswap) == (502, "bad-response"), way
        assert [dict(fields)[":path"] for _, fields, _ in instance.requests].count(f"/{target}") == 1, way
    assert f"instance {instance.address} of web has answered with malformed HTTP/2" in front.daemon.stderr()


def test_a_head_over_the_limit_is_told_as_such_over_http2(start, make_instance):
    instance = make_instance()
    large = [(f"x-{i}", "y" * 8000) for i in range(5)]
    instance.scripts["/large"] = lambda served, stream, *_: served.socket.sendall(
        frame(HEADERS, END_STREAM, stream, served.h2.encoder.encode([OK, *large[:2]]))
        + frame(CONTINUATION, 0, stream, served.h2.encoder.encode(large[2:4]))
        + frame(CONTINUATION, END_HEADERS, stream, served.h2.encoder.encode(large[4:]))
    )
    response = start(instance).ask(target="/large")
    assert (response.status, response.upswap) == (502, "response-head-too-large")
    assert len(instance.requests) == 1


ENDLESS = {
    "fields": lambda served, stream: head_of(served, stream, OK, *[("x", "y" * 3000)] * 100),
    "frames": lambda served, stream: (
        head_of(served, stream, OK, flags=END_STREAM)
        + frame(CONTINUATION, 0, stream) * 8
        + frame(CONTINUATION, END_HEADERS, stream)
    ),
}


def answer_the_second_time(instance):
    """GET /wait. Returns the list of connections over which it has come."""
    waiting = []

    def script(served, stream, *_):
        waiting.append(served)
        if len(waiting) > 1:
            served.answer(stream, b"again")

    instance.scripts["/wait"] = script
    return waiting


@pytest.mark.parametrize("way", ENDLESS)
def test_a_head_that_goes_on_and_on_is_told_as_too_large_and_asked_for_once(start, make_instance, way):
    instance = make_instance()
    waiting = answer_the_second_time(instance)
    instance.scripts["/endless"] = lambda served, stream, *_: served.socket.sendall(ENDLESS[way](served, stream))
    front = start(instance)
    with Http2Client(front.port) as client:
        assert client.ask().status == 200  # the connection is kept
        beside = client.begin(path="/wait")
        wait_until(lambda: waiting, what="the request")
        guilty = client.ask(path="/endless")
        assert (guilty.status, guilty.get("x-upswap")) == (502, "response-head-too-large")
        assert client.finish(beside).body == b"again"
    assert [dict(fields)[":path"] for _, fields, _ in instance.requests].count("/endless") == 1
    assert "malformed HTTP/2" not in front.daemon.stderr()


def test_who_shares_a_connection_with_a_malformed_answer_is_asked_again(start, make_instance):
    instance = make_instance()
    waiting = answer_the_second_time(instance)
    instance.scripts["/bad"] = lambda served, stream, *_: served.socket.sendall(MALFORMED["no HPACK"](served, stream))
    front = start(instance)
    with Http2Client(front.port) as client:
        assert client.ask().status == 200
        innocent = client.begin(path="/wait")
        wait_until(lambda: waiting, what="the request")
        guilty = client.ask(path="/bad")
        assert (guilty.status, guilty.get("x-upswap")) == (502, "bad-response")
        assert client.finish(innocent).body == b"again"
    assert len(waiting) == 2 and waiting[0] is not waiting[1]


def test_a_connection_that_is_told_to_go_away_takes_no_more(start, make_instance):
    instance = make_instance()
    waiting = []
    instance.scripts["/held"] = lambda served, stream, *_: waiting.append((served, stream))
    front = start(instance)
    with Http2Client(front.port) as client:
        held = client.begin("GET", "/held")
        wait_until(lambda: waiting, what="the request")
        served, stream = waiting[0]
        with served.lock:
            served.socket.sendall(frame(GOAWAY, 0, 0, stream.to_bytes(4, "big") + bytes(4)))
        wait_until(lambda: client.ask().status == 200 and len(instance.asked()) == 2, what="another one")
        served.answer(stream, b"still here")
        assert client.finish(held).body == b"still here"


def test_a_stop_behind_a_swap_finishes_what_the_old_pool_has_in_flight(start, make_instance):
    """Its connection takes no more requests, and is closed with the last one."""
    old, new = make_instance(), make_instance()
    waiting = []
    old.scripts["/held"] = lambda served, stream, *_: waiting.append((served, stream))
    front = start(old, uptests={"required": False})
    with front.client() as client:
        client.request(target="/held")
        wait_until(lambda: waiting, what="the request")
        front.admin.stage([new.address])
        wait_until(lambda: front.ask().status == 200 and new.asked(), what="the swap")
        front.daemon.signal(signal.SIGTERM)
        served, stream = waiting[0]
        served.answer(stream, b"whole")
        assert client.response().text == "whole"
    assert front.daemon.wait_end() == 0


def test_a_dead_instance_is_told_and_the_next_one_serves(start, make_instance):
    instance, other = make_instance(), make_instance()
    front = start(instance, other)
    for _ in range(4):
        assert front.ask().status == 200
    instance.close()
    for _ in range(6):
        assert front.ask().status == 200


def test_a_malformed_answer_is_a_502(start, make_instance):
    instance = make_instance()

    def bad(served, stream, *_):
        served.h2.config.validate_outbound_headers = False
        served.h2.config.normalize_outbound_headers = False
        served.h2.send_headers(stream, [(":status", "200"), ("connection", "close")], end_stream=True)

    instance.scripts["/bad"] = bad
    front = start(instance)
    assert front.ask("GET", "/bad").status == 502
    assert front.ask("GET", "/").status == 200


def test_proxy_protocol_and_http2_do_not_go_together(make_daemon):
    from harness.daemon import upswapd

    daemon = make_daemon([{"name": "web", "upstream": "h2", "proxy_protocol": "v1"}])
    daemon.write_config()
    result = upswapd("-t", "-c", daemon.config_path)
    assert result.returncode == 1 and "proxy_protocol needs a connection for each client" in result.stderr


# ---- WebSockets ----


def connect_fields(client, path="/chat"):
    return [
        (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", path),
        (":authority", "app.test"), ("sec-websocket-version", "13"), ("sec-websocket-protocol", "p"),
    ]


def accept_of(key):
    return base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()


def shake_hands(wrong=False):
    """A script: switches protocols, then echoes."""

    def script(connection, request):
        accept = "wrong" if wrong else accept_of(request.get("Sec-WebSocket-Key"))
        connection.send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Protocol: p\r\nSec-WebSocket-Accept: " + accept.encode() + b"\r\n\r\n"
        )
        while data := connection.socket.recv(65536):
            connection.send(data)
        connection.close()

    return script


def frame_of(text, masked=False):
    head = bytes([0x82, len(text) | (0x80 if masked else 0)])
    return head + (bytes(4) if masked else b"") + text


def exchange_frames(client, stream):
    for number in range(20):
        text = frame_of(b"%03d" % number, masked=True)
        before = len(client.answers[stream].body)
        client.send(stream, text)
        client.until(lambda: len(client.answers[stream].body) == before + len(text), "the echo")
        assert client.answers[stream].body[before:] == text


def test_a_websocket_over_http2_reaches_an_instance_of_http1(start_own_front, make_backend):
    backend = make_backend("ws")
    backend.on("/chat", shake_hands())
    front = start_own_front(backend)
    with Http2Client(front.port) as client:
        client.until(lambda: client.remote, "the settings")
        assert client.remote[8] == 1
        stream = client.begin(fields=connect_fields(client), end=False)
        client.until(lambda: client.answers[stream].fields, "the answer")
        got = client.answers[stream]
        assert got.status == 200 and got.get("sec-websocket-protocol") == "p"
        assert got.get("upgrade") is None and got.get("sec-websocket-accept") is None
        exchange_frames(client, stream)
        assert client.ask().status == 200, "others go on beside it"
        client.h2.end_stream(stream)
        client.flush()
        assert client.finish(stream).ended
        request = backend.requests_of("/chat")[0]
        assert request.method == "GET" and request.get("Upgrade") == "websocket"
        assert len(base64.b64decode(request.get("Sec-WebSocket-Key"))) == 16


def keep_alive_seconds(ours, theirs):
    """Until the kernel looks whether the other end is there (proc(5), /proc/net/tcp); None: it does not."""
    with open("/proc/net/tcp", encoding="ascii") as file:
        for line in list(file)[1:]:
            _, local, remote, _, _, timer = line.split()[:6]
            if [int(name.split(":")[1], 16) for name in (local, remote)] == [ours, theirs]:
                kind, ticks = timer.split(":")
                return int(ticks, 16) / os.sysconf("SC_CLK_TCK") if kind == "02" else None
    return None


def test_a_websockets_client_that_vanishes_is_looked_for_by_the_kernel(start_own_front, make_backend):
    backend = make_backend("ws")
    backend.on("/chat", shake_hands())
    front = start_own_front(backend)
    with Http2Client(front.port) as client, RawClient(front.port) as plain:
        stream = client.begin(fields=connect_fields(client), end=False)
        client.until(lambda: client.answers[stream].fields, "the answer")
        assert plain.ask(target="/chat", fields=frames.UPGRADE).status == 101
        for end in (client.socket, plain.socket):
            seconds = keep_alive_seconds(front.port, end.getsockname()[1])
            assert seconds is not None and 60 < seconds <= 120


def test_an_instance_that_accepts_wrongly_is_a_502(start_own_front, make_backend):
    backend = make_backend("wrong")
    backend.on("/chat", shake_hands(wrong=True))
    front = start_own_front(backend)
    with Http2Client(front.port) as client:
        stream = client.begin(fields=connect_fields(client), end=False)
        got = client.finish(stream)
        assert (got.status, got.get("x-upswap")) == (502, "bad-response")


def test_a_refused_websocket_is_answered_as_the_instance_says(start_own_front, make_backend):
    backend = make_backend("no")
    backend.on("/chat", lambda connection, request: connection.send(answer(b"no", "403 Forbidden")))
    front = start_own_front(backend)
    with Http2Client(front.port) as client:
        got = client.finish(client.begin(fields=connect_fields(client), end=False))
        assert (got.status, got.body) == (403, b"no")


def test_a_reset_of_a_websocket_ends_it_at_the_instance(start_own_front, make_backend):
    backend = make_backend("reset")
    backend.on("/chat", shake_hands())
    front = start_own_front(backend)
    with Http2Client(front.port) as client:
        stream = client.begin(fields=connect_fields(client), end=False)
        client.until(lambda: client.answers[stream].fields, "the answer")
        client.reset(stream)
        assert backend.asked()[0].ended.wait(15)
        assert client.ask().status == 200


@pytest.mark.parametrize("version", [1, 2])
def test_a_websocket_reaches_an_instance_of_http2(start, make_instance, version):
    instance = make_instance(tunnels=True)
    front = start(instance)
    if version == 2:
        with Http2Client(front.port) as client:
            stream = client.begin(fields=connect_fields(client), end=False)
            client.until(lambda: client.answers[stream].fields, "the answer")
            assert client.answers[stream].status == 200
            exchange_frames(client, stream)
            client.h2.end_stream(stream)
            client.flush()
            assert client.finish(stream).ended
    else:
        with front.client() as client:
            key = base64.b64encode(os.urandom(16)).decode()
            client.send(
                f"GET /chat HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
            )
            response = Response(client.until(b"\r\n\r\n"))
            assert response.status == 101 and response.get("Sec-WebSocket-Accept") == accept_of(key)
            client.send(frame_of(b"hello", masked=True))
            assert client.exactly(11) == frame_of(b"hello", masked=True)
    fields = dict(instance.requests[0][1])
    assert (fields[":method"], fields[":protocol"], fields[":path"]) == ("CONNECT", "websocket", "/chat")
    assert "sec-websocket-key" not in fields and fields["sec-websocket-version"] == "13"


def test_a_websocket_that_the_instance_does_not_offer_is_a_502(start, make_instance):
    front = start(make_instance(tunnels=False))
    for _ in range(2):  # before and after the settings are known
        with Http2Client(front.port) as client:
            got = client.finish(client.begin(fields=connect_fields(client), end=False))
            assert (got.status, got.get("x-upswap")) == (502, "websocket-not-offered")
            assert client.ask().status == 200


@pytest.mark.parametrize("upstream", ["h1", "h2"])
def test_a_websocket_over_http2_is_told_1012_when_its_pool_has_drained(start, make_instance, make_backend, upstream):
    if upstream == "h2":
        old = make_instance(tunnels=True)
    else:
        old = make_backend("old")
        old.on("/chat", shake_hands())
    drain = {"websockets": "300ms", "spread": "0s"}
    front = start(old, upstream=upstream, drain=drain, uptests={"required": False})
    with Http2Client(front.port) as client:
        stream = client.begin(fields=connect_fields(client), end=False)
        client.until(lambda: client.answers[stream].fields, "the answer")
        front.admin.stage([make_instance().address if upstream == "h2" else make_backend("new").address])
        got = client.finish(stream)
        assert got.ended and got.body[:1] == b"\x88" and got.body[2:4] == b"\x03\xf4"
        wait_until(lambda: client.ask().status == 200, what="the others' service")


def test_a_message_of_grpc_that_is_under_way_when_its_drain_is_over_comes_whole(start, make_instance):
    old, new, begun = make_instance(), make_instance(), []
    first, second, third = (bytes(4) + bytes([len(text)]) + text for text in (b"one", b"two", b"three"))

    def send(served, stream, data):
        with served.lock:
            served.h2.send_data(stream, data)
            served.flush()

    def begin(served, stream, *_):
        served.h2.send_headers(stream, [OK, ("content-type", "application/grpc+proto")])
        send(served, stream, first + second[:6])
        begun.append((served, stream))

    old.scripts["/call"] = begin
    old.scripts["/held"] = lambda *_: None
    drain = {"streams": "100ms", "requests": "200ms", "spread": "0s"}
    front = start(old, drain=drain, uptests={"required": False})
    with Http2Client(front.port) as client:
        call = client.begin("POST", "/call", [("content-type", "application/grpc+proto"), ("te", "trailers")])
        got = client.answers[call]
        client.until(lambda: len(got.body) == 14, "what has been sent of the answer")
        held = client.begin(path="/held")
        wait_until(lambda: len(old.requests) == 2, what="the other request")
        front.admin.stage([new.address])
        assert client.finish(held).status == 503 and not got.over
        send(*begun[0], second[6:] + third)
        client.finish(call)
        assert got.body == first + second and dict(got.trailers)["grpc-status"] == "14"


def test_a_call_of_grpc_has_the_time_of_a_request_where_that_is_longer(start, make_instance):
    old, new, begun = make_instance(), make_instance(), {}

    def begin(served, stream, fields, _):
        path = dict(fields)[":path"]
        served.h2.send_headers(stream, [OK, ("content-type", path[1:])])
        served.h2.send_data(stream, bytes(5) if path == "/application/grpc" else b":\n\n")
        served.flush()
        begun[path] = served, stream

    old.scripts = {"/application/grpc": begin, "/text/event-stream": begin}
    drain = {"streams": "100ms", "requests": "60s", "spread": "0s"}
    front = start(old, drain=drain, uptests={"required": False})
    with Http2Client(front.port) as client:
        call, events = client.begin("POST", "/application/grpc"), client.begin(path="/text/event-stream")
        client.until(lambda: client.answers[call].body and client.answers[events].body, "what has been sent")
        front.admin.stage([new.address])
        assert client.finish(events).ended
        served, stream = begun["/application/grpc"]
        with served.lock:
            served.h2.send_data(stream, bytes(5))
            served.h2.send_headers(stream, [("grpc-status", "0")], end_stream=True)
            served.flush()
        assert dict(client.finish(call).trailers) == {"grpc-status": "0"}


@pytest.mark.parametrize("known", [False, True], ids=["the first connection", "another one"])
def test_a_new_connection_gets_no_more_at_once_than_the_instance_takes(start, make_instance, known):
    """How many that is must be known before; one that gets more may give all of them up, as this one does."""
    instance = make_instance(streams=4)
    front = start(instance)
    if known:
        assert front.ask().status == 200
    with Http2Client(front.port) as client:
        streams = [client.begin("POST", f"/{n}", more=True) for n in range(40)]
        client.flush()
        assert [client.finish(stream).status for stream in streams] == [200] * 40
    assert {dict(fields)[":path"] for _, fields, _ in instance.requests} >= {f"/{n}" for n in range(40)}


def test_an_instance_that_never_sends_its_settings_counts_as_not_connected(start, make_instance):
    """So another one is asked, though the request may not be sent twice."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(30)
        mute = SimpleNamespace(address=f"127.0.0.1:{silent.getsockname()[1]}")
        instance = make_instance()
        front = start(mute, instance, timeouts={"connect": "100ms"}, health={"interval": "0s"})
        for _ in range(2):
            assert front.ask("POST", "/", ["Content-Length: 1"], b"x").status == 200
        assert len(instance.requests) == 2
        silent.accept()[0].close()  # it was asked, or tried to be
