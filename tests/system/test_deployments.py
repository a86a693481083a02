"""Deployments from the outside: staged, tested, held, promoted, swapped, drained, and what is told of them."""

import json
import os
import re
import threading

import pytest

from harness import processes
from harness.backend import Held
from harness.certificates import Authority
from harness.client import RawClient
from harness.waiting import stays, wait_until


def test_a_pool_that_passes_becomes_live_and_the_old_one_is_retired(stand, make_backend):
    old = stand.admin.live()
    fresh = [make_backend("fresh-a"), make_backend("fresh-b")]
    deployment = stand.admin.stage([b.address for b in fresh], release="v2")
    assert re.fullmatch(r"web-[0-9]+", deployment) and deployment != old
    assert stand.events.wait_end(deployment)["type"] == "deployment.done"
    assert {stand.ask().text for _ in range(6)} == {"fresh-a", "fresh-b"}
    service = stand.admin.service()
    assert service["live"] == deployment and service["deployment"] is None and service["state"] == "serving"
    (pool,) = service["pools"]
    assert pool["state"] == "live" and pool["release"] == "v2"
    assert [(i["address"], i["state"]) for i in pool["instances"]] == [(b.address, "up") for b in fresh]


def test_the_events_of_a_deployment_come_in_their_order(stand, make_backend):
    old = stand.admin.live()
    fresh = make_backend("fresh")
    deployment = stand.admin.stage([fresh.address])
    stand.events.wait_end(deployment)
    types = [e["type"] for e in stand.events.all if e.get("deployment") in (old, deployment)]
    assert types == [
        "deployment.staged",
        "deployment.ready",
        "uptest.started",
        "uptest.finished",
        "gate.passed",
        "swap.published",
        "drain.started",
        "drain.finished",
        "instance.retired",
        "teardown.finished",
        "deployment.done",
    ]
    numbers = [e["seq"] for e in stand.events.all]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    swap = stand.events.of("swap.published", deployment=deployment)[0]
    assert 0 < swap["written_nanoseconds"] < swap["nanoseconds"] < 10**9


def test_the_record_of_a_deployment_tells_its_whole_story(stand, make_backend):
    old = stand.admin.live()
    fresh = make_backend("fresh")
    deployment = stand.admin.stage([fresh.address], release="v2")
    stand.events.wait_end(deployment)
    record = stand.admin.deployment(deployment)
    assert record["deployment"] == deployment and record["service"] == "web" and record["release"] == "v2"
    assert record["state"] == "done" and record["replaces"] == old and record["instances"] == [fresh.address]
    assert record["gate"]["passed"] is True and len(record["gate"]["cells"]) == 1
    assert record["asked_by"]["uid"] == os.getuid() and record["asked_by"]["pid"] == os.getpid()
    assert record["asked_by"]["user"]
    for key in ("created", "ended"):
        assert re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(\.[0-9]+)?Z", record[key])
    states = [entry["state"] for entry in record["timeline"]]
    assert list(dict.fromkeys(states)) == ["staged", "testing", "draining", "done"]
    assert all(entry["why"] for entry in record["timeline"])


def test_history_is_newest_first_and_can_be_cut_short(stand, make_backend):
    names = []
    for _ in range(3):
        names.append(stand.admin.stage([make_backend().address]))
        stand.events.wait_end(names[-1])
    listed = [record["deployment"] for record in stand.admin.history()]
    assert listed[:3] == names[::-1]
    answer = stand.admin.get("/v1/services/web/deployments?limit=2")
    assert [record["deployment"] for record in answer["deployments"]] == names[:0:-1]
    assert all("gate" not in record and "timeline" not in record for record in answer["deployments"])


def test_a_pool_waits_until_every_instance_accepts(stand, make_backend):
    listening, late = make_backend("early"), make_backend("late", listen=False)
    deployment = stand.admin.stage([listening.address, late.address])
    stays(lambda: stand.state(deployment) == "staged", 0.3)
    assert not stand.events.of("uptest.started")
    late.listen()
    assert stand.events.wait_end(deployment)["type"] == "deployment.done"


