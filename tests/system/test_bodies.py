"""Bodies in both directions: every framing, back-pressure, early answers, trailers."""

import hashlib
import os
import select
import socket
import threading
import time

import pytest

from harness import http1, processes
from harness.backend import Backend, Held
from harness.http1 import answer, chunked
from harness.waiting import stays, wait_until
from harness.wire import Ended

MIB = 1 << 20
BIG = int(os.environ.get("UPSWAP_BIG_BODY", 256 * MIB))  # bytes; 10 GiB: UPSWAP_BIG_BODY=10737418240
IN_SOCKETS = 48 * MIB  # more than all socket buffers on the way can hold
BLOCK = bytes(range(256)) * (MIB // 256)


@pytest.fixture(scope="module")
def front(start_front):
    backend = Backend("bodies")
    backend.on("/digest", digest)
    return start_front(backend)


def digest(connection, request):
    request.read_body(connection)
    connection.answer(f"{len(request.body)} {hashlib.sha256(request.body).hexdigest()}")


def digest_of(body):
    return f"{len(body)} {hashlib.sha256(body).hexdigest()}"


@pytest.mark.parametrize("size", [0, 1, 100, 4095, 4096, 4097, 16384, 65535, 65536, 65537, 1000000])
def test_a_request_body_of_any_size_arrives_whole_in_both_framings(front, size):
    body = os.urandom(size)
    with front.client() as client:
        assert client.ask("POST", "/digest", [f"Content-Length: {size}"], body).text == digest_of(body)
        pieces = [body[at : at + 9973] for at in range(0, size, 9973)]
        response = client.ask("POST", "/digest", ["Transfer-Encoding: chunked"], chunked(*pieces))
        assert response.text == digest_of(body)


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
@pytest.mark.parametrize("size", [0, 1, 4096, 16384, 65536, 65537, 1000000])
def test_an_answer_of_any_size_arrives_whole_in_every_framing(front, size, framing):
    body = os.urandom(size)

    def script(connection, request):
        connection.answer(body, framing=framing)
        if framing == "close":
            connection.close()

    front.backend.on("/body", script)
    with front.client() as client:
        assert client.ask(target="/body").body == body
        assert client.ask(target="/digest", method="POST").status == 200


def test_the_framing_of_a_body_is_passed_on_as_it_came(front):
    front.backend.forget()
    front.ask("POST", "/digest", body=b"abc")
    front.ask("POST", "/digest", ["Transfer-Encoding: chunked"], chunked(b"abc"))
    front.ask("GET", "/digest")
    framings = [front.backend.next_request()[1].framing() for _ in range(3)]
    assert framings == [3, "chunked", None]


def test_a_get_with_a_body_is_passed_on_with_it(front):
    front.backend.forget()
    assert front.ask("GET", "/digest", body=b"query").text == digest_of(b"query")
    assert front.backend.next_request()[1].method == "GET"


def test_an_answer_that_ends_with_its_connection_reaches_a_1_1_client_chunked(front):
    front.backend.on("/until-close", canned_close(b"HTTP/1.1 200 OK\r\n\r\nall of it"))
    with front.client() as client:
        response = client.ask(target="/until-close")
        assert response.text == "all of it" and response.framing() == "chunked"
        assert client.ask("POST", "/digest").status == 200


def canned_close(data):
    def script(connection, request):
        connection.send(data)
        connection.close()

    return script


def test_trailers_are_passed_on_in_both_directions(front):
    def script(connection, request):
        request.read_body(connection)
        connection.send(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
            + chunked(b"abc", trailers=b"X-Sum: 42\r\n")
        )

    front.backend.on("/trailers", script)
    front.backend.forget()
    response = front.ask(
        "POST",
        "/trailers",
        ["Transfer-Encoding: chunked", "Trailer: X-Check", "TE: trailers"],
        chunked(b"abc", trailers=b"X-Check: 7\r\n"),
    )
    assert response.trailers == [("X-Sum", "42")]
    assert front.backend.next_request()[1].trailers == [("X-Check", "7")]


@pytest.mark.parametrize("name", ["Content-Length", "Transfer-Encoding", "Host", "Connection", "Authorization"])
def test_a_trailer_that_no_trailer_may_be_is_dropped(front, name):
    front.backend.forget()
    body = chunked(b"abc", trailers=f"{name}: 1\r\nX-Good: 1\r\n".encode())
    assert front.ask("POST", "/digest", ["Transfer-Encoding: chunked"], body).status == 200
    assert front.backend.next_request()[1].trailers == [("X-Good", "1")]


def test_head_gets_the_length_and_no_body(front):
    front.backend.on("/head", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    with front.client() as client:
        response = client.ask("HEAD", "/head")
        assert response.status == 200 and response.get("Content-Length") == "1000" and response.body == b""
        assert client.ask("POST", "/digest").status == 200


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_an_answer_without_body_by_its_status_leaves_the_connections_in_step(front, status):
    front.backend.on("/none", answer(b"", status, ["ETag: x"], framing=None))
    with front.client() as client:
        for _ in range(3):
            response = client.ask(target="/none")
            assert response.status == int(status[:3]) and response.get("ETag") == "x"
        assert client.ask("POST", "/digest").status == 200


def test_a_304_may_name_the_length_of_what_it_does_not_send(front):
    front.backend.on("/not-modified", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n")
    with front.client() as client:
        assert client.ask(target="/not-modified").status == 304
        assert client.ask("POST", "/digest").status == 200


def test_interim_answers_are_relayed_before_the_final_one(front):
    front.backend.on(
        "/early-hints",
        b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + answer("final"),
    )
    response = front.ask(target="/early-hints")
    assert [interim.status for interim in response.interim] == [102, 103]
    assert response.interim[1].get("Link") == "</a.css>"
    assert response.text == "final"


def test_an_http_1_0_client_gets_no_interim_answer(front):
    front.backend.on("/early-hints", b"HTTP/1.1 103 Early Hints\r\n\r\n" + answer("final"))
    response = front.ask(target="/early-hints", version="1.0")
    assert response.interim == [] and response.text == "final"


def test_a_client_that_expects_100_waits_for_it_and_gets_it(front):
    def script(connection, request):
        assert request.get("Expect") == "100-continue"
        connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        digest(connection, request)

    front.backend.on("/expect", script)
    with front.client() as client:
        client.request("POST", "/expect", ["Expect: 100-continue", "Content-Length: 5"])
        assert client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(b"hello")
        assert client.response().text == digest_of(b"hello")


def test_an_instance_hears_nothing_of_what_a_client_of_http_1_0_expects(front):
    def script(connection, request):
        assert request.get("Expect") is None
        digest(connection, request)

    front.backend.on("/expect", script)
    with front.client() as client:
        fields = "Host: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n"
        client.send(f"POST /expect HTTP/1.0\r\n{fields}\r\nhello".encode())
        response = client.response()
        assert response.text == digest_of(b"hello") and response.interim == []


def test_an_instance_that_refuses_an_expectation_gets_no_body(front):
    def script(connection, request):
        connection.answer("no", "417 Expectation Failed", ["Connection: close"])
        connection.close()

    front.backend.on("/refuse", script)
    with front.client() as client:
        client.request("POST", "/refuse", ["Expect: 100-continue", "Content-Length: 1000000"])
        response = client.response()
        assert response.status == 417 and response.interim == []


def test_an_answer_before_the_request_body_has_ended_reaches_the_client(front):
    def script(connection, request):
        connection.answer("too large", "413 Content Too Large", ["Connection: close"])
        connection.close()

    front.backend.on("/early", script)
    with front.client() as client:
        client.request("POST", "/early", ["Content-Length: 1000000"], b"x" * 1000)
        response = client.response()
        assert response.status == 413 and response.text == "too large"


def deny(connection, request):
    connection.answer("denied", "401 Unauthorized", ["Connection: close"])
    connection.close()


def test_who_reads_an_early_answer_only_after_a_slow_upload_finds_it(front):
    front.backend.on("/deny", deny)
    with front.client() as client:
        client.request("POST", "/deny", ["Content-Length: 1000000"])
        stays(lambda: client.send(b"x" * 100) is None, 6.5, what="the way for the upload")
        assert client.response("POST").text == "denied"


def test_who_reads_an_early_answer_only_after_a_long_upload_finds_it(front):
    front.backend.on("/deny", deny)
    with front.client() as client:
        client.request("POST", "/deny", [f"Content-Length: {len(BLOCK) * 150}"])
        for _ in range(150):
            client.send(BLOCK)
        assert client.response("POST").text == "denied"


def test_who_goes_on_sending_after_an_early_answer_is_let_go_in_the_end(front):
    front.backend.on("/deny", deny)
    with front.client() as client:
        client.request("POST", "/deny", ["Transfer-Encoding: chunked"])
        assert client.response("POST").text == "denied"
        began = time.monotonic()
        with pytest.raises(ConnectionError):
            stays(lambda: client.send(b"1\r\nx\r\n") is None, 60)
        assert 29 < time.monotonic() - began < 45


def test_an_answer_that_starts_before_the_request_body_streams_beside_it(front):
    def script(connection, request):
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(3):
            size = int(connection.until(b"\r\n"), 16)
            piece = connection.exactly(size + 2)[:-2]
            connection.send(b"%x\r\n%s\r\n" % (size, piece.upper()))
        connection.until(b"0\r\n\r\n")
        connection.send(b"0\r\n\r\n")

    front.backend.on("/duplex", script)
    with front.client() as client:
        client.request("POST", "/duplex", ["Transfer-Encoding: chunked"])
        head = http1.Response(client.until(b"\r\n\r\n"))
        assert head.status == 200
        for word in (b"one", b"two", b"three"):
            client.send(b"%x\r\n%s\r\n" % (len(word), word))
            assert client.exactly(3 + len(word) + 2) == b"%x\r\n%s\r\n" % (len(word), word.upper())
        client.send(b"0\r\n\r\n")
        assert client.until(b"\r\n\r\n") == b"0\r\n\r\n"
        assert client.ask("POST", "/digest").status == 200


def test_a_client_that_closes_its_sending_side_still_gets_its_answer(front):
    held = Held(b"patience")
    front.backend.on("/half", held)
    with front.client() as client:
        client.request(target="/half")
        client.half_close()
        held.wait()
        held.release()
        assert client.response().text == "patience"
        client.assert_closed()


def test_a_request_body_cut_by_the_client_never_looks_complete_upstream(front):
    front.backend.forget()
    client = front.client()
    client.request("POST", "/digest", ["Transfer-Encoding: chunked"], b"5\r\nhello\r\n")
    connection, _ = front.backend.next_request()
    client.close()
    assert connection.ended.wait(5), "the instance was not told that the client has gone"
    assert not bytes(connection.received).endswith(b"0\r\n\r\n")


def test_the_first_bytes_of_a_slow_answer_reach_the_client_before_the_rest(front):
    go_on = threading.Event()

    def script(connection, request):
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
        go_on.wait(30)
        connection.send(b"-last")

    front.backend.on("/trickle", script)
    with front.client() as client:
        client.request(target="/trickle")
        client.until(b"\r\n\r\n")
        assert client.exactly(5) == b"first"
        go_on.set()
        assert client.exactly(5) == b"-last"


def test_a_request_body_over_the_limit_is_refused_with_413(start_own_front):
    front = start_own_front(Backend("small"), limits={"body": "1k"})
    with front.client() as client:
        client.request("POST", "/", ["Content-Length: 1025"])
        response = client.response()
        assert response.status == 413 and response.upswap
    assert front.ask("POST", "/", body=b"x" * 1024).status == 200
    assert front.backend.requests_of("/")[-1].body == b"x" * 1024
    with front.client() as client:
        client.request("POST", "/", ["Transfer-Encoding: chunked"], chunked(b"x" * 600, b"x" * 600))
        assert client.response().status == 413
    assert len([r for r in front.backend.requests if len(r.body) > 1024]) == 0


def test_an_answer_that_is_cut_takes_no_whole_answer_before_it_along(start_own_front):
    front = start_own_front(Backend("bodies"))
    blocked, over = threading.Event(), threading.Event()

    def cut(connection, request):
        blocked.wait(30)
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
        connection.half_close()
        over.wait(30)
        connection.close()

    whole = os.urandom(150000)
    front.backend.on("/whole", lambda connection, request: connection.answer(whole))
    front.backend.on("/cut", cut)
    with front.client(receive_buffer=16384) as client:
        client.request(target="/whole")
        client.request("POST", "/cut", [f"Content-Length: {IN_SOCKETS}"])
        assert client.send_until_blocked(BLOCK, IN_SOCKETS) < IN_SOCKETS
        blocked.set()
        wait_until(lambda: closed_early(front) == 1, what="the cut")
        assert client.response().body == whole
        assert client.to_end().endswith(b"\r\n\r\nhalf")
    over.set()


def closed_early(front):
    return sum(
        value
        for (name, labels), value in front.admin.metrics().items()
        if name == "upswap_upstream_errors_total" and ("kind", "closed_early") in labels
    )


def pipe_ends(proxy):
    """How many ends of pipes it has open."""
    folder, count = f"/proc/{proxy}/fd", 0
    for fd in os.listdir(folder):
        try:
            count += os.readlink(f"{folder}/{fd}").startswith("pipe:")
        except FileNotFoundError:  # closed meanwhile
            pass
    return count


def test_long_bodies_between_plain_connections_pass_by_a_pipe_and_leave_them_usable(start_own_front):
    front = start_own_front(Backend("bodies"), workers=1)
    body = os.urandom(3 * MIB + 5)
    front.backend.on("/body", lambda connection, request: connection.answer(body))
    front.backend.on("/digest", digest)
    before = pipe_ends(front.daemon.pids["proxy"])
    with front.client() as client:
        for _ in range(3):
            assert client.ask(target="/body").body == body
            assert client.ask("POST", "/digest", [f"Content-Length: {len(body)}"], body).text == digest_of(body)
    assert len(front.backend.asked()) == 1, "the connection to the instance was not used again"
    assert pipe_ends(front.daemon.pids["proxy"]) == before + 2, "one conduit serves all"


def test_an_upload_that_has_come_goes_by_a_pipe_right_behind_what_came_with_its_head(start_own_front):
    front = start_own_front(Backend("bodies"), workers=1)
    body = os.urandom(100000)
    front.backend.on("/digest", digest)
    proxy = front.daemon.pids["proxy"]
    with front.client() as client:
        assert client.ask(target="/").status == 200
        before = pipe_ends(proxy)
        with processes.standing(proxy):
            client.request("POST", "/digest", [f"Content-Length: {len(body)}"], body)
            wait_until(lambda: client.unacknowledged() == 0, what="the upload to arrive")
        assert client.response("POST").text == digest_of(body)
        assert pipe_ends(proxy) == before + 2


def test_an_upload_that_dribbles_in_takes_no_pipe_while_it_may_be_sent_again(start_own_front):
    front = start_own_front(Backend("bodies"), workers=1)
    body = os.urandom(MIB)
    front.backend.on("/digest", digest)
    proxy = front.daemon.pids["proxy"]
    before = pipe_ends(proxy)
    with front.client() as client:
        client.request("POST", "/digest", [f"Content-Length: {len(body)}"], body[:1000])
        connection, _ = front.backend.next_request()
        head = connection.received.index(b"\r\n\r\n") + 4
        for at in range(1000, 30000, 1000):
            wait_until(lambda: len(connection.received) == head + at, what="the bytes so far")
            assert pipe_ends(proxy) == before
            client.send(body[at : at + 1000])
        client.send(body[30000:])
        assert client.response("POST").text == digest_of(body)


def test_a_long_upload_that_meets_a_connection_just_closed_is_sent_again_whole(start_own_front):
    front = start_own_front(Backend("bodies"), workers=1)
    body = os.urandom(100000)
    front.backend.on("/digest", digest)
    proxy = front.daemon.pids["proxy"]
    with front.client() as client:
        assert client.ask(target="/").status == 200
        (connection,) = front.backend.asked()
        with processes.standing(proxy):
            client.request("PUT", "/digest", [f"Content-Length: {len(body)}"], body)
            wait_until(lambda: client.unacknowledged() == 0, what="the upload to arrive")
            connection.socket.shutdown(socket.SHUT_RDWR)
            assert connection.ended.wait(30)
        assert client.response("PUT").text == digest_of(body)


def test_what_an_instance_sends_behind_a_long_answer_is_no_answer_to_the_next_request(start_own_front):
    front = start_own_front(Backend("bodies"))
    body, first = os.urandom(MIB), 800000
    go_on, sent = threading.Event(), threading.Event()

    asked = []

    def script(connection, request):
        asked.append(connection)
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:first])
        go_on.wait(30)
        connection.send(body[first:] + answer("what nobody has asked for"))
        sent.set()

    front.backend.on("/too-much", script)
    proxy = front.daemon.pids["proxy"]
    with front.client() as client:
        client.request(target="/too-much")
        client.until(b"\r\n\r\n")
        assert client.exactly(first) == body[:first]
        with processes.standing(proxy):
            go_on.set()
            assert sent.wait(30)
            wait_until(lambda: asked[0].unacknowledged() == 0, what="the instance's bytes to arrive")
        assert client.exactly(len(body) - first) == body[first:]
        assert client.ask(target="/").text == "bodies"


@pytest.mark.parametrize("size", [60 * 1024, 2 * MIB])
def test_a_request_right_behind_a_long_upload_is_served(front, size):
    body = os.urandom(size)
    head = f"POST /digest HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    behind = b"POST /digest HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
    with front.client() as client:
        client.send(head + body + behind)
        assert client.response("POST").text == digest_of(body)
        assert client.response("POST").text == digest_of(b"hello")


def test_a_long_answer_that_breaks_off_is_cut_and_its_conduit_serves_the_next(start_own_front):
    front = start_own_front(Backend("bodies"), workers=1)
    body = os.urandom(4 * MIB)

    def script(connection, request):
        connection.send(answer(body)[: 2 * MIB])
        connection.close()

    front.backend.on("/cut", script)
    front.backend.on("/body", lambda connection, request: connection.answer(body))
    before = pipe_ends(front.daemon.pids["proxy"])
    for _ in range(3):
        with front.client() as client:
            client.request(target="/cut")
            with pytest.raises((ConnectionError, Ended)):
                client.response()
    with front.client() as client:
        assert client.ask(target="/body").body == body
    assert pipe_ends(front.daemon.pids["proxy"]) == before + 2


def test_clients_that_leave_in_the_middle_of_long_answers_keep_no_conduit(start_own_front):
    front = start_own_front(Backend("bodies"), workers=1)
    front.backend.on("/long", lambda connection, request: connection.answer(b"x" * IN_SOCKETS))
    proxy = front.daemon.pids["proxy"]
    before = pipe_ends(proxy)
    for _ in range(3):
        clients = [front.client(receive_buffer=65536) for _ in range(4)]
        for client in clients:
            client.request(target="/long")
        for client in clients:
            client.exactly(2 * MIB)
        for client in clients:
            client.close()
        wait_until(lambda: front.admin.status()["services"][0]["pools"][0]["in_flight"] == 0, what="all to end")
    assert pipe_ends(proxy) <= before + 2 * len(clients)


def sent_before_blocked(connection, total):
    return connection.send_until_blocked(BLOCK, total)


def test_a_download_with_a_slow_reader_keeps_the_proxys_memory_flat(front):
    blocked = threading.Event()
    sent = []

    def script(connection, request):
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG)
        sent.append(sent_before_blocked(connection, BIG))
        blocked.set()
        done = sent[0]
        while done < BIG:
            offset = done % MIB
            piece = BLOCK[offset : offset + min(MIB - offset, BIG - done)]
            connection.send(piece)
            done += len(piece)

    front.backend.on("/download", script)
    proxy = front.daemon.pids["proxy"]
    before = processes.resident_bytes(proxy)
    with front.client(receive_buffer=65536) as client:
        client.request(target="/download")
        head = http1.Response(client.until(b"\r\n\r\n"))
        assert head.get("Content-Length") == str(BIG)
        assert blocked.wait(60), "the instance was never held back"
        assert sent[0] < IN_SOCKETS, "the proxy took in what the client did not read"
        peak = processes.resident_bytes(proxy)
        for total in client.discard(BIG):
            if total % 97 == 0:
                peak = max(peak, processes.resident_bytes(proxy))
        assert peak - before < 8 * MIB
        assert client.ask("POST", "/digest").status == 200


