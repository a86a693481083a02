"""The PROXY protocol: who a proxy in front says that the client is."""

import contextlib
import json
import os
import socket
import struct
import subprocess

import pytest

from harness import tcp
from harness.backend import Backend
from harness.client import RawClient
from harness.haproxy import Haproxy
from harness.waiting import wait_until
from harness.wire import Ended

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
PROXY = "127.0.0.2"  # the tests' proxy; everybody else on this machine is none
LINE = b"PROXY TCP4 192.0.2.7 198.51.100.9 12345 8443\r\n"


def header_2(source="192.0.2.7", destination="198.51.100.9", ports=(12345, 8443), tlvs=b""):
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    block = socket.inet_pton(family, source) + socket.inet_pton(family, destination) + struct.pack("!HH", *ports)
    code = 0x21 if family == socket.AF_INET6 else 0x11
    return SIGNATURE + bytes([0x21, code]) + struct.pack("!H", len(block + tlvs)) + block + tlvs


LOCAL = SIGNATURE + b"\x20\0\0\0"


class Log:
    def __init__(self, path):
        self.path = path
        self.read = 0

    def entry(self):
        """The next line."""

        def look():
            if not os.path.exists(self.path):
                return []
            with open(self.path, encoding="ascii") as file:
                return file.read().rpartition("\n")[0].splitlines()[self.read :]

        lines = wait_until(look, what="a line of the access log")
        self.read += 1
        return json.loads(lines[0])


def start(start_front, folder, **settings):
    path = os.path.join(folder, "access.log")
    front = start_front(
        Backend("one"),
        workers=1,
        listeners=[{"address": "127.0.0.1:0", "proxy_protocol": [PROXY, "127.0.0.3"]}, {"address": "127.0.0.1:0"}],
        access_log={"path": path, "format": "json"},
        **settings,
    )
    front.log = Log(path)
    return front


@pytest.fixture(scope="module")
def front(start_front, tmp_path_factory):
    return start(start_front, str(tmp_path_factory.mktemp("log")), trusted_proxies=["192.0.2.99"])


def told(front, *arguments, **options):
    """What the instance heard of a request."""
    front.backend.forget()
    with front.client(source=PROXY) as client:
        client.send(*arguments)
        response = client.ask(**options)
        assert response.status == 200, response
    _, request = front.backend.next_request()
    return request


@pytest.mark.parametrize("header", [LINE, header_2()], ids=["v1", "v2"])
def test_the_client_is_the_one_that_the_header_names(front, header):
    request = told(front, header)
    assert request.all("X-Forwarded-For") == ["192.0.2.7"]
    assert request.all("X-Forwarded-Port") == ["8443"]
    assert front.log.entry()["client"] == "192.0.2.7"


@pytest.mark.parametrize(
    "header",
    [b"PROXY TCP6 2001:db8::7 2001:db8::9 12345 8443\r\n", header_2("2001:db8::7", "2001:db8::9")],
    ids=["v1", "v2"],
)
def test_an_ipv6_client_comes_by_an_ipv4_connection(front, header):
    assert told(front, header).all("X-Forwarded-For") == ["2001:db8::7"]
    assert front.log.entry()["client"] == "2001:db8::7"


@pytest.mark.parametrize(
    "header",
    [b"PROXY UNKNOWN\r\n", LOCAL, SIGNATURE + b"\x21\x31\x00\xd8" + bytes(216)],
    ids=["unknown", "local", "unix"],
)
def test_a_connection_for_no_ip_client_is_the_proxys_own(front, header):
    request = told(front, header)
    assert request.all("X-Forwarded-For") == [PROXY]
    assert request.all("X-Forwarded-Port") == [str(front.port)]
    assert front.log.entry()["client"] == PROXY


