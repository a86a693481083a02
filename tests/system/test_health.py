"""Active checks: who is down gets nothing, who is back gets its part, and a pool is never emptied."""

import pytest

from conftest import Front
from harness.backend import Backend
from harness.certificates import Authority
from harness.http2 import END_HEADERS, HEADERS, PING, RST_STREAM, SETTINGS, Http2Instance, frame
from harness.waiting import stays, wait_until

FAST = {"interval": "50ms", "timeout": "1s", "rise": 2, "fall": 2}
PATH = {**FAST, "path": "/up"}


def states(admin, service="web"):
    """The states of the live pool's instances, by address."""
    live = admin.live(service)
    return {each["address"]: each["state"] for each in admin.pool(live, service)["instances"]}


def wait_state(admin, backend, state):
    return wait_until(lambda: states(admin)[backend.address] == state, what=f"{backend.address} to be {state}")


def switchable(backend, status="200 OK"):
    """GET /up is answered with backend.health."""
    backend.health = status

    def script(connection, request):
        request.read_body(connection)
        connection.answer(b"", status=connection.backend.health)
        connection.close()

    backend.on("/up", script)
    return backend


def who_answers(front, count=8):
    """The bodies of so many requests."""
    answers = [front.ask() for _ in range(count)]
    assert {answer.status for answer in answers} == {200}, answers
    return {answer.body for answer in answers}


@pytest.fixture
def pair(start_own_front, make_backend):
    """start(**health): a front with two instances that can be asked for their health."""

    def start(**health):
        backends = [switchable(Backend(name)) for name in ("a", "b")]
        front = start_own_front(*backends, service={"hosts": ["app.test"], "health": {**PATH, **health}})
        front.events = front.daemon.events()
        return front

    return start


def test_an_instance_that_fails_its_checks_gets_no_requests_and_comes_back(pair):
    front = pair()
    a, b = front.backends
    a.health = "500 Oh"
    event = front.events.wait("instance.ejected")
    assert (event["service"], event["deployment"], event["instance"]) == ("web", "web-0", a.address)
    assert event["by"] == "check" and "answered GET /up with 500" in event["reason"]
    wait_state(front.admin, a, "down")
    wait_until(lambda: who_answers(front) == {b"b"}, what="only b to answer")
    assert who_answers(front, 20) == {b"b"}
    metrics = front.admin.metrics()
    up = {dict(labels)["instance"]: value for (name, labels), value in metrics.items() if name == "upswap_instance_up"}
    assert up == {a.address: 0, b.address: 1}
    a.health = "204 No Content"
    assert front.events.wait("instance.restored")["instance"] == a.address
    wait_until(lambda: who_answers(front) == {b"a", b"b"}, what="both to answer")
    assert states(front.admin) == {a.address: "up", b.address: "up"}


def test_checks_ask_with_the_services_host(pair):
    front = pair()
    wait_until(lambda: front.backend.requests_of("/up"), what="a check")
    request = front.backend.requests_of("/up")[0]
    assert request.method == "GET" and request.get("Host") == "app.test"
    assert request.get("User-Agent").startswith("upswap-health") and request.get("Connection") == "close"


def test_a_redirect_is_a_pass(pair):
    front = pair()
    for backend in front.backends:
        backend.health = "301 Moved"
    seen = len(front.backend.requests_of("/up"))
    wait_until(lambda: len(front.backend.requests_of("/up")) > seen + 4, what="more checks")
    assert set(states(front.admin).values()) == {"up"} and not front.events.of("instance.ejected")


def test_when_all_are_down_all_are_tried(pair):
    front = pair()
    for backend in front.backends:
        backend.health = "503 Oh"
    last = front.events.wait("instance.ejected", count=2)
    assert "no instance of the pool is up" in last["reason"]
    for backend in front.backends:
        wait_state(front.admin, backend, "down")
    wait_until(lambda: who_answers(front) == {b"a", b"b"}, what="both to be tried")
    assert "all are tried" in front.daemon.stderr()


