"""Teardown: event, hook and signal, at least once for each retired instance, never for a live one."""

import os
import signal

import pytest

from harness import processes
from harness.backend import Held
from harness.client import RawClient, ask
from harness.waiting import stays, wait_until


def hooked(make_stand, puppets, live=2, **teardown):
    """A stand whose teardown hook is a puppet."""
    stand = make_stand(live=live)
    stand.install_hook(puppets.program, **teardown)
    stand.suite.shell("01")
    return stand.start()


def retire(stand, make_backend, **keys):
    """Stages a pool that replaces the live one; its deployment."""
    deployment = stand.admin.stage([make_backend("fresh").address], **keys)
    stand.events.wait("swap.published", deployment=deployment)
    return deployment


def test_the_hook_is_called_for_each_retired_instance_and_told_all(make_stand, make_backend, puppets):
    stand = hooked(make_stand, puppets)
    old = stand.admin.live()
    new = retire(stand, make_backend, release="v2")
    calls = [puppets.next(), puppets.next()]
    assert {call.instance for call in calls} == {backend.address for backend in stand.live}
    for call in calls:
        assert call.environment["TEARDOWN_SERVICE"] == "web"
        assert call.environment.get("TEARDOWN_RELEASE", "") == ""
        assert call.environment["TEARDOWN_DEPLOYMENT"] == old
        assert call.environment["TEARDOWN_BY"] == new
        assert call.environment["TEARDOWN_REASON"] == "replaced"
        assert call.environment["TEARDOWN_DRAINED"] == "clean"
        call.exit(0)
    assert stand.events.wait_end(new)["type"] == "deployment.done"
    third = retire(stand, make_backend)
    call = puppets.next()
    assert call.environment["TEARDOWN_RELEASE"] == "v2" and call.environment["TEARDOWN_DEPLOYMENT"] == new
    call.exit(0)
    stand.events.wait_end(third)
    assert puppets.calls.empty()


def test_the_commands_own_arguments_come_before_host_and_port(make_stand, make_backend, puppets):
    stand = make_stand()
    hook = stand.install_hook(puppets.program)
    stand.daemon.config["services"][0]["teardown"]["command"] = [hook, "--stop", "two words"]
    stand.suite.shell("01")
    stand.start()
    retire(stand, make_backend)
    call = puppets.next()
    assert call.arguments == ["--stop", "two words", "127.0.0.1", str(stand.live[0].port)]
    call.exit(0)


@pytest.fixture
def failing(make_stand, make_backend, puppets):
    """A stand whose live instance was swapped away, and whose first teardown has failed: the next comes in a second."""
    stand = hooked(make_stand, puppets, live=1)
    stand.daemon.config["services"][0]["hosts"] = ["web.test"]
    stand.daemon.write_config()
    assert stand.admin.post("/v1/reload").status == 200
    stand.deployment = retire(stand, make_backend)
    puppets.next().exit(1)
    return stand


def api_of(stand):
    """A service that has the instance."""
    return {**stand.daemon.config["services"][0], "name": "api", "hosts": ["api.test"], "instances": [stand.live[0].address]}


def test_an_address_that_is_being_torn_down_is_refused_to_a_new_service(failing, puppets):
    call = puppets.next()
    failing.daemon.config["services"].append(api_of(failing))
    failing.daemon.write_config()
    answer = failing.admin.post("/v1/reload")
    assert answer.status == 422 and "is being torn down with pool web-0" in answer.detail
    call.exit(0)
    assert failing.events.wait_end(failing.deployment)["type"] == "deployment.done"
    assert failing.admin.post("/v1/reload").status == 200


def test_an_address_that_a_new_service_has_at_the_start_is_not_torn_down_any_more(failing, puppets):
    puppets.next()  # the second attempt is under way
    failing.daemon.crash()
    failing.daemon.config["services"].append(api_of(failing))
    failing.daemon.start()
    failed = failing.daemon.events().wait("teardown.failed")
    assert "another pool's" in failed["reason"] and "signal" not in failed
    assert ask(failing.daemon.port, host="api.test").text == "live-0"
    assert puppets.calls.empty()


