"""A paused service: new requests wait and are lost for nobody, what is in flight ends, and what waited is let go at a
pace."""

import os
import threading
import time

import pytest

from harness import processes
from harness.backend import Backend, Held
from harness.client import RawClient
from harness.http2 import Http2Client
from harness.steady import Steady
from harness.waiting import stays, wait_until

ROLES = ["keeper", "control", "proxy"]
OFF = {"interval": "0s"}


@pytest.fixture
def start(start_own_front):
    def begin(workers=2, **service):
        return start_own_front(Backend("app"), service={"health": OFF, **service}, workers=workers)

    return begin


def pause(front, **keys):
    answer = front.admin.command("pause", **keys)
    assert answer.status == 200, answer
    return answer.json


def resume(front):
    answer = front.admin.command("resume")
    assert answer.status == 200, answer


def waiting(front):
    return front.admin.metrics()["upswap_waiting", frozenset({("service", "web")})]


def ask_many(front, count):
    clients = [front.client() for _ in range(count)]
    for client in clients:
        client.request()
    return clients


def test_new_requests_wait_and_are_answered_after_the_resume(start):
    front = start()
    told = pause(front)
    assert told["quiet"] and told["state"] == "paused" and told["in_flight"] == 0
    clients = ask_many(front, 10)
    wait_until(lambda: waiting(front) == 10, what="ten that wait")
    assert stays(lambda: not front.backend.requests, 0.3) is None
    resume(front)
    assert [client.response().status for client in clients] == [200] * 10
    assert front.admin.service()["state"] == "serving" and front.admin.service()["mode"] is None
    assert front.ask().status == 200


def test_pause_answers_when_what_was_in_flight_has_ended(start):
    front = start()
    held = Held()
    front.backend.on("/held", held)
    (busy,) = [front.client()]
    busy.request(target="/held")
    held.wait()
    answers = []
    pauser = threading.Thread(target=lambda: answers.append(pause(front)))
    pauser.start()
    wait_until(lambda: front.admin.service()["state"] == "paused", what="the pause")
    assert stays(lambda: not answers, 0.2) is None
    held.release()
    pauser.join()
    assert answers[0]["quiet"] and busy.response().status == 200


def test_pause_tells_what_has_not_ended_in_time_and_goes_on(start):
    front = start()
    held = Held()
    front.backend.on("/held", held)
    with front.client() as busy:
        busy.request(target="/held")
        held.wait()
        told = pause(front, max="20s", wait="100ms")
        assert (told["quiet"], told["in_flight"], told["state"]) == (False, 1, "paused")
        result = front.daemon.upswap("pause", "web", "--max", "20s", "--wait", "100ms")
        assert result.returncode == 6 and "1 request is still in flight" in result.stderr, result
        held.release()
        assert busy.response().status == 200
    result = front.daemon.upswap("pause", "web", "--max", "20s")
    assert (result.returncode, result.stdout) == (0, "web: paused and quiet\n"), result


def test_a_websocket_is_not_waited_for_and_is_told(start):
    front = start()

    def switch(connection, request):
        connection.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        connection.send(connection.until(b"\n"))

    front.backend.on("/chat", switch)
    with front.client() as client:
        client.request(target="/chat", fields=["Connection: upgrade", "Upgrade: echo"])
        assert b" 101 " in client.until(b"\r\n\r\n")
        told = pause(front)
        assert (told["quiet"], told["in_flight"], told["lasting"]) == (True, 0, 1)
        client.send(b"still\n")
        assert client.until(b"\n") == b"still\n"
        resume(front)


def test_a_request_that_waited_goes_to_the_pool_that_is_live_then(stand, make_backend):
    pause(stand)
    with RawClient(stand.port) as client:
        client.request()
        wait_until(lambda: waiting(stand) == 1, what="one that waits")
        fresh = make_backend("fresh")
        deployment = stand.admin.stage([fresh.address])
        assert stand.events.wait_end(deployment)["type"] == "deployment.done", "who waits does not hinder the drain"
        resume(stand)
        assert client.response().text == "fresh"
    assert not stand.live[0].requests


