"""A daemon with fault points (--enable-fault-points), struck where a plan says so, and what must hold whatever that was."""

import http.client
import json
import os
import re
import signal
import sys
import threading

from . import processes
from .client import RawClient
from .daemon import ROOT, build_folder
from .waiting import PATIENCE, wait_until

ENDS = ("done", "rejected", "aborted", "rolled_back")
PASSES = re.compile(r"^fault: passes (\S+):(\d+)$", re.M)
STRIKES = re.compile(r"^fault: strikes (\S+)$", re.M)

# Called while an instance is torn down: what the service looks like then is kept beside its address. Numbers of processes
# come again, some after one that was killed here.
HOOK = """#!/bin/sh
file=$(mktemp %(calls)s.XXXXXX)
printf '%%s %%s ' "$1:$2" "$TEARDOWN_DEPLOYMENT" >> "$file"
curl -s -m 5 --unix-socket %(socket)s http://upswap/v1/services/web >> "$file"
mv "$file" "$file.done"
"""


def program_with_faults():
    """The upswapd that has them, or None: $UPSWAP_FAULTS_BUILD, else the build that is tested."""
    path = os.path.join(os.environ.get("UPSWAP_FAULTS_BUILD") or build_folder(), "upswapd")
    if not os.path.exists(path):
        return None
    with open(path, "rb") as file:
        return path if b"UPSWAP_FAULTS" in file.read() else None


def points_in_source():
    """What stands in the source: the points' names, of which some are followed by a detail, and how each strikes."""
    found = {}
    for folder, _, names in os.walk(os.path.join(ROOT, "src")):
        for name in names:
            if name.endswith(".c"):
                with open(os.path.join(folder, name), encoding="utf-8") as file:
                    for kind, point in re.findall(r'(fault_die|fault_fails|FAULTY)\("([a-z_.]+)"', file.read()):
                        found[point] = "die" if kind == "fault_die" else "fail"
    return found


class Traffic:
    """One client that asks again and again: which releases answered, and what failed."""

    def __init__(self, port_of):
        self.port_of = port_of
        self.answers, self.failures = [], []
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        client = None
        while not self.stopping.wait(0.01):
            try:
                client = client or RawClient(self.port_of(), timeout=PATIENCE)
                answer = client.ask()
                if answer.status != 200:
                    raise http.client.HTTPException(f"{answer.status} {answer.upswap}")
                self.answers.append(answer.text)
                if client.is_last:
                    client.close()
                    client = None
            except Exception as fault:  # whatever it is, it is a failed request
                self.failures.append(repr(fault))
                if client is not None:
                    client.close()
                client = None
        if client is not None:
            client.close()

    def stop(self):
        self.stopping.set()
        self.thread.join(2 * PATIENCE)


