"""HTTP/2 to clients: one exchange a stream, flow control, malformed requests, the ends of a connection."""

import os
import signal
import ssl
import struct
import subprocess
import threading

import pytest
from cryptography.hazmat.primitives import hashes

from harness.backend import Backend, Held
from harness.certificates import Authority, TlsClient
from harness.http1 import answer, chunked
from harness.http2 import (
    ACK,
    CANCEL,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Http2Client,
    RawHttp2,
    frame,
    head_frame,
)
from harness.waiting import stays, wait_until

MIB = 1 << 20


def echo(connection, request):
    request.read_body(connection)
    connection.answer(request.body, fields=[f"X-Framing: {request.framing()}"])


@pytest.fixture(scope="module")
def front(start_front):
    backend = Backend("h2")
    backend.on("/echo", echo)
    backend.on("/big", answer(bytes(range(256)) * (8 * MIB // 256)))
    backend.on("/chunked", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"a", b"bc", trailers=b"X-T: u\r\n"))
    backend.on("/hints", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + answer(b"late"))
    return start_front(backend, service={"hosts": ["app.test"]})


def in_flight(front):
    return front.admin.pool(front.admin.live())["in_flight"]


def queued(front):
    return sum(value for (name, _), value in front.admin.metrics().items() if name == "upswap_queued")


def connections(front):
    return sum(value for (name, _), value in front.admin.metrics().items() if name == "upswap_connections")


def curl(front, *arguments):
    argv = ["curl", "-sS", "--http2-prior-knowledge", "-m", "15", "-H", "Host: app.test", *arguments]
    return subprocess.run(argv, capture_output=True, timeout=30, check=True).stdout


def url(front, path):
    return f"http://127.0.0.1:{front.port}{path}"


@pytest.fixture
def client(front):
    with Http2Client(front.port) as made:
        yield made


def test_curl_gets_and_posts_and_heads(front):
    assert curl(front, url(front, "/")) == b"h2"
    assert curl(front, "-d", "x=y", url(front, "/echo")) == b"x=y"
    assert curl(front, "-I", url(front, "/")).startswith(b"HTTP/2 200")
    body = os.urandom(3 * MIB)
    result = subprocess.run(
        ["curl", "-sS", "--http2-prior-knowledge", "-H", "Host: app.test", "-T", "-", url(front, "/echo")],
        input=body, capture_output=True, timeout=30, check=True,
    )
    assert result.stdout == body
    assert curl(front, url(front, "/big")) == bytes(range(256)) * (8 * MIB // 256)


def test_the_instance_gets_one_request_with_what_upswap_adds(front, client):
    front.backend.forget()
    fields = [("x-a", "b"), ("cookie", "c=d"), ("cookie", "e=f"), ("te", "trailers")]
    assert client.ask("GET", "/seen?q", fields).status == 200
    _, request = front.backend.next_request()
    assert request.start_line == b"GET /seen?q HTTP/1.1"
    assert request.get("Host") == "app.test" and request.get("X-A") == "b"
    assert request.get("Cookie") == "c=d; e=f" and request.get("TE") == "trailers"
    assert request.get("X-Forwarded-For") == "127.0.0.1" and request.get("X-Forwarded-Proto") == "http"
    assert request.keeps_alive and request.framing() is None


@pytest.mark.parametrize("size", [0, 1, 1000, 16384, 65536, 300000])
@pytest.mark.parametrize("has_length", [True, False])
def test_a_body_of_any_size_goes_both_ways(client, size, has_length):
    body = os.urandom(size)
    extra = [("content-length", str(size))] if has_length else []
    got = client.ask("POST", "/echo", extra, body)
    assert (got.status, got.body) == (200, body)
    assert got.get("x-framing") == (str(size) if has_length else "chunked")


@pytest.mark.parametrize("fields", [[], [("content-length", "3"), ("trailer", "x-sum")]], ids=["unmeasured", "measured"])
def test_trailers_pass_both_ways(front, client, fields):
    front.backend.forget()
    stream = client.begin("POST", "/chunked", fields, end=False)
    client.send(stream, b"abc")
    client.trailers(stream, [("x-sum", "1")])
    got = client.finish(stream)
    assert got.body == b"abc" and got.trailers == {"x-t": "u"}
    _, request = front.backend.next_request()
    wait_until(lambda: request.trailers, what="the request's trailers")
    assert request.body == b"abc" and request.trailers == [("x-sum", "1")]


FORGED = [
    (name, "forged")
    for name in (
        "client-cert",
        "client-cert-chain",
        "client_cert",
        "client-cert_chain",
        "x-client-verify",
        "x-client-subject",
        "x-client-fingerprint",
        "x_client_verify",
        "x-client_subject",
        "x_client-fingerprint",
        "x-request-id",
        "x_request_id",
        "x-forwarded-for",
        "x_forwarded_for",
        "x-upswap",
        "x_upswap",
    )
]


def test_what_only_upswap_tells_can_be_forged_neither_in_a_head_nor_in_trailers(front, client):
    front.backend.forget()
    stream = client.begin("POST", "/chunked", FORGED, end=False)
    client.send(stream, b"abc")
    client.trailers(stream, [*FORGED, ("x-sum", "1")])
    client.finish(stream)
    _, request = front.backend.next_request()
    wait_until(lambda: request.trailers, what="the request's trailers")
    assert [name for name, value in request.fields if "forged" in value] == []
    assert request.trailers == [("x-sum", "1")]


def test_an_interim_answer_passes(client):
    got = client.ask("GET", "/hints")
    assert [dict(fields)[":status"] for fields in got.interim] == ["103"]
    assert (got.status, got.body) == (200, b"late")


def test_the_answers_of_upswap_itself_pass(front, client):
    got = client.ask(fields=client.fields(host="other.test"))
    assert (got.status, got.get("x-upswap")) == (404, "no-route") and got.body
    got = client.ask(extra=[("x", "y" * 40000)])
    assert (got.status, got.get("x-upswap")) == (431, "head-too-large")
    got = client.ask(extra=[(f"x{i}", "y") for i in range(120)])
    assert (got.status, got.get("x-upswap")) == (431, "too-many-fields")
    got = client.ask(fields=[(":method", "CONNECT"), (":authority", "app.test:80")])
    assert (got.status, got.get("x-upswap")) == (501, "connect")
    assert client.ask().status == 200, "the connection goes on"


def bad(**changes):
    fields = {":method": "GET", ":scheme": "http", ":authority": "app.test", ":path": "/evil", **changes}
    return [(name, value) for name, value in fields.items() if value is not None]


@pytest.mark.parametrize(
    "fields",
    [
        bad(**{":path": None}),
        bad(**{":path": ""}),
        bad(**{":path": "evil"}),
        bad(**{":path": "/evil HTTP/1.1"}),
        bad(**{":method": None}),
        bad(**{":scheme": None}),
        bad(**{":scheme": "gopher"}),
        bad(**{":other": "x"}),
        bad(**{":status": "200"}),
        bad() + [(":path", "/evil")],
        bad() + [("x", "y"), (":extra", "z")],
        [("x", "y")] + bad(),
        bad() + [("X-Upper", "y")],
        bad() + [("x", "y\r\nEvil: z")],
        bad() + [("x", "y\nz")],
        bad() + [("x", "y\0z")],
        bad() + [("x y", "z")],
        bad() + [("x", " y")],
        bad() + [("connection", "close")],
        bad() + [("transfer-encoding", "chunked")],
        bad() + [("upgrade", "h2c")],
        bad() + [("keep-alive", "5")],
        bad() + [("proxy-connection", "x")],
        bad() + [("te", "gzip")],
        bad() + [("host", "other.test")],
        bad() + [("content-length", "1"), ("content-length", "1")],
        bad() + [("content-length", "x")],
    ],
    ids=lambda fields: repr(fields[-1])[:40],
)
def test_a_malformed_request_ends_its_stream_and_nothing_else(front, client, fields):
    front.backend.forget()
    held = client.begin("POST", "/echo", end=False)
    got = client.ask(fields=fields)
    assert got.reset == PROTOCOL_ERROR and got.fields is None
    client.send(held, b"goes on", end=True)
    assert client.finish(held).body == b"goes on"
    assert front.backend.requests_of("/evil") == []


@pytest.mark.parametrize("length, body", [(5, b"1234"), (3, b"1234")])
def test_a_body_that_is_not_of_its_length_ends_its_stream(front, client, length, body):
    stream = client.begin("POST", "/echo", [("content-length", str(length))], end=False)
    client.h2.streams[stream]._expected_content_length = None
    client.h2.send_data(stream, body, end_stream=True)
    client.flush()
    assert client.finish(stream).reset == PROTOCOL_ERROR
    assert client.ask().status == 200


def test_a_reset_ends_the_request_at_the_instance(front, client):
    held = front.backend.on("/held-reset", Held())
    stream = client.begin("GET", "/held-reset")
    held.wait()
    client.reset(stream)
    assert client.ask().status == 200
    wait_until(lambda: in_flight(front) == 0, what="the request's end")
    held.release()


@pytest.mark.parametrize("state", ["served", "queued", "paused"])
def test_a_reset_in_the_segment_of_its_request_ends_it_at_once(start_own_front, state):
    """It comes before anybody waits for it (CVE-2023-44487)."""
    service = {"health": {"interval": "0s"}, "concurrency": {"per_instance": 1 if state == "queued" else 0}}
    front = start_own_front(Backend("one"), service=service, workers=1)
    held = front.backend.on("/held", Held())
    with front.client() as first, RawHttp2(front.port) as client:
        if state == "queued":
            first.request(target="/held")
            held.wait()
        elif state == "paused":
            assert front.admin.command("pause").status == 200
        for stream in range(1, 41, 2):
            client.send(head_frame(stream, "/reset") + frame(RST_STREAM, 0, stream, struct.pack(">I", CANCEL)))
        client.send(frame(PING, payload=b"done    "))
        while client.read()[0] != PING:
            pass
        held.release()
        assert front.admin.command("resume").status == (200 if state == "paused" else 409)
        wait_until(lambda: in_flight(front) == 0, what="the end of all")
        assert front.ask().status == 200
    assert not front.backend.requests_of("/reset")


def whole_answer(raw):
    """Its body, if it ends; else what came of it."""
    body = b""
    while (got := raw.read()) is not None:
        body += got[3] if got[0] == DATA else b""
        if got[0] == DATA and got[1] & END_STREAM:
            return body
    return body


def test_the_last_bytes_of_an_answer_wait_for_a_client_that_does_not_read_for_some_seconds(front):
    """Some of the lengths end between what the kernel holds and what is kept for it."""
    lengths = range(2300000, 2500000, 4000)
    front.backend.on("/long", lambda connection, request: connection.answer(b"x" * int(request.target.partition("?")[2])))
    clients = []
    for length in lengths:
        clients.append(RawHttp2(front.port, room=16384))
        clients[-1].send(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0x7FFFFFFF)))
        clients[-1].send(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 0x7FFFFFFF - 65535)))
        clients[-1].send(head_frame(1, f"/long?{length}"))
    wait_until(lambda: len(front.backend.requests_of("/long")) == len(lengths), what="all requests")
    stays(lambda: connections(front) >= len(lengths), 6)
    assert [len(whole_answer(client)) for client in clients] == list(lengths)
    for client in clients:
        client.socket.close()


