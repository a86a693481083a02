"""After a swap with a watch: the old pool stays armed, and a rollback is one more swap."""

import socket
import threading
import time

import pytest

from harness import processes
from harness.backend import Held
from harness.client import RawClient
from harness.load import Load
from harness.waiting import stays, wait_until


def _instances(app):
    return [instance.address for instance in app]


@pytest.fixture
def watched(make_stand, make_app):
    """A stand whose release v2 has just replaced v1 and is watched; .deployment names it."""
    stand = make_stand()
    stand.suite.shell("01")
    stand.start()
    first = make_app("v1", 2)
    stand.events.wait_end(stand.admin.stage(_instances(first), release="v1"))
    stand.old = stand.admin.live()
    stand.fresh = make_app("v2", 2)
    stand.deployment = stand.admin.stage(_instances(stand.fresh), release="v2", watch="1h")
    stand.wait_state(stand.deployment, "watching")
    return stand


def _pool(stand, name):
    return next(pool for pool in stand.admin.service()["pools"] if pool["deployment"] == name)


def test_while_a_deployment_is_watched_the_pool_before_it_is_armed(watched):
    assert watched.admin.live() == watched.deployment
    old = _pool(watched, watched.old)
    assert old["state"] == "armed" and [i["state"] for i in old["instances"]] == ["up", "up"]
    assert watched.admin.service()["deployment"]["deployment"] == watched.deployment
    assert watched.events.of("watch.started", deployment=watched.deployment)
    stays(lambda: not watched.events.of("instance.retired", deployment=watched.old), 0.3)
    refused = watched.admin.try_stage(["127.0.0.1:9"])
    assert refused.status == 409 and "promote it to end its watch" in refused.detail


def test_a_rollback_by_hand_loses_no_request_and_is_told_of(watched):
    with Load(watched.port) as load:
        wait_until(lambda: len(load.exchanges) > 50, what="some requests")
        answer = watched.admin.command("rollback", reason="customers complain")
        assert answer.status == 200 and answer.json["state"] == "rolled_back"
        assert answer.json["reason"] == "customers complain"
        watched.events.wait("teardown.finished", count=2, deployment=watched.deployment)
        after, seen = time.monotonic(), len(load.exchanges)
        wait_until(lambda: len(load.exchanges) > seen + 50, what="more requests")
    load.assert_flawless()
    assert {exchange.release for exchange in load.exchanges if exchange.began > after} == {"v1"}
    assert watched.admin.live() == watched.old
    last = watched.admin.deployment(watched.deployment)["timeline"][-1]
    assert (last["state"], last["why"]) == ("rolled_back", "customers complain") and last["by"]
    swaps = watched.events.of("swap.published", deployment=watched.deployment)
    assert [(swap["live"], swap["replaces"]) for swap in swaps] == [
        (watched.deployment, watched.old),
        (watched.old, watched.deployment),
    ]
    retired = watched.events.of("instance.retired", deployment=watched.deployment)
    assert {event["reason"] for event in retired} == {"rolled_back"}


def test_what_is_in_flight_on_the_new_pool_finishes_after_a_rollback(make_stand, make_backend):
    stand = make_stand()
    stand.suite.shell("01")
    stand.start()
    fresh, slow = make_backend("fresh"), Held(b"late\n")
    fresh.on("/slow", slow)
    deployment = stand.admin.stage([fresh.address], watch="1h")
    stand.wait_state(deployment, "watching")
    with RawClient(stand.port) as client:
        client.request("GET", "/slow")
        slow.wait()
        assert stand.admin.command("rollback").status == 200
        assert stand.ask().text == "live-0"
        slow.release()
        assert client.response().body == b"late\n"
    retired = stand.events.wait("instance.retired", deployment=deployment)
    assert retired["drained"] == "clean"


def test_promote_ends_a_watch(watched):
    answer = watched.admin.command("promote")
    assert answer.status == 200 and answer.json["state"] == "draining"
    assert watched.events.wait_end(watched.deployment)["type"] == "deployment.done"
    assert watched.events.of("instance.retired", deployment=watched.old)


def test_a_promotion_before_the_swap_is_published_hides_no_event(make_stand, make_app):
    stand = make_stand()
    stand.suite.shell("01")
    stand.start()
    first = stand.admin.live()
    proxy = stand.daemon.pids["proxy"]
    with processes.standing(proxy):
        deployment = stand.admin.stage(_instances(make_app("v2", 1)), watch="1h")
        stand.wait_state(deployment, "watching")
        assert stand.admin.command("promote").status == 200
        assert not stand.events.of("swap.published")
    assert stand.events.wait_end(deployment)["type"] == "deployment.done"
    swap = stand.events.of("swap.published")
    assert [(each["deployment"], each["live"], each["replaces"]) for each in swap] == [(deployment, deployment, first)]
    assert len(stand.events.of("drain.started", deployment=first)) == 1
    assert stand.ask().text == "v2 /"


