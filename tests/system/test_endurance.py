"""After many swaps and many requests memory and descriptors are what they were. Here it is some; scripts/endurance does a
thousand swaps and a million requests, scripts/sanitize a thousand deployments under Valgrind."""

import os
import re
import subprocess

import pytest

from harness import processes
from harness.haproxy import Haproxy
from harness.waiting import PATIENCE, wait_until

SWAPS = int(os.environ.get("UPSWAP_ENDURANCE_SWAPS", "40"))
REQUESTS = int(os.environ.get("UPSWAP_ENDURANCE_REQUESTS", "20000"))
WARM_SWAPS = SWAPS
GROWTH = 1 << 20  # bytes that a role's resident memory may differ by
RECORD = 8192  # bytes that a deployment may take that is remembered, with its events
REMEMBERED = 1000  # deployments after which as much is forgotten as comes: 200 stay, and 10,000 events of all services
VALGRIND = os.environ.get("UPSWAP_ENDURANCE_PREFIX", "").split()  # a command to run the daemon by
ROLES = ("keeper", "control", "proxy")


@pytest.fixture
def release():
    made = []

    def make(name):
        reply = f"http-request return status 200 content-type text/plain lf-string {name}"
        made.append(Haproxy(None, more=[reply]))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def enduring(make_stand, release):
    """A stand between two releases: .swap() brings the one that is not live."""
    stand = make_stand(live=0, service={"drain": {"requests": "5s"}, "health": {"interval": "0s"}})
    stand.daemon.prefix = VALGRIND
    if VALGRIND:  # it has opened its report before the user changes, and cannot start uptests: it does not know pidfd_open
        stand.daemon.config["user"] = "root"
        stand.daemon.config["services"][0]["uptests"] = {"required": False}
    releases = [release("a"), release("b")]
    stand.daemon.config["services"][0]["instances"] = [releases[0].address]
    if not VALGRIND:
        stand.suite.shell("01_pass")
    stand.start()
    stand.swaps = 0

    def swap():
        stand.swaps += 1
        deployment = stand.admin.stage([releases[stand.swaps % 2].address], allow_untested=bool(VALGRIND))
        assert stand.events.wait_end(deployment)["type"] == "deployment.done"

    stand.swap = swap
    yield stand
    assert stand.daemon.stop(timeout=PATIENCE) == 0


def load(stand, requests):
    """Over 32 connections; all must be answered with 200."""
    done = subprocess.run(
        ["h2load", "--h1", "-c32", "-t1", f"-n{requests}", f"http://127.0.0.1:{stand.port}/"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.search(rf"status codes: {requests} 2xx, 0 3xx, 0 4xx, 0 5xx", done.stdout), done.stdout


def sizes(stand):
    """role -> (resident bytes, descriptors), of the same three processes at every time."""
    pids = {role: stand.daemon.pids[role] for role in ROLES}
    return {role: (processes.resident_bytes(pid), processes.descriptors(pid)) for role, pid in pids.items()}


def assert_flat(stand, before, allowed):
    """Descriptors are equal once connections that have ended are closed; memory may differ by so much."""
    wait_until(
        lambda: all(sizes(stand)[role][1] <= before[role][1] for role in ROLES),
        what=f"as many descriptors as before, {before} and not {sizes(stand)}",
    )
    after = sizes(stand)
    print(f"\nbefore {before}, after {after}")
    for role in ROLES:
        assert after[role][0] - before[role][0] <= allowed, (role, before, after)


def test_many_swaps_leave_memory_and_descriptors_as_they_were(enduring):
    for _ in range(WARM_SWAPS):
        enduring.swap()
    load(enduring, 1000)
    before = sizes(enduring)
    for _ in range(SWAPS):
        enduring.swap()
    load(enduring, 1000)
    if VALGRIND:  # its own memory grows
        return
    remembered = 0 if WARM_SWAPS >= REMEMBERED else SWAPS
    assert_flat(enduring, before, GROWTH + remembered * RECORD)


def test_many_requests_leave_memory_and_descriptors_as_they_were(enduring):
    load(enduring, max(REQUESTS // 10, 1000))
    before = sizes(enduring)
    load(enduring, REQUESTS)
    assert_flat(enduring, before, GROWTH)
