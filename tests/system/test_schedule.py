"""Scheduled uptests: live instances are tested again and again; who fails is told of, and with eject is out."""

import os

import pytest

from harness.app import AppInstance
from harness.load import Load
from harness.waiting import stays, wait_until

EVERY = {"schedule": "150ms", "timeout": "5s"}
EJECT = {**EVERY, "eject": True}


class Ward:
    """A stand whose one uptest fails on the instances whose port is in a folder."""

    def __init__(self, stand, apps):
        self.stand, self.apps = stand, apps
        self.admin = stand.admin
        self.folder = stand.daemon.path("sick")
        os.mkdir(self.folder)
        stand.suite.shell("01_well", f'test ! -e {self.folder}/$2 || {{ echo "port $2 is sick"; exit 1; }}')
        stand.daemon.config["services"][0]["instances"] = [app.address for app in apps]
        stand.start()
        self.events = stand.events

    def sicken(self, *apps):
        for app in apps:
            with open(os.path.join(self.folder, str(app.port)), "w", encoding="ascii"):
                pass

    def heal(self, *apps):
        for app in apps:
            os.unlink(os.path.join(self.folder, str(app.port)))

    def instances(self):
        return {each["address"]: each for each in self.admin.pool(self.admin.live())["instances"]}

    def state(self, app):
        return self.instances()[app.address]["state"]

    def wait_state(self, app, state):
        wait_until(lambda: self.state(app) == state, what=f"{app.address} to be {state}")

    def wait_uptests(self, app, word):
        wait_until(lambda: self.instances()[app.address].get("uptests") == word, what=f"uptests {word}")

    def metric(self, name, **labels):
        wanted = {"service": "web", **labels}
        return next((v for (n, l), v in self.admin.metrics().items() if n == name and dict(l) == wanted), None)

    def reload(self, **uptests):
        self.stand.daemon.config["services"][0]["uptests"].update(uptests)
        self.stand.daemon.write_config()
        assert self.admin.post("/v1/reload").status == 200


@pytest.fixture
def ward(make_stand, make_app):
    """ward(count, service={...}, **uptests)"""

    def make(count, service=None, **uptests):
        return Ward(make_stand(live=0, uptests={**EJECT, **uptests}, service=service), make_app("v1", count))

    return make


def requests_reach(app):
    """Whether load reaches it: its log grows by more than the question."""
    before = len(app.log())
    return lambda: len(app.log()) > before + 5


def test_an_instance_whose_uptest_fails_gets_no_request_under_load_and_comes_back(ward):
    ward = ward(3)
    a, b, c = ward.apps
    with Load(ward.stand.port) as load:
        ward.wait_uptests(a, "passed")
        ward.sicken(a)
        failed = ward.events.wait("uptest.failed")
        assert (failed["deployment"], failed["instance"], failed["uptest"]) == ("web-0", a.address, "01_well")
        assert failed["output"] == f"port {a.port} is sick\n" and failed["failed"] == 1
        assert "exited with status 1" in failed["reason"]
        ejected = ward.events.wait("instance.ejected")
        assert (ejected["instance"], ejected["by"]) == (a.address, "uptests")
        assert ward.state(a) == "ejected" and ward.instances()[a.address]["uptests"] == "failed"
        quiet = {}

        def is_quiet():  # not one request between two looks
            before, quiet["count"] = quiet.get("count"), len(a.log())
            return before == quiet["count"]

        wait_until(is_quiet, what="no request to come any more")
        wait_until(requests_reach(b), what="requests at another")
        stays(lambda: len(a.log()) == quiet["count"], 0.5, what="the silence")
        assert ward.metric("upswap_instance_uptests_passing", instance=a.address) == 0
        assert ward.metric("upswap_instance_uptests_passing", instance=b.address) == 1
        assert ward.metric("upswap_instance_up", instance=a.address) == 0
        assert ward.metric("upswap_scheduled_uptests_total", result="failed") >= 1
        assert ward.metric("upswap_scheduled_uptests_total", result="passed") >= 3
        ward.heal(a)
        assert ward.events.wait("uptest.passed")["instance"] == a.address
        assert ward.events.wait("instance.restored")["reason"] == "its uptests pass again"
        wait_until(requests_reach(a), what="requests to come again")
    load.assert_flawless()
    assert len(ward.events.of("uptest.failed")) == 1, "told once, not at each run"
    assert ward.state(c) == "up"


