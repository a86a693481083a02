"""The crash matrix: the daemon dies, or a call of it fails, at each point that a scenario passes; afterwards all is as it must be.

The default run takes a sample. UPSWAP_FAULT_WALK names another: a seed, "all", or the words of plans, as a failure
prints them ("control.1/appender.write:3"); scripts/crash-matrix does it with a build of its own.
"""

import os
import random
import time

import pytest

from harness.certificates import Authority
from harness.faults import Ordeal, points_in_source, program_with_faults
from harness.waiting import wait_until

WALK = os.environ.get("UPSWAP_FAULT_WALK", "1")
COUNT = int(os.environ.get("UPSWAP_FAULT_COUNT", "1"))  # strikes of each scenario in a sample

if program_with_faults() is None:
    pytest.skip("this build has no fault points (--enable-fault-points)", allow_module_level=True)


# ---- scenarios: what a user does, whatever strikes ----


def nothing(_):
    """The start, and the end that all have: a plain deployment, and SIGTERM."""


def hold_and_promote(ordeal):
    name = ordeal.stage("b", hold=True)
    ordeal.reach(name, "held")
    ordeal.decide("promote", name, "held", ("testing", "draining", "done", "rejected"))


def reject(ordeal):
    for address in ordeal.group("b"):
        with open(f"{ordeal.daemon.path('fail')}.{address.rpartition(':')[2]}", "w", encoding="ascii"):
            pass
    name = ordeal.stage("b")
    assert ordeal.reach(name) == "rejected"


def give_a_canary_up(ordeal):
    name = ordeal.stage("b", canary=[50], step="1h", watch="200ms")
    ordeal.reach(name, "canary")
    ordeal.decide("abort", name, "canary", ("rolled_back", "aborted"))


def watch_and_roll_back(ordeal):
    name = ordeal.stage("b", watch="1h")
    ordeal.reach(name, "watching")
    ordeal.decide("rollback", name, "watching", ("rolled_back",))


def launch(ordeal):
    ordeal.group("b")
    known = {each["deployment"] for each in ordeal.history()}
    ordeal.reach(ordeal._stage({"launch": True, "release": "b"}, known))


def pause_with_a_command(ordeal):
    ordeal.reach(ordeal.stage("b", pause_with=["/bin/true"]))


def modes(ordeal):
    instance = ordeal.groups["a"][0].address
    ordeal.command("drain", instance=instance)
    ordeal.acknowledged.append(("", lambda: True))
    states = {i["address"]: i["state"] for i in ordeal.service()["pools"][0]["instances"]}
    assert states[instance] == "drained"
    ordeal.command("enable", instance=instance)
    ordeal.command("pause", max="1h", wait="100ms")
    assert ordeal.service()["state"] == "paused"
    ordeal.command("resume")
    assert ordeal.service()["state"] == "serving"


def reload(ordeal):
    """A listener more, with TLS, and a service more, whose instance is a name."""
    other = ordeal.make_backend("other")
    site = Authority(ordeal.daemon.folder).issue("localhost")
    tls = {"certificate": site.certificate_path, "key": site.key_path}
    ordeal.daemon.config["listeners"].append({"address": "127.0.0.1:0", "tls": tls})
    ordeal.daemon.config["services"].append(
        {"name": "other", "hosts": ["other.test"], "instances": [f"localhost:{other.port}"]}
    )
    ordeal.daemon.write_config()
    for _ in range(8):
        answer = ordeal.post("/v1/reload")
        if answer is not None and answer.status == 200:
            break
        assert answer is None or answer.status in (409, 422, 507), answer
    assert answer.status == 200
    ordeal.acknowledged.append(("the reload", lambda: ordeal.admin.live("other") == "other-0"))