def test_an_instance_that_never_accepts_rejects_the_pool_and_is_named(make_stand, make_backend):
    stand = make_stand(service={"ready_timeout": "300ms"})
    stand.suite.shell("01")
    stand.start()
    dead = make_backend(listen=False)
    deployment = stand.admin.stage([make_backend().address, dead.address])
    assert stand.events.wait_end(deployment)["type"] == "deployment.rejected"
    record = stand.admin.deployment(deployment)
    assert record["state"] == "rejected" and dead.address in record["reason"]
    assert stand.ask().text == "live-0"


@pytest.mark.parametrize(
    "instances, word",
    [(["no-such-host.invalid:80"], "no-such-host.invalid"), (["127.0.0.1:9", "localhost:9"], "localhost:9")],
)
def test_names_that_resolve_to_nothing_or_to_one_another_cannot_be_staged(stand, instances, word):
    answer = stand.admin.try_stage(instances)
    assert answer.status == 422 and word in answer.detail
    assert stand.admin.history() == []


def test_a_held_deployment_waits_for_promote(stand, make_backend):
    old = stand.admin.live()
    fresh = make_backend("fresh")
    deployment = stand.admin.stage([fresh.address], hold=True)
    stand.events.wait("deployment.held", deployment=deployment)
    assert stand.state(deployment) == "held" and stand.admin.live() == old
    assert stand.ask().text == "live-0" and fresh.requests == []
    assert stand.admin.pool(deployment)["state"] == "staged"
    assert stand.admin.command("promote").status == 200
    assert stand.events.wait_end(deployment)["type"] == "deployment.done"
    assert stand.events.of("deployment.promoted", deployment=deployment)
    assert stand.ask().text == "fresh"


@pytest.mark.parametrize("verb", ["promote", "abort", "rollback"])
def test_a_decision_about_another_deployment_than_the_one_that_runs_changes_nothing(stand, make_backend, verb):
    meant = stand.admin.stage([make_backend().address], hold=True)
    stand.events.wait("deployment.held", deployment=meant)
    assert stand.admin.command("abort", deployment=meant).status == 200
    answer = stand.admin.command(verb, deployment=meant)
    assert answer.status == 409 and f'no deployment of service "web" runs, and so not "{meant}"' in answer.detail
    other = stand.admin.stage([make_backend().address], hold=True)
    stand.events.wait("deployment.held", deployment=other)
    for name in (meant, "", "x" * 1000):
        answer = stand.admin.command(verb, deployment=name)
        assert answer.status == 409 and f'is not "{name[:64]}" but {other}, which is held' in answer.detail
    result = stand.daemon.upswap(verb, "web", "--deployment", meant)
    assert result.returncode == 1 and f"but {other}, which is held; nothing was changed" in result.stderr
    assert stand.state(other) == "held"
    assert stand.admin.command("promote", deployment=other).status == 200
    assert stand.events.wait_end(other)["type"] == "deployment.done"


def test_a_promotion_that_is_repeated_takes_no_further_step_where_it_says_from_what(stand, make_backend):
    deployment = stand.admin.stage([make_backend().address], hold=True, canary=[5, 12.5], step="60s", watch="60s")
    stand.events.wait("deployment.held", deployment=deployment)

    def promote_twice(state, then):
        answer = stand.admin.command("promote", **{"from": state, "deployment": deployment})
        assert answer.status == 200, answer
        wait_until(lambda: stand.admin.deployment(deployment)["phase"] == then.split(":")[0], what=then)
        answer = stand.admin.command("promote", **{"from": state})
        detail = f'deployment {deployment} is "{then}", and not "{state}" as was meant; nothing was changed'
        assert (answer.status, answer.detail) == (409, detail)

    assert stand.admin.command("promote", **{"from": "watching"}).status == 409
    promote_twice("held", "canary:5")
    promote_twice("canary:5", "canary:12.5")
    promote_twice("canary:12.5", "watching")
    assert stand.admin.command("promote", **{"from": "canary"}).status == 409
    assert stand.admin.command("rollback", deployment=deployment).status == 200


