"""What Debian's packages are made of, as far as it can be seen without building one; scripts/deb-test builds and installs them."""

import os
import re
import subprocess

from test_upgrade import install, installed, version

from harness.daemon import ROOT, build_folder, upswapd
from harness.waiting import wait_until

DEBIAN = os.path.join(ROOT, "conf", "debian")


def read(*names):
    with open(os.path.join(ROOT, *names), encoding="utf-8") as file:
        return file.read()


def daemons(task, daemon):
    """As the package's scripts call it."""
    environment = {**os.environ, "PATH": f"{build_folder()}:{os.environ['PATH']}"}
    return subprocess.run(
        [os.path.join(DEBIAN, "daemons"), task, daemon.program], env=environment, capture_output=True, text=True, check=False
    )


def started(make_daemon):
    return installed(make_daemon()).start()


def test_a_daemon_that_runs_is_upgraded_wherever_its_admin_socket_is(make_daemon):
    daemon = started(make_daemon)
    install(daemon, version("9.9"))
    result = daemons("upgrade", daemon)
    assert (result.returncode, result.stderr) == (0, "")
    assert f"upswapd (pid {daemon.process.pid}): upgraded from version" in result.stdout
    assert daemon.admin.status()["version"] == "9.9"
    assert daemons("upgrade", daemon).stdout == "", "it runs the installed program already"


def test_a_program_that_cannot_take_over_leaves_the_earlier_one_and_says_so(make_daemon):
    daemon = started(make_daemon)
    before = daemon.admin.status()["version"]
    os.unlink(daemon.program)
    with open(daemon.program, "w", encoding="utf-8") as file:
        file.write("#!/bin/sh\nexit 1\n")
    os.chmod(daemon.program, 0o755)
    result = daemons("upgrade", daemon)
    assert result.returncode == 1 and "goes on as the earlier program" in result.stderr
    assert daemon.is_serving() and daemon.admin.status()["version"] == before


def test_daemons_of_another_program_are_left_alone(make_daemon):
    daemon, other = started(make_daemon), started(make_daemon)
    assert daemons("stop", daemon).returncode == 0
    wait_until(lambda: daemon.process.poll() == 0, what="the daemon's end")
    assert other.is_serving()


def test_the_configuration_that_is_installed_is_valid(tmp_path):
    assert "var/log/upswap" in read("conf", "debian", "upswap.dirs").split()
    (tmp_path / "upswapd.conf").write_text(read("conf", "debian", "upswapd.conf").replace("/var/log/upswap", str(tmp_path)))
    result = upswapd("-t", str(tmp_path / "upswapd.conf"))
    assert result.returncode == 0, result.stderr


def test_the_packages_version_is_that_of_the_programs():
    (ours,) = re.findall(r"AC_INIT\(\[upswap\], \[(.*?)\]", read("configure.ac"))
    assert re.match(r"upswap \((.*?)-\d+\)", read("conf", "debian", "changelog"))[1] == ours


def test_a_package_is_built_of_the_libraries_that_the_build_needs():
    (build,) = re.findall(r"^build='(.*?)'", read("scripts", "packages"), flags=re.M | re.S)
    control = read("conf", "debian", "control")
    needed = re.search(r"Build-Depends: (.*?)\n\S", control, flags=re.S)[1]
    libraries = {word for word in build.split() if word.endswith("-dev")} - {"libc6-dev"}
    assert {word for word in re.split(r"[\s,|]+", needed) if word.endswith("-dev")} == libraries
