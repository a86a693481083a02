"""kill -9 of keeper, control and proxy at every state, a power cut in the journal: promises 2, 4, 5 and 6."""

import contextlib
import http.client
import json
import os
import shutil
import signal

import pytest

from harness import processes
from harness.backend import Held
from harness.client import RawClient
from harness.load import Load
from harness.tracing import traced
from harness.waiting import wait_until

ROLES = ["keeper", "control", "proxy"]


@pytest.fixture
def crashing(make_stand, puppets):
    """A stand with two live instances, a puppet for a hook and a puppet for an uptest."""
    stand = make_stand(live=2, service={"drain": {"requests": "20s"}})
    stand.install_hook(puppets.program, attempts=10)
    stand.suite.add("01", puppets.program)
    return stand.start()


def is_hook(call):
    return call.program.endswith("/hook")


def torn_down(puppets):
    """The instances that the hook has been called for."""
    return {call.instance for call in puppets.all if is_hook(call)}


def assert_live_right(stand, *names):
    assert {stand.ask().text for _ in range(6)} == set(names)


def finish(stand, puppets, deployment, expected="done"):
    """Lets everything run to its end; the deployment must get there, and the losers be torn down."""
    puppets.let_go()
    wait_until(lambda: stand.state(deployment) == expected, what=f"{deployment} to be {expected}")
    pools = wait_until(lambda: len(stand.admin.service()["pools"]) == 1 and stand.admin.service()["pools"])
    assert pools[0]["state"] == "live"


@pytest.mark.parametrize("role", ROLES)
def test_kill_9_while_staged_then_the_deployment_is_finished(crashing, puppets, make_backend, role):
    late = make_backend("late", listen=False)
    deployment = crashing.admin.stage([late.address])
    assert crashing.state(deployment) == "staged"
    crashing.daemon.kill_role(role)
    crashing.port = crashing.daemon.port
    assert_live_right(crashing, "live-0", "live-1")
    late.listen()
    finish(crashing, puppets, deployment)
    assert_live_right(crashing, "late")
    assert torn_down(puppets) == {backend.address for backend in crashing.live}


@pytest.mark.parametrize("role", ROLES)
def test_kill_9_while_testing_then_the_uptests_run_again(crashing, puppets, make_backend, role):
    fresh = make_backend("fresh")
    deployment = crashing.admin.stage([fresh.address])
    first = puppets.next()
    crashing.daemon.kill_role(role)
    crashing.port = crashing.daemon.port
    assert_live_right(crashing, "live-0", "live-1")
    assert crashing.state(deployment) == "testing"
    if role == "proxy":
        first.exit(0)  # control did not notice
    else:
        first.wait_end()
        again = puppets.next()
        assert again.instance == fresh.address
        again.exit(0)
    finish(crashing, puppets, deployment)
    assert_live_right(crashing, "fresh")
    assert torn_down(puppets) == {backend.address for backend in crashing.live}


@pytest.mark.parametrize("role", ["keeper", "control"])
def test_a_pass_that_was_not_recorded_is_no_pass(crashing, puppets, make_backend, role):
    crashing.suite.add("02", puppets.program)
    deployment = crashing.admin.stage([make_backend("fresh").address])
    puppets.next().exit(0)
    second = puppets.next()
    assert second.program.endswith("/02")
    crashing.daemon.kill_role(role)
    second.wait_end()
    crashing.port = crashing.daemon.port
    again = puppets.next()
    assert again.program.endswith("/01")
    again.exit(1)
    puppets.next().exit(0)
    finish(crashing, puppets, deployment, "rejected")
    assert_live_right(crashing, "live-0", "live-1")


