"""TLS to clients: which certificate whom is shown, and what a reload changes."""

import datetime
import json
import os
import socket
import ssl
import statistics
import subprocess
import threading

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

from harness import http1, processes, tcp
from harness.backend import Backend
from harness.certificates import Authority, TlsClient
from harness.client import RawClient
from harness.daemon import program
from harness.waiting import wait_until
from harness.wire import Ended


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


def test_who_waits_with_the_rest_of_a_client_hello_is_not_kept_waiting(front):
    hello, context = ssl.MemoryBIO(), ssl.create_default_context()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), hello, server_hostname="a.test").do_handshake()
    assert tcp.seconds_until_acknowledged(front.port, hello.read()[:100]) < 0.02


def test_who_waits_with_the_body_of_its_first_request_over_tls_is_not_kept_waiting(front, authority):
    head = b"POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 4\r\n\r\n"
    clients = (TlsClient(front.port, authority.context()) for _ in range(20))
    times = [tcp.seconds_until_more_is_acknowledged(client.socket, head) for client in clients]
    assert statistics.median(times) < 0.02, times  # some are acknowledged at once whatever upswap does


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


def test_a_certificate_that_nobody_could_ask_for_is_refused_at_the_check_and_at_a_reload(start_own_front, own_site):
    authority, site = own_site
    front = start_own_front(Backend("one"), listeners=[tls_listener(site)])
    nameless = tls_listener(site, certificates=[authority.issue("127.0.0.1").setting])
    front.daemon.write_config(front.daemon.changed_config(lambda config: config.update(listeners=[nameless])))
    check = subprocess.run(
        [program("upswapd"), "-t", "-c", front.daemon.config_path], capture_output=True, text=True, check=False
    )
    reload = front.daemon.upswap("reload")
    for result in (check, reload):
        assert result.returncode == 1
        assert "no client is ever shown the certificate" in result.stderr
    assert shown(front.port, authority, "app.test") == site.serial


looks_into_roles = pytest.mark.skipif(os.getuid() != 0, reason="only root may look into a role")


def holding(pid, secret):
    """The flags of each of the process's own mappings that holds these bytes, in whichever order.

    The counters are shared, and gigabytes of mostly nothing.
    """
    found = []
    with open(f"/proc/{pid}/smaps", encoding="ascii") as maps, open(f"/proc/{pid}/mem", "rb") as memory:
        for line in maps:
            words = line.split()
            if "-" in words[0] and not words[0].endswith(":"):
                start, end = (int(number, 16) for number in words[0].split("-"))
                readable = words[1].startswith("rw-p")
            elif words[0] == "VmFlags:" and readable:
                memory.seek(start)
                content = memory.read(end - start)
                if secret in content or secret[::-1] in content:
                    found.append(words[1:])
    return found


def remembers(pid, text):
    """Does this text stand in the memory of the process?"""
    return bool(holding(pid, text))


@looks_into_roles
def test_the_key_is_wiped_from_memory_when_its_config_is_in_force_and_when_it_is_refused(start_own_front, own_site):
    authority, site = own_site
    front = start_own_front(Backend("one"), listeners=[tls_listener(site)])
    with open(site.key_path, "rb") as file:
        key = file.read()
    control = front.daemon.pids["control"]
    assert not remembers(control, key)
    assert remembers(control, b"listeners")
    broken = front.daemon.changed_config(lambda config: config.update(access_log={"path": "/nowhere/at/all"}))
    front.daemon.write_config(broken)
    assert front.daemon.upswap("reload").returncode == 1
    assert front.daemon.pids["control"] == control
    assert not remembers(control, key)


@looks_into_roles
def test_a_private_key_stands_in_locked_memory_only(start_own_front, authority):
    site = authority.issue("app.test")
    front = start_own_front(Backend("one"), listeners=[tls_listener(site)])
    for _ in range(5):
        with TlsClient(front.port, authority.context(), "app.test") as client:
            assert client.ask().status == 200
    secret = site.key.private_numbers().private_value.to_bytes(32, "big")
    mappings = holding(front.daemon.pids["proxy"], secret)
    assert mappings, "the proxy must have it somewhere"
    assert all({"lo", "dd"} <= set(flags) for flags in mappings), mappings  # locked, and not dumped
    assert not holding(front.daemon.pids["control"], secret)


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