def test_by_default_an_instance_that_accepts_no_connection_is_down(start_own_front):
    a, b = Backend("a"), Backend("b", listen=False)
    front = start_own_front(a, b)
    event = front.daemon.events().wait("instance.ejected")
    assert event["instance"] == b.address and "does not accept a connection" in event["reason"]
    wait_state(front.admin, b, "down")
    assert who_answers(front) == {b"a"}


def test_an_instance_that_hangs_is_down_after_the_timeout(pair):
    def hang(connection, request):
        connection.ended.wait(20)

    front = pair(timeout="50ms")
    front.backend.on("/up", hang)
    event = front.events.wait("instance.ejected")
    assert event["instance"] == front.backend.address and "within 0.05 s" in event["reason"]


def test_without_an_interval_there_are_no_checks(start_own_front):
    backend = Backend("a", listen=False)
    other = Backend("b")
    front = start_own_front(backend, other, service={"health": {"interval": "0s"}})
    assert stays(lambda: set(states(front.admin).values()) == {"up"}, 1.0) is None
    assert not other.connections


def test_drained_by_hand_wins_over_its_checks(pair):
    front = pair()
    a, b = front.backends
    assert front.admin.command("drain", instance=a.address).status == 200
    assert states(front.admin)[a.address] == "drained"
    assert who_answers(front) == {b"b"}
    b.health = "500 Oh"
    front.events.wait("instance.ejected")
    assert who_answers(front) == {b"b"}  # the only one in rotation, though it is down
    assert front.admin.command("enable", instance=a.address).status == 200
    wait_until(lambda: who_answers(front) == {b"a"}, what="the one that is up to answer alone")


def test_a_reload_switches_checks_off_and_on(pair):
    front = pair()
    a, b = front.backends
    a.health = "500 Oh"
    wait_state(front.admin, a, "down")

    def reload(health):
        front.daemon.config["services"][0]["health"] = health
        front.daemon.write_config()
        assert front.admin.post("/v1/reload").status == 200

    reload({"interval": "0s"})
    assert states(front.admin)[a.address] == "up"
    assert who_answers(front) == {b"a", b"b"}
    reload(PATH)
    front.events.wait("instance.ejected", count=2)
    wait_until(lambda: who_answers(front) == {b"b"}, what="only b to answer")


def test_a_new_control_goes_on_with_what_is_known(pair):
    front = pair(interval="300ms")
    a, b = front.backends
    a.health = "500 Oh"
    wait_state(front.admin, a, "down")
    front.daemon.kill_role("control")
    assert states(front.admin)[a.address] == "down"
    assert who_answers(front) == {b"b"}
    seen = len(a.requests_of("/up"))
    wait_until(lambda: len(a.requests_of("/up")) > seen + 3, what="more checks")
    assert len(front.events.of("instance.ejected")) == 1 and not front.events.of("instance.restored")
    a.health = "200 OK"
    front.events.wait("instance.restored")


def test_a_new_proxy_knows_who_is_down(pair):
    front = pair()
    a, b = front.backends
    a.health = "500 Oh"
    wait_state(front.admin, a, "down")
    front.daemon.kill_role("proxy")
    assert who_answers(front, 20) == {b"b"}


def test_after_a_start_the_first_check_decides(start_own_front):
    a, b = Backend("a", listen=False), Backend("b")
    front = start_own_front(a, b, service={"health": {**FAST, "fall": 1000}})
    wait_state(front.admin, a, "down")


def test_a_pool_that_is_swapped_in_counts_as_up(make_stand, make_backend):
    stand = make_stand(live=2, service={"health": {**PATH, "fall": 1000}})
    for backend in stand.live:
        switchable(backend, "500 Oh")
    stand.suite.shell("01_pass")
    stand.start()
    for backend in stand.live:
        wait_until(lambda backend=backend: states(stand.admin)[backend.address] == "down", what="down")
    new = [switchable(make_backend(f"new-{number}"), "500 Oh") for number in range(2)]
    stand.events.wait_end(stand.admin.stage([backend.address for backend in new]))
    wait_until(lambda: all(len(backend.requests_of("/up")) > 3 for backend in new), what="checks of the new pool")
    assert set(states(stand.admin).values()) == {"up"}