def test_a_reset_takes_a_request_out_of_the_line_though_its_body_has_not_ended(start_own_front):
    service = {"health": {"interval": "0s"}, "concurrency": {"per_instance": 1, "queue_timeout": "60s"}}
    front = start_own_front(Backend("one"), service=service, workers=1)
    held = front.backend.on("/held", Held())
    with front.client() as first, Http2Client(front.port) as client:
        first.request(target="/held")
        held.wait()
        streams = [client.begin("POST", "/reset", end=False) for _ in range(3)]
        for stream in streams:
            client.send(stream, b"some")
        wait_until(lambda: queued(front) == 3, what="three in line")
        for stream in streams:
            client.reset(stream)
        wait_until(lambda: queued(front) == 0, what="nobody in line")
        held.release()
        assert first.response().status == 200
    assert not front.backend.requests_of("/reset")


def test_a_stream_that_is_not_read_holds_up_no_other(front):
    with Http2Client(front.port, reads=False) as client:
        stuck = client.begin("GET", "/big")
        client.until(lambda: len(client.answers[stuck].body) >= 65535, "a full window")
        client.h2.increment_flow_control_window(MIB)
        client.flush()
        for _ in range(20):
            assert client.ask().body == b"h2"
        assert len(client.answers[stuck].body) == 65535
        client.h2.increment_flow_control_window(16 * MIB)
        client.h2.increment_flow_control_window(16 * MIB, stuck)
        client.flush()
        assert len(client.finish(stuck).body) == 8 * MIB