def test_bodies_wait_with_their_requests(start):
    front = start()
    pause(front)
    body = b"x" * 300000

    def go_on(connection, request):
        connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.read_body(connection)
        connection.answer(b"ok")

    front.backend.on("/expecting", go_on)
    with front.client() as plain, front.client() as expecting, Http2Client(front.port) as http2:
        sender = threading.Thread(target=plain.request, args=("POST", "/plain", (), body))
        sender.start()
        expecting.request("POST", "/expecting", ["Expect: 100-continue", "Content-Length: 5"])
        stream = http2.begin("POST", "/http2", end=False)
        http2.send(stream, b"y" * 10000, end=True)
        wait_until(lambda: waiting(front) == 3, what="three that wait")
        resume(front)
        assert plain.response().status == 200
        sender.join()
        assert b" 100 " in expecting.until(b"\r\n\r\n")
        expecting.send(b"12345")
        assert expecting.response().status == 200
        assert http2.finish(stream).status == 200
    found = {request.path: request.body for request in front.backend.requests}
    assert found == {"/plain": body, "/expecting": b"12345", "/http2": b"y" * 10000}


@pytest.mark.parametrize("leave", ["close", "reset"])
@pytest.mark.parametrize("body", [0, 5, 60000])
def test_a_client_that_leaves_frees_its_place(start, leave, body):
    front = start()
    pause(front)
    client = front.client()
    client.request("POST" if body else "GET", fields=[f"Content-Length: {body}"] if body else [])
    if body:
        client.send(b"x" * (body - 1))
    wait_until(lambda: waiting(front) == 1, what="one that waits")
    getattr(client, leave)()
    wait_until(lambda: waiting(front) == 0, what="nobody that waits")
    resume(front)
    assert front.ask().status == 200
    assert len(front.backend.requests) == 1


def test_a_stream_that_is_reset_frees_its_place(start):
    front = start()
    pause(front)
    with Http2Client(front.port) as client:
        streams = [client.begin() for _ in range(3)]
        wait_until(lambda: waiting(front) == 3, what="three that wait")
        client.reset(streams[1])
        wait_until(lambda: waiting(front) == 2, what="two that wait")
        resume(front)
        assert [client.finish(stream).status for stream in (streams[0], streams[2])] == [200, 200]
    assert len(front.backend.requests) == 2


def test_so_many_wait_and_no_more(start):
    front = start(pause={"requests": 3})
    pause(front)
    clients = ask_many(front, 3)
    wait_until(lambda: waiting(front) == 3, what="three that wait")
    with front.client() as late:
        answer = late.ask()
        assert (answer.status, answer.upswap) == (503, "pause-full") and int(answer.get("Retry-After")) > 0
        clients[0].close()
        wait_until(lambda: waiting(front) == 2, what="two that wait")
        late.request()
        wait_until(lambda: waiting(front) == 3, what="three that wait")
        resume(front)
        assert [client.response().status for client in [*clients[1:], late]] == [200] * 3


def test_so_many_bytes_wait_and_no_more(start):
    front = start(pause={"bytes": "1k"})
    pause(front)
    with front.client() as small:
        small.request()
        wait_until(lambda: waiting(front) == 1, what="one that waits")
        assert front.ask(fields=["X-Long: " + "x" * 1000]).upswap == "pause-full"
        resume(front)
        assert small.response().status == 200


def test_who_waits_for_too_long_gets_503_and_may_ask_again(start):
    front = start(pause={"longest": "100ms"})
    pause(front)
    with front.client() as client:
        answer = client.ask()
        assert (answer.status, answer.upswap) == (503, "pause-timeout") and int(answer.get("Retry-After")) > 0
        resume(front)
        assert client.ask().status == 200