@pytest.mark.parametrize("canary", [None, [50]], ids=["swap", "canary"])
def test_a_held_pool_of_which_an_instance_is_down_is_rejected_when_it_is_promoted(make_stand, make_backend, canary):
    """Though it accepts connections."""
    stand = make_stand(live=1, service={"health": PATH})
    switchable(stand.live[0])
    stand.suite.shell("01_pass")
    stand.start()
    well, sick = (switchable(make_backend(name)) for name in ("well", "sick"))
    held = stand.admin.stage([well.address, sick.address], hold=True, **({"canary": canary} if canary else {}))
    stand.events.wait("deployment.held", deployment=held)
    sick.health = "500 Oh"
    assert stand.events.wait("instance.ejected", deployment=held)["instance"] == sick.address
    stand.admin.command("promote")
    assert stand.events.wait_end(held)["type"] == "deployment.rejected"
    assert f"instance {sick.address} accepts connections, but its checks" in stand.admin.deployment(held)["reason"]
    assert stand.ask().text == "live-0"


def test_a_held_pool_that_is_half_up_is_swapped_in_where_nothing_else_is_up(make_stand, make_backend):
    stand = make_stand(live=1, service={"health": PATH})
    live = switchable(stand.live[0])
    stand.suite.shell("01_pass")
    stand.start()
    well, sick = (switchable(make_backend(name)) for name in ("well", "sick"))
    held = stand.admin.stage([well.address, sick.address], hold=True)
    stand.events.wait("deployment.held", deployment=held)
    sick.health = live.health = "500 Oh"
    both = {live.address, sick.address}
    wait_until(lambda: both <= {each["instance"] for each in stand.events.of("instance.ejected")}, what="both to be down")
    stand.admin.command("promote")
    assert stand.events.wait_end(held)["type"] == "deployment.done"
    wait_until(lambda: stand.ask().text == "well", what="the instance that is up to answer")


def test_a_canary_of_which_an_instance_is_down_goes_on_by_its_watch(make_stand, make_backend):
    stand = make_stand(live=1, service={"health": PATH})
    switchable(stand.live[0])
    stand.suite.shell("01_pass")
    stand.start()
    well, sick = (switchable(make_backend(name)) for name in ("well", "sick"))
    canary = stand.admin.stage([well.address, sick.address], canary=[50], step="1h")
    stand.events.wait("canary.step", deployment=canary)
    sick.health = "500 Oh"
    stand.events.wait("instance.ejected", deployment=canary)
    stand.admin.command("promote")
    assert stand.events.wait_end(canary)["type"] == "deployment.done"


def test_a_swap_works_while_states_change(make_stand, make_backend):
    stand = make_stand(live=2, service={"health": {**PATH, "interval": "10ms", "rise": 1, "fall": 1}})
    stand.suite.shell("01_pass")
    flips = {"count": 0}

    def flapping(connection, request):
        flips["count"] += 1
        request.read_body(connection)
        connection.answer(b"", status="200 OK" if flips["count"] % 2 else "500 Oh")
        connection.close()

    def made(name):
        backend = make_backend(name)
        backend.on("/up", flapping)
        return backend

    for backend in stand.live:
        backend.on("/up", flapping)
    stand.start()
    for number in range(5):
        pool = [made(f"new-{number}-{each}") for each in range(2)]
        end = stand.events.wait_end(stand.admin.stage([backend.address for backend in pool]))
        assert end["type"] == "deployment.done", end
        assert stand.ask().status == 200
    assert stand.events.of("instance.ejected")
    assert "refuses version" not in stand.daemon.stderr()


