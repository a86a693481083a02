"""WebSockets across a swap: each ends between two frames, with 1012 to the client and 1001 to the app."""

import asyncio
import collections
import json
import os
import resource
import signal
import threading
import time

import pytest
import websockets

from harness import frames
from harness.client import RawClient
from harness.waiting import wait_until

GRACE = 3  # seconds that a proper end may take beyond its deadline


class App:
    """An instance that is a real WebSocket server: says its name, then echoes. `codes` are what it was closed with."""

    def __init__(self, name):
        self.name = name
        self.codes = collections.Counter()
        self.loop = asyncio.new_event_loop()
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        assert self.ready.wait(10)

    async def _talk(self, socket, _path=None):
        await socket.send(self.name)
        try:
            async for message in socket:
                await socket.send(message)
        except websockets.ConnectionClosedError:
            pass
        self.codes[socket.close_code] += 1

    async def _serve(self):
        self.stopping = self.loop.create_future()
        async with websockets.serve(
            self._talk, "127.0.0.1", 0, backlog=1024, ping_interval=None, close_timeout=20
        ) as server:
            self.port = server.sockets[0].getsockname()[1]
            self.address = f"127.0.0.1:{self.port}"
            self.ready.set()
            await self.stopping

    def _run(self):
        self.loop.run_until_complete(self._serve())
        self.loop.close()

    def stop(self):
        self.loop.call_soon_threadsafe(self.stopping.set_result, None)
        self.thread.join(30)


@pytest.fixture
def make_app():
    made = []

    def make(name):
        made.append(App(name))
        return made[-1]

    yield make
    for app in made:
        app.stop()


@pytest.fixture(autouse=True)
def many_descriptors():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(16384, before[1]), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def drain(websockets_="1s", spread="0s", **more):
    return {"requests": "200ms", "streams": "200ms", "websockets": websockets_, "spread": spread, **more}


def make_daemon_with(make_daemon, instances, **settings):
    """A daemon with the service web of these instances, without uptests, and a hook that tells how it drained."""
    daemon = make_daemon([], **settings)
    hook = daemon.path("hook")
    with open(hook, "w", encoding="utf-8") as file:
        file.write(f'#!/bin/sh\necho "$1:$2 $TEARDOWN_DRAINED $(date +%s.%N)" >> {daemon.path("drained")}\n')
    os.chmod(hook, 0o755)
    service = {
        "name": "web",
        "instances": instances,
        "uptests": {"required": False},
        "drain": drain(),
        "teardown": {"command": [hook]},
    }
    daemon.config["services"] = [service]
    return daemon


def torn_down(daemon):
    """The teardowns: [(instance, "clean" or "forced", time of day)]."""
    wait_until(lambda: os.path.exists(daemon.path("drained")), what="a teardown")
    with open(daemon.path("drained"), encoding="ascii") as file:
        return [(instance, how, float(at)) for instance, how, at in map(str.split, file)]


def drained(daemon):
    return {instance: how for instance, how, _ in torn_down(daemon)}


def swap(daemon, instance):
    return daemon.admin.stage([instance.address], allow_untested=True)


class Front:
    """A daemon with one raw instance, of which /ws agrees to a WebSocket."""

    def __init__(self, make_daemon, make_backend, beside=(), **times):
        self.backend = make_backend("old")
        self.upgraded = frames.Upgraded()
        for instance in [self.backend, *beside]:
            instance.on("/ws", self.upgraded)
        self.fresh = make_backend("fresh")
        self.daemon = make_daemon_with(make_daemon, [each.address for each in [self.backend, *beside]])
        self.log = self.daemon.path("access.log")
        self.daemon.config["access_log"] = {"path": self.log, "format": "json"}
        self.daemon.config["services"][0]["drain"] = drain(**times)
        self.daemon.start()

    def open(self):
        """A client and the instance's side of its WebSocket."""
        client = RawClient(self.daemon.port)
        assert client.ask(target="/ws", fields=frames.UPGRADE).status == 101
        return client, self.upgraded.wait()

    def swap(self):
        return swap(self.daemon, self.fresh)

    def reason(self):
        """The access log's word for the WebSocket."""

        def look():
            with open(self.log, encoding="ascii") as file:
                entries = [json.loads(line) for line in file if line.endswith("\n")]
            return [entry["reason"] for entry in entries if entry["target"] == "/ws"]

        return wait_until(lambda: os.path.exists(self.log) and look(), what="the line of the access log")[0]

    def drained(self):
        return drained(self.daemon)[self.backend.address]


