"""After a swap the new release is watched: what is worse than the one before it is rolled back, what is as good is not."""

import os
import re
import statistics
import subprocess
import time
from datetime import datetime

import pytest

from harness.daemon import program
from harness.release import Release, Steady
from harness.waiting import stays, wait_until

RATE = 500  # requests a second


@pytest.fixture
def make_release():
    """Starts releases that end with the test; each is one instance."""
    made = []

    def make(name, **orders):
        made.append(Release(name, **orders))
        return made[-1]

    yield make
    for release in made:
        release.stop()


@pytest.fixture
def make_load():
    """Starts loads that end with the test."""
    made = []

    def make(*arguments, **options):
        made.append(Steady(*arguments, **options))
        return made[-1]

    yield make
    for load in made:
        load.stop()


@pytest.fixture
def make_watched(make_stand, make_release):
    """make_watched(instances=1, watch={...}, service={...}, **orders): a stand whose live release "old" is of one
    instance; its .old is it, .first the pool's name."""

    def make(watch=None, service=None, **orders):
        stand = make_stand(live=0, service={"watch": {"duration": "60s", **(watch or {})}, **(service or {})})
        stand.suite.shell("01")
        stand.old = make_release("old", **orders)
        stand.daemon.config["services"][0]["instances"] = [stand.old.address]
        stand.start()
        stand.first = stand.admin.live()
        return stand

    return make


def requests(stand, name):
    return next(pool["requests"] for pool in stand.admin.service()["pools"] if pool["deployment"] == name)


def stage(stand, *releases, **keys):
    """Stages these instances; returns the deployment, which is being watched then."""
    deployment = stand.admin.stage([release.address for release in releases], **keys)
    stand.events.wait("watch.started", deployment=deployment)
    return deployment


def seconds_between(first, second):
    times = [datetime.fromisoformat(event["time"].replace("Z", "+00:00")) for event in (first, second)]
    return (times[1] - times[0]).total_seconds()


def seconds_to_fail(stand, deployment):
    """From the swap to the failure, which must come."""
    failed = stand.events.wait("watch.failed", deployment=deployment, timeout=30)
    return seconds_between(stand.events.wait("swap.published", deployment=deployment), failed)


# ---- by what it answers ----


def test_a_release_that_fails_5_of_100_requests_is_rolled_back_within_10_seconds(make_watched, make_release, make_load):
    stand = make_watched()
    load = make_load(stand.port, seconds=20, rate=RATE)
    wait_until(lambda: requests(stand, stand.first) > 5 * RATE, what="a record of 5 s")
    bad = make_release("bad", errors=0.05)
    deployment = stage(stand, bad)
    assert seconds_to_fail(stand, deployment) < 10
    assert stand.events.wait_end(deployment)["type"] == "deployment.rolled_back"
    assert stand.admin.live() == stand.first
    reason = stand.admin.deployment(deployment)["reason"]
    assert reason.startswith("5xx: ") and f"against 0.0% of" in reason and "limit 2" in reason
    counts = load.counts()
    answered, failed = bad.tell("errors", 0)
    assert counts["errored"] == counts["timeout"] == 0
    assert counts["5xx"] == failed > 0
    watched = stand.admin.deployment(deployment)["watched"]
    assert watched["failure"] == reason and watched["verdict"] == "worse"
    assert 0.03 < watched["errors"]["share"] < 0.07


def test_a_release_of_which_an_instance_refuses_is_rolled_back_though_the_other_answers(make_watched, make_release, make_load):
    """Each request that is sent there counts, and none is spared the attempt."""
    stand = make_watched(service={"health": {"interval": "0s"}})
    make_load(stand.port, seconds=20, rate=RATE)
    wait_until(lambda: requests(stand, stand.first) > 5 * RATE, what="a record of 5 s")
    dead = make_release("dead")
    deployment = stage(stand, make_release("good"), dead)
    dead.stop()
    seconds_to_fail(stand, deployment)
    assert stand.events.wait_end(deployment)["type"] == "deployment.rolled_back"
    assert stand.admin.deployment(deployment)["reason"].startswith("5xx: ")


