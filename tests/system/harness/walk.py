"""A random walk over all that can be done to a service, under load: what each step does, and what must be so after it."""

import collections
import http.client
import json
import os
import random
import signal
import time

from . import processes
from .faults import HOOK
from .waiting import PATIENCE, wait_until
from .walkers import Browser, Chatter, Poster, Streamer, serve

RESTART_PAUSE = 5  # seconds, of a role that keeps dying
MARGIN = 0.5  # seconds before and after an outage that a request may have seen it
ROLES = ["control", "control", "proxy", "keeper"]
ENDS = {"done", "rejected", "aborted", "rolled_back"}
ENDING = {f"deployment.{state}" for state in ENDS}


class Outages:
    """When requests may fail, and why: control over it is the walk's."""

    def __init__(self):
        self.spans = []

    def begin(self, what):
        self.spans.append([what, time.monotonic() - MARGIN, float("inf")])

    def end(self, what):
        for span in self.spans:
            if span[0] == what and span[2] == float("inf"):
                span[2] = time.monotonic() + MARGIN

    def excuse(self, began, ended, cause):
        return any(what == cause and begin < ended and began < end for what, begin, end in self.spans)


def excuse_of(outages, failure):
    """What made it fail; None: nothing that may."""
    began, ended, what, _ = failure
    if what.startswith("500 None"):
        causes = ["bad release"]
    elif what.startswith("503"):
        causes = ["maintenance", "killed"]
    else:
        causes = ["killed"] if what == "lost" else []
    return next((cause for cause in causes if outages.excuse(began, ended, cause)), None)


