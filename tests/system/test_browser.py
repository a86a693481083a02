"""A page in headless Chromium, with a WebSocket and an EventSource that stay open across a swap."""

import pytest

from harness import frames, http1
from harness.backend import Backend
from harness.browser import Browser
from harness.certificates import Authority
from harness.client import RawClient

PAGE = """<!doctype html><title>app</title><link rel="icon" href="data:,"><script>
const log = [];
function talk() {
  const socket = new WebSocket(location.origin.replace("http", "ws") + "/ws");
  socket.onmessage = (event) => log.push("socket " + event.data);
  socket.onerror = () => log.push("socket error");
  socket.onclose = (event) => {
    log.push(`socket closed ${event.code} ${event.reason} ${event.wasClean}`);
    talk();
  };
}
talk();
const source = new EventSource("/events");
source.onmessage = (event) => log.push("events " + event.data);
source.onerror = () => log.push("events away " + source.readyState);
</script>"""


class App(Backend):
    """An instance with the page; its WebSocket and its events say its name."""

    def __init__(self, name):
        super().__init__(name)
        self.codes = []
        self.on("/", http1.answer(PAGE, fields=["Content-Type: text/html"]))
        self.on("/ws", self._talk)
        self.on("/events", self._tell)

    def _talk(self, connection, request):
        connection.send(frames.agreement(request) + frames.frame(frames.TEXT, self.name.encode()))
        opcode = None
        while opcode != frames.CLOSE:
            opcode, payload, _ = frames.read_frame(connection, masked=True)
        self.codes.append(int.from_bytes(payload[:2], "big"))
        connection.send(frames.frame(frames.CLOSE, payload))
        connection.close()

    def _tell(self, connection, request):
        event = b"retry: 50\ndata: %s\n\n" % self.name.encode()
        connection.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(event), event)
        )
        connection.to_end_or_reset()
        connection.close()


@pytest.fixture
def make_page_app():
    made = []

    def make(name):
        made.append(App(name))
        return made[-1]

    yield make
    for app in made:
        app.close()


@pytest.fixture
def browse():
    made = []

    def start(*flags):
        made.append(Browser(*flags))
        return made[-1]

    yield start
    for browser in made:
        browser.close()


def start(make_daemon, instances, **settings):
    daemon = make_daemon([], **settings)
    daemon.config["services"] = [
        {
            "name": "web",
            "instances": [instance.address for instance in instances],
            "uptests": {"required": False},
            "drain": {"requests": "300ms", "streams": "300ms", "websockets": "300ms", "spread": "0s"},
        }
    ]
    return daemon.start()


def both_say(name):
    return f'log.includes("socket {name}") && log.includes("events {name}")'


def assert_page_moves(browser, daemon, url, old, fresh):
    """The page is open in the browser and goes on with the new release, as if nothing had happened."""
    browser.open(url)
    browser.wait(both_say("old"), "the page to hear the old release")
    daemon.admin.stage([fresh.address], allow_untested=True)
    browser.wait(both_say("fresh"), "the page to hear the new release")
    log = browser.run("log")
    assert [line for line in log if line.startswith("socket")] == [
        "socket old",
        "socket closed 1012 service restart true",
        "socket fresh",
    ]
    assert [line for line in log if line.startswith("events")] == ["events old", "events away 0", "events fresh"]
    assert browser.console() == []
    assert old.codes == [1001]
    assert fresh.codes == []


def test_a_page_with_a_websocket_and_events_goes_on_with_the_new_release(make_daemon, make_page_app, browse):
    old, fresh = make_page_app("old"), make_page_app("fresh")
    daemon = start(make_daemon, [old])
    assert_page_moves(browse(), daemon, f"http://127.0.0.1:{daemon.port}/", old, fresh)
    with RawClient(daemon.port) as client:
        assert client.ask().status == 200


def test_the_same_over_http2(make_daemon, make_page_app, browse, tmp_path):
    old, fresh = make_page_app("old"), make_page_app("fresh")
    identity = Authority(str(tmp_path)).issue("127.0.0.1")
    daemon = start(make_daemon, [old], listeners=[{"address": "127.0.0.1:0", "tls": identity.setting}])
    browser = browse("--ignore-certificate-errors")
    assert_page_moves(browser, daemon, f"https://127.0.0.1:{daemon.port}/", old, fresh)
    assert browser.run('performance.getEntriesByType("navigation")[0].nextHopProtocol') == "h2"