def answers(port, context):
    """Whether it is a listener in plain text or over TLS, it serves."""
    for connect in (lambda: RawClient(port), lambda: TlsClient(port, context)):
        try:
            with connect() as client:
                if client.ask().status == 200:
                    return True
        except (ConnectionError, Ended, ssl.SSLError):
            pass
    return False


def test_a_control_that_dies_in_a_reload_leaves_a_listener_that_serves(start_own_front, own_site):
    authority, site = own_site
    front = start_own_front(Backend("one"), listeners=[{"address": "127.0.0.1:0"}])
    over_tls = front.daemon.changed_config(lambda config: config.update(listeners=[tls_listener(site)]))
    for round_ in range(6):
        front.daemon.write_config(None if round_ % 2 else over_tls)
        reload_ = threading.Thread(target=front.daemon.upswap, args=("reload",))
        reload_.start()
        for _ in range(4 * round_):  # each time a bit later
            answers(front.port, authority.context())
        front.daemon.kill_role("control")
        reload_.join()
        wait_until(lambda: answers(front.port, authority.context()), what="the listener to serve")


# ---- crowds ----


def descriptors(front):
    return processes.descriptors(front.daemon.pids["proxy"])


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


# ---- clients' certificates ----

FORGED = ["X-Client-Verify: SUCCESS", "X-Client-Subject: CN=root", "X-Client-Fingerprint: 00", "X_Client_Verify: SUCCESS"]


def told(front, client):
    """What the app is told of the client's certificate, whatever the client says itself."""
    assert client.ask(fields=FORGED).status == 200
    request = front.backend.requests[-1]
    assert not request.all("X_Client_Verify")
    return [request.get(f"X-Client-{name}") for name in ("Verify", "Subject", "Fingerprint")]


@pytest.mark.parametrize("verify", ["off", "optional", "required"])
def test_the_app_is_told_of_a_verified_certificate_and_of_nothing_else(start_own_front, authority, site, verify):
    clients = Authority(authority.folder, f"Clients {verify}")
    alice = clients.issue(common_name="Alice, Ltd+É")
    listener = tls_listener(site, client_ca=clients.path, client_verify=verify)
    front = start_own_front(Backend("one"), listeners=[listener, {"address": "127.0.0.1:0"}])
    fingerprint = alice.certificate.fingerprint(hashes.SHA256()).hex()
    known = ["SUCCESS", r"CN=Alice\, Ltd\+\C3\89", fingerprint] if verify != "off" else [None] * 3
    context = authority.context(alice)
    with TlsClient(front.port, context) as client:
        assert told(front, client) == known
        session = client.socket.session
    with TlsClient(front.port, context, session=session) as client:
        assert told(front, client) == known  # a session remembers who began it
        assert client.socket.session_reused
    if verify != "required":
        with TlsClient(front.port, authority.context()) as client:
            assert told(front, client) == (["NONE", None, None] if verify == "optional" else [None] * 3)
    with RawClient(front.daemon.ports()[1]) as client:
        assert told(front, client) == [None] * 3


def refused(port, context):
    try:
        with TlsClient(port, context) as client:
            client.request()
            return client.socket.recv(1) == b""
    except (ssl.SSLError, ConnectionError):
        return True


def test_who_shows_no_certificate_or_a_foreign_one_is_refused_where_one_is_required(start_own_front, authority, site):
    clients, strangers = Authority(authority.folder, "Clients"), Authority(authority.folder, "Strangers")
    required = tls_listener(site, client_ca=clients.path, client_verify="required")
    optional = tls_listener(site, client_ca=clients.path, client_verify="optional")
    front = start_own_front(Backend("one"), listeners=[required, optional])
    foreign = authority.context(strangers.issue("app.test"))
    assert refused(front.daemon.ports()[0], authority.context())
    assert refused(front.daemon.ports()[0], foreign)
    assert refused(front.daemon.ports()[1], foreign)
    assert not refused(front.daemon.ports()[1], authority.context())
    assert not front.backend.requests[1:]