def test_worlds_of_many_changes_are_few(start_own_front):
    backends = [switchable(Backend(f"b{number}")) for number in range(40)]
    front = start_own_front(*backends, service={"health": {**PATH, "rise": 1, "fall": 1}})
    events = front.daemon.events()
    wait_until(lambda: all(backend.requests_of("/up") for backend in backends), what="a check of each")
    before = front.admin.status()["snapshot"]
    for backend in backends:
        backend.health = "500 Oh"
    events.wait("instance.ejected", count=40)
    wait_until(lambda: set(states(front.admin).values()) == {"down"}, what="all to be down")
    assert front.admin.status()["snapshot"] - before <= 10


def test_one_that_comes_back_starts_slowly(start_own_front):
    backends = [switchable(Backend(name)) for name in ("a", "b")]
    service = {"health": PATH, "slow_start": "30s"}
    front = start_own_front(*backends, service=service, workers=1)
    events = front.daemon.events()
    a, b = backends
    a.health = "500 Oh"
    wait_state(front.admin, a, "down")
    a.health = "200 OK"
    events.wait("instance.restored")
    wait_until(lambda: who_answers(front, 30) == {b"a", b"b"}, what="a to be asked again")
    bodies = [front.ask().body for _ in range(100)]
    assert 0 < bodies.count(b"a") < 40


def test_one_that_is_enabled_by_hand_starts_slowly(start_own_front):
    front = start_own_front(Backend("a"), Backend("b"), service={"slow_start": "30s"}, workers=1)
    a, _ = front.backends
    assert [front.ask().body for _ in range(20)].count(b"a") == 10
    assert front.admin.command("drain", instance=a.address).status == 200
    assert front.admin.command("enable", instance=a.address).status == 200
    assert [front.ask().body for _ in range(100)].count(b"a") < 40


# ---- instances that speak TLS, or HTTP/2 ----


@pytest.fixture
def authority(tmp_path):
    return Authority(str(tmp_path))


@pytest.fixture
def make_instance():
    """make(status, **options): an instance of HTTP/2 that answers GET /up with instance.health."""
    made = []

    def make(**options):
        instance = Http2Instance(**options)
        instance.health = "200"
        instance.scripts["/up"] = lambda served, stream, *_: served.respond(stream, instance.health)
        made.append(instance)
        return instance

    yield make
    for instance in made:
        instance.close()


def start_with(make_daemon, instances, listeners=({"address": "127.0.0.1:0"},), **service):
    """A front with these instances, and its events."""
    service = {"name": "web", "instances": [each.address for each in instances], "health": PATH, **service}
    front = Front(make_daemon([service], listeners=list(listeners), workers=1).start(), list(instances))
    front.events = front.daemon.events()
    return front


def assert_goes_down_and_comes_back(front, sick, well, restored):
    event = front.events.wait("instance.ejected")
    assert event["instance"] == sick.address and "answered GET /up with 503" in event["reason"]
    wait_state(front.admin, sick, "down")
    assert states(front.admin)[well.address] == "up"
    sick.health = restored
    assert front.events.wait("instance.restored")["instance"] == sick.address


def test_an_instance_that_speaks_tls_is_asked_over_tls(make_daemon, make_backend, authority):
    a, b = (switchable(make_backend(name, tls=authority.server("127.0.0.1"))) for name in ("a", "b"))
    front = start_with(make_daemon, [a, b], tls={"ca_file": authority.path})
    wait_until(lambda: a.requests_of("/up") and b.requests_of("/up"), what="checks")
    a.health = "503 Oh"
    assert_goes_down_and_comes_back(front, a, b, "200 OK")
    assert not a.faults and not any(resumed for _, resumed, _ in a.handshakes)