class Walk:
    def __init__(self, seed, make_stand, make_backend):
        self.chance = random.Random(seed)
        self.groups = {letter: [make_backend(letter), make_backend(letter)] for letter in "abcd"}
        self.stand = make_stand(live=0, service=self.settings(), admin={})
        self.daemon, self.admin, self.suite = self.stand.daemon, self.stand.admin, self.stand.suite
        self.outages = Outages()
        self.bad = None  # the group that answers with 500
        self.ambushed = None  # the listener that kills control
        self.log = collections.deque(maxlen=200)
        self.counts = collections.Counter()
        self.began = time.monotonic()
        self.prepare()

    def settings(self):
        return {
            "watch": {"duration": "500ms", "minimum": 20, "uptests": "200ms", "on_fail": "rollback"},
            "drain": {"requests": "3s", "websockets": "1s", "spread": "500ms"},
            "health": {"interval": "200ms"},
            "hold_timeout": "1h",
        }

    def prepare(self):
        daemon, service = self.daemon, self.daemon.config["services"][0]
        daemon.config["admin"] = {"socket": daemon.socket}
        self.calls = daemon.path("calls")
        self.stand.install_hook(HOOK % {"calls": daemon.path("call"), "socket": daemon.socket}, attempts=20)
        self.suite.shell("01", f'test ! -e {daemon.path("fail")}.$2')
        launch = daemon.path("launch")
        with open(launch, "w", encoding="utf-8") as file:
            file.write(f'#!/bin/sh\ncat {daemon.path("printed")}\ntest ! -e {daemon.path("unlaunched")}\n')
        os.chmod(launch, 0o755)
        service["launch"] = {"command": [launch]}
        service["instances"] = [backend.address for backend in self.groups["a"]]
        self.stand.start()
        self.port = self.stand.port
        for backends in self.groups.values():
            for backend in backends:
                serve(backend)

        def port():
            return self.port

        self.sessions = [Browser(port, True) for _ in range(3)]
        self.clients = [*self.sessions, Browser(port, False), Poster(port), Streamer(port), Chatter(port)]

    # ---- what is so ----

    def service(self):
        return self.admin.service()

    def running(self):
        """The deployment that is under way, or None."""
        for record in self.admin.history():
            if record["state"] in ("staged", "testing", "held", "canary", "watching"):
                return record
        return None

    def command(self, verb, **keys):
        answer = self.admin.command(verb, **keys)
        assert answer.status in (200, 409), (verb, answer)
        return answer

    # ---- steps ----

    def set_bad(self, group):
        script = None if group is None else b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 3\r\n\r\nbad"
        for backend in self.groups[group or self.bad or "a"]:
            if script:
                backend.on("/", script)
            else:
                backend.scripts.pop("/", None)
        if group is None:
            self.outages.end("bad release")
        else:
            self.outages.begin("bad release")
        self.bad = group

    def mark(self, name, present):
        path = self.daemon.path(name)
        if present:
            with open(path, "w", encoding="utf-8"):
                pass
        elif os.path.exists(path):
            os.unlink(path)

    def stage(self):
        in_use = {pool["release"] or "a" for pool in self.service()["pools"]}
        group = self.chance.choice(sorted(self.groups))
        keys, way = {}, self.chance.choice(["good", "good", "good", "fails", "500s"])
        addresses = [backend.address for backend in self.groups[group]]
        if self.chance.random() < 0.4:
            keys["canary"] = [30, 60]
            keys["step"] = self.chance.choice(["300ms", "1h"])
        if self.chance.random() < 0.3:
            keys["hold"] = True
        if self.chance.random() < 0.4:
            keys["watch"] = self.chance.choice(["0s", "300ms", "1h"])
        if self.chance.random() < 0.2:
            keys["pause_with"] = ["/bin/sh", "-c", self.chance.choice(["exit 0", "exit 0", "exit 1"])]
        launches = self.chance.random() < 0.3
        for backend in self.groups[group]:
            self.mark(f"fail.{backend.port}", way == "fails" and not launches and group not in in_use)
        if way == "500s" and group not in in_use and self.bad is None:
            self.set_bad(group)
        if launches:
            self.mark("unlaunched", way == "fails")
            with open(self.daemon.path("printed"), "w", encoding="utf-8") as file:
                file.writelines(f"{address}\n" for address in addresses)
            answer = self.admin.post("/v1/services/web/deployments", {"launch": True, "release": group, **keys})
        else:
            answer = self.admin.try_stage(addresses, release=group, **keys)
        assert answer.status in (202, 409, 422), answer
        if answer.status != 202 and self.bad == group:
            self.set_bad(None)
        return f"{way} {group} {keys} {'launched ' if launches else ''}{answer.status}"

    def promote(self):
        return self.command("promote").status

    def abort(self):
        return self.command("abort").status

    def rollback(self):
        return self.command("rollback").status

    def pause(self):
        return self.command("pause", max=self.chance.choice(["300ms", "2s"]), wait="100ms").status

    def resume(self):
        return self.command("resume").status

    def maintain(self):
        self.outages.begin("maintenance")
        answer = self.command("maintenance", on=True, message="walking")
        return answer.status

    def serve(self):
        """Refused while a deployment counts on quiet: then it goes on."""
        answer = self.command("maintenance", on=False)
        if self.is_served():
            self.outages.end("maintenance")
        return answer.status

    def is_served(self):
        return self.service()["state"] != "maintenance"

    def rotate(self):
        service = self.service()
        pool = next(pool for pool in service["pools"] if pool["state"] == "live")
        verb = self.chance.choice(["drain", "enable"])
        instance = self.chance.choice(pool["instances"])["address"]
        return verb, self.command(verb, instance=instance).status

    def reload(self):
        service = self.daemon.config["services"][0]
        watch = service["watch"]
        watch["duration"] = self.chance.choice(["0s", "300ms", "800ms"])
        watch["on_fail"] = self.chance.choice(["rollback", "rollback", "hold", "none"])
        watch["uptests"] = self.chance.choice(["0s", "100ms", "300ms"])
        service["hold_timeout"] = self.chance.choice(["1h", "500ms"])
        service["pin"] = "cookie" if self.chance.random() < 0.3 else "off"
        service["pin_duration"] = "1s"
        service.pop("shadow", None)
        if self.chance.random() < 0.5:
            service["shadow"] = {"share": 0.5, "seconds": 5, "minimum": 20}
        self.daemon.write_config()
        answer = self.admin.post("/v1/reload")
        assert answer.status == 200, answer
        self.counts["reloads"] += 1
        return watch, service["pin"], "shadow" in service

    def upgrade(self):
        before = self.daemon.pids["proxy"]
        answer = self.admin.post("/v1/upgrade")
        assert answer.status in (202, 409), answer
        if answer.status == 202:
            self.daemon.wait_new("proxy", before)
            self.counts["upgrades"] += 1
        return answer.status

    def kill(self):
        role = self.chance.choice(ROLES)
        if role != "control":
            self.outages.begin("killed")
        self.daemon.kill_role(role)
        self.port = self.daemon.port
        if role != "control":
            self.outages.end("killed")
        self.counts["kills"] += 1
        return role

    def ambush(self):
        """Control dies at one of the next events: between what is recorded and what follows from it, or right after."""
        left, victim = self.chance.randrange(1, 9), self.daemon.pids["control"]

        def strike(_):
            nonlocal left
            left -= 1
            if left == 0 and processes.is_running(victim):
                os.kill(victim, signal.SIGKILL)
                self.counts["kills"] += 1

        listeners = self.stand.events.listeners
        if self.ambushed:
            listeners.remove(self.ambushed)
        self.ambushed = (None, strike)
        listeners.append(self.ambushed)
        return left

    def wait(self):
        """As long as a watch may take."""
        end = time.monotonic() + self.chance.choice([0.05, 0.3, 1])
        wait_until(lambda: time.monotonic() > end)

    STEPS = [
        stage, stage, stage, stage, promote, promote, abort, rollback, pause, resume, maintain, serve, serve, serve, rotate,
        reload, upgrade, kill, ambush, ambush, wait, wait, wait,
    ]  # fmt: skip

    def step(self):
        what = self.chance.choice(self.STEPS)
        self.counts["steps"] += 1
        self.log.append([what.__name__])
        while True:
            try:
                self.take(what)
                return
            except (OSError, http.client.HTTPException):  # control has died meanwhile: what it was asked to do is not known
                self.log[-1].append("died")
                wait_until(self.daemon.is_serving)
                what = Walk.wait

    def take(self, what):
        before = self.canary()
        began = time.monotonic()
        self.log[-1].append(what(self))
        if self.bad is not None and (self.running() is None or what is Walk.rollback):
            self.set_bad(None)
        self.check(began)
        if before is not None and what in (Walk.wait, Walk.pause, Walk.resume, Walk.reload, Walk.rotate):
            self.check_sides(before, began)

    # ---- what must be so ----

    def canary(self):
        running = self.running()
        return running["deployment"] if running is not None and running["state"] == "canary" else None

    def check(self, began):
        began = time.monotonic()
        service = self.service()
        assert time.monotonic() - began < 5 + RESTART_PAUSE, "nothing waits in control, but a killed one is started again"
        states = [pool["state"] for pool in service["pools"]]
        assert states.count("live") == 1 and states.count("armed") <= 1 and states.count("staged") <= 1, service
        running = service["deployment"]
        assert (states.count("armed") == 1) == (running is not None and running["state"] == "watching"), service
        self.check_failures()

    def check_failures(self):
        for client in self.clients:
            failures, client.failures = client.failures, []
            excuses = [excuse_of(self.outages, failure) for failure in failures]
            wrong = [failure for failure, excuse in zip(failures, excuses) if excuse is None]
            assert not wrong, (len(wrong), wrong[:3])
            self.counts.update(excuses)
        for backends in self.groups.values():
            for backend in backends:
                backend.forget()

    def check_sides(self, deployment, began):
        """All along these moments it was a canary: no session has seen two releases. Who was pinned to the live pool before is
        drawn when that lapses, here after a second, as a new session is."""
        if self.daemon.config["services"][0].get("pin") == "cookie":
            return
        moments = [m for m in self.admin.deployment(deployment)["timeline"]]
        if self.canary() != deployment or moments[-1]["state"] != "canary":
            return
        for session in self.sessions:
            mine = [each for each in list(session.seen) if each[0] > began][1:]
            assert len({release for _, _, release in mine}) <= 1, mine

    # ---- the end ----

    def settle(self):
        """What waits for a person is decided; then all must come to an end."""
        self.command("resume")
        wait_until(lambda: self.serve() and self.is_served(), timeout=2 * PATIENCE, what="the end of maintenance")
        running = self.running()
        if self.bad is not None:
            self.set_bad(None)
        if running is not None and running["state"] in ("held", "canary", "watching"):
            self.command("rollback" if running["state"] == "watching" else "abort")
        wait_until(self.is_settled, timeout=2 * PATIENCE, what="the end of all deployments")
        began = time.monotonic()
        counts = [client.answered for client in self.clients]
        wait_until(lambda: all(c.answered > n + 3 for c, n in zip(self.clients, counts)), what="all to be served")
        wait_until(lambda: self.daemon.pids["finishing"] == [], timeout=30, what="the proxies before to end")
        self.check(began)

    def is_settled(self):
        running = self.running()
        if running is not None and running["state"] in ("held", "canary"):
            self.command("abort")
        elif running is not None and running["state"] == "watching":
            self.command("promote")
        return running is None and len(self.service()["pools"]) == 1 and self.is_told()

    def is_told(self):
        states = {record["state"] for record in self.admin.history()}
        return states <= ENDS

    def check_teardowns(self):
        """Each that was retired and not left alone was torn down, and never while it was live or armed."""
        torn = set()
        for name in os.listdir(self.daemon.folder):
            if not (name.startswith("call.") and name.endswith(".done")):
                continue
            with open(self.daemon.path(name), encoding="utf-8") as file:
                address, deployment, seen = file.read().split(" ", 2)
            torn.add((deployment, address))
            for pool in json.loads(seen)["pools"] if seen else ():
                holds = address in [instance["address"] for instance in pool["instances"]]
                assert not (holds and pool["state"] in ("live", "armed", "staged")), (address, pool)
        due = {(e["deployment"], e["instance"]) for e in self.stand.events.of("instance.retired") if not e["left_alone"]}
        assert due <= torn, due - torn

    def totals(self):
        """One line."""
        ends = collections.Counter(
            event["type"].partition(".")[2] for event in self.stand.events.all if event["type"] in ENDING
        )
        roles = {role: self.daemon.pids[role] for role in ("keeper", "control", "proxy")}
        sizes = ", ".join(
            f"{role} {processes.resident_bytes(pid) >> 20} MiB {processes.descriptors(pid)} descriptors"
            for role, pid in roles.items()
        )
        counts, answered = self.counts, sum(client.answered for client in self.clients)
        return (
            f"{time.monotonic() - self.began:.0f} s, {counts['steps']} steps: {ends['done']} deployments done, "
            f"{ends['rejected']} rejected, {ends['rolled_back']} rolled back, {ends['aborted']} aborted; "
            f"{counts['reloads']} reloads, {counts['upgrades']} upgrades, {counts['kills']} kills; {answered} answers, "
            f"0 wrong; {counts['killed']} lost to the kill of a proxy, {counts['maintenance']} sent away by a "
            f"maintenance, {counts['bad release']} answered with 500 by a bad release; at the end {sizes}"
        )

    def close(self):
        for client in self.clients:
            client.stop()
        for client in self.clients:
            client.finish()
