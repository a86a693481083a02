"""Connections: kept, closed, pipelined, HTTP/1.0, upgraded, and the forms of targets."""

import asyncio
import contextlib
import select
import socket

import pytest
import websockets

from harness import http1, tcp
from harness.backend import Backend, Held, canned
from harness.client import RawClient
from harness.waiting import wait_until
from harness.wire import Ended


@pytest.fixture(scope="module")
def front(start_front):
    return start_front(Backend("one"), listeners=[{"address": "127.0.0.1:0"}, {"address": "[::1]:0"}])


def test_a_1_1_connection_is_kept_and_a_thousand_requests_share_one_upstream(front):
    before = len(front.backend.asked())
    with front.client() as client:
        for _ in range(1000):
            assert client.ask().status == 200
    assert len(front.backend.asked()) - before <= 1


def test_connection_close_is_honoured_and_said(front):
    with front.client() as client:
        response = client.ask(fields=["Connection: close"])
        assert response.status == 200 and not response.keeps_alive
        client.assert_closed()


def packets_of_an_answer(front, request, end):
    """What the client's kernel has had from upswap but for what accepted the connection, until the answer ends so (b"":
    as the connection does): the fewest of some tries, since a request that a slow machine does not answer soon is acknowledged."""
    counts = []
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", front.port)) as sock:
            sock.sendall(request)
            answer = b""
            while not (end and answer.endswith(end)) and (got := sock.recv(65536)):
                answer += got
            assert answer.startswith(b"HTTP/1.1 ")
            counts.append(tcp.info(sock, tcp.SEGS_IN) - 1)
    return min(counts)


def test_an_answer_is_one_packet_with_the_end_of_its_connection(front):
    request = b"GET / HTTP/1.1\r\nHost: a\r\n%s\r\n"
    assert packets_of_an_answer(front, request % b"", end=b"\r\n\r\none") == 1
    assert packets_of_an_answer(front, request % b"Connection: close\r\n", end=b"") == 1
    assert packets_of_an_answer(front, request % b"Host: b\r\n", end=b"") == 1  # a refusal


@pytest.mark.parametrize("length", [20, -4, -1], ids=["half a head", "a head without its body", "a body without its end"])
def test_who_waits_with_the_rest_of_a_request_is_not_kept_waiting(front, length):
    request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"
    assert tcp.seconds_until_acknowledged(front.port, request[:length]) < 0.02


def test_an_http_1_0_client_gets_a_close_unless_it_asks_to_stay(front):
    with front.client() as client:
        response = client.ask(version="1.0")
        assert response.status == 200 and not response.keeps_alive
        client.assert_closed()
    with front.client() as client:
        for _ in range(3):
            response = client.ask(version="1.0", fields=["Connection: keep-alive"])
            assert response.status == 200 and "keep-alive" in response.options("Connection")


def test_an_http_1_0_client_may_leave_host_out(front):
    assert front.ask(version="1.0", host=None).text == "one"


def test_an_http_1_0_client_never_gets_chunks(front):
    front.backend.on("/chunks", http1.answer("in chunks", framing="chunked"))
    with front.client() as client:
        response = client.ask(target="/chunks", version="1.0", fields=["Connection: keep-alive"])
        assert response.framing() is None and response.text == "in chunks"


