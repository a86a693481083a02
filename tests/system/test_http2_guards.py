"""What an HTTP/2 connection may not cost: each guard is attacked, and others are served meanwhile."""

import struct

import hpack
import pytest

from harness import processes
from harness.backend import Held
from harness.http1 import answer
from harness.http2 import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Http2Client,
    RawHttp2,
    frame,
)
from harness.waiting import stays, wait_until

MIB = 1 << 20


def head(path="/", method="GET"):
    fields = [(":method", method), (":scheme", "http"), (":authority", "app.test"), (":path", path)]
    return hpack.Encoder().encode(fields)


def request(stream, path="/", method="GET", flags=END_STREAM | END_HEADERS):
    return frame(HEADERS, flags, stream, head(path, method))


def number(value):
    return struct.pack(">I", value)


def resets(raw):
    for stream in range(1, 20001, 2):
        yield request(stream, "/held") + frame(RST_STREAM, 0, stream, number(8))


def made_resets(raw):
    """CVE-2025-8671: upswap is made to reset."""
    for stream in range(1, 20001, 2):
        yield frame(HEADERS, END_STREAM | END_HEADERS, stream, hpack.Encoder().encode([("x", "y")]))


def heads_of_what_is_over(raw):
    yield request(3, "/held")
    for _ in range(20000):
        yield request(1)


def split_heads_of_what_is_over(raw):
    yield request(3, "/held")
    for _ in range(20000):
        yield frame(HEADERS, END_STREAM, 1, head()) + frame(CONTINUATION, END_HEADERS, 1, head())


def ends_of_what_is_over(raw):
    yield request(3, "/held")
    for _ in range(20000):
        yield frame(DATA, END_STREAM, 1)


def pings(raw):
    for _ in range(20000):
        yield frame(PING, 0, 0, b"flooding")


def pongs(raw):
    for _ in range(20000):
        yield frame(PING, ACK, 0, b"flooding")


def settings(raw):
    for _ in range(20000):
        yield frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 65535))


def acknowledgements(raw):
    for _ in range(20000):
        yield frame(SETTINGS, ACK)


def priorities(raw):
    for stream in range(1, 40001, 2):
        yield frame(PRIORITY, 0, stream, struct.pack(">IB", 0, 15))


def empty_data(raw):
    yield request(1, "/held", "POST", END_HEADERS)
    for _ in range(20000):
        yield frame(DATA, 0, 1)


def padding(raw):
    yield request(1, "/held", "POST", END_HEADERS)
    for _ in range(20000):
        yield frame(DATA, PADDED, 1, b"\0")


def empty_frames_that_nobody_knows(raw):
    for _ in range(20000):
        yield frame(0xFA)


def empty_continuations(raw):
    yield frame(HEADERS, END_STREAM, 1, head())
    for _ in range(20000):
        yield frame(CONTINUATION, 0, 1)


def continuations(raw):
    yield frame(HEADERS, END_STREAM, 1, head())
    for _ in range(2000):
        yield frame(CONTINUATION, 0, 1, b"\0\1x" + b"\x7f\x81\x7f" + b"y" * 16000)


def window_updates(raw):
    yield request(1, "/held")
    for _ in range(20000):
        yield frame(WINDOW_UPDATE, 0, 1, number(1))


def bomb(raw):
    """One large field in the table, named by one byte again and again."""
    yield frame(SETTINGS, 0, 0, b"")
    block = head() + b"\x40\1x\x7f" + b"\x81\x1e" + b"y" * 3968
    block += b"\xbe" * 12000
    yield frame(HEADERS, END_STREAM, 1, block[:16000]) + frame(CONTINUATION, END_HEADERS, 1, block[16000:])


ATTACKS = [
    (resets, "reset-flood"),
    (made_resets, "reset-flood"),
    (heads_of_what_is_over, "reset-flood"),
    (split_heads_of_what_is_over, "reset-flood"),
    (ends_of_what_is_over, "empty-frame-flood"),
    (pings, "ping-flood"),
    (pongs, "ping-flood"),
    (settings, "settings-flood"),
    (acknowledgements, "settings-flood"),
    (priorities, "priority-flood"),
    (empty_data, "empty-frame-flood"),
    (padding, "empty-frame-flood"),
    (empty_frames_that_nobody_knows, "empty-frame-flood"),
    (empty_continuations, "continuation-flood"),
    (continuations, "continuation-flood"),
    (window_updates, "window-flood"),
    (bomb, "header-list-flood"),
]


@pytest.fixture(scope="module")
def front(start_front):
    from harness.backend import Backend

    backend = Backend("guarded")
    backend.on("/held", Held())
    backend.on("/big", answer(b"x" * MIB))
    return start_front(backend)


def floods(front, word):
    return front.admin.metrics()["upswap_http2_floods_total", frozenset({("reason", word)})]


def memory(front):
    return processes.resident_bytes(front.daemon.pids["proxy"])


def attack(port, frames):
    """Sends until it is sent away; what the last GOAWAY said."""
    with RawHttp2(port) as raw:
        try:
            for one in frames(raw):
                raw.send(one)
        except ConnectionError:
            pass
        return raw.goaway()


