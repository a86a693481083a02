"""Wrong admin requests: a clear error that names the place, and nothing changed (promises 7 and 8)."""

import contextlib
import grp
import http.client
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import threading

import pytest

from harness import processes, tcp
from harness.admin import Admin, UnixConnection
from harness.backend import Backend
from harness.waiting import wait_until


@pytest.fixture(scope="module")
def front(start_front):
    return start_front(Backend("live"), service={"uptests": {"directory": "/nonexistent/uptests"}})


def picture(front):
    """All that a refused request must leave as it was."""
    status = front.admin.status()
    for service in status["services"]:
        for pool in service["pools"]:
            for key in ("requests", "in_flight", "in_flight_by_class", "errors"):
                pool.pop(key)
    return status, front.admin.history()


DEPLOYMENTS = "/v1/services/web/deployments"
STAGE = {"instances": ["127.0.0.1:9"]}


def untested(*instances):
    return {"instances": list(instances), "allow_untested": True}


WRONG = {
    # name: (method, path, body, status, a word of the sentence)
    "no_json": ("POST", DEPLOYMENTS, b"{nonsense", 400, "JSON"),
    "an_empty_body": ("POST", DEPLOYMENTS, b"", 400, "instances"),
    "a_json_array": ("POST", DEPLOYMENTS, [], 400, "object"),
    "json_with_a_tail": ("POST", DEPLOYMENTS, b'{"instances":["127.0.0.1:9"]} x', 400, "JSON"),
    "json_that_is_no_utf_8": ("POST", DEPLOYMENTS, b'{"release":"\xff"}', 400, "JSON"),
    "json_nested_too_deep": ("POST", DEPLOYMENTS, b"[" * 100000, 400, "JSON"),
    "a_repeated_key": ("POST", DEPLOYMENTS, b'{"hold":true,"hold":false,"instances":["127.0.0.1:9"]}', 400, "hold"),
    "an_unknown_key": ("POST", DEPLOYMENTS, {**STAGE, "relaese": "v1"}, 400, "relaese"),
    "a_key_of_the_wrong_type": ("POST", DEPLOYMENTS, {**STAGE, "hold": "yes"}, 400, "hold"),
    "a_release_that_is_a_number": ("POST", DEPLOYMENTS, {**STAGE, "release": 7}, 400, "release"),
    "no_instances_key": ("POST", DEPLOYMENTS, {}, 400, "instances"),
    "instances_that_are_a_string": ("POST", DEPLOYMENTS, {"instances": "127.0.0.1:9"}, 400, "instances"),
    "an_instance_that_is_a_number": ("POST", DEPLOYMENTS, {"instances": [9]}, 400, "instances"),
    "an_instance_with_an_unknown_key": (
        "POST",
        DEPLOYMENTS,
        {"instances": [{"address": "127.0.0.1:9", "wieght": 2}]},
        400,
        "wieght",
    ),
    "a_pid_that_is_a_string": (
        "POST",
        DEPLOYMENTS,
        {"instances": [{"address": "127.0.0.1:9", "pid": "1"}]},
        400,
        "pid",
    ),
    "a_canary_without_shares": ("POST", DEPLOYMENTS, {**STAGE, "canary": []}, 400, "canary"),
    "a_service_without_a_name": ("GET", "/v1/services/", None, 404, 'did you mean "/v1/services"'),
    "a_canary_whose_shares_fall": ("POST", DEPLOYMENTS, {**STAGE, "canary": [5, 1]}, 400, "canary"),
    "no_instances_at_all": ("POST", DEPLOYMENTS, {"instances": []}, 422, "instance"),
    "no_uptests": ("POST", DEPLOYMENTS, STAGE, 422, "/nonexistent/uptests"),
    "an_address_without_port": ("POST", DEPLOYMENTS, untested("127.0.0.1"), 422, "127.0.0.1"),
    "a_port_of_zero": ("POST", DEPLOYMENTS, untested("127.0.0.1:0"), 422, "127.0.0.1:0"),
    "a_port_too_large": ("POST", DEPLOYMENTS, untested("127.0.0.1:70000"), 422, "70000"),
    "the_same_instance_twice": (
        "POST",
        DEPLOYMENTS,
        untested("127.0.0.1:9", "127.0.0.1:9"),
        422,
        "127.0.0.1:9",
    ),
    "a_bad_release_name": ("POST", DEPLOYMENTS, {**STAGE, "release": "../x", "allow_untested": True}, 422, "release"),
    "an_unknown_service": ("POST", "/v1/services/wbe/deployments", STAGE, 404, 'did you mean "web"'),
    "an_unknown_service_read": ("GET", "/v1/services/wbe", None, 404, 'did you mean "web"'),
    "an_unknown_deployment": ("GET", "/v1/deployments/web-999", None, 404, "web-999"),
    "an_unknown_path": ("GET", "/v1/nothing", None, 404, "/v1/nothing"),
    "an_unknown_verb": ("POST", "/v1/services/web/explode", {}, 404, "explode"),
    "rollback_with_nothing_armed": ("POST", "/v1/services/web/rollback", {}, 409, "no armed pool"),
    "promote_with_nothing_held": ("POST", "/v1/services/web/promote", {}, 409, "web"),
    "abort_with_nothing_running": ("POST", "/v1/services/web/abort", {}, 409, "web"),
    "abort_with_an_unknown_key": ("POST", "/v1/services/web/abort", {"why": "x"}, 400, "why"),
    "drain_without_instance": ("POST", "/v1/services/web/drain", {}, 400, "instance"),
    "a_limit_that_is_no_number": ("GET", DEPLOYMENTS + "?limit=many", None, 400, "limit"),
    "an_unknown_query": ("GET", "/v1/events?sinse=3", None, 400, "sinse"),
    "a_since_that_is_no_number": ("GET", "/v1/events?since=yesterday", None, 400, "since"),
    "events_of_an_unknown_service": ("GET", "/v1/events?service=wbe", None, 404, "web"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_request_gets_a_clear_error_and_changes_nothing(front, name):
    method, path, body, status, word = WRONG[name]
    before = picture(front)
    answer = front.admin.request(method, path, body)
    assert answer.status == status, answer
    assert word in answer.detail and len(answer.detail) > len(word)
    assert picture(front) == before


METHODS = {
    ("POST", "/v1/status"): "GET",
    ("DELETE", "/v1/services/web"): "GET",
    ("PUT", DEPLOYMENTS): "GET, POST",
    ("GET", "/v1/services/web/promote"): "POST",
    ("GET", "/v1/reload"): "POST",
    ("POST", "/metrics"): "GET",
    ("POST", "/healthz"): "GET",
    ("PATCH", "/v1/events"): "GET",
}


@pytest.mark.parametrize("case", METHODS, ids=lambda case: "_".join(case))
def test_a_wrong_method_is_405_with_allow(front, case):
    answer = front.admin.request(*case)
    assert answer.status == 405 and answer.detail
    allowed = {word.strip() for word in answer.headers["Allow"].split(",")}
    assert allowed - {"HEAD"} == {word.strip() for word in METHODS[case].split(",")}


def test_a_body_over_1_mib_is_413_whether_announced_or_chunked(front):
    big = b'{"release":"' + b"x" * (1 << 20) + b'"}'
    assert front.admin.request("POST", DEPLOYMENTS, big).status == 413
    wire = front.admin.raw()
    wire.send(f"POST {DEPLOYMENTS} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
    try:
        for _ in range(20):
            wire.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")
    except (BrokenPipeError, ConnectionResetError):
        pass
    try:
        assert b" 413 " in wire.until(b"\r\n")
    except ConnectionResetError:
        pass
    wire.close()
    assert front.admin.status()


@pytest.mark.parametrize("data", [b"\0\0\0\0", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"x" * 100000 + b"\r\n\r\n"])
def test_nonsense_on_the_socket_is_refused(front, data):
    wire = front.admin.raw()
    try:
        wire.send(data)
        first = wire.until(b"\r\n")
        assert first.split()[1] in (b"400", b"414", b"431", b"505")
    except (BrokenPipeError, ConnectionResetError):
        pass
    finally:
        wire.close()
    assert front.admin.status()


def test_many_admin_clients_that_say_nothing_do_not_hinder_the_others(front):
    idle = [front.admin.raw() for _ in range(100)]
    for _ in range(20):
        assert front.admin.request("GET", "/healthz").status == 200
    for wire in idle:
        wire.close()


def test_the_admin_socket_answers_while_everything_else_is_slow(make_stand, make_backend, puppets):
    """Uptests run, names resolve, an instance hangs, an events reader does not read: status answers at once."""
    stand = make_stand(live=1)
    stand.suite.add("01", puppets.program)
    stand.start()
    lazy = stand.admin.raw()
    lazy.send(b"GET /v1/events?follow=1 HTTP/1.1\r\nHost: x\r\n\r\n")
    stand.admin.stage([make_backend().address])
    call = puppets.next()
    for _ in range(50):
        assert stand.admin.status()["services"][0]["deployment"]["state"] == "testing"
    call.exit(0)
    lazy.close()


def test_several_requests_may_share_an_admin_connection(front):
    connection = UnixConnection(front.daemon.socket)
    for _ in range(10):
        connection.request("GET", "/v1/status")
        response = connection.getresponse()
        assert response.status == 200
        json.loads(response.read())
    connection.close()


def test_events_come_as_server_sent_events_for_who_wants_them(front):
    wire = front.admin.raw()
    wire.send(b"GET /v1/events?follow=1&since=0 HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n")
    head = wire.until(b"\r\n\r\n")
    assert b"content-type: text/event-stream" in head.lower()
    event = wire.until(b"\n\n")
    lines = dict(line.split(b": ", 1) for line in event.splitlines() if b": " in line)
    assert json.loads(lines[b"data"])["seq"] == int(lines[b"id"])
    wire.close()


def test_events_since_a_number_are_those_above_it(front):
    all_events = [json.loads(line) for line in front.admin.request("GET", "/v1/events?since=0").body.splitlines()]
    assert all_events
    last = all_events[-1]["seq"]
    assert front.admin.request("GET", f"/v1/events?since={last}").body == b""
    some = front.admin.request("GET", f"/v1/events?since={last - 1}").body.splitlines()
    assert [json.loads(line)["seq"] for line in some] == [last]


def test_a_reader_that_asks_for_events_that_are_gone_is_told_which(make_stand):
    stand = make_stand()
    stand.suite.shell("01")
    state = stand.daemon.config["state_directory"]
    os.makedirs(state, exist_ok=True)
    with open(os.path.join(state, "events.jsonl"), "w", encoding="utf-8") as file:
        for seq in range(2101, 12101):
            file.write(json.dumps({"seq": seq, "time": "2026-11-22T10:00:00.000Z", "type": "gate.passed"}) + "\n")
    stand.start()
    oldest = json.loads(stand.admin.request("GET", "/v1/events?since=0").body.splitlines()[0])
    assert oldest["type"] == "gate.passed" and oldest["seq"] > 2101
    gone = oldest["seq"] - 1
    assert json.loads(stand.admin.request("GET", f"/v1/events?since={gone}").body.splitlines()[0]) == oldest
    first, second, *_ = stand.daemon.upswap("events", "--since", "5").stdout.splitlines()
    missed = json.loads(first)
    assert missed.pop("time")
    assert missed == {"seq": gone, "type": "events.missed", "first": 6, "last": gone}
    assert json.loads(second) == oldest
    wire = stand.admin.raw()
    wire.send(b"GET /v1/events?since=5&follow=1&service=web HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n")
    wire.until(b"\r\n\r\n")
    assert b'"first":6' in wire.until(b"\n\n")
    stand.admin.command("pause")
    assert b'"pause.started"' in wire.until(b"\n\n"), "it is told once"
    wire.close()


def test_the_socket_has_its_mode_and_the_kernel_says_who_asked(make_stand, make_backend):
    stand = make_stand()
    stand.daemon.config["admin"]["mode"] = "0600"
    stand.suite.shell("01")
    stand.start()
    assert stat.S_IMODE(os.stat(stand.daemon.socket).st_mode) == 0o600
    deployment = stand.admin.stage([make_backend().address])
    asked = stand.admin.deployment(deployment)["asked_by"]
    assert asked["uid"] == os.getuid() and asked["pid"] == os.getpid()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can ask as somebody else")
def test_whatever_the_mode_of_the_socket_only_its_owners_are_let_in(make_daemon):
    daemon = make_daemon(admin={"socket": None, "mode": "0666", "group": "daemon"})
    daemon.config["admin"]["socket"] = daemon.socket
    daemon.start()

    def status(*who):
        return subprocess.run(
            ["setpriv", *who, *daemon.client_argv("--json", "status")], capture_output=True, text=True, check=False
        )

    stranger = status("--reuid=nobody", "--regid=nogroup", "--clear-groups")
    assert stranger.returncode == 1 and stranger.stdout == ""
    assert "you are user 65534" in stranger.stderr and "admin.group" in stranger.stderr
    for member in (["--regid=daemon", "--clear-groups"], ["--regid=nogroup", "--groups=daemon"]):
        result = status("--reuid=nobody", *member)
        assert result.returncode == 0 and '"snapshot"' in result.stdout, result
    # Another group counts from its reload on, for who comes then.
    daemon.config["admin"]["group"] = "nogroup"
    daemon.write_config()
    assert daemon.upswap("reload").returncode == 0
    assert status("--reuid=nobody", "--regid=nogroup", "--clear-groups").returncode == 0
    assert status("--reuid=nobody", "--regid=daemon", "--clear-groups").returncode == 1


@pytest.mark.parametrize("how", ["reload", "crash", "upgrade"])
def test_a_socket_whose_file_was_removed_is_made_anew(make_daemon, how):
    daemon = make_daemon().start()
    control = daemon.pids["control"]
    os.unlink(daemon.socket)
    if how == "reload":
        daemon.signal(signal.SIGHUP)
    elif how == "upgrade":
        daemon.signal(signal.SIGUSR2)
    else:
        os.kill(control, signal.SIGKILL)
    wait_until(daemon.is_serving, what="the socket to be there again")
    assert daemon.upswap("reload").returncode == 0  # and the one that it replaces is forgotten by the keeper, too
    if how != "upgrade":
        daemon.kill_role("control")
    assert daemon.admin.status()["listeners"]


def gone(folder, path):
    """Its folder, as by a cleaner; returns what brings it back."""
    shutil.rmtree(folder)
    return lambda: os.mkdir(folder)


def taken(_folder, path):
    """Its place, by a file of somebody's; returns what gives it back."""
    os.unlink(path)
    with open(path, "w", encoding="ascii") as file:
        file.write("somebody's")
    os.chmod(path, 0o604)

    def give_back():
        with open(path, encoding="ascii") as file:
            assert file.read() == "somebody's" and stat.S_IMODE(os.fstat(file.fileno()).st_mode) == 0o604
        os.unlink(path)

    return give_back


@pytest.mark.parametrize("lose", [gone, taken])
def test_a_socket_that_cannot_be_made_anew_keeps_no_control_from_its_work(make_daemon, lose):
    daemon = make_daemon()
    folder = daemon.path("run")
    os.mkdir(folder)
    daemon.socket = os.path.join(folder, "admin.sock")
    daemon.config["admin"]["socket"] = daemon.socket
    daemon.admin = Admin(daemon.socket)
    before = daemon.start().pids
    give_back = lose(folder, daemon.socket)
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: "the config is taken up anew" in daemon.stderr(), what="the reload")
    said = "nobody reaches the admin socket until that is done and the daemon is told to reload (SIGHUP)"
    assert daemon.stderr().count(said) == 1, daemon.stderr()
    os.kill(before["control"], signal.SIGKILL)
    wait_until(lambda: daemon.stderr().count(said) == 2, what="a control without its socket")
    give_back()
    daemon.signal(signal.SIGHUP)
    wait_until(daemon.is_serving, what="the socket to be there again")
    assert daemon.pids["proxy"] == before["proxy"]
    assert daemon.stderr().count("control was started again") == 1, daemon.stderr()


def test_a_new_path_of_the_socket_that_cannot_be_made_is_refused(make_daemon):
    daemon = make_daemon().start()
    daemon.write_config(
        daemon.changed_config(lambda config: config["admin"].update(socket=daemon.path("none", "admin.sock")))
    )
    result = daemon.upswap("reload")
    assert result.returncode == 1 and "make its folder, or choose another path" in result.stderr, result
    assert daemon.is_serving()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can start it as somebody else")
@pytest.mark.parametrize("how", ["reload", "crash"])
def test_a_group_that_the_daemon_may_not_give_any_more_keeps_no_control_from_its_work(make_daemon, how):
    """The folder gave it, by its set-group-ID bit."""
    daemon = make_daemon()
    daemon.prefix = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]
    os.chown(daemon.folder, 65534, grp.getgrnam("daemon").gr_gid)
    os.chmod(daemon.folder, 0o2755)
    daemon.config["admin"]["group"] = "daemon"
    before = daemon.start().pids
    assert os.stat(daemon.socket).st_gid == grp.getgrnam("daemon").gr_gid
    os.chmod(daemon.folder, 0o755)
    os.chown(daemon.folder, 65534, 65534)
    os.unlink(daemon.socket)
    if how == "reload":
        daemon.signal(signal.SIGHUP)
    else:
        os.kill(before["control"], signal.SIGKILL)
    wait_until(daemon.is_serving, what="the socket to be there again")
    assert os.stat(daemon.socket).st_gid == grp.getgrnam("nogroup").gr_gid
    assert "until then the admin socket has the group that it has, or the daemon's own" in daemon.stderr()
    assert daemon.pids["proxy"] == before["proxy"] and daemon.upswap("reload").returncode == 0


@pytest.mark.skipif(os.getuid() != 0, reason="only root can start it as somebody else")
def test_a_group_that_the_daemon_may_not_give_is_refused_by_a_reload_as_by_a_start(make_daemon):
    daemon = make_daemon()
    daemon.prefix = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--groups=daemon", "--"]
    os.chown(daemon.folder, 65534, -1)
    daemon.start()
    daemon.config["admin"]["group"] = "root"
    daemon.write_config()
    result = daemon.upswap("reload")
    sentence = 'admin.group: the daemon\'s user is not in group "root", so it may not give the socket to that; add '
    assert result.returncode == 1 and sentence in result.stderr
    assert daemon.stop() == 0
    daemon.spawn()
    assert daemon.wait_end() == 1 and sentence in daemon.stderr()
    daemon.config["admin"]["group"] = "daemon"
    daemon.start()
    assert os.stat(daemon.socket).st_gid == grp.getgrnam("daemon").gr_gid


def test_a_thousand_slow_clients_of_all_kinds_disturb_nobody(start_own_front):
    """Half heads, half bodies, answers that are not read, by TCP and on the socket; more than are let in."""
    with tempfile.NamedTemporaryFile("w", suffix=".token") as token:
        token.write("0123456789abcdef\n")
        token.flush()
        front = start_own_front(Backend("live"))
        front.daemon.config["admin"].update({"listen": "127.0.0.1:0", "token_file": token.name})
        front.daemon.write_config()
        assert front.daemon.upswap("reload").returncode == 0
    host, _, port = front.admin.status()["admin"]["bound"].rpartition(":")
    control = front.daemon.pids["control"]
    before = processes.resident_bytes(control)
    slow = [
        b"GET /v1/status HTTP/1.1\r\nHo",
        b"POST /v1/services/web/deployments HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n{",
        b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 100,
        b"GET /v1/events?follow=1 HTTP/1.1\r\nHost: x\r\n\r\n",
    ]
    opened = []
    for number in range(1000):
        by_tcp = number % 3 == 0
        sock = socket.create_connection((host, int(port))) if by_tcp else socket.socket(socket.AF_UNIX)
        if not by_tcp:
            sock.connect(front.daemon.socket)
        sock.setblocking(False)
        with contextlib.suppress(OSError):
            sock.send(slow[number % len(slow)])
        opened.append(sock)
        if number % 50 == 49:
            assert front.admin.request("GET", "/healthz").status == 200
            assert front.ask().status == 200
    assert front.daemon.upswap("status").returncode == 0
    assert front.admin.request("POST", "/v1/services/web/abort", {}).status == 409
    assert processes.descriptors(control) < 400
    assert processes.resident_bytes(control) - before < 64 << 20
    for sock in opened:
        sock.close()
    assert front.daemon.pids["control"] == control


def test_over_tcp_a_token_is_needed(make_daemon):
    daemon = make_daemon()
    token, token_text = daemon.path("token"), "0123456789abcdef"
    with open(token, "w", encoding="utf-8") as file:
        file.write(f"{token_text}\n")
    daemon.config["admin"].update({"listen": "127.0.0.1:0", "token_file": token})
    daemon.start()
    bound = daemon.admin.status()["admin"]["bound"]

    def ask(**headers):
        connection = http.client.HTTPConnection(bound, timeout=5)
        connection.request("GET", "/v1/status", headers=headers)
        response = connection.getresponse()
        response.read()
        return response.status

    assert ask() == 401
    assert ask(Authorization="Bearer wrong") == 401
    assert ask(Authorization=f"Bearer {token_text[:-1]}") == 401
    assert ask(Authorization=token_text) == 401
    assert ask(Authorization=f"Bearer {token_text}") == 200
    head = f"POST /v1/reload HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token_text}\r\nContent-Length: 2\r\n\r\n"
    assert tcp.seconds_until_acknowledged(int(bound.rpartition(":")[2]), head.encode()) < 0.02  # who waits with the body need not wait long


def test_clients_that_go_away_while_they_wait_leave_nothing_behind(make_stand, make_backend, puppets):
    stand = make_stand()
    stand.suite.add("01", puppets.program)
    stand.start()

    def descriptors():
        return processes.descriptors(stand.daemon.pids["control"])

    before = descriptors()
    for _ in range(10):
        connection = UnixConnection(stand.daemon.socket)
        connection.request("POST", "/v1/services/web/uptest", b"{}")
        call = puppets.next()
        connection.close()
        call.exit(0)
    puppets.let_go()
    wait_until(lambda: descriptors() <= before, what="the descriptors of those who left to be closed")
    assert stand.admin.status()


def test_the_second_daemon_on_a_socket_or_state_directory_is_refused(make_daemon):
    first = make_daemon().start()
    for key in ("socket", "state"):
        second = make_daemon()
        if key == "socket":
            second.config["admin"]["socket"] = first.socket
        else:
            second.config["state_directory"] = first.config["state_directory"]
        second.write_config()
        second.spawn()
        assert processes.finish(second.process) == 1
        second.process = None
        assert first.folder in second.stderr()
    assert first.admin.status()["pids"]["keeper"] == first.process.pid


def test_concurrent_requests_of_all_kinds_are_all_answered(front):
    statuses = []

    def ask(method, path, body):
        statuses.append(front.admin.request(method, path, body).status)

    cases = [(m, p, b) for m, p, b, _, _ in WRONG.values()] * 3
    threads = [threading.Thread(target=ask, args=case) for case in cases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(statuses) == len(cases)
    assert front.admin.request("GET", "/healthz").status == 200
