"""The client against a daemon that is played by the test: every exit status, and what is shown on the way.

Needs the built `upswap` only; the folder with it is $UPSWAP_BUILD.
"""

import datetime
import fcntl
import http.server
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import socketserver
import struct
import subprocess
import tempfile
import termios
import threading
import time

import pytest

BUILD = os.environ.get("UPSWAP_BUILD", ".")
PATIENCE = 20

DONE = [
    ("deployment.staged", {"release": "v2"}),
    ("deployment.ready", {}),
    ("uptest.started", {"instance": "127.0.0.1:1", "uptest": "01_alive"}),
    ("uptest.finished", {"instance": "127.0.0.1:1", "uptest": "01_alive", "passed": True, "exit": 0, "seconds": 0.12}),
    ("gate.passed", {}),
    ("swap.published", {"nanoseconds": 43000}),
    ("drain.started", {"pool": "web-1"}),
    ("drain.finished", {"pool": "web-1", "seconds": 2.5, "forced": 0}),
    ("teardown.finished", {"deployment": "web-1", "instance": "127.0.0.1:9"}),
    ("deployment.done", {}),
]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body):
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self):
        self.server.play.note("GET", self.path, None)
        if self.path.startswith("/v1/events"):
            self.stream()
        else:
            self.answer(*self.server.play.get(self.path))

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.play.note("POST", self.path, json.loads(body))
        if self.server.play.loses is not None:
            self.server.play.loses(self.connection)
            self.close_connection = True
        else:
            self.answer(*self.server.play.post(self.path))

    def stream(self):
        if self.server.play.crowded and "follow=1" in self.path:
            self.answer(503, {"status": 503, "detail": "128 clients follow the events already; end one of them"})
            return
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        self.server.play.stream(self.path, self.wfile)


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 32

    def get_request(self):
        request, _ = super().get_request()
        return request, ("local", 0)

    def handle_error(self, request, client_address):
        """A client that goes away in the middle is part of the tests."""


class Play:
    """A daemon with the service web, whose deployment web-2 goes through `events` and ends in `state`."""

    def __init__(self, path):
        self.path = path
        self.requests = []
        self.answers = {}
        self.deployment = {"deployment": "web-2", "service": "web", "state": "testing", "replaces": "web-1"}
        self.pools = []
        self.events = []
        self.follows = True
        self.break_after = None  # events, then the stream breaks, once
        self.crowded = False  # as many as may follow the events
        self.anew = None  # what the events are then
        self.loses = None  # what is done with the connection instead of an answer to a POST
        self.changed = threading.Condition()
        self.server = Server(path, Handler)
        self.server.play = self
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        with self.changed:
            self.follows = False
            self.changed.notify_all()
        self.server.shutdown()
        self.server.server_close()

    def note(self, method, path, body):
        with self.changed:
            self.requests.append((method, path, body))
            self.changed.notify_all()

    def wait_for(self, condition):
        with self.changed:
            assert self.changed.wait_for(condition, PATIENCE), self.requests

    def asked(self, prefix):
        return [path for _, path, _ in self.requests if path.startswith(prefix)]

    def body(self, path):
        return next(body for method, asked, body in self.requests if (method, asked) == ("POST", path))

    def get(self, path):
        if path in self.answers:
            return self.answers[path]
        if path.startswith("/v1/deployments/"):
            return 200, self.deployment
        live = "web-2" if self.deployment["state"] == "done" else "web-1"
        return 200, {"service": "web", "state": "serving", "live": live, "pools": self.pools}

    def post(self, path):
        return self.answers.get(path, (202, {"deployment": "web-2"}))

    def happens(self, events, state=None, **more):
        """Appends events; the state is there when the last of them is."""
        with self.changed:
            if state is not None:
                self.deployment = {**self.deployment, "state": state, **more}
            for kind, more in events:
                self.events.append(
                    {"seq": len(self.events) + 1, "service": "web", "deployment": "web-2", "type": kind, **more}
                )
            self.changed.notify_all()

    def stream(self, path, out):
        sent = int(path.split("since=")[1].split("&")[0])
        sent = 0 if sent > len(self.events) else sent  # numbers have begun anew
        follow = "follow=1" in path
        while True:
            with self.changed:
                self.changed.wait_for(lambda: len(self.events) > sent or not (follow and self.follows))
                waiting = self.events[sent:]
                if not waiting:
                    return
            for event in waiting:
                if self.break_after == sent:
                    self.break_after = None
                    self.events = self.anew or self.events
                    return
                out.write(json.dumps(event).encode() + b"\n")
                out.flush()
                sent += 1


@pytest.fixture
def play(tmp_path):
    it = Play(str(tmp_path / "admin.sock"))
    yield it
    it.close()


def command(play, *words):
    return [os.path.join(BUILD, "upswap"), "-s", play.path, *words]


def run(play, *words, **options):
    return subprocess.run(
        command(play, *words), capture_output=True, text=True, timeout=PATIENCE, check=False, **options
    )


