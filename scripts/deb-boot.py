"""What the Debian package does where systemd runs: a Debian is booted in namespaces of its own, with a loopback of its own.

usage: deb-boot.py ROOT PACKAGE HIGHER, as scripts/deb-test calls it: ROOT has systemd and what the package depends on
"""

import ctypes
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "tests", "system"))

from harness import processes  # noqa: E402
from harness.app import AppInstance  # noqa: E402
from harness.client import ask  # noqa: E402
from harness.load import Load  # noqa: E402
from harness.waiting import wait_until  # noqa: E402

CLONE_NEWNET = 0x40000000
CONFIG = "/etc/upswap/upswapd.conf"
BOOT = """set -e
echo 0 >"$1/cgroup.procs"
exec unshare --mount --pid --uts --ipc --cgroup --net --fork --kill-child sh -ec '
mount --make-rprivate /
mount --bind "$0" "$0"
cd "$0"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs tmpfs run
mkdir -p mnt/old
pivot_root . mnt/old
umount -l mnt/old
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --unit=multi-user.target' "$0"
"""


def cgroup():
    """A group of the unified hierarchy, below our own, for the other systemd to be the root of."""
    with open("/proc/mounts", encoding="utf-8") as file:
        mounts = [line.split() for line in file]
    place = next((mount[1] for mount in mounts if mount[2] == "cgroup2"), None)
    with open("/proc/self/cgroup", encoding="utf-8") as file:
        own = next((line[3:].strip() for line in file if line.startswith("0::")), "/")
    if place is None:
        sys.exit("deb-boot: no cgroup2 is mounted here, so no systemd can be booted; this part was not tested")
    path = f"{place}{own.rstrip('/')}/upswap-deb-test-{os.getpid()}"
    os.mkdir(path)
    return path


class Machine:
    def __init__(self, root):
        self.root = root
        self.group = cgroup()
        self.outer = processes.spawn(["sh", "-c", BOOT, root, self.group], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self.init = None
        wait_until(self.has_booted, timeout=60, what="systemd to be up")
        with open(f"/proc/{self.init}/ns/net", encoding="utf-8") as namespace:
            assert ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET) == 0

    def has_booted(self):
        children = processes.descendants(self.outer.pid)
        self.init = min(children) if children else None
        return self.init and self.run("systemctl", "is-system-running", check=False).strip() in ("running", "degraded")

    def run(self, *command, check=True):
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
        result = subprocess.run(
            ["nsenter", "-t", str(self.init), "-m", "-p", "-u", "-i", "-n", "-C", *command],
            env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert result.returncode == 0 or not check, (command, result.stdout[-3000:], result.stderr[-3000:])
        return result.stdout + result.stderr

    def write(self, path, text):
        os.makedirs(os.path.dirname(self.root + path), exist_ok=True)
        with open(self.root + path, "w", encoding="utf-8") as file:
            file.write(text)

    def states(self, *units):
        return self.run("systemctl", "is-active", *units, check=False).split()

    def main_pid(self):
        return self.run("systemctl", "show", "-P", "MainPID", "upswapd.service").strip()

    def end(self):
        self.outer.kill()
        self.outer.wait()
        wait_until(self.group_is_gone, what="the last process of the machine to be gone")

    def group_is_gone(self):
        for path, _, _ in os.walk(self.group, topdown=False):
            try:
                os.rmdir(path)
            except OSError:
                return False
        return True


def step(sentence):
    print(f"ok: {sentence}", flush=True)


def listen(machine, app, *ports):
    """The configuration, and the socket unit, for these ports."""
    addresses = ", ".join(f'{{ address = "0.0.0.0:{port}"; }}' for port in ports)
    services = f'services = ( {{ name = "web"; instances = [ "{app.address}" ]; }} );'
    machine.write(CONFIG, f"listeners = ( {addresses} );\n{services}\n")
    streams = "".join(f"ListenStream=0.0.0.0:{port}\n" for port in ports)
    machine.write("/etc/systemd/system/upswapd.socket.d/addresses.conf", f"[Socket]\nListenStream=\n{streams}")
    machine.run("systemctl", "daemon-reload")


def loaded(port, act):
    """Does it while every request has a connection of its own; how many there were."""
    with Load(port, plan=("fresh",) * 4) as load:
        wait_until(lambda: len(load.exchanges) > 50, what="load")
        act()
        already = len(load.exchanges)
        wait_until(lambda: len(load.exchanges) > already + 50, what="load after it")
    load.assert_flawless()
    return len(load.exchanges)


def has_groups(machine):
    """Whether an uptest runs in a control group of its own."""
    said = machine.run("upswap", "uptest", "web", "--json")
    assert "0::/" in said, said
    return "/upswap-uptest-" in said


def test_groups(machine, app):
    service = f'name = "web"; instances = [ "{app.address}" ]; uptests = {{ directory = "/etc/upswap/uptests"; }};'
    machine.write(CONFIG, f'listeners = ( {{ address = "0.0.0.0:8080"; }} );\nservices = ( {{ {service} }} );\n')
    machine.write("/etc/upswap/uptests/01", "#!/bin/sh\ncat /proc/self/cgroup\n")
    machine.run("chmod", "-R", "a+rx", "/etc/upswap")
    machine.run("chmod", "a+r", CONFIG)
    machine.run("systemctl", "restart", "upswapd.service")
    assert has_groups(machine)
    with open(os.path.join(os.path.dirname(__file__), "..", "conf", "upswapd-unprivileged.conf"), encoding="utf-8") as file:
        machine.write("/etc/systemd/system/upswapd.service.d/unprivileged.conf", file.read())
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "stop", "upswapd.service")
    machine.run("chown", "-R", "upswap:", "/var/lib/upswap", "/var/log/upswap")
    machine.run("systemctl", "start", "upswapd.service")
    assert has_groups(machine)
    step("each uptest has a control group of its own, as root and in the unit without privileges")
    os.unlink(f"{machine.root}/etc/systemd/system/upswapd.service.d/unprivileged.conf")
    shutil.rmtree(f"{machine.root}/etc/upswap/uptests")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", "upswapd.service")