@pytest.mark.parametrize("header", [LINE, header_2(tlvs=b"\x04\0\x20" + bytes(32))], ids=["v1", "v2"])
def test_a_header_may_trickle_and_ends_exactly_where_it_ends(front, header):
    with front.client(source=PROXY) as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in header[:-1]:
            client.send(bytes([byte]))
        client.send(header[-1:] + b"GET /first HTTP/1.1\r\nHost: app.test\r\n\r\n" * 2)
        assert [client.response().status for _ in range(2)] == [200, 200]
        assert client.ask(target="/third").status == 200
    assert [front.log.entry()["client"] for _ in range(3)] == ["192.0.2.7"] * 3


def test_who_waits_with_what_comes_behind_its_header_is_not_kept_waiting(front):
    assert tcp.seconds_until_acknowledged(front.port, LINE, source=PROXY) < 0.02


def test_every_request_of_the_connection_is_from_that_client(front):
    front.backend.forget()
    with front.client(source=PROXY) as client:
        client.send(LINE)
        for _ in range(3):
            assert client.ask().status == 200
    for _ in range(3):
        assert front.backend.next_request()[1].all("X-Forwarded-For") == ["192.0.2.7"]
        front.log.entry()


def test_trusted_proxies_goes_by_the_address_in_the_header(front):
    fields = ["X-Forwarded-For: 203.0.113.1"]
    assert told(front, LINE, fields=fields).all("X-Forwarded-For") == ["192.0.2.7"]
    trusted = header_2("192.0.2.99")
    assert told(front, trusted, fields=fields).all("X-Forwarded-For") == ["203.0.113.1, 192.0.2.99"]
    front.log.entry()
    front.log.entry()


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.9 12345 99999\r\n",
        b"PROXY TCP4 " + b"1" * 200,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        SIGNATURE + b"\x21\x11\xff\xff",
        header_2(tlvs=b"\x03\0\4\0\0\0\0"),
    ],
    ids=["no header", "bad port", "endless line", "TLS", "too long", "bad checksum"],
)
def test_a_proxy_that_sends_no_valid_header_is_turned_away_and_counted(front, data):
    front.backend.forget()
    before = refused(front, 400)
    with front.client(source=PROXY) as client:
        client.send(data)
        client.assert_closed()
    entry = front.log.entry()
    assert (entry["status"], entry["reason"], entry["client"]) == (400, "proxy-header", PROXY)
    assert refused(front, 400) == before + 1
    assert not front.backend.requests


def refused(front, code):
    page = front.admin.request("GET", "/metrics").body.decode()
    for line in page.splitlines():
        if line.startswith(f'upswap_requests_total{{service="",pool="",code="{code}"}}'):
            return int(line.split()[-1])
    return 0


def test_a_proxy_that_ends_within_its_header_is_turned_away(front):
    with front.client(source=PROXY) as client:
        client.send(LINE[:-1])
        client.socket.shutdown(socket.SHUT_WR)
        client.assert_closed()
    assert front.log.entry()["reason"] == "proxy-header"


def test_a_proxy_that_only_looks_whether_somebody_listens_leaves_no_trace(front):
    for _ in range(3):
        front.client(source=PROXY).close()
    assert told(front, LINE)
    assert front.log.entry()["status"] == 200


@pytest.mark.parametrize("header", [LINE, header_2()], ids=["v1", "v2"])
def test_a_header_from_elsewhere_is_a_bad_request(front, header):
    with front.client() as client:
        client.send(header)
        assert client.response().status == 400
    assert front.log.entry()["client"] == "127.0.0.1"
    with RawClient(front.daemon.ports()[1], source=PROXY) as client:
        client.send(header)
        assert client.response().status == 400
    assert front.log.entry()["client"] == PROXY


def test_who_is_no_proxy_needs_no_header(front):
    assert front.ask().status == 200
    assert front.log.entry()["client"] == "127.0.0.1"


def test_a_header_that_does_not_come_in_time_ends_the_connection(start_own_front, tmp_path):
    front = start(start_own_front, str(tmp_path), defaults={"timeouts": {"head": "300ms"}})
    with front.client(source=PROXY) as silent, front.client(source=PROXY) as slow:
        slow.send(LINE[:20])
        slow.assert_closed()
        silent.assert_closed()
    entry = front.log.entry()
    assert (entry["status"], entry["reason"]) == (408, "proxy-header-timeout")
    with front.client(source=PROXY) as slow:
        slow.send(LINE + b"GET / HT")
        assert slow.response().status == 408
    assert front.log.entry()["client"] == "192.0.2.7"


