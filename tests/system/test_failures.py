"""Instances that fail: which requests go to another one, and what the client sees otherwise."""

import json
import os
import socket
import threading

import pytest

from harness import processes
from harness.backend import Backend, Held, canned
from harness.client import ask
from harness.http1 import answer
from harness.waiting import PATIENCE, wait_until


@pytest.fixture
def pair(start_own_front):
    """A front with one worker and two backends, so that round robin alternates."""
    return start_own_front(Backend("one"), Backend("two"), workers=1)


def both(front, path, script):
    for backend in front.backends:
        backend.on(path, script)


def answers(front, count, **options):
    return [front.ask(**options).text for _ in range(count)]


def test_requests_alternate_between_instances(pair):
    got = answers(pair, 10)
    assert sorted(got) == ["one"] * 5 + ["two"] * 5
    assert all(a != b for a, b in zip(got, got[1:]))


def test_a_refused_connection_goes_to_another_instance(pair):
    pair.backends[0].close()
    assert answers(pair, 10) == ["two"] * 10
    assert answers(pair, 4, method="POST", body=b"once") == ["two"] * 4


def test_a_connection_that_times_out_goes_to_another_instance(start_own_front):
    with full_listener() as address:
        live = Backend("live")
        service = {"instances": [address, live.address], "timeouts": {"connect": "200ms"}}
        front = start_own_front(live, service=service, workers=1)
        assert answers(front, 4) == ["live"] * 4


class full_listener:
    """An address whose backlog is full: connecting to it gets no answer at all."""

    def __enter__(self):
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(0)
        address = self.listener.getsockname()
        self.fillers = []
        for _ in range(8):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(address)
            self.fillers.append(filler)
        return f"127.0.0.1:{address[1]}"

    def __exit__(self, *_):
        for sock in (self.listener, *self.fillers):
            sock.close()


def test_no_instance_that_accepts_is_a_502_with_a_reason(start_own_front):
    front = start_own_front(Backend("gone"))
    front.backend.close()
    response = front.ask()
    assert response.status == 502 and response.upswap == "connect-refused"


def test_instances_that_never_accept_are_a_504_with_a_reason(start_own_front):
    with full_listener() as address:
        front = start_own_front(
            Backend("unused"), service={"instances": [address], "timeouts": {"connect": "200ms"}}
        )
        response = front.ask()
        assert response.status == 504 and response.upswap == "connect-timeout"


def test_a_service_without_a_pool_answers_503(make_daemon):
    daemon = make_daemon().start()
    response = ask(daemon.port)
    assert response.status == 503 and response.upswap
    assert daemon.admin.service()["state"] == "empty"


def test_a_host_or_path_that_no_service_takes_gets_404(start_own_front):
    front = start_own_front(Backend("one"), service={"hosts": ["app.test"], "paths": ["/app"]})
    assert front.ask(target="/app/x", host="app.test").status == 200
    for response in (
        front.ask(target="/app/x", host="other.test"),
        front.ask(target="/application", host="app.test"),
        front.ask(target="/", host="app.test"),
    ):
        assert response.status == 404 and response.upswap


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_a_kept_connection_that_turns_out_closed_costs_an_idempotent_request_nothing(pair, method):
    both(pair, "/once", answer("kept"))
    for _ in range(2):
        pair.ask(target="/once")
    both(pair, "/vanish", vanish_when_kept())
    with pair.client() as client:
        assert client.ask(method, "/vanish").status == 200
        assert client.ask(method, "/vanish").status == 200


def vanish_when_kept():
    """On a connection that has served before: reads the request and closes; on a fresh one: answers."""

    def script(connection, request):
        if bytes(connection.received).count(b" HTTP/1.1\r\n") > 1:
            connection.close()
        else:
            connection.answer("fresh", framing="length" if request.method != "HEAD" else None)

    return script


def test_an_instance_that_loses_a_kept_connection_and_the_next_one_is_left_for_another(pair):
    """So it is when its process is being killed."""
    for _ in range(2):
        pair.ask(target="/warm")
    dying, well = pair.backends
    dying.on("/dying", lambda connection, request: connection.close())
    well.on("/dying", answer("well"))
    answers = [pair.ask(target="/dying") for _ in range(2)]
    assert [each.status for each in answers] == [200, 200]
    assert len(dying.requests_of("/dying")) >= 2


