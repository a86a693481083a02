"""An access log whose reader stalls: traffic, swaps, reloads and the end do not wait for it, and what is lost is counted and said."""

import fcntl
import json
import os
import re
import select
import signal
import time

import pytest

from harness.client import RawClient
from harness.waiting import PATIENCE, wait_until

ROOM = 32 << 20  # bytes of lines that may wait: LOG_WRITER_ROOM of plane/log_writer.h
LONG = "\xe9" * 1000  # becomes six times as long in a line


class Pipe:
    """The log is a pipe; nothing is read from it but by the test."""

    def __init__(self, path):
        self.path = path
        os.mkfifo(path)
        self.fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        fcntl.fcntl(self.fd, fcntl.F_SETPIPE_SZ, 4096)
        self.lines = []  # of what was read
        self.rest = b""

    def is_full(self):
        """Of a pipe of one page: the writer could not go on."""
        space = fcntl.ioctl(self.fd, 0x541B, b"\0" * 4)  # FIONREAD
        return int.from_bytes(space, "little") > 2048

    def read(self, count):
        """Until so many lines have come, all told."""
        while len(self.lines) < count:
            assert select.select([self.fd], [], [], PATIENCE)[0], f"{len(self.lines)} lines have come"
            *lines, self.rest = (self.rest + os.read(self.fd, 1 << 20)).split(b"\n")
            self.lines += lines
        return [json.loads(line) for line in self.lines]

    def close(self):
        os.close(self.fd)


@pytest.fixture
def stall(make_stand):
    """stall(...): a stand whose log, `stand.log`, is a pipe that is full; so is its stderr, if that shall be."""
    logs = []

    def make(with_stderr=False):
        stand = make_stand(workers=1)
        stand.suite.shell("01_pass")
        stand.log = Pipe(stand.daemon.path("log"))
        logs.append(stand.log)
        stand.daemon.config["access_log"] = {"path": stand.log.path}
        if with_stderr:
            stand.daemon.prefix = ["sh", "-c", f'exec "$@" 2> {stand.log.path}', "sh"]
        stand.start()
        stand.asked = 0
        log(stand, 60)
        wait_until(stand.log.is_full, what="the pipe to be full")
        return stand

    yield make
    for each in logs:
        each.close()


@pytest.fixture
def piped(stall):
    return stall()


def log(stand, count, fields=()):
    """So many lines more."""
    with RawClient(stand.port) as client:
        for number in range(stand.asked, stand.asked + count):
            assert client.ask(target=f"/{number}", fields=fields).status == 200
    stand.asked += count


def log_more_than_there_is_room_for(stand):
    log(stand, ROOM // 12000 + 200, [f"User-Agent: {LONG}", f"Referer: {LONG}"])


def lost(stand):
    """Lines, as the proxy has said."""
    return sum(int(count) for count in re.findall(r"access log cannot be written, ([0-9]+) lines? (?:is|are) lost", stand.daemon.stderr()))


def test_a_swap_is_real_while_the_log_stalls(piped, make_backend):
    fresh = make_backend("fresh")
    assert piped.events.wait_end(piped.admin.stage([fresh.address]))["type"] == "deployment.done"
    assert {piped.ask().text for _ in range(5)} == {"fresh"}


def test_nothing_waits_for_a_log_and_a_stderr_of_one_reader_that_stalls(stall, make_backend):
    stand, fresh = stall(with_stderr=True), make_backend("fresh")
    for _ in range(20):  # each is a sentence of control
        assert stand.admin.post("/v1/reload").status == 200
    assert stand.events.wait_end(stand.admin.stage([fresh.address]))["type"] == "deployment.done"
    assert {stand.ask().text for _ in range(5)} == {"fresh"}
    assert stand.daemon.stop() == 0


def test_a_reload_takes_effect_while_the_log_stalls_and_another_file_gets_the_lines(piped):
    path = piped.daemon.path("other.log")
    piped.daemon.config["services"][0]["hosts"] = ["app.test"]
    piped.daemon.config["access_log"] = {"path": path}
    piped.daemon.write_config()
    assert piped.admin.post("/v1/reload").status == 200
    assert piped.ask(target="/strange", host="strange.test").status == 404
    log(piped, 1)

    def targets():
        with open(path, encoding="ascii") as file:
            *whole_lines, _ = file.read().split("\n")
            return [json.loads(line)["target"] for line in whole_lines]

    wait_until(lambda: os.path.exists(path) and f"/{piped.asked - 1}" in targets(), what="lines in the other file")
    assert "/strange" in targets()
    with os.fdopen(os.dup(piped.log.fd), "rb") as old:
        whole = old.read()
    torn = not whole.endswith(b"\n")  # where the pipe was full, as good as always
    numbers = [int(target[1:]) for target in targets() if target != "/strange"]
    assert numbers == list(range(whole.count(b"\n") + torn, piped.asked))
    assert lost(piped) == torn


def test_lines_wait_for_a_reader_that_stalls_for_a_while(piped):
    log(piped, 1000)
    assert [entry["target"] for entry in piped.log.read(piped.asked)] == [f"/{n}" for n in range(piped.asked)]
    assert lost(piped) == 0


def test_lines_that_find_no_room_are_lost_counted_and_said_and_later_ones_are_written_again(piped):
    log_more_than_there_is_room_for(piped)
    wait_until(lambda: lost(piped) > 0, what="lost lines to be said")
    assert "its reader or its disk is held up" in piped.daemon.stderr()
    kept = piped.log.read(ROOM // 12500)
    log(piped, 1)
    last = f"/{piped.asked - 1}"
    while kept[-1]["target"] != last:
        kept = piped.log.read(len(kept) + 1)
    targets = [int(entry["target"][1:]) for entry in kept]
    assert targets == sorted(set(targets))
    assert piped.daemon.stop() == 0
    assert lost(piped) == piped.asked - len(targets)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_end_does_not_wait_for_a_log_that_stalls(piped, number):
    began = time.monotonic()
    assert piped.daemon.stop(number) == 0
    assert time.monotonic() - began < 8  # 1 s of it for the log
    with os.fdopen(os.dup(piped.log.fd), "rb") as log:
        assert log.read().count(b"\n") + lost(piped) == piped.asked


def test_the_log_is_opened_again_while_it_stalls(piped):
    os.rename(piped.log.path, piped.log.path + ".1")
    piped.daemon.signal(signal.SIGUSR1)
    wait_until(lambda: os.path.exists(piped.log.path), what="a new log file")
    log(piped, 1)

    def lines():
        with open(piped.log.path, encoding="ascii") as file:
            return file.read().splitlines()

    wait_until(lambda: any(json.loads(line)["target"] == f"/{piped.asked - 1}" for line in lines()), what="its last line")
