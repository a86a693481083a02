"""The cases of a life: swaps, a gate, start-up and reload, while clients ask. They are upswap's alone: what it does is compared with
the same without it."""

import itertools
import os
import statistics
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system"))

import loads
import machine
from harness.admin import Admin, Events  # noqa: E402
from harness.waiting import wait_until  # noqa: E402
from programs import MANY, Upswap, many_services

WINDOW_MS = 10
AROUND = 3  # windows that a gap or a wait may end in, from the one of its cause on
FAR = 10  # windows from any cause that are steady

LONG = 60  # s: patience


def longest(windows, causes):
    """(of the windows around a cause the longest, for each; the same of as many windows that are far from any), in ms."""
    over = [max(windows[at : at + AROUND]) for at in causes if at + AROUND <= len(windows)]
    steady = [
        max(windows[at : at + AROUND])
        for at in range(FAR, len(windows) - AROUND, AROUND)
        if all(at + AROUND < cause or at > cause + FAR for cause in causes)
    ]
    return [ns / 1e6 for ns in over], [ns / 1e6 for ns in steady]


def compared(column, windows, causes):
    over, steady = longest(windows, causes)
    return [{column: statistics.median(values), "worst gap ms": max(values)} for values in (over, steady)]


def monotonic(event):
    """ns, of an event's time of day; within its 1 ms."""
    day = time.mktime(time.strptime(event["time"][:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone + float(event["time"][19:-1])
    return (time.monotonic() - (time.time() - day)) * 1e9


def _spread(events, load):
    """Windows of the load in which these events were."""
    return [int((monotonic(event) - load["start"]) / 1e6 / WINDOW_MS) for event in events]


# ---- swaps ----


def _swap_for(seconds, admin, events, app):
    """Swaps between two instances, one swap behind the end of the other and a pause; returns the events of the swaps."""
    until = time.monotonic() + seconds
    pause, swaps = threading.Event(), []
    for number in itertools.count(2):
        pause.wait(0.3)
        if time.monotonic() > until:
            return swaps
        deployment = admin.stage([f"127.0.0.{number % 2 + 1}:{app}"], allow_untested=True)
        swaps.append(events.wait("swap.published", deployment=deployment, timeout=LONG))
        events.wait_end(deployment, timeout=LONG)


def swap(bench, case):
    """The worker has its core to itself where there is a third one for the rest of upswap."""
    setting = bench.setting(case)
    program = Upswap(setting, services=many_services(100, setting.app, MANY // 100)).start()
    events = Events(program.socket)
    rounds = []
    try:
        if machine.CORES > 2:
            machine.pin([pid for pid in program.pids() if pid != Admin(program.socket).status()["pids"]["proxy"]], {2})
        for number in range(bench.rounds):
            load = loads.RunningLoad(setting, program.clear, 64, f"window={WINDOW_MS}")
            swaps = _swap_for(max(bench.seconds, 2), Admin(program.socket), events, setting.app)
            told = load.end()
            over, steady = compared("longest gap ms", told["gaps"], _spread(swaps, told))
            taken = [event["nanoseconds"] / 1e6 for event in swaps]
            written = statistics.median(event["written_nanoseconds"] / 1e6 for event in swaps)
            over |= {"decision to publication ms": statistics.median(taken), "of which until written ms": written}
            over |= {"worst of these ms": max(taken), "swaps": len(swaps)}
            rounds.append({"over a swap": over, "steady": steady})
            bench.tell_round(number, rounds[-1])
    finally:
        events.stop()
        program.stop()
    return rounds


# ---- a gate ----

INSTANCES, UPTESTS, PARALLEL = 500, 5, 8
UPTEST = """#!/bin/bash
exec 3<>"/dev/tcp/$1/$2" || exit 1
printf 'GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n' >&3
read -r _ status _ <&3
[ "$status" = 200 ]
"""
RATE = 1000  # requests a second of the live clients


def _make_suite(folder):
    os.mkdir(folder)
    for number in range(UPTESTS):
        path = os.path.join(folder, f"0{number}")
        with open(path, "w", encoding="ascii") as file:
            file.write(UPTEST)
        os.chmod(path, 0o755)
    return folder


def _alone(suite, hosts, port):
    """The same uptests, as many at a time, without upswap."""
    each = f'for uptest in {suite}/*; do "$uptest" "$0" {port} || exit 255; done'
    process = machine.spawn(["xargs", f"-P{PARALLEL}", "-n1", "sh", "-c", each], None, stdin=-1, text=True)
    process.communicate("\n".join(hosts))
    if process.returncode != 0:
        sys.exit("scripts/bench: an uptest has failed by itself")


def _state(admin):
    """Of the running deployment; None: there is none."""
    running = admin.service()["deployment"]
    return running and running["state"]


def _gated(admin, hosts, port):
    """Returns the seconds from the staging to the verdict as the deployment tells them. Looks rarely and follows no event: what that
    takes would be taken from the uptests."""
    deployment, pause = admin.stage([f"{host}:{port}" for host in hosts], hold=True), threading.Event()
    until = time.monotonic() + 10 * LONG
    while (state := _state(admin)) in ("staged", "testing") and time.monotonic() < until:
        pause.wait(0.2)
    if state != "held":
        sys.exit(f"scripts/bench: the gate has not passed: {admin.deployment(deployment)['reason']}")
    timeline = admin.deployment(deployment)["timeline"]
    ends = [monotonic(next(entry for entry in timeline if entry["state"] == state)) for state in ("staged", "held")]
    admin.command("abort")
    wait_until(lambda: admin.deployment(deployment)["ended"], timeout=LONG)
    return (ends[1] - ends[0]) / 1e9


def _timed(setting, program, act):
    """act returns how long it has taken, or None: as long as it did."""
    load = loads.RunningLoad(setting, program.clear, 16, f"rate={RATE}")
    begun = time.monotonic()
    took = act() or time.monotonic() - begun
    told = load.end()
    return {"seconds": took, **{name: told[name] for name in ("p50 us", "p99 us", "p99.9 us")}}


def gate(bench, case):
    """The proxy has a core, the load another one; uptests run on both, whoever starts them."""
    setting = bench.setting(case)
    suite = _make_suite(os.path.join(setting.folder, "uptests"))
    program = Upswap(setting, uptests=f'directory = "{suite}"; parallel = {PARALLEL}; total_timeout = "600s";').start(None)
    admin = Admin(program.socket)
    machine.pin([admin.status()["pids"]["proxy"]], {machine.PROXY_CORE})
    hosts = [f"127.0.{1 + number // 250}.{1 + number % 250}" for number in range(INSTANCES)]
    rounds = []
    try:
        for number in range(bench.rounds):
            alone = _timed(setting, program, lambda: _alone(suite, hosts, setting.app))
            gated = _timed(setting, program, lambda: _gated(admin, hosts, setting.app))
            rounds.append({"gate": gated, "uptests alone": alone})
            bench.tell_round(number, rounds[-1])
    finally:
        program.stop()
    return rounds


# ---- many services ----

DEPLOYMENTS = 10  # a round, for what one costs control


def _first_answer(program):
    begun = time.monotonic()
    program.start()
    return time.monotonic() - begun


def services(bench, case):
    setting = bench.setting(case)
    rounds = []
    for number in range(bench.rounds):
        texts = [many_services(count, setting.app) for count in (MANY - 1, MANY - 2)]
        program = Upswap(setting, services=texts[0])
        program.has_tls = False
        try:
            first = _first_answer(program)
            load = loads.RunningLoad(setting, program.clear, 64, "rate=2000", f"window={WINDOW_MS}")
            reloads = _reload_for(max(bench.seconds, 3), program, texts)
            told = load.end()
            taken = _control_of_deployments(program, setting.app)
        finally:
            program.stop()
        spans = [[int((at - told["start"]) / 1e6 / WINDOW_MS) for at in span] for span in reloads]
        figures = _over_spans(told["times"], spans)
        figures["start"] = {"first answer s": first}
        figures["a deployment"] = {"control ms": statistics.median(taken)}
        figures["over a reload"]["reload s"] = statistics.median((end - begin) / 1e9 for begin, end in reloads)
        rounds.append(figures)
        bench.tell_round(number, figures)
    return rounds


def _reload_for(seconds, program, texts):
    """Reloads, each with a service more or less; returns their beginnings and ends, monotonic ns."""
    until, pause, spans = time.monotonic() + seconds, threading.Event(), []
    for number in itertools.count(1):
        pause.wait(0.5)
        if time.monotonic() > until and spans:
            return spans
        program.more["services"] = texts[number % 2]
        program.write_config()
        begun = time.monotonic_ns()
        answer = Admin(program.socket).post("/v1/reload")
        if answer.status != 200:
            sys.exit(f"scripts/bench: the reload is refused: {answer}")
        spans.append((begun, time.monotonic_ns()))


def _control_of_deployments(program, app):
    """CPU that control spends on each of a few deployments, from its staging to the teardown of what it replaced, ms."""
    admin, events, taken = Admin(program.socket), Events(program.socket), []
    control = admin.status()["pids"]["control"]
    try:
        for number in range(DEPLOYMENTS):
            before = machine.cpu_ns([control])
            deployment = admin.stage([f"127.0.0.{number % 2 + 2}:{app}"], allow_untested=True)
            events.wait_end(deployment, timeout=LONG)
            taken.append((machine.cpu_ns([control]) - before) / 1e6)
    finally:
        events.stop()
    return taken


def _over_spans(times, spans):
    """The longest time of any answer while one of the reloads went on and 100 ms behind it, and of as many windows without."""
    after = 100 // WINDOW_MS
    over = [max(times[begin : end + after]) for begin, end in spans if end + after <= len(times)]
    length = max(end + after - begin for begin, end in spans)
    quiet, steady = 0, []
    for at in range(FAR, len(times)):
        quiet = 0 if any(begin <= at < end + after for begin, end in spans) else quiet + 1
        if quiet == min(length, 20):
            steady.append(max(times[at - quiet + 1 : at + 1]))
            quiet = 0
    return {
        name: {"longest ms": statistics.median(values) / 1e6, "worst ms": max(values) / 1e6}
        for name, values in (("over a reload", over), ("steady", steady))
    }