def test_health_answers_go_through(start_own_front):
    service = {"health": {"path": "/up?deep=1", "interval": "60s"}, "pause": {"pass": ["/alive"]}}
    front = start_own_front(Backend("app"), service=service)
    pause(front)
    assert front.ask(target="/up").status == 200
    assert front.ask(target="/alive?x=1").status == 200
    with front.client() as client:
        client.request(target="/up/date")
        wait_until(lambda: waiting(front) == 1, what="one that waits")
        resume(front)
        assert client.response().status == 200


def test_health_answers_of_a_service_below_a_prefix_go_through(start):
    front = start(paths=["/app"], strip_path=True, pause={"pass": ["/alive", "/"]})
    pause(front)
    for path in ("/app/alive", "/app/", "/app"):
        assert front.ask(target=path).status == 200
    resume(front)


def test_another_service_does_not_notice(start_own_front, make_backend):
    other = make_backend("other")
    front = start_own_front(Backend("app"), service={"health": OFF})
    front.daemon.config["services"].append({"name": "other", "hosts": ["other.test"], "instances": [other.address]})
    front.daemon.write_config()
    assert front.admin.post("/v1/reload").status == 200
    pause(front)
    assert front.ask(host="other.test").text == "other"
    resume(front)


def test_without_a_resume_they_are_let_go_in_time(start):
    front = start()
    events = front.daemon.events()
    pause(front, max="300ms")
    clients = ask_many(front, 5)
    assert [client.response().status for client in clients] == [200] * 5
    ended = events.wait("pause.ended")
    assert "as long as it may" in ended["reason"] and ended["seconds"] > 0.2
    assert front.admin.service()["state"] == "serving"


def test_who_asked_is_in_the_events_and_in_status(start):
    front = start()
    events = front.daemon.events()
    pause(front, max="20s")
    assert events.wait("pause.started")["max"] == 20
    assert events.wait("pause.quiet")["lasting"] == 0
    mode = front.admin.service()["mode"]
    assert mode["until"] > mode["since"] and mode["asked_by"]["user"] and mode["waiting"] == 0
    assert "web: paused" in front.daemon.upswap("status").stdout
    result = front.daemon.upswap("resume", "web")
    assert result.returncode == 0, result
    assert events.wait("pause.ended")["reason"] == "resumed by hand"


def test_what_makes_no_sense_is_refused(start):
    front = start()
    assert "not paused: it serves" in front.admin.command("resume").detail
    assert front.admin.command("pause", max="2h").status == 400
    assert '"2h"' in front.daemon.upswap("pause", "web", "--max", "2h").stderr
    assert front.admin.command("pause", max="0s").status == 400
    assert front.admin.command("pause", max="10").status == 400
    assert front.admin.command("pause", max="1s", wait="2s").status == 400
    assert front.admin.command("pause", service="wbe").status == 404
    assert front.admin.command("maintenance", on=True).status == 200
    assert "maintenance" in front.admin.command("pause").detail
    assert "not paused but in maintenance; `upswap maintenance web off`" in front.admin.command("resume").detail


def test_maintenance_ends_a_pause_and_answers_who_waits(start):
    front = start()
    pause(front)
    clients = ask_many(front, 3)
    wait_until(lambda: waiting(front) == 3, what="three that wait")
    assert front.admin.command("maintenance", on=True).status == 200
    assert [client.response().upswap for client in clients] == ["maintenance"] * 3
    assert not front.backend.requests


def test_a_pause_is_prolonged_by_another(start):
    front = start()
    pause(front, max="500ms")
    (client,) = ask_many(front, 1)
    pause(front, max="60s")
    assert stays(lambda: waiting(front) == 1, 1) is None
    resume(front)
    assert client.response().status == 200


def test_a_pause_is_never_shortened_by_another(start):
    front = start()
    events = front.daemon.events()
    pause(front, max="60s")
    first = front.admin.service()["mode"]
    told = pause(front, max="300ms")
    assert (told["mode"]["since"], told["mode"]["until"]) == (first["since"], first["until"])
    assert 30 < events.wait("pause.started", count=2)["max"] < 60, "what is left of it"
    assert stays(lambda: front.admin.service()["state"] == "paused", 0.8) is None
    resume(front)