def is_served(front, header, source=PROXY):
    with front.client(source=source) as client:
        try:
            client.send(header)
            return client.ask().status == 200
        except (Ended, OSError):
            return False


def test_connections_are_counted_by_the_clients_address_and_given_back(start_own_front, tmp_path):
    front = start(start_own_front, str(tmp_path), limits={"connections_per_address": 2})
    with contextlib.ExitStack() as stack:
        kept = {}
        for number in (1, 2, 3):
            for source in (PROXY, "127.0.0.3"):
                client = stack.enter_context(front.client(source=source))
                client.send(header_2(f"192.0.2.{number}"))
                assert client.ask().status == 200
                kept[number, source] = client
        assert not is_served(front, header_2("192.0.2.1"))
        assert is_served(front, header_2("192.0.2.4"))
        # Without a header the proxy itself is counted, beside those whom it speaks for.
        for _ in range(2):
            client = stack.enter_context(front.client(source=PROXY))
            client.send(LOCAL)
            assert client.ask().status == 200
        assert not is_served(front, LOCAL)
        kept[1, PROXY].close()
        wait_until(lambda: is_served(front, header_2("192.0.2.1")), what="a place for another connection")
        assert not is_served(front, header_2("192.0.2.2"))
    # All are gone: what is counted and not given back would be in the way now.
    for number in (1, 2, 3):
        wait_until(lambda n=number: is_served(front, header_2(f"192.0.2.{n}")), what="an empty house")


def test_turned_away_connections_are_not_counted_for_ever(start_own_front, tmp_path):
    front = start(start_own_front, str(tmp_path), limits={"connections_per_address": 1, "connections": 3})
    for _ in range(10):
        with front.client(source=PROXY) as client:
            client.send(b"nonsense")
            client.assert_closed()
    wait_until(lambda: is_served(front, LOCAL), what="a place for a connection")
    assert wait_until(lambda: is_served(front, LINE), what="a place for a connection")


def test_a_stop_waits_for_no_header(start_own_front, tmp_path):
    front = start(start_own_front, str(tmp_path))
    with front.client(source=PROXY) as client:
        client.send(LINE[:10])
        wait_until(lambda: 'upswap_connections{listener="127.0.0.1:' in front.admin.request("GET", "/metrics").body.decode())
        assert front.daemon.stop() == 0


def test_a_reload_decides_for_new_connections_who_is_a_proxy(start_own_front, tmp_path):
    front = start(start_own_front, str(tmp_path))
    with front.client(source=PROXY) as old:
        old.send(LINE)
        assert old.ask().status == 200
        front.daemon.config["listeners"][0]["proxy_protocol"] = ["127.0.0.3"]
        front.daemon.write_config()
        assert front.admin.request("POST", "/v1/reload").status == 200
        assert old.ask().status == 200
    assert [front.log.entry()["client"] for _ in range(2)] == ["192.0.2.7"] * 2
    assert is_served(front, b"")
    assert is_served(front, LINE, source="127.0.0.3")
    assert [front.log.entry()["client"] for _ in range(2)] == [PROXY, "192.0.2.7"]


@pytest.mark.parametrize(
    "options",
    [
        "send-proxy",
        "send-proxy-v2",
        "send-proxy-v2 proxy-v2-options crc32c,unique-id",
    ],
)
def test_a_real_haproxy_is_understood(front, options):
    more = [f"source {PROXY}", "unique-id-format %[uuid()]"]
    proxy = Haproxy(f"127.0.0.1:{front.port}", options, more=more)
    try:
        front.backend.forget()
        with RawClient(proxy.port, source="127.0.0.77") as client:
            for _ in range(3):
                assert client.ask().status == 200
        for _ in range(3):
            _, request = front.backend.next_request()
            assert request.all("X-Forwarded-For") == ["127.0.0.77"]
            assert request.all("X-Forwarded-Port") == [str(proxy.port)]
            assert front.log.entry()["client"] == "127.0.0.77"
    finally:
        proxy.close()