# ---- https ----


def test_a_redirecting_listener_sends_everything_to_https(start_own_front, site):
    front = start_own_front(Backend("one"), listeners=[{"address": "127.0.0.1:0", "redirect": "https"}, tls_listener(site)])
    to, port = front.daemon.ports()
    with RawClient(to) as client:
        for method, target in (("GET", "/a?b=c"), ("POST", "/a"), ("HEAD", "/")):
            answer = client.ask(method, target, host=f"app.test:{to}")
            assert answer.status == 308
            assert answer.get("Location") == f"https://app.test:{port}{target}"
            assert answer.get("X-Upswap") == "redirect-https"
        assert client.ask("OPTIONS", "*", host=f"app.test:{to}").get("Location") == f"https://app.test:{port}/"
        assert client.ask(host="[::1]:80").get("Location") == f"https://[::1]:{port}/"
        assert client.ask(host="nowhere.test").status == 308
    with RawClient(to) as client:
        assert client.ask(host="a b").status == 400
    with RawClient(to) as client:
        assert client.ask(host=None, version="1.0").get("X-Upswap") == "missing-host"
    assert not front.backend.requests


def test_a_redirecting_listener_and_a_canonical_host_are_one_redirect(start_own_front, site):
    front = start_own_front(
        Backend("one"),
        listeners=[{"address": "127.0.0.1:0", "redirect": "https"}, tls_listener(site)],
        service={"canonical_host": "www.app.test"},
    )
    to, port = front.daemon.ports()
    with RawClient(to) as client:
        answer = client.ask(target="/a?b", host=f"app.test:{to}")
        assert answer.get("Location") == f"https://www.app.test:{port}/a?b"
        assert answer.get("X-Upswap") == "canonical-host"
        assert client.ask(host="www.app.test").get("X-Upswap") == "redirect-https"


def test_hsts_is_added_over_tls_where_the_app_has_not_spoken(start_own_front, authority, site):
    front = start_own_front(Backend("one"), listeners=[tls_listener(site, hsts="365d"), {"address": "127.0.0.1:0"}])
    own = http1.answer(b"own", fields=["Strict-Transport-Security: max-age=1"])
    front.backend.on("/own", own)
    with TlsClient(front.port, authority.context()) as client:
        assert client.ask().get("Strict-Transport-Security") == "max-age=31536000"
        assert client.ask(target="/own").get("Strict-Transport-Security") == "max-age=1"
    with RawClient(front.daemon.ports()[1]) as client:
        assert client.ask().get("Strict-Transport-Security") is None


def test_hsts_is_added_to_own_answers_over_tls_and_to_no_plain_ones(start_own_front, authority, site):
    listeners = [tls_listener(site, hsts="365d"), {"address": "127.0.0.1:0"}]
    service = {"hosts": ["app.test", "www.app.test"], "canonical_host": "www.app.test"}
    front = start_own_front(Backend("one"), listeners=listeners, service=service)
    for port, told in zip(front.daemon.ports(), ("max-age=31536000", None)):
        for status, how in (
            (308, {"host": "app.test"}),  # a redirect
            (404, {"host": "nobody.test"}),  # an error
            (400, {"host": "a b"}),  # no request at all
        ):
            with RawClient(port) if told is None else TlsClient(port, authority.context()) as client:
                answer = client.ask(**how)
                assert answer.status == status
                assert answer.all("Strict-Transport-Security") == ([told] if told else [])


# ---- OCSP ----