def test_the_client_says_until_when_the_longer_pause_lasts(start):
    front = start()
    pause(front, max="60s")
    until = front.admin.service()["mode"]["until"]
    said = f"{until[:10]} {until[11:19]} UTC"
    result = front.daemon.upswap("pause", "web", "--max", "10s")
    assert (result.returncode, result.stdout) == (0, f"web: paused and quiet, until {said}\n"), result
    held = Held()
    front.backend.on("/held", held)
    resume(front)
    with front.client() as busy:
        busy.request(target="/held")
        held.wait()
        pause(front, max="60s", wait="1ms")
        until = front.admin.service()["mode"]["until"]
        result = front.daemon.upswap("pause", "web", "--max", "10s", "--wait", "1ms")
        said = f"{until[:10]} {until[11:19]} UTC"
        assert result.returncode == 6 and result.stderr.endswith(f"; the pause goes on, until {said}\n"), result
        held.release()
        assert busy.response().status == 200


def test_who_waits_for_quiet_waits_on_where_the_pause_is_prolonged(start):
    front = start()
    held = Held()
    front.backend.on("/held", held)
    with front.client() as busy:
        busy.request(target="/held")
        held.wait()
        answers = []
        pauser = threading.Thread(target=lambda: answers.append(front.admin.command("pause", max="60s")))
        pauser.start()
        wait_until(lambda: front.admin.service()["state"] == "paused", what="the pause")
        assert not pause(front, max="50s", wait="10ms")["quiet"]
        assert stays(lambda: not answers, 0.2) is None
        held.release()
        pauser.join()
        assert busy.response().status == 200
    assert answers[0].status == 200 and answers[0].json["quiet"], answers
    resume(front)


def test_a_stop_answers_who_waits(start):
    front = start()
    pause(front)
    (client,) = ask_many(front, 1)
    wait_until(lambda: waiting(front) == 1, what="one that waits")
    front.daemon.stop()
    answer = client.response()
    assert (answer.status, answer.upswap) == (503, "shutting-down")


def test_a_service_that_is_removed_lets_nobody_wait(start):
    front = start()
    pause(front)
    (client,) = ask_many(front, 1)
    wait_until(lambda: waiting(front) == 1, what="one that waits")
    front.daemon.config["services"][0]["name"] = "other"
    front.daemon.write_config()
    assert front.admin.post("/v1/reload").status == 200
    assert client.response().status in (200, 404)


# ---- kill -9 ----


def test_a_dead_control_holds_nobody(start):
    """And the next one goes on with the pause."""
    front = start()
    pause(front, max="60s")
    clients = ask_many(front, 5)
    wait_until(lambda: waiting(front) == 5, what="five that wait")
    front.daemon.kill_role("control")
    assert front.admin.service()["state"] == "paused"
    assert stays(lambda: waiting(front) == 5, 0.2) is None
    resume(front)
    assert [client.response().status for client in clients] == [200] * 5


def test_they_are_let_go_in_time_without_any_control(start):
    front = start()
    pause(front, max="1s")
    clients = ask_many(front, 5)
    wait_until(lambda: waiting(front) == 5, what="five that wait")
    control = front.daemon.pids["control"]
    with processes.standing(control):
        assert [client.response().status for client in clients] == [200] * 5
        assert front.ask().status == 200
    wait_until(lambda: front.admin.service()["state"] == "serving", what="the end of the pause")


@pytest.mark.parametrize("role", ["keeper", "proxy"])
def test_the_next_proxy_holds_requests_too(start, role):
    front = start()
    pause(front, max="60s")
    lost = ask_many(front, 5)
    wait_until(lambda: waiting(front) == 5, what="five that wait")
    front.daemon.kill_role(role)
    front.port = front.daemon.port
    assert front.admin.service()["state"] == "paused" and waiting(front) == 0
    for client in lost:
        client.close()
    clients = ask_many(front, 5)
    wait_until(lambda: waiting(front) == 5, what="five that wait")
    resume(front)
    assert [client.response().status for client in clients] == [200] * 5
    assert len(front.backend.requests) == 5


