"""A full disk: what must be recorded is refused with 507 and a sentence, traffic goes on; with room again all goes on as if nothing had been."""

import os
import subprocess
from datetime import datetime

import pytest

from harness import processes
from harness.waiting import wait_until


class Disk:
    """A small file system that is the state directory."""

    def __init__(self, path):
        self.path = path
        self.filler = os.path.join(path, "fill")
        os.mkdir(path)
        mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", path]
        if os.getuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
            pytest.skip("no mounts here")

    def fill(self):
        with open(self.filler, "ab", buffering=0) as file, pytest.raises(OSError):
            while True:
                file.write(bytes(4096))

    def make_room(self):
        os.unlink(self.filler)

    def close(self):
        subprocess.run(["umount", "-l", self.path], check=False)


@pytest.fixture
def full(make_stand):
    """full(...): a started stand whose state directory is a file system of its own, `stand.disk`."""
    disks = []

    def make(hook=None, **options):
        stand = make_stand(live=2, **options)
        if hook:
            stand.install_hook(hook)
        stand.disk = Disk(stand.daemon.config["state_directory"])
        disks.append(stand.disk)
        stand.suite.shell("01")
        return stand.start()

    yield make
    for disk in disks:
        disk.close()


def fill_up(stand):
    """Until no record fits any more: the journal's last page has room for a few."""
    stand.disk.fill()
    service = stand.admin.service()
    live = next(pool for pool in service["pools"] if pool["deployment"] == service["live"])
    for number in range(200):
        verb = "enable" if number % 2 else "drain"
        answer = stand.admin.command(verb, instance=live["instances"][0]["address"])
        if answer.status == 507:
            break
        assert answer.status == 200, answer
    while stand.admin.post("/v1/reload").status == 200:  # its record is the shortest, and may still fit
        pass
    return answer


def assert_refused(answer):
    assert answer.status == 507, answer
    assert "journal" in answer.detail and "No space left" in answer.detail and "make room" in answer.detail


def serves(stand, *names):
    return {stand.ask().text for _ in range(4)} <= set(names)


LIVE = ("live-0", "live-1")


def pair(make_backend, name="fresh"):
    return [make_backend(name).address for _ in range(2)]


def test_every_command_is_refused_and_done_when_there_is_room(full, make_backend):
    stand = full()
    assert_refused(fill_up(stand))
    before = stand.admin.service()
    fresh = make_backend("fresh")
    assert_refused(stand.admin.try_stage([fresh.address]))
    assert_refused(stand.admin.command("pause", max="1s"))
    assert_refused(stand.admin.command("maintenance", on=True))
    assert_refused(stand.admin.post("/v1/reload"))
    after = stand.admin.service()
    assert (after["state"], after["deployment"], after["live"]) == (before["state"], None, before["live"])
    assert fresh.requests == [] and serves(stand, *LIVE)
    stand.disk.make_room()
    assert stand.admin.post("/v1/reload").status == 200
    assert stand.events.wait_end(stand.admin.stage([fresh.address]))["type"] == "deployment.done"
    assert serves(stand, "fresh")


@pytest.mark.parametrize("verb, end", [("promote", "done"), ("abort", "aborted")])
def test_a_held_deployment_stays_held_until_there_is_room(full, make_backend, verb, end):
    stand = full()
    deployment = stand.admin.stage([make_backend("fresh").address], hold=True)
    stand.wait_state(deployment, "held")
    fill_up(stand)
    assert_refused(stand.admin.command(verb))
    assert stand.state(deployment) == "held" and serves(stand, *LIVE)
    stand.disk.make_room()
    assert stand.admin.command(verb).status == 200
    wait_until(lambda: stand.state(deployment) == end)
    assert serves(stand, *(["fresh"] if end == "done" else LIVE))


def test_a_watched_deployment_is_rolled_back_when_there_is_room(full, make_backend):
    stand = full()
    deployment = stand.admin.stage(pair(make_backend), watch="1h")
    stand.wait_state(deployment, "watching")
    fill_up(stand)
    assert_refused(stand.admin.command("rollback"))
    assert stand.state(deployment) == "watching" and serves(stand, "fresh")
    stand.disk.make_room()
    assert stand.admin.command("rollback").status == 200
    wait_until(lambda: stand.state(deployment) == "rolled_back")
    assert serves(stand, *LIVE)