def test_an_http_1_0_instance_is_understood(front):
    front.backend.on("/old", canned(b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold", close=True))
    with front.client() as client:
        for _ in range(2):
            response = client.ask(target="/old")
            assert response.text == "old" and response.start_line == b"HTTP/1.1 200 OK"
    front.backend.on("/older", canned(b"HTTP/1.0 200 OK\r\n\r\nolder", close=True))
    assert front.ask(target="/older").text == "older"


def test_an_http_1_0_instance_may_keep_its_connection(front):
    front.backend.on("/stay", b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nold")
    before = len(front.backend.asked())
    with front.client() as client:
        for _ in range(5):
            assert client.ask(target="/stay").text == "old"
    assert len(front.backend.asked()) - before <= 1


def test_an_instance_that_says_close_is_not_asked_again_on_that_connection(front):
    front.backend.on("/bye", http1.answer("bye", fields=["Connection: close"]))
    front.backend.forget()
    with front.client() as client:
        assert client.ask(target="/bye").keeps_alive
        assert client.ask().text == "one"
    first, _ = front.backend.next_request()
    second, _ = front.backend.next_request()
    assert first is not second


def test_pipelined_requests_are_answered_in_their_order(front):
    def slow_first(connection, request):
        connection.answer(request.target)

    front.backend.on("/order", slow_first)
    with front.client() as client:
        data = b"".join(b"GET /order?%d HTTP/1.1\r\nHost: app.test\r\n\r\n" % n for n in range(200))
        client.send(data)
        assert [client.response().text for _ in range(200)] == [f"/order?{n}" for n in range(200)]


def test_pipelined_requests_with_bodies_keep_their_own(front):
    def echo(connection, request):
        request.read_body(connection)
        connection.answer(request.body)

    front.backend.on("/echo", echo)
    with front.client() as client:
        data = b""
        for n in range(30):
            body = b"body %d" % n
            data += b"POST /echo HTTP/1.1\r\nHost: app.test\r\n"
            if n % 2:
                data += b"Content-Length: %d\r\n\r\n" % len(body) + body
            else:
                data += b"Transfer-Encoding: chunked\r\n\r\n" + http1.chunked(body)
        client.send(data)
        assert [client.response().text for _ in range(30)] == [f"body {n}" for n in range(30)]


def test_pipelined_requests_of_several_methods_get_answers_of_the_right_shape(front):
    front.backend.on("/head", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
    with front.client() as client:
        client.send(b"HEAD /head HTTP/1.1\r\nHost: a\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.response("HEAD").get("Content-Length") == "5"
        assert client.response().text == "one"


def test_requests_behind_a_close_are_not_served(front):
    front.backend.forget()
    with front.client() as client:
        client.send(b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.response().status == 200
        client.assert_closed()
    assert [request.target for request in front.backend.requests] == ["/a"]


def test_pipelined_requests_before_a_half_close_are_all_answered(front):
    with front.client() as client:
        client.send(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n" * 10)
        client.half_close()
        for _ in range(10):
            assert client.response().status == 200
        client.assert_closed()


def test_a_response_ended_by_close_does_not_end_the_clients_connection(front):
    front.backend.on("/close", canned(b"HTTP/1.1 200 OK\r\n\r\nrest", close=True))
    with front.client() as client:
        for _ in range(3):
            assert client.ask(target="/close").text == "rest"


def test_options_asterisk_is_passed_on(front):
    front.backend.forget()
    assert front.ask("OPTIONS", "*").status == 200
    assert front.backend.next_request()[1].target == "*"


def test_an_absolute_target_reaches_the_instance_in_origin_form_with_its_authority_as_host(front):
    front.backend.forget()
    assert front.ask(target="http://other.test:81/path?q=1", host="app.test").status == 200
    request = front.backend.next_request()[1]
    assert request.target == "/path?q=1" and request.get("Host") == "other.test:81"


def test_an_absolute_target_without_path_means_the_root(front):
    front.backend.forget()
    assert front.ask(target="http://other.test", host="other.test").status == 200
    assert front.backend.next_request()[1].target == "/"


@pytest.mark.parametrize("target", ["/%2e%2e/x", "/a//b", "/a/../b", "/%41?x=%zz", "/;p=1?a=b?c"])
def test_a_target_reaches_the_instance_unchanged(front, target):
    front.backend.forget()
    assert front.ask(target=target).status == 200
    assert front.backend.next_request()[1].target == target


def test_ipv6_clients_are_served(front):
    with RawClient(front.daemon.ports()[1], host="::1") as client:
        assert client.ask().text == "one"


def echo_upgrade(connection, request):
    """Accepts an upgrade and echoes in upper case until the end."""
    assert request.options("Connection") == ["upgrade"], request.raw
    protocol = request.get("Upgrade")
    connection.send(
        f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: {protocol}\r\nConnection: Upgrade\r\n\r\n".encode()
    )
    while connection.buffer or connection.fill():
        connection.send(connection.take(len(connection.buffer)).upper())
    connection.close()


UPGRADE = ["Connection: Upgrade", "Upgrade: shout"]


def test_an_upgrade_becomes_a_tunnel_in_both_directions(front):
    front.backend.on("/upgrade", echo_upgrade)
    with front.client() as client:
        response = client.ask(target="/upgrade", fields=UPGRADE)
        assert response.status == 101
        assert response.get("Upgrade") == "shout" and "upgrade" in response.options("Connection")
        for word in (b"hello", b"\x00\xff\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"):
            client.send(word)
            assert client.exactly(len(word)) == word.upper()
        client.half_close()
        client.assert_closed()


def test_bytes_sent_right_behind_an_upgrade_request_reach_the_tunnel(front):
    front.backend.on("/upgrade", echo_upgrade)
    with front.client() as client:
        client.send(b"GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: shout\r\n\r\nearly")
        assert client.response().status == 101
        assert client.exactly(5) == b"EARLY"


def test_an_instance_may_speak_first_in_a_tunnel(front):
    def speak_first(connection, request):
        connection.send(b"HTTP/1.1 101 OK\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nwelcome")
        connection.close()

    front.backend.on("/first", speak_first)
    with front.client() as client:
        assert client.ask(target="/first", fields=UPGRADE).status == 101
        assert client.to_end() == b"welcome"


def test_a_tunnel_moves_much_data(front):
    front.backend.on("/upgrade", echo_upgrade)
    block = bytes(range(65, 91)) * 10000
    with front.client() as client:
        assert client.ask(target="/upgrade", fields=UPGRADE).status == 101
        got = sent = 0
        while got < 20 * len(block):
            readable, writable, _ = select.select(
                [client.socket], [client.socket] if sent < 20 * len(block) else [], [], 10
            )
            assert readable or writable
            if writable:
                offset = sent % len(block)
                sent += client.socket.send(block[offset : offset + 65536])
            if readable:
                client.fill()
                got += len(client.take(len(client.buffer)))
        assert got == sent


def test_a_refused_upgrade_is_an_ordinary_answer_and_the_connection_stays(front):
    front.backend.on("/no", http1.answer("plain"))
    with front.client() as client:
        assert client.ask(target="/no", fields=UPGRADE).text == "plain"
        assert client.ask().text == "one"


def test_a_tunnel_ends_when_the_instance_resets_it(front):
    def vanish(connection, request):
        connection.send(b"HTTP/1.1 101 OK\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
        connection.exactly(3)
        connection.reset()

    front.backend.on("/vanish", vanish)
    with front.client() as client:
        assert client.ask(target="/vanish", fields=UPGRADE).status == 101
        client.send(b"bye")
        client.assert_closed()


def test_websocket_clients_work_through_the_tunnel(front):
    async def talk():
        async def echo(socket):
            async for message in socket:
                await socket.send(message)

        async with websockets.serve(echo, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]

            def relay(connection, request):
                with socket.create_connection(("127.0.0.1", port)) as app:
                    app.sendall(request.raw)
                    pump(connection.socket, app)
                connection.close()

            front.backend.on("/ws", relay)
            async with websockets.connect(f"ws://127.0.0.1:{front.port}/ws") as client:
                for message in ("hello", b"\x00" * 100000, "x" * 70000):
                    await client.send(message)
                    assert await client.recv() == message
                await client.ping()

    asyncio.run(asyncio.wait_for(talk(), 30))


def pump(one, other):
    """Copies between two sockets until either ends."""
    while True:
        for side in select.select([one, other], [], [], 30)[0]:
            data = side.recv(65536)
            if not data:
                return
            (other if side is one else one).sendall(data)


def test_idle_connections_to_an_instance_are_used_again_last_in_first_out(start_own_front):
    front = start_own_front(Backend("lifo"), workers=1)
    held = [Held() for _ in range(3)]
    clients = [front.client() for _ in held]
    for number, (client, script) in enumerate(zip(clients, held)):
        front.backend.on(f"/{number}", script)
        client.request(target=f"/{number}")
        script.wait()
    for client, script in zip(clients, held):
        script.release()
        assert client.response().status == 200
    connections = front.backend.asked()
    assert len(connections) == 3
    front.backend.forget()
    used = []
    for client in clients:
        assert client.ask().status == 200
        used.append(front.backend.next_request()[0])
        client.close()
    assert used == [connections[2]] * 3


def test_connections_over_the_limit_of_all_wait_for_a_place(start_own_front):
    front = start_own_front(Backend("full"), workers=1, limits={"connections": 3})
    kept = [front.client() for _ in range(3)]
    for client in kept:
        assert client.ask().status == 200
    with front.client() as waiting:
        waiting.request()
        assert waiting.is_open(0.3)
        kept.pop().close()
        assert waiting.response().status == 200
    for client in kept:
        assert client.ask().status == 200
        client.close()


def test_connections_of_one_address_over_the_limit_are_closed_at_once(start_own_front):
    front = start_own_front(Backend("few"), workers=1, limits={"connections_per_address": 3})
    kept = [front.client() for _ in range(3)]
    for client in kept:
        assert client.ask().status == 200
    with front.client() as extra:
        extra.assert_closed()
    kept.pop().close()

    def served():
        with front.client() as client:
            try:
                return client.ask().status == 200
            except (Ended, OSError):
                return False

    wait_until(served, what="a place for another connection")
    for client in kept:
        assert client.ask().status == 200
        client.close()


def test_a_crowd_over_the_limit_of_all_is_served_one_after_another(start_own_front):
    """Whichever worker has the place that becomes free, and whichever the next client waits at."""
    front = start_own_front(Backend("full"), workers=2, limits={"connections": 5})
    waiting = {client.socket: client for client in (front.client() for _ in range(60))}
    for client in waiting.values():
        client.request()
    wait_until(lambda: len(front.backend.requests) >= 5, what="the first ones")
    assert len(front.backend.requests) <= 6  # both workers may take the last place at once
    while waiting:
        served = select.select(list(waiting), [], [], 20)[0]
        assert served, f"{len(waiting)} clients are not served"
        for client in map(waiting.pop, served):
            assert client.response().text == "full"
            client.close()


def test_with_few_descriptors_clients_wait_and_nobody_is_overloaded(make_daemon, make_backend):
    held = Held()
    backend = make_backend("few", held)
    daemon = make_daemon([{"name": "web", "instances": [backend.address]}], workers=2)
    daemon.prefix = ["prlimit", "--nofile=64"]
    port = daemon.start().port
    clients = {client.socket: client for client in (RawClient(port) for _ in range(60))}
    for client in clients.values():
        client.request()
    for _ in range(8):
        held.wait()
    held.release()
    while clients:
        served = select.select(list(clients), [], [], 20)[0]
        assert served, f"{len(clients)} clients are not served"
        for client in map(clients.pop, served):
            assert client.response().status == 200
            client.close()


def test_an_ipv6_address_counts_by_its_first_64_bits(start_own_front):
    """As many addresses as one client likes are its own; those of another network are another's."""
    front = start_own_front(
        Backend("few"),
        listeners=[{"address": "127.0.0.1:0", "proxy_protocol": ["127.0.0.1"]}],
        limits={"connections_per_address": 2},
    )

    def arrive(address):
        client = stack.enter_context(front.client())
        request = "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n"
        client.send(f"PROXY TCP6 {address} 2001:db8:f::1 1000 80\r\n{request}".encode())
        return client

    with contextlib.ExitStack() as stack:
        for address in ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", "2001:db8:0:2::1"):
            assert arrive(address).response().status == 200
        arrive("2001:db8:0:1:8000:0:0:3").assert_closed()
        assert arrive("2001:db8:0:2::3").response().status == 200
