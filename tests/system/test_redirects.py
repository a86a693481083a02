"""Requests that belong to another host or to https, and hosts that must not get into a Location."""

import pytest

from harness.backend import Backend

HOSTS = ["example.com", "*.example.com", "other.example"]


@pytest.fixture(scope="module")
def canonical(start_front):
    return start_front(Backend(), service={"hosts": HOSTS, "canonical_host": "www.example.com"})


@pytest.fixture(scope="module")
def https(start_front):
    return start_front(Backend(), service={"redirect_https": True}, trusted_proxies=["127.0.0.2"])


def test_another_host_of_the_service_is_sent_to_the_canonical_one(canonical):
    response = canonical.ask(host="example.com", target="/a%2Fb//c?x=1&y=%20")
    assert response.status == 308
    assert response.upswap == "canonical-host"
    assert response.get("Location") == "http://www.example.com/a%2Fb//c?x=1&y=%20"
    assert canonical.backend.requests == []


@pytest.mark.parametrize("host", ["www.example.com", "WWW.Example.COM", "www.example.com:8080"])
def test_the_canonical_host_itself_is_served(canonical, host):
    assert canonical.ask(host=host).status == 200
    canonical.backend.forget()


def test_the_port_that_the_client_used_is_kept(canonical):
    assert canonical.ask(host="example.com:8080").get("Location") == "http://www.example.com:8080/"
    assert canonical.ask(host="example.com:").get("Location") == "http://www.example.com/"


def test_a_trailing_dot_is_another_spelling(canonical):
    assert canonical.ask(host="www.example.com.").get("Location") == "http://www.example.com/"


def test_a_port_of_the_canonical_host_is_used(start_own_front):
    front = start_own_front(Backend(), service={"canonical_host": "www.example.com:8443"})
    assert front.ask(host="example.com:99").get("Location") == "http://www.example.com:8443/"
    assert front.ask(host="www.example.com:99").status == 200


def test_method_and_body_are_for_the_new_place(canonical):
    with canonical.client() as client:
        response = client.ask("POST", host="example.com", body=b"x" * 100)
        assert response.status == 308
        client.assert_closed()  # what was not read must not be taken for a request


def test_head_gets_no_body_and_the_connection_stays(canonical):
    with canonical.client() as client:
        assert client.ask("HEAD", host="example.com").status == 308
        assert client.ask(host="www.example.com").status == 200


def test_an_old_client_without_a_host_is_served(start_own_front):
    front = start_own_front(Backend(), service={"canonical_host": "www.example.com"})
    assert front.ask(host=None, version="1.0").status == 200


def test_options_for_the_server_go_nowhere_else(start_own_front):
    front = start_own_front(Backend(), service={"canonical_host": "www.example.com"})
    assert front.ask("OPTIONS", target="*", host="example.com").status == 200


def test_plain_requests_are_sent_to_https(https):
    response = https.ask(host="app.test", target="/p?q")
    assert response.status == 308
    assert response.upswap == "redirect-https"
    assert response.get("Location") == "https://app.test/p?q"
    assert https.ask(host="app.test:8080").get("Location") == "https://app.test/"


def test_https_at_a_trusted_proxy_counts_and_nobody_elses(https):
    with https.client(source="127.0.0.2") as proxy:
        assert proxy.ask(fields=["X-Forwarded-Proto: https"]).status == 200
        assert proxy.ask(fields=["X-Forwarded-Proto: http"]).status == 308
        assert proxy.ask(fields=["X-Forwarded-Proto: https", "X-Forwarded-Proto: https"]).status == 308
    assert https.ask(fields=["X-Forwarded-Proto: https"]).status == 308


@pytest.mark.parametrize("said, status", [("https, http", 200), ("HTTPS,http", 200), ("http, https", 308), (", https", 308)])
def test_of_what_proxies_one_behind_the_other_say_the_first_counts(https, said, status):
    """Else a client of https would be sent to https for ever."""
    with https.client(source="127.0.0.2") as proxy:
        assert proxy.ask(fields=["X-Forwarded-Proto: " + said]).status == status


def test_a_client_without_a_host_cannot_be_sent_anywhere(https):
    response = https.ask(host=None, version="1.0")
    assert (response.status, response.upswap) == (400, "missing-host")


def test_both_at_once_are_one_redirect(start_own_front):
    front = start_own_front(
        Backend(), service={"redirect_https": True, "canonical_host": "www.example.com"}
    )
    assert front.ask(host="example.com", target="/x").get("Location") == "https://www.example.com/x"
    assert front.ask(host=None, version="1.0").get("Location") == "https://www.example.com/"


@pytest.mark.parametrize(
    "host",
    [
        "good.test\r\nSet-Cookie: a=b",
        "good.test@evil.test",
        "evil.test\\@good.test",
        "good.test/evil.test",
        "good.test?x",
        "good.test#x",
        "good.test evil.test",
        "good.test\tx",
        "//evil.test",
        "[::1].evil.test",
        "good.test:80:90",
        "good.test:80@evil.test",
        "good.test:0x50",
        "",
        ":80",
    ],
)
def test_a_host_that_is_no_host_never_gets_into_a_location(https, host):
    with https.client() as client:
        client.send(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        response = client.response()
    location = response.get("Location")
    assert response.all("Set-Cookie") == []
    assert location is None or location == "https://good.test/"
    assert response.status in (308, 400)


@pytest.mark.parametrize(
    "target, path",
    [
        ("//evil.test/x", "//evil.test/x"),
        ("/@evil.test", "/@evil.test"),
        ("/%0d%0aSet-Cookie:%20a=b", "/%0d%0aSet-Cookie:%20a=b"),
        ("/..//../x", "/..//../x"),
        ("http://app.test/abs", "/abs"),
        ("http://app.test?q", "/?q"),
    ],
)
def test_a_path_stays_a_path(https, target, path):
    response = https.ask(host="app.test", target=target)
    assert response.get("Location") == "https://app.test" + path


@pytest.mark.parametrize("target", ["/\r\nSet-Cookie: a=b", "/\\evil.test\\x\r\n", "http://app.test@evil.test/"])
def test_a_target_that_is_none_is_refused(https, target):
    with https.client() as client:
        client.send(f"GET {target} HTTP/1.1\r\nHost: app.test\r\n\r\n".encode())
        response = client.response()
    assert response.status == 400
    assert response.get("Location") is None
