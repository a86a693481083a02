"""What each role could do to others if somebody took it over, and cannot."""

import contextlib
import errno
import fcntl
import grp
import os
import platform
import pwd
import resource
import signal
import socket
import struct
import subprocess
from datetime import datetime

import pytest

from harness import processes
from harness.backend import Backend
from harness.daemon import ROOT
from harness.intruder import Intruder, Killed
from harness.waiting import wait_until

as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can give up its rights, or look at who has")
as_intruder = pytest.mark.skipif(
    os.getuid() != 0 or platform.machine() != "x86_64", reason="for root, and written for x86_64"
)

AT_FDCWD = -100


@pytest.fixture
def front(start_own_front):
    return start_own_front(Backend("one"), user="nobody")


def threads(pid):
    return [int(tid) for tid in os.listdir(f"/proc/{pid}/task")]


def status_of(tid):
    with open(f"/proc/{tid}/status", encoding="ascii") as file:
        return {key: value.strip() for key, value in (line.split(":", 1) for line in file)}


def is_instrumented(front):
    """A build with a sanitizer must do without the filter, and says so."""
    return "calls in this build" in front.daemon.stderr()


def assert_confined(pid, instrumented):
    user = pwd.getpwnam("nobody")
    for tid in threads(pid):
        status = status_of(tid)
        assert status["Uid"].split() == [str(user.pw_uid)] * 4 and status["Gid"].split() == [str(user.pw_gid)] * 4
        assert status["Groups"] == ""
        assert status["NoNewPrivs"] == "1"
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(status[name], 16) == 0, (tid, name, status[name])
        assert status["Seccomp"] == ("0" if instrumented else "2"), tid


@as_root
def test_every_thread_of_the_proxy_is_confined(front):
    assert front.ask().status == 200
    assert len(threads(front.daemon.pids["proxy"])) >= 3
    assert_confined(front.daemon.pids["proxy"], is_instrumented(front))
    assert "confined: no capabilities" in front.daemon.stderr() or is_instrumented(front)


@as_root
def test_a_proxy_that_is_started_again_and_both_of_an_upgrade_are_confined_too(front):
    before = front.daemon.pids["proxy"]
    front.daemon.kill_role("proxy")
    old = front.daemon.pids["proxy"]
    assert old != before and front.ask().status == 200
    assert_confined(old, is_instrumented(front))
    with front.client() as waiting:
        assert waiting.ask().status == 200
        waiting.send(b"GET /half HTTP/1.1\r\nHost: x\r\n")
        assert front.daemon.upswap("upgrade").returncode == 0
        new = front.daemon.pids["proxy"]
        assert front.ask().status == 200
        assert new != old and processes.is_running(old)
        for pid in (old, new):
            assert_confined(pid, is_instrumented(front))
        waiting.send(b"\r\n")
        assert waiting.response().status == 200
    processes.wait_gone(old)


