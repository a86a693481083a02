"""Pins: a session stays on the pool that it began with, for a while, and no request of it sees two pools."""

import threading

import pytest

from harness.backend import Held
from harness.client import RawClient
from harness.session import Session
from harness.waiting import stays, wait_until

LONG = "1h"
SHORT = "3s"


@pytest.fixture
def make_pinned(make_stand):
    def make(duration=LONG, live=1, **service):
        drain = {"requests": "1s", "streams": "1s", "websockets": "1s", "tunnels": "1s", "spread": "0s"}
        made = make_stand(
            live, service={"pin": "cookie", "pin_duration": duration, "drain": drain, **service}
        )
        made.suite.shell("01_pass")
        return made

    return make


def swap(stand, *backends):
    """Makes these the live pool; returns when every worker knows."""
    deployment = stand.admin.stage([b.address for b in backends])
    stand.events.wait("swap.published", deployment=deployment)
    wait_until(lambda: stand.ask().text in [b.name for b in backends], what="the swap to be seen")
    return deployment


def state_of(stand, deployment):
    pool = stand.admin.pool(deployment)
    return pool and pool["state"]


def retired(stand):
    return {e["instance"] for e in stand.events.of("instance.retired")}


def test_a_session_stays_and_a_new_client_does_not(make_pinned, make_backend):
    stand = make_pinned().start()
    old = stand.admin.live()
    session = Session(stand)
    assert session.ask() == "live-0"
    (line,) = session.given
    assert line.startswith("upswap-pin-web=") and line.endswith("; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax")
    swap(stand, make_backend("fresh"))
    for _ in range(10):
        assert session.ask() == "live-0"
        assert session.given == [], "an old pool renewed a pin"
        assert stand.ask().text == "fresh"
    assert state_of(stand, old) == "draining"
    assert stand.admin.pool(old)["requests"] == 11, "pinned requests count for their pool"
    assert not [f for f in stand.live[0].requests[-1].fields if f[0].lower() == "cookie"]


def test_when_the_time_is_over_sessions_move_and_the_old_pool_is_torn_down(make_pinned, make_backend):
    stand = make_pinned(SHORT).start()
    old = stand.admin.live()
    session = Session(stand)
    assert session.ask() == "live-0"
    deployment = swap(stand, make_backend("fresh"))
    assert session.ask() == "live-0"
    wait_until(lambda: session.ask() == "fresh", what="the session to move")
    assert session.given, "it was not pinned to its new pool"
    assert {session.ask() for _ in range(5)} == {"fresh"}
    assert stand.events.wait_end(deployment)["type"] == "deployment.done"
    finished = stand.events.wait("drain.finished", deployment=old)
    assert finished["forced"] == 0 and finished["seconds"] >= 3, "the drain did not wait for pinned sessions"


def test_an_idle_old_pool_is_not_torn_down_while_it_may_be_asked(make_pinned, make_backend):
    stand = make_pinned().start()
    old = stand.admin.live()
    swap(stand, make_backend("fresh"))
    stays(lambda: state_of(stand, old) == "draining" and not retired(stand), 0.7)


def test_two_swaps_in_a_row_leave_each_session_where_it_began(make_pinned, make_backend):
    stand = make_pinned().start()
    sessions, names = [Session(stand)], ["live-0"]
    assert sessions[0].ask() == "live-0"
    for generation in range(3):
        names.append(f"fresh-{generation}")
        swap(stand, make_backend(names[-1]))
        sessions.append(Session(stand))
        for _ in range(3):
            assert [session.ask() for session in sessions] == names
    pools = stand.admin.service()["pools"]
    assert [pool["state"] for pool in pools] == ["draining"] * 3 + ["live"]


@pytest.mark.parametrize("role", ["proxy", "control", "keeper"])
def test_pins_and_their_end_outlive_a_crash(make_pinned, make_backend, role):
    stand = make_pinned("6s").start()
    old = stand.admin.live()
    session = Session(stand)
    assert session.ask() == "live-0"
    swap(stand, make_backend("fresh"))
    stand.daemon.kill_role(role)
    stand.port = stand.daemon.port
    assert session.ask() == "live-0"
    assert stand.ask().text == "fresh"
    wait_until(lambda: session.ask() == "fresh", what="the session to move")
    wait_until(lambda: state_of(stand, old) is None, what="the old pool to be retired")


def test_a_reload_changes_nothing_for_pinned_sessions(make_pinned, make_backend):
    stand = make_pinned().start()
    session = Session(stand)
    session.ask()
    swap(stand, make_backend("fresh"))
    assert stand.admin.post("/v1/reload").status == 200
    assert session.ask() == "live-0"