def test_a_watched_deployment_cannot_be_aborted_but_says_what_can_be_done(watched):
    answer = watched.admin.command("abort")
    assert answer.status == 409 and "upswap rollback web" in answer.detail
    assert watched.admin.live() == watched.deployment


def test_a_watch_that_ends_by_itself_lets_the_old_pool_go(make_stand, make_app):
    stand = make_stand(service={"watch": {"duration": "300ms"}})
    stand.suite.shell("01")
    stand.start()
    old = stand.admin.live()
    deployment = stand.admin.stage(_instances(make_app("v1", 1)), release="v1")
    assert stand.events.wait_end(deployment)["type"] == "deployment.done"
    types = [e["type"] for e in stand.events.all if e.get("deployment") in (old, deployment)]
    assert types[types.index("gate.passed") :] == [
        "gate.passed",
        "watch.started",
        "swap.published",
        "watch.passed",
        "drain.started",
        "drain.finished",
        "instance.retired",
        "teardown.finished",
        "deployment.done",
    ]


def test_after_the_watch_a_rollback_says_what_became_of_the_pool_and_how_to_bring_it_back(watched):
    old = _pool(watched, watched.old)
    watched.admin.command("promote")
    watched.events.wait_end(watched.deployment)
    answer = watched.admin.command("rollback")
    addresses = " ".join(instance["address"] for instance in old["instances"])
    assert answer.status == 409
    assert f"the instances of {watched.old} are torn down" in answer.detail
    assert f"upswap stage web {addresses} --release v1" in answer.detail


def test_a_rollback_before_the_swap_points_to_abort(make_stand, make_backend):
    stand = make_stand()
    stand.suite.shell("01")
    stand.start()
    deployment = stand.admin.stage([make_backend("fresh").address], hold=True)
    stand.wait_state(deployment, "held")
    answer = stand.admin.command("rollback")
    assert answer.status == 409 and "upswap abort web" in answer.detail
    stand.admin.command("abort")


def test_a_rollback_to_a_pool_that_is_all_down_is_refused(make_stand, make_backend):
    stand = make_stand(service={"health": {"interval": "50ms", "fall": 1}})
    stand.suite.shell("01")
    stand.start()
    deployment = stand.admin.stage([make_backend("fresh").address], watch="1h")
    stand.wait_state(deployment, "watching")
    stand.live[0].close()
    stand.events.wait("instance.ejected", instance=stand.live[0].address)
    answer = stand.admin.command("rollback")
    assert answer.status == 409 and "no instance of web-0 passes its checks" in answer.detail
    assert stand.ask().text == "fresh"


@pytest.mark.parametrize("role", ["keeper", "control", "proxy"])
def test_a_watch_and_its_armed_pool_survive_the_death_of_a_role(watched, role):
    watched.daemon.kill_role(role)
    watched.port = watched.daemon.port
    wait_until(lambda: _pool(watched, watched.old)["state"] == "armed", what="the old pool to be armed")
    assert watched.state(watched.deployment) == "watching"
    assert watched.ask().text.startswith("v2")
    answer = watched.admin.command("rollback")
    assert answer.status == 200, answer
    wait_until(lambda: watched.ask().text.startswith("v1"), what="the old release to serve")


def test_a_deployment_whose_process_was_replaced_after_its_test_is_rejected(make_stand, make_app):
    stand = make_stand()
    stand.suite.shell("01")
    stand.start()
    tested = make_app("v1")
    deployment = stand.admin.stage([{"address": tested.address, "pid": tested.pid}], hold=True)
    stand.wait_state(deployment, "held")
    tested.stop()
    with socket.create_server(("127.0.0.1", tested.port)):
        stand.admin.command("promote")
        assert stand.events.wait_end(deployment)["type"] == "deployment.rejected"
    reason = stand.admin.deployment(deployment)["reason"]
    assert "is not known to be the one that was tested: the process has ended" in reason
    assert stand.ask().text == "live-0"


def test_a_rollback_is_answered_when_the_proxy_has_swapped_and_not_before(watched):
    proxy = watched.daemon.pids["proxy"]
    answers = []
    asking = threading.Thread(target=lambda: answers.append(watched.admin.command("rollback")))
    with processes.standing(proxy):
        asking.start()
        watched.wait_state(watched.deployment, "rolled_back")
        stays(lambda: not answers, 0.3)
    asking.join()
    assert answers[0].status == 200 and watched.ask().text == "v1 /"