def test_an_upload_that_is_not_taken_stops_at_its_window(front, client):
    released = threading.Event()

    def slow(connection, request):
        assert released.wait(30)
        request.read_body(connection)
        connection.answer(str(len(request.body)))

    front.backend.on("/slow", slow)
    stream = client.begin("POST", "/slow", end=False)
    sent = 0
    while client.h2.local_flow_control_window(stream) > 0 and sent < 64 * MIB:
        size = min(client.h2.local_flow_control_window(stream), 16384)
        client.h2.send_data(stream, b"x" * size)
        client.flush()
        sent += size
        assert client.ask("GET", "/").status == 200  # and takes up what windows have come
    assert sent < 32 * MIB, "the window was opened for bytes that nobody took"
    released.set()
    client.send(stream, b"", end=True)
    assert client.finish(stream).body == str(sent).encode()


def test_many_streams_are_served_side_by_side(front, client):
    held = front.backend.on("/held", Held(b"done"))
    streams = [client.begin("GET", "/held") for _ in range(50)]
    for _ in streams:
        held.wait()
    assert in_flight(front) == 50
    held.release()
    assert [client.finish(stream).body for stream in streams] == [b"done"] * 50


def test_no_more_streams_are_taken_than_the_limit(start_own_front, make_backend):
    backend = make_backend("few")
    held = backend.on("/held", Held(b"done"))
    front = start_own_front(backend, http2={"streams": 2})
    with Http2Client(front.port) as client:
        client.until(lambda: client.remote, "the settings")
        assert client.h2.remote_settings.max_concurrent_streams == 2
    with RawHttp2(front.port) as raw:  # one that has not taken them up yet
        raw.send(b"".join(head_frame(stream, "/held") for stream in (1, 3, 5)))
        while (got := raw.read())[0] != RST_STREAM:
            pass
        assert (got[2], int.from_bytes(got[3], "big")) == (5, REFUSED_STREAM)
        held.wait()
        held.wait()
        assert in_flight(front) == 2
        held.release()


