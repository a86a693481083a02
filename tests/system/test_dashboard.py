"""The dashboard at GET / of the admin listeners, and what it is drawn from."""

import pytest

from harness.waiting import wait_until


@pytest.fixture
def front(start_own_front, make_backend):
    return start_own_front(make_backend("one"))


def traffic(admin, query=""):
    return admin.get(f"/v1/services/web/traffic{query}")


def test_the_traffic_of_the_last_minutes_has_slices_and_marks_swaps_and_rollbacks(stand, make_backend):
    for _ in range(3):
        assert stand.ask().status == 200
    name = stand.admin.stage([make_backend("next").address], release="v2", watch="1h")
    stand.events.wait("watch.started", deployment=name)
    assert stand.ask().status == 200
    assert stand.admin.command("rollback", reason="no good").status == 200
    stand.wait_state(name, "rolled_back")

    def slices():
        return traffic(stand.admin)["slices"]

    wait_until(lambda: sum(each["requests"] for each in slices()) == 4, what="the slices with the four requests")
    assert sum(each["errors"] for each in slices()) == 0
    assert all(0 < each["p50"] <= each["p99"] for each in slices() if each["requests"])
    assert [(each["move"], each["deployment"], each["release"]) for each in traffic(stand.admin)["moves"]] == [
        ("swap", name, "v2"),
        ("rollback", name, "v2"),
    ]
    (newest,) = stand.admin.get("/v1/traffic")["services"]
    assert newest["service"] == "web" and newest["seconds"] > 0


def test_a_wrong_stretch_of_traffic_is_refused(front):
    for query in ("?seconds=0", "?seconds=901", "?seconds=x", "?minutes=1"):
        assert front.admin.request("GET", f"/v1/services/web/traffic{query}").status == 400
    assert 'did you mean "web"' in front.admin.request("GET", "/v1/services/wbe/traffic").detail
