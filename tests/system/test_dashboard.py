"""The dashboard at GET / of the admin listeners: in headless Chromium, and what it is drawn from."""

import http.client
import json

import pytest

from harness import processes
from harness.browser import Browser
from harness.waiting import wait_until

TOKEN = "0123456789abcdef"
BACKSPACE, TAB, ENTER, ESCAPE = "\ue003", "\ue004", "\ue007", "\ue00c"  # as WebDriver calls them
HOSTILE = "<img src=x onerror=document.title='owned'><script>document.title='owned'</script>&amp;\u202e"


@pytest.fixture(scope="module")
def browser():
    with processes.tolerating("chrome_crashpad_handler"):  # of the browser, which stays for all tests
        made = Browser("--window-size=1300,1000")
        yield made
        made.close()


def listen(daemon):
    with open(daemon.path("token"), "w", encoding="utf-8") as file:
        file.write(f"{TOKEN}\n")
    daemon.config["admin"].update({"listen": "127.0.0.1:0", "token_file": daemon.path("token")})


@pytest.fixture
def page(make_stand, browser):
    """A daemon whose dashboard is open in the browser."""
    stand = make_stand()
    stand.suite.shell("01_pass", "echo fine")
    listen(stand.daemon)
    stand.start()
    page = Page(browser, stand)
    page.open()
    page.enter(TOKEN)
    page.wait("document.querySelector('[data-service=web]')", "the service to be listed")
    page.browser.console()  # that there was no token before it was entered
    yield page
    assert page.browser.console() == []


class Page:
    def __init__(self, browser, stand):
        self.browser = browser
        self.stand = stand
        self.bound = stand.admin.status()["admin"]["bound"]

    def open(self):
        self.browser.open(f"http://{self.bound}/")

    def wait(self, script, what):
        return self.browser.wait(f"!!({script})", what)

    def text(self, selector):
        return self.browser.run(f"document.querySelector({json.dumps(selector)})?.textContent ?? ''")

    def wait_text(self, selector, text):
        return wait_until(lambda: text in self.text(selector), 20, f"{selector} to say {text!r}")

    def do(self, script):
        self.browser.run(f"(({script}), true)")

    def enter(self, token):
        self.wait("document.querySelector('dialog[open] input')", "the page to ask for the token")
        self.do(f"document.querySelector('dialog input').value = {json.dumps(token)}")
        self.confirm()

    def keys(self, text):
        strokes = [{"type": kind, "value": key} for key in text for kind in ("keyDown", "keyUp")]
        self.browser.strike(strokes)

    def press(self, verb):
        self.wait(f"document.querySelector('[data-verb={verb}]:enabled')", f"the button {verb}")
        self.do(f"document.querySelector('[data-verb={verb}]').click()")
        self.wait("document.querySelector('dialog[open]')", "the dialog")

    def confirm(self):
        self.do("document.querySelector('dialog [type=submit]').click()")


def stage(page, backend, **keys):
    return page.stand.admin.stage([backend.address], **keys)


# ---- in the browser ----


def test_the_page_follows_a_deployment_and_takes_it_back_when_that_is_confirmed(page, make_backend, puppets):
    page.stand.suite.add("02_slow", puppets.program)
    name = stage(page, make_backend("next"), release="v2", watch="1h")
    call = puppets.next()
    page.wait("document.querySelector('#current .cell.running')", "a cell to run")
    page.wait_text("#current .cell.passed", "✓")
    call.exit()
    page.wait("document.querySelectorAll('#current .cell.passed').length === 2", "the gate to fill")
    page.wait(f"document.querySelector('[data-pool={name}] .pool.live')", "the new pool to be live")
    page.wait(f"[...document.querySelectorAll('.move.swap title')].some((e) => e.textContent.includes('{name}'))", "a mark")
    page.press("rollback")
    assert name in page.text("dialog p") and page.stand.state(name) == "watching"
    page.do("document.querySelector('dialog [type=button]').click()")
    assert page.stand.state(name) == "watching"  # it was cancelled
    page.press("rollback")
    page.do(f"document.querySelector('dialog input').value = {json.dumps(HOSTILE)}")
    page.confirm()
    page.stand.wait_state(name, "rolled_back")
    assert page.stand.admin.deployment(name)["reason"] == HOSTILE
    page.wait("document.querySelector('.move.rollback')", "the mark of the rollback")
    page.wait_text("#current .reason", HOSTILE)
    assert page.browser.run("document.title") == "web – upswap"