def test_a_release_that_is_5_times_slower_is_rolled_back_within_10_seconds(make_watched, make_release, make_load):
    stand = make_watched()
    make_load(stand.port, seconds=30, rate=RATE, connections=500)
    wait_until(lambda: requests(stand, stand.first) > RATE, what="all connections to be made")
    stand.old.tell("delay", 200)
    wait_until(lambda: requests(stand, stand.first) > 5 * RATE, what="a record of 5 s")
    slow = make_release("slow", delay=200)
    deployment = stage(stand, slow)
    began = time.monotonic()
    slow.tell("delay", 5000 * stand.admin.deployment(deployment)["watched"]["p99_before"])  # as this machine has it
    stand.events.wait("watch.failed", deployment=deployment, timeout=30)
    assert time.monotonic() - began < 10
    assert stand.events.wait_end(deployment)["type"] == "deployment.rolled_back"
    reason = stand.admin.deployment(deployment)["reason"]
    assert reason.startswith("latency: ") and "before the swap was" in reason


def test_a_release_that_never_answers_is_rolled_back(make_watched, make_release, make_load):
    stand = make_watched()
    make_load(stand.port, seconds=20, rate=200, connections=100)
    wait_until(lambda: requests(stand, stand.first) > 200, what="a record of a second")
    deployment = stage(stand, make_release("hangs", delay=1000000))
    stand.events.wait("watch.failed", deployment=deployment)
    reason = stand.admin.deployment(deployment)["reason"]
    assert reason.startswith("no answer for 5.") and "requests wait" in reason
    wait_until(lambda: stand.admin.live() == stand.first, what="the old release to be live")


def test_20_deployments_of_the_same_release_under_load_are_left_alone(make_watched, make_release, make_load):
    stand = make_watched(watch={"duration": "4s", "uptests": "2s"}, delay=5)
    releases = [stand.old, make_release("same", delay=5)]
    make_load(stand.port, seconds=170, rate=RATE)
    wait_until(lambda: requests(stand, stand.first) > RATE, what="a record of a second")
    for number in range(1, 21):
        deployment = stage(stand, releases[number % 2])
        end = stand.events.wait_end(deployment, timeout=30)
        assert end["type"] == "deployment.done", stand.admin.deployment(deployment)["reason"]
    assert not stand.events.of("watch.failed")
    passed = stand.events.of("watch.passed")
    assert len(passed) == 20 and all(event["verdict"] == "fine" for event in passed), passed


def test_a_rollback_takes_less_than_10_ms_and_loses_no_request(make_watched, make_release, make_load):
    stand = make_watched()
    other = make_release("other")
    load = make_load(stand.port, seconds=12, rate=RATE)
    wait_until(lambda: requests(stand, stand.first) > 100, what="some requests")
    taken = []
    for _ in range(5):
        deployment = stage(stand, other, watch="1h")
        stand.events.wait("swap.published", deployment=deployment)
        assert stand.admin.command("rollback").status == 200
        taken.append(stand.events.wait("swap.published", count=2, deployment=deployment)["nanoseconds"])
        stand.events.wait("teardown.finished", deployment=deployment)
    counts = load.counts()
    assert counts["errored"] == counts["timeout"] == counts["5xx"] == counts["4xx"] == 0, counts
    assert statistics.median(taken) < 10_000_000, taken


def test_a_canary_that_fails_requests_is_taken_back_at_once(make_watched, make_release, make_load):
    stand = make_watched()
    load = make_load(stand.port, seconds=20, rate=RATE)
    bad = make_release("bad", errors=0.2)
    deployment = stand.admin.stage([bad.address], canary=[20, 50], step="1h")
    stand.events.wait("canary.step", deployment=deployment)
    failed = stand.events.wait("watch.failed", deployment=deployment)
    assert stand.events.wait_end(deployment)["type"] == "deployment.rolled_back"
    assert failed["reason"].startswith("5xx: ") and "of the live pool; limit" in failed["reason"]
    assert len(stand.events.of("canary.step")) == 1 and stand.admin.live() == stand.first
    stand.events.wait("teardown.finished", deployment=deployment)
    counts = load.counts()
    assert counts["errored"] == counts["timeout"] == 0 and counts["5xx"] == bad.tell("errors", 0)[1]