def ocsp_response(authority, identity, days=1, status=ocsp.OCSPCertStatus.GOOD):
    """The path of a response in DER form about the identity."""
    now = datetime.datetime.utcnow()
    issuer = authority.identity
    revoked = now if status == ocsp.OCSPCertStatus.REVOKED else None
    builder = ocsp.OCSPResponseBuilder().add_response(
        identity.certificate,
        issuer.certificate,
        hashes.SHA1(),
        status,
        now - datetime.timedelta(days=3),
        now + datetime.timedelta(days=days),
        revoked,
        None,
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, issuer.certificate)
    path = identity.certificate_path + ".ocsp"
    with open(path, "wb") as file:
        file.write(builder.sign(issuer.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER))
    return path


def test_an_ocsp_response_is_stapled_while_it_is_good(start_own_front, authority):
    fresh, stale = authority.issue("app.test"), authority.issue("app.test")
    listeners = [
        tls_listener(fresh, ocsp=ocsp_response(authority, fresh)),
        tls_listener(stale, ocsp=ocsp_response(authority, stale, days=-1)),
    ]
    front = start_own_front(Backend("one"), listeners=listeners)
    for version in ("-tls1_2", "-tls1_3"):
        assert "OCSP Response Status: successful" in s_client(front.daemon.ports()[0], "-status", version)
        assert "OCSP response: no response sent" in s_client(front.daemon.ports()[1], "-status", version)


@pytest.mark.parametrize("fault", ["another", "revoked", "nonsense"])
def test_an_ocsp_response_that_does_not_fit_is_refused(make_daemon, authority, fault):
    identity, other = authority.issue("app.test"), authority.issue("app.test")
    path = ocsp_response(authority, other if fault == "another" else identity)
    sentence = "is about another certificate"
    if fault == "revoked":
        ocsp_response(authority, identity, status=ocsp.OCSPCertStatus.REVOKED)
        sentence = "is not good"
    if fault == "nonsense":
        path, sentence = identity.key_path, "is none in DER form"
    daemon = make_daemon(listeners=[tls_listener(identity, ocsp=path)])
    daemon.write_config()
    command = [program("upswapd"), "-t", "-c", daemon.config_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"{path}: the OCSP response" in done.stderr
    assert sentence in done.stderr


# ---- what is told ----


def test_handshakes_are_counted_by_result_and_the_log_names_what_was_agreed_on(start_own_front, authority, site, tmp_path):
    path = str(tmp_path / "access.log")
    front = start_own_front(
        Backend("one"), workers=1, listeners=[tls_listener(site)], access_log={"path": path, "format": "json"}
    )
    os.chmod(tmp_path, 0o755)
    context = authority.context()
    _, session = resume(front.port, context, None)
    assert resume(front.port, context, session)[0]
    with RawClient(front.port) as client:
        client.send(b"no TLS at all\r\n")
        client.fill()

    def counted(result):
        name = ("upswap_tls_handshakes_total", frozenset({("listener", f"127.0.0.1:{front.port}"), ("result", result)}))
        return front.admin.metrics().get(name, 0)

    for result in ("full", "resumed", "failed"):
        wait_until(lambda result=result: counted(result) == 1, what=f"one handshake that is {result}")

    def lines():
        if not os.path.exists(path):
            return []
        with open(path, encoding="utf-8") as file:
            return file.read().splitlines()

    line = json.loads(wait_until(lines, what="a line of the access log")[0])
    assert (line["tls"], line["cipher"]) == ("TLSv1.3", "TLS_AES_128_GCM_SHA256")


def test_requests_over_tls_lose_nothing_during_swaps(make_stand, make_backend, authority, site):
    stand = make_stand(live=1, listeners=[tls_listener(site)], service={"drain": {"requests": "5s"}})
    stand.suite.shell("01_pass")
    stand.start()
    stop, statuses = threading.Event(), []

    def ask_on():
        while not stop.is_set():
            with TlsClient(stand.port, authority.context()) as client:
                for _ in range(20):
                    statuses.append(client.ask().status)

    threads = [threading.Thread(target=ask_on) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for round_ in range(3):
            deployment = stand.admin.stage([make_backend(f"next-{round_}").address])
            stand.wait_state(deployment, "done")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert len(statuses) > 50
    assert set(statuses) == {200}