@pytest.mark.parametrize("role", ROLES)
def test_kill_9_while_held_then_it_is_still_held(crashing, puppets, make_backend, role):
    fresh = make_backend("fresh")
    deployment = crashing.admin.stage([fresh.address], hold=True)
    puppets.next().exit(0)
    crashing.events.wait("deployment.held", deployment=deployment)
    crashing.daemon.kill_role(role)
    crashing.port = crashing.daemon.port
    assert_live_right(crashing, "live-0", "live-1")
    crashing.wait_state(deployment, "held")
    assert fresh.requests == []
    assert crashing.admin.command("promote").status == 200
    finish(crashing, puppets, deployment)
    assert_live_right(crashing, "fresh")
    assert torn_down(puppets) == {backend.address for backend in crashing.live}


@pytest.mark.parametrize("role", ROLES)
def test_kill_9_while_draining_then_the_drain_ends_and_all_are_torn_down(crashing, puppets, make_backend, role):
    held = Held()
    for backend in crashing.live:
        backend.on("/held", held)
    deployment = crashing.admin.stage([make_backend("fresh").address])
    with RawClient(crashing.port) as client:
        client.request(target="/held")
        held.wait()
        puppets.next().exit(0)
        crashing.events.wait("drain.started")
        crashing.daemon.kill_role(role)
        crashing.port = crashing.daemon.port
        assert_live_right(crashing, "fresh")
        busy = next(b for b in crashing.live if b.requests_of("/held"))
        if role == "control":
            assert busy.address not in torn_down(puppets)
            held.release()
            assert client.response().status == 200
        else:
            rest = client.to_end_or_reset()  # a proxy that has lost its keeper may find the time to say so
            assert rest == b"" or b"X-Upswap: shutting-down\r\n" in rest
            held.release()
    finish(crashing, puppets, deployment)
    assert torn_down(puppets) == {backend.address for backend in crashing.live}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("nth", [0, 1])
def test_kill_9_at_each_teardown_then_every_retired_instance_is_torn_down(
    crashing, puppets, make_backend, role, nth
):
    deployment = crashing.admin.stage([make_backend("fresh").address])
    puppets.next().exit(0)
    calls = [puppets.next(), puppets.next()]
    assert all(is_hook(call) for call in calls)
    if nth == 1:
        calls[0].exit(0)
        crashing.events.wait("teardown.finished", instance=calls[0].instance)
    crashing.daemon.kill_role(role)
    crashing.port = crashing.daemon.port
    assert_live_right(crashing, "fresh")
    if role == "proxy":
        for call in calls[nth:]:
            call.exit(0)
    else:
        again = [puppets.next() for _ in calls[nth:]]
        assert {call.instance for call in again} == {call.instance for call in calls[nth:]}
        for call in again:
            call.exit(0)
    finish(crashing, puppets, deployment)
    assert torn_down(puppets) == {backend.address for backend in crashing.live}


@pytest.mark.parametrize("role", ROLES)
def test_kill_9_while_a_rejected_pool_is_torn_down(crashing, puppets, make_backend, role):
    fresh = make_backend("fresh")
    deployment = crashing.admin.stage([fresh.address])
    puppets.next().exit(1)
    call = puppets.next()
    assert is_hook(call) and call.instance == fresh.address
    crashing.daemon.kill_role(role)
    crashing.port = crashing.daemon.port
    assert_live_right(crashing, "live-0", "live-1")
    if role == "proxy":
        call.exit(0)
    else:
        again = puppets.next()
        assert again.instance == fresh.address and again.environment["TEARDOWN_REASON"] == "rejected"
        again.exit(0)
    finish(crashing, puppets, deployment, "rejected")


MOMENTS = {
    "passes": [
        "deployment.staged",
        "deployment.ready",
        "uptest.started",
        "uptest.finished",
        "gate.passed",
        "swap.published",
        "drain.started",
        "drain.finished",
        "instance.retired",
        "teardown.started",
        "teardown.finished",
        "deployment.done",
    ],
    "fails": ["uptest.finished", "gate.failed", "deployment.rejected", "instance.retired", "teardown.started"],
}
CASES = [(gate, event, role) for gate, events in MOMENTS.items() for event in events for role in ROLES]


