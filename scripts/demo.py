"""The demo itself, called by scripts/demo with the build folder: the example app of conf/example behind upswap.

Everything lives in a temporary folder and ends with this program.
"""

import glob
import http.client
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
from datetime import datetime

SOURCE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
EXAMPLE = os.path.join(SOURCE, "conf", "example")
CONNECTIONS = 8
PAUSE = 0.004  # seconds between two requests of a connection

COLOUR = sys.stdout.isatty() and "NO_COLOR" not in os.environ


def say(text=""):
    print(text, flush=True)


def title(text):
    say()
    say(f"\033[1m{text}\033[0m" if COLOUR else f"== {text}")


class Load:
    """Steady requests on kept connections. Every answer must be a 200 of a known release."""

    PATHS = ["/", "/news", "/rss", "/login"]

    def __init__(self, port):
        self.port = port
        self.stopping = threading.Event()
        self.served = {}
        self.failures = []
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.client, args=(n,), daemon=True) for n in range(CONNECTIONS)]
        for thread in self.threads:
            thread.start()

    def client(self, number):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        while not self.stopping.wait(PAUSE):
            path = self.PATHS[number % len(self.PATHS)]
            number += 1
            try:
                connection.request("GET", path)
                response = connection.getresponse()
                body = response.read()
                if response.status != 200:
                    raise ValueError(f"{response.status} {response.headers['X-Upswap']} {body[:80]!r}")
                release = response.headers["X-Release"]
                with self.lock:
                    self.served[release] = self.served.get(release, 0) + 1
            except (OSError, http.client.HTTPException, ValueError) as fault:
                with self.lock:
                    self.failures.append(f"{path}: {fault!r}")
                connection.close()
        connection.close()

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def sent(self):
        return sum(self.served.values()) + len(self.failures)

    def wait_for(self, more):
        """Returns when so many more requests have been sent."""
        until = self.sent() + more
        while self.sent() < until:
            self.stopping.wait(0.05)


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("upswap", timeout=10)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


