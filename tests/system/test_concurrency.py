"""No more requests at a time to an instance than it may have, and a line for the others."""

import threading

import pytest

from harness.backend import Backend, Held
from harness.client import RawClient
from harness.waiting import stays, wait_until
from harness.wire import Ended

OFF = {"interval": "0s"}


class Room:
    """A backend whose requests are held, and that knows how many it has at a time."""

    def __init__(self, name):
        self.lock = threading.Lock()
        self.inside = self.most = 0
        self.let = threading.Semaphore(0)
        self.backend = Backend(name, script=self._script)

    def _script(self, connection, request):
        request.read_body(connection)
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        self.let.acquire(timeout=60)
        with self.lock:
            self.inside -= 1
        connection.answer(self.backend.name)

    def release(self, count=1):
        for _ in range(count):
            self.let.release()


@pytest.fixture
def start(start_own_front):
    """start(rooms, workers=1, **concurrency): a front whose instances hold their requests until released."""
    made = []

    def begin(count=1, workers=1, service=None, **concurrency):
        rooms = [Room(name) for name in "abcd"[:count]]
        made.extend(rooms)
        settings = {"health": OFF, "concurrency": {"per_instance": 1, **concurrency}, **(service or {})}
        front = start_own_front(*[room.backend for room in rooms], service=settings, workers=workers)
        front.rooms = rooms
        front.room = rooms[0]
        return front

    yield begin
    for room in made:
        room.release(1000)


def queued(front):
    found = front.admin.metrics()
    return sum(value for (name, _), value in found.items() if name == "upswap_queued")


def connections(front):
    return sum(value for (name, _), value in front.admin.metrics().items() if name == "upswap_connections")


def inside(front):
    return sum(room.inside for room in front.rooms)


def ask_many(front, count):
    """So many clients that have asked."""
    clients = [front.client() for _ in range(count)]
    for client in clients:
        client.request()
    return clients


def test_an_instance_has_no_more_requests_than_it_may(start):
    front = start(per_instance=2)
    clients = ask_many(front, 5)
    wait_until(lambda: inside(front) == 2 and queued(front) == 3, what="two inside and three in line")
    assert stays(lambda: front.room.inside == 2, 0.2) is None
    front.room.release(5)
    assert [client.response().status for client in clients] == [200] * 5
    assert front.room.most == 2


def test_the_limit_holds_over_all_workers(start):
    front = start(count=2, workers=4, per_instance=3)
    clients = ask_many(front, 60)
    wait_until(lambda: inside(front) == 6, what="six inside")
    for room in front.rooms:
        room.release(1000)
    assert [client.response().status for client in clients] == [200] * 60
    assert [room.most for room in front.rooms] == [3, 3]


def test_who_comes_first_is_served_first(start):
    front = start()
    clients = []
    for number in range(5):
        clients.append(front.client())
        clients[-1].request(target=f"/{number}")
        if number == 0:
            wait_until(lambda: inside(front) == 1, what="one inside")
        else:
            wait_until(lambda number=number: queued(front) == number, what="one more in line")
    front.room.release(5)
    for client in clients:
        assert client.response().status == 200
    assert [request.path for request in front.room.backend.requests] == [f"/{number}" for number in range(5)]


def test_beyond_the_line_is_503_with_retry_after(start):
    front = start(queue=2)
    clients = ask_many(front, 3)
    wait_until(lambda: queued(front) == 2, what="a full line")
    answer = front.ask()
    assert (answer.status, answer.upswap) == (503, "queue-full")
    assert int(answer.get("Retry-After")) > 0
    front.room.release(3)
    assert [client.response().status for client in clients] == [200] * 3


def test_without_a_line_it_is_503_at_once(start):
    front = start(queue=0)
    (client,) = ask_many(front, 1)
    wait_until(lambda: inside(front) == 1, what="one inside")
    assert front.ask().upswap == "queue-full"
    front.room.release()
    assert client.response().status == 200


def test_who_waits_for_too_long_gets_503_and_may_ask_again(start):
    front = start(queue_timeout="100ms")
    (first,) = ask_many(front, 1)
    wait_until(lambda: inside(front) == 1, what="one inside")
    with front.client() as second:
        answer = second.ask()
        assert (answer.status, answer.upswap) == (503, "queue-timeout")
        assert int(answer.get("Retry-After")) > 0
        front.room.release(2)
        assert first.response().status == 200
        assert second.ask().status == 200