def test_a_connection_counts_once(start_own_front, make_backend):
    backend = make_backend("count")
    held = backend.on("/held", Held())
    front = start_own_front(backend, limits={"connections": 2, "connections_per_address": 2})
    with Http2Client(front.port) as client:
        streams = [client.begin("GET", "/held") for _ in range(5)]
        for _ in streams:
            held.wait()
        assert connections(front) == 1
        assert front.ask().status == 200, "there is room for one more"
        held.release()
        for stream in streams:
            client.finish(stream)
    wait_until(lambda: connections(front) == 0, what="the end of the connections")


def test_the_access_log_says_http2(start_own_front, make_backend):
    front = start_own_front(make_backend("log"), access_log={"path": "/dev/null"})
    path = front.daemon.path("access.log")
    front.daemon.config["access_log"] = {"path": path, "format": "combined"}
    front.daemon.write_config()
    assert front.admin.post("/v1/reload").status == 200
    with Http2Client(front.port) as client:
        assert client.ask("GET", "/logged").status == 200
        wait_until(lambda: os.path.exists(path) and "/logged" in open(path, encoding="utf-8").read())
    assert '"GET /logged HTTP/2.0"' in open(path, encoding="utf-8").read()


# ---- the ends of a connection ----


def test_an_idle_connection_gets_a_goaway(start_own_front, make_backend):
    front = start_own_front(make_backend("idle"), defaults={"timeouts": {"idle": "300ms"}})
    with Http2Client(front.port) as client:
        assert client.ask().status == 200
        client.drain()
        assert [code for _, code, _ in client.goaways] == [0]


def test_a_head_that_does_not_end_is_given_up(start_own_front, make_backend):
    front = start_own_front(make_backend("head"), defaults={"timeouts": {"head": "300ms", "idle": "60s"}})
    with RawHttp2(front.port) as raw:
        raw.send(frame(HEADERS, END_STREAM, 1, b"\x82"))
        assert raw.goaway() is not None
    with RawHttp2(front.port) as raw:
        raw.send(b"\0\0\4\4\0")  # a frame that does not end is idleness
        assert raw.read() is not None


def read_goaway(raw):
    """Frames up to the next GOAWAY; its last stream and code, and the ids of the streams whose data came."""
    served = set()
    while True:
        kind, _, stream, payload = raw.read()
        if kind == GOAWAY:
            return int.from_bytes(payload[:4], "big"), int.from_bytes(payload[4:8], "big"), served
        if kind == DATA:
            served.add(stream)