def only_worker(front):
    (worker,) = processes.workers(front.daemon.pids["proxy"])
    return worker


holds_threads = pytest.mark.skipif(os.getuid() != 0, reason="only root may hold another user's thread")


@holds_threads
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_kept_connection_whose_reset_came_together_with_its_last_answer_costs_nothing(pair, method):
    """Answer and reset make one edge, so none is left to tell of the reset."""
    arrived, stopped, left = threading.Event(), threading.Event(), threading.Event()

    def answer_and_reset(connection, request):
        arrived.set()
        stopped.wait(PATIENCE)
        connection.answer("last words")
        connection.reset()
        left.set()

    both(pair, "/last", answer_and_reset)
    worker = only_worker(pair)
    with pair.client(timeout=5) as client:
        client.request(target="/last")
        assert arrived.wait(PATIENCE)
        with processes.StoppedThread(worker):
            stopped.set()
            assert left.wait(PATIENCE)
        assert client.response().text == "last words"
        for _ in pair.backends:
            assert client.ask(method, body=b"again").status == 200


@pytest.mark.parametrize("method", ["POST", "PATCH", "BREW"])
def test_a_request_that_must_not_be_repeated_is_never_sent_twice(pair, method):
    for _ in range(2):
        pair.ask(target="/warm")
    both(pair, "/vanish", lambda connection, request: connection.close())
    for backend in pair.backends:
        backend.forget()
    response = pair.ask(method, "/vanish", body=b"pay")
    assert response.status == 502 and response.upswap
    assert sum(len(backend.requests_of("/vanish")) for backend in pair.backends) == 1


def test_a_fresh_connection_that_closes_without_an_answer_is_a_502_and_no_retry(pair):
    both(pair, "/mute", lambda connection, request: connection.close())
    response = pair.ask(target="/mute")
    assert response.status == 502 and response.upswap == "closed-early"
    assert sum(len(backend.requests_of("/mute")) for backend in pair.backends) == 1


class Mute:
    """A script that closes its connections without an answer, once the test lets it."""

    def __init__(self):
        self.arrived, self.left, self.let = threading.Semaphore(0), threading.Semaphore(0), threading.Event()

    def __call__(self, connection, request):
        self.arrived.release()
        assert self.let.wait(PATIENCE)
        connection.close()
        self.left.release()

    def wait(self, count):
        for _ in range(count):
            assert self.arrived.acquire(timeout=PATIENCE), "the request never arrived"

    def close(self, count):
        self.let.set()
        for _ in range(count):
            assert self.left.acquire(timeout=PATIENCE)


@holds_threads
def test_a_fresh_connection_that_closes_with_others_of_its_instance_is_a_retry(pair):
    """The first one to be heard of is not known to be one of many."""
    mute = pair.backends[0].on("/", Mute())
    worker = only_worker(pair)
    clients = [pair.client() for _ in range(4)]
    for client in clients:
        client.request()
    mute.wait(2)
    with processes.StoppedThread(worker):
        mute.close(2)
    assert [client.response().text for client in clients] == ["two"] * 4
    for client in clients:
        client.close()


@holds_threads
@pytest.mark.parametrize("count, retries", [(1, {}), (2, {"attempts": 0})], ids=["alone", "no-attempts"])
def test_who_can_go_to_no_other_instance_is_answered_at_once(start_own_front, count, retries):
    """What comes behind the close finds the answer given: here that the client leaves, which would be a 499."""
    mute = Mute()
    backends = [Backend(f"b{number}", script=mute) for number in range(count)]
    front = start_own_front(*backends, workers=1, service={"health": {"interval": "0s"}, "retries": retries})
    worker = only_worker(front)
    client = front.client()
    client.request()
    mute.wait(1)
    with processes.StoppedThread(worker):
        mute.close(1)
        client.reset()

    def codes():
        found = front.admin.metrics()
        return {dict(labels)["code"] for (name, labels), value in found.items() if name == "upswap_requests_total" and value}

    wait_until(codes, what="the request to be counted")
    assert codes() == {"502"}