def test_the_last_one_that_serves_stays_under_load(ward):
    ward = ward(2)
    a, b = ward.apps
    with Load(ward.stand.port) as load:
        ward.sicken(a)
        ward.wait_state(a, "ejected")
        ward.sicken(b)
        ward.wait_uptests(b, "failed")
        assert ward.events.wait("uptest.failed", instance=b.address)
        stays(lambda: (ward.state(a), ward.state(b)) == ("ejected", "up"), 0.5)
        wait_until(requests_reach(b), what="requests at the last one")
        ward.heal(a)  # now there is one in its place
        ward.wait_state(a, "up")
        ward.wait_state(b, "ejected")
        wait_until(requests_reach(a), what="requests at the one that is well")
    load.assert_flawless()
    assert ward.events.of("instance.ejected", instance=b.address)


def test_without_eject_a_failure_is_told_and_changes_nothing(ward):
    ward = ward(2, eject=False)
    a, _ = ward.apps
    ward.sicken(a)
    ward.events.wait("uptest.failed", instance=a.address)
    ward.wait_uptests(a, "failed")
    stays(lambda: ward.state(a) == "up", 0.4)
    assert not ward.events.of("instance.ejected")
    ward.reload(eject=True)
    ward.wait_state(a, "ejected")
    ward.reload(eject=False)
    ward.wait_state(a, "up")
    assert "takes none out" in ward.events.wait("instance.restored")["reason"]


def test_a_reload_that_ends_the_schedule_brings_all_back(ward):
    ward = ward(2)
    a, _ = ward.apps
    ward.sicken(a)
    ward.wait_state(a, "ejected")
    ward.reload(schedule="0s", eject=False)
    ward.wait_state(a, "up")
    assert "uptests" not in ward.instances()[a.address]
    assert ward.metric("upswap_instance_uptests_passing", instance=a.address) is None


def test_when_its_stand_in_is_taken_out_by_hand_one_that_fails_serves(ward):
    ward = ward(2)
    a, b = ward.apps
    ward.sicken(a)
    ward.wait_state(a, "ejected")
    assert ward.admin.command("drain", instance=b.address).status == 200
    ward.wait_state(a, "up")
    assert ward.stand.ask().status == 200
    assert "no other to serve" in ward.events.wait("instance.restored")["reason"]
    assert ward.admin.command("enable", instance=b.address).status == 200
    ward.wait_state(a, "ejected")


def test_when_the_others_die_one_that_fails_its_uptests_serves(ward):
    ward = ward(2, service={"health": {"interval": "50ms", "timeout": "1s", "rise": 1, "fall": 1}})
    a, b = ward.apps
    ward.sicken(a)
    ward.wait_state(a, "ejected")
    b.kill()
    ward.wait_state(b, "down")
    ward.wait_state(a, "up")
    wait_until(lambda: ward.stand.ask().status == 200, what="an answer")


def test_when_the_others_die_one_that_fails_serves_without_another_run(ward):
    ward = ward(2, service={"health": {"interval": "50ms", "timeout": "1s", "rise": 1, "fall": 1}})
    a, b = ward.apps
    ward.sicken(a)
    ward.wait_state(a, "ejected")
    ward.reload(schedule="1h")
    wait_until(lambda: ward.stand.ask().status == 200, what="an answer of the other one")
    b.kill()
    ward.wait_state(b, "down")
    ward.wait_state(a, "up")
    wait_until(lambda: ward.stand.ask().status == 200, what="an answer")
    b.wait_end()
    again = AppInstance("v1", b.port)
    try:
        ward.wait_state(b, "up")
        ward.wait_state(a, "ejected")
    finally:
        again.stop()


def test_one_that_was_drained_is_not_tested(ward):
    ward = ward(2)
    a, b = ward.apps
    assert ward.admin.command("drain", instance=a.address).status == 200

    def wait_runs(count):
        seen = ward.metric("upswap_scheduled_uptests_total", result="passed") or 0
        wait_until(
            lambda: (ward.metric("upswap_scheduled_uptests_total", result="passed") or 0) >= seen + count, what="runs"
        )

    wait_runs(3)  # one that had begun before it was drained is over
    ward.sicken(a)
    wait_runs(3)
    assert not ward.events.of("uptest.failed") and ward.state(a) == "drained" and ward.state(b) == "up"


