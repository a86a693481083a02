"""The heads that reach the instance and the client: what is removed, what is added, what is believed."""

import re

import pytest

from harness.backend import Backend
from harness.http1 import answer, chunked


@pytest.fixture(scope="module")
def front(start_front):
    return start_front(Backend("one"))


@pytest.fixture(scope="module")
def trusting(start_front):
    return start_front(Backend("one"), trusted_proxies=["127.0.0.0/8"])


def seen(front, fields=(), **options):
    """The request as the instance got it, for one with these fields."""
    front.backend.forget()
    assert front.ask(fields=list(fields), **options).status == 200
    return front.backend.next_request()[1]


def returned(front, fields, **options):
    """The response as the client got it, for an answer with these fields."""
    front.backend.on("/fields", answer("x", fields=fields))
    return front.ask(target="/fields", **options)


def test_the_app_is_told_about_the_client(front):
    request = seen(front, host="app.test:8080")
    assert request.get("Host") == "app.test:8080"
    assert request.get("X-Forwarded-For") == "127.0.0.1"
    assert request.get("X-Forwarded-Proto") == "http"
    assert request.get("X-Forwarded-Host") == "app.test:8080"
    assert request.get("X-Forwarded-Port") == str(front.port)
    assert request.get("Via") == "1.1 upswap"
    assert re.fullmatch(r"[0-9A-Za-z_-]{16,64}", request.get("X-Request-Id"))


def test_every_request_gets_an_id_of_its_own_and_the_client_is_told_it(front):
    ids = set()
    with front.client() as client:
        for _ in range(20):
            front.backend.forget()
            response = client.ask()
            request = front.backend.next_request()[1]
            assert response.get("X-Request-Id") == request.get("X-Request-Id")
            ids.add(request.get("X-Request-Id"))
    assert len(ids) == 20


FORGED = [
    "X-Forwarded-For: 6.6.6.6",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: evil.test",
    "X-Forwarded-Port: 666",
    "X-Request-Id: forged",
    "Forwarded: for=6.6.6.6",
]


def test_what_a_stranger_says_about_itself_is_not_believed(front):
    request = seen(front, FORGED)
    assert request.get("X-Forwarded-For") == "127.0.0.1"
    assert request.get("X-Forwarded-Proto") == "http"
    assert request.get("X-Forwarded-Host") == "app.test"
    assert request.get("X-Forwarded-Port") == str(front.port)
    assert request.get("X-Request-Id") != "forged"
    assert request.all("Forwarded") == []


CERTIFICATES = ["Client-Cert: :forged:", "client-cert-chain: :forged:", "Client_Cert: :forged:", "Client-Cert_Chain: :forged:"]


def test_nobody_tells_the_app_of_a_certificate_that_upswap_has_not_seen(front, trusting):
    for own in (front, trusting):
        own.backend.forget()
        fields = [*CERTIFICATES, "Connection: Client-Cert", "Transfer-Encoding: chunked"]
        body = chunked(b"abc", trailers=b"".join(f"{line}\r\n".encode() for line in [*CERTIFICATES, "X-Good: 1"]))
        assert own.ask("POST", "/digest", fields, body).status == 200
        request = own.backend.next_request()[1]
        assert [name for name, value in request.fields if "forged" in value] == []
        assert request.trailers == [("X-Good", "1")]


def test_what_a_trusted_proxy_says_is_kept_and_its_address_appended(trusting):
    request = seen(trusting, FORGED)
    assert request.options("X-Forwarded-For") == ["6.6.6.6", "127.0.0.1"]
    assert request.get("X-Forwarded-Proto") == "https"
    assert request.get("X-Forwarded-Host") == "evil.test"
    assert request.get("X-Forwarded-Port") == "666"
    assert request.get("X-Request-Id") == "forged"


def test_via_is_appended_to(front):
    assert seen(front, ["Via: 1.0 cache"]).options("Via") == ["1.0 cache", "1.1 upswap"]


def test_via_names_the_version_that_was_received(front):
    assert seen(front, version="1.0").options("Via") == ["1.0 upswap"]


HOP_BY_HOP = [
    "Connection: close, X-Mine",
    "X-Mine: secret",
    "Keep-Alive: timeout=5",
    "Proxy-Connection: keep-alive",
    "Proxy-Authorization: Basic x",
    "TE: gzip",
    "Upgrade: something",
]


def test_hop_by_hop_fields_do_not_reach_the_instance(front):
    request = seen(front, HOP_BY_HOP)
    names = {name.lower() for name, _ in request.fields}
    assert not names & {"x-mine", "keep-alive", "proxy-connection", "te", "upgrade", "proxy-authorization"}


def test_hop_by_hop_fields_do_not_reach_the_client(front):
    response = returned(
        front,
        ["Connection: X-Mine, keep-alive", "X-Mine: secret", "Keep-Alive: timeout=5", "Proxy-Connection: close"],
    )
    names = {name.lower() for name, _ in response.fields}
    assert not names & {"x-mine", "keep-alive", "proxy-connection"}
    assert response.keeps_alive