def test_a_canary_of_the_same_release_goes_all_the_way(make_watched, make_release, make_load):
    stand = make_watched(watch={"duration": "3s"})
    make_load(stand.port, seconds=25, rate=RATE)
    deployment = stand.admin.stage([make_release("same").address], canary=[20, 50], step="4s")
    assert stand.events.wait_end(deployment, timeout=30)["type"] == "deployment.done"
    why = [moment["why"] for moment in stand.admin.deployment(deployment)["timeline"] if moment["state"] == "canary"]
    watched = re.match("watched for ([0-9.]+) s: ", why[1])  # from the moment at which the step was on disk
    assert "of the live pool; limit" in why[1] and 3.5 < float(watched[1]) < 10, why


# ---- by its uptests and instances ----


def test_a_release_whose_uptest_begins_to_fail_is_rolled_back(make_watched, make_release):
    stand = make_watched(watch={"uptests": "200ms"})
    deployment = stage(stand, make_release("new"))
    stand.suite.shell("02_breaks", "echo the cache is full; exit 3")
    assert seconds_to_fail(stand, deployment) < 10
    assert stand.events.wait_end(deployment)["type"] == "deployment.rolled_back"
    found = stand.admin.deployment(deployment)
    assert "uptest 02_breaks on" in found["reason"] and "exited with status 3" in found["reason"]
    assert found["watched"]["uptest"]["output"] == "the cache is full\n"
    assert stand.events.of("watch.failed")[0]["uptest"]["output"] == "the cache is full\n"
    assert found["gate"]["passed"] is True


def test_a_release_whose_instance_dies_is_rolled_back(make_watched, make_release):
    stand = make_watched(service={"health": {"interval": "100ms", "fall": 2}})
    dying = make_release("dies")
    deployment = stage(stand, make_release("lives"), dying)
    dying.kill()
    assert stand.events.wait_end(deployment)["type"] == "deployment.rolled_back"
    assert f"instance {dying.address} is down (1 of 2)" in stand.admin.deployment(deployment)["reason"]


def test_without_traffic_the_uptests_decide(make_watched, make_release):
    stand = make_watched(watch={"duration": "300ms"})
    stand.suite.shell("01", f"echo ran >> {stand.daemon.path('runs')}")
    deployment = stage(stand, make_release("new"))
    assert stand.events.wait_end(deployment)["type"] == "deployment.done"
    with open(stand.daemon.path("runs"), encoding="utf-8") as file:
        assert len(file.readlines()) == 2, "once as a gate, once as a watch"
    passed = stand.events.wait("watch.passed")
    assert passed["verdict"] == "missing" and "The uptests passed 1 time" in passed["reason"]


# ---- what a failure does ----


def test_a_failure_that_is_to_hold_waits_for_a_person(make_watched, make_release):
    stand = make_watched(watch={"uptests": "100ms", "on_fail": "hold"})
    deployment = stage(stand, make_release("new"))
    stand.suite.shell("02_breaks", "exit 1")
    stand.events.wait("watch.failed", deployment=deployment)
    found = stand.admin.deployment(deployment)
    assert found["state"] == "watching" and 'watch.on_fail is "hold"' in found["reason"]
    assert "`upswap promote web` keeps it" in found["reason"]
    stays(lambda: stand.admin.live() == deployment, 0.5)
    assert stand.admin.command("rollback").status == 200
    assert stand.events.wait_end(deployment)["type"] == "deployment.rolled_back"
    assert stand.admin.live() == stand.first


def test_a_failure_that_is_to_do_nothing_is_told_once(make_watched, make_release):
    stand = make_watched(watch={"duration": "3s", "uptests": "100ms", "on_fail": "none"})
    deployment = stage(stand, make_release("new"))
    stand.suite.shell("02_breaks", "exit 1")
    stand.events.wait("watch.failed", deployment=deployment)
    assert stand.admin.deployment(deployment)["state"] == "watching"
    assert stand.events.wait_end(deployment)["type"] == "deployment.done"
    assert len(stand.events.of("watch.failed")) == 1 and not stand.events.of("watch.passed")
    assert stand.admin.live() == deployment


def test_a_release_without_requests_whose_uptests_cannot_be_run_is_rolled_back(make_watched, make_release):
    stand = make_watched(watch={"duration": "1s", "uptests": "100ms"})
    deployment = stage(stand, make_release("new"))
    stand.suite.clear()
    assert stand.events.wait_end(deployment)["type"] == "deployment.rolled_back"
    failed = stand.events.of("watch.failed")
    assert len(failed) == 1 and "its uptests could not be run: " in failed[0]["reason"]
    assert stand.suite.folder in failed[0]["reason"]
    assert stand.admin.live() == stand.first


