"""Previews: a look at the staged pool before anybody else gets it."""

import pytest

from harness.backend import Held
from harness.client import RawClient, ask
from harness.daemon import upswapd
from harness.session import Session
from harness.waiting import wait_until

SECRET = "only-for-our-eyes"


@pytest.fixture
def make_preview(make_stand, make_backend):
    """A stand with a listener for previews (.preview asks it) and a pool "fresh" that is held."""

    def make(**service):
        listeners = [{"address": "127.0.0.1:0"}, {"address": "127.0.0.1:0", "view": "staged"}]
        stand = make_stand(service=service, listeners=listeners)
        stand.suite.shell("01")
        stand.start()
        port = stand.daemon.ports()[1]
        stand.preview = lambda *arguments, **options: ask(port, *arguments, **options)
        stand.fresh = make_backend("fresh")
        return stand

    return make


def stage_held(stand):
    deployment = stand.admin.stage([stand.fresh.address], hold=True)
    stand.wait_state(deployment, "held")
    wait_until(lambda: stand.preview().status == 200, what="the preview")
    return deployment


def test_a_listener_of_staged_pools_shows_the_held_pool_and_the_others_do_not(make_preview):
    stand = make_preview()
    stage_held(stand)
    assert stand.preview().text == "fresh"
    assert {stand.ask().text for _ in range(5)} == {"live-0"}


def test_without_a_staged_pool_the_preview_says_so(make_preview):
    stand = make_preview()
    answer = stand.preview()
    assert answer.status == 503 and answer.upswap == "no-staged-pool"
    assert "no staged pool" in answer.text
    deployment = stage_held(stand)
    stand.admin.command("abort")
    stand.events.wait_end(deployment)
    wait_until(lambda: stand.preview().upswap == "no-staged-pool", what="the preview to be over")


def test_a_pool_can_be_looked_at_while_it_is_tested(make_preview, puppets):
    stand = make_preview()
    stand.suite.add("02", puppets.program)
    deployment = stand.admin.stage([stand.fresh.address])
    stand.wait_state(deployment, "testing")
    wait_until(lambda: stand.preview().status == 200, what="the preview")
    assert stand.preview().text == "fresh" and stand.ask().text == "live-0"
    puppets.let_go()
    stand.events.wait_end(deployment)


def test_the_secret_field_leads_to_the_staged_pool_over_any_listener(make_preview):
    stand = make_preview(preview={"secret": SECRET})
    stage_held(stand)
    assert stand.ask(fields=[f"X-Upswap-Preview: {SECRET}"]).text == "fresh"
    assert not [name for name, _ in stand.fresh.requests[-1].fields if name.lower() == "x-upswap-preview"]
    for wrong in ("", "only-for-your-eyes", SECRET[:-1], SECRET.upper()):
        assert stand.ask(fields=[f"X-Upswap-Preview: {wrong}"]).text == "live-0"
    assert stand.ask().text == "live-0"


def test_a_preview_gives_and_takes_no_session(make_preview):
    stand = make_preview(pin="cookie", affinity={})
    stage_held(stand)
    session = Session(stand)
    session.ask()
    cookies = "; ".join(f"{name}={value}" for name, value in session.cookies.items())
    answer = stand.preview(fields=[f"Cookie: {cookies}"])
    assert answer.text == "fresh" and not answer.all("Set-Cookie")
    assert not [name for name, _ in stand.fresh.requests[-1].fields if name.lower() == "cookie"]


def test_previews_go_on_in_a_pause_and_in_maintenance(make_preview):
    stand = make_preview()
    stage_held(stand)
    assert stand.admin.command("pause").status == 200
    assert stand.preview().text == "fresh"
    assert stand.admin.command("resume").status == 200
    assert stand.admin.command("maintenance", on=True).status == 200
    assert stand.preview().text == "fresh"
    wait_until(lambda: stand.ask().upswap == "maintenance", what="the maintenance")


def test_a_preview_in_flight_finishes_when_the_pool_is_given_up(make_preview, make_backend):
    stand = make_preview()
    slow = Held(b"late\n")
    stand.fresh.on("/slow", slow)
    deployment = stage_held(stand)
    with RawClient(stand.daemon.ports()[1]) as client:
        client.request("GET", "/slow")
        slow.wait()
        stand.admin.command("abort")
        stand.events.wait_end(deployment)
        slow.release()
        assert client.response().body == b"late\n"
    stand.events.wait("teardown.finished", deployment=deployment)


def test_a_secret_that_can_be_guessed_is_refused_and_not_shown(make_daemon):
    daemon = make_daemon([{"name": "web", "instances": ["127.0.0.1:9"], "preview": {"secret": "short"}}])
    daemon.write_config()
    done = upswapd("-t", "-c", daemon.config_path)
    assert done.returncode == 1 and "16 to 255 visible letters" in done.stderr and "short\"" not in done.stderr


def test_the_preview_is_open_while_all_others_meet_the_maintenance(make_preview):
    stand = make_preview(preview={"header": "X-Preview", "secret": SECRET})
    stage_held(stand)
    assert stand.admin.command("maintenance", on=True).status == 200
    assert stand.ask().upswap == "maintenance"
    assert stand.preview().text == "fresh"
    assert stand.ask(fields=[f"X-Preview: {SECRET}"]).text == "fresh"
