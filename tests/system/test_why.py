"""upswap why: in two or three sentences why a service is as it is, against the real daemon."""

import json

import pytest

from harness import processes
from harness.backend import Backend, Held
from harness.client import RawClient
from harness.waiting import wait_until

CHECKS = {"interval": "50ms", "timeout": "1s", "rise": 1, "fall": 1}


def why(daemon, *more):
    done = daemon.upswap("why", "web", *more)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_rejected_deployment_is_told_with_its_reason_and_what_to_do(stand, make_backend):
    stand.suite.shell("02_fail", "exit 7")
    assert stand.daemon.upswap("stage", "web", make_backend("next").address, "--release", "v2").returncode == 3
    live, last, remedy = why(stand.daemon).splitlines()
    assert live == "web is served by web-0, its one instance is up."
    assert last.startswith("The last deployment, web-1 (release v2), was rejected at 20") and "02_fail" in last
    assert remedy.endswith('"upswap show web-1" has the whole story.')


def test_a_deployment_that_waits_is_told_with_what_it_waits_for(stand, make_backend):
    assert stand.daemon.upswap("stage", "web", make_backend("next").address, "--hold").returncode == 0
    _, held, remedy = why(stand.daemon).splitlines()
    assert held.startswith("web-1, staged by ") and "is held, as was asked for." in held
    assert remedy == '"upswap promote web" swaps it in, "upswap abort web" gives it up; it is aborted when hold_timeout is over.'


def test_an_instance_that_is_waited_for_is_told_with_what_its_last_try_has_found(stand, make_backend):
    late = make_backend("late", listen=False)
    client = stand.daemon.spawn_upswap("stage", "web", f"localhost:{late.port}")
    sentence = f"instance localhost:{late.port} ({late.address}) does not accept a connection: Connection refused"
    wait_until(lambda: f"instances accept connections: {sentence}." in why(stand.daemon), what="a first try")
    assert stand.admin.deployment("web-1")["waits_for"] == sentence
    shown = next(line for line in client.stdout if "waits: " in line)
    assert shown.endswith(f" s  waits: {sentence}\n")
    late.listen()
    client.communicate(timeout=30)
    assert processes.finish(client) == 0
    assert stand.admin.deployment("web-1")["waits_for"] is None


def test_a_held_instance_that_has_died_is_told_before_it_is_promoted(make_stand, make_backend):
    health = {"interval": "50ms", "timeout": "1s", "rise": 1, "fall": 2}
    stand = make_stand(live=1, service={"health": health})
    stand.suite.shell("01_pass")
    stand.start()
    dead, alive = make_backend("dead"), make_backend("alive")
    held = stand.admin.stage([dead.address, alive.address], hold=True)
    stand.events.wait("deployment.held", deployment=held)
    dead.close()
    gone = stand.events.wait("instance.ejected", deployment=held)
    assert gone["instance"] == dead.address and "as if they were" not in gone["reason"]
    states = {each["address"]: each["state"] for each in stand.admin.pool(held)["instances"]}
    assert states == {dead.address: "down", alive.address: "up"}
    told = why(stand.daemon)
    assert f"held, as was asked for; now 1 of its 2 instances is down: {dead.address}." in told
    assert '"upswap promote web" would reject it now' in told
    assert stand.ask().text == "live-0"


def test_a_release_is_told_to_be_live_while_what_it_replaced_drains(stand, make_backend):
    held = stand.live[0].on("/held", Held())
    with RawClient(stand.port) as client:
        client.request(target="/held")
        held.wait()
        deployment = stand.admin.stage([make_backend("fresh").address])
        stand.events.wait("drain.started")
        said = stand.daemon.upswap("why", "web").stdout
        assert f"{deployment} is live" in said and "It is done when nothing is in flight" in said
        held.release()
        assert client.response().status == 200


def test_an_instance_that_is_down_is_told_with_what_its_check_has_found(start_own_front):
    front = start_own_front(Backend("a"), Backend("b"), service={"health": CHECKS})
    front.backends[1].close()
    wait_until(lambda: "is down" in why(front.daemon), what="the check to fail")
    address = front.backends[1].address
    assert f"with 1 of 2 instances: {address} is down, because it " in why(front.daemon).splitlines()[0]
    assert "It gets requests again when its checks pass" in why(front.daemon)


@pytest.mark.parametrize(
    "mode, keys, because, remedy",
    [
        ("pause", {"max": "1h"}, "paused it; 0 wait now.", '"upswap resume web"'),
        ("maintenance", {"on": True, "message": "back soon"}, "maintenance, with the message: back soon.", "web off"),
    ],
)
def test_a_mode_is_told_with_who_asked_and_what_ends_it(stand, mode, keys, because, remedy):
    assert stand.admin.command(mode, **keys).status == 200
    told = json.loads(why(stand.daemon, "--json"))
    assert told["service"] == "web" and len(told["why"]) == 3
    assert because in told["why"][0] and remedy in told["why"][2]


def test_an_unknown_service_is_refused_with_the_nearest_name(stand):
    done = stand.daemon.upswap("why", "wbe")
    assert (done.returncode, done.stdout) == (1, "")
    assert 'did you mean "web"?' in done.stderr


def test_an_instance_that_fails_its_scheduled_uptests_is_told_although_it_serves(make_stand):
    stand = make_stand(uptests={"schedule": "1s"})
    stand.suite.shell("01", "exit 1")
    stand.start()
    wait_until(lambda: "fails the uptests" in why(stand.daemon), what="a scheduled run")
    served, _, remedy = why(stand.daemon).splitlines()
    address = stand.live[0].address
    assert served == f"web is served by web-0, its one instance is up, but {address} fails the uptests that are run on a schedule."
    assert remedy.startswith(f'"upswap uptest web {address}" runs them now')


def test_what_a_deployment_does_is_told_to_the_phase(make_stand):
    stand = make_stand(service={"launch": {"command": ["/bin/sh", "-c", "exec sleep 60"]}}).start()
    stand.suite.shell("01")
    client = stand.daemon.spawn_upswap("deploy", "web", "v2", "--no-wait")
    client.communicate(timeout=30)
    assert processes.finish(client) == 0
    wait_until(lambda: "launch.command starts web-1 (release v2), which " in why(stand.daemon), what="the launch")
    assert stand.admin.command("abort").status == 200
