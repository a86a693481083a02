"""Releases that are good or bad as the test wants, and a steady load on them."""

import os
import re
import subprocess

from . import processes

PROGRAM = os.path.join(os.path.dirname(__file__), "release_process.py")


class Release:
    """One instance, a process of its own."""

    def __init__(self, name, **orders):
        self.process = processes.spawn(
            ["/usr/bin/python3", "-IS", PROGRAM, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.port = int(self.process.stdout.readline())
        self.address = f"127.0.0.1:{self.port}"
        for word, value in orders.items():
            self.tell(word, value)

    def tell(self, word, value):
        """Gives it an order; returns how many requests it has answered, and how many of them with 500."""
        self.process.stdin.write(f"{word} {value}\n".encode())
        self.process.stdin.flush()
        answered, failed = self.process.stdout.readline().split()
        return int(answered), int(failed)

    def kill(self):
        self.process.kill()

    def stop(self):
        self.process.kill()
        processes.finish(self.process)
        self.process.stdin.close()
        self.process.stdout.close()


class Steady:
    """So many requests a second over so many connections, for so many seconds: h2load, which counts."""

    def __init__(self, port, seconds, rate=500, connections=25):
        self.process = processes.spawn(
            ["h2load", "--h1", f"-c{connections}", f"--rps={rate / connections:g}", f"-D{seconds}",
             f"http://127.0.0.1:{port}/"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
        processes.finish(self.process)
        self.process.stdout.close()

    def counts(self):
        """Waits for its end: {"total", "errored", "timeout", "2xx", "5xx", ...}."""
        text, _ = self.process.communicate(timeout=180)
        lines = [line for line in text.splitlines() if line.startswith(("requests:", "status codes:"))]
        assert len(lines) == 2, text
        return {word: int(number) for number, word in re.findall(r"(\d+) (\w+)", " ".join(lines))}