def test_nothing_is_rolled_back_to_a_pool_that_is_down(make_watched, make_release):
    stand = make_watched(watch={"uptests": "5s"}, service={"health": {"interval": "50ms", "fall": 1}})
    deployment = stage(stand, make_release("new"))
    stand.old.kill()
    stand.events.wait("instance.ejected", instance=stand.old.address)
    stand.suite.shell("02_breaks", "exit 1")
    stand.events.wait("watch.failed", deployment=deployment)
    found = stand.admin.deployment(deployment)
    assert found["state"] == "watching" and f"no instance of {stand.first} is up" in found["reason"]
    assert stand.ask().text == "new\n"


def start_with_a_dead_old_release(make_watched, make_release, **watch):
    """The daemon is started again, and has not checked anything yet; the old release ended meanwhile."""
    stand = make_watched(watch=watch, service={"health": {"interval": "1s"}})
    deployment = stage(stand, make_release("new"))
    stand.daemon.crash()
    stand.old.kill()
    stand.suite.shell("02_breaks", "exit 1")
    stand.daemon.start(write=False)
    return stand, deployment


def test_right_after_a_start_nothing_is_rolled_back_before_it_is_known_who_is_up(make_watched, make_release):
    stand, deployment = start_with_a_dead_old_release(make_watched, make_release, uptests="50ms")
    stand.events.wait("watch.failed", deployment=deployment)
    found = stand.admin.deployment(deployment)
    assert found["state"] == "watching" and f"no instance of {stand.first} is up" in found["reason"]
    assert stand.admin.live() == deployment


def test_a_rollback_by_hand_right_after_a_start_waits_for_the_first_checks(make_watched, make_release):
    stand, deployment = start_with_a_dead_old_release(make_watched, make_release)
    answer = stand.admin.command("rollback")
    assert answer.status == 409 and f"no instance of {stand.first} passes its checks" in answer.detail
    assert stand.admin.live() == deployment


def test_a_canary_is_not_taken_back_by_hand_to_a_pool_that_is_down(make_watched, make_release):
    stand = make_watched(service={"health": {"interval": "50ms", "fall": 1}}, watch={"on_fail": "none"})
    deployment = stand.admin.stage([make_release("new").address], canary=[50], step="1h")
    stand.events.wait("canary.step", deployment=deployment)
    stand.old.kill()
    stand.events.wait("instance.ejected", instance=stand.old.address)
    answer = stand.admin.command("rollback")
    assert answer.status == 409 and f"no instance of {stand.first} passes its checks" in answer.detail


def test_the_client_says_that_it_was_rolled_back_by_its_exit_status(make_watched, make_release):
    stand = make_watched(watch={"uptests": "100ms"})
    new = make_release("new")
    command = [program("upswap"), "-s", stand.daemon.socket, "stage", "web", new.address]
    client = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    stand.events.wait("watch.started")
    stand.suite.shell("02_breaks", "exit 1")
    text, _ = client.communicate(timeout=20)
    assert client.returncode == 4, text
    assert "uptest 02_breaks" in text


def test_the_client_does_not_wait_for_the_person_for_whom_a_failed_watch_waits(make_watched, make_release):
    stand = make_watched(watch={"uptests": "100ms", "on_fail": "hold"})
    command = [program("upswap"), "-s", stand.daemon.socket, "stage", "web", make_release("new").address]
    client = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    stand.events.wait("watch.started")
    stand.suite.shell("02_breaks", "exit 1")
    text, _ = client.communicate(timeout=20)
    assert client.returncode == 3, text
    assert "waits for a person" in text and "`upswap promote web` keeps it" in text
    assert stand.admin.command("rollback").status == 200


# ---- what is seen of it ----


def test_status_shows_how_the_watch_stands(make_watched, make_release):
    stand = make_watched(watch={"errors": 0.1, "minimum": 5})
    for _ in range(10):
        stand.ask()
    deployment = stage(stand, make_release("new", errors=0.25))
    for _ in range(8):
        stand.ask()
    wait_until(lambda: stand.admin.service()["deployment"]["watched"]["requests"] == 8, what="the answers to be seen")
    watched = stand.admin.deployment(deployment)["watched"]
    assert 0 < watched["p99"] < 60
    assert watched["errors"]["count"] == 2 and watched["errors"]["share"] == 0.25
    assert watched["requests_before"] == 10 and watched["errors_before"] == 0
    assert watched["errors"]["limit"] > 0.5, "10 requests tell little"
    assert 0 < watched["left"] < 60 and watched["verdict"] == "fine" and watched["failure"] is None