def test_a_canary_s_step_whose_end_could_not_be_written_does_not_end_the_next_one(full, make_backend):
    stand = full()
    deployment = stand.admin.stage([make_backend("fresh").address], canary=[5, 20, 50, 80], step="3s")
    stand.wait_state(deployment, "canary")
    fill_up(stand)
    said = len(stand.daemon.stderr())
    wait_until(lambda: "cannot be written" in stand.daemon.stderr()[said:], what="the end of the step to be tried")
    stand.disk.make_room()
    assert stand.admin.command("promote").status == 200
    stand.events.wait_end(deployment)
    steps = stand.events.of("canary.step", deployment=deployment)
    promoted = next(number for number, step in enumerate(steps) if "asked_by" in step)
    for step, later in zip(steps[promoted:], steps[promoted + 1 :]):
        began, ended = (datetime.fromisoformat(event["time"].rstrip("Z")) for event in (step, later))
        assert (ended - began).total_seconds() > 2.9, (step, later)


def test_a_pass_that_cannot_be_kept_is_none(full, make_backend, puppets):
    stand = full()
    stand.suite.add("01", puppets.program)
    fresh = make_backend("fresh")
    deployment = stand.admin.stage([fresh.address])
    call = puppets.next()
    fill_up(stand)
    said = len(stand.daemon.stderr())
    call.exit(0)
    wait_until(lambda: "cannot be written" in stand.daemon.stderr()[said:])
    assert stand.state(deployment) == "testing" and serves(stand, *LIVE)
    stand.disk.make_room()
    wait_until(lambda: stand.state(deployment) == "rejected")
    assert "No space left" in stand.admin.deployment(deployment)["reason"]
    assert fresh.requests == [] and serves(stand, *LIVE)


def test_what_must_happen_happens_when_there_is_room(full, make_backend, puppets):
    """A teardown that has ended is recorded then; it is not done twice for want of room."""
    stand = full(hook=puppets.program)
    deployment = stand.admin.stage(pair(make_backend))
    calls = [puppets.next(), puppets.next()]
    fill_up(stand)
    said = len(stand.daemon.stderr())
    for call in calls:
        call.exit(0)
    wait_until(lambda: "cannot be written" in stand.daemon.stderr()[said:])
    assert stand.state(deployment) == "draining" and serves(stand, "fresh")
    stand.disk.make_room()
    wait_until(lambda: stand.state(deployment) == "done")
    assert len(puppets.all) == 2


def test_a_daemon_starts_on_a_full_disk_and_serves_what_was_live(full, make_backend):
    stand = full()
    deployment = stand.admin.stage([make_backend("fresh").address])
    stand.events.wait_end(deployment)
    for role in ("control", "proxy", "keeper"):
        stand.disk.fill()
        stand.daemon.kill_role(role)
        stand.port = stand.daemon.port
        assert stand.admin.live() == deployment and serves(stand, "fresh")
    stand.disk.make_room()
    again = stand.admin.stage([make_backend("again").address])
    wait_until(lambda: stand.state(again) == "done")
    assert processes.is_running(stand.daemon.pids["keeper"])


def tell_in_memory_only(stand):
    """Events until the file takes no more of them, and some behind that. Returns the number of the last."""
    fill_up(stand)
    told = "events are kept in memory only"
    for _ in range(200):
        assert stand.admin.post("/v1/reload").status == 507
        if told in stand.daemon.stderr():
            break
    for _ in range(10):
        assert stand.admin.post("/v1/reload").status == 507
    last = stand.admin.status()["last_event"]
    wait_until(lambda: stand.events.last == last, what="the last event to be told")
    return last


def test_who_follows_the_events_misses_none_of_a_control_that_takes_over_on_a_full_disk(full):
    stand = full()
    last = tell_in_memory_only(stand)
    stand.daemon.kill_role("control")
    stand.disk.make_room()
    reloads = len(stand.events.of("config.reloaded"))
    assert stand.admin.post("/v1/reload").status == 200
    assert stand.events.wait("config.reloaded", count=reloads + 1)["seq"] == last + 1


def test_an_upgrade_on_a_full_disk_is_told(full):
    stand = full()
    last = tell_in_memory_only(stand)
    upgraded = stand.daemon.upswap("upgrade")
    assert (upgraded.returncode, upgraded.stderr) == (0, "")
    assert stand.events.wait("daemon.upgraded")["seq"] == last + 1
