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


@pytest.fixture
def named(make_stand):
    """A stand on whose machine names stand in a file."""
    stand = make_stand(service={"ready_timeout": "200ms"})
    stand.suite.shell("01_pass")
    path = stand.daemon.path("hosts")
    with open(path, "w", encoding="ascii") as file:
        file.write("127.0.0.1 localhost one.test both.test twice.test many.test\n127.0.0.1 twice.test\n")
        file.write("::1 both.test\n127.0.0.2 many.test\n")
    stand.daemon.prefix = ["unshare", "-m", "sh", "-c", f'mount --bind {path} /etc/hosts && exec "$@"', "sh"]
    return stand.start()


def test_a_name_with_several_addresses_is_refused_with_two_of_them(named, make_backend):
    """Its uptests might ask another than the one that gets the requests."""
    port = make_backend("new").port
    answer = named.admin.try_stage([f"many.test:{port}"])
    assert answer.status == 422
    assert answer.detail == (
        f'instances: instance many.test:{port}: the name "many.test" has several addresses; '
        f"name each instance by its own, such as 127.0.0.1:{port} and 127.0.0.2:{port}"
    )


@pytest.mark.parametrize("name", ["one.test", "twice.test", "both.test", "localhost"])
def test_a_name_with_one_address_of_its_family_is_staged(named, make_backend, name):
    new = make_backend("new")
    named.wait_state(named.admin.stage([f"{name}:{new.port}"]), "done")
    assert named.ask().text == "new"


def test_what_a_name_stood_for_is_told_when_nobody_answers_there(named, make_backend):
    new = make_backend("new")
    new.close()
    deployment = named.admin.stage([f"one.test:{new.port}"])
    named.wait_state(deployment, "rejected")
    sentence = f"instance one.test:{new.port} (127.0.0.1:{new.port}) did not accept a connection within 0.2 s"
    assert named.admin.deployment(deployment)["reason"].startswith(sentence)


def test_what_a_name_stood_for_is_told_when_it_is_down(make_stand, make_backend):
    stand = make_stand(service={"health": {"interval": "50ms", "fall": 1}})
    stand.suite.shell("01_pass")
    stand.start()
    new = make_backend("new")
    stand.wait_state(stand.admin.stage([f"localhost:{new.port}"]), "done")
    new.close()
    ejected = stand.events.wait("instance.ejected")
    assert ejected["reason"].startswith(f"it (127.0.0.1:{new.port}) does not accept a connection")
    assert f"because it (127.0.0.1:{new.port}) does not accept" in stand.daemon.upswap("why", "web").stdout
