"""TLS to clients: which certificate whom is shown, and what a reload changes."""

import os
import socket
import ssl
import subprocess

import pytest

from harness.backend import Backend
from harness.certificates import Authority, TlsClient
from harness.client import RawClient
from harness.daemon import program
from harness.waiting import wait_until


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(str(tmp_path_factory.mktemp("authority")))


@pytest.fixture(scope="module")
def site(authority):
    return authority.issue("app.test", "www.app.test", "127.0.0.1")


def tls_listener(identity, **settings):
    return {"address": "127.0.0.1:0", "tls": {**identity.setting, **settings}}


@pytest.fixture(scope="module")
def front(start_front, authority, site):
    """One listener with several certificates."""
    more = {
        "rsa": authority.issue("app.test", use_rsa=True),
        "wild": authority.issue("*.wild.test"),
        "exact": authority.issue("exact.wild.test"),
        "named": authority.issue(common_name="common.test"),
    }
    front = start_front(
        Backend("one"),
        workers=2,
        listeners=[tls_listener(site, certificates=[identity.setting for identity in more.values()])],
    )
    front.more = more
    return front


def shown(port, authority, name, ciphers=None, version=None):
    """The serial number of the certificate that who asks for this name is shown."""
    context = authority.context()
    context.check_hostname = False
    if version:
        context.maximum_version = version
    if ciphers:
        context.set_ciphers(ciphers)
    with TlsClient(port, context, name) as client:
        return client.serial


def test_a_request_over_tls_is_answered_and_the_app_is_told(front, authority):
    with TlsClient(front.port, authority.context()) as client:
        assert client.socket.version() == "TLSv1.3"
        for _ in range(3):
            answer = client.ask(fields=["X-Forwarded-Proto: http"])
            assert answer.status == 200
            assert front.backend.requests[-1].get("X-Forwarded-Proto") == "https"