def test_an_instance_of_a_service_that_was_renamed_is_torn_down_as_ever(make_stand, make_backend, puppets):
    stand = hooked(make_stand, puppets, live=1)
    stand.daemon.config["services"][0]["name"] = "site"
    stand.daemon.write_config()
    assert stand.admin.post("/v1/reload").status == 200
    deployment = stand.admin.stage([make_backend("fresh").address], service="site")
    call = puppets.next()
    assert call.instance == stand.live[0].address
    call.exit(0)
    assert stand.events.wait_end(deployment)["type"] == "deployment.done"


@pytest.mark.parametrize("spelling", ["[::ffff:127.0.0.1]", "0.0.0.0", "localhost"])
def test_a_live_instance_is_left_alone_however_its_address_is_spelled(make_stand, puppets, spelling):
    stand = hooked(make_stand, puppets, live=1)
    deployment = stand.admin.stage([f"{spelling}:{stand.live[0].port}"])
    assert stand.events.wait_end(deployment)["type"] == "deployment.done"
    assert stand.events.wait("instance.retired")["left_alone"]
    assert puppets.calls.empty() and stand.ask().text == "live-0"


def test_an_instance_is_not_torn_down_before_it_has_drained(make_stand, make_backend, puppets):
    stand = hooked(make_stand, puppets, live=1)
    held = Held()
    stand.live[0].on("/held", held)
    with RawClient(stand.port) as client:
        client.request(target="/held")
        held.wait()
        retire(stand, make_backend)
        stays(lambda: puppets.calls.empty() and not stand.events.of("instance.retired"), 0.5)
        held.release()
        assert client.response().status == 200
    puppets.next().exit(0)


def test_instances_are_torn_down_as_they_drain_not_all_at_the_end(make_stand, make_backend, puppets):
    stand = hooked(make_stand, puppets, live=2)
    held = Held()
    for backend in stand.live:
        backend.on("/held", held)
    with RawClient(stand.port) as client:
        client.request(target="/held")
        held.wait()
        busy = next(b for b in stand.live if b.requests_of("/held"))
        idle = next(b for b in stand.live if b is not busy)
        retire(stand, make_backend)
        call = puppets.next()
        assert call.instance == idle.address
        call.exit(0)
        held.release()
        client.response()
        assert puppets.next().instance == busy.address
    puppets.let_go()


def test_a_forced_drain_is_told_to_the_hook(make_stand, make_backend, puppets):
    stand = make_stand(service={"drain": {"requests": "300ms"}})
    stand.install_hook(puppets.program)
    stand.suite.shell("01")
    stand.start()
    held = Held()
    stand.live[0].on("/held", held)
    with RawClient(stand.port) as client:
        client.request(target="/held")
        held.wait()
        retire(stand, make_backend)
        call = puppets.next()
        assert call.environment["TEARDOWN_DRAINED"] == "forced"
        call.exit(0)
        held.release()


def test_a_rejected_pools_instances_are_torn_down_and_told_why(make_stand, make_backend, puppets):
    stand = hooked(make_stand, puppets)
    stand.suite.shell("02", "exit 1")
    fresh = make_backend()
    deployment = stand.admin.stage([fresh.address], release="v3")
    call = puppets.next()
    assert call.instance == fresh.address
    assert call.environment["TEARDOWN_REASON"] == "rejected"
    assert call.environment["TEARDOWN_DEPLOYMENT"] == deployment
    assert call.environment["TEARDOWN_RELEASE"] == "v3"
    call.exit(0)
    assert stand.events.wait_end(deployment)["type"] == "deployment.rejected"
    assert puppets.calls.empty()


def test_an_aborted_pools_instances_are_torn_down_and_told_why(make_stand, make_backend, puppets):
    stand = hooked(make_stand, puppets)
    deployment = stand.admin.stage([make_backend().address], hold=True)
    stand.events.wait("deployment.held", deployment=deployment)
    stand.admin.command("abort")
    call = puppets.next()
    assert call.environment["TEARDOWN_REASON"] == "aborted"
    call.exit(0)


