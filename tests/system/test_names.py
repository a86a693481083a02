"""Names of instances that take long to be looked up: nothing else waits for them."""

import threading

import pytest

from harness.names import NameServer, can_be_asked
from harness.waiting import wait_until

pytestmark = pytest.mark.skipif(not can_be_asked(), reason="only root can give a daemon a name server of its own")


@pytest.fixture
def names():
    server = NameServer()
    yield server
    server.close()


class Reload(threading.Thread):
    """One that goes on meanwhile."""

    def __init__(self, stand, change):
        super().__init__()
        self.stand = stand
        self.answer = None
        stand.daemon.write_config(stand.daemon.changed_config(change))
        self.start()

    def run(self):
        self.answer = self.stand.admin.post("/v1/reload")

    def end(self):
        self.join(30)
        return self.answer


def add(config):
    """A service whose instance has a name."""
    service = {**config["services"][0], "name": "slow", "hosts": ["slow.test"], "instances": ["slow.upswap.test:9"]}
    config["services"].append(service)


def test_health_is_told_while_a_reload_looks_a_name_up(make_stand, names):
    stand = make_stand(live=2, service={"hosts": ["app.test"], "health": {"interval": "50ms", "path": "/health", "fall": 1}})
    names.serve(stand.daemon)
    stand.start()
    reload = Reload(stand, add)
    assert names.asked.wait(10)
    stand.live[1].on("/health", b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
    stand.events.wait("instance.ejected")
    wait_until(lambda: {stand.ask().text for _ in range(10)} == {"live-0"}, timeout=5, what="requests to keep away")
    assert reload.answer is None
    names.let_go.set()
    assert reload.end().status == 200


def test_a_service_that_has_begun_to_move_while_names_were_looked_up_is_not_removed(make_stand, make_backend, names):
    stand = make_stand(service={"hosts": ["app.test"]})
    names.serve(stand.daemon)
    stand.suite.shell("01")
    stand.start()

    def replace(config):
        add(config)
        del config["services"][0]

    reload = Reload(stand, replace)
    assert names.asked.wait(10)
    deployment = stand.admin.stage([make_backend("fresh").address], hold=True)
    stand.events.wait("deployment.held", deployment=deployment)
    names.let_go.set()
    answer = reload.end()
    assert answer.status == 422 and "cannot be removed while its pool" in answer.detail
    assert stand.admin.command("promote").status == 200
    assert stand.events.wait_end(deployment)["type"] == "deployment.done"