def test_a_stop_says_goaway_twice_and_lets_requests_end(start_own_front, make_backend):
    backend = make_backend("stop")
    held = backend.on("/held", Held(b"whole"))
    front = start_own_front(backend)
    with RawHttp2(front.port) as raw:
        raw.send(head_frame(1, "/held"))
        held.wait()
        front.daemon.signal(signal.SIGTERM)
        assert read_goaway(raw)[:2] == (2**31 - 1, 0)
        raw.send(head_frame(3))  # was on its way
        last, code, served = read_goaway(raw)
        assert (last, code) == (3, 0)
        held.release()
        while 1 not in served and (got := raw.read()) is not None:
            if got[0] == DATA:
                served.add(got[2])
                assert got[3] == (b"whole" if got[2] == 1 else b"stop")
        raw.goaway()
    assert front.daemon.wait_end() == 0


def test_the_second_goaway_comes_with_the_answer_to_the_ping(start_own_front, make_backend):
    front = start_own_front(make_backend("ping"))
    with RawHttp2(front.port) as raw:
        raw.send(head_frame(1))
        while raw.read()[0] != DATA:
            pass
        front.daemon.signal(signal.SIGTERM)
        pings = []
        while (got := raw.read())[0] != GOAWAY:
            pings += [got[3]] if got[0] == PING else []
        while not pings:
            got = raw.read()
            pings += [got[3]] if got[0] == PING else []
        raw.send(frame(PING, ACK, 0, pings[0]))
        assert read_goaway(raw)[:2] == (1, 0)
        assert raw.read() is None
    assert front.daemon.wait_end() == 0


# ---- a swap ----


def test_a_swap_under_h2load_fails_no_request(stand, make_backend):
    stand.live[0].default = lambda connection, request: connection.answer("old")
    process = subprocess.Popen(
        ["h2load", "-D", "3", "-c", "4", "-m", "16", f"http://127.0.0.1:{stand.port}/"],
        stdout=subprocess.PIPE, text=True,
    )
    for _ in range(2):
        wait_until(lambda: stand.admin.pool(stand.admin.live())["requests"] > 50, what="traffic")
        stand.wait_state(stand.admin.stage([make_backend("new").address]), "done")
    output = process.communicate(timeout=30)[0]
    line = next(line for line in output.splitlines() if line.startswith("requests:"))
    assert " 0 failed, 0 errored, 0 timeout" in line, output
    assert "0 3xx, 0 4xx, 0 5xx" in output


# ---- over TLS ----


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(str(tmp_path_factory.mktemp("authority")))


def start_tls(start, backend, authority, **tls):
    identity = authority.issue("app.test", "127.0.0.1")
    return start(backend, listeners=[{"address": "127.0.0.1:0", "tls": {**identity.setting, **tls}}])


def curl_tls(front, authority, *arguments):
    argv = ["curl", "-sS", "-m", "15", "--cacert", authority.path, "--resolve", f"app.test:{front.port}:127.0.0.1"]
    argv += ["-w", "\\n%{http_version}", *arguments, f"https://app.test:{front.port}/"]
    return subprocess.run(argv, capture_output=True, timeout=30, check=True).stdout.split(b"\n")


def test_http2_is_agreed_on_over_tls(start_own_front, make_backend, authority):
    backend = make_backend("tls")
    front = start_tls(start_own_front, backend, authority)
    for version in ("--tlsv1.2", "--tlsv1.3"):
        assert curl_tls(front, authority, version, "--http2") == [b"tls", b"2"]
    _, request = backend.next_request()
    assert request.get("X-Forwarded-Proto") == "https"
    assert curl_tls(front, authority, "--http1.1") == [b"tls", b"1.1"]


@pytest.mark.parametrize("shown", [True, False])
def test_over_http2_too_the_app_is_told_of_a_verified_certificate_alone(start_own_front, make_backend, authority, shown):
    backend = make_backend("tls")
    alice = authority.issue(common_name="Alice")
    front = start_tls(start_own_front, backend, authority, client_ca=authority.path, client_verify="optional")
    proof = ["--cert", alice.certificate_path, "--key", alice.key_path] if shown else []
    lies = [word for name, value in FORGED for word in ("-H", f"{name}: {value}")]
    assert curl_tls(front, authority, "--http2", *proof, *lies) == [b"tls", b"2"]
    _, request = backend.next_request()
    told = [request.get(name) for name in ("X-Client-Verify", "X-Client-Subject", "X-Client-Fingerprint")]
    assert told == (["SUCCESS", "CN=Alice", alice.certificate.fingerprint(hashes.SHA256()).hex()] if shown else ["NONE", None, None])
    assert [name for name, value in request.fields if "forged" in value] == []


