"""Maintenance: every request of a service gets 503 and a page, whatever happens to the daemon, until it is taken back."""

import json
import os
import threading

import pytest

from harness.backend import Backend, Held
from harness.http2 import Http2Client
from harness.waiting import wait_until

ROLES = ["keeper", "control", "proxy"]
OFF = {"interval": "0s"}


@pytest.fixture
def start(start_own_front):
    def begin(**service):
        return start_own_front(Backend("app"), service={"health": OFF, **service})

    return begin


def switch(front, on, **keys):
    answer = front.admin.command("maintenance", on=on, **keys)
    assert answer.status == 200, answer
    return answer.json


def assert_stopped(response):
    assert (response.status, response.upswap) == (503, "maintenance")


def test_every_request_gets_503_with_retry_after_until_it_is_taken_back(start):
    front = start()
    assert front.ask().status == 200
    assert switch(front, True)["state"] == "maintenance"
    with front.client() as client:
        for _ in range(20):
            assert_stopped(client.ask())
        assert client.ask().get("Retry-After") == "60"
        assert switch(front, False)["state"] == "serving"
        assert client.ask().status == 200
    assert len(front.backend.requests) == 2


@pytest.mark.parametrize("of_service, of_all", [(1000, 0), (0, 1000)])
def test_retry_after_is_told_where_a_rate_is_limited_too(start_own_front, of_service, of_all):
    service = {"health": OFF, "requests_per_address": of_service}
    front = start_own_front(Backend("app"), service=service, limits={"requests_per_address": of_all})
    switch(front, True)
    response = front.ask()
    assert_stopped(response)
    assert response.get("Retry-After") == "60"


def test_a_redirect_in_maintenance_has_nothing_to_wait_for(start):
    front = start(redirect_https=True)
    switch(front, True)
    response = front.ask()
    assert response.status == 308 and response.get("Retry-After") is None


def test_the_message_is_shown_as_text_to_people_and_as_a_text_in_json(start):
    front = start()
    switch(front, True, message='Back at <14:00> & "soon" \\ ü')
    assert '<p>Back at &lt;14:00&gt; &amp; &#34;soon&#34; \\ ü</p>' in front.ask().body.decode()
    answer = front.ask(fields=["Accept: application/json"])
    assert answer.get("Content-Type") == "application/json"
    assert json.loads(answer.body)["detail"] == 'Back at <14:00> & "soon" \\ ü'


def test_a_page_of_its_own_goes_before_the_one_for_503(start, tmp_path):
    os.chmod(tmp_path, 0o755)
    pages = {}
    for name, text in {"work": "work: %{detail}", "sorry": "sorry"}.items():
        pages[name] = str(tmp_path / name)
        (tmp_path / name).write_text(text)
    front = start(
        error_pages=[{"status": [503], "html": pages["sorry"], "json": pages["sorry"]}],
        maintenance={"html": pages["work"], "retry_after": "10m"},
    )
    switch(front, True, message="we move")
    response = front.ask()
    assert response.text == "work: we move" and response.get("Retry-After") == "600"
    assert front.ask(fields=["Accept: application/json"]).text == "sorry"


def test_who_is_allowed_is_served_all_the_same(start):
    front = start(maintenance={"allow": ["127.0.0.2/32"]})
    switch(front, True)
    assert_stopped(front.ask())
    with front.client(source="127.0.0.2") as client:
        assert client.ask().status == 200


def test_streams_of_http2_are_stopped_too(start):
    front = start()
    switch(front, True)
    with Http2Client(front.port) as client:
        answer = client.finish(client.begin("POST", end=False))
        assert answer.status == 503 and answer.get("x-upswap") == "maintenance"


def test_what_is_in_flight_finishes(start):
    front = start()
    held = Held()
    front.backend.on("/held", held)
    with front.client() as client:
        client.request(target="/held")
        held.wait()
        switch(front, True)
        held.release()
        assert client.response().status == 200


def test_no_release_is_judged_by_it(start):
    front = start()
    switch(front, True)
    assert_stopped(front.ask())
    pool = front.admin.service()["pools"][0]
    assert (pool["requests"], pool["errors"]) == (0, 0)