def test_a_hold_timeout_that_a_reload_shortens_holds_for_what_is_held_already(make_stand, make_backend):
    stand = make_stand(service={"hold_timeout": "1h"})
    stand.suite.shell("01")
    stand.start()
    deployment = stand.admin.stage([make_backend("fresh").address], hold=True)
    stand.events.wait("deployment.held", deployment=deployment)
    stand.daemon.config["services"][0]["hold_timeout"] = "10ms"
    stand.daemon.write_config()
    assert stand.admin.post("/v1/reload").status == 200
    ended = stand.events.wait_end(deployment)
    assert ended["type"] == "deployment.aborted" and "hold_timeout" in ended["reason"]


def test_a_held_deployment_is_given_up_after_hold_timeout(make_stand, make_backend):
    stand = make_stand(service={"hold_timeout": "300ms"})
    stand.suite.shell("01")
    stand.start()
    deployment = stand.admin.stage([make_backend().address], hold=True)
    stand.events.wait("deployment.held", deployment=deployment)
    assert stand.events.wait_end(deployment)["type"] in ("deployment.aborted", "deployment.rejected")
    assert "hold" in stand.admin.deployment(deployment)["reason"]
    assert stand.ask().text == "live-0"


def test_a_held_deployment_can_be_aborted_with_a_reason(stand, make_backend):
    old = stand.admin.live()
    deployment = stand.admin.stage([make_backend("fresh").address], hold=True)
    stand.events.wait("deployment.held", deployment=deployment)
    assert stand.admin.command("abort", reason="cold feet").status == 200
    assert stand.events.wait_end(deployment)["type"] == "deployment.aborted"
    record = stand.admin.deployment(deployment)
    assert record["state"] == "aborted" and "cold feet" in record["reason"]
    assert stand.admin.live() == old and stand.ask().text == "live-0"


KEPT_REASONS = {
    "é" * 2048: "é" * 2048,
    "é" * 2048 + "x": "é" * 2046 + "...",
    "x" + "é" * 20000: "x" + "é" * 2046 + "...",
}


@pytest.mark.parametrize("verb", ["abort", "rollback"])
def test_of_a_reason_that_is_too_long_the_beginning_is_kept(stand, make_backend, verb):
    for reason, kept in KEPT_REASONS.items():
        deployment = stand.admin.stage([make_backend().address], hold=verb == "abort", watch="60s")
        stand.events.wait("deployment.held" if verb == "abort" else "watch.started", deployment=deployment)
        assert stand.admin.command(verb, reason=reason).status == 200
        stand.events.wait_end(deployment)
        assert stand.admin.deployment(deployment)["reason"] == kept


def test_a_staged_pool_that_waits_for_an_instance_can_be_aborted(stand, make_backend):
    deployment = stand.admin.stage([make_backend(listen=False).address])
    assert stand.admin.command("abort").status == 200
    assert stand.events.wait_end(deployment)["type"] == "deployment.aborted"


def test_promote_and_abort_need_a_deployment_that_waits(stand, make_backend, puppets):
    for verb in ("promote", "abort"):
        answer = stand.admin.command(verb)
        assert answer.status == 409 and answer.detail
    stand.suite.add("01_pass", puppets.program)
    deployment = stand.admin.stage([make_backend().address])
    call = puppets.next()
    answer = stand.admin.command("promote")
    assert answer.status == 409 and "testing" in answer.detail
    call.exit(0)
    stand.events.wait_end(deployment)


