"""Listeners that a reload takes away: what became of the connections that came by them."""

import pytest

from harness import frames
from harness.backend import Held
from harness.client import RawClient, ask
from harness.http2 import DATA, GOAWAY, RawHttp2, head_frame
from harness.waiting import wait_until

ANY = {"address": "127.0.0.1:0"}
STAGED = {"address": "127.0.0.1:0", "view": "staged"}
REDIRECT = {"address": "127.0.0.1:0", "redirect": "https"}
MOST = 64


@pytest.fixture
def make_doors(make_stand, make_backend):
    """A stand with these listeners, and a pool "fresh" that is held."""

    def make(*listeners):
        stand = make_stand(listeners=list(listeners), workers=1)  # else one may hear of a world before another
        stand.suite.shell("01")
        stand.start()
        stand.wait_state(stand.admin.stage([make_backend("fresh").address], hold=True), "held")
        for port, listener in zip(stand.daemon.ports(), listeners):
            if listener == STAGED:
                wait_until(lambda port=port: ask(port).status == 200, what="the preview")
        return stand

    return make


def waiting(stand):
    return stand.admin.metrics()["upswap_waiting", frozenset({("service", "web")})]


def reload(stand, *listeners):
    stand.daemon.config["listeners"] = list(listeners)
    stand.daemon.write_config()
    result = stand.daemon.upswap("reload")
    assert result.returncode == 0, result.stderr


def assert_last(client, **expected):
    """What comes is answered so, and soon for the last time: a worker may hear of a reload a moment after it."""
    while not client.is_last:
        answer = client.ask()
        assert {key: getattr(answer, key) for key in expected} == expected
    assert client.to_end() == b""


def test_a_kept_connection_has_one_more_answer_of_its_listener_and_ends(make_doors):
    stand = make_doors(ANY, STAGED, REDIRECT)
    stays, staged, redirects = (RawClient(port) for port in stand.daemon.ports())
    with stays, staged, redirects:
        assert (stays.ask().text, staged.ask().text, redirects.ask().status) == ("live-0", "fresh", 308)
        reload(stand, ANY)
        assert_last(staged, text="fresh")
        assert_last(redirects, status=308)
        assert stays.ask().text == "live-0" and not stays.is_last


def test_who_came_by_a_listener_that_is_gone_is_not_counted_for_the_next_one(make_doors):
    """Nor after a new control, which begins to number listeners anew."""
    stand = make_doors(ANY, ANY)
    held = stand.live[0].on("/held", Held())
    with RawClient(stand.daemon.ports()[1]) as client:
        client.request(target="/held")
        held.wait()
        reload(stand, ANY)
        stand.daemon.kill_role("control")
        reload(stand, ANY, ANY)
        new = f"127.0.0.1:{stand.daemon.ports()[1]}"
        metrics = stand.admin.metrics()
        assert metrics["upswap_connections", frozenset({("listener", new)})] == 0
        held.release()
        assert client.response().text == "held\n"


def test_who_came_by_a_listener_that_is_gone_is_not_led_by_the_one_that_has_its_place(make_doors):
    stand = make_doors(*[ANY] * MOST)
    with RawClient(stand.daemon.ports()[-1]) as client:
        assert client.ask().text == "live-0"
        reload(stand, *[ANY] * (MOST - 1))
        reload(stand, *[ANY] * (MOST - 1), STAGED)
        assert_last(client, text="live-0")


def test_what_is_under_way_is_answered_when_its_listener_is_gone(make_doors):
    stand = make_doors(ANY, ANY)
    held = stand.live[0].on("/held", Held())
    with RawClient(stand.daemon.ports()[1]) as client:
        client.request(target="/held")
        held.wait()
        reload(stand, ANY)
        held.release()
        assert client.response().text == "held\n"
        assert_last(client, text="live-0")