# ---- under load ----


@pytest.fixture
def steady():
    made = Steady(500)
    yield made
    made.close()


def test_five_seconds_at_500_requests_a_second_lose_nothing_and_make_no_burst(steady, make_daemon):
    """And no stretch of a second after it has twice the rate from before."""
    service = {"name": "web", "instances": [steady.address], "health": OFF}
    daemon = make_daemon([service], limits={"connections": 20000}).start()
    steady.start(daemon.port)
    wait_until(lambda: len(steady.arrivals) > 1500, what="a steady rate")
    before = steady.most_within(1, 0)
    assert daemon.admin.command("pause").status == 200
    began = len(steady.arrivals)
    paused_at = time.time()
    assert stays(lambda: len(steady.arrivals) == began, 5) is None
    resumed_at = time.time()
    assert daemon.admin.command("resume").status == 200
    metric = ("upswap_waiting", frozenset({("service", "web")}))
    wait_until(lambda: daemon.admin.metrics()[metric] == 0, what="the line's end", timeout=30)
    wait_until(lambda: len(steady.answers) > 3 * 500 * (resumed_at - paused_at), what="more answers", timeout=30)
    steady.finish()
    wait_until(lambda: len(steady.answers) == steady.asked, what="all answers")
    assert {how for how, _ in steady.answers} == {"HTTP/1.1 200 OK"}
    assert before < 600
    assert steady.most_within(1, resumed_at) < 2 * 500


# ---- stage --pause-with ----


@pytest.fixture
def pausing(stand, make_backend, tmp_path):
    """A stand with a pool "fresh" to stage, and .stage(script, ...) that stages it with a command in a pause."""
    os.chmod(tmp_path, 0o777)
    stand.fresh = make_backend("fresh")
    stand.note = str(tmp_path / "note")

    def stage(script, **keys):
        return stand.admin.stage([stand.fresh.address], pause_with=["/bin/sh", "-c", script], **keys)

    stand.stage = stage
    return stand


def show(stand, deployment):
    return stand.admin.deployment(deployment)


def has_run(stand):
    """The command has written its note."""
    return os.path.exists(stand.note) and os.path.getsize(stand.note) > 0


def assert_resumed(stand):
    wait_until(lambda: stand.admin.service()["state"] == "serving", what="the resume")


def test_a_command_runs_in_a_pause_between_ready_and_the_gate(pausing, puppets):
    pausing.suite.add("02", puppets.program)
    deployment = pausing.stage('echo "$PAUSE_SERVICE $PAUSE_DEPLOYMENT"; date > ' + pausing.note, pause_max="60s")
    uptest = puppets.next()
    assert os.path.exists(pausing.note), "the command has run before the gate"
    assert pausing.admin.service()["state"] == "paused"
    with RawClient(pausing.port) as client:
        client.request()
        wait_until(lambda: waiting(pausing) == 1, what="one that waits")
        uptest.exit(0)
        assert pausing.events.wait_end(deployment)["type"] == "deployment.done"
        assert client.response().text == "fresh", "who waited goes to the new release"
    assert_resumed(pausing)
    found = show(pausing, deployment)
    assert found["command"]["state"] == "passed" and found["command"]["exit"] == 0
    assert found["command"]["output"] == f"web {deployment}\n"
    whys = [moment["why"] for moment in found["timeline"]]
    assert any("the command of the pause exited with status 0" in why for why in whys), whys
    assert pausing.events.wait("pause.ended")["reason"].startswith(f"deployment {deployment} is d")
    assert not pausing.live[0].requests


def test_a_pause_by_hand_is_not_ended_by_a_deployment_that_would_pause(pausing):
    assert pausing.admin.command("pause", max="10m").status == 200
    deployment = pausing.stage("exit 0")
    ended = pausing.events.wait_end(deployment)
    assert ended["type"] == "deployment.rejected" and "paused by hand" in ended["reason"]
    assert pausing.admin.service()["state"] == "paused"
    assert pausing.admin.command("resume").status == 200
    deployment = pausing.stage("exit 0")
    assert pausing.events.wait_end(deployment)["type"] == "deployment.done"