NUMBERS = {
    "CHOWN": 0,
    "DAC_OVERRIDE": 1,
    "FOWNER": 3,
    "KILL": 5,
    "SETGID": 6,
    "SETUID": 7,
    "SETPCAP": 8,
    "NET_BIND_SERVICE": 10,
    "IPC_LOCK": 14,
}
KEEPER = {"SETUID", "SETGID", "SETPCAP", "KILL"}
CONTROL = {"NET_BIND_SERVICE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "SETUID", "SETGID", "KILL", "IPC_LOCK"}


def assert_capable(pid, *, of):
    """Of these at the most, in force, and passing none on but by what root gets from an exec."""
    mask = sum(1 << NUMBERS[name] for name in of)
    for tid in threads(pid):
        status = status_of(tid)
        for name in ("CapPrm", "CapEff"):
            assert int(status[name], 16) == mask, (name, status[name])
        for name in ("CapInh", "CapAmb"):
            assert int(status[name], 16) == 0, (name, status[name])


@as_root
def test_keeper_and_control_keep_the_capabilities_that_they_need_and_no_others(front):
    for _ in range(2):
        assert_capable(front.daemon.pids["keeper"], of=KEEPER)
        assert_capable(front.daemon.pids["control"], of=CONTROL)
        assert front.daemon.upswap("upgrade").returncode == 0


UNIT = os.path.join(ROOT, "conf", "upswapd.service.in")
UNPRIVILEGED = os.path.join(ROOT, "conf", "upswapd-unprivileged.conf")


def setting(path, name):
    """The value of the last line that sets this."""
    with open(path, encoding="utf-8") as file:
        return [line.partition("=")[2].strip() for line in file if line.startswith(f"{name}=")][-1].split()


def for_setpriv(capabilities):
    return "-all," + ",".join(f"+{name.removeprefix('CAP_').lower()}" for name in capabilities)


def low_port():
    """A free port that not everybody may bind."""
    for port in range(1023, 600, -1):
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port below 1024 is free")


def capabilities_of_uptest(stand):
    """What an uptest has: its user, and its lines of capabilities."""
    (result,) = stand.run(*stand.live)
    assert result["Passed"], result
    user, *lines = result["Output"].split("\n")
    return user, {line.split(":")[0]: int(line.split()[1], 16) for line in lines if line.startswith("Cap")}


def assert_checks(daemon):
    """The unit's reload begins with a check, as the user and with the powers of the daemon."""
    with open(UNIT, encoding="utf-8") as file:
        check, _ = [line.partition("=")[2].split() for line in file if line.startswith("ExecReload=")]
    assert check == ["@sbindir@/upswapd", "-t", "-c", "@sysconfdir@/upswap/upswapd.conf"]

    def status():
        argv = [*daemon.prefix, daemon.program, "-t", "-c", daemon.config_path]
        return subprocess.run(argv, capture_output=True, check=False).returncode

    assert status() == 0
    daemon.write_config("nonsense")
    assert status() == 1
    daemon.write_config()


@as_root
def test_what_the_unit_grants_is_all_that_the_daemon_needs(make_stand):
    granted = {name.removeprefix("CAP_") for name in setting(UNIT, "CapabilityBoundingSet")}
    assert granted == KEEPER | CONTROL
    stand = make_stand(uptests={"user": "nobody"}, user="daemon")
    stand.daemon.config["admin"].update({"group": "daemon", "mode": "0660"})
    stand.daemon.config["listeners"] = [{"address": f"127.0.0.1:{low_port()}"}]
    stand.daemon.prefix = ["setpriv", f"--bounding-set={for_setpriv(granted)}", "--"]
    stand.suite.shell("01", "id -un; grep ^Cap /proc/self/status")
    hooked = stand.daemon.path("hooked")
    stand.install_hook(f"#!/bin/sh\nid -un > {hooked}\n")
    stand.start()
    assert stand.ask().status == 200
    user, capabilities = capabilities_of_uptest(stand)
    assert user == "nobody" and capabilities["CapEff"] == capabilities["CapPrm"] == 0
    assert_checks(stand.daemon)
    assert_capable(stand.daemon.pids["keeper"], of=KEEPER)
    assert_capable(stand.daemon.pids["control"], of=CONTROL)
    assert os.stat(stand.daemon.socket).st_gid == grp.getgrnam("daemon").gr_gid
    assert processes.is_running(stand.daemon.pids["proxy"])
    stand.daemon.kill_role("proxy")
    assert stand.ask().status == 200


@as_root
def test_the_daemon_needs_no_root(make_stand):
    """As by upswapd-unprivileged.conf: low ports are all that control is capable of, and what it starts is of nothing."""
    granted = [name.removeprefix("CAP_") for name in setting(UNPRIVILEGED, "CapabilityBoundingSet")]
    assert granted == ["NET_BIND_SERVICE"]
    stand = make_stand()
    daemon = stand.daemon
    daemon.config["listeners"] = [{"address": f"127.0.0.1:{low_port()}"}]
    capability = for_setpriv(granted)
    daemon.prefix = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--no-new-privs"]
    daemon.prefix += [f"--inh-caps={capability}", f"--ambient-caps={capability}", f"--bounding-set={capability}", "--"]
    os.chown(daemon.folder, pwd.getpwnam("nobody").pw_uid, -1)
    stand.suite.shell("01", "id -un; grep ^Cap /proc/self/status")
    stand.start()
    assert stand.ask().status == 200
    user, capabilities = capabilities_of_uptest(stand)
    assert user == "nobody" and capabilities["CapEff"] == capabilities["CapPrm"] == capabilities["CapAmb"] == 0
    assert_checks(daemon)
    for role in ("control", "proxy"):
        daemon.kill_role(role)
    assert stand.ask().status == 200
    assert_capable(daemon.pids["control"], of=granted)
    for tid in threads(daemon.pids["proxy"]):
        status = status_of(tid)
        assert int(status["CapPrm"], 16) == int(status["CapEff"], 16) == int(status["CapAmb"], 16) == 0
        assert status["NoNewPrivs"] == "1" and status["Seccomp"] == ("0" if is_instrumented(stand) else "2")
    daemon.config["listeners"].append({"address": f"127.0.0.1:{low_port()}"})
    daemon.write_config()
    assert daemon.upswap("reload").returncode == 0
    assert daemon.upswap("upgrade").returncode == 0
    assert stand.ask().status == 200


@as_root
def test_as_root_by_name_the_proxy_needs_no_right_of_roots(make_stand):
    """As in a container that keeps no capability, with a group of its volume."""
    stand = make_stand(user="root")
    stand.daemon.prefix = ["setpriv", "--groups=1", "--bounding-set=-all", "--inh-caps=-all", "--"]
    stand.suite.shell("01")
    stand.start()
    assert stand.ask().status == 200
    stand.daemon.kill_role("proxy")
    assert stand.ask().status == 200
    for tid in threads(stand.daemon.pids["proxy"]):
        status = status_of(tid)
        assert status["Uid"].split() == ["0"] * 4 and int(status["CapPrm"], 16) == 0 and status["NoNewPrivs"] == "1"


@as_root
def test_a_proxy_that_cannot_be_started_at_the_first_start_ends_the_daemon(make_daemon):
    daemon = make_daemon(user="daemon")
    daemon.prefix = ["prlimit", "--nproc=0", "--"]  # which root is free of, until it becomes another user
    daemon.write_config()
    daemon.spawn()
    assert daemon.wait_end() == 1
    assert "raise the limit of processes" in daemon.stderr()
    assert "the proxy ended with status 1 before it served; the daemon ends" in daemon.stderr()
    assert not os.path.exists(daemon.socket)


def test_a_proxy_that_cannot_be_forked_is_tried_again_after_longer_and_longer_pauses(make_daemon):
    """Control waits for its lock until the keeper may have no process more."""
    daemon = make_daemon()
    if os.getuid() == 0:  # whom no limit holds
        daemon.prefix = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]
        os.chown(daemon.folder, pwd.getpwnam("nobody").pw_uid, -1)

    def limit_keeper(most):
        command = [*daemon.prefix, "prlimit", f"--pid={daemon.process.pid}", f"--nproc={most}:"]
        subprocess.run(command, capture_output=True, check=True)

    state = daemon.config["state_directory"]
    os.mkdir(state)
    os.chmod(state, 0o777)
    with open(os.path.join(state, "lock"), "w", encoding="ascii") as lock:
        os.chmod(lock.name, 0o666)
        fcntl.flock(lock, fcntl.LOCK_EX)
        daemon.write_config()
        daemon.spawn()
        wait_until(lambda: processes.descendants(daemon.process.pid), what="control")
        limit_keeper(0)
    said = "upswapd: proxy could not be started: Resource temporarily unavailable; too many processes run"
    wait_until(lambda: daemon.stderr().count(said) >= 5, what="the fifth attempt")
    times = [datetime.fromisoformat(line.split()[0]) for line in daemon.stderr().splitlines() if said in line]
    assert (times[4] - times[0]).total_seconds() > 0.6, "pauses of 0, 100, 200 and 400 ms"
    assert "no proxy runs" in daemon.upswap("status").stdout
    assert "No proxy runs" in daemon.upswap("why", "web").stdout
    most = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    limit_keeper("unlimited" if most == resource.RLIM_INFINITY else most)
    wait_until(daemon.is_serving, what="the proxy to be started")
    assert "no proxy runs" not in daemon.upswap("status").stdout
    limit_keeper(0)
    os.kill(daemon.pids["proxy"], signal.SIGKILL)
    wait_until(lambda: daemon.pids["proxy"] == 0, what="the end of the proxy to be told")
    assert "no proxy runs" in daemon.upswap("status").stdout


