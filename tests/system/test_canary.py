"""Canaries: a share of the new sessions goes to the new pool, and no client sees both."""

import threading

import pytest

from harness.client import RawClient
from harness.session import Session
from harness.waiting import stays, wait_until


@pytest.fixture
def make_canary(make_stand, make_backend):
    """A stand whose pool "fresh" has the first of these shares; .deployment names it."""

    def make(shares, step="1h", **service):
        stand = make_stand(service=service)
        stand.suite.shell("01")
        stand.start()
        stand.old = stand.admin.live()
        stand.fresh = make_backend("fresh")
        stand.deployment = stand.admin.stage([stand.fresh.address], release="v2", canary=shares, step=step)
        stand.wait_state(stand.deployment, "canary")
        wait_until(lambda: stand.events.of("canary.step"), what="the first step to be told")
        return stand

    return make


def count_new(port, sessions):
    """Who served so many new sessions: requests without a cookie, on kept connections."""
    counts = {}
    with RawClient(port) as client:
        for _ in range(sessions):
            name = client.ask().text
            counts[name] = counts.get(name, 0) + 1
    return counts


@pytest.mark.parametrize("share", [1, 10, 50])
def test_the_share_of_the_new_sessions_is_within_one_percent(make_canary, share):
    stand = make_canary([share])
    wait_until(lambda: count_new(stand.port, 200).get("fresh"), what="the share to be seen")
    counts = count_new(stand.port, 1500)
    assert abs(100 * counts.get("fresh", 0) / 1500 - share) < 1, counts


def test_no_client_flips_between_releases_while_the_share_grows(make_canary):
    stand = make_canary([20, 50, 80])
    sessions = [Session(stand) for _ in range(40)]
    first = [session.ask() for session in sessions]
    assert 4 <= first.count("fresh") <= 12
    for _ in range(2):
        assert stand.admin.command("promote").status == 200
        assert [session.ask() for session in sessions] == first
        assert not any(session.given for session in sessions), "a side was told twice"
    late = [Session(stand).ask() for _ in range(40)]
    assert 28 <= late.count("fresh") <= 36
    assert not [f for f in stand.fresh.requests[-1].fields if "upswap-canary" in f[1]], "the app saw our cookie"


def test_the_app_never_sees_the_cookie_of_a_canary_that_is_over(make_canary):
    stand = make_canary([50])
    session = Session(stand)
    session.ask()
    assert session.cookies
    assert stand.admin.command("abort").status == 200
    wait_until(lambda: len(stand.admin.service()["pools"]) == 1, what="the canary to go")
    assert session.ask() == "live-0"
    seen = stand.live[0].requests[-1].fields
    assert [name for name, _ in seen if name.lower() == "cookie"] == [], seen


def test_by_address_one_client_sees_one_release_without_cookies(make_canary):
    stand = make_canary([50], canary={"by": "address"})
    for number in range(2, 12):
        seen = set()
        with RawClient(stand.port, source=f"127.0.0.{number}") as client:
            for _ in range(5):
                answer = client.ask()
                seen.add(answer.text)
                assert not answer.all("Set-Cookie")
        assert len(seen) == 1


def test_the_steps_pass_by_themselves_and_the_last_is_the_swap(make_canary):
    stand = make_canary([10, 50], step="200ms")
    assert stand.events.wait_end(stand.deployment)["type"] == "deployment.done"
    assert [event["share"] for event in stand.events.of("canary.step")] == [10, 50]
    states = [moment["state"] for moment in stand.admin.deployment(stand.deployment)["timeline"]]
    assert list(dict.fromkeys(states)) == ["staged", "testing", "canary", "draining", "done"]
    assert {stand.ask().text for _ in range(5)} == {"fresh"}


def test_a_canary_and_then_a_watch(make_canary):
    stand = make_canary([50], watch={"duration": "1h"})
    stand.admin.command("promote")
    stand.wait_state(stand.deployment, "watching")
    assert stand.admin.live() == stand.deployment
    assert stand.admin.command("rollback").status == 200
    assert stand.admin.live() == stand.old


@pytest.mark.parametrize("verb, state", [("abort", "aborted"), ("rollback", "rolled_back")])
def test_a_canary_that_is_taken_back_loses_no_request(make_canary, verb, state):
    stand = make_canary([50])
    failures, stop = [], threading.Event()

    def load():
        with RawClient(stand.port) as client:
            while not stop.is_set():
                answer = client.ask()
                if answer.status != 200:
                    failures.append(answer)

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: len(stand.fresh.requests) > 30, what="the canary to be asked")
        answer = stand.admin.command(verb, reason="no good")
        assert answer.status == 200 and answer.json["state"] == state
        stand.events.wait("teardown.finished", deployment=stand.deployment)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures
    assert stand.admin.live() == stand.old
    finished = stand.events.of("drain.finished", deployment=stand.deployment)
    assert len(finished) == 1 and finished[0]["forced"] == 0
    assert {stand.ask().text for _ in range(5)} == {"live-0"}


def test_sessions_of_a_canary_that_cannot_be_reached_are_served_by_the_live_pool(make_canary):
    stand = make_canary([50], health={"interval": "0s"})
    stand.fresh.close()
    assert count_new(stand.port, 50) == {"live-0": 50}


def test_a_canary_needs_a_live_pool(make_stand, make_backend):
    stand = make_stand(live=0)
    stand.suite.shell("01")
    stand.start()
    answer = stand.admin.try_stage([make_backend("fresh").address], canary=[10])
    assert answer.status == 422 and "no live pool" in answer.detail


@pytest.mark.parametrize("role", ["keeper", "control", "proxy"])
def test_a_canary_keeps_its_share_and_its_sessions_when_a_role_dies(make_canary, role):
    stand = make_canary([50])
    sessions = [Session(stand) for _ in range(8)]
    sides = [session.ask() for session in sessions]
    stand.daemon.kill_role(role)
    stand.port = stand.daemon.port
    assert [session.ask() for session in sessions] == sides
    assert stand.state(stand.deployment) == "canary"
    wait_until(lambda: stand.admin.command("promote").status == 200, what="the canary to be promoted")
    wait_until(lambda: {stand.ask().text for _ in range(4)} == {"fresh"}, what="the swap")


def test_the_client_asks_for_shares_and_follows_them(make_stand, make_backend):
    stand = make_stand()
    stand.suite.shell("01")
    stand.start()
    fresh = make_backend("fresh")
    done = stand.daemon.upswap("stage", "web", fresh.address, "--canary", "1,50%", "--step", "100ms", "--watch", "100ms")
    assert done.returncode == 0, done
    assert "has 1% of the new sessions" in done.stdout and "has 50% of the new sessions" in done.stdout
    assert "passed its watch" in done.stdout


def test_nobody_is_of_a_canary_before_its_gate_has_passed(make_stand, make_backend, puppets):
    stand = make_stand()
    stand.suite.add("01", puppets.program)
    stand.start()
    fresh = make_backend("fresh")
    deployment = stand.admin.stage([fresh.address], canary=[90], step="1h")
    stand.wait_state(deployment, "testing")
    stays(lambda: stand.ask().text == "live-0", 0.3)
    puppets.let_go()
    stand.wait_state(deployment, "canary")