@pytest.mark.parametrize("leave", ["close", "reset"])
@pytest.mark.parametrize("body", [0, 5, 60000])
def test_a_client_that_leaves_is_taken_out_of_the_line(start, leave, body):
    front = start()
    first, second, third = ask_many(front, 1) + [front.client()] + ask_many(front, 1)
    second.request("POST" if body else "GET", fields=[f"Content-Length: {body}"] if body else [])
    if body:
        second.send(b"x" * (body - 1))
    wait_until(lambda: queued(front) == 2, what="two in line")
    getattr(second, leave)()
    wait_until(lambda: queued(front) == 1, what="one in line")
    front.room.release(3)
    assert [client.response().status for client in (first, third)] == [200, 200]
    assert len(front.room.backend.requests) == 2


def test_a_client_whose_end_comes_with_its_request_does_not_join_the_line(start):
    front = start(queue_timeout="60s")
    with front.client() as second:
        front.room.release()
        assert second.ask().status == 200
        (first,) = ask_many(front, 1)
        wait_until(lambda: inside(front) == 1, what="one inside")
        second.request()
        second.half_close()
        wait_until(lambda: queued(front) == 0 and connections(front) == 1, what="its end")
    front.room.release(2)
    assert first.response().status == 200
    assert len(front.room.backend.requests) == 2


def test_a_body_waits_with_its_request(start):
    front = start()
    (first,) = ask_many(front, 1)
    wait_until(lambda: inside(front) == 1, what="one inside")
    body = b"x" * 300000
    with front.client() as second:
        sender = threading.Thread(target=second.request, args=("POST", "/post", (), body))
        sender.start()
        wait_until(lambda: queued(front) == 1, what="one in line")
        front.room.release(2)
        assert first.response().status == 200 and second.response().status == 200
        sender.join()
    assert front.room.backend.requests[1].body == body


def test_a_place_that_another_worker_gives_back_is_taken(start):
    front = start(workers=4, queue_timeout="60s")
    clients = ask_many(front, 40)
    wait_until(lambda: inside(front) == 1 and queued(front) == 39, what="one inside, the rest in line")
    front.room.release(40)
    assert [client.response().status for client in clients] == [200] * 40
    assert front.room.most == 1


def test_a_websocket_takes_a_place_while_it_lasts(start_own_front):
    def switch(connection, request):
        connection.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        try:
            connection.send(connection.until(b"\n"))
        except Ended:
            pass
        connection.close()

    backend = Backend("a")
    backend.on("/chat", switch)
    service = {"health": OFF, "concurrency": {"per_instance": 1, "queue": 0}}
    front = start_own_front(backend, service=service, workers=1)
    with front.client() as client:
        client.request(target="/chat", fields=["Connection: upgrade", "Upgrade: echo"])
        assert b" 101 " in client.until(b"\r\n\r\n")
        assert front.ask().upswap == "queue-full"
        client.send(b"bye\n")
        client.to_end_or_reset()
    wait_until(lambda: front.ask().status == 200, what="its place to be free")


def test_a_reload_lifts_the_limit_for_those_who_wait_too(start):
    front = start()
    waiting = ask_many(front, 3)
    wait_until(lambda: inside(front) == 1 and queued(front) == 2, what="two in line")
    front.daemon.config["services"][0]["concurrency"] = {"per_instance": 0}
    front.daemon.write_config()
    assert front.admin.post("/v1/reload").status == 200
    new = ask_many(front, 3)
    wait_until(lambda: inside(front) == 6, what="all requests to go through")
    front.room.release(6)
    assert {client.response().status for client in waiting + new} == {200}


def command(front, verb, room):
    answer = front.admin.post(f"/v1/services/web/{verb}", {"instance": room.backend.address})
    assert answer.status == 200, answer.text


def test_who_waits_goes_to_an_instance_that_comes_back(start):
    front = start(count=2)
    back, busy = front.rooms
    command(front, "drain", back)
    clients = ask_many(front, 3)
    wait_until(lambda: busy.inside == 1 and queued(front) == 2, what="two in line")
    command(front, "enable", back)
    wait_until(lambda: back.inside == 1 and queued(front) == 1, what="the first in line to be let in")
    for room in front.rooms:  # whichever the last one goes to
        room.release(3)
    assert [client.response().status for client in clients] == [200] * 3