@pytest.mark.parametrize("frames, word", ATTACKS, ids=lambda value: getattr(value, "__name__", value))
def test_a_flood_is_told_to_be_calm_and_others_are_served(front, frames, word):
    before, size = floods(front, word), memory(front)
    with Http2Client(front.port) as other:
        assert other.ask().status == 200
        last = attack(front.port, frames)
        assert other.ask().status == 200
        assert front.ask().status == 200
    assert last is not None and (last[1], last[2].decode()) == (ENHANCE_YOUR_CALM, word)
    assert floods(front, word) == before + 1
    assert memory(front) < size + 16 * MIB
    wait_until(lambda: front.admin.pool(front.admin.live())["in_flight"] == 0, what="the end of what was begun")


def burst(front, count, target):
    """So many requests, all before the limit can be acknowledged. The connection."""
    raw = RawHttp2(front.port)
    with processes.standing(front.daemon.pids["proxy"]):
        raw.send(b"".join(request(stream, target) for stream in range(1, 2 * count, 2)))
    return raw


def test_who_begins_with_more_than_the_limit_has_those_within_it_answered(front):
    with burst(front, 700, "/big") as raw:
        answered, refused = set(), 0
        raw.send(frame(WINDOW_UPDATE, 0, 0, number(1 << 30)))
        while len(answered) < 100 or refused < 600:
            kind, _, stream, _ = raw.read()
            answered |= {stream} if kind == HEADERS else set()
            refused += kind == RST_STREAM
    assert max(answered) < 200


def test_who_goes_on_beyond_the_limit_is_told_to_be_calm(front):
    before = floods(front, "reset-flood")
    with burst(front, 1400, "/held") as raw:
        last = raw.goaway()
    assert (last[1], last[2].decode()) == (ENHANCE_YOUR_CALM, "reset-flood")
    assert floods(front, "reset-flood") == before + 1
    wait_until(lambda: front.admin.pool(front.admin.live())["in_flight"] == 0, what="the end of what was begun")


def test_the_limits_are_those_of_the_config(start_own_front, make_backend):
    front = start_own_front(make_backend("limits"), http2={"pings": 3})
    with RawHttp2(front.port) as raw:
        raw.send(frame(PING, 0, 0, b"12345678") * 3 + request(1))
        while raw.read()[0] != DATA:
            pass
        raw.send(frame(PING, 0, 0, b"12345678") * 2)
        assert raw.goaway()[2] == b"ping-flood"


def test_a_client_may_ping_for_each_piece_of_data_that_it_gets(start_own_front, make_backend):
    """As gRPC does, to learn how long the way is."""
    front = start_own_front(make_backend("limits"), http2={"pings": 3})
    with RawHttp2(front.port) as raw:
        for stream in range(1, 41, 2):
            raw.send(request(stream))
            while raw.read()[0] != DATA:
                pass
            raw.send(frame(PING, 0, 0, b"12345678"))
            while raw.read()[0] != PING:
                pass


WITH_TRAILERS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nGrpc-Status: 0\r\n\r\n"


@pytest.mark.parametrize("reply", [answer(b"ok"), WITH_TRAILERS], ids=["without trailers", "with trailers"])
def test_a_client_may_open_windows_and_ping_for_each_frame_of_data_however_small(start_own_front, make_backend, reply):
    """Ten for one, as gRPC does where many messages come as one frame."""
    backend = make_backend("limits")
    backend.on("/small", reply)
    front = start_own_front(backend, http2={"pings": 3, "window_updates": 12})
    with RawHttp2(front.port) as raw:
        for stream in range(1, 41, 2):
            raw.send(request(stream, "/small"))
            while raw.read()[0] != DATA:
                pass
            raw.send(frame(WINDOW_UPDATE, 0, 0, number(1)) * 10 + frame(PING, 0, 0, b"12345678"))
            while raw.read()[0] != PING:
                pass


def test_a_client_may_open_two_windows_beside_each_frame_of_data_that_it_sends(start_own_front, make_backend):
    backend = make_backend("limits")
    backend.on("/held", Held())
    front = start_own_front(backend, http2={"window_updates": 3})
    with RawHttp2(front.port) as raw:
        updates = frame(WINDOW_UPDATE, 0, 0, number(1)) + frame(WINDOW_UPDATE, 0, 1, number(1))
        raw.send(request(1, "/held", "POST", END_HEADERS) + (updates + frame(DATA, 0, 1, b"x")) * 40)
        raw.send(frame(PING, 0, 0, b"12345678"))
        while raw.read()[0] != PING:
            pass
        raw.send((updates + frame(DATA, 0, 1)) * 2)
        assert raw.goaway()[2] == b"window-flood"