def can_read(path, user):
    result = subprocess.run(
        ["setpriv", f"--reuid={user}", "--clear-groups", "--inh-caps=-all", "head", "-c1", path], capture_output=True, check=False
    )
    return result.returncode == 0


@as_root
@pytest.mark.parametrize("role", ["proxy", "control", "keeper"])
def test_no_process_of_its_own_user_may_look_into_a_role(front, role):
    if is_instrumented(front):
        pytest.skip("LeakSanitizer must be able to")
    pid = front.daemon.pids[role]
    user = "nobody" if role == "proxy" else "root"
    assert can_read(f"/proc/{pid}/cmdline", user)
    for tid in threads(pid):
        assert os.stat(f"/proc/{tid}/mem").st_uid == 0
        if user != "root":  # who may do all is not kept out
            for name in ("mem", "maps", "environ", "fd/0", "syscall"):
                assert not can_read(f"/proc/{pid}/task/{tid}/{name}", user), name
    assert status_of(pid)["CoreDumping"] == "0"
    with open(f"/proc/{pid}/limits", encoding="ascii") as limits:
        assert any(line.split()[:6] == ["Max", "core", "file", "size", "0", "0"] for line in limits)


def intrude(front, tid, name, *arguments):
    with Intruder(tid) as intruder:
        return intruder.call(name, *arguments)