@pytest.mark.parametrize(
    "name", ["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port", "X-Request-Id", "Via"]
)
def test_connection_cannot_remove_a_field_that_upswap_sets(front, name):
    assert len(seen(front, [f"Connection: {name}"]).options(name)) == 1


@pytest.mark.parametrize("name", ["Host", "Content-Length", "Transfer-Encoding", "Content-Type"])
def test_connection_cannot_remove_what_the_message_needs(front, name):
    body = b"abc"
    request = seen(front, [f"Connection: {name}", "Content-Type: text/plain"], method="POST", body=body)
    assert request.body == body and request.get("Host") == "app.test"


def test_other_fields_reach_the_instance_in_order_and_unchanged(front):
    fields = ["X-B: 1", "x-a: two words", "X-B: 3", "Cookie: a=b; c=d", "Accept: */*", "Authorization: Basic eA=="]
    request = seen(front, fields)
    kept = [f"{n}: {v}" for n, v in request.fields if n.lower() in ("x-a", "x-b", "cookie", "accept", "authorization")]
    assert kept == fields


def test_other_fields_reach_the_client_in_order_and_unchanged(front):
    fields = ["Set-Cookie: a=b", "X-A: 1", "set-cookie: c=d", "Server: mine", "Vary: *"]
    response = returned(front, fields)
    kept = [f"{n}: {v}" for n, v in response.fields if n.lower() in ("set-cookie", "x-a", "server", "vary")]
    assert kept == fields


def test_te_trailers_is_the_only_te_that_passes(front):
    assert seen(front, ["TE: trailers, gzip", "Connection: TE"]).options("TE") == ["trailers"]


def test_only_upswap_speaks_in_x_upswap(front):
    assert returned(front, ["X-Upswap: lies"]).all("X-Upswap") == []
    assert seen(front, ["X-Upswap: lies"]).all("X-Upswap") in ([], ["lies"])


def test_an_answer_without_date_gets_one(front):
    assert re.fullmatch(
        r"[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT", returned(front, []).get("Date")
    )
    date = "Sun, 06 Nov 1994 08:49:37 GMT"
    assert returned(front, [f"Date: {date}"]).all("Date") == [date]


def test_the_status_and_phrase_pass_unchanged(front):
    front.backend.on("/odd", answer("x", "299 Fine, mostly"))
    assert front.ask(target="/odd").start_line == b"HTTP/1.1 299 Fine, mostly"


def test_a_stripped_prefix_is_taken_off_at_segment_boundaries(start_own_front):
    front = start_own_front(Backend("one"), service={"paths": ["/api", "/deep/er"], "strip_path": True})
    targets = {
        "/api": "/",
        "/api/": "/",
        "/api/x?q=/api": "/x?q=/api",
        "/api?q": "/?q",
        "/deep/er/x": "/x",
        "/api//x": "//x",
    }
    for target, expected in targets.items():
        assert seen(front, target=target).target == expected, target
    assert front.ask(target="/apix").status == 404


@pytest.mark.parametrize("strip", [False, True])
def test_no_path_leads_above_the_prefix_of_its_service(start_own_front, strip):
    front = start_own_front(Backend("one"), service={"paths": ["/api"], "strip_path": strip})
    for target in ("/api/../admin", "/api/x/%2e%2E/..", "/api//../admin", "/api/..;v=1/admin", "/api/..%2fadmin"):
        response = front.ask(target=target)
        assert (response.status, response.upswap) == (400, "path-above-prefix"), target
    assert not front.backend.requests
    for target in ("/api/x/../y", "/api/./x", "/api/..x/...", "/api/a%2fb"):
        assert seen(front, target=target).target == target[4 if strip else 0 :]


def test_the_longest_prefix_and_the_most_exact_host_win(start_own_front):
    names = ["any", "wild", "deep", "exact", "path"]
    backends = {name: Backend(name) for name in names}
    routes = {
        "any": {},
        "wild": {"hosts": ["*.app.test"]},
        "deep": {"hosts": ["*.deep.app.test"]},
        "exact": {"hosts": ["www.app.test"]},
        "path": {"hosts": ["www.app.test"], "paths": ["/api/v1"]},
    }
    services = [{"name": n, "instances": [backends[n].address], **routes[n]} for n in names[1:]]
    front = start_own_front(
        *backends.values(), service={"name": "any", "instances": [backends["any"].address]}
    )
    front.daemon.config["services"] += services
    front.daemon.write_config()
    assert front.daemon.upswap("reload").returncode == 0
    expected = {
        ("app.test", "/"): "any",
        ("other", "/"): "any",
        ("a.app.test", "/"): "wild",
        ("A.App.Test.", "/"): "wild",
        ("x.y.app.test:99", "/"): "wild",
        ("x.deep.app.test", "/"): "deep",
        ("www.app.test", "/"): "exact",
        ("WWW.APP.TEST:80", "/api/v10"): "exact",
        ("www.app.test", "/api/v1"): "path",
        ("www.app.test", "/api/v1/x?y"): "path",
    }
    assert {key: front.ask(host=key[0], target=key[1]).text for key in expected} == expected