def test_metrics_count_watches(make_watched, make_release):
    stand = make_watched(watch={"duration": "200ms"})
    deployment = stage(stand, make_release("new"))
    stand.events.wait_end(deployment)
    metrics = stand.admin.metrics()
    assert metrics["upswap_watches_total", frozenset({("service", "web"), ("result", "passed")})] == 1


# ---- and when something dies ----


@pytest.mark.parametrize("role", ["control", "proxy", "keeper"])
def test_a_watch_goes_on_when_a_role_was_killed(make_watched, make_release, make_load, role):
    stand = make_watched(watch={"uptests": "300ms"})
    deployment = stage(stand, make_release("new"))
    stand.daemon.kill_role(role)
    assert stand.admin.deployment(deployment)["state"] == "watching"
    stand.suite.shell("02_breaks", "exit 1")
    assert stand.events.wait_end(deployment)["type"] == "deployment.rolled_back"
    wait_until(lambda: stand.admin.live() == stand.first, what="the old release to be live")


@pytest.mark.parametrize("role", ["control", "keeper"])
def test_a_new_process_judges_by_all_that_the_old_release_has_answered(make_watched, make_release, make_load, role):
    stand = make_watched()
    load = make_load(stand.port, seconds=20, rate=RATE)
    wait_until(lambda: requests(stand, stand.first) > 2 * RATE, what="a record of 2 s")
    bad = make_release("bad")
    deployment = stage(stand, bad)
    kept = os.path.join(stand.daemon.config["state_directory"], "deployments", f"{deployment}.yardstick.json")
    wait_until(lambda: os.path.exists(kept), what="the record to be kept")
    load.stop()
    stand.daemon.kill_role(role)
    bad.tell("errors", 0.2)
    make_load(stand.daemon.port, seconds=20, rate=RATE)
    assert stand.events.wait_end(deployment, timeout=30)["type"] == "deployment.rolled_back"
    assert stand.admin.deployment(deployment)["reason"].startswith("5xx: ")


def start_on_a_damaged_record(stand, damage, **keys):
    """A release that is measured by what the old one has answered; the daemon is started again without that."""
    for _ in range(20):
        assert stand.ask().text == "old\n"
    deployment = stand.admin.stage(**keys)
    kept = os.path.join(stand.daemon.config["state_directory"], "deployments", f"{deployment}.yardstick.json")
    wait_until(lambda: os.path.exists(kept), what="the record to be kept")
    stand.daemon.crash()
    with open(kept, "w", encoding="utf-8") as file:
        file.write(damage)
    stand.daemon.start(write=False)
    stand.port = stand.daemon.port
    assert f"{kept} is damaged: " in stand.daemon.stderr()
    return deployment


@pytest.mark.parametrize("damage", ['{"requests":', '{"requests":20}'], ids=["torn", "other"])
def test_a_watch_that_has_lost_what_it_measures_by_has_not_passed(make_watched, make_release, damage):
    stand = make_watched(watch={"duration": "3s"})
    deployment = start_on_a_damaged_record(stand, damage, instances=[make_release("new").address])
    assert "promote it, or roll it back" in stand.daemon.stderr()
    assert stand.events.wait_end(deployment)["type"] == "deployment.rolled_back"
    assert stand.events.of("watch.failed") and not stand.events.of("watch.passed")
    assert "what it was measured by is damaged" in stand.admin.deployment(deployment)["reason"]


def test_a_canary_that_has_lost_what_it_measures_by_is_measured_by_what_the_live_pool_answers_now(make_watched, make_release):
    stand = make_watched(watch={"minimum": 20})
    new = make_release("new")
    deployment = start_on_a_damaged_record(stand, "{}", instances=[new.address], canary=[50], step="60s")
    assert "the step begins anew" in stand.daemon.stderr()
    assert stand.state(deployment) == "canary"

    def measured():
        stand.ask()
        return stand.admin.service()["deployment"]["watched"]["requests_before"] > 0

    wait_until(measured, timeout=20, what="a new measure")