@pytest.fixture
def front(make_daemon, make_backend):
    return Front(make_daemon, make_backend, websockets_="100ms")


def assert_both_are_told(client, instance):
    assert frames.read_close(client) == (1012, "service restart")
    assert frames.read_close(instance, masked=True) == (1001, "going away")


def finish(client, instance):
    """Both answer; the client's connection ends without a reset."""
    client.send(frames.close_frame(1012, masked=True))
    instance.send(frames.close_frame(1001))
    assert client.to_end() == b""
    assert instance.to_end_or_reset() == b""
    client.close()
    instance.close()


def test_a_thousand_websockets_across_a_swap_all_get_1012_within_their_spread(make_daemon, make_app):
    count, wait, spread = 1000, 8, 6
    old, fresh, other = make_app("old"), make_app("fresh"), make_app("other")
    daemon = make_daemon_with(make_daemon, [old.address])
    daemon.config["services"][0]["drain"] = drain(f"{wait}s", f"{spread}s")
    daemon.config["services"].append({"name": "other", "hosts": ["other.test"], "instances": [other.address]})
    daemon.start()
    port, codes, times, swapped = daemon.port, collections.Counter(), [], []

    def connect(name="app.test"):
        options = {"open_timeout": 60, "ping_interval": None, "close_timeout": 20}
        return websockets.connect(f"ws://{name}:{port}/", host="127.0.0.1", **options)

    async def live(socket):
        try:
            while True:
                await socket.recv()
        except websockets.ConnectionClosed as closed:
            codes[closed.rcvd.code if closed.rcvd else 1006] += 1
            times.append(time.monotonic() - swapped[0])

    async def open_all(count, name):
        sockets = []
        for _ in range(0, count, 50):
            sockets += await asyncio.gather(*(connect(name) for _ in range(50)))
        return sockets

    async def run():
        sockets = await open_all(count, "app.test")
        others = await open_all(50, "other.test")
        lives = [asyncio.ensure_future(live(socket)) for socket in sockets]
        swapped.append(time.monotonic())
        await asyncio.get_running_loop().run_in_executor(None, swap, daemon, fresh)
        await asyncio.wait_for(asyncio.gather(*lives), 40)
        for socket in others:
            assert await socket.recv() == "other"
            await socket.send("still here")
            assert await socket.recv() == "still here"
        async with connect() as socket:
            assert await socket.recv() == "fresh"
        await asyncio.gather(*(socket.close() for socket in others))

    asyncio.run(asyncio.wait_for(run(), 55))
    assert codes == {1012: count}
    assert old.codes == {1001: count}
    times.sort()
    assert times[0] >= wait - spread - 0.1
    quarters = collections.Counter(int((at - times[0]) * 4 / (times[-1] - times[0] + 0.001)) for at in times)
    assert min(quarters[number] for number in range(4)) > count / 12, quarters
    wait_until(lambda: drained(daemon) == {old.address: "clean"}, what="the old instance to go")