def test_a_command_that_fails_rejects_and_resumes(pausing):
    deployment = pausing.stage("echo no table; exit 3")
    assert pausing.events.wait_end(deployment)["type"] == "deployment.rejected"
    assert_resumed(pausing)
    found = show(pausing, deployment)
    assert "exited with status 3" in found["reason"] and "no table" in found["reason"]
    assert "stays done" in found["reason"]
    assert found["command"]["state"] == "failed" and found["command"]["output"] == "no table\n"
    assert pausing.ask().text == "live-0"


def test_a_gate_that_fails_after_the_command_rejects_and_resumes(pausing):
    pausing.suite.shell("02_fail", "exit 1")
    deployment = pausing.stage("true")
    assert pausing.events.wait_end(deployment)["type"] == "deployment.rejected"
    assert_resumed(pausing)
    assert pausing.ask().text == "live-0"


def test_a_service_that_does_not_get_quiet_is_resumed_and_nothing_is_run(pausing):
    held = Held()
    pausing.live[0].on("/held", held)
    with RawClient(pausing.port) as busy:
        busy.request(target="/held")
        held.wait()
        deployment = pausing.stage("date > " + pausing.note, pause_max="500ms")
        assert pausing.events.wait_end(deployment)["type"] == "deployment.rejected"
        assert "1 request was still in flight" in show(pausing, deployment)["reason"]
        assert not os.path.exists(pausing.note)
        assert_resumed(pausing)
        held.release()
        assert busy.response().status == 200


def test_a_command_that_takes_too_long_is_stopped_and_the_service_resumed(pausing):
    deployment = pausing.stage(f"echo begun; exec cat {pausing.never}", pause_max="500ms")
    assert pausing.events.wait_end(deployment)["type"] == "deployment.rejected"
    assert_resumed(pausing)
    found = show(pausing, deployment)
    assert "stays done" in found["reason"] and found["command"]["output"] == "begun\n"


def test_uptests_that_take_longer_than_the_pause_fail_the_gate(pausing, puppets):
    pausing.suite.add("02", puppets.program)
    deployment = pausing.stage("true", pause_max="1s")
    puppets.next()
    assert pausing.events.wait_end(deployment)["type"] == "deployment.rejected"
    assert "before the uptests had passed" in show(pausing, deployment)["reason"]
    assert_resumed(pausing)
    assert pausing.ask().text == "live-0"


def test_an_abort_ends_the_command_and_the_pause_and_says_so(pausing):
    deployment = pausing.stage(f"trap '' TERM; date > {pausing.note}; exec cat {pausing.never}")
    wait_until(lambda: has_run(pausing), what="the command")
    assert pausing.admin.command("abort", reason="too slow").status == 200
    assert show(pausing, deployment)["command"]["state"] == "running", "until it is gone"
    assert_resumed(pausing)
    reason = show(pausing, deployment)["reason"]
    assert "too slow" in reason and "stays done" in reason
    told = pausing.events.wait("pause.command", deployment=deployment)
    assert not told["passed"] and "was given up: too slow" in told["reason"]
    command = show(pausing, deployment)["command"]
    assert command["state"] == "failed" and command["signal"]
    assert pausing.ask().text == "live-0"


def test_the_pause_of_a_deployment_is_not_ended_by_hand(pausing):
    pausing.stage(f"date > {pausing.note}; exec cat {pausing.never}")
    wait_until(lambda: has_run(pausing), what="the command")
    assert pausing.admin.status()["services"][0]["mode"]["deployment"] == "web-1"
    assert "has paused service" in pausing.admin.command("resume").detail
    assert "has paused service" in pausing.admin.command("pause").detail
    assert pausing.admin.command("abort").status == 200
    assert_resumed(pausing)


