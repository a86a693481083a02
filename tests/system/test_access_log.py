"""The access log: both formats, what a client may put into it, and opening it anew."""

import fcntl
import json
import os
import re
import signal
import threading

import pytest

from harness.backend import Backend, Held
from harness.http1 import answer
from harness.waiting import wait_until


class Log:
    """A front with an access log, and the lines that have come since the last call."""

    def __init__(self, start, folder, kind, **settings):
        self.path = os.path.join(folder, f"access-{kind}.log")
        self.front = start(Backend("one"), access_log={"path": self.path, "format": kind}, **settings)
        self.read = 0

    def lines(self, count=1):
        """The next `count` lines; the log is written about once a second."""

        def look():
            with open(self.path, encoding="ascii") as file:
                whole, _, _ = file.read().rpartition("\n")  # behind it: a write that is under way
            return whole.splitlines()[self.read :]

        wait_until(lambda: os.path.exists(self.path) and len(look()) >= count, what=f"{count} lines of the log")
        found = look()
        self.read += len(found)
        return found

    def entry(self):
        (line,) = self.lines()
        return json.loads(line)


@pytest.fixture(scope="module")
def log(start_front, tmp_path_factory):
    return Log(start_front, str(tmp_path_factory.mktemp("log")), "json", workers=1, trusted_proxies=["127.0.0.1"])


@pytest.fixture(scope="module")
def combined(start_front, tmp_path_factory):
    return Log(start_front, str(tmp_path_factory.mktemp("log")), "combined", workers=1)