def upgrade(ordeal):
    """Until one has succeeded: one that was struck may be refused, or be lost with its keeper."""
    events = ordeal.daemon.events()
    for _ in range(4):
        seen, revivals = len(events.of("daemon.upgrade_refused")), ordeal.revivals
        answer = ordeal.post("/v1/upgrade")
        assert answer is None or answer.status in (202, 409, 503), answer
        patience = time.monotonic() + 5
        wait_until(
            lambda: events.of("daemon.upgraded")
            or len(events.of("daemon.upgrade_refused")) > seen
            or ordeal.revivals > revivals
            or time.monotonic() > patience
        )
        ordeal.up()
        if events.of("daemon.upgraded"):
            break
    else:
        raise AssertionError("no upgrade succeeds")
    wait_until(lambda: ordeal.admin_or_up(lambda: ordeal.daemon.pids["finishing"]) == [], timeout=30)


def start_on_torn_files(ordeal):
    """The scenario's daemon is the second one: the first was cut off while it wrote."""
    ordeal.daemon.crash()
    for name in ("journal", "events.jsonl"):
        with open(os.path.join(ordeal.daemon.config["state_directory"], name), "ab") as file:
            file.write(b'{"torn')
    ordeal.start(ordeal.plan)
    answers = ordeal.traffic.answers
    seen = len(answers)
    wait_until(lambda: ordeal.up() or len(answers) > seen, timeout=30, what="traffic to go on")
    ordeal.traffic.failures.clear()


SCENARIOS = [
    nothing,
    hold_and_promote,
    reject,
    give_a_canary_up,
    watch_and_roll_back,
    launch,
    pause_with_a_command,
    modes,
    reload,
    upgrade,
    start_on_torn_files,
]

# Where it struck, once, something was lost or stuck.
ONCE_BROKEN = [
    "nothing@keeper.1/role.fork:2",  # a proxy that could not be started was not started again
    "nothing@control.1/world.memfd:4",  # a world that could not be made was never made: the swap was never published
    "nothing@proxy.1/world.copy:1",  # nor was one that the proxy could not take
    "nothing@proxy.1/channel.send:2",  # a shortage of the kernel's closed the channel for good
    "reload@control.1/send.before.store:7",  # a listener that was stored in part ended every next control
    "nothing@proxy.1/counters.dup:1",  # a proxy without counters went on, and served nobody
]

# Two strikes: what follows upon a first one, and a control that dies again while it takes up what the one before left.
PAIRS = [
    "hold_and_promote@control.1/appender.write:4 control.1/appender.truncate:1",
    "hold_and_promote@control.1/appender.sync:4 control.1/appender.cut:1",
    "nothing@control.1/channel.full:2 control.1/channel.dup:1",
    "nothing@keeper.1/channel.full:2 keeper.1/channel.dup:1",
]
AGAIN = {
    "hold_and_promote": "control.1/record.followed.event:4",
    "give_a_canary_up": "control.1/record.after.event:6",
    "launch": "control.1/record.after.added:1",
    "pause_with_a_command": "control.1/record.followed.event:3",
}


PASSED = set()  # names of points, by whatever this process has gone through
STOCKTAKEN = set()  # scenarios that were gone through with a log


def go_through(make_stand, make_backend, scenario, plan):
    """The whole ordeal; it comes back closed."""
    ordeal = Ordeal(make_stand, make_backend, plan)
    path, printed = ordeal.daemon.path("launch"), ordeal.daemon.path("printed")
    with open(path, "w", encoding="ascii") as file:
        file.write(f"#!/bin/sh\ncat {printed}\n")
    os.chmod(path, 0o755)
    with open(printed, "w", encoding="ascii") as file:
        file.writelines(f"{address} pid={os.getpid()}\n" for address in ordeal.group("b"))
    ordeal.daemon.config["services"][0]["launch"] = {"command": [path]}
    try:
        ordeal.start("" if scenario is start_on_torn_files else plan)
        before = ordeal.census()
        scenario(ordeal)
        after = ordeal.census()
        ordeal.finish()
        whole = ordeal.census()
    finally:
        ordeal.close()
    PASSED.update(word.partition("/")[2] for word in whole)
    PASSED.update(word.partition("/")[2].partition(":")[0] for word in ordeal.struck())
    STOCKTAKEN.update({scenario} if "log" in plan else ())
    if scenario is nothing:  # it has the start and the end for all
        before, after = {}, whole
    ordeal.own = {word: (before.get(word, 0) + 1, last) for word, last in after.items() if last > before.get(word, 0)}
    return ordeal