class Demo:
    def __init__(self, build, root):
        self.build = build
        self.root = root
        self.socket = os.path.join(root, "admin.sock")
        self.daemon = None
        self.load = None

    # ---- what is on the disk ----

    def prepare(self):
        for name in ("start-release", "stop-instance"):
            shutil.copy(os.path.join(EXAMPLE, name), self.root)
        good = os.path.join(self.root, "news.db")
        database = sqlite3.connect(good)
        database.execute("CREATE TABLE article (id INTEGER PRIMARY KEY, title TEXT, text TEXT)")
        database.executemany(
            "INSERT INTO article (title, text) VALUES (?, ?)",
            [("upswap runs", "The first release is live."), ("Uptests", "They decide what goes live.")],
        )
        database.commit()
        database.close()
        self.release("v1", good)
        self.release("v2", good)
        self.release("v3", os.path.join(self.root, "nesw.db"))
        with open(os.path.join(EXAMPLE, "upswapd.conf"), encoding="utf-8") as file:
            text = file.read().replace("/srv/web", self.root).replace("127.0.0.1:8080", "127.0.0.1:0")
        self.config = os.path.join(self.root, "upswapd.conf")
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(text)

    def release(self, name, database):
        folder = os.path.join(self.root, "releases", name)
        os.makedirs(folder)
        shutil.copy(os.path.join(EXAMPLE, "app.py"), folder)
        shutil.copytree(os.path.join(EXAMPLE, "uptests"), os.path.join(folder, "uptests"))
        with open(os.path.join(folder, ".env"), "w", encoding="utf-8") as file:
            file.write(f"DATABASE={database}\n")

    # ---- the daemon ----

    def start_daemon(self):
        self.log = open(os.path.join(self.root, "upswapd.log"), "wb")
        self.daemon = subprocess.Popen(
            [os.path.join(self.build, "upswapd"), "-c", self.config], stdin=subprocess.DEVNULL, stderr=self.log
        )
        pause = threading.Event()
        for _ in range(200):
            if self.daemon.poll() is not None:
                break
            try:
                connection = UnixConnection(self.socket)
                connection.request("GET", "/healthz")
                if connection.getresponse().status == 200:
                    return
            except OSError:
                pass
            pause.wait(0.05)
        with open(self.log.name, encoding="utf-8") as file:
            sys.exit(f"upswapd did not start:\n{file.read()}")

    def get(self, path):
        connection = UnixConnection(self.socket)
        connection.request("GET", path)
        return connection.getresponse().read().decode()

    def port(self):
        return int(json.loads(self.get("/v1/status"))["listeners"][0]["bound"].rpartition(":")[2])

    def events(self):
        return [json.loads(line) for line in self.get("/v1/events?since=0").splitlines()]

    # ---- the story ----

    def deploy(self, name):
        """Deploys a release with the client, as a person would; its exit status."""
        command = ["upswap", "deploy", "web", name]
        say(f"$ {' '.join(command)}")
        command[0] = os.path.join(self.build, "upswap")
        return subprocess.run(command, env={**os.environ, "UPSWAP_SOCKET": self.socket}, check=False).returncode

    def running(self, name):
        """Processes of a release that are alive."""
        return [path for path in self.pid_files() if self.is_app(path, os.path.join("releases", name, ""))]

    def pid_files(self):
        return glob.glob(os.path.join(self.root, "run", "*.pid"))

    def is_app(self, path, part):
        try:
            with open(path, encoding="ascii") as file:
                pid = int(file.read())
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                return os.path.join(self.root, part).encode() in file.read()
        except (OSError, ValueError):
            return False

    def wait_stopped(self, name):
        """Waits, not for ever, until the teardown hook has stopped a release's instances."""
        pause = threading.Event()
        for _ in range(200):
            if not self.running(name):
                say(f"the instances of {name} are stopped")
                return
            pause.wait(0.05)

    def swap_seconds(self, release):
        """From the end of the last uptest to the store after which every new request went to the release."""
        events = self.events()
        history = json.loads(self.get("/v1/services/web/deployments"))["deployments"]
        deployment = next(each["deployment"] for each in history if each["release"] == release)
        times = {
            e["type"]: datetime.fromisoformat(e["time"].replace("Z", "+00:00"))
            for e in events
            if e.get("deployment") == deployment
        }
        return (times["swap.published"] - times["uptest.finished"]).total_seconds()

    def run(self):
        self.prepare()
        title("1. upswapd starts, release v1 goes live")
        self.start_daemon()
        if self.deploy("v1") != 0:
            sys.exit("v1 could not be deployed")
        self.load = Load(self.port())
        self.load.wait_for(500)
        say(f"{CONNECTIONS} kept connections send requests from now to the end")

        title("2. release v2: the uptests pass, the traffic moves, v1 is drained and stopped")
        second = self.deploy("v2")
        self.load.wait_for(1000)

        title("3. release v3 has a wrong database path: it starts, it listens, but an uptest finds out")
        third = self.deploy("v3")
        self.wait_stopped("v3")
        self.load.wait_for(1000)
        self.load.stop()
        return second, third

    def report(self, second, third):
        load = self.load
        rows = [
            ("requests sent", load.sent()),
            ("failed", len(load.failures)),
            *((f"answered by {release}", count) for release, count in sorted(load.served.items())),
            ("answered by v3", load.served.get("v3", 0)),
            ("instances still running", ", ".join(f"{n}: {len(self.running(n))}" for n in ("v1", "v2", "v3"))),
            ("last uptest of v2 to the swap", f"{self.swap_seconds('v2'):.3f} s"),
        ]
        title("What happened")
        for name, value in rows:
            say(f"  {name:<30} {value}")
        for failure in load.failures[:5]:
            say(f"  failed: {failure}")
        good = (
            second == 0
            and third == 3
            and not load.failures
            and "v3" not in load.served
            and [len(self.running(n)) for n in ("v1", "v2", "v3")] == [0, 2, 0]
        )
        say()
        say("As promised: no request was lost, and the broken release never saw one." if good else "Not as promised.")
        return 0 if good else 1

    def end(self):
        """Ends every process that was started."""
        if self.load is not None:
            self.load.stop()
        if self.daemon is not None:
            self.daemon.terminate()
            try:
                self.daemon.wait(40)
            except subprocess.TimeoutExpired:
                self.daemon.kill()
                self.daemon.wait()
        for path in self.pid_files():
            port = os.path.basename(path)[: -len(".pid")]
            subprocess.run(
                [os.path.join(self.root, "stop-instance"), "127.0.0.1", port], stdout=subprocess.DEVNULL, check=False
            )


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="upswap-demo-") as root:
        demo = Demo(sys.argv[1], root)
        try:
            return demo.report(*demo.run())
        finally:
            demo.end()


if __name__ == "__main__":
    sys.exit(main())