def test_an_upload_with_a_slow_reader_keeps_the_proxys_memory_flat(front):
    reads = threading.Event()

    def script(connection, request):
        assert reads.wait(60)
        count = int(request.get("Content-Length"))
        for _ in connection.discard(count):
            pass
        connection.answer(str(count))

    front.backend.on("/upload", script)
    front.backend.forget()
    proxy = front.daemon.pids["proxy"]
    before = processes.resident_bytes(proxy)
    with front.client() as client:
        client.request("POST", "/upload", [f"Content-Length: {BIG}"])
        front.backend.next_request()
        sent = sent_before_blocked(client, BIG)
        assert sent < IN_SOCKETS, "the proxy took in what the instance did not read"
        peak = processes.resident_bytes(proxy)
        reads.set()
        while sent < BIG:
            offset = sent % MIB
            piece = BLOCK[offset : offset + min(MIB - offset, BIG - sent)]
            client.send(piece)
            sent += len(piece)
            peak = max(peak, processes.resident_bytes(proxy))
        assert client.response().text == str(BIG)
        assert peak - before < 8 * MIB


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_large_body_is_the_same_on_the_other_side(front, framing):
    size = 32 * MIB

    def script(connection, request):
        pieces = [BLOCK] * (size // MIB)
        if framing == "length":
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            for piece in pieces:
                connection.send(piece)
        else:
            connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for piece in pieces:
                connection.send(b"%x\r\n" % len(piece) + piece + b"\r\n")
            connection.send(b"0\r\n\r\n")

    front.backend.on("/large", script)
    expected = hashlib.sha256()
    for _ in range(size // MIB):
        expected.update(BLOCK)
    response = front.ask(target="/large")
    assert len(response.body) == size
    assert hashlib.sha256(response.body).hexdigest() == expected.hexdigest()


def test_a_client_that_goes_away_in_a_download_frees_the_instance(front):
    def script(connection, request):
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG)
        while True:
            connection.send(BLOCK)

    front.backend.on("/endless", script)
    front.backend.forget()
    client = front.client()
    client.request(target="/endless")
    client.until(b"\r\n\r\n")
    connection, _ = front.backend.next_request()
    client.reset()
    assert connection.ended.wait(10), "the instance still sends to nobody"


def test_a_client_that_asks_and_asks_and_never_reads_is_not_served_without_end(front):
    body = b"x" * 16384
    front.backend.on("/greedy", answer(body))
    requests = b"GET /greedy HTTP/1.1\r\nHost: a\r\n\r\n" * 1000
    proxy = front.daemon.pids["proxy"]
    before = processes.resident_bytes(proxy)
    with front.client(receive_buffer=4096) as client:
        sent = client.send_until_blocked(requests, 64 * MIB, quiet=0.5)
        assert sent < 32 * MIB, "the proxy read requests whose answers nobody took"
        assert processes.resident_bytes(proxy) - before < 8 * MIB
        for _ in range(200):
            assert client.response().body == body


def test_many_connections_with_full_buffers_do_not_stop_the_others(front):
    def script(connection, request):
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (64 * MIB))
        for _ in range(64):
            connection.send(BLOCK)

    front.backend.on("/stuck", script)
    stuck = [front.client(receive_buffer=4096) for _ in range(20)]
    try:
        for client in stuck:
            client.request(target="/stuck")
        for client in stuck:
            assert select.select([client.socket], [], [], 10)[0]
        for _ in range(50):
            assert front.ask("POST", "/digest", body=b"abc").text == digest_of(b"abc")
    finally:
        for client in stuck:
            client.close()