@pytest.mark.parametrize("gate, event, role", CASES, ids=["-".join(case) for case in CASES])
def test_kill_9_at_the_moment_of_this_event_and_all_ends_as_it_must(make_stand, make_backend, gate, event, role):
    stand = make_stand(live=2)
    calls = stand.daemon.path("hook-calls")
    stand.install_hook(f'#!/bin/sh\necho "$1:$2" >> {calls}\n', attempts=10)
    stand.suite.shell("01", "exit 0")
    stand.suite.shell("02", "exit 0" if gate == "passes" else "exit 1")
    stand.start()
    victim = stand.daemon.pids[role]
    stand.events.on(event, lambda _: processes.is_running(victim) and os.kill(victim, 9))
    fresh = make_backend("fresh")
    with contextlib.suppress(OSError, http.client.HTTPException):  # the event may be quicker than the answer
        stand.admin.stage([fresh.address])
    processes.wait_gone(victim)
    if role == "keeper":
        stand.daemon.crash()
        stand.daemon.start()
    wait_until(stand.daemon.is_serving)
    deployment = stand.events.wait("deployment.staged")["deployment"]
    end = "done" if gate == "passes" else "rejected"
    wait_until(lambda: stand.state(deployment) == end, what=f"{deployment} to be {end}")
    wait_until(lambda: len(stand.admin.service()["pools"]) == 1, what="the losers to be retired")
    stand.port = stand.daemon.port
    names, losers = (["fresh"], stand.live) if gate == "passes" else (["live-0", "live-1"], [fresh])
    assert_live_right(stand, *names)
    with open(calls, encoding="ascii") as file:
        assert set(file.read().split()) == {loser.address for loser in losers}


def test_traffic_does_not_notice_that_control_dies(make_stand, make_app):
    apps = make_app("v1", 2)
    stand = make_stand(live=0)
    stand.daemon.config["services"][0]["instances"] = [app.address for app in apps]
    stand.suite.shell("01")
    stand.start()
    with Load(stand.port) as load:
        for _ in range(3):
            stand.daemon.kill_role("control")
            before = len(load.exchanges)
            wait_until(lambda: len(load.exchanges) > before + 50)
    load.assert_flawless()


def test_the_client_follows_a_deployment_across_a_restart_of_control(crashing, puppets, make_backend):
    client = crashing.daemon.spawn_upswap("stage", "web", make_backend("fresh").address)
    puppets.next()
    crashing.daemon.kill_role("control")
    puppets.let_go()
    out, err = client.communicate(timeout=20)
    assert processes.finish(client) == 0, (out, err)
    assert_live_right(crashing, "fresh")


def test_the_backlog_survives_a_dead_proxy(make_stand):
    stand = make_stand(workers=1)
    stand.suite.shell("01")
    stand.start()
    os.kill(stand.daemon.pids["proxy"], 9)
    with RawClient(stand.port) as client:  # accepted by the kernel, served by the next proxy
        assert client.ask().text == "live-0"
    assert stand.events.wait("daemon.proxy_restarted")


def test_the_proxy_stays_the_same_when_control_is_replaced(stand):
    before = stand.daemon.pids
    stand.daemon.kill_role("control")
    after = stand.daemon.pids
    assert after["proxy"] == before["proxy"] and after["keeper"] == before["keeper"]
    assert after["control"] != before["control"]


def test_the_ports_stay_the_same_when_proxy_or_control_are_replaced(stand):
    before = stand.daemon.ports()
    for role in ("proxy", "control", "proxy"):
        stand.daemon.kill_role(role)
        assert stand.daemon.ports() == before


def test_a_drained_instance_is_still_drained_after_a_restart(make_stand):
    stand = make_stand(live=2)
    stand.suite.shell("01")
    stand.start()
    stand.admin.command("drain", instance=stand.live[0].address)
    for role in ROLES:
        stand.daemon.kill_role(role)
        stand.port = stand.daemon.port
        assert_live_right(stand, "live-1")


