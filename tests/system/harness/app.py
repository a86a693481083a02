"""An instance of the app as a process of its own, which can be killed."""

import os
import subprocess

from . import processes
from .client import ask

PROGRAM = os.path.join(os.path.dirname(__file__), "app_process.py")


class AppInstance:
    def __init__(self, release, port=0):
        self.release = release
        self.process = processes.spawn(
            ["/usr/bin/python3", "-IS", PROGRAM, release, str(port)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        self.port = int(self.process.stdout.readline())
        self.address = f"127.0.0.1:{self.port}"

    @property
    def pid(self):
        return self.process.pid

    def log(self):
        """What has reached it, as "METHOD TARGET USER-AGENT" lines."""
        return ask(self.port, target="/log").text.splitlines()

    def is_running(self):
        return self.process.poll() is None

    def kill(self):
        """SIGKILL, without waiting for the end."""
        self.process.kill()

    def wait_end(self, timeout=10):
        """The status it ends with by itself or by somebody else's signal."""
        return processes.finish(self.process, timeout)

    def stop(self):
        self.process.kill()
        processes.finish(self.process)
        self.process.stdout.close()