def test_a_hook_that_fails_is_called_again_with_growing_pauses(make_stand, make_backend, puppets):
    stand = hooked(make_stand, puppets, live=1, attempts=3)
    deployment = retire(stand, make_backend)
    for status in (1, 1, 0):
        call = puppets.next()
        assert call.instance == stand.live[0].address
        call.exit(status)
    stand.events.wait("teardown.finished")
    stand.events.wait_end(deployment)
    assert puppets.calls.empty()
    starts = stand.events.of("teardown.started")
    assert len(starts) in (1, 3)


def test_after_the_last_attempt_the_failure_is_told_and_the_deployment_ends(make_stand, make_backend, puppets):
    stand = hooked(make_stand, puppets, live=1, attempts=2)
    puppets.let_go("echo cannot stop it; exit 1")
    deployment = retire(stand, make_backend)
    failed = stand.events.wait("teardown.failed")
    assert failed["instance"] == stand.live[0].address
    assert stand.events.wait_end(deployment)["type"] == "deployment.done"
    assert len(puppets.all) == 2


def test_a_hook_that_hangs_is_ended_at_its_timeout(make_stand, make_backend, puppets):
    stand = hooked(make_stand, puppets, live=1, attempts=1, timeout="300ms")
    retire(stand, make_backend)
    call = puppets.next()
    call.wait_end()
    stand.events.wait("teardown.failed")
    wait_until(lambda: not processes.is_running(call.pid))


def test_an_address_that_is_being_torn_down_cannot_be_staged(make_stand, make_backend, puppets):
    stand = hooked(make_stand, puppets, live=1)
    deployment = retire(stand, make_backend)
    call = puppets.next()
    answer = stand.admin.try_stage([stand.live[0].address])
    assert answer.status == 422 and stand.live[0].address in answer.detail
    call.exit(0)
    stand.events.wait_end(deployment)
    again = stand.admin.stage([stand.live[0].address])
    stand.events.wait("swap.published", deployment=again)
    puppets.let_go()


def test_an_address_being_torn_down_is_refused_also_beside_a_next_deployment(make_stand, make_backend, puppets):
    stand = hooked(make_stand, puppets, live=1)
    held = Held()
    second = make_backend("second")
    stand.live[0].on("/held", held)
    with RawClient(stand.port) as client:
        client.request(target="/held")
        held.wait()
        first = stand.admin.stage([second.address])
        stand.events.wait("swap.published", deployment=first)
        answer = stand.admin.try_stage([stand.live[0].address])
        assert answer.status == 422 and stand.live[0].address in answer.detail
        held.release()
    puppets.let_go()
    stand.events.wait_end(first)


def test_the_signal_goes_to_exactly_the_process_that_was_staged(make_stand, make_app):
    stand = make_stand(live=0, service={"teardown": {"signal": "TERM"}})
    stand.suite.shell("01")
    stand.start()
    first, second = make_app("v1", 2)
    deployment = stand.admin.stage([{"address": a.address, "pid": a.pid} for a in (first, second)])
    stand.events.wait_end(deployment)
    pool = stand.admin.service()["pools"][0]
    assert [i["pid"] for i in pool["instances"]] == [first.pid, second.pid]
    fresh = make_app("v2")
    deployment = stand.admin.stage([fresh.address])
    assert first.wait_end() == -signal.SIGTERM and second.wait_end() == -signal.SIGTERM
    assert stand.events.wait_end(deployment)["type"] == "deployment.done"
    deployment = stand.admin.stage([make_app("v3").address])
    stand.events.wait_end(deployment)
    assert fresh.is_running(), "an instance staged without a pid got a signal"


def test_a_pid_that_is_not_there_is_refused_when_staged(stand, make_backend):
    answer = stand.admin.try_stage([{"address": make_backend().address, "pid": 4194303}])
    assert answer.status == 422 and "4194303" in answer.detail