def test_a_deployed_pool_stays_live_over_restarts_and_the_configs_instances_are_not_taken_again(
    stand, make_backend
):
    deployment = stand.admin.stage([make_backend("fresh").address], release="v2")
    stand.events.wait_end(deployment)
    record = stand.admin.deployment(deployment)
    last = stand.events.last
    assert stand.daemon.stop() == 0
    stand.daemon.start()
    assert stand.admin.live() == deployment
    assert stand.admin.service()["pools"][0]["release"] == "v2"
    assert_live_right_on(stand, "fresh")
    assert stand.admin.deployment(deployment) == record
    events = stand.daemon.events()
    assert events.wait("daemon.started", count=2)["seq"] > last


def assert_live_right_on(stand, *names):
    stand.port = stand.daemon.port
    assert_live_right(stand, *names)


def test_deployment_numbers_are_never_used_again(stand, make_backend):
    first = stand.admin.stage([make_backend().address])
    stand.events.wait_end(first)
    stand.daemon.crash()
    stand.daemon.start()
    stand.events = stand.daemon.events()
    second = stand.admin.stage([make_backend().address])
    assert int(second.rpartition("-")[2]) > int(first.rpartition("-")[2])


def journal_of(stand):
    folder = stand.daemon.config["state_directory"]
    (name,) = [n for n in os.listdir(folder) if "journal" in n]
    return os.path.join(folder, name)


def away(folder):
    """Moves it away, as a volume that is unmounted; returns what brings it back."""
    os.rename(folder, f"{folder}.away")
    return lambda: os.rename(f"{folder}.away", folder)


def emptied(folder):
    """As a cleaner of old files does."""
    os.rename(os.path.join(folder, "journal"), f"{folder}.journal")
    return lambda: os.rename(f"{folder}.journal", os.path.join(folder, "journal"))


def copied(folder):
    """An older folder in its place, as below a volume that is unmounted."""
    back = away(folder)
    shutil.copytree(f"{folder}.away", folder)

    def put_back():
        shutil.rmtree(folder)
        back()

    return put_back


@pytest.fixture
def deployed(make_stand, make_backend):
    """A stand that serves other instances than the file names."""
    stand = make_stand(live=1)
    stand.suite.shell("01")
    stand.start()
    stand.deployment = stand.admin.stage([make_backend("fresh").address])
    stand.events.wait_end(stand.deployment)
    return stand


@pytest.mark.parametrize("lose", [away, emptied, copied])
def test_a_control_that_finds_another_state_folder_or_none_does_not_begin_anew(deployed, lose):
    daemon, folder = deployed.daemon, deployed.daemon.config["state_directory"]
    put_back = lose(folder)
    os.kill(daemon.pids["control"], signal.SIGKILL)
    wait_until(lambda: "put state_directory back, or restart" in daemon.stderr(), what="control to refuse")
    assert_live_right(deployed, "fresh")
    put_back()
    wait_until(daemon.is_serving, what="control to go on")
    assert deployed.admin.live() == deployed.deployment
    assert_live_right(deployed, "fresh")


def test_a_daemon_that_is_restarted_begins_anew_where_its_state_folder_is_gone(deployed):
    shutil.rmtree(deployed.daemon.config["state_directory"])
    deployed.daemon.crash()
    deployed.daemon.start()
    assert_live_right_on(deployed, "live-0")


@pytest.mark.parametrize("lose", [away, emptied])
def test_an_upgrade_without_the_state_folder_is_refused(deployed, lose):
    daemon = deployed.daemon
    before = daemon.pids
    put_back = lose(daemon.config["state_directory"])
    refused = daemon.upswap("upgrade")
    assert refused.returncode == 1 and "journal cannot be opened" in refused.stderr, refused
    assert "put state_directory back" in refused.stderr
    assert daemon.pids == before
    put_back()
    assert daemon.upswap("upgrade").returncode == 0
    assert_live_right(deployed, "fresh")