def test_clients_with_compression_are_told_too(make_daemon, make_app):
    old, fresh = make_app("old"), make_app("fresh")
    daemon = make_daemon_with(make_daemon, [old.address])
    daemon.config["services"][0]["drain"] = drain("500ms")
    daemon.start()

    async def run():
        async with websockets.connect(f"ws://127.0.0.1:{daemon.port}/", compression="deflate") as socket:
            assert [extension.name for extension in socket.extensions] == ["permessage-deflate"]
            assert await socket.recv() == "old"
            await socket.send("x" * 100000)
            assert await socket.recv() == "x" * 100000
            await asyncio.get_running_loop().run_in_executor(None, swap, daemon, fresh)
            with pytest.raises(websockets.ConnectionClosed) as raised:
                await socket.recv()
            assert raised.value.rcvd.code == 1012

    asyncio.run(asyncio.wait_for(run(), 30))
    wait_until(lambda: old.codes == {1001: 1})


def test_a_frame_of_the_client_that_is_under_way_arrives_whole(front):
    client, instance = front.open()
    sent = frames.frame(frames.BINARY, os.urandom(200000), masked=True)
    client.send(sent[:150000])
    front.swap()
    assert frames.read_close(client) == (1012, "service restart")
    client.send(sent[150000:] + frames.frame(frames.TEXT, b"too late", masked=True))
    assert instance.exactly(len(sent)) == sent
    assert frames.read_close(instance, masked=True) == (1001, "going away")
    finish(client, instance)
    assert front.reason() == "drain-closed" and front.drained() == "clean"


def test_a_frame_of_the_instance_that_is_under_way_arrives_whole(front):
    client, instance = front.open()
    sent = frames.frame(frames.BINARY, os.urandom(200000))
    instance.send(sent[:150000])
    got = client.exactly(150000)
    front.swap()
    assert frames.read_close(instance, masked=True) == (1001, "going away")
    instance.send(sent[150000:] + frames.frame(frames.TEXT, b"too late"))
    assert got + client.exactly(50000 + len(sent) - 200000) == sent
    assert frames.read_close(client) == (1012, "service restart")
    finish(client, instance)
    assert front.reason() == "drain-closed" and front.drained() == "clean"


def test_a_close_comes_between_the_fragments_of_a_message(front):
    client, instance = front.open()
    instance.send(frames.frame(frames.TEXT, b"one", fin=False))
    client.send(frames.frame(frames.TEXT, b"one", masked=True, fin=False))
    assert frames.read_frame(client) == (frames.TEXT, b"one", False)
    assert frames.read_frame(instance, masked=True) == (frames.TEXT, b"one", False)
    front.swap()
    assert_both_are_told(client, instance)
    finish(client, instance)


def test_a_close_that_is_under_way_is_not_disturbed(front):
    second, _ = front.open()
    client, instance = front.open()
    client.send(frames.close_frame(1000, masked=True))
    assert frames.read_close(instance, masked=True)[0] == 1000
    front.swap()
    assert frames.read_close(second)[0] == 1012  # the time has come
    instance.send(frames.close_frame(1000))
    assert frames.read_close(client)[0] == 1000
    assert client.to_end() == b""
    assert instance.to_end_or_reset() == b""
    instance.close()


def test_a_client_that_never_answers_and_sends_on_is_left_without_a_reset(front):
    client, instance = front.open()
    front.swap()
    assert_both_are_told(client, instance)
    told = time.monotonic()
    instance.send(frames.close_frame(1001))
    flood = frames.frame(frames.BINARY, b"x" * 60000, masked=True)
    sent = client.send_until_blocked(flood, 8 << 20)
    assert sent == 8 << 20, "what comes behind the Close is dropped, not held back"
    assert client.to_end() == b""
    assert time.monotonic() - told < 10 * GRACE
    assert instance.to_end_or_reset() == b""
    assert front.reason() == "drain-closed" and front.drained() == "clean"
    client.close()


def test_an_instance_that_never_answers_is_cut_and_counts_as_forced(front):
    client, instance = front.open()
    front.swap()
    assert_both_are_told(client, instance)
    client.send(frames.close_frame(1012, masked=True))
    instance.send(frames.frame(frames.BINARY, b"x" * 60000) * 20)
    assert client.to_end() == b""
    ended = time.time()
    assert instance.to_end_or_reset() == b""
    assert front.reason() == "drain-deadline"
    (teardown,) = torn_down(front.daemon)
    assert teardown[1] == "forced" and teardown[2] > ended - 1


