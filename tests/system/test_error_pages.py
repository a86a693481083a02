"""Error pages from files: what is sent, when they are read, and what a request cannot put into them."""

import os

import pytest

from harness.backend import Backend, canned
from harness.daemon import upswapd


@pytest.fixture
def write(tmp_path):
    def to(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        os.chmod(path, 0o644)
        return str(path)

    os.chmod(tmp_path, 0o755)
    return to


def down(start, pages, **options):
    return start(Backend(listen=False), service={"error_pages": pages, **options})


def test_a_page_is_sent_with_the_status_and_the_reason(start_own_front, write):
    html = write("sorry.html", "<h1>%{status}</h1> %{reason}: %{detail} (%{request_id}) %{other}")
    front = down(start_own_front, [{"status": [502, 503], "html": html}])
    response = front.ask()
    assert response.status == 502
    assert response.upswap == "connect-refused"
    assert response.get("Content-Type") == "text/html; charset=utf-8"
    request_id = response.get("X-Request-Id")
    assert response.text == (
        f"<h1>502</h1> connect-refused: No instance accepted a connection. ({request_id}) %{{other}}"
    )


def test_json_and_html_are_chosen_as_ever(start_own_front, write):
    json = write("sorry.json", '{"sorry": %{status}}')
    front = down(start_own_front, [{"status": [502], "json": json}])
    asked = front.ask(fields=["Accept: application/json"])
    assert asked.get("Content-Type") == "application/json"
    assert asked.text == '{"sorry": 502}'
    for others in (20, 60):  # kept for the answer, and too long for that
        wish = ", ".join([*(f"image/{number}" for number in range(others)), "application/json"])
        assert front.ask(fields=[f"Accept: {wish}"]).text == '{"sorry": 502}'
    assert "<!doctype html>" in front.ask().text  # the built-in one


def test_a_head_that_is_refused_or_does_not_come_is_answered_as_its_accept_says(start_own_front):
    front = start_own_front(Backend(), defaults={"timeouts": {"head": "200ms"}})
    for rest, status in (("Host: a\r\nContent-Length: x\r\n\r\n", 400), ("\r\n", 400), ("Host: a\r\n", 408)):
        for accept, kind in (("application/json", "application/json"), ("text/html", "text/html; charset=utf-8")):
            with front.client() as client:
                client.send(f"GET / HTTP/1.1\r\nAccept: {accept}\r\n{rest}".encode())
                response = client.response()
            assert (response.status, response.get("Content-Type")) == (status, kind)


def test_other_statuses_and_answers_of_the_app_are_left_alone(start_own_front, write):
    page = write("sorry.html", "sorry")
    backend = Backend()
    backend.on("/broken", canned(b"HTTP/1.1 502 Bad\r\nContent-Length: 3\r\n\r\napp"))
    front = start_own_front(backend, service={"error_pages": [{"status": [502, 413], "html": page}], "body": 5})
    assert front.ask(target="/broken").text == "app"
    assert front.ask("POST", body=b"123456").text == "sorry"


def test_a_page_of_the_largest_size_is_sent_whole_to_a_slow_reader(start_own_front, write):
    content = os.urandom(65536).replace(b"%{", b"..")
    front = down(start_own_front, [{"status": [502], "html": write("big.html", content)}])
    with front.client(receive_buffer=4096) as client:
        for _ in range(4):
            client.request()
        for _ in range(4):
            assert client.response().body == content


def test_head_is_told_the_length(start_own_front, write):
    front = down(start_own_front, [{"status": [502], "html": write("p.html", "12345 %{status}")}])
    response = front.ask("HEAD")
    assert (response.get("Content-Length"), response.body) == ("9", b"")


def test_an_id_that_is_markup_does_not_get_into_the_page(start_own_front, write):
    page = write("p.html", "[%{request_id}]")
    front = start_own_front(
        Backend(listen=False),
        service={"error_pages": [{"status": [502], "html": page}]},
        trusted_proxies=["127.0.0.1"],
    )
    assert front.ask(fields=["X-Request-Id: abc-1"]).text == "[abc-1]"
    for evil in ("<script>alert(1)</script>", '"onload=x', "a&lt;b", "a'b"):
        assert front.ask(fields=[f"X-Request-Id: {evil}"]).text == "[]"


def test_pages_are_read_again_on_reload_and_a_bad_one_changes_nothing(start_own_front, write):
    page = write("p.html", "first")
    front = down(start_own_front, [{"status": [502], "html": page}])
    assert front.ask().text == "first"
    write("p.html", "second")
    assert front.ask().text == "first"
    assert front.daemon.upswap("reload").returncode == 0
    assert front.ask().text == "second"
    os.unlink(page)
    refused = front.daemon.upswap("reload")
    assert refused.returncode == 1
    assert "p.html" in refused.stderr
    assert front.ask().text == "second"


def test_services_take_the_pages_of_defaults_or_their_own(start_own_front, write):
    general, special = write("general.html", "general"), write("special.html", "special")
    front = start_own_front(
        Backend(listen=False), defaults={"error_pages": [{"status": [502], "html": general}]}
    )
    web = front.daemon.config["services"][0]
    front.daemon.config["services"].append(
        {**web, "name": "own", "hosts": ["own.test"], "error_pages": [{"status": [502], "html": special}]}
    )
    front.daemon.write_config()
    assert front.daemon.upswap("reload").returncode == 0
    assert front.ask().text == "general"
    assert front.ask(host="own.test").text == "special"


@pytest.mark.parametrize(
    "content, status, sentence",
    [
        (None, 502, "cannot be read"),
        ("", 502, "is empty"),
        ("x" * 65537, 502, "more than 65536 bytes"),
        ("%{status}" * 65, 502, "more than 64 places"),
        ("x", 200, "from 400 to 599"),
        ("x", "502", "must be a whole number"),
    ],
)
def test_a_page_that_cannot_be_used_is_refused_with_its_line(make_daemon, write, tmp_path, content, status, sentence):
    path = write("p.html", content) if content is not None else str(tmp_path / "missing.html")
    daemon = make_daemon([{"name": "web", "error_pages": [{"status": [status], "html": path}]}])
    daemon.write_config()
    result = upswapd("-t", "-c", daemon.config_path)
    assert result.returncode == 1
    assert sentence in result.stderr
    assert f"{daemon.config_path}:" in result.stderr