def test_who_waits_does_not_go_to_an_instance_that_was_taken_out(start):
    front = start(count=2)
    clients = ask_many(front, 2)
    wait_until(lambda: inside(front) == 2, what="both to be full")
    waiting = ask_many(front, 1)[0]
    wait_until(lambda: queued(front) == 1, what="one in line")
    out, stays_in = front.rooms
    command(front, "drain", out)
    out.release(2)
    wait_until(lambda: out.inside == 0, what="the instance to be done")
    stays(lambda: out.inside == 0 and queued(front) == 1, 0.3, "the instance that is out,")
    stays_in.release(2)
    assert [client.response().status for client in [*clients, waiting]] == [200] * 3


def reload(front, **changes):
    front.daemon.config["services"][0].update(changes)
    front.daemon.write_config()
    assert front.admin.post("/v1/reload").status == 200


def test_who_waits_keeps_the_rules_of_its_own_world(start):
    front = start(service={"headers": {"request": {"remove": ["X-Secret"]}}, "pin": "cookie"})
    first = ask_many(front, 1)[0]
    wait_until(lambda: inside(front) == 1, what="one inside")
    head = b"POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\nTrailer: X-Told\r\n\r\n"
    late = front.client()
    late.send(head + b"3\r\nabc\r\n")
    wait_until(lambda: queued(front) == 1, what="one in line")
    reload(front, headers={"request": {"remove": [f"X-Other-{n}" for n in range(30)]}}, pin="off")
    front.room.release(2)
    assert first.response().status == 200
    late.send(b"0\r\nX-Told: yes\r\nX-Secret: no\r\n\r\n")
    answer = late.response()
    assert answer.status == 200 and all(line.startswith("upswap-pin-") for line in answer.all("Set-Cookie"))
    assert [name for name, _ in front.room.backend.requests[-1].trailers] == ["X-Told"]


def test_who_waits_is_served_though_the_canary_that_it_was_drawn_for_is_given_up(make_stand, make_backend):
    stand = make_stand(service={"health": OFF, "concurrency": {"per_instance": 1}}, workers=1)
    stand.suite.shell("01_pass")
    held = stand.live[0].on("/held", Held())
    stand.start()
    deployment = stand.admin.stage([make_backend("fresh").address], canary=[0.01], step="1h")
    stand.events.wait("canary.step", deployment=deployment)
    proxy = stand.daemon.pids["proxy"]
    clients = [RawClient(stand.port) for _ in range(3)]
    for client in clients:
        client.request(target="/held")
    wait_until(lambda: queued(stand) == 2, what="two in line")
    assert stand.admin.command("abort").status == 200
    held.release()
    assert [client.response().text for client in clients] == ["held\n"] * 3
    assert stand.daemon.pids["proxy"] == proxy


def test_who_waits_belongs_to_the_pool_that_was_live(make_stand, make_backend):
    """And its swap goes on: the line meets the drain's deadline."""
    service = {
        "health": OFF,
        "concurrency": {"per_instance": 1, "queue_timeout": "60s"},
        "drain": {"requests": "500ms"},
    }
    stand = make_stand(live=1, service=service, workers=1)
    stand.suite.shell("01_pass")
    held = Held()
    stand.live[0].default = held
    stand.start()
    front = stand.daemon
    clients = []

    def client():
        clients.append(RawClient(front.port))
        clients[-1].request()
        return clients[-1]

    first = client()
    held.wait()
    second = client()
    wait_until(
        lambda: sum(v for (n, _), v in stand.admin.metrics().items() if n == "upswap_queued") == 1, what="one in line"
    )
    new = make_backend("new")
    deployment = stand.admin.stage([new.address])
    stand.events.wait("swap.published", deployment=deployment)
    assert stand.ask().body == b"new"
    answer = second.response()
    assert (answer.status, answer.upswap) == (503, "drain-deadline")
    assert first.response().upswap == "drain-deadline"
    assert stand.events.wait_end(deployment)["type"] == "deployment.done"
    held.release()
    assert not new.requests_of("/missing") and len(new.requests) == 1
