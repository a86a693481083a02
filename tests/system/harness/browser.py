"""Headless Chromium, driven by chromedriver over the WebDriver protocol."""

import json
import re
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request

from . import processes
from .waiting import wait_until

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class Browser:
    def __init__(self, *flags):
        self.folder = tempfile.mkdtemp(prefix="upswap-browser-")
        self.session = self.driver = None
        try:
            self.base = f"http://127.0.0.1:{self._start_driver()}"
            self.session = self._begin([*FLAGS, f"--user-data-dir={self.folder}/profile", *flags])
        except BaseException:
            self.close()
            raise

    def _start_driver(self):
        """Its port: the same of IPv4 as it has found free of IPv6, which another may have; then it ends."""
        for _ in range(5):
            self.driver = processes.spawn(
                ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            for line in self.driver.stdout:
                if found := re.search(r"started successfully on port (\d+)", line):
                    return int(found[1])
            processes.finish(self.driver)
        raise AssertionError("chromedriver did not start")

    def _begin(self, flags):
        options = {"args": flags}
        if binary := shutil.which("chromium"):
            options["binary"] = binary
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        return self._ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]

    def _ask(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as refused:
            raise AssertionError(f"{method} {path}: {refused.read()[:500]!r}") from None

    def _command(self, path, body):
        return self._ask("POST", f"/session/{self.session}{path}", body)

    def open(self, url):
        self._command("/url", {"url": url})

    def run(self, script):
        """The value of a JavaScript expression in the page."""
        return self._command("/execute/sync", {"script": f"return {script}", "args": []})

    def wait(self, script, what, timeout=20):
        """Waits until the expression is true, and returns it."""
        return wait_until(lambda: self.run(script), timeout, what)

    def strike(self, strokes):
        """Strikes keys, as a person does: the actions of a WebDriver's key source."""
        self._command("/actions", {"actions": [{"type": "key", "id": "keys", "actions": strokes}]})

    def console(self):
        """What the console has said since the last call."""
        return [entry["message"] for entry in self._command("/se/log", {"type": "browser"})]

    def close(self):
        if self.session is not None:
            self._ask("DELETE", f"/session/{self.session}")
            self.session = None
        self.driver.terminate()
        processes.finish(self.driver)
        self.driver.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)