def test_only_one_deployment_of_a_service_runs_at_a_time(stand, make_backend):
    deployment = stand.admin.stage([make_backend().address], hold=True)
    stand.events.wait("deployment.held", deployment=deployment)
    answer = stand.admin.try_stage([make_backend().address])
    assert answer.status == 409 and deployment in answer.detail
    assert stand.admin.service()["deployment"]["deployment"] == deployment
    stand.admin.command("abort")
    stand.events.wait_end(deployment)
    assert stand.admin.try_stage([make_backend().address]).status == 202


def test_of_concurrent_stages_exactly_one_is_taken(stand, make_backend):
    backends = [make_backend() for _ in range(8)]
    answers = []
    threads = [
        threading.Thread(target=lambda b=b: answers.append(stand.admin.try_stage([b.address], hold=True)))
        for b in backends
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status for answer in answers) == [202] + [409] * 7


def test_an_instance_must_still_accept_right_before_the_swap(stand, make_backend, puppets):
    stand.suite.add("01_pass", puppets.program)
    fresh = make_backend("fresh")
    deployment = stand.admin.stage([fresh.address])
    call = puppets.next()
    fresh.close()
    call.exit(0)
    assert stand.events.wait_end(deployment)["type"] == "deployment.rejected"
    assert fresh.address in stand.admin.deployment(deployment)["reason"]
    assert stand.ask().text == "live-0"


def test_a_held_instance_that_died_is_found_at_promote(stand, make_backend):
    fresh = make_backend("fresh")
    deployment = stand.admin.stage([fresh.address], hold=True)
    stand.events.wait("deployment.held", deployment=deployment)
    fresh.close()
    stand.admin.command("promote")
    assert stand.events.wait_end(deployment)["type"] == "deployment.rejected"
    assert stand.ask().text == "live-0"


def test_what_is_in_flight_finishes_on_the_old_pool_while_new_requests_go_to_the_new(stand, make_backend):
    old = stand.admin.live()
    held = Held(b"from the old pool")
    stand.live[0].on("/held", held)
    with RawClient(stand.port) as client:
        client.request(target="/held")
        held.wait()
        deployment = stand.admin.stage([make_backend("fresh").address])
        stand.events.wait("swap.published", deployment=deployment)
        assert stand.ask().text == "fresh"
        pool = wait_until(lambda: stand.admin.pool(old))
        assert pool["state"] == "draining" and pool["in_flight"] == 1
        assert not stand.events.of("instance.retired")
        held.release()
        assert client.response().text == "from the old pool"
        stand.events.wait("drain.finished", deployment=old)
        stand.events.wait_end(deployment)
        assert client.ask().text == "fresh"


def test_a_kept_client_connection_moves_to_the_new_pool(stand, make_backend):
    with RawClient(stand.port) as client:
        assert client.ask().text == "live-0"
        deployment = stand.admin.stage([make_backend("fresh").address])
        stand.events.wait("swap.published", deployment=deployment)
        assert client.ask().text == "fresh"


def test_a_new_pool_finds_as_many_connections_as_were_in_use(stand, make_backend):
    held, next_one, fresh = Held(), Held(), make_backend("fresh")
    stand.live[0].on("/held", held)
    fresh.on("/next", next_one)
    clients = [RawClient(stand.port) for _ in range(5)]
    try:
        for client in clients:
            client.request(target="/held")
            held.wait()
        before = stand.admin.status()["snapshot"]
        deployment = stand.admin.stage([fresh.address], hold=True)
        stand.events.wait("deployment.held", deployment=deployment)
        wait_until(lambda: stand.admin.status()["snapshot"] > before)
        stand.admin.command("promote")
        stand.events.wait("swap.published", deployment=deployment)
        wait_until(lambda: sum(not connection.ended.is_set() for connection in fresh.connections) >= len(clients))
        made = list(fresh.connections)
        held.release()
        for client in clients:
            client.response()
            client.request(target="/next")
            next_one.wait()
        asked = [fresh.next_request() for _ in range(len(fresh.requests))]
        used = {connection for connection, request in asked if request.path == "/next"}
        assert len(used) == len(clients) and used <= set(made)
        next_one.release()
    finally:
        for client in clients:
            client.close()


