"""What the Debian package does to a machine: install, serve, upgrade in place under load, refuse a bad upgrade, remove, purge.

usage: deb-test.py ROOT PACKAGE, as scripts/deb-test calls it: ROOT is a fresh Debian, the processes are those of this run alone
"""

import json
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "tests", "system"))

from harness import processes  # noqa: E402
from harness.app import AppInstance  # noqa: E402
from harness.load import Load  # noqa: E402
from harness.waiting import wait_until  # noqa: E402

CONFIG = "/etc/upswap/upswapd.conf"
INSTALLED = """/usr/sbin/upswapd /usr/bin/upswap /usr/share/man/man8/upswapd.8.gz /usr/share/man/man7/uptests.7.gz
/usr/share/bash-completion/completions/upswap.bash /usr/share/zsh/vendor-completions/_upswap /etc/logrotate.d/upswap
/lib/systemd/system/upswapd.service /lib/systemd/system/upswapd.socket /usr/share/doc/upswap/guide.md
/usr/share/doc/upswap/example/app.py /var/lib/upswap /var/log/upswap /run/upswap"""
# What apt and dpkg themselves write, and copies of what was before.
NOISE = re.compile(
    r"/(proc|sys|dev|tmp|run/adduser|var/cache|var/lib/(apt|dpkg)|var/log/(apt|dpkg\.log|alternatives\.log))(/|$)|/etc/(passwd|group|g?shadow|sub[ug]id)-$"
)
root = sys.argv[1]


def at(path):
    return root + path


def inside(*command, check=True):
    """Runs it in the fresh Debian; what it says."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    result = subprocess.run(
        ["chroot", root, *command], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0 or not check, (command, result.stdout[-3000:], result.stderr[-3000:])
    return result.stdout + result.stderr


def files():
    found = {os.path.join(place, name)[len(root) :] for place, folders, names in os.walk(root) for name in folders + names}
    return {path for path in found if not NOISE.match(path)}


def field(package, name):
    return subprocess.check_output(["dpkg-deb", "-f", package, name], text=True).strip()


def repack(package, version, change):
    """Another version of the package, made of this one, with another upswapd."""
    folder = at("/tmp/repack")
    subprocess.run(["dpkg-deb", "-R", package, folder], check=True)
    control = os.path.join(folder, "DEBIAN", "control")
    with open(control, encoding="utf-8") as file:
        text = file.read()
    with open(control, "w", encoding="utf-8") as file:
        file.write(re.sub(r"^Version: .*$", f"Version: {version}-1", text, flags=re.M))
    program = os.path.join(folder, "usr", "sbin", "upswapd")
    with open(program, "rb") as file:
        data = file.read()
    with open(program, "wb") as file:
        file.write(change(data))
    made = at(f"/tmp/upswap_{version}.deb")
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", folder, made], check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(folder)
    return made[len(root) :]


def named(version):
    """A change of the program: it has this version."""

    def change(data):
        changed = re.sub(rb"(@\(#\)upswap )\d\.\d", rb"\g<1>" + version.encode(), data)
        assert changed != data
        return changed

    return change


def status():
    return json.loads(inside("upswap", "--json", "status"))


def is_serving():
    return '"snapshot"' in inside("upswap", "--json", "status", check=False)


def configure(instance):
    os.rename(at(CONFIG), at(CONFIG + ".shipped"))
    with open(at(CONFIG), "w", encoding="utf-8") as file:
        file.write(
            'access_log = { path = "/var/log/upswap/access.log"; }; listeners = ( { address = "127.0.0.1:0"; } );\n'
            f'services = ( {{ name = "web"; instances = [ "{instance.address}" ]; }} );\n'
        )


def start():
    with open(at("/tmp/upswapd.log"), "wb") as log:
        daemon = processes.spawn(["chroot", root, "/usr/sbin/upswapd", "-c", CONFIG], stdin=subprocess.DEVNULL, stderr=log)
    wait_until(is_serving, what="the daemon to serve")
    return daemon


def step(sentence):
    print(f"ok: {sentence}", flush=True)


def install(package, before):
    inside("dpkg", "-i", package)
    missing = [path for path in INSTALLED.split() if not os.path.lexists(at(path))]
    assert not missing, missing
    assert inside("upswapd", "-t", CONFIG) == f"{CONFIG}: valid\n"
    assert inside("getent", "passwd", "upswap").startswith("upswap:x:")
    assert CONFIG in inside("dpkg-query", "-W", "-f", "${Conffiles}", "upswap")
    assert files() > before
    step("it installs, with a user, and a configuration that is valid")


def upgrade(daemon, port, package, version, says):
    """Under load: the daemon is the same process, and no request is lost."""
    with Load(port) as load:
        wait_until(lambda: len(load.exchanges) > 50, what="load")
        said = inside("dpkg", "-i", "--force-confold", package)
        already = len(load.exchanges)
        wait_until(lambda: len(load.exchanges) > already + 50, what="load after it")
    load.assert_flawless()
    assert says in said, said
    found = status()
    assert daemon.poll() is None and found["version"] == version, (found["version"], said)
    assert found["services"][0]["live"], found
    return len(load.exchanges)


def remove(daemon):
    inside("dpkg", "-r", "upswap")
    assert processes.finish(daemon) == 0
    assert os.path.exists(at("/var/lib/upswap/journal")) and os.path.exists(at(CONFIG))
    assert not os.path.exists(at("/usr/sbin/upswapd"))
    step("its removal stops the daemon, and keeps state and configuration")


def purge(before):
    os.unlink(at(CONFIG + ".shipped"))
    inside("dpkg", "-P", "upswap")
    left = files() - before
    assert not left, left
    assert "upswap" not in inside("getent", "passwd") + inside("getent", "group")
    step("purged, it leaves nothing")


def main():
    package = at("/tmp/upswap.deb")
    shutil.copy(sys.argv[2], package)
    subprocess.run(["mount", "-t", "proc", "proc", at("/proc")], check=True)
    shipped = field(package, "Version").rpartition("-")[0]
    inside("apt-get", "update")
    inside("apt-get", "satisfy", "-y", "--no-install-recommends", field(package, "Depends"))
    before = files()
    higher, broken = repack(package, "9.8", named("9.8")), repack(package, "9.9", lambda _: b"#!/bin/sh\nexit 1\n")
    package = package[len(root) :]

    install(package, before)
    app = AppInstance("v1")
    configure(app)
    daemon = start()
    (listener,) = status()["listeners"]
    port = int(listener["bound"].rpartition(":")[2])
    count = upgrade(daemon, port, higher, "9.8", "upgraded from version")
    step(f"its upgrade is one of the daemon: another program, the same process, {count} requests and none lost")
    count = upgrade(daemon, port, broken, "9.8", "goes on as the earlier program")
    step(f"a program that cannot take over is refused with a sentence, and the earlier one serves on: {count} requests")
    count = upgrade(daemon, port, package, shipped, "upgraded from version")
    step(f"the way back is an upgrade too: {count} requests and none lost")
    remove(daemon)
    purge(before)
    app.stop()


try:
    main()
except BaseException:
    subprocess.run(["tail", "-n", "30", at("/tmp/upswapd.log")], check=False)
    raise
