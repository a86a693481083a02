"""Instances at Unix sockets."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import tempfile

import pytest

from harness.backend import Backend
from harness.client import RawClient
from harness.config import config_text
from harness.daemon import upswapd
from harness.waiting import wait_until


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has a proxy of another user")


@pytest.fixture(scope="module")
def folder():
    """One that everybody may look into, with a short name."""
    path = tempfile.mkdtemp(prefix="upswap-unix-")
    os.chmod(path, 0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def place(folder):
    """Names for sockets that no other test has."""
    path = tempfile.mkdtemp(dir=folder)
    os.chmod(path, 0o755)
    return lambda name: os.path.join(path, f"{name}.sock")


def test_requests_go_to_a_unix_socket_and_its_connections_are_kept(start_own_front, place):
    front = start_own_front(Backend("one", path=place("one")), workers=1)
    front.backend.on("/echo", lambda connection, request: (request.read_body(connection), connection.answer(request.body)))
    with front.client() as client:
        for _ in range(100):
            assert client.ask().text == "one"
        assert client.ask("POST", "/echo", body=b"x" * 500000).body == b"x" * 500000
    assert len({id(front.backend.next_request()[0]) for _ in range(101)}) == 1  # checks connect, and ask nothing
    request = front.backend.requests[0]
    assert request.get("X-Forwarded-For") == "127.0.0.1"
    assert request.get("Host") == "app.test"


def test_status_metrics_and_log_name_the_socket(start_own_front, place, tmp_path):
    log = {"path": str(tmp_path / "access.log"), "format": "json"}
    front = start_own_front(Backend("one", path=place("one")), workers=1, access_log=log)
    assert front.ask().status == 200
    (instance,) = front.admin.service("web")["pools"][0]["instances"]
    assert instance["address"] == front.backend.address and instance["state"] == "up"
    labels = frozenset({("service", "web"), ("instance", front.backend.address)})
    assert front.admin.metrics()["upswap_instance_up", labels] == 1
    wait_until(lambda: os.path.exists(log["path"]) and front.backend.address in open(log["path"]).read())


def test_a_deployment_moves_from_a_port_to_a_socket_and_back_after_a_crash(make_stand, make_backend, place, puppets):
    stand = make_stand(service={"hosts": ["app.test"]})
    stand.suite.add("01", puppets.program)
    hook = stand.daemon.path("torn")
    stand.install_hook(f'#!/bin/sh\necho "$1 $2 $TEARDOWN_SOCKET" >> {hook}\n')
    stand.start()
    new = make_backend("new", path=place("new"))
    first = stand.admin.stage([new.address])
    call = puppets.next()
    assert call.arguments[:2] == [new.address, "0"]
    environment = call.environment
    assert environment["UPTEST_HOST"] == new.address and environment["UPTEST_PORT"] == "0"
    assert environment["UPTEST_SOCKET"] == new.address.removeprefix("unix:")
    assert environment["UPTEST_VHOST"] == "app.test"
    call.exit()
    stand.wait_state(first, "done")
    assert stand.ask().text == "new"
    stand.daemon.kill_role("keeper")  # the journal brings it back
    with RawClient(stand.daemon.port) as client:
        assert client.ask().text == "new"
    back = make_backend("back")
    second = stand.admin.stage([back.address])
    call = puppets.next()
    assert "UPTEST_SOCKET" not in call.environment
    call.exit()
    stand.wait_state(second, "done")
    line = f"{new.address} 0 {new.address.removeprefix('unix:')}\n"
    wait_until(lambda: os.path.exists(hook) and line in open(hook).read(), what="the teardown of the socket")


def test_without_a_host_the_uptests_virtual_host_is_localhost(stand, make_backend, place):
    stand.suite.shell("02_curl", '[ "$UPTEST_VHOST" = localhost ] && curl -fsS --unix-socket "$UPTEST_SOCKET" "http://$UPTEST_VHOST/"')
    new = make_backend("new", path=place("new"))
    results = stand.run(new)
    assert [each["Passed"] for each in results] == [True, True], results
    assert results[1]["Output"] == "new"
    assert (results[0]["Host"], results[0]["Port"]) == (new.address, 0)


def test_the_client_stages_drains_and_enables_a_socket(stand, make_backend, place):
    two = [make_backend(f"new-{number}", path=place(str(number))) for number in range(2)]
    staged = stand.daemon.upswap("stage", "web", f"{two[0].address},weight=2", two[1].address)
    assert staged.returncode == 0, staged
    shown = stand.daemon.upswap("status").stdout
    assert "/0.sock,weight=2 " in shown and "/1.sock " in shown
    assert stand.daemon.upswap("drain", "web", two[0].address).returncode == 0
    assert {stand.ask().text for _ in range(8)} == {"new-1"}
    assert stand.daemon.upswap("enable", "web", two[0].address).returncode == 0
    wait_until(lambda: stand.ask().text == "new-0", what="a request to the first again")


@pytest.mark.parametrize(
    "address, sentence",
    [
        ("unix:app.sock", "must begin with /"),
        ("unix:/" + "x" * 107, "has 108 bytes, and that of a Unix socket at most 107"),
        ("unix:/run/../app.sock", "is written without"),
    ],
)
def test_a_path_that_cannot_be_is_refused_everywhere(stand, make_daemon, address, sentence):
    answer = stand.admin.try_stage([address])
    assert answer.status == 422 and sentence in answer.detail
    answer = stand.admin.command("uptest", instances=[address])
    assert answer.status == 422 and sentence in answer.detail
    daemon = make_daemon([{"name": "web", "instances": [address]}])
    daemon.write_config(config_text(daemon.config))
    checked = upswapd("-t", "-c", daemon.config_path)
    assert checked.returncode == 1 and sentence in checked.stderr


def test_one_socket_twice_is_refused(stand, make_daemon, place):
    address = f"unix:{place('one')}"
    answer = stand.admin.try_stage([address, address])
    assert answer.status == 422 and "is named twice" in answer.detail
    daemon = make_daemon([{"name": "web", "instances": [address, address]}])
    daemon.write_config(config_text(daemon.config))
    checked = upswapd("-t", "-c", daemon.config_path)
    assert checked.returncode == 1 and "is already taken" in checked.stderr


def test_a_socket_by_another_name_of_its_folder_is_the_same_and_not_torn_down(make_stand, make_backend, place):
    """As /run/app.sock and /var/run/app.sock."""
    backend = make_backend("one", path=place("one"))
    link = place("link")
    os.symlink(os.path.dirname(link), link)
    other = f"unix:{link}/one.sock"
    stand = make_stand(live=0, service={"instances": [backend.address]})
    stand.suite.shell("01_pass")
    stand.start()
    answer = stand.admin.try_stage([backend.address, other])
    assert answer.status == 422 and "are one and the same" in answer.detail
    stand.wait_state(stand.admin.stage([other]), "done")
    retired = stand.events.wait("instance.retired", deployment="web-0")
    assert retired["instance"] == backend.address and retired["left_alone"]
    assert stand.ask().text == "one"


def test_a_staged_socket_is_waited_for(make_stand, make_backend, place):
    stand = make_stand(service={"ready_timeout": "10s"})
    stand.suite.shell("01_pass")
    stand.start()
    path = place("late")
    deployment = stand.admin.stage([f"unix:{path}"])
    assert stand.state(deployment) == "staged"
    make_backend("late", path=path)
    stand.wait_state(deployment, "done")
    assert stand.ask().text == "late"


def test_a_socket_that_nobody_listens_at_is_a_refusal_and_another_instance_serves(start_own_front, place):
    gone, there = Backend("gone", path=place("gone")), Backend("there", path=place("there"))
    front = start_own_front(gone, there, workers=1)
    gone.close()
    assert [front.ask().text for _ in range(4)] == ["there"] * 4
    os.unlink(place("gone"))
    assert [front.ask().text for _ in range(4)] == ["there"] * 4
    there.close()
    answer = front.ask()
    assert answer.status == 502 and answer.upswap == "connect-refused"


@as_root
def test_a_socket_that_the_proxy_may_not_use_is_named_in_the_log(start_own_front, place):
    front = start_own_front(Backend("shut", path=place("shut")), workers=1)
    os.chmod(place("shut"), 0o600)
    for _ in range(50):
        answer = front.ask()
        assert answer.status == 502 and answer.upswap == "connect-failed"
    sentence = f"instance {front.backend.address} of web cannot be connected to: Permission denied"
    assert sentence in front.daemon.stderr()
    assert front.daemon.stderr().count(sentence) < 10


MAY_NOT = (
    "the proxy's user \"nobody\" may not connect to the socket (Permission denied); let it write to the socket, and look into "
    "the folders above, by their mode, owner or group"
)


@as_root
def test_a_socket_that_only_the_proxy_may_not_use_is_rejected(make_stand, make_backend, place):
    stand = make_stand(service={"ready_timeout": "200ms"}, user="nobody")
    stand.suite.shell("01_pass")
    stand.start()
    new = make_backend("new", path=place("new"))
    os.chmod(place("new"), 0o755)
    result = stand.daemon.upswap("stage", "web", new.address)
    assert result.returncode == 3
    reason = f"instance {new.address} did not accept a connection within 0.2 s: {MAY_NOT}"
    assert stand.admin.deployment("web-1")["reason"] == reason
    assert stand.ask().text == "live-0"
    os.chown(place("new"), pwd.getpwnam("nobody").pw_uid, 0)
    stand.wait_state(stand.admin.stage([new.address]), "done")
    assert stand.ask().text == "new"


@as_root
def test_a_socket_that_is_shut_to_the_proxy_while_it_is_tested_does_not_go_live(make_stand, make_backend, place):
    stand = make_stand(user="nobody")
    new = make_backend("new", path=place("new"))
    stand.suite.shell("01_shuts", f"chmod 755 {place('new')}")
    stand.start()
    deployment = stand.admin.stage([new.address])
    stand.wait_state(deployment, "rejected")
    assert stand.admin.deployment(deployment)["reason"] == f"instance {new.address} does not accept a connection: {MAY_NOT}"
    assert stand.ask().text == "live-0"


@as_root
def test_an_instance_whose_socket_is_shut_to_the_proxy_is_down(make_stand, make_backend, place):
    stand = make_stand(service={"health": {"interval": "50ms", "fall": 1}}, user="nobody")
    stand.suite.shell("01_pass")
    stand.start()
    two = [make_backend(f"new-{number}", path=place(str(number))) for number in range(2)]
    stand.wait_state(stand.admin.stage([each.address for each in two]), "done")
    os.chmod(place("1"), 0o755)
    ejected = stand.events.wait("instance.ejected")
    assert ejected["instance"] == two[1].address and MAY_NOT in ejected["reason"]


@as_root
def test_control_dies_with_the_keeper_after_it_has_asked_a_socket(make_stand, make_backend, place):
    """Asking as another user clears what a thread has asked for about its parent's end."""
    stand = make_stand(user="nobody")
    stand.suite.shell("01_pass")
    stand.start()
    new = make_backend("new", path=place("new"))
    stand.wait_state(stand.admin.stage([new.address]), "done")
    stand.daemon.crash()