def test_a_swap_does_not_wait_long_for_connections_that_are_not_made(make_stand, make_backend, tmp_path):
    authority = Authority(str(tmp_path))
    tls, deaf = authority.server("127.0.0.1"), threading.Event()
    live = make_backend("live", tls=tls)
    service = {"tls": {"ca_file": authority.path}, "health": {"interval": "0s"}, "timeouts": {"connect": "60s"}}
    stand = make_stand(live=0, service={"instances": [live.address], **service}, uptests={"required": False}).start()
    held = Held()
    live.on("/held", held)
    with RawClient(stand.port) as client:
        client.request(target="/held")
        held.wait()
        silent = make_backend("silent", tls=tls, greet=lambda connection: deaf.wait(60))
        deployment = stand.admin.stage([silent.address], allow_untested=True)
        stand.events.wait("swap.published", deployment=deployment)
        assert [connection for connection in silent.connections if not connection.ended.is_set()]
        assert f"{deployment}: the swap goes on, though after 250 ms" in stand.daemon.stderr()
        deaf.set()
        held.release()
        assert client.response().text == "held\n"


def test_idle_upstream_connections_to_the_old_pool_are_closed(stand, make_backend):
    with RawClient(stand.port) as client:
        client.ask()
        (connection,) = stand.live[0].connections[-1:]
        deployment = stand.admin.stage([make_backend("fresh").address])
        stand.events.wait_end(deployment)
        assert connection.ended.wait(2)


def test_a_request_unanswered_at_the_drain_deadline_gets_503(make_stand, make_backend):
    stand = make_stand(service={"drain": {"requests": "400ms"}})
    stand.suite.shell("01")
    stand.start()
    old = stand.admin.live()
    held = Held()
    stand.live[0].on("/held", held)
    with RawClient(stand.port) as client:
        client.request(target="/held")
        held.wait()
        deployment = stand.admin.stage([make_backend("fresh").address])
        response = client.response()
        assert response.status == 503 and response.upswap == "drain-deadline"
        stand.events.wait_end(deployment)
        assert stand.events.of("drain.finished", deployment=old)
        held.release()


def test_an_answer_that_has_begun_is_cut_at_the_drain_deadline(make_stand, make_backend):
    stand = make_stand(service={"drain": {"requests": "400ms", "streams": "400ms"}})
    stand.suite.shell("01")
    stand.start()
    held = Held()

    def begin(connection, request):
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        held(connection, request)

    stand.live[0].on("/begun", begin)
    with RawClient(stand.port) as client:
        client.request(target="/begun")
        client.until(b"\r\n\r\nhalf")
        deployment = stand.admin.stage([make_backend("fresh").address])
        client.assert_closed()
        stand.events.wait_end(deployment)
        held.release()


