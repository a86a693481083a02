"""The promises of DESIGN.md, each attacked under its name."""

import os
import shutil
import signal
import time

import pytest

from harness import processes
from harness.backend import Held
from harness.client import RawClient
from harness.load import Load
from harness.waiting import stays, wait_until

# An uptest that asks the app as an uptest, and says so in its User-Agent.
ASKS = """exec 3<>"/dev/tcp/$1/$2" || exit 1
printf 'GET /uptest HTTP/1.1\\r\\nHost: x\\r\\nUser-Agent: uptest\\r\\nConnection: close\\r\\n\\r\\n' >&3
read -r _ status _ <&3
[ "$status" = 200 ] || exit 1"""


@pytest.fixture
def loaded(make_stand, make_app):
    """A started stand whose live pool is two app processes of release v1, and uptests that ask the app."""

    def make(**options):
        apps = make_app("v1", 2)
        stand = make_stand(live=0, **options)
        stand.daemon.config["services"][0]["instances"] = [app.address for app in apps]
        stand.suite.add("01_asks", f"#!/bin/bash\n{ASKS}\n")
        stand.apps = apps
        return stand.start()

    return make


def addresses(apps):
    return [{"address": app.address, "pid": app.pid} for app in apps]


# ---- 3. A swap loses no request ----


def test_3_fifty_swaps_under_mixed_load_with_killed_old_instances_lose_no_request(loaded, make_app):
    stand = loaded()
    apps = {app.address: app for app in stand.apps}
    stand.events.on("instance.retired", lambda event: apps[event["instance"]].kill())
    published = []
    with Load(stand.port) as load:
        for number in range(2, 52):
            release = f"v{number}"
            fresh = make_app(release, 2)
            apps.update({app.address: app for app in fresh})
            deployment = stand.admin.stage([app.address for app in fresh], release=release)
            stand.events.wait("swap.published", deployment=deployment)
            published.append((time.monotonic(), release))
        stand.events.wait_end(deployment)
        before = len(load.exchanges)
        wait_until(lambda: len(load.exchanges) > before + 20)
    load.assert_flawless()
    assert len(load.exchanges) > 500
    assert len(load.releases()) >= 45, "the load did not meet the releases"
    for when, release in published:
        late = [e for e in load.exchanges if e.began > when and int(e.release[1:]) < int(release[1:])]
        assert not late, f"{len(late)} requests begun after the swap to {release} went to {late[0].release}"
    stand.events.wait("instance.retired", count=100)  # a slow answer may outlast the deployments that follow
    assert len(stand.events.of("instance.retired")) == 100
    killed = [app for address, app in apps.items() if app.release != "v51"]
    for app in killed:
        assert app.wait_end() == -signal.SIGKILL


def test_3_no_answer_is_a_mixture_of_pools(loaded, make_app):
    """Long answers that run across a swap come from one release to their last byte."""
    stand = loaded()
    clients = [RawClient(stand.port, receive_buffer=4096) for _ in range(8)]
    for client in clients:
        client.request(target="/bytes?n=4000000&chunked=1")
        client.until(b"\r\n\r\n")
    deployment = stand.admin.stage([app.address for app in make_app("v2", 2)])
    stand.events.wait("swap.published", deployment=deployment)
    for client in clients:
        body = bytearray()
        while (size := int(client.until(b"\r\n"), 16)) > 0:
            body += client.exactly(size + 2)[:-2]
        assert bytes(body) == b"v1 " + b"x" * (4000000 - 3)
        client.close()
    assert stand.events.wait_end(deployment)["type"] == "deployment.done"


# ---- 1 and 2. The gate ----


FAILING = {
    "exit_1": ("02_bad", "exit 1", None),
    "exit_255": ("02_bad", "exit 255", None),
    "a_signal": ("02_bad", "kill -SEGV $$", None),
    "a_timeout": ("02_bad", "cat NEVER", None),
    "not_executable": ("02_bad", "exit 0", lambda stand: os.chmod(os.path.join(stand.suite.folder, "02_bad"), 0o644)),
    "a_missing_interpreter": ("02_bad", None, lambda stand: stand.suite.add("02_bad", "#!/nonexistent/interpreter\n")),
    "no_interpreter_line": ("02_bad", None, lambda stand: stand.suite.add("02_bad", "\x7fELF nonsense")),
    "a_dangling_link": (
        "02_bad",
        None,
        lambda stand: os.symlink("/nonexistent/file", os.path.join(stand.suite.folder, "02_bad")),
    ),
}