def test_a_new_control_goes_on_with_what_is_known(ward):
    ward = ward(2)
    a, _ = ward.apps
    ward.sicken(a)
    ward.wait_state(a, "ejected")
    ward.stand.daemon.kill_role("control")
    assert ward.state(a) == "ejected"
    wait_until(lambda: ward.metric("upswap_scheduled_uptests_total", result="failed"), what="a run of the new one")
    assert len(ward.events.of("uptest.failed")) == 1 and not ward.events.of("instance.restored")
    ward.heal(a)
    ward.wait_state(a, "up")


def test_a_new_proxy_knows_who_is_out(ward):
    ward = ward(2)
    a, _ = ward.apps
    ward.sicken(a)
    ward.wait_state(a, "ejected")
    ward.stand.daemon.kill_role("proxy")
    assert {ward.stand.ask().status for _ in range(20)} == {200}
    assert not a.log()


def test_a_swap_to_a_new_pool_begins_anew(ward, make_app):
    ward = ward(2, schedule="1s")
    a, _ = ward.apps
    ward.sicken(a)
    ward.wait_state(a, "ejected")
    fresh = make_app("v2", 2)
    end = ward.events.wait_end(ward.admin.stage([app.address for app in fresh]))
    assert end["type"] == "deployment.done"
    assert {each["state"] for each in ward.instances().values()} == {"up"}
    assert not any("uptests" in each for each in ward.instances().values())
    ward.sicken(fresh[0])
    failed = ward.events.wait("uptest.failed", instance=fresh[0].address)
    assert failed["deployment"] == "web-1"
    ward.wait_state(fresh[0], "ejected")


def test_a_suite_that_vanishes_blames_no_instance(ward):
    ward = ward(2)
    a, _ = ward.apps
    ward.wait_uptests(a, "passed")
    ward.stand.suite.remove("01_well")
    failed = ward.events.wait("uptest.failed")
    assert failed["instance"] is None and "has no uptests" in failed["reason"]
    assert {each["state"] for each in ward.instances().values()} == {"up"}
    ward.stand.suite.add("02_plain", "no program", mode=0o644)
    stays(lambda: {each["state"] for each in ward.instances().values()} == {"up"}, 0.5)
    assert len(ward.events.of("uptest.failed")) == 1, "told once"


def test_a_run_gets_what_a_gate_gets_and_waits_for_the_gate(make_stand, make_app, puppets):
    """While a gate is under way no scheduled run is; a run that was under way is given up."""
    stand = make_stand(live=0, uptests={"schedule": "100ms"})
    app, fresh = make_app("v1"), make_app("v2")
    stand.daemon.config["services"][0]["instances"] = [app.address]
    stand.suite.add("01_puppet", puppets.program)
    stand.start()
    scheduled = puppets.next()
    assert scheduled.instance == app.address
    environment = scheduled.environment
    assert (environment["UPTEST_SERVICE"], environment["UPTEST_DEPLOYMENT"]) == ("web", "web-0")
    assert environment["UPTEST_RELEASE"] == "" and environment["UPTEST_VHOST"] == app.address
    deployment = stand.admin.stage([fresh.address], release="v2")
    gate = puppets.next()
    assert gate.instance == fresh.address
    scheduled.wait_end()
    with pytest.raises(AssertionError):
        puppets.next(timeout=1)
    gate.exit()
    assert stand.events.wait_end(deployment)["type"] == "deployment.done"
    again = puppets.next()
    assert again.instance == fresh.address and again.environment["UPTEST_RELEASE"] == "v2"
    assert again.environment["UPTEST_DEPLOYMENT"] == deployment
    with pytest.raises(AssertionError):
        puppets.next(timeout=0.5)  # it is one run at a time
    again.exit()
    puppets.next().exit()


def test_runs_stop_with_the_daemon(ward):
    ward = ward(1)
    ward.stand.suite.shell("02_sleeps", "exec sleep 60")
    wait_until(lambda: "sleep" in os.popen("ps -o args --no-headers -e").read(), what="the uptest")
    assert ward.stand.daemon.stop() == 0