def test_an_instance_that_speaks_http2_is_asked_over_http2(make_daemon, make_instance):
    a, b = make_instance(), make_instance()
    front = start_with(make_daemon, [a, b], upstream="h2", hosts=["app.test"])
    wait_until(lambda: a.requests and b.requests, what="checks")
    fields = dict(a.requests[0][1])
    assert fields[":method"] == "GET" and fields[":path"] == "/up" and fields[":scheme"] == "http"
    assert fields[":authority"] == "app.test" and fields["user-agent"].startswith("upswap-health/")
    assert fields["x-forwarded-proto"] == "http"
    a.health = "503"
    assert_goes_down_and_comes_back(front, a, b, "204")


def test_an_instance_that_speaks_http2_over_tls_is_asked_so(make_daemon, make_instance, authority):
    a, b = (make_instance(tls=authority.server("127.0.0.1")) for _ in range(2))
    front = start_with(make_daemon, [a, b], upstream="h2", tls={"ca_file": authority.path})
    wait_until(lambda: a.requests and b.requests, what="checks")
    assert dict(a.requests[0][1])[":scheme"] == "https"
    a.health = "503"
    assert_goes_down_and_comes_back(front, a, b, "200")


@pytest.mark.parametrize("path", ["", "/up"], ids=["connects", "asks"])
def test_a_certificate_that_has_expired_makes_it_down_and_a_new_one_up(make_daemon, make_backend, authority, path):
    good = authority.server("127.0.0.1")
    a, b = (switchable(make_backend(name, tls=good)) for name in ("a", "b"))
    front = start_with(make_daemon, [a, b], tls={"ca_file": authority.path}, health={**PATH, "path": path})
    wait_until(lambda: a.handshakes and b.handshakes, what="checks")
    assert set(states(front.admin).values()) == {"up"}
    a.tls = authority.server("127.0.0.1", days=-1)
    event = front.events.wait("instance.ejected")
    assert event["instance"] == a.address
    assert event["reason"] == "it is not believed: certificate verify failed: certificate has expired"
    wait_state(front.admin, a, "down")
    assert f"instance {a.address} is down: {event['reason']}" in front.daemon.stderr()
    a.tls = good
    assert front.events.wait("instance.restored")["instance"] == a.address


def test_a_check_shows_the_services_certificate_and_asks_for_its_server_name(make_daemon, make_backend, authority):
    instance = make_backend("a", tls=authority.server("app.internal", clients=True))
    shown = authority.issue("upswap.test")
    tls = {"ca_file": authority.path, "server_name": "app.internal", **shown.setting}
    front = start_with(make_daemon, [switchable(instance)], tls=tls)
    wait_until(lambda: len(instance.requests_of("/up")) > 2, what="checks")
    name, _, certificate = instance.handshakes[0]
    assert name == "app.internal" and ("commonName", "upswap.test") in certificate["subject"][0]
    assert set(states(front.admin).values()) == {"up"}


def test_one_that_wants_a_certificate_and_gets_none_is_down(make_daemon, make_backend, authority):
    instance = switchable(make_backend("a", tls=authority.server("127.0.0.1", clients=True)))
    front = start_with(make_daemon, [instance], tls={"ca_file": authority.path})
    assert "certificate required" in front.events.wait("instance.ejected")["reason"]


def test_one_that_does_not_agree_to_http2_is_down(make_daemon, make_backend, authority):
    instance = make_backend("a", tls=authority.server("127.0.0.1"))
    front = start_with(make_daemon, [instance], upstream="h2", tls={"ca_file": authority.path}, health=FAST)
    assert "does not offer HTTP/2" in front.events.wait("instance.ejected")["reason"]


def test_one_that_speaks_http1_alone_is_down_where_http2_is_asked_for(make_daemon, make_backend):
    greet = lambda connection: (connection.send(b"HTTP/1.1 400 Bad Request\r\n\r\n"), connection.close())
    front = start_with(make_daemon, [make_backend("a", greet=greet)], upstream="h2")
    assert "it speaks no HTTP/2" in front.events.wait("instance.ejected")["reason"]


