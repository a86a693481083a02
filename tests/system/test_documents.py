"""The documents are true: what they show runs, what they name is there."""

import os
import re
import shutil
import socket
import subprocess
import tempfile

import pytest

from harness import documents
from harness.admin import Admin
from harness.waiting import wait_until

# ---- the examples of uptests(7) ----


def start_page(connection, request):
    request.read_body(connection)
    connection.answer(b"welcome\n")


def to_login(connection, request):
    request.read_body(connection)
    connection.answer(b"", "302 Found", ["Location: /login"])


def broken(connection, request):
    request.read_body(connection)
    connection.answer(b"no\n", "500 Internal Server Error")


def mute(connection, request):
    request.read_body(connection)
    connection.close()


@pytest.fixture(name="examples", scope="module")
def fixture_examples(tmp_path_factory):
    """The examples that are programs: their files by language, the one in C compiled as the page says."""
    folder = tmp_path_factory.mktemp("examples")
    found = {}
    for text in documents.man_examples("uptests.7"):
        for language, begin in (("shell", "#!/bin/sh\n"), ("python", "#!/usr/bin/python3\n"), ("c", "#include <")):
            if text.startswith(begin):
                assert language not in found
                found[language] = folder / language
                found[language].write_text(text)
    assert set(found) == {"shell", "python", "c"}
    source = folder / "source.c"
    found["c"].rename(source)
    subprocess.run(["cc", "-Wall", "-Wextra", "-Werror", "-o", found["c"], source], check=True)
    for path in found.values():
        path.chmod(0o755)
    return found


@pytest.fixture(name="bench")
def fixture_bench(make_stand, examples):
    """A stand with these three as its suite, and an app that they are content with."""
    stand = make_stand(service={"hosts": ["app.test"]})
    for language, path in examples.items():
        os.symlink(path, os.path.join(stand.suite.folder, language))
    app = stand.live[0]
    app.on("/", start_page)
    app.on("/account", to_login)
    return stand.start()


def failed(results):
    return {result["Name"]: result["Output"] for result in results if not result["Passed"]}


def test_the_examples_of_uptests_7_pass_an_app_that_is_in_order(bench):
    assert failed(bench.run()) == {}
    hosts = [request.get("host") for request in bench.live[0].requests]
    assert hosts == ["app.test"] * 3


def test_the_examples_of_uptests_7_reach_an_ipv6_instance(bench, make_backend):
    app = make_backend(host="::1")
    app.on("/account", to_login)
    assert failed(bench.run(app)) == {}


@pytest.mark.parametrize("way", [broken, mute])
def test_the_examples_of_uptests_7_fail_an_app_that_is_not(bench, way):
    bench.live[0].on("/", way)
    bench.live[0].on("/account", way)
    found = failed(bench.run())
    assert set(found) == {"shell", "python", "c"} and all(found.values()), found


def test_the_example_in_python_fails_an_app_that_lets_everybody_in(bench):
    bench.live[0].on("/account", start_page)
    assert "expected a redirect to /login" in failed(bench.run())["python"]


# ---- the pages whose commands are run ----


def free_port():
    """One that no outgoing connection takes meanwhile, as it could one above."""
    for port in range(24000 + os.getpid() % 4000, 32000):
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise AssertionError("no port is free")


# Where `make install` puts what the pages use, and where it is in the source.
INSTALLED = {
    "/usr/local/share/doc/upswap/launch": os.path.join(documents.ROOT, "doc", "launch"),
    "/usr/local/share/doc/upswap/example": os.path.join(documents.ROOT, "conf", "example"),
}


@pytest.fixture(name="session")
def fixture_session():
    home = tempfile.mkdtemp(prefix="upswap-")
    os.chmod(home, 0o755)
    made = documents.Session(home, {**INSTALLED, "8080": str(free_port())})
    yield made
    made.close()
    shutil.rmtree(home)


def is_at_rest(admin):
    """A reader is slow: the daemon that was started serves, and the deployment that goes on waits for something."""
    try:
        deployment = admin.service()["deployment"]
        return deployment is None or deployment["state"] in ("held", "watching")
    except (OSError, KeyError):
        return False


def run_page(session, *names, folder):
    """Runs the commands of a page, and holds what it shows to what they print."""
    admin = Admin(os.path.join(session.home, folder, "admin.sock"))
    runs = False
    for block in documents.blocks(*names):
        if not block.is_run:
            continue
        printed = session.run(block)
        line = documents.missing(block.shown, printed)
        assert line is None, f"{line!r} was not printed by\n{block.commands}\nbut this:\n{printed}"
        runs = (runs and "kill %1" not in block.commands) or "upswapd -c" in block.commands
        if runs:
            wait_until(lambda: is_at_rest(admin), what="the daemon to be at rest")


def test_the_guide_works_from_the_first_line_to_the_last(session):
    run_page(session, "doc", "guide.md", folder="first")


def test_the_guide_leaves_out_the_installation_alone():
    left_out = [block.commands for block in documents.blocks("doc", "guide.md") if not block.is_run]
    assert len(left_out) == 1
    tested = documents.read("scripts", "test")
    for step in ("scripts/packages build", "autoreconf -fi", "/configure", "make", "install"):
        assert step in left_out[0] and step in tested
