"""IPv6 wherever an address may stand."""

import json
import socket
import urllib.request

import pytest

from harness.backend import Backend
from harness.client import RawClient
from harness.waiting import wait_until


def _has_ipv6():
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


pytestmark = pytest.mark.skipif(not _has_ipv6(), reason="this kernel has no IPv6")


@pytest.fixture(scope="module")
def front(start_front, tmp_path_factory):
    log = str(tmp_path_factory.mktemp("log") / "access.log")
    front = start_front(
        Backend("six", host="::1"),
        workers=1,
        listeners=[{"address": "[::]:0"}, {"address": "0.0.0.0:0"}],
        trusted_proxies=["::1/128"],
        access_log={"path": log, "format": "json"},
    )
    front.log = log
    return front


def heard(front, source="::1", port=None, **options):
    front.backend.forget()
    with RawClient(port or front.port, host=source) as client:
        assert client.ask(**options).text == "six"
    return front.backend.next_request()[1]


def test_a_client_of_ipv6_reaches_an_instance_of_ipv6(front):
    request = heard(front)
    assert request.get("X-Forwarded-For") == "::1"
    assert front.backend.address.startswith("[::1]:")
    (instance,) = front.admin.service("web")["pools"][0]["instances"]
    assert instance["address"] == front.backend.address


def test_a_client_of_ipv4_is_shown_as_one(front):
    assert heard(front, "127.0.0.1", front.daemon.ports()[1]).get("X-Forwarded-For") == "127.0.0.1"


def test_the_access_log_has_the_address_as_text(front):
    heard(front)

    def clients():
        with open(front.log, encoding="ascii") as file:
            return {json.loads(line)["client"] for line in file.read().rpartition("\n")[0].splitlines()}

    wait_until(lambda: "::1" in clients(), what="the client's address in the log")


def test_a_host_in_brackets_is_passed_on(front):
    request = heard(front, host=f"[::1]:{front.port}")
    assert request.get("Host") == f"[::1]:{front.port}"


def test_a_trusted_network_may_be_of_ipv6(front):
    fields = ["X-Forwarded-For: 2001:db8::7"]
    assert heard(front, fields=fields).get("X-Forwarded-For") == "2001:db8::7, ::1"
    request = heard(front, "127.0.0.1", front.daemon.ports()[1], fields=fields)
    assert request.get("X-Forwarded-For") == "127.0.0.1"


def test_a_name_that_has_only_ipv6_is_resolved_when_staged(stand, make_backend):
    try:
        found = {each[4][0] for each in socket.getaddrinfo("ip6-localhost", None)}
    except OSError:
        found = set()
    if found != {"::1"}:
        pytest.skip("this machine has no name for ::1 alone")
    new = make_backend("new", host="::1")
    stand.wait_state(stand.admin.stage([f"ip6-localhost:{new.port}"]), "done")
    assert stand.ask().text == "new"


def test_uptests_get_the_bare_address(stand, make_backend):
    stand.suite.shell("02_argv", 'echo "$1 $2 $UPTEST_HOST"')
    new = make_backend("new", host="::1")
    results = stand.run(new)
    assert results[1]["Output"] == f"::1 {new.port} ::1\n"
    assert (results[1]["Host"], results[1]["Port"]) == ("::1", new.port)


def test_two_spellings_of_one_address_are_one_instance(stand, make_backend):
    new = make_backend("new", host="::1")
    answer = stand.admin.try_stage([f"[::1]:{new.port}", f"[0:0::1]:{new.port}"])
    assert answer.status == 422 and "are one and the same" in answer.detail


def test_a_scope_is_refused_with_its_reason(stand):
    answer = stand.admin.try_stage(["[fe80::1%lo]:80"])
    assert answer.status == 422 and "link-local addresses with a scope" in answer.detail


def test_connections_of_one_ipv6_address_are_counted(start_own_front):
    front = start_own_front(
        Backend("few", host="::1"), workers=1, listeners=[{"address": "[::1]:0"}], limits={"connections_per_address": 1}
    )
    with RawClient(front.port, host="::1") as first:
        assert first.ask().status == 200
        with RawClient(front.port, host="::1") as second:
            second.assert_closed()


def test_the_admin_api_listens_on_ipv6(make_daemon, tmp_path):
    token = tmp_path / "token"
    token.write_text("secret\n")
    token.chmod(0o600)
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as probe:
        port = probe.getsockname()[1]
    daemon = make_daemon()
    daemon.config["admin"].update(listen=f"[::1]:{port}", token_file=str(token))
    daemon.start()
    request = urllib.request.Request(f"http://[::1]:{port}/v1/status", headers={"Authorization": "Bearer secret"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200 and json.load(answer)["services"]