# ---- which strikes ----


def is_of_interest(word):
    """Memory is the control path's; the proxy's sockets have tests of their own."""
    role, _, point = word.partition("/")
    return not (role.startswith("proxy") and point.split(".")[0] in ("mem", "listener", "stream"))


def numbers(first, last, most):
    """At most so many from first to last: both ends, and evenly between."""
    if last - first < most:
        return list(range(first, last + 1))
    return sorted({first + (last - first) * each // (most - 1) for each in range(most)})


def strikes_of(ordeal, lives=""):
    """Every strike that is worth it: of memory the first and the last of each function, of the rest up to five."""
    return [
        f"{word}:{number}"
        for word, (first, last) in sorted(ordeal.own.items())
        if is_of_interest(word) and word.startswith(lives)
        for number in numbers(first, last, 2 if "/mem." in word else 5)
    ]


def plans_of(scenario, take_stock):
    """The plans of the walk for this scenario."""
    name = scenario.__name__
    if "@" in WALK:
        return [plan for where, plan in (word.split("@") for word in WALK.split(",")) if where == name]
    plans = strikes_of(take_stock("log"))
    pairs = [pair.partition("@")[2] for pair in PAIRS if pair.startswith(f"{name}@")]
    if WALK != "all":
        return random.Random(f"{WALK} {name}").sample([*plans, *pairs], min(COUNT, len(plans)))
    if name in AGAIN:
        again = strikes_of(take_stock(f"log {AGAIN[name]}"), "control.2/")
        pairs += [f"{AGAIN[name]} {word}" for word in again if "/mem." not in word]
    return plans + pairs


def note(word):
    """For scripts/crash-matrix, which sums up what has struck."""
    if os.environ.get("UPSWAP_FAULT_TALLY"):
        with open(os.environ["UPSWAP_FAULT_TALLY"], "a", encoding="ascii") as file:
            file.write(f"{word}\n")


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_wherever_it_strikes_nothing_is_lost_and_nothing_is_stuck(make_stand, make_backend, scenario):
    failures = []
    for plan in plans_of(scenario, lambda plan: go_through(make_stand, make_backend, scenario, plan)):
        try:
            ordeal = go_through(make_stand, make_backend, scenario, plan)
        except Exception as fault:
            failures.append(f"{scenario.__name__}@{plan}: {fault!r}")
            continue
        for word in ordeal.struck():
            note(word)
    assert not failures, "\n".join([f"{len(failures)} failed:", *failures])


@pytest.mark.parametrize("word", ONCE_BROKEN)
def test_what_was_lost_or_stuck_once_is_not_again(make_stand, make_backend, word):
    scenario, _, plan = word.partition("@")
    ordeal = go_through(make_stand, make_backend, globals()[scenario], plan)
    assert ordeal.struck() == [plan]


def test_a_confined_proxy_that_is_struck_dies_by_the_signal_of_a_crash(make_stand, make_backend):
    """Not by that of its filter of system calls, by which the keeper knows a proxy that may have been taken over."""
    ordeal = go_through(make_stand, make_backend, nothing, "proxy.1/send.after.published:1")
    said = ordeal.daemon.stderr()
    if "a filter of system calls" not in said:
        pytest.skip("this build or kernel has no filter, or nobody to confine it as")
    assert "the proxy was killed by signal 9 (Killed); it is started again" in said
    assert "SIGSYS" not in said


@pytest.mark.skipif("UPSWAP_FAULT_TALLY" not in os.environ, reason="goes through all scenarios: scripts/crash-matrix")
def test_no_point_is_dead(make_stand, make_backend):
    """Each that stands in the source is passed by a scenario, or follows upon a strike of a pair."""
    for scenario in set(SCENARIOS) - STOCKTAKEN:
        go_through(make_stand, make_backend, scenario, "log")
    for pair in PAIRS:
        name, _, plan = pair.partition("@")
        go_through(make_stand, make_backend, globals()[name], plan)
    dead = [
        point
        for point in points_in_source()
        if not any(name == point or name.startswith(f"{point}.") for name in PASSED)
    ]
    assert not dead, dead
