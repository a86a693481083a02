"""TLS to instances: whom upswap believes, what it shows, and what a failed handshake comes to."""

import os
import ssl
import threading

import pytest

from harness import processes
from harness.backend import Backend, Held
from harness.certificates import Authority
from harness.config import config_text
from harness.daemon import upswapd
from harness.waiting import wait_until


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(str(tmp_path_factory.mktemp("authority")))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    return Authority(str(tmp_path_factory.mktemp("stranger")), "Nobody knows")


def trusting(authority, **settings):
    """Without checks, so that each handshake is a request's."""
    return {"tls": {"ca_file": authority.path, **settings}, "health": {"interval": "0s"}}


@pytest.fixture(scope="module")
def front(start_front, authority):
    return start_front(Backend("safe", tls=authority.server("127.0.0.1")), workers=1, service=trusting(authority))


def test_requests_go_over_tls_and_the_connection_is_kept(front):
    front.backend.on("/echo", lambda connection, request: (request.read_body(connection), connection.answer(request.body)))
    before = len(front.backend.handshakes)
    with front.client() as client:
        for _ in range(50):
            assert client.ask().text == "safe"
        body = os.urandom(700000)
        assert client.ask("POST", "/echo", body=body).body == body
    assert len(front.backend.handshakes) - before <= 1


def test_a_later_connection_resumes_the_session(front):
    """Also where the end, without a close_notify, comes with the answer."""

    def answer_and_close(connection, _):
        with processes.standing(front.daemon.pids["proxy"]):
            connection.answer("bye")
            connection.close()

    front.backend.on("/bye", answer_and_close)
    before = len(front.backend.handshakes)
    for _ in range(4):
        assert front.ask(target="/bye").text == "bye"
    resumed = [each[1] for each in front.backend.handshakes[before + 1 :]]
    assert resumed and all(resumed), front.backend.handshakes


def test_a_new_pool_finds_its_connections_shaken_hands_and_kept(start_own_front, authority):
    """The server's tickets come when nobody asks any more, and end nothing."""
    tls, held, next_one = authority.server("127.0.0.1"), Held(), Held()
    front = start_own_front(Backend("old", tls=tls), workers=1, service={**trusting(authority), "uptests": {"required": False}})
    fresh = Backend("fresh", tls=tls)
    front.backend.on("/held", held)
    fresh.on("/next", next_one)
    clients = [front.client() for _ in range(4)]
    try:
        for client in clients:
            client.request(target="/held")
            held.wait()
        events = front.daemon.events()
        deployment = front.daemon.admin.stage([fresh.address], allow_untested=True)
        events.wait("swap.published", deployment=deployment)
        events.stop()
        held.release()
        for client in clients:
            client.response()
            client.request(target="/next")
            next_one.wait()
        assert len(fresh.handshakes) == len(clients)
        next_one.release()
    finally:
        for client in clients:
            client.close()
        fresh.close()


def test_a_name_is_asked_for_and_an_address_is_not(start_own_front, authority):
    named = Backend("named", tls=authority.server("localhost"))
    front = start_own_front(
        named, workers=1, service={"instances": [f"localhost:{named.port}"], **trusting(authority)}
    )
    assert front.ask().text == "named"
    assert named.handshakes[0][0] == "localhost"
    bare = Backend("bare", tls=authority.server("127.0.0.1"))
    front = start_own_front(bare, workers=1, service=trusting(authority))
    assert front.ask().text == "bare"
    assert bare.handshakes[0][0] is None


def test_a_server_name_stands_for_the_host_of_every_instance(start_own_front, authority, tmp_path):
    path = str(tmp_path / "app.sock")
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_mode & 0o077 == 0:
            os.chmod(folder, 0o755)
    context = authority.server("app.internal")
    backends = [Backend("port", tls=context), Backend("path", path=path, tls=context)]
    front = start_own_front(*backends, workers=1, service=trusting(authority, server_name="app.internal"))
    assert {front.ask().text for _ in range(4)} == {"port", "path"}
    assert {each.handshakes[0][0] for each in backends} == {"app.internal"}


def assert_refused(front, word, reason):
    answer = front.ask()
    assert (answer.status, answer.upswap) == (502, word)
    assert not front.backend.requests
    wait_until(lambda: reason in front.daemon.stderr(), what=f"{reason!r} in the log")
    assert f"instance {front.backend.address} of web " in front.daemon.stderr()


def test_a_certificate_of_a_stranger_is_not_believed(start_own_front, authority, stranger):
    front = start_own_front(Backend("b", tls=stranger.server("127.0.0.1")), workers=1, service=trusting(authority))
    assert_refused(front, "tls-unverified", "unable to get local issuer certificate")


def test_a_certificate_for_another_name_is_not_believed(start_own_front, authority):
    tls = authority.server("127.0.0.9", "other.test")
    front = start_own_front(Backend("b", tls=tls), workers=1, service=trusting(authority))
    assert_refused(front, "tls-unverified", "IP address mismatch")
    front = start_own_front(Backend("b", tls=tls), workers=1, service=trusting(authority, server_name="app.test"))
    assert_refused(front, "tls-unverified", "hostname mismatch")


