"""upswap show: the whole story of a deployment, against the real daemon."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios

from harness import processes
from harness.daemon import program
from harness.waiting import wait_until


def stage(stand, target, *options):
    return stand.daemon.upswap("stage", "web", target.address, *options).returncode


def show(stand, deployment):
    done = stand.daemon.upswap("show", deployment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def on_a_terminal(stand, deployment, columns):
    """The lines of the page on a terminal of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm", "NO_COLOR": "1"}
    command = [program("upswap"), "-s", stand.daemon.socket, "show", deployment]
    client = subprocess.Popen(command, stdout=theirs, stderr=theirs, stdin=subprocess.DEVNULL, env=environment)
    os.close(theirs)
    text = b""
    try:
        while piece := os.read(ours, 65536):
            text += piece
    except OSError:  # EIO: the client has closed it
        pass
    os.close(ours)
    assert processes.finish(client) == 0, text
    return text.decode().replace("\r", "").splitlines()


def test_an_uptests_use_of_cpu_and_memory_is_kept_over_a_restart(stand, make_backend):
    stand.suite.python("02_large", "x = b'x' * 100_000_000\nn = sum(range(1_000_000))")
    assert stage(stand, make_backend("next")) == 0
    _, large = cells = stand.admin.deployment("web-1")["gate"]["cells"]
    assert large["usage"]["user"] + large["usage"]["system"] > 0.01
    assert 100e6 < large["usage"]["memory"] < 200e6, large
    stand.daemon.stop()
    stand.daemon.start()
    assert stand.admin.deployment("web-1")["gate"]["cells"] == cells
    told = show(stand, "web-1")
    assert re.search(r"  02_large  passed, .*\n    CPU \d+\.\d\d s user, \d+\.\d\d s system; memory 1\d\d\.\d MB\n", told)


def test_an_uptest_that_could_not_be_run_has_used_nothing(stand, make_backend):
    stand.suite.add("02_odd", "#!/no/such/interpreter\n")
    assert stage(stand, make_backend("next")) == 3
    fine, odd = stand.admin.deployment("web-1")["gate"]["cells"]
    assert (odd["state"], odd["usage"]) == ("failed", None) and fine["usage"] is not None


def test_the_record_of_an_older_daemon_is_shown_without_what_it_does_not_have(stand, make_backend):
    assert stage(stand, make_backend("next"), "--release", "v1") == 0
    stand.daemon.stop()
    path = stand.daemon.path("state/deployments/web-1.json")
    with open(path, encoding="utf-8") as file:
        gate = json.load(file)
    for cell in gate["cells"]:
        del cell["usage"]
    with open(path, "w", encoding="utf-8") as file:
        json.dump(gate, file)
    stand.daemon.start()
    assert "usage" not in stand.admin.deployment("web-1")["gate"]["cells"][0]
    told = show(stand, "web-1")
    assert "01_pass  passed, " in told and "CPU" not in told


def test_each_state_is_told_with_its_length_and_its_cause(stand, make_backend):
    stand.suite.shell("02_slow", "sleep 0.3")
    assert stage(stand, make_backend("next"), "--hold") == 0
    timeline = stand.admin.deployment("web-1")["timeline"]
    assert [moment["state"] for moment in timeline] == ["staged", "testing", "held"]
    assert timeline[1]["seconds"] >= 0.3 and timeline[0]["seconds"] >= 0
    so_far = timeline[2]["seconds"]
    wait_until(lambda: stand.admin.deployment("web-1")["timeline"][2]["seconds"] > so_far, what="it to be held for longer")
    assert stand.daemon.upswap("promote", "web").returncode == 0
    stand.wait_state("web-1", "done")
    timeline = stand.admin.deployment("web-1")["timeline"]
    assert [moment["state"] for moment in timeline] == ["staged", "testing", "held", "testing", "draining", "done"]
    assert timeline[2]["seconds"] >= so_far and timeline[-1]["seconds"] is None
    told = show(stand, "web-1")
    assert re.search(r"\n  [\d:]{8}  held +[\d.]+ s  all 2 uptests passed", told)
    assert re.search(r"\n  [\d:]{8}  testing +[\d.]+ s  .*\(root\)|\n  [\d:]{8}  testing +[\d.]+ s  .*\(\w+\)", told)