def test_a_client_that_does_not_read_gets_its_close_behind_what_waits_for_it(front):
    client, instance = front.open()
    waiting = frames.frame(frames.BINARY, os.urandom(1 << 20))
    sender = threading.Thread(target=instance.send, args=(waiting * 3,), daemon=True)
    sender.start()
    assert client.exactly(1000) == waiting[:1000]
    front.swap()
    rest = client.to_end_or_reset()
    sender.join(15)
    whole = (waiting * 3)[1000:]
    count = (len(rest) + 1000) // len(waiting)
    assert count in (1, 2, 3)
    assert rest[: count * len(waiting) - 1000] == whole[: count * len(waiting) - 1000]
    assert rest[count * len(waiting) - 1000 :] == frames.frame(frames.CLOSE, b"\x03\xf4service restart")


def test_a_client_that_has_closed_its_side_is_told(front):
    client, instance = front.open()
    client.half_close()
    assert instance.to_end() == b""
    front.swap()
    assert frames.read_close(client) == (1012, "service restart")
    instance.send(frames.close_frame(1001))
    assert client.to_end() == b""
    instance.close()


@pytest.mark.parametrize("side", ["client", "instance"])
def test_who_breaks_the_mask_rule_has_an_opaque_tunnel_that_is_cut(front, side):
    client, instance = front.open()
    wrong = frames.frame(frames.TEXT, b"wrong", masked=side == "instance")
    one, two = (client, instance) if side == "client" else (instance, client)
    one.send(wrong)
    assert two.exactly(len(wrong)) == wrong
    front.swap()
    client.assert_closed()
    assert instance.to_end_or_reset() == b""
    assert front.reason() == "drain-deadline" and front.drained() == "forced"


def test_another_upgrade_is_a_tunnel(make_daemon, make_backend):
    front = Front(make_daemon, make_backend, websockets_="300s", tunnels="100ms")

    def tunnel(connection, request):
        connection.send(b"HTTP/1.1 101 OK\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
        connection.ended.wait(30)

    front.backend.on("/ws", tunnel)
    with RawClient(front.daemon.port) as client:
        assert client.ask(target="/ws", fields=["Connection: upgrade", "Upgrade: x, websocket"]).status == 101
        front.swap()
        client.assert_closed()
    assert front.reason() == "drain-deadline" and front.drained() == "forced"


def test_no_instance_is_torn_down_before_the_handshake_is_over(front):
    client, instance = front.open()
    sent = frames.frame(frames.BINARY, os.urandom(200000))
    instance.send(sent[:1000])
    front.swap()
    assert frames.read_close(instance, masked=True)[0] == 1001
    assert not os.path.exists(front.daemon.path("drained"))
    instance.send(sent[1000:])
    assert client.exactly(len(sent)) == sent
    assert frames.read_close(client)[0] == 1012
    assert not os.path.exists(front.daemon.path("drained"))
    finish(client, instance)
    assert front.drained() == "clean"


def test_a_daemon_that_stops_tells_its_websockets(front):
    client, instance = front.open()
    front.daemon.signal(signal.SIGTERM)
    assert_both_are_told(client, instance)
    finish(client, instance)
    assert front.daemon.wait_end() == 0


def test_an_instance_out_of_rotation_keeps_its_websockets(make_daemon, make_backend):
    front = Front(make_daemon, make_backend, [make_backend("beside")], websockets_="100ms")
    client, instance = front.open()
    assert front.daemon.admin.command("drain", instance=instance.backend.address).status == 200
    assert client.is_open(1.0)
    client.send(frames.frame(frames.TEXT, b"still here", masked=True))
    assert frames.read_frame(instance, masked=True) == (frames.TEXT, b"still here", True)
    instance.send(frames.close_frame(1000))
    assert frames.read_close(client)[0] == 1000
    client.close()
