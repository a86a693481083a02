"""Fixtures that all system tests share."""

import contextlib
import os
import signal

import pytest

from harness import processes
from harness.app import AppInstance
from harness.backend import Backend
from harness.client import RawClient, ask
from harness.daemon import Daemon
from harness.uptests import Puppets, Suite
from harness.waiting import wait_until

_daemons = []  # those of the present test and module, for the report


def pytest_configure():
    processes.adopt_orphans()
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # of a script's "pytest &"; what is tested would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)


# Files that take long: they begin first, so that nobody waits for the last of them.
LONG = ("test_watch", "test_scale", "test_promises", "test_crashes", "test_pause", "test_upgrade", "test_shadow")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.stem not in LONG)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """A failed test shows what the daemons wrote."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for daemon in _daemons:
            report.sections.append(("stderr of upswapd", "\n".join(daemon.stderr().splitlines()[-60:])))


def _make_daemon(made, services=None, **settings):
    daemon = Daemon(services, **settings)
    made.append(daemon)
    _daemons.append(daemon)
    return daemon


def _discard(made):
    for daemon in made:
        _daemons.remove(daemon)
        daemon.discard()


@pytest.fixture
def make_daemon():
    """Makes daemons (not started) that end with the test."""
    made = []
    yield lambda services=None, **settings: _make_daemon(made, services, **settings)
    _discard(made)


class Front:
    """A daemon with one service "web" in front of backends, for the tests of a module."""

    def __init__(self, daemon, backends):
        self.daemon = daemon
        self.admin = daemon.admin
        self.backends = backends
        self.backend = backends[0]
        self.port = daemon.port

    def client(self, **options):
        return RawClient(self.port, **options)

    def ask(self, *arguments, **options):
        return ask(self.port, *arguments, **options)


def _start_front(daemons, backends, service, settings):
    service = {"name": "web", "instances": [backend.address for backend in backends], **(service or {})}
    daemon = _make_daemon(daemons, [service], **settings)
    return Front(daemon.start(), backends)


def _close_backends(backends):
    for backend in backends:
        backend.close()
    faults = [fault for backend in backends for fault in backend.faults]
    assert not faults, f"upswap sent what it must not: {faults}"


@contextlib.contextmanager
def _fronts():
    """Starts fronts that end with the block: start(backend..., service={...}, setting=...)."""
    daemons, backends = [], []

    def start(*given, service=None, **settings):
        backends.extend(given)
        return _start_front(daemons, given, service, settings)

    yield start
    _discard(daemons)
    _close_backends(backends)


@pytest.fixture(scope="module")
def start_front():
    """Starts fronts that end with the module."""
    with _fronts() as start:
        yield start


@pytest.fixture
def start_own_front():
    """Starts fronts that end with the test."""
    with _fronts() as start:
        yield start


@pytest.fixture
def make_backend():
    """Makes backends that end with the test."""
    made = []

    def make(*arguments, **options):
        made.append(Backend(*arguments, **options))
        return made[-1]

    yield make
    _close_backends(made)


@pytest.fixture
def make_app():
    """Starts app instances that end with the test: one, or a list of `count`."""
    made = []

    def make(release, count=None):
        started = [AppInstance(release) for _ in range(count or 1)]
        made.extend(started)
        return started if count else started[0]

    yield make
    for app in made:
        app.stop()


@pytest.fixture
def puppets():
    made = Puppets()
    yield made
    made.close()


class Stand:
    """A daemon with one service "web", its uptests, and backends that are its live pool."""

    def __init__(self, daemon, live):
        self.daemon = daemon
        self.admin = daemon.admin
        self.suite = Suite(daemon.path("uptests"))
        self.never = daemon.path("never")  # a FIFO: reading it blocks for ever
        os.mkfifo(self.never)
        os.chmod(self.never, 0o666)
        self.live = live
        self.events = None

    def install_hook(self, text, **settings):
        """Makes an executable file of this text the teardown hook; returns its path."""
        path = self.daemon.path("hook")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, 0o755)
        self.daemon.config["services"][0]["teardown"] = {"command": [path], **settings}
        return path

    def start(self):
        self.daemon.start()
        self.events = self.daemon.events()
        self.port = self.daemon.port
        return self

    def ask(self, *arguments, **options):
        return ask(self.port, *arguments, **options)

    def run(self, *instances, **keys):
        """Runs the suite by hand; the array of results."""
        body = {"instances": [instance.address for instance in instances], **keys} if instances else keys
        answer = self.admin.command("uptest", **body)
        assert answer.status == 200, answer
        return answer.json

    def state(self, deployment):
        return self.admin.deployment(deployment)["state"]

    def wait_state(self, deployment, state):
        """Waits for a state that stays."""
        return wait_until(lambda: self.state(deployment) == state, what=f"{deployment} to be {state}")


@pytest.fixture
def make_stand(make_daemon, make_backend):
    """make_stand(live=1, service={...}, uptests={...}, setting=...): not started."""

    def make(live=1, service=None, uptests=None, **settings):
        backends = [make_backend(f"live-{number}") for number in range(live)]
        daemon = make_daemon([], **settings)
        web = {"name": "web", **(service or {})}
        web["uptests"] = {"directory": daemon.path("uptests"), "timeout": "10s", **(uptests or {})}
        if backends:
            web["instances"] = [backend.address for backend in backends]
        daemon.config["services"] = [web]
        return Stand(daemon, backends)

    return make


@pytest.fixture
def stand(make_stand):
    """The plain one, started, with one uptest that passes."""
    made = make_stand()
    made.suite.shell("01_pass")
    return made.start()