def flip(path, at=30):
    """Damages the first record, as a bad sector does; undone by another flip."""
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


def test_who_gives_up_what_is_damaged_of_the_journal_is_told_before_what_is_live_then(deployed):
    daemon, path = deployed.daemon, journal_of(deployed)
    flip(path)
    os.kill(daemon.pids["control"], signal.SIGKILL)
    wait_until(lambda: "live is then nothing but the instances that the config names" in daemon.stderr())
    assert "a proxy that runs serves as before until control starts" in daemon.stderr()
    assert_live_right(deployed, "fresh")
    os.truncate(path, 0)
    wait_until(daemon.is_serving, what="control to go on")
    wait_until(lambda: deployed.ask().text == "live-0")
    assert "its journal has lost what was behind record 0: live is what it says up to there" in daemon.stderr()
    assert "traffic did not notice" not in daemon.stderr()


def test_a_control_that_is_started_again_with_all_that_was_decided_says_so(deployed):
    for times in (1, 2):
        os.kill(deployed.daemon.pids["control"], signal.SIGKILL)
        wait_until(lambda: deployed.daemon.stderr().count("started again; traffic did not notice") == times)
    assert_live_right(deployed, "fresh")


def test_an_upgrade_with_a_damaged_journal_is_refused_and_control_works_on(deployed):
    daemon, path = deployed.daemon, journal_of(deployed)
    before = daemon.pids
    flip(path)
    refused = daemon.upswap("upgrade")
    assert refused.returncode == 1 and "record 1 at byte 0 is damaged" in refused.stderr, refused
    assert "stop the daemon, put the file back from a copy" in refused.stderr
    assert daemon.pids == before and deployed.admin.live() == deployed.deployment
    flip(path)
    assert daemon.upswap("upgrade").returncode == 0
    assert_live_right(deployed, "fresh")


def test_a_fifo_in_the_place_of_the_journal_ends_the_start_with_a_word(stand):
    path = journal_of(stand)
    stand.daemon.crash()
    os.rename(path, f"{path}.away")
    os.mkfifo(path)
    stand.daemon.spawn()
    assert stand.daemon.wait_end() == 1
    assert "journal is not a regular file; move it away" in stand.daemon.stderr()


@pytest.mark.parametrize("lose", [os.unlink, lambda path: os.rename(path, f"{path}.old")])
def test_a_journal_that_was_taken_away_is_written_anew_with_the_next_record(deployed, lose, make_backend):
    daemon = deployed.daemon
    journal = os.path.join(daemon.config["state_directory"], "journal")
    for number in range(2):
        lose(journal)
        assert deployed.admin.post("/v1/reload").status == 200
        assert os.path.exists(journal)
        deployed.events.wait_end(deployed.admin.stage([make_backend(f"next-{number}").address]))
        live = deployed.admin.live()
        daemon.kill_role("control")
        assert deployed.admin.live() == live
    assert daemon.stderr().count("it is written anew, with all that is decided") == 2
    assert daemon.stderr().count("started again; traffic did not notice") == 2
    daemon.crash()
    daemon.start()
    assert deployed.admin.live() == live
    assert_live_right_on(deployed, "next-1")


@pytest.mark.parametrize("lose", [away, copied])
def test_while_the_journal_cannot_be_written_anew_nothing_is_decided(deployed, lose):
    daemon = deployed.daemon
    put_back = lose(daemon.config["state_directory"])
    for _ in range(2):
        refused = deployed.admin.post("/v1/reload")
        assert refused.status == 507 and "put state_directory back" in refused.detail, refused
    assert deployed.admin.command("pause", max="10s").status == 507
    assert daemon.stderr().count("until then nothing is decided") == 1
    assert_live_right(deployed, "fresh")
    put_back()
    assert deployed.admin.post("/v1/reload").status == 200
    daemon.kill_role("control")
    assert deployed.admin.live() == deployed.deployment
    assert_live_right(deployed, "fresh")


