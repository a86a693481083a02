"""What conf/ has to be copied: the programs that it is for read it without a complaint, and it does what it is for."""

import os
import re
import shutil
import subprocess

import pytest

from harness.backend import Backend
from harness.daemon import ROOT, program, upswapd
from harness.waiting import wait_until

CONF = os.path.join(ROOT, "conf")


def read(*names):
    with open(os.path.join(CONF, *names), encoding="utf-8") as file:
        return file.read()


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


# ---- samples ----


def assert_valid(path):
    result = upswapd("-t", "-c", str(path))
    assert (result.returncode, result.stdout, result.stderr) == (0, f"{path}: valid\n", "")


@pytest.mark.parametrize("name", ["minimal.conf", "upswapd.conf"])
def test_a_sample_is_valid_as_it_is(name):
    assert_valid(os.path.join(CONF, name))


def test_the_config_of_the_example_is_valid_where_its_programs_are(tmp_path):
    path = tmp_path / "upswapd.conf"
    path.write_text(read("example", "upswapd.conf").replace("/srv/web", os.path.join(CONF, "example")))
    assert_valid(path)


# ---- systemd ----


def assert_understood(unit):
    environment = {**os.environ, "SYSTEMD_UNIT_PATH": f"{unit.parent}:"}
    result = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], env=environment, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_systemd_understands_every_line_of_the_unit_and_of_its_drop_in(tmp_path):
    """Unknown keys and values are no errors to systemd, which ignores them and says so."""
    unit = tmp_path / "upswapd.service"
    text = read("upswapd.service.in").replace("@sbindir@", os.path.dirname(program("upswapd")))
    unit.write_text(text.replace("@sysconfdir@", "/etc"))
    (tmp_path / "upswapd.service.d").mkdir()
    shutil.copy(os.path.join(CONF, "upswapd-unprivileged.conf"), tmp_path / "upswapd.service.d")
    assert_understood(unit)


def test_the_unit_has_the_folders_of_the_last_configure(tmp_path):
    """By the rule of conf.am, in a build folder of its own, whose config.status is all that is new."""
    rule = re.search(r"^conf/upswapd\.service:(?:.|\n\t)*\n", read("conf.am"), re.M).group(0)
    (tmp_path / "Makefile").write_text(rule)
    status, unit = tmp_path / "config.status", tmp_path / "conf" / "upswapd.service"
    for folder in ("/usr/local/etc", "/etc"):
        status.touch()
        if unit.exists():
            built = unit.stat().st_mtime
            os.utime(status, (built + 1, built + 1))
        folders = (f"srcdir={ROOT}", "MKDIR_P=mkdir -p", "sbindir=/usr/sbin", f"sysconfdir={folder}")
        run("make", "-s", "-C", str(tmp_path), *folders, "conf/upswapd.service")
        assert f"ExecStart=/usr/sbin/upswapd -c {folder}/upswap/upswapd.conf\n" in unit.read_text()


def test_systemd_understands_every_line_of_the_socket_unit_which_is_for_the_service(tmp_path):
    (tmp_path / "upswapd.service").write_text("[Service]\nExecStart=/bin/true\n")
    shutil.copy(os.path.join(CONF, "upswapd.socket"), tmp_path)
    assert_understood(tmp_path / "upswapd.socket")


def test_systemd_understands_every_line_of_the_units_of_instances(tmp_path):
    unit = tmp_path / "web@.service"
    launch = os.path.join(ROOT, "doc", "launch", "systemd")
    with open(os.path.join(launch, "web@.service"), encoding="utf-8") as file:
        unit.write_text(file.read().replace("/usr/local/lib/web", launch))
    assert_understood(unit)


# ---- logrotate ----


# A machine of tests has no systemd that runs, so this does what is asked of it.
SYSTEMCTL = """#!/bin/sh
[ "$*" = "kill --kill-who=main --signal=USR1 upswapd.service" ] || exit 64
kill -USR1 PID
"""


def test_the_systemctl_of_this_machine_knows_the_options_that_logrotate_gives_it():
    """And one before 252 does: it has --kill-who and --signal, and no --kill-whom."""
    (options,) = re.findall(r"systemctl kill ((?:--\S+ )+)", read("upswapd.logrotate"))
    assert options.split() == ["--kill-who=main", "--signal=USR1"]
    run("systemctl", *options.split(), "--version")


@pytest.mark.skipif(os.getuid() != 0, reason="logrotate takes a config file of root's alone")
def test_logrotate_moves_the_access_log_and_no_line_is_lost(start_own_front, tmp_path):
    logs = tmp_path / "log"
    logs.mkdir()
    path = logs / "access.log"
    front = start_own_front(Backend(), access_log={"path": str(path), "format": "combined"})
    config, systemctl = tmp_path / "logrotate.conf", tmp_path / "systemctl"
    config.write_text(read("upswapd.logrotate").replace("/var/log/upswap", str(logs)))
    config.chmod(0o644)
    systemctl.write_text(SYSTEMCTL.replace("PID", str(front.daemon.process.pid)))
    systemctl.chmod(0o755)

    front.ask(target="/before")
    wait_until(lambda: path.exists() and "/before" in path.read_text(), what="the line before")
    subprocess.run(
        ["/usr/sbin/logrotate", "--force", "--state", tmp_path / "state", config],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}, check=True, capture_output=True, text=True,
    )  # fmt: skip
    wait_until(path.exists, what="a new log")

    def asked():
        front.ask(target="/after")
        return "/after" in path.read_text()

    wait_until(asked, what="a line in the new log")
    assert sorted(os.listdir(logs)) == ["access.log", "access.log.1"]
    assert "/before" in (logs / "access.log.1").read_text() and "/before" not in path.read_text()


# ---- a container ----


SANITIZERS = ("libasan", "libubsan", "libtsan", "libgcc", "libstdc++")


def needed(path):
    """The libraries that a program itself names, and where each is."""
    named = re.findall(r"NEEDED +(\S+)", run("objdump", "-p", path))
    places = dict(re.findall(r"(\S+) => (\S+)", run("ldd", path)))
    return [places[library] for library in named if not library.startswith(SANITIZERS)]


def packages_needed():
    """Those that have them. A library may be known to dpkg below /lib or /usr/lib, so its last folder tells."""
    places = [place for name in ("upswap", "upswapd") for place in needed(program(name))]
    patterns = {"*/" + "/".join(place.split("/")[-2:]) for place in places}
    return {run("dpkg", "-S", pattern).split(":")[0] for pattern in patterns}


def test_the_container_has_the_libraries_that_the_programs_need_and_no_others():
    last = read("Containerfile").split("\nFROM ")[-1]
    installed = {word for word in re.findall(r"\S+", last[: last.index("rm -rf")]) if word.startswith("lib")}
    assert installed | {"libc6"} == packages_needed()


def test_the_folders_of_the_container_are_roots():
    """Also for a root without DAC_OVERRIDE; and the user of the proxy is not to own the journal."""
    assert not re.search(r"\b(chown|chgrp|chmod|USER)\b|install .*-[ogm]\b", read("Containerfile"))
