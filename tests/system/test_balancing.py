"""Which instance a request goes to: weights, and the ways to choose."""

import time
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


@pytest.mark.parametrize("balance", ["round_robin", "least_requests", "two_choices", "random"])
def test_one_that_cannot_be_connected_to_is_asked_once_a_second_and_not_by_each_request(make_stand, balance):
    service = {"balance": balance, "health": {"interval": "60s"}}
    stand = make_stand(2, service=service, workers=1).start()
    stand.live[0].close()
    began = time.monotonic()
    assert tell(stand, 200) == {"live-1": 200}
    seconds = time.monotonic() - began
    found = stand.admin.metrics()
    refused = [value for (name, labels), value in found.items() if ("kind", "connect_refused") in labels]
    assert 1 <= sum(refused) <= 1 + seconds


# ---- by a key ----


def places(stand, requests):
    """Where each of these requests (as keyword arguments) goes."""
    return [stand.ask(**request).text for request in requests]


def users(count):
    return [{"fields": [f"X-User: user-{number}"]} for number in range(count)]


@pytest.fixture
def hashed(make_stand):
    """A stand of four that are chosen by X-User, with two workers."""
    made = make_stand(4, service={"balance": "hash:header:X-User"})
    made.suite.shell("01_pass")
    return made.start()


def test_a_key_keeps_its_instance_over_every_restart_and_reload(hashed):
    before = places(hashed, users(40))
    assert len(set(before)) == 4
    for role in ("proxy", "control", "keeper"):
        hashed.daemon.kill_role(role)
        hashed.port = hashed.daemon.port
        assert places(hashed, users(40)) == before, role
    assert hashed.admin.command("drain", instance=hashed.live[0].address).status == 200
    assert hashed.admin.command("enable", instance=hashed.live[0].address).status == 200
    assert hashed.admin.post("/v1/reload").status == 200
    assert places(hashed, users(40)) == before


def test_an_instance_out_of_rotation_moves_its_own_keys_only(hashed):
    before = places(hashed, users(60))
    assert hashed.admin.command("drain", instance=hashed.live[2].address).status == 200
    after = places(hashed, users(60))
    moved = [b for b, a in zip(before, after) if b != a]
    assert moved and set(moved) == {"live-2"}
    assert "live-2" not in after
    assert len({a for b, a in zip(before, after) if b == "live-2"}) > 1, "one neighbour got them all"


def test_an_instance_that_refuses_connections_moves_its_own_keys_only(hashed):
    before = places(hashed, users(40))
    hashed.live[1].close()
    after = places(hashed, users(40))
    assert {b for b, a in zip(before, after) if b != a} == {"live-1"}


def test_requests_without_the_header_take_turns(hashed):
    assert set(places(hashed, [{}] * 16)) == {"live-0", "live-1", "live-2", "live-3"}
    assert set(places(hashed, [{"fields": ["X-User:"]}] * 16)) == {"live-0", "live-1", "live-2", "live-3"}


def test_another_installation_spreads_the_same_keys_otherwise(make_stand):
    names = []
    for _ in range(2):
        stand = make_stand(4, service={"balance": "hash:header:X-User"}).start()
        names.append(places(stand, users(40)))
    assert names[0] != names[1]


def test_a_cookie_decides_wherever_it_stands(make_stand):
    stand = make_stand(4, service={"balance": "hash:cookie:sid"}).start()

    def lines(number):
        sid = f"sid={number}"
        return [[f"Cookie: {sid}"], [f"Cookie: a=1; {sid}; sid=other"], ["Cookie: a=1", f"Cookie: b=2;{sid}"]]

    homes = [{stand.ask(fields=fields).text for fields in lines(number)} for number in range(30)]
    assert all(len(home) == 1 for home in homes), "the place of the cookie mattered"
    assert len(set.union(*homes)) == 4


def test_the_address_of_the_client_decides(make_stand):
    stand = make_stand(4, service={"balance": "hash:client"}).start()

    def home(number):
        names = set()
        for _ in range(4):
            with RawClient(stand.port, source=f"127.0.0.{number}") as client:
                names.add(client.ask().text)
        assert len(names) == 1
        return names.pop()

    assert {home(number) for number in range(2, 32)} == {"live-0", "live-1", "live-2", "live-3"}
