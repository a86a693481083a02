"""The machine's clock is set by a day while control or the proxy is down: what lasts goes on as if it had not been."""

import datetime
import email.utils
import select
import time

import pytest

from harness.backend import Held
from harness.client import RawClient
from harness.faults import STRIKES, program_with_faults
from harness.session import Session
from harness.waiting import wait_until

if program_with_faults() is None:
    pytest.skip("this build has no fault points (--enable-fault-points)", allow_module_level=True)

DAY = 86400
LENGTH, PASSED = 6, 4  # seconds: how long each of them lasts, and how much of that is over when control dies

# What is done to which clock, and by how many days that of the second control is ahead.
JUMPS = {
    "forward": ("control.2/clock.forward:1", 1),
    "back": ("control.2/clock.back:1", -1),
    "back-after-forward": ("control.1/clock.forward:1", 0),  # the records are of a clock that was ahead
}


@pytest.fixture
def make_planned(make_stand):
    """A stand that is not started, whose clocks are set where the plan says so."""

    def make(plan, **options):
        made = make_stand(**options)
        made.daemon.program = program_with_faults()
        made.daemon.environment = {"UPSWAP_FAULTS": plan, "ASAN_OPTIONS": "detect_leaks=0"}
        made.suite.shell("01_pass")
        return made

    return make


@pytest.fixture
def make_three(make_planned, make_backend):
    """With a service whose deployment is to be held, one whose pool is to drain, and one that is to be paused."""

    def make(plan):
        made = make_planned(plan, live=0)
        (web,) = made.daemon.config["services"]
        services = {
            "held": {"hold_timeout": f"{LENGTH}s"},
            "drained": {"drain": {"requests": f"{LENGTH}s", "spread": "0s"}},
            "paused": {},
        }
        made.old = {name: make_backend(name) for name in services}
        made.daemon.config["services"] = [
            {**web, **keys, "name": name, "hosts": [f"{name}.test"], "instances": [made.old[name].address]}
            for name, keys in services.items()
        ]
        return made.start()

    return make


class Lasting:
    """Something that lasts LENGTH, and when it ended."""

    def __init__(self, is_over):
        self.before = time.monotonic()
        self.is_over = is_over
        self.end = None

    def has_ended(self):
        if self.end is None and self.is_over():
            self.end = time.monotonic()
        return self.end is not None

    def check(self, killed):
        """It did not end early; nor did it begin anew with the new control, to last until LENGTH after that."""
        assert self.end - self.before >= LENGTH - 0.3, "it was cut short"
        assert self.end - killed < LENGTH, "it has begun anew"


def hold(stand, backend):
    lasting = Lasting(lambda: stand.state(deployment) == "aborted")
    deployment = stand.admin.stage([backend.address], service="held", hold=True)
    stand.wait_state(deployment, "held")
    return lasting


def drain(stand, backend, client):
    """The client's request keeps the old pool until its deadline."""
    kept = stand.old["drained"].on("/kept", Held())
    client.request(target="/kept", host="drained.test")
    kept.wait()
    lasting = Lasting(lambda: select.select([client.socket], [], [], 0)[0])
    deployment = stand.admin.stage([backend.address], service="drained")
    stand.wait_state(deployment, "draining")
    return lasting


def pause(stand):
    lasting = Lasting(lambda: stand.admin.service("paused")["state"] == "serving")
    assert stand.admin.command("pause", "paused", max=f"{LENGTH}s", wait="100ms").status == 200
    return lasting


def at(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


@pytest.mark.parametrize("jump", JUMPS)
def test_what_lasts_is_neither_cut_short_nor_begun_anew(make_three, make_backend, jump):
    plan, days = JUMPS[jump]
    stand = make_three(plan)
    with RawClient(stand.port, timeout=60) as client:
        lasting = [hold(stand, make_backend()), drain(stand, make_backend(), client), pause(stand)]
        begun = time.monotonic()
        wait_until(lambda: time.monotonic() - begun > PASSED, what="some of it to be over")
        killed = time.monotonic()
        stand.daemon.kill_role("control")
        assert STRIKES.findall(stand.daemon.stderr()) == [plan], "the clock was not set"
        mode = stand.admin.service("paused")["mode"]
        assert abs(at(mode["until"]) - (time.time() + days * DAY)) < LENGTH, "it is not told by the clock as it is now"
        wait_until(lambda: all([each.has_ended() for each in lasting]), what="the end of all three")
        for each in lasting:
            each.check(killed)
        answer = client.response()
        assert (answer.status, answer.upswap) == (503, "drain-deadline")
    for kind in ("drain.finished", "pause.ended"):
        assert LENGTH - 0.3 <= stand.events.wait(kind)["seconds"] < LENGTH + PASSED


@pytest.mark.parametrize("jump, days", [("forward", 1), ("back", -1)])
def test_a_session_stays_where_it_is_and_no_longer_than_it_may(make_planned, make_backend, jump, days):
    stand = make_planned(
        f"proxy.2/clock.{jump}:1",
        service={"pin": "cookie", "pin_duration": "1h", "affinity": {"duration": "4s"}},
    ).start()
    session = Session(stand)
    assert session.ask() == "live-0"
    deployment = stand.admin.stage([make_backend("fresh").address])
    stand.events.wait("swap.published", deployment=deployment)
    wait_until(lambda: stand.ask().text == "fresh", what="the swap to be seen")
    stand.daemon.kill_role("proxy")
    assert session.ask() == "live-0", "a pin was forgotten"
    date = email.utils.parsedate_to_datetime(stand.ask().get("Date")).timestamp()
    assert abs(date - (time.time() + days * DAY)) < DAY / 2, "what others read is not by the clock as it is now"
    assert STRIKES.findall(stand.daemon.stderr()) == [f"proxy.2/clock.{jump}:1"]
    wait_until(lambda: session.ask() == "live-0" and session.given, what="the affinity to lapse")