@pytest.mark.parametrize("way", FAILING)
def test_1_and_2_a_gate_that_fails_this_way_rejects_and_no_client_ever_met_the_pool(loaded, make_app, way):
    name, text, prepare = FAILING[way]
    stand = loaded(uptests={"timeout": "500ms"})
    if text is not None:
        stand.suite.shell(name, text.replace("NEVER", stand.never))
    if prepare is not None:
        prepare(stand)
    fresh = make_app("v2", 2)
    before = stand.admin.live()
    with Load(stand.port, plan=("kept", "fresh", "post")) as load:
        deployment = stand.admin.stage([app.address for app in fresh], release="v2")
        assert stand.events.wait_end(deployment)["type"] == "deployment.rejected"
        count = len(load.exchanges)
        wait_until(lambda: len(load.exchanges) > count + 20)
    load.assert_flawless()
    record = stand.admin.deployment(deployment)
    assert record["state"] == "rejected" and record["gate"]["passed"] is False
    assert name in record["reason"] and fresh[0].address in record["reason"]
    assert stand.admin.live() == before and set(load.releases()) == {"v1"}
    for app in fresh:
        assert app.log() == ["GET /uptest uptest"]
    wait_until(lambda: stand.admin.pool(deployment) is None, what="the pool to be retired")


def test_2_a_directory_that_vanished_since_the_pool_was_staged_fails_the_gate(loaded, make_app, make_backend):
    stand = loaded()
    late = make_backend(listen=False)
    deployment = stand.admin.stage([late.address])
    shutil.rmtree(stand.suite.folder)
    late.listen()
    assert stand.events.wait_end(deployment)["type"] == "deployment.rejected"
    assert stand.suite.folder in stand.admin.deployment(deployment)["reason"]
    assert late.requests == []


def test_2_leave_to_stage_without_uptests_is_no_leave_to_lose_them(loaded, make_backend):
    stand = loaded()
    late = make_backend(listen=False)
    deployment = stand.admin.stage([late.address], allow_untested=True)
    shutil.rmtree(stand.suite.folder)
    late.listen()
    assert stand.events.wait_end(deployment)["type"] == "deployment.rejected"
    assert stand.suite.folder in stand.admin.deployment(deployment)["reason"]
    assert late.requests == []


def test_2_a_suite_that_became_empty_since_the_pool_was_staged_fails_the_gate(loaded, make_backend):
    stand = loaded()
    late = make_backend(listen=False)
    deployment = stand.admin.stage([late.address])
    stand.suite.clear()
    late.listen()
    assert stand.events.wait_end(deployment)["type"] == "deployment.rejected"
    assert stand.admin.deployment(deployment)["reason"]


def test_2_an_empty_suite_is_refused_when_the_pool_is_staged(loaded, make_app):
    stand = loaded()
    stand.suite.clear()
    fresh = make_app("v2")
    answer = stand.admin.try_stage([fresh.address])
    assert answer.status == 422 and stand.suite.folder in answer.detail
    assert all(record["instances"] != [fresh.address] for record in stand.admin.history())
    assert fresh.log() == []


def test_2_an_instance_that_never_listens_is_named(loaded, make_app, make_backend):
    stand = loaded(service={"ready_timeout": "300ms"})
    good, dead = make_app("v2"), make_backend(listen=False)
    deployment = stand.admin.stage([good.address, dead.address])
    assert stand.events.wait_end(deployment)["type"] == "deployment.rejected"
    assert dead.address in stand.admin.deployment(deployment)["reason"]
    assert good.log() == []