def test_a_torn_last_record_is_dropped(stand, make_backend):
    deployment = stand.admin.stage([make_backend("fresh").address])
    stand.events.wait_end(deployment)
    stand.daemon.crash()
    path = journal_of(stand)
    for cut in (1, 2, 10):
        with open(path, "rb") as file:
            last = file.read().splitlines(keepends=True)[-1]
        with open(path, "ab") as file:
            file.write(last[: len(last) - cut])
        stand.daemon.start()
        assert stand.admin.live() == deployment
        stand.daemon.crash()


def test_at_every_length_the_journal_gives_a_defined_live_pool(stand, make_backend):
    names = {}
    for number in range(2):
        fresh = make_backend(f"fresh-{number}")
        names[stand.admin.stage([fresh.address])] = f"fresh-{number}"
        stand.events.wait_end(list(names)[-1])
    stand.daemon.crash()
    path = journal_of(stand)
    with open(path, "rb") as file:
        records = file.read().splitlines(keepends=True)
    saved = stand.daemon.path("saved")
    shutil.copytree(stand.daemon.config["state_directory"], saved)
    for count in range(len(records), 0, -1):
        with open(path, "wb") as file:
            file.writelines(records[:count])
        stand.daemon.start()
        wait_until(lambda: all(r["state"] == "done" for r in stand.admin.history()), what="all to be done again")
        assert_live_right_on(stand, names.get(stand.admin.live(), "live-0"))
        stand.daemon.crash()