def test_a_json_line_tells_all_about_an_exchange(log):
    body = b"x" * 1000
    log.front.ask(
        "POST", "/path?q=1", ["User-Agent: me/1.0", "Referer: http://there/", "X-Request-Id: id-1"], body
    )
    entry = log.entry()
    assert re.fullmatch(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{3}Z", entry["time"])
    assert entry["client"] == "127.0.0.1" and entry["method"] == "POST" and entry["target"] == "/path?q=1"
    assert entry["host"] == "app.test" and entry["protocol"] == "HTTP/1.1" and entry["status"] == 200
    assert entry["user_agent"] == "me/1.0" and entry["referer"] == "http://there/"
    assert entry["service"] == "web" and entry["pool"] == log.front.admin.live()
    assert entry["instance"] == log.front.backend.address and entry["request_id"] == "id-1"
    assert entry["bytes_in"] > 1000 and entry["bytes_out"] > 3 and 0 < entry["duration"] < 5
    assert entry["reason"] is None and entry["retries"] == 0


@pytest.mark.parametrize("length", [3, 5000])
def test_the_bytes_out_of_a_line_are_those_of_the_answer(log, length):
    log.front.backend.on("/long", answer(b"x" * length))
    response = log.front.ask(target="/long")
    assert log.entry()["bytes_out"] == len(response.raw) + length


def test_own_answers_are_logged_with_their_reason(log):
    log.front.backend.on("/mute", lambda connection, request: connection.close())
    response = log.front.ask(target="/mute")
    entry = log.entry()
    assert entry["status"] == 502 and entry["reason"] == response.upswap == "closed-early"
    assert entry["instance"] == log.front.backend.address


def test_what_is_no_request_is_logged_too(log):
    with log.front.client() as client:
        client.send(b"nonsense\r\n\r\n")
        response = client.response()
    entry = log.entry()
    assert entry["status"] == 400 and entry["reason"] == response.upswap and entry["method"] is None
    assert entry["request_id"] == response.get("X-Request-Id")


def test_a_client_that_goes_away_is_a_499(log):
    held = Held()
    log.front.backend.on("/held", held)
    client = log.front.client()
    client.request(target="/held")
    held.wait()
    client.reset()
    entry = log.entry()
    assert entry["status"] == 499 and entry["reason"] == "client-closed"
    held.release()


def test_the_duration_counts_until_the_end_of_the_answer(log):
    def slow(connection, request):
        assert connection.is_open(0.3)
        connection.answer("slow")

    log.front.backend.on("/slow", slow)
    log.front.ask(target="/slow")
    assert 0.3 <= log.entry()["duration"] < 3


@pytest.mark.parametrize("text", ['"', "\\", "\xe4\xff", '"}\\n{"status":200', "\t", "\\u0022"])
def test_no_client_can_forge_a_line_or_break_the_json(log, text):
    log.front.ask(target="/%22%0a", fields=[f"User-Agent: a{text}b"])
    entry = log.entry()
    assert entry["target"] == "/%22%0a" and entry["user_agent"] == f"a{text}b"


def test_a_long_field_is_cut_short(log):
    log.front.ask(fields=[f"User-Agent: {'x' * 5000}"])
    agent = log.entry()["user_agent"]
    assert 100 < len(agent) < 5000 and set(agent) == {"x"}


def test_every_exchange_is_one_line_even_under_load(log):
    with log.front.client() as client:
        for number in range(500):
            client.send(b"GET /n/%d HTTP/1.1\r\nHost: a\r\n\r\n" % number)
        for _ in range(500):
            client.response()
    found = [json.loads(line)["target"] for line in log.lines(500)]
    assert found == [f"/n/{number}" for number in range(500)]


COMBINED = re.compile(
    r'127\.0\.0\.1 - - \[[0-9]{2}/[A-Z][a-z]{2}/[0-9]{4}:[0-9:]{8} \+0000\] "(?P<line>(?:[^"\\]|\\.)*)" '
    r'(?P<status>[0-9]{3}) (?P<size>[0-9]+|-) "(?P<referer>(?:[^"\\]|\\.)*)" "(?P<agent>(?:[^"\\]|\\.)*)"'
)


def test_a_combined_line_is_as_apache_writes_it(combined):
    combined.front.backend.on("/size", answer("x" * 1234))
    combined.front.ask(target="/size?a=b", fields=["User-Agent: me/1.0", "Referer: http://there/"])
    combined.front.backend.on("/empty", answer("", "304 Not Modified", framing=None))
    combined.front.ask(target="/empty", version="1.0")
    first, second = (COMBINED.fullmatch(line) for line in combined.lines(2))
    assert first["line"] == "GET /size?a=b HTTP/1.1" and first["status"] == "200" and first["size"] == "1234"
    assert first["referer"] == "http://there/" and first["agent"] == "me/1.0"
    assert second["line"] == "GET /empty HTTP/1.0" and second["status"] == "304" and second["size"] == "-"
    assert second["agent"] == "-" and second["referer"] == "-"


def test_quotes_from_a_client_stay_inside_their_field(combined):
    combined.front.ask(fields=['User-Agent: "evil" \\" \xe4'])
    (line,) = combined.lines()
    assert COMBINED.fullmatch(line)["agent"] == '\\"evil\\" \\\\\\" \\xe4'


def test_sigusr1_opens_the_log_again(start_own_front, tmp_path):
    log = Log(start_own_front, str(tmp_path), "json")
    log.front.ask(target="/before")
    assert log.entry()["target"] == "/before"
    moved = log.path + ".1"
    os.rename(log.path, moved)
    log.front.daemon.signal(signal.SIGUSR1)
    wait_until(lambda: os.path.exists(log.path), what="a new log file")
    log.read = 0

    def moved_on():
        log.front.ask(target="/after")
        with open(log.path, encoding="ascii") as file:
            return file.read()

    wait_until(moved_on, what="lines in the new file")
    with open(moved, encoding="ascii") as old, open(log.path, encoding="ascii") as new:
        targets = [json.loads(line)["target"] for line in old.read().splitlines() + new.read().splitlines()]
    assert targets[0] == "/before" and set(targets[1:]) == {"/after"}


def numbers(path):
    """The requests of a log by their number, in its order."""
    with open(path, encoding="ascii") as file:
        whole, _, _ = file.read().rpartition("\n")  # behind it: a write that is under way
    return [int(json.loads(line)["target"].strip("/")) for line in whole.splitlines()]


def turn_to(log, path):
    log.front.daemon.config["access_log"]["path"] = path
    log.front.daemon.write_config()
    assert log.front.admin.post("/v1/reload").status == 200


def test_a_path_that_goes_and_comes_back_gets_the_lines_of_its_times(start_own_front, tmp_path):
    log = Log(start_own_front, str(tmp_path), "json", workers=1)
    other = str(tmp_path / "other.log")
    wanted = {log.path: [], other: []}
    for turn, path in enumerate((log.path, other, log.path)):
        turn_to(log, path)
        new = list(range(20 * turn, 20 * turn + 20))
        for number in new:
            log.front.ask(target=f"/{number}")
        wanted[path] += new
        wait_until(lambda: numbers(path)[-1:] == new[-1:], what="the lines of this turn")
    assert {path: numbers(path) for path in wanted} == wanted


def test_no_line_is_lost_while_the_path_goes_and_comes_back(start_own_front, tmp_path):
    """Those that wait go to the file of the moment, in their order."""
    log = Log(start_own_front, str(tmp_path), "json", workers=1)
    other = str(tmp_path / "other.log")
    turned, asked = threading.Event(), [0]

    def ask():
        with log.front.client() as client:
            while not turned.is_set():
                assert client.ask(target=f"/{asked[0]}").status == 200
                asked[0] += 1

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for path in (other, log.path):
            turn_to(log, path)
            before = os.path.getsize(path)
            wait_until(lambda: os.path.getsize(path) > before, what="lines of this turn")
        for path in [other, log.path] * 10:
            turn_to(log, path)
    finally:
        turned.set()
        asking.join()
    assert log.front.daemon.stop() == 0
    first, second = numbers(log.path), numbers(other)
    assert first and second and first == sorted(first) and second == sorted(second)
    assert sorted(first + second) == list(range(asked[0])) and first[-1] == asked[0] - 1


def test_what_was_buffered_is_written_at_the_end(start_own_front, tmp_path):
    log = Log(start_own_front, str(tmp_path), "json")
    for _ in range(20):
        log.front.ask()
    assert log.front.daemon.stop() == 0
    with open(log.path, encoding="ascii") as file:
        assert len(file.read().splitlines()) == 20


def test_a_fifo_gets_the_lines_while_it_has_a_reader_and_is_refused_at_once_without(start_own_front, tmp_path):
    log = Log(start_own_front, str(tmp_path), "json", workers=1)
    daemon, fifo = log.front.daemon, str(tmp_path / "fifo")
    os.mkfifo(fifo)
    daemon.config["access_log"]["path"] = fifo
    daemon.write_config()
    refused = daemon.upswap("reload", timeout=15)
    assert refused.returncode == 1 and "access_log.path" in refused.stderr, refused
    assert refused.stderr.strip().endswith("a FIFO that nobody reads: start its reader first")
    log.front.ask("GET", "/file")
    assert log.entry()["target"] == "/file"
    with open(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK), "rb") as reader:
        fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)  # so that the log waits for the reader, who loses nothing
        assert daemon.upswap("reload").returncode == 0
        for number in range(100):
            log.front.ask("GET", f"/{number}")
        os.set_blocking(reader.fileno(), True)
        assert [json.loads(reader.readline())["target"] for _ in range(100)] == [f"/{n}" for n in range(100)]
    daemon.signal(signal.SIGUSR1)
    wait_until(lambda: "nobody reads" in daemon.stderr(), what="the log to be opened anew in vain")
    assert log.front.ask("GET", "/").status == 200 and log.front.admin.status()["services"]
    for role in ("control", "proxy"):
        daemon.kill_role(role)  # and all three serve again
        assert log.front.ask("GET", "/").status == 200