def test_a_connection_that_resets_without_an_answer_is_a_502(pair):
    both(pair, "/reset", lambda connection, request: connection.reset())
    response = pair.ask(target="/reset")
    assert response.status == 502 and response.upswap


def test_connections_closed_while_idle_are_never_lent(pair):
    for _ in range(20):
        for _ in range(2):
            assert pair.ask().status == 200
        for backend in pair.backends:
            for connection in list(backend.connections):
                if not connection.ended.is_set():
                    connection.socket.shutdown(socket.SHUT_RDWR)
                    connection.ended.wait(5)
        assert pair.ask("POST", body=b"must not be lost").status == 200


def test_an_instance_killed_in_the_middle_of_an_answer_cuts_that_answer_only(pair):
    def half(connection, request):
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        connection.reset()

    both(pair, "/half", half)
    with pair.client() as client:
        client.request(target="/half")
        head = client.until(b"\r\n\r\n")
        assert b"Content-Length: 100" in head
        assert len(client.to_end_or_reset()) < 100
    assert pair.ask().status == 200


@holds_threads
def test_an_answer_that_a_reset_cuts_in_the_middle_of_an_upload_never_looks_complete(pair):
    """The upload finds the reset first; what is left for the answer must not pass for its end."""
    stopped, left = threading.Event(), threading.Event()

    def half_and_reset(connection, request):
        connection.send(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        stopped.wait(PATIENCE)
        connection.reset()
        left.set()

    both(pair, "/half", half_and_reset)
    worker = only_worker(pair)
    with pair.client() as client:
        client.request("POST", "/half", ["Transfer-Encoding: chunked"])
        assert client.until(b"half\r\n").startswith(b"HTTP/1.1 200 OK\r\n")
        with processes.StoppedThread(worker):
            client.send(b"4\r\nmore\r\n")
            stopped.set()
            assert left.wait(PATIENCE)
        client.assert_closed()


def test_an_own_answer_is_a_page_in_the_format_that_was_asked_for(start_own_front):
    front = start_own_front(Backend("gone"))
    front.backend.close()
    page = front.ask(fields=["Accept: text/html"])
    assert page.get("Content-Type").startswith("text/html") and b"502" in page.body
    page = front.ask(fields=["Accept: application/json"])
    assert page.get("Content-Type").startswith("application/json")
    assert json.loads(page.body)["status"] == 502
    with front.client() as client:
        page = client.ask("HEAD")
        assert page.status == 502 and page.body == b"" and int(page.get("Content-Length")) > 0
        assert client.ask().status == 502


def test_a_502_leaves_the_clients_connection_usable(pair):
    both(pair, "/mute", lambda connection, request: connection.close())
    with pair.client() as client:
        assert client.ask(target="/mute").status == 502
        assert client.ask().status == 200


def test_least_requests_prefers_the_idle_instance(start_own_front):
    front = start_own_front(
        Backend("one"), Backend("two"), workers=1, service={"balance": "least_requests"}
    )
    held = Held()
    both(front, "/held", held)
    with front.client() as busy:
        busy.request(target="/held")
        held.wait()
        busy_name = next(b.name for b in front.backends if b.requests_of("/held"))
        assert busy_name not in answers(front, 10)
        held.release()
        busy.response()


def test_random_uses_every_instance(start_own_front):
    front = start_own_front(Backend("one"), Backend("two"), workers=1, service={"balance": "random"})
    assert set(answers(front, 60)) == {"one", "two"}


def test_the_client_gets_what_an_instance_sent_before_it_had_read_the_request(pair):
    both(pair, "/deny", canned(answer("denied", "403 Forbidden", ["Connection: close"]), close=True))
    assert pair.ask("GET", "/deny").status == 403


def test_in_flight_counts_follow_the_requests(pair):
    held = Held()
    both(pair, "/held", held)
    clients = [pair.client() for _ in range(4)]
    for client in clients:
        client.request(target="/held")
        held.wait()
    service = pair.admin.service()
    pool = next(p for p in service["pools"] if p["deployment"] == service["live"])
    assert pool["in_flight"] == 4 and sum(i["in_flight"] for i in pool["instances"]) == 4
    held.release()
    for client in clients:
        assert client.response().status == 200
        client.close()
    wait_until(lambda: pair.admin.pool(service["live"])["in_flight"] == 0, what="in flight to be 0")
