"""Suites of uptests, and puppets: programs that do what the test tells them while they run."""

import os
import queue
import socket
import threading

from .waiting import PATIENCE
from .wire import Ended, Wire


class Suite:
    """A folder of uptests."""

    def __init__(self, folder):
        self.folder = folder
        os.makedirs(folder, exist_ok=True)

    def add(self, name, text, mode=0o755):
        path = os.path.join(self.folder, name)
        fresh = f"{self.folder}.new"  # one that is just being executed cannot be written to (ETXTBSY)
        with open(fresh, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(fresh, mode)
        os.rename(fresh, path)
        return path

    def shell(self, name, text="exit 0"):
        return self.add(name, f"#!/bin/sh\n{text}\n")

    def python(self, name, text):
        return self.add(name, f"#!/usr/bin/python3 -IS\n{text}\n")

    def remove(self, name):
        os.unlink(os.path.join(self.folder, name))

    def clear(self):
        for name in os.listdir(self.folder):
            os.unlink(os.path.join(self.folder, name))


# Says who it is (arguments and environment, NUL-separated), then runs each line that comes back. When the test
# is gone it fails, so a forgotten puppet is never a pass.
PUPPET = """#!/bin/bash
exec 3<>/dev/tcp/127.0.0.1/%d || exit 99
{ printf '%%s\\0' "$$" "$0" "$@"; printf '\\0'; cat /proc/$$/environ; printf '\\n'; } >&3
while read -r line <&3; do eval "$line"; done
exit 98
"""


class PuppetCall:
    """One run of a puppet, waiting for orders."""

    def __init__(self, wire):
        self.wire = wire
        said, _, environment = wire.until(b"\n")[:-1].partition(b"\0\0")
        pid, self.program, *self.arguments = said.decode().split("\0")
        self.pid = int(pid)
        self.environment = dict(pair.split("=", 1) for pair in environment.decode().split("\0") if pair)

    @property
    def instance(self):
        """host:port of the first two arguments."""
        return ":".join(self.arguments[:2])

    def order(self, line):
        """Runs a line of shell in it."""
        self.wire.send(line.encode() + b"\n")

    def exit(self, status=0):
        self.order(f"exit {status}")

    def wait_end(self):
        """Returns when the process is gone."""
        try:
            self.wire.to_end()
        except ConnectionResetError:
            pass


class Puppets:
    """Where the puppets report. `program` is the text of an executable file."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.program = PUPPET % self.socket.getsockname()[1]
        self.calls = queue.Queue()
        self.all = []
        self.automatic = None
        self.lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock, _ = self.socket.accept()
                call = PuppetCall(Wire(sock, timeout=120))
            except (Ended, ValueError):
                continue  # it was killed before it had said who it is
            except OSError:
                return
            with self.lock:
                self.all.append(call)
                if self.automatic is not None:
                    self._send(call, self.automatic)
                else:
                    self.calls.put(call)

    @staticmethod
    def _send(call, line):
        try:
            call.order(line)
        except OSError:
            pass  # it was killed meanwhile

    def next(self, timeout=PATIENCE):
        """The next run that has not been asked for."""
        try:
            return self.calls.get(timeout=timeout)
        except queue.Empty:
            raise AssertionError(f"no puppet was started within {timeout} s") from None

    def let_go(self, line="exit 0"):
        """From now on every run gets this order at once; so do those that wait."""
        with self.lock:
            self.automatic = line
            while not self.calls.empty():
                self._send(self.calls.get_nowait(), line)

    def close(self):
        self.socket.close()
        for call in self.all:
            call.wire.close()