def test_http2_is_not_offered_where_the_config_says_so(start_own_front, make_backend, authority):
    front = start_tls(start_own_front, make_backend("tls"), authority, protocols=["http/1.1"])
    assert curl_tls(front, authority, "--http2") == [b"tls", b"1.1"]
    with TlsClient(front.port, authority.context()) as client:
        client.send(PREFACE)
        assert client.to_end_or_reset().startswith(b"HTTP/1.1 ")


ALPN = [
    (None, ["http/1.1", "h2"], "h2"),
    (["h2"], ["http/1.1", "h2"], "h2"),
    (["http/1.1", "h2"], ["h2", "http/1.1"], "http/1.1"),
    (None, None, None),
    (["h2"], None, None),
    (None, ["acme-tls/1", "http/1.0"], "http/1.0"),
    (["h2"], ["http/1.1"], "refused"),
    (["http/1.1"], ["h2"], "refused"),
    (None, ["ftp"], "refused"),
]


def agreed(front, authority, offered):
    context = authority.context()
    if offered:
        context.set_alpn_protocols(offered)
    try:
        with TlsClient(front.port, context) as client:
            return client.socket.selected_alpn_protocol()
    except ssl.SSLError as error:
        assert "alert no application protocol" in str(error)
        return "refused"


@pytest.mark.parametrize("protocols, offered, chosen", ALPN, ids=[f"{ours} {theirs}" for ours, theirs, _ in ALPN])
def test_what_is_agreed_on_is_of_the_list_and_who_offers_none_of_it_is_refused(
    start_own_front, make_backend, authority, protocols, offered, chosen
):
    settings = {"protocols": protocols} if protocols else {}
    front = start_tls(start_own_front, make_backend("tls"), authority, **settings)
    assert agreed(front, authority, offered) == chosen
    assert curl_tls(front, authority, "--no-alpn") == [b"tls", b"1.1"]


def test_who_has_agreed_on_http2_is_answered_in_nothing_else(start_own_front, make_backend, authority):
    backend = make_backend("tls")
    front = start_tls(start_own_front, backend, authority)
    context = authority.context()
    context.set_alpn_protocols(["h2"])
    for begin in (b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n", PREFACE[:10] + b"GET / HTTP/1.1\r\n\r\n"):
        with TlsClient(front.port, context) as client:
            client.send(begin)
            assert b"HTTP/1.1 " not in client.to_end_or_reset()
    assert not backend.requests


def test_h2load_over_tls_fails_no_request(start_own_front, make_backend, authority):
    front = start_tls(start_own_front, make_backend("tls"), authority)
    argv = ["h2load", "-n", "500", "-c", "4", "-m", "16", f"https://127.0.0.1:{front.port}/"]
    output = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "500 succeeded, 0 failed" in output and "Application protocol: h2" in output


def test_an_end_that_needs_no_window_does_not_wait_behind_data_that_does(front):
    ends = threading.Event()

    def slow(connection, request):
        connection.socket.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        assert ends.wait(10)
        connection.socket.sendall(b"0\r\nX-T: u\r\n\r\n")

    front.backend.on("/slow-end", slow)
    front.backend.on("/large", answer(bytes(300000)))
    with Http2Client(front.port, reads=False) as client:
        slow_one = client.begin(path="/slow-end")
        client.until(lambda: client.answers[slow_one].body == b"abc", "the slow one's data")
        large = client.begin(path="/large")
        client.until(lambda: len(client.answers[large].body) == 65535 - 3, "the window to be used up")
        ends.set()
        client.until(lambda: client.answers[slow_one].ended, "the slow one's end")
        assert client.answers[slow_one].trailers == {"x-t": "u"}


def test_a_field_that_a_rule_sets_has_no_blank_at_its_end(start_own_front, make_backend):
    """A variable may be empty, and HTTP/2 allows none there (RFC 9113 section 8.2.1)."""
    rule = {"response": {"set": {"X-Served-By": "%{deployment} %{instance}"}}}
    front = start_own_front(make_backend("rules"), service={"headers": rule})
    front.admin.command("maintenance", on=True)
    with Http2Client(front.port) as client:
        got = client.ask()
        assert got.status == 503 and not (got.get("x-served-by") or "").endswith(" ")