@pytest.mark.parametrize("role", ["control", "proxy", "keeper"])
def test_a_failed_watch_that_is_to_do_nothing_has_not_passed_when_a_role_was_killed(make_watched, make_release, role):
    stand = make_watched(watch={"duration": "6s", "uptests": "100ms", "on_fail": "none"})
    deployment = stage(stand, make_release("new"))
    stand.suite.shell("02_breaks", "exit 1")
    stand.events.wait("watch.failed", deployment=deployment)
    stand.suite.remove("02_breaks")
    stand.daemon.kill_role(role)
    found = stand.admin.deployment(deployment)
    assert found["state"] == "watching" and found["reason"] is None and "02_breaks" in found["watched"]["failure"]
    assert stand.events.wait_end(deployment)["type"] == "deployment.done"
    assert len(stand.events.of("watch.failed")) == 1 and not stand.events.of("watch.passed")
    assert "02_breaks" in stand.admin.deployment(deployment)["timeline"][-2]["why"]
    assert stand.admin.live() == deployment


@pytest.mark.parametrize("role", ["control", "proxy", "keeper"])
def test_a_doubted_release_waits_on_when_a_role_was_killed(make_watched, make_release, role):
    stand = make_watched(watch={"uptests": "100ms", "on_fail": "hold"})
    deployment = stage(stand, make_release("new"))
    stand.suite.shell("02_breaks", "exit 1")
    stand.events.wait("watch.failed", deployment=deployment)
    stand.daemon.kill_role(role)
    found = stand.admin.deployment(deployment)
    assert found["state"] == "watching" and "02_breaks" in found["reason"]
    assert stand.admin.command("promote").status == 200
    assert stand.events.wait_end(deployment)["type"] == "deployment.done"


@pytest.mark.parametrize("role", ["control", "proxy", "keeper"])
def test_a_doubted_canary_keeps_its_share_when_a_role_was_killed(make_watched, make_release, role):
    stand = make_watched(watch={"uptests": "100ms", "on_fail": "hold"})
    fresh = make_release("new")
    deployment = stand.admin.stage([fresh.address], canary=[50], step="1h")
    stand.events.wait("canary.step", deployment=deployment)
    stand.suite.shell("02_breaks", "exit 1")
    stand.events.wait("watch.failed", deployment=deployment)
    stand.daemon.kill_role(role)
    found = stand.admin.deployment(deployment)
    assert found["state"] == "canary" and found["canary"]["share"] == 50 and "02_breaks" in found["reason"]
    assert stand.admin.command("rollback").status == 200
    assert stand.events.wait_end(deployment)["type"] == "deployment.rolled_back"
    assert stand.admin.live() == stand.first


def test_a_service_whose_watch_goes_on_is_not_removed_and_the_refusal_names_what_ends_it(make_watched, make_release):
    stand = make_watched()
    deployment = stage(stand, make_release("new"))
    config = stand.daemon.config
    config["services"] = [{**config["services"][0], "name": "other", "instances": []}]
    stand.daemon.write_config()
    answer = stand.admin.post("/v1/reload")
    assert answer.status == 422 and "end that with promote or rollback" in answer.detail
    assert stand.admin.command("promote").status == 200
    assert stand.events.wait_end(deployment)["type"] == "deployment.done"


@pytest.mark.parametrize("on_fail", ["rollback", "hold"])
def test_a_watch_whose_service_was_removed_while_the_daemon_was_away_ends(make_watched, make_release, on_fail):
    stand = make_watched(watch={"uptests": "100ms", "on_fail": on_fail})
    deployment = stage(stand, make_release("new"))
    if on_fail == "hold":
        stand.suite.shell("02_breaks", "exit 1")
        stand.events.wait("watch.failed", deployment=deployment)
    stand.daemon.stop()
    services = stand.daemon.config["services"]
    stand.daemon.config["services"] = [{**services[0], "name": "other", "instances": []}]
    stand.daemon.start()
    follower = stand.daemon.events()
    follower.wait("deployment.done", deployment=deployment)
    stand.daemon.config["services"] = services
    stand.daemon.write_config()
    assert stand.admin.post("/v1/reload").status == 200
    assert [pool["deployment"] for pool in stand.admin.service()["pools"]] == [deployment]
