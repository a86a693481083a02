"""The documents are true: what they show runs, what they name is there."""

import os
import subprocess

import pytest

from harness import documents

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