def test_tunnels_have_a_drain_time_of_their_own(make_stand, make_backend):
    drain = {"requests": "100ms", "streams": "100ms", "websockets": "100ms", "tunnels": "900ms", "spread": "0s"}
    stand = make_stand(service={"drain": drain})
    stand.suite.shell("01")
    stand.start()

    def tunnel(connection, request):
        connection.send(b"HTTP/1.1 101 OK\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
        while connection.buffer or connection.fill():
            connection.send(connection.take(len(connection.buffer)))
        connection.close()

    stand.live[0].on("/tunnel", tunnel)
    with RawClient(stand.port) as client:
        assert client.ask(target="/tunnel", fields=["Connection: upgrade", "Upgrade: x"]).status == 101
        deployment = stand.admin.stage([make_backend("fresh").address])
        stand.events.wait("swap.published", deployment=deployment)
        assert client.is_open(0.4)
        client.send(b"ping")
        assert client.exactly(4) == b"ping"
        client.assert_closed()
        stand.events.wait_end(deployment)


def test_a_draining_pool_does_not_hinder_the_next_deployment(stand, make_backend):
    first = stand.admin.live()
    held = Held(b"oldest")
    stand.live[0].on("/held", held)
    with RawClient(stand.port) as client:
        client.request(target="/held")
        held.wait()
        second = stand.admin.stage([make_backend("second").address])
        stand.events.wait("swap.published", deployment=second)
        third = stand.admin.stage([make_backend("third").address])
        stand.events.wait("swap.published", deployment=third)
        assert stand.ask().text == "third"
        states = {p["deployment"]: p["state"] for p in stand.admin.service()["pools"]}
        assert states[first] == "draining" and states[third] == "live"
        held.release()
        assert client.response().text == "oldest"
    stand.events.wait_end(second)
    assert stand.admin.deployment(second)["timeline"][-1]["why"] == f"was live, as {third} is now; the pool before it is drained and torn down"
    stand.events.wait_end(third)
    assert stand.admin.deployment(third)["timeline"][-1]["why"] == "live; the pool before it is drained and torn down"
    wait_until(lambda: len(stand.admin.service()["pools"]) == 1)


def test_an_instance_may_be_in_the_old_and_in_the_new_pool(stand, make_backend):
    shared = stand.live[0]
    deployment = stand.admin.stage([shared.address, make_backend("fresh").address])
    assert stand.events.wait_end(deployment)["type"] == "deployment.done"
    assert {stand.ask().text for _ in range(8)} == {"live-0", "fresh"}
    assert not [e for e in stand.events.of("teardown.started") if e.get("instance") == shared.address]


def test_an_empty_service_gets_its_first_pool_by_a_deployment(make_stand, make_backend):
    stand = make_stand(live=0)
    stand.suite.shell("01")
    stand.start()
    assert stand.admin.service()["live"] is None and stand.ask().status == 503
    deployment = stand.admin.stage([make_backend("first").address])
    assert stand.events.wait_end(deployment)["type"] == "deployment.done"
    assert stand.ask().text == "first"
    assert stand.admin.deployment(deployment)["replaces"] is None


def test_untested_pools_are_refused_unless_allowed_and_the_record_says_so(make_stand, make_backend):
    stand = make_stand().start()
    answer = stand.admin.try_stage([make_backend().address])
    assert answer.status == 422 and stand.suite.folder in answer.detail
    deployment = stand.admin.stage([make_backend("fresh").address], allow_untested=True)
    assert stand.events.wait_end(deployment)["type"] == "deployment.done"
    assert "untested" in json.dumps([e for e in stand.events.all if e.get("deployment") == deployment])


def test_a_suite_that_is_not_required_may_be_empty(make_stand, make_backend):
    stand = make_stand(uptests={"required": False}).start()
    deployment = stand.admin.stage([make_backend("fresh").address])
    assert stand.events.wait_end(deployment)["type"] == "deployment.done"


def test_one_services_deployment_leaves_the_others_connections_alone(make_stand, make_backend):
    stand = make_stand(service={"hosts": ["web.test"]})
    other = make_backend("other")
    stand.daemon.config["services"].append(
        {"name": "other", "hosts": ["other.test"], "instances": [other.address]}
    )
    stand.suite.shell("01")
    stand.start()
    held = Held(b"undisturbed")
    other.on("/held", held)
    with RawClient(stand.port) as busy, RawClient(stand.port) as idle:
        assert idle.ask(host="other.test").text == "other"
        busy.request(target="/held", host="other.test")
        held.wait()
        before = len(other.asked())
        for _ in range(3):
            deployment = stand.admin.stage([make_backend("fresh").address])
            stand.events.wait_end(deployment)
        held.release()
        assert busy.response().text == "undisturbed"
        assert idle.ask(host="other.test").text == "other"
        assert len(other.asked()) == before


def test_two_services_are_deployed_side_by_side(make_stand, make_backend, puppets):
    stand = make_stand(service={"hosts": ["web.test"]})
    stand.daemon.config["services"].append(
        {"name": "api", "hosts": ["api.test"], "uptests": {"directory": stand.suite.folder}}
    )
    stand.suite.add("01", puppets.program)
    stand.start()
    web = stand.admin.stage([make_backend("web").address])
    api = stand.admin.stage([make_backend("api").address], service="api")
    calls = [puppets.next(), puppets.next()]
    assert {call.environment["UPTEST_DEPLOYMENT"] for call in calls} == {web, api}
    for call in calls:
        call.exit(0)
    stand.events.wait_end(web)
    stand.events.wait_end(api)
    assert stand.ask(host="web.test").text == "web" and stand.ask(host="api.test").text == "api"


# ---- the client ----


def test_stage_follows_the_deployment_and_shows_each_uptest(stand, make_backend):
    stand.suite.shell("02_more")
    fresh = make_backend("fresh")
    result = stand.daemon.upswap("stage", "web", fresh.address, "--release", "v2")
    assert result.returncode == 0, result
    for word in ("01_pass", "02_more", fresh.address):
        assert word in result.stdout
    assert "\x1b" not in result.stdout


def test_stage_ends_with_3_when_the_gate_fails_and_says_why(stand, make_backend):
    stand.suite.shell("02_bad", "echo the reason; exit 9")
    result = stand.daemon.upswap("stage", "web", make_backend().address)
    assert result.returncode == 3
    assert "02_bad" in result.stdout + result.stderr and "the reason" in result.stdout + result.stderr


def test_stage_ends_with_1_when_it_is_refused(stand):
    result = stand.daemon.upswap("stage", "wbe", "127.0.0.1:1")
    assert result.returncode == 1 and 'did you mean "web"' in result.stderr


def test_stage_ends_with_5_when_it_is_aborted(stand, make_backend, puppets):
    stand.suite.add("01_pass", puppets.program)
    client = stand.daemon.spawn_upswap("stage", "web", make_backend().address)
    puppets.next()
    assert stand.daemon.upswap("abort", "web", "--reason", "no").returncode == 0
    client.communicate(timeout=10)
    assert processes.finish(client) == 5


def test_stage_ends_with_6_at_its_timeout_and_the_deployment_goes_on(stand, make_backend, puppets):
    stand.suite.add("01_pass", puppets.program)
    result = stand.daemon.upswap("stage", "web", make_backend("fresh").address, "--timeout", "300ms")
    assert result.returncode == 6
    puppets.next().exit(0)
    deployment = stand.events.wait("deployment.done")["deployment"]
    assert stand.admin.live() == deployment


def test_stage_with_no_wait_ends_at_once(stand, make_backend, puppets):
    stand.suite.add("01_pass", puppets.program)
    result = stand.daemon.upswap("stage", "web", make_backend().address, "--no-wait")
    assert result.returncode == 0 and "web-" in result.stdout
    puppets.next().exit(0)


def test_stage_with_hold_ends_when_it_is_held_and_promote_goes_on(stand, make_backend):
    result = stand.daemon.upswap("stage", "web", make_backend("fresh").address, "--hold")
    assert result.returncode == 0 and "upswap promote web" in result.stdout
    held = stand.events.wait("deployment.held")["deployment"]
    promoted = stand.daemon.upswap("promote", "web")
    assert promoted.returncode == 0 and f"web: promoted; {held} is live" in promoted.stdout
    assert stand.ask().text == "fresh"


def test_promote_ends_as_what_it_let_go_on(stand, make_backend):
    fresh = make_backend("fresh")
    assert stand.daemon.upswap("stage", "web", fresh.address, "--hold").returncode == 0
    fresh.close()
    promoted = stand.daemon.upswap("promote", "web")
    assert promoted.returncode == 3 and fresh.address in promoted.stdout
    assert "is started" not in promoted.stdout and "passed in" not in promoted.stdout, "that was before it"
    assert stand.ask().text == "live-0"


def test_usage_faults_end_with_2(stand):
    for line in ("promote web --follow --no-wait", "", "nonsense", "stage", "stage web", "stage web a:1 --wat", "status a b"):
        result = stand.daemon.upswap(*line.split())
        assert result.returncode == 2 and result.stderr, line


def test_a_daemon_that_cannot_be_reached_is_7(stand):
    stand.daemon.socket = "/nonexistent/socket"
    result = stand.daemon.upswap("status")
    assert result.returncode == 7 and "/nonexistent/socket" in result.stderr


def test_status_history_show_and_events_print_what_the_api_says(stand, make_backend):
    deployment = stand.admin.stage([make_backend("fresh").address], release="v2")
    stand.events.wait_end(deployment)
    daemon = stand.daemon
    assert daemon.upswap_json("status")["services"][0]["live"] == deployment
    assert daemon.upswap_json("status", "web")["live"] == deployment
    assert daemon.upswap_json("history", "web")["deployments"][0]["deployment"] == deployment
    assert daemon.upswap_json("show", deployment)["gate"]["passed"] is True
    for arguments in (["status"], ["status", "web"], ["history", "web", "-n", "1"], ["show", deployment]):
        result = daemon.upswap(*arguments)
        assert result.returncode == 0 and deployment in result.stdout, arguments
    shown = daemon.upswap("show", deployment).stdout
    assert "01_pass" in shown and "v2" in shown
    lines = daemon.upswap("events", "web").stdout.splitlines()
    events = [json.loads(line) for line in lines]
    assert [e["seq"] for e in events] == [e["seq"] for e in stand.events.all if e.get("service") == "web"]
    since = events[-2]["seq"]
    result = daemon.upswap("events", "web", "--since", str(since))
    assert [json.loads(line)["seq"] for line in result.stdout.splitlines()] == [events[-1]["seq"]]


def test_events_can_be_followed(stand, make_backend):
    client = stand.daemon.spawn_upswap("events", "-f", "--since", "0")
    deployment = stand.admin.stage([make_backend().address])
    for line in client.stdout:
        event = json.loads(line)
        if event["type"] == "deployment.done" and event["deployment"] == deployment:
            break
    client.terminate()
    client.communicate(timeout=5)
    processes.finish(client)


def test_drain_and_enable_take_an_instance_out_and_back_in(make_stand):
    stand = make_stand(live=2)
    stand.suite.shell("01")
    stand.start()
    first, second = stand.live
    assert stand.daemon.upswap("drain", "web", first.address).returncode == 0
    assert {stand.ask().text for _ in range(10)} == {"live-1"}
    states = {i["address"]: i["state"] for i in stand.admin.service()["pools"][0]["instances"]}
    assert states == {first.address: "drained", second.address: "up"}
    answer = stand.admin.command("drain", instance=second.address)
    assert answer.status == 409 and answer.detail
    assert stand.daemon.upswap("enable", "web", first.address).returncode == 0
    assert {stand.ask().text for _ in range(10)} == {"live-0", "live-1"}


def test_draining_an_instance_lets_its_requests_finish(make_stand):
    stand = make_stand(live=2)
    stand.suite.shell("01")
    stand.start()
    held = Held(b"finished")
    for backend in stand.live:
        backend.on("/held", held)
    with RawClient(stand.port) as client:
        client.request(target="/held")
        held.wait()
        busy = next(b for b in stand.live if b.requests_of("/held"))
        assert stand.admin.command("drain", instance=busy.address).status == 200
        held.release()
        assert client.response().text == "finished"


@pytest.mark.parametrize("verb", ["drain", "enable"])
def test_an_instance_that_is_not_live_cannot_be_rotated(stand, verb):
    answer = stand.admin.command(verb, instance="127.0.0.1:1")
    assert answer.status in (404, 409, 422) and "127.0.0.1:1" in answer.detail
