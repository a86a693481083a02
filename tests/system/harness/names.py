"""A name server whose answers wait until they are let go, and daemons that ask it."""

import itertools
import os
import socket
import struct
import subprocess
import threading


def can_be_asked():
    """Its address stands in a file that only root may replace, for one process."""
    return os.getuid() == 0 and subprocess.run(["unshare", "-m", "true"], check=False).returncode == 0


numbers = itertools.count(100)  # each has an address of its own: the one before may not have left it yet


class NameServer:
    """Says 127.0.0.1 for every name, once it is let go."""

    def __init__(self):
        self.asked = threading.Event()
        self.let_go = threading.Event()
        self.address = f"127.{next(numbers)}.{os.getpid() % 250}.{os.getpid() // 250 % 250 + 1}"
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((self.address, 53))
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self):
        self.let_go.set()
        self.socket.close()

    def _serve(self):
        while True:
            try:
                question, client = self.socket.recvfrom(1500)
            except OSError:
                return
            self.asked.set()
            threading.Thread(target=self._answer, args=(question, client), daemon=True).start()

    def _answer(self, question, client):
        end = question.index(b"\0", 12) + 5  # of the name, its type and its class
        is_v4 = question[end - 4 : end - 2] == b"\0\1"
        record = b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4" + socket.inet_aton("127.0.0.1")
        self.let_go.wait(60)
        answer = question[:2] + struct.pack(">HHHHH", 0x8180, 1, int(is_v4), 0, 0) + question[12:end]
        try:
            self.socket.sendto(answer + (record if is_v4 else b""), client)
        except OSError:
            pass  # the test has ended

    def serve(self, daemon):
        """To be called before it starts."""
        path = daemon.path("resolv.conf")
        with open(path, "w", encoding="ascii") as file:
            file.write(f"nameserver {self.address}\noptions timeout:30 attempts:1\n")
        daemon.prefix = ["unshare", "-m", "sh", "-c", f'mount --bind {path} /etc/resolv.conf && exec "$@"', "sh"]