@pytest.mark.parametrize("place", ["first", "middle"])
@pytest.mark.parametrize("damage", ["flipped", "lost", "doubled", "swapped"])
def test_any_other_damage_refuses_to_start_and_names_the_record(stand, make_backend, place, damage):
    deployment = stand.admin.stage([make_backend("fresh").address])
    stand.events.wait_end(deployment)
    stand.daemon.crash()
    path = journal_of(stand)
    with open(path, "rb") as file:
        records = file.read().splitlines(keepends=True)
    at = 0 if place == "first" else len(records) // 2
    if damage == "flipped":
        record = bytearray(records[at])
        record[len(record) // 2] ^= 1
        records[at] = bytes(record)
    elif damage == "lost":
        del records[at]
    elif damage == "doubled":
        records.insert(at, records[at])
    else:
        records[at], records[at + 1] = records[at + 1], records[at]
    with open(path, "wb") as file:
        file.writelines(records)
    before = stand.daemon.stderr()
    stand.daemon.spawn()
    assert processes.finish(stand.daemon.process) == 1
    stand.daemon.process = None
    said = stand.daemon.stderr()[len(before) :]
    assert path in said and any(char.isdigit() for char in said.partition(path)[2]), said
    processes.assert_none_left()
    with open(path, "rb") as file:
        assert file.read() == b"".join(records), "the damaged journal was touched"


def test_what_was_answered_with_success_survives_an_immediate_kill(stand, make_backend):
    for _ in range(5):
        deployment = stand.admin.stage([make_backend().address], hold=True)
        os.kill(stand.daemon.process.pid, 9)
        stand.daemon.crash()
        stand.daemon.start()
        stand.events = stand.daemon.events()
        assert stand.state(deployment) in ("staged", "testing", "held")
        assert stand.admin.command("abort").status == 200
        stand.daemon.kill_role("control")
        wait_until(lambda: stand.state(deployment) == "aborted")


def test_killing_control_again_and_again_during_deployments_ends_them_all(make_stand, make_backend, puppets):
    stand = make_stand(live=2)
    stand.install_hook(puppets.program, attempts=10)
    stand.suite.shell("01")
    stand.start()
    puppets.let_go()
    retired = set()
    for number in range(3):
        live = {i["address"] for i in stand.admin.service()["pools"][0]["instances"]}
        deployment = stand.admin.stage([make_backend(f"fresh-{number}").address])
        for _ in range(2):
            stand.daemon.kill_role("control")
        wait_until(lambda: stand.state(deployment) == "done")
        retired |= live
        assert_live_right(stand, f"fresh-{number}")
        wait_until(lambda: retired <= torn_down(puppets))


@pytest.mark.parametrize("control_dies", [False, True])
def test_where_there_are_control_groups_an_uptest_that_has_fled_does_not_outlive_its_dead_warden(make_stand, control_dies):
    stand = make_stand(live=1)
    fled = stand.daemon.path("fled")
    stand.suite.shell("01", f'setsid sh -c \'echo $$ > "{fled}.part"; mv "{fled}.part" "{fled}"; exec sleep 600\' & sleep 600')
    stand.start()
    if "in a control group of its own" not in stand.daemon.stderr():
        pytest.skip("no control groups here")
    deployment = stand.admin.stage([stand.live[0].address])
    wait_until(lambda: os.path.exists(fled), what="the flight")
    with open(fled, encoding="ascii") as file:
        pid = int(file.read())
    control = stand.daemon.pids["control"]
    warden = next(each for each in processes.wardens(control) if pid in processes.descendants(each))
    if control_dies:
        processes.stop(control)  # else it would see to it
    os.kill(warden, signal.SIGKILL)
    if control_dies:
        os.kill(control, signal.SIGKILL)
        stand.daemon.wait_new("control", control)
    processes.wait_gone(pid)
    if not control_dies:
        wait_until(lambda: stand.state(deployment) == "rejected", what=f"{deployment} to be rejected")


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


@pytest.mark.parametrize(
    ("call", "seconds", "options"),
    [
        pytest.param("prctl:when=2", 1, [], id="behind its exec, before its warden knows"),
        pytest.param("execve", 60, ["-f"], id="held before its exec"),
    ],
)
def test_a_program_that_is_started_when_keeper_and_control_die_does_not_outlive_them(make_stand, call, seconds, options):
    stand = make_stand(live=1)
    stand.suite.shell("01")
    stand.start()
    if "in a control group of its own" not in stand.daemon.stderr():
        pytest.skip("no control groups here, so no warden is held by its program")
    first = stand.admin.stage([stand.live[0].address])
    wait_until(lambda: stand.state(first) == "done", what=f"{first} to be done")
    control = stand.daemon.pids["control"]
    (warden,) = processes.wardens(control)
    calls, started = stand.daemon.path("calls"), stand.daemon.path("started")
    stand.suite.shell("01", f'setsid sleep 600 & : > "{started}"; sleep 600')
    inject = f"inject={call}:delay_enter={int(seconds * 1e6)}"
    with traced(warden, calls, "trace=prctl,execve", "-e", inject, *options):
        stand.admin.stage([stand.live[0].address])
        wait_until(lambda: os.path.exists(started) or "execve" in read(calls), what="the program")
        processes.stop(stand.daemon.process.pid)
        os.kill(control, signal.SIGKILL)
        stand.daemon.process.kill()  # control would end in order, had it the time for that
        processes.wait_gone(warden)
    stand.daemon.crash()


@contextlib.contextmanager
def standing_still(pid):
    """The process does nothing in the block."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def kill_before_publication(stand, move, deployment, state):
    """Kills control when the record of a move of the clients is on disk, and the proxy has not published it."""
    control = stand.daemon.pids["control"]
    with standing_still(stand.daemon.pids["proxy"]):
        move()
        wait_until(lambda: stand.state(deployment) == state, what=f"{deployment} to be {state}")
        os.kill(control, signal.SIGKILL)
        processes.wait_gone(control)
    stand.daemon.wait_new("control", control)


def types_of(stand, types, **of):
    """Types of the events, in their order, as a client gets them that asks now."""
    events = [json.loads(line) for line in stand.daemon.upswap("events").stdout.splitlines()]
    return [e["type"] for e in events if e["type"] in types and all(e.get(k) == v for k, v in of.items())]


CHANGE = ("swap.published", "drain.started", "drain.finished")


@pytest.mark.parametrize("watch, state", [("0s", "draining"), ("1s", "watching")])
def test_a_swap_that_was_recorded_but_not_told_is_told_once_by_the_next_control(make_stand, make_backend, watch, state):
    stand = make_stand()
    stand.suite.shell("01")
    stand.start()
    old, fresh = stand.admin.live(), make_backend("fresh")
    deployment = "web-1"
    kill_before_publication(stand, lambda: stand.admin.stage([fresh.address], watch=watch), deployment, state)
    stand.events.wait_end(deployment)
    assert types_of(stand, CHANGE, deployment=deployment) == ["swap.published"]
    assert types_of(stand, CHANGE, deployment=old) == ["drain.started", "drain.finished"]
    swap = stand.events.of("swap.published")[0]
    assert (swap["live"], swap["replaces"]) == (deployment, old) and swap["nanoseconds"] > 0
    assert stand.admin.metrics()["upswap_swap_seconds_count", frozenset({("service", "web")})] == 1
    stand.daemon.kill_role("control")
    assert types_of(stand, CHANGE) == ["swap.published", "drain.started", "drain.finished"]


def test_a_rollback_that_was_recorded_but_not_told_is_told_by_the_next_control(make_stand, make_backend):
    stand = make_stand()
    stand.suite.shell("01")
    stand.start()
    old = stand.admin.live()
    deployment = stand.admin.stage([make_backend("fresh").address], watch="1h")
    stand.events.wait("swap.published", deployment=deployment)
    clients = []
    kill_before_publication(
        stand, lambda: clients.append(stand.daemon.spawn_upswap("rollback", "web")), deployment, "rolled_back"
    )
    clients[0].communicate(timeout=20)
    stand.events.wait("drain.finished", deployment=deployment)
    assert types_of(stand, CHANGE, deployment=deployment) == [*CHANGE[:1], *CHANGE]
    assert stand.events.of("swap.published")[-1]["live"] == old


def lose_events(stand, type_, deployment):
    """The event log as a control leaves it that dies when it would write this event of the deployment."""
    path = os.path.join(stand.daemon.config["state_directory"], "events.jsonl")
    with open(path, "rb+") as file:
        lines = file.readlines()
        events = [json.loads(line) for line in lines]
        lost = next(i for i, e in enumerate(events) if (e["type"], e.get("deployment")) == (type_, deployment))
        file.truncate(sum(len(line) for line in lines[:lost]))


ENDS = ("gate.failed", "deployment.rejected", "deployment.done", "deployment.aborted")


@pytest.mark.parametrize("exit_status, end", [(1, ENDS[:2]), (0, ENDS[2:3])])
def test_an_end_that_was_recorded_but_not_told_is_told_once_by_the_next_control(
    make_stand, make_backend, exit_status, end
):
    stand = make_stand()
    stand.suite.shell("01", f"exit {exit_status}")
    stand.start()
    deployment = stand.admin.stage([make_backend("fresh").address])
    reason = stand.events.wait(end[-1], deployment=deployment)["reason"]
    wait_until(lambda: len(stand.admin.service()["pools"]) == 1, what="the other pool to be gone")
    stand.daemon.crash()
    lose_events(stand, end[0], deployment)
    stand.daemon.start()
    assert types_of(stand, ENDS, deployment=deployment) == [*end]
    told = [json.loads(line) for line in stand.daemon.upswap("events").stdout.splitlines()]
    assert {e["reason"] for e in told if e["type"] in end} == {reason}
    labels = frozenset({("service", "web"), ("result", end[-1].split(".")[1])})
    assert stand.admin.metrics()["upswap_deployments_total", labels] == 1
    stand.daemon.kill_role("control")
    assert types_of(stand, ENDS, deployment=deployment) == [*end]