def test_sessions_of_an_old_pool_that_died_are_served_by_the_live_one(make_pinned, make_backend):
    stand = make_pinned(live=2).start()
    session = Session(stand)
    assert session.ask().startswith("live")
    swap(stand, make_backend("fresh"))
    for backend in stand.live:
        backend.close()
    assert session.ask() == "fresh"
    assert session.given, "it would try the dead pool again for each request"


def test_who_waited_in_line_while_its_pool_died_is_served_by_the_live_one(make_pinned, make_backend):
    """Also where the world has changed meanwhile."""
    stand = make_pinned(affinity={}, health={"interval": "0s"}, concurrency={"per_instance": 1})
    stand.daemon.config["workers"] = 1  # another one might have kept a connection to the old instance
    (old,) = stand.live
    held = Held()

    def last(connection, request):
        held(connection, request)
        connection.close()

    old.on("/held", last)
    stand.start()
    session = Session(stand)
    assert session.ask() == "live-0"
    given = dict(session.cookies)
    swap(stand, make_backend("fresh"))
    cookies = "; ".join(f"{name}={value}" for name, value in given.items())
    with RawClient(stand.port) as inside:
        inside.request(target="/held", fields=[f"Cookie: {cookies}"])
        held.wait()
        answers = []
        in_line = threading.Thread(target=lambda: answers.append(session.ask()))
        in_line.start()
        queued = lambda: sum(v for (name, _), v in stand.admin.metrics().items() if name == "upswap_queued")
        wait_until(lambda: queued() == 1, what="one in line")
        assert stand.admin.post("/v1/reload").status == 200
        old.stop_listening()
        held.release()
        in_line.join()
        assert answers == ["fresh"] and inside.response().text == "held\n"
    assert given.keys() == session.cookies.keys()
    assert not given.items() & session.cookies.items(), "it would try the dead pool again"


def test_affinity_holds_within_the_pinned_pool(make_pinned, make_backend):
    stand = make_pinned(live=3, affinity={}).start()
    sessions = [Session(stand) for _ in range(6)]
    homes = [session.ask() for session in sessions]
    assert len(set(homes)) == 3
    swap(stand, *[make_backend(f"fresh-{number}") for number in range(3)])
    for _ in range(3):
        assert [session.ask() for session in sessions] == homes
        assert not any(session.given for session in sessions)


def test_a_request_of_a_pinned_session_meets_the_drains_deadline_like_any_other(make_pinned, make_backend):
    stand = make_pinned("2s").start()
    old = stand.admin.live()
    session = Session(stand)
    session.ask()
    held = Held()
    stand.live[0].scripts["/held"] = held
    swap(stand, make_backend("fresh"))
    (name, value), = session.cookies.items()
    with RawClient(stand.port) as client:
        client.request(target="/held", fields=[f"Cookie: {name}={value}"])
        held.wait()
        answer = client.response()
        assert (answer.status, answer.upswap) == (503, "drain-deadline")
    held.release()
    assert stand.events.wait("drain.finished", deployment=old)["forced"] == 1


def test_a_forged_pin_is_as_none(make_pinned, make_backend):
    stand = make_pinned().start()
    session = Session(stand)
    session.ask()
    (name, value), = session.cookies.items()
    swap(stand, make_backend("fresh"))
    for wrong in (value[:-1], value[:5] + ("A" if value[5] != "A" else "B") + value[6:], "", "A" * 43):
        answer = stand.ask(fields=[f"Cookie: {name}={wrong}"])
        assert answer.text == "fresh" and answer.all("Set-Cookie")


def test_a_rejected_pool_takes_no_pins(make_pinned, make_backend):
    stand = make_pinned().start()
    session = Session(stand)
    assert session.ask() == "live-0"
    stand.suite.shell("02_fail", "exit 1")
    deployment = stand.admin.stage([make_backend("bad").address])
    assert stand.events.wait_end(deployment)["type"] == "deployment.rejected"
    assert session.ask() == "live-0" and session.given == []


def test_no_request_is_lost_at_the_end_of_the_pins(make_pinned, make_backend):
    """Pinned sessions under load, over the moment at which their pool is closed, and until it is gone."""
    stand = make_pinned("2s").start()
    old = stand.admin.live()
    fresh = make_backend("fresh")
    sessions = [Session(stand) for _ in range(4)]
    for session in sessions:
        assert session.ask() == "live-0"
    faults, ended = [], threading.Event()

    def ask_on(session):
        moved = False
        while not ended.is_set():
            try:
                name = session.ask()
            except AssertionError as fault:
                faults.append(str(fault))
                return
            if moved and name != "fresh":
                faults.append("it went back")
            moved = name == "fresh"

    threads = [threading.Thread(target=ask_on, args=[session]) for session in sessions]
    for thread in threads:
        thread.start()
    try:
        deployment = swap(stand, fresh)
        assert stand.events.wait_end(deployment)["type"] == "deployment.done"
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert faults == []
    assert stand.events.wait("drain.finished", deployment=old)["forced"] == 0
