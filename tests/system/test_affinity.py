"""Affinity: a client comes back to its instance by a signed cookie."""

import os
import re
import stat
from collections import Counter

import pytest

from harness.session import Session


def forged(stand):
    return sum(value for (name, _), value in stand.admin.metrics().items() if name == "upswap_forged_cookies_total")


@pytest.fixture
def stand(make_stand):
    made = make_stand(4, service={"affinity": {}})
    made.suite.shell("01_pass")
    return made.start()


def test_each_client_comes_back_to_its_instance(stand):
    sessions = [Session(stand) for _ in range(12)]
    homes = [session.ask() for session in sessions]
    assert set(homes) == {b.name for b in stand.live}
    for _ in range(5):
        assert [session.ask() for session in sessions] == homes
        assert not any(session.given for session in sessions), "a valid cookie was renewed"
    assert forged(stand) == 0


def test_the_cookie_tells_nothing_and_stays_here(stand):
    session = Session(stand)
    home = session.ask()
    (line,) = session.given
    assert re.fullmatch(r"upswap=[A-Za-z0-9_-]{43}; Path=/; HttpOnly; SameSite=Lax", line)
    backend = next(b for b in stand.live if b.name == home)
    session.ask(fields=["Cookie: mine=1; upswap=old; other=2"])
    seen = [field for field in backend.requests[-1].fields if field[0].lower() == "cookie"]
    assert "upswap" not in str(seen)


def test_cookies_outlive_every_restart_and_reload(stand):
    sessions = [Session(stand) for _ in range(8)]
    homes = [session.ask() for session in sessions]
    for role in ("proxy", "control", "keeper"):
        stand.daemon.kill_role(role)
        stand.port = stand.daemon.port
        assert [session.ask() for session in sessions] == homes, role
    assert stand.admin.post("/v1/reload").status == 200
    assert [session.ask() for session in sessions] == homes
    assert not any(session.given for session in sessions)


def test_the_keys_are_for_the_daemons_eyes_only(stand):
    path = stand.daemon.path("state", "secrets")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_a_client_whose_instance_is_out_of_rotation_gets_another_one_for_good(stand):
    session = Session(stand)
    home = session.ask()
    backend = next(b for b in stand.live if b.name == home)
    assert stand.admin.command("drain", instance=backend.address).status == 200
    other = session.ask()
    assert other != home and len(session.given) == 1
    assert stand.admin.command("enable", instance=backend.address).status == 200
    assert {session.ask() for _ in range(8)} == {other}, "it went back"


def test_a_client_whose_instance_refuses_gets_another_one(stand):
    session = Session(stand)
    home = session.ask()
    next(b for b in stand.live if b.name == home).close()
    other = session.ask()
    assert other != home and len(session.given) == 1
    assert {session.ask() for _ in range(4)} == {other}


def test_a_swap_gives_every_client_a_new_instance(stand, make_backend):
    session = Session(stand)
    session.ask()
    fresh = [make_backend(f"fresh-{number}") for number in range(3)]
    stand.events.wait_end(stand.admin.stage([b.address for b in fresh]))
    home = session.ask()
    assert home.startswith("fresh") and len(session.given) == 1
    assert {session.ask() for _ in range(6)} == {home}
    assert forged(stand) == 0, "the cookie of an earlier pool is no forgery"


def test_a_forged_cookie_is_as_none_and_is_counted(stand):
    session = Session(stand)
    session.ask()
    token = session.cookies["upswap"]
    for number, wrong in enumerate(["", "x", token[:-1], token + "A", "A" * 43, token[::-1], "A" * 4000], 1):
        homes = Counter()
        for _ in range(8):
            answer = stand.ask(fields=[f"Cookie: upswap={wrong}"])
            assert answer.status == 200 and len(answer.all("Set-Cookie")) == 1
            homes[answer.text] += 1
        assert len(homes) > 1, f"{wrong[:50]!r} bound its clients"
        assert forged(stand) == 8 * number


def test_a_cookie_of_another_service_or_installation_binds_nobody(make_stand, make_backend):
    backends = [make_backend(f"b-{number}") for number in range(3)]
    stand = make_stand(0, service={"affinity": {}})
    addresses = [b.address for b in backends]
    stand.daemon.config["services"][0].update(paths=["/"], instances=addresses)
    stand.daemon.config["services"].append(
        {"name": "api", "paths": ["/api"], "instances": addresses, "affinity": {"duration": "1h"}}
    )
    stand.start()
    web = stand.ask(target="/").all("Set-Cookie")[0].split(";")[0]
    api = stand.ask(target="/api").all("Set-Cookie")[0]
    assert "; Path=/api; Max-Age=3600; HttpOnly" in api
    assert stand.ask(target="/api", fields=[f"Cookie: {web}"]).all("Set-Cookie")
    # A browser sends both, that of the longer path first; each service finds its own.
    both = [f"Cookie: {api.split(';')[0]}; {web}"]
    assert not stand.ask(target="/api", fields=both).all("Set-Cookie")
    assert not stand.ask(target="/", fields=both).all("Set-Cookie")
    other = make_stand(0, service={"affinity": {}, "instances": addresses}).start()
    assert other.ask(fields=[f"Cookie: {web}"]).all("Set-Cookie")


def test_a_proxy_that_is_believed_makes_the_cookie_secure(make_stand):
    stand = make_stand(1, service={"affinity": {}}, trusted_proxies=["127.0.0.0/8"]).start()
    https = stand.ask(fields=["X-Forwarded-Proto: https"]).all("Set-Cookie")[0]
    http = stand.ask(fields=["X-Forwarded-Proto: http"]).all("Set-Cookie")[0]
    assert https.endswith("; Secure") and "Secure" not in http


def test_without_affinity_there_is_no_cookie(make_stand):
    stand = make_stand(1).start()
    answer = stand.ask(fields=["Cookie: upswap=x"])
    assert not answer.all("Set-Cookie")
    assert ("Cookie", "upswap=x") in [tuple(f) for f in stand.live[0].requests[-1].fields]
