"""Fixtures that all system tests share."""

import pytest

from harness import processes
from harness.app import AppInstance
from harness.backend import Backend
from harness.client import RawClient, ask
from harness.daemon import Daemon
from harness.uptests import Puppets, Suite

_daemons = []  # those of the present test and module, for the report


def pytest_configure():
    processes.adopt_orphans()


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


@pytest.fixture(scope="module")
def start_front():
    """Starts fronts that end with the module: start_front(backend..., service={...}, setting=...)."""
    daemons, backends = [], []

    def start(*given, service=None, **settings):
        backends.extend(given)
        return _start_front(daemons, given, service, settings)

    yield start
    _discard(daemons)
    _close_backends(backends)


@pytest.fixture
def start_own_front():
    """As start_front, for one test."""
    daemons, backends = [], []

    def start(*given, service=None, **settings):
        backends.extend(given)
        return _start_front(daemons, given, service, settings)

    yield start
    _discard(daemons)
    _close_backends(backends)


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


@pytest.fixture
def suite(tmp_path_factory):
    """An empty folder for uptests that any user may read."""
    folder = tmp_path_factory.mktemp("uptests")
    for each in (folder, *folder.parents[:3]):
        each.chmod(0o755) if each.owner() != "root" or each.name.startswith("pytest") else None
    return Suite(str(folder))
