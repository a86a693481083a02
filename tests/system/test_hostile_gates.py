"""Gates whose uptests do all that they can to get through, to stay, or to hurt, while control is killed.

Short here; long by scripts/torture. The seed, which is printed, decides every suite and every kill.
"""

import os
import pwd
import random

from harness import processes, tricks
from harness.client import ask
from harness.uptests import Suite
from harness.waiting import wait_until

GATES = int(os.environ.get("UPSWAP_GATES", "40"))
SEED = int(os.environ.get("UPSWAP_SEED") or random.SystemRandom().randrange(1 << 32))
SERVICES = 8
ENDED = ("done", "rejected", "aborted", "rolled_back")
MIB = 1 << 20


class Gate:
    """One deployment, and what its uptests may come to."""

    def __init__(self, torture, service, number):
        self.torture, self.service, self.release = torture, service, f"g{number}"
        self.folder = torture.daemon.path("releases", self.release)
        self.suite = Suite(self.folder)
        self.tricks = [tricks.draw(torture.random) for _ in range(torture.random.choice((1, 1, 2, 3)))]
        for position, (name, text, mode, _) in enumerate(self.tricks):
            shell = mode == 0o755 and text and not text.startswith("#!")
            self.suite.add(f"{position:02}_{name}", f"#!/bin/sh\n{text}\n" if shell else text, mode)
        if tricks.ROOT:  # who runs them may do with them what it likes
            for path in (self.folder, *(os.path.join(self.folder, each) for each in os.listdir(self.folder))):
                os.chown(path, torture.user.pw_uid, torture.user.pw_gid)
        self.before = torture.admin.live(service)
        address = torture.backends[service].address
        self.name = torture.admin.stage([address], service, release=self.release)

    def has_ended(self):
        return self.torture.admin.deployment(self.name)["state"] in ENDED

    def check(self):
        record = self.torture.admin.deployment(self.name)
        cells = record["gate"]["cells"]
        what = (self.name, [trick[0] for trick in self.tricks], record["state"], record["reason"])
        passed = record["state"] == "done"
        assert (self.torture.admin.live(self.service) == self.name) == passed, what
        if passed:
            assert len(cells) == len(self.tricks), what
            for cell in cells:
                assert (cell["state"], cell["exit"], cell["timed_out"]) == ("passed", 0, False), (what, cell)
            assert not any(trick[3] is False for trick in self.tricks), what
        else:
            assert self.torture.admin.live(self.service) == self.before, what
            late = any(cell["timed_out"] for cell in cells)  # the machine was too slow for it
            assert late or any(trick[3] is not True for trick in self.tricks), what
        self.torture.promoted += passed
        assert self.torture.left_by(self.name) == [], what


class Torture:
    def __init__(self, make_daemon, make_backend):
        self.random = random.Random(SEED)
        self.user = pwd.getpwnam("nobody")
        names = [f"s{number}" for number in range(SERVICES)]
        self.backends = {name: make_backend(name) for name in names}
        self.daemon = daemon = make_daemon([])
        self.mark = f"TORTURE={daemon.folder}"
        uptests = {
            "directory": daemon.path("releases", "%{release}"),
            "timeout": "2s",
            "environment": {"TORTURE": daemon.folder, "STATE": daemon.path("state"), "ADMIN": daemon.socket},
            **({"user": "nobody"} if tricks.ROOT else {}),
        }
        daemon.config["services"] = [
            {"name": name, "hosts": [f"{name}.test"], "instances": [self.backends[name].address], "uptests": uptests}
            for name in names
        ]
        daemon.start()
        self.admin = daemon.admin
        self.begun = self.kills = self.promoted = 0
        self.running = {name: None for name in names}

    def left_by(self, deployment=None):
        """What runs of a deployment's uptests, or of any: known by the environment that all of it has."""
        marks = [self.mark] + ([f"UPTEST_DEPLOYMENT={deployment}"] if deployment else [])
        found = []
        for name in os.listdir("/proc"):
            try:
                with open(f"/proc/{name}/environ", "rb") as file:
                    environment = file.read().decode(errors="replace").split("\0")
            except OSError:
                continue
            if all(mark in environment for mark in marks):
                found.append(processes.describe(int(name)))
        return found

    def step(self):
        """Looks at every service once, and begins a gate where none runs."""
        for name, gate in self.running.items():
            if gate is not None and gate.has_ended():
                gate.check()
                self.running[name] = gate = None
            if gate is None and self.begun < GATES:
                self.begun += 1
                self.running[name] = Gate(self, name, self.begun)
                if self.random.random() < 0.08:
                    self.daemon.kill_role("control")
                    self.kills += 1
        return not any(self.running.values())

    def run(self):
        wait_until(self.step, timeout=60 + 5 * GATES, what="the end of all gates")


def roles(daemon):
    return {role: daemon.pids[role] for role in ("keeper", "control", "proxy")}


def descriptors(pid):
    return processes.descriptors(pid)


def zombies(pids):
    return [
        child
        for pid in pids
        for child in processes.children(pid)
        if not processes.is_running(child) and os.path.exists(f"/proc/{child}")
    ]


def size_of(folder):
    return sum(os.path.getsize(os.path.join(top, name)) for top, _, names in os.walk(folder) for name in names)


def test_no_hostile_uptest_gets_through_stays_or_leaks(make_daemon, make_backend):
    print(f"\nseed {SEED}", flush=True)
    torture = Torture(make_daemon, make_backend)
    daemon = torture.daemon
    daemon.kill_role("control")  # so that the one that is measured is of the same kind as the last one
    most = {role: descriptors(pid) for role, pid in roles(daemon).items()}
    most["control"] += 1  # a world that amends another one, where the first one was whole
    resident = processes.resident_bytes(daemon.pids["control"])

    torture.run()

    pids = roles(daemon)
    wait_until(lambda: zombies(pids.values()) == [], 5, "the end of all zombies")
    assert torture.left_by() == []
    for role, pid in pids.items():
        wait_until(lambda: descriptors(pid) <= most[role], 5, f"{role} to have no more than {most[role]} descriptors")
    grown = processes.resident_bytes(pids["control"]) - resident
    assert grown < 24 * MIB + GATES * 64 * 1024, f"control has grown by {grown} bytes"
    kept = size_of(daemon.path("state"))
    assert kept < 4 * MIB + GATES * 3 * 80 * 1024, f"the state directory has {kept} bytes"
    for name, backend in torture.backends.items():
        assert ask(daemon.port, host=f"{name}.test").text == backend.name
    print(
        f"{GATES} gates, {torture.promoted} promoted, {torture.kills} kills of control: none promoted wrongly, "
        f"nothing left, {grown // 1024} KiB more resident, {kept // 1024} KiB kept",
        flush=True,
    )
