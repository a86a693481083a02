"""Hot upgrade: another program takes over with the same pid and sockets, and nothing is lost; or it does not, and says why."""

import contextlib
import fcntl
import http.client
import os
import signal
import subprocess
import threading
import time

import pytest

from harness import frames, processes
from harness.backend import Held
from harness.client import RawClient
from harness.daemon import program
from harness.http2 import DATA, GOAWAY, RawHttp2, head_frame
from harness.load import Load
from harness.names import NameServer, can_be_asked
from harness.waiting import stays, wait_until

MARK = b"@(#)upswap "


def install(daemon, *changes, source=None):
    """Puts a program where the daemon was started from, as a package manager does: at once, as another file."""
    with open(source or program("upswapd"), "rb") as file:
        data = file.read()
    for old, new in changes:
        assert len(old) == len(new) and old in data, old
        data = data.replace(old, new)
    path = daemon.path("upswapd.new")
    with open(path, "wb") as file:
        file.write(data)
    os.chmod(path, 0o755)
    os.rename(path, daemon.program)


def version(name):
    """A change: this is another version. As long as the real one."""
    real = subprocess.run([program("upswapd"), "-V"], capture_output=True, text=True, check=True).stdout.split()[1]
    return MARK + real.encode(), MARK + name.encode()


def installed(daemon):
    """A daemon, not started, with a program of its own."""
    daemon.program = daemon.path("upswapd")
    install(daemon)
    return daemon


def upgrade(daemon):
    """By the client; its sentence."""
    keeper = daemon.process.pid
    result = daemon.upswap("upgrade")
    assert result.returncode == 0, (result, daemon.stderr())
    assert daemon.process.poll() is None and daemon.process.pid == keeper
    assert daemon.pids["keeper"] == keeper
    return result.stdout


def wait_finished(daemon):
    """Until the proxies of earlier programs have ended."""
    wait_until(lambda: daemon.pids["finishing"] == [], timeout=30, what="the old proxies to end")
    def names():
        return sorted(processes.name(pid) for pid in processes.descendants(daemon.process.pid))

    wait_until(lambda: [n for n in names() if n != "upswapd:warden"] == ["upswapd", "upswapd", "upswapd:nursery"], what="two roles")


