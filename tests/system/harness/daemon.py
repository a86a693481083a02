"""The built daemon with a private folder, private sockets and port 0."""

import copy
import json
import os
import shutil
import signal
import subprocess
import tempfile

from . import activation, processes
from .admin import Admin, Events
from .config import config_text
from .waiting import PATIENCE, wait_until

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))


def build_folder():
    """The folder with upswapd and upswap: $UPSWAP_BUILD, else the first that has them."""
    given = os.environ.get("UPSWAP_BUILD")
    for folder in [given] if given else [os.path.join(ROOT, "..", "build-test"), os.path.join(ROOT, "build"), ROOT]:
        if os.path.exists(os.path.join(folder, "upswapd")):
            return os.path.abspath(folder)
    raise FileNotFoundError("no build folder with upswapd: build first, or set UPSWAP_BUILD")


def program(name):
    return os.path.join(build_folder(), name)


class Daemon:
    """`settings` are laid over the least that a daemon needs; `services` replaces its one service "web"."""

    def __init__(self, services=None, **settings):
        self.folder = tempfile.mkdtemp(prefix="upswap-")
        os.chmod(self.folder, 0o755)  # uptests may run as another user
        self.socket = self.path("admin.sock")
        self.config_path = self.path("upswapd.conf")
        self.config = {
            "workers": 2,
            "state_directory": self.path("state"),
            "admin": {"socket": self.socket},
            "listeners": [{"address": "127.0.0.1:0"}],
            **settings,
            "services": services if services is not None else [{"name": "web"}],
        }
        self.stderr_path = self.path("stderr")
        self.process = None
        self.admin = Admin(self.socket)
        self.followers = []
        self.environment = {}
        self.prefix = []  # a command that runs the program, such as prlimit
        self.sockets = []  # that it is passed, as by systemd
        self.program = program("upswapd")

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def write_config(self, config=None):
        text = config if isinstance(config, str) else config_text(config or self.config)
        with open(self.config_path, "w", encoding="utf-8") as file:
            file.write(text)

    def changed_config(self, change):
        """A copy of the config that `change` has been at."""
        config = copy.deepcopy(self.config)
        change(config)
        return config

    # ---- its life ----

    def spawn(self):
        """Starts the program and does not wait for it."""
        with open(self.stderr_path, "ab") as stderr:
            self.process = processes.spawn(
                [*self.prefix, *activation.prefix(self.sockets), self.program, "-c", self.config_path],
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                pass_fds=[sock.fileno() for sock in self.sockets],
                env={**os.environ, **self.environment},
                start_new_session=True,
            )

    def start(self, write=True):
        if write:
            self.write_config()
        self.spawn()
        wait_until(self.is_serving, what="GET /healthz to be 200")
        return self

    def is_serving(self):
        status = self.process.poll()
        assert status is None, f"upswapd ended with {status}: {self.stderr()}"
        try:
            return self.admin.request("GET", "/healthz").status == 200
        except OSError:
            return False

    def stop(self, sig=signal.SIGTERM, timeout=15):
        """Ends it by pid; returns its exit status. Nothing of it may be left."""
        for follower in self.followers:
            follower.stop()
        self.followers.clear()
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(sig)
        return self.wait_end(timeout)

    def wait_end(self, timeout=15):
        """Waits for the end of a daemon that was told to stop; returns its exit status. Nothing may be left."""
        status = processes.finish(self.process, timeout)
        self.process = None
        processes.assert_none_left()
        return status

    def discard(self):
        """Stops it, whatever its state, and removes its folder."""
        try:
            self.stop(signal.SIGKILL if self.process and self.process.poll() is None else signal.SIGTERM)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def crash(self):
        """The keeper dies by SIGKILL, and with it all that it started."""
        pids = [self.process.pid, *processes.descendants(self.process.pid)]
        self.process.kill()
        processes.finish(self.process)
        self.process = None
        for pid in pids[1:]:
            processes.wait_gone(pid)
        processes.assert_none_left()

    def kill_role(self, role):
        """kill -9 of "keeper", "control" or "proxy"; returns when all three serve again."""
        if role == "keeper":
            self.crash()
            self.start(write=False)
            return
        old = self.pids[role]
        os.kill(old, signal.SIGKILL)
        processes.wait_gone(old)
        self.wait_new(role, old)

    def wait_new(self, role, old):
        """Waits until another process has that role and all three serve."""
        wait_until(lambda: self._has_new(role, old), what=f"a new {role}")

    def _has_new(self, role, old):
        try:
            return self.is_serving() and self.pids[role] not in (old, 0, None)
        except OSError:
            return False

    # ---- what it says ----

    def stderr(self):
        with open(self.stderr_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    @property
    def pids(self):
        return self.admin.status()["pids"]

    @property
    def port(self):
        """The first listener's."""
        return self.ports()[0]

    def ports(self):
        return [int(each["bound"].rpartition(":")[2]) for each in self.admin.status()["listeners"]]

    def events(self, since=0):
        follower = Events(self.socket, since)
        self.followers.append(follower)
        return follower

    def signal(self, number):
        self.process.send_signal(number)

    # ---- its client ----

    def client_argv(self, *arguments):
        return [program("upswap"), "-s", self.socket, *arguments]

    def upswap(self, *arguments, timeout=60, **options):
        """Runs the client to its end."""
        return subprocess.run(
            self.client_argv(*arguments), capture_output=True, text=True, timeout=timeout, check=False, **options
        )

    def upswap_json(self, *arguments):
        result = self.upswap("--json", *arguments)
        assert result.returncode == 0, result
        return json.loads(result.stdout)

    def spawn_upswap(self, *arguments):
        return processes.spawn(
            self.client_argv(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )


def upswapd(*arguments, timeout=PATIENCE, **options):
    """Runs upswapd to its end, for -t and faulty starts."""
    return subprocess.run(
        [program("upswapd"), *arguments], capture_output=True, text=True, timeout=timeout, check=False, **options
    )