@as_intruder
def test_a_proxy_that_was_taken_over_opens_no_file(front):
    if is_instrumented(front):
        pytest.skip("without the filter")
    proxy = front.daemon.pids["proxy"]
    for tid in threads(proxy):
        # The path is of no account, so any pointer does.
        assert intrude(front, tid, "openat", AT_FDCWD, 0, os.O_RDONLY) == -errno.EACCES
    assert front.ask().status == 200 and front.daemon.pids["proxy"] == proxy


ATTACKS = {
    "execve": (0, 0, 0),
    "fork": (),
    "ptrace": (0, 1),
    "kill": (1, 0),
    "socket": (socket.AF_NETLINK, socket.SOCK_RAW, 0),
    "bind": (0, 0, 0),
    "io_uring_setup": (1, 0),
}


@as_intruder
@pytest.mark.parametrize("name", ATTACKS)
def test_a_proxy_that_was_taken_over_dies_of_its_attack_and_another_serves(front, name):
    if is_instrumented(front):
        pytest.skip("without the filter")
    proxy = front.daemon.pids["proxy"]
    worker = next(tid for tid in threads(proxy) if tid != proxy)
    with pytest.raises(Killed, match="SIGSYS"):
        intrude(front, worker, name, *ATTACKS[name])
    wait_until(lambda: "was killed for a system call that it must not make (SIGSYS)" in front.daemon.stderr())
    front.daemon.wait_new("proxy", proxy)
    assert front.ask().status == 200


def ask_admin(intruder, path):
    """What the thread is answered on the admin socket; it does not wait, so we do."""
    room = intruder.scratch()
    name = struct.pack("=H", socket.AF_UNIX) + path.encode() + b"\0"
    request = b"POST /v1/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    fd = intruder.call("socket", socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK, 0)
    intruder.write(room, name)
    assert fd >= 0 and intruder.call("connect", fd, room, len(name)) == 0
    intruder.write(room, request)
    assert intruder.call("sendto", fd, room, len(request), 0, 0, 0) == len(request)
    got = []

    def heard():
        got.append(intruder.call("recvfrom", fd, room, 1024, 0, 0, 0))
        return got[-1] != -errno.EAGAIN

    wait_until(heard)
    assert got[-1] > 0
    return intruder.read(room, got[-1]).decode()


@as_intruder
def test_a_proxy_that_was_taken_over_commands_nothing_though_it_has_the_group_of_the_socket(make_daemon):
    daemon = make_daemon(user="daemon")
    daemon.config["admin"].update({"group": "daemon", "mode": "0666"})
    daemon.start()
    for _ in range(2):
        proxy = daemon.pids["proxy"]
        with Intruder(next(tid for tid in threads(proxy) if tid != proxy)) as intruder:
            assert ask_admin(intruder, daemon.socket).startswith("HTTP/1.1 403 ")
        daemon.kill_role("control")  # the next one knows the proxy, too
    daemon.kill_role("proxy")
    proxy = daemon.pids["proxy"]
    with Intruder(proxy) as intruder:
        assert ask_admin(intruder, daemon.socket).startswith("HTTP/1.1 403 ")