@pytest.mark.skipif(os.getuid() != 0, reason="root may open all")
def test_a_path_that_cannot_be_opened_is_refused_with_what_mends_it(make_daemon):
    daemon = make_daemon()
    daemon.prefix = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]
    os.chown(daemon.folder, 65534, -1)
    daemon.start()
    os.mkfifo(daemon.path("roots"), 0o600)
    with open(daemon.path("roots.log"), "w", encoding="ascii") as file:
        os.chmod(file.fileno(), 0o600)
    for path, remedy in (
        (daemon.socket, "No such device or address; it is a socket, which no name opens: put a pipe there"),
        (daemon.path("roots"), "Permission denied; it is another user's: start the daemon as the user that it runs as"),
        (daemon.path("roots.log"), "Permission denied; let the daemon's user write there, or name another one"),
        (daemon.folder, "Is a directory; it is a folder: name a file in it"),
        (daemon.path("no", "log"), "No such file or directory; make its folder, or name another one"),
    ):
        daemon.config["access_log"] = {"path": path}
        daemon.write_config()
        result = daemon.upswap("reload")
        assert result.returncode == 1 and f'"{path}" cannot be opened: {remedy}' in result.stderr, result


def test_without_access_log_nothing_is_written(start_own_front, tmp_path):
    front = start_own_front(Backend("one"))
    front.ask()
    assert front.daemon.stop() == 0
    assert not [name for name in os.listdir(front.daemon.folder) if "access" in name]
