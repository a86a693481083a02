"""Which instance a request goes to: weights, and the ways to choose."""

from collections import Counter

import pytest

from harness.backend import Held
from harness.client import RawClient


def tell(front, count, **request):
    """How many of so many requests each backend has answered."""
    return Counter(front.ask(**request).text for _ in range(count))


def weighted(make_backend, **weights):
    return [(make_backend(name), weight) for name, weight in weights.items()]


def stage(stand, backends, **keys):
    """Swaps to these (backend, weight) pairs; the deployment."""
    deployment = stand.admin.stage([{"address": b.address, "weight": w} for b, w in backends], **keys)
    assert stand.events.wait_end(deployment)["type"] == "deployment.done"
    return deployment


@pytest.fixture
def make_balanced(make_stand):
    """make_balanced(balance, live=1): a stand with one worker, so that its rotation is the whole one."""

    def make(balance, live=1):
        made = make_stand(live, service={"balance": balance}, workers=1)
        made.suite.shell("01_pass")
        return made

    return make


def test_weights_of_the_config_hold_to_the_request(make_balanced):
    stand = make_balanced("round_robin", live=3)
    stand.daemon.config["services"][0]["instances"] = [
        f"{backend.address},weight={weight}" for backend, weight in zip(stand.live, (3, 1, 2))
    ]
    stand.start()
    names = [stand.ask().text for _ in range(12)]
    assert Counter(names) == {"live-0": 6, "live-1": 2, "live-2": 4}
    assert names[:6] == names[6:], "the rotation is not smooth"
    assert all(a != b for a, b in zip(names[:6], names[1:6])), "the heavy one came in a burst"


def test_weights_of_a_staged_pool_outlive_the_whole_daemon(make_balanced, make_backend):
    stand = make_balanced("round_robin").start()
    stage(stand, weighted(make_backend, heavy=4, light=1))
    for role in ("control", "proxy", "keeper"):
        stand.daemon.kill_role(role)
        stand.port = stand.daemon.port
        assert tell(stand, 10) == {"heavy": 8, "light": 2}, role
        (pool,) = stand.admin.service()["pools"]
        assert [i.get("weight") for i in pool["instances"]] == [4, None], "a weight of 1 is as usual"


def test_the_client_gives_weights(make_balanced, make_backend):
    stand = make_balanced("round_robin").start()
    heavy, light = make_backend("heavy"), make_backend("light")
    done = stand.daemon.upswap("stage", "web", f"{heavy.address},weight=2", light.address)
    assert done.returncode == 0, done
    assert tell(stand, 9) == {"heavy": 6, "light": 3}
    assert f"{heavy.address},weight=2 " in stand.daemon.upswap("status").stdout


def test_a_weight_of_zero_is_refused_with_what_to_do_instead(make_balanced):
    stand = make_balanced("round_robin").start()
    answer = stand.admin.try_stage([{"address": "127.0.0.1:1", "weight": 0}])
    assert answer.status == 400
    assert answer.detail.endswith("the weight 0 is not from 1 to 256; to give an instance no requests, drain it")


@pytest.mark.parametrize("balance", ["least_requests", "two_choices"])
def test_requests_keep_away_from_the_busy_instance(make_balanced, balance):
    stand = make_balanced(balance, live=2).start()
    held = Held()
    for backend in stand.live:
        backend.scripts["/held"] = held
    with RawClient(stand.port) as client:
        client.request(target="/held")
        held.wait()
        busy, idle = sorted(stand.live, key=lambda b: len(b.requests), reverse=True)
        assert tell(stand, 20) == {idle.name: 20}
        held.release()
        assert client.response().status == 200
    assert set(tell(stand, 40)) == {busy.name, idle.name}


@pytest.mark.parametrize("balance", ["round_robin", "least_requests", "two_choices", "random"])
def test_every_way_respects_weights_and_skips_what_is_out_of_rotation(make_balanced, make_backend, balance):
    stand = make_balanced(balance).start()
    pool = weighted(make_backend, heavy=8, light=1, out=16)
    stage(stand, pool)
    assert stand.admin.command("drain", instance=pool[2][0].address).status == 200
    told = tell(stand, 180)
    assert set(told) <= {"heavy", "light"}
    assert 140 <= told["heavy"] <= 178