def test(machine, package, higher):
    machine.run("dpkg", "-i", package)
    assert machine.states("upswapd.service") == ["active"] and ask(8080).upswap == "no-route"
    assert machine.run("systemctl", "is-enabled", "upswapd.service", "upswapd.socket", check=False).split() == ["enabled", "disabled"]
    step("systemd starts it when it is installed, and will at each boot")

    app = AppInstance("v1")
    test_groups(machine, app)
    listen(machine, app, 80)
    machine.run("systemctl", "stop", "upswapd.service")
    machine.run("systemctl", "enable", "--now", "upswapd.socket")
    machine.run("systemctl", "start", "upswapd.service")
    before = machine.main_pid()
    count = loaded(80, lambda: [machine.run("systemctl", "restart", "upswapd.service") for _ in range(3)])
    assert machine.main_pid() != before
    step(f"with upswapd.socket, three restarts refuse nobody: {count} connections")

    before = machine.main_pid()
    said = []
    count = loaded(80, lambda: said.append(machine.run("dpkg", "-i", "--force-confold", higher)))
    assert "upgraded from version" in said[0] and machine.main_pid() == before
    assert machine.run("systemctl", "show", "-P", "NRestarts", "upswapd.service").strip() == "0"
    step(f"an upgrade of the package is none of the service for systemd, and loses none of {count} requests")

    listen(machine, app, 81)
    assert "no listener has this address" in machine.run("upswap", "reload", check=False)
    for task in ("stop", "start"):
        machine.run("systemctl", task, "upswapd.socket", "upswapd.service")
    assert ask(81).status == 200
    step("another address is refused by a reload, and taken when both units are stopped and started")

    machine.run("systemctl", "stop", "upswapd.service")
    assert machine.states("upswapd.service") == ["inactive"]
    assert ask(81).status == 200 and machine.states("upswapd.service") == ["active"]
    step("stopped alone, it is started again by the next client")

    machine.run("dpkg", "-r", "upswap")
    assert machine.states("upswapd.socket", "upswapd.service") == ["inactive", "inactive"]
    machine.run("dpkg", "-P", "upswap")
    for path in ("/etc/upswap", "/var/lib/upswap", "/var/log/upswap", "/run/upswap"):
        assert machine.run("sh", "-c", f"test ! -e {path} && echo gone") == "gone\n", path
    step("its removal stops socket and service")
    app.stop()


def main():
    root, package, higher = sys.argv[1:]
    for path in (package, higher):
        shutil.copy(path, root + "/root")
    machine = Machine(root)
    try:
        test(machine, *("/root/" + os.path.basename(path) for path in (package, higher)))
    except BaseException:
        print(machine.run("journalctl", "--no-pager", "-n", "40", check=False))
        raise
    finally:
        machine.end()


main()