def test_2_an_instance_that_dies_between_two_uptests_fails_the_gate(loaded, make_app, puppets):
    stand = loaded()
    stand.suite.add("02_puppet", puppets.program)
    stand.suite.add("03_asks", f"#!/bin/bash\n{ASKS}\n")
    fresh = make_app("v2")
    deployment = stand.admin.stage([fresh.address])
    call = puppets.next()
    fresh.kill()
    fresh.wait_end()
    call.exit(0)
    assert stand.events.wait_end(deployment)["type"] == "deployment.rejected"
    reason = stand.admin.deployment(deployment)["reason"]
    assert "03_asks" in reason and fresh.address in reason


def test_2_one_failed_cell_among_many_rejects_the_whole_pool(loaded, make_app):
    stand = loaded()
    fresh = make_app("v2", 4)
    stand.suite.shell("02_picky", f'[ "$2" != {fresh[2].port} ]')
    deployment = stand.admin.stage([app.address for app in fresh])
    assert stand.events.wait_end(deployment)["type"] == "deployment.rejected"
    reason = stand.admin.deployment(deployment)["reason"]
    assert "02_picky" in reason and fresh[2].address in reason
    cells = stand.admin.deployment(deployment)["gate"]["cells"]
    assert [c["state"] for c in cells].count("failed") == 1 and len(cells) == 8


@pytest.mark.parametrize("role", ["keeper", "control"])
def test_2_a_killed_daemon_is_no_pass(loaded, make_app, puppets, role):
    stand = loaded()
    stand.suite.add("02_puppet", puppets.program)
    fresh = make_app("v2")
    deployment = stand.admin.stage([fresh.address])
    puppets.next()
    stand.daemon.kill_role(role)
    puppets.next().exit(1)
    wait_until(lambda: stand.state(deployment) == "rejected")
    assert set(line.split()[-1] for line in fresh.log()) == {"uptest"}


def test_1_the_instances_that_were_tested_are_those_that_are_routed_to(loaded, make_app):
    stand = loaded(workers=1)
    fresh = make_app("v2", 3)
    deployment = stand.admin.stage([app.address for app in fresh])
    stand.events.wait_end(deployment)
    for _ in range(9):
        assert stand.ask().get("X-Release") == "v2"
    cells = {cell["instance"] for cell in stand.admin.deployment(deployment)["gate"]["cells"]}
    assert cells == {app.address for app in fresh}
    for app in fresh:
        kinds = [line.split()[-1] for line in app.log()]
        assert kinds[0] == "uptest" and kinds.count("-") == 3


def test_1_held_instances_serve_nobody(loaded, make_app):
    stand = loaded()
    fresh = make_app("v2")
    deployment = stand.admin.stage([fresh.address], hold=True)
    stand.events.wait("deployment.held", deployment=deployment)
    with Load(stand.port, plan=("kept", "fresh")) as load:
        wait_until(lambda: len(load.exchanges) > 100)
    load.assert_flawless()
    assert fresh.log() == ["GET /uptest uptest"]


# ---- 4. A failed deployment leaves the live pool exactly as it was ----


def test_4_a_failed_deployment_leaves_the_live_pool_exactly_as_it_was(loaded, make_app):
    stand = loaded()
    live = stand.admin.live()
    first = stand.apps[0]
    stand.admin.command("drain", instance=first.address)

    def picture():
        pool = stand.admin.pool(live)
        return [(i["address"], i["state"], i["pid"]) for i in pool["instances"]], pool["state"], pool["release"]

    before = picture()
    stand.suite.shell("02_bad", "exit 1")
    with RawClient(stand.port) as client:
        client.ask()
        for _ in range(3):
            deployment = stand.admin.stage([make_app("v2").address])
            assert stand.events.wait_end(deployment)["type"] == "deployment.rejected"
        assert client.ask().get("X-Release") == "v1"
    assert picture() == before
    assert all(app.is_running() for app in stand.apps)


# ---- 5. Never torn down while it is needed, always torn down when it is not ----


