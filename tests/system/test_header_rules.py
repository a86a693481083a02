"""Header rules of a service: what the app gets, what the client gets, and who tries to get around them."""

import pytest

from harness.backend import Backend, canned
from harness.daemon import upswapd

HEADERS = {
    "request": {
        "set": {"X-Real-IP": "%{client}", "X-User": "nobody", "X-Route": "%{service}/%{host}/%{proto}"},
        "add": {"X-Seen-By": "upswap %{deployment}"},
        "remove": ["X-Internal-*", "Authorization"],
    },
    "response": {
        "set": {"X-Frame-Options": "DENY", "X-Served-By": "%{deployment} %{instance}"},
        "add": {"Vary": "X-Kind"},
        "remove": ["Server", "X-Powered-By"],
    },
}


@pytest.fixture(scope="module")
def front(start_front):
    return start_front(Backend(), service={"headers": HEADERS}, trusted_proxies=["127.0.0.2"])


def arrived(front, **options):
    front.backend.forget()
    assert front.ask(**options).status == 200
    return front.backend.next_request()[1]


def test_the_app_gets_what_the_rules_say(front):
    request = arrived(front, fields=["X-Seen-By: someone", "Authorization: Basic eA==", "X-Plain: p"])
    assert request.all("X-Real-IP") == ["127.0.0.1"]
    assert request.all("X-Route") == ["web/app.test/http"]
    assert request.all("X-Seen-By") == ["someone", "upswap web-0"]
    assert request.all("Authorization") == []
    assert request.all("X-Plain") == ["p"]


def test_the_client_gets_what_the_rules_say(front):
    front.backend.on(
        "/fields",
        canned(
            b"HTTP/1.1 200 OK\r\nServer: s\r\nX-Powered-By: p\r\nX-Frame-Options: ALLOW\r\nVary: A\r\n"
            b"Content-Length: 2\r\n\r\nok"
        ),
    )
    response = front.ask(target="/fields")
    assert response.all("X-Frame-Options") == ["DENY"]
    assert response.all("X-Served-By") == [f"web-0 {front.backend.address}"]
    assert response.all("Vary") == ["A", "X-Kind"]
    assert response.all("Server") == response.all("X-Powered-By") == []


def test_the_real_client_is_named_behind_a_trusted_proxy_only(front):
    fields = ["X-Forwarded-For: 203.0.113.1, 198.51.100.1"]
    with front.client(source="127.0.0.2") as proxy:
        front.backend.forget()
        proxy.ask(fields=fields)
        assert front.backend.next_request()[1].all("X-Real-IP") == ["198.51.100.1"]
    assert arrived(front, fields=fields).all("X-Real-IP") == ["127.0.0.1"]


@pytest.mark.parametrize(
    "field",
    ["X-User: root", "x-user: root", "X_User: root", "X-Internal-Role: root", "X_INTERNAL_ROLE: root"],
)
def test_no_spelling_gets_past_a_rule(front, field):
    for fields in ([field], [field, field], [field, "Connection: X-User, X-Internal-Role"]):
        request = arrived(front, fields=fields)
        assert b"root" not in request.raw
        assert request.all("X-User") == ["nobody"]
        assert not [name for name, value in request.fields if value == "root"]


def test_a_trailer_does_not_bring_a_removed_field_back(front):
    body = b"2\r\nhi\r\n0\r\nX-User: root\r\nX-Internal-Role: root\r\nX-Sum: 1\r\n\r\n"
    with front.client() as client:
        front.backend.forget()
        client.request("POST", fields=["Transfer-Encoding: chunked"])
        client.send(body)
        assert client.response().status == 200
    assert front.backend.next_request()[1].trailers == [("X-Sum", "1")]


def test_a_value_from_the_client_cannot_end_its_line(front):
    """What a variable stands for was refused or checked before; so no second head can come of it."""
    for host in ("app.test\tX: y", "app.test%0d%0aX:y", 'a"b', "a;b", "a,b", "a@b"):
        front.backend.forget()
        with front.client() as client:
            response = client.ask(host=host)
        if response.status == 200:
            (route,) = front.backend.next_request()[1].all("X-Route")
            assert route == f"web/{host}/http"
        else:
            assert response.upswap == "bad-host"


def test_own_answers_carry_the_rules_of_their_service(start_own_front):
    backend = Backend(listen=False)
    front = start_own_front(backend, service={"headers": HEADERS, "hosts": ["app.test"]})
    refused = front.ask()
    assert refused.upswap == "connect-refused"
    assert refused.all("X-Frame-Options") == ["DENY"]
    unknown = front.ask(host="other.test")
    assert unknown.upswap == "no-route"
    assert unknown.all("X-Frame-Options") == []


def test_forwarded_is_ours_or_a_trusted_proxys_and_ours(start_own_front):
    front = start_own_front(Backend(), service={"forwarded": True}, trusted_proxies=["127.0.0.2"])
    ours = 'for=127.0.0.1;host="app.test";proto=http;by=_upswap'
    assert arrived(front, fields=["Forwarded: for=1.2.3.4"]).all("Forwarded") == [ours]
    with front.client(source="127.0.0.2") as proxy:
        front.backend.forget()
        proxy.ask(fields=["Forwarded: for=198.51.100.1"])
        theirs = ours.replace("127.0.0.1", "127.0.0.2")
        assert front.backend.next_request()[1].all("Forwarded") == ["for=198.51.100.1, " + theirs]


@pytest.mark.parametrize(
    "rules, sentence",
    [
        ({"request": {"set": {"Content-Length": "5"}}}, "upswap's own to write"),
        ({"request": {"add": {"Transfer-Encoding": "chunked"}}}, "upswap's own to write"),
        ({"request": {"add": {"Transfer_Encoding": "chunked"}}}, "upswap's own to write"),
        ({"request": {"add": {"Host": "b"}}}, "exactly one"),
        ({"response": {"set": {"Connection": "x"}}}, "upswap's own to write"),
        ({"request": {"remove": ["X-Forwarded-For"]}}, "upswap's own to write"),
        ({"request": {"set": {"X-A": "b\r\nX-B: c"}}}, "control character"),
        ({"request": {"set": {"X-A": "%{nothing}"}}}, "is not known here"),
        ({"response": {"set": {"X-A": "%{host}"}}}, "is not known here"),
        ({"request": {"set": {"X-A": "%{client"}}}, "is not closed"),
        ({"request": {"set": {"X-A": ""}}}, "is empty"),
        ({"request": {"remove": ["X A"]}}, "no name of a field"),
    ],
)
def test_a_rule_that_could_do_harm_is_refused_with_its_line(make_daemon, rules, sentence):
    daemon = make_daemon([{"name": "web", "headers": rules}])
    daemon.write_config()
    result = upswapd("-t", "-c", daemon.config_path)
    assert result.returncode == 1
    assert sentence in result.stderr