def test_curls_own_header_is_understood(front):
    url = f"http://127.0.0.1:{front.port}/"
    argv = ["curl", "-sS", "--max-time", "10", "--interface", PROXY, "--haproxy-protocol", url]
    result = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True)
    assert result.stdout == "one"
    assert front.log.entry()["client"] == PROXY


# ---- to instances ----


class Named:
    """A backend's greeter: reads the PROXY header, and remembers what each connection said."""

    def __init__(self):
        self.headers = []  # of clients
        self.checks = []  # of upswap itself

    def __call__(self, connection):
        start = connection.exactly(12)
        if start == SIGNATURE:
            head = connection.exactly(4)
            block = connection.exactly(struct.unpack("!H", head[2:])[0])
            connection.named = self._version_2(head[0], head[1], block)
        else:
            line = start + connection.until(b"\r\n")
            assert len(line) <= 107 and line.startswith(b"PROXY ")
            words = line.decode("ascii").split()
            connection.named = (1, *words[1:])
        (self.checks if connection.named[1] in ("LOCAL", "UNKNOWN") else self.headers).append(connection.named)

    @staticmethod
    def _version_2(command, family, block):
        if command == 0x20:
            assert family == 0 and block == b""
            return (2, "LOCAL")
        assert command == 0x21 and family in (0x11, 0x21)
        size, kind = (4, socket.AF_INET) if family == 0x11 else (16, socket.AF_INET6)
        assert len(block) == 2 * size + 4
        ports = struct.unpack("!HH", block[2 * size :])
        texts = [socket.inet_ntop(kind, block[at : at + size]) for at in (0, size)]
        return (2, "TCP4" if size == 4 else "TCP6", *texts, *map(str, ports))


def start_naming(start_front, version, service=None, **settings):
    named = Named()
    front = start_front(
        Backend("one", greet=named), service={"proxy_protocol": f"v{version}", **(service or {})}, **settings
    )
    front.named = named
    return front


LISTENERS = [
    {"address": "127.0.0.1:0", "proxy_protocol": [PROXY]},
    {"address": "[::1]:0"},
    {"address": "0.0.0.0:0"},
]


@pytest.fixture(scope="module", params=[1, 2], ids=["v1", "v2"])
def naming(request, start_front):
    front = start_naming(start_front, request.param, workers=1, listeners=LISTENERS)
    front.version = request.param
    return front


def ends_of(sock):
    source, destination = sock.getsockname(), sock.getpeername()
    return (source[0], destination[0], str(source[1]), str(destination[1]))


def test_an_instance_is_told_both_ends_of_the_clients_connection(naming):
    for index, host, family in ((0, "127.0.0.1", "TCP4"), (1, "::1", "TCP6"), (2, "127.0.0.5", "TCP4")):
        with RawClient(naming.daemon.ports()[index], host=host) as client:
            assert client.ask().status == 200
            assert naming.named.headers[-1] == (naming.version, family, *ends_of(client.socket))


def test_a_connection_to_an_instance_serves_one_client_and_is_kept_for_it(naming):
    before = len(naming.named.headers)
    with naming.client() as first, naming.client() as second:
        for _ in range(5):
            assert first.ask().status == 200
            assert second.ask().status == 200
        named = naming.named.headers[before:]
        assert named == [(naming.version, "TCP4", *ends_of(each.socket)) for each in (first, second)]
    naming.backend.forget()
    with naming.client() as third:
        assert third.ask().status == 200
        connection, _ = naming.backend.next_request()
        assert connection.named == (naming.version, "TCP4", *ends_of(third.socket))