FLOODS = {
    "settings": ("h2", frame(SETTINGS)),
    "pings": ("h2", frame(SETTINGS) + frame(PING, payload=b"12345678")),
    "interim heads": ("h2", frame(SETTINGS) + frame(HEADERS, END_HEADERS, 1, b"\x08\x03103")),
    "resets": ("h2", frame(SETTINGS) + frame(RST_STREAM, 0, 1, b"\0\0\0\x07")),
    "interim heads of HTTP/1.1": ("h1", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "an endless field": ("h1", b"HTTP/1.1 200 OK\r\nA: " + b"a" * 100000),
}


@pytest.mark.parametrize("upstream, flood", FLOODS.values(), ids=FLOODS.keys())
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_a_flood_is_a_failed_check_and_nothing_else(make_daemon, make_backend, authority, upstream, flood, secure):
    def greet(connection):
        if secure:
            connection.socket = context.wrap_socket(connection.socket, server_side=True)
        while True:  # until upswap closes
            connection.socket.sendall(flood * 50)

    context = authority.server("127.0.0.1")
    context.set_alpn_protocols(["h2"] if upstream == "h2" else ["http/1.1"])
    tls = {"tls": {"ca_file": authority.path}} if secure else {}
    backend = make_backend("a", greet=greet)
    front = start_with(make_daemon, [backend], upstream=upstream, health={**PATH, "timeout": "60s"}, **tls)
    reason = front.events.wait("instance.ejected")["reason"]
    assert reason.startswith("it gave no valid answer to GET /up: "), reason
    wait_state(front.admin, backend, "down")


def test_checks_say_https_where_clients_come_by_tls(make_daemon, make_backend, authority):
    backend = switchable(make_backend("a"))
    site = authority.issue("app.test")
    listeners = [{"address": "127.0.0.1:0"}, {"address": "127.0.0.1:0", "tls": site.setting}]
    start_with(make_daemon, [backend], listeners=listeners)
    wait_until(lambda: backend.requests_of("/up"), what="a check")
    assert backend.requests_of("/up")[0].get("X-Forwarded-Proto") == "https"


def test_checks_say_https_where_the_service_takes_nothing_else(make_daemon, make_backend):
    backend = switchable(make_backend("a"))
    start_with(make_daemon, [backend], redirect_https=True, hosts=["app.test"])
    wait_until(lambda: backend.requests_of("/up"), what="a check")
    assert backend.requests_of("/up")[0].get("X-Forwarded-Proto") == "https"


def test_a_check_asks_for_the_canonical_host(make_daemon, make_backend):
    backend = switchable(make_backend("a"))
    start_with(make_daemon, [backend], canonical_host="www.app.test", hosts=["app.test", "www.app.test"])
    wait_until(lambda: backend.requests_of("/up"), what="a check")
    assert backend.requests_of("/up")[0].get("Host") == "www.app.test"


def test_a_reload_gives_checks_the_new_authorities(make_daemon, make_backend, authority, tmp_path_factory):
    stranger = Authority(str(tmp_path_factory.mktemp("stranger")), "Nobody knows")
    instance = switchable(make_backend("a", tls=stranger.server("127.0.0.1")))
    front = start_with(make_daemon, [instance], tls={"ca_file": authority.path})
    assert "is not believed" in front.events.wait("instance.ejected")["reason"]
    front.daemon.config["services"][0]["tls"] = {"ca_file": stranger.path}
    front.daemon.write_config()
    assert front.admin.post("/v1/reload").status == 200
    front.events.wait("instance.restored")


def test_a_new_control_checks_over_tls_too(make_daemon, make_backend, authority):
    instance = switchable(make_backend("a", tls=authority.server("127.0.0.1")))
    front = start_with(make_daemon, [instance], tls={"ca_file": authority.path})
    wait_until(lambda: instance.requests_of("/up"), what="a check")
    front.daemon.kill_role("control")
    seen = len(instance.requests_of("/up"))
    wait_until(lambda: len(instance.requests_of("/up")) > seen + 2, what="checks of the new control")
    assert states(front.admin)[instance.address] == "up"