def test_an_expired_certificate_is_not_believed(start_own_front, authority):
    tls = authority.server("127.0.0.1", days=-1)
    front = start_own_front(Backend("b", tls=tls), workers=1, service=trusting(authority))
    assert_refused(front, "tls-unverified", "certificate has expired")


def test_without_a_ca_file_the_systems_authorities_decide(start_own_front, authority):
    front = start_own_front(Backend("b", tls=authority.server("127.0.0.1")), workers=1, service={"tls": {"verify": True}})
    assert_refused(front, "tls-unverified", "certificate")


def test_verify_can_be_switched_off(start_own_front, stranger, tmp_path):
    front = start_own_front(
        Backend("b", tls=stranger.server("nobody.test", days=-1)), workers=1, service={"tls": {"verify": False}}
    )
    assert front.ask().text == "b"


def test_an_instance_that_speaks_no_tls_is_a_failure_and_another_one_serves(start_own_front, authority):
    greet = lambda connection: (connection.send(b"HTTP/1.1 400 Bad Request\r\n\r\n"), connection.close())
    plain, safe = Backend("plain", greet=greet), Backend("safe", tls=authority.server("127.0.0.1"))
    front = start_own_front(plain, safe, workers=1, service=trusting(authority))
    assert {front.ask().text for _ in range(6)} == {"safe"}
    wait_until(lambda: "cannot be spoken to by TLS" in front.daemon.stderr(), what="a sentence in the log")
    safe.close()
    assert front.ask().status == 502


def test_a_handshake_that_stands_still_is_over_with_the_time_to_connect(start_own_front, authority):
    silent = Backend("silent", greet=lambda connection: connection.ended.wait(20))
    front = start_own_front(silent, workers=1, service={"timeouts": {"connect": "300ms"}, **trusting(authority)})
    answer = front.ask()
    assert (answer.status, answer.upswap) == (504, "connect-timeout")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_an_instance_may_want_a_certificate(start_own_front, authority, version):
    context = authority.server("127.0.0.1", clients=True)
    context.minimum_version = context.maximum_version = version
    shown = authority.issue("upswap.test")
    front = start_own_front(Backend("b", tls=context), workers=1, service=trusting(authority, **shown.setting))
    assert front.ask().text == "b"
    assert ("commonName", "upswap.test") in front.backend.handshakes[0][2]["subject"][0]
    front = start_own_front(Backend("b", tls=context), workers=1, service=trusting(authority))
    answer = front.ask()
    assert (answer.status, answer.upswap) == (502, "tls-failed"), front.daemon.stderr()


def test_a_body_that_comes_during_the_handshake_waits_for_its_end(start_own_front, authority, stranger):
    go_on, asked = threading.Event(), threading.Event()

    def greet(connection):
        asked.set()
        assert go_on.wait(20)

    bad = Backend("bad", tls=stranger.server("127.0.0.1"), greet=greet)
    good = Backend("good", tls=authority.server("127.0.0.1"), greet=greet)
    service = {"health": {"interval": "0s"}, "ejection": {"failures": 1000000}, "timeouts": {"connect": "10s"}}
    front = start_own_front(bad, good, workers=1, service={**service, **trusting(authority)})
    for _ in range(2):  # each of the two is the first once
        go_on.clear()
        asked.clear()
        with front.client() as client:
            client.send(b"POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 6\r\n\r\n")
            assert asked.wait(10)
            for byte in b"abcdef":
                client.send(bytes([byte]))
            go_on.set()
            assert client.response().text == "good"
    assert [request.body for request in good.requests] == [b"abcdef"] * 2 and not bad.requests


def test_the_minimum_holds(start_own_front, authority):
    old = authority.server("127.0.0.1")
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    front = start_own_front(Backend("b", tls=old), workers=1, service=trusting(authority, minimum="1.3"))
    assert_refused(front, "tls-failed", "cannot be spoken to by TLS")


def test_a_reload_changes_whom_is_believed_for_new_connections(start_own_front, authority, stranger):
    front = start_own_front(Backend("b", tls=authority.server("127.0.0.1")), workers=1, service=trusting(authority))

    def reload(**tls):
        front.daemon.config["services"][0]["tls"] = tls
        front.daemon.write_config()
        return front.admin.request("POST", "/v1/reload")

    assert front.ask().text == "b"
    assert reload(ca_file=stranger.path).status == 200
    wait_until(lambda: front.ask().upswap == "tls-unverified", what="the new authority")
    assert reload(ca_file="/nonexistent/ca.pem").status != 200
    assert front.ask().upswap == "tls-unverified"
    assert reload(verify=False).status == 200
    wait_until(lambda: front.ask().status == 200, what="an instance that everybody believes")