def test_what_an_uptest_or_a_person_writes_is_shown_as_text(page, make_backend):
    page.stand.suite.shell("02_hostile", f"printf '%s\\n' {json.dumps(HOSTILE)}; exit 1")
    page.stand.admin.command("maintenance", on=True, message=HOSTILE)
    name = stage(page, make_backend("next"), release="v2")
    page.stand.wait_state(name, "rejected")
    page.wait_text("#current pre", HOSTILE[:40])
    page.wait_text("#current .reason", "02_hostile")
    page.do(f"location.hash = '#/web/{name}'")
    page.wait("document.querySelector('.history .story pre')", "the story")
    page.wait_text(".events", HOSTILE[:40])
    assert page.browser.run("document.querySelectorAll('#detail img, #detail script').length") == 0
    assert page.browser.run("document.title") == "web – upswap"


def test_a_wrong_token_is_explained_and_the_page_goes_on_when_the_daemon_is_back(page):
    page.do("document.querySelector('#forget').click()")
    page.enter("wrong")
    page.wait_text("dialog .fault", "does not know this token")
    page.enter("with space")
    page.wait_text("dialog .fault", "has no spaces")
    assert page.browser.run("sessionStorage.length") == 0
    page.enter(TOKEN)
    page.wait_text("#link", "live")
    assert page.browser.run("[document.cookie, localStorage.length]") == ["", 0]
    page.stand.daemon.kill_role("control")
    page.stand.admin.command("pause", max="1h")
    page.wait_text("#detail .title", "paused")
    page.wait_text("#link", "live")
    page.press("resume")
    page.confirm()
    wait_until(lambda: page.stand.admin.service()["state"] == "serving", what="the service to be resumed")
    page.wait("!document.querySelector('dialog[open]')", "the dialog to be closed")
    page.browser.console()  # of refused tokens, and a daemon that was away


def judge(page, **other):
    """What the page says first of a service that is well but for this."""
    up = [{"address": "10.0.0.1:80", "state": "up"}, {"address": "10.0.0.2:80", "state": "up"}]
    pool = {"deployment": "web-1", "release": "v1", "instances": other.pop("instances", up)}
    arguments = [
        {"service": "web", "state": "serving", "mode": None, "live": "web-1", "deployment": None, "pools": [pool], **other.pop("service", {})},
        other.pop("slice", None),
        other.pop("events", []),
    ]
    return page.browser.run(f"import('/dashboard/verdict.js').then((m) => m.verdicts(...{json.dumps(arguments)})[0])")


def test_what_matters_most_is_said_first(page):
    down = [{"address": "10.0.0.1:80", "state": "down"}, {"address": "10.0.0.2:80", "state": "up"}]
    ejected = {"type": "instance.ejected", "time": "2026-11-27T03:00:00Z", "instance": "10.0.0.1:80", "reason": "it is slow"}
    rejected = {"type": "deployment.rejected", "time": "2026-11-27T03:00:00Z", "deployment": "web-2", "reason": "02 failed"}
    running = {"deployment": "web-2", "release": "v2", "state": "watching", "replaces": "web-1", "reason": None}
    cases = [
        ({}, "good", "Served by web-1 (v1), 2 instances up."),
        ({"instances": down}, "warn", "1 of 2 instances up: 10.0.0.1:80 is down."),
        ({"instances": down, "events": [ejected]}, "warn", "10.0.0.1:80 is down; it is slow."),
        ({"instances": down[:1]}, "bad", "0 of 1 instance up"),
        ({"service": {"live": None, "pools": []}}, "bad", "No live pool"),
        ({"slice": {"requests": 100, "errors": 12}}, "bad", "12% of its requests fail (12 of 100)"),
        ({"slice": {"requests": 100, "errors": 12}, "instances": down}, "bad", "12% of its requests fail"),
        ({"slice": {"requests": 1000, "errors": 1}}, "good", "Served by"),
        ({"events": [rejected]}, "busy", "web-2 was rejected at"),
        ({"events": [rejected, {**rejected, "type": "deployment.staged"}]}, "good", "Served by"),
        ({"service": {"deployment": running}}, "busy", "web-2 (v2) is live and watched; web-1 stays armed."),
        ({"service": {"deployment": {**running, "reason": "promote or roll back"}}}, "warn", "waits for you: promote"),
        ({"service": {"deployment": {**running, "state": "held"}}}, "warn", "waits for you"),
    ]
    for other, level, words in cases:
        said = judge(page, **other)
        assert said[0] == level and words in said[1], (other, said)