def test_5_nobody_is_told_to_stop_an_instance_that_still_answers(loaded, make_app):
    stand = loaded(service={"teardown": {"signal": "KILL"}, "drain": {"requests": "20s"}})
    fresh = make_app("v2", 2)
    deployment = stand.admin.stage(addresses(fresh))
    stand.events.wait_end(deployment)
    clients = [RawClient(stand.port) for _ in range(6)]
    for client in clients:
        client.request(target="/slow?ms=700")
    wait_until(lambda: stand.admin.pool(deployment)["in_flight"] == 6)
    last = stand.admin.stage(addresses(make_app("v3", 2)))
    for client in clients:
        assert client.response().get("X-Release") == "v2"
        client.close()
    for app in fresh:
        assert app.wait_end() == -signal.SIGKILL
    assert stand.events.wait_end(last)["type"] == "deployment.done"


@pytest.mark.skipif(os.getuid() != 0, reason="only root may hold another user's thread")
def test_5_no_instance_is_torn_down_before_every_worker_has_taken_a_turn_after_the_swap(loaded, make_app):
    """A worker that has just chosen the old pool, and has not yet said so, is one that takes no turn."""
    stand = loaded(service={"teardown": {"signal": "KILL"}})
    for worker in processes.workers(stand.daemon.pids["proxy"])[:2]:
        fresh = make_app("v2")
        with processes.StoppedThread(worker):
            deployment = stand.admin.stage([fresh.address])
            stand.events.wait("swap.published", deployment=deployment)
            stays(lambda: stand.state(deployment) == "draining", 0.5, "the drain")
        assert stand.events.wait_end(deployment)["type"] == "deployment.done"


# ---- 6. What was answered with success survives ----


@pytest.mark.parametrize("role", ["keeper", "control", "proxy"])
def test_6_a_swap_that_was_told_is_still_there_after_kill_9(loaded, make_app, role):
    stand = loaded()
    deployment = stand.admin.stage([app.address for app in make_app("v2", 2)], release="v2")
    stand.events.wait("swap.published", deployment=deployment)
    stand.daemon.kill_role(role)
    stand.port = stand.daemon.port
    for _ in range(10):
        assert stand.ask().get("X-Release") == "v2"
    assert stand.admin.live() == deployment


# ---- 7. The admin socket always answers at once ----


def test_7_the_admin_socket_answers_while_a_full_gate_and_a_hook_run(loaded, make_app, puppets):
    stand = loaded(uptests={"parallel": 16})
    for number in range(5):
        stand.suite.add(f"1{number}", f"#!/bin/bash\n{ASKS}\n")
    stand.suite.add("20", puppets.program)
    stand.admin.stage([app.address for app in make_app("v2", 8)])
    slowest = 0
    for _ in range(100):
        began = time.monotonic()
        assert stand.admin.request("GET", "/v1/status").status == 200
        slowest = max(slowest, time.monotonic() - began)
    puppets.let_go()
    assert slowest < 1.0


# ---- 8. Bad input changes nothing: see test_admin, test_config, test_http_framing ----
# ---- 9. One service's deployment never touches another's connections ----


def test_9_a_swap_of_one_service_touches_no_connection_of_another(make_stand, make_backend):
    stand = make_stand(service={"hosts": ["web.test"]})
    other = make_backend("other")
    stand.daemon.config["services"].append({"name": "other", "hosts": ["other.test"], "instances": [other.address]})
    stand.suite.shell("01")
    stand.start()
    held = Held(b"mine")
    other.on("/held", held)
    kept = [RawClient(stand.port) for _ in range(4)]
    for client in kept[1:]:
        assert client.ask(host="other.test").text == "other"
    kept[0].request(target="/held", host="other.test")
    held.wait()
    connections = [c for c in other.connections if not c.ended.is_set()]
    for _ in range(5):
        deployment = stand.admin.stage([make_backend("fresh").address])
        assert stand.events.wait_end(deployment)["type"] == "deployment.done"
    assert not any(connection.ended.is_set() for connection in connections[:1])
    held.release()
    assert kept[0].response().text == "mine"
    for client in kept:
        assert client.ask(host="other.test").text == "other"
        client.close()
    assert processes.is_running(stand.daemon.pids["proxy"])