def answered(admin):
    """The status, where a control answers."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        return admin.status()
    return None


@pytest.fixture
def upgrading(make_stand):
    """make(...): a stand whose daemon runs a program of its own; one uptest passes."""

    def make(*arguments, hook=None, **options):
        stand = make_stand(*arguments, **options)
        if hook:
            stand.install_hook(hook)
        installed(stand.daemon)
        stand.suite.shell("01_pass")
        return stand.start()

    return make


def test_another_version_takes_over_and_back_under_load_and_nothing_is_lost(upgrading, make_app):
    stand = upgrading(live=0, service={"instances": [app.address for app in make_app("v1", 2)]})
    daemon = stand.daemon
    before = daemon.pids
    with Load(stand.port) as load:
        wait_until(lambda: len(load.exchanges) > 50)
        install(daemon, version("7.7"))
        assert upgrade(daemon) == "upgraded from version 1.0 to 7.7\n"
        assert daemon.admin.status()["version"] == "7.7"
        assert {role: pid for role, pid in daemon.pids.items() if role == "keeper"} == {"keeper": before["keeper"]}
        assert daemon.pids["control"] != before["control"] and daemon.pids["proxy"] != before["proxy"]
        seen = len(load.exchanges)
        wait_until(lambda: len(load.exchanges) > seen + 50)
        install(daemon)  # while the first old proxy may still finish
        assert upgrade(daemon) == "upgraded from version 7.7 to 1.0\n"
        seen = len(load.exchanges)
        wait_until(lambda: len(load.exchanges) > seen + 50)
    load.assert_flawless()
    assert len(stand.events.of("daemon.upgraded")) == 2
    wait_finished(daemon)


def test_a_signal_upgrades_and_the_event_tells_both_versions(upgrading):
    stand = upgrading()
    install(stand.daemon, version("7.7"))
    stand.daemon.signal(signal.SIGUSR2)
    event = stand.events.wait("daemon.upgraded")
    assert (event["from"], event["version"]) == ("1.0", "7.7")
    assert stand.admin.status()["version"] == "7.7"
    assert [sample for name, sample in stand.admin.metrics() if name == "upswap_build_info"] == [
        frozenset({("version", "7.7")})
    ]
    assert not stand.events.of("daemon.started")[1:], "an upgrade is no start"
    assert stand.ask().text == "live-0"


def test_a_link_that_points_elsewhere_is_an_upgrade(upgrading, make_stand):
    stand = make_stand()
    daemon = stand.daemon
    daemon.program = daemon.path("one")
    install(daemon)
    os.rename(daemon.path("one"), daemon.path("one.real"))
    os.symlink("one.real", daemon.path("one"))
    stand.suite.shell("01_pass")
    stand.start()
    daemon.program = daemon.path("two.real")
    install(daemon, version("7.7"))
    os.symlink("two.real", daemon.path("next"))
    os.rename(daemon.path("next"), daemon.path("one"))
    assert upgrade(daemon) == "upgraded from version 1.0 to 7.7\n"


def test_ten_upgrades_leave_no_process_and_no_descriptor_behind(upgrading, make_app):
    stand = upgrading(live=0, service={"instances": [app.address for app in make_app("v1", 2)]})
    daemon = stand.daemon

    def descriptors(role):
        return processes.descriptors(daemon.pids[role])

    with Load(stand.port, plan=("kept", "fresh", "post")) as load:
        counts = []
        for number in range(10):
            upgrade(daemon)
            wait_finished(daemon)
            counts.append(descriptors("keeper"))
    load.assert_flawless()
    assert len(set(counts[1:])) == 1, counts
    assert len(stand.events.of("daemon.upgraded")) == 10


# ---- what lasts ----


def test_a_request_that_is_in_flight_is_answered_by_the_old_proxy_and_its_connection_then_ends(upgrading):
    stand = upgrading()
    held = Held()
    stand.live[0].on("/held", held)
    with RawClient(stand.port) as busy, RawClient(stand.port) as idle:
        assert idle.ask().text == "live-0"
        assert not idle.is_last
        busy.request(target="/held")
        held.wait()
        upgrade(stand.daemon)
        assert len(stand.daemon.pids["finishing"]) == 1
        assert idle.ask().text == "live-0"
        assert idle.is_last, "a kept connection is told that this was the last answer"
        assert idle.to_end() == b""
        held.release()
        response = busy.response()
        assert (response.text, busy.is_last) == ("held\n", True)
        assert busy.to_end() == b""
    wait_finished(stand.daemon)


def read_goaway(raw):
    """Frames up to the next GOAWAY: its last stream and its code, and the DATA before it by stream."""
    data = {}
    while True:
        kind, _, stream, payload = raw.read()
        if kind == GOAWAY:
            return int.from_bytes(payload[:4], "big"), int.from_bytes(payload[4:8], "big"), data
        if kind == DATA:
            data[stream] = data.get(stream, b"") + payload


def test_an_http_2_client_gets_two_goaways_and_all_its_answers(upgrading):
    stand = upgrading()
    held = stand.live[0].on("/held", Held(b"whole"))
    with RawHttp2(stand.port) as raw:
        raw.send(head_frame(1, "/held"))
        held.wait()
        upgrade(stand.daemon)
        assert read_goaway(raw)[:2] == (2**31 - 1, 0)
        raw.send(head_frame(3))  # was on its way
        last, code, data = read_goaway(raw)
        assert (last, code) == (3, 0)
        held.release()
        while (got := raw.read()) is not None:
            if got[0] == DATA:
                data[got[2]] = data.get(got[2], b"") + got[3]
        assert data == {1: b"whole", 3: b"live-0"}
    wait_finished(stand.daemon)


def open_websocket(stand):
    upgraded = frames.Upgraded()
    stand.live[0].on("/ws", upgraded)
    client = RawClient(stand.port)
    assert client.ask(target="/ws", fields=frames.UPGRADE).status == 101
    return client, upgraded.wait()


def test_a_websocket_goes_on_in_the_old_proxy_until_the_time_of_its_class(upgrading):
    stand = upgrading(service={"drain": {"requests": "1s", "streams": "1s", "websockets": "4s", "spread": "0s"}})
    client, instance = open_websocket(stand)
    began = time.monotonic()
    upgrade(stand.daemon)
    client.send(frames.frame(frames.TEXT, b"still there?", masked=True))
    assert frames.read_frame(instance, masked=True) == (frames.TEXT, b"still there?", True)
    assert frames.read_close(client) == (1012, "service restart")
    assert time.monotonic() - began > 3, "it had the time of its class"
    assert frames.read_close(instance, masked=True) == (1001, "going away")
    client.send(frames.close_frame(1012, masked=True))
    instance.send(frames.close_frame(1001))
    assert client.to_end() == b""
    client.close()
    wait_finished(stand.daemon)


def test_an_event_stream_goes_on_in_the_old_proxy_and_ends_behind_a_whole_event(upgrading):
    stand = upgrading(service={"drain": {"requests": "1s", "streams": "3s", "websockets": "1s", "spread": "0s"}})
    opened = threading.Event()

    def source(connection, request):
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        connection.send(b"data: one\n\n")
        opened.wait(30)
        connection.send(b"data: two\n\n")
        connection.ended.wait(60)

    stand.live[0].on("/events", source)
    with RawClient(stand.port) as client:
        client.request(target="/events")
        client.until(b"data: one\n\n")
        upgrade(stand.daemon)
        opened.set()
        rest = client.to_end()
        assert b"data: two\n\n" in rest and rest.endswith(b"0\r\n\r\n"), rest
    wait_finished(stand.daemon)


# ---- in the middle of a deployment ----


def test_while_uptests_run_they_are_run_again_by_the_new_control(upgrading, puppets, make_backend):
    stand = upgrading(live=1)
    stand.suite.add("01_pass", puppets.program)
    fresh = make_backend("fresh")
    deployment = stand.admin.stage([fresh.address])
    first = puppets.next()
    upgrade(stand.daemon)
    assert stand.state(deployment) == "testing"
    first.wait_end()
    again = puppets.next()
    assert again.instance == fresh.address
    assert stand.ask().text == "live-0", "a pass that was not recorded is no pass"
    again.exit(0)
    stand.wait_state(deployment, "done")
    assert stand.ask().text == "fresh"


@pytest.mark.parametrize("stops", [False, True], ids=["upgrade", "stop"])
def test_requests_that_have_come_behind_the_one_under_way_are_answered_too(upgrading, stops):
    stand = upgrading()
    held = Held()
    stand.live[0].on("/held", held)
    with RawClient(stand.port) as client:
        whole = [f"POST /{name} HTTP/1.1\r\nHost: app.test\r\nContent-Length: 1\r\n\r\nx" for name in ("held", "a", "b")]
        client.send(f"{''.join(whole)}POST /c HTTP/1.1".encode())
        held.wait()
        if stops:
            stand.daemon.signal(signal.SIGTERM)
            wait_until(lambda: "stopping: finishing" in stand.daemon.stderr(), what="the proxy to stop")
        else:
            upgrade(stand.daemon)
        held.release()
        told = [(client.response("POST").status, client.is_last) for _ in range(3)]
    assert told == [(200, False), (200, False), (200, True)]
    assert stand.live[0].requests_of("/c") == []


def test_a_held_deployment_stays_held_and_is_promoted_after_it(upgrading, make_backend):
    stand = upgrading()
    deployment = stand.admin.stage([make_backend("fresh").address], hold=True)
    stand.wait_state(deployment, "held")
    upgrade(stand.daemon)
    assert stand.state(deployment) == "held"
    assert stand.ask().text == "live-0"
    assert stand.admin.command("promote").status == 200
    stand.wait_state(deployment, "done")
    assert stand.ask().text == "fresh"


def test_a_watch_goes_on_and_a_rollback_still_finds_the_armed_pool(upgrading, make_backend):
    stand = upgrading()
    deployment = stand.admin.stage([make_backend("fresh").address], watch="60s")
    stand.wait_state(deployment, "watching")
    upgrade(stand.daemon)
    assert stand.state(deployment) == "watching"
    assert stand.ask().text == "fresh"
    assert stand.admin.command("rollback").status == 200
    stand.wait_state(deployment, "rolled_back")
    assert stand.ask().text == "live-0"


def test_who_waits_in_a_pause_waits_on_in_the_old_proxy_and_is_served(upgrading):
    stand = upgrading(service={"drain": {"requests": "1s"}})
    assert stand.admin.command("pause").status == 200
    kept = RawClient(stand.port)
    waiting = [kept, *(RawClient(stand.port) for _ in range(3))]
    for client in waiting:
        client.request()
    wait_until(lambda: stand.admin.service()["mode"]["waiting"] == 4, what="all to wait")
    upgrade(stand.daemon)
    wait_until(lambda: len(stand.daemon.pids["finishing"]) == 1, what="the old proxy to finish")
    stays(lambda: len(stand.daemon.pids["finishing"]) == 1, 1.2)  # longer than a drain
    late = RawClient(stand.port)
    late.request()
    assert stand.admin.command("resume").status == 200
    for client in (*waiting, late):
        answer = client.response()
        assert (answer.status, answer.text) == (200, "live-0"), answer
        client.close()
    wait_finished(stand.daemon)


def test_a_request_that_comes_to_the_old_proxy_in_a_pause_waits_too(upgrading):
    stand = upgrading()
    early, late = RawClient(stand.port), RawClient(stand.port)
    assert late.ask().status == 200
    assert stand.admin.command("pause").status == 200
    early.request()
    wait_until(lambda: stand.admin.service()["mode"]["waiting"] == 1, what="one to wait")
    upgrade(stand.daemon)
    wait_until(lambda: len(stand.daemon.pids["finishing"]) == 1, what="the old proxy to finish")
    late.request()
    wait_until(lambda: stand.admin.service()["mode"]["waiting"] == 2, what="both to wait")
    assert stand.admin.command("resume").status == 200
    assert [client.response().status for client in (early, late)] == [200, 200]
    early.close()
    late.close()
    wait_finished(stand.daemon)


def test_a_stop_does_not_wait_for_those_who_wait_in_an_old_proxy(upgrading):
    stand = upgrading()
    assert stand.admin.command("pause").status == 200
    client = RawClient(stand.port)
    client.request()
    wait_until(lambda: stand.admin.service()["mode"]["waiting"] == 1, what="one to wait")
    upgrade(stand.daemon)
    wait_until(lambda: len(stand.daemon.pids["finishing"]) == 1, what="the old proxy to finish")
    assert stand.daemon.stop() == 0
    assert client.response().upswap == "shutting-down"
    client.close()


def held_in_old_proxy(stand):
    """A client whose request the old proxy holds after an upgrade."""
    held = Held()
    stand.live[0].on("/held", held)
    client = RawClient(stand.port)
    client.request(target="/held")
    held.wait()
    return client, held


def test_a_drain_waits_for_what_the_old_proxy_has_on_the_instance(upgrading, puppets, make_backend):
    stand = upgrading(hook=puppets.program)
    client, held = held_in_old_proxy(stand)
    upgrade(stand.daemon)
    deployment = stand.admin.stage([make_backend("fresh").address])
    stand.wait_state(deployment, "draining")
    stays(lambda: not puppets.all, 1.0, "the instance, which the old proxy uses,")
    pool = next(pool for pool in stand.admin.service()["pools"] if pool["state"] == "draining")
    assert pool["in_flight"] == 1
    held.release()
    assert client.response().text == "held\n"
    client.close()
    call = puppets.next()
    assert call.instance == stand.live[0].address
    call.exit(0)
    stand.wait_state(deployment, "done")


def test_a_drain_that_had_begun_goes_on_in_both_proxies(upgrading, make_backend):
    stand = upgrading()
    client, held = held_in_old_proxy(stand)
    deployment = stand.admin.stage([make_backend("fresh").address])
    stand.wait_state(deployment, "draining")
    upgrade(stand.daemon)
    assert stand.state(deployment) == "draining"
    held.release()
    assert client.response().text == "held\n"
    client.close()
    stand.wait_state(deployment, "done")


def test_a_worker_of_the_old_proxy_that_has_ended_holds_up_no_drain(upgrading, make_backend):
    stand = upgrading(workers=2)
    client, held = held_in_old_proxy(stand)  # by one worker; the other has nothing to finish
    upgrade(stand.daemon)
    first = stand.admin.stage([make_backend("fresh").address])
    stand.wait_state(first, "draining")
    second = stand.admin.stage([make_backend("fresher").address])
    stand.wait_state(second, "done")  # the old proxy never used the pool before it
    assert stand.state(first) == "draining"
    held.release()
    assert client.response().text == "held\n"
    client.close()
    stand.wait_state(first, "done")


def test_a_swap_reaches_the_clients_of_the_old_proxy_too(upgrading, make_backend):
    stand = upgrading(service={"drain": {"requests": "20s"}})
    client, held = held_in_old_proxy(stand)
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(RawClient(stand.port)) for _ in range(20)]
        assert {each.ask().text for each in idle} == {"live-0"}
        upgrade(stand.daemon)
        deployment = stand.admin.stage([make_backend("fresh").address])
        stand.events.wait("swap.published", deployment=deployment)
        # That is told by the proxy that serves; the old one has the same message, and nobody sees when it reads it.
        wait_until(lambda: idle[-1].ask().text == "fresh" or not idle.pop(), what="an answer of the new pool")
        assert idle[-1].is_last
    held.release()
    assert client.response().text == "held\n"
    client.close()
    stand.wait_state(deployment, "done")


# ---- programs that cannot take over ----


def cmdlines(daemon, word):
    """The roles of this name that run, the oldest first."""
    found = []
    for pid in sorted(processes.children(daemon.process.pid)):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                found += [pid] if word in file.read() else []
        except (FileNotFoundError, ProcessLookupError):
            pass
    return found


def refused(stand, sentence):
    """The upgrade is refused with this, everywhere, and nothing has happened to the proxy."""
    before = stand.daemon.pids
    result = stand.daemon.upswap("upgrade")
    assert result.returncode == 1, (result, stand.daemon.stderr())
    assert sentence in result.stderr, result.stderr
    assert result.stderr.count("\n") == 1, "one sentence"
    assert sentence in stand.events.wait("daemon.upgrade_refused")["reason"]
    assert sentence in stand.daemon.stderr()
    after = stand.daemon.pids
    assert (after["keeper"], after["proxy"]) == (before["keeper"], before["proxy"])
    assert after["finishing"] == []
    assert stand.admin.status()["version"] == "1.0"
    assert stand.ask().text == "live-0"
    return before, after


def missing(daemon):
    os.unlink(daemon.program)
    return "No such file or directory"


def not_executable(daemon):
    os.chmod(daemon.program, 0o644)
    return "Permission denied"


def no_program(daemon):
    install(daemon, source=__file__)
    return "could not be executed"


def ends_at_once(daemon):
    install(daemon, source="/bin/true")
    return "ended with status 0 and did not say that it can take over"


def another_program(daemon):
    install(daemon, source="/bin/cat")
    return "cannot take over"


def crashes(daemon):
    install(daemon)
    with open(daemon.program, "r+b") as file:  # the loader needs what is gone
        file.seek(0, os.SEEK_END)
        file.truncate(file.tell() // 8)
    return "cannot take over: it was killed by signal"


def wrong_config(daemon):
    with open(daemon.config_path, "a", encoding="utf-8") as file:
        file.write("nonsense = 1;\n")
    return f'{daemon.config_path}:'


def says_nothing(daemon):
    source = "#include <unistd.h>\nint main(void) { for (;;) pause(); }\n"
    path = daemon.path("silent")
    subprocess.run(["cc", "-x", "c", "-o", path, "-"], input=source, text=True, check=True)
    install(daemon, source=path)
    return "it has not said within 10 s whether it can take over"


@pytest.mark.parametrize(
    "breakage",
    [missing, not_executable, no_program, ends_at_once, another_program, crashes, wrong_config, says_nothing],
)
def test_a_program_that_cannot_take_over_is_refused_before_anything_is_given_up(upgrading, breakage):
    stand = upgrading()
    sentence = breakage(stand.daemon)
    before, after = refused(stand, sentence)
    assert after == before, "not even control has changed"


@pytest.mark.parametrize("role", ["control", "proxy"])
def test_a_program_that_fails_after_the_exec_gives_all_back_under_load(upgrading, make_app, role):
    stand = upgrading(live=1)
    daemon = stand.daemon
    word = f"--role={role}".encode()
    install(daemon, version("7.7"), (word, word[:-1] + b"?"))
    with RawClient(stand.port) as kept:
        assert kept.ask().text == "live-0"
        refused(stand, "of version 7.7 ended with status 2 before it served")
        assert kept.ask().text == "live-0"
        assert not kept.is_last, "the old proxy was never told to finish"
    install(daemon, version("8.8"))
    assert upgrade(daemon) == "upgraded from version 1.0 to 8.8\n"
    wait_finished(daemon)


def test_a_program_that_hangs_after_the_exec_gives_all_back_in_time(upgrading):
    stand = upgrading()
    daemon = stand.daemon
    before = daemon.pids["control"]
    install(daemon, version("7.7"))
    client = daemon.spawn_upswap("upgrade")
    new = wait_until(lambda: [pid for pid in cmdlines(daemon, b"--role=control") if pid != before], what="a new control")[0]
    os.kill(new, signal.SIGSTOP)
    assert stand.ask().text == "live-0"
    _, err = client.communicate(timeout=60)
    assert processes.finish(client) == 1
    assert "version 7.7 did not serve within 30 s" in err, err
    assert stand.admin.status()["version"] == "1.0"
    assert not processes.is_running(new)


def test_while_the_old_proxy_serves_nobody_says_that_none_runs(upgrading):
    """The keeper is stopped before it has started the new one: the new control waits for the lock until then."""
    stand = upgrading()
    daemon = stand.daemon
    keeper, before = daemon.process.pid, daemon.pids
    install(daemon, version("7.7"))
    with open(os.path.join(daemon.config["state_directory"], "lock"), "rb") as lock:
        holder = threading.Thread(target=fcntl.flock, args=(lock, fcntl.LOCK_EX))
        holder.start()
        client = daemon.spawn_upswap("upgrade")
        holder.join()
        wait_until(lambda: [pid for pid in cmdlines(daemon, b"--role=control") if pid != before["control"]], what="a new control")
        wait_until(lambda: processes.is_asleep(keeper), what="the keeper to have told it all")
        os.kill(keeper, signal.SIGSTOP)
    status = wait_until(lambda: answered(stand.admin), what="the new control")
    assert (status["version"], status["pids"]["proxy"], status["pids"]["finishing"]) == ("7.7", 0, [before["proxy"]])
    assert stand.ask().text == "live-0"
    assert "no proxy runs" not in daemon.upswap("status").stdout
    assert "No proxy runs" not in daemon.upswap("why", "web").stdout
    os.kill(keeper, signal.SIGCONT)
    client.communicate(timeout=60)
    assert processes.finish(client) == 0


def test_an_upgrade_that_fails_under_load_loses_nothing(upgrading, make_app):
    stand = upgrading(live=0, service={"instances": [app.address for app in make_app("v1", 2)]})
    install(stand.daemon, version("7.7"), (b"--role=proxy", b"--role=prox?"))
    with Load(stand.port) as load:
        for _ in range(3):
            assert stand.daemon.upswap("upgrade").returncode == 1
            seen = len(load.exchanges)
            wait_until(lambda: len(load.exchanges) > seen + 20)
    load.assert_flawless()


# ---- another upgrade at the same time ----


def test_until_an_upgrade_is_done_another_and_a_reload_are_refused_and_change_nothing(upgrading):
    stand = upgrading()
    install(stand.daemon, version("7.7"))
    assert stand.admin.post("/v1/upgrade").status == 202
    told = {"/v1/upgrade": "an upgrade is under way; wait for its end", "/v1/reload": "an upgrade is under way; reload again when it is done"}
    for path in list(told) * 50:
        with contextlib.suppress(OSError, http.client.HTTPException):  # a control ends, and the next one begins
            answer = stand.admin.post(path)
            if answer.status != 409:
                break
            assert answer.detail == told[path]
    assert stand.admin.status()["version"] == "7.7", "nothing is taken before the new control is there"
    stand.events.wait("daemon.upgraded", count=2 if answer.status == 202 else 1)
    assert all("asked_by" in event for event in stand.events.of("daemon.upgrade_refused")), "none ends the first"


def test_a_signal_that_comes_while_an_upgrade_is_under_way_does_not_end_it_for_who_asked(upgrading):
    stand = upgrading()
    daemon = stand.daemon
    before = daemon.pids["control"]
    install(daemon, version("7.7"))
    client = daemon.spawn_upswap("upgrade")
    new = wait_until(lambda: [pid for pid in cmdlines(daemon, b"--role=control") if pid != before], what="a new control")[0]
    os.kill(new, signal.SIGSTOP)
    daemon.signal(signal.SIGUSR2)
    wait_until(lambda: "no other upgrade: an upgrade is under way" in daemon.stderr(), what="the line of the second")
    os.kill(new, signal.SIGCONT)
    out, err = client.communicate(timeout=60)
    assert (processes.finish(client), out) == (0, "upgraded from version 1.0 to 7.7\n"), err
    assert not stand.events.of("daemon.upgrade_refused")


# ---- a reload at the same time ----


@pytest.fixture
def looking_up(make_stand):
    """A stand whose file has a new service, the name of whose instance is looked up until its `names` are let go."""
    if not can_be_asked():
        pytest.skip("only root can give a daemon a name server of its own")
    names = NameServer()
    stand = make_stand(service={"hosts": ["app.test"]})
    stand.names = names
    names.serve(stand.daemon)
    installed(stand.daemon)
    stand.start()

    def add(config):
        service = {**config["services"][0], "name": "slow", "hosts": ["slow.test"], "instances": ["slow.upswap.test:9"]}
        config["services"].append(service)

    stand.daemon.write_config(stand.daemon.changed_config(add))
    yield stand
    names.close()


def assert_reloaded_once_let_go(stand):
    stand.names.let_go.set()
    stand.events.wait("config.reloaded")
    assert [service["service"] for service in stand.admin.status()["services"]] == ["web", "slow"]


def test_a_reload_by_signal_that_is_under_way_when_an_upgrade_begins_is_done_by_the_new_program(looking_up):
    stand = looking_up
    install(stand.daemon, version("7.7"))
    stand.daemon.signal(signal.SIGHUP)
    assert stand.names.asked.wait(10)
    stand.daemon.signal(signal.SIGUSR2)
    stand.events.wait("daemon.upgraded")
    assert_reloaded_once_let_go(stand)


def test_a_reload_by_signal_that_comes_while_an_upgrade_is_under_way_is_done_by_the_new_program(looking_up):
    stand = looking_up
    install(stand.daemon, version("7.7"))
    stand.daemon.signal(signal.SIGUSR2)
    stand.daemon.signal(signal.SIGHUP)
    stand.events.wait("daemon.upgraded")
    assert_reloaded_once_let_go(stand)


def test_a_reload_by_signal_is_done_by_the_old_program_where_the_new_one_gives_all_back(looking_up):
    stand = looking_up
    install(stand.daemon, version("7.7"), (b"--role=proxy", b"--role=prox?"))
    stand.daemon.signal(signal.SIGHUP)
    assert stand.names.asked.wait(10)
    stand.daemon.signal(signal.SIGUSR2)
    stand.events.wait("daemon.upgrade_refused")
    assert_reloaded_once_let_go(stand)


def test_a_reload_by_the_client_that_an_upgrade_overtakes_is_refused_with_what_to_do(looking_up):
    stand = looking_up
    install(stand.daemon, version("7.7"))
    client = stand.daemon.spawn_upswap("reload")
    assert stand.names.asked.wait(10)
    stand.daemon.signal(signal.SIGUSR2)
    _, err = client.communicate(timeout=30)
    assert processes.finish(client) == 1
    assert "version 7.7 takes over before the reload is done; reload again when it serves" in err
    assert "takes over before" in stand.events.wait("config.refused")["reason"]
    stand.events.wait("daemon.upgraded")
    stand.names.let_go.set()
    assert stand.daemon.upswap("reload").returncode == 0


def test_a_reload_in_which_control_dies_is_done_by_the_next_one_and_left_if_that_dies_of_it_too(looking_up):
    stand = looking_up
    stand.daemon.signal(signal.SIGHUP)
    for _ in range(2):
        assert stand.names.asked.wait(10)
        stand.names.asked.clear()
        stand.daemon.kill_role("control")
    assert "control has ended in a reload again: it is not done; mend the file, and reload again" in stand.daemon.stderr()
    stand.daemon.signal(signal.SIGHUP)
    assert_reloaded_once_let_go(stand)


def test_while_three_old_proxies_finish_there_is_no_fourth_upgrade(upgrading):
    stand = upgrading(service={"drain": {"websockets": "60s"}})
    clients = []
    for count in range(3):
        clients.append(open_websocket(stand)[0])
        upgrade(stand.daemon)
        # Until an old proxy leaves the sockets, it takes new clients as well.
        wait_until(lambda: stand.daemon.stderr().count("another proxy accepts now") == count + 1)
    assert len(stand.daemon.pids["finishing"]) == 3
    result = stand.daemon.upswap("upgrade")
    assert result.returncode == 1 and "three upgrades before" in result.stderr, result
    clients[1].reset()
    wait_until(lambda: len(stand.daemon.pids["finishing"]) == 2)
    upgrade(stand.daemon)
    for client in clients:
        client.close()


# ---- deaths ----


@pytest.mark.parametrize("role", ["control", "proxy", "keeper"])
def test_kill_9_right_after_an_upgrade_is_survived_as_ever(upgrading, make_backend, role):
    stand = upgrading()
    client, held = held_in_old_proxy(stand)
    upgrade(stand.daemon)
    stand.daemon.kill_role(role)
    assert RawClient(stand.daemon.port).ask().text == "live-0"
    if role != "keeper":
        assert len(stand.daemon.pids["finishing"]) == 1
        held.release()
        assert client.response().text == "held\n"
        wait_finished(stand.daemon)
    held.release()
    client.close()


@pytest.mark.parametrize("role", ["control", "proxy"])
def test_kill_9_of_a_new_role_before_it_serves_gives_all_back(upgrading, role):
    stand = upgrading()
    daemon = stand.daemon
    before = daemon.pids[role]
    install(daemon, version("7.7"))
    client = daemon.spawn_upswap("upgrade")
    word = f"--role={role}".encode()
    new = wait_until(lambda: [pid for pid in cmdlines(daemon, word) if pid != before], what=f"the new {role}")[0]
    os.kill(new, signal.SIGKILL)
    out, err = client.communicate(timeout=60)
    processes.finish(client)
    wait_until(daemon.is_serving)
    if client.returncode == 0:  # it was quick: then the role is started again
        assert out == "upgraded from version 1.0 to 7.7\n"
        daemon.wait_new(role, new)
    else:
        assert "of version 7.7 was killed by signal 9" in err, err
        assert stand.admin.status()["version"] == "1.0"
    assert stand.ask().text == "live-0"
    install(daemon)
    upgrade(daemon)
    wait_finished(daemon)


def test_kill_9_of_the_keeper_in_the_middle_of_an_upgrade_starts_what_is_installed(upgrading):
    stand = upgrading()
    daemon = stand.daemon
    before = daemon.pids["control"]
    install(daemon, version("7.7"))
    daemon.signal(signal.SIGUSR2)
    wait_until(lambda: [pid for pid in cmdlines(daemon, b"--role=control") if pid != before], what="a new control")
    daemon.crash()
    daemon.start(write=False)
    assert stand.admin.status()["version"] == "7.7"
    assert RawClient(daemon.port).ask().text == "live-0"


def test_kill_9_of_the_old_proxy_frees_what_it_had_in_flight(upgrading, make_backend):
    stand = upgrading()
    client, held = held_in_old_proxy(stand)
    upgrade(stand.daemon)
    deployment = stand.admin.stage([make_backend("fresh").address])
    stand.wait_state(deployment, "draining")
    os.kill(stand.daemon.pids["finishing"][0], signal.SIGKILL)
    stand.wait_state(deployment, "done")
    held.release()
    client.close()


def test_a_stop_after_an_upgrade_waits_for_both_proxies(upgrading):
    stand = upgrading(service={"drain": {"requests": "20s"}})
    client, held = held_in_old_proxy(stand)
    upgrade(stand.daemon)
    stand.daemon.signal(signal.SIGTERM)
    wait_until(lambda: "stopping: no new" in stand.daemon.stderr())
    held.release()
    assert client.response().text == "held\n"
    client.close()
    assert stand.daemon.wait_end(timeout=30) == 0