def test_curl_takes_both_versions(front, authority):
    for version, used in (("--tls-max=1.2", "TLSv1.2"), ("--tlsv1.3", "TLSv1.3")):
        command = ["curl", "-sS", "-v", *version.split("="), "--http1.1", "--cacert", authority.path]
        command += ["--resolve", f"app.test:{front.port}:127.0.0.1", f"https://app.test:{front.port}/"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr
        assert f"SSL connection using {used}" in done.stderr
        assert "ALPN: server accepted http/1.1" in done.stderr


@pytest.mark.parametrize("name", ["", "unknown.test", "deep.sub.wild.test", "wild.test"])
def test_who_asks_for_no_name_or_an_unknown_one_is_shown_the_first_certificate(front, authority, site, name):
    assert shown(front.port, authority, name or None) == site.serial


def test_the_name_that_is_asked_for_chooses_the_certificate(front, authority, site):
    assert shown(front.port, authority, "www.app.test") == site.serial
    assert shown(front.port, authority, "any.wild.test") == front.more["wild"].serial
    assert shown(front.port, authority, "ANY.WILD.TEST") == front.more["wild"].serial
    assert shown(front.port, authority, "exact.wild.test") == front.more["exact"].serial
    assert shown(front.port, authority, "common.test") == front.more["named"].serial


def test_a_client_that_knows_no_ecdsa_is_shown_the_rsa_certificate_for_the_same_name(front, authority, site):
    old = {"ciphers": "ECDHE-RSA-AES128-GCM-SHA256", "version": ssl.TLSVersion.TLSv1_2}
    assert shown(front.port, authority, "app.test", **old) == front.more["rsa"].serial
    assert shown(front.port, authority, "app.test") == site.serial


def s_client(port, *arguments, text="Q\n", timeout=30):
    """openssl s_client; what it says."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "app.test", *arguments]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=timeout, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_old_versions_are_refused(front, version):
    said = s_client(front.port, version, "-cipher", "ALL:@SECLEVEL=0")
    assert "alert protocol version" in said


def test_renegotiation_is_refused(front):
    said = s_client(front.port, "-tls1_2", text="R\n")
    assert "RENEGOTIATING" in said
    assert "no renegotiation" in said


def test_what_speaks_no_tls_gets_nothing_that_it_could_take_for_an_answer(front):
    with RawClient(front.port) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n")
        try:
            assert not client.socket.recv(100).startswith(b"HTTP/")
        except ConnectionResetError:
            pass
    assert not front.backend.requests_of("/plain")


def test_a_handshake_that_does_not_end_is_cut_by_the_time_for_a_head(start_own_front, site):
    front = start_own_front(
        Backend("one"), listeners=[tls_listener(site)], defaults={"timeouts": {"head": "300ms"}}
    )
    with RawClient(front.port) as client:
        client.send(b"\x16\x03\x01\x02\x00\x01\x00")  # the beginning of a ClientHello
        assert client.socket.recv(100) == b""


def resume(port, context, session, name="app.test"):
    """Whether the session was resumed, and the one to go on with."""
    with TlsClient(port, context, name, session=session) as client:
        assert client.ask().status == 200  # tickets come behind the handshake
        return client.socket.session_reused, client.socket.session


def test_sessions_are_resumed_by_every_worker_and_by_a_proxy_that_was_started_again(start_own_front, authority, site):
    front = start_own_front(Backend("one"), workers=2, listeners=[tls_listener(site)])
    context = authority.context()
    _, session = resume(front.port, context, None)
    for _ in range(16):  # both workers accept some of these
        resumed, session = resume(front.port, context, session)
        assert resumed
    front.daemon.kill_role("proxy")
    resumed, session = resume(front.port, context, session)
    assert resumed
    front.daemon.kill_role("control")
    assert front.daemon.upswap("reload").returncode == 0
    resumed, session = resume(front.port, context, session)
    assert resumed
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    _, session = resume(front.port, context, None)
    assert resume(front.port, context, session)[0]


# ---- reload ----


def replace(identity, other):
    """Puts the other's certificate and key in the files of the first."""
    for path, new in ((identity.certificate_path, other.certificate_path), (identity.key_path, other.key_path)):
        with open(new, "rb") as source, open(path, "wb") as target:
            target.write(source.read())


@pytest.fixture
def own_site(tmp_path):
    """An authority and a certificate whose files a test may change."""
    authority = Authority(str(tmp_path))
    return authority, authority.issue("app.test")


def test_a_reload_changes_the_certificate_and_touches_no_connection(start_own_front, own_site):
    authority, site = own_site
    old = site.serial
    front = start_own_front(Backend("one"), listeners=[tls_listener(site)])
    with TlsClient(front.port, authority.context()) as client:
        assert client.ask().status == 200
        new = authority.issue("app.test")
        replace(site, new)
        assert shown(front.port, authority, "app.test") == old  # files alone change nothing
        assert front.daemon.upswap("reload").returncode == 0
        assert client.ask().status == 200
        assert client.serial == old
    assert shown(front.port, authority, "app.test") == new.serial


def test_a_bad_pair_is_refused_with_its_place_and_the_old_one_stays(start_own_front, own_site):
    authority, site = own_site
    old = site.serial
    front = start_own_front(Backend("one"), listeners=[tls_listener(site)])
    replace(site, authority.issue("app.test"))
    os.replace(authority.issue("app.test").key_path, site.key_path)
    result = front.daemon.upswap("reload")
    assert result.returncode == 1
    assert f"{site.certificate_path}: the key does not belong to the certificate" in result.stderr
    assert f"{front.daemon.config_path}:" in result.stderr
    assert shown(front.port, authority, "app.test") == old
    for role in ("proxy", "control"):  # those that come after have the old one too
        front.daemon.kill_role(role)
        assert shown(front.port, authority, "app.test") == old
    check = subprocess.run(
        [program("upswapd"), "-t", "-c", front.daemon.config_path], capture_output=True, text=True, check=False
    )
    assert check.returncode == 1
    assert "the key does not belong to the certificate" in check.stderr


def test_a_listener_takes_tls_up_and_gives_it_up_at_a_reload(start_own_front, own_site):
    authority, site = own_site
    plain = {"address": "127.0.0.1:0"}
    front = start_own_front(Backend("one"), listeners=[plain])
    with RawClient(front.port) as before:
        assert before.ask().status == 200
        front.daemon.write_config(front.daemon.changed_config(lambda config: config.update(listeners=[tls_listener(site)])))
        assert front.daemon.upswap("reload").returncode == 0
        assert shown(front.port, authority, "app.test") == site.serial
        assert before.ask().status == 200  # begun in plain text
    front.daemon.write_config()
    assert front.daemon.upswap("reload").returncode == 0
    assert front.ask().status == 200


# ---- crowds ----


def descriptors(front):
    return len(os.listdir(f"/proc/{front.daemon.pids['proxy']}/fd"))


def test_a_thousand_handshakes_of_which_half_are_broken_off_leave_nothing(start_own_front, authority, site):
    front = start_own_front(Backend("one"), workers=1, listeners=[tls_listener(site)])
    context = authority.context()

    def broken_off(step):
        with RawClient(front.port) as client:
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            with pytest.raises(ssl.SSLWantReadError):
                context.wrap_bio(incoming, outgoing, server_hostname="app.test").do_handshake()
            hello = outgoing.read()
            client.send(hello[: len(hello) * (step % 8 + 1) // 8])
            client.reset()

    def whole():
        with TlsClient(front.port, context) as client:
            assert client.ask().status == 200

    for step in range(100):
        broken_off(step)
        whole()
    before = descriptors(front)
    for step in range(400):
        broken_off(step)
        whole()
    wait_until(lambda: descriptors(front) <= before, what="the descriptors to be given back")


def test_a_connection_that_is_cut_in_its_request_reaches_no_app_as_whole(front, authority):
    with TlsClient(front.port, authority.context()) as client:
        client.send(b"POST /cut HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        connection, _ = front.backend.next_request()
        client.socket.shutdown(socket.SHUT_RDWR)
    connection.ended.wait(10)
    assert not connection.received.endswith(b"0\r\n\r\n")


def test_a_big_body_passes_both_ways_unchanged(front, authority):
    body = bytes(range(256)) * 40000  # 10 MB

    def echo(connection, request):
        request.read_body(connection)
        connection.answer(request.body)

    front.backend.on("/echo", echo)
    with TlsClient(front.port, authority.context()) as client:
        assert client.ask("POST", "/echo", body=body).body == body