def test_who_asked_is_in_the_events_and_in_status(start):
    front = start()
    events = front.daemon.events()
    switch(front, True, message="we move")
    mode = front.admin.service()["mode"]
    assert mode["message"] == "we move" and mode["asked_by"]["uid"] == os.getuid() and mode["since"]
    event = events.wait("maintenance.started")
    assert event["message"] == "we move" and event["asked_by"]["uid"] == os.getuid()
    switch(front, False)
    assert events.wait("maintenance.ended")["asked_by"]["uid"] == os.getuid()
    assert front.admin.service()["mode"] is None
    assert front.admin.metrics()["upswap_service_mode", frozenset({("service", "web"), ("mode", "serving")})] == 1


def test_what_makes_no_sense_is_refused(start):
    front = start()
    assert "not in maintenance: it serves" in front.admin.command("maintenance", on=False).detail
    assert front.admin.command("pause").status == 200
    assert "but paused; `upswap resume web`" in front.admin.command("maintenance", on=False).detail
    assert front.admin.command("resume").status == 200
    assert front.admin.command("maintenance", on=True, message="x" * 301).status == 422
    assert front.admin.command("maintenance", on=True, message="two\nlines").status == 422
    assert front.admin.command("maintenance", on=False, message="why").status == 400
    assert front.admin.command("maintenance", service="wbe", on=True).status == 404
    assert front.ask().status == 200


def test_a_service_that_has_no_release_yet_can_be_in_maintenance(make_stand, make_backend):
    stand = make_stand(live=0)
    stand.suite.shell("01_pass")
    stand.start()
    assert stand.admin.command("maintenance", on=True).status == 200
    assert_stopped(stand.ask())
    first = make_backend("first")
    stand.daemon.config["services"][0]["instances"] = [first.address]
    stand.daemon.write_config()
    assert stand.admin.post("/v1/reload").status == 200, "the first pool is taken from the config"
    assert stand.admin.live() == "web-0"
    stand.daemon.kill_role("keeper")
    stand.port = stand.daemon.port
    assert_stopped(stand.ask())
    assert stand.admin.command("maintenance", on=False).status == 200
    assert stand.ask().text == "first"


def test_deployments_go_on_behind_it(stand, make_backend):
    assert stand.admin.command("maintenance", on=True).status == 200
    fresh = make_backend("fresh")
    deployment = stand.admin.stage([fresh.address])
    assert stand.events.wait_end(deployment)["type"] == "deployment.done"
    assert_stopped(stand.ask())
    assert stand.admin.command("maintenance", on=False).status == 200
    assert stand.ask().text == "fresh"


@pytest.mark.parametrize("role", ROLES)
def test_it_survives_kill_9(start, role):
    front = start()
    switch(front, True, message="we move")
    stopped, wrong, done = [], [], threading.Event()

    def ask():
        """Connections may break with a proxy; but nobody is served."""
        while not done.is_set():
            try:
                response = front.ask()
                (stopped if response.upswap == "maintenance" else wrong).append(response.status)
            except Exception:  # pylint: disable=broad-except
                done.wait(0.01)

    asker = threading.Thread(target=ask)
    asker.start()
    wait_until(lambda: stopped, what="the first answer")
    front.daemon.kill_role(role)
    front.port = front.daemon.port
    count = len(stopped)
    wait_until(lambda: len(stopped) > count + 20, what="more answers")
    done.set()
    asker.join()
    assert not wrong
    assert "we move" in front.ask().text
    switch(front, False)
    assert front.ask().status == 200


def test_the_command_line_switches_it(start):
    front = start()
    result = front.daemon.upswap("maintenance", "web", "on", "--message", "we move")
    assert result.returncode == 0 and "in maintenance" in result.stdout, result
    assert "we move" in front.ask().text
    status = front.daemon.upswap("status").stdout
    assert "web: maintenance" in status and "we move" in status
    assert front.daemon.upswap("maintenance", "web", "of").returncode == 2
    assert front.daemon.upswap("maintenance", "web", "off", "--message", "x").returncode == 2
    assert front.daemon.upswap("maintenance", "web", "off").returncode == 0
    assert front.ask().status == 200