def start(play, *words, **options):
    return subprocess.Popen(
        command(play, *words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def test_stage_follows_a_deployment_until_it_is_done(play):
    play.happens(DONE, "done")
    done = run(play, "stage", "web", "127.0.0.1:1", "127.0.0.1:2,weight=3,pid=4711", "--release", "v2")
    assert done.returncode == 0, done.stderr
    assert play.body("/v1/services/web/deployments") == {
        "instances": ["127.0.0.1:1", {"address": "127.0.0.1:2", "weight": 3, "pid": 4711}],
        "release": "v2",
    }
    for sentence in (
        "web-2 is staged: release v2",
        "127.0.0.1:1  01_alive  started",
        "127.0.0.1:1  01_alive  passed in 0.12 s",
        "web-2 is live, 0.043 ms from decision to publication",
        "web-1 is drained in 2.5 s\n",
        "127.0.0.1:9 is torn down",
        "web: web-2 is live, after",
    ):
        assert sentence in done.stdout
    assert "\033" not in done.stdout


def test_the_end_is_seen_without_its_event(play):
    play.happens([], "rejected")
    assert run(play, "stage", "web", "127.0.0.1:1").returncode == 3


def test_a_deployment_that_the_daemon_has_forgotten_is_not_waited_for(play):
    play.answers["/v1/deployments/web-2"] = (404, {"status": 404, "detail": "no such deployment"})
    done = run(play, "stage", "web", "127.0.0.1:1")
    assert (done.returncode, done.stderr) == (1, "upswap: the daemon knows no deployment web-2 any more\n")


def test_one_that_was_replaced_while_the_pool_before_it_drained_is_not_called_live(play):
    play.answers["/v1/services/web"] = (200, {"service": "web", "state": "serving", "live": "web-3", "pools": []})
    play.happens(DONE, "done")
    done = run(play, "stage", "web", "127.0.0.1:1")
    assert done.returncode == 0
    assert re.search(r"web: web-2 is done, after [0-9.]+ s, and was live; web-3 is live now\n$", done.stdout), done.stdout


def test_events_of_other_deployments_are_not_shown(play):
    before = [
        ("deployment.done", {"deployment": "web-1", "reason": "long ago"}),
        ("teardown.finished", {"deployment": "web-1", "instance": "long ago"}),
    ]
    play.happens([*before, *DONE], "done")
    done = run(play, "stage", "web", "127.0.0.1:1")
    assert done.returncode == 0
    assert "long ago" not in done.stdout


@pytest.mark.parametrize("state, status", [("rejected", 3), ("rolled_back", 4), ("aborted", 5)])
def test_each_end_has_its_exit_status(play, state, status):
    play.happens([("deployment.staged", {}), (f"deployment.{state}", {"why": "the reason"})], state)
    done = run(play, "stage", "web", "127.0.0.1:1")
    assert done.returncode == status
    assert "the reason" in done.stdout
    assert "web-1 stays live" in done.stdout


def test_a_failed_uptest_is_shown_with_its_output_and_nothing_that_moves_the_cursor(play):
    failed = {"instance": "127.0.0.1:1", "uptest": "01_alive", "passed": False, "exit": 7, "seconds": 1.5}
    play.happens([("uptest.finished", {**failed, "output": "no\n\033[2J db\n"}), ("deployment.rejected", {})], "rejected")
    done = run(play, "stage", "web", "127.0.0.1:1")
    assert "127.0.0.1:1  01_alive  exited with 7 in 1.50 s\n               no\n               ?[2J db\n" in done.stdout


@pytest.mark.parametrize(
    "passed, launch, told",
    [
        (False, {}, '"upswap show web-2" has every uptest\'s whole output; "upswap uptest web HOST:PORT" runs the suite'),
        (True, {"state": "failed"}, '"upswap show web-2" has the whole story, with the output of its launch.'),
        (True, None, '"upswap show web-2" has the whole story.'),
    ],
)  # fmt: skip
def test_uptests_are_pointed_to_where_one_has_failed(play, passed, launch, told):
    play.happens([("uptest.finished", {"passed": passed}), ("deployment.rejected", {})], "rejected")
    play.deployment["launch"] = launch
    done = run(play, "stage", "web", "127.0.0.1:1")
    assert f"Next: {told}" in done.stdout
    assert ("upswap uptest" in done.stdout) is not passed


def test_in_flight_requests_are_shown_while_the_old_pool_drains(play):
    play.pools = [{"deployment": "web-1", "state": "draining", "in_flight": 3}]
    play.happens(DONE[:7], "draining")
    client = start(play, "stage", "web", "127.0.0.1:1")
    play.wait_for(lambda: "/v1/services/web" in play.asked("/v1/services"))
    play.happens(DONE[7:], "done")
    out, _ = client.communicate(timeout=PATIENCE)
    assert client.returncode == 0
    assert "web-1 drains: 3 in flight" in out


def test_hold_returns_when_held_and_says_how_to_go_on(play):
    play.happens([("deployment.staged", {}), ("deployment.held", {})], "held")
    done = run(play, "stage", "web", "127.0.0.1:1", "--hold")
    assert done.returncode == 0
    assert play.body("/v1/services/web/deployments")["hold"] is True
    assert '"upswap promote web" swaps, "upswap abort web" gives it up' in done.stdout


def test_no_wait_returns_when_staged(play):
    done = run(play, "stage", "web", "127.0.0.1:1", "--no-wait", "--watch", "0s")
    assert (done.returncode, done.stdout) == (0, "web: web-2 is staged\n")


def test_json_of_stage_is_the_events_and_then_the_deployment(play):
    play.happens(DONE, "done")
    lines = run(play, "stage", "web", "127.0.0.1:1", "--json").stdout.splitlines()
    assert [json.loads(line) for line in lines] == [*play.events, play.deployment]


@pytest.mark.parametrize("state, status", [("done", 0), ("rejected", 3), ("rolled_back", 4), ("aborted", 5)])
def test_promote_follows_what_it_let_go_on_to_its_end(play, state, status):
    play.answers["/v1/services/web/promote"] = (200, {"deployment": "web-2", "seq": 1})
    play.happens([("deployment.held", {}), ("deployment.promoted", {})], "testing")
    client = start(play, "promote", "web", "--follow")
    play.wait_for(lambda: play.asked("/v1/deployments/web-2"))
    play.happens([(f"deployment.{state}", {"reason": "so it went"})], state)
    out, errors = client.communicate(timeout=PATIENCE)
    assert (client.returncode, errors) == (status, "")
    assert "web-2 is promoted" in out and "web-2 is held" not in out
    assert ("web: web-2 is live" if status == 0 else f"web-2 is {state.replace('_', ' ')}: so it went") in out


@pytest.mark.parametrize(
    "event, state, status, said",
    [
        ("swap.published", "watching", 0, "web: promoted; web-2 is live"),
        ("swap.published", "draining", 0, "web: promoted; web-2 is live"),
        ("canary.started", "canary", 0, "web: promoted; web-2 is a canary"),
        ("deployment.rejected", "rejected", 3, "web: web-2 is rejected"),
    ],
)
def test_promote_ends_when_the_release_has_clients_or_will_have_none(play, event, state, status, said):
    play.answers["/v1/services/web/promote"] = (200, {"deployment": "web-2", "seq": 1})
    play.happens([("deployment.held", {}), ("deployment.promoted", {})], "testing")
    client = start(play, "promote", "web")
    play.wait_for(lambda: play.asked("/v1/deployments/web-2"))
    play.happens([(event, {"reason": "so it went"})], state)
    out, errors = client.communicate(timeout=PATIENCE)
    assert (client.returncode, errors) == (status, "")
    assert said in out


def test_promote_of_the_last_share_of_a_canary_ends_with_the_swap(play):
    """Until then it is shown as a canary."""
    play.answers["/v1/services/web/promote"] = (200, {"deployment": "web-2", "seq": 1})
    play.happens([("deployment.promoted", {})], "canary", phase="canary_confirming")
    client = start(play, "promote", "web")
    play.wait_for(lambda: play.asked("/v1/deployments/web-2"))
    play.happens([("deployment.rolled_back", {"reason": "so it went"})], "rolled_back", phase="rolled_back")
    out, _ = client.communicate(timeout=PATIENCE)
    assert (client.returncode, "is a canary" in out) == (4, False)


def test_json_of_promote_is_the_deployment_alone(play):
    play.answers["/v1/services/web/promote"] = (200, {"deployment": "web-2", "seq": 1})
    play.happens([("deployment.held", {}), ("deployment.promoted", {}), ("swap.published", {})], "watching")
    done = run(play, "promote", "web", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, play.deployment)


def test_promote_with_no_wait_returns_when_promoted(play):
    done = run(play, "promote", "web", "--no-wait")
    assert (done.returncode, done.stdout) == (0, "web: web-2 is promoted\n")
    assert not play.asked("/v1/events")


def test_promote_follows_no_longer_than_timeout_says(play):
    play.happens(DONE[:3])
    done = run(play, "promote", "web", "--follow", "--timeout", "300ms")
    assert done.returncode == 6 and "web-2 goes on" in done.stderr


def test_a_stream_that_breaks_is_taken_up_behind_the_last_event(play):
    play.break_after = 4
    play.happens(DONE, "testing")
    client = start(play, "stage", "web", "127.0.0.1:1", "--json")
    play.wait_for(lambda: len(play.asked("/v1/events")) > 1)
    play.happens([], "done")
    out, _ = client.communicate(timeout=PATIENCE)
    assert client.returncode == 0
    assert [json.loads(line)["seq"] for line in out.splitlines()[:-1]] == list(range(1, len(DONE) + 1))
    assert "since=4&" in play.asked("/v1/events")[1]


def test_what_cannot_be_followed_for_too_many_followers_is_asked_for_until_its_end(play):
    play.crowded = True
    play.happens(DONE[:3])
    client = start(play, "stage", "web", "127.0.0.1:1", "--json")
    play.wait_for(lambda: "/v1/events?since=3&service=web" in play.asked("/v1/events"))
    play.happens([*DONE[3:-1], ("deployment.rolled_back", {})], "rolled_back")
    out, errors = client.communicate(timeout=PATIENCE)
    assert (client.returncode, errors) == (4, "")
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["seq"] for line in lines[:-1]] == list(range(1, len(DONE) + 1))
    assert lines[-1]["state"] == "rolled_back"


def test_an_upgrade_that_cannot_be_followed_for_too_many_followers_is_seen_to_its_end(play):
    play.crowded = True
    play.answers["/v1/upgrade"] = (202, {"since": 0})
    client = start(play, "upgrade")
    play.wait_for(lambda: "/v1/events?since=0" in play.asked("/v1/events"))
    play.happens([("daemon.upgraded", {"from": "1.0", "version": "1.1"})])
    out, errors = client.communicate(timeout=PATIENCE)
    assert (client.returncode, out, errors) == (0, "upgraded from version 1.0 to 1.1\n", "")


def test_who_asks_for_nothing_but_events_is_told_that_too_many_follow_them(play):
    play.crowded = True
    done = run(play, "events", "-f")
    assert (done.returncode, done.stderr) == (1, "upswap: 128 clients follow the events already; end one of them\n")


def test_events_are_followed_where_their_numbers_have_begun_anew(play):
    play.break_after = 3
    play.happens(DONE[:4])
    play.anew = play.events[:2]
    client = start(play, "events", "web", "-f")
    patience = threading.Timer(PATIENCE, client.kill)
    patience.start()
    assert [json.loads(client.stdout.readline() or "{}").get("seq") for _ in range(5)] == [1, 2, 3, 1, 2]
    assert "since=3&" in play.asked("/v1/events")[1]
    patience.cancel()
    client.kill()
    client.communicate()


def taken_by(play, pid=None):
    """A control that dies right behind the journal's write, and its successor, who knows who asked."""

    def lose(connection):
        asked, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        now = datetime.datetime.now(datetime.timezone.utc)
        created = f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03}Z"
        asked_by = {"uid": uid, "user": "me", "pid": asked if pid is None else pid}
        own = {"deployment": "web-2", "asked_by": asked_by, "created": created}
        play.answers["/v1/services/web/deployments?limit=20"] = (200, {"deployments": [own]})

    return lose


