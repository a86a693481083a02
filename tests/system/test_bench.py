"""The programs that scripts/bench measures with do what it takes for granted."""

import json
import os
import socket
import subprocess

import pytest

from harness import processes
from harness.daemon import build_folder

TOOLS = os.path.join("tests", "bench")


def tool(name):
    return os.path.join(build_folder(), TOOLS, name)


@pytest.fixture(scope="module")
def tools():
    """Builds all of them."""
    names = [os.path.join(TOOLS, name) for name in ("backend", "forwarder", "handshakes", "load")]
    subprocess.run(["make", "-s", "-C", build_folder(), *names], check=True, stdout=subprocess.DEVNULL)


@pytest.fixture
def serve(tools):
    """serve(name, argument...): a program that listens on the port that is returned."""
    started = []

    def start(name, *arguments):
        process = processes.spawn([tool(name), "0", *map(str, arguments)], stdout=subprocess.PIPE, text=True)
        started.append(process)
        return int(process.stdout.readline())

    yield start
    for process in started:
        process.terminate()
        processes.finish(process)
        process.stdout.close()


def load(port, *words, seconds=0.2):
    done = subprocess.run(
        [tool("load"), str(port), str(seconds), "4", *words], capture_output=True, text=True, check=False, timeout=20
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("mode", [None, "splice"])
@pytest.mark.parametrize("words", [["path=/"], ["path=/16k"], ["path=/1m"], ["path=/", "upload=1048576"]])
def test_the_floor_brings_whole_answers_and_whole_uploads(serve, mode, words):
    app = serve("backend")
    port = serve("forwarder", app, *filter(None, [mode]))
    assert load(port, *words)["requests"] > 0


def test_the_floor_serves_a_connection_per_request(serve):
    port = serve("forwarder", serve("backend"), "once")
    assert load(port, "once")["requests"] > 10


def test_a_constant_rate_is_kept_and_told_window_by_window(serve):
    told = load(serve("backend"), "rate=500", "window=100", seconds=0.6)
    assert 200 <= told["requests"] <= 300
    assert len(told["times"]) == len(told["gaps"]) >= 5
    assert 0 < told["p50"] <= told["p99"] <= told["longest"]


def test_an_answer_that_is_none_ends_the_load(tools):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        process = processes.spawn([tool("load"), str(port), "5", "1"], stderr=subprocess.PIPE, text=True)
        client, _ = server.accept()
        with client:
            client.recv(4096)
            client.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
            said = process.communicate(timeout=10)[1]
        assert processes.finish(process) == 1 and "an answer that is none" in said


def test_the_programs_say_how_they_are_used(tools):
    for name in ("backend", "forwarder", "handshakes", "load"):
        done = subprocess.run([tool(name)], capture_output=True, text=True, check=False)
        assert done.returncode == 2 and done.stderr.startswith(f"usage: {name}"), name