def test_a_session_from_before_a_reload_is_not_resumed(start_own_front, authority, stranger, tmp_path):
    """Else an authority that was taken out of the file would go on to be believed."""
    believed = tmp_path / "ca.pem"
    believed.write_bytes(open(authority.path, "rb").read())
    backend = Backend("b", tls=authority.server("127.0.0.1"))
    backend.default = lambda connection, _: (connection.answer("b"), connection.close())
    front = start_own_front(backend, workers=1, service={"tls": {"ca_file": str(believed)}, "health": {"interval": "0s"}})
    for _ in range(3):
        assert front.ask().text == "b"
    assert [each[1] for each in backend.handshakes[-2:]] == [True, True]
    believed.write_bytes(open(stranger.path, "rb").read())
    assert front.admin.request("POST", "/v1/reload").status == 200
    wait_until(lambda: front.ask().upswap == "tls-unverified", what="the new authority")


class Last(Held):
    """One that lets no connection be kept."""

    def __call__(self, connection, request):
        request.read_body(connection)
        self.arrived.release()
        assert self.released.wait(60)
        connection.answer(self.body, fields=["Connection: close"])
        connection.close()


@pytest.mark.parametrize("comes", [True, False], ids=["comes", "goes"])
def test_who_waits_in_line_speaks_tls_as_the_reload_says(start_own_front, authority, comes):
    context, held = authority.server("127.0.0.1"), Last()
    backend = Backend("b", script=held, tls=None if comes else context)
    service = {"health": {"interval": "0s"}, "concurrency": {"per_instance": 1}}
    front = start_own_front(backend, workers=1, service=service if comes else {**service, **trusting(authority)})
    clients = [front.client() for _ in range(2)]
    try:
        for client in clients:
            client.request()
        held.wait()
        in_line = lambda: sum(v for (name, _), v in front.admin.metrics().items() if name == "upswap_queued")
        wait_until(lambda: in_line() == 1, what="one in line")
        backend.tls = context if comes else None
        if comes:
            front.daemon.config["services"][0].update(trusting(authority))
        else:
            del front.daemon.config["services"][0]["tls"]
        front.daemon.write_config()
        assert front.admin.post("/v1/reload").status == 200
        held.release()
        assert [client.response().status for client in clients] == [200, 200]
        assert len(backend.handshakes) == 1
    finally:
        for client in clients:
            client.close()


def test_a_restarted_control_and_a_restarted_proxy_go_on_with_what_was_read(start_own_front, authority, tmp_path):
    copy = tmp_path / "ca.pem"
    copy.write_bytes(open(authority.path, "rb").read())
    front = start_own_front(
        Backend("b", tls=authority.server("127.0.0.1")), workers=1, service={"tls": {"ca_file": str(copy)}}
    )
    copy.unlink()
    for role in ("control", "proxy"):
        front.daemon.kill_role(role)
        assert front.ask().text == "b"


def test_a_proxy_header_goes_before_the_handshake(start_own_front, authority):
    lines = []

    def greet(connection):
        line = b""
        while not line.endswith(b"\r\n"):
            line += connection.socket.recv(1)
        if line != b"PROXY UNKNOWN\r\n":  # a check
            lines.append(line)

    front = start_own_front(
        Backend("b", tls=authority.server("127.0.0.1"), greet=greet),
        workers=1,
        service={"proxy_protocol": "v1", **trusting(authority)},
    )
    with front.client() as client:
        assert [client.ask().text for _ in range(3)] == ["b"] * 3
        port = client.socket.getsockname()[1]
    assert lines == [f"PROXY TCP4 127.0.0.1 127.0.0.1 {port} {front.port}\r\n".encode()]


def test_a_staged_instance_needs_only_to_accept(make_stand, make_backend, authority):
    stand = make_stand(live=0, service=trusting(authority))
    stand.suite.shell("01_pass")
    stand.start()
    new = make_backend("new", tls=authority.server("127.0.0.1"))
    stand.wait_state(stand.admin.stage([new.address]), "done")
    assert stand.ask().text == "new"
    answer = stand.admin.try_stage(["unix:/run/app.sock"])
    assert answer.status == 422 and "write tls.server_name" in answer.detail


@pytest.mark.parametrize(
    "service, sentence",
    [
        ({"tls": {"key": "/k.pem"}}, "tls.key needs tls.certificate"),
        ({"tls": {"verify": False, "ca_file": "/ca.pem"}}, "believes everybody"),
        ({"tls": {"ca_file": "/nonexistent/ca.pem"}}, "cannot open /nonexistent/ca.pem: No such file or directory"),
        ({"tls": {"ca_file": "/etc"}}, "cannot read /etc: it is not a regular file"),
        ({"tls": {"ca_file": "/etc/hostname"}}, "/etc/hostname: it holds no certificate in PEM form"),
        ({"tls": {"server_name": "a b"}}, "is no name of a server"),
        ({"tls": {"verify": True}, "instances": ["unix:/run/app.sock"]}, "write tls.server_name"),
    ],
)
def test_what_does_not_fit_together_is_refused(make_daemon, service, sentence):
    daemon = make_daemon([{"name": "web", **service}])
    daemon.write_config(config_text(daemon.config))
    checked = upswapd("-t", "-c", daemon.config_path)
    assert checked.returncode == 1 and sentence in checked.stderr, checked