def test_a_deployment_whose_answer_was_lost_is_found_and_followed(play):
    play.loses = taken_by(play)
    play.happens(DONE, "done")
    done = run(play, "stage", "web", "127.0.0.1:1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "web: web-2 is live, after" in done.stdout
    assert len(play.asked("/v1/services/web/deployments")) == 2, "one request, and one look"
    done = run(play, "deploy", "web", "v2", "--no-wait")
    assert (done.returncode, done.stdout) == (0, "web: web-2 is staged\n")


def promoted_by(play, pid=None):
    """The same of a promotion: the event log has who asked."""

    def lose(connection):
        asked, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        now = f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"
        by = {"uid": uid, "user": "me", "pid": asked if pid is None else pid}
        play.happens([("deployment.held", {}), ("deployment.promoted", {"time": now, "asked_by": by})], "testing")
        play.happens([("deployment.done", {})], "done")

    return lose


def test_a_promotion_whose_answer_was_lost_is_found_and_followed(play):
    play.loses = promoted_by(play)
    done = run(play, "promote", "web")
    assert (done.returncode, done.stderr) == (0, "")
    assert "web: promoted; web-2 is live" in done.stdout and "is held" not in done.stdout


def test_a_promotion_by_somebody_else_is_not_taken_for_the_one_whose_answer_was_lost(play):
    play.loses = promoted_by(play, pid=1)
    done = run(play, "promote", "web")
    assert done.returncode == 7
    assert 'it may have been done all the same: "upswap history web" tells' in done.stderr


def test_a_deployment_of_somebody_else_is_not_taken_for_the_one_whose_answer_was_lost(play):
    play.loses = taken_by(play, pid=1)
    done = run(play, "stage", "web", "127.0.0.1:1")
    assert done.returncode == 7
    assert 'it may have been done all the same: "upswap history web" tells' in done.stderr
    assert "is upswapd running there" not in done.stderr
    assert not play.asked("/v1/deployments/")


def test_a_command_whose_answer_was_lost_says_that_it_may_have_been_done(play):
    play.loses = lambda connection: None
    for words in (["rollback", "web"], ["pause", "web"], ["reload"], ["upgrade"]):
        done = run(play, *words)
        assert done.returncode == 7
        assert f"no answer from the daemon at {play.path}" in done.stderr
        assert 'may have been done all the same: "upswap status" and "upswap events" tell' in done.stderr


def test_a_daemon_that_listens_and_says_nothing_is_not_waited_for_without_end(tmp_path):
    """Its keeper holds the socket while its control does not start."""
    path = str(tmp_path / "admin.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        argv = [os.path.join(BUILD, "upswap"), "-s", path, "status"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout) == (7, "")
    assert f"no answer from the daemon at {path} in time: its control does not start" in done.stderr


def test_the_time_of_timeout_bounds_a_daemon_that_does_not_answer(play):
    play.loses = lambda connection: play.wait_for(lambda: not play.follows)
    done = run(play, "stage", "web", "127.0.0.1:1", "--timeout", "300ms")
    assert done.returncode == 6
    assert 'may have been done all the same: "upswap history web" tells' in done.stderr


def test_the_time_of_timeout_ends_the_client_and_not_the_deployment(play):
    play.happens(DONE[:3])
    done = run(play, "stage", "web", "127.0.0.1:1", "--timeout", "300ms")
    assert done.returncode == 6
    assert 'web-2 goes on: "upswap show web-2" tells how' in done.stderr
    assert not play.asked("/v1/services/web/abort")


def test_who_leaves_a_watch_is_told_how_to_swap_back(play):
    play.happens(DONE[:3])
    play.answers["/v1/deployments/web-2"] = (200, {"deployment": "web-2", "state": "watching", "replaces": "web-1"})
    done = run(play, "stage", "web", "127.0.0.1:1", "--timeout", "300ms")
    assert done.returncode == 6
    assert '"upswap rollback web" gives it up' in done.stderr


def test_ctrl_c_ends_the_client_and_not_the_deployment(play):
    play.happens(DONE[:3])
    client = start(play, "stage", "web", "127.0.0.1:1")
    play.wait_for(lambda: play.asked("/v1/deployments/web-2"))
    client.send_signal(signal.SIGINT)
    _, errors = client.communicate(timeout=PATIENCE)
    assert client.returncode == 130
    assert "web-2 goes on" in errors


def test_ctrl_c_that_is_ignored_from_the_start_stays_ignored(play):
    play.happens(DONE[:3])
    client = start(play, "stage", "web", "127.0.0.1:1", preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    play.wait_for(lambda: play.asked("/v1/deployments/web-2"))
    client.send_signal(signal.SIGINT)
    play.happens(DONE[3:], "done")
    _, errors = client.communicate(timeout=PATIENCE)
    assert (client.returncode, errors) == (0, "")


def interrupt(play, asked, *words):
    """Ctrl-C once the daemon has been asked for that."""
    client = start(play, *words)
    play.wait_for(lambda: asked in [path for _, path, _ in play.requests])
    client.send_signal(signal.SIGINT)
    out, errors = client.communicate(timeout=PATIENCE)
    return client.returncode, out, errors


def test_ctrl_c_before_an_answer_says_what_may_have_been_done(play):
    play.loses = lambda connection: play.wait_for(lambda: not play.follows)
    for path, tells, *words in (
        ("/v1/services/web/deployments", '"upswap history web" tells', "stage", "web", "127.0.0.1:1"),
        ("/v1/services/web/promote", '"upswap history web" tells', "promote", "web"),
        ("/v1/services/web/rollback", '"upswap status" and "upswap events" tell', "rollback", "web"),
    ):
        done = "it may have been done all the same"
        assert interrupt(play, path, *words) == (130, "", f"upswap: interrupted before the daemon had answered; {done}: {tells}\n")


def test_ctrl_c_while_a_lost_answer_is_looked_for_says_what_may_have_been_done(play):
    path = "/v1/services/web/deployments?limit=20"
    play.loses = lambda connection: None
    play.answers[path] = (500, {})
    status, _, errors = interrupt(play, path, "stage", "web", "127.0.0.1:1")
    assert status == 130
    assert 'it may have been done all the same: "upswap history web" tells' in errors


def test_ctrl_c_while_a_pause_waits_for_quiet_says_until_when_it_lasts_and_what_ends_it(play):
    play.loses = lambda connection: play.wait_for(lambda: not play.follows)
    status, _, errors = interrupt(play, "/v1/services/web/pause", "pause", "web", "--max", "10m")
    assert status == 130
    told = r'upswap: interrupted; web is or will be paused until (..:..:..) UTC or later, and "upswap resume web" ends that\n'
    until = datetime.datetime.strptime(re.fullmatch(told, errors).group(1), "%H:%M:%S")
    left = until - datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    assert 600 - PATIENCE < left.seconds <= 600


def test_ctrl_c_while_an_upgrade_is_followed_says_that_it_goes_on(play):
    play.answers["/v1/upgrade"] = (202, {"since": 0})
    done = interrupt(play, "/v1/events?since=0&follow=1", "upgrade")
    assert done == (130, "", 'upswap: interrupted; the upgrade goes on: "upswap events" tells how it ends\n')


def test_a_refusal_is_the_daemons_sentence(play):
    play.answers["/v1/services/web/deployments"] = (409, {"status": 409, "detail": "web-1 is running; abort it"})
    done = run(play, "stage", "web", "127.0.0.1:1")
    assert (done.returncode, done.stderr) == (1, "upswap: web-1 is running; abort it\n")


@pytest.mark.parametrize(
    "words, told",
    [
        (["abort", "w\033[2Jb\nup"], 'no service "w?[2Jb?up"'),
        (["status", "--\u009b2J"], "no option --?2J"),
        (["st\033us\nup"], 'no command "st?us?up"'),
        (["status", "-é"], "no option -é\n"),
        (["maintenance", "web", "\033[31m"], '"?[31m" is neither'),
        (["check", "/none\033\n.conf"], "/none??.conf"),
        (["reload"], "upswap: the w?rning\n"),
    ],
)
def test_what_is_quoted_on_stderr_moves_no_cursor(play, words, told):
    play.answers["/v1/services/w%1B%5B2Jb%0Aup/abort"] = (404, {"status": 404, "detail": 'no service "w\033[2Jb\nup"'})
    play.answers["/v1/reload"] = (200, {"warnings": ["the w\007rning"]})
    done = run(play, *words)
    assert told in done.stderr and done.stderr.count("\n") == 1 and "\033" not in done.stderr


@pytest.mark.parametrize("name", [".", ".."])
def test_a_name_of_dots_is_a_name_and_no_way_up(play, name):
    run(play, "status", name)
    run(play, "stage", name, "127.0.0.1:1", "--no-wait")
    assert play.asked("/") == [f"/v1/services/{name}", f"/v1/services/{name}/deployments"]


def test_a_refusal_has_the_name_as_it_was_typed(play):
    for name, sent in (("wéb", "w%C3%A9b"), ("a b", "a%20b"), ("50%25", "50%2525")):
        play.answers[f"/v1/services/{sent}"] = (404, {"status": 404, "detail": f'no service "{sent}", 100%'})
        done = run(play, "status", name)
        assert (done.returncode, done.stderr) == (1, f'upswap: no service "{name}", 100%\n')


def test_a_daemon_that_is_not_there_is_named(tmp_path):
    done = subprocess.run(
        [os.path.join(BUILD, "upswap"), "status"],
        env={**os.environ, "UPSWAP_SOCKET": str(tmp_path / "none")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 7
    assert f"cannot reach the daemon at {tmp_path}/none: No such file or directory" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask as somebody else")
@pytest.mark.parametrize("closed", ["socket", "folder"])
def test_who_may_not_use_the_socket_is_told_what_lets_them_in(closed):
    folder = tempfile.mkdtemp(prefix="upswap-")
    path = os.path.join(folder, "admin.sock")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        sock.listen()
        os.chmod(path, 0o600 if closed == "socket" else 0o666)
        os.chmod(folder, 0o755 if closed == "socket" else 0o700)
        asked = ["setpriv", "--reuid=nobody", "--clear-groups", os.path.join(BUILD, "upswap"), "-s", path, "status"]
        done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=PATIENCE)
    shutil.rmtree(folder)
    assert done.returncode == 7
    assert f"cannot reach the daemon at {path}: Permission denied" in done.stderr
    assert "admin.group" in done.stderr and "is upswapd running there" not in done.stderr


@pytest.mark.parametrize("passed, status", [(True, 0), (False, 3)])
def test_uptest_ends_with_what_the_suite_says(play, passed, status):
    results = [
        {"Name": "01", "Passed": True, "Output": "", "Host": "::1", "Port": 1, "Seconds": 0.1},
        {"Name": "02", "Passed": passed, "Output": "why\n", "Host": "::1", "Port": 1, "Seconds": 0.1},
    ]
    play.answers["/v1/services/web/uptest"] = (200, results)
    done = run(play, "uptest", "web", "[::1]:1", "--release", "v2")
    assert done.returncode == status
    assert play.body("/v1/services/web/uptest") == {"instances": ["[::1]:1"], "release": "v2"}
    assert ("    why\n" in done.stdout) is not passed
    done = run(play, "uptest", "web", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (status, results)


def test_no_uptests_at_all_are_no_pass(play):
    play.answers["/v1/services/web/uptest"] = (200, [])
    assert run(play, "uptest", "web").returncode == 3


@pytest.mark.parametrize(
    "words, path, body",
    [
        (["promote", "web", "--no-wait"], "/v1/services/web/promote", {}),
        (["abort", "web", "--reason", "why not"], "/v1/services/web/abort", {"reason": "why not"}),
        (["promote", "web", "--no-wait", "--deployment", "web-2"], "/v1/services/web/promote", {"deployment": "web-2"}),
        (["promote", "web", "--no-wait", "--from", "canary:5"], "/v1/services/web/promote", {"from": "canary:5"}),
        (["abort", "web", "--deployment", "web-2"], "/v1/services/web/abort", {"deployment": "web-2"}),
        (["rollback", "web", "--deployment=web-2"], "/v1/services/web/rollback", {"deployment": "web-2"}),
        (["drain", "web", "h:1"], "/v1/services/web/drain", {"instance": "h:1"}),
        (["enable", "web", "h:1"], "/v1/services/web/enable", {"instance": "h:1"}),
        (["maintenance", "web", "on", "--message", "m"], "/v1/services/web/maintenance", {"on": True, "message": "m"}),
        (["resume", "web"], "/v1/services/web/resume", {}),
        (["maintenance", "web", "off"], "/v1/services/web/maintenance", {"on": False}),
        (["reload"], "/v1/reload", {}),
        (["promote", "../x", "--no-wait"], "/v1/services/..%2Fx/promote", {}),
    ],
)
def test_each_command_posts_to_its_place(play, words, path, body):
    play.answers[path] = (200, {"deployment": "web-2"})
    done = run(play, *words)
    assert done.returncode == 0, done.stderr
    assert play.body(path) == body


def service(**more):
    instance = {"address": "10.0.0.5:8001", "state": "up", "in_flight": 3, "pid": 4711}
    pool = {"deployment": "web-16", "state": "live", "release": "v41", "in_flight": 3, "requests": 12, "errors": 0}
    return {"service": "web", "state": "serving", "live": "web-16", "deployment": None,
            "pools": [{**pool, "instances": [{**instance, **more}]}]}


@pytest.mark.parametrize("columns", [80, 132])
def test_status_fits_the_terminal(play, columns):
    long_one = service(address="a" * 200 + ":8001", in_flight=99999, pid=4194304, weight=256)
    path = service(address="unix:/run/shop/releases/v41/app-1.sock")
    play.answers["/v1/status"] = (200, {"version": "1.0", "snapshot": 1, "services": [service(), long_one, path]})
    out = on_terminal(play, {"NO_COLOR": "1"}, "status", columns=columns)
    assert "web: serving" in out and "10.0.0.5:8001  " in out and "v41" in out
    assert "...aaa" in out and "aaa:8001,weight=256 " in out
    assert (" unix:/run/shop/releases/v41/app-1.sock " in out) is (columns == 132)
    assert columns - 12 <= max(len(line) for line in out.splitlines()) <= columns


def test_status_that_is_no_terminals_has_addresses_that_can_be_copied(play):
    path = "unix:/srv/shop/" + "a" * 80 + "/app.sock"
    play.answers["/v1/status"] = (200, {"services": [service(address=path, weight=3)]})
    assert f"    {path},weight=3 " in run(play, "status").stdout


@pytest.mark.parametrize(
    "replaces, words", [({"replaces": "web-1"}, "the live pool stays"), ({"replaces": None}, "no pool is live")]
)
def test_abort_says_what_is_live(play, replaces, words):
    play.answers["/v1/services/web/abort"] = (200, {"deployment": "web-2", **replaces})
    assert run(play, "abort", "web").stdout == f"web: aborted; {words}\n"


@pytest.mark.parametrize(
    "more, line",
    [
        ({"state": "maintenance"}, "web: maintenance !"),
        ({"state": "empty", "pools": []}, "web: empty !"),
        ({"pools": service(state="down")["pools"]}, "  ! 10.0.0.5:8001               down          3 in flight  pid 4711"),
        ({"pools": service(uptests="failed")["pools"]},
         "  ! 10.0.0.5:8001               up            3 in flight  fails uptests"),
        ({"deployment": {"deployment": "web-17", "state": "held"}},
         "! deployment web-17 is held, and waits for a person"),
        ({"deployment": {"deployment": "web-17", "state": "watching", "reason": "5xx"}},
         "! deployment web-17 is watching, and waits for a person"),
    ],
)
def test_status_marks_what_needs_attention(play, more, line):
    services = [{**service(), "service": "shop"}, {**service(), **more}]
    play.answers["/v1/status"] = (200, {"services": services})
    lines = run(play, "status").stdout.splitlines()
    assert line in lines
    assert lines[-2:] == ['needs attention ("upswap why SERVICE" says more):', "! web"]
    assert max(len(each) for each in lines) <= 80


@pytest.mark.parametrize(
    "more",
    [{}, {"deployment": {"deployment": "web-17", "state": "watching", "reason": None}},
     {"pools": [*service()["pools"], {**service(state="torn_down")["pools"][0], "state": "draining"}]}],
)
def test_status_marks_nothing_where_all_is_well(play, more):
    play.answers["/v1/status"] = (200, {"services": [{**service(), **more}]})
    assert "!" not in run(play, "status").stdout


def test_json_is_printed_as_it_came(play):
    play.answers["/v1/services/web"] = (200, b'{"service":  "web"}')
    assert run(play, "--json", "status", "web").stdout == '{"service":  "web"}\n'


def test_history_and_show_tell_what_became_of_a_deployment(play):
    deployment = {"deployment": "web-2", "state": "rejected", "release": "v2", "reason": "01_alive exited with 1",
                  "created": "2026-11-22T10:00:00.123Z", "asked_by": {"user": "root"}, "instances": ["h:1"],
                  "timeline": [{"time": "2026-11-22T10:00:00.123Z", "state": "testing", "why": "the gate runs"}],
                  "gate": {"cells": [{"instance": "h:1", "uptest": "01_alive", "state": "failed", "exit": 1,
                                      "argv": ["/u/01_alive", "h", "1"], "seconds": 0.5, "output": "no db"}]}}
    play.answers["/v1/services/web/deployments?limit=5"] = (200, {"deployments": [deployment]})
    play.answers["/v1/deployments/web-2"] = (200, deployment)
    history = run(play, "history", "web", "-n5").stdout
    assert "web-2            rejected    v2           2026-11-22 10:00:00  root" in history
    assert "    01_alive exited with 1\n" in history
    show = run(play, "show", "web-2").stdout
    for sentence in ("testing               the gate runs", "h:1  01_alive  exited with 1, 0.50 s", "/u/01_alive h 1", "    no db\n"):
        assert sentence in show


def test_a_refusal_that_somebody_else_has_got_is_not_the_end_of_an_upgrade(play):
    play.answers["/v1/upgrade"] = (202, {"from": "1.0", "version": "7.7", "since": 0})
    other = {"uid": 0, "user": "root", "pid": 1}
    play.happens([("daemon.upgrade_refused", {"reason": "an upgrade is under way", "asked_by": other})])
    play.happens([("daemon.upgraded", {"from": "1.0", "version": "7.7"})])
    done = run(play, "upgrade")
    assert (done.returncode, done.stdout, done.stderr) == (0, "upgraded from version 1.0 to 7.7\n", "")
    play.happens([("daemon.upgrade_refused", {"reason": "it did not serve"})])
    play.answers["/v1/upgrade"] = (202, {"from": "1.0", "version": "7.7", "since": 2})
    done = run(play, "upgrade")
    assert (done.returncode, done.stderr) == (1, "upswap: it did not serve\n")


def test_events_are_printed_one_a_line_and_followed_on_demand(play):
    play.happens(DONE[:2])
    assert [json.loads(line) for line in run(play, "events", "--since", "1").stdout.splitlines()] == play.events[1:]
    client = start(play, "events", "web", "-f")
    play.wait_for(lambda: "/v1/events?since=0&follow=1&service=web" in play.asked("/v1/events"))
    play.happens([DONE[2]])
    assert [json.loads(client.stdout.readline()) for _ in range(3)] == play.events
    client.kill()
    client.communicate()


def test_events_wait_for_a_daemon_whose_control_starts_again(tmp_path):
    path = str(tmp_path / "admin.sock")
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(path)
        old.listen()
        old.settimeout(PATIENCE)
        client = subprocess.Popen(
            [os.path.join(BUILD, "upswap"), "-s", path, "events"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        connection, _ = old.accept()
        os.unlink(path)
        play = Play(path)
        play.happens(DONE[:2])
        connection.close()
    out, errors = client.communicate(timeout=PATIENCE)
    play.close()
    assert (client.returncode, errors) == (0, "")
    assert [json.loads(line) for line in out.splitlines()] == play.events


@pytest.mark.parametrize("words", [["status"], ["--json", "status"], ["events"], ["--help"], ["--version"], ["--words"]])
def test_output_that_is_lost_is_no_success(play, words):
    play.happens(DONE[:2])
    for where in (">/dev/full", ">&-"):
        done = subprocess.run(
            ["sh", "-c", f'"$0" "$@" {where}', command(play)[0], *(words if words[0] == "--words" else command(play, *words)[1:])],
            capture_output=True, text=True, timeout=PATIENCE, check=False,
        )
        assert (done.returncode, done.stderr) == (1, "upswap: the output cannot be written\n"), where


def test_events_are_followed_no_longer_than_somebody_reads_them(play):
    read, write = os.pipe()
    client = subprocess.Popen(
        command(play, "events", "-f"), stdout=write, stderr=subprocess.PIPE, text=True, restore_signals=False
    )
    os.close(write)
    os.close(read)
    _, errors = client.communicate(timeout=PATIENCE)
    assert (client.returncode, errors) == (1, "upswap: the output cannot be written\n")


def test_events_that_nobody_reads_end_as_any_writer_of_a_pipe(play):
    play.happens(DONE[:1])
    client = start(play, "events", "-f")
    assert client.stdout.readline()
    client.stdout.close()
    assert client.wait(PATIENCE) == -signal.SIGPIPE
    client.stderr.close()


@pytest.mark.parametrize(
    "words, sentence",
    [
        ([], "a command is missing"),
        (["stauts"], 'there is no command "stauts"; did you mean "status"?'),
        (["explode", "web"], 'there is no command "explode"'),
        (["stage", "web"], '"stage" needs SERVICE HOST:PORT...'),
        (["history", ""], 'an argument is empty; "history" takes SERVICE'),
        (["stage", "web", "h:1", "--relase", "v1"], "there is no option --relase; did you mean --release?"),
        (["stage", "web", "h:1", "--canary", "1,ten"], '--canary takes shares in percent, such as 1,10,50, not "1,ten"'),
        (["stage", "web", "h:1", "--canary", "5,1e999"], '--canary takes shares in percent, such as 1,10,50, not "5,1e999"'),
        (["stage", "web", "h:1", "--canary", "inf"], '--canary takes shares in percent, such as 1,10,50, not "inf"'),
        (["stage", "web", "h:1", "--canary", f"1{'0' * 400}"], "--canary takes shares in percent"),
        (["stage", "web", "h:1", "--canary", "0x10"], '--canary takes shares in percent, such as 1,10,50, not "0x10"'),
        (["stage", "web", "h:1", "--watch", "60"], '--watch: "60" is not a duration'),
        (["stage", "web", "h:1,pid=x"], '"h:1,pid=x": pid must be a number'),
        (["stage", "web", "h:1", "--pause-with", ""], "--pause-with has an empty value (of a variable that is not set?)"),
        (["deploy", "web", "v1", "--pause-with= "], "--pause-with has an empty value"),
        (["stage", "web", "h:1", "--release="], "--release has an empty value"),
        (["uptest", "web", "--release", ""], "--release has an empty value"),
        (["stage", "web", "h:1", "--canary", ""], "--canary has an empty value"),
        (["promote", "web", "--from", ""], "--from has an empty value"),
        (["promote", "web", "--deployment="], "--deployment has an empty value"),
        (["abort", "web", "--deployment", ""], "--deployment has an empty value"),
        (["rollback", "web", "--deployment", ""], "--deployment has an empty value"),
        (["status", b"\xff"], "argument 4 is not valid UTF-8"),
    ],
)
def test_wrong_usage_is_told_before_the_daemon_is_asked(play, words, sentence):
    done = run(play, *words)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert play.requests == []


@pytest.mark.parametrize(
    "words, mend",
    [
        (["LONG"], '"upswap --help" lists them'),
        (["status", "web", "LONG"], '..." is one argument too many'),
        (["stage", "web", "h:1", "--watch", "LONG"], "write a whole number with ms, s, m, h or d"),
        (["stage", "web", "h:1,LONG"], "weight=NUMBER and pid=NUMBER are"),
        (["maintenance", "web", "LONG"], 'neither "on" nor "off"'),
        (["-s", "/LONG", "status"], "the path of a socket may have at most 107 bytes"),
        (["-s", "/LONG", "events"], "the path of a socket may have at most 107 bytes"),
    ],
)
def test_a_long_word_does_not_push_the_mend_out_of_the_sentence(words, mend):
    argv = [os.path.join(BUILD, "upswap"), *(word.replace("LONG", "é" * 300) for word in words)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == (7 if words[0] == "-s" else 2)
    assert mend in done.stderr and "é..." in done.stderr


def test_check_tells_the_place_of_a_fault(play, tmp_path):
    config = tmp_path / "upswapd.conf"
    config.write_text('listeners = ( { address = "127.0.0.1:0"; } );\n')
    done = run(play, "check", str(config))
    assert (done.returncode, done.stdout) == (0, f"{config}: valid\n")
    config.write_text("worker = 1;\n")
    done = run(play, "check", str(config))
    assert done.returncode == 1
    assert done.stderr.startswith(f"{config}:1: ")


def on_terminal(play, environment, *words, status=0, look=None, columns=80):
    """Runs it on a terminal of its own; returns what that terminal got. look(client, text), where given, is
    called with what has come, each time that more has."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    client = subprocess.Popen(
        command(play, *words), stdout=slave, stderr=slave, env={**os.environ, "TERM": "xterm", **environment}
    )
    os.close(slave)
    try:
        out = drawn(client, master, look)
        assert client.wait(PATIENCE) == status
    finally:
        os.close(master)
        client.kill()
        client.wait()
    return out.decode()


def drawn(client, terminal, look):
    """What it writes to this terminal until it closes that."""
    out, until = b"", time.monotonic() + PATIENCE
    while select.select([terminal], [], [], PATIENCE)[0]:
        if time.monotonic() > until:  # it draws and draws, and what is waited for does not come
            pytest.fail("\n".join(shown(out.decode(errors="replace"))))
        try:
            out += os.read(terminal, 65536)
        except OSError:  # the other side is closed
            break
        if look is not None:
            look(client, out.decode(errors="replace"))
    return out


def shown(text):
    """The lines that stand on a terminal, and above it, when all of this has been written to it."""
    lines, row, column = [""], 0, 0
    for move, count, what, plain in re.findall(r"(\r|\n|\033\[(\d*)([A-Za-z]))|([^\r\n\033]+)", text):
        if move == "\r":
            column = 0
        elif move == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif what == "A":
            row -= int(count)
            assert row >= 0, "the cursor left the terminal"
        elif what in ("J", "K"):
            lines[row] = lines[row][:column]
            if what == "J":
                del lines[row + 1:]
        elif plain:
            lines[row] = lines[row][:column].ljust(column) + plain + lines[row][column + len(plain):]
            column += len(plain)
        else:
            assert what == "m", f"{move!r} is not known"
    return lines


GATE = {"cells": [{"instance": f"127.0.0.1:{port}", "uptest": uptest, "state": "waiting"}
                  for port in (1, 2) for uptest in ("01_alive", "02_login")]}


def cell(kind, port, uptest, **more):
    return (f"uptest.{kind}", {"instance": f"127.0.0.1:{port}", "uptest": uptest, **more})


def test_on_a_terminal_the_matrix_fills_and_stays_above_what_comes_after(play):
    play.deployment["gate"] = GATE
    play.happens([DONE[0], DONE[1], cell("started", 1, "01_alive")])
    steps = [
        lambda text: "01_alive 02_login" in text and re.search(r"127.0.0.1:1  \S+ s +waiting\n  127.0.0.1:2  waiting", text),
        lambda text: re.search(r"127.0.0.1:1  passed +waiting\n  127.0.0.1:2  failed", text),
    ]
    then = [
        ([cell("finished", 1, "01_alive", passed=True),
          cell("finished", 2, "01_alive", passed=False, exit=7, output="no db\n", seconds=0.1)], None),
        ([("gate.failed", {}), ("deployment.rejected", {"why": "01_alive failed"})], "rejected"),
    ]

    def look(_, text):
        if steps and steps[0]("\n".join(shown(text))):
            del steps[0]
            play.happens(*then.pop(0))

    out = on_terminal(play, {"NO_COLOR": "1"}, "stage", "web", "127.0.0.1:1", status=3, look=look)
    lines = [re.sub(r"^ +[0-9.]+ s  ", "", line) for line in shown(out)]
    assert lines == [
        "web-2 is staged: release v2",
        "web-2 is ready: every instance accepts connections",
        "127.0.0.1:2  01_alive  exited with 7 in 0.10 s",
        "               no db",
        "               01_alive 02_login",
        "  127.0.0.1:1  passed   waiting",
        "  127.0.0.1:2  failed   waiting",
        "web-2 failed its gate",
        "web-2 is rejected: 01_alive failed",
        lines[9],
        'Next: "upswap show web-2" has every uptest\'s whole output; "upswap uptest web',
        'HOST:PORT" runs the suite without staging.',
        "",
    ]
    assert "web-1 stays live" in lines[9]


def test_on_a_terminal_the_watch_and_the_drain_are_measured(play):
    watched = {"seconds": 15, "left": 45, "requests": 812, "errors": {"share": 0.051}, "p99": 0.0123,
               "requests_before": 2000, "errors_before": 2, "p99_before": 0.01}
    drains = {"deployment": "web-1", "state": "draining", "in_flight": 3,
              "in_flight_by_class": {"request": 2, "stream": 0, "websocket": 1}}
    play.answers["/v1/services/web"] = (200, {"service": "web", "deployment": {"watched": watched}, "pools": []})
    play.happens([*DONE[:6], ("watch.started", {})], "watching")
    steps = ["  new pool        812 requests     5.10% errors   p99 12.3 ms", "web-1: 3 in flight: 2 request, 1 websocket"]

    def look(_, text):
        if not steps or steps[0] not in text:
            return
        if len(steps) == 2:
            assert "15 of 60 s" in text
            play.answers["/v1/services/web"] = (200, {"service": "web", "pools": [drains]})
            play.happens([("watch.passed", {}), DONE[6]], "draining")
        else:
            play.happens(DONE[7:], "done")
        del steps[0]

    out = on_terminal(play, {"NO_COLOR": "1"}, "stage", "web", "127.0.0.1:1", look=look)
    assert not steps
    left = "\n".join(shown(out))
    assert "in flight" not in left and "15 of 60" not in left and "web-2 is live, 0.043 ms" in left


def test_ctrl_c_on_a_terminal_clears_the_board_and_says_that_the_deployment_goes_on(play):
    play.deployment["gate"] = GATE
    play.happens([DONE[0], DONE[1]], "testing")
    done = []

    def look(client, text):
        if "waiting" in text and not done:
            done.append(True)
            client.send_signal(signal.SIGINT)

    out = on_terminal(play, {"NO_COLOR": "1"}, "stage", "web", "127.0.0.1:1", status=130, look=look)
    left = "\n".join(shown(out))
    assert "waiting" not in left
    assert 'interrupted; web-2 goes on: "upswap show web-2" tells how, "upswap abort web" gives it up' in left


@pytest.mark.parametrize("columns", [24, 40, 200])
def test_nothing_is_wider_than_the_terminal(play, columns):
    play.deployment["gate"] = {"cells": [{"instance": f"[2001:db8::{port}]:8001", "uptest": f"{n:02}_é" + "x" * 30,
                                          "state": "waiting"} for port in range(2) for n in range(12)]}
    play.happens(DONE[:1], "testing")
    seen = []

    def look(_, text):
        matrix = [line for line in shown(text) if "8001" in line]
        if len(matrix) == 2 and not seen:
            seen.extend(matrix)
            play.happens([("deployment.aborted", {})], "aborted")

    on_terminal(play, {"NO_COLOR": "1"}, "stage", "web", "127.0.0.1:1", status=5, look=look, columns=columns)
    assert max(len(line) for line in seen) < columns


def test_colour_is_for_terminals_that_want_it(play):
    play.happens(DONE, "done")
    assert "\033[32m" in on_terminal(play, {"NO_COLOR": ""}, "stage", "web", "127.0.0.1:1")
    assert "\033[32m" not in on_terminal(play, {"NO_COLOR": "1"}, "stage", "web", "127.0.0.1:1")


BASH = """. "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _upswap; printf '%s\\n' "${COMPREPLY[@]}" """
# zsh's completion stands still without a person; what it would be given to choose from is printed instead.
ZSH = """compadd() { print -l -- ${(P)2}; }; _files() { print FILES; }; words=("$@"); CURRENT=$#
. "$0" | while read -r word; do [[ $word == ${words[CURRENT]}* || $word == FILES ]] && print -r -- $word; done; true"""


@pytest.mark.parametrize("shell, script", [(["bash", "-c", BASH], "upswap.bash"), (["zsh", "-fc", ZSH], "_upswap")])
def test_completion_offers_commands_options_and_services(play, shell, script):
    play.answers["/v1/status"] = (200, {"services": [service(), {**service(), "service": "shop"}]})
    script = os.path.join(os.path.dirname(__file__), "..", "..", "conf", script)

    def complete(*words, path=play.path):
        done = subprocess.run(
            [*shell, script, *words],
            env={**os.environ, "PATH": f"{os.path.abspath(BUILD)}:{os.environ['PATH']}", "UPSWAP_SOCKET": path},
            capture_output=True, text=True, timeout=PATIENCE, check=False,
        )
        assert done.returncode == 0 and not done.stderr, done.stderr
        return done.stdout.split()

    assert complete("upswap", "st") == ["status", "stage"]
    assert complete("upswap", "--") == ["--socket", "--json", "--help", "--version"]
    assert complete("upswap", "--json", "re") == ["resume", "reload"]
    assert complete("upswap", "maintenance", "web", "") == ["on", "off"]
    assert complete("upswap", "maintenance", "web", "--m") == ["--message"]
    assert complete("upswap", "maintenance", "web", "on", "") == []
    assert not [word for word in complete("upswap", "") if word.startswith("-")]
    assert complete("upswap", "stage", "") == ["web", "shop"]
    assert complete("upswap", "stage", "web", "--re") == ["--release"]
    assert complete("upswap", "-s", play.path, "drain", "s") == ["shop"]
    assert complete("upswap", "drain", "web", "") == []
    assert complete("upswap", "stage", "--release", "v1", "") == ["web", "shop"]
    assert complete("upswap", "history", "-n", "5", "") == ["web", "shop"]
    assert complete("upswap", "-n", "5", "history", "s") == ["shop"]
    assert complete("upswap", "--release=v1", "stage", "--allow") == ["--allow-untested"]
    assert complete("upswap", "stage", "web", "--release", "") == []
    assert complete("upswap", f"--socket={play.path}", "drain", "s", path="/none") == ["shop"]


def test_completion_in_bash_knows_the_words_that_it_splits(play):
    play.answers["/v1/status"] = (200, {"services": [service(), {**service(), "service": "shop"}]})
    script = os.path.join(os.path.dirname(__file__), "..", "..", "conf", "upswap.bash")

    def complete(*words):
        env = {**os.environ, "PATH": f"{os.path.abspath(BUILD)}:{os.environ['PATH']}", "UPSWAP_SOCKET": "/none"}
        argv = ["bash", "-c", BASH, script, "upswap", *words]
        return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout.split()

    assert complete("--socket", "=", play.path, "drain", "s") == ["shop"]
    assert complete("--socket", "=", play.path, "stage", "--release", "=", "v1", "") == ["web", "shop"]
    assert complete("stage", "web", "127.0.0.1", ":", "1", "--rel") == ["--release"]
    assert complete("stage", "web", "127.0.0.1", ":", "") == []