def test_a_burst_beyond_the_backlog_waits_for_the_app(start_own_front, place):
    backend = Backend("small", path=place("small"), listen=False)
    backend.socket.listen(1)
    front = start_own_front(backend, workers=1, service={"timeouts": {"connect": "10s"}})
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(front.client()) for _ in range(50)]
        for client in clients:
            client.request()
        backend.listen()
        assert [client.response().text for client in clients] == ["small"] * 50


def fill(path, stack):
    """Connects for as long as the backlog has room."""
    with contextlib.suppress(BlockingIOError):
        while True:
            waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
            waiting.setblocking(False)
            waiting.connect(path)


def test_the_timeout_for_a_connection_holds_for_a_full_socket(start_own_front, place):
    backend = Backend("full", path=place("full"), listen=False)
    backend.socket.listen(0)
    front = start_own_front(backend, workers=1, service={"timeouts": {"connect": "300ms"}})
    with contextlib.ExitStack() as stack:
        fill(place("full"), stack)
        clients = [stack.enter_context(front.client()) for _ in range(3)]
        for client in clients:
            client.request()
        answers = [client.response() for client in clients]
        assert {(answer.status, answer.upswap) for answer in answers} == {(504, "connect-timeout")}
        backend.listen()


def test_kept_connections_to_a_socket_end_with_the_stop(start_own_front, place):
    front = start_own_front(Backend("one", path=place("one")), workers=1)
    assert front.ask().status == 200
    assert front.daemon.stop(signal.SIGTERM) == 0
    assert wait_until(lambda: all(each.ended.is_set() for each in front.backend.connections))