def test_the_hook_runs_before_the_instance_gets_its_signal_or_beside_it(make_stand, make_app, puppets):
    stand = make_stand(live=0)
    stand.install_hook(puppets.program, signal="KILL")
    stand.suite.shell("01")
    stand.start()
    app = make_app("v1")
    deployment = stand.admin.stage([{"address": app.address, "pid": app.pid}])
    stand.events.wait_end(deployment)
    deployment = stand.admin.stage([make_app("v2").address])
    puppets.next().exit(0)
    assert app.wait_end() == -signal.SIGKILL
    assert stand.events.wait_end(deployment)["type"] == "deployment.done"


def test_an_instance_without_hook_and_signal_is_retired_by_the_event_alone(stand, make_backend):
    old = stand.admin.live()
    deployment = stand.admin.stage([make_backend("fresh").address])
    retired = stand.events.wait("instance.retired")
    assert retired["instance"] == stand.live[0].address and retired["deployment"] == old
    stand.events.wait_end(deployment)
    assert not stand.events.of("teardown.failed")


def test_a_missing_hook_is_a_failed_teardown_not_a_failed_deployment(make_stand, make_backend, puppets):
    stand = make_stand()
    hook = stand.install_hook(puppets.program, attempts=1)
    stand.suite.shell("01")
    stand.start()
    os.unlink(hook)
    deployment = retire(stand, make_backend)
    stand.events.wait("teardown.failed")
    assert stand.events.wait_end(deployment)["type"] == "deployment.done"


as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root may make a namespace of pids")


def zombies(pid):
    found = []
    for child in processes.children(pid):
        with open(f"/proc/{child}/stat", "rb") as file:
            if file.read().rpartition(b")")[2].split()[0] == b"Z":
                found.append(child)
    return found


@as_root
def test_as_the_first_process_of_a_container_the_daemon_reaps_what_hooks_leave(make_stand, make_backend):
    stand = make_stand()
    stand.suite.shell("01")
    stand.install_hook(f"#!/bin/sh\nsetsid cat {stand.never} >/dev/null 2>&1 &\nexit 0\n")
    stand.daemon.prefix = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    stand.start()
    (keeper,) = processes.children(stand.daemon.process.pid)
    roles = len(processes.children(keeper))
    deployment = retire(stand, make_backend)
    stand.events.wait("deployment.done", deployment=deployment)
    wait_until(lambda: len(processes.children(keeper)) == roles + 1, what="the orphan to come to the keeper")
    os.close(os.open(stand.never, os.O_WRONLY))
    wait_until(lambda: len(processes.children(keeper)) == roles, what="the orphan to be reaped")
    assert zombies(keeper) == []
    os.kill(keeper, signal.SIGTERM)
    assert stand.daemon.wait_end() == 0


@pytest.mark.parametrize("dies", [False, True])
def test_a_deployment_whose_old_pool_was_not_all_torn_down_says_so(make_stand, make_backend, puppets, dies):
    stand = hooked(make_stand, puppets, attempts=1)
    old = stand.admin.live()
    deployment = retire(stand, make_backend)
    puppets.next().exit(1)
    stand.events.wait("teardown.failed", deployment=old)
    last = puppets.next()
    if dies:
        stand.daemon.kill_role("control")
        last = puppets.next()
    last.exit(0)
    reason = stand.events.wait_end(deployment)["reason"]
    assert "1 of 2 teardowns failed" in reason and f"teardown.failed of {old}" in reason
    assert stand.admin.deployment(deployment)["timeline"][-1]["why"] == reason
    refused = stand.admin.command("rollback").detail
    assert "1 of 2 teardowns failed" in refused and "start them again, where they do not run" in refused
    assert "are torn down" not in refused and "are gone" not in refused
    assert f"{old}: the pool is retired, but 1 of 2 teardowns failed" in stand.daemon.stderr()
    assert "torn down; the pool is retired" not in stand.daemon.stderr()