class Ordeal:
    """A stand whose daemon is struck once. Every step is taken as a patient user would: refused or unheard, it is tried again."""

    def __init__(self, make_stand, make_backend, plan):
        self.plan = plan
        self.backends = []
        self.make_backend = lambda name: self.backends.append(make_backend(name)) or self.backends[-1]
        self.groups = {"a": [self.make_backend("a"), self.make_backend("a")]}
        self.stand = make_stand(
            live=0,
            service={
                "instances": [backend.address for backend in self.groups["a"]],
                "drain": {"requests": "2s"},
                "health": {"interval": "300ms"},
            },
        )
        self.daemon, self.admin = self.stand.daemon, self.stand.admin
        self.daemon.program = program_with_faults()
        self.daemon.environment = {"ASAN_OPTIONS": "detect_leaks=0"}
        self.daemon.config["access_log"] = {"path": self.daemon.path("access.log")}
        self.stand.install_hook(HOOK % {"calls": self.daemon.path("call"), "socket": self.daemon.socket}, attempts=10)
        self.stand.suite.shell("01", f"test ! -e {self.daemon.path('fail')}.$2")
        self.acknowledged = []  # (sentence, predicate)
        self.revivals = 0
        self.has_served = self.ended_early = False
        self.traffic = None

    # ---- its life ----

    def start(self, plan):
        self.has_served = False
        self.daemon.environment["UPSWAP_FAULTS"] = plan
        self.daemon.write_config()
        self.daemon.spawn()
        self.up()
        self.traffic = self.traffic or Traffic(lambda: self.port)

    def close(self):
        if self.traffic is not None:
            self.traffic.stop()
        self.daemon.stop(signal.SIGKILL)
        for backend in self.backends:
            backend.close()

    def up(self):
        """Waits until all serve; a daemon whose keeper has died is started again, as a service manager does."""
        wait_until(self._is_up, timeout=2 * PATIENCE, what="the daemon to serve")
        self.port = self.admin_or_up(self.daemon.ports)[0]
        self.has_served = True

    def _is_up(self):
        if self.daemon.process.poll() is not None:
            self._revive()
        try:
            return self.admin.request("GET", "/healthz").status == 200
        except (OSError, http.client.HTTPException):
            return False

    def _revive(self):
        self.revivals += 1
        self.ended_early |= not self.has_served
        assert self.revivals <= 1 + self.plan.count(":"), "the daemon ends again and again"
        processes.finish(self.daemon.process)
        self.daemon.process = None
        processes.assert_none_left()
        self.daemon.environment.pop("UPSWAP_FAULTS")
        self.daemon.spawn()

    def struck(self):
        return STRIKES.findall(self.daemon.stderr())

    def census(self):
        """{ROLE.LIFE/POINT: how often it was passed}, of a plan with "log"."""
        counts = {}
        for word, number in PASSES.findall(self.daemon.stderr()):
            counts[word] = max(counts.get(word, 0), int(number))
        return counts

    # ---- what a user does ----

    def admin_or_up(self, ask):
        """What ask() gives; a control that dies meanwhile is waited for."""
        while True:
            try:
                return ask()
            except (OSError, http.client.HTTPException, KeyError):
                wait_until(self._is_up, timeout=2 * PATIENCE, what="the daemon to serve")

    def post(self, target, body=None):
        """The answer, or None where control died before it came."""
        try:
            return self.admin.post(target, body)
        except (OSError, http.client.HTTPException):
            self.up()
            return None

    def history(self):
        return self.admin_or_up(self.admin.history)

    def service(self):
        return self.admin_or_up(self.admin.service)

    def state(self, deployment):
        return self.admin_or_up(lambda: self.admin.deployment(deployment)["state"])

    def group(self, name):
        if name not in self.groups:
            self.groups[name] = [self.make_backend(name)]
        return [backend.address for backend in self.groups[name]]

    def stage(self, group, **keys):
        """Stages that group; the deployment's name."""
        known = {each["deployment"] for each in self.history()}
        body = {"instances": self.group(group), "release": group, **keys}
        return self._stage(body, known)

    def _stage(self, body, known):
        for _ in range(8):
            answer = self.post("/v1/services/web/deployments", body)
            if answer is not None and answer.status == 202:
                name = answer.json["deployment"]
                self.acknowledged.append((f"{name} is there", lambda: self.admin.deployment(name)))
                return name
            new = [each["deployment"] for each in self.history() if each["deployment"] not in known]
            if new:
                return new[0]  # it was staged, only nobody heard of it
            assert answer is None or answer.status in (409, 422, 507), answer
            assert answer is None or answer.detail
        raise AssertionError(f"refused again and again: {answer}")

    def reach(self, deployment, *states):
        """Waits for one of these states, or the end; which it is."""

        def there():
            state = self.state(deployment)
            return state if state in states or state in ENDS else None

        return wait_until(there, timeout=2 * PATIENCE, what=f"{deployment} to be {states}")

    def decide(self, verb, deployment, state, acknowledged):
        """Says it until the deployment is no longer in that state; what was acknowledged must be so for good."""
        while self.state(deployment) == state:
            answer = self.post(f"/v1/services/web/{verb}")
            if answer is not None and answer.status == 200:
                self.acknowledged.append(
                    (
                        f"{verb} of {deployment} was done",
                        lambda: self.admin.deployment(deployment)["state"] in acknowledged,
                    )
                )
                return
            assert answer is None or answer.status in (409, 507), answer

    def command(self, verb, **keys):
        """Says it until it is done. True: acknowledged; a 409 says that it was done before."""
        for _ in range(8):
            answer = self.post(f"/v1/services/web/{verb}", keys)
            if answer is not None and answer.status in (200, 409):
                return answer.status == 200
            assert answer is None or answer.status in (503, 507), answer
        raise AssertionError(f"{verb} is refused again and again: {answer}")

    # ---- what must hold ----

    def settle(self):
        """What waits for a person is decided, and all must come to an end."""
        wait_until(self._is_settled, timeout=3 * PATIENCE, what="the end of all deployments")

    def _is_settled(self):
        service = self.service()
        running = service["deployment"]
        if service["state"] in ("paused", "maintenance"):
            self.post("/v1/services/web/resume")
            self.post("/v1/services/web/maintenance", {"on": False})
        if running is not None and running["state"] in ("held", "canary", "watching"):
            self.post(f"/v1/services/web/{'promote' if running['state'] == 'watching' else 'abort'}")
        return (
            running is None
            and len(service["pools"]) == 1
            and all(each["state"] in ENDS for each in self.history())
        )

    def deploy_once_more(self):
        """After all that has happened a plain deployment is done: at once, or where the fault struck it, the second time."""
        for number in range(2):
            name = self.stage(f"last-{number}")
            if self.reach(name) == "done":
                break
            self.settle()
        assert self.state(name) == "done", self.admin.deployment(name)["timeline"]
        self.settle()

    def check(self):
        self.up()  # a daemon that was started again may have another port
        service = self.service()
        (live,) = service["pools"]
        assert live["state"] == "live", service
        addresses = {instance["address"] for instance in live["instances"]}
        (release,) = {g for g, backends in self.groups.items() if addresses == {b.address for b in backends}}
        assert {self.stand_ask() for _ in range(4)} == {release}
        for sentence, holds in self.acknowledged:
            assert self.admin_or_up(holds), f"acknowledged, and not so: {sentence}"
        self.check_teardowns(addresses)

    def stand_ask(self):
        with RawClient(self.port) as client:
            return client.ask().text

    def check_teardowns(self, live):
        torn = set()
        for name in os.listdir(self.daemon.folder):
            if name.startswith("call.") and name.endswith(".done"):
                with open(self.daemon.path(name), encoding="utf-8") as file:
                    address, deployment, seen = file.read().split(" ", 2)
                torn.add(address)
                for pool in json.loads(seen)["pools"] if seen else ():
                    holds = address in [instance["address"] for instance in pool["instances"]]
                    assert not (holds and pool["state"] in ("live", "armed", "staged")), (address, deployment, pool)
        due = {backend.address for backend in self.groups["a"]}
        due.update(address for record in self.history() for address in record["instances"])
        assert due - live <= torn, f"never torn down: {due - live - torn}"
        assert not live & torn, f"live and torn down: {live & torn}"

    def finish(self):
        """The end of every ordeal."""
        self.up()
        self.settle()
        self.deploy_once_more()
        self.check()
        self.traffic.stop()
        if all(word.startswith("control") for word in self.struck()):
            assert self.revivals == 0 or self.ended_early, "a fault of control has ended the daemon that served"
            assert not self.traffic.failures, self.traffic.failures[:3]
        if self.daemon.stop() != 0:  # the fault struck here
            assert self.struck()
            self.daemon.environment.pop("UPSWAP_FAULTS", None)
            self.daemon.spawn()
            self.up()
            self.check()
            assert self.daemon.stop() == 0


def sum_up(struck, whole):
    """Prints what has struck; of a whole walk every point must have. Returns the exit status."""
    names = {word.partition("/")[2].partition(":")[0] for word in struck}
    points = points_in_source()
    dead = [point for point in points if not any(name == point or name.startswith(f"{point}.") for name in names)]
    print(f"{len(struck)} strikes, {len(set(struck))} different, at {len(points) - len(dead)} of {len(points)} points")
    if whole and dead:
        print("never struck:", *dead)
    return 1 if whole and dead else 0


if __name__ == "__main__":
    with open(sys.argv[1], encoding="ascii") as tally:
        sys.exit(sum_up(tally.read().split(), sys.argv[2] == "all"))
