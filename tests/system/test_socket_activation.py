"""Listening sockets that the service manager passes, as systemd does for a socket unit: they serve, and outlive the daemon."""

import os
import socket
import stat

import pytest
from test_upgrade import install, installed, version

from harness.backend import Backend, Held
from harness.client import RawClient
from harness.waiting import wait_until


def listening(family=socket.AF_INET, host="127.0.0.1", shared=False, only_ipv6=True):
    """A socket as a unit's ListenStream= makes it: blocking, listening."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    if shared:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only_ipv6)
    sock.bind(host if family == socket.AF_UNIX else (host, shared if shared > 1 else 0))
    sock.listen(128)
    return sock


def port_of(sock):
    return sock.getsockname()[1]


def text_of(sock):
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if sock.family == socket.AF_INET6 else f"{host}:{port}"


@pytest.fixture(name="passed")
def fixture_passed():
    with listening() as sock:
        yield sock


@pytest.fixture(name="backend")
def fixture_backend():
    backend = Backend("one")
    yield backend
    backend.close()


@pytest.fixture(name="make")
def fixture_make(make_daemon, backend):
    """make(SOCKET...): a daemon, not started, that listens on them and is passed them."""

    def make(*sockets, **settings):
        settings.setdefault("listeners", [{"address": text_of(sock)} for sock in sockets])
        service = {"name": "web", "instances": [backend.address], "drain": {"requests": "10s"}}
        daemon = make_daemon([service], **settings)
        daemon.sockets = list(sockets)
        return daemon

    return make


def ask(port, host="127.0.0.1"):
    with RawClient(port, host=host) as client:
        return client.ask().status


# ---- they serve ----


def test_a_passed_socket_serves_where_nobody_could_bind_its_address(make, passed):
    daemon = make(passed).start()
    assert [ask(port_of(passed)) for _ in range(8)] == [200] * 8
    (listener,) = daemon.admin.status()["listeners"]
    assert listener["address"] == listener["bound"] == text_of(passed)
    assert not os.get_blocking(passed.fileno())


def test_what_is_not_passed_is_bound_as_ever(make, passed):
    daemon = make(passed, listeners=[{"address": "127.0.0.1:0"}, {"address": text_of(passed)}]).start()
    own, given = daemon.ports()
    assert given == port_of(passed) != own
    assert [ask(own), ask(given)] == [200, 200]


def test_several_sockets_of_one_address_are_spread_over_the_workers(make):
    with listening(shared=True) as first, listening(shared=port_of(first)) as second:
        make(first, second, listeners=[{"address": text_of(first)}]).start()
        assert [ask(port_of(first)) for _ in range(40)] == [200] * 40


def test_one_for_ipv6_is_known_in_whatever_spelling(make):
    with listening(socket.AF_INET6, "::1") as sock:
        make(sock, listeners=[{"address": f"[0:0:0::1]:{port_of(sock)}"}]).start()
        assert ask(port_of(sock), "::1") == 200


def test_the_api_takes_passed_sockets_with_the_mode_of_the_config_and_leaves_the_file(make, passed):
    daemon = make(passed)
    with listening(socket.AF_UNIX, daemon.socket) as api:
        os.chmod(daemon.socket, 0o666)
        daemon.sockets.append(api)
        daemon.config["admin"] |= {"mode": "0600"}
        daemon.start()
        assert daemon.upswap("status").returncode == 0
        assert stat.S_IMODE(os.stat(daemon.socket).st_mode) == 0o600
        assert daemon.stop() == 0
        assert os.path.exists(daemon.socket)
        daemon.start()
        assert daemon.upswap("status").returncode == 0


# ---- they outlive the daemon ----


def test_over_a_restart_no_client_is_refused(make, passed, backend):
    daemon = make(passed).start()
    held = Held(b"finished")
    backend.on("/held", held)
    with RawClient(port_of(passed)) as in_flight:
        in_flight.request(target="/held")
        held.wait()
        daemon.process.terminate()
        wait_until(lambda: "stopping" in daemon.stderr(), what="the stop to begin")
        held.release()
        assert in_flight.response().text == "finished"
    assert daemon.wait_end() == 0
    with RawClient(port_of(passed)) as meanwhile:
        meanwhile.request()
        daemon.start()
        assert meanwhile.response().status == 200


@pytest.mark.parametrize("role", ["control", "proxy", "keeper"])
def test_after_a_crash_the_passed_socket_serves_again(make, passed, role):
    daemon = make(passed).start()
    daemon.kill_role(role)
    assert ask(port_of(passed)) == 200


def test_after_a_crash_and_an_upgrade_it_is_still_known_as_passed(make, passed):
    """What a later control and proxy know of it: they close it without an end for the service manager."""
    daemon = installed(make(passed)).start()
    install(daemon, version("9.9"))
    assert daemon.upswap("upgrade").returncode == 0
    daemon.kill_role("control")
    daemon.kill_role("proxy")
    assert ask(port_of(passed)) == 200
    assert daemon.stop() == 0
    with RawClient(port_of(passed)) as meanwhile:
        meanwhile.request()
        daemon.start()
        assert meanwhile.response().status == 200


def test_a_reload_may_add_listeners_and_not_leave_a_passed_one_to_itself(make, passed):
    daemon = make(passed).start()
    addresses = [text_of(passed), "127.0.0.1:0"]
    daemon.write_config({**daemon.config, "listeners": [{"address": each} for each in addresses]})
    assert daemon.upswap("reload").returncode == 0
    daemon.write_config({**daemon.config, "listeners": [{"address": "127.0.0.1:0"}]})
    refused = daemon.upswap("reload")
    assert refused.returncode == 1
    assert f'passes socket {text_of(passed)} ("test-0.socket"), but no listener has this address' in refused.stderr
    assert [ask(port) for port in daemon.ports()] == [200, 200]


# ---- what is refused ----


def datagram():
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    return sock


def not_listening():
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    return sock


def for_both():
    return listening(socket.AF_INET6, "::", only_ipv6=False)


@pytest.mark.parametrize(
    "kind, sentence",
    [
        (datagram, 'descriptor "test-0.socket" of the service manager is no stream socket that listens'),
        (not_listening, 'descriptor "test-0.socket" of the service manager is no stream socket that listens'),
        (for_both, "needs BindIPv6Only=ipv6-only"),
    ],
)
def test_a_socket_that_cannot_be_used_is_a_failed_start(make, kind, sentence):
    with kind() as sock:
        daemon = make(sock)
        daemon.write_config()
        daemon.spawn()
        assert daemon.wait_end() == 1
        assert sentence in daemon.stderr()


def test_one_without_a_name_is_called_by_its_number(make, passed):
    with datagram() as sock:
        daemon = make(passed, sock)
        daemon.environment = {"LISTEN_FDNAMES": "web.socket"}
        daemon.write_config()
        daemon.spawn()
        assert daemon.wait_end() == 1
        assert 'descriptor "4" of the service manager is no stream socket that listens' in daemon.stderr()


def test_a_socket_that_no_listener_names_is_a_failed_start(make, passed):
    daemon = make(passed, listeners=[{"address": "127.0.0.1:0"}])
    daemon.write_config()
    daemon.spawn()
    assert daemon.wait_end() == 1
    assert f'socket {text_of(passed)} ("test-0.socket"), but no listener has this address' in daemon.stderr()


def test_more_sockets_of_one_address_than_workers_are_a_failed_start(make):
    with listening(shared=True) as first:
        with listening(shared=port_of(first)) as second:
            daemon = make(first, second, listeners=[{"address": text_of(first)}], workers=1)
            daemon.write_config()
            daemon.spawn()
            assert daemon.wait_end() == 1
            assert f"2 sockets for {text_of(first)}, but 1 accept" in daemon.stderr()


@pytest.mark.parametrize(
    "number, sentence", [("2", "but descriptor 4 is not open"), ("many", "LISTEN_FDS is not the number of its sockets")]
)
def test_a_promise_of_more_than_there_is_is_a_failed_start(make, passed, number, sentence):
    daemon = make(passed)
    daemon.environment = {"LISTEN_FDS": number}
    daemon.write_config()
    daemon.spawn()
    assert daemon.wait_end() == 1
    assert sentence in daemon.stderr()


def test_what_was_passed_to_another_process_is_left_alone(make, passed):
    daemon = make(passed, listeners=[{"address": "127.0.0.1:0"}])
    daemon.environment = {"LISTEN_PID": "1"}
    daemon.start()
    assert ask(daemon.port) == 200