def test_what_cannot_go_with_a_pause_is_refused(pausing):
    refused = pausing.admin.try_stage([pausing.fresh.address], pause_with=["true"], hold=True)
    assert refused.status == 422 and "hold" in refused.detail
    refused = pausing.admin.try_stage([pausing.fresh.address], pause_with=["true"], canary=[5])
    assert refused.status == 422 and "canary" in refused.detail
    assert pausing.admin.try_stage([pausing.fresh.address], pause_with=[]).status == 400
    assert pausing.admin.try_stage([pausing.fresh.address], pause_with=[1]).status == 400
    assert pausing.admin.try_stage([pausing.fresh.address], pause_max="1s").status == 400
    assert pausing.admin.try_stage([pausing.fresh.address], pause_with=["true"], pause_max="2h").status == 400


def test_in_maintenance_the_command_runs_when_nothing_is_in_flight(pausing):
    assert pausing.admin.command("maintenance", on=True).status == 200
    deployment = pausing.stage("date > " + pausing.note)
    assert pausing.events.wait_end(deployment)["type"] == "deployment.done"
    assert os.path.exists(pausing.note) and pausing.admin.service()["state"] == "maintenance"
    assert pausing.admin.command("maintenance", on=False).status == 200
    assert pausing.ask().text == "fresh"


def test_maintenance_does_not_end_under_a_command_that_counts_on_quiet(pausing, puppets):
    pausing.suite.add("02", puppets.program)
    deployment = pausing.stage("exit 0", pause_max="60s")
    uptest = puppets.next()
    assert pausing.admin.command("maintenance", on=True).status == 200
    answer = pausing.admin.command("maintenance", on=False)
    assert answer.status == 409 and f"deployment {deployment} counts on it" in answer.detail
    uptest.exit(0)
    assert pausing.events.wait_end(deployment)["type"] == "deployment.done"
    assert pausing.admin.command("maintenance", on=False).status == 200
    assert pausing.ask().text == "fresh"


@pytest.mark.parametrize("role", ["keeper", "control"])
def test_kill_9_while_the_command_may_have_run_resumes_and_rejects(pausing, role):
    deployment = pausing.stage(f"date >> {pausing.note}; exec cat {pausing.never}", pause_max="60s")
    wait_until(lambda: has_run(pausing), what="the command")
    pausing.daemon.kill_role(role)
    pausing.port = pausing.daemon.port
    pausing.wait_state(deployment, "rejected")
    assert "may have run" in show(pausing, deployment)["reason"]
    assert_resumed(pausing)
    assert pausing.ask().text == "live-0"
    with open(pausing.note, encoding="utf-8") as note:
        assert len(note.readlines()) == 1, "it is not run twice"


@pytest.mark.parametrize("role", ROLES)
def test_kill_9_while_testing_in_the_pause_tests_again_and_swaps(pausing, puppets, role):
    pausing.suite.add("02", puppets.program)
    deployment = pausing.stage("date >> " + pausing.note, pause_max="60s")
    first = puppets.next()
    pausing.daemon.kill_role(role)
    pausing.port = pausing.daemon.port
    assert pausing.admin.service()["state"] == "paused"
    if role == "proxy":
        first.exit(0)
    else:
        puppets.next().exit(0)
    pausing.wait_state(deployment, "done")
    assert_resumed(pausing)
    assert pausing.ask().text == "fresh"
    with open(pausing.note, encoding="utf-8") as note:
        assert len(note.readlines()) == 1, "the command is not run twice"


def test_the_command_line_runs_it_by_the_shell(pausing):
    result = pausing.daemon.upswap(
        "stage", "web", pausing.fresh.address, "--pause-with", f"echo $PAUSE_RELEASE | cat > {pausing.note}", "--release", "v2"
    )
    assert result.returncode == 0, result
    assert "web is quiet" in result.stdout and "the command of the pause ended" in result.stdout, result
    with open(pausing.note, encoding="utf-8") as note:
        assert note.read() == "v2\n"
    assert pausing.ask().text == "fresh"