@pytest.mark.parametrize("end", [frame(HEADERS, END_STREAM | END_HEADERS), frame(DATA, END_STREAM)], ids=["head", "data"])
def test_a_client_whose_requests_are_answered_early_may_still_end_each(start_own_front, make_backend, end):
    """With trailers, or without: they cross the reset, which says NO_ERROR."""

    def early(connection, request):
        connection.send(answer(b"early"))

    backend = make_backend("early")
    backend.on("/early", early)
    front = start_own_front(backend, http2={"resets": 3, "empty_frames": 3})
    with RawHttp2(front.port) as raw:
        for stream in range(1, 41, 2):
            raw.send(request(stream, "/early", "POST", END_HEADERS))
            while raw.read()[0] != RST_STREAM:
                pass
            raw.send(end[:5] + number(stream) + end[9:])
        raw.send(request(41))
        while raw.read()[0] != DATA:
            pass


def test_a_client_may_put_frames_of_no_use_beside_its_requests(start_own_front, make_backend):
    front = start_own_front(make_backend("greased"), http2={"empty_frames": 3})
    with RawHttp2(front.port) as raw:
        for stream in range(1, 41, 2):
            raw.send(frame(0xFA, 0, stream) + request(stream) + frame(0xFA, 0, stream))
            while raw.read()[0] != DATA:
                pass


def test_a_client_that_reads_nothing_costs_little_memory(start_own_front, make_backend):
    backend = make_backend("slow")
    backend.on("/big", answer(b"x" * (4 * MIB)))
    front = start_own_front(backend, defaults={"timeouts": {"stall": "2s", "idle": "2s"}})
    assert front.ask().status == 200
    size = memory(front)
    with RawHttp2(front.port) as raw:
        raw.send(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 1)))
        raw.send(b"".join(request(stream, "/big") for stream in range(1, 200, 2)))
        wait_until(lambda: front.admin.pool(front.admin.live())["in_flight"] == 100, what="all to be in flight")
        assert front.ask().status == 200
        stays(lambda: memory(front) < size + 16 * MIB, 1, "little memory")
        wait_until(lambda: front.admin.pool(front.admin.live())["in_flight"] == 0, what="the stall")


def test_windows_of_one_byte_are_a_flood(front):
    with RawHttp2(front.port) as raw:
        raw.send(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 1)) + request(1, "/big"))
        while raw.read()[0] != DATA:
            pass
        try:
            for _ in range(20000):
                raw.send(frame(WINDOW_UPDATE, 0, 1, number(1)))
        except ConnectionError:
            pass
        assert raw.goaway()[2] == b"window-flood"


def test_windows_of_one_byte_do_not_live_on_larger_ones_among_them(start_own_front, make_backend):
    backend = make_backend("big")
    backend.on("/big", answer(b"x" * MIB))
    front = start_own_front(backend, http2={"window_updates": 50})
    with RawHttp2(front.port) as raw:
        raw.send(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 1)) + request(1, "/big"))
        for size in 20 * ([64] + 9 * [1]):
            kind = None
            while kind not in (DATA, GOAWAY):  # one window after the other, so that each is a frame
                kind, _, _, payload = raw.read()
            if kind == GOAWAY:
                break
            raw.send(frame(WINDOW_UPDATE, 0, 1, number(size)))
        assert kind == GOAWAY and payload[8:] == b"window-flood"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_answers_that_are_a_head_alone_do_not_pile_up_for_who_reads_none(front, method):
    """Each ends its stream at once, so the limit of streams does not bound them (CVE-2019-9517)."""
    front.backend.on("/none", b"HTTP/1.1 204 No Content\r\nX-Pad: " + b"a" * 12000 + b"\r\n\r\n")
    assert front.ask().status == 200
    size = memory(front)
    front.backend.forget()
    with RawHttp2(front.port) as raw:
        raw.send(request(1, "/held"))  # else the connection ends, since it has no stream and is not read
        for first in range(3, 8003, 40):  # no more at once than there may be streams
            raw.send(b"".join(request(stream, "/none", method) for stream in range(first, first + 40, 2)))
            try:
                wait_until(lambda: len(front.backend.requests_of("/none")) == (first + 37) // 2, timeout=1)
            except AssertionError:
                break  # it is read no more
        else:
            pytest.fail("48 MiB of answers that nobody reads were asked for, and still it is read")
        assert memory(front) < size + 16 * MIB
        assert front.ask().status == 200


def test_a_window_that_becomes_smaller_is_opened_for_what_came_before(start_own_front, make_backend):
    """Before it has agreed to ours a client may send 64 KiB; that much may be more than the window."""

    def taken(connection, request):
        request.read_body(connection)

    backend = make_backend("small")
    backend.on("/taken", taken)
    front = start_own_front(backend, http2={"window": 1024})
    with RawHttp2(front.port) as raw:
        raw.send(request(1, "/taken", "POST", END_HEADERS) + frame(DATA, 0, 1, bytes(10000)) * 2)
        connection, _ = backend.next_request()
        wait_until(lambda: len(connection.received) > 20000, what="all of it to be read")
        room = 1024 - 20000
        raw.send(frame(SETTINGS, ACK))
        while room <= 0:
            kind, _, stream, payload = raw.read()
            room += struct.unpack(">I", payload)[0] if (kind, stream) == (WINDOW_UPDATE, 1) else 0