def test_what_a_proxy_in_front_has_said_is_passed_on(naming):
    with naming.client(source=PROXY) as client:
        client.send(LINE)
        assert client.ask().status == 200
        assert naming.named.headers[-1] == (naming.version, "TCP4", *LINE.decode().split()[2:])
    with naming.client(source=PROXY) as client:
        client.send(header_2("2001:db8::7", "2001:db8::9"))
        assert client.ask().status == 200
        expected = (naming.version, "TCP6", "2001:db8::7", "2001:db8::9", "12345", "8443")
        assert naming.named.headers[-1] == expected


def test_a_kept_connection_that_closed_is_replaced_by_one_with_a_header(naming):
    naming.backend.on("/bye", lambda connection, request: (connection.answer("bye"), connection.close()))
    before = len(naming.named.headers)
    with naming.client() as client:
        for _ in range(3):
            assert client.ask(target="/bye").text == "bye"
        named = naming.named.headers[before:]
        assert len(named) == 3 and set(named) == {(naming.version, "TCP4", *ends_of(client.socket))}


def test_a_request_that_goes_to_another_instance_takes_the_header_along(start_own_front):
    named = Named()
    deaf, hearing = Backend("deaf", listen=False), Backend("hearing", greet=named)
    front = start_own_front(deaf, hearing, service={"proxy_protocol": "v2"}, workers=1)
    with front.client() as client:
        for _ in range(4):
            assert client.ask().text == "hearing"
        assert set(named.headers) == {(2, "TCP4", *ends_of(client.socket))}


def test_a_reload_that_changes_the_version_lends_no_connection_of_the_old(start_own_front):
    front = start_naming(start_own_front, 1, workers=1)
    with front.client() as client:
        for version, setting in ((1, "v1"), (2, "v2"), (1, "v1")):
            front.daemon.config["services"][0]["proxy_protocol"] = setting
            front.daemon.write_config()
            assert front.admin.request("POST", "/v1/reload").status == 200
            front.backend.forget()
            assert client.ask().status == 200
            connection, _ = front.backend.next_request()
            assert connection.named[0] == version


def test_checks_of_staged_instances_say_that_they_are_upswaps_own(make_stand, make_backend):
    for version, mark in ((1, "UNKNOWN"), (2, "LOCAL")):
        stand = make_stand(service={"proxy_protocol": f"v{version}"}, live=0)
        stand.suite.shell("01_pass")
        stand.start()
        named = Named()
        backend = make_backend("new", greet=named)
        answer = stand.admin.command("deployments", instances=[backend.address])
        assert answer.status == 202, answer
        stand.wait_state(answer.json["deployment"], "done")
        wait_until(lambda n=named: len(n.checks) >= 2, what="both checks")
        assert set(named.checks) == {(version, mark)}
        with RawClient(stand.port) as client:
            assert client.ask().text == "new"
            assert named.headers == [(version, "TCP4", *ends_of(client.socket))]


@pytest.mark.parametrize("path", ["", "/healthz"], ids=["connect", "get"])
def test_health_checks_say_that_they_are_upswaps_own(start_own_front, path):
    health = {"path": path, "interval": "50ms"}
    front = start_naming(start_own_front, 2, service={"health": health}, workers=1)
    wait_until(lambda: len(front.named.checks) >= 3, what="three checks")
    assert set(front.named.checks) == {(2, "LOCAL")} and not front.named.headers
    if path:
        assert front.backend.requests_of(path)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_real_haproxy_understands_what_is_sent(start_own_front, version):
    told = "%[src]:%[src_port] %[dst]:%[dst_port]"
    more = [f'http-request return status 200 content-type text/plain lf-string "{told}"']
    behind = Haproxy(None, bind="accept-proxy", more=more)
    try:
        # The daemon's instance is HAProxy; the backend that comes first listens for nobody.
        front = start_own_front(
            Backend("none"), service={"proxy_protocol": version, "instances": [behind.address]}, workers=1
        )
        with front.client() as client:
            source, destination, *ports = ends_of(client.socket)
            expected = f"{source}:{ports[0]} {destination}:{ports[1]}"
            for _ in range(3):
                assert client.ask().text == expected
    finally:
        behind.close()