def test_what_has_come_behind_it_is_answered_too(make_doors):
    stand = make_doors(ANY, ANY)
    held = stand.live[0].on("/held", Held())
    with RawClient(stand.daemon.ports()[1]) as client:
        for target in ("/held", "/second", "/third"):
            client.request(target=target)
        held.wait()
        reload(stand, ANY)
        held.release()
        assert [client.response().text for _ in range(3)] == ["held\n", "live-0", "live-0"]
        assert_last(client, text="live-0")


def test_a_websocket_goes_on_when_its_listener_is_gone(make_doors):
    stand = make_doors(ANY, ANY)
    upgraded = stand.live[0].on("/ws", frames.Upgraded())
    with RawClient(stand.daemon.ports()[1]) as client:
        assert client.ask(target="/ws", fields=frames.UPGRADE).status == 101
        instance = upgraded.wait()
        reload(stand, ANY)
        client.send(frames.frame(frames.TEXT, b"still there?", masked=True))
        assert frames.read_frame(instance, masked=True) == (frames.TEXT, b"still there?", True)
        client.send(frames.close_frame(1000, masked=True))


def test_a_stream_that_waits_is_not_led_by_the_listener_that_has_the_place_of_its_own(make_doors):
    stand = make_doors(*[ANY] * MOST)
    with RawHttp2(stand.daemon.ports()[-1]) as raw:
        assert stand.admin.command("pause").status == 200
        raw.send(head_frame(1))
        wait_until(lambda: waiting(stand) == 1, what="the stream to wait")
        reload(stand, *[ANY] * (MOST - 1))
        reload(stand, *[ANY] * (MOST - 1), STAGED)
        assert stand.admin.command("resume").status == 200
        while (got := raw.read())[0] != DATA:
            pass
        assert got[3] == b"live-0"


def test_a_connection_of_http_2_is_told_that_it_goes(make_doors):
    stand = make_doors(ANY, STAGED)
    with RawHttp2(stand.daemon.ports()[1]) as raw:
        raw.send(head_frame(1))
        while raw.read()[0] != DATA:
            pass
        reload(stand, ANY)
        while raw.read()[0] != GOAWAY:
            pass
        raw.send(head_frame(3))  # was on its way
        frames_of_3 = []
        while (got := raw.read()) is not None:
            if got[0] == DATA and got[2] == 3:
                frames_of_3.append(got[3])
        assert b"".join(frames_of_3) == b"fresh"


@pytest.mark.parametrize("old, new", [("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "0.0.0.0"), ("[::]", "[::1]")])
def test_a_listener_that_is_made_wider_or_narrower_is_refused_with_what_holds_its_port(make_doors, old, new):
    stand = make_doors({"address": f"{old}:0"})
    port = stand.daemon.port
    other = {"address": f"{new}:{port}"}
    stand.daemon.write_config(stand.daemon.changed_config(lambda config: config.update(listeners=[other])))
    result = stand.daemon.upswap("reload")
    assert result.returncode == 1
    assert f"cannot listen on {new}:{port} while upswapd itself listens on {old}:{port}: take" in result.stderr
    assert stand.daemon.ports() == [port]
    meanwhile = {"address": "127.0.0.2:0"}
    reload(stand, meanwhile)
    reload(stand, meanwhile, other)
    assert stand.daemon.ports()[1] == port


def test_a_listener_goes_on_when_the_port_that_it_got_is_written_down(make_doors):
    stand = make_doors(ANY, STAGED)
    ports = stand.daemon.ports()
    written = {"address": f"127.0.0.1:{ports[1]}"}
    with RawClient(ports[1]) as client:
        assert client.ask().text == "fresh"
        for listeners in ([written, ANY], [ANY, written]):
            reload(stand, *[{**each, "view": "staged"} if each == written else each for each in listeners])
            assert sorted(stand.daemon.ports()) == sorted(ports)
            assert client.ask().text == "fresh" and not client.is_last
        assert stand.admin.status()["listeners"][1] == {"address": written["address"], "bound": written["address"]}
        stand.daemon.kill_role("control")
        reload(stand, ANY, STAGED)
        assert stand.daemon.ports() == ports and client.ask().text == "fresh" and not client.is_last