def test_the_keyboard_alone_is_enough(page):
    page.keys("/")
    page.wait("document.activeElement.id === 'filter'", "the filter to have the focus")
    page.keys("nothing like it")
    page.wait("!document.querySelector('[data-service]')", "the list to be empty")
    page.keys(BACKSPACE * len("nothing like it") + "WE")
    page.wait("document.querySelector('[data-service=web]')", "the list to be as it was")
    page.keys(TAB + ENTER)
    page.wait("location.hash === '#/web'", "the service to be chosen")
    page.do("document.querySelector('[data-verb=pause]').focus()")
    page.keys(ENTER)
    page.wait("document.activeElement.textContent === 'Cancel'", "the dialog to be open, and safe to leave")
    page.keys(ESCAPE)
    page.wait("document.activeElement.dataset.verb === 'pause'", "the focus to be back")
    page.keys(ENTER)
    page.keys(TAB + ENTER)
    wait_until(lambda: page.stand.admin.service()["state"] == "paused", what="the service to be paused")


# ---- without one ----


@pytest.fixture
def ask(make_daemon):
    daemon = make_daemon()
    listen(daemon)
    daemon.start()
    connection = http.client.HTTPConnection(daemon.admin.status()["admin"]["bound"], timeout=10)

    def ask(method, path, token=None, **headers):
        if token:
            headers["Authorization"] = f"Bearer {token}"
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, response.headers, response.read().decode()

    yield ask
    connection.close()


def test_the_page_is_whole_without_a_token_holds_no_data_and_takes_nothing_from_elsewhere(ask):
    status, headers, text = ask("GET", "/")
    assert status == 200 and headers["Content-Type"] == "text/html; charset=utf-8"
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none';") and "require-trusted-types-for 'script'" in policy
    assert "unsafe" not in policy and headers["X-Content-Type-Options"] == "nosniff"
    for path in ("/dashboard/style.css", "/dashboard/main.js", "/dashboard/icon.svg"):
        assert path in text or path == "/dashboard/icon.svg"
        assert ask("GET", path)[0] == 200
    assert "web" not in text and "style=" not in text and "onclick" not in text
    assert ask("HEAD", "/")[0] == 200
    assert ask("GET", "/dashboard/none.js")[0] == 401
    assert ask("GET", "/dashboard/none.js", token=TOKEN)[0] == 404
    assert ask("GET", "/v1/traffic")[0] == 401


def test_what_another_site_makes_a_browser_send_is_refused_even_with_the_token(ask):
    abort = "/v1/services/web/abort"
    for headers in ({"Origin": "http://evil.example"}, {"Sec_Fetch_Site": "cross-site"}, {"Origin": "null"}):
        status, answered, text = ask("POST", abort, token=TOKEN, **headers)
        assert status == 403 and "another site" in json.loads(text)["detail"]
        assert "Access-Control-Allow-Origin" not in answered
    assert ask("OPTIONS", abort, Origin="http://evil.example", Access_Control_Request_Method="POST")[0] == 403
    assert ask("POST", abort, token=TOKEN)[0] == 409
    status, _, text = ask("GET", "/", Host="evil.example:9080")
    assert status == 403 and "evil.example" in json.loads(text)["detail"]


# ---- what it is drawn from ----


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


def test_a_wrong_stretch_of_traffic_is_refused(start_own_front, make_backend):
    front = start_own_front(make_backend("one"))
    for query in ("?seconds=0", "?seconds=901", "?seconds=x", "?minutes=1"):
        assert front.admin.request("GET", f"/v1/services/web/traffic{query}").status == 400
    assert 'did you mean "web"' in front.admin.request("GET", "/v1/services/wbe/traffic").detail