def test_what_is_other_than_in_the_last_good_deployment_is_told(stand, make_backend):
    stand.suite.shell("02_login", "sleep 0.1")
    assert stage(stand, make_backend("one"), "--release", "v1") == 0
    stand.suite.shell("03_broken", "exit 1")
    assert stage(stand, make_backend("bad"), "--release", "v2") == 3
    stand.suite.remove("01_pass")
    stand.suite.remove("03_broken")
    stand.suite.shell("02_login", "sleep 1; exit 7")
    stand.suite.shell("04_mail")
    target = make_backend("two")
    assert stage(stand, target, "--release", "v3", "--watch", "30s", "--hold") == 3
    difference = stand.admin.deployment("web-3")["difference"]
    assert difference["deployment"] == "web-1"  # web-2 was no good
    assert difference["release"] == {"then": "v1", "now": "v3"}
    assert difference["settings"] == [
        {"name": "watch", "then": 0.0, "now": 30.0}, {"name": "hold", "then": False, "now": True},
    ]
    uptests = difference["uptests"]
    assert (uptests["new"], uptests["gone"], uptests["failing"]) == (["04_mail"], ["01_pass"], ["02_login"])
    (slower,) = uptests["slower"]
    assert slower["uptest"] == "02_login" and slower["now"] >= 1 > slower["then"]
    told = show(stand, "web-3")
    for line in ("since web-1, the last good deployment", "  release     v1 -> v3", "  instances   1, as then",
                 "  gone        01_pass", "  failing now 02_login"):
        assert f"\n{line}\n" in told
    assert stand.admin.deployment("web-1")["difference"] is None


def test_who_asked_is_told_with_user_uid_and_pid(stand, make_backend):
    client = stand.daemon.spawn_upswap("stage", "web", make_backend("next").address)
    client.communicate(timeout=30)
    assert processes.finish(client) == 0
    asked = stand.admin.deployment("web-1")["asked_by"]
    assert (asked["pid"], asked["uid"]) == (client.pid, os.getuid())
    assert f"\n  asked by    {asked['user']}, uid {asked['uid']}, pid {asked['pid']}\n" in show(stand, "web-1")


def test_the_page_fits_the_terminal_it_is_shown_on(stand, make_backend):
    stand.suite.shell("02_fail", "echo a short line; exit 9")
    assert stage(stand, make_backend("next"), "--release", "v1", "--watch", "1s") == 3
    for columns in (80, 132):
        lines = on_a_terminal(stand, "web-1", columns)
        assert max(len(line) for line in lines if stand.suite.folder not in line) <= columns
        assert lines[0] == "web-1: rejected" and "    a short line" in lines
    assert max(len(line) for line in show(stand, "web-1").splitlines()) > 80  # a text is a line where it is piped


def test_a_gate_whose_file_is_damaged_or_gone_is_told_as_not_kept(make_stand, make_backend):
    stand = make_stand()
    stand.suite.shell("01_pass")
    stand.start()
    deployment = stand.admin.stage([make_backend("fresh").address])
    stand.events.wait_end(deployment)
    assert "kept" not in stand.admin.deployment(deployment)["gate"]
    kept = os.path.join(stand.daemon.config["state_directory"], "deployments", f"{deployment}.json")
    for damage in ('{"passed":tr', "[1,2]", '{"passed":true,"cells":[{"x":1},5,null]}'):
        with open(kept, "w", encoding="utf-8") as file:
            file.write(damage)
        said = len(stand.daemon.stderr())
        assert stand.admin.deployment(deployment)["gate"] == {"passed": True, "cells": [], "kept": False}
        wait_until(lambda: f"{kept} is damaged: " in stand.daemon.stderr()[said:], what="the log to say so")
    os.unlink(kept)
    assert stand.admin.deployment(deployment)["gate"]["kept"] is False
    assert "is not kept any more" in show(stand, deployment)
